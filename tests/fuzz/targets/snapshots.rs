//! Volume shadow copies: every byte of every earlier time stands in the volume or nowhere.
#![no_main]

#[path = "../../common/shadow.rs"]
mod shadow;

use evidex::extent::Extent;
use evidex::image::{View, mapped::Mapped};
use evidex_fuzz::Base;
use shadow::{BLOCK, Copy, Descriptor, Shadows};
use std::cell::RefCell;

thread_local! {
    static BASE: RefCell<Base> = RefCell::new(Base::of(volume()));
}

/// Three shadow copies, with a block of each kind.
fn volume() -> Vec<u8> {
    let mut volume = vec![0; 64 * BLOCK];
    let mut shadows = Shadows { volume: &mut volume, area: (8..64).map(|block| block * BLOCK as u64).collect() };
    let mut copies = Vec::new();
    for id in 1..4u8 {
        let place = shadows.keep(&[id; 64]);
        let descriptors = [0, 1, 2, 4, 0].into_iter().zip(0u64..).map(|(flags, number)| {
            let (original, relative) = (number * BLOCK as u64, (number + 1) * BLOCK as u64);
            Descriptor { original, relative, place, flags, sectors: flags * 0x5555 }
        });
        let (descriptors, current) = (descriptors.collect(), vec![id; 8]);
        copies.push(Copy { id, made: u64::from(id), descriptors, current, previous: Some(vec![0x0f; 8]) });
    }
    shadows.write(&copies);
    volume
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    BASE.with_borrow_mut(|base| {
        base.changed(data, |disk, end| {
            let view = View::whole(disk).sub(Extent::new(0, end));
            for (_, snapshot) in evidex::volume::snapshots(view) {
                let Some(mapping) = &snapshot.mapping else {
                    assert!(!snapshot.faults.is_empty(), "what is left out is told");
                    continue;
                };
                let total: u64 = mapping.pieces(Extent::new(0, view.size())).map(|piece| piece.len).sum();
                assert_eq!(total, view.size(), "bytes that stand nowhere and are not zeros");
                let _ = View::whole(&Mapped::new(view, mapping, view.size())).read(0, view.size());
            }
        });
    });
});
