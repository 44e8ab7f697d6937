//! FAT12, FAT16 and FAT32, with everything deleted that its directories still name.
//!
//! Specification: Microsoft FAT 1.03. Deletion frees a file's chain and takes the first letter of its name. Deleted
//! directories are walked while their clusters still look like directories, and directories in free space that nothing
//! names are listed below `/$OrphanFiles`, as The Sleuth Kit does. Where the content of a deleted file lay is decided
//! for all of them together (`fs/scatter.rs`). Checked against The Sleuth Kit 4.15 and the kernel's mount on the
//! images that `tests/filesystems.rs` names, among them DFTT 6 with its author's key.

mod boot;
mod name;
mod orphan;
mod slot;
mod table;
mod walk;

use super::{Claim, Entry, Facts, FileSystem, Opened};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use boot::Boot;
use table::Table;
use walk::{Directory, Walk};

const NAME: &str = "fat";

/// An opened volume.
struct Fat<'img> {
    view: View<'img>,
    boot: Boot,
    table: Table<'img>,
    facts: Facts,
}

/// Claims volumes with a possible BIOS parameter block.
pub fn probe(view: View<'_>) -> Option<Claim> {
    boot::probe(view)
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let no_block = || Fault::new(view.absolute(0), NAME, "no possible BIOS parameter block");
    let boot = Boot::read(view).ok_or_else(no_block)?;
    let table = Table::read(view, &boot);
    let facts = facts(view, &boot, &table);
    Ok(Box::new(Fat { view, boot, table, facts }))
}

impl FileSystem for Fat<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, Fault>> + '_> {
        Box::new(Walk::new(self.view, &self.boot, &self.table).list().into_iter().map(Ok))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        let whole = Extent::new(0, self.view.size());
        let free = self.boot.heap.extents(self.table.free().spans()).map(move |extent| extent.intersect(whole));
        Box::new(free.filter(|extent| !extent.is_empty()).map(Ok))
    }
}

fn facts(view: View<'_>, boot: &Boot, table: &Table<'_>) -> Facts {
    let root = Directory::root(view, boot, table);
    let label = root.slots.into_iter().find(|slot| slot.is_label() && !slot.deleted && !slot.behind_end);
    let mut faults = root.faults;
    faults.extend(boot_faults(view, boot));
    Facts {
        name: boot.width.name().to_owned(),
        label: label.map_or_else(|| boot.label.clone(), |slot| slot.name),
        id: boot.serial.map(|serial| format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)).unwrap_or_default(),
        cluster: boot.heap.cluster,
        size: boot.size,
        faults,
        anomalies: Vec::new(),
    }
}

fn boot_faults(view: View<'_>, boot: &Boot) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |at: u64, what: String| faults.push(Fault::new(view.absolute(at), NAME, what));
    if boot.size > view.size() {
        add(0, format!("the file system has {} bytes, its volume {}", boot.size, view.size()));
    }
    if boot.short_table {
        add(0, format!("the table is too short: clusters behind {} are unreachable", boot.heap.last));
    }
    let active = boot.tables.get(boot.active).copied().unwrap_or_default();
    for (number, copy) in boot.tables.iter().enumerate().filter(|(number, _)| *number != boot.active) {
        if let Some(at) = first_difference(view, active, *copy) {
            add(at, format!("copy {number} of the table differs from copy {}, which is used", boot.active));
        }
    }
    faults
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

#[cfg(test)]
mod tests;
