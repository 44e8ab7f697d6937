//! What inodes were before: every file that an inode number stood for and that is gone, out of the journal's copies of
//! the inode tables and the tables themselves.
//!
//! Deletion clears the list of blocks (ext3, ext4), but the journal holds the block of the table as it was before. The
//! copies of one inode, oldest first, fall into incarnations: `i_generation` and the time of creation change when the
//! number is used for another file. Of each incarnation the last copy is kept that still says where its content lies.

use super::disk::Disk;
use super::group::Groups;
use super::inode::Inode;
use super::journal::{Copy, Journal};
use super::superblock::Superblock;
use crate::time::Timestamp;
use rayon::prelude::*;

/// In a live inode of the list of orphans `i_dtime` is the number of the next: no inode number is so high.
const FIRST_DTIME: i64 = 100_000_000;

/// A file that is gone.
#[derive(Clone, Debug)]
pub(super) struct Incarnation {
    pub(super) number: u32,
    pub(super) generation: u32,
    /// Where the copy that tells most stands, in bytes of the volume.
    pub(super) at: u64,
    /// The transaction of that copy; `None` for the table itself.
    pub(super) sequence: Option<u32>,
    /// The first transaction that shows it …
    pub(super) first: u32,
    /// … and the one that shows it deleted; `u32::MAX` where only the table does.
    pub(super) gone: u32,
    /// When it was deleted.
    pub(super) deleted: Option<Timestamp>,
    /// True where the journal has every change between the copy and the deletion.
    pub(super) exact: bool,
    /// True where it was empty in the end, and the copy is from before that.
    pub(super) emptied: bool,
    /// The table still holds what deletion left of it.
    pub(super) in_table: bool,
    /// Its last name was taken while it was open: its blocks are still its own.
    pub(super) open: bool,
}

/// All files that are gone and left an inode, by inode number, the oldest first.
#[derive(Default)]
pub(super) struct History(Vec<Incarnation>);

impl History {
    pub(super) fn read(disk: &Disk<'_>, sb: &Superblock, groups: &Groups<'_>, journal: &Journal) -> Self {
        let groups_of = (0..groups.count()).into_par_iter();
        let found: Vec<_> = groups_of.map(|group| Self::of_group(disk, sb, groups, journal, group)).collect();
        Self(found.into_iter().flatten().collect())
    }

    /// What a group's inodes were.
    fn of_group(
        disk: &Disk<'_>,
        sb: &Superblock,
        groups: &Groups<'_>,
        journal: &Journal,
        group: u32,
    ) -> Vec<Incarnation> {
        let (mut all, mut last): (Vec<Incarnation>, (u64, &[Copy])) = (Vec::new(), (u64::MAX, &[]));
        let per_block = sb.block_size.checked_div(sb.inode_size).unwrap_or(1).max(1);
        for number in groups.written_in(sb, group) {
            let Some(at) = groups.inode_at(sb, number) else { continue };
            let block = at.checked_div(sb.block_size).unwrap_or(0);
            if last.0 != block {
                last = (block, journal.of(block));
            }
            let copies = last.1;
            let used = groups.inode_used(sb, number) != Some(false);
            // Most inodes are live and have no past.
            if copies.is_empty() && used {
                continue;
            }
            let row = u64::from(number).saturating_sub(1).checked_rem(u64::from(sb.inodes_per_group)).unwrap_or(0);
            let within = row.checked_rem(per_block).unwrap_or(0).saturating_mul(sb.inode_size);
            let mut life = Life { number, journal, current: None, done: &mut all };
            life.follow(disk, sb, copies, within);
            life.end(disk, sb, at, used);
        }
        all
    }

    /// The incarnations of an inode number, each with its row.
    pub(super) fn of(&self, number: u32) -> impl DoubleEndedIterator<Item = (usize, &Incarnation)> {
        let from = self.0.partition_point(|i| i.number < number);
        let rest = self.0.get(from..).unwrap_or_default();
        let len = rest.partition_point(|i| i.number == number);
        (from..).zip(rest.get(..len).unwrap_or_default()).collect::<Vec<_>>().into_iter()
    }

    /// All of them, each with its row.
    pub(super) fn all(&self) -> impl Iterator<Item = (usize, &Incarnation)> {
        self.0.iter().enumerate()
    }
}

/// The incarnation that is followed, and what tells it from the next.
struct Current {
    seen: Incarnation,
    btime: Option<Timestamp>,
    mapped: bool,
    is_gone: bool,
}

/// One inode number through time.
struct Life<'a> {
    number: u32,
    journal: &'a Journal,
    current: Option<Current>,
    done: &'a mut Vec<Incarnation>,
}

impl Life<'_> {
    /// Takes the journal's copies of the inode that stands `within` its block.
    fn follow(&mut self, disk: &Disk<'_>, sb: &Superblock, copies: &[Copy], within: u64) {
        let mut last: &[u8] = &[];
        let mut raws = Vec::with_capacity(copies.len());
        for copy in copies {
            let place = copy.place.saturating_add(within);
            raws.extend(disk.view.read(place, sb.inode_size).ok().map(|raw| (copy.sequence, place, raw)));
        }
        for (sequence, place, raw) in &raws {
            // Most copies of a block were made for another inode's sake.
            if raw.as_ref() == last {
                continue;
            }
            last = raw;
            if let Some(inode) = Inode::parse(sb, raw, *place) {
                self.see(&inode, Some(*sequence));
            }
        }
    }

    /// Takes the inode as the table has it; `used`: the bitmap says that it is in use.
    fn end(&mut self, disk: &Disk<'_>, sb: &Superblock, at: u64, used: bool) {
        let raw = disk.read(at, sb.inode_size);
        if let Some(inode) = raw.and_then(|raw| Inode::parse(sb, &raw, disk.place(at))) {
            self.see(&inode, None);
            // The last one is no past.
            let unlinked = used && inode.links == 0 && inode.has_map();
            if unlinked && let Some(current) = self.current.as_mut() {
                current.take(&inode, None);
                (current.seen.open, current.seen.in_table) = (true, true);
            } else if used && inode.kind().is_some() {
                self.current = None;
            } else if let Some(current) = self.current.as_mut() {
                current.seen.in_table = true;
            }
        }
        self.close(u32::MAX);
    }

    fn see(&mut self, inode: &Inode, sequence: Option<u32>) {
        let order = sequence.unwrap_or(u32::MAX);
        if !inode.used {
            return self.close(order);
        }
        let alive = inode.links > 0 && inode.kind().is_some();
        let same = |c: &Current| {
            c.seen.generation == inode.generation && c.btime == inode.times.btime && !(alive && c.is_gone)
        };
        if !self.current.as_ref().is_some_and(same) {
            self.close(order);
            self.current = Some(self.begin(inode, sequence));
        }
        let Some(current) = self.current.as_mut() else { return };
        if inode.has_map() && (alive || !current.mapped) {
            current.take(inode, sequence);
        } else if alive {
            current.seen.emptied = current.mapped;
        }
        if !alive {
            if !current.is_gone {
                current.seen.gone = order;
            }
            current.is_gone = true;
            current.seen.deleted = inode.times.dtime.filter(|t| t.seconds > FIRST_DTIME).or(current.seen.deleted);
        }
    }

    fn begin(&self, inode: &Inode, sequence: Option<u32>) -> Current {
        let seen = Incarnation {
            number: self.number,
            generation: inode.generation,
            at: inode.at,
            sequence,
            first: sequence.unwrap_or(u32::MAX),
            gone: u32::MAX,
            deleted: None,
            exact: false,
            emptied: false,
            in_table: false,
            open: false,
        };
        Current { seen, btime: inode.times.btime, mapped: inode.has_map(), is_gone: false }
    }

    /// Ends the incarnation that is followed: another, or nothing, was seen at `order`.
    fn close(&mut self, order: u32) {
        let Some(mut current) = self.current.take() else { return };
        let seen = &mut current.seen;
        if !current.is_gone {
            seen.gone = order;
        }
        seen.deleted = seen.deleted.or_else(|| self.journal.time(seen.gone));
        let known = seen.sequence.is_some_and(|from| seen.gone < u32::MAX && self.journal.is_gapless(from, seen.gone));
        seen.exact = known && !seen.emptied;
        self.done.push(current.seen);
    }
}

impl Current {
    /// Takes a copy that tells more, or later.
    fn take(&mut self, inode: &Inode, sequence: Option<u32>) {
        self.mapped = true;
        self.seen.at = inode.at;
        self.seen.sequence = sequence;
        self.seen.emptied = false;
    }
}

/// The number of an inode's group, counted in groups of `flex`.
pub(super) fn neighbourhood(sb: &Superblock, number: u32, flex: u64) -> u64 {
    let group = u64::from(number.saturating_sub(1)).checked_div(u64::from(sb.inodes_per_group)).unwrap_or(0);
    group.checked_div(flex).unwrap_or(0)
}
