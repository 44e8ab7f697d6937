//! Inodes: fourteen kinds, of which seven are short.
//!
//! Kernel `squashfs_fs.h`, "struct squashfs_base_inode" and those behind it.

use super::superblock::Superblock;
use super::table::{Place, Table};
use crate::bytes::{Fields, index};
use crate::fs::EntryKind;
use crate::time::Timestamp;

/// What stands for no fragment, and for no attributes.
const NONE: u32 = u32::MAX;
/// The longest target of a symbolic link.
const MAX_TARGET: u32 = 65_536;

/// An inode.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) kind: EntryKind,
    /// Type and permissions, as `st_mode`.
    pub(super) mode: u32,
    /// Rows of the owner and of the group in the table of ids.
    pub(super) owner: [u16; 2],
    pub(super) mtime: Timestamp,
    pub(super) number: u32,
    pub(super) links: u32,
    pub(super) xattr: Option<u32>,
    pub(super) holds: Holds,
}

/// What an inode leads to.
#[derive(Clone, Debug)]
pub(super) enum Holds {
    /// Reference of the first name, and bytes of all.
    Names { reference: u64, len: u64 },
    /// The first block, the size, the fragment with the byte in it, and where the lengths of the blocks stand.
    Blocks { start: u64, size: u64, fragment: Option<(u32, u32)>, list: Place, count: u64 },
    /// Where the target stands, and its bytes.
    Target { at: Place, len: u32 },
    /// A device's number.
    Device(u32),
    /// Nothing.
    Nothing,
}

impl Inode {
    /// The inode at a place of the table, which moves behind it.
    pub(super) fn read(sb: &Superblock, table: &Table, place: &mut Place) -> Option<Self> {
        let head = table.take(place, 16)?;
        let b = head.as_slice();
        let kind_number = b.le16(0)?;
        let (kind, file_type) = kind_of(kind_number)?;
        let mut inode = Self {
            kind,
            mode: file_type | u32::from(b.le16(2)? & 0xfff),
            owner: [b.le16(4)?, b.le16(6)?],
            mtime: Timestamp::unix(b.le32(8)?.into()),
            number: b.le32(12)?,
            links: 1,
            xattr: None,
            holds: Holds::Nothing,
        };
        inode.rest(sb, table, place, kind_number)?;
        Some(inode)
    }

    fn rest(&mut self, sb: &Superblock, table: &Table, place: &mut Place, kind: u16) -> Option<()> {
        match kind {
            1 => {
                let b = table.take(place, 16)?;
                self.links = b.le32(4)?;
                self.holds = names(b.le32(0)?, b.le16(10)?, b.le16(8)?.into());
            }
            2 => {
                let b = table.take(place, 16)?;
                let fragment = (b.le32(4)?, b.le32(8)?);
                self.holds = blocks(sb, table, place, (b.le32(0)?.into(), b.le32(12)?.into()), fragment)?;
            }
            8 => {
                let b = table.take(place, 24)?;
                self.links = b.le32(0)?;
                self.xattr = Some(b.le32(20)?);
                self.holds = names(b.le32(8)?, b.le16(18)?, b.le32(4)?.into());
                for _ in 0..b.le16(16)? {
                    let row = table.take(place, 12)?;
                    table.take(place, index(row.le32(8)?.into()).checked_add(1)?)?;
                }
            }
            9 => {
                let b = table.take(place, 40)?;
                self.links = b.le32(24)?;
                self.xattr = Some(b.le32(36)?);
                self.holds = blocks(sb, table, place, (b.le64(0)?, b.le64(8)?), (b.le32(28)?, b.le32(32)?))?;
            }
            3 | 10 => {
                let b = table.take(place, 8)?;
                self.links = b.le32(0)?;
                let len = b.le32(4).filter(|len| *len <= MAX_TARGET)?;
                self.holds = Holds::Target { at: *place, len };
                table.take(place, index(len.into()))?;
                if kind == 10 {
                    self.xattr = Some(table.take(place, 4)?.le32(0)?);
                }
            }
            _ => {
                self.links = table.take(place, 4)?.le32(0)?;
                if matches!(kind, 4 | 5 | 11 | 12) {
                    self.holds = Holds::Device(table.take(place, 4)?.le32(0)?);
                }
                if kind > 7 {
                    self.xattr = Some(table.take(place, 4)?.le32(0)?);
                }
            }
        }
        self.xattr = self.xattr.filter(|row| *row != NONE);
        Some(())
    }
}

/// What a kind is, and its type in a mode.
const fn kind_of(number: u16) -> Option<(EntryKind, u32)> {
    Some(match number {
        1 | 8 => (EntryKind::Directory, 0x4000),
        2 | 9 => (EntryKind::File, 0x8000),
        3 | 10 => (EntryKind::Symlink, 0xa000),
        4 | 11 => (EntryKind::Special, 0x6000),
        5 | 12 => (EntryKind::Special, 0x2000),
        6 | 13 => (EntryKind::Special, 0x1000),
        7 | 14 => (EntryKind::Special, 0xc000),
        _ => return None,
    })
}

/// What a directory's byte of type says.
pub(super) fn kind_of_name(number: u16) -> EntryKind {
    kind_of(number).map_or(EntryKind::File, |(kind, _)| kind)
}

fn names(block: u32, skip: u16, size: u64) -> Holds {
    // Three bytes are counted for the two names that are not there.
    Holds::Names { reference: u64::from(block) << 16 | u64::from(skip), len: size.saturating_sub(3) }
}

fn blocks(
    sb: &Superblock,
    table: &Table,
    place: &mut Place,
    (start, size): (u64, u64),
    (fragment, skip): (u32, u32),
) -> Option<Holds> {
    let fragment = (fragment != NONE).then_some((fragment, skip));
    let whole = size.checked_div(sb.block_size)?;
    let count = if fragment.is_some() { whole } else { size.div_ceil(sb.block_size) };
    let list = *place;
    let bytes = count.checked_mul(4).filter(|bytes| *bytes <= table.size())?;
    table.skip(place, index(bytes))?;
    Some(Holds::Blocks { start, size, fragment, list, count })
}
