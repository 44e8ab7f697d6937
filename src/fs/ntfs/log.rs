//! `$LogFile`: names and records of files whose MFT record was used again since.
//!
//! Layout: the NTFS documentation of the Linux-NTFS project (`$LogFile`). Two restart pages are followed by pages with the
//! signature `RCRD` and fix-ups. The number of a log record (LSN) tells at which byte of the log it stands, so that every
//! record that is still there is found, also those that are no longer part of the current log, and those in the copies of
//! the last page. Checked against logs that Windows 2000 to 10 wrote.

use super::entry;
use super::lost::{Find, Lost};
use super::names;
use super::record::{apply_fixups, stored_at};
use super::replay::Replay;
use crate::bytes::{Fields, index};
use crate::content::Content;
use crate::fs::Origin;
use crate::fuel::Fuel;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

const LOG_FILE: u64 = 2;
/// Pages before the log proper: two of restart areas, and copies of the last page (2; 32 since version 2.0).
const COPIES: u64 = 34;
/// More than this is not read.
const MAX_LOG: u64 = 1 << 28;
/// Length of a log record's own head, of the client's head, and of an LSN.
const HEAD: usize = 48;
const CLIENT: usize = 32;
/// A log record of more pages than this is a lie.
const MAX_PAGES: u64 = 64;
const IN_LOG: &str = "found in the log of the file system";

/// Bytes of the log, each with the byte of the log at which it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes {
    pub(super) data: Vec<u8>,
    pub(super) places: Vec<u32>,
}

impl Bytes {
    /// `len` bytes from `at`; fewer where they end before.
    pub(super) fn part(&self, at: usize, len: usize) -> Self {
        let end = at.saturating_add(len).min(self.data.len());
        let at = at.min(end);
        let data = self.data.get(at..end).unwrap_or_default().to_vec();
        Self { data, places: self.places.get(at..end).unwrap_or_default().to_vec() }
    }
}

/// A change of the volume, with what it was before.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) redo: u16,
    pub(super) undo: u16,
    pub(super) redo_data: Bytes,
    pub(super) undo_data: Bytes,
    /// Offsets within the record, and within its attribute.
    pub(super) record_offset: usize,
    pub(super) attribute_offset: usize,
    /// Byte of the stream that is changed.
    pub(super) target: u64,
}

/// The log, with its pages' measures.
struct Log<'c> {
    content: Content<'c>,
    size: u64,
    page: u64,
    /// First byte of a page's data.
    data: usize,
    /// Bits of an LSN that count the rounds through the log.
    round_bits: u32,
}

/// Takes what the log knows of lost files.
pub(super) fn read(lost: &mut Lost<'_, '_>) -> Option<()> {
    let ntfs = lost.ntfs;
    let record = ntfs.mft.record(LOG_FILE)?;
    let stream = entry::stream(ntfs, &record, "")?;
    let log = Log::open(Content::new(ntfs.mft.view, &stream))?;
    let mut replay = Replay::new(ntfs.mft.boot);
    let first = ntfs.mft.view.extent().start;
    let home = |at: u32| log.content.locate(at.into()).map(|at| at.saturating_sub(first));
    for step in log.steps(ntfs.mft.boot.cluster) {
        for side in [&step.redo_data, &step.undo_data].into_iter().filter(|side| !side.data.starts_with(b"FILE")) {
            // Without a reference it is an attribute that is written or taken away: a name of a record that goes on.
            for hit in names::scan(&side.data, 0, ntfs.mft.len()).filter(|hit| hit.reference.is_some()) {
                let at = side.places.get(hit.at).and_then(|at| home(*at)).unwrap_or(0);
                if let Some(name) = hit.name() {
                    lost.add(Find::name(name, hit.reference, Origin::Journal, at, IN_LOG));
                }
            }
        }
        replay.take(&step, |reference| lost.lists(reference));
    }
    for (bytes, reference) in replay.records() {
        if let Some((record, at)) = record_of(&bytes, reference.record, home) {
            lost.add(Find::record(record, Some(reference), Origin::Journal, at, IN_LOG));
        }
    }
    Some(())
}

/// A record that was put together from the log, and where its first byte stands.
fn record_of(bytes: &Bytes, number: u64, home: impl Fn(u32) -> Option<u64>) -> Option<(super::Record, u64)> {
    let runs = bytes.places.iter().map(|at| home(*at));
    let runs = super::mft::runs_of_bytes(runs.map(Option::unwrap_or_default));
    let at = bytes.places.first().and_then(|at| home(*at)).unwrap_or(0);
    let mut record = super::Record::whole(number, bytes.data.clone(), Some(runs))?;
    record.in_use = false;
    Some((record, at))
}

impl<'c> Log<'c> {
    /// Reads a restart page, or takes the usual measures where both are damaged.
    fn open(content: Content<'c>) -> Option<Self> {
        let size = content.size().min(MAX_LOG);
        let restart = [0, 4096].into_iter().find_map(|at| {
            let page = content.slice(at, 4096).prefix(4096).into_owned();
            page.starts_with(b"RSTR").then_some(())?;
            let area = usize::from(page.le16(24)?);
            let field = |at: usize| area.checked_add(at);
            Some((page.le32(20)?, page.le32(field(16)?)?, page.le16(field(38)?)?))
        });
        let length_bits = u64::BITS.checked_sub(size.leading_zeros())?;
        let (page, round_bits, data) = restart.unwrap_or((4096, 67u32.saturating_sub(length_bits), 64));
        let fits = matches!(page, 512..=65536) && page.is_power_of_two() && (4..64).contains(&round_bits);
        let log = Self { content, size, page: page.into(), data: data.into(), round_bits };
        (fits && log.data >= 40 && (log.data as u64) < log.page).then_some(log)
    }

    /// The byte of the log at which the record with this number stands.
    fn place(&self, lsn: u64) -> u64 {
        lsn.wrapping_shl(self.round_bits).wrapping_shr(self.round_bits.saturating_sub(3))
    }

    /// A page with its fix-ups applied; `None` where none stands there.
    fn page(&self, at: u64) -> Option<Bytes> {
        let mut data = self.content.slice(at, self.page).prefix(self.page).into_owned();
        let usa = usize::from(data.le16(4)?);
        data.starts_with(b"RCRD").then_some(())?;
        let count = usize::from(data.le16(6)?);
        apply_fixups(&mut data, usa, count);
        let place =
            |within| stored_at(within, usa).and_then(|(kept, _)| u32::try_from(at.checked_add(kept as u64)?).ok());
        let places = (0..data.len()).map(|within| place(within).unwrap_or(0)).collect();
        Some(Bytes { data, places })
    }

    /// All changes that are still there, in the order in which they were made.
    fn steps(&self, cluster: u64) -> impl Iterator<Item = Step> {
        let mut found: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
        let mut at = self.page.saturating_mul(2);
        while at.saturating_add(self.page) <= self.size {
            if let Some(page) = self.page(at) {
                for (lsn, within) in self.starts(&page, at) {
                    // The proper place comes after the copies, and is the better one.
                    found.insert(lsn, (at, within));
                }
            }
            at = at.saturating_add(self.page);
        }
        let mut pages = HashMap::new();
        // Records do not overlap, but for the copies of a page.
        let mut fuel = Fuel::new(self.size.saturating_mul(2));
        found.into_iter().filter_map(move |(lsn, (at, within))| {
            pages.retain(|page: &u64, _| at.abs_diff(*page) <= self.page.saturating_mul(MAX_PAGES));
            let bytes = self.record(lsn, (at, within), &mut pages, &mut fuel)?;
            step(&bytes, cluster)
        })
    }

    /// The numbers and offsets of the log records that begin in a page.
    fn starts(&self, page: &Bytes, at: u64) -> Vec<(u64, usize)> {
        let begins = |within: &usize| {
            let lsn = page.data.le64(*within)?;
            let place = self.place(lsn).checked_sub(*within as u64)?;
            let copy = at < self.page.saturating_mul(COPIES) && place.is_multiple_of(self.page) && place < self.size;
            let kind = page.data.le32(within.checked_add(32)?)?;
            (lsn > 0 && (place == at || copy) && kind == 1).then_some((lsn, *within))
        };
        (self.data..page.data.len()).step_by(8).filter_map(|within| begins(&within)).collect()
    }

    /// A whole log record, which may go on in the pages that follow.
    fn record(
        &self,
        lsn: u64,
        (at, within): (u64, usize),
        pages: &mut HashMap<u64, Rc<Bytes>>,
        fuel: &mut Fuel,
    ) -> Option<Bytes> {
        let mut read = |at: u64| match pages.get(&at) {
            Some(page) => Some(Rc::clone(page)),
            None => self.page(at).map(Rc::new).inspect(|page| _ = pages.insert(at, Rc::clone(page))),
        };
        let page = read(at)?;
        let length = index(page.data.le32(within.checked_add(24)?)?.into()).checked_add(HEAD)?;
        (length as u64 <= self.page.saturating_mul(MAX_PAGES)).then_some(())?;
        fuel.burn(length as u64).ok()?;
        let mut bytes = page.part(within, length);
        let mut next = self.place(lsn).checked_sub(within as u64)?;
        while bytes.data.len() < length {
            next = next.checked_add(self.page).filter(|next| *next < self.size).unwrap_or_else(|| self.wrapped());
            let page = read(next).filter(|page| self.goes_on(page, lsn))?;
            let more = page.part(self.data, length.checked_sub(bytes.data.len())?);
            bytes.data.extend(more.data);
            bytes.places.extend(more.places);
        }
        Some(bytes)
    }

    /// Where the log begins anew.
    const fn wrapped(&self) -> u64 {
        self.page.saturating_mul(4)
    }

    /// False where the page holds a later round of the log.
    fn goes_on(&self, page: &Bytes, lsn: u64) -> bool {
        let round = |lsn: u64| lsn >> 64u32.saturating_sub(self.round_bits);
        let last = page.data.le64(8).unwrap_or(0);
        last >= lsn && round(last).saturating_sub(round(lsn)) <= 1
    }
}

/// The client's part of a log record.
fn step(bytes: &Bytes, cluster: u64) -> Option<Step> {
    let head = bytes.data.get(HEAD..).filter(|head| head.len() >= CLIENT)?;
    let field = |at: usize| head.le16(at);
    let part = |at: usize| Some(bytes.part(HEAD.checked_add(field(at)?.into())?, field(at.checked_add(2)?)?.into()));
    let target = head.le64(24)?.checked_mul(cluster)?.checked_add(u64::from(field(20)?).checked_mul(512)?)?;
    Some(Step {
        redo: field(0)?,
        undo: field(2)?,
        redo_data: part(4)?,
        undo_data: part(8)?,
        record_offset: field(16)?.into(),
        attribute_offset: field(18)?.into(),
        target,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A log of eight pages with one change, at byte 64 of the sixth, that goes on in the seventh.
    fn log(data: &[u8]) -> Vec<u8> {
        let mut log = vec![0u8; 8 * 4096];
        for page in 2..8usize {
            let at = page * 4096;
            log[at..at + 4].copy_from_slice(b"RCRD");
            log[at + 4..at + 8].copy_from_slice(&[40, 0, 9, 0]);
            log[at + 8..at + 16].copy_from_slice(&((1u64 << 13) | 0x1fff).to_le_bytes());
        }
        // The size is 2^15 bytes: 16 bits to say it, so an LSN's lowest 13 bits are the place.
        let lsn = (1u64 << 13) | ((5 * 4096 + 3976) >> 3);
        let mut record = vec![0u8; HEAD + 40];
        record[..8].copy_from_slice(&lsn.to_le_bytes());
        record[24..28].copy_from_slice(&(40 + data.len() as u32).to_le_bytes());
        record[32] = 1;
        record[HEAD..HEAD + 8].copy_from_slice(&[0x0e, 0, 0x0f, 0, 40, 0, data.len() as u8, 0]);
        record.extend(data);
        let (now, then) = record.split_at(4096 - 3976);
        // Nothing stands where the fix-ups of a page go.
        log[5 * 4096 + 3976..6 * 4096].copy_from_slice(now);
        log[6 * 4096 + 64..6 * 4096 + 64 + then.len()].copy_from_slice(then);
        log
    }

    #[test]
    fn a_change_is_read_over_the_end_of_its_page() {
        let data: Vec<u8> = (1..=200).collect();
        let bytes = log(&data);
        let log = Log::open(Content::borrowed(&bytes)).expect("the usual measures fit");
        let steps: Vec<Step> = log.steps(4096).collect();
        assert_eq!(steps.len(), 1);
        assert_eq!((steps[0].redo, steps[0].undo), (0x0e, 0x0f));
        let told: Vec<u8> = steps[0].redo_data.places.iter().map(|at| bytes[*at as usize]).collect();
        assert_eq!(steps[0].redo_data.data.len(), 200);
        assert!(told.iter().zip(&data).filter(|(a, b)| a == b).count() >= 198, "each byte is named where it stands");
    }

    proptest! {
        #[test]
        fn any_log_is_survived(noise in prop::collection::vec((0usize..8 * 4096, any::<u8>()), 0..400)) {
            let mut bytes = log(&[7; 100]);
            noise.iter().for_each(|(at, byte)| bytes[*at] = *byte);
            if let Some(log) = Log::open(Content::borrowed(&bytes)) {
                prop_assert!(log.steps(4096).count() < 4096);
            }
        }
    }
}
