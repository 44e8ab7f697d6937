//! Thin volumes (`drivers/md/dm-thin-metadata.c`, `persistent-data/dm-btree.c`): which blocks of the pool each holds.
//!
//! Little-endian, blocks of 4 KiB. The superblock (magic 27022010 at 32) names at 320 the root of the mappings and at 336 the
//! sectors of a data block. A node: flags at 4 (1 internal, 2 leaf), entries at 16, room at 20, bytes of a value at 24; keys from
//! 32, values behind the room for keys. Two levels: device to root, and block of the device to block of the pool (the lower 24
//! bits are the time).

use crate::bytes::Fields;
use crate::extent::Extent;
use crate::fuel::Fuel;
use crate::image::View;
use crate::volume::{Stretch, raid, stretches};

const BLOCK: u64 = 4096;
const MAGIC: u64 = 27_022_010;
/// Nodes of one tree that are read at most: more than a pool of 16 GiB of metadata has.
const NODES: u64 = 1 << 22;
const DEPTH: usize = 24;

/// A pool.
pub(super) struct Pool<'a> {
    members: &'a [View<'a>],
    metadata: &'a [Stretch],
    root: u64,
    /// Bytes of a data block.
    chunk: u64,
}

impl<'a> Pool<'a> {
    /// Opens a pool by its metadata.
    pub(super) fn open(members: &'a [View<'a>], metadata: &'a [Stretch]) -> Result<Self, String> {
        let block = stretches::read(members, metadata, 0, BLOCK).ok_or("the thin pool's metadata cannot be read")?;
        if block.le64(32) != Some(MAGIC) {
            return Err("the thin pool's metadata has no superblock".to_owned());
        }
        let (root, sectors) = (block.le64(320).unwrap_or(0), u64::from(block.le32(336).unwrap_or(0)));
        let chunk = sectors.saturating_mul(512);
        if !(65_536..=1 << 30).contains(&chunk) {
            return Err("the thin pool has blocks of an impossible size".to_owned());
        }
        Ok(Self { members, metadata, root, chunk })
    }

    /// The stretches of a device, `size` bytes; `data` is the pool's.
    pub(super) fn device(&self, device: u64, data: &[Stretch], size: u64) -> Result<Vec<Stretch>, String> {
        let mut fuel = Fuel::new(NODES);
        let mut roots = Vec::new();
        self.walk(self.root, DEPTH, &mut fuel, &mut roots)?;
        let Some((_, root)) = roots.into_iter().find(|(key, _)| *key == device) else { return Ok(Vec::new()) };
        let mut blocks = Vec::new();
        self.walk(root, DEPTH, &mut fuel, &mut blocks)?;
        let mut made = Vec::new();
        for (block, value) in blocks {
            let start = block.saturating_mul(self.chunk);
            let len = self.chunk.min(size.saturating_sub(start));
            let from = (value >> 24).saturating_mul(self.chunk);
            let moved =
                |piece: Stretch| Stretch { start: start.saturating_add(piece.start.saturating_sub(from)), ..piece };
            made.extend(raid::slice(data, Extent::new(from, len)).map(moved));
        }
        Ok(made)
    }

    /// Collects the entries of a tree, keys in order.
    fn walk(&self, at: u64, depth: usize, fuel: &mut Fuel, out: &mut Vec<(u64, u64)>) -> Result<(), String> {
        let torn = || "a tree of the thin pool's metadata is damaged".to_owned();
        let depth = depth.checked_sub(1).ok_or_else(torn)?;
        fuel.burn(1).map_err(|_| torn())?;
        let node = stretches::read(self.members, self.metadata, at.saturating_mul(BLOCK), BLOCK).ok_or_else(torn)?;
        let field = |at: usize| node.le32(at).map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let (Some(flags), Some(count), Some(room), Some(8)) = (node.le32(4), field(16), field(20), field(24)) else {
            return Err(torn());
        };
        if node.le64(8) != Some(at) || count > room || room > 254 {
            return Err(torn());
        }
        for number in 0..count {
            let key = number.saturating_mul(8).saturating_add(32);
            let (key, value) = (node.le64(key), node.le64(key.saturating_add(room.saturating_mul(8))));
            let (Some(key), Some(value)) = (key, value) else { return Err(torn()) };
            if flags & 1 != 0 {
                self.walk(value, depth, fuel, out)?;
            } else {
                out.push((key, value));
            }
        }
        Ok(())
    }
}
