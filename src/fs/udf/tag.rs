//! Descriptor tags (ECMA-167, 3/7.2 and 4/7.2): what stands in a block, whose checksum and CRC vouch for it; and addresses
//! within a volume (4/14.14.2).

use crate::bytes::Fields;

/// Bytes of a tag.
pub(super) const LEN: usize = 16;

/// Kinds of descriptors.
pub(super) const PRIMARY: u16 = 1;
pub(super) const ANCHOR: u16 = 2;
pub(super) const POINTER: u16 = 3;
pub(super) const PARTITION: u16 = 5;
pub(super) const LOGICAL_VOLUME: u16 = 6;
pub(super) const TERMINATING: u16 = 8;
pub(super) const INTEGRITY: u16 = 9;
pub(super) const FILE_SET: u16 = 256;
pub(super) const FILE_IDENTIFIER: u16 = 257;
pub(super) const ALLOCATION: u16 = 258;
pub(super) const INDIRECT: u16 = 259;
pub(super) const FILE_ENTRY: u16 = 261;
pub(super) const ATTRIBUTES: u16 = 262;
pub(super) const SPACE: u16 = 263;
pub(super) const BITMAP: u16 = 264;
pub(super) const EXTENDED_ENTRY: u16 = 266;

/// A tag that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) id: u16,
    /// The number of the block that it says it stands in.
    pub(super) location: u32,
    /// The sum of its own bytes fits.
    pub(super) sums: bool,
    /// The CRC of what follows it fits.
    pub(super) checks: bool,
}

impl Tag {
    /// The tag at the start of `bytes`, which go on as far as its CRC may reach.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let head = bytes.span(0, LEN)?;
        let covered = bytes.span(LEN, usize::from(head.le16(10)?));
        Some(Self {
            id: head.le16(0)?,
            location: head.le32(12)?,
            sums: sums(head),
            checks: covered.is_some_and(|covered| Some(crc(covered)) == head.le16(8)),
        })
    }

    /// How many bytes the CRC of a tag of this kind covers, where the sum of its own bytes fits: costs nothing to ask.
    pub(super) fn covers(bytes: &[u8], kind: u16) -> Option<u16> {
        let head = bytes.span(0, LEN)?;
        if head.le16(0) == Some(kind) && sums(head) { head.le16(10) } else { None }
    }

    /// It is of one of these kinds, and both sums fit.
    pub(super) fn is(&self, kinds: &[u16]) -> bool {
        self.sums && self.checks && kinds.contains(&self.id)
    }

    /// What is wrong with the sums.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        match (self.sums, self.checks) {
            (true, true) => None,
            (false, _) => Some("the checksum of its tag does not fit"),
            (true, false) => Some("its CRC does not fit"),
        }
    }
}

/// Whether the sum of a tag's own bytes fits.
fn sums(head: &[u8]) -> bool {
    let (own, sum) = (head.byte(4).unwrap_or(0), head.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
    own == sum.wrapping_sub(own)
}

/// CRC-16 with the polynomial 0x1021 from 0 on, the highest bit first (ECMA-167, 1/7.2.6).
pub(super) fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        let mixed = crc.swap_bytes() ^ u16::from(*byte);
        let mixed = mixed ^ (mixed & 0xff) >> 4;
        let mixed = mixed ^ mixed << 12;
        mixed ^ (mixed & 0xff) << 5
    })
}

/// A block of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    /// Row of the table of partitions.
    pub(super) part: u16,
    pub(super) block: u32,
}

/// Whether blocks are allocated and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Recorded,
    /// Allocated, and never written: zeros.
    Reserved,
    /// Not allocated: zeros.
    Hole,
    /// The list goes on there.
    Continued,
}

/// A stretch of a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) state: State,
    /// Bytes.
    pub(super) len: u64,
    pub(super) at: Address,
    /// Of a name: the low half of the number of the file that it names; 0 where it tells none.
    pub(super) unique: u32,
}

impl Stretch {
    /// `short_ad`: within partition `part`.
    pub(super) fn short(raw: &[u8], part: u16) -> Option<Self> {
        Some(Self { at: Address { part, block: raw.le32(4)? }, ..Self::sized(raw.le32(0)?) })
    }

    /// `long_ad`.
    pub(super) fn long(raw: &[u8]) -> Option<Self> {
        let at = Address { block: raw.le32(4)?, part: raw.le16(8)? };
        Some(Self { at, unique: raw.le32(12)?, ..Self::sized(raw.le32(0)?) })
    }

    /// `ext_ad`.
    pub(super) fn extended(raw: &[u8]) -> Option<Self> {
        let at = Address { block: raw.le32(12)?, part: raw.le16(16)? };
        Some(Self { at, ..Self::sized(raw.le32(0)?) })
    }

    fn sized(word: u32) -> Self {
        let state = match word >> 30 {
            0 => State::Recorded,
            1 => State::Reserved,
            2 => State::Hole,
            _ => State::Continued,
        };
        Self { state, len: u64::from(word & 0x3fff_ffff), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_is_that_of_the_standard() {
        // ECMA-167, 1/7.2.6, and the check value of the catalogue of CRC algorithms (CRC-16/XMODEM).
        assert_eq!(crc(&[0x70, 0x6a, 0x77]), 0x3299);
        assert_eq!(crc(b"123456789"), 0x31c3);
    }

    #[test]
    fn the_high_bits_of_a_length_say_what_it_is() {
        let raw = [10, 0, 0, 0x40, 7, 0, 0, 0];
        let at = Address { part: 3, block: 7 };
        let expected = Stretch { state: State::Reserved, len: 10, at, unique: 0 };
        assert_eq!(Stretch::short(&raw, 3), Some(expected));
    }
}
