//! What is left of inodes that are gone.
//!
//! An inode that is freed loses its mode, its size and its counts; the records of its extents stay in its fork, since a
//! list without entries is not written. Where a whole chunk of inodes is given back, its blocks are not written at all any
//! more: they keep the inodes as they were last. An inode whose last name was taken while the file was open keeps all.

use super::group::State;
use super::inode::Inode;
use super::map::{Mapping, Piece, RECORD};
use super::{Disk, Xfs, dir};
use crate::extent::Extent;
use crate::fs::EntryKind;
use crate::fuel::Fuel;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};

/// Inodes that are gone and kept in memory.
const MAX: usize = 1 << 20;
/// Free space that is looked at by one worker.
const PART: u64 = 64 << 20;

/// How an inode was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// No name leads to it, but it is still in use.
    Open,
    /// It was freed: its mode and its size are gone.
    Freed,
    /// Its chunk was given back: it is whole.
    Whole,
}

/// An inode that is gone.
pub(super) struct Remain {
    pub(super) inode: Inode,
    pub(super) left: Left,
}

/// All of them.
#[derive(Default)]
pub(super) struct Remains {
    by_number: BTreeMap<u64, Remain>,
    by_half: HashMap<u32, Vec<u64>>,
    /// Blocks of names in free space, by the directory that they belonged to.
    pub(super) blocks: BTreeMap<u64, Vec<u64>>,
    /// True where there are more than are kept.
    pub(super) cut: bool,
}

impl Remains {
    /// Looks at the inodes of all chunks that have no name, and at the free blocks.
    pub(super) fn find(xfs: &Xfs<'_>, is_named: impl Fn(u64) -> bool + Sync) -> Self {
        let disk = &xfs.disk;
        let unnamed: Vec<(u64, State)> =
            xfs.groups.inodes(disk).filter(|(number, _)| !is_named(*number) && !disk.is_own(*number)).collect();
        let in_chunks = unnamed.into_par_iter().filter_map(|(number, state)| in_chunk(disk, number, state));
        let mut all: Vec<Remain> = in_chunks.collect();
        let parts: Vec<Extent> = xfs.groups.free.as_slice().iter().flat_map(|extent| parts(*extent)).collect();
        let found: Vec<InFree> = parts.into_par_iter().map(|part| InFree::find(disk, part)).collect();
        let mut blocks: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for found in found {
            all.extend(found.inodes);
            found.names.into_iter().for_each(|(owner, at)| blocks.entry(owner).or_default().push(at));
        }
        let cut = all.len() > MAX;
        all.truncate(MAX);
        let mut by_half: HashMap<u32, Vec<u64>> = HashMap::new();
        for remain in &all {
            by_half.entry(half(remain.inode.number)).or_default().push(remain.inode.number);
        }
        Self { by_number: all.into_iter().map(|remain| (remain.inode.number, remain)).collect(), by_half, blocks, cut }
    }

    /// The one that a freed name means: by its number, or by the lower half of it where no other has the same.
    pub(super) fn meant(&self, number: u64) -> Option<&Remain> {
        let by_half = || match self.by_half.get(&half(number))?.as_slice() {
            [one] if u64::from(half(number)) == number => self.by_number.get(one),
            _ => None,
        };
        self.by_number.get(&number).or_else(by_half)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Remain> {
        self.by_number.values()
    }
}

fn half(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0)
}

fn parts(extent: Extent) -> impl Iterator<Item = Extent> {
    (0..extent.len.div_ceil(PART)).map(move |part| {
        let skip = part.saturating_mul(PART);
        Extent::new(extent.start.saturating_add(skip), extent.len.saturating_sub(skip).min(PART))
    })
}

fn in_chunk(disk: &Disk<'_>, number: u64, state: State) -> Option<Remain> {
    let inode = disk.inode(number).filter(|inode| inode.own)?;
    match state {
        State::Used if inode.links == 0 && inode.kind().is_some() && !inode.is_metadata() => {
            Some(Remain { inode, left: Left::Open })
        }
        // One that was never used has no times.
        State::Free if inode.kind().is_none() && inode.times.ctime.is_some() => {
            Some(Remain { inode, left: Left::Freed })
        }
        // In use when it was last written, and free according to the table.
        State::Free if inode.kind().is_some() => Some(Remain { inode, left: Left::Whole }),
        _ => None,
    }
}

/// What stands in free blocks.
#[derive(Default)]
struct InFree {
    inodes: Vec<Remain>,
    /// Blocks of names: their owner, and where they stand.
    names: Vec<(u64, u64)>,
}

impl InFree {
    /// A block of inodes begins with one, a block of names with its magic.
    fn find(disk: &Disk<'_>, free: Extent) -> Self {
        let sb = &disk.sb;
        let mut found = Self::default();
        let mut at = free.start;
        while at.saturating_add(sb.block_size) <= free.end() {
            match disk.read(at, 4).as_deref() {
                Some([b'I', b'N', ..]) => {
                    for row in 0..sb.inodes_per_block {
                        let place = at.saturating_add(row.saturating_mul(sb.inode_size));
                        found.inodes.extend(sb.inode_at(place).and_then(|number| given_back(disk, number)));
                    }
                }
                Some([b'X', b'D', ..]) if at.saturating_add(sb.dir_block) <= free.end() => {
                    let block = disk.read(at, sb.dir_block).unwrap_or_default();
                    found.names.extend(dir::owner(disk, &block).map(|owner| (owner, at)));
                }
                _ => {}
            }
            at = at.saturating_add(sb.block_size);
        }
        found
    }
}

fn given_back(disk: &Disk<'_>, number: u64) -> Option<Remain> {
    let inode = disk.inode(number).filter(|inode| inode.own && inode.sound && !inode.is_metadata())?;
    let left = match inode.kind() {
        Some(_) => Left::Whole,
        None if inode.times.ctime.is_some() => Left::Freed,
        None => return None,
    };
    Some(Remain { inode, left })
}

impl Remain {
    /// What it was, as far as it says.
    pub(super) fn kind(&self) -> Option<EntryKind> {
        self.inode.kind()
    }

    /// Where its data lay: by its list, or by what is left of that.
    pub(super) fn map(&self, disk: &Disk<'_>, fuel: &mut Fuel) -> Mapping {
        if self.left != Left::Freed {
            return Mapping::read(disk, &self.inode.data, self.inode.number, fuel);
        }
        let area = disk.read(self.inode.data.area.start, self.inode.data.area.len).unwrap_or_default();
        let mut pieces: Vec<Piece> = Vec::new();
        for record in area.chunks_exact(RECORD) {
            let end = pieces.last().map_or(0, |last| last.offset.saturating_add(last.count));
            let Some(piece) = Piece::parse(disk, record).filter(|piece| piece.offset >= end) else { break };
            pieces.push(piece);
        }
        if pieces.is_empty() {
            return Mapping::left_tree(disk, &area, self.inode.number, fuel);
        }
        Mapping { pieces, ..Mapping::default() }
    }
}
