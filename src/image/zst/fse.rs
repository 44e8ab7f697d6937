//! Tables of Finite State Entropy codes, and the bits that are read with them (RFC 8878, 4.1).

use crate::bytes::{Fields, index, offset};

/// What a code stands for: bits that are read behind it are added to `value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    /// The least that it stands for.
    pub(super) value: u32,
    /// How many bits are added to that.
    pub(super) extra: u8,
}

/// What a state stands for, and how the next one is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    meaning: Meaning,
    /// Bits that are read for the next state.
    bits: u8,
    /// What they are added to.
    base: u16,
}

/// A table of states.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Accuracy: there are 2^`log` states.
    pub(super) log: u8,
    /// One code for everything, which is what a table of one state has.
    pub(super) only: Option<u8>,
    /// The bytes that describe it; none where it is of one code.
    pub(super) description: Vec<u8>,
    states: Vec<State>,
}

impl Table {
    /// The table of one code, which is read from no bits.
    pub(super) fn single(code: u8, meaning: Meaning) -> Self {
        Self { log: 0, only: Some(code), description: Vec::new(), states: vec![State { meaning, bits: 0, base: 0 }] }
    }

    /// The table that `bytes` begin with, of at most 2^`most` states; `meanings` are those of the codes there may be. `None` where there is none.
    pub(super) fn described(bytes: &[u8], most: u8, meanings: &[Meaning]) -> Option<Self> {
        let log = (bytes.byte(0)? & 15).checked_add(5).filter(|log| *log <= most)?;
        // What lies behind the end reads as zeros here; that it does is looked at when all is read.
        let peek = |at: usize| {
            let word = (0..4usize)
                .rev()
                .fold(0u32, |word, n| word << 8 | u32::from(bytes.byte((at >> 3).saturating_add(n)).unwrap_or(0)));
            word >> (at & 7)
        };
        let (mut at, mut counts) = (4usize, Vec::new());
        let mut left = Left::new(log);
        while left.states > 1 {
            let (value, bits) = left.value(peek(at));
            at = at.checked_add(bits)?;
            let count = i32::try_from(value).ok()?.checked_sub(1)?;
            left.take(count)?;
            counts.push(count);
            let mut zeros = if count == 0 { 3 } else { 0 };
            while zeros == 3 && counts.len() <= meanings.len() {
                zeros = peek(at) & 3;
                at = at.checked_add(2)?;
                counts.extend((0..zeros).map(|_| 0));
            }
            if counts.len() > meanings.len() {
                return None;
            }
        }
        Self::of(log, &counts, bytes.get(..at.div_ceil(8))?.to_vec(), meanings)
    }

    /// The table of codes that have so many states each; -1 is one that has less than one.
    pub(super) fn spread(log: u8, counts: &[i32], meanings: &[Meaning]) -> Option<Self> {
        Self::of(log, counts, describe(log, counts)?, meanings)
    }

    fn of(log: u8, counts: &[i32], description: Vec<u8>, meanings: &[Meaning]) -> Option<Self> {
        let size = 1usize.checked_shl(log.into())?;
        let mut codes = vec![0usize; size];
        let mut free = size;
        for (code, _) in counts.iter().enumerate().filter(|(_, count)| **count < 0) {
            free = free.checked_sub(1)?;
            *codes.get_mut(free)? = code;
        }
        let step = (size >> 1).checked_add(size >> 3)?.checked_add(3)?;
        let mut place = 0usize;
        for (code, count) in counts.iter().enumerate() {
            for _ in 0..(*count).max(0) {
                *codes.get_mut(place)? = code;
                loop {
                    place = place.checked_add(step)? & size.checked_sub(1)?;
                    if place < free || free == 0 {
                        break;
                    }
                }
            }
        }
        let mut next: Vec<u32> = counts.iter().map(|count| count.unsigned_abs()).collect();
        let states = codes.into_iter().map(|code| {
            let number = next.get_mut(code)?;
            let bits = log.checked_sub(u8::try_from(number.checked_ilog2()?).ok()?)?;
            let base = number.checked_shl(bits.into())?.checked_sub(u32::try_from(size).ok()?)?;
            *number = number.checked_add(1)?;
            Some(State { meaning: *meanings.get(code)?, bits, base: u16::try_from(base).ok()? })
        });
        let states = states.collect::<Option<Vec<State>>>()?;
        Some(Self { log, only: None, description, states })
    }

    /// What state `number` stands for.
    pub(super) fn meaning(&self, number: usize) -> Option<Meaning> {
        self.states.get(number).map(|state| state.meaning)
    }

    /// The state behind `number`.
    pub(super) fn next(&self, number: usize, bits: &mut Bits<'_>) -> Option<usize> {
        let state = self.states.get(number)?;
        index(bits.read(state.bits)?).checked_add(state.base.into())
    }
}

/// The states that codes still have to be given while a description is read or written.
struct Left {
    /// One more than there are.
    states: u32,
    /// The power of two that they are not less than.
    power: u32,
    width: u32,
}

impl Left {
    fn new(log: u8) -> Self {
        let power = 1u32.wrapping_shl(log.into());
        Self { states: power.saturating_add(1), power, width: u32::from(log).saturating_add(1) }
    }

    /// Values below it are a bit shorter.
    const fn short(&self) -> u32 {
        (self.power << 1).saturating_sub(1).saturating_sub(self.states)
    }

    /// The value that `bits` begin with, and how many bits it has.
    fn value(&self, bits: u32) -> (u32, usize) {
        let mask = self.power.saturating_sub(1);
        if bits & mask < self.short() {
            return (bits & mask, self.width.saturating_sub(1) as usize);
        }
        let value = bits & (mask << 1 | 1);
        let value = if value >= self.power { value.saturating_sub(self.short()) } else { value };
        (value, self.width as usize)
    }

    /// A value as bits, and how many.
    fn bits(&self, value: u32) -> (u32, u32) {
        if value < self.short() {
            (value, self.width.saturating_sub(1))
        } else if value < self.power {
            (value, self.width)
        } else {
            (value.saturating_add(self.short()), self.width)
        }
    }

    fn take(&mut self, count: i32) -> Option<()> {
        self.states = self.states.checked_sub(count.unsigned_abs()).filter(|left| *left > 0)?;
        while self.states < self.power {
            self.power >>= 1;
            self.width = self.width.checked_sub(1)?;
        }
        Some(())
    }
}

/// The description of such a table.
fn describe(log: u8, counts: &[i32]) -> Option<Vec<u8>> {
    let mut bits: Vec<bool> = Vec::new();
    let mut put = |value: u32, width: u32| bits.extend((0..width).map(|bit| value >> bit & 1 != 0));
    put(log.checked_sub(5)?.into(), 4);
    let mut left = Left::new(log);
    for count in counts {
        // None of the tables that are written so has a code without a state.
        let value = u32::try_from(count.checked_add(1)?).ok().filter(|_| *count != 0)?;
        let (value, width) = left.bits(value);
        put(value, width);
        left.take(*count)?;
    }
    let byte = |bits: &[bool]| bits.iter().rev().fold(0u8, |byte, bit| byte << 1 | u8::from(*bit));
    (left.states == 1).then(|| bits.chunks(8).map(byte).collect())
}

/// Bits that are read from their end.
pub(super) struct Bits<'b> {
    /// With bytes behind them that are not read.
    bytes: &'b [u8],
    /// How many are left.
    left: u64,
}

impl<'b> Bits<'b> {
    /// The bits of `bytes` but the last eight bytes, which are there so that words can be read.
    pub(super) fn new(bytes: &'b [u8]) -> Option<Self> {
        let len = bytes.len().checked_sub(8)?;
        let last = bytes.byte(len.checked_sub(1)?)?;
        let left = offset(len).checked_mul(8)?.checked_sub(u64::from(last.leading_zeros()))?.checked_sub(1)?;
        (last != 0).then_some(Self { bytes, left })
    }

    /// The next `count` bits, at most 31; `None` where there are not so many.
    #[inline]
    pub(super) fn read(&mut self, count: u8) -> Option<u64> {
        self.left = self.left.checked_sub(count.into())?;
        let word = self.bytes.le64(index(self.left >> 3))? >> (self.left & 7);
        Some(word & 1u64.checked_shl(count.into())?.wrapping_sub(1))
    }

    /// True where all were read.
    pub(super) const fn is_empty(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meanings() -> Vec<Meaning> {
        (0..53).map(|value| Meaning { value, extra: 0 }).collect()
    }

    proptest! {
        #[test]
        fn a_description_describes_its_table(log in 5u8..10, cuts in prop::collection::vec(1i32..9, 1..50)) {
            let mut counts = Vec::new();
            let mut left = 1i32 << log;
            for cut in cuts {
                let count = if cut == 8 { -1 } else { cut };
                if left > count.abs() {
                    counts.push(count);
                    left -= count.abs();
                }
            }
            counts.push(left);
            let table = Table::spread(log, &counts, &meanings()).unwrap();
            let behind = [&table.description[..], &[0xa5; 9]].concat();
            prop_assert_eq!(Table::described(&behind, 9, &meanings()), Some(table));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(table) = Table::described(&bytes, 9, &meanings()) {
                prop_assert_eq!(table.states.len(), 1 << table.log);
                let mut bits = Bits { bytes: &bytes, left: 8 * bytes.len().saturating_sub(8) as u64 };
                let mut state = 0;
                while let Some(next) = table.next(state, &mut bits).filter(|_| !bits.is_empty()) {
                    prop_assert!(table.meaning(next).is_some());
                    state = next;
                    if bits.read(1).is_none() {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn bits_are_read_from_their_end() {
        let bytes = [&[0b0110_0101, 0b0000_1011][..], &[0xff; 8]].concat();
        let mut bits = Bits::new(&bytes).unwrap();
        assert_eq!(
            [bits.read(2), bits.read(0), bits.read(5), bits.read(4)],
            [Some(1), Some(0), Some(0b10110), Some(0b0101)]
        );
        assert!(!bits.is_empty() || bits.read(1).is_none());
        assert!(Bits::new(&[0; 9]).is_none() && Bits::new(&[1; 8]).is_none());
    }
}
