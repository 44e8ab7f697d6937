//! The walk from the root directory: every live entry; the inodes that no name leads to; then what was deleted.

use super::dir::{Dirent, Names};
use super::inode::Inode;
use super::map::{Mapper, Mapping};
use super::{Ufs, attribute};
use crate::content::{Content, Run, Stream};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::fs::walk::{Frames, MAX_DEPTH, steps};
use crate::fs::{Batch, Entry, EntryKind, Origin, Recovered, pieces};
use crate::fuel::Fuel;
use crate::text::Decimal;
use rayon::prelude::*;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

const ORPHANS: &str = "/$OrphanFiles";
/// The root directory.
const ROOT: u32 = 2;
/// Bytes of a directory that are read.
const MAX_DIRECTORY: u64 = 1 << 30;
/// No name goes on behind such a block of a directory.
const DIRECTORY_BLOCK: usize = 512;
/// The longest target of a symbolic link.
const MAX_TARGET: u64 = 4096;

/// A name that is met: of a directory, or ours for an inode without one.
struct Named {
    directory: Arc<str>,
    dirent: Dirent,
    is_orphan: bool,
}

enum Step {
    Ready(Box<Result<Entry, Fault>>),
    Named(Named),
}

/// A walk over a volume.
pub(super) struct Walk<'a, 'img> {
    fs: &'a Ufs<'img>,
    frames: Frames<Arc<str>, Dirent>,
    faults: VecDeque<Fault>,
    /// Inodes that a live name leads to.
    named: HashSet<u32>,
    walked: HashSet<u32>,
    /// Deleted names with the path of their directory.
    lost: VecDeque<(Arc<str>, Dirent)>,
    orphans: Option<VecDeque<u32>>,
    is_done: bool,
    fuel: Fuel,
}

impl<'a, 'img> Walk<'a, 'img> {
    pub(super) fn new(fs: &'a Ufs<'img>) -> Self {
        // Sound files share no blocks, but for their names.
        let fragments = fs.sb.size.min(fs.view.size().checked_div(512).unwrap_or(0));
        let mut walk = Self {
            fs,
            frames: Frames::new(),
            faults: VecDeque::new(),
            named: HashSet::from([ROOT]),
            walked: HashSet::new(),
            lost: VecDeque::new(),
            orphans: None,
            is_done: false,
            fuel: Fuel::new(fragments.saturating_mul(8).saturating_add(1 << 20)),
        };
        walk.begin();
        walk
    }

    fn begin(&mut self) {
        let at = self.fs.sb.inode_at(ROOT).unwrap_or(0);
        match self.fs.inode(ROOT).filter(|inode| inode.kind() == Some(EntryKind::Directory)) {
            Some(root) => {
                let mapping = self.map(&root, None);
                let wrong = mapping.wrong.clone().map(|what| self.fs.fault(at, format!("root directory: {what}")));
                self.faults.extend(wrong);
                let faults = self.enter(ROOT, Arc::from(""), &root, &mapping);
                self.faults.extend(faults);
            }
            None => self.faults.push_back(self.fs.fault(at, "the inode of the root directory is none".to_owned())),
        }
    }

    fn map(&mut self, inode: &Inode, free: Option<&ExtentSet>) -> Mapping {
        Mapper { view: self.fs.view, sb: &self.fs.sb, free }.map(inode, &mut self.fuel)
    }

    /// Reads the names of a directory.
    fn names(&mut self, inode: &Inode, mapping: &Mapping) -> (Names, Vec<Fault>) {
        let (mut names, mut left) = (Names::default(), inode.size.min(MAX_DIRECTORY));
        if inode.size > MAX_DIRECTORY {
            names.wrong.push((inode.at, format!("a directory of {} bytes is not read to its end", inode.size)));
        }
        for run in &mapping.runs {
            let len = run.len().min(left);
            left = left.saturating_sub(len);
            let extent = match run {
                Run::Data(extent) => *extent,
                Run::Hole(_) if len > 0 => {
                    names.wrong.push((inode.at, format!("{len} bytes of a directory have no block")));
                    continue;
                }
                Run::Hole(_) => continue,
            };
            if self.fuel.burn(len / 512).is_err() {
                names.wrong.push((extent.start, "directories hold more than there is room for: not read".to_owned()));
                break;
            }
            let missing = self.part(&mut names, Extent::new(extent.start, len));
            if missing > 0 {
                names.wrong.push((extent.start, format!("{missing} bytes of a directory cannot be read")));
            }
        }
        let faults = names.wrong.iter().map(|(at, what)| self.fs.fault(*at, what.clone())).collect();
        (names, faults)
    }

    /// Takes the names of a stretch of a directory; gives how many bytes of it cannot be read. Around those the others are taken.
    fn part(&self, names: &mut Names, extent: Extent) -> u64 {
        let (sb, view) = (&self.fs.sb, self.fs.view);
        if let Ok(bytes) = view.read(extent.start, extent.len) {
            names.take(sb, &bytes, extent.start);
            return 0;
        }
        let mut missing = 0u64;
        for at in (extent.start..extent.end()).step_by(DIRECTORY_BLOCK) {
            let part = Extent::between(at, extent.end().min(at.saturating_add(DIRECTORY_BLOCK as u64)));
            match view.read(part.start, part.len) {
                Ok(bytes) => names.take(sb, &bytes, part.start),
                Err(_) => missing = missing.saturating_add(part.len),
            }
        }
        missing
    }

    /// Enters a directory; gives what is wrong with it.
    fn enter(&mut self, number: u32, path: Arc<str>, inode: &Inode, mapping: &Mapping) -> Vec<Fault> {
        if !self.walked.insert(number) {
            return vec![self.fs.fault(inode.at, format!("directory {number} was listed elsewhere"))];
        }
        if self.frames.is_full() {
            return vec![self.fs.fault(inode.at, format!("more than {MAX_DEPTH} directories deep: not read"))];
        }
        let (names, faults) = self.names(inode, mapping);
        let (live, gone) = names.finish();
        self.lost.extend(gone.into_iter().map(|dirent| (Arc::clone(&path), dirent)));
        self.frames.enter(path, live);
        faults
    }

    fn step(&mut self) -> Option<Step> {
        if let Some(fault) = self.faults.pop_front() {
            return Some(Step::Ready(Box::new(Err(fault))));
        }
        let named = self.next_named().or_else(|| self.next_orphan())?;
        let inode = self.fs.inode(named.dirent.inode);
        if inode.as_ref().and_then(Inode::kind) != Some(EntryKind::Directory) {
            return Some(Step::Named(named));
        }
        Some(Step::Ready(Box::new(Ok(self.make(&named, inode)))))
    }

    fn next_named(&mut self) -> Option<Named> {
        let (directory, dirent) = self.frames.next()?;
        self.named.insert(dirent.inode);
        Some(Named { directory, dirent, is_orphan: false })
    }

    /// The next inode in use that no name leads to, directories first: they may hold names of the others.
    fn next_orphan(&mut self) -> Option<Named> {
        if self.orphans.is_none() {
            let (fs, named) = (self.fs, &self.named);
            let all = fs.groups.among(&fs.sb, |number| {
                let is_sought = fs.groups.is_used(&fs.sb, number) != Some(false) && !named.contains(&number);
                let kind = if is_sought { fs.inode(number)?.kind() } else { None };
                Some((number, kind?))
            });
            let (first, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, kind)| *kind == EntryKind::Directory);
            self.orphans = Some(first.into_iter().chain(rest).map(|(number, _)| number).collect());
        }
        loop {
            let inode = self.orphans.as_mut()?.pop_front()?;
            if self.named.insert(inode) {
                let name = format!("OrphanFile-{inode}");
                let dirent = Dirent { at: 0, inode, name, deleted: false, kind: 0 };
                return Some(Named { directory: Arc::from(ORPHANS), dirent, is_orphan: true });
            }
        }
    }

    /// The entry of a live name; a directory is entered.
    fn make(&mut self, named: &Named, inode: Option<Inode>) -> Entry {
        let dirent = &named.dirent;
        let path = [&named.directory, "/", &dirent.name].concat();
        let kind = inode.as_ref().and_then(Inode::kind).unwrap_or_else(|| kind_of(dirent.kind));
        let at = inode.as_ref().map_or(dirent.at, |inode| inode.at);
        let mut entry = Entry::new(path, kind, Decimal::new(dirent.inode.into()).to_owned(), at);
        entry.note = named.is_orphan.then(|| "no directory names it".to_owned());
        if self.fs.groups.is_used(&self.fs.sb, dirent.inode) == Some(false) {
            let what = format!("inode {} is named but marked as free", dirent.inode);
            entry.faults.push(self.fs.fault(at, what));
        }
        let Some(inode) = inode.filter(|inode| inode.kind().is_some()) else {
            let what = format!("inode {} is empty or cannot be read", dirent.inode);
            entry.faults.push(self.fs.fault(dirent.at, what));
            return entry;
        };
        let mapping = self.fill(&mut entry, &inode, None);
        if entry.path == "/.sujournal" && self.fs.sb.journal {
            entry.remark("the journal of soft updates");
        }
        if entry.kind == EntryKind::Directory {
            let faults = self.enter(dirent.inode, Arc::from(entry.path.as_str()), &inode, &mapping);
            entry.faults.extend(faults);
        }
        entry
    }

    /// What the inode tells. Gives the list of blocks of a directory.
    fn fill(&mut self, entry: &mut Entry, inode: &Inode, free: Option<&ExtentSet>) -> Mapping {
        entry.times = inode.times;
        entry.access = Some(inode.access());
        entry.linked = inode.links > 1 && entry.kind != EntryKind::Directory;
        entry.attributes.extend(inode.flag_names().map(|names| ("flags".to_owned(), names)));
        if inode.impossible_time {
            entry.impossible.push("one of its times has a billion nanoseconds or more".to_owned());
        }
        self.attributes(entry, inode, free);
        if entry.kind == EntryKind::Special {
            if let Some(number) = inode.device() {
                entry.remark(&format!("device {number:#x}"));
            }
            return Mapping::default();
        }
        let mut mapping = self.map(inode, free);
        if free.is_none() {
            entry.faults.extend(mapping.wrong.clone().map(|what| self.fs.fault(inode.at, what)));
        }
        if inode.is_snapshot() {
            let bytes = mapping.unchanged;
            entry.remark(&format!("a snapshot: {bytes} bytes of it did not change since, and are those of the volume"));
        }
        if entry.kind != EntryKind::Directory {
            entry.stream = Stream::plain(std::mem::take(&mut mapping.runs), inode.size);
        }
        if entry.kind == EntryKind::Symlink {
            let content = Content::new(self.fs.view, &entry.stream);
            let target = content.prefix(inode.size.min(MAX_TARGET)).into_owned();
            entry.target = Some(String::from_utf8_lossy(&target).into_owned());
        }
        mapping
    }

    fn attributes(&mut self, entry: &mut Entry, inode: &Inode, free: Option<&ExtentSet>) {
        if inode.attributes.0 == 0 {
            return;
        }
        let mapper = Mapper { view: self.fs.view, sb: &self.fs.sb, free };
        let done = mapper.attributes(inode).and_then(|places| {
            // Of a deleted file they are another's now, unless they are free.
            if free.is_some_and(|free| places.iter().any(|place| free.within(*place).total() < place.len)) {
                return Ok(());
            }
            let read = |place: &Extent| self.fs.view.read(place.start, place.len).ok();
            let area: Vec<u8> = places.iter().filter_map(read).flat_map(|part| part.into_owned()).collect();
            let (found, is_whole) = attribute::list(&self.fs.sb, &area);
            entry.attributes.extend(found);
            if is_whole { Ok(()) } else { Err("its extended attributes are damaged".to_owned()) }
        });
        if free.is_none() {
            entry.faults.extend(done.err().map(|what| self.fs.fault(inode.at, what)));
        }
    }

    /// The next live entries; the inodes of a batch are read side by side.
    fn live(&mut self) -> Option<Batch> {
        let steps = steps(&mut || self.step());
        let fs = self.fs;
        let read = |step: Step| match step {
            Step::Named(named) => {
                let inode = fs.inode(named.dirent.inode);
                (Step::Named(named), inode)
            }
            ready @ Step::Ready(_) => (ready, None),
        };
        let read: Vec<(Step, Option<Inode>)> = steps.into_par_iter().map(read).collect();
        let make = |(step, inode)| match step {
            Step::Ready(ready) => *ready,
            Step::Named(named) => Ok(self.make(&named, inode)),
        };
        Some(read.into_iter().map(make).collect()).filter(|batch: &Batch| !batch.is_empty())
    }

    /// What was deleted: by the names that are left, then inodes without one.
    fn deleted(&mut self) -> Vec<Entry> {
        let fs = self.fs;
        let (mut out, mut claimed) = (Vec::new(), HashSet::new());
        self.names_lost(&mut claimed, &mut out);
        let named = &self.named;
        let left = fs.groups.among(&fs.sb, |number| {
            let is_sought = fs.groups.is_used(&fs.sb, number) == Some(false) && !named.contains(&number);
            if is_sought { Some((number, fs.inode(number).filter(Inode::is_left)?)) } else { None }
        });
        for (number, inode) in left {
            if !claimed.insert(number) {
                continue;
            }
            let path = format!("{ORPHANS}/OrphanFile-{number}");
            let kind = inode.kind().unwrap_or(EntryKind::File);
            let mut entry = Entry::new(path, kind, Decimal::new(number.into()).to_owned(), inode.at);
            entry.remark("its name is lost");
            self.gone(entry, number, &inode, &mut out);
            self.names_lost(&mut claimed, &mut out);
        }
        out
    }

    fn names_lost(&mut self, claimed: &mut HashSet<u32>, out: &mut Vec<Entry>) {
        let fs = self.fs;
        while let Some((directory, dirent)) = self.lost.pop_front() {
            let path = [&directory, "/", &dirent.name].concat();
            let number = dirent.inode;
            let is_used = number < ROOT || fs.groups.is_used(&fs.sb, number) != Some(false);
            let inode = fs.inode(number).filter(|_| !is_used && !self.named.contains(&number));
            // What the inode still says of its kind has to agree.
            let fits = |inode: &Inode| dirent.kind == 0 || inode.kind().is_none_or(|kind| kind == kind_of(dirent.kind));
            let inode = inode.filter(|inode| inode.is_left() && fits(inode)).filter(|_| claimed.insert(number));
            let at = inode.as_ref().map_or(dirent.at, |inode| inode.at);
            let kind = inode.as_ref().and_then(Inode::kind).unwrap_or_else(|| kind_of(dirent.kind));
            let mut entry = Entry::new(path, kind, Decimal::new(number.into()).to_owned(), at);
            match inode {
                Some(inode) => self.gone(entry, number, &inode, out),
                None => {
                    entry.allocated = false;
                    entry.recovered = Some(Recovered::NameOnly);
                    entry.remark(match (number, is_used) {
                        (0, _) => "only its name is left",
                        (_, true) => {
                            "only its name is left: its inode belongs to another name now, or the file was renamed"
                        }
                        _ => "only its name is left: its inode holds nothing of it",
                    });
                    out.push(entry);
                }
            }
        }
    }

    /// An inode that is gone; the names of a directory are looked at next.
    fn gone(&mut self, mut entry: Entry, number: u32, inode: &Inode, out: &mut Vec<Entry>) {
        let fs = self.fs;
        let free = &fs.groups.free;
        entry.allocated = false;
        entry.origin = Origin::Table;
        let mapping = self.fill(&mut entry, inode, Some(free));
        entry.linked = false;
        // Without its mode it has no permissions, either.
        entry.access = entry.access.filter(|_| inode.kind().is_some());
        let runs = if entry.kind == EntryKind::Directory { &mapping.runs } else { &entry.stream.runs };
        let in_place = inode.is_short_link(&fs.sb) && inode.size > 0;
        let verdict = pieces::verdict(runs, inode.size, free);
        entry.recovered = Some(match verdict {
            _ if in_place => Recovered::Intact,
            _ if inode.size == 0 || !inode.holds_pointers() => Recovered::NameOnly,
            Recovered::Intact if mapping.wrong.is_some() => Recovered::Partial,
            verdict => verdict,
        });
        if entry.recovered == Some(Recovered::NameOnly) {
            entry.stream = Stream::default();
            entry.remark("its inode has lost where the content was");
        }
        let is_whole = entry.recovered == Some(Recovered::Intact) && entry.kind == EntryKind::Directory;
        if is_whole && entry.path.matches('/').count() < MAX_DEPTH && self.walked.insert(number) {
            let path: Arc<str> = Arc::from(entry.path.as_str());
            let (names, _) = self.names(inode, &mapping);
            let (live, gone) = names.finish();
            self.lost.extend(live.into_iter().chain(gone).map(|dirent| (Arc::clone(&path), dirent)));
        }
        out.push(entry);
    }
}

/// What a directory's byte of type says: the high half of `st_mode`'s type.
const fn kind_of(kind: u8) -> EntryKind {
    match kind {
        4 => EntryKind::Directory,
        10 => EntryKind::Symlink,
        1 | 2 | 6 | 12 => EntryKind::Special,
        _ => EntryKind::File,
    }
}

impl Iterator for Walk<'_, '_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        if let Some(batch) = self.live() {
            return Some(batch);
        }
        if std::mem::replace(&mut self.is_done, true) {
            return None;
        }
        Some(self.deleted().into_iter().map(Ok).collect())
    }
}
