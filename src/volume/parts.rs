//! Partitions as a table names them, numbered, with the gaps between them.

use super::{Layout, Partition, Table, Volume, VolumeKind};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::image::{self, Kind, View};

/// Divides a disk by the first scheme that reads a table.
pub(super) fn divide(disk: View<'_>) -> Layout {
    // What is computed behind the end of the evidence is no part of it.
    let whole = Extent::new(0, disk.size().min(image::original(disk.image()).size()));
    let Some((scheme, mut table)) = table(disk) else {
        let mut layout = Layout { sector: 512, ..Layout::default() };
        layout.push(VolumeKind::Whole, whole, String::new(), String::new());
        return layout;
    };
    slices(disk, &mut table);
    let mut layout = Layout {
        scheme: Some(scheme),
        sector: table.sector,
        metadata: table.metadata.iter().copied().collect(),
        faults: table.faults,
        ..Layout::default()
    };
    let disc = is_disc(disk);
    if disc {
        layout.push(VolumeKind::Whole, whole, String::new(), String::new());
    }
    // On a disc with a table for booting, the partition that begins it is the disc itself.
    for partition in table.partitions.into_iter().filter(|partition| !disc || partition.extent.start != 0) {
        add(&mut layout, scheme, whole, partition);
    }
    let taken: ExtentSet = layout.volumes.iter().map(|v| v.extent).collect();
    for gap in ExtentSet::new(vec![whole]).subtract(&taken).as_slice() {
        layout.push(VolumeKind::Gap, *gap, String::new(), String::new());
    }
    layout
}

/// The table of the first scheme that reads one. Evidence that is files has none: what stands at its front is the first of them.
pub(super) fn table(disk: View<'_>) -> Option<(&'static str, Table)> {
    if disk.image().kind() == Kind::Folder {
        return None;
    }
    crate::registry::SCHEMES.iter().find_map(|scheme| Some((scheme.name, (scheme.read)(disk)?)))
}

/// File systems of discs leave their first 32 KiB to others: a table may stand there that divides the disc for booting.
fn is_disc(disk: View<'_>) -> bool {
    let descriptor = disk.read_up_to(32_769, 5);
    descriptor.as_ref() == b"CD001" || descriptor.as_ref() == b"BEA01"
}

impl Layout {
    pub(super) fn push(&mut self, kind: VolumeKind, extent: Extent, type_name: String, name: String) {
        let number = u32::try_from(self.volumes.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.volumes.push(Volume { number, kind, extent, type_name, name, past: None, parts: None });
    }
}

fn add(layout: &mut Layout, scheme: &str, whole: Extent, partition: Partition) {
    let extent = partition.extent.intersect(whole);
    let number = layout.volumes.len().saturating_add(1);
    if extent != partition.extent {
        let missing = partition.extent.len.saturating_sub(extent.len);
        let what = format!("partition {number} goes {missing} bytes beyond the end of the image");
        layout.faults.push(Fault::new(partition.extent.start, scheme, what));
    }
    let others = || layout.volumes.iter().filter(|v| v.kind != VolumeKind::Whole);
    if let Some(other) = others().find(|v| !v.extent.intersect(extent).is_empty()) {
        let what = format!("partition {number} overlaps partition {}", other.number);
        layout.faults.push(Fault::new(extent.start, scheme, what));
    }
    layout.push(VolumeKind::Partition, extent, partition.kind, partition.name);
}

/// Types of partitions that hold a table of their own: what stands where one would be in another may be an old one.
const SLICED: &[&str] = &["0xa5", "0xa6", "0xa9", "0x82", "0xbf"];

/// Puts the partitions of tables inside partitions in the place of these.
fn slices(disk: View<'_>, table: &mut Table) {
    let outer = std::mem::take(&mut table.partitions);
    for slice in outer {
        let view = disk.sub(slice.extent);
        let sliced = SLICED.iter().any(|kind| slice.kind.starts_with(kind));
        let inner = crate::registry::SLICES.iter().find_map(|scheme| (scheme.read)(view));
        let Some(inner) = inner.filter(|inner| sliced && !inner.partitions.is_empty()) else {
            table.partitions.push(slice);
            continue;
        };
        let at = view.extent().start;
        table.metadata.extend(inner.metadata.iter().map(|extent| extent.shifted(at)));
        table.faults.extend(inner.faults);
        table.partitions.extend(inner.partitions.into_iter().map(|partition| Partition {
            extent: partition.extent.shifted(at),
            kind: format!("{} in {}", partition.kind, slice.kind),
            name: partition.name,
        }));
    }
}
