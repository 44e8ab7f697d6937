//! Where a file's content lies: blocks and fragments that the inode names, and blocks of pointers of up to three levels.
//!
//! FreeBSD `sys/ufs/ffs/ffs_balloc.c` and `ffs_subr.c`: the last block of a small file is as many fragments as it needs.

use super::inode::{DIRECT, Inode};
use super::superblock::Superblock;
use crate::content::Run;
use crate::extent::{Extent, ExtentSet};
use crate::fs::pieces;
use crate::fuel::Fuel;
use crate::image::View;

/// Pointers of a snapshot: a block that is still as it was, and one of the snapshot itself.
const SAME: u64 = 1;
const OWN: u64 = 2;

/// Where it lies.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    pub(super) runs: Vec<Run>,
    pub(super) wrong: Option<String>,
    /// Of a snapshot: bytes that the volume has as they were.
    pub(super) unchanged: u64,
    /// Blocks of pointers.
    pub(super) lists: Vec<Extent>,
}

impl Mapping {
    /// Where the bytes lie.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        pieces::extents(&self.runs)
    }

    fn push(&mut self, run: Run) {
        pieces::push(&mut self.runs, run);
    }
}

/// Reads the lists of inodes.
pub(super) struct Mapper<'a, 'img> {
    pub(super) view: View<'img>,
    pub(super) sb: &'a Superblock,
    /// For deleted files: blocks of pointers outside of free space are others' now.
    pub(super) free: Option<&'a ExtentSet>,
}

/// What a walk over an inode's pointers carries.
struct Walk<'m> {
    mapping: &'m mut Mapping,
    /// Bytes that are still to come, with the rest of the last fragment.
    left: u64,
    is_snapshot: bool,
    fuel: &'m mut Fuel,
}

impl Mapper<'_, '_> {
    /// The content of an inode. Takes fuel for each pointer.
    pub(super) fn map(&self, inode: &Inode, fuel: &mut Fuel) -> Mapping {
        let mut mapping = Mapping::default();
        let sb = self.sb;
        if inode.is_short_link(sb) {
            mapping.push(Run::Data(Extent::new(inode.pointers.start, inode.size)));
            return mapping;
        }
        let size = inode.size;
        let whole = (DIRECT as u64).saturating_mul(sb.block);
        // Only the last block of a file that has no others is cut to fragments.
        let unit = if size <= whole { sb.fragment } else { sb.block };
        let Some(left) = size.checked_next_multiple_of(unit) else {
            mapping.wrong = Some(format!("{size} bytes are more than a file may have"));
            return mapping;
        };
        let mut walk = Walk { mapping: &mut mapping, left, is_snapshot: inode.is_snapshot(), fuel };
        let mut wrong = None;
        for pointer in inode.direct {
            wrong = wrong.or(self.data(&mut walk, pointer).err());
        }
        for (pointer, level) in inode.indirect.into_iter().zip(1u32..) {
            wrong = wrong.or(self.list(&mut walk, pointer, level).err());
        }
        if walk.left > 0 && wrong.is_none() {
            wrong = Some("it is larger than its pointers reach".to_owned());
        }
        mapping.wrong = wrong;
        mapping
    }

    /// The two blocks of attributes.
    pub(super) fn attributes(&self, inode: &Inode) -> Result<Vec<Extent>, String> {
        let (size, pointers) = inode.attributes;
        let mut left = size;
        let mut out = Vec::new();
        for pointer in pointers {
            let len = left.min(self.sb.block);
            left = left.saturating_sub(len);
            if len > 0 {
                out.push(self.sb.extent(pointer, len).ok_or("the block of its attributes lies outside")?);
            }
        }
        if left > 0 { Err("its attributes are larger than two blocks".to_owned()) } else { Ok(out) }
    }

    /// # Errors
    /// Why a block is nowhere; its place in the content stays a hole.
    fn data(&self, walk: &mut Walk<'_>, pointer: u64) -> Result<(), String> {
        let len = walk.left.min(self.sb.block);
        if len == 0 {
            return Ok(());
        }
        walk.left = walk.left.saturating_sub(len);
        if pointer == 0 || walk.is_snapshot && matches!(pointer, SAME | OWN) {
            if pointer == SAME {
                walk.mapping.unchanged = walk.mapping.unchanged.saturating_add(len);
            }
            walk.mapping.push(Run::Hole(len));
            return Ok(());
        }
        let spent = walk.fuel.burn(1).is_err();
        match self.sb.extent(pointer, len).filter(|_| !spent) {
            Some(extent) => walk.mapping.push(Run::Data(extent)),
            None => {
                walk.mapping.push(Run::Hole(len));
                return Err(match spent {
                    true => "the files of this volume name more than it has room for: not read further".to_owned(),
                    false => format!("fragment {pointer} lies outside of the file system"),
                });
            }
        }
        Ok(())
    }

    /// A block of pointers, `level` of them above the content.
    fn list(&self, walk: &mut Walk<'_>, pointer: u64, level: u32) -> Result<(), String> {
        if walk.left == 0 {
            return Ok(());
        }
        let below = self.sb.pointers().saturating_pow(level).saturating_mul(self.sb.block);
        let skip = walk.left.min(below);
        let hole = |walk: &mut Walk<'_>| {
            walk.left = walk.left.saturating_sub(skip);
            walk.mapping.push(Run::Hole(skip));
        };
        if pointer == 0 || walk.is_snapshot && matches!(pointer, SAME | OWN) {
            if pointer == SAME {
                walk.mapping.unchanged = walk.mapping.unchanged.saturating_add(skip);
            }
            hole(walk);
            return Ok(());
        }
        let place = self.sb.extent(pointer, self.sb.block);
        let place = place.filter(|place| self.free.is_none_or(|free| free.within(*place).total() == place.len));
        let raw = place.and_then(|place| self.view.read(place.start, place.len).ok());
        let Some((place, raw)) = place.zip(raw).filter(|_| walk.fuel.burn(1).is_ok()) else {
            hole(walk);
            return Err(format!("the block of pointers at fragment {pointer} cannot be read, or is not its own"));
        };
        walk.mapping.lists.push(place);
        let mut wrong = Ok(());
        for at in (0..raw.len()).step_by(self.sb.pointer()) {
            if walk.left == 0 {
                break;
            }
            let next = self.sb.pointer_at(&raw, at).unwrap_or(0);
            let done = match level {
                1 => self.data(walk, next),
                _ => self.list(walk, next, level.saturating_sub(1)),
            };
            wrong = wrong.and(done);
        }
        wrong
    }
}
