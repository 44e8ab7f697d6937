//! The sections of a segment of the first format: each begins with a descriptor of 76 bytes that names the next.

use super::table::{Form, Span, outgrown};
use super::{Ending, Gathered, Version, text};
use crate::bytes::{Fields, index};
use crate::image::about::Algorithm;
use crate::image::chunks::adler32;
use md5::Digest;
use memchr::memmem;

const HEADER: usize = 13;
const DESCRIPTOR: usize = 76;

/// The sections that are known. What is damaged is left by looking for the next of them.
const NAMES: [&str; 19] = [
    "header", "header2", "volume", "disk", "data", "sectors", "table", "table2", "next", "done", "hash", "digest",
    "error2", "session", "xheader", "xhash", "ltree", "ltypes", "map",
];

struct Section<'a> {
    name: &'static str,
    /// Where its descriptor begins.
    at: usize,
    data: &'a [u8],
}

impl Section<'_> {
    /// The segment and the place in it, for people.
    fn place(&self, number: usize) -> String {
        format!("segment {number}, section {} at byte {}", self.name, self.at)
    }
}

/// A table section whose copy may follow.
struct Table {
    /// Where its descriptor begins.
    at: usize,
    span: Span,
    /// True where the checksums of header and entries hold.
    holds: [bool; 2],
    /// The checksum behind the entries.
    sum: Option<u32>,
}

/// Reads the sections of segment `number`.
pub(super) fn read(bytes: &[u8], number: usize, gathered: &mut Gathered) -> Ending {
    let mut at = HEADER;
    let mut pending: Option<Table> = None;
    let ending = loop {
        let Some((section, next)) = next_section(bytes, at, number, gathered) else {
            break Ending::Cut;
        };
        if section.name != "table2"
            && let Some(table) = pending.take()
        {
            settle(table, None, number, gathered);
        }
        match section.name {
            "next" => break Ending::Next,
            "done" => break Ending::Done,
            "table" => pending = Some(table(bytes, &section, None, number)),
            "table2" => {
                let first = pending.take();
                let copy = table(bytes, &section, first.as_ref().map(|t| t.at), number);
                match first {
                    Some(first) => settle(first, Some(copy), number, gathered),
                    None => settle(copy, None, number, gathered),
                }
            }
            _ => take(&section, number, gathered),
        }
        at = next;
    };
    if let Some(table) = pending {
        settle(table, None, number, gathered);
    }
    if ending == Ending::Cut {
        gathered.media.about.fault(format!("segment {number} breaks off: its last section is not there"));
    }
    ending
}

/// The section at `at`, or the next one that can be made out, and where the one behind it should begin.
fn next_section<'a>(
    bytes: &'a [u8],
    at: usize,
    number: usize,
    gathered: &mut Gathered,
) -> Option<(Section<'a>, usize)> {
    let (at, name) = match name_at(bytes, at) {
        Some(name) => (at, name),
        None if at.saturating_add(DESCRIPTOR) > bytes.len() => return None,
        None => {
            let what = format!("segment {number}: at byte {at} a section should begin, and none does");
            gathered.media.about.fault(what);
            search(bytes, at)?
        }
    };
    let named = index(bytes.le64(at.checked_add(16)?)?);
    let from = at.checked_add(DESCRIPTOR)?;
    // The last one names itself. Where the next is behind the end, what is there of this one counts.
    let end = if named > at { named.min(bytes.len()).max(from) } else { from };
    let section = Section { name, at, data: bytes.get(from..end)? };
    if named <= at && !matches!(name, "next" | "done") {
        gathered.media.about.fault(format!("{}: names no section behind it", section.place(number)));
        let next = search(bytes, from).map_or(bytes.len(), |(next, _)| next);
        return Some((Section { data: bytes.get(from..next)?, ..section }, next));
    }
    Some((section, end))
}

/// The name in the descriptor at `at`, where its checksum holds.
fn name_at(bytes: &[u8], at: usize) -> Option<&'static str> {
    let descriptor = bytes.span(at, DESCRIPTOR)?;
    let (covered, sum) = descriptor.split_at_checked(72)?;
    let name = descriptor.get(..16)?.split(|b| *b == 0).next()?;
    let known = NAMES.into_iter().find(|known| known.as_bytes() == name);
    if sum.le32(0)? != adler32(covered) {
        return None;
    }
    Some(known.unwrap_or("of no known kind"))
}

/// The first section at or behind `from` whose descriptor holds.
fn search(bytes: &[u8], from: usize) -> Option<(usize, &'static str)> {
    let mut best: Option<(usize, &'static str)> = None;
    for name in NAMES {
        let mut needle = [0u8; 16];
        needle.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        let end = best.map_or(bytes.len(), |(at, _)| at.saturating_add(needle.len()).min(bytes.len()));
        let hay = bytes.get(from..end).unwrap_or_default();
        let mut hits = memmem::find_iter(hay, &needle).map(|hit| from.saturating_add(hit));
        best = hits.find(|at| name_at(bytes, *at).is_some()).map(|at| (at, name)).or(best);
    }
    best
}

/// True where the checksum at `at` is that of all before it.
fn holds(data: &[u8], at: usize) -> bool {
    data.le32(at).is_some_and(|sum| data.get(..at).is_some_and(|covered| adler32(covered) == sum))
}

fn take(section: &Section<'_>, number: usize, gathered: &mut Gathered) {
    let (data, place) = (section.data, section.place(number));
    let media = &mut gathered.media;
    match section.name {
        "header" | "header2" => match text::unpack(data) {
            Some(text) => text::tell(&text::values(&text), Version::First, &mut media.about),
            None => media.about.fault(format!("{place}: cannot be unpacked")),
        },
        "volume" | "disk" | "data" => {
            let sum = if data.len() < 1052 { 90 } else { 1048 };
            media.volume(data, holds(data, sum), &place);
        }
        "hash" if holds(data, 32) => media.about.hash(Algorithm::Md5, data.get(..16).unwrap_or_default(), &place),
        "digest" if holds(data, 76) => {
            media.about.hash(Algorithm::Md5, data.get(..16).unwrap_or_default(), &place);
            media.about.hash(Algorithm::Sha1, data.get(16..36).unwrap_or_default(), &place);
        }
        "ltree" => match list(data) {
            Some((list, sure)) => {
                if !sure {
                    media.about.fault(format!("{place}: the checksum of the list of files does not hold"));
                }
                gathered.tree = Some((list, sure));
            }
            None => media.about.fault(format!("{place}: the list of files breaks off")),
        },
        "error2" if holds(data, 516) => errors(data, &place, gathered),
        "hash" | "digest" | "error2" => {
            media.about.fault(format!("{place}: its checksum does not hold, it is not read"))
        }
        "of no known kind" => media.about.remark(format!("{place}: is not read")),
        _ => {}
    }
}

/// The list of files of logical evidence, and whether its MD5 and the checksum of its header hold.
fn list(data: &[u8]) -> Option<(Vec<u8>, bool)> {
    const HEADER: usize = 48;
    let mut head = data.span(0, HEADER)?.to_vec();
    let sum = head.le32(24)?;
    let list = data.span(HEADER, index(data.le64(16)?))?;
    head.get_mut(24..28)?.fill(0);
    let holds = md5::Md5::digest(list).as_slice() == data.span(0, 16)? && adler32(&head) == sum;
    Some((list.to_vec(), holds))
}

/// Ranges of sectors that could not be read when the disk was acquired.
fn errors(data: &[u8], place: &str, gathered: &mut Gathered) {
    const ENTRIES: usize = 520;
    let count = data.le32(0).unwrap_or(0);
    let len = index(u64::from(count).saturating_mul(8));
    let entries = data.span(ENTRIES, len).unwrap_or_default();
    let sum = data.le32(ENTRIES.saturating_add(len));
    if sum != Some(adler32(entries)) {
        gathered.media.about.fault(format!("{place}: the checksum of its entries does not hold"));
    }
    for entry in entries.chunks_exact(8) {
        gathered.media.error(entry.le32(0).unwrap_or(0).into(), entry.le32(4).unwrap_or(0).into());
    }
}

/// A table or, where `first` says where the section it copies begins, its copy.
fn table(bytes: &[u8], section: &Section<'_>, first: Option<usize>, number: usize) -> Table {
    const ENTRIES: usize = 24;
    let data = section.data;
    let header_holds = holds(data, 20);
    let count = u64::from(data.le32(0).unwrap_or(0)).min(data.len().saturating_sub(ENTRIES) as u64 / 4);
    let whole = count == u64::from(data.le32(0).unwrap_or(0));
    let base = data.le64(8).unwrap_or(0);
    let at = section.at.saturating_add(DESCRIPTOR).saturating_add(ENTRIES) as u64;
    let section_at = first.unwrap_or(section.at) as u64;
    // EnCase puts the chunks before the table and a checksum behind it; SMART the chunks into it, and no checksum.
    let offset = data.le32(ENTRIES).map_or(0, |entry| base.saturating_add((entry & 0x7fff_ffff).into()));
    let before = offset < section_at;
    let limit = if before { section_at } else { at.saturating_add(data.len() as u64).saturating_sub(ENTRIES as u64) };
    let len = index(count.saturating_mul(4));
    let entries = data.span(ENTRIES, len).unwrap_or_default();
    let sum = data.le32(ENTRIES.saturating_add(len)).filter(|_| before);
    let entries_hold = whole && (!before || sum == Some(adler32(entries)));
    let long = base == 0 && bytes.len() > 0x7fff_ffff;
    let plain = if long { outgrown(bytes, at, count) } else { count };
    let form = Form::First { base, limit, plain };
    let span = Span { first: 0, count: Some(count), file: number.saturating_sub(1), at, form };
    Table { at: section.at, span, holds: [header_holds, entries_hold], sum }
}

/// Adds the better one of a table and its copy.
fn settle(table: Table, copy: Option<Table>, number: usize, gathered: &mut Gathered) {
    let about = &mut gathered.media.about;
    let place = format!("segment {number}, table at byte {}", table.at);
    let sound = |t: &Table| t.holds == [true, true];
    let span = match copy {
        Some(copy) if sound(&table) && sound(&copy) => {
            if (table.sum, table.span.count) != (copy.sum, copy.span.count) {
                about.fault(format!("{place}: its copy is another table"));
            }
            table.span
        }
        _ if sound(&table) => table.span,
        Some(copy) if sound(&copy) => {
            about.fault(format!("{place}: its checksum does not hold; its copy is read"));
            copy.span
        }
        copy => {
            // Each chunk has its own checksum: a wrong entry gives no wrong bytes. A wrong count would shift all others.
            let with_header = [Some(&table), copy.as_ref()].into_iter().flatten().find(|t| t.holds == [true, false]);
            about.fault(format!("{place}: its checksum does not hold, and there is no sound copy"));
            with_header.map_or(Span { count: None, ..table.span }, |t| t.span)
        }
    };
    gathered.tables.push(span);
}
