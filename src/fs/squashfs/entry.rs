//! The entries of names: what the inode of each tells, and where its content lies.

use super::Squashfs;
use super::dir::Dirent;
use super::inode::{self, Holds, Inode};
use super::table::Place;
use crate::bytes::{Fields, index};
use crate::content::packed::{Block, Method};
use crate::content::{Codec, Run, Stream};
use crate::extent::Extent;
use crate::fs::{Access, Entry, EntryKind};
use crate::text::Decimal;
use std::sync::Arc;

/// In the length of a block: it is not packed.
const PLAIN: u32 = 1 << 24;

/// A name, the path of its directory, and its inode.
pub(super) struct Named {
    pub(super) directory: Arc<str>,
    pub(super) dirent: Dirent,
    pub(super) inode: Option<(Inode, Place)>,
    /// No directory names it: the name is ours.
    pub(super) is_orphan: bool,
}

/// The entry of a name.
pub(super) fn make(fs: &Squashfs<'_>, named: &Named) -> Entry {
    let dirent = &named.dirent;
    let path = [&named.directory, "/", &dirent.name].concat();
    let Some((inode, place)) = &named.inode else {
        let number = format!("{}:{}", dirent.inode >> 16, dirent.inode & 0xffff);
        let mut entry = Entry::new(path, inode::kind_of_name(dirent.file_type), number, dirent.at);
        entry.faults.push(fs.fault(dirent.at, "its inode is damaged".to_owned()));
        return entry;
    };
    let at = fs.inodes.byte(*place);
    let mut entry = Entry::new(path, inode.kind, Decimal::new(inode.number.into()).to_owned(), at);
    entry.note = named.is_orphan.then(|| "no directory names it".to_owned());
    entry.times.mtime = Some(inode.mtime);
    entry.linked = inode.links > 1 && inode.kind != EntryKind::Directory;
    let [uid, gid] = inode.owner.map(|row| fs.ids.get(row.into()).and_then(|row| row.le32(0)));
    match (uid, gid) {
        (Some(uid), Some(gid)) => entry.access = Some(Access { mode: inode.mode, uid, gid }),
        _ => entry.faults.push(fs.fault(at, "its owner or its group is not in the table of ids".to_owned())),
    }
    if let Some(row) = inode.xattr {
        let (attributes, whole) = fs.attributes.list(row);
        entry.attributes = attributes;
        if !whole {
            entry.faults.push(fs.fault(at, "its extended attributes are damaged, or too many".to_owned()));
        }
    }
    if let Err(what) = content(fs, &mut entry, &inode.holds) {
        entry.faults.push(fs.fault(at, what));
    }
    entry
}

/// # Errors
/// What keeps the content from being known.
fn content(fs: &Squashfs<'_>, entry: &mut Entry, holds: &Holds) -> Result<(), String> {
    match holds {
        Holds::Device(number) => {
            // As the kernel packs it: 12 bits of the driver between the 8 low and the 12 high ones of the device.
            let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
            entry.remark(&format!("device {major}:{minor}"));
        }
        Holds::Target { at, len } => {
            let len = index((*len).into());
            let target = fs.inodes.take(&mut at.clone(), len).unwrap_or_default();
            entry.target = Some(String::from_utf8_lossy(&target).into_owned());
            entry.stream = fs.inodes.stream(&mut at.clone(), len).unwrap_or_default();
        }
        Holds::Blocks { start, size, fragment, list, count } => {
            entry.stream = Stream::plain(Vec::new(), *size);
            let lengths = fs.inodes.take(&mut list.clone(), index(count.saturating_mul(4)));
            let lengths = lengths.ok_or("the lengths of its blocks are damaged")?;
            let lengths: Vec<u32> =
                lengths.as_chunks::<4>().0.iter().map(|length| u32::from_le_bytes(*length)).collect();
            let tail = fragment.map(|(row, skip)| (fs.fragments.get(row.into()), u64::from(skip)));
            let (stream, missing) = stream(fs, (*start, *size), &lengths, tail)?;
            entry.stream = stream;
            if missing {
                return Err("its last bytes stand in a fragment that the table does not hold".to_owned());
            }
        }
        Holds::Names { .. } | Holds::Nothing => {}
    }
    Ok(())
}

/// Where a file's bytes lie; and whether its fragment is missing.
///
/// # Errors
/// Where a block is packed in a way that is not known.
fn stream(
    fs: &Squashfs<'_>,
    (start, size): (u64, u64),
    lengths: &[u32],
    tail: Option<(Option<&[u8]>, u64)>,
) -> Result<(Stream, bool), String> {
    let mut blocks = Vec::with_capacity(lengths.len().saturating_add(1));
    let (mut left, mut stored) = (size, 0u64);
    let mut runs = Vec::new();
    for length in lengths {
        let given = left.min(fs.sb.block_size);
        left = left.saturating_sub(given);
        let block = block(fs, *length, (0, given))?;
        match runs.last_mut() {
            Some(Run::Data(extent)) => extent.len = extent.len.saturating_add(block.stored),
            _ if block.stored > 0 => runs.push(Run::Data(Extent::new(start.saturating_add(stored), block.stored))),
            _ => {}
        }
        stored = stored.saturating_add(block.stored);
        blocks.push(block);
    }
    let mut missing = false;
    if let Some((row, skip)) = tail.filter(|_| left > 0) {
        match row.and_then(|row| Some((row.le64(0)?, row.le32(8)?))) {
            Some((at, length)) => {
                let block = block(fs, length, (skip, left))?;
                runs.push(Run::Data(Extent::new(at, block.stored)));
                blocks.push(block);
            }
            None => missing = true,
        }
    }
    let plain = |block: &Block| match block.method {
        Method::Hole => true,
        Method::Plain => block.skip.checked_add(block.size).is_some_and(|end| end <= block.stored),
        _ => false,
    };
    let stream = match blocks.iter().all(plain) && !missing {
        true => Stream::plain(as_they_are(&runs, &blocks), size),
        false => Stream { size, runs, valid: size, codec: Codec::Packed { blocks: blocks.into() } },
    };
    Ok((stream, missing))
}

/// Where bytes lie of which none are packed: so each is found at its place.
fn as_they_are(runs: &[Run], blocks: &[Block]) -> Vec<Run> {
    let mut out: Vec<Run> = Vec::new();
    let mut stored = runs.iter().filter_map(|run| if let Run::Data(extent) = run { Some(*extent) } else { None });
    let mut here = stored.next().unwrap_or_default();
    for block in blocks {
        if block.method == Method::Hole {
            out.push(Run::Hole(block.size));
            continue;
        }
        if here.is_empty() {
            here = stored.next().unwrap_or_default();
        }
        let data = Extent::new(here.start.saturating_add(block.skip), block.size);
        match out.last_mut() {
            Some(Run::Data(last)) if last.end() == data.start => last.len = last.len.saturating_add(data.len),
            _ => out.push(Run::Data(data)),
        }
        here = Extent::between(here.start.saturating_add(block.stored), here.end());
    }
    out
}

/// A block of a file, or its part of a fragment.
fn block(fs: &Squashfs<'_>, length: u32, (skip, size): (u64, u64)) -> Result<Block, String> {
    let stored = u64::from(length & !PLAIN);
    let method = match length {
        0 => Method::Hole,
        _ if length & PLAIN != 0 => Method::Plain,
        _ => fs.sb.method.ok_or("it is packed in a way that is not known")?,
    };
    Ok(Block { stored, size, skip: if length == 0 { 0 } else { skip }, method })
}
