//! The files that hold the evidence, opened and mapped; and what is said where that cannot be done.

use super::ImageError;
use super::map::{self, Map, size_of};
use crate::bytes::index;
use crate::extent::{Extent, ExtentSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A mapped file of the evidence.
pub struct Source {
    /// Where it lies.
    pub path: PathBuf,
    map: Map,
}

impl Source {
    /// Opens and maps a file or a device.
    ///
    /// # Errors
    /// Where it is empty or cannot be read.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let io = |source| io_error(path, source);
        let file = File::open(path).map_err(io)?;
        let len = size_of(&file).map_err(io)?;
        if len == 0 {
            return Err(unfit(path, "is empty", "check how the image was made or copied"));
        }
        Self::of(file, path, len)
    }

    /// Maps the first `len` bytes of a file that is open.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn of(file: File, path: &Path, len: u64) -> Result<Self, ImageError> {
        let map = Map::new(file, len).map_err(|source| io_error(path, source))?;
        Ok(Self { path: path.to_owned(), map })
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        self.map.bytes()
    }

    /// Its size.
    pub fn size(&self) -> u64 {
        self.map.bytes().len() as u64
    }

    /// The bytes of `extent`; `None` where it ends behind the file.
    pub fn at(&self, extent: Extent) -> Option<&[u8]> {
        let end = extent.start.checked_add(extent.len)?;
        self.map.bytes().get(index(extent.start)..index(end))
    }

    /// What of it could not be read so far.
    pub fn unreadable(&self) -> ExtentSet {
        self.map.unreadable()
    }

    /// True where a byte of `extent` could not be read; asked of every chunk, so quick where nothing ever failed.
    pub fn failed(&self, extent: Extent) -> bool {
        map::any_failed() && self.map.unreadable().touches(extent)
    }

    /// Gives its pages back.
    pub fn release(&self) {
        self.map.release();
    }
}

/// Up to `N` bytes from the front of a file, or from its end where `from_end` says how far before it; zeros for what is
/// not there. For the signature by which a container is known, before anything is mapped.
///
/// # Errors
/// Where it cannot be read.
pub fn peek<const N: usize>(path: &Path, from_end: Option<u64>) -> Result<[u8; N], ImageError> {
    let io = |source| io_error(path, source);
    let file = File::open(path).map_err(io)?;
    let at = match from_end {
        None => 0,
        Some(back) => match size_of(&file).map_err(io)?.checked_sub(back) {
            None => return Ok([0; N]),
            Some(at) => at,
        },
    };
    let mut bytes = [0; N];
    let mut got = 0usize;
    while let Some(rest) = bytes.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(got as u64)) {
            Ok(0) => break,
            Ok(n) => got = got.saturating_add(n),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // What cannot be read is no signature; that it cannot is said by whoever maps it.
            Err(_) => return Ok([0; N]),
        }
    }
    Ok(bytes)
}

/// Whether a name says that a raw image is in it, packed as `packed` says: `disk.dd.gz`.
pub fn holds_raw(path: &Path, packed: &str) -> bool {
    /// Extensions of raw images.
    const RAW: &[&str] = &["dd", "raw", "img", "image", "bin", "iso", "001", "disk"];
    let lower =
        |name: Option<&std::ffi::OsStr>| name.and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
    let stem = path.file_stem().map(Path::new).and_then(Path::extension);
    lower(path.extension()) == packed && RAW.contains(&lower(stem).as_str())
}

/// The error of a file that the system does not give.
pub fn io_error(path: &Path, source: std::io::Error) -> ImageError {
    let hint = match source.kind() {
        std::io::ErrorKind::NotFound => "check the path",
        std::io::ErrorKind::PermissionDenied => "ask for the right to read it",
        _ => "check that the medium can be read",
    };
    ImageError::Io { path: path.to_owned(), source, hint }
}

/// The error of a file that is not what it should be.
pub fn unfit(path: &Path, what: impl Into<String>, hint: &'static str) -> ImageError {
    ImageError::Unfit { path: path.to_owned(), what: what.into(), hint }
}
