//! The evidence as one run of bytes, read-only, whatever it is stored in.
//!
//! A container is one file below `image/` and one row of [`crate::registry::IMAGES`]. Everything above this layer
//! sees offsets from 0 to [`Image::size`] and cannot tell a map from a decoder.

pub mod about;
pub mod aff;
pub mod aff4;
pub mod ahead;
pub mod cache;
pub mod chain;
pub mod chunks;
pub mod codec;
pub mod derived;
pub mod dmg;
pub mod ewf;
pub mod file;
pub mod folder;
pub mod galois;
pub mod gz;
pub mod lz4;
pub mod map;
pub mod mapped;
pub mod qcow2;
pub mod raw;
pub mod seal;
pub mod snappy;
pub mod vdi;
pub mod vhd;
pub mod vhdx;
pub mod vmdk;
pub mod zst;

use crate::extent::Extent;
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why evidence could not be opened or read.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The file cannot be opened or read.
    #[error("{path}: {source}: {hint}")]
    Io {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The file is no evidence.
    #[error("{path}: {what}: {hint}")]
    Unfit {
        /// What was to be read.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// A structure points behind the end of the evidence.
    #[error("{len} bytes at byte {at} were asked for, but the evidence ends at byte {size}")]
    Outside {
        /// First byte asked for.
        at: u64,
        /// Bytes asked for.
        len: u64,
        /// Size of the evidence.
        size: u64,
    },
}

/// What kind of evidence an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A disk or a volume.
    Disk,
    /// A folder of files: its bytes are the files', one behind the other.
    Folder,
}

/// Evidence as bytes.
pub trait Image: Send + Sync {
    /// The registered name of the container: `raw`, `split`, `folder` …
    fn format(&self) -> &'static str;

    /// Size in bytes.
    fn size(&self) -> u64;

    /// The longest prefix of `extent` in one piece: borrowed from the map, or decoded and owned. Never empty for an
    /// extent that is not.
    ///
    /// # Errors
    /// [`ImageError::Outside`] where `extent` ends behind the image; [`ImageError::Io`] where a reader fails.
    fn part(&self, extent: Extent) -> Result<Cow<'_, [u8]>, ImageError>;

    /// The same, for whoever goes through all of the evidence once: what is decoded is not kept for others.
    ///
    /// # Errors
    /// As [`Image::part`].
    fn part_once(&self, extent: Extent) -> Result<Cow<'_, [u8]>, ImageError> {
        self.part(extent)
    }

    /// Where the piece ends that holds byte `at`, if it is decoded whole: who goes on there decodes nothing twice. `at` itself if it is not.
    fn border(&self, at: u64) -> u64 {
        at
    }

    /// True where reading means decoding, so that it is worth doing ahead and on all cores.
    fn packed(&self) -> bool {
        false
    }

    /// The ranges that could not be read so far and were taken as zeros, sorted.
    fn unreadable(&self) -> Vec<Extent>;

    /// Gives mapped pages back to the system; they are read again when they are needed.
    fn release(&self);

    /// The files that hold the evidence, for the seal.
    fn files(&self) -> Vec<PathBuf>;

    /// What the container says of itself and of how the evidence was acquired.
    fn about(&self) -> &about::About {
        &about::NOTHING
    }

    /// The evidence as it is, where this shows some of its volumes unlocked or rebuilt.
    fn original(&self) -> Option<&dyn Image> {
        None
    }

    /// The volumes that it shows unlocked.
    fn opened(&self) -> &[derived::Opened] {
        &[]
    }

    /// Where the computed bytes of an array begin, one stretch behind the other.
    fn rebuilt(&self, _id: &str) -> Option<u64> {
        None
    }

    /// Disk or folder.
    fn kind(&self) -> Kind {
        Kind::Disk
    }

    /// The files of a folder, with their places; empty for a disk.
    fn listing(&self) -> &[folder::Listed] {
        &[]
    }
}

/// The evidence as it is: what is hashed, sealed and counted.
pub fn original(image: &dyn Image) -> &dyn Image {
    image.original().unwrap_or(image)
}

/// Evidence, or `None` where a format does not take the file.
pub type Taken = Result<Option<Box<dyn Image>>, ImageError>;

/// A row of the table of containers.
pub struct Format {
    /// Its name.
    pub name: &'static str,
    /// Opens the evidence if it is of this kind; `Ok(None)` if it is not.
    pub open: fn(&Path) -> Taken,
}

/// Opens evidence with the first format that takes it.
///
/// # Errors
/// Where the path cannot be read, is empty or is no evidence.
pub fn open(path: &Path) -> Result<Box<dyn Image>, ImageError> {
    for format in crate::registry::IMAGES {
        if let Some(image) = (format.open)(path)? {
            return fitting(path, image);
        }
    }
    Err(ImageError::Unfit {
        path: path.to_owned(),
        what: "neither a file, a block device nor a folder".to_owned(),
        hint: "name a disk image, a device or a folder of files",
    })
}

/// The largest disk: a container may say of itself whatever it likes.
const LARGEST: u64 = 1 << 48;

fn fitting(path: &Path, image: Box<dyn Image>) -> Result<Box<dyn Image>, ImageError> {
    if image.size() <= LARGEST {
        return Ok(image);
    }
    let what = format!("says that its disk has {} bytes, which none has", image.size());
    Err(file::unfit(path, what, "it is damaged, or made to deceive"))
}

/// A window on an image: offsets are relative to it, errors name absolute ones.
#[derive(Clone, Copy)]
pub struct View<'img> {
    image: &'img dyn Image,
    extent: Extent,
}

impl<'img> View<'img> {
    /// The whole image.
    pub fn whole(image: &'img dyn Image) -> Self {
        Self { image, extent: Extent::new(0, image.size()) }
    }

    /// A window on `extent` of this view; what lies behind the view's end is cut off.
    pub fn sub(&self, extent: Extent) -> Self {
        let absolute = extent.shifted(self.extent.start).intersect(self.extent);
        let start = absolute.start.min(self.extent.end());
        Self { image: self.image, extent: Extent::new(start, absolute.len) }
    }

    /// Where the view lies in the image.
    pub const fn extent(&self) -> Extent {
        self.extent
    }

    /// Size in bytes.
    pub const fn size(&self) -> u64 {
        self.extent.len
    }

    /// The image.
    pub const fn image(&self) -> &'img dyn Image {
        self.image
    }

    /// Offset in the image of byte `at` of the view.
    pub const fn absolute(&self, at: u64) -> u64 {
        self.extent.start.saturating_add(at)
    }

    /// The longest prefix of `extent` that lies in one piece.
    ///
    /// # Errors
    /// [`ImageError::Outside`] where it ends behind the view.
    pub fn part(&self, extent: Extent) -> Result<Cow<'img, [u8]>, ImageError> {
        let end = extent.start.checked_add(extent.len);
        if end.is_none_or(|end| end > self.extent.len) {
            let at = self.absolute(extent.start);
            return Err(ImageError::Outside { at, len: extent.len, size: self.extent.end() });
        }
        self.image.part(extent.shifted(self.extent.start))
    }

    /// Exactly `len` bytes at `at`: borrowed where they lie in one piece, else put together.
    ///
    /// # Errors
    /// As [`View::part`].
    pub fn read(&self, at: u64, len: u64) -> Result<Cow<'img, [u8]>, ImageError> {
        if len == 0 {
            return Ok(Cow::Borrowed(&[]));
        }
        let first = self.part(Extent::new(at, len))?;
        if first.len() as u64 == len {
            return Ok(first);
        }
        let mut whole = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        whole.extend_from_slice(&first);
        while (whole.len() as u64) < len {
            let rest = Extent::between(at.saturating_add(whole.len() as u64), at.saturating_add(len));
            whole.extend_from_slice(&self.part(rest)?);
        }
        Ok(Cow::Owned(whole))
    }

    /// Up to `len` bytes at `at`; fewer, or none, where the view ends before that.
    pub fn read_up_to(&self, at: u64, len: u64) -> Cow<'img, [u8]> {
        let len = len.min(self.extent.len.saturating_sub(at));
        self.read(at, len).unwrap_or(Cow::Borrowed(&[]))
    }
}
