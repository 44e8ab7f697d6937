//! The walk through the directories, live and deleted, and what their entry sets say as [`Entry`].

use super::NAME;
use super::boot::Boot;
use super::piece::Pieces;
use super::set::{self, Cells, Reader, Set, Sets};
use crate::content::{Codec, Stream};
use crate::fault::Fault;
use crate::fs::cluster::{Span, total};
use crate::fs::scatter::{self, Claim, Life};
use crate::fs::{Entry, EntryKind, Origin, Recovered};
use crate::fuel::Fuel;
use crate::image::View;
use std::collections::{HashMap, HashSet};

/// A deleted directory may be reached from several deleted parents, but not without end.
const MAX_VISITS: u8 = 4;
/// No path may be deeper: names of 255 characters would make it longer than any system reads.
const MAX_DEPTH: usize = 256;

/// A directory on the way.
struct Frame {
    path: String,
    sets: std::vec::IntoIter<Set>,
    deleted: bool,
    /// Its first cluster.
    cluster: u32,
    note: Option<&'static str>,
}

/// Lists depth first: what a directory holds follows on its own entry. Orphans come last.
pub(super) struct Walk<'a> {
    view: View<'a>,
    boot: &'a Boot,
    reader: &'a Reader<'a>,
    pieces: Pieces<'a>,
    frames: Vec<Frame>,
    live: HashSet<u32>,
    deleted: HashMap<u32, u8>,
    chains: Fuel,
    /// Bytes of directories: sound ones share none, so that twice the volume is enough for all of them.
    bytes: Fuel,
    entries: Vec<Entry>,
    claims: Vec<Claim>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(view: View<'a>, boot: &'a Boot, reader: &'a Reader<'a>) -> Self {
        let clusters = u64::from(boot.heap.last);
        Self {
            view,
            boot,
            reader,
            pieces: Pieces::new(view, reader),
            frames: Vec::new(),
            live: HashSet::from([boot.root]),
            deleted: HashMap::new(),
            chains: Fuel::new(clusters.saturating_mul(4).saturating_add(1 << 20)),
            bytes: Fuel::new(view.size().saturating_mul(2).saturating_add(1 << 20)),
            entries: Vec::new(),
            claims: Vec::new(),
        }
    }

    /// All entries, the root directory's being those of `root`.
    pub(super) fn list(mut self, root: &Cells<'_>) -> Vec<Entry> {
        let sets = self.reader.sets(root, false).sets;
        self.push(String::new(), sets, false, self.boot.root, None);
        self.walk();
        for cluster in self.pieces.orphans(|cluster| self.deleted.contains_key(&cluster)) {
            if !self.deleted.contains_key(&cluster) {
                self.push_orphan(cluster);
                self.walk();
            }
        }
        scatter::settle(self.view, &self.boot.heap, &self.reader.table.free, &mut self.entries, &self.claims);
        self.entries
    }

    fn push(&mut self, path: String, sets: Vec<Set>, deleted: bool, cluster: u32, note: Option<&'static str>) {
        self.frames.push(Frame { path, sets: sets.into_iter(), deleted, cluster, note });
    }

    fn walk(&mut self) {
        while let Some(frame) = self.frames.last_mut() {
            match frame.sets.next() {
                None => drop(self.frames.pop()),
                Some(set) => self.take(&set),
            }
        }
    }

    fn take(&mut self, set: &Set) {
        let Some(frame) = self.frames.last() else { return };
        let kind = if set.directory { EntryKind::Directory } else { EntryKind::File };
        let path = format!("{}/{}", frame.path, set.name);
        let mut entry = Entry::new(path, kind, format!("{}:{}", frame.cluster, set.at), set.at);
        entry.allocated = !(frame.deleted || set.deleted || set.behind_end);
        entry.times = set.times;
        // The lowest directory is the root, or an orphan.
        entry.origin = match self.frames.first() {
            _ if set.behind_end => Origin::Slack,
            Some(lowest) if lowest.deleted => Origin::Unallocated,
            _ => Origin::Table,
        };
        entry.contradictions.clone_from(&set.contradictions);
        let end = set.behind_end.then_some("it stands behind the end of its directory");
        for note in [set.note.as_deref(), end, frame.note].into_iter().flatten() {
            entry.remark(note);
        }
        match (kind, entry.allocated) {
            (EntryKind::Directory, true) => self.live_directory(set, entry),
            (EntryKind::Directory, false) => self.deleted_directory(set, entry),
            (_, true) => self.live_file(set, entry),
            (_, false) => self.deleted_file(set, entry),
        }
    }

    fn fault(&self, entry: &mut Entry, what: impl Into<String>) {
        entry.faults.push(Fault::new(self.view.absolute(entry.at), NAME, what));
    }

    /// The clusters of something live; what is wrong with them is the entry's fault.
    fn clusters(&mut self, set: &Set, entry: &mut Entry) -> Vec<Span> {
        if set.first == 0 && set.size == 0 {
            return Vec::new();
        }
        let chain = self.reader.table.clusters(set.first, set.size, set.contiguous, &mut self.chains);
        let missing = self.boot.heap.clusters_for(set.size).saturating_sub(total(&chain.spans));
        if let Some(wrong) = chain.wrong {
            self.fault(entry, wrong);
        }
        if missing > 0 {
            self.fault(entry, format!("its chain is {missing} clusters shorter than its size"));
        }
        chain.spans
    }

    fn live_file(&mut self, set: &Set, mut entry: Entry) {
        let spans = self.clusters(set, &mut entry);
        entry.stream = stream(set);
        entry.stream.runs = self.boot.heap.runs(&spans);
        self.entries.push(entry);
    }

    fn live_directory(&mut self, set: &Set, mut entry: Entry) {
        let spans = self.clusters(set, &mut entry);
        if self.frames.len() >= MAX_DEPTH {
            self.fault(&mut entry, format!("its directory is more than {MAX_DEPTH} deep and was not read"));
        } else if !spans.is_empty() && !self.live.insert(set.first) {
            let what = format!("its directory begins at cluster {}, which was listed elsewhere", set.first);
            self.fault(&mut entry, what);
        } else if let Some(sets) = self.read(&spans, false) {
            for at in sets.broken.iter().take(16) {
                let what = "an entry set without a stream extension or a name";
                entry.faults.push(Fault::new(self.view.absolute(*at), NAME, what));
            }
            self.cut_short(&spans, &sets.sets, set.first, &entry.path);
            self.push(entry.path.clone(), sets.sets, false, set.first, None);
        } else {
            self.fault(&mut entry, "the directories of this volume share too many clusters");
        }
        self.entries.push(entry);
    }

    /// Deleted entries in clusters that a live directory has given up.
    fn cut_short(&mut self, spans: &[Span], listed: &[Set], first: u32, path: &str) {
        let Some(last) = spans.last().and_then(|span| span.end().checked_sub(1)) else { return };
        let behind = self.pieces.behind(last, |other| self.deleted.contains_key(&other));
        if behind.is_empty() {
            return;
        }
        self.claims.push(Claim::directory(first, &behind));
        self.visit(&behind);
        let all: Vec<Span> = std::iter::once(Span { first: last, count: 1 }).chain(behind).collect();
        let sets = self.read(&all, true).unwrap_or_default().sets;
        let new = |set: &Set| set.deleted && !listed.iter().any(|known| known.at == set.at);
        let note = Some("it stands in a cluster that its directory has given up");
        self.push(path.to_owned(), sets.into_iter().filter(new).collect(), true, first, note);
    }

    /// The sets of a directory; none where too much has been read already.
    fn read(&mut self, spans: &[Span], proof: bool) -> Option<Sets> {
        let len = set::directory_bytes(&self.boot.heap, total(spans));
        self.bytes.burn(len).ok()?;
        Some(self.reader.sets(&Cells::read(self.view, &self.boot.heap, spans, len), proof))
    }

    fn deleted_file(&mut self, set: &Set, mut entry: Entry) {
        entry.stream = stream(set);
        let (valid, count) = (self.boot.heap.is_valid(set.first), self.boot.heap.clusters_for(set.size));
        entry.recovered = Some(if set.size == 0 { Recovered::Intact } else { Recovered::NameOnly });
        if set.size > 0 && valid {
            let known = self.known(set, count);
            let tail = self.boot.heap.tail(set.size);
            let (row, life) = (Some(self.entries.len()), Life::of(&set.times));
            self.claims.push(Claim {
                row,
                at: set.at,
                first: set.first,
                count,
                known,
                tail,
                life,
                vague: false,
                abuts: false,
            });
        }
        self.entries.push(entry);
    }

    /// The clusters of something deleted, where the metadata still names them all.
    fn known(&mut self, set: &Set, count: u64) -> Option<Vec<Span>> {
        if set.contiguous {
            return Some(vec![self.boot.heap.span(set.first, count)]);
        }
        self.reader.table.kept_chain(set.first, count, &mut self.chains)
    }

    /// A deleted directory is walked as far as its clusters are free and look like one.
    fn deleted_directory(&mut self, set: &Set, mut entry: Entry) {
        let count = self.boot.heap.clusters_for(set.size).max(1);
        let spans = match self.known(set, count) {
            Some(known) => self.pieces.of(&known),
            None => self.pieces.grow(set.first, count, |_| false),
        };
        entry.recovered = Some(match total(&spans) {
            _ if !self.boot.heap.is_valid(set.first) => Recovered::NameOnly,
            0 => Recovered::Overwritten,
            read if read < count => Recovered::Partial,
            _ => Recovered::Intact,
        });
        if !spans.is_empty() && self.may_visit(set.first) {
            self.enter_deleted(&spans, set.first, entry.path.clone(), None);
        }
        self.entries.push(entry);
    }

    fn may_visit(&self, cluster: u32) -> bool {
        let visits = self.deleted.get(&cluster).copied().unwrap_or(0);
        let ancestor = self.frames.iter().any(|frame| frame.cluster == cluster);
        visits < MAX_VISITS && !ancestor && self.frames.len() < MAX_DEPTH
    }

    fn visit(&mut self, spans: &[Span]) {
        for cluster in spans.iter().flat_map(|span| span.first..span.end()) {
            let visits = self.deleted.entry(cluster).or_insert(0);
            *visits = visits.saturating_add(1);
        }
    }

    /// An orphan, with the clusters that it goes on in.
    fn push_orphan(&mut self, cluster: u32) {
        let spans = self.pieces.grow(cluster, u64::MAX, |other| self.deleted.contains_key(&other));
        self.enter_deleted(&spans, cluster, "/$OrphanFiles".to_owned(), Some("no directory names its parent"));
    }

    fn enter_deleted(&mut self, spans: &[Span], first: u32, path: String, note: Option<&'static str>) {
        self.claims.push(Claim::directory(first, spans));
        self.visit(spans);
        let sets = self.read(spans, true).unwrap_or_default().sets;
        self.push(path, sets, true, first, note);
    }
}

fn stream(set: &Set) -> Stream {
    Stream { size: set.size, runs: Vec::new(), valid: set.valid, codec: Codec::Plain }
}
