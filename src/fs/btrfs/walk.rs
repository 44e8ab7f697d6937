//! The walk from the root directory of the volume's own tree: every live entry, those of subvolumes under their paths.
//! Inodes that no name leads to come next, then what was deleted.

use super::Btrfs;
use super::entry::{self, Found, Named};
use super::item::{self, Dirent, FIRST, FS_TREE};
use super::lost::Recovery;
use super::node::Key;
use super::subvolume::Subvolume;
use crate::fault::Fault;
use crate::fs::walk::{Frames, MAX_DEPTH, batch};
use crate::fs::{Batch, Entry, EntryKind, Recovered};
use crate::fuel::Fuel;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

pub(super) const ORPHANS: &str = "/$OrphanFiles";

/// A directory on the way.
#[derive(Clone)]
struct Directory {
    path: Arc<str>,
    number: u64,
    within: Arc<Subvolume>,
}

/// What the walk meets next.
enum Step {
    /// What is complete: a directory, since what it holds follows on it, or a fault.
    Ready(Box<Result<Entry, Fault>>),
    Named(Named),
}

/// A subvolume that was met.
pub(super) struct Met {
    pub(super) within: Arc<Subvolume>,
    /// Inodes that a name leads to.
    named: HashSet<u64>,
    /// Directories, and their paths.
    pub(super) directories: HashMap<u64, Arc<str>>,
}

pub(super) struct Walk<'a> {
    btrfs: &'a Btrfs<'a>,
    frames: Frames<Directory, Dirent>,
    faults: VecDeque<Fault>,
    met: BTreeMap<u64, Met>,
    /// Subvolumes that no directory names.
    loose: Option<VecDeque<u64>>,
    orphans: Option<VecDeque<Named>>,
    is_done: bool,
    /// Leaves that may be read for all names together: names that lead to the same inode read it again.
    fuel: Fuel,
}

impl<'a> Walk<'a> {
    pub(super) fn new(btrfs: &'a Btrfs<'a>) -> Self {
        let mut walk = Self {
            btrfs,
            frames: Frames::new(),
            faults: VecDeque::new(),
            met: BTreeMap::new(),
            loose: None,
            orphans: None,
            is_done: false,
            fuel: btrfs.tank(),
        };
        if !walk.enter(FS_TREE, Arc::from("")) {
            walk.faults.push_back(btrfs.disk.fault(0, "the tree of the volume's files is not there".to_owned()));
        }
        walk
    }

    /// Reads a subvolume and makes its root directory the next to be walked; false where there is none of that number, or
    /// it was walked before.
    fn enter(&mut self, id: u64, path: Arc<str>) -> bool {
        let btrfs = self.btrfs;
        let Some(told) = btrfs.subvolumes.all.get(&id).filter(|_| !self.met.contains_key(&id)) else { return false };
        let tree = super::tree::Tree::read(&btrfs.disk, told.root, &mut self.fuel);
        let faults = tree.wrong.iter().map(|(at, what)| btrfs.disk.fault(*at, format!("subvolume {id}: {what}")));
        self.faults.extend(faults);
        let within = Arc::new(Subvolume { id, family: btrfs.subvolumes.family(id), tree });
        let directories = HashMap::from([(FIRST, Arc::clone(&path))]);
        self.met.insert(id, Met { within: Arc::clone(&within), named: HashSet::from([FIRST]), directories });
        let found = Found::read(btrfs, &within, FIRST);
        if found.inode.is_none() {
            self.faults.push_back(btrfs.disk.fault(0, format!("the root directory of subvolume {id} is not there")));
        }
        self.faults.extend(found.wrong.iter().map(|what| btrfs.disk.fault(found.at, what.clone())));
        self.frames.enter(Directory { path, number: FIRST, within }, found.names);
        true
    }

    /// Whether an inode may be read: its leaves are taken from the tank.
    fn pays(&mut self, within: &Subvolume, number: u64) -> bool {
        let cost = within.tree.span(Key::new(number, 0, 0), Key::new(number, u8::MAX, u64::MAX));
        self.fuel.burn(cost).is_ok()
    }

    /// The next step; nothing where all live entries were met.
    fn step(&mut self) -> Option<Step> {
        loop {
            if let Some(fault) = self.faults.pop_front() {
                return Some(Step::Ready(Box::new(Err(fault))));
            }
            if let Some(step) = self.next_named() {
                return Some(step);
            }
            if self.next_loose() {
                continue;
            }
            let named = self.next_orphan()?;
            return Some(self.inode(named));
        }
    }

    fn next_named(&mut self) -> Option<Step> {
        let (directory, dirent) = self.frames.next()?;
        let above = (directory.within.id, directory.number);
        let named = Named {
            directory: directory.path,
            name: dirent.name,
            file_type: dirent.file_type,
            at: dirent.at,
            number: dirent.target.object,
            within: directory.within,
            is_orphan: false,
        };
        if dirent.target.kind == item::ROOT {
            return Some(self.subvolume(&named, above));
        }
        if let Some(met) = self.met.get_mut(&named.within.id) {
            met.named.insert(named.number);
        }
        Some(self.inode(named))
    }

    /// A name that leads to a subvolume.
    fn subvolume(&mut self, named: &Named, (above, directory): (u64, u64)) -> Step {
        let (btrfs, id) = (self.btrfs, named.number);
        let path: Arc<str> = Arc::from([&named.directory, "/", &named.name].concat());
        let hangs = btrfs.subvolumes.hangs(id, (above, directory, &named.name));
        let deep = self.frames.is_full();
        let faults = self.faults.len();
        if !hangs || deep || !self.enter(id, Arc::clone(&path)) {
            let mut entry = Entry::new(path.to_string(), EntryKind::Directory, format!("{above}-{id}"), named.at);
            match hangs {
                // As the kernel shows it: an empty directory.
                false => {
                    entry.remark(&format!("subvolume {id} hangs here in what this is a snapshot of, and not here"))
                }
                true => {
                    let what = format!("subvolume {id} is not there, was listed elsewhere, or is too deep");
                    entry.faults.push(btrfs.disk.fault(named.at, what));
                }
            }
            return Step::Ready(Box::new(Ok(entry)));
        }
        let Some(met) = self.met.get(&id) else {
            return Step::Ready(Box::new(Err(btrfs.disk.fault(named.at, format!("subvolume {id} is lost")))));
        };
        let within = Arc::clone(&met.within);
        let found = Found::read(btrfs, &within, FIRST);
        let root = Named {
            number: FIRST,
            within,
            name: named.name.clone(),
            directory: Arc::clone(&named.directory),
            ..*named
        };
        let mut entry = entry::make(btrfs, &root, &Found { wrong: Vec::new(), ..found });
        btrfs.subvolumes.remark(id).iter().for_each(|remark| entry.remark(remark));
        entry.faults.extend(self.faults.drain(faults..));
        Step::Ready(Box::new(Ok(entry)))
    }

    /// A name that leads to an inode.
    fn inode(&mut self, named: Named) -> Step {
        let pays = self.pays(&named.within, named.number);
        if !pays {
            let path = [&named.directory, "/", &named.name].concat();
            let what = format!("{path}: the names of this volume lead to more items than it has room for: not read");
            return Step::Ready(Box::new(Err(self.btrfs.disk.fault(named.at, what))));
        }
        let is_directory = named.file_type == 2 || (named.is_orphan && self.is_directory(&named));
        if !is_directory {
            return Step::Named(named);
        }
        let found = Found::read(self.btrfs, &named.within, named.number);
        let mut entry = entry::make(self.btrfs, &named, &found);
        let (path, number): (Arc<str>, _) = (Arc::from(entry.path.as_str()), named.number);
        let Some(met) = self.met.get_mut(&named.within.id) else { return Step::Ready(Box::new(Ok(entry))) };
        let what = match met.directories.get(&number) {
            Some(elsewhere) => Some(format!("directory {number} was listed as {elsewhere}")),
            None if self.frames.is_full() => Some(format!("more than {MAX_DEPTH} directories deep: not read")),
            None => None,
        };
        if let Some(what) = what {
            entry.faults.push(self.btrfs.disk.fault(entry.at, what));
        } else {
            met.directories.insert(number, Arc::clone(&path));
            self.frames.enter(Directory { path, number, within: named.within }, found.names);
        }
        Step::Ready(Box::new(Ok(entry)))
    }

    fn is_directory(&self, named: &Named) -> bool {
        let inode = named.within.tree.first(&self.btrfs.disk, named.number, item::INODE);
        let kind = inode.and_then(|(_, item)| item::Inode::parse(&item)?.kind());
        kind == Some(EntryKind::Directory)
    }

    /// Enters the next subvolume that no directory names.
    fn next_loose(&mut self) -> bool {
        if self.loose.is_none() {
            let all = self.btrfs.subvolumes.all.keys().copied();
            self.loose = Some(all.filter(|id| !self.met.contains_key(id)).collect());
        }
        while let Some(id) = self.loose.as_mut().and_then(VecDeque::pop_front) {
            if self.enter(id, Arc::from(format!("{ORPHANS}/subvolume-{id}"))) {
                return true;
            }
        }
        false
    }

    /// The next inode that no name leads to, directories first: they may hold names of the others.
    fn next_orphan(&mut self) -> Option<Named> {
        if self.orphans.is_none() {
            self.orphans = Some(self.find_orphans());
        }
        loop {
            let named = self.orphans.as_mut()?.pop_front()?;
            if self.met.get_mut(&named.within.id)?.named.insert(named.number) {
                return Some(named);
            }
        }
    }

    fn find_orphans(&self) -> VecDeque<Named> {
        let (mut directories, mut others) = (VecDeque::new(), VecDeque::new());
        for met in self.met.values() {
            let orphan = |(number, at): (u64, u64)| Named {
                directory: Arc::from(ORPHANS),
                name: format!("OrphanFile-{}-{number}", met.within.id),
                file_type: 0,
                at,
                number,
                within: Arc::clone(&met.within),
                is_orphan: true,
            };
            let leaves = met.within.tree.leaves.par_iter().flat_map_iter(|leaf| {
                let bytes = leaf.read(&self.btrfs.disk);
                let items = super::node::items(&bytes).filter(|(key, ..)| {
                    key.kind == item::INODE
                        && (FIRST..item::LAST).contains(&key.object)
                        && !met.named.contains(&key.object)
                });
                let known = items.filter_map(|(key, at, b)| {
                    Some((key.object, leaf.at.saturating_add(at as u64), item::Inode::parse(b)?))
                });
                known.collect::<Vec<_>>()
            });
            let found: Vec<(u64, u64, item::Inode)> = leaves.collect();
            for (number, at, inode) in found {
                match inode.kind() {
                    Some(EntryKind::Directory) => directories.push_back(orphan((number, at))),
                    Some(_) => others.push_back(orphan((number, at))),
                    None => {}
                }
            }
        }
        directories.append(&mut others);
        directories
    }
}

/// What is said of an entry that is there and has no name: its last one was taken while it was open, or its subvolume is
/// gone.
fn settle(btrfs: &Btrfs<'_>, entry: &mut Entry, named: &Named, found: &Found) {
    let told = btrfs.subvolumes.all.get(&named.within.id);
    let unnamed = named.is_orphan && found.inode.as_ref().is_some_and(|inode| inode.links == 0);
    let gone = told.is_some_and(|told| told.is_gone);
    if unnamed || gone {
        let dropped = told.is_some_and(|told| told.is_dropped) || !entry.faults.is_empty();
        entry.allocated = false;
        entry.recovered = Some(if dropped { Recovered::Partial } else { Recovered::Intact });
        entry.remark(match gone {
            true => "its subvolume was deleted, and is still being taken apart",
            false => "its last name was taken while it was open; its blocks are still its own",
        });
    }
}

impl Iterator for Walk<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let btrfs = self.btrfs;
        let make = |step| match step {
            Step::Ready(ready) => *ready,
            Step::Named(named) => {
                let found = Found::read(btrfs, &named.within, named.number);
                let mut entry = entry::make(btrfs, &named, &found);
                settle(btrfs, &mut entry, &named, &found);
                Ok(entry)
            }
        };
        let made = batch(|| self.step(), make);
        if made.is_some() || std::mem::replace(&mut self.is_done, true) {
            return made;
        }
        Some(Recovery::new(self.btrfs, &self.met).run())
    }
}
