//! Copies of a volume's bytes that mirrors keep: where they differ, one of them was changed by something that knew nothing of
//! the other.

use super::{Layout, Volume};
use crate::bytes::offset;
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::image::View;
use crate::image::mapped::Piece;
use rayon::prelude::*;

/// Bytes that are compared by one worker at a time.
const WINDOW: u64 = 16 << 20;
const SECTOR: usize = 512;
/// Stretches that are told of one volume.
const MOST: usize = 1024;

/// A volume whose copies differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// Number of the volume.
    pub number: u32,
    /// Where the first difference stands, in the copy that is not read, and how much differs.
    pub sign: Fault,
    /// What of the other copy differs, in bytes of the image.
    pub extents: Vec<Extent>,
}

/// Compares all copies of a disk's volumes with what is read of them: reads both.
pub fn disagreements(disk: View<'_>, layout: &Layout) -> Vec<Disagreement> {
    let of = |(number, copies): &(u32, Vec<Piece>)| {
        let volume = layout.volumes.iter().find(|volume| volume.number == *number)?;
        let windows: Vec<Piece> = copies.iter().flat_map(|piece| windows(*piece)).collect();
        let unlike: Vec<Vec<Extent>> = windows.par_iter().map(|piece| compare(disk, volume, *piece)).collect();
        let unlike = ExtentSet::new(unlike.into_iter().flatten().collect());
        let first = unlike.as_slice().first()?;
        let what = format!("{} bytes of a copy differ from the one that is read of {}", unlike.total(), volume.name);
        let sign = Fault::new(first.start, &volume.type_name, what);
        let extents = unlike.as_slice().iter().take(MOST).copied().collect();
        Some(Disagreement { number: *number, sign, extents })
    };
    layout.copies.iter().filter_map(of).collect()
}

fn windows(piece: Piece) -> impl Iterator<Item = Piece> {
    (0..piece.len.div_ceil(WINDOW)).map(move |number| {
        let skip = number.saturating_mul(WINDOW);
        let place = piece.place.map(|place| place.saturating_add(skip));
        Piece { start: piece.start.saturating_add(skip), len: WINDOW.min(piece.len.saturating_sub(skip)), place }
    })
}

/// The sectors of a copy that are not as the volume's.
fn compare(disk: View<'_>, volume: &Volume, copy: Piece) -> Vec<Extent> {
    let Some(place) = copy.place else { return Vec::new() };
    let read = volume.with(disk, |view| view.read(copy.start, copy.len).map(|bytes| bytes.into_owned()));
    let (Ok(own), Ok(other)) = (read, disk.read(place, copy.len)) else { return Vec::new() };
    if own.as_slice() == other.as_ref() {
        return Vec::new();
    }
    let sectors = own.chunks(SECTOR).zip(other.chunks(SECTOR)).enumerate();
    let unlike = sectors.filter(|(_, (own, other))| own != other);
    let at = |number: usize| place.saturating_add(offset(number).saturating_mul(SECTOR as u64));
    let extent = |(number, (_, other)): (usize, (&[u8], &[u8]))| Extent::new(at(number), other.len() as u64);
    ExtentSet::new(unlike.map(extent).collect()).as_slice().iter().take(MOST).copied().collect()
}
