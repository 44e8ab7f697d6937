//! Truths of the corpus, what evidex lists, and what The Sleuth Kit lists, in one form.

use evidex::content::Content;
use evidex::fs::{Entry, EntryKind, Origin, claims, entries};
use evidex::image::{Image, View};
use evidex::volume::{Volume, VolumeKind, divide};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// One file of a truth or of a listing.
#[derive(Clone, Debug)]
pub struct Row {
    pub path: String,
    pub size: u64,
    pub hashes: Vec<String>,
    pub deleted: bool,
    pub orphan: bool,
    pub recoverable: bool,
    pub volume: u64,
    /// Found where The Sleuth Kit does not look: journals, slack, free space.
    pub won: bool,
}

pub fn truth(path: &Path) -> (Vec<Row>, Vec<Row>) {
    let json: Value = serde_json::from_reader(File::open(path).expect("a truth file")).expect("a truth file is JSON");
    let rows = json.as_array().or_else(|| json["files"].as_array()).cloned().unwrap_or_default();
    let scored =
        |row: &&Value| matches!(row["kind"].as_str(), None | Some("file")) && row["metafile"].as_bool() != Some(true);
    let (files, others): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(scored);
    let parse = |rows: Vec<&Value>| rows.into_iter().map(truth_row).collect();
    (parse(files), parse(others))
}

pub fn truth_row(row: &Value) -> Row {
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
        won: false,
    }
}

/// The last part of a path.
pub fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The same path, where a lost first letter of a deleted file's name may be any.
pub fn same_path(truth: &Row, listed: &Row) -> bool {
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

/// Size and one of the hashes agree.
pub fn same_content(truth: &Row, listed: &Row) -> bool {
    truth.size == listed.size && listed.hashes.iter().any(|hash| truth.hashes.contains(hash))
}

pub fn sha256(volume: View<'_>, entry: &Entry) -> Option<String> {
    let content = Content::new(volume, &entry.stream);
    let mut hash = Sha256::new();
    for part in content.parts() {
        hash.update(&part.ok()?);
    }
    Some(hex(&hash.finalize()))
}

/// Every entry of the `kinds` that the surest file system of each volume lists.
pub fn listing(image: &dyn Image, kinds: &[EntryKind]) -> (Vec<Row>, Vec<String>) {
    let (mut rows, mut names) = (Vec::new(), Vec::new());
    let disk = View::whole(image);
    let layout = divide(disk);
    let whole = |volume: &&Volume| volume.kind != VolumeKind::Gap && !layout.members.contains(&volume.number);
    for volume in layout.volumes.iter().filter(whole) {
        volume.with(disk, |view| {
            let Some((row, _)) = claims(view).into_iter().next() else { return };
            let Ok(fs) = (row.open)(view) else { return };
            names.push(fs.facts().name.clone());
            for entry in entries(fs.as_ref()).0.into_iter().filter(|e| kinds.contains(&e.kind)) {
                rows.push(Row {
                    hashes: sha256(view, &entry).into_iter().collect(),
                    size: entry.stream.size,
                    deleted: !entry.allocated,
                    orphan: false,
                    recoverable: true,
                    volume: volume.extent.start,
                    won: entry.origin != Origin::Table,
                    path: entry.path,
                });
            }
        });
    }
    // The file system's own files ($MFT, $Bitmap) are not scored.
    rows.retain(|row| {
        !row.path.starts_with("/$") || row.path.starts_with("/$OrphanFiles/") || row.path.starts_with("/$R")
    });
    (rows, names)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What The Sleuth Kit lists of a volume that begins at byte `offset`, each file read with `icat -r`.
pub fn sleuthkit(image: &Path, offset: u64) -> Vec<Row> {
    let sector = (offset / 512).to_string();
    let run = |tool: &str, args: &[&str]| {
        let out = Command::new(tool).args(["-o", &sector]).args(args).arg(image).output();
        out.expect("The Sleuth Kit is installed by tests/run")
    };
    let listing = run("fls", &["-r", "-p", "-F"]).stdout;
    let mut rows = Vec::new();
    for line in String::from_utf8_lossy(&listing).lines() {
        let Some((head, path)) = line.split_once(":\t") else { continue };
        let mut words = head.split_whitespace();
        let (kind, deleted) = (words.next().unwrap_or_default(), head.contains('*'));
        let inode = words.find(|w| w.starts_with(|c: char| c.is_ascii_digit())).unwrap_or_default();
        if !kind.ends_with("/r") {
            continue;
        }
        let inode = inode.trim_end_matches("(realloc)");
        let mut icat = Command::new("icat");
        let bytes = icat.args(["-r", "-o", &sector]).arg(image).arg(inode).output().expect("icat runs").stdout;
        rows.push(Row {
            path: format!("/{path}"),
            size: bytes.len() as u64,
            hashes: vec![hex(&Sha256::digest(&bytes))],
            deleted,
            orphan: false,
            recoverable: true,
            volume: offset,
            won: false,
        });
    }
    rows
}
