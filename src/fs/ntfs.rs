//! NTFS 1.2 to 3.1.
//!
//! Follows the NTFS documentation of the Linux-NTFS project and [MS-FSCC]; checked against The Sleuth Kit 4.11.1 and the
//! corpus (author's keys of DFTT 7 and 8, the Debian samples). The listing goes through the Master File Table, record by
//! record, not through directory indexes: what is deleted is found in the same pass, and a broken index hides nothing.

mod bitmap;
mod boot;
mod entry;
mod free;
mod listing;
mod log;
mod lost;
mod mft;
mod names;
mod record;
mod reparse;
mod replay;
mod runs;
mod slack;
mod times;
mod tree;
mod usn;

use super::{Claim, Entry, Facts, FileSystem, Opened};
use crate::bytes::utf16_le;
use crate::content::{Content, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use bitmap::Bitmap;
use mft::Mft;
use record::{Record, kind};
use tree::Tree;

const VOLUME: u64 = 3;
const BITMAP: u64 = 6;

pub(crate) struct Ntfs<'img> {
    mft: Mft<'img>,
    tree: Tree,
    bitmap: Bitmap,
    facts: Facts,
}

/// Looks for the boot sector or its copy, and for the first MFT record.
pub fn probe(view: View<'_>) -> Option<Claim> {
    let boot = boot::read(view)?;
    let at = boot.mft.saturating_mul(boot.cluster);
    let found = view.read(at, 4).is_ok_and(|bytes| bytes.as_ref() == b"FILE");
    let surety = if found && !boot.from_backup { 100 } else { 60 };
    let place = if boot.from_backup { "copy of the boot sector" } else { "boot sector" };
    let table = if found { "leads to the MFT" } else { "but no MFT where it points" };
    Some(Claim { surety, reason: format!("NTFS {place} {table}") })
}

/// Opens the volume.
pub fn open(view: View<'_>) -> Opened<'_> {
    let boot = boot::read(view).ok_or_else(|| Fault::new(view.absolute(0), "ntfs", "no boot sector"))?;
    let mut mft = Mft::open(view, boot)?;
    let mut facts = Facts {
        name: "NTFS".to_owned(),
        id: format!("{:016X}", boot.serial),
        cluster: boot.cluster,
        size: boot.clusters.saturating_mul(boot.cluster),
        faults: std::mem::take(&mut mft.faults),
        ..Facts::default()
    };
    if boot.from_backup {
        let what = "the boot sector is damaged; its copy at the volume's end is used";
        facts.faults.push(Fault::new(view.absolute(0), "ntfs", what));
    }
    if facts.size > view.size() {
        let what = format!("the file system has {} bytes, its volume only {}", facts.size, view.size());
        facts.faults.push(Fault::new(view.absolute(0), "ntfs", what));
    }
    let label = mft
        .record(VOLUME)
        .and_then(|r| r.attributes().find(|a| a.kind == kind::VOLUME_NAME).and_then(|a| a.value()).map(utf16_le));
    facts.label = label.unwrap_or_default();
    let tree = Tree::build(&mft);
    let bitmap = read_bitmap(&mft, &tree);
    if bitmap.is_none() {
        let what = "$Bitmap cannot be read: what is unallocated is not known";
        facts.faults.push(Fault::new(view.absolute(0), "ntfs", what));
    }
    let bitmap = bitmap.unwrap_or_else(|| Bitmap::full(boot));
    Ok(Box::new(Ntfs { mft, tree, bitmap, facts }))
}

fn read_bitmap(mft: &Mft<'_>, tree: &Tree) -> Option<Bitmap> {
    let base = mft.record(BITMAP)?;
    let mut records = tree.extensions_of(mft, &base);
    records.insert(0, base);
    let pieces = records.iter().flat_map(Record::attributes).filter(|a| a.kind == kind::DATA && a.name().is_empty());
    let pieces: Vec<_> = pieces.collect();
    let first = pieces.first()?;
    let stream = if first.is_resident() {
        let (_, length) = first.value_place()?;
        Stream::plain(mft.resident_runs(first)?, length as u64)
    } else {
        let runs = pieces.iter().flat_map(|p| mft.runs_of(p).0).collect();
        Stream::plain(runs, first.sizes()?.real)
    };
    let needed = mft.boot.clusters.div_ceil(8);
    let bits = Content::new(mft.view, &stream).prefix(needed).into_owned();
    (bits.len() as u64 == needed).then(|| Bitmap::new(mft.boot, bits))
}

impl FileSystem for Ntfs<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, Fault>> + '_> {
        Box::new(listing::Listing::new(self))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        Box::new(self.bitmap.unallocated().map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A volume of 64 clusters whose MFT holds `records`.
    fn volume(records: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0u8; 64 * 512];
        bytes[3..11].copy_from_slice(b"NTFS    ");
        bytes[11..13].copy_from_slice(&512u16.to_le_bytes());
        bytes[13] = 1;
        bytes[40..48].copy_from_slice(&63u64.to_le_bytes());
        bytes[48..56].copy_from_slice(&4u64.to_le_bytes());
        bytes[56..64].copy_from_slice(&40u64.to_le_bytes());
        bytes[64] = 0xf6;
        bytes[2048..2048 + records.len()].copy_from_slice(records);
        bytes
    }

    /// Record 0 with a run list that covers `clusters` clusters from the fourth.
    fn first_record(clusters: u8) -> Vec<u8> {
        let mut r = vec![0u8; 1024];
        r[..4].copy_from_slice(b"FILE");
        r[4..6].copy_from_slice(&48u16.to_le_bytes());
        r[6..8].copy_from_slice(&3u16.to_le_bytes());
        r[20..22].copy_from_slice(&56u16.to_le_bytes());
        r[22] = 1;
        r[56..60].copy_from_slice(&0x80u32.to_le_bytes());
        r[60..64].copy_from_slice(&72u32.to_le_bytes());
        r[64] = 1;
        r[56 + 32..56 + 34].copy_from_slice(&64u16.to_le_bytes());
        r[56 + 48..56 + 56].copy_from_slice(&(u64::from(clusters) * 512).to_le_bytes());
        r[56 + 64..56 + 67].copy_from_slice(&[0x11, clusters, 4]);
        r[128..132].copy_from_slice(&[0xff; 4]);
        r
    }

    proptest! {
        #[test]
        fn any_table_is_survived(noise in prop::collection::vec(any::<u8>(), 8 * 1024),
                                 offsets in prop::collection::vec(40u16..1024, 8)) {
            let mut records = first_record(20);
            for (raw, attrs) in noise.chunks(1024).zip(offsets) {
                let mut raw = raw.to_vec();
                raw[..4].copy_from_slice(b"FILE");
                raw[20..22].copy_from_slice(&attrs.to_le_bytes());
                raw[32..40].fill(0);
                records.extend(raw);
            }
            let image = crate::image::raw::of_bytes(&volume(&records))?;
            let view = View::whole(image.as_ref());
            prop_assert!(probe(view).is_some());
            let opened = open(view).map_err(|f| TestCaseError::fail(f.to_string()))?;
            prop_assert!(opened.entries().count() < 10_000);
            let _ = opened.unallocated().count();
        }
    }
}
