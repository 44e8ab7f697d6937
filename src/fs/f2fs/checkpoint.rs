//! The checkpoint: which copy of each table holds, what is open, and the summaries that were not written yet.
//!
//! Kernel `f2fs_fs.h`, `struct f2fs_checkpoint`, and `checkpoint.c`, `segment.c` for where what lies. There are two packs; each
//! begins and ends with a block of one version, and the newer whole one holds.

use super::checksum;
use super::superblock::{BLOCK, Superblock};
use crate::bytes::{Fields, index, offset};
use crate::image::View;
use std::collections::{HashMap, HashSet};

const MAGIC: u32 = 0xf2f5_2010;
/// `ckpt_flags`.
const UNMOUNTED: u32 = 0x1;
const ORPHANS: u32 = 0x2;
const COMPACT: u32 = 0x4;
const ERROR: u32 = 0x8;
const FASTBOOT: u32 = 0x20;
const LARGE_NAT: u32 = 0x400;
const DISABLED: u32 = 0x1000;
/// Offset of the checksum where nothing else is said, and of the bitmaps.
const CHECKSUM: usize = 4092;
const BITMAPS: usize = 192;
/// The journal of a summary block stands behind its 512 rows of seven bytes.
const JOURNAL: usize = 3584;
const JOURNAL_SIZE: usize = 507;
const ROW: usize = 7;
/// Where the last row of a block of compact summaries may begin: in front of a footer of five bytes.
const LAST_ROW: usize = 4096 - 5 - ROW;
/// Where the checkpoint has, of each log of data and of nodes, its segment, how many blocks are written, and how it goes on.
const DATA: [(usize, usize, usize); 3] = [(84, 116, 176), (88, 118, 177), (92, 120, 178)];
const NODES: [(usize, usize, usize); 3] = [(36, 68, 179), (40, 70, 180), (44, 72, 181)];
/// Blocks that the bitmaps may take behind the first.
const MAX_PAYLOAD: u64 = 1 << 10;
/// Blocks of the lists of orphans that are read at most.
const MAX_ORPHANS: u64 = 1 << 12;

/// Which node a block belongs to, and its row there.
pub(super) type Owner = (u32, u16);

/// What was true when it was written.
pub(super) struct Checkpoint {
    /// Byte of the volume.
    pub(super) at: u64,
    pub(super) version: u64,
    pub(super) flags: u32,
    /// The bits that say which of two blocks of a table holds.
    nat: Vec<u8>,
    sit: Vec<u8>,
    /// Rows of the tables that were not written back: of nodes their inode and block, of segments 74 bytes.
    pub(super) nodes: HashMap<u32, (u32, u32)>,
    pub(super) segments: HashMap<u32, Vec<u8>>,
    /// Owners of the blocks that were written in segments that are open.
    pub(super) owners: HashMap<u32, Vec<Owner>>,
    /// Inodes without a name that were in use.
    pub(super) orphans: HashSet<u32>,
    /// Whether the other pack is damaged, or none.
    pub(super) alone: bool,
}

impl Checkpoint {
    /// The newer one of the two that are whole.
    pub(super) fn find(view: View<'_>, sb: &Superblock) -> Option<Self> {
        let starts = [sb.checkpoint, sb.checkpoint.saturating_add(sb.segment_blocks)];
        let packs: Vec<(u64, Vec<u8>)> =
            starts.into_iter().filter_map(|start| Some((start, pack(view, sb, start)?))).collect();
        let alone = packs.len() == 1;
        let (start, head) = packs.into_iter().max_by_key(|(_, head)| head.le64(0))?;
        Self::read(view, sb, start, &head, alone)
    }

    fn read(view: View<'_>, sb: &Superblock, start: u64, b: &[u8], alone: bool) -> Option<Self> {
        let (flags, count) = (b.le32(132)?, u64::from(b.le32(136)?));
        let (sit_size, nat_size) = (index(b.le32(156)?.into()), index(b.le32(160)?.into()));
        // The bitmaps may go on in the blocks behind the first.
        let all = view.read(sb.byte(start), sb.byte(sb.payload.min(MAX_PAYLOAD).checked_add(1)?)).ok()?;
        let (nat, sit) = match () {
            () if flags & LARGE_NAT != 0 => (BITMAPS.checked_add(4)?, BITMAPS.checked_add(4)?.checked_add(nat_size)?),
            () if sb.payload > 0 => (BITMAPS, index(BLOCK)),
            () => (BITMAPS.checked_add(sit_size)?, BITMAPS),
        };
        let (nat, sit) = (all.span(nat, nat_size)?, all.span(sit, sit_size)?);
        let mut checkpoint = Self {
            at: sb.byte(start),
            version: b.le64(0)?,
            flags,
            nat: nat.to_vec(),
            sit: sit.to_vec(),
            nodes: HashMap::new(),
            segments: HashMap::new(),
            owners: HashMap::new(),
            orphans: HashSet::new(),
            alone,
        };
        let first = start.checked_add(b.le32(140)?.into())?;
        // What was written there was nobody's data: no row of a file.
        let nodes = NODES.iter().filter_map(|places| Log::read(sb, b, *places));
        checkpoint.owners = nodes.map(|log| (log.segment, vec![(0, 0); log.used])).collect();
        let logs: Vec<Log> = DATA.iter().filter_map(|places| Log::read(sb, b, *places)).collect();
        if flags & COMPACT != 0 {
            checkpoint.compact(view, sb, &logs, first);
        } else {
            checkpoint.normal(view, sb, &logs, start.checked_add(count)?);
        }
        if flags & ORPHANS != 0 {
            let from = start.saturating_add(1).saturating_add(sb.payload);
            checkpoint.orphans = orphans(view, sb, from, first.saturating_sub(from).min(MAX_ORPHANS));
        }
        Some(checkpoint)
    }

    /// A block for each log of data, in front of those of nodes if the volume was unmounted, and of the last.
    fn normal(&mut self, view: View<'_>, sb: &Superblock, logs: &[Log], end: u64) {
        let behind =
            if self.flags & (UNMOUNTED | FASTBOOT) != 0 { DATA.len().saturating_add(NODES.len()) } else { DATA.len() };
        let first = end.saturating_sub(offset(behind)).saturating_sub(1);
        for (number, log) in logs.iter().enumerate() {
            let Ok(bytes) = view.read(sb.byte(first.saturating_add(offset(number))), BLOCK) else { continue };
            let rows = bytes.get(..JOURNAL).unwrap_or_default().chunks_exact(ROW);
            self.owners.insert(log.segment, rows.take(log.used).map(owner).collect());
            let journal = bytes.get(JOURNAL..).unwrap_or_default();
            match number {
                0 => self.journal_of_nodes(journal),
                2 => self.journal_of_segments(journal),
                _ => {}
            }
        }
    }

    /// Both journals, then the rows of the logs of data, as many as were written.
    fn compact(&mut self, view: View<'_>, sb: &Superblock, logs: &[Log], first: u64) {
        let mut blocks = (first..).map(|block| view.read(sb.byte(block), BLOCK).ok());
        let Some(mut bytes) = blocks.next().flatten() else { return };
        self.journal_of_nodes(&bytes);
        self.journal_of_segments(bytes.get(JOURNAL_SIZE..).unwrap_or_default());
        let mut at = JOURNAL_SIZE * 2;
        for log in logs {
            let mut owners = Vec::with_capacity(log.used);
            for _ in 0..log.used {
                owners.push(bytes.span(at, ROW).map_or((0, 0), owner));
                at = at.saturating_add(ROW);
                if at > LAST_ROW {
                    let Some(next) = blocks.next().flatten() else { return };
                    (bytes, at) = (next, 0);
                }
            }
            self.owners.insert(log.segment, owners);
        }
    }

    fn journal_of_nodes(&mut self, b: &[u8]) {
        let count = b.le16(0).map_or(0, usize::from).min((JOURNAL_SIZE - 2) / 13);
        let rows = b.get(2..JOURNAL_SIZE).unwrap_or_default().chunks_exact(13).take(count);
        self.nodes.extend(rows.filter_map(|row| Some((row.le32(0)?, (row.le32(5)?, row.le32(9)?)))));
    }

    fn journal_of_segments(&mut self, b: &[u8]) {
        let count = b.le16(0).map_or(0, usize::from).min((JOURNAL_SIZE - 2) / 78);
        let rows = b.get(2..JOURNAL_SIZE).unwrap_or_default().chunks_exact(78).take(count);
        self.segments.extend(rows.filter_map(|row| Some((row.le32(0)?, row.get(4..)?.to_vec()))));
    }

    /// Whether the second of the two blocks of a table holds: of nodes, of segments.
    pub(super) fn nat_is_second(&self, block: u64) -> bool {
        bit(&self.nat, block)
    }

    pub(super) fn sit_is_second(&self, block: u64) -> bool {
        bit(&self.sit, block)
    }

    /// Whether nothing was written after it.
    pub(super) const fn is_last(&self) -> bool {
        self.flags & UNMOUNTED != 0
    }

    /// What its flags say of the volume's state.
    pub(super) fn remarks(&self) -> Vec<&'static str> {
        let told = [
            (ERROR, "the file system was found in error and not checked since"),
            (DISABLED, "checkpoints were switched off: what was written since is not listed"),
        ];
        told.into_iter().filter(|(flag, _)| self.flags & flag != 0).map(|(_, what)| what).collect()
    }
}

/// A bit of a bitmap, the highest first.
pub(super) fn bit(bits: &[u8], number: u64) -> bool {
    let byte = bits.get(index(number >> 3)).copied().unwrap_or(0);
    byte & 0x80 >> (number & 7) != 0
}

/// A segment that is written to, and how many of its blocks have a row of their own.
struct Log {
    segment: u32,
    used: usize,
}

impl Log {
    fn read(sb: &Superblock, b: &[u8], (segment, used, way): (usize, usize, usize)) -> Option<Self> {
        // A log that goes on in the holes of a segment has rows for all of it.
        let used = if b.byte(way)? == 1 { sb.segment_blocks } else { b.le16(used)?.into() };
        Some(Self { segment: b.le32(segment)?, used: index(used.min(sb.segment_blocks)) })
    }
}

/// The owner in a row of a summary.
pub(super) fn owner(row: &[u8]) -> Owner {
    (row.le32(0).unwrap_or(0), row.le16(5).unwrap_or(0))
}

/// The first block of a pack that is whole.
fn pack(view: View<'_>, sb: &Superblock, start: u64) -> Option<Vec<u8>> {
    let head = sound(view, sb, start)?;
    let count = u64::from(head.le32(136)?);
    let last = sound(view, sb, start.checked_add(count)?.checked_sub(1)?)?;
    (count >= 2 && head.le64(0) == last.le64(0)).then_some(head)
}

/// A block of a checkpoint whose checksum is right.
fn sound(view: View<'_>, sb: &Superblock, block: u64) -> Option<Vec<u8>> {
    let bytes = view.read(sb.byte(block), BLOCK).ok()?.into_owned();
    let at = index(bytes.le32(164)?.into());
    let mut sum = checksum::of(MAGIC, bytes.get(..at)?);
    if (BITMAPS..CHECKSUM).contains(&at) {
        sum = checksum::of(sum, bytes.get(at.checked_add(4)?..)?);
    }
    (bytes.le32(at)? == sum).then_some(bytes)
}

/// Inodes that were in use when their last name was taken.
fn orphans(view: View<'_>, sb: &Superblock, from: u64, blocks: u64) -> HashSet<u32> {
    let list = |block: u64| {
        let bytes = view.read(sb.byte(from.saturating_add(block)), BLOCK).ok()?;
        let count = index(bytes.le32(4088)?.into()).min(1020);
        Some(bytes.chunks_exact(4).take(count).filter_map(|row| row.le32(0)).collect::<Vec<u32>>())
    };
    (0..blocks).filter_map(list).flatten().collect()
}
