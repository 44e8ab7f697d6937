//! File entries and extended file entries (ECMA-167, 4/14.9 and 4/14.17), and the chains of strategy 4096 (UDF 2.60, 6.6) in
//! which the last entry that was written holds.

use super::layout::Layout;
use super::tag::{self, Address, Stretch, Tag};
use super::text;
use crate::bytes::{Fields, index, offset};
use crate::extent::Extent;
use crate::fs::{Access, EntryKind, Times};
use std::borrow::Cow;
use std::collections::HashSet;

/// Entries of one chain.
const MAX_CHAIN: usize = 4096;

/// The entry of a file.
#[derive(Clone, Debug)]
pub(super) struct FileEntry<'img> {
    /// The block that names lead to.
    pub(super) address: Address,
    /// Byte of the volume at which it stands.
    pub(super) at: u64,
    pub(super) kind: u8,
    strategy: u16,
    flags: u16,
    pub(super) links: u16,
    owner: [u32; 2],
    permissions: u32,
    pub(super) size: u64,
    pub(super) unique: u64,
    pub(super) times: Times,
    /// The file of its further attributes.
    pub(super) attributes_at: Option<Stretch>,
    /// The directory of its named streams.
    pub(super) streams: Option<Stretch>,
    raw: Cow<'img, [u8]>,
    attributes: (usize, usize),
    descriptors: (usize, usize),
    /// What is wrong with it.
    pub(super) wrong: Vec<String>,
    /// Entries that it replaced in its chain: the bytes at which they stand.
    pub(super) replaced: Vec<u64>,
    /// Blocks of its chain.
    pub(super) chain: Vec<Extent>,
}

/// The entry that stands in a block, or in its mirror where that is damaged.
pub(super) fn read<'img>(layout: &Layout<'img>, address: Address) -> Option<FileEntry<'img>> {
    let first = layout.at(address).and_then(|at| parse(layout, address, at));
    let first = match first {
        Some(entry) if entry.wrong.is_empty() => entry,
        other => {
            let mirror = layout.mirrored(address).and_then(|at| parse(layout, address, at));
            match mirror.filter(|mirror| mirror.wrong.is_empty()) {
                Some(mut mirror) => {
                    let what = "its entry in the metadata file is damaged: that of the mirror is used";
                    mirror.wrong.push(what.to_owned());
                    mirror
                }
                None => other?,
            }
        }
    };
    Some(if first.strategy == 4096 { newest(layout, first) } else { first })
}

/// The last entry of a chain: behind each stands what leads to the next.
fn newest<'img>(layout: &Layout<'img>, first: FileEntry<'img>) -> FileEntry<'img> {
    let (mut held, mut own) = (first, None::<Address>);
    let mut met = HashSet::new();
    loop {
        let here = own.unwrap_or(held.address);
        if met.len() >= MAX_CHAIN || !met.insert(here) {
            held.wrong.push("the chain of its entries leads back into itself, or has no end".to_owned());
            break;
        }
        let link = here.block.checked_add(1).map(|block| Address { block, ..here });
        let Some((link_at, next)) = link.and_then(|link| indirect(layout, link)) else { break };
        let Some(entry) = layout.at(next).and_then(|at| parse(layout, next, at)) else { break };
        let mut replaced = std::mem::take(&mut held.replaced);
        let mut chain = std::mem::take(&mut held.chain);
        replaced.push(held.at);
        chain.extend([held.at, link_at].map(|at| Extent::new(at, layout.block)));
        held = FileEntry { address: held.address, replaced, chain, ..entry };
        own = Some(next);
    }
    held
}

/// An entry that leads to another: where it stands, and the block that it leads to.
fn indirect(layout: &Layout<'_>, at: Address) -> Option<(u64, Address)> {
    let raw = layout.bytes(at)?;
    let is_link = Tag::read(&raw)?.is(&[tag::INDIRECT]);
    let to = Stretch::long(raw.get(36..)?).filter(|to| is_link && to.len > 0)?;
    Some((layout.at(at)?, to.at))
}

/// Where the fields of an entry stand.
struct Plan {
    accessed: usize,
    changed: usize,
    created: Option<usize>,
    ruled: usize,
    attributes_at: usize,
    streams: Option<usize>,
    unique: usize,
    /// Lengths of the attributes and of the list behind them; then both.
    lists: usize,
}

const PLAIN: Plan = Plan {
    accessed: 72,
    changed: 84,
    created: None,
    ruled: 96,
    attributes_at: 112,
    streams: None,
    unique: 160,
    lists: 168,
};

const EXTENDED: Plan = Plan {
    accessed: 80,
    changed: 92,
    created: Some(104),
    ruled: 116,
    attributes_at: 136,
    streams: Some(152),
    unique: 200,
    lists: 208,
};

/// The entry at byte `at`, block `own` of its partition; none where no such descriptor stands there.
fn parse<'img>(layout: &Layout<'img>, own: Address, at: u64) -> Option<FileEntry<'img>> {
    let raw = layout.view.read(at, layout.block).ok()?;
    let tag = Tag::read(&raw)?;
    let fields = match tag.id {
        tag::FILE_ENTRY => PLAIN,
        tag::EXTENDED_ENTRY => EXTENDED,
        _ => return None,
    };
    let mut wrong: Vec<String> = tag.wrong().map(|what| format!("its entry: {what}")).into_iter().collect();
    if tag.location != own.block {
        wrong.push(format!("its entry says that it stands in block {}", tag.location));
    }
    let moment = |at: usize| raw.get(at..).and_then(text::time);
    let stretch = |at: usize| raw.get(at..).and_then(Stretch::long).filter(|stretch| stretch.len > 0);
    let start = fields.lists.checked_add(8)?;
    let (first, second) = (raw.le32(fields.lists)?, raw.le32(fields.lists.checked_add(4)?)?);
    let (first, second) = (index(first.into()), index(second.into()));
    let middle = start.checked_add(first).filter(|middle| *middle <= raw.len());
    let end = middle.and_then(|middle| middle.checked_add(second)).filter(|end| *end <= raw.len());
    if end.is_none() {
        wrong.push("the lists of its entry do not fit into its block".to_owned());
    }
    let middle = middle.unwrap_or(start.min(raw.len()));
    Some(FileEntry {
        address: own,
        at,
        kind: raw.byte(27)?,
        strategy: raw.le16(20)?,
        flags: raw.le16(34)?,
        links: raw.le16(48)?,
        owner: [raw.le32(36)?, raw.le32(40)?],
        permissions: raw.le32(44)?,
        size: raw.le64(56)?,
        unique: raw.le64(fields.unique)?,
        times: Times {
            btime: fields.created.and_then(moment),
            mtime: moment(fields.changed),
            ctime: moment(fields.ruled),
            atime: moment(fields.accessed),
            dtime: None,
        },
        attributes_at: stretch(fields.attributes_at),
        streams: fields.streams.and_then(stretch),
        attributes: (start.min(middle), middle),
        descriptors: (middle, end.unwrap_or(middle)),
        raw,
        wrong,
        replaced: Vec::new(),
        chain: Vec::new(),
    })
}

impl FileEntry<'_> {
    /// How the list of its extents is to be read: 0 short, 1 long, 2 extended, 3 the content itself.
    pub(super) fn listing(&self) -> u16 {
        self.flags & 7
    }

    /// The list of its extents.
    pub(super) fn descriptors(&self) -> &[u8] {
        self.raw.get(self.descriptors.0..self.descriptors.1).unwrap_or_default()
    }

    /// Where that stands, with the rest of the block.
    pub(super) fn inside(&self) -> Extent {
        let skip = offset(self.descriptors.0);
        Extent::new(self.at.saturating_add(skip), offset(self.raw.len()).saturating_sub(skip))
    }

    /// The attributes within the entry.
    pub(super) fn attributes(&self) -> &[u8] {
        self.raw.get(self.attributes.0..self.attributes.1).unwrap_or_default()
    }

    /// What it is; none where its type is that of no file.
    pub(super) fn kind(&self) -> Option<EntryKind> {
        match self.kind {
            4 | 13 => Some(EntryKind::Directory),
            0 | 5 | 249 => Some(EntryKind::File),
            6 | 7 | 9 | 10 => Some(EntryKind::Special),
            12 => Some(EntryKind::Symlink),
            _ => None,
        }
    }

    /// Whether names lead to such entries: not to those of streams, tables and the volume's own files.
    pub(super) fn is_file(&self) -> bool {
        const STREAM: u16 = 1 << 13;
        self.wrong.is_empty() && self.flags & STREAM == 0 && matches!(self.kind, 4..=7 | 9 | 10 | 12 | 249)
    }

    /// Owner and permissions, as `st_mode`.
    pub(super) fn access(&self) -> Access {
        let kind = match self.kind {
            4 | 13 => 0o040_000,
            6 => 0o060_000,
            7 => 0o020_000,
            9 => 0o010_000,
            10 => 0o140_000,
            12 => 0o120_000,
            _ => 0o100_000,
        };
        // Five bits each for others, group and owner, of which the lowest three are those of POSIX.
        let p = self.permissions;
        let rights = p & 7 | p >> 2 & 0o070 | p >> 4 & 0o700;
        // Set-uid, set-gid and sticky are bits 6 to 8 of the flags.
        let special = u32::from(self.flags >> 6 & 1) << 11
            | u32::from(self.flags >> 7 & 1) << 10
            | u32::from(self.flags >> 8 & 1) << 9;
        let [uid, gid] = self.owner;
        Access { mode: kind | special | rights, uid, gid }
    }
}
