//! The boot region: the main and the backup boot sector, and the checksum over each.
//!
//! Microsoft exFAT specification, section 3.1 "Main and Backup Boot Sector Sub-regions" to 3.4 "Main and Backup Boot
//! Checksum Sub-regions".

use super::NAME;
use crate::bytes::{Fields, all_zero, offset};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::cluster::Heap;
use crate::fs::{Anomaly, Claim};
use crate::image::View;

/// Sectors of a boot region; the last one holds the checksum of the others.
const REGION: u64 = 12;
/// VolumeFlags and PercentInUse change without a new checksum.
const VOLATILE: [usize; 3] = [106, 107, 112];

/// What the boot sector says, in bytes of the volume.
#[derive(Clone, Debug)]
pub(super) struct Boot {
    pub(super) heap: Heap,
    /// The table that is in force.
    pub(super) table: Extent,
    /// Its number: 0, or 1 on a volume with two.
    pub(super) active: u8,
    pub(super) root: u32,
    /// Bytes of the whole file system.
    pub(super) size: u64,
    pub(super) sector: u64,
    pub(super) serial: u32,
    /// FileSystemRevision, major and minor.
    pub(super) revision: (u8, u8),
}

impl Boot {
    /// The boot sector `b`; `None` where any field is impossible.
    fn parse(b: &[u8]) -> Option<Self> {
        if b.span(3, 8)? != b"EXFAT   " || !all_zero(b.span(11, 53)?) {
            return None;
        }
        let length = b.le64(72)?; // VolumeLength
        let fat_offset = u64::from(b.le32(80)?); // FatOffset
        let fat_length = u64::from(b.le32(84)?); // FatLength
        let heap_offset = u64::from(b.le32(88)?); // ClusterHeapOffset
        let clusters = b.le32(92)?; // ClusterCount
        let root = b.le32(96)?; // FirstClusterOfRootDirectory
        let flags = b.le16(106)?; // VolumeFlags
        let sector_shift = b.byte(108)?; // BytesPerSectorShift
        let cluster_shift = b.byte(109)?; // SectorsPerClusterShift
        let fats = b.byte(110)?; // NumberOfFats
        let possible = (9..=12).contains(&sector_shift)
            && sector_shift.saturating_add(cluster_shift) <= 25
            && (1..=2).contains(&fats)
            && fat_offset >= REGION.saturating_mul(2)
            && heap_offset >= fat_offset.saturating_add(fat_length.saturating_mul(u64::from(fats)))
            && (1..=0xffff_fff5).contains(&clusters);
        if !possible {
            return None;
        }
        let sector = 1u64 << sector_shift;
        let cluster = sector << cluster_shift;
        let last = clusters.saturating_add(1);
        // ActiveFat
        let active = if fats == 2 { u8::from(flags & 1 != 0) } else { 0 };
        let first = fat_offset.saturating_add(fat_length.saturating_mul(u64::from(active)));
        let heap = Heap { start: heap_offset.saturating_mul(sector), cluster, last };
        Some(Self {
            heap,
            table: Extent::new(first.saturating_mul(sector), fat_length.saturating_mul(sector)),
            active,
            root: Some(root).filter(|root| heap.is_valid(*root))?,
            size: length.checked_mul(sector)?,
            sector,
            serial: b.le32(100)?,                   // VolumeSerialNumber
            revision: (b.byte(105)?, b.byte(104)?), // FileSystemRevision
        })
    }

    fn at(view: View<'_>, at: u64) -> Option<Self> {
        Self::parse(&view.read_up_to(at, 512))
    }

    /// The backup, wherever sectors of a possible size put it.
    fn backup(view: View<'_>) -> Option<Self> {
        let mut sizes = (9..=12).map(|shift| 1u64 << shift);
        sizes.find_map(|sector| Self::at(view, sector.saturating_mul(REGION)).filter(|boot| boot.sector == sector))
    }
}

/// A boot sector that can be used, with all that is wrong with the two regions.
pub(super) struct Regions {
    pub(super) boot: Boot,
    pub(super) faults: Vec<Fault>,
    pub(super) anomalies: Vec<Anomaly>,
}

impl Regions {
    /// Reads both: the main one is used unless it is damaged and the backup is whole.
    pub(super) fn read(view: View<'_>) -> Option<Self> {
        let (main, backup) = (Boot::at(view, 0), Boot::backup(view));
        let sector = main.as_ref().or(backup.as_ref())?.sector;
        let sound = |number: u64, boot: Option<&Boot>| boot.is_some() && checksum_fits(view, number, sector);
        let (first, second) = (sound(0, main.as_ref()), sound(1, backup.as_ref()));
        let mut found =
            Self { boot: main.clone().or_else(|| backup.clone())?, faults: Vec::new(), anomalies: Vec::new() };
        if main.is_none() || (!first && second) {
            found.boot = backup.clone()?;
            let what = "the main boot region is damaged, its backup is used";
            found.faults.push(Fault::new(view.absolute(0), NAME, what));
        }
        if backup.is_none() {
            let at = view.absolute(sector.saturating_mul(REGION));
            found.faults.push(Fault::new(at, NAME, "the backup boot sector is damaged"));
        }
        if main.is_some() && !first {
            found.sign(
                view,
                sector.saturating_mul(11),
                "the checksum of the main boot region does not fit",
                Vec::new(),
            );
        }
        if backup.is_some() && !second {
            found.sign(
                view,
                sector.saturating_mul(23),
                "the checksum of the backup boot region does not fit",
                Vec::new(),
            );
        }
        let differ = differences(view, sector);
        if let Some(at) = differ.first().map(|extent| extent.start).filter(|_| main.is_some() && backup.is_some()) {
            found.sign(view, at, "the backup of the boot region differs from the main one", differ);
        }
        Some(found)
    }

    fn sign(&mut self, view: View<'_>, at: u64, what: &str, extents: Vec<Extent>) {
        self.anomalies.push(Anomaly { sign: Fault::new(view.absolute(at), NAME, what), extents });
    }
}

fn region(view: View<'_>, number: u64, sector: u64) -> Vec<u8> {
    let len = sector.saturating_mul(REGION);
    let mut bytes = view.read_up_to(number.saturating_mul(len), len).into_owned();
    for at in VOLATILE {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = 0;
        }
    }
    bytes
}

/// Figure 1 of the specification: the sum leaves the volatile fields out, and fills the last sector.
fn checksum_fits(view: View<'_>, number: u64, sector: u64) -> bool {
    let bytes = region(view, number, sector);
    let Some((body, kept)) = bytes.split_at_checked(crate::bytes::index(sector.saturating_mul(11))) else {
        return false;
    };
    let counted = body.iter().enumerate().filter(|(at, _)| !VOLATILE.contains(at));
    let sum = counted.fold(0u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
    !kept.is_empty() && kept.chunks_exact(4).all(|field| field.le32(0) == Some(sum))
}

/// The sectors of the backup that differ from those of the main region.
fn differences(view: View<'_>, sector: u64) -> Vec<Extent> {
    let (main, backup) = (region(view, 0, sector), region(view, 1, sector));
    let size = crate::bytes::index(sector);
    let pairs = main.chunks(size).zip(backup.chunks(size)).enumerate();
    let differ = pairs.filter(|(_, (one, other))| one != other);
    differ.map(|(row, _)| Extent::new(offset(row).saturating_add(REGION).saturating_mul(sector), sector)).collect()
}

/// Claims a volume by its boot sector or the backup of it.
pub(super) fn probe(view: View<'_>) -> Option<Claim> {
    let regions = Regions::read(view)?;
    let head = view.read_up_to(0, 512);
    let jumps = head.span(0, 3) == Some(&[0xeb, 0x76, 0x90]) && head.le16(510) == Some(0xaa55);
    let surety = match (regions.faults.is_empty(), regions.anomalies.is_empty()) {
        (true, true) if jumps => 100,
        (true, _) => 85,
        (false, _) => 70,
    };
    let (major, minor) = regions.boot.revision;
    Some(Claim { surety, reason: format!("a possible boot sector of exFAT {major}.{minor:02}") })
}
