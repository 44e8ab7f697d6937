//! Directories: entries in blocks of 512 bytes, and deleted ones in the gaps behind them.
//!
//! FreeBSD `sys/ufs/ufs/dir.h`. An entry is deleted by making the one before it longer, or, if it is the first of its block, by
//! setting its inode to 0.

use super::superblock::Superblock;
use crate::bytes::{Fields, offset};
use crate::fs::posix;
use std::collections::HashSet;

/// Bytes that an entry does not cross.
const BLOCK: usize = 512;
/// Inode, record length, type, name length.
const HEADER: usize = 8;
/// A name that a union mount covers.
const WHITEOUT: u8 = 14;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dirent {
    /// Byte of the volume.
    pub(super) at: u64,
    pub(super) inode: u32,
    pub(super) name: String,
    pub(super) deleted: bool,
    /// The entry's own idea of what it names, as `st_mode` counts; 0 is unknown.
    pub(super) kind: u8,
}

/// Names out of one directory.
#[derive(Default)]
pub(super) struct Names {
    found: Vec<Dirent>,
    /// Byte of the volume and remark.
    pub(super) wrong: Vec<(u64, String)>,
}

impl Names {
    /// Takes what of a directory stands at byte `at`: whole blocks.
    pub(super) fn take(&mut self, sb: &Superblock, bytes: &[u8], at: u64) {
        for (number, block) in bytes.chunks(BLOCK).enumerate() {
            self.block(sb, block, at.saturating_add(offset(number.saturating_mul(BLOCK))));
        }
    }

    fn block(&mut self, sb: &Superblock, block: &[u8], at: u64) {
        let mut pos = 0usize;
        while let Some(entry) = block.get(pos..).filter(|rest| rest.len() >= HEADER) {
            let here = at.saturating_add(offset(pos));
            let Some((dirent, len, used)) = parse(sb, entry, here) else {
                // A block that was allocated and never written.
                if !crate::bytes::all_zero(entry) {
                    self.wrong.push((here, "a directory entry is damaged".to_owned()));
                    self.gap(sb, entry, here);
                }
                return;
            };
            let is_empty = dirent.inode == 0;
            if !dirent.name.is_empty() && dirent.kind != WHITEOUT {
                self.found.push(Dirent { deleted: is_empty, ..dirent });
            }
            if let Some(gap) = entry.get(used..len) {
                self.gap(sb, gap, here.saturating_add(offset(used)));
            }
            pos = pos.saturating_add(len);
        }
    }

    /// Looks for entries at every fourth byte.
    fn gap(&mut self, sb: &Superblock, gap: &[u8], at: u64) {
        let mut pos = 0usize;
        while let Some(rest) = gap.get(pos..).filter(|rest| rest.len() > HEADER) {
            let here = at.saturating_add(offset(pos));
            let step = match parse(sb, rest, here) {
                Some((dirent, _, used)) if is_possible(sb, rest, &dirent) => {
                    self.found.push(Dirent { deleted: true, ..dirent });
                    used
                }
                _ => 4,
            };
            pos = pos.saturating_add(step);
        }
    }

    /// Live names, then deleted ones: without `.` and `..`, copies of live ones, and second copies.
    pub(super) fn finish(self) -> (Vec<Dirent>, Vec<Dirent>) {
        let named = self.found.into_iter().filter(|dirent| !matches!(dirent.name.as_str(), "." | ".."));
        let (gone, live): (Vec<Dirent>, Vec<Dirent>) = named.partition(|dirent| dirent.deleted);
        if gone.is_empty() {
            return (live, gone);
        }
        let mut seen: HashSet<(u32, &str)> = live.iter().map(|dirent| (dirent.inode, dirent.name.as_str())).collect();
        let new: Vec<bool> = gone.iter().map(|dirent| seen.insert((dirent.inode, dirent.name.as_str()))).collect();
        let gone = gone.iter().zip(new).filter(|(_, new)| *new).map(|(dirent, _)| dirent.clone()).collect();
        (live, gone)
    }
}

/// The entry at the start of `b`, its record's length and the length that it needs; `None` where it is impossible.
fn parse(sb: &Superblock, b: &[u8], at: u64) -> Option<(Dirent, usize, usize)> {
    let len = usize::from(sb.order.n16(b, 4)?);
    // Before 4.4BSD the length of the name has 16 bits, and there is no type.
    let (kind, name_len) = if sb.is_new { (b.byte(6)?, b.byte(7)?.into()) } else { (0, sb.order.n16(b, 6)?.into()) };
    let used = HEADER.checked_add(name_len)?.checked_add(1)?.checked_next_multiple_of(4)?;
    if len < HEADER || !len.is_multiple_of(4) || len > b.len() || HEADER.checked_add(name_len)? > len {
        return None;
    }
    let name = b.span(HEADER, name_len)?;
    let inode = sb.order.n32(b, 0)?;
    let most = u64::from(sb.groups).saturating_mul(sb.inodes_per_group.into());
    let dirent = Dirent { at, inode, name: posix::name(name), deleted: false, kind };
    (u64::from(inode) < most && name_len <= 255).then_some((dirent, len, used.min(len)))
}

/// Whether bytes in a gap were an entry: a name without control characters, a known type.
fn is_possible(sb: &Superblock, b: &[u8], dirent: &Dirent) -> bool {
    let len = if sb.is_new { b.byte(7).map(usize::from) } else { sb.order.n16(b, 6).map(usize::from) };
    let name = len.and_then(|len| b.span(HEADER, len)).unwrap_or_default();
    let typed = !sb.is_new || matches!(dirent.kind, 1 | 2 | 4 | 6 | 8 | 10 | 12);
    posix::is_plausible_name(name) && typed && (dirent.inode >= 2 || sb.is_new)
}
