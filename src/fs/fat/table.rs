//! The file allocation table: which cluster follows which, and which belong to nothing.
//!
//! Microsoft FAT specification 1.03, "FAT Data Structure".

use super::boot::{Boot, Width};
use crate::bytes::Fields;
use crate::fs::cluster::{Chain, Free, Heap, Link};
use crate::fuel::Fuel;
use crate::image::View;
use std::borrow::Cow;

/// The table that is in force.
pub(super) struct Table<'img> {
    bytes: Cow<'img, [u8]>,
    width: Width,
    heap: Heap,
    free: Free,
}

impl<'img> Table<'img> {
    pub(super) fn read(volume: View<'img>, boot: &Boot) -> Self {
        let at = boot.tables.get(boot.active).copied().unwrap_or_default();
        let bytes = volume.read_up_to(at.start, at.len);
        let mut table = Self { bytes, width: boot.width, heap: boot.heap, free: Free::default() };
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
        self.heap.is_valid(cluster) && self.link(cluster) == Link::Free
    }

    /// Every stretch of free clusters.
    pub(super) const fn free(&self) -> &Free {
        &self.free
    }

    fn find_free(&self) -> Free {
        // An image may end before its table does.
        let per_sector = match self.width {
            Width::Fat12 => 342,
            Width::Fat16 => 256,
            Width::Fat32 => 128,
        };
        let known = self.bytes.len().div_ceil(512).saturating_mul(per_sector);
        let known = u32::try_from(known).unwrap_or(u32::MAX);
        Free::of((2..=self.heap.last.min(known)).filter(|cluster| self.is_free(*cluster)))
    }

    /// The chain from `first` to its end mark.
    pub(super) fn chain(&self, first: u32, fuel: &mut Fuel) -> Chain {
        Chain::follow(&self.heap, first, fuel, |cluster| self.link(cluster))
    }
}
