//! An MFT record: its header, its fix-ups and its attributes.
//!
//! The last two bytes of every 512-byte stride hold the update sequence number; what belongs there stands in the update
//! sequence array. A stride whose number differs was torn by an unfinished write.

use crate::bytes::{Fields, index, utf16_le};
use crate::content::Run;

/// The stride of fix-ups, whatever the sector size.
pub(super) const STRIDE: usize = 512;

/// Attribute types.
pub(super) mod kind {
    pub(crate) const STANDARD_INFORMATION: u32 = 0x10;
    pub(crate) const ATTRIBUTE_LIST: u32 = 0x20;
    pub(crate) const FILE_NAME: u32 = 0x30;
    pub(crate) const OBJECT_ID: u32 = 0x40;
    pub(crate) const VOLUME_NAME: u32 = 0x60;
    pub(crate) const DATA: u32 = 0x80;
    pub(crate) const INDEX_ALLOCATION: u32 = 0xa0;
    pub(crate) const REPARSE_POINT: u32 = 0xc0;
    pub(crate) const LOGGED_UTILITY_STREAM: u32 = 0x100;
    pub(crate) const END: u32 = 0xffff_ffff;
}

/// A record number and the sequence number that it must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Reference {
    pub(super) record: u64,
    pub(super) sequence: u16,
}

impl Reference {
    pub(super) fn parse(raw: u64) -> Self {
        Self { record: raw & 0xffff_ffff_ffff, sequence: u16::try_from(raw >> 48).unwrap_or(0) }
    }
}

/// A record with its fix-ups applied.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) number: u64,
    pub(super) sequence: u16,
    pub(super) in_use: bool,
    pub(super) directory: bool,
    /// The record that this one extends.
    pub(super) base: Option<Reference>,
    /// False where a stride was torn.
    pub(super) sound: bool,
    /// Offset of the update sequence array.
    pub(super) usa_offset: usize,
    /// Where each of its bytes lies in the volume, for a copy that does not stand in the table.
    pub(super) home: Option<Vec<Run>>,
    /// Offset of its first attribute.
    first: usize,
    /// `bytes in use`: what lies behind is slack.
    used: usize,
    bytes: Vec<u8>,
}

impl Record {
    /// Whether a record's head says that it is a directory, or that it extends another record.
    pub(super) fn leads(raw: &[u8]) -> bool {
        raw.le16(22).is_some_and(|flags| flags & 2 != 0) || base(raw).is_some()
    }

    /// Takes a record's bytes; `None` where they are none.
    pub(super) fn parse(number: u64, raw: &[u8]) -> Option<Self> {
        let signature = raw.span(0, 4).filter(|s| *s == b"FILE" || *s == b"BAAD")?;
        let mut bytes = raw.to_vec();
        let usa_offset = usize::from(raw.le16(4)?);
        let whole = apply_fixups(&mut bytes, usa_offset, usize::from(raw.le16(6)?));
        Some(Self { sound: whole && signature == b"FILE", usa_offset, ..Self::whole(number, bytes, None)? })
    }

    /// Takes a record whose fix-ups are applied, or that never had any.
    pub(super) fn whole(number: u64, bytes: Vec<u8>, home: Option<Vec<Run>>) -> Option<Self> {
        let flags = bytes.le16(22)?;
        bytes.le64(32)?;
        Some(Self {
            number,
            sequence: bytes.le16(16)?,
            in_use: flags & 1 != 0,
            directory: flags & 2 != 0,
            base: base(&bytes),
            sound: true,
            usa_offset: usize::from(bytes.le16(4)?),
            home,
            first: usize::from(bytes.le16(20)?),
            used: index(bytes.le32(24)?.into()).next_multiple_of(8),
            bytes,
        })
    }

    /// The same bytes, read as the record that they were before: attributes from `first` on, behind what is in use.
    pub(super) fn former(&self, first: usize) -> Self {
        Self { first, in_use: false, directory: false, base: None, ..self.clone() }
    }

    /// The number that the record itself keeps (NTFS 3.1).
    pub(super) fn own_number(raw: &[u8]) -> Option<u64> {
        (raw.le16(4)? >= 48).then(|| raw.le32(44).map(u64::from)).flatten()
    }

    /// Its bytes with fix-ups applied, and where its slack begins.
    pub(super) fn slack(&self) -> (&[u8], usize) {
        (&self.bytes, self.used.max(self.first))
    }

    /// True where it tells of any content.
    pub(super) fn has_content(&self) -> bool {
        let data = |a: &Attribute<'_>| a.kind == kind::DATA && a.value().is_none_or(|value| !value.is_empty());
        self.attributes().any(|a| data(&a))
    }

    /// The attribute at byte `at`, if there is one.
    pub(super) fn attribute_at(&self, at: usize) -> Option<Attribute<'_>> {
        Attribute::parse(self, at)
    }

    /// The file that it stands for, or stood for before it was deleted.
    pub(super) fn reference(&self) -> Reference {
        Reference { record: self.number, sequence: self.referred_sequence() }
    }

    /// The attributes, in order; ends at the first that cannot be.
    pub(super) fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        let mut at = self.first;
        std::iter::from_fn(move || {
            let attribute = Attribute::parse(self, at)?;
            at = at.checked_add(attribute.bytes.len())?;
            Some(attribute)
        })
    }

    /// The sequence number that references to it carry: deleting a record counts it up.
    pub(super) fn referred_sequence(&self) -> u16 {
        if self.in_use { self.sequence } else { self.sequence.wrapping_sub(1) }
    }

    /// True where `reference` means this record as it is, or as it was before it was deleted.
    pub(super) fn answers_to(&self, reference: Reference) -> bool {
        self.number == reference.record
            && (reference.sequence == self.sequence || reference.sequence == self.referred_sequence())
    }
}

/// The record that this one extends, if it does.
fn base(bytes: &[u8]) -> Option<Reference> {
    bytes.le64(32).filter(|raw| *raw != 0).map(Reference::parse)
}

/// Where byte `at` of a structure with fix-ups stands: the last two bytes of a stride are kept in the array at `usa`.
/// With it how many bytes from there on stand together.
pub(super) fn stored_at(at: usize, usa: usize) -> Option<(usize, usize)> {
    let (stride, within) = (at.checked_div(STRIDE)?, at.checked_rem(STRIDE)?);
    let moved = STRIDE.checked_sub(2)?;
    if within < moved {
        return Some((at, moved.checked_sub(within)?));
    }
    let kept = usa.checked_add(stride.checked_add(1)?.checked_mul(2)?)?;
    Some((kept.checked_add(within.checked_sub(moved)?)?, STRIDE.checked_sub(within)?))
}

/// Puts back what the fix-ups moved; false where a stride is torn or the array does not fit.
pub(super) fn apply_fixups(bytes: &mut [u8], offset: usize, count: usize) -> bool {
    // A copy: a stride's end may lie in the array.
    let array: Vec<u16> = (0..count).map_while(|i| bytes.le16(offset.checked_add(i.checked_mul(2)?)?)).collect();
    let Some((number, values)) = array.split_first() else { return false };
    let mut sound = values.len() == bytes.len() / STRIDE;
    for (stride, value) in bytes.chunks_exact_mut(STRIDE).zip(values) {
        let Some(tail) = stride.last_chunk_mut::<2>() else { return false };
        if u16::from_le_bytes(*tail) == *number {
            *tail = value.to_le_bytes();
        } else {
            sound = false;
        }
    }
    sound
}

/// One attribute of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'r> {
    pub(super) kind: u32,
    pub(super) id: u16,
    pub(super) flags: u16,
    /// Offset of the attribute in its record.
    pub(super) at: usize,
    pub(super) record: &'r Record,
    bytes: &'r [u8],
}

/// Sizes of a non-resident attribute, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    pub(super) real: u64,
    pub(super) initialised: u64,
}

impl<'r> Attribute<'r> {
    fn parse(record: &'r Record, at: usize) -> Option<Self> {
        let kind = record.bytes.le32(at)?;
        if kind == kind::END {
            return None;
        }
        let length = index(record.bytes.le32(at.checked_add(4)?)?.into());
        let bytes = record.bytes.span(at, length).filter(|b| b.len() >= 16 && length.is_multiple_of(8))?;
        Some(Self { kind, id: bytes.le16(14)?, flags: bytes.le16(12)?, at, record, bytes })
    }

    pub(super) fn is_resident(&self) -> bool {
        self.bytes.byte(8) == Some(0)
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.flags & 0x00ff != 0
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & 0x4000 != 0
    }

    /// The attribute's name; empty for the unnamed one.
    pub(super) fn name(&self) -> String {
        let length = usize::from(self.bytes.byte(9).unwrap_or(0)).saturating_mul(2);
        let at = usize::from(self.bytes.le16(10).unwrap_or(0));
        self.bytes.span(at, length).map(utf16_le).unwrap_or_default()
    }

    /// Where a resident value lies in its record: offset and length in bytes.
    pub(super) fn value_place(&self) -> Option<(usize, usize)> {
        let (length, offset) = (index(self.bytes.le32(16)?.into()), usize::from(self.bytes.le16(20)?));
        self.bytes.span(offset, length)?;
        Some((self.at.checked_add(offset)?, length))
    }

    /// The resident value.
    pub(super) fn value(&self) -> Option<&'r [u8]> {
        self.is_resident().then_some(())?;
        let (at, length) = self.value_place()?;
        self.record.bytes.span(at, length)
    }

    /// First virtual cluster of this piece of a non-resident attribute.
    pub(super) fn first_vcn(&self) -> Option<u64> {
        self.bytes.le64(16)
    }

    /// The mapping pairs.
    pub(super) fn pairs(&self) -> Option<&'r [u8]> {
        self.bytes.get(usize::from(self.bytes.le16(32)?)..)
    }

    /// Allocated bytes; told by the first piece only.
    pub(super) fn allocated(&self) -> Option<u64> {
        self.bytes.le64(40)
    }

    /// Exponent of the clusters of a compression unit.
    pub(super) fn unit_exponent(&self) -> u32 {
        self.bytes.le16(34).unwrap_or(0).into()
    }

    /// Sizes; told by the first piece only.
    pub(super) fn sizes(&self) -> Option<Sizes> {
        Some(Sizes { real: self.bytes.le64(48)?, initialised: self.bytes.le64(56)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_record_is_survived(mut bytes in prop::collection::vec(any::<u8>(), 1024), attrs in 40u16..600) {
            bytes[..4].copy_from_slice(b"FILE");
            bytes[20..22].copy_from_slice(&attrs.to_le_bytes());
            if let Some(record) = Record::parse(7, &bytes) {
                for a in record.attributes() {
                    let _ = (a.name(), a.value(), a.pairs(), a.sizes(), a.first_vcn(), a.unit_exponent());
                }
            }
        }
    }
}
