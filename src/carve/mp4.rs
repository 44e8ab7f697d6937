//! MP4, QuickTime, 3GP, HEIC: top-level boxes, to where they stop.
//!
//! Sources: ISO/IEC 14496-12, 4.2 (boxes), ISO/IEC 23008-12 (HEIC: `meta` instead of `moov`), Apple's QuickTime File
//! Format (files that begin without `ftyp`). Checked against three files of the
//! benchmark image only.

use super::Carved;
use crate::bytes::{Fields, index, offset};
use crate::fuel::{Fuel, Spent};
use crate::identify;

/// Types of the first box, at byte 4.
pub const HEADERS: &[&[u8]] = &[b"ftyp", b"moov", b"mdat", b"wide"];

const KNOWN: &[&[u8; 4]] = &[
    b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"udta", b"uuid", b"pdin", b"moof", b"mfra", b"meta",
    b"sidx", b"ssix", b"styp", b"prft", b"emsg", b"pnot", b"PICT", b"meco", b"idat",
];

#[derive(Default)]
struct Seen {
    index: bool,
    data: bool,
    brand: bool,
}

/// Measures the film or picture at the first byte.
///
/// # Errors
/// [`Spent`] where the fuel ends.
pub fn measure(bytes: &[u8], fuel: &mut Fuel) -> Result<Option<Carved>, Spent> {
    let (mut at, mut seen, mut cut) = (0usize, Seen::default(), false);
    while let Some((kind, len)) = header(bytes, at) {
        fuel.burn(16)?;
        if kind == b"ftyp" && (seen.brand || !brand(bytes, at, len)) {
            break;
        }
        let end = at.saturating_add(len);
        if end > bytes.len() {
            cut = true;
            break;
        }
        seen.brand |= kind == b"ftyp";
        // A film's index is checked one level down: its first box is its header.
        seen.index |= match kind {
            b"moov" => {
                matches!(bytes.span(at.saturating_add(12), 4), Some(b"mvhd" | b"cmov" | b"rmra" | b"iods" | b"udta"))
            }
            b"meta" | b"moof" => true,
            _ => false,
        };
        seen.data |= kind == b"mdat";
        at = end;
    }
    Ok(judge(bytes, at, &seen, cut))
}

fn judge(bytes: &[u8], at: usize, seen: &Seen, cut: bool) -> Option<Carved> {
    let whole = seen.index && seen.data && !cut;
    let worth = whole || (seen.brand && (seen.index || seen.data)) || (seen.index && seen.data);
    let head = bytes.get(..bytes.len().min(64))?;
    let identity = identify::identify(head, offset(bytes.len()));
    let extension = identity.extensions.first().copied().unwrap_or("mp4");
    let known = identity.mime.starts_with("video/")
        || identity.mime.starts_with("audio/")
        || identity.mime.starts_with("image/");
    let mime = if known { identity.mime } else { "video/quicktime" };
    worth.then_some(Carved { len: offset(at), extension: if known { extension } else { "mov" }, mime, whole })
}

/// Type and length of the box at `at`; `None` where none is known. A length of 0 says "to the end of the file", which
/// nobody here knows.
fn header(bytes: &[u8], at: usize) -> Option<(&[u8; 4], usize)> {
    let kind = bytes.get(at.checked_add(4)?..)?.first_chunk::<4>()?;
    KNOWN.contains(&kind).then_some(())?;
    let len = match bytes.be32(at)? {
        1 => bytes.be64(at.checked_add(8)?).filter(|len| *len >= 16)?,
        len @ 8.. => u64::from(len),
        _ => return None,
    };
    Some((kind, index(len)))
}

/// The brand is four printable characters, and the box is short.
fn brand(bytes: &[u8], at: usize, len: usize) -> bool {
    let name = bytes.span(at.saturating_add(8), 4);
    (16..=1024).contains(&len)
        && len.is_multiple_of(4)
        && name.is_some_and(|n| n.iter().all(|b| (0x20..0x7f).contains(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_followed_to_their_end() {
        let run = |bytes: &[u8]| measure(bytes, &mut Fuel::new(1 << 20)).unwrap();
        let mp4 = [&b"\0\0\0\x14ftypisom\0\0\0\0isom"[..], b"\0\0\0\x10moov\0\0\0\x08mvhd", b"\0\0\0\x10mdat12345678"]
            .concat();
        let found = run(&[&mp4[..], &[0; 600]].concat()).unwrap();
        assert!(found.whole && found.len == mp4.len() as u64 && found.mime == "video/mp4");
        let cut = run(&mp4[..mp4.len() - 4]).unwrap();
        assert!(!cut.whole && cut.len == 36);
        assert_eq!(run(&[&b"\0\0\0\x14ftypisom\0\0\0\0isom"[..], &[0x77; 90]].concat()), None);
    }
}
