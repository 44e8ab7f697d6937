//! Extended attributes and access lists of an inode: in the inode, in leaves, in blocks of their own.
//!
//! "XFS Algorithms & Data Structures", "Extended Attributes". All leaves are read as they come: what leads to them by hash
//! is not needed.

use super::inode::{Fork, Format, Inode};
use super::map::Mapping;
use super::{Disk, checksum};
use crate::bytes::{Fields, index};
use crate::content::{Content, Stream};
use crate::fs::{Entry, posix};
use crate::fuel::Fuel;

/// Attributes of one inode.
const MAX_ATTRIBUTES: usize = 256;
/// Blocks of attributes of one inode: 64 KiB of values, and as many names.
const MAX_BLOCKS: u64 = 1024;
/// `xfs_attr_leaf_entry.flags`.
const LOCAL: u8 = 0x1;
const ROOT: u8 = 0x2;
const SECURE: u8 = 0x4;
const PARENT: u8 = 0x8;
const INCOMPLETE: u8 = 0x80;

/// Puts the attributes of an inode into its entry. Gives how many blocks they take; `None` where that is not known.
pub(super) fn describe(disk: &Disk<'_>, inode: &Inode, entry: &mut Entry) -> Option<u64> {
    let Some(fork) = &inode.attributes else { return Some(0) };
    let area = disk.read(fork.area.start, fork.area.len).unwrap_or_default();
    match fork.format {
        Format::Local if short(&area, &mut entry.attributes).is_none() => {
            entry.faults.push(disk.fault(inode.at, "its list of attributes is damaged".to_owned()));
        }
        Format::Extents | Format::Tree => return in_blocks(disk, inode, fork, entry),
        _ => {}
    }
    Some(0)
}

/// The list in the inode: size, count, then lengths, flags, name and value of each.
fn short(b: &[u8], out: &mut Vec<(String, String)>) -> Option<()> {
    let (size, count) = (usize::from(b.be16(0)?), b.byte(2)?);
    let b = b.get(..size)?;
    let mut at = 4usize;
    for _ in 0..count {
        let (name_len, value_len) = (usize::from(b.byte(at)?), usize::from(b.byte(at.checked_add(1)?)?));
        let flags = b.byte(at.checked_add(2)?)?;
        let start = at.checked_add(3)?;
        let name = b.span(start, name_len)?;
        let value = b.span(start.checked_add(name_len)?, value_len)?;
        tell(flags, name, value, out);
        at = start.checked_add(name_len)?.checked_add(value_len)?;
    }
    Some(())
}

fn in_blocks(disk: &Disk<'_>, inode: &Inode, fork: &Fork, entry: &mut Entry) -> Option<u64> {
    let sb = &disk.sb;
    let map = Mapping::read(disk, fork, inode.number, &mut Fuel::new(MAX_BLOCKS));
    let wrong = map.wrong.iter().map(|what| disk.fault(inode.at, format!("attributes: {what}")));
    entry.faults.extend(wrong.collect::<Vec<_>>());
    let runs = map.runs(sb.block_size, 0);
    let size = runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.len()));
    let content = Content::of(disk.view, Stream::plain(runs, size));
    let blocks = map.pieces.iter().flat_map(|piece| piece.offset..piece.offset.saturating_add(piece.count));
    for block in blocks.take(index(MAX_BLOCKS)) {
        let bytes = content.stretch(block.saturating_mul(sb.block_size), sb.block_size);
        let wide = bytes.be16(8) == Some(0x3bee); // XFS_ATTR3_LEAF_MAGIC
        if !wide && bytes.be16(8) != Some(0xfbee) {
            continue;
        }
        if wide && !checksum::holds(&bytes, 12) {
            let what = "the checksum of a block of its attributes does not fit";
            entry.faults.push(disk.fault(inode.at, what.to_owned()));
        }
        if leaf(disk, &bytes, wide, &content, &mut entry.attributes).is_none() {
            entry.faults.push(disk.fault(inode.at, "a block of its attributes is damaged".to_owned()));
        }
    }
    (!map.broken).then(|| map.blocks())
}

/// The attributes of a leaf.
fn leaf(disk: &Disk<'_>, b: &[u8], wide: bool, all: &Content<'_>, out: &mut Vec<(String, String)>) -> Option<()> {
    let count = usize::from(b.be16(if wide { 56 } else { 12 })?);
    let first = if wide { 80usize } else { 32 };
    for row in 0..count {
        let at = row.checked_mul(8)?.checked_add(first)?;
        let (place, flags) = (usize::from(b.be16(at.checked_add(4)?)?), b.byte(at.checked_add(6)?)?);
        if flags & INCOMPLETE != 0 {
            continue;
        }
        if flags & LOCAL != 0 {
            let (value_len, name_len) = (usize::from(b.be16(place)?), usize::from(b.byte(place.checked_add(2)?)?));
            let start = place.checked_add(3)?;
            tell(flags, b.span(start, name_len)?, b.span(start.checked_add(name_len)?, value_len)?, out);
        } else {
            let (block, len) = (u64::from(b.be32(place)?), u64::from(b.be32(place.checked_add(4)?)?));
            let name_len = usize::from(b.byte(place.checked_add(8)?)?);
            let name = b.span(place.checked_add(9)?, name_len)?;
            tell(flags, name, &remote(disk, block, len, all), out);
        }
    }
    Some(())
}

/// A value in blocks of its own; with checksums each has a header.
fn remote(disk: &Disk<'_>, block: u64, len: u64, all: &Content<'_>) -> Vec<u8> {
    let sb = &disk.sb;
    let header = if sb.has_checksums() { 56 } else { 0 };
    let room = sb.block_size.saturating_sub(header);
    let wanted = len.min(posix::MAX_VALUE as u64);
    let mut value = Vec::new();
    let mut at = block.saturating_mul(sb.block_size);
    while (value.len() as u64) < wanted {
        let part = all.stretch(at.saturating_add(header), room.min(wanted.saturating_sub(value.len() as u64)));
        if part.is_empty() {
            break;
        }
        value.extend_from_slice(&part);
        at = at.saturating_add(sb.block_size);
    }
    value
}

/// Adds name and value for a reader.
fn tell(flags: u8, name: &[u8], value: &[u8], out: &mut Vec<(String, String)>) {
    // Pointers to parents say what the tree says.
    if flags & PARENT != 0 || out.len() >= MAX_ATTRIBUTES {
        return;
    }
    let prefix = match flags & (ROOT | SECURE) {
        ROOT => "trusted.",
        SECURE => "security.",
        _ => "user.",
    };
    let told = match (flags & ROOT, name) {
        (ROOT, b"SGI_ACL_FILE") => access_list(value).map(|list| ("system.posix_acl_access".to_owned(), list)),
        (ROOT, b"SGI_ACL_DEFAULT") => access_list(value).map(|list| ("system.posix_acl_default".to_owned(), list)),
        _ => None,
    };
    let plain = || (format!("{prefix}{}", String::from_utf8_lossy(name)), posix::value(value));
    out.push(told.unwrap_or_else(plain));
}

/// An access list: a count, then tag, number and rights of each.
fn access_list(b: &[u8]) -> Option<String> {
    let count = index(b.be32(0)?.into());
    let entries = b.get(4..)?.chunks(12).take(count);
    posix::access_list(entries.map(|e| Some((e.be32(0)?, u32::from(e.be16(8)?), e.be32(4)?))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_lists_read_as_getfacl_prints_them() {
        let mut raw = vec![0, 0, 0, 2];
        raw.extend([0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 6, 0, 0]);
        raw.extend([0, 0, 0, 2, 0, 0, 3, 0xe8, 0, 4, 0, 0]);
        assert_eq!(access_list(&raw).as_deref(), Some("user::rw-,user:1000:r--"));
        assert_eq!(access_list(&raw[..20]), None);
    }
}
