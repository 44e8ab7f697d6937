//! Evidence with some of its stretches decoded where they stand, and with what stands nowhere behind its end: volumes that were
//! unlocked, and what a missing member of an array had.
//!
//! A decoded byte has the address of the byte that holds it, so that whatever is found has its place on the evidence. Computed
//! bytes have addresses behind the end of the evidence. The evidence itself, as it is hashed and sealed, is
//! [`Image::original`].

use super::{Image, ImageError, Kind, View, about, folder, galois};
use crate::bytes::{index, offset};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

/// The most that one part holds.
const PART: u64 = 1 << 20;
/// Computed bytes begin at a multiple of this.
const ALIGN: u64 = 1 << 20;

/// Undoes what was done to each sector.
pub trait Decode: Send + Sync {
    /// Bytes of a sector.
    fn sector(&self) -> u64;

    /// Decodes sector `number` in place.
    fn decode(&self, number: u64, sector: &mut [u8]);
}

/// How the bytes of a stretch come about.
#[derive(Clone)]
pub enum How {
    /// Decoded, sector by sector; the first has this number.
    Decoded(Arc<dyn Decode>, u64),
    /// As they stand at another place.
    Moved,
    /// Zeros.
    Zeros,
    /// These bytes.
    Given(Vec<u8>),
    /// The sum of what stands at these places; of none, where it is lost.
    Computed(Vec<Term>),
}

/// A stretch that is not as the evidence has it.
#[derive(Clone)]
pub struct Overlay {
    /// Where it is shown.
    pub at: u64,
    /// Length in bytes.
    pub len: u64,
    /// Where its bytes come from.
    pub from: u64,
    /// How.
    pub how: How,
}

impl Overlay {
    const fn extent(&self) -> Extent {
        Extent::new(self.at, self.len)
    }
}

/// A volume that was unlocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Where the first byte of the locked volume stands.
    pub holder: u64,
    /// Size of the locked volume in bytes.
    pub holder_size: u64,
    /// Its UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is, and what opened it.
    pub type_name: String,
    /// Where in the locked volume its bytes are shown.
    pub shown: Extent,
    /// What is damaged of what tells how it is locked.
    pub faults: Vec<Fault>,
}

/// An array of which a part is computed: its id, and how many bytes of what else.
pub type Rebuilt = (String, Vec<(u64, Vec<Term>)>);

/// Where bytes stand that go into a sum, and what each is multiplied with (see [`galois`]).
pub type Term = (u64, u8);

/// See the head of this file.
pub struct Derived {
    below: Box<dyn Image>,
    /// Sorted; none overlap.
    overlays: Vec<Overlay>,
    opened: Vec<Opened>,
    rebuilt: Vec<(String, u64)>,
    size: u64,
}

impl Derived {
    /// Lays stretches over evidence, and puts behind it what is computed.
    pub fn over(below: Box<dyn Image>, mut overlays: Vec<Overlay>, opened: Vec<Opened>, rebuilt: Vec<Rebuilt>) -> Self {
        overlays.sort_by_key(|overlay| overlay.at);
        let mut end = 0u64;
        overlays.retain(|overlay| {
            let fits = overlay.at >= end;
            end = end.max(overlay.extent().end());
            fits
        });
        let mut size = below.size();
        let mut named = Vec::new();
        for (id, pieces) in rebuilt {
            size = size.div_ceil(ALIGN).saturating_mul(ALIGN);
            named.push((id, size));
            for (len, of) in pieces {
                overlays.push(Overlay { at: size, len, from: 0, how: How::Computed(of) });
                size = size.saturating_add(len);
            }
        }
        let opened = below.opened().iter().cloned().chain(opened).collect();
        Self { below, overlays, opened, rebuilt: named, size }
    }

    fn decoded(&self, overlay: &Overlay, skip: u64, len: u64) -> Result<Vec<u8>, ImageError> {
        let from = overlay.from.saturating_add(skip);
        let below = View::whole(self.below.as_ref());
        match &overlay.how {
            How::Zeros => Ok(vec![0; index(len)]),
            How::Given(bytes) => {
                let given = bytes.get(index(skip)..).unwrap_or_default().iter().copied();
                Ok(given.chain(std::iter::repeat(0)).take(index(len)).collect())
            }
            How::Moved => Ok(below.read(from, len)?.into_owned()),
            How::Computed(of) => {
                let mut sum = vec![0; index(len)];
                for (place, factor) in of {
                    let bytes = below.read(place.saturating_add(skip), len)?;
                    if *factor == 1 {
                        sum.iter_mut().zip(bytes.iter()).for_each(|(sum, byte)| *sum ^= byte);
                    } else {
                        let products = galois::products(*factor);
                        let product = |byte: &u8| products.get(usize::from(*byte)).copied().unwrap_or(0);
                        sum.iter_mut().zip(bytes.iter()).for_each(|(sum, byte)| *sum ^= product(byte));
                    }
                }
                Ok(sum)
            }
            How::Decoded(decode, first) => {
                let sector = decode.sector().max(1);
                let inside = skip.checked_rem(sector).unwrap_or(0);
                let start = skip.saturating_sub(inside);
                let end = skip.saturating_add(len).div_ceil(sector).saturating_mul(sector).min(overlay.len);
                let mut bytes = below.read(overlay.from.saturating_add(start), end.saturating_sub(start))?.into_owned();
                let first = first.saturating_add(start.checked_div(sector).unwrap_or(0));
                for (number, sector) in bytes.chunks_mut(index(sector)).enumerate() {
                    decode.decode(first.saturating_add(offset(number)), sector);
                }
                bytes.drain(..index(inside).min(bytes.len()));
                bytes.truncate(index(len));
                Ok(bytes)
            }
        }
    }
}

impl Image for Derived {
    fn format(&self) -> &'static str {
        self.below.format()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn part(&self, extent: Extent) -> Result<Cow<'_, [u8]>, ImageError> {
        let end = extent.start.checked_add(extent.len);
        if end.is_none_or(|end| end > self.size) {
            return Err(ImageError::Outside { at: extent.start, len: extent.len, size: self.size });
        }
        let next = self.overlays.partition_point(|overlay| overlay.extent().end() <= extent.start);
        let next = self.overlays.get(next);
        if let Some(overlay) = next.filter(|overlay| overlay.at <= extent.start) {
            let here = extent.intersect(overlay.extent());
            let skip = here.start.saturating_sub(overlay.at);
            return self.decoded(overlay, skip, here.len.min(PART)).map(Cow::Owned);
        }
        let here = extent.intersect(Extent::between(0, next.map_or(u64::MAX, |overlay| overlay.at)));
        let there = here.intersect(Extent::new(0, self.below.size()));
        if there.is_empty() && !here.is_empty() {
            // Between the end of the evidence and what is computed.
            return Ok(Cow::Owned(vec![0; index(here.len.min(PART))]));
        }
        self.below.part(there)
    }

    fn unreadable(&self) -> Vec<Extent> {
        let is_lost = |overlay: &&Overlay| matches!(&overlay.how, How::Computed(of) if of.is_empty());
        let lost = self.overlays.iter().filter(is_lost).map(Overlay::extent);
        ExtentSet::new(self.below.unreadable().into_iter().chain(lost).collect()).as_slice().to_vec()
    }

    fn release(&self) {
        self.below.release();
    }

    fn files(&self) -> Vec<PathBuf> {
        self.below.files()
    }

    fn about(&self) -> &about::About {
        self.below.about()
    }

    fn kind(&self) -> Kind {
        self.below.kind()
    }

    fn listing(&self) -> &[folder::Listed] {
        self.below.listing()
    }

    fn original(&self) -> Option<&dyn Image> {
        Some(super::original(self.below.as_ref()))
    }

    fn opened(&self) -> &[Opened] {
        &self.opened
    }

    fn rebuilt(&self, id: &str) -> Option<u64> {
        let own = self.rebuilt.iter().find(|(own, _)| own == id).map(|(_, at)| *at);
        own.or_else(|| self.below.rebuilt(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds the sector's number to every byte.
    struct Adds;

    impl Decode for Adds {
        fn sector(&self) -> u64 {
            4
        }

        fn decode(&self, number: u64, sector: &mut [u8]) {
            sector.iter_mut().for_each(|byte| *byte = byte.wrapping_add(number as u8));
        }
    }

    #[test]
    fn stretches_are_shown_as_they_were_meant() -> Result<(), Box<dyn std::error::Error>> {
        let image = crate::image::raw::of_bytes(b"abcdefghijklmnopqrst")?;
        let overlay = |at, len, from, how| Overlay { at, len, from, how };
        let overlays = vec![
            overlay(4, 8, 8, How::Decoded(Arc::new(Adds), 1)),
            overlay(14, 2, 0, How::Zeros),
            overlay(16, 2, 0, How::Moved),
        ];
        let rebuilt = vec![("array".to_owned(), vec![(2, vec![(0, 1), (1, 1)]), (1, vec![(2, 1)])])];
        let derived = Derived::over(image, overlays, Vec::new(), rebuilt);
        let whole = View::whole(&derived);
        assert_eq!(whole.read(0, 20)?.as_ref(), b"abcdjklmopqrmn\0\0abst");
        assert_eq!(whole.read(6, 3)?.as_ref(), b"lmo");
        let at = derived.rebuilt("array").ok_or("it is rebuilt")?;
        assert_eq!(whole.read(at - 1, 4)?.as_ref(), [0, b'a' ^ b'b', b'b' ^ b'c', b'c']);
        assert!(whole.read(at, 4).is_err());
        assert_eq!(derived.original().map(Image::size), Some(20));
        Ok(())
    }
}
