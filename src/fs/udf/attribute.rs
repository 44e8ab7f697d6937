//! Extended attributes (ECMA-167, 4/14.10; UDF 2.60, 3.3.4): devices, times, and what systems keep there.

use super::tag::{self, Tag};
use super::text;
use crate::bytes::{Fields, index, latin1};
use crate::fs::{Entry, EntryKind, posix};

/// Bytes before the first attribute.
const HEADER: usize = 24;

/// Puts the attributes of a space into an entry.
///
/// # Errors
/// What is wrong with it.
pub(super) fn describe(space: &[u8], entry: &mut Entry) -> Result<(), &'static str> {
    if space.is_empty() {
        return Ok(());
    }
    let damaged = "its extended attributes are damaged";
    let tag = Tag::read(space).filter(|tag| tag.id == tag::ATTRIBUTES).ok_or(damaged)?;
    let mut at = HEADER;
    while let Some(raw) = space.get(at..).filter(|raw| raw.len() >= 12 && raw.le32(0) != Some(0)) {
        let len = raw.le32(8).map(|len| index(len.into())).filter(|len| *len >= 12).ok_or(damaged)?;
        let attribute = raw.get(..len).ok_or(damaged)?;
        one(attribute, entry).ok_or(damaged)?;
        at = at.saturating_add(len);
    }
    if tag.sums && tag.checks { Ok(()) } else { Err("the sums of its extended attributes do not fit") }
}

fn one(raw: &[u8], entry: &mut Entry) -> Option<()> {
    match raw.le32(0)? {
        5 => {
            // Bits of the existing times: creation, deletion, the time it holds from, last backup.
            let (held, mut at) = (raw.le32(16)?, 20usize);
            for bit in [0u32, 2, 3, 5].into_iter().filter(|bit| held >> bit & 1 != 0) {
                let time = text::time(raw.get(at..)?);
                at = at.checked_add(12)?;
                match bit {
                    0 => entry.times.btime = entry.times.btime.or(time),
                    2 => entry.times.dtime = time,
                    _ => {
                        let name = if bit == 3 { "effective" } else { "last backup" };
                        entry.attributes.extend(time.map(|time| (name.to_owned(), time.rfc3339())));
                    }
                }
            }
        }
        12 if entry.kind == EntryKind::Special => {
            entry.remark(&format!("device {}:{}", raw.le32(16)?, raw.le32(20)?));
        }
        2048 | 65_536 => {
            let name = latin1(raw.span(17, 23)?);
            let value = raw.span(48, index(raw.le32(12)?.into())).or_else(|| raw.get(48..)).unwrap_or_default();
            // Room that is kept free is no attribute.
            if !matches!(name.as_str(), "*UDF FreeEASpace" | "*UDF FreeAppEASpace") {
                entry.attributes.push((name, posix::value(value)));
            }
        }
        _ => {}
    }
    Some(())
}
