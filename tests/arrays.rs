//! Arrays and logical volumes that Linux made (`fixtures/volumes/make`): every block of 8 KiB of each holds its own number, so
//! that a block which is read from a wrong place is seen, and which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::evidex;
use evidex::image::{View, open, original};
use evidex::volume::copies::disagreements;
use evidex::volume::vault::Keys;
use evidex::volume::{Layout, Volume, VolumeKind, divide};
use std::io::Write;
use std::path::Path;

/// Bytes of a block, and what a volume's blocks are numbered from for each seed.
const BLOCK: usize = 8192;
const SEED: u64 = 1_000_003;

/// A disk of the fixtures.
fn disk(name: &str) -> tempfile::NamedTempFile {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/volumes").join(format!("{name}.zst"));
    let bytes = zstd::decode_all(std::fs::File::open(packed).expect("the fixture is there")).expect("it is whole");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&bytes).expect("it is written");
    file
}

/// Fails where a block of a volume is not the one with its number.
#[track_caller]
fn is_numbered(disk: View<'_>, volume: &Volume, seed: u64, name: &str) {
    volume.with(disk, |view| are_numbered(&view.read(0, view.size()).expect("it is read"), seed, name));
}

#[track_caller]
fn are_numbered(bytes: &[u8], seed: u64, name: &str) {
    for (number, block) in bytes.chunks(BLOCK).enumerate() {
        let wanted = (seed * SEED + number as u64).to_le_bytes();
        let found = block.chunks(8).find(|word| *word != &wanted[..word.len()]);
        if let Some(word) = found {
            let there = u64::from_le_bytes(word.try_into().unwrap_or_default()).wrapping_sub(seed * SEED);
            panic!("{name}: block {number} of {} has bytes of block {there}", bytes.len() / BLOCK);
        }
    }
}

fn assembled(layout: &Layout) -> Vec<&Volume> {
    layout.volumes.iter().filter(|volume| volume.kind == VolumeKind::Assembled).collect()
}

/// `(fixture, level and members, size in bytes)`, the sizes as the kernel said them.
const ARRAYS: &[(&str, &str, u64)] = &[
    ("md-linear", "linear, 3 of 3", 4_718_592),
    ("md-r0", "RAID 0, 3 of 3", 4_718_592),
    ("md-r1", "RAID 1, 2 of 2", 2_555_904),
    ("md-r4", "RAID 4, 3 of 3", 3_145_728),
    ("md-r5la", "RAID 5, 3 of 3", 5_111_808),
    ("md-r5ls", "RAID 5, 4 of 4", 4_718_592),
    ("md-r5ra", "RAID 5, 3 of 3", 3_145_728),
    ("md-r5rs", "RAID 5, 3 of 3", 3_145_728),
    ("md-r6", "RAID 6, 4 of 4", 3_145_728),
    ("md-r6ra", "RAID 6, 4 of 4", 3_145_728),
    ("md-r10n2", "RAID 10, 3 of 3", 2_359_296),
    ("md-r10f2", "RAID 10, 3 of 3", 2_359_296),
    ("md-r10o2", "RAID 10, 4 of 4", 3_145_728),
];

#[test]
fn arrays_of_every_level_give_every_block() {
    for (name, kind, size) in ARRAYS {
        let file = disk(name);
        let image = open(file.path()).expect("it opens");
        let disk = View::whole(image.as_ref());
        let layout = divide(disk);
        let [volume] = assembled(&layout)[..] else { panic!("{name}: {layout:#?}") };
        assert_eq!(volume.type_name, format!("md {kind} members"), "{name}");
        assert_eq!(volume.size(), *size, "{name}");
        is_numbered(disk, volume, 7, name);
        assert!(layout.faults.is_empty(), "{name}: {:?}", layout.faults);
    }
}

/// `(fixture, volume, kind, size in bytes, seed)`.
const LOGICAL: &[(&str, &str, &str, u64, u64)] = &[
    ("lvm-plain", "plain/striped", "lvm2 striped", 1_966_080, 2),
    ("lvm-plain", "plain/mirror", "lvm2 mirror", 524_288, 3),
    ("lvm-arrays", "arrays/r1", "lvm2 raid1", 524_288, 1),
    ("lvm-arrays", "arrays/r5", "lvm2 raid5", 1_048_576, 2),
    ("lvm-arrays", "arrays/r0", "lvm2 raid0", 983_040, 3),
    ("lvm-thin", "thin/other", "lvm2 thin", 1 << 20, 2),
];

#[test]
fn logical_volumes_give_every_block() {
    for (fixture, name, kind, size, seed) in LOGICAL {
        let file = disk(fixture);
        let image = open(file.path()).expect("it opens");
        let disk = View::whole(image.as_ref());
        let layout = divide(disk);
        let volume = layout.volumes.iter().find(|volume| volume.name == *name).expect("it is there");
        assert_eq!((volume.type_name.as_str(), volume.size()), (*kind, *size), "{name}");
        is_numbered(disk, volume, *seed, name);
        assert!(layout.faults.is_empty(), "{fixture}: {:?}", layout.faults);
    }
}

/// All bytes of a volume of a disk.
fn bytes_of(disk: View<'_>, layout: &Layout, name: &str) -> Vec<u8> {
    let volume = layout.volumes.iter().find(|volume| volume.name == name).expect("it is there");
    volume.with(disk, |view| view.read(0, view.size()).expect("it is read").into_owned())
}

#[test]
fn snapshots_give_what_was_there_when_they_were_taken() {
    // Blocks 20 to 29 and 100 to 102 of the linear volume were filled with zeros after its snapshot was taken.
    let file = disk("lvm-plain");
    let image = open(file.path()).expect("it opens");
    let disk_view = View::whole(image.as_ref());
    let layout = divide(disk_view);
    let past = layout.volumes.iter().find(|volume| volume.name == "plain/past").expect("it is there");
    assert_eq!(past.kind, VolumeKind::Snapshot);
    assert!(past.past.expect("it is of another").1.is_some(), "when it was taken is told");
    are_numbered(&bytes_of(disk_view, &layout, "plain/past"), 1, "plain/past");
    let now = bytes_of(disk_view, &layout, "plain/linear");
    are_numbered(&now[..20 * BLOCK], 1, "plain/linear");
    assert!(now[20 * BLOCK..30 * BLOCK].iter().chain(&now[100 * BLOCK..103 * BLOCK]).all(|byte| *byte == 0));
    // 2 MiB of the thin volume were written, its snapshot taken, and 512 KiB written again.
    let file = disk("lvm-thin");
    let image = open(file.path()).expect("it opens");
    let disk_view = View::whole(image.as_ref());
    let layout = divide(disk_view);
    let (then, now) = (bytes_of(disk_view, &layout, "thin/then"), bytes_of(disk_view, &layout, "thin/big"));
    are_numbered(&then[..2 << 20], 1, "thin/then");
    are_numbered(&now[..512 << 10], 5, "thin/big");
    assert!(now[512 << 10..2 << 20] == then[512 << 10..2 << 20]);
    assert!(then.len() == 64 << 20 && then[2 << 20..].iter().chain(&now[2 << 20..]).all(|byte| *byte == 0));
}

/// Wipes a partition of a fixture's disk.
fn without(name: &str, partitions: &[usize]) -> tempfile::NamedTempFile {
    let file = disk(name);
    let image = open(file.path()).expect("it opens");
    let layout = divide(View::whole(image.as_ref()));
    for partition in partitions {
        let extent = layout.volumes[*partition].extent;
        let zeros = vec![0; extent.len as usize];
        std::os::unix::fs::FileExt::write_all_at(file.as_file(), &zeros, extent.start).expect("it is written");
    }
    file
}

#[test]
fn what_is_missing_of_an_array_is_told() {
    for (name, partition, whole) in
        [("md-r1", 0, true), ("md-r10n2", 1, true), ("md-r0", 2, false), ("md-linear", 1, false)]
    {
        let file = without(name, &[partition]);
        let image = open(file.path()).expect("it opens");
        let disk = View::whole(image.as_ref());
        let layout = divide(disk);
        let faults: Vec<&str> = layout.faults.iter().map(|fault| fault.what.as_str()).collect();
        assert!(faults.iter().any(|what| what.contains("members are not here")), "{name}: {faults:?}");
        assert_eq!(faults.iter().any(|what| what.contains("read as zeros")), !whole, "{name}: {faults:?}");
        if whole {
            is_numbered(disk, assembled(&layout)[0], 7, name);
        }
        // What is lost is told as unreadable: nothing gets a hash in which zeros stand for it.
        let opened = evidex::volume::open::open(file.path(), &Keys::default()).expect("it opens");
        let lost: u64 = opened.image.unreadable().iter().map(|extent| extent.len).sum();
        let size = assembled(&layout)[0].size();
        assert_eq!(lost, if whole { 0 } else { size / 3 }, "{name}");
    }
    // A disk that is cut short in the middle of its last member.
    let file = disk("md-linear");
    let size = std::fs::metadata(file.path()).expect("it is there").len();
    file.as_file().set_len(size / 2).expect("it is cut");
    let opened = evidex::volume::open::open(file.path(), &Keys::default()).expect("it opens");
    let layout = divide(View::whole(opened.image.as_ref()));
    assert!(!opened.image.unreadable().is_empty(), "{:?}", layout.faults);
}

#[test]
fn what_cannot_be_put_together_is_read_where_it_stands() {
    // Both superblocks of a mirror say that it is being reshaped, with checksums that fit.
    let file = disk("md-r1");
    let image = open(file.path()).expect("it opens");
    let members: Vec<u64> = divide(View::whole(image.as_ref()))
        .volumes
        .iter()
        .filter(|volume| volume.kind == VolumeKind::Partition)
        .take(2)
        .map(|volume| volume.extent.start + ((volume.extent.len - 8192) & !4095))
        .collect();
    for at in members {
        let mut block = common::bytes_at(file.path(), at, 256 + 2 * 128);
        let count = u32::from_le_bytes(block[220..224].try_into().unwrap()) as usize;
        block.truncate(256 + 2 * count);
        block[8] |= 4;
        block[216..220].fill(0);
        let sum: u64 = block.chunks_exact(4).map(|word| u64::from(u32::from_le_bytes(word.try_into().unwrap()))).sum();
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        block[216..220].copy_from_slice(&(sum as u32).to_le_bytes());
        std::os::unix::fs::FileExt::write_all_at(file.as_file(), &block, at).expect("it is written");
    }
    let image = open(file.path()).expect("it opens");
    let layout = divide(View::whole(image.as_ref()));
    assert!(layout.faults.iter().any(|fault| fault.what.contains("being reshaped")), "{:?}", layout.faults);
    assert!(!layout.faults.iter().any(|fault| fault.what.contains("checksum")), "{:?}", layout.faults);
    assert!(layout.members.is_empty() && layout.covered.as_slice().is_empty() && assembled(&layout).is_empty());
}

#[test]
fn a_missing_member_of_an_array_with_parity_is_computed() {
    for (name, count) in
        [("md-r4", 3), ("md-r5la", 3), ("md-r5ls", 4), ("md-r5ra", 3), ("md-r5rs", 3), ("md-r6", 4), ("md-r6ra", 4)]
    {
        for partition in 0..count {
            let file = without(name, &[partition]);
            let opened = evidex::volume::open::open(file.path(), &Keys::default()).expect("it opens");
            let disk = View::whole(opened.image.as_ref());
            let layout = divide(disk);
            is_numbered(disk, assembled(&layout)[0], 7, &format!("{name} without {partition}"));
            let size = std::fs::metadata(file.path()).expect("it is there").len();
            assert_eq!(original(opened.image.as_ref()).size(), size, "the evidence is as it is");
            assert!(layout.volumes.iter().all(|v| v.kind == VolumeKind::Assembled || v.extent.end() <= size));
        }
    }
}

#[test]
fn any_two_missing_members_of_raid_6_are_computed() {
    for name in ["md-r6", "md-r6ra"] {
        for (first, second) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
            let file = without(name, &[first, second]);
            let opened = evidex::volume::open::open(file.path(), &Keys::default()).expect("it opens");
            let disk = View::whole(opened.image.as_ref());
            let layout = divide(disk);
            is_numbered(disk, assembled(&layout)[0], 7, &format!("{name} without {first} and {second}"));
            assert!(opened.image.unreadable().is_empty(), "nothing of it is lost");
        }
    }
}

#[test]
fn mirrors_that_differ_are_told() {
    for name in ["md-r1", "lvm-plain", "lvm-arrays"] {
        let file = disk(name);
        let image = open(file.path()).expect("it opens");
        let disk = View::whole(image.as_ref());
        let layout = divide(disk);
        assert_eq!(disagreements(disk, &layout), [], "{name}");
        let (number, copies) = layout.copies.first().expect("there is a mirror");
        let place = copies[0].place.expect("it stands on the disk") + 3 * 512 + 100;
        std::os::unix::fs::FileExt::write_all_at(file.as_file(), b"written behind its back", place).expect("it is");
        let changed = open(file.path()).expect("it opens");
        let found = disagreements(View::whole(changed.as_ref()), &layout);
        let [found] = &found[..] else { panic!("{name}: {found:?}") };
        assert_eq!((found.number, found.extents.len(), found.extents[0].start), (*number, 1, place - 100), "{name}");
        let told = evidex(&["info".as_ref(), file.path().as_os_str()]).expect(0).text();
        assert!(told.contains("512 bytes of a copy differ from the one that is read"), "{name}: {told}");
    }
}

#[test]
fn parity_that_does_not_fit_is_told() {
    for name in ["md-r4", "md-r5la", "md-r5ls", "md-r5ra", "md-r5rs", "md-r6", "md-r6ra", "lvm-arrays"] {
        let file = disk(name);
        let image = open(file.path()).expect("it opens");
        let layout = divide(View::whole(image.as_ref()));
        assert_eq!(disagreements(View::whole(image.as_ref()), &layout), [], "{name}");
        let (number, _) = layout.parities.first().expect("it has parity");
        let volume = layout.volumes.iter().find(|volume| volume.number == *number).expect("it is there");
        // Data in the second half of the array, written to the member alone.
        let place = volume
            .parts
            .as_ref()
            .and_then(|parts| parts.mapping.place(volume.size() / 2 + 1000))
            .expect("it stands there");
        std::os::unix::fs::FileExt::write_all_at(file.as_file(), b"written behind its back", place).expect("it is");
        let changed = open(file.path()).expect("it opens");
        let found = disagreements(View::whole(changed.as_ref()), &layout);
        let [found] = &found[..] else { panic!("{name}: {found:?}") };
        assert_eq!((found.number, found.extents.len()), (*number, 1), "{name}");
        let told = evidex(&["info".as_ref(), file.path().as_os_str()]).expect(0).text();
        assert!(told.contains("512 bytes of parity do not fit the data"), "{name}: {told}");
        // It is the parity of that stripe, on another member.
        assert!(found.extents[0].start.abs_diff(place) > 1 << 16, "{name}: {found:?} {place}");
    }
}

#[test]
fn damaged_metadata_ends_in_faults() {
    let rounds = std::env::var("EVIDEX_FLIPS").ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    for name in ["lvm-plain", "lvm-arrays", "lvm-thin", "md-r5la", "md-r6", "md-r10o2"] {
        let file = disk(name);
        let bytes = std::fs::read(file.path()).expect("it is read");
        // Blocks of their own numbers are content; the rest that is not zero is metadata.
        let is_content = |block: &[u8]| block.chunks(8).all(|word| word == &block[..8]);
        let blocks = bytes.chunks(512).enumerate().filter(|(_, block)| !is_content(block));
        let metadata: Vec<usize> = blocks.map(|(number, _)| number * 512).collect();
        let mut dice = common::Dice(name.len() as u64);
        for _ in 0..rounds {
            let mut changed = Vec::new();
            for _ in 0..=dice.below(4) {
                let at = metadata[dice.below(metadata.len() as u64) as usize] as u64 + dice.below(512);
                changed.push(at);
                common::flip(file.path(), at);
            }
            let image = open(file.path()).expect("it opens");
            let disk = View::whole(image.as_ref());
            let layout = divide(disk);
            let _ = disagreements(disk, &layout);
            for volume in &layout.volumes {
                volume.with(disk, evidex::fs::claims);
            }
            for at in changed {
                let byte = [bytes[at as usize]];
                std::os::unix::fs::FileExt::write_all_at(file.as_file(), &byte, at).expect("it is written");
            }
        }
    }
}
