//! Blocks as objects: their header and the checksum over them.
//!
//! Apple File System Reference, "Objects".

use crate::bytes::Fields;
use crate::image::View;
use std::borrow::Cow;

pub(super) const SUPERBLOCK: u32 = 1;
pub(super) const NODE_ROOT: u32 = 2;
pub(super) const NODE: u32 = 3;
pub(super) const SPACEMAN: u32 = 5;
pub(super) const OMAP: u32 = 11;
pub(super) const CHECKPOINT_MAP: u32 = 12;
pub(super) const VOLUME: u32 = 13;
/// Subtype of the nodes of a volume's tree.
pub(super) const FS_TREE: u32 = 14;
/// The bit of a type that says that its number is that of a block.
pub(super) const PHYSICAL: u32 = 0x4000_0000;

/// The blocks of a container.
#[derive(Clone, Copy)]
pub(super) struct Blocks<'img> {
    pub(super) view: View<'img>,
    /// Bytes of a block.
    pub(super) size: u64,
}

impl<'img> Blocks<'img> {
    /// A block as it is.
    pub(super) fn read(&self, block: u64) -> Option<Cow<'img, [u8]>> {
        self.view.read(self.place(block), self.size).ok()
    }

    /// A block whose checksum holds.
    pub(super) fn sound(&self, block: u64) -> Option<Cow<'img, [u8]>> {
        self.read(block).filter(|bytes| checksum_holds(bytes))
    }

    /// A sound object of a type.
    pub(super) fn object(&self, block: u64, wanted: u32) -> Option<Cow<'img, [u8]>> {
        self.sound(block).filter(|bytes| kind(bytes) == Some(wanted))
    }

    /// Where a block begins.
    pub(super) const fn place(&self, block: u64) -> u64 {
        block.saturating_mul(self.size)
    }
}

/// The type of an object, without its flags.
pub(super) fn kind(b: &[u8]) -> Option<u32> {
    Some(b.le32(24)? & 0xffff)
}

/// The number of the transaction that wrote an object.
pub(super) fn xid(b: &[u8]) -> u64 {
    b.le64(16).unwrap_or(0)
}

/// Fletcher's checksum over 32-bit words, behind the field that holds it.
pub(super) fn checksum_holds(b: &[u8]) -> bool {
    const MODULUS: u64 = 0xffff_ffff;
    let (Some(expected), Some(rest)) = (b.le64(0), b.get(8..)) else { return false };
    let (words, _) = rest.as_chunks::<4>();
    let (mut first, mut second) = (0u64, 0u64);
    // So few words at a time that nothing overflows.
    for words in words.chunks(1 << 12) {
        for word in words {
            first = first.wrapping_add(u32::from_le_bytes(*word).into());
            second = second.wrapping_add(first);
        }
        (first, second) = (first % MODULUS, second % MODULUS);
    }
    let low = MODULUS.saturating_sub(first.wrapping_add(second) % MODULUS);
    let high = MODULUS.saturating_sub(first.wrapping_add(low) % MODULUS);
    expected == (high << 32 | low) && expected != 0
}
