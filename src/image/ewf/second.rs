//! The sections of a segment of the second format: each ends with a descriptor of 64 bytes that names the one before it,
//! so they are found from the end.

use super::table::{Form, Span};
use super::{Ending, Gathered, Version, text};
use crate::bytes::{Fields, index};
use crate::image::ImageError;
use crate::image::about::Algorithm;
use crate::image::chunks::adler32;
use crate::image::codec::{Codec, measured};
use crate::image::file::{Source, unfit};

const HEADER: usize = 32;
const DESCRIPTOR: usize = 64;
/// The largest section that is unpacked: device information and case data.
const MOST_TEXT: u64 = 1 << 20;

struct Section<'a> {
    kind: u32,
    encrypted: bool,
    /// Where its descriptor begins.
    at: usize,
    data: &'a [u8],
}

/// Reads the sections of segment `number`.
///
/// # Errors
/// Where it is encrypted, or packed in a way that is not known.
pub(super) fn read(source: &Source, number: usize, gathered: &mut Gathered) -> Result<Ending, ImageError> {
    let bytes = source.bytes();
    let codec = match bytes.le16(10) {
        Some(2) => Codec::Bzip2,
        _ => Codec::Zlib,
    };
    gathered.media.set_id(bytes.array(16), &format!("segment {number}"));
    let sections = sections(bytes, number, gathered);
    if sections.iter().any(|section| section.encrypted || section.kind == 0xb) {
        let hint = "its format is not public: let the program that made it write one that is not";
        return Err(unfit(&source.path, "is encrypted", hint));
    }
    for section in &sections {
        take(section, codec, number, gathered);
    }
    let last = sections.last().map(|section| section.kind);
    match last {
        Some(0xd) => Ok(Ending::Next),
        Some(0xf) => Ok(Ending::Done),
        _ => {
            gathered.media.about.fault(format!("segment {number} breaks off: its last section is not there"));
            Ok(Ending::Cut)
        }
    }
}

/// All sections, in the order of the file.
fn sections<'a>(bytes: &'a [u8], number: usize, gathered: &mut Gathered) -> Vec<Section<'a>> {
    let mut found = Vec::new();
    let mut end = bytes.len();
    let mut at = end.checked_sub(DESCRIPTOR);
    while let Some(here) = at.filter(|here| *here >= HEADER) {
        let Some((section, before)) = section_at(bytes, here) else {
            let place = format!("segment {number}: at byte {here} a section should be described, and none is");
            gathered.media.about.fault(place);
            at = search(bytes, end.min(here));
            end = here;
            continue;
        };
        // Whoever names a section behind itself names no other any more.
        at = (before != 0 && before < here).then_some(before);
        end = here;
        found.push(section);
    }
    found.reverse();
    found
}

/// The section whose descriptor is at `at`, and where the one before it is described.
fn section_at(bytes: &[u8], at: usize) -> Option<(Section<'_>, usize)> {
    let descriptor = bytes.span(at, DESCRIPTOR)?;
    if descriptor.le32(60)? != adler32(descriptor.get(..60)?) || descriptor.le32(24)? != 64 {
        return None;
    }
    let (kind, flags) = (descriptor.le32(0)?, descriptor.le32(4)?);
    let size = index(descriptor.le64(16)?);
    let data = bytes.get(at.checked_sub(size)?..at)?;
    Some((Section { kind, encrypted: flags & 2 != 0, at, data }, index(descriptor.le64(8)?)))
}

/// The last descriptor before `end` that holds.
fn search(bytes: &[u8], end: usize) -> Option<usize> {
    let last = end.checked_sub(16)? & !15;
    (HEADER..=last).rev().filter(|at| at % 16 == 0).find(|at| {
        let length = bytes.le32(at.saturating_add(24));
        length == Some(64) && section_at(bytes, *at).is_some()
    })
}

fn take(section: &Section<'_>, codec: Codec, number: usize, gathered: &mut Gathered) {
    let place = format!("segment {number}, section {:#x} described at byte {}", section.kind, section.at);
    let data = section.data;
    let media = &mut gathered.media;
    match section.kind {
        1 | 2 => match measured(codec, data, MOST_TEXT) {
            Some(bytes) => {
                let values = text::values(&text::decode(&bytes));
                media.described(&values);
                text::tell(&values, Version::Second, &mut media.about);
            }
            None => media.about.fault(format!("{place}: cannot be unpacked")),
        },
        4 => table(section, codec, &place, number, gathered),
        5 => errors(data, &place, gathered),
        8 => hash(data, Algorithm::Md5, 16, &place, gathered),
        9 => hash(data, Algorithm::Sha1, 20, &place, gathered),
        _ => {}
    }
}

fn hash(data: &[u8], algorithm: Algorithm, len: usize, place: &str, gathered: &mut Gathered) {
    let bytes = data.get(..len).unwrap_or_default();
    if data.le32(len) == Some(adler32(bytes)) {
        gathered.media.about.hash(algorithm, bytes, place);
    } else {
        gathered.media.about.fault(format!("{place}: its checksum does not hold, it is not read"));
    }
}

/// The entries behind a header of 32 bytes, `size` each, whose checksums are checked.
fn entries<'a>(data: &'a [u8], count: u32, sum_at: usize, place: &str, gathered: &mut Gathered) -> &'a [u8] {
    let room = data.len().saturating_sub(HEADER);
    let len = index(u64::from(count).saturating_mul(16)).min(room) & !15;
    let entries = data.span(HEADER, len).unwrap_or_default();
    let header_holds = data.le32(sum_at) == data.get(..sum_at).map(adler32);
    if !header_holds || data.le32(HEADER.saturating_add(len)) != Some(adler32(entries)) {
        gathered.media.about.fault(format!("{place}: its checksum does not hold"));
    }
    entries
}

fn table(section: &Section<'_>, codec: Codec, place: &str, number: usize, gathered: &mut Gathered) {
    let data = section.data;
    let entries = entries(data, data.le32(8).unwrap_or(0), 16, place, gathered);
    let begin = section.at.saturating_sub(data.len()).saturating_add(HEADER);
    gathered.tables.push(Span {
        first: data.le64(0).unwrap_or(0),
        count: Some(entries.len() as u64 / 16),
        file: number.saturating_sub(1),
        at: begin as u64,
        form: Form::Second { codec },
    });
}

/// Ranges of sectors that could not be read when the disk was acquired.
fn errors(data: &[u8], place: &str, gathered: &mut Gathered) {
    let entries = entries(data, data.le32(0).unwrap_or(0), 16, place, gathered);
    for entry in entries.chunks_exact(16) {
        gathered.media.error(entry.le64(0).unwrap_or(0), entry.le32(8).unwrap_or(0).into());
    }
}
