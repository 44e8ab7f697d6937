//! The file allocation table: which cluster follows which, and which belong to nothing.
//!
//! Microsoft FAT specification 1.03, "FAT Data Structure".

use super::boot::{Boot, Width};
use crate::bytes::Fields;
use crate::content::Run;
use crate::extent::Extent;
use crate::fuel::Fuel;
use crate::image::View;
use std::borrow::Cow;
use std::collections::HashSet;

/// More pieces than a deleted file is put together from.
const MAX_SPANS: usize = 1 << 18;

/// What the table says of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Free,
    Next(u32),
    End,
    Bad,
}

/// A stretch of clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) count: u32,
}

impl Span {
    const fn end(self) -> u32 {
        self.first.saturating_add(self.count)
    }
}

/// The table that is in force.
pub(super) struct Table<'img> {
    bytes: Cow<'img, [u8]>,
    width: Width,
    last: u32,
    free: Vec<Span>,
}

/// Clusters in order, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) spans: Vec<Span>,
    pub(super) wrong: Option<String>,
}

impl<'img> Table<'img> {
    pub(super) fn read(volume: View<'img>, boot: &Boot) -> Self {
        let at = boot.tables.get(boot.active).copied().unwrap_or_default();
        let bytes = volume.read_up_to(at.start, at.len);
        let mut table = Self { bytes, width: boot.width, last: boot.last, free: Vec::new() };
        table.free = table.find_free();
        table
    }

    fn raw(&self, cluster: u32) -> Option<u32> {
        let n = usize::try_from(cluster).ok()?;
        match self.width {
            Width::Fat12 => {
                let pair = u32::from(self.bytes.le16(n.checked_add(n / 2)?)?);
                Some(if n % 2 == 0 { pair & 0xfff } else { pair >> 4 })
            }
            Width::Fat16 => self.bytes.le16(n.checked_mul(2)?).map(u32::from),
            Width::Fat32 => self.bytes.le32(n.checked_mul(4)?).map(|raw| raw & 0x0fff_ffff),
        }
    }

    /// What follows `cluster`. A part of the table that is missing counts as an end, never as free.
    pub(super) fn link(&self, cluster: u32) -> Link {
        let bad = match self.width {
            Width::Fat12 => 0xff7,
            Width::Fat16 => 0xfff7,
            Width::Fat32 => 0x0fff_fff7,
        };
        match self.raw(cluster) {
            Some(0) => Link::Free,
            Some(next) if next < bad => Link::Next(next),
            Some(next) if next == bad => Link::Bad,
            _ => Link::End,
        }
    }

    /// True for a valid cluster that belongs to nothing.
    pub(super) fn is_free(&self, cluster: u32) -> bool {
        (2..=self.last).contains(&cluster) && self.link(cluster) == Link::Free
    }

    pub(super) fn is_valid(&self, cluster: u32) -> bool {
        (2..=self.last).contains(&cluster)
    }

    /// Every stretch of free clusters, in order.
    pub(super) fn free(&self) -> &[Span] {
        &self.free
    }

    fn find_free(&self) -> Vec<Span> {
        let mut free: Vec<Span> = Vec::new();
        // An image may end before its table does.
        let per_sector = match self.width {
            Width::Fat12 => 342,
            Width::Fat16 => 256,
            Width::Fat32 => 128,
        };
        let known = self.bytes.len().div_ceil(512).saturating_mul(per_sector);
        let known = u32::try_from(known).unwrap_or(u32::MAX);
        for cluster in (2..=self.last.min(known)).filter(|cluster| self.is_free(*cluster)) {
            extend(&mut free, cluster);
        }
        free
    }

    /// The chain from `first` to its end mark. One step of `fuel` for a cluster: chains that are sound share none, so
    /// that a few times the volume's clusters is enough for all of them.
    pub(super) fn chain(&self, first: u32, fuel: &mut Fuel) -> Chain {
        let (mut chain, mut seen, mut at) = (Chain::default(), Seen::default(), first);
        loop {
            if !self.is_valid(at) {
                chain.wrong = Some(format!("its chain leads to cluster {at}, the last one is {}", self.last));
            } else if fuel.burn(1).is_err() {
                chain.wrong = Some("the chains of this volume share too many clusters".to_owned());
            } else if !seen.insert(at, &chain.spans) {
                chain.wrong = Some(format!("its chain loops back to cluster {at}"));
            }
            if chain.wrong.is_some() {
                return chain;
            }
            let link = self.link(at);
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

    /// `count` free clusters from `first` on, over those that are in use: how a system that takes the next free
    /// cluster has most likely written the file. Fewer where the volume ends or its free space is in shreds.
    pub(super) fn next_free(&self, first: u32, count: u64, fuel: &mut Fuel) -> Vec<Span> {
        let mut left = u32::try_from(count).unwrap_or(u32::MAX);
        let from = self.free.partition_point(|span| span.end() <= first);
        let mut taken = Vec::new();
        for span in self.free.get(from..).unwrap_or_default().iter().take(MAX_SPANS) {
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

    /// Whether any of these clusters is free.
    pub(super) fn any_free(&self, span: Span) -> bool {
        let from = self.free.partition_point(|free| free.end() <= span.first);
        self.free.get(from).is_some_and(|free| free.first < span.end())
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

fn extend(spans: &mut Vec<Span>, cluster: u32) {
    match spans.last_mut() {
        Some(last) if last.end() == cluster => last.count = last.count.saturating_add(1),
        _ => spans.push(Span { first: cluster, count: 1 }),
    }
}

/// Where the clusters lie, in bytes of the volume.
pub(super) fn runs(boot: &Boot, spans: &[Span]) -> Vec<Run> {
    extents(boot, spans).map(Run::Data).collect()
}

/// The same as extents.
pub(super) fn extents<'a>(boot: &'a Boot, spans: &'a [Span]) -> impl Iterator<Item = Extent> + 'a {
    spans.iter().filter_map(|span| {
        let first = boot.extent(span.first)?;
        Some(Extent::new(first.start, first.len.saturating_mul(u64::from(span.count))))
    })
}
