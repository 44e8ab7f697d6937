//! File systems against ground truth made by other implementations: the corpus beside the project (or the folder that
//! `EVIDEX_CORPUS` names). Scored as the corpus's own `score_truth.py` does. Without the corpus the tests are left out,
//! and say so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use evidex::content::Content;
use evidex::fs::{Entry, EntryKind, Origin, claims};
use evidex::image::{Image, View, open};
use evidex::volume::{VolumeKind, divide};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The images whose volumes a registered file system should read: `(image, file systems)`.
const TRUTHS: &[(&str, &str)] = &[
    ("dftt/1-ext-part-test-2.dd", "fat"),
    ("dftt/2-fat-img-kw.dd", "fat"),
    ("dftt/5-daylight.dd", "fat"),
    ("dftt/6-fat-undel.dd", "fat"),
    ("dftt/7-ntfs-undel.dd", "ntfs"),
    ("dftt/8-jpeg-search.dd", "ntfs"),
    ("dfvfs/ext2.raw", "ext"),
    ("dfvfs/fat12.raw", "fat"),
    ("dfvfs/gpt.raw", "ext"),
    ("dfvfs/mbr.raw", "ext"),
    ("dfvfs/ntfs.raw", "ntfs"),
    ("dissect/dissect-ext4.bin", "ext"),
    ("dissect/dissect-fat32.bin", "fat"),
    ("dissect/dissect-ntfs.bin", "ntfs"),
    ("encrypted/bitlk-togo-aes-cbc-128.img", "fat"),
    ("forensics-samples/fs.ntfs", "ntfs"),
    ("forensics-samples/fs.vfat", "fat"),
    ("misc/ext4view-test_disk1.bin", "ext"),
    ("misc/goext4-hierarchy_32.ext4", "ext"),
    ("misc/gofat-fat12.dd", "fat"),
    ("misc/ntfs-crate-testfs1", "ntfs"),
    ("msuhanov/fat16.raw", "fat"),
    ("msuhanov/fat_deleted_dir.raw", "fat"),
    ("msuhanov/fat_lfn_test.raw", "fat"),
    ("msuhanov/fat_noloop.raw", "fat"),
    ("msuhanov/ntfs-lastaccess.raw", "ntfs"),
    ("msuhanov/ntfs-ptrn.raw", "ntfs"),
    ("msuhanov/ntfs3.raw", "ntfs"),
    ("plaso/ext4_with_binaries.dd", "ext"),
    ("tsk/tsk_volume_system.raw", "ext"),
];

/// Where our listing of deleted files differs from The Sleuth Kit's on purpose: `(image, how many more, why)`.
const DELETED_EXTRAS: &[(&str, usize, &str)] = &[];

/// What of the truth we do not list, on purpose: `(image, path, why)`.
const LEFT_OUT: &[(&str, &str, &str)] = &[(
    "dftt/1-ext-part-test-2.dd",
    "/$OrphanFiles/SECOND-3.TXT",
    "an empty file's entry of an older file system, in the middle of a cluster: directories begin where clusters do",
)];

fn corpus() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let folder = std::env::var_os("EVIDEX_CORPUS").map_or_else(beside, PathBuf::from).join("images");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("left out: no corpus at {} (set EVIDEX_CORPUS)", folder.display());
    None
}

/// Copies what is no zeros: the images are sparse.
fn copy_sparse(mut from: impl Read, to: &mut File) {
    let mut block = vec![0u8; 1 << 16];
    let mut size = 0u64;
    loop {
        let n = from.read(&mut block).expect("the archive is read");
        if n == 0 {
            break to.set_len(size).expect("a temporary file is sized");
        }
        if block[..n].iter().any(|b| *b != 0) {
            to.seek(SeekFrom::Start(size)).expect("a temporary file is searched");
            to.write_all(&block[..n]).expect("a temporary file is written");
        }
        size += n as u64;
    }
}

/// The image decompressed into a temporary file.
fn unpacked(folder: &Path, name: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file is made");
    let decoder = |path: PathBuf| zstd::Decoder::new(File::open(path).expect("the corpus has the file")).expect("zstd");
    if let Some(member) = name.strip_prefix("forensics-samples/") {
        let mut archive = tar::Archive::new(decoder(folder.join("forensics-samples/forensics-samples.tar.zst")));
        let entries = archive.entries().expect("a tar archive").map(|e| e.expect("a tar entry"));
        let mut named = entries.filter(|e| e.path().is_ok_and(|p| p.as_ref() == Path::new(member)));
        copy_sparse(named.next().expect("the archive has the image"), file.as_file_mut());
    } else {
        copy_sparse(decoder(folder.join(format!("{name}.zst"))), file.as_file_mut());
    }
    file
}

/// One file of a truth or of a listing.
#[derive(Clone, Debug)]
struct Row {
    path: String,
    size: u64,
    hashes: Vec<String>,
    deleted: bool,
    orphan: bool,
    recoverable: bool,
    volume: u64,
    origin: Origin,
}

fn truth(path: &Path) -> (Vec<Row>, Vec<Row>) {
    let json: Value = serde_json::from_reader(File::open(path).expect("a truth file")).expect("a truth file is JSON");
    let rows = json.as_array().or_else(|| json["files"].as_array()).cloned().unwrap_or_default();
    let scored =
        |row: &&Value| matches!(row["kind"].as_str(), None | Some("file")) && row["metafile"].as_bool() != Some(true);
    let (files, others): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(scored);
    let parse = |rows: Vec<&Value>| rows.into_iter().map(truth_row).collect();
    (parse(files), parse(others))
}

fn truth_row(row: &Value) -> Row {
    let hash = row["sha256"].as_str().into_iter();
    let others = row["sha256_alt"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let content = row["content"].as_str();
    let recoverable = matches!(content, None | Some("intact-blocks-unallocated" | "resident-intact" | "documented"));
    Row {
        path: row["path"].as_str().expect("a truth row has a path").to_owned(),
        size: row["size"].as_u64().unwrap_or(0),
        hashes: hash.chain(others).map(str::to_lowercase).collect(),
        deleted: row["status"].as_str() == Some("deleted"),
        orphan: row["orphan"].as_bool() == Some(true),
        recoverable,
        volume: row["volume_offset"].as_u64().unwrap_or(0),
        origin: Origin::Table,
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The same path, where a lost first letter of a deleted file's name may be any.
fn same_path(truth: &Row, listed: &Row) -> bool {
    if truth.volume != listed.volume {
        return false;
    }
    if truth.path == listed.path || (truth.orphan && last(&truth.path) == last(&listed.path)) {
        return true;
    }
    let wild = |a: &str, b: &str| {
        let lost = |part: &str| part.starts_with(['_', '?', '\u{fffd}']);
        a == b || ((lost(a) || lost(b)) && a.chars().skip(1).eq(b.chars().skip(1)))
    };
    let (a, b): (Vec<_>, Vec<_>) = (truth.path.split('/').collect(), listed.path.split('/').collect());
    truth.deleted && a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| wild(a, b))
}

fn same_content(truth: &Row, listed: &Row) -> bool {
    truth.size == listed.size && listed.hashes.iter().any(|hash| truth.hashes.contains(hash))
}

/// What was compared, for one status.
#[derive(Debug, Default)]
struct Score {
    truth: usize,
    by_path: usize,
    recoverable: usize,
    content: usize,
    missed: Vec<String>,
    extra: Vec<String>,
}

/// Pairs truth and listing one to one: path and content first, then the path alone, then the content alone.
fn score(truth: &[&Row], listed: &[&Row], neutral: &[&Row]) -> Score {
    let mut left: Vec<bool> = vec![true; listed.len()];
    let mut found: Vec<Option<(bool, bool)>> = vec![None; truth.len()];
    let mut by_last: HashMap<String, Vec<usize>> = HashMap::new();
    let mut by_hash: HashMap<&str, Vec<usize>> = HashMap::new();
    let key = |path: &str| last(path).chars().skip(1).collect::<String>();
    for (i, row) in listed.iter().enumerate() {
        by_last.entry(key(&row.path)).or_default().push(i);
        row.hashes.iter().for_each(|hash| by_hash.entry(hash).or_default().push(i));
    }
    for round in 0..3 {
        for (t, row) in truth.iter().enumerate().filter(|(_, row)| round < 2 || row.size > 0) {
            if found[t].is_some() {
                continue;
            }
            let hashed = || row.hashes.iter().filter_map(|hash| by_hash.get(hash.as_str())).flatten();
            let pool: Vec<usize> = match round {
                2 => hashed().copied().collect(),
                _ => by_last.get(&key(&row.path)).cloned().unwrap_or_default(),
            };
            let fits = |i: &&usize| {
                let (path, content) = (same_path(row, listed[**i]), same_content(row, listed[**i]));
                left[**i] && [path && content, path, content][round]
            };
            if let Some(i) = pool.iter().find(fits).copied() {
                found[t] = Some((same_path(row, listed[i]), same_content(row, listed[i])));
                left[i] = false;
            }
        }
    }
    let mut score = Score { truth: truth.len(), ..Score::default() };
    for (row, found) in truth.iter().zip(&found) {
        let (path, content) = found.unwrap_or_default();
        let counts = row.recoverable && !row.hashes.is_empty();
        score.by_path += usize::from(path);
        score.recoverable += usize::from(counts);
        score.content += usize::from(counts && content);
        if !content && (counts || !path) {
            score.missed.push(format!("{} ({} bytes): path {path}, content {content}", row.path, row.size));
        }
    }
    let spare = listed.iter().zip(&left).filter(|(_, left)| **left).map(|(row, _)| *row);
    let is_neutral = |row: &Row| neutral.iter().any(|n| n.path == row.path || last(&n.path) == last(&row.path));
    score.extra =
        spare.filter(|row| !is_neutral(row)).map(|row| format!("{} ({} bytes)", row.path, row.size)).collect();
    score
}

fn sha256(volume: View<'_>, entry: &Entry) -> Option<String> {
    let content = Content::new(volume, &entry.stream);
    let mut hash = Sha256::new();
    for part in content.parts() {
        hash.update(&part.ok()?);
    }
    Some(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// Everything that the surest file system of each volume lists.
fn listing(image: &dyn Image) -> (Vec<Row>, Vec<String>) {
    let (mut rows, mut names) = (Vec::new(), Vec::new());
    for volume in divide(View::whole(image)).volumes.iter().filter(|v| v.kind != VolumeKind::Gap) {
        let view = View::whole(image).sub(volume.extent);
        let Some((row, _)) = claims(view).into_iter().next() else { continue };
        let Ok(fs) = (row.open)(view) else { continue };
        names.push(fs.facts().name.clone());
        for entry in fs.entries().flatten().filter(|e| e.kind == EntryKind::File) {
            rows.push(Row {
                hashes: sha256(view, &entry).into_iter().collect(),
                size: entry.stream.size,
                deleted: !entry.allocated,
                orphan: false,
                recoverable: true,
                volume: volume.extent.start,
                origin: entry.origin,
                path: entry.path,
            });
        }
    }
    // The file system's own files ($MFT, $Bitmap) are not scored.
    rows.retain(|row| {
        !row.path.starts_with("/$") || row.path.starts_with("/$OrphanFiles/") || row.path.starts_with("/$R")
    });
    (rows, names)
}

/// What was won back from slack, journals, logs of changes and free space.
fn print_won(won: &[Row]) {
    for origin in [Origin::Slack, Origin::Journal, Origin::ChangeLog, Origin::Unallocated] {
        let rows: Vec<&Row> = won.iter().filter(|row| row.origin == origin).collect();
        let content = rows.iter().filter(|row| row.size > 0 && !row.hashes.is_empty()).count();
        if !rows.is_empty() {
            println!("    {}: {} more, {content} with content", origin.name().unwrap_or_default(), rows.len());
            rows.iter().take(4).for_each(|row| println!("        {} ({} bytes)", row.path, row.size));
        }
    }
}

fn registered(name: &str) -> bool {
    evidex::registry::FILE_SYSTEMS.iter().any(|row| row.name == name)
}

#[test]
fn listings_agree_with_the_truth() {
    let Some(folder) = corpus() else { return };
    let mut failures = Vec::new();
    println!(
        "{:38} {:18} {:>17} {:>17} {:>6}",
        "image", "file systems", "live path/content", "deleted p/content", "extra"
    );
    for (name, kind) in TRUTHS.iter().filter(|(_, kind)| registered(kind)) {
        let file = unpacked(&folder, name);
        let image = open(file.path()).expect("the image opens");
        let (mut listed, names) = listing(image.as_ref());
        // What the tables do not hold is more than the truths know of: it is counted for itself.
        let won: Vec<Row> = listed.extract_if(.., |row| row.origin != Origin::Table).collect();
        let (mut files, others) = truth(&folder.join(format!("{name}.truth.json")));
        files.retain(|row| !LEFT_OUT.iter().any(|(image, path, _)| image == name && *path == row.path));
        let of = |rows: &'_ [Row], deleted: bool| -> Vec<Row> {
            rows.iter().filter(|row| row.deleted == deleted).cloned().collect()
        };
        let [live, gone] = [false, true].map(|deleted| {
            let (t, l, n) = (of(&files, deleted), of(&listed, deleted), of(&others, deleted));
            score(&t.iter().collect::<Vec<_>>(), &l.iter().collect::<Vec<_>>(), &n.iter().collect::<Vec<_>>())
        });
        println!(
            "{name:38} {:18} {:>5}/{:<5} of {:<5} {:>4}/{:<4} of {:<4} {:>3}/{:<4}",
            names.join(" "),
            live.by_path,
            live.content,
            live.truth,
            gone.by_path,
            gone.content,
            gone.truth,
            live.extra.len(),
            gone.extra.len()
        );
        for (status, score) in [("live", &live), ("deleted", &gone)] {
            score.missed.iter().take(9).for_each(|row| println!("    {status}, differs: {row}"));
            score.extra.iter().take(9).for_each(|row| println!("    {status}, extra:   {row}"));
        }
        print_won(&won);
        let expected = DELETED_EXTRAS.iter().find(|(image, ..)| image == name).map_or(0, |(_, n, _)| *n);
        let names_only = gone.missed.iter().filter(|row| row.ends_with("path false, content false")).count();
        if live.by_path != live.truth || live.content != live.recoverable || !live.extra.is_empty() {
            failures.push(format!("{name}: live files differ"));
        }
        if gone.content != gone.recoverable || names_only > 0 || gone.extra.len() != expected {
            failures.push(format!("{name}: deleted files differ"));
        }
        if *kind != "ext" && names.is_empty() {
            failures.push(format!("{name}: no file system"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Images with their author's own key, and how many of its files have their documented content in our listing. In
/// DFTT 6 three files are in pieces that the table no longer joins: they are listed, but not called intact.
const KEYS: &[(&str, &str, usize, usize)] =
    &[("dftt/6-fat-undel.dd", "fat", 3, 6), ("dftt/12-carve-ext2.dd", "ext", 10, 10)];

#[test]
fn documented_files_are_found() {
    let Some(folder) = corpus() else { return };
    for (name, kind, expected, all) in KEYS.iter().filter(|(_, kind, ..)| registered(kind)) {
        let file = unpacked(&folder, name);
        let (listed, _) = listing(open(file.path()).expect("the image opens").as_ref());
        let (files, _) = truth(&folder.join(format!("{name}.doc-truth.json")));
        let found = files.iter().filter(|row| listed.iter().any(|other| same_content(row, other))).count();
        println!("{name:38} {kind}: {found} of {} documented files", files.len());
        assert_eq!((found, files.len()), (*expected, *all), "{name}");
    }
}

#[test]
fn damaged_images_end_without_a_panic() {
    let Some(folder) = corpus() else { return };
    for group in
        ["adversarial-ext", "adversarial-fat", "fs-ident", "pt-ident", "adversarial-exfat", "adversarial-btrfs"]
    {
        let files = std::fs::read_dir(folder.join(group)).into_iter().flatten().flatten().map(|file| file.path());
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "zst")).collect();
        files.sort();
        for path in files {
            let name = format!("{group}/{}", path.file_stem().expect("it has a name").to_string_lossy());
            let file = unpacked(&folder, &name);
            let Ok(image) = open(file.path()) else { continue };
            let begun = Instant::now();
            let (count, text) = listed_in_full(image.as_ref());
            let spent = begun.elapsed();
            println!("{name:60} {count:>6} entries {:>7.3} s {text}", spent.as_secs_f64());
            assert!(spent < Duration::from_secs(20), "{name} took {spent:?}");
        }
    }
}

/// Lists and reads everything with every file system that claims a volume.
fn listed_in_full(image: &dyn Image) -> (usize, String) {
    let (mut count, mut names) = (0, Vec::new());
    for volume in divide(View::whole(image)).volumes {
        let view = View::whole(image).sub(volume.extent);
        for (row, claim) in claims(view) {
            let Ok(fs) = (row.open)(view) else { continue };
            names.push(format!("{} {}", fs.facts().name, claim.surety));
            for entry in fs.entries().flatten() {
                count += 1;
                let _ = Content::new(view, &entry.stream).slice(0, 1 << 20).parts().count();
            }
            assert!(
                fs.unallocated().flatten().all(|extent| extent.end() <= view.size()),
                "free space ends behind the volume"
            );
        }
    }
    (count, names.join(", "))
}
