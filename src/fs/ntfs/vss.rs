//! Volume shadow copies: whether there are any, and from when. They are not read.
//!
//! Follows the documentation of libvshadow: a header at byte 0x1e00 of the volume names the first block of a catalog; an
//! entry of type 2 stands for a shadow copy.

use crate::bytes::Fields;
use crate::fault::Fault;
use crate::fs::Anomaly;
use crate::image::View;
use crate::time::Timestamp;

/// `{3808876b-c176-4e48-b7ae-04046e6cc752}`, at the head of every block.
const IDENTIFIER: [u8; 16] =
    [0x6b, 0x87, 0x08, 0x38, 0x76, 0xc1, 0x48, 0x4e, 0xb7, 0xae, 0x04, 0x04, 0x6e, 0x6c, 0xc7, 0x52];
/// The end of the name of a file that holds a shadow copy.
pub(super) const STORE_NAME: &str = "{3808876b-c176-4e48-b7ae-04046e6cc752}";
const HEADER: u64 = 0x1e00;
const BLOCK: u64 = 0x4000;
const ENTRY: usize = 128;
/// Windows keeps 64 copies, some 130 fill a block.
const MAX_BLOCKS: usize = 64;

/// Says that shadow copies are there.
pub(super) fn read(view: View<'_>) -> Option<Anomaly> {
    let header = block(view, HEADER, 512)?;
    let times = catalog(view, header.le64(48)?);
    (!times.is_empty()).then_some(())?;
    let told: Vec<String> =
        times.iter().map(|time| time.map_or("at an unknown time".to_owned(), |t| t.rfc3339())).collect();
    let what = format!("volume shadow copies are there: {} stores (not read), made {}", times.len(), told.join(", "));
    Some(Anomaly { sign: Fault::new(view.absolute(HEADER), "ntfs", what), extents: Vec::new() })
}

/// When each shadow copy in the catalog was made.
fn catalog(view: View<'_>, first: u64) -> Vec<Option<Timestamp>> {
    let (mut at, mut times) = (first, Vec::new());
    for _ in 0..MAX_BLOCKS {
        let Some(bytes) = Some(at).filter(|at| *at > 0).and_then(|at| block(view, at, BLOCK)) else { break };
        let entries = bytes.chunks_exact(ENTRY).skip(1).filter(|entry| entry.le64(0) == Some(2));
        times.extend(entries.map(|entry| entry.le64(48).and_then(Timestamp::filetime)));
        at = bytes.le64(40).unwrap_or(0);
    }
    times
}

/// The bytes at `at`, if they are of the shadow copies.
fn block(view: View<'_>, at: u64, size: u64) -> Option<Vec<u8>> {
    let bytes = view.read(at, size).ok()?;
    bytes.starts_with(&IDENTIFIER).then(|| bytes.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn volume() -> Vec<u8> {
        let mut bytes = vec![0u8; 0x10000];
        for at in [0x1e00, 0x4000, 0x8000] {
            bytes[at..at + 16].copy_from_slice(&IDENTIFIER);
        }
        bytes[0x1e31] = 0x40;
        bytes[0x4029] = 0x80;
        for at in [0x4080usize, 0x8100] {
            bytes[at] = 2;
            bytes[at + 48..at + 56].copy_from_slice(&133_000_000_000_000_000u64.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn shadow_copies_are_counted_over_all_blocks() -> Result<(), Box<dyn std::error::Error>> {
        let image = crate::image::raw::of_bytes(&volume())?;
        let sign = read(View::whole(image.as_ref())).map(|anomaly| anomaly.sign.what);
        assert!(sign.is_some_and(|what| what.contains("2 stores (not read), made 2022-06-")));
        Ok(())
    }

    proptest! {
        #[test]
        fn any_catalog_is_survived(noise in prop::collection::vec((0x1e10usize..0x9000, any::<u8>()), 0..200)) {
            let mut bytes = volume();
            noise.iter().for_each(|(at, byte)| bytes[*at] = *byte);
            let image = crate::image::raw::of_bytes(&bytes)?;
            let _ = read(View::whole(image.as_ref()));
        }
    }
}
