//! Records of the catalog: folders and files, with the names that lead to them.
//!
//! Apple TN1150, "Catalog File"; `hfs_format.h` of XNU for links and flags.

use super::fork::ForkData;
use super::header::Header;
use crate::bytes::{Fields, utf16_be};
use crate::fs::{Access, Times};
use crate::time::Timestamp;

/// Number of the root folder.
pub(super) const ROOT: u32 = 2;
/// The first number that a file of the user's may have.
pub(super) const FIRST_ID: u32 = 16;

/// A file or folder, and the name that leads to it.
pub(super) struct Record {
    /// Number of the folder that it is in.
    pub(super) parent: u32,
    /// Its name as macOS shows it: as it is stored, with `/` for `:` the other way round and U+2400 for zero.
    pub(super) name: String,
    /// Its own number.
    pub(super) id: u32,
    /// Creation, change of content, change of attributes, access, backup: seconds since 1904.
    dates: [u32; 5],
    pub(super) access: Access,
    owner_flags: u8,
    /// Of a link the number of what it leads to, of a device its number.
    pub(super) special: u32,
    /// Type and creator.
    pub(super) finder: [[u8; 4]; 2],
    /// Data and resource fork; none of folders.
    pub(super) forks: Option<[ForkData; 2]>,
}

/// What a record of the catalog is.
pub(super) enum Parsed {
    /// The name of a file or folder by its number: nothing new.
    Thread,
    Record(Box<Record>),
}

/// Reads a record with its key; `None` for what is none.
pub(super) fn parse(b: &[u8]) -> Option<Parsed> {
    let key = usize::from(b.be16(0)?);
    let length = usize::from(b.be16(6)?);
    (length <= 255 && key == length.checked_mul(2)?.checked_add(6)?).then_some(())?;
    let at = key.checked_add(2)?;
    let body = b.get(at..)?;
    let is_file = match body.be16(0)? {
        1 => false,
        2 => true,
        3 | 4 => return Some(Parsed::Thread),
        _ => return None,
    };
    let forks = if is_file { Some([ForkData::parse(body, 88)?, ForkData::parse(body, 168)?]) } else { None };
    let mut dates = [0; 5];
    for (row, date) in dates.iter_mut().enumerate() {
        *date = body.be32(row.checked_mul(4)?.checked_add(12)?)?;
    }
    body.span(0, 88)?;
    let access = Access { mode: body.be16(42)?.into(), uid: body.be32(32)?, gid: body.be32(36)? };
    Some(Parsed::Record(Box::new(Record {
        parent: b.be32(2)?,
        name: shown(&utf16_be(b.span(8, length.checked_mul(2)?)?)),
        id: body.be32(8)?,
        dates,
        access,
        owner_flags: body.byte(41)?,
        special: body.be32(44)?,
        finder: [body.array(48)?, body.array(52)?],
        forks,
    })))
}

/// A name as macOS shows it.
pub(super) fn shown(stored: &str) -> String {
    let shown = |c: char| match c {
        '/' => ':',
        '\0' => '\u{2400}',
        c => c,
    };
    stored.chars().map(shown).collect()
}

impl Record {
    pub(super) fn times(&self) -> Times {
        let [btime, mtime, ctime, atime, _] = self.dates.map(Timestamp::mac);
        Times { btime, mtime, ctime, atime, dtime: None }
    }

    pub(super) const fn backup(&self) -> Option<Timestamp> {
        let [.., backup] = self.dates;
        Timestamp::mac(backup)
    }

    /// When it was last changed: attributes, then content.
    pub(super) const fn changed(&self) -> (u32, u32) {
        let [_, content, attributes, ..] = self.dates;
        (attributes, content)
    }

    /// True where its content is compressed.
    pub(super) const fn is_compressed(&self) -> bool {
        self.owner_flags & 0x20 != 0 // UF_COMPRESSED
    }

    /// True where it is another name of a file in the folder of those that have several.
    pub(super) fn is_file_link(&self) -> bool {
        self.forks.is_some() && self.finder == [*b"hlnk", *b"hfs+"]
    }

    /// True where it is another name of a folder.
    pub(super) fn is_folder_link(&self) -> bool {
        self.forks.is_some() && self.finder == [*b"fdrp", *b"MACS"]
    }

    /// True where all that it says may be: for records that nothing leads to any more.
    pub(super) fn is_possible(&self, header: &Header) -> bool {
        let numbers = self.id >= FIRST_ID && (self.parent == ROOT || self.parent >= FIRST_ID) && self.id != self.parent;
        let forks = self.forks.iter().flatten().all(|fork| fork.is_possible(header));
        let [created, changed, ..] = self.dates;
        let named = !self.name.is_empty() && !self.name.contains(char::REPLACEMENT_CHARACTER);
        let mode = matches!(self.access.mode >> 12, 0 | 1 | 2 | 4 | 6 | 8 | 10 | 12);
        numbers && forks && named && mode && created > 0 && changed > 0
    }
}
