//! UFS1 and UFS2, the fast file system of the BSDs and Solaris, of either byte order.
//!
//! Specification: FreeBSD's `sys/ufs/ffs/fs.h`, `sys/ufs/ufs/dinode.h`, `dir.h` and `extattr.h`. Deleted names are looked for in the gaps
//! of directories, deleted files in inodes that are free; most systems clear the pointers of those. Checked against
//! `makefs`, The Sleuth Kit and the corpus, see docs/VALIDATION.md.

mod attribute;
mod dir;
mod group;
mod inode;
mod map;
mod superblock;
mod walk;

use super::{Anomaly, Batch, Claim, Facts, FileSystem, Opened};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use group::Groups;
use inode::Inode;
use superblock::Superblock;
use walk::Walk;

const NAME: &str = "ufs";

/// An opened volume.
struct Ufs<'img> {
    view: View<'img>,
    sb: Superblock,
    groups: Groups,
    facts: Facts,
}

/// Claims volumes with a possible superblock, or a copy of one.
pub fn probe(view: View<'_>) -> Option<Claim> {
    let sb = Superblock::find(view)?;
    let (surety, which) = if sb.is_copy { (40, "copy of the superblock") } else { (95, "superblock") };
    let order = if sb.order.big { "big-endian" } else { "little-endian" };
    let reason = format!("a possible {order} {} {which} at byte {}", sb.name(), view.absolute(sb.at));
    Some(Claim { surety, reason })
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let none = || Fault::new(view.absolute(8192), NAME, "no possible superblock, nor a copy of it");
    let sb = Superblock::find(view).ok_or_else(none)?;
    let groups = Groups::read(view, &sb);
    let facts = facts(view, &sb, &groups);
    Ok(Box::new(Ufs { view, sb, groups, facts }))
}

fn facts(view: View<'_>, sb: &Superblock, groups: &Groups) -> Facts {
    let fault = |at: u64, what: String| Fault::new(view.absolute(at), NAME, what);
    let mut faults: Vec<Fault> = groups.wrong.iter().map(|(at, what)| fault(*at, what.clone())).collect();
    if sb.is_copy {
        faults.push(fault(
            sb.at,
            format!("the superblock is destroyed; its copy at byte {} is used", view.absolute(sb.at)),
        ));
    }
    if sb.bytes() > view.size() {
        faults.push(fault(sb.at, format!("the file system has {} bytes, its volume {}", sb.bytes(), view.size())));
    }
    let mut signs: Vec<Fault> = groups.contradictions.iter().map(|(at, what)| fault(*at, what.clone())).collect();
    // A copy is as old as the volume.
    if !sb.is_clean && !sb.is_copy {
        let how = match (sb.soft_updates, sb.journal) {
            (_, true) => "; what the journal of soft updates would finish is not applied",
            (true, false) => "; soft updates may not be finished",
            _ => "",
        };
        signs.push(fault(sb.at, format!("the volume was not unmounted{how}")));
    }
    if !sb.snapshots.is_empty() {
        let numbers: Vec<String> = sb.snapshots.iter().map(u32::to_string).collect();
        signs.push(fault(sb.at, format!("the volume has snapshots: inodes {}", numbers.join(", "))));
    }
    let anomalies = signs.into_iter().map(|sign| Anomaly { sign, extents: Vec::new() }).collect();
    let (name, label, id) = (sb.name().to_owned(), sb.label.clone(), sb.id.clone());
    Facts { name, label, id, cluster: sb.block, size: sb.bytes(), faults, anomalies }
}

impl Ufs<'_> {
    fn inode(&self, number: u32) -> Option<Inode> {
        let (at, raw) = self.sb.raw(self.view, number)?;
        Inode::parse(&self.sb, &raw, at)
    }

    fn fault(&self, at: u64, what: String) -> Fault {
        Fault::new(self.view.absolute(at), NAME, what)
    }
}

impl FileSystem for Ufs<'_> {
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

#[cfg(test)]
mod tests;
