//! The file allocation table and the allocation bitmap: which cluster follows which, and which belong to nothing.
//!
//! Microsoft exFAT specification, section 4.1 "First and Second FAT Sub-regions", 7.1 "Allocation Bitmap Directory
//! Entry". Other than on FAT the bitmap alone says what is free; the table may keep the chains of what was deleted.

use super::boot::Boot;
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::fs::cluster::{Chain, Free, Heap, Link, Span, total};
use crate::fuel::Fuel;
use crate::image::View;
use std::borrow::Cow;

const BAD: u32 = 0xffff_fff7;
const END: u32 = 0xffff_ffff;

/// Table and bitmap.
pub(super) struct Table<'img> {
    bytes: Cow<'img, [u8]>,
    pub(super) heap: Heap,
    pub(super) free: Free,
}

impl<'img> Table<'img> {
    /// The table, with nothing free until the bitmap has been found.
    pub(super) fn read(view: View<'img>, boot: &Boot) -> Self {
        let Extent { start, len } = boot.table;
        Self { bytes: view.read_up_to(start, len), heap: boot.heap, free: Free::default() }
    }

    /// Takes the bits of the allocation bitmap, the first one for cluster 2. Those that are missing count as taken.
    pub(super) fn set_bitmap(&mut self, bits: &[u8]) {
        let known = u32::try_from(bits.len().saturating_mul(8)).unwrap_or(u32::MAX).saturating_add(1);
        let clusters = 2..=self.heap.last.min(known);
        let is_free = |cluster: &u32| {
            let number = cluster.saturating_sub(2);
            bits.get(index(u64::from(number / 8))).is_some_and(|byte| byte >> (number % 8) & 1 == 0)
        };
        self.free = Free::of(clusters.filter(is_free));
    }

    fn link(&self, cluster: u32) -> Link {
        let at = index(u64::from(cluster).saturating_mul(4));
        match self.bytes.le32(at) {
            Some(BAD) => Link::Bad,
            Some(0) => Link::Free,
            Some(END) | None => Link::End,
            Some(next) => Link::Next(next),
        }
    }

    /// The chain from `first` to its end mark.
    pub(super) fn chain(&self, first: u32, fuel: &mut Fuel) -> Chain {
        Chain::follow(&self.heap, first, fuel, |cluster| self.link(cluster))
    }

    /// The clusters of a live stream of `size` bytes: in one piece where NoFatChain is set, else chained.
    pub(super) fn clusters(&self, first: u32, size: u64, contiguous: bool, fuel: &mut Fuel) -> Chain {
        let count = self.heap.clusters_for(size);
        if !contiguous {
            return self.chain(first, fuel);
        }
        let span = self.heap.span(first, count);
        let missing = count.saturating_sub(u64::from(span.count));
        let wrong = (missing > 0).then(|| format!("its clusters lead {missing} behind the last one"));
        Chain { spans: if span.count > 0 { vec![span] } else { Vec::new() }, wrong }
    }

    /// The chain of something deleted, if the table still holds one of `count` clusters that are all free.
    pub(super) fn kept_chain(&self, first: u32, count: u64, fuel: &mut Fuel) -> Option<Vec<Span>> {
        let chain = self.chain(first, fuel);
        let whole = chain.wrong.is_none() && total(&chain.spans) == count;
        (whole && chain.spans.iter().all(|span| self.free.all(*span))).then_some(chain.spans)
    }
}

/// The bytes of `spans`, at most `len` of them, in one piece.
pub(super) fn bytes<'img>(view: View<'img>, heap: &Heap, spans: &[Span], len: u64) -> Cow<'img, [u8]> {
    let mut extents = heap.extents(spans);
    let first = extents.next().unwrap_or_default();
    let head = view.read_up_to(first.start, first.len.min(len));
    if first.len >= len || (head.len() as u64) < first.len {
        return head;
    }
    let mut whole = head.into_owned();
    for extent in extents {
        let left = len.saturating_sub(whole.len() as u64);
        let piece = view.read_up_to(extent.start, extent.len.min(left));
        whole.extend_from_slice(&piece);
        if (piece.len() as u64) < extent.len {
            break;
        }
    }
    Cow::Owned(whole)
}
