//! Virtual allocation tables of discs that are written once (UDF 1.50, 2.2.10; UDF 2.60, 2.2.11): where the blocks of the
//! virtual partition are, and the table of the session before.

use super::alloc;
use super::icb::{self, FileEntry};
use super::layout::Layout;
use super::tag::{self, Address};
use crate::bytes::{Fields, index};
use crate::content::{Content, Stream};
use crate::extent::Extent;
use crate::fuel::Fuel;

/// Bytes of a table that are read.
const MAX_TABLE: u64 = 256 << 20;
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
        (0..blocks).rev().find_map(|block| {
            let at = extent.start.saturating_add(block.saturating_mul(layout.block));
            let head = layout.view.read_up_to(at, 2);
            let may = matches!(head.le16(0), Some(tag::FILE_ENTRY | tag::EXTENDED_ENTRY));
            if may { Self::read(layout, Address { part, block: u32::try_from(block).ok()? }) } else { None }
        })
    }

    /// The table whose entry stands in a block.
    fn read(layout: &Layout<'_>, address: Address) -> Option<Self> {
        let entry = icb::read(layout, address).filter(|entry| entry.wrong.is_empty())?;
        // Up to UDF 1.50 its type is that of no file, and its end names it.
        (matches!(entry.kind, 0 | 248) && entry.size <= MAX_TABLE).then_some(())?;
        let bytes = content(layout, &entry)?;
        let (rows, previous) = match entry.kind {
            248 => (bytes.0.get(usize::from(bytes.0.le16(0)?)..)?, bytes.0.le32(132)?),
            _ => {
                let end = bytes.0.len().checked_sub(36)?;
                (bytes.0.span(end.checked_add(1)?, 22)? == b"*UDF Virtual Alloc Tbl").then_some(())?;
                (bytes.0.get(..end)?, bytes.0.le32(end.checked_add(32)?)?)
            }
        };
        let table = rows.as_chunks::<4>().0.iter().map(|row| u32::from_le_bytes(*row)).collect();
        let used = bytes.1.into_iter().chain([Extent::new(entry.at, layout.block)]).collect();
        let previous = Some(previous).filter(|previous| *previous != u32::MAX);
        Some(Self { address, at: entry.at, table, previous, used })
    }

    /// The tables before it, the newest first.
    pub(super) fn earlier(&self, layout: &Layout<'_>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        while all.len() < MAX_SESSIONS {
            let last = all.last().unwrap_or(self);
            // Earlier ones stand before it.
            let Some(block) = last.previous.filter(|block| *block < last.address.block) else { break };
            let Some(vat) = Self::read(layout, Address { block, ..self.address }) else { break };
            all.push(vat);
        }
        all
    }
}

/// The bytes of a small file, and where they lie.
fn content(layout: &Layout<'_>, entry: &FileEntry<'_>) -> Option<(Vec<u8>, Vec<Extent>)> {
    let mapping = alloc::map(layout, entry, &mut Fuel::new(1 << 20));
    let used = mapping.extents().chain(mapping.used.iter().copied()).collect();
    let stream = Stream::plain(mapping.runs, entry.size);
    let bytes = Content::new(layout.view, &stream).contiguous(MAX_TABLE)?.into_owned();
    (bytes.len() == index(entry.size)).then_some((bytes, used))
}
