//! Text with its place in the bytes it came from, folding for search, and escaping for terminals.
//!
//! An extractor hands over pieces of text. A piece that stands in the content as such (plain text, a text node of
//! HTML, an unencoded mail body) carries its [`Place`]; from that the offset of any of its characters is found
//! again by encoding what precedes it. A decoded piece (base64, an entity, a compressed part) has none.

use std::borrow::Cow;
use std::ops::Deref;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// How characters lie in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8 and its subset ASCII.
    Utf8,
    /// UTF-16, little-endian.
    Utf16Le,
    /// UTF-16, big-endian.
    Utf16Be,
    /// A legacy code page of the WHATWG Encoding Standard.
    Legacy(&'static encoding_rs::Encoding),
}

impl Encoding {
    /// The lower-case name of the WHATWG Encoding Standard.
    pub fn name(self) -> String {
        match self {
            Self::Utf8 => "utf-8".to_owned(),
            Self::Utf16Le => "utf-16le".to_owned(),
            Self::Utf16Be => "utf-16be".to_owned(),
            Self::Legacy(page) => page.name().to_ascii_lowercase(),
        }
    }

    /// How many bytes `text` takes in this encoding.
    pub fn len_of(self, text: &str) -> u64 {
        let bytes = match self {
            Self::Utf8 => text.len(),
            Self::Utf16Le | Self::Utf16Be => text.encode_utf16().count().saturating_mul(2),
            Self::Legacy(page) if page.is_single_byte() => text.chars().count(),
            Self::Legacy(page) => page.encode(text).0.len(),
        };
        bytes as u64
    }
}

/// Where a piece of text begins in its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Offset of the piece's first byte in the content.
    pub offset: u64,
    /// How its characters lie there.
    pub encoding: Encoding,
}

/// The text of one item (or of one part of a large one).
#[derive(Clone, Debug, Default)]
pub struct Text {
    /// All pieces, each ended by a line feed.
    pub body: String,
    /// Where pieces begin in `body`, and in the content; sorted by the first. `None` ends a placed piece.
    pub places: Vec<(usize, Option<Place>)>,
}

impl Text {
    /// Appends a piece and the line feed that parts it from the next.
    pub fn push(&mut self, piece: &str, place: Option<Place>) {
        if piece.is_empty() {
            return;
        }
        if place.is_some() || self.places.last().is_some_and(|(_, last)| last.is_some()) {
            self.places.push((self.body.len(), place));
        }
        self.body.push_str(piece);
        self.body.push('\n');
    }

    /// Offset in the content of the character at `at` of the body, and its encoding; `None` where it has no place.
    pub fn locate(&self, at: usize) -> Option<Place> {
        let piece = self.places.partition_point(|(start, _)| *start <= at).checked_sub(1)?;
        let (start, place) = self.places.get(piece)?;
        let place = (*place)?;
        let before = self.body.get(*start..at)?;
        Some(Place { offset: place.offset.saturating_add(place.encoding.len_of(before)), ..place })
    }
}

/// One character as search compares it: compatibility forms, case and combining marks folded away.
pub fn fold_char(c: char, out: &mut String) {
    if c.is_ascii() {
        out.push(c.to_ascii_lowercase());
        return;
    }
    for part in std::iter::once(c).nfkd().filter(|part| !is_combining_mark(*part)) {
        match part {
            'ß' | 'ẞ' => out.push_str("ss"),
            'ı' => out.push('i'),
            'ø' | 'Ø' => out.push('o'),
            'ł' | 'Ł' => out.push('l'),
            'đ' | 'Đ' => out.push('d'),
            'æ' | 'Æ' => out.push_str("ae"),
            'œ' | 'Œ' => out.push_str("oe"),
            'ς' => out.push('σ'),
            _ => out.extend(part.to_lowercase().filter(|low| !is_combining_mark(*low))),
        }
    }
}

/// A whole word as search compares it.
pub fn fold(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    word.chars().for_each(|c| fold_char(c, &mut out));
    out
}

/// Characters that a terminal would obey or that reorder what the eye reads.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A number in decimal, made without a formatter: of a listing of many entries that would be the most part.
pub struct Decimal {
    /// 20 digits hold any.
    digits: [u8; 20],
    first: usize,
}

impl Decimal {
    /// `number` as text.
    pub fn new(mut number: u64) -> Self {
        let mut decimal = Self { digits: [b'0'; 20], first: 20 };
        for digit in decimal.digits.iter_mut().rev() {
            *digit |= u8::try_from(number % 10).unwrap_or(0);
            decimal.first = decimal.first.saturating_sub(1);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        decimal
    }

    /// Its digits.
    pub fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.first..).unwrap_or_default()
    }
}

impl Deref for Decimal {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// Text from evidence, fit for a terminal: control characters and bidirectional overrides as `\u{XX}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    // Folding compiles to vector instructions; `all` on single bytes does not.
    let plain = |bytes: &[u8]| bytes.iter().fold(true, |plain, b| plain & (0x20..0x7f).contains(b));
    if text.as_bytes().chunks(32).all(plain) || !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_unsafe(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_found_again_in_its_bytes() {
        let mut text = Text::default();
        text.push("decoded", None);
        text.push("naïve word", Some(Place { offset: 100, encoding: Encoding::Utf16Le }));
        text.push("more", None);
        let at = text.body.find("word").unwrap_or_default();
        assert_eq!(text.locate(at).map(|p| p.offset), Some(112));
        assert_eq!(text.locate(2), None);
        assert_eq!(text.body.find("more").and_then(|at| text.locate(at)), None);
    }

    #[test]
    fn folding_drops_case_marks_and_width() {
        assert_eq!(fold("Ärger"), "arger");
        assert_eq!(fold("ﬁnance"), "finance");
        assert_eq!(fold("ＡＢＣ"), "abc");
        assert_eq!(fold("Straße"), "strasse");
        assert_eq!(fold("İstanbul"), "istanbul");
    }

    #[test]
    fn numbers_are_written_as_the_formatter_writes_them() {
        for number in [0, 9, 10, 4096, u64::MAX / 10, u64::MAX] {
            assert_eq!(*Decimal::new(number), number.to_string());
        }
    }

    #[test]
    fn a_terminal_never_sees_control_characters() {
        assert_eq!(printable("a\u{1b}[2J\u{202e}b"), "a\\u{1b}[2J\\u{202e}b");
        assert!(matches!(printable("plain"), Cow::Borrowed(_)));
    }
}
