//! MFT records put together from the log: what it writes of a record is done again, in memory, until the record is used
//! again.
//!
//! Operations: the NTFS documentation of the Linux-NTFS project (`$LogFile`). A record is followed from the point at
//! which the log holds all of it (`InitializeFileRecordSegment`, as redo or as undo).

use super::boot::Boot;
use super::log::{Bytes, Step};
use super::record::Reference;
use crate::bytes::{Fields, index};
use std::collections::BTreeMap;

const INITIALIZE_RECORD: u16 = 0x02;
const DEALLOCATE_RECORD: u16 = 0x03;
const WRITE_END: u16 = 0x04;
const CREATE_ATTRIBUTE: u16 = 0x05;
const DELETE_ATTRIBUTE: u16 = 0x06;
const UPDATE_RESIDENT_VALUE: u16 = 0x07;
const UPDATE_MAPPING_PAIRS: u16 = 0x09;
const SET_SIZES: u16 = 0x0b;
/// Offset of a record's `bytes in use`, and of a non-resident attribute's sizes.
const USED: usize = 24;
const SIZES: usize = 40;
/// No more records than this are followed.
const MAX_RECORDS: usize = 1 << 16;

/// The records that are followed.
pub(super) struct Replay {
    boot: Boot,
    now: BTreeMap<u64, (Reference, Bytes)>,
    done: Vec<(Bytes, Reference)>,
}

impl Replay {
    pub(super) const fn new(boot: Boot) -> Self {
        Self { boot, now: BTreeMap::new(), done: Vec::new() }
    }

    /// Does a change again; records of files that are `listed` are left out.
    pub(super) fn take(&mut self, step: &Step, listed: impl Fn(Reference) -> bool) -> Option<()> {
        let number = step.target.checked_div(self.boot.record)?;
        let begins = |op: u16, data: &Bytes| op == INITIALIZE_RECORD && data.data.starts_with(b"FILE");
        for (op, side) in [(step.undo, &step.undo_data), (step.redo, &step.redo_data)] {
            if begins(op, side)
                && let Some(reference) = reference(number, &side.data)
            {
                self.begin(reference, side, &listed);
            }
        }
        let (_, record) = self.now.get_mut(&number)?;
        let kept = record.clone();
        if apply(step, record, index(self.boot.record)).is_none() {
            *record = kept;
        }
        Some(())
    }

    /// Follows a record from here on; what stood in its place before is done.
    fn begin(&mut self, reference: Reference, bytes: &Bytes, listed: &impl Fn(Reference) -> bool) {
        let before = self.now.remove(&reference.record).filter(|(before, _)| *before != reference);
        let room = self.now.len().saturating_add(self.done.len()) < MAX_RECORDS;
        self.done.extend(before.map(|(reference, bytes)| (bytes, reference)));
        if room && !listed(reference) {
            self.now.insert(reference.record, (reference, bytes.clone()));
        }
    }

    /// All records that were followed, with the files that they stood for.
    pub(super) fn records(self) -> impl Iterator<Item = (Bytes, Reference)> {
        let now = self.now.into_values().map(|(reference, bytes)| (bytes, reference));
        self.done.into_iter().chain(now)
    }
}

/// The file that a whole record stands for; none for the bare head of one that is freed, and for extensions.
fn reference(number: u64, bytes: &[u8]) -> Option<Reference> {
    let used = index(bytes.le32(USED)?.into());
    let base = bytes.le64(32)?;
    let sequence = bytes.le16(16)?;
    let in_use = bytes.le16(22)? & 1 != 0;
    let sequence = if in_use { sequence } else { sequence.checked_sub(1)? };
    (used <= bytes.len() && used >= 56 && base == 0).then_some(Reference { record: number, sequence })
}

/// Does one change of a record again; `None` where it does not fit.
fn apply(step: &Step, record: &mut Bytes, limit: usize) -> Option<()> {
    let (at, data) = (step.record_offset, &step.redo_data);
    let length = || record.data.le32(at.checked_add(4)?).map(|n| index(n.into()));
    match step.redo {
        CREATE_ATTRIBUTE => splice(record, at, 0, data, limit)?,
        DELETE_ATTRIBUTE => {
            let length = length()?;
            splice(record, at, length, &Bytes::default(), limit)?;
        }
        WRITE_END => {
            let rest = record.data.len().checked_sub(at)?;
            splice(record, at, rest, data, limit)?;
        }
        UPDATE_RESIDENT_VALUE if step.undo_data.data.len() == data.data.len() => {
            overwrite(record, at.checked_add(step.attribute_offset)?, data)?;
        }
        UPDATE_RESIDENT_VALUE => {
            let value = usize::from(record.data.le16(at.checked_add(20)?)?);
            resize(step, record, limit)?;
            let end = step.attribute_offset.checked_add(data.data.len())?;
            let size = u32::try_from(end.checked_sub(value)?).ok()?;
            put(record, at.checked_add(16)?, size)?;
        }
        UPDATE_MAPPING_PAIRS => resize(step, record, limit)?,
        SET_SIZES => overwrite(record, at.checked_add(SIZES)?, data)?,
        DEALLOCATE_RECORD => {}
        _ => return Some(()),
    }
    put(record, USED, u32::try_from(record.data.len()).ok()?)
}

/// Writes the end of an attribute, which becomes as long as that needs.
fn resize(step: &Step, record: &mut Bytes, limit: usize) -> Option<()> {
    let (at, mut tail) = (step.record_offset, step.redo_data.clone());
    let old = index(record.data.le32(at.checked_add(4)?)?.into());
    let new = step.attribute_offset.checked_add(tail.data.len())?.next_multiple_of(8);
    let padded = new.checked_sub(step.attribute_offset)?;
    tail.data.resize(padded, 0);
    let last = tail.places.last().copied().unwrap_or(0);
    tail.places.resize(padded, last);
    let from = at.checked_add(step.attribute_offset)?;
    splice(record, from, old.checked_sub(step.attribute_offset)?, &tail, limit)?;
    put(record, at.checked_add(4)?, u32::try_from(new).ok()?)
}

/// Replaces `old` bytes from `at` on; a record has no more than `limit`.
fn splice(record: &mut Bytes, at: usize, old: usize, new: &Bytes, limit: usize) -> Option<()> {
    let end = at.checked_add(old).filter(|end| *end <= record.data.len())?;
    let length = record.data.len().checked_sub(old)?.checked_add(new.data.len())?;
    (length <= limit).then_some(())?;
    record.data.splice(at..end, new.data.iter().copied());
    record.places.splice(at..end, new.places.iter().copied());
    Some(())
}

fn overwrite(record: &mut Bytes, at: usize, new: &Bytes) -> Option<()> {
    let end = at.checked_add(new.data.len())?;
    record.data.get_mut(at..end)?.copy_from_slice(&new.data);
    record.places.get_mut(at..end)?.copy_from_slice(&new.places);
    Some(())
}

/// Sets a number that the log does not write itself.
fn put(record: &mut Bytes, at: usize, number: u32) -> Option<()> {
    let end = at.checked_add(4)?;
    record.data.get_mut(at..end)?.copy_from_slice(&number.to_le_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boot() -> Boot {
        Boot {
            sector: 512,
            cluster: 4096,
            sectors: 8000,
            clusters: 1000,
            mft: 4,
            mirror: 8,
            record: 1024,
            index: 4096,
            serial: 0,
            from_backup: false,
        }
    }

    fn bytes(data: Vec<u8>) -> Bytes {
        Bytes { places: (0..data.len() as u32).collect(), data }
    }

    fn step(redo: u16, record_offset: usize, attribute_offset: usize, data: Vec<u8>) -> Step {
        let (redo_data, undo_data) = (bytes(data), Bytes::default());
        Step { redo, undo: 0, redo_data, undo_data, record_offset, attribute_offset, target: 40 * 1024 }
    }

    /// A record in use, sequence `sequence`, without an attribute.
    fn record(sequence: u8) -> Vec<u8> {
        let mut raw = vec![0u8; 64];
        raw[..4].copy_from_slice(b"FILE");
        (raw[16], raw[20], raw[22], raw[24]) = (sequence, 56, 1, 64);
        raw[56..60].fill(0xff);
        raw
    }

    #[test]
    fn a_run_list_outlives_the_record() {
        let mut replay = Replay::new(boot());
        let mut data = vec![0u8; 72];
        (data[0], data[4], data[8], data[32]) = (0x80, 72, 1, 64);
        let steps = [
            step(INITIALIZE_RECORD, 0, 0, record(3)),
            step(CREATE_ATTRIBUTE, 56, 0, data),
            step(UPDATE_MAPPING_PAIRS, 56, 64, vec![0x21, 2, 0x34, 0x56, 0x11, 1, 9, 0x11, 1, 9, 0]),
            step(SET_SIZES, 56, 0, [[0x40u8, 0, 0, 0, 0, 0, 0, 0]; 3].concat()),
            step(INITIALIZE_RECORD, 0, 0, record(4)),
        ];
        steps.iter().for_each(|step| _ = replay.take(step, |reference| reference.sequence == 4));
        let records: Vec<_> = replay.records().collect();
        assert_eq!(records.len(), 1);
        let record = super::super::Record::whole(40, records[0].0.data.clone(), None).expect("a record");
        let data = record.attributes().next().expect("the attribute");
        assert_eq!(data.sizes().map(|s| s.real), Some(0x40));
        assert_eq!(super::super::runs::decode(data.pairs().unwrap_or_default(), 4096, 1 << 20).0.len(), 3);
    }

    proptest! {
        #[test]
        fn any_step_is_survived(steps in prop::collection::vec(
            (0u16..12, 0usize..200, 0usize..200, prop::collection::vec(any::<u8>(), 0..90)), 0..20)) {
            let mut replay = Replay::new(boot());
            replay.take(&step(INITIALIZE_RECORD, 0, 0, record(3)), |_| false);
            for (redo, at, within, data) in steps {
                replay.take(&step(redo, at, within, data), |_| false);
            }
            prop_assert!(replay.records().all(|(bytes, _)| bytes.data.len() <= 1024 && bytes.data.len() == bytes.places.len()));
        }
    }
}
