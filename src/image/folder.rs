//! A folder of files as evidence: its bytes are those of its files, one behind the other in the order of their paths.
//!
//! Symbolic links are listed with their target and never followed; devices, sockets and pipes are listed and never
//! opened. Files are read with `pread`, not mapped: a folder may hold more files than a process may map. Times of
//! access are neither changed, where the system lets us, nor recorded: listing alone changes those of folders, so a
//! second run would tell what the first one did, not what was there.

use super::about::Stored;
use super::{Image, ImageError, Kind, Taken};
use crate::bytes::index;
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::time::Timestamp;
use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use walkdir::WalkDir;

/// The most that one call of `part` gives.
const BLOCK: u64 = 1 << 20;

/// What a listed entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link and where it points.
    Symlink(String),
    /// A device, a socket or a pipe.
    Special,
}

/// One entry of the folder.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Path below the folder, starting with `/`.
    pub path: String,
    /// What it is.
    pub kind: ListedKind,
    /// Where its bytes lie in the evidence.
    pub extent: Extent,
    /// Modified, changed, born.
    pub times: [Option<Timestamp>; 3],
    /// Number of its inode.
    pub inode: u64,
    /// Why it could not be looked at.
    pub fault: Option<Fault>,
    /// When it was accessed, by evidence that was acquired from elsewhere.
    pub accessed: Option<Timestamp>,
    /// The hashes of its content that the evidence carries.
    pub carried: Vec<Stored>,
    /// What else has to be said of it.
    pub note: Option<String>,
    source: PathBuf,
}

impl Listed {
    /// An entry of which nothing is known but its path.
    pub fn new(path: String) -> Self {
        Self {
            path,
            kind: ListedKind::Special,
            extent: Extent::new(0, 0),
            times: [None; 3],
            inode: 0,
            fault: None,
            accessed: None,
            carried: Vec::new(),
            note: None,
            source: PathBuf::new(),
        }
    }
}

struct Folder {
    root: PathBuf,
    listing: Vec<Listed>,
    size: u64,
    open: Mutex<Option<(usize, Arc<File>)>>,
    unreadable: Mutex<Vec<Extent>>,
}

/// Lists a folder; `Ok(None)` where `path` is none.
///
/// # Errors
/// Where the folder itself cannot be read.
pub fn open(path: &Path) -> Taken {
    let io = |source| ImageError::Io { path: path.to_owned(), source, hint: "check the path" };
    if !std::fs::metadata(path).map_err(io)?.is_dir() {
        return Ok(None);
    }
    std::fs::read_dir(path).map_err(io)?;
    let mut listing = Vec::new();
    let mut size = 0u64;
    for entry in WalkDir::new(path).min_depth(1).follow_links(false).sort_by_file_name() {
        let listed = match entry {
            Ok(entry) => list(path, entry.path(), entry.metadata().map_err(std::io::Error::from), size),
            Err(error) => {
                let at = error.path().unwrap_or(path).to_owned();
                list(path, &at, Err(error.into()), size)
            }
        };
        size = listed.extent.end();
        listing.push(listed);
    }
    let root = path.to_owned();
    Ok(Some(Box::new(Folder { root, listing, size, open: Mutex::default(), unreadable: Mutex::default() })))
}

fn list(root: &Path, path: &Path, meta: std::io::Result<Metadata>, start: u64) -> Listed {
    let below = path.strip_prefix(root).unwrap_or(path);
    let mut listed = Listed {
        extent: Extent::new(start, 0),
        source: path.to_owned(),
        ..Listed::new(format!("/{}", below.to_string_lossy()))
    };
    let meta = match meta {
        Ok(meta) => meta,
        Err(error) => {
            listed.fault = Some(Fault::new(start, "folder", format!("cannot be looked at: {error}")));
            return listed;
        }
    };
    listed.inode = meta.ino();
    let stamp = |s, n| u32::try_from(n).ok().and_then(|n| Timestamp::unix_nano(s, n));
    let born = meta.created().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    listed.times = [
        stamp(meta.mtime(), meta.mtime_nsec()),
        stamp(meta.ctime(), meta.ctime_nsec()),
        born.and_then(|t| Timestamp::unix_nano(i64::try_from(t.as_secs()).ok()?, t.subsec_nanos())),
    ];
    let kind = meta.file_type();
    if kind.is_file() {
        listed.kind = ListedKind::File;
        listed.extent.len = meta.len();
    } else if kind.is_dir() {
        listed.kind = ListedKind::Directory;
    } else if kind.is_symlink() {
        let target = std::fs::read_link(path).map(|t| t.to_string_lossy().into_owned());
        listed.kind = ListedKind::Symlink(target.unwrap_or_default());
    }
    listed
}

impl Folder {
    /// The open file of row `row`; the last one is kept open.
    fn file(&self, row: usize, listed: &Listed) -> std::io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((last, file)) = open.as_ref()
            && *last == row
        {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(open_quietly(&listed.source)?);
        *open = Some((row, Arc::clone(&file)));
        Ok(file)
    }
}

/// Opens a file without leaving a time of access; that is refused to those who do not own it.
fn open_quietly(path: &Path) -> std::io::Result<File> {
    let quietly = File::options().read(true).custom_flags(libc::O_NOATIME).open(path);
    quietly.or_else(|_| File::open(path))
}

impl Image for Folder {
    fn format(&self) -> &'static str {
        "folder"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn part(&self, extent: Extent) -> Result<Cow<'_, [u8]>, ImageError> {
        let outside = ImageError::Outside { at: extent.start, len: extent.len, size: self.size };
        if extent.start.checked_add(extent.len).is_none_or(|end| end > self.size) {
            return Err(outside);
        }
        // Entries without bytes share their start with the file behind them: the last one at or before it is that file.
        let row = self.listing.partition_point(|l| l.extent.start <= extent.start).saturating_sub(1);
        let Some(listed) = self.listing.get(row) else { return Err(outside) };
        let wanted = Extent::new(extent.start, extent.len.min(BLOCK)).intersect(listed.extent);
        let mut bytes = vec![0; index(wanted.len)];
        let at = wanted.start.saturating_sub(listed.extent.start);
        let read = self.file(row, listed).and_then(|file| file.read_exact_at(&mut bytes, at));
        if read.is_err() {
            // As with a page of a map: zeros, recorded, and the run goes on.
            bytes.fill(0);
            self.unreadable.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(wanted);
        }
        Ok(Cow::Owned(bytes))
    }

    fn unreadable(&self) -> Vec<Extent> {
        let failed = self.unreadable.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failed.iter().copied().collect::<ExtentSet>().as_slice().to_vec()
    }

    fn release(&self) {}

    fn files(&self) -> Vec<PathBuf> {
        let files = self.listing.iter().filter(|l| l.kind == ListedKind::File).map(|l| l.source.clone());
        std::iter::once(self.root.clone()).chain(files).collect()
    }

    fn kind(&self) -> Kind {
        Kind::Folder
    }

    fn listing(&self) -> &[Listed] {
        &self.listing
    }
}
