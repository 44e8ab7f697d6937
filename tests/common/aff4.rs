//! Volumes of AFF4, written as the Standard has them.

use super::container::write;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

pub const STANDARD: &str = "http://aff4.org/Schema#";
pub const BEFORE: &str = "http://afflib.org/2009/aff4#";

/// How the chunks of a stream are stored, and how its indexes are written.
#[derive(Clone, Copy, PartialEq)]
pub enum Index {
    /// Place and length of each chunk.
    Standard,
    /// Where each ends.
    Ends,
    /// Where each begins.
    Begins,
}

/// A member: its name, its bytes, and whether they are packed with deflate.
pub type Segment = (String, Vec<u8>, bool);

/// A volume under way.
pub struct Volume {
    pub uri: String,
    pub segments: Vec<Segment>,
    pub turtle: String,
}

fn escaped(uri: &str) -> String {
    uri.replace("://", "%3A%2F%2F")
}

/// A chunk packed by the compression of this name.
fn packed(method: &str, chunk: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::new(6);
    match method {
        "zlib" => {
            let mut out = flate2::write::ZlibEncoder::new(Vec::new(), level);
            out.write_all(chunk).and_then(|()| out.finish()).unwrap()
        }
        "deflate" => {
            let mut out = flate2::write::DeflateEncoder::new(Vec::new(), level);
            out.write_all(chunk).and_then(|()| out.finish()).unwrap()
        }
        _ => chunk.to_vec(),
    }
}

impl Volume {
    pub fn new(number: u32, namespace: &str) -> Self {
        let uri = format!("aff4://{number}00000000");
        let turtle = format!(
            "@prefix aff4: <{namespace}> .\n@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .\n\n<{uri}> a aff4:ZipVolume .\n"
        );
        let mut volume = Self { uri: uri.clone(), segments: Vec::new(), turtle };
        volume.segments.push(("container.description".to_owned(), uri.into_bytes(), false));
        volume.segments.push(("version.txt".to_owned(), b"major=1\nminor=0\ntool=a test\n".to_vec(), false));
        volume
    }

    pub fn say(&mut self, turtle: &str) {
        self.turtle += turtle;
        self.turtle.push('\n');
    }

    pub fn segment(&mut self, uri: &str, bytes: &[u8], deflated: bool) {
        self.segments.push((escaped(uri), bytes.to_vec(), deflated));
    }

    /// A stream of `data`, and for each of `sums` the hashes of its chunks.
    pub fn stream(
        &mut self,
        uri: &str,
        data: &[u8],
        method: &str,
        shape: (usize, usize),
        index: Index,
        deflated: bool,
    ) {
        let (chunk, per_bevy) = shape;
        for (number, bevy) in data.chunks(chunk * per_bevy).enumerate() {
            let (mut body, mut entries) = (Vec::new(), Vec::new());
            for bytes in bevy.chunks(chunk) {
                let mut padded = bytes.to_vec();
                padded.resize(chunk, 0);
                let small = packed(method, &padded);
                let stored = if small.len() + 16 < chunk { small } else { padded };
                match index {
                    Index::Standard => {
                        entries.extend_from_slice(&(body.len() as u64).to_le_bytes());
                        entries.extend_from_slice(&(stored.len() as u32).to_le_bytes());
                    }
                    Index::Begins => entries.extend_from_slice(&(body.len() as u32).to_le_bytes()),
                    Index::Ends => entries.extend_from_slice(&((body.len() + stored.len()) as u32).to_le_bytes()),
                }
                body.extend_from_slice(&stored);
            }
            let dot = if index == Index::Standard { "." } else { "/" };
            self.segment(&format!("{uri}/{number:08}"), &body, deflated);
            self.segment(&format!("{uri}/{number:08}{dot}index"), &entries, deflated);
        }
        let url = match method {
            "zlib" => "<https://www.ietf.org/rfc/rfc1950.txt>",
            "deflate" => "<https://tools.ietf.org/html/rfc1951>",
            _ => "aff4:NullCompressor",
        };
        let (class, word) = match index {
            Index::Standard => ("ImageStream", "compressionMethod"),
            Index::Ends => ("stream", "CompressionMethod"),
            Index::Begins => ("image", "compression"),
        };
        self.say(&format!(
            "<{uri}> a aff4:{class} ; aff4:size \"{}\"^^xsd:long ; aff4:chunkSize {chunk} ; aff4:chunksInSegment \"{per_bevy}\"^^xsd:int ;\n  aff4:{word} {url} .",
            data.len()
        ));
    }

    /// A map of these stretches: first byte, length, first byte in the target, its number.
    pub fn map(&mut self, uri: &str, stretches: &[(u64, u64, u64, u32)], targets: &[&str], more: &str) {
        let entry = |(start, len, at, target): &(u64, u64, u64, u32)| {
            [&start.to_le_bytes()[..], &len.to_le_bytes(), &at.to_le_bytes(), &target.to_le_bytes()].concat()
        };
        self.segment(&format!("{uri}/map"), &stretches.iter().flat_map(entry).collect::<Vec<u8>>(), false);
        self.segment(&format!("{uri}/idx"), targets.join("\n").as_bytes(), false);
        self.say(&format!("<{uri}> a aff4:Map{more} ."));
    }

    /// The volume as a file.
    pub fn zip(mut self, dir: &Path, name: &str) -> PathBuf {
        self.segments.push(("information.turtle".to_owned(), self.turtle.into_bytes(), true));
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes, deflated) in &self.segments {
            let method = if *deflated { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
            let options = zip::write::SimpleFileOptions::default().compression_method(method);
            zip.start_file(name.as_str(), options.large_file(name.ends_with("index"))).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.set_comment(self.uri + "\0\0").unwrap();
        write(dir, name, &zip.finish().unwrap().into_inner())
    }

    /// The volume as a folder.
    pub fn folder(mut self, dir: &Path, name: &str) -> PathBuf {
        self.segments.push(("information.turtle".to_owned(), self.turtle.into_bytes(), false));
        for (path, bytes, _) in &self.segments {
            let path = dir.join(name).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir.join(name)
    }
}
