//! Chunks: where the bytes of the address space stand on this device. All addresses in trees are of that space.
//!
//! btrfs documentation, "On-disk Format", "Chunk items".

use super::node::Key;
use crate::bytes::Fields;
use crate::extent::Extent;
use std::collections::BTreeMap;

/// `BTRFS_CHUNK_ITEM_KEY`.
pub(super) const ITEM: u8 = 228;
/// Bytes of a key.
const KEY: usize = 17;
/// Fields in front of the stripes, and a stripe.
const HEAD: usize = 48;
const STRIPE: usize = 32;

/// Bytes of a stripe: the kernel takes no other.
const STRIPE_LEN: u64 = 1 << 16;
/// Larger chunks are none: those that the kernel makes have 10 GiB at most.
const MAX_LEN: u64 = 1 << 40;

/// What a chunk holds: blocks of trees; and how it is spread.
pub(super) const METADATA: u64 = 0x4;
const RAID0: u64 = 0x8;
const RAID10: u64 = 0x40;
const RAID5: u64 = 0x80;
const RAID6: u64 = 0x100;

/// A stretch of the address space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) logical: Extent,
    pub(super) kind: u64,
    stripe_len: u64,
    /// Copies of a stripe next to each other (RAID10).
    sub: u64,
    /// Where each stripe begins on this device; `None` where it lies on another.
    stripes: Vec<Option<u64>>,
}

/// Where a byte stands, and how many follow it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// One for each copy on this device.
    pub(super) copies: Vec<u64>,
    pub(super) len: u64,
}

impl Chunk {
    /// An item of a chunk; stripes of other devices than (number, UUID) are somewhere else.
    fn parse(logical: u64, b: &[u8], (device, uuid): (u64, [u8; 16])) -> Option<Self> {
        let count = usize::from(b.le16(44)?);
        let stripe = |row: usize| {
            let at = HEAD.checked_add(row.checked_mul(STRIPE)?)?;
            let own = b.le64(at)? == device && b.array::<16>(at.checked_add(16)?)? == uuid;
            Some(own.then_some(b.le64(at.checked_add(8)?)?))
        };
        let stripes: Vec<Option<u64>> = (0..count).map_while(stripe).collect();
        let found = Self {
            logical: Extent::new(logical, b.le64(0)?),
            stripe_len: b.le64(16)?,
            kind: b.le64(24)?,
            sub: u64::from(b.le16(46)?),
            stripes,
        };
        (found.stripes.len() == count && found.is_possible()).then_some(found)
    }

    fn is_possible(&self) -> bool {
        let count = self.stripes.len() as u64;
        let (least, sub_fits) = match self.kind {
            kind if kind & RAID10 != 0 => (2, self.sub > 0 && count.is_multiple_of(self.sub)),
            kind if kind & RAID5 != 0 => (2, true),
            kind if kind & RAID6 != 0 => (3, true),
            _ => (1, true),
        };
        let stripe = self.stripe_len == STRIPE_LEN;
        let inside = self.logical.start.checked_add(self.logical.len).is_some() && self.logical.len <= MAX_LEN;
        count >= least && sub_fits && stripe && inside && !self.logical.is_empty()
    }

    /// Whether stretches of it go from device to device.
    const fn is_striped(&self) -> bool {
        self.kind & (RAID0 | RAID10 | RAID5 | RAID6) != 0
    }

    /// How many stripes hold different bytes.
    fn width(&self) -> u64 {
        let count = self.stripes.len() as u64;
        let width = match self.kind {
            kind if kind & RAID0 != 0 => count,
            kind if kind & RAID10 != 0 => count.checked_div(self.sub).unwrap_or(1),
            kind if kind & RAID5 != 0 => count.saturating_sub(1),
            kind if kind & RAID6 != 0 => count.saturating_sub(2),
            _ => 1,
        };
        width.max(1)
    }

    fn spot(&self, logical: u64) -> Option<Spot> {
        let skip = logical.checked_sub(self.logical.start).filter(|skip| *skip < self.logical.len)?;
        let rest = self.logical.len.saturating_sub(skip);
        let byte = |start: &Option<u64>, add: u64| start.and_then(|start| start.checked_add(add));
        if !self.is_striped() {
            let copies = self.stripes.iter().filter_map(|start| byte(start, skip)).collect();
            return Some(Spot { copies, len: rest });
        }
        let (number, inside) = (skip.checked_div(self.stripe_len)?, skip.checked_rem(self.stripe_len)?);
        let (row, column) = (number.checked_div(self.width())?, number.checked_rem(self.width())?);
        let (first, copies) = match self.kind {
            kind if kind & RAID10 != 0 => (column.checked_mul(self.sub)?, self.sub),
            // Parity goes round: each row begins one device further.
            kind if kind & (RAID5 | RAID6) != 0 => {
                (row.checked_add(column)?.checked_rem(self.stripes.len() as u64)?, 1)
            }
            _ => (column, 1),
        };
        let add = row.checked_mul(self.stripe_len)?.checked_add(inside)?;
        let from = self.stripes.iter().skip(crate::bytes::index(first)).take(crate::bytes::index(copies));
        let copies = from.filter_map(|start| byte(start, add)).collect();
        Some(Spot { copies, len: self.stripe_len.saturating_sub(inside).min(rest) })
    }

    /// What of it may stand in a volume of `size` bytes.
    pub(super) fn within(&self, size: u64) -> Extent {
        let reach = self.stripes.iter().flatten().map(|start| size.saturating_sub(*start)).max().unwrap_or(0);
        let reach = reach.checked_next_multiple_of(self.stripe_len).unwrap_or(u64::MAX).saturating_mul(self.width());
        Extent::new(self.logical.start, self.logical.len.min(reach))
    }

    /// What it takes of this device.
    fn taken(&self) -> impl Iterator<Item = Extent> + '_ {
        let len = self.logical.len.div_ceil(self.width());
        self.stripes.iter().flatten().map(move |start| Extent::new(*start, len))
    }
}

/// All chunks, by address.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks {
    chunks: Vec<Chunk>,
    device: (u64, [u8; 16]),
    /// What they take of this device, by its start.
    taken: BTreeMap<u64, u64>,
}

impl Chunks {
    /// The first chunks, from the superblock's table; and whether all of that can be read.
    pub(super) fn system(device: (u64, [u8; 16]), mut table: &[u8]) -> (Self, bool) {
        let mut found = Self { chunks: Vec::new(), device, taken: BTreeMap::new() };
        while let Some(key) = Key::parse(table, 0) {
            let item = table.get(KEY..).unwrap_or_default();
            let len = item.le16(44).map(|count| usize::from(count).saturating_mul(STRIPE).saturating_add(HEAD));
            if key.kind != ITEM || !len.and_then(|len| item.get(..len)).is_some_and(|item| found.add(key.offset, item))
            {
                return (found, false);
            }
            table = len.and_then(|len| item.get(len..)).unwrap_or_default();
        }
        (found, true)
    }

    /// Adds the item of a chunk; false where it is none, or another stands in its place.
    pub(super) fn add(&mut self, logical: u64, item: &[u8]) -> bool {
        let Some(chunk) = Chunk::parse(logical, item, self.device) else { return false };
        let at = self.chunks.partition_point(|other| other.logical.start < logical);
        if self.chunks.get(at).is_some_and(|other| other.logical.start == logical) {
            return self.chunks.get(at) == Some(&chunk);
        }
        let before = at.checked_sub(1).and_then(|before| self.chunks.get(before)).map_or(0, |c| c.logical.end());
        let fits =
            before <= logical && self.chunks.get(at).is_none_or(|next| next.logical.start >= chunk.logical.end());
        let fits = fits && self.take(&chunk);
        if fits {
            self.chunks.insert(at, chunk);
        }
        fits
    }

    /// Notes what a chunk takes of this device; false where a part of that is taken.
    fn take(&mut self, chunk: &Chunk) -> bool {
        let mut own: Vec<Extent> = chunk.taken().collect();
        own.sort_unstable_by_key(|extent| extent.start);
        let apart = own.is_sorted_by(|one, next| one.end() <= next.start);
        let before = |extent: &Extent| self.taken.range(..extent.end()).next_back().map_or(0, |(_, end)| *end);
        let fits = apart && own.iter().all(|extent| before(extent) <= extent.start);
        if fits {
            self.taken.extend(own.iter().map(|extent| (extent.start, extent.end())));
        }
        fits
    }

    pub(super) fn all(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Where the byte of an address stands; `None` where no chunk holds it.
    pub(super) fn spot(&self, logical: u64) -> Option<Spot> {
        let next = self.chunks.partition_point(|chunk| chunk.logical.start <= logical);
        next.checked_sub(1).and_then(|at| self.chunks.get(at))?.spot(logical)
    }

    /// The stretches of this device that `extent` of the address space takes: the first copy of each, `None` where that
    /// is on another device, or nowhere.
    pub(super) fn pieces(&self, extent: Extent) -> impl Iterator<Item = (Option<Extent>, u64)> + '_ {
        let mut rest = extent;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let spot = self.spot(rest.start).unwrap_or(Spot { copies: Vec::new(), len: rest.len });
            let len = spot.len.min(rest.len).max(1);
            rest = Extent::between(rest.start.saturating_add(len), rest.end());
            Some((spot.copies.first().map(|at| Extent::new(*at, len)), len))
        })
    }

    /// All copies on this device of `extent` of the address space.
    pub(super) fn copies(&self, extent: Extent, out: &mut Vec<Extent>) {
        let mut rest = extent;
        while let Some(spot) = self.spot(rest.start).filter(|_| !rest.is_empty()) {
            let len = spot.len.min(rest.len).max(1);
            out.extend(spot.copies.iter().map(|at| Extent::new(*at, len)));
            rest = Extent::between(rest.start.saturating_add(len), rest.end());
        }
    }

    /// What all chunks take of this device.
    pub(super) fn taken(&self) -> impl Iterator<Item = Extent> + '_ {
        self.chunks.iter().flat_map(Chunk::taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: u64 = 0x1;

    fn chunk(kind: u64, sub: u64, stripes: &[Option<u64>]) -> Chunk {
        Chunk { logical: Extent::new(1 << 20, 1 << 20), kind, stripe_len: 1 << 16, sub, stripes: stripes.to_vec() }
    }

    #[test]
    fn each_profile_finds_its_bytes() {
        let at = |chunk: &Chunk, skip: u64| chunk.spot((1 << 20) + skip).map(|spot| (spot.copies, spot.len));
        let dup = chunk(METADATA | 0x20, 1, &[Some(0), Some(5 << 20)]);
        assert_eq!(at(&dup, 4096), Some((vec![4096, (5 << 20) + 4096], (1 << 20) - 4096)));
        let raid0 = chunk(DATA | RAID0, 1, &[Some(7 << 20), None]);
        assert_eq!(at(&raid0, 0), Some((vec![7 << 20], 1 << 16)));
        assert_eq!(at(&raid0, 1 << 16), Some((vec![], 1 << 16)));
        assert_eq!(at(&raid0, (2 << 16) + 10), Some((vec![(7 << 20) + (1 << 16) + 10], (1 << 16) - 10)));
        let raid10 = chunk(DATA | RAID10, 2, &[None, Some(0), None, Some(1 << 30)]);
        assert_eq!(at(&raid10, 3 << 16), Some((vec![(1 << 30) + (1 << 16)], 1 << 16)));
        let raid5 = chunk(DATA | RAID5, 1, &[Some(0), None, None]);
        // Rows of two: 0 1 P, P 2 3 turned by one device, and so on.
        assert_eq!(at(&raid5, 0), Some((vec![0], 1 << 16)));
        assert_eq!(at(&raid5, 2 << 16), Some((vec![], 1 << 16)));
        assert_eq!(at(&raid5, 5 << 16), Some((vec![2 << 16], 1 << 16)));
        assert_eq!(at(&raid5, 1 << 20), None);
    }
}
