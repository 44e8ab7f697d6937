//! Where the bytes of a fork lie: extents out of the inode or out of a B+tree.
//!
//! "XFS Algorithms & Data Structures", "Data Extents". An extent that was allocated and never written reads as zeros.

use super::inode::{Fork, Format};
use super::{Disk, checksum};
use crate::bytes::{Fields, index};
use crate::content::Run;
use crate::extent::Extent;
use crate::fuel::Fuel;

/// No tree is deeper.
const MAX_LEVEL: u16 = 12;
const SPENT: &str = "it has more extents than such a file can have";
/// Bytes of an extent's record.
pub(super) const RECORD: usize = 16;

/// An extent of a fork, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// First block of the file that it holds.
    pub(super) offset: u64,
    /// Where it stands in the volume, in bytes.
    pub(super) at: u64,
    pub(super) count: u64,
    pub(super) unwritten: bool,
}

impl Piece {
    /// A record of a list: a flag, 54 bits of offset, 52 of block, 21 of length. `None` where it lies outside the volume.
    pub(super) fn parse(disk: &Disk<'_>, b: &[u8]) -> Option<Self> {
        let (high, low) = (b.be64(0)?, b.be64(8)?);
        let block = (high & 0x1ff) << 43 | low >> 21;
        let count = low & 0x1f_ffff;
        let at = disk.sb.byte_of(block, count).filter(|_| count > 0)?;
        Some(Self { offset: high << 1 >> 10, at, count, unwritten: high >> 63 != 0 })
    }
}

/// The extents of a fork, in order, and what is wrong with them.
#[derive(Clone, Debug, Default)]
pub(super) struct Mapping {
    pub(super) pieces: Vec<Piece>,
    pub(super) wrong: Vec<String>,
    /// Blocks of the tree of extents.
    pub(super) nodes: u64,
    /// True where extents are missing behind those that were read: what follows is not known, and no hole.
    pub(super) broken: bool,
}

impl Mapping {
    /// The extents of `fork` of inode `owner`.
    pub(super) fn read(disk: &Disk<'_>, fork: &Fork, owner: u64, fuel: &mut Fuel) -> Self {
        let mut map = Self::default();
        let area = disk.read(fork.area.start, fork.area.len).unwrap_or_default();
        let read = match fork.format {
            Format::Extents => map.list(disk, &area, fork.extents, fuel),
            Format::Tree => map.root(disk, &area, owner, fuel),
            _ => return map,
        };
        if let Err(what) = read {
            map.wrong.push(what);
            map.broken = true;
        } else if map.pieces.len() as u64 != fork.extents {
            map.wrong.push(format!("it has {} extents, not {}", map.pieces.len(), fork.extents));
            map.broken = true;
        }
        map
    }

    fn list(&mut self, disk: &Disk<'_>, area: &[u8], count: u64, fuel: &mut Fuel) -> Result<(), String> {
        let most = area.len() / RECORD;
        self.records(disk, area, index(count), fuel)?;
        if count > most as u64 {
            return Err(format!("its list has room for {most} extents, not for {count}"));
        }
        Ok(())
    }

    fn records(&mut self, disk: &Disk<'_>, b: &[u8], count: usize, fuel: &mut Fuel) -> Result<(), String> {
        for record in b.chunks_exact(RECORD).take(count) {
            fuel.burn(1).map_err(|_| SPENT)?;
            let piece = Piece::parse(disk, record).ok_or("an extent of it lies outside the volume")?;
            let end = self.pieces.last().map_or(0, |last| last.offset.saturating_add(last.count));
            if piece.offset < end {
                return Err("its extents overlap or are out of order".to_owned());
            }
            self.pieces.push(piece);
        }
        Ok(())
    }

    /// The root of a tree, which stands in the inode: level, count, then keys and pointers.
    fn root(&mut self, disk: &Disk<'_>, area: &[u8], owner: u64, fuel: &mut Fuel) -> Result<(), String> {
        let (level, count) = (area.be16(0).unwrap_or(0), usize::from(area.be16(2).unwrap_or(0)));
        if !(1..=MAX_LEVEL).contains(&level) {
            return Err(format!("the tree of its extents has {level} levels"));
        }
        self.pointers(disk, area.get(4..).unwrap_or_default(), (level, count), owner, fuel)
    }

    /// The extents that the root of a tree leads to which a freed inode keeps. How much of the inode was its fork, and so
    /// where the pointers begin, is lost with it: it is where they lead to a block of this owner.
    pub(super) fn left_tree(disk: &Disk<'_>, area: &[u8], owner: u64, fuel: &mut Fuel) -> Self {
        let (level, count) = (area.be16(0).unwrap_or(0), usize::from(area.be16(2).unwrap_or(0)));
        let none = Self::default();
        if !(1..=MAX_LEVEL).contains(&level) || count == 0 || !disk.sb.has_checksums() {
            return none;
        }
        for room in (1..=area.len() / RECORD).rev() {
            let body = area.get(4..room.saturating_mul(RECORD).saturating_add(4).min(area.len())).unwrap_or_default();
            let mut map = Self::default();
            let read = map.pointers(disk, body, (level, count), owner, fuel);
            if read.is_ok() && map.wrong.is_empty() {
                return map;
            }
        }
        none
    }

    fn pointers(
        &mut self,
        disk: &Disk<'_>,
        body: &[u8],
        (level, count): (u16, usize),
        owner: u64,
        fuel: &mut Fuel,
    ) -> Result<(), String> {
        let most = body.len() / RECORD;
        let pointers = body.get(most.saturating_mul(8)..).unwrap_or_default();
        for row in 0..count {
            let block = pointers.be64(row.saturating_mul(8)).filter(|_| row < most);
            let block = block.ok_or_else(|| format!("a block of the tree of its extents has {count} pointers"))?;
            self.node(disk, block, level.saturating_sub(1), owner, fuel)?;
        }
        Ok(())
    }

    fn node(&mut self, disk: &Disk<'_>, block: u64, level: u16, owner: u64, fuel: &mut Fuel) -> Result<(), String> {
        let sb = &disk.sb;
        fuel.burn(1).map_err(|_| SPENT)?;
        let bytes = sb.byte_of(block, 1).and_then(|at| disk.read(at, sb.block_size));
        let wide = sb.has_checksums();
        let fits = |b: &[u8]| b.span(0, 4) == Some(if wide { b"BMA3" } else { b"BMAP" }) && b.be16(4) == Some(level);
        let bytes = bytes.filter(|bytes| fits(bytes));
        let bytes = bytes.ok_or_else(|| format!("block {block} of the tree of its extents is damaged"))?;
        self.nodes = self.nodes.saturating_add(1);
        if wide && (!checksum::holds(&bytes, 64) || bytes.be64(56) != Some(owner)) {
            let what = format!("the checksum or the owner of block {block} of the tree of its extents does not fit");
            self.wrong.push(what);
        }
        let count = usize::from(bytes.be16(6).unwrap_or(0));
        let body = bytes.get(if wide { 72 } else { 24 }..).unwrap_or_default();
        if level == 0 {
            return self.records(disk, body, count, fuel);
        }
        self.pointers(disk, body, (level, count), owner, fuel)
    }

    /// Blocks that it names, those of its own tree among them.
    pub(super) fn blocks(&self) -> u64 {
        self.pieces.iter().fold(self.nodes, |sum, piece| sum.saturating_add(piece.count))
    }

    /// Stretches of the file's bytes, holes between them, up to `size` and what is allocated behind it. What was never
    /// written reads as zeros; behind `size` it is what stands there, since no content reads it.
    pub(super) fn runs(&self, block_size: u64, size: u64) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::with_capacity(self.pieces.len());
        let mut at = 0u64;
        for piece in &self.pieces {
            let start = piece.offset.saturating_mul(block_size);
            let len = piece.count.saturating_mul(block_size);
            push(&mut runs, Run::Hole(start.saturating_sub(at)));
            let zeros = if piece.unwritten { size.saturating_sub(start).min(len) } else { 0 };
            push(&mut runs, Run::Hole(zeros));
            push(&mut runs, Run::Data(Extent::new(piece.at.saturating_add(zeros), len.saturating_sub(zeros))));
            at = start.saturating_add(len);
        }
        if !self.broken {
            push(&mut runs, Run::Hole(size.saturating_sub(at)));
        }
        runs
    }
}

fn push(runs: &mut Vec<Run>, run: Run) {
    match (runs.last_mut(), run) {
        _ if run.is_empty() => {}
        (Some(Run::Data(last)), Run::Data(next)) if last.end() == next.start => {
            last.len = last.len.saturating_add(next.len);
        }
        (Some(Run::Hole(last)), Run::Hole(next)) => *last = last.saturating_add(next),
        _ => runs.push(run),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_written_reads_as_zeros_and_is_slack_behind_the_size() {
        let piece = |offset, at, count, unwritten| Piece { offset, at, count, unwritten };
        let pieces = vec![piece(1, 8192, 2, false), piece(3, 16384, 2, false), piece(5, 65536, 4, true)];
        let map = Mapping { pieces, ..Mapping::default() };
        let data = |start, len| Run::Data(Extent::new(start, len));
        let expected = [Run::Hole(4096), data(8192, 16384), Run::Hole(1000), data(66536, 15384)];
        assert_eq!(map.runs(4096, 21480), expected);
        assert_eq!(Mapping::default().runs(4096, 10), [Run::Hole(10)]);
    }
}
