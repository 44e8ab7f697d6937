//! The superblock: where the trees begin. Three places may have it; the copies are alike.
//!
//! btrfs documentation, "On-disk Format", "Superblock".

use super::checksum::Kind;
use crate::bytes::Fields;
use crate::image::View;

/// Where it stands: at 64 KiB, 64 MiB and 256 GiB.
pub(super) const PLACES: [u64; 3] = [1 << 16, 1 << 26, 1 << 38];
pub(super) const LEN: u64 = 4096;
/// The table of the first chunks, and its room.
const SYSTEM_AT: usize = 811;
const SYSTEM_LEN: usize = 2048;
/// No tree is higher.
pub(super) const MAX_LEVEL: u8 = 7;

const INCOMPAT_METADATA_UUID: u64 = 1 << 10;
/// Features that are known: all up to the RAID stripe tree's, but zones and the second extent tree.
const INCOMPAT_KNOWN: u64 = 0xfff;
/// What changes where content lies: the extent tree of version 2, the stripe tree.
const INCOMPAT_ZONED: u64 = 1 << 12;

/// Where a tree begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) at: u64,
    pub(super) level: u8,
    pub(super) generation: u64,
}

/// The measures of the volume.
#[derive(Clone, Debug)]
pub(super) struct Superblock {
    /// Where the copy that was read stands.
    pub(super) at: u64,
    pub(super) generation: u64,
    pub(super) sums: Kind,
    pub(super) fsid: [u8; 16],
    /// What blocks of trees carry: another UUID, where that of the volume was changed.
    pub(super) metadata_uuid: [u8; 16],
    pub(super) roots: Root,
    pub(super) chunks: Root,
    /// What was written out before its transaction was complete; 0 where there is nothing.
    pub(super) log: u64,
    pub(super) total: u64,
    pub(super) devices: u64,
    pub(super) sector: u64,
    pub(super) node: u64,
    /// This device: its number, its UUID and its size.
    pub(super) device: u64,
    pub(super) device_uuid: [u8; 16],
    pub(super) device_size: u64,
    pub(super) label: String,
    /// The first chunks, as items with their keys.
    pub(super) system: Vec<u8>,
    pub(super) unknown: u64,
    /// False where its own checksum does not fit.
    pub(super) sound: bool,
}

impl Superblock {
    /// The first copy that fits its checksum, or the first that is possible.
    pub(super) fn find(volume: View<'_>) -> Option<Self> {
        let all: Vec<Self> = PLACES.iter().filter_map(|at| Self::read(volume, *at)).collect();
        let sound = all.iter().position(|copy| copy.sound).unwrap_or(0);
        all.into_iter().nth(sound)
    }

    /// The copy at `at`, if it is possible.
    pub(super) fn read(volume: View<'_>, at: u64) -> Option<Self> {
        let b = volume.read_up_to(at, LEN);
        if b.span(64, 8)? != b"_BHRfS_M" || b.le64(48)? != at {
            return None;
        }
        let sums = Kind::of(b.le16(196)?)?;
        let incompat = b.le64(188)?;
        let fsid = b.array(32)?;
        let label = b.span(299, 256)?;
        let end = label.iter().position(|c| *c == 0).unwrap_or(label.len());
        let generation = b.le64(72)?;
        let used = crate::bytes::index(b.le32(160)?.into()); // sys_chunk_array_size
        let found = Self {
            at,
            generation,
            sums,
            fsid,
            metadata_uuid: if incompat & INCOMPAT_METADATA_UUID != 0 { b.array(571)? } else { fsid },
            roots: Root { at: b.le64(80)?, level: b.byte(198)?, generation },
            chunks: Root { at: b.le64(88)?, level: b.byte(199)?, generation: b.le64(164)? },
            log: b.le64(96)?,
            total: b.le64(112)?,
            devices: b.le64(136)?,
            sector: u64::from(b.le32(144)?),
            node: u64::from(b.le32(148)?),
            device: b.le64(201)?,
            device_size: b.le64(209)?,
            device_uuid: b.array(267)?,
            label: String::from_utf8_lossy(label.get(..end)?).into_owned(),
            system: b.span(SYSTEM_AT, used.min(SYSTEM_LEN))?.to_vec(),
            unknown: incompat & !INCOMPAT_KNOWN & !INCOMPAT_ZONED,
            sound: sums.holds(&b),
        };
        found.is_possible().then_some(found)
    }

    fn is_possible(&self) -> bool {
        self.sector.is_power_of_two()
            && (512..=65536).contains(&self.sector)
            && self.node.is_power_of_two()
            && (self.sector.max(4096)..=65536).contains(&self.node)
            && self.roots.level <= MAX_LEVEL
            && self.chunks.level <= MAX_LEVEL
            && self.devices >= 1
    }

    /// Where other copies contradict this one: byte and remark.
    pub(super) fn differences(&self, volume: View<'_>) -> Vec<(u64, String)> {
        let mut wrong = Vec::new();
        for at in PLACES
            .into_iter()
            .filter(|at| *at != self.at && at.saturating_add(LEN) <= volume.size().min(self.device_size))
        {
            let what = match Self::read(volume, at).filter(|copy| copy.sound) {
                None if at == PLACES[0] => continue,
                None => "is damaged or missing".to_owned(),
                Some(copy) if copy.fsid != self.fsid => "is that of another file system".to_owned(),
                Some(copy) if copy.generation != self.generation => {
                    format!("is of generation {}, not {}", copy.generation, self.generation)
                }
                Some(copy) if copy.label != self.label => format!("has another label ({:?})", copy.label),
                Some(_) => continue,
            };
            wrong.push((at, format!("the copy of the superblock at byte {} {what}", volume.absolute(at))));
        }
        wrong
    }
}
