//! Directory entry sets: a file, its stream extension and its name, 32 bytes each.
//!
//! Microsoft exFAT specification, section 6 "Directory Structure", 7.4 "File", 7.6 "Stream Extension" and 7.7 "File
//! Name". Deletion clears the InUse bit of each entry and leaves the rest: with the bits put back the SetChecksum
//! proves that a deleted set is whole.

use super::table::{self, Table};
use super::upcase::Upcase;
use crate::bytes::{Fields, offset};
use crate::fs::Times;
use crate::fs::cluster::{Heap, Span};
use crate::image::View;
use crate::time::Timestamp;
use std::borrow::Cow;

/// Bytes of an entry.
const CELL: usize = 32;
const MAX_DIRECTORY: u64 = 256 << 20;
/// The InUse bit of an EntryType.
const IN_USE: u8 = 0x80;
/// The TypeCategory bit: an entry that belongs to the one before it.
const SECONDARY: u8 = 0x40;
/// EntryTypes without their InUse bit.
const FILE: u8 = 0x05;
const STREAM: u8 = 0x40;
const NAME: u8 = 0x41;
/// FileAttributes: Directory.
const ATTR_DIRECTORY: u16 = 0x10;
/// GeneralSecondaryFlags: AllocationPossible and NoFatChain.
const ALLOCATION_POSSIBLE: u8 = 1;
const NO_FAT_CHAIN: u8 = 2;

/// A directory's entries in order, wherever its clusters lie.
pub(super) struct Cells<'img> {
    bytes: Cow<'img, [u8]>,
    /// Where each stretch begins: in `bytes`, and in the volume.
    pieces: Vec<(u64, u64)>,
}

impl<'img> Cells<'img> {
    /// At most `len` bytes of the directory in `spans`.
    pub(super) fn read(view: View<'img>, heap: &Heap, spans: &[Span], len: u64) -> Self {
        let mut at = 0u64;
        let piece = |extent: crate::extent::Extent| {
            let begin = at;
            at = at.saturating_add(extent.len);
            (begin, extent.start)
        };
        let pieces = heap.extents(spans).map(piece).collect();
        Self { bytes: table::bytes(view, heap, spans, len), pieces }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() / CELL
    }

    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        self.bytes.span(row.checked_mul(CELL)?, CELL)
    }

    /// EntryType; 0, the end of a directory, behind the last one.
    pub(super) fn kind(&self, row: usize) -> u8 {
        self.get(row).and_then(|cell| cell.byte(0)).unwrap_or(0)
    }

    /// Where an entry stands in the volume.
    pub(super) fn place(&self, row: usize) -> u64 {
        let at = offset(row.saturating_mul(CELL));
        let piece = self.pieces.partition_point(|(begin, _)| *begin <= at).saturating_sub(1);
        self.pieces.get(piece).map_or(0, |(begin, start)| start.saturating_add(at.saturating_sub(*begin)))
    }

    /// Row of the entry that ends the directory.
    pub(super) fn end(&self) -> usize {
        (0..self.len()).find(|row| self.kind(*row) == 0).unwrap_or(self.len())
    }

    /// How many secondary entries follow on `row`, at most `most`, all in use or all not.
    fn secondaries(&self, row: usize, most: usize) -> usize {
        let mark = self.kind(row) & IN_USE;
        let belongs = |row: &usize| self.kind(*row) & (SECONDARY | IN_USE) == SECONDARY | mark;
        (row.saturating_add(1)..self.len()).take(most).take_while(belongs).count()
    }

    /// Whether the set that begins at `row` has all its entries, and its SetChecksum fits.
    pub(super) fn is_whole(&self, row: usize) -> bool {
        let check = || {
            let file = self.get(row)?;
            let wanted = usize::from(file.byte(1)?); // SecondaryCount
            let count = wanted.saturating_add(1);
            let fits = self.checksum(row, count) == file.le16(2)?; // SetChecksum
            Some(begins(self.kind(row)) && self.secondaries(row, wanted) == wanted && fits)
        };
        check().unwrap_or(false)
    }

    /// Row of the set that goes on behind the last entry.
    pub(super) fn cut(&self) -> Option<usize> {
        let row = (0..self.len()).rev().take(usize::from(u8::MAX)).find(|row| begins(self.kind(*row)))?;
        let wanted = usize::from(self.get(row)?.byte(1)?);
        (row.saturating_add(wanted) >= self.len()).then_some(row)
    }

    /// SetChecksum over `count` entries, as if all were in use (figure 2 of the specification).
    fn checksum(&self, row: usize, count: usize) -> u16 {
        let mut sum = 0u16;
        for cell in (row..row.saturating_add(count)).filter_map(|row| self.get(row)) {
            for (at, byte) in cell.iter().enumerate() {
                match at {
                    0 => sum = sum.rotate_right(1).wrapping_add(u16::from(*byte | IN_USE)),
                    2 | 3 if cell.byte(0).is_some_and(|kind| kind & SECONDARY == 0) => {}
                    _ => sum = sum.rotate_right(1).wrapping_add(u16::from(*byte)),
                }
            }
        }
        sum
    }
}

/// What a directory says of a file.
#[derive(Clone, Debug)]
pub(super) struct Set {
    /// Where its first entry stands in the volume.
    pub(super) at: u64,
    pub(super) name: String,
    pub(super) deleted: bool,
    /// It stands behind the entry that ends the directory.
    pub(super) behind_end: bool,
    pub(super) directory: bool,
    pub(super) times: Times,
    /// FirstCluster, 0 where it has none.
    pub(super) first: u32,
    /// DataLength and ValidDataLength.
    pub(super) size: u64,
    pub(super) valid: u64,
    /// NoFatChain: its clusters lie in one piece, and the table says nothing of them.
    pub(super) contiguous: bool,
    /// The SetChecksum fits.
    pub(super) whole: bool,
    pub(super) contradictions: Vec<String>,
    pub(super) note: Option<String>,
}

/// Reads the sets of directories.
pub(super) struct Reader<'a> {
    pub(super) table: &'a Table<'a>,
    /// What names are hashed by, if it could be read.
    pub(super) upcase: Option<&'a Upcase>,
}

/// The sets of a directory, and the places of live ones that cannot be read.
#[derive(Default)]
pub(super) struct Sets {
    pub(super) sets: Vec<Set>,
    pub(super) broken: Vec<u64>,
}

impl Reader<'_> {
    /// All sets, live and deleted. With `proof` none is believed that nothing but its place speaks for.
    pub(super) fn sets(&self, cells: &Cells<'_>, proof: bool) -> Sets {
        let (mut found, mut row, end) = (Sets::default(), 0usize, cells.end());
        while row < cells.len() {
            let kind = cells.kind(row);
            let taken = match kind & !IN_USE {
                FILE => self.file(cells, row),
                STREAM if kind & IN_USE == 0 => self.remainder(cells, row),
                _ => None,
            };
            let live = kind == FILE | IN_USE && row < end && !proof;
            let Some((mut set, count)) = taken.filter(|(set, _)| live || self.is_credible(set)) else {
                found.broken.extend(live.then(|| cells.place(row)));
                row = row.saturating_add(1);
                continue;
            };
            set.behind_end = row > end;
            found.sets.push(set);
            row = row.saturating_add(count);
        }
        found
    }

    /// The set whose File entry is `row`, with the number of its entries.
    fn file(&self, cells: &Cells<'_>, row: usize) -> Option<(Set, usize)> {
        let file = cells.get(row)?;
        let wanted = usize::from(file.byte(1)?); // SecondaryCount
        let count = cells.secondaries(row, wanted).saturating_add(1);
        let whole = cells.is_whole(row);
        let mut set = self.stream(cells, row.saturating_add(1), count.saturating_sub(1))?;
        set.at = cells.place(row);
        set.times = times(file)?;
        set.directory = file.le16(4)? & ATTR_DIRECTORY != 0; // FileAttributes
        set.whole = whole;
        if !whole && !set.deleted {
            set.contradictions.push("the checksum of its entry set does not fit".to_owned());
        } else if !whole {
            set.note = Some("a part of its entries was overwritten".to_owned());
        }
        Some((set, count))
    }

    /// What is left of a deleted set whose File entry was overwritten.
    fn remainder(&self, cells: &Cells<'_>, row: usize) -> Option<(Set, usize)> {
        let count = cells.secondaries(row, 17).saturating_add(1);
        let mut set = self.stream(cells, row, count)?;
        set.note = Some("the entry with its times and attributes was overwritten".to_owned());
        set.contradictions.is_empty().then_some((set, count))
    }

    /// The Stream Extension entry `row` and the File Name entries behind it, `count` entries in all.
    fn stream(&self, cells: &Cells<'_>, row: usize, count: usize) -> Option<Set> {
        let stream = cells.get(row)?;
        let kind = stream.byte(0)?;
        let deleted = kind & IN_USE == 0;
        let flags = stream.byte(1)?; // GeneralSecondaryFlags
        let length = usize::from(stream.byte(3)?); // NameLength
        let is_name = |row: &usize| cells.kind(*row) & !IN_USE == NAME;
        let names =
            (row..row.saturating_add(count)).skip(1).take_while(is_name).filter_map(|row| cells.get(row)?.get(2..));
        let mut units: Vec<u16> = names.flat_map(|b| b.chunks_exact(2)).filter_map(|pair| pair.le16(0)).collect();
        if kind & !IN_USE != STREAM || count == 0 || units.is_empty() || length == 0 {
            return None;
        }
        let mut contradictions = Vec::new();
        if units.len() < length {
            contradictions.push(format!("its name has {length} characters, {} are left", units.len()));
        }
        units.truncate(length);
        let hash = stream.le16(4)?; // NameHash
        if self.upcase.is_some_and(|upcase| upcase.hash(&units) != hash) {
            contradictions.push("its name does not fit the hash of it".to_owned());
        }
        let possible = flags & ALLOCATION_POSSIBLE != 0;
        let size = stream.le64(24)?; // DataLength
        let valid = stream.le64(8)?; // ValidDataLength
        if valid > size {
            contradictions.push(format!("of its {size} bytes {valid} are valid"));
        }
        Some(Set {
            at: cells.place(row),
            name: name(&units),
            deleted,
            behind_end: false,
            directory: false,
            times: Times::default(),
            first: if possible { stream.le32(20)? } else { 0 }, // FirstCluster
            size,
            valid: valid.min(size),
            contiguous: flags & NO_FAT_CHAIN != 0,
            whole: false,
            contradictions,
            note: None,
        })
    }

    /// Whether a set that no directory vouches for is one: by its checksum, else by its name's hash and fields that
    /// are all possible.
    fn is_credible(&self, set: &Set) -> bool {
        let heap = &self.table.heap;
        let room = u64::from(heap.last).saturating_mul(heap.cluster);
        let possible = set.size <= room && (set.first == 0 || heap.is_valid(set.first));
        let named = !set.name.chars().any(|c| c < ' ' || "\"*:<>?\\|\u{fffd}".contains(c));
        set.whole || (possible && named && set.contradictions.is_empty() && self.upcase.is_some())
    }

    /// Whether a free cluster is a piece of a directory: only entries of known types up to its end mark, and at least
    /// one set that its checksum proves.
    pub(super) fn is_directory(&self, cells: &Cells<'_>) -> bool {
        let known = |kind: u8| matches!(kind & !IN_USE, 0x01..=0x03 | FILE | 0x20 | 0x21 | STREAM | NAME | 0x60 | 0x61);
        let end = cells.end();
        known(cells.kind(0))
            && (0..end).all(|row| known(cells.kind(row)))
            && self.sets(cells, true).sets.iter().any(|set| set.whole)
    }
}

/// Whether a directory can begin with this entry, rather than go on.
pub(super) const fn begins(kind: u8) -> bool {
    kind & !IN_USE == FILE
}

/// Whether a directory can go on with it.
pub(super) const fn goes_on(kind: u8) -> bool {
    begins(kind) || matches!(kind & !IN_USE, STREAM | NAME)
}

fn times(file: &[u8]) -> Option<Times> {
    let time = |at: usize, centis: Option<u8>, offset: usize| {
        Some(Timestamp::exfat(file.le32(at)?, centis, file.byte(offset)?))
    };
    Some(Times {
        btime: time(8, file.byte(20), 22)?, // CreateTimestamp, Create10msIncrement, CreateUtcOffset
        mtime: time(12, file.byte(21), 23)?, // LastModifiedTimestamp, …
        atime: time(16, None, 24)?,         // LastAccessedTimestamp, LastAccessedUtcOffset
        ..Times::default()
    })
}

/// A name as it may stand in a path.
pub(super) fn name(units: &[u16]) -> String {
    let clean = |c: char| if matches!(c, '/' | '\0') { char::REPLACEMENT_CHARACTER } else { c };
    let chars = char::decode_utf16(units.iter().copied()).map(|c| clean(c.unwrap_or(char::REPLACEMENT_CHARACTER)));
    let name: String = chars.collect();
    if matches!(name.as_str(), "." | "..") { name.replace('.', "\u{fffd}") } else { name }
}

/// Bytes that `count` clusters hold, as far as a directory may go: section 7.4 gives it 256 MB.
pub(super) fn directory_bytes(heap: &Heap, clusters: u64) -> u64 {
    clusters.saturating_mul(heap.cluster).min(MAX_DIRECTORY)
}
