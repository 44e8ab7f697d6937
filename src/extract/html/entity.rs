//! Character references: numeric ones, and named ones by the HTML5 table that quick-xml carries.

use quick_xml::escape::resolve_html5_entity;
use std::borrow::Cow;

/// The longest name is `CounterClockwiseContourIntegral`, with 31 letters.
const LONGEST: usize = 34;

/// The text of the reference at the start (an `&`) and its length; `None` where none is.
pub(super) fn decode(bytes: &[u8]) -> Option<(Cow<'static, str>, usize)> {
    let body = bytes.get(1..bytes.len().min(LONGEST))?;
    let word = body.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'#').count();
    let name = std::str::from_utf8(body.get(..word)?).ok()?;
    let closed = body.get(word) == Some(&b';');
    let len = word.checked_add(1)?.checked_add(usize::from(closed))?;
    let text = match name.strip_prefix('#') {
        Some(number) => Cow::Owned(numeric(number)?.to_string()),
        None if closed => Cow::Borrowed(resolve_html5_entity(name)?),
        None => return None,
    };
    Some((text, len))
}

/// HTML, 13.2.5.80: the control characters of ISO 8859-1 stand for those of windows-1252.
fn numeric(number: &str) -> Option<char> {
    let code = match number.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    match u8::try_from(code) {
        Ok(byte @ 0x80..=0x9f) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(&[byte]).0.chars().next(),
        _ => char::from_u32(code).filter(|c| *c != '\0'),
    }
}

/// Text with its references resolved.
pub(super) fn decode_all(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, from)) = rest.find('&').and_then(|at| rest.split_at_checked(at)) {
        out.push_str(before);
        let (piece, len) = decode(from.as_bytes()).unwrap_or((Cow::Borrowed("&"), 1));
        out.push_str(&piece);
        rest = from.get(len..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}
