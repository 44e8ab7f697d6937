//! Raw images in Zstandard (RFC 8878) of many frames, read through an index and never unpacked to a file.
//!
//! A frame is what can be read on its own. `pzstd` writes many, and so does whoever writes the seekable format
//! (`zstd_seekable_compression_format.md`), whose table of them stands in a skippable frame at the end. Without that table the headers of
//! frames and blocks are walked. Where table and header do not both say how much a frame holds, it is unpacked when the image is opened,
//! on all cores: a wrong length would shift all behind it. Checksums are checked whenever a frame is unpacked. Inside a frame decoding needs all of the window before, up to 128 MiB: one that holds more
//! than 64 MiB is refused. Only names that say so are taken, `disk.dd.zst`.

use super::about::About;
use super::chunks::{Chunks, Files, MAX_GRAIN, Piece, Place, Table};
use super::codec::Codec;
use super::file::{Source, holds_raw, peek, unfit};
use super::{ImageError, Taken};
use crate::bytes::{Fields, index, offset};
use crate::extent::Extent;
use rayon::prelude::*;
use std::path::Path;

const MAGIC: u32 = 0xfd2f_b528;
/// Frames that are none; the last digit is anything.
const SKIPPABLE: u32 = 0x184d_2a50;
const TABLE: u32 = 0x184d_2a5e;
const TABLE_MAGIC: u32 = 0x8f92_eab1;
const MAX_FRAMES: usize = 1 << 26;
const HINT: &str = "pack it again with pzstd, or unpack it with zstd -d, and index what comes out";

/// A frame.
#[derive(Clone, Copy)]
struct Frame {
    /// First byte of the disk in it.
    at: u64,
    packed: Extent,
    /// How many bytes it holds; 0 until that is known.
    len: u64,
    /// How many its header or the table says that it holds.
    said: Option<u64>,
    /// The low half of the XXH64 of what it holds, by the table.
    sum: Option<u32>,
}

/// The disk.
struct Zst {
    size: u64,
    grain: u64,
    /// Sorted.
    frames: Vec<Frame>,
    /// Where it begins to be unsure what stands where.
    sure: u64,
}

/// What a frame's header says.
struct Header {
    /// Bytes of it.
    len: usize,
    content: Option<u64>,
    summed: bool,
    dictionary: bool,
}

/// Opens the image.
///
/// # Errors
/// Where a frame holds more than can be read at once, needs a dictionary, or the first is damaged.
pub fn open(path: &Path) -> Taken {
    if path.is_dir() || !holds_raw(path, "zst") {
        return Ok(None);
    }
    let magic = u32::from_le_bytes(peek::<4>(path, None)?);
    if magic != MAGIC && magic & !0xf != SKIPPABLE {
        return Ok(None);
    }
    let source = Source::open(path)?;
    let mut about = About::default();
    let bytes = source.bytes();
    let frames = match table(bytes) {
        Some(frames) => {
            about.fact("container", format!("seekable Zstandard, {} frames", frames.len()));
            frames
        }
        None => walked(path, bytes, &mut about)?,
    };
    let zst = Zst::of(path, frames, bytes, &mut about)?;
    Ok(Some(Box::new(Chunks::new(zst, Files::new(vec![source]), None, about))))
}

/// The header of the frame that `bytes` begin with.
fn header(bytes: &[u8]) -> Option<Header> {
    if bytes.le32(0)? != MAGIC {
        return None;
    }
    let flags = bytes.byte(4)?;
    let single = flags & 0x20 != 0;
    let at = if single { 5 } else { 6usize };
    let ids = [0usize, 1, 2, 4].get(usize::from(flags & 3)).copied()?;
    let id = bytes.span(at, ids)?;
    let at = at.checked_add(ids)?;
    let (content, width) = match flags >> 6 {
        0 if single => (Some(u64::from(bytes.byte(at)?)), 1),
        0 => (None, 0),
        1 => (Some(u64::from(bytes.le16(at)?).saturating_add(256)), 2),
        2 => (Some(u64::from(bytes.le32(at)?)), 4),
        _ => (Some(bytes.le64(at)?), 8),
    };
    let dictionary = id.iter().any(|byte| *byte != 0);
    Some(Header { len: at.checked_add(width)?, content, summed: flags & 4 != 0, dictionary })
}

/// The frame that `bytes` begin with: what its header says, and where it ends.
fn measured(bytes: &[u8]) -> Option<(Header, usize)> {
    let head = header(bytes)?;
    let mut at = head.len;
    loop {
        let [a, b, c] = bytes.array::<3>(at)?;
        let block = u32::from_le_bytes([a, b, c, 0]);
        let len = match block >> 1 & 3 {
            1 => 1,
            3 => return None,
            _ => index((block >> 3).into()),
        };
        at = at.checked_add(3)?.checked_add(len)?;
        if block & 1 != 0 {
            break;
        }
    }
    at = at.checked_add(if head.summed { 4 } else { 0 })?;
    (at <= bytes.len()).then_some((head, at))
}

/// The frames by the table at the end, where there is one that fits the frames.
fn table(bytes: &[u8]) -> Option<Vec<Frame>> {
    let foot = bytes.len().checked_sub(9)?;
    let (count, flags) = (index(bytes.le32(foot)?.into()), bytes.byte(foot.checked_add(4)?)?);
    if bytes.le32(foot.checked_add(5)?)? != TABLE_MAGIC || flags & 0x7c != 0 || count > MAX_FRAMES {
        return None;
    }
    let summed = flags & 0x80 != 0;
    let width = if summed { 12 } else { 8 };
    let start = foot.checked_sub(count.checked_mul(width)?)?.checked_sub(8)?;
    let len = bytes.len().checked_sub(start)?.checked_sub(8)?;
    if bytes.le32(start)? != TABLE || index(bytes.le32(start.checked_add(4)?)?.into()) != len {
        return None;
    }
    let (mut frames, mut at, mut disk) = (Vec::with_capacity(count), 0usize, 0u64);
    for row in bytes.get(start.checked_add(8)?..foot)?.chunks_exact(width) {
        let packed = Extent::new(offset(at), row.le32(0)?.into());
        let len = u64::from(row.le32(4)?);
        let end = at.checked_add(index(packed.len))?;
        // A table that is not of these frames is none.
        let frame = bytes.get(at..end).filter(|_| end <= start)?;
        if len > 0 {
            let head = header(frame)?;
            if head.dictionary || head.content.is_some_and(|content| content != len) {
                return None;
            }
            let sum = if summed { row.le32(8) } else { None };
            frames.push(Frame { at: disk, packed, len: head.content.unwrap_or(0), said: Some(len), sum });
        }
        (at, disk) = (end, disk.checked_add(len)?);
    }
    (at == start && !frames.is_empty()).then_some(frames)
}

/// The frames by their headers and those of their blocks.
fn walked(path: &Path, bytes: &[u8], about: &mut About) -> Result<Vec<Frame>, ImageError> {
    let (mut frames, mut at) = (Vec::new(), 0usize);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty() && frames.len() < MAX_FRAMES) {
        if rest.le32(0).is_some_and(|magic| magic & !0xf == SKIPPABLE) {
            let end = rest.le32(4).and_then(|len| at.checked_add(8)?.checked_add(index(len.into())));
            let Some(end) = end.filter(|end| *end <= bytes.len()) else { break };
            at = end;
            continue;
        }
        let Some((head, len)) = measured(rest) else { break };
        if head.dictionary {
            return Err(unfit(path, "is packed with a dictionary, which is not in it", HINT));
        }
        let packed = Extent::new(offset(at), offset(len));
        frames.push(Frame { at: 0, packed, len: 0, said: head.content, sum: None });
        at = at.saturating_add(len);
    }
    let rest = bytes.get(at..).unwrap_or_default();
    if !crate::bytes::all_zero(rest) {
        let what = format!("at byte {at} of the file a frame should begin, and none does that is whole");
        about.fault(format!("{what}: what {} bytes from there on hold is not read", rest.len()));
    }
    about.fact("container", format!("Zstandard, {} frames", frames.len()));
    Ok(frames)
}

/// What a frame holds: exactly so many bytes, or up to the most that are read where that is not known.
fn unpacked(packed: &[u8], len: Option<u64>) -> Result<Vec<u8>, &'static str> {
    // The library checks the frame's checksum.
    let bytes = zstd::bulk::decompress(packed, index(len.unwrap_or(MAX_GRAIN)));
    let bytes = bytes.map_err(|error| if error.to_string().contains("too small") { LARGE } else { DAMAGED })?;
    if len.is_none_or(|len| len == offset(bytes.len())) { Ok(bytes) } else { Err(DAMAGED) }
}

const LARGE: &str = "holds more than it should";
const DAMAGED: &str = "is damaged";

impl Zst {
    /// Places the frames on the disk.
    fn of(path: &Path, frames: Vec<Frame>, bytes: &[u8], about: &mut About) -> Result<Self, ImageError> {
        let length = |frame: &Frame| match (frame.len, frame.said) {
            (len, Some(said)) if len.max(said) > MAX_GRAIN => Err(LARGE),
            (0, _) => {
                let packed = bytes.get(index(frame.packed.start)..index(frame.packed.end())).unwrap_or_default();
                unpacked(packed, None).map(|bytes| offset(bytes.len()))
            }
            (len, _) => Ok(len),
        };
        let lengths: Vec<Result<u64, &'static str>> = frames.par_iter().map(length).collect();
        let mut zst = Self { size: 0, grain: 512, frames: Vec::new(), sure: u64::MAX };
        let last = frames.len().saturating_sub(1);
        for (number, (mut frame, len)) in frames.into_iter().zip(lengths).enumerate() {
            let at = frame.packed.start;
            let place = format!("the frame at byte {at} of the file");
            frame.at = zst.size;
            frame.len = match (len, frame.said) {
                (Err(LARGE), _) => {
                    let what =
                        format!("{place} holds more than 64 MiB, and within a frame nothing can be read on its own");
                    return Err(unfit(path, what, HINT));
                }
                (Ok(len), said) => {
                    if said.is_some_and(|said| said != len) {
                        about.fault(format!("{place} holds {len} bytes, and is said to hold others"));
                    }
                    len
                }
                (Err(what), None) => {
                    let size = zst.size;
                    about.fault(format!(
                        "{place} {what}, and how much it holds is not known: the disk is taken to end at byte {size}"
                    ));
                    break;
                }
                (Err(what), Some(said)) => {
                    about.fault(format!("{place} {what}: the {said} bytes that it is said to hold are unreadable"));
                    // All frames but the last are of one length with most writers.
                    let usual = zst.frames.first().is_some_and(|first| first.len == said) && number < last;
                    if !usual && zst.sure == u64::MAX {
                        zst.sure = zst.size;
                        about.fault("what stands behind it may be shifted, if that is wrong: it counts as unreadable");
                    }
                    said
                }
            };
            zst.size = zst.size.saturating_add(frame.len);
            zst.grain = zst.grain.max(frame.len);
            if frame.len > 0 {
                zst.frames.push(frame);
            }
        }
        if zst.size == 0 {
            return Err(unfit(path, "is damaged from its start, or holds nothing", HINT));
        }
        Ok(zst)
    }

    fn frame(&self, at: u64) -> Option<&Frame> {
        let next = self.frames.partition_point(|frame| frame.at <= at);
        self.frames.get(next.checked_sub(1)?)
    }
}

impl Table for Zst {
    fn format(&self) -> &'static str {
        "zstd raw"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn grain(&self) -> u64 {
        self.grain
    }

    fn piece(&self, _files: &Files, at: u64) -> Piece {
        let Some(Frame { at, packed, len, .. }) = self.frame(at).copied() else {
            return Piece::new(Extent::between(at, self.size), Place::Lost);
        };
        let place = Place::Packed { file: 0, extent: packed, codec: Codec::Zstd, len };
        Piece::new(Extent::new(at, len), place)
    }

    fn decode(
        &self,
        _files: &Files,
        piece: &Piece,
        packed: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Result<(), &'static str>> {
        let frame = self.frame(piece.extent.start)?;
        let bytes = match unpacked(packed, Some(frame.len)) {
            Ok(bytes) => bytes,
            Err(what) => return Some(Err(what)),
        };
        let low = |bytes: &[u8]| twox_hash::XxHash64::oneshot(0, bytes) & u64::from(u32::MAX);
        if frame.sum.is_some_and(|sum| low(&bytes) != u64::from(sum)) {
            return Some(Err("is not what the table has the checksum of"));
        }
        if out.is_empty() {
            *out = bytes;
        } else {
            out.extend_from_slice(&bytes);
        }
        Some(Ok(()))
    }

    fn sound(&self, _files: &Files, piece: &Piece) -> bool {
        piece.extent.start < self.sure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_headers_of_frames_are_those_of_the_library() -> Result<(), Box<dyn std::error::Error>> {
        for len in [1usize, 200, 300, 70_000, 300_000] {
            let bytes: Vec<u8> = (0..len).map(|n| ((n * n) >> 7) as u8).collect();
            let packed = zstd::bulk::compress(&bytes, 3)?;
            let (head, end) = measured(&packed).ok_or("it is a frame")?;
            assert_eq!((head.content, end, head.dictionary), (Some(len as u64), packed.len(), false));
            let mut packer = zstd::stream::Encoder::new(Vec::new(), 3)?;
            packer.include_contentsize(false)?;
            std::io::Write::write_all(&mut packer, &bytes)?;
            let streamed = packer.finish()?;
            let (head, end) = measured(&streamed).ok_or("it is a frame")?;
            assert_eq!((head.content, end), (None, streamed.len()));
            assert_eq!(unpacked(&streamed, None)?, bytes);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80), flags in any::<u8>()) {
            let frame = [&MAGIC.to_le_bytes()[..], &[flags], &bytes].concat();
            prop_assert!(measured(&frame).is_none_or(|(_, end)| end <= frame.len()));
            let foot = [&bytes[..], &3u32.to_le_bytes(), &[flags], &TABLE_MAGIC.to_le_bytes()].concat();
            prop_assert!(table(&foot).is_none());
            let _ = unpacked(&frame, Some(100));
        }
    }
}
