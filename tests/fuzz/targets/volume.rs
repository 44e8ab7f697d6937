//! Partition tables: every volume lies inside the disk, and every byte belongs to one.
#![no_main]

use evidex::extent::{Extent, ExtentSet};
use evidex::image::View;
use evidex::volume::divide;
use evidex_fuzz::Base;
use std::cell::RefCell;

thread_local! {
    static BASES: RefCell<[Base; 2]> = RefCell::new([
        Base::new(include_bytes!("../bases/mbr.zst")),
        Base::new(include_bytes!("../bases/gpt.zst")),
    ]);
}

/// Gives the GPT header at byte `at` the checksums of what it is now: without them damage is found, and then no more.
fn mend(disk: &mut [u8], at: usize) {
    let number =
        |from: usize, len: usize| disk.get(at + from..at + from + len).map(|b| evidex_fuzz::Tape(b).number(len));
    let fields = || Some((number(12, 4)?, number(72, 8)?, number(80, 4)?, number(84, 4)?));
    let Some((size, array, count, width)) = fields() else { return };
    let len = count.saturating_mul(width).min(1 << 20) as usize;
    let array = usize::try_from(array.saturating_mul(512)).unwrap_or(usize::MAX);
    if let Some(entries) = disk.get(array..array.saturating_add(len)) {
        let sum = crc32fast::hash(entries);
        disk[at + 88..at + 92].copy_from_slice(&sum.to_le_bytes());
    }
    disk[at + 16..at + 20].fill(0);
    if let Some(header) = disk.get(at..at.saturating_add(size as usize)) {
        let sum = crc32fast::hash(header);
        disk[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (flags, changes) = data.split_first().unwrap_or((&0, &[]));
    BASES.with_borrow_mut(|bases| {
        bases[usize::from(flags & 1)].changed(changes, |disk, end| {
            let last = disk.0.len() - 512;
            let kept = [512, last].map(|at| (at, disk.0[at..at + 512].to_vec()));
            if flags & 3 == 1 {
                mend(&mut disk.0, 512);
                mend(&mut disk.0, last);
            }
            look(View::whole(disk).sub(Extent::new(0, end)));
            for (at, old) in kept {
                disk.0[at..at + 512].copy_from_slice(&old);
            }
        });
    });
});

fn look(disk: View<'_>) {
    let layout = divide(disk);
    assert!(
        layout.volumes.iter().all(|v| v.extent.is_empty() || v.extent.end() <= disk.size()),
        "a volume ends behind the disk"
    );
    let all: ExtentSet = layout.volumes.iter().map(|v| v.extent).collect();
    assert_eq!(all.total(), disk.size(), "bytes that belong to no volume");
    for volume in &layout.volumes {
        let _ = evidex::fs::claims(disk.sub(volume.extent));
    }
}
