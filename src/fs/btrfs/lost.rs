//! Deleted files: inodes, names and extents in leaves of the trees of files that are free now.
//!
//! A number is never used twice in a subvolume: an inode that such a leaf has and the live tree has not is that of a
//! deleted file. Of each the youngest copy counts. Its extents are complete where they reach from its start to its end and
//! together have the bytes that the inode counts.

use super::Btrfs;
use super::entry::{self, Found};
use super::item::{self, Dirent, FIRST, Inode, Piece, Where};
use super::node::{self, Key};
use super::walk::{Met, ORPHANS};
use crate::bytes::Fields;
use crate::content::{Run, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::walk::MAX_DEPTH;
use crate::fs::{Batch, Certainty, Entry, EntryKind, Origin, Recovered, posix};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Deleted inodes and names that are kept in memory.
const MAX: usize = 1 << 20;
/// Free addresses that one worker looks at.
const PART: u64 = 16 << 20;

/// A tree of files and an inode in it.
type Object = (u64, u64);

/// A leaf in free space.
struct Leaf {
    generation: u64,
    owner: u64,
    at: u64,
}

/// What the leaves tell of a deleted inode: of each item the youngest copy, with its generation.
#[derive(Default)]
struct Gone {
    inode: Option<(u64, Inode, u64)>,
    pieces: BTreeMap<u64, (u64, Piece)>,
    attributes: BTreeMap<u64, (u64, Vec<(String, String)>)>,
    /// The names that it had last: generation, directory and name.
    names: Vec<(u64, u64, String)>,
}

pub(super) struct Recovery<'a> {
    btrfs: &'a Btrfs<'a>,
    met: &'a BTreeMap<u64, Met>,
    gone: BTreeMap<Object, Gone>,
    /// Names in directories, by what they lead to.
    dirents: BTreeMap<Object, BTreeMap<(u64, String), Dirent>>,
    paths: HashMap<Object, Arc<str>>,
    /// Which inodes the live trees have, as far as was asked: the same names stand in many leaves.
    live: HashMap<Object, bool>,
    cut: bool,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(btrfs: &'a Btrfs<'a>, met: &'a BTreeMap<u64, Met>) -> Self {
        let (gone, dirents) = (BTreeMap::new(), BTreeMap::new());
        Self { btrfs, met, gone, dirents, paths: HashMap::new(), live: HashMap::new(), cut: false }
    }

    /// All deleted entries.
    pub(super) fn run(mut self) -> Batch {
        for leaf in self.leaves() {
            self.take(&leaf);
        }
        let objects: Vec<Object> = self.gone.keys().copied().collect();
        let mut out: Vec<Entry> = Vec::new();
        for object in objects {
            self.list(object, &mut out);
        }
        self.names_only(&mut out);
        let cut = self.cut.then(|| {
            let what = "more files are gone than are kept in memory: the others are not listed";
            Err(Fault::new(self.btrfs.disk.view.absolute(0), super::NAME, what))
        });
        cut.into_iter().chain(out.into_iter().map(Ok)).collect()
    }

    /// The leaves of trees of files that stand in free addresses, the youngest first.
    fn leaves(&self) -> Vec<Leaf> {
        let disk = &self.btrfs.disk;
        let step = disk.sb.node;
        let mut parts = Vec::new();
        for chunk in disk.chunks.all().iter().filter(|chunk| chunk.kind & super::chunk::METADATA != 0) {
            let free = self.btrfs.space.logical.within(chunk.logical);
            for extent in free.as_slice() {
                // Blocks stand at multiples of their size, counted from the start of the chunk.
                let skip = extent.start.saturating_sub(chunk.logical.start).next_multiple_of(step);
                let start = chunk.logical.start.saturating_add(skip);
                let count = extent.end().saturating_sub(start).div_ceil(PART);
                parts.extend((0..count).map(|part| {
                    let from = start.saturating_add(part.saturating_mul(PART));
                    Extent::between(from, extent.end().min(from.saturating_add(PART)))
                }));
            }
        }
        let found = parts.into_par_iter().flat_map_iter(|part| {
            let blocks = (0..part.len.checked_div(step).unwrap_or(0)).map(|row| row.saturating_mul(step));
            blocks.filter_map(|skip| self.leaf(part.start.saturating_add(skip))).collect::<Vec<_>>()
        });
        let mut found: Vec<Leaf> = found.collect();
        found.sort_by_key(|leaf| (std::cmp::Reverse(leaf.generation), leaf.at));
        found
    }

    /// The leaf of a tree of files that stands at an address, if its checksum fits.
    fn leaf(&self, logical: u64) -> Option<Leaf> {
        let disk = &self.btrfs.disk;
        for at in disk.chunks.spot(logical)?.copies {
            let head = disk.view.read_up_to(at, node::HEADER as u64);
            let owner = head.le64(88).filter(|owner| item::is_files(*owner));
            let own = head.span(32, 16) == Some(&disk.sb.metadata_uuid[..]) && head.le64(48) == Some(logical);
            let Some(owner) = owner.filter(|_| own && head.byte(100) == Some(0)) else { continue };
            let bytes = disk.view.read(at, disk.sb.node).ok()?;
            if disk.sb.sums.holds(&bytes) {
                return Some(Leaf { generation: head.le64(80)?, owner, at });
            }
        }
        None
    }

    /// Whether the live tree of that number has an inode.
    fn is_live(&mut self, object: Object) -> bool {
        if let Some(live) = self.live.get(&object) {
            return *live;
        }
        let (owner, number) = object;
        let found = self.met.get(&owner).and_then(|met| met.within.tree.first(&self.btrfs.disk, number, item::INODE));
        if self.live.len() >= MAX {
            self.live.clear();
        }
        self.live.insert(object, found.is_some());
        found.is_some()
    }

    fn take(&mut self, leaf: &Leaf) {
        let disk = &self.btrfs.disk;
        let bytes = disk.view.read(leaf.at, disk.sb.node).unwrap_or_default();
        let mut last: Option<(u64, bool)> = None;
        for (key, at, b) in node::items(&bytes) {
            if !(FIRST..item::LAST).contains(&key.object) {
                continue;
            }
            let place = leaf.at.saturating_add(at as u64);
            if matches!(key.kind, item::DIR_INDEX | item::DIR_ITEM) {
                item::dirents(b, place).for_each(|dirent| self.take_name((leaf.owner, key.object), dirent));
            }
            let live = match last {
                Some((number, live)) if number == key.object => live,
                _ => self.is_live((leaf.owner, key.object)),
            };
            last = Some((key.object, live));
            let object = (leaf.owner, key.object);
            if live || (self.gone.len() >= MAX && !self.gone.contains_key(&object)) {
                self.cut |= !live;
                continue;
            }
            self.gone.entry(object).or_default().take(leaf.generation, key, place, b);
        }
    }

    fn take_name(&mut self, (owner, directory): Object, dirent: Dirent) {
        if dirent.target.kind != item::INODE {
            return;
        }
        let target = (owner, dirent.target.object);
        if self.is_live(target) {
            return;
        }
        if self.dirents.len() < MAX || self.dirents.contains_key(&target) {
            let names = self.dirents.entry(target).or_default();
            names.entry((directory, dirent.name.clone())).or_insert(dirent);
        } else {
            self.cut = true;
        }
    }

    /// The path of a directory, live or deleted.
    fn path(&mut self, object: Object, depth: usize) -> Arc<str> {
        let (owner, number) = object;
        let live = self.met.get(&owner).and_then(|met| met.directories.get(&number));
        if let Some(path) = live.or_else(|| self.paths.get(&object)) {
            return Arc::clone(path);
        }
        if number == FIRST {
            return Arc::from(format!("{ORPHANS}/subvolume-{owner}"));
        }
        let name = self.gone.get(&object).and_then(|gone| gone.names.first().cloned());
        let name = name.map(|(_, above, name)| (above, name)).or_else(|| {
            let (above, name) = self.dirents.get(&object)?.keys().next()?;
            Some((*above, name.clone()))
        });
        let path: Arc<str> = match name.filter(|_| depth < MAX_DEPTH) {
            Some((above, name)) => {
                let above = self.path((owner, above), depth.saturating_add(1));
                Arc::from([&above, "/", &name].concat())
            }
            None => Arc::from(format!("{ORPHANS}/OrphanFile-{owner}-{number}")),
        };
        self.paths.insert(object, Arc::clone(&path));
        path
    }

    /// Lists a deleted inode under each of the names that it had last.
    fn list(&mut self, object: Object, out: &mut Vec<Entry>) {
        let (owner, number) = object;
        let Some(gone) = self.gone.get(&object).filter(|gone| gone.inode.is_some()) else { return };
        let names: Vec<(u64, String)> = gone.names.iter().map(|(_, above, name)| (*above, name.clone())).collect();
        let hashed = || self.dirents.get(&object).and_then(|names| names.keys().next().cloned());
        let names = if names.is_empty() { hashed().into_iter().collect() } else { names };
        let mut paths: Vec<String> = Vec::new();
        for (above, name) in &names {
            let above = self.path((owner, *above), 0);
            paths.push([&above, "/", name.as_str()].concat());
        }
        self.dirents.remove(&object);
        let Some(gone) = self.gone.get(&object) else { return };
        let first = paths.first().cloned().unwrap_or_else(|| format!("{ORPHANS}/OrphanFile-{owner}-{number}"));
        let Some(mut entry) = self.entry(object, gone, first.clone()) else { return };
        if paths.is_empty() {
            entry.remark("its name is lost");
        }
        let at = entry.at;
        let kind = entry.kind;
        out.push(entry);
        for path in paths.into_iter().skip(1) {
            let mut entry = Entry::new(path, kind, format!("{owner}-{number}"), at);
            (entry.allocated, entry.recovered) = (false, Some(Recovered::NameOnly));
            (entry.origin, entry.note) = (Origin::Unallocated, Some(format!("another name of {first}")));
            out.push(entry);
        }
    }

    fn entry(&self, (owner, number): Object, gone: &Gone, path: String) -> Option<Entry> {
        let btrfs = self.btrfs;
        let (_, inode, at) = gone.inode.as_ref()?;
        let kind = inode.kind()?;
        let family = btrfs.subvolumes.family(owner);
        let mut entry = Entry::new(path, kind, format!("{family}-{number}"), *at);
        (entry.allocated, entry.origin) = (false, Origin::Unallocated);
        let settled = gone.settled();
        let mut found = Found {
            at: *at,
            pieces: settled.iter().map(|(_, piece)| *piece).collect(),
            attributes: gone.attributes.values().flat_map(|(_, list)| list.clone()).collect(),
            ..Found::default()
        };
        let complete = is_complete(&found.pieces, inode);
        if !complete {
            // What seems to be a hole may have been content.
            found.pieces.clear();
        }
        entry::fill(btrfs, &mut entry, inode, &found);
        entry.linked = false;
        entry.recovered = Some(self.judge(&mut entry, complete, gone));
        // A leaf of an earlier transaction than the inode's last change may hold extents that it had before that.
        let sure = settled.iter().all(|(generation, _)| *generation >= inode.changed);
        if entry.recovered == Some(Recovered::Intact) && !sure {
            entry.recovered = Some(Recovered::Partial);
            entry.certainty = vec![(inode.size, Certainty::Inferred)];
            entry.remark("its extents are from an earlier transaction than its inode");
        }
        Some(entry)
    }

    fn judge(&self, entry: &mut Entry, complete: bool, gone: &Gone) -> Recovered {
        if matches!(entry.kind, EntryKind::Directory | EntryKind::Special) {
            return Recovered::Intact;
        }
        if !complete {
            entry.stream = Stream::plain(Vec::new(), entry.stream.size);
            entry.remark("not all of its extents are named any more");
            return if gone.pieces.is_empty() { Recovered::NameOnly } else { Recovered::Partial };
        }
        let data =
            entry.stream.runs.iter().filter_map(|run| if let Run::Data(extent) = run { Some(extent) } else { None });
        let share = |(free, total): (u64, u64), extent: &Extent| {
            let part = self.btrfs.space.device.within(*extent).total();
            (free.saturating_add(part), total.saturating_add(extent.len))
        };
        match data.fold((0, 0), share) {
            _ if !entry.faults.is_empty() => Recovered::Partial,
            (free, total) if free == total => Recovered::Intact,
            (0, _) => Recovered::Overwritten,
            _ => Recovered::Partial,
        }
    }

    /// Names whose inodes are nowhere any more.
    fn names_only(&mut self, out: &mut Vec<Entry>) {
        let left: Vec<(Object, Vec<Dirent>, Vec<u64>)> = std::mem::take(&mut self.dirents)
            .into_iter()
            .map(|(target, names)| {
                let above = names.keys().map(|(above, _)| *above).collect();
                (target, names.into_values().collect(), above)
            })
            .collect();
        for ((owner, number), names, above) in left {
            for (dirent, above) in names.into_iter().zip(above) {
                let above = self.path((owner, above), 0);
                let path = [&above, "/", dirent.name.as_str()].concat();
                let kind = posix::kind_of_type(dirent.file_type);
                let mut entry = Entry::new(path, kind, format!("{owner}-{number}"), dirent.at);
                (entry.allocated, entry.recovered) = (false, Some(Recovered::NameOnly));
                entry.origin = Origin::Unallocated;
                entry.note = Some("only its name is left: its inode is nowhere any more".to_owned());
                out.push(entry);
            }
        }
    }
}

impl Gone {
    /// Takes an item out of a leaf; leaves come the youngest first.
    fn take(&mut self, generation: u64, key: Key, place: u64, b: &[u8]) {
        match key.kind {
            item::INODE if self.inode.is_none() => {
                // One without a name is what the deletion itself left: it may have been emptied by then.
                let inode = Inode::parse(b).filter(|inode| inode.links > 0 && inode.kind().is_some());
                self.inode = inode.map(|inode| (generation, inode, place));
            }
            item::INODE_REF | item::INODE_EXTREF => {
                let last = self.names.first().is_none_or(|(first, ..)| *first == generation);
                let names = item::references(key, b).into_iter().map(|(above, name)| (generation, above, name));
                self.names.extend(names.filter(|_| last));
            }
            item::XATTR => {
                self.attributes.entry(key.offset).or_insert_with(|| (generation, item::attributes(b).collect()));
            }
            item::EXTENT_DATA => {
                if let Some(piece) = Piece::parse(key.offset, b, place) {
                    self.pieces.entry(key.offset).or_insert((generation, piece));
                }
            }
            _ => {}
        }
    }

    /// The extents in order: of those that overlap the youngest counts.
    fn settled(&self) -> Vec<(u64, Piece)> {
        let mut youngest: Vec<(u64, Piece)> = self.pieces.values().copied().collect();
        youngest.sort_by_key(|(generation, piece)| (std::cmp::Reverse(*generation), piece.offset));
        let mut kept: BTreeMap<u64, (u64, Piece)> = BTreeMap::new();
        for (generation, piece) in youngest {
            let end = piece.offset.saturating_add(piece.len);
            let before = kept.range(..end).next_back();
            if before.is_none_or(|(_, (_, other))| other.offset.saturating_add(other.len) <= piece.offset) {
                kept.insert(piece.offset, (generation, piece));
            }
        }
        kept.into_values().collect()
    }
}

/// Whether extents are all that an inode had: together they have the bytes that it counts.
fn is_complete(pieces: &[Piece], inode: &Inode) -> bool {
    let stored = pieces.iter().filter(|piece| !matches!(piece.place, Where::Hole));
    stored.fold(0u64, |sum, piece| sum.saturating_add(piece.len)) == inode.bytes
}
