//! The superblock: the measures of the volume. Each allocation group begins with a copy; where the first is destroyed, one
//! of the others is used.
//!
//! "XFS Algorithms & Data Structures" (SGI, Red Hat), "Superblocks"; kernel `xfs_format.h` for the names of fields.

use super::checksum;
use crate::bytes::Fields;
use crate::image::View;

/// `sb_versionnum`.
const VERSION_MASK: u16 = 0xf;
const VERSION_DIRV2: u16 = 0x2000;
const VERSION_MOREBITS: u16 = 0x8000;
/// `sb_features2`.
const FEATURES2_FTYPE: u32 = 0x200;
/// `sb_features_incompat`.
const INCOMPAT_FTYPE: u32 = 0x1;
const INCOMPAT_SPARSE_INODES: u32 = 0x2;
const INCOMPAT_META_UUID: u32 = 0x4;
const INCOMPAT_METADIR: u32 = 0x100;
/// What is known of them: anything else changes the layout in ways that are not known here.
const INCOMPAT_KNOWN: u32 = 0x1ff;

/// Bytes that are looked at; sectors are at least as long.
const LEN: u64 = 512;
/// Copies that are compared with the first.
const MAX_COPIES: u64 = 1024;

/// The measures of the volume.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    /// Where the copy that was read stands; 0 for the first.
    pub(super) at: u64,
    /// 4, or 5 with checksums.
    pub(super) version: u16,
    pub(super) block_size: u64,
    pub(super) blocks: u64,
    pub(super) ag_blocks: u64,
    pub(super) ag_count: u64,
    pub(super) sector_size: u64,
    pub(super) inode_size: u64,
    pub(super) inodes_per_block: u64,
    /// Bits of a block's number within its group, and of an inode's number within its block.
    pub(super) ag_block_log: u32,
    pub(super) inode_block_log: u32,
    /// Bytes of a directory's block.
    pub(super) dir_block: u64,
    pub(super) root: u64,
    /// Inodes of the file system's own: realtime bitmap and summary, quotas.
    pub(super) own_inodes: [u64; 5],
    pub(super) log_start: u64,
    pub(super) log_blocks: u64,
    pub(super) has_ftype: bool,
    pub(super) has_sparse: bool,
    pub(super) label: String,
    pub(super) uuid: [u8; 16],
    /// The UUID that metadata carries: the first one, where that of the volume was changed.
    pub(super) meta_uuid: [u8; 16],
    /// False where the superblock's own checksum does not fit.
    pub(super) sound: bool,
    /// Incompatible features that are not known here.
    pub(super) unknown: u32,
}

impl Superblock {
    /// The first copy, or one of the others where that is destroyed.
    pub(super) fn find(volume: View<'_>) -> Option<Self> {
        let first = Self::read(volume, 0);
        if first.as_ref().is_some_and(|first| first.sound) {
            return first;
        }
        let is_copy = |at: &u64| volume.read_up_to(*at, 4).as_ref() == b"XFSB";
        let copies = places(volume.size()).into_iter().filter(is_copy).filter_map(|at| {
            let copy = Self::read(volume, at)?;
            // A copy knows where the groups begin.
            let group = copy.ag_blocks.checked_mul(copy.block_size)?;
            (copy.sound && at.is_multiple_of(group)).then_some(copy)
        });
        // Of a first copy whose checksum alone does not fit, the measures are its own if another copy has them, too.
        copies.into_iter().next().or(first)
    }

    fn read(volume: View<'_>, at: u64) -> Option<Self> {
        let raw = volume.read_up_to(at, LEN);
        let mut found = Self::parse(&raw, at)?;
        if found.version == 5 {
            let sector = volume.read_up_to(at, found.sector_size);
            found.sound = checksum::holds(&sector, 224);
        }
        Some(found)
    }

    fn parse(b: &[u8], at: u64) -> Option<Self> {
        if b.span(0, 4)? != b"XFSB" {
            return None;
        }
        let versionnum = b.be16(100)?;
        let version = versionnum & VERSION_MASK;
        let more = versionnum & VERSION_MOREBITS != 0;
        let features2 = if more { b.be32(200)? } else { 0 };
        let incompat = if version == 5 { b.be32(216)? } else { 0 };
        let block_log = u32::from(b.byte(120)?);
        let dir_log = u32::from(b.byte(192)?);
        let uuid: [u8; 16] = b.array(32)?;
        let label = b.span(108, 12)?;
        let end = label.iter().position(|c| *c == 0).unwrap_or(label.len());
        let found = Self {
            at,
            version,
            block_size: u64::from(b.be32(4)?),
            blocks: b.be64(8)?,
            ag_blocks: u64::from(b.be32(84)?),
            ag_count: u64::from(b.be32(88)?),
            sector_size: u64::from(b.be16(102)?),
            inode_size: u64::from(b.be16(104)?),
            inodes_per_block: u64::from(b.be16(106)?),
            ag_block_log: u32::from(b.byte(124)?),
            inode_block_log: u32::from(b.byte(123)?),
            dir_block: 1u64.checked_shl(block_log.checked_add(dir_log)?)?,
            root: b.be64(56)?,
            // sb_rbmino, sb_rsumino, sb_uquotino, sb_gquotino, sb_pquotino
            own_inodes: [
                b.be64(64)?,
                b.be64(72)?,
                b.be64(160)?,
                b.be64(168)?,
                if version == 5 { b.be64(232)? } else { 0 },
            ],
            log_start: b.be64(48)?,
            log_blocks: u64::from(b.be32(96)?),
            has_ftype: incompat & INCOMPAT_FTYPE != 0 || (version == 4 && features2 & FEATURES2_FTYPE != 0),
            has_sparse: incompat & INCOMPAT_SPARSE_INODES != 0,
            label: String::from_utf8_lossy(label.get(..end)?).into_owned(),
            uuid,
            meta_uuid: if incompat & INCOMPAT_META_UUID != 0 { b.array(248)? } else { uuid },
            sound: true,
            unknown: incompat & !INCOMPAT_KNOWN | incompat & INCOMPAT_METADIR,
        };
        let dir_v2 = version == 5 || versionnum & VERSION_DIRV2 != 0;
        let fits = found.is_possible() && dir_v2 && 1u64.checked_shl(block_log) == Some(found.block_size);
        fits.then_some(found)
    }

    fn is_possible(&self) -> bool {
        let whole = self.ag_blocks.saturating_mul(self.ag_count);
        let before = self.ag_blocks.saturating_mul(self.ag_count.saturating_sub(1));
        let inode_log = self.inode_size.checked_ilog2().unwrap_or(0);
        let per_block = self.block_size.checked_shr(inode_log).unwrap_or(0);
        matches!(self.version, 4 | 5)
            && self.block_size.is_power_of_two()
            && (512..=65536).contains(&self.block_size)
            && self.sector_size.is_power_of_two()
            && (512..=self.block_size.min(32768)).contains(&self.sector_size)
            && self.inode_size.is_power_of_two()
            && (256..=2048.min(self.block_size)).contains(&self.inode_size)
            && self.inodes_per_block == per_block
            && 1u64.checked_shl(self.inode_block_log) == Some(self.inodes_per_block)
            && self.dir_block <= 65536
            && self.ag_blocks >= 16
            && self.ag_count >= 1
            && self.ag_block_log <= 32
            && self.ag_blocks.checked_next_power_of_two().and_then(u64::checked_ilog2) == Some(self.ag_block_log)
            && (before..=whole).contains(&self.blocks)
            && self.blocks > before
            && self.blocks.checked_mul(self.block_size).is_some_and(|bytes| bytes <= 1 << 60)
    }

    /// Copies need not know the inodes of the root directory and of the realtime bitmap and summary: they are the first
    /// three of all. `first`: the first inode that a chunk holds.
    pub(super) fn complete(&mut self, first: u64) {
        if self.root == 0 || self.inode_byte(self.root).is_none() {
            self.root = first;
        }
        let [bitmap, summary, ..] = &mut self.own_inodes;
        for (number, skip) in [(bitmap, 1), (summary, 2)] {
            if matches!(*number, 0 | u64::MAX) {
                *number = self.root.saturating_add(skip);
            }
        }
    }

    pub(super) const fn has_checksums(&self) -> bool {
        self.version == 5
    }

    /// Bytes of the volume that the file system covers.
    pub(super) const fn size(&self) -> u64 {
        self.blocks.saturating_mul(self.block_size)
    }

    /// How many blocks a group has: the last may be shorter.
    pub(super) const fn group_len(&self, group: u64) -> u64 {
        let rest = self.blocks.saturating_sub(group.saturating_mul(self.ag_blocks));
        if rest < self.ag_blocks { rest } else { self.ag_blocks }
    }

    /// The byte of the volume at which block `block` of a group stands; `None` outside the group.
    pub(super) fn group_byte(&self, group: u64, block: u64) -> Option<u64> {
        let inside = group < self.ag_count && block < self.group_len(group);
        inside.then(|| group.saturating_mul(self.ag_blocks).saturating_add(block).saturating_mul(self.block_size))
    }

    /// The byte at which `count` blocks from block `number` on stand, the group in its upper bits; they lie in one group.
    pub(super) fn byte_of(&self, number: u64, count: u64) -> Option<u64> {
        let (group, block) = self.split(number)?;
        let fits = block.checked_add(count)? <= self.group_len(group);
        self.group_byte(group, block).filter(|_| fits)
    }

    fn split(&self, number: u64) -> Option<(u64, u64)> {
        let group = number.checked_shr(self.ag_block_log)?;
        Some((group, number.checked_sub(group.checked_shl(self.ag_block_log)?)?))
    }

    /// The byte at which an inode stands.
    pub(super) fn inode_byte(&self, number: u64) -> Option<u64> {
        let block = number.checked_shr(self.inode_block_log)?;
        let row = number.checked_sub(block.checked_shl(self.inode_block_log)?)?;
        self.byte_of(block, 1)?.checked_add(row.checked_mul(self.inode_size)?)
    }

    /// The number of inode `row` (counted within its group).
    pub(super) fn inode_number(&self, group: u64, row: u64) -> Option<u64> {
        group.checked_shl(self.ag_block_log.checked_add(self.inode_block_log)?)?.checked_add(row)
    }

    /// The number of the inode that stands at a byte of the volume.
    pub(super) fn inode_at(&self, at: u64) -> Option<u64> {
        let block = at.checked_div(self.block_size)?;
        let group = block.checked_div(self.ag_blocks)?;
        let in_group = block.checked_sub(group.checked_mul(self.ag_blocks)?)?;
        let row = at.checked_rem(self.block_size)?.checked_div(self.inode_size)?;
        self.inode_number(group, in_group.checked_shl(self.inode_block_log)?.checked_add(row)?)
    }

    /// Where the copies of the other groups contradict the one that was read: byte and remark.
    pub(super) fn differences(&self, volume: View<'_>) -> Vec<(u64, String)> {
        let mut wrong = Vec::new();
        let size = self.ag_blocks.saturating_mul(self.block_size);
        for group in 0..self.ag_count.min(MAX_COPIES) {
            let at = group.saturating_mul(size);
            if at == self.at || at >= volume.size() {
                continue;
            }
            let copy = match Self::read(volume, at) {
                Some(copy) if copy.sound => copy,
                _ if group == 0 => continue,
                _ => {
                    wrong.push((at, format!("the copy of the superblock in group {group} is damaged")));
                    continue;
                }
            };
            let differs = [
                ("its measures", self.measures() != copy.measures()),
                ("its UUID", self.uuid != copy.uuid),
                ("its label", self.label != copy.label),
            ];
            for (what, _) in differs.into_iter().filter(|(_, differs)| *differs) {
                let shown = if what == "its label" {
                    format!(" ({:?}, not {:?})", copy.label, self.label)
                } else {
                    String::new()
                };
                wrong.push((at, format!("the copy of the superblock in group {group} differs in {what}{shown}")));
            }
        }
        wrong
    }

    const fn measures(&self) -> [u64; 8] {
        let Self { block_size, blocks, ag_blocks, ag_count, sector_size, inode_size, dir_block, .. } = *self;
        [self.version as u64, block_size, blocks, ag_blocks, ag_count, sector_size, inode_size, dir_block]
    }
}

/// Where a copy may stand: at the start of the second group of as many groups as `mkfs.xfs` makes of a volume.
fn places(size: u64) -> Vec<u64> {
    const LARGEST: u64 = 1 << 40;
    let mut places = Vec::new();
    for block_size in [4096u64, 1024, 512, 2048, 8192, 16384, 32768, 65536] {
        let blocks = size.checked_div(block_size).unwrap_or(0);
        for groups in [4u64, 1, 2, 3, 5, 6, 8, 12, 16, 32, 64] {
            let whole = blocks.div_ceil(groups).min(LARGEST.checked_div(block_size).unwrap_or(0));
            // The last block of a partition may be left out.
            places.push(whole.saturating_mul(block_size));
            places.push(blocks.checked_div(groups).unwrap_or(0).saturating_mul(block_size));
        }
    }
    places.retain(|at| *at > 0 && *at < size);
    let mut seen = std::collections::HashSet::new();
    places.retain(|at| seen.insert(*at));
    places
}
