//! ext2, ext3 and ext4, with the names and inodes that deletion left.
//!
//! Specification: kernel documentation, "ext4 Data Structures and Algorithms". Live files are listed as a mount would
//! show them: what the journal still has to write back is taken into account, in memory only, and said. Deleted names
//! are looked for in the gaps between directory entries and in the journal's older copies of directories, deleted
//! files' lists of blocks in its older copies of inodes and of the lists themselves (ext3 and ext4 clear them). Inodes
//! that no name leads to are listed below `/$OrphanFiles` as The Sleuth Kit names them. Checked against The Sleuth Kit
//! 4.15 and the kernel's mount on the images that `tests/filesystems.rs` names, and against files that the kernel
//! deleted (`tests/deleted.rs`).

mod checksum;
mod dir;
mod entry;
mod group;
mod history;
mod inode;
mod journal;
mod lost;
mod map;
mod recover;
mod superblock;
mod walk;
mod xattr;

use super::disk::{self, Disk};
use super::{Anomaly, Batch, Claim, Facts, FileSystem, Opened};
use crate::bytes::{Fields, uuid};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fuel::Fuel;
use crate::image::View;
use group::Groups;
use history::History;
use inode::Inode;
use journal::Journal;
use std::borrow::Cow;
use superblock::Superblock;
use walk::Walk;

const NAME: &str = "ext";

/// An opened volume.
struct Ext<'img> {
    view: View<'img>,
    sb: Superblock,
    disk: Disk<'img>,
    groups: Groups<'img>,
    journal: Journal,
    history: History,
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
    let mut disk = Disk::plain(view, sb.block_size);
    let mut groups = Groups::read(&disk, &sb);
    let (mut journal, mut wrong) = read_journal(&disk, &sb, &groups);
    if !journal.replay.is_empty() {
        disk = Disk::replayed(view, sb.block_size, std::mem::take(&mut journal.replay));
        journal.add_disk(&disk, sb.block_size);
        groups = Groups::read(&disk, &sb);
    }
    let history = History::read(&disk, &sb, &groups, &journal);
    let mut facts = facts(view, &sb, &groups);
    facts.faults.extend(wrong.take().map(|what| Fault::new(view.absolute(sb.at), NAME, what)));
    facts.anomalies.extend(unwritten(&disk));
    facts.anomalies.extend(reserved(view, &sb));
    Ok(Box::new(Ext { view, sb, disk, groups, journal, history, facts }))
}

/// The journal, by its inode or by the copy of its list of blocks in the superblock; and why it could not be read.
fn read_journal(disk: &Disk<'_>, sb: &Superblock, groups: &Groups<'_>) -> (Journal, Option<String>) {
    let [number, ..] = sb.own_inodes;
    if !sb.has_journal() || number == 0 {
        return (Journal::default(), None);
    }
    let at = groups.inode_at(sb, number);
    let inode = at.and_then(|at| Inode::parse(sb, &disk.read(at, sb.inode_size)?, at));
    let read = |inode: &Inode| Journal::read(disk, sb, inode);
    let first = inode.as_ref().map_or(Err("the journal's inode cannot be read".to_owned()), read);
    let backup = || sb.journal_backup.and_then(|(block, size)| read(&inode?.with_map(block, size)).ok());
    match first {
        Ok(journal) => (journal, None),
        Err(what) => match backup() {
            Some(journal) => (journal, Some(format!("{what}; the superblock's copy of its list of blocks is used"))),
            None => (Journal::default(), Some(what)),
        },
    }
}

/// Says which blocks the journal would change.
fn unwritten(disk: &Disk<'_>) -> Option<Anomaly> {
    let mut blocks: Vec<u64> = disk.changed().collect();
    blocks.sort_unstable();
    let first = disk.place_of(*blocks.first()?);
    let what = format!(
        "the journal was not written back: {} blocks are as it holds them, from block {} on; the disk holds older ones",
        blocks.len(),
        blocks.first()?
    );
    Some(Anomaly { sign: Fault::new(disk.view.absolute(first), NAME, what), extents: Vec::new() })
}

/// Bytes in the fields of the superblock that no version uses.
fn reserved(view: View<'_>, sb: &Superblock) -> Option<Anomaly> {
    let extent = Extent::new(sb.at.saturating_add(superblock::RESERVED_AT), superblock::RESERVED_LEN);
    let bytes = view.read_up_to(extent.start, extent.len);
    let what = "bytes stand in the reserved fields of the superblock";
    let sign = Fault::new(view.absolute(extent.start), NAME, what);
    (!crate::bytes::all_zero(&bytes)).then(|| Anomaly { sign, extents: vec![extent] })
}

impl Ext<'_> {
    fn inode(&self, number: u32) -> Option<Inode> {
        let (at, raw) = self.raw_inode(number)?;
        Inode::parse(&self.sb, &raw, self.disk.place(at))
    }

    /// Where an inode stands in its table, and its bytes.
    fn raw_inode(&self, number: u32) -> Option<(u64, Cow<'_, [u8]>)> {
        let at = self.groups.inode_at(&self.sb, number)?;
        Some((at, self.disk.read(at, self.sb.inode_size)?))
    }

    /// Whether an inode's mode says that it is a directory.
    fn is_directory(&self, number: u32) -> bool {
        let Some((_, raw)) = self.raw_inode(number) else { return false };
        // All of it is touched here, in the order of the table: it is read next, in that of the names.
        std::hint::black_box(raw.iter().step_by(64).fold(0, |or, byte| or | byte));
        raw.le16(0).is_some_and(|mode| mode & 0xf000 == 0x4000) // i_mode
    }

    /// Inodes of the file system's own: journal, quotas, reserved ones.
    fn is_own(&self, number: u32) -> bool {
        number < self.sb.first_ino || self.sb.own_inodes.contains(&number)
    }

    fn fault(&self, at: u64, what: String) -> Fault {
        Fault::new(self.view.absolute(at), NAME, what)
    }

    /// Steps for all lists of blocks together: sound files share none.
    fn tank(&self) -> Fuel {
        let blocks = self.sb.blocks_count.min(self.view.size() / 512);
        Fuel::new(blocks.saturating_mul(4).saturating_add(1 << 20))
    }
}

impl FileSystem for Ext<'_> {
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

fn facts(view: View<'_>, sb: &Superblock, groups: &Groups<'_>) -> Facts {
    let size = sb.blocks_count.saturating_mul(sb.block_size);
    let mut faults = Vec::new();
    let mut add = |at: u64, what: String| faults.push(Fault::new(view.absolute(at), NAME, what));
    if sb.is_backup() {
        add(1024, format!("the superblock is destroyed; its backup at byte {} is used", view.absolute(sb.at)));
    }
    if !sb.sound {
        add(sb.at, "the checksum of the superblock does not fit".to_owned());
    }
    if size > view.size() {
        add(sb.at, format!("the file system has {size} bytes, its volume {}", view.size()));
    }
    groups.wrong.iter().for_each(|(at, what)| add(*at, what.clone()));
    let (name, label, id) = (sb.name().to_owned(), sb.label.clone(), uuid(sb.uuid));
    Facts { name, label, id, cluster: sb.block_size, size, faults, anomalies: Vec::new() }
}

#[cfg(test)]
mod tests;
