//! The Master Boot Record and the chain of extended boot records.
//!
//! Layout: four entries of 16 bytes at byte 446 (status, CHS, type, CHS, first LBA, sectors) and 0x55 0xAA at 510.
//! Logical partitions: each EBR's first entry is relative to that EBR, its second to the extended partition.
//! Checked against `mmls` of The Sleuth Kit 4.11.1.

use super::{Partition, Table};
use crate::bytes::Fields;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use std::collections::BTreeSet;

/// More logical partitions than any system makes.
const MAX_LOGICAL: usize = 1024;

#[derive(Clone, Copy)]
struct Row {
    status: u8,
    kind: u8,
    first: u64,
    sectors: u64,
}

impl Row {
    const fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    const fn is_used(self) -> bool {
        self.kind != 0 && self.sectors != 0
    }
}

/// Reads the table; `None` where there is none, or where it only protects a GPT.
pub fn read(disk: View<'_>) -> Option<Table> {
    let rows = rows(disk, 0)?;
    let plausible = rows.iter().all(|r| matches!(r.status, 0 | 0x80)) && rows.iter().any(|r| r.is_used());
    let starts_inside = |sector: u64| rows.iter().any(|r| r.is_used() && r.first.saturating_mul(sector) < disk.size());
    if !plausible || is_boot_sector(disk) || !starts_inside(512) {
        return None;
    }
    let sector = sector_size(disk, &rows);
    let mut table = Table { sector, metadata: vec![Extent::new(0, sector)], ..Table::default() };
    for row in rows.iter().filter(|r| r.is_used() && !r.is_extended()) {
        table.partitions.push(partition(*row, 0, sector));
    }
    for row in rows.iter().filter(|r| r.is_used() && r.is_extended()) {
        walk_extended(disk, row.first, sector, &mut table);
    }
    Some(table)
}

/// The four entries of the record in sector `at` bytes; `None` without its signature.
fn rows(disk: View<'_>, at: u64) -> Option<[Row; 4]> {
    let record = disk.read(at, 512).ok()?;
    if record.le16(510)? != 0xaa55 {
        return None;
    }
    let row = |i: usize| {
        let at = i.checked_mul(16)?.checked_add(446)?;
        let (status, kind) = (record.byte(at)?, record.byte(at.checked_add(4)?)?);
        let first = record.le32(at.checked_add(8)?)?.into();
        Some(Row { status, kind, first, sectors: record.le32(at.checked_add(12)?)?.into() })
    };
    Some([row(0)?, row(1)?, row(2)?, row(3)?])
}

/// A file system's own boot sector has the same signature, and may hold anything where the entries would be.
fn is_boot_sector(disk: View<'_>) -> bool {
    let Ok(record) = disk.read(0, 512) else { return false };
    let named = |at: usize, name: &[u8]| record.span(at, name.len()).is_some_and(|b| b == name);
    let bpb = record.le16(11).is_some_and(|n| matches!(n, 512 | 1024 | 2048 | 4096))
        && record.byte(13).is_some_and(u8::is_power_of_two);
    named(3, b"NTFS    ") || named(3, b"EXFAT   ") || (bpb && (named(54, b"FAT") || named(82, b"FAT32")))
}

/// 4096 where only so the partitions end inside the disk's reach and start at something that is formatted.
fn sector_size(disk: View<'_>, rows: &[Row; 4]) -> u64 {
    let boots = |row: &&Row, sector: u64| {
        let start = row.first.saturating_mul(sector);
        let head = disk.read_up_to(start, 2048);
        head.le16(510) == Some(0xaa55) || head.le16(1080) == Some(0xef53)
    };
    let used = || rows.iter().filter(|r| r.is_used());
    let fits = |sector: u64| used().all(|r| r.first.saturating_add(r.sectors).saturating_mul(sector) <= disk.size());
    if fits(4096) && !used().any(|r| boots(&r, 512)) && used().any(|r| boots(&r, 4096)) { 4096 } else { 512 }
}

fn partition(row: Row, base: u64, sector: u64) -> Partition {
    let start = base.saturating_add(row.first).saturating_mul(sector);
    let extent = Extent::new(start, row.sectors.saturating_mul(sector));
    Partition { extent, kind: type_name(row.kind), name: String::new() }
}

/// Follows the chain of extended boot records from the extended partition at sector `base`.
fn walk_extended(disk: View<'_>, base: u64, sector: u64, table: &mut Table) {
    let mut seen = BTreeSet::new();
    let mut ebr = base;
    loop {
        let at = ebr.saturating_mul(sector);
        let fault = |what: &str| Fault::new(at, "mbr", what);
        if !seen.insert(ebr) || seen.len() > MAX_LOGICAL {
            table.faults.push(fault("the chain of extended boot records runs in a circle"));
            return;
        }
        let Some(rows) = rows(disk, at) else {
            table.faults.push(fault("an extended boot record is missing or without its signature"));
            return;
        };
        table.metadata.push(Extent::new(at, sector));
        for row in rows.iter().filter(|r| r.is_used() && !r.is_extended()) {
            table.partitions.push(partition(*row, ebr, sector));
        }
        match rows.iter().find(|r| r.is_used() && r.is_extended()) {
            Some(next) => ebr = base.saturating_add(next.first),
            None => return,
        }
    }
}

fn type_name(kind: u8) -> String {
    let name = match kind {
        0x01 => "FAT12",
        0x04 | 0x06 | 0x0e => "FAT16",
        0x07 => "NTFS or exFAT",
        0x0b | 0x0c => "FAT32",
        0x11 | 0x14 | 0x16 | 0x17 | 0x1b | 0x1c | 0x1e => "hidden",
        0x27 => "Windows recovery",
        0x42 => "Windows dynamic disk",
        0x82 => "Linux swap",
        0x83 => "Linux",
        0x8e => "Linux LVM",
        0xa5 => "FreeBSD",
        0xa6 => "OpenBSD",
        0xa9 => "NetBSD",
        0xaf => "HFS+",
        0xbf => "Solaris",
        0xee => "GPT protective",
        0xef => "EFI system",
        0xfd => "Linux RAID",
        _ => "unknown",
    };
    format!("0x{kind:02x} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_sector_is_survived(mut bytes in prop::collection::vec(any::<u8>(), 2048)) {
            if let Some(signature) = bytes.get_mut(510..512) {
                signature.copy_from_slice(&[0x55, 0xaa]);
            }
            let image = crate::image::raw::of_bytes(&bytes)?;
            let _ = read(View::whole(image.as_ref()));
        }
    }
}
