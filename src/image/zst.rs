//! Raw images in Zstandard (RFC 8878), read through an index and never unpacked to a file.
//!
//! A frame is what can be read on its own. `pzstd` writes many, and so does whoever writes the seekable format
//! (`zstd_seekable_compression_format.md`), whose table of them stands in a skippable frame at the end. Without that table the headers of
//! frames and blocks are walked. Where table and header do not both say how much a frame holds, it is unpacked when the image is opened,
//! on all cores: a wrong length would shift all behind it. Checksums are checked whenever a frame is unpacked. A frame of more than
//! 64 MiB, which is what `zstd` makes of a disk, is read in [`parts`], as is what is left of a damaged one. Only names that say so are
//! taken, `disk.dd.zst`.

mod block;
mod fse;
mod parts;

use super::about::About;
use super::chunks::{Chunks, Files, MAX_GRAIN, Piece, Place, Table};
use super::codec::Codec;
use super::file::{Source, holds_raw, peek, unfit};
use super::{ImageError, Taken};
use crate::bytes::{Fields, index, offset};
use crate::extent::Extent;
use parts::{Parts, Plan};
use rayon::prelude::*;
use std::path::Path;

const MAGIC: u32 = 0xfd2f_b528;
/// Frames that are none; the last digit is anything.
const SKIPPABLE: u32 = 0x184d_2a50;
const TABLE: u32 = 0x184d_2a5e;
const TABLE_MAGIC: u32 = 0x8f92_eab1;
const MAX_FRAMES: usize = 1 << 26;
const HINT: &str = "unpack it with zstd -d, and index what comes out";
/// How far back the blocks of a frame in parts may reach.
const MAX_WINDOW: u64 = 512 << 20;
/// How much a part of a large frame holds at least.
const LEAST: u64 = 8 << 20;
/// Bytes of packed windows that are kept for an image.
const ROOM: usize = 256 << 20;

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
    /// True where it breaks off with the file.
    cut: bool,
    /// Its number among those that are read in parts.
    parts: Option<usize>,
}

/// The disk.
struct Zst {
    size: u64,
    grain: u64,
    /// Sorted.
    frames: Vec<Frame>,
    parts: Vec<Parts>,
    /// Where it begins to be unsure what stands where.
    sure: u64,
}

/// What a frame's header says.
struct Header {
    /// Bytes of it.
    len: usize,
    content: Option<u64>,
    /// How far back its blocks may reach.
    window: u64,
    summed: bool,
    dictionary: bool,
}

/// Opens the image.
///
/// # Errors
/// Where a frame needs a dictionary or too large a window, or the first is damaged from its start.
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
    let descriptor = u64::from(bytes.byte(5)?);
    let base = 1u64.checked_shl(u32::try_from(descriptor >> 3).ok()?.checked_add(10)?)?;
    let window = base.checked_add((base >> 3).checked_mul(descriptor & 7)?)?;
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
    let window = content.filter(|_| single).unwrap_or(window);
    Some(Header { len: at.checked_add(width)?, content, window, summed: flags & 4 != 0, dictionary })
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
            frames.push(Frame {
                at: disk,
                packed,
                len: head.content.unwrap_or(0),
                said: Some(len),
                sum,
                cut: false,
                parts: None,
            });
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
        let whole = measured(rest);
        let cut = whole.is_none();
        // A frame that breaks off is read as far as it goes.
        let Some((head, len)) = whole.or_else(|| Some((header(rest)?, rest.len()))) else { break };
        if head.dictionary {
            return Err(unfit(path, "is packed with a dictionary, which is not in it", HINT));
        }
        let packed = Extent::new(offset(at), offset(len));
        frames.push(Frame { at: 0, packed, len: 0, said: head.content, sum: None, cut, parts: None });
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

/// The frames that are `of`, in parts.
fn parted(path: &Path, of: &[Frame], bytes: &[u8]) -> Result<Vec<Parts>, ImageError> {
    let plan = |frame: &Frame| {
        let place = format!("the frame at byte {} of the file", frame.packed.start);
        let head = bytes.get(index(frame.packed.start)..).and_then(header);
        let head = head.ok_or_else(|| unfit(path, format!("{place} is damaged from its start"), HINT))?;
        if head.window > MAX_WINDOW {
            let what =
                format!("{place} needs a window of {} bytes, and 512 MiB are the most that is read", head.window);
            return Err(unfit(path, what, HINT));
        }
        let room = ROOM.checked_div(of.len()).unwrap_or(ROOM);
        // Those of a small one, which is damaged, are small: a damaged part is lost whole.
        let least = head.window.max(LEAST.min(frame.packed.len)).min(MAX_GRAIN.saturating_sub(1 << 20)).max(1);
        let Header { len, window, summed, .. } = head;
        Ok((frame.bytes(bytes), Plan { header: len, window, summed, sum: frame.sum, least, room }))
    };
    let plans = of.iter().map(plan).collect::<Result<Vec<_>, _>>()?;
    Ok(plans.into_par_iter().map(|(frame, plan)| Parts::read(frame, plan)).collect())
}

impl Frame {
    /// Its bytes, of those of the file.
    fn bytes<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(index(self.packed.start)..index(self.packed.end())).unwrap_or_default()
    }
}

impl Zst {
    /// Places the frames on the disk.
    fn of(path: &Path, frames: Vec<Frame>, bytes: &[u8], about: &mut About) -> Result<Self, ImageError> {
        let length = |frame: &Frame| match (frame.len, frame.said) {
            (len, Some(said)) if frame.cut || len.max(said) > MAX_GRAIN => Err(LARGE),
            _ if frame.cut => Err(LARGE),
            (0, _) => unpacked(frame.bytes(bytes), None).map(|bytes| offset(bytes.len())),
            (len, _) => Ok(len),
        };
        let lengths: Vec<Result<u64, &'static str>> = frames.par_iter().map(length).collect();
        let odd = frames.iter().zip(&lengths).filter(|(_, len)| len.is_err());
        let odd: Vec<Frame> = odd.map(|(frame, _)| *frame).collect();
        let parts = parted(path, &odd, bytes)?;
        let mut zst = Self { size: 0, grain: 512, frames: Vec::new(), parts, sure: u64::MAX };
        let (count, mut numbers) = (frames.len(), 0..zst.parts.len());
        for (number, (mut frame, len)) in frames.into_iter().zip(lengths).enumerate() {
            frame.at = zst.size;
            frame.parts = if len.is_err() { numbers.next() } else { None };
            frame.len = len.unwrap_or(0);
            if !zst.place(frame, number.saturating_add(1) < count, about) {
                break;
            }
        }
        if zst.size == 0 {
            return Err(unfit(path, "is damaged from its start, or holds nothing", HINT));
        }
        Ok(zst)
    }

    /// Places a frame behind those before it; false where it is not known what stands behind it.
    fn place(&mut self, mut frame: Frame, followed: bool, about: &mut About) -> bool {
        let place = format!("the frame at byte {} of the file", frame.packed.start);
        let parts = frame.parts.and_then(|number| self.parts.get(number));
        let held = parts.map_or(frame.len, |parts| parts.len);
        let broken = parts.and_then(|parts| parts.fault.as_deref());
        if let Some(what) = broken {
            about.fault(format!("{place} {what}"));
        } else if frame.said.is_some_and(|said| said != held) {
            about.fault(format!("{place} holds {held} bytes, and is said to hold others"));
        }
        frame.len = frame.said.filter(|_| broken.is_some()).map_or(held, |said| said.max(held));
        self.grain = self.grain.max(parts.map_or(frame.len, |parts| parts.grain));
        let known = broken.is_none() || frame.said.is_some();
        // All frames but the last are of one length with most writers.
        let usual = self.frames.first().is_some_and(|first| first.len == frame.len);
        if !known {
            let end = self.size.saturating_add(held);
            about.fault(format!("how much it should hold is not known: the disk is taken to end at byte {end}"));
        } else if broken.is_some() && followed && !usual && self.sure == u64::MAX {
            self.sure = self.size;
            about.fault(
                "what stands behind it may be shifted, if what it is said to hold is wrong: it counts as unreadable",
            );
        }
        if frame.cut && known {
            about.fault("where it ends in the file is not known: the disk is taken to end with it");
        }
        self.size = self.size.saturating_add(frame.len);
        if frame.len > 0 {
            self.frames.push(frame);
        }
        known
    }

    fn frame(&self, at: u64) -> Option<&Frame> {
        let next = self.frames.partition_point(|frame| frame.at <= at);
        self.frames.get(next.checked_sub(1)?)
    }

    /// The parts of a frame that is read so.
    fn parts(&self, frame: &Frame) -> Option<&Parts> {
        self.parts.get(frame.parts?)
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
        let lost = |extent| Piece::new(extent, Place::Lost);
        let Some(frame) = self.frame(at) else { return lost(Extent::between(at, self.size)) };
        let whole = Extent::new(frame.at, frame.len);
        let packed = |extent: Extent, packed| {
            Piece::new(extent, Place::Packed { file: 0, extent: packed, codec: Codec::Zstd, len: extent.len })
        };
        let Some(parts) = self.parts(frame) else { return packed(whole, frame.packed) };
        match parts.find(at.saturating_sub(frame.at)) {
            Some((held, from)) => packed(
                Extent::new(frame.at.saturating_add(held.start), held.len),
                Extent::new(frame.packed.start.saturating_add(from.start), from.len),
            ),
            None => lost(Extent::between(frame.at.saturating_add(parts.len), whole.end())),
        }
    }

    fn decode(
        &self,
        files: &Files,
        piece: &Piece,
        packed: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Result<(), &'static str>> {
        let frame = self.frame(piece.extent.start)?;
        let bytes = match self.parts(frame) {
            Some(parts) => {
                let whole = frame.bytes(files.whole(0).unwrap_or_default());
                parts.content(whole, piece.extent.start.saturating_sub(frame.at))
            }
            None => unpacked(packed, Some(frame.len)),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(what) => return Some(Err(what)),
        };
        let low = |bytes: &[u8]| twox_hash::XxHash64::oneshot(0, bytes) & u64::from(u32::MAX);
        if frame.parts.is_none() && frame.sum.is_some_and(|sum| low(&bytes) != u64::from(sum)) {
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
        let frame = self.frame(piece.extent.start);
        let whole = frame.and_then(|frame| self.parts(frame)).is_none_or(|parts| parts.fault.is_none());
        whole && piece.extent.start < self.sure
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
