//! Deleted files: the names that were found and the inodes that are gone, brought together, each with a verdict.
//!
//! An inode keeps its name and the number of its directory, so that a file that is gone has its path even where its directory
//! forgot it. Whose a block was last the summaries of segments say: content is called intact only where they say that it is its own.

use super::F2fs;
use super::dir::{Dirent, Names};
use super::entry;
use super::file::Pieces;
use super::remains::{Remain, Remains};
use super::walk::ORPHANS;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::walk::MAX_DEPTH;
use crate::fs::{Batch, Entry, EntryKind, Origin, Recovered, posix};
use crate::fuel::Fuel;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// A lost name, and the path of the directory that had it.
pub(super) struct Lost {
    pub(super) path: Arc<str>,
    pub(super) dirent: Dirent,
}

/// Brings names and inodes together.
pub(super) struct Recovery<'a> {
    fs: &'a F2fs<'a>,
    remains: Remains,
    gone: BTreeMap<u32, Remain>,
    /// Paths of directories, live ones and those that are listed here.
    directories: HashMap<u32, Arc<str>>,
    /// Inodes that are listed, with their path.
    claimed: HashMap<u32, String>,
    /// Live inodes whose last name was taken.
    open: Vec<u32>,
    out: Vec<Entry>,
    /// Blocks of names that were read.
    read: HashSet<u32>,
    fuel: Fuel,
}

impl<'a> Recovery<'a> {
    /// `live`: directories, and their paths.
    pub(super) fn new(fs: &'a F2fs<'a>, live: HashMap<u32, Arc<str>>, open: Vec<u32>) -> Self {
        let remains = Remains::find(fs);
        let gone = remains.inodes(fs);
        Self {
            fs,
            remains,
            gone,
            directories: live,
            claimed: HashMap::new(),
            open,
            out: Vec::new(),
            read: HashSet::new(),
            fuel: fs.tank(),
        }
    }

    /// All deleted entries, those that the tables hold first.
    pub(super) fn run(mut self, lost: Vec<Lost>) -> Batch {
        let mut waiting: VecDeque<Lost> = lost.into();
        let mut alone = Vec::new();
        while let Some(lost) = waiting.pop_front() {
            match self.meant(&lost.dirent) {
                Some(number) => waiting.extend(self.list(number, &lost.path, &lost.dirent.name)),
                None => alone.push(lost),
            }
        }
        let numbers: Vec<u32> = self.gone.keys().copied().collect();
        for number in numbers {
            waiting.extend(self.by_itself(number, 0));
        }
        // Names in directories that were listed by themselves: their files are, too.
        alone.extend(waiting);
        for number in std::mem::take(&mut self.open) {
            self.open(number);
        }
        for lost in alone {
            self.name_only(&lost);
        }
        self.out.sort_by_key(|entry| entry.origin != Origin::Table);
        let cut = self.remains.cut.then(|| {
            Err(self
                .fs
                .disk
                .fault(0, "more nodes are gone than are kept in memory: the others are not listed".to_owned()))
        });
        let newer = self.remains.newer(self.fs);
        let newer = (newer > 0).then(|| Err(self.newer(newer)));
        cut.into_iter().chain(newer).chain(self.out.into_iter().map(Ok)).collect()
    }

    fn newer(&self, count: usize) -> Fault {
        let what = format!(
            "{count} inodes were written after the last checkpoint, which a mount may take back: what is listed is as the \
             checkpoint has it"
        );
        self.fs.disk.fault(self.fs.disk.checkpoint.at, what)
    }

    /// The inode that a lost name leads to, if it is gone, may have been what the name says, and is not listed yet.
    fn meant(&self, dirent: &Dirent) -> Option<u32> {
        let kind = self.gone.get(&dirent.inode)?.inode.kind();
        let fits = dirent.file_type == 0 || kind == Some(posix::kind_of_type(dirent.file_type));
        (fits && !self.claimed.contains_key(&dirent.inode)).then_some(dirent.inode)
    }

    /// Lists an inode by the name that it keeps, and before it the directories that led to it.
    fn by_itself(&mut self, number: u32, depth: usize) -> Vec<Lost> {
        let Some(remain) = self.gone.get(&number).filter(|_| !self.claimed.contains_key(&number)) else {
            return Vec::new();
        };
        let (parent, name) = (remain.inode.parent, remain.inode.name.clone());
        let mut lost = Vec::new();
        if !self.directories.contains_key(&parent) && depth < MAX_DEPTH && parent != number {
            lost = self.by_itself(parent, depth.saturating_add(1));
        }
        // A directory above it may have been a way round to it.
        if self.claimed.contains_key(&number) {
            return lost;
        }
        let above = self.directories.get(&parent).cloned().unwrap_or_else(|| Arc::from(ORPHANS));
        let name = match posix::is_plausible_name(&name) {
            true => posix::name(&name),
            false => format!("OrphanFile-{number}"),
        };
        lost.extend(self.list(number, &above, &name));
        lost
    }

    /// Lists an inode that is gone; gives the names that it held.
    fn list(&mut self, number: u32, above: &Arc<str>, name: &str) -> Vec<Lost> {
        let path = [above, "/", name].concat();
        // Listed from here on, wherever its own directory may lead.
        self.claimed.insert(number, path.clone());
        let Some(remain) = self.gone.get(&number) else { return Vec::new() };
        let (fs, remains) = (self.fs, &self.remains);
        let find = |node: u32, inode: u32| remains.byte(node, inode);
        let kind = remain.inode.kind().unwrap_or(EntryKind::File);
        let is_doubtful = remains.is_doubtful(number, number);
        let mut entry = Entry::new(path.clone(), kind, number.to_string(), remain.inode.at);
        let pieces = entry::fill(fs, &mut entry, &remain.inode, &find, &mut self.fuel);
        entry.allocated = false;
        entry.linked = false;
        entry.origin = Origin::Unallocated;
        entry.recovered = Some(verdict(fs, &entry, (remain, remains), &pieces));
        if is_doubtful {
            entry.remark("two copies of it are equally new: which one was the last is not known");
        }
        if remain.is_newer {
            entry.remark("written after the last checkpoint: a mount may bring it back");
        }
        if remain.inode.lost_parent {
            entry.remark("it had several names or was renamed: its inode keeps an older one");
        }
        let mut lost = Vec::new();
        if kind == EntryKind::Directory && path.matches('/').count() < MAX_DEPTH {
            let names = Names::read(&fs.disk, &remain.inode, &own(fs, remain, pieces), &mut self.read);
            let path: Arc<str> = Arc::from(path.as_str());
            let all = names.live.into_iter().chain(names.lost);
            lost.extend(all.map(|dirent| Lost { path: Arc::clone(&path), dirent }));
            self.directories.entry(number).or_insert(path);
        }
        self.out.push(entry);
        lost
    }

    /// Lists an inode that lost its last name while it was open: it is all there.
    fn open(&mut self, number: u32) {
        let fs = self.fs;
        let Some(inode) = fs.disk.inode(number) else { return };
        let above = self.directories.get(&inode.parent).cloned().unwrap_or_else(|| Arc::from(ORPHANS));
        let path = match posix::is_plausible_name(&inode.name) {
            true => [&above, "/", &posix::name(&inode.name)].concat(),
            false => format!("{ORPHANS}/OrphanFile-{number}"),
        };
        let mut entry = Entry::new(path.clone(), inode.kind().unwrap_or(EntryKind::File), number.to_string(), inode.at);
        let find = |node: u32, _: u32| fs.disk.node_byte(node);
        entry::fill(fs, &mut entry, &inode, &find, &mut self.fuel);
        entry.allocated = false;
        entry.linked = false;
        entry.recovered = Some(if entry.faults.is_empty() { Recovered::Intact } else { Recovered::Partial });
        entry.remark("its last name was taken while it was open; its blocks are still its own");
        self.claimed.insert(number, path);
        self.out.push(entry);
    }

    fn name_only(&mut self, lost: &Lost) {
        let path = [&lost.path, "/", &lost.dirent.name].concat();
        let number = lost.dirent.inode;
        let note = match self.claimed.get(&number) {
            Some(first) if *first == path => return,
            Some(first) => format!("leads to the same inode as {first}: another name of it, or of another file"),
            None if self.fs.disk.inode(number).is_some() => {
                "only its name is left: its inode belongs to another name now, or the file was renamed".to_owned()
            }
            None => "only its name is left: its inode is gone".to_owned(),
        };
        let mut entry =
            Entry::new(path, posix::kind_of_type(lost.dirent.file_type), number.to_string(), lost.dirent.at);
        entry.allocated = false;
        entry.recovered = Some(Recovered::NameOnly);
        entry.origin = Origin::Slack;
        entry.note = Some(note);
        self.out.push(entry);
    }
}

/// Whether a block is free and was last written for that row of that node.
fn is_own(fs: &F2fs<'_>, is_newer: bool, (block, node, row): (u32, u32, usize)) -> bool {
    let is_free = fs.segments.free.touches(Extent::new(fs.disk.sb.byte(block.into()), 1));
    // What was written after the checkpoint no summary tells.
    is_free && fs.disk.owner(block).map_or(is_newer, |owner| owner == (node, row as u16))
}

/// How much of its content is its own.
fn verdict(fs: &F2fs<'_>, entry: &Entry, (remain, remains): (&Remain, &Remains), pieces: &Pieces) -> Recovered {
    let (mut own, mut all) = (0u64, 0u64);
    let is_doubtful = |node: u32| remains.is_doubtful(node, remain.inode.number);
    let doubt = is_doubtful(remain.inode.number) || pieces.nodes().any(is_doubtful);
    let inode = &remain.inode;
    let is_bare = entry.kind == EntryKind::File && !inode.inline_data && (inode.size > 0 || inode.links == 0);
    for named in pieces.named() {
        all = all.saturating_add(1);
        own = own.saturating_add(is_own(fs, remain.is_newer, named).into());
    }
    match own {
        _ if doubt || !entry.faults.is_empty() => Recovered::Partial,
        // Its blocks may have been given back before it was last written.
        _ if all == 0 && is_bare => Recovered::Partial,
        own if own == all => Recovered::Intact,
        0 => Recovered::Overwritten,
        _ => Recovered::Partial,
    }
}

/// The blocks of a directory that are still its own.
fn own(fs: &F2fs<'_>, remain: &Remain, mut pieces: Pieces) -> Pieces {
    pieces.keep(|named| is_own(fs, remain.is_newer, named));
    pieces
}
