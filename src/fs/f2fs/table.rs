//! The two tables: where each node lies (NAT), and which blocks of each segment are in use (SIT); and whose a block was (SSA).
//!
//! Kernel `f2fs_fs.h`: a row of the NAT has nine bytes (version, inode, block), one of the SIT 74 (count and type, a bitmap, a time).
//! Each block of a table stands twice; the checkpoint says which holds, and has the rows that were not written back.

use super::Disk;
use super::checkpoint::{Owner, bit, owner};
use super::superblock::BLOCK;
use crate::bytes::{Fields, index};
use crate::extent::{Extent, ExtentSet};
use std::borrow::Cow;

const NODE_ROW: u64 = 9;
const SEGMENT_ROW: u64 = 74;
/// Types of segments from which on they hold nodes.
const NODES: u16 = 3;

/// Which blocks of the main area are in use.
pub(super) struct Segments {
    pub(super) free: ExtentSet,
    /// Segments that hold nodes.
    pub(super) of_nodes: Vec<u32>,
    /// Segments whose rows cannot be read: taken to be in use.
    pub(super) lost: u64,
}

impl Segments {
    pub(super) fn read(disk: &Disk<'_>) -> Self {
        let sb = &disk.sb;
        let (mut free, mut of_nodes, mut lost) = (Vec::<Extent>::new(), Vec::new(), 0u64);
        // Behind the end of the volume no segment has anything.
        let here = disk.view.size().saturating_sub(sb.byte(sb.main)).div_ceil(sb.byte(sb.segment_blocks).max(1));
        for segment in 0..u32::try_from(sb.main_segments.min(here)).unwrap_or(u32::MAX) {
            let Some(row) = disk.segment_row(segment) else {
                lost = lost.saturating_add(1);
                continue;
            };
            if row.le16(0).is_some_and(|count| count >> 10 >= NODES) {
                of_nodes.push(segment);
            }
            let (map, first) = (row.get(2..66).unwrap_or_default(), disk.first_block(segment));
            for number in (0..sb.segment_blocks).filter(|number| !bit(map, *number)) {
                let block = sb.extent(first.saturating_add(number), 1);
                match free.last_mut() {
                    Some(last) if last.end() == block.start => last.len = last.len.saturating_add(block.len),
                    _ => free.push(block),
                }
            }
        }
        Self { free: ExtentSet::new(free).within(Extent::new(0, disk.view.size())), of_nodes, lost }
    }
}

impl Disk<'_> {
    /// Inode and block of a node; `None` where the table cannot be read or has no such node.
    pub(super) fn node(&self, node: u32) -> Option<(u32, u32)> {
        if let Some(row) = self.checkpoint.nodes.get(&node) {
            return Some(*row);
        }
        let sb = &self.sb;
        let rows = BLOCK.checked_div(NODE_ROW)?;
        let block = u64::from(node).checked_div(rows)?;
        let row = u64::from(node).checked_rem(rows)?.checked_mul(NODE_ROW)?;
        let b = self.view.read(sb.byte(self.nat_block(block)?).checked_add(row)?, NODE_ROW).ok()?;
        Some((b.le32(1)?, b.le32(5)?))
    }

    /// Numbers that nodes may have.
    pub(super) const fn numbers(&self) -> u64 {
        self.nat_blocks().saturating_mul(BLOCK / NODE_ROW)
    }

    /// Where the block of the NAT lies that holds.
    fn nat_block(&self, block: u64) -> Option<u64> {
        let sb = &self.sb;
        if block >= self.nat_blocks() {
            return None;
        }
        let within = block.checked_rem(sb.segment_blocks)?;
        let first = sb.nat.checked_add(block.checked_sub(within)?.checked_mul(2)?)?.checked_add(within)?;
        first.checked_add(if self.checkpoint.nat_is_second(block) { sb.segment_blocks } else { 0 })
    }

    const fn nat_blocks(&self) -> u64 {
        self.sb.nat_segments.saturating_mul(self.sb.segment_blocks) / 2
    }

    /// Numbers of the inodes that the table has and `keep` wants, and how many blocks of it cannot be read.
    pub(super) fn inodes(&self, keep: impl Fn(u32) -> bool) -> (Vec<u32>, u64) {
        let mut lost = self.nat_blocks();
        let here = lost.min(self.view.size() / BLOCK);
        let in_block = |block: u64| {
            let at = self.nat_block(block).map(|at| self.sb.byte(at));
            let bytes = at.and_then(|at| self.view.read(at, BLOCK).ok()).unwrap_or(Cow::Borrowed(&[]));
            lost = lost.saturating_sub(u64::from(!bytes.is_empty()));
            let first = block.saturating_mul(BLOCK / NODE_ROW);
            let rows = bytes.chunks_exact(9).zip(first..).filter_map(|(row, number)| {
                let number = u32::try_from(number).ok()?;
                let is_inode = row.le32(1)? == number && row.le32(5)? != 0;
                (is_inode && !self.checkpoint.nodes.contains_key(&number) && keep(number)).then_some(number)
            });
            rows.collect::<Vec<u32>>()
        };
        let mut found: Vec<u32> = (0..here).flat_map(in_block).collect();
        let waiting = self.checkpoint.nodes.iter().filter(|(node, row)| row.0 == **node && row.1 != 0);
        let mut waiting: Vec<u32> = waiting.map(|(node, _)| *node).filter(|node| keep(*node)).collect();
        waiting.sort_unstable();
        found.extend(waiting);
        (found, lost)
    }

    pub(super) const fn first_block(&self, segment: u32) -> u64 {
        (segment as u64).saturating_mul(self.sb.segment_blocks).saturating_add(self.sb.main)
    }

    fn segment_row(&self, segment: u32) -> Option<Cow<'_, [u8]>> {
        if let Some(row) = self.checkpoint.segments.get(&segment) {
            return Some(Cow::Borrowed(row));
        }
        let sb = &self.sb;
        let rows = BLOCK.checked_div(SEGMENT_ROW)?;
        let block = u64::from(segment).checked_div(rows)?;
        let row = u64::from(segment).checked_rem(rows)?.checked_mul(SEGMENT_ROW)?;
        let copy = (sb.sit_segments / 2).checked_mul(sb.segment_blocks)?;
        let block_at =
            sb.sit.checked_add(block)?.checked_add(if self.checkpoint.sit_is_second(block) { copy } else { 0 })?;
        if block >= copy {
            return None;
        }
        self.view.read(sb.byte(block_at).checked_add(row)?, SEGMENT_ROW).ok()
    }

    /// The node that a block of the main area was last written for, and the row there.
    pub(super) fn owner(&self, block: u32) -> Option<Owner> {
        let sb = &self.sb;
        let number = u64::from(block).checked_sub(sb.main)?;
        let segment = number.checked_div(sb.segment_blocks)?;
        let row = number.checked_rem(sb.segment_blocks)?;
        if let Some(owners) = self.checkpoint.owners.get(&u32::try_from(segment).ok()?) {
            match owners.get(index(row)) {
                Some(owner) => return Some(*owner),
                // Not written yet in this round, or after the checkpoint.
                None if !self.checkpoint.is_last() => return None,
                None => {}
            }
        }
        let at = sb.byte(sb.ssa.checked_add(segment)?).checked_add(row.checked_mul(7)?)?;
        self.view.read(at, 7).ok().map(|row| owner(&row))
    }
}
