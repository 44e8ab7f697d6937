//! The checksum of F2FS: CRC-32 with a seed, not inverted (kernel `f2fs_crc32`).

/// The checksum of bytes that follow on what gave `seed`.
pub(super) fn of(seed: u32, bytes: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new_with_initial(!seed);
    crc.update(bytes);
    !crc.finalize()
}
