//! Snappy without a frame: AFF4 packs so.
//!
//! Specification: "Snappy compressed format description" (`format_description.txt`). The length of what is packed stands first, then
//! literals and copies of what was written before. There is no checksum.

use crate::bytes::{Fields, index};

const TORN: &str = "its Snappy stream breaks off";
const LONG: &str = "its Snappy stream holds another number of bytes than it should";

/// Appends the `len` bytes that a stream holds; what follows it is damage.
///
/// # Errors
/// Why it cannot be done; `out` may hold a part then.
pub fn unpack(packed: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let (said, mut at) = length(packed).ok_or(TORN)?;
    if said != len {
        return Err(LONG);
    }
    let from = out.len();
    let end = from.saturating_add(len);
    while let Some(tag) = packed.byte(at) {
        at = at.saturating_add(1);
        let (kind, high) = (tag & 3, usize::from(tag >> 2));
        if kind == 0 {
            let more = high.saturating_sub(59);
            let count = if more == 0 { high } else { little(packed, at, more).ok_or(TORN)? }.saturating_add(1);
            at = at.saturating_add(more);
            if count > end.saturating_sub(out.len()) {
                return Err(LONG);
            }
            out.extend_from_slice(packed.span(at, count).ok_or(TORN)?);
            at = at.saturating_add(count);
            continue;
        }
        let (count, back, width) = match kind {
            1 => {
                let low = usize::from(packed.byte(at).ok_or(TORN)?);
                ((high & 7).saturating_add(4), usize::from(tag >> 5) << 8 | low, 1)
            }
            2 => (high.saturating_add(1), little(packed, at, 2).ok_or(TORN)?, 2),
            _ => (high.saturating_add(1), little(packed, at, 4).ok_or(TORN)?, 4),
        };
        at = at.saturating_add(width);
        if count > end.saturating_sub(out.len()) {
            return Err(LONG);
        }
        copy(out, from, back, count)?;
    }
    if out.len() == end { Ok(()) } else { Err(LONG) }
}

/// Appends `count` bytes from `back` bytes before the end; they may reach into what is written meanwhile.
fn copy(out: &mut Vec<u8>, from: usize, back: usize, count: usize) -> Result<(), &'static str> {
    let start = out.len().checked_sub(back).filter(|at| back > 0 && *at >= from);
    let mut start = start.ok_or("its Snappy stream goes back before its beginning")?;
    let mut left = count;
    while left > 0 {
        let piece = left.min(out.len().saturating_sub(start));
        let end = start.saturating_add(piece);
        out.extend_from_within(start..end);
        (start, left) = (end, left.saturating_sub(piece));
    }
    Ok(())
}

/// The length that a stream begins with, seven bits a byte, and where what follows it begins.
fn length(packed: &[u8]) -> Option<(usize, usize)> {
    let mut len = 0u64;
    for (at, byte) in packed.iter().take(5).enumerate() {
        len |= u64::from(byte & 0x7f).checked_shl(u32::try_from(at).ok()?.checked_mul(7)?)?;
        if byte & 0x80 == 0 {
            return Some((index(len), at.checked_add(1)?));
        }
    }
    None
}

/// A little-endian number of `width` bytes, up to four.
fn little(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let bytes = bytes.span(at, width)?;
    let number = bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    Some(index(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_and_every_kind_of_copy() {
        // Three literals; five bytes from three back; four from eight back, twice, with longer places.
        let packed = [16, 0b1000, b'a', b'b', b'c', 0b101, 3, 0b1110, 8, 0, 0b1111, 8, 0, 0, 0];
        let mut out = vec![7];
        assert_eq!(unpack(&packed, 16, &mut out), Ok(()));
        assert_eq!(out, b"\x07abcabcababcabcab");
        assert_eq!(unpack(&packed, 15, &mut Vec::new()), Err(LONG));
        assert!(unpack(&packed[..9], 16, &mut Vec::new()).is_err());
        assert!(unpack(&[4, 0, b'a', 0b1010, 2, 0], 4, &mut Vec::new()).is_err(), "before its beginning");
        // A literal of 61 bytes has its length in a byte of its own.
        let long = [&[61, 60 << 2, 60][..], &[b'x'; 61]].concat();
        let mut out = Vec::new();
        assert_eq!(unpack(&long, 61, &mut out), Ok(()));
        assert_eq!(out, [b'x'; 61]);
    }

    proptest! {
        #[test]
        fn any_stream_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), len in 0usize..300) {
            let mut out = Vec::new();
            let held = unpack(&bytes, len, &mut out).is_ok();
            prop_assert!(out.len() <= len && (!held || out.len() == len));
        }
    }
}
