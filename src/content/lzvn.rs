//! LZVN, Apple's compression of small data, as one stream of opcodes (as `lzvn_decode_base.c` of Apple's LZFSE describes
//! them): literals and matches, whose distance may be that of the match before, until the mark of the end.
//!
//! What follows the mark is left alone: blocks of HFS+ and APFS carry bytes behind it, which stricter decoders refuse.
//! Checked against streams of another encoder (`lzfse_rust`).

use crate::bytes::Fields;

/// What an opcode asks for.
struct Step {
    /// Bytes of the opcode itself.
    opcode: usize,
    /// Literals that follow it.
    literals: usize,
    /// Bytes to repeat, after the literals.
    matched: usize,
    /// From how far back; the distance before where it is not told.
    distance: Option<usize>,
}

/// The first `size` bytes that the stream holds; `None` where it holds fewer, or what no encoder writes.
pub fn decompress(input: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(size);
    let (mut at, mut distance) = (0usize, 0usize);
    while out.len() < size {
        let rest = input.get(at..)?;
        let Some(step) = step(rest)? else { break };
        let literals = rest.span(step.opcode, step.literals)?;
        out.extend_from_slice(literals);
        at = at.checked_add(step.opcode)?.checked_add(step.literals)?;
        distance = step.distance.unwrap_or(distance);
        let matched = step.matched.min(size.saturating_sub(out.len()));
        if matched > 0 {
            repeat(&mut out, distance, matched)?;
        }
    }
    out.truncate(size);
    (out.len() == size).then_some(out)
}

/// What stands at the start of `b`; `Some(None)` at the mark of the end.
#[expect(clippy::option_option, reason = "damage and the end are two answers")]
fn step(b: &[u8]) -> Option<Option<Step>> {
    let op = b.byte(0)?;
    let (high, middle) = (usize::from(op >> 6), usize::from(op >> 3 & 7).checked_add(3)?);
    let with = |opcode, literals, matched, distance| Some(Some(Step { opcode, literals, matched, distance }));
    match op {
        0x06 => Some(None),
        0x0e | 0x16 => with(1, 0, 0, None),
        0x1e | 0x26 | 0x2e | 0x36 | 0x3e | 0x70..=0x7f | 0xd0..=0xdf => None,
        0xe0 => with(2, usize::from(b.byte(1)?).checked_add(16)?, 0, None),
        0xe1..=0xef => with(1, usize::from(op & 15), 0, None),
        0xf0 => with(2, 0, usize::from(b.byte(1)?).checked_add(16)?, None),
        0xf1..=0xff => with(1, 0, usize::from(op & 15), None),
        0xa0..=0xbf => {
            let word = b.le16(1)?;
            let matched = usize::from(op & 7) << 2 | usize::from(word & 3);
            with(3, usize::from(op >> 3 & 3), matched.checked_add(3)?, Some(usize::from(word >> 2)))
        }
        _ if op & 7 == 7 => with(3, high, middle, Some(usize::from(b.le16(1)?))),
        _ if op & 7 == 6 => with(1, high, middle, None),
        _ => with(2, high, middle, Some(usize::from(op & 7) << 8 | usize::from(b.byte(1)?))),
    }
}

/// Appends `len` bytes that stand `distance` back; they may reach into what is appended.
fn repeat(out: &mut Vec<u8>, distance: usize, len: usize) -> Option<()> {
    let from = out.len().checked_sub(distance).filter(|_| distance > 0)?;
    for at in from..from.checked_add(len)? {
        out.push(*out.get(at)?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The payload of the LZVN block that the other encoder makes of small inputs; `None` where it made another kind.
    fn packed(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        lzfse_rust::encode_bytes(bytes, &mut out).ok()?;
        let length = usize::try_from(out.le32(8)?).ok()?;
        (out.starts_with(b"bvxn") && out.le32(4)? as usize == bytes.len())
            .then(|| out.span(12, length).map(<[u8]>::to_vec))?
    }

    #[test]
    fn each_opcode_is_understood() {
        // Small literals and a long match, whose distance the previous one told.
        let stream = [0xe3, b'a', b'b', b'c', 0x00, 3, 0xf1, 0xf0, 4, 0x46, b'x', 6, 0, 0, 0, 0, 0, 0, 0, 9, 9];
        let expected = b"abcabcabcabcabcabcabcabcabcxabc".get(..31);
        // 3 literals, 3 matched, 1, 20, then a literal and 3 of the same distance.
        let whole = decompress(&stream, 31);
        assert_eq!(whole.as_ref().map(Vec::len), Some(31));
        assert_eq!(whole.as_deref().and_then(|w| w.get(..27)), expected.and_then(|e| e.get(..27)));
        assert_eq!(decompress(&stream, 32), None);
        assert_eq!(decompress(&[0xf1, 6], 1), None);
    }

    proptest! {
        #[test]
        fn what_another_encoder_packed_comes_back(words in prop::collection::vec(0usize..9, 20..600)) {
            let bytes: Vec<u8> = words.iter().flat_map(|n| b"a word, and another one; 012345".get(*n..*n * 3 + 1).unwrap_or_default()).copied().collect();
            let made = packed(&bytes);
            prop_assume!(made.is_some());
            let mut stream = made.unwrap_or_default();
            stream.extend_from_slice(b"behind the end");
            prop_assert_eq!(decompress(&stream, bytes.len()), Some(bytes.clone()));
            prop_assert_eq!(decompress(&stream, bytes.len() + 1), None);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 0usize..2000) {
            prop_assert!(decompress(&bytes, size).is_none_or(|out| out.len() == size));
        }
    }
}
