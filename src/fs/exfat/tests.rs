//! An exFAT volume made here, sound and damaged.

use super::*;
use crate::content::Content;
use crate::fs::{Entry, EntryKind, Origin, Recovered};
use crate::image::raw::of_bytes;
use proptest::prelude::*;

const CLUSTER: usize = 512;
const CLUSTERS: u32 = 60;
/// Sectors 0 to 23 are the boot regions, 24 the table, cluster 2 is sector 25.
const TABLE: usize = 24 * 512;
const HEAP: usize = 25 * 512;
const STAMP: u32 = 0x5861_6000;

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

fn place(cluster: usize) -> usize {
    HEAP + (cluster - 2) * CLUSTER
}

fn link(image: &mut [u8], cluster: usize, next: u32) {
    put(image, TABLE + cluster * 4, &next.to_le_bytes());
}

/// The capitals of ASCII; everything else is its own.
fn upcase() -> Vec<u8> {
    let letters = (b'A'..=b'Z').map(u16::from);
    [0xffff, 0x61].into_iter().chain(letters).chain([0xffff, 0xff85]).flat_map(u16::to_le_bytes).collect()
}

/// An entry set: flags of the stream (1: may have clusters, 2: in one piece), size and how much of it is valid.
fn set(name: &str, attributes: u16, flags: u8, first: u32, size: u64, valid: u64) -> Vec<u8> {
    let units: Vec<u16> = name.encode_utf16().collect();
    let mut set = vec![0u8; 64];
    (set[0], set[32], set[33]) = (0x85, 0xc0, flags);
    put(&mut set, 4, &attributes.to_le_bytes());
    [8, 12, 16].iter().for_each(|at| put(&mut set, *at, &STAMP.to_le_bytes()));
    put(&mut set, 20, &[150, 0, 0x8c, 0, 0xe0]);
    set[35] = units.len() as u8;
    put(&mut set, 36, &upcase::Upcase::parse(&upcase()).hash(&units).to_le_bytes());
    put(&mut set, 40, &valid.to_le_bytes());
    put(&mut set, 52, &first.to_le_bytes());
    put(&mut set, 56, &size.to_le_bytes());
    for part in units.chunks(15) {
        let mut cell = vec![0xc1, 0];
        cell.extend(part.iter().flat_map(|unit| unit.to_le_bytes()));
        cell.resize(32, 0);
        set.extend(cell);
    }
    set[1] = (set.len() / 32 - 1) as u8;
    let counted = set.iter().enumerate().filter(|(at, _)| !matches!(at, 2 | 3));
    let sum = counted.fold(0u16, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u16::from(*byte)));
    put(&mut set, 2, &sum.to_le_bytes());
    set
}

fn deleted(mut set: Vec<u8>) -> Vec<u8> {
    set.iter_mut().step_by(32).for_each(|kind| *kind &= 0x7f);
    set
}

fn system(kind: u8, first: u32, size: usize, sum: u32) -> Vec<u8> {
    let mut cell = vec![0u8; 32];
    cell[0] = kind;
    put(&mut cell, 4, &sum.to_le_bytes());
    put(&mut cell, 20, &first.to_le_bytes());
    put(&mut cell, 24, &(size as u64).to_le_bytes());
    cell
}

/// Writes the sums over both boot regions.
fn seal(image: &mut [u8]) {
    for start in [0, 12 * 512] {
        let body = image[start..start + 11 * 512].iter().enumerate();
        let counted = body.filter(|(at, _)| !matches!(at, 106 | 107 | 112));
        let sum = counted.fold(0u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
        put(image, start + 11 * 512, &sum.to_le_bytes().repeat(128));
    }
}

fn boot() -> Vec<u8> {
    let mut image = vec![0u8; HEAP + CLUSTERS as usize * CLUSTER];
    let sectors = (image.len() / 512) as u64;
    for start in [0, 12 * 512] {
        put(&mut image, start, b"\xeb\x76\x90EXFAT   ");
        put(&mut image, start + 72, &sectors.to_le_bytes());
        put(&mut image, start + 80, &[24, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, CLUSTERS as u8, 0, 0, 0, 4, 0, 0, 0]);
        put(&mut image, start + 100, &[0x78, 0x56, 0x34, 0x12, 0, 1, 0, 0, 9, 0, 1]);
        put(&mut image, start + 510, &[0x55, 0xaa]);
    }
    seal(&mut image);
    image
}

fn volume() -> Vec<u8> {
    let mut image = boot();
    for (cluster, next) in [(2, u32::MAX), (3, u32::MAX), (4, 5), (5, u32::MAX), (8, 10), (10, u32::MAX)] {
        link(&mut image, cluster, next);
    }
    // The chain of a deleted file that its driver left.
    link(&mut image, 13, 15);
    link(&mut image, 15, u32::MAX);
    let used = [2u32, 3, 4, 5, 6, 7, 8, 10];
    used.iter().map(|cluster| cluster - 2).for_each(|bit| image[place(2) + bit as usize / 8] |= 1 << (bit % 8));
    put(&mut image, place(3), &upcase());
    for cluster in (6..17).chain([17, 21, 26, 30]) {
        put(&mut image, place(cluster), &[cluster as u8; CLUSTER]);
    }
    let mut label = system(0x83, 0, 0, 0);
    put(&mut label, 1, b"\x04T\0e\0s\0t\0");
    let rest = deleted(set("rest.txt", 0x20, 3, 30, 5, 5));
    let root = [
        label,
        system(0x81, 2, 8, 0),
        system(0x82, 3, upcase().len(), upcase::checksum(&upcase())),
        set("live.txt", 0x20, 3, 6, 600, 100),
        set("Chained with a long name", 0x20, 1, 8, 700, 700),
        deleted(set("gone.bin", 0x20, 3, 11, 1000, 1000)),
        rest[32..].to_vec(),
        deleted(set("kept.bin", 0x20, 1, 13, 1000, 1000)),
        deleted(set("old", 0x10, 3, 20, 512, 512)),
        deleted(set("lost.bin", 0x20, 1, 16, 1000, 1000)),
    ]
    .concat();
    // Two clusters, one behind the other.
    assert!(root.len() > CLUSTER && root.len() < 2 * CLUSTER - 96);
    put(&mut image, place(4), &root);
    put(&mut image, place(4) + 2 * CLUSTER - 96, &deleted(set("behind", 0x20, 3, 40, 7, 7)));
    put(&mut image, place(20), &set("in.txt", 0x20, 3, 21, 5, 5));
    put(&mut image, place(25), &set("orphan.txt", 0x20, 3, 26, 5, 5));
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
    let found = list(&volume());
    let names: Vec<_> = found.iter().map(|(e, _)| (e.path.as_str(), e.allocated, e.recovered)).collect();
    let gone = |path| (path, false, Some(Recovered::Intact));
    assert_eq!(
        names,
        [
            ("/$ALLOC_BITMAP", true, None),
            ("/$UPCASE_TABLE", true, None),
            ("/live.txt", true, None),
            ("/Chained with a long name", true, None),
            gone("/gone.bin"),
            gone("/rest.txt"),
            gone("/kept.bin"),
            gone("/old"),
            gone("/old/in.txt"),
            gone("/lost.bin"),
            gone("/behind"),
            gone("/$OrphanFiles/orphan.txt"),
        ]
    );
    assert_eq!(found[2].1, [vec![6; 100], vec![0; 500]].concat());
    assert_eq!(found[3].1, [[8; 512].as_slice(), &[10; 188]].concat());
    assert_eq!(found[4].1, [[11; 512].as_slice(), &[12; 488]].concat());
    assert_eq!(found[6].1, [[13; 512].as_slice(), &[15; 488]].concat());
    assert_eq!(found[9].1, [[16; 512].as_slice(), &[17; 488]].concat());
    assert_eq!((found[7].0.kind, found[11].1.as_slice()), (EntryKind::Directory, &[26; 5][..]));
    assert!(found.iter().all(|(entry, _)| entry.faults.is_empty() && entry.contradictions.is_empty()));
    let origins = [8, 10, 11].map(|row: usize| found[row].0.origin);
    assert_eq!(origins, [Origin::Table, Origin::Slack, Origin::Unallocated]);
    let times = found[2].0.times;
    let shown = [times.btime, times.mtime, times.atime].map(|time| time.map(|time| time.rfc3339()));
    let expected = ["2024-03-01T09:00:01.50Z", "2024-03-01T12:00:00.00", "2024-03-01T20:00:00Z"];
    assert_eq!(shown, expected.map(|time| Some(time.to_owned())));
}

#[test]
fn the_volume_tells_its_facts() {
    let image = of_bytes(&volume()).unwrap();
    let fs = open(View::whole(image.as_ref())).unwrap();
    assert_eq!((fs.facts().label.as_str(), fs.facts().id.as_str()), ("Test", "1234-5678"));
    assert!(fs.facts().faults.is_empty() && fs.facts().anomalies.is_empty());
    assert_eq!(fs.unallocated().flatten().map(|extent| extent.len / 512).sum::<u64>(), 52);
    assert_eq!(probe(View::whole(image.as_ref())).map(|claim| claim.surety), Some(100));
}

/// Faults and anomalies of a volume that was changed.
fn signs(change: impl Fn(&mut [u8])) -> (Vec<String>, Vec<String>, usize) {
    let mut image = volume();
    change(&mut image);
    let opened = of_bytes(&image).unwrap();
    let fs = open(View::whole(opened.as_ref())).unwrap();
    let faults = fs.facts().faults.iter().map(|fault| fault.what.clone()).collect();
    let anomalies = fs.facts().anomalies.iter().map(|anomaly| anomaly.sign.what.clone()).collect();
    (faults, anomalies, list(&image).len())
}

#[test]
fn the_backup_takes_the_place_of_a_damaged_boot_sector() {
    let (faults, anomalies, count) = signs(|image| image[..512].fill(0));
    assert_eq!((faults.len(), anomalies.len(), count), (1, 0, 12));
    let (faults, anomalies, count) = signs(|image| image[0x60] = 9);
    assert_eq!((faults.len(), anomalies.len(), count), (1, 2, 12), "{faults:?} {anomalies:?}");
    let (faults, anomalies, _) = signs(|image| image[12 * 512 + 600] = 1);
    assert_eq!((faults.len(), anomalies.len()), (0, 2));
    // VolumeFlags and PercentInUse may differ.
    assert_eq!(signs(|image| image[112] = 50), (Vec::new(), Vec::new(), 12));
}

#[test]
fn sums_that_do_not_fit_are_told() {
    let (_, anomalies, _) = signs(|image| image[place(3) + 8] = 0);
    assert!(anomalies[0].contains("up-case"));
    let mut image = volume();
    image[place(4) + 96 + 4] ^= 1;
    let found = list(&image);
    assert_eq!(found[2].0.contradictions, ["the checksum of its entry set does not fit"]);
}

#[test]
fn a_directory_in_pieces_is_joined_by_the_set_that_it_cuts() {
    let mut image = volume();
    put(&mut image, place(4) + 2 * CLUSTER - 96, &deleted(set("two", 0x10, 1, 45, 1024, 1024)));
    let filler: Vec<u8> = (0..5).flat_map(|n| set(&format!("f{n}"), 0x20, 0, 0, 0, 0)).collect();
    let cut = set("cut", 0x20, 3, 50, 4, 4);
    put(&mut image, place(45), &[&filler, &cut[..32]].concat());
    put(&mut image, place(55), &[&cut[32..], &set("last", 0x20, 0, 0, 0, 0)].concat());
    let found = list(&image);
    let names: Vec<_> = found.iter().map(|(e, _)| e.path.as_str()).filter(|path| path.starts_with("/two")).collect();
    assert_eq!(names, ["/two", "/two/f0", "/two/f1", "/two/f2", "/two/f3", "/two/f4", "/two/cut", "/two/last"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damage_ends_without_a_panic(flips in prop::collection::vec((0usize..HEAP + 60 * CLUSTER, any::<u8>()), 1..30)) {
        let mut image = volume();
        flips.iter().for_each(|(at, byte)| image[*at] = *byte);
        list(&image);
    }

    #[test]
    fn noise_behind_a_boot_sector_ends_without_a_panic(
        noise in prop::collection::vec(any::<u8>(), 8192),
        fields in prop::collection::vec(any::<u8>(), 48),
    ) {
        let mut image = volume();
        put(&mut image, TABLE, &noise);
        list(&image);
        put(&mut image, 64, &fields);
        seal(&mut image);
        list(&image);
    }
}
