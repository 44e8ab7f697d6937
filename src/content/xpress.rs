//! Xpress with Huffman codes ([MS-XCA] 2.2), as the Windows Overlay Filter uses it: chunks of 4, 8 or 16 KiB.
//!
//! Checked against chunks that wimlib wrote, by SHA-256.

use super::huffman::{Huffman, repeat};
use crate::bytes::Fields;

/// 512 lengths of half a byte.
const TABLE: usize = 256;
/// For so many bytes a table holds.
const BLOCK: usize = 1 << 16;

/// The stream of bits, of which 16 to 32 are loaded: bytes between them are read where the stream stands.
struct Bits<'d> {
    data: &'d [u8],
    at: usize,
    next: u32,
    spare: i32,
}

impl<'d> Bits<'d> {
    fn new(data: &'d [u8], at: usize) -> Option<Self> {
        let mut bits = Self { data, at, next: 0, spare: 16 };
        bits.next = u32::from(bits.word()?) << 16 | u32::from(bits.word()?);
        Some(bits)
    }

    /// The next two bytes; zeros behind the end, where the last code's reserve is taken from.
    fn word(&mut self) -> Option<u16> {
        let word = self.data.le16(self.at).unwrap_or(0);
        self.at = self.at.checked_add(2)?;
        Some(word)
    }

    fn skip(&mut self, count: u32) -> Option<()> {
        self.next = self.next.checked_shl(count)?;
        self.spare = self.spare.checked_sub(i32::try_from(count).ok()?)?;
        if self.spare < 0 {
            let word = self.word()?;
            self.next |= u32::from(word).checked_shl(self.spare.unsigned_abs())?;
            self.spare = self.spare.checked_add(16)?;
        }
        Some(())
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let value = self.next.checked_shr(32u32.checked_sub(count)?).unwrap_or(0);
        self.skip(count)?;
        Some(value)
    }

    fn symbol(&mut self, code: &Huffman) -> Option<usize> {
        let (symbol, length) = code.decode(self.next)?;
        self.skip(length)?;
        Some(symbol.into())
    }

    /// What a length adds that does not fit into the symbol.
    fn long_length(&mut self) -> Option<usize> {
        let byte = usize::from(self.data.byte(self.at)?);
        self.at = self.at.checked_add(1)?;
        if byte < 255 {
            return byte.checked_add(15);
        }
        let mut length = u32::from(self.data.le16(self.at)?);
        self.at = self.at.checked_add(2)?;
        if length == 0 {
            length = self.data.le32(self.at)?;
            self.at = self.at.checked_add(4)?;
        }
        usize::try_from(length).ok().filter(|length| *length >= 15)
    }
}

/// Decodes a chunk of `size` bytes; `None` for what no encoder writes.
pub fn decompress(data: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(size);
    let mut at = 0usize;
    while out.len() < size {
        let table = data.span(at, TABLE)?;
        let lengths: Vec<u8> = table.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect();
        let code = Huffman::new(&lengths)?;
        let mut bits = Bits::new(data, at.checked_add(TABLE)?)?;
        let end = size.min(out.len().checked_add(BLOCK)?);
        while out.len() < end {
            element(&mut bits, &code, &mut out, size)?;
        }
        at = bits.at;
    }
    Some(out)
}

/// A literal or a match.
fn element(bits: &mut Bits<'_>, code: &Huffman, out: &mut Vec<u8>, limit: usize) -> Option<()> {
    let symbol = bits.symbol(code)?;
    let Some(symbol) = symbol.checked_sub(256) else {
        out.push(u8::try_from(symbol).ok()?);
        return Some(());
    };
    let (mut length, distance_bits) = (symbol & 15, u32::try_from(symbol >> 4).ok()?);
    if length == 15 {
        length = bits.long_length()?;
    }
    let distance = usize::try_from(bits.take(distance_bits)?).ok()? | 1usize.checked_shl(distance_bits)?;
    repeat(out, distance, length.checked_add(3)?, limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_survived(table in prop::collection::vec(any::<u8>(), 256),
                                  data in prop::collection::vec(any::<u8>(), 0..300), sound: bool) {
            // Lengths of 9 for all symbols are a code.
            let table = if sound { vec![0x99; 256] } else { table };
            let out = decompress(&[table, data].concat(), 4096);
            prop_assert!(out.is_none_or(|out| out.len() == 4096));
        }
    }
}
