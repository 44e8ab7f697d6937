//! File systems against ground truth made by other implementations: the corpus beside the project (or the folder that
//! `EVIDEX_CORPUS` names). Scored as the corpus's own `score_truth.py` does. Without the corpus the tests are left out,
//! and say so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::truth::{Row, last, listing, same_content, same_path, truth};
use common::{corpus, evidence};
use evidex::content::Content;
use evidex::fs::{EntryKind, claims};
use evidex::image::{Image, View, open};
use evidex::volume::divide;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// The images whose volumes a registered file system should read: `(image, file systems)`.
const TRUTHS: &[(&str, &str)] = &[
    ("dftt/1-ext-part-test-2.dd", "fat"),
    ("dftt/2-fat-img-kw.dd", "fat"),
    ("dftt/5-daylight.dd", "fat"),
    ("dftt/6-fat-undel.dd", "fat"),
    ("dftt/7-ntfs-undel.dd", "ntfs"),
    ("dftt/8-jpeg-search.dd", "ntfs"),
    ("dftt/14-iso-dirtree1.iso", "iso9660"),
    ("dfvfs/apfs.raw", "apfs"),
    ("dfvfs/ext2.E01", "ext"),
    ("dfvfs/ext2.qcow2", "ext"),
    ("dfvfs/ext2.raw", "ext"),
    ("dfvfs/ext2.vhd", "ext"),
    ("dfvfs/ext2.vhdx", "ext"),
    ("dfvfs/ext2.vmdk", "ext"),
    ("dfvfs/fat12.raw", "fat"),
    ("dfvfs/gpt.raw", "ext"),
    ("dfvfs/hfsplus.raw", "hfsplus"),
    ("dfvfs/iso9660.raw", "iso9660"),
    ("dfvfs/lvm.raw", "ext"),
    ("dfvfs/mbr.raw", "ext"),
    ("dfvfs/ntfs.raw", "ntfs"),
    ("dfvfs/ufs1.raw", "ufs"),
    ("dfvfs/xfs.raw", "xfs"),
    ("dissect/dissect-apfs-case_sensitive.bin", "apfs"),
    ("dissect/dissect-btrfs-default.bin", "btrfs"),
    ("dissect/dissect-exfat.bin", "exfat"),
    ("dissect/dissect-ext4.bin", "ext"),
    ("dissect/dissect-fat32.bin", "fat"),
    ("dissect/dissect-ntfs.bin", "ntfs"),
    ("dissect/dissect-xfs.bin", "xfs"),
    ("dissect/gzip.sqfs", "squashfs"),
    ("encrypted/bitlk-togo-aes-cbc-128.img", "fat"),
    ("forensics-samples/fs.ntfs", "ntfs"),
    ("forensics-samples/fs.vfat", "fat"),
    ("misc/ext4view-test_disk1.bin", "ext"),
    ("misc/goext4-hierarchy_32.ext4", "ext"),
    ("misc/gofat-fat12.dd", "fat"),
    ("misc/opf-hfs-hello.img", "hfsplus"),
    ("misc/ntfs-crate-testfs1", "ntfs"),
    ("msuhanov/exfat_win.raw", "exfat"),
    ("msuhanov/fat16.raw", "fat"),
    ("msuhanov/fat_deleted_dir.raw", "fat"),
    ("msuhanov/fat_lfn_test.raw", "fat"),
    ("msuhanov/fat_noloop.raw", "fat"),
    ("msuhanov/ntfs-lastaccess.raw", "ntfs"),
    ("msuhanov/ntfs-ptrn.raw", "ntfs"),
    ("msuhanov/ntfs3.raw", "ntfs"),
    ("nps/exfat1.E01", "exfat"),
    ("nps/imageformat_mmls_1.E01", "ntfs"),
    ("nps/nps-2010-emails.E01", "fat"),
    ("plaso/ext4_with_binaries.dd", "ext"),
    ("plaso/image-split.E01", "ext"),
    ("search/kml_samples.E01", "fat"),
    ("tsk/tsk_volume_system.raw", "ext"),
];

/// Where our listing of deleted files differs from The Sleuth Kit's on purpose: `(image, how many more, why)`.
const DELETED_EXTRAS: &[(&str, usize, &str)] = &[(
    "nps/exfat1.E01",
    2,
    "Makefile.in in one piece, as it lay, and tsk_recover.1, whose entries lie in two clusters",
)];

/// Where our listing of live files differs on purpose: `(image, how many more, why)`.
const LIVE_EXTRAS: &[(&str, usize, &str)] = &[(
    "dftt/14-iso-dirtree1.iso",
    1,
    "File1.txt, which only the primary tree names: live there, where The Sleuth Kit calls it an orphan without a name",
)];

/// What of the truth we do not list, on purpose: `(image, path, why)`.
const LEFT_OUT: &[(&str, &str, &str)] = &[
    (
        "dftt/1-ext-part-test-2.dd",
        "/$OrphanFiles/SECOND-3.TXT",
        "an empty file's entry of an older file system, in the middle of a cluster: directories begin where clusters do",
    ),
    ("dftt/14-iso-dirtree1.iso", "/$OrphanFiles/OrphanFile-2", "it has a name in the primary tree: see LIVE_EXTRAS"),
    ("nps/exfat1.E01", "/$OrphanFiles/OrphanFile-11138", "half of the entries of /man-deleted/tsk_recover.1"),
    (
        "nps/exfat1.E01",
        "/$OrphanFiles/Makefile.in",
        "put together around a cluster that another file has now: a mixture",
    ),
    ("msuhanov/exfat_win.raw", "/$OrphanFiles/$EMPTY_VOLUME_LABEL", "a deleted label, which is no file"),
];

/// What was compared, for one status.
#[derive(Debug, Default)]
struct Score {
    truth: usize,
    by_path: usize,
    recoverable: usize,
    content: usize,
    missed: Vec<String>,
    extra: Vec<String>,
    /// Beyond the truth, out of journals, slack and free space.
    won: usize,
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
    let (won, extra): (Vec<&Row>, Vec<&Row>) = spare.filter(|row| !is_neutral(row)).partition(|row| row.won);
    score.won = won.len();
    score.extra = extra.iter().map(|row| format!("{} ({} bytes)", row.path, row.size)).collect();
    score
}

fn registered(name: &str) -> bool {
    evidex::registry::FILE_SYSTEMS.iter().any(|row| row.name == name)
}

#[test]
fn listings_agree_with_the_truth() {
    let Some(folder) = corpus("images") else { return };
    let mut failures = Vec::new();
    println!(
        "{:38} {:18} {:>17} {:>17} {:>6} {:>5}",
        "image", "file systems", "live path/content", "deleted p/content", "extra", "won"
    );
    for (name, kind) in TRUTHS.iter().filter(|(_, kind)| registered(kind)) {
        let file = evidence(&folder, name);
        let image = open(file.path()).expect("the image opens");
        let (listed, names) = listing(image.as_ref(), &[EntryKind::File]);
        let (mut files, others) = truth(&folder.join(format!("{name}.truth.json")));
        overrule(&mut files, &folder.join(format!("{name}.doc-truth.json")));
        files.retain(|row| !LEFT_OUT.iter().any(|(image, path, _)| image == name && *path == row.path));
        let of = |rows: &'_ [Row], deleted: bool| -> Vec<Row> {
            rows.iter().filter(|row| row.deleted == deleted).cloned().collect()
        };
        let [live, gone] = [false, true].map(|deleted| {
            let (t, l, n) = (of(&files, deleted), of(&listed, deleted), of(&others, deleted));
            score(&t.iter().collect::<Vec<_>>(), &l.iter().collect::<Vec<_>>(), &n.iter().collect::<Vec<_>>())
        });
        println!(
            "{name:38} {:18} {:>5}/{:<5} of {:<5} {:>4}/{:<4} of {:<4} {:>3}/{:<4} {:>5}",
            names.join(" "),
            live.by_path,
            live.content,
            live.truth,
            gone.by_path,
            gone.content,
            gone.truth,
            live.extra.len(),
            gone.extra.len(),
            gone.won
        );
        for (status, score) in [("live", &live), ("deleted", &gone)] {
            score.missed.iter().take(9).for_each(|row| println!("    {status}, differs: {row}"));
            score.extra.iter().take(9).for_each(|row| println!("    {status}, extra:   {row}"));
        }
        let expected = DELETED_EXTRAS.iter().find(|(image, ..)| image == name).map_or(0, |(_, n, _)| *n);
        let names_only = gone.missed.iter().filter(|row| row.ends_with("path false, content false")).count();
        let more = LIVE_EXTRAS.iter().find(|(image, ..)| image == name).map_or(0, |(_, n, _)| *n);
        if live.by_path != live.truth || live.content != live.recoverable || live.extra.len() != more {
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

/// Where an image's author says what was in its files, that counts, not what another program made of them.
fn overrule(files: &mut [Row], key: &Path) {
    if !key.exists() {
        return;
    }
    let (documented, _) = truth(key);
    let lost_first = |row: &Row| last(&row.path).chars().skip(1).collect::<String>();
    for row in files {
        let same = |other: &&Row| other.size == row.size && lost_first(other) == lost_first(row);
        if let Some(other) = documented.iter().find(same).filter(|other| !other.hashes.is_empty()) {
            row.hashes.clone_from(&other.hashes);
        }
    }
}

#[test]
fn damaged_images_end_without_a_panic() {
    let Some(folder) = corpus("images") else { return };
    for group in
        ["adversarial-ext", "adversarial-fat", "fs-ident", "pt-ident", "adversarial-exfat", "adversarial-btrfs"]
    {
        let files = std::fs::read_dir(folder.join(group)).into_iter().flatten().flatten().map(|file| file.path());
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "zst")).collect();
        files.sort();
        for path in files {
            let name = format!("{group}/{}", path.file_stem().expect("it has a name").to_string_lossy());
            let file = evidence(&folder, &name);
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
            for entry in fs.entries().flatten().flatten() {
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
