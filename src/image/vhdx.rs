//! VHDX: the disks of Hyper-V since Windows Server 2012, dynamic, fixed and differencing.
//!
//! Two headers, of which the one with the higher number counts; a table of regions in two copies; in them metadata and a
//! table of blocks. Changes of those go through a log first: what a machine left there when it stopped is laid over the
//! file, in memory. Headers, region tables and log carry CRC-32C. Specification: Microsoft, [MS-VHDX].

mod head;
mod log;
mod metadata;

use super::chunks::{Chunks, Files, Piece, Place, Table, run_of};
use super::file::{Source, peek, unfit};
use super::{Image, ImageError, Taken, about::About, chain};
use crate::bytes::Fields;
use crate::extent::Extent;
use head::{Head, Regions};
use log::Overlay;
use metadata::{Locator, Metadata};
use std::path::Path;

const MIB: u64 = 1 << 20;
/// Sectors that one block of the sector bitmap covers.
const COVERED: u64 = 1 << 23;

/// The disk.
struct Vhdx {
    metadata: Metadata,
    /// Where the table of blocks is.
    table: Extent,
    overlay: Overlay,
    unwritten: Place,
}

/// Opens the disk, with those that it is based on.
///
/// # Errors
/// Where one of them is missing or is another, or its description is damaged beyond use.
pub fn open(path: &Path) -> Taken {
    if path.is_dir() || peek::<8>(path, None)? != *b"vhdxfile" {
        return Ok(None);
    }
    let source = Source::open(path)?;
    let mut about = About::default();
    let damaged = |what: String| unfit(path, what, "it is damaged: make a new copy");
    let head = Head::newest(source.bytes(), &mut about).map_err(damaged)?;
    let overlay = log::replay(source.bytes(), &head, &mut about);
    let regions = Regions::read(source.bytes(), &overlay, &mut about).map_err(damaged)?;
    let metadata = Metadata::read(source.bytes(), &overlay, regions.metadata).map_err(damaged)?;
    metadata.describe(source.bytes(), &mut about);
    let parent = match &metadata.parent {
        Some(locator) => Some(below(path, locator, &mut about)?),
        None => None,
    };
    let unwritten = if parent.is_some() { Place::Parent } else { Place::Zeros };
    let vhdx = Vhdx { metadata, table: regions.table, overlay, unwritten };
    vhdx.look(source.bytes(), &mut about);
    Ok(Some(Box::new(Chunks::new(vhdx, Files::new(vec![source]), parent, about))))
}

/// The disk that this one is based on: the one whose last write is that which it names.
fn below(path: &Path, locator: &Locator, about: &mut About) -> Result<Box<dyn Image>, ImageError> {
    let names = locator.names();
    about.fact("based on", names.join(", "));
    let found = names.iter().find_map(|name| chain::beside(path, name, "parent").ok());
    let missing = || chain::beside(path, names.first().map_or("(of no name)", |name| name), "parent");
    let found = found.map_or_else(missing, Ok)?;
    let source = Source::open(&found)?;
    let written = Head::newest(source.bytes(), &mut About::default()).ok().map(|head| head.data_write);
    if !written.is_some_and(|id| locator.links(&crate::bytes::guid(id))) {
        let what = format!("is not, or no longer, the disk on which {} is based", path.display());
        return Err(unfit(
            &found,
            what,
            "find the one that was below it, or merge them with the program that made them",
        ));
    }
    let parent = chain::below(path, &found, super::open)?;
    about.below(parent.about());
    Ok(parent)
}

impl Vhdx {
    /// Blocks that one block of the sector bitmap covers; its entry stands behind theirs.
    fn ratio(&self) -> u64 {
        COVERED.saturating_mul(self.metadata.sector).checked_div(self.metadata.block).unwrap_or(0).max(1)
    }

    fn entry_at(&self, row: u64) -> Option<Extent> {
        let at = row.checked_mul(8)?;
        (at.checked_add(8)? <= self.table.len).then(|| Extent::new(self.table.start.saturating_add(at), 8))
    }

    /// State and place of a block by its row in the table.
    fn entry(&self, bytes: &[u8], row: u64) -> Option<(u64, u64)> {
        let entry = self.overlay.read(bytes, self.entry_at(row)?)?.le64(0)?;
        Some((entry & 7, entry & !(MIB - 1)))
    }

    fn row(&self, block: u64) -> Option<u64> {
        block.checked_add(block.checked_div(self.ratio())?)
    }

    fn block_piece(&self, files: &Files, at: u64) -> Option<Piece> {
        let block = self.metadata.block;
        let number = at.checked_div(block)?;
        let whole = Extent::new(number.checked_mul(block)?, block);
        let row = self.row(number)?;
        let entry = (0, self.entry_at(row).unwrap_or_default());
        let place = match files.whole(0).and_then(|bytes| self.entry(bytes, row)) {
            // Fully present.
            Some((6, data)) => Place::Stored { file: 0, at: data, summed: 0 },
            // Partially present: the bitmap tells which sectors.
            Some((7, data)) if self.unwritten == Place::Parent => {
                let piece = self.sectors_piece(files, at, whole, data);
                return Some(piece.unwrap_or(Piece { extent: whole, place: Place::Lost, entry }));
            }
            // Not present.
            Some((0, _)) => self.unwritten,
            // Undefined, zero, unmapped.
            Some((1..=3, _)) => Place::Zeros,
            _ => Place::Lost,
        };
        Some(Piece { extent: whole, place, entry })
    }

    /// The sectors from `at` on that are all here, or all of the disk below: one bit each, the first the lowest.
    fn sectors_piece(&self, files: &Files, at: u64, whole: Extent, data: u64) -> Option<Piece> {
        let (sector, ratio) = (self.metadata.sector, self.ratio());
        let chunk = whole.start.checked_div(self.metadata.block)?.checked_div(ratio)?;
        let row = chunk.checked_add(1)?.checked_mul(ratio.checked_add(1)?)?.checked_sub(1)?;
        let bytes = files.whole(0)?;
        let (6, bitmap) = self.entry(bytes, row)? else { return None };
        let count = whole.len.checked_div(sector)?;
        let skipped = whole.start.checked_div(sector)?.checked_rem(COVERED)?;
        let bits = Extent::new(bitmap.checked_add(skipped / 8)?, count.div_ceil(8));
        let held = self.overlay.read(bytes, bits)?;
        let bit = |n: u64| Some(held.get(crate::bytes::index(n / 8))?.checked_shr((n % 8) as u32)? & 1 != 0);
        let here = at.checked_sub(whole.start)?.checked_div(sector)?;
        let (written, sectors) = run_of(here, count, bit)?;
        let skip = here.checked_mul(sector)?;
        let extent = Extent::new(whole.start.checked_add(skip)?, sectors.checked_mul(sector)?);
        let place =
            if written { Place::Stored { file: 0, at: data.checked_add(skip)?, summed: 0 } } else { Place::Parent };
        Some(Piece { extent, place, entry: (0, bits) })
    }

    /// What is wrong beyond single blocks.
    fn look(&self, bytes: &[u8], about: &mut About) {
        let blocks = self.metadata.size.div_ceil(self.metadata.block);
        let last = blocks.checked_sub(1).and_then(|block| self.row(block)).unwrap_or(0);
        let needed = last.saturating_add(1).saturating_mul(8);
        if needed > self.table.len || self.table.start.saturating_add(needed) > bytes.len() as u64 {
            about.fault(format!("its table of blocks breaks off: {needed} bytes of it are needed"));
        }
        if self.overlay.is_empty() {
            return;
        }
        // The log is for tables; what it holds of a block's content would be read as it was before.
        let touched = |block: &u64| {
            let placed = self.row(*block).and_then(|row| self.entry(bytes, row));
            placed
                .is_some_and(|(state, data)| state >= 6 && self.overlay.touches(Extent::new(data, self.metadata.block)))
        };
        if (0..blocks).any(|block| touched(&block)) {
            about.fault("its log holds content of the disk, too, which it must not: what is read there is older");
        }
    }
}

impl Table for Vhdx {
    fn format(&self) -> &'static str {
        "vhdx"
    }

    fn size(&self) -> u64 {
        self.metadata.size
    }

    fn grain(&self) -> u64 {
        1
    }

    fn piece(&self, files: &Files, at: u64) -> Piece {
        self.block_piece(files, at).unwrap_or_else(|| Piece::new(Extent::new(0, self.metadata.size), Place::Lost))
    }

    fn packed(&self) -> bool {
        false
    }
}
