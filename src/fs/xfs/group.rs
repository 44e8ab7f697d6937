//! Allocation groups: which blocks are free, where inodes are, and which of them are in use.
//!
//! "XFS Algorithms & Data Structures", "AG Free Space Management" and "AG Inode Management".

use super::tree::{self, Walk, Wrong};
use super::{Disk, checksum};
use crate::bytes::Fields;
use crate::extent::{Extent, ExtentSet};
use rayon::prelude::*;
use std::borrow::Cow;

/// Inodes of a chunk.
pub(super) const CHUNK: u64 = 64;

/// A chunk of 64 inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Number of its first inode within the group.
    pub(super) first: u32,
    /// A bit for each inode that is free.
    free: u64,
    /// A bit for each four inodes that were never allocated (sparse chunks).
    holes: u16,
}

/// What the tables say of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Used,
    /// Its chunk is there, the inode is not in use.
    Free,
    /// No chunk holds it: its bytes belong to something else, or to nothing.
    Nowhere,
    /// The tables of its group are damaged.
    Unknown,
}

#[derive(Default)]
struct Group {
    free: Vec<Extent>,
    chunks: Vec<Chunk>,
    /// True where the inode tree was read without a fault.
    sound: bool,
    wrong: Wrong,
}

/// All groups.
pub(super) struct Groups {
    groups: Vec<Group>,
    /// Blocks that belong to nothing, in bytes of the volume.
    pub(super) free: ExtentSet,
    /// Byte of the volume and remark.
    pub(super) wrong: Wrong,
}

impl Groups {
    /// Reads the tables of all groups, side by side.
    pub(super) fn read(disk: &Disk<'_>) -> Self {
        // A group that lies behind the end of the volume is not there: its count is the superblock's word alone.
        let size = disk.sb.ag_blocks.saturating_mul(disk.sb.block_size).max(1);
        let there = disk.sb.ag_count.min(disk.view.size().div_ceil(size));
        let mut groups: Vec<Group> = (0..there).into_par_iter().map(|group| Group::read(disk, group)).collect();
        let inside = Extent::new(0, disk.view.size());
        let free = groups.iter_mut().flat_map(|group| std::mem::take(&mut group.free));
        let free = free.map(|extent| extent.intersect(inside)).collect();
        let wrong = groups.iter_mut().flat_map(|group| std::mem::take(&mut group.wrong)).collect();
        Self { groups, free, wrong }
    }

    /// The chunks with their group, in order.
    pub(super) fn chunks(&self) -> impl Iterator<Item = (u64, Chunk)> + '_ {
        (0u64..).zip(&self.groups).flat_map(|(number, group)| group.chunks.iter().map(move |chunk| (number, *chunk)))
    }

    pub(super) fn state(&self, disk: &Disk<'_>, number: u64) -> State {
        let bits = disk.sb.ag_block_log.saturating_add(disk.sb.inode_block_log);
        let group = number.checked_shr(bits).unwrap_or(u64::MAX);
        let row = number.saturating_sub(group.checked_shl(bits).unwrap_or(0));
        let Some(group) = self.groups.get(crate::bytes::index(group)) else { return State::Nowhere };
        let next = group.chunks.partition_point(|chunk| u64::from(chunk.first) <= row);
        let chunk = next.checked_sub(1).and_then(|last| group.chunks.get(last));
        match chunk.and_then(|chunk| chunk.state(row)) {
            Some(state) => state,
            None if group.sound => State::Nowhere,
            None => State::Unknown,
        }
    }

    /// The numbers of all inodes that chunks hold, with their state, in order.
    pub(super) fn inodes<'a>(&'a self, disk: &'a Disk<'_>) -> impl Iterator<Item = (u64, State)> + 'a {
        self.chunks().flat_map(move |(group, chunk)| {
            let first = u64::from(chunk.first);
            (first..first.saturating_add(CHUNK)).filter_map(move |row| {
                let state = chunk.state(row).filter(|state| *state != State::Nowhere)?;
                Some((disk.sb.inode_number(group, row)?, state))
            })
        })
    }
}

impl Chunk {
    fn parse(disk: &Disk<'_>, b: &[u8]) -> Option<Self> {
        let holes = if disk.sb.has_sparse { b.be16(4)? } else { 0 }; // ir_holemask
        Some(Self { first: b.be32(0)?, free: b.be64(8)?, holes })
    }

    fn state(self, row: u64) -> Option<State> {
        let bit = row.checked_sub(self.first.into()).filter(|bit| *bit < CHUNK)?;
        let hole = self.holes.checked_shr(u32::try_from(bit / 4).ok()?)? & 1 != 0;
        let free = self.free.checked_shr(u32::try_from(bit).ok()?)? & 1 != 0;
        Some(match (hole, free) {
            (true, _) => State::Nowhere,
            (_, true) => State::Free,
            _ => State::Used,
        })
    }
}

impl Group {
    fn read(disk: &Disk<'_>, number: u64) -> Self {
        let mut group = Self::default();
        group.read_free(disk, number);
        group.read_inodes(disk, number);
        group
    }

    /// A header of the group: the sector of that row, if its magic and its number fit.
    fn header<'img>(
        &mut self,
        disk: &Disk<'img>,
        number: u64,
        (row, magic, sum, name): (u64, &[u8; 4], usize, &str),
    ) -> Option<Cow<'img, [u8]>> {
        let sb = &disk.sb;
        let at = sb.group_byte(number, 0)?.saturating_add(sb.sector_size.saturating_mul(row));
        let bytes = disk.read(at, sb.sector_size).unwrap_or_default();
        if bytes.span(0, 4) != Some(magic) || bytes.be32(8).map(u64::from) != Some(number) {
            self.wrong.push((at, format!("the {name} of group {number} is damaged")));
            return None;
        }
        if sb.has_checksums() && !checksum::holds(&bytes, sum) {
            self.wrong.push((at, format!("the checksum of the {name} of group {number} does not fit")));
        }
        Some(bytes)
    }

    /// Free blocks: from the tree by block, from that by size where the first is damaged, and those kept for the trees.
    fn read_free(&mut self, disk: &Disk<'_>, number: u64) {
        let Some(agf) = self.header(disk, number, (1, b"XAGF", 216, "free space header (AGF)")) else { return };
        let tree = |kind: &tree::Kind, root: usize| {
            let mut free = Vec::new();
            let mut walk = Walk::new(disk, number, kind);
            let (block, levels) = (agf.be32(root).unwrap_or(0), agf.be32(root.saturating_add(12)).unwrap_or(0));
            let mut bad = 0u64;
            walk.run(block, levels, &mut |record| match free_extent(disk, number, record) {
                Some(extent) => free.push(extent),
                None => bad = bad.saturating_add(1),
            });
            if bad > 0 {
                walk.wrong.push((walk.start(), format!("{bad} free extents of group {number} lie outside it")));
            }
            (free, walk.wrong)
        };
        let (mut free, wrong) = tree(&tree::BY_BLOCK, 16); // agf_bno_root
        if !wrong.is_empty() {
            let (by_size, also_wrong) = tree(&tree::BY_SIZE, 20); // agf_cnt_root
            if also_wrong.is_empty() || by_size.len() > free.len() {
                free = by_size;
            }
            self.wrong.extend(wrong);
            self.wrong.extend(also_wrong);
        }
        self.free = free;
        self.read_reserve(disk, number, &agf);
    }

    /// The free list (AGFL): blocks that are kept for the trees and hold nothing.
    fn read_reserve(&mut self, disk: &Disk<'_>, number: u64, agf: &[u8]) {
        let sb = &disk.sb;
        let Some(at) = sb.group_byte(number, 0).and_then(|at| at.checked_add(sb.sector_size.checked_mul(3)?)) else {
            return;
        };
        let list = disk.read(at, sb.sector_size).unwrap_or_default();
        if sb.has_checksums() && (list.span(0, 4) != Some(b"XAFL") || !checksum::holds(&list, 32)) {
            return self.wrong.push((at, format!("the free list (AGFL) of group {number} is damaged")));
        }
        let list = list.get(if sb.has_checksums() { 36 } else { 0 }..).unwrap_or_default();
        let rows = u32::try_from(list.len() / 4).unwrap_or(0);
        let [first, count] = [40, 48].map(|at| agf.be32(at).unwrap_or(0)); // agf_flfirst, agf_flcount
        for row in 0..count.min(rows) {
            let row = first.saturating_add(row).checked_rem(rows).unwrap_or(0);
            let block = list.be32(crate::bytes::index(u64::from(row).saturating_mul(4)));
            let byte = block.filter(|block| *block != 0).and_then(|block| sb.group_byte(number, block.into()));
            self.free.extend(byte.map(|byte| Extent::new(byte, sb.block_size)));
        }
    }

    fn read_inodes(&mut self, disk: &Disk<'_>, number: u64) {
        let Some(agi) = self.header(disk, number, (2, b"XAGI", 312, "inode header (AGI)")) else { return };
        let mut walk = Walk::new(disk, number, &tree::INODES);
        let mut chunks: Vec<Chunk> = Vec::new();
        // agi_root, agi_level
        walk.run(agi.be32(20).unwrap_or(0), agi.be32(24).unwrap_or(0), &mut |b| chunks.extend(Chunk::parse(disk, b)));
        let len = disk.sb.group_len(number).saturating_mul(disk.sb.inodes_per_block);
        let all = chunks.len();
        chunks.retain(|chunk| u64::from(chunk.first) < len);
        if chunks.len() < all {
            walk.wrong.push((walk.start(), format!("chunks of inodes lie outside group {number}")));
        }
        chunks.sort_unstable_by_key(|chunk| chunk.first);
        chunks.dedup_by_key(|chunk| chunk.first);
        (self.chunks, self.sound) = (chunks, walk.wrong.is_empty());
        self.wrong.extend(walk.wrong);
    }
}

fn free_extent(disk: &Disk<'_>, group: u64, record: &[u8]) -> Option<Extent> {
    let (block, count) = (u64::from(record.be32(0)?), u64::from(record.be32(4)?)); // ar_startblock, ar_blockcount
    let inside = block.checked_add(count)? <= disk.sb.group_len(group);
    let byte = disk.sb.group_byte(group, block).filter(|_| inside)?;
    Some(Extent::new(byte, count.saturating_mul(disk.sb.block_size)))
}
