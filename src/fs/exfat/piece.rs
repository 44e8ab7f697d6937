//! Deleted directories in pieces: which free clusters hold entries, and which of them go on in which.
//!
//! A directory of exFAT does not begin with itself, as one of FAT does. What joins its clusters, once the table has
//! lost their chain, is a set of entries that one of them begins and another ends: its SetChecksum proves the pair.

use super::set::{self, Cells, Reader};
use crate::fs::cluster::{Span, extend};
use crate::fs::orphan::{self, Found};
use crate::fuel::Fuel;
use crate::image::View;
use std::collections::HashSet;

/// More of a second cluster than any set of entries takes.
const LONGEST_SET: u64 = 1 << 13;

/// Free clusters seen as directories.
pub(super) struct Pieces<'a> {
    view: View<'a>,
    reader: &'a Reader<'a>,
    /// Those that begin within a set, once they have been looked for.
    later: Option<Vec<u32>>,
    fuel: Fuel,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(view: View<'a>, reader: &'a Reader<'a>) -> Self {
        let fuel = Fuel::new(view.size().saturating_add(1 << 20));
        Self { view, reader, later: None, fuel }
    }

    fn cells(&self, clusters: &[u32], len: u64) -> Cells<'a> {
        let spans: Vec<_> = clusters.iter().map(|cluster| Span { first: *cluster, count: 1 }).collect();
        Cells::read(self.view, &self.reader.table.heap, &spans, len)
    }

    fn cluster(&self, cluster: u32) -> Cells<'a> {
        self.cells(&[cluster], self.reader.table.heap.cluster)
    }

    /// Whether a cluster is free and holds entries, or nothing.
    fn is_directory(&self, cluster: u32) -> bool {
        let cells = self.cluster(cluster);
        let blank = || cells.len() > 0 && (0..cells.len()).all(|row| cells.kind(row) == 0);
        self.reader.table.free.has(cluster) && (self.reader.is_directory(&cells) || blank())
    }

    /// Of clusters that the metadata names: those up to the first that is no directory any more.
    pub(super) fn of(&self, known: &[Span]) -> Vec<Span> {
        let mut spans = Vec::new();
        let clusters = known.iter().flat_map(|span| span.first..span.end());
        clusters.take_while(|cluster| self.is_directory(*cluster)).for_each(|cluster| extend(&mut spans, cluster));
        spans
    }

    /// The directory that begins at `first`, of at most `most` clusters; it does not go on in those that are `taken`.
    pub(super) fn grow(&mut self, first: u32, most: u64, taken: impl Fn(u32) -> bool) -> Vec<Span> {
        let first = Some(first).filter(|first| self.is_directory(*first));
        self.follow(first, most, taken)
    }

    /// What a live directory that ends in `last` went on in before it was cut short: proved by a set that it begins.
    pub(super) fn behind(&mut self, last: u32, taken: impl Fn(u32) -> bool) -> Vec<Span> {
        let next = self.cluster(last).cut().and_then(|_| self.next(last, &taken));
        self.follow(next, u64::MAX, taken)
    }

    fn follow(&mut self, mut next: Option<u32>, most: u64, taken: impl Fn(u32) -> bool) -> Vec<Span> {
        let heap = self.reader.table.heap;
        let most = heap.clusters_for(set::directory_bytes(&heap, most));
        let (mut spans, mut seen) = (Vec::new(), HashSet::new());
        while let Some(cluster) = next {
            extend(&mut spans, cluster);
            seen.insert(cluster);
            let more = (seen.len() as u64) < most;
            next = if more { self.next(cluster, |other| taken(other) || seen.contains(&other)) } else { None };
        }
        spans
    }

    /// The cluster that a full one goes on in: the one behind it, or whichever ends the set that it begins.
    fn next(&mut self, last: u32, taken: impl Fn(u32) -> bool) -> Option<u32> {
        let cells = self.cluster(last);
        let behind = Some(last.saturating_add(1)).filter(|next| !taken(*next) && self.is_directory(*next));
        if cells.end() < cells.len() {
            return None;
        }
        let Some(row) = cells.cut() else {
            return behind.filter(|next| set::begins(self.cluster(*next).kind(0)));
        };
        if behind.is_some_and(|next| self.joins(last, row, next)) {
            return behind;
        }
        let later = self.later();
        let found = later.iter().copied().find(|next| !taken(*next) && self.joins(last, row, *next));
        self.later = Some(later);
        found
    }

    fn joins(&mut self, last: u32, row: usize, next: u32) -> bool {
        let len = self.reader.table.heap.cluster.saturating_add(LONGEST_SET);
        self.fuel.burn(len).is_ok() && self.cells(&[last, next], len).is_whole(row)
    }

    fn later(&mut self) -> Vec<u32> {
        self.later.take().unwrap_or_else(|| {
            let clusters = self.reader.table.free.spans().iter().flat_map(|span| span.first..span.end());
            clusters.filter(|cluster| self.look(*cluster).is_some_and(|found| !found.begins)).collect()
        })
    }

    /// A cluster that looks like a piece of a directory.
    fn look(&self, cluster: u32) -> Option<Found> {
        let at = self.reader.table.heap.extent(cluster)?;
        let head = self.view.read_up_to(at.start, 1);
        if !head.first().is_some_and(|kind| set::goes_on(*kind)) {
            return None;
        }
        let cells = self.cluster(cluster);
        let sets = self.reader.is_directory(&cells).then(|| self.reader.sets(&cells, true).sets)?;
        let named = sets.iter().filter(|set| set.directory).map(|set| set.first).collect();
        Some(Found { begins: set::begins(cells.kind(0)), named })
    }

    /// The directories in free clusters that nothing names.
    pub(super) fn orphans(&self, known: impl Fn(u32) -> bool) -> Vec<u32> {
        orphan::find(&self.reader.table.free, |cluster| if known(cluster) { None } else { self.look(cluster) })
    }
}
