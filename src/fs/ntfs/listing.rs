//! The listing: all that the table holds, record by record, then what it no longer holds.

use super::lost::{Lost, Seen};
use super::record::Record;
use super::tree::{ORPHANS, Paths};
use super::{Ntfs, entry};
use crate::fault::Fault;
use crate::fs::{Batch, Entry};
use rayon::prelude::*;
use std::ops::Range;

/// Goes through the table, then through what was lost from it.
pub(super) struct Listing<'n> {
    ntfs: &'n Ntfs<'n>,
    /// The blocks of the table that are not read yet.
    blocks: Range<u64>,
    lost: Option<Lost<'n, 'n>>,
    /// Deleted records whose directory the table no longer has: what was lost may tell it.
    adrift: Vec<Record>,
}

/// Blocks of the table that are read side by side.
const BATCH: u64 = 8;
/// When there are as many as this, no more records are kept waiting for their directory.
const MAX_ADRIFT: usize = 1 << 18;

/// What a block of the table gives.
#[derive(Default)]
struct Page {
    entries: Batch,
    adrift: Vec<Record>,
    seen: Seen,
}

impl<'n> Listing<'n> {
    pub(super) fn new(ntfs: &'n Ntfs<'n>) -> Self {
        Self { ntfs, blocks: 0..ntfs.mft.blocks(), lost: Some(Lost::new(ntfs)), adrift: Vec::new() }
    }

    /// What these blocks of the table give.
    fn table(&mut self, blocks: Range<u64>) -> Batch {
        let (ntfs, wait) = (self.ntfs, self.adrift.len() < MAX_ADRIFT);
        let pages: Vec<Page> = blocks.into_par_iter().map(|block| page(ntfs, block, wait)).collect();
        let mut batch = Vec::with_capacity(pages.iter().map(|page| page.entries.len()).sum());
        for mut page in pages {
            batch.append(&mut page.entries);
            self.adrift.extend(page.adrift);
            if let Some(lost) = &mut self.lost {
                lost.take(page.seen);
            }
        }
        batch
    }
}

impl Iterator for Listing<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let blocks = self.blocks.start..self.blocks.end.min(self.blocks.start.saturating_add(BATCH));
        if blocks.is_empty() {
            return Some(self.lost.take()?.entries(&std::mem::take(&mut self.adrift)));
        }
        self.blocks.start = blocks.end;
        Some(self.table(blocks))
    }
}

/// Reads a block of the table; `wait`: deleted records without a directory are kept for later.
fn page(ntfs: &Ntfs<'_>, block: u64, wait: bool) -> Page {
    let (mut page, paths) = (Page::default(), Paths::new(&ntfs.tree));
    for (number, raw) in ntfs.mft.block(block).records() {
        let record = raw.and_then(|raw| Record::parse(number, raw));
        page.seen.note(ntfs, record.as_ref());
        match record {
            Some(record) if record.base.is_none() => {
                let entries = entry::entries(ntfs, &record, None, &|name| paths.of(name));
                page.seen.claim(&entries);
                let orphan = |entry: &Entry| !entry.allocated && entry.path.starts_with(ORPHANS);
                if wait && entries.iter().any(orphan) {
                    page.adrift.push(record);
                } else {
                    page.entries.extend(entries.into_iter().map(Ok));
                }
            }
            Some(_) => {}
            None => page.entries.extend(damaged(ntfs, number).map(Err)),
        }
    }
    page
}

/// What is wrong with a record that does not parse; nothing where it was never used.
fn damaged(ntfs: &Ntfs<'_>, number: u64) -> Option<Fault> {
    let at = number.checked_mul(ntfs.mft.boot.record)?;
    let raw = ntfs.mft.content().slice(at, ntfs.mft.boot.record);
    let bytes = raw.prefix(ntfs.mft.boot.record);
    if crate::bytes::all_zero(&bytes) {
        return None;
    }
    let at = ntfs.mft.view.absolute(ntfs.mft.place(at).unwrap_or(0));
    Some(Fault::new(at, "ntfs", format!("MFT record {number} has no valid header")))
}
