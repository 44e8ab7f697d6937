//! The content of a file: from its addresses to the blocks of the volume, and the clusters that are packed.
//!
//! Kernel documentation, "F2FS", "Compression implementation": a cluster that is packed has a mark for its first address, then the
//! blocks that it takes; those begin with a header of 24 bytes, of which the first four say how much is packed.

use super::Disk;
use super::node::{self, BODY, Footer, Inode};
use super::superblock::BLOCK;
use crate::bytes::Fields;
use crate::content::packed::{Block, Method};
use crate::content::{Codec, Run, Stream};
use crate::extent::Extent;
use crate::fuel::Fuel;
use std::borrow::Cow;
use std::collections::HashSet;

/// Addresses that are none: not written yet, and the mark of a cluster that is packed.
const NEW: u32 = u32::MAX;
const PACKED: u32 = u32::MAX - 1;
/// Addresses of a node.
const ADDRESSES: u64 = BODY / 4;

/// Where a node lies that is asked for by its number and its inode's.
pub(super) type Finder<'f> = dyn Fn(u32, u32) -> Option<u64> + 'f;

/// The addresses of a file, stretch by stretch.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Number of its first block, address, count, the node that names them, the row there.
    pieces: Vec<Piece>,
    next: u64,
    /// Nodes that were read: none is there twice.
    seen: HashSet<u32>,
    /// The first block of which it is not known where it lies: behind it nothing is known to be a hole.
    lost_from: Option<u64>,
    /// What is wrong; a part of the file may be missing.
    pub(super) wrong: Vec<String>,
}

/// Blocks that lie one behind the other, or the marks of packed clusters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    first: u64,
    address: u32,
    count: u32,
    /// The node and the row that name the first.
    owner: (u32, usize),
}

impl Pieces {
    /// The addresses of an inode. `find`: where its nodes lie.
    pub(super) fn read(disk: &Disk<'_>, inode: &Inode, find: &Finder<'_>, fuel: &mut Fuel) -> Self {
        let mut pieces = Self::default();
        if inode.is_odd {
            pieces.lose("its flags say that it holds what its kind cannot".to_owned());
        }
        if inode.inline_data || inode.inline_names {
            return pieces;
        }
        pieces.take(disk, inode, inode.addresses(), inode.number);
        let end = inode.size.div_ceil(BLOCK);
        for (node, depth) in inode.nodes().into_iter().zip([0, 0, 1, 1, 2]) {
            if pieces.next < end || node != 0 {
                pieces.node(disk, inode, node, depth, (find, fuel));
            }
        }
        pieces
    }

    /// Notes that what comes next is not known.
    fn lose(&mut self, what: String) {
        self.lost_from = self.lost_from.or(Some(self.next));
        self.wrong.push(what);
    }

    /// The addresses that a node leads to, `depth` levels below it.
    fn node(&mut self, disk: &Disk<'_>, inode: &Inode, node: u32, depth: u32, (find, fuel): (&Finder<'_>, &mut Fuel)) {
        let row = match inode.packed {
            Some(packed) => node::whole(usize::try_from(ADDRESSES).unwrap_or(0), packed.cluster) as u64,
            None => ADDRESSES,
        };
        let span = ADDRESSES.saturating_pow(depth).saturating_mul(row);
        let skip = self.next.saturating_add(span);
        if node == 0 {
            self.next = skip;
            return;
        }
        if !self.seen.insert(node) {
            self.lose(format!("node {node} of it is named twice"));
            self.next = skip;
            return;
        }
        let block = if fuel.burn(1).is_ok() {
            find(node, inode.number).and_then(|at| disk.view.read(at, BLOCK).ok())
        } else {
            None
        };
        let own = |block: &Cow<'_, [u8]>| {
            Footer::read(block).is_some_and(|footer| (footer.node, footer.inode) == (node, inode.number))
        };
        let Some(block) = block.filter(own) else {
            self.lose(format!("node {node} of it is missing or damaged"));
            self.next = skip;
            return;
        };
        let body = block.get(..usize::try_from(BODY).unwrap_or(0)).unwrap_or_default();
        if depth == 0 {
            let len = usize::try_from(row.saturating_mul(4)).unwrap_or(0);
            return self.take(disk, inode, body.get(..len).unwrap_or_default(), node);
        }
        for below in body.chunks_exact(4).filter_map(|row| row.le32(0)) {
            self.node(disk, inode, below, depth.saturating_sub(1), (find, fuel));
        }
    }

    fn take(&mut self, disk: &Disk<'_>, inode: &Inode, addresses: &[u8], node: u32) {
        let is_mark = |first: u64| inode.packed.is_some_and(|packed| first.checked_rem(packed.cluster) == Some(0));
        let mut odd = 0u64;
        for (row, address) in addresses.chunks_exact(4).filter_map(|row| row.le32(0)).enumerate() {
            let first = self.next;
            self.next = first.saturating_add(1);
            if matches!(address, 0 | NEW) {
                continue;
            }
            let fits = if address == PACKED { is_mark(first) } else { disk.sb.is_main(address) };
            if !fits {
                self.lost_from = self.lost_from.or(Some(first));
                odd = odd.saturating_add(1);
                continue;
            }
            match self.pieces.last_mut() {
                Some(last) if last.is_before(first, address, node) => last.count = last.count.saturating_add(1),
                _ => self.pieces.push(Piece { first, address, count: 1, owner: (node, row) }),
            }
        }
        if odd > 0 {
            self.wrong.push(format!("{odd} addresses in node {node} are none"));
        }
    }

    /// The blocks, in order.
    pub(super) fn blocks(&self) -> impl Iterator<Item = u32> + '_ {
        let data = self.pieces.iter().filter(|piece| piece.address != PACKED);
        data.flat_map(|piece| piece.address..piece.address.saturating_add(piece.count))
    }

    /// The blocks, each with the node that names it and the row there.
    pub(super) fn named(&self) -> impl Iterator<Item = (u32, u32, usize)> + '_ {
        let data = self.pieces.iter().filter(|piece| piece.address != PACKED);
        data.flat_map(|piece| {
            let (node, row) = piece.owner;
            (0..piece.count).map(move |n| (piece.address.saturating_add(n), node, row.saturating_add(n as usize)))
        })
    }

    /// The nodes that name them, but for the inode itself.
    pub(super) fn nodes(&self) -> impl Iterator<Item = u32> + '_ {
        self.seen.iter().copied()
    }

    /// Keeps the blocks of which `keeps` says so.
    pub(super) fn keep(&mut self, keeps: impl Fn((u32, u32, usize)) -> bool) {
        let kept = self.named().filter(|named| keeps(*named));
        let piece = |(address, node, row)| Piece { first: 0, address, count: 1, owner: (node, row) };
        self.pieces = kept.map(piece).collect();
    }

    /// The content of a file.
    pub(super) fn stream(&self, disk: &Disk<'_>, inode: &Inode) -> Stream {
        if inode.inline_data {
            let (at, bytes) = inode.inline();
            let len = inode.size.min(bytes.len() as u64);
            return Stream::plain(vec![Run::Data(Extent::new(at, len))], inode.size);
        }
        let packed = inode.packed.filter(|_| self.pieces.iter().any(|piece| piece.address == PACKED));
        // It ends where it is not known any more: a reader is told, and takes no zeros for content.
        let known = self.lost_from.map_or(inode.size, |block| block.saturating_mul(BLOCK).min(inode.size));
        let mut build = Build { size: known, ..Build::default() };
        match packed {
            None => {
                self.pieces.iter().for_each(|piece| build.plain(disk, piece.first, piece.address, piece.count));
                build.hole(inode.size);
                Stream::plain(build.runs, inode.size)
            }
            Some(packed) => {
                self.clusters(disk, &mut build, packed);
                build.hole(inode.size);
                Stream {
                    size: inode.size,
                    runs: build.runs,
                    valid: inode.size,
                    codec: Codec::Packed { blocks: build.blocks.into() },
                }
            }
        }
    }

    /// The clusters of a file of which some are packed.
    fn clusters(&self, disk: &Disk<'_>, build: &mut Build, packed: node::Packed) {
        build.is_packed = true;
        let mut rows = self.named_rows().peekable();
        while let Some((first, address)) = rows.next() {
            let cluster = first.checked_div(packed.cluster).unwrap_or(0);
            let is_same = |(block, _): &(u64, u32)| block.checked_div(packed.cluster) == Some(cluster);
            if address != PACKED {
                build.plain(disk, first, address, 1);
                continue;
            }
            let mut stored = 0u64;
            build.hole(first.saturating_mul(BLOCK));
            while let Some((_, address)) = rows.next_if(is_same) {
                build.push(Run::Data(disk.sb.extent(address.into(), 1)));
                stored = stored.saturating_add(BLOCK);
            }
            let size = packed.cluster.saturating_mul(BLOCK).min(build.size.saturating_sub(build.at));
            if size > 0 {
                build.blocks.push(Block { stored, size, skip: 0, method: method(packed.algorithm) });
                build.at = build.at.saturating_add(size);
            }
        }
    }

    /// Number and address of each block that has one.
    fn named_rows(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.pieces.iter().flat_map(|piece| {
            (0..piece.count).map(move |n| {
                let address = if piece.address == PACKED { PACKED } else { piece.address.saturating_add(n) };
                (piece.first.saturating_add(n.into()), address)
            })
        })
    }
}

impl Piece {
    fn is_before(&self, first: u64, address: u32, node: u32) -> bool {
        let follows = self.address.checked_add(self.count) == Some(address);
        self.first.checked_add(self.count.into()) == Some(first)
            && follows
            && self.address != PACKED
            && address != PACKED
            && self.owner.0 == node
    }
}

/// How the clusters of an algorithm are packed.
const fn method(algorithm: u8) -> Method {
    match algorithm {
        0 | 3 => Method::F2fsLzo,
        1 => Method::F2fsLz4,
        _ => Method::F2fsZstd,
    }
}

/// A content that is put together.
#[derive(Default)]
struct Build {
    runs: Vec<Run>,
    blocks: Vec<Block>,
    size: u64,
    at: u64,
    is_packed: bool,
}

impl Build {
    /// Blocks as they are, up to the end of the file.
    fn plain(&mut self, disk: &Disk<'_>, first: u64, address: u32, count: u32) {
        let start = first.saturating_mul(BLOCK);
        if start >= self.size {
            return;
        }
        self.hole(start);
        let extent = disk.sb.extent(address.into(), count.into());
        self.push(Run::Data(extent));
        if self.is_packed {
            let size = extent.len.min(self.size.saturating_sub(start));
            self.blocks.push(Block { stored: extent.len, size, skip: 0, method: Method::Plain });
        }
        self.at = start.saturating_add(extent.len);
    }

    /// Zeros up to a byte of the file.
    fn hole(&mut self, to: u64) {
        let len = to.min(self.size).saturating_sub(self.at);
        if len == 0 {
            return;
        }
        if self.is_packed {
            self.blocks.push(Block { stored: 0, size: len, skip: 0, method: Method::Hole });
        } else {
            self.push(Run::Hole(len));
        }
        self.at = self.at.saturating_add(len);
    }

    fn push(&mut self, run: Run) {
        match (self.runs.last_mut(), run) {
            (Some(Run::Data(last)), Run::Data(next)) if last.end() == next.start => {
                last.len = last.len.saturating_add(next.len);
            }
            _ => self.runs.push(run),
        }
    }
}
