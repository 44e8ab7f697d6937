//! btrfs: the volume's own tree of files, its subvolumes and snapshots, and what older blocks of these trees still tell.
//!
//! Specification: btrfs documentation, "On-disk Format"; kernel `btrfs_tree.h` for the names of fields. Nothing is written
//! in place: a deleted file's items stand in blocks that are free now, until these are used again. Checked against the
//! kernel's mount and the corpus (`tests/filesystems.rs`, `tests/btrfs.rs`, `tests/deleted.rs`).

mod checksum;
mod chunk;
mod entry;
mod file;
mod item;
mod lost;
mod node;
mod space;
mod subvolume;
mod sums;
mod superblock;
mod tree;
mod walk;

use super::{Anomaly, Batch, Claim, Facts, FileSystem, Opened};
use crate::bytes::uuid;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fuel::Fuel;
use crate::image::View;
use chunk::Chunks;
use node::Key;
use space::Space;
use std::sync::Arc;
use subvolume::Subvolumes;
use sums::Table;
use superblock::{Root, Superblock};
use tree::Tree;
use walk::Walk;

const NAME: &str = "btrfs";
/// Remarks on the volume that are told.
const MAX_WRONG: usize = 1000;

/// The volume, its measures, and where its addresses stand.
struct Disk<'img> {
    view: View<'img>,
    sb: Arc<Superblock>,
    chunks: Arc<Chunks>,
}

/// An opened volume.
struct Btrfs<'img> {
    disk: Disk<'img>,
    subvolumes: Subvolumes,
    has_snapshots: bool,
    space: Space,
    sums: Arc<Table>,
    facts: Facts,
}

/// Claims volumes with a possible superblock.
pub fn probe(view: View<'_>) -> Option<Claim> {
    let sb = Superblock::find(view)?;
    let surety = match (sb.sound, sb.at == superblock::PLACES[0]) {
        (true, true) => 95,
        (true, false) => 40,
        _ => 50,
    };
    Some(Claim { surety, reason: format!("a possible btrfs superblock at byte {}", view.absolute(sb.at)) })
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let none = || Fault::new(view.absolute(superblock::PLACES[0]), NAME, "no possible superblock");
    let sb = Superblock::find(view).ok_or_else(none)?;
    let (chunks, known) = Chunks::system((sb.device, sb.device_uuid), &sb.system);
    let mut disk = Disk { view, sb: Arc::new(sb), chunks: Arc::new(chunks) };
    let mut wrong: Vec<(u64, String)> = Vec::new();
    if !known {
        wrong.push((disk.sb.at, "the superblock's table of chunks is damaged".to_owned()));
    }
    let mut fuel = disk.tank();
    let tree = Tree::read(&disk, disk.sb.chunks, &mut fuel);
    let mut found = Vec::new();
    tree.each(&disk, Key::default(), &mut |key, at, item| {
        if key.kind == chunk::ITEM {
            found.push((key.offset, at, item.to_vec()));
        }
        true
    });
    for (logical, at, item) in found {
        if !Arc::make_mut(&mut disk.chunks).add(logical, &item) {
            wrong.push((at, format!("the chunk of address {logical} is damaged, or overlaps another")));
        }
    }
    let roots = Tree::read(&disk, disk.sb.roots, &mut fuel);
    let extents = root(&disk, &roots, item::EXTENT_TREE).map(|root| Tree::read(&disk, root, &mut fuel));
    let extents = extents.unwrap_or_default();
    if !extents.whole {
        wrong.push((0, "the tree of extents is damaged: free space in chunks is not known".to_owned()));
    }
    let all = [("chunks", &tree), ("trees", &roots), ("extents", &extents)];
    let told = all
        .into_iter()
        .flat_map(|(name, tree)| tree.wrong.iter().map(move |(at, what)| (*at, format!("tree of {name}: {what}"))));
    wrong.extend(told);
    let subvolumes = Subvolumes::read(&disk, &roots);
    let space = Space::read(&disk, &extents);
    let sums =
        root(&disk, &roots, item::CHECKSUM_TREE).map(|root| Tree::read(&disk, root, &mut fuel)).unwrap_or_default();
    let told = sums.wrong.iter().map(|(at, what)| (*at, format!("tree of checksums: {what}")));
    wrong.extend(told);
    let sums = Arc::new(Table { sb: Arc::clone(&disk.sb), chunks: Arc::clone(&disk.chunks), tree: sums });
    let facts = facts(&disk, &wrong);
    let has_snapshots = subvolumes.has_snapshots();
    Ok(Box::new(Btrfs { disk, subvolumes, has_snapshots, space, sums, facts }))
}

/// Where a tree begins, as the tree of trees says.
fn root(disk: &Disk<'_>, roots: &Tree, id: u64) -> Option<Root> {
    tree::root_of(&roots.first(disk, id, item::ROOT)?.1)
}

impl Disk<'_> {
    fn fault(&self, at: u64, what: String) -> Fault {
        Fault::new(self.view.absolute(at), NAME, what)
    }

    /// Blocks of trees that may be read: snapshots share them, but not so often.
    fn tank(&self) -> Fuel {
        Fuel::new((self.view.size() / 4096).saturating_mul(16).saturating_add(1 << 20))
    }
}

impl Btrfs<'_> {
    fn tank(&self) -> Fuel {
        self.disk.tank()
    }
}

impl FileSystem for Btrfs<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        Box::new(Walk::new(self))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        Box::new(self.space.device.as_slice().iter().copied().map(Ok))
    }
}

fn facts(disk: &Disk<'_>, wrong: &[(u64, String)]) -> Facts {
    let (sb, view) = (&disk.sb, disk.view);
    let mut faults = Vec::new();
    let mut add = |at: u64, what: String| faults.push(disk.fault(at, what));
    if sb.at != superblock::PLACES[0] {
        add(
            superblock::PLACES[0],
            format!("the superblock is destroyed; its copy at byte {} is used", view.absolute(sb.at)),
        );
    }
    if !sb.sound {
        add(sb.at, "the checksum of the superblock does not fit".to_owned());
    }
    if sb.unknown != 0 {
        add(sb.at, format!("features 0x{:x} are not known here: not all may be listed", sb.unknown));
    }
    if sb.devices > 1 {
        let what = "what lies on the others is missing, and a fault of what needs it";
        add(sb.at, format!("this is device {} of {}: {what}", sb.device, sb.devices));
    }
    if sb.device_size > view.size() {
        add(sb.at, format!("the device has {} bytes, its volume {}", sb.device_size, view.size()));
    }
    wrong.iter().take(MAX_WRONG).for_each(|(at, what)| add(*at, what.clone()));
    let mut anomalies: Vec<(u64, String)> = sb.differences(view);
    if sb.log != 0 {
        let what = "changes that were written out before their transaction was complete stand in a tree of their own, \
                    which is not replayed: what is listed is as the last transaction left it";
        anomalies.push((sb.at, what.to_owned()));
    }
    let anomaly = |(at, what)| Anomaly { sign: disk.fault(at, what), extents: Vec::new() };
    Facts {
        name: NAME.to_owned(),
        label: sb.label.clone(),
        id: uuid(sb.fsid),
        cluster: sb.sector,
        size: sb.device_size.min(if sb.devices == 1 { sb.total } else { u64::MAX }),
        faults,
        anomalies: anomalies.into_iter().map(anomaly).collect(),
    }
}

#[cfg(test)]
mod tests;
