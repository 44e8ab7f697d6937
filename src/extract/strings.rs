//! Readable runs in what no extractor reads: unknown programs' files, unallocated space, slack.
//!
//! ASCII and UTF-8, UTF-16 of both byte orders for Latin, Greek and Cyrillic. Places where
//! a run may be are marked 64 at a time with vector instructions; only there is anything decided byte by byte. A run
//! counts if some part of it is unlikely to be chance: each character weighs the logarithm of how much rarer random
//! bytes would hold it there, and the heaviest part must weigh enough. Words, numbers, addresses, paths and hashes do;
//! a few letters of compressed data do not. Checked on made runs at every alignment and on random bytes, not yet
//! against another program.

mod weight;

use super::Findings;
use crate::bytes::{all_zero, offset};
use crate::content::Content;
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::identify::Identity;
use crate::text::{Encoding, Place};

/// Shortest run, in characters.
const SHORTEST: usize = 5;
/// Longest piece, in bytes; a longer run is told in several.
const PIECE: usize = 32 << 10;
/// Bytes that are skipped at once where they are zero.
const BLOCK: usize = 4096;
/// Bytes looked at in one piece where content is not.
const WINDOW: u64 = 1 << 20;
/// Bytes by which windows overlap, so that a run across their border is whole in one of them.
const OVERLAP: u64 = 4096;

/// What a byte may be part of.
const NOTHING: u8 = 0;
const PRINTABLE: u8 = 1;
const HIGH: u8 = 2;
const TAIL: u8 = 3;
const LEAD: u8 = 4;

/// Class of every byte. The high bytes of UTF-16 are those of Latin, Greek and Cyrillic.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [NOTHING; 256];
    let mut byte = 0u8;
    loop {
        let class = match byte {
            b'\t' | b' '..=b'~' => PRINTABLE,
            0 | 3 | 4 => HIGH,
            0x80..=0xbf => TAIL,
            0xc3..=0xdb | 0xe0..=0xef => LEAD,
            _ => NOTHING,
        };
        #[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
        {
            table[byte as usize] = class;
        }
        if byte == u8::MAX {
            return table;
        }
        byte = byte.wrapping_add(1);
    }
}

fn class(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).and_then(|b| CLASS.get(usize::from(*b))).copied().unwrap_or(NOTHING)
}

/// Tells every readable run of `bytes`, which begin at `base` of their content.
///
/// # Errors
/// [`Spent`] where `out` wants no more.
pub fn scan(bytes: &[u8], base: u64, out: &mut dyn FnMut(&str, Place) -> Result<(), Spent>) -> Result<(), Spent> {
    let (mut at, mut done) = (0usize, 0usize);
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        if rest.first_chunk() == Some(&[0; 16]) && rest.get(..BLOCK).is_some_and(all_zero) {
            at = at.saturating_add(BLOCK);
            continue;
        }
        let signs = match rest.first_chunk() {
            Some(window) => signs(window),
            None => signs(&padded(rest)),
        };
        for place in positions(&signs) {
            let here = at.saturating_add(place);
            if here < done {
                continue;
            }
            if let Some((from, to, encoding)) = run(bytes, here, done) {
                tell(bytes, from, to, base, encoding, out)?;
                done = to;
            }
        }
        at = at.saturating_add(LANES).max(done);
    }
    Ok(())
}

/// Places that are judged at once, and the bytes behind them that this needs.
const LANES: usize = 64;
const AHEAD: usize = 8;
const SEEN: usize = LANES + AHEAD;

/// The last bytes, filled up with what belongs to no run.
fn padded(rest: &[u8]) -> [u8; SEEN] {
    let mut window = [0xff; SEEN];
    window.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    window
}

/// Marks the places where a run may begin or go on: five printable characters; three characters of two bytes or two of
/// three; an accented letter among others; four high bytes of UTF-16. Plain loops over arrays, which compile to vector
/// instructions: this looks at every byte and must cost next to nothing.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a place is below LANES, and 7 < AHEAD")]
fn signs(w: &[u8; SEEN]) -> [u8; LANES] {
    let print = w.map(|b| u8::from(b.wrapping_sub(0x20) < 0x5f) | u8::from(b == b'\t'));
    let high = w.map(|b| u8::from(b == 0) | u8::from(b.wrapping_sub(3) < 2));
    let tail = w.map(|b| u8::from(b & 0xc0 == 0x80));
    let two = w.map(|b| u8::from(b & 0xe0 == 0xc0));
    let three = w.map(|b| u8::from(b & 0xf0 == 0xe0));
    let mut out = [0u8; LANES];
    for i in 0..LANES {
        let second = two[i + 1] & tail[i + 2];
        let ascii = print[i] & print[i + 1] & print[i + 2] & print[i + 3] & print[i + 4];
        let accent = print[i] & print[i + 1] & two[i + 2] & tail[i + 3] & print[i + 4]
            | print[i] & second & print[i + 3] & print[i + 4];
        let pairs = two[i] & tail[i + 1] & two[i + 2] & tail[i + 3] & two[i + 4] & tail[i + 5];
        let triples = three[i] & tail[i + 1] & tail[i + 2] & three[i + 3] & tail[i + 4] & tail[i + 5];
        let wide = high[i] & high[i + 2] & high[i + 4] & high[i + 6];
        let between = high[i + 1] | high[i + 3] | high[i + 5];
        out[i] = ascii | accent | pairs | triples | wide & !between;
    }
    out
}

/// The marked places, in order; eight unmarked ones cost one comparison.
fn positions(signs: &[u8; LANES]) -> impl Iterator<Item = usize> {
    let marked = |lane: &[u8]| lane.first_chunk().is_some_and(|lane| u64::from_ne_bytes(*lane) != 0);
    let lanes = signs.chunks_exact(8).enumerate().filter(move |(_, lane)| marked(lane));
    lanes.flat_map(|(number, lane)| {
        let first = number.saturating_mul(8);
        lane.iter().zip(first..).filter(|(sign, _)| **sign != 0).map(|(_, place)| place)
    })
}

/// The run that the marked place `at` is part of, not reaching back before `done`.
fn run(bytes: &[u8], at: usize, done: usize) -> Option<(usize, usize, Encoding)> {
    match class(bytes, at) {
        HIGH => wide(bytes, at, done),
        _ => narrow(bytes, at, done),
    }
}

/// Length of the two- or three-byte character of UTF-8 at `at`; 0 where none is.
fn sequence(bytes: &[u8], at: usize) -> usize {
    let tail = |n: usize| class(bytes, at.saturating_add(n)) == TAIL;
    match bytes.get(at) {
        Some(0xc3..=0xdb) if tail(1) => 2,
        Some(0xe0..=0xef) if tail(1) && tail(2) => 3,
        _ => 0,
    }
}

/// Start of the readable character that ends at `end`; `None` where none does.
fn back(bytes: &[u8], end: usize, done: usize) -> Option<usize> {
    let at = end.checked_sub(1)?;
    let start = match class(bytes, at) {
        PRINTABLE => at,
        TAIL => {
            let starts = [at.checked_sub(1)?, at.saturating_sub(2)];
            starts.into_iter().find(|start| start.saturating_add(sequence(bytes, *start)) == end)?
        }
        _ => return None,
    };
    (start >= done).then_some(start)
}

/// A run of ASCII and UTF-8 around the character at `at`.
fn narrow(bytes: &[u8], at: usize, done: usize) -> Option<(usize, usize, Encoding)> {
    let (mut from, mut to) = (at, at);
    loop {
        match class(bytes, to) {
            PRINTABLE => to = to.saturating_add(1),
            LEAD => match sequence(bytes, to) {
                0 => break,
                len => to = to.saturating_add(len),
            },
            _ => break,
        }
    }
    while let Some(start) = back(bytes, from, done) {
        from = start;
    }
    (to.saturating_sub(from) >= SHORTEST).then_some((from, to, Encoding::Utf8))
}

/// A run of UTF-16 around `at`, whichever half of a character that is. The same zeros can be read in both byte orders:
/// the longer run is the right one, and of two equals the one that is aligned.
fn wide(bytes: &[u8], at: usize, done: usize) -> Option<(usize, usize, Encoding)> {
    let before = at.saturating_sub(1);
    let starts = [(at, true), (before, true), (at, false), (before, false)];
    let runs = starts.into_iter().filter_map(|(start, little)| wide_from(bytes, start, done, little));
    runs.max_by_key(|(from, to, _)| (to.saturating_sub(*from), from.is_multiple_of(2)))
}

/// The run that has a character at `start`.
fn wide_from(bytes: &[u8], start: usize, done: usize, little: bool) -> Option<(usize, usize, Encoding)> {
    let first = done.saturating_add(2);
    if start < done || !unit_at(bytes, start, little) {
        return None;
    }
    let (mut from, mut to) = (start, start.saturating_add(2));
    while from >= first && unit_at(bytes, from.saturating_sub(2), little) {
        from = from.saturating_sub(2);
    }
    while unit_at(bytes, to, little) {
        to = to.saturating_add(2);
    }
    let long = to.saturating_sub(from) >= SHORTEST.saturating_mul(2);
    long.then_some((from, to, if little { Encoding::Utf16Le } else { Encoding::Utf16Be }))
}

/// True where a readable character of UTF-16 stands at `at`.
fn unit_at(bytes: &[u8], at: usize, little: bool) -> bool {
    let Some(&[a, b]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()) else { return false };
    let (low, high) = if little { (a, b) } else { (b, a) };
    match high {
        0 => matches!(low, b'\t' | b' '..=b'~' | 0xc0..=0xff),
        3 => (0x86..=0xce).contains(&low),
        4 => (0x10..=0x5f).contains(&low),
        _ => false,
    }
}

/// Decodes a run and tells its parts that weigh enough.
fn tell(
    bytes: &[u8],
    from: usize,
    to: usize,
    base: u64,
    encoding: Encoding,
    out: &mut dyn FnMut(&str, Place) -> Result<(), Spent>,
) -> Result<(), Spent> {
    let run = bytes.get(from..to).unwrap_or_default();
    let at = base.saturating_add(offset(from));
    if encoding != Encoding::Utf8 {
        return wide_pieces(run, at, encoding, out);
    }
    if let Ok(text) = std::str::from_utf8(run) {
        if is_framed(bytes, from, to) && weight::is_field(text) {
            return out(text, Place { offset: at, encoding });
        }
        return narrow_pieces(text, at, out);
    }
    // Three bytes can have the shape of a character and be none: a surrogate, an overlong form.
    let mut skipped = 0usize;
    for chunk in run.utf8_chunks() {
        let text = chunk.valid();
        narrow_pieces(text, at.saturating_add(offset(skipped)), out)?;
        skipped = skipped.saturating_add(text.len()).saturating_add(chunk.invalid().len());
    }
    Ok(())
}

/// True where zeros, or nothing, stand on both sides of a run: chance leaves that alone, programs end their strings so.
fn is_framed(bytes: &[u8], from: usize, to: usize) -> bool {
    let before = from.checked_sub(1).and_then(|at| bytes.get(at));
    before.is_none_or(|b| *b == 0) && bytes.get(to).is_none_or(|b| *b == 0)
}

fn narrow_pieces(text: &str, at: u64, out: &mut dyn FnMut(&str, Place) -> Result<(), Spent>) -> Result<(), Spent> {
    let (mut rest, mut at) = (text, at);
    while !rest.is_empty() {
        let len = rest.floor_char_boundary(PIECE);
        let Some((piece, next)) = rest.split_at_checked(len.max(1)) else { return Ok(()) };
        if weight::counts(piece) {
            out(piece, Place { offset: at, encoding: Encoding::Utf8 })?;
        }
        at = at.saturating_add(offset(piece.len()));
        rest = next;
    }
    Ok(())
}

fn wide_pieces(
    run: &[u8],
    at: u64,
    encoding: Encoding,
    out: &mut dyn FnMut(&str, Place) -> Result<(), Spent>,
) -> Result<(), Spent> {
    let mut at = at;
    for piece in run.chunks(PIECE) {
        let text = super::charset::page(encoding).decode_without_bom_handling(piece).0;
        if weight::counts(&text) {
            out(&text, Place { offset: at, encoding })?;
        }
        at = at.saturating_add(offset(piece.len()));
    }
    Ok(())
}

/// Reads whole content, window by window.
///
/// # Errors
/// [`Spent`] where the fuel ends, or no more text is wanted.
pub fn extract(content: &Content<'_>, _: &Identity, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    let (mut at, mut told) = (0u64, 0u64);
    while at < content.size() {
        let window = content.slice(at, WINDOW);
        let bytes = window.prefix(WINDOW);
        if bytes.is_empty() {
            found.fault(Fault::new(at, "strings", "its bytes cannot be read from here on"));
            return Ok(());
        }
        fuel.burn(offset(bytes.len()))?;
        let end = at.saturating_add(offset(bytes.len()));
        let border = if end >= content.size() { end } else { end.saturating_sub(OVERLAP).max(at.saturating_add(1)) };
        scan(&bytes, at, &mut |text, place| {
            // What begins in the overlap is told, whole, by the next window.
            if place.offset < told || place.offset >= border {
                return Ok(());
            }
            let stop = place.offset.saturating_add(place.encoding.len_of(text));
            told = told.max(stop);
            found.text(text, Some(place))
        })?;
        at = border.max(told.min(end)).max(at.saturating_add(1));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::collect::Collected;
    use super::*;
    use proptest::prelude::*;

    fn run(bytes: &[u8]) -> Vec<(String, u64)> {
        let mut out = Vec::new();
        scan(bytes, 1000, &mut |text, place| {
            out.push((text.to_owned(), place.offset));
            Ok(())
        })
        .unwrap();
        out
    }

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn runs_of_every_encoding_are_found_at_every_alignment() {
        for pad in 0..11 {
            let pad = vec![1u8; pad];
            for word in ["hello", "zqfacpmmnb", "http://a.example/x?y=1", "555-123-4567", "naïveté", "привет мир"]
            {
                let bytes = [&pad[..], word.as_bytes(), &[2, 2, 2]].concat();
                assert_eq!(run(&bytes), [(word.to_owned(), 1000 + pad.len() as u64)], "{word}");
            }
            for word in ["hello", "zqfacpmmnb", "привет мир"] {
                let le: Vec<u8> = word.encode_utf16().flat_map(u16::to_le_bytes).collect();
                let be: Vec<u8> = word.encode_utf16().flat_map(u16::to_be_bytes).collect();
                for wide in [le, be] {
                    let bytes = [&pad[..], &wide, &[2, 2, 2]].concat();
                    assert_eq!(run(&bytes), [(word.to_owned(), 1000 + pad.len() as u64)], "{word} {}", pad.len());
                }
            }
        }
    }

    #[test]
    fn random_bytes_give_nearly_nothing() {
        let told = run(&noise(4 << 20));
        assert!(told.len() < 200, "{} {:?}", told.len(), told.iter().take(60).collect::<Vec<_>>());
    }

    #[test]
    fn a_run_across_a_window_is_told_once() {
        let mut bytes = vec![0u8; 3 << 20];
        for at in [(1 << 20) - 5, (2 << 20) - 9000, (1 << 20) - 4096 - 3] {
            bytes[at..at + 11].copy_from_slice(b"hello world");
        }
        let mut found = Collected::default();
        let identity = crate::identify::UNKNOWN;
        extract(&Content::borrowed(&bytes), &identity, &mut found, &mut Fuel::new(1 << 30)).unwrap();
        assert_eq!(found.text.body.matches("hello world").count(), 3);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(prop_oneof![Just(0u8), 32u8..127, any::<u8>()], 0..3000)) {
            run(&bytes);
        }
    }
}
