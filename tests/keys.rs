//! Images whose author tells what was deleted: how much of it evidex and, on the same image in the same run, The Sleuth
//! Kit give back. The table of docs/VALIDATION.md is what this prints (`cargo test --test keys -- --nocapture`).
//!
//! The keys are the corpus' (DFTT 6, 7, 8, 12; the Debian samples); the Debian samples of ext2, ext4 and exFAT, which
//! the corpus does not hold, come from their packages, and hold the same files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::truth::{Row, listing, same_content, same_path, sleuthkit, truth};
use common::{corpus, unpacked};
use evidex::fs::EntryKind;
use evidex::image::{View, open};
use evidex::volume::{VolumeKind, divide};
use std::path::Path;
use std::process::{Command, Stdio};

/// An image, its key, and how many of the deleted files of its key come back whole, and how many under their name.
struct Key {
    image: &'static str,
    key: &'static str,
    whole: usize,
    named: usize,
    all: usize,
}

const fn key(image: &'static str, key: &'static str, whole: usize, named: usize, all: usize) -> Key {
    Key { image, key, whole, named, all }
}

const KEYS: &[Key] = &[
    key("dftt/6-fat-undel.dd", "dftt/6-fat-undel.dd", 6, 6, 6),
    key("dftt/7-ntfs-undel.dd", "dftt/7-ntfs-undel.dd", 9, 9, 9),
    key("dftt/8-jpeg-search.dd", "dftt/8-jpeg-search.dd", 2, 2, 2),
    key("dftt/12-carve-ext2.dd", "dftt/12-carve-ext2.dd", 10, 8, 10),
    key("forensics-samples/fs.ntfs", "forensics-samples/fs.ntfs", 18, 18, 18),
    key("forensics-samples/fs.vfat", "forensics-samples/fs.vfat", 18, 18, 18),
    key("/usr/share/forensics-samples/fs.exfat.xz", "forensics-samples/fs.vfat", 18, 18, 18),
    key("/usr/share/forensics-samples/fs.ext4.xz", "forensics-samples/fs.vfat", 18, 18, 18),
    // The kernel wiped the lists of blocks, and there is no journal: the names are left.
    key("/usr/share/forensics-samples/fs.ext2.xz", "forensics-samples/fs.vfat", 0, 0, 18),
];

/// How many of the key's rows a listing has: whole, and whole under the same path. `any`: live or deleted.
fn found(any: bool, key: &[Row], listed: &[Row]) -> (usize, usize) {
    let fits = |row: &Row, l: &Row| (any || l.deleted == row.deleted) && same_content(row, l);
    // On FAT the first letter of a deleted name may be lost.
    let path = |row: &Row, l: &Row| same_path(&Row { volume: l.volume, deleted: true, ..row.clone() }, l);
    let whole = |row: &&Row| listed.iter().any(|l| fits(row, l));
    let named = |row: &&Row| listed.iter().any(|l| fits(row, l) && path(row, l));
    (key.iter().filter(whole).count(), key.iter().filter(named).count())
}

fn image(folder: &Path, name: &str) -> Option<tempfile::NamedTempFile> {
    if !name.starts_with('/') {
        return Some(unpacked(folder, name));
    }
    let file = tempfile::NamedTempFile::new().expect("a temporary file is made");
    let out = Stdio::from(file.as_file().try_clone().expect("a handle"));
    let done = Command::new("xz").args(["-dc", name]).stdout(out).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success()).then_some(file)
}

#[test]
fn the_authors_keys_are_met() {
    let Some(folder) = corpus("images") else { return };
    let mut failures = Vec::new();
    println!("{:28} {:>22} {:>22} {:>22}", "", "key", "evidex", "The Sleuth Kit");
    println!(
        "{:28} {:>11} {:>10} {:>11} {:>10} {:>11} {:>10}",
        "image", "live", "deleted", "live", "deleted", "live", "deleted"
    );
    for row in KEYS {
        let Some(file) = image(&folder, row.image) else {
            eprintln!("left out: {} (a package that tests/run installs)", row.image);
            continue;
        };
        let (mut key, mut others) = truth(&folder.join(format!("{}.doc-truth.json", row.key)));
        // Named streams are part of a key.
        others.retain(|row| row.path.contains(':'));
        key.append(&mut others);
        let opened = open(file.path()).expect("the image opens");
        let (listed, _) = listing(opened.as_ref(), &[EntryKind::File, EntryKind::Stream]);
        let mut theirs = Vec::new();
        for volume in divide(View::whole(opened.as_ref())).volumes.iter().filter(|v| v.kind != VolumeKind::Gap) {
            theirs.extend(sleuthkit(file.path(), volume.extent.start));
        }
        let (gone, live): (Vec<Row>, Vec<Row>) = key.into_iter().partition(|row| row.deleted);
        // Its superblock is destroyed: what is live there and what is not, nobody could see.
        let any = row.image == "dftt/12-carve-ext2.dd";
        let (ours_live, ours) = (found(any, &live, &listed), found(any, &gone, &listed));
        let (theirs_live, theirs) = (found(any, &live, &theirs), found(any, &gone, &theirs));
        let pair = |(whole, named): (usize, usize)| format!("{whole}/{named}");
        let name = row.image.rsplit('/').next().unwrap();
        println!(
            "{name:28} {:>11} {:>10} {:>11} {:>10} {:>11} {:>10}",
            live.len(),
            gone.len(),
            pair(ours_live),
            pair(ours),
            pair(theirs_live),
            pair(theirs)
        );
        if ours_live.0 != live.len() || ours != (row.whole, row.named) || gone.len() != row.all {
            failures.push(name.to_owned());
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
