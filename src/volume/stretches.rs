//! Bytes of a volume that is being put together, read out of its members.

use super::{Stretch, raid::slice};
use crate::bytes::index;
use crate::extent::Extent;
use crate::image::View;

/// The most that is read at once.
const MOST: u64 = 16 << 20;

/// `len` bytes at `at` of what these stretches, in order, make; none where a member does not have them.
pub(super) fn read(members: &[View<'_>], stretches: &[Stretch], at: u64, len: u64) -> Option<Vec<u8>> {
    if len > MOST {
        return None;
    }
    let mut bytes = vec![0; index(len)];
    let mut found = 0u64;
    for piece in slice(stretches, Extent::new(at, len)) {
        found = found.saturating_add(piece.len);
        let Some((row, place)) = piece.place else { continue };
        let part = members.get(row)?.read(place, piece.len).ok()?;
        let from = index(piece.start.checked_sub(at)?);
        bytes.get_mut(from..from.checked_add(part.len())?)?.copy_from_slice(&part);
    }
    (found == len).then_some(bytes)
}

/// The size of what they make.
pub(super) fn size(stretches: &[Stretch]) -> u64 {
    stretches.last().map_or(0, |last| last.start.saturating_add(last.len))
}
