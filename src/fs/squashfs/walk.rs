//! The walk from the root directory: every entry; then the inodes that no name leads to.

use super::dir::{self, Dirent};
use super::entry::{self, Named};
use super::inode::{Holds, Inode};
use super::{Squashfs, superblock::Superblock};
use crate::fault::Fault;
use crate::fs::walk::{Frames, MAX_DEPTH, batch};
use crate::fs::{Batch, Entry, EntryKind};
use crate::fuel::Fuel;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

const ORPHANS: &str = "/$OrphanFiles";

/// What the walk meets next.
enum Step {
    Ready(Box<Result<Entry, Fault>>),
    Named(Box<Named>),
}

/// All entries, depth first: what a directory holds follows on its own entry.
pub(super) struct Walk<'a> {
    fs: &'a Squashfs<'a>,
    frames: Frames<Arc<str>, Dirent>,
    faults: VecDeque<Fault>,
    /// References of inodes that a name leads to.
    named: HashSet<u64>,
    /// References of directories that were walked.
    walked: HashSet<u64>,
    /// Inodes that no name leads to, once all names were met.
    orphans: Option<VecDeque<u64>>,
    /// Bytes of names and of lists of blocks that may be read.
    fuel: Fuel,
}

impl<'a> Walk<'a> {
    pub(super) fn new(fs: &'a Squashfs<'a>) -> Self {
        let (names, inodes) = (fs.directories.size(), fs.inodes.size());
        // Names of one file share its list of blocks; more than this is no sound volume.
        let tank = names.saturating_mul(4).saturating_add(inodes.saturating_mul(64)).saturating_add(1 << 24);
        let mut walk = Self {
            fs,
            frames: Frames::new(),
            faults: VecDeque::new(),
            named: HashSet::new(),
            walked: HashSet::new(),
            orphans: None,
            fuel: Fuel::new(tank),
        };
        walk.begin();
        walk
    }

    fn begin(&mut self) {
        let root = self.fs.sb.root;
        self.named.insert(root);
        match self.fs.inode(root) {
            Some((Inode { holds: Holds::Names { .. }, .. }, _)) => {
                if let Some(what) = self.enter(root, Arc::from("")) {
                    self.faults.push_back(self.fs.fault(self.fs.sb.directory_table, format!("root directory: {what}")));
                }
            }
            _ => {
                let what = "the root directory's inode is no directory, or damaged";
                self.faults.push_back(self.fs.fault(self.fs.sb.inode_table, what.to_owned()));
            }
        }
    }

    /// Enters a directory; gives what is wrong with it.
    fn enter(&mut self, reference: u64, path: Arc<str>) -> Option<String> {
        let Some((Inode { holds: Holds::Names { reference: first, len }, .. }, _)) = self.fs.inode(reference) else {
            return None;
        };
        if self.frames.is_full() {
            return Some(format!("more than {MAX_DEPTH} directories deep: not read"));
        }
        if !self.walked.insert(reference) {
            return Some("it was listed elsewhere".to_owned());
        }
        if self.fuel.burn(len).is_err() {
            return Some("directories hold more than there is room for: not read".to_owned());
        }
        let (names, whole) = dir::names(&self.fs.directories, first, len);
        self.frames.enter(path, names);
        (!whole).then(|| "not all of its names can be read".to_owned())
    }

    fn step(&mut self) -> Option<Step> {
        if let Some(fault) = self.faults.pop_front() {
            return Some(Step::Ready(Box::new(Err(fault))));
        }
        let named = self.next_named().or_else(|| self.next_orphan())?;
        let cost = match &named.inode {
            Some((Inode { holds: Holds::Blocks { count, .. }, .. }, _)) => count.saturating_mul(4),
            _ => 1,
        };
        if self.fuel.burn(cost).is_err() {
            let what =
                format!("{}/{}: more than this volume has room for: not read", named.directory, named.dirent.name);
            return Some(Step::Ready(Box::new(Err(self.fs.fault(named.dirent.at, what)))));
        }
        let is_directory = named.inode.as_ref().is_some_and(|(inode, _)| inode.kind == EntryKind::Directory);
        if !is_directory {
            return Some(Step::Named(Box::new(named)));
        }
        let mut entry = entry::make(self.fs, &named);
        if let Some(what) = self.enter(named.dirent.inode, Arc::from(entry.path.as_str())) {
            entry.faults.push(self.fs.fault(entry.at, what));
        }
        Some(Step::Ready(Box::new(Ok(entry))))
    }

    fn next_named(&mut self) -> Option<Named> {
        let (directory, dirent) = self.frames.next()?;
        self.named.insert(dirent.inode);
        let inode = self.fs.inode(dirent.inode);
        Some(Named { directory, dirent, inode, is_orphan: false })
    }

    /// The next inode that no name leads to: a damaged directory held its name.
    fn next_orphan(&mut self) -> Option<Named> {
        if self.orphans.is_none() {
            let all = self.named.len() >= usize::try_from(self.fs.sb.inodes).unwrap_or(usize::MAX);
            self.orphans = Some(if all { VecDeque::new() } else { unnamed(self.fs, &self.fs.sb, &self.named) });
        }
        loop {
            let reference = self.orphans.as_mut()?.pop_front()?;
            let Some((inode, place)) = self.fs.inode(reference).filter(|_| self.named.insert(reference)) else {
                continue;
            };
            let name = format!("OrphanFile-{}", inode.number);
            let dirent = Dirent { name, inode: reference, file_type: 0, at: self.fs.inodes.byte(place) };
            return Some(Named { directory: Arc::from(ORPHANS), dirent, inode: Some((inode, place)), is_orphan: true });
        }
    }
}

/// References of the inodes that no name leads to, directories first: they may hold names of the others. Behind damage
/// none can be told from another, as they stand one behind the other.
fn unnamed(fs: &Squashfs<'_>, sb: &Superblock, named: &HashSet<u64>) -> VecDeque<u64> {
    let (mut directories, mut others) = (VecDeque::new(), VecDeque::new());
    let mut place = fs.inodes.first();
    for _ in 0..sb.inodes {
        let reference = fs.inodes.settled(place).and_then(|here| fs.inodes.reference(here));
        let Some(inode) = Inode::read(sb, &fs.inodes, &mut place) else { break };
        if let Some(reference) = reference.filter(|reference| !named.contains(reference)) {
            match inode.kind {
                EntryKind::Directory => directories.push_back(reference),
                _ => others.push_back(reference),
            }
        }
    }
    // A directory above others stands behind them.
    directories.into_iter().rev().chain(others).collect()
}

impl Iterator for Walk<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let fs = self.fs;
        let make = |step| match step {
            Step::Ready(ready) => *ready,
            Step::Named(named) => Ok(entry::make(fs, &named)),
        };
        batch(|| self.step(), make)
    }
}
