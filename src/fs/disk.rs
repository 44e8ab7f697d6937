//! The blocks of a volume as a mount would see them: where the journal was not written back, its copy stands for the
//! block. The evidence itself stays as it is.

use crate::bytes::{index, offset};
use crate::extent::Extent;
use crate::image::View;
use std::borrow::Cow;
use std::collections::HashMap;

/// A volume with the blocks that its journal would change.
#[derive(Clone)]
pub(in crate::fs) struct Disk<'img> {
    pub(in crate::fs) view: View<'img>,
    block_size: u64,
    /// Byte of the volume at which the journal's copy of a block stands.
    replay: HashMap<u64, u64>,
}

impl<'img> Disk<'img> {
    /// The volume as it lies there.
    pub(in crate::fs) fn plain(view: View<'img>, block_size: u64) -> Self {
        Self { view, block_size: block_size.max(1), replay: HashMap::new() }
    }

    /// The volume with the journal written back.
    pub(in crate::fs) fn replayed(view: View<'img>, block_size: u64, replay: HashMap<u64, u64>) -> Self {
        Self { view, block_size: block_size.max(1), replay }
    }

    /// Whether the journal would change any of `len` bytes at `at`.
    pub(in crate::fs) fn changes(&self, at: u64, len: u64) -> bool {
        !self.replay.is_empty() && self.read(at, len) != self.view.read(at, len).ok()
    }

    /// The block numbers that the journal would change.
    pub(in crate::fs) fn changed(&self) -> impl Iterator<Item = u64> + '_ {
        self.replay.keys().copied()
    }

    /// Where a block really stands.
    pub(in crate::fs) fn place_of(&self, block: u64) -> u64 {
        self.place(block.saturating_mul(self.block_size))
    }

    fn block(&self, at: u64) -> u64 {
        at.checked_div(self.block_size).unwrap_or(0)
    }

    /// Where byte `at` really stands.
    pub(in crate::fs) fn place(&self, at: u64) -> u64 {
        let within = at.checked_rem(self.block_size).unwrap_or(0);
        self.replay.get(&self.block(at)).map_or(at, |place| place.saturating_add(within))
    }

    /// Where the bytes of a stretch really stand, in order.
    pub(in crate::fs) fn places(&self, stretch: Extent) -> Vec<Extent> {
        if self.replay.is_empty() {
            return vec![stretch];
        }
        let (mut at, mut out) = (stretch.start, Vec::<Extent>::new());
        while at < stretch.end() {
            let within = at.checked_rem(self.block_size).unwrap_or(0);
            let len = self.block_size.saturating_sub(within).min(stretch.end().saturating_sub(at)).max(1);
            let place = self.place(at);
            match out.last_mut() {
                Some(last) if last.end() == place => last.len = last.len.saturating_add(len),
                _ => out.push(Extent::new(place, len)),
            }
            at = at.saturating_add(len);
        }
        out
    }

    /// Exactly `len` bytes at `at`.
    pub(in crate::fs) fn read(&self, at: u64, len: u64) -> Option<Cow<'img, [u8]>> {
        let last = at.checked_add(len)?.saturating_sub(1);
        if self.replay.is_empty() || !(self.block(at)..=self.block(last)).any(|b| self.replay.contains_key(&b)) {
            return self.view.read(at, len).ok();
        }
        let mut bytes = Vec::with_capacity(index(len.min(self.view.size())));
        while offset(bytes.len()) < len {
            let here = at.saturating_add(offset(bytes.len()));
            let within = here.checked_rem(self.block_size)?;
            let piece = self.block_size.saturating_sub(within).min(len.saturating_sub(offset(bytes.len())));
            bytes.extend_from_slice(&self.view.read(self.place(here), piece).ok()?);
        }
        Some(Cow::Owned(bytes))
    }

    /// Up to `len` bytes at `at`; fewer, or none, where the volume ends before that.
    pub(in crate::fs) fn read_up_to(&self, at: u64, len: u64) -> Cow<'img, [u8]> {
        let len = len.min(self.view.size().saturating_sub(at));
        self.read(at, len).unwrap_or(Cow::Borrowed(&[]))
    }
}
