//! The logical volumes of a group, out of its text: which stretches of which physical volumes each has.

use super::cow;
use super::text::Section;
use super::thin::Pool;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use crate::time::Timestamp;
use crate::volume::raid::{Array, Computed, Level, Spread, slice};
use crate::volume::{Assembled, Stretch, stretches};
use std::collections::HashMap;

const SECTOR: u64 = 512;
/// How deep volumes may lie in volumes.
const DEPTH: usize = 12;
/// Segments of one volume.
const MAX_SEGMENTS: u64 = 1 << 16;

/// A group, with what it stands on.
struct Group<'a> {
    members: &'a [View<'a>],
    /// Names of physical volumes in the text, with the row of each that is there and its first data byte.
    physical: HashMap<&'a str, (Option<usize>, u64)>,
    logical: &'a Section,
    /// Bytes of an extent.
    extent: u64,
}

/// Where the bytes of a volume stand, or why that is not known.
type Resolved = Result<Spread, String>;

/// The volumes of a group that people see; those which only others are made of are left out.
pub(super) fn volumes(members: &[View<'_>], rows: &HashMap<&str, usize>, name: &str, text: &Section) -> Vec<Assembled> {
    let (Some(size), Some(logical)) = (text.number("extent_size"), text.section("logical_volumes")) else {
        return Vec::new();
    };
    let of = text.section("physical_volumes").map(physical_volumes).unwrap_or_default();
    let of = of.into_iter().map(|(name, id, start)| (name, (rows.get(id.replace('-', "").as_str()).copied(), start)));
    let group = Group { members, physical: of.collect(), logical, extent: size.saturating_mul(SECTOR) };
    let taken: HashMap<&str, &Section> = snapshots(logical);
    let mut made = Vec::new();
    for (own, volume) in logical.sections() {
        let hidden = !volume.names("status").contains(&"VISIBLE") || is_of_others(volume);
        if hidden || taken.contains_key(own) {
            continue;
        }
        made.push(group.assembled(name, own, volume, group.resolve(own, DEPTH), None));
    }
    for (own, segment) in taken {
        let (Some(volume), Some(origin)) = (logical.section(own), segment.text("origin")) else { continue };
        let of = logical.section(origin).and_then(|origin| origin.text("id")).map(str::to_owned);
        let was = group.resolve(origin, DEPTH).and_then(|origin| {
            let store = group.resolve(own, DEPTH)?;
            if origin.lost > 0 || store.lost > 0 {
                return Err("it lies on physical volumes that are not here".to_owned());
            }
            Ok(Spread { stretches: cow::over(members, &origin.stretches, &store.stretches)?, ..Spread::default() })
        });
        made.push(group.assembled(name, own, volume, was, of));
    }
    made.sort_by_key(|volume| volume.past.is_some());
    made
}

fn physical_volumes(section: &Section) -> Vec<(&str, &str, u64)> {
    section
        .sections()
        .filter_map(|(name, volume)| {
            Some((name, volume.text("id")?, volume.number("pe_start")?.saturating_mul(SECTOR)))
        })
        .collect()
}

/// The stores of snapshots, by name, with the segment that says of what.
fn snapshots(logical: &Section) -> HashMap<&str, &Section> {
    let segments = logical.sections().flat_map(|(_, volume)| volume.sections());
    let snapshots = segments.filter(|(_, segment)| segment.text("type") == Some("snapshot"));
    snapshots.filter_map(|(_, segment)| Some((segment.text("cow_store")?, segment))).collect()
}

/// Pools and what links a snapshot to its store are no volumes: what they hold is others'.
fn is_of_others(volume: &Section) -> bool {
    let kinds = volume.sections().filter_map(|(_, segment)| segment.text("type"));
    kinds.into_iter().any(|kind| matches!(kind, "thin-pool" | "cache-pool" | "vdo-pool" | "snapshot"))
}

impl Group<'_> {
    fn assembled(
        &self,
        group: &str,
        name: &str,
        volume: &Section,
        resolved: Resolved,
        of: Option<String>,
    ) -> Assembled {
        let made = volume.number("creation_time").and_then(|at| i64::try_from(at).ok()).map(Timestamp::unix);
        let kinds: Vec<&str> = volume.sections().filter_map(|(_, segment)| segment.text("type")).collect();
        let kind = kinds.first().copied().unwrap_or("unknown");
        let kind = match (kind, of.is_some()) {
            (_, true) => "snapshot",
            ("striped", _) if volume.section("segment1").and_then(|s| s.number("stripe_count")) == Some(1) => "linear",
            _ => kind,
        };
        let mut assembled = Assembled {
            id: volume.text("id").unwrap_or(name).to_owned(),
            name: format!("{group}/{name}"),
            type_name: kind.to_owned(),
            past: of.map(|of| (of, made)),
            ..Assembled::default()
        };
        match resolved {
            Ok(spread) => {
                assembled.size =
                    if assembled.past.is_some() { stretches::size(&spread.stretches) } else { self.size(volume) };
                if spread.lost > 0 {
                    let what = format!(
                        "{} bytes of volume {group}/{name} lie on physical volumes that are not here",
                        spread.lost
                    );
                    assembled.faults.push(Fault::new(0, "lvm2", what));
                }
                assembled.covers = self.copies(name, DEPTH);
                assembled.stretches = Some(spread.stretches);
                (assembled.computed, assembled.copies) = (spread.computed, spread.copies);
                assembled.parities = spread.parities;
            }
            Err(what) => {
                assembled.faults.push(Fault::new(0, "lvm2", format!("volume {group}/{name} is not read: {what}")))
            }
        }
        assembled
    }

    fn size(&self, volume: &Section) -> u64 {
        let extents = segments(volume).filter_map(|segment| segment.number("extent_count"));
        extents.fold(0, u64::saturating_add).saturating_mul(self.extent)
    }

    /// Where the bytes of a volume stand.
    fn resolve(&self, name: &str, depth: usize) -> Resolved {
        let depth = depth.checked_sub(1).ok_or("its volumes are made of each other")?;
        let volume = self.logical.section(name).ok_or_else(|| format!("its part {name} is missing"))?;
        let mut whole = Spread::default();
        for segment in segments(volume) {
            let number = |key: &str| segment.number(key).unwrap_or(0).saturating_mul(self.extent);
            let (start, len) = (number("start_extent"), number("extent_count"));
            let spread = self.segment(segment, len, depth)?;
            let moved = |piece: Stretch| Stretch { start: piece.start.saturating_add(start), ..piece };
            whole.stretches.extend(spread.stretches.into_iter().map(moved));
            whole.copies.extend(spread.copies.into_iter().map(moved));
            let moved = |piece: Computed| Computed { start: piece.start.saturating_add(start), ..piece };
            whole.computed.extend(spread.computed.into_iter().map(moved));
            whole.parities.extend(spread.parities);
            whole.lost = whole.lost.saturating_add(spread.lost);
        }
        Ok(whole)
    }

    /// Where the bytes of a segment stand, counted from its start.
    fn segment(&self, segment: &Section, len: u64, depth: usize) -> Resolved {
        let kind = segment.text("type").unwrap_or_default();
        let sectors = |key: &str| segment.number(key).unwrap_or(0).saturating_mul(SECTOR);
        match kind {
            "striped" | "linear" => {
                let members = self.areas(segment.pairs("stripes").ok_or("a segment names no stripes")?, len, depth)?;
                let level = if members.len() == 1 { Level::Linear } else { Level::Striped };
                spread(level, sectors("stripe_size"), members, len)
            }
            "mirror" => {
                let members = self.areas(segment.pairs("mirrors").ok_or("a segment names no mirrors")?, len, depth)?;
                spread(Level::Mirrored, 0, members, len)
            }
            _ if kind.starts_with("raid") => self.raid(segment, kind, len, depth),
            "thin" => self.thin(segment, len, depth),
            // Where the cache has newer blocks, these are not read.
            "cache" | "writecache" => {
                let origin = segment.text("origin").ok_or("a segment names no origin")?;
                let mut spread = self.resolve(origin, depth)?;
                spread.stretches = slice(&spread.stretches, Extent::new(0, len)).collect();
                Ok(spread)
            }
            "zero" | "error" => Ok(Spread::default()),
            _ => Err(format!("segments of type {kind} are not read")),
        }
    }

    /// The areas that a segment names: extents of physical volumes, or of other volumes.
    fn areas(&self, pairs: Vec<(&str, u64)>, len: u64, depth: usize) -> Result<Vec<Option<Vec<Stretch>>>, String> {
        let count = pairs.len() as u64;
        // Stripes share the segment, mirrors have all of it: the longer is right for both, since no more is taken.
        let area = |(name, first): (&str, u64)| {
            let start = first.saturating_mul(self.extent);
            if let Some((row, data)) = self.physical.get(name) {
                let place = row.map(|row| (row, data.saturating_add(start)));
                return Ok(place.map(|place| vec![Stretch { start: 0, len, place: Some(place) }]));
            }
            let spread = self.resolve(name, depth)?;
            let moved = |piece: Stretch| Stretch { start: piece.start.saturating_sub(start), ..piece };
            let stretches: Vec<Stretch> = slice(&spread.stretches, Extent::new(start, len)).map(moved).collect();
            Ok((spread.lost == 0).then_some(stretches))
        };
        if count == 0 || count > 256 {
            return Err("a segment names no areas".to_owned());
        }
        pairs.into_iter().map(area).collect()
    }

    fn raid(&self, segment: &Section, kind: &str, len: u64, depth: usize) -> Resolved {
        // Metadata and data of each member by turns, or data alone.
        let (names, bare) = (segment.names("raids"), segment.names("raid0_lvs"));
        let images = names.iter().skip(1).step_by(2).chain(&bare).map(|name| (*name, 0)).collect();
        let members = self.areas(images, len, depth)?;
        let chunk = segment.number("stripe_size").unwrap_or(0).saturating_mul(SECTOR);
        let level = match kind {
            "raid0" | "raid0_meta" => Level::Striped,
            "raid1" => Level::Mirrored,
            "raid4" | "raid5_n" => Level::Parity { blocks: 1, layout: 5 },
            "raid5" | "raid5_ls" => Level::Parity { blocks: 1, layout: 2 },
            "raid5_la" => Level::Parity { blocks: 1, layout: 0 },
            "raid5_ra" => Level::Parity { blocks: 1, layout: 1 },
            "raid5_rs" => Level::Parity { blocks: 1, layout: 3 },
            "raid6_n_6" => Level::Parity { blocks: 2, layout: 5 },
            "raid6_ls_6" => Level::Parity { blocks: 2, layout: 18 },
            "raid6_la_6" => Level::Parity { blocks: 2, layout: 16 },
            "raid6_rs_6" => Level::Parity { blocks: 2, layout: 19 },
            "raid6_ra_6" => Level::Parity { blocks: 2, layout: 17 },
            "raid6" | "raid6_zr" => Level::Parity { blocks: 2, layout: 8 },
            "raid6_nr" => Level::Parity { blocks: 2, layout: 9 },
            "raid6_nc" => Level::Parity { blocks: 2, layout: 10 },
            "raid10" | "raid10_near" => Level::Both { near: 2, far: 1, offset: false },
            _ => return Err(format!("arrays of type {kind} are not read")),
        };
        spread(level, chunk, members, len)
    }

    fn thin(&self, segment: &Section, len: u64, depth: usize) -> Resolved {
        let pool = segment.text("thin_pool").ok_or("a thin volume names no pool")?;
        let volume = self.logical.section(pool).ok_or("a thin volume's pool is missing")?;
        let parts = segments(volume).next().ok_or("a thin pool has no segment")?;
        let part = |key: &str| self.resolve(parts.text(key).ok_or("a thin pool names no volumes")?, depth);
        let (metadata, data) = (part("metadata")?, part("pool")?);
        if metadata.lost > 0 || data.lost > 0 {
            return Err("its pool lies on physical volumes that are not here".to_owned());
        }
        let pool = Pool::open(self.members, &metadata.stretches)?;
        let device = segment.number("device_id").ok_or("a thin volume has no device number")?;
        let stretches = pool.device(device, &data.stretches, len)?;
        Ok(Spread { stretches, ..Spread::default() })
    }

    /// What of physical volumes a volume takes besides where its bytes are read: copies, parity, metadata of members.
    fn copies(&self, name: &str, depth: usize) -> Vec<(usize, Extent)> {
        let (Some(depth), Some(volume)) = (depth.checked_sub(1), self.logical.section(name)) else { return Vec::new() };
        let mut taken = Vec::new();
        for segment in segments(volume) {
            let len = segment.number("extent_count").unwrap_or(0).saturating_mul(self.extent);
            let parts = [segment.pairs("stripes"), segment.pairs("mirrors")].into_iter().flatten().flatten();
            for (name, first) in parts {
                match self.physical.get(name) {
                    Some((Some(row), data)) => {
                        let start = data.saturating_add(first.saturating_mul(self.extent));
                        let stripes = segment.number("stripe_count").unwrap_or(1).max(1);
                        taken.push((*row, Extent::new(start, len.checked_div(stripes).unwrap_or(len))));
                    }
                    Some(_) => {}
                    None => taken.extend(self.copies(name, depth)),
                }
            }
            let arrays = ["raids", "raid0_lvs"].into_iter().flat_map(|key| segment.names(key));
            taken.extend(arrays.flat_map(|name| self.copies(name, depth)));
        }
        taken
    }
}

/// The segments of a volume, in order.
fn segments(volume: &Section) -> impl Iterator<Item = &Section> {
    let count = volume.number("segment_count").unwrap_or(0).min(MAX_SEGMENTS);
    (1..=count).filter_map(|number| volume.section(&format!("segment{number}")))
}

fn spread(level: Level, chunk: u64, members: Vec<Option<Vec<Stretch>>>, size: u64) -> Resolved {
    let count = members.len() as u64;
    let each = match level {
        Level::Linear | Level::Mirrored => size,
        Level::Parity { blocks, .. } => size.checked_div(count.saturating_sub(blocks as u64)).unwrap_or(0),
        Level::Both { near, .. } => size.saturating_mul(near).checked_div(count).unwrap_or(0),
        Level::Striped => size.checked_div(count).unwrap_or(0),
    };
    let each = vec![each; members.len()];
    Array { level, chunk, members, size, each }.spread()
}
