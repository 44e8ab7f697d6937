//! Plain text of any encoding, streamed: each piece is cut at a line's end and knows its place.
//!
//! Source: the WHATWG Encoding Standard. UTF-8 with stray bytes is read line by line: a line that is not UTF-8 is taken
//! as text of a code page, so that nothing is replaced and every offset stays true. Checked
//! against the encoder of `encoding_rs`, and the text truth of the corpus.

use super::{Findings, charset};
use crate::bytes::{index, offset};
use crate::content::Content;
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::identify::{HEAD, Identity};
use crate::text::{Encoding, Place};

/// Bytes of a piece; UTF-16 and multi-byte pages make at most twice as many in UTF-8.
const PIECE: usize = 32 << 10;

/// True for text that is read as it stands.
pub fn accepts(identity: &Identity) -> bool {
    identity.is_text()
}

/// Reads all of it.
///
/// # Errors
/// [`Spent`] where the fuel ends, or no more text is wanted.
pub fn extract(content: &Content<'_>, _: &Identity, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    let (encoding, mark) = charset::detect(&content.prefix(HEAD));
    let mut at = offset(mark);
    while at < content.size() {
        let window = content.slice(at, offset(PIECE));
        let bytes = window.prefix(offset(PIECE));
        if bytes.is_empty() {
            found.fault(Fault::new(at, "plain", "its bytes cannot be read from here on"));
            return Ok(());
        }
        let last = at.saturating_add(offset(bytes.len())) >= content.size();
        let cut = if last { bytes.len() } else { cut(&bytes, encoding) };
        fuel.burn(offset(cut))?;
        let piece = bytes.get(..cut).unwrap_or(&bytes);
        push(piece, Place { offset: at, encoding }, found)?;
        at = at.saturating_add(offset(cut.max(1)));
    }
    Ok(())
}

/// Where to cut bytes that go on: behind the last line's end, else between two characters.
fn cut(bytes: &[u8], encoding: Encoding) -> usize {
    let line = match encoding {
        Encoding::Utf16Le | Encoding::Utf16Be => {
            let end: [u8; 2] = if encoding == Encoding::Utf16Le { [b'\n', 0] } else { [0, b'\n'] };
            let unit = bytes.chunks_exact(2).rposition(|pair| pair == end);
            unit.and_then(|unit| unit.checked_add(1)?.checked_mul(2))
        }
        _ => memchr::memrchr(b'\n', bytes).and_then(|at| at.checked_add(1)),
    };
    line.unwrap_or_else(|| between(bytes, encoding))
}

fn between(bytes: &[u8], encoding: Encoding) -> usize {
    let whole = bytes.len();
    match encoding {
        Encoding::Utf8 => match std::str::from_utf8(bytes) {
            Err(e) if e.error_len().is_none() => e.valid_up_to().max(1),
            _ => whole,
        },
        Encoding::Utf16Le | Encoding::Utf16Be => {
            let even = whole & !1;
            let high = even
                .checked_sub(2)
                .and_then(|at| bytes.get(at.saturating_add(usize::from(encoding == Encoding::Utf16Le))));
            let split = high.is_some_and(|b| (0xd8..0xdc).contains(b));
            if split { even.saturating_sub(2).max(1) } else { even.max(1) }
        }
        Encoding::Legacy(page) if page.is_single_byte() => whole,
        // A space is a character of its own in every multi-byte page.
        Encoding::Legacy(_) => memchr::memrchr(b' ', bytes).map_or(whole, |at| at.saturating_add(1)),
    }
}

/// Decodes `bytes`, which begin at `place`, and tells what they say.
pub(super) fn push(bytes: &[u8], place: Place, found: &mut dyn Findings) -> Result<(), Spent> {
    match place.encoding {
        Encoding::Utf8 => match std::str::from_utf8(bytes) {
            Ok(text) => tell(text, place, found),
            Err(_) => mixed(bytes, place.offset, found),
        },
        Encoding::Legacy(page) if !page.is_single_byte() => by_line(bytes, place, found),
        encoding => tell(&charset::page(encoding).decode_without_bom_handling(bytes).0, place, found),
    }
}

fn tell(text: &str, place: Place, found: &mut dyn Findings) -> Result<(), Spent> {
    if text.trim().is_empty() { Ok(()) } else { found.text(text, Some(place)) }
}

/// Multi-byte pages: a place for each line, since not every character is encoded back into the same bytes.
fn by_line(bytes: &[u8], place: Place, found: &mut dyn Findings) -> Result<(), Spent> {
    let mut at = place.offset;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let text = charset::page(place.encoding).decode_without_bom_handling(line).0;
        tell(&text, Place { offset: at, ..place }, found)?;
        at = at.saturating_add(offset(line.len()));
    }
    Ok(())
}

/// UTF-8 with lines that are not: those are of a code page that fits all of them.
fn mixed(bytes: &[u8], at: u64, found: &mut dyn Findings) -> Result<(), Spent> {
    let page = charset::legacy(bytes);
    let (mut from, mut to) = (0usize, 0usize);
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let end = to.saturating_add(line.len());
        if std::str::from_utf8(line).is_err() {
            sound(bytes, from, to, at, found)?;
            by_line(line, Place { offset: at.saturating_add(offset(to)), encoding: page }, found)?;
            from = end;
        }
        to = end;
    }
    sound(bytes, from, to, at, found)
}

fn sound(bytes: &[u8], from: usize, to: usize, at: u64, found: &mut dyn Findings) -> Result<(), Spent> {
    let text = std::str::from_utf8(bytes.get(from..to).unwrap_or_default()).unwrap_or_default();
    tell(text, Place { offset: at.saturating_add(offset(from)), encoding: Encoding::Utf8 }, found)
}

/// Tells text that is in memory, in pieces; `at` where it stands as such in the content.
pub(super) fn pieces(text: &str, at: Option<u64>, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    fuel.burn(offset(text.len()))?;
    let (mut rest, mut at) = (text, at);
    while !rest.is_empty() {
        let mut len = rest.len();
        if len > PIECE {
            len = cut(rest.as_bytes().get(..PIECE).unwrap_or_default(), Encoding::Utf8);
        }
        let Some((piece, next)) = rest.split_at_checked(len) else { return Ok(()) };
        if !piece.trim().is_empty() {
            found.text(piece, at.map(|offset| Place { offset, encoding: Encoding::Utf8 }))?;
        }
        at = at.map(|at| at.saturating_add(offset(index(offset(len)))));
        rest = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::collect::Collected;
    use super::*;
    use crate::identify::UNKNOWN;
    use proptest::prelude::*;

    fn run(bytes: &[u8]) -> Collected {
        let mut found = Collected::default();
        extract(&Content::borrowed(bytes), &UNKNOWN, &mut found, &mut Fuel::new(1 << 30)).unwrap();
        found
    }

    #[test]
    fn every_encoding_gives_its_words_and_their_offsets() {
        let words = "erste Zeile\nnaïve Wörter, größer\n";
        let le: Vec<u8> = words.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = [0xfeff].into_iter().chain(words.encode_utf16()).flat_map(u16::to_be_bytes).collect();
        let latin = encoding_rs::WINDOWS_1252.encode(words).0.into_owned();
        let (utf8, marked) = (words.as_bytes().to_vec(), [b"\xef\xbb\xbf", words.as_bytes()].concat());
        for bytes in [utf8, marked, le, be, latin] {
            let found = run(&bytes);
            let at = found.text.body.find("größer").unwrap();
            let place = found.text.locate(at).unwrap();
            let here = charset::page(place.encoding).decode_without_bom_handling(&bytes[place.offset as usize..]).0;
            assert!(here.starts_with("größer"), "{:?}", place.encoding);
        }
    }

    #[test]
    fn a_stray_byte_costs_no_word() {
        let found = run("eins zwei\ngr\u{f6}\u{df}er\n"
            .as_bytes()
            .iter()
            .copied()
            .chain(*b"stray \xe9t\xe9 here\nlast\n")
            .collect::<Vec<_>>()
            .as_slice());
        for word in ["größer", "stray", "été", "last"] {
            assert!(found.text.body.contains(word), "{word}");
        }
    }

    #[test]
    fn large_text_is_cut_at_line_ends() {
        let line = "a line of words that is repeated\n";
        let found = run(line.repeat(5000).as_bytes());
        assert!(found.longest <= 2 * PIECE && found.text.body.matches("a line of words").count() == 5000);
        let at = found.text.body.rfind("repeated").unwrap();
        assert_eq!(found.text.locate(at).map(|p| p.offset), Some((line.len() * 5000 - 9) as u64));
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            run(&bytes);
        }
    }
}
