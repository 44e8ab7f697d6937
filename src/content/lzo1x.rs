//! LZO1X, with the runs of zeros of its version 1 (LZO-RLE).
//!
//! Kernel documentation, "LZO stream format as understood by Linux's LZO decompressor". A stream ends with an instruction of its own.

use crate::bytes::Fields;

/// The most that one instruction repeats a byte of its length.
const MAX_ZEROS: usize = 1 << 17;

/// What `stored` holds, at most `most` bytes of it; `None` where it is damaged, or goes on behind that.
pub(super) fn decompress(stored: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut stream = Stream { stored, at: 0, out: Vec::with_capacity(most.min(1 << 20)), most };
    stream.run()?;
    Some(stream.out)
}

struct Stream<'a> {
    stored: &'a [u8],
    at: usize,
    out: Vec<u8>,
    most: usize,
}

impl Stream<'_> {
    fn run(&mut self) -> Option<()> {
        // Literals that the last instruction copied: 4 stands for more than three.
        let mut state = 0;
        let has_version = self.stored.byte(0)? == 17 && self.stored.len() >= 5;
        let has_runs = has_version && self.stored.byte(1)? > 0;
        self.at = if has_version { 2 } else { 0 };
        if let Some(count) = usize::from(self.stored.byte(self.at)?).checked_sub(17).filter(|count| *count > 0) {
            self.at = self.at.checked_add(1)?;
            self.literals(count)?;
            state = count.min(4);
        }
        loop {
            let op = usize::from(self.next()?);
            let (len, distance, literals) = match op {
                0..16 if state == 0 => {
                    let count = self.length(op, 15)?.checked_add(3)?;
                    self.literals(count)?;
                    state = 4;
                    continue;
                }
                0..16 => {
                    let near = usize::from(self.next()?).checked_mul(4)?.checked_add(op >> 2)?;
                    if state == 4 { (3, near.checked_add(2049)?, op & 3) } else { (2, near.checked_add(1)?, op & 3) }
                }
                16..32 => {
                    if has_runs && op & 0x18 == 0x18 && self.stored.le16(self.at)? & 0xfffc == 0xfffc {
                        state = self.zeros(op)?;
                        continue;
                    }
                    let len = self.length(op & 7, 7)?.checked_add(2)?;
                    let (low, literals) = self.pair()?;
                    let distance = low.checked_add(0x4000)?.checked_add((op & 8) << 11)?;
                    if distance == 0x4000 {
                        return Some(());
                    }
                    (len, distance, literals)
                }
                32..64 => {
                    let len = self.length(op & 31, 31)?.checked_add(2)?;
                    let (low, literals) = self.pair()?;
                    (len, low.checked_add(1)?, literals)
                }
                _ => {
                    let len = if op < 128 { (op >> 5 & 1).checked_add(3)? } else { (op >> 5 & 3).checked_add(5)? };
                    let high = usize::from(self.next()?).checked_mul(8)?;
                    (len, high.checked_add(op >> 2 & 7)?.checked_add(1)?, op & 3)
                }
            };
            self.copy(distance, len)?;
            self.literals(literals)?;
            state = literals;
        }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.stored.byte(self.at)?;
        self.at = self.at.checked_add(1)?;
        Some(byte)
    }

    /// Two bytes: a distance, and how many literals follow.
    fn pair(&mut self) -> Option<(usize, usize)> {
        let pair = usize::from(self.stored.le16(self.at)?);
        self.at = self.at.checked_add(2)?;
        Some((pair >> 2, pair & 3))
    }

    /// A length that is in the instruction, or where that says zero behind it: `base`, and 255 for each zero, and a byte.
    fn length(&mut self, inside: usize, base: usize) -> Option<usize> {
        if inside != 0 {
            return Some(inside);
        }
        let mut len = base;
        for _ in 0..MAX_ZEROS {
            match self.next()? {
                0 => len = len.checked_add(255)?,
                last => return len.checked_add(last.into()),
            }
        }
        None
    }

    fn literals(&mut self, count: usize) -> Option<()> {
        let bytes = self.stored.span(self.at, count)?;
        self.room(count)?;
        self.out.extend_from_slice(bytes);
        self.at = self.at.checked_add(count)?;
        Some(())
    }

    /// A run of zeros; gives how many literals follow, which it copies.
    fn zeros(&mut self, op: usize) -> Option<usize> {
        let (_, literals) = self.pair()?;
        let len = (usize::from(self.next()?) << 3 | op & 7).checked_add(4)?;
        self.room(len)?;
        self.out.resize(self.out.len().checked_add(len)?, 0);
        self.literals(literals)?;
        Some(literals)
    }

    /// Repeats what was given `distance` bytes before.
    fn copy(&mut self, distance: usize, len: usize) -> Option<()> {
        self.room(len)?;
        let from = self.out.len().checked_sub(distance).filter(|_| distance > 0)?;
        if distance >= len {
            self.out.extend_from_within(from..from.checked_add(len)?);
            return Some(());
        }
        for at in from..from.checked_add(len)? {
            self.out.push(self.out.byte(at)?);
        }
        Some(())
    }

    fn room(&self, len: usize) -> Option<()> {
        (self.out.len().checked_add(len)? <= self.most).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_instruction_does_what_the_format_says() {
        // Four literals, one copied thrice over itself, the end.
        let plain = [21, b'a', b'b', b'c', b'd', 0x40, 0, 0x11, 0, 0];
        assert_eq!(decompress(&plain, 100).as_deref(), Some(&b"abcdddd"[..]));
        // Version 1: two literals, a run of 4 + 9 zeros, one literal behind it, the end.
        let runs = [17, 1, 19, b'x', b'y', 0x19, 0xfd, 0xff, 1, b'z', 0x11, 0, 0];
        assert_eq!(decompress(&runs, 100).as_deref(), Some(&b"xy\0\0\0\0\0\0\0\0\0\0\0\0\0z"[..]));
        assert_eq!(decompress(&runs, 15), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), most in 0usize..5000) {
            prop_assert!(decompress(&bytes, most).is_none_or(|out| out.len() <= most));
        }
    }
}
