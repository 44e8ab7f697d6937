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
mod sign;
mod slot;
mod table;
mod walk;

use super::{Batch, Claim, Facts, FileSystem, Opened};
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

    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        let found = Walk::new(self.view, &self.boot, &self.table).list();
        Box::new(std::iter::once(found.into_iter().map(Ok).collect()))
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
        anomalies: sign::signs(view, boot),
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
    faults
}

#[cfg(test)]
mod tests;
