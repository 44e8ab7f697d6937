//! Where a file's blocks lie: extent trees, direct and indirect blocks, inline data.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", "The Contents of inode.i_block". A list that is damaged
//! ends where the damage is: the content is then short of its size, and reading it faults.

use super::checksum;
use super::disk::Disk;
use super::inode::Inode;
use super::journal::Journal;
use super::superblock::Superblock;
use crate::bytes::Fields;
use crate::content::Run;
use crate::extent::{Extent, ExtentSet};
use crate::fuel::Fuel;
use std::borrow::Cow;

const EXTENT_MAGIC: u16 = 0xf30a;
const MAX_DEPTH: u16 = 5;
/// A longer extent is allocated but not written: it reads as zeros.
const MAX_WRITTEN: u64 = 32768;

/// Where content lies, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    pub(super) runs: Vec<Run>,
    pub(super) wrong: Option<String>,
    /// Blocks that were found: of content, whether written or not, and of its lists.
    pub(super) blocks: u64,
}

/// Reads the lists of blocks of one volume.
pub(super) struct Mapper<'a> {
    pub(super) disk: &'a Disk<'a>,
    pub(super) sb: &'a Superblock,
    /// Blocks that a list of a deleted file must still own.
    pub(super) free: &'a ExtentSet,
    /// Where lists are looked for first: the journal, with the transaction whose state is wanted.
    pub(super) older: Option<(&'a Journal, u32)>,
}

/// One list on its way.
struct Build<'a, 'f> {
    mapper: &'a Mapper<'a>,
    deleted: bool,
    fuel: &'f mut Fuel,
    runs: Vec<Run>,
    /// Blocks that the runs hold so far.
    at: u64,
    blocks: u64,
    /// A checksum of its tree did not fit.
    mismatch: bool,
    /// The seed of checksums in its tree, where there are any.
    seed: Option<u32>,
}

impl Mapper<'_> {
    /// The runs of an inode. `deleted`: its lists must lie in free blocks. `seed`: what the checksums of its extent tree
    /// begin with, where they are to be checked.
    pub(super) fn map(&self, inode: &Inode, deleted: bool, seed: Option<u32>, fuel: &mut Fuel) -> Mapping {
        if inode.is_inline() || inode.is_fast_symlink(self.sb) {
            return inline(inode);
        }
        let mut build =
            Build { mapper: self, deleted, fuel, runs: Vec::new(), at: 0, blocks: 0, mismatch: false, seed };
        let blocks = inode.size.div_ceil(self.sb.block_size);
        let done = if inode.has_extents() { build.tree(&inode.block, None, true) } else { build.lists(inode, blocks) };
        let done = done.and_then(|()| build.hole_up_to(blocks));
        let mismatch = build.mismatch.then(|| "a checksum of its extent tree does not fit".to_owned());
        Mapping { runs: build.runs, wrong: done.err().or(mismatch), blocks: build.blocks }
    }
}

fn inline(inode: &Inode) -> Mapping {
    let first = inode.block_extent();
    let rest = inode.inline_rest.map(Run::Data);
    Mapping { runs: std::iter::once(Run::Data(first)).chain(rest).collect(), wrong: None, blocks: 0 }
}

impl<'a> Build<'a, '_> {
    fn push(&mut self, run: Run) {
        if run.is_empty() {
            return;
        }
        match (self.runs.last_mut(), run) {
            (Some(Run::Hole(last)), Run::Hole(more)) => *last = last.saturating_add(more),
            (Some(Run::Data(last)), Run::Data(more)) if last.end() == more.start => {
                last.len = last.len.saturating_add(more.len);
            }
            _ => self.runs.push(run),
        }
    }

    fn hole(&mut self, blocks: u64) {
        self.push(Run::Hole(blocks.saturating_mul(self.mapper.sb.block_size)));
        self.at = self.at.saturating_add(blocks);
    }

    fn hole_up_to(&mut self, block: u64) -> Result<(), String> {
        self.hole(block.saturating_sub(self.at));
        Ok(())
    }

    fn data(&mut self, block: u64, count: u64) -> Result<(), String> {
        let sb = self.mapper.sb;
        if block == 0 || block.checked_add(count).is_none_or(|end| end > sb.blocks_count) {
            return Err(format!("{count} blocks from {block} on lie outside the volume's {}", sb.blocks_count));
        }
        self.fuel.burn(1).map_err(|_| "the files of this volume share too many blocks".to_owned())?;
        let bytes = |blocks: u64| blocks.saturating_mul(sb.block_size);
        self.push(Run::Data(Extent::new(bytes(block), bytes(count))));
        self.at = self.at.saturating_add(count);
        self.blocks = self.blocks.saturating_add(count);
        Ok(())
    }

    /// A block of the list itself.
    fn node(&mut self, block: u64) -> Result<Cow<'a, [u8]>, String> {
        let (sb, disk) = (self.mapper.sb, self.mapper.disk);
        let extent = Extent::new(block.saturating_mul(sb.block_size), sb.block_size);
        if block == 0 || block >= sb.blocks_count {
            return Err(format!("block {block} of its block list lies outside the volume"));
        }
        self.fuel.burn(1).map_err(|_| "the files of this volume share too many blocks".to_owned())?;
        self.blocks = self.blocks.saturating_add(1);
        if let Some(bytes) = self.older(block) {
            return Ok(bytes);
        }
        if self.deleted && !self.mapper.free.touches(extent) {
            return Err(format!("block {block} of its block list belongs to something else now"));
        }
        disk.read(extent.start, extent.len).ok_or_else(|| format!("block {block} of its block list cannot be read"))
    }

    /// The journal's last copy of a list's block, up to the transaction whose state is wanted.
    fn older(&self, block: u64) -> Option<Cow<'a, [u8]>> {
        let (journal, sequence) = self.mapper.older?;
        let copy = journal.of(block).iter().rev().find(|copy| copy.sequence <= sequence)?;
        self.mapper.disk.view.read(copy.place, self.mapper.sb.block_size).ok()
    }

    /// A node of an extent tree; `depth` is what the node above it promises.
    fn tree(&mut self, node: &[u8], depth: Option<u16>, root: bool) -> Result<(), String> {
        let damaged = || "a node of its extent tree is damaged".to_owned();
        let header = || Some((node.le16(0)?, node.le16(2)?, node.le16(6)?)); // eh_magic, eh_entries, eh_depth
        let (magic, entries, found) = header().ok_or_else(damaged)?;
        if magic != EXTENT_MAGIC && root && self.deleted && node.iter().all(|b| *b == 0) {
            return Ok(());
        }
        let room = node.len().saturating_sub(12) / 12;
        if magic != EXTENT_MAGIC
            || found > MAX_DEPTH
            || depth.is_some_and(|d| d != found)
            || usize::from(entries) > room
        {
            return Err(damaged());
        }
        for entry in node.chunks_exact(12).skip(1).take(usize::from(entries)) {
            match found.checked_sub(1) {
                None => self.leaf(entry).ok_or_else(damaged)??,
                Some(below) => {
                    let child = || Some(u64::from(entry.le16(8)?) << 32 | u64::from(entry.le32(4)?)); // ei_leaf
                    let child = self.node(child().ok_or_else(damaged)?)?;
                    if self.seed.is_some_and(|seed| checksum::extents_hold(seed, &child) == Some(false)) {
                        self.mismatch = true;
                    }
                    self.tree(&child, Some(below), false)?;
                }
            }
        }
        Ok(())
    }

    fn leaf(&mut self, entry: &[u8]) -> Option<Result<(), String>> {
        let logical = u64::from(entry.le32(0)?); // ee_block
        let len = u64::from(entry.le16(4)?); // ee_len
        let start = u64::from(entry.le16(6)?) << 32 | u64::from(entry.le32(8)?); // ee_start
        if logical < self.at {
            return Some(Err(format!("the extent of block {logical} stands behind block {}", self.at)));
        }
        self.hole(logical.saturating_sub(self.at));
        if len > MAX_WRITTEN {
            self.blocks = self.blocks.saturating_add(len.saturating_sub(MAX_WRITTEN));
            self.hole(len.saturating_sub(MAX_WRITTEN));
            return Some(Ok(()));
        }
        Some(self.data(start, len))
    }

    /// Twelve direct blocks, then one, two and three levels of lists.
    fn lists(&mut self, inode: &Inode, blocks: u64) -> Result<(), String> {
        for (slot, level) in (0usize..15).zip([0u32; 12].into_iter().chain(1..=3)) {
            if self.at >= blocks {
                break;
            }
            let block = inode.block.le32(slot.saturating_mul(4)).unwrap_or(0);
            self.list(u64::from(block), level, blocks)?;
        }
        Ok(())
    }

    fn list(&mut self, block: u64, level: u32, blocks: u64) -> Result<(), String> {
        let per_block = self.mapper.sb.block_size / 4;
        if block == 0 {
            let covered = per_block.saturating_pow(level);
            self.hole(covered.min(blocks.saturating_sub(self.at)));
            return Ok(());
        }
        let Some(below) = level.checked_sub(1) else { return self.data(block, 1) };
        let node = self.node(block)?;
        for pointer in node.chunks_exact(4) {
            if self.at >= blocks {
                break;
            }
            self.list(u64::from(pointer.le32(0).unwrap_or(0)), below, blocks)?;
        }
        Ok(())
    }
}

/// The runs up to byte `size`, each with where it begins in the file.
pub(super) fn pieces(runs: &[Run], size: u64) -> Vec<(u64, Run)> {
    let (mut at, mut out) = (0u64, Vec::new());
    for run in runs {
        let left = size.saturating_sub(at);
        let len = run.len().min(left);
        if len == 0 {
            break;
        }
        out.push((
            at,
            match run {
                Run::Data(extent) => Run::Data(Extent::new(extent.start, len)),
                Run::Hole(_) => Run::Hole(len),
            },
        ));
        at = at.saturating_add(len);
    }
    out
}

impl Mapping {
    /// How much of it lies in free blocks: `None` where it has no block.
    pub(super) fn free_share(&self, free: &ExtentSet) -> Option<(u64, u64)> {
        let data: ExtentSet =
            self.runs.iter().filter_map(|run| if let Run::Data(e) = run { Some(*e) } else { None }).collect();
        let total = data.total();
        (total > 0).then(|| (data.intersect(free).total(), total))
    }
}
