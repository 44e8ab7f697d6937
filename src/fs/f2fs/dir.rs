//! Directories: names in blocks or in the inode, and those whose bits were taken away (kernel `f2fs_fs.h`, `f2fs_dentry_block`).
//!
//! A bitmap, then rows of eleven bytes (hash, inode, length, type), then fields of eight bytes that the names take one or more of.
//! A name that goes leaves all of that as it was, but for its bits. The hash tree is not needed: all blocks are read as they come.

use super::Disk;
use super::file::Pieces;
use super::node::Inode;
use super::superblock::BLOCK;
use crate::bytes::Fields;
use crate::fs::posix;
use std::collections::HashSet;

/// Bytes of a row, and of a field of a name.
const ROW: usize = 11;
const FIELD: usize = 8;
/// Rows of a block, its bitmap, what is kept free behind it.
const ROWS: usize = 214;
const BITMAP: usize = 27;
const RESERVED: usize = 3;
/// The largest type of a name: a symbolic link.
const MAX_TYPE: u8 = 7;
const MAX_NAME: usize = 255;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dirent {
    /// Where its row stands in the volume.
    pub(super) at: u64,
    pub(super) inode: u32,
    pub(super) name: String,
    /// Its own idea of what it names; 0 is unknown.
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

/// Where the parts of a block of names begin.
struct Shape {
    rows: usize,
    row: usize,
    field: usize,
}

impl Shape {
    const BLOCK: Self = Self { rows: ROWS, row: BITMAP + RESERVED, field: BITMAP + RESERVED + ROWS * ROW };

    /// As many rows as an inode has room for.
    const fn inline(size: usize) -> Self {
        let rows = size.saturating_mul(8) / ((ROW + FIELD) * 8 + 1);
        let field = size.saturating_sub(rows.saturating_mul(FIELD));
        Self { rows, row: field.saturating_sub(rows.saturating_mul(ROW)), field }
    }
}

impl Names {
    /// The names of a directory whose blocks are `pieces`. `seen`: blocks that were read, of which none is read again.
    pub(super) fn read(disk: &Disk<'_>, inode: &Inode, pieces: &Pieces, seen: &mut HashSet<u32>) -> Self {
        let mut names = Self::default();
        if inode.inline_names {
            let (at, bytes) = inode.inline();
            names.take(bytes, at, &Shape::inline(bytes.len()), inode);
        } else {
            for block in pieces.blocks() {
                let at = disk.sb.byte(block.into());
                if !seen.insert(block) {
                    names
                        .wrong
                        .push((at, "a block of its names belongs to another directory, or twice to it".to_owned()));
                    continue;
                }
                match disk.view.read(at, BLOCK) {
                    Ok(bytes) => names.take(&bytes, at, &Shape::BLOCK, inode),
                    Err(_) => names.wrong.push((at, "a block of its names cannot be read".to_owned())),
                }
            }
        }
        names.finish();
        names
    }

    fn take(&mut self, b: &[u8], at: u64, shape: &Shape, inode: &Inode) {
        let mut row = 0;
        while row < shape.rows {
            let is_live = b.byte(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 != 0);
            let found = dirent(b, at, shape, row, inode.encrypted);
            let fields = match &found {
                Some((_, fields)) => *fields,
                None => 1,
            };
            match found {
                Some((dirent, _)) if is_live => self.live.push(dirent),
                Some((dirent, _)) if posix::is_plausible_name(dirent.name.as_bytes()) && dirent.inode > 3 => {
                    self.lost.push(dirent);
                }
                None if is_live => self.wrong.push((at, format!("name {row} of a block is damaged"))),
                _ => {}
            }
            // What is lost may have been written over in part: the next row may begin another.
            row = row.saturating_add(if is_live { fields } else { 1 });
        }
    }

    /// Takes out what leads to the directory itself and above it, and lost names that are there again.
    fn finish(&mut self) {
        self.live.retain(|dirent| !matches!(dirent.name.as_str(), "." | ".."));
        let live: HashSet<(&str, u32)> = self.live.iter().map(|dirent| (dirent.name.as_str(), dirent.inode)).collect();
        let mut seen = HashSet::new();
        self.lost.retain(|dirent| {
            let key = (dirent.name.as_str(), dirent.inode);
            !matches!(dirent.name.as_str(), "." | "..")
                && !live.contains(&key)
                && seen.insert((dirent.name.clone(), dirent.inode))
        });
    }
}

/// The name of a row, and how many fields it takes.
fn dirent(b: &[u8], at: u64, shape: &Shape, row: usize, encrypted: bool) -> Option<(Dirent, usize)> {
    let place = row.checked_mul(ROW)?.checked_add(shape.row)?;
    let (inode, len, file_type) =
        (b.le32(place.checked_add(4)?)?, usize::from(b.le16(place.checked_add(8)?)?), b.byte(place.checked_add(10)?)?);
    let fields = len.div_ceil(FIELD);
    let inside = row.checked_add(fields)? <= shape.rows && len <= MAX_NAME;
    if inode == 0 || len == 0 || !inside || file_type > MAX_TYPE {
        return None;
    }
    let name = b.span(row.checked_mul(FIELD)?.checked_add(shape.field)?, len)?;
    // A name that is encrypted is no text.
    let name = if encrypted && !matches!(name, b"." | b"..") { crate::bytes::hex(name) } else { posix::name(name) };
    Some((Dirent { at: at.checked_add(place as u64)?, inode, name, file_type }, fields))
}
