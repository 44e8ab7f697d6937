//! MFT records and index blocks in clusters that belong to nothing: what a former file system, a table that was moved, or
//! a deleted directory left there.

use super::lost::{Find, Lost};
use super::record::{Record, stored_at};
use super::slack;
use crate::bytes::index;
use crate::content::Run;
use crate::extent::Extent;
use crate::fs::Origin;
use crate::image::View;
use rayon::prelude::*;

/// So much is looked at in one piece, and so many pieces side by side.
const PIECE: u64 = 1 << 20;
const BATCH: usize = 1024;
const IN_FREE: &str = "found in an MFT record in unallocated space";
const IN_FREE_INDEX: &str = "found in a directory's index in unallocated space";

/// Goes through the free clusters; only the first bytes of each place where a record may begin are looked at.
pub(super) fn read(lost: &mut Lost<'_, '_>) {
    let (ntfs, boot) = (lost.ntfs, lost.ntfs.mft.boot);
    let step = boot.record.min(boot.cluster).max(256);
    let whole = Extent::new(0, ntfs.mft.view.size());
    let mut pieces = ntfs.bitmap.unallocated().flat_map(|free| pieces(free.intersect(whole)));
    loop {
        let batch: Vec<Extent> = pieces.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return;
        }
        let places: Vec<Vec<u64>> = batch.par_iter().map(|piece| starts(ntfs.mft.view, *piece, step)).collect();
        for place in places.into_iter().flatten() {
            take(lost, place);
        }
    }
}

fn pieces(free: Extent) -> impl Iterator<Item = Extent> {
    let starts = (free.start..free.end()).step_by(index(PIECE));
    starts.map(move |at| Extent::between(at, free.end().min(at.saturating_add(PIECE))))
}

/// Where in a stretch of free space a record or a block begins.
fn starts(view: View<'_>, piece: Extent, step: u64) -> Vec<u64> {
    let Ok(bytes) = view.part(piece) else { return Vec::new() };
    let step = index(step);
    let chunks = bytes.chunks(step).enumerate().filter(|(_, c)| c.starts_with(b"FILE") || c.starts_with(b"INDX"));
    chunks.map(|(n, _)| piece.start.saturating_add(n.saturating_mul(step) as u64)).collect()
}

fn take(lost: &mut Lost<'_, '_>, at: u64) -> Option<()> {
    let (view, boot) = (lost.ntfs.mft.view, lost.ntfs.mft.boot);
    let head = view.read(at, 4).ok()?;
    lost.may_read(boot.index.max(boot.record)).then_some(())?;
    if head.as_ref() == b"INDX" {
        let raw = view.read(at, boot.index).ok()?;
        let place = |within: u64| at.saturating_add(within);
        let finds = slack::of_block(lost, &raw, Origin::Unallocated, IN_FREE_INDEX, place);
        finds.into_iter().for_each(|find| lost.add(find));
        return Some(());
    }
    let raw = view.read(at, boot.record).ok()?;
    let mut record = Record::parse(Record::own_number(&raw)?, &raw).filter(|r| r.sound && r.base.is_none())?;
    record.home = Some(home(at, raw.len(), record.usa_offset)?);
    let reference = record.reference();
    record.in_use = false;
    lost.add(Find::record(record, Some(reference), Origin::Unallocated, at, IN_FREE));
    Some(())
}

/// Where the bytes of a record at `start` of the volume lie, around the fix-ups.
fn home(start: u64, length: usize, usa: usize) -> Option<Vec<Run>> {
    let (mut at, mut runs) = (0usize, Vec::new());
    while at < length {
        let (from, len) = stored_at(at, usa)?;
        runs.push(Run::Data(Extent::new(start.checked_add(from as u64)?, len as u64)));
        at = at.checked_add(len)?;
    }
    Some(runs)
}
