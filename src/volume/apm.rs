//! The Apple Partition Map (Inside Macintosh: Devices, chapter 3; `IOApplePartitionScheme.h`).
//!
//! Block 0 holds the driver descriptor (`ER`, bytes of a block at 2). The map begins in block 1: entries of one block each, `PM`,
//! big-endian: entries of the map at 4, first block at 8, blocks at 12, name of 32 bytes at 16, type of 32 bytes at 48. Discs are
//! written with maps in blocks of 512 bytes though their own have 2048: where the entries stand decides.
//! Not yet checked against another program.

use super::{Partition, Table};
use crate::bytes::{Fields, latin1};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;

/// More entries than any map has.
const MAX_ENTRIES: u32 = 1024;

/// Reads the map; `None` where there is none.
pub fn read(disk: View<'_>) -> Option<Table> {
    let head = disk.read(0, 512).ok()?;
    let is_driver_map = head.span(0, 2)? == b"ER";
    let own = u64::from(head.be16(2)?);
    let sizes = [512, own, 1024, 2048, 4096];
    let is_map = |size: &u64| size.is_multiple_of(512) && *size != 0 && entry(disk, *size, 1).is_some();
    let block = sizes.into_iter().find(is_map)?;
    let first = entry(disk, block, 1)?;
    if !is_driver_map && first.kind != "Apple_partition_map" {
        return None;
    }
    let mut table = Table { sector: block, metadata: vec![Extent::new(0, block)], ..Table::default() };
    for number in 1..=first.entries.min(MAX_ENTRIES) {
        let at = u64::from(number).saturating_mul(block);
        let Some(entry) = entry(disk, block, number) else {
            table.faults.push(Fault::new(at, "apm", "an entry of the map is damaged; it is left out"));
            continue;
        };
        table.metadata.push(Extent::new(at, block));
        let bytes = |blocks: u32| u64::from(blocks).saturating_mul(block);
        let extent = Extent::new(bytes(entry.start), bytes(entry.blocks));
        match entry.kind.as_str() {
            "Apple_partition_map" => table.metadata.push(extent),
            "Apple_Free" | "Apple_Void" | "Apple_Scratch" => {}
            _ => table.partitions.push(Partition { extent, kind: entry.kind, name: entry.name }),
        }
    }
    Some(table)
}

struct Entry {
    entries: u32,
    start: u32,
    blocks: u32,
    name: String,
    kind: String,
}

fn entry(disk: View<'_>, block: u64, number: u32) -> Option<Entry> {
    let bytes = disk.read(block.checked_mul(number.into())?, 136).ok()?;
    let entries = bytes.be32(4)?;
    if bytes.span(0, 2)? != b"PM" || entries == 0 {
        return None;
    }
    let text = |at: usize| bytes.span(at, 32).map(latin1);
    Some(Entry { entries, start: bytes.be32(8)?, blocks: bytes.be32(12)?, name: text(16)?, kind: text(48)? })
}
