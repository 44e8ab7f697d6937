//! Mail: header, bodies and attachments of a message.
//!
//! Sources: RFC 5322, RFC 2045 to 2047, read by the `mail-parser` crate. A header line or a body that stands in the
//! message as such has its place. Attachments are decoded from their raw bytes, so that their hash is that of the file
//! that was attached, whatever its character set. Checked against the text truth of the corpus.

use super::{Findings, MEMBER_CAP, Member, html, plain};
use crate::bytes::{index, offset};
use crate::content::Content;
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::identify::Identity;
use crate::text::{Encoding as Charset, Place};
use mail_parser::{Address, Encoding, Header, HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use std::borrow::Cow;

/// True for messages.
pub fn accepts(identity: &Identity) -> bool {
    identity.mime == "message/rfc822"
}

/// Reads a message.
///
/// # Errors
/// [`Spent`] where the fuel ends, or no more is wanted.
pub fn extract(content: &Content<'_>, _: &Identity, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    let raw = content.contiguous(MEMBER_CAP).unwrap_or_else(|| content.prefix(MEMBER_CAP));
    if offset(raw.len()) < content.size() {
        found.fault(Fault::new(offset(raw.len()), "mail", "is read only so far"));
    }
    fuel.burn(offset(raw.len()))?;
    let Some(message) = MessageParser::default().parse(raw.as_ref()) else {
        found.fault(Fault::new(0, "mail", "is no message"));
        return plain::pieces(&String::from_utf8_lossy(&raw), None, found, fuel);
    };
    properties(&message, found);
    for header in message.headers() {
        tell_header(header, &raw, found)?;
    }
    for (number, part) in message.parts.iter().enumerate() {
        let id = u32::try_from(number).unwrap_or(u32::MAX);
        tell_part(content, &raw, part, message.attachments.contains(&id), number, found, fuel)?;
    }
    Ok(())
}

fn properties(message: &Message<'_>, found: &mut dyn Findings) {
    let people = |list: Option<&Address<'_>>| list.map(addresses).filter(|text| !text.is_empty());
    let date = message.date().map(mail_parser::DateTime::to_rfc3339);
    let rows = [
        ("from", people(message.from())),
        ("to", people(message.to())),
        ("cc", people(message.cc())),
        ("subject", message.subject().map(str::to_owned)),
        ("date", date),
        ("message-id", message.message_id().map(str::to_owned)),
    ];
    for (name, value) in rows {
        if let Some(value) = value {
            found.property(name, &value);
        }
    }
}

fn addresses(list: &Address<'_>) -> String {
    let one = |a: &mail_parser::Addr<'_>| match (a.name(), a.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.or(address).unwrap_or_default().to_owned(),
    };
    list.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The line as it stands; decoded, and without a place, where it bears an encoded word.
fn tell_header(header: &Header<'_>, raw: &[u8], found: &mut dyn Findings) -> Result<(), Spent> {
    let (from, to) = (index(header.offset_field.into()), index(header.offset_end.into()));
    let line = raw.get(from..to).unwrap_or_default();
    let encoded = memchr::memmem::find(line, b"=?").is_some();
    if !encoded && let Ok(text) = std::str::from_utf8(line) {
        let place = Place { offset: offset(from), encoding: Charset::Utf8 };
        return found.text(text.trim_end(), Some(place));
    }
    let value = match &header.value {
        HeaderValue::Text(text) => text.to_string(),
        HeaderValue::TextList(list) => list.join(" "),
        HeaderValue::Address(list) => addresses(list),
        _ => String::from_utf8_lossy(line).into_owned(),
    };
    found.text(&format!("{}: {value}", header.name.as_str()), None)
}

fn tell_part(
    content: &Content<'_>,
    raw: &[u8],
    part: &MessagePart<'_>,
    attached: bool,
    number: usize,
    found: &mut dyn Findings,
    fuel: &mut Fuel,
) -> Result<(), Spent> {
    match &part.body {
        PartType::Multipart(_) => Ok(()),
        PartType::Text(text) if !attached => plain::pieces(text, standing(raw, part, text), found, fuel),
        PartType::Html(text) if !attached => html::run(text, false, found, fuel),
        _ => {
            let mut member = Member::new(name(part, number), bytes_of(content, raw, part, fuel)?);
            member.attachment = true;
            if part.is_encoding_problem {
                member.faults.push(Fault::new(0, "mail", "its transfer encoding is damaged"));
            }
            found.member(member, fuel)
        }
    }
}

/// Where a body stands as such in the message.
fn standing(raw: &[u8], part: &MessagePart<'_>, text: &str) -> Option<u64> {
    let body = raw.get(index(part.offset_body.into())..)?;
    (part.encoding == Encoding::None && body.starts_with(text.as_bytes())).then_some(part.offset_body.into())
}

fn name(part: &MessagePart<'_>, number: usize) -> String {
    let subject = match &part.body {
        PartType::Message(message) => message.subject().map(|subject| format!("{subject}.eml")),
        _ => None,
    };
    part.attachment_name().map(str::to_owned).or(subject).unwrap_or_else(|| format!("part {number}"))
}

/// A part's own bytes: a slice of the message where they stand as such.
fn bytes_of<'c>(
    content: &Content<'c>,
    raw: &[u8],
    part: &MessagePart<'_>,
    fuel: &mut Fuel,
) -> Result<Content<'c>, Spent> {
    let (from, to) = (u64::from(part.offset_body), u64::from(part.offset_end));
    let body = raw.get(index(from)..index(to)).unwrap_or_default();
    let decoded = match part.encoding {
        Encoding::None => return Ok(content.slice(from, to.saturating_sub(from))),
        Encoding::Base64 => mail_parser::decoders::base64::base64_decode(body),
        Encoding::QuotedPrintable => mail_parser::decoders::quoted_printable::quoted_printable_decode(body),
    };
    let bytes = decoded.map_or_else(|| Cow::Borrowed(part.contents()), Cow::Owned);
    fuel.burn(offset(bytes.len()))?;
    Ok(Content::owned(bytes.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::collect::Collected;
    use super::*;
    use crate::identify::UNKNOWN;
    use proptest::prelude::*;

    const MAIL: &[u8] = b"From: =?utf-8?q?J=C3=B6rg?= <a@b.c>\r\nTo: d@e.f\r\nSubject: hello words\r\n\
        MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=xx\r\n\r\n--xx\r\nContent-Type: text/plain\r\n\r\n\
        standing text\r\n--xx\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        a soft wo=\r\nrd\r\n--xx\r\nContent-Type: text/plain; name=\"a.txt\"\r\nContent-Disposition: attachment; filename=\"a.txt\"\r\n\
        Content-Transfer-Encoding: base64\r\n\r\n/+hlbGxv\r\n--xx--\r\n";

    fn run(bytes: &[u8]) -> Collected {
        let mut found = Collected::default();
        let _ = extract(&Content::borrowed(bytes), &UNKNOWN, &mut found, &mut Fuel::new(1 << 24));
        found
    }

    #[test]
    fn header_bodies_and_attachments_are_read() {
        let found = run(MAIL);
        for text in ["Jörg", "hello words", "standing text", "soft word"] {
            assert!(found.text.body.contains(text), "{text}: {}", found.text.body);
        }
        let at = found.text.body.find("standing").unwrap();
        let expected = memchr::memmem::find(MAIL, b"standing").map(|at| at as u64);
        assert_eq!(found.text.locate(at).map(|p| p.offset), expected);
        assert_eq!(found.members, [("a.txt".to_owned(), b"\xff\xe8ello".to_vec())]);
        assert!(found.properties.contains(&("subject", "hello words".to_owned())));
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..600, bit in 0u8..8, cut in 0usize..700) {
            let mut mail = MAIL.to_vec();
            let len = mail.len();
            mail[at % len] ^= 1 << bit;
            mail.truncate(len - cut % len);
            run(&mail);
        }
    }
}
