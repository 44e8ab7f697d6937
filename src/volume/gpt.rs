//! The GUID Partition Table, both copies (UEFI specification 2.10, chapter 5.3), with sectors of 512 and 4096 bytes.
//!
//! The header at LBA 1 (`EFI PART`) and its array of entries carry a CRC-32 each. The copy in the last sector is used
//! where the first is damaged, and a difference between the two is reported.
//! Checked against `mmls` of The Sleuth Kit 4.11.1 and against `sgdisk`.

use super::{Partition, Table};
use crate::bytes::{Fields, guid, index, utf16_le};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;

const SIGNATURE: &[u8] = b"EFI PART";
/// An array larger than this is a lie: the specification's usual one is 16 KiB.
const MAX_ARRAY: u64 = 4 << 20;

struct Copy {
    partitions: Vec<Partition>,
    metadata: Vec<Extent>,
    /// First sector of the other copy.
    other: u64,
    /// False where a checksum does not hold.
    sound: bool,
}

/// Reads the table; `None` where neither copy is there.
pub fn read(disk: View<'_>) -> Option<Table> {
    [512, 4096].into_iter().find_map(|sector| read_with(disk, sector))
}

fn read_with(disk: View<'_>, sector: u64) -> Option<Table> {
    let mut faults = Vec::new();
    let last = disk.size().checked_div(sector)?.checked_sub(1)?;
    let first = read_copy(disk, 1, sector, &mut faults);
    let place = first.as_ref().filter(|c| c.sound).map_or(last, |c| c.other);
    let backup = read_copy(disk, place, sector, &mut faults);
    if first.is_none() && backup.is_none() {
        return None;
    }
    let mut table = Table { sector, metadata: vec![Extent::new(0, sector)], faults, ..Table::default() };
    for copy in [&first, &backup].into_iter().flatten() {
        table.metadata.extend(&copy.metadata);
    }
    let at = |lba: u64| lba.saturating_mul(sector);
    match (&first, &backup) {
        (None, _) => table.faults.push(Fault::new(at(1), "gpt", "the first header is missing; its backup is used")),
        (_, None) => table.faults.push(Fault::new(at(place), "gpt", "the backup header is missing")),
        (Some(a), Some(b)) if a.sound && b.sound && a.partitions != b.partitions => {
            table.faults.push(Fault::new(at(place), "gpt", "the backup names other partitions than the first copy"));
        }
        _ => {}
    }
    let copies = || [&first, &backup].into_iter().flatten();
    let best = copies().find(|c| c.sound).or_else(|| copies().next())?;
    table.partitions.clone_from(&best.partitions);
    add_hybrid(disk, &mut table);
    Some(table)
}

/// A hybrid MBR names partitions beside the one that protects the GPT: for systems that do not know GPT, or to hide some.
fn add_hybrid(disk: View<'_>, table: &mut Table) {
    let record = disk.read_up_to(446, 66);
    if record.le16(64) != Some(0xaa55) {
        return;
    }
    for entry in record.chunks_exact(16) {
        let (Some(kind), Some(first), Some(sectors)) = (entry.byte(4), entry.le32(8), entry.le32(12)) else { return };
        let bytes = |sectors: u32| u64::from(sectors).saturating_mul(table.sector);
        let extent = Extent::new(bytes(first), bytes(sectors));
        let is_known = table.partitions.iter().any(|partition| partition.extent == extent);
        if matches!(kind, 0 | 0xee) || sectors == 0 || is_known {
            continue;
        }
        let what = format!("the MBR names a partition of type 0x{kind:02x} at sector {first} that the GPT does not");
        table.faults.push(Fault::new(0, "gpt", what));
        if table.partitions.iter().all(|partition| partition.extent.intersect(extent).is_empty()) {
            let kind = format!("0x{kind:02x} in the MBR alone");
            table.partitions.push(Partition { extent, kind, name: String::new() });
        }
    }
}

/// The copy whose header stands in sector `lba`.
fn read_copy(disk: View<'_>, lba: u64, sector: u64, faults: &mut Vec<Fault>) -> Option<Copy> {
    let at = lba.checked_mul(sector)?;
    let header = disk.read(at, sector).ok()?;
    if header.span(0, 8)? != SIGNATURE {
        return None;
    }
    let mut fault = |what: &str| faults.push(Fault::new(at, "gpt", what));
    let size = index(header.le32(12)?.into());
    let mut sound = true;
    if header.span(0, size).filter(|h| h.len() >= 92).map(without_checksum) != header.le32(16) {
        fault("the header's checksum does not hold");
        sound = false;
    }
    if header.le64(24)? != lba {
        fault("the header names another sector as its own");
        sound = false;
    }
    let (count, width) = (u64::from(header.le32(80)?), u64::from(header.le32(84)?));
    let array_at = header.le64(72)?.checked_mul(sector)?;
    let bytes = count.checked_mul(width).filter(|n| *n <= MAX_ARRAY && width >= 128);
    let Some(array) = bytes.and_then(|n| disk.read(array_at, n).ok()) else {
        fault("the array of entries lies outside the disk or is too large");
        return None;
    };
    if header.le32(88)? != crc32fast::hash(&array) {
        fault("the checksum of the entries does not hold");
        sound = false;
    }
    let mut partitions = Vec::new();
    for entry in array.chunks_exact(index(width)) {
        let kind: [u8; 16] = entry.array(0)?;
        if kind == [0; 16] {
            continue;
        }
        let (from, to) = (entry.le64(32)?, entry.le64(40)?);
        if to < from {
            fault("an entry ends before it starts");
            continue;
        }
        let sectors = to.saturating_sub(from).saturating_add(1);
        let extent = Extent::new(from.saturating_mul(sector), sectors.saturating_mul(sector));
        let name = utf16_le(entry.span(56, 72)?);
        let name = name.split('\0').next().unwrap_or_default().to_owned();
        partitions.push(Partition { extent, kind: type_name(&kind), name });
    }
    let metadata = vec![Extent::new(at, sector), Extent::new(array_at, array.len() as u64)];
    Some(Copy { partitions, metadata, other: header.le64(32)?, sound })
}

/// CRC-32 of a header with its own checksum field taken as zero.
fn without_checksum(header: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    let (before, rest) = header.split_at_checked(16).unwrap_or_default();
    crc.update(before);
    crc.update(&[0; 4]);
    crc.update(rest.get(4..).unwrap_or_default());
    crc.finalize()
}

fn type_name(kind: &[u8; 16]) -> String {
    let guid = guid(*kind).to_uppercase();
    let name = match guid.as_str() {
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" => "EFI system",
        "21686148-6449-6E6F-744E-656564454649" => "BIOS boot",
        "E3C9E316-0B5C-4DB8-817D-F92DF00215AE" => "Microsoft reserved",
        "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7" => "Microsoft basic data",
        "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC" => "Windows recovery",
        "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3" => "Windows LDM metadata",
        "AF9B60A0-1431-4F62-BC68-3311714A69AD" => "Windows LDM data",
        "0FC63DAF-8483-4772-8E79-3D69D8477DE4" => "Linux",
        "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F" => "Linux swap",
        "E6D6D379-F507-44C2-A23C-238F2A3DF928" => "Linux LVM",
        "A19D880F-05FC-4D3B-A006-743F0F84911E" => "Linux RAID",
        "CA7D7CCB-63ED-4C53-861C-1742536059CC" => "Linux LUKS",
        "48465300-0000-11AA-AA11-00306543ECAC" => "HFS+",
        "7C3457EF-0000-11AA-AA11-00306543ECAC" => "APFS",
        _ => "unknown",
    };
    format!("{guid} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn guids_are_spelled_as_the_specification_does() {
        let bytes = [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
        assert_eq!(type_name(&bytes), "C12A7328-F81F-11D2-BA4B-00A0C93EC93B EFI system");
    }

    proptest! {
        #[test]
        fn any_header_is_survived(mut bytes in prop::collection::vec(any::<u8>(), 3072)) {
            if let Some(signature) = bytes.get_mut(512..520) {
                signature.copy_from_slice(SIGNATURE);
            }
            let image = crate::image::raw::of_bytes(&bytes)?;
            let _ = read(View::whole(image.as_ref()));
        }
    }
}
