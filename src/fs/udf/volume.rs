//! Where a volume is described: recognition, anchors and the two sequences of descriptors (ECMA-167, 3/8.4 and 3/9; UDF
//! 2.60, 2.2).

use super::tag::{self, Tag};
use super::text;
use crate::bytes::{Fields, hex};
use crate::extent::Extent;
use crate::image::View;
use std::collections::BTreeMap;

/// Sizes of sectors that are tried, the usual ones first.
const SECTORS: [u64; 7] = [2048, 512, 4096, 1024, 8192, 16_384, 32_768];
/// Descriptors of one sequence, with what pointers lead to.
const MAX_DESCRIPTORS: u64 = 1024;
/// Where the volume recognition begins.
const RECOGNITION: u64 = 32_768;

/// A partition of the disc.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    pub(super) number: u16,
    /// In bytes of the volume.
    pub(super) extent: Extent,
    /// `partition header descriptor`: tables and bitmaps of free space.
    pub(super) header: Vec<u8>,
}

/// What the descriptors of a volume say.
#[derive(Clone, Debug, Default)]
pub(super) struct Described {
    /// Bytes of a sector and of a block.
    pub(super) sector: u64,
    pub(super) block: u64,
    pub(super) label: String,
    pub(super) id: String,
    /// UDF's revision, `0x0201`.
    pub(super) revision: u16,
    pub(super) partitions: Vec<Partition>,
    /// The logical volume descriptor.
    pub(super) logical: Vec<u8>,
    /// Where it stands.
    pub(super) logical_at: u64,
    /// What descriptors take.
    pub(super) used: Vec<Extent>,
    /// Byte and remark.
    pub(super) wrong: Vec<(u64, String)>,
    pub(super) contradictions: Vec<(u64, String)>,
}

/// The descriptors of the volume recognition that name UDF: byte of the one, `NSR02` or `NSR03`.
pub(super) fn recognised(view: View<'_>) -> Option<(u64, Extent)> {
    for step in [2048u64, 4096, 8192, 16_384, 32_768] {
        let (mut at, mut named) = (RECOGNITION, None);
        for _ in 0..64 {
            let head = view.read_up_to(at, 7);
            match head.span(1, 5) {
                Some(b"NSR02" | b"NSR03") => named = named.or(Some(at)),
                Some(b"BEA01" | b"TEA01" | b"BOOT2" | b"CD001" | b"CDW02") => {}
                _ => break,
            }
            at = at.saturating_add(step);
        }
        if let Some(named) = named {
            return Some((named, Extent::between(RECOGNITION, at)));
        }
    }
    None
}

/// An anchor: the bytes of a sector, where it stands, and its descriptor.
type Anchor = (u64, u64, Vec<u8>);

/// The sound anchors, that which is used first. `starts`: first bytes of the sessions of the disc, the newest first.
fn anchors(view: View<'_>, starts: &[u64]) -> Vec<Anchor> {
    let of = |sector: u64, number: u64| {
        let at = number.checked_mul(sector)?;
        let raw = view.read(at, 512).ok()?;
        let fits = Tag::read(&raw)?.is(&[tag::ANCHOR]) && u64::from(raw.le32(12)?) == number;
        fits.then(|| (sector, at, raw.into_owned()))
    };
    let sound = |sector: u64| {
        let last = view.size().checked_div(sector).unwrap_or(0);
        let sessions = starts.iter().filter_map(|start| start.checked_div(sector)?.checked_add(256));
        let ends = [256, 512].into_iter().chain([1, 257].into_iter().filter_map(|back| last.checked_sub(back)));
        sessions.chain(ends).filter_map(|number| of(sector, number)).collect::<Vec<_>>()
    };
    SECTORS.into_iter().map(sound).find(|anchors| !anchors.is_empty()).unwrap_or_default()
}

/// The byte of the first of them.
pub(super) fn has_anchor(view: View<'_>, starts: &[u64]) -> Option<u64> {
    anchors(view, starts).first().map(|(_, at, _)| *at)
}

/// The descriptors that hold, by their kind and what tells one of a kind from another.
type Set = BTreeMap<(u16, u32), (u64, Vec<u8>)>;

impl Described {
    /// Reads the descriptors.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn read(view: View<'_>, starts: &[u64]) -> Result<Self, String> {
        let anchors = anchors(view, starts);
        let (sector, _, raw) = anchors.first().ok_or("no sound anchor at any of its places")?;
        let sector = *sector;
        let mut out = Self { sector, ..Self::default() };
        out.used.extend(anchors.iter().map(|(_, at, _)| Extent::new(*at, sector)));
        out.used.extend(recognised(view).map(|(_, extent)| extent));
        let usual = sector.saturating_mul(256);
        let head = view.read_up_to(usual, 16);
        if anchors.iter().all(|(_, at, _)| *at != usual) && !crate::bytes::all_zero(&head) {
            out.wrong.push((usual, "the anchor at sector 256 is damaged; another one is used".to_owned()));
        }
        let place = |field: usize| {
            let (len, first) = (raw.le32(field).unwrap_or(0), raw.le32(field.saturating_add(4)).unwrap_or(0));
            Extent::new(u64::from(first).saturating_mul(sector), u64::from(len))
        };
        let (main, reserve) = (place(16), place(24));
        let mut set = out.sequence(view, main, "main");
        let spare = out.sequence(view, reserve, "reserve");
        out.compare(&set, &spare);
        let mut filled = 0usize;
        for (key, held) in spare {
            if let std::collections::btree_map::Entry::Vacant(vacant) = set.entry(key) {
                vacant.insert(held);
                filled = filled.saturating_add(1);
            }
        }
        if filled > 0 {
            let what = format!("the main sequence of volume descriptors lacks {filled}; those of the reserve are used");
            out.wrong.push((main.start, what));
        }
        out.take(&set)?;
        Ok(out)
    }

    /// The descriptors of a sequence: of several with one purpose the one with the highest number.
    fn sequence(&mut self, view: View<'_>, first: Extent, which: &str) -> Set {
        let mut set = Set::new();
        let (mut extent, mut left) = (first, MAX_DESCRIPTORS);
        self.used.push(extent.intersect(Extent::new(0, view.size())));
        let mut at = extent.start;
        while at < extent.end() && left > 0 {
            left = left.saturating_sub(1);
            let raw = view.read_up_to(at, self.sector);
            let Some(tag) = Tag::read(&raw) else {
                self.wrong.push((at, format!("the {which} sequence of volume descriptors ends behind the volume")));
                break;
            };
            if raw.iter().take(tag::LEN).all(|byte| *byte == 0) {
                break;
            }
            if let Some(what) = tag.wrong() {
                self.wrong.push((at, format!("a descriptor of the {which} sequence: {what}")));
                at = at.saturating_add(self.sector);
                continue;
            }
            match tag.id {
                tag::TERMINATING => break,
                tag::POINTER => {
                    let (len, next) = (raw.le32(20).unwrap_or(0), raw.le32(24).unwrap_or(0));
                    extent = Extent::new(u64::from(next).saturating_mul(self.sector), len.into());
                    self.used.push(extent.intersect(Extent::new(0, view.size())));
                    at = extent.start;
                    continue;
                }
                _ => keep(&mut set, tag.id, at, &raw),
            }
            at = at.saturating_add(self.sector);
        }
        set
    }

    /// Where main and reserve differ.
    fn compare(&mut self, main: &Set, reserve: &Set) {
        for (key, (at, raw)) in main {
            let other = reserve.get(key).map(|(_, other)| other);
            let name = match key.0 {
                tag::PRIMARY => "primary volume",
                tag::PARTITION => "partition",
                tag::LOGICAL_VOLUME => "logical volume",
                _ => continue,
            };
            // Of primary ones formatters write two that differ in times and in the set's name: the volume's own counts.
            let told = |raw: &[u8]| {
                if key.0 == tag::PRIMARY { raw.get(24..56) } else { raw.get(tag::LEN..) }.map(<[u8]>::to_vec)
            };
            if other.is_some_and(|other| told(other) != told(raw)) {
                let what = format!("the {name} descriptor differs between the main sequence and the reserve");
                self.contradictions.push((*at, what));
            }
        }
    }

    /// # Errors
    /// What is missing.
    fn take(&mut self, set: &Set) -> Result<(), String> {
        let of = |kind: u16| set.range((kind, 0)..=(kind, u32::MAX)).map(|(_, held)| held);
        for (_, raw) in of(tag::PARTITION) {
            let field = |at: usize| u64::from(raw.le32(at).unwrap_or(0)).saturating_mul(self.sector);
            self.partitions.push(Partition {
                number: raw.le16(22).unwrap_or(0),
                extent: Extent::new(field(188), field(192)),
                header: raw.span(56, 128).unwrap_or_default().to_vec(),
            });
        }
        let (at, logical) = of(tag::LOGICAL_VOLUME).next_back().ok_or("no sound logical volume descriptor")?;
        let primary = of(tag::PRIMARY).next_back().map(|(_, raw)| raw);
        self.block = u64::from(logical.le32(212).unwrap_or(0));
        if !self.block.is_power_of_two() || !(512..=65_536).contains(&self.block) {
            return Err(format!("blocks of {} bytes", self.block));
        }
        self.label = text::fixed(logical.span(84, 128).unwrap_or_default());
        self.revision = logical.le16(240).unwrap_or(0);
        self.id =
            primary.and_then(|raw| raw.span(72, 128)).map(|field| identity(&text::fixed(field))).unwrap_or_default();
        (self.logical, self.logical_at) = (logical.clone(), *at);
        Ok(())
    }
}

/// Keeps a descriptor, unless a newer one of its purpose is there.
fn keep(set: &mut Set, kind: u16, at: u64, raw: &[u8]) {
    // Partitions are told apart by their numbers.
    let row = if kind == tag::PARTITION { raw.le16(22).unwrap_or(0).into() } else { 0 };
    let is_newer = |held: &(u64, Vec<u8>)| raw.le32(16) >= held.1.le32(16);
    if set.get(&(kind, row)).is_none_or(is_newer) {
        set.insert((kind, row), (at, raw.to_vec()));
    }
}

/// The identity that `blkid` makes of the name of the volume set: its first 16 digits, or what stands for them.
fn identity(set: &str) -> String {
    let raw: Vec<u8> = set.bytes().chain([0; 16]).take(16).collect();
    let digits = raw.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let head = |len: usize| String::from_utf8_lossy(raw.get(..len).unwrap_or_default()).to_lowercase();
    match digits {
        _ if set.len() < 8 => String::new(),
        16 => head(16),
        8.. => [head(8), hex(raw.get(8..12).unwrap_or_default())].concat(),
        _ => hex(raw.get(..8).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_those_of_blkid() {
        for (set, id) in [
            ("5906e7a800531574LinuxUDF", "5906e7a800531574"),
            ("691EED13 (Mac OS X newfs_udf) UDF Volume Set", "691eed1320284d61"),
            ("20c624ac", "20c624ac00000000"),
            ("103A3B3B UDF Volume Set", "103a3b3b20554446"),
            ("short", ""),
        ] {
            assert_eq!(identity(set), id);
        }
    }
}
