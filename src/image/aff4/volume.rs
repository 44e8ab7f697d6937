//! A volume of AFF4: a ZIP file or a folder, whose members are found by their URIs ("AFF4 Standard v1.0a", section 5).

use super::turtle::Graph;
use super::zip::{self, Member};
use crate::image::ImageError;
use crate::image::about::About;
use crate::image::file::{Source, unfit};
use std::collections::BTreeMap;
use std::path::Path;
use walkdir::WalkDir;

/// The most that is read of a member of metadata.
const MAX_TEXT: u64 = 128 << 20;
/// Files of a folder that is a volume: each is mapped.
const MAX_FILES: usize = 3000;
const HINT: &str = "copy it again, or export a raw image with the program that made it";

/// Where its metadata stands.
const METADATA: &str = "information.turtle";

/// What was read of a volume.
pub(super) struct Volume {
    /// Its URI.
    pub(super) uri: String,
    /// Its members by their URIs, without escapes.
    pub(super) members: BTreeMap<String, Member>,
    /// Its metadata.
    pub(super) graph: Graph,
    /// False where a checksum of the metadata does not hold: nothing that it says is sure.
    pub(super) sure: bool,
    /// What the file `version.txt` says.
    pub(super) version: Vec<(String, String)>,
}

/// Reads a volume, whose files are added to `files`; `None` where `path` is none.
///
/// # Errors
/// Where it is one and its directory or its metadata cannot be read.
pub(super) fn read(path: &Path, files: &mut Vec<Source>, about: &mut About) -> Result<Option<Volume>, ImageError> {
    let is_folder = path.is_dir();
    let (members, comment) = if is_folder {
        if !(path.join(METADATA).is_file() && path.join("container.description").is_file()) {
            return Ok(None);
        }
        (folder(path, files)?, String::new())
    } else {
        let source = Source::open(path)?;
        let Some(archive) = zip::read(&source, files.len()) else {
            if !is_named(path) || !source.bytes().starts_with(b"PK\x03\x04") {
                return Ok(None);
            }
            return Err(unfit(path, "has no directory of its members: it breaks off, or is damaged", HINT));
        };
        if !archive.members.iter().any(|member| member.name.trim_start_matches('/') == METADATA) {
            return Ok(None);
        }
        files.push(source);
        archive.faults.into_iter().for_each(|what| about.fault(what));
        (archive.members, archive.comment)
    };
    let content = |name: &str| {
        let member = members.iter().find(|member| member.name.trim_start_matches('/') == name)?;
        zip::content(member, files.get(member.file)?, MAX_TEXT)
    };
    let description =
        content("container.description").map(|(bytes, _)| String::from_utf8_lossy(&bytes).trim().to_owned());
    let uris = [description.unwrap_or_default(), comment];
    let uri = uris.into_iter().find(|uri| uri.starts_with("aff4:")).unwrap_or_default();
    if uri.is_empty() && !is_named(path) {
        return Ok(None);
    }
    let Some((text, mut sure)) = content(METADATA) else {
        return Err(unfit(path, "its metadata (information.turtle) cannot be unpacked", HINT));
    };
    if !sure {
        about.fault("the checksum of its metadata does not hold: all that it gives counts as unreadable");
    }
    let (graph, torn) = Graph::read(&String::from_utf8_lossy(&text));
    if let Some(at) = torn {
        sure = false;
        about.fault(format!("its metadata is damaged at byte {at}: what stands there and behind it is not read"));
    }
    let version = content("version.txt").map(|(bytes, _)| pairs(&String::from_utf8_lossy(&bytes))).unwrap_or_default();
    let mut by_uri = BTreeMap::new();
    for member in members {
        let key = uri_of(&member.name, &uri);
        if by_uri.insert(key, member).is_some() {
            about.fault("two of its members have the same name: the last one is read");
        }
    }
    Ok(Some(Volume { uri, members: by_uri, graph, sure, version }))
}

/// Whether a name says that a volume is in it.
pub(super) fn is_named(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    ["aff4", "af4"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The files of a folder as members.
fn folder(path: &Path, files: &mut Vec<Source>) -> Result<Vec<Member>, ImageError> {
    let mut members = Vec::new();
    for entry in WalkDir::new(path).follow_links(false).sort_by_file_name() {
        let io = |error: walkdir::Error| crate::image::file::io_error(path, error.into());
        let entry = entry.map_err(io)?;
        let below = entry.path().strip_prefix(path).unwrap_or(path).to_string_lossy().into_owned();
        let is_file = entry.file_type().is_file() && entry.metadata().is_ok_and(|meta| meta.len() > 0);
        if !is_file {
            continue;
        }
        if members.len() >= MAX_FILES {
            let what = format!("is a volume of more than {MAX_FILES} files, which is more than are read at once");
            return Err(unfit(path, what, "put its files into a ZIP64 file without compression, named .aff4"));
        }
        let source = Source::open(entry.path())?;
        members.push(Member::whole(below, files.len(), &source));
        files.push(source);
    }
    Ok(members)
}

/// Lines `name=value`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(['\n', '\r']).filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

/// The URI of a member: absolute, or below that of its volume.
fn uri_of(name: &str, volume: &str) -> String {
    let plain = unescaped(name.trim_start_matches('/'));
    if plain.starts_with("aff4:") { plain } else { format!("{}/{plain}", volume.trim_end_matches('/')) }
}

/// Text without percent escapes.
pub(super) fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.first_chunk::<2>().filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(crate::bytes::unhex).and_then(|bytes| bytes.first().copied());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_members_become_uris() {
        let of = |name| uri_of(name, "aff4://vol");
        assert_eq!(of("aff4%3A%2F%2F05e1/00000000.index"), "aff4://05e1/00000000.index");
        assert_eq!(of("/Foobar/foo%20%.txt"), "aff4://vol/Foobar/foo %.txt");
        assert_eq!(
            pairs("major=1\r\ntool=a = b\n"),
            [("major", "1"), ("tool", "a = b")].map(|(a, b)| (a.into(), b.into()))
        );
    }
}
