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
    /// Apple Data Compression.
    Adc,
    /// LZFSE, or its blocks of LZVN.
    Lzfse,
    /// LZMA in an xz stream.
    Xz,
    /// LZMA with its old header of 13 bytes.
    Lzma,
    /// Snappy without a frame.
    Snappy,
    /// A block of LZ4, with or without the length of what it holds before it.
    Lz4,
}

/// Memory that an xz stream may ask for, in KiB.
const XZ_MEMORY: u32 = 256 << 10;

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
        Codec::Adc => adc(packed, index(len), out),
        Codec::Lzfse => {
            let mut decoder = lzfse_rust::LzfseRingDecoder::default();
            taken(decoder.reader(packed), len, out).map_err(|_| "its LZFSE stream is damaged")
        }
        Codec::Snappy => super::snappy::unpack(packed, index(len), out),
        Codec::Lz4 => unlz4(packed, index(len), out),
        Codec::Lzma => lzma_rust2::LzmaReader::new_mem_limit(packed, XZ_MEMORY, None)
            .and_then(|reader| taken(reader, len.saturating_add(1), out))
            .map_err(|_| "its LZMA stream is damaged"),
        Codec::Xz => {
            // One byte more, so that the stream's checksum is reached.
            let reader = lzma_rust2::XzReader::new_mem_limit(packed, false, XZ_MEMORY);
            taken(reader, len.saturating_add(1), out).map_err(|_| "its xz stream is damaged")
        }
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
        _ => return None,
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

/// A length of what no LZ4 block begins with, a match of what is before the first byte, is the length of what it holds.
fn unlz4(packed: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let sized = packed.split_first_chunk().filter(|(size, _)| index(u32::from_le_bytes(**size).into()) == len);
    let bytes = sized.and_then(|(_, block)| super::lz4::exactly(block, len));
    let bytes = bytes.or_else(|| super::lz4::exactly(packed, len)).ok_or("its LZ4 block is damaged")?;
    out.extend_from_slice(&bytes);
    Ok(())
}

/// What a decoder gives, up to `len` bytes.
fn taken(reader: impl std::io::Read, len: u64, out: &mut Vec<u8>) -> std::io::Result<()> {
    use std::io::Read;
    reader.take(len).read_to_end(out).map(|_| ())
}

/// Plain runs of up to 128 bytes, and copies of 3 to 67 bytes from up to 64 KiB before.
fn adc(mut packed: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    const TORN: &str = "its ADC stream breaks off";
    let from = out.len();
    let end = from.saturating_add(len);
    while out.len() < end {
        let (first, rest) = packed.split_first().ok_or(TORN)?;
        let first = usize::from(*first);
        if first & 0x80 != 0 {
            let (run, rest) = rest.split_at_checked((first & 0x7f).saturating_add(1)).ok_or(TORN)?;
            out.extend_from_slice(run);
            packed = rest;
            continue;
        }
        let long = first & 0x40 != 0;
        let (second, third) = (rest.first().ok_or(TORN)?, rest.get(1));
        let (count, back) = if long {
            let low = usize::from(*third.ok_or(TORN)?);
            ((first & 0x3f).saturating_add(4), usize::from(*second) << 8 | low)
        } else {
            ((first >> 2 & 0xf).saturating_add(3), (first & 3) << 8 | usize::from(*second))
        };
        packed = rest.get(if long { 2 } else { 1 }..).ok_or(TORN)?;
        let at = out.len().checked_sub(back.saturating_add(1)).filter(|at| *at >= from);
        let at = at.ok_or("its ADC stream goes back before its beginning")?;
        for step in 0..count {
            let byte = out.get(at.saturating_add(step)).copied().unwrap_or(0);
            out.push(byte);
        }
    }
    if out.len() == end { Ok(()) } else { Err("its ADC stream holds more than it should") }
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
            Codec::Adc => Ok(bytes.chunks(128).flat_map(|run| [&[0x7f + run.len() as u8], run].concat()).collect()),
            Codec::Snappy => {
                // The length seven bits a byte, and one literal whose length has four bytes.
                let (len, last) = (bytes.len() as u32, bytes.len() as u32 - 1);
                let head = [len as u8 | 0x80, (len >> 7) as u8 | 0x80, (len >> 14) as u8, 63 << 2];
                Ok([&head[..], &last.to_le_bytes(), bytes].concat())
            }
            Codec::Lz4 => {
                let mut lengths = vec![255; (bytes.len().max(15) - 15) / 255];
                lengths.push(((bytes.len().max(15) - 15) % 255) as u8);
                let token = if bytes.len() < 15 { (bytes.len() as u8) << 4 } else { 0xf0 };
                let lengths = if bytes.len() < 15 { &[][..] } else { &lengths[..] };
                Ok([&(bytes.len() as u32).to_le_bytes()[..], &[token], lengths, bytes].concat())
            }
            Codec::Lzfse => {
                let mut out = Vec::new();
                lzfse_rust::encode_bytes(bytes, &mut out).map_err(std::io::Error::other)?;
                Ok(out)
            }
            Codec::Lzma => {
                let options = lzma_rust2::LzmaOptions::with_preset(1);
                let mut w = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, Some(bytes.len() as u64))?;
                w.write_all(bytes)?;
                w.finish()
            }
            Codec::Xz => {
                let mut w = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1))?;
                w.write_all(bytes)?;
                w.finish()
            }
        }
    }

    const PADDED: [Codec; 8] =
        [Codec::Zlib, Codec::Deflate, Codec::Bzip2, Codec::Zstd, Codec::Adc, Codec::Lzfse, Codec::Xz, Codec::Lzma];
    /// AFF4 does not pad their chunks, and nothing in them says where they end.
    const EXACT: [Codec; 2] = [Codec::Snappy, Codec::Lz4];

    #[test]
    fn copies_of_adc_reach_back() {
        // A plain run of three bytes, a short copy of five from three back, a long one of four from eight back.
        let packed = [0x82, b'a', b'b', b'c', 0x08, 0x02, 0x40, 0x00, 0x07];
        let mut out = Vec::new();
        assert_eq!(unpack(Codec::Adc, &packed, 12, &mut out), Ok(()));
        assert_eq!(out, b"abcabcababca");
        assert!(unpack(Codec::Adc, &[0x80, 1, 0x00, 0x05], 4, &mut Vec::new()).is_err(), "before its beginning");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_was_packed_comes_back(bytes in prop::collection::vec(0u8..4, 1..5000), pad in 0usize..600) {
            for codec in PADDED.into_iter().chain(EXACT) {
                let mut stored = packed(codec, &bytes)?;
                stored.resize(stored.len() + if EXACT.contains(&codec) { 0 } else { pad }, 0);
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
            for codec in PADDED.into_iter().chain(EXACT) {
                let mut out = Vec::new();
                let held = unpack(codec, &bytes, len, &mut out).is_ok();
                prop_assert_eq!(out.len() as u64, if held { len } else { 0 });
            }
        }
    }
}
