//! Records of a volume's tree: inodes, names, attributes, stretches of content.
//!
//! Apple File System Reference, "File-System Objects", "Extended Fields" and "Data Streams".

use crate::bytes::{Fields, index};
use crate::fs::{Access, EntryKind, Times};
use crate::time::Timestamp;

/// Number of the root directory, and of that of files that are open without a name.
pub(super) const ROOT: u64 = 2;
pub(super) const PRIVATE: u64 = 3;

/// Types of records.
pub(super) const INODE: u8 = 3;
pub(super) const XATTR: u8 = 4;
pub(super) const EXTENT: u8 = 8;
pub(super) const NAME: u8 = 9;

/// Number and type of a key: records are sorted by these.
pub(super) type Key = (u64, u8);

/// The number and the type of a key.
pub(super) fn key(b: &[u8]) -> Option<Key> {
    let raw = b.le64(0)?;
    Some((raw & 0x0fff_ffff_ffff_ffff, u8::try_from(raw >> 60).ok()?))
}

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) id: u64,
    pub(super) parent: u64,
    /// The number under which its content stands: clones have another's.
    pub(super) content: u64,
    times: [u64; 4],
    flags: u64,
    /// Names that it has, of a directory how many it holds.
    pub(super) links: u32,
    bsd_flags: u32,
    pub(super) access: Access,
    /// The name that it was given last.
    pub(super) name: Option<String>,
    /// Size of its content.
    pub(super) size: u64,
}

impl Inode {
    pub(super) fn parse(id: u64, b: &[u8]) -> Option<Self> {
        let mut inode = Self {
            id,
            parent: b.le64(0)?,
            content: b.le64(8)?,
            times: [b.le64(16)?, b.le64(24)?, b.le64(32)?, b.le64(40)?],
            flags: b.le64(48)?,
            links: b.le32(56)?,
            bsd_flags: b.le32(68)?,
            access: Access { mode: b.le16(80)?.into(), uid: b.le32(72)?, gid: b.le32(76)? },
            name: None,
            size: 0,
        };
        each_field(b, 92, |kind, value| match kind {
            4 => inode.name = text(value),
            8 => inode.size = value.le64(0).unwrap_or(0),
            _ => {}
        });
        Some(inode)
    }

    pub(super) fn times(&self) -> Times {
        let [btime, mtime, ctime, atime] = self.times.map(time);
        Times { btime, mtime, ctime, atime, dtime: None }
    }

    /// `None` where its mode is none.
    pub(super) const fn kind(&self) -> Option<EntryKind> {
        match self.access.mode >> 12 {
            8 => Some(EntryKind::File),
            4 => Some(EntryKind::Directory),
            10 => Some(EntryKind::Symlink),
            1 | 2 | 6 | 12 | 14 => Some(EntryKind::Special),
            _ => None,
        }
    }

    /// True where parts of its content may be stored nowhere.
    pub(super) const fn is_sparse(&self) -> bool {
        self.flags & 0x200 != 0 // INODE_IS_SPARSE
    }

    /// True where its content is compressed.
    pub(super) const fn is_compressed(&self) -> bool {
        self.bsd_flags & 0x20 != 0 // UF_COMPRESSED
    }
}

/// Nanoseconds since 1970.
pub(super) fn time(nanos: u64) -> Option<Timestamp> {
    let seconds = i64::try_from(nanos / 1_000_000_000).ok()?;
    (nanos > 0).then(|| Timestamp::unix_nano(seconds, u32::try_from(nanos % 1_000_000_000).ok()?))?
}

/// Gives each extended field of a value, the list of which begins at `at`.
fn each_field(b: &[u8], at: usize, mut each: impl FnMut(u8, &[u8])) -> Option<()> {
    let count = usize::from(b.le16(at)?);
    let mut value = at.checked_add(4)?.checked_add(count.checked_mul(4)?)?;
    for row in 0..count {
        let head = at.checked_add(4)?.checked_add(row.checked_mul(4)?)?;
        let len = usize::from(b.le16(head.checked_add(2)?)?);
        each(b.byte(head)?, b.span(value, len)?);
        value = value.checked_add(len.checked_next_multiple_of(8)?)?;
    }
    Some(())
}

/// UTF-8 with a zero at its end.
pub(super) fn text(b: &[u8]) -> Option<String> {
    let b = b.split(|byte| *byte == 0).next()?;
    (!b.is_empty()).then(|| String::from_utf8_lossy(b).into_owned())
}

/// A name in a directory.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) parent: u64,
    pub(super) name: String,
    /// The inode that it leads to.
    pub(super) id: u64,
    pub(super) added: Option<Timestamp>,
    /// What it leads to, as in an inode's mode.
    pub(super) kind: u16,
}

impl Name {
    /// `hashed`: its key holds a hash, too.
    pub(super) fn parse(key: &[u8], value: &[u8], hashed: bool) -> Option<Self> {
        let (parent, _) = self::key(key)?;
        let (len, at) = if hashed { (key.le32(8)? & 0x3ff, 12) } else { (key.le16(8)?.into(), 10) };
        let name = text(key.span(at, index(len.into()))?)?;
        let added = time(value.le64(8)?);
        Some(Self { parent, name, id: value.le64(0)?, added, kind: value.le16(16)? & 15 })
    }
}

/// A stretch of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stretch {
    /// Offset in the content.
    pub(super) at: u64,
    pub(super) len: u64,
    /// First block; 0 for a hole.
    pub(super) block: u64,
}

impl Stretch {
    pub(super) fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        Some(Self { at: key.le64(8)?, len: value.le64(0)? & 0x00ff_ffff_ffff_ffff, block: value.le64(8)? })
    }
}

/// An extended attribute.
pub(super) struct Attribute {
    pub(super) name: String,
    pub(super) value: Value,
}

/// Where the value of an attribute is.
pub(super) enum Value {
    /// In the record: offset in the value, and length.
    Inside(usize, u64),
    /// Under a number of its own, with its size.
    Stream(u64, u64),
}

impl Attribute {
    pub(super) fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let name = text(key.span(10, key.le16(8)?.into())?)?;
        let (flags, len) = (value.le16(0)?, u64::from(value.le16(2)?));
        let value = if flags & 1 != 0 {
            Value::Stream(value.le64(4)?, value.le64(12)?)
        } else {
            value.span(4, index(len))?;
            Value::Inside(4, len)
        };
        Some(Self { name, value })
    }
}
