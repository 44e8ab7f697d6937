//! Where a volume contradicts itself: copies that differ, and bytes in sectors that no system uses.
//!
//! Microsoft FAT specification 1.03, "Boot Sector and BPB" and "FSInfo Structure".

use super::NAME;
use super::boot::{Boot, Width};
use crate::bytes::{Fields, all_zero};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::fs::Anomaly;
use crate::image::View;

/// The parameter block: jump, name, fields and labels.
const BLOCK: u64 = 90;

/// All of them.
pub(super) fn signs(view: View<'_>, boot: &Boot) -> Vec<Anomaly> {
    let mut signs = tables(view, boot);
    signs.extend(backup(view, boot));
    signs.extend(reserved(view, boot));
    signs
}

fn sign(view: View<'_>, at: u64, what: String, extents: Vec<Extent>) -> Anomaly {
    Anomaly { sign: Fault::new(view.absolute(at), NAME, what), extents }
}

/// Copies of the table that differ from the one in force.
fn tables(view: View<'_>, boot: &Boot) -> Vec<Anomaly> {
    let active = boot.tables.get(boot.active).copied().unwrap_or_default();
    let others = boot.tables.iter().enumerate().filter(|(number, _)| *number != boot.active);
    let differs = |(number, copy): (usize, &Extent)| {
        let at = first_difference(view, active, *copy)?;
        let what = format!("copy {number} of the table differs from copy {}, which is used", boot.active);
        Some(sign(view, at, what, Vec::new()))
    };
    others.filter_map(differs).collect()
}

/// Where two copies of the table first differ, as an offset in the second.
fn first_difference(view: View<'_>, one: Extent, other: Extent) -> Option<u64> {
    let (a, b) = (view.read_up_to(one.start, one.len), view.read_up_to(other.start, other.len));
    if a == b {
        return None;
    }
    // Chunks are compared at the speed of memory, single bytes are not.
    let piece = a.chunks(4096).zip(b.chunks(4096)).take_while(|(a, b)| a == b).count().saturating_mul(4096);
    let (a, b) = (a.get(piece..).unwrap_or_default(), b.get(piece..).unwrap_or_default());
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count().saturating_add(piece);
    Some(other.start.saturating_add(same as u64))
}

/// Bytes of a sector, and the sector of the second boot sector, where there is one.
fn measures(view: View<'_>, boot: &Boot) -> Option<(u64, Option<u64>)> {
    let sector = view.read_up_to(0, 512);
    let size = u64::from(sector.le16(11)?); // BPB_BytsPerSec
    let copy = u64::from(sector.le16(50)?); // BPB_BkBootSec
    Some((size, Some(copy).filter(|copy| boot.width == Width::Fat32 && (1..64).contains(copy))))
}

/// A second boot sector whose parameter block is not the first one's.
fn backup(view: View<'_>, boot: &Boot) -> Option<Anomaly> {
    let (size, copy) = measures(view, boot)?;
    let at = copy?.checked_mul(size)?;
    let (first, second) = (view.read_up_to(0, BLOCK), view.read_up_to(at, BLOCK));
    let what = "the second boot sector differs from the first one".to_owned();
    (!second.is_empty() && first != second).then(|| sign(view, at, what, Vec::new()))
}

/// Bytes in reserved sectors other than those that boot sectors, their copies and the information sector take.
fn reserved(view: View<'_>, boot: &Boot) -> Option<Anomaly> {
    let (size, copy) = measures(view, boot)?;
    let end = boot.tables.first()?.start;
    let known = |number: u64| {
        let own = number == 0 || (boot.width == Width::Fat32 && number <= 2);
        own || copy.is_some_and(|copy| (copy..=copy.saturating_add(2)).contains(&number))
    };
    let mut found = Vec::new();
    for number in (0..end.checked_div(size)?).filter(|number| !known(*number)) {
        let extent = Extent::new(number.checked_mul(size)?, size);
        let bytes = view.read_up_to(extent.start, extent.len);
        // Windows keeps a third piece of its boot code here, with the mark of a boot sector.
        let code = bytes.le16(510) == Some(0xaa55);
        if !code && !all_zero(&bytes) {
            found.push(extent);
        }
    }
    let found = ExtentSet::new(found);
    let first = found.as_slice().first()?.start;
    let what = format!("{} bytes of reserved sectors are not empty", found.total());
    Some(sign(view, first, what, found.as_slice().to_vec()))
}
