//! Owner, permissions, extended attributes and access lists of an inode.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", "Extended Attributes"; access lists as `acl(5)` writes
//! them.

use super::Ext;
use super::inode::Inode;
use crate::bytes::Fields;
use crate::fs::posix::{self, MAX_VALUE};
use crate::fs::{Access, Entry};
use std::borrow::Cow;

const MAGIC: u32 = 0xea02_0000;
/// Attributes of one inode.
const MAX_ATTRIBUTES: usize = 256;

/// Puts owner, permissions and attributes into an entry. `raw`: the inode's bytes.
pub(super) fn describe(ext: &Ext<'_>, inode: &Inode, raw: &[u8], entry: &mut Entry) {
    let [uid, gid] = inode.owner;
    entry.access = Some(Access { mode: inode.mode.into(), uid, gid });
    entry.encrypted = inode.is_encrypted();
    if inode.impossible_time {
        entry.impossible.push("one of its times has a billion nanoseconds or more".to_owned());
    }
    if ext.sb.inode_size > 128 {
        let _ = inside(ext, raw, &mut entry.attributes);
    }
    if inode.file_acl != 0 {
        let at = inode.file_acl.saturating_mul(ext.sb.block_size);
        let block = ext.disk.read_up_to(at, ext.sb.block_size);
        if entry.allocated && block.le32(0) != Some(MAGIC) {
            entry.faults.push(ext.fault(at, "its block of attributes is damaged".to_owned()));
        } else if block.le32(0) == Some(MAGIC) {
            let _ = list(ext, &block, 32, 0, &mut entry.attributes);
        }
    }
}

/// Those behind the inode's fields: values are counted from the first entry on.
fn inside(ext: &Ext<'_>, raw: &[u8], out: &mut Vec<(String, String)>) -> Option<()> {
    let header = usize::from(raw.le16(128)?).checked_add(128)?;
    (raw.le32(header)? == MAGIC).then_some(())?;
    let first = header.checked_add(4)?;
    list(ext, raw, first, first, out)
}

/// The entries from `at` on; `base`: where their values are counted from.
fn list(ext: &Ext<'_>, b: &[u8], mut at: usize, base: usize, out: &mut Vec<(String, String)>) -> Option<()> {
    while b.le32(at)? != 0 && out.len() < MAX_ATTRIBUTES {
        let field = |skip: usize| at.checked_add(skip);
        let name_len = usize::from(b.byte(at)?); // e_name_len
        let index = b.byte(field(1)?)?; // e_name_index
        let name = b.span(field(16)?, name_len)?;
        let size = crate::bytes::index(b.le32(field(8)?)?.into()); // e_value_size
        let holder = b.le32(field(4)?)?; // e_value_inum
        let value = if holder == 0 {
            let start = base.checked_add(usize::from(b.le16(field(2)?)?))?; // e_value_offs
            b.get(start..start.checked_add(size)?.min(b.len())).map(Cow::Borrowed)
        } else {
            held(ext, holder, size).map(Cow::Owned)
        };
        // The content of small files is kept as an attribute: it is no remark on them.
        if let Some(value) = value.filter(|_| !(index == 7 && name == b"data")) {
            out.push(posix::packed_attribute(index, name, &value));
        }
        at = at.checked_add(16)?.checked_add(name_len.checked_next_multiple_of(4)?)?;
    }
    Some(())
}

/// The value that an inode of its own holds.
fn held(ext: &Ext<'_>, number: u32, size: usize) -> Option<Vec<u8>> {
    let inode = ext.inode(number).filter(Inode::is_attribute)?;
    let mapper = super::map::Mapper { disk: &ext.disk, sb: &ext.sb, free: &ext.groups.free, older: None };
    let mapping = mapper.map(&inode, false, None, &mut crate::fuel::Fuel::new(1 << 16));
    let stream = crate::content::Stream::plain(mapping.runs, inode.size);
    let bytes = crate::content::Content::new(ext.view, &stream).prefix(size.min(MAX_VALUE) as u64).into_owned();
    Some(bytes)
}
