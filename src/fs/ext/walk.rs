//! The walk from the root directory: every live entry. What it meets of lost names is left to [`super::recover`].

use super::checksum;
use super::dir::Dirent;
use super::inode::Inode;
use super::lost::{Listing, Reader, Sighting, kind_of};
use super::map::{Mapper, Mapping};
use super::recover::Recovery;
use super::{Ext, xattr};
use crate::bytes::index;
use crate::content::{Content, Stream};
use crate::fault::Fault;
use crate::fs::{Entry, EntryKind};
use crate::fuel::Fuel;
use std::collections::VecDeque;

const ROOT: u32 = 2;
pub(super) const ORPHANS: &str = "/$OrphanFiles";
/// No path may be deeper.
pub(super) const MAX_DEPTH: usize = 1024;
/// The longest target of a symbolic link.
const MAX_TARGET: u64 = 4096;

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

/// A directory on the way.
struct Frame {
    path: String,
    names: std::vec::IntoIter<Dirent>,
}

/// A lost name, and the path of the directory that had it.
pub(super) type Lost = (String, Sighting);

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
    deleted: Option<std::vec::IntoIter<Entry>>,
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
            deleted: None,
            fuel: ext.tank(),
        };
        walk.begin();
        walk
    }

    fn begin(&mut self) {
        self.named.insert(ROOT);
        self.walked.insert(ROOT);
        match self.ext.inode(ROOT).filter(|inode| inode.kind() == Some(EntryKind::Directory)) {
            Some(root) => {
                let mapping = self.map(ROOT, &root);
                let wrong = mapping.wrong.as_ref().map(|wrong| format!("root directory: {wrong}"));
                self.faults.extend(wrong.map(|wrong| self.ext.fault(root.at, wrong)));
                let (names, faults) = self.names(ROOT, String::new(), &root, &mapping);
                self.faults.extend(faults);
                self.frames.push(Frame { path: String::new(), names });
            }
            None => self.faults.push_back(self.ext.fault(0, "the root directory's inode is no directory".to_owned())),
        }
    }

    fn map(&mut self, number: u32, inode: &Inode) -> Mapping {
        let (sb, disk) = (&self.ext.sb, &self.ext.disk);
        let mapper = Mapper { disk, sb, free: &self.ext.groups.free, older: None };
        mapper.map(inode, false, seed(self.ext, number, inode), &mut self.fuel)
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
        let Listing { live, lost, wrong } = reader.read(number, inode, mapping, seed(ext, number, inode));
        let matters = |s: &Sighting| !s.shadowed || ext.history.of(s.dirent.inode).next().is_some();
        self.lost.extend(lost.into_iter().filter(matters).map(|sighting| (path.clone(), sighting)));
        (live.into_iter(), wrong.into_iter().map(|(at, what)| ext.fault(at, what)).collect())
    }

    /// The entry of a name.
    fn entry(&mut self, dirent: &Dirent) -> Option<Entry> {
        let path = format!("{}/{}", self.frames.last()?.path, dirent.name);
        self.named.insert(dirent.inode);
        let used = self.ext.groups.inode_used(&self.ext.sb, dirent.inode);
        let inode = self.ext.inode(dirent.inode);
        let kind = inode.as_ref().and_then(Inode::kind).unwrap_or_else(|| kind_of(dirent.file_type));
        let at = inode.as_ref().map_or(dirent.at, |inode| inode.at);
        let mut entry = Entry::new(path, kind, dirent.inode.to_string(), at);
        if used == Some(false) {
            entry.faults.push(self.ext.fault(at, format!("inode {} is named but marked as free", dirent.inode)));
        }
        match inode {
            Some(inode) if inode.kind().is_some() => self.fill(&mut entry, dirent.inode, &inode),
            _ => {
                let what = format!("inode {} is empty or cannot be read", dirent.inode);
                entry.faults.push(self.ext.fault(dirent.at, what));
            }
        }
        Some(entry)
    }

    /// What the inode tells: times, content, the target of a link, the names in a directory.
    fn fill(&mut self, entry: &mut Entry, number: u32, inode: &Inode) {
        let at = self.ext.groups.inode_at(&self.ext.sb, number).unwrap_or(inode.at);
        if self.ext.disk.changes(at, self.ext.sb.inode_size) {
            entry.remark("its inode is as the journal would write it back; the table still holds an older one");
        }
        if seed(self.ext, number, inode).is_some_and(|seed| !self.ext.inode_holds(seed, at)) {
            entry.faults.push(self.ext.fault(inode.at, format!("the checksum of inode {number} does not fit")));
        }
        // In a live inode the field of deletion links those whose deletion is not finished.
        entry.times = crate::fs::Times { dtime: None, ..inode.times };
        xattr::describe(self.ext, inode, entry);
        if entry.kind == EntryKind::Special {
            return;
        }
        let mapping = self.map(number, inode);
        if let Some(wrong) = &mapping.wrong {
            entry.faults.push(self.ext.fault(inode.at, wrong.clone()));
        }
        if entry.kind == EntryKind::Directory {
            return self.enter(entry, number, inode, &mapping);
        }
        entry.stream = Stream::plain(mapping.runs, inode.size);
        set_target(self.ext, entry);
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
        self.frames.push(Frame { path: entry.path.clone(), names });
    }

    /// The next live inode that no name leads to, directories first: they may hold names of the others.
    fn next_orphan(&mut self) -> Option<Entry> {
        if self.orphans.is_none() {
            self.orphans = Some(self.find_orphans());
        }
        loop {
            let number = self.orphans.as_mut()?.pop_front()?;
            if !self.named.insert(number) {
                continue;
            }
            let Some(inode) = self.ext.inode(number) else { continue };
            let path = format!("{ORPHANS}/OrphanFile-{number}");
            let mut entry = Entry::new(path, inode.kind().unwrap_or(EntryKind::File), number.to_string(), inode.at);
            entry.note = Some("no directory names it".to_owned());
            self.fill(&mut entry, number, &inode);
            return Some(entry);
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
    type Item = Result<Entry, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(fault) = self.faults.pop_front() {
            return Some(Err(fault));
        }
        while let Some(frame) = self.frames.last_mut() {
            match frame.names.next() {
                Some(dirent) => return self.entry(&dirent).map(Ok),
                None => drop(self.frames.pop()),
            }
        }
        if let Some(orphan) = self.next_orphan() {
            return Some(Ok(orphan));
        }
        let (ext, lost) = (self.ext, &mut self.lost);
        let deleted = self.deleted.get_or_insert_with(|| Recovery::new(ext).run(std::mem::take(lost)).into_iter());
        deleted.next().map(Ok)
    }
}

/// What the checksums of an inode's structures begin with, where the volume has any.
fn seed(ext: &Ext<'_>, number: u32, inode: &Inode) -> Option<u32> {
    ext.sb.has_checksums().then(|| checksum::inode_seed(ext.sb.checksum_seed, number, inode.generation))
}

/// Reads the target of a symbolic link.
pub(super) fn set_target(ext: &Ext<'_>, entry: &mut Entry) {
    if entry.kind == EntryKind::Symlink {
        let target = Content::new(ext.view, &entry.stream).prefix(entry.stream.size.min(MAX_TARGET)).into_owned();
        entry.target = Some(String::from_utf8_lossy(&target).into_owned());
    }
}
