//! Inodes: what a file is, its times, and its two forks: where its data lie, and its attributes.
//!
//! "XFS Algorithms & Data Structures", "On-disk Inode"; kernel `xfs_format.h` for version 3, large times and counters.

use super::checksum;
use super::superblock::Superblock;
use crate::bytes::Fields;
use crate::extent::Extent;
use crate::fs::{Access, EntryKind, Times, posix};
use crate::time::Timestamp;

/// `di_flags`.
const FLAG_REALTIME: u16 = 0x1;
/// `di_flags2`.
const FLAG2_BIGTIME: u64 = 0x8;
const FLAG2_NREXT64: u64 = 0x10;
const FLAG2_METADATA: u64 = 0x20;

/// Where the forks begin: behind the fields of versions 1 and 2, and of 3.
const CORE_2: u64 = 100;
const CORE_3: u64 = 176;
/// Large times count from here: 1901-12-13.
const BIGTIME_EPOCH: i64 = -(1 << 31);

/// How a fork is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Device,
    /// The bytes themselves stand in the inode.
    Local,
    /// A list of extents stands in the inode.
    Extents,
    /// The root of a B+tree of extents stands in the inode.
    Tree,
    Other(u8),
}

impl Format {
    const fn of(number: u8) -> Self {
        match number {
            0 => Self::Device,
            1 => Self::Local,
            2 => Self::Extents,
            3 => Self::Tree,
            other => Self::Other(other),
        }
    }
}

/// A fork of an inode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fork {
    pub(super) format: Format,
    /// Extents that it has.
    pub(super) extents: u64,
    /// Its bytes in the inode, relative to the volume.
    pub(super) area: Extent,
}

/// An inode.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    /// Where it stands in the volume.
    pub(super) at: u64,
    pub(super) number: u64,
    pub(super) mode: u32,
    pub(super) size: u64,
    pub(super) links: u32,
    /// Blocks that its forks take.
    pub(super) blocks: u64,
    pub(super) owner: [u32; 2],
    pub(super) times: Times,
    pub(super) data: Fork,
    pub(super) attributes: Option<Fork>,
    /// True where a time has a billion nanoseconds or more.
    pub(super) impossible_time: bool,
    /// False where its checksum does not fit.
    pub(super) sound: bool,
    /// False where it carries another number, or the UUID of another volume.
    pub(super) own: bool,
    flags: u16,
    flags2: u64,
}

impl Inode {
    /// The inode whose bytes stand at `at`; `None` where they are none.
    pub(super) fn parse(sb: &Superblock, b: &[u8], at: u64, number: u64) -> Option<Self> {
        if b.span(0, 2)? != b"IN" {
            return None;
        }
        let version = b.byte(4)?;
        let wide = version == 3;
        let flags2 = if wide { b.be64(120)? } else { 0 };
        let many = flags2 & FLAG2_NREXT64 != 0;
        let core = if wide { CORE_3 } else { CORE_2 };
        let literal = Extent::between(core, sb.inode_size);
        let offset = u64::from(b.byte(82)?).saturating_mul(8); // di_forkoff
        let split = if offset == 0 { literal.len } else { offset.min(literal.len) };
        let data = Fork {
            format: Format::of(b.byte(5)?),
            extents: if many { b.be64(24)? } else { u64::from(b.be32(76)?) }, // di_big_nextents, di_nextents
            area: Extent::new(literal.start, split).shifted(at),
        };
        let attributes = (offset > 0).then_some(Fork {
            format: Format::of(b.byte(83)?),
            extents: if many { u64::from(b.be32(76)?) } else { u64::from(b.be16(80)?) }, // di_big_anextents, di_anextents
            area: Extent::between(literal.start.saturating_add(split), literal.end()).shifted(at),
        });
        let big = flags2 & FLAG2_BIGTIME != 0;
        let stamps = [32usize, 40, 48, 144]; // di_atime, di_mtime, di_ctime, di_crtime
        let time =
            |at: usize| if big { large_time(b.be64(at)?) } else { time(b.be32(at)?, b.be32(at.checked_add(4)?)?) };
        let impossible = |at: usize| b.be32(at.saturating_add(4)).is_some_and(|nanos| nanos >= 1_000_000_000);
        Some(Self {
            at,
            number,
            mode: u32::from(b.be16(2)?),
            size: b.be64(56)?,
            links: if version == 1 { u32::from(b.be16(6)?) } else { b.be32(16)? },
            blocks: b.be64(64)?,
            owner: [b.be32(8)?, b.be32(12)?],
            times: Times {
                atime: time(32),
                mtime: time(40),
                ctime: time(48),
                btime: if wide { time(144) } else { None },
                dtime: None,
            },
            data,
            attributes,
            impossible_time: !big && stamps.into_iter().take(if wide { 4 } else { 3 }).any(impossible),
            sound: !wide || checksum::holds(b, 100),
            own: !wide || (b.be64(152)? == number && b.span(160, 16)? == sb.meta_uuid), // di_ino, di_uuid
            flags: b.be16(90)?,
            flags2,
        })
        .filter(|inode| matches!(version, 1..=3) && inode.mode <= 0xffff)
    }

    /// What it is; `None` where it is free, or its mode says nothing possible.
    pub(super) const fn kind(&self) -> Option<EntryKind> {
        posix::kind_of_mode(self.mode)
    }

    /// Its data lie on the realtime device.
    pub(super) const fn is_realtime(&self) -> bool {
        self.flags & FLAG_REALTIME != 0
    }

    /// It belongs to the file system itself.
    pub(super) const fn is_metadata(&self) -> bool {
        self.flags2 & FLAG2_METADATA != 0
    }

    pub(super) const fn access(&self) -> Access {
        let [uid, gid] = self.owner;
        Access { mode: self.mode, uid, gid }
    }
}

/// Signed seconds and nanoseconds.
fn time(seconds: u32, nanos: u32) -> Option<Timestamp> {
    if seconds == 0 && nanos == 0 {
        return None;
    }
    let seconds = i64::from(seconds.cast_signed());
    Timestamp::unix_nano(seconds, nanos).or(Some(Timestamp::unix(seconds)))
}

/// Nanoseconds since the end of 1901.
fn large_time(steps: u64) -> Option<Timestamp> {
    let seconds = i64::try_from(steps / 1_000_000_000).ok()?.checked_add(BIGTIME_EPOCH)?;
    Timestamp::unix_nano(seconds, u32::try_from(steps % 1_000_000_000).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_times_count_from_1901() {
        assert_eq!(large_time(0).map(|t| t.rfc3339()).as_deref(), Some("1901-12-13T20:45:52.000000000Z"));
        // Kernel `xfs_format.h`: the largest is in the year 2486.
        assert!(large_time(u64::MAX).is_some_and(|t| t.rfc3339().starts_with("2486-07-02T20:20:25")));
        assert_eq!(time(u32::MAX, 5).map(|t| t.rfc3339()).as_deref(), Some("1969-12-31T23:59:59.000000005Z"));
        assert_eq!(time(0, 0), None);
    }
}
