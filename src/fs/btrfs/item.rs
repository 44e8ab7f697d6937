//! Items of the trees of files: inodes, names, extents, attributes.
//!
//! btrfs documentation, "On-disk Format", "Items".

use super::node::Key;
use crate::bytes::Fields;
use crate::fs::{Access, EntryKind, Times, posix};
use crate::time::Timestamp;

/// `BTRFS_*_KEY`.
pub(super) const INODE: u8 = 1;
pub(super) const INODE_REF: u8 = 12;
pub(super) const INODE_EXTREF: u8 = 13;
pub(super) const XATTR: u8 = 24;
pub(super) const DIR_ITEM: u8 = 84;
pub(super) const DIR_INDEX: u8 = 96;
pub(super) const EXTENT_DATA: u8 = 108;
pub(super) const ROOT: u8 = 132;
pub(super) const ROOT_REF: u8 = 156;
pub(super) const EXTENT: u8 = 168;
pub(super) const METADATA: u8 = 169;

/// Numbers of trees.
pub(super) const EXTENT_TREE: u64 = 2;
pub(super) const FS_TREE: u64 = 5;
pub(super) const CHECKSUM_TREE: u64 = 7;
/// Objects below are the file system's own; the first is the root directory of each tree of files.
pub(super) const FIRST: u64 = 256;
/// Objects from here on are its own, too.
pub(super) const LAST: u64 = u64::MAX - 255;

/// `btrfs_dir_item.type` of an attribute.
const TYPE_XATTR: u8 = 8;

/// Whether a tree is one of files.
pub(super) const fn is_files(tree: u64) -> bool {
    tree == FS_TREE || (tree >= FIRST && tree < LAST)
}

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    /// The transaction that changed it last.
    pub(super) changed: u64,
    pub(super) size: u64,
    /// Bytes of its extents, holes not counted.
    pub(super) bytes: u64,
    pub(super) links: u32,
    pub(super) mode: u32,
    pub(super) owner: [u32; 2],
    pub(super) device: u64,
    pub(super) times: Times,
    pub(super) impossible_time: bool,
}

impl Inode {
    pub(super) fn parse(b: &[u8]) -> Option<Self> {
        let time = |at: usize| {
            let (seconds, nanos) = (b.le64(at)?.cast_signed(), b.le32(at.checked_add(8)?)?);
            let set = seconds != 0 || nanos != 0;
            set.then(|| Timestamp::unix_nano(seconds, nanos).unwrap_or(Timestamp::unix(seconds)))
        };
        let stamps = [112usize, 124, 136, 148]; // atime, ctime, mtime, otime
        let impossible = |at: usize| b.le32(at.saturating_add(8)).is_some_and(|nanos| nanos >= 1_000_000_000);
        b.span(0, 160)?;
        Some(Self {
            changed: b.le64(8)?, // transid
            size: b.le64(16)?,
            bytes: b.le64(24)?,
            links: b.le32(40)?,
            mode: b.le32(52)?,
            owner: [b.le32(44)?, b.le32(48)?],
            device: b.le64(56)?,
            times: Times { atime: time(112), ctime: time(124), mtime: time(136), btime: time(148), dtime: None },
            impossible_time: stamps.into_iter().any(impossible),
        })
    }

    pub(super) const fn kind(&self) -> Option<EntryKind> {
        posix::kind_of_mode(self.mode)
    }

    pub(super) const fn access(&self) -> Access {
        let [uid, gid] = self.owner;
        Access { mode: self.mode, uid, gid }
    }
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Dirent {
    /// What it leads to: an inode of the same tree, or the root of another tree.
    pub(super) target: Key,
    pub(super) name: String,
    pub(super) file_type: u8,
    /// Where it stands on the device.
    pub(super) at: u64,
}

/// The names in an item of a directory, or the attributes: the fields of each, its name and its value.
fn entries(b: &[u8]) -> impl Iterator<Item = (Key, u8, &[u8], &[u8])> + '_ {
    let mut at = 0usize;
    std::iter::from_fn(move || {
        let (data_len, name_len) = (b.le16(at.checked_add(25)?)?, b.le16(at.checked_add(27)?)?);
        let name_at = at.checked_add(30)?;
        let value_at = name_at.checked_add(name_len.into())?;
        let found = (
            Key::parse(b, at)?,
            b.byte(at.checked_add(29)?)?,
            b.span(name_at, name_len.into())?,
            b.span(value_at, data_len.into())?,
        );
        at = value_at.checked_add(data_len.into())?;
        Some(found)
    })
}

/// The names of an item of a directory that stands at `at`.
pub(super) fn dirents(b: &[u8], at: u64) -> impl Iterator<Item = Dirent> + '_ {
    let names = entries(b).filter(|(_, kind, name, _)| *kind != TYPE_XATTR && !name.is_empty());
    names.map(move |(target, file_type, name, _)| Dirent { target, name: posix::name(name), file_type, at })
}

/// The attributes of an item, for a reader.
pub(super) fn attributes(b: &[u8]) -> impl Iterator<Item = (String, String)> + '_ {
    entries(b).map(|(_, _, name, value)| {
        let list = if name.starts_with(b"system.posix_acl_") { access_list(value) } else { None };
        (String::from_utf8_lossy(name).into_owned(), list.unwrap_or_else(|| posix::value(value)))
    })
}

/// An access list as the kernel hands it over: a version, then tag, rights and number of each.
fn access_list(b: &[u8]) -> Option<String> {
    let entries = b.get(4..)?.chunks(8);
    posix::access_list(entries.map(|e| Some((u32::from(e.le16(0)?), u32::from(e.le16(2)?), e.le32(4)?))))
}

/// The names of an inode that its item of references in a directory holds, or one of the longer kind: the directory and
/// the name of each.
pub(super) fn references(key: Key, b: &[u8]) -> Vec<(u64, String)> {
    let (mut found, mut at) = (Vec::new(), 0usize);
    let wide = key.kind == INODE_EXTREF;
    let mut next = || {
        let parent = if wide { b.le64(at)? } else { key.offset };
        let len_at = at.checked_add(if wide { 16 } else { 8 })?;
        let name = b.span(len_at.checked_add(2)?, b.le16(len_at)?.into())?;
        at = len_at.checked_add(2)?.checked_add(name.len())?;
        Some((parent, posix::name(name)))
    };
    while let Some(reference) = next() {
        found.push(reference);
    }
    found
}

/// How an extent's content is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Zlib,
    Lzo,
    Zstd,
}

/// Where an extent's content stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    /// In the item itself: so many bytes at this byte of the device.
    Inline {
        at: u64,
        len: u64,
    },
    /// At an address: `len` bytes, of which the content begins `skip` unpacked bytes in.
    Regular {
        address: u64,
        len: u64,
        skip: u64,
    },
    /// Allocated, and never written.
    Reserved {
        address: u64,
        skip: u64,
    },
    Hole,
}

/// An extent of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// First byte of the file.
    pub(super) offset: u64,
    /// Bytes of the file.
    pub(super) len: u64,
    pub(super) packing: Packing,
    pub(super) place: Where,
}

impl Piece {
    /// The item of an extent that stands at `at`; `None` where it is none, or packed or encrypted in no known way.
    pub(super) fn parse(offset: u64, b: &[u8], at: u64) -> Option<Self> {
        let packing = match b.byte(16)? {
            0 => Packing::None,
            1 => Packing::Zlib,
            2 => Packing::Lzo,
            3 => Packing::Zstd,
            _ => return None,
        };
        if b.byte(17)? != 0 || b.le16(18)? != 0 {
            return None;
        }
        let kind = b.byte(20)?;
        if kind == 0 {
            let len = (b.len() as u64).checked_sub(21)?;
            let size = if packing == Packing::None { len } else { b.le64(8)? }; // ram_bytes
            return Some(Self { offset, len: size, packing, place: Where::Inline { at: at.checked_add(21)?, len } });
        }
        let (address, len, skip, size) = (b.le64(21)?, b.le64(29)?, b.le64(37)?, b.le64(45)?);
        let fits = offset.checked_add(size).is_some() && address.checked_add(len).is_some() && size > 0;
        let inside = packing != Packing::None || address == 0 || skip.checked_add(size)? <= len;
        let place = match kind {
            1 if address == 0 => Where::Hole,
            1 => Where::Regular { address, len, skip },
            2 => Where::Reserved { address, skip },
            _ => return None,
        };
        (fits && inside).then_some(Self { offset, len: size, packing, place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_an_inode_are_told_with_their_directories() {
        let short = [&[7, 0, 0, 0, 0, 0, 0, 0, 1, 0][..], b"a", &[8, 0, 0, 0, 0, 0, 0, 0, 2, 0], b"bc"].concat();
        let found = references(Key::new(300, INODE_REF, 256), &short);
        assert_eq!(found, [(256, "a".to_owned()), (256, "bc".to_owned())]);
        let long = [&[1, 1, 0, 0, 0, 0, 0, 0][..], &[0; 8], &[1, 0], b"x"].concat();
        assert_eq!(references(Key::new(300, INODE_EXTREF, 9), &long), [(257, "x".to_owned())]);
    }

    #[test]
    fn an_extent_reaches_no_further_than_what_it_is_a_part_of() {
        let mut item = vec![0u8; 53];
        item[20] = 1;
        item[21] = 1;
        item[29..31].copy_from_slice(&[0, 16]);
        item[46] = 16;
        assert!(Piece::parse(0, &item, 0).is_some());
        item[37] = 1;
        assert_eq!(Piece::parse(0, &item, 0), None);
        item[16] = 4;
        assert_eq!(Piece::parse(0, &item, 0), None);
    }
}
