//! Names and paths: the directories of the volume, each with its parent, and the records that extend others.

use super::mft::Mft;
use super::record::{Record, Reference, kind};
use crate::bytes::{Fields, utf16_le};
use crate::time::Timestamp;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Where The Sleuth Kit lists what has lost its directory, and so do we.
pub(super) const ORPHANS: &str = "/$OrphanFiles";
const ROOT: u64 = 5;
/// Deeper than any path that Windows can make; a longer chain of parents is a circle.
pub(super) const MAX_DEPTH: usize = 1024;

/// A `$FILE_NAME`.
#[derive(Clone, Debug)]
pub(super) struct FileName {
    pub(super) parent: Reference,
    pub(super) name: String,
    /// 0 POSIX, 1 Win32, 2 DOS, 3 Win32 and DOS.
    pub(super) namespace: u8,
    /// Created, changed, metadata changed, read.
    pub(super) times: [Option<Timestamp>; 4],
    /// Size in bytes when the name was last written; often stale.
    pub(super) size: u64,
    /// True for a directory.
    pub(super) directory: bool,
}

impl FileName {
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let time = |at| value.le64(at).and_then(Timestamp::filetime);
        let length = usize::from(value.byte(64)?).checked_mul(2)?;
        Some(Self {
            parent: Reference::parse(value.le64(0)?),
            name: utf16_le(value.span(66, length)?),
            namespace: value.byte(65)?,
            times: [time(8), time(16), time(24), time(32)],
            size: value.le64(48)?,
            directory: value.le32(56)? & 0x1000_0000 != 0,
        })
    }
}

struct Directory {
    parent: Reference,
    name: String,
    sequence: u16,
    referred: u16,
}

/// Directories and extensions of the volume.
pub(super) struct Tree {
    directories: HashMap<u64, Directory>,
    /// Records that extend others, by the record that they extend.
    extensions: HashMap<u64, Vec<u64>>,
    paths: Mutex<HashMap<Reference, Arc<str>>>,
}

impl Tree {
    /// Reads the whole table once.
    pub(super) fn build(mft: &Mft<'_>) -> Self {
        let mut tree = Self { directories: HashMap::new(), extensions: HashMap::new(), paths: Mutex::default() };
        let mut nameless = Vec::new();
        for record in mft.records().filter_map(|(_, record)| record) {
            if let Some(base) = record.base {
                tree.extensions.entry(base.record).or_default().push(record.number);
            } else if record.directory {
                match best_name(std::iter::once(&record)) {
                    Some(name) => tree.add(&record, name),
                    None => nameless.push(record),
                }
            }
        }
        // A directory with an attribute list may keep its name in another record.
        for record in nameless {
            let extensions = tree.extensions_of(mft, &record);
            if let Some(name) = best_name(extensions.iter()) {
                tree.add(&record, name);
            }
        }
        tree
    }

    fn add(&mut self, record: &Record, name: FileName) {
        let (sequence, referred) = (record.sequence, record.referred_sequence());
        let directory = Directory { parent: name.parent, name: name.name, sequence, referred };
        self.directories.insert(record.number, directory);
    }

    /// The records that extend `base`, in the order of their numbers.
    pub(super) fn extensions_of(&self, mft: &Mft<'_>, base: &Record) -> Vec<Record> {
        let numbers = self.extensions.get(&base.number).map(Vec::as_slice).unwrap_or_default();
        let records = numbers.iter().filter_map(|number| mft.record(*number));
        records.filter(|r| r.in_use == base.in_use && r.base.is_some_and(|b| base.answers_to(b))).collect()
    }

    /// The path of a name; below `/$OrphanFiles` where its directory is gone.
    pub(super) fn path(&self, name: &FileName) -> String {
        format!("{}/{}", self.directory_path(name.parent), name.name)
    }

    /// True where the table has this directory.
    pub(super) fn holds(&self, reference: Reference) -> bool {
        let fits = |d: &Directory| reference.sequence == d.sequence || reference.sequence == d.referred;
        reference.record == ROOT || self.directories.get(&reference.record).is_some_and(fits)
    }

    /// The path of a directory, empty for the root.
    pub(super) fn directory_path(&self, start: Reference) -> Arc<str> {
        let mut known = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut chain, mut at) = (Vec::new(), start);
        let mut path: Arc<str> = loop {
            if let Some(path) = known.get(&at) {
                break Arc::clone(path);
            }
            if at.record == ROOT {
                break Arc::from("");
            }
            let fits = |d: &&Directory| at.sequence == d.sequence || at.sequence == d.referred;
            match self.directories.get(&at.record).filter(fits) {
                Some(directory) if chain.len() < MAX_DEPTH => {
                    chain.push((at, directory));
                    at = directory.parent;
                }
                _ => break Arc::from(ORPHANS),
            }
        };
        for (reference, directory) in chain.into_iter().rev() {
            path = Arc::from(format!("{path}/{}", directory.name));
            known.insert(reference, Arc::clone(&path));
        }
        path
    }
}

/// The name to show of a directory: the long one where there is one.
fn best_name<'r>(records: impl Iterator<Item = &'r Record>) -> Option<FileName> {
    names(records).into_iter().next()
}

/// The names of a file, one a path: a DOS name only where it is the only one in its directory.
pub(super) fn names<'r>(records: impl Iterator<Item = &'r Record>) -> Vec<FileName> {
    let values = records.flat_map(|r| r.attributes().filter(|a| a.kind == kind::FILE_NAME).collect::<Vec<_>>());
    let mut all: Vec<FileName> = values.filter_map(|a| FileName::parse(a.value()?)).collect();
    let long: Vec<Reference> = all.iter().filter(|n| n.namespace != 2).map(|n| n.parent).collect();
    all.retain(|n| n.namespace != 2 || !long.contains(&n.parent));
    let mut seen: Vec<(Reference, String)> = Vec::new();
    all.retain(|n| {
        let new = !seen.iter().any(|(parent, name)| *parent == n.parent && *name == n.name);
        seen.push((n.parent, n.name.clone()));
        new
    });
    all
}
