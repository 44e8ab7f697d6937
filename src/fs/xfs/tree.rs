//! The B+trees of an allocation group: free space and inode chunks. Blocks are named by their number within the group.
//!
//! "XFS Algorithms & Data Structures", "Short Format B+trees".

use super::{Disk, checksum};
use crate::bytes::Fields;
use std::borrow::Cow;
use std::collections::HashSet;

/// No tree is deeper.
const MAX_LEVEL: u16 = 12;

/// A kind of tree.
pub(super) struct Kind {
    name: &'static str,
    /// `bb_magic` without and with checksums.
    magic: [&'static [u8; 4]; 2],
    /// Bytes of a record and of a key.
    record: usize,
    key: usize,
}

/// Free extents, sorted by block.
pub(super) const BY_BLOCK: Kind = Kind { name: "free space (bnobt)", magic: [b"ABTB", b"AB3B"], record: 8, key: 8 };
/// The same, sorted by size.
pub(super) const BY_SIZE: Kind = Kind { name: "free space (cntbt)", magic: [b"ABTC", b"AB3C"], record: 8, key: 8 };
/// Chunks of 64 inodes.
pub(super) const INODES: Kind = Kind { name: "inodes (inobt)", magic: [b"IABT", b"IAB3"], record: 16, key: 4 };

/// What is wrong with a tree: byte of the volume and remark.
pub(super) type Wrong = Vec<(u64, String)>;

/// The walk over one tree.
pub(super) struct Walk<'d, 'img> {
    pub(super) disk: &'d Disk<'img>,
    pub(super) group: u64,
    pub(super) kind: &'d Kind,
    pub(super) wrong: Wrong,
    /// Blocks that were read: a sound tree has each once.
    seen: HashSet<u32>,
}

impl<'d, 'img> Walk<'d, 'img> {
    pub(super) fn new(disk: &'d Disk<'img>, group: u64, kind: &'d Kind) -> Self {
        Self { disk, group, kind, wrong: Vec::new(), seen: HashSet::new() }
    }

    /// Gives every record to `each`, in order. `levels`: how many the group's header says that the tree has.
    pub(super) fn run(&mut self, root: u32, levels: u32, each: &mut dyn FnMut(&[u8])) {
        match levels.checked_sub(1).and_then(|level| u16::try_from(level).ok()).filter(|level| *level <= MAX_LEVEL) {
            Some(level) => self.node(root, level, each),
            None => self.wrong.push((self.start(), format!("the tree of {} has {levels} levels", self.kind.name))),
        }
    }

    fn node(&mut self, block: u32, level: u16, each: &mut dyn FnMut(&[u8])) {
        let name = self.kind.name;
        let Some(at) = self.disk.sb.group_byte(self.group, block.into()) else {
            return self
                .wrong
                .push((self.start(), format!("block {block} of the tree of {name} lies outside its group")));
        };
        if !self.seen.insert(block) {
            return self.wrong.push((at, format!("the tree of {name} has block {block} twice")));
        }
        let Some(bytes) = self.block(at, level) else {
            return self.wrong.push((at, format!("block {block} is no block of level {level} of the tree of {name}")));
        };
        let Some(body) = bytes.get(self.header()..) else { return };
        let count = usize::from(bytes.be16(6).unwrap_or(0)); // bb_numrecs
        if level == 0 {
            let records = body.chunks_exact(self.kind.record).take(count);
            if records.len() < count {
                self.wrong.push((at, format!("block {block} of the tree of {name} has {count} records")));
            }
            return records.for_each(each);
        }
        let most = body.len().checked_div(self.kind.key.saturating_add(4)).unwrap_or(0);
        if count > most {
            self.wrong.push((at, format!("block {block} of the tree of {name} has {count} pointers")));
        }
        let pointers = body.get(most.saturating_mul(self.kind.key)..).unwrap_or_default();
        for row in 0..count.min(most) {
            let Some(child) = pointers.be32(row.saturating_mul(4)) else { break };
            self.node(child, level.saturating_sub(1), each);
        }
    }

    /// Where the group begins.
    pub(super) fn start(&self) -> u64 {
        self.disk.sb.group_byte(self.group, 0).unwrap_or(0)
    }

    fn header(&self) -> usize {
        if self.disk.sb.has_checksums() { 56 } else { 16 }
    }

    /// The block of the tree at byte `at`; a checksum that does not fit is noted, and the block is used.
    fn block(&mut self, at: u64, level: u16) -> Option<Cow<'img, [u8]>> {
        let sb = &self.disk.sb;
        let bytes = self.disk.read(at, sb.block_size)?;
        let magic = if sb.has_checksums() { self.kind.magic[1] } else { self.kind.magic[0] };
        let fits = bytes.span(0, 4)? == magic && bytes.be16(4)? == level; // bb_level
        if fits && sb.has_checksums() && !checksum::holds(&bytes, 52) {
            self.wrong.push((at, format!("the checksum of a block of the tree of {} does not fit", self.kind.name)));
        }
        fits.then_some(bytes)
    }
}
