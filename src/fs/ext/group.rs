//! Block groups: where bitmaps and inode tables lie, and which blocks and inodes are in use.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", "Block Group Descriptors" and "Block and Inode Bitmaps".

use super::checksum::{crc16, crc32c};
use super::disk::Disk;
use super::superblock::Superblock;
use crate::bytes::{Fields, index, offset};
use crate::extent::{Extent, ExtentSet};
use std::borrow::Cow;

const INODE_UNINIT: u16 = 0x1;
const BLOCK_UNINIT: u16 = 0x2;
/// Remarks that are kept.
const MAX_WRONG: usize = 1000;

/// A group's descriptor.
#[derive(Clone, Copy, Debug)]
struct Descriptor {
    block_bitmap: u64,
    inode_bitmap: u64,
    inode_table: u64,
    flags: u16,
    itable_unused: u32,
    /// Checksums of the bitmaps, 16 bits each or 32.
    checksums: [u32; 2],
}

/// All groups.
pub(super) struct Groups<'img> {
    descriptors: Vec<Option<Descriptor>>,
    inode_bitmaps: Vec<Option<Cow<'img, [u8]>>>,
    /// The blocks that belong to nothing, in bytes of the volume.
    pub(super) free: ExtentSet,
    /// What is wrong with the groups: byte of the volume and remark.
    pub(super) wrong: Vec<(u64, String)>,
}

impl<'img> Groups<'img> {
    pub(super) fn read(disk: &Disk<'img>, sb: &Superblock) -> Self {
        let (mut wrong, mut more) = (Vec::new(), 0usize);
        // A group holds at least one block of the volume.
        let groups = sb.group_count().min(disk.view.size().div_ceil(sb.block_size));
        let mut read = |group| {
            let found = descriptor(disk, sb, group, &mut wrong);
            more = more.saturating_add(wrong.len().saturating_sub(MAX_WRONG));
            wrong.truncate(MAX_WRONG);
            found
        };
        let descriptors: Vec<_> = (0..groups).map(&mut read).collect();
        let inode_bitmaps = descriptors.iter().map(|d| inode_bitmap(disk, sb, (*d)?)).collect();
        let mut free = Vec::new();
        let metadata = metadata(sb, &descriptors);
        for (group, d) in (0u64..).zip(&descriptors) {
            let Some(d) = d else { continue };
            if sb.has_uninit() && d.flags & BLOCK_UNINIT != 0 {
                free.extend(uninit_free(sb, group, &metadata));
            } else if d.block_bitmap < sb.blocks_count {
                let done = bitmap_free(disk, sb, group, d.block_bitmap, &mut free);
                let what = done.and_then(|()| check_bitmaps(disk, sb, d));
                let at = d.block_bitmap.saturating_mul(sb.block_size);
                wrong.extend(what.err().map(|what| (at, format!("group {group}: {what}"))));
            }
        }
        more = more.saturating_add(wrong.len().saturating_sub(MAX_WRONG));
        if more > 0 {
            wrong.truncate(MAX_WRONG);
            wrong.push((0, format!("{more} more remarks of this kind")));
        }
        let whole = Extent::new(0, disk.view.size());
        let free = free.into_iter().map(|extent| extent.intersect(whole)).collect();
        Self { descriptors, inode_bitmaps, free, wrong }
    }

    /// Where an inode stands in the volume.
    pub(super) fn inode_at(&self, sb: &Superblock, inode: u32) -> Option<u64> {
        let (group, row) = place(sb, inode)?;
        let table = self.descriptors.get(group)?.as_ref()?.inode_table.checked_mul(sb.block_size)?;
        table.checked_add(u64::from(row).checked_mul(sb.inode_size)?)
    }

    /// Whether an inode is in use; `None` where that is not known.
    pub(super) fn inode_used(&self, sb: &Superblock, inode: u32) -> Option<bool> {
        let (group, row) = place(sb, inode)?;
        if self.never_used(sb, group, row)? {
            return Some(false);
        }
        let bitmap = self.inode_bitmaps.get(group)?.as_ref()?;
        let byte = bitmap.get(usize::try_from(row / 8).ok()?)?;
        Some(byte >> (row % 8) & 1 != 0)
    }

    /// How many groups there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.descriptors.len()).unwrap_or(u32::MAX)
    }

    /// The inodes that were ever written, in order.
    pub(super) fn written<'a>(&'a self, sb: &'a Superblock) -> impl Iterator<Item = u32> + 'a {
        (0..self.count()).flat_map(move |group| self.written_in(sb, group))
    }

    /// Those of a group.
    pub(super) fn written_in<'a>(&'a self, sb: &'a Superblock, group: u32) -> impl Iterator<Item = u32> + 'a {
        let first = group.saturating_mul(sb.inodes_per_group);
        let rows = (0..sb.inodes_per_group).take_while(move |row| {
            self.never_used(sb, usize::try_from(group).unwrap_or(usize::MAX), *row) == Some(false)
        });
        rows.map(move |row| first.saturating_add(row).saturating_add(1)).take_while(|n| *n <= sb.inodes_count)
    }

    fn never_used(&self, sb: &Superblock, group: usize, row: u32) -> Option<bool> {
        let d = self.descriptors.get(group)?.as_ref()?;
        let unused_from = sb.inodes_per_group.saturating_sub(d.itable_unused);
        Some(sb.has_uninit() && (d.flags & INODE_UNINIT != 0 || row >= unused_from))
    }
}

fn place(sb: &Superblock, inode: u32) -> Option<(usize, u32)> {
    let number = inode.checked_sub(1).filter(|_| inode <= sb.inodes_count)?;
    let group = usize::try_from(number.checked_div(sb.inodes_per_group)?).ok()?;
    Some((group, number.checked_rem(sb.inodes_per_group)?))
}

/// The block that holds a group's descriptor: in the copy that follows the superblock in block `super_block`.
fn descriptor_block(sb: &Superblock, super_block: u64, group: u64) -> u64 {
    let per_block = sb.block_size.checked_div(sb.desc_size).unwrap_or(1).max(1);
    let number = group.checked_div(per_block).unwrap_or(0);
    if !sb.has_meta_bg() || number < sb.first_meta_bg {
        return super_block.saturating_add(1).saturating_add(number);
    }
    let first = number.saturating_mul(per_block);
    sb.group_start(first).saturating_add(u64::from(sb.has_super(first)))
}

/// Where copies of the descriptors begin: behind the superblock that was read, then behind its backups.
fn copies(sb: &Superblock) -> impl Iterator<Item = u64> + '_ {
    let first = sb.at.checked_div(sb.block_size).unwrap_or(0);
    let backups = (1..sb.group_count().min(10)).filter(|group| sb.has_super(*group)).map(|group| sb.group_start(group));
    std::iter::once(first).chain(backups)
}

/// A group's descriptor out of the first copy in which its inode table lies inside the volume.
fn descriptor(disk: &Disk<'_>, sb: &Superblock, group: u64, wrong: &mut Vec<(u64, String)>) -> Option<Descriptor> {
    let per_block = sb.block_size.checked_div(sb.desc_size)?;
    let inside = group.checked_rem(per_block)?.checked_mul(sb.desc_size)?;
    let table_blocks = u64::from(sb.inodes_per_group).saturating_mul(sb.inode_size).div_ceil(sb.block_size);
    let fits = |block: u64, blocks: u64| block > 0 && block.saturating_add(blocks) <= sb.blocks_count;
    for (copy, super_block) in copies(sb).enumerate() {
        let block = descriptor_block(sb, super_block, group);
        let at = block.saturating_mul(sb.block_size).saturating_add(inside);
        let raw = disk.read_up_to(at, sb.desc_size);
        let found = parse_descriptor(sb, &raw);
        let Some(found) = found.filter(|d| fits(d.inode_table, table_blocks)) else {
            wrong.push((at, format!("copy {copy} of the descriptor of group {group} points outside the volume")));
            continue;
        };
        if !descriptor_holds(sb, group, &raw) {
            wrong.push((at, format!("the checksum of the descriptor of group {group} does not fit")));
        }
        for (what, block) in [("block", found.block_bitmap), ("inode", found.inode_bitmap)] {
            if !fits(block, 1) {
                wrong.push((at, format!("the {what} bitmap of group {group} lies outside the volume")));
            }
        }
        return Some(found);
    }
    wrong.push((0, format!("no descriptor of group {group} can be used: its files are not listed")));
    None
}

fn parse_descriptor(sb: &Superblock, b: &[u8]) -> Option<Descriptor> {
    let block = |low: usize, high: usize| {
        let high = if sb.is_wide() { u64::from(b.le32(high)?) << 32 } else { 0 };
        Some(high | u64::from(b.le32(low)?))
    };
    let unused_high = if sb.is_wide() { u32::from(b.le16(50)?) << 16 } else { 0 };
    let sum = |low: usize, high: usize| {
        let high = if sb.is_wide() { u32::from(b.le16(high)?) << 16 } else { 0 };
        Some(high | u32::from(b.le16(low)?))
    };
    Some(Descriptor {
        block_bitmap: block(0, 32)?,                         // bg_block_bitmap
        inode_bitmap: block(4, 36)?,                         // bg_inode_bitmap
        inode_table: block(8, 40)?,                          // bg_inode_table
        flags: b.le16(18)?,                                  // bg_flags
        itable_unused: u32::from(b.le16(28)?) | unused_high, // bg_itable_unused
        // bg_block_bitmap_csum_lo, bg_inode_bitmap_csum_lo, and their upper halves
        checksums: [sum(24, 56)?, sum(26, 58)?],
    })
}

/// Whether the checksum of a descriptor, `bg_checksum`, is its own.
fn descriptor_holds(sb: &Superblock, group: u64, b: &[u8]) -> bool {
    let check = || {
        let group = u32::try_from(group).ok()?.to_le_bytes();
        let (head, kept, tail) = (b.get(..30)?, b.le16(30)?, b.get(32..)?);
        if sb.has_checksums() {
            let sum = crc32c(crc32c(crc32c(crc32c(sb.checksum_seed, &group), head), &[0; 2]), tail);
            return Some(sum & 0xffff == u32::from(kept));
        }
        let sum = crc16(crc16(crc16(crc16(0xffff, &sb.uuid), &group), head), tail);
        Some(!sb.has_group_checksums() || sum == kept)
    };
    check().unwrap_or(true)
}

/// Compares both bitmaps of a group with their checksums.
fn check_bitmaps(disk: &Disk<'_>, sb: &Superblock, d: &Descriptor) -> Result<(), &'static str> {
    if !sb.has_checksums() {
        return Ok(());
    }
    let holds = |block: u64, bits: u64, kept: u32| {
        let bytes = disk.read(block.saturating_mul(sb.block_size), bits / 8);
        let sum = bytes.map(|bytes| crc32c(sb.checksum_seed, &bytes));
        sum.is_none_or(|sum| if sb.is_wide() { sum == kept } else { sum & 0xffff == kept })
    };
    let clusters = sb.blocks_per_group.checked_div(sb.cluster_ratio).unwrap_or(0);
    let [blocks, inodes] = d.checksums;
    if !holds(d.block_bitmap, clusters, blocks) {
        return Err("the checksum of its block bitmap does not fit");
    }
    if d.flags & INODE_UNINIT == 0 && !holds(d.inode_bitmap, sb.inodes_per_group.into(), inodes) {
        return Err("the checksum of its inode bitmap does not fit");
    }
    Ok(())
}

fn inode_bitmap<'img>(disk: &Disk<'img>, sb: &Superblock, d: Descriptor) -> Option<Cow<'img, [u8]>> {
    let at = d.inode_bitmap.checked_mul(sb.block_size)?;
    disk.read(at, u64::from(sb.inodes_per_group).div_ceil(8))
}

/// The blocks of all bitmaps, inode tables, superblocks and descriptors, in bytes of the volume.
fn metadata(sb: &Superblock, descriptors: &[Option<Descriptor>]) -> ExtentSet {
    let table = u64::from(sb.inodes_per_group).saturating_mul(sb.inode_size);
    let bytes = |block: u64, len: u64| Extent::new(block.saturating_mul(sb.block_size), len);
    let per_block = sb.block_size.checked_div(sb.desc_size).unwrap_or(1).max(1);
    let all = sb.group_count().div_ceil(per_block);
    let plain = if sb.has_meta_bg() { all.min(sb.first_meta_bg) } else { all };
    let copy = plain.saturating_add(sb.reserved_gdt_blocks).saturating_add(1).saturating_mul(sb.block_size);
    let mut extents = Vec::new();
    for (group, d) in (0u64..).zip(descriptors) {
        let start = sb.group_start(group);
        if sb.has_super(group) {
            extents.push(bytes(start, copy));
        }
        // The first two groups and the last one of a meta group hold its block of descriptors, behind a superblock.
        let in_meta = group.checked_rem(per_block).unwrap_or(0);
        let number = group.checked_div(per_block).unwrap_or(0);
        let meta = sb.has_meta_bg() && number >= sb.first_meta_bg;
        if meta && (in_meta <= 1 || in_meta.saturating_add(1) == per_block) {
            extents.push(bytes(start.saturating_add(u64::from(sb.has_super(group))), sb.block_size));
        }
        if let Some(d) = d {
            extents.extend([bytes(d.block_bitmap, sb.block_size), bytes(d.inode_bitmap, sb.block_size)]);
            extents.push(bytes(d.inode_table, table));
        }
    }
    ExtentSet::new(extents)
}

/// A group whose block bitmap was never written: all but the metadata is free, in whole clusters.
fn uninit_free(sb: &Superblock, group: u64, metadata: &ExtentSet) -> Vec<Extent> {
    let cluster = sb.cluster_ratio.saturating_mul(sb.block_size);
    let start = sb.group_start(group).saturating_mul(sb.block_size);
    let here = Extent::new(start, sb.group_len(group).saturating_mul(sb.block_size));
    let inside = metadata.within(here);
    let whole_clusters = inside.as_slice().iter().map(|extent| {
        let skip = extent.start.saturating_sub(start).checked_rem(cluster).unwrap_or(0);
        let end = extent.end().saturating_sub(start).checked_next_multiple_of(cluster).unwrap_or(u64::MAX);
        Extent::between(extent.start.saturating_sub(skip), start.saturating_add(end))
    });
    ExtentSet::new(vec![here]).subtract(&whole_clusters.collect()).as_slice().to_vec()
}

fn bitmap_free(
    disk: &Disk<'_>,
    sb: &Superblock,
    group: u64,
    block: u64,
    free: &mut Vec<Extent>,
) -> Result<(), &'static str> {
    let cluster = sb.cluster_ratio.saturating_mul(sb.block_size);
    let clusters = sb.group_len(group).div_ceil(sb.cluster_ratio);
    let at = block.saturating_mul(sb.block_size);
    let bitmap = disk.read(at, clusters.div_ceil(8)).ok_or("its block bitmap cannot be read")?;
    let start = sb.group_start(group).saturating_mul(sb.block_size);
    for (from, to) in zero_bits(&bitmap, index(clusters)) {
        let begin = start.saturating_add(offset(from).saturating_mul(cluster));
        let end = start.saturating_add(offset(to).saturating_mul(cluster));
        let end = end.min(sb.blocks_count.saturating_mul(sb.block_size));
        free.push(Extent::between(begin, end));
    }
    Ok(())
}

/// The stretches of zeros among the first `count` bits, as half-open ranges; whole bytes at a time where they agree.
fn zero_bits(bitmap: &[u8], count: usize) -> Vec<(usize, usize)> {
    let (mut found, mut open) = (Vec::new(), None);
    for (byte, bits) in bitmap.iter().enumerate() {
        let same = open.map_or(*bits == 0xff, |_| *bits == 0);
        let base = byte.saturating_mul(8);
        for bit in (0..8usize).take(if same { 0 } else { 8 }) {
            let (zero, at) = (bits >> bit & 1 == 0, base.saturating_add(bit));
            match open {
                None if zero => open = Some(at),
                Some(from) if !zero => {
                    found.push((from, at));
                    open = None;
                }
                _ => {}
            }
        }
    }
    found.extend(open.map(|from| (from, count)));
    found.retain_mut(|(from, to)| {
        *to = (*to).min(count);
        from < to
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn zeros_are_found_bit_by_bit(bitmap in prop::collection::vec(prop::sample::select(vec![0u8, 0xff, 0x3c, 0x81]), 0..40), cut in 0usize..8) {
            let count = (bitmap.len() * 8).saturating_sub(cut);
            let ranges = zero_bits(&bitmap, count);
            for bit in 0..count {
                let zero = bitmap[bit / 8] >> (bit % 8) & 1 == 0;
                prop_assert_eq!(ranges.iter().any(|(from, to)| (*from..*to).contains(&bit)), zero);
            }
        }
    }
}
