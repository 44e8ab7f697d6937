//! The walk from the root directory: every live entry. What it meets of lost names is left to [`super::recover`].

use super::Ext;
use super::dir::Dirent;
use super::entry::{self, Found, Named};
use super::inode::Inode;
use super::lost::{Listing, Reader, Sighting};
use super::map::Mapping;
use super::recover::Recovery;
use crate::bytes::index;
use crate::fault::Fault;
use crate::fs::{Batch, Entry, EntryKind};
use crate::fuel::Fuel;
use rayon::prelude::*;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const ROOT: u32 = 2;
pub(super) const ORPHANS: &str = "/$OrphanFiles";
/// No path may be deeper.
pub(super) const MAX_DEPTH: usize = 1024;

/// A set of inode numbers.
pub(super) struct Inodes(Vec<u64>);

impl Inodes {
    pub(super) fn new(count: u32) -> Self {
        Self(vec![0; index(u64::from(count) / 64).saturating_add(1)])
    }

    /// True where it was not there before.
    pub(super) fn insert(&mut self, inode: u32) -> bool {
        let bit = 1u64 << (inode % 64);
        match self.0.get_mut(index(u64::from(inode) / 64)) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    pub(super) fn contains(&self, inode: u32) -> bool {
        self.0.get(index(u64::from(inode) / 64)).is_some_and(|word| word >> (inode % 64) & 1 != 0)
    }
}

/// Entries that are made together.
const BATCH: usize = 1024;

/// Names whose inodes are looked at together.
const AHEAD: usize = 1024;

/// A directory on the way.
struct Frame {
    path: Arc<str>,
    names: std::vec::IntoIter<Dirent>,
    /// Which of the next names are of directories.
    directories: VecDeque<bool>,
}

impl Frame {
    const fn new(path: Arc<str>, names: std::vec::IntoIter<Dirent>) -> Self {
        Self { path, names, directories: VecDeque::new() }
    }

    /// The next name, and whether it is a directory's. Inodes are looked at many at a time and in the order of their
    /// table, which is not that of the names: memory gives what is read in its order several times as fast.
    fn next(&mut self, ext: &Ext<'_>) -> Option<(Dirent, bool)> {
        if self.directories.is_empty() {
            let ahead = self.names.as_slice().iter().take(AHEAD);
            let mut ahead: Vec<(u32, usize)> = ahead.enumerate().map(|(row, dirent)| (dirent.inode, row)).collect();
            self.directories.resize(ahead.len(), false);
            ahead.sort_unstable();
            for (inode, row) in ahead {
                if let Some(is_directory) = self.directories.get_mut(row) {
                    *is_directory = ext.is_directory(inode);
                }
            }
        }
        Some((self.names.next()?, self.directories.pop_front()?))
    }
}

/// A lost name, and the path of the directory that had it.
pub(super) type Lost = (String, Sighting);

/// What the walk meets next.
enum Step {
    /// What is complete: a directory, since what it holds follows on it, or a fault.
    Ready(Box<Result<Entry, Fault>>),
    /// Any other inode.
    Named(Named),
}

/// All entries, depth first: what a directory holds follows on its own entry. Inodes that no name leads to come next,
/// then what was deleted.
pub(super) struct Walk<'a> {
    ext: &'a Ext<'a>,
    frames: Vec<Frame>,
    faults: VecDeque<Fault>,
    /// Inodes that a name leads to.
    named: Inodes,
    /// Directories that were walked.
    walked: Inodes,
    lost: Vec<Lost>,
    orphans: Option<VecDeque<u32>>,
    /// What was met, and is not made yet.
    next: Vec<Step>,
    is_done: bool,
    fuel: Fuel,
}

impl<'a> Walk<'a> {
    pub(super) fn new(ext: &'a Ext<'a>) -> Self {
        let mut walk = Self {
            ext,
            frames: Vec::new(),
            faults: VecDeque::new(),
            named: Inodes::new(ext.sb.inodes_count),
            walked: Inodes::new(ext.sb.inodes_count),
            lost: Vec::new(),
            orphans: None,
            next: Vec::new(),
            is_done: false,
            fuel: ext.tank(),
        };
        walk.begin();
        walk.next = walk.steps();
        walk
    }

    fn begin(&mut self) {
        self.named.insert(ROOT);
        self.walked.insert(ROOT);
        match self.ext.inode(ROOT).filter(|inode| inode.kind() == Some(EntryKind::Directory)) {
            Some(root) => {
                let mapping = entry::map(self.ext, &root, entry::seed(self.ext, ROOT, &root), &mut self.fuel);
                let wrong = mapping.wrong.as_ref().map(|wrong| format!("root directory: {wrong}"));
                self.faults.extend(wrong.map(|wrong| self.ext.fault(root.at, wrong)));
                let (names, faults) = self.names(ROOT, String::new(), &root, &mapping);
                self.faults.extend(faults);
                self.frames.push(Frame::new(Arc::from(""), names));
            }
            None => self.faults.push_back(self.ext.fault(0, "the root directory's inode is no directory".to_owned())),
        }
    }

    /// The live names of a directory; the lost ones are kept.
    fn names(
        &mut self,
        number: u32,
        path: String,
        inode: &Inode,
        mapping: &Mapping,
    ) -> (std::vec::IntoIter<Dirent>, Vec<Fault>) {
        let ext = self.ext;
        let reader = Reader { disk: &ext.disk, sb: &ext.sb, journal: &ext.journal, free: None };
        let Listing { live, lost, wrong } = reader.read(number, inode, mapping, entry::seed(ext, number, inode));
        let matters = |s: &Sighting| !s.shadowed || ext.history.of(s.dirent.inode).next().is_some();
        self.lost.extend(lost.into_iter().filter(matters).map(|sighting| (path.clone(), sighting)));
        (live.into_iter(), wrong.into_iter().map(|(at, what)| ext.fault(at, what)).collect())
    }

    /// The next step; nothing where all live entries were met.
    fn step(&mut self) -> Option<Step> {
        if let Some(fault) = self.faults.pop_front() {
            return Some(Step::Ready(Box::new(Err(fault))));
        }
        let (named, is_directory) = self.next_named().or_else(|| self.next_orphan())?;
        Some(match is_directory {
            true => Step::Ready(Box::new(Ok(self.directory(&named)))),
            false => Step::Named(named),
        })
    }

    /// The next name in the directories on the way, and whether it is a directory's.
    fn next_named(&mut self) -> Option<(Named, bool)> {
        while let Some(frame) = self.frames.last_mut() {
            if let Some((dirent, is_directory)) = frame.next(self.ext) {
                self.named.insert(dirent.inode);
                let directory = Arc::clone(&frame.path);
                return Some((Named { directory, dirent, is_orphan: false }, is_directory));
            }
            self.frames.pop();
        }
        None
    }

    /// The entry of a directory, whose names are the next to be met.
    fn directory(&mut self, named: &Named) -> Entry {
        let found = Found::of(self.ext, named.dirent.inode);
        let mut entry = entry::begin(self.ext, named, found.as_ref());
        if let Some(found) = found.as_ref().filter(|found| found.is_possible()) {
            let mapping = entry::fill(self.ext, &mut entry, found, &mut self.fuel);
            self.enter(&mut entry, named.dirent.inode, &found.inode, &mapping);
        }
        entry
    }

    /// The next steps, as many as are made together.
    fn steps(&mut self) -> Vec<Step> {
        let mut steps = Vec::with_capacity(BATCH);
        while steps.len() < BATCH
            && let Some(step) = self.step()
        {
            steps.push(step);
        }
        steps
    }

    /// The entries of these steps, while the next are met. Half of the fuel is lent to them, each an equal share: what
    /// needs more is made again, one after another.
    fn make(&mut self, steps: Vec<Step>) -> Batch {
        let (ext, lent) = (self.ext, self.fuel.left() / 2);
        self.fuel = Fuel::new(self.fuel.left().saturating_sub(lent));
        let share = lent.checked_div(steps.len() as u64).unwrap_or(0);
        let (next, (mut batch, mut dry, burnt)) = rayon::join(|| self.steps(), || side_by_side(ext, steps, share));
        self.next = next;
        self.fuel = Fuel::new(self.fuel.left().saturating_add(lent.saturating_sub(burnt)));
        dry.sort_unstable_by_key(|(row, _)| *row);
        for (row, named) in dry {
            if let Some(entry) = batch.get_mut(row) {
                *entry = Ok(entry::make(ext, &named, &mut self.fuel));
            }
        }
        batch
    }

    fn enter(&mut self, entry: &mut Entry, number: u32, inode: &Inode, mapping: &Mapping) {
        if !self.walked.insert(number) {
            let what = format!("directory {number} was listed elsewhere");
            return entry.faults.push(self.ext.fault(inode.at, what));
        }
        if self.frames.len() >= MAX_DEPTH {
            let what = format!("more than {MAX_DEPTH} directories deep: not read");
            return entry.faults.push(self.ext.fault(inode.at, what));
        }
        let (names, faults) = self.names(number, entry.path.clone(), inode, mapping);
        entry.faults.extend(faults);
        self.frames.push(Frame::new(Arc::from(entry.path.as_str()), names));
    }

    /// The next live inode that no name leads to, directories first: they may hold names of the others.
    fn next_orphan(&mut self) -> Option<(Named, bool)> {
        if self.orphans.is_none() {
            self.orphans = Some(self.find_orphans());
        }
        loop {
            let inode = self.orphans.as_mut()?.pop_front()?;
            if self.named.insert(inode) {
                let name = format!("OrphanFile-{inode}");
                let dirent = Dirent { at: 0, inode, name, deleted: false, file_type: 0 };
                let named = Named { directory: Arc::from(ORPHANS), dirent, is_orphan: true };
                return Some((named, self.ext.is_directory(inode)));
            }
        }
    }

    fn find_orphans(&self) -> VecDeque<u32> {
        let (mut directories, mut others) = (VecDeque::new(), VecDeque::new());
        for number in self.ext.groups.written(&self.ext.sb) {
            let live = self.ext.groups.inode_used(&self.ext.sb, number) != Some(false);
            if !live || self.ext.is_own(number) || self.named.contains(number) {
                continue;
            }
            let Some(inode) = self.ext.inode(number) else { continue };
            if inode.links == 0 || inode.is_attribute() {
                continue;
            }
            match inode.kind() {
                Some(EntryKind::Directory) => directories.push_back(number),
                Some(_) => others.push_back(number),
                None => {}
            }
        }
        directories.append(&mut others);
        directories
    }
}

impl Iterator for Walk<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let steps = std::mem::take(&mut self.next);
        if !steps.is_empty() {
            return Some(self.make(steps));
        }
        if std::mem::replace(&mut self.is_done, true) {
            return None;
        }
        let deleted = Recovery::new(self.ext).run(std::mem::take(&mut self.lost));
        Some(deleted.into_iter().map(Ok).collect())
    }
}

/// The entries of these steps, in order, those that burnt their share of fuel and want more, and what the others burnt.
fn side_by_side(ext: &Ext<'_>, steps: Vec<Step>, share: u64) -> (Batch, Vec<(usize, Named)>, u64) {
    let (burnt, dry) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let entry = |(row, step): (usize, Step)| {
        let named = match step {
            Step::Ready(ready) => return *ready,
            Step::Named(named) => named,
        };
        let mut fuel = Fuel::new(share);
        let entry = entry::make(ext, &named, &mut fuel);
        if fuel.left() > 0 {
            burnt.fetch_add(share.saturating_sub(fuel.left()), Ordering::Relaxed);
        } else {
            dry.lock().unwrap_or_else(PoisonError::into_inner).push((row, named));
        }
        Ok(entry)
    };
    let batch = steps.into_par_iter().enumerate().map(entry).collect();
    (batch, dry.into_inner().unwrap_or_else(PoisonError::into_inner), burnt.into_inner())
}
