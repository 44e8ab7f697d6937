//! The log: what it holds is newer than the tables in the file and is laid over them, in memory ([MS-VHDX] 2.3).
//!
//! Its entries are numbered. Those that count are the run of entries, one behind the other in the ring and in number, that
//! ends with the highest number and begins at the tail that its last entry names.

use super::head::{Head, sum_holds};
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::image::about::About;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Bytes that an entry is a multiple of, that a data descriptor replaces, and that the overlay is kept in.
const SECTOR: u64 = 4096;
/// The largest log that is read.
const MOST: u64 = 1 << 30;
/// The most that the overlay may zero; a log is for tables.
const MOST_ZEROED: u64 = 1 << 32;

/// Sectors of the file that the log replaces, by their offset; `None` is zeros.
#[derive(Default)]
pub(super) struct Overlay(BTreeMap<u64, Option<Box<[u8]>>>);

impl Overlay {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What it replaces of `extent`.
    fn within(&self, extent: Extent) -> impl Iterator<Item = (&u64, &Option<Box<[u8]>>)> {
        let first = extent.start.saturating_sub(extent.start % SECTOR);
        self.0.range(first..extent.end().max(first))
    }

    /// True where it replaces a byte of `extent`.
    pub(super) fn touches(&self, extent: Extent) -> bool {
        self.within(extent).next().is_some()
    }

    /// The bytes of `extent` as they are with the log written back.
    pub(super) fn read<'f>(&self, bytes: &'f [u8], extent: Extent) -> Option<Cow<'f, [u8]>> {
        let mut held = Cow::Borrowed(bytes.span(index(extent.start), index(extent.len))?);
        for (at, sector) in self.within(extent) {
            let here = Extent::new(*at, SECTOR).intersect(extent);
            let to = index(here.start.saturating_sub(extent.start));
            let from = index(here.start.saturating_sub(*at));
            let room = held.to_mut().get_mut(to..to.saturating_add(index(here.len)))?;
            match sector.as_deref().and_then(|sector| sector.span(from, index(here.len))) {
                Some(sector) => room.copy_from_slice(sector),
                None => room.fill(0),
            }
        }
        Some(held)
    }
}

/// An entry of the log.
struct Entry {
    bytes: Vec<u8>,
    sequence: u64,
    tail: u64,
    descriptors: u32,
    /// Size that the file has to have for it.
    file_size: u64,
}

/// Reads the log, where the header says that something is in it.
pub(super) fn replay(bytes: &[u8], head: &Head, about: &mut About) -> Overlay {
    let mut overlay = Overlay::default();
    if crate::bytes::all_zero(&head.log_id) || head.log.len == 0 {
        return overlay;
    }
    let ring = bytes.span(index(head.log.start), index(head.log.len)).filter(|ring| ring.len() as u64 <= MOST);
    let run = ring.and_then(|ring| active(ring, &head.log_id));
    let Some(run) = run else {
        about.fault("was not closed, and its log cannot be read: its tables may be older than its content");
        return overlay;
    };
    let held = run.iter().all(|entry| lay(entry, &mut overlay).is_some());
    let (count, places) = (run.len(), overlay.0.len());
    about.fault(format!(
        "was not closed: {count} entries of its log are laid over {places} places of the file, in memory"
    ));
    if !held {
        about.fault("an entry of its log is damaged: its tables may be older than its content");
    }
    if run.last().is_some_and(|last| last.file_size > bytes.len() as u64) {
        about.fault("the file is shorter than when its log was written");
    }
    overlay
}

/// The entries that count, in order.
fn active(ring: &[u8], id: &[u8; 16]) -> Option<Vec<Entry>> {
    let size = ring.len() as u64;
    let mut entries: BTreeMap<u64, Entry> = BTreeMap::new();
    for at in (0..size).step_by(index(SECTOR)) {
        if let Some(entry) = entry(ring, at, id) {
            entries.insert(at, entry);
        }
    }
    let (mut best, mut at) = (None, None);
    for (start, entry) in &entries {
        if best.is_none_or(|sequence| entry.sequence > sequence) {
            (best, at) = (Some(entry.sequence), Some(*start));
        }
    }
    let (last, last_at) = (best?, at?);
    let mut from = entries.get(&last_at)?.tail;
    let mut run = Vec::new();
    loop {
        let entry = entries.remove(&from)?;
        let (sequence, len) = (entry.sequence, entry.bytes.len() as u64);
        let follows = run.last().is_none_or(|before: &Entry| before.sequence.checked_add(1) == Some(sequence));
        run.push(entry);
        if !follows {
            return None;
        }
        if sequence == last {
            return Some(run);
        }
        from = from.checked_add(len)?.checked_rem(size)?;
    }
}

/// The entry at byte `at` of the ring, where it is one and its checksum holds.
fn entry(ring: &[u8], at: u64, id: &[u8; 16]) -> Option<Entry> {
    let header = ring.span(index(at), 64)?;
    if !header.starts_with(b"loge") || header.array::<16>(32)? != *id {
        return None;
    }
    let len = u64::from(header.le32(8)?);
    if len == 0 || !len.is_multiple_of(SECTOR) || len > ring.len() as u64 {
        return None;
    }
    // It may go on at the ring's beginning.
    let here = index(len).min(ring.len().checked_sub(index(at))?);
    let mut bytes = ring.span(index(at), here)?.to_vec();
    bytes.extend_from_slice(ring.get(..index(len).checked_sub(here)?)?);
    sum_holds(&bytes).then_some(())?;
    Some(Entry {
        sequence: bytes.le64(16)?,
        tail: bytes.le32(12)?.into(),
        descriptors: bytes.le32(24)?,
        file_size: bytes.le64(48)?,
        bytes,
    })
}

/// Lays an entry over what is there.
fn lay(entry: &Entry, overlay: &mut Overlay) -> Option<()> {
    let descriptors = u64::from(entry.descriptors);
    // The header and its descriptors take whole sectors; the data sectors follow.
    let mut data = descriptors.checked_mul(32)?.checked_add(64)?.checked_next_multiple_of(SECTOR)?;
    for n in 0..descriptors {
        let descriptor = entry.bytes.span(index(n.checked_mul(32)?.checked_add(64)?), 32)?;
        let to = descriptor.le64(16)?;
        if descriptor.le64(24)? != entry.sequence || !to.is_multiple_of(SECTOR) {
            return None;
        }
        if descriptor.starts_with(b"zero") {
            zero(Extent::new(to, descriptor.le64(8)?), overlay)?;
            continue;
        }
        let sector = entry.bytes.span(index(data), index(SECTOR))?;
        overlay.0.insert(to, Some(restored(descriptor, sector, entry.sequence)?));
        data = data.checked_add(SECTOR)?;
    }
    Some(())
}

fn zero(extent: Extent, overlay: &mut Overlay) -> Option<()> {
    if !extent.len.is_multiple_of(SECTOR) || extent.len > MOST_ZEROED {
        return None;
    }
    let end = extent.start.checked_add(extent.len)?;
    (extent.start..end).step_by(index(SECTOR)).for_each(|at| {
        overlay.0.insert(at, None);
    });
    Some(())
}

/// A data sector with its first 8 and last 4 bytes, which its descriptor keeps; its own are the number of its entry.
fn restored(descriptor: &[u8], sector: &[u8], sequence: u64) -> Option<Box<[u8]>> {
    let number = u64::from(sector.le32(4)?) << 32 | u64::from(sector.le32(4092)?);
    if !descriptor.starts_with(b"desc") || !sector.starts_with(b"data") || number != sequence {
        return None;
    }
    let whole = [descriptor.span(8, 8)?, sector.span(8, 4084)?, descriptor.span(4, 4)?].concat();
    Some(whole.into_boxed_slice())
}
