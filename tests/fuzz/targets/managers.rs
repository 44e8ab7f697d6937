//! Volume managers: disks of LVM2 and Linux RAID, changed. What is put together ends inside the disk, and is read.
#![no_main]

use evidex::image::View;
use evidex::volume::{VolumeKind, copies, divide};
use evidex_fuzz::Base;
use std::cell::RefCell;

thread_local! {
    static BASES: RefCell<[Base; 6]> = RefCell::new([
        Base::new(include_bytes!("../../../fixtures/volumes/lvm-plain.zst")),
        Base::new(include_bytes!("../../../fixtures/volumes/lvm-arrays.zst")),
        Base::new(include_bytes!("../../../fixtures/volumes/lvm-thin.zst")),
        Base::new(include_bytes!("../../../fixtures/volumes/md-r5la.zst")),
        Base::new(include_bytes!("../../../fixtures/volumes/md-r6ra.zst")),
        Base::new(include_bytes!("../../../fixtures/volumes/md-r10f2.zst")),
    ]);
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (base, changes) = data.split_first().unwrap_or((&0, &[]));
    BASES.with_borrow_mut(|bases| {
        let count = bases.len();
        bases[usize::from(*base) % count].changed(changes, |disk, _| look(View::whole(disk)));
    });
});

fn look(disk: View<'_>) {
    let layout = divide(disk);
    assert!(layout.covered.as_slice().iter().all(|extent| extent.end() <= disk.size()), "covered bytes lie behind the disk");
    for volume in layout.volumes.iter().filter(|volume| volume.kind != VolumeKind::Gap) {
        volume.with(disk, |view| {
            let _ = evidex::fs::claims(view);
            let _ = view.read_up_to(view.size() / 2, 1 << 16);
        });
    }
    let _ = copies::disagreements(disk, &layout);
}
