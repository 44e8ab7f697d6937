//! BSD disklabels (`sys/disklabel.h` of FreeBSD, NetBSD and OpenBSD), on a disk of their own or in a slice of an MBR.
//!
//! The label stands in the second sector (or at byte 0 or 64), in the byte order of its machine: magic 0x82564557 at 0 and at 132,
//! sector size at 40, a XOR sum of all 16-bit words at 136 that comes to zero, entries at 138 (their number) and from 148, 16 bytes
//! each: sectors, first sector, fragment size, type at 12. Slices are counted from the start of the disk, or from their own: the
//! raw partition `c`, which is the whole slice, tells which.
//! Checked against blkid's test image.

use super::{Partition, Table};
use crate::bytes::Fields;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;

const MAGIC: u32 = 0x8256_4557;
/// The partition that is the whole slice.
const RAW: usize = 2;

/// Reads the label; `None` where there is none. Extents are relative to the view.
pub fn read(slice: View<'_>) -> Option<Table> {
    [512, 0, 64].into_iter().find_map(|at| read_at(slice, at))
}

fn read_at(slice: View<'_>, at: u64) -> Option<Table> {
    let label = slice.read(at, 148).ok()?;
    let big = label.be32(0)? == MAGIC;
    let u16_at = |bytes: &[u8], at: usize| if big { bytes.be16(at) } else { bytes.le16(at) };
    let u32_at = |bytes: &[u8], at: usize| if big { bytes.be32(at) } else { bytes.le32(at) };
    if u32_at(&label, 0)? != MAGIC || u32_at(&label, 132)? != MAGIC {
        return None;
    }
    let count = usize::from(u16_at(&label, 138)?);
    let length = count.checked_mul(16)?.checked_add(148)?;
    if count > 64 {
        return None;
    }
    let label = slice.read(at, length as u64).ok()?;
    let sector = Some(u64::from(u32_at(&label, 40)?)).filter(|n| n.is_power_of_two() && (512..=4096).contains(n));
    let sector = sector.unwrap_or(512);
    let mut table = Table { sector, metadata: vec![Extent::new(at, length as u64)], ..Table::default() };
    if label.chunks_exact(2).fold(0, |sum, word| sum ^ word.le16(0).unwrap_or(0)) != 0 {
        table.faults.push(Fault::new(slice.absolute(at), "bsd", "the label's checksum does not hold"));
    }
    let row = |number: usize| {
        let from = number.checked_mul(16)?.checked_add(148)?;
        let bytes = |at: usize| Some(u64::from(u32_at(&label, from.checked_add(at)?)?).saturating_mul(sector));
        Some((bytes(0)?, bytes(4)?, label.byte(from.checked_add(12)?)?))
    };
    let base = slice.extent().start;
    let raw = row(RAW).filter(|(len, ..)| *len != 0).map_or(0, |(_, start, _)| start);
    let counted_from = if raw == base { base } else { 0 };
    let typed: Vec<Extent> = (0..count)
        .filter(|number| *number != RAW)
        .filter_map(row)
        .filter(|(len, _, kind)| *len != 0 && *kind != 0)
        .map(|(len, start, _)| Extent::new(start, len))
        .collect();
    let whole = row(RAW).map(|(len, start, _)| Extent::new(start, len));
    for number in (0..count).filter(|number| *number != RAW) {
        let (len, start, kind) = row(number)?;
        // `bsdlabel` leaves the type of a first partition unused, whatever is made in it; other such rows are the whole disk.
        let here = Extent::new(start, len);
        let is_unused =
            kind == 0 && (Some(here) == whole || typed.iter().any(|other| !other.intersect(here).is_empty()));
        if is_unused || len == 0 {
            continue;
        }
        let Some(start) = start.checked_sub(counted_from) else {
            let what = format!("partition {} begins before its slice; it is left out", letter(number));
            table.faults.push(Fault::new(slice.absolute(at), "bsd", what));
            continue;
        };
        table.partitions.push(Partition {
            extent: Extent::new(start, len),
            kind: type_name(kind),
            name: letter(number),
        });
    }
    Some(table)
}

fn letter(number: usize) -> String {
    u8::try_from(number).ok().and_then(|n| b'a'.checked_add(n)).map_or(String::new(), |c| char::from(c).to_string())
}

fn type_name(kind: u8) -> String {
    let name = match kind {
        0 => "unused",
        1 => "swap",
        7 => "UFS",
        8 => "MS-DOS",
        9 => "log-structured",
        11 => "HPFS",
        12 => "ISO 9660",
        13 => "boot",
        14 => "Vinum",
        15 => "RAID",
        17 => "ext2",
        18 => "NTFS",
        19 => "RAIDframe or softraid",
        20 => "ccd",
        21 => "JFS2 or UDF",
        27 => "ZFS",
        30 => "HAMMER",
        _ => "unknown",
    };
    format!("{kind} {name}")
}
