//! mbox: every message as a slice of the mailbox.
//!
//! Source: RFC 4155; Mozilla's and Unix's variants. A message starts at `From ` behind an empty line (or at the start)
//! that header lines follow, so that a sentence beginning so does not cut a message. Checked against
//! the text truth of the corpus.

use super::{Findings, MEMBER_CAP, Member};
use crate::bytes::offset;
use crate::content::Content;
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::identify::Identity;
use memchr::{memchr, memmem};

/// True for mailboxes.
pub fn accepts(identity: &Identity) -> bool {
    identity.mime == "application/mbox"
}

/// Tells every message.
///
/// # Errors
/// [`Spent`] where the fuel ends, or no more members are wanted.
pub fn extract(content: &Content<'_>, _: &Identity, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    let bytes = content.contiguous(MEMBER_CAP).unwrap_or_else(|| content.prefix(MEMBER_CAP));
    if offset(bytes.len()) < content.size() {
        found.fault(Fault::new(offset(bytes.len()), "mbox", "is read only so far"));
    }
    fuel.burn(offset(bytes.len()))?;
    let mut starts = memmem::find_iter(&bytes, b"\nFrom ").filter_map(|at| at.checked_add(1));
    let mut starts = std::iter::once(0).chain(starts.by_ref()).filter(|at| is_start(&bytes, *at)).peekable();
    let mut number = 0u64;
    while let Some(start) = starts.next() {
        let end = starts.peek().copied().unwrap_or(bytes.len());
        let from = start.saturating_add(line_len(bytes.get(start..end).unwrap_or_default()));
        number = number.saturating_add(1);
        let slice = content.slice(offset(from), offset(end.saturating_sub(from)));
        found.member(Member::new(format!("message {number}.eml"), slice), fuel)?;
    }
    Ok(())
}

/// True where a `From ` line stands behind an empty one and before a header line.
fn is_start(bytes: &[u8], at: usize) -> bool {
    let before = bytes.get(..at).unwrap_or_default();
    let empty = before.is_empty() || before.ends_with(b"\n\n") || before.ends_with(b"\n\r\n");
    let rest = bytes.get(at..).unwrap_or_default();
    let next = rest.get(line_len(rest)..).unwrap_or_default();
    let name = next.get(..next.len().min(80)).unwrap_or_default();
    let header = memchr(b':', name).is_some_and(|colon| {
        colon > 0 && name.iter().take(colon).all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    });
    rest.starts_with(b"From ") && empty && header
}

fn line_len(bytes: &[u8]) -> usize {
    memchr(b'\n', bytes).map_or(bytes.len(), |at| at.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::super::collect::Collected;
    use super::*;
    use crate::identify::UNKNOWN;

    #[test]
    fn messages_are_cut_where_they_start() {
        let mbox = b"From a Mon Jan  1 2024\nSubject: x\n\nFrom here on\nwords\n\nFrom nobody\nnothing\n\nFrom b Mon Jan  1 2024\r\nSubject: y\r\n\r\nend\r\n";
        let mut found = Collected::default();
        extract(&Content::borrowed(mbox), &UNKNOWN, &mut found, &mut Fuel::new(1 << 20)).unwrap();
        let sizes: Vec<_> = found.members.iter().map(|(name, bytes)| (name.as_str(), bytes.len())).collect();
        assert_eq!(sizes, [("message 1.eml", 53), ("message 2.eml", 19)]);
    }
}
