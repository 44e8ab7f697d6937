//! Logical evidence: files in an L01, whose contents libewf reads alike (`fixtures/l01/make.py`); damaged copies of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::container::{Promise, damaged, opened, whole, write};
use common::{evidex, flip, scratch, text};
use evidex::hash::{Algorithm, Hasher};
use evidex::image::folder::ListedKind;
use evidex::image::{Kind, View, seal};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Path, size and the beginning of the SHA-256 of each file, as libewf 20260924 has them; empty for a folder.
const FILES: &[(&str, u64, &str)] = &[
    ("/C", 0, ""),
    ("/C/letters", 0, ""),
    ("/C/letters/first.txt", 14_590, "65c466a289e94bd3"),
    ("/C/letters/second ü.txt", 11, "8addc184f885bb5b"),
    ("/C/letters/empty", 0, "e3b0c44298fc1c14"),
    ("/C/gone.bin", 10_240, "e96760a87768717b"),
    ("/D", 0, ""),
    ("/D/again.txt", 5_000, "5a40de73b81fe8bf"),
];

fn evidence(dir: &Path) -> PathBuf {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/l01/files.L01.zst");
    write(dir, "files.L01", &zstd::decode_all(File::open(packed).unwrap()).unwrap())
}

#[test]
fn files_are_listed_with_what_they_held() {
    let dir = scratch();
    let path = evidence(dir.path());
    let image = opened(&path);
    assert_eq!((image.format(), image.kind(), image.size()), ("ewf files", Kind::Folder, 29_842));
    assert_eq!(image.about().faults, [""; 0]);
    assert!(format!("{:?}", image.about().facts).contains("Mara"));
    let view = View::whole(image.as_ref());
    let mut found = Vec::new();
    for listed in image.listing() {
        let mut hasher = Hasher::new(&[Algorithm::Sha256]);
        hasher.update(&view.read(listed.extent.start, listed.extent.len).unwrap());
        let hex = hasher.finish().sha256.unwrap();
        let is_file = listed.kind == ListedKind::File;
        found.push((
            listed.path.clone(),
            listed.extent.len,
            if is_file { hex[..16].to_owned() } else { String::new() },
        ));
        assert_eq!(listed.fault, None, "{}", listed.path);
    }
    let expected: Vec<_> =
        FILES.iter().map(|(path, size, hex)| ((*path).to_owned(), *size, (*hex).to_owned())).collect();
    assert_eq!(found, expected);
    let first = &image.listing()[2];
    let time = |index: usize| first.times[index].unwrap().rfc3339();
    assert_eq!((time(0).as_str(), time(2).as_str()), ("2006-03-12T11:45:00Z", "2006-03-12T11:44:05Z"));
    let hashes = seal::hashes(image.as_ref(), &Algorithm::ALL).unwrap();
    assert_eq!(seal::contradictions(image.as_ref(), &hashes), [""; 0]);
}

#[test]
fn a_case_has_the_files_and_their_text() {
    let dir = scratch();
    let (path, case) = (text(&evidence(dir.path())), text(&dir.path().join("case")));
    evidex(&["index", &path, "-c", &case]).expect(0);
    let hits = evidex(&["search", "\"a short one\"", "--json", "-c", &case]).expect(0).text();
    assert!(hits.contains("/C/letters/second ü.txt"), "{hits}");
    let gone = evidex(&["search", "path:gone.bin", "--json", "-c", &case]).expect(0).last();
    let gone = evidex(&["show", gone["id"].as_str().unwrap(), "-c", &case]).expect(0).text();
    assert!(gone.contains("deleted when it was acquired"), "{gone}");
    evidex(&["verify", "-c", &case]).expect(0);
}

#[test]
fn a_file_that_is_not_what_its_hash_says_is_told() {
    let dir = scratch();
    let path = evidence(dir.path());
    let bytes = fs::read(&path).unwrap();
    // The second chunk is stored as it is: one of its letters, and its checksum, become others.
    let at = memchr::memmem::find(&bytes, b"line 300 of a letter").unwrap();
    flip(&path, at as u64);
    let image = opened(&path);
    let hashes = seal::hashes(image.as_ref(), &Algorithm::ALL).unwrap();
    let against = seal::contradictions(image.as_ref(), &hashes);
    assert!(against.iter().any(|what| what.starts_with("/C/letters/first.txt: the MD5")), "{against:?}");
    assert!(!against.iter().any(|what| what.contains("again.txt")), "{against:?}");
}

#[test]
fn damage_is_told() {
    let dir = scratch();
    let path = evidence(dir.path());
    let contents = whole(opened(&path).as_ref());
    damaged(&path, &contents, 200, Promise::Told);
}
