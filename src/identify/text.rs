//! Text by its characters: UTF-8, UTF-16 with and without a mark, legacy code pages; and its kinds by how it begins.
//!
//! Sources: RFC 5322 section 2.2 (header lines), RFC 4155 (mbox), the WHATWG HTML and MIME-sniffing standards.

use super::{Identity, id};
use crate::bytes::Fields;

const PLAIN: Identity = id("text/plain", &["txt"]);
const HTML: Identity = id("text/html", &["html", "htm", "xhtml", "mht"]);
const XML: Identity = id("application/xml", &["xml"]);
const SVG: Identity = id("image/svg+xml", &["svg"]);
const EML: Identity = id("message/rfc822", &["eml", "mht", "mhtml", "msg", "nws"]);
const MBOX: Identity = id("application/mbox", &["mbox", "mbx"]);
const SHELL: Identity = id("text/x-shellscript", &["sh"]);
const VCARD: Identity = id("text/vcard", &["vcf"]);
const CALENDAR: Identity = id("text/calendar", &["ics"]);

/// Text in a Unicode encoding; `None` where it is none.
pub(super) fn unicode(head: &[u8], size: u64) -> Option<Identity> {
    let (big, little) = (head.starts_with(b"\xfe\xff"), head.starts_with(b"\xff\xfe"));
    if big || little || looks_utf16(head).is_some() {
        let is_big = if big || little { big } else { looks_utf16(head)? };
        let narrow = narrowed(head, is_big)?;
        return Some(kind(&narrow));
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let cut = (head.len() as u64) < size;
    if is_utf8(text, cut) && is_readable(text) {
        return Some(kind(text));
    }
    // Mail keeps the bytes of its 8-bit parts: a message may be a mixture of code pages.
    let head = kind(text.get(..text.len().min(4096))?);
    matches!(head.mime, "message/rfc822" | "application/mbox").then_some(head)
}

/// Text in some code page: nearly no control characters, and letters above ASCII among the readable ones.
pub(super) fn legacy(head: &[u8]) -> Option<Identity> {
    let ascii = head.iter().filter(|b| (0x20..0x7f).contains(*b) || matches!(b, b'\t' | b'\n' | b'\r')).count();
    let control = head.iter().filter(|b| **b < 0x20 && !matches!(b, 9 | 10 | 12 | 13 | 27)).count();
    let c1 = head.iter().filter(|b| (0x80..0xa0).contains(*b)).count();
    let high = head.len().saturating_sub(ascii).saturating_sub(control);
    // Western text is mostly ASCII; Cyrillic and Greek pages mostly high letters with ASCII spaces and line ends.
    let spaced = head.iter().filter(|b| matches!(b, b' ' | b'\n')).count().saturating_mul(30) > head.len();
    let western =
        ascii.saturating_mul(4) > head.len().saturating_mul(3) && c1.saturating_mul(4) <= high.saturating_add(4);
    let eastern = spaced && c1.saturating_mul(2) <= high;
    (control == 0 && head.len() >= 8 && (western || eastern)).then(|| kind(head))
}

fn is_utf8(text: &[u8], cut: bool) -> bool {
    match std::str::from_utf8(text) {
        Ok(_) => true,
        // The head may end inside a character.
        Err(e) => cut && e.error_len().is_none(),
    }
}

/// Control characters other than white space and escape: at most one in a thousand.
fn is_readable(text: &[u8]) -> bool {
    let control = text.iter().filter(|b| (**b < 0x20 && !matches!(b, 9 | 10 | 12 | 13 | 27)) || **b == 0x7f).count();
    control.saturating_mul(1000) <= text.len() && !text.is_empty()
}

/// `Some(is_big_endian)` where every second byte of mostly Latin text is zero.
fn looks_utf16(head: &[u8]) -> Option<bool> {
    let sample = head.get(..head.len().min(512))?;
    if sample.len() < 8 {
        return None;
    }
    let pairs = sample.chunks_exact(2);
    let count = pairs.len();
    let (mut low, mut high) = (0usize, 0usize);
    for pair in pairs {
        let [a, b] = pair.array::<2>(0)?;
        let readable = |c: u8| (0x20..0x7f).contains(&c) || matches!(c, 9 | 10 | 13);
        low = low.saturating_add(usize::from(b == 0 && readable(a)));
        high = high.saturating_add(usize::from(a == 0 && readable(b)));
    }
    let most = count.saturating_mul(3) / 4;
    (low > most).then_some(false).or((high > most).then_some(true))
}

/// UTF-16 as UTF-8; `None` where it holds what no text does.
fn narrowed(head: &[u8], big: bool) -> Option<Vec<u8>> {
    let units = head.chunks_exact(2).skip(usize::from(matches!(head.be16(0), Some(0xfeff | 0xfffe))));
    let units = units.filter_map(|pair| if big { pair.be16(0) } else { pair.le16(0) });
    let mut bad = 0usize;
    let text: String = char::decode_utf16(units)
        .map(|c| {
            let c = c.unwrap_or('\0');
            bad = bad.saturating_add(usize::from(c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}')));
            c
        })
        .collect();
    (bad.saturating_mul(50) <= text.len()).then(|| text.into_bytes())
}

/// What kind of text begins with `text`.
fn kind(text: &[u8]) -> Identity {
    let skip = text.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let start = text.get(skip..).unwrap_or_default();
    if start.starts_with(b"<") {
        return markup(start);
    }
    if text.starts_with(b"From ") && mbox(text) {
        return MBOX;
    }
    if text.starts_with(b"#!") {
        return SHELL;
    }
    if starts_fold(start, b"BEGIN:VCARD") {
        return VCARD;
    }
    if starts_fold(start, b"BEGIN:VCALENDAR") {
        return CALENDAR;
    }
    if is_mail(start) { EML } else { PLAIN }
}

fn starts_fold(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|t| t.eq_ignore_ascii_case(start))
}

fn markup(start: &[u8]) -> Identity {
    let begin = start.get(..start.len().min(2048)).unwrap_or_default().to_ascii_lowercase();
    let has = |word: &[u8]| memchr::memmem::find(&begin, word).is_some();
    let xml = begin.starts_with(b"<?xml");
    if begin.starts_with(b"<!doctype html") || has(b"<html") || (!xml && (has(b"<head") || has(b"<body"))) {
        return HTML;
    }
    if begin.starts_with(b"<svg") || (xml && has(b"<svg")) {
        return SVG;
    }
    const TAGS: [&[u8]; 8] = [b"<p>", b"<div", b"<table", b"<h1", b"<script", b"<meta", b"<title", b"<!--"];
    if xml {
        return XML;
    }
    if TAGS.iter().any(|tag| begin.starts_with(tag)) && !begin.starts_with(b"<!--") {
        return HTML;
    }
    let tag = begin.get(1).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'!') && has(b"</");
    if tag { XML } else { PLAIN }
}

/// RFC 4155: `From `, an address or a name, and a date; then header lines.
fn mbox(text: &[u8]) -> bool {
    let mut lines = text.split(|b| *b == b'\n');
    let first = lines.next().unwrap_or_default();
    let year = first.windows(5).any(
        |w| matches!(w, [b' ', b'1' | b'2', a, b, c] if a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit()),
    );
    year && lines.next().is_some_and(|line| header_name(line).is_some())
}

/// Header fields that mail has and other `Name: value` text has not.
const FIELDS: [&str; 16] = [
    "from",
    "to",
    "subject",
    "date",
    "received",
    "return-path",
    "message-id",
    "delivered-to",
    "mime-version",
    "cc",
    "x-mailer",
    "content-type",
    "reply-to",
    "sender",
    "newsgroups",
    "x-mozilla-status",
];

/// The name of a header line, `Name: value`.
fn header_name(line: &[u8]) -> Option<&str> {
    let colon = memchr::memchr(b':', line.get(..line.len().min(80))?)?;
    let name = std::str::from_utf8(line.get(..colon)?).ok()?;
    let sound = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    sound.then_some(name)
}

/// Header lines from the first on, of which at least two are mail's own, one of them essential.
pub(crate) fn is_mail(text: &[u8]) -> bool {
    let (mut known, mut essential) = (0usize, 0usize);
    for line in text.split(|b| *b == b'\n').take(200) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            continue;
        }
        let Some(name) = header_name(line) else { return false };
        let name = name.to_ascii_lowercase();
        known = known.saturating_add(usize::from(FIELDS.contains(&name.as_str())));
        let is_essential = matches!(name.as_str(), "from" | "date" | "subject" | "message-id" | "received" | "to");
        essential = essential.saturating_add(usize::from(is_essential));
        if known >= 3 && essential >= 2 {
            return true;
        }
    }
    known >= 2 && essential >= 1
}
