//! What a file system must tell: every entry, live or deleted, where each of its bytes lies, and what is unallocated.
//!
//! A file system is one file below `fs/` (with a folder of its own for its parts) and one row of
//! [`crate::registry::FILE_SYSTEMS`].

pub mod apfs;
mod bits;
pub mod btrfs;
mod cluster;
mod decmpfs;
mod disk;
pub mod exfat;
pub mod ext;
pub mod f2fs;
pub mod fat;
pub mod folder;
pub mod hfsplus;
pub mod iso9660;
pub mod known;
pub mod ntfs;
mod orphan;
mod pieces;
mod posix;
mod scatter;
pub mod squashfs;
mod trees;
pub mod udf;
pub mod ufs;
mod verdict;
mod walk;
pub mod xfs;

use crate::content::Stream;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a file system says about itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its usual name: `NTFS`, `FAT16`, `ext4`.
    pub name: String,
    /// Volume label.
    pub label: String,
    /// Serial number or UUID, as the system prints it.
    pub id: String,
    /// Bytes of a cluster or block.
    pub cluster: u64,
    /// How many bytes of the volume it covers.
    pub size: u64,
    /// What is damaged.
    pub faults: Vec<Fault>,
    /// Where the volume contradicts itself.
    pub anomalies: Vec<Anomaly>,
}

/// A sign that something was hidden or changed: two copies that differ, bytes where none should be. Each becomes an
/// item of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Where it shows, by whom it was seen, and what it is.
    pub sign: Fault,
    /// Bytes that stand where none should, relative to the volume: the content of the item, searched for text.
    pub extents: Vec<Extent>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; its target is in [`Entry::target`].
    Symlink,
    /// A named stream of a file, `path:stream`.
    Stream,
    /// A device, socket or pipe.
    Special,
}

/// How much of a deleted file is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// All its clusters are still unallocated.
    Intact,
    /// Some of its clusters belong to something else now, or may have: see [`Entry::certainty`].
    Partial,
    /// All its clusters belong to something else now.
    Overwritten,
    /// Only the name (and perhaps the size) is left; where the content lay is not known.
    NameOnly,
}

impl Recovered {
    /// Its name in JSON and in queries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intact => "intact",
            Self::Partial => "partial",
            Self::Overwritten => "overwritten",
            Self::NameOnly => "name-only",
        }
    }
}

/// Where an entry was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// In the file system's own tables and directories, live or marked as deleted.
    #[default]
    Table,
    /// Between or behind the entries of a directory or an index.
    Slack,
    /// In an older copy that the file system's journal holds.
    Journal,
    /// In a log of changes.
    ChangeLog,
    /// In space that belongs to nothing.
    Unallocated,
}

impl Origin {
    /// Its name in JSON; none for what the tables hold.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Table => None,
            Self::Slack => Some("slack"),
            Self::Journal => Some("journal"),
            Self::ChangeLog => Some("change-log"),
            Self::Unallocated => Some("unallocated"),
        }
    }
}

/// How sure it is that a stretch of a deleted file's content is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// The metadata names it, or the format of the content confirms it.
    Proven,
    /// No other place fits what is known of the file and its neighbours.
    Inferred,
    /// One of several places that fit.
    Guessed,
}

/// The times of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Created.
    pub btime: Option<Timestamp>,
    /// Content last changed.
    pub mtime: Option<Timestamp>,
    /// Metadata last changed.
    pub ctime: Option<Timestamp>,
    /// Last read.
    pub atime: Option<Timestamp>,
    /// Deleted.
    pub dtime: Option<Timestamp>,
}

/// Who may do what with an entry, as POSIX systems keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
    /// Number of the owner.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
}

/// One entry of a file system: a name with what it names.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Path from the root of the volume, with `/`, as the file system spells it.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// False for what was deleted.
    pub allocated: bool,
    /// For deleted entries: how much of it is left.
    pub recovered: Option<Recovered>,
    /// The metadata's address: `64-128-2` (record, attribute type, attribute id), `12` (inode), `4:96` (directory's
    /// first cluster, offset of the entry).
    pub inode: String,
    /// Where the metadata stands in the volume, in bytes; unique among the entries of one volume together with
    /// [`Entry::path`].
    pub at: u64,
    /// Times.
    pub times: Times,
    /// A second set that the file system keeps beside the name (NTFS `$FILE_NAME`).
    pub name_times: Times,
    /// Where the entry was found.
    pub origin: Origin,
    /// How sure the content's place is: stretches in order, in bytes. Empty where the metadata names all of it.
    pub certainty: Vec<(u64, Certainty)>,
    /// Times and sizes that contradict each other.
    pub contradictions: Vec<String>,
    /// Times that cannot be: each such entry becomes an anomaly, too.
    pub impossible: Vec<String>,
    /// Content; empty for directories.
    pub stream: Stream,
    /// True where other entries name the same content: they have the same [`Entry::inode`].
    pub linked: bool,
    /// Owner and permissions.
    pub access: Option<Access>,
    /// Extended attributes and access lists, by name.
    pub attributes: Vec<(String, String)>,
    /// Target of a symbolic link or reparse point.
    pub target: Option<String>,
    /// True where the content is encrypted by the file system.
    pub encrypted: bool,
    /// A remark for the reader: `name's first character is lost`.
    pub note: Option<String>,
    /// What is damaged.
    pub faults: Vec<Fault>,
    /// Checksums of what it stores, where the file system keeps such.
    pub sums: Option<Arc<dyn Sums>>,
}

/// The checksums that a file system keeps of what an entry stores: compared when its content is read.
pub trait Sums: std::fmt::Debug + Send + Sync {
    /// Compares all of them with what the volume holds; what does not fit.
    fn compare(&self, volume: View<'_>) -> Option<Fault>;
}

impl Entry {
    /// A live entry without content or times.
    pub fn new(path: String, kind: EntryKind, inode: String, at: u64) -> Self {
        Self {
            path,
            kind,
            allocated: true,
            recovered: None,
            inode,
            at,
            times: Times::default(),
            name_times: Times::default(),
            origin: Origin::Table,
            certainty: Vec::new(),
            contradictions: Vec::new(),
            impossible: Vec::new(),
            stream: Stream::default(),
            linked: false,
            access: None,
            attributes: Vec::new(),
            target: None,
            encrypted: false,
            note: None,
            faults: Vec::new(),
            sums: None,
        }
    }

    /// Adds a remark to those that are there.
    pub fn remark(&mut self, remark: &str) {
        self.note = Some(self.note.take().map_or(remark.to_owned(), |note| format!("{note}; {remark}")));
    }
}

/// Entries that were read together, and what could not be read.
pub type Batch = Vec<Result<Entry, Fault>>;

/// A file system that has been opened.
pub trait FileSystem: Send + Sync {
    /// What it says about itself.
    fn facts(&self) -> &Facts;

    /// All entries, each once, in the file system's own order: the same on every run. Deleted ones too, those that the
    /// tables do not hold ([`Origin::Table`]) behind all others; a structure that cannot be read is a fault, and the rest
    /// follows. Where a volume may be large, a batch has some thousands.
    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_>;

    /// The clusters that belong to nothing, sorted and merged, relative to the volume.
    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_>;
}

/// Gives every entry of a file system to `each`: live ones as they come, then the deleted ones, their verdicts completed
/// by what only all of them together tell. What cannot be read is given as a fault. The next batch is read while `each`
/// has one.
pub fn list(file_system: &dyn FileSystem, each: &mut (dyn FnMut(Batch) + Send)) {
    let (mut deleted, mut live) = (Vec::new(), verdict::Live::default());
    let mut batches = file_system.entries();
    let mut next = batches.next();
    while let Some(batch) = next {
        let take = || {
            let batch = without_deleted(batch, &mut deleted);
            live.take(batch.iter().flatten());
            each(batch);
        };
        (next, ()) = rayon::join(|| batches.next(), take);
    }
    let again = || file_system.entries().flatten().flatten().filter(|entry| entry.allocated);
    verdict::settle(&mut deleted, live, again);
    each(deleted.into_iter().map(Ok).collect());
}

/// Takes deleted entries out of a batch: most have none.
fn without_deleted(batch: Batch, deleted: &mut Vec<Entry>) -> Batch {
    let is_deleted = |entry: &Result<Entry, Fault>| entry.as_ref().is_ok_and(|entry| !entry.allocated);
    if !batch.iter().any(is_deleted) {
        return batch;
    }
    let (gone, rest): (Batch, Batch) = batch.into_iter().partition(is_deleted);
    deleted.extend(gone.into_iter().flatten());
    rest
}

/// The same, collected: entries, and what could not be read.
pub fn entries(file_system: &dyn FileSystem) -> (Vec<Entry>, Vec<Fault>) {
    let (mut entries, mut faults) = (Vec::new(), Vec::new());
    list(file_system, &mut |batch| {
        for entry in batch {
            match entry {
                Ok(entry) => entries.push(entry),
                Err(fault) => faults.push(fault),
            }
        }
    });
    (entries, faults)
}

/// Why a file system is thought to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// 100: signature and every checked field fit; 50: the signature alone.
    pub surety: u8,
    /// What fits.
    pub reason: String,
}

/// An opened file system, or what keeps it from being read.
pub type Opened<'img> = Result<Box<dyn FileSystem + 'img>, Fault>;

/// A row of the table of file systems.
pub struct Row {
    /// Its name: `ntfs`, `fat`, `ext`.
    pub name: &'static str,
    /// Whether a volume looks like one.
    pub probe: fn(View<'_>) -> Option<Claim>,
    /// Opens it.
    pub open: for<'img> fn(View<'img>) -> Opened<'img>,
}

/// All file systems that claim the volume, the surest first.
pub fn claims(volume: View<'_>) -> Vec<(&'static Row, Claim)> {
    let mut found: Vec<_> =
        crate::registry::FILE_SYSTEMS.iter().filter_map(|row| Some((row, (row.probe)(volume)?))).collect();
    found.sort_by_key(|(_, claim)| std::cmp::Reverse(claim.surety));
    found
}
