//! Deleted files whose fragments were placed by inference: what has checksums of its own is confirmed by them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/fat.rs"]
mod fat;

use common::{Dice, evidex};
use evidex::hash::{Algorithm, Hasher};
use fat::{Allocator, FatVolume};
use std::collections::BTreeMap;
use std::io::Write;

const CLUSTER: usize = 2048;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    (0..len).map(|_| dice.next() as u8).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

fn zip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in ["one.bin", "two.bin"] {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind.as_slice(), data].concat();
    [&(data.len() as u32).to_be_bytes()[..], &body, &crc32fast::hash(&body).to_be_bytes()].concat()
}

/// A grey picture of 100 columns, its data in chunks of as many bytes as with their frames fill a cluster.
fn png(seed: u64) -> Vec<u8> {
    let pixels: Vec<u8> = noise(seed, 12_000).chunks(100).flat_map(|row| [&[0], row].concat()).collect();
    let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(&pixels).unwrap();
    let head = chunk(b"IHDR", &[0, 0, 0, 100, 0, 0, 0, 120, 8, 0, 0, 0, 0]);
    // Of 8 bytes of signature, 25 of the head and 12 of its own frame a comment makes the first cluster full.
    let comment = chunk(b"tEXt", &vec![b'x'; CLUSTER - 8 - 25 - 12]);
    let data = writer.finish().unwrap();
    let data: Vec<u8> = data.chunks(CLUSTER - 12).flat_map(|piece| chunk(b"IDAT", piece)).collect();
    [b"\x89PNG\r\n\x1a\n".to_vec(), head, comment, data, chunk(b"IEND", b"")].concat()
}

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(&[Algorithm::Sha256]);
    hasher.update(bytes);
    hasher.finish().sha256.unwrap()
}

#[test]
fn checksums_of_the_content_confirm_where_it_lay() {
    let files: BTreeMap<&str, Vec<u8>> = BTreeMap::from([
        ("/papers.gz", gzip(&noise(1, 30_000))),
        ("/papers.zip", zip(&noise(2, 14_000))),
        ("/papers.bin", noise(3, 29_000)),
        ("/picture.png", png(6)),
    ]);
    let mut volume = FatVolume::new(64 << 20, CLUSTER, true, Allocator::NextFree);
    volume.append("/first.txt", b"in front");
    for step in 0..files.values().map(|bytes| bytes.len().div_ceil(CLUSTER)).max().unwrap() {
        for (path, bytes) in &files {
            if let Some(piece) = bytes.chunks(CLUSTER).nth(step) {
                volume.append(path, piece);
            }
        }
    }
    volume.append("/last.txt", b"behind");
    files.keys().for_each(|path| volume.delete(path));
    let dir = tempfile::tempdir().unwrap();
    let (image, case) = (dir.path().join("stick.dd"), dir.path().join("case"));
    volume.save(&image);
    evidex(&["index".as_ref(), image.as_os_str(), "-c".as_ref(), case.as_os_str()]).expect(0);
    let listed = evidex(&["files", "--deleted", "--json", "-c", case.to_str().unwrap()]).expect(0).lines();
    let item = |path: &str| listed.iter().find(|item| item["path"] == path && item["kind"] == "file").unwrap();
    for (path, bytes) in &files {
        let item = item(path);
        assert_eq!(item["sha256"], sha256(bytes), "{path} is put together");
        let sealed = !path.ends_with(".bin");
        let extents = item["extents"].as_array().unwrap();
        assert!(extents.len() > 5, "{path} is in pieces: {item}");
        assert_eq!(item["recovered"], if sealed { "intact" } else { "partial" }, "{item}");
        assert_eq!(sealed, extents.iter().all(|extent| extent["certainty"] == "proven"), "{item}");
        assert_eq!(sealed, item["note"].as_str().unwrap_or_default().contains("confirm it"), "{item}");
    }
}

#[test]
fn a_mixture_is_never_confirmed() {
    use evidex::carve::confirmed;
    for (name, bytes) in [("gzip", gzip(&noise(4, 20_000))), ("zip", zip(&noise(5, 9_000))), ("png", png(7))] {
        assert_eq!(confirmed(&bytes), Some(name));
        for at in (CLUSTER..bytes.len() - CLUSTER).step_by(CLUSTER) {
            let mut mixed = bytes.clone();
            let (before, after) = mixed.split_at_mut(at);
            before[at - CLUSTER..].swap_with_slice(&mut after[..CLUSTER]);
            assert_eq!(confirmed(&mixed), None, "{name} with two clusters in each other's place, at {at}");
            mixed[at..at + 512].fill(0);
            assert_eq!(confirmed(&mixed), None);
        }
        assert_eq!(confirmed(&bytes[..bytes.len() - 1]), None, "cut short");
        assert_eq!(confirmed(&[bytes.as_slice(), b"x"].concat()), None, "with more behind it");
    }
    let (mut one, other) = (png(8), png(9));
    one[CLUSTER..2 * CLUSTER].copy_from_slice(&other[CLUSTER..2 * CLUSTER]);
    assert_eq!(confirmed(&one), None, "a whole chunk of another picture");
    assert_eq!(confirmed(b"no header"), None);
}
