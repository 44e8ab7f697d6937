//! Where the content of deleted files lies on FAT and exFAT, once the table has lost their chains.
//!
//! What is known of each is its first cluster, how many it had, and perhaps when it was created and last written. The
//! model is an allocator that takes the next free cluster. A file that has the free clusters behind its first one for
//! itself lies there. Where several want the same ones ([`groups`]), [`place`] looks for the order in which they
//! were written that fits them all.
//!
//! Only what is certain is called intact: one piece, all of it free, and no other deleted file that can have had a
//! cluster of it. Everything else is at most partial, with the surety of each stretch.

mod place;

use super::cluster::{Free, Heap, Span, total};
use super::{Certainty, Entry, Recovered, Times};
use crate::fuel::Fuel;
use crate::image::View;
use crate::time::{Precision, Timestamp};
use place::{Anchor, Fit};
use std::collections::{HashMap, HashSet};

/// Steps for comparing the members of groups with each other; beyond it none of a group is called intact.
const COMPARISONS: u64 = 1 << 24;
/// RAM slack: systems write zeros from a file's end to the end of the sector.
const SECTOR: u64 = 512;

/// What a deleted entry says of its clusters.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// Row of its entry; a directory's clusters are only taken.
    pub(super) row: Option<usize>,
    /// Where that entry stands: the same one may be listed below two parents.
    pub(super) at: u64,
    pub(super) first: u32,
    /// How many clusters it had.
    pub(super) count: u64,
    /// All of them, where the metadata still names them.
    pub(super) known: Option<Vec<Span>>,
    /// Bytes in its last cluster.
    pub(super) tail: u64,
    pub(super) life: Option<Life>,
    /// It may have begun elsewhere.
    pub(super) vague: bool,
    /// Its clusters are known only because the next file begins where it ends ([`abutting`]).
    pub(super) abuts: bool,
}

/// What makes two claims those of one file: the entry that is listed below two parents, or the two entries that a
/// rename leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Entry(u64),
    Content { first: u32, count: u64, tail: u64, life: Life },
}

/// When a file was created and last written, in hundredths of a second: not before, and for the last also not after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Life {
    pub(super) begun: i64,
    pub(super) ended: i64,
    pub(super) late: i64,
    /// On a clock that others may not share.
    pub(super) local: bool,
}

impl Life {
    /// `None` where either is missing, or the file is older than its creation: it is a copy.
    pub(super) fn of(times: &Times) -> Option<Self> {
        let (begun, ended) = (times.btime?, times.mtime?);
        let hundredths =
            |time: Timestamp| time.seconds.checked_mul(100)?.checked_add(i64::from(time.nanos / 10_000_000));
        let step = match ended.precision {
            Precision::Nano | Precision::HundredNano | Precision::Centi => 1,
            Precision::Second => 100,
            Precision::TwoSeconds | Precision::Day => 200,
        };
        let life = Self {
            begun: hundredths(begun)?,
            ended: hundredths(ended)?,
            late: hundredths(ended)?.checked_add(step)?,
            local: begun.local,
        };
        (life.late > life.begun && begun.local == ended.local).then_some(life)
    }
}

impl Claim {
    /// The clusters of a deleted directory, which still hold its entries.
    pub(super) fn directory(first: u32, spans: &[Span]) -> Self {
        let known = Some(spans.to_vec());
        Self { row: None, at: 0, first, count: total(spans), known, tail: 0, life: None, vague: false, abuts: false }
    }

    fn key(&self) -> Key {
        match self.life {
            Some(life) => Key::Content { first: self.first, count: self.count, tail: self.tail, life },
            None => Key::Entry(self.at),
        }
    }

    const fn is_directory(&self) -> bool {
        self.row.is_none()
    }

    /// Created after the other was last written.
    fn is_after(&self, other: &Self) -> bool {
        let after = |own: Life, other: Life| own.local == other.local && own.begun > other.late;
        self.life.zip(other.life).is_some_and(|(own, other)| after(own, other))
    }

    /// Created no earlier than the other was last written, as finely as the times tell.
    fn is_younger(&self, other: &Self) -> bool {
        let younger = |own: Life, other: Life| own.local == other.local && own.begun >= other.ended;
        self.life.zip(other.life).is_some_and(|(own, other)| younger(own, other))
    }

    /// Last written after the other, for all that is known: it may have taken what the other gave free.
    fn may_outlive(&self, other: &Self) -> bool {
        let not = |own: Life, other: Life| own.local == other.local && own.late <= other.ended;
        !self.life.zip(other.life).is_some_and(|(own, other)| not(own, other))
    }
}

/// What is made of a claim.
#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) spans: Vec<Span>,
    pub(super) verdict: Recovered,
    /// Surety, in clusters; nothing where the content is known to be a mixture.
    pub(super) sure: Vec<(u64, Certainty)>,
    pub(super) note: Option<&'static str>,
}

const AROUND: &str = "its content is taken to go on over clusters that are in use now";
const CONTESTED: &str = "other deleted files can have had its clusters";
const SOLVED: &str = "it was written while others were: its clusters are those that fit them all";
const ABUTTING: &str = "older deleted files began in its clusters, but the next file begins where it ends in one piece";
const BURIED: &str = "a later file, deleted too, was written over it";

/// Gives every entry that has a claim its runs, its verdict and its surety.
pub(super) fn settle(view: View<'_>, heap: &Heap, free: &Free, entries: &mut [Entry], claims: &[Claim]) {
    let fit = |cluster: u32, tail: u64| fit(view, heap, cluster, tail);
    let mut listed = HashSet::new();
    let new = |claim: &&Claim| claim.is_directory() || listed.insert(claim.key());
    let mut each: Vec<Claim> = claims.iter().filter(new).cloned().collect();
    abutting(free, &mut each);
    let shares = solve(heap, free, &each, fit);
    let shares: HashMap<Key, Share> = each.iter().map(Claim::key).zip(shares).collect();
    for claim in claims {
        let Some(share) = shares.get(&claim.key()).cloned() else { continue };
        let Some(entry) = claim.row.and_then(|row| entries.get_mut(row)) else { continue };
        entry.recovered = Some(share.verdict);
        entry.stream.runs = heap.runs(&share.spans);
        if let Some(note) = share.note {
            entry.remark(note);
        }
        let mut left = entry.stream.size;
        for (clusters, certainty) in share.sure {
            let bytes = clusters.saturating_mul(heap.cluster).min(left);
            left = left.saturating_sub(bytes);
            entry.certainty.push((bytes, certainty));
        }
        entry.certainty.retain(|(bytes, _)| *bytes > 0);
    }
}

/// How a cluster's bytes fit a file of which it holds the last `tail` bytes.
fn fit(view: View<'_>, heap: &Heap, cluster: u32, tail: u64) -> Fit {
    let start = heap.extent(cluster).unwrap_or_default().start;
    let end = tail.next_multiple_of(SECTOR).min(heap.cluster);
    let slack = view.read_up_to(start.saturating_add(tail), end.saturating_sub(tail));
    let near = view.read_up_to(start.saturating_add(tail.saturating_sub(16)), tail.min(16));
    if !crate::bytes::all_zero(&slack) {
        Fit::Not
    } else if slack.is_empty() || crate::bytes::all_zero(&near) {
        Fit::Possible
    } else {
        Fit::Exact
    }
}

/// Files in whose clusters only older ones begin, and behind which, counted in free clusters, a later one begins: had
/// they gone around the older ones they would end further on, and the later one would begin there.
fn abutting(free: &Free, claims: &mut [Claim]) {
    let mut firsts: Vec<(u64, usize)> =
        claims.iter().enumerate().map(|(row, claim)| (free.rank(claim.first), row)).collect();
    firsts.sort_unstable();
    let mut fuel = Fuel::new(COMPARISONS);
    let mut found = Vec::new();
    for (row, claim) in claims.iter().enumerate() {
        let open = claim.known.is_none() && !claim.vague && free.has(claim.first) && claim.count > 1;
        let (start, end) = (free.rank(claim.first), free.rank(claim.first).saturating_add(claim.count));
        let from = firsts.partition_point(|(rank, _)| *rank < start);
        let near = firsts.get(from..).unwrap_or_default().iter().take_while(|(rank, _)| *rank <= end);
        let (mut older, mut next, mut contested) = (false, false, false);
        for (rank, other) in near.filter(|(_, other)| open && *other != row) {
            let Some(other) = claims.get(*other).filter(|_| fuel.burn(1).is_ok()) else { break };
            next |= *rank == end && other.is_younger(claim);
            older |= *rank < end && claim.is_after(other);
            contested |= *rank < end && !claim.is_after(other);
        }
        if older && next && !contested {
            found.push(row);
        }
    }
    for row in found {
        if let Some(claim) = claims.get_mut(row) {
            let mut spans = Vec::new();
            free.append(free.rank(claim.first), claim.count, &mut spans);
            (claim.abuts, claim.known) = (true, Some(spans));
        }
    }
}

/// A share for each claim.
fn solve(heap: &Heap, free: &Free, claims: &[Claim], fit: impl Fn(u32, u64) -> Fit) -> Vec<Share> {
    let clusters = u64::from(heap.last);
    let mut ground = Ground {
        heap,
        free,
        claims,
        fuel: Fuel::new(clusters.saturating_mul(16).saturating_add(1 << 20)),
        comparisons: Fuel::new(COMPARISONS),
    };
    let mut shares: Vec<_> = claims.iter().map(|claim| ground.alone(claim)).collect();
    for group in groups(free, claims) {
        ground.share_out(&group, &fit, &mut shares);
    }
    shares
}

/// Rows of claims that may have had each other's clusters: as long as what began has not got all it wants, what
/// begins there belongs to the same group. Groups of one are left out.
fn groups(free: &Free, claims: &[Claim]) -> Vec<Vec<usize>> {
    let mut stretches: Vec<(u64, u64, usize)> = Vec::with_capacity(claims.len());
    for (row, claim) in claims.iter().enumerate() {
        let rank = free.rank(claim.first);
        match &claim.known {
            Some(spans) => stretches.extend(spans.iter().map(|span| {
                let rank = free.rank(span.first);
                (rank, free.rank(span.end()).saturating_sub(rank), row)
            })),
            None => stretches.push((rank, claim.count, row)),
        }
    }
    stretches.sort_unstable();
    let (mut groups, mut group, mut end): (Vec<Vec<usize>>, Vec<usize>, u64) = (Vec::new(), Vec::new(), 0);
    for (rank, need, row) in stretches {
        if rank >= end {
            groups.push(std::mem::take(&mut group));
            end = rank;
        }
        end = end.saturating_add(need);
        group.push(row);
    }
    groups.push(group);
    for group in &mut groups {
        // A claim in several pieces comes again with each of them.
        let mut seen = HashSet::new();
        group.retain(|row| seen.insert(*row));
    }
    groups.retain(|group| group.len() > 1);
    groups
}

struct Ground<'a> {
    heap: &'a Heap,
    free: &'a Free,
    claims: &'a [Claim],
    fuel: Fuel,
    comparisons: Fuel,
}

/// What the others of its group leave of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Its first cluster is its own.
    Own,
    /// Another one has the same first cluster, and nothing says which was later.
    Shared,
    /// Its first cluster was written over.
    Buried,
}

impl Ground<'_> {
    fn claim(&self, row: usize) -> Option<&Claim> {
        self.claims.get(row)
    }

    /// What a claim gets where nobody contests it.
    fn alone(&mut self, claim: &Claim) -> Share {
        let taken = !self.free.has(claim.first);
        let spans = match &claim.known {
            Some(spans) => spans.clone(),
            None if taken => vec![self.heap.span(claim.first, claim.count)],
            None => self.free.next(claim.first, claim.count, &mut self.fuel),
        };
        let whole = total(&spans) == claim.count && spans.iter().all(|span| self.free.all(*span));
        let any = spans.iter().any(|span| self.free.any(*span));
        let (verdict, sure, note) = match (&claim.known, whole) {
            (_, false) if !any => (Recovered::Overwritten, Vec::new(), None),
            (_, false) => (Recovered::Partial, Vec::new(), None),
            (Some(_), true) if claim.abuts => {
                (Recovered::Partial, vec![(claim.count, Certainty::Inferred)], Some(ABUTTING))
            }
            (Some(_), true) => (Recovered::Intact, Vec::new(), None),
            (None, true) if claim.vague => (Recovered::Partial, vec![(claim.count, Certainty::Guessed)], None),
            (None, true) if spans.len() == 1 => (Recovered::Intact, vec![(claim.count, Certainty::Proven)], None),
            (None, true) => {
                let rest = claim.count.saturating_sub(1);
                (Recovered::Partial, vec![(1, Certainty::Proven), (rest, Certainty::Guessed)], Some(AROUND))
            }
        };
        Share { spans, verdict, sure, note }
    }

    /// Decides on a group.
    fn share_out(&mut self, group: &[usize], fit: &impl Fn(u32, u64) -> Fit, shares: &mut [Share]) {
        let standings: Vec<_> = group.iter().map(|row| self.standing(*row, group)).collect();
        for (row, standing) in group.iter().zip(&standings) {
            if let Some(share) = shares.get_mut(*row) {
                self.contest(*row, *standing, group, share);
            }
        }
        let anchors = self.anchors(group, &standings);
        let (free, fuel) = (self.free, &mut self.fuel);
        let placed = place::place(&anchors, free.total(), |rank, tail| fit_at(free, rank, tail, fit), fuel);
        let mut pieces: Vec<_> = placed.pieces.iter().collect();
        pieces.sort_by_key(|piece| (piece.id, piece.at));
        for own in pieces.chunk_by(|a, b| a.id == b.id) {
            let Some(row) = own.first().map(|piece| piece.id) else { continue };
            if placed.overrun.contains(&row) {
                continue;
            }
            if let (Some(claim), Some(share)) = (self.claims.get(row), shares.get_mut(row)) {
                take_pieces(free, claim, own, placed.unique, share);
            }
        }
        for row in placed.overrun {
            if let Some(share) = shares.get_mut(row) {
                bury(share);
            }
        }
    }

    /// Whether the first cluster of `row` is its own, by the others that have had it.
    fn standing(&mut self, row: usize, group: &[usize]) -> Standing {
        let Some(own) = self.claim(row).cloned() else { return Standing::Shared };
        if self.comparisons.burn(group.len() as u64).is_err() {
            return Standing::Shared;
        }
        let (mut buried, mut shared) = (false, false);
        for other in group.iter().filter(|other| **other != row).filter_map(|other| self.claim(*other)) {
            let covers = |spans: &Vec<Span>| spans.iter().any(|span| (span.first..span.end()).contains(&own.first));
            let has = other.first == own.first || other.known.as_ref().is_some_and(covers);
            if has {
                // What can be read as a directory now was not written over by a file.
                buried |= other.is_after(&own) || (other.is_directory() && !own.is_directory());
                shared |= !own.is_after(other) && !own.is_directory();
            }
        }
        match (buried, shared) {
            (true, _) => Standing::Buried,
            (false, true) => Standing::Shared,
            (false, false) => Standing::Own,
        }
    }

    /// Takes back what [`Self::alone`] promised where another one can have had a cluster of it.
    fn contest(&mut self, row: usize, standing: Standing, group: &[usize], share: &mut Share) {
        let Some(own) =
            self.claim(row).cloned().filter(|_| !share.sure.is_empty() || share.verdict == Recovered::Intact)
        else {
            return;
        };
        match standing {
            Standing::Buried => return bury(share),
            Standing::Own if share.verdict != Recovered::Intact => return,
            Standing::Own if !self.is_contested(row, &own, group, share) => return,
            _ => {}
        }
        let first =
            if standing == Standing::Own && own.known.is_none() { Certainty::Proven } else { Certainty::Guessed };
        share.verdict = Recovered::Partial;
        share.sure = vec![(1, first), (own.count.saturating_sub(1), Certainty::Guessed)];
        share.note = Some(CONTESTED);
    }

    fn is_contested(&mut self, row: usize, own: &Claim, group: &[usize], share: &Share) -> bool {
        if self.comparisons.burn(group.len() as u64).is_err() {
            return true;
        }
        let last = share.spans.iter().map(|span| span.end()).max().unwrap_or(0);
        let mut others = group.iter().filter(|other| **other != row).filter_map(|other| self.claim(*other));
        others.any(|other| is_rival(own, other, &share.spans, last))
    }

    /// The files of a group as the search takes them: those that own their first clusters, in order.
    fn anchors(&self, group: &[usize], standings: &[Standing]) -> Vec<Anchor> {
        let mut anchors = Vec::new();
        for (row, standing) in group.iter().zip(standings) {
            let Some(claim) = self.claim(*row).filter(|_| *standing != Standing::Buried) else { continue };
            let life = claim.life;
            let blank = Anchor { id: *row, at: 0, len: 0, need: 0, tail: claim.tail, begun: None, ended: None };
            let begun = life.map(|life| life.begun);
            if let Some(spans) = &claim.known {
                anchors.extend(spans.iter().map(|span| {
                    let at = self.free.rank(span.first);
                    Anchor { at, len: self.free.rank(span.end()).saturating_sub(at), begun, ..blank }
                }));
            } else if self.free.has(claim.first) {
                let at = self.free.rank(claim.first);
                let (need, ended) = (claim.count.saturating_sub(1), life.map(|life| (life.ended, life.late)));
                anchors.push(Anchor { at, len: 1, need, begun, ended, ..blank });
            }
        }
        // Of those that begin at the same place one is searched for, the longest.
        anchors.sort_by_key(|anchor| (anchor.at, std::cmp::Reverse(anchor.need)));
        anchors.dedup_by_key(|anchor| anchor.at);
        anchors
    }
}

fn fit_at(free: &Free, rank: u64, tail: u64, fit: &impl Fn(u32, u64) -> Fit) -> Fit {
    free.at(rank).map_or(Fit::Possible, |cluster| fit(cluster, tail))
}

/// Whether `other` can have had a cluster of `own`, which lies in `spans` if nothing has come between.
fn is_rival(own: &Claim, other: &Claim, spans: &[Span], last: u32) -> bool {
    let meets = |other: &Span| spans.iter().any(|own| own.first < other.end() && other.first < own.end());
    // The place of what has one cluster, or is named in full, is certain: only a later file can spoil it.
    let fixed = own.known.is_some() || own.count == 1;
    match &other.known {
        Some(known) if !known.iter().any(meets) => false,
        Some(_) => !fixed || other.may_outlive(own),
        None if other.first >= last => false,
        None if other.first == own.first => !own.is_after(other),
        None => !fixed || other.may_outlive(own),
    }
}

/// The content is known to be another file's, at least where it begins.
fn bury(share: &mut Share) {
    let one = total(&share.spans) == 1;
    share.verdict = if one { Recovered::Overwritten } else { Recovered::Partial };
    share.sure.clear();
    share.note = Some(BURIED);
}

/// Puts a file together from its first cluster and what the search gave it.
fn take_pieces(free: &Free, claim: &Claim, pieces: &[&place::Piece], unique: bool, share: &mut Share) {
    let mut spans = vec![Span { first: claim.first, count: 1 }];
    let begins = share.sure.first().map_or(Certainty::Guessed, |(_, certainty)| *certainty);
    let mut sure = vec![(1, begins)];
    for piece in pieces {
        free.append(piece.at, piece.len, &mut spans);
        let whole = if piece.forced && unique { Certainty::Inferred } else { Certainty::Guessed };
        let end = if piece.exact && unique { Certainty::Inferred } else { whole };
        sure.push((piece.len.saturating_sub(1), whole));
        sure.push((1, end));
    }
    sure.retain(|(clusters, _)| *clusters > 0);
    let complete = total(&spans) == claim.count;
    if share.verdict == Recovered::Intact {
        return;
    }
    share.verdict = Recovered::Partial;
    share.note = Some(SOLVED);
    share.sure = if complete { sure } else { Vec::new() };
    share.spans = spans;
}

#[cfg(test)]
mod tests;
