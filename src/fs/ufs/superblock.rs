//! The superblock of UFS1 and UFS2, of either byte order, and its copies in cylinder groups.
//!
//! FreeBSD `sys/ufs/ffs/fs.h`, `struct fs`; the kernel's `ufs_fs.h` for the fields of Solaris.

use crate::bytes::{Fields, latin1};
use crate::extent::Extent;
use crate::image::View;
use std::borrow::Cow;

/// Where it may begin, in the order of trial.
const PLACES: [u64; 4] = [65_536, 8192, 0, 262_144];
/// Bytes of it that are read.
const LEN: u64 = 1376;
/// Copies are looked for up to here: each group has one, the first right behind the superblock.
const NEAR: u64 = 512 << 10;
const FAR: u64 = 16 << 20;

const UFS1: u32 = 0x0001_1954;
const UFS2: u32 = 0x1954_0119;
/// UFS2 of NetBSD, with attributes.
const UFS2_NETBSD: u32 = 0x1901_2038;

/// Numbers of either byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) big: bool,
}

impl Order {
    pub(super) fn n16(self, bytes: &[u8], at: usize) -> Option<u16> {
        if self.big { bytes.be16(at) } else { bytes.le16(at) }
    }

    pub(super) fn n32(self, bytes: &[u8], at: usize) -> Option<u32> {
        if self.big { bytes.be32(at) } else { bytes.le32(at) }
    }

    pub(super) fn n64(self, bytes: &[u8], at: usize) -> Option<u64> {
        if self.big { bytes.be64(at) } else { bytes.le64(at) }
    }
}

/// What a superblock says.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    /// Byte of the volume at which it stands.
    pub(super) at: u64,
    pub(super) order: Order,
    pub(super) is_ufs2: bool,
    /// It is a copy: the first is destroyed.
    pub(super) is_copy: bool,
    /// Bytes of a block and of a fragment, in which places are counted.
    pub(super) block: u64,
    pub(super) fragment: u64,
    /// Fragments of the file system, and of a group.
    pub(super) size: u64,
    pub(super) per_group: u64,
    pub(super) groups: u32,
    pub(super) inodes_per_group: u32,
    /// Fragments from a group's start to its copy of the superblock, its own block, its inodes and its content.
    places: [u64; 4],
    /// UFS1: fragments by which each group's metadata are moved against the one before, and which groups begin anew.
    turn: (u64, u32),
    /// Bytes of a group's own block.
    pub(super) group_size: u64,
    /// The longest target that the inode itself holds; 0 where the number of blocks tells.
    pub(super) short_link: u64,
    /// Directories tell types, and inodes have 32 bits for owners.
    pub(super) is_new: bool,
    pub(super) label: String,
    pub(super) id: String,
    /// It was unmounted.
    pub(super) is_clean: bool,
    /// Soft updates, and a journal of them.
    pub(super) soft_updates: bool,
    pub(super) journal: bool,
    /// Inodes of snapshots.
    pub(super) snapshots: Vec<u32>,
}

impl Superblock {
    /// The superblock, or a copy of it where that is destroyed.
    pub(super) fn find(view: View<'_>) -> Option<Self> {
        let first = PLACES.into_iter().find_map(|at| Self::parse(view, at).filter(|sb| sb.is_first()));
        first.or_else(|| {
            let steps = (0..NEAR).step_by(512).chain((NEAR..FAR).step_by(1024));
            let copies = steps.take_while(|at| at.saturating_add(LEN) <= view.size());
            let mut possible = copies.filter(|at| {
                let magic = view.read_up_to(at.saturating_add(1372), 4);
                let numbers = [magic.le32(0), magic.be32(0)];
                numbers.iter().flatten().any(|magic| matches!(*magic, UFS1 | UFS2 | UFS2_NETBSD))
            });
            let copy = |at| Self::parse(view, at).filter(Self::is_at_home);
            possible.find_map(copy).map(|sb| Self { is_copy: true, ..sb })
        })
    }

    /// The superblock at byte `at`, if it is a possible one.
    fn parse(view: View<'_>, at: u64) -> Option<Self> {
        let raw = view.read(at, LEN).ok()?;
        let known = |magic: u32| matches!(magic, UFS1 | UFS2 | UFS2_NETBSD);
        let big = raw.be32(1372).is_some_and(known);
        (big || raw.le32(1372).is_some_and(known)).then_some(())?;
        let order = Order { big };
        let n = |at: usize| order.n32(&raw, at);
        let is_ufs2 = n(1372)? != UFS1;
        let [block, fragment] = [48, 52].map(|at| n(at).map_or(0, u64::from));
        let sound = block.is_power_of_two() && fragment.is_power_of_two() && (4096..=65_536).contains(&block);
        (sound && fragment >= 512 && fragment <= block && block / 8 <= fragment).then_some(())?;
        let size = if is_ufs2 { order.n64(&raw, 1080)? } else { n(36)?.into() };
        let places = [8, 12, 16, 20].map(|at| n(at).map_or(u64::MAX, u64::from));
        let (format, short) = (n(1324)?, n(1320)?.cast_signed());
        let is_new = is_ufs2 || format == 2 || (1..=60).contains(&short);
        let flags = if is_ufs2 || raw.byte(211)? & 0x80 != 0 { n(1312)? } else { raw.byte(211)?.into() };
        let sb = Self {
            at,
            order,
            is_ufs2,
            is_copy: false,
            block,
            fragment,
            size,
            per_group: n(188)?.into(),
            groups: n(44)?,
            inodes_per_group: n(184)?,
            places,
            turn: if is_ufs2 { (0, 0) } else { (n(24)?.into(), n(28)?) },
            group_size: n(160)?.into(),
            short_link: u64::try_from(short).unwrap_or(0).min(if is_ufs2 { 120 } else { 60 }),
            is_new,
            label: latin1(raw.span(680, 32)?),
            id: format!("{:08x}{:08x}", n(144)?, n(148)?),
            is_clean: is_clean(raw.byte(209)?, is_new),
            soft_updates: flags & 2 != 0,
            journal: flags & 8 != 0 && flags & 2 != 0,
            snapshots: (1116..1196).step_by(4).map_while(n).take_while(|n| *n != 0).collect(),
        };
        sb.is_possible().then_some(sb)
    }

    fn is_possible(&self) -> bool {
        let groups = u64::from(self.groups);
        let [copy, own, inodes, content] = self.places;
        let table = u64::from(self.inodes_per_group).saturating_mul(self.inode_size()).div_ceil(self.fragment);
        groups > 0
            && self.inodes_per_group > 0
            // Their numbers have 32 bits.
            && groups.saturating_mul(self.inodes_per_group.into()) <= 1 << 32
            && self.per_group > 0
            && copy < own
            && own < inodes
            && inodes.saturating_add(table) <= content
            && content <= self.per_group
            && self.group_size <= self.block
            && self.size > groups.saturating_sub(1).saturating_mul(self.per_group)
            && self.size <= groups.saturating_mul(self.per_group)
            && self.size <= 1 << 50
    }

    /// Whether it is where the first one belongs, and no copy that happens to stand there.
    fn is_first(&self) -> bool {
        let own = self.places.first().map_or(0, |copy| copy.saturating_mul(self.fragment));
        match self.at {
            65_536 => self.is_ufs2,
            8192 => own != 8192 || !self.is_ufs2,
            0 => true,
            _ => own != self.at,
        }
    }

    /// Whether it stands where one of its groups has a copy.
    fn is_at_home(&self) -> bool {
        let group = self.at.checked_div(self.per_group.saturating_mul(self.fragment)).unwrap_or(0);
        let first = u32::try_from(group).unwrap_or(u32::MAX);
        self.copy_at(first) == self.at
    }

    /// Byte at which a group's copy of the superblock stands.
    fn copy_at(&self, group: u32) -> u64 {
        let [copy, ..] = self.places;
        self.metadata(group).saturating_add(copy).saturating_mul(self.fragment)
    }

    /// The first fragment of a group.
    pub(super) fn start(&self, group: u32) -> u64 {
        self.per_group.saturating_mul(group.into())
    }

    /// The fragment that its metadata are counted from.
    fn metadata(&self, group: u32) -> u64 {
        let (by, mask) = self.turn;
        self.start(group).saturating_add(by.saturating_mul(u64::from(group & !mask)))
    }

    /// Byte at which a group's own block stands.
    pub(super) fn group_at(&self, group: u32) -> u64 {
        let [_, own, ..] = self.places;
        self.metadata(group).saturating_add(own).saturating_mul(self.fragment)
    }

    /// Byte at which an inode stands.
    pub(super) fn inode_at(&self, number: u32) -> Option<u64> {
        let (group, row) = (number.checked_div(self.inodes_per_group)?, number.checked_rem(self.inodes_per_group)?);
        let [_, _, inodes, _] = self.places;
        let table = self.metadata(group).checked_add(inodes)?.checked_mul(self.fragment)?;
        (group < self.groups).then_some(table.checked_add(u64::from(row).checked_mul(self.inode_size())?)?)
    }

    /// How many inodes of a group stand in the first `size` bytes of the volume.
    pub(super) fn inodes_within(&self, group: u32, size: u64) -> u32 {
        let first = group.checked_mul(self.inodes_per_group).and_then(|first| self.inode_at(first));
        let there = first.and_then(|at| size.checked_sub(at)?.checked_div(self.inode_size())).unwrap_or(0);
        u32::try_from(there).unwrap_or(u32::MAX).min(self.inodes_per_group)
    }

    /// Bytes of an inode.
    pub(super) const fn inode_size(&self) -> u64 {
        if self.is_ufs2 { 256 } else { 128 }
    }

    /// Bytes of a pointer to a block.
    pub(super) const fn pointer(&self) -> usize {
        if self.is_ufs2 { 8 } else { 4 }
    }

    /// Pointers in a block of them.
    pub(super) fn pointers(&self) -> u64 {
        self.block.checked_div(self.pointer() as u64).unwrap_or(1)
    }

    /// The number that the pointer at `at` holds.
    pub(super) fn pointer_at(&self, bytes: &[u8], at: usize) -> Option<u64> {
        if self.is_ufs2 { self.order.n64(bytes, at) } else { self.order.n32(bytes, at).map(u64::from) }
    }

    /// Bytes from a fragment on; none where they reach behind the file system.
    pub(super) fn extent(&self, fragment: u64, len: u64) -> Option<Extent> {
        let start = fragment.checked_mul(self.fragment)?;
        let end = self.size.checked_mul(self.fragment)?;
        (fragment > 0 && start.checked_add(len)? <= end).then_some(Extent::new(start, len))
    }

    /// Bytes of the file system.
    pub(super) fn bytes(&self) -> u64 {
        self.size.saturating_mul(self.fragment)
    }

    /// Its usual name.
    pub(super) const fn name(&self) -> &'static str {
        if self.is_ufs2 { "UFS2" } else { "UFS1" }
    }

    /// The bytes of an inode.
    pub(super) fn raw<'img>(&self, view: View<'img>, number: u32) -> Option<(u64, Cow<'img, [u8]>)> {
        let at = self.inode_at(number)?;
        Some((at, view.read(at, self.inode_size()).ok()?))
    }
}

/// What the mark of a clean unmount says. The BSDs write 1, and have another value while it is mounted; Solaris has several for volumes that need
/// no check, and marks those that are in use or bad.
const fn is_clean(mark: u8, is_new: bool) -> bool {
    if is_new { mark == 1 } else { mark != 0 && mark != 0xff }
}
