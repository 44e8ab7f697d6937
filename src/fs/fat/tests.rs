//! A FAT12 volume made here, sound and damaged.

use super::*;
use crate::content::Content;
use crate::fs::{Certainty, Entry, EntryKind, Origin, Recovered};
use crate::image::raw::of_bytes;
use proptest::prelude::*;

const CLUSTER: usize = 512;
/// One reserved sector, two tables of one sector, a root directory of one sector: cluster 2 is sector 4.
const DATA: usize = 4 * 512;
const DATE: u16 = 0x5861;

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn link(image: &mut [u8], cluster: usize, next: u16) {
    for table in [512, 1024] {
        let at = table + cluster * 3 / 2;
        let old = u16::from_le_bytes([image[at], image[at + 1]]);
        let new = if cluster.is_multiple_of(2) { old & 0xf000 | next } else { old & 0x000f | next << 4 };
        put(image, at, &new.to_le_bytes());
    }
}

fn dirent(name: &[u8; 11], attributes: u8, cluster: u16, size: u32) -> [u8; 32] {
    let mut b = [0u8; 32];
    put(&mut b, 0, name);
    b[11] = attributes;
    for at in [16, 18, 24] {
        put(&mut b, at, &DATE.to_le_bytes());
    }
    put(&mut b, 26, &cluster.to_le_bytes());
    put(&mut b, 28, &size.to_le_bytes());
    b
}

fn long(name: &str, short: &[u8; 11], order: u8) -> [u8; 32] {
    let mut b = [0u8; 32];
    let units: Vec<u16> = name.encode_utf16().chain([0]).chain(std::iter::repeat(0xffff)).take(13).collect();
    let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
    places.zip(units).for_each(|(at, unit)| put(&mut b, at, &unit.to_le_bytes()));
    (b[0], b[11], b[13]) = (order, 0x0f, name::checksum(*short));
    b
}

/// A file in clusters 2 and 4, a deleted one from cluster 3 on, a deleted directory in cluster 6 with a deleted file
/// in cluster 7, a directory that nothing names in cluster 9.
fn volume() -> Vec<u8> {
    let mut image = vec![0u8; 64 * 512];
    put(&mut image, 0, &[0xeb, 0x3c, 0x90]);
    put(&mut image, 11, &[0, 2, 1, 1, 0, 2, 16, 0, 64, 0, 0xf8, 1, 0]);
    put(&mut image, 38, &[0x29, 0x78, 0x56, 0x34, 0x12]);
    put(&mut image, 510, &[0x55, 0xaa]);
    for (cluster, next) in [(0, 0xff8), (1, 0xfff), (2, 4), (4, 0xfff)] {
        link(&mut image, cluster, next);
    }
    let root = [
        dirent(b"MY LABEL   ", 0x08, 0, 0),
        dirent(b"LIVE    TXT", 0x20, 2, 600),
        long("deleted.text", b"DELETE~1TEX", 0xe5),
        dirent(b"\xe5ELETE~1TEX", 0x20, 3, 1024),
        dirent(b"\xe5IR        ", 0x10, 6, 0),
    ];
    put(&mut image, 3 * 512, &root.concat());
    let at = |cluster: usize| DATA + (cluster - 2) * CLUSTER;
    let dots = |own: u16| [dirent(b".          ", 0x10, own, 0), dirent(b"..         ", 0x10, 0, 0)].concat();
    put(&mut image, at(6), &[dots(6), dirent(b"\xe5N      DIR", 0x20, 7, 5).to_vec()].concat());
    put(&mut image, at(9), &[dots(9), dirent(b"ORPHAN  BIN", 0x20, 10, 7).to_vec()].concat());
    for cluster in [2, 3, 4, 5, 7, 10] {
        let fill = [cluster as u8; CLUSTER];
        put(&mut image, at(cluster), &fill);
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
fn live_deleted_and_orphaned_files_are_listed() {
    let image = volume();
    let found = list(&image);
    let names: Vec<_> = found.iter().map(|(e, _)| (e.path.as_str(), e.allocated, e.recovered)).collect();
    assert_eq!(
        names,
        [
            ("/LIVE.TXT", true, None),
            ("/deleted.text", false, Some(Recovered::Partial)),
            ("/_IR", false, Some(Recovered::Intact)),
            ("/_IR/_N.DIR", false, Some(Recovered::Intact)),
            ("/$OrphanFiles/ORPHAN.BIN", false, Some(Recovered::Intact)),
        ]
    );
    assert_eq!(found[2].0.kind, EntryKind::Directory);
    assert_eq!((found[3].0.origin, found[4].0.origin), (Origin::Table, Origin::Unallocated));
    assert_eq!(found[0].1, [vec![2; 512], vec![4; 88]].concat());
    // Cluster 4 is in use: the deleted file goes on in cluster 5.
    assert_eq!(found[1].1, [[3; 512], [5; 512]].concat());
    assert_eq!(found[3].1, [7; 5]);
    let image = of_bytes(&image).unwrap();
    let fs = open(View::whole(image.as_ref())).unwrap();
    assert_eq!((fs.facts().label.as_str(), fs.facts().id.as_str()), ("MY LABEL", "1234-5678"));
    assert!(fs.facts().faults.is_empty());
}

#[test]
fn of_files_that_can_have_had_the_same_clusters_none_is_intact() {
    let mut image = volume();
    put(&mut image, 3 * 512 + 5 * 32, &dirent(b"\xe5NE     BIN", 0x20, 10, 1500));
    put(&mut image, 3 * 512 + 6 * 32, &dirent(b"\xe5WO     BIN", 0x20, 12, 10));
    let found = list(&image);
    let of = |path: &str| found.iter().find(|(e, _)| e.path == path).map(|(e, _)| e.recovered);
    assert_eq!(of("/_NE.BIN"), Some(Some(Recovered::Partial)));
    // The times do not tell whether the first one was written over the second.
    assert_eq!(of("/_WO.BIN"), Some(Some(Recovered::Partial)));
    let sure: Vec<_> = found.iter().filter(|(e, _)| e.path == "/_WO.BIN").map(|(e, _)| e.certainty.clone()).collect();
    assert_eq!(sure, [[(10, Certainty::Proven)]]);
}

#[test]
fn a_chain_that_loops_is_a_fault() {
    let mut image = volume();
    link(&mut image, 4, 2);
    let found = list(&image);
    assert!(found[0].0.faults[0].what.contains("loops back"));
    assert_eq!(found[0].1.len(), 600);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damage_ends_without_a_panic(flips in prop::collection::vec((0usize..12 * 512, any::<u8>()), 1..30)) {
        let mut image = volume();
        flips.iter().for_each(|(at, byte)| image[*at] = *byte);
        list(&image);
    }

    #[test]
    fn noise_behind_a_boot_sector_ends_without_a_panic(noise in prop::collection::vec(any::<u8>(), 8192), wide: bool) {
        let mut image = volume();
        put(&mut image, 512, &noise);
        if wide {
            // The same as FAT32, its root directory in cluster 2.
            put(&mut image, 17, &[0, 0]);
            put(&mut image, 22, &[0, 0]);
            put(&mut image, 36, &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
        }
        list(&image);
    }
}
