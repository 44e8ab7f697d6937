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

/// Runs a command of hfsutils, which keep the current volume in a file of the home.
fn hfs(dir: &Path, program: &str, args: &[&str]) {
    let mut env = vec![format!("HOME={}", dir.display()), program.to_owned()];
    env.extend(args.iter().map(|arg| (*arg).to_owned()));
    tool(dir, "env", &env.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn what_hfsutils_wrote_and_deleted_is_read_from_their_hfs_volume() {
    let dir = scratch();
    let at = dir.path();
    fs::File::create(at.join("disk.img")).unwrap().set_len(20 << 20).unwrap();
    hfs(at, "hformat", &["-l", "A label", "disk.img"]);
    hfs(at, "hmount", &["disk.img"]);
    hfs(at, "hmkdir", &[":folder"]);
    let mut files = BTreeMap::new();
    for n in 0..240u32 {
        let size = n * n * 2 % 50_021;
        let bytes: Vec<u8> = (0..size).flat_map(|i| (i.wrapping_mul(2_654_435_761) ^ n).to_le_bytes()).collect();
        files.insert(format!("file {n}"), bytes);
    }
    write(&at.join("tree"), &files);
    let mut copy = vec!["-r".to_owned()];
    copy.extend(files.keys().map(|name| format!("tree/{name}")));
    copy.push(":folder".to_owned());
    hfs(at, "hcopy", &copy.iter().map(String::as_str).collect::<Vec<_>>());
    // The last names of the catalog, whose records nothing is moved over.
    let gone: BTreeMap<String, Vec<u8>> = files.split_off("file 97");
    for name in gone.keys().rev() {
        hfs(at, "hdel", &[&format!(":folder:{name}")]);
    }
    hfs(at, "humount", &[]);
    let image = open(&at.join("disk.img")).expect("the image opens");
    let view = View::whole(image.as_ref());
    let (row, _) = claims(view).into_iter().next().expect("a file system claims it");
    let fs = (row.open)(view).expect("it opens");
    let facts = fs.facts();
    assert_eq!((facts.name.as_str(), facts.label.as_str()), ("HFS", "A label"));
    assert!(facts.faults.is_empty() && facts.anomalies.is_empty(), "{facts:?}");
    let (all, faults) = entries(fs.as_ref());
    assert!(faults.is_empty() && all.iter().all(|entry| entry.faults.is_empty()), "{faults:?}");
    let below = |allocated: bool| {
        let listed = all.iter().filter(move |e| e.allocated == allocated && e.kind == EntryKind::File);
        let named = listed.filter_map(|e| Some((e.path.strip_prefix("/folder/")?.to_owned(), content(view, e))));
        named.collect::<BTreeMap<_, _>>()
    };
    assert!(below(true) == files, "all that is there is as it was given");
    // hfsutils empty a file before they delete it: some names are left, and no content that is not theirs.
    let found = below(false);
    assert!(!found.is_empty() && found.keys().all(|name| gone.contains_key(name)), "{:?}", found.keys());
    println!("{} of {} deleted names are left", found.len(), gone.len());
}
