//! Raw images: one file, a block device, or a set of segments (`raw/segments.rs`).
//!
//! The segments are mapped one by one; offsets run through them. A gap in the numbering is an error that names the
//! missing segment: an image with a hole in it is not passed off as whole.

mod segments;

use super::about::About;
use super::chunks::{Chunks, Files, Piece, Place, Table};
use super::file::{Source, holds_raw};
use super::{ImageError, Taken};
use crate::extent::Extent;
use std::path::Path;

const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Segments, one behind the other.
struct Raw {
    /// Where each begins.
    starts: Vec<u64>,
    size: u64,
}

/// Opens a file or a device, with the segments that follow it.
///
/// # Errors
/// Where a segment is missing, empty or cannot be read.
pub fn open(path: &Path) -> Taken {
    let meta = std::fs::metadata(path).map_err(|source| super::file::io_error(path, source))?;
    if meta.is_dir() {
        return Ok(None);
    }
    let mut files = Vec::new();
    for path in segments::paths(path)? {
        let source = Source::open(&path)?;
        files.push(source);
    }
    let mut about = About::default();
    // Other files that are packed are no disks; what is called one, and was not taken, is damaged.
    let packed = [("gz", &b"\x1f\x8b"[..]), ("zst", ZSTD)];
    let plain = |extension: &&str| {
        let begins = |magic: &[u8]| files.first().is_some_and(|file| file.bytes().starts_with(magic));
        let of = |name: &str| extension.eq_ignore_ascii_case(name) && !holds_raw(path, name);
        !packed.iter().any(|(name, magic)| of(name) && begins(magic))
    };
    if let Some(extension) = promised(path).filter(plain) {
        let what = format!("its name ends in .{extension}, but it is not like such a container");
        about.fault(format!("{what}: its bytes are taken as those of the disk"));
    }
    if files.first().is_some_and(|file| file.bytes().starts_with(ZSTD)) {
        about
            .fault("is packed with Zstandard, and read as it is: unpack it with zstd -d if a disk is in it".to_owned());
    }
    Ok(Some(Box::new(joined(files, about))))
}

/// One file as it is, whatever it begins with: for an image that says of what it is based on that it is raw.
///
/// # Errors
/// Where it cannot be read.
pub fn plain(path: &Path) -> Result<Box<dyn super::Image>, ImageError> {
    Ok(Box::new(joined(vec![Source::open(path)?], About::default())))
}

/// The extension of a container that `path` has: of one whose first bytes are damaged that is all that is left.
fn promised(path: &Path) -> Option<&str> {
    const CONTAINERS: [&str; 17] = [
        "gz", "zst", "e01", "ex01", "s01", "l01", "lx01", "qcow", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "aff", "aff4",
        "af4", "dmg",
    ];
    let extension = path.extension()?.to_str()?;
    CONTAINERS.iter().any(|known| extension.eq_ignore_ascii_case(known)).then_some(extension)
}

/// Files, read as one.
fn joined(files: Vec<Source>, about: About) -> Chunks<Raw> {
    let (mut starts, mut size) = (Vec::new(), 0u64);
    for file in &files {
        starts.push(size);
        size = size.saturating_add(file.size());
    }
    Chunks::new(Raw { starts, size }, Files::new(files), None, about)
}

impl Table for Raw {
    fn format(&self) -> &'static str {
        if self.starts.len() > 1 { "split raw" } else { "raw" }
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn grain(&self) -> u64 {
        1
    }

    fn piece(&self, _files: &Files, at: u64) -> Piece {
        let next = self.starts.partition_point(|start| *start <= at);
        let file = next.saturating_sub(1);
        let start = self.starts.get(file).copied().unwrap_or(0);
        let end = self.starts.get(next).copied().unwrap_or(self.size);
        Piece::new(Extent::between(start, end), Place::Stored { file, at: 0, summed: 0 })
    }

    fn packed(&self) -> bool {
        false
    }
}

/// An image of these bytes, for the tests of parsers.
///
/// # Errors
/// Where no temporary file can be made.
#[cfg(test)]
pub fn of_bytes(bytes: &[u8]) -> Result<Box<dyn super::Image>, ImageError> {
    let path = std::env::temp_dir();
    let io = |source| super::file::io_error(&path, source);
    let file = tempfile::tempfile().map_err(io)?;
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).map_err(io)?;
    Ok(Box::new(joined(vec![Source::of(file, &path, bytes.len() as u64)?], About::default())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn segments_read_as_one_and_a_missing_one_is_named() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        for (ext, byte) in [("001", 1u8), ("002", 2), ("003", 3)] {
            fs::write(dir.path().join(format!("disk.{ext}")), vec![byte; 1000])?;
        }
        let image = open(&dir.path().join("disk.001"))?.ok_or("not raw")?;
        assert_eq!(image.size(), 3000);
        let view = super::super::View::whole(image.as_ref());
        assert_eq!(view.read(998, 4)?.as_ref(), [1, 1, 2, 2]);
        assert!(view.read(2999, 2).is_err());
        fs::remove_file(dir.path().join("disk.002"))?;
        let error = open(&dir.path().join("disk.001")).err().ok_or("a hole was not noticed")?;
        assert!(error.to_string().contains("disk.002"), "{error}");
        assert!(open(&dir.path().join("disk.003")).is_ok(), "its predecessor is gone: it is a file like any other");
        Ok(())
    }
}
