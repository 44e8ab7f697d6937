//! HTML, XHTML and XML: the words that a reader sees, and those in the attributes that matter.
//!
//! Source: WHATWG HTML, 13.2.5 (tokenisation) and 13.5 (named character references), reduced to what text needs. Block
//! tags part words, inline tags do not: `<b>wo</b>rd` is one word. A piece that stands in the content as such has its
//! place; a word that was put together has none. Checked against the text truth of the corpus.

mod entity;
mod join;

use super::{Findings, MEMBER_CAP, charset};
use crate::bytes::offset;
use crate::content::Content;
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::identify::Identity;
use crate::text::{Encoding, Place};
use join::Joiner;
use memchr::{memchr2, memmem};
use std::borrow::Cow;

/// True for markup.
pub fn accepts(identity: &Identity) -> bool {
    matches!(identity.mime, "text/html" | "application/xml") || identity.mime.ends_with("+xml")
}

/// Reads a page.
///
/// # Errors
/// [`Spent`] where the fuel ends, or no more text is wanted.
pub fn extract(
    content: &Content<'_>,
    identity: &Identity,
    found: &mut dyn Findings,
    fuel: &mut Fuel,
) -> Result<(), Spent> {
    let bytes = content.contiguous(MEMBER_CAP).unwrap_or_else(|| content.prefix(MEMBER_CAP));
    if offset(bytes.len()) < content.size() {
        found.fault(Fault::new(offset(bytes.len()), "html", "is read only so far"));
    }
    let (encoding, mark) = encoding(&bytes);
    let xml = identity.mime != "text/html";
    let body = bytes.get(mark..).unwrap_or_default();
    let as_such = matches!(encoding, Encoding::Utf8) || is_ascii_compatible(encoding);
    if as_such {
        return Page { bytes: body, base: Some(offset(mark)), encoding, xml }.run(found, fuel);
    }
    let text = charset::page(encoding).decode_without_bom_handling(body).0;
    run(&text, xml, found, fuel)
}

/// Reads markup that is already decoded, and has no place in the content.
pub(super) fn run(text: &str, xml: bool, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    Page { bytes: text.as_bytes(), base: None, encoding: Encoding::Utf8, xml }.run(found, fuel)
}

fn is_ascii_compatible(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::Legacy(page) if page.is_ascii_compatible())
}

/// By mark, by `charset=` or `encoding=` in the first bytes, by statistics.
fn encoding(bytes: &[u8]) -> (Encoding, usize) {
    let head = bytes.get(..bytes.len().min(64 << 10)).unwrap_or(bytes);
    let (detected, mark) = charset::detect(head);
    if mark > 0 || matches!(detected, Encoding::Utf16Le | Encoding::Utf16Be) {
        return (detected, mark);
    }
    let start = bytes.get(..bytes.len().min(4096)).unwrap_or(bytes).to_ascii_lowercase();
    let label = |key: &[u8]| {
        let at = memmem::find(&start, key)?.checked_add(key.len())?;
        let value = start.get(at..)?.trim_ascii_start();
        let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value);
        let end = value.iter().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')))?;
        charset::named(value.get(..end)?)
    };
    let named = label(b"charset=").or_else(|| label(b"encoding="));
    // A label of UTF-16 in bytes that are none is a mistake; so is one of UTF-8 where the bytes do not decode.
    let believable = named.filter(|n| !matches!(n, Encoding::Utf16Le | Encoding::Utf16Be) && *n != Encoding::Utf8);
    (
        if detected == Encoding::Utf8 && head.is_ascii() {
            named.filter(|n| believable == Some(*n)).unwrap_or(detected)
        } else {
            believable.unwrap_or(detected)
        },
        0,
    )
}

struct Page<'b> {
    bytes: &'b [u8],
    /// Offset of the first byte in the content, where the bytes stand there as such.
    base: Option<u64>,
    encoding: Encoding,
    xml: bool,
}

/// Elements that do not part words.
const INLINE: &[&str] = &[
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i", "ins",
    "kbd", "mark", "nobr", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var",
    "wbr", "tspan",
];

/// Attributes that are text or addresses.
const ATTRIBUTES: &[&str] =
    &["href", "src", "alt", "title", "content", "placeholder", "value", "label", "cite", "action"];

impl<'b> Page<'b> {
    fn run(&self, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
        fuel.burn(offset(self.bytes.len()))?;
        let mut out = Joiner::new(found);
        let mut at = 0usize;
        while at < self.bytes.len() {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let len = memchr2(b'<', b'&', rest).unwrap_or(rest.len());
            self.text(at, at.saturating_add(len), &mut out)?;
            at = at.saturating_add(len);
            at = match self.bytes.get(at) {
                Some(b'&') => self.reference(at, &mut out)?,
                Some(_) => self.tag(at, &mut out)?,
                None => at,
            };
        }
        out.finish()
    }

    fn text(&self, from: usize, to: usize, out: &mut Joiner<'_>) -> Result<(), Spent> {
        let bytes = self.bytes.get(from..to).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(());
        }
        let (text, encoding) = self.decode(bytes);
        let place = self.base.map(|base| Place { offset: base.saturating_add(offset(from)), encoding });
        out.push(&text, place)
    }

    /// What is no UTF-8 in a page that should be is taken as Western text: one character a byte.
    fn decode<'t>(&self, bytes: &'t [u8]) -> (Cow<'t, str>, Encoding) {
        let western = encoding_rs::WINDOWS_1252;
        match (self.encoding, std::str::from_utf8(bytes)) {
            (Encoding::Utf8, Ok(text)) => (Cow::Borrowed(text), Encoding::Utf8),
            (Encoding::Utf8, Err(_)) => (western.decode_without_bom_handling(bytes).0, Encoding::Legacy(western)),
            (encoding, _) => (charset::page(encoding).decode_without_bom_handling(bytes).0, encoding),
        }
    }

    fn reference(&self, at: usize, out: &mut Joiner<'_>) -> Result<usize, Spent> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        match entity::decode(rest) {
            Some((text, len)) => {
                out.push(&text, None)?;
                Ok(at.saturating_add(len))
            }
            None => {
                self.text(at, at.saturating_add(1), out)?;
                Ok(at.saturating_add(1))
            }
        }
    }

    /// Steps over the tag, comment or declaration at `at`.
    fn tag(&self, at: usize, out: &mut Joiner<'_>) -> Result<usize, Spent> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        if rest.starts_with(b"<!--") {
            let len = memmem::find(rest, b"-->").unwrap_or(rest.len());
            out.flush()?;
            self.text(at.saturating_add(4), at.saturating_add(len), out)?;
            out.flush()?;
            return Ok(at.saturating_add(len).saturating_add(3));
        }
        if rest.starts_with(b"<![CDATA[") {
            let len = memmem::find(rest, b"]]>").unwrap_or(rest.len());
            self.text(at.saturating_add(9), at.saturating_add(len), out)?;
            return Ok(at.saturating_add(len).saturating_add(3));
        }
        match rest.get(1) {
            Some(b'!' | b'?') => Ok(at.saturating_add(tag_len(rest))),
            Some(b'/') => self.element(at, 2, out),
            Some(b) if b.is_ascii_alphabetic() => self.element(at, 1, out),
            _ => {
                self.text(at, at.saturating_add(1), out)?;
                Ok(at.saturating_add(1))
            }
        }
    }

    fn element(&self, at: usize, skip: usize, out: &mut Joiner<'_>) -> Result<usize, Spent> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let tag = rest.get(skip..tag_len(rest)).unwrap_or_default();
        let name_len =
            tag.iter().position(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/')).unwrap_or(tag.len());
        let name = String::from_utf8_lossy(tag.get(..name_len).unwrap_or_default()).to_ascii_lowercase();
        if self.xml || !INLINE.contains(&name.as_str()) {
            out.flush()?;
        }
        let opens = skip == 1;
        out.title(&name, opens)?;
        if opens {
            self.attributes(
                at.saturating_add(skip).saturating_add(name_len),
                tag.get(name_len..).unwrap_or_default(),
                out,
            )?;
        }
        let end = at.saturating_add(tag_len(rest));
        let raw = opens && !self.xml && matches!(name.as_str(), "script" | "style");
        Ok(if raw { self.raw_end(end, &name) } else { end })
    }

    /// Where the raw text of a script or a style ends.
    fn raw_end(&self, from: usize, name: &str) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        let close = memmem::find_iter(rest, b"</").find(|at| {
            let after = rest.get(at.saturating_add(2)..at.saturating_add(2).saturating_add(name.len()));
            after.is_some_and(|after| after.eq_ignore_ascii_case(name.as_bytes()))
        });
        from.saturating_add(close.unwrap_or(rest.len()))
    }

    /// Tells the values of attributes that are text.
    fn attributes(&self, at: usize, tag: &[u8], out: &mut Joiner<'_>) -> Result<(), Spent> {
        let mut here = 0usize;
        while let Some((name, from, to, next)) = attribute(tag, here) {
            here = next;
            let wanted = self.xml || ATTRIBUTES.iter().any(|a| a.as_bytes().eq_ignore_ascii_case(name));
            let value = tag.get(from..to).unwrap_or_default();
            if !wanted || value.is_empty() || value.starts_with(b"data:") || name.starts_with(b"xmlns") {
                continue;
            }
            let (text, encoding) = self.decode(value);
            let plain = memchr::memchr(b'&', value).is_none();
            let place = self
                .base
                .filter(|_| plain)
                .map(|base| Place { offset: base.saturating_add(offset(at)).saturating_add(offset(from)), encoding });
            out.aside(&entity::decode_all(&text), place)?;
        }
        Ok(())
    }
}

/// Length of the tag at the start, with its `>`: quotes hide one.
fn tag_len(rest: &[u8]) -> usize {
    let mut at = 1usize;
    loop {
        let here = rest.get(at..).unwrap_or_default();
        let Some(skip) = memchr::memchr3(b'>', b'"', b'\'', here) else { return rest.len() };
        let mark = at.saturating_add(skip);
        match rest.get(mark) {
            Some(b'>') => return mark.saturating_add(1),
            Some(quote) => {
                let after = rest.get(mark.saturating_add(1)..).unwrap_or_default();
                // Only a quote that follows a `=` opens a value; a stray one is part of the tag.
                let opens = rest.get(..mark).unwrap_or_default().trim_ascii_end().ends_with(b"=");
                let close = memchr::memchr(*quote, after).filter(|_| opens);
                at = mark.saturating_add(1).saturating_add(close.map_or(0, |len| len.saturating_add(1)));
            }
            None => return rest.len(),
        }
    }
}

/// The next `name="value"` from `at` on: name, start and end of the value, and where to go on.
fn attribute(tag: &[u8], at: usize) -> Option<(&[u8], usize, usize, usize)> {
    let equals = memchr::memchr(b'=', tag.get(at..)?)?.checked_add(at)?;
    let before = tag.get(at..equals)?.trim_ascii_end();
    let name = before.rsplit(|b| b.is_ascii_whitespace() || *b == b'/').next()?;
    let white = tag.get(equals.checked_add(1)?..)?.iter().take_while(|b| b.is_ascii_whitespace()).count();
    let start = equals.checked_add(1)?.checked_add(white)?;
    let (from, len) = match tag.get(start)? {
        quote @ (b'"' | b'\'') => {
            let from = start.checked_add(1)?;
            (from, memchr::memchr(*quote, tag.get(from..)?)?)
        }
        _ => {
            let end = |b: &u8| b.is_ascii_whitespace() || *b == b'>';
            let value = tag.get(start..)?;
            (start, value.iter().position(end).unwrap_or(value.len()))
        }
    };
    let to = from.checked_add(len)?;
    Some((name, from, to, to.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::super::collect::Collected;
    use super::*;
    use proptest::prelude::*;

    fn page(bytes: &[u8]) -> Collected {
        let mut found = Collected::default();
        let identity = Identity { mime: "text/html", extensions: &[] };
        extract(&Content::borrowed(bytes), &identity, &mut found, &mut Fuel::new(1 << 24)).unwrap();
        found
    }

    fn words(bytes: &[u8]) -> String {
        page(bytes).text.body.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn inline_tags_and_entities_join_words_and_blocks_part_them() {
        assert_eq!(words(b"<p>one <b>wo</b>rd</p><p>z&#113;abc and z&#x71;d"), "one word zqabc and zqd");
        assert_eq!(words(b"<td>a</td><td>b</td>caf&eacute; x &amp; y &bogus; z"), "a b caf\u{e9} x & y &bogus; z");
        assert_eq!(words(b"<style>p{}</style><script>var a='<p>';</script>seen"), "seen");
        assert_eq!(words(b"<a href=\"http://x/?a&amp;b\" title=tip>t</a>"), "http://x/?a&b tip t");
        assert_eq!(words(b"a < b and <c"), "a < b and");
    }

    #[test]
    fn pieces_have_their_places_and_the_title_is_known() {
        let bytes = b"<title>A page</title><p>some <i>wo</i>rds stand here</p>";
        let found = page(bytes);
        assert_eq!(found.properties, [("title", "A page".to_owned())]);
        let at = found.text.body.find("stand").unwrap();
        assert_eq!(found.text.locate(at).map(|p| p.offset), memmem::find(bytes, b"stand").map(|at| at as u64));
        assert_eq!(found.text.locate(found.text.body.find("words").unwrap()), None);
    }

    #[test]
    fn the_character_set_is_heeded() {
        assert_eq!(words(b"<meta charset=windows-1251><p>\xef\xf0\xe8\xe2\xe5\xf2"), "привет");
        let wide: Vec<u8> = "\u{feff}<p>größer".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(words(&wide), "größer");
    }

    proptest! {
        #[test]
        fn any_markup_ends(text in "[<>&;/='\"a-z!?# -]{0,300}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            words(text.as_bytes());
            words(&bytes);
        }
    }
}
