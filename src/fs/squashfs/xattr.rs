//! Extended attributes: a table of lists that inodes share, whose long values may be shared, too.
//!
//! Kernel `squashfs_fs.h`, "struct squashfs_xattr_entry" and those behind it.

use super::superblock::{NONE, Superblock};
use super::table::{Place, Rows, Table};
use crate::bytes::{Fields, index};
use crate::content::packed::Method;
use crate::fs::posix;
use crate::image::View;

/// Attributes of one inode, and bytes of a value that are read.
const MAX_ATTRIBUTES: u32 = 256;
const MAX_SIZE: u32 = 65_536;
/// In a type: the value stands elsewhere.
const ELSEWHERE: u16 = 0x100;

/// All lists.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    values: Table,
    pub(super) lists: Rows,
    /// Where the first value stands.
    pub(super) first: Option<u64>,
}

impl Attributes {
    pub(super) fn read(view: View<'_>, sb: &Superblock, method: Method) -> Self {
        let head = view.read_up_to(sb.xattr_table, 16);
        let (Some(start), Some(count)) = (head.le64(0), head.le32(8)) else {
            return Self { lists: Rows::none(sb.xattr_table == NONE), ..Self::default() };
        };
        let lists = Rows::read(view, method, (sb.xattr_table.saturating_add(16), count.into(), 16));
        let end = lists.first.unwrap_or(sb.xattr_table);
        Self { values: Table::read(view, method, start, end), lists, first: Some(start) }
    }

    /// The attributes of a list, and whether these are all.
    pub(super) fn list(&self, row: u32) -> (Vec<(String, String)>, bool) {
        let mut found = Vec::new();
        let whole = self.lists.get(row.into()).and_then(|b| {
            let mut place = self.values.place(b.le64(0)?)?;
            let count = b.le32(8)?;
            for _ in 0..count.min(MAX_ATTRIBUTES) {
                found.push(self.attribute(&mut place)?);
            }
            (count <= MAX_ATTRIBUTES).then_some(())
        });
        (found, whole.is_some())
    }

    fn attribute(&self, place: &mut Place) -> Option<(String, String)> {
        let head = self.values.take(place, 4)?;
        let (kind, len) = (head.le16(0)?, head.le16(2)?);
        let name = self.values.take(place, len.into())?;
        let prefix = match kind & 0xff {
            0 => "user.",
            1 => "trusted.",
            2 => "security.",
            _ => return None,
        };
        let mut value = self.value(place)?;
        if kind & ELSEWHERE != 0 {
            value = self.value(&mut self.values.place(value.le64(0)?)?)?;
        }
        Some((format!("{prefix}{}", posix::name(&name)), posix::value(&value)))
    }

    fn value(&self, place: &mut Place) -> Option<Vec<u8>> {
        let len = self.values.take(place, 4)?.le32(0).filter(|len| *len <= MAX_SIZE)?;
        self.values.take(place, index(len.into()))
    }
}
