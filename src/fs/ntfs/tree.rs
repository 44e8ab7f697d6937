//! Names and paths: the directories of the volume, each with its parent, and the records that extend others.

use super::mft::Mft;
use super::record::{Attribute, Record, Reference, kind};
use crate::bytes::{Fields, utf16_le};
use crate::time::Timestamp;
use rayon::prelude::*;
use std::cell::RefCell;
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

impl Directory {
    fn new(record: &Record, name: FileName) -> Self {
        let (sequence, referred) = (record.sequence, record.referred_sequence());
        Self { parent: name.parent, name: name.name, sequence, referred }
    }
}

/// A record that leads to others.
enum Lead {
    Extension { base: u64, number: u64 },
    Directory(u64, Directory),
    Nameless(u64),
}

/// Those in a block of the table.
fn leads(mft: &Mft<'_>, block: u64) -> Vec<Lead> {
    let block = mft.block(block);
    let records = block.records().filter_map(|(number, raw)| Some((number, raw.filter(|raw| Record::leads(raw))?)));
    let records = records.filter_map(|(number, raw)| Record::parse(number, raw));
    let lead = |record: Record| match (record.base, best_name([&record])) {
        (Some(base), _) => Lead::Extension { base: base.record, number: record.number },
        (None, Some(name)) => Lead::Directory(record.number, Directory::new(&record, name)),
        (None, None) => Lead::Nameless(record.number),
    };
    records.map(lead).collect()
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
        let found: Vec<Vec<Lead>> = (0..mft.blocks()).into_par_iter().map(|block| leads(mft, block)).collect();
        for lead in found.into_iter().flatten() {
            match lead {
                Lead::Extension { base, number } => tree.extensions.entry(base).or_default().push(number),
                Lead::Directory(number, directory) => drop(tree.directories.insert(number, directory)),
                Lead::Nameless(number) => nameless.push(number),
            }
        }
        // A directory with an attribute list may keep its name in another record.
        for record in nameless.into_iter().filter_map(|number| mft.record(number)) {
            let extensions = tree.extensions_of(mft, &record);
            let name = best_name(extensions.iter());
            tree.directories.extend(name.map(|name| (record.number, Directory::new(&record, name))));
        }
        tree
    }

    /// The records that extend `base`, in the order of their numbers.
    pub(super) fn extensions_of(&self, mft: &Mft<'_>, base: &Record) -> Vec<Record> {
        let numbers = self.extensions.get(&base.number).map(Vec::as_slice).unwrap_or_default();
        let records = numbers.iter().filter_map(|number| mft.record(*number));
        records.filter(|r| r.in_use == base.in_use && r.base.is_some_and(|b| base.answers_to(b))).collect()
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

/// Finds the paths of names: of neighbours in the table, most have the directory of the one before.
pub(super) struct Paths<'t> {
    tree: &'t Tree,
    last: RefCell<Option<(Reference, Arc<str>)>>,
}

impl<'t> Paths<'t> {
    pub(super) const fn new(tree: &'t Tree) -> Self {
        Self { tree, last: RefCell::new(None) }
    }

    /// The path of a name; below `/$OrphanFiles` where its directory is gone.
    pub(super) fn of(&self, name: &FileName) -> String {
        let mut last = self.last.borrow_mut();
        let known = last.take().filter(|(parent, _)| *parent == name.parent);
        let (parent, path) = known.unwrap_or_else(|| (name.parent, self.tree.directory_path(name.parent)));
        let whole = [&path, "/", &name.name].concat();
        *last = Some((parent, path));
        whole
    }
}

/// The name to show of a directory: the long one where there is one.
fn best_name<'r>(records: impl IntoIterator<Item = &'r Record>) -> Option<FileName> {
    names(records.into_iter().flat_map(Record::attributes)).into_iter().next()
}

/// The names among a file's attributes, one a path: a DOS name only where it is the only one in its directory.
pub(super) fn names<'r>(attributes: impl Iterator<Item = Attribute<'r>>) -> Vec<FileName> {
    let values = attributes.filter(|a| a.kind == kind::FILE_NAME);
    let all: Vec<FileName> = values.filter_map(|a| FileName::parse(a.value()?)).collect();
    let long: Vec<Reference> = all.iter().filter(|n| n.namespace != 2).map(|n| n.parent).collect();
    let mut names: Vec<FileName> = Vec::with_capacity(all.len());
    for name in all.into_iter().filter(|n| n.namespace != 2 || !long.contains(&n.parent)) {
        if !names.iter().any(|other| other.parent == name.parent && other.name == name.name) {
            names.push(name);
        }
    }
    names
}
