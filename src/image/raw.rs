//! Raw images: one file, a block device, or a set of segments (`.001 .002 …`, `.000 …`, `.aa .ab …`).
//!
//! The segments are mapped one by one; offsets run through them. A gap in the numbering is an error that names the
//! missing segment: an image with a hole in it is not passed off as whole.

use super::map::{Map, size_of};
use super::{Image, ImageError, Taken};
use crate::bytes::index;
use crate::extent::Extent;
use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

struct Segment {
    start: u64,
    path: PathBuf,
    map: Map,
}

struct Raw {
    segments: Vec<Segment>,
    size: u64,
}

/// Opens a file or a device, with the segments that follow it.
///
/// # Errors
/// Where a segment is missing, empty or cannot be read.
pub fn open(path: &Path) -> Taken {
    let meta = std::fs::metadata(path).map_err(|source| io_error(path, source))?;
    if meta.is_dir() {
        return Ok(None);
    }
    let mut segments = Vec::new();
    let mut size = 0u64;
    for path in segment_paths(path)? {
        let file = File::open(&path).map_err(|source| io_error(&path, source))?;
        let len = size_of(&file).map_err(|source| io_error(&path, source))?;
        if len == 0 {
            return Err(unfit(&path, "is empty".to_owned(), "check how the image was made or copied"));
        }
        let map = Map::new(file, len).map_err(|source| io_error(&path, source))?;
        if let Some(name) = container(map.bytes()).filter(|_| segments.is_empty()) {
            let hint =
                "this version reads raw images: convert it (ewfexport, qemu-img convert -O raw), or choose another";
            return Err(unfit(&path, format!("is a container of the kind {name}, not a raw image"), hint));
        }
        segments.push(Segment { start: size, path, map });
        size = size.saturating_add(len);
    }
    Ok(Some(Box::new(Raw { segments, size })))
}

impl Image for Raw {
    fn format(&self) -> &'static str {
        if self.segments.len() > 1 { "split raw" } else { "raw" }
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn part(&self, extent: Extent) -> Result<Cow<'_, [u8]>, ImageError> {
        let outside = ImageError::Outside { at: extent.start, len: extent.len, size: self.size };
        if extent.start.checked_add(extent.len).is_none_or(|end| end > self.size) {
            return Err(outside);
        }
        let behind = self.segments.partition_point(|s| s.start <= extent.start);
        let Some(segment) = behind.checked_sub(1).and_then(|i| self.segments.get(i)) else {
            return Err(outside);
        };
        let from = index(extent.start.saturating_sub(segment.start));
        let bytes = segment.map.bytes();
        let to = bytes.len().min(from.saturating_add(index(extent.len)));
        bytes.get(from..to).map(Cow::Borrowed).ok_or(outside)
    }

    fn unreadable(&self) -> Vec<Extent> {
        let shifted =
            |s: &Segment| -> Vec<Extent> { s.map.unreadable().as_slice().iter().map(|e| e.shifted(s.start)).collect() };
        self.segments.iter().flat_map(shifted).collect()
    }

    fn release(&self) {
        self.segments.iter().for_each(|s| s.map.release());
    }

    fn files(&self) -> Vec<PathBuf> {
        self.segments.iter().map(|s| s.path.clone()).collect()
    }
}

/// The container that a file is by its first bytes: read as raw it would be an image without a single file.
fn container(bytes: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 10] = [
        (b"EVF\x09\x0d\x0a\xff\x00", "EWF (E01)"),
        (b"LVF\x09\x0d\x0a\xff\x00", "EWF (L01)"),
        (b"EVF2\x0d\x0a\x81\x00", "EWF2 (Ex01)"),
        (b"AFF10\x0d\x0a\x00", "AFF"),
        (b"QFI\xfb", "QCOW"),
        (b"KDMV", "VMDK"),
        (b"# Disk DescriptorFile", "VMDK"),
        (b"vhdxfile", "VHDX"),
        (b"conectix", "VHD"),
        (b"<<< Oracle VM VirtualBox Disk Image >>>", "VDI"),
    ];
    kinds.into_iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| name)
}

/// `first` and the segments that follow it, in order; only `first` where its name does not number it.
fn segment_paths(first: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let single = || Ok(vec![first.to_owned()]);
    let Some(ext) = first.extension().and_then(|e| e.to_str()) else { return single() };
    if !matches!(ext, "000" | "001" | "0000" | "0001" | "00001" | "aa" | "aaa") {
        return match missing_first(first, ext) {
            Some(hint) => Err(unfit(first, "is not the first segment of its set".to_owned(), hint)),
            None => single(),
        };
    }
    let mut paths = vec![first.to_owned()];
    let mut ext = ext.to_owned();
    while let Some(next) = successor(&ext) {
        let path = first.with_extension(&next);
        if !path.exists() {
            let beyond = successor(&next).map(|n| first.with_extension(n));
            if beyond.is_some_and(|p| p.exists()) {
                let what = "this segment is missing, a later one is there".to_owned();
                return Err(unfit(&path, what, "put all segments into one folder"));
            }
            break;
        }
        paths.push(path);
        ext = next;
    }
    Ok(paths)
}

/// Says so where `path` is a later segment and the one before it lies beside it.
fn missing_first(path: &Path, ext: &str) -> Option<&'static str> {
    let digits = ext.len() >= 3 && ext.bytes().all(|b| b.is_ascii_digit());
    let before = ext.parse::<u32>().ok()?.checked_sub(1)?;
    let previous = path.with_extension(format!("{before:0width$}", width = ext.len()));
    (digits && previous.exists()).then_some("name the first one (.000 or .001)")
}

/// The extension that follows: digits count up, letters likewise; `None` behind the last.
fn successor(ext: &str) -> Option<String> {
    let mut out = ext.as_bytes().to_vec();
    for b in out.iter_mut().rev() {
        match *b {
            b'9' => *b = b'0',
            b'z' => *b = b'a',
            b'0'..=b'8' | b'a'..=b'y' => {
                *b = b.saturating_add(1);
                return String::from_utf8(out).ok();
            }
            _ => return None,
        }
    }
    None
}

fn io_error(path: &Path, source: std::io::Error) -> ImageError {
    let hint = match source.kind() {
        std::io::ErrorKind::NotFound => "check the path",
        std::io::ErrorKind::PermissionDenied => "ask for the right to read it",
        _ => "check that the medium can be read",
    };
    ImageError::Io { path: path.to_owned(), source, hint }
}

fn unfit(path: &Path, what: String, hint: &'static str) -> ImageError {
    ImageError::Unfit { path: path.to_owned(), what, hint }
}

/// An image of these bytes, for the tests of parsers.
///
/// # Errors
/// Where no temporary file can be made.
#[cfg(test)]
pub fn of_bytes(bytes: &[u8]) -> Result<Box<dyn Image>, ImageError> {
    let path = std::env::temp_dir();
    let file = tempfile::tempfile().map_err(|source| io_error(&path, source))?;
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, 0).map_err(|source| io_error(&path, source))?;
    let size = bytes.len() as u64;
    let map = Map::new(file, size).map_err(|source| io_error(&path, source))?;
    Ok(Box::new(Raw { segments: vec![Segment { start: 0, path, map }], size }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn extensions_count_up() {
        assert_eq!(successor("009").as_deref(), Some("010"));
        assert_eq!(successor("az").as_deref(), Some("ba"));
        assert_eq!(successor("999"), None);
        assert_eq!(successor("dd."), None);
    }

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
