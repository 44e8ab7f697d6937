//! The walk from the root directory, and what it finds as [`Entry`].

use super::NAME;
use super::dir::{Dirent, Names};
use super::group::Groups;
use super::inode::Inode;
use super::map::{self, Mapper, Mapping};
use super::superblock::Superblock;
use crate::bytes::index;
use crate::content::{Content, Run, Stream};
use crate::fault::Fault;
use crate::fs::{Entry, EntryKind, Recovered};
use crate::fuel::Fuel;
use crate::image::View;
use std::collections::VecDeque;

const ROOT: u32 = 2;
const ORPHANS: &str = "/$OrphanFiles";
/// No path may be deeper.
const MAX_DEPTH: usize = 1024;
/// More than the largest directory of a kernel's limits holds.
const MAX_DIRECTORY: u64 = 4 << 30;
/// The longest target of a symbolic link.
const MAX_TARGET: u64 = 4096;

/// A set of inode numbers.
struct Inodes(Vec<u64>);

impl Inodes {
    fn new(count: u32) -> Self {
        Self(vec![0; index(u64::from(count) / 64).saturating_add(1)])
    }

    /// True where it was not there before.
    fn insert(&mut self, inode: u32) -> bool {
        let bit = 1u64 << (inode % 64);
        match self.0.get_mut(index(u64::from(inode) / 64)) {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                true
            }
            _ => false,
        }
    }

    fn contains(&self, inode: u32) -> bool {
        self.0.get(index(u64::from(inode) / 64)).is_some_and(|word| word >> (inode % 64) & 1 != 0)
    }
}

/// A directory on the way.
struct Frame {
    path: String,
    names: std::vec::IntoIter<Dirent>,
    deleted: bool,
}

/// All entries, depth first: what a directory holds follows on its own entry. Inodes that no name leads to come last.
pub(super) struct Walk<'a> {
    view: View<'a>,
    sb: &'a Superblock,
    groups: &'a Groups<'a>,
    mapper: Mapper<'a>,
    frames: Vec<Frame>,
    faults: VecDeque<Fault>,
    /// Inodes that a name leads to.
    named: Inodes,
    /// Directories that were walked.
    walked: Inodes,
    orphans: Option<VecDeque<u32>>,
    live: Fuel,
    deleted: Fuel,
}

impl<'a> Walk<'a> {
    pub(super) fn new(view: View<'a>, sb: &'a Superblock, groups: &'a Groups<'a>) -> Self {
        let tank = sb.blocks_count.min(view.size() / 512).saturating_mul(4).saturating_add(1 << 20);
        let mut walk = Self {
            view,
            sb,
            groups,
            mapper: Mapper { view, sb, free: &groups.free },
            frames: Vec::new(),
            faults: VecDeque::new(),
            named: Inodes::new(sb.inodes_count),
            walked: Inodes::new(sb.inodes_count),
            orphans: None,
            live: Fuel::new(tank),
            deleted: Fuel::new(tank),
        };
        walk.begin();
        walk
    }

    fn begin(&mut self) {
        self.named.insert(ROOT);
        self.walked.insert(ROOT);
        match self.inode(ROOT).filter(|inode| inode.kind() == Some(EntryKind::Directory)) {
            Some(root) => {
                let (mapping, mut faults) = (self.map(&root, false), Vec::new());
                let names = self.names(&root, &mapping, &mut faults);
                self.faults.extend(mapping.wrong.map(|wrong| self.fault(root.at, format!("root directory: {wrong}"))));
                self.faults.extend(faults);
                self.frames.push(Frame { path: String::new(), names: names.into_iter(), deleted: false });
            }
            None => self.faults.push_back(self.fault(0, "the root directory's inode is no directory".to_owned())),
        }
    }

    fn fault(&self, at: u64, what: String) -> Fault {
        Fault::new(self.view.absolute(at), NAME, what)
    }

    fn inode(&self, number: u32) -> Option<Inode> {
        let at = self.groups.inode_at(self.sb, number)?;
        Inode::parse(self.sb, &self.view.read(at, self.sb.inode_size).ok()?, at)
    }

    fn map(&mut self, inode: &Inode, deleted: bool) -> Mapping {
        let fuel = if deleted { &mut self.deleted } else { &mut self.live };
        self.mapper.map(inode, deleted, fuel)
    }

    /// The names in a directory.
    fn names(&self, inode: &Inode, mapping: &Mapping, faults: &mut Vec<Fault>) -> Vec<Dirent> {
        let mut names = Names::default();
        if inode.is_inline() {
            // The first four bytes are the parent's inode; each stretch holds entries of its own.
            let first = inode.block_extent();
            names.take(self.sb, inode.block.get(4..).unwrap_or_default(), first.start.saturating_add(4), false);
            if let Some(rest) = inode.inline_rest {
                names.take(self.sb, &self.view.read_up_to(rest.start, rest.len), rest.start, false);
            }
        } else {
            for (_, run) in map::pieces(&mapping.runs, inode.size.min(MAX_DIRECTORY)) {
                let Run::Data(extent) = run else { continue };
                let bytes = self.view.read_up_to(extent.start, extent.len);
                for (block, at) in
                    bytes.chunks(index(self.sb.block_size)).zip((extent.start..).step_by(index(self.sb.block_size)))
                {
                    names.take(self.sb, block, at, inode.is_indexed());
                }
            }
        }
        let (found, wrong) = names.finish();
        faults.extend(wrong.into_iter().map(|(at, what)| self.fault(at, what)));
        found
    }

    /// The entry of a name.
    fn entry(&mut self, dirent: Dirent) -> Option<Entry> {
        let frame = self.frames.last()?;
        let (path, below_deleted) = (format!("{}/{}", frame.path, dirent.name), frame.deleted);
        let used = self.groups.inode_used(self.sb, dirent.inode);
        let inode = self.inode(dirent.inode);
        if dirent.deleted || below_deleted {
            let inode = inode.filter(|inode| used == Some(false) && agrees(&dirent, inode));
            return Some(match inode {
                Some(inode) => {
                    self.named.insert(dirent.inode);
                    self.deleted_entry(path, dirent.inode, &inode)
                }
                None => name_only(path, &dirent, used),
            });
        }
        self.named.insert(dirent.inode);
        Some(self.live_entry(path, &dirent, inode, used))
    }

    fn live_entry(&mut self, path: String, dirent: &Dirent, inode: Option<Inode>, used: Option<bool>) -> Entry {
        let kind = inode.as_ref().and_then(Inode::kind).unwrap_or_else(|| kind_of(dirent.file_type));
        let at = inode.as_ref().map_or(dirent.at, |inode| inode.at);
        let mut entry = Entry::new(path, kind, dirent.inode.to_string(), at);
        if used == Some(false) {
            entry.faults.push(self.fault(at, format!("inode {} is named but marked as free", dirent.inode)));
        }
        match inode {
            Some(inode) if inode.kind().is_some() => self.fill(&mut entry, dirent.inode, &inode, false),
            _ => entry.faults.push(self.fault(dirent.at, format!("inode {} is empty or cannot be read", dirent.inode))),
        }
        entry
    }

    fn deleted_entry(&mut self, path: String, number: u32, inode: &Inode) -> Entry {
        let kind = inode.kind().unwrap_or(EntryKind::File);
        let mut entry = Entry::new(path, kind, number.to_string(), inode.at);
        entry.allocated = false;
        self.fill(&mut entry, number, inode, true);
        entry
    }

    /// What the inode tells: times, content, the target of a link, the names in a directory.
    fn fill(&mut self, entry: &mut Entry, number: u32, inode: &Inode, deleted: bool) {
        entry.times = inode.times;
        if !deleted {
            // In a live inode the field links those whose deletion is not finished.
            entry.times.dtime = None;
        }
        entry.encrypted = inode.is_encrypted();
        if entry.kind == EntryKind::Special {
            return;
        }
        let mapping = self.map(inode, deleted);
        if let Some(wrong) = &mapping.wrong {
            entry.faults.push(self.fault(inode.at, wrong.clone()));
        }
        if deleted {
            entry.recovered = Some(recovered(&mapping, self.groups, inode));
        }
        match entry.kind {
            EntryKind::Directory => self.enter(entry, number, inode, &mapping),
            _ => entry.stream = Stream::plain(mapping.runs, inode.size),
        }
        if entry.kind == EntryKind::Symlink {
            let target = Content::new(self.view, &entry.stream).prefix(inode.size.min(MAX_TARGET)).into_owned();
            entry.target = Some(String::from_utf8_lossy(&target).into_owned());
        }
    }

    fn enter(&mut self, entry: &mut Entry, number: u32, inode: &Inode, mapping: &Mapping) {
        if !self.walked.insert(number) {
            return entry.faults.push(self.fault(inode.at, format!("directory {number} was listed elsewhere")));
        }
        if self.frames.len() >= MAX_DEPTH {
            return entry
                .faults
                .push(self.fault(inode.at, format!("more than {MAX_DEPTH} directories deep: not read")));
        }
        let names = self.names(inode, mapping, &mut entry.faults).into_iter();
        self.frames.push(Frame { path: entry.path.clone(), names, deleted: !entry.allocated });
    }

    /// The next inode that no name leads to, directories first: they may hold names of the others.
    fn next_orphan(&mut self) -> Option<Entry> {
        if self.orphans.is_none() {
            self.orphans = Some(self.find_orphans());
        }
        loop {
            let number = self.orphans.as_mut()?.pop_front()?;
            if !self.named.insert(number) {
                continue;
            }
            let Some(inode) = self.inode(number) else { continue };
            let path = format!("{ORPHANS}/OrphanFile-{number}");
            if self.groups.inode_used(self.sb, number) == Some(true) {
                let mut entry = Entry::new(path, inode.kind().unwrap_or(EntryKind::File), number.to_string(), inode.at);
                entry.note = Some("no directory names it".to_owned());
                self.fill(&mut entry, number, &inode, false);
                return Some(entry);
            }
            let mut entry = self.deleted_entry(path, number, &inode);
            entry.note = Some("its name is lost".to_owned());
            return Some(entry);
        }
    }

    fn find_orphans(&self) -> VecDeque<u32> {
        let (mut directories, mut others) = (VecDeque::new(), VecDeque::new());
        for number in self.groups.written(self.sb) {
            let own = number < self.sb.first_ino || self.sb.own_inodes.contains(&number);
            if own || self.named.contains(number) {
                continue;
            }
            let Some(inode) = self.inode(number) else { continue };
            let live = self.groups.inode_used(self.sb, number) != Some(false);
            let lost = if live { inode.links > 0 && inode.kind().is_some() } else { inode.used };
            if !lost || inode.is_attribute() {
                continue;
            }
            match inode.kind() {
                Some(EntryKind::Directory) => directories.push_back(number),
                _ => others.push_back(number),
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
                Some(dirent) => return self.entry(dirent).map(Ok),
                None => drop(self.frames.pop()),
            }
        }
        self.next_orphan().map(Ok)
    }
}

/// How much of a deleted file is left.
fn recovered(mapping: &Mapping, groups: &Groups<'_>, inode: &Inode) -> Recovered {
    match mapping.free_share(&groups.free) {
        _ if inode.is_inline() && inode.size > 0 => Recovered::Intact,
        None if mapping.wrong.is_some() => Recovered::Overwritten,
        None => Recovered::NameOnly,
        Some((0, _)) => Recovered::Overwritten,
        Some((free, total)) if free == total && mapping.wrong.is_none() => Recovered::Intact,
        Some(_) => Recovered::Partial,
    }
}

/// Whether a deleted name still fits the inode that it names: the inode may have been used and deleted again since.
fn agrees(dirent: &Dirent, inode: &Inode) -> bool {
    let known = dirent.file_type != 0 && inode.mode != 0;
    inode.used && (!known || inode.kind() == Some(kind_of(dirent.file_type)))
}

fn name_only(path: String, dirent: &Dirent, used: Option<bool>) -> Entry {
    let mut entry = Entry::new(path, kind_of(dirent.file_type), dirent.inode.to_string(), dirent.at);
    entry.allocated = false;
    entry.recovered = Some(Recovered::NameOnly);
    let note = match (dirent.inode, used) {
        (0, _) => "only its name is left",
        (_, Some(true)) => "only its name is left: its inode belongs to another name now, or the file was renamed",
        _ => "only its name is left: its inode holds nothing of it",
    };
    entry.note = Some(note.to_owned());
    entry
}

/// `file_type` of a directory entry.
const fn kind_of(file_type: u8) -> EntryKind {
    match file_type {
        2 => EntryKind::Directory,
        3..=6 => EntryKind::Special,
        7 => EntryKind::Symlink,
        _ => EntryKind::File,
    }
}
