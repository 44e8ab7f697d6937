//! A block of LZ4, without a frame around it: SquashFS and AFF4 pack so.
//!
//! Specification: "LZ4 Block Format Description" (`lz4_Block_format.md`).

use crate::bytes::{Fields, index};

/// The shortest match, and what a length of four bits says where bytes follow that are added to it.
const MIN_MATCH: usize = 4;
const MORE: usize = 15;

/// All that a block gives, where that is exactly `len` bytes.
pub fn exactly(stored: &[u8], len: usize) -> Option<Vec<u8>> {
    decompress(stored, len.checked_add(1)?).filter(|out| out.len() == len)
}

/// The first `most` bytes that a block gives, all where it gives fewer; `None` where it is damaged.
pub fn decompress(stored: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(most.min(stored.len().saturating_mul(8)));
    let mut at = 0usize;
    while out.len() < most {
        let token = usize::from(stored.byte(at)?);
        at = at.checked_add(1)?;
        let literals = length(stored, token >> 4, &mut at)?;
        out.extend_from_slice(stored.span(at, literals)?);
        at = at.checked_add(literals)?;
        if at == stored.len() {
            break;
        }
        let distance = usize::from(stored.le16(at)?);
        at = at.checked_add(2)?;
        let len = length(stored, token & MORE, &mut at)?.checked_add(MIN_MATCH)?;
        let mut from = out.len().checked_sub(distance).filter(|_| distance > 0)?;
        let mut left = len.min(most.saturating_sub(out.len()));
        // What is repeated may reach into what is written meanwhile: in pieces of what is there.
        while left > 0 {
            let piece = left.min(out.len().saturating_sub(from));
            let end = from.checked_add(piece)?;
            out.extend_from_within(from..end);
            (from, left) = (end, left.saturating_sub(piece));
        }
    }
    out.truncate(most);
    Some(out)
}

/// A length whose first four bits are `first`.
fn length(stored: &[u8], first: usize, at: &mut usize) -> Option<usize> {
    let mut len = first;
    let mut more = first == MORE;
    while more {
        let byte = stored.byte(*at)?;
        *at = at.checked_add(1)?;
        len = len.checked_add(index(byte.into()))?;
        more = byte == 255;
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_matches_and_damage() {
        // Three literals, then 3 bytes back for 4 + 15 + 2 bytes; then one literal.
        let block = [0x3f, b'a', b'b', b'c', 3, 0, 2, 0x10, b'!'];
        let text = b"abcabcabcabcabcabcabcabc!";
        assert_eq!(decompress(&block, 100).as_deref(), Some(&text[..]));
        assert_eq!(decompress(&block, 5).as_deref(), Some(&text[..5]));
        assert_eq!(decompress(&block[..6], 100), None);
        assert_eq!(decompress(&[0x10, b'a', 2, 0, 0], 100), None, "it reaches before the first byte");
        assert_eq!(decompress(&[0x10, b'a', 0, 0, 0], 100), None, "a distance of nothing");
    }

    proptest! {
        #[test]
        fn any_block_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), most in 0usize..5000) {
            prop_assert!(decompress(&bytes, most).is_none_or(|out| out.len() <= most));
        }
    }
}
