//! Where the chunks stand. Tables stay in the map and are read entry by entry: those of a large disk would fill memory.

use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::image::about::About;
use crate::image::chunks::{Files, Place};
use crate::image::codec::{self, Codec};

/// How a table's entries are written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// Four bytes: an offset from `base`, and a bit for what is packed. A chunk ends where the next begins, the last one
    /// at `limit`. From entry `plain` on the offset has outgrown 31 bits, takes all 32, and nothing is packed.
    First { base: u64, limit: u64, plain: u64 },
    /// Sixteen bytes: an offset, a length and flags; the packed ones by `codec`.
    Second { codec: Codec },
}

/// One table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Number of its first chunk; that of the first format follows from the tables before it.
    pub(super) first: u64,
    /// Its chunks; `None` where the table is damaged beyond telling.
    pub(super) count: Option<u64>,
    /// Number of its file.
    pub(super) file: usize,
    /// Where its entries begin.
    pub(super) at: u64,
    /// How they are written.
    pub(super) form: Form,
}

/// The tables of a set.
#[derive(Default)]
pub(super) struct Tables(Vec<Span>);

/// A place, and the file and bytes that name it.
type Placed = (Place, (usize, Extent));

impl Tables {
    /// Adds the next table.
    pub(super) fn push(&mut self, span: Span) {
        self.0.push(span);
    }

    /// Numbers the chunks, of which there should be `chunks`.
    pub(super) fn settle(&mut self, chunks: u64, about: &mut About) {
        let unknown = self.0.iter().filter(|span| span.count.is_none()).count();
        let known = self.0.iter().fold(0u64, |n, span| n.saturating_add(span.count.unwrap_or(0)));
        let rest = chunks.saturating_sub(known);
        let (mut next, mut lost) = (0u64, false);
        for span in &mut self.0 {
            if matches!(span.form, Form::First { .. }) {
                span.first = next;
            }
            // One unknown count follows from the others; behind one of several nobody knows which chunk is which.
            lost |= span.count.is_none() && unknown > 1;
            let count = span.count.unwrap_or(rest);
            next = span.first.saturating_add(count);
            span.count = (span.count.is_some() && !lost).then_some(count);
        }
        self.0.retain(|span| span.count.is_some_and(|count| count > 0));
        self.0.sort_by_key(|span| span.first);
        let placed = self.0.iter().fold(0u64, |n, span| n.saturating_add(span.count.unwrap_or(0)));
        if placed < chunks {
            let what = format!("its tables place {placed} of the {chunks} chunks of the disk");
            about.fault(format!("{what}; the others read as zeros and count as unreadable"));
        } else if placed > chunks {
            about
                .remark(format!("its tables place {placed} chunks where the disk has {chunks}; the last are not read"));
        }
    }

    /// The place of chunk `number`, of which `len` bytes are wanted; the number of the chunk at which a table begins
    /// again (`None`: nowhere) where no table has it.
    pub(super) fn place(&self, files: &Files, number: u64, len: u64) -> Result<Placed, Option<u64>> {
        let behind = self.0.partition_point(|span| span.first <= number);
        let span = behind.checked_sub(1).and_then(|row| self.0.get(row));
        let inside = span.and_then(|span| Some((span, number.checked_sub(span.first)?)));
        let inside = inside.filter(|(span, row)| span.count.is_some_and(|count| *row < count));
        let Some((span, row)) = inside else { return Err(self.0.get(behind).map(|span| span.first)) };
        Ok(span.place(files, row, len))
    }

    /// How many bytes chunk `number` holds: at least `counted`, at most `chunk`.
    pub(super) fn length(&self, files: &Files, number: u64, counted: u64, chunk: u64) -> u64 {
        let length = match self.place(files, number, counted) {
            Ok((Place::Packed { file, extent, codec, .. }, _)) => {
                let packed = files.at(file, extent).unwrap_or_default();
                codec::measured(codec, packed, chunk).map_or(counted, |bytes| bytes.len() as u64)
            }
            Ok((Place::Stored { summed, .. }, _)) => summed,
            _ => counted,
        };
        if (counted..=chunk).contains(&length) { length } else { counted }
    }
}

impl Span {
    fn entry(&self, row: u64) -> Extent {
        let size = if matches!(self.form, Form::First { .. }) { 4 } else { 16 };
        Extent::new(self.at.saturating_add(row.saturating_mul(size)), size)
    }

    fn place(&self, files: &Files, row: u64, len: u64) -> Placed {
        let entry = (self.file, self.entry(row));
        let place = match self.form {
            Form::First { .. } => self.first_place(files, row, len),
            Form::Second { codec } => self.second_place(files, row, len, codec),
        };
        (place.unwrap_or(Place::Lost), entry)
    }

    /// Offset, and whether it is packed.
    fn first_entry(&self, files: &Files, row: u64) -> Option<(u64, bool)> {
        let Form::First { base, plain, .. } = self.form else { return None };
        let entry = files.at(self.file, self.entry(row))?.le32(0)?;
        if row >= plain {
            return Some((base.checked_add(entry.into())?, false));
        }
        Some((base.checked_add(u64::from(entry & 0x7fff_ffff))?, entry >> 31 != 0))
    }

    fn first_place(&self, files: &Files, row: u64, len: u64) -> Option<Place> {
        let Form::First { limit, .. } = self.form else { return None };
        let (offset, packed) = self.first_entry(files, row)?;
        let next = row.checked_add(1).filter(|next| self.count.is_some_and(|count| *next < count));
        let next = next.and_then(|row| self.first_entry(files, row)).map_or(limit, |(offset, _)| offset);
        // Chunks need not stand in order: the end is then only known to lie before the section's.
        let end = if next > offset { next.min(limit) } else { limit };
        let room = end.checked_sub(offset).filter(|room| *room > 0)?;
        if packed {
            let extent = Extent::new(offset, room);
            return Some(Place::Packed { file: self.file, extent, codec: Codec::Zlib, len });
        }
        let stored = room.checked_sub(4)?;
        // Of the last chunk of a disk only what is on it may be stored; anything between is not known to be data.
        let summed = if next > offset && stored >= len { stored } else { len };
        Some(Place::Stored { file: self.file, at: offset, summed })
    }

    fn second_place(&self, files: &Files, row: u64, len: u64, codec: Codec) -> Option<Place> {
        const PACKED: u32 = 1;
        const SUMMED: u32 = 2;
        const PATTERN: u32 = 4;
        let entry = files.at(self.file, self.entry(row))?;
        let (offset, size, flags) = (entry.le64(0)?, entry.le32(8)?, entry.le32(12)?);
        if flags & PACKED != 0 && flags & PATTERN != 0 {
            return Some(Place::Filled(offset.to_le_bytes()));
        }
        if flags & PACKED != 0 {
            let extent = Extent::new(offset, size.into());
            return Some(Place::Packed { file: self.file, extent, codec, len });
        }
        let summed = if flags & SUMMED != 0 { u64::from(size).checked_sub(4)? } else { 0 };
        Some(Place::Stored { file: self.file, at: offset, summed })
    }
}

/// The first entry of a table of `count` at `at` whose offset no longer fits into 31 bits; `count` where all do.
pub(super) fn outgrown(bytes: &[u8], at: u64, count: u64) -> u64 {
    let entry = |row: u64| bytes.le32(index(at.saturating_add(row.saturating_mul(4))));
    let mut last = 0;
    for row in 0..count {
        let Some(offset) = entry(row).map(|entry| entry & 0x7fff_ffff) else { return count };
        if offset < last {
            // It came round: the entry before it was the last that fits.
            return row;
        }
        last = offset;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_that_comes_round_ends_the_bit() {
        let entries = [0x8000_0100u32, 0xffff_0000, 0x8000_0100, 0x8000_8104];
        let bytes: Vec<u8> = entries.iter().flat_map(|e| e.to_le_bytes()).collect();
        assert_eq!(outgrown(&bytes, 0, 4), 2);
        assert_eq!(outgrown(&bytes, 0, 2), 2);
        assert_eq!(outgrown(&bytes, 0, 9), 2);
        assert_eq!(outgrown(&bytes, 8, 2), 2);
    }
}
