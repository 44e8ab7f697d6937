//! Raw images in gzip (RFC 1952, RFC 1951), read through an index and never unpacked to a file.
//!
//! Opening goes through all of the stream once: that proves its checksums, tells the size, which gzip keeps modulo 4 GiB alone, and
//! keeps, every so many bytes at the border of a block, what is needed to go on from there: the bits left of the last byte and the
//! 32 KiB before. Reading decodes from the border before. Only names that say so are taken, `disk.dd.gz`: other files in
//! gzip are no disks.

use super::Taken;
use super::about::About;
use super::chunks::{Chunks, Files, MAX_GRAIN, Piece, Place, Table};
use super::codec::Codec;
use super::file::{Source, holds_raw, peek, unfit};
use crate::bytes::{Fields, index, offset};
use crate::extent::Extent;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{BlockBoundaryState, DecompressorOxide, decompress, inflate_flags};
use std::path::Path;

const MAGIC: &[u8] = b"\x1f\x8b\x08";
/// How far a match may reach back.
const WINDOW: usize = 32 << 10;
/// Bytes that are decoded at a time while the index is made; a power of two.
const RING: usize = 1 << 20;

/// A border from which decoding can go on.
struct Border {
    /// First byte of the disk behind it.
    at: u64,
    /// First byte of the file behind it.
    packed: u64,
    /// The bits of the byte before it; none at the start of a member.
    state: Option<BlockBoundaryState>,
    window: Vec<u8>,
}

/// The disk.
struct Gz {
    size: u64,
    grain: u64,
    /// Bytes of the file.
    packed: u64,
    borders: Vec<Border>,
}

/// Opens the image.
///
/// # Errors
/// Where its first member is damaged from the start, or has a block that is too large to be read through an index.
pub fn open(path: &Path) -> Taken {
    if path.is_dir() || !holds_raw(path, "gz") || !peek::<3>(path, None)?.starts_with(MAGIC) {
        return Ok(None);
    }
    let source = Source::open(path)?;
    let mut about = About::default();
    let Some(gz) = Gz::read(source.bytes(), &mut about) else {
        let what = "is damaged from its start, or one of its blocks is larger than 64 MiB";
        return Err(unfit(path, what, "unpack it with gunzip, and index what comes out"));
    };
    Ok(Some(Box::new(Chunks::new(gz, Files::new(vec![source]), None, about))))
}

impl Gz {
    /// Makes the index.
    fn read(bytes: &[u8], about: &mut About) -> Option<Self> {
        let packed = bytes.len() as u64;
        let spacing = packed.checked_div(2048)?.clamp(1 << 20, MAX_GRAIN / 2);
        let mut gz = Self { size: 0, grain: 0, packed, borders: Vec::new() };
        let mut at = 0usize;
        while let Some(data) = header(bytes, at) {
            match gz.member(bytes, data, spacing)? {
                Ok(end) => at = end,
                Err(what) => {
                    about.fault(format!(
                        "the member at byte {at} of the file {what}: which of its bytes are wrong is not known, the disk is taken to end at byte {}",
                        gz.size
                    ));
                    break;
                }
            }
        }
        let rest = bytes.get(at..).unwrap_or_default();
        if about.faults.is_empty() && !crate::bytes::all_zero(rest) {
            about.remark(format!("{} bytes behind the end of the stream are no part of it", rest.len()));
        }
        (gz.size > 0).then_some(gz)
    }

    /// Goes through a member whose data begins at `data`; gives where it ends. `None` where a block is too large.
    fn member(&mut self, bytes: &[u8], data: usize, spacing: u64) -> Option<Result<usize, &'static str>> {
        let mut decoder = Box::<DecompressorOxide>::default();
        let (mut ring, mut place, mut at) = (vec![0u8; RING], 0usize, data);
        let (start, mut crc) = (self.size, crc32fast::Hasher::new());
        self.borders.push(Border { at: self.size, packed: offset(data), state: None, window: Vec::new() });
        loop {
            let flags = inflate_flags::TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
            let (status, read, made) = decompress(&mut decoder, bytes.get(at..)?, &mut ring, place, flags);
            crc.update(ring.get(place..place.checked_add(made)?)?);
            at = at.checked_add(read)?;
            self.size = self.size.checked_add(offset(made))?;
            place = place.checked_add(made)? & RING.saturating_sub(1);
            let last = self.borders.last().map_or(0, |border| border.at);
            let since = self.size.saturating_sub(last);
            self.grain = self.grain.max(since);
            if since > MAX_GRAIN {
                return None;
            }
            match status {
                TINFLStatus::BlockBoundary if since >= spacing => {
                    let window = before(&ring, place, index(self.size.saturating_sub(start)).min(WINDOW));
                    let state = decoder.block_boundary_state();
                    self.borders.push(Border { at: self.size, packed: offset(at), state, window });
                }
                TINFLStatus::BlockBoundary | TINFLStatus::HasMoreOutput => {}
                TINFLStatus::Done => {
                    let tail = bytes.get(at..).unwrap_or_default();
                    let len = self.size.saturating_sub(start) & 0xffff_ffff;
                    let holds = tail.le32(0) == Some(crc.finalize()) && tail.le32(4).map(u64::from) == Some(len);
                    return Some(if holds {
                        Ok(at.saturating_add(8))
                    } else {
                        Err("has a checksum that does not hold, or none")
                    });
                }
                _ => return Some(Err("is damaged or breaks off")),
            }
        }
    }
}

/// The last `len` bytes of a ring before `place`.
fn before(ring: &[u8], place: usize, len: usize) -> Vec<u8> {
    let (head, tail) = ring.split_at_checked(place).unwrap_or_default();
    let missing = len.saturating_sub(head.len());
    let wrapped = tail.get(tail.len().saturating_sub(missing)..).unwrap_or_default();
    let own = head.get(head.len().saturating_sub(len)..).unwrap_or_default();
    [wrapped, own].concat()
}

/// Where the data of the member at `at` begins; none where there is no member.
fn header(bytes: &[u8], at: usize) -> Option<usize> {
    let head = bytes.get(at..)?;
    if !head.starts_with(MAGIC) {
        return None;
    }
    let flags = head.byte(3)?;
    let mut end = 10usize;
    if flags & 4 != 0 {
        end = end.checked_add(2)?.checked_add(usize::from(head.le16(end)?))?;
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            let zero = head.get(end..)?.iter().position(|byte| *byte == 0)?;
            end = end.checked_add(zero)?.checked_add(1)?;
        }
    }
    end = end.checked_add(if flags & 2 != 0 { 2 } else { 0 })?;
    at.checked_add(end)
}

impl Table for Gz {
    fn format(&self) -> &'static str {
        "gzip raw"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn grain(&self) -> u64 {
        self.grain
    }

    fn piece(&self, _files: &Files, at: u64) -> Piece {
        let next = self.borders.partition_point(|border| border.at <= at);
        let end = self.borders.get(next).map_or(self.size, |border| border.at);
        let Some(border) = next.checked_sub(1).and_then(|row| self.borders.get(row)) else {
            return Piece::new(Extent::between(at, end), Place::Lost);
        };
        let extent = Extent::between(border.at, end);
        let packed = Extent::between(border.packed, self.packed);
        Piece::new(extent, Place::Packed { file: 0, extent: packed, codec: Codec::Deflate, len: extent.len })
    }

    fn decode(
        &self,
        _files: &Files,
        piece: &Piece,
        packed: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Result<(), &'static str>> {
        let row = self.borders.binary_search_by_key(&piece.extent.start, |border| border.at).ok()?;
        let border = self.borders.get(row)?;
        let mut decoder = match &border.state {
            Some(state) => Box::new(DecompressorOxide::from_block_boundary_state(state)),
            None => Box::<DecompressorOxide>::default(),
        };
        let from = border.window.len();
        let mut bytes = border.window.clone();
        bytes.resize(from.saturating_add(index(piece.extent.len)), 0);
        let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (_, _, made) = decompress(&mut decoder, packed, &mut bytes, from, flags);
        out.extend_from_slice(bytes.get(from..)?);
        Some(if offset(made) == piece.extent.len { Ok(()) } else { Err("its deflate stream breaks off") })
    }
}
