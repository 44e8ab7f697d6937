//! Blocks of a Zstandard frame (RFC 8878, 3.1.1.2 and 3.1.1.3), as far as one needs to know them to go on behind them: how much they
//! hold, how far they reach back, and what they leave to later blocks: tables, and the last three offsets.
//!
//! Content is not made here. Literals are stepped over, sequences are read.

use super::fse::{Bits, Meaning, Table};
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use std::sync::{Arc, LazyLock};

/// The most that a block may hold.
pub(super) const MOST: u64 = 128 << 10;

/// Which codes a table is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Literals = 0,
    Offsets = 1,
    Matches = 2,
}

const KINDS: [Kind; 3] = [Kind::Literals, Kind::Offsets, Kind::Matches];

/// What the codes of each kind mean.
static MEANINGS: LazyLock<[Vec<Meaning>; 3]> = LazyLock::new(|| {
    let lengths = |plain: u32, least: u32, extra: &[u8]| {
        let mut meanings: Vec<Meaning> =
            (0..plain).map(|code| Meaning { value: code.saturating_add(least), extra: 0 }).collect();
        let mut value = plain.saturating_add(least);
        for extra in extra {
            meanings.push(Meaning { value, extra: *extra });
            value = value.saturating_add(1u32.wrapping_shl((*extra).into()));
        }
        meanings
    };
    let literals = lengths(16, 0, &[1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    let matches = lengths(32, 3, &[1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
    let offsets = (0..32u8).map(|extra| Meaning { value: 1u32.wrapping_shl(extra.into()), extra }).collect();
    [literals, offsets, matches]
});

/// The tables that a frame may use without describing them.
static PREDEFINED: LazyLock<[Option<Arc<Table>>; 3]> = LazyLock::new(|| {
    let runs = |runs: &[(usize, i32)]| runs.iter().flat_map(|(count, of)| vec![*of; *count]).collect::<Vec<i32>>();
    let literals = [(1, 4), (1, 3), (11, 2), (3, 1), (9, 2), (1, 3), (1, 2), (5, 1), (4, -1)];
    let offsets = [(6, 1), (3, 2), (15, 1), (5, -1)];
    let matches = [(1, 1), (1, 4), (1, 3), (6, 2), (37, 1), (7, -1)];
    let table = |kind: Kind, log, of: &[(usize, i32)]| Table::spread(log, &runs(of), kind.meanings()).map(Arc::new);
    [table(Kind::Literals, 6, &literals), table(Kind::Offsets, 5, &offsets), table(Kind::Matches, 6, &matches)]
});

impl Kind {
    fn meanings(self) -> &'static [Meaning] {
        MEANINGS.get(self as usize).map_or(&[], Vec::as_slice)
    }

    fn predefined(self) -> Option<Arc<Table>> {
        PREDEFINED.get(self as usize)?.clone()
    }

    const fn accuracy(self) -> u8 {
        match self {
            Self::Literals | Self::Matches => 9,
            Self::Offsets => 8,
        }
    }
}

/// What a block leaves to those behind it.
#[derive(Clone)]
pub(super) struct Kept {
    /// The last three offsets, the last first.
    pub(super) offsets: [u64; 3],
    /// The description of the last Huffman table.
    huffman: Option<Arc<[u8]>>,
    tables: [Option<Arc<Table>>; 3],
}

impl Default for Kept {
    fn default() -> Self {
        Self { offsets: [1, 4, 8], huffman: None, tables: [None, None, None] }
    }
}

/// Where a block stands in its frame.
pub(super) struct Setting<'f> {
    /// How much the frame holds before it.
    pub(super) at: u64,
    /// How far back it may reach.
    pub(super) window: u64,
    /// Called with what it reaches back to.
    pub(super) reaches: &'f mut dyn FnMut(Extent),
}

/// A block of compressed bytes, looked through.
pub(super) struct Seen {
    /// How much it holds.
    pub(super) len: u64,
    /// Where its tables begin, behind the byte that says of which modes they are.
    tables: usize,
    /// Which tables are the last ones, of one code: they cannot be part of a dictionary.
    repeated: [Option<u8>; 3],
    /// Bytes of each table's description.
    described: [usize; 3],
}

impl Kept {
    /// Looks through the block of compressed bytes. `None` where it is damaged.
    pub(super) fn pass(&mut self, block: &[u8], setting: Setting<'_>, padded: &mut Vec<u8>) -> Option<Seen> {
        let (literals, rest) = self.literals(block)?;
        let mut seen = Seen { len: literals, tables: 0, repeated: [None; 3], described: [0; 3] };
        let section = block.get(rest..)?;
        let (count, at) = match u64::from(section.byte(0)?) {
            0 => return (section.len() == 1).then_some(seen),
            short @ 1..=127 => (short, 1usize),
            255 => (u64::from(section.le16(1)?).checked_add(0x7f00)?, 3),
            long => ((long & 127) << 8 | u64::from(section.byte(1)?), 2),
        };
        let modes = section.byte(at)?;
        let mut at = at.checked_add(1)?;
        seen.tables = rest.checked_add(at)?;
        for (kind, shift) in KINDS.into_iter().zip([6, 4, 2]) {
            let slot = self.tables.get_mut(kind as usize)?;
            let described = match modes >> shift & 3 {
                0 => {
                    *slot = kind.predefined();
                    0
                }
                1 => {
                    let code = section.byte(at)?;
                    let meaning = kind.meanings().get(usize::from(code))?;
                    *slot = Some(Arc::new(Table::single(code, *meaning)));
                    1
                }
                2 => {
                    let table = Table::described(section.get(at..)?, kind.accuracy(), kind.meanings())?;
                    let len = table.description.len();
                    *slot = Some(Arc::new(table));
                    len
                }
                _ => {
                    *seen.repeated.get_mut(kind as usize)? = slot.as_ref()?.only;
                    0
                }
            };
            *seen.described.get_mut(kind as usize)? = described;
            at = at.checked_add(described)?;
        }
        padded.clear();
        padded.extend_from_slice(section.get(at..)?);
        padded.extend_from_slice(&[0; 8]);
        seen.len = self.sequences(count, literals, Bits::new(padded)?, setting)?;
        Some(seen)
    }

    /// How much the literals of a block are, and where they end.
    fn literals(&mut self, block: &[u8]) -> Option<(u64, usize)> {
        let first = block.byte(0)?;
        let word = |len: usize| Some(block.span(0, len)?.iter().rev().fold(0u64, |word, b| word << 8 | u64::from(*b)));
        if first & 3 < 2 {
            let (size, head) = match first >> 2 & 3 {
                1 => (word(2)? >> 4, 2usize),
                3 => (word(3)? >> 4, 3),
                _ => (u64::from(first >> 3), 1),
            };
            let stored = if first & 3 == 0 { index(size) } else { 1 };
            return Some((size, head.checked_add(stored)?));
        }
        let (bits, head) = match first >> 2 & 3 {
            2 => (14u32, 4usize),
            3 => (18, 5),
            _ => (10, 3),
        };
        let mask = 1u64.checked_shl(bits)?.checked_sub(1)?;
        let sizes = word(head)? >> 4;
        let (size, packed) = (sizes & mask, index(sizes.checked_shr(bits)? & mask));
        if first & 3 == 2 {
            let weights = usize::from(block.byte(head)?);
            let len = if weights < 128 { weights } else { weights.checked_sub(126)? >> 1 };
            self.huffman = Some(block.span(head, len.checked_add(1)?)?.into());
        }
        Some((size, head.checked_add(packed)?))
    }

    /// Reads the sequences; gives how much the block holds.
    fn sequences(&mut self, count: u64, literals: u64, mut bits: Bits<'_>, setting: Setting<'_>) -> Option<u64> {
        let [Some(lengths), Some(offsets), Some(matches)] = self.tables.each_ref().map(Option::as_deref) else {
            return None;
        };
        let mut state = [0usize; 3];
        for (state, table) in state.iter_mut().zip([lengths, offsets, matches]) {
            *state = index(bits.read(table.log)?);
        }
        let [mut length, mut offset, mut matched] = state;
        let (mut used, mut len) = (0u64, 0u64);
        let mut last = self.offsets;
        for number in 1..=count {
            let mut read = |meaning: Meaning| bits.read(meaning.extra)?.checked_add(meaning.value.into());
            let value = read(offsets.meaning(offset)?)?;
            let copied = read(matches.meaning(matched)?)?;
            let before = read(lengths.meaning(length)?)?;
            let back = moved(&mut last, value, before == 0)?;
            (used, len) = (used.checked_add(before)?, len.checked_add(before)?);
            let from = setting.at.checked_add(len)?.checked_sub(back).filter(|_| back <= setting.window)?;
            if from < setting.at {
                (setting.reaches)(Extent::new(from, copied));
            }
            len = len.checked_add(copied).filter(|len| *len <= MOST)?;
            if number < count {
                length = lengths.next(length, &mut bits)?;
                matched = matches.next(matched, &mut bits)?;
                offset = offsets.next(offset, &mut bits)?;
            }
        }
        self.offsets = last;
        let tail = literals.checked_sub(used)?;
        len.checked_add(tail).filter(|len| *len <= MOST && bits.is_empty())
    }

    /// A dictionary, all but its content, that brings the decoder to where it was here.
    pub(super) fn dictionary(&self) -> Option<Vec<u8>> {
        // A tree of two leaves, where no block has needed one.
        const NONE: &[u8] = &[0x80, 0x10];
        let mut bytes = [0xec30_a437u32.to_le_bytes(), 1u32.to_le_bytes()].concat();
        bytes.extend_from_slice(self.huffman.as_deref().unwrap_or(NONE));
        for kind in [Kind::Offsets, Kind::Matches, Kind::Literals] {
            let table = self.tables.get(kind as usize)?.clone().filter(|table| table.only.is_none());
            bytes.extend_from_slice(&table.or_else(|| kind.predefined())?.description);
        }
        for offset in self.offsets {
            bytes.extend_from_slice(&u32::try_from(offset).ok()?.to_le_bytes());
        }
        Some(bytes)
    }
}

/// The offset that `value` stands for, which becomes the last one.
fn moved(last: &mut [u64; 3], value: u64, alone: bool) -> Option<u64> {
    let [a, b, c] = *last;
    if value > 3 {
        let new = value.checked_sub(3)?;
        *last = [new, a, b];
        return Some(new);
    }
    *last = match value.checked_add(alone.into())? {
        1 => [a, b, c],
        2 => [b, a, c],
        3 => [c, a, b],
        _ => [a.checked_sub(1)?, a, b],
    };
    last.first().copied().filter(|offset| *offset > 0)
}

impl Seen {
    /// The block with those tables of one code in it that it repeats, of the kinds that `fresh` says; `None` where there are none.
    pub(super) fn rewritten(&self, block: &[u8], fresh: [bool; 3]) -> Option<Vec<u8>> {
        let wanted: Vec<Option<u8>> =
            self.repeated.iter().zip(fresh).map(|(code, fresh)| code.filter(|_| fresh)).collect();
        wanted.iter().flatten().next()?;
        let mut out = block.get(..self.tables)?.to_vec();
        let mut at = self.tables;
        for ((code, len), shift) in wanted.iter().zip(self.described).zip([6, 4, 2]) {
            let end = at.checked_add(len)?;
            if let Some(code) = code {
                let modes = out.get_mut(self.tables.checked_sub(1)?)?;
                *modes = *modes & !(3u8.checked_shl(shift)?) | 1u8.checked_shl(shift)?;
                out.push(*code);
            }
            out.extend_from_slice(block.get(at..end)?);
            at = end;
        }
        out.extend_from_slice(block.get(at..)?);
        Some(out)
    }

    /// Which tables a decoder has behind this block, whatever it had before: its own, and those of one code that were written into it.
    pub(super) fn own(&self, block: &[u8]) -> Option<[bool; 3]> {
        let modes = block.byte(self.tables.checked_sub(1)?)?;
        let [a, b, c] = self.repeated.map(|code| code.is_some());
        Some([modes >> 6 & 3 != 3 || a, modes >> 4 & 3 != 3 || b, modes >> 2 & 3 != 3 || c])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_mean_what_the_format_says() {
        let at = |kind: Kind, code: usize| kind.meanings().get(code).map(|m| (m.value, m.extra));
        assert_eq!(
            [at(Kind::Literals, 15), at(Kind::Literals, 25), at(Kind::Literals, 35)],
            [Some((15, 0)), Some((64, 6)), Some((65536, 16))]
        );
        assert_eq!(
            [at(Kind::Matches, 0), at(Kind::Matches, 42), at(Kind::Matches, 52)],
            [Some((3, 0)), Some((99, 5)), Some((65539, 16))]
        );
        assert!(KINDS.iter().all(|kind| kind.predefined().is_some()));
    }

    #[test]
    fn offsets_are_repeated_as_the_format_says() {
        let mut last = [10, 20, 30];
        let all = [(5, false), (1, false), (2, false), (3, false), (1, true), (2, true), (3, true)];
        let moved: Vec<Option<u64>> = all.iter().map(|(value, alone)| moved(&mut last, *value, *alone)).collect();
        assert_eq!(moved, [2, 2, 10, 20, 10, 2, 1].map(Some));
        assert_eq!(last, [1, 2, 10]);
        assert_eq!(super::moved(&mut [1, 4, 8], 3, true), None);
    }
}
