//! The journal of ext3 and ext4: older copies of metadata blocks, and those that a mount would still write back.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", "Journal (jbd2)". The journal is a ring: behind the
//! transactions of the last mount those of earlier ones stand until they are written over. Every descriptor block that
//! is still there is read, the newest first; a copy counts where no newer transaction wrote over it and its checksum,
//! if it has one, holds.

use super::checksum::crc32c;
use super::disk::Disk;
use super::inode::Inode;
use super::map::Mapper;
use super::superblock::Superblock;
use crate::bytes::{Fields, index};
use crate::content::{Content, Stream};
use crate::fuel::Fuel;
use crate::time::Timestamp;
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

const MAGIC: u32 = 0xc03b_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;
const REVOKE: u32 = 5;
const HEADER: usize = 12;

const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;

const FLAG_SAME_UUID: u32 = 2;
const FLAG_LAST: u32 = 8;

/// An older copy of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Copy {
    /// The block of the file system that it is a copy of.
    pub(super) block: u64,
    /// The transaction that wrote it: the higher, the later.
    pub(super) sequence: u32,
    /// Where it stands, in bytes of the volume.
    pub(super) place: u64,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug)]
struct Commit {
    time: Option<Timestamp>,
    /// The transaction that the block behind it belongs to.
    next: Option<u32>,
}

/// Mounting and unmounting count so many transactions that are never written.
const MOUNT_STEP: u32 = 3;

/// What the journal holds.
#[derive(Default)]
pub(super) struct Journal {
    /// Sorted by block, then by transaction.
    copies: Vec<Copy>,
    /// Transactions that were finished.
    commits: BTreeMap<u32, Commit>,
    /// The transaction at the ring's first block.
    first: Option<u32>,
    /// What a mount would write back: block, and byte of the volume at which its copy stands.
    pub(super) replay: HashMap<u64, u64>,
    /// The first transaction of those.
    replay_from: u32,
}

/// The journal's superblock.
struct Ring<'a> {
    disk: &'a Disk<'a>,
    content: Content<'a>,
    block_size: u64,
    first: u64,
    end: u64,
    sequence: u32,
    start: u64,
    incompat: u32,
    seed: u32,
}

/// One block that a descriptor announces.
struct Tag {
    block: u64,
    checksum: u32,
}

impl Journal {
    /// Reads the journal of a volume; empty where there is none. `Err` says why one cannot be read.
    pub(super) fn read(disk: &Disk<'_>, sb: &Superblock, inode: &Inode) -> Result<Self, String> {
        let free = crate::extent::ExtentSet::default();
        let mapper = Mapper { disk, sb, free: &free, older: None };
        let mapping = mapper.map(inode, false, None, &mut Fuel::new(sb.blocks_count.saturating_mul(2)));
        let ring = Ring::open(disk, Stream::plain(mapping.runs, inode.size))?;
        let mut journal = Self::default();
        let mut descriptors = Vec::new();
        let mut heads = HashSet::new();
        let own = |number: u64| ring.header(number).map(|(kind, sequence)| (number, kind, sequence));
        let found: Vec<(u64, u32, u32)> = (ring.first..ring.end).into_par_iter().filter_map(own).collect();
        for (number, kind, sequence) in found {
            heads.insert(number);
            match kind {
                DESCRIPTOR => descriptors.push((sequence, number)),
                COMMIT => {
                    let next = ring.header(ring.next(number)).map(|(_, sequence)| sequence);
                    journal.commits.insert(sequence, Commit { time: ring.commit_time(number), next });
                }
                _ => {}
            }
        }
        journal.first = ring.header(ring.first).map(|(_, sequence)| sequence);
        descriptors.sort_unstable_by(|a, b| b.cmp(a));
        let mut claimed = HashSet::new();
        for (sequence, number) in descriptors {
            journal.take(&ring, sequence, number, &heads, &mut claimed);
        }
        journal.copies.sort_unstable();
        if sb.needs_recovery() {
            journal.replay = ring.replay(sb.blocks_count);
            journal.replay_from = ring.sequence;
        }
        Ok(journal)
    }

    /// Keeps the copies that a descriptor announces and that are still there. A transaction that lacks any is a gap.
    fn take(
        &mut self,
        ring: &Ring<'_>,
        sequence: u32,
        descriptor: u64,
        heads: &HashSet<u64>,
        claimed: &mut HashSet<u64>,
    ) {
        let mut at = descriptor;
        for tag in ring.tags(descriptor) {
            at = ring.next(at);
            let own = !heads.contains(&at) && claimed.insert(at) && ring.holds(at, sequence, &tag);
            match ring.place(at).filter(|_| own) {
                Some(place) => self.copies.push(Copy { block: tag.block, sequence, place }),
                None => drop(self.commits.remove(&sequence)),
            }
        }
    }

    /// The copies of a block, oldest first.
    pub(super) fn of(&self, block: u64) -> &[Copy] {
        let from = self.copies.partition_point(|copy| copy.block < block);
        let to = self.copies.partition_point(|copy| copy.block <= block);
        self.copies.get(from..to).unwrap_or_default()
    }

    /// The copies of the blocks `from..to`, by block, oldest first.
    pub(super) fn among(&self, from: u64, to: u64) -> &[Copy] {
        let first = self.copies.partition_point(|copy| copy.block < from);
        let last = self.copies.partition_point(|copy| copy.block < to);
        self.copies.get(first..last).unwrap_or_default()
    }

    /// True where every transaction behind `from` up to `to` is there: nothing that they changed is unknown. Numbers are
    /// skipped when a volume is mounted, so that the place in the ring decides.
    pub(super) fn is_gapless(&self, from: u32, to: u32) -> bool {
        let (Some(first), true) = (self.commits.get(&from), from <= to) else { return false };
        let mut last = (from, *first);
        for (sequence, commit) in self.commits.range(from..=to).skip(1) {
            let (before, end) = last;
            let step = sequence.saturating_sub(before);
            let adjacent = end.next == Some(*sequence);
            // The last transaction of a mount has an older one behind it; the next mount may begin at the ring's start.
            let restarted = self.first == Some(*sequence) && end.next.is_none_or(|next| next < before);
            if step > 1 && !adjacent && !(restarted && step <= MOUNT_STEP) {
                return false;
            }
            last = (*sequence, *commit);
        }
        last.0 == to
    }

    /// Takes the blocks that the journal would change, as the disk holds them: where no transaction left them so, they
    /// are older than all of them.
    pub(super) fn add_disk(&mut self, disk: &Disk<'_>, block_size: u64) {
        let sequence = self.replay_from.saturating_sub(1);
        let read = |place: u64| disk.view.read(place, block_size).ok();
        let older = |block: &u64| {
            let own = read(block.saturating_mul(block_size));
            !self.of(*block).iter().any(|copy| read(copy.place) == own)
        };
        let copy = |block: u64| Copy { block, sequence, place: block.saturating_mul(block_size) };
        let found: Vec<Copy> = disk.changed().filter(older).map(copy).collect();
        self.copies.extend(found);
        self.copies.sort_unstable();
    }

    /// When a transaction was finished.
    pub(super) fn time(&self, sequence: u32) -> Option<Timestamp> {
        self.commits.get(&sequence).and_then(|commit| commit.time)
    }
}

impl<'a> Ring<'a> {
    fn open(disk: &'a Disk<'a>, stream: Stream) -> Result<Self, String> {
        let content = Content::of(disk.view, stream);
        let head = content.prefix(1024).into_owned();
        let parse = || {
            let kind = head.be32(4)?;
            if head.be32(0)? != MAGIC || !matches!(kind, SUPERBLOCK_V1 | SUPERBLOCK_V2) {
                return None;
            }
            let incompat = if kind == SUPERBLOCK_V2 { head.be32(40)? } else { 0 }; // s_feature_incompat
            let fast = if incompat & INCOMPAT_FAST_COMMIT != 0 { u64::from(head.be32(84)?) } else { 0 }; // s_num_fc_blks
            let block_size = u64::from(head.be32(12)?); // s_blocksize
            let known = content.size().checked_div(block_size)?;
            Some(Self {
                disk,
                block_size,
                first: u64::from(head.be32(20)?), // s_first
                end: u64::from(head.be32(16)?).min(known).saturating_sub(fast), // s_maxlen
                sequence: head.be32(24)?,         // s_sequence
                start: u64::from(head.be32(28)?), // s_start
                incompat,
                seed: crc32c(!0, head.span(48, 16)?), // s_uuid
                content: content.clone(),
            })
        };
        let ring = parse().filter(|ring| ring.first > 0 && ring.first < ring.end && ring.block_size >= 1024);
        ring.ok_or_else(|| "the journal has no possible superblock".to_owned())
    }

    /// Where a block of the journal stands in the volume.
    fn place(&self, number: u64) -> Option<u64> {
        let at = self.content.locate(number.checked_mul(self.block_size)?)?;
        Some(at.saturating_sub(self.disk.view.extent().start))
    }

    fn block(&self, number: u64) -> Option<Cow<'a, [u8]>> {
        self.disk.view.read(self.place(number)?, self.block_size).ok()
    }

    fn next(&self, number: u64) -> u64 {
        let next = number.saturating_add(1);
        if next >= self.end { self.first } else { next }
    }

    /// Type and transaction of a block of the journal's own; `None` for a copy.
    fn header(&self, number: u64) -> Option<(u32, u32)> {
        let head = self.disk.view.read(self.place(number)?, HEADER as u64).ok()?;
        (head.be32(0)? == MAGIC).then_some(())?;
        Some((head.be32(4)?, head.be32(8)?))
    }

    fn commit_time(&self, number: u64) -> Option<Timestamp> {
        let block = self.block(number)?;
        let seconds = i64::try_from(block.be64(48)?).ok().filter(|s| *s > 0)?; // h_commit_sec
        Timestamp::unix_nano(seconds, block.be32(56)?) // h_commit_nsec
    }

    /// What a descriptor announces, in the order in which the copies follow.
    fn tags(&self, descriptor: u64) -> Vec<Tag> {
        let Some(block) = self.block(descriptor) else { return Vec::new() };
        let mut tags = Vec::new();
        let mut at = HEADER;
        while let Some((tag, flags, len)) = self.tag(&block, at) {
            tags.push(tag);
            let uuid = if flags & FLAG_SAME_UUID == 0 { 16 } else { 0 };
            at = at.saturating_add(len).saturating_add(uuid);
            if flags & FLAG_LAST != 0 {
                break;
            }
        }
        tags
    }

    /// The tag at `at`, its flags and its length.
    fn tag(&self, b: &[u8], at: usize) -> Option<(Tag, u32, usize)> {
        let field = |skip: usize| at.checked_add(skip);
        let wide = self.incompat & INCOMPAT_64BIT != 0;
        let low = u64::from(b.be32(at)?); // t_blocknr
        if self.incompat & INCOMPAT_CSUM_V3 != 0 {
            let high = if wide { u64::from(b.be32(field(8)?)?) << 32 } else { 0 };
            return Some((Tag { block: high | low, checksum: b.be32(field(12)?)? }, b.be32(field(4)?)?, 16));
        }
        let high = if wide { u64::from(b.be32(field(8)?)?) << 32 } else { 0 }; // t_blocknr_high
        let checksum = u32::from(b.be16(field(4)?)?); // t_checksum
        let flags = u32::from(b.be16(field(6)?)?); // t_flags
        let extra = if self.incompat & INCOMPAT_CSUM_V2 != 0 { 2 } else { 0 };
        let len = (if wide { 12usize } else { 8 }).checked_add(extra)?;
        Some((Tag { block: high | low, checksum }, flags, len))
    }

    /// Whether the copy at `number` is what its tag says.
    fn holds(&self, number: u64, sequence: u32, tag: &Tag) -> bool {
        if self.incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) == 0 {
            return true;
        }
        let Some(block) = self.block(number) else { return false };
        let sum = crc32c(crc32c(self.seed, &sequence.to_be_bytes()), &block);
        let kept = if self.incompat & INCOMPAT_CSUM_V3 != 0 { sum } else { sum & 0xffff };
        kept == tag.checksum
    }

    /// What a mount would write back: the finished transactions from `s_start` on, without what they revoke.
    fn replay(&self, blocks: u64) -> HashMap<u64, u64> {
        let (mut written, mut revoked) = (Vec::new(), HashMap::new());
        let (mut at, mut sequence) = (self.start, self.sequence);
        let (mut open, mut revokes): (Vec<(u64, u64)>, Vec<u64>) = (Vec::new(), Vec::new());
        let mut left = self.end;
        while at >= self.first && at < self.end && left > 0 {
            let Some((kind, found)) = self.header(at) else { break };
            if found != sequence {
                break;
            }
            match kind {
                DESCRIPTOR => {
                    for tag in self.tags(at) {
                        at = self.next(at);
                        left = left.saturating_sub(1);
                        open.extend(self.place(at).map(|place| (tag.block, place)));
                    }
                }
                REVOKE => revokes.extend(self.revokes(at)),
                COMMIT => {
                    revoked.extend(revokes.drain(..).map(|block| (block, sequence)));
                    written.extend(open.drain(..).map(|(block, place)| (block, sequence, place)));
                    sequence = sequence.wrapping_add(1);
                }
                _ => break,
            }
            at = self.next(at);
            left = left.saturating_sub(1);
        }
        let kept = |(block, sequence, _): &(u64, u32, u64)| {
            *block < blocks && revoked.get(block).is_none_or(|by: &u32| by < sequence)
        };
        written.into_iter().filter(kept).map(|(block, _, place)| (block, place)).collect()
    }

    /// The blocks that a revoke block names.
    fn revokes(&self, number: u64) -> Vec<u64> {
        let Some(block) = self.block(number) else { return Vec::new() };
        let used = block.be32(HEADER).map_or(0, |count| index(count.into())); // r_count, in bytes
        let width = if self.incompat & INCOMPAT_64BIT != 0 { 8 } else { 4 };
        let entries = block.get(16..used).unwrap_or_default().chunks_exact(width);
        entries.filter_map(|b| if width == 8 { b.be64(0) } else { b.be32(0).map(u64::from) }).collect()
    }
}
