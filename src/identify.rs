//! What content is, told by its bytes and never by its name.
//!
//! The formats that evidex reads are told apart here; the long tail goes to the `file-format` crate. What has no
//! signature is text if its first bytes decode as text. Checked against the format truth of
//! the corpus (`tests/documents.rs`).

mod names;
mod package;
mod signature;
mod text;

pub use names::extension_mismatch;
pub(crate) use text::is_mail;

use file_format::FileFormat;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Media type; `application/octet-stream` where nothing fits, `inode/x-empty` for nothing.
    pub mime: &'static str,
    /// Usual extensions, without the dot, the commonest first; empty where none is usual.
    pub extensions: &'static [&'static str],
}

impl Identity {
    /// True for text of any kind: plain, source, markup, mail.
    pub fn is_text(&self) -> bool {
        const TEXTUAL: &[&str] = &["message/rfc822", "application/mbox", "application/json", "application/xhtml+xml"];
        self.mime.starts_with("text/") || self.mime.ends_with("+xml") || TEXTUAL.contains(&self.mime)
    }
}

/// How many of the first bytes are needed.
pub const HEAD: u64 = 64 << 10;

/// Nothing known.
pub const UNKNOWN: Identity = id("application/octet-stream", &[]);

/// No content at all.
pub const EMPTY: Identity = id("inode/x-empty", &[]);

const fn id(mime: &'static str, extensions: &'static [&'static str]) -> Identity {
    Identity { mime, extensions }
}

/// Tells what content is by its first [`HEAD`] bytes and its size.
pub fn identify(head: &[u8], size: u64) -> Identity {
    if size == 0 || head.is_empty() {
        return EMPTY;
    }
    if let Some(known) = signature::known(head) {
        return known;
    }
    // Text before the long tail: its two-byte signatures would take words for formats.
    if let Some(text) = text::unicode(head, size) {
        return text;
    }
    long_tail(head).or_else(|| text::legacy(head)).unwrap_or(UNKNOWN)
}

/// The formats that only the `file-format` crate knows.
fn long_tail(head: &[u8]) -> Option<Identity> {
    let format = FileFormat::from_bytes(head);
    let nothing = matches!(format.media_type(), "application/octet-stream" | "application/x-empty" | "text/plain");
    if nothing {
        return None;
    }
    // The crate lends its names from the format; one copy of each format that occurs makes them live for good.
    static SEEN: Mutex<BTreeMap<FileFormat, Identity>> = Mutex::new(BTreeMap::new());
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let identity = seen.entry(format).or_insert_with(|| {
        let format: &'static FileFormat = Box::leak(Box::new(format));
        id(format.media_type(), Box::leak(Box::new([format.extension()])))
    });
    Some(*identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mime(head: &[u8]) -> &'static str {
        identify(head, head.len() as u64).mime
    }

    #[test]
    fn text_is_told_in_its_encodings() {
        assert_eq!(mime(b"hello world, this is text\n"), "text/plain");
        assert_eq!(mime("größer als naïve\n".as_bytes()), "text/plain");
        let utf16: Vec<u8> = "plain words here".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(mime(&utf16), "text/plain");
        assert_eq!(mime(b"gr\xf6\xdfer als na\xefve W\xf6rter\r\n"), "text/plain");
        assert_eq!(mime(&[0, 1, 2, 3, 255, 254, 9, 8, 7]), "application/octet-stream");
        assert_eq!(identify(b"", 0), EMPTY);
    }

    #[test]
    fn marked_up_text_is_told_apart() {
        assert_eq!(mime(b"\n <!doctype HTML><p>x"), "text/html");
        assert_eq!(mime(b"<?xml version=\"1.0\"?><a/>"), "application/xml");
        assert_eq!(mime(b"{\\rtf1\\ansi hello}"), "text/rtf");
        assert_eq!(mime(b"From: a@b.c\r\nTo: d@e.f\r\nSubject: x\r\n\r\nhello"), "message/rfc822");
        assert_eq!(mime(b"From a@b.c Mon Jan  1 00:00:00 2024\nFrom: a@b.c\nSubject: x\n\nhello"), "application/mbox");
        assert_eq!(mime(b"From: a note to myself, not a mail\n\nhello"), "text/plain");
    }

    #[test]
    fn an_extension_of_another_type_is_a_mismatch() {
        let jpeg = identify(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01", 100);
        assert_eq!(jpeg.mime, "image/jpeg");
        assert!(extension_mismatch(&jpeg, "a.dll") && extension_mismatch(&jpeg, "holiday.TXT"));
        assert!(!extension_mismatch(&jpeg, "a.JPG") && !extension_mismatch(&jpeg, "a.qqq"));
        assert!(!extension_mismatch(&jpeg, "jpg"));
        let text = identify(b"just some words\n", 16);
        assert!(extension_mismatch(&text, "a.jpg") && !extension_mismatch(&text, "a.log"));
        assert!(!extension_mismatch(&UNKNOWN, "a.jpg"));
        assert!(!extension_mismatch(&EMPTY, "a.jpg"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), start in 0usize..8) {
            let starts: [&[u8]; 8] = [b"", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"MZ", b"<?xml", b"From ", b"\0\0\0\x18ftyp", b"\xff\xfe"];
            let head = [starts[start], &bytes].concat();
            let identity = identify(&head, head.len() as u64);
            let _ = extension_mismatch(&identity, "a.txt");
            bytes.clear();
        }
    }
}
