//! LZNT1, the compression of NTFS ([MS-XCA] 2.5): chunks of 4 KiB, each raw or a sequence of literals and matches.
//!
//! A stream is compressed in units (16 clusters as a rule). A unit that is stored in full is not compressed; one that
//! is all hole is zeros; any other is compressed, and its hole is what was saved.
//! Checked against images that ntfs-3g and Windows wrote, by SHA-256.

use super::{Run, Stream};
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;

const CHUNK: usize = 4096;

/// The bytes of `wanted` that lie in the unit in which it starts. `runs` are those from that unit on, the first of
/// which begins at byte `begin` of the stream.
///
/// # Errors
/// A fault where the unit's runs are missing or its data is not LZNT1.
pub fn unit_part(
    view: View<'_>,
    stream: &Stream,
    runs: &[Run],
    begin: u64,
    unit: u64,
    wanted: Extent,
) -> Result<Vec<u8>, Fault> {
    let number = wanted.start.checked_div(unit).unwrap_or(0);
    let here = Extent::new(number.saturating_mul(unit), unit);
    let fault = |what: &str| Fault::new(view.extent().start, "lznt1", format!("unit {number}: {what}"));
    let (mut stored, mut hole, mut at) = (Vec::new(), 0u64, begin);
    for run in runs {
        let span = Extent::new(at, run.len());
        let common = span.intersect(here);
        at = span.end();
        if span.start >= here.end() {
            break;
        }
        if common.is_empty() {
            continue;
        }
        match run {
            Run::Hole(_) => hole = hole.saturating_add(common.len),
            Run::Data(extent) => {
                let start = extent.start.saturating_add(common.start.saturating_sub(span.start));
                let bytes = view.read(start, common.len).map_err(|e| fault(&e.to_string()))?;
                stored.extend_from_slice(&bytes);
            }
        }
    }
    let length = index(unit.min(stream.size.max(stream.valid).saturating_sub(here.start)));
    if stored.is_empty() && hole == 0 {
        return Err(fault("has no runs"));
    }
    let mut bytes = match (stored.is_empty(), hole) {
        (true, _) => vec![0; length],
        (false, 0) => stored,
        (false, _) => decompress(&stored, length).ok_or_else(|| fault("is not LZNT1"))?,
    };
    bytes.resize(length, 0);
    let valid = index(stream.valid.saturating_sub(here.start)).min(length);
    if let Some(behind) = bytes.get_mut(valid..) {
        behind.fill(0);
    }
    let from = index(wanted.start.saturating_sub(here.start)).min(length);
    let to = index(wanted.end().saturating_sub(here.start)).min(length);
    Ok(bytes.get(from..to).unwrap_or_default().to_vec())
}

/// Decodes chunks until the input ends or `limit` bytes are there; `None` for what no encoder writes.
pub fn decompress(mut input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(limit);
    while let Some(header) = input.le16(0) {
        if header == 0 || out.len() >= limit {
            break;
        }
        let length = usize::from(header & 0x0fff).checked_add(1)?;
        let data = input.span(2, length)?;
        if header & 0x8000 == 0 {
            out.extend_from_slice(data);
        } else {
            decompress_chunk(data, &mut out)?;
            // A chunk that is not the last stands for 4 KiB.
            let more = input.get(length.checked_add(2)?..)?.le16(0).is_some_and(|next| next != 0);
            let short = out.len().checked_rem(CHUNK)?;
            if more && short != 0 {
                out.resize(out.len().checked_add(CHUNK.checked_sub(short)?)?, 0);
            }
        }
        input = input.get(length.checked_add(2)?..)?;
    }
    out.truncate(limit);
    Some(out)
}

fn decompress_chunk(data: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    let mut at = 0usize;
    while let Some(flags) = data.byte(at) {
        at = at.checked_add(1)?;
        for bit in 0..8 {
            if at >= data.len() {
                return Some(());
            }
            if flags >> bit & 1 == 0 {
                out.push(data.byte(at)?);
                at = at.checked_add(1)?;
            } else {
                let token = data.le16(at)?;
                at = at.checked_add(2)?;
                copy_match(token, start, out)?;
            }
            if out.len().checked_sub(start)? > CHUNK {
                return None;
            }
        }
    }
    Some(())
}

/// A token's bits are divided by how much of the chunk is decoded: the more, the more for the distance.
fn copy_match(token: u16, start: usize, out: &mut Vec<u8>) -> Option<()> {
    let position = out.len().checked_sub(start)?.checked_sub(1)?;
    let mut length_bits = 12u32;
    while length_bits > 4 && position >> 16u32.checked_sub(length_bits)? != 0 {
        length_bits = length_bits.checked_sub(1)?;
    }
    let distance = usize::from(token >> length_bits).checked_add(1)?;
    let mask = (1u16 << length_bits).checked_sub(1)?;
    let length = usize::from(token & mask).checked_add(3)?;
    let mut from = out.len().checked_sub(distance).filter(|from| *from >= start)?;
    for _ in 0..length {
        let byte = *out.get(from)?;
        out.push(byte);
        from = from.checked_add(1)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of [MS-XCA] 3.3.
    #[test]
    fn the_specifications_example_decodes() {
        let input = [
            0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2, 0x47, 0x01, 0xa0, 0x45,
            0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0, 0x45, 0x20, 0x05, 0x24, 0x13, 0x88, 0x05, 0xb4,
            0x02, 0x4a, 0x44, 0xef, 0x03, 0x58, 0x02, 0x8c, 0x09, 0x16, 0x01, 0x48, 0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00,
            0x04, 0x01, 0x18, 0x90, 0x00,
        ];
        let expected = "F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E \
                        F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0";
        assert_eq!(decompress(&input, 4096).as_deref(), Some(expected.as_bytes()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let out = decompress(&bytes, 4096);
            prop_assert!(out.is_none_or(|o| o.len() <= 4096));
        }
    }
}
