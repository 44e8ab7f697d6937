//! tar: every file in it, as a slice of the archive.
//!
//! Source: POSIX.1-2001 `pax` (ustar and extended headers), GNU tar's long names, read by the `tar` crate. Behind a bad
//! header the next sound one is looked for. Checked against 7-Zip 16.02 by the corpus' archive truth.

use super::{Findings, Member};
use crate::content::Content;
use crate::fault::Fault;
use crate::fuel::{Fuel, Spent};
use crate::identify::{Identity, identify};
use crate::time::Timestamp;

/// Bytes of a block; everything begins at a multiple.
const BLOCK: u64 = 512;

/// True for tar.
pub fn accepts(identity: &Identity) -> bool {
    identity.mime == "application/x-tar"
}

/// Tells every file.
///
/// # Errors
/// [`Spent`] where the fuel ends, or no more members are wanted.
pub fn extract(content: &Content<'_>, _: &Identity, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<(), Spent> {
    let mut from = 0u64;
    while let Some(next) = stretch(content, from, found, fuel)? {
        from = next;
    }
    Ok(())
}

/// Reads the archive from `from` on to its end, or to a bad header; then gives where to go on.
fn stretch(content: &Content<'_>, from: u64, found: &mut dyn Findings, fuel: &mut Fuel) -> Result<Option<u64>, Spent> {
    let rest = content.slice(from, u64::MAX);
    let mut archive = tar::Archive::new(rest.reader());
    let Ok(entries) = archive.entries_with_seek() else { return Ok(None) };
    let mut end = 0u64;
    for entry in entries {
        fuel.burn(BLOCK)?;
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                found.fault(Fault::new(from.saturating_add(end), "tar", format!("bad header: {e}")));
                return next_header(content, from.saturating_add(end), fuel);
            }
        };
        end =
            entry.raw_file_position().saturating_add(entry.size().checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX));
        if let Some(member) = member(&rest, &entry) {
            found.member(member, fuel)?;
        }
    }
    Ok(None)
}

fn member<'c, R: std::io::Read>(archive: &Content<'c>, entry: &tar::Entry<'_, R>) -> Option<Member<'c>> {
    let kind = entry.header().entry_type();
    if !(kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse()) {
        return None;
    }
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let mut member = Member::new(name, archive.slice(entry.raw_file_position(), entry.size()));
    member.mtime = entry.header().mtime().ok().and_then(|s| i64::try_from(s).ok()).map(Timestamp::unix);
    if member.content.size() < entry.size() {
        member.size = Some(entry.size());
        member.faults.push(Fault::new(0, "tar", "the archive ends before the member does"));
    }
    Some(member)
}

/// The next block behind `from` that is a sound header.
fn next_header(content: &Content<'_>, from: u64, fuel: &mut Fuel) -> Result<Option<u64>, Spent> {
    let mut at = from.saturating_add(BLOCK);
    while at < content.size() {
        fuel.burn(BLOCK)?;
        let block = content.slice(at, BLOCK);
        if accepts(&identify(&block.prefix(BLOCK), BLOCK)) {
            return Ok(Some(at));
        }
        at = at.saturating_add(BLOCK);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::super::collect::Collected;
    use super::*;
    use crate::identify::UNKNOWN;
    use proptest::prelude::*;

    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let long = format!("{}/long.txt", "deep".repeat(40));
        for (name, len) in [("a.txt", 10usize), (long.as_str(), 700), ("last.txt", 5)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(len as u64);
            header.set_mtime(99);
            header.set_cksum();
            builder.append_data(&mut header, name, &vec![b'x'; len][..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn run(bytes: &[u8]) -> Collected {
        let mut found = Collected::default();
        let _ = extract(&Content::borrowed(bytes), &UNKNOWN, &mut found, &mut Fuel::new(1 << 20));
        found
    }

    #[test]
    fn files_are_slices_and_damage_is_stepped_over() {
        let mut tar = archive();
        let found = run(&tar);
        let sizes: Vec<_> = found.members.iter().map(|(name, bytes)| (name.len(), bytes.len())).collect();
        assert_eq!(sizes, [(5, 10), (169, 700), (8, 5)]);
        tar[3] ^= 0x55;
        let found = run(&tar);
        assert_eq!(found.members.last().map(|(name, _)| name.as_str()), Some("last.txt"));
        assert_eq!(found.faults.len(), 1);
    }

    proptest! {
        #[test]
        fn damage_never_panics(at in 0usize..4000, bit in 0u8..8, cut in 0usize..5000) {
            let mut tar = archive();
            let len = tar.len();
            tar[at % len] ^= 1 << bit;
            tar.truncate(len - cut % len);
            run(&tar);
        }
    }
}
