//! Trees: their leaves in order, found once, so that any item is two binary searches away.

use super::Disk;
use super::node::{self, Key, Node, Pointer};
use super::superblock::{MAX_LEVEL, Root};
use crate::bytes::Fields;
use crate::fuel::Fuel;
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::HashSet;

/// Remarks on one tree.
const MAX_WRONG: usize = 100;

/// A leaf of a tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    first: Key,
    /// Where it stands on the device.
    pub(super) at: u64,
    /// False where its checksum does not fit, or its rows are out of order.
    sound: bool,
}

/// A tree.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) leaves: Vec<Leaf>,
    /// Byte of the volume and remark.
    pub(super) wrong: Vec<(u64, String)>,
    /// False where leaves are missing.
    pub(super) whole: bool,
}

impl Tree {
    /// Reads the tree that begins at `root`, a level at a time, the blocks of one side by side.
    pub(super) fn read(disk: &Disk<'_>, root: Root, fuel: &mut Fuel) -> Self {
        let mut tree = Self { whole: true, ..Self::default() };
        let generation = root.generation;
        let mut row = vec![Pointer { key: Key::default(), to: root.at, generation }];
        let mut level = root.level.min(MAX_LEVEL);
        let mut seen = HashSet::from([root.at]);
        loop {
            if fuel.burn(row.len() as u64).is_err() {
                tree.lose(0, "the trees of this volume have more blocks than it has room for".to_owned());
                return tree;
            }
            let read = |pointer: &Pointer| Node::read(disk, pointer.to, level, Some(pointer.generation));
            let nodes: Vec<Result<(Node<'_>, Pointer), String>> =
                row.par_iter().map(|pointer| Ok((read(pointer)?, *pointer))).collect();
            let mut next = Vec::new();
            for node in nodes {
                match node {
                    Ok((node, pointer)) => {
                        tree.wrong.extend(node.wrong.clone().map(|what| (node.at, what)));
                        if level > 0 {
                            next.extend(node.pointers());
                        } else {
                            tree.leaf(&node, pointer);
                        }
                    }
                    Err(what) => tree.lose(0, what),
                }
            }
            if level == 0 {
                break;
            }
            // A sound tree has each block once.
            let all = next.len();
            row = next;
            row.retain(|pointer: &Pointer| seen.insert(pointer.to));
            if row.len() < all {
                tree.lose(0, "a tree has blocks twice".to_owned());
            }
            level = level.saturating_sub(1);
        }
        if !tree.leaves.is_sorted_by_key(|leaf| leaf.first) {
            tree.wrong.push((0, "the leaves of a tree are out of order".to_owned()));
            tree.leaves.sort_by_key(|leaf| leaf.first);
        }
        tree.wrong.truncate(MAX_WRONG);
        tree
    }

    fn lose(&mut self, at: u64, what: String) {
        self.whole = false;
        if self.wrong.len() < MAX_WRONG {
            self.wrong.push((at, format!("{what}: what it held is not listed")));
        }
    }

    fn leaf(&mut self, node: &Node<'_>, pointer: Pointer) {
        let ordered = node::is_ordered(&node.bytes);
        if !ordered {
            let what = format!("items of the block of address {} are out of order or outside it", pointer.to);
            self.wrong.push((node.at, what));
        }
        if let Some((first, ..)) = node::items(&node.bytes).next() {
            self.leaves.push(Leaf { first, at: node.at, sound: ordered && node.sound });
        }
    }

    /// The leaves that may hold items from a key on, or one that goes on behind it.
    pub(super) fn from(&self, key: Key) -> &[Leaf] {
        let first = self.leaves.partition_point(|leaf| leaf.first <= key).saturating_sub(1);
        self.leaves.get(first..).unwrap_or_default()
    }

    /// How many leaves may hold items from `from` up to `to`.
    pub(super) fn span(&self, from: Key, to: Key) -> u64 {
        let row = |key: Key| self.leaves.partition_point(|leaf| leaf.first <= key) as u64;
        row(to).saturating_sub(row(from)).saturating_add(1)
    }

    /// Gives each item from `from` on to `each`, with the place of its bytes on the device, until that says false.
    pub(super) fn each(&self, disk: &Disk<'_>, from: Key, each: &mut dyn FnMut(Key, u64, &[u8]) -> bool) {
        for leaf in self.from(from) {
            let bytes = leaf.read(disk);
            for (key, at, item) in node::items(&bytes).filter(|(key, ..)| *key >= from) {
                if !each(key, leaf.at.saturating_add(at as u64), item) {
                    return;
                }
            }
        }
    }

    /// All items of an object; false where one of them stands in a leaf that is not sound.
    pub(super) fn of(&self, disk: &Disk<'_>, object: u64, each: &mut dyn FnMut(Key, u64, &[u8])) -> bool {
        let from = Key::new(object, 0, 0);
        self.each(disk, from, &mut |key, at, item| {
            let own = key.object == object;
            if own {
                each(key, at, item);
            }
            own
        });
        self.from(from).iter().take_while(|leaf| leaf.first.object <= object).all(|leaf| leaf.sound)
    }

    /// The first item of an object of a kind: its key and its bytes.
    pub(super) fn first(&self, disk: &Disk<'_>, object: u64, kind: u8) -> Option<(Key, Vec<u8>)> {
        let mut found = None;
        self.each(disk, Key::new(object, kind, 0), &mut |key, _, item| {
            if (key.object, key.kind) == (object, kind) {
                found = Some((key, item.to_vec()));
            }
            false
        });
        found
    }
}

impl Leaf {
    /// Its bytes: they were checked when the tree was read.
    pub(super) fn read<'img>(&self, disk: &Disk<'img>) -> Cow<'img, [u8]> {
        disk.view.read(self.at, disk.sb.node).unwrap_or_default()
    }
}

/// The root of a tree, as its item tells (`btrfs_root_item`).
pub(super) fn root_of(item: &[u8]) -> Option<Root> {
    Some(Root { at: item.le64(176)?, level: item.byte(238)?, generation: item.le64(160)? })
}
