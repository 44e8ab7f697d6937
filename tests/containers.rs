//! Containers, read and compared byte by byte with the disk that other programs packed into them, and damaged: what
//! differs from the disk then has to be reported. `tests/run` installs the programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Dice, corpus, evidex, flip, scratch, text};
use evidex::extent::{Extent, ExtentSet};
use evidex::hash::Algorithm;
use evidex::image::{self, Image, View, ahead, seal};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk of `size` bytes with text, noise, holes and repeated bytes in stretches of all lengths.
fn disk(seed: u64, size: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    let mut bytes = Vec::with_capacity(size + (1 << 18));
    while bytes.len() < size {
        let len = 1 << dice.below(18);
        match dice.below(5) {
            0 => bytes.resize(bytes.len() + 2 * len, 0),
            1 => bytes.resize(bytes.len() + len, dice.below(256) as u8),
            2 => bytes.extend((0..len / 8 + 1).flat_map(|_| dice.next().to_le_bytes())),
            _ => bytes.extend((0..len / 16 + 1).flat_map(|n| format!("line {:>9}\n", n * 7 + len).into_bytes())),
        }
    }
    bytes.truncate(size);
    bytes
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).expect("a scratch file is written");
    path
}

/// Runs a program; a failure shows what it said.
#[track_caller]
fn tool(dir: &Path, program: &str, args: &[&str]) {
    let out = Command::new(program).args(args).current_dir(dir).output();
    let out = out.unwrap_or_else(|e| panic!("{program}: {e}: tests/run installs it"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn whole(image: &dyn Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    ahead::each_part(image, 1 << 20, |part| bytes.extend_from_slice(part)).expect("it is read to its end");
    bytes
}

fn opened(path: &Path) -> Box<dyn Image> {
    image::open(path).unwrap_or_else(|e| panic!("{e}"))
}

/// The container holds `disk`: in one pass, at any place in any order, and by the hashes that it carries.
#[track_caller]
fn holds(path: &Path, disk: &[u8], format: &str) -> Box<dyn Image> {
    let image = opened(path);
    let name = path.display();
    assert_eq!((image.format(), image.size()), (format, disk.len() as u64), "{name}");
    assert!(whole(image.as_ref()) == disk, "{name}: its content differs");
    let mut dice = Dice(7);
    let view = View::whole(image.as_ref());
    for _ in 0..400 {
        let at = dice.below(disk.len() as u64);
        let most = 1 << dice.below(19);
        let len = dice.below(most).min(disk.len() as u64 - at);
        let read = view.read(at, len).expect("within the disk");
        assert!(*read == disk[at as usize..(at + len) as usize], "{name}: {len} bytes at byte {at} differ");
    }
    assert!(view.read(disk.len() as u64, 1).is_err(), "{name}: has an end");
    let hashes = seal::hashes(image.as_ref(), &Algorithm::ALL).expect("hashed");
    assert_eq!(seal::contradictions(image.as_ref(), &hashes), [""; 0], "{name}");
    assert_eq!(image.unreadable(), [], "{name}");
    assert_eq!(image.about().faults, [""; 0], "{name}");
    image
}

/// Where two disks differ.
fn differences(a: &[u8], b: &[u8]) -> ExtentSet {
    const BLOCK: usize = 4096;
    let longest = a.len().max(b.len());
    let block = |bytes: &[u8], at: usize| bytes.get(at..bytes.len().min(at + BLOCK)).unwrap_or_default().to_vec();
    let unlike = (0..longest).step_by(BLOCK).filter(|at| block(a, *at) != block(b, *at));
    let at = unlike.flat_map(|at| at..longest.min(at + BLOCK)).filter(|i| a.get(*i) != b.get(*i));
    at.map(|i| Extent::new(i as u64, 1)).collect()
}

/// What a container that was damaged may do.
#[derive(Clone, Copy, PartialEq)]
enum Promise {
    /// All of it is covered by checksums: no byte is wrong that is not reported.
    Told,
    /// Stored bytes have no checksum: nothing panics or hangs.
    Survives,
}

/// Damages copies of a container of one file, by a flipped bit and by cutting them off; looks at what is read then.
#[track_caller]
fn damaged(path: &Path, disk: &[u8], rounds: u64, promise: Promise) {
    let dir = scratch();
    let copy = dir.path().join(path.file_name().unwrap());
    let size = fs::metadata(path).unwrap().len();
    let mut dice = Dice(size);
    let (mut refused, mut told, mut unharmed) = (0, 0, 0);
    for round in 0..rounds {
        fs::copy(path, &copy).unwrap();
        let cut = round % 4 == 3;
        // Half of the damage goes where the tables are: near the ends.
        let most = 1 + size.min(1 << dice.below(20));
        let near = dice.below(most);
        let at = [dice.below(size), near, size - near][dice.below(3) as usize].min(size - 1);
        if cut {
            File::options().write(true).open(&copy).unwrap().set_len(at.max(1)).unwrap();
        } else {
            flip(&copy, at);
        }
        let what = format!("{}, {} at byte {at}", path.display(), if cut { "cut" } else { "flipped" });
        let Ok(image) = image::open(&copy) else {
            refused += 1;
            continue;
        };
        if promise == Promise::Survives && image.size() > 1 << 30 {
            continue;
        }
        if image.size() > 2 * disk.len() as u64 {
            assert!(!image.about().faults.is_empty() || promise == Promise::Survives, "{what}: grew in silence");
            continue;
        }
        let read = whole(image.as_ref());
        let unreadable = ExtentSet::new(image.unreadable());
        let silent = differences(&read, disk).subtract(&unreadable);
        let faults = &image.about().faults;
        if image.format() == "raw" {
            assert!(!faults.is_empty(), "{what}: taken for a raw image in silence");
            continue;
        }
        if promise == Promise::Told {
            let sized = read.len() == disk.len() || !faults.is_empty();
            let inside = silent.within(Extent::new(0, read.len().min(disk.len()) as u64));
            assert!(sized && inside.as_slice().is_empty(), "{what}: wrong in silence: {:?}", inside.as_slice().first());
        }
        let harmed = !unreadable.as_slice().is_empty() || !faults.is_empty();
        *(if harmed { &mut told } else { &mut unharmed }) += 1;
    }
    println!("{}: {refused} refused, {told} told, {unharmed} unharmed", path.display());
    assert!(told > 0, "{}: some damage is met", path.display());
}

/// Acquires `disk` with ewfacquire; gives the first segment.
fn ewf(dir: &Path, disk: &[u8], format: &str, extension: &str, options: &[&str]) -> PathBuf {
    write(dir, "disk.raw", disk);
    let fixed = ["-u", "-q", "-f", format, "-t", format, "-d", "sha1", "-C", "case 7", "-e", "Mara", "-N", "a note"];
    tool(dir, "ewfacquire", &[&fixed[..], options, &["disk.raw"]].concat());
    dir.join(format!("{format}.{extension}"))
}

#[test]
fn ewf_of_every_program_holds_the_disk() {
    let dir = scratch();
    // One byte more than whole sectors: the count of sectors leaves it out, the chunks have it.
    let disk = disk(1, (3 << 20) + 5 * 512 + 1);
    for (format, extension) in [
        ("ewf", "e01"),
        ("smart", "s01"),
        ("ftk", "E01"),
        ("encase1", "E01"),
        ("encase3", "E01"),
        ("encase5", "E01"),
        ("encase6", "E01"),
        ("linen5", "E01"),
        ("linen6", "E01"),
        ("ewfx", "e01"),
    ] {
        for level in ["none", "empty-block", "fast", "best"] {
            let path = ewf(dir.path(), &disk, format, extension, &["-c", level]);
            let image = holds(&path, &disk, "ewf");
            let about = image.about();
            let facts = format!("{:?}", about.facts);
            assert!(["case 7", "Mara", "a note"].iter().all(|f| facts.contains(f)), "{format}: {facts}");
            assert!(about.hashes.iter().any(|h| h.algorithm == Algorithm::Md5), "{format}");
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn ewf_segments_are_found_from_any_of_them() {
    let dir = scratch();
    let disk = disk(2, 9 << 20);
    for (sectors, level) in [("16", "none"), ("64", "fast"), ("4096", "none")] {
        let options = ["-S", "1048576", "-b", sectors, "-c", level];
        let first = ewf(dir.path(), &disk, "encase6", "E01", &options);
        let third = first.with_extension("E03");
        holds(&first, &disk, "ewf");
        holds(&third, &disk, "ewf");
        let second = first.with_extension("E02");
        fs::rename(&second, dir.path().join("away")).unwrap();
        let missing = evidex(&["info", &text(&third)]).expect(2);
        assert!(missing.err.contains("encase6.E02") && missing.err.contains("missing"), "{}", missing.err);
        fs::copy(&third, &second).unwrap();
        let other = evidex(&["info", &text(&first)]).expect(2);
        assert!(other.err.contains("should be segment 2"), "{}", other.err);
        fs::remove_file(&first).unwrap();
        let alone = evidex(&["info", &text(&third)]).expect(2);
        assert!(alone.err.contains("segment 3"), "{}", alone.err);
        for old in fs::read_dir(dir.path()).unwrap() {
            fs::remove_file(old.unwrap().path()).unwrap();
        }
    }
}

#[test]
fn damaged_ewf_tells_what_it_lost() {
    let dir = scratch();
    let disk = disk(3, (1 << 20) + 512);
    for (format, extension, level) in
        [("encase6", "E01", "fast"), ("encase6", "E01", "none"), ("smart", "s01", "fast"), ("encase1", "E01", "none")]
    {
        let path = ewf(dir.path(), &disk, format, extension, &["-c", level]);
        damaged(&path, &disk, 160, Promise::Told);
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn the_second_ewf_holds_the_disk_packed_either_way() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ewf2");
    let disk = zstd::decode_all(File::open(folder.join("disk.dd.zst")).unwrap()).unwrap();
    let dir = scratch();
    let packed = File::open(folder.join("stored.Ex01.zst")).unwrap();
    write(dir.path(), "stored.Ex01", &zstd::decode_all(packed).unwrap());
    for path in [folder.join("deflate.Ex01"), folder.join("bzip2.Ex01"), dir.path().join("stored.Ex01")] {
        let image = holds(&path, &disk, "ewf");
        let facts = format!("{:?}", image.about().facts);
        assert!(facts.contains("case 7") && facts.contains("Mara"), "{facts}");
        assert_eq!(image.about().hashes.len(), 2);
        damaged(&path, &disk, 80, Promise::Told);
    }
}

#[test]
fn a_hash_that_does_not_hold_is_told_by_every_command() {
    let dir = scratch();
    let disk = disk(4, 1 << 20);
    let path = ewf(dir.path(), &disk, "encase6", "E01", &["-c", "none"]);
    let bytes = fs::read(&path).unwrap();
    // Another MD5 in the sections hash and digest, and the checksums that go with it.
    let mut changed = bytes.clone();
    for (name, len) in [("hash", 32), ("digest", 76)] {
        let mut needle = [0u8; 16];
        needle[..name.len()].copy_from_slice(name.as_bytes());
        let at = memchr::memmem::rfind(&bytes, &needle).unwrap() + 76;
        changed[at] ^= 1;
        let sum = image::chunks::adler32(&changed[at..at + len]).to_le_bytes();
        changed[at + len..at + len + 4].copy_from_slice(&sum);
    }
    fs::write(&path, changed).unwrap();
    let (path, case) = (text(&path), text(&dir.path().join("case")));
    let hash = evidex(&["hash", &path, "--json"]).expect(1);
    assert!(hash.err.contains("MD5"), "{}", hash.err);
    assert_eq!(hash.last()["contradictions"].as_array().unwrap().len(), 1);
    assert!(evidex(&["hash", &path]).expect(1).text().contains("DOES NOT HOLD"));
    let index = evidex(&["index", &path, "-c", &case, "--json"]).expect(0);
    assert!(index.err.contains("MD5"), "{}", index.err);
    assert_eq!(index.last()["images"][0]["contradictions"].as_array().unwrap().len(), 1);
    let found = evidex(&["search", "kind:anomaly", "--json", "-c", &case]).expect(0).lines();
    assert!(found.iter().any(|hit| hit.to_string().contains("$Anomaly")), "{found:?}");
    let verify = evidex(&["verify", "-c", &case]).expect(1);
    assert!(verify.err.contains("MD5"), "{}", verify.err);
}

#[test]
fn a_case_of_a_container_is_that_of_its_disk() {
    let dir = scratch();
    let raw = common::disk();
    let bytes = fs::read(raw).unwrap();
    let path = ewf(dir.path(), &bytes, "encase6", "E01", &["-c", "fast"]);
    let (a, b) = (text(&dir.path().join("a")), text(&dir.path().join("b")));
    let of_raw = evidex(&["index", &text(raw), "-c", &a, "--name", "disk", "--json"]).expect(0).last();
    let of_ewf = evidex(&["index", &text(&path), "-c", &b, "--name", "disk", "--json"]).expect(0).last();
    for field in ["items", "bytes", "faults"] {
        assert_eq!(of_raw[field], of_ewf[field], "{field}");
    }
    assert_eq!(of_raw["images"], of_ewf["images"]);
    assert_eq!(common::items(&a), common::items(&b));
    let info = evidex(&["info", &text(&path), "--json"]).expect(0).last();
    assert_eq!((&info["format"], info["container"]["hashes"].as_array().unwrap().len()), (&"ewf".into(), 2));
    assert!(evidex(&["info", &text(&path)]).expect(0).text().contains("case 7"));
}

/// Converts `disk` with qemu-img; `options` are its `-o`.
fn qemu(dir: &Path, disk: &[u8], format: &str, name: &str, options: &str, packed: bool) -> PathBuf {
    write(dir, "disk.raw", disk);
    let mut args = vec!["convert", "-q", "-f", "raw", "-O", format];
    args.extend(packed.then_some("-c"));
    args.extend(["-o", options].into_iter().filter(|_| !options.is_empty()));
    args.extend(["disk.raw", name]);
    tool(dir, "qemu-img", &args);
    dir.join(name)
}

/// Writes to an image with qemu-io: each command on its own.
fn qemu_io(dir: &Path, name: &str, commands: &[&str]) {
    let mut args = vec![];
    commands.iter().for_each(|command| args.extend(["-c", command]));
    args.push(name);
    tool(dir, "qemu-io", &args);
}

/// What qemu-img reads from an image.
fn as_qemu_reads(dir: &Path, name: &str) -> Vec<u8> {
    tool(dir, "qemu-img", &["convert", "-O", "raw", name, "truth.raw"]);
    fs::read(dir.join("truth.raw")).unwrap()
}

#[test]
fn qcow2_of_every_kind_holds_the_disk() {
    let dir = scratch();
    let disk = disk(5, (5 << 20) + 3 * 512);
    for (options, packed) in [
        ("compat=0.10", false),
        ("compat=0.10", true),
        ("compat=1.1", false),
        ("cluster_size=512", false),
        ("cluster_size=512", true),
        ("cluster_size=4096", true),
        ("cluster_size=2M", true),
        ("compression_type=zstd", true),
        ("compression_type=zstd,cluster_size=16k", true),
        ("preallocation=metadata", false),
        ("preallocation=falloc", false),
        ("extended_l2=on", false),
        ("extended_l2=on,cluster_size=128k", true),
        ("data_file=clusters.raw", false),
        ("data_file=clusters.raw,data_file_raw=on", false),
        ("data_file=clusters.raw,extended_l2=on", false),
    ] {
        println!("{options} {packed}");
        let path = qemu(dir.path(), &disk, "qcow2", "disk.qcow2", options, packed);
        holds(&path, &disk, "qcow2");
        fs::remove_file(path).unwrap();
    }
}

const WRITES: [&str; 6] = [
    "write -P 0x5a 100k 300k",
    "write -P 0xa5 1M 3k",
    "write -z 2M 128k",
    "write -P 1 2050k 2k",
    "discard 3M 256k",
    "write -P 7 4000k 70k",
];

#[test]
fn qcow2_shows_what_it_is_based_on() {
    let dir = scratch();
    let (at, base) = (dir.path(), disk(6, 5 << 20));
    write(at, "base.raw", &base);
    let qcow2 = ["create", "-q", "-f", "qcow2"];
    tool(at, "qemu-img", &[&qcow2[..], &["-b", "base.raw", "-F", "raw", "middle.qcow2"]].concat());
    qemu_io(at, "middle.qcow2", &WRITES[..3]);
    // The top is larger than what it is based on: zeros.
    let options = ["-o", "extended_l2=on", "-b", "middle.qcow2", "-F", "qcow2", "top.qcow2", "6M"];
    tool(at, "qemu-img", &[&qcow2[..], &options].concat());
    qemu_io(at, "top.qcow2", &WRITES[2..]);
    tool(at, "qemu-img", &["snapshot", "-c", "before", "top.qcow2"]);
    qemu_io(at, "top.qcow2", &["write -P 9 5M 64k"]);
    let image = holds(&at.join("top.qcow2"), &as_qemu_reads(at, "top.qcow2"), "qcow2");
    assert_eq!(image.files().len(), 3, "the seal is of all three");
    assert!(image.about().remarks.iter().any(|r| r.contains("\"before\"")), "{:?}", image.about());
    fs::rename(at.join("base.raw"), at.join("away")).unwrap();
    let missing = evidex(&["info", &text(&at.join("top.qcow2"))]).expect(2);
    assert!(missing.err.contains("base.raw") && missing.err.contains("missing"), "{}", missing.err);
    // What is called raw is read as raw, though it begins as another container does.
    fs::copy(at.join("middle.qcow2"), at.join("base.raw")).unwrap();
    tool(at, "qemu-img", &[&qcow2[..], &["-b", "base.raw", "-F", "raw", "other.qcow2"]].concat());
    holds(&at.join("other.qcow2"), &fs::read(at.join("base.raw")).unwrap(), "qcow2");
    // A circle has no end.
    tool(at, "qemu-img", &["rebase", "-u", "-b", "top.qcow2", "-F", "qcow2", "middle.qcow2"]);
    let circle = evidex(&["info", &text(&at.join("top.qcow2"))]).expect(2);
    assert!(circle.err.contains("based on an image that is based on it"), "{}", circle.err);
}

#[test]
fn qcow2_says_what_it_cannot_and_what_is_wrong() {
    let dir = scratch();
    let (at, disk) = (dir.path(), disk(8, 2 << 20));
    let secret = ["--object", "secret,id=s,data=x", "-o", "encrypt.format=luks,encrypt.key-secret=s"];
    tool(at, "qemu-img", &[&["create", "-q", "-f", "qcow2"][..], &secret, &["locked.qcow2", "2M"]].concat());
    let locked = evidex(&["info", &text(&at.join("locked.qcow2"))]).expect(2);
    assert!(locked.err.contains("is encrypted (LUKS)"), "{}", locked.err);
    let path = qemu(at, &disk, "qcow2", "disk.qcow2", "", false);
    let mut bytes = fs::read(&path).unwrap();
    bytes[79] |= 3;
    fs::write(&path, bytes).unwrap();
    let image = opened(&path);
    assert!(whole(image.as_ref()) == disk);
    assert_eq!(image.about().faults.len(), 2, "dirty, corrupt: {:?}", image.about());
    for (options, packed) in [("", true), ("extended_l2=on", false), ("compression_type=zstd", true)] {
        damaged(&qemu(at, &disk, "qcow2", "disk.qcow2", options, packed), &disk, 80, Promise::Survives);
    }
}

/// What of the corpus is in a container: its name, and the registered name of its format.
const KNOWN: &[(&str, &str)] = &[
    ("dfvfs/ext2.E01", "ewf"),
    ("dfvfs/ext2.qcow2", "qcow2"),
    ("nps/exfat1.E01", "ewf"),
    ("nps/imageformat_mmls_1.E01", "ewf"),
    ("nps/nps-2010-emails.E01", "ewf"),
    ("plaso/image-split.E01", "ewf"),
    ("search/kml_samples.E01", "ewf"),
];

#[test]
fn containers_of_the_corpus_hold_what_others_read_from_them() {
    let Some(folder) = corpus("images") else { return };
    for (name, format) in KNOWN {
        let evidence = common::evidence(&folder, name);
        let image = opened(evidence.path());
        let meta = fs::read(folder.join(format!("{name}.meta.json"))).unwrap();
        let meta: serde_json::Value = serde_json::from_slice(&meta).unwrap();
        let hashes = seal::hashes(image.as_ref(), &Algorithm::ALL).unwrap();
        assert_eq!(image.format(), *format, "{name}");
        assert_eq!(hashes.sha256.as_deref(), meta["decoded"]["sha256"].as_str(), "{name}");
        assert_eq!(seal::contradictions(image.as_ref(), &hashes), [""; 0], "{name}");
        assert_eq!((image.unreadable(), &image.about().faults), (Vec::new(), &Vec::new()), "{name}");
    }
}
