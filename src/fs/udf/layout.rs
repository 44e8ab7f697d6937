//! Where the blocks of partitions lie in the volume: as they are, virtual, sparable, or in a metadata file (ECMA-167, 3/10.7;
//! UDF 2.60, 2.2.8 to 2.2.14).

use super::alloc;
use super::icb::{self, FileEntry};
use super::tag::{Address, Tag};
use super::vat::Vat;
use super::volume::{Described, Partition};
use crate::bytes::{Fields, offset};
use crate::content::Run;
use crate::extent::Extent;
use crate::fuel::Fuel;
use crate::image::View;
use std::borrow::Cow;
use std::collections::HashMap;

/// Entries of a sparing table that are read.
const MAX_SPARED: usize = 1 << 16;

/// A file whose content is a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// First byte within the partition, and where it lies.
    pieces: Vec<(u64, Extent)>,
}

impl Held {
    fn of(runs: &[Run]) -> Self {
        let (mut pieces, mut at) = (Vec::new(), 0u64);
        for run in runs {
            if let Run::Data(extent) = run {
                pieces.push((at, *extent));
            }
            at = at.saturating_add(run.len());
        }
        Self { pieces }
    }

    /// Pieces that a stretch of it touches.
    fn among(&self, wanted: Extent) -> u64 {
        let first = self.pieces.partition_point(|(at, extent)| at.saturating_add(extent.len) <= wanted.start);
        let end = self.pieces.partition_point(|(at, _)| *at < wanted.end());
        offset(end.saturating_sub(first))
    }

    /// Where a stretch of it lies.
    pub(super) fn places(&self, wanted: Extent) -> Option<Vec<Extent>> {
        let first = self.pieces.partition_point(|(at, extent)| at.saturating_add(extent.len) <= wanted.start);
        let (mut places, mut at) = (Vec::new(), wanted.start);
        for (begin, extent) in self.pieces.get(first..)? {
            if at >= wanted.end() {
                break;
            }
            let skip = at.checked_sub(*begin)?;
            let len = extent.len.checked_sub(skip)?.min(wanted.end().saturating_sub(at));
            places.push(Extent::new(extent.start.checked_add(skip)?, len));
            at = at.saturating_add(len);
        }
        (at >= wanted.end()).then_some(places)
    }

    /// Bytes of the partition that it holds.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        self.pieces.iter().map(|(_, extent)| *extent)
    }
}

/// How a partition's blocks are found.
#[derive(Clone, Debug)]
pub(super) enum Map {
    /// As they are.
    Plain(Extent),
    /// Packets of so many blocks, of which some were moved: first block and where it is now, in bytes of the volume.
    Sparable { extent: Extent, packet: u32, moved: HashMap<u32, u64> },
    /// Block for block through a table.
    Virtual { extent: Extent, table: Vec<u32> },
    /// Within a file, of which there may be a second copy.
    Metadata { main: Held, mirror: Held },
    /// Not known.
    Unknown,
}

/// All partitions of a logical volume.
#[derive(Clone)]
pub(super) struct Layout<'img> {
    pub(super) view: View<'img>,
    pub(super) block: u64,
    pub(super) maps: Vec<Map>,
}

/// What is known of the maps besides: what they take, and what is wrong.
#[derive(Default)]
pub(super) struct Found {
    pub(super) used: Vec<Extent>,
    pub(super) wrong: Vec<(u64, String)>,
    /// Rows of the partitions, and the headers of what they are made of: tables of free space.
    pub(super) headers: Vec<(u16, Vec<u8>)>,
    /// Metadata partitions: row, and the address of their bitmap's file.
    pub(super) bitmaps: Vec<(u16, Address)>,
    /// The row of the virtual partition, and its table.
    pub(super) vat: Option<(u16, Vat)>,
}

impl<'img> Layout<'img> {
    /// The maps that the logical volume descriptor lists.
    pub(super) fn read(view: View<'img>, described: &Described) -> (Self, Found) {
        let mut layout = Self { view, block: described.block, maps: Vec::new() };
        let mut found = Found::default();
        let table = described.logical.get(440..).unwrap_or_default();
        let count = described.logical.le32(268).unwrap_or(0);
        let mut at = 0usize;
        let mut later = Vec::new();
        for row in 0..u16::try_from(count).unwrap_or(u16::MAX) {
            let Some(raw) = table.byte(at.saturating_add(1)).and_then(|len| table.span(at, len.into())) else { break };
            if raw.len() < 6 {
                break;
            }
            at = at.saturating_add(raw.len());
            let map = layout.map(described, row, raw, &mut found);
            if map.is_none() {
                later.push((row, raw));
            }
            layout.maps.push(map.unwrap_or(Map::Unknown));
        }
        // What is held by files of other partitions comes when those are known.
        for (row, raw) in later {
            match layout.held(described, row, raw, &mut found) {
                Ok(map) => layout.maps.get_mut(usize::from(row)).into_iter().for_each(|place| *place = map.clone()),
                Err(what) => found.wrong.push((described.logical_at, format!("partition {row}: {what}"))),
            }
        }
        (layout, found)
    }

    /// A map that stands for itself; none where files have to be read for it.
    fn map(&self, described: &Described, row: u16, raw: &[u8], found: &mut Found) -> Option<Map> {
        let partition = |number: u16| described.partitions.iter().find(|partition| partition.number == number);
        let name = raw.span(5, 23).unwrap_or_default();
        let (own, map) = match raw.byte(0)? {
            1 => {
                let own = partition(raw.le16(4)?)?;
                (own, Map::Plain(own.extent))
            }
            2 if name.starts_with(b"*UDF Sparable Partition") => {
                let own = partition(raw.le16(38)?)?;
                (own, self.sparable(described, own, raw, found)?)
            }
            _ => return None,
        };
        found.headers.push((row, own.header.clone()));
        Some(map)
    }

    /// A partition with a table of packets that were moved, of which the newest sound copy holds.
    fn sparable(&self, described: &Described, own: &Partition, raw: &[u8], found: &mut Found) -> Option<Map> {
        let (packet, size) = (u32::from(raw.le16(40)?), u64::from(raw.le32(44)?));
        let copies = usize::from(raw.byte(42)?.min(4));
        let mut newest: Option<(u32, HashMap<u32, u64>)> = None;
        for copy in 0..copies {
            let at = u64::from(raw.le32(copy.checked_mul(4)?.checked_add(48)?)?).checked_mul(described.sector)?;
            found.used.push(Extent::new(at, size.checked_next_multiple_of(described.sector)?));
            let bytes = self.view.read_up_to(at, size);
            match sparing(&bytes, described.sector) {
                Some((number, moved)) if newest.as_ref().is_none_or(|(held, _)| number > *held) => {
                    newest = Some((number, moved));
                }
                Some(_) => {}
                None => found.wrong.push((at, "a sparing table is damaged".to_owned())),
            }
        }
        if newest.is_none() {
            found
                .wrong
                .push((described.logical_at, "no sparing table is sound: moved packets are not known".to_owned()));
        }
        let moved = newest.map(|(_, moved)| moved).unwrap_or_default();
        let taken = u64::from(packet).saturating_mul(self.block);
        found.used.extend(moved.values().map(|at| Extent::new(*at, taken)));
        Some(Map::Sparable { extent: own.extent, packet: packet.max(1), moved })
    }

    /// A map that a file of another partition holds.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn held(&self, described: &Described, row: u16, raw: &[u8], found: &mut Found) -> Result<Map, String> {
        let name = raw.span(5, 23).unwrap_or_default();
        let number = raw.le16(38).filter(|_| raw.byte(0) == Some(2)).ok_or("its map is of a kind that is not known")?;
        let own = described.partitions.iter().find(|partition| partition.number == number);
        let own = own.ok_or("the descriptor of its partition is missing")?;
        let is_base = |map: &Map| matches!(map, Map::Plain(e) | Map::Sparable { extent: e, .. } if *e == own.extent);
        let part = self.maps.iter().position(is_base).and_then(|part| u16::try_from(part).ok());
        let part = part.ok_or("the partition that it lies in is not known")?;
        if name.starts_with(b"*UDF Virtual Partition") {
            let vat = Vat::find(self, part, own.extent).ok_or("no virtual allocation table at its end")?;
            let table = vat.table.clone();
            found.vat = Some((row, vat));
            return Ok(Map::Virtual { extent: own.extent, table });
        }
        if !name.starts_with(b"*UDF Metadata Partition") {
            return Err("its map is of a kind that is not known".to_owned());
        }
        let mut file = |at: usize, kind: u8, which: &str| {
            let address = Address { part, block: raw.le32(at).unwrap_or(u32::MAX) };
            match icb::read(self, address).filter(|entry| entry.kind == kind && entry.wrong.is_empty()) {
                Some(entry) => {
                    let mapping = alloc::map(self, &entry, &mut Fuel::new(1 << 24));
                    found.used.push(Extent::new(entry.at, self.block));
                    found.used.extend(mapping.used);
                    found.wrong.extend(mapping.wrong.map(|what| (entry.at, format!("{which}: {what}"))));
                    Held::of(&mapping.runs)
                }
                None => {
                    let at = self.at(address).unwrap_or(described.logical_at);
                    found.wrong.push((at, format!("partition {row}: the entry of {which} is damaged")));
                    Held::default()
                }
            }
        };
        let main = file(40, 250, "the metadata file");
        let mirror = file(44, 251, "the mirror of the metadata file");
        if let Some(block) = raw.le32(48).filter(|block| *block != u32::MAX) {
            found.bitmaps.push((row, Address { part, block }));
        }
        if main.pieces.is_empty() && mirror.pieces.is_empty() {
            return Err("neither the metadata file nor its mirror can be read".to_owned());
        }
        found.used.extend(main.extents().chain(mirror.extents()).filter(|_| raw.le32(48) == Some(u32::MAX)));
        Ok(Map::Metadata { main, mirror })
    }

    /// How many pieces [`Self::places`] looks at for `len` bytes from a block on.
    pub(super) fn pieces(&self, at: Address, len: u64) -> u64 {
        match self.maps.get(usize::from(at.part)) {
            Some(Map::Sparable { packet, moved, .. }) if !moved.is_empty() => {
                len.div_ceil(u64::from(*packet).saturating_mul(self.block).max(1)).saturating_add(1)
            }
            Some(Map::Virtual { table, .. }) => len.div_ceil(self.block.max(1)).min(offset(table.len())),
            Some(Map::Metadata { main, mirror }) => {
                let wanted = Extent::new(u64::from(at.block).saturating_mul(self.block), len);
                [main, mirror].map(|held| held.among(wanted)).into_iter().max().unwrap_or(0)
            }
            _ => 1,
        }
    }

    /// Where `len` bytes from a block on lie; none where they reach behind their partition.
    pub(super) fn places(&self, at: Address, len: u64) -> Option<Vec<Extent>> {
        let wanted = Extent::new(u64::from(at.block).checked_mul(self.block)?, len);
        match self.maps.get(usize::from(at.part))? {
            Map::Plain(extent) => inside(*extent, wanted).map(|place| vec![place]),
            Map::Sparable { extent, packet, moved } => {
                let whole = inside(*extent, wanted)?;
                if moved.is_empty() { Some(vec![whole]) } else { self.spared(*extent, (*packet).into(), moved, wanted) }
            }
            Map::Virtual { extent, table } => {
                let mut places = Vec::new();
                for number in 0..len.div_ceil(self.block) {
                    let row = usize::try_from(u64::from(at.block).checked_add(number)?).ok()?;
                    let real = table.get(row).filter(|real| **real != u32::MAX)?;
                    let rest = len.saturating_sub(number.saturating_mul(self.block)).min(self.block);
                    let place = Extent::new(u64::from(*real).checked_mul(self.block)?, rest);
                    push(&mut places, inside(*extent, place)?);
                }
                Some(places)
            }
            Map::Metadata { main, mirror } => main.places(wanted).or_else(|| mirror.places(wanted)),
            Map::Unknown => None,
        }
    }

    /// Piece for piece, where packets were moved.
    fn spared(&self, own: Extent, packet: u64, moved: &HashMap<u32, u64>, wanted: Extent) -> Option<Vec<Extent>> {
        let size = packet.checked_mul(self.block)?;
        let (mut places, mut at) = (Vec::new(), wanted.start);
        while at < wanted.end() {
            let number = at.checked_div(size)?;
            let skip = at.saturating_sub(number.saturating_mul(size));
            let len = size.saturating_sub(skip).min(wanted.end().saturating_sub(at));
            let first = u32::try_from(number.checked_mul(packet)?).ok()?;
            let start = moved.get(&first).copied().or(own.start.checked_add(number.checked_mul(size)?));
            push(&mut places, Extent::new(start?.checked_add(skip)?, len));
            at = at.saturating_add(len);
        }
        Some(places)
    }

    /// The byte at which a block stands.
    pub(super) fn at(&self, at: Address) -> Option<u64> {
        self.places(at, self.block)?.first().map(|place| place.start)
    }

    /// The same in the mirror of a metadata file.
    pub(super) fn mirrored(&self, at: Address) -> Option<u64> {
        let Map::Metadata { mirror, .. } = self.maps.get(usize::from(at.part))? else { return None };
        let wanted = Extent::new(u64::from(at.block).checked_mul(self.block)?, self.block);
        mirror.places(wanted)?.first().map(|place| place.start)
    }

    /// The bytes of a block.
    pub(super) fn bytes(&self, at: Address) -> Option<Cow<'img, [u8]>> {
        self.view.read(self.at(at)?, self.block).ok()
    }

    /// The entry of a file.
    pub(super) fn entry(&self, at: Address) -> Option<FileEntry<'img>> {
        icb::read(self, at)
    }
}

/// A stretch of a partition as one of the volume.
fn inside(partition: Extent, wanted: Extent) -> Option<Extent> {
    (wanted.end() <= partition.len).then(|| wanted.shifted(partition.start))
}

/// Appends a place, joined to the last where it follows on it.
fn push(places: &mut Vec<Extent>, place: Extent) {
    match places.last_mut() {
        Some(last) if last.end() == place.start => last.len = last.len.saturating_add(place.len),
        _ => places.push(place),
    }
}

/// The number of a sparing table, and where packets are now.
fn sparing(bytes: &[u8], sector: u64) -> Option<(u32, HashMap<u32, u64>)> {
    let tag = Tag::read(bytes)?;
    (tag.is(&[0]) && bytes.span(17, 18)? == b"*UDF Sparing Table").then_some(())?;
    let count = usize::from(bytes.le16(48)?).min(MAX_SPARED);
    let rows = bytes.get(56..)?.as_chunks::<8>().0.iter().take(count);
    // The two highest values mark packets that are free, and that are broken.
    let row = |raw: &[u8; 8]| Some((raw.le32(0).filter(|from| *from < 0xffff_fff0)?, u64::from(raw.le32(4)?)));
    let moved = rows.filter_map(row).map(|(from, to)| (from, to.saturating_mul(sector)));
    Some((bytes.le32(52)?, moved.collect()))
}

/// A length in blocks, in bytes.
pub(super) fn rounded(len: u64, block: u64) -> u64 {
    len.checked_next_multiple_of(block).unwrap_or(offset(usize::MAX))
}
