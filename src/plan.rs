//! From evidence to units of work, in one order that every machine makes the same.
//!
//! Units stand in the order of their first byte on the disk, so that a cold disk is read almost sequentially. Sizes of
//! units depend on the evidence alone, never on threads or memory.

pub mod look;
pub mod past;
pub mod told;

use crate::content::{Codec, Run};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::fs::known::Known;
use crate::fs::{Anomaly, Entry, EntryKind, Facts, FileSystem};
use crate::image::{self, View};
use crate::volume::{self, Layout, Volume, VolumeKind};
use look::look;
use past::{Past, Seen, Which};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use told::Teller;

/// How much unallocated space makes a unit, in bytes.
pub const WINDOW: u64 = 64 << 20;

/// How far behind a file system's end is looked for something that is not empty.
const LOOK_BEHIND: u64 = 16 << 20;

/// A piece of a window: what of an unallocated stretch belongs to it, and where that stretch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it lies in the image.
    pub extent: Extent,
    /// The end of the stretch that it is cut from: a file that starts in the piece may go on to there.
    pub end: u64,
}

/// What a unit works on.
#[derive(Clone, Debug)]
pub enum Task {
    /// An entry of a file system, with its slack.
    Entry(Box<Entry>),
    /// Space that belongs to nothing.
    Window(Vec<Piece>),
    /// Where the evidence contradicts itself.
    Anomaly(Box<Anomaly>),
}

/// One unit of work.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Row of its volume in [`Plan::volumes`].
    pub volume: usize,
    /// First byte on the disk.
    pub start: u64,
    /// What it works on.
    pub task: Task,
    /// Of a file: the other names of its content, which is read once.
    pub names: Vec<Entry>,
}

impl Unit {
    /// How many bytes it reads.
    pub fn bytes(&self) -> u64 {
        match &self.task {
            Task::Entry(entry) => entry.stream.size,
            Task::Window(pieces) => pieces.iter().fold(0, |sum, p| sum.saturating_add(p.extent.len)),
            Task::Anomaly(anomaly) => anomaly.extents.iter().fold(0, |sum, e| sum.saturating_add(e.len)),
        }
    }
}

/// How many bytes of the evidence each kind of space holds; together its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Content of live files.
    pub content: u64,
    /// Structures of file systems and partition tables.
    pub metadata: u64,
    /// Behind the ends of live files.
    pub slack: u64,
    /// In a volume, but of no live file.
    pub unallocated: u64,
    /// In no partition.
    pub gaps: u64,
    /// Could not be read.
    pub unreadable: u64,
}

impl Space {
    /// The sum.
    pub fn total(&self) -> u64 {
        [self.content, self.metadata, self.slack, self.unallocated, self.gaps, self.unreadable]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}

/// A volume with what was found in it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The volume.
    pub volume: Volume,
    /// The registered name of its file system and what it says of itself; `None` where none could be read.
    pub file_system: Option<(&'static str, Facts)>,
    /// What it is recognised as, where none is read.
    pub known: Option<Known>,
    /// Other claims that were not followed, and file systems that could not be opened.
    pub remarks: Vec<String>,
}

/// The evidence, planned.
pub struct Plan {
    /// The disk's division.
    pub layout: Layout,
    /// Its volumes.
    pub volumes: Vec<Found>,
    /// The units, in order.
    pub units: Vec<Unit>,
    /// What is damaged in file systems beyond single items.
    pub faults: Vec<Fault>,
    /// Which bytes are what, disjoint: content, metadata, slack, unallocated, gaps.
    spaces: [ExtentSet; 5],
}

impl Plan {
    /// How many bytes each kind of space holds, given what could not be read.
    pub fn space(&self, unreadable: &[Extent]) -> Space {
        let lost = ExtentSet::new(unreadable.to_vec());
        let [content, metadata, slack, unallocated, gaps] = &self.spaces;
        let readable = |set: &ExtentSet| set.subtract(&lost).total();
        Space {
            content: readable(content),
            metadata: readable(metadata),
            slack: readable(slack),
            unallocated: readable(unallocated),
            gaps: readable(gaps),
            unreadable: self.spaces.iter().fold(0, |sum, space| sum.saturating_add(space.intersect(&lost).total())),
        }
    }

    /// How many bytes all units read.
    pub fn bytes(&self) -> u64 {
        self.units.iter().fold(0, |sum, unit| sum.saturating_add(unit.bytes()))
    }
}

/// Lists all that is on a disk, and `which` of what its volumes held before.
pub fn plan(disk: View<'_>, which: Which) -> Plan {
    let layout = volume::divide(disk);
    let pasts = if which == Which::None { Vec::new() } else { past::find(disk, &layout) };
    let seen = pasts.iter().map(|past| (past.row, Seen::default())).collect();
    let mut draft = Draft { seen, ..Draft::default() };
    draft.metadata.push(layout.metadata.clone());
    for volume in layout.volumes.iter().filter(|volume| volume.kind != VolumeKind::Snapshot) {
        draft.add(disk, &layout, volume);
    }
    for past in &pasts {
        draft.add_past(disk, past, which);
    }
    let container = disk.image();
    for what in &container.about().faults {
        let sign = Fault::new(0, container.format(), what);
        draft.add_anomaly(0, Anomaly { sign: sign.clone(), extents: Vec::new() });
        draft.faults.push(sign);
    }
    for found in volume::copies::disagreements(disk, &layout) {
        let row = layout.volumes.iter().position(|v| v.number == found.number).unwrap_or(0);
        // The item's content is the other copy, where it stands.
        let extents = found.extents;
        draft.add_anomaly(row, Anomaly { sign: found.sign, extents });
    }
    for sign in &layout.faults {
        let row = layout.volumes.iter().position(|v| v.extent.intersect(Extent::new(sign.at, 1)).len == 1);
        draft.add_anomaly(row.unwrap_or(0), Anomaly { sign: sign.clone(), extents: Vec::new() });
    }
    let claimed = |sets: Vec<ExtentSet>| sets.iter().flat_map(|s| s.as_slice()).copied().collect::<ExtentSet>();
    // What is computed behind the end of the evidence is no part of it.
    let evidence = ExtentSet::new(vec![Extent::new(0, image::original(disk.image()).size())]);
    let claimed = |sets| claimed(sets).intersect(&evidence);
    let content = claimed(draft.content);
    let slack = claimed(draft.slack).subtract(&content);
    let used = union(&content, &slack);
    let unallocated = claimed(draft.unallocated).subtract(&used);
    let used = union(&used, &unallocated);
    let metadata = claimed(draft.metadata).subtract(&used);
    let gaps = evidence.subtract(&union(&used, &metadata));
    let mut units = draft.units;
    units.sort_by_key(|unit| unit.start);
    Plan {
        layout,
        volumes: draft.volumes,
        units,
        faults: draft.faults,
        spaces: [content, metadata, slack, unallocated, gaps],
    }
}

fn union(a: &ExtentSet, b: &ExtentSet) -> ExtentSet {
    a.as_slice().iter().chain(b.as_slice()).copied().collect()
}

#[derive(Default)]
struct Draft {
    volumes: Vec<Found>,
    units: Vec<Unit>,
    faults: Vec<Fault>,
    content: Vec<ExtentSet>,
    metadata: Vec<ExtentSet>,
    slack: Vec<ExtentSet>,
    unallocated: Vec<ExtentSet>,
    /// What is listed of volumes that have a past, by their rows.
    seen: HashMap<usize, Seen>,
    linked: Linked,
}

/// The units of files that have several names, by the row of their volume and the metadata's address.
type Linked = HashMap<(usize, String), usize>;

impl Draft {
    fn add(&mut self, disk: View<'_>, layout: &Layout, volume: &Volume) {
        let teller = Teller::new(disk, volume);
        if volume.kind == VolumeKind::Gap || layout.members.contains(&volume.number) {
            return self.add_bare(disk, layout, volume);
        }
        volume.with(disk, |view| {
            let look = look(view);
            let (row, mut remarks) = (self.volumes.len(), look.remarks);
            if let Some(locked) = look.locked {
                remarks.push(locked.sentence());
                self.faults.extend(locked.faults.into_iter().map(|fault| teller.fault(fault)));
            }
            for (name, what) in look.also {
                let sign = Fault::new(volume.first(), name, format!("the volume {what}"));
                self.add_anomaly(row, Anomaly { sign, extents: Vec::new() });
                remarks.push(what);
            }
            let facts = look.opened.as_ref().map(|(name, opened)| (*name, teller.facts(opened.facts())));
            for anomaly in facts.iter().flat_map(|(_, facts)| facts.anomalies.clone()) {
                self.add_anomaly(row, anomaly);
            }
            self.volumes.push(Found { volume: volume.clone(), file_system: facts, known: look.known, remarks });
            match look.opened {
                Some((_, file_system)) => self.add_file_system(row, teller, view, file_system.as_ref()),
                None => self.add_free(row, teller, &[Extent::new(0, view.size())]),
            }
        });
    }

    /// Adds a volume in which no file system is looked for: a gap, or what volume managers make others of.
    fn add_bare(&mut self, disk: View<'_>, layout: &Layout, volume: &Volume) {
        let row = self.volumes.len();
        let known = volume.with(disk, crate::fs::known::recognise);
        let known = known.filter(|_| volume.kind != VolumeKind::Gap);
        self.volumes.push(Found { volume: volume.clone(), file_system: None, known, remarks: Vec::new() });
        let all = ExtentSet::new(Teller::new(disk, volume).extents(Extent::new(0, volume.size())));
        let free = all.subtract(&layout.covered);
        self.add_windows(row, free.as_slice());
        if volume.kind != VolumeKind::Gap {
            self.unallocated.push(free);
        }
    }

    /// Adds all that a file system holds.
    fn add_file_system(&mut self, row: usize, teller: Teller<'_>, view: View<'_>, file_system: &dyn FileSystem) {
        self.add_entries(row, teller, file_system);
        let (mut free, mut lost) = (Vec::new(), Vec::new());
        for extent in file_system.unallocated() {
            match extent {
                Ok(extent) => free.push(extent),
                Err(fault) => lost.push(teller.fault(fault)),
            }
        }
        self.faults.extend(lost);
        let covered = file_system.facts().size.min(view.size());
        if let Some(anomaly) = behind(view, file_system.facts().size) {
            self.add_anomaly(row, teller.anomaly(anomaly));
        }
        free.push(Extent::between(covered, view.size()));
        self.add_free(row, teller, &free);
        self.metadata.push(ExtentSet::new(teller.extents(Extent::new(0, view.size()))));
    }

    /// Adds free stretches of a volume.
    fn add_free(&mut self, row: usize, teller: Teller<'_>, stretches: &[Extent]) {
        let free: ExtentSet = stretches.iter().flat_map(|extent| teller.extents(*extent)).collect();
        self.add_windows(row, free.as_slice());
        self.unallocated.push(free);
    }

    /// Adds what a volume held at an earlier time.
    fn add_past(&mut self, disk: View<'_>, past: &Past, which: Which) {
        let (row, mut seen) = (self.volumes.len(), self.seen.remove(&past.row).unwrap_or_default());
        let today = disk.sub(past.volume.extent);
        let file_system = past.list(disk, which, &mut seen, &mut |batch| {
            for entry in batch {
                match entry {
                    Ok(entry) => push_entry(&mut self.units, &mut self.linked, row, today, entry),
                    Err(fault) => self.faults.push(fault),
                }
            }
        });
        self.seen.insert(past.row, seen);
        for sign in &past.faults {
            self.add_anomaly(row, Anomaly { sign: sign.clone(), extents: Vec::new() });
        }
        let unread = file_system.is_none().then(|| "no file system of that time can be read".to_owned());
        let remarks = unread.into_iter().collect();
        self.volumes.push(Found { volume: past.volume.clone(), file_system, known: None, remarks });
    }

    fn add_anomaly(&mut self, row: usize, anomaly: Anomaly) {
        self.units.push(Unit {
            volume: row,
            start: anomaly.sign.at,
            task: Task::Anomaly(Box::new(anomaly)),
            names: Vec::new(),
        });
    }

    fn add_entries(&mut self, row: usize, teller: Teller<'_>, file_system: &dyn FileSystem) {
        let (mut content, mut slack) = (Vec::new(), Vec::new());
        let view = teller.base();
        let mut add = |entry: Entry| {
            let entry = teller.entry(entry);
            if entry.allocated && entry.kind != EntryKind::Directory {
                slack.extend(entry.stream.slack().into_iter().map(|e| view.sub(e).extent()));
                content.extend(content_extents(&entry).map(|e| view.sub(e).extent()));
            }
            if let Some(seen) = self.seen.get_mut(&row) {
                seen.take(&entry);
            }
            push_entry(&mut self.units, &mut self.linked, row, view, entry);
        };
        crate::fs::list(file_system, &mut |batch| {
            for entry in batch {
                match entry {
                    Ok(entry) => add(entry),
                    Err(fault) => self.faults.push(teller.fault(fault)),
                }
            }
        });
        self.content.push(ExtentSet::new(content));
        self.slack.push(ExtentSet::new(slack));
    }

    /// Cuts free stretches into windows of [`WINDOW`] bytes: several short ones in one, long ones in several.
    fn add_windows(&mut self, row: usize, stretches: &[Extent]) {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut room = WINDOW;
        for stretch in stretches {
            let mut at = stretch.start;
            while at < stretch.end() {
                let extent = Extent::new(at, room).intersect(*stretch);
                pieces.push(Piece { extent, end: stretch.end() });
                at = extent.end();
                room = room.saturating_sub(extent.len);
                if room == 0 {
                    self.push_window(row, std::mem::take(&mut pieces));
                    room = WINDOW;
                }
            }
        }
        self.push_window(row, pieces);
    }

    fn push_window(&mut self, row: usize, pieces: Vec<Piece>) {
        if let Some(first) = pieces.first() {
            self.units.push(Unit {
                volume: row,
                start: first.extent.start,
                task: Task::Window(pieces),
                names: Vec::new(),
            });
        }
    }
}

/// Adds the unit of an entry or, where another name of its content has one, its name to that.
fn push_entry(units: &mut Vec<Unit>, linked: &mut Linked, row: usize, view: View<'_>, mut entry: Entry) {
    if entry.linked && entry.allocated {
        let number = *linked.entry((row, entry.inode.clone())).or_insert(units.len());
        if let Some(unit) = units.get_mut(number)
            && let Task::Entry(first) = &unit.task
            && first.stream == entry.stream
        {
            entry.remark(&format!("another name of {}, with which its text and members stand", first.path));
            return unit.names.push(entry);
        }
    }
    units.push(unit_of(row, view, entry));
}

/// The unit of an entry: it stands where its content begins.
fn unit_of(row: usize, view: View<'_>, entry: Entry) -> Unit {
    let first = entry.stream.runs.iter().find_map(|run| match run {
        Run::Data(extent) => Some(extent.start),
        Run::Hole(_) => None,
    });
    let start = view.absolute(first.unwrap_or(entry.at));
    Unit { volume: row, start, task: Task::Entry(Box::new(entry)), names: Vec::new() }
}

/// Bytes behind the end of a file system of `size` bytes, where nothing stands but, of some, a copy of the first sector.
/// They are searched as unallocated space.
pub fn behind(view: View<'_>, size: u64) -> Option<Anomaly> {
    let behind = view.sub(Extent::between(size.min(view.size()), view.size()));
    let bytes = behind.read_up_to(0, LOOK_BEHIND);
    let (first, last) = (view.read_up_to(0, 512), bytes.len().saturating_sub(512));
    let is_copy = bytes.get(last..).is_some_and(|tail| tail == first.as_ref());
    let bytes = if is_copy { bytes.get(..last).unwrap_or_default() } else { &bytes };
    let what = format!("{} bytes lie behind the file system's end, and they are not empty", behind.size());
    let sign = Fault::new(behind.absolute(0), "volume", what);
    (!crate::bytes::all_zero(bytes)).then(|| Anomaly { sign, extents: Vec::new() })
}

/// What of a stream's runs holds content: up to its size, or all of a compressed one.
fn content_extents(entry: &Entry) -> impl Iterator<Item = Extent> + '_ {
    let plain = entry.stream.codec == Codec::Plain;
    let limit = if plain { entry.stream.size.min(entry.stream.valid) } else { u64::MAX };
    let mut at = 0u64;
    entry.stream.runs.iter().filter_map(move |run| {
        let here = Extent::new(at, run.len());
        at = here.end();
        let inside = here.intersect(Extent::new(0, limit));
        match run {
            Run::Data(extent) if !inside.is_empty() => Some(Extent::new(extent.start, inside.len)),
            _ => None,
        }
    })
}
