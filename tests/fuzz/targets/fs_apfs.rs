//! APFS: superblocks, maps, trees, the space manager, snapshots, old nodes. Blocks get the checksum that fits what they became:
//! without it damage is found, and then no more.
#![no_main]

use evidex_fuzz::Base;
use std::cell::RefCell;

const BLOCK: usize = 4096;
/// Behind these blocks of the base volumes only content stands, and the old node.
const OBJECTS: std::ops::Range<usize> = 0..52;
const OLD: usize = 100;
/// A bitmap, which has no checksum.
const BITMAP: usize = 18;

thread_local! {
    static BASES: RefCell<[Base; 2]> = RefCell::new([
        Base::new(include_bytes!("../bases/apfs_one.zst")),
        Base::new(include_bytes!("../bases/apfs_two.zst")),
    ]);
}

/// Fletcher's checksum of a block.
fn checksum(block: &[u8]) -> u64 {
    let modulus = 0xffff_ffffu64;
    let (mut first, mut second) = (0u64, 0u64);
    for word in block[8..].chunks_exact(4) {
        first = (first + evidex_fuzz::Tape(word).number(4)) % modulus;
        second = (second + first) % modulus;
    }
    let low = modulus - (first + second) % modulus;
    (modulus - (first + low) % modulus) << 32 | low
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (flags, changes) = data.split_first().unwrap_or((&0, &[]));
    BASES.with_borrow_mut(|bases| {
        bases[usize::from(flags & 1)].changed(changes, |image, end| {
            let mut kept = Vec::new();
            for block in OBJECTS.chain([OLD]).filter(|block| flags & 2 == 0 && *block != BITMAP) {
                let at = block * BLOCK;
                kept.push((at, image.0[at..at + 8].to_vec()));
                let sum = checksum(&image.0[at..at + BLOCK]);
                image.0[at..at + 8].copy_from_slice(&sum.to_le_bytes());
            }
            evidex_fuzz::list("apfs", image, end);
            for (at, old) in kept {
                image.0[at..at + 8].copy_from_slice(&old);
            }
        });
    });
});
