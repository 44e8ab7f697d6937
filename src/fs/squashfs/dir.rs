//! Directories: runs of names, each with a header that says in which block their inodes are.
//!
//! Kernel `squashfs_fs.h`, "struct squashfs_dir_header" and "struct squashfs_dir_entry".

use super::table::Table;
use crate::bytes::{Fields, index};
use crate::fs::posix;

/// The most names behind one header.
const MAX_NAMES: u32 = 256;

/// A name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dirent {
    pub(super) name: String,
    /// Reference of its inode.
    pub(super) inode: u64,
    pub(super) file_type: u16,
    /// Where the block that holds the name stands in the volume.
    pub(super) at: u64,
}

/// The names in `len` bytes from a reference on, and whether that is all.
pub(super) fn names(table: &Table, reference: u64, len: u64) -> (Vec<Dirent>, bool) {
    let mut found = Vec::new();
    let whole = read(table, reference, len, &mut found);
    (found, whole.is_some())
}

fn read(table: &Table, reference: u64, len: u64, found: &mut Vec<Dirent>) -> Option<()> {
    if len == 0 {
        return Some(());
    }
    let mut place = table.place(reference)?;
    let mut left = index(len);
    while left > 0 {
        let head = table.take(&mut place, 12)?;
        left = left.checked_sub(12)?;
        let (count, block) = (head.le32(0)?.checked_add(1)?, head.le32(4)?);
        if count > MAX_NAMES {
            return None;
        }
        for _ in 0..count {
            let at = table.byte(place);
            let row = table.take(&mut place, 8)?;
            let size = usize::from(row.le16(6)?).checked_add(1)?;
            let name = table.take(&mut place, size)?;
            left = left.checked_sub(size.checked_add(8)?)?;
            let inode = u64::from(block) << 16 | u64::from(row.le16(0)?);
            found.push(Dirent { name: posix::name(&name), inode, file_type: row.le16(4)?, at });
        }
    }
    Some(())
}
