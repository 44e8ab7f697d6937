//! What is left of nodes that are gone: blocks in free space whose footers say which nodes they were.
//!
//! F2FS writes nothing twice in one place: a node that is deleted stays as it was last written until its segment is used again,
//! and with it every older version. Of each the newest is kept.

use super::F2fs;
use super::node::{BODY, FOOTER, Footer, Inode};
use super::superblock::{BLOCK, SEGMENT};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};

/// Nodes that are kept in memory.
const MAX: usize = 1 << 22;

/// Nodes that are gone, by their number and their inode's.
pub(super) struct Remains {
    nodes: HashMap<(u32, u32), Node>,
    /// More are gone than are kept.
    pub(super) cut: bool,
}

#[derive(Clone, Copy)]
struct Node {
    /// Lower half of the version of the checkpoint that it was written behind.
    version: u32,
    block: u32,
    /// Another copy is as new, in another segment: which of them is the last is not known.
    is_doubtful: bool,
}

impl Node {
    /// The newer of two copies: logs are written forward in a segment.
    fn newer(self, other: Self) -> Self {
        let same = |node: Self| u64::from(node.block) / SEGMENT;
        let newer = if (self.version, self.block) < (other.version, other.block) { other } else { self };
        let is_rival = same(self) != same(other) || self.is_doubtful || other.is_doubtful;
        Self { is_doubtful: if self.version == other.version { is_rival } else { newer.is_doubtful }, ..newer }
    }
}

/// An inode that is gone.
pub(super) struct Remain {
    pub(super) inode: Inode,
    /// It was written after the checkpoint: it is newer than what is listed, not older.
    pub(super) is_newer: bool,
}

impl Remains {
    /// Looks through the free blocks of segments that hold nodes.
    pub(super) fn find(fs: &F2fs<'_>) -> Self {
        let in_segment = |segment: &u32| {
            let extent = fs.disk.sb.extent(fs.disk.first_block(*segment), fs.disk.sb.segment_blocks);
            let free = fs.segments.free.within(extent);
            let blocks = free.as_slice().iter().flat_map(|stretch| stretch.start / BLOCK..stretch.end() / BLOCK);
            blocks.filter_map(|block| node(fs, block)).collect::<Vec<_>>()
        };
        let found: Vec<((u32, u32), Node)> = fs.segments.of_nodes.par_iter().flat_map_iter(in_segment).collect();
        let (mut nodes, mut cut) = (HashMap::<(u32, u32), Node>::new(), false);
        for (key, node) in found {
            if nodes.len() >= MAX && !nodes.contains_key(&key) {
                cut = true;
                continue;
            }
            let kept = nodes.entry(key).or_insert(node);
            *kept = node.newer(*kept);
        }
        Self { nodes, cut }
    }

    /// Byte of the volume at which a node that is gone begins.
    pub(super) fn byte(&self, node: u32, inode: u32) -> Option<u64> {
        self.nodes.get(&(node, inode)).map(|node| u64::from(node.block).saturating_mul(BLOCK))
    }

    /// Whether it is not known which copy of a node was the last.
    pub(super) fn is_doubtful(&self, node: u32, inode: u32) -> bool {
        self.nodes.get(&(node, inode)).is_some_and(|node| node.is_doubtful)
    }

    /// The inodes that are gone, by number: those whose number the table does not have, or has for another file.
    pub(super) fn inodes(&self, fs: &F2fs<'_>) -> BTreeMap<u32, Remain> {
        let current = fs.disk.version();
        let gone =
            self.nodes.par_iter().filter(|((node, inode), _)| node == inode).filter_map(|((number, _), node)| {
                let inode = fs.disk.inode_at(node.block.into()).filter(|inode| inode.number == *number)?;
                let live = fs.disk.inode(*number);
                let is_gone = live.is_none_or(|live| live.generation != inode.generation) && inode.kind().is_some();
                is_gone.then_some((*number, Remain { inode, is_newer: node.version == current }))
            });
        gone.collect()
    }

    /// How many inodes were written, and synchronised, after the checkpoint.
    pub(super) fn newer(&self, fs: &F2fs<'_>) -> usize {
        let current = fs.disk.version();
        self.nodes.iter().filter(|((node, inode), found)| node == inode && found.version == current).count()
    }
}

/// The node in a free block.
fn node(fs: &F2fs<'_>, block: u64) -> Option<((u32, u32), Node)> {
    let footer = Footer::parse(&fs.disk.view.read(fs.disk.sb.byte(block).checked_add(BODY)?, FOOTER).ok()?)?;
    let numbers = fs.disk.numbers();
    let is_possible = |number: u32| number > 3 && u64::from(number) < numbers;
    let known = is_possible(footer.node) && is_possible(footer.inode) && footer.version <= fs.disk.version();
    // Behind the last block of a log the next is none.
    let follows = footer.next == 0 || fs.disk.sb.is_main(footer.next);
    (known && follows).then_some((
        (footer.node, footer.inode),
        Node { version: footer.version, block: u32::try_from(block).ok()?, is_doubtful: false },
    ))
}
