//! B-trees: their nodes, and the walk to their leaves.
//!
//! Apple File System Reference, "B-Trees".

use super::object::{Blocks, NODE, NODE_ROOT, kind};
use crate::bytes::Fields;
use crate::fuel::Fuel;
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

/// Where a node's data begin.
const DATA: usize = 56;
/// Bytes of what the root says of the whole tree, at its end.
const INFO: usize = 40;
/// Levels of a tree.
const MAX_LEVEL: u16 = 16;

/// A node.
pub(super) struct Node<'a> {
    bytes: Cow<'a, [u8]>,
    flags: u16,
    pub(super) level: u16,
    count: usize,
    /// Where keys begin, and where values end.
    keys: usize,
    values: usize,
}

impl<'a> Node<'a> {
    /// What a block holds, if that is a node.
    pub(super) fn new(bytes: Cow<'a, [u8]>) -> Option<Self> {
        matches!(kind(&bytes)?, NODE | NODE_ROOT).then_some(())?;
        let (flags, level) = (bytes.le16(32)?, bytes.le16(34)?);
        let count = usize::try_from(bytes.le32(36)?).ok()?;
        let (table, table_len) = (usize::from(bytes.le16(40)?), usize::from(bytes.le16(42)?));
        (table == 0 && count <= bytes.len() / 4 && level <= MAX_LEVEL).then_some(())?;
        let is_root = flags & 1 != 0;
        let values = bytes.len().checked_sub(if is_root { INFO } else { 0 })?;
        Some(Self { flags, level, count, keys: DATA.checked_add(table_len)?, values, bytes })
    }

    pub(super) const fn is_leaf(&self) -> bool {
        self.flags & 2 != 0 && self.level == 0
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Number of the object that it is.
    pub(super) fn oid(&self) -> u64 {
        self.bytes.le64(8).unwrap_or(0)
    }

    pub(super) fn xid(&self) -> u64 {
        super::object::xid(&self.bytes)
    }

    /// Where key and value of a row stand in the block. `fixed`: their lengths, where all have the same.
    fn row(&self, row: usize, fixed: (usize, usize)) -> Option<(Range<usize>, Range<usize>)> {
        let ((key, key_len), (value, value_len)) = if self.flags & 4 != 0 {
            let at = DATA.checked_add(row.checked_mul(4)?)?;
            ((self.bytes.le16(at)?, fixed.0), (self.bytes.le16(at.checked_add(2)?)?, fixed.1))
        } else {
            let at = DATA.checked_add(row.checked_mul(8)?)?;
            let field = |skip: usize| self.bytes.le16(at.checked_add(skip)?);
            ((field(0)?, field(2)?.into()), (field(4)?, field(6)?.into()))
        };
        let key = self.keys.checked_add(key.into())?;
        // A value may be missing: then its offset is -1.
        let value = if value == u16::MAX { self.values } else { self.values.checked_sub(value.into())? };
        Some((key..key.checked_add(key_len)?, value..value.checked_add(value_len)?.min(self.values)))
    }

    /// A row: key, value, and where the value stands in the block.
    pub(super) fn get(&self, row: usize, fixed: (usize, usize)) -> Option<(&[u8], &[u8], usize)> {
        let (key, value) = self.row(row, fixed).filter(|_| row < self.count)?;
        let at = value.start;
        Some((self.bytes.get(key)?, self.bytes.get(value)?, at))
    }

    /// All rows that can be read.
    pub(super) fn rows(&self, fixed: (usize, usize)) -> impl Iterator<Item = (&[u8], &[u8], usize)> {
        (0..self.count).filter_map(move |row| self.get(row, fixed))
    }
}

/// The leaves of a tree, by block, and what could not be read on the way.
#[derive(Default)]
pub(super) struct Walked {
    pub(super) leaves: Vec<u64>,
    pub(super) wrong: Vec<(u64, String)>,
}

/// Walks a tree from the root at a block; `place` says in which block a child is. Leaves below an inner node are not read.
pub(super) fn walk(
    blocks: &Blocks<'_>,
    root: u64,
    key_len: usize,
    place: &dyn Fn(u64) -> Option<u64>,
    fuel: &mut Fuel,
) -> Walked {
    let (mut walked, mut seen) = (Walked::default(), HashSet::new());
    let mut way = vec![(root, None::<u16>)];
    while let Some((block, level)) = way.pop() {
        if fuel.burn(1).is_err() {
            walked.wrong.push((blocks.place(root), "a tree has more nodes than the container has blocks".to_owned()));
            break;
        }
        if !seen.insert(block) {
            walked.wrong.push((blocks.place(block), format!("the tree leads to the node in block {block} twice")));
            continue;
        }
        if level == Some(0) {
            walked.leaves.push(block);
            continue;
        }
        let node = blocks.sound(block).and_then(Node::new).filter(|n| level.is_none_or(|level| level == n.level));
        let Some(node) = node else {
            walked.wrong.push((
                blocks.place(block),
                format!("the node in block {block} is damaged: what it leads to is missing"),
            ));
            continue;
        };
        let Some(below) = node.level.checked_sub(1) else {
            walked.leaves.push(block);
            continue;
        };
        for row in (0..node.count()).rev() {
            let child = node.get(row, (key_len, 8)).and_then(|(_, value, _)| value.le64(0));
            match child.and_then(place) {
                Some(child) => way.push((child, Some(below))),
                None => {
                    let what = format!("row {row} of the node in block {block} leads nowhere");
                    walked.wrong.push((blocks.place(block), what));
                }
            }
        }
    }
    walked
}
