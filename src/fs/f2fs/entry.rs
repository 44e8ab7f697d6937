//! The entries of names: what the inode of each tells, and where its content lies.

use super::dir::Dirent;
use super::file::{Finder, Pieces};
use super::node::Inode;
use super::{F2fs, xattr};
use crate::content::Content;
use crate::fs::{Entry, EntryKind, posix};
use crate::fuel::Fuel;
use crate::text::Decimal;
use std::sync::Arc;

/// The longest target of a symbolic link.
const MAX_TARGET: u64 = 4096;

/// A name, and the path of its directory.
pub(super) struct Named {
    pub(super) directory: Arc<str>,
    pub(super) dirent: Dirent,
    /// No directory names it: the name is ours, or the one that its inode keeps.
    pub(super) is_orphan: bool,
}

/// The entry of a live name. Gives the blocks of a directory, for it to be entered.
pub(super) fn make(fs: &F2fs<'_>, named: &Named, inode: Option<&Inode>, fuel: &mut Fuel) -> (Entry, Pieces) {
    let dirent = &named.dirent;
    let path = [&named.directory, "/", &dirent.name].concat();
    let known = inode.and_then(Inode::kind);
    let kind = known.unwrap_or_else(|| posix::kind_of_type(dirent.file_type));
    let at = inode.map_or(dirent.at, |inode| inode.at);
    let mut entry = Entry::new(path, kind, Decimal::new(dirent.inode.into()).to_owned(), at);
    entry.note = named.is_orphan.then(|| "no directory names it".to_owned());
    match inode.filter(|_| known.is_some()) {
        Some(inode) => {
            let find = |node: u32, _: u32| fs.disk.node_byte(node);
            let pieces = fill(fs, &mut entry, inode, &find, fuel);
            (entry, pieces)
        }
        None => {
            let what = format!("inode {} is empty or cannot be read", dirent.inode);
            entry.faults.push(fs.disk.fault(dirent.at, what));
            (entry, Pieces::default())
        }
    }
}

/// What the inode tells: times, owner, content, the target of a link. `find`: where its nodes lie.
pub(super) fn fill(fs: &F2fs<'_>, entry: &mut Entry, inode: &Inode, find: &Finder<'_>, fuel: &mut Fuel) -> Pieces {
    let disk = &fs.disk;
    if !inode.sound {
        entry.faults.push(disk.fault(inode.at, format!("the checksum of inode {} does not fit", inode.number)));
    }
    if inode.impossible_time {
        entry.impossible.push("one of its times has a billion nanoseconds or more".to_owned());
    }
    entry.times = inode.times;
    entry.access = Some(inode.access());
    entry.linked = inode.links > 1 && entry.kind != EntryKind::Directory;
    entry.encrypted = inode.encrypted;
    if inode.verity {
        entry.remark("sealed by fs-verity");
    }
    xattr::describe(disk, inode, find, entry);
    // Where others have addresses, those have the number of a device.
    let is_special = entry.kind == EntryKind::Special;
    let pieces = if is_special { Pieces::default() } else { Pieces::read(disk, inode, find, fuel) };
    entry.faults.extend(pieces.wrong.iter().map(|what| disk.fault(inode.at, what.clone())));
    match entry.kind {
        EntryKind::Directory => {}
        EntryKind::Special => device(entry, inode),
        _ => {
            entry.stream = pieces.stream(disk, inode);
            if entry.kind == EntryKind::Symlink && !inode.encrypted {
                let target = Content::new(disk.view, &entry.stream).prefix(inode.size.min(MAX_TARGET)).into_owned();
                entry.target = Some(String::from_utf8_lossy(&target).into_owned());
            }
        }
    }
    pieces
}

/// Says which device it is: in the first address as it was packed before 2.6, else in the second.
fn device(entry: &mut Entry, inode: &Inode) {
    if !matches!(inode.mode & 0xf000, 0x2000 | 0x6000) {
        return;
    }
    let (major, minor) = match inode.device() {
        (Some(old), _) if old != 0 => (old >> 8 & 0xff, old & 0xff),
        (_, Some(new)) => (new >> 8 & 0xfff, new & 0xff | new >> 12 & 0xf_ff00),
        _ => return,
    };
    entry.remark(&format!("device {major}:{minor}"));
}
