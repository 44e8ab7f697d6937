//! Deleted files that claim the same clusters: the table no longer says which of them was in pieces.
//!
//! Where another deleted file begins inside the clusters that a file is taken to have, one of the two went on
//! elsewhere. The content stays what The Sleuth Kit takes it for, but it is not called intact.

use crate::content::Run;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::{Entry, Recovered};

type Found = Result<Entry, Fault>;

/// Marks every deleted file in whose clusters another one begins.
pub(super) fn mark(entries: &mut [Found]) {
    let mut starts: Vec<u64> = entries.iter().filter_map(|found| start(found.as_ref().ok()?)).collect();
    starts.sort_unstable();
    for entry in entries.iter_mut().flatten() {
        let Some(own) = start(entry) else { continue };
        if extents(entry).any(|extent| begins_in(&starts, extent, own)) {
            entry.recovered = Some(Recovered::Partial);
            entry.remark("another deleted file begins in its clusters");
        }
    }
}

/// Where a deleted file begins whose first cluster belongs to nothing now.
fn start(entry: &Entry) -> Option<u64> {
    let free = matches!(entry.recovered, Some(Recovered::Intact | Recovered::Partial));
    if free { extents(entry).next().map(|extent| extent.start) } else { None }
}

fn extents(entry: &Entry) -> impl Iterator<Item = Extent> + '_ {
    entry.stream.runs.iter().filter_map(|run| match run {
        Run::Data(extent) => Some(*extent),
        Run::Hole(_) => None,
    })
}

/// Whether a file begins in `extent` that does not begin where this one does.
fn begins_in(starts: &[u64], extent: Extent, own: u64) -> bool {
    let next_from = |at: u64| starts.get(starts.partition_point(|start| *start < at)).copied();
    let first = next_from(extent.start).filter(|start| *start != own).or_else(|| next_from(own.saturating_add(1)));
    first.is_some_and(|start| start < extent.end() && start >= extent.start)
}
