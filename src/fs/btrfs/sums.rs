//! The checksums of data: one for each sector that a file stores, in a tree by address.
//!
//! btrfs documentation, "On-disk Format", "Checksum tree". They are compared when the content is read; sectors without one (files
//! that are written in place have none) are left out.

use super::chunk::Chunks;
use super::item::{Packing, Piece, Where};
use super::node::{self, Key};
use super::superblock::Superblock;
use super::tree::Tree;
use super::{Disk, NAME};
use crate::bytes::{index, offset};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::Sums;
use crate::image::View;
use std::sync::Arc;

/// `BTRFS_EXTENT_CSUM_OBJECTID` and `BTRFS_EXTENT_CSUM_KEY`.
const OBJECT: u64 = u64::MAX - 9;
const ITEM: u8 = 128;

/// All checksums of a volume.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) sb: Arc<Superblock>,
    pub(super) chunks: Arc<Chunks>,
    pub(super) tree: Tree,
}

/// Those of one file.
#[derive(Debug)]
struct OfFile {
    table: Arc<Table>,
    /// Addresses of what it stores.
    stored: Vec<Extent>,
}

/// The checksums of what these extents store; none where they store nothing.
pub(super) fn of(table: &Arc<Table>, pieces: &[Piece]) -> Option<Arc<dyn Sums>> {
    let stored = |piece: &Piece| match piece.place {
        Where::Regular { address, len, skip } => Some(match piece.packing {
            Packing::None => Extent::new(address.checked_add(skip)?, piece.len),
            _ => Extent::new(address, len),
        }),
        _ => None,
    };
    let stored: Vec<Extent> = pieces.iter().filter_map(stored).collect();
    let made = || Arc::new(OfFile { table: Arc::clone(table), stored }) as Arc<dyn Sums>;
    (!table.tree.leaves.is_empty() && pieces.iter().any(|piece| matches!(piece.place, Where::Regular { .. })))
        .then(made)
}

/// Sectors that do not have their checksum.
#[derive(Default)]
struct Wrong {
    count: u64,
    /// Where the first one stands on the device.
    first: u64,
    /// A copy of the first one that does.
    other: Option<u64>,
}

impl Sums for OfFile {
    fn compare(&self, volume: View<'_>) -> Option<Fault> {
        let table = &self.table;
        let disk = Disk { view: volume, sb: Arc::clone(&table.sb), chunks: Arc::clone(&table.chunks) };
        let mut wrong = Wrong::default();
        self.stored.iter().for_each(|extent| table.compare(&disk, *extent, &mut wrong));
        let other = wrong
            .other
            .map_or(String::new(), |at| format!("; a copy that has it stands at byte {}", volume.absolute(at)));
        let what = format!("{} of its stored sectors do not have their checksum, the first here{other}", wrong.count);
        (wrong.count > 0).then(|| Fault::new(volume.absolute(wrong.first), NAME, what))
    }
}

impl Table {
    fn compare(&self, disk: &Disk<'_>, extent: Extent, wrong: &mut Wrong) {
        let (sector, size) = (disk.sb.sector, disk.sb.sums.size());
        for leaf in self.tree.from(Key::new(OBJECT, ITEM, extent.start)) {
            let bytes = leaf.read(disk);
            for (key, _, item) in node::items(&bytes) {
                if key >= Key::new(OBJECT, ITEM, extent.end()) {
                    return;
                }
                if (key.object, key.kind) != (OBJECT, ITEM) {
                    continue;
                }
                let rows = offset(item.len()).checked_div(offset(size)).unwrap_or(0);
                let first = extent.start.saturating_sub(key.offset).checked_div(sector).unwrap_or(0).min(rows);
                let sums = item.chunks_exact(size).zip(0u64..).skip(index(first));
                let placed = sums.map(|(sum, row)| (key.offset.saturating_add(row.saturating_mul(sector)), sum));
                for (address, sum) in placed.take_while(|(address, _)| *address < extent.end()) {
                    check(disk, address, sum, wrong);
                }
            }
        }
    }
}

/// Compares one sector: its first copy, since that is what is read.
fn check(disk: &Disk<'_>, address: u64, sum: &[u8], wrong: &mut Wrong) {
    let Some(spot) = disk.chunks.spot(address) else { return };
    let fits = |at: &u64| disk.view.read(*at, disk.sb.sector).is_ok_and(|bytes| disk.sb.sums.fits(sum, &bytes));
    let Some((first, others)) = spot.copies.split_first() else { return };
    if fits(first) {
        return;
    }
    if wrong.count == 0 {
        (wrong.first, wrong.other) = (*first, others.iter().copied().find(fits));
    }
    wrong.count = wrong.count.saturating_add(1);
}
