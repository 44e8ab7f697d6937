//! The listing: all that the table holds, record by record, then what it no longer holds.

use super::lost::Lost;
use super::record::Record;
use super::tree::ORPHANS;
use super::{Ntfs, entry};
use crate::fault::Fault;
use crate::fs::Entry;
use std::collections::VecDeque;

/// Goes through the table, then through what was lost from it.
pub(super) struct Listing<'n> {
    ntfs: &'n Ntfs<'n>,
    records: Box<dyn Iterator<Item = (u64, Option<Record>)> + 'n>,
    lost: Option<Lost<'n, 'n>>,
    ready: VecDeque<Result<Entry, Fault>>,
    /// Deleted records whose directory the table no longer has: what was lost may tell it.
    adrift: Vec<Record>,
}

/// More records than this are not kept waiting for their directory.
const MAX_ADRIFT: usize = 1 << 18;

impl<'n> Listing<'n> {
    pub(super) fn new(ntfs: &'n Ntfs<'n>) -> Self {
        let records = Box::new(ntfs.mft.records());
        Self { ntfs, records, lost: Some(Lost::new(ntfs)), ready: VecDeque::new(), adrift: Vec::new() }
    }

    /// What a record of the table gives.
    fn table(&mut self, number: u64, record: Option<&Record>) {
        if let Some(lost) = &mut self.lost {
            lost.note(number, record);
        }
        match record {
            Some(record) if record.base.is_none() => {
                let path = |name: &_| self.ntfs.tree.path(name);
                let entries = entry::entries(self.ntfs, record, None, &path);
                if let Some(lost) = &mut self.lost {
                    lost.claim(&entries);
                }
                let orphan = |entry: &Entry| !entry.allocated && entry.path.starts_with(ORPHANS);
                if self.adrift.len() < MAX_ADRIFT && entries.iter().any(orphan) {
                    return self.adrift.push(record.clone());
                }
                self.ready.extend(entries.into_iter().map(Ok));
            }
            Some(_) => {}
            None => self.ready.extend(damaged(self.ntfs, number).map(Err)),
        }
    }
}

impl Iterator for Listing<'_> {
    type Item = Result<Entry, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            match self.records.next() {
                Some((number, record)) => self.table(number, record.as_ref()),
                None => self.ready.extend(self.lost.take()?.entries(&std::mem::take(&mut self.adrift))),
            }
        }
    }
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
