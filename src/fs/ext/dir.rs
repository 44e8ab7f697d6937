//! Directories: entries in a row, and the deleted ones in the gaps between them.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", "Directory Entries". An entry is deleted by making the
//! one before it longer, or, if it is the first of its block, by setting its inode to 0. Hash trees need no code: their
//! inner blocks look like empty entries.

use super::superblock::Superblock;
use crate::bytes::Fields;
use crate::fs::posix;

/// Inode, record length, name length, file type.
const HEADER: usize = 8;
/// What the name's checksum tail pretends to be.
const TAIL_TYPE: u8 = 0xde;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dirent {
    /// Where it stands in the volume.
    pub(super) at: u64,
    pub(super) inode: u32,
    pub(super) name: String,
    pub(super) deleted: bool,
    /// The entry's own idea of what it names; 0 is unknown.
    pub(super) file_type: u8,
}

/// Names out of the blocks of one directory.
#[derive(Default)]
pub(super) struct Names {
    pub(super) found: Vec<Dirent>,
    /// Byte of the volume and remark.
    pub(super) wrong: Vec<(u64, String)>,
}

impl Names {
    /// Takes a block (or the inline stretch) that stands at byte `at`. `indexed`: it may be the root of a hash tree.
    pub(super) fn take(&mut self, sb: &Superblock, block: &[u8], at: u64, indexed: bool) {
        let mut pos = 0usize;
        while let Some(entry) = block.get(pos..).filter(|rest| rest.len() >= HEADER) {
            let Some((dirent, len, used)) = parse(sb, entry, at.saturating_add(pos as u64)) else {
                self.wrong.push((at.saturating_add(pos as u64), "a directory entry is damaged".to_owned()));
                self.take_gap(sb, entry, at.saturating_add(pos as u64));
                return;
            };
            // The gap behind `..` of a hash tree's first block, and an inner block of it, hold the tree.
            let tree = indexed && (dirent.name == ".." || (pos == 0 && dirent.inode == 0 && dirent.name.is_empty()));
            if !dirent.name.is_empty() && dirent.file_type != TAIL_TYPE {
                self.found.push(Dirent { deleted: dirent.inode == 0, ..dirent });
            }
            if !tree && let Some(gap) = entry.get(used..len) {
                self.take_gap(sb, gap, at.saturating_add(pos.saturating_add(used) as u64));
            }
            pos = pos.saturating_add(len);
        }
    }

    /// Looks for entries at every fourth byte.
    fn take_gap(&mut self, sb: &Superblock, gap: &[u8], at: u64) {
        let mut pos = 0usize;
        while let Some(rest) = gap.get(pos..).filter(|rest| rest.len() > HEADER) {
            let here = at.saturating_add(pos as u64);
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

    /// What was found, without `.` and `..`, without copies of live entries and without a second copy of any.
    pub(super) fn finish(mut self) -> (Vec<Dirent>, Vec<(u64, String)>) {
        self.found.retain(|d| !matches!(d.name.as_str(), "." | ".."));
        // Most directories have lost nothing.
        if !self.found.iter().any(|d| d.deleted) {
            return (self.found, self.wrong);
        }
        // Few names are deleted: those are sorted and looked for among the others, which may be very many.
        let key = |d: &Dirent| (d.inode, d.name.clone());
        let mut lost: Vec<(u32, String)> = self.found.iter().filter(|d| d.deleted).map(key).collect();
        lost.sort_unstable();
        lost.dedup();
        let row = |d: &Dirent| lost.binary_search_by(|(inode, name)| (*inode, name.as_str()).cmp(&(d.inode, &d.name)));
        let mut seen = vec![false; lost.len()];
        let mut see =
            |d: &Dirent| row(d).ok().and_then(|row| seen.get_mut(row)).is_some_and(|s| std::mem::replace(s, true));
        for dirent in self.found.iter().filter(|d| !d.deleted) {
            see(dirent);
        }
        self.found.retain(|d| !d.deleted || !see(d));
        (self.found, self.wrong)
    }
}

/// The entry at the start of `b`, its record's length and the length that it needs; `None` where it is impossible.
fn parse(sb: &Superblock, b: &[u8], at: u64) -> Option<(Dirent, usize, usize)> {
    let len = record_len(sb, b.le16(4)?); // rec_len
    let name_len = usize::from(b.byte(6)?); // name_len
    let used = HEADER.checked_add(name_len)?.checked_next_multiple_of(4)?;
    if len < HEADER || !len.is_multiple_of(4) || len > b.len() || HEADER.checked_add(name_len)? > len {
        return None;
    }
    let name = b.span(HEADER, name_len)?;
    let dirent = Dirent {
        at,
        inode: b.le32(0)?,
        name: posix::name(name),
        deleted: false,
        file_type: if sb.has_file_type() { b.byte(7)? } else { 0 },
    };
    (dirent.inode <= sb.inodes_count).then_some((dirent, len, used.min(len)))
}

/// Blocks of 64 KiB do not fit into 16 bits: their length is written as 0 or 65535.
const fn record_len(sb: &Superblock, raw: u16) -> usize {
    match raw {
        0 | 0xffff if sb.block_size >= 0x1_0000 => 0x1_0000,
        raw => raw as usize,
    }
}

/// Whether bytes in a gap were an entry: a name without control characters, a known type.
fn is_possible(sb: &Superblock, b: &[u8], dirent: &Dirent) -> bool {
    let name = b.byte(6).and_then(|len| b.span(HEADER, usize::from(len))).unwrap_or_default();
    // An entry that was the first of its block has lost its inode: then its type has to vouch for it.
    let typed = if sb.has_file_type() { (1..=7).contains(&dirent.file_type) } else { dirent.inode != 0 };
    posix::is_plausible_name(name) && typed
}
