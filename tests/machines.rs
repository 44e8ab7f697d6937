//! Disks of virtual machines, read and compared byte by byte with what QEMU packed into them and reads from them, and
//! damaged. What no program of Debian's writes is built here as its specification has it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::container::{Promise, damaged, differences, disk, holds, opened, tool, whole, write};
use common::{evidex, scratch, text};
use evidex::extent::ExtentSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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

#[test]
fn vmdk_of_every_kind_holds_the_disk() {
    let dir = scratch();
    let disk = disk(16, (5 << 20) + 3 * 512);
    for (options, packed) in [
        ("subformat=monolithicSparse", false),
        ("subformat=monolithicSparse,zeroed_grain=on", false),
        ("subformat=monolithicFlat", false),
        ("subformat=twoGbMaxExtentSparse", false),
        ("subformat=twoGbMaxExtentFlat", false),
        ("subformat=streamOptimized", true),
    ] {
        let path = qemu(dir.path(), &disk, "vmdk", "disk.vmdk", options, packed);
        let image = holds(&path, &disk, "vmdk");
        assert!(options.contains(image.about().facts[0].1.split(", ").nth(1).unwrap()), "{:?}", image.about());
        if options.contains("monolithicS") || packed {
            let promise = if packed { Promise::Told } else { Promise::Survives };
            damaged(&path, &disk, 60, promise);
        }
        if options.contains("twoGbMaxExtentSparse") {
            let part = evidex(&["info", &text(&dir.path().join("disk-s001.vmdk"))]).expect(2);
            assert!(part.err.contains("is one extent of the disk"), "{}", part.err);
            fs::remove_file(dir.path().join("disk-s001.vmdk")).unwrap();
            let missing = evidex(&["info", &text(&path)]).expect(2);
            assert!(missing.err.contains("disk-s001.vmdk is missing"), "{}", missing.err);
        }
    }
}

#[test]
fn a_stream_without_its_end_is_read_by_its_marks() {
    let dir = scratch();
    let disk = disk(17, 4 << 20);
    let path = qemu(dir.path(), &disk, "vmdk", "disk.vmdk", "subformat=streamOptimized", true);
    let bytes = fs::read(&path).unwrap();
    // As VMware writes it: the directory is named by a copy of the header at the end.
    let mut at_end = bytes.clone();
    put(&mut at_end, 48, &[0; 8]);
    put(&mut at_end, 56, &[0xff; 8]);
    at_end.resize(at_end.len().next_multiple_of(512) + 512, 0);
    let cut = at_end.len();
    at_end.extend_from_slice(&bytes[..512]);
    at_end.resize(cut + 1024, 0);
    fs::write(&path, &at_end).unwrap();
    holds(&path, &disk, "vmdk");
    fs::write(&path, &at_end[..cut]).unwrap();
    let image = opened(&path);
    let read = whole(image.as_ref());
    let unreadable = ExtentSet::new(image.unreadable());
    assert!(image.about().faults.iter().any(|f| f.contains("by their marks")), "{:?}", image.about());
    assert_eq!(differences(&read, &disk).subtract(&unreadable).as_slice(), []);
    // What is unreadable are the holes alone, which nothing tells from what is lost.
    assert!(unreadable.as_slice().iter().all(|e| disk[e.start as usize..e.end() as usize].iter().all(|b| *b == 0)));
}

#[test]
fn a_damaged_directory_of_grains_is_read_from_its_copy() {
    let dir = scratch();
    let disk = disk(18, 3 << 20);
    let path = qemu(dir.path(), &disk, "vmdk", "disk.vmdk", "subformat=monolithicSparse", false);
    let mut bytes = fs::read(&path).unwrap();
    // QEMU sets the flag that the copy is to be used.
    put(&mut bytes, 48, &0x7fff_ffff_u64.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let image = opened(&path);
    assert!(whole(image.as_ref()) == disk && image.unreadable().is_empty());
    assert!(image.about().faults.iter().any(|f| f.contains("its copy is read")), "{:?}", image.about());
}

#[test]
fn a_vmdk_of_many_extents_and_snapshots_is_one_disk() {
    let dir = scratch();
    let (at, disk) = (dir.path(), disk(19, 6 << 20));
    write(at, "flat.bin", &disk);
    let grains = &disk[1 << 20..(3 << 20) + 512 * 5];
    qemu(at, grains, "vmdk", "grains.vmdk", "subformat=monolithicSparse", false);
    let sectors = grains.len() / 512;
    let lines = |zeros: &str| {
        format!(
            "# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\ncreateType=\"twoGbMaxExtentSparse\"\n\
             RW 100 FLAT \"flat.bin\" 7\n{zeros}RW {sectors} SPARSE \"grains.vmdk\"\nRW 555 FLAT \"flat.bin\" 0\n"
        )
    };
    let (first, last) = (&disk[7 * 512..107 * 512], &disk[..555 * 512]);
    let base = write(at, "base.vmdk", lines("").as_bytes());
    let truth = [first, grains, last].concat();
    assert!(as_qemu_reads(at, "base.vmdk") == truth, "qemu-img reads it so, too");
    holds(&base, &truth, "vmdk");
    // QEMU leaves extents of zeros out; the specification has them.
    write(at, "base.vmdk", lines("RW 33 ZERO\n").as_bytes());
    holds(&base, &[first, &[0; 33 * 512], grains, last].concat(), "vmdk");
    qemu(at, &disk, "vmdk", "first.vmdk", "subformat=monolithicSparse", false);
    let create = ["create", "-q", "-f", "vmdk", "-F", "vmdk", "-b"];
    tool(at, "qemu-img", &[&create[..], &["first.vmdk", "second.vmdk"]].concat());
    qemu_io(at, "second.vmdk", &WRITES[..2]);
    tool(at, "qemu-img", &[&create[..], &["second.vmdk", "-o", "zeroed_grain=on", "third.vmdk"]].concat());
    qemu_io(at, "third.vmdk", &WRITES[2..4]);
    let image = holds(&at.join("third.vmdk"), &as_qemu_reads(at, "third.vmdk"), "vmdk");
    assert_eq!(image.files().len(), 3);
    // The content id of the disk below changes when somebody writes to it.
    qemu_io(at, "first.vmdk", &["write -P 1 0 4k"]);
    let written = evidex(&["info", &text(&at.join("third.vmdk"))]).expect(2);
    assert!(written.err.contains("no longer, the disk on which"), "{}", written.err);
}

/// A sparse extent of ESX with a hole wherever 32 sectors are zeros: no program of Debian's writes one.
fn cowd(disk: &[u8]) -> Vec<u8> {
    const GRAIN: usize = 32 * 512;
    let grains = disk.len().div_ceil(GRAIN);
    let tables = grains.div_ceil(4096);
    let mut bytes = vec![0u8; 4 * 512 + tables.div_ceil(128) * 512 + tables * 4096 * 4];
    put(&mut bytes, 0, b"COWD\x01\0\0\0\x03\0\0\0");
    for (at, value) in [(12, disk.len() / 512), (16, 32), (20, 4), (24, tables)] {
        put(&mut bytes, at, &(value as u32).to_le_bytes());
    }
    let first = 4 + tables.div_ceil(128);
    for n in 0..tables {
        put(&mut bytes, 4 * 512 + 4 * n, &((first + n * 32) as u32).to_le_bytes());
    }
    for (n, grain) in disk.chunks(GRAIN).enumerate().filter(|(_, grain)| grain.iter().any(|b| *b != 0)) {
        let sector = (bytes.len() / 512) as u32;
        put(&mut bytes, first * 512 + 4 * n, &sector.to_le_bytes());
        bytes.extend_from_slice(grain);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes
}

#[test]
fn an_extent_of_esx_is_read_alone_and_as_a_snapshot() {
    let dir = scratch();
    let (at, base, mut top) = (dir.path(), disk(20, 70 << 20), vec![0; 70 << 20]);
    write(at, "disk-flat.vmdk", &base);
    let sectors = base.len() / 512;
    let of = |cid: &str, parent: &str, extent: &str| {
        let head = "# Disk DescriptorFile\nversion=1";
        format!(
            "{head}\nCID=0000000{cid}\nparentCID={parent}\ncreateType=\"vmfsSparse\"\n\n# Extent description\nRW {sectors} {extent}\n"
        )
    };
    write(at, "disk.vmdk", of("a", "ffffffff", "VMFS \"disk-flat.vmdk\"").as_bytes());
    put(&mut top, 32 * 512 * 5, &[7; 32 * 512]);
    put(&mut top, 69 << 20, &[9; 32 * 512 * 2]);
    write(at, "snap-delta.vmdk", &cowd(&top));
    let alone = opened(&at.join("snap-delta.vmdk"));
    assert!(whole(alone.as_ref()) == top && alone.about().remarks.len() == 1);
    let text = of("b", "0000000a\nparentFileNameHint=\"disk.vmdk\"", "VMFSSPARSE \"snap-delta.vmdk\"");
    let snap = write(at, "snap.vmdk", text.as_bytes());
    let mut truth = base;
    put(&mut truth, 32 * 512 * 5, &[7; 32 * 512]);
    put(&mut truth, 69 << 20, &[9; 32 * 512 * 2]);
    assert!(as_qemu_reads(at, "snap.vmdk") == truth, "qemu-img reads it so, too");
    holds(&snap, &truth, "vmdk");
}

#[test]
fn vdi_of_every_kind_holds_the_disk() {
    let dir = scratch();
    let (at, base, top) = (dir.path(), disk(21, (6 << 20) + 512), disk(22, (6 << 20) + 512));
    for options in ["", "static=on"] {
        let path = qemu(at, &base, "vdi", "base.vdi", options, false);
        holds(&path, &base, "vdi");
        damaged(&path, &base, 40, Promise::Survives);
    }
    // A differencing one out of a dynamic one, every second block of which is that of the disk below.
    let id = fs::read(at.join("base.vdi")).unwrap()[392..424].to_vec();
    let path = qemu(at, &top, "vdi", "top.vdi", "", false);
    let mut bytes = fs::read(&path).unwrap();
    put(&mut bytes, 76, &4u32.to_le_bytes());
    put(&mut bytes, 424, &id[..16]);
    put(&mut bytes, 440, &id[16..]);
    let table = u32::from_le_bytes(bytes[340..344].try_into().unwrap()) as usize;
    (0..7).step_by(2).for_each(|n| put(&mut bytes, table + 4 * n, &[0xff; 4]));
    fs::write(&path, &bytes).unwrap();
    holds(&path, &mixture(&base, &top, |sector| sector / 2048 % 2 == 1), "vdi");
    qemu(at, &base, "vdi", "base.vdi", "", false);
    let missing = evidex(&["info", &text(&path)]).expect(2);
    assert!(missing.err.contains("its parent, the disk") && missing.err.contains("missing"), "{}", missing.err);
}
