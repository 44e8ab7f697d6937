//! Where the content of deleted files lies: what the metadata still says, and what has to be guessed.

use super::cluster::{Free, Heap, Span, total};
use super::{Certainty, Entry, Recovered};
use crate::fuel::Fuel;

/// What a deleted entry says of its clusters.
pub(super) struct Claim {
    /// Row of its entry.
    pub(super) row: usize,
    pub(super) first: u32,
    /// How many clusters it had.
    pub(super) count: u64,
    /// All of them, where the metadata still names them.
    pub(super) known: Option<Vec<Span>>,
}

/// Gives every entry that has a claim its runs and its verdict.
pub(super) fn settle(heap: &Heap, free: &Free, entries: &mut [Entry], claims: &[Claim]) {
    let mut fuel = Fuel::new(u64::from(heap.last).saturating_mul(4).saturating_add(1 << 20));
    let placed: Vec<_> = claims.iter().map(|claim| place(heap, free, claim, &mut fuel)).collect();
    let mut starts: Vec<u32> = claims.iter().map(|claim| claim.first).collect();
    starts.sort_unstable();
    for (claim, spans) in claims.iter().zip(placed) {
        let Some(entry) = entries.get_mut(claim.row) else { continue };
        let mut verdict = verdict(free, &spans, claim);
        if verdict != Recovered::Overwritten && is_contested(&starts, claim.first, &spans) {
            verdict = Recovered::Partial;
            entry.remark("another deleted file begins in its clusters");
        }
        if claim.known.is_none() && verdict != Recovered::Overwritten {
            let first = heap.cluster.min(entry.stream.size);
            entry.certainty =
                vec![(first, Certainty::Proven), (entry.stream.size.saturating_sub(first), Certainty::Guessed)];
        }
        entry.recovered = Some(verdict);
        entry.stream.runs = heap.runs(&spans);
    }
}

fn place(heap: &Heap, free: &Free, claim: &Claim, fuel: &mut Fuel) -> Vec<Span> {
    match &claim.known {
        Some(spans) => spans.clone(),
        None if free.has(claim.first) => free.next(claim.first, claim.count, fuel),
        None => vec![heap.span(claim.first, claim.count)],
    }
}

fn verdict(free: &Free, spans: &[Span], claim: &Claim) -> Recovered {
    let whole = claim.known.is_some() || spans.len() == 1;
    if !spans.iter().any(|span| free.any(*span)) {
        Recovered::Overwritten
    } else if whole && spans.iter().all(|span| free.all(*span)) && total(spans) == claim.count {
        Recovered::Intact
    } else {
        Recovered::Partial
    }
}

/// Whether something else begins in the clusters of what begins at `own`.
fn is_contested(starts: &[u32], own: u32, spans: &[Span]) -> bool {
    let count = |from: u32, to: u32| {
        let below = |cluster: u32| starts.partition_point(|start| *start < cluster);
        below(to).saturating_sub(below(from))
    };
    spans.iter().fold(0usize, |sum, span| sum.saturating_add(count(span.first, span.end()))) > 1
        || count(own, own.saturating_add(1)) > 1
}
