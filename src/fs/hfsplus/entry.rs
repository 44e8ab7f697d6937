//! The entries of a record: the file or folder, its resource fork and the attributes that have a fork of their own.

use super::Hfs;
use super::attributes::Attribute;
use super::catalog::ORPHANS;
use super::fork::{self, ForkData};
use super::record::{ROOT, Record};
use crate::bytes::text_or_hex;
use crate::content::{Content, Stream};
use crate::fs::decmpfs::{self, Unpacked};
use crate::fs::{Entry, EntryKind};
use std::sync::Arc;

/// The longest target of a symbolic link.
const MAX_TARGET: u64 = 4096;
/// Bytes of a value that are told.
const MAX_VALUE: usize = 4096;

/// The entries of a live record that stands at `at`.
pub(super) fn live(hfs: &Hfs<'_>, record: &Record, at: u64) -> Vec<Entry> {
    if record.id == ROOT {
        return Vec::new();
    }
    let (folder, wrong) = match hfs.catalog.path(record.parent) {
        Some(path) => (Arc::clone(path), None),
        None => (Arc::from(ORPHANS), Some(format!("folder {}, which it is in, is not there", record.parent))),
    };
    let path = [&folder, "/", &record.name].concat();
    let mut all = match hfs.catalog.file_of(record).filter(|_| record.is_file_link()) {
        Some(file) => of_file(hfs, file, path, at, true),
        None if record.is_file_link() => {
            let mut all = of_file(hfs, record, path, at, false);
            let what = format!("it is a name of file {}, which is not there", record.special);
            all.iter_mut().take(1).for_each(|entry| entry.faults.push(hfs.fault(at, what.clone())));
            all
        }
        None if record.is_folder_link() => vec![folder_link(hfs, record, path, at)],
        None if record.forks.is_some() => of_file(hfs, record, path, at, hfs.catalog.is_inode(record)),
        None => vec![of_folder(hfs, record, path, at)],
    };
    if let Some(first) = all.first_mut() {
        first.faults.extend(wrong.map(|what| hfs.fault(at, what)));
    }
    all
}

/// An entry with what every record tells.
pub(super) fn begin(record: &Record, path: String, kind: EntryKind, at: u64) -> Entry {
    let mut entry = Entry::new(path, kind, record.id.to_string(), at);
    entry.times = record.times();
    entry.access = Some(record.access);
    for (name, value) in ["finder_type", "finder_creator"].into_iter().zip(record.finder) {
        if record.forks.is_some() && value != [0; 4] {
            entry.attributes.push((name.to_owned(), text_or_hex(&value, 4)));
        }
    }
    entry.attributes.extend(record.backup().map(|time| ("backup".to_owned(), time.rfc3339())));
    entry
}

/// What a record's mode says that it is.
pub(super) const fn kind_of(record: &Record) -> EntryKind {
    match record.access.mode >> 12 {
        _ if record.forks.is_none() => EntryKind::Directory,
        10 => EntryKind::Symlink,
        1 | 2 | 6 | 12 => EntryKind::Special,
        _ => EntryKind::File,
    }
}

fn of_folder(hfs: &Hfs<'_>, record: &Record, path: String, at: u64) -> Entry {
    let mut entry = begin(record, path, EntryKind::Directory, at);
    for attribute in hfs.attributes_of(record.id) {
        tell(hfs, &mut entry, &attribute);
    }
    entry
}

fn folder_link(hfs: &Hfs<'_>, record: &Record, path: String, at: u64) -> Entry {
    let mut entry = begin(record, path, EntryKind::Directory, at);
    match hfs.catalog.folder_of(record) {
        Some(id) => {
            entry.inode = id.to_string();
            let place = hfs.catalog.path(id).map_or(ORPHANS, |path| path);
            let is_first = place == entry.path;
            let note = format!("a name of folder {id}, which may have several: what it holds is listed below {place}");
            entry.note = (!is_first).then_some(note);
        }
        None => {
            let what = format!("it is a name of folder {}, which is not there", record.special);
            entry.faults.push(hfs.fault(at, what));
        }
    }
    entry
}

fn of_file(hfs: &Hfs<'_>, record: &Record, path: String, at: u64, linked: bool) -> Vec<Entry> {
    let mut entry = begin(record, path, kind_of(record), at);
    entry.linked = linked;
    let [data, resource] = record.forks.unwrap_or_default();
    let mut streams = Vec::new();
    let (stream, wrong) = fork_of(hfs, record.id, fork::DATA, &data);
    entry.stream = stream;
    entry.faults.extend(wrong.map(|what| hfs.fault(at, what)));
    let (resource_stream, wrong) = fork_of(hfs, record.id, fork::RESOURCE, &resource);
    entry.faults.extend(wrong.map(|what| hfs.fault(at, format!("resource fork: {what}"))));
    let mut in_fork = false;
    for attribute in hfs.attributes_of(record.id) {
        tell(hfs, &mut entry, &attribute);
        if record.is_compressed() && attribute.name == decmpfs::ATTRIBUTE {
            in_fork |= set_content(hfs, &mut entry, &attribute, &resource_stream);
        }
        if attribute.has_fork {
            streams.push(stream_of(&entry, &attribute.name, attribute.stream));
        }
    }
    if entry.kind == EntryKind::Symlink {
        let target = Content::new(hfs.view, &entry.stream).prefix(MAX_TARGET).into_owned();
        entry.target = Some(String::from_utf8_lossy(&target).into_owned());
    }
    if resource_stream.size > 0 && !in_fork {
        streams.insert(0, stream_of(&entry, "rsrc", resource_stream));
    }
    streams.insert(0, entry);
    streams
}

/// Puts compressed content into an entry; true where the resource fork holds it.
fn set_content(hfs: &Hfs<'_>, entry: &mut Entry, attribute: &Attribute, fork: &Stream) -> bool {
    let fork = (fork.size > 0).then_some(fork);
    let Some(Unpacked { stream, in_fork, wrong }) = decmpfs::unpack(hfs.view, &attribute.stream, fork) else {
        entry.faults.push(hfs.fault(attribute.at, "what its compression should tell is damaged".to_owned()));
        return false;
    };
    entry.stream = stream;
    entry.faults.extend(wrong.map(|what| hfs.fault(attribute.at, what)));
    in_fork
}

/// Adds an attribute to those of an entry.
fn tell(hfs: &Hfs<'_>, entry: &mut Entry, attribute: &Attribute) {
    entry.faults.extend(attribute.wrong.as_ref().map(|what| hfs.fault(attribute.at, what.clone())));
    // Of compressed content only how it is compressed: the rest is content.
    let most = if attribute.name == decmpfs::ATTRIBUTE { 16 } else { MAX_VALUE };
    let value = Content::new(hfs.view, &attribute.stream).prefix(most as u64).into_owned();
    entry.attributes.push((attribute.name.clone(), text_or_hex(&value, most)));
}

/// A stream of a file.
pub(super) fn stream_of(file: &Entry, name: &str, stream: Stream) -> Entry {
    let (path, inode) = (format!("{}:{name}", file.path), format!("{}:{name}", file.inode));
    let mut entry = Entry::new(path, EntryKind::Stream, inode, file.at);
    (entry.times, entry.access, entry.linked) = (file.times, file.access, file.linked);
    (entry.allocated, entry.origin) = (file.allocated, file.origin);
    entry.stream = stream;
    entry
}

pub(super) fn fork_of(hfs: &Hfs<'_>, id: u32, kind: u8, data: &ForkData) -> (Stream, Option<String>) {
    fork::stream(&hfs.header, &hfs.overflow, (id, kind), data)
}

/// The file system's own files, which no folder holds, as The Sleuth Kit names them.
pub(super) fn own(hfs: &Hfs<'_>) -> Vec<Entry> {
    let header = &hfs.header;
    let files = [
        ("$ExtentsFile", 3, &header.extents),
        ("$CatalogFile", 4, &header.catalog),
        ("$AllocationFile", 6, &header.allocation),
        ("$StartupFile", 7, &header.startup),
        ("$AttributesFile", 8, &header.attributes_file),
    ];
    let entry = |name: &str, id: u32, stream: Stream| {
        let mut entry = Entry::new(format!("/{name}"), EntryKind::File, id.to_string(), header.at);
        entry.note = Some("the file system's own".to_owned());
        entry.stream = stream;
        entry
    };
    let mut all: Vec<Entry> = files
        .into_iter()
        .filter(|(_, _, data)| data.blocks > 0)
        .map(|(name, id, data)| {
            let (stream, wrong) = fork_of(hfs, id, fork::DATA, data);
            let mut entry = entry(name, id, stream);
            entry.faults.extend(wrong.map(|what| hfs.fault(header.at, what)));
            entry
        })
        .collect();
    let runs = fork::runs(header, &hfs.overflow.bad_blocks());
    let size = runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.len()));
    if size > 0 {
        all.push(entry("$BadBlockFile", fork::BAD_BLOCKS, Stream::plain(runs, size)));
    }
    all
}
