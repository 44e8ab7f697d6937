//! The up-case table: what names are hashed by.
//!
//! Microsoft exFAT specification, section 7.2 "Up-case Table Directory Entry" and 7.6.4 "NameHash Field".

use crate::bytes::Fields;

/// UTF-16 units and their capitals.
pub(super) struct Upcase(Vec<u16>);

impl Upcase {
    /// The table as it is stored: 0xFFFF and a count stand for so many units that are their own capitals.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut table: Vec<u16> = Vec::with_capacity(1 << 16);
        let mut units = bytes.chunks_exact(2).filter_map(|pair| pair.le16(0));
        while let (Ok(next), Some(unit)) = (u16::try_from(table.len()), units.next()) {
            // The last unit of a table that is not compressed is 0xFFFF, too.
            let count = if unit == 0xffff { units.next() } else { None };
            match count {
                Some(count) => table.extend((next..=0xffff).take(usize::from(count))),
                None => table.push(unit),
            }
        }
        Self(table)
    }

    /// A unit as its capital; itself where the table does not know it.
    fn of(&self, unit: u16) -> u16 {
        self.0.get(usize::from(unit)).copied().unwrap_or(unit)
    }

    /// NameHash of a name.
    pub(super) fn hash(&self, name: &[u16]) -> u16 {
        let bytes = name.iter().flat_map(|unit| self.of(*unit).to_le_bytes());
        bytes.fold(0u16, |sum, byte| sum.rotate_right(1).wrapping_add(u16::from(byte)))
    }
}

/// TableChecksum of the stored table.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0u32, |sum, byte| sum.rotate_right(1).wrapping_add(u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_table_is_filled_up() {
        let units = [0xffff_u16, 0x61, 0x41, 0x42, 0xffff, 0xff9d];
        let table = Upcase::parse(&units.map(u16::to_le_bytes).concat());
        assert_eq!((table.of(0x60), table.of(0x61), table.of(0x62), table.of(0x63)), (0x60, 0x41, 0x42, 0x63));
        assert_eq!((table.0.len(), table.of(0xffff)), (1 << 16, 0xffff));
    }

    #[test]
    fn a_run_that_never_ends_is_cut() {
        assert_eq!(Upcase::parse(&[0xff; 1 << 18]).0.len(), 1 << 16);
    }
}
