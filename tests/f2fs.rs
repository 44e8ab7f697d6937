//! F2FS volumes that `sload.f2fs` fills from a folder: every path, size and content against that folder. Where the tools are not
//! installed a test says so and passes. What the kernel wrote, packed and deleted is in `fixtures/f2fs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::filled::{self, done};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// Options of `mkfs.f2fs`.
const KINDS: &[(&str, &[&str])] = &[
    ("plain", &[]),
    ("extra attributes", &["-O", "extra_attr,inode_crtime"]),
    ("checksums", &["-O", "extra_attr,inode_checksum,sb_checksum"]),
    ("flexible attributes", &["-O", "extra_attr,flexible_inline_xattr"]),
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
