//! The journal: whether it was written back, what it would write, and where its older copies of blocks stand.
//!
//! Apple TN1150, "Journal"; `vfs_journal.h` of XNU (`journal_header`, `block_list_header`, `block_info`).

use super::header::Header;
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::image::View;
use std::collections::HashMap;

/// Bytes of the part of a list's header that its checksum covers.
const CHECKED: usize = 32;
/// The number of a block that is not to be written any more.
const KILLED: u64 = u64::MAX;

/// A journal.
#[derive(Default)]
pub(super) struct Journal {
    /// Where it lies in the view.
    pub(super) extent: Extent,
    /// Bytes of a sector: blocks are counted in these.
    pub(super) sector: u64,
    /// Where the copy stands of each sector that was not written back.
    pub(super) replay: HashMap<u64, u64>,
    /// What is damaged, and where.
    pub(super) wrong: Option<(u64, String)>,
}

/// Numbers in the order of bytes of the machine that wrote the journal.
#[derive(Clone, Copy)]
struct Order {
    is_big: bool,
}

impl Order {
    fn n32(self, b: &[u8], at: usize) -> Option<u32> {
        if self.is_big { b.be32(at) } else { b.le32(at) }
    }

    fn n64(self, b: &[u8], at: usize) -> Option<u64> {
        if self.is_big { b.be64(at) } else { b.le64(at) }
    }

    fn n16(self, b: &[u8], at: usize) -> Option<u16> {
        if self.is_big { b.be16(at) } else { b.le16(at) }
    }
}

/// The fields of the journal's header.
struct Head {
    order: Order,
    start: u64,
    end: u64,
    /// Bytes of the head of a list of blocks.
    list: u64,
}

impl Journal {
    /// The journal of a volume, if it has one.
    pub(super) fn read(view: View<'_>, header: &Header) -> Self {
        let mut journal = Self::default();
        if !header.has_journal() {
            return journal;
        }
        let at = u64::from(header.journal_info).saturating_mul(header.block).saturating_add(header.base);
        let info = view.read_up_to(at, 52);
        let place = info.be64(36).zip(info.be64(44));
        match (info.be32(0), place) {
            (Some(flags), Some((offset, size))) if flags & 1 != 0 && flags & 4 == 0 => {
                let start = header.base.saturating_add(offset);
                journal.extent = Extent::new(start, size).intersect(Extent::new(0, view.size()));
                journal.open(view);
            }
            // Not made yet, or on another device.
            (Some(_), Some(_)) => {}
            _ => journal.wrong = Some((at, "where the journal lies cannot be read".to_owned())),
        }
        journal
    }

    fn open(&mut self, view: View<'_>) {
        let at = self.extent.start;
        let raw = view.read_up_to(at, 512);
        let Some((head, sector, size)) = head(&raw) else {
            self.wrong = Some((at, "the journal's header is damaged".to_owned()));
            return;
        };
        self.sector = sector;
        if head.start == head.end {
            return;
        }
        let fits = size == self.extent.len && head.start < size && head.end < size && head.list >= 512;
        if !fits || self.replay_all(view, &head).is_none() {
            self.replay.clear();
            let what = "the journal was not written back, and is damaged: the volume is shown as the disk has it";
            self.wrong = Some((at, what.to_owned()));
        }
    }

    /// A place in the ring, which leaves out the journal's header.
    fn wrap(&self, at: u64) -> Option<u64> {
        if at < self.extent.len { Some(at) } else { at.checked_sub(self.extent.len)?.checked_add(self.sector) }
    }

    /// Takes the lists of blocks from start to end.
    fn replay_all(&mut self, view: View<'_>, head: &Head) -> Option<()> {
        let mut at = head.start;
        let mut left = self.extent.len;
        while at != head.end {
            let list = self.bytes(view, at, head.list)?;
            let taken = self.replay_list(&list, at, head)?;
            left = left.checked_sub(taken)?;
            at = self.wrap(at.checked_add(taken)?)?;
        }
        Some(())
    }

    /// Bytes of the ring.
    fn bytes(&self, view: View<'_>, at: u64, len: u64) -> Option<Vec<u8>> {
        let first = len.min(self.extent.len.checked_sub(at)?);
        let mut bytes = view.read(self.extent.start.checked_add(at)?, first).ok()?.into_owned();
        let rest = view.read(self.extent.start.checked_add(self.sector)?, len.checked_sub(first)?).ok()?;
        bytes.extend_from_slice(&rest);
        Some(bytes)
    }

    /// Takes a list of blocks, whose copies follow on it; gives how many bytes all of it has.
    fn replay_list(&mut self, b: &[u8], at: u64, head: &Head) -> Option<u64> {
        let order = head.order;
        let (most, count) = (order.n16(b, 0)?, order.n16(b, 2)?);
        let used = u64::from(order.n32(b, 4)?);
        let room = head.list / 16;
        let sound = u64::from(most) <= room && count >= 1 && count <= most && used >= head.list;
        (sound && checksum_holds(b.span(0, CHECKED)?, order.n32(b, 8)?, 8)).then_some(())?;
        let mut copy = at.checked_add(head.list)?;
        for row in 1..usize::from(count) {
            let field = row.checked_mul(16)?.checked_add(16)?;
            let (block, size) = (order.n64(b, field)?, u64::from(order.n32(b, field.checked_add(8)?)?));
            let sectors = if block == KILLED { 0 } else { size.checked_div(self.sector)? };
            for sector in 0..sectors.min(self.extent.len.checked_div(self.sector)?) {
                let from = self.wrap(self.wrap(copy)?.checked_add(sector.checked_mul(self.sector)?)?)?;
                self.replay.insert(block.checked_add(sector)?, self.extent.start.checked_add(from)?);
            }
            copy = copy.checked_add(size)?;
        }
        Some(used)
    }
}

/// The journal's header, the bytes of a sector, and the bytes of the journal.
fn head(b: &[u8]) -> Option<(Head, u64, u64)> {
    let order = Order { is_big: b.be32(4)? == 0x1234_5678 };
    let magic = matches!(order.n32(b, 0)?, 0x4a4e_4c78 | 0x4f4e_4c78) && order.n32(b, 4)? == 0x1234_5678;
    let sector = u64::from(order.n32(b, 40)?);
    (magic && sector.is_power_of_two() && (512..=1 << 16).contains(&sector)).then_some(())?;
    let head = Head { order, start: order.n64(b, 8)?, end: order.n64(b, 16)?, list: order.n32(b, 32)?.into() };
    Some((head, sector, order.n64(b, 24)?))
}

/// Whether the sum over bytes holds, in which the field at `at` counts as zero.
fn checksum_holds(b: &[u8], expected: u32, at: usize) -> bool {
    let field = at..at.saturating_add(4);
    let bytes = b.iter().enumerate().map(|(i, byte)| if field.contains(&i) { 0 } else { u32::from(*byte) });
    let sum = bytes.fold(0u32, |sum, byte| (sum << 8) ^ sum.wrapping_add(byte));
    !sum == expected
}

impl Journal {
    /// The places in the journal at which a node may stand.
    pub(super) fn places(&self) -> impl Iterator<Item = u64> + '_ {
        let step = index(self.sector.max(512));
        (self.extent.start..self.extent.end()).step_by(step).skip(1)
    }
}
