//! Virtual allocation tables of discs that are written once (UDF 1.50, 2.2.10; UDF 2.60, 2.2.11): where the blocks of the
//! virtual partition are, and the table of the session before.

use super::alloc;
use super::icb;
use super::layout::Layout;
use super::tag::{self, Address};
use crate::bytes::{Fields, offset};
use crate::content::{Content, Stream};
use crate::extent::Extent;
use crate::fuel::Fuel;

/// Bytes of a table that are read.
const MAX_TABLE: u64 = 256 << 20;
/// Bytes of the lists of extents of all that may be a table.
const MAX_LISTS: u64 = 1 << 26;
/// Bytes before the rows of a table of UDF 2.00 and later, and those behind them of one before.
const HEADER: u64 = 152;
const TRAILER: u64 = 36;
/// Tables of earlier sessions that are followed.
const MAX_SESSIONS: usize = 256;

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Vat {
    /// The block that its entry stands in.
    pub(super) address: Address,
    /// Byte of the volume of that block.
    pub(super) at: u64,
    pub(super) table: Vec<u32>,
    /// The block of the entry of the table before.
    previous: Option<u32>,
    /// What entry and table take.
    pub(super) used: Vec<Extent>,
}

impl Vat {
    /// The last table of a partition: its entry is the last block that was written.
    pub(super) fn find(layout: &Layout<'_>, part: u16, extent: Extent) -> Option<Self> {
        let end = extent.end().min(layout.view.size());
        let blocks = end.checked_sub(extent.start)?.checked_div(layout.block)?;
        let mut fuel = Fuel::new(MAX_LISTS);
        (0..blocks).rev().find_map(|block| {
            let at = extent.start.saturating_add(block.saturating_mul(layout.block));
            let head = layout.view.read_up_to(at, 2);
            let may = matches!(head.le16(0), Some(tag::FILE_ENTRY | tag::EXTENDED_ENTRY));
            let address = Address { part, block: u32::try_from(block).ok()? };
            if may { Self::read(layout, address, &mut fuel) } else { None }
        })
    }

    /// The table whose entry stands in a block. Takes fuel for the list of its extents.
    fn read(layout: &Layout<'_>, address: Address, fuel: &mut Fuel) -> Option<Self> {
        let entry = icb::read(layout, address).filter(|entry| entry.wrong.is_empty())?;
        // Up to UDF 1.50 its type is that of no file, and its end names it.
        (matches!(entry.kind, 0 | 248) && entry.size <= MAX_TABLE).then_some(())?;
        let mapping = alloc::map(layout, &entry, fuel);
        let reached: u64 = mapping.runs.iter().fold(0, |sum, run| sum.saturating_add(run.len()));
        (mapping.wrong.is_none() && reached >= entry.size).then_some(())?;
        let used: Vec<Extent> = mapping.extents().chain(mapping.used.iter().copied()).collect();
        let content = Stream::plain(mapping.runs, entry.size);
        let content = Content::new(layout.view, &content);
        // Its first or last bytes tell whether it is one; only then all of it is read.
        let (rows, previous) = match entry.kind {
            248 => {
                let head = content.prefix(HEADER);
                let start = u64::from(head.le16(0)?);
                (Extent::between(start, entry.size.max(start)), head.le32(132)?)
            }
            _ => {
                let end = entry.size.checked_sub(TRAILER)?;
                let tail = content.stretch(end, TRAILER);
                (tail.span(1, 22)? == b"*UDF Virtual Alloc Tbl").then_some(())?;
                (Extent::new(0, end), tail.le32(32)?)
            }
        };
        (rows.end() <= entry.size).then_some(())?;
        let bytes = content.stretch(rows.start, rows.len);
        (offset(bytes.len()) == rows.len).then_some(())?;
        let table = bytes.as_chunks::<4>().0.iter().map(|row| u32::from_le_bytes(*row)).collect();
        let used = used.into_iter().chain([Extent::new(entry.at, layout.block)]).collect();
        let previous = Some(previous).filter(|previous| *previous != u32::MAX);
        Some(Self { address, at: entry.at, table, previous, used })
    }

    /// The tables before it, the newest first, each read when it is asked for; then, where there are more, why they are not read.
    pub(super) fn earlier<'l>(&self, layout: &'l Layout<'_>) -> impl Iterator<Item = Result<Self, String>> + 'l {
        let (mut next, mut address) = (self.previous, self.address);
        let mut fuel = Fuel::new(MAX_LISTS);
        // Tables share no bytes.
        let (mut room, mut count) = (Fuel::new(layout.view.size()), 0usize);
        std::iter::from_fn(move || {
            let block = next.take()?;
            count = count.saturating_add(1);
            if count > MAX_SESSIONS {
                return Some(Err(format!("sessions before the last {MAX_SESSIONS} are not read")));
            }
            // Earlier ones stand before it.
            let earlier = Address { block, ..address };
            let vat = Some(earlier).filter(|_| block < address.block).and_then(|at| Self::read(layout, at, &mut fuel));
            let size = |vat: &Self| offset(vat.table.len()).saturating_mul(4);
            let Some(vat) = vat.filter(|vat| room.burn(size(vat)).is_ok()) else {
                return Some(Err(format!(
                    "block {block}, the table of the session before, is none: earlier sessions are not read"
                )));
            };
            (next, address) = (vat.previous, earlier);
            Some(Ok(vat))
        })
    }
}
