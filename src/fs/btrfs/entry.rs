//! The entries of names: what the items of each inode tell.

use super::Btrfs;
use super::item::{self, Dirent, Inode, Packing, Piece};
use super::node::Key;
use super::subvolume::Subvolume;
use super::{file, sums};
use crate::content::Content;
use crate::fs::{Entry, EntryKind, posix};
use std::collections::HashSet;
use std::sync::Arc;

/// The longest target of a symbolic link.
const MAX_TARGET: u64 = 4096;
/// Attributes of one inode.
const MAX_ATTRIBUTES: usize = 256;

/// A name, the path of its directory and the tree that both are in.
pub(super) struct Named {
    pub(super) directory: Arc<str>,
    pub(super) name: String,
    pub(super) file_type: u8,
    /// Where the name stands.
    pub(super) at: u64,
    pub(super) number: u64,
    pub(super) within: Arc<Subvolume>,
    /// No directory names it: the name is ours.
    pub(super) is_orphan: bool,
}

/// What the items of an inode hold.
#[derive(Default)]
pub(super) struct Found {
    pub(super) inode: Option<Inode>,
    /// Where the inode's item stands.
    pub(super) at: u64,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) pieces: Vec<Piece>,
    pub(super) names: Vec<Dirent>,
    pub(super) wrong: Vec<String>,
    /// Byte of the content from which on extents are damaged.
    pub(super) lost_from: Option<u64>,
    /// Names under the hash of each: they are the same as those in order.
    pub(super) hashed: Vec<Dirent>,
}

impl Found {
    /// All items of an inode.
    pub(super) fn read(btrfs: &Btrfs<'_>, within: &Subvolume, number: u64) -> Self {
        let mut found = Self::default();
        if !within.tree.of(&btrfs.disk, number, &mut |key, at, item| found.take(key, at, item)) {
            found.wrong.push("the checksum of a block of the tree that it stands in does not fit".to_owned());
        }
        found.complete();
        found
    }

    /// Takes an item that stands at `at`.
    pub(super) fn take(&mut self, key: Key, at: u64, item: &[u8]) {
        match key.kind {
            item::INODE => (self.inode, self.at) = (Inode::parse(item), at),
            item::XATTR => {
                let room = MAX_ATTRIBUTES.saturating_sub(self.attributes.len());
                self.attributes.extend(item::attributes(item).take(room));
            }
            item::DIR_INDEX => self.names.extend(item::dirents(item, at)),
            item::DIR_ITEM => self.hashed.extend(item::dirents(item, at)),
            item::EXTENT_DATA => match Piece::parse(key.offset, item, at) {
                Some(piece) => self.pieces.push(piece),
                None => {
                    self.lost_from = self.lost_from.or(Some(key.offset));
                    let what = format!("its extent at byte {} is damaged, or packed in no known way", key.offset);
                    self.wrong.push(what);
                }
            },
            _ => {}
        }
    }

    /// Names that stand under their hash alone are names, too.
    fn complete(&mut self) {
        if self.hashed.len() == self.names.len() {
            return;
        }
        let known: HashSet<(Key, &str)> = self.names.iter().map(|d| (d.target, d.name.as_str())).collect();
        let more: Vec<Dirent> =
            self.hashed.iter().filter(|d| !known.contains(&(d.target, d.name.as_str()))).cloned().collect();
        if !more.is_empty() {
            self.wrong.push(format!("{} of its names have no place in the order of names", more.len()));
        }
        self.names.extend(more);
    }
}

/// The entry of a live name.
pub(super) fn make(btrfs: &Btrfs<'_>, named: &Named, found: &Found) -> Entry {
    let disk = &btrfs.disk;
    let path = [&named.directory, "/", &named.name].concat();
    let kind = found.inode.as_ref().and_then(Inode::kind);
    let at = if found.inode.is_some() { found.at } else { named.at };
    let number = format!("{}-{}", named.within.family, named.number);
    let mut entry = Entry::new(path, kind.unwrap_or_else(|| posix::kind_of_type(named.file_type)), number, at);
    entry.note = named.is_orphan.then(|| "no directory names it".to_owned());
    entry.faults.extend(found.wrong.iter().map(|what| disk.fault(at, what.clone())));
    match &found.inode {
        Some(inode) if kind.is_some() => {
            fill(btrfs, &mut entry, inode, found);
            entry.sums = sums::of(&btrfs.sums, &found.pieces);
        }
        _ => {
            let what = format!("inode {} of subvolume {} is not there, or damaged", named.number, named.within.id);
            entry.faults.push(disk.fault(named.at, what));
        }
    }
    // Snapshots share what did not change: whoever reads a content reads it once.
    entry.linked |= matches!(entry.kind, EntryKind::File | EntryKind::Symlink) && btrfs.has_snapshots;
    entry
}

/// What the inode tells: times, owner, attributes, content, the target of a link.
pub(super) fn fill(btrfs: &Btrfs<'_>, entry: &mut Entry, inode: &Inode, found: &Found) {
    entry.times = inode.times;
    entry.access = Some(inode.access());
    entry.attributes.clone_from(&found.attributes);
    entry.linked = inode.links > 1 && entry.kind != EntryKind::Directory;
    if inode.impossible_time {
        entry.impossible.push("one of its times has a billion nanoseconds or more".to_owned());
    }
    match entry.kind {
        EntryKind::Directory => return,
        EntryKind::Special => {
            if matches!(inode.mode & 0xf000, 0x2000 | 0x6000) {
                // As the kernel packs it: 12 bits of the driver between 20 of the device.
                let (major, minor) = (inode.device >> 20, inode.device & 0xf_ffff);
                entry.remark(&format!("device {major}:{minor}"));
            }
            return;
        }
        _ => {}
    }
    // Behind a damaged extent nothing is known to be a hole.
    let lost = found.lost_from.unwrap_or(u64::MAX);
    let known = found.pieces.partition_point(|piece| piece.offset < lost);
    let pieces = found.pieces.get(..known).unwrap_or_default();
    let (mut stream, wrong) = file::stream(&btrfs.disk, pieces, inode.size.min(lost));
    (stream.size, stream.valid) = (inode.size, inode.size);
    entry.faults.extend(wrong.map(|what| btrfs.disk.fault(entry.at, what)));
    entry.stream = stream;
    if entry.kind == EntryKind::Symlink {
        let target = Content::new(btrfs.disk.view, &entry.stream).prefix(inode.size.min(MAX_TARGET)).into_owned();
        entry.target = Some(String::from_utf8_lossy(&target).into_owned());
    }
    if found.pieces.iter().any(|piece| piece.packing != Packing::None) {
        entry.remark("its content is packed by the file system");
    }
}
