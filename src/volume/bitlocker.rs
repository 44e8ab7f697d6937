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
use crate::image::derived::Decode;
use eow::Spread;
use metadata::Metadata;
use std::collections::HashSet;
use std::sync::Arc;

/// What stays plain at the start of a volume of Windows Vista.
const PLAIN: u64 = 0x2000;
/// Sectors at which is looked whether a key makes them other than noise.
const SAMPLES: u64 = 4096;

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
    let spread = metadata.spread(volume)?;
    if metadata.is_plain() {
        let layers = layers(volume, &metadata, &spread, None);
        let by = "nothing, since it was decrypted".to_owned();
        return Some(Unlocked { start: 0, size: metadata.size, layers, key: Vec::new(), by });
    }
    let own = keys.keys.iter().map(|key| (key.clone(), "its volume key".to_owned()));
    let (key, by) =
        metadata.keys(keys).or_else(|| own.into_iter().find(|(key, _)| opens(volume, &metadata, &spread, key)))?;
    let sectors = Arc::new(cipher(&metadata, &key)?);
    Some(Unlocked {
        start: 0,
        size: metadata.size,
        layers: layers(volume, &metadata, &spread, Some(&sectors)),
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

/// The volume's own key has no checksum: it fits where what is encrypted becomes a first sector, or no noise.
fn opens(volume: View<'_>, metadata: &Metadata, spread: &Spread, key: &[u8]) -> bool {
    let Some(by) = cipher(metadata, key) else { return false };
    let decoded = |at: u64| {
        let mut bytes = volume.read(at, metadata.sector).ok()?.into_owned();
        by.decode(at.checked_div(metadata.sector)?, &mut bytes);
        Some(bytes)
    };
    let first = if metadata.version == 1 { PLAIN } else { metadata.header.start };
    if spread.encrypted.touches(Extent::new(first, 1)) {
        return decoded(first).is_some_and(|first| first.ends_with(&[0x55, 0xaa]) || first.starts_with(b"FILE"));
    }
    let step = spread.encrypted.total().checked_div(SAMPLES).unwrap_or(0).max(metadata.sector);
    let places = spread.encrypted.as_slice().iter().flat_map(|extent| {
        let count = extent.len.div_ceil(step).min(SAMPLES);
        (0..count).map(move |n| extent.start.saturating_add(n.saturating_mul(step)))
    });
    places
        .map(|at| at.saturating_sub(at.checked_rem(metadata.sector).unwrap_or(0)))
        .any(|at| decoded(at).is_some_and(|sector| is_told(&sector)))
}

/// Whether a sector is no noise, of which 512 bytes have 221 different ones, give or take 4.
fn is_told(sector: &[u8]) -> bool {
    let different: HashSet<u8> = sector.iter().take(512).copied().collect();
    different.len() < 160
}

/// What the volume shows, stretch by stretch; what no layer covers is as it stands.
fn layers(volume: View<'_>, metadata: &Metadata, spread: &Spread, sectors: Option<&Arc<Sectors>>) -> Vec<Layer> {
    let all = ExtentSet::new(vec![Extent::new(0, metadata.size)]);
    let layer = |at: u64, from: Extent, sheet| Layer { at, len: from.len, from: from.start, sheet };
    let decoded = |from: u64| {
        let number = from.checked_div(metadata.sector).unwrap_or(0);
        sectors.map_or(Sheet::Plain, |sectors| Sheet::Decoded(Arc::clone(sectors), number))
    };
    let mut layers = Vec::new();
    let first = if metadata.version == 1 {
        // The first sector says `-FVE-FS-` and where the metadata is, instead of what NTFS says there.
        if let Some(bytes) = metadata.first_sector(volume) {
            layers.push(layer(0, Extent::new(0, bytes.len() as u64), Sheet::Given(bytes)));
        }
        Extent::new(0, PLAIN)
    } else {
        // Where the first sectors are kept they are as plain or encrypted as that place is.
        let header = ExtentSet::new(vec![metadata.header]);
        let mut keep = |kept: ExtentSet, sheet: &dyn Fn(u64) -> Sheet| {
            for from in kept.as_slice() {
                let at = from.start.saturating_sub(metadata.header.start);
                layers.push(layer(at, *from, sheet(from.start)));
            }
        };
        keep(header.intersect(&spread.encrypted), &decoded);
        keep(header.subtract(&spread.encrypted), &|_| Sheet::Plain);
        Extent::new(0, metadata.header.len)
    };
    let first = ExtentSet::new(vec![first]);
    let own = ExtentSet::new(spread.own.clone()).intersect(&all).subtract(&first);
    layers.extend(own.as_slice().iter().map(|extent| layer(extent.start, *extent, Sheet::Zeros)));
    let rest = spread.encrypted.intersect(&all).subtract(&first).subtract(&own);
    layers.extend(rest.as_slice().iter().map(|extent| layer(extent.start, *extent, decoded(extent.start))));
    layers
}
