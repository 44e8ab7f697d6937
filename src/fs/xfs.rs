//! XFS, versions 4 and 5, with the names and inodes that deletion left.
//!
//! Specification: "XFS Algorithms & Data Structures" (SGI, Red Hat), kernel documentation "XFS Self Describing Metadata",
//! kernel `xfs_format.h` for the names of fields. All numbers but checksums are big-endian. The log is not replayed: the
//! listing is as the disk holds it, and what may be left in the log is said. Deleted names are looked for in the gaps of
//! directories, deleted files in inodes that are free and in chunks of inodes that were given back. Checked against the
//! kernel's mount and the corpus (`tests/filesystems.rs`, `tests/xfs.rs`, `tests/deleted.rs`).

mod checksum;
mod dir;
mod entry;
mod group;
mod inode;
mod log;
mod lost;
mod map;
mod remains;
mod superblock;
mod tree;
mod walk;
mod xattr;

use super::{Anomaly, Batch, Claim, Facts, FileSystem, Opened};
use crate::bytes::uuid;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fuel::Fuel;
use crate::image::View;
use group::Groups;
use inode::Inode;
use std::borrow::Cow;
use superblock::Superblock;
use walk::Walk;

const NAME: &str = "xfs";
/// Remarks on the groups that are told.
const MAX_WRONG: usize = 1000;

/// The volume and its measures.
struct Disk<'img> {
    view: View<'img>,
    sb: Superblock,
}

/// An opened volume.
struct Xfs<'img> {
    disk: Disk<'img>,
    groups: Groups,
    facts: Facts,
}

/// Claims volumes with a possible superblock, or a copy of one.
pub fn probe(view: View<'_>) -> Option<Claim> {
    let sb = Superblock::find(view)?;
    let (surety, which) = if sb.at > 0 { (40, "copy of a superblock") } else { (95, "superblock") };
    let reason = format!("a possible XFS {which} at byte {}", view.absolute(sb.at));
    Some(Claim { surety, reason })
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let none = || Fault::new(view.absolute(0), NAME, "no possible superblock, nor a copy of it");
    let sb = Superblock::find(view).ok_or_else(none)?;
    let mut disk = Disk { view, sb };
    let groups = Groups::read(&disk);
    let first = groups.chunks().next().and_then(|(group, chunk)| disk.sb.inode_number(group, chunk.first.into()));
    if let Some(first) = first {
        disk.sb.complete(first);
    }
    let facts = facts(&disk, &groups);
    Ok(Box::new(Xfs { disk, groups, facts }))
}

impl<'img> Disk<'img> {
    fn read(&self, at: u64, len: u64) -> Option<Cow<'img, [u8]>> {
        self.view.read(at, len).ok()
    }

    fn inode(&self, number: u64) -> Option<Inode> {
        let at = self.sb.inode_byte(number)?;
        Inode::parse(&self.sb, &self.read(at, self.sb.inode_size)?, at, number)
    }

    /// Inodes of the file system's own: realtime bitmap and summary, quotas.
    fn is_own(&self, number: u64) -> bool {
        self.sb.own_inodes.contains(&number)
    }

    fn fault(&self, at: u64, what: String) -> Fault {
        Fault::new(self.view.absolute(at), NAME, what)
    }
}

impl Xfs<'_> {
    /// Steps for the extents of all files together. Files may share blocks; more than this is no sound volume.
    fn tank(&self) -> Fuel {
        let blocks = self.disk.sb.blocks.min(self.disk.view.size() / 512);
        Fuel::new(blocks.saturating_mul(8).saturating_add(1 << 22))
    }
}

impl FileSystem for Xfs<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        Box::new(Walk::new(self))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        Box::new(self.groups.free.as_slice().iter().copied().map(Ok))
    }
}

fn facts(disk: &Disk<'_>, groups: &Groups) -> Facts {
    let (sb, view) = (&disk.sb, disk.view);
    let mut faults = Vec::new();
    let mut add = |at: u64, what: String| faults.push(disk.fault(at, what));
    if sb.at > 0 {
        add(0, format!("the superblock is destroyed; its copy at byte {} is used", view.absolute(sb.at)));
    }
    if !sb.sound {
        add(sb.at, "the checksum of the superblock does not fit".to_owned());
    }
    if sb.unknown != 0 {
        add(sb.at, format!("features 0x{:x} are not known here: not all may be listed", sb.unknown));
    }
    if sb.size() > view.size() {
        add(sb.at, format!("the file system has {} bytes, its volume {}", sb.size(), view.size()));
    }
    if log::end(disk) == log::End::Unknown {
        add(sb.at, "the log cannot be read or lies elsewhere: changes may be left in it".to_owned());
    }
    groups.wrong.iter().take(MAX_WRONG).for_each(|(at, what)| add(*at, what.clone()));
    Facts {
        name: "XFS".to_owned(),
        label: sb.label.clone(),
        id: uuid(sb.uuid),
        cluster: sb.block_size,
        size: sb.size(),
        faults,
        anomalies: anomalies(disk),
    }
}

/// Copies of the superblock that differ, and changes that stand in the log.
fn anomalies(disk: &Disk<'_>) -> Vec<Anomaly> {
    let differences = disk.sb.differences(disk.view).into_iter();
    let open = match log::end(disk) {
        log::End::Open(at) => {
            let what = "the volume was not unmounted: the log may hold changes that were not written back, and is not \
                        replayed; what is listed is as the disk holds it";
            Some((at, what.to_owned()))
        }
        _ => None,
    };
    let all = differences.chain(open);
    all.map(|(at, what)| Anomaly { sign: disk.fault(at, what), extents: Vec::new() }).collect()
}

#[cfg(test)]
mod tests;
