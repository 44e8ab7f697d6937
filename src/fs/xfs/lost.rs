//! Deleted files: the names that were found and the inodes that are gone, brought together, each with a verdict.
//!
//! Directories come first, since they lead to more names. A file that is gone is listed once with its content; other names
//! that lead to its inode are listed as such. What has no name at all comes last, below `/$OrphanFiles`.

use super::Xfs;
use super::dir::{Dirent, Names};
use super::entry;
use super::inode::Format;
use super::map::Mapping;
use super::remains::{Left, Remain, Remains};
use super::walk::{self, ORPHANS};
use crate::content::{Content, Run, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::walk::MAX_DEPTH;
use crate::fs::{Batch, Certainty, Entry, EntryKind, Origin, Recovered, Times, posix};
use crate::fuel::Fuel;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// The type of a directory's name.
const DIRECTORY: u8 = 2;

/// A lost name, and the path of the directory that had it.
pub(super) struct Lost {
    pub(super) path: Arc<str>,
    pub(super) dirent: Dirent,
}

/// Brings names and inodes together.
pub(super) struct Recovery<'a> {
    xfs: &'a Xfs<'a>,
    remains: Remains,
    /// Live directories, and their paths.
    live: HashMap<u64, Arc<str>>,
    /// Names that are taken already, by their directory and their inode.
    seen: HashSet<(Arc<str>, String, u64)>,
    /// Inodes that are listed, with their path.
    claimed: HashMap<u64, String>,
    directories: VecDeque<Lost>,
    files: Vec<Lost>,
    out: Vec<Entry>,
    fuel: Fuel,
}

impl<'a> Recovery<'a> {
    /// `named`: inodes that live names lead to; `live`: directories, and their paths.
    pub(super) fn new(xfs: &'a Xfs<'a>, named: &HashSet<u64>, live: HashMap<u64, Arc<str>>) -> Self {
        let remains = Remains::find(xfs, |number| named.contains(&number));
        let (claimed, directories, files, out) = (HashMap::new(), VecDeque::new(), Vec::new(), Vec::new());
        Self { xfs, remains, live, seen: HashSet::new(), claimed, directories, files, out, fuel: xfs.tank() }
    }

    /// All deleted entries, those that the tables hold first.
    pub(super) fn run(mut self, lost: Vec<Lost>) -> Batch {
        self.sort(lost);
        self.live_blocks();
        self.walk();
        self.orphans(true);
        self.walk();
        self.orphan_blocks();
        self.walk();
        for lost in std::mem::take(&mut self.files) {
            self.named(&lost);
        }
        self.orphans(false);
        self.out.sort_by_key(|entry| entry.origin != Origin::Table);
        let cut = self.remains.cut.then(|| {
            let what = "more inodes are gone than are kept in memory: the others are not listed";
            Err(Fault::new(self.xfs.disk.view.absolute(0), super::NAME, what))
        });
        cut.into_iter().chain(self.out.into_iter().map(Ok)).collect()
    }

    /// Parts directories from files. A name of unknown type is a directory where its inode was one.
    fn sort(&mut self, lost: Vec<Lost>) {
        for lost in lost {
            let key = (Arc::clone(&lost.path), lost.dirent.name.clone(), lost.dirent.inode & u64::from(u32::MAX));
            if !self.seen.insert(key) {
                continue;
            }
            let known = (lost.dirent.file_type != 0).then(|| posix::kind_of_type(lost.dirent.file_type));
            let kind = known.or_else(|| self.meant(&lost.dirent)?.kind());
            if kind == Some(EntryKind::Directory) {
                self.directories.push_back(lost);
            } else {
                self.files.push(lost);
            }
        }
    }

    /// Blocks of names that live directories gave back: what is not named in them any more.
    fn live_blocks(&mut self) {
        let owners: Vec<u64> = self.remains.blocks.keys().copied().collect();
        for owner in owners {
            let Some(path) = self.live.get(&owner).cloned() else { continue };
            let Some(inode) = self.xfs.disk.inode(owner) else { continue };
            let map = Mapping::read(&self.xfs.disk, &inode.data, owner, &mut self.fuel);
            let named = walk::names(self.xfs, &inode, &map, false).live.into_iter();
            let key = |dirent: Dirent| (Arc::clone(&path), dirent.name, dirent.inode & u64::from(u32::MAX));
            self.seen.extend(named.map(key));
            self.blocks(owner, &path);
        }
    }

    /// Blocks of names of directories of which nothing else is left.
    fn orphan_blocks(&mut self) {
        let owners: Vec<u64> = self.remains.blocks.keys().copied().collect();
        for owner in owners {
            if !self.live.contains_key(&owner) && !self.claimed.contains_key(&owner) {
                self.blocks(owner, &Arc::from(format!("{ORPHANS}/OrphanFile-{owner}")));
            }
        }
    }

    /// Takes the names out of blocks in free space that belonged to a directory.
    fn blocks(&mut self, owner: u64, path: &Arc<str>) {
        let (disk, mut names) = (&self.xfs.disk, Names::default());
        for at in self.remains.blocks.remove(&owner).unwrap_or_default() {
            let block = disk.read(at, disk.sb.dir_block).unwrap_or_default();
            names.take_block(disk, &block, at, owner, true);
        }
        names.finish();
        let all = names.live.into_iter().chain(names.lost);
        self.sort(all.map(|dirent| Lost { path: Arc::clone(path), dirent }).collect());
    }

    /// The inode that a name leads to, if it is gone and may have been what the name says.
    fn meant(&self, dirent: &Dirent) -> Option<&Remain> {
        let known = (dirent.file_type != 0).then(|| posix::kind_of_type(dirent.file_type));
        let fits = |remain: &&Remain| remain.kind().is_none_or(|kind| known.is_none_or(|known| known == kind));
        self.remains.meant(dirent.inode).filter(fits)
    }

    fn walk(&mut self) {
        while let Some(lost) = self.directories.pop_front() {
            self.named(&lost);
        }
    }

    /// Lists a name that was lost, with what is left of its inode.
    fn named(&mut self, lost: &Lost) {
        let path = [&lost.path, "/", &lost.dirent.name].concat();
        let Some(remain) = self.meant(&lost.dirent) else {
            let below: Arc<str> = Arc::from(path.as_str());
            self.name_only(path, &lost.dirent);
            if lost.dirent.file_type == DIRECTORY && !self.live.contains_key(&lost.dirent.inode) {
                self.blocks(lost.dirent.inode, &below);
            }
            return;
        };
        let number = remain.inode.number;
        match self.claimed.get(&number) {
            Some(first) if *first == path => {}
            Some(first) => {
                let note = format!("leads to the same inode as {first}: another name of it, or of another file");
                self.name_only(path, &lost.dirent);
                if let Some(entry) = self.out.last_mut() {
                    entry.note = Some(note);
                }
            }
            None => self.list(path, number, Some(lost.dirent.file_type)),
        }
    }

    fn name_only(&mut self, path: String, dirent: &Dirent) {
        let kind = posix::kind_of_type(dirent.file_type);
        let mut entry = Entry::new(path, kind, dirent.inode.to_string(), dirent.at);
        entry.allocated = false;
        entry.recovered = Some(Recovered::NameOnly);
        entry.origin = Origin::Slack;
        let note = match self.xfs.groups.state(&self.xfs.disk, dirent.inode) {
            super::group::State::Used => {
                "only its name is left: its inode belongs to another name now, or the file was renamed"
            }
            _ => "only its name is left: its inode holds nothing of it",
        };
        entry.note = Some(note.to_owned());
        self.out.push(entry);
    }

    /// What is gone and has no name; directories, or all others.
    fn orphans(&mut self, directories: bool) {
        let disk = &self.xfs.disk;
        // Without checksums an inode in free space may be that of a volume in a file.
        let sure = |remain: &Remain| remain.left == Left::Open || disk.sb.has_checksums() || !self.is_in_free(remain);
        let wanted = |remain: &&Remain| (remain.kind() == Some(EntryKind::Directory)) == directories && sure(remain);
        let numbers: Vec<u64> = self.remains.iter().filter(wanted).map(|remain| remain.inode.number).collect();
        for number in numbers {
            if !self.claimed.contains_key(&number) {
                let before = self.out.len();
                self.list(format!("{ORPHANS}/OrphanFile-{number}"), number, None);
                if let Some(entry) = self.out.get_mut(before) {
                    entry.remark("its name is lost");
                }
            }
        }
    }

    fn is_in_free(&self, remain: &Remain) -> bool {
        self.xfs.groups.free.touches(Extent::new(remain.inode.at, 1))
    }

    /// Lists an inode that is gone. `file_type`: what the name says that it was.
    fn list(&mut self, path: String, number: u64, file_type: Option<u8>) {
        let Some(remain) = self.remains.meant(number) else { return };
        let xfs = self.xfs;
        let map = remain.map(&xfs.disk, &mut self.fuel);
        let kind = remain.kind().or_else(|| file_type.map(posix::kind_of_type));
        // A freed inode that no name leads to and that has no extents left says nothing.
        if kind.is_none() && map.pieces.is_empty() {
            return;
        }
        let mut entry = Entry::new(path.clone(), kind.unwrap_or(EntryKind::File), number.to_string(), remain.inode.at);
        entry.allocated = false;
        match remain.left {
            Left::Freed => self.freed(&mut entry, remain, &map),
            Left::Open | Left::Whole => self.whole(&mut entry, remain),
        }
        if self.is_in_free(remain) {
            entry.origin = Origin::Unallocated;
        }
        let is_directory = entry.kind == EntryKind::Directory;
        let names = is_directory.then(|| self.names(remain, &map)).filter(|_| path.matches('/').count() < MAX_DEPTH);
        self.claimed.insert(number, path.clone());
        self.out.push(entry);
        if let Some(names) = names {
            let above: Arc<str> = Arc::from(path.as_str());
            let all = names.live.into_iter().chain(names.lost);
            let all = all.map(|dirent| Lost { path: Arc::clone(&above), dirent }).collect();
            self.sort(all);
            self.blocks(number, &above);
        }
    }

    /// The names that a deleted directory held.
    fn names(&self, remain: &Remain, map: &Mapping) -> Names {
        let (disk, area) = (&self.xfs.disk, remain.inode.data.area);
        if remain.left != Left::Freed && remain.inode.data.format == Format::Local {
            return walk::names(self.xfs, &remain.inode, map, true);
        }
        let mut names = Names::default();
        let is_free = |at: u64| remain.left == Left::Open || self.xfs.groups.free.touches(Extent::new(at, 1));
        let pieces = map.pieces.iter().copied().filter(|piece| is_free(piece.at)).collect();
        names.take_blocks(disk, &Mapping { pieces, ..Mapping::default() }, remain.inode.number, true);
        if remain.left == Left::Freed && map.pieces.is_empty() {
            let bytes = disk.read(area.start, area.len).unwrap_or_default();
            names.take_short_slack(disk, &bytes, 6, area.start, false);
        }
        names.finish();
        names
    }

    /// An inode that is as it was.
    fn whole(&self, entry: &mut Entry, remain: &Remain) {
        let map = entry::fill(self.xfs, entry, &remain.inode, &mut Fuel::new(self.fuel.left().min(1 << 24)));
        if remain.left == Left::Open {
            entry.recovered = Some(if map.broken { Recovered::Partial } else { Recovered::Intact });
            return entry.remark("its last name was taken while it was open; its blocks are still its own");
        }
        entry.times.dtime = None;
        let (free, total) = self.free_share(&map);
        let has_content = !matches!(entry.kind, EntryKind::Directory | EntryKind::Special);
        entry.recovered = Some(match (free, total) {
            _ if !entry.faults.is_empty() || map.broken => Recovered::Partial,
            (0, 0) if has_content && remain.inode.size > 0 && remain.inode.data.format != Format::Local => {
                // A hole from end to end is a file, too.
                Recovered::Partial
            }
            (free, total) if free == total => Recovered::Intact,
            (0, _) => Recovered::Overwritten,
            _ => Recovered::Partial,
        });
        entry.remark("its inode was given back whole: it is as it was last written");
    }

    /// An inode that was freed: the places of its data are left, its size is not.
    fn freed(&self, entry: &mut Entry, remain: &Remain, map: &Mapping) {
        let inode = &remain.inode;
        // Taking the last name is the last change that an inode sees.
        entry.times = Times { dtime: inode.times.ctime, ..inode.times };
        let (free, total) = self.free_share(map);
        let has_content = !matches!(entry.kind, EntryKind::Directory | EntryKind::Special);
        entry.recovered = Some(match free {
            _ if total == 0 => Recovered::NameOnly,
            0 => Recovered::Overwritten,
            _ => Recovered::Partial,
        });
        if total == 0 || !has_content {
            return entry.remark("its inode was freed: its size and its type are gone, its times are left");
        }
        let size = self.likely_size(map);
        entry.stream = Stream::plain(map.runs(self.xfs.disk.sb.block_size, size), size);
        if free == total {
            entry.certainty = vec![(size, Certainty::Inferred)];
        }
        entry.remark(
            "its inode was freed: where its blocks lay is left, its size is not; it is taken to end with the last byte \
             of its last block that is no zero",
        );
    }

    /// Bytes up to the last that is no zero, in the last block: behind its end a file's block is filled with zeros.
    fn likely_size(&self, map: &Mapping) -> u64 {
        let block = self.xfs.disk.sb.block_size;
        let runs = map.runs(block, 0);
        let all = runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.len()));
        let content = Content::of(self.xfs.disk.view, Stream::plain(runs, all));
        let start = all.saturating_sub(block);
        let last = content.stretch(start, block);
        let used = last.iter().rposition(|byte| *byte != 0).map(|at| start.saturating_add(at as u64).saturating_add(1));
        used.unwrap_or(all)
    }

    /// Bytes of its extents that are free, and all of them.
    fn free_share(&self, map: &Mapping) -> (u64, u64) {
        let data = map.runs(self.xfs.disk.sb.block_size, 0);
        data.iter().fold((0, 0), |(free, total), run| match run {
            Run::Data(extent) => {
                let part = self.xfs.groups.free.within(*extent).total();
                (free.saturating_add(part), total.saturating_add(extent.len))
            }
            Run::Hole(_) => (free, total),
        })
    }
}
