//! ZIP archives: every member, as a slice of the archive where it is stored, decoded where it is not.
//!
//! Source: PKWARE APPNOTE 6.3.10, read by the `zip` crate. Names are names, never paths to write to. Where the central
//! directory is lost the local headers are followed. Overlapping members (a "better zip bomb") end with the fuel.
//! Checked against 7-Zip 16.02 by the corpus' archive truth.

use super::{Findings, MEMBER_CAP, Member, decode};
use crate::content::Content;
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::identify::Identity;
use crate::time::Timestamp;
use std::borrow::Cow;
use std::io::{Cursor, Read, Seek};
use zip::{CompressionMethod, ZipArchive};

/// What a member costs besides its bytes.
const STEP: u64 = 512;

/// A seekable source of bytes.
pub(super) trait Source: Read + Seek {}
impl<T: Read + Seek> Source for T {}

/// True for archives and for packages that have no extractor of their own.
pub fn accepts(identity: &Identity) -> bool {
    const PACKAGES: &[&str] = &[
        "application/zip",
        "application/java-archive",
        "application/vnd.android.package-archive",
        "application/vnd.ms-xpsdocument",
    ];
    PACKAGES.contains(&identity.mime)
}

/// The archive in `content`, read from memory where it lies there in one piece.
pub(super) fn open<'c>(content: &'c Content<'_>) -> zip::result::ZipResult<ZipArchive<Box<dyn Source + 'c>>> {
    let source: Box<dyn Source + 'c> = match content.contiguous(0) {
        Some(bytes @ Cow::Borrowed(_)) => Box::new(Cursor::new(bytes)),
        _ => Box::new(std::io::BufReader::new(content.reader())),
    };
    ZipArchive::new(source)
}

/// Tells every member.
///
/// # Errors
/// [`Spent`] where the fuel ends, or no more members are wanted.
pub fn extract(content: &Content<'_>, _: &Identity, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    let mut archive = match open(content) {
        Ok(archive) => archive,
        Err(e) => {
            found.fault(Fault::new(0, "zip", format!("its directory cannot be read: {e}")));
            return salvage(content, found, fuel);
        }
    };
    for number in 0..archive.len() {
        fuel.burn(STEP)?;
        if let Some(member) = member(content, &mut archive, number, found, fuel)? {
            found.member(member, fuel)?;
        }
    }
    Ok(())
}

/// What the directory says of a member.
pub(super) struct Entry {
    pub(super) name: String,
    size: u64,
    packed: u64,
    data: Option<u64>,
    pub(super) mtime: Option<Timestamp>,
    encrypted: bool,
    stored: bool,
    is_dir: bool,
}

/// Reads the directory's entry `number`.
pub(super) fn entry<R: Read + Seek>(archive: &mut ZipArchive<R>, number: usize) -> Result<Entry, String> {
    let file = archive.by_index_raw(number).map_err(|e| e.to_string())?;
    let name = file.name().map_or_else(|_| String::from_utf8_lossy(file.name_raw()).into_owned(), Cow::into_owned);
    Ok(Entry {
        name,
        size: file.size(),
        packed: file.compressed_size(),
        data: file.data_start(),
        mtime: file.last_modified().and_then(|t| Timestamp::dos(t.datepart(), t.timepart())),
        encrypted: file.encrypted(),
        stored: file.compression() == CompressionMethod::Stored,
        is_dir: file.is_dir(),
    })
}

/// Member `number`; `None` for a directory, and for one that is only a fault.
pub(super) fn member<'c, R: Read + Seek>(
    content: &Content<'c>,
    archive: &mut ZipArchive<R>,
    number: usize,
    found: &mut dyn Findings,
    fuel: &mut Fuel,
) -> Result<Option<Member<'c>>, Spent> {
    let entry = match entry(archive, number) {
        Ok(entry) => entry,
        Err(what) => {
            found.fault(Fault::new(0, "zip", format!("member {number}: {what}")));
            return Ok(None);
        }
    };
    if entry.is_dir {
        return Ok(None);
    }
    if entry.encrypted {
        found.encrypted();
        let mut member = Member::new(entry.name, Content::borrowed(&[]));
        (member.encrypted, member.size, member.mtime) = (true, Some(entry.size), entry.mtime);
        return Ok(Some(member));
    }
    if let (true, Some(data)) = (entry.stored, entry.data) {
        return Ok(Some(stored(content, entry, data)));
    }
    decoded(archive, number, entry, fuel).map(Some)
}

fn stored<'c>(content: &Content<'c>, entry: Entry, data: u64) -> Member<'c> {
    let mut member = Member::new(entry.name, content.slice(data, entry.packed));
    member.mtime = entry.mtime;
    if member.content.size() < entry.packed {
        member.size = Some(entry.size);
        member.faults.push(Fault::new(data, "zip", "the archive ends before the member does"));
    }
    member
}

fn decoded<'c, R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    number: usize,
    entry: Entry,
    fuel: &mut Fuel,
) -> Result<Member<'c>, Spent> {
    let (bytes, fault) = match archive.by_index(number) {
        Ok(file) => decode(file, "zip", fuel)?,
        Err(e) => (Vec::new(), Some(Fault::new(0, "zip", e.to_string()))),
    };
    let size = (bytes.len() as u64 != entry.size).then_some(entry.size);
    let mut member = Member::new(entry.name, Content::owned(bytes));
    (member.mtime, member.size) = (entry.mtime, size);
    member.faults.extend(fault);
    Ok(member)
}

/// Follows the local headers of an archive without a directory.
fn salvage(content: &Content<'_>, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    let mut reader = std::io::BufReader::new(content.reader());
    loop {
        fuel.burn(STEP)?;
        let file = match zip::read::read_zipfile_from_stream(&mut reader) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(()),
            Err(e) => {
                found.fault(Fault::new(0, "zip", format!("its members cannot be followed: {e}")));
                return Ok(());
            }
        };
        let name = file.name().map_or_else(|_| String::from_utf8_lossy(file.name_raw()).into_owned(), Cow::into_owned);
        let mtime = file.last_modified().and_then(|t| Timestamp::dos(t.datepart(), t.timepart()));
        let is_dir = file.is_dir();
        let (bytes, fault) = decode(file, "zip", fuel)?;
        let broken = fault.is_some() && bytes.len() as u64 <= MEMBER_CAP;
        let mut member = Member::new(name, Content::owned(bytes));
        member.mtime = mtime;
        member.faults.extend(fault);
        if !is_dir {
            found.member(member, fuel)?;
        }
        if broken {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::collect::Collected;
    use super::*;
    use crate::identify::UNKNOWN;
    use proptest::prelude::*;
    use std::io::Write;

    fn archive() -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let stored = zip::write::SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let packed = stored.compression_method(CompressionMethod::Deflated);
        for (name, options) in [("a/stored.txt", stored), ("../packed.txt", packed)] {
            writer.start_file(name, options).unwrap();
            writer.write_all(name.repeat(50).as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn run(bytes: &[u8], fuel: u64) -> Collected {
        let mut found = Collected::default();
        let _ = extract(&Content::borrowed(bytes), &UNKNOWN, &mut found, &mut Fuel::new(fuel));
        found
    }

    #[test]
    fn members_are_told_with_and_without_a_directory() {
        let zip = archive();
        for cut in [zip.len(), zip.len() - 30] {
            let found = run(&zip[..cut], 1 << 24);
            let names: Vec<_> = found.members.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).collect();
            assert_eq!(names, [("a/stored.txt", 600), ("../packed.txt", 650)]);
        }
        assert!(run(&zip, 600).members.len() < 2);
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..300, bit in 0u8..8, cut in 0usize..400) {
            let mut zip = archive();
            let len = zip.len();
            zip[at % len] ^= 1 << bit;
            zip.truncate(len - cut % len);
            run(&zip, 1 << 24);
        }
    }
}
