//! XFS volumes that `mkfs.xfs` makes and the kernel fills: every path, size and content against what was written. Where no
//! such volume can be made or mounted a test says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::filled::{self, Filled, done};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is made: a name and options of `mkfs.xfs`.
const KINDS: &[(&str, &[&str])] = &[
    ("version 5", &[]),
    ("large times and counters, 1 KiB blocks", &["-m", "bigtime=1", "-i", "nrext64=1,size=512", "-b", "size=1024"]),
    ("no sparse inodes, no finobt, large directories", &["-m", "finobt=0", "-i", "sparse=0", "-n", "size=16384"]),
    ("64 KiB directories, inodes of 2 KiB", &["-n", "size=65536", "-i", "size=2048"]),
    ("6 groups, reverse map", &["-d", "agcount=6", "-m", "rmapbt=1,reflink=1"]),
];

fn mkfs(options: &[&str], image: &Path) -> bool {
    done(Command::new("mkfs.xfs").args(["-q", "-f"]).args(options).arg(image))
}

/// A volume that the kernel filled, with files that share blocks.
fn made(options: &[&str]) -> Option<Filled> {
    let share = |at: &Path| {
        let cp = ["--reflink=auto", "braid a", "braid c"];
        assert!(done(Command::new("cp").args(cp).current_dir(at)), "a file is copied");
    };
    let volume = filled::volume(512 << 20, &|image| mkfs(options, image), "", &share);
    if volume.is_none() {
        eprintln!("left out: no XFS volume can be made and mounted here ({options:?})");
    }
    volume
}

fn ask(image: &Path, commands: &[&str]) -> String {
    let commands = commands.iter().flat_map(|command| ["-c", command]);
    let out = Command::new("xfs_db").arg("-r").args(commands).arg(image).output().unwrap();
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn what_the_kernel_wrote_is_listed() {
    for (name, options) in KINDS {
        let Some(volume) = made(options) else { continue };
        let count = volume.compare("XFS");
        // `xfs_db` counts the reserve of each group (AGFL), too.
        let text = ask(&volume.image, &["freesp -s"]);
        let total = text.lines().find_map(|line| line.strip_prefix("total free blocks ")).expect("xfs_db counts");
        let (free, block) = (volume.free(), volume.read(|fs, _| fs.facts().cluster));
        let total: u64 = total.trim().parse().unwrap();
        assert_eq!(free / block, total, "{name}: free blocks");
        let attributes = volume.attributes("/deep/noise of 1");
        let has = |key: &str, value: &str| attributes.iter().any(|(k, v)| k == key && v == value);
        assert!(has("user.note", "in the inode") && has("user.large", &"x".repeat(3000)), "{name}: {attributes:?}");
        assert!(has("user.number 59", "one of many"), "{name}");
        println!("{name:50} {count} entries, {total} free blocks, as they were written");
    }
}

/// Volumes that the kernel need not know (version 4): `mkfs.xfs` fills them from a list of files.
const LISTED: &[(&str, &[&str])] = &[
    ("version 4", &["-m", "crc=0", "-n", "ftype=1"]),
    ("version 4, no types of names", &["-m", "crc=0", "-i", "size=256", "-n", "ftype=0"]),
    ("version 4, 512-byte blocks", &["-m", "crc=0", "-b", "size=512", "-i", "size=256", "-n", "ftype=0"]),
    ("version 4, 4 KiB sectors", &["-m", "crc=0", "-s", "size=4096", "-n", "size=8192"]),
    ("version 5", &["-m", "crc=1"]),
];

/// The lines of a list of files for `mkfs.xfs`, for what stands below a folder.
fn list(folder: &Path) -> String {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    let line = |path: PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            return format!("{name} d--755 3 4\n{}$\n", list(&path));
        }
        if meta.is_symlink() {
            return format!("{name} l--777 3 4 {}\n", fs::read_link(&path).unwrap().display());
        }
        format!("{name} ---644 3 4 {}\n", path.display())
    };
    entries.into_iter().map(line).collect()
}

#[test]
fn what_mkfs_wrote_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let (from, image, lines) = (folder.path().join("from"), folder.path().join("image"), folder.path().join("list"));
    fs::create_dir_all(from.join("many")).unwrap();
    fs::create_dir(from.join("empty")).unwrap();
    for n in 0..700u64 {
        fs::write(from.join(format!("many/{n}-{}", "long".repeat(n as usize % 30))), filled::noise(n, n as usize * 29))
            .unwrap();
    }
    fs::write(from.join("large"), filled::noise(1, 5_000_001)).unwrap();
    std::os::unix::fs::symlink("many/0-", from.join("short-link")).unwrap();
    for (name, options) in LISTED {
        // On version 5 `mkfs.xfs` 6.1 leaves out the header of a long target, which the kernel then refuses.
        let _ = fs::remove_file(from.join("long-link"));
        if options.contains(&"crc=0") {
            std::os::unix::fs::symlink("many/".repeat(150), from.join("long-link")).unwrap();
        }
        fs::write(&lines, format!("/none\n0 0\nd--755 0 0\n{}$\n", list(&from))).unwrap();
        fs::File::create(&image).and_then(|file| file.set_len(320 << 20)).unwrap();
        if !mkfs(&[*options, &["-p", lines.to_str().unwrap()][..]].concat(), &image) {
            eprintln!("left out: mkfs.xfs makes no such volume here ({name})");
            continue;
        }
        let count = filled::same_as(&image, "XFS", &from);
        println!("{name:50} {count} entries as they were written");
    }
}

#[test]
fn a_destroyed_superblock_is_made_good_by_a_copy() {
    let Some(volume) = made(&[]) else { return };
    let file = fs::File::options().write(true).open(&volume.image).unwrap();
    file.write_all_at(&[0; 512], 0).unwrap();
    volume.compare("XFS");
    volume.read(|fs, _| assert!(fs.facts().faults.iter().any(|fault| fault.what.contains("is destroyed"))));
}

#[test]
fn a_damaged_tree_of_free_space_is_made_good_by_the_other() {
    let Some(volume) = made(&[]) else { return };
    let free = volume.free();
    let text = ask(&volume.image, &["agf 0", "print bnoroot"]);
    let root: u64 = text.rsplit(' ').next().unwrap().trim().parse().unwrap();
    let file = fs::File::options().write(true).open(&volume.image).unwrap();
    file.write_all_at(b"gone", root * 4096).unwrap();
    assert_eq!(volume.free(), free);
    volume.read(|fs, _| assert!(fs.facts().faults.iter().any(|fault| fault.what.contains("bnobt"))));
}

#[test]
fn copies_of_the_superblock_that_differ_are_told() {
    let Some(volume) = made(&[]) else { return };
    volume.read(|fs, _| assert_eq!(fs.facts().anomalies, []));
    assert!(done(Command::new("xfs_db").args(["-x", "-c", "sb 1", "-c", "write fname \"other\""]).arg(&volume.image)));
    volume.read(|fs, _| {
        let [anomaly] = fs.facts().anomalies.as_slice() else { panic!("{:?}", fs.facts().anomalies) };
        assert!(anomaly.sign.what.contains("differs in its label (\"other\", not \"\")"), "{}", anomaly.sign.what);
    });
}

#[test]
fn a_log_that_was_not_closed_is_told() {
    let copy = |at: &Path| {
        fs::write(at.join("late"), b"late").unwrap();
        assert!(done(Command::new("sync").arg("-f").arg(at)));
        fs::copy(at.parent().unwrap().join("image"), at.parent().unwrap().join("open")).unwrap();
    };
    let Some(volume) = filled::volume(320 << 20, &|image| mkfs(&[], image), "", &copy) else { return };
    let told = |image: &Path| {
        let unmounted = |what: &str| what.contains("was not unmounted");
        filled::read(image, |fs, _| fs.facts().anomalies.iter().any(|anomaly| unmounted(&anomaly.sign.what)))
    };
    assert!(!told(&volume.image));
    assert!(told(&volume.image.with_file_name("open")));
}
