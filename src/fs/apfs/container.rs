//! The container: its superblock of the latest checkpoint, older ones, and which blocks are free.
//!
//! Apple File System Reference, "Container" and "Space Manager".

use super::object::{Blocks, CHECKPOINT_MAP, SPACEMAN, SUPERBLOCK, checksum_holds, kind, xid};
use crate::bytes::Fields;
use crate::extent::{Extent, ExtentSet};
use crate::image::View;
use std::borrow::Cow;

/// Sizes of a block.
const SIZES: [u64; 5] = [4096, 8192, 16384, 32768, 65536];
/// Blocks at the container's begin that are searched for a superblock where the first one is destroyed.
const LOOK: u64 = 256;
/// Blocks of the ring of superblocks that are looked at.
const MAX_RING: u64 = 1 << 16;

/// A superblock.
#[derive(Clone)]
pub(super) struct Superblock {
    /// Its block.
    pub(super) at: u64,
    pub(super) xid: u64,
    pub(super) block: u64,
    pub(super) blocks: u64,
    pub(super) uuid: [u8; 16],
    /// First block and length of the ring of superblocks and maps.
    ring: (u64, u64),
    /// First of its maps in the ring, and how many blocks it has there.
    checkpoint: (u64, u64),
    spaceman: u64,
    /// Block of the object map.
    pub(super) omap: u64,
    /// Numbers of its volumes.
    pub(super) volumes: Vec<u64>,
    incompatible: u64,
}

impl Superblock {
    pub(super) fn parse(b: &[u8], at: u64) -> Option<Self> {
        (b.span(32, 4)? == b"NXSB").then_some(())?;
        let block = u64::from(b.le32(36)?);
        (SIZES.contains(&block) && b.le64(40)? > 0).then_some(())?;
        let most = usize::try_from(b.le32(180)?).ok()?.min(100);
        let volume = |row: usize| b.le64(row.checked_mul(8)?.checked_add(184)?).filter(|oid| *oid != 0);
        Some(Self {
            at,
            xid: xid(b),
            block,
            blocks: b.le64(40)?,
            uuid: b.array(72)?,
            ring: (b.le64(112)?, (b.le32(104)? & 0x7fff_ffff).into()),
            checkpoint: (b.le32(136)?.into(), b.le32(140)?.into()),
            spaceman: b.le64(152)?,
            omap: b.le64(160)?,
            volumes: (0..most).filter_map(volume).collect(),
            incompatible: b.le64(64)?,
        })
    }

    /// True where it goes over two disks.
    pub(super) const fn is_fusion(&self) -> bool {
        self.incompatible & 0x100 != 0
    }
}

/// The copies of the superblock, those of the latest transaction first; and whether the first block's is sound.
pub(super) struct Copies {
    pub(super) sound: Vec<Superblock>,
    pub(super) first_is_sound: bool,
    /// The blocks of those whose checksum does not hold.
    pub(super) damaged: Vec<u64>,
    /// True where the ring is not in one piece: it is not read then.
    pub(super) is_scattered: bool,
}

/// Finds the copies of the superblock.
pub(super) fn find(view: View<'_>) -> Option<Copies> {
    let head = view.read_up_to(0, 4096);
    let told = Superblock::parse(&head, 0);
    let size = told.as_ref().map_or(4096, |told| told.block);
    let blocks = Blocks { view, size };
    let first = blocks.object(0, SUPERBLOCK).and_then(|raw| Superblock::parse(&raw, 0));
    let seed = first.clone().or_else(|| (0..LOOK).find_map(|at| superblock(&blocks, at)))?;
    let (base, len) = seed.ring;
    // A ring that is not in one piece has the highest bit set: its first block stands for it.
    let is_scattered = base >> 63 != 0;
    let len = if is_scattered { 0 } else { len };
    let (mut sound, mut damaged) = (vec![seed], Vec::new());
    for at in base..base.saturating_add(len.min(MAX_RING)) {
        match superblock(&blocks, at) {
            Some(copy) if copy.block == size => sound.push(copy),
            Some(_) => {}
            None if has_magic(&blocks, at) => damaged.push(at),
            None => {}
        }
    }
    sound.sort_by_key(|copy| std::cmp::Reverse((copy.xid, copy.at)));
    sound.dedup_by_key(|copy| copy.xid);
    Some(Copies { sound, first_is_sound: first.is_some(), damaged, is_scattered })
}

fn has_magic(blocks: &Blocks<'_>, at: u64) -> bool {
    blocks.read(at).is_some_and(|raw| raw.span(32, 4) == Some(b"NXSB"))
}

fn superblock(blocks: &Blocks<'_>, at: u64) -> Option<Superblock> {
    // Its magic first: the checksum reads all of a block.
    let raw = blocks.read(at).filter(|raw| raw.span(32, 4) == Some(b"NXSB"))?;
    let sound = checksum_holds(&raw) && kind(&raw) == Some(SUPERBLOCK);
    sound.then(|| Superblock::parse(&raw, at))?
}

/// The free blocks of the container, and what is wrong with what tells of them.
pub(super) fn free(blocks: &Blocks<'_>, superblock: &Superblock) -> (ExtentSet, Option<String>) {
    let left = blocks.view.size().checked_div(blocks.size).unwrap_or(0).saturating_mul(2);
    let mut space = Space { blocks, size: blocks.view.size(), free: Vec::new(), missing: 0, left };
    let read = spaceman(blocks, superblock).and_then(|raw| space.read(&raw));
    let wrong = match (read, space.missing) {
        (None, _) => Some("the space manager cannot be read: which blocks are free is not known".to_owned()),
        (_, 0) => None,
        (_, missing) => {
            Some(format!("{missing} blocks of the space manager are damaged: what they tell of counts as used"))
        }
    };
    (ExtentSet::new(space.free), wrong)
}

/// The space manager: the maps of the checkpoint say in which block it is.
fn spaceman<'img>(blocks: &Blocks<'img>, superblock: &Superblock) -> Option<Cow<'img, [u8]>> {
    let (base, len) = superblock.ring;
    let (first, count) = superblock.checkpoint;
    let most = blocks.view.size().checked_div(blocks.size)?;
    for step in 0..count.min(len).min(most) {
        let at = base.checked_add(first.checked_add(step)?.checked_rem(len)?)?;
        let Some(map) = blocks.object(at, CHECKPOINT_MAP) else { continue };
        let rows = usize::try_from(map.le32(36)?).ok()?.min(map.len() / 40);
        for row in 0..rows {
            let row = row.checked_mul(40)?.checked_add(40)?;
            if map.le64(row.checked_add(24)?) == Some(superblock.spaceman) {
                return blocks.object(map.le64(row.checked_add(32)?)?, SPACEMAN);
            }
        }
    }
    None
}

/// Reads the bitmaps.
struct Space<'a, 'img> {
    blocks: &'a Blocks<'img>,
    size: u64,
    free: Vec<Extent>,
    missing: u64,
    /// Blocks that may still be told of, or read for it: a sound container tells of each once.
    left: u64,
}

impl<'img> Space<'_, 'img> {
    fn read(&mut self, b: &[u8]) -> Option<()> {
        let (chunk_lists, groups) = (u64::from(b.le32(64)?), u64::from(b.le32(68)?));
        let addresses = usize::try_from(b.le32(80)?).ok()?;
        let count = if groups > 0 { groups } else { chunk_lists };
        for row in 0..usize::try_from(count).ok()?.min(b.len() / 8) {
            let Some(block) = b.le64(addresses.checked_add(row.checked_mul(8)?)?) else {
                self.missing = self.missing.saturating_add(1);
                continue;
            };
            if groups > 0 { self.group(block) } else { self.chunks(block) }
        }
        Some(())
    }

    /// A block that lists others.
    fn list(&mut self, block: u64) -> Option<Cow<'img, [u8]>> {
        self.left = self.left.checked_sub(1)?;
        self.blocks.sound(block)
    }

    /// A list of lists.
    fn group(&mut self, block: u64) {
        let Some(raw) = self.list(block) else {
            self.missing = self.missing.saturating_add(1);
            return;
        };
        let count = raw.le32(36).map_or(0, |n| crate::bytes::index(n.into())).min(raw.len() / 8);
        let (rows, _) = raw.get(40..).unwrap_or_default().as_chunks::<8>();
        rows.iter().take(count).for_each(|row| self.chunks(u64::from_le_bytes(*row)));
    }

    /// A list of chunks of blocks, each with its bitmap.
    fn chunks(&mut self, block: u64) {
        let Some(raw) = self.list(block) else {
            self.missing = self.missing.saturating_add(1);
            return;
        };
        let count = raw.le32(36).map_or(0, |n| crate::bytes::index(n.into()));
        let (rows, _) = raw.get(40..).unwrap_or_default().as_chunks::<32>();
        for row in rows.iter().take(count) {
            let chunk = (row.le64(8), row.le32(16), row.le64(24));
            if let (Some(first), Some(count), Some(map)) = chunk {
                self.chunk(first, count.into(), map);
            }
        }
    }

    fn chunk(&mut self, first: u64, count: u64, map: u64) {
        let count = count.min(self.left);
        self.left = self.left.saturating_sub(count.max(1));
        if map == 0 {
            return self.add(first, count);
        }
        let Some(bits) = self.blocks.read(map) else {
            self.missing = self.missing.saturating_add(1);
            return;
        };
        for (byte, at) in bits.iter().zip((0..count).step_by(8)) {
            let here = first.saturating_add(at);
            match byte {
                0xff => {}
                0 => self.add(here, count.saturating_sub(at).min(8)),
                _ => {
                    let clear = (0..count.saturating_sub(at).min(8)).filter(|bit| byte >> bit & 1 == 0);
                    clear.for_each(|bit| self.add(here.saturating_add(bit), 1));
                }
            }
        }
    }

    fn add(&mut self, block: u64, count: u64) {
        let extent = Extent::new(self.blocks.place(block), self.blocks.place(count));
        let extent = extent.intersect(Extent::new(0, self.size));
        match self.free.last_mut() {
            Some(last) if last.end() == extent.start => last.len = last.len.saturating_add(extent.len),
            _ => self.free.push(extent),
        }
    }
}
