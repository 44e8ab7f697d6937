//! The Expert Witness Compression Format: E01 of EnCase, FTK Imager and linen, s01 of SMART, and Ex01 of EnCase 7.
//!
//! A disk is cut into chunks of equal size; each is packed or stored with its checksum, and tables say where. The
//! segments of a set are numbered in their headers, so any of them may be named. Every checksum is checked: those of
//! sections and tables when the set is opened, those of chunks when they are read. A table that is damaged is replaced by
//! its copy. Specification: Joachim Metz, "Expert Witness Compression Format" (ASR Data's, as amended by what EnCase
//! and FTK Imager write) and "EWF version 2" (libewf's documentation). Logical evidence of the first (L01) is files, which are listed;
//! that of the second (Lx01) is refused.

mod first;
mod logical;
mod ltree;
mod media;
mod second;
mod segments;
mod table;
mod text;

use super::chunks::{Chunks, Files, MAX_GRAIN, Piece, Place, Table};
use super::file::{Source, peek, unfit};
use super::{ImageError, Taken};
use crate::extent::Extent;
use media::Media;
use std::path::Path;
use table::Tables;

/// Which of the two formats a segment is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    First,
    Second,
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Others follow.
    Next,
    /// It is the last one.
    Done,
    /// In the middle of something.
    Cut,
}

/// What the segments of a set say, as it is gathered.
#[derive(Default)]
struct Gathered {
    media: Media,
    tables: Tables,
    /// The list of the files of logical evidence, and whether its checksum holds.
    tree: Option<(Vec<u8>, bool)>,
}

/// The disk that a set holds.
struct Ewf {
    tables: Tables,
    size: u64,
    chunk: u64,
    /// How many bytes the last chunk unpacks to.
    last: u64,
}

/// Opens the set that a segment belongs to.
///
/// # Errors
/// Where a segment is missing or cannot be read, or the set holds no disk.
pub fn open(path: &Path) -> Taken {
    if path.is_dir() {
        return Ok(None);
    }
    let head = peek(path, None)?;
    let Some(version) = version_of(path, &head)? else { return Ok(None) };
    let set = segments::Set::of(path, version)?;
    let (mut files, mut gathered) = (Vec::new(), Gathered::default());
    loop {
        let number = files.len().saturating_add(1);
        let source = set.open(number, version)?;
        let ending = match version {
            Version::First => first::read(source.bytes(), number, &mut gathered),
            Version::Second => second::read(&source, number, &mut gathered)?,
        };
        files.push(source);
        match ending {
            Ending::Done => break,
            Ending::Cut if !set.has(number.saturating_add(1)) => break,
            Ending::Next | Ending::Cut => {}
        }
    }
    if &head == LOGICAL {
        return logical::image(path, files, gathered).map(Some);
    }
    Ok(Some(Box::new(assemble(path, version, files, gathered)?)))
}

const LOGICAL: &[u8; 8] = b"LVF\x09\x0d\x0a\xff\x00";

/// By the signature; an error for logical evidence of the second format.
fn version_of(path: &Path, head: &[u8; 8]) -> Result<Option<Version>, ImageError> {
    match head {
        b"EVF\x09\x0d\x0a\xff\x00" | LOGICAL => Ok(Some(Version::First)),
        b"EVF2\x0d\x0a\x81\x00" => Ok(Some(Version::Second)),
        b"LEF2\x0d\x0a\x81\x00" => {
            let hint = "export its files with the program that made it, and name their folder";
            Err(unfit(path, "is logical evidence (Lx01): it holds single files, not a disk", hint))
        }
        _ => Ok(None),
    }
}

fn assemble(path: &Path, version: Version, files: Vec<Source>, gathered: Gathered) -> Result<Chunks<Ewf>, ImageError> {
    let Gathered { mut media, mut tables, .. } = gathered;
    let hint = "its segments are damaged beyond use: make a new copy";
    let Some(size) = media.size().filter(|size| *size > 0) else {
        return Err(unfit(path, "does not say how large its disk is", hint));
    };
    let chunk = media.chunk();
    if !(512..=MAX_GRAIN).contains(&chunk) {
        return Err(unfit(path, format!("has chunks of {chunk} bytes"), hint));
    }
    tables.settle(size.div_ceil(chunk), &mut media.about);
    let name = if version == Version::First { "EWF" } else { "EWF, version 2" };
    media.about.facts.insert(0, ("container".to_owned(), format!("{name}, {} segments", files.len())));
    let files = Files::new(files);
    let mut ewf = Ewf { tables, size, chunk, last: chunk };
    ewf.measure(&files, &mut media);
    Ok(Chunks::new(ewf, files, None, media.about))
}

impl Ewf {
    /// Finds out how long the last chunk is: it may hold more than the whole sectors that are counted.
    fn measure(&mut self, files: &Files, media: &mut Media) {
        let start = self.size.saturating_sub(1).checked_div(self.chunk).unwrap_or(0).saturating_mul(self.chunk);
        let counted = self.size.saturating_sub(start);
        self.last = self.tables.length(files, start.checked_div(self.chunk).unwrap_or(0), counted, self.chunk);
        let more = self.last.saturating_sub(counted);
        if more > 0 && more < media.sector() {
            // A file that was no whole number of sectors: its last bytes are evidence, too.
            self.size = self.size.saturating_add(more);
            media
                .about
                .remark(format!("the last {more} bytes are no whole sector, and the count of sectors leaves them out"));
        } else if more > 0 {
            media.about.remark(format!("the last chunk holds {more} bytes behind the last sector; they are not read"));
        }
    }
}

impl Table for Ewf {
    fn format(&self) -> &'static str {
        "ewf"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn grain(&self) -> u64 {
        self.chunk
    }

    fn piece(&self, files: &Files, at: u64) -> Piece {
        let number = at.checked_div(self.chunk).unwrap_or(0);
        let start = number.saturating_mul(self.chunk);
        let is_last = self.size.saturating_sub(start) <= self.chunk;
        let extent = Extent::new(start, if is_last { self.last } else { self.chunk });
        match self.tables.place(files, number, extent.len) {
            Ok((place, entry)) => Piece { extent, place, entry },
            // Up to the chunk at which another table begins.
            Err(end) => {
                let end = end.map_or(self.size, |number| number.saturating_mul(self.chunk));
                Piece::new(Extent::between(start, end), Place::Lost)
            }
        }
    }
}
