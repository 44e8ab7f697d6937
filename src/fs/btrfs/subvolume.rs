//! Subvolumes and snapshots: each a tree of files of its own, and where it hangs in another.

use super::Disk;
use super::item::{self, FS_TREE};
use super::node::Key;
use super::superblock::Root;
use super::tree::{self, Tree};
use crate::bytes::Fields;
use std::collections::{BTreeMap, HashMap};

/// What the tree of trees says of a subvolume.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) root: Root,
    uuid: [u8; 16],
    parent: [u8; 16],
    /// True where no name leads to it any more: it was deleted, and its blocks are given back bit by bit.
    pub(super) is_gone: bool,
    /// True where blocks of it were given back already.
    pub(super) is_dropped: bool,
}

/// A subvolume whose tree was read.
#[derive(Debug)]
pub(super) struct Subvolume {
    pub(super) id: u64,
    /// The subvolume that it is, at last, a snapshot of: what both share has the same number in both.
    pub(super) family: u64,
    pub(super) tree: Tree,
}

/// All subvolumes of a volume, by number.
#[derive(Debug, Default)]
pub(super) struct Subvolumes {
    pub(super) all: BTreeMap<u64, Told>,
    /// Where each hangs: the subvolume and the directory above, and its name.
    above: BTreeMap<u64, Vec<(u64, u64, String)>>,
    families: BTreeMap<u64, u64>,
}

impl Subvolumes {
    /// Reads them out of the tree of trees.
    pub(super) fn read(disk: &Disk<'_>, roots: &Tree) -> Self {
        let mut found = Self::default();
        roots.each(disk, Key::default(), &mut |key, _, b| {
            match key.kind {
                item::ROOT if item::is_files(key.object) => {
                    found.all.extend(Told::parse(b).map(|told| (key.object, told)));
                }
                item::ROOT_REF => {
                    let name = b.le16(16).and_then(|len| b.span(18, len.into())).map(crate::fs::posix::name);
                    let above = b.le64(0).zip(name).map(|(directory, name)| (key.object, directory, name));
                    found.above.entry(key.offset).or_default().extend(above);
                }
                _ => {}
            }
            true
        });
        found.join();
        found
    }

    /// Whether subvolume `id` hangs in that directory of another: a snapshot has the names of those that hang in what it
    /// was taken of, and not these themselves.
    pub(super) fn hangs(&self, id: u64, (above, directory, name): (u64, u64, &str)) -> bool {
        let same = |(a, d, n): &(u64, u64, String)| (*a, *d, n.as_str()) == (above, directory, name);
        self.above.get(&id).is_some_and(|places| places.iter().any(same))
    }

    /// The subvolume that `id` is, at last, a snapshot of.
    pub(super) fn family(&self, id: u64) -> u64 {
        self.families.get(&id).copied().unwrap_or(id)
    }

    /// Finds the families: what a snapshot was taken of is older, and has a lower number.
    fn join(&mut self) {
        let by_uuid: HashMap<[u8; 16], u64> = self.all.iter().map(|(id, told)| (told.uuid, *id)).collect();
        for (id, told) in &self.all {
            let parent = by_uuid.get(&told.parent).filter(|parent| **parent < *id && told.parent != [0; 16]);
            let family = parent.map_or(*id, |parent| self.families.get(parent).copied().unwrap_or(*parent));
            self.families.insert(*id, family);
        }
    }

    /// Whether any is a snapshot of another.
    pub(super) fn has_snapshots(&self) -> bool {
        self.all.keys().any(|id| self.family(*id) != *id)
    }

    /// What it is, for a reader; nothing for the volume's own tree.
    pub(super) fn remark(&self, id: u64) -> Option<String> {
        let family = self.family(id);
        match family {
            _ if id == FS_TREE => None,
            family if family == id => Some(format!("subvolume {id}")),
            _ => Some(format!("subvolume {id}, a snapshot of {family}")),
        }
    }
}

impl Told {
    fn parse(b: &[u8]) -> Option<Self> {
        let empty = [0; 16];
        // Items before the second version end behind `level`.
        let second = b.le64(239) == b.le64(160); // generation_v2
        let uuid = |at: usize| if second { b.array(at).unwrap_or(empty) } else { empty };
        Some(Self {
            root: tree::root_of(b)?,
            uuid: uuid(247),
            parent: uuid(263),
            is_gone: b.le32(216)? == 0,                            // refs
            is_dropped: !crate::bytes::all_zero(b.span(220, 17)?), // drop_progress
        })
    }
}
