//! The entries of names: what the file entry of each tells, and its named streams (UDF 2.60, 3.3.5).

use super::alloc::{self, Mapping};
use super::dir::{self, Fid};
use super::icb::FileEntry;
use super::layout::Layout;
use super::tag::{Address, Stretch};
use super::{NAME, attribute, text};
use crate::content::{Content, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::{Entry, EntryKind};
use crate::fuel::Fuel;
use std::collections::HashSet;

/// The longest target of a symbolic link, in bytes of its components.
const MAX_TARGET: u64 = 1 << 16;
/// Bytes of attributes that are read.
const MAX_ATTRIBUTES: u64 = 1 << 20;
/// Streams of one file.
const MAX_STREAMS: usize = 4096;

/// Reads what names lead to; keeps what it took.
pub(super) struct Reader<'a, 'img> {
    pub(super) layout: &'a Layout<'img>,
    pub(super) fuel: Fuel,
    /// What entries, directories and lists take, where that is wanted.
    pub(super) used: Option<Vec<Extent>>,
    /// Bytes at which entries stand that belong to others: streams, and all but the first of a chain.
    pub(super) met: HashSet<u64>,
}

/// The address of an entry as it is told.
pub(super) fn number(at: Address) -> String {
    format!("{}:{}", at.part, at.block)
}

impl<'img> Reader<'_, 'img> {
    pub(super) fn fault(&self, at: u64, what: impl Into<String>) -> Fault {
        Fault::new(self.layout.view.absolute(at), NAME, what)
    }

    fn take(&mut self, extents: impl IntoIterator<Item = Extent>) {
        if let Some(used) = &mut self.used {
            used.extend(extents);
        }
    }

    /// The entry of a name; what its file entry tells is filled in later.
    pub(super) fn begin(&self, path: String, fid: &Fid, file: Option<&FileEntry<'_>>) -> Entry {
        let named = if fid.is_directory() { EntryKind::Directory } else { EntryKind::File };
        let kind = file.and_then(FileEntry::kind).unwrap_or(named);
        let mut entry = Entry::new(path, kind, number(fid.file.at), file.map_or(fid.at, |file| file.at));
        if fid.is_hidden() {
            entry.attributes.push(("hidden".to_owned(), "yes".to_owned()));
        }
        match file {
            None => entry.faults.push(self.fault(fid.at, "its file entry is damaged or missing")),
            Some(file) if file.kind().is_none() => {
                entry.faults.push(self.fault(file.at, format!("its type is not known ({})", file.kind)));
            }
            Some(_) if (kind == EntryKind::Directory) != fid.is_directory() => {
                entry
                    .faults
                    .push(self.fault(fid.at, "its name and its file entry disagree on whether it is a directory"));
            }
            Some(_) => {}
        }
        entry
    }

    /// What the file entry tells: times, owner, content, the target of a link. Gives the list of a directory.
    pub(super) fn fill(&mut self, entry: &mut Entry, file: &FileEntry<'img>) -> Mapping {
        entry.faults.extend(file.wrong.iter().map(|what| self.fault(file.at, what.clone())));
        entry.times = file.times;
        entry.access = Some(file.access());
        entry.linked = file.links > 1 && entry.kind != EntryKind::Directory;
        if let Some(first) = file.replaced.first() {
            let count = file.replaced.len();
            self.met.extend(file.chain.iter().map(|extent| extent.start).chain([file.at]));
            entry.remark(&format!(
                "{count} earlier states of its entry stand before this one, the first at byte {first}"
            ));
        }
        self.take(file.chain.iter().copied().chain([Extent::new(file.at, self.layout.block)]));
        self.attributes(entry, file);
        if entry.kind == EntryKind::Special {
            return Mapping::default();
        }
        let mut mapping = alloc::map(self.layout, file, &mut self.fuel);
        entry.faults.extend(mapping.wrong.take().map(|what| self.fault(file.at, what)));
        self.take(std::mem::take(&mut mapping.used));
        if entry.kind != EntryKind::Directory {
            entry.stream = Stream::plain(std::mem::take(&mut mapping.runs), file.size);
        }
        if entry.kind == EntryKind::Symlink {
            let content = Content::new(self.layout.view, &entry.stream);
            entry.target = text::target(&content.prefix(file.size.min(MAX_TARGET)));
            if entry.target.is_none() {
                entry.faults.push(self.fault(file.at, "the path of the link is damaged"));
            }
        }
        mapping
    }

    /// Attributes within the entry, and those in a file of their own.
    fn attributes(&mut self, entry: &mut Entry, file: &FileEntry<'img>) {
        let done = attribute::describe(file.attributes(), entry);
        entry.faults.extend(done.err().map(|what| self.fault(file.at, what)));
        let Some(place) = file.attributes_at else { return };
        let Some(other) = self.layout.entry(place.at).filter(|other| other.kind == 8) else {
            entry.faults.push(self.fault(file.at, "the file of its extended attributes is damaged"));
            return;
        };
        let mapping = alloc::map(self.layout, &other, &mut self.fuel);
        self.take([Extent::new(other.at, self.layout.block)]);
        self.take(mapping.extents().chain(mapping.used.iter().copied()).collect::<Vec<_>>());
        let stream = Stream::plain(mapping.runs, other.size);
        let bytes = Content::new(self.layout.view, &stream).prefix(other.size.min(MAX_ATTRIBUTES)).into_owned();
        let done = attribute::describe(&bytes, entry);
        entry.faults.extend(done.err().map(|what| self.fault(other.at, what)));
    }

    /// The names of a directory with this list.
    pub(super) fn names(&mut self, size: u64, mapping: Mapping) -> dir::Listing {
        // A directory costs what is read of it: those of a sound volume share no bytes.
        if self.fuel.burn(size.min(dir::MAX_DIRECTORY)).is_err() {
            let at = mapping.extents().next().map_or(0, |extent| extent.start);
            let what = "directories hold more than there is room for: not read".to_owned();
            return dir::Listing { wrong: vec![(at, what)], ..dir::Listing::default() };
        }
        self.take(mapping.extents().collect::<Vec<_>>());
        dir::read(self.layout, &Stream::plain(mapping.runs, size), &mut self.fuel)
    }

    /// The streams of the file at `path` whose directory is at `place`.
    pub(super) fn streams(&mut self, path: &str, place: Stretch, faults: &mut Vec<Fault>) -> Vec<Entry> {
        let Some(directory) = self.layout.entry(place.at).filter(|file| matches!(file.kind, 4 | 13)) else {
            let at = self.layout.at(place.at).unwrap_or(0);
            faults.push(self.fault(at, format!("{path}: the directory of its named streams is damaged")));
            return Vec::new();
        };
        self.take([Extent::new(directory.at, self.layout.block)]);
        let mapping = alloc::map(self.layout, &directory, &mut self.fuel);
        faults.extend(mapping.wrong.as_ref().map(|what| self.fault(directory.at, format!("{path}: {what}"))));
        let listing = self.names(directory.size, mapping);
        faults.extend(listing.wrong.iter().map(|(at, what)| self.fault(*at, format!("{path}: {what}"))));
        let live: Vec<Fid> = listing.fids.into_iter().filter(|fid| !fid.is_deleted()).collect();
        if live.len() > MAX_STREAMS {
            faults.push(
                self.fault(directory.at, format!("{path}: more than {MAX_STREAMS} streams: the others are not read")),
            );
        }
        let mut out = Vec::new();
        for fid in live.iter().take(MAX_STREAMS) {
            let file = self.layout.entry(fid.file.at);
            let mut entry = self.begin([path, ":", &fid.name].concat(), fid, file.as_ref());
            entry.kind = EntryKind::Stream;
            if let Some(file) = &file {
                self.met.insert(file.at);
                self.fill(&mut entry, file);
            }
            out.push(entry);
        }
        out
    }
}
