//! Tables of metadata: blocks of at most 8 KiB, each packed on its own behind a length, read as one run of bytes.
//!
//! Kernel documentation, "Squashfs 4.0 Filesystem", "Metadata blocks".

use super::superblock::{NONE, Superblock};
use crate::bytes::{Fields, index, offset};
use crate::content::packed::{Block, Method};
use crate::content::{Codec, Run, Stream};
use crate::extent::Extent;
use crate::image::View;
use rayon::prelude::*;

/// Unpacked bytes of a block.
const BLOCK: usize = 8192;
/// In a block's length: it is not packed.
const PLAIN: u16 = 0x8000;
/// The most blocks of a table: a gigabyte.
const MAX_BLOCKS: usize = 1 << 17;

/// A block, unpacked.
#[derive(Debug)]
struct Piece {
    /// Where its bytes stand in the volume, behind the length.
    stored: Extent,
    method: Method,
    /// `None` where it is damaged.
    bytes: Option<Vec<u8>>,
}

impl Piece {
    fn new(view: View<'_>, at: u64, method: Method) -> Option<Self> {
        let length = view.read(at, 2).ok()?.le16(0)?;
        let stored = Extent::new(at.checked_add(2)?, u64::from(length & !PLAIN));
        let method = if length & PLAIN != 0 { Method::Plain } else { method };
        (stored.len > 0 && stored.len <= offset(BLOCK)).then_some(Self { stored, method, bytes: None })
    }

    fn unpack(&mut self, view: View<'_>) {
        let stored = view.read(self.stored.start, self.stored.len).ok();
        self.bytes = stored.and_then(|stored| self.method.unpack_up_to(&stored, BLOCK));
    }
}

/// A place in a table: a block, and a byte in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    row: usize,
    skip: usize,
}

/// Blocks that stand one behind the other.
#[derive(Debug, Default)]
pub(super) struct Table {
    start: u64,
    pieces: Vec<Piece>,
    /// Where its chain of lengths breaks before its end.
    pub(super) broken: Option<u64>,
}

impl Table {
    /// All blocks from `start` up to `end`.
    pub(super) fn read(view: View<'_>, method: Method, start: u64, end: u64) -> Self {
        let mut table = Self { start, ..Self::default() };
        let mut at = start;
        while at < end {
            let next = Piece::new(view, at, method).filter(|piece| piece.stored.end() <= end);
            let Some(piece) = next.filter(|_| table.pieces.len() < MAX_BLOCKS) else {
                table.broken = Some(at);
                break;
            };
            at = piece.stored.end();
            table.pieces.push(piece);
        }
        table.pieces.par_iter_mut().for_each(|piece| piece.unpack(view));
        table
    }

    /// Where the damaged blocks stand.
    pub(super) fn damaged(&self) -> impl Iterator<Item = u64> + '_ {
        self.pieces.iter().filter(|piece| piece.bytes.is_none()).map(|piece| piece.stored.start)
    }

    /// Unpacked bytes of all blocks.
    pub(super) fn size(&self) -> u64 {
        self.pieces.iter().filter_map(|piece| piece.bytes.as_ref()).map(|bytes| offset(bytes.len())).sum()
    }

    /// Where the first byte is.
    pub(super) const fn first(&self) -> Place {
        Place { row: 0, skip: 0 }
    }

    /// The start of the block behind a place.
    fn next_block(&self, place: Place) -> Option<Place> {
        let row = place.row.checked_add(1)?;
        (row < self.pieces.len()).then_some(Place { row, skip: 0 })
    }

    /// The place that a reference names: the byte of a block behind the table's start, times 65536, and a byte in it.
    pub(super) fn place(&self, reference: u64) -> Option<Place> {
        let at = self.start.checked_add(reference >> 16)?.checked_add(2)?;
        let row = self.pieces.binary_search_by_key(&at, |piece| piece.stored.start).ok()?;
        Some(Place { row, skip: index(reference & 0xffff) })
    }

    /// The same place, at the start of the next block where it is the end of one.
    pub(super) fn settled(&self, place: Place) -> Option<Place> {
        let bytes = self.pieces.get(place.row)?.bytes.as_ref()?;
        if place.skip < bytes.len() { Some(place) } else { self.next_block(place) }
    }

    /// The reference of a place.
    pub(super) fn reference(&self, place: Place) -> Option<u64> {
        let at = self.pieces.get(place.row)?.stored.start.checked_sub(2)?.checked_sub(self.start)?;
        Some(at.checked_mul(1 << 16)? | offset(place.skip))
    }

    /// Where the block of a place stands in the volume.
    pub(super) fn byte(&self, place: Place) -> u64 {
        self.pieces.get(place.row).map_or(self.start, |piece| piece.stored.start)
    }

    /// `len` bytes from a place on, which moves behind them; `None` where the table ends before that, or is damaged.
    pub(super) fn take(&self, place: &mut Place, len: usize) -> Option<Vec<u8>> {
        let mut taken = Vec::with_capacity(len.min(1 << 16));
        self.walk(place, len, &mut |_, bytes| taken.extend_from_slice(bytes))?;
        Some(taken)
    }

    /// Goes `len` bytes further.
    pub(super) fn skip(&self, place: &mut Place, len: usize) -> Option<()> {
        self.walk(place, len, &mut |_, _| ())
    }

    /// The same bytes as content.
    pub(super) fn stream(&self, place: &mut Place, len: usize) -> Option<Stream> {
        let (mut runs, mut blocks) = (Vec::new(), Vec::new());
        let mut skip = offset(place.skip);
        self.walk(place, len, &mut |piece, bytes| {
            runs.push(Run::Data(piece.stored));
            let (stored, size) = (piece.stored.len, offset(bytes.len()));
            blocks.push(Block { stored, size, skip: std::mem::take(&mut skip), method: piece.method });
        })?;
        let size = offset(len);
        Some(Stream { size, runs, valid: size, codec: Codec::Packed { blocks: blocks.into() } })
    }

    fn walk(&self, place: &mut Place, len: usize, each: &mut dyn FnMut(&Piece, &[u8])) -> Option<()> {
        let mut left = len;
        while left > 0 {
            let piece = self.pieces.get(place.row)?;
            let rest = piece.bytes.as_ref()?.get(place.skip..)?;
            let part = rest.get(..left.min(rest.len()))?;
            if part.is_empty() {
                *place = self.next_block(*place)?;
                // Blocks that give nothing would never end.
                self.pieces.get(place.row)?.bytes.as_ref().filter(|bytes| !bytes.is_empty())?;
                continue;
            }
            each(piece, part);
            (left, place.skip) = (left.saturating_sub(part.len()), place.skip.saturating_add(part.len()));
        }
        Some(())
    }
}

/// Rows of equal length in blocks that a list of their places names.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pieces: Vec<Option<Piece>>,
    row: usize,
    /// Where the first of its blocks stands.
    pub(super) first: Option<u64>,
    /// Whether all of it can be read.
    pub(super) is_whole: bool,
}

impl Rows {
    /// No rows: as it should be, or not.
    pub(super) fn none(is_whole: bool) -> Self {
        Self { is_whole, ..Self::default() }
    }

    /// `count` rows of `row` bytes, whose list of blocks stands at `list`.
    pub(super) fn read(view: View<'_>, method: Method, (list, count, row): (u64, u64, usize)) -> Self {
        let blocks = count.saturating_mul(offset(row)).div_ceil(offset(BLOCK));
        let known = index(blocks).min(MAX_BLOCKS);
        if count == 0 || list == NONE {
            return Self::none(count == 0);
        }
        let bytes = view.read_up_to(list, offset(known).saturating_mul(8));
        let places: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|place| u64::from_le_bytes(*place)).collect();
        let unpack = |at: u64| {
            let mut piece = Piece::new(view, at, method)?;
            piece.unpack(view);
            piece.bytes.is_some().then_some(piece)
        };
        // Each block stands behind the one before: so a list cannot name one of them a million times.
        let mut before = 0;
        let ascending = places.iter().take_while(|at| std::mem::replace(&mut before, **at) < **at).count();
        let pieces: Vec<Option<Piece>> =
            places.get(..ascending).unwrap_or_default().par_iter().map(|at| unpack(*at)).collect();
        let is_whole = offset(pieces.len()) == blocks && pieces.iter().all(Option::is_some);
        Self { pieces, row, first: places.first().copied(), is_whole }
    }

    /// A row.
    pub(super) fn get(&self, number: u64) -> Option<&[u8]> {
        let each = BLOCK.checked_div(self.row)?;
        let (block, row) = (index(number).checked_div(each)?, index(number).checked_rem(each)?);
        let bytes = self.pieces.get(block)?.as_ref()?.bytes.as_ref()?;
        bytes.span(row.checked_mul(self.row)?, self.row)
    }
}

/// Where the table of directories ends: where the next one begins.
pub(super) fn end_of_directories(view: View<'_>, sb: &Superblock, firsts: &[Option<u64>]) -> u64 {
    let exports = view.read_up_to(sb.export_table, 8).le64(0).filter(|_| sb.export_table != NONE);
    let lists = [sb.fragment_table, sb.export_table, sb.id_table, sb.xattr_table, sb.bytes_used.min(view.size())];
    let all = firsts.iter().copied().flatten().chain(exports).chain(lists);
    all.filter(|at| *at >= sb.directory_table).min().unwrap_or(sb.directory_table)
}
