//! Directory entries: 32 bytes each, long names in entries of their own before the short one.
//!
//! Microsoft FAT specification 1.03, "FAT Directory Structure" and "FAT Long Directory Entries".

use super::boot::Width;
use super::name::{self, LOST};
use crate::bytes::Fields;
use crate::fs::Times;
use crate::time::Timestamp;

/// Bytes of an entry.
pub(super) const SLOT: usize = 32;

const DELETED: u8 = 0xe5;
const ATTR_VOLUME_ID: u8 = 0x08;
const ATTR_DIRECTORY: u8 = 0x10;
const ATTR_LONG_NAME: u8 = 0x0f;
const LAST_LONG_ENTRY: u8 = 0x40;
/// 255 characters, 13 to an entry.
const MAX_LONG: usize = 20;

/// What a directory says of a file.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// Where the short entry stands in the volume.
    pub(super) at: u64,
    pub(super) name: String,
    pub(super) deleted: bool,
    /// It stands behind the entry that ends the directory.
    pub(super) behind_end: bool,
    pub(super) attributes: u8,
    pub(super) cluster: u32,
    pub(super) size: u32,
    pub(super) times: Times,
    pub(super) note: Option<String>,
    /// Its long name's checksum vouches for its name.
    pub(super) restored: bool,
    /// Times that are none.
    pub(super) impossible: Vec<String>,
}

impl Slot {
    pub(super) const fn is_directory(&self) -> bool {
        self.attributes & ATTR_DIRECTORY != 0
    }

    /// A label has neither content nor clusters; a file that only carries its bit is listed.
    pub(super) const fn is_label(&self) -> bool {
        self.attributes & (ATTR_VOLUME_ID | ATTR_DIRECTORY) == ATTR_VOLUME_ID && self.cluster == 0 && self.size == 0
    }

    pub(super) fn is_dot(&self) -> bool {
        matches!(self.name.as_str(), "." | "..")
    }
}

/// The part of a long name that one entry holds.
#[derive(Clone, Copy)]
pub(super) struct Part {
    order: u8,
    sum: u8,
    units: [u16; 13],
    deleted: bool,
}

/// Reads entries one after the other, with the long names that stand before them.
pub(super) struct Slots {
    wide: bool,
    parts: Vec<Part>,
    ended: bool,
}

impl Slots {
    pub(super) const fn new(width: Width) -> Self {
        Self { wide: matches!(width, Width::Fat32), parts: Vec::new(), ended: false }
    }

    /// Goes on where another cluster was cut off.
    pub(super) const fn after(width: Width, parts: Vec<Part>) -> Self {
        Self { wide: matches!(width, Width::Fat32), parts, ended: false }
    }

    /// The parts of a name that wait for its entry in another cluster; none where the directory ends.
    pub(super) fn cut(self) -> Vec<Part> {
        if self.ended { Vec::new() } else { self.parts }
    }

    /// Whether the cluster `b` goes on where `parts` were cut off: the checksum of its first entry is theirs.
    pub(super) fn joins(width: Width, parts: &[Part], b: &[u8]) -> bool {
        let first = |parts: Vec<Part>| {
            let mut slots = Self::after(width, parts);
            b.chunks_exact(SLOT).take(MAX_LONG.saturating_add(1)).find_map(|b| slots.take(b, 0))
        };
        let joined = first(parts.to_vec()).filter(|slot| slot.restored).map(|slot| slot.name);
        joined.is_some() && joined != first(Vec::new()).map(|slot| slot.name)
    }

    /// Takes the entry `b` that stands at byte `at`; gives it if it is a short one.
    pub(super) fn take(&mut self, b: &[u8], at: u64) -> Option<Slot> {
        let raw: [u8; SLOT] = b.array(0)?;
        let [first, ..] = raw;
        let attributes = b.byte(11)?;
        if first == 0 {
            self.ended = true;
            self.parts.clear();
            return None;
        }
        if attributes & 0x3f == ATTR_LONG_NAME {
            self.keep(part(b)?);
            return None;
        }
        let parts = std::mem::take(&mut self.parts);
        if (self.ended && !possible(b, self.wide)) || (first == DELETED && !possible_deleted(b)) {
            return None;
        }
        let mut slot = short_slot(b, at, self.wide)?;
        slot.behind_end = self.ended;
        give_long_name(&mut slot, b.array(0)?, &parts);
        Some(slot)
    }

    fn keep(&mut self, part: Part) {
        let begins = !part.deleted && part.order & LAST_LONG_ENTRY != 0;
        let other = self.parts.last().is_some_and(|last| last.deleted != part.deleted);
        if begins || other {
            self.parts.clear();
        }
        self.parts.push(part);
    }
}

fn part(b: &[u8]) -> Option<Part> {
    let mut units = [0u16; 13];
    let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
    for (unit, place) in units.iter_mut().zip(places) {
        *unit = b.le16(place)?;
    }
    let order = b.byte(0)?;
    Some(Part { order, sum: b.byte(13)?, units, deleted: order == DELETED })
}

fn short_slot(b: &[u8], at: u64, wide: bool) -> Option<Slot> {
    let raw_name: [u8; 11] = b.array(0)?;
    let [first, ..] = raw_name;
    let deleted = first == DELETED;
    let attributes = b.byte(11)?; // DIR_Attr
    let shown = if deleted { LOST } else { name::first_char(raw_name) };
    let text = match &raw_name {
        b".          " => ".".to_owned(),
        b"..         " => "..".to_owned(),
        _ => name::short(raw_name, b.byte(12)?, shown).chars().map(name::path_char).collect(), // DIR_NTRes
    };
    let high = if wide { u32::from(b.le16(20)?) << 16 } else { 0 }; // DIR_FstClusHI
    let mut slot = Slot {
        at,
        name: text,
        deleted,
        behind_end: false,
        attributes,
        cluster: (high | u32::from(b.le16(26)?)) & 0x0fff_ffff, // DIR_FstClusLO
        size: b.le32(28)?,                                      // DIR_FileSize
        times: times(b)?,
        restored: false,
        impossible: impossible_times(b),
        note: deleted.then(|| "the first letter of its name is lost".to_owned()),
    };
    if slot.is_label() {
        slot.name = name::oem_trimmed(&raw_name);
    }
    Some(slot)
}

fn times(b: &[u8]) -> Option<Times> {
    Some(Times {
        btime: Timestamp::dos_fine(b.le16(16)?, b.le16(14)?, b.byte(13)?), // DIR_CrtDate, DIR_CrtTime, DIR_CrtTimeTenth
        atime: Timestamp::dos_date(b.le16(18)?),                           // DIR_LstAccDate
        mtime: Timestamp::dos(b.le16(24)?, b.le16(22)?),                   // DIR_WrtDate, DIR_WrtTime
        ..Times::default()
    })
}

/// Times whose bits are no date or no time of day. A date of zero is "not set".
fn impossible_times(b: &[u8]) -> Vec<String> {
    let fields = [("creation", 16usize, Some(14usize)), ("last access", 18, None), ("last change", 24, Some(22))];
    let impossible = |(name, date, time): (&str, usize, Option<usize>)| {
        let date = b.le16(date)?;
        let time = time.map_or(Some(0), |at| b.le16(at))?;
        let none = date != 0 && Timestamp::dos(date, time).is_none();
        none.then(|| format!("the time of {name} (date {date:#06x}, time {time:#06x}) cannot be"))
    };
    fields.into_iter().filter_map(impossible).collect()
}

/// Puts the long name in the place of the short one where it belongs to it.
fn give_long_name(slot: &mut Slot, raw: [u8; 11], parts: &[Part]) {
    if parts.is_empty() {
        return;
    }
    let sum = name::checksum(raw);
    let found = if slot.deleted { deleted_long_name(raw, parts) } else { live_long_name(parts) };
    let Some(long) = found else {
        slot.note.get_or_insert_with(|| "the long name before it does not belong to it".to_owned());
        return;
    };
    let short = std::mem::replace(&mut slot.name, long);
    if slot.deleted {
        slot.restored = true;
        slot.note = Some("its name is put together from the deleted entries of its long name".to_owned());
    } else if parts.iter().any(|part| part.sum != sum) {
        slot.note = Some(format!("its long name was made for another file: systems that check show {short}"));
    }
}

/// All parts from the last to the first.
fn live_long_name(parts: &[Part]) -> Option<String> {
    let count = u8::try_from(parts.len()).ok()?;
    let mut order = count | LAST_LONG_ENTRY;
    for part in parts {
        if part.deleted || part.order != order {
            return None;
        }
        order = (order & !LAST_LONG_ENTRY).checked_sub(1)?;
    }
    join(parts)
}

/// The ordinals are lost: the parts right before the entry that share a checksum, up to the one that ends the name.
fn deleted_long_name(raw: [u8; 11], parts: &[Part]) -> Option<String> {
    let sum = parts.last()?.sum;
    let mut count = 0usize;
    for part in parts.iter().rev().take(MAX_LONG) {
        if part.sum != sum || !part.deleted {
            break;
        }
        count = count.saturating_add(1);
        if part.units.contains(&0) {
            break;
        }
    }
    let from = parts.len().checked_sub(count)?;
    let long = join(parts.get(from..)?)?;
    name::restore_first(raw, sum, &long)?;
    Some(long)
}

fn join(parts: &[Part]) -> Option<String> {
    let units: Vec<u16> = parts.iter().rev().flat_map(|part| part.units).collect();
    Some(name::long(&units)).filter(|long| !long.is_empty() && long != "." && long != "..")
}

/// Whether a deleted entry in a directory's own bytes can have been one: formatting fills directories with 0xE5 too.
fn possible_deleted(b: &[u8]) -> bool {
    let printable = b.span(1, 10).is_some_and(|name| name.iter().all(|c| *c >= 0x20));
    printable && b.byte(11).is_some_and(|attributes| attributes & 0xc0 == 0)
}

/// Whether bytes that nothing vouches for can be an entry: its name, attributes, dates and cluster all have to do.
pub(super) fn possible(b: &[u8], wide: bool) -> bool {
    let check = || {
        let attributes = b.byte(11)?;
        let [first, rest @ ..]: [u8; 11] = b.array(0)?;
        let dot = first == b'.' && (rest == *b"          " || rest == *b".         ");
        let named =
            (first == DELETED || first == 0x05 || name::possible_short(&[first])) && name::possible_short(&rest);
        let upper = !rest.iter().any(u8::is_ascii_lowercase);
        let cluster_high = if wide { b.le16(20)? >> 12 == 0 } else { true };
        let directory = attributes & ATTR_DIRECTORY == 0 || b.le32(28)? == 0;
        let dated = [16, 18, 24].iter().all(|at| b.le16(*at).is_some_and(possible_date));
        let fine = b.byte(13)? < 200 && b.byte(12)? & !0x18 == 0;
        let kind = attributes & 0xc0 == 0 && attributes & 0x18 != 0x18;
        Some((dot || (named && upper)) && kind && cluster_high && directory && dated && fine)
    };
    check().unwrap_or(false)
}

fn possible_date(date: u16) -> bool {
    date == 0 || Timestamp::dos(date, 0).is_some()
}

/// Whether a stretch of free space is a piece of a directory: only possible entries up to the end of it or to its end
/// mark, at least one of them with a time of change, and nothing but zeros or more entries behind that.
pub(super) fn looks_like_directory(bytes: &[u8], wide: bool) -> bool {
    let mut shown = false;
    let mut longs = 0usize;
    for b in bytes.chunks_exact(SLOT) {
        if b.first() == Some(&0) {
            if !crate::bytes::all_zero(b) {
                return false;
            }
        } else if b.byte(11).is_some_and(|attributes| attributes & 0x3f == ATTR_LONG_NAME) {
            if !possible_part(b) {
                return false;
            }
            longs = longs.saturating_add(1);
        } else if possible(b, wide) {
            shown |= b.le16(24).is_some_and(|date| Timestamp::dos(date, 0).is_some());
        } else {
            return false;
        }
    }
    shown || longs > 1
}

fn possible_part(b: &[u8]) -> bool {
    let order = b.byte(0).is_some_and(|order| order == DELETED || (1..=20).contains(&(order & !LAST_LONG_ENTRY)));
    order && b.byte(12) == Some(0) && b.le16(26) == Some(0) && b.le16(1).is_some_and(|unit| unit >= 0x20)
}

/// Whether a cluster begins as every directory but the root does: with itself and its parent.
pub(super) fn begins_with_dots(bytes: &[u8]) -> bool {
    let directory = |at: usize| bytes.byte(at).is_some_and(|attributes| attributes & ATTR_DIRECTORY != 0);
    bytes.span(0, 11) == Some(b".          ")
        && bytes.span(32, 11) == Some(b"..         ")
        && directory(11)
        && directory(43)
}

/// The clusters that the first two entries of a directory name: its own and its parent's.
pub(super) fn dots(bytes: &[u8], wide: bool) -> Option<(u32, u32)> {
    let cluster = |at: usize| {
        let high = if wide { u32::from(bytes.le16(at.checked_add(20)?)?) << 16 } else { 0 };
        Some(high | u32::from(bytes.le16(at.checked_add(26)?)?))
    };
    if !begins_with_dots(bytes) {
        return None;
    }
    Some((cluster(0)?, cluster(SLOT)?))
}

/// Whether the first entry of a cluster leaves it possible that it is one of a directory.
pub(super) fn may_begin_directory(b: &[u8], wide: bool) -> bool {
    b.span(0, 11) == Some(b".          ") || possible_part(b) || possible(b, wide)
}
