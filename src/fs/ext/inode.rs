//! Inodes: what a file is, its times, and the 60 bytes that say where its content lies.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", "Index Nodes" and "Extended Attributes".

use super::superblock::Superblock;
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::fs::{EntryKind, Times, posix};
use crate::time::Timestamp;

const FLAG_ENCRYPT: u32 = 0x800;
const FLAG_INDEX: u32 = 0x1000;
const FLAG_HUGE_FILE: u32 = 0x4_0000;
const FLAG_EXTENTS: u32 = 0x8_0000;
const FLAG_EA_INODE: u32 = 0x20_0000;
const FLAG_INLINE_DATA: u32 = 0x1000_0000;

/// `i_block`: where it stands in the inode, and its length.
const I_BLOCK: usize = 40;
const I_BLOCK_LEN: usize = 60;
const XATTR_MAGIC: u32 = 0xea02_0000;
const XATTR_INDEX_SYSTEM: u8 = 7;

/// An inode.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    /// Where it stands in the volume.
    pub(super) at: u64,
    pub(super) mode: u16,
    pub(super) size: u64,
    pub(super) links: u16,
    pub(super) times: Times,
    /// `i_block`.
    pub(super) block: [u8; I_BLOCK_LEN],
    /// Where inline data lies that does not fit into `i_block`.
    pub(super) inline_rest: Option<Extent>,
    /// Whether the inode was ever written: its time of change is set.
    pub(super) used: bool,
    /// `i_generation`: another number for each file that the inode was used for.
    pub(super) generation: u32,
    /// True where a time has a billion nanoseconds or more.
    pub(super) impossible_time: bool,
    /// Owner and group.
    pub(super) owner: [u32; 2],
    /// The block of extended attributes; 0 without one.
    pub(super) file_acl: u64,
    flags: u32,
    /// `i_blocks`: what is allocated for it, in 512 bytes or in blocks.
    sectors: u64,
}

impl Inode {
    pub(super) fn parse(sb: &Superblock, b: &[u8], at: u64) -> Option<Self> {
        let mode = b.le16(0)?; // i_mode
        let flags = b.le32(32)?; // i_flags
        let sized = mode & 0xf000 == 0x8000 || (mode & 0xf000 == 0x4000 && sb.has_large_directories());
        let high = if sized { u64::from(b.le32(108)?) << 32 } else { 0 }; // i_size_high
        let inline_rest = if flags & FLAG_INLINE_DATA != 0 { inline_rest(b, at) } else { None };
        Some(Self {
            at,
            mode,
            size: high | u64::from(b.le32(4)?), // i_size_lo
            links: b.le16(26)?,                 // i_links_count
            times: times(b)?,
            block: b.array(I_BLOCK)?,
            inline_rest,
            used: b.le32(12)? != 0, // i_ctime
            impossible_time: impossible_time(b),
            generation: b.le32(100)?, // i_generation
            owner: [
                u32::from(b.le16(2)?) | u32::from(b.le16(120)?) << 16, // i_uid, l_i_uid_high
                u32::from(b.le16(24)?) | u32::from(b.le16(122)?) << 16, // i_gid, l_i_gid_high
            ],
            file_acl: u64::from(b.le32(104)?) | u64::from(b.le16(118)?) << 32, // i_file_acl_lo, l_i_file_acl_high
            flags,
            sectors: u64::from(b.le32(28)?) | u64::from(b.le16(116)?) << 32, // i_blocks_lo, l_i_blocks_high
        })
    }

    /// What it is; `None` where its mode says nothing possible.
    pub(super) const fn kind(&self) -> Option<EntryKind> {
        posix::kind_of_mode(self.mode as u32)
    }

    pub(super) const fn is_encrypted(&self) -> bool {
        self.flags & FLAG_ENCRYPT != 0
    }

    pub(super) const fn is_indexed(&self) -> bool {
        self.flags & FLAG_INDEX != 0
    }

    pub(super) const fn has_extents(&self) -> bool {
        self.flags & FLAG_EXTENTS != 0
    }

    /// It holds the value of an extended attribute.
    pub(super) const fn is_attribute(&self) -> bool {
        self.flags & FLAG_EA_INODE != 0
    }

    pub(super) const fn is_inline(&self) -> bool {
        self.flags & FLAG_INLINE_DATA != 0
    }

    /// A symbolic link whose target stands in `i_block`: it has no blocks but perhaps one of attributes.
    pub(super) fn is_fast_symlink(&self, sb: &Superblock) -> bool {
        let attribute_sectors = if self.file_acl != 0 { sb.block_size / 512 } else { 0 };
        self.kind() == Some(EntryKind::Symlink)
            && self.size < I_BLOCK_LEN as u64
            && !self.has_extents()
            && self.sectors <= attribute_sectors
    }

    /// Whether `i_block` says where any content lies.
    pub(super) fn has_map(&self) -> bool {
        let entries = self.block.le16(2).is_some_and(|entries| entries > 0);
        self.is_inline() || if self.has_extents() { entries } else { !crate::bytes::all_zero(&self.block) }
    }

    /// How many blocks are allocated for it, those of its lists and attributes among them.
    pub(super) fn allocated(&self, sb: &Superblock) -> u64 {
        let bytes = self.sectors.saturating_mul(512);
        if self.flags & FLAG_HUGE_FILE != 0 { self.sectors } else { bytes.checked_div(sb.block_size).unwrap_or(0) }
    }

    /// The same inode with another list of blocks and size: the superblock keeps a copy of the journal's.
    pub(super) fn with_map(mut self, block: [u8; I_BLOCK_LEN], size: u64) -> Self {
        let magic = block.le16(0) == Some(0xf30a);
        self.flags = if magic { self.flags | FLAG_EXTENTS } else { self.flags & !FLAG_EXTENTS };
        Self { block, size, ..self }
    }

    /// Where `i_block` stands in the volume.
    pub(super) const fn block_extent(&self) -> Extent {
        Extent::new(self.at.saturating_add(I_BLOCK as u64), I_BLOCK_LEN as u64)
    }
}

fn times(b: &[u8]) -> Option<Times> {
    let extra = if b.len() > 128 { b.le16(128)? } else { 0 }; // i_extra_isize
    let fine = |at: usize| {
        let inside = at.checked_add(4)? <= usize::from(extra).checked_add(128)?;
        if inside { b.le32(at) } else { None }
    };
    let created = if fine(144).is_some() { time(b.le32(144)?, fine(148)) } else { None }; // i_crtime
    Some(Times {
        atime: time(b.le32(8)?, fine(140)),
        ctime: time(b.le32(12)?, fine(132)),
        mtime: time(b.le32(16)?, fine(136)),
        btime: created,
        dtime: time(b.le32(20)?, None),
    })
}

/// Whether any of the extra fields that the inode has (`i_ctime_extra` … `i_crtime_extra`) is no fraction of a second.
fn impossible_time(b: &[u8]) -> bool {
    let extra = if b.len() > 128 { usize::from(b.le16(128).unwrap_or(0)) } else { 0 };
    let inside = [132usize, 136, 140, 148].into_iter().filter(|at| at.saturating_add(4) <= extra.saturating_add(128));
    inside.filter_map(|at| b.le32(at)).any(|extra| extra >> 2 >= 1_000_000_000)
}

/// Signed seconds, with two more bits of them and the nanoseconds in the extra field. 0 is "not set".
fn time(seconds: u32, extra: Option<u32>) -> Option<Timestamp> {
    if seconds == 0 && extra.unwrap_or(0) == 0 {
        return None;
    }
    let low = i64::from(i32::from_ne_bytes(seconds.to_ne_bytes()));
    let Some(extra) = extra else { return Some(Timestamp::unix(low)) };
    let seconds = low.saturating_add(i64::from(extra & 3) << 32);
    Timestamp::unix_nano(seconds, extra >> 2).or(Some(Timestamp::unix(seconds)))
}

/// The value of the attribute `system.data` in the inode, in bytes of the volume.
fn inline_rest(b: &[u8], at: u64) -> Option<Extent> {
    let header = usize::from(b.le16(128)?).checked_add(128)?;
    if b.le32(header)? != XATTR_MAGIC {
        return None;
    }
    let first = header.checked_add(4)?;
    let mut entry = first;
    // Four zero bytes end the list.
    while b.le32(entry)? != 0 {
        let name_len = usize::from(b.byte(entry)?); // e_name_len
        let name = b.span(entry.checked_add(16)?, name_len)?;
        if b.byte(entry.checked_add(1)?)? == XATTR_INDEX_SYSTEM && name == b"data" {
            let value = usize::from(b.le16(entry.checked_add(2)?)?); // e_value_offs
            let size = u64::from(b.le32(entry.checked_add(8)?)?); // e_value_size
            let start = first.checked_add(value)?;
            b.span(start, index(size))?;
            return Some(Extent::new(at.checked_add(start as u64)?, size));
        }
        entry = entry.checked_add(16)?.checked_add(name_len.checked_next_multiple_of(4)?)?;
    }
    None
}
