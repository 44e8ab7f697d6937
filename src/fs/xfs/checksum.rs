//! Checksums of metadata: CRC-32C over a structure whose own field counts as zero, little-endian among big-endian fields.
//!
//! Kernel documentation, "XFS Self Describing Metadata".

use crate::bytes::Fields;

/// Whether the checksum that stands at `at` of `block` is its own.
pub(super) fn holds(block: &[u8], at: usize) -> bool {
    let check = || {
        let (head, kept, tail) = (block.get(..at)?, block.le32(at)?, block.get(at.checked_add(4)?..)?);
        let sum = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(head), &[0; 4]), tail);
        Some(sum == kept)
    };
    check() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_itself_counts_as_zero() {
        let mut block = *b"1234....56789";
        let sum = crc32c::crc32c(b"1234\x00\x00\x00\x0056789");
        block[4..8].copy_from_slice(&sum.to_le_bytes());
        assert!(holds(&block, 4));
        block[12] ^= 1;
        assert!(!holds(&block, 4));
        assert!(!holds(&block, 10));
    }
}
