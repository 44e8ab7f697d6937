//! `$Bitmap`: which clusters belong to something.

use super::boot::Boot;
use super::entry::stored;
use crate::bytes::index;
use crate::content::Stream;
use crate::extent::Extent;
use crate::fs::Recovered;

/// Bytes whose bits are counted together.
const BLOCK: usize = 512;

/// One bit a cluster.
pub(super) struct Bitmap {
    bits: Vec<u8>,
    /// How many bits are set before each block: a deleted file may claim all clusters many times over.
    before: Vec<u64>,
    cluster: u64,
    clusters: u64,
}

impl Bitmap {
    /// The bits as `$Bitmap` keeps them: at least one for each cluster of the volume.
    pub(super) fn new(boot: Boot, bits: Vec<u8>) -> Self {
        let mut sum = 0u64;
        let count = |block: &[u8]| {
            let before = sum;
            sum = sum.saturating_add(ones(block));
            before
        };
        let before = bits.chunks(BLOCK).map(count).collect();
        Self { bits, before, cluster: boot.cluster, clusters: boot.clusters }
    }

    /// Everything taken: where the true one cannot be read, nothing may be called free.
    pub(super) fn full(boot: Boot) -> Self {
        Self { bits: Vec::new(), before: Vec::new(), cluster: boot.cluster, clusters: boot.clusters }
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
            let end = first.saturating_add(count).min(self.known()).max(first);
            let own = self.taken_before(end).saturating_sub(self.taken_before(first));
            free = free.saturating_add(end.saturating_sub(first).saturating_sub(own));
            // Those without a bit count as taken.
            taken = taken.saturating_add(own).saturating_add(count.saturating_sub(end.saturating_sub(first)));
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

    /// How many of the clusters before this one are taken, of those that have a bit.
    fn taken_before(&self, cluster: u64) -> u64 {
        let cluster = cluster.min(self.known());
        let byte = index(cluster / 8);
        let Some(before) = self.before.get(byte / BLOCK) else { return self.ones_in(0, byte) };
        let whole = self.ones_in(byte.saturating_sub(byte % BLOCK), byte);
        let last = self.bits.get(byte).map_or(0, |byte| byte & !(0xff << (cluster % 8)));
        before.saturating_add(whole).saturating_add(last.count_ones().into())
    }

    fn ones_in(&self, from: usize, to: usize) -> u64 {
        self.bits.get(from..to).map_or(0, ones)
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

fn ones(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum.saturating_add(byte.count_ones().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Run;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn verdicts_are_those_of_single_clusters(bytes in prop::collection::vec(any::<u8>(), 1..1400), sparse: bool,
                                                 first in 0u64..12_000, count in 1u64..9000, clusters in 1u64..12_000) {
            let bits: Vec<u8> = bytes.iter().map(|b| if sparse { u8::from(*b == 9) } else { *b }).collect();
            let boot = Boot { sector: 512, cluster: 512, sectors: clusters, clusters, mft: 4, mirror: 8, record: 1024,
                              index: 4096, serial: 0, from_backup: false };
            let bitmap = Bitmap::new(boot, bits);
            let stream = Stream::plain(vec![Run::Data(Extent::new(first * 512, count * 512))], count * 512);
            let taken = (first..first + count).filter(|n| *n >= bitmap.known() || bitmap.is_taken(*n)).count() as u64;
            let expected = match taken {
                0 => Recovered::Intact,
                n if n == count => Recovered::Overwritten,
                _ => Recovered::Partial,
            };
            prop_assert_eq!(bitmap.verdict(&stream), expected);
        }
    }
}
