//! `$Bitmap`: which clusters belong to something.

use super::boot::Boot;
use super::entry::stored;
use crate::bytes::index;
use crate::content::Stream;
use crate::extent::Extent;
use crate::fs::Recovered;

/// One bit a cluster.
pub(super) struct Bitmap {
    bits: Vec<u8>,
    cluster: u64,
    clusters: u64,
}

impl Bitmap {
    /// The bits as `$Bitmap` keeps them: at least one for each cluster of the volume.
    pub(super) fn new(boot: Boot, bits: Vec<u8>) -> Self {
        Self { bits, cluster: boot.cluster, clusters: boot.clusters }
    }

    /// Everything taken: where the true one cannot be read, nothing may be called free.
    pub(super) fn full(boot: Boot) -> Self {
        Self { bits: Vec::new(), cluster: boot.cluster, clusters: boot.clusters }
    }

    fn is_taken(&self, cluster: u64) -> bool {
        self.bits.get(index(cluster / 8)).is_none_or(|byte| byte >> (cluster % 8) & 1 != 0)
    }

    /// How many of the clusters of a deleted stream are taken again.
    pub(super) fn verdict(&self, stream: &Stream) -> Recovered {
        let (mut taken, mut free) = (0u64, 0u64);
        for extent in stored(stream) {
            let first = extent.start.checked_div(self.cluster).unwrap_or(0);
            let count = extent.len.div_ceil(self.cluster);
            let end = first.saturating_add(count);
            taken = taken.saturating_add(end.saturating_sub(self.known().max(first)));
            for cluster in first..end.min(self.known()) {
                let counter = if self.is_taken(cluster) { &mut taken } else { &mut free };
                *counter = counter.saturating_add(1);
            }
        }
        match (taken, free) {
            (0, 0) if stream.runs.is_empty() => Recovered::NameOnly,
            (0, _) => Recovered::Intact,
            (_, 0) => Recovered::Overwritten,
            _ => Recovered::Partial,
        }
    }

    /// The free stretches, in bytes of the volume.
    pub(super) fn unallocated(&self) -> impl Iterator<Item = Extent> + '_ {
        let mut at = 0u64;
        std::iter::from_fn(move || {
            let start = self.next(at, false)?;
            let end = self.next(start, true).unwrap_or(self.known());
            at = end;
            Some(Extent::between(start.saturating_mul(self.cluster), end.saturating_mul(self.cluster)))
        })
    }

    /// How many clusters have a bit; those behind them count as taken, however many a boot sector tells of.
    fn known(&self) -> u64 {
        (self.bits.len() as u64).saturating_mul(8).min(self.clusters)
    }

    /// The first cluster from `from` on that is taken, or free; whole bytes of the other kind are skipped.
    fn next(&self, from: u64, taken: bool) -> Option<u64> {
        let skipped = if taken { 0x00 } else { 0xff };
        let mut at = from;
        while at < self.known() {
            if at.is_multiple_of(8) && self.bits.get(index(at / 8)) == Some(&skipped) {
                at = at.saturating_add(8);
            } else if self.is_taken(at) == taken {
                return Some(at);
            } else {
                at = at.saturating_add(1);
            }
        }
        None
    }
}
