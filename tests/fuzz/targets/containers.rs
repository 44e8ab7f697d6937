//! Containers, changed, opened as evidence by their names: what they hold is as long as they say, and has no part of nothing.
#![no_main]

use evidex::extent::Extent;
use evidex::image::{self, Image};
use evidex_fuzz::Base;
use std::cell::RefCell;
use std::path::Path;

/// What a base is called where it is opened, and the base.
macro_rules! bases {
    ($($name:literal: $path:literal),+ $(,)?) => {
        const NAMES: &[&str] = &[$($name),+];
        thread_local! {
            static BASES: RefCell<Vec<Base>> = RefCell::new(vec![$(Base::new(include_bytes!($path))),+]);
        }
    };
}

bases! {
    "d.aff4": "../../../fixtures/aff4/snappy.aff4.zst",
    "e.aff4": "../../../fixtures/aff4/stored.aff4.zst",
    "d.E01": "../bases/in_ewf.zst",
    "d.Ex01": "../../../fixtures/ewf2/stored.Ex01.zst",
    "d.L01": "../../../fixtures/l01/files.L01.zst",
    "d.qcow2": "../bases/in_qcow2.zst",
    "d.vhdx": "../bases/in_vhdx.zst",
    "d.vhd": "../bases/in_vhd.zst",
    "d.vmdk": "../bases/in_vmdk.zst",
    "s.vmdk": "../bases/in_stream.zst",
    "d.vdi": "../bases/in_vdi.zst",
    "d.aff": "../bases/in_aff.zst",
    "d.dmg": "../bases/in_dmg.zst",
    "d.dd.gz": "../bases/in_gz.zst",
    "d.dd.zst": "../bases/in_zst.zst",
    "o.dd.zst": "../bases/in_one.zst",
    "d.dd": "../bases/in_disk.zst",
}

/// No more is read of a disk: a table may say of it whatever it likes.
const MOST: u64 = 8 << 20;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (number, changes) = data.split_first().unwrap_or((&0, &[]));
    BASES.with_borrow_mut(|bases| {
        let row = usize::from(*number) % bases.len();
        bases[row].changed(changes, |bytes, end| {
            // In memory, and gone with the run.
            let folder = Path::new("/dev/shm").join(format!("evidex-fuzz-{}", std::process::id()));
            let path = folder.join(NAMES[row]);
            let len = bytes.0.len().min(end as usize);
            std::fs::create_dir_all(&folder).expect("a folder in memory");
            std::fs::write(&path, &bytes.0[..len]).expect("a file in memory");
            if let Ok(image) = image::open(&path) {
                look(image.as_ref());
            }
            std::fs::remove_dir_all(&folder).expect("it is removed");
        });
    });
});

fn look(image: &dyn Image) {
    // Its front, and its last bytes.
    for (mut at, end) in [(0, MOST.min(image.size())), (image.size().saturating_sub(MOST / 8), image.size())] {
        while at < end {
            let part = image.part(Extent::new(at, end - at)).expect("it lies within the disk");
            assert!(!part.is_empty() && part.len() as u64 <= end - at, "a part of nothing, or of more than was asked for");
            at += part.len() as u64;
        }
    }
    assert!(image.part(Extent::new(image.size(), 1)).is_err(), "bytes behind the end");
    assert!(image.unreadable().iter().all(|extent| extent.end() <= image.size()), "unreadable bytes behind the end");
}
