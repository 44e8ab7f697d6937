//! UDF volumes that the kernel's driver filled (`fixtures/udf/make`): every path, kind, size, time, mode, owner, target and content
//! against what it said of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::filled;
use common::truth::sha256;
use evidex::fs::{Entry, EntryKind, Recovered, entries};
use std::collections::BTreeMap;
use std::path::Path;

/// What the driver says of an entry: kind, sum or target, size, time, permissions, owner and group.
type Known = (EntryKind, String, Option<(u64, i64, u32, u32, u32)>);

fn unpacked(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/udf").join(name);
    zstd::decode_all(std::fs::File::open(path).expect("a fixture")).expect("it unpacks")
}

fn known(name: &str) -> BTreeMap<String, Known> {
    let text = String::from_utf8(unpacked(&format!("{name}.known.zst"))).unwrap();
    let path = |path: &str| path.strip_prefix('.').unwrap().to_owned();
    let row = |line: &str| match line.split_at(2) {
        ("M ", rest) => {
            let words: Vec<&str> = rest.splitn(7, ' ').collect();
            let number = |at: usize| words[at].parse::<u32>().unwrap();
            let mode = u32::from_str_radix(words[3], 8).unwrap();
            let told = (words[1].parse().unwrap(), words[2].parse().unwrap(), mode, number(4), number(5));
            (path(words[6]), (EntryKind::File, words[0].to_owned(), Some(told)))
        }
        ("L ", rest) => {
            let (target, name) = rest.split_once(" :: ").unwrap();
            (path(name), (EntryKind::Symlink, target.to_owned(), None))
        }
        (_, rest) => {
            let (head, name) = rest.split_at(rest.find(" .").unwrap() + 1);
            let words: Vec<&str> = head.split_whitespace().rev().collect();
            let number = |at: usize| words[at].parse::<u32>().unwrap();
            let mode = u32::from_str_radix(words[2], 8).unwrap();
            let kind = if head.starts_with("directory") { EntryKind::Directory } else { EntryKind::Special };
            (path(name), (kind, String::new(), Some((0, words[3].parse().unwrap(), mode, number(1), number(0)))))
        }
    };
    text.lines().map(row).filter(|(path, _)| !path.is_empty()).collect()
}

#[test]
fn what_the_driver_wrote_is_read() {
    for (name, facts, own) in [
        ("hd512", "UDF 2.01", None),
        ("hd2k102", "UDF 1.02", None),
        ("cdrw201", "UDF 2.01", Some("/:*UDF Non-Allocatable Space")),
    ] {
        let scratch = common::scratch();
        let image = scratch.path().join("image");
        std::fs::write(&image, unpacked(&format!("{name}.img.zst"))).unwrap();
        let mut left = known(name);
        let count = left.len();
        filled::read(&image, |fs, view| {
            assert_eq!(fs.facts().name, facts);
            assert!(fs.facts().faults.is_empty() && fs.facts().anomalies.is_empty(), "{:?}", fs.facts());
            let (listed, faults) = entries(fs);
            assert!(faults.is_empty(), "{faults:?}");
            let (live, gone): (Vec<Entry>, Vec<Entry>) = listed.into_iter().partition(|entry| entry.allocated);
            for entry in live.iter().filter(|entry| Some(entry.path.as_str()) != own) {
                assert!(entry.faults.is_empty(), "{}: {:?}", entry.path, entry.faults);
                let known = left.remove(&entry.path).unwrap_or_else(|| panic!("{} was never written", entry.path));
                let content = match entry.kind {
                    EntryKind::File => sha256(view, entry).expect("it is read"),
                    EntryKind::Symlink => entry.target.clone().unwrap(),
                    _ => String::new(),
                };
                let access = entry.access.unwrap();
                let time = entry.times.mtime.unwrap().seconds;
                let told = (entry.stream.size, time, access.mode & 0o7777, access.uid, access.gid);
                assert_eq!((entry.kind, content, known.2.map(|_| told)), known, "{}", entry.path);
            }
            assert!(left.is_empty(), "not listed: {left:?}");
            let names: Vec<&str> = gone.iter().filter(|e| !e.path.starts_with("/$")).map(|e| e.path.as_str()).collect();
            assert_eq!(names, ["/deep/gone", "/deep/gone2", "/deep/gonedir", "/many/7", "/many/8"], "{name}");
            // The driver wipes the entries of what it deletes, so that nothing of it is whole.
            let files = gone.iter().filter(|entry| entry.kind == EntryKind::File);
            assert!(files.clone().all(|entry| entry.recovered == Some(Recovered::NameOnly)), "{name}");
            let free: u64 = fs.unallocated().map(|extent| extent.unwrap().len).sum();
            assert!(free < view.size() && free > view.size() / 2, "{name}: {free}");
        });
        println!("{name:10} {count} entries as the driver shows them");
    }
}
