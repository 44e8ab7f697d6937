//! Nodes: inodes, and the lists of addresses that they lead to (kernel `f2fs_fs.h`, `struct f2fs_node`).
//!
//! A node takes a block and ends with a footer of 24 bytes: its number, that of its inode, flags, the checkpoint that it was written
//! for, the next block of its log. An inode has up to 923 addresses, of which extra attributes take some in front and extended
//! attributes some behind, then five nodes: two of addresses, two of nodes of addresses, one more level.

use super::superblock::{BLOCK, EXTRA_ATTRIBUTES, FLEXIBLE_XATTR, INODE_CHECKSUM};
use super::{Disk, checksum};
use crate::bytes::{Fields, index};
use crate::fs::{Access, EntryKind, Times, posix};
use crate::time::Timestamp;
use std::borrow::Cow;

/// Bytes of the footer, and of what a node says in front of it.
pub(super) const FOOTER: u64 = 24;
pub(super) const BODY: u64 = BLOCK - FOOTER;
/// Where the addresses of an inode begin, how many there are, and where its nodes are named.
const ADDRESSES: usize = 360;
const MOST: usize = 923;
pub(super) const NODES: usize = 4052;
/// Addresses that inline attributes take where no size is said.
const INLINE_XATTR: usize = 50;
/// `i_inline`.
const HAS_XATTR: u8 = 0x1;
const HAS_DATA: u8 = 0x2;
const HAS_NAMES: u8 = 0x4;
const HAS_EXTRA: u8 = 0x20;
/// `i_advise`.
const LOST_PARENT: u8 = 0x2;
const ENCRYPTED: u8 = 0x4;
const VERITY: u8 = 0x40;
/// `i_flags`.
const COMPRESSED: u32 = 0x4;
/// Sizes of the extra attributes up to the field of the checksum, of the time of birth, of compression.
const UP_TO_CHECKSUM: usize = 12;
const UP_TO_BIRTH: usize = 24;
const UP_TO_COMPRESSION: usize = 36;

/// What a node's footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) node: u32,
    pub(super) inode: u32,
    /// Lower half of the checkpoint's version.
    pub(super) version: u32,
    pub(super) next: u32,
}

impl Footer {
    /// That of a block.
    pub(super) fn read(block: &[u8]) -> Option<Self> {
        Self::parse(block.get(index(BODY)..)?)
    }

    /// The footer itself.
    pub(super) fn parse(b: &[u8]) -> Option<Self> {
        Some(Self { node: b.le32(0)?, inode: b.le32(4)?, version: b.le32(12)?, next: b.le32(20)? })
    }
}

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) algorithm: u8,
    /// Blocks of a cluster.
    pub(super) cluster: u64,
}

/// An inode.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) number: u32,
    /// Byte of the volume.
    pub(super) at: u64,
    pub(super) mode: u32,
    owner: [u32; 2],
    pub(super) links: u32,
    pub(super) generation: u32,
    pub(super) size: u64,
    pub(super) times: Times,
    pub(super) impossible_time: bool,
    /// Where its directory and its name in it were when it was made.
    pub(super) parent: u32,
    pub(super) name: Vec<u8>,
    pub(super) lost_parent: bool,
    pub(super) encrypted: bool,
    pub(super) verity: bool,
    pub(super) inline_data: bool,
    pub(super) inline_names: bool,
    /// Its flags say of its content what its kind cannot have.
    pub(super) is_odd: bool,
    /// Blocks that it takes, its nodes among them.
    pub(super) blocks: u64,
    pub(super) packed: Option<Packed>,
    /// Addresses: how many of the field the extra attributes take, and where inline attributes begin.
    first: usize,
    end: usize,
    pub(super) xattr: u32,
    pub(super) sound: bool,
    block: Box<[u8]>,
}

impl Inode {
    /// The inode in a block, if the footer says that it is one.
    pub(super) fn parse(disk: &Disk<'_>, block: Cow<'_, [u8]>, at: u64) -> Option<Self> {
        let footer = Footer::read(&block).filter(|footer| footer.node == footer.inode)?;
        let b: &[u8] = &block;
        let (flags, inline, advise) = (b.le32(80)?, b.byte(3)?, b.byte(2)?);
        let extra =
            if inline & HAS_EXTRA != 0 && disk.sb.has(EXTRA_ATTRIBUTES) { usize::from(b.le16(360)?) } else { 0 };
        let has = |size: usize| extra >= size;
        let reserved = match () {
            () if disk.sb.has(FLEXIBLE_XATTR) && extra > 0 => usize::from(b.le16(362)?),
            () if inline & (HAS_XATTR | HAS_NAMES) != 0 => INLINE_XATTR,
            () => 0,
        };
        let first = extra / 4;
        let end = MOST.checked_sub(reserved).filter(|end| first < *end)?;
        let stamp = |seconds: usize, nanos: usize| Some((b.le64(seconds)?.cast_signed(), b.le32(nanos)?));
        let all = [stamp(32, 56)?, stamp(40, 60)?, stamp(48, 64)?];
        let birth = if has(UP_TO_BIRTH) { stamp(372, 380) } else { None };
        let [atime, ctime, mtime] = all.map(time);
        let packed = || {
            let cluster = 1u64.checked_shl(b.byte(393)?.into()).filter(|blocks| (2..=256).contains(blocks))?;
            Some(Packed { algorithm: b.byte(392)?, cluster })
        };
        let name_len = usize::try_from(b.le32(88)?).ok()?.min(255);
        let mut inode = Self {
            number: footer.node,
            at,
            mode: b.le16(0)?.into(),
            owner: [b.le32(4)?, b.le32(8)?],
            links: b.le32(12)?,
            generation: b.le32(68)?,
            size: b.le64(16)?,
            times: Times { btime: birth.and_then(time), mtime, ctime, atime, dtime: None },
            impossible_time: all.into_iter().chain(birth).any(|(_, nanos)| nanos >= 1_000_000_000),
            parent: b.le32(84)?,
            name: b.span(92, name_len)?.to_vec(),
            lost_parent: advise & LOST_PARENT != 0,
            encrypted: advise & ENCRYPTED != 0,
            verity: advise & VERITY != 0,
            inline_data: inline & HAS_DATA != 0,
            inline_names: inline & HAS_NAMES != 0,
            is_odd: false,
            blocks: b.le64(24)?,
            packed: if flags & COMPRESSED != 0 && has(UP_TO_COMPRESSION) { packed() } else { None },
            first,
            end,
            xattr: b.le32(76)?,
            sound: true,
            block: Box::default(),
        };
        if inode.kind() == Some(EntryKind::Directory) {
            // For directories the flag says that what is put in them is packed.
            inode.packed = None;
            inode.is_odd = std::mem::take(&mut inode.inline_data);
        } else {
            inode.is_odd = std::mem::take(&mut inode.inline_names);
        }
        if disk.sb.has(INODE_CHECKSUM) && has(UP_TO_CHECKSUM) {
            inode.sound = sum(disk, b, footer.inode) == b.le32(368);
        }
        inode.block = block.into_owned().into();
        Some(inode)
    }

    /// What it is; `None` where its mode says nothing possible.
    pub(super) const fn kind(&self) -> Option<EntryKind> {
        posix::kind_of_mode(self.mode)
    }

    pub(super) const fn access(&self) -> Access {
        let [uid, gid] = self.owner;
        Access { mode: self.mode, uid, gid }
    }

    /// Its addresses, of which a file whose clusters are packed uses as many as make whole clusters.
    pub(super) fn addresses(&self) -> &[u8] {
        let count = self.end.saturating_sub(self.first);
        let count = self.packed.map_or(count, |packed| whole(count, packed.cluster));
        let from = self.first.saturating_mul(4).saturating_add(ADDRESSES);
        self.block.span(from, count.saturating_mul(4)).unwrap_or_default()
    }

    /// Byte of the volume at which inline data or names begin, and the field: one address in front of it is kept free.
    pub(super) fn inline(&self) -> (u64, &[u8]) {
        let from = self.first.saturating_add(1).saturating_mul(4).saturating_add(ADDRESSES);
        let to = self.end.saturating_mul(4).saturating_add(ADDRESSES);
        (self.at.saturating_add(from as u64), self.block.get(from..to).unwrap_or_default())
    }

    /// The field of inline attributes.
    pub(super) fn inline_attributes(&self) -> &[u8] {
        self.block.get(self.end.saturating_mul(4).saturating_add(ADDRESSES)..NODES).unwrap_or_default()
    }

    /// The five nodes that it leads to.
    pub(super) fn nodes(&self) -> [u32; 5] {
        [0, 4, 8, 12, 16].map(|at| self.block.le32(NODES.saturating_add(at)).unwrap_or(0))
    }

    /// The number in the first address, by which special files say their device.
    pub(super) fn device(&self) -> (Option<u32>, Option<u32>) {
        let addresses = self.addresses();
        (addresses.le32(0), addresses.le32(4))
    }
}

/// As many addresses as make whole clusters.
pub(super) fn whole(count: usize, cluster: u64) -> usize {
    let cluster = usize::try_from(cluster).unwrap_or(usize::MAX);
    count.saturating_sub(count.checked_rem(cluster).unwrap_or(0))
}

fn time((seconds, nanos): (i64, u32)) -> Option<Timestamp> {
    Timestamp::unix_nano(seconds, nanos.min(999_999_999))
}

/// The checksum of an inode: over the UUID, its number, its generation, and all of its block with zeros for the field.
fn sum(disk: &Disk<'_>, b: &[u8], number: u32) -> Option<u32> {
    let seed = checksum::of(checksum::of(u32::MAX, &disk.sb.uuid), &number.to_le_bytes());
    let seed = checksum::of(seed, b.span(68, 4)?);
    let head = checksum::of(checksum::of(seed, b.get(..368)?), &[0; 4]);
    Some(checksum::of(head, b.get(372..)?))
}
