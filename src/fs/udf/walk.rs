//! The walk from the root directory: every live entry; then what was deleted, by names that are left and by entries that stand
//! in free space.

use super::alloc::Mapping;
use super::dir::Fid;
use super::entry::{Reader, number};
use super::icb::FileEntry;
use super::layout::{Layout, Map};
use super::tag::{self, Address, Tag};
use crate::bytes::Fields;
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::fs::walk::{BATCH, Frames, MAX_DEPTH, steps};
use crate::fs::{Batch, Entry, EntryKind, Origin, Recovered, pieces};
use crate::fuel::Fuel;
use rayon::prelude::*;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

const ORPHANS: &str = "/$OrphanFiles";
/// Bytes of free space that are looked at together.
const PIECE: usize = 16 << 20;
/// Entries without a name that are looked for.
const MAX_ORPHANS: usize = 1 << 20;

/// What the walk meets next.
enum Step {
    Ready(Batch),
    Named(Arc<str>, Fid),
}

/// A walk over a volume.
pub(super) struct Walk<'a, 'img> {
    pub(super) reader: Reader<'a, 'img>,
    frames: Frames<Arc<str>, Fid>,
    ready: VecDeque<Fault>,
    /// Entries that a live name leads to.
    named: HashSet<Address>,
    /// Directories that were walked, live or deleted.
    walked: HashSet<Address>,
    /// Names that are deleted, with the path of their directory.
    lost: VecDeque<(Arc<str>, Fid)>,
    /// Streams of the root directory.
    first: Vec<Entry>,
    /// What belongs to nothing, where that is told.
    free: Option<&'a ExtentSet>,
    /// A directory could not be read to its end: entries in use are looked for that no name leads to.
    is_damaged: bool,
    strays: Option<VecDeque<Address>>,
}

impl<'a, 'img> Walk<'a, 'img> {
    /// A walk from a root directory. `free`: what belongs to nothing, where the volume tells; `collect`: keep what entries and
    /// directories take.
    pub(super) fn new(
        layout: &'a Layout<'img>,
        root: Option<Address>,
        free: Option<&'a ExtentSet>,
        collect: bool,
    ) -> Self {
        // Files of a sound volume share neither lists nor directories, but for their names.
        let tank = layout.view.size().saturating_mul(4).saturating_add(1 << 24);
        let mut walk = Self {
            reader: Reader { layout, fuel: Fuel::new(tank), used: collect.then(Vec::new), met: HashSet::new() },
            frames: Frames::new(),
            ready: VecDeque::new(),
            named: HashSet::new(),
            walked: HashSet::new(),
            lost: VecDeque::new(),
            first: Vec::new(),
            free,
            is_damaged: root.is_none(),
            strays: None,
        };
        if let Some(root) = root {
            walk.begin(root);
        }
        walk
    }

    fn begin(&mut self, root: Address) {
        self.named.insert(root);
        let at = self.reader.layout.at(root).unwrap_or(0);
        match self.reader.layout.entry(root).filter(|file| file.kind() == Some(EntryKind::Directory)) {
            Some(file) => {
                let mut own = Entry::new(String::new(), EntryKind::Directory, number(root), file.at);
                let mapping = self.reader.fill(&mut own, &file);
                let mut faults = self.enter(&Arc::from(""), &file, mapping);
                if let Some(place) = file.streams {
                    self.first = self.reader.streams("/", place, &mut faults);
                }
                let told = |fault: Fault| Fault { what: format!("root directory: {}", fault.what), ..fault };
                self.ready.extend(own.faults.into_iter().chain(faults).map(told));
            }
            None => {
                self.is_damaged = true;
                self.ready.push_back(self.reader.fault(at, "the entry of the root directory is damaged"));
            }
        }
    }

    /// Enters a live directory; gives what is wrong with it.
    fn enter(&mut self, path: &Arc<str>, file: &FileEntry<'img>, mapping: Mapping) -> Vec<Fault> {
        let reached: u64 = mapping.runs.iter().fold(0, |sum, run| sum.saturating_add(run.len()));
        self.is_damaged |= reached < file.size;
        if !self.walked.insert(file.address) {
            return vec![self.reader.fault(file.at, "it was listed elsewhere")];
        }
        if self.frames.is_full() {
            return vec![self.reader.fault(file.at, format!("more than {MAX_DEPTH} directories deep: not read"))];
        }
        let listing = self.reader.names(file.size, mapping);
        self.is_damaged |= !listing.wrong.is_empty();
        let faults = listing.wrong.into_iter().map(|(at, what)| self.reader.fault(at, what)).collect();
        let (gone, live): (Vec<Fid>, Vec<Fid>) = listing.fids.into_iter().partition(Fid::is_deleted);
        if !gone.is_empty() {
            // Names move within their directory: a copy of a live one, or a second copy, tells nothing new.
            let mut known: HashSet<(Address, &str)> = live.iter().map(|fid| (fid.file.at, fid.name.as_str())).collect();
            let new: Vec<bool> = gone.iter().map(|fid| known.insert((fid.file.at, fid.name.as_str()))).collect();
            let new = gone.iter().zip(new).filter(|(_, new)| *new).map(|(fid, _)| (Arc::clone(path), fid.clone()));
            self.lost.extend(new);
        }
        self.frames.enter(Arc::clone(path), live);
        faults
    }

    fn step(&mut self) -> Option<Step> {
        if let Some(fault) = self.ready.pop_front() {
            return Some(Step::Ready(vec![Err(fault)]));
        }
        if !self.first.is_empty() {
            return Some(Step::Ready(std::mem::take(&mut self.first).into_iter().map(Ok).collect()));
        }
        let (path, fid) = self.frames.next()?;
        self.named.insert(fid.file.at);
        if !fid.is_directory() {
            return Some(Step::Named(path, fid));
        }
        let file = self.reader.layout.entry(fid.file.at);
        self.is_damaged |= file.is_none();
        Some(Step::Ready(self.make(&path, &fid, file)))
    }

    /// The next entry in use that no name leads to, where a directory was damaged; directories first, as they may have names of the
    /// others.
    fn stray(&mut self) -> Option<Step> {
        if !self.is_damaged {
            return None;
        }
        if self.strays.is_none() {
            let layout = self.reader.layout;
            let all = ExtentSet::new(vec![Extent::new(0, layout.view.size())]);
            let space = self.free.map_or(all.clone(), |free| all.subtract(free));
            // Where blocks are virtual, what is in use is in the table; where nothing tells, what a deleted name leads to is
            // deleted.
            let is_virtual = |map: &Map| matches!(map, Map::Virtual { .. });
            let virtually = layout.maps.iter().any(is_virtual);
            let gone: HashSet<Address> = self.lost.iter().map(|(_, fid)| fid.file.at).collect();
            let is_sought = |address: &Address| {
                let map = layout.maps.get(usize::from(address.part));
                let is_gone = !virtually && self.free.is_none() && gone.contains(address);
                !self.named.contains(address) && !is_gone && (!virtually || map.is_some_and(is_virtual))
            };
            let (found, fault) = self.unnamed(&space, is_sought);
            let met = &self.reader.met;
            let is_own = |file: &FileEntry<'_>| file.is_file() && !met.contains(&file.at);
            let kind = |address: Address| Some((address, layout.entry(address).filter(is_own)?.kind()?));
            let found: Vec<(Address, EntryKind)> = found.into_par_iter().filter_map(kind).collect();
            self.ready.extend(fault);
            let (first, rest): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|(_, kind)| *kind == EntryKind::Directory);
            self.strays = Some(first.into_iter().chain(rest).map(|(address, _)| address).collect());
        }
        loop {
            let address = self.strays.as_mut()?.pop_front()?;
            let Some(file) = self.reader.layout.entry(address).filter(|_| self.named.insert(address)) else { continue };
            let name = format!("OrphanFile-{}-{}", address.part, address.block);
            let fid = Fid::own(name, address, file.at, file.kind() == Some(EntryKind::Directory));
            let mut batch = self.make(ORPHANS, &fid, Some(file));
            if let Some(Ok(entry)) = batch.first_mut() {
                entry.remark("no directory names it");
            }
            return Some(Step::Ready(batch));
        }
    }

    /// The entry of a name, and those of its streams; a directory is entered.
    fn make(&mut self, directory: &str, fid: &Fid, file: Option<FileEntry<'img>>) -> Batch {
        let mut entry = self.reader.begin([directory, "/", &fid.name].concat(), fid, file.as_ref());
        let mut streams = Vec::new();
        if let Some(file) = &file {
            let mapping = self.reader.fill(&mut entry, file);
            if let Some(place) = file.streams {
                streams = self.reader.streams(&entry.path, place, &mut entry.faults);
                streams.iter_mut().for_each(|stream| stream.linked = entry.linked);
            }
            if entry.kind == EntryKind::Directory {
                let faults = self.enter(&Arc::from(entry.path.as_str()), file, mapping);
                entry.faults.extend(faults);
            }
        }
        [entry].into_iter().chain(streams).map(Ok).collect()
    }

    /// The next live entries; none where all were met.
    pub(super) fn live(&mut self) -> Option<Batch> {
        let mut steps = steps(&mut || self.step());
        // Once all names were met, and what they lead to is known; what a directory names comes before the next.
        while steps.len() < BATCH
            && (self.strays.is_some() || steps.is_empty())
            && self.frames.is_empty()
            && let Some(step) = self.stray()
        {
            steps.push(step);
        }
        let layout = self.reader.layout;
        let read: Vec<(Step, Option<FileEntry<'img>>)> = steps
            .into_par_iter()
            .map(|step| match step {
                Step::Named(path, fid) => {
                    let file = layout.entry(fid.file.at);
                    (Step::Named(path, fid), file)
                }
                ready @ Step::Ready(_) => (ready, None),
            })
            .collect();
        let mut batch = Batch::new();
        for (step, file) in read {
            match step {
                Step::Ready(ready) => batch.extend(ready),
                Step::Named(path, fid) => batch.extend(self.make(&path, &fid, file)),
            }
        }
        Some(batch).filter(|batch| !batch.is_empty())
    }

    /// What was deleted, once all live entries were met, and what is wrong with that. `free`: what belongs to nothing.
    pub(super) fn deleted(&mut self, free: &ExtentSet) -> (Vec<Entry>, Option<Fault>) {
        let mut out = Vec::new();
        let mut claimed = HashSet::new();
        self.names_lost(free, &mut claimed, &mut out);
        let (unnamed, fault) = self.unnamed(free, |address| !self.named.contains(address));
        for address in unnamed {
            if !claimed.insert(address) {
                continue;
            }
            let Some(file) = self.reader.layout.entry(address).filter(|file| file.kind().is_some()) else { continue };
            let path = format!("{ORPHANS}/OrphanFile-{}-{}", address.part, address.block);
            let mut entry = Entry::new(path, file.kind().unwrap_or(EntryKind::File), number(address), file.at);
            entry.origin = Origin::Unallocated;
            entry.remark("its name is lost");
            self.gone(entry, &file, free, &mut out);
            self.names_lost(free, &mut claimed, &mut out);
        }
        (out, fault)
    }

    /// Names that are left of what was deleted.
    fn names_lost(&mut self, free: &ExtentSet, claimed: &mut HashSet<Address>, out: &mut Vec<Entry>) {
        while let Some((directory, fid)) = self.lost.pop_front() {
            let path = [&directory, "/", &fid.name].concat();
            let address = fid.file.at;
            let is_own = |file: &FileEntry<'img>| {
                let same = fid.file.unique == 0 || file.unique & 0xffff_ffff == u64::from(fid.file.unique);
                let fits = (file.kind() == Some(EntryKind::Directory)) == fid.is_directory();
                file.wrong.is_empty() && file.kind().is_some() && same && fits
            };
            let file = self.reader.layout.entry(address).filter(is_own).filter(|_| fid.file.len > 0);
            let is_taken = self.named.contains(&address);
            match file.filter(|_| !is_taken && claimed.insert(address)) {
                Some(file) => {
                    let mut entry = self.reader.begin(path, &fid, Some(&file));
                    entry.origin = if fid.is_slack { Origin::Slack } else { Origin::Table };
                    self.gone(entry, &file, free, out);
                }
                None => {
                    let mut entry = self.reader.begin(path, &fid, None);
                    entry.faults.clear();
                    entry.allocated = false;
                    entry.recovered = Some(Recovered::NameOnly);
                    entry.origin = if fid.is_slack { Origin::Slack } else { Origin::Table };
                    entry.remark(match is_taken {
                        true => "only its name is left: its entry belongs to another name now, or the file was renamed",
                        false => "only its name is left: its entry was wiped or used again",
                    });
                    out.push(entry);
                }
            }
        }
    }

    /// An entry that is gone; a directory's names are looked at next.
    fn gone(&mut self, mut entry: Entry, file: &FileEntry<'img>, free: &ExtentSet, out: &mut Vec<Entry>) {
        entry.allocated = false;
        let mapping = self.reader.fill(&mut entry, file);
        entry.linked = false;
        let runs = if entry.kind == EntryKind::Directory { &mapping.runs } else { &entry.stream.runs };
        let verdict = pieces::verdict(runs, file.size, free);
        let is_given_back = free.touches(Extent::new(file.at, 1));
        entry.recovered = Some(match (&entry.kind, verdict) {
            (EntryKind::File | EntryKind::Symlink | EntryKind::Stream, _) if file.size == 0 => Recovered::NameOnly,
            (_, _) if !is_given_back => Recovered::Partial,
            (_, verdict) => verdict,
        });
        if file.size == 0 && entry.kind != EntryKind::Directory {
            entry.remark("size and place of its content were cleared, unless it was empty");
        } else if !is_given_back {
            entry.remark("its entry is still allocated: the deletion was not finished");
        }
        let mut streams = Vec::new();
        if let Some(place) = file.streams.filter(|_| is_given_back) {
            streams = self.reader.streams(&entry.path, place, &mut entry.faults);
        }
        let is_whole = verdict == Recovered::Intact && entry.kind == EntryKind::Directory;
        if is_whole && entry.path.matches('/').count() < MAX_DEPTH && self.walked.insert(file.address) {
            let path: Arc<str> = Arc::from(entry.path.as_str());
            let listing = self.reader.names(file.size, mapping);
            self.lost.extend(listing.fids.into_iter().map(|fid| (Arc::clone(&path), fid)));
        }
        out.push(entry);
        for mut stream in streams {
            stream.allocated = false;
            stream.linked = false;
            stream.recovered = Some(pieces::verdict(&stream.stream.runs, stream.stream.size, free));
            out.push(stream);
        }
    }

    /// Blocks of `free` in which a sound entry stands that is sought, in order; looked at side by side. And a fault where there are
    /// more than are kept.
    fn unnamed(&self, free: &ExtentSet, is_sought: impl Fn(&Address) -> bool + Sync) -> (Vec<Address>, Option<Fault>) {
        let block = self.reader.layout.block;
        let cut = |extent: &Extent| {
            let (first, end) = (extent.start.checked_next_multiple_of(block).unwrap_or(u64::MAX), extent.end());
            let pieces = (first..end).step_by(PIECE);
            pieces.map(|start| Extent::between(start, end.min(start.saturating_add(PIECE as u64)))).collect::<Vec<_>>()
        };
        let pieces: Vec<Extent> = free.as_slice().iter().flat_map(cut).collect();
        let sought = |piece| self.unnamed_in(piece).into_iter().filter(&is_sought);
        let mut found: Vec<Address> = pieces.into_par_iter().flat_map_iter(sought).collect();
        let more = found.get(MAX_ORPHANS).and_then(|address| self.reader.layout.at(*address));
        let what = format!("of {} entries that no name leads to only {MAX_ORPHANS} are read", found.len());
        found.truncate(MAX_ORPHANS);
        (found, more.map(|at| self.reader.fault(at, what)))
    }

    fn unnamed_in(&self, piece: Extent) -> Vec<Address> {
        let layout = self.reader.layout;
        let parts = u16::try_from(layout.maps.len()).unwrap_or(u16::MAX);
        let step = usize::try_from(layout.block).unwrap_or(usize::MAX);
        let entry = |at: u64| {
            let head = layout.view.read_up_to(at, 2).le16(0)?;
            matches!(head, tag::FILE_ENTRY | tag::EXTENDED_ENTRY).then_some(())?;
            let tag = Tag::read(&layout.view.read_up_to(at, layout.block))?;
            tag.is(&[tag::FILE_ENTRY, tag::EXTENDED_ENTRY]).then_some(())?;
            let mut places = (0..parts).map(|part| Address { part, block: tag.location });
            places.find(|address| layout.at(*address) == Some(at))
        };
        (piece.start..piece.end()).step_by(step.max(1)).filter_map(entry).collect()
    }
}
