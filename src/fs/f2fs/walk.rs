//! The walk from the root directory: every live entry. What it meets of lost names is left to [`super::lost`].

use super::F2fs;
use super::dir::{Dirent, Names};
use super::entry::{self, Named};
use super::file::Pieces;
use super::lost::{Lost, Recovery};
use super::node::Inode;
use crate::fault::Fault;
use crate::fs::posix;
use crate::fs::walk::{Frames, MAX_DEPTH, batch};
use crate::fs::{Batch, Entry, EntryKind};
use crate::fuel::Fuel;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

pub(super) const ORPHANS: &str = "/$OrphanFiles";

/// What the walk meets next.
enum Step {
    /// What is complete: a directory, since what it holds follows on it, or a fault.
    Ready(Box<Result<Entry, Fault>>),
    /// Anything else, its inode, and the nodes that may be read for it.
    Named(Box<Named>, Option<Box<Inode>>, u64),
}

/// All entries, depth first: what a directory holds follows on its own entry. Inodes that no name leads to come next,
/// then what was deleted.
pub(super) struct Walk<'a> {
    fs: &'a F2fs<'a>,
    frames: Frames<Arc<str>, Dirent>,
    faults: VecDeque<Fault>,
    /// Inodes that a name leads to.
    named: HashSet<u32>,
    /// Directories that were walked, and their paths.
    walked: HashMap<u32, Arc<str>>,
    lost: Vec<Lost>,
    /// Blocks of names that were read: none belongs to two directories.
    read: HashSet<u32>,
    orphans: Option<VecDeque<u32>>,
    /// Live inodes whose last name was taken.
    open: Vec<u32>,
    is_done: bool,
    fuel: Fuel,
}

impl<'a> Walk<'a> {
    pub(super) fn new(fs: &'a F2fs<'a>) -> Self {
        let mut walk = Self {
            fs,
            frames: Frames::new(),
            faults: VecDeque::new(),
            named: HashSet::new(),
            walked: HashMap::new(),
            lost: Vec::new(),
            read: HashSet::new(),
            orphans: None,
            open: Vec::new(),
            is_done: false,
            fuel: fs.tank(),
        };
        walk.begin();
        walk
    }

    fn begin(&mut self) {
        let (disk, root) = (&self.fs.disk, self.fs.disk.sb.root);
        self.named.insert(root);
        self.named.extend(disk.sb.own.iter());
        match disk.inode(root).filter(|inode| inode.kind() == Some(EntryKind::Directory)) {
            Some(inode) => {
                let mut fuel = Fuel::new(self.cost(&inode));
                let find = |node: u32, _: u32| disk.node_byte(node);
                let pieces = Pieces::read(disk, &inode, &find, &mut fuel);
                let wrong = pieces.wrong.iter().map(|what| disk.fault(inode.at, format!("root directory: {what}")));
                self.faults.extend(wrong);
                if !inode.sound {
                    let what = "the checksum of the root directory's inode does not fit".to_owned();
                    self.faults.push_back(disk.fault(inode.at, what));
                }
                let faults = self.enter(&Arc::from(""), &inode, &pieces);
                self.faults.extend(faults);
            }
            None => {
                let at = disk.node_byte(root).unwrap_or(0);
                self.faults
                    .push_back(disk.fault(at, "the root directory's inode is no directory, or damaged".to_owned()));
            }
        }
    }

    /// Enters a directory; the lost names are kept. Gives what is wrong with it.
    fn enter(&mut self, path: &Arc<str>, inode: &Inode, pieces: &Pieces) -> Vec<Fault> {
        let disk = &self.fs.disk;
        let names = Names::read(disk, inode, pieces, &mut self.read);
        self.walked.insert(inode.number, Arc::clone(path));
        self.lost.extend(names.lost.into_iter().map(|dirent| Lost { path: Arc::clone(path), dirent }));
        self.frames.enter(Arc::clone(path), names.live);
        names.wrong.into_iter().map(|(at, what)| disk.fault(at, what)).collect()
    }

    /// Nodes that may be read for an inode: no sound file has more than its blocks need. They are taken from the tank at
    /// once, so that files can be read side by side.
    fn cost(&mut self, inode: &Inode) -> u64 {
        let most = self.fs.disk.sb.main_blocks() / 512;
        let cost = (inode.size / (1 << 21)).min(inode.blocks).min(most).saturating_add(64).min(self.fuel.left());
        let _ = self.fuel.burn(cost);
        cost
    }

    fn step(&mut self) -> Option<Step> {
        if let Some(fault) = self.faults.pop_front() {
            return Some(Step::Ready(Box::new(Err(fault))));
        }
        let named = match self.frames.next() {
            Some((directory, dirent)) => {
                self.named.insert(dirent.inode);
                Named { directory, dirent, is_orphan: false }
            }
            None => match self.next_orphan() {
                Some(named) => named,
                // What was found out on the way is told yet.
                None => return self.faults.pop_front().map(|fault| Step::Ready(Box::new(Err(fault)))),
            },
        };
        let inode = self.fs.disk.inode(named.dirent.inode);
        let cost = inode.as_ref().map_or(0, |inode| self.cost(inode));
        match inode {
            Some(inode) if inode.kind() == Some(EntryKind::Directory) => {
                Some(Step::Ready(Box::new(Ok(self.directory(&named, &inode, cost)))))
            }
            inode => Some(Step::Named(Box::new(named), inode.map(Box::new), cost)),
        }
    }

    /// The entry of a directory, whose names are the next to be met.
    fn directory(&mut self, named: &Named, inode: &Inode, cost: u64) -> Entry {
        let (mut entry, pieces) = entry::make(self.fs, named, Some(inode), &mut Fuel::new(cost));
        if self.walked.contains_key(&inode.number) {
            let what = format!("directory {} was listed elsewhere", inode.number);
            entry.faults.push(self.fs.disk.fault(inode.at, what));
        } else if self.frames.is_full() {
            let what = format!("more than {MAX_DEPTH} directories deep: not read");
            entry.faults.push(self.fs.disk.fault(inode.at, what));
        } else {
            let faults = self.enter(&Arc::from(entry.path.as_str()), inode, &pieces);
            entry.faults.extend(faults);
        }
        entry
    }

    /// The next live inode that no name leads to, directories first: they may hold names of the others.
    fn next_orphan(&mut self) -> Option<Named> {
        if self.orphans.is_none() {
            let (orphans, faults) = self.find_orphans();
            self.orphans = Some(orphans);
            self.faults.extend(faults);
        }
        loop {
            let number = self.orphans.as_mut()?.pop_front()?;
            if let Some(inode) = self.fs.disk.inode(number).filter(|_| self.named.insert(number)) {
                let name = match inode.name.as_slice() {
                    name if posix::is_plausible_name(name) => format!("{}-{number}", posix::name(name)),
                    _ => format!("OrphanFile-{number}"),
                };
                let dirent = Dirent { at: inode.at, inode: number, name, file_type: 0 };
                return Some(Named { directory: Arc::from(ORPHANS), dirent, is_orphan: true });
            }
        }
    }

    fn find_orphans(&mut self) -> (VecDeque<u32>, Vec<Fault>) {
        let disk = &self.fs.disk;
        let (mut directories, mut others, mut damaged) = (VecDeque::new(), VecDeque::new(), Vec::new());
        let (numbers, lost) = disk.inodes(|number| !self.named.contains(&number));
        for number in numbers {
            let Some(inode) = disk.inode(number) else {
                damaged.push(number);
                continue;
            };
            match inode.kind() {
                None => damaged.push(number),
                Some(_) if inode.links == 0 || disk.checkpoint.orphans.contains(&number) => self.open.push(number),
                Some(EntryKind::Directory) => directories.push_back(number),
                Some(_) => others.push_back(number),
            }
        }
        let mut faults = Vec::new();
        if let Some(first) = damaged.first() {
            let what = format!("{} inodes in use are damaged and no name leads to them: not listed", damaged.len());
            faults.push(disk.fault(disk.node_byte(*first).unwrap_or(0), what));
        }
        if lost > 0 {
            let what =
                format!("{lost} blocks of the table of nodes cannot be read: what no name leads to may be missing");
            faults.push(disk.fault(disk.sb.byte(disk.sb.nat), what));
        }
        directories.extend(others);
        (directories, faults)
    }
}

impl Iterator for Walk<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let fs = self.fs;
        let made = batch(
            || self.step(),
            |step| match step {
                Step::Ready(ready) => *ready,
                Step::Named(named, inode, cost) => {
                    Ok(entry::make(fs, &named, inode.as_deref(), &mut Fuel::new(cost)).0)
                }
            },
        );
        if made.is_some() || std::mem::replace(&mut self.is_done, true) {
            return made;
        }
        let live = std::mem::take(&mut self.walked);
        let recovery = Recovery::new(fs, live, std::mem::take(&mut self.open));
        Some(recovery.run(std::mem::take(&mut self.lost)))
    }
}
