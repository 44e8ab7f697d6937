//! Deleted files: what snapshots keep, and what older nodes of the volumes' trees tell, in free blocks and below older checkpoints.
//!
//! A snapshot is a whole tree: what it holds of a file is that file's content of that time, kept by the file system. Other old
//! nodes tell of files record by record; numbers of files are not used again, so that what has a number of today is an older
//! state of a file that is there. None of those is called intact: an old record does not tell whether the file was changed
//! before it was deleted. Where all its blocks are free its content is inferred.

use super::btree::Node;
use super::container::Superblock;
use super::entry::{Maker, begin, content};
use super::object::{FS_TREE, checksum_holds};
use super::record::{EXTENT, INODE, Inode, NAME, Name, Stretch, key};
use super::volume::{Head, ORPHANS, Tree};
use super::{Apfs, Volume};
use crate::bytes::Fields;
use crate::content::{Run, Stream};
use crate::extent::{Extent, ExtentSet};
use crate::fs::{Certainty, Entry, EntryKind, Origin, Recovered};
use crate::fuel::Fuel;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Free blocks that are searched together.
const CHUNK: u64 = 1 << 12;
/// Older checkpoints that are read.
const MAX_OLDER: usize = 64;
/// No path may be deeper.
const MAX_DEPTH: usize = 256;

/// What the snapshots of a volume hold that is not there any more, or is another today.
pub(super) fn in_snapshots(
    apfs: &Apfs<'_>,
    volume: &Volume<'_>,
    fuel: &mut Fuel,
    faults: &mut Vec<(u64, String)>,
) -> Vec<Entry> {
    let mut seen_leaves: HashSet<u64> = volume.tree.leaf_blocks().collect();
    let (mut seen, mut out) = (HashSet::new(), Vec::new());
    for snapshot in &volume.snapshots {
        let Some(head) = Head::read(&apfs.blocks, snapshot.at) else {
            let what = format!("the superblock of snapshot {} is damaged: it is not read", snapshot.name);
            faults.push((apfs.blocks.place(snapshot.at), what));
            continue;
        };
        // The map of today knows where all was at that time.
        let tree = Tree::open(apfs.blocks, head, &volume.omap, snapshot.xid, fuel);
        let wrong = tree.wrong.iter().map(|(at, what)| (*at, format!("snapshot {}: {what}", snapshot.name)));
        faults.extend(wrong);
        let (maker, today) = (Maker { tree: &tree, prefix: &volume.prefix }, &volume.tree);
        let leaves: Vec<u64> = tree.leaf_blocks().filter(|block| seen_leaves.insert(*block)).collect();
        for inode in leaves.into_iter().flat_map(|block| tree.inodes_in(block)) {
            let now = today.inode(inode.id);
            let is_kept = now.as_ref().is_some_and(|now| is_same(today, now, &tree, &inode));
            if inode.id < 16 || is_kept || !seen.insert((inode.id, inode.times().mtime, inode.size)) {
                continue;
            }
            let name = inode.name.clone().unwrap_or_else(|| format!("OrphanFile-{}", inode.id));
            let file = tree.file(inode.id);
            let Some((inode, at)) = &file.inode else { continue };
            let made = snapshot.made.map(|made| format!(" of {}", made.rfc3339())).unwrap_or_default();
            for mut entry in maker.entries(maker.path(inode.parent, &name), inode, *at, &file) {
                (entry.allocated, entry.linked) = (false, false);
                entry.recovered = Some(if entry.faults.is_empty() { Recovered::Intact } else { Recovered::Partial });
                let state = if now.is_some() { "an earlier state, as" } else { "as" };
                entry.remark(&format!("{state} snapshot {}{made} keeps it", snapshot.name));
                out.push(entry);
            }
        }
    }
    out
}

/// Whether an inode of an earlier time has the content of today.
fn is_same(today: &Tree<'_>, now: &Inode, then: &Tree<'_>, inode: &Inode) -> bool {
    if inode.kind() == Some(EntryKind::Directory) {
        return true;
    }
    now.size == inode.size && today.stretches(now.content) == then.stretches(inode.content)
}

/// What old nodes tell of a file.
#[derive(Default)]
struct Old {
    /// Transaction, inode, and where it stands.
    inode: Option<(u64, Inode, u64)>,
    name: Option<(u64, Name)>,
}

/// What old nodes tell of a volume.
#[derive(Default)]
struct Past {
    files: BTreeMap<u64, Old>,
    /// By number and offset; the transaction that wrote it.
    stretches: BTreeMap<(u64, u64), (u64, Stretch)>,
}

/// Deleted files of all volumes, out of old nodes.
pub(super) fn in_old_nodes(apfs: &Apfs<'_>, fuel: &mut Fuel) -> Vec<Entry> {
    let mut leaves = in_free_blocks(apfs);
    leaves.extend(below_older(apfs, fuel));
    let mut pasts: Vec<Past> = apfs.volumes.iter().map(|_| Past::default()).collect();
    for block in leaves {
        let Some(node) = apfs.blocks.read(block).and_then(Node::new) else { continue };
        let owner = apfs.volumes.iter().position(|volume| volume.omap.knows(node.oid())).unwrap_or(0);
        if let (Some(past), Some(volume)) = (pasts.get_mut(owner), apfs.volumes.get(owner)) {
            past.take(&node, apfs.blocks.place(block), volume.tree.head.is_hashed());
        }
    }
    let pairs = pasts.iter().zip(&apfs.volumes);
    pairs.flat_map(|(past, volume)| past.entries(apfs, volume)).collect()
}

/// The old leaves in free blocks.
fn in_free_blocks(apfs: &Apfs<'_>) -> BTreeSet<u64> {
    let size = apfs.blocks.size;
    let chunk = |extent: &Extent| {
        let range = extent.start.checked_div(size).unwrap_or(0)..extent.end().checked_div(size).unwrap_or(0);
        let step = usize::try_from(CHUNK).unwrap_or(usize::MAX);
        range.clone().step_by(step).map(move |from| from..from.saturating_add(CHUNK).min(range.end))
    };
    let chunks: Vec<_> = apfs.free.as_slice().iter().flat_map(chunk).collect();
    chunks.into_par_iter().flat_map_iter(|range| range.filter(|block| is_old_leaf(apfs, *block))).collect()
}

fn is_old_leaf(apfs: &Apfs<'_>, block: u64) -> bool {
    let Some(raw) = apfs.blocks.read(block) else { return false };
    // Its type first: the checksum reads all of a block.
    raw.le32(28) == Some(FS_TREE) && checksum_holds(&raw) && Node::new(raw).is_some_and(|node| node.is_leaf())
}

/// The leaves below older checkpoints that are neither free nor of today.
fn below_older(apfs: &Apfs<'_>, fuel: &mut Fuel) -> BTreeSet<u64> {
    let today: HashSet<u64> = apfs.volumes.iter().flat_map(|volume| volume.tree.leaf_blocks()).collect();
    let mut found = BTreeSet::new();
    let mut seen = HashSet::new();
    let older = apfs.older.iter().filter(|older| seen.insert(older.omap)).take(MAX_OLDER);
    for tree in older.flat_map(|older| trees(apfs, older, fuel)) {
        let blocks = tree.leaf_blocks().filter(|block| !today.contains(block));
        found.extend(blocks.filter(|block| is_old_leaf(apfs, *block)));
    }
    found
}

/// The trees of a checkpoint, as far as they are still there.
fn trees<'img>(apfs: &Apfs<'img>, older: &Superblock, fuel: &mut Fuel) -> Vec<Tree<'img>> {
    let Some(omap) = super::omap::Omap::read(&apfs.blocks, older.omap, fuel) else { return Vec::new() };
    let tree = |oid: &u64| {
        let head = Head::read(&apfs.blocks, omap.block(*oid, older.xid)?).filter(|head| !head.is_encrypted())?;
        let volume = super::omap::Omap::read(&apfs.blocks, head.omap, fuel)?;
        let xid = head.xid;
        Some(Tree::open(apfs.blocks, head, &volume, xid, fuel))
    };
    older.volumes.iter().filter_map(tree).collect()
}

impl Past {
    /// Takes the records of an old node; of several the newest count.
    fn take(&mut self, node: &Node<'_>, place: u64, is_hashed: bool) {
        let xid = node.xid();
        for (raw, value, at) in node.rows((0, 0)) {
            let Some((id, kind)) = key(raw) else { continue };
            match kind {
                INODE => {
                    let old = self.files.entry(id).or_default();
                    if old.inode.as_ref().is_none_or(|(other, ..)| *other < xid) {
                        let at = place.saturating_add(at as u64);
                        old.inode = Inode::parse(id, value).map(|inode| (xid, inode, at)).or(old.inode.take());
                    }
                }
                NAME => {
                    let Some(name) = Name::parse(raw, value, is_hashed) else { continue };
                    let old = self.files.entry(name.id).or_default();
                    if old.name.as_ref().is_none_or(|(other, _)| *other < xid) {
                        old.name = Some((xid, name));
                    }
                }
                EXTENT => {
                    let Some(stretch) = Stretch::parse(raw, value) else { continue };
                    let old = self.stretches.entry((id, stretch.at)).or_insert((xid, stretch));
                    if old.0 < xid {
                        *old = (xid, stretch);
                    }
                }
                _ => {}
            }
        }
    }

    fn entries(&self, apfs: &Apfs<'_>, volume: &Volume<'_>) -> Vec<Entry> {
        let gone = self.files.iter().filter(|(id, _)| **id >= 16 && volume.tree.inode(**id).is_none());
        gone.filter_map(|(id, old)| self.entry(apfs, volume, *id, old)).collect()
    }

    fn entry(&self, apfs: &Apfs<'_>, volume: &Volume<'_>, id: u64, old: &Old) -> Option<Entry> {
        let path = self.path(volume, id, old);
        let mut entry = match (&old.inode, &old.name) {
            (Some((_, inode, at)), _) => begin(path, inode, *at),
            (None, Some((_, name))) => {
                let kind = if name.kind == 4 { EntryKind::Directory } else { EntryKind::File };
                Entry::new(path, kind, id.to_string(), apfs.blocks.place(volume.tree.head.at))
            }
            (None, None) => return None,
        };
        (entry.allocated, entry.linked, entry.origin) = (false, false, Origin::Unallocated);
        entry.recovered = Some(Recovered::NameOnly);
        match &old.inode {
            Some((_, inode, _)) if entry.kind == EntryKind::File => self.place(apfs, &mut entry, inode),
            Some(_) => {}
            None => entry.remark("its name is left, its inode is not"),
        }
        Some(entry)
    }

    /// Where a file was: below the directories of today, or those that are gone, too.
    fn path(&self, volume: &Volume<'_>, id: u64, old: &Old) -> String {
        let mut names: Vec<String> = Vec::new();
        let (mut old, mut id) = (Some(old), id);
        let base = loop {
            let named = old.and_then(|old| old.name.as_ref()).map(|(_, name)| (name.parent, name.name.clone()));
            let own = || old.and_then(|old| old.inode.as_ref()).map(|(_, inode, _)| (inode.parent, inode.name.clone()));
            let own = || own().and_then(|(parent, name)| Some((parent, name?)));
            let Some((parent, name)) = named.or_else(own).filter(|_| names.len() < MAX_DEPTH) else {
                if names.is_empty() {
                    names.push(format!("OrphanFile-{id}"));
                }
                break ORPHANS;
            };
            names.push(name);
            if let Some(path) = volume.tree.path(parent) {
                break path.as_ref();
            }
            (old, id) = (self.files.get(&parent), parent);
        };
        names.iter().rev().fold([&volume.prefix, base].concat(), |path, name| [&path, "/", name].concat())
    }

    /// Puts what old records name of a file into its entry, and says whose it is now.
    fn place(&self, apfs: &Apfs<'_>, entry: &mut Entry, inode: &Inode) {
        if inode.is_compressed() {
            return entry.remark("it was compressed; what says how is not looked for");
        }
        let stretches = self.stretches.range((inode.content, 0)..=(inode.content, u64::MAX));
        let stretches: Vec<Stretch> = stretches.map(|(_, (_, stretch))| *stretch).collect();
        entry.stream.size = inode.size;
        if inode.size == 0 || stretches.is_empty() {
            return entry.remark("where its content was is not told, or it was empty");
        }
        let (stream, wrong) = content(&apfs.blocks, &stretches, inode.size, inode.is_sparse());
        let own: ExtentSet = used(&stream).into_iter().collect();
        let free = own.intersect(&apfs.free).total();
        let is_free = free == own.total();
        entry.stream = stream;
        entry.recovered = Some(if free == 0 && !is_free { Recovered::Overwritten } else { Recovered::Partial });
        match wrong {
            Some(what) => entry.remark(&what),
            None if is_free => {
                entry.certainty = vec![(entry.stream.size, Certainty::Inferred)];
                entry.remark("all its blocks are free, but whether it was changed after this record is not known");
            }
            None => {}
        }
    }
}

/// The stretches that hold content: not what was allocated behind its end.
fn used(stream: &Stream) -> Vec<Extent> {
    let (mut left, mut out) = (stream.size, Vec::with_capacity(stream.runs.len()));
    for run in &stream.runs {
        if let Run::Data(extent) = run {
            out.push(Extent::new(extent.start, extent.len.min(left)));
        }
        left = left.saturating_sub(run.len());
    }
    out
}
