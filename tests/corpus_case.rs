//! Whole cases of known disks, by the real binary, against their authors' own keys: DFTT 2 (every keyword at its byte),
//! DFTT 8 (every JPEG, wherever it hides), DFTT 12 (a file system without its superblock). The images are in the corpus
//! beside the project, or in the folder that `EVIDEX_CORPUS` names; without it the tests are left out, and say so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{corpus, evidex, field, items, number, scratch, search, text};
use serde_json::Value;
use std::fs::{self, File};
use std::path::PathBuf;
use tempfile::TempDir;

/// An image of the corpus, unpacked and indexed.
struct Known {
    _dir: TempDir,
    case: String,
    folder: PathBuf,
    image: &'static str,
}

impl Known {
    fn index(image: &'static str) -> Option<Self> {
        let folder = corpus("images/dftt")?;
        let dir = scratch();
        let (disk, case) = (dir.path().join(image), text(&dir.path().join("case")));
        let packed = File::open(folder.join(format!("{image}.zst"))).expect("the image is in the corpus");
        zstd::stream::copy_decode(packed, File::create(&disk).unwrap()).unwrap();
        let run = evidex(&["index", &text(&disk), "-c", &case, "--json"]).expect(0).last();
        let sum: u64 = run["bytes"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
        assert_eq!(sum, fs::metadata(&disk).unwrap().len(), "{image}");
        Some(Self { _dir: dir, case, folder, image })
    }

    fn truth(&self, kind: &str) -> Value {
        let path = self.folder.join(format!("{}.{kind}-truth.json", self.image));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// Where the items with a SHA-256 are: path, kind, deleted.
    fn with_hash(&self, sha256: &str) -> Vec<(String, String, bool)> {
        let found = items(&self.case).into_iter().filter(|i| i["sha256"] == sha256);
        found.map(|i| (field(&i, "path").to_owned(), field(&i, "kind").to_owned(), i["deleted"] == true)).collect()
    }

    /// Every place at which a query hits.
    fn offsets(&self, query: &str) -> Vec<u64> {
        let found = search(&self.case, query);
        let hits = found.iter().flat_map(|r| r["hits"].as_array().unwrap());
        hits.filter_map(|h| h["image_offset"].as_u64()).collect()
    }
}

const FAINT: &str = "a short run in binary data, which the search for strings takes for chance";

/// Documented hits of DFTT 2 that are not found today: byte, string, why. What is found has to be struck off.
const MISSED: &[(u64, &str, &str)] = &[
    (122_848, "SECOND", "a name in a directory: the item is found by its path, which has no byte"),
    (139_260, "1cross1", "its halves lie in two files that have nothing to do with each other"),
    (140_284, "2cross2", FAINT),
    (145_404, "3cross3", FAINT),
    (139_660, "1slack1", "begins in a file and ends in its slack, which are two items"),
    (140_796, "2slack2", "begins in a file's slack and ends in the next file"),
    (143_008, "a?b\\c*d$e#f[g^", FAINT),
];

#[test]
fn every_documented_keyword_is_found_at_its_byte() {
    let Some(known) = Known::index("2-fat-img-kw.dd") else { return };
    let (mut found, mut missed) = (Vec::new(), Vec::new());
    for hit in known.truth("keyword")["hits"].as_array().unwrap() {
        let (string, byte) = (field(hit, "string"), number(hit, "byte"));
        let offsets = known.offsets(&format!("\"{string}\""));
        // The key counts two spaces before the word that it names.
        let near = if string.starts_with("2fragment") { 2 } else { 0 };
        if offsets.iter().any(|at| (byte..=byte + near).contains(at)) {
            found.push((byte, string.to_owned()));
        } else {
            missed.push((byte, string.to_owned()));
        }
    }
    let expected: Vec<(u64, String)> = MISSED.iter().map(|(byte, string, _)| (*byte, (*string).to_owned())).collect();
    missed.sort();
    let mut sorted = expected.clone();
    sorted.sort();
    assert_eq!(missed, sorted, "found: {found:?}");
    // The author's own variations, as far as the query language writes them.
    assert_eq!(known.offsets("FirST"), [138_919]);
    assert_eq!(known.offsets("/f[[:alpha:]]rst/"), [138_919]);
    assert_eq!(known.offsets("/f[a-z]r[0-9]?st/"), [138_919]);
    assert_eq!(known.offsets("/d[a-z]l.?t.?d/"), [141_542]);
    assert_eq!(search(&known.case, "path:/second").len(), 1, "the name in the directory");
    assert_eq!(search(&known.case, "deleted deleted:true")[0]["deleted"], true);
}

const MISMATCHED: &[&str] = &["/invalid/file3.jpg"];

#[test]
fn every_jpeg_is_found_wherever_it_hides() {
    let Some(known) = Known::index("8-jpeg-search.dd") else { return };
    let truth = known.truth("doc");
    let mut jpegs = 0;
    for row in truth.as_array().unwrap() {
        let path = field(row, "path");
        let there = known.with_hash(field(row, "sha256"));
        let kind = if row["kind"] == "ads" { "stream" } else { "file" };
        assert!(there.contains(&(path.to_owned(), kind.to_owned(), row["status"] == "deleted")), "{path}: {there:?}");
        let item = items(&known.case).into_iter().find(|i| i["path"] == path).unwrap();
        let is_jpeg = item["mime"] == "image/jpeg";
        assert_eq!(is_jpeg, row["is_jpeg"] == true, "{path}: {}", item["mime"]);
        jpegs += u32::from(is_jpeg);
        // Text called `.jpg` is a mismatch; noise called `.jpg` is nothing known, and `.dat` promises nothing.
        assert_eq!(item["extension_mismatch"], MISMATCHED.contains(&path), "{path}");
        if let Some(member) = row["contains"]["sha256"].as_str() {
            let there = known.with_hash(member);
            assert!(there.iter().any(|(p, kind, _)| p.starts_with(path) && kind == "member"), "{path}: {there:?}");
            jpegs += 1;
        }
    }
    // 11 and 12 lie inside files that nothing names as containers: no hash is documented for them either.
    assert_eq!(jpegs, 8, "of the ten, two are embedded in a .dat and a .doc");
    let found = search(&known.case, "mime:image/jpeg");
    assert_eq!(found.len(), 8, "nothing else is called a JPEG");
}

#[test]
fn a_file_system_without_its_superblock_is_read_all_the_same() {
    let Some(known) = Known::index("12-carve-ext2.dd") else { return };
    for row in known.truth("doc").as_array().unwrap() {
        let there = known.with_hash(field(row, "sha256"));
        let deleted = row["original_status"] == "deleted";
        assert!(there.iter().any(|(_, _, d)| *d == deleted), "{}: {there:?}", row["path"]);
        if !deleted {
            assert!(there.iter().any(|(path, ..)| path == field(row, "path")), "{}: {there:?}", row["path"]);
        }
    }
    evidex(&["verify", "-c", &known.case]).expect(0);
}
