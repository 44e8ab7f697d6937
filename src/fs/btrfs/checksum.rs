//! The checksums of blocks: four kinds, each over what stands behind the field of 32 bytes that a block begins with.
//!
//! btrfs documentation, "On-disk Format" and "Checksumming".

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use sha2::Sha256;

/// Bytes of the field that holds it.
pub(super) const LEN: usize = 32;

/// What a volume's checksums are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Crc32c,
    Xxhash64,
    Sha256,
    Blake2b,
}

impl Kind {
    pub(super) const fn of(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Crc32c),
            1 => Some(Self::Xxhash64),
            2 => Some(Self::Sha256),
            3 => Some(Self::Blake2b),
            _ => None,
        }
    }

    /// Whether the checksum that `block` begins with is its own.
    pub(super) fn holds(self, block: &[u8]) -> bool {
        block.split_at_checked(LEN).is_some_and(|(kept, bytes)| self.fits(kept, bytes))
    }

    /// Whether a checksum, behind which other bytes may follow, is that of `bytes`.
    pub(super) fn fits(self, sum: &[u8], bytes: &[u8]) -> bool {
        match self {
            Self::Crc32c => sum.starts_with(&crc32c::crc32c(bytes).to_le_bytes()),
            Self::Xxhash64 => sum.starts_with(&twox_hash::XxHash64::oneshot(0, bytes).to_le_bytes()),
            Self::Sha256 => sum.starts_with(&Sha256::digest(bytes)),
            Self::Blake2b => sum.starts_with(&Blake2b::<U32>::digest(bytes)),
        }
    }

    /// Bytes of one.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::Crc32c => 4,
            Self::Xxhash64 => 8,
            Self::Sha256 | Self::Blake2b => 32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published check values of "abc".
    #[test]
    fn known_values_come_out() {
        let holds = |kind: Kind, sum: &[u8]| {
            let mut block = [0; LEN + 3];
            block[..sum.len()].copy_from_slice(sum);
            block[LEN..].copy_from_slice(b"abc");
            kind.holds(&block)
        };
        assert!(holds(Kind::Crc32c, &0x364b_3fb7u32.to_le_bytes()));
        assert!(holds(Kind::Xxhash64, &0x44bc_2cf5_ad77_0999u64.to_le_bytes()));
        let sha = [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23];
        let sha =
            [&sha[..], &[0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0, 0x15, 0xad]];
        assert!(holds(Kind::Sha256, &sha.concat()));
        assert!(!holds(Kind::Blake2b, &sha.concat()));
    }
}
