//! The BIOS parameter block: where the file allocation tables, the root directory and the clusters lie.
//!
//! Microsoft FAT specification 1.03, "Boot Sector and BPB". The type follows the count of clusters, except that a
//! volume without `BPB_FATSz16` is FAT32 however small it is: Windows and Linux mount it so.

use super::name::oem_trimmed;
use crate::bytes::Fields;
use crate::extent::Extent;
use crate::fs::Claim;
use crate::fs::cluster::Heap;
use crate::image::View;

/// Bits of a table's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Fat12,
    Fat16,
    Fat32,
}

impl Width {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
        }
    }
}

/// What the boot sector says, in bytes of the volume.
#[derive(Clone, Debug)]
pub(super) struct Boot {
    pub(super) width: Width,
    /// Every copy of the table.
    pub(super) tables: Vec<Extent>,
    /// The copy that is in force.
    pub(super) active: usize,
    /// The root directory of FAT12 and FAT16.
    pub(super) root: Extent,
    /// The root directory's first cluster on FAT32, else 0.
    pub(super) root_cluster: u32,
    pub(super) heap: Heap,
    /// Bytes of the whole file system.
    pub(super) size: u64,
    pub(super) media: u8,
    /// Where the next free cluster is looked for; 0 where that is not told.
    pub(super) next_free: u32,
    pub(super) serial: Option<u32>,
    pub(super) label: String,
    /// The table is too short for all the clusters.
    pub(super) short_table: bool,
    jumps: bool,
    signed: bool,
}

impl Boot {
    /// Reads the block; `None` where any field is impossible.
    pub(super) fn read(volume: View<'_>) -> Option<Self> {
        let sector = volume.read_up_to(0, 512);
        let sector = sector.get(..512)?;
        let mut boot = Self::parse(sector)?;
        if boot.width == Width::Fat32 {
            let at = u64::from(sector.le16(48)?).saturating_mul(u64::from(sector.le16(11)?)); // BPB_FSInfo
            boot.next_free = next_free(&volume.read_up_to(at, 512)).unwrap_or(0);
        }
        Some(boot)
    }

    fn parse(b: &[u8]) -> Option<Self> {
        let bytes_per_sector = u64::from(b.le16(11)?); // BPB_BytsPerSec
        let sectors_per_cluster = u64::from(b.byte(13)?); // BPB_SecPerClus
        let reserved = u64::from(b.le16(14)?); // BPB_RsvdSecCnt
        let copies = u64::from(b.byte(16)?); // BPB_NumFATs
        let root_entries = u64::from(b.le16(17)?); // BPB_RootEntCnt
        let total16 = u64::from(b.le16(19)?); // BPB_TotSec16
        let media = b.byte(21)?; // BPB_Media
        let table16 = u64::from(b.le16(22)?); // BPB_FATSz16
        let possible = (512..=4096).contains(&bytes_per_sector)
            && bytes_per_sector.is_power_of_two()
            && sectors_per_cluster.is_power_of_two()
            && reserved > 0
            && (1..=4).contains(&copies)
            && (media == 0xf0 || media >= 0xf8);
        if !possible {
            return None;
        }
        let wide = table16 == 0;
        let total = if total16 != 0 { total16 } else { u64::from(b.le32(32)?) }; // BPB_TotSec32
        let table_sectors = if wide { u64::from(b.le32(36)?) } else { table16 }; // BPB_FATSz32
        if table_sectors == 0 || (wide && root_entries != 0) || (!wide && root_entries == 0) {
            return None;
        }
        // All factors are below 2^32 and 2^16, so that no product or sum reaches 2^63.
        let bytes = |sectors: u64| sectors.saturating_mul(bytes_per_sector);
        let table_len = bytes(table_sectors);
        let first = bytes(reserved);
        let root = Extent::new(first.saturating_add(copies.saturating_mul(table_len)), root_entries.saturating_mul(32));
        let data = root.start.saturating_add(root.len.next_multiple_of(bytes_per_sector));
        let cluster_size = bytes(sectors_per_cluster);
        let size = bytes(total);
        let clusters = size.checked_sub(data)?.checked_div(cluster_size).filter(|n| *n > 0)?;
        let width = match clusters {
            _ if wide => Width::Fat32,
            0..4085 => Width::Fat12,
            _ => Width::Fat16,
        };
        let room = match width {
            Width::Fat12 => table_len.saturating_mul(2) / 3,
            Width::Fat16 => table_len / 2,
            Width::Fat32 => (table_len / 4).min(0x0fff_fff7),
        };
        let last = clusters.saturating_add(1).min(room.saturating_sub(1));
        let extended = if wide { 64usize } else { 36 }; // BS_DrvNum and what follows
        let named = matches!(b.byte(extended.saturating_add(2))?, 0x28 | 0x29); // BS_BootSig
        // BPB_ExtFlags: with bit 7 only the table that bits 0 to 3 name is kept up to date.
        let flags = if wide { b.le16(40)? } else { 0 };
        let active = if flags & 0x80 != 0 { usize::from(flags & 15) } else { 0 };
        let label = b.span(extended.saturating_add(7), 11).map(oem_trimmed).unwrap_or_default();
        let table_at = |n: u64| Extent::new(first.saturating_add(n.saturating_mul(table_len)), table_len);
        Some(Self {
            width,
            tables: (0..copies).map(table_at).collect(),
            active: if active < usize::try_from(copies).ok()? { active } else { 0 },
            root,
            root_cluster: if wide { b.le32(44)? & 0x0fff_ffff } else { 0 }, // BPB_RootClus
            heap: Heap {
                start: data,
                cluster: cluster_size,
                last: u32::try_from(last).ok().filter(|last| *last >= 2)?,
            },
            size,
            media,
            next_free: 0,
            serial: if named { b.le32(extended.saturating_add(3)) } else { None }, // BS_VolID
            label: if named && label != "NO NAME" { label } else { String::new() }, // BS_VolLab
            short_table: last <= clusters,
            jumps: matches!((b.byte(0)?, b.byte(2)?), (0xeb, 0x90) | (0xe9, _)),
            signed: b.le16(510)? == 0xaa55,
        })
    }
}

/// `FSI_Nxt_Free` of a sound information sector.
fn next_free(b: &[u8]) -> Option<u32> {
    let signed = b.le32(0)? == 0x4161_5252 && b.le32(484)? == 0x6141_7272; // FSI_LeadSig, FSI_StrucSig
    b.le32(492).filter(|next| signed && *next != u32::MAX)
}

/// Claims a volume whose parameter block is possible throughout and whose table begins as a table does.
pub(super) fn probe(volume: View<'_>) -> Option<Claim> {
    let boot = Boot::read(volume)?;
    let table = boot.tables.get(boot.active)?;
    let head = volume.read_up_to(table.start, 8);
    // FAT[0] repeats the media byte with all other bits set; FAT[1] is an end mark with two flags at its top.
    let begins = match boot.width {
        Width::Fat12 => head.get(..3) == Some(&[boot.media, 0xff, 0xff]),
        Width::Fat16 => head.get(..2) == Some(&[boot.media, 0xff]) && head.byte(3)? & 0x3f == 0x3f,
        Width::Fat32 => head.get(..3) == Some(&[boot.media, 0xff, 0xff]) && head.byte(3)? & 0x0f == 0x0f,
    };
    let surety = match (begins, boot.jumps, boot.signed) {
        (true, true, true) => 100,
        (true, true, false) | (true, false, true) => 85,
        (true, false, false) => 70,
        (false, true, true) => 60,
        _ => return None,
    };
    let table = if begins { "and a table that begins with its media byte" } else { "but a table that begins wrongly" };
    Some(Claim { surety, reason: format!("a possible {} parameter block {table}", boot.width.name()) })
}
