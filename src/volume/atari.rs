//! The root sector of Atari TOS (AHDI 3.0 specification, and `block/partitions/atari.c` for what drivers accept).
//!
//! Big-endian: sectors of the disk at 450, four entries of 12 bytes from 454: a flag (1: there is one), three letters, first
//! sector, sectors. There is no signature, so every entry must make sense. An extended partition (`XGM`) holds a sector of the
//! same form whose first entry counts from it and whose next `XGM` counts from the first of them.
//! Checked against blkid's test image.

use super::{Partition, Table};
use crate::bytes::Fields;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;

const SECTOR: u64 = 512;
/// More extended partitions than any disk has.
const MAX_CHAIN: usize = 256;

struct Row {
    kind: [u8; 3],
    start: u64,
    sectors: u64,
}

/// Reads the table; `None` where there is none.
pub fn read(disk: View<'_>) -> Option<Table> {
    let total = disk.size().checked_div(SECTOR)?;
    let said = u64::from(disk.read(0, SECTOR).ok()?.be32(450)?);
    let rows = rows(disk, 0).filter(|_| !is_of_a_pc(disk))?;
    let inside = |row: &Row| row.start != 0 && row.sectors != 0 && row.start.saturating_add(row.sectors) <= total;
    if rows.is_empty() || said > total || !rows.iter().all(inside) {
        return None;
    }
    let mut table = Table { sector: SECTOR, metadata: vec![Extent::new(0, SECTOR)], ..Table::default() };
    for row in &rows {
        if &row.kind == b"XGM" { walk_extended(disk, row.start, &mut table) } else { push(&mut table, row, 0) }
    }
    Some(table)
}

/// What ends with the signature of a PC is read by others.
fn is_of_a_pc(disk: View<'_>) -> bool {
    disk.read_up_to(510, 2).le16(0) == Some(0xaa55)
}

/// The entries of the sector that are in use; `None` where one is none that a system writes.
fn rows(disk: View<'_>, at: u64) -> Option<Vec<Row>> {
    let sector = disk.read(at, SECTOR).ok()?;
    let mut rows = Vec::new();
    for number in 0..4usize {
        let at = 454usize.checked_add(number.checked_mul(12)?)?;
        let (flag, kind) = (sector.byte(at)?, sector.array::<3>(at.checked_add(1)?)?);
        let field = |by: usize| sector.be32(at.checked_add(by)?).map(u64::from);
        if flag & 1 != 0 {
            if !kind.iter().all(u8::is_ascii_alphanumeric) {
                return None;
            }
            rows.push(Row { kind, start: field(4)?, sectors: field(8)? });
        }
    }
    Some(rows)
}

fn push(table: &mut Table, row: &Row, base: u64) {
    let extent = Extent::new(base.saturating_add(row.start).saturating_mul(SECTOR), row.sectors.saturating_mul(SECTOR));
    let kind = String::from_utf8_lossy(&row.kind).into_owned();
    table.partitions.push(Partition { extent, kind, name: String::new() });
}

fn walk_extended(disk: View<'_>, base: u64, table: &mut Table) {
    let mut here = base;
    for _ in 0..MAX_CHAIN {
        let at = here.saturating_mul(SECTOR);
        let Some(rows) = rows(disk, at) else {
            table.faults.push(Fault::new(disk.absolute(at), "atari", "an extended partition has no table"));
            return;
        };
        table.metadata.push(Extent::new(at, SECTOR));
        for row in rows.iter().filter(|row| &row.kind != b"XGM") {
            push(table, row, here);
        }
        match rows.iter().find(|row| &row.kind == b"XGM") {
            Some(next) if next.start != 0 => here = base.saturating_add(next.start),
            _ => return,
        }
    }
    table.faults.push(Fault::new(
        disk.absolute(here.saturating_mul(SECTOR)),
        "atari",
        "extended partitions run in a circle",
    ));
}
