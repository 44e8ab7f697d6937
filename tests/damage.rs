//! Damage: evidence that changes or vanishes while it is read, evidence that is no image, flipped bits, bombs, and a case
//! folder without room. A run ends well or with one line that says why; it never panics and never writes elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{
    Dice, command, copy_of, corpus, demo_case, disk, evidex, field, finish, flip, items, number, scratch, text, tree,
};
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Indexes `image`, calls `act` while the line runs (the process is halted meanwhile), and expects an error.
fn disturbed(image: &Path, case: &str, act: impl FnOnce()) -> String {
    let args = ["index", &text(image), "-c", case, "--threads", "1"];
    let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let audit = Path::new(case).join("audit.jsonl");
    let start = Instant::now();
    // The audit log says when the seal was compared and the line begins.
    while !fs::read_to_string(&audit).is_ok_and(|log| log.contains("\"event\":\"index\"")) {
        assert!(start.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none(), "it never began");
        std::thread::sleep(Duration::from_millis(1));
    }
    signal(&child, "-STOP");
    act();
    signal(&child, "-CONT");
    let ended = child.wait_with_output().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("CHANGED WHILE IT WAS INDEXED"), "{error}");
    error
}

fn manifest(case: &str) -> Value {
    serde_json::from_slice(&fs::read(Path::new(case).join("manifest.json")).unwrap()).unwrap()
}

#[test]
fn evidence_that_changes_meanwhile_is_a_loud_error() {
    let dir = scratch();
    let image = copy_of(disk(), dir.path());
    let case = text(&dir.path().join("case"));
    disturbed(&image, &case, || flip(&image, 50_000_000));
    assert!(!manifest(&case)["images"][0]["changed"].as_array().unwrap().is_empty());
    evidex(&["verify", "-c", &case]).expect(1);
    evidex(&["index", &text(&image), "-c", &case]).expect(2);
    assert_eq!(manifest(&case)["end"], Value::Null, "such a case is never complete");
    evidex(&["verify", "-c", &case]).expect(1);
}

#[test]
fn a_case_of_evidence_that_changed_is_never_complete() {
    let dir = scratch();
    let image = copy_of(disk(), dir.path());
    let case = text(&dir.path().join("case"));
    // Size and time of change are as they were: only the inode tells.
    disturbed(&image, &case, || {
        let before = fs::metadata(&image).unwrap().modified().unwrap();
        flip(&image, 50_000_000);
        let file = File::options().write(true).open(&image).unwrap();
        file.set_times(fs::FileTimes::new().set_modified(before)).unwrap();
    });
    for _ in 0..2 {
        let run = evidex(&["index", &text(&image), "-c", &case]).expect(2);
        assert!(run.err.contains("changed"), "{}", run.err);
        assert_eq!(manifest(&case)["end"], Value::Null);
    }
    evidex(&["verify", "-c", &case]).expect(1);
}

#[test]
fn a_file_that_is_cut_short_under_the_map_does_not_end_the_run() {
    const CUT: u64 = 48 << 20;
    let dir = scratch();
    let image = copy_of(disk(), dir.path());
    let case = text(&dir.path().join("case"));
    let size = fs::metadata(&image).unwrap().len();
    disturbed(&image, &case, || File::options().write(true).open(&image).unwrap().set_len(CUT).unwrap());
    let done = &manifest(&case)["images"][0]["done"];
    assert_eq!(done["unreadable"], serde_json::json!([[CUT, size - CUT]]), "what is gone is recorded");
    let sum: u64 = done["bytes"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    assert_eq!((sum, number(&done["bytes"], "unreadable")), (size, size - CUT));
    let (mut lost, mut whole) = (0, 0);
    for item in items(&case) {
        let touches = |e: &Value| e["offset"].as_u64().is_some_and(|at| at + number(e, "length") > CUT);
        let content = item["kind"] != "directory" && number(&item, "size") > 0;
        if item["extents"].as_array().unwrap().iter().any(touches) && content {
            assert_eq!(field(&item, "status"), "damaged", "{item}");
            assert!(["md5", "sha1", "sha256", "blake3"].iter().all(|h| item[*h].is_null()), "{item}");
            lost += 1;
        } else if item["sha256"].is_string() {
            whole += 1;
        }
    }
    assert!(lost > 4 && whole > 15, "{lost} items are damaged, {whole} whole");
    evidex(&["verify", "-c", &case]).expect(1);
}

/// Indexes something; a run has to end with 0 or, in one line, with 2. Gives its object, if it has one.
#[track_caller]
fn survives(image: &Path, more: &[&str]) -> Option<Value> {
    let case = scratch();
    let (image, case) = (text(image), text(&case.path().join("case")));
    let args: Vec<&str> = ["index", &image, "-c", &case, "--json"].into_iter().chain(more.iter().copied()).collect();
    let run = finish(command(&args), Duration::from_secs(120));
    if run.code == Some(2) {
        run.expect(2);
        return None;
    }
    let object = run.expect(0).last();
    let sum: u64 = object["bytes"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    assert_eq!(sum, number(&object["images"][0], "size"), "{object}");
    Some(object)
}

#[test]
fn what_is_no_image_is_indexed_as_bytes_or_refused() {
    let dir = scratch();
    let path = dir.path().join("thing");
    File::create(&path).unwrap();
    assert_eq!(survives(&path, &[]), None, "an empty file is no evidence");
    assert!(evidex(&["info", &text(&path)]).expect(2).err.contains("is empty"));
    let mut dice = Dice(7);
    let noise: Vec<u8> = (0..1 << 20).map(|_| dice.next() as u8).collect();
    let prose = "no disk at all, only prose\n".repeat(1000);
    let table = [&[0u8; 510][..], &[0x55, 0xaa]].concat();
    for bytes in [&noise[..], &noise[..1], &noise[..511], &noise[..513], prose.as_bytes(), &[0; 4096], &table] {
        fs::write(&path, bytes).unwrap();
        let object = survives(&path, &[]).expect("any file has bytes that can be searched");
        assert_eq!(number(&object["images"][0], "size"), bytes.len() as u64);
        assert!(evidex(&["info", &text(&path), "--json"]).expect(0).last()["volumes"].is_array());
    }
    evidex(&["index", &text(&dir.path().join("nowhere"))]).expect(2);
}

#[test]
fn a_disk_that_ends_too_early_is_indexed_as_far_as_it_goes() {
    let dir = scratch();
    let image = copy_of(disk(), dir.path());
    let file = File::options().write(true).open(&image).unwrap();
    for size in [81_788_927, 61_999_999, 40 << 20, 26 << 20, (24 << 20) + 77, (1 << 20) + 4096, 17_408, 512, 100] {
        file.set_len(size).unwrap();
        let object = survives(&image, &[]).expect("what is there is indexed");
        assert_eq!(number(&object["images"][0], "size"), size);
        if size > 34 * 512 && size < 81_788_927 {
            let info = evidex(&["info", &text(&image), "--json"]).expect(0).last();
            assert!(!info["faults"].as_array().unwrap().is_empty(), "{size}: the end that is missing is told: {info}");
        }
    }
}

/// Where the disk keeps what it says of itself: partition tables, then each file system's.
fn metadata() -> Vec<(u64, u64)> {
    let mut areas = vec![(0, 17_408), (1 << 20, 8192), (25 << 20, 600 << 10), (59 << 20, 300 << 10)];
    let named = |i: &&Value| ["$MFT", "$Bitmap", "$Secure:$SDS", "$AttrDef"].contains(&field(i, "name"));
    for item in items(demo_case()).iter().filter(named) {
        for extent in item["extents"].as_array().unwrap() {
            areas.push((number(extent, "offset"), number(extent, "length")));
        }
    }
    assert!(areas.len() > 5, "the master file table is among them: {areas:?}");
    areas
}

#[test]
fn flipped_bits_are_survived() {
    let dir = scratch();
    let image = copy_of(disk(), dir.path());
    let clean = File::open(disk()).unwrap();
    let file = File::options().read(true).write(true).open(&image).unwrap();
    let areas = metadata();
    let mut dice = Dice(2024);
    let mut flips = 0;
    for round in 0..28u64 {
        let mut dirty = Vec::new();
        for _ in 0..=dice.below(40) {
            let (start, len) = areas[usize::try_from(dice.below(areas.len() as u64)).unwrap()];
            let (at, mut bytes) = (start + dice.below(len), [0u8; 8]);
            file.read_exact_at(&mut bytes, at).unwrap();
            match dice.below(4) {
                0 => bytes = dice.next().to_le_bytes(),
                1 => bytes[..4].fill(0xff),
                _ => bytes[0] ^= 1 << dice.below(8),
            }
            file.write_all_at(&bytes, at).unwrap();
            dirty.push(at);
            flips += 1;
        }
        // Every fourth round reads, carves and searches all there is.
        let profile = if round % 4 == 0 { "standard" } else { "triage" };
        survives(&image, &["--profile", profile]);
        for at in dirty {
            let mut bytes = [0u8; 8];
            clean.read_exact_at(&mut bytes, at).unwrap();
            file.write_all_at(&bytes, at).unwrap();
        }
    }
    assert!(flips > 300, "{flips}");
}

#[test]
fn bombs_and_traps_stay_within_bounds() {
    let Some(documents) = corpus("documents") else { return };
    for name in ["bombs", "fuzz", "fuzz-images", "polyglots", "archives"] {
        let dir = scratch();
        let folder = documents.join(name);
        let (case, out) = (text(&dir.path().join("case")), dir.path().join("out"));
        let before = tree(&folder);
        let start = Instant::now();
        let run = finish(command(&["index", &text(&folder), "-c", &case, "--json"]), Duration::from_secs(170));
        let object = run.expect(0).last();
        eprintln!("{name}: {:.1} s, {} items", start.elapsed().as_secs_f64(), object["items"]);
        assert!(number(&object, "peak_memory") < 2 << 30, "{object}");
        assert!(number(&object, "items") > 3, "{object}");
        assert_eq!(tree(&folder), before);
        let extracted = finish(
            command(&["extract", "--query", "size:[0 TO 1M]", "--to", &text(&out), "-c", &case]),
            Duration::from_secs(170),
        );
        assert!(matches!(extracted.code, Some(0 | 2)) && !extracted.err.contains("panicked"), "{}", extracted.err);
        for (path, _) in tree(dir.path()) {
            let path = Path::new(&path);
            assert!(path.starts_with(&out) || path.starts_with(&case), "{} was written", path.display());
        }
        for trap in ["/tmp/evil.txt", "/tmp/zip-slip.txt", "/evil.txt"] {
            assert!(!Path::new(trap).exists(), "{trap}");
        }
    }
}

#[test]
fn a_case_folder_that_cannot_be_written_is_an_error_of_one_line() {
    let dir = scratch();
    let image = text(disk());
    let file = dir.path().join("file");
    fs::write(&file, "in the way").unwrap();
    for case in [file.clone(), file.join("below"), Path::new("/proc/evidex").to_owned()] {
        evidex(&["index", &image, "-c", &text(&case)]).expect(2);
    }
    let run = evidex(&["index", &image, "-c", &text(dir.path())]).expect(2);
    assert!(run.err.contains("holds other files"), "{}", run.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), "in the way");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A small file system in memory, unmounted when dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        let options = format!("size={size},mode=0777");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "evidex"]).arg(at).output();
        mount.is_ok_and(|m| m.status.success()).then_some(Self(at))
    }

    fn grow(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.0).status().unwrap().success());
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_the_case_goes_on_when_there_is_room() {
    let dir = scratch();
    let case = dir.path().join("small/case");
    let at = dir.path().join("small");
    fs::create_dir(&at).unwrap();
    let Some(small) = Small::mount(&at, "32k") else {
        eprintln!("left out: no tmpfs can be mounted here");
        return;
    };
    let args = ["index", &text(disk()), "-c", &text(&case), "--checkpoint", "1", "--json"];
    for size in ["32k", "48k", "64k", "96k", "128k"] {
        small.grow(size);
        let run = evidex(&args);
        assert_eq!(run.code, Some(2), "{size}: {}", run.err);
        let run = run.expect(2);
        assert!(run.err.contains("No space left"), "{size}: {}", run.err);
    }
    small.grow("64m");
    let digest = evidex(&args).expect(0).last()["digest"].clone();
    let whole = evidex(&["verify", "-c", demo_case(), "--json"]).expect(0).last();
    assert_eq!(digest, whole["digest"]);
    evidex(&["verify", "-c", &text(&case)]).expect(0);
    let ids: std::collections::HashSet<String> =
        items(&text(&case)).iter().map(|i| field(i, "id").to_owned()).collect();
    assert_eq!(ids.len(), items(demo_case()).len());
    assert_eq!(items(&text(&case)).len(), ids.len(), "nothing is listed twice");
}
