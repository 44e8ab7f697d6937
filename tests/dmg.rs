//! UDIF: an image of macOS as QEMU reads it, and images of every kind of chunk, packed here by the formats' own encoders; damaged ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use base64::Engine;
use common::container::{Promise, damaged, disk, holds, tool, write};
use common::{corpus, evidex, scratch, text};
use std::io::Write;

const SECTOR: usize = 512;

/// A chunk packed as its kind says.
fn packed(kind: u32, bytes: &[u8]) -> Vec<u8> {
    match kind {
        0 | 2 => Vec::new(),
        0x8000_0004 => bytes.chunks(128).flat_map(|run| [&[0x7f + run.len() as u8], run].concat()).collect(),
        0x8000_0005 => {
            let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(6));
            out.write_all(bytes).and_then(|()| out.finish()).unwrap()
        }
        0x8000_0006 => {
            let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(6));
            out.write_all(bytes).and_then(|()| out.finish()).unwrap()
        }
        0x8000_0007 => {
            let mut out = Vec::new();
            lzfse_rust::encode_bytes(bytes, &mut out).unwrap();
            out
        }
        0x8000_0008 => {
            let options = lzma_rust2::XzOptions::with_preset(1);
            let mut out = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            out.write_all(bytes).unwrap();
            out.finish().unwrap()
        }
        _ => bytes.to_vec(),
    }
}

/// An image of `disk` in two tables, with chunks of these kinds by turns.
fn image(disk: &[u8], kinds: &[u32]) -> Vec<u8> {
    let mut file = vec![0xee; 1000];
    let fork = file.len();
    let mut list = "<plist><dict><key>resource-fork</key><dict><key>blkx</key><array>".to_owned();
    let half = disk.len() / 2 / SECTOR * SECTOR;
    let (mut turn, mut all) = (0, Vec::new());
    for (first, part) in [(0, &disk[..half]), (half, &disk[half..])] {
        let mut rows = Vec::new();
        let mut row = |kind: u32, at: usize, count: usize, place: usize, len: usize| {
            rows.extend_from_slice(&kind.to_be_bytes());
            rows.extend_from_slice(&[0; 4]);
            for field in [at, count, place, len] {
                rows.extend_from_slice(&(field as u64).to_be_bytes());
            }
        };
        for (number, chunk) in part.chunks(128 * SECTOR).enumerate() {
            let is_empty = chunk.iter().all(|byte| *byte == 0);
            let kind = if is_empty { 0 } else { kinds[turn % kinds.len()] };
            turn += 1;
            let bytes = packed(kind, chunk);
            row(kind, number * 128, chunk.len() / SECTOR, file.len() - fork, bytes.len());
            file.extend_from_slice(&bytes);
        }
        row(0x7fff_fffe, 0, 0, 0, 0);
        row(u32::MAX, part.len() / SECTOR, 0, file.len() - fork, 0);
        let mut table = vec![0; 204];
        table[..4].copy_from_slice(b"mish");
        table[4..8].copy_from_slice(&1u32.to_be_bytes());
        table[8..16].copy_from_slice(&((first / SECTOR) as u64).to_be_bytes());
        table[16..24].copy_from_slice(&((part.len() / SECTOR) as u64).to_be_bytes());
        // CRC-32, of 32 bits, over all of it: zeros of which a chunk says that they are there count, too.
        let sums = [2, 32, crc32fast::hash(part)];
        for (place, field) in (64..).step_by(4).zip(sums) {
            table[place..place + 4].copy_from_slice(&u32::to_be_bytes(field));
        }
        all.extend_from_slice(&table[72..76]);
        table[200..204].copy_from_slice(&((rows.len() / 40) as u32).to_be_bytes());
        table.extend_from_slice(&rows);
        let data = base64::engine::general_purpose::STANDARD.encode(&table);
        list += &format!("<dict><key>Data</key><data>\n\t{data}\n</data></dict>");
    }
    list += "</array></dict></dict></plist>";
    let at = file.len();
    file.extend_from_slice(list.as_bytes());
    let mut trailer = vec![0; 512];
    trailer[..4].copy_from_slice(b"koly");
    trailer[4..8].copy_from_slice(&4u32.to_be_bytes());
    trailer[8..12].copy_from_slice(&512u32.to_be_bytes());
    for (place, field) in [(24, fork), (32, at - fork), (216, at), (224, list.len()), (492, disk.len() / SECTOR)] {
        trailer[place..place + 8].copy_from_slice(&(field as u64).to_be_bytes());
    }
    trailer[60..64].copy_from_slice(&1u32.to_be_bytes());
    for (place, field) in [(352, 2), (356, 32), (360, crc32fast::hash(&all))] {
        trailer[place..place + 4].copy_from_slice(&u32::to_be_bytes(field));
    }
    file.extend_from_slice(&trailer);
    file
}

#[test]
fn every_kind_of_chunk_is_read() {
    let dir = scratch();
    let disk = disk(11, 3 << 20);
    let kinds = [1, 0x8000_0004, 0x8000_0005, 0x8000_0006, 0x8000_0007, 0x8000_0008];
    let path = write(dir.path(), "disk.dmg", &image(&disk, &kinds));
    holds(&path, &disk, "dmg");
    // What QEMU reads without its modules, it reads alike.
    let path = write(dir.path(), "plain.dmg", &image(&disk, &[1, 0x8000_0005]));
    holds(&path, &disk, "dmg");
    tool(dir.path(), "qemu-img", &["convert", "-f", "dmg", "-O", "raw", "plain.dmg", "plain.raw"]);
    assert!(std::fs::read(dir.path().join("plain.raw")).unwrap() == disk);
    damaged(&path, &disk, 120, Promise::Survives);
}

#[test]
fn what_macos_made_is_what_qemu_reads() {
    let Some(folder) = corpus("images/containers") else { return };
    let dir = scratch();
    let path = text(&folder.join("qemu-simple-dmg.dmg"));
    tool(dir.path(), "qemu-img", &["convert", "-f", "dmg", "-O", "raw", &path, "disk.raw"]);
    holds(&folder.join("qemu-simple-dmg.dmg"), &std::fs::read(dir.path().join("disk.raw")).unwrap(), "dmg");
    let told = evidex(&["hash", &path]).expect(0).text();
    assert!(told.contains("8 carried by the container for its parts: all hold"), "{told}");
}

#[test]
fn checksums_that_do_not_fit_are_told() {
    let dir = scratch();
    let disk = disk(12, 1 << 20);
    let mut bytes = image(&disk, &[1]);
    let path = text(&write(dir.path(), "sound.dmg", &bytes));
    assert!(evidex(&["hash", &path]).expect(0).text().contains("2 carried by the container for its parts: all hold"));
    // A byte of the second half, which is stored as it is.
    let at = bytes.windows(64).position(|window| window == &disk[disk.len() - 64..]).unwrap();
    bytes[at] ^= 1;
    let path = text(&write(dir.path(), "changed.dmg", &bytes));
    let told = evidex(&["hash", &path]).expect(1);
    assert!(
        told.text().contains("1 DO NOT HOLD") && told.err.contains("table 1 of its partitions: the CRC-32"),
        "{}",
        told.err
    );
    // The checksum of both checksums, at the end of the trailer.
    let sum = bytes.len() - 512 + 360;
    bytes[sum] ^= 1;
    let path = text(&write(dir.path(), "trailer.dmg", &bytes));
    let told = evidex(&["info", &path]).expect(0).text();
    assert!(told.contains("the checksum of the checksums of its tables does not fit"), "{told}");
}

#[test]
fn what_is_not_read_is_refused_with_its_reason() {
    let dir = scratch();
    let path = write(dir.path(), "locked.dmg", &[&b"encrcdsa"[..], &[0; 2000]].concat());
    let told = evidex(&["info", &text(&path)]).expect(2);
    assert!(told.err.contains("is an encrypted disk image"), "{}", told.err);
}
