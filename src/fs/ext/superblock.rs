//! The superblock: the measures of the volume. Where the first copy is destroyed, one of its backups.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", "Super Block".

use super::checksum::crc32c;
use crate::bytes::Fields;
use crate::image::View;

/// `s_feature_compat`, `s_feature_incompat`, `s_feature_ro_compat`.
const COMPAT_HAS_JOURNAL: u32 = 0x4;
const COMPAT_SPARSE_SUPER2: u32 = 0x200;
const INCOMPAT_FILETYPE: u32 = 0x2;
const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
const INCOMPAT_RECOVER: u32 = 0x4;
const INCOMPAT_META_BG: u32 = 0x10;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
const INCOMPAT_LARGEDIR: u32 = 0x4000;
/// Extents, 64 bits, multiple mount protection, flexible groups, and all that came later: ext4.
const INCOMPAT_EXT4: u32 = 0xffff_ffc0;
const RO_COMPAT_SPARSE_SUPER: u32 = 0x1;
const RO_COMPAT_GDT_CSUM: u32 = 0x10;
const RO_COMPAT_BIGALLOC: u32 = 0x200;
const RO_COMPAT_METADATA_CSUM: u32 = 0x400;
/// Huge files, group checksums, many subdirectories, large inodes, and all that came later: ext4.
const RO_COMPAT_EXT4: u32 = 0xffff_fff8;

const MAGIC: u16 = 0xef53;
/// Where the first copy stands.
const PRIMARY: u64 = 1024;

/// `s_reserved`, up to the checksum that ends the superblock.
pub(super) const RESERVED_AT: u64 = 0x284;
pub(super) const RESERVED_LEN: u64 = 0x3fc - 0x284;

/// The measures of the volume.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    /// Where the copy that was read stands; `PRIMARY` for the first.
    pub(super) at: u64,
    pub(super) inodes_count: u32,
    pub(super) blocks_count: u64,
    pub(super) first_data_block: u64,
    pub(super) block_size: u64,
    /// Blocks to a bit of the block bitmap: 1 without bigalloc.
    pub(super) cluster_ratio: u64,
    pub(super) blocks_per_group: u64,
    pub(super) inodes_per_group: u32,
    pub(super) inode_size: u64,
    pub(super) desc_size: u64,
    pub(super) first_ino: u32,
    pub(super) reserved_gdt_blocks: u64,
    pub(super) first_meta_bg: u64,
    /// Inodes that hold the file system's own data: journal, quotas, orphan file.
    pub(super) own_inodes: [u32; 5],
    pub(super) uuid: [u8; 16],
    pub(super) label: String,
    /// The seed of all metadata checksums.
    pub(super) checksum_seed: u32,
    /// The journal's `i_block` and size, kept here for when its inode is lost.
    pub(super) journal_backup: Option<([u8; 60], u64)>,
    /// False where the superblock's own checksum does not fit.
    pub(super) sound: bool,
    backup_bgs: [u32; 2],
    compat: u32,
    incompat: u32,
    ro_compat: u32,
}

impl Superblock {
    /// The first copy that is possible throughout.
    pub(super) fn find(volume: View<'_>) -> Option<Self> {
        Self::read(volume, PRIMARY).or_else(|| {
            backups().find_map(|(at, block_size, group)| {
                let raw = volume.read_up_to(at, 1024);
                // s_block_group_nr: a backup knows its group.
                let fits = raw.le16(90)? == group;
                Self::read(volume, at).filter(|backup| fits && backup.block_size == block_size)
            })
        })
    }

    fn read(volume: View<'_>, at: u64) -> Option<Self> {
        let raw = volume.read_up_to(at, 1024);
        let found = Self::parse(&raw, at)?;
        // A table of inodes that is larger than the volume is none; all counts below are bounded by this.
        let inodes = u64::from(found.inodes_count).checked_mul(found.inode_size)?;
        (inodes <= volume.size()).then_some(found)
    }

    fn parse(b: &[u8], at: u64) -> Option<Self> {
        if b.le16(56)? != MAGIC {
            return None;
        }
        let dynamic = b.le32(76)? >= 1; // s_rev_level
        let feature = |at: usize| if dynamic { b.le32(at) } else { Some(0) };
        let (compat, incompat, ro_compat) = (feature(92)?, feature(96)?, feature(100)?);
        let wide = incompat & INCOMPAT_64BIT != 0;
        let log_block_size = b.le32(24)?;
        let block_size = 1024u64.checked_shl(log_block_size).filter(|_| log_block_size <= 6)?;
        let log_cluster_size = b.le32(28)?;
        let ratio = log_cluster_size.checked_sub(log_block_size).filter(|log| *log <= 20);
        let bigalloc = ro_compat & RO_COMPAT_BIGALLOC != 0;
        let high = if wide { u64::from(b.le32(336)?) << 32 } else { 0 };
        let desc_size = match u64::from(b.le16(254)?) {
            _ if !wide => 32,
            0 => 64, // damaged; the kernel writes no other size
            size => size,
        };
        let uuid = b.array(104)?;
        let own_seed = incompat & INCOMPAT_CSUM_SEED != 0;
        let summed = ro_compat & RO_COMPAT_METADATA_CSUM != 0;
        let found = Self {
            at,
            checksum_seed: if own_seed { b.le32(624)? } else { crc32c(!0, &uuid) }, // s_checksum_seed
            journal_backup: journal_backup(b),
            sound: !summed || crc32c(!0, b.get(..1020)?) == b.le32(1020)?, // s_checksum
            inodes_count: b.le32(0)?,
            blocks_count: high | u64::from(b.le32(4)?),
            first_data_block: u64::from(b.le32(20)?),
            block_size,
            cluster_ratio: if bigalloc { 1u64.checked_shl(ratio?)? } else { 1 },
            blocks_per_group: u64::from(b.le32(32)?),
            inodes_per_group: b.le32(40)?,
            inode_size: if dynamic { u64::from(b.le16(88)?) } else { 128 },
            desc_size,
            first_ino: if dynamic { b.le32(84)? } else { 11 },
            reserved_gdt_blocks: u64::from(b.le16(206)?),
            first_meta_bg: u64::from(b.le32(260)?),
            // s_journal_inum, s_usr_quota_inum, s_grp_quota_inum, s_prj_quota_inum, s_orphan_file_inum
            own_inodes: [b.le32(224)?, b.le32(576)?, b.le32(580)?, b.le32(620)?, b.le32(640)?],
            uuid,
            label: text_before_nul(b.span(120, 16)?), // s_volume_name
            backup_bgs: [b.le32(588)?, b.le32(592)?],
            compat,
            incompat,
            ro_compat,
        };
        found.is_possible().then_some(found)
    }

    fn is_possible(&self) -> bool {
        let per_bitmap = self.block_size.saturating_mul(8);
        let per_group = self.blocks_per_group.checked_div(self.cluster_ratio).unwrap_or(0);
        let groups = self.group_count();
        let inodes = groups.saturating_mul(u64::from(self.inodes_per_group));
        self.incompat & INCOMPAT_JOURNAL_DEV == 0
            && (1..=per_bitmap).contains(&per_group)
            && (1..=per_bitmap).contains(&u64::from(self.inodes_per_group))
            && (128..=self.block_size).contains(&self.inode_size)
            && self.inode_size.is_power_of_two()
            && (32..=self.block_size).contains(&self.desc_size)
            && self.desc_size.is_power_of_two()
            && self.first_data_block <= 1
            && self.blocks_count > self.first_data_block
            && (1..=inodes).contains(&u64::from(self.inodes_count))
    }

    pub(super) const fn is_backup(&self) -> bool {
        self.at != PRIMARY
    }

    pub(super) fn group_count(&self) -> u64 {
        let blocks = self.blocks_count.saturating_sub(self.first_data_block);
        blocks
            .checked_next_multiple_of(self.blocks_per_group)
            .unwrap_or(0)
            .checked_div(self.blocks_per_group)
            .unwrap_or(0)
    }

    /// The first block of a group.
    pub(super) const fn group_start(&self, group: u64) -> u64 {
        self.first_data_block.saturating_add(group.saturating_mul(self.blocks_per_group))
    }

    pub(super) fn group_len(&self, group: u64) -> u64 {
        self.blocks_count.saturating_sub(self.group_start(group)).min(self.blocks_per_group)
    }

    /// Whether a group holds a copy of the superblock.
    pub(super) fn has_super(&self, group: u64) -> bool {
        if self.compat & COMPAT_SPARSE_SUPER2 != 0 {
            return group == 0 || self.backup_bgs.iter().any(|n| u64::from(*n) == group);
        }
        if self.ro_compat & RO_COMPAT_SPARSE_SUPER == 0 || group <= 1 {
            return true;
        }
        [3u64, 5, 7].iter().any(|base| {
            let mut power = *base;
            while power < group {
                power = power.saturating_mul(*base);
            }
            power == group
        })
    }

    pub(super) const fn has_meta_bg(&self) -> bool {
        self.incompat & INCOMPAT_META_BG != 0
    }

    pub(super) const fn is_wide(&self) -> bool {
        self.incompat & INCOMPAT_64BIT != 0 && self.desc_size >= 64
    }

    pub(super) const fn has_file_type(&self) -> bool {
        self.incompat & INCOMPAT_FILETYPE != 0
    }

    pub(super) const fn has_large_directories(&self) -> bool {
        self.incompat & INCOMPAT_LARGEDIR != 0
    }

    /// Whether a group may say that its bitmaps or its inodes were never written.
    pub(super) const fn has_uninit(&self) -> bool {
        self.ro_compat & (RO_COMPAT_GDT_CSUM | RO_COMPAT_METADATA_CSUM) != 0
    }

    /// Whether inodes, directories, extents and bitmaps carry CRC-32C.
    pub(super) const fn has_checksums(&self) -> bool {
        self.ro_compat & RO_COMPAT_METADATA_CSUM != 0
    }

    /// Whether descriptors of groups carry a CRC-16.
    pub(super) const fn has_group_checksums(&self) -> bool {
        self.ro_compat & RO_COMPAT_GDT_CSUM != 0
    }

    /// Whether the journal holds what was not written back.
    pub(super) const fn needs_recovery(&self) -> bool {
        self.incompat & INCOMPAT_RECOVER != 0
    }

    pub(super) const fn has_journal(&self) -> bool {
        self.compat & COMPAT_HAS_JOURNAL != 0
    }

    pub(super) const fn has_clusters(&self) -> bool {
        self.ro_compat & RO_COMPAT_BIGALLOC != 0
    }

    /// `ext2`, `ext3` or `ext4`, after its features.
    pub(super) const fn name(&self) -> &'static str {
        if self.incompat & INCOMPAT_EXT4 != 0 || self.ro_compat & RO_COMPAT_EXT4 != 0 {
            "ext4"
        } else if self.compat & COMPAT_HAS_JOURNAL != 0 {
            "ext3"
        } else {
            "ext2"
        }
    }
}

/// Where backups usually stand: at the start of groups 1, 3, 5, 7 and 9 of eight blocks' bits each.
fn backups() -> impl Iterator<Item = (u64, u64, u16)> {
    (0..=6u32).flat_map(|log| {
        let block_size = 1024u64 << log;
        let first = u64::from(log == 0);
        [1u16, 3, 5, 7, 9].into_iter().map(move |group| {
            let block = u64::from(group).saturating_mul(block_size).saturating_mul(8).saturating_add(first);
            (block.saturating_mul(block_size), block_size, group)
        })
    })
}

/// `s_jnl_blocks`: `i_block` of the journal's inode, then the high and the low half of its size.
fn journal_backup(b: &[u8]) -> Option<([u8; 60], u64)> {
    let kept = b.byte(253)? == 1; // s_jnl_backup_type
    let size = u64::from(b.le32(328)?) << 32 | u64::from(b.le32(332)?);
    Some((b.array(268)?, size)).filter(|_| kept)
}

fn text_before_nul(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or(field)).into_owned()
}
