//! The store of a snapshot (`drivers/md/dm-snap-persistent.c`): which chunks of the volume stood where when it was taken.
//!
//! Little-endian. Chunk 0: `SnAp`, valid, version, sectors of a chunk. Then areas: a chunk of entries (old chunk, new chunk, eight
//! bytes each) and the chunks that it names; an entry whose new chunk is 0 ends the list.

use crate::bytes::Fields;
use crate::extent::Extent;
use crate::image::View;
use crate::volume::{Stretch, raid, stretches};

/// More chunks than any store has.
const MOST: usize = 1 << 22;

/// A volume of that time: `origin` with what the store holds laid over it.
///
/// # Errors
/// A sentence where the store cannot be read, or says of itself that it overflowed.
pub(super) fn over(members: &[View<'_>], origin: &[Stretch], store: &[Stretch]) -> Result<Vec<Stretch>, String> {
    let header = stretches::read(members, store, 0, 16).ok_or("the snapshot's store cannot be read")?;
    let field = |at: usize| header.le32(at).unwrap_or(0);
    if header.span(0, 4) != Some(b"SnAp") {
        return Err("the snapshot's store has no header".to_owned());
    }
    if field(4) == 0 {
        return Err("the snapshot's store overflowed: what it held is no longer whole".to_owned());
    }
    let chunk = u64::from(field(12)).saturating_mul(512);
    if !chunk.is_power_of_two() || !(512..=1 << 24).contains(&chunk) {
        return Err("the snapshot's store has chunks of an impossible size".to_owned());
    }
    let entries = chunk.checked_div(16).unwrap_or(0);
    let mut exceptions = Vec::new();
    let mut area = 1u64;
    'areas: loop {
        let table = stretches::read(members, store, area.saturating_mul(chunk), chunk)
            .ok_or("an area of the snapshot's store lies outside of it")?;
        for entry in table.chunks_exact(16) {
            let (Some(old), Some(new)) = (entry.le64(0), entry.le64(8)) else { break 'areas };
            if new == 0 || exceptions.len() >= MOST {
                break 'areas;
            }
            exceptions.push((old, new));
        }
        area = area.saturating_add(entries).saturating_add(1);
    }
    exceptions.sort_unstable();
    exceptions.dedup_by_key(|(old, _)| *old);
    let mut whole: Vec<Stretch> = Vec::new();
    let (mut at, size) = (0u64, stretches::size(origin));
    for (old, new) in exceptions {
        let start = old.saturating_mul(chunk).min(size);
        whole.extend(raid::slice(origin, Extent::between(at, start)));
        let extent = Extent::new(new.saturating_mul(chunk), chunk.min(size.saturating_sub(start)));
        let moved =
            |piece: Stretch| Stretch { start: start.saturating_add(piece.start.saturating_sub(extent.start)), ..piece };
        whole.extend(raid::slice(store, extent).map(moved));
        at = start.saturating_add(extent.len);
    }
    whole.extend(raid::slice(origin, Extent::between(at, size)));
    Ok(whole)
}
