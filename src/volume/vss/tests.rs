//! Damaged and made-up catalogs. What stores hold is checked against libvshadow in `tests/snapshots.rs`.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the tests know their volume")]

use super::*;
use crate::extent::Extent;
use proptest::prelude::*;

const BLOCKS: usize = 16;

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}

/// The head of a block, without a next one.
fn head(bytes: &mut [u8], block: usize, kind: u32) -> usize {
    let at = block * 0x4000;
    put(bytes, at, &IDENTIFIER);
    put(bytes, at + 20, &kind.to_le_bytes());
    at
}

/// A volume of 16 blocks, each filled with its number. Its shadow copy had block 9 in place of block 2.
fn volume() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..BLOCKS * 0x4000).map(|at| (at / 0x4000) as u8).collect();
    put(&mut bytes, 0x1e00, &IDENTIFIER);
    put(&mut bytes, 0x1e30, &0xc000u64.to_le_bytes());
    let catalog = head(&mut bytes, 3, 2);
    bytes[catalog + 24..catalog + 0x4000].fill(0);
    let numbers = |values: [u64; 6]| values.map(u64::to_le_bytes).concat();
    put(&mut bytes, catalog + 0x80, &numbers([2, 0x40000, 7, 7, 1, 0x40]));
    put(&mut bytes, catalog + 0xb0, &133_000_000_000_000_000u64.to_le_bytes());
    put(&mut bytes, catalog + 0x100, &numbers([3, 0x10000, 7, 7, 0x14000, 0]));
    put(&mut bytes, catalog + 0x130, &numbers([0x18000, 0, 0, 0, 0, 0]));
    let list = head(&mut bytes, 4, 3);
    bytes[list + 24..list + 0x4000].fill(0);
    put(&mut bytes, list + 0x80, &numbers([0x8000, 0, 0x24000, 0, 0, 0]));
    let store = head(&mut bytes, 5, 4);
    bytes[store + 24..store + 0x4000].fill(0);
    put(&mut bytes, store + HEAD + 16, &[0xab; 16]);
    put(&mut bytes, store + HEAD + 64, &[4, 0, b'P', 0, b'C', 0]);
    let bitmap = head(&mut bytes, 6, 6);
    bytes[bitmap + 24..bitmap + 0x4000].fill(0);
    bytes[bitmap + HEAD] = 0b1000_0000;
    bytes
}

fn snapshots(bytes: &[u8]) -> Vec<Snapshot> {
    let image = crate::image::raw::of_bytes(bytes).expect("an image");
    read(View::whole(image.as_ref()))
}

#[test]
fn a_copy_holds_the_blocks_of_its_time() {
    let snapshots = snapshots(&volume());
    let [snapshot] = snapshots.as_slice() else { panic!("{snapshots:?}") };
    assert_eq!(snapshot.name, "abababab-abab-abab-abab-abababababab of PC");
    assert!(snapshot.made.is_some_and(|made| made.rfc3339().starts_with("2022-06-")));
    let places: Vec<_> =
        snapshot.mapping.as_ref().unwrap().pieces(Extent::new(0x4000, 0x1c000)).map(|p| (p.start, p.place)).collect();
    assert_eq!(places, [(0x4000, Some(0x4000)), (0x8000, Some(0x24000)), (0xc000, Some(0xc000)), (0x1c000, None)]);
    assert_eq!(snapshot.faults, []);
}

#[test]
fn a_store_that_is_not_whole_is_left_out_and_told() {
    let mut bytes = volume();
    put(&mut bytes, 0x10028, &0x10000u64.to_le_bytes());
    let told = |bytes: &[u8]| {
        let snapshots = snapshots(bytes);
        assert!(snapshots.iter().all(|snapshot| snapshot.mapping.is_none()));
        snapshots.into_iter().flat_map(|snapshot| snapshot.faults).map(|fault| fault.what).collect::<Vec<_>>()
    };
    let what = "shadow copy abababab-abab-abab-abab-abababababab of PC cannot be read whole and is left out: ";
    assert_eq!(told(&bytes), [format!("{what}its list of blocks breaks off")]);
    put(&mut bytes, 0xc110, &[9]);
    assert!(told(&bytes)[0].ends_with("the catalog does not say where its store is"));
}

proptest! {
    #[test]
    fn any_stores_are_survived(noise in prop::collection::vec((0x1e10usize..BLOCKS * 0x4000, any::<u8>()), 0..200),
                               heads in prop::collection::vec((0xc000usize..0x1c000, any::<u8>()), 0..40)) {
        let mut bytes = volume();
        noise.iter().for_each(|(at, byte)| bytes[*at] = *byte);
        heads.iter().for_each(|(at, byte)| bytes[at & !0x3e00] = *byte);
        let image = crate::image::raw::of_bytes(&bytes)?;
        let view = View::whole(image.as_ref());
        for snapshot in read(view) {
            let Some(mapping) = &snapshot.mapping else { continue };
            let mapped = crate::image::mapped::Mapped::new(view, mapping, view.size());
            let _ = View::whole(&mapped).read(0, view.size());
        }
    }
}
