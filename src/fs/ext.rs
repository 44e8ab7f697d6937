//! ext2, ext3 and ext4, with the names and inodes that deletion left.
//!
//! Specification: kernel documentation, "ext4 Data Structures and Algorithms". Deleted names are looked for in the gaps
//! between directory entries; inodes that no name leads to are listed below `/$OrphanFiles` as The Sleuth Kit names
//! them. ext2 keeps a deleted file's list of blocks; ext3 and ext4 clear it, so that only the name is left. The journal
//! is not replayed: what is listed is what the disk holds. Checked against The Sleuth Kit 4.15 and the kernel's mount
//! on the images that `tests/filesystems.rs` names.

mod dir;
mod group;
mod inode;
mod map;
mod superblock;
mod walk;

use super::{Claim, Entry, Facts, FileSystem, Opened};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use group::Groups;
use superblock::Superblock;
use walk::Walk;

const NAME: &str = "ext";

/// An opened volume.
struct Ext<'img> {
    view: View<'img>,
    sb: Superblock,
    groups: Groups<'img>,
    facts: Facts,
}

/// Claims volumes with a possible superblock, or a backup of one.
pub fn probe(view: View<'_>) -> Option<Claim> {
    let sb = Superblock::find(view)?;
    let (surety, which) = if sb.is_backup() { (40, "backup superblock") } else { (95, "superblock") };
    let reason = format!("a possible {} {which} at byte {}", sb.name(), view.absolute(sb.at));
    Some(Claim { surety, reason })
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let none = || Fault::new(view.absolute(1024), NAME, "no possible superblock, nor a backup of it");
    let sb = Superblock::find(view).ok_or_else(none)?;
    let groups = Groups::read(view, &sb);
    let facts = facts(view, &sb, &groups);
    Ok(Box::new(Ext { view, sb, groups, facts }))
}

impl FileSystem for Ext<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Result<Entry, Fault>> + '_> {
        Box::new(Walk::new(self.view, &self.sb, &self.groups))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        Box::new(self.groups.free.as_slice().iter().copied().map(Ok))
    }
}

fn facts(view: View<'_>, sb: &Superblock, groups: &Groups<'_>) -> Facts {
    let size = sb.blocks_count.saturating_mul(sb.block_size);
    let mut faults = Vec::new();
    let mut add = |at: u64, what: String| faults.push(Fault::new(view.absolute(at), NAME, what));
    if sb.is_backup() {
        add(1024, format!("the superblock is destroyed; its backup at byte {} is used", view.absolute(sb.at)));
    }
    if size > view.size() {
        add(sb.at, format!("the file system has {size} bytes, its volume {}", view.size()));
    }
    groups.wrong.iter().for_each(|(at, what)| add(*at, what.clone()));
    let (name, label, id) = (sb.name().to_owned(), sb.label.clone(), uuid(sb.uuid));
    Facts { name, label, id, cluster: sb.block_size, size, faults, anomalies: Vec::new() }
}

fn uuid(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    parts.map(|(from, to)| hex.get(from..to).unwrap_or_default()).join("-")
}

#[cfg(test)]
mod tests;
