//! Clusters: where they lie, the chains that a table makes of them, and those that belong to nothing.
//!
//! What FAT (Microsoft FAT 1.03, "FAT Data Structure") and exFAT (Microsoft exFAT, section 4) have in common.

use crate::content::Run;
use crate::extent::Extent;
use crate::fuel::Fuel;
use std::collections::HashSet;

/// More pieces than a deleted file is put together from.
const MAX_SPANS: usize = 1 << 18;

/// A stretch of clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) count: u32,
}

impl Span {
    /// The cluster behind the last one.
    pub(super) const fn end(self) -> u32 {
        self.first.saturating_add(self.count)
    }
}

/// How many clusters the spans hold.
pub(super) fn total(spans: &[Span]) -> u64 {
    spans.iter().fold(0, |sum, span| sum.saturating_add(u64::from(span.count)))
}

/// Appends a cluster.
pub(super) fn extend(spans: &mut Vec<Span>, cluster: u32) {
    match spans.last_mut() {
        Some(last) if last.end() == cluster => last.count = last.count.saturating_add(1),
        _ => spans.push(Span { first: cluster, count: 1 }),
    }
}

/// Where the clusters lie in the volume. The first one is number 2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heap {
    /// Where cluster 2 begins.
    pub(super) start: u64,
    /// Bytes of a cluster; never 0.
    pub(super) cluster: u64,
    /// The last valid one.
    pub(super) last: u32,
}

impl Heap {
    pub(super) fn is_valid(&self, cluster: u32) -> bool {
        (2..=self.last).contains(&cluster)
    }

    /// Where a cluster lies; `None` for what is no cluster.
    pub(super) fn extent(&self, cluster: u32) -> Option<Extent> {
        let number = u64::from(cluster.checked_sub(2)?);
        let start = self.start.checked_add(number.checked_mul(self.cluster)?)?;
        (cluster <= self.last).then_some(Extent::new(start, self.cluster))
    }

    /// How many clusters hold `size` bytes.
    pub(super) fn clusters_for(&self, size: u64) -> u64 {
        size.div_ceil(self.cluster.max(1))
    }

    /// How many bytes the last of them holds.
    pub(super) fn tail(&self, size: u64) -> u64 {
        size.saturating_sub(self.clusters_for(size).saturating_sub(1).saturating_mul(self.cluster))
    }

    /// `count` clusters from `first` on, as far as there are any.
    pub(super) fn span(&self, first: u32, count: u64) -> Span {
        let room = if first < 2 { 0 } else { u64::from(self.last).saturating_add(1).saturating_sub(u64::from(first)) };
        Span { first, count: u32::try_from(count.min(room)).unwrap_or(u32::MAX) }
    }

    /// Where the spans lie, in bytes of the volume.
    pub(super) fn extents<'a>(&'a self, spans: &'a [Span]) -> impl Iterator<Item = Extent> + 'a {
        spans.iter().filter(|span| span.count > 0).filter_map(|span| {
            let first = self.extent(span.first)?;
            Some(Extent::new(first.start, first.len.saturating_mul(u64::from(span.count))))
        })
    }

    /// The same as a stream's runs.
    pub(super) fn runs(&self, spans: &[Span]) -> Vec<Run> {
        self.extents(spans).map(Run::Data).collect()
    }
}

/// What a table says of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Free,
    Next(u32),
    End,
    Bad,
}

/// Clusters in order, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) spans: Vec<Span>,
    pub(super) wrong: Option<String>,
}

impl Chain {
    /// The chain from `first` to its end mark. One step of `fuel` for a cluster: chains that are sound share none, so
    /// that a few times the volume's clusters is enough for all of them.
    pub(super) fn follow(heap: &Heap, first: u32, fuel: &mut Fuel, link: impl Fn(u32) -> Link) -> Self {
        let (mut chain, mut seen, mut at) = (Self::default(), Seen::default(), first);
        loop {
            if !heap.is_valid(at) {
                chain.wrong = Some(format!("its chain leads to cluster {at}, the last one is {}", heap.last));
            } else if fuel.burn(1).is_err() {
                chain.wrong = Some("the chains of this volume share too many clusters".to_owned());
            } else if !seen.insert(at, &chain.spans) {
                chain.wrong = Some(format!("its chain loops back to cluster {at}"));
            }
            if chain.wrong.is_some() {
                return chain;
            }
            let link = link(at);
            if link != Link::Free && link != Link::Bad {
                extend(&mut chain.spans, at);
            }
            match link {
                Link::Next(next) => at = next,
                Link::End => return chain,
                Link::Free => chain.wrong = Some(format!("its chain leads to cluster {at}, which is free")),
                Link::Bad => chain.wrong = Some(format!("its chain leads to cluster {at}, which is bad")),
            }
            if chain.wrong.is_some() {
                return chain;
            }
        }
    }
}

/// The clusters that a chain has passed. A chain that only ascends cannot loop; the set is kept from its first step
/// backwards on.
#[derive(Default)]
struct Seen {
    highest: u32,
    set: Option<HashSet<u32>>,
}

impl Seen {
    fn insert(&mut self, cluster: u32, passed: &[Span]) -> bool {
        if self.set.is_none() && cluster <= self.highest {
            self.set = Some(passed.iter().flat_map(|span| span.first..span.end()).collect());
        }
        self.highest = self.highest.max(cluster);
        self.set.as_mut().is_none_or(|set| set.insert(cluster))
    }
}

/// Every stretch of clusters that belong to nothing, in order.
#[derive(Debug, Default)]
pub(super) struct Free {
    spans: Vec<Span>,
    /// How many free clusters lie before each of them.
    before: Vec<u64>,
}

impl Free {
    /// Of free clusters in ascending order.
    pub(super) fn of(clusters: impl IntoIterator<Item = u32>) -> Self {
        let mut spans = Vec::new();
        clusters.into_iter().for_each(|cluster| extend(&mut spans, cluster));
        let mut sum = 0u64;
        let count = |span: &Span| {
            let before = sum;
            sum = sum.saturating_add(u64::from(span.count));
            before
        };
        Self { before: spans.iter().map(count).collect(), spans }
    }

    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// How many there are.
    pub(super) fn total(&self) -> u64 {
        total(&self.spans)
    }

    /// How many free clusters lie before `cluster`.
    pub(super) fn rank(&self, cluster: u32) -> u64 {
        let row = self.row(cluster);
        let within = self.spans.get(row).map_or(0, |span| cluster.saturating_sub(span.first));
        self.before.get(row).copied().unwrap_or_else(|| self.total()).saturating_add(u64::from(within))
    }

    /// Appends `count` free clusters from the one of that rank on.
    pub(super) fn append(&self, rank: u64, count: u64, to: &mut Vec<Span>) {
        let (mut row, mut at, end) = (self.before_row(rank), rank, rank.saturating_add(count));
        while let (Some(span), Some(before)) = (self.spans.get(row), self.before.get(row))
            && at < end
        {
            let skip = u32::try_from(at.saturating_sub(*before)).unwrap_or(u32::MAX);
            let left = u32::try_from(end.saturating_sub(at)).unwrap_or(u32::MAX);
            let piece =
                Span { first: span.first.saturating_add(skip), count: span.count.saturating_sub(skip).min(left) };
            match to.last_mut() {
                Some(last) if last.end() == piece.first => last.count = last.count.saturating_add(piece.count),
                _ => to.push(piece),
            }
            at = at.saturating_add(u64::from(piece.count));
            row = row.saturating_add(1);
        }
    }

    /// Row of the stretch that holds the free cluster of that rank.
    fn before_row(&self, rank: u64) -> usize {
        self.before.partition_point(|before| *before <= rank).saturating_sub(1)
    }

    /// The free cluster of that rank.
    pub(super) fn at(&self, rank: u64) -> Option<u32> {
        let row = self.before_row(rank);
        let skip = u32::try_from(rank.saturating_sub(*self.before.get(row)?)).ok()?;
        self.spans.get(row).filter(|span| skip < span.count)?.first.checked_add(skip)
    }

    /// Row of the first stretch that does not end before `cluster`.
    fn row(&self, cluster: u32) -> usize {
        self.spans.partition_point(|span| span.end() <= cluster)
    }

    /// Whether any of these clusters is free.
    pub(super) fn any(&self, span: Span) -> bool {
        self.spans.get(self.row(span.first)).is_some_and(|free| free.first < span.end())
    }

    /// Whether all of them are.
    pub(super) fn all(&self, span: Span) -> bool {
        let within = |free: &Span| free.first <= span.first && span.end() <= free.end();
        span.count == 0 || self.spans.get(self.row(span.first)).is_some_and(within)
    }

    pub(super) fn has(&self, cluster: u32) -> bool {
        self.any(Span { first: cluster, count: 1 })
    }

    /// `count` free clusters from `first` on, over those that are in use: how a system that takes the next free
    /// cluster has most likely written the file. Fewer where the volume ends or its free space is in shreds.
    pub(super) fn next(&self, first: u32, count: u64, fuel: &mut Fuel) -> Vec<Span> {
        let mut left = u32::try_from(count).unwrap_or(u32::MAX);
        let mut taken = Vec::new();
        for span in self.spans.get(self.row(first)..).unwrap_or_default().iter().take(MAX_SPANS) {
            let begin = span.first.max(first);
            let take = span.end().saturating_sub(begin).min(left);
            if take == 0 || fuel.burn(1).is_err() {
                break;
            }
            taken.push(Span { first: begin, count: take });
            left = left.saturating_sub(take);
        }
        taken
    }
}
