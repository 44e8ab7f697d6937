//! BitLocker of Windows Vista and later, BitLocker To Go too (documentation of libbde; checked against cryptsetup's images).
//!
//! The first sector (`-FVE-FS-`, or a FAT one whose GUID tells) names three copies of the metadata. Its entries hold the volume's
//! master key once for each protector, and the full volume encryption key, encrypted with the master key. Since Windows 7 the first
//! sectors of the volume are kept, encrypted, at another place; where they and the metadata lie the volume has zeros.

mod eow;
mod metadata;
mod protector;

use super::crypt::Sectors;
use super::vault::{Keys, Layer, Locked, Sheet, Unlocked};
use crate::extent::{Extent, ExtentSet};
use crate::image::View;
use metadata::Metadata;
use std::sync::Arc;

/// Bytes that a copy of the metadata takes.
const COPY: u64 = 0x1_0000;
/// What stays plain at the start of a volume of Windows Vista.
const PLAIN: u64 = 0x2000;

/// Whether a volume is one.
pub fn probe(volume: View<'_>) -> Option<Locked> {
    let metadata = Metadata::read(volume)?;
    let by = metadata.protectors().map(|protector| protector.name().to_owned()).collect();
    let what = format!("BitLocker, {}", method(metadata.method));
    Some(Locked { id: metadata.id.clone(), name: metadata.description.clone(), what, by, faults: metadata.faults })
}

/// Tries keys as the volume's own, then everything with the protectors that it has.
pub fn unlock(volume: View<'_>, keys: &Keys) -> Option<Unlocked> {
    let metadata = Metadata::read(volume)?;
    let encrypted = metadata.encrypted(volume)?;
    if metadata.is_plain() {
        let layers = layers(volume, &metadata, &ExtentSet::default(), None);
        let by = "nothing, since it was decrypted".to_owned();
        return Some(Unlocked { start: 0, size: metadata.size, layers, key: Vec::new(), by });
    }
    let own = keys.keys.iter().map(|key| (key.clone(), "its volume key".to_owned()));
    let (key, by) = metadata.keys(keys).or_else(|| own.into_iter().find(|(key, _)| opens(volume, &metadata, key)))?;
    let sectors = Arc::new(cipher(&metadata, &key)?);
    Some(Unlocked {
        start: 0,
        size: metadata.size,
        layers: layers(volume, &metadata, &encrypted, Some(&sectors)),
        key,
        by,
    })
}

fn method(number: u16) -> &'static str {
    match number {
        0x8000 => "AES-CBC 128 with diffuser",
        0x8001 => "AES-CBC 256 with diffuser",
        0x8002 => "AES-CBC 128",
        0x8003 => "AES-CBC 256",
        0x8004 => "AES-XTS 128",
        0x8005 => "AES-XTS 256",
        _ => "an unknown method",
    }
}

fn cipher(metadata: &Metadata, key: &[u8]) -> Option<Sectors> {
    let sector = metadata.sector;
    match metadata.method {
        0x8000 => Sectors::bitlocker(key.get(..16)?, Some(key.get(32..48)?), sector),
        0x8001 => Sectors::bitlocker(key.get(..32)?, Some(key.get(32..64)?), sector),
        0x8002 => Sectors::bitlocker(key.get(..16)?, None, sector),
        0x8003 => Sectors::bitlocker(key.get(..32)?, None, sector),
        0x8004 => Sectors::named("aes-xts-plain64", key.get(..32)?, sector, true),
        0x8005 => Sectors::named("aes-xts-plain64", key.get(..64)?, sector, true),
        _ => None,
    }
}

/// The volume's own key has no checksum: it fits where the first sector becomes one.
fn opens(volume: View<'_>, metadata: &Metadata, key: &[u8]) -> bool {
    use crate::image::derived::Decode;
    let Some(by) = cipher(metadata, key) else { return false };
    let at = if metadata.version == 1 { PLAIN } else { metadata.header.start };
    let Ok(first) = volume.read(at, metadata.sector) else { return false };
    let mut first = first.into_owned();
    by.decode(at.checked_div(metadata.sector).unwrap_or(0), &mut first);
    first.ends_with(&[0x55, 0xaa]) || first.starts_with(b"FILE")
}

/// What the volume shows, stretch by stretch.
fn layers(volume: View<'_>, metadata: &Metadata, encrypted: &ExtentSet, sectors: Option<&Arc<Sectors>>) -> Vec<Layer> {
    let all = Extent::new(0, metadata.size);
    let layer = |at: Extent, from: u64, sheet| Layer { at: at.start, len: at.len, from, sheet };
    let sheet = |from: u64, sectors: &Arc<Sectors>| {
        Sheet::Decoded(Arc::clone(sectors), from.checked_div(metadata.sector).unwrap_or(0))
    };
    let decoded = |from: u64| sectors.map_or(Sheet::Plain, |sectors| sheet(from, sectors));
    let mut layers = Vec::new();
    let mut taken: Vec<Extent> = Vec::new();
    if metadata.version == 1 {
        // The first sector says `-FVE-FS-` and where the metadata is, instead of what NTFS says there.
        if let Some(bytes) = metadata.first_sector(volume) {
            let first = Extent::new(0, bytes.len() as u64);
            layers.push(layer(first, 0, Sheet::Given(bytes)));
        }
        taken.push(Extent::new(0, PLAIN));
    } else {
        let first = Extent::new(0, metadata.header.len);
        layers.push(layer(first, metadata.header.start, decoded(metadata.header.start)));
        taken.push(first);
    }
    let mut reserved: Vec<Extent> = metadata.copies.iter().map(|at| Extent::new(*at, COPY)).collect();
    if metadata.version != 1 {
        reserved.push(metadata.header);
    }
    let taken = ExtentSet::new(taken);
    let reserved = ExtentSet::new(reserved).intersect(&ExtentSet::new(vec![all])).subtract(&taken);
    layers.extend(reserved.as_slice().iter().map(|extent| layer(*extent, extent.start, Sheet::Zeros)));
    // What lies behind the part that is encrypted is still, or again, plain.
    let encrypted = encrypted.intersect(&ExtentSet::new(vec![all]));
    let rest = encrypted.subtract(&taken).subtract(&reserved);
    layers.extend(rest.as_slice().iter().map(|extent| layer(*extent, extent.start, decoded(extent.start))));
    layers
}
