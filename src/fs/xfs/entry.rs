//! The entries of names: what the inode of each tells.

use super::dir::Dirent;
use super::group::State;
use super::inode::{Format, Inode};
use super::map::{Mapping, Piece};
use super::{Xfs, xattr};
use crate::bytes::Fields;
use crate::content::{Content, Run, Stream};
use crate::extent::Extent;
use crate::fs::{Entry, EntryKind, posix};
use crate::fuel::Fuel;
use crate::text::Decimal;
use std::sync::Arc;

/// The longest target of a symbolic link.
const MAX_TARGET: u64 = 4096;
/// The header of an extent of a remote symbolic link, where metadata has checksums.
const LINK_HEADER: u64 = 56;

/// A name, and the path of its directory.
pub(super) struct Named {
    pub(super) directory: Arc<str>,
    pub(super) dirent: Dirent,
    /// No directory names it: the name is ours.
    pub(super) is_orphan: bool,
}

/// The entry of a live name. Gives the extents of a directory, for it to be entered.
pub(super) fn make(xfs: &Xfs<'_>, named: &Named, inode: Option<&Inode>, fuel: &mut Fuel) -> (Entry, Mapping) {
    let dirent = &named.dirent;
    let path = [&named.directory, "/", &dirent.name].concat();
    let known = inode.and_then(Inode::kind);
    let kind = known.unwrap_or_else(|| posix::kind_of_type(dirent.file_type));
    let at = inode.map_or(dirent.at, |inode| inode.at);
    let mut entry = Entry::new(path, kind, Decimal::new(dirent.inode).to_owned(), at);
    entry.note = named.is_orphan.then(|| "no directory names it".to_owned());
    if matches!(xfs.groups.state(&xfs.disk, dirent.inode), State::Free | State::Nowhere) {
        entry.faults.push(xfs.disk.fault(at, format!("inode {} is named but not in use", dirent.inode)));
    }
    match inode.filter(|_| known.is_some()) {
        Some(inode) => {
            let map = fill(xfs, &mut entry, inode, fuel);
            (entry, map)
        }
        None => {
            let what = format!("inode {} is empty or cannot be read", dirent.inode);
            entry.faults.push(xfs.disk.fault(dirent.at, what));
            (entry, Mapping::default())
        }
    }
}

/// What the inode tells: times, owner, content, the target of a link.
pub(super) fn fill(xfs: &Xfs<'_>, entry: &mut Entry, inode: &Inode, fuel: &mut Fuel) -> Mapping {
    let disk = &xfs.disk;
    if !inode.sound {
        entry.faults.push(disk.fault(inode.at, format!("the checksum of inode {} does not fit", inode.number)));
    }
    if !inode.own {
        let what = format!("inode {} carries another number, or the UUID of another volume", inode.number);
        entry.faults.push(disk.fault(inode.at, what));
    }
    if inode.impossible_time {
        entry.impossible.push("one of its times has a billion nanoseconds or more".to_owned());
    }
    entry.times = inode.times;
    entry.access = Some(inode.access());
    entry.linked = inode.links > 1 && entry.kind != EntryKind::Directory;
    let attributes = xattr::describe(disk, inode, entry);
    let mut map = match inode.is_realtime() {
        true => Mapping::default(),
        false => Mapping::read(disk, &inode.data, inode.number, fuel),
    };
    let named = attributes.map_or(u64::MAX, |blocks| blocks.saturating_add(map.blocks()));
    let missing = inode.blocks.saturating_sub(named);
    if missing > 0 && !map.broken && !inode.is_realtime() {
        // What is read as a hole may have been content.
        map.wrong.push(format!("{missing} of its blocks are named nowhere"));
        map.broken = true;
    }
    entry.faults.extend(map.wrong.iter().map(|what| disk.fault(inode.at, what.clone())));
    match entry.kind {
        EntryKind::Directory => {}
        EntryKind::Special => device(xfs, entry, inode),
        EntryKind::Symlink => link(xfs, entry, inode, &map),
        _ => {
            let runs = if inode.is_realtime() { Vec::new() } else { runs(xfs, inode, &map) };
            entry.stream = Stream::plain(runs, inode.size);
            if inode.is_realtime() {
                let what = "its content lies on the realtime device, which is another one";
                entry.faults.push(disk.fault(inode.at, what.to_owned()));
            }
        }
    }
    map
}

/// Where a file's bytes lie.
fn runs(xfs: &Xfs<'_>, inode: &Inode, map: &Mapping) -> Vec<Run> {
    match inode.data.format {
        Format::Local => vec![Run::Data(Extent::new(inode.data.area.start, inode.size.min(inode.data.area.len)))],
        Format::Extents | Format::Tree => map.runs(xfs.disk.sb.block_size, inode.size),
        _ => Vec::new(),
    }
}

/// Says which device it is.
fn device(xfs: &Xfs<'_>, entry: &mut Entry, inode: &Inode) {
    let is_device = matches!(inode.mode & 0xf000, 0x2000 | 0x6000);
    let number = xfs.disk.read(inode.data.area.start, 4).and_then(|bytes| bytes.be32(0));
    if let Some(number) = number.filter(|_| is_device && inode.data.format == Format::Device) {
        // As System V packs it: 14 bits of the driver, 18 of the device.
        entry.remark(&format!("device {}:{}", number >> 18, number & 0x3_ffff));
    }
}

/// A symbolic link: its target in the inode, or in extents, which have a header each where metadata has checksums.
fn link(xfs: &Xfs<'_>, entry: &mut Entry, inode: &Inode, map: &Mapping) {
    let sb = &xfs.disk.sb;
    let mut all = runs(xfs, inode, map);
    if inode.data.format != Format::Local && sb.has_checksums() {
        let text = |piece: &Piece| {
            let len = piece.count.saturating_mul(sb.block_size).saturating_sub(LINK_HEADER);
            Run::Data(Extent::new(piece.at.saturating_add(LINK_HEADER), len))
        };
        all = map.pieces.iter().map(text).collect();
        let is_link = |piece: &Piece| xfs.disk.read(piece.at, 4).as_deref() == Some(b"XSLM");
        if !map.pieces.iter().all(is_link) {
            entry.faults.push(xfs.disk.fault(inode.at, "the block of its target is damaged".to_owned()));
        }
    }
    let mut left = inode.size;
    for run in &mut all {
        if let Run::Data(extent) = run {
            extent.len = extent.len.min(left);
            left = left.saturating_sub(extent.len);
        }
    }
    entry.stream = Stream::plain(all, inode.size);
    let target = Content::new(xfs.disk.view, &entry.stream).prefix(inode.size.min(MAX_TARGET)).into_owned();
    entry.target = Some(String::from_utf8_lossy(&target).into_owned());
}
