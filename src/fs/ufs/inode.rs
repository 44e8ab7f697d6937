//! Inodes of UFS1 (of 4.4BSD, and of 4.2BSD and Solaris, which keep owners elsewhere) and of UFS2.
//!
//! FreeBSD `sys/ufs/ufs/dinode.h`; the kernel's `ufs_fs.h` for Solaris.

use super::superblock::Superblock;
use crate::extent::Extent;
use crate::fs::{Access, EntryKind, Times, posix};
use crate::time::Timestamp;

/// The file is a snapshot of the volume.
const SNAPSHOT: u32 = 0x0020_0000;
/// Flags by their names in `chflags`.
const FLAGS: [(u32, &str); 11] = [
    (0x1, "nodump"),
    (0x2, "uchg"),
    (0x4, "uappnd"),
    (0x8, "opaque"),
    (0x10, "uunlnk"),
    (0x8000, "hidden"),
    (0x1_0000, "arch"),
    (0x2_0000, "schg"),
    (0x4_0000, "sappnd"),
    (0x10_0000, "sunlnk"),
    (SNAPSHOT, "snapshot"),
];
/// Blocks that the inode itself names.
pub(super) const DIRECT: usize = 12;

/// An inode.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    /// Byte of the volume at which it stands.
    pub(super) at: u64,
    pub(super) mode: u32,
    pub(super) links: u16,
    owner: [u32; 2],
    pub(super) size: u64,
    /// Sectors of 512 bytes that it holds.
    pub(super) blocks: u64,
    pub(super) times: Times,
    pub(super) flags: u32,
    /// Pointers: twelve to blocks, three to blocks of pointers.
    pub(super) direct: [u64; DIRECT],
    pub(super) indirect: [u64; 3],
    /// The bytes of the pointers, which may hold the target of a link.
    pub(super) pointers: Extent,
    /// UFS2: bytes of attributes, and the two blocks that hold them.
    pub(super) attributes: (u64, [u64; 2]),
    /// A time's fraction is none.
    pub(super) impossible_time: bool,
}

impl Inode {
    /// Reads one that stands at byte `at`.
    pub(super) fn parse(sb: &Superblock, raw: &[u8], at: u64) -> Option<Self> {
        let o = sb.order;
        let n = |at: usize| o.n32(raw, at);
        let first = if sb.is_ufs2 { 112 } else { 40 };
        let pointer = |row: usize| sb.pointer_at(raw, row.checked_mul(sb.pointer())?.checked_add(first)?);
        let mut direct = [0; DIRECT];
        for (row, place) in direct.iter_mut().enumerate() {
            *place = pointer(row)?;
        }
        let indirect = [pointer(12)?, pointer(13)?, pointer(14)?];
        let ids = [u32::from(o.n16(raw, 4)?), u32::from(o.n16(raw, 6)?)];
        let owner = match (sb.is_ufs2, sb.is_new) {
            (true, _) => [n(4)?, n(8)?],
            (false, true) => [n(112)?, n(116)?],
            // Solaris marks those that do not fit into 16 bits.
            (false, false) if ids == [0xffff, 0xffff] => [n(116)?, n(120)?],
            (false, false) => ids,
        };
        let mut impossible = false;
        let mut time = |seconds: usize, fraction: usize| {
            let (seconds, fraction) = match sb.is_ufs2 {
                true => (o.n64(raw, seconds)?.cast_signed(), n(fraction)?),
                false => (i64::from(n(seconds)?.cast_signed()), n(fraction)?),
            };
            // Older systems keep microseconds there, or nothing.
            let nanos = if sb.is_new { fraction } else { fraction.checked_mul(1000).unwrap_or(0) };
            impossible |= nanos >= 1_000_000_000;
            let time = Timestamp::unix_nano(seconds, nanos).unwrap_or_else(|| Timestamp::unix(seconds));
            (seconds != 0 || fraction != 0).then_some(time)
        };
        let times = match sb.is_ufs2 {
            true => Times {
                btime: time(56, 76),
                mtime: time(40, 64),
                ctime: time(48, 72),
                atime: time(32, 68),
                dtime: None,
            },
            false => Times { btime: None, mtime: time(24, 28), ctime: time(32, 36), atime: time(16, 20), dtime: None },
        };
        let len = (sb.pointer() as u64).saturating_mul(15);
        Some(Self {
            at,
            mode: o.n16(raw, 0)?.into(),
            links: o.n16(raw, 2)?,
            owner,
            size: o.n64(raw, if sb.is_ufs2 { 16 } else { 8 })?,
            blocks: if sb.is_ufs2 { o.n64(raw, 24)? } else { n(104)?.into() },
            times,
            flags: if sb.is_ufs2 { n(88)? } else { n(100).filter(|_| sb.is_new).unwrap_or(0) },
            direct,
            indirect,
            pointers: Extent::new(at.saturating_add(first as u64), len),
            attributes: if sb.is_ufs2 { (n(92)?.into(), [o.n64(raw, 96)?, o.n64(raw, 104)?]) } else { (0, [0; 2]) },
            impossible_time: impossible,
        })
    }

    /// What it is; none where its mode says nothing possible.
    pub(super) fn kind(&self) -> Option<EntryKind> {
        posix::kind_of_mode(self.mode)
    }

    pub(super) fn access(&self) -> Access {
        let [uid, gid] = self.owner;
        Access { mode: self.mode, uid, gid }
    }

    pub(super) const fn is_snapshot(&self) -> bool {
        self.flags & SNAPSHOT != 0
    }

    /// The names of its flags.
    pub(super) fn flag_names(&self) -> Option<String> {
        let names: Vec<&str> = FLAGS.iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, name)| *name).collect();
        (!names.is_empty()).then(|| names.join(","))
    }

    /// Whether it was ever used, if nobody uses it now.
    pub(super) fn is_left(&self) -> bool {
        self.kind().is_some() || self.times.ctime.is_some() || self.holds_pointers()
    }

    /// Whether it still names blocks.
    pub(super) fn holds_pointers(&self) -> bool {
        self.direct.iter().chain(&self.indirect).any(|pointer| *pointer != 0)
    }

    /// Whether its target stands in the place of its pointers.
    pub(super) fn is_short_link(&self, sb: &Superblock) -> bool {
        let fits = if sb.short_link > 0 { self.size < sb.short_link } else { self.blocks == 0 };
        self.kind() == Some(EntryKind::Symlink) && fits && self.size <= self.pointers.len
    }

    /// The number of a device, which each system divides in its own way.
    pub(super) fn device(&self) -> Option<u64> {
        let [number, ..] = self.direct;
        matches!(self.mode & 0xf000, 0x2000 | 0x6000).then_some(number)
    }
}
