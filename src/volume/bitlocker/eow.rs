//! Volumes that are encrypted as they are written: bitmaps tell which chunks are (structures as dissect.fve documents them).
//!
//! Little-endian, packed, each with a CRC-32 of the whole taken with zeros in its place. `FVE-EOW`: header size at 8, size at 10, bytes of a chunk
//! at 20, of a conversion log at 24, CRC at 36, places of bitmaps behind the header. A bitmap, `FVE-EOWBM`: size at 12, region at 20,
//! its size at 28, conversion log at 36, two records at 44, CRC at 56. A record, `FVE-EOWBR`: header size at 10, size at 12, bits at
//! 16, its number at 20, CRC at 32, then the bits, the lowest first; of two whole records the one of the higher number holds.

use crate::bytes::Fields;
use crate::extent::{Extent, ExtentSet};
use crate::image::View;
use std::collections::HashSet;

/// Bits of all records that are read at most: chunks of a megabyte of 64 TiB.
const MAX_BITS: u32 = 1 << 26;
/// Bytes of a record that are read at most: its bits and what stands before them.
const MAX_RECORD: u64 = 1 << 24 | 1 << 12;

/// What the bitmaps say.
#[derive(Default)]
pub(super) struct Spread {
    /// The stretches that are encrypted.
    pub encrypted: ExtentSet,
    /// The stretches that BitLocker keeps for itself, which the volume shows as zeros.
    pub own: Vec<Extent>,
}

/// What is encrypted in a volume of such sectors, by the first of the copies that is whole; none where no copy is.
pub(super) fn read(volume: View<'_>, places: &[u64], sector: u64) -> Option<Spread> {
    let (runs, mut own) = places.iter().find_map(|at| information(volume, *at))?;
    let size = |at: u64| volume.read(at, 12).ok()?.le16(10).map(|size| u64::from(size).next_multiple_of(sector));
    own.extend(places.iter().filter_map(|at| Some(Extent::new(*at, size(*at)?))));
    Some(Spread { encrypted: ExtentSet::new(runs), own })
}

/// Bytes of a structure whose sum is right, the sum standing at `place`.
fn summed(volume: View<'_>, at: u64, size: u64, signature: &[u8], place: usize) -> Option<Vec<u8>> {
    let bytes = volume.read(at, size).ok().filter(|bytes| bytes.starts_with(signature))?.into_owned();
    let told = bytes.le32(place)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(bytes.get(..place)?);
    crc.update(&[0; 4]);
    crc.update(bytes.get(place.checked_add(4)?..)?);
    (crc.finalize() == told).then_some(bytes)
}

fn information(volume: View<'_>, at: u64) -> Option<(Vec<Extent>, Vec<Extent>)> {
    let size = volume.read(at, 12).ok()?.le16(10)?;
    let head = summed(volume, at, size.into(), b"FVE-EOW\0", 36)?;
    let (chunk, log) = (u64::from(head.le32(20)?), u64::from(head.le32(24)?));
    let bitmaps = head.get(usize::from(head.le16(8)?)..)?;
    let (mut runs, mut own, mut places, mut left) = (Vec::new(), Vec::new(), HashSet::new(), MAX_BITS);
    for place in bitmaps.chunks_exact(8) {
        let place = place.le64(0).filter(|place| places.insert(*place))?;
        let head = bitmap(volume, place, chunk, (&mut runs, &mut left))?;
        own.push(Extent::new(place, head.le32(12)?.into()));
        own.push(Extent::new(head.le64(36)?, log));
    }
    Some((runs, own))
}

/// Adds the stretches that a bitmap says are encrypted; its header.
fn bitmap(volume: View<'_>, at: u64, chunk: u64, (runs, left): (&mut Vec<Extent>, &mut u32)) -> Option<Vec<u8>> {
    let first = volume.read(at, 60).ok()?.le32(44).map(u64::from)?;
    let head = summed(volume, at, first.clamp(60, MAX_RECORD), b"FVE-EOWBM\0", 56)?;
    let region = Extent::new(head.le64(20)?, head.le64(28)?);
    let record = |place: usize| {
        let at = at.checked_add(head.le32(place)?.into())?;
        let size = u64::from(volume.read(at, 36).ok()?.le32(12)?).min(MAX_RECORD);
        let record = summed(volume, at, size, b"FVE-EOWBR\0", 32)?;
        Some((record.le64(20)?, record))
    };
    let (_, record) = [record(44), record(48)].into_iter().flatten().max_by_key(|(number, _)| *number)?;
    let bits = record.le32(16)?;
    *left = left.checked_sub(bits)?;
    let bytes = record.get(usize::from(record.le16(10)?)..)?;
    for number in 0..bits {
        let byte = bytes.byte(usize::try_from(number >> 3).ok()?)?;
        if byte >> (number & 7) & 1 == 0 {
            continue;
        }
        let start = region.start.checked_add(u64::from(number).checked_mul(chunk)?)?;
        let run = Extent::new(start, chunk).intersect(region).intersect(Extent::new(0, volume.size()));
        if run.is_empty() {
            continue;
        }
        match runs.last_mut() {
            Some(last) if last.end() == run.start => last.len = last.len.saturating_add(run.len),
            _ => runs.push(run),
        }
    }
    Some(head)
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]
mod tests {
    use super::*;

    /// Writes a structure, and its sum.
    fn put(disk: &mut [u8], at: usize, bytes: &[u8], sum: usize) {
        disk[at..at + bytes.len()].copy_from_slice(bytes);
        disk[at + sum..at + sum + 4].copy_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    }

    fn record(number: u64, bits: u8) -> Vec<u8> {
        let mut bytes = b"FVE-EOWBR\0".to_vec();
        bytes.extend(36_u16.to_le_bytes());
        bytes.extend(64_u32.to_le_bytes());
        bytes.extend(8_u32.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes.resize(36, 0);
        bytes.push(bits);
        bytes.resize(64, 0);
        bytes
    }

    /// Two copies of what tells of one bitmap with two records, over eight chunks of 4 KiB from 8 KiB on.
    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 0x2_0000];
        let mut information = b"FVE-EOW\0".to_vec();
        information.extend([56, 0, 64, 0]);
        information.resize(20, 0);
        information.extend(4096_u32.to_le_bytes());
        information.extend(512_u32.to_le_bytes());
        information.resize(56, 0);
        information.extend(0x1_2000_u64.to_le_bytes());
        put(&mut disk, 0x1_0000, &information, 36);
        put(&mut disk, 0x1_1000, &information, 36);
        let mut bitmap = b"FVE-EOWBM\0".to_vec();
        bitmap.extend([60, 0]);
        bitmap.extend(1536_u32.to_le_bytes());
        bitmap.resize(20, 0);
        bitmap.extend(0x2000_u64.to_le_bytes());
        bitmap.extend(0x7800_u64.to_le_bytes());
        bitmap.extend(0x1_4000_u64.to_le_bytes());
        bitmap.extend(512_u32.to_le_bytes());
        bitmap.extend(1024_u32.to_le_bytes());
        bitmap.resize(512, 0);
        put(&mut disk, 0x1_2000, &bitmap, 56);
        put(&mut disk, 0x1_2200, &record(5, 0b1000_0110), 32);
        put(&mut disk, 0x1_2400, &record(4, 0b0000_0001), 32);
        disk
    }

    fn spread(disk: &[u8]) -> Option<Spread> {
        let image = crate::image::raw::of_bytes(disk).unwrap();
        read(View::whole(image.as_ref()), &[0x1_0000, 0x1_1000], 512)
    }

    #[test]
    fn the_newest_record_tells_which_chunks_are_encrypted() {
        let spread = spread(&disk()).unwrap();
        // The last chunk ends where the region does.
        assert_eq!(spread.encrypted.as_slice(), [Extent::new(0x3000, 0x2000), Extent::new(0x9000, 0x800)]);
        let own = ExtentSet::new(spread.own);
        let places = [(0x1_0000, 512), (0x1_1000, 512), (0x1_2000, 1536), (0x1_4000, 512)];
        assert_eq!(own.as_slice(), places.map(|(at, len)| Extent::new(at, len)));
    }

    #[test]
    fn what_is_damaged_is_read_from_the_other_copy() {
        let mut one = disk();
        one[0x1_0010] ^= 1;
        one[0x1_2220] ^= 1;
        assert_eq!(spread(&one).unwrap().encrypted.as_slice(), [Extent::new(0x2000, 0x1000)]);
        one[0x1_2425] ^= 1;
        assert!(spread(&one).is_none());
    }
}
