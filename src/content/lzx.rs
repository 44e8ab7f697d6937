//! LZX as WIM images and the Windows Overlay Filter use it: chunks of 32 KiB, each on its own.
//!
//! The format of [MS-PATCH] with these differences (LZX of WIM, documented by wimlib): a block's size is one bit for
//! 32 KiB, or 16 bits; there is no head that tells of E8 translation, it is always done, for a file of 12,000,000 bytes.
//! Checked against chunks that wimlib wrote, by SHA-256.

use super::huffman::{Huffman, repeat};
use crate::bytes::Fields;

/// The size of a chunk and of its window.
pub const CHUNK: usize = 1 << 15;
const LITERALS: usize = 256;
/// 30 slots for the distance, by 8 lengths.
const MAIN: usize = LITERALS + 30 * 8;
const LENGTHS: usize = 249;
/// The shortest match, and the length at which the length code adds more.
const MIN_MATCH: usize = 2;
const LONG: usize = 7;
/// The size of file that E8 translation assumes.
const E8_SIZE: i32 = 12_000_000;

/// Bits in words of 16, the highest first.
struct Bits<'d> {
    data: &'d [u8],
    /// In bits.
    at: usize,
}

impl Bits<'_> {
    /// The next 32 bits; zeros behind the end.
    fn peek(&self) -> u32 {
        let start = (self.at >> 4).saturating_mul(2);
        let word = |n: usize| u64::from(self.data.le16(start.saturating_add(n)).unwrap_or(0));
        let bits = word(0) << 32 | word(2) << 16 | word(4);
        u32::try_from(bits >> (16usize.saturating_sub(self.at & 15)) & 0xffff_ffff).unwrap_or(0)
    }

    fn skip(&mut self, count: u32) -> Option<()> {
        self.at = self.at.checked_add(usize::try_from(count).ok()?)?;
        // One word of reserve: a code's last bits may be looked at behind the end, not taken.
        (self.at <= self.data.len().checked_add(2)?.checked_mul(8)?).then_some(())
    }

    fn take(&mut self, count: u32) -> Option<usize> {
        let value = self.peek().checked_shr(32u32.checked_sub(count)?).unwrap_or(0);
        self.skip(count)?;
        usize::try_from(value).ok()
    }

    fn symbol(&mut self, code: &Huffman) -> Option<usize> {
        let (symbol, length) = code.decode(self.peek())?;
        self.skip(length)?;
        Some(symbol.into())
    }

    /// So many bytes, from the next whole word on.
    fn bytes(&mut self, count: usize) -> Option<&[u8]> {
        let start = self.at / 8;
        self.at = start.checked_add(count)?.checked_mul(8)?;
        self.data.span(start, count)
    }
}

/// What goes on from block to block.
struct Decoder<'d> {
    bits: Bits<'d>,
    main: [u8; MAIN],
    lengths: [u8; LENGTHS],
    recent: [usize; 3],
    out: Vec<u8>,
    size: usize,
}

/// The codes of a block.
struct Codes {
    main: Huffman,
    length: Huffman,
    aligned: Option<Huffman>,
}

/// Decodes a chunk of `size` bytes; `None` for what no encoder writes.
pub fn decompress(data: &[u8], size: usize) -> Option<Vec<u8>> {
    (size <= CHUNK).then_some(())?;
    let (bits, out) = (Bits { data, at: 0 }, Vec::with_capacity(size));
    let mut decoder = Decoder { bits, main: [0; MAIN], lengths: [0; LENGTHS], recent: [1; 3], out, size };
    while decoder.out.len() < size {
        decoder.block()?;
    }
    let mut out = decoder.out;
    translate(&mut out);
    Some(out)
}

impl Decoder<'_> {
    fn block(&mut self) -> Option<()> {
        let kind = self.bits.take(3)?;
        let length = if self.bits.take(1)? == 1 { CHUNK } else { self.bits.take(16)? };
        let end = self.out.len().checked_add(length).filter(|end| length > 0 && *end <= self.size)?;
        match kind {
            1 | 2 => {
                let codes = self.codes(kind == 2)?;
                while self.out.len() < end {
                    self.element(&codes, end)?;
                }
                Some(())
            }
            3 => self.stored(length),
            _ => None,
        }
    }

    /// An uncompressed block: to the next word, three distances, the bytes.
    fn stored(&mut self, length: usize) -> Option<()> {
        let pad = 16usize.checked_sub(self.bits.at & 15)?;
        self.bits.skip(u32::try_from(pad).ok()?)?;
        let head = self.bits.bytes(12)?;
        let recent = [head.le32(0)?, head.le32(4)?, head.le32(8)?];
        self.recent = recent.map(|distance| usize::try_from(distance).unwrap_or(0));
        let bytes = self.bits.bytes(length)?.to_vec();
        self.out.extend(bytes);
        if length % 2 == 1 {
            self.bits.skip(8)?;
        }
        Some(())
    }

    fn codes(&mut self, aligned: bool) -> Option<Codes> {
        let aligned = if aligned {
            let mut lengths = [0u8; 8];
            for length in &mut lengths {
                *length = u8::try_from(self.bits.take(3)?).ok()?;
            }
            Some(Huffman::new(&lengths)?)
        } else {
            None
        };
        let (literals, matches) = self.main.split_at_mut(LITERALS);
        read_lengths(&mut self.bits, literals)?;
        read_lengths(&mut self.bits, matches)?;
        read_lengths(&mut self.bits, &mut self.lengths)?;
        Some(Codes { main: Huffman::new(&self.main)?, length: Huffman::new(&self.lengths)?, aligned })
    }

    /// A literal or a match.
    fn element(&mut self, codes: &Codes, end: usize) -> Option<()> {
        let symbol = self.bits.symbol(&codes.main)?;
        let Some(symbol) = symbol.checked_sub(LITERALS) else {
            self.out.push(u8::try_from(symbol).ok()?);
            return Some(());
        };
        let mut length = symbol & 7;
        if length == LONG {
            length = length.checked_add(self.bits.symbol(&codes.length)?)?;
        }
        let distance = self.distance(symbol >> 3, codes.aligned.as_ref())?;
        repeat(&mut self.out, distance, length.checked_add(MIN_MATCH)?, end)
    }

    /// The distance of a slot; the first three are those that were used last.
    fn distance(&mut self, slot: usize, aligned: Option<&Huffman>) -> Option<usize> {
        if slot < 3 {
            self.recent.swap(0, slot);
            return self.recent.first().copied();
        }
        let extra = u32::try_from((slot >> 1).checked_sub(1)?).ok()?;
        let base = (2 | slot & 1).checked_shl(extra)?;
        let more = match aligned {
            Some(code) if extra >= 3 => {
                let high = self.bits.take(extra.checked_sub(3)?)? << 3;
                high.checked_add(self.bits.symbol(code)?)?
            }
            _ => self.bits.take(extra)?,
        };
        let distance = base.checked_add(more)?.checked_sub(2)?;
        self.recent = [distance, self.recent[0], self.recent[1]];
        Some(distance)
    }
}

/// Lengths of codes, told as differences to those of the block before, in a code of their own.
fn read_lengths(bits: &mut Bits<'_>, lengths: &mut [u8]) -> Option<()> {
    let mut own = [0u8; 20];
    for length in &mut own {
        *length = u8::try_from(bits.take(4)?).ok()?;
    }
    let code = Huffman::new(&own)?;
    let mut at = 0usize;
    while at < lengths.len() {
        let (count, value) = match bits.symbol(&code)? {
            17 => (bits.take(4)?.checked_add(4)?, Some(0)),
            18 => (bits.take(5)?.checked_add(20)?, Some(0)),
            19 => {
                let count = bits.take(1)?.checked_add(4)?;
                (count, Some(changed(*lengths.get(at)?, bits.symbol(&code)?)?))
            }
            step => (1, Some(changed(*lengths.get(at)?, step)?)),
        };
        let end = at.checked_add(count)?.min(lengths.len());
        lengths.get_mut(at..end)?.fill(value?);
        at = end;
    }
    Some(())
}

/// A length that is `step` less, modulo 17.
fn changed(length: u8, step: usize) -> Option<u8> {
    let step = u8::try_from(step).ok().filter(|step| *step <= 16)?;
    length.checked_add(17)?.checked_sub(step)?.checked_rem(17)
}

/// Makes the targets of x86 calls relative again.
fn translate(out: &mut [u8]) {
    let Some(last) = out.len().checked_sub(10) else { return };
    let mut at = 0usize;
    while at < last {
        if out.byte(at) != Some(0xe8) {
            at = at.saturating_add(1);
            continue;
        }
        if let (Some(place), Ok(position)) = (at.checked_add(1), i32::try_from(at))
            && let Some(target) = out.array(place).map(i32::from_le_bytes).and_then(|target| relative(target, position))
            && let Some(field) = out.get_mut(place..).and_then(<[u8]>::first_chunk_mut::<4>)
        {
            *field = target.to_le_bytes();
        }
        at = at.saturating_add(5);
    }
}

/// What a translated call at `position` stood for; `None` where it was left as it is.
fn relative(target: i32, position: i32) -> Option<i32> {
    if (0..E8_SIZE).contains(&target) {
        return target.checked_sub(position);
    }
    (target < 0 && target >= position.checked_neg()?).then(|| target.checked_add(E8_SIZE)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_uncompressed_block_is_taken_as_it_is() {
        // Three bits 011, one bit 0, sixteen bits 00000000 00000101: five bytes.
        let mut data = vec![0x00, 0x60, 0x00, 0x50];
        data.extend([1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
        data.extend(b"hello\0");
        assert_eq!(decompress(&data, 5).as_deref(), Some(&b"hello"[..]));
        assert_eq!(decompress(&data, 4), None, "the block is larger than the chunk");
    }

    #[test]
    fn calls_become_relative_again() {
        let mut code = vec![0x90u8; 40];
        code[20] = 0xe8;
        code[21..25].copy_from_slice(&120i32.to_le_bytes());
        translate(&mut code);
        assert_eq!(code[21..25], 100i32.to_le_bytes());
        assert_eq!(relative(-5, 20), Some(E8_SIZE - 5));
        assert_eq!(relative(-21, 20), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut data in prop::collection::vec(any::<u8>(), 2..900), kind in 1u8..4) {
            data[1] = kind << 5 | data[1] & 0x1f;
            let out = decompress(&data, 1000);
            prop_assert!(out.is_none_or(|out| out.len() == 1000));
        }
    }
}
