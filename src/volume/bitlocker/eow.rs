//! Volumes that are encrypted as they are written: bitmaps tell which chunks are (structures as dissect.fve documents them).
//!
//! Little-endian, packed. `FVE-EOW`: header size at 8, size at 10, bytes of a chunk at 20, places of bitmaps behind the header. A
//! bitmap, `FVE-EOWBM`: region at 20, its size at 28, two records at 44. A record, `FVE-EOWBR`: header size at 10, bits at 16, its
//! number at 20, then the bits, the lowest first; of two records the one of the higher number holds.

use crate::bytes::Fields;
use crate::extent::{Extent, ExtentSet};
use crate::image::View;

/// Bits of one record that are read at most.
const MAX_BITS: u32 = 1 << 27;

/// What is encrypted; none where the bitmaps cannot be read.
pub(super) fn encrypted(volume: View<'_>, places: &[u64]) -> Option<ExtentSet> {
    places.iter().find_map(|at| information(volume, *at))
}

fn information(volume: View<'_>, at: u64) -> Option<ExtentSet> {
    let head = volume.read(at, 56).ok().filter(|head| head.starts_with(b"FVE-EOW\0"))?;
    let (from, size, chunk) = (head.le16(8)?, head.le16(10)?, u64::from(head.le32(20)?));
    let bitmaps = volume.read(at.checked_add(from.into())?, u64::from(size.checked_sub(from)?)).ok()?;
    let mut runs = Vec::new();
    for place in bitmaps.chunks_exact(8) {
        bitmap(volume, place.le64(0)?, chunk, &mut runs)?;
    }
    Some(ExtentSet::new(runs))
}

fn bitmap(volume: View<'_>, at: u64, chunk: u64, runs: &mut Vec<Extent>) -> Option<()> {
    let head = volume.read(at, 60).ok().filter(|head| head.starts_with(b"FVE-EOWBM\0"))?;
    let region = Extent::new(head.le64(20)?, head.le64(28)?);
    let record = |place: usize| {
        let at = at.checked_add(head.le32(place)?.into())?;
        let head = volume.read(at, 36).ok().filter(|head| head.starts_with(b"FVE-EOWBR\0"))?;
        let bits = head.le32(16).filter(|bits| *bits <= MAX_BITS)?;
        Some((head.le64(20)?, at.checked_add(head.le16(10)?.into())?, bits))
    };
    let (_, place, bits) = [record(44), record(48)].into_iter().flatten().max_by_key(|(number, ..)| *number)?;
    let bytes = volume.read(place, u64::from(bits.div_ceil(8))).ok()?;
    for number in 0..bits {
        let byte = bytes.byte(usize::try_from(number >> 3).ok()?)?;
        if byte >> (number & 7) & 1 == 0 {
            continue;
        }
        let start = region.start.checked_add(u64::from(number).checked_mul(chunk)?)?;
        let run = Extent::new(start, chunk).intersect(region);
        match runs.last_mut() {
            Some(last) if last.end() == run.start => last.len = last.len.saturating_add(run.len),
            _ => runs.push(run),
        }
    }
    Some(())
}
