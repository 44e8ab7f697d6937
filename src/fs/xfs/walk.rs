//! The walk from the root directory: every live entry. What it meets of lost names is left to [`super::lost`].

use super::Xfs;
use super::dir::{Dirent, Names};
use super::entry::{self, Named};
use super::group::State;
use super::inode::{Format, Inode};
use super::lost::{Lost, Recovery};
use super::map::Mapping;
use crate::fault::Fault;
use crate::fs::walk::{Frames, MAX_DEPTH, batch};
use crate::fs::{Batch, Entry, EntryKind};
use crate::fuel::Fuel;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

pub(super) const ORPHANS: &str = "/$OrphanFiles";

/// What the walk meets next.
enum Step {
    /// What is complete: a directory, since what it holds follows on it, or a fault.
    Ready(Box<Result<Entry, Fault>>),
    /// Anything else, its inode, and the steps that its extents may take.
    Named(Named, Option<Box<Inode>>, u64),
}

/// All entries, depth first: what a directory holds follows on its own entry. Inodes that no name leads to come next,
/// then what was deleted.
pub(super) struct Walk<'a> {
    xfs: &'a Xfs<'a>,
    frames: Frames<Arc<str>, Dirent>,
    faults: VecDeque<Fault>,
    /// Inodes that a name leads to.
    named: HashSet<u64>,
    /// Directories that were walked, and their paths.
    walked: HashMap<u64, Arc<str>>,
    lost: Vec<Lost>,
    orphans: Option<VecDeque<u64>>,
    is_done: bool,
    fuel: Fuel,
}

impl<'a> Walk<'a> {
    pub(super) fn new(xfs: &'a Xfs<'a>) -> Self {
        let mut walk = Self {
            xfs,
            frames: Frames::new(),
            faults: VecDeque::new(),
            named: HashSet::new(),
            walked: HashMap::new(),
            lost: Vec::new(),
            orphans: None,
            is_done: false,
            fuel: xfs.tank(),
        };
        walk.begin();
        walk
    }

    fn begin(&mut self) {
        let (disk, number) = (&self.xfs.disk, self.xfs.disk.sb.root);
        self.named.insert(number);
        self.walked.insert(number, Arc::from(""));
        match disk.inode(number).filter(|inode| inode.kind() == Some(EntryKind::Directory)) {
            Some(root) => {
                let mut fuel = Fuel::new(self.cost(&root));
                let map = Mapping::read(disk, &root.data, number, &mut fuel);
                let faults = map.wrong.iter().map(|what| disk.fault(root.at, format!("root directory: {what}")));
                self.faults.extend(faults);
                if !root.sound {
                    let what = "the checksum of the root directory's inode does not fit".to_owned();
                    self.faults.push_back(disk.fault(root.at, what));
                }
                let (names, faults) = self.names("", &root, &map);
                self.faults.extend(faults);
                self.frames.enter(Arc::from(""), names);
            }
            None => {
                let at = disk.sb.inode_byte(number).unwrap_or(0);
                self.faults.push_back(disk.fault(at, "the root directory's inode is no directory".to_owned()));
            }
        }
    }

    /// The live names of a directory; the lost ones are kept.
    fn names(&mut self, path: &str, inode: &Inode, map: &Mapping) -> (Vec<Dirent>, Vec<Fault>) {
        let disk = &self.xfs.disk;
        let found = names(self.xfs, inode, map, false);
        let path: Arc<str> = Arc::from(path);
        self.lost.extend(found.lost.into_iter().map(|dirent| Lost { path: Arc::clone(&path), dirent }));
        (found.live, found.wrong.into_iter().map(|(at, what)| disk.fault(at, what)).collect())
    }

    /// Steps that the extents of an inode may take: no sound file has more extents, or more blocks in its tree, than it
    /// has blocks. They are taken from the tank at once, so that files can be read side by side.
    fn cost(&mut self, inode: &Inode) -> u64 {
        let most = inode.blocks.saturating_add(64).min(self.xfs.disk.sb.blocks);
        let cost = match inode.data.format {
            Format::Tree => inode.data.extents.saturating_mul(2).saturating_add(64).min(most),
            _ => 64,
        };
        let cost = cost.min(self.fuel.left());
        let _ = self.fuel.burn(cost);
        cost
    }

    /// The next step; nothing where all live entries were met.
    fn step(&mut self) -> Option<Step> {
        if let Some(fault) = self.faults.pop_front() {
            return Some(Step::Ready(Box::new(Err(fault))));
        }
        let named = self.next_named().or_else(|| self.next_orphan())?;
        let inode = self.xfs.disk.inode(named.dirent.inode);
        let cost = inode.as_ref().map_or(0, |inode| self.cost(inode));
        let is_directory = inode.as_ref().is_some_and(|inode| inode.kind() == Some(EntryKind::Directory));
        Some(match inode {
            Some(inode) if is_directory => Step::Ready(Box::new(Ok(self.directory(&named, &inode, cost)))),
            inode => Step::Named(named, inode.map(Box::new), cost),
        })
    }

    fn next_named(&mut self) -> Option<Named> {
        let (directory, dirent) = self.frames.next()?;
        self.named.insert(dirent.inode);
        Some(Named { directory, dirent, is_orphan: false })
    }

    /// The entry of a directory, whose names are the next to be met.
    fn directory(&mut self, named: &Named, inode: &Inode, cost: u64) -> Entry {
        let (mut entry, map) = entry::make(self.xfs, named, Some(inode), &mut Fuel::new(cost));
        if self.walked.contains_key(&inode.number) {
            let what = format!("directory {} was listed elsewhere", inode.number);
            entry.faults.push(self.xfs.disk.fault(inode.at, what));
        } else if self.frames.is_full() {
            let what = format!("more than {MAX_DEPTH} directories deep: not read");
            entry.faults.push(self.xfs.disk.fault(inode.at, what));
        } else {
            let (names, faults) = self.names(&entry.path, inode, &map);
            entry.faults.extend(faults);
            let path: Arc<str> = Arc::from(entry.path.as_str());
            self.walked.insert(inode.number, Arc::clone(&path));
            self.frames.enter(path, names);
        }
        entry
    }

    /// The next live inode that no name leads to, directories first: they may hold names of the others.
    fn next_orphan(&mut self) -> Option<Named> {
        if self.orphans.is_none() {
            self.orphans = Some(self.find_orphans());
        }
        loop {
            let inode = self.orphans.as_mut()?.pop_front()?;
            if self.named.insert(inode) {
                let name = format!("OrphanFile-{inode}");
                let dirent = Dirent { at: 0, inode, name, file_type: 0 };
                return Some(Named { directory: Arc::from(ORPHANS), dirent, is_orphan: true });
            }
        }
    }

    fn find_orphans(&self) -> VecDeque<u64> {
        let disk = &self.xfs.disk;
        let used: Vec<u64> = self.xfs.groups.inodes(disk).filter(|(_, s)| *s == State::Used).map(|(n, _)| n).collect();
        let unnamed = used.into_par_iter().filter(|n| !self.named.contains(n) && !disk.is_own(*n));
        let found: Vec<(bool, u64)> = unnamed
            .filter_map(|number| {
                let inode = disk.inode(number).filter(|inode| inode.links > 0 && !inode.is_metadata())?;
                Some((inode.kind()? == EntryKind::Directory, number))
            })
            .collect();
        let (directories, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(is_directory, _)| *is_directory);
        directories.into_iter().chain(others).map(|(_, number)| number).collect()
    }
}

/// The names that a directory's inode leads to.
pub(super) fn names(xfs: &Xfs<'_>, inode: &Inode, map: &Mapping, deleted: bool) -> Names {
    let (disk, area) = (&xfs.disk, inode.data.area);
    let mut names = Names::default();
    match inode.data.format {
        Format::Local => {
            let bytes = disk.read(area.start, area.len).unwrap_or_default();
            names.take_short(disk, &bytes, inode.size, area.start);
        }
        _ => names.take_blocks(disk, map, inode.number, deleted),
    }
    names.finish();
    names
}

impl Iterator for Walk<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let xfs = self.xfs;
        let make = |step| match step {
            Step::Ready(ready) => *ready,
            Step::Named(named, inode, cost) => Ok(entry::make(xfs, &named, inode.as_deref(), &mut Fuel::new(cost)).0),
        };
        let made = batch(|| self.step(), make);
        if made.is_some() || std::mem::replace(&mut self.is_done, true) {
            return made;
        }
        let (named, walked) = (std::mem::take(&mut self.named), std::mem::take(&mut self.walked));
        let recovery = Recovery::new(self.xfs, &named, walked);
        Some(recovery.run(std::mem::take(&mut self.lost)))
    }
}
