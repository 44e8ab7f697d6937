//! Directories: names in the inode or in blocks, and the freed ones in the gaps between them.
//!
//! "XFS Algorithms & Data Structures", "Directories". A freed entry keeps its name: only the upper half of its inode's
//! number is overwritten, or nothing at all where the gap before it grows, and each entry ends with a tag that says where
//! it, or a gap before it, began, by which it is known again. Leaves and hash trees hold no names and are not needed.

use super::map::Mapping;
use super::{Disk, checksum};
use crate::bytes::{Fields, all_zero};
use crate::content::{Content, Stream};
use crate::fs::posix;
use std::collections::HashSet;

/// Leaves of directories begin here: names stand before it.
const LEAF_AT: u64 = 1 << 35;
/// What marks a gap, `XFS_DIR2_DATA_FREE_TAG`.
const FREE_TAG: u16 = 0xffff;
/// The largest type of a name: a whiteout.
const MAX_TYPE: u8 = 8;
const ALIGN: usize = 8;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dirent {
    /// Where it stands in the volume; that of its block, where the block lies in pieces.
    pub(super) at: u64,
    /// Its inode; of a freed one perhaps only the lower half.
    pub(super) inode: u64,
    pub(super) name: String,
    /// The entry's own idea of what it names; 0 is unknown.
    pub(super) file_type: u8,
}

/// Names of one directory.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) live: Vec<Dirent>,
    pub(super) lost: Vec<Dirent>,
    /// Byte of the volume and remark.
    pub(super) wrong: Vec<(u64, String)>,
}

impl Names {
    /// Names that stand in the inode itself, in the `used` first bytes of its data fork; behind them what was freed.
    pub(super) fn take_short(&mut self, disk: &Disk<'_>, area: &[u8], used: u64, at: u64) {
        let used = area.get(..crate::bytes::index(used).min(area.len())).unwrap_or_default();
        let (count, wide) = (used.byte(0).unwrap_or(0), used.byte(1).unwrap_or(0) > 0); // count, i8count
        let mut pos = if wide { 10 } else { 6 };
        for _ in 0..count {
            match short(disk, used, pos, at, wide) {
                Some((dirent, end)) => {
                    self.live.push(dirent);
                    pos = end;
                }
                None => {
                    self.wrong.push((at, "the list of its names is damaged".to_owned()));
                    break;
                }
            }
        }
        self.take_short_slack(disk, area, pos, at, wide);
    }

    /// Freed names in the inode from byte `pos` on: they have moved, and begin anywhere.
    pub(super) fn take_short_slack(&mut self, disk: &Disk<'_>, area: &[u8], mut pos: usize, at: u64, wide: bool) {
        while pos < area.len() {
            let name = |dirent: &Dirent| posix::is_plausible_name(dirent.name.as_bytes()) && dirent.inode > 0;
            let typed = |dirent: &Dirent| disk.sb.has_ftype && (1..MAX_TYPE).contains(&dirent.file_type);
            // The cookie of an entry counts as if it stood in a block.
            let placed = area.be16(pos.saturating_add(1)).is_some_and(|cookie| (4..0x2000).contains(&cookie));
            match short(disk, area, pos, at, wide) {
                Some((dirent, end)) if placed && typed(&dirent) && name(&dirent) => {
                    self.lost.push(dirent);
                    pos = end;
                }
                _ => pos = pos.saturating_add(1),
            }
        }
    }

    /// Names in the blocks of a directory. `owner`: its number, where live; a deleted one's blocks are not checked.
    pub(super) fn take_blocks(&mut self, disk: &Disk<'_>, map: &Mapping, owner: u64, deleted: bool) {
        let sb = &disk.sb;
        let runs = map.runs(sb.block_size, 0);
        let size = runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.len()));
        let content = Content::of(disk.view, Stream::plain(runs, size.min(LEAF_AT)));
        let mut next = 0u64;
        for piece in &map.pieces {
            let first = piece.offset.saturating_mul(sb.block_size);
            let end = first.saturating_add(piece.count.saturating_mul(sb.block_size)).min(LEAF_AT);
            let mut at = first.checked_div(sb.dir_block).unwrap_or(0).saturating_mul(sb.dir_block).max(next);
            while at < end {
                let block = content.stretch(at, sb.dir_block);
                let place = piece.at.saturating_add(at.saturating_sub(first));
                self.take_block(disk, &block, place, owner, deleted);
                at = at.saturating_add(sb.dir_block);
            }
            next = next.max(at);
        }
    }

    /// Names in a block of a directory that stands at `at`.
    pub(super) fn take_block(&mut self, disk: &Disk<'_>, block: &[u8], at: u64, owner: u64, deleted: bool) {
        let wide = disk.sb.has_checksums();
        let (magics, header) = if wide { ([b"XDB3", b"XDD3"], 64) } else { ([b"XD2B", b"XD2D"], 16) };
        let magic = block.span(0, 4).unwrap_or_default();
        let is_own = !wide || (checksum::holds(block, 4) && block.be64(40) == Some(owner));
        let is_names = magics.iter().any(|known| known.as_slice() == magic);
        if !is_names || (deleted && !is_own) {
            if !deleted {
                self.wrong.push((at, "a block of its names is damaged".to_owned()));
            }
            return;
        }
        if !is_own {
            self.wrong.push((at, "the checksum or the owner of a block of its names does not fit".to_owned()));
        }
        // A directory of one block ends with its leaves, and their count.
        let tail = || {
            let tail = block.len().checked_sub(8)?;
            tail.checked_sub(crate::bytes::index(block.be32(tail)?.into()).checked_mul(8)?)
        };
        let end = if magic.ends_with(b"B3") || magic.ends_with(b"2B") { tail() } else { Some(block.len()) };
        match end.and_then(|end| block.get(..end)).filter(|body| body.len() >= header) {
            Some(body) => self.take_body(disk, body, header, at),
            None => self.wrong.push((at, "a block of its names has no end".to_owned())),
        }
    }

    fn take_body(&mut self, disk: &Disk<'_>, body: &[u8], mut pos: usize, at: u64) {
        while pos < body.len() {
            if body.be16(pos) == Some(FREE_TAG) {
                let len = usize::from(body.be16(pos.saturating_add(2)).unwrap_or(0));
                let end = pos.saturating_add(len);
                let fits = len >= ALIGN && len.is_multiple_of(ALIGN) && end <= body.len();
                if !fits {
                    break;
                }
                self.take_gap(disk, body, (pos, end), at);
                pos = end;
                continue;
            }
            let Some((dirent, len)) = long(disk, body, pos, at) else { break };
            self.live.push(dirent);
            pos = pos.saturating_add(len);
        }
        if pos < body.len() {
            self.wrong.push((at.saturating_add(pos as u64), "a directory entry is damaged".to_owned()));
            self.take_gap(disk, body, (pos, body.len()), at);
        }
    }

    /// Looks for freed entries at every eighth byte.
    fn take_gap(&mut self, disk: &Disk<'_>, body: &[u8], (mut pos, end): (usize, usize), at: u64) {
        while pos < end {
            let found = body.get(..end).and_then(|gap| {
                let (dirent, len) = long(disk, gap, pos, at)?;
                let (name_len, tag) = (usize::from(gap.byte(pos.checked_add(8)?)?), tag(gap, pos, len)?);
                let name = gap.span(pos.checked_add(9)?, name_len)?;
                let typed = !disk.sb.has_ftype || (1..MAX_TYPE).contains(&dirent.file_type);
                // The tag is its own, or that of the gap which ended with it: of one that begins before it.
                let tagged = tag <= pos && tag.is_multiple_of(ALIGN) && tag >= 16;
                (typed && tagged && posix::is_plausible_name(name)).then_some((dirent, len))
            });
            match found {
                Some((mut dirent, len)) => {
                    if body.be16(pos) == Some(FREE_TAG) {
                        dirent.inode &= u64::from(u32::MAX);
                    }
                    self.lost.push(dirent);
                    pos = pos.saturating_add(len);
                }
                None => pos = pos.saturating_add(ALIGN),
            }
        }
    }

    /// Takes out `.` and `..`, and freed names that are copies of live ones or of each other.
    pub(super) fn finish(&mut self) {
        let is_self = |dirent: &Dirent| matches!(dirent.name.as_str(), "." | "..");
        self.live.retain(|dirent| !is_self(dirent));
        self.lost.retain(|dirent| !is_self(dirent));
        if self.lost.is_empty() {
            return;
        }
        let key = |dirent: &Dirent| (dirent.inode & u64::from(u32::MAX), dirent.name.clone());
        let lost: HashSet<(u64, String)> = self.lost.iter().map(key).collect();
        let mut seen: HashSet<(u64, String)> = self.live.iter().map(key).filter(|key| lost.contains(key)).collect();
        self.lost.retain(|dirent| seen.insert(key(dirent)));
    }
}

/// The directory that a block of names belongs to: it says so where metadata has checksums; else its first block names
/// the directory as `.`.
pub(super) fn owner(disk: &Disk<'_>, block: &[u8]) -> Option<u64> {
    if disk.sb.has_checksums() {
        return checksum::holds(block, 4).then(|| block.be64(40)).flatten();
    }
    let (dirent, _) = long(disk, block, 16, 0)?;
    (dirent.name == ".").then_some(dirent.inode)
}

/// The tag with which an entry of `len` bytes at `pos` ends: where it begins.
fn tag(b: &[u8], pos: usize, len: usize) -> Option<usize> {
    b.be16(pos.checked_add(len)?.checked_sub(2)?).map(usize::from)
}

/// The entry at `pos` of a block, and its length; `None` where it is impossible.
fn long(disk: &Disk<'_>, b: &[u8], pos: usize, at: u64) -> Option<(Dirent, usize)> {
    let name_len = usize::from(b.byte(pos.checked_add(8)?)?);
    let typed = usize::from(disk.sb.has_ftype);
    // inumber, namelen, the name, its type, and the tag
    let len = name_len.checked_add(typed)?.checked_add(11)?.checked_next_multiple_of(ALIGN)?;
    b.span(pos, len)?;
    let start = pos.checked_add(9)?;
    let name = b.span(start, name_len).filter(|name| !name.is_empty())?;
    let file_type = if disk.sb.has_ftype { b.byte(start.checked_add(name_len)?)? } else { 0 };
    let dirent = Dirent { at: at.checked_add(pos as u64)?, inode: b.be64(pos)?, name: posix::name(name), file_type };
    (!all_zero(name) && file_type <= MAX_TYPE).then_some((dirent, len))
}

/// The entry at `pos` of the names in an inode that stand at `at`, and where it ends.
fn short(disk: &Disk<'_>, b: &[u8], pos: usize, at: u64, wide: bool) -> Option<(Dirent, usize)> {
    let name_len = usize::from(b.byte(pos)?);
    let start = pos.checked_add(3)?;
    let name = b.span(start, name_len).filter(|name| !name.is_empty())?;
    let mut end = start.checked_add(name_len)?;
    let file_type = if disk.sb.has_ftype { b.byte(end)? } else { 0 };
    end = end.checked_add(usize::from(disk.sb.has_ftype))?;
    let (inode, len) = if wide { (b.be64(end)?, 8) } else { (u64::from(b.be32(end)?), 4) };
    let dirent = Dirent { at: at.checked_add(pos as u64)?, inode, name: posix::name(name), file_type };
    (!all_zero(name)).then_some((dirent, end.checked_add(len)?))
}
