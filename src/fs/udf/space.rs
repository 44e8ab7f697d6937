//! Free space: bitmaps and lists of a partition (ECMA-167, 4/10 and 4/14.11, 4/14.12), the bitmap of a metadata partition
//! (UDF 2.60, 2.2.13), and what the integrity descriptor says of it.

use super::alloc;
use super::layout::{Found, Layout, Map};
use super::tag::{self, Address, Stretch, Tag};
use super::volume::Described;
use crate::bytes::{Fields, index, offset};
use crate::content::{Content, Run, Stream};
use crate::extent::Extent;
use crate::fs::bits;
use crate::fuel::Fuel;

/// Bytes before the bits.
const HEADER: u64 = 24;
/// Lists of free extents that are followed.
const MAX_LISTS: usize = 4096;

/// What is free.
#[derive(Default)]
pub(super) struct Space {
    /// Of the partitions that say it.
    pub(super) free: Vec<Extent>,
    /// What tables and bitmaps take.
    pub(super) used: Vec<Extent>,
    /// Every partition that blocks are allocated in says what is free.
    pub(super) is_told: bool,
    pub(super) wrong: Vec<(u64, String)>,
}

impl Space {
    pub(super) fn read(layout: &Layout<'_>, described: &Described, found: &Found) -> Self {
        let mut space = Self { is_told: !found.headers.is_empty() && found.vat.is_none(), ..Self::default() };
        for (part, header) in &found.headers {
            // Tables and bitmaps of unallocated space, and of space that is freed but not yet erased.
            let fields = [(0usize, false), (8, true), (24, false), (32, true)];
            let held = |(at, is_bitmap): (usize, bool)| {
                let stretch = header.get(at..).and_then(|raw| Stretch::short(raw, *part))?;
                (stretch.len > 0).then_some((stretch, is_bitmap))
            };
            let held: Vec<_> = fields.into_iter().filter_map(held).collect();
            space.is_told &= !held.is_empty();
            for (stretch, is_bitmap) in held {
                let done = if is_bitmap { space.bitmap(layout, stretch) } else { space.list(layout, stretch) };
                if let Err(what) = done {
                    space.wrong.push((layout.at(stretch.at).unwrap_or(described.logical_at), what));
                    space.is_told = false;
                }
            }
        }
        for (part, address) in &found.bitmaps {
            if let Err(what) = space.metadata(layout, *part, *address) {
                space.wrong.push((layout.at(*address).unwrap_or(described.logical_at), what));
            }
        }
        space
    }

    /// # Errors
    /// Why a bitmap cannot be read.
    fn bitmap(&mut self, layout: &Layout<'_>, stretch: Stretch) -> Result<(), String> {
        let damaged = || "the bitmap of free space is damaged".to_owned();
        let places = layout.places(stretch.at, stretch.len).ok_or_else(damaged)?;
        let runs = places.iter().map(|place| Run::Data(*place)).collect();
        self.used.extend(places);
        let stream = Stream::plain(runs, stretch.len);
        self.bits(layout, stretch.at.part, &stream)
    }

    /// # Errors
    /// The same for that of a metadata partition, which is a file.
    fn metadata(&mut self, layout: &Layout<'_>, part: u16, address: Address) -> Result<(), String> {
        let damaged = || "the bitmap of the metadata partition is damaged".to_owned();
        let entry = layout.entry(address).filter(|entry| entry.kind == 252).ok_or_else(damaged)?;
        let mapping = alloc::map(layout, &entry, &mut Fuel::new(1 << 24));
        self.used.extend(mapping.extents().chain(mapping.used.iter().copied()));
        self.used.push(Extent::new(entry.at, layout.block));
        self.bits(layout, part, &Stream::plain(mapping.runs, entry.size))
    }

    fn bits(&mut self, layout: &Layout<'_>, part: u16, stream: &Stream) -> Result<(), String> {
        let damaged = || "a bitmap of free space is damaged".to_owned();
        let content = Content::new(layout.view, stream);
        let whole = content.contiguous(1 << 30).ok_or_else(damaged)?;
        let tag = Tag::read(&whole).ok_or_else(damaged)?;
        if tag.id != tag::BITMAP || !tag.sums {
            return Err(damaged());
        }
        let (count, len) = (whole.le32(16).unwrap_or(0), whole.le32(20).unwrap_or(0));
        let room = offset(whole.len()).saturating_sub(HEADER).min(len.into());
        if u64::from(count) > room.saturating_mul(8) {
            return Err(damaged());
        }
        let bits = whole.get(index(HEADER)..).unwrap_or_default();
        for (first, blocks) in bits::stretches(bits, count.into()) {
            let Ok(block) = u32::try_from(first) else { continue };
            let len = blocks.saturating_mul(layout.block);
            let places =
                layout.places(Address { part, block }, len).ok_or("free space lies outside of its partition")?;
            self.free.extend(places);
            if let Some(Map::Metadata { mirror, .. }) = layout.maps.get(usize::from(part)) {
                self.free
                    .extend(mirror.places(Extent::new(first.saturating_mul(layout.block), len)).unwrap_or_default());
            }
        }
        // The CRC may cover less than all of it: what it covers has to fit.
        if tag.checks { Ok(()) } else { Err("the CRC of a bitmap of free space does not fit".to_owned()) }
    }

    /// # Errors
    /// Why a list of free extents cannot be read.
    fn list(&mut self, layout: &Layout<'_>, first: Stretch) -> Result<(), String> {
        let damaged = || "the list of free space is damaged".to_owned();
        let (mut at, mut lists) = (first.at, 0usize);
        // Free space is named once.
        let mut fuel = Fuel::new(layout.view.size());
        loop {
            let raw = layout.bytes(at).ok_or_else(damaged)?;
            let tag = Tag::read(&raw).filter(|tag| tag.is(&[tag::SPACE, tag::ALLOCATION])).ok_or_else(damaged)?;
            // An entry of its own, or a block in which the list goes on.
            let (len_at, start) = if tag.id == tag::SPACE { (36, 40) } else { (20, 24) };
            let list = raw.le32(len_at).and_then(|len| raw.span(start, index(len.into()))).ok_or_else(damaged)?;
            self.used.extend(layout.at(at).map(|at| Extent::new(at, layout.block)));
            let stretches = list.as_chunks::<8>().0.iter().filter_map(|raw| Stretch::short(raw, at.part));
            let mut next = None;
            for stretch in stretches.take_while(|stretch| stretch.len > 0) {
                if stretch.state == tag::State::Continued {
                    next = Some(stretch.at);
                    break;
                }
                fuel.burn(layout.pieces(stretch.at, stretch.len)).map_err(|_| damaged())?;
                self.free.extend(layout.places(stretch.at, stretch.len).ok_or_else(damaged)?);
            }
            lists = lists.saturating_add(1);
            match next {
                Some(_) if lists >= MAX_LISTS => {
                    return Err(format!("the list of free space is not read behind {MAX_LISTS} blocks of it"));
                }
                Some(next) => at = next,
                None => return Ok(()),
            }
        }
    }
}

/// What the integrity descriptors say.
#[derive(Default)]
pub(super) struct Integrity {
    /// Byte of the last one, and whether it says that the volume was left open.
    pub(super) last: Option<(u64, bool)>,
    /// Free blocks of each partition, where they are told.
    pub(super) free: Vec<u32>,
    pub(super) used: Vec<Extent>,
    pub(super) wrong: Vec<(u64, String)>,
}

impl Integrity {
    pub(super) fn read(layout: &Layout<'_>, described: &Described) -> Self {
        let mut out = Self::default();
        let place = |raw: &[u8], at: usize| {
            let len = raw.le32(at).map_or(0, u64::from);
            let first = raw.le32(at.saturating_add(4)).map_or(0, u64::from);
            Extent::new(first.saturating_mul(described.sector), len)
        };
        let (mut extent, mut at) = (place(&described.logical, 432), 0u64);
        for _ in 0..MAX_LISTS {
            if at >= extent.len {
                break;
            }
            if at == 0 {
                out.used.push(extent.intersect(Extent::new(0, layout.view.size())));
            }
            let here = extent.start.saturating_add(at);
            let raw = layout.view.read_up_to(here, described.sector);
            match Tag::read(&raw) {
                Some(tag) if tag.is(&[tag::INTEGRITY]) => {
                    out.last = Some((here, raw.le32(28) == Some(0)));
                    let count = raw.le32(72).unwrap_or(0).min(64);
                    let free = raw.get(80..).unwrap_or_default().as_chunks::<4>().0;
                    out.free = free.iter().take(index(count.into())).map(|raw| u32::from_le_bytes(*raw)).collect();
                    let next = place(&raw, 32);
                    if next.len > 0 {
                        (extent, at) = (next, 0);
                        continue;
                    }
                }
                Some(tag) if tag.id == tag::INTEGRITY => {
                    let what = tag.wrong().unwrap_or("it is damaged");
                    out.wrong.push((here, format!("a logical volume integrity descriptor: {what}")));
                }
                _ => break,
            }
            at = at.saturating_add(described.sector);
        }
        out
    }
}
