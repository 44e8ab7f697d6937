//! Reparse points ([MS-FSCC] 2.1.2): what a file stands for instead of its own content.

use crate::bytes::{Fields, utf16_le};
use crate::content::wof::Algorithm;
use crate::fs::EntryKind;

const MOUNT_POINT: u32 = 0xa000_0003;
const SYMLINK: u32 = 0xa000_000c;
const LX_SYMLINK: u32 = 0xa000_001d;
const APP_EXEC_LINK: u32 = 0x8000_001b;
const WOF: u32 = 0x8000_0017;

/// Tags, the kind of file that they make, and what to say of them.
const TAGS: &[(u32, EntryKind, &str)] = &[
    (MOUNT_POINT, EntryKind::Symlink, ""),
    (SYMLINK, EntryKind::Symlink, ""),
    (LX_SYMLINK, EntryKind::Symlink, "a symbolic link of the Windows Subsystem for Linux"),
    (WOF, EntryKind::File, ""),
    (APP_EXEC_LINK, EntryKind::File, "an app execution alias"),
    (0xc000_0004, EntryKind::File, "moved to hierarchical storage"),
    (0x8000_0006, EntryKind::File, "moved to hierarchical storage"),
    (0x8000_0007, EntryKind::File, "kept by single instance storage"),
    (0x8000_0008, EntryKind::File, "kept in a mounted WIM image"),
    (0x8000_0009, EntryKind::File, "a cluster shared volume"),
    (0x8000_000a, EntryKind::File, "a link of the distributed file system"),
    (0x8000_0012, EntryKind::File, "kept by file replication"),
    (0x8000_0013, EntryKind::File, "its content is kept by data deduplication, which is not read"),
    (0x8000_0014, EntryKind::File, "a special file of the NFS server"),
    (0x8000_0018, EntryKind::File, "kept by Windows container isolation"),
    (0x8000_001e, EntryKind::File, "kept by Azure File Sync"),
    (0x8000_0021, EntryKind::File, "kept by OneDrive"),
    (0x8000_0023, EntryKind::Special, "a socket of the Windows Subsystem for Linux"),
    (0x8000_0024, EntryKind::Special, "a pipe of the Windows Subsystem for Linux"),
    (0x8000_0025, EntryKind::Special, "a character device of the Windows Subsystem for Linux"),
    (0x8000_0026, EntryKind::Special, "a block device of the Windows Subsystem for Linux"),
    (0x9000_001c, EntryKind::File, "kept by the Projected File System"),
];
/// Cloud files differ in four bits of their tag.
const CLOUD: u32 = 0x9000_001a;
const CLOUD_BITS: u32 = 0x0000_f000;

/// What a reparse point says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reparse {
    pub(super) tag: u32,
    pub(super) target: Option<String>,
    /// What the file becomes by it; nothing for a directory that stays one.
    pub(super) kind: EntryKind,
    pub(super) note: Option<String>,
    /// How the Windows Overlay Filter compressed the content.
    pub(super) overlay: Option<Algorithm>,
}

impl Reparse {
    /// Reads the value of a `$REPARSE_POINT`.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let tag = value.le32(0)?;
        let row = TAGS.iter().find(|(row, ..)| *row == tag);
        let (kind, note) = match row {
            Some((_, kind, note)) => (*kind, Some(*note).filter(|note| !note.is_empty()).map(str::to_owned)),
            None if tag & !CLOUD_BITS == CLOUD => (EntryKind::File, Some("kept by a cloud provider".to_owned())),
            None => (EntryKind::File, Some(format!("a reparse point of unknown kind, tag {tag:#010x}"))),
        };
        let overlay = if tag == WOF { overlay(value) } else { None };
        Some(Self { tag, target: target(tag, value), kind, note, overlay })
    }

    /// True where the Windows Overlay Filter keeps the content.
    pub(super) const fn is_wof(&self) -> bool {
        self.tag == WOF
    }
}

fn target(tag: u32, value: &[u8]) -> Option<String> {
    match tag {
        // Offsets are relative to the path buffer: behind 8 + 8 bytes for a mount point, 4 more for a symbolic link.
        MOUNT_POINT => path(value, 16),
        SYMLINK => path(value, 20),
        // A version, then the path in UTF-8.
        LX_SYMLINK => data(value)?.get(4..).map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        // A version, then the package, the entry point and the program, each ended by a zero.
        APP_EXEC_LINK => {
            let text = utf16_le(data(value)?.get(4..)?);
            text.split('\0').nth(2).filter(|program| !program.is_empty()).map(str::to_owned)
        }
        _ => None,
    }
}

/// `WOF_EXTERNAL_INFO` of provider 2, the file itself, then `FILE_PROVIDER_EXTERNAL_INFO_V1`.
fn overlay(value: &[u8]) -> Option<Algorithm> {
    let file = value.le32(12)? == 2;
    file.then(|| value.le32(20).and_then(Algorithm::of_number)).flatten()
}

/// What stands behind tag and length.
fn data(value: &[u8]) -> Option<&[u8]> {
    value.span(8, value.le16(4)?.into())
}

/// `PrintName` or, where that is empty, `SubstituteName`.
fn path(value: &[u8], buffer: usize) -> Option<String> {
    let text = |offset: usize, length: usize| {
        let at = usize::from(value.le16(offset)?).checked_add(buffer)?;
        value.span(at, value.le16(length)?.into()).map(utf16_le).filter(|text| !text.is_empty())
    };
    text(12, 14).or_else(|| text(8, 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(tag: u32, data: &[u8]) -> Vec<u8> {
        [&tag.to_le_bytes()[..], &(data.len() as u16).to_le_bytes(), &[0, 0], data].concat()
    }

    #[test]
    fn each_tag_gives_its_target() {
        let link = Reparse::parse(&value(LX_SYMLINK, b"\x02\0\0\0/usr/bin/sh"));
        assert_eq!(link.and_then(|l| l.target).as_deref(), Some("/usr/bin/sh"));
        let alias: Vec<u8> = "package\0entry\0C:\\a.exe\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let alias = Reparse::parse(&value(APP_EXEC_LINK, &[&[3, 0, 0, 0], &alias[..]].concat()));
        assert_eq!(alias.and_then(|a| a.target).as_deref(), Some("C:\\a.exe"));
        let cloud = Reparse::parse(&value(0x9000_601a, &[])).and_then(|c| c.note);
        assert_eq!(cloud.as_deref(), Some("kept by a cloud provider"));
        let other = Reparse::parse(&value(0x8000_7777, &[])).and_then(|c| c.note);
        assert_eq!(other.as_deref(), Some("a reparse point of unknown kind, tag 0x80007777"));
    }

    proptest! {
        #[test]
        fn any_value_is_survived(row in 0..TAGS.len(), bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(Reparse::parse(&[&TAGS[row].0.to_le_bytes()[..], &bytes].concat()).is_some());
        }
    }
}
