//! An ext2 volume made here, sound and damaged.

use super::*;
use crate::content::Content;
use crate::fs::{Entry, Recovered};
use crate::image::raw::of_bytes;
use proptest::prelude::*;

const BLOCK: usize = 1024;
/// Superblock, descriptors, block bitmap, inode bitmap, two blocks of inodes, then data.
const INODES: usize = 5 * BLOCK;
const TIME: u32 = 1_000_000_000;

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put32(image: &mut [u8], at: usize, values: &[u32]) {
    values.iter().zip((at..).step_by(4)).for_each(|(value, at)| put(image, at, &value.to_le_bytes()));
}

fn inode(image: &mut [u8], number: usize, mode: u16, size: u32, dtime: u32, blocks: &[u32]) {
    let at = INODES + (number - 1) * 128;
    put(image, at, &mode.to_le_bytes());
    put32(image, at + 4, &[size, TIME, TIME, TIME, dtime]);
    put(image, at + 26, &[1, 0]);
    put32(image, at + 28, &[2]);
    put32(image, at + 40, blocks);
}

fn dirent(image: &mut [u8], at: usize, inode: u32, len: u16, name: &str) -> usize {
    put32(image, at, &[inode]);
    put(image, at + 4, &len.to_le_bytes());
    put(image, at + 6, &[name.len() as u8, if name.starts_with('.') { 2 } else { 1 }]);
    put(image, at + 8, name.as_bytes());
    at + usize::from(len)
}

/// A file of two blocks with a hole between them, a deleted one whose name stands behind it, and one without a name.
fn volume() -> Vec<u8> {
    let mut image = vec![0u8; 64 * BLOCK];
    let sb = BLOCK;
    put32(&mut image, sb, &[16, 64, 0, 50, 5, 1, 0, 0, 8192, 8192, 16]);
    put(&mut image, sb + 56, &[0x53, 0xef]);
    put32(&mut image, sb + 76, &[1, 0, 11, 128, 0, 2, 1]);
    put(&mut image, sb + 120, b"my label");
    put32(&mut image, 2 * BLOCK, &[3, 4, 5]);
    // Blocks 1 to 9 are in use, inodes 1 to 12.
    put(&mut image, 3 * BLOCK, &[0xff, 0x01]);
    put(&mut image, 4 * BLOCK, &[0xff, 0x0f]);
    inode(&mut image, 2, 0x41ed, 1024, 0, &[7]);
    inode(&mut image, 12, 0x81a4, 2500, 0, &[8, 0, 9]);
    inode(&mut image, 13, 0x81a4, 1500, TIME, &[20, 21]);
    inode(&mut image, 14, 0x81a4, 10, TIME, &[22]);
    let root = 7 * BLOCK;
    let at = dirent(&mut image, root, 2, 12, ".");
    let at = dirent(&mut image, at, 2, 12, "..");
    dirent(&mut image, at, 12, 1000, "live");
    dirent(&mut image, at + 12, 13, 988, "gone");
    for block in [8, 9, 20, 21, 22] {
        put(&mut image, block * BLOCK, &[block as u8; BLOCK]);
    }
    image
}

fn list(image: &[u8]) -> Vec<(Entry, Vec<u8>)> {
    let image = of_bytes(image).unwrap();
    let view = View::whole(image.as_ref());
    let Ok(fs) = open(view) else { return Vec::new() };
    fs.unallocated().for_each(|extent| assert!(extent.unwrap().end() <= view.size()));
    let read = |entry: Entry| {
        let bytes = Content::new(view, &entry.stream).slice(0, 1 << 16).parts().flatten().collect::<Vec<_>>().concat();
        (entry, bytes)
    };
    fs.entries().flatten().take(10_000).flatten().map(read).collect()
}

#[test]
fn live_deleted_and_nameless_files_are_listed() {
    let image = volume();
    let found = list(&image);
    let names: Vec<_> = found.iter().map(|(e, _)| (e.path.as_str(), e.allocated, e.recovered)).collect();
    assert_eq!(
        names,
        [
            ("/live", true, None),
            ("/gone", false, Some(Recovered::Intact)),
            ("/$OrphanFiles/OrphanFile-14", false, Some(Recovered::Intact)),
        ]
    );
    assert_eq!(found[0].1, [vec![8; 1024], vec![0; 1024], vec![9; 452]].concat());
    assert_eq!(found[1].1, [vec![20; 1024], vec![21; 476]].concat());
    assert_eq!(found[2].1, [22; 10]);
    let image = of_bytes(&image).unwrap();
    let fs = open(View::whole(image.as_ref())).unwrap();
    assert_eq!((fs.facts().name.as_str(), fs.facts().label.as_str()), ("ext2", "my label"));
    let free: Vec<_> = fs.unallocated().flatten().collect();
    assert_eq!(free, [Extent::new(10 * 1024, 54 * 1024)]);
}

#[test]
fn a_pointer_out_of_the_volume_ends_the_content() {
    let mut image = volume();
    put32(&mut image, INODES + 11 * 128 + 48, &[99]);
    let found = list(&image);
    assert!(found[0].0.faults[0].what.contains("outside"));
    assert_eq!((found[0].0.stream.size, found[0].1.len()), (2500, 2048));
}

#[test]
fn groups_of_a_block_each_are_no_more_than_the_volume_has_blocks() {
    let mut image = volume();
    // Four thousand million blocks, one to a group.
    put32(&mut image, BLOCK + 4, &[u32::MAX]);
    put32(&mut image, BLOCK + 32, &[1, 1]);
    let image = of_bytes(&image).unwrap();
    let fs = open(View::whole(image.as_ref())).unwrap();
    assert!((1..=1100).contains(&fs.facts().faults.len()), "remarks are counted, not kept");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damage_ends_without_a_panic(flips in prop::collection::vec((BLOCK..8 * BLOCK, any::<u8>()), 1..40)) {
        let mut image = volume();
        flips.iter().for_each(|(at, byte)| image[*at] = *byte);
        list(&image);
    }

    #[test]
    fn damaged_measures_end_without_a_panic(flips in prop::collection::vec((0usize..340, any::<u8>()), 1..6)) {
        let mut image = volume();
        flips.iter().for_each(|(at, byte)| image[BLOCK + at] = *byte);
        list(&image);
    }

    #[test]
    fn noisy_inodes_and_directories_end_without_a_panic(noise in prop::collection::vec(any::<u8>(), 3 * BLOCK), extents: bool) {
        let mut image = volume();
        put(&mut image, INODES, &noise);
        // The root directory stays one; with extents its tree is noise behind a sound header.
        put(&mut image, INODES + 128, &0x41edu16.to_le_bytes());
        if extents {
            put32(&mut image, INODES + 128 + 32, &[0x8_0000]);
            put(&mut image, INODES + 128 + 40, &[0x0a, 0xf3, 4, 0, 4, 0, 0, 0]);
        }
        list(&image);
    }
}
