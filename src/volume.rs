//! What lies where on a disk: partitions, and the gaps before, between and behind them, so that no byte of the disk
//! belongs to nobody.
//!
//! A scheme is one file below `volume/` and one row of [`crate::registry::SCHEMES`]. It only reads its table;
//! numbering, gaps and the checks that all tables share are here.

pub mod gpt;
pub mod mbr;
pub mod vss;

use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::image::View;
use crate::image::mapped::Mapping;
use crate::time::Timestamp;

/// A partition as a table names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Where it lies, in bytes of the view.
    pub extent: Extent,
    /// The table's type code or GUID, and what it stands for where that is known.
    pub kind: String,
    /// The name that the table gives it; may be empty.
    pub name: String,
}

/// What a scheme found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The partitions in the order of the table.
    pub partitions: Vec<Partition>,
    /// Where the table's own structures lie.
    pub metadata: Vec<Extent>,
    /// Bytes of a sector.
    pub sector: u64,
    /// What is damaged or contradicts itself.
    pub faults: Vec<Fault>,
}

/// A row of the table of partition schemes.
pub struct Scheme {
    /// Its name: `gpt`, `mbr`.
    pub name: &'static str,
    /// Reads the table; `None` where there is none of this kind.
    pub read: fn(View<'_>) -> Option<Table>,
}

/// A volume as it was at an earlier time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What its volume manager calls it.
    pub name: String,
    /// When it was made.
    pub made: Option<Timestamp>,
    /// Where the volume's bytes of that time stand now; none where they are not all known.
    pub mapping: Option<Mapping>,
    /// What is damaged.
    pub faults: Vec<Fault>,
}

/// A row of the table of those who keep earlier times of a volume.
pub struct Keeper {
    /// Its name: `vss`.
    pub name: &'static str,
    /// Finds them, the newest first; none where it keeps none.
    pub read: fn(View<'_>) -> Vec<Snapshot>,
}

/// The earlier times of a volume, with the name of who keeps them.
pub fn snapshots(volume: View<'_>) -> Vec<(&'static str, Snapshot)> {
    let kept = |keeper: &'static Keeper| (keeper.read)(volume).into_iter().map(|snapshot| (keeper.name, snapshot));
    crate::registry::KEEPERS.iter().flat_map(kept).collect()
}

/// What a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// The disk has no partition table: the whole of it.
    Whole,
    /// A partition.
    Partition,
    /// Bytes that no partition holds, the table itself among them.
    Gap,
    /// Another volume as it was at an earlier time.
    Snapshot,
}

impl VolumeKind {
    /// Its name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partition => "partition",
            Self::Gap => "gap",
            Self::Snapshot => "snapshot",
        }
    }
}

/// A stretch of the disk with a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its number: `vol1`, `vol2` … for partitions in the order of the table; gaps are numbered behind them.
    pub number: u32,
    /// What it is.
    pub kind: VolumeKind,
    /// Where it lies in the image.
    pub extent: Extent,
    /// The table's type, as in [`Partition::kind`].
    pub type_name: String,
    /// The table's name for it.
    pub name: String,
    /// Of an earlier time: of which volume, and when that was.
    pub past: Option<(u32, Option<Timestamp>)>,
}

/// The disk, divided.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// The scheme's name; `None` without a table.
    pub scheme: Option<&'static str>,
    /// Bytes of a sector; 512 where nothing says otherwise.
    pub sector: u64,
    /// Partitions, then gaps.
    pub volumes: Vec<Volume>,
    /// Where the partition tables themselves lie.
    pub metadata: ExtentSet,
    /// What is damaged or contradicts itself.
    pub faults: Vec<Fault>,
}

/// Divides a disk. The first scheme that reads a table decides; a disk without one is a single volume.
pub fn divide(disk: View<'_>) -> Layout {
    let found = crate::registry::SCHEMES.iter().find_map(|scheme| Some((scheme.name, (scheme.read)(disk)?)));
    let Some((scheme, table)) = found else {
        let (kind, extent) = (VolumeKind::Whole, Extent::new(0, disk.size()));
        let whole = Volume { number: 1, kind, extent, type_name: String::new(), name: String::new(), past: None };
        return Layout { sector: 512, volumes: vec![whole], ..Layout::default() };
    };
    let mut layout = Layout {
        scheme: Some(scheme),
        sector: table.sector,
        metadata: table.metadata.iter().copied().collect(),
        faults: table.faults,
        volumes: Vec::new(),
    };
    let whole = Extent::new(0, disk.size());
    for partition in &table.partitions {
        let extent = partition.extent.intersect(whole);
        let number = u32::try_from(layout.volumes.len()).unwrap_or(u32::MAX).saturating_add(1);
        if extent != partition.extent {
            let missing = partition.extent.len.saturating_sub(extent.len);
            let what = format!("partition {number} goes {missing} bytes beyond the end of the image");
            layout.faults.push(Fault::new(partition.extent.start, scheme, what));
        }
        if let Some(other) = layout.volumes.iter().find(|v| !v.extent.intersect(extent).is_empty()) {
            let what = format!("partition {number} overlaps partition {}", other.number);
            layout.faults.push(Fault::new(extent.start, scheme, what));
        }
        let (type_name, name) = (partition.kind.clone(), partition.name.clone());
        layout.volumes.push(Volume { number, kind: VolumeKind::Partition, extent, type_name, name, past: None });
    }
    let taken: ExtentSet = layout.volumes.iter().map(|v| v.extent).collect();
    for gap in ExtentSet::new(vec![whole]).subtract(&taken).as_slice() {
        let number = u32::try_from(layout.volumes.len()).unwrap_or(u32::MAX).saturating_add(1);
        let (kind, type_name, name) = (VolumeKind::Gap, String::new(), String::new());
        layout.volumes.push(Volume { number, kind, extent: *gap, type_name, name, past: None });
    }
    layout
}
