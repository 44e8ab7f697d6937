//! exFAT, with everything deleted that its directories still name.
//!
//! Specification: Microsoft exFAT file system specification, revision 1.00. Deletion clears the InUse bits of an entry
//! set and the bits of the allocation bitmap; names, times and sizes stay, a file in one piece says so itself
//! (NoFatChain), and the table may keep the chain of a fragmented one. Checked against The Sleuth Kit 4.15 on the images
//! that `tests/filesystems.rs` names.

mod boot;
mod piece;
mod set;
mod system;
mod table;
mod upcase;
mod walk;

use super::{Batch, Claim, Facts, FileSystem, Opened};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fuel::Fuel;
use crate::image::View;
use boot::{Boot, Regions};
use set::{Cells, Reader};
use system::System;
use table::Table;
use walk::Walk;

const NAME: &str = "exfat";

/// An opened volume.
struct ExFat<'img> {
    view: View<'img>,
    boot: Boot,
    table: Table<'img>,
    root: Cells<'img>,
    system: System,
    facts: Facts,
}

/// Claims volumes with a boot sector of exFAT or its backup.
pub fn probe(view: View<'_>) -> Option<Claim> {
    boot::probe(view)
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let no_boot = || Fault::new(view.absolute(0), NAME, "neither a boot sector nor its backup");
    let regions = Regions::read(view).ok_or_else(no_boot)?;
    let boot = regions.boot.clone();
    let mut table = Table::read(view, &boot);
    let (root, wrong) = root(view, &boot, &table);
    let system = System::read(view, &boot, &mut table, &root);
    let mut facts = facts(view, &regions, &system);
    facts.faults.extend(wrong);
    let reader = Reader { table: &table, upcase: system.upcase.as_ref() };
    facts.faults.extend(reader.sets(&root, false).broken.iter().take(16).map(|at| {
        Fault::new(view.absolute(*at), NAME, "root directory: an entry set without a stream extension or a name")
    }));
    Ok(Box::new(ExFat { view, boot, table, root, system, facts }))
}

impl FileSystem for ExFat<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        let reader = Reader { table: &self.table, upcase: self.system.upcase.as_ref() };
        let found = Walk::new(self.view, &self.boot, &reader).list(&self.root);
        Box::new(std::iter::once(self.system.files.iter().cloned().chain(found).map(Ok).collect()))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        let whole = Extent::new(0, self.view.size());
        let free = self.boot.heap.extents(self.table.free.spans()).map(move |extent| extent.intersect(whole));
        Box::new(free.filter(|extent| !extent.is_empty()).map(Ok))
    }
}

/// The root directory's entries, and what is wrong with its chain.
fn root<'img>(view: View<'img>, boot: &Boot, table: &Table<'img>) -> (Cells<'img>, Option<Fault>) {
    let mut chain = table.chain(boot.root, &mut Fuel::new(u64::from(boot.heap.last)));
    if chain.spans.is_empty() {
        chain.spans.push(boot.heap.span(boot.root, 1));
    }
    let len = set::directory_bytes(&boot.heap, super::cluster::total(&chain.spans));
    let at = view.absolute(boot.heap.extent(boot.root).unwrap_or_default().start);
    let wrong = chain.wrong.map(|wrong| Fault::new(at, NAME, format!("root directory: {wrong}")));
    (Cells::read(view, &boot.heap, &chain.spans, len), wrong)
}

fn facts(view: View<'_>, regions: &Regions, system: &System) -> Facts {
    let boot = &regions.boot;
    let mut faults = regions.faults.clone();
    if boot.size > view.size() {
        let what = format!("the file system has {} bytes, its volume {}", boot.size, view.size());
        faults.push(Fault::new(view.absolute(0), NAME, what));
    }
    if boot.table.len < u64::from(boot.heap.last).saturating_add(1).saturating_mul(4) {
        faults.push(Fault::new(view.absolute(boot.table.start), NAME, "the table is too short for its clusters"));
    }
    faults.extend(system.faults.iter().cloned());
    Facts {
        name: "exFAT".to_owned(),
        label: system.label.clone(),
        id: format!("{:04X}-{:04X}", boot.serial >> 16, boot.serial & 0xffff),
        cluster: boot.heap.cluster,
        size: boot.size,
        faults,
        anomalies: regions.anomalies.iter().chain(&system.anomalies).cloned().collect(),
    }
}

#[cfg(test)]
mod tests;
