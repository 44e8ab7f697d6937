//! AFF4: volumes that pyaff4 wrote, and volumes built as the Standard has them, of every kind of stretch, vocabulary and index; damaged
//! ones, where whatever differs from the disk has to be reported.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::aff4::{BEFORE, Index, STANDARD, Volume};
use common::container::{Promise, damaged, disk, holds, opened, whole, write};
use common::{evidex, scratch, text};
use evidex::extent::Extent;
use evidex::hash::Algorithm;
use evidex::image::{self, seal};
use sha2::Digest;
use std::fs::{self, File};
use std::path::Path;

const IMAGE: &str = "<aff4://image> a aff4:DiskImage, aff4:ContiguousImage, aff4:Image ; aff4:dataStream <aff4://map>";

/// A volume of one stream and a map of all of it.
fn plain(data: &[u8], namespace: &str, method: &str, shape: (usize, usize), index: Index, deflated: bool) -> Volume {
    let mut volume = Volume::new(7, namespace);
    volume.stream("aff4://stream", data, method, shape, index, deflated);
    let size = format!(" ; aff4:size {}", data.len());
    volume.map("aff4://map", &[(0, data.len() as u64, 0, 0)], &["aff4://stream"], &size);
    volume
}

#[test]
fn volumes_of_pyaff4_hold_their_disk() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/aff4");
    let unpacked = |name: &str| zstd::decode_all(File::open(folder.join(format!("{name}.zst"))).unwrap()).unwrap();
    let disk = unpacked("disk.dd");
    let dir = scratch();
    for name in ["snappy.aff4", "zlib.aff4", "lz4.aff4", "stored.aff4"] {
        let path = write(dir.path(), name, &unpacked(name));
        holds(&path, &disk, "aff4");
        damaged(&path, &disk, 120, Promise::Told);
    }
}

#[test]
fn streams_of_every_vocabulary_and_index() {
    let dir = scratch();
    let data = disk(41, 1_000_003);
    for (number, (namespace, method, shape, index, deflated)) in [
        (STANDARD, "deflate", (4096, 16), Index::Standard, false),
        (STANDARD, "deflate", (32768, 7), Index::Standard, true),
        (STANDARD, "stored", (512, 100), Index::Standard, false),
        (STANDARD, "stored", (4096, 16), Index::Begins, true),
        (STANDARD, "zlib", (4096, 16), Index::Begins, false),
        (BEFORE, "zlib", (4096, 16), Index::Ends, false),
        (BEFORE, "stored", (1 << 20, 1), Index::Ends, false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut volume = plain(&data, namespace, method, shape, index, deflated);
        volume.say(&format!("{IMAGE} ."));
        let path = volume.zip(dir.path(), &format!("{number}.aff4"));
        let image = holds(&path, &data, "aff4");
        assert!(format!("{:?}", image.about().facts).contains("a test"));
        damaged(&path, &data, 60, Promise::Told);
    }
    // Before the Standard, and with Rekall, the map itself is the image; some say nothing of one.
    for (namespace, class) in [(BEFORE, "Image, aff4:map"), (STANDARD, "Image, aff4:Map"), (STANDARD, "Map")] {
        let index = if namespace == BEFORE { Index::Ends } else { Index::Standard };
        let mut volume = plain(&data, namespace, "zlib", (4096, 16), index, false);
        volume.turtle = volume.turtle.replace("<aff4://map> a aff4:Map", &format!("<aff4://map> a aff4:{class}"));
        holds(&volume.zip(dir.path(), "map.af4"), &data, "aff4");
    }
    let mut volume = plain(&data, STANDARD, "zlib", (4096, 16), Index::Standard, false);
    volume.say(&format!("{IMAGE} ."));
    holds(&volume.folder(dir.path(), "folder"), &data, "aff4");
}

#[test]
fn stretches_of_every_kind_and_what_was_not_read() {
    let dir = scratch();
    let data = disk(43, 300_000);
    let mut volume = Volume::new(7, STANDARD);
    volume.stream("aff4://stream", &data, "zlib", (4096, 8), Index::Standard, false);
    volume.segment("aff4://700000000/raw", &data[..9000], false);
    volume.segment("aff4://700000000/small", &data[..7000], true);
    let names = ["Zero", "SymbolicStream61", "UnknownData", "UnreadableData"].map(|name| format!("{STANDARD}{name}"));
    let targets =
        ["aff4://stream", &names[0], &names[1], &names[2], &names[3], "aff4://700000000/raw", "aff4://700000000/small"];
    let stretches = [
        (0, 10_000, 5_000, 0),
        (10_000, 3_000, 123, 1),
        (13_000, 3_001, 4, 2),
        (16_001, 999, 100_000, 0),
        (17_000, 5_000, 17_000, 3),
        (22_000, 2_000, 0, 4),
        (24_000, 4_000, 2_500, 5),
        (28_000, 4_000, 2_900, 6),
        (33_000, 200_000, 50_001, 0),
    ];
    volume.map(
        "aff4://map",
        &stretches,
        &targets,
        " ; aff4:size 240000 ; aff4:mapGapDefaultStream aff4:SymbolicStreamFF",
    );
    volume.say(&format!("{IMAGE} ; aff4:hash \"d5825dc1152a42958c8219ff11ed01a3\"^^aff4:MD5 ."));
    let path = volume.zip(dir.path(), "kinds.aff4");
    let mut disk = vec![0xff; 240_000];
    let mut put = |at: usize, bytes: &[u8]| disk[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &data[5_000..15_000]);
    put(10_000, &[0; 3_000]);
    put(13_000, &[0x61; 3_001]);
    put(16_001, &data[100_000..100_999]);
    put(17_000, &[0; 7_000]);
    put(24_000, &data[2_500..6_500]);
    put(28_000, &data[2_900..6_900]);
    put(33_000, &data[50_001..250_001]);
    let image = opened(&path);
    assert!(whole(image.as_ref()) == disk, "the stretches are put together");
    assert_eq!(image.unreadable(), [Extent::new(17_000, 7_000)], "what was not read is no content");
    let said = image.about().remarks.join("\n");
    assert!(said.contains("5000 bytes of the disk were not acquired") && said.contains("2000 bytes"), "{said}");
    assert!(image.about().hashes.is_empty() && said.contains("MD5"), "its hash covers what was not acquired: {said}");
}

#[test]
fn hashes_of_chunks_tell_which_was_changed() {
    let dir = scratch();
    let data = disk(47, 200_000);
    for (sum, len) in [("sha256", 32), ("blake2b", 64), ("md5", 16)] {
        let mut volume = plain(&data, STANDARD, "stored", (4096, 10), Index::Standard, false);
        for (number, bevy) in data.chunks(40960).enumerate() {
            let of = |chunk: &[u8]| match sum {
                "sha256" => sha2::Sha256::digest(chunk).to_vec(),
                "md5" => md5::Md5::digest(chunk).to_vec(),
                _ => blake2::Blake2b512::digest(chunk).to_vec(),
            };
            let sums: Vec<u8> = bevy.chunks(4096).flat_map(of).collect();
            assert_eq!(sums.len() % len, 0);
            let name = if sum == "md5" { sum.to_owned() } else { format!("blockHash.{sum}") };
            volume.segment(&format!("aff4://stream/{number:08}.{name}"), &sums, false);
        }
        volume.say(&format!("{IMAGE} ."));
        let path = volume.zip(dir.path(), "sums.aff4");
        holds(&path, &data, "aff4");
        let bytes = fs::read(&path).unwrap();
        let at = memchr::memmem::find(&bytes, &data[69_632..69_700]).unwrap();
        common::flip(&path, at as u64 + 5);
        let image = opened(&path);
        let read = whole(image.as_ref());
        assert_eq!(image.unreadable(), [Extent::new(69_632, 4096)], "{sum}");
        assert!(read[..69_632] == data[..69_632] && read[73_728..] == data[73_728..], "{sum}: the others are read");
        damaged(&path, &data, 40, Promise::Told);
    }
}

#[test]
fn volumes_beside_it_have_what_is_missing() {
    let dir = scratch();
    let data = disk(53, 400_000);
    let (first, second) = data.split_at(200_000);
    let mut paths = Vec::new();
    for (number, own, other) in [(1, "aff4://one", "aff4://two"), (2, "aff4://two", "aff4://one")] {
        let mut volume = Volume::new(number, STANDARD);
        let half = if number == 1 { first } else { second };
        volume.stream(own, half, "zlib", (4096, 16), Index::Standard, false);
        volume.say(&format!("<{other}> a aff4:ImageStream ; aff4:stored <aff4://{}00000000> .", 3 - number));
        let stretches = [(0, 200_000, 0, 0), (200_000, 200_000, 0, 1)];
        volume.map("aff4://map", &stretches, &["aff4://one", "aff4://two"], " ; aff4:size 400000");
        volume.say(&format!("{IMAGE} ."));
        paths.push(volume.zip(dir.path(), &format!("disk_{number}.aff4")));
    }
    for path in &paths {
        assert_eq!(holds(path, &data, "aff4").files().len(), 2);
    }
    fs::remove_file(&paths[1]).unwrap();
    let missing = evidex(&["info", &text(&paths[0])]).expect(2);
    assert!(missing.err.contains("aff4://two") && missing.err.contains("aff4://200000000"), "{}", missing.err);
}

#[test]
fn hashes_of_the_whole_are_checked() {
    let dir = scratch();
    let data = disk(59, 100_000);
    let md5 = evidex::bytes::hex(&md5::Md5::digest(&data));
    let sha1 = evidex::bytes::hex(&sha1::Sha1::digest(&data));
    let mut volume = plain(&data, STANDARD, "zlib", (4096, 16), Index::Standard, false);
    // One on the image, one on the stream, which is all of the image.
    let sha512 = evidex::bytes::hex(&sha2::Sha512::digest(&data));
    let blake2b = evidex::bytes::hex(&blake2::Blake2b512::digest(&data));
    let all = format!("\"{md5}\"^^aff4:MD5 , \"{sha512}\"^^aff4:SHA512 , \"{blake2b}\"^^aff4:blake2b");
    volume.say(&format!("{IMAGE} ; aff4:hash {all} .\n<aff4://stream> aff4:hash \"{sha1}\"^^aff4:SHA1 ."));
    let path = volume.zip(dir.path(), "right.aff4");
    assert_eq!(holds(&path, &data, "aff4").about().hashes.len(), 4);
    let hash = evidex(&["hash", &text(&path)]).expect(0).text();
    assert_eq!((hash.matches(": holds").count(), hash.matches(&blake2b).count()), (4, 2), "{hash}");
    let mut volume = plain(&data, STANDARD, "zlib", (4096, 16), Index::Standard, false);
    volume.say(&format!("{IMAGE} ; aff4:hash \"{}\"^^aff4:MD5 .", "00".repeat(15) + "01"));
    volume.say("<aff4://map> aff4:mapPointHash \"12\"^^aff4:SHA512 .");
    let image = opened(&volume.zip(dir.path(), "wrong.aff4"));
    let taken = seal::hashes(image.as_ref(), &Algorithm::ALL).unwrap();
    assert_eq!(seal::contradictions(image.as_ref(), &taken).len(), 1);
    assert!(image.about().faults[0].contains("map"), "{:?}", image.about().faults);
    assert_eq!(image.unreadable(), [Extent::new(0, 100_000)], "nothing that the map places is sure");
}

#[test]
fn what_is_not_read_is_refused_with_a_reason() {
    let dir = scratch();
    let mut logical = Volume::new(1, STANDARD);
    logical
        .say("<aff4://100000000/a.txt> a aff4:FileImage, aff4:Image ; aff4:size 3 ; aff4:originalFileName \"a.txt\" .");
    let mut encrypted = Volume::new(1, STANDARD);
    encrypted.say("<aff4://stream> a aff4:EncryptedStream ; aff4:size 3 .");
    let mut method = plain(&[1; 5000], STANDARD, "stored", (512, 4), Index::Standard, false);
    method.turtle = method.turtle.replace("aff4:NullCompressor", "<http://example.org/lzo>");
    method.say(&format!("{IMAGE} ."));
    for (volume, word) in [(logical, "AFF4-L"), (encrypted, "encrypted"), (method, "http://example.org/lzo")] {
        let path = volume.zip(dir.path(), "refused.aff4");
        let error = image::open(&path).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(word), "{word}: {error}");
    }
    // A bevy that is not there.
    let data = disk(61, 100_000);
    let mut volume = plain(&data, STANDARD, "zlib", (4096, 4), Index::Standard, false);
    volume.segments.retain(|(name, _, _)| !name.ends_with("00000002"));
    volume.say(&format!("{IMAGE} ."));
    let image = opened(&volume.zip(dir.path(), "missing.aff4"));
    assert!(image.about().faults.iter().any(|what| what.contains("1 of the 7 bevies")), "{:?}", image.about().faults);
    whole(image.as_ref());
    assert_eq!(image.unreadable(), [Extent::new(32_768, 16_384)]);
}
