//! The members of a volume that is a ZIP file (APPNOTE.TXT 6.3.x, with ZIP64), by its central directory.
//!
//! Local headers are looked at when a member is read: a large volume has tens of thousands of them, each on a page of its own.

use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::image::file::Source;
use memchr::memmem;

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const END_LEN: u64 = 22;
const LOCATOR_LEN: u64 = 20;
const END64_LEN: u64 = 56;

/// A member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// As the archive has it.
    pub(super) name: String,
    /// Number of the file that holds it.
    pub(super) file: usize,
    /// Where its local header begins; `None` where the file is the member.
    header: Option<u64>,
    packed: u64,
    /// How many bytes it holds.
    pub(super) size: u64,
    /// True where they are packed with deflate.
    pub(super) deflated: bool,
    /// The CRC-32 of what it holds, where the archive has one.
    pub(super) crc: Option<u32>,
}

/// The directory of an archive.
pub(super) struct Archive {
    /// In the order of the directory.
    pub(super) members: Vec<Member>,
    /// The comment, up to its first zero.
    pub(super) comment: String,
    /// What is wrong with it.
    pub(super) faults: Vec<String>,
}

impl Member {
    /// A file that is a member.
    pub(super) fn whole(name: String, file: usize, source: &Source) -> Self {
        let size = source.size();
        Self { name, file, header: None, packed: size, size, deflated: false, crc: None }
    }

    /// What no other member of the image has: its file, its place there, and its size.
    pub(super) fn key(&self) -> (usize, u64, u64) {
        (self.file, self.header.unwrap_or(0), self.size)
    }

    /// Where its bytes lie in its file; `None` where its local header is damaged, or is that of another member.
    pub(super) fn data(&self, source: &Source) -> Option<Extent> {
        let Some(at) = self.header else { return Some(Extent::new(0, self.size)) };
        let head = source.at(Extent::new(at, 30))?;
        let (name_len, extra) = (u64::from(head.le16(26)?), u64::from(head.le16(28)?));
        let name = source.at(Extent::new(at.checked_add(30)?, name_len))?;
        if head.span(0, 4)? != b"PK\x03\x04" || name != self.name.as_bytes() {
            return None;
        }
        let start = at.checked_add(30)?.checked_add(name_len)?.checked_add(extra)?;
        let data = Extent::new(start, self.packed);
        source.at(data).map(|_| data)
    }
}

/// The directory of an archive that is file `file` of the evidence; `None` where it has none.
pub(super) fn read(source: &Source, file: usize) -> Option<Archive> {
    let size = source.size();
    let from = size.saturating_sub(END_LEN.saturating_add(0xffff));
    let tail = source.at(Extent::new(from, size.saturating_sub(from)))?;
    let whole = |at: &usize| {
        let comment = tail.le16(at.saturating_add(20)).map(usize::from);
        comment.is_some_and(|len| at.saturating_add(22).saturating_add(len) <= tail.len())
    };
    let at = memmem::rfind_iter(tail, END).find(whole)?;
    let end = tail.get(at..)?;
    let comment = end.span(22, usize::from(end.le16(20)?))?.split(|byte| *byte == 0).next().unwrap_or_default();
    let comment = String::from_utf8_lossy(comment).trim().to_owned();
    let at = from.checked_add(at as u64)?;
    let (mut count, mut len, mut start, mut behind) =
        (u64::from(end.le16(10)?), u64::from(end.le32(12)?), u64::from(end.le32(16)?), at);
    if let Some((place, end)) = end64(source, at) {
        (count, len, start, behind) = (end.le64(32)?, end.le64(40)?, end.le64(48)?, place);
    }
    // Something may stand before the archive: then all its places are counted from where it begins.
    let there = count == 0 || source.at(Extent::new(start, 4)) == Some(ENTRY);
    let shift = if there { 0 } else { behind.checked_sub(len)?.checked_sub(start)? };
    let directory = source.at(Extent::new(start.checked_add(shift)?, len))?;
    let mut archive = Archive { members: Vec::new(), comment, faults: Vec::new() };
    let mut at = 0usize;
    while (archive.members.len() as u64) < count {
        let Some((member, next)) = entry(directory, at, file, shift) else {
            let read = archive.members.len();
            archive.faults.push(format!("its directory is damaged: {read} of {count} members are known"));
            break;
        };
        archive.members.push(member);
        at = next;
    }
    Some(archive)
}

/// The ZIP64 end of the directory, where it lies, before the end at `at`.
fn end64(source: &Source, at: u64) -> Option<(u64, &[u8])> {
    let locator = source.at(Extent::new(at.checked_sub(LOCATOR_LEN)?, LOCATOR_LEN))?;
    if locator.span(0, 4)? != b"PK\x06\x07" {
        return None;
    }
    let named = locator.le64(8)?;
    let before = at.checked_sub(LOCATOR_LEN)?.checked_sub(END64_LEN)?;
    [named, before].into_iter().find_map(|place| {
        let end = source.at(Extent::new(place, END64_LEN))?;
        (end.span(0, 4)? == b"PK\x06\x06").then_some((place, end))
    })
}

/// The entry at `at` of a directory, and where the next one begins.
fn entry(directory: &[u8], at: usize, file: usize, shift: u64) -> Option<(Member, usize)> {
    let head = directory.span(at, 46)?;
    if !head.starts_with(ENTRY) {
        return None;
    }
    let lens = [head.le16(28)?, head.le16(30)?, head.le16(32)?].map(usize::from);
    let [name_len, extra_len, comment_len] = lens;
    let name_at = at.checked_add(46)?;
    let name = directory.span(name_at, name_len)?;
    let extra = directory.span(name_at.checked_add(name_len)?, extra_len)?;
    let narrow = [head.le32(24)?, head.le32(20)?, head.le32(42)?];
    let [size, packed, header] = widened(narrow, extra)?;
    let (method, encrypted) = (head.le16(10)?, head.le16(8)? & 1 != 0);
    let crc = head.le32(16).filter(|crc| *crc != 0);
    let mut member = Member {
        name: String::from_utf8_lossy(name).into_owned(),
        file,
        header: Some(header.checked_add(shift)?),
        packed,
        size,
        deflated: method == 8,
        crc,
    };
    let known = matches!(method, 0 | 8) && !encrypted && (method != 0 || size == packed);
    if !known {
        // Its place is none: whoever asks for it is told that it is damaged.
        member.header = Some(u64::MAX);
    }
    let next = name_at.checked_add(name_len)?.checked_add(extra_len)?.checked_add(comment_len)?;
    Some((member, next))
}

/// Size, packed size and place, out of the ZIP64 field where 32 bits do not hold them.
fn widened(narrow: [u32; 3], extra: &[u8]) -> Option<[u64; 3]> {
    let mut wide = narrow.map(u64::from);
    if narrow.iter().all(|field| *field != u32::MAX) {
        return Some(wide);
    }
    let mut at = 0usize;
    loop {
        let (id, len) = (extra.le16(at)?, usize::from(extra.le16(at.checked_add(2)?)?));
        let field = extra.span(at.checked_add(4)?, len)?;
        if id != 1 {
            at = at.checked_add(4)?.checked_add(len)?;
            continue;
        }
        let mut place = 0usize;
        for value in wide.iter_mut().filter(|value| **value == u64::from(u32::MAX)) {
            *value = field.le64(place)?;
            place = place.checked_add(8)?;
        }
        return Some(wide);
    }
}

/// All that a member holds, where that is at most `most` bytes, and whether its checksum holds.
pub(super) fn content(member: &Member, source: &Source, most: u64) -> Option<(Vec<u8>, bool)> {
    let stored = source.at(member.data(source)?)?;
    if member.size > most {
        return None;
    }
    let mut bytes = Vec::new();
    if member.deflated {
        crate::image::codec::unpack(crate::image::codec::Codec::Deflate, stored, member.size, &mut bytes).ok()?;
    } else {
        bytes.extend_from_slice(stored.get(..index(member.size))?);
    }
    let holds = member.crc.is_none_or(|crc| crc32fast::hash(&bytes) == crc);
    Some((bytes, holds))
}
