//! Extended attributes of UFS2, which stand in blocks of their own.
//!
//! FreeBSD `sys/ufs/ufs/extattr.h`, `struct extattr`.

use super::superblock::Superblock;
use crate::bytes::{Fields, index};
use crate::fs::posix;

/// Attributes of one inode.
const MAX_ATTRIBUTES: usize = 1024;

/// The attributes in `area`, name and value; and whether that is all of them, or the next is damaged.
pub(super) fn list(sb: &Superblock, area: &[u8]) -> (Vec<(String, String)>, bool) {
    let (mut found, mut at) = (Vec::new(), 0usize);
    while let Some(raw) = area.get(at..).filter(|raw| raw.len() >= 8) {
        // The rest of the area is zeros.
        if sb.order.n32(raw, 0) == Some(0) {
            break;
        }
        let Some((len, attribute)) = one(sb, raw).filter(|_| found.len() < MAX_ATTRIBUTES) else {
            return (found, false);
        };
        found.push(attribute);
        at = at.saturating_add(len);
    }
    (found, true)
}

/// The length of the attribute at the start of `raw`, its name and its value.
fn one(sb: &Superblock, raw: &[u8]) -> Option<(usize, (String, String))> {
    let len = index(sb.order.n32(raw, 0)?.into());
    let (space, padding, name_len) = (raw.byte(4)?, usize::from(raw.byte(5)?), usize::from(raw.byte(6)?));
    let whole = raw.span(0, len)?;
    let name = posix::name(whole.span(7, name_len)?);
    let start = name_len.checked_add(7)?.checked_next_multiple_of(8)?;
    let value = whole.get(start..len.checked_sub(padding)?)?;
    let prefix = match space {
        1 => "user.",
        2 => "system.",
        _ => "",
    };
    (len >= 8).then(|| (len, (format!("{prefix}{name}"), posix::value(value))))
}
