//! Volumes of Apple's file systems that other programs write, compared with what these were given.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::container::tool;
use common::scratch;
use evidex::content::Content;
use evidex::extent::Extent;
use evidex::fs::{Entry, EntryKind, claims, entries};
use evidex::image::{View, open};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Files to be written: names of every length, sizes up to some hundred kilobytes, folders in folders.
fn tree() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for n in 0..400u32 {
        let size = n * n * 2 % 50_021;
        let bytes = (0..size).flat_map(|i| (i.wrapping_mul(2_654_435_761) ^ n).to_le_bytes()).take(size as usize);
        let folder = ["", "first/", "first/second and longer/", "\u{65e5}\u{672c}/"][n as usize % 4];
        files.insert(format!("{folder}file {n} {}", "x".repeat(n as usize % 90)), bytes.collect());
    }
    files
}

/// Where the partition of this type of an Apple partition map lies.
fn apple_partition(disk: View<'_>, kind: &str) -> Extent {
    let entry = |n: u64| disk.read(n * 512, 512).expect("the map is there");
    let number = |raw: &[u8], at: usize| u64::from(u32::from_be_bytes(raw[at..at + 4].try_into().unwrap())) * 512;
    let found = (1..9).map(entry).find(|raw| raw.starts_with(b"PM") && raw[48..].starts_with(kind.as_bytes()));
    let raw = found.expect("the partition is in the map");
    Extent::new(number(&raw, 8), number(&raw, 12))
}

fn content(view: View<'_>, entry: &Entry) -> Vec<u8> {
    Content::new(view, &entry.stream)
        .parts()
        .map(|part| part.expect("it is read").into_owned())
        .collect::<Vec<_>>()
        .concat()
}

fn write(root: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn what_xorriso_was_given_is_read_from_its_hfs_plus_volume() {
    let dir = scratch();
    let files = tree();
    write(&dir.path().join("tree"), &files);
    std::os::unix::fs::symlink("first/somewhere", dir.path().join("tree/a link")).unwrap();
    tool(dir.path(), "xorriso", &["-as", "mkisofs", "-quiet", "-hfsplus", "-o", "disk.iso", "tree"]);
    let image = open(&dir.path().join("disk.iso")).expect("the image opens");
    let disk = View::whole(image.as_ref());
    let view = disk.sub(apple_partition(disk, "Apple_HFS"));
    let (row, _) = claims(view).into_iter().next().expect("a file system claims it");
    assert_eq!(row.name, "hfsplus");
    let fs = (row.open)(view).expect("it opens");
    assert!(fs.facts().faults.is_empty(), "{:?}", fs.facts().faults);
    let (all, faults) = entries(fs.as_ref());
    assert!(faults.is_empty(), "{faults:?}");
    assert!(
        all.iter().all(|entry| entry.allocated && entry.faults.is_empty()),
        "nothing was deleted, nothing is damaged"
    );
    let of = |kind: EntryKind| all.iter().filter(move |entry| entry.kind == kind && !entry.path.starts_with("/$"));
    let read: BTreeMap<String, Vec<u8>> =
        of(EntryKind::File).map(|entry| (entry.path[1..].to_owned(), content(view, entry))).collect();
    assert!(read == files, "{} files of {} are as they were given", read.len(), files.len());
    let links: Vec<_> = of(EntryKind::Symlink).map(|entry| (entry.path.as_str(), entry.target.as_deref())).collect();
    assert_eq!(links, [("/a link", Some("first/somewhere"))]);
    assert_eq!(of(EntryKind::Directory).count(), 3);
}
