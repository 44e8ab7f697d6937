//! F2FS, with compressed clusters, and the files and names that deletion left.
//!
//! Specification: kernel documentation "F2FS", kernel `f2fs_fs.h` for the layout. All numbers are little-endian, blocks have 4 KiB. The
//! newer whole checkpoint says which copy of each table holds; what was written after it is not replayed, and is said. Deleted files are
//! found by the nodes that are left in free space, deleted names in directories. Checked against the kernel (`tests/f2fs.rs`).

mod checkpoint;
mod checksum;
mod dir;
mod entry;
mod file;
mod lost;
mod node;
mod remains;
mod superblock;
mod table;
mod walk;
mod xattr;

use super::{Anomaly, Batch, Claim, Facts, FileSystem, Opened};
use crate::bytes::uuid;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fuel::Fuel;
use crate::image::View;
use checkpoint::Checkpoint;
use node::Inode;
use superblock::{BLOCK, Superblock};
use table::Segments;
use walk::Walk;

const NAME: &str = "f2fs";

/// The volume, its measures, and the checkpoint that holds.
struct Disk<'img> {
    view: View<'img>,
    sb: Superblock,
    checkpoint: Checkpoint,
}

/// An opened volume.
struct F2fs<'img> {
    disk: Disk<'img>,
    segments: Segments,
    facts: Facts,
}

/// Claims volumes with a possible superblock, or its copy.
pub fn probe(view: View<'_>) -> Option<Claim> {
    let sb = Superblock::find(view)?;
    Some(Claim { surety: 95, reason: format!("a possible F2FS superblock at byte {}", view.absolute(sb.at)) })
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let fault = |what: &str| Fault::new(view.absolute(0), NAME, what);
    let sb = Superblock::find(view).ok_or_else(|| fault("no possible superblock, nor its copy"))?;
    let checkpoint = Checkpoint::find(view, &sb).ok_or_else(|| fault("both checkpoints are damaged"))?;
    let disk = Disk { view, sb, checkpoint };
    let segments = Segments::read(&disk);
    let facts = facts(&disk, &segments);
    Ok(Box::new(F2fs { disk, segments, facts }))
}

impl Disk<'_> {
    /// Byte of the volume at which a live node begins.
    fn node_byte(&self, node: u32) -> Option<u64> {
        let (_, block) = self.node(node)?;
        self.sb.is_main(block).then(|| self.sb.byte(block.into()))
    }

    /// A live inode.
    fn inode(&self, number: u32) -> Option<Inode> {
        let (own, block) = self.node(number)?;
        let is_live = own == number && self.sb.is_main(block);
        self.inode_at(block.into()).filter(|inode| is_live && inode.number == number)
    }

    /// The inode that stands in a block.
    fn inode_at(&self, block: u64) -> Option<Inode> {
        let at = self.sb.byte(block);
        Inode::parse(self, self.view.read(at, BLOCK).ok()?, at)
    }

    /// Lower half of the checkpoint's version, which nodes carry.
    const fn version(&self) -> u32 {
        (self.checkpoint.version & 0xffff_ffff) as u32
    }

    fn fault(&self, at: u64, what: String) -> Fault {
        Fault::new(self.view.absolute(at), NAME, what)
    }
}

impl F2fs<'_> {
    /// Nodes that may be read for all files together.
    fn tank(&self) -> Fuel {
        let blocks = self.disk.sb.main_blocks().min(self.disk.view.size() / BLOCK);
        Fuel::new(blocks.saturating_mul(66).saturating_add(1 << 22))
    }
}

impl FileSystem for F2fs<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        Box::new(Walk::new(self))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        Box::new(self.segments.free.as_slice().iter().copied().map(Ok))
    }
}

fn facts(disk: &Disk<'_>, segments: &Segments) -> Facts {
    let (sb, view, checkpoint) = (&disk.sb, disk.view, &disk.checkpoint);
    let mut faults = Vec::new();
    let mut add = |at: u64, what: String| faults.push(disk.fault(at, what));
    if sb.at > BLOCK {
        add(0, format!("the superblock is destroyed; its copy at byte {} is used", view.absolute(sb.at)));
    }
    if !sb.sound {
        add(sb.at, "the checksum of the superblock does not fit".to_owned());
    }
    if sb.unknown() != 0 {
        add(sb.at, format!("features 0x{:x} are not known here: not all may be listed", sb.unknown()));
    }
    if sb.spread {
        add(sb.at, "it is spread over several devices: what lies on others cannot be read".to_owned());
    }
    if sb.size() > view.size() {
        add(sb.at, format!("the file system has {} bytes, its volume {}", sb.size(), view.size()));
    }
    if checkpoint.alone {
        add(checkpoint.at, "the other checkpoint is damaged, or was not finished".to_owned());
    }
    checkpoint.remarks().into_iter().for_each(|what| add(checkpoint.at, what.to_owned()));
    if segments.lost > 0 {
        add(sb.byte(sb.sit), format!("what {} segments hold cannot be read: they count as in use", segments.lost));
    }
    let what = "the two superblocks differ";
    let differs = sb.differs(view).map(|at| Anomaly { sign: disk.fault(at, what.to_owned()), extents: Vec::new() });
    Facts {
        name: "F2FS".to_owned(),
        label: sb.label.clone(),
        id: uuid(sb.uuid),
        cluster: BLOCK,
        size: sb.size(),
        faults,
        anomalies: differs.into_iter().collect(),
    }
}
