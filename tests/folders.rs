//! Evidence as laboratories hand it in: folders of files with everything that may lie in one, and disks in segments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{command, disk, evidex, field, finish, items, number, scratch, search, text, tree};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// A folder with all sorts of things in it.
fn odds(dir: &Path) -> std::path::PathBuf {
    let folder = dir.join("evidence");
    fs::create_dir_all(folder.join("sub/deeper")).unwrap();
    fs::write(folder.join("letter.txt"), "the zebra crossed the harbour\n").unwrap();
    fs::write(folder.join("sub/deeper/empty.txt"), "").unwrap();
    fs::write(folder.join("sub/zeta.txt"), "a second zebra").unwrap();
    fs::write(folder.join("bell\u{7}\u{1b}[31mred\u{202e}txt.exe"), "zebra in disguise").unwrap();
    fs::write(folder.join("line\nbreak.txt"), "zebra on two lines").unwrap();
    fs::write(dir.join("outside.txt"), "the unicorn is outside").unwrap();
    symlink("../outside.txt", folder.join("link.txt")).unwrap();
    symlink("/", folder.join("sub/root")).unwrap();
    symlink("..", folder.join("sub/loop")).unwrap();
    let fifo = folder.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
    folder
}

#[test]
fn links_are_recorded_and_never_followed() {
    let dir = scratch();
    let folder = odds(dir.path());
    let before = tree(&folder);
    let case = text(&dir.path().join("case"));
    let run = finish(command(&["index", &text(&folder), "-c", &case, "--json"]), Duration::from_secs(60));
    let run = run.expect(0).last();
    let items = items(&case);
    let of = |path: &str| {
        let item = items.iter().find(|i| i["path"] == path);
        item.unwrap_or_else(|| panic!("{path} is not among {items:?}"))
    };
    for (path, target) in [("/link.txt", "../outside.txt"), ("/sub/root", "/"), ("/sub/loop", "..")] {
        assert_eq!((field(of(path), "kind"), field(of(path), "target")), ("symlink", target));
    }
    assert_eq!(field(of("/pipe"), "kind"), "special");
    assert!(search(&case, "unicorn").is_empty(), "what a link points to was read");
    assert_eq!(search(&case, "zebra").len(), 4);
    assert_eq!(number(of("/sub/deeper/empty.txt"), "size"), 0);
    let size: u64 = before.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let sum: u64 = run["bytes"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    assert_eq!(sum, size);
    assert_eq!(tree(&folder), before, "nothing was written beside the evidence");
    evidex(&["verify", "-c", &case]).expect(0);
    // Hits stand at their byte of the file.
    for found in search(&case, "zebra") {
        let raw = evidex(&["show", field(&found, "id"), "--raw", "-c", &case]).expect(0).out;
        let at = usize::try_from(number(&found["hits"][0], "content_offset")).unwrap();
        assert_eq!(&raw[at..at + 5], b"zebra", "{found}");
    }
}

#[test]
fn reading_leaves_no_trace_and_a_second_run_says_the_same() {
    let dir = scratch();
    let folder = odds(dir.path());
    let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = File::options().write(true).open(folder.join("letter.txt")).unwrap();
    file.set_times(fs::FileTimes::new().set_accessed(long_ago).set_modified(long_ago)).unwrap();
    drop(file);
    let digest = |name: &str| {
        let case = text(&dir.path().join(name));
        let run = evidex(&["index", &text(&folder), "-c", &case, "--json"]).expect(0).last();
        field(&run, "digest").to_owned()
    };
    assert_eq!(digest("first"), digest("second"));
    let accessed = fs::metadata(folder.join("letter.txt")).unwrap().accessed().unwrap();
    assert_eq!(accessed, long_ago, "our own files are read without leaving a time of access");
}

#[test]
fn names_from_evidence_never_reach_a_terminal_raw() {
    let dir = scratch();
    let folder = odds(dir.path());
    fs::write(folder.join("esc.txt"), "zebra \u{1b}]0;owned\u{7} \u{202e} reversed").unwrap();
    let case = text(&dir.path().join("case"));
    evidex(&["index", &text(&folder), "-c", &case]).expect(0);
    let id = field(&search(&case, "owned")[0], "id").to_owned();
    let out = text(&dir.path().join("out"));
    for args in [
        vec!["files", "-c", &case],
        vec!["search", "zebra", "-c", &case],
        vec!["search", "zebra", "--facet", "ext", "-c", &case],
        vec!["show", &id, "-c", &case],
        vec!["show", &id, "--text", "-c", &case],
        vec!["show", &id, "--hex", "-c", &case],
        vec!["show", &id, "--hits", "owned", "-c", &case],
        vec!["extract", "--all", "--to", &out, "-c", &case],
    ] {
        let run = evidex(&args).expect(0);
        let printed = run.text() + &run.err;
        let raw = |c: char| (c.is_control() && c != '\n' && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c);
        assert!(!printed.contains(raw), "{args:?}: {printed:?}");
    }
    let listed = evidex(&["files", "-c", &case]).expect(0).text();
    assert_eq!(listed.lines().count(), items(&case).len(), "a name with a line break takes one line");
    let json: Vec<_> = items(&case).into_iter().map(|i| field(&i, "path").to_owned()).collect();
    assert!(json.contains(&"/line\nbreak.txt".to_owned()), "JSON keeps the name as it is");
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_is_indexed() {
    let dir = scratch();
    let folder = odds(dir.path());
    let locked = folder.join("locked.txt");
    fs::write(&locked, "zebra behind bars").unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let case = text(&dir.path().join("case"));
    let mut index = command(&["index", &text(&folder), "-c", &case, "--json"]);
    if File::open(&locked).is_ok() {
        // The superuser reads every file: somebody else has to look.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        index.uid(65534).gid(65534);
        let reachable = command(&["--version"]).uid(65534).gid(65534).stdout(Stdio::null()).status();
        if !reachable.is_ok_and(|s| s.success()) {
            eprintln!("left out: nobody but the superuser may run the binary");
            return;
        }
    }
    let run = finish(index, Duration::from_secs(60)).expect(0).last();
    assert_eq!(number(&run["bytes"], "unreadable"), 17);
    let item = items(&case).into_iter().find(|i| i["name"] == "locked.txt").unwrap();
    assert_eq!(field(&item, "status"), "damaged");
    assert!(item["sha256"].is_null(), "a hash is missing, never wrong");
}

#[test]
fn a_case_inside_the_evidence_is_refused() {
    let dir = scratch();
    let folder = odds(dir.path());
    let before = tree(&folder);
    symlink(&folder, dir.path().join("detour")).unwrap();
    for case in [folder.join("case"), folder.join("sub/a/b/case"), dir.path().join("detour/case"), folder.clone()] {
        let run = evidex(&["index", &text(&folder), "-c", &text(&case)]).expect(2);
        assert!(run.err.contains("inside the evidence"), "{}", run.err);
    }
    let mut inside = command(&["index", "."]);
    inside.current_dir(&folder);
    let run = finish(inside, Duration::from_secs(60));
    assert_eq!(run.code, Some(2), "the default case of `.` would lie in it: {}", run.err);
    assert_eq!(tree(&folder), before);
    assert!(!folder.join("case").exists() && !folder.join("sub/a").exists());
}

#[test]
fn a_disk_in_segments_is_the_same_disk() {
    let dir = scratch();
    let bytes = fs::read(disk()).unwrap();
    let digest = |image: &Path, more: &[&str]| {
        let case = scratch();
        let mut args = vec!["index".to_owned(), text(image), "-c".to_owned(), text(&case.path().join("c"))];
        args.extend(["--json".to_owned()].into_iter().chain(more.iter().map(|m| (*m).to_owned())));
        let run = evidex(&args).expect(0).last();
        (field(&run, "digest").to_owned(), run["images"][0]["blake3"].clone(), run["bytes"].clone())
    };
    let whole = digest(disk(), &[]);
    // Sizes that are no multiple of a page or a sector: files and structures run across the borders.
    for (names, size) in [(["001", "002", "003"], 30_000_001), (["aa", "ab", "ac"], 33_333_333)] {
        for (name, part) in names.iter().zip(bytes.chunks(size)) {
            File::create(dir.path().join(format!("split.{name}"))).unwrap().write_all(part).unwrap();
        }
        let first = dir.path().join(format!("split.{}", names[0]));
        assert_eq!(digest(&first, &[]), whole, "in segments .{}", names[0]);
        assert_eq!(digest(&first, &["--name", "another name"]), whole, "under another name");
        let info = evidex(&["info", &text(&first), "--json"]).expect(0).last();
        assert_eq!(field(&info, "format"), "split raw");
        fs::remove_file(dir.path().join(format!("split.{}", names[1]))).unwrap();
        let run = evidex(&["info", &text(&first)]).expect(2);
        assert!(run.err.contains(&format!("split.{}", names[1])), "the missing segment is named: {}", run.err);
    }
}

#[test]
fn a_folder_that_begins_with_a_disk_is_no_disk() {
    let dir = scratch();
    let folder = dir.path().join("disks");
    fs::create_dir(&folder).unwrap();
    fs::copy(disk(), folder.join("a.dd")).unwrap();
    fs::write(folder.join("b.txt"), "behind it").unwrap();
    let listed = evidex(&["info", "--list", &text(&folder)]).expect(0).text();
    assert_eq!((listed.matches("/a.dd").count(), listed.matches("/b.txt").count()), (1, 1), "{listed}");
}

#[test]
fn several_pieces_of_evidence_share_a_case() {
    let dir = scratch();
    let folder = odds(dir.path());
    let case = text(&dir.path().join("case"));
    let args = ["index", &text(disk()), &text(&folder), "-c", &case, "--name", "disk", "--name", "desk", "--json"];
    let run = evidex(&args).expect(0).last();
    assert_eq!(run["images"].as_array().unwrap().len(), 2);
    let sizes: u64 = run["images"].as_array().unwrap().iter().map(|i| number(i, "size")).sum();
    let sum: u64 = run["bytes"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    assert_eq!(sum, sizes);
    assert_eq!(search(&case, "harbour image:desk").len(), 1);
    assert!(search(&case, "harbour image:disk").iter().all(|r| field(r, "provenance").starts_with("disk/")));
    evidex(&["verify", "-c", &case]).expect(0);
    // One piece after the other gives the same case.
    let later = text(&dir.path().join("later"));
    evidex(&["index", &text(disk()), "-c", &later, "--name", "disk"]).expect(0);
    let added = evidex(&["index", &text(&folder), "-c", &later, "--name", "desk", "--json"]).expect(0).last();
    assert_eq!(added["digest"], run["digest"]);
}
