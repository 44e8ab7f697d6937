//! One tree of a session: all records of its directories, under the names that it gives them.

use super::NAME;
use super::descriptor::{Names, SECTOR, Volume};
use super::record::Record;
use super::susp::{Extra, skip_of};
use crate::bytes::{Fields, all_zero, index, offset};
use crate::content::{Run, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::trees::Tree;
use crate::fs::{Anomaly, Entry, EntryKind, posix};
use crate::fuel::Fuel;
use crate::image::View;
use std::collections::HashSet;

/// Entries that one tree may have.
const MAX_ENTRIES: usize = 1 << 21;
/// Bytes of the longest path.
const MAX_PATH: usize = 1 << 15;
/// Anomalies of one tree that are told one by one.
const MAX_ANOMALIES: usize = 100;

/// A directory that is to be read.
struct Waiting {
    path: String,
    extent: Extent,
}

struct Walk<'img, 'v> {
    view: View<'img>,
    volume: &'v Volume,
    /// Bytes before the fields behind a name; none where they are not read.
    skip: Option<usize>,
    tree: Tree,
    /// Directories whose records were read, by their first byte.
    seen: HashSet<u64>,
    stack: Vec<Waiting>,
    /// Directories that were moved, whose place in the tree is elsewhere.
    moved: Vec<Waiting>,
    /// The file that goes on in the next record.
    open: Option<Entry>,
    fuel: Fuel,
    /// It has as many entries as are read.
    is_full: bool,
}

/// Walks the tree of `volume`, with Rock Ridge where `extended` wants it and it is there.
pub(super) fn read(view: View<'_>, volume: &Volume, extended: bool) -> Tree {
    let Some(root) = Record::parse(&volume.root) else { return Tree::default() };
    let extent = root.extent(volume.block);
    let own = view.read_up_to(extent.start, 255);
    let fields = own.byte(0).and_then(|len| own.span(0, usize::from(len))).and_then(Record::parse);
    let skip = fields.filter(|_| extended).and_then(|own| skip_of(own.system));
    let title = if skip.is_some() { "Rock Ridge" } else { volume.names.title() };
    let mut walk = Walk {
        view,
        volume,
        skip,
        tree: Tree { title, ..Tree::default() },
        seen: HashSet::new(),
        stack: vec![Waiting { path: String::new(), extent }],
        moved: Vec::new(),
        open: None,
        fuel: Fuel::new(view.size().saturating_mul(2).saturating_add(1 << 20)),
        is_full: false,
    };
    walk.run();
    walk.strays();
    walk.tree
}

impl Walk<'_, '_> {
    fn fault(&self, at: u64, what: impl Into<String>) -> Fault {
        Fault::new(self.view.absolute(at), NAME, what)
    }

    fn anomaly(&mut self, at: u64, what: String, extents: Vec<Extent>) {
        if self.tree.anomalies.len() == MAX_ANOMALIES {
            let sign = self.fault(at, "more of its kind, from here on, are not told");
            self.tree.anomalies.push(Anomaly { sign, extents: Vec::new() });
        } else if self.tree.anomalies.len() < MAX_ANOMALIES {
            let sign = self.fault(at, what);
            self.tree.anomalies.push(Anomaly { sign, extents });
        }
    }

    fn run(&mut self) {
        loop {
            while let Some(next) = self.stack.pop() {
                self.directory(&next);
            }
            // A directory that was moved and that no place in the tree leads to.
            let Some(next) = self.moved.pop() else { break };
            if !self.seen.contains(&next.extent.start) {
                let what = format!("{}: a moved directory that no place in the tree leads to", next.path);
                self.anomaly(next.extent.start, what, Vec::new());
                self.stack.push(next);
            }
        }
    }

    /// Reads the records of one directory, the directories in it next.
    fn directory(&mut self, waiting: &Waiting) {
        let extent = waiting.extent;
        if !self.seen.insert(extent.start) {
            let what = format!("{}/: the directory was listed elsewhere", waiting.path);
            self.tree.faults.push(self.fault(extent.start, what));
            return;
        }
        let whole = extent.intersect(Extent::new(0, self.view.size()));
        if whole.len < extent.len || self.fuel.burn(whole.len).is_err() || waiting.path.len() > MAX_PATH {
            let what = format!("{}/: the directory ends behind the volume, or is read no further", waiting.path);
            self.tree.faults.push(self.fault(extent.start, what));
            if self.fuel.left() == 0 || waiting.path.len() > MAX_PATH {
                return;
            }
        }
        self.tree.used.push(Extent::new(whole.start, whole.len.next_multiple_of(SECTOR)));
        let below = self.stack.len();
        let mut at = whole.start;
        while at < whole.end() {
            let end = at.saturating_add(SECTOR).min(whole.end());
            let sector = self.view.read_up_to(at, end.saturating_sub(at));
            self.sector(&sector, at, &waiting.path);
            at = end;
        }
        self.close();
        if let Some(new) = self.stack.get_mut(below..) {
            new.reverse();
        }
    }

    fn sector(&mut self, sector: &[u8], start: u64, path: &str) {
        let mut at = 0usize;
        while let Some(len) = sector.byte(at).map(usize::from).filter(|len| *len > 0) {
            let here = start.saturating_add(offset(at));
            match sector.span(at, len).filter(|raw| raw.len() >= 34).map(|raw| (raw, Record::parse(raw))) {
                Some((_, Some(record))) if record.is_self_or_parent() => self.check(&record, here, path),
                Some((_, Some(record))) => self.record(&record, here, path),
                _ => {
                    let what = format!("{path}/: a record is damaged; the rest of its sector is not read");
                    self.tree.faults.push(self.fault(here, what));
                    return;
                }
            }
            at = at.saturating_add(len);
        }
        let rest = sector.get(at..).unwrap_or_default();
        if !all_zero(rest) {
            let here = start.saturating_add(offset(at));
            let what = format!("{path}/: bytes behind the last record of a sector, where zeros belong");
            self.anomaly(here, what, vec![Extent::new(here, offset(rest.len()))]);
        }
    }

    fn check(&mut self, record: &Record<'_>, at: u64, path: &str) {
        if let Some(field) = record.differing {
            let what = format!("{path}/: {field} differs between its little-endian and its big-endian copy");
            self.anomaly(at, what, Vec::new());
        }
        if let Some(skip) = self.skip {
            let system = record.system.get(skip..).unwrap_or_default();
            let extra = Extra::read(self.view, self.volume.block, system, &mut self.fuel);
            self.tree.used.extend(extra.areas);
        }
    }

    fn record(&mut self, record: &Record<'_>, at: u64, path: &str) {
        if self.tree.entries.len() >= MAX_ENTRIES {
            if self.fuel.burn(u64::MAX).is_err() && !std::mem::replace(&mut self.is_full, true) {
                let what = format!("{path}/: more than {MAX_ENTRIES} entries: the others are not read");
                self.tree.faults.push(self.fault(at, what));
            }
            return;
        }
        let extra = match self.skip {
            Some(skip) => {
                let system = record.system.get(skip..).unwrap_or_default();
                Extra::read(self.view, self.volume.block, system, &mut self.fuel)
            }
            None => Extra::default(),
        };
        self.tree.used.extend(extra.areas.iter().copied());
        let name = extra.name.clone().unwrap_or_else(|| record.title(self.volume.names));
        let path = [path, "/", &name].concat();
        if let Some(field) = record.differing {
            let what = format!("{path}: {field} differs between its little-endian and its big-endian copy");
            self.anomaly(at, what, Vec::new());
        }
        if self.goes_on(record, &path) {
            return;
        }
        let is_directory = record.has(Record::DIRECTORY) || extra.child.is_some();
        let mut entry = self.begin(record, &extra, path, at, is_directory);
        if is_directory {
            self.enter(record, &extra, &mut entry);
            self.tree.entries.push(entry);
            return;
        }
        let extent = record.extent(self.volume.block);
        entry.stream = Stream::plain(if extent.is_empty() { vec![] } else { vec![Run::Data(extent)] }, extent.len);
        if record.interleaved {
            entry.stream.runs.clear();
            entry.faults.push(self.fault(at, "its content is interleaved with others, which is not read"));
        }
        self.open = Some(entry);
        if !record.has(Record::CONTINUED) {
            self.close();
        }
    }

    /// Appends a record to the file that it continues.
    fn goes_on(&mut self, record: &Record<'_>, path: &str) -> bool {
        let Some(open) = self.open.as_mut() else { return false };
        if open.path.strip_suffix(":associated").unwrap_or(&open.path) != path || record.has(Record::DIRECTORY) {
            let at = open.at;
            let fault = Fault::new(self.view.absolute(at), NAME, "the record that continues it is missing");
            open.faults.push(fault);
            self.close();
            return false;
        }
        let extent = record.extent(self.volume.block);
        open.stream.size = open.stream.size.saturating_add(extent.len);
        open.stream.valid = open.stream.size;
        open.stream.runs.extend((!extent.is_empty()).then_some(Run::Data(extent)));
        if !record.has(Record::CONTINUED) {
            self.close();
        }
        true
    }

    /// The open file is complete.
    fn close(&mut self) {
        let Some(mut entry) = self.open.take() else { return };
        let end = entry.stream.runs.iter().map(|run| if let Run::Data(e) = run { e.end() } else { 0 }).max();
        if end.is_some_and(|end| end > self.view.size()) {
            entry.faults.push(self.fault(entry.at, "its content ends behind the volume"));
        }
        self.tree.entries.push(entry);
    }

    fn begin(&mut self, record: &Record<'_>, extra: &Extra, path: String, at: u64, is_directory: bool) -> Entry {
        let kind = match extra.access.and_then(|access| posix::kind_of_mode(access.mode)) {
            _ if is_directory => EntryKind::Directory,
            _ if record.has(Record::ASSOCIATED) => EntryKind::Stream,
            Some(EntryKind::Directory) | None => EntryKind::File,
            Some(kind) => kind,
        };
        let path = if kind == EntryKind::Stream { [&path, ":associated"].concat() } else { path };
        let mut entry = Entry::new(path, kind, at.to_string(), at);
        entry.times = extra.times;
        entry.times.mtime = entry.times.mtime.or(record.time);
        entry.access = extra.access;
        entry.target.clone_from(&extra.target);
        if record.has(Record::HIDDEN) {
            entry.attributes.push(("hidden".to_owned(), "yes".to_owned()));
        }
        if let Some((high, low)) = extra.device.filter(|_| kind == EntryKind::Special) {
            entry.remark(&format!("device {high}:{low}"));
        }
        if let Some(size) = extra.packed {
            entry.remark(&format!("packed by zisofs, {size} bytes when unpacked: its content is as it is stored"));
        }
        if extra.sparse {
            entry.remark("stored without its holes: its content is as it is stored");
        }
        entry.faults.extend(extra.wrong.iter().map(|what| self.fault(at, what.clone())));
        entry
    }

    /// The directory is read next, or, where it was moved, from its place in the tree.
    fn enter(&mut self, record: &Record<'_>, extra: &Extra, entry: &mut Entry) {
        let path = entry.path.clone();
        let Some(child) = extra.child else {
            let waiting = Waiting { path, extent: record.extent(self.volume.block) };
            if extra.is_moved { &mut self.moved } else { &mut self.stack }.push(waiting);
            return;
        };
        let start = u64::from(child).saturating_mul(self.volume.block);
        let own = self.view.read_up_to(start, 34);
        match Record::parse(&own).filter(|own| own.name == [0]) {
            Some(own) => self.stack.push(Waiting { path, extent: own.extent(self.volume.block) }),
            None => entry.faults.push(self.fault(start, "it was moved to where no directory is")),
        }
    }

    /// Directories that only the path table names: someone took their records away.
    fn strays(&mut self) {
        let table = self.volume.table.intersect(Extent::new(0, self.view.size()));
        if table.len < self.volume.table.len || self.fuel.burn(table.len).is_err() {
            self.tree.faults.push(self.fault(table.start, "the path table ends behind the volume"));
        }
        self.tree.used.push(table);
        let bytes = self.view.read_up_to(table.start, table.len);
        let mut at = 0usize;
        while let Some(len) = bytes.byte(at).filter(|len| *len > 0) {
            let fields = bytes.byte(at.saturating_add(1)).zip(bytes.le32(at.saturating_add(2)));
            let Some((attributes, first)) = fields else { break };
            let block = u64::from(first).saturating_add(u64::from(attributes));
            self.stray(block.saturating_mul(self.volume.block), bytes.span(at.saturating_add(8), usize::from(len)));
            at = at.saturating_add(8).saturating_add(index(u64::from(len).next_multiple_of(2)));
        }
        self.run();
    }

    fn stray(&mut self, start: u64, name: Option<&[u8]>) {
        if self.seen.contains(&start) {
            return;
        }
        let name = String::from_utf8_lossy(name.unwrap_or_default()).replace(['/', '\0'], "");
        let what = format!("the path table names a directory {name} that no directory of the tree names");
        self.anomaly(start, what, Vec::new());
        let own = self.view.read_up_to(start, 34);
        if let Some(own) = Record::parse(&own).filter(|own| own.name == [0]) {
            let path = format!("/$OrphanFiles/{name}");
            self.stack.push(Waiting { path, extent: own.extent(self.volume.block) });
        }
    }
}

/// Whether a tree of these names may carry Rock Ridge.
pub(super) const fn may_extend(names: Names) -> bool {
    matches!(names, Names::Primary)
}
