//! One chunk unpacked: exactly so many bytes, or the reason why not.
//!
//! zlib (RFC 1950) carries the Adler-32 of what it packs, bzip2 a CRC-32, and both are checked; raw deflate (RFC 1951)
//! and a Zstandard frame without a checksum (RFC 8878) tell damage only where it breaks their structure.

use crate::bytes::index;
use flate2::{Decompress, FlushDecompress, Status};
use std::cell::RefCell;

/// How a chunk is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Deflate in zlib's envelope.
    Zlib,
    /// Deflate alone.
    Deflate,
    /// bzip2.
    Bzip2,
    /// A Zstandard frame.
    Zstd,
}

thread_local! {
    /// Its window and tables are kept from chunk to chunk.
    static INFLATE: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

/// Appends `len` unpacked bytes to `out`. What follows in `packed` is left alone: chunks are padded.
///
/// # Errors
/// Why it cannot be done; `out` is as it was then.
pub fn unpack(codec: Codec, packed: &[u8], len: u64, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let before = out.len();
    let outcome = match codec {
        Codec::Zlib => inflate(true, packed, index(len), out),
        Codec::Deflate => inflate(false, packed, index(len), out),
        Codec::Bzip2 => bunzip2(packed, index(len), out),
        Codec::Zstd => unzstd(packed, index(len), out),
    };
    let outcome = outcome.and_then(|()| {
        let whole = out.len().checked_sub(before) == Some(index(len));
        whole.then_some(()).ok_or("it unpacks to fewer bytes than it should")
    });
    if outcome.is_err() {
        out.truncate(before);
    }
    outcome
}

/// All that a zlib or bzip2 stream holds, where that is at most `most` bytes.
pub fn measured(codec: Codec, packed: &[u8], most: u64) -> Option<Vec<u8>> {
    use std::io::Read;
    let reader: Box<dyn Read + '_> = match codec {
        Codec::Zlib => Box::new(flate2::bufread::ZlibDecoder::new(packed)),
        Codec::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(packed)),
        Codec::Deflate | Codec::Zstd => return None,
    };
    let mut bytes = Vec::new();
    let read = reader.take(most.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (read as u64 <= most).then_some(bytes)
}

fn inflate(zlib: bool, packed: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    INFLATE.with_borrow_mut(|kept| {
        let decoder = kept.get_or_insert_with(|| Decompress::new(zlib));
        decoder.reset(zlib);
        let from = out.len();
        let end = from.saturating_add(len);
        out.resize(end, 0);
        let room = out.get_mut(from..end).unwrap_or_default();
        // A stream that fills the room and is not at its end holds more than it should; its checksum is not reached.
        let status =
            decoder.decompress(packed, room, FlushDecompress::Finish).map_err(|_| "its deflate stream is damaged")?;
        out.truncate(from.saturating_add(index(decoder.total_out())));
        match status {
            Status::StreamEnd => Ok(()),
            _ if index(decoder.total_out()) < len => Err("its deflate stream breaks off"),
            // Raw deflate is cut off by some writers where the chunk is full; there is no checksum to miss.
            _ if !zlib => Ok(()),
            _ => more_than_full(decoder, packed),
        }
    })
}

/// The room is full, the stream is not at its end: what is left may be the end's mark and the checksum, and nothing else.
fn more_than_full(decoder: &mut Decompress, packed: &[u8]) -> Result<(), &'static str> {
    let rest = packed.get(index(decoder.total_in())..).unwrap_or_default();
    let (mut spill, full) = ([0u8; 1], decoder.total_out());
    match decoder.decompress(rest, &mut spill, FlushDecompress::Finish) {
        Ok(Status::StreamEnd) if decoder.total_out() == full => Ok(()),
        _ => Err("it unpacks to more bytes than it should, or its checksum does not hold"),
    }
}

fn bunzip2(packed: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut decoder = bzip2::Decompress::new(false);
    let mut chunk = Vec::with_capacity(len.saturating_add(1));
    loop {
        let rest = packed.get(index(decoder.total_in())..).unwrap_or_default();
        let (read, made) = (decoder.total_in(), chunk.len());
        let status = decoder.decompress_vec(rest, &mut chunk).map_err(|_| "its bzip2 stream is damaged")?;
        if status == bzip2::Status::StreamEnd {
            break;
        }
        if chunk.len() > len || (decoder.total_in(), chunk.len()) == (read, made) {
            return Err("its bzip2 stream breaks off, or holds more than it should");
        }
    }
    out.extend_from_slice(&chunk);
    Ok(())
}

fn unzstd(packed: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    use std::io::Read;
    let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|_| "its Zstandard frame is damaged")?;
    let mut limited = decoder.single_frame().take(len as u64);
    limited.read_to_end(out).map(|_| ()).map_err(|_| "its Zstandard frame is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn packed(codec: Codec, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let level = flate2::Compression::new(6);
        match codec {
            Codec::Zlib => {
                let mut w = flate2::write::ZlibEncoder::new(Vec::new(), level);
                w.write_all(bytes)?;
                w.finish()
            }
            Codec::Deflate => {
                let mut w = flate2::write::DeflateEncoder::new(Vec::new(), level);
                w.write_all(bytes)?;
                w.finish()
            }
            Codec::Bzip2 => {
                let mut w = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(6));
                w.write_all(bytes)?;
                w.finish()
            }
            Codec::Zstd => zstd::encode_all(bytes, 3),
        }
    }

    const ALL: [Codec; 4] = [Codec::Zlib, Codec::Deflate, Codec::Bzip2, Codec::Zstd];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_was_packed_comes_back(bytes in prop::collection::vec(0u8..4, 1..5000), pad in 0usize..600) {
            for codec in ALL {
                let mut stored = packed(codec, &bytes)?;
                stored.resize(stored.len() + pad, 0);
                let mut out = vec![9];
                prop_assert_eq!(unpack(codec, &stored, bytes.len() as u64, &mut out), Ok(()));
                prop_assert_eq!(&out[1..], &bytes[..]);
                prop_assert!(unpack(codec, &stored, bytes.len() as u64 + 1, &mut out).is_err());
                prop_assert_eq!(out.len(), bytes.len() + 1);
                if matches!(codec, Codec::Zlib | Codec::Bzip2) {
                    prop_assert!(unpack(codec, &stored, bytes.len() as u64 - 1, &mut out).is_err());
                }
            }
        }

        #[test]
        fn any_bytes_survive(bytes in prop::collection::vec(any::<u8>(), 0..300), len in 0u64..2000) {
            for codec in ALL {
                let mut out = Vec::new();
                let held = unpack(codec, &bytes, len, &mut out).is_ok();
                prop_assert_eq!(out.len() as u64, if held { len } else { 0 });
            }
        }
    }
}
