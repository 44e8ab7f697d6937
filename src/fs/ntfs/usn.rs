//! `$Extend\$UsnJrnl:$J`, the log of changes: `USN_RECORD_V2` and `USN_RECORD_V3` ([MS-FSCC] 2.3.61 ff., Windows SDK
//! `winioctl.h`). Its stream is sparse up to the first record that is kept.

use super::lost::{Find, Lost};
use super::record::Reference;
use super::tree::FileName;
use crate::bytes::{Fields, utf16_le};
use crate::content::{Content, Run, Stream};
use crate::fs::Origin;
use crate::time::Timestamp;
use std::collections::HashMap;

/// The record of `$Extend`.
pub(super) const EXTEND: u64 = 11;
/// So much of the log is read in one piece; a record does not cross a page of 4 KiB.
const PIECE: u64 = 1 << 18;
/// More than this is not read.
const MAX_LOG: u64 = 1 << 33;

const FILE_CREATE: u32 = 0x100;
const FILE_DELETE: u32 = 0x200;
const RENAME_OLD_NAME: u32 = 0x1000;
/// What happened to a file, by the reason's bit.
const REASONS: &[(u32, &str)] = &[
    (0x1, "overwritten"),
    (0x2, "extended"),
    (0x4, "truncated"),
    (FILE_CREATE, "created"),
    (FILE_DELETE, "deleted"),
    (RENAME_OLD_NAME, "renamed"),
];

/// One record of the log.
struct Change {
    file: Reference,
    name: FileName,
    time: Option<Timestamp>,
    reason: u32,
}

/// What the log tells of a file.
struct History {
    /// The last name, and where it stands.
    last: (FileName, u64),
    old: Vec<String>,
    reasons: u32,
    dtime: Option<Timestamp>,
}

/// Takes the files that are gone from the table.
pub(super) fn read(lost: &mut Lost<'_, '_>, journal: Stream) {
    let view = lost.ntfs.mft.view;
    let first = journal.runs.iter().take_while(|run| matches!(run, Run::Hole(_)));
    let mut at = first.fold(0u64, |sum, run| sum.saturating_add(run.len()));
    let end = journal.size.min(at.saturating_add(MAX_LOG));
    let content = Content::of(view, journal);
    let (mut rows, mut order): (HashMap<Reference, History>, Vec<Reference>) = (HashMap::new(), Vec::new());
    while at < end && lost.may_read(PIECE.min(end.saturating_sub(at))) {
        let piece = content.slice(at, PIECE.min(end.saturating_sub(at)));
        for (within, change) in changes(&piece.prefix(PIECE), lost.ntfs.mft.len()) {
            if !lost.lists(change.file) {
                let place = piece.locate(within as u64).unwrap_or(0).saturating_sub(view.extent().start);
                note(&mut rows, change, place, &mut order);
            }
        }
        at = at.saturating_add(PIECE);
    }
    for file in order {
        if let Some(history) = rows.remove(&file) {
            lost.add(find(file, history));
        }
    }
}

fn note(rows: &mut HashMap<Reference, History>, change: Change, at: u64, order: &mut Vec<Reference>) {
    let history = rows.entry(change.file).or_insert_with(|| {
        order.push(change.file);
        History { last: (change.name.clone(), at), old: Vec::new(), reasons: 0, dtime: None }
    });
    history.reasons |= change.reason;
    if change.reason & FILE_DELETE != 0 {
        history.dtime = change.time;
    }
    if change.reason & RENAME_OLD_NAME != 0 && !history.old.contains(&change.name.name) {
        history.old.push(change.name.name.clone());
    }
    history.last = (change.name, at);
}

fn find(file: Reference, history: History) -> Find {
    let (name, at) = history.last;
    let reasons: Vec<_> = REASONS.iter().filter(|(bit, _)| history.reasons & bit != 0).map(|(_, text)| *text).collect();
    let mut note = "found in the log of changes".to_owned();
    if !reasons.is_empty() {
        note = format!("{note}: {}", reasons.join(", "));
    }
    let old: Vec<_> = history.old.iter().filter(|old| **old != name.name).map(String::as_str).collect();
    if !old.is_empty() {
        note = format!("{note}; before that called {}", old.join(", "));
    }
    Find { dtime: history.dtime, ..Find::name(name, Some(file), Origin::ChangeLog, at, &note) }
}

/// The records in a stretch of the log, with their offsets.
fn changes(bytes: &[u8], records: u64) -> Vec<(usize, Change)> {
    let (mut at, mut found) = (0usize, Vec::new());
    while at < bytes.len() {
        let change = bytes.get(at..).and_then(|bytes| parse(bytes, records));
        let length = change.as_ref().map_or(8, |(_, length)| *length);
        found.extend(change.map(|(change, _)| (at, change)));
        at = at.saturating_add(length);
    }
    found
}

/// A record and its length.
fn parse(bytes: &[u8], records: u64) -> Option<(Change, usize)> {
    let length = usize::try_from(bytes.le32(0)?).ok().filter(|n| (60..=4096).contains(n) && n.is_multiple_of(8))?;
    // Version 3 has references of 16 bytes; of NTFS only the lower half is used.
    let (parent, rest) = match bytes.le16(4)? {
        2 => (16, 24),
        3 => (24, 40),
        _ => return None,
    };
    let field = |at: usize| bytes.le64(at).map(Reference::parse);
    let (file, parent) = (field(8)?, field(parent)?);
    let head = bytes.get(rest..)?;
    let (name_length, name_offset) = (usize::from(head.le16(32)?), usize::from(head.le16(34)?));
    let fits = file.record < records && parent.record < records && name_length > 0;
    let name = bytes.get(..length)?.span(name_offset, name_length).filter(|_| fits).map(utf16_le)?;
    let directory = head.le32(28)? & 0x10 != 0;
    let name = FileName { parent, name, namespace: 3, times: [None; 4], size: 0, directory };
    let (time, reason) = (Timestamp::filetime(head.le64(8)?), head.le32(16)?);
    Some((Change { file, name, time, reason }, length))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: u64 = 40 | 3 << 48;

    /// A record of version 2, in the root.
    pub(crate) fn record(name: &str, reason: u32, file: u64) -> Vec<u8> {
        let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut bytes = vec![0u8; (60 + units.len()).next_multiple_of(8)];
        let length = bytes.len() as u32;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4] = 2;
        bytes[8..16].copy_from_slice(&file.to_le_bytes());
        bytes[16..24].copy_from_slice(&(5u64 | 5 << 48).to_le_bytes());
        bytes[32..40].copy_from_slice(&133_000_000_000_000_000u64.to_le_bytes());
        bytes[40..44].copy_from_slice(&reason.to_le_bytes());
        bytes[56..58].copy_from_slice(&(units.len() as u16).to_le_bytes());
        bytes[58] = 60;
        bytes[60..60 + units.len()].copy_from_slice(&units);
        bytes
    }

    #[test]
    fn a_file_is_known_by_its_last_name() {
        let log = [vec![0; 16], record("a.txt", RENAME_OLD_NAME, FILE), record("b.txt", FILE_DELETE, FILE)].concat();
        let (mut rows, mut order) = (HashMap::new(), Vec::new());
        for (at, change) in changes(&log, 100) {
            note(&mut rows, change, at as u64, &mut order);
        }
        let file = Reference::parse(FILE);
        let found = find(file, rows.remove(&file).expect("it was noted"));
        assert_eq!(found.name.map(|n| n.name).as_deref(), Some("b.txt"));
        assert!(found.dtime.is_some() && found.note.ends_with("deleted, renamed; before that called a.txt"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(changes(&bytes, 1000).len() < 6);
        }
    }
}
