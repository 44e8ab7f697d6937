//! Boot images: the catalogue of "El Torito" (Bootable CD-ROM Format Specification 1.0), and the images that it names.

use crate::bytes::{Fields, offset};
use crate::extent::Extent;
use crate::image::View;

/// Bytes of an entry of the catalogue.
const ENTRY: u64 = 32;
/// Entries that a catalogue may have.
const MAX_ENTRIES: u64 = 2048;

/// A boot image.
pub(super) struct Image {
    /// Byte of the volume at which its entry stands.
    pub(super) at: u64,
    /// Its name, as 7-Zip gives it.
    pub(super) name: String,
    pub(super) extent: Extent,
}

/// The catalogue at byte `at`: what it takes, its images; none where it is no catalogue.
pub(super) fn catalogue(view: View<'_>, at: u64) -> Option<(Extent, Vec<Image>)> {
    let bytes = view.read_up_to(at, MAX_ENTRIES.saturating_mul(ENTRY));
    (bytes.byte(0)? == 1 && bytes.span(30, 2)? == [0x55, 0xaa]).then_some(())?;
    let (mut images, mut end) = (Vec::new(), ENTRY);
    let mut left = 1u32;
    for (number, raw) in (0u64..).zip(bytes.as_chunks::<32>().0).skip(1) {
        let here = number.saturating_mul(ENTRY);
        match raw[0] {
            0x90 | 0x91 if left == 0 => left = u32::from(raw.le16(2)?),
            0x88 | 0 if left > 0 => {
                left = left.saturating_sub(1);
                images.extend(image(raw, at.saturating_add(here)));
            }
            0x44 => {}
            _ => break,
        }
        end = here.saturating_add(ENTRY);
    }
    if images.len() > 1 {
        let numbered = images.iter_mut().zip(1u32..);
        numbered.for_each(|(image, number)| image.name = format!("{number}-{}", image.name));
    }
    Some((Extent::new(at, end.min(offset(bytes.len()))), images))
}

fn image(raw: &[u8], at: u64) -> Option<Image> {
    let (what, size) = match raw.byte(1)? & 15 {
        1 => ("1.2M", 1_228_800),
        2 => ("1.44M", 1_474_560),
        3 => ("2.88M", 2_949_120),
        4 => ("HardDisk", u64::from(raw.le16(6)?) << 9),
        _ => ("NoEmul", u64::from(raw.le16(6)?) << 9),
    };
    let start = u64::from(raw.le32(8)?) << 11;
    let image = Image { at, name: format!("Boot-{what}.img"), extent: Extent::new(start, size) };
    (start > 0 && size > 0).then_some(image)
}
