//! Content that a file system keeps in blocks, each packed on its own (btrfs, SquashFS, the decmpfs of HFS+ and APFS): what
//! each block takes of the stored bytes, what it gives, and how it is unpacked.
//!
//! Blocks are found by binary search and unpacked one at a time, so that reading at an offset costs one block. Where one is
//! damaged, reading ends with a fault there, as for every other kind of compressed content.

use super::{Stream, lzo, lzo1x, lzvn, run_at};
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use crate::image::lz4;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::io::Read;
use std::sync::Arc;

/// The most that a block is unpacked to, and the most that it may take packed.
const MOST: u64 = 16 << 20;

/// What a decoder of xz and of lzma may take, in KiB: a window of a block, and its own tables.
const MEMORY_KIB: u32 = 64 << 10;
/// The most that a block of SquashFS gives.
const SQUASHED: usize = 1 << 20;

/// A block as it is stored, and what it gives.
struct Last {
    method: Method,
    stored: Vec<u8>,
    bytes: Vec<u8>,
}

thread_local! {
    /// The last block that a thread unpacked whole.
    static LAST: RefCell<Last> = const { RefCell::new(Last { method: Method::Hole, stored: Vec::new(), bytes: Vec::new() }) };
}

/// How a block is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// As it is.
    Plain,
    /// Zeros that are stored nowhere.
    Hole,
    /// zlib (RFC 1950).
    Zlib,
    /// zlib; zeros where it ends early (btrfs).
    BtrfsZlib,
    /// LZO1X in stretches of a page, with their lengths; zeros where it ends early (btrfs).
    BtrfsLzo,
    /// Zstandard; zeros where it ends early (btrfs).
    BtrfsZstd,
    /// zlib, or as it is behind a byte whose lower half is 15 (decmpfs).
    DecmpfsZlib,
    /// LZVN, or as it is behind a byte 6 (decmpfs).
    DecmpfsLzvn,
    /// LZFSE, or as it is behind a byte 255 (decmpfs).
    DecmpfsLzfse,
    /// xz (SquashFS).
    Xz,
    /// LZMA with its header of 13 bytes (SquashFS).
    Lzma,
    /// LZO1X in one stretch (SquashFS).
    Lzo,
    /// A block of LZ4 (SquashFS).
    Lz4,
    /// Zstandard (SquashFS).
    Zstd,
    /// LZO1X behind a header that says how long it is (F2FS).
    F2fsLzo,
    /// A block of LZ4 behind such a header (F2FS).
    F2fsLz4,
    /// Zstandard behind such a header (F2FS).
    F2fsZstd,
}

/// A block of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct Block {
    /// Bytes of the runs that it takes, behind those of the block before.
    pub stored: u64,
    /// Unpacked bytes that it gives to the content.
    pub size: u64,
    /// Unpacked bytes to leave out in front of them.
    pub skip: u64,
    /// How it is packed.
    pub method: Method,
}

/// A block as a record keeps it: short, for there may be many.
type Row = (u64, u64, u64, Method);

impl From<Row> for Block {
    fn from((stored, size, skip, method): Row) -> Self {
        Self { stored, size, skip, method }
    }
}

impl From<Block> for Row {
    fn from(block: Block) -> Self {
        (block.stored, block.size, block.skip, block.method)
    }
}

/// Where a block begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Offset of its first byte in the content.
    at: u64,
    /// Offset of its first stored byte in the runs.
    stored: u64,
}

/// Where each block begins.
pub fn places(blocks: &[Block]) -> Arc<[Place]> {
    let mut next = Place { at: 0, stored: 0 };
    let begin = |block: &Block| {
        let here = next;
        next = Place { at: here.at.saturating_add(block.size), stored: here.stored.saturating_add(block.stored) };
        here
    };
    blocks.iter().map(begin).collect()
}

/// The bytes of `wanted` that lie in the block in which it starts.
///
/// # Errors
/// A fault where the block is missing or damaged.
pub fn block_part(
    view: View<'_>,
    stream: &Stream,
    starts: &[u64],
    (blocks, places): (&[Block], &[Place]),
    wanted: Extent,
) -> Result<Vec<u8>, Fault> {
    let number = places.partition_point(|place| place.at <= wanted.start).saturating_sub(1);
    let here = blocks.get(number).zip(places.get(number));
    let inside = here.and_then(|(block, place)| {
        let skip = wanted.start.checked_sub(place.at)?;
        Some((block, place, skip, block.size.checked_sub(skip).filter(|rest| *rest > 0)?))
    });
    let (block, place, skip, rest) = inside.ok_or_else(|| {
        let what = format!("its blocks end before byte {} of {}", wanted.start, stream.size);
        Fault::new(view.extent().start, "content", what)
    })?;
    // Told where the block stands, which is more use than where the volume begins.
    let found = run_at(&stream.runs, starts, place.stored).and_then(|(run, skip)| match run {
        super::Run::Data(extent) => Some(view.absolute(extent.start).saturating_add(skip)),
        super::Run::Hole(_) => None,
    });
    let fault =
        |what: &str| Fault::new(found.unwrap_or(view.extent().start), "packed", format!("block {number}: {what}"));
    let len = rest.min(wanted.len);
    let read = |from: u64, len: u64| super::stored(view, stream, starts, Extent::new(from, len));
    match block.method {
        Method::Hole => Ok(vec![0; index(len)]),
        Method::Plain => {
            let from = block.skip.checked_add(skip);
            let there = from.filter(|from| from.checked_add(len).is_some_and(|end| end <= block.stored));
            let bytes = there.and_then(|from| read(place.stored.checked_add(from)?, len));
            bytes.ok_or_else(|| fault("it ends before it should"))
        }
        method => {
            let whole = block.skip.checked_add(block.size).filter(|whole| *whole <= MOST && block.stored <= MOST);
            let whole = whole.ok_or_else(|| fault("it is larger than any file system makes one"))?;
            let stored = read(place.stored, block.stored).ok_or_else(|| fault("it ends before it should"))?;
            let mut bytes = method.unpack_shared(&stored, index(whole)).ok_or_else(|| fault("it is damaged"))?;
            bytes.drain(..index(block.skip.saturating_add(skip)).min(bytes.len()));
            bytes.truncate(index(len));
            Ok(bytes)
        }
    }
}

impl Method {
    /// The first `size` bytes that `stored` holds; `None` where it is damaged, or holds fewer.
    pub fn unpack(self, stored: &[u8], size: usize) -> Option<Vec<u8>> {
        match (self, stored.split_first()) {
            (Self::Hole, _) => Some(vec![0; size]),
            (Self::Plain, _) => Some(stored.get(..size)?.to_vec()),
            (Self::DecmpfsZlib, Some((mark, rest))) if mark & 15 == 15 => Some(rest.get(..size)?.to_vec()),
            (Self::DecmpfsLzvn, Some((6, rest))) | (Self::DecmpfsLzfse, Some((255, rest))) => {
                Some(rest.get(..size)?.to_vec())
            }
            (Self::Zlib | Self::DecmpfsZlib, _) => first_of(flate2::bufread::ZlibDecoder::new(stored), size),
            (Self::BtrfsZlib, _) => padded(flate2::bufread::ZlibDecoder::new(stored), size),
            (Self::BtrfsLzo, _) => lzo::decompress(stored, size),
            (Self::BtrfsZstd, _) => padded(zstd::Decoder::with_buffer(stored).ok()?.single_frame(), size),
            (Self::DecmpfsLzvn, _) => lzvn::decompress(stored, size),
            (Self::DecmpfsLzfse, _) => first_of(lzfse_rust::LzfseRingDecoder::default().reader(stored), size),
            (Self::F2fsLzo, _) => lzo1x::decompress(behind_header(stored)?, size).filter(|b| b.len() == size),
            (Self::F2fsLz4, _) => lz4::decompress(behind_header(stored)?, size).filter(|b| b.len() == size),
            (Self::F2fsZstd, _) => {
                first_of(zstd::Decoder::with_buffer(behind_header(stored)?).ok()?.single_frame(), size)
            }
            (Self::Xz | Self::Lzma | Self::Lzo | Self::Lz4 | Self::Zstd, _) => {
                self.unpack_up_to(stored, size).filter(|bytes| bytes.len() == size)
            }
        }
    }

    /// The same; a block that many files share a part of is unpacked once for those that a thread reads one behind the
    /// other. The stored bytes are compared, so that what is kept is theirs, whatever image they are of.
    fn unpack_shared(self, stored: &[u8], size: usize) -> Option<Vec<u8>> {
        let is_shared = matches!(self, Self::Zlib | Self::Xz | Self::Lzma | Self::Lzo | Self::Lz4 | Self::Zstd);
        if !is_shared || size > SQUASHED {
            return self.unpack(stored, size);
        }
        let kept = LAST.with_borrow_mut(|last| {
            if last.method != self || last.stored != stored {
                let bytes = self.unpack_up_to(stored, SQUASHED)?;
                *last = Last { method: self, stored: stored.to_vec(), bytes };
            }
            Some(last.bytes.get(..size)?.to_vec())
        });
        // Where it is damaged, what stands in front of the damage is still to be had.
        kept.or_else(|| self.unpack(stored, size))
    }

    /// What `stored` holds, at most its first `most` bytes: for blocks that do not say how much they give. `None` where
    /// it is damaged, or packed in a way that never stands alone.
    pub fn unpack_up_to(self, stored: &[u8], most: usize) -> Option<Vec<u8>> {
        match self {
            Self::Plain => Some(stored.get(..stored.len().min(most))?.to_vec()),
            Self::Zlib => up_to(flate2::bufread::ZlibDecoder::new(stored), most),
            Self::Xz => up_to(lzma_rust2::XzReader::new_mem_limit(stored, false, MEMORY_KIB), most),
            Self::Lzma => up_to(lzma_rust2::LzmaReader::new_mem_limit(stored, MEMORY_KIB, None).ok()?, most),
            Self::Lzo => {
                let mut bytes = lzo1x::decompress(stored, most.max(SQUASHED))?;
                bytes.truncate(most);
                Some(bytes)
            }
            Self::Lz4 => lz4::decompress(stored, most),
            Self::Zstd => up_to(zstd::Decoder::with_buffer(stored).ok()?.single_frame(), most),
            _ => None,
        }
    }
}

/// What is packed behind the 24 bytes of which the first four say how long it is (F2FS).
fn behind_header(stored: &[u8]) -> Option<&[u8]> {
    stored.span(24, index(stored.le32(0)?.into()))
}

/// `size` bytes of what a decoder gives. It is asked for one more: if the stream ends there, so that it checks its sum.
fn first_of(mut decoder: impl Read, size: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size);
    decoder.by_ref().take(size as u64).read_to_end(&mut bytes).ok()?;
    (bytes.len() == size && decoder.read(&mut [0]).is_ok()).then_some(bytes)
}

/// What a decoder gives, `most` bytes of it. It is asked for one more: if the stream ends there, so that it checks its sum.
fn up_to(mut decoder: impl Read, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(most.min(1 << 20));
    decoder.by_ref().take(most as u64).read_to_end(&mut bytes).ok()?;
    decoder.read(&mut [0]).is_ok().then_some(bytes)
}

/// `size` bytes of what a decoder gives, with zeros behind its end: a page that the file fills in part is packed so.
fn padded(decoder: impl Read, size: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size);
    decoder.take(size as u64).read_to_end(&mut bytes).ok()?;
    bytes.resize(size, 0);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::{Codec, Content, Run};
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn zlib(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
        writer.write_all(bytes)?;
        writer.finish()
    }

    fn lzfse(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(lzfse_rust::encode_bytes(bytes, &mut out).is_ok());
        out
    }

    /// A stream of every method, and what it holds.
    fn sample(text: &[u8]) -> std::io::Result<(Vec<u8>, Stream, Vec<u8>)> {
        let size = text.len() as u64;
        let behind = |mark: u8| [&[mark], text].concat();
        let all = [
            (Method::Plain, text.to_vec()),
            (Method::Zlib, zlib(text)?),
            (Method::Hole, Vec::new()),
            (Method::DecmpfsZlib, zlib(text)?),
            (Method::DecmpfsZlib, behind(0xff)),
            (Method::DecmpfsLzfse, lzfse(text)),
            (Method::DecmpfsLzfse, behind(0xff)),
            (Method::DecmpfsLzvn, behind(6)),
        ];
        let (mut stored, mut content, mut blocks) = (b"..".to_vec(), Vec::new(), Vec::new());
        for (method, bytes) in all {
            let skip = if method == Method::Hole { 0 } else { size / 3 };
            blocks.push(Block { stored: bytes.len() as u64, size: size - skip, skip, method });
            stored.extend_from_slice(&bytes);
            let part = text.get(index(skip)..).unwrap_or_default();
            content.extend(if method == Method::Hole { vec![0; part.len().max(text.len())] } else { part.to_vec() });
        }
        // In two pieces, to read over the border of runs.
        let (end, half) = (stored.len() as u64, stored.len() as u64 / 2);
        let runs = vec![Run::Data(Extent::between(2, half)), Run::Data(Extent::between(half, end))];
        let size = content.len() as u64;
        Ok((stored, Stream { size, runs, valid: size, codec: Codec::Packed { blocks: blocks.into() } }, content))
    }

    #[test]
    fn damage_in_a_block_is_a_fault_where_it_stands() -> Result<(), Box<dyn std::error::Error>> {
        let (mut stored, stream, content) = sample(&b"a text that is repeated, ".repeat(40))?;
        let Codec::Packed { blocks } = &stream.codec else { return Err("not packed".into()) };
        let at = 2 + index(blocks[0].stored);
        stored[at + 9] ^= 0x55;
        let image = crate::image::raw::of_bytes(&stored)?;
        let view = View::whole(image.as_ref());
        let whole = Content::new(view, &stream);
        let before = index(blocks[0].size);
        assert_eq!(whole.prefix(9999).as_ref(), &content[..before]);
        let fault = whole.part(before as u64).err().ok_or("no fault")?;
        assert_eq!((fault.at, fault.by.as_str()), (at as u64, "packed"));
        assert!(whole.part(before as u64 * 2 + 9).is_ok(), "what stands behind is read");
        Ok(())
    }

    #[test]
    fn what_stands_before_damage_in_a_shared_block_is_read() -> Result<(), Box<dyn std::error::Error>> {
        let text = (0..60_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect::<Vec<u8>>();
        let (sound, mut stored) = (zlib(&text)?, zlib(&text)?);
        let end = stored.len() - 1;
        stored[end] ^= 0x55;
        for (stored, whole) in [(&sound, true), (&stored, false), (&sound, true)] {
            assert_eq!(Method::Zlib.unpack_shared(stored, 500).as_deref(), text.get(..500));
            assert_eq!(Method::Zlib.unpack_shared(stored, text.len()).is_some(), whole);
        }
        Ok(())
    }

    #[test]
    fn a_record_of_blocks_is_short_and_reads_back() -> Result<(), Box<dyn std::error::Error>> {
        let (_, stream, _) = sample(b"text")?;
        let json = serde_json::to_string(&stream.codec)?;
        assert!(json.starts_with(r#"{"packed":{"blocks":[[4,3,1,"plain"],["#), "{json}");
        assert_eq!(serde_json::from_str::<Codec>(&json)?, stream.codec);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn every_offset_is_read(text in prop::collection::vec(0u8..9, 1..3000), at in 0u64..20_000, len in 1u64..9000) {
            let (stored, stream, content) = sample(&text)?;
            let image = crate::image::raw::of_bytes(&stored)?;
            let whole = Content::new(View::whole(image.as_ref()), &stream);
            let at = at.min(whole.size());
            let end = index(at + len).min(content.len());
            let read = whole.stretch(at, len);
            prop_assert_eq!(read.as_ref(), &content[index(at)..end]);
            let mut read = Vec::new();
            let mut reader = whole.reader();
            while let Ok(n @ 1..) = reader.by_ref().take(7).read_to_end(&mut read) { prop_assert!(n < 8); }
            prop_assert!(read == content);
        }

        #[test]
        fn any_block_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), stored in 0u64..300, size in 0u64..9000) {
            let image = crate::image::raw::of_bytes(&bytes)?;
            let squashed = [Method::Xz, Method::Lzma, Method::Lzo, Method::Lz4, Method::Zstd];
            let others = [Method::Plain, Method::Zlib, Method::DecmpfsZlib, Method::DecmpfsLzvn, Method::DecmpfsLzfse];
            for method in squashed.into_iter().chain(others) {
                let blocks: Arc<[Block]> = [Block { stored, size, skip: size / 2, method }; 2].into();
                let runs = vec![Run::Data(Extent::new(0, bytes.len() as u64))];
                let stream = Stream { size: size * 2, runs, valid: size * 2, codec: Codec::Packed { blocks } };
                let read = Content::new(View::whole(image.as_ref()), &stream).parts().flatten().map(|part| part.len() as u64).sum::<u64>();
                prop_assert!(read <= size * 2);
            }
        }
    }
}
