//! What the table no longer lists: names and run lists of files whose MFT record was used again, from whatever structure
//! still holds them. Each file is listed once: by its reference (record and sequence number) where that is known, else by
//! parent and name; what the table lists is not listed again.

use super::entry;
use super::free;
use super::record::{Record, Reference, kind};
use super::slack;
use super::tree::{FileName, MAX_DEPTH};
use super::{Ntfs, log, times, usn};
use crate::content::{Run, Stream};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::fs::{Batch, Entry, EntryKind, Origin, Recovered};
use crate::fuel::Fuel;
use crate::time::Timestamp;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// More files than this are not taken from what is lost, nor more copies of records.
const MAX_FINDS: usize = 1 << 20;
const MAX_RECORDS: usize = 1 << 18;

/// A trace of a file that the table does not list.
#[derive(Clone, Debug)]
pub(super) struct Find {
    pub(super) reference: Option<Reference>,
    pub(super) name: Option<FileName>,
    /// A copy of its record: it tells where the content lies.
    pub(super) record: Option<Record>,
    pub(super) origin: Origin,
    /// Byte of the volume at which it was found.
    pub(super) at: u64,
    pub(super) dtime: Option<Timestamp>,
    pub(super) note: String,
}

impl Find {
    /// A name alone.
    pub(super) fn name(name: FileName, reference: Option<Reference>, origin: Origin, at: u64, note: &str) -> Self {
        Self { reference, name: Some(name), record: None, origin, at, dtime: None, note: note.to_owned() }
    }

    /// A copy of a record.
    pub(super) fn record(record: Record, reference: Option<Reference>, origin: Origin, at: u64, note: &str) -> Self {
        Self { reference, name: None, record: Some(record), origin, at, dtime: None, note: note.to_owned() }
    }
}

/// What the table lists.
#[derive(Default)]
struct Known {
    /// The sequence number of each record's file.
    sequences: Vec<u16>,
    /// Hashes of parent and name, sorted when the table was read to its end.
    names: Vec<u64>,
}

impl Known {
    fn lists(&self, reference: Reference) -> bool {
        let record = usize::try_from(reference.record).ok();
        record.and_then(|record| self.sequences.get(record)) == Some(&reference.sequence)
    }
}

/// What a stretch of the table lists, and what lies behind its records.
#[derive(Default)]
pub(super) struct Seen {
    known: Known,
    indexes: Vec<Vec<Run>>,
    /// The log of changes, if its record is among these.
    journal: Option<Option<Stream>>,
    /// Traces in the slack of each record that has any.
    slack: Vec<Vec<Find>>,
    claimed: Vec<Extent>,
}

impl Seen {
    /// Notes the next record of the stretch.
    pub(super) fn note(&mut self, ntfs: &Ntfs<'_>, record: Option<&Record>) {
        self.known.sequences.push(record.map_or(0, |r| r.reference().sequence));
        let Some(record) = record else { return };
        for attribute in record.attributes() {
            match attribute.kind {
                kind::FILE_NAME => {
                    let Some(name) = attribute.value().and_then(FileName::parse) else { continue };
                    self.known.names.push(name_key(&name));
                    if name.name == "$UsnJrnl" && name.parent.record == usn::EXTEND {
                        self.journal = Some(entry::stream(ntfs, record, "$J"));
                    }
                }
                kind::INDEX_ALLOCATION => self.indexes.push(ntfs.mft.runs_of(&attribute).0),
                _ => {}
            }
        }
        let slack = slack::of_record(ntfs, record);
        self.slack.extend(Some(slack).filter(|slack| !slack.is_empty()));
    }

    /// Notes where deleted files have their content.
    pub(super) fn claim(&mut self, entries: &[Entry]) {
        let deleted = entries.iter().filter(|entry| !entry.allocated);
        self.claimed.extend(deleted.flat_map(|entry| entry::stored(&entry.stream)));
    }
}

/// One number for a parent and a name.
fn name_key(name: &FileName) -> u64 {
    let mut hasher = DefaultHasher::new();
    (name.parent, &name.name).hash(&mut hasher);
    hasher.finish()
}

/// The collection.
pub(super) struct Lost<'n, 'img> {
    pub(super) ntfs: &'n Ntfs<'img>,
    known: Known,
    finds: Vec<Find>,
    by_reference: HashMap<Reference, usize>,
    by_name: HashMap<u64, usize>,
    /// The run lists of all index allocations.
    indexes: Vec<Vec<Run>>,
    /// Traces in the slack of records; taken when the table was read to its end.
    waiting: Vec<Find>,
    journal: Option<Stream>,
    /// Where the content of the table's deleted files lies.
    claimed: Vec<Extent>,
    /// Bytes of indexes and of the log of changes that may still be read: together no more than the volume has.
    fuel: Fuel,
    /// How many copies of records are kept.
    copies: usize,
    /// True where something was left out.
    full: bool,
}

impl<'n, 'img> Lost<'n, 'img> {
    pub(super) fn new(ntfs: &'n Ntfs<'img>) -> Self {
        Self {
            ntfs,
            known: Known::default(),
            finds: Vec::new(),
            by_reference: HashMap::new(),
            by_name: HashMap::new(),
            indexes: Vec::new(),
            waiting: Vec::new(),
            journal: None,
            claimed: Vec::new(),
            fuel: Fuel::new(ntfs.mft.view.size()),
            copies: 0,
            full: false,
        }
    }

    /// Takes what the next stretch of the table tells.
    pub(super) fn take(&mut self, seen: Seen) {
        self.known.sequences.extend(seen.known.sequences);
        self.known.names.extend(seen.known.names);
        self.indexes.extend(seen.indexes);
        self.claimed.extend(seen.claimed);
        self.journal = seen.journal.unwrap_or(self.journal.take());
        for slack in seen.slack {
            if self.waiting.len() < MAX_RECORDS {
                self.waiting.extend(slack);
            }
        }
    }

    /// True where so many bytes may still be read; what is left out is told.
    pub(super) fn may_read(&mut self, bytes: u64) -> bool {
        let may = self.fuel.burn(bytes).is_ok();
        self.full |= !may;
        may
    }

    /// Takes a trace, unless the table or an earlier one tells the same.
    pub(super) fn add(&mut self, mut find: Find) {
        if find.reference.is_some_and(|reference| self.lists(reference)) {
            return;
        }
        if let (None, Some(record)) = (&find.name, &find.record) {
            find.name = super::tree::names(record.attributes()).into_iter().next();
        }
        let key = find.name.as_ref().map(name_key);
        let content = find.record.as_ref().is_some_and(Record::has_content);
        if !content && key.is_some_and(|key| self.known.names.binary_search(&key).is_ok()) {
            return;
        }
        if self.finds.len() >= MAX_FINDS || self.copies >= MAX_RECORDS {
            self.full = true;
            return;
        }
        self.copies = self.copies.saturating_add(usize::from(find.record.is_some()));
        let same = find.reference.and_then(|r| self.by_reference.get(&r)).copied();
        let same = same.or_else(|| self.namesake(key?, find.reference, content));
        let row = same.unwrap_or(self.finds.len());
        match self.finds.get_mut(row) {
            Some(earlier) => merge(earlier, find),
            None => self.finds.push(find),
        }
        let reference = self.finds.get(row).and_then(|find| find.reference);
        self.by_reference.extend(reference.map(|reference| (reference, row)));
        if let Some(key) = key {
            self.by_name.entry(key).or_insert(row);
        }
    }

    /// An earlier trace of the same name: another file only where both are known by different references, or both have
    /// content.
    fn namesake(&self, key: u64, reference: Option<Reference>, content: bool) -> Option<usize> {
        let row = *self.by_name.get(&key)?;
        let earlier = self.finds.get(row)?;
        let other = earlier.reference.is_some() && reference.is_some();
        let twice = content && earlier.record.is_some();
        (!other && !twice).then_some(row)
    }

    /// Reads all structures that may hold traces, and lists what they give, behind the records that are `adrift`: those
    /// find their path through directories that are lost.
    pub(super) fn entries(mut self, adrift: &[Record]) -> Batch {
        self.known.names.sort_unstable();
        log::read(&mut self);
        for find in std::mem::take(&mut self.waiting) {
            self.add(find);
        }
        let indexes = std::mem::take(&mut self.indexes);
        slack::of_indexes(&mut self, indexes);
        free::read(&mut self);
        if let Some(journal) = self.journal.take() {
            usn::read(&mut self, journal);
        }
        let folders = self.folders();
        let claimed = ExtentSet::new(std::mem::take(&mut self.claimed));
        let entries = self.finds.iter().flat_map(|find| listed(self.ntfs, find, &folders, &claimed));
        let what = "not all that the table lost is listed: it is more than is read or kept";
        let full = self.full.then(|| Fault::new(self.ntfs.mft.view.absolute(0), "ntfs", what));
        let through = |name: &FileName| path(self.ntfs, name, &folders);
        let adrift = adrift.iter().flat_map(|record| entry::entries(self.ntfs, record, None, &through));
        adrift.chain(entries).map(Ok).chain(full.map(Err)).collect()
    }

    /// True where a file is listed by the table.
    pub(super) fn lists(&self, reference: Reference) -> bool {
        self.known.lists(reference)
    }

    /// The lost directories: their children find their path through them.
    fn folders(&self) -> HashMap<Reference, FileName> {
        let folders = self.finds.iter().filter_map(|find| Some((find.reference?, find.name.clone()?)));
        folders.filter(|(_, name)| name.directory).collect()
    }
}

fn merge(earlier: &mut Find, find: Find) {
    if earlier.record.is_none() && find.record.is_some() {
        (earlier.origin, earlier.at, earlier.note) = (find.origin, find.at, find.note);
        earlier.record = find.record;
    }
    let short = |name: &Option<FileName>| name.as_ref().is_none_or(|n| n.namespace == 2);
    if short(&earlier.name) && find.name.is_some() {
        earlier.name = find.name;
    }
    earlier.reference = earlier.reference.or(find.reference);
    earlier.dtime = earlier.dtime.or(find.dtime);
}

/// The path of a lost name, through lost directories where the table has none.
fn path(ntfs: &Ntfs<'_>, name: &FileName, folders: &HashMap<Reference, FileName>) -> String {
    let (mut parts, mut parent) = (vec![name.name.as_str()], name.parent);
    while let Some(folder) = folders.get(&parent).filter(|_| parts.len() < MAX_DEPTH && !ntfs.tree.holds(parent)) {
        parts.push(&folder.name);
        parent = folder.parent;
    }
    parts.reverse();
    format!("{}/{}", ntfs.tree.directory_path(parent), parts.join("/"))
}

fn listed(ntfs: &Ntfs<'_>, find: &Find, folders: &HashMap<Reference, FileName>, claimed: &ExtentSet) -> Vec<Entry> {
    let path = |name: &FileName| path(ntfs, name, folders);
    let mut entries = match (&find.record, &find.name) {
        (Some(record), name) => entry::entries(ntfs, record, name.as_ref(), &path),
        (None, Some(name)) => vec![name_only(find, name, path(name))],
        (None, None) => Vec::new(),
    };
    // What has no name and lies where a deleted file of the table does is an older form of that file.
    if find.name.is_none() {
        entries.retain(|entry| !is_within(entry, claimed));
    }
    for entry in &mut entries {
        entry.origin = find.origin;
        entry.times.dtime = find.dtime;
        entry.at = find.at;
        entry.remark(&find.note);
        if entry.recovered == Some(Recovered::Intact) && entry::stored(&entry.stream).any(|e| claimed.touches(e)) {
            entry.recovered = Some(Recovered::Partial);
            entry.remark("another deleted file had the same clusters");
        }
    }
    entries
}

/// Whether all clusters of an entry, and there are some, lie in `claimed`.
fn is_within(entry: &Entry, claimed: &ExtentSet) -> bool {
    let own: ExtentSet = entry::stored(&entry.stream).collect();
    own.total() > 0 && own.subtract(claimed).total() == 0
}

fn name_only(find: &Find, name: &FileName, path: String) -> Entry {
    let kind = if name.directory { EntryKind::Directory } else { EntryKind::File };
    // Without a record of its own, the index of its directory is where it is known from.
    let inode = find.reference.map_or_else(
        || format!("{}-{}-0", name.parent.record, kind::INDEX_ALLOCATION),
        |reference| format!("{}-{}-0", reference.record, kind::FILE_NAME),
    );
    let mut entry = Entry::new(path, kind, inode, find.at);
    entry.allocated = false;
    entry.times = times::of_name(name);
    entry.recovered = Some(Recovered::NameOnly);
    entry.stream.size = if name.directory { 0 } else { name.size };
    entry
}
