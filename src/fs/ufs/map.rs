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

/// Where it lies.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    pub(super) runs: Vec<Run>,
    pub(super) wrong: Option<String>,
    /// Of a snapshot: bytes that did not change since, which are those of the volume.
    pub(super) unchanged: u64,
}

impl Mapping {
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
    /// Where in the content it is, and where that ends, with the rest of the last fragment.
    at: u64,
    end: u64,
    is_snapshot: bool,
    fuel: &'m mut Fuel,
}

impl Walk<'_> {
    /// Bytes of the next block, or of all that a block of pointers reaches.
    fn next(&self, reach: u64) -> u64 {
        self.end.saturating_sub(self.at).min(reach)
    }

    /// Takes a stretch of the content that no block is named for; false where one is.
    fn unnamed(&mut self, sb: &Superblock, pointer: u64, len: u64) -> bool {
        let here = Extent::new(self.at, len);
        let per_block = sb.block.checked_div(sb.fragment).unwrap_or(1);
        match pointer {
            // A snapshot shows what did not change since where the volume has it.
            0 if self.is_snapshot && here.end() <= sb.bytes() => {
                self.mapping.unchanged = self.mapping.unchanged.saturating_add(len);
                self.mapping.push(Run::Data(here));
            }
            0 => self.mapping.push(Run::Hole(len)),
            // Small numbers mark blocks that it did not have to keep: they read as zeros.
            small if self.is_snapshot && small < per_block => self.mapping.push(Run::Hole(len)),
            _ => return false,
        }
        self.at = here.end();
        true
    }
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
        let Some(end) = size.checked_next_multiple_of(unit) else {
            mapping.wrong = Some(format!("{size} bytes are more than a file may have"));
            return mapping;
        };
        let mut walk = Walk { mapping: &mut mapping, at: 0, end, is_snapshot: inode.is_snapshot(), fuel };
        let done = self.all(&mut walk, inode);
        mapping.wrong = done.err();
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

    /// All pointers of an inode.
    ///
    /// # Errors
    /// What is wrong: the content that follows is not known.
    fn all(&self, walk: &mut Walk<'_>, inode: &Inode) -> Result<(), String> {
        for pointer in inode.direct {
            self.data(walk, pointer)?;
        }
        for (pointer, level) in inode.indirect.into_iter().zip(1u32..) {
            self.list(walk, pointer, level)?;
        }
        if walk.at < walk.end { Err("it is larger than its pointers reach".to_owned()) } else { Ok(()) }
    }

    fn data(&self, walk: &mut Walk<'_>, pointer: u64) -> Result<(), String> {
        let len = walk.next(self.sb.block);
        if len == 0 || walk.unnamed(self.sb, pointer, len) {
            return Ok(());
        }
        if walk.fuel.burn(1).is_err() {
            return Err("the files of this volume name more than it has room for: not read further".to_owned());
        }
        let outside = || format!("fragment {pointer} lies outside of the file system");
        let extent = self.sb.extent(pointer, len).ok_or_else(outside)?;
        walk.mapping.push(Run::Data(extent));
        walk.at = walk.at.saturating_add(len);
        Ok(())
    }

    /// A block of pointers, `level` of them above the content.
    fn list(&self, walk: &mut Walk<'_>, pointer: u64, level: u32) -> Result<(), String> {
        let reach = self.sb.pointers().saturating_pow(level).saturating_mul(self.sb.block);
        let len = walk.next(reach);
        if len == 0 || walk.unnamed(self.sb, pointer, len) {
            return Ok(());
        }
        let place = self.sb.extent(pointer, self.sb.block);
        let place = place.filter(|place| self.free.is_none_or(|free| free.within(*place).total() == place.len));
        let raw = place.and_then(|place| self.view.read(place.start, place.len).ok());
        let wrong = || format!("the block of pointers at fragment {pointer} cannot be read, or is not its own");
        let raw = raw.filter(|_| walk.fuel.burn(1).is_ok()).ok_or_else(wrong)?;
        for at in (0..raw.len()).step_by(self.sb.pointer()) {
            if walk.at >= walk.end {
                break;
            }
            let next = self.sb.pointer_at(&raw, at).unwrap_or(0);
            match level {
                1 => self.data(walk, next)?,
                _ => self.list(walk, next, level.saturating_sub(1))?,
            }
        }
        Ok(())
    }
}
