//! Which encoding text is in: by its mark, by its bytes, by statistics.
//!
//! Sources: the WHATWG Encoding Standard (marks, labels); chardetng for legacy code pages, as in Firefox.

use crate::text::Encoding;
use encoding_rs::{UTF_8, UTF_16BE, UTF_16LE};

/// The encoding of text that begins with `head`, and the length of its mark.
pub(super) fn detect(head: &[u8]) -> (Encoding, usize) {
    match head {
        [0xef, 0xbb, 0xbf, ..] => (Encoding::Utf8, 3),
        [0xff, 0xfe, ..] => (Encoding::Utf16Le, 2),
        [0xfe, 0xff, ..] => (Encoding::Utf16Be, 2),
        _ => (unmarked(head), 0),
    }
}

fn unmarked(head: &[u8]) -> Encoding {
    if let Some(big) = zeros_alternate(head) {
        return if big { Encoding::Utf16Be } else { Encoding::Utf16Le };
    }
    match std::str::from_utf8(head) {
        Ok(_) => Encoding::Utf8,
        Err(e) if e.error_len().is_none() => Encoding::Utf8,
        Err(_) if is_mostly_utf8(head) => Encoding::Utf8,
        Err(_) => legacy(head),
    }
}

/// True where more characters beyond ASCII are UTF-8 than are not: text that stray bytes got into.
fn is_mostly_utf8(head: &[u8]) -> bool {
    let (mut good, mut bad) = (0usize, 0usize);
    for chunk in head.utf8_chunks() {
        good = good.saturating_add(chunk.valid().chars().filter(|c| !c.is_ascii()).count());
        bad = bad.saturating_add(chunk.invalid().len());
    }
    good > 0 && good >= bad
}

/// The code page that `bytes` are most likely in.
pub(super) fn legacy(bytes: &[u8]) -> Encoding {
    let allow = chardetng::Iso2022JpDetection::Allow;
    let mut detector = chardetng::EncodingDetector::new(allow);
    detector.feed(bytes.get(..bytes.len().min(16 << 10)).unwrap_or(bytes), true);
    Encoding::Legacy(detector.guess(None, chardetng::Utf8Detection::Deny))
}

/// The encoding that a label names.
pub(super) fn named(label: &[u8]) -> Option<Encoding> {
    let page = encoding_rs::Encoding::for_label(label)?;
    Some(match page {
        page if page == UTF_8 => Encoding::Utf8,
        page if page == UTF_16LE => Encoding::Utf16Le,
        page if page == UTF_16BE => Encoding::Utf16Be,
        page => Encoding::Legacy(page),
    })
}

/// `Some(is_big_endian)` where most characters are Latin ones in UTF-16.
fn zeros_alternate(head: &[u8]) -> Option<bool> {
    let sample = head.get(..head.len().min(512)).unwrap_or(head);
    let zeros = |parity: usize| sample.iter().skip(parity).step_by(2).filter(|b| **b == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    let most = sample.len().saturating_mul(3) / 8;
    match (even, odd) {
        _ if sample.len() < 8 => None,
        (0..=2, odd) if odd > most => Some(false),
        (even, 0..=2) if even > most => Some(true),
        _ => None,
    }
}

/// The page's own decoder, where `encoding` is none of Unicode's.
pub(super) fn page(encoding: Encoding) -> &'static encoding_rs::Encoding {
    match encoding {
        Encoding::Utf8 => UTF_8,
        Encoding::Utf16Le => UTF_16LE,
        Encoding::Utf16Be => UTF_16BE,
        Encoding::Legacy(page) => page,
    }
}
