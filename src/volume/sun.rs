//! Sun disk labels of SPARC and the volume table of contents of Solaris x86 (`sys/dklabel.h`, `sys/vtoc.h`).
//!
//! SPARC: one big-endian sector with 0xDABE at 508 and a XOR sum of all 16-bit words that comes to zero; eight slices, first
//! cylinder and sectors from 444, their tags from 142 (where 0x600DDEEE stands at 188), tracks a cylinder at 436, sectors a track
//! at 438. x86: in the second sector of its MBR slice, little-endian, 0x600DDEEE at 12, slices of 12 bytes from 72, counted
//! from the start of that slice.
//! The SPARC label is checked against blkid's test image, that of x86 not yet.

use super::{Partition, Table};
use crate::bytes::Fields;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;

const SECTOR: u64 = 512;
const SANE: u32 = 0x600d_deee;
/// The tag of the slice that is the whole disk.
const WHOLE: u16 = 5;

/// Reads the label of a SPARC disk; `None` where there is none.
pub fn read(disk: View<'_>) -> Option<Table> {
    let label = disk.read(0, SECTOR).ok()?;
    if label.be16(508)? != 0xdabe {
        return None;
    }
    let cylinder = u64::from(label.be16(436)?).saturating_mul(label.be16(438)?.into()).saturating_mul(SECTOR);
    if cylinder == 0 {
        return None;
    }
    let mut table = Table { sector: SECTOR, metadata: vec![Extent::new(0, SECTOR)], ..Table::default() };
    if label.chunks_exact(2).fold(0, |sum, word| sum ^ word.be16(0).unwrap_or(0)) != 0 {
        table.faults.push(Fault::new(disk.absolute(0), "sun", "the label's checksum does not hold"));
    }
    let tagged = label.be32(188) == Some(SANE);
    for number in 0..8usize {
        let at = 444usize.checked_add(number.checked_mul(8)?)?;
        let (first, sectors) = (u64::from(label.be32(at)?), u64::from(label.be32(at.checked_add(4)?)?));
        let tag = label.be16(142usize.checked_add(number.checked_mul(4)?)?)?;
        // Without tags the third slice is by custom the whole disk.
        let is_whole = if tagged { tag == WHOLE } else { number == 2 };
        if sectors != 0 && !is_whole {
            let extent = Extent::new(first.saturating_mul(cylinder), sectors.saturating_mul(SECTOR));
            let kind = if tagged { type_name(tag) } else { String::new() };
            table.partitions.push(Partition { extent, kind, name: format!("s{number}") });
        }
    }
    Some(table)
}

/// Reads the table of a Solaris slice on x86; `None` where there is none. Extents are relative to the view.
pub fn read_x86(slice: View<'_>) -> Option<Table> {
    let vtoc = slice.read(SECTOR, SECTOR).ok()?;
    if vtoc.le32(12)? != SANE {
        return None;
    }
    let count = usize::from(vtoc.le16(30)?).min(16);
    let mut table = Table { sector: SECTOR, metadata: vec![Extent::new(SECTOR, SECTOR)], ..Table::default() };
    for number in 0..count {
        let at = 72usize.checked_add(number.checked_mul(12)?)?;
        let (tag, start, sectors) = (vtoc.le16(at)?, vtoc.le32(at.checked_add(4)?)?, vtoc.le32(at.checked_add(8)?)?);
        if sectors != 0 && tag != WHOLE {
            let bytes = |sectors: u32| u64::from(sectors).saturating_mul(SECTOR);
            let extent = Extent::new(bytes(start), bytes(sectors));
            table.partitions.push(Partition { extent, kind: type_name(tag), name: format!("s{number}") });
        }
    }
    Some(table)
}

fn type_name(tag: u16) -> String {
    let name = match tag {
        1 => "boot",
        2 => "root",
        3 => "swap",
        4 => "usr",
        6 => "stand",
        7 => "var",
        8 => "home",
        9 => "alternate sectors",
        10 => "cache",
        11 => "reserved",
        0x82 => "Linux swap",
        0x83 => "Linux",
        0x8e => "Linux LVM",
        0xfd => "Linux RAID",
        _ => "unknown",
    };
    format!("{tag} {name}")
}
