//! A volume at a time: its superblock, the leaves of its tree, the paths of its directories, and the records of a number.
//!
//! Apple File System Reference, "Volumes", "File-System Objects" and "Sealed Volumes".

use super::btree::{Node, walk};
use super::object::{Blocks, FS_TREE, PHYSICAL, VOLUME, checksum_holds, xid};
use super::omap::Omap;
use super::record::{self, Attribute, EXTENT, INODE, Inode, Key, NAME, Name, PRIVATE, ROOT, Stretch, XATTR, key};
use crate::bytes::Fields;
use crate::fuel::Fuel;
use crate::time::Timestamp;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Below this path stands what no directory leads to.
pub(super) const ORPHANS: &str = "/$OrphanFiles";
/// No path may be deeper.
const MAX_DEPTH: usize = 1024;
/// Leaves that hold the records of one number; of each, where all names together lead to so many that no sound tree does.
const MAX_LEAVES: usize = 1 << 14;
const FEW_LEAVES: usize = 8;
/// Snapshots of a volume.
const MAX_SNAPSHOTS: usize = 4096;

/// A volume's superblock.
#[derive(Clone)]
pub(super) struct Head {
    /// Its block.
    pub(super) at: u64,
    pub(super) xid: u64,
    pub(super) name: String,
    incompatible: u64,
    flags: u64,
    root_type: u32,
    root: u64,
    /// Block of its object map.
    pub(super) omap: u64,
    /// Block of the tree that tells of its snapshots.
    snapshots: u64,
    /// Block of the tree that tells where content is, on a sealed volume.
    stretches: u64,
}

impl Head {
    pub(super) fn read(blocks: &Blocks<'_>, at: u64) -> Option<Self> {
        let raw = blocks.object(at, VOLUME)?;
        let b: &[u8] = &raw;
        (b.span(32, 4)? == b"APSB").then_some(())?;
        let incompatible = b.le64(56)?;
        let sealed = incompatible & 0x20 != 0;
        Some(Self {
            at,
            xid: xid(b),
            name: record::text(b.span(704, 256)?).unwrap_or_default(),
            incompatible,
            flags: b.le64(264)?,
            root_type: b.le32(116)?,
            root: b.le64(136)?,
            omap: b.le64(128)?,
            snapshots: b.le64(152)?,
            stretches: if sealed { b.le64(1032)? } else { 0 },
        })
    }

    /// True where its files are encrypted.
    pub(super) const fn is_encrypted(&self) -> bool {
        self.flags & 1 == 0
    }

    /// True where the object map says that the root of its tree is encrypted.
    pub(super) fn root_is_encrypted(&self, omap: &Omap) -> bool {
        self.root_type & PHYSICAL == 0 && omap.is_encrypted(self.root, self.xid)
    }

    /// Whether the keys of names hold a hash.
    pub(super) const fn is_hashed(&self) -> bool {
        self.incompatible & 9 != 0
    }

    /// Its snapshots, those that were made last first: number of the transaction, block of the superblock, time, name.
    pub(super) fn snapshots(&self, blocks: &Blocks<'_>, fuel: &mut Fuel) -> (Vec<Snapshot>, Vec<(u64, String)>) {
        let walked = walk(blocks, self.snapshots, 8, &Some, fuel);
        let (mut all, mut wrong) = (Vec::new(), walked.wrong);
        for leaf in walked.leaves {
            let Some(node) = blocks.sound(leaf).and_then(Node::new) else {
                wrong.push((blocks.place(leaf), format!("snapshots: the leaf in block {leaf} is damaged")));
                continue;
            };
            all.extend(node.rows((8, 0)).filter_map(|(key, value, _)| snapshot(key, value)).take(MAX_SNAPSHOTS));
        }
        all.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.xid));
        (all, wrong)
    }
}

/// A snapshot of a volume.
pub(super) struct Snapshot {
    pub(super) xid: u64,
    /// Block of the superblock that it keeps.
    pub(super) at: u64,
    pub(super) made: Option<Timestamp>,
    pub(super) name: String,
}

fn snapshot(raw: &[u8], value: &[u8]) -> Option<Snapshot> {
    let (xid, kind) = key(raw)?;
    (kind == 1).then_some(())?;
    let name = record::text(value.span(50, value.le16(48)?.into())?)?;
    Some(Snapshot { xid, at: value.le64(8)?, made: record::time(value.le64(16)?), name })
}

/// A leaf: its first key, and its block.
struct Leaf {
    first: Key,
    block: u64,
}

/// What the records of a number tell.
#[derive(Default)]
pub(super) struct File {
    /// The inode, and where it stands.
    pub(super) inode: Option<(Inode, u64)>,
    /// Attributes, and where the value of each stands.
    pub(super) attributes: Vec<(Attribute, u64)>,
    pub(super) stretches: Vec<Stretch>,
    /// True where there are more records than are read.
    pub(super) is_cut: bool,
}

/// The tree of a volume.
pub(super) struct Tree<'img> {
    pub(super) blocks: Blocks<'img>,
    pub(super) head: Head,
    leaves: Vec<Leaf>,
    /// Leaves that are read for the records of one number.
    most: usize,
    paths: HashMap<u64, Arc<str>>,
    /// Numbers that names lead to, sorted.
    named: Vec<u64>,
    /// Where content is, on a sealed volume: by number.
    sealed: Vec<(u64, Stretch)>,
    pub(super) wrong: Vec<(u64, String)>,
}

/// What a leaf tells of the whole tree.
struct Looked {
    leaf: Leaf,
    directories: Vec<(u64, (u64, String))>,
    named: Vec<u64>,
    is_damaged: bool,
}

impl<'img> Tree<'img> {
    /// The tree as it was in a transaction.
    pub(super) fn open(blocks: Blocks<'img>, head: Head, omap: &Omap, xid: u64, fuel: &mut Fuel) -> Self {
        let physical = head.root_type & PHYSICAL != 0;
        let place = |oid: u64| if physical { Some(oid) } else { omap.block(oid, xid) };
        let mut tree = Self {
            blocks,
            leaves: Vec::new(),
            most: MAX_LEAVES,
            paths: HashMap::new(),
            named: Vec::new(),
            sealed: Vec::new(),
            wrong: Vec::new(),
            head,
        };
        let mut walked = match place(tree.head.root) {
            Some(root) => walk(&blocks, root, 0, &place, fuel),
            None => super::btree::Walked {
                wrong: vec![(blocks.place(tree.head.at), "the root of its tree is not there".to_owned())],
                leaves: Vec::new(),
            },
        };
        if !walked.wrong.is_empty() {
            add_others(&blocks, omap, xid, &mut walked.leaves);
        }
        tree.wrong = walked.wrong;
        tree.look(&walked.leaves);
        tree.read_sealed(fuel);
        tree
    }

    /// Reads all leaves once.
    fn look(&mut self, leaves: &[u64]) {
        let looked: Vec<Option<Looked>> = leaves.par_iter().map(|block| self.look_at(*block)).collect();
        let mut directories = HashMap::new();
        for (looked, block) in looked.into_iter().zip(leaves) {
            let is_damaged = looked.as_ref().is_none_or(|looked| looked.is_damaged);
            if is_damaged {
                let what = format!("the leaf in block {block} is damaged");
                self.wrong.push((self.blocks.place(*block), what));
            }
            let Some(looked) = looked else { continue };
            self.leaves.push(looked.leaf);
            directories.extend(looked.directories);
            self.named.extend(looked.named);
        }
        self.leaves.sort_by_key(|leaf| leaf.first);
        self.named.sort_unstable();
        self.limit();
        self.named.dedup();
        self.paths.insert(ROOT, Arc::from(""));
        self.paths.insert(PRIVATE, Arc::from("/private-dir"));
        let mut numbers: Vec<u64> = directories.keys().copied().collect();
        numbers.sort_unstable();
        numbers.into_iter().for_each(|number| self.resolve(number, &directories));
    }

    fn look_at(&self, block: u64) -> Option<Looked> {
        let raw = self.blocks.read(block)?;
        let is_damaged = !checksum_holds(&raw);
        let node = Node::new(raw).filter(Node::is_leaf)?;
        let (mut directories, mut named) = (Vec::new(), Vec::new());
        let (first, _, _) = node.get(0, (0, 0))?;
        let leaf = Leaf { first: key(first)?, block };
        for name in self.names_in(&node) {
            named.push(name.id);
            if name.kind == 4 {
                directories.push((name.id, (name.parent, name.name)));
            }
        }
        Some(Looked { leaf, directories, named, is_damaged })
    }

    /// Says how many leaves are read for one number: names of a damaged tree may all lead to the number that has most.
    fn limit(&mut self) {
        let first = |id: u64| self.leaves.partition_point(|leaf| leaf.first.0 < id);
        let leaves = |id: &u64| first(id.saturating_add(1)).saturating_sub(first(*id)).saturating_add(1);
        let all = self.named.iter().map(leaves).fold(0usize, usize::saturating_add);
        let sound = self.named.len().saturating_add(self.leaves.len()).saturating_mul(16).saturating_add(1 << 20);
        if all > sound {
            self.most = FEW_LEAVES;
        }
    }

    /// The path of a directory, with those on the way to it.
    fn resolve(&mut self, number: u64, directories: &HashMap<u64, (u64, String)>) {
        let (mut way, mut at) = (Vec::new(), number);
        let base = loop {
            if let Some(path) = self.paths.get(&at) {
                break Arc::clone(path);
            }
            match directories.get(&at) {
                Some((parent, name)) if way.len() < MAX_DEPTH && !way.iter().any(|(id, _)| *id == at) => {
                    way.push((at, name));
                    at = *parent;
                }
                _ => break Arc::from(ORPHANS),
            }
        };
        let mut path = base.to_string();
        for (id, name) in way.into_iter().rev() {
            path = [&path, "/", name].concat();
            self.paths.insert(id, Arc::from(path.as_str()));
        }
    }

    fn read_sealed(&mut self, fuel: &mut Fuel) {
        if self.head.stretches == 0 {
            return;
        }
        let walked = walk(&self.blocks, self.head.stretches, 16, &Some, fuel);
        self.wrong.extend(walked.wrong);
        for leaf in walked.leaves {
            let Some(node) = self.blocks.sound(leaf).and_then(Node::new) else {
                let what = format!("the leaf in block {leaf}, which tells where content is, is damaged");
                self.wrong.push((self.blocks.place(leaf), what));
                continue;
            };
            let row = |(key, value, _): (&[u8], &[u8], usize)| {
                let len = value.le64(0)? & 0x00ff_ffff_ffff_ffff;
                Some((key.le64(0)?, Stretch { at: key.le64(8)?, len, block: value.le64(8)? }))
            };
            self.sealed.extend(node.rows((16, 16)).filter_map(row));
        }
        self.sealed.sort_unstable();
    }

    /// The names that a leaf holds, but for those of the root and of the private directory themselves.
    fn names_in<'n>(&'n self, node: &'n Node<'_>) -> impl Iterator<Item = Name> + 'n {
        let rows = node.rows((0, 0)).filter(|(raw, ..)| key(raw).is_some_and(|(_, kind)| kind == NAME));
        let names = rows.filter_map(|(raw, value, _)| Name::parse(raw, value, self.head.is_hashed()));
        names.filter(|name| name.parent != 1)
    }

    /// How many leaves there are.
    pub(super) const fn leaves(&self) -> usize {
        self.leaves.len()
    }

    /// The blocks of its leaves.
    pub(super) fn leaf_blocks(&self) -> impl Iterator<Item = u64> + '_ {
        self.leaves.iter().map(|leaf| leaf.block)
    }

    /// The names in the `number`-th leaf.
    pub(super) fn names(&self, number: usize) -> Vec<Name> {
        let block = self.leaves.get(number).map(|leaf| leaf.block);
        let node = block.and_then(|block| self.blocks.read(block)).and_then(Node::new);
        node.map(|node| self.names_in(&node).collect()).unwrap_or_default()
    }

    /// The inodes in the leaf in a block.
    pub(super) fn inodes_in(&self, block: u64) -> Vec<Inode> {
        let Some(node) = self.blocks.read(block).and_then(Node::new) else { return Vec::new() };
        let inode = |(raw, value, _): (&[u8], &[u8], usize)| match key(raw)? {
            (id, INODE) => Inode::parse(id, value),
            _ => None,
        };
        node.rows((0, 0)).filter_map(inode).collect()
    }

    /// Whether a name leads to a number.
    pub(super) fn is_named(&self, id: u64) -> bool {
        self.named.binary_search(&id).is_ok() || id == ROOT || id == PRIVATE
    }

    /// The path of a directory.
    pub(super) fn path(&self, id: u64) -> Option<&Arc<str>> {
        self.paths.get(&id)
    }

    /// Gives each record of a number: type, key, value, and where the value stands. False where there are more than are read.
    fn each(&self, id: u64, mut each: impl FnMut(u8, &[u8], &[u8], u64)) -> bool {
        let first = self.leaves.partition_point(|leaf| leaf.first.0 < id).saturating_sub(1);
        let leaves = self.leaves.get(first..).unwrap_or_default();
        let leaves = leaves.iter().take_while(|leaf| leaf.first.0 <= id);
        for (number, leaf) in leaves.enumerate() {
            if number >= self.most {
                return false;
            }
            let Some(node) = self.blocks.read(leaf.block).and_then(Node::new) else { continue };
            for row in lower_bound(&node, id)..node.count() {
                let Some((raw, value, at)) = node.get(row, (0, 0)) else { continue };
                match key(raw) {
                    Some((other, kind)) if other == id => {
                        each(kind, raw, value, self.blocks.place(leaf.block).saturating_add(at as u64));
                    }
                    Some((other, _)) if other > id => break,
                    _ => {}
                }
            }
        }
        true
    }

    /// The inode of a number alone.
    pub(super) fn inode(&self, id: u64) -> Option<Inode> {
        let mut inode = None;
        self.each(id, |kind, _, value, _| {
            if kind == INODE {
                inode = Inode::parse(id, value);
            }
        });
        inode
    }

    /// All that the records of a number tell.
    pub(super) fn file(&self, id: u64) -> File {
        let mut file = File::default();
        let is_whole = self.each(id, |kind, raw, value, at| match kind {
            INODE => file.inode = Inode::parse(id, value).map(|inode| (inode, at)),
            XATTR => file.attributes.extend(Attribute::parse(raw, value).map(|attribute| (attribute, at))),
            _ => {}
        });
        file.is_cut = !is_whole;
        if let Some((inode, _)) = &file.inode {
            let (stretches, is_whole) = self.stretches(inode.content);
            file.stretches = stretches;
            file.is_cut |= !is_whole;
        }
        file
    }

    /// Where the content of a number is; false where there are more stretches than are read.
    pub(super) fn stretches(&self, id: u64) -> (Vec<Stretch>, bool) {
        let mut found = Vec::new();
        let is_whole = self.each(id, |kind, raw, value, _| {
            if kind == EXTENT {
                found.extend(Stretch::parse(raw, value));
            }
        });
        let first = self.sealed.partition_point(|(other, _)| *other < id);
        let sealed = self.sealed.get(first..).unwrap_or_default().iter().take_while(|(other, _)| *other == id);
        found.extend(sealed.map(|(_, stretch)| *stretch));
        found.sort_unstable();
        (found, is_whole)
    }
}

/// The first row of a number, or of one behind it.
fn lower_bound(node: &Node<'_>, id: u64) -> usize {
    let (mut low, mut high) = (0usize, node.count());
    while low < high {
        let middle = low.midpoint(high);
        let is_before = node.get(middle, (0, 0)).and_then(|(raw, ..)| key(raw)).is_none_or(|(other, _)| other < id);
        if is_before {
            low = middle.saturating_add(1);
        } else {
            high = middle;
        }
    }
    low
}

/// Adds the leaves that the object map knows, and that a damaged tree does not lead to.
fn add_others(blocks: &Blocks<'_>, omap: &Omap, xid: u64, leaves: &mut Vec<u64>) {
    let known: HashSet<u64> = leaves.iter().copied().collect();
    for block in omap.blocks(xid).filter(|block| !known.contains(block)) {
        let raw = blocks.sound(block).filter(|raw| raw.le32(28) == Some(FS_TREE));
        if raw.and_then(Node::new).is_some_and(|node| node.is_leaf()) {
            leaves.push(block);
        }
    }
}
