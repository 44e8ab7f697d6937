//! The log: whether it holds changes that were not written back. They are not replayed, but said.
//!
//! "XFS Algorithms & Data Structures", "Journaling Log". The log is a ring of 512-byte blocks; each begins with the number
//! of its turn, or with the magic of a record's header. The youngest record of a volume that was unmounted says so.

use super::Disk;
use crate::bytes::Fields;

const BLOCK: u64 = 512;
const MAGIC: u32 = 0xfeed_babe;
/// Blocks of the longest record, with its headers.
const RECORD: u64 = 1024;
/// `XLOG_UNMOUNT_TRANS`.
const UNMOUNT: u8 = 0x20;

/// What the end of the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The volume was unmounted: nothing is left to be written back.
    Clean,
    /// Changes may be left in it. The place of its youngest record, in bytes of the volume.
    Open(u64),
    /// It is elsewhere, or no record can be read.
    Unknown,
}

/// Looks for the youngest record of the log.
pub(super) fn end(disk: &Disk<'_>) -> End {
    let sb = &disk.sb;
    let Some(start) = sb.byte_of(sb.log_start, sb.log_blocks).filter(|_| sb.log_start != 0) else {
        return End::Unknown;
    };
    let count = sb.log_blocks.saturating_mul(sb.block_size) / BLOCK;
    let log = Log { disk, start, count };
    let head = log.head();
    let back = |distance: u64| head.checked_add(count)?.checked_sub(distance)?.checked_rem(count);
    let record = (1..=RECORD.min(count)).filter_map(back).find(|block| log.word(*block, 0) == Some(MAGIC));
    let Some(at) = record.map(|block| start.saturating_add(block.saturating_mul(BLOCK))) else { return End::Unknown };
    let header = disk.read(at, BLOCK).unwrap_or_default();
    let operations = header.be32(40); // h_num_logops
    let size = header.be32(320).filter(|_| header.be32(8) == Some(2)); // h_size, h_version
    let headers = u64::from(size.unwrap_or(0)).div_ceil(32 << 10).max(1);
    let first = disk.read(at.saturating_add(headers.saturating_mul(BLOCK)), BLOCK).unwrap_or_default();
    let unmounted = operations == Some(1) && first.byte(9).is_some_and(|flags| flags & UNMOUNT != 0); // oh_flags
    if unmounted { End::Clean } else { End::Open(at) }
}

struct Log<'d, 'img> {
    disk: &'d Disk<'img>,
    start: u64,
    count: u64,
}

impl Log<'_, '_> {
    fn word(&self, block: u64, at: usize) -> Option<u32> {
        self.disk.read(self.start.checked_add(block.checked_mul(BLOCK)?)?, BLOCK)?.be32(at)
    }

    /// The turn in which a block was written.
    fn turn(&self, block: u64) -> u32 {
        match self.word(block, 0) {
            Some(MAGIC) => self.word(block, 4).unwrap_or(0),
            word => word.unwrap_or(0),
        }
    }

    /// The block behind the youngest one: where the number of the turn falls.
    fn head(&self) -> u64 {
        let first = self.turn(0);
        if self.turn(self.count.saturating_sub(1)) == first {
            return 0;
        }
        let (mut low, mut high) = (0, self.count);
        while high.saturating_sub(low) > 1 {
            let middle = low.saturating_add(high) / 2;
            if self.turn(middle) == first {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }
}
