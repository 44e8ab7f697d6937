//! What arrays keep twice: copies of a volume's bytes, and parity. Where they do not fit, a member was changed by something that knew
//! nothing of the array.

use super::raid::Parity;
use super::{Layout, Volume};
use crate::bytes::{index, offset};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::image::View;
use crate::image::mapped::Piece;
use rayon::prelude::*;

/// Bytes that are compared by one worker at a time; larger chunks of arrays are none.
const WINDOW: u64 = 16 << 20;
const SECTOR: usize = 512;
/// Stretches that are told of one volume.
const MOST: usize = 1024;

/// A volume whose members differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// Number of the volume.
    pub number: u32,
    /// Where the first difference stands, in the copy that is not read or in the parity, and how much differs.
    pub sign: Fault,
    /// What of the other copy differs, or which parity, in bytes of the image.
    pub extents: Vec<Extent>,
}

/// What of a stretch does not fit.
#[derive(Default)]
struct Unlike {
    /// The first stretches, in bytes of the image.
    extents: Vec<Extent>,
    /// All bytes that do not fit.
    bytes: u64,
    /// Bytes that could not be read, and were not compared.
    unread: u64,
}

impl Unlike {
    /// Both, the second behind the first: the same however they are brought together.
    fn and(mut self, other: Self) -> Self {
        let room = MOST.saturating_sub(self.extents.len());
        self.extents.extend(other.extents.into_iter().take(room));
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.unread = self.unread.saturating_add(other.unread);
        self
    }

    fn of(extents: impl Iterator<Item = Extent>) -> Self {
        let joined = ExtentSet::new(extents.collect());
        let extents = joined.as_slice().iter().take(MOST).copied().collect();
        Self { extents, bytes: joined.total(), unread: 0 }
    }
}

/// Compares all copies of a disk's volumes with what is read of them, and parity with what it was made of: reads all of that.
pub fn disagreements(disk: View<'_>, layout: &Layout) -> Vec<Disagreement> {
    let volume = |number: u32| layout.volumes.iter().find(|volume| volume.number == number);
    let mirrored = |(number, copies): &(u32, Vec<Piece>)| {
        let volume = volume(*number)?;
        let windows: Vec<Piece> = copies.iter().flat_map(|piece| windows(*piece)).collect();
        let unlike = windows.par_iter().map(|piece| compare(disk, volume, *piece)).reduce(Unlike::default, Unlike::and);
        tell(volume, &unlike, &format!("of a copy differ from the one that is read of {}", volume.name))
    };
    let checked = |(number, parity): &(u32, Parity<Piece>)| {
        let volume = volume(*number).filter(|_| parity.chunk <= WINDOW)?;
        let stripes = 0..parity.len.checked_div(parity.chunk)?;
        let unlike = |stripe| {
            let unread = || Unlike { unread: parity.chunk, ..Unlike::default() };
            stripe_unlike(disk, parity, stripe).unwrap_or_else(unread)
        };
        let unlike = stripes.into_par_iter().map(unlike).reduce(Unlike::default, Unlike::and);
        tell(volume, &unlike, &format!("of parity do not fit the data of {}", volume.name))
    };
    layout.copies.iter().filter_map(mirrored).chain(layout.parities.iter().filter_map(checked)).collect()
}

fn tell(volume: &Volume, unlike: &Unlike, what: &str) -> Option<Disagreement> {
    let first = unlike.extents.first().map_or(volume.first(), |first| first.start);
    let rest = match unlike.unread {
        0 => String::new(),
        unread => format!("; {unread} bytes could not be read, and were not compared"),
    };
    let sign = Fault::new(first, &volume.type_name, format!("{} bytes {what}{rest}", unlike.bytes));
    let extents = ExtentSet::new(unlike.extents.clone()).as_slice().to_vec();
    (unlike.bytes > 0 || unlike.unread > 0).then_some(Disagreement { number: volume.number, sign, extents })
}

/// The sectors of parity in a stripe that are not what the data gives; `None` where not all of it can be read.
fn stripe_unlike(disk: View<'_>, parity: &Parity<Piece>, stripe: u64) -> Option<Unlike> {
    let extent = Extent::new(stripe.checked_mul(parity.chunk)?, parity.chunk);
    let (first, second) = parity.at(extent.start)?;
    let mut sum = vec![0; index(extent.len)];
    for (_, member) in parity.members.iter().enumerate().filter(|(number, _)| Some(*number) != second) {
        for piece in within(member, extent) {
            let bytes = disk.read(piece.place?, piece.len).ok()?;
            let from = index(piece.start.checked_sub(extent.start)?);
            sum.get_mut(from..)?.iter_mut().zip(bytes.iter()).for_each(|(sum, byte)| *sum ^= byte);
        }
    }
    if crate::bytes::all_zero(&sum) {
        return Some(Unlike::default());
    }
    let sectors = sum.chunks(SECTOR).enumerate().filter(|(_, sector)| !crate::bytes::all_zero(sector));
    let at = |(number, sector): (usize, &[u8])| {
        let at = extent.start.saturating_add(offset(number).saturating_mul(SECTOR as u64));
        let piece = within(parity.members.get(first)?, Extent::new(at, sector.len() as u64)).next()?;
        Some(Extent::new(piece.place?, piece.len))
    };
    Some(Unlike::of(sectors.filter_map(at)))
}

/// What of pieces in order lies in `extent`.
fn within(pieces: &[Piece], extent: Extent) -> impl Iterator<Item = Piece> + '_ {
    let first = pieces.partition_point(|piece| piece.start.saturating_add(piece.len) <= extent.start);
    let rest = pieces.get(first..).unwrap_or_default().iter().take_while(move |piece| piece.start < extent.end());
    rest.map(move |piece| {
        let common = Extent::new(piece.start, piece.len).intersect(extent);
        let place = piece.place.map(|place| place.saturating_add(common.start.saturating_sub(piece.start)));
        Piece { start: common.start, len: common.len, place }
    })
}

fn windows(piece: Piece) -> impl Iterator<Item = Piece> {
    (0..piece.len.div_ceil(WINDOW)).map(move |number| {
        let skip = number.saturating_mul(WINDOW);
        let place = piece.place.map(|place| place.saturating_add(skip));
        Piece { start: piece.start.saturating_add(skip), len: WINDOW.min(piece.len.saturating_sub(skip)), place }
    })
}

/// The sectors of a copy that are not as the volume's.
fn compare(disk: View<'_>, volume: &Volume, copy: Piece) -> Unlike {
    let unread = Unlike { unread: copy.len, ..Unlike::default() };
    let Some(place) = copy.place else { return Unlike::default() };
    let read = volume.with(disk, |view| view.read(copy.start, copy.len).map(|bytes| bytes.into_owned()));
    let (Ok(own), Ok(other)) = (read, disk.read(place, copy.len)) else { return unread };
    if own.as_slice() == other.as_ref() {
        return Unlike::default();
    }
    let sectors = own.chunks(SECTOR).zip(other.chunks(SECTOR)).enumerate();
    let unlike = sectors.filter(|(_, (own, other))| own != other);
    let at = |number: usize| place.saturating_add(offset(number).saturating_mul(SECTOR as u64));
    Unlike::of(unlike.map(|(number, (_, other))| Extent::new(at(number), other.len() as u64)))
}
