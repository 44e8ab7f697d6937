//! B-trees: the nodes of the catalog, of the extents overflow file and of the attributes file.
//!
//! Apple TN1150, "B-Trees". Records are read from the chain of leaf nodes; where it is broken, from all leaf nodes that the
//! map of nodes calls used.

use crate::bytes::{Fields, index, offset};
use crate::content::Run;
use crate::extent::Extent;
use crate::fs::disk::Disk;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a node's descriptor.
pub(super) const DESCRIPTOR: usize = 14;
const LEAF: u8 = 0xff;
/// Sizes of a node, those that are usual first.
const SIZES: [u64; 7] = [4096, 8192, 16384, 32768, 2048, 1024, 512];
/// Nodes that are looked at to find out their size.
const LOOK: u64 = 256;

/// A B-tree.
pub(super) struct Tree<'img> {
    disk: Arc<Disk<'img>>,
    runs: Vec<Extent>,
    /// Offset in the file at which each run begins.
    starts: Vec<u64>,
    /// Bytes of a node.
    pub(super) node_size: u64,
    /// Nodes that the file has room for.
    pub(super) count: u32,
    /// Leaf nodes in use, in the order of their keys as long as the chain is whole.
    pub(super) leaves: Vec<u32>,
    /// What is damaged, and where.
    pub(super) wrong: Vec<(u64, String)>,
}

/// A node.
pub(super) struct Node<'a> {
    pub(super) number: u32,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Node<'a> {
    /// Bytes that may be a node.
    pub(super) const fn new(number: u32, bytes: Cow<'a, [u8]>) -> Self {
        Self { number, bytes }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn next(&self) -> u32 {
        self.bytes.be32(0).unwrap_or(0)
    }

    fn count(&self) -> usize {
        self.bytes.be16(10).unwrap_or(0).into()
    }

    /// Where the `row`-th offset from the end stands, and what it says.
    fn offset(&self, row: usize) -> Option<usize> {
        let back = row.checked_add(1)?.checked_mul(2)?;
        self.bytes.be16(self.bytes.len().checked_sub(back)?).map(usize::from)
    }

    /// True where it is a leaf whose first record stands where it has to.
    pub(super) fn is_leaf(&self) -> bool {
        let kind = self.bytes.byte(8) == Some(LEAF) && self.bytes.byte(9) == Some(1);
        kind && self.count() > 0 && self.offset(0) == Some(DESCRIPTOR)
    }

    /// Where a record stands in the node.
    fn range(&self, row: usize) -> Option<Range<usize>> {
        let (from, to) = (self.offset(row)?, self.offset(row.checked_add(1)?)?);
        let table = self.bytes.len().checked_sub(self.count().checked_add(1)?.checked_mul(2)?)?;
        (from >= DESCRIPTOR && from < to && to <= table).then_some(from..to)
    }

    /// Its records: offset in the node and bytes. One whose place is damaged has none.
    pub(super) fn records(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let most = self.bytes.len() / 4;
        (0..self.count().min(most)).map(|row| {
            let range = self.range(row).unwrap_or(0..0);
            (range.start, self.bytes.get(range).unwrap_or_default())
        })
    }

    /// The bytes between its last record and the table of their offsets: what was removed may still stand there.
    pub(super) fn slack(&self) -> Range<usize> {
        let from = self.offset(self.count()).unwrap_or(DESCRIPTOR).max(DESCRIPTOR);
        let table = self.count().saturating_add(1).saturating_mul(2);
        from..self.bytes.len().saturating_sub(table)
    }
}

impl<'img> Tree<'img> {
    /// The tree whose file has these runs.
    pub(super) fn read(disk: &Arc<Disk<'img>>, name: &str, runs: &[Run]) -> Self {
        let runs: Vec<Extent> =
            runs.iter().filter_map(|r| if let Run::Data(e) = r { Some(*e) } else { None }).collect();
        let mut end = 0u64;
        let begin = |run: &Extent| {
            let start = end;
            end = end.saturating_add(run.len);
            start
        };
        let starts = runs.iter().map(begin).collect();
        let disk = Arc::clone(disk);
        let mut tree = Self { disk, runs, starts, node_size: 0, count: 0, leaves: Vec::new(), wrong: Vec::new() };
        if end > 0 {
            tree.begin(name, end);
        }
        tree
    }

    fn begin(&mut self, name: &str, size: u64) {
        let head = self.bytes(0, 512).unwrap_or_default().into_owned();
        let told = head.be16(DESCRIPTOR.saturating_add(18)).map(u64::from).filter(|size| SIZES.contains(size));
        let is_header = head.byte(8) == Some(1) && told.is_some();
        self.node_size = told.filter(|_| is_header).unwrap_or_else(|| self.guess(size));
        self.count = u32::try_from(size.checked_div(self.node_size).unwrap_or(0)).unwrap_or(u32::MAX);
        let field = |at: usize| head.be32(DESCRIPTOR.saturating_add(at)).unwrap_or(0);
        let (records, first) = (field(6), field(10));
        let broken =
            if is_header { self.chain(first, records) } else { Some("its header node is destroyed".to_owned()) };
        if let Some(what) = broken {
            let at = self.place(0).unwrap_or(0);
            self.wrong.push((at, format!("{name}: {what}; all its leaf nodes in use are read")));
            self.all_leaves(is_header);
        }
    }

    /// The size of which most nodes are leaves.
    fn guess(&mut self, size: u64) -> u64 {
        let leaves = |node_size: &u64| {
            self.node_size = *node_size;
            let count = u32::try_from(size.checked_div(*node_size).unwrap_or(0).min(LOOK)).unwrap_or(0);
            let found = (0..count).filter(|n| self.node(*n).is_some_and(|node| node.is_leaf())).count();
            // Of two sizes that fit, the larger one has half as many nodes.
            offset(found).saturating_mul(*node_size)
        };
        SIZES.into_iter().rev().max_by_key(leaves).unwrap_or(4096)
    }

    /// Follows the chain of leaves; says where it is broken.
    fn chain(&mut self, first: u32, records: u32) -> Option<String> {
        let (mut next, mut seen, mut found) = (first, Bits::new(self.count), 0u64);
        while next != 0 {
            if !seen.insert(next) {
                return Some(format!(
                    "the chain of leaf nodes leads to node {next}, where it was, or which is not there"
                ));
            }
            let Some(node) = self.node(next).filter(Node::is_leaf) else {
                return Some(format!("node {next} is no leaf node"));
            };
            found = found.saturating_add(offset(node.count()));
            let number = std::mem::replace(&mut next, node.next());
            self.leaves.push(number);
        }
        (found != u64::from(records))
            .then(|| format!("its leaf nodes hold {found} records, its header counts {records}"))
    }

    /// Adds all leaf nodes that the map calls used, and that the chain did not lead to.
    fn all_leaves(&mut self, has_map: bool) {
        let used = if has_map { self.used() } else { None };
        let mut seen = Bits::new(self.count);
        self.leaves.iter().for_each(|number| {
            seen.insert(*number);
        });
        for number in 1..self.count {
            let is_used = used.as_ref().is_none_or(|used| used.contains(number));
            if is_used && !seen.contains(number) && self.node(number).is_some_and(|node| node.is_leaf()) {
                self.leaves.push(number);
            }
        }
    }

    /// The nodes that the map calls used: a record of the header node and of each map node.
    fn used(&self) -> Option<Bits> {
        let (mut used, mut number, mut next) = (Bits::new(self.count), 0u32, 0u32);
        for row in 0..self.count {
            let node = self.node(next)?;
            let range = node.range(if row == 0 { 2 } else { 0 })?;
            for byte in node.bytes.get(range)? {
                for bit in (0..8).rev() {
                    if number < self.count && byte >> bit & 1 != 0 {
                        used.insert(number);
                    }
                    number = number.saturating_add(1);
                }
            }
            next = node.next();
            if next == 0 || number >= self.count {
                return (number >= self.count).then_some(used);
            }
        }
        None
    }

    /// A node.
    pub(super) fn node(&self, number: u32) -> Option<Node<'img>> {
        let at = u64::from(number).checked_mul(self.node_size)?;
        Some(Node { number, bytes: self.bytes(at, self.node_size)? })
    }

    fn bytes(&self, at: u64, len: u64) -> Option<Cow<'img, [u8]>> {
        let (run, skip) = self.run_at(at)?;
        if run.len.checked_sub(skip)? >= len {
            return self.disk.read(run.start.checked_add(skip)?, len);
        }
        let mut whole = Vec::with_capacity(index(len));
        for piece in self.pieces(at, len)? {
            whole.extend_from_slice(&self.disk.read(piece.start, piece.len)?);
        }
        Some(Cow::Owned(whole))
    }

    fn run_at(&self, at: u64) -> Option<(Extent, u64)> {
        let row = self.starts.partition_point(|start| *start <= at).checked_sub(1)?;
        let (run, skip) = (*self.runs.get(row)?, at.checked_sub(*self.starts.get(row)?)?);
        (skip < run.len).then_some((run, skip))
    }

    /// The stretches of the volume in which bytes of the file lie.
    fn pieces(&self, mut at: u64, len: u64) -> Option<Vec<Extent>> {
        let (end, mut out) = (at.checked_add(len)?, Vec::new());
        while at < end {
            let (run, skip) = self.run_at(at)?;
            let len = run.len.checked_sub(skip)?.min(end.checked_sub(at)?);
            out.push(Extent::new(run.start.checked_add(skip)?, len));
            at = at.checked_add(len)?;
        }
        Some(out)
    }

    /// The runs of `len` bytes at `at` of a node, as a mount would see them.
    pub(super) fn runs_in(&self, number: u32, at: usize, len: u64) -> Option<Vec<Run>> {
        let at = u64::from(number).checked_mul(self.node_size)?.checked_add(offset(at))?;
        let pieces = self.pieces(at, len)?;
        Some(pieces.into_iter().flat_map(|piece| self.disk.places(piece)).map(Run::Data).collect())
    }

    /// Where byte `at` of the file really stands.
    fn place(&self, at: u64) -> Option<u64> {
        let (run, skip) = self.run_at(at)?;
        Some(self.disk.place(run.start.checked_add(skip)?))
    }

    /// Where byte `at` of a node really stands.
    pub(super) fn place_in(&self, number: u32, at: usize) -> u64 {
        let file = u64::from(number).saturating_mul(self.node_size).saturating_add(offset(at));
        self.place(file).unwrap_or(0)
    }

    /// The nodes that the leaves' chain does not hold, in order.
    pub(super) fn others(&self) -> Vec<u32> {
        let mut leaves = Bits::new(self.count);
        self.leaves.iter().for_each(|number| {
            leaves.insert(*number);
        });
        (1..self.count).filter(|number| !leaves.contains(*number)).collect()
    }
}

/// A set of numbers of nodes.
struct Bits {
    words: Vec<u64>,
    count: u32,
}

impl Bits {
    fn new(count: u32) -> Self {
        Self { words: vec![0; index(u64::from(count) / 64).saturating_add(1)], count }
    }

    /// True where it was not there before, and may be there.
    fn insert(&mut self, number: u32) -> bool {
        let bit = 1u64 << (number % 64);
        match self.words.get_mut(index(u64::from(number) / 64)) {
            Some(word) if number < self.count && *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    fn contains(&self, number: u32) -> bool {
        self.words.get(index(u64::from(number) / 64)).is_some_and(|word| word >> (number % 64) & 1 != 0)
    }
}
