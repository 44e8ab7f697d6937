//! btrfs volumes that `mkfs.btrfs` makes and the kernel fills: every path, size and content against what was written, with
//! subvolumes, snapshots and every way of packing. Where no such volume can be made or mounted a test says so and passes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::filled::{self, Filled, done};
use evidex::content::{Content, Run};
use evidex::fs::entries;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// What is made: a name, options of `mkfs.btrfs` and of the mount.
const KINDS: &[(&str, &[&str], &str)] = &[
    ("plain", &[], ""),
    ("zlib", &["--csum", "xxhash"], "compress-force=zlib"),
    ("lzo", &["--csum", "sha256"], "compress=lzo"),
    ("zstd", &["--csum", "blake2"], "compress-force=zstd:9"),
    ("mixed groups, 4 KiB nodes", &["--mixed", "-n", "4096"], "compress=zstd"),
    ("single, no hole items, 64 KiB nodes", &["-m", "single", "-n", "65536", "-O", "no-holes"], ""),
    ("holes as items", &["-O", "^no-holes", "-R", "^free-space-tree"], "max_inline=0"),
];

/// A volume that the kernel filled: with a subvolume, a snapshot that shares all and one that has changed since.
fn made(options: &[&str], mount: &str) -> Option<Filled> {
    let more = |at: &Path| {
        let btrfs = |args: &[&str]| assert!(done(Command::new("btrfs").args(args).current_dir(at)), "{args:?}");
        btrfs(&["subvolume", "create", "deep/inner"]);
        fs::write(at.join("deep/inner/file in it"), filled::noise(77, 30_000)).unwrap();
        btrfs(&["subvolume", "snapshot", "-r", ".", "few/as it was"]);
        btrfs(&["subvolume", "snapshot", "deep/inner", "deep/second"]);
        fs::write(at.join("deep/second/file in it"), b"changed").unwrap();
        fs::write(at.join("deep/noise of 70000"), filled::noise(78, 66_000)).unwrap();
        fs::remove_file(at.join("few/1")).unwrap();
        assert!(done(Command::new("cp").args(["--reflink=always", "braid a", "braid c"]).current_dir(at)));
    };
    let mkfs = |image: &Path| done(Command::new("mkfs.btrfs").args(["-q", "-f"]).args(options).arg(image));
    let volume = filled::volume(512 << 20, &mkfs, mount, &more);
    if volume.is_none() {
        eprintln!("left out: no btrfs volume can be made and mounted here ({options:?})");
    }
    volume
}

#[test]
fn what_the_kernel_wrote_is_listed() {
    for (name, options, mount) in KINDS {
        let Some(volume) = made(options, mount) else { continue };
        let count = volume.compare("btrfs");
        let attributes = volume.attributes("/deep/noise of 1");
        let has = |key: &str, value: &str| attributes.iter().any(|(k, v)| k == key && v == value);
        assert!(has("user.note", "in the inode") && has("user.large", &"x".repeat(3000)), "{name}: {attributes:?}");
        volume.read(|fs, _| assert_eq!((&fs.facts().faults, &fs.facts().anomalies), (&vec![], &vec![]), "{name}"));
        sums(&volume, name);
        println!("{name:50} {count} entries as they were written");
    }
}

/// The checksums of all files fit, until a byte of one is changed: of that file, and of those that share it.
fn sums(volume: &Filled, name: &str) {
    let compared = || {
        volume.read(|fs, view| {
            let live = entries(fs).0.into_iter().filter(|entry| entry.sums.is_some());
            live.map(|entry| (entry.path.clone(), entry.sums.unwrap().compare(view))).collect::<Vec<_>>()
        })
    };
    let all = compared();
    assert!(all.len() > 20 && all.iter().all(|(_, wrong)| wrong.is_none()), "{name}: {all:?}");
    let place = |path: &str| {
        let of = |run: &Run| if let Run::Data(extent) = run { Some(extent.start) } else { None };
        volume.read(|fs, _| {
            entries(fs).0.iter().find(|e| e.path == path).unwrap().stream.runs.iter().find_map(of).unwrap()
        })
    };
    let at = place("/deep/noise of 1048576") + 5000;
    let file = fs::File::options().write(true).read(true).open(&volume.image).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    let wrong: Vec<_> = compared().into_iter().filter_map(|(path, wrong)| Some((path, wrong?))).collect();
    let paths: Vec<&str> = wrong.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["/deep/noise of 1048576", "/few/as it was/deep/noise of 1048576"], "{name}");
    let (first, what) = (at - at % 4096, "1 of its stored sectors do not have their checksum");
    assert!(wrong.iter().all(|(_, fault)| fault.at == first && fault.what.starts_with(what)), "{name}: {wrong:?}");
    file.write_all_at(&byte, at).unwrap();
}

#[test]
fn damaged_copies_are_made_good_by_the_other() {
    let Some(volume) = made(&["-m", "dup"], "") else { return };
    let file = fs::File::options().write(true).read(true).open(&volume.image).unwrap();
    let mut root = [0; 8];
    file.read_exact_at(&mut root, (1 << 16) + 80).unwrap();
    // The first superblock, and the first copy of the root of trees.
    file.write_all_at(&[0; 4096], 1 << 16).unwrap();
    let is_root = |at: &u64| {
        let mut address = [0; 8];
        file.read_exact_at(&mut address, at + 48).unwrap();
        address == root
    };
    let copies: Vec<u64> = (0..512u64 << 20).step_by(4096).filter(is_root).collect();
    assert_eq!(copies.len(), 2);
    file.write_all_at(b"damage", copies[0] + 2000).unwrap();
    volume.compare("btrfs");
    let told = |what: &str| volume.read(|fs, _| fs.facts().faults.iter().any(|fault| fault.what.contains(what)));
    assert!(told("the superblock is destroyed"));
    assert!(told("a copy of the block of address"));
    // Without a second copy it is read as it is, or missed aloud.
    file.write_all_at(b"damage", copies[1] + 2000).unwrap();
    assert!(told("the checksum of the block of address"));
}

/// Numbers behind a word in what `btrfs inspect-internal dump-tree` prints of a tree.
fn numbers(image: &Path, tree: &str, word: &str) -> Vec<u64> {
    let out = Command::new("btrfs").args(["inspect-internal", "dump-tree", "-t", tree]).arg(image).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let after = text.split(word).skip(1).map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    after.map(|digits| digits.parse().unwrap()).collect()
}

#[test]
fn free_space_is_what_the_kernel_keeps_as_such() {
    let Some(volume) = made(&["-m", "single"], "") else { return };
    // The free-space tree holds ranges or bitmaps, as the kernel likes, and the tool prints no bitmap; what the groups use, it does.
    let used = numbers(&volume.image, "2", "block group used ");
    assert!(used.len() >= 3, "{used:?}");
    let superblocks = 2 * 4096;
    let taken = used.iter().sum::<u64>() + superblocks;
    let chunks = numbers(&volume.image, "4", " length ");
    assert_eq!(volume.free(), (512 << 20) - taken, "groups use {used:?} of chunks of {chunks:?}");
}

#[test]
fn a_log_tree_is_told() {
    let copy = |at: &Path| {
        assert!(done(Command::new("sync").arg("-f").arg(at)));
        let file = fs::File::create(at.join("late")).unwrap();
        file.write_all_at(b"late", 0).unwrap();
        file.sync_all().unwrap();
        fs::copy(at.parent().unwrap().join("image"), at.parent().unwrap().join("open")).unwrap();
    };
    let mkfs = |image: &Path| done(Command::new("mkfs.btrfs").args(["-q", "-f"]).arg(image));
    let Some(volume) = filled::volume(512 << 20, &mkfs, "", &copy) else { return };
    let told = |image: &Path| {
        filled::read(image, |fs, _| fs.facts().anomalies.iter().any(|a| a.sign.what.contains("is not replayed")))
    };
    assert!(!told(&volume.image));
    assert!(told(&volume.image.with_file_name("open")));
}

/// Attaches a file as a device; gone when it is dropped.
struct Loop(String);

impl Loop {
    fn of(image: &Path) -> Option<Self> {
        let out = Command::new("losetup").args(["-f", "--show"]).arg(image).output().ok()?;
        out.status.success().then(|| Self(String::from_utf8(out.stdout).unwrap().trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        done(Command::new("losetup").args(["-d", &self.0]));
    }
}

/// A volume on two devices, with `data` spread in that way; what was written to it.
fn on_two(folder: &Path, data: &str) -> Option<Vec<(&'static str, Vec<u8>)>> {
    let (images, at) = (["one", "two"].map(|name| folder.join(name)), folder.join("at"));
    for image in &images {
        fs::File::create(image).and_then(|file| file.set_len(300 << 20)).unwrap();
    }
    fs::create_dir(&at).unwrap();
    if !done(Command::new("mkfs.btrfs").args(["-q", "-f", "-m", "raid1", "-d", data]).args(&images)) {
        return None;
    }
    let loops = [Loop::of(&images[0])?, Loop::of(&images[1])?];
    done(Command::new("btrfs").args(["device", "scan", &loops[0].0, &loops[1].0]));
    if !done(Command::new("mount").arg(&loops[0].0).arg(&at)) {
        return None;
    }
    let written = vec![("small", b"in the tree".to_vec()), ("large", filled::noise(5, 3_000_000))];
    written.iter().for_each(|(name, bytes)| fs::write(at.join(name), bytes).unwrap());
    common::unmount(&at);
    Some(written)
}

#[test]
fn of_two_devices_one_gives_what_lies_on_it() {
    for (data, whole) in [("raid1", true), ("raid0", false)] {
        let folder = tempfile::tempdir().unwrap();
        let Some(written) = on_two(folder.path(), data) else {
            return eprintln!("left out: no btrfs volume of two devices can be made and mounted here");
        };
        for image in ["one", "two"] {
            filled::read(&folder.path().join(image), |fs, view| {
                assert!(fs.facts().faults.iter().any(|fault| fault.what.contains("of 2: what lies on the others")));
                let (listed, _) = entries(fs);
                for (name, bytes) in &written {
                    let entry = listed.iter().find(|entry| entry.path == format!("/{name}")).unwrap();
                    let content = Content::new(view, &entry.stream);
                    let read = content.contiguous(1 << 30);
                    if whole || *name == "small" {
                        assert_eq!(
                            (read.as_deref(), entry.faults.len()),
                            (Some(&bytes[..]), 0),
                            "{data}, {image}: {name}"
                        );
                    } else {
                        assert!(read.is_none_or(|read| read.len() < bytes.len()) && !entry.faults.is_empty());
                    }
                }
            });
        }
    }
}
