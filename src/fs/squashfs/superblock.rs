//! The superblock: where the tables stand, and how everything is packed.
//!
//! Kernel `squashfs_fs.h`, "struct squashfs_super_block".

use crate::bytes::Fields;
use crate::content::packed::Method;
use crate::image::View;

/// Bytes of it.
pub(super) const LEN: u64 = 96;
/// What stands for a table that is not there.
pub(super) const NONE: u64 = u64::MAX;

/// What it says.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    pub(super) inodes: u32,
    pub(super) block_size: u64,
    pub(super) fragments: u32,
    /// `None` where it is packed in a way that is not known.
    pub(super) method: Option<Method>,
    pub(super) compressor: u16,
    pub(super) ids: u16,
    /// Reference of the root directory's inode.
    pub(super) root: u64,
    pub(super) bytes_used: u64,
    pub(super) id_table: u64,
    pub(super) xattr_table: u64,
    pub(super) inode_table: u64,
    pub(super) directory_table: u64,
    pub(super) fragment_table: u64,
    pub(super) export_table: u64,
}

impl Superblock {
    /// That of a volume, if it may be one of version 4.
    pub(super) fn read(view: View<'_>) -> Option<Self> {
        let bytes = view.read(0, LEN).ok()?;
        let b = bytes.as_ref();
        let (block_size, log) = (b.le32(12)?, b.le16(22)?);
        let is_size = (4096..=1 << 20).contains(&block_size) && 1u32.checked_shl(log.into()) == Some(block_size);
        let compressor = b.le16(20)?;
        let found = Self {
            inodes: b.le32(4)?,
            block_size: block_size.into(),
            fragments: b.le32(16)?,
            method: method(compressor),
            compressor,
            ids: b.le16(26)?,
            root: b.le64(32)?,
            bytes_used: b.le64(40)?,
            id_table: b.le64(48)?,
            xattr_table: b.le64(56)?,
            inode_table: b.le64(64)?,
            directory_table: b.le64(72)?,
            fragment_table: b.le64(80)?,
            export_table: b.le64(88)?,
        };
        let ordered = LEN <= found.inode_table && found.inode_table < found.directory_table;
        (b.starts_with(b"hsqs") && b.le16(28)? == 4 && is_size && ordered).then_some(found)
    }
}

const fn method(compressor: u16) -> Option<Method> {
    match compressor {
        1 => Some(Method::Zlib),
        2 => Some(Method::Lzma),
        3 => Some(Method::Lzo),
        4 => Some(Method::Xz),
        5 => Some(Method::Lz4),
        6 => Some(Method::Zstd),
        _ => None,
    }
}
