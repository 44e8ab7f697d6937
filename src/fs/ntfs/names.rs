//! `$FILE_NAME`s that nothing leads to: in what is left behind the entries of an index, behind the attributes of a
//! record, and in the log.
//!
//! A name is taken for one where all its fields can be (NTFS documentation, attribute 0x30): parent, four times, sizes,
//! namespace, and a name that Windows could have written. Before it stands the head of an index entry, with the record
//! that is named, or of an attribute; a shorter index leaves the last of its entries without the first half of its head.

use super::record::Reference;
use super::tree::FileName;
use crate::bytes::Fields;

/// Length of a `$FILE_NAME` without its name.
const HEAD: usize = 66;
/// 1970 and 2100, in steps of 100 nanoseconds since 1601.
const YEARS: std::ops::Range<u64> = 116_444_736_000_000_000..157_469_184_000_000_000;
/// No file is larger than this.
const MAX_SIZE: u64 = 1 << 56;

/// A name that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit<'b> {
    /// Offset of the `$FILE_NAME`.
    pub(super) at: usize,
    /// The record that it names, where the head of its index entry is still there.
    pub(super) reference: Option<Reference>,
    value: &'b [u8],
}

impl Hit<'_> {
    /// The name; most of those that are found are of files that are listed, and are not asked for it.
    pub(super) fn name(&self) -> Option<FileName> {
        FileName::parse(self.value)
    }
}

/// All names in `bytes` from `from` on, of a table of `records` records. They stand at multiples of eight.
pub(super) fn scan(bytes: &[u8], from: usize, records: u64) -> impl Iterator<Item = Hit<'_>> {
    let mut at = from.next_multiple_of(8);
    std::iter::from_fn(move || {
        while at.saturating_add(HEAD) < bytes.len() {
            let hit = read(bytes, at, records);
            at = at.saturating_add(if hit.is_some() { HEAD.next_multiple_of(8) } else { 8 });
            if hit.is_some() {
                return hit;
            }
        }
        None
    })
}

/// The name at `at`, if it can be one.
pub(super) fn read(bytes: &[u8], at: usize, records: u64) -> Option<Hit<'_>> {
    let value = bytes.get(at..)?;
    for time in [8, 16, 24, 32] {
        YEARS.contains(&value.le64(time)?).then_some(())?;
    }
    let parent = Reference::parse(value.le64(0)?);
    let sizes = value.le64(40)? < MAX_SIZE && value.le64(48)? < MAX_SIZE;
    let fits = is_record(parent, records) && sizes && value.byte(65)? <= 3 && value.byte(64)? > 0;
    fits.then_some(())?;
    let length = value.byte(64)?;
    is_name(value.span(HEAD, usize::from(length).checked_mul(2)?)?).then_some(())?;
    let reference = named(bytes, at, length).filter(|r| is_record(*r, records));
    Some(Hit { at, reference, value })
}

fn is_record(reference: Reference, records: u64) -> bool {
    reference.record < records && reference.sequence != 0
}

/// Whether all of it is UTF-16 that a name may have.
fn is_name(name: &[u8]) -> bool {
    let wrong = |c: char| c < ' ' || matches!(c, '/' | char::REPLACEMENT_CHARACTER | '\u{ffff}');
    let units = name.chunks_exact(2).filter_map(|pair| pair.le16(0));
    char::decode_utf16(units).all(|c| c.is_ok_and(|c| !wrong(c)))
}

/// The reference in the head of the index entry before the name.
fn named(bytes: &[u8], at: usize, length: u8) -> Option<Reference> {
    let head = bytes.span(at.checked_sub(16)?, 16)?;
    let key = usize::from(length).checked_mul(2)?.checked_add(HEAD)?;
    let entry = usize::from(head.le16(8)?);
    let fits = usize::from(head.le16(10)?) == key && entry >= key && entry.is_multiple_of(8);
    fits.then(|| head.le64(0).map(Reference::parse)).flatten()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An index entry for record 40, sequence 3, in the root.
    pub(crate) fn entry(name: &str, size: u64) -> Vec<u8> {
        let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let key = HEAD + units.len();
        let mut bytes = vec![0u8; (16 + key).next_multiple_of(8)];
        let length = bytes.len() as u16;
        bytes[..8].copy_from_slice(&(40u64 | 3 << 48).to_le_bytes());
        bytes[8..10].copy_from_slice(&length.to_le_bytes());
        bytes[10..12].copy_from_slice(&(key as u16).to_le_bytes());
        bytes[16..24].copy_from_slice(&(5u64 | 5 << 48).to_le_bytes());
        for time in 0..4 {
            let at = 24 + 8 * time;
            bytes[at..at + 8].copy_from_slice(&(133_000_000_000_000_000u64 + time as u64).to_le_bytes());
        }
        bytes[64..72].copy_from_slice(&size.to_le_bytes());
        bytes[80] = name.len() as u8;
        bytes[81] = 1;
        bytes[82..82 + units.len()].copy_from_slice(&units);
        bytes
    }

    #[test]
    fn an_entry_is_found_with_what_it_names_and_without() {
        let mut bytes = vec![0u8; 64];
        bytes.extend(entry("letter.txt", 77));
        bytes.extend([0; 24]);
        let hits: Vec<Hit<'_>> = scan(&bytes, 0, 100).collect();
        assert_eq!(hits.len(), 1);
        assert_eq!(hits[0].reference, Some(Reference { record: 40, sequence: 3 }));
        assert_eq!(hits[0].name().map(|n| (n.name, n.size)), Some(("letter.txt".to_owned(), 77)));
        // The end mark of the shorter index covers the first eight bytes.
        bytes[64..72].copy_from_slice(&[0, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(scan(&bytes, 72, 100).next().map(|hit| hit.reference), Some(None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..600), from in 0usize..700) {
            prop_assert!(scan(&bytes, from, 1000).count() < 20);
        }
    }
}
