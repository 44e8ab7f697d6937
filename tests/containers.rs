//! Containers of evidence, read and compared byte by byte with the disk that other programs packed into them, and damaged:
//! what differs from the disk then has to be reported. `tests/run` installs the programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::container::{Promise, damaged, disk, holds, opened, tool, whole, write};
use common::{corpus, evidex, scratch, text};
use evidex::extent::Extent;
use evidex::hash::Algorithm;
use evidex::image::{self, seal};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

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

#[test]
fn aff_of_every_packing_holds_its_disk() {
    let dir = scratch();
    let disk = disk(23, 5_300_224);
    write(dir.path(), "disk.raw", &disk);
    let packings: [&[&str]; 5] = [&[], &["-x"], &["-L"], &["-s64k"], &["-s64k", "-L"]];
    for (number, options) in packings.iter().enumerate() {
        let name = format!("d{number}.aff");
        let output = format!("-o{name}");
        tool(dir.path(), "affconvert", &[*options, &["-q", &output, "disk.raw"]].concat());
        let image = holds(&dir.path().join(&name), &disk, "aff");
        assert_eq!(image.about().hashes.len(), 2, "{options:?}: it carries MD5 and SHA-1");
    }
    // Stored pages have no checksum: a changed byte shows in the hashes that the image carries.
    damaged(&dir.path().join("d3.aff"), &disk, 120, Promise::Survives);
}

#[test]
fn gzip_is_read_through_its_index() {
    let dir = scratch();
    let disk = disk(29, 9_000_448);
    for level in ["-1", "-9"] {
        write(dir.path(), "disk.dd", &disk);
        tool(dir.path(), "gzip", &["-f", level, "disk.dd"]);
        let image = holds(&dir.path().join("disk.dd.gz"), &disk, "gzip raw");
        assert!(image.about().remarks.is_empty(), "{:?}", image.about().remarks);
    }
    // Two members, one behind the other, and zeros behind them.
    let (first, second) = disk.split_at(3_000_001);
    write(dir.path(), "a.raw", first);
    write(dir.path(), "b.raw", second);
    tool(dir.path(), "gzip", &["-f", "a.raw", "b.raw"]);
    let both =
        [fs::read(dir.path().join("a.raw.gz")).unwrap(), fs::read(dir.path().join("b.raw.gz")).unwrap(), vec![0; 512]];
    let path = write(dir.path(), "both.raw.gz", &both.concat());
    holds(&path, &disk, "gzip raw");
    damaged(&path, &disk, 80, Promise::Survives);
    // A member has one checksum at its end: that something is wrong is told, not where.
    for at in [100_000, 700_000, 1_500_000] {
        common::flip(&path, at);
        let faults = opened(&path).about().faults.len();
        assert!(faults > 0, "byte {at} was changed in silence");
        common::flip(&path, at);
    }
}

/// What of the corpus is in a container: its name, and the registered name of its format.
const KNOWN: &[(&str, &str)] = &[
    ("dfvfs/ext2.E01", "ewf"),
    ("dfvfs/ext2.qcow2", "qcow2"),
    ("dfvfs/ext2.vhd", "vhd"),
    ("dfvfs/ext2.vhdx", "vhdx"),
    ("dfvfs/ext2.vmdk", "vmdk"),
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

/// The table of the seekable format behind frames of these lengths, packed and unpacked, with or without checksums.
fn seek_table(frames: &[(usize, &[u8])], summed: bool) -> Vec<u8> {
    let mut rows = Vec::new();
    for (len, bytes) in frames {
        rows.extend_from_slice(&(*len as u32).to_le_bytes());
        rows.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        if summed {
            rows.extend_from_slice(&(twox_hash::XxHash64::oneshot(0, bytes) as u32).to_le_bytes());
        }
    }
    let len = rows.len() as u32 + 9;
    let foot = [&(frames.len() as u32).to_le_bytes()[..], &[u8::from(summed) << 7], &0x8f92_eab1u32.to_le_bytes()];
    [&0x184d_2a5eu32.to_le_bytes()[..], &len.to_le_bytes(), &rows, &foot.concat()].concat()
}

#[test]
fn zstandard_of_many_frames_is_read_through_its_index() {
    let dir = scratch();
    let disk = disk(31, 5_000_704);
    let path = dir.path().join("disk.dd.zst");
    for level in ["-6", "-1"] {
        write(dir.path(), "disk.dd", &disk);
        tool(dir.path(), "pzstd", &["-q", "-f", level, "-p", "3", "disk.dd"]);
        holds(&path, &disk, "zstd raw");
    }
    damaged(&path, &disk, 40, Promise::Told);
    // Frames of the library, with and without length and checksum, alone and under a table.
    for (number, (sized, summed, table)) in [
        (true, true, None),
        (true, false, Some(true)),
        (false, true, Some(false)),
        (true, true, Some(true)),
        (false, true, None),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut file, mut frames) = (Vec::new(), Vec::new());
        for part in disk.chunks(300_000) {
            let mut packer = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
            packer.include_checksum(summed).unwrap();
            packer.include_contentsize(sized).unwrap();
            packer.set_pledged_src_size(sized.then_some(part.len() as u64)).unwrap();
            std::io::Write::write_all(&mut packer, part).unwrap();
            let packed = packer.finish().unwrap();
            frames.push((packed.len(), part));
            file.extend_from_slice(&packed);
        }
        let table = table.map(|summed| seek_table(&frames, summed)).unwrap_or_default();
        let path = write(dir.path(), &format!("{number}.raw.zst"), &[file, table].concat());
        holds(&path, &disk, "zstd raw");
        damaged(&path, &disk, 40, if summed { Promise::Told } else { Promise::Survives });
    }
    // Zstandard that is called something else is a file like any other.
    fs::copy(&path, dir.path().join("disk.zst")).unwrap();
    let other = opened(&dir.path().join("disk.zst"));
    assert_eq!((other.format(), other.about().faults.len()), ("raw", 1));
}

#[test]
fn zstandard_of_one_frame_is_read_from_within() {
    let dir = scratch();
    let disk = disk(32, 66 << 20);
    let path = dir.path().join("disk.dd.zst");
    write(dir.path(), "disk.dd", &disk);
    // With all that `zstd` says of a file; without its size and checksum, and with a window that is larger than a part.
    for args in ["zstd -q -f disk.dd", "zstd -q -1 -T2 --no-check --long=27 <disk.dd >disk.dd.zst"] {
        tool(dir.path(), "sh", &["-c", args]);
        holds(&path, &disk, "zstd raw");
    }
    // Cut off, it is read up to there, and nothing of it counts as sure.
    let len = fs::metadata(&path).unwrap().len();
    File::options().write(true).open(&path).unwrap().set_len(len / 2).unwrap();
    let image = opened(&path);
    let there = image.size() as usize;
    assert!(there > 16 << 20 && there < disk.len(), "{there}");
    assert!(whole(image.as_ref()) == disk[..there], "what is there is what it was");
    assert_eq!(image.unreadable(), [Extent::new(0, there as u64)]);
    assert!(image.about().faults.iter().any(|fault| fault.contains("taken to end")), "{:?}", image.about().faults);
    // Small frames in small parts, once they are damaged.
    let small = &disk[..3 << 20];
    write(dir.path(), "small.dd", small);
    for args in [&["-3", "--zstd=wlog=14"][..], &["-19", "--zstd=wlog=17"]] {
        tool(dir.path(), "zstd", &[&["-q", "-f", "small.dd"], args].concat());
        let path = dir.path().join("small.dd.zst");
        holds(&path, small, "zstd raw");
        damaged(&path, small, 60, Promise::Told);
    }
    // What is not in the file, or is too much to keep, is refused.
    fs::write(dir.path().join("words"), &disk[..100_000]).unwrap();
    tool(dir.path(), "zstd", &["-q", "-f", "-D", "words", "small.dd"]);
    assert_eq!(opened(&dir.path().join("small.dd.zst")).about().faults.len(), 1, "content without its dictionary");
    tool(dir.path(), "sh", &["-c", "zstd -q --ultra -1 --long=30 <disk.dd >disk.dd.zst"]);
    let refused = evidex(&["info", &text(&path)]).expect(2);
    assert!(refused.err.contains("512 MiB") && refused.err.contains("zstd -d"), "{}", refused.err);
}
