//! AFF, version 1: the Advanced Forensic Format of AFFLIB (`afflib.h` and the format's paper, Garfinkel et al. 2006).
//!
//! Big-endian. `AFF10\r\n\0`, then segments: `AFF\0`, length of the name, length of the data, argument, the name, the data, `ATT\0`
//! and the length of all of it. `pageN` holds a page of the disk; its argument says how it is packed: bit 0 that it is, bits 4 to
//! 7 with what. Other segments tell page size, image size (low word first), hashes, times and programs.

use super::Taken;
use super::about::{About, Algorithm};
use super::chunks::{Chunks, Files, MAX_GRAIN, Piece, Place, Table};
use super::codec::Codec;
use super::file::{Source, peek, unfit};
use crate::bytes::Fields;
use crate::extent::Extent;
use std::collections::BTreeMap;
use std::path::Path;

const MAGIC: &[u8] = b"AFF10\r\n\0";
/// Names and texts of other segments are no longer.
const MAX_TEXT: u64 = 4096;
const MAX_SEGMENTS: usize = 1 << 24;

/// The disk.
struct Aff {
    size: u64,
    page: u64,
    pages: BTreeMap<u64, Place>,
}

/// A segment.
struct Segment<'a> {
    name: &'a str,
    argument: u32,
    data: Extent,
}

/// Opens the disk.
///
/// # Errors
/// Where its pages have no size, or are encrypted.
pub fn open(path: &Path) -> Taken {
    if path.is_dir() || !peek::<8>(path, None)?.starts_with(MAGIC) {
        return Ok(None);
    }
    let source = Source::open(path)?;
    let damaged = |what: &str| unfit(path, what, "convert it with affconvert -e raw, or choose another");
    let (mut about, mut aff) = (About::default(), Aff { size: 0, page: 0, pages: BTreeMap::new() });
    let mut sized = false;
    let mut at = MAGIC.len() as u64;
    let mut found = Vec::new();
    while at < source.size() && found.len() < MAX_SEGMENTS {
        let Some((segment, next)) = segment(&source, at) else {
            about.fault(format!("the segment at byte {at} of the file is damaged: what lies behind it is not read"));
            break;
        };
        found.push(segment);
        at = next;
    }
    // Pages may stand before the segment that says how large they are.
    for segment in found.iter().filter(|segment| !segment.name.starts_with("page") || segment.name == "pagesize") {
        let bytes = source.at(segment.data).unwrap_or_default();
        match segment.name {
            "pagesize" | "segsize" => aff.page = segment.argument.into(),
            "imagesize" => {
                let words = bytes.be32(0).zip(bytes.be32(4));
                (aff.size, sized) =
                    (words.map_or(0, |(low, high)| u64::from(high) << 32 | u64::from(low)), words.is_some());
            }
            "affkey_aes256" => return Err(damaged("is encrypted")),
            _ => told(segment, bytes, &mut about),
        }
    }
    if aff.page == 0 || aff.page > MAX_GRAIN {
        return Err(damaged("does not say how large its pages are, or is damaged"));
    }
    for segment in &found {
        aff.add(segment, &source);
    }
    let end = aff.pages.last_key_value().map_or(0, |(number, _)| number.saturating_add(1).saturating_mul(aff.page));
    if !sized {
        about.fault("does not say how large its disk is: it is taken to end with its last page".to_owned());
        aff.size = end;
    }
    Ok(Some(Box::new(Chunks::new(aff, Files::new(vec![source]), None, about))))
}

/// The segment at byte `at` of the file, and where the next one begins.
fn segment(source: &Source, at: u64) -> Option<(Segment<'_>, u64)> {
    let head = source.at(Extent::new(at, 16))?;
    if head.span(0, 4)? != b"AFF\0" {
        return None;
    }
    let (name_len, data_len, argument) = (u64::from(head.be32(4)?), u64::from(head.be32(8)?), head.be32(12)?);
    if name_len > MAX_TEXT {
        return None;
    }
    let name = std::str::from_utf8(source.at(Extent::new(at.checked_add(16)?, name_len))?).ok()?;
    let data = Extent::new(at.checked_add(16)?.checked_add(name_len)?, data_len);
    let tail = source.at(Extent::new(data.end(), 8))?;
    let len = u64::from(tail.be32(4)?);
    let whole = tail.span(0, 4)? == b"ATT\0" && at.checked_add(len)? == data.end().checked_add(8)?;
    whole.then_some((Segment { name, argument, data }, data.end().checked_add(8)?))
}

/// What the other segments say.
fn told(segment: &Segment<'_>, bytes: &[u8], about: &mut About) {
    match segment.name {
        "md5" => about.hash(Algorithm::Md5, bytes, "the segment md5"),
        "sha1" => about.hash(Algorithm::Sha1, bytes, "the segment sha1"),
        "sha256" => about.hash(Algorithm::Sha256, bytes, "the segment sha256"),
        "badsectors" => {
            if let Some(count) = bytes.be32(0).filter(|count| *count > 0) {
                about.remark(format!(
                    "the acquisition could not read {count} sectors, which hold the text of the segment badflag"
                ));
            }
        }
        name if segment.data.len <= MAX_TEXT
            && bytes.iter().all(|byte| (0x20..0x7f).contains(byte) || *byte == b'\n') =>
        {
            about.fact(name, String::from_utf8_lossy(bytes).trim().to_owned());
        }
        _ => {}
    }
}

impl Aff {
    fn add(&mut self, segment: &Segment<'_>, source: &Source) {
        let number = segment.name.strip_prefix("page").or_else(|| segment.name.strip_prefix("seg"));
        let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else { return };
        let (extent, len) = (segment.data, self.page);
        let start = number.saturating_mul(self.page);
        // The last page is as long as the disk.
        let len = len.min(self.size.saturating_sub(start)).max(1);
        let packed = |codec| Place::Packed { file: 0, extent, codec, len };
        let place = match (segment.argument & 1, segment.argument >> 4 & 0xf) {
            (0, _) if extent.len >= len => Place::Stored { file: 0, at: extent.start, summed: 0 },
            (0, _) => Place::Lost,
            (_, 0) => packed(Codec::Zlib),
            (_, 1) => packed(Codec::Bzip2),
            (_, 2) => packed(Codec::Lzma),
            (_, 3)
                if source.at(extent).and_then(|bytes| bytes.be32(0)).is_some_and(|zeros| u64::from(zeros) >= len) =>
            {
                Place::Zeros
            }
            _ => Place::Lost,
        };
        self.pages.entry(number).or_insert(place);
    }
}

impl Table for Aff {
    fn format(&self) -> &'static str {
        "aff"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn grain(&self) -> u64 {
        self.page
    }

    fn piece(&self, _files: &Files, at: u64) -> Piece {
        let number = at.checked_div(self.page).unwrap_or(0);
        let start = number.saturating_mul(self.page);
        let extent = Extent::between(start, start.saturating_add(self.page).min(self.size));
        Piece::new(extent, self.pages.get(&number).copied().unwrap_or(Place::Lost))
    }
}
