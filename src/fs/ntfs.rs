//! NTFS 1.2 to 3.1.
//!
//! Follows the NTFS documentation of the Linux-NTFS project and [MS-FSCC]; checked against The Sleuth Kit 4.11.1 and the
//! corpus (author's keys of DFTT 7 and 8, the Debian samples). The listing goes through the Master File Table, record by
//! record, not through directory indexes: what is deleted is found in the same pass, and a broken index hides nothing.
//! What the table no longer holds follows (`lost`): names and run lists in slack, in the log, in the log of changes, and in
//! free clusters.

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
mod signs;
mod slack;
mod times;
mod tree;
mod usn;

use super::{Batch, Claim, Facts, FileSystem, Opened};
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
    let mut ntfs = Ntfs { mft, tree, bitmap, facts };
    ntfs.facts.anomalies = signs::read(&ntfs);
    Ok(Box::new(ntfs))
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
    // Holes would give any number of bits.
    let needed = Some(mft.boot.clusters.div_ceil(8)).filter(|needed| *needed <= mft.view.size())?;
    let bits = Content::new(mft.view, &stream).prefix(needed).into_owned();
    (bits.len() as u64 == needed).then(|| Bitmap::new(mft.boot, bits))
}

impl FileSystem for Ntfs<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        Box::new(listing::Listing::new(self))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        // An image may end before its volume does.
        let whole = Extent::new(0, self.mft.view.size());
        let free = self.bitmap.unallocated().map(move |extent| extent.intersect(whole));
        Box::new(free.filter(|extent| !extent.is_empty()).map(Ok))
    }
}

#[cfg(test)]
mod tests;
