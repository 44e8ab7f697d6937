//! The entries of a file: itself, its resource fork, and its attributes that are kept as streams.

use super::object::Blocks;
use super::record::{Attribute, Inode, Name, Stretch, Value};
use super::volume::{File, ORPHANS, Tree};
use crate::bytes::text_or_hex;
use crate::content::{Content, Run, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::decmpfs;
use crate::fs::{Entry, EntryKind};

/// Bytes of a value that are told.
const MAX_VALUE: usize = 4096;
/// The longest target of a symbolic link.
const MAX_TARGET: u64 = 4096;
const FORK: &str = "com.apple.ResourceFork";
const LINK: &str = "com.apple.fs.symlink";

/// Makes the entries of a tree.
#[derive(Clone, Copy)]
pub(super) struct Maker<'a, 'img> {
    pub(super) tree: &'a Tree<'img>,
    /// What stands in front of every path.
    pub(super) prefix: &'a str,
}

impl Maker<'_, '_> {
    fn blocks(&self) -> &Blocks<'_> {
        &self.tree.blocks
    }

    fn fault(&self, at: u64, what: impl Into<String>) -> Fault {
        Fault::new(self.blocks().view.absolute(at), super::NAME, what)
    }

    /// The path of a name in a directory.
    pub(super) fn path(&self, directory: u64, name: &str) -> String {
        let path = self.tree.path(directory).map_or(ORPHANS, |path| path);
        [self.prefix, path, "/", name].concat()
    }

    /// What a name leads to.
    pub(super) fn named(&self, name: &Name) -> Vec<Entry> {
        let path = self.path(name.parent, &name.name);
        let file = self.tree.file(name.id);
        let Some((inode, at)) = &file.inode else {
            let kind = if name.kind == 4 { EntryKind::Directory } else { EntryKind::File };
            let mut entry = Entry::new(path, kind, name.id.to_string(), self.blocks().place(self.tree.head.at));
            entry.faults.push(self.fault(entry.at, format!("inode {}, which it names, is not there", name.id)));
            return vec![entry];
        };
        let mut all = self.entries(path, inode, *at, &file);
        if let Some(first) = all.first_mut() {
            first.attributes.extend(name.added.map(|time| ("date_added".to_owned(), time.rfc3339())));
            if self.tree.path(name.parent).is_none() {
                first.faults.push(self.fault(*at, format!("directory {}, which it is in, is not there", name.parent)));
            }
        }
        all
    }

    /// An inode that no name leads to.
    pub(super) fn orphan(&self, id: u64) -> Vec<Entry> {
        let file = self.tree.file(id);
        let Some((inode, at)) = &file.inode else { return Vec::new() };
        let name = inode.name.clone().unwrap_or_else(|| format!("OrphanFile-{id}"));
        let mut all = self.entries([self.prefix, ORPHANS, "/", &name].concat(), inode, *at, &file);
        all.iter_mut().for_each(|entry| entry.remark("no directory names it"));
        all
    }

    /// The entries of a file, under a path.
    pub(super) fn entries(&self, path: String, inode: &Inode, at: u64, file: &File) -> Vec<Entry> {
        let mut entry = begin(path, inode, at);
        if inode.kind().is_none() {
            entry.faults.push(self.fault(at, format!("its mode {:o} is none", inode.access.mode)));
        }
        if file.is_cut {
            entry.faults.push(self.fault(at, "it has more records than are read"));
        }
        let mut streams = Vec::new();
        let fork = file.attributes.iter().find(|(attribute, _)| attribute.name == FORK);
        let fork = fork.map(|(attribute, at)| self.value(attribute, *at));
        let mut in_fork = false;
        if matches!(entry.kind, EntryKind::File) {
            self.set_content(&mut entry, inode, file);
        }
        for (attribute, at) in &file.attributes {
            let (stream, wrong) = self.value(attribute, *at);
            entry.faults.extend(wrong.map(|what| self.fault(*at, format!("{}: {what}", attribute.name))));
            if attribute.name == LINK {
                self.set_target(&mut entry, stream);
                continue;
            }
            if attribute.name == decmpfs::ATTRIBUTE && inode.is_compressed() {
                in_fork |= self.set_unpacked(&mut entry, &stream, fork.as_ref().map(|(stream, _)| stream), *at);
            }
            if attribute.name == FORK {
                continue;
            }
            let most = if attribute.name == decmpfs::ATTRIBUTE { 16 } else { MAX_VALUE };
            let value = Content::new(self.blocks().view, &stream).prefix(most as u64).into_owned();
            entry.attributes.push((attribute.name.clone(), text_or_hex(&value, most)));
            if matches!(attribute.value, Value::Stream(..)) {
                streams.push(stream_of(&entry, &attribute.name, stream));
            }
        }
        if let Some((stream, _)) = fork.filter(|(stream, _)| stream.size > 0 && !in_fork) {
            streams.insert(0, stream_of(&entry, "rsrc", stream));
        }
        streams.insert(0, entry);
        streams
    }

    fn set_content(&self, entry: &mut Entry, inode: &Inode, file: &File) {
        let (stream, wrong) = content(self.blocks(), &file.stretches, inode.size, inode.is_sparse());
        entry.stream = stream;
        entry.faults.extend(wrong.map(|what| self.fault(entry.at, what)));
    }

    /// Puts compressed content into an entry; true where the resource fork holds it.
    fn set_unpacked(&self, entry: &mut Entry, attribute: &Stream, fork: Option<&Stream>, at: u64) -> bool {
        let Some(unpacked) = decmpfs::unpack(self.blocks().view, attribute, fork) else {
            entry.faults.push(self.fault(at, "what its compression should tell is damaged"));
            return false;
        };
        entry.stream = unpacked.stream;
        entry.faults.extend(unpacked.wrong.map(|what| self.fault(at, what)));
        unpacked.in_fork
    }

    /// The target of a symbolic link, behind which a zero stands.
    fn set_target(&self, entry: &mut Entry, mut stream: Stream) {
        let target = Content::new(self.blocks().view, &stream).prefix(MAX_TARGET).into_owned();
        let target = target.strip_suffix(&[0]).unwrap_or(&target);
        stream.size = stream.size.min(target.len() as u64);
        stream.valid = stream.size;
        entry.target = Some(String::from_utf8_lossy(target).into_owned());
        entry.stream = stream;
    }

    /// The value of an attribute.
    fn value(&self, attribute: &Attribute, at: u64) -> (Stream, Option<String>) {
        match attribute.value {
            Value::Inside(skip, len) => {
                let run = Run::Data(Extent::new(at.saturating_add(skip as u64), len));
                (Stream::plain(vec![run], len), None)
            }
            Value::Stream(id, size) => {
                let (stretches, _) = self.tree.stretches(id);
                content(self.blocks(), &stretches, size, false)
            }
        }
    }
}

/// An entry with what its inode tells.
pub(super) fn begin(path: String, inode: &Inode, at: u64) -> Entry {
    let kind = inode.kind().unwrap_or(EntryKind::File);
    let mut entry = Entry::new(path, kind, inode.id.to_string(), at);
    entry.times = inode.times();
    entry.access = Some(inode.access);
    entry.linked = kind != EntryKind::Directory && inode.links > 1;
    entry
}

/// A stream of a file.
fn stream_of(file: &Entry, name: &str, stream: Stream) -> Entry {
    let (path, inode) = (format!("{}:{name}", file.path), format!("{}:{name}", file.inode));
    let mut entry = Entry::new(path, EntryKind::Stream, inode, file.at);
    (entry.times, entry.access, entry.linked) = (file.times, file.access, file.linked);
    entry.stream = stream;
    entry
}

/// The content of stretches that are sorted, and what is wrong with them.
pub(super) fn content(
    blocks: &Blocks<'_>,
    stretches: &[Stretch],
    size: u64,
    is_sparse: bool,
) -> (Stream, Option<String>) {
    let (mut runs, mut at, mut wrong) = (Vec::<Run>::new(), 0u64, None);
    for stretch in stretches {
        if stretch.at < at || stretch.at.checked_add(stretch.len).is_none() {
            wrong = Some(format!("a stretch at its byte {} overlaps the one before", stretch.at));
            continue;
        }
        if stretch.at > at {
            if !is_sparse {
                wrong = Some(format!("where its bytes {at} to {} are is not told", stretch.at));
            }
            runs.push(Run::Hole(stretch.at.saturating_sub(at)));
        }
        let extent = Extent::new(blocks.place(stretch.block), stretch.len);
        match runs.last_mut() {
            _ if stretch.block == 0 => runs.push(Run::Hole(stretch.len)),
            Some(Run::Data(last)) if last.end() == extent.start => last.len = last.len.saturating_add(extent.len),
            _ => runs.push(Run::Data(extent)),
        }
        at = stretch.at.saturating_add(stretch.len);
    }
    if at < size && is_sparse {
        runs.push(Run::Hole(size.saturating_sub(at)));
    } else if at < size {
        wrong = Some(format!("its stretches end at byte {at} of {size}"));
    }
    (Stream::plain(runs, size), wrong)
}
