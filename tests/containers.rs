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

#[test]
fn vhd_of_every_kind_holds_the_disk() {
    let dir = scratch();
    // Whole cylinders, so that qemu-img does not make the disk larger.
    let disk = disk(9, 68 * 17 * 4 * 512);
    for options in ["subformat=fixed", "subformat=dynamic", "subformat=dynamic,force_size=on"] {
        let path = qemu(dir.path(), &disk, "vpc", "disk.vhd", options, false);
        holds(&path, &disk, "vhd");
        damaged(&path, &disk, 40, Promise::Survives);
        // Without its footer a dynamic disk is read by the copy at the front.
        let bytes = fs::read(&path).unwrap();
        let cut = write(dir.path(), "cut.vhd", &bytes[..bytes.len() - 512]);
        let image = opened(&cut);
        assert!(whole(image.as_ref())[..disk.len()] == disk, "{options}");
        assert_eq!(image.format(), if options.contains("fixed") { "raw" } else { "vhd" });
        assert_eq!(image.about().faults.len(), 1, "{options}: {:?}", image.about().faults);
    }
    // A raw disk that ends in what was the end of a fixed VHD is a raw disk.
    let fixed = qemu(dir.path(), &disk[..68 * 512], "vpc", "inner.vhd", "subformat=fixed,force_size=on", false);
    let outer = [disk.clone(), fs::read(fixed).unwrap()].concat();
    holds(&write(dir.path(), "outer.dd", &outer), &outer, "raw");
}

#[test]
fn vhdx_of_every_kind_holds_the_disk() {
    let dir = scratch();
    let disk = disk(10, (9 << 20) + 7 * 512);
    for options in ["subformat=fixed", "subformat=dynamic", "block_size=1M", "block_size=8M,log_size=2M"] {
        let path = qemu(dir.path(), &disk, "vhdx", "disk.vhdx", options, false);
        holds(&path, &disk, "vhdx");
        damaged(&path, &disk, 40, Promise::Survives);
    }
}

#[test]
fn a_log_that_was_not_written_back_is_read() {
    let dir = scratch();
    let at = dir.path();
    let mut disk = disk(11, 12 << 20);
    disk[8 << 20..].fill(0);
    let path = qemu(at, &disk, "vhdx", "disk.vhdx", "block_size=1M", false);
    // The machine stops while the disk is open; then what it wrote to the table of blocks is lost, but for the log.
    let writes = ["write -P 3 0 64k", "write -P 5 11M 1M", "abort"];
    let before = fs::read(&path).unwrap();
    let args = writes.iter().flat_map(|w| ["-c", w]).chain(["disk.vhdx"]);
    let stopped = Command::new("qemu-io").args(args).current_dir(at).output().unwrap();
    assert!(!stopped.status.success(), "qemu-io aborts");
    let mut after = fs::read(&path).unwrap();
    let regions = &after[192 << 10..256 << 10];
    let table = (0..2).map(|n| &regions[16 + 32 * n..][..32]).find(|e| e[..4] == [0x66, 0x77, 0xc2, 0x2d]).unwrap();
    let table = u64::from_le_bytes(table[16..24].try_into().unwrap()) as usize;
    after[table..table + 4096].copy_from_slice(&before[table..table + 4096]);
    // The header that counts says so again, as it did before the table was written.
    let log = 1 << 20;
    assert_eq!(&after[log..log + 4], b"loge");
    let newest = [64 << 10, 128 << 10].into_iter().max_by_key(|at| after[at + 8]).unwrap();
    after.copy_within(log + 32..log + 48, newest + 48);
    put(&mut after, newest + 4, &[0; 4]);
    let sum = crc32c::crc32c(&after[newest..newest + 4096]);
    put(&mut after, newest + 4, &sum.to_le_bytes());
    fs::write(&path, &after).unwrap();
    let image = opened(&path);
    let read = whole(image.as_ref());
    assert!(image.about().faults.iter().any(|f| f.contains("was not closed")), "{:?}", image.about());
    drop(image);
    tool(at, "qemu-img", &["check", "-q", "-r", "all", "disk.vhdx"]);
    assert!(read == as_qemu_reads(at, "disk.vhdx"), "qemu-img writes the log back, and reads the same");
    assert!(read[11 << 20..].iter().all(|b| *b == 5), "the log places what was written last");
}

/// A child of `below` whose sectors are those of `above` where `here` says so, and the disk that it shows.
fn mixture(below: &[u8], above: &[u8], here: impl Fn(usize) -> bool) -> Vec<u8> {
    let pick = |n: usize| if here(n) { above } else { below };
    (0..above.len() / 512).flat_map(|n| pick(n)[n * 512..(n + 1) * 512].to_vec()).collect()
}

/// Sectors in runs of uneven length.
const fn uneven(sector: usize) -> bool {
    sector % 37 < 11 || sector % 1009 < 300
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

fn vhd_sum(bytes: &mut [u8], at: usize, len: usize, sum_at: usize) {
    put(bytes, at + sum_at, &[0; 4]);
    let sum = bytes[at..at + len].iter().fold(0u32, |sum, b| sum.wrapping_add(u32::from(*b)));
    put(bytes, at + sum_at, &(!sum).to_be_bytes());
}

/// Makes a differencing disk out of a dynamic one, as the specification has it: no program of Debian's writes one.
fn vhd_child(bytes: &mut [u8], parent_id: &[u8], parent: &str) {
    let be32 = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let end = bytes.len() - 512;
    for footer in [0, end] {
        put(bytes, footer + 60, &4u32.to_be_bytes());
        vhd_sum(bytes, footer, 512, 64);
    }
    put(bytes, 512 + 40, parent_id);
    let name: Vec<u8> = parent.encode_utf16().flat_map(u16::to_be_bytes).collect();
    put(bytes, 512 + 64, &name);
    vhd_sum(bytes, 512, 1024, 36);
    let (table, entries, block) = (be32(bytes, 512 + 20), be32(bytes, 512 + 28), be32(bytes, 512 + 32));
    for n in 0..entries {
        let sector = be32(bytes, table + 4 * n);
        if sector == u32::MAX as usize {
            continue;
        }
        let per_block = block / 512;
        for bit in (0..per_block).filter(|bit| !uneven(n * per_block + bit)) {
            bytes[sector * 512 + bit / 8] &= !(0x80 >> (bit % 8));
        }
    }
}

#[test]
fn a_differencing_vhd_shows_the_disk_below() {
    let dir = scratch();
    let (at, size) = (dir.path(), 140 * 17 * 4 * 512);
    let (base, top) = (disk(12, size), disk(13, size));
    qemu(at, &base, "vpc", "base.vhd", "subformat=dynamic", false);
    let id = fs::read(at.join("base.vhd")).unwrap()[68..84].to_vec();
    let path = qemu(at, &top, "vpc", "top.vhd", "subformat=dynamic", false);
    let mut bytes = fs::read(&path).unwrap();
    vhd_child(&mut bytes, &id, "C:\\disks\\base.vhd");
    fs::write(&path, &bytes).unwrap();
    let image = holds(&path, &mixture(&base, &top, uneven), "vhd");
    assert_eq!(image.files().len(), 2);
    fs::rename(at.join("base.vhd"), at.join("away.vhd")).unwrap();
    let missing = evidex(&["info", &text(&path)]).expect(2);
    assert!(missing.err.contains("base.vhd") && missing.err.contains("missing"), "{}", missing.err);
    qemu(at, &base, "vpc", "base.vhd", "subformat=fixed", false);
    let other = evidex(&["info", &text(&path)]).expect(2);
    assert!(other.err.contains("is another disk"), "{}", other.err);
}

/// Makes a differencing disk out of a dynamic one with blocks of 1 MiB, as [MS-VHDX] has it.
fn vhdx_child(bytes: &mut Vec<u8>, linkage: &str, parent: &str) {
    let le = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let entry = |n: usize| (192 << 10) + 16 + 32 * n;
    let is_table = |n: &usize| bytes[entry(*n)..][..4] == [0x66, 0x77, 0xc2, 0x2d];
    let table = (0..2).find(is_table).unwrap();
    let (table, metadata) = (le(bytes, entry(table) + 16), le(bytes, entry(1 - table) + 16));
    let parameters = (0..8).map(|n| metadata + 32 + 32 * n).find(|at| bytes[*at..][..4] == [0x37, 0x67, 0xa1, 0xca]);
    let offset = u32::from_le_bytes(bytes[parameters.unwrap() + 16..][..4].try_into().unwrap()) as usize;
    bytes[metadata + offset + 4] |= 2;
    // The parent locator, behind all other items.
    let count = bytes[metadata + 10] as usize;
    bytes[metadata + 10] += 1;
    let (item, at) = (metadata + 32 + 32 * count, 512 << 10);
    let id = [0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c];
    put(bytes, item, &id);
    put(bytes, item + 16, &(at as u32).to_le_bytes());
    put(bytes, item + 20, &4096u32.to_le_bytes());
    let kind = [0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a, 0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13];
    put(bytes, metadata + at, &kind);
    put(bytes, metadata + at + 18, &2u16.to_le_bytes());
    let mut text_at = 100;
    for (n, (key, value)) in [("parent_linkage", linkage), ("relative_path", parent)].into_iter().enumerate() {
        let pair = [key, value].map(|t| t.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
        for (which, text) in pair.iter().enumerate() {
            put(bytes, metadata + at + text_at, text);
            put(bytes, metadata + at + 20 + 12 * n + 4 * which, &(text_at as u32).to_le_bytes());
            put(bytes, metadata + at + 20 + 12 * n + 8 + 2 * which, &(text.len() as u16).to_le_bytes());
            text_at += text.len();
        }
    }
    // One block of the bitmap, at the end of the file, and its entry behind those of 4,096 blocks.
    bytes.resize(bytes.len().next_multiple_of(1 << 20), 0);
    let bitmap = bytes.len();
    bytes.resize(bitmap + (1 << 20), 0);
    (0..8 << 20 >> 3).filter(|n| uneven(*n)).for_each(|n| bytes[bitmap + n / 8] |= 1 << (n % 8));
    put(bytes, table + 8 * 4096, &(bitmap as u64 | 6).to_le_bytes());
    for n in (0..4096).map(|n| table + 8 * n) {
        if bytes[n] & 7 == 6 {
            bytes[n] |= 7;
        } else {
            bytes[n] &= !7;
        }
    }
}

#[test]
fn a_differencing_vhdx_shows_the_disk_below() {
    let dir = scratch();
    let (at, base, top) = (dir.path(), disk(14, 7 << 20), disk(15, 7 << 20));
    let parent = qemu(at, &base, "vhdx", "base.vhdx", "block_size=2M", false);
    let path = qemu(at, &top, "vhdx", "top.vhdx", "block_size=1M", false);
    let head = fs::read(&parent).unwrap();
    let newest = [64 << 10, 128 << 10].into_iter().max_by_key(|at| head[at + 8]).unwrap();
    let linkage = evidex::bytes::guid(head[newest + 32..newest + 48].try_into().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    vhdx_child(&mut bytes, &format!("{{{linkage}}}"), ".\\base.vhdx");
    fs::write(&path, &bytes).unwrap();
    holds(&path, &mixture(&base, &top, uneven), "vhdx");
    // Whoever writes to the disk below makes the one above it worthless.
    qemu_io(at, "base.vhdx", &["write -P 1 0 4k"]);
    let written = evidex(&["info", &text(&path)]).expect(2);
    assert!(written.err.contains("no longer, the disk on which"), "{}", written.err);
}

/// What of the corpus is in a container: its name, and the registered name of its format.
const KNOWN: &[(&str, &str)] = &[
    ("dfvfs/ext2.E01", "ewf"),
    ("dfvfs/ext2.qcow2", "qcow2"),
    ("dfvfs/ext2.vhd", "vhd"),
    ("dfvfs/ext2.vhdx", "vhdx"),
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
