//! The entries of live names: what the inode of each tells.

use super::dir::Dirent;
use super::inode::Inode;
use super::map::{Mapper, Mapping};
use super::{Ext, checksum, xattr};
use crate::content::{Content, Stream};
use crate::fs::posix::kind_of_type as kind_of;
use crate::fs::{Entry, EntryKind};
use crate::fuel::Fuel;
use crate::text::Decimal;
use std::borrow::Cow;
use std::sync::Arc;

/// The longest target of a symbolic link.
const MAX_TARGET: u64 = 4096;

/// A name, and the path of its directory.
pub(super) struct Named {
    pub(super) directory: Arc<str>,
    pub(super) dirent: Dirent,
    /// No directory names it: the name is ours.
    pub(super) is_orphan: bool,
}

/// An inode with its bytes.
pub(super) struct Found<'a> {
    number: u32,
    /// Where its table has it.
    at: u64,
    raw: Cow<'a, [u8]>,
    pub(super) inode: Inode,
}

impl<'a> Found<'a> {
    pub(super) fn of(ext: &'a Ext<'_>, number: u32) -> Option<Self> {
        let (at, raw) = ext.raw_inode(number)?;
        let inode = Inode::parse(&ext.sb, &raw, ext.disk.place(at))?;
        Some(Self { number, at, raw, inode })
    }

    pub(super) fn is_possible(&self) -> bool {
        self.inode.kind().is_some()
    }
}

/// The entry of a name that is no directory.
pub(super) fn make(ext: &Ext<'_>, named: &Named, fuel: &mut Fuel) -> Entry {
    let found = Found::of(ext, named.dirent.inode);
    let mut entry = begin(ext, named, found.as_ref());
    if let Some(found) = found.as_ref().filter(|found| found.is_possible()) {
        fill(ext, &mut entry, found, fuel);
    }
    entry
}

/// The entry of a name; what its inode tells is filled in later.
pub(super) fn begin(ext: &Ext<'_>, named: &Named, found: Option<&Found<'_>>) -> Entry {
    let dirent = &named.dirent;
    let path = [&named.directory, "/", &dirent.name].concat();
    let kind = found.and_then(|found| found.inode.kind()).unwrap_or_else(|| kind_of(dirent.file_type));
    let at = found.map_or(dirent.at, |found| found.inode.at);
    let mut entry = Entry::new(path, kind, Decimal::new(dirent.inode.into()).to_owned(), at);
    entry.note = named.is_orphan.then(|| "no directory names it".to_owned());
    if ext.groups.inode_used(&ext.sb, dirent.inode) == Some(false) {
        entry.faults.push(ext.fault(at, format!("inode {} is named but marked as free", dirent.inode)));
    }
    if !found.is_some_and(Found::is_possible) {
        let what = format!("inode {} is empty or cannot be read", dirent.inode);
        entry.faults.push(ext.fault(dirent.at, what));
    }
    entry
}

/// What the inode tells: times, content, the target of a link. Gives the list of blocks, for a directory to be entered.
pub(super) fn fill(ext: &Ext<'_>, entry: &mut Entry, found: &Found<'_>, fuel: &mut Fuel) -> Mapping {
    let Found { number, at, raw, inode } = found;
    if ext.disk.changes(*at, ext.sb.inode_size) {
        entry.remark("its inode is as the journal would write it back; the table still holds an older one");
    }
    let seed = seed(ext, *number, inode);
    if seed.is_some_and(|seed| checksum::inode_holds(seed, raw) == Some(false)) {
        entry.faults.push(ext.fault(inode.at, format!("the checksum of inode {number} does not fit")));
    }
    // In a live inode the field of deletion links those whose deletion is not finished.
    entry.times = crate::fs::Times { dtime: None, ..inode.times };
    xattr::describe(ext, inode, raw, entry);
    entry.linked = inode.links > 1 && entry.kind != EntryKind::Directory;
    if entry.kind == EntryKind::Special {
        return Mapping::default();
    }
    let mut mapping = map(ext, inode, seed, fuel);
    entry.faults.extend(mapping.wrong.take().map(|wrong| ext.fault(inode.at, wrong)));
    if entry.kind != EntryKind::Directory {
        entry.stream = Stream::plain(std::mem::take(&mut mapping.runs), inode.size);
        set_target(ext, entry);
    }
    mapping
}

pub(super) fn map(ext: &Ext<'_>, inode: &Inode, seed: Option<u32>, fuel: &mut Fuel) -> Mapping {
    let mapper = Mapper { disk: &ext.disk, sb: &ext.sb, free: &ext.groups.free, older: None };
    mapper.map(inode, false, seed, fuel)
}

/// What the checksums of an inode's structures begin with, where the volume has any.
pub(super) fn seed(ext: &Ext<'_>, number: u32, inode: &Inode) -> Option<u32> {
    ext.sb.has_checksums().then(|| checksum::inode_seed(ext.sb.checksum_seed, number, inode.generation))
}

/// Reads the target of a symbolic link.
pub(super) fn set_target(ext: &Ext<'_>, entry: &mut Entry) {
    if entry.kind == EntryKind::Symlink {
        let target = Content::new(ext.view, &entry.stream).prefix(entry.stream.size.min(MAX_TARGET)).into_owned();
        entry.target = Some(String::from_utf8_lossy(&target).into_owned());
    }
}
