//! The main line, end to end, by the real binary: the demonstration disk is indexed, its story is found again item by
//! item, every kind of query answers, and every hit stands on the very byte of the disk that it names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{bytes_at, command, demo_case, disk, evidex, field, items, number, search, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Stdio;

/// The story of `fixtures/demo/README.md`: path, kind, deleted, mismatch, status.
const STORY: &[(&str, &str, bool, bool, &str)] = &[
    ("/Users/mara/Documents/ledger-2023.txt", "file", false, false, "ok"),
    ("/Users/mara/Documents/ledger-2023.txt:private", "stream", false, false, "ok"),
    ("/Users/mara/Documents/minutes.docx", "file", false, false, "ok"),
    ("/Users/mara/AppData/chat.sqlite", "file", false, false, "ok"),
    ("/Users/mara/Documents/letter-to-lisbon.txt", "file", true, false, "ok"),
    ("/Users/mara/Desktop/to burn", "directory", true, false, "ok"),
    ("/Users/mara/Desktop/to burn/list.html", "file", true, false, "ok"),
    ("/Users/mara/Pictures/holiday.jpg", "file", false, true, "ok"),
    ("/Users/mara/Pictures/holiday.jpg!passwords.txt", "member", false, false, "ok"),
    ("/Users/mara/Pictures/quay.png", "file", false, false, "ok"),
    ("/Users/mara/Downloads/papers.zip", "file", false, false, "ok"),
    ("/Users/mara/Downloads/papers.zip!readme.txt", "member", false, false, "ok"),
    ("/Users/mara/Downloads/papers.zip!inner.zip", "member", false, false, "ok"),
    ("/Users/mara/Downloads/papers.zip!inner.zip!key.txt", "member", false, false, "ok"),
    ("/transfers/Payments March to Lisbon.csv", "file", true, false, "ok"),
    ("/transfers/archive.tar.gz.txt", "file", false, false, "ok"),
    ("/notes/utf16.txt", "file", false, false, "ok"),
    ("/notes/log.gz!content", "member", false, false, "ok"),
    ("/notes/log.bz2!content", "member", false, false, "ok"),
    ("/srv/mail/mara.mbox", "file", false, false, "ok"),
    ("/srv/mail/mara.mbox!message 1.eml!ledger-2.csv", "attachment", false, false, "ok"),
    ("/srv/scans/readme.txt", "file", false, false, "ok"),
    ("/srv/scans/invoice-pier-seven.pdf", "file", true, false, "ok"),
    ("/srv/scans/stamp.png", "file", true, false, "ok"),
    ("/home/tom/.bash_history", "file", false, false, "ok"),
];

#[test]
fn the_whole_story_is_found() {
    let items = items(demo_case());
    for (path, kind, deleted, mismatch, status) in STORY {
        let item: Vec<&Value> = items.iter().filter(|i| i["path"] == *path).collect();
        let [item] = item[..] else { panic!("{path}: listed {} times", item.len()) };
        assert_eq!(field(item, "kind"), *kind, "{path}");
        assert_eq!(item["deleted"], *deleted, "{path}");
        assert_eq!(item["allocated"], !*deleted, "{path}");
        assert_eq!(item["extension_mismatch"], *mismatch, "{path}");
        assert_eq!(field(item, "status"), *status, "{path}");
        assert_eq!(item["image"], "disk.dd");
        assert!(field(item, "provenance").starts_with("disk.dd/vol"), "{item}");
        if *deleted {
            assert_eq!(field(item, "recovered"), "intact", "{path}");
        }
        if *kind != "directory" {
            for hash in ["md5", "sha1", "sha256", "blake3"] {
                field(item, hash);
            }
        }
    }
    let carved: Vec<(&str, &str)> =
        items.iter().filter(|i| i["kind"] == "carved").map(|i| (field(i, "name"), field(i, "mime"))).collect();
    assert_eq!(carved, [("000080740352.pdf", "application/pdf"), ("000080744448.png", "image/png")]);
    let ids: std::collections::HashSet<&str> = items.iter().map(|i| field(i, "id")).collect();
    assert_eq!(ids.len(), items.len(), "each item has an id of its own");
    let volume = |path: &str| items.iter().find(|i| i["path"] == path).map(|i| i["volume"].clone());
    assert_eq!(volume("/notes/utf16.txt"), Some(2.into()));
    let local = items.iter().find(|i| i["path"] == "/notes/utf16.txt").unwrap();
    assert_eq!(local["mtime_zone"], "local", "a FAT time carries no zone, and says so");
}

/// Query, and the names of what it finds, in the order of the disk.
const QUERIES: &[(&str, &[&str])] = &[
    ("passphrase", &["key.txt"]),
    ("PASSPHRASE", &["key.txt"]),
    ("crane kind:file", &["chat.sqlite", "ledger-2023.txt", "invoice-pier-seven.pdf"]),
    ("crane kind:carved", &["000080740352.pdf"]),
    ("\"crane invoice\"", &["chat.sqlite"]),
    ("\"invoice crane\" kind:file", &[]),
    ("\"balance account\"~3 deleted:true", &["letter-to-lisbon.txt"]),
    ("\"balance account\"~2 deleted:true", &[]),
    ("auditor AND friday", &["minutes.docx"]),
    ("(friday OR passphrase) NOT kind:member", &["minutes.docx"]),
    ("friday OR passphrase", &["key.txt", "minutes.docx"]),
    ("auditor -friday kind:file", &["letter-to-lisbon.txt"]),
    ("passphr*", &["key.txt"]),
    ("p?ssphrase", &["key.txt"]),
    ("pasphrase~1", &["key.txt"]),
    ("pasphrass~1", &[]),
    ("/pass[a-z]+ase/", &["key.txt"]),
    ("exact:Ms", &["minutes.docx"]),
    ("exact:MS kind:file", &[]),
    ("path:*lisbon*", &["letter-to-lisbon.txt", "Payments March to Lisbon.csv"]),
    ("name:minutes.docx", &["minutes.docx"]),
    ("ext:docx", &["minutes.docx"]),
    ("kind:attachment", &["ledger-2.csv"]),
    ("mime:application/pdf", &["invoice-pier-seven.pdf", "000080740352.pdf"]),
    ("size:[900 TO 1000] kind:file", &["minutes.docx"]),
    ("mtime:[2024-02-29T12:00:00Z TO 2024-02-29T16:00:00Z]", &["minutes.docx", "letter-to-lisbon.txt"]),
    ("deleted:true kind:directory", &["to burn"]),
    ("zeppelin", &[]),
];

#[test]
fn every_kind_of_query_answers() {
    for (query, names) in QUERIES {
        let run = evidex(&["search", query, "--json", "--sort", "offset", "-c", demo_case()]);
        let found: Vec<Value> = run.lines();
        let found: Vec<&str> =
            found.iter().map(|r| field(r, "path").rsplit(['/', '!']).next().unwrap_or_default()).collect();
        assert_eq!(found, *names, "{query}");
        assert_eq!(run.code, Some(if names.is_empty() { 1 } else { 0 }), "{query}: {}", run.err);
        let count = evidex(&["search", query, "--count", "-c", demo_case()]);
        assert_eq!(count.text().trim(), names.len().to_string(), "{query}");
    }
}

#[test]
fn hashes_and_ids_find_their_item() {
    let items = items(demo_case());
    let item = items.iter().find(|i| i["name"] == "minutes.docx").unwrap();
    for key in ["md5", "sha1", "sha256", "blake3", "id"] {
        let found = search(demo_case(), &format!("{key}:{}", field(item, key)));
        assert_eq!(found.len(), 1, "{key}");
        assert_eq!(found[0]["id"], item["id"], "{key}");
    }
    let listed = evidex(&["files", "--hash", field(item, "sha1"), "--json", "-c", demo_case()]).expect(0).lines();
    assert_eq!(listed.len(), 1);
    assert_eq!(&listed[0], item);
}

#[test]
fn pages_and_facets_add_up() {
    let case = demo_case();
    let all = search(case, "pier");
    assert!(all.len() > 5, "{}", all.len());
    let mut paged = Vec::new();
    for offset in 0..all.len() {
        let page = ["search", "pier", "--json", "--limit", "1", "--offset", &offset.to_string(), "-c", case];
        paged.extend(evidex(&page).expect(0).lines());
    }
    assert_eq!(paged, all, "a page is a piece of the whole");
    for facet in ["kind", "mime", "ext", "image", "status", "deleted", "author"] {
        let counts = evidex(&["search", "pier", "--facet", facet, "--json", "-c", case]).expect(0).lines();
        let sum: u64 = counts.iter().map(|c| number(c, "count")).sum();
        assert_eq!(sum, all.len() as u64, "{facet}");
    }
    let scores: Vec<f64> = all.iter().map(|r| r["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "best first: {scores:?}");
}

#[test]
fn a_query_that_cannot_be_understood_names_the_column() {
    for (query, column) in
        [("a (b", 5), ("colour:red", 1), ("a \"b", 4), ("size:[1 TO x]", 14), ("a )", 3), ("a OR", 5), ("word~7", 6)]
    {
        let run = evidex(&["search", query, "-c", demo_case()]).expect(2);
        assert!(run.err.contains(&format!("column {column}:")), "{query}: {}", run.err);
    }
    evidex(&["search", "a", "-c", "/nowhere/at/all"]).expect(2);
    evidex(&["show", "ffffffffffffffffffff", "-c", demo_case()]).expect(2);
    assert_eq!(evidex(&["search"]).code, Some(2), "a use of the command that is wrong");
}

/// How `term` lies on the disk in an encoding.
fn encoded(term: &str, encoding: &str) -> Vec<u8> {
    match encoding {
        "utf-16le" => term.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "utf-16be" => term.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        "utf-8" | "ascii" => term.as_bytes().to_vec(),
        other => {
            let encoding = encoding_rs::Encoding::for_label(other.as_bytes());
            encoding.unwrap_or_else(|| panic!("unknown encoding {other}")).encode(term).0.into_owned()
        }
    }
}

#[test]
fn every_hit_stands_on_its_byte_of_the_disk() {
    let mut encodings: BTreeMap<String, usize> = BTreeMap::new();
    let (mut placed, mut decoded) = (0, 0);
    for query in
        ["ledger", "second", "pier", "lisbon", "pt50", "mara", "invoice", "led*", "\"second ledger\"", "harbor~1"]
    {
        for found in search(demo_case(), query) {
            for hit in found["hits"].as_array().unwrap() {
                let term = field(hit, "term");
                let Some(at) = hit["image_offset"].as_u64() else {
                    assert!(hit["image_offset"].is_null());
                    assert!(field(&found, "provenance").contains(['!', ':', '/']), "{found}");
                    decoded += 1;
                    continue;
                };
                let encoding = field(hit, "encoding");
                let expected = encoded(term, encoding);
                let there = bytes_at(disk(), at, expected.len());
                assert_eq!(there, expected, "{query} in {}: {hit}", found["path"]);
                assert_eq!(number(hit, "length"), term.chars().count() as u64);
                *encodings.entry(encoding.to_owned()).or_default() += 1;
                placed += 1;
            }
        }
    }
    assert!(placed > 50 && decoded > 3, "{placed} hits stand on the disk, {decoded} were decoded");
    assert!(encodings.contains_key("utf-16le") && encodings.len() > 1, "{encodings:?}");
}

#[test]
fn a_hex_dump_shows_the_bytes_of_the_hit() {
    for query in ["\"second ledger\" path:*utf16*", "iban", "pier path:*to?burn*", "pier path:*chat*"] {
        let found = search(demo_case(), query);
        assert!(!found.is_empty(), "{query}");
        for result in &found {
            let run = evidex(&["show", field(result, "id"), "--hits", query, "--hex", "-c", demo_case()]).expect(0);
            let mut rows = BTreeMap::new();
            for line in run.text().lines().filter(|l| l.len() > 18 && l.as_bytes()[16] == b' ') {
                let Ok(at) = u64::from_str_radix(&line[..16], 16) else { continue };
                let digits = line[16..].trim_start().split("  |").next().unwrap_or_default();
                let bytes = digits.split_whitespace().map(|d| u8::from_str_radix(d, 16).unwrap());
                rows.extend(bytes.enumerate().map(|(i, b)| (at + i as u64, b)));
            }
            for hit in result["hits"].as_array().unwrap().iter().filter(|h| h["image_offset"].is_u64()) {
                let (at, len) = (number(hit, "image_offset"), number(hit, "image_length"));
                let shown: Option<Vec<u8>> = (at..at + len).map(|i| rows.get(&i).copied()).collect();
                let there = bytes_at(disk(), at, usize::try_from(len).unwrap());
                assert_eq!(shown, Some(there), "{query}: {hit}\n{}", run.text());
            }
        }
    }
}

#[test]
fn completions_and_manual_pages_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(evidex(&["completions", shell]).expect(0).text().contains("evidex"), "{shell}");
    }
    assert!(evidex(&["man"]).expect(0).text().contains(".TH"));
    for name in ["index", "search", "files", "show", "extract", "verify", "info", "carve", "hash", "bench", "demo"] {
        assert!(evidex(&["man", name]).expect(0).text().contains(".TH"), "{name}");
        assert!(evidex(&["help", name]).expect(0).text().contains("Usage"), "{name}");
    }
    evidex(&["man", "nothing"]).expect(2);
    assert!(evidex(&["--version"]).expect(0).text().contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_closed_pipe_ends_the_command_silently() {
    let disk = text(disk());
    for args in [
        vec!["files", "--json", "-c", demo_case()],
        vec!["search", "pier", "--json", "-c", demo_case()],
        vec!["info", "--json", &disk],
        vec!["completions", "bash"],
        vec!["man"],
    ] {
        // A pipe whose reading end is gone before anything is written.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let run = command(&args).stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&run.stderr), "", "{args:?}");
        assert_eq!(run.status.code(), Some(0), "{args:?}");
    }
}
