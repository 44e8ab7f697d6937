//! SquashFS volumes that `mksquashfs` packs: every path, kind, size and content against the folder that was packed, with every
//! compressor. Where it is not installed, or does not know a compressor, a test says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::filled::{self, done};
use evidex::fs::entries;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What is packed: a name, and options of `mksquashfs`.
const KINDS: &[(&str, &[&str])] = &[
    ("gzip", &["-comp", "gzip"]),
    ("xz, with filters, 64 KiB blocks", &["-comp", "xz", "-b", "64K", "-Xbcj", "x86"]),
    ("lzma", &["-comp", "lzma"]),
    ("lzo, 1 MiB blocks", &["-comp", "lzo", "-b", "1M"]),
    ("lz4", &["-comp", "lz4"]),
    ("lz4, 4 KiB blocks, no fragments", &["-comp", "lz4", "-Xhc", "-b", "4K", "-no-fragments"]),
    ("zstd, fragments of all files", &["-comp", "zstd", "-always-use-fragments"]),
    ("gzip, nothing packed", &["-noI", "-noD", "-noF", "-noX"]),
    ("gzip, content not packed, no exports", &["-noD", "-noF", "-no-exports"]),
];

fn packed(folder: &Path, image: &Path, options: &[&str]) -> bool {
    let _ = fs::remove_file(image);
    done(Command::new("mksquashfs").arg(folder).arg(image).args(["-quiet", "-no-progress"]).args(options))
}

#[test]
fn what_was_packed_is_listed() {
    let scratch = common::scratch();
    let (folder, image) = (scratch.path().join("folder"), scratch.path().join("image"));
    fs::create_dir(&folder).unwrap();
    filled::fill(&folder);
    for (name, options) in KINDS {
        if !packed(&folder, &image, options) {
            eprintln!("left out: no SquashFS can be packed so here ({name})");
            continue;
        }
        let count = filled::same_as(&image, "SquashFS", &folder);
        filled::read(&image, |fs, view| {
            assert_eq!(fs.facts().faults, [], "{name}");
            let listed = entries(fs).0;
            let of = |path: &str| listed.iter().find(|entry| entry.path == path).unwrap();
            let attributes = &of("/deep/noise of 1").attributes;
            let has = |key: &str, value: &str| attributes.iter().any(|(k, v)| k == key && v == value);
            let kept = Command::new("getfattr").arg(folder.join("deep/noise of 1")).output();
            let kept = kept.map_or(0, |out| String::from_utf8_lossy(&out.stdout).matches("user.").count());
            assert_eq!(attributes.len(), kept, "{name}: {attributes:?}");
            assert!(kept == 0 || has("user.note", "in the inode") && has("user.large", &"x".repeat(3000)), "{name}");
            let (one, other) = (of("/second name"), of("/deep/noise of 4097"));
            assert!(one.linked && one.inode == other.inode, "{name}");
            let free: u64 = fs.unallocated().map(|extent| extent.unwrap().len).sum();
            assert_eq!(free, view.size() - fs.facts().size, "{name}: all behind it is free");
        });
        println!("{name:40} {count} entries as they were packed");
    }
}

#[test]
fn a_damaged_table_is_told_and_the_rest_is_listed() {
    let scratch = common::scratch();
    let (folder, image) = (scratch.path().join("folder"), scratch.path().join("image"));
    fs::create_dir(&folder).unwrap();
    (0..400).for_each(|n| fs::write(folder.join(format!("file {n:03}")), format!("this is {n}")).unwrap());
    if !packed(&folder, &image, &["-noI"]) {
        eprintln!("left out: no SquashFS can be packed here");
        return;
    }
    let mut bytes = fs::read(&image).unwrap();
    let field = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let directories = usize::try_from(field(72)).unwrap();
    // The count of the first run of names.
    bytes[directories + 2..directories + 6].copy_from_slice(&[255; 4]);
    fs::write(&image, bytes).unwrap();
    filled::read(&image, |fs, _| {
        let (listed, faults) = entries(fs);
        assert!(faults.iter().any(|fault| fault.what.contains("not all of its names")), "{faults:?}");
        let orphans = listed.iter().filter(|entry| entry.path.starts_with("/$OrphanFiles/")).count();
        assert_eq!((orphans, listed.len()), (400, 400), "each inode is found without its name");
    });
}
