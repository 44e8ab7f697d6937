//! What lies behind the used part of MFT records and index blocks.
//!
//! An index block is a `STANDARD_INDEX_HEADER` (signature `INDX`, fix-ups) with an index header at byte 24, whose second
//! field is the end of its entries. Whole blocks that the index no longer uses are read the same way, and so is the used
//! part: what of it the table lists is known. Checked against an image that ntfs-3g wrote, by its manifest.

use super::Ntfs;
use super::lost::{Find, Lost};
use super::names::{self, Hit};
use super::record::{Attribute, Record, apply_fixups, kind, stored_at};
use crate::bytes::{Fields, all_zero, index};
use crate::content::{Content, Run, Stream};
use crate::fs::{Origin, Recovered};
use rayon::prelude::*;

/// A directory larger than this is a lie.
const MAX_INDEX: u64 = 1 << 32;
/// Blocks of indexes that are looked at together.
const BATCH: usize = 2048;
/// No more run lists than this are looked at behind one record.
const MAX_RUN_LISTS: usize = 16;
const IN_RECORD: &str = "found behind the used part of MFT record";
const IN_INDEX: &str = "found in a directory's index, behind or between its entries";

/// Names and former attributes behind the used part of a record.
pub(super) fn of_record(ntfs: &Ntfs<'_>, record: &Record) -> Vec<Find> {
    let (bytes, from) = record.slack();
    if bytes.get(from..).is_none_or(all_zero) {
        return Vec::new();
    }
    let note = format!("{IN_RECORD} {}", record.number);
    let home = ntfs.mft.home(record);
    let place = |at: usize| home.saturating_add(at as u64);
    let mut finds = Vec::new();
    for hit in names::scan(bytes, from, ntfs.mft.len()) {
        let at = place(hit.at);
        match attribute_of(record, &hit) {
            Some(first) => finds.push(Find::record(record.former(first), None, Origin::Slack, at, &note)),
            None => {
                finds.extend(hit.name().map(|name| Find::name(name, hit.reference, Origin::Slack, at, &note)));
            }
        }
    }
    if finds.iter().all(|find| find.record.is_none()) {
        let content = former_content(ntfs, record, from);
        finds.extend(content.map(|at| Find::record(record.former(at), None, Origin::Slack, place(at), &note)));
    }
    finds
}

/// Where the attribute begins that holds the name, if it does not stand in an index.
fn attribute_of(record: &Record, hit: &Hit<'_>) -> Option<usize> {
    let at = hit.at.checked_sub(24)?;
    let attribute = record.attribute_at(at).filter(|a| a.kind == kind::FILE_NAME && a.is_resident())?;
    (attribute.value_place()?.0 == hit.at).then_some(at)
}

/// A run list behind the used part whose clusters are all free: content of the record's former owner.
fn former_content(ntfs: &Ntfs<'_>, record: &Record, from: usize) -> Option<usize> {
    let end = record.slack().0.len();
    let data = |at: usize| record.attribute_at(at).filter(|a| a.kind == kind::DATA && !a.is_resident());
    let mut found = (from..end).step_by(8).filter_map(data).take(MAX_RUN_LISTS);
    found.find(|data| whole_run_list(ntfs, data).is_some()).map(|data| data.at)
}

fn whole_run_list(ntfs: &Ntfs<'_>, data: &Attribute<'_>) -> Option<()> {
    let (runs, sound) = ntfs.mft.runs_of(data);
    let length = runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.len()));
    let size = data.sizes()?.real;
    let fits = sound && data.first_vcn() == Some(0) && data.allocated() == Some(length) && (1..=length).contains(&size);
    let stream = Stream::plain(runs, size);
    let free = ntfs.bitmap.verdict(&stream) == Recovered::Intact;
    (fits && free && stream.runs.iter().any(|run| matches!(run, Run::Data(_)))).then_some(())
}

/// Names in the blocks of all indexes.
pub(super) fn of_indexes(lost: &mut Lost<'_, '_>, indexes: Vec<Vec<Run>>) {
    let (view, width) = (lost.ntfs.mft.view, lost.ntfs.mft.boot.index);
    let mut batch = Vec::with_capacity(BATCH);
    for runs in indexes {
        let size = runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.len())).min(MAX_INDEX);
        let content = Content::of(view, Stream::plain(runs, size));
        let blocks = size.checked_div(width).unwrap_or(0);
        for at in (0..blocks).map(|number| number.saturating_mul(width)) {
            if content.locate(at).is_some() && lost.may_read(width) {
                batch.push(content.slice(at, width));
            }
            if batch.len() >= BATCH {
                of_blocks(lost, &mut batch);
            }
        }
    }
    of_blocks(lost, &mut batch);
}

/// Names in these blocks, which are looked at side by side.
fn of_blocks(lost: &mut Lost<'_, '_>, blocks: &mut Vec<Content<'_>>) {
    let first = lost.ntfs.mft.view.extent().start;
    let of = |block: &Content<'_>| {
        let place = |at: u64| block.locate(at).unwrap_or(first).saturating_sub(first);
        of_block(lost, &block.prefix(block.size()), Origin::Slack, IN_INDEX, place)
    };
    let finds: Vec<Vec<Find>> = blocks.par_iter().map(of).collect();
    finds.into_iter().flatten().for_each(|find| lost.add(find));
    blocks.clear();
}

/// Names in one index block, but for those of files that the table lists.
pub(super) fn of_block(
    lost: &Lost<'_, '_>,
    raw: &[u8],
    origin: Origin,
    note: &str,
    place: impl Fn(u64) -> u64,
) -> Vec<Find> {
    let Some(usa) = raw.le16(4).map(usize::from).filter(|_| raw.starts_with(b"INDX")) else { return Vec::new() };
    let mut block = raw.to_vec();
    apply_fixups(&mut block, usa, usize::from(raw.le16(6).unwrap_or(0)));
    let entries = index(raw.le32(24).unwrap_or(0).into()).saturating_add(24);
    let hits = names::scan(&block, entries, lost.ntfs.mft.len());
    let unlisted = hits.filter(|hit| !hit.reference.is_some_and(|reference| lost.lists(reference)));
    let find = |hit: Hit<'_>| {
        let at = stored_at(hit.at, usa).map_or(0, |(at, _)| place(at as u64));
        Some(Find::name(hit.name()?, hit.reference, origin, at, note))
    };
    unlisted.filter_map(find).collect()
}
