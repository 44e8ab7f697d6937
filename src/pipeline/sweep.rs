//! Carving without a case: windows in parallel, finds in the order of the disk.

use super::RELEASE_EVERY;
use crate::carve::{Carved, Find, Scan};
use crate::extent::Extent;
use crate::image::View;
use crate::plan::{Piece, WINDOW};
use crate::work::{carvable, guarded};
use rayon::prelude::*;

/// Windows that are carved at the same time, per thread: bounds what is held before it is taken.
const AHEAD: usize = 4;

/// A file found by its structure.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it lies in the image.
    pub extent: Extent,
    /// The carver's name.
    pub by: &'static str,
    /// What it is.
    pub carved: Carved,
}

/// Carves `stretches` and calls `take` with every find, in order; what starts inside a whole find is left out.
///
/// # Errors
/// The first error of `take`.
pub fn sweep<E>(
    disk: View<'_>,
    stretches: &[Extent],
    scan: &Scan<'_>,
    mut take: impl FnMut(&Found) -> Result<(), E>,
) -> Result<(), E> {
    let pieces: Vec<Piece> = stretches.iter().flat_map(|s| windows(*s)).collect();
    let (mut free, mut read) = (0u64, 0u64);
    for batch in pieces.chunks(rayon::current_num_threads().saturating_mul(AHEAD)) {
        let found: Vec<Vec<Found>> = batch.par_iter().map(|piece| carve(disk, *piece, scan)).collect();
        for find in found.iter().flatten() {
            if find.extent.start < free {
                continue;
            }
            if find.carved.whole {
                free = find.extent.end();
            }
            take(find)?;
        }
        read = batch.iter().fold(read, |sum, p| sum.saturating_add(p.extent.len));
        if read > RELEASE_EVERY {
            read = 0;
            disk.image().release();
        }
    }
    Ok(())
}

fn windows(stretch: Extent) -> impl Iterator<Item = Piece> {
    const STEP: u64 = WINDOW / 8;
    (0..stretch.len.div_ceil(STEP)).map(move |n| {
        let at = stretch.start.saturating_add(n.saturating_mul(STEP));
        Piece { extent: Extent::new(at, STEP).intersect(stretch), end: stretch.end() }
    })
}

fn carve(disk: View<'_>, piece: Piece, scan: &Scan<'_>) -> Vec<Found> {
    let bytes = carvable(disk, Extent::between(piece.extent.start, piece.end));
    let finds = guarded(|| scan.run(&bytes, crate::bytes::index(piece.extent.len))).unwrap_or_default();
    let place = |find: Find| {
        let start = piece.extent.start.saturating_add(find.at as u64);
        Found { extent: Extent::new(start, find.carved.len), by: find.by, carved: find.carved }
    };
    finds.into_iter().map(place).collect()
}
