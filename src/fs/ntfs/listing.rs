//! The listing: all that the table holds, record by record, then what it no longer holds.

use super::lost::{Lost, Seen};
use super::record::Record;
use super::tree::{ORPHANS, Paths};
use super::{Ntfs, entry};
use crate::fault::Fault;
use crate::fs::Entry;
use rayon::prelude::*;
use std::iter::Flatten;
use std::ops::Range;
use std::vec;

/// Goes through the table, then through what was lost from it.
pub(super) struct Listing<'n> {
    ntfs: &'n Ntfs<'n>,
    /// The blocks of the table that are not read yet.
    blocks: Range<u64>,
    lost: Option<Lost<'n, 'n>>,
    ready: Flatten<vec::IntoIter<Vec<Result<Entry, Fault>>>>,
    /// Deleted records whose directory the table no longer has: what was lost may tell it.
    adrift: Vec<Record>,
}

/// Blocks of the table that are read side by side.
const BATCH: u64 = 32;
/// When there are as many as this, no more records are kept waiting for their directory.
const MAX_ADRIFT: usize = 1 << 18;

/// What a block of the table gives.
#[derive(Default)]
struct Page {
    entries: Vec<Result<Entry, Fault>>,
    adrift: Vec<Record>,
    seen: Seen,
}

impl<'n> Listing<'n> {
    pub(super) fn new(ntfs: &'n Ntfs<'n>) -> Self {
        let (blocks, lost) = (0..ntfs.mft.blocks(), Some(Lost::new(ntfs)));
        Self { ntfs, blocks, lost, ready: Vec::new().into_iter().flatten(), adrift: Vec::new() }
    }

    /// Reads on; nothing where the end is reached.
    fn read(&mut self) -> Option<()> {
        let batch = self.blocks.start..self.blocks.end.min(self.blocks.start.saturating_add(BATCH));
        let ready = if batch.is_empty() {
            vec![self.lost.take()?.entries(&std::mem::take(&mut self.adrift))]
        } else {
            self.blocks.start = batch.end;
            self.table(batch)
        };
        self.ready = ready.into_iter().flatten();
        Some(())
    }

    /// What these blocks of the table give.
    fn table(&mut self, blocks: Range<u64>) -> Vec<Vec<Result<Entry, Fault>>> {
        let (ntfs, wait) = (self.ntfs, self.adrift.len() < MAX_ADRIFT);
        let pages: Vec<Page> = blocks.into_par_iter().map(|block| page(ntfs, block, wait)).collect();
        let take = |page: Page| {
            self.adrift.extend(page.adrift);
            if let Some(lost) = &mut self.lost {
                lost.take(page.seen);
            }
            page.entries
        };
        pages.into_iter().map(take).collect()
    }
}

impl Iterator for Listing<'_> {
    type Item = Result<Entry, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.next() {
                return Some(ready);
            }
            self.read()?;
        }
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
