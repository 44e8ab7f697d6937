//! The walk through the directories, live and deleted, and what their entries say as [`Entry`].

use super::NAME;
use super::boot::Boot;
use super::orphan;
use super::slot::{self, Part, SLOT, Slot, Slots};
use super::table::Table;
use crate::bytes::{all_zero, offset};
use crate::content::Stream;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::cluster::{Chain, Span, total};
use crate::fs::scatter::{self, Claim, Life};
use crate::fs::{Entry, EntryKind, Origin, Recovered};
use crate::fuel::Fuel;
use crate::image::View;
use std::collections::{HashMap, HashSet, VecDeque};

/// The specification ends a directory at 65,536 entries, 2 MiB.
const MAX_DIRECTORY: u64 = 16 << 20;
/// A deleted directory may be reached from several deleted parents, but not without end.
const MAX_VISITS: u8 = 4;
/// No path may be deeper: names of 255 characters would make it longer than any system reads.
const MAX_DEPTH: usize = 256;

/// A directory's entries.
#[derive(Default)]
pub(super) struct Directory {
    pub(super) slots: Vec<Slot>,
    pub(super) faults: Vec<Fault>,
    /// What of a name stands at its end, where it does not end.
    cut: Vec<Part>,
}

/// A deleted directory that goes on elsewhere: its path, and what of a name stands at the end of what is known of it.
struct Open {
    path: String,
    cut: Vec<Part>,
}

impl Directory {
    /// The root directory: a place of its own on FAT12 and FAT16, a chain on FAT32.
    pub(super) fn root(view: View<'_>, boot: &Boot, table: &Table<'_>) -> Self {
        if boot.root_cluster == 0 {
            return Self::read(view, boot, [boot.root]);
        }
        let chain = table.chain(boot.root_cluster, &mut Fuel::new(MAX_DIRECTORY));
        let mut root = Self::read(view, boot, boot.heap.extents(&chain.spans));
        let at = view.absolute(boot.heap.start);
        root.faults.extend(chain.wrong.map(|wrong| Fault::new(at, NAME, format!("root directory: {wrong}"))));
        root
    }

    pub(super) fn read(view: View<'_>, boot: &Boot, extents: impl IntoIterator<Item = Extent>) -> Self {
        Self::read_after(view, boot, extents, Vec::new())
    }

    /// The same, where `cut` stands at the end of what came before.
    fn read_after(view: View<'_>, boot: &Boot, extents: impl IntoIterator<Item = Extent>, cut: Vec<Part>) -> Self {
        let mut slots = Slots::after(boot.width, cut);
        let (mut directory, mut left) = (Self::default(), MAX_DIRECTORY);
        for extent in extents {
            let bytes = view.read_up_to(extent.start, extent.len.min(left));
            let places = (extent.start..).step_by(SLOT);
            directory.slots.extend(bytes.chunks_exact(SLOT).zip(places).filter_map(|(b, at)| slots.take(b, at)));
            let read = offset(bytes.len());
            if read < extent.len {
                let what = format!("{} bytes of a directory are missing or too many", extent.len.saturating_sub(read));
                directory.faults.push(Fault::new(view.absolute(extent.start), NAME, what));
            }
            left = left.saturating_sub(read);
        }
        directory.cut = slots.cut();
        directory
    }
}

/// A directory on the way.
struct Frame {
    path: String,
    slots: std::vec::IntoIter<Slot>,
    deleted: bool,
    /// Its first cluster, 0 for the root directory.
    cluster: u32,
    note: Option<&'static str>,
}

/// All entries, depth first: what a directory holds follows on its own entry. Orphans come last.
pub(super) struct Walk<'a> {
    view: View<'a>,
    boot: &'a Boot,
    table: &'a Table<'a>,
    frames: Vec<Frame>,
    live: HashSet<u32>,
    deleted: HashMap<u32, u8>,
    orphans: Option<VecDeque<u32>>,
    open: Vec<Open>,
    chains: Fuel,
    entries: Vec<Entry>,
    claims: Vec<Claim>,
    /// A live entry begins behind cluster 0xFFFF, and a deleted one.
    beyond: [bool; 2],
}

/// The last cluster whose number has nothing in its upper half.
const LAST_LOW: u32 = 0xffff;

impl<'a> Walk<'a> {
    pub(super) fn new(view: View<'a>, boot: &'a Boot, table: &'a Table<'a>) -> Self {
        let slots = Directory::root(view, boot, table).slots.into_iter();
        let root = Frame { path: String::new(), slots, deleted: false, cluster: boot.root_cluster, note: None };
        let clusters = u64::from(boot.heap.last);
        Self {
            view,
            boot,
            table,
            frames: vec![root],
            live: HashSet::from([boot.root_cluster]),
            deleted: HashMap::new(),
            orphans: None,
            open: Vec::new(),
            chains: Fuel::new(clusters.saturating_mul(4).saturating_add(1 << 20)),
            entries: Vec::new(),
            claims: Vec::new(),
            beyond: [false; 2],
        }
    }

    /// All entries.
    pub(super) fn list(mut self) -> Vec<Entry> {
        loop {
            let Some(frame) = self.frames.last_mut() else {
                if self.next_orphan() {
                    continue;
                }
                break;
            };
            match frame.slots.next() {
                None => drop(self.frames.pop()),
                Some(slot) if slot.is_dot() || slot.is_label() => {}
                Some(slot) => {
                    let entry = self.entry(&slot);
                    self.entries.extend(entry);
                }
            }
        }
        self.doubt();
        scatter::settle(self.view, &self.boot.heap, self.table.free(), &mut self.entries, &self.claims);
        self.entries
    }

    fn entry(&mut self, slot: &Slot) -> Option<Entry> {
        let frame = self.frames.last()?;
        let (parent_deleted, cluster) = (frame.deleted, frame.cluster);
        let [live, gone] = &mut self.beyond;
        *(if slot.deleted { gone } else { live }) |= slot.cluster > LAST_LOW && self.boot.heap.is_valid(slot.cluster);
        let kind = if slot.is_directory() { EntryKind::Directory } else { EntryKind::File };
        let path = format!("{}/{}", frame.path, slot.name);
        let mut entry = Entry::new(path, kind, format!("{cluster}:{}", slot.at), slot.at);
        entry.allocated = !(parent_deleted || slot.deleted || slot.behind_end);
        entry.times = slot.times;
        entry.impossible.clone_from(&slot.impossible);
        // The lowest directory is the root, or an orphan.
        entry.origin = match self.frames.first() {
            _ if slot.behind_end => Origin::Slack,
            Some(lowest) if lowest.deleted => Origin::Unallocated,
            _ => Origin::Table,
        };
        entry.note = self.note(frame, slot);
        match (kind, entry.allocated) {
            (EntryKind::Directory, _) => self.enter(slot, &mut entry),
            (_, true) => self.live_content(slot, &mut entry),
            (_, false) => self.deleted_content(slot, &mut entry),
        }
        Some(entry)
    }

    fn note(&self, frame: &Frame, slot: &Slot) -> Option<String> {
        let end = slot.behind_end.then_some("it stands behind the end of its directory");
        let label = (slot.attributes & 0x18 == 0x08).then_some("it is marked as a volume label");
        let notes: Vec<_> = [slot.note.as_deref(), end, label, frame.note].into_iter().flatten().collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    fn fault(&self, entry: &mut Entry, what: impl Into<String>) {
        entry.faults.push(Fault::new(self.view.absolute(entry.at), NAME, what));
    }

    fn live_content(&mut self, slot: &Slot, entry: &mut Entry) {
        let size = u64::from(slot.size);
        let mut chain = Chain::default();
        if slot.cluster != 0 {
            chain = self.table.chain(slot.cluster, &mut self.chains);
        }
        let clusters = total(&chain.spans);
        let missing = self.boot.heap.clusters_for(size).saturating_sub(clusters);
        if let Some(wrong) = chain.wrong {
            self.fault(entry, wrong);
        }
        if missing > 0 {
            self.fault(entry, format!("its chain is {missing} clusters shorter than its size"));
        }
        entry.stream = Stream::plain(self.boot.heap.runs(&chain.spans), size);
    }

    /// Where it lay is decided once all that was deleted is known.
    fn deleted_content(&mut self, slot: &Slot, entry: &mut Entry) {
        let (size, heap) = (u64::from(slot.size), &self.boot.heap);
        entry.stream = Stream::plain(Vec::new(), size);
        entry.recovered = Some(if size == 0 { Recovered::Intact } else { Recovered::NameOnly });
        if size > 0 && heap.is_valid(slot.cluster) {
            self.claims.push(Claim {
                row: Some(self.entries.len()),
                at: slot.at,
                first: slot.cluster,
                count: heap.clusters_for(size),
                known: None,
                tail: heap.tail(size),
                life: Life::of(&slot.times),
                vague: self.is_vague(slot),
                abuts: false,
            });
        }
    }

    /// Whether the upper half of its first cluster may be missing: some Windows versions clear it when they delete.
    const fn is_vague(&self, slot: &Slot) -> bool {
        slot.deleted && self.boot.heap.last > LAST_LOW && slot.cluster <= LAST_LOW
    }

    /// Doubts first clusters where those above 0xFFFF were in use and no deleted entry names one.
    fn doubt(&mut self) {
        let [live, gone] = self.beyond;
        let wanted = self.claims.iter().fold(0u64, |sum, claim| sum.saturating_add(claim.count));
        let all = u64::from(self.boot.heap.last).saturating_sub(1);
        let used = all.saturating_sub(self.table.free().total()).saturating_add(wanted);
        let reached = live || used > u64::from(LAST_LOW) || self.boot.next_free > LAST_LOW;
        let mut heads = Fuel::new(self.view.size().saturating_add(1 << 20));
        let mut claims = std::mem::take(&mut self.claims);
        for claim in claims.iter_mut().filter(|claim| claim.vague) {
            claim.vague = reached && !gone && self.began_elsewhere(claim.first, &mut heads);
            if let (true, Some(entry)) = (claim.vague, claim.row.and_then(|row| self.entries.get_mut(row))) {
                entry.remark("the upper half of its first cluster may have been cleared");
            }
        }
        self.claims = claims;
    }

    /// Whether any other cluster with the same lower half is in use, or has ever held a byte. One step of `fuel` a byte.
    fn began_elsewhere(&self, cluster: u32, fuel: &mut Fuel) -> bool {
        let heap = self.boot.heap;
        let blank = |fuel: &mut Fuel, other: u32| {
            fuel.burn(heap.cluster).is_ok() && self.table.is_free(other) && all_zero(&self.cluster_bytes(other))
        };
        (cluster..=heap.last).step_by(1 << 16).skip(1).any(|other| !blank(fuel, other))
    }

    /// Goes on with the directory's own entries, if they can be had.
    fn enter(&mut self, slot: &Slot, entry: &mut Entry) {
        if self.frames.len() >= MAX_DEPTH {
            self.fault(entry, format!("its directory is more than {MAX_DEPTH} deep and was not read"));
        } else if entry.allocated {
            self.enter_live(slot, entry);
        } else {
            let cluster = self.directory_cluster(slot);
            entry.recovered = Some(self.enter_deleted(cluster, &entry.path));
        }
    }

    fn enter_live(&mut self, slot: &Slot, entry: &mut Entry) {
        if !self.boot.heap.is_valid(slot.cluster) {
            return self.fault(entry, format!("its directory has no cluster: {}", slot.cluster));
        }
        if !self.live.insert(slot.cluster) {
            let what = format!("its directory begins at cluster {}, which was listed elsewhere", slot.cluster);
            return self.fault(entry, what);
        }
        let chain = self.table.chain(slot.cluster, &mut self.chains);
        if let Some(wrong) = chain.wrong {
            self.fault(entry, wrong);
        }
        // A cluster that the table calls free still holds what the directory says it does.
        let spans = if chain.spans.is_empty() { vec![Span { first: slot.cluster, count: 1 }] } else { chain.spans };
        let directory = Directory::read(self.view, self.boot, self.boot.heap.extents(&spans));
        entry.faults.extend(directory.faults);
        let slots = directory.slots.into_iter();
        let path = entry.path.clone();
        self.frames.push(Frame { path, slots, deleted: false, cluster: slot.cluster, note: None });
    }

    /// The first cluster of a deleted directory: the one of those that it can have had that begins with itself.
    fn directory_cluster(&self, slot: &Slot) -> u32 {
        let own =
            |cluster: u32| slot::dots(&self.cluster_bytes(cluster), self.wide()).is_some_and(|(own, _)| own == cluster);
        if !self.is_vague(slot) || own(slot.cluster) {
            return slot.cluster;
        }
        let others = (1..=self.boot.heap.last >> 16).map(|high| high << 16 | slot.cluster);
        others.filter(|cluster| self.boot.heap.is_valid(*cluster)).find(|cluster| own(*cluster)).unwrap_or(slot.cluster)
    }

    /// A deleted directory is walked if its first cluster is free and begins with an entry for itself.
    fn enter_deleted(&mut self, cluster: u32, path: &str) -> Recovered {
        if !self.boot.heap.is_valid(cluster) {
            return Recovered::NameOnly;
        }
        let head = self.cluster_bytes(cluster);
        let dots = slot::dots(&head, self.wide());
        let Some((own, parent)) = dots.filter(|_| self.table.is_free(cluster)) else { return Recovered::Overwritten };
        let visits = self.deleted.entry(cluster).or_insert(0);
        if own != cluster || *visits >= MAX_VISITS || self.is_ancestor(cluster) {
            return Recovered::Overwritten;
        }
        self.visit(cluster);
        let above = self.frames.last().map_or(0, |frame| frame.cluster);
        let above = if above == self.boot.root_cluster { 0 } else { above };
        let other = (parent != above).then_some("its directory was used again below another parent");
        self.push_deleted(cluster, path.to_owned(), Vec::new(), other);
        Recovered::Intact
    }

    fn push_deleted(&mut self, cluster: u32, path: String, cut: Vec<Part>, note: Option<&'static str>) {
        let span = orphan::span(self.view, self.boot, self.table, cluster);
        for next in (cluster..span.end()).skip(1) {
            self.visit(next);
        }
        self.claims.push(Claim::directory(cluster, &[span]));
        let directory = Directory::read_after(self.view, self.boot, self.boot.heap.extents(&[span]), cut);
        if !directory.cut.is_empty() {
            self.open.push(Open { path: path.clone(), cut: directory.cut });
        }
        let slots = directory.slots.into_iter();
        self.frames.push(Frame { path, slots, deleted: true, cluster, note });
    }

    fn is_ancestor(&self, cluster: u32) -> bool {
        self.frames.iter().any(|frame| frame.cluster == cluster)
    }

    fn visit(&mut self, cluster: u32) {
        let visits = self.deleted.entry(cluster).or_insert(0);
        *visits = visits.saturating_add(1);
    }

    fn wide(&self) -> bool {
        self.boot.root_cluster != 0
    }

    fn cluster_bytes(&self, cluster: u32) -> std::borrow::Cow<'a, [u8]> {
        let extent = self.boot.heap.extent(cluster).unwrap_or_default();
        self.view.read_up_to(extent.start, extent.len)
    }

    /// The next directory that nothing names; false when there is no more.
    fn next_orphan(&mut self) -> bool {
        let (view, boot, table) = (self.view, self.boot, self.table);
        let deleted = &self.deleted;
        let orphans = self
            .orphans
            .get_or_insert_with(|| orphan::find(view, boot, table, |cluster| deleted.contains_key(&cluster)).into());
        while let Some(cluster) = orphans.pop_front() {
            if !self.deleted.contains_key(&cluster) {
                self.visit(cluster);
                let bytes = self.cluster_bytes(cluster);
                let joins = |open: &Open| Slots::joins(self.boot.width, &open.cut, &bytes);
                match self.open.iter().position(joins).map(|row| self.open.swap_remove(row)) {
                    Some(open) => self.push_deleted(
                        cluster,
                        open.path,
                        open.cut,
                        Some("a name that two clusters share joins it to its directory"),
                    ),
                    None => self.push_deleted(
                        cluster,
                        "/$OrphanFiles".to_owned(),
                        Vec::new(),
                        Some("no directory names its parent"),
                    ),
                }
                return true;
            }
        }
        false
    }
}
