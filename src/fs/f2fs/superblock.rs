//! The superblock and its copy (kernel `f2fs_fs.h`, `struct f2fs_super_block`).
//!
//! Both stand 1,024 bytes into the first two blocks. All numbers are little-endian, addresses count blocks of the device.

use super::checksum;
use crate::bytes::{Fields, utf16_le};
use crate::extent::Extent;
use crate::image::View;

const MAGIC: u32 = 0xf2f5_2010;
/// Bytes of a block, the only size that is read: others are those of the pages of rare machines.
pub(super) const BLOCK: u64 = 4096;
/// Blocks of a segment, for which a row of the SIT has bits.
pub(super) const SEGMENT: u64 = 512;
/// Where the superblock stands in its block, its size, and the place of its checksum.
const OFFSET: u64 = 1024;
const SIZE: u64 = 3072;
const CHECKSUM: usize = 3068;

/// `feature`.
pub(super) const EXTRA_ATTRIBUTES: u32 = 0x8;
pub(super) const INODE_CHECKSUM: u32 = 0x20;
pub(super) const FLEXIBLE_XATTR: u32 = 0x40;
const SUPER_CHECKSUM: u32 = 0x800;
/// All that are known: what they change is read.
const KNOWN: u32 = 0x7fff;

/// What a volume says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Superblock {
    /// Byte of the volume.
    pub(super) at: u64,
    pub(super) segment_blocks: u64,
    pub(super) blocks: u64,
    pub(super) main_segments: u64,
    pub(super) sit_segments: u64,
    pub(super) nat_segments: u64,
    pub(super) checkpoint: u64,
    pub(super) sit: u64,
    pub(super) nat: u64,
    pub(super) ssa: u64,
    pub(super) main: u64,
    pub(super) root: u32,
    /// Inodes of the file system's own: of nodes, of metadata, of quotas.
    pub(super) own: Vec<u32>,
    pub(super) uuid: [u8; 16],
    pub(super) label: String,
    pub(super) payload: u64,
    pub(super) features: u32,
    /// Another device holds a part of it.
    pub(super) spread: bool,
    /// Whether its checksum, if it has one, is right.
    pub(super) sound: bool,
}

impl Superblock {
    /// The first, or its copy where that is none.
    pub(super) fn find(view: View<'_>) -> Option<Self> {
        [OFFSET, OFFSET + BLOCK].into_iter().find_map(|at| Self::read(view, at))
    }

    /// The superblock at a byte of the volume.
    fn read(view: View<'_>, at: u64) -> Option<Self> {
        let b = view.read(at, SIZE).ok()?;
        if b.le32(0)? != MAGIC {
            return None;
        }
        let features = b.le32(2180)?;
        let number = |at: usize| b.le32(at).map(u64::from);
        let own = [100, 104, 2745, 2749, 2753].into_iter().filter_map(|at| b.le32(at)).collect();
        let label = utf16_le(b.span(124, 1024)?);
        let sb = Self {
            at,
            segment_blocks: 1u64.checked_shl(b.le32(20)?)?,
            blocks: b.le64(36)?,
            main_segments: number(68)?,
            sit_segments: number(56)?,
            nat_segments: number(60)?,
            checkpoint: number(76)?,
            sit: number(80)?,
            nat: number(84)?,
            ssa: number(88)?,
            main: number(92)?,
            root: b.le32(96)?,
            own,
            uuid: b.array(108)?,
            label: label.split('\0').next().unwrap_or_default().to_owned(),
            payload: number(1664)?,
            features,
            // The path of the first of several devices.
            spread: b.byte(2201)? != 0,
            sound: features & SUPER_CHECKSUM == 0 || checksum::of(MAGIC, b.get(..CHECKSUM)?) == b.le32(CHECKSUM)?,
        };
        (b.le32(16)? == BLOCK.ilog2() && sb.is_possible()).then_some(sb)
    }

    /// Whether its parts lie one behind the other.
    fn is_possible(&self) -> bool {
        let parts = [self.checkpoint, self.sit, self.nat, self.ssa, self.main, self.blocks];
        let two = self.segment_blocks.saturating_mul(2);
        let table = |from: u64, segments: u64, to: u64| from.saturating_add(segments.saturating_mul(SEGMENT)) <= to;
        self.segment_blocks == SEGMENT
            && table(self.sit, self.sit_segments, self.nat)
            && table(self.nat, self.nat_segments, self.ssa)
            && table(self.ssa, self.main_segments / SEGMENT, self.main)
            && parts.is_sorted()
            && self.sit.checked_sub(self.checkpoint).is_some_and(|blocks| blocks >= two)
            && self.nat_segments > 0
            && self.main.checked_add(self.main_blocks()).is_some_and(|end| end <= self.blocks)
    }

    /// Where the copy of the first one differs from it.
    pub(super) fn differs(&self, view: View<'_>) -> Option<u64> {
        let other = OFFSET + BLOCK;
        let of = |at: u64| view.read(at, CHECKSUM as u64).ok();
        (self.at == OFFSET && of(OFFSET) != of(other)).then_some(other)
    }

    pub(super) const fn main_blocks(&self) -> u64 {
        self.main_segments.saturating_mul(self.segment_blocks)
    }

    /// Whether a block is one of those that files may use.
    pub(super) const fn is_main(&self, block: u32) -> bool {
        let block = block as u64;
        block >= self.main && block < self.main.saturating_add(self.main_blocks())
    }

    /// Byte of the volume at which a block begins.
    pub(super) const fn byte(&self, block: u64) -> u64 {
        block.saturating_mul(BLOCK)
    }

    pub(super) const fn extent(&self, block: u64, count: u64) -> Extent {
        Extent::new(self.byte(block), self.byte(count))
    }

    pub(super) const fn size(&self) -> u64 {
        self.byte(self.blocks)
    }

    pub(super) const fn has(&self, feature: u32) -> bool {
        self.features & feature != 0
    }

    /// Features that are not known here.
    pub(super) const fn unknown(&self) -> u32 {
        self.features & !KNOWN
    }
}
