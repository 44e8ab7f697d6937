//! Blocks of trees: keys with pointers to other blocks, or keys with items.
//!
//! btrfs documentation, "On-disk Format", "Header", "Node" and "Leaf".

use super::Disk;
use crate::bytes::{Fields, index};
use std::borrow::Cow;

/// Bytes of the header, of an item's row and of a pointer.
pub(super) const HEADER: usize = 101;
const ITEM: usize = 25;
const POINTER: usize = 33;

/// What items are found by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) object: u64,
    pub(super) kind: u8,
    pub(super) offset: u64,
}

impl Key {
    pub(super) const fn new(object: u64, kind: u8, offset: u64) -> Self {
        Self { object, kind, offset }
    }

    pub(super) fn parse(b: &[u8], at: usize) -> Option<Self> {
        let [kind_at, offset_at] = [at.checked_add(8)?, at.checked_add(9)?];
        Some(Self { object: b.le64(at)?, kind: b.byte(kind_at)?, offset: b.le64(offset_at)? })
    }
}

/// A pointer to another block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) key: Key,
    pub(super) to: u64,
    pub(super) generation: u64,
}

/// A block of a tree.
pub(super) struct Node<'img> {
    pub(super) bytes: Cow<'img, [u8]>,
    /// Where it stands on the device.
    pub(super) at: u64,
    /// Whether its checksum fits.
    pub(super) sound: bool,
    /// What is wrong with it, or with the copies that were tried before.
    pub(super) wrong: Option<String>,
}

impl<'img> Node<'img> {
    /// The block of an address: the first copy that is sound; where none is, one that is at least that block.
    ///
    /// # Errors
    /// What is wrong, where no copy can be used.
    pub(super) fn read(disk: &Disk<'img>, logical: u64, level: u8, generation: Option<u64>) -> Result<Self, String> {
        let copies = disk.chunks.spot(logical).ok_or_else(|| format!("address {logical} lies in no chunk"))?.copies;
        if copies.is_empty() {
            return Err(format!("the block of address {logical} is on another device"));
        }
        let (mut second, mut damaged) = (None, 0u32);
        for at in copies {
            let Ok(bytes) = disk.view.read(at, disk.sb.node) else { continue };
            let fits = bytes.le64(48) == Some(logical) && bytes.byte(100) == Some(level);
            let current = generation.is_none_or(|generation| bytes.le64(80) == Some(generation));
            let own = bytes.span(32, 16) == Some(&disk.sb.metadata_uuid[..]);
            if fits && current && own && disk.sb.sums.holds(&bytes) {
                let wrong = (damaged > 0)
                    .then(|| format!("a copy of the block of address {logical} is damaged; another is read"));
                return Ok(Self { bytes, at, sound: true, wrong });
            }
            damaged = damaged.saturating_add(1);
            if fits && current && own {
                let wrong = Some(format!("the checksum of the block of address {logical} does not fit"));
                second = second.or(Some(Self { bytes, at, sound: false, wrong }));
            }
        }
        second.ok_or_else(|| format!("the block of address {logical} is damaged"))
    }

    pub(super) fn pointers(&self) -> impl Iterator<Item = Pointer> + '_ {
        (0..count(&self.bytes)).map_while(|row| {
            let at = row.checked_mul(POINTER)?.checked_add(HEADER)?;
            let (to, generation) = (self.bytes.le64(at.checked_add(17)?)?, self.bytes.le64(at.checked_add(25)?)?);
            Some(Pointer { key: Key::parse(&self.bytes, at)?, to, generation })
        })
    }
}

/// How many items or pointers a block says that it has.
pub(super) fn count(b: &[u8]) -> usize {
    index(b.le32(96).unwrap_or(0).into())
}

/// The items of a leaf: each with its key, the place of its bytes in the leaf, and these. Rows that point outside are left
/// out.
pub(super) fn items(b: &[u8]) -> impl Iterator<Item = (Key, usize, &[u8])> + '_ {
    let rows = (0..count(b)).map_while(|row| {
        let at = row.checked_mul(ITEM)?.checked_add(HEADER)?;
        Some((Key::parse(b, at)?, b.le32(at.checked_add(17)?)?, b.le32(at.checked_add(21)?)?))
    });
    rows.filter_map(|(key, offset, len)| {
        let at = index(offset.into()).checked_add(HEADER)?;
        Some((key, at, b.span(at, index(len.into()))?))
    })
}

/// Whether the rows of a leaf are in order and point inside it.
pub(super) fn is_ordered(b: &[u8]) -> bool {
    let mut last = None;
    let mut seen = 0usize;
    for (key, ..) in items(b) {
        if last.is_some_and(|last| last >= key) {
            return false;
        }
        last = Some(key);
        seen = seen.saturating_add(1);
    }
    seen == count(b)
}
