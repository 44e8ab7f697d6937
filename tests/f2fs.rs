//! F2FS volumes that `sload.f2fs` fills from a folder: every path, size and content against that folder. Where the tools are not
//! installed a test says so and passes. What the kernel wrote, packed and deleted is in `fixtures/f2fs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::filled::{self, done};
use evidex::content::{Codec, Content};
use evidex::fs::{Entry, EntryKind, Recovered, claims, entries};
use evidex::image::{View, open};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Options of `mkfs.f2fs`.
const KINDS: &[(&str, &[&str])] = &[
    ("plain", &[]),
    ("extra attributes", &["-O", "extra_attr,inode_crtime"]),
    ("checksums", &["-O", "extra_attr,inode_checksum,sb_checksum"]),
];

/// A volume that was filled from `folder`.
fn made(folder: &Path, image: &Path, mkfs: &[&str]) -> bool {
    File::create(image).and_then(|file| file.set_len(256 << 20)).unwrap();
    done(Command::new("mkfs.f2fs").args(["-q", "-f"]).args(mkfs).arg(image))
        && done(Command::new("sload.f2fs").args(["-P", "-f"]).arg(folder).arg(image))
}

#[test]
fn what_was_loaded_is_listed() {
    let temp = tempfile::tempdir().unwrap();
    let (folder, image) = (temp.path().join("folder"), temp.path().join("image"));
    fs::create_dir(&folder).unwrap();
    filled::fill(&folder);
    // The tool gives a file that ends with a hole a block less than it has.
    fs::remove_file(folder.join("sparse")).unwrap();
    // Nor does it load what is no file.
    ["disk", "null", "pipe"].iter().for_each(|name| drop(fs::remove_file(folder.join(name))));
    for (name, mkfs) in KINDS {
        if !made(&folder, &image, mkfs) {
            eprintln!("left out: no F2FS volume can be made here ({name})");
            continue;
        }
        let count = filled::same_as(&image, "F2FS", &folder);
        filled::read(&image, |fs, _| {
            assert_eq!((&fs.facts().faults, &fs.facts().anomalies), (&vec![], &vec![]), "{name}")
        });
        println!("{name:40} {count} entries as they were loaded");
    }
}

/// An image of `fixtures/f2fs`, unpacked.
fn fixture(folder: &Path, name: &str) -> PathBuf {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/f2fs").join(name).with_extension("zst");
    let image = folder.join(name);
    let bytes = zstd::decode_all(File::open(packed).unwrap()).unwrap();
    fs::write(&image, bytes).unwrap();
    image
}

/// Numbers, a line each, as `seq` prints them.
fn seq(from: u32, to: u32) -> Vec<u8> {
    (from..=to).flat_map(|number| format!("{number}\n").into_bytes()).collect()
}

/// Blocks of 4 KiB, each of its number.
fn blocks(count: u32, from: u32) -> Vec<u8> {
    (from..from + count).flat_map(|number| format!("{number:04096}").into_bytes()).collect()
}

/// Entries by path, and the content of each.
fn listed(image: &Path) -> BTreeMap<String, (Entry, Vec<u8>)> {
    filled::read(image, |fs, view| {
        let (entries, _) = entries(fs);
        let content = |entry: &Entry| Content::new(view, &entry.stream).contiguous(1 << 30).unwrap().into_owned();
        entries.into_iter().map(|entry| (entry.path.clone(), (entry.clone(), content(&entry)))).collect()
    })
}

#[test]
fn what_the_kernel_wrote_and_deleted_is_listed() {
    let temp = tempfile::tempdir().unwrap();
    let mut listed = listed(&fixture(temp.path(), "deleted"));
    let mut take = |path: &str| listed.remove(path).unwrap_or_else(|| panic!("{path} is not listed"));
    for number in (1..=40).filter(|number| ![3, 7, 9].contains(number)) {
        let (entry, content) = take(&format!("/few/numbers {number}"));
        assert!(entry.allocated && entry.faults.is_empty() && content == seq(number, number * 200), "{entry:?}");
        if number == 1 {
            let attributes =
                [("user.long".to_owned(), format!("{:0600}", 7)), ("user.note".to_owned(), "in the inode".to_owned())];
            let mut told = entry.attributes.clone();
            told.sort();
            assert_eq!(told, attributes);
        }
    }
    for path in ["/hard", "/few/numbers 3"] {
        let (entry, content) = take(path);
        assert!(entry.linked && content == seq(3, 600), "{entry:?}");
    }
    assert_eq!(take("/few/renamed").1, seq(9, 1800));
    assert_eq!(take("/later").1, blocks(5, 9000));
    assert_eq!(take("/link").0.target.as_deref(), Some("few/numbers 2"));
    assert!(take("/few").0.times.btime.is_some());
    let gone: [(&str, Vec<u8>); 4] = [
        ("/big", blocks(1500, 0)),
        ("/few/small", seq(1, 20)),
        ("/few/numbers 7", seq(7, 1400)),
        ("/gone/inside", blocks(20, 5000)),
    ];
    for (path, known) in gone {
        let (entry, content) = take(path);
        assert_eq!((entry.allocated, entry.recovered), (false, Some(Recovered::Intact)), "{entry:?}");
        assert!(content == known, "{path}");
    }
    assert_eq!(take("/gone").0.kind, EntryKind::Directory);
    // The name that a file had before it was renamed.
    assert_eq!(take("/few/numbers 9").0.recovered, Some(Recovered::NameOnly));
    assert!(listed.is_empty(), "{:?}", listed.keys());
}

#[test]
fn what_was_written_after_the_checkpoint_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let image = fixture(temp.path(), "open");
    let listed = listed(&image);
    assert!(listed["/early"].0.allocated && listed["/early"].1 == seq(1, 3000));
    let (late, content) = &listed["/late"];
    assert!(!late.allocated && late.recovered == Some(Recovered::Intact) && *content == seq(1, 4000), "{late:?}");
    assert!(late.note.as_deref().is_some_and(|note| note.contains("after the last checkpoint")), "{late:?}");
    let told = filled::read(&image, |fs, _| entries(fs).1);
    assert!(told.iter().any(|fault| fault.what.contains("after the last checkpoint")), "{told:?}");
}

#[test]
fn packed_clusters_are_unpacked() {
    let temp = tempfile::tempdir().unwrap();
    for name in ["packed-lz4", "packed-lzo", "packed-lzo-rle", "packed-zstd"] {
        let mut listed = listed(&fixture(temp.path(), name));
        for (path, known) in [("/numbers", seq(1, 20_000)), ("/blocks", blocks(30, 0)), ("/zeros", vec![0; 50_000])] {
            let (entry, content) = listed.remove(path).unwrap();
            assert!(entry.stream.codec != Codec::Plain && entry.faults.is_empty(), "{name}{path} is not packed");
            assert!(content == known, "{name}{path}");
        }
        assert!(listed.is_empty(), "{:?}", listed.keys());
    }
}

#[test]
fn the_other_superblock_and_checkpoint_are_used() {
    let temp = tempfile::tempdir().unwrap();
    let image = fixture(temp.path(), "deleted");
    let file = File::options().write(true).open(&image).unwrap();
    file.write_all_at(&[0; 4096], 0).unwrap();
    let told =
        |what: &str| filled::read(&image, |fs, _| fs.facts().faults.iter().any(|fault| fault.what.contains(what)));
    assert!(told("the superblock is destroyed"));
    // Both packs in turn: the older one is of the time before the last files.
    let before = listed(&image).len();
    file.write_all_at(b"damage", (512 << 12) + 100).unwrap();
    file.write_all_at(b"damage", (1024 << 12) + 100).unwrap();
    let image = open(&image).unwrap();
    assert!(
        claims(View::whole(image.as_ref())).iter().all(|(row, _)| (row.open)(View::whole(image.as_ref())).is_err())
    );
    assert!(before > 40);
}

#[test]
fn behind_a_damaged_node_nothing_is_taken_for_a_hole() {
    let temp = tempfile::tempdir().unwrap();
    let image = fixture(temp.path(), "deleted");
    let number: u32 = listed(&image)["/big"].0.inode.parse().unwrap();
    let mut bytes = fs::read(&image).unwrap();
    let word = |block: &[u8], at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
    let is_node = |block: &[u8]| word(block, 4076) == number && word(block, 4072) > number && word(block, 4072) < 1000;
    let nodes: Vec<usize> = (0..bytes.len()).step_by(4096).filter(|at| is_node(&bytes[*at..at + 4096])).collect();
    assert!(!nodes.is_empty());
    nodes.iter().for_each(|at| bytes[*at..at + 4096].fill(0));
    fs::write(&image, bytes).unwrap();
    let (big, content) = &listed(&image)["/big"];
    assert_eq!((big.recovered, big.stream.size), (Some(Recovered::Partial), 1500 * 4096));
    assert!(big.faults.iter().any(|fault| fault.what.contains("is missing or damaged")), "{big:?}");
    let known = blocks(1500, 0);
    assert!(content.len() > 800 * 4096 && content.len() < known.len() && known.starts_with(content));
}
