//! Extended attributes: a list that begins in the inode and goes on in a node (kernel `fs/f2fs/xattr.h`).
//!
//! Behind a header of 24 bytes each has its kind, the length of its name, the size of its value, name and value, and takes a
//! multiple of four bytes; zeros end the list.

use super::Disk;
use super::node::{BODY, Footer, Inode};
use crate::bytes::{Fields, index};
use crate::fs::{Entry, posix};

const HEADER: usize = 24;
const FIELDS: usize = 4;
/// Kinds that say what the system itself keeps: how the file is encrypted, its Merkle tree.
const ENCRYPTION: u8 = 9;
const VERITY: u8 = 11;

/// Puts the attributes of an inode into its entry. `find`: where its nodes lie.
pub(super) fn describe(disk: &Disk<'_>, inode: &Inode, find: &super::file::Finder<'_>, entry: &mut Entry) {
    let mut bytes = inode.inline_attributes().to_vec();
    if inode.xattr != 0 {
        let block = find(inode.xattr, inode.number).and_then(|at| disk.view.read(at, BODY.saturating_add(24)).ok());
        let own = block.filter(|block| Footer::read(block).is_some_and(|footer| footer.node == inode.xattr));
        match own {
            Some(block) => bytes.extend_from_slice(block.get(..index(BODY)).unwrap_or_default()),
            None => {
                entry.faults.push(
                    disk.fault(inode.at, format!("node {} of its attributes is missing or damaged", inode.xattr)),
                );
            }
        }
    }
    if bytes.get(HEADER..).is_some_and(|list| list.le32(0).is_some_and(|first| first != 0))
        && list(&bytes, &mut entry.attributes).is_none()
    {
        entry.faults.push(disk.fault(inode.at, "its list of attributes is damaged".to_owned()));
    }
}

fn list(b: &[u8], out: &mut Vec<(String, String)>) -> Option<()> {
    let mut at = HEADER;
    // The list may fill all of the room.
    while b.le32(at).is_some_and(|first| first != 0) {
        let (kind, name_len) = (b.byte(at)?, usize::from(b.byte(at.checked_add(1)?)?));
        let size = usize::from(b.le16(at.checked_add(2)?)?);
        let start = at.checked_add(FIELDS)?;
        let name = b.span(start, name_len)?;
        let value = b.span(start.checked_add(name_len)?, size)?;
        if !matches!(kind, ENCRYPTION | VERITY) {
            out.push(posix::packed_attribute(kind, name, value));
        }
        at = start.checked_add(name_len)?.checked_add(size)?.checked_next_multiple_of(4)?;
    }
    Some(())
}
