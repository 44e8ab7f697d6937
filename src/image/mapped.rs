//! An image whose bytes are those of another one, in another order: the past of a volume, put together out of what stands
//! there now and of what was kept. Nothing is copied; where each byte really stands stays known.

use super::{Image, ImageError, View};
use crate::bytes::index;
use crate::extent::Extent;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

/// The most that one part of zeros holds.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// A stretch of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the image.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// Where it stands in the view below; `None` for zeros that stand nowhere.
    pub place: Option<u64>,
}

impl Piece {
    const fn end(self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// What of it lies in `extent`.
    fn within(self, extent: Extent) -> Self {
        let common = Extent::new(self.start, self.len).intersect(extent);
        let skip = common.start.saturating_sub(self.start);
        Self { start: common.start, len: common.len, place: self.place.map(|at| at.saturating_add(skip)) }
    }

    /// Whether `next` goes on where this one ends, above and below.
    fn goes_on(self, next: Self) -> bool {
        let below = match (self.place, next.place) {
            (None, None) => true,
            (Some(at), Some(next)) => at.saturating_add(self.len) == next,
            _ => false,
        };
        below && self.end() == next.start
    }
}

/// Which stretches of an image stand elsewhere. All others stand where the mapping below says or, where there is none,
/// where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    pieces: Vec<Piece>,
    below: Option<Arc<Mapping>>,
}

impl Mapping {
    /// Lays pieces over a mapping. They are sorted and joined; of those that overlap, the first holds.
    pub fn over(mut pieces: Vec<Piece>, below: Option<Arc<Self>>) -> Self {
        pieces.sort_by_key(|piece| piece.start);
        let mut joined: Vec<Piece> = Vec::new();
        for piece in pieces {
            let from = joined.last().map_or(0, |last| last.end());
            let piece = piece.within(Extent::between(from, u64::MAX));
            match joined.last_mut() {
                _ if piece.len == 0 => {}
                Some(last) if last.goes_on(piece) => last.len = last.len.saturating_add(piece.len),
                _ => joined.push(piece),
            }
        }
        Self { pieces: joined, below }
    }

    /// The same bytes, their places told in what lies below the places: a mapping onto a volume that is mapped itself.
    pub fn onto(&self, below: &Self, size: u64) -> Self {
        let mut pieces = Vec::new();
        for piece in self.pieces(Extent::new(0, size)) {
            let Some(at) = piece.place else {
                pieces.push(piece);
                continue;
            };
            for under in below.pieces(Extent::new(at, piece.len)) {
                let start = piece.start.saturating_add(under.start.saturating_sub(at));
                pieces.push(Piece { start, ..under });
            }
        }
        Self::over(pieces, None)
    }

    /// Where the bytes of `extent` stand: in order, without gaps.
    pub fn pieces(&self, extent: Extent) -> impl Iterator<Item = Piece> + '_ {
        let mut at = extent.start;
        std::iter::from_fn(move || {
            let piece = self.piece(Extent::between(at, extent.end()));
            at = piece.end();
            (piece.len > 0).then_some(piece)
        })
    }

    /// The longest prefix of `extent` that stands in one piece.
    fn piece(&self, extent: Extent) -> Piece {
        let (mut layer, mut extent) = (self, extent);
        loop {
            let next = layer.pieces.partition_point(|piece| piece.end() <= extent.start);
            let next = layer.pieces.get(next);
            if let Some(piece) = next.filter(|piece| piece.start <= extent.start) {
                return piece.within(extent);
            }
            extent = extent.intersect(Extent::between(0, next.map_or(u64::MAX, |piece| piece.start)));
            let Some(below) = &layer.below else {
                return Piece { start: extent.start, len: extent.len, place: Some(extent.start) };
            };
            layer = below;
        }
    }

    /// Where byte `at` stands; none for a zero that stands nowhere.
    pub fn place(&self, at: u64) -> Option<u64> {
        self.piece(Extent::new(at, 1)).place
    }
}

/// A view with some of its stretches taken from elsewhere.
pub struct Mapped<'img> {
    below: View<'img>,
    mapping: &'img Mapping,
    size: u64,
}

impl<'img> Mapped<'img> {
    /// What `mapping` makes of `below`: `size` bytes.
    pub const fn new(below: View<'img>, mapping: &'img Mapping, size: u64) -> Self {
        Self { below, mapping, size }
    }
}

impl Image for Mapped<'_> {
    fn format(&self) -> &'static str {
        self.below.image().format()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn part(&self, extent: Extent) -> Result<Cow<'_, [u8]>, ImageError> {
        let end = extent.start.checked_add(extent.len);
        if end.is_none_or(|end| end > self.size()) {
            return Err(ImageError::Outside { at: extent.start, len: extent.len, size: self.size() });
        }
        let piece = self.mapping.piece(extent);
        match piece.place {
            Some(at) => self.below.part(Extent::new(at, piece.len)),
            None => Ok(Cow::Borrowed(ZEROS.get(..index(piece.len)).unwrap_or(&ZEROS))),
        }
    }

    fn unreadable(&self) -> Vec<Extent> {
        self.below.image().unreadable()
    }

    fn release(&self) {
        self.below.image().release();
    }

    fn files(&self) -> Vec<PathBuf> {
        self.below.image().files()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(start: u64, len: u64, place: Option<u64>) -> Piece {
        Piece { start, len, place }
    }

    #[test]
    fn bytes_come_from_where_the_pieces_say() -> Result<(), Box<dyn std::error::Error>> {
        let image = crate::image::raw::of_bytes(b"0123456789")?;
        let below = Mapping::over(vec![piece(6, 2, None), piece(2, 2, Some(4)), piece(4, 1, Some(1))], None);
        let mapping = Mapping::over(vec![piece(2, 1, Some(9)), piece(3, 1, Some(0))], Some(Arc::new(below)));
        let mapped = Mapped::new(View::whole(image.as_ref()), &mapping, 10);
        assert_eq!(View::whole(&mapped).read(0, 10)?.as_ref(), b"019015\0\089");
        assert!(View::whole(&mapped).read(9, 2).is_err());
        assert_eq!((mapping.place(2), mapping.place(7), mapping.place(8)), (Some(9), None, Some(8)));
        Ok(())
    }

    proptest! {
        #[test]
        fn any_pieces_give_every_byte_once(pieces in prop::collection::vec((0u64..40, 0u64..9, prop::option::of(0u64..60)), 0..12),
                                           split in 0usize..12, start in 0u64..50, len in 0u64..50) {
            let mut pieces: Vec<Piece> = pieces.into_iter().map(|(start, len, place)| piece(start, len, place)).collect();
            let below = pieces.split_off(split.min(pieces.len()));
            let mapping = Mapping::over(pieces, Some(Arc::new(Mapping::over(below, None))));
            let mut at = start;
            for piece in mapping.pieces(Extent::new(start, len)) {
                prop_assert_eq!(piece.start, at);
                for step in 0..piece.len {
                    prop_assert_eq!(mapping.place(at + step), piece.place.map(|place| place + step));
                }
                at += piece.len;
            }
            prop_assert_eq!(at, start + len);
        }
    }
}
