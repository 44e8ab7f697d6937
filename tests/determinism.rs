//! Same evidence, same case: whatever the threads, the memory, the checkpoints, and however often the run was killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{command, disk, evidex, field, items, number, scratch, search, text};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// One thing of the story of each kind: a query and how many items it finds.
const PLANTED: &[(&str, usize)] = &[
    ("passphrase kind:member", 1),
    ("\"transfer the balance\" kind:file", 1),
    ("friday", 1),
    ("deleted:true mime:application/pdf", 1),
    ("kind:carved mime:image/png", 1),
    ("kind:attachment", 1),
    ("shredder", 1),
    ("name:utf16.txt", 1),
    ("kind:stream name:*private", 1),
    ("deleted:true ext:csv", 1),
    ("kind:unallocated", 5),
];

fn digest(case: &str, more: &[&str]) -> String {
    let image = text(disk());
    let args = ["index", &image, "-c", case, "--json"].into_iter().chain(more.iter().copied());
    field(&evidex(&args.collect::<Vec<_>>()).expect(0).last(), "digest").to_owned()
}

#[test]
fn threads_memory_and_checkpoints_change_nothing() {
    let dir = scratch();
    let reference = text(&dir.path().join("reference"));
    let expected = digest(&reference, &[]);
    let listed = items(&reference);
    let journal = fs::read(Path::new(&reference).join("journal.jsonl")).unwrap();
    let hits = |case: &str| {
        let all = ["ledger", "pier", "lisbon OR mara", "kind:file"].into_iter().flat_map(|q| search(case, q));
        all.map(|mut r| r.as_object_mut().map(|r| r.remove("score")).map(|_| r).expect("an object")).collect::<Vec<_>>()
    };
    let found = hits(&reference);
    for (i, more) in [
        ["--threads", "1"].as_slice(),
        &["--threads", "2"],
        &["--threads", "3", "--checkpoint", "7"],
        &["--threads", "8"],
        &["--memory", "1"],
        &["--memory", "16", "--threads", "8"],
        &["--checkpoint", "1", "--threads", "2", "--memory", "320"],
    ]
    .into_iter()
    .enumerate()
    {
        let case = text(&dir.path().join(i.to_string()));
        assert_eq!(digest(&case, more), expected, "{more:?}");
        assert_eq!(fs::read(Path::new(&case).join("journal.jsonl")).unwrap(), journal, "{more:?}");
        assert_eq!(items(&case), listed, "{more:?}");
        assert_eq!(hits(&case), found, "{more:?}");
        fs::remove_dir_all(&case).unwrap();
    }
}

/// Starts a run and kills it after `time`; false where it had ended by itself.
fn killed(case: &str, threads: &str, time: Duration) -> bool {
    let image = text(disk());
    let args = ["index", &image, "-c", case, "--checkpoint", "1", "--threads", threads];
    let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(time);
    let over = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    !over
}

#[track_caller]
fn nothing_twice(case: &str) {
    let items = items(case);
    let ids: HashSet<&str> = items.iter().map(|i| field(i, "id")).collect();
    assert_eq!(ids.len(), items.len(), "an item is listed twice");
    for (query, count) in PLANTED {
        assert_eq!(search(case, query).len(), *count, "{query}");
    }
}

#[test]
fn a_killed_run_goes_on_to_the_same_case() {
    let dir = scratch();
    let whole = text(&dir.path().join("whole"));
    let start = Instant::now();
    let expected = digest(&whole, &["--checkpoint", "1"]);
    let total = start.elapsed();
    nothing_twice(&whole);
    let journal = fs::read(Path::new(&whole).join("journal.jsonl")).unwrap();
    let (mut kills, mut resumed) = (0, 0);
    for k in 1..=10u32 {
        let case = text(&dir.path().join(format!("killed-{k}")));
        let threads = ["1", "2", "3", "8"][k as usize % 4];
        kills += u32::from(killed(&case, threads, total * k / 11));
        if evidex(&["verify", "-c", &case]).code == Some(1) {
            resumed += 1;
        }
        assert_eq!(digest(&case, &["--checkpoint", "3"]), expected, "killed after {k}/11");
        assert_eq!(fs::read(Path::new(&case).join("journal.jsonl")).unwrap(), journal, "killed after {k}/11");
        nothing_twice(&case);
        evidex(&["verify", "-c", &case]).expect(0);
        fs::remove_dir_all(&case).unwrap();
    }
    assert!(kills >= 3 && resumed >= 1, "{kills} runs were killed, {resumed} of them had a case already");
}

#[test]
fn a_run_that_is_killed_again_and_again_gets_there() {
    let dir = scratch();
    let whole = text(&dir.path().join("whole"));
    let start = Instant::now();
    let expected = digest(&whole, &["--checkpoint", "1"]);
    let step = start.elapsed() / 5;
    let case = text(&dir.path().join("case"));
    // Each run gets further than the one before or, where it cannot, gets more time.
    let rounds = (1..200u32).take_while(|round| killed(&case, "2", step + step * (round / 4))).count();
    assert_eq!(digest(&case, &[]), expected, "after {rounds} kills");
    nothing_twice(&case);
    evidex(&["verify", "-c", &case]).expect(0);
}

#[test]
fn two_runs_do_not_write_to_one_case() {
    let dir = scratch();
    let case = text(&dir.path().join("case"));
    fs::create_dir(&case).unwrap();
    // The lock is held as a run holds it.
    let lock = fs::File::create(Path::new(&case).join("lock")).unwrap();
    lock.lock().unwrap();
    let run = evidex(&["index", &text(disk()), "-c", &case]).expect(2);
    assert!(run.err.contains("another evidex is writing"), "{}", run.err);
    drop(lock);
    let image = text(disk());
    let args = ["index", &image, "-c", &case, "-q", "--threads", "1"];
    let mut first = command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let manifest = Path::new(&case).join("manifest.json");
    while !manifest.exists() && first.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let second = evidex(&args);
    // A machine may be so busy that the first run ended before the second began.
    if first.try_wait().unwrap().is_none() {
        second.expect(2);
    }
    assert!(first.wait().unwrap().success());
    let again = evidex(&["index", &image, "-c", &case, "--json"]).expect(0).last();
    assert_eq!(number(&again, "items"), items(&case).len() as u64);
}
