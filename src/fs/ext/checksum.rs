//! Checksums of metadata: CRC-32C, seeded with the volume, the inode or the group that a structure belongs to.
//!
//! Kernel documentation, "ext4 Data Structures and Algorithms", "Checksums".

use crate::bytes::Fields;

/// CRC-32C as ext4 takes it: begun with `seed`, not inverted at its end.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !::crc32c::crc32c_append(!seed, bytes)
}

/// CRC-16 (polynomial 0x8005, reflected), of the descriptors of `RO_COMPAT_GDT_CSUM`.
pub(super) fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(seed, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 != 0 { crc >> 1 ^ 0xa001 } else { crc >> 1 })
    })
}

/// The seed of all that belongs to one inode.
pub(super) fn inode_seed(volume: u32, number: u32, generation: u32) -> u32 {
    crc32c(volume, &(u64::from(number) | u64::from(generation) << 32).to_le_bytes())
}

/// Whether the checksum that an inode carries (`i_checksum_lo`, `i_checksum_hi`) is its own.
pub(super) fn inode_holds(seed: u32, raw: &[u8]) -> Option<bool> {
    let low = u32::from(raw.le16(124)?);
    let wide = raw.len() > 128 && raw.le16(128)? >= 4;
    // What is taken around the fields of the checksum itself, which count as zero.
    let [_, _, c, d] = raw.array(124)?;
    let mut sum = crc32c(seed, raw.span(0, 124)?);
    if raw.len() > 128 {
        let [e, f, g, h] = raw.array(128)?;
        let [g, h] = if wide { [0; 2] } else { [g, h] };
        sum = crc32c(crc32c(sum, &[0, 0, c, d, e, f, g, h]), raw.get(132..)?);
    } else {
        sum = crc32c(sum, &[0, 0, c, d]);
    }
    let kept = if wide { low | u32::from(raw.le16(130)?) << 16 } else { low };
    Some(if wide { sum == kept } else { sum & 0xffff == kept })
}

/// Whether the checksum in the tail of a directory's block is its own; `None` where it has no tail.
pub(super) fn directory_holds(seed: u32, block: &[u8]) -> Option<bool> {
    let at = block.len().checked_sub(12)?;
    let tail = block.get(at..)?;
    let is_tail = tail.le32(0)? == 0 && tail.le16(4)? == 12 && tail.byte(6)? == 0 && tail.byte(7)? == 0xde;
    is_tail.then_some(crc32c(seed, block.get(..at)?) == tail.le32(8)?)
}

/// Whether the checksum behind the entries of a block of an extent tree is its own.
pub(super) fn extents_hold(seed: u32, block: &[u8]) -> Option<bool> {
    let end = usize::from(block.le16(4)?).checked_mul(12)?.checked_add(12)?; // eh_max
    Some(crc32c(seed, block.get(..end)?) == block.le32(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the catalogue of CRC algorithms: CRC-32/ISCSI without its last inversion, and CRC-16/MODBUS.
    #[test]
    fn known_values_come_out() {
        assert_eq!(crc32c(!0, b"123456789"), !0xe306_9283);
        assert_eq!(crc16(0xffff, b"123456789"), 0x4b37);
    }
}
