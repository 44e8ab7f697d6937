//! Names that are gone: in the gaps of directories, in the journal's older copies of their blocks, and in blocks of
//! deleted directories; and which of the files that are gone each of them meant.

use super::dir::{Dirent, Names};
use super::disk::Disk;
use super::history::{History, Incarnation};
use super::inode::Inode;
use super::journal::Journal;
use super::map::{self, Mapping};
use super::superblock::Superblock;
use crate::bytes::{Fields, index};
use crate::content::Run;
use crate::extent::{Extent, ExtentSet};
use crate::fs::posix::kind_of_type;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// More than the largest directory of a kernel's limits holds.
const MAX_DIRECTORY: u64 = 4 << 30;

/// A name that is not in use any more.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    pub(super) dirent: Dirent,
    /// The transactions through which it was in use, first and last; `None` where it is seen only as deleted.
    pub(super) seen: Option<(u32, u32)>,
    /// A live entry has the same name and inode: only an older file under it is lost.
    pub(super) shadowed: bool,
}

/// What a directory holds, and held.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) live: Vec<Dirent>,
    pub(super) lost: Vec<Sighting>,
    /// Byte of the volume and remark.
    pub(super) wrong: Vec<(u64, String)>,
}

/// A name in an older copy, and the transactions through which it was in use there.
type Older = (Option<(u32, u32)>, Dirent);

/// What a directory is read with.
pub(super) struct Reader<'a> {
    pub(super) disk: &'a Disk<'a>,
    pub(super) sb: &'a Superblock,
    pub(super) journal: &'a Journal,
    /// For a deleted directory: only blocks in free space may still be its own.
    pub(super) free: Option<&'a ExtentSet>,
}

impl<'a> Reader<'a> {
    /// The names of directory `number`. `seed`: what the checksums of its blocks begin with, where they are checked.
    pub(super) fn read(&self, number: u32, inode: &Inode, mapping: &Mapping, seed: Option<u32>) -> Listing {
        let mut names = Names::default();
        if inode.is_inline() {
            self.inline(inode, &mut names);
            return listing(names, Vec::new());
        }
        let mut older = Vec::new();
        for (_, run) in map::pieces(&mapping.runs, inode.size.min(MAX_DIRECTORY)) {
            let Run::Data(extent) = run else { continue };
            let bytes = self.disk.read_up_to(extent.start, extent.len);
            let places = (extent.start..).step_by(index(self.sb.block_size));
            for (block, at) in bytes.chunks(index(self.sb.block_size)).zip(places) {
                self.older(number, at, inode.is_indexed(), &mut older);
                if !self.may_be_own(number, at, block) {
                    continue;
                }
                names.take(self.sb, block, self.disk.place(at), inode.is_indexed());
                if seed.is_some_and(|seed| super::checksum::directory_holds(seed, block) == Some(false)) {
                    names.wrong.push((at, "the checksum of a directory's block does not fit".to_owned()));
                }
            }
        }
        listing(names, older)
    }

    /// Whether a block on the disk may still hold what the directory had there.
    fn may_be_own(&self, number: u32, at: u64, block: &[u8]) -> bool {
        self.free.is_none_or(|free| {
            free.touches(Extent::new(at, self.sb.block_size)) && own_number(block).is_none_or(|own| own == number)
        })
    }

    fn inline(&self, inode: &Inode, names: &mut Names) {
        // The first four bytes are the parent's inode; each stretch holds entries of its own.
        let first = inode.block_extent();
        names.take(self.sb, inode.block.get(4..).unwrap_or_default(), first.start.saturating_add(4), false);
        if let Some(rest) = inode.inline_rest {
            names.take(self.sb, &self.disk.view.read_up_to(rest.start, rest.len), rest.start, false);
        }
    }

    /// The names in the journal's copies of the block at byte `at`. What a copy shows held until the next copy.
    fn older(&self, directory: u32, at: u64, indexed: bool, out: &mut Vec<Older>) {
        let copies = self.journal.of(at.checked_div(self.sb.block_size).unwrap_or(0));
        let ends = copies.iter().skip(1).map(|next| next.sequence.saturating_sub(1)).chain([u32::MAX]);
        for (copy, end) in copies.iter().zip(ends) {
            let Ok(bytes) = self.disk.view.read(copy.place, self.sb.block_size) else { continue };
            if own_number(&bytes).is_some_and(|own| own != directory) {
                continue;
            }
            let mut names = Names::default();
            names.take(self.sb, &bytes, copy.place, indexed);
            // What is no directory's block was another file's.
            if names.wrong.is_empty() {
                let held = (copy.sequence, end.max(copy.sequence));
                out.extend(names.found.into_iter().map(|dirent| ((!dirent.deleted).then_some(held), dirent)));
            }
        }
    }

    /// Free blocks that begin one of the `wanted` directories, by inode number.
    pub(super) fn strays(&self, free: &ExtentSet, wanted: &HashSet<u32>) -> HashMap<u32, Extent> {
        const FLEX: u64 = 16;
        let near = |number: &u32| super::history::neighbourhood(self.sb, *number, FLEX);
        let hoods: HashSet<u64> = wanted.iter().map(near).collect();
        let hood_size = self.sb.blocks_per_group.saturating_mul(FLEX).saturating_mul(self.sb.block_size).max(1);
        let mut found = HashMap::new();
        for extent in free.as_slice() {
            let blocks = (extent.start..extent.end()).step_by(index(self.sb.block_size));
            for at in blocks.filter(|at| hoods.contains(&at.checked_div(hood_size).unwrap_or(0))) {
                let head = self.disk.view.read_up_to(at, 24);
                if let Some(number) = own_number(&head).filter(|number| wanted.contains(number)) {
                    found.entry(number).or_insert(Extent::new(at, self.sb.block_size));
                }
            }
        }
        found
    }
}

/// The directory's own number, in a block that begins with `.` and `..`.
fn own_number(block: &[u8]) -> Option<u32> {
    let dot = block.le16(4)? == 12 && block.byte(6)? == 1 && block.byte(8)? == b'.';
    let dots = block.byte(18)? == 2 && block.span(20, 2)? == b"..";
    (dot && dots).then(|| block.le32(0)).flatten()
}

/// Live names, and the lost ones, each once.
fn listing(names: Names, older: Vec<Older>) -> Listing {
    let (found, wrong) = names.finish();
    let (lost, live): (Vec<Dirent>, Vec<Dirent>) = found.into_iter().partition(|d| d.deleted);
    if lost.is_empty() && older.is_empty() {
        return Listing { live, lost: Vec::new(), wrong };
    }
    let on_disk = lost.into_iter().map(|dirent| (None, dirent));
    let named = |d: &Dirent| !matches!(d.name.as_str(), "." | "..");
    let all: Vec<Older> = on_disk.chain(older).filter(|(_, dirent)| named(dirent)).collect();
    let mut lost = sightings(&live, all);
    // A name whose inode was cleared says less than its copies.
    if lost.iter().any(|s| s.dirent.inode == 0) {
        let complete = lost.iter().filter(|s| s.dirent.inode != 0).map(|s| s.dirent.name.clone());
        let complete: HashSet<String> = complete.collect();
        lost.retain(|s| s.dirent.inode != 0 || !complete.contains(&s.dirent.name));
    }
    Listing { live, lost, wrong }
}

/// The lost names, each once: where it stands first, with all transactions through which it was in use.
fn sightings(live: &[Dirent], all: Vec<Older>) -> Vec<Sighting> {
    fn key(dirent: &Dirent) -> (&str, u32) {
        (&dirent.name, dirent.inode)
    }
    let living: HashSet<_> = live.iter().map(key).collect();
    let (mut rows, mut firsts): (HashMap<_, usize>, Vec<First>) = (HashMap::new(), Vec::new());
    for (at, (seen, dirent)) in all.iter().enumerate() {
        let row = *rows.entry(key(dirent)).or_insert(firsts.len());
        match firsts.get_mut(row) {
            Some(known) => known.seen = join(known.seen, *seen),
            None => firsts.push(First { at, seen: *seen, shadowed: living.contains(&key(dirent)) }),
        }
    }
    let (mut firsts, mut at) = (firsts.into_iter().peekable(), 0usize..);
    let sighting = |(_, dirent): Older| {
        let here = at.next();
        let First { seen, shadowed, .. } = firsts.next_if(|first| Some(first.at) == here)?;
        Some(Sighting { dirent, seen, shadowed })
    };
    all.into_iter().filter_map(sighting).collect()
}

/// Where a lost name stands first.
struct First {
    at: usize,
    seen: Option<(u32, u32)>,
    shadowed: bool,
}

fn join(one: Option<(u32, u32)>, other: Option<(u32, u32)>) -> Option<(u32, u32)> {
    match (one, other) {
        (Some((first, last)), Some((from, to))) => Some((first.min(from), last.max(to))),
        (one, other) => one.or(other),
    }
}

/// Which of the files that are gone a name meant: the last one of its inode that was there when the name was; of names
/// that only the disk shows, the last one that `taken` does not know.
pub(super) fn meant<'h>(
    history: &'h History,
    inode_of: impl Fn(&Incarnation) -> Option<Inode>,
    sighting: &Sighting,
    taken: impl Fn(usize) -> bool,
) -> Option<(usize, &'h Incarnation, Inode)> {
    let fits = |(row, lost): (usize, &'h Incarnation)| {
        let then = match sighting.seen {
            Some((first, last)) => lost.first <= last && first < lost.gone,
            None => !taken(row),
        };
        let inode = inode_of(lost).filter(|inode| then && agrees(&sighting.dirent, inode))?;
        Some((row, lost, inode))
    };
    history.of(sighting.dirent.inode).rev().find_map(fits)
}

/// Whether a name fits the inode that it names.
fn agrees(dirent: &Dirent, inode: &Inode) -> bool {
    let known = dirent.file_type != 0 && inode.mode != 0;
    inode.used && (!known || inode.kind() == Some(kind_of_type(dirent.file_type)))
}

/// The bytes of an incarnation's inode.
pub(super) fn raw<'a>(disk: &Disk<'a>, sb: &Superblock, lost: &Incarnation) -> Option<Cow<'a, [u8]>> {
    disk.view.read(lost.at, sb.inode_size).ok()
}
