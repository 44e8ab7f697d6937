//! What single-stream compressors share: one member, and what of it could be decoded.

use super::{Findings, Member, decode};
use crate::content::Content;
use crate::fuel::{Fuel, Spent};
use crate::time::Timestamp;
use std::io::Read;

/// Name of a member that its holder does not name.
pub(super) const UNNAMED: &str = "content";

/// Decodes `from` and tells it as the one member.
pub(super) fn tell(
    from: impl Read,
    by: &'static str,
    name: Option<String>,
    mtime: Option<Timestamp>,
    found: &mut dyn Findings,
    fuel: &mut Fuel,
) -> Result<(), Spent> {
    let (bytes, fault) = decode(from, by, fuel)?;
    let mut member = Member::new(name.unwrap_or_else(|| UNNAMED.to_owned()), Content::owned(bytes));
    member.mtime = mtime;
    member.faults.extend(fault);
    found.member(member, fuel)
}

#[cfg(test)]
mod tests {
    use super::super::collect::Collected;
    use super::super::{bzip2, gzip, xz, zstd};
    use super::*;
    use crate::identify::{Identity, UNKNOWN};
    use proptest::prelude::*;
    use std::io::Write;

    type Extract = fn(&Content<'_>, &Identity, &mut dyn Findings, &mut Fuel) -> Result<(), Spent>;

    fn packed() -> Vec<(Extract, Vec<u8>)> {
        let text = b"words of a log line\n".repeat(300);
        let mut gz =
            flate2::GzBuilder::new().filename("a.log").mtime(99).write(Vec::new(), flate2::Compression::fast());
        gz.write_all(&text).unwrap();
        let mut bz = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
        bz.write_all(&text).unwrap();
        let mut xz_out = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).unwrap();
        xz_out.write_all(&text).unwrap();
        vec![
            (gzip::extract, gz.finish().unwrap()),
            (bzip2::extract, bz.finish().unwrap()),
            (xz::extract, xz_out.finish().unwrap()),
            (zstd::extract, ::zstd::encode_all(&text[..], 1).unwrap()),
        ]
    }

    fn run(extract: Extract, bytes: &[u8]) -> Collected {
        let mut found = Collected::default();
        let _ = extract(&Content::borrowed(bytes), &UNKNOWN, &mut found, &mut Fuel::new(1 << 20));
        found
    }

    #[test]
    fn streams_are_decoded_and_two_of_them_are_one_content() {
        for (number, (extract, bytes)) in packed().into_iter().enumerate() {
            let found = run(extract, &bytes);
            assert_eq!(found.members[0].1.len(), 6000, "{number}");
            assert_eq!(found.members[0].0, if number == 0 { "a.log" } else { "content" });
            assert_eq!(run(extract, &[&bytes[..], &bytes].concat()).members[0].1.len(), 12000, "{number}");
            let cut = run(extract, &bytes[..bytes.len() - 6]);
            assert!(!cut.faults.is_empty(), "{number}");
        }
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..200, bit in 0u8..8, cut in 0usize..200) {
            for (extract, mut bytes) in packed() {
                let len = bytes.len();
                bytes[at % len] ^= 1 << bit;
                bytes.truncate(len - cut % len);
                run(extract, &bytes);
            }
        }
    }
}
