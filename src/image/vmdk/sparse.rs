//! Sparse extents: grains, placed by a directory of tables. Hosted ones (`KDMV`) have both twice and may be packed; those of
//! ESX (`COWD`) are plain.

use super::SECTOR;
use super::descriptor::Descriptor;
use super::stream::Stream;
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::image::about::About;
use crate::image::chunks::{Files, MAX_GRAIN, Piece, Place};
use crate::image::codec::{Codec, measured};

pub(super) const HOSTED: &[u8; 4] = b"KDMV";
pub(super) const COWD: &[u8; 4] = b"COWD";

const USE_COPY: u32 = 2;
const ZEROED_GRAINS: u32 = 4;
const PACKED: u32 = 1 << 16;
const MARKERS: u32 = 1 << 17;
/// In the header of a stream: the directory is at its end, as the copy of the header there says.
const AT_END: u64 = u64::MAX;
/// Bytes of tables up to which both copies are compared.
const MOST_COMPARED: u64 = 64 << 20;

/// Where the grains of an extent are.
pub(super) struct Sparse {
    file: usize,
    /// Bytes of the extent.
    size: u64,
    grain: u64,
    /// Entries of a table.
    per_table: u64,
    /// Where the directory and its copy are; 0 where there is none.
    directories: [u64; 2],
    flags: u32,
    /// How many bytes the last grain unpacks to.
    last: u64,
    /// Of a stream without a directory: the grains that were found in it.
    found: Option<Stream>,
}

/// The descriptor in a hosted extent.
pub(super) fn descriptor(bytes: &[u8]) -> Option<Descriptor> {
    if !bytes.starts_with(HOSTED) {
        return None;
    }
    let (at, len) = (bytes.le64(28)?.checked_mul(SECTOR)?, bytes.le64(36)?.checked_mul(SECTOR)?);
    let there = (bytes.len() as u64).checked_sub(at)?;
    Descriptor::read(bytes.span(index(at), index(len.min(there)))?)
}

impl Sparse {
    /// Reads the header of the extent that is file `file`.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn read(bytes: &[u8], file: usize, place: &str, about: &mut About) -> Result<Self, String> {
        let parsed =
            if bytes.starts_with(COWD) { Self::cowd(bytes, file) } else { Self::hosted(bytes, file, place, about)? };
        let mut sparse = parsed.ok_or("breaks off within its header")?;
        if !sparse.grain.is_power_of_two() || !(SECTOR..=MAX_GRAIN).contains(&sparse.grain) || sparse.per_table == 0 {
            return Err(format!("has grains of {} bytes in tables of {}", sparse.grain, sparse.per_table));
        }
        sparse.last = sparse.grain;
        if sparse.is_packed() {
            sparse.measure(bytes);
        }
        sparse.compare(bytes, place, about);
        Ok(sparse)
    }

    fn cowd(bytes: &[u8], file: usize) -> Option<Self> {
        Some(Self {
            file,
            size: u64::from(bytes.le32(12)?).checked_mul(SECTOR)?,
            grain: u64::from(bytes.le32(16)?).checked_mul(SECTOR)?,
            per_table: 4096,
            directories: [u64::from(bytes.le32(20)?).checked_mul(SECTOR)?, 0],
            flags: 0,
            last: 0,
            found: None,
        })
    }

    fn hosted(bytes: &[u8], file: usize, place: &str, about: &mut About) -> Result<Option<Self>, String> {
        if !bytes.starts_with(HOSTED) {
            return Err("does not begin as a sparse extent does".to_owned());
        }
        let version = bytes.le32(4).unwrap_or(0);
        if !(1..=3).contains(&version) {
            return Err(format!("is a sparse extent of version {version}: 1 to 3 are read"));
        }
        let flags = bytes.le32(8).unwrap_or(0);
        if flags & 1 != 0 && bytes.span(73, 4) != Some(b"\n \r\n") {
            about.fault(format!("{place}: its ends of lines were changed, as by a transfer that took it for text"));
        }
        if bytes.byte(72) == Some(1) {
            about.fault(format!("{place}: was not closed: its tables may be older than its content"));
        }
        if bytes.le16(77).unwrap_or(0) > 1 {
            return Err("is packed by a method that is not known".to_owned());
        }
        // The last two sectors of a stream are a copy of the header and an end mark.
        let end = bytes.len().checked_sub(1024).and_then(|at| bytes.get(at..)).filter(|end| end.starts_with(HOSTED));
        let at_end = bytes.le64(56) == Some(AT_END);
        let header = if at_end { end } else { Some(bytes) };
        let directory = |at: usize| {
            let sector = header?.le64(at)?;
            (sector != AT_END).then(|| sector.saturating_mul(SECTOR))
        };
        let grain = bytes.le64(20).and_then(|grain| grain.checked_mul(SECTOR)).unwrap_or(0);
        let found = (at_end && directory(56).is_none()).then(|| {
            about.fault(format!("{place}: breaks off before its directory: its grains are found by their marks"));
            Stream::search(bytes, bytes.le64(64).unwrap_or(0).saturating_mul(SECTOR), grain)
        });
        let sparse = || {
            Some(Self {
                file,
                size: bytes.le64(12)?.checked_mul(SECTOR)?,
                grain,
                per_table: bytes.le32(44)?.into(),
                directories: if flags & USE_COPY != 0 {
                    [directory(48).unwrap_or(0), directory(56).unwrap_or(0)]
                } else {
                    [directory(56).unwrap_or(0), directory(48).unwrap_or(0)]
                },
                flags,
                last: 0,
                found,
            })
        };
        Ok(sparse())
    }

    /// Bytes of the extent.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of a grain.
    pub(super) const fn grain(&self) -> u64 {
        self.grain
    }

    /// True where grains are packed.
    pub(super) const fn is_packed(&self) -> bool {
        self.flags & PACKED != 0
    }

    /// Where entry `number` of the tables is, by the directory at `directory`; `Err` with what the whole table is.
    fn entry(&self, bytes: &[u8], directory: u64, number: u64) -> Option<Result<Extent, u32>> {
        let first = Extent::new(directory.checked_add(number.checked_div(self.per_table)?.checked_mul(4)?)?, 4);
        let table = bytes.le32(index(first.start)).filter(|_| directory != 0)?;
        if table == 0 || (table == 1 && self.flags & ZEROED_GRAINS != 0) {
            return Some(Err(table));
        }
        let at = u64::from(table).checked_mul(SECTOR)?;
        let at = at.checked_add(number.checked_rem(self.per_table)?.checked_mul(4)?)?;
        (at.checked_add(4)? <= bytes.len() as u64).then_some(Ok(Extent::new(at, 4)))
    }

    /// The same by whichever of the two directories leads into the file.
    fn either(&self, bytes: &[u8], number: u64) -> Option<Result<Extent, u32>> {
        self.directories.iter().find_map(|directory| self.entry(bytes, *directory, number))
    }

    /// The piece that holds byte `at` of the extent.
    pub(super) fn piece(&self, files: &Files, at: u64, unwritten: Place) -> Piece {
        let number = at.checked_div(self.grain).unwrap_or(0);
        let grain = Extent::new(number.saturating_mul(self.grain), self.grain);
        let lost = Piece::new(grain, Place::Lost);
        // A descriptor may give an extent more sectors than it has.
        let Some(bytes) = files.whole(self.file).filter(|_| grain.start < self.size) else { return lost };
        if let Some(stream) = &self.found {
            let place = stream.place(number).map_or(Place::Lost, |packed| self.packed(number, packed));
            return Piece::new(grain, place);
        }
        match self.either(bytes, number) {
            None => lost,
            Some(Err(kind)) => {
                let reach = self.per_table.saturating_mul(self.grain);
                let table = at.checked_div(reach).unwrap_or(0).saturating_mul(reach);
                Piece::new(Extent::new(table, reach), if kind == 0 { unwritten } else { Place::Zeros })
            }
            Some(Ok(entry)) => {
                let place = self.grain_place(bytes, number, bytes.le32(index(entry.start)), unwritten);
                Piece { extent: grain, place: place.unwrap_or(Place::Lost), entry: (self.file, entry) }
            }
        }
    }

    fn grain_place(&self, bytes: &[u8], number: u64, entry: Option<u32>, unwritten: Place) -> Option<Place> {
        match entry? {
            0 => Some(unwritten),
            1 if self.flags & ZEROED_GRAINS != 0 => Some(Place::Zeros),
            sector => {
                let at = u64::from(sector).checked_mul(SECTOR)?;
                if !self.is_packed() {
                    return Some(Place::Stored { file: self.file, at, summed: 0 });
                }
                if self.flags & MARKERS == 0 {
                    return Some(self.packed(number, Extent::new(at, self.grain.saturating_mul(2))));
                }
                // The mark before it has to name the same grain.
                let (lba, len) = (bytes.le64(index(at))?, bytes.le32(index(at.checked_add(8)?))?);
                let same = lba.checked_mul(SECTOR)?.checked_div(self.grain)? == number;
                same.then(|| self.packed(number, Extent::new(at.saturating_add(12), len.into())))
            }
        }
    }

    /// A packed grain: all unpack to the same length but the last, which may be short.
    fn packed(&self, number: u64, extent: Extent) -> Place {
        let is_last = number.saturating_add(1).saturating_mul(self.grain) >= self.size;
        let len = if is_last { self.last } else { self.grain };
        Place::Packed { file: self.file, extent, codec: Codec::Zlib, len }
    }

    /// Finds out how long the last grain is.
    fn measure(&mut self, bytes: &[u8]) {
        let number = self.size.saturating_sub(1).checked_div(self.grain).unwrap_or(0);
        let short = self.size.saturating_sub(number.saturating_mul(self.grain));
        let entry = self.either(bytes, number).and_then(Result::ok).and_then(|entry| bytes.le32(index(entry.start)));
        let place = match &self.found {
            Some(stream) => stream.place(number).map(|packed| self.packed(number, packed)),
            None => self.grain_place(bytes, number, entry, Place::Zeros),
        };
        if let Some(Place::Packed { extent, codec, .. }) = place {
            let there = extent.intersect(Extent::new(0, bytes.len() as u64));
            let packed = bytes.span(index(there.start), index(there.len)).unwrap_or_default();
            let length = measured(codec, packed, self.grain).map_or(self.grain, |unpacked| unpacked.len() as u64);
            self.last = if length >= short { length } else { self.grain };
        }
    }

    /// The tables and their copies should say the same.
    fn compare(&self, bytes: &[u8], place: &str, about: &mut About) {
        let tables = self.size.div_ceil(self.grain).div_ceil(self.per_table);
        let [first, second] = self.directories;
        if self.found.is_some() {
            return;
        }
        let end = first.saturating_add(tables.saturating_mul(4));
        if first == 0 || end > bytes.len() as u64 {
            let else_read = if second != 0 { "its copy is read" } else { "its grains are unreadable" };
            about.fault(format!("{place}: its directory of grains is missing or breaks off: {else_read}"));
            return;
        }
        let len = self.per_table.saturating_mul(4);
        if second == 0 || tables.saturating_mul(len) > MOST_COMPARED {
            return;
        }
        let table = |directory: u64, n: u64| match self.entry(bytes, directory, n.saturating_mul(self.per_table)) {
            Some(Ok(entry)) => bytes.span(index(entry.start), index(len)).ok_or(0),
            Some(Err(kind)) => Err(kind),
            None => Err(u32::MAX),
        };
        let differ = (0..tables).filter(|n| table(first, *n) != table(second, *n)).count();
        if differ > 0 {
            about.fault(format!(
                "{place}: {differ} of its {tables} tables differ from their copies: the first are read"
            ));
        }
    }
}
