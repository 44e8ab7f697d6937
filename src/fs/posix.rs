//! What the file systems of POSIX systems have in common: types in a mode, names as text, values of extended attributes
//! and access lists as `acl(5)` writes them.

use super::EntryKind;
use crate::bytes::Fields;
use std::borrow::Cow;
use std::fmt::Write;

/// Bytes of an attribute's value that are told.
pub(super) const MAX_VALUE: usize = 4096;

/// What a mode (`st_mode`) says that it is; `None` where it says nothing possible.
pub(super) const fn kind_of_mode(mode: u32) -> Option<EntryKind> {
    match mode & 0xf000 {
        0x8000 => Some(EntryKind::File),
        0x4000 => Some(EntryKind::Directory),
        0xa000 => Some(EntryKind::Symlink),
        0x1000 | 0x2000 | 0x6000 | 0xc000 => Some(EntryKind::Special),
        _ => None,
    }
}

/// What a directory's byte of type says (ext, XFS and btrfs count alike); what is unknown is taken for a file.
pub(super) const fn kind_of_type(file_type: u8) -> EntryKind {
    match file_type {
        2 => EntryKind::Directory,
        7 => EntryKind::Symlink,
        3..=6 => EntryKind::Special,
        _ => EntryKind::File,
    }
}

/// A name, without what would be taken for a path.
pub(super) fn name(name: &[u8]) -> String {
    let text = std::str::from_utf8(name).map_or_else(|_| String::from_utf8_lossy(name), Cow::Borrowed);
    if name.iter().any(|c| matches!(c, b'/' | 0)) { text.replace(['/', '\0'], "\u{fffd}") } else { text.into_owned() }
}

/// Whether bytes of slack may have been a name: text without control characters.
pub(super) fn is_plausible_name(name: &[u8]) -> bool {
    let printable = !name.is_empty() && name.iter().all(|c| *c >= 0x20 && *c != b'/' && *c != 0x7f);
    printable && std::str::from_utf8(name).is_ok()
}

/// An attribute's value: text where it is text, else hexadecimal.
pub(super) fn value(value: &[u8]) -> String {
    crate::bytes::text_or_hex(value, MAX_VALUE)
}

/// An access list of entries `(tag, rights, id)`: `user::rw-,user:1000:r--,mask::r--,other::---`; `None` where a tag is
/// none.
pub(super) fn access_list(entries: impl Iterator<Item = Option<(u32, u32, u32)>>) -> Option<String> {
    let mut text = String::new();
    for entry in entries {
        let (tag, rights, id) = entry?;
        let who = match tag {
            0x01 | 0x02 => "user",
            0x04 | 0x08 => "group",
            0x10 => "mask",
            0x20 => "other",
            _ => return None,
        };
        let id = if is_named(tag) { id.to_string() } else { String::new() };
        let flag = |bit: u32, letter: char| if rights & bit != 0 { letter } else { '-' };
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{who}:{id}:{}{}{}", flag(4, 'r'), flag(2, 'w'), flag(1, 'x')).ok()?;
    }
    Some(text)
}

/// Whether an entry of an access list has a number of a user or a group.
pub(super) const fn is_named(tag: u32) -> bool {
    matches!(tag, 0x02 | 0x08)
}

/// Name and value of an attribute as ext and F2FS keep it, with a number for the beginning of its name.
pub(super) fn packed_attribute(index: u8, name: &[u8], value: &[u8]) -> (String, String) {
    let prefix = match index {
        1 => "user.",
        2 => "system.posix_acl_access",
        3 => "system.posix_acl_default",
        4 => "trusted.",
        6 => "security.",
        7 => "system.",
        8 => "system.richacl",
        _ => "",
    };
    let name = format!("{prefix}{}", String::from_utf8_lossy(name));
    let access = if matches!(index, 2 | 3) { packed_access_list(value) } else { None };
    (name, access.unwrap_or_else(|| self::value(value)))
}

/// An access list as ext and F2FS pack it: entries for a named user or group are longer than the others.
pub(super) fn packed_access_list(b: &[u8]) -> Option<String> {
    let mut at = 4usize; // a_version
    access_list(std::iter::from_fn(|| {
        let entry = || {
            let (tag, rights) = (u32::from(b.le16(at)?), u32::from(b.le16(at.checked_add(2)?)?)); // e_tag, e_perm
            let id = if is_named(tag) { b.le32(at.checked_add(4)?)? } else { 0 }; // e_id
            Some((tag, rights, id))
        };
        let found = (at < b.len()).then(entry)?;
        at = at.saturating_add(if found.is_some_and(|(tag, ..)| is_named(tag)) { 8 } else { 4 });
        Some(found)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_lists_read_as_getfacl_prints_them() {
        let raw = [1, 0, 0, 0, 1, 0, 6, 0, 2, 0, 4, 0, 0xe8, 3, 0, 0, 0x10, 0, 4, 0, 0x20, 0, 0, 0];
        assert_eq!(packed_access_list(&raw).as_deref(), Some("user::rw-,user:1000:r--,mask::r--,other::---"));
        assert_eq!(packed_access_list(&raw[..9]), None);
    }
}
