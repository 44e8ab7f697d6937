//! Custody, end to end: what is shown and written out is what was hashed, `verify` notices a single changed byte of
//! evidence, journal or audit log, and a complete case stays as it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{copy_of, demo_case, disk, evidex, field, flip, items, number, scratch, text, tree};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn raw_bytes_of_every_item_hash_to_its_record() {
    let mut checked = 0;
    for item in items(demo_case()).iter().filter(|i| i["sha256"].is_string()) {
        let raw = evidex(&["show", field(item, "id"), "--raw", "-c", demo_case()]).expect(0).out;
        assert_eq!(raw.len() as u64, number(item, "size"), "{item}");
        assert_eq!(sha256(&raw), field(item, "sha256"), "{item}");
        let [md5, sha1] = [hex(&md5::Md5::digest(&raw)), hex(&sha1::Sha1::digest(&raw))];
        assert_eq!((md5.as_str(), sha1.as_str()), (field(item, "md5"), field(item, "sha1")), "{item}");
        assert_eq!(blake3::hash(&raw).to_hex().as_str(), field(item, "blake3"), "{item}");
        checked += 1;
    }
    assert!(checked > 40, "{checked}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn an_item_shows_its_facts_and_its_text() {
    let items = items(demo_case());
    let of = |name: &str| items.iter().find(|i| i["name"] == name).unwrap();
    for (name, words) in [
        ("key.txt", "low tide at noon"),
        ("minutes.docx", "The auditor asked twice about the invoice for pier seven."),
        ("utf16.txt", "The second ledger is on the stick."),
        ("invoice-pier-seven.pdf", "Harbour crane, pier seven, paid twice"),
        ("list.html", "the letter to Lisbon"),
        ("ledger-2023.txt:private", "the real figures are in the second ledger"),
    ] {
        let id = field(of(name), "id");
        let shown = evidex(&["show", id, "--text", "-c", demo_case()]).expect(0).text();
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(words), "{name}: {shown:.500}");
        let facts = evidex(&["show", id, "--json", "-c", demo_case()]).expect(0).last();
        assert_eq!(&facts, of(name));
        let plain = evidex(&["show", &id[..8], "-c", demo_case()]).expect(0).text();
        assert!(plain.contains(field(&facts, "sha256")), "the beginning of an id is enough: {plain}");
    }
}

#[test]
fn everything_is_written_out_below_the_folder_and_hashes_to_its_record() {
    let dir = scratch();
    let to = dir.path().join("deep/out");
    evidex(&["extract", "--all", "--to", &text(&to), "-c", demo_case()]).expect(0);
    let records: HashMap<String, serde_json::Value> =
        items(demo_case()).into_iter().map(|i| (field(&i, "id").to_owned(), i)).collect();
    let manifest = fs::read_to_string(to.join("extracted.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> = manifest.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    for row in &rows {
        let bytes = fs::read(to.join(field(row, "file"))).unwrap();
        assert_eq!(sha256(&bytes), field(row, "sha256"));
        let record = &records[field(row, "id")];
        if let Some(recorded) = record["sha256"].as_str() {
            assert_eq!((field(row, "sha256"), &row["matches"]), (recorded, &true.into()), "{row}");
        }
        assert_eq!(row["provenance"], record["provenance"]);
    }
    // What was left out when the case was made (only a name is left of it) has nothing to write.
    let content = |i: &&serde_json::Value| {
        !matches!(field(i, "kind"), "directory" | "special" | "unallocated" | "slack") && i["status"] != "skipped"
    };
    assert_eq!(rows.len(), records.values().filter(content).count());
    let written = tree(dir.path());
    assert_eq!(written.len(), rows.len() + 1, "the items and the manifest, nothing else");
    assert!(written.iter().all(|(path, _)| Path::new(path).starts_with(&to)));
    evidex(&["extract", "--all", "--to", &text(&to), "-c", demo_case()]).expect(2);
    let none = evidex(&["extract", "--query", "zeppelin", "--to", &text(&dir.path().join("none")), "-c", demo_case()]);
    none.expect(1);
}

#[test]
fn one_changed_byte_does_not_hold() {
    let dir = scratch();
    let image = copy_of(disk(), dir.path());
    let case = dir.path().join("case");
    let (image_text, case_text) = (text(&image), text(&case));
    let run = evidex(&["index", &image_text, "-c", &case_text, "--json"]).expect(0).last();
    let verified = evidex(&["verify", "-c", &case_text, "--json"]).expect(0).last();
    assert_eq!((&verified["holds"], &verified["digest"]), (&true.into(), &run["digest"]));
    assert_eq!(verified["images"], run["images"]);
    // In nothing, in a file, at the end: each byte counts.
    let audit = case.join("audit.jsonl");
    let journal = case.join("journal.jsonl");
    let places = |path: &Path, at: &[u64]| at.iter().map(|at| (path.to_owned(), *at)).collect::<Vec<_>>();
    let middle = |path: &Path| fs::metadata(path).unwrap().len() / 2;
    let mut all = places(&image, &[0, 70_000_000, 81_788_927]);
    all.extend(places(&journal, &[20, 200, middle(&journal)]));
    all.extend(places(&audit, &[20, middle(&audit)]));
    for (path, at) in all {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        flip(&path, at);
        let run = evidex(&["verify", "-c", &case_text, "--json"]);
        assert_eq!(run.code, Some(1), "byte {at} of {name}: {}", run.err);
        assert_eq!(run.last()["holds"], false, "byte {at} of {name}");
        assert!(!run.last()["broken"].as_array().unwrap().is_empty());
        // `verify` notes what it found behind the changed byte: put back, everything holds again.
        flip(&path, at);
        evidex(&["verify", "-c", &case_text]).expect(0);
    }
}

#[test]
fn a_complete_case_is_left_as_it_is() {
    let dir = scratch();
    let case = text(&dir.path().join("case"));
    let first = evidex(&["index", &text(disk()), "-c", &case, "--json"]).expect(0).last();
    let before = tree(dir.path());
    let again = evidex(&["index", &text(disk()), "-c", &case]).expect(0).text();
    assert!(again.contains("complete already; nothing was changed"), "{again}");
    assert!(again.contains(field(&first, "digest")), "{again}");
    assert_eq!(tree(dir.path()), before);
    evidex(&["index", &text(disk()), "-c", &case, "--profile", "triage"]).expect(2);
    assert_eq!(tree(dir.path()), before, "another profile is refused, and nothing is touched");
}

#[test]
fn the_object_of_a_run_adds_up() {
    let dir = scratch();
    let case = text(&dir.path().join("case"));
    let run = evidex(&["index", &text(disk()), "-c", &case, "--json"]).expect(0).last();
    let size = fs::metadata(disk()).unwrap().len();
    let sum: u64 = run["bytes"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    assert_eq!(sum, size, "{}", run["bytes"]);
    assert_eq!(number(&run["images"][0], "size"), size);
    assert_eq!(number(&run, "items"), items(&case).len() as u64);
    assert!(number(&run, "peak_memory") > 0 && run["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(run["holds"], true);
    for (tool, name) in [("sha256sum", "sha256"), ("md5sum", "md5"), ("sha1sum", "sha1")] {
        let out = Command::new(tool).arg(disk()).output().unwrap().stdout;
        let digest = String::from_utf8(out).unwrap().split_whitespace().next().unwrap().to_owned();
        let ours = evidex(&["hash", &text(disk()), "--algo", name, "--json"]).expect(0).last();
        assert_eq!(field(&ours, name), digest);
        assert!(ours["blake3"].is_null(), "only what was asked for");
        if name == "sha256" {
            assert_eq!(field(&run["images"][0], "sha256"), digest);
        }
    }
    let blake3 = blake3::hash(&fs::read(disk()).unwrap()).to_hex();
    assert_eq!(field(&run["images"][0], "blake3"), blake3.as_str());
    let ours = evidex(&["hash", &text(disk())]).expect(0).text();
    assert!(ours.contains(blake3.as_str()) && ours.lines().count() == 4, "{ours}");
}

#[test]
fn info_needs_no_case() {
    let info = evidex(&["info", &text(disk()), "--json"]).expect(0).last();
    assert_eq!((field(&info, "format"), field(&info, "scheme"), number(&info, "size")), ("raw", "gpt", 81_788_928));
    let volumes = info["volumes"].as_array().unwrap();
    let names: Vec<&str> = volumes.iter().filter_map(|v| v["file_system"]["name"].as_str()).collect();
    assert_eq!(names.len(), 3, "{info}");
    for (name, start) in names.iter().zip(["NTFS", "FAT32", "ext"]) {
        assert!(name.starts_with(start), "{names:?}");
    }
    let length: u64 = volumes.iter().map(|v| number(v, "length")).sum();
    assert!(length <= 81_788_928);
    assert_eq!(info["faults"], serde_json::json!([]));
    assert!(evidex(&["info", &text(disk())]).expect(0).text().contains("STICK"));
}

#[test]
fn carving_needs_no_case() {
    let dir = scratch();
    let to = dir.path().join("carved");
    let rows = evidex(&["carve", &text(disk()), "--to", &text(&to), "--types", "pdf,png", "--json"]).expect(0).lines();
    let found: Vec<u64> = rows.iter().map(|r| number(r, "offset")).collect();
    assert!(found.contains(&66_195_456) && found.contains(&66_199_552), "{found:?}");
    for row in &rows {
        assert_eq!(sha256(&fs::read(to.join(field(row, "file"))).unwrap()), field(row, "sha256"));
    }
    let range = ["carve", &text(disk()), "--to", &text(&dir.path().join("none")), "--range", "0-1M"];
    evidex(&range).expect(1);
}
