//! What lies where on a disk: partitions, and the gaps before, between and behind them, so that no byte of the disk
//! belongs to nobody.
//!
//! A scheme is one file below `volume/` and one row of [`crate::registry::SCHEMES`] or, where it divides a partition,
//! of [`crate::registry::SLICES`]. It only reads its table; `parts` has the numbering, the gaps and the checks that all tables share.
//! A volume manager is one file and one row of [`crate::registry::MANAGERS`]: it says which stretches of which volumes make
//! another one, and `assemble` makes it.

pub mod apm;
mod assemble;
pub mod atari;
pub mod bitlocker;
pub mod bsd;
pub mod copies;
mod crypt;
pub mod gpt;
pub mod luks;
pub mod lvm2;
pub mod mbr;
pub mod md;
pub mod open;
mod parts;
mod raid;
mod stretches;
pub mod sun;
pub mod vault;
pub mod vss;

use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::image::derived::Rebuilt;
use crate::image::mapped::{Mapped, Mapping, Piece};
use crate::image::{Kind, View};
use crate::time::Timestamp;
pub use raid::{Computed, Parity};
use std::collections::BTreeSet;
use std::sync::Arc;

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
    let is_disk = volume.image().kind() != Kind::Folder;
    crate::registry::KEEPERS.iter().filter(|_| is_disk).flat_map(kept).collect()
}

/// A stretch of an assembled volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where it begins in the volume, in bytes.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// Row of the member that holds it, and where in that; none for zeros that stand nowhere.
    pub place: Option<(usize, u64)>,
}

/// A volume that a volume manager makes of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// What tells it from all others: a UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is: `linear`, `RAID 5, 3 members`.
    pub type_name: String,
    /// Size in bytes.
    pub size: u64,
    /// Where its bytes stand; what no stretch holds is zeros. None where they are not all known.
    pub stretches: Option<Vec<Stretch>>,
    /// What stands nowhere and is computed out of what other members have.
    pub computed: Vec<Computed>,
    /// Where some of its bytes stand a second time.
    pub copies: Vec<Stretch>,
    /// Where members keep parity, and all that it was made of.
    pub parities: Vec<Parity<Stretch>>,
    /// What of its members belongs to it besides: copies, parity, its own structures.
    pub covers: Vec<(usize, Extent)>,
    /// Of an earlier time of another one: its id, and when that was.
    pub past: Option<(String, Option<Timestamp>)>,
    /// What is damaged, missing or contradicts itself.
    pub faults: Vec<Fault>,
}

/// A row of the table of volume managers.
pub struct Manager {
    /// Its name: `lvm2`, `md`.
    pub name: &'static str,
    /// What it makes of the volumes of a disk. It is asked again when its and others' volumes have been added.
    pub read: fn(&[View<'_>]) -> Vec<Assembled>,
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
    /// Made of others by a volume manager.
    Assembled,
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
            Self::Assembled => "assembled",
            Self::Snapshot => "snapshot",
        }
    }
}

/// Where the bytes of a volume stand that are not one stretch of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Its bytes, in bytes of the view at [`Volume::extent`].
    pub mapping: Mapping,
    /// Size in bytes.
    pub size: u64,
    /// Numbers of the volumes that it is made of.
    pub of: Vec<u32>,
}

/// A stretch of the disk with a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its number: `vol1`, `vol2` … for partitions in the order of the table; gaps are numbered behind them, then what
    /// volume managers make of them.
    pub number: u32,
    /// What it is.
    pub kind: VolumeKind,
    /// Where it lies in the image; of one whose bytes stand scattered, what these are counted from.
    pub extent: Extent,
    /// The table's type, as in [`Partition::kind`].
    pub type_name: String,
    /// The table's name for it.
    pub name: String,
    /// Of an earlier time: of which volume, and when that was.
    pub past: Option<(u32, Option<Timestamp>)>,
    /// Where its bytes stand; none where they are `extent`, in order.
    pub parts: Option<Arc<Parts>>,
}

impl Volume {
    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.parts.as_ref().map_or(self.extent.len, |parts| parts.size)
    }

    /// Where its first byte stands in the image; of an earlier time, where that of the volume does.
    pub fn first(&self) -> u64 {
        let parts = self.parts.as_ref().filter(|_| self.kind == VolumeKind::Assembled);
        let within = parts.and_then(|parts| parts.mapping.place(0)).unwrap_or(0);
        self.extent.start.saturating_add(within)
    }

    /// Gives the volume's bytes to `read`.
    pub fn with<T>(&self, disk: View<'_>, read: impl FnOnce(View<'_>) -> T) -> T {
        let base = disk.sub(self.extent);
        match &self.parts {
            None => read(base),
            Some(parts) => read(View::whole(&Mapped::new(base, &parts.mapping, parts.size))),
        }
    }
}

/// The disk, divided.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// The scheme's name; `None` without a table.
    pub scheme: Option<&'static str>,
    /// Bytes of a sector; 512 where nothing says otherwise.
    pub sector: u64,
    /// Partitions, then gaps, then what volume managers make.
    pub volumes: Vec<Volume>,
    /// Where the partition tables themselves lie.
    pub metadata: ExtentSet,
    /// Numbers of the volumes of which others are made.
    pub members: BTreeSet<u32>,
    /// What of members belongs to the volumes made of them: their bytes, copies and parity.
    pub covered: ExtentSet,
    /// Numbers of volumes, and where some of their bytes stand a second time, in bytes of the image.
    pub copies: Vec<(u32, Vec<Piece>)>,
    /// Numbers of volumes, and where their members keep parity, in bytes of the image.
    pub parities: Vec<(u32, Parity<Piece>)>,
    /// Bytes of assembled volumes that must be computed: of each its id, and lengths with the places of what they are
    /// computed of.
    pub computed: Vec<Rebuilt>,
    /// What is damaged or contradicts itself.
    pub faults: Vec<Fault>,
}

/// Divides a disk. The first scheme that reads a table decides; a disk without one is a single volume. Volume managers
/// then put volumes together, and these may hold tables and volumes of managers again.
pub fn divide(disk: View<'_>) -> Layout {
    let mut layout = parts::divide(disk);
    if disk.image().kind() != Kind::Folder {
        assemble::add(disk, &mut layout);
    }
    layout
}
