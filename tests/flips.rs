//! Real volumes with bits flipped and ends cut off: every file system lists and reads what is left, without a panic, and
//! comes to an end. `EVIDEX_FLIPS` is how many damaged copies are made of each image (the default keeps the run short).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::container::{Promise, damaged, write};
use common::{corpus, scratch, unpacked};
use evidex::content::Content;
use evidex::extent::Extent;
use evidex::fs::{claims, entries};
use evidex::image::{View, open};
use evidex::volume::divide;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Images of the corpus, and of `fixtures`.
const IMAGES: &[&str] = &[
    "dftt/6-fat-undel.dd",
    "dftt/7-ntfs-undel.dd",
    "dfvfs/hfsplus.raw",
    "dfvfs/apfs.raw",
    "dissect/dissect-apfs-case_sensitive.bin",
    "dissect/dissect-btrfs-default.bin",
    "dissect/dissect-exfat.bin",
    "dissect/dissect-ext4.bin",
    "dissect/dissect-ntfs.bin",
    "dissect/dissect-xfs.bin",
    "dissect/gzip.sqfs",
    "dfvfs/ufs1.raw",
    "dfvfs/xfs.raw",
    "fs-ident/xfs-v5.img",
    "dfvfs/iso9660.raw",
    "dftt/14-iso-dirtree1.iso",
    "fs-ident/iso-multi-0-174-348-genisoimage.img",
    "fixtures/f2fs/deleted",
    "fixtures/f2fs/packed-lzo-rle",
    "fs-ident/udf-hdd-macosx-2.60-4096.img",
    "fs-ident/udf-hdd-mkudffs-1.0.0-2.img",
    "fs-ident/udf-multi-0-417-834-genisoimage.img",
    "fs-ident/udf.img",
    "forensics-samples/fs.ntfs",
    "forensics-samples/fs.vfat",
    "fs-ident/btrfs.img",
    "fs-ident/ext3.img",
    "misc/goext4-hierarchy_32.ext4",
    "misc/gofat-fat12.dd",
    "misc/ntfs-crate-testfs1",
    "misc/opf-hfs-hello.img",
    "msuhanov/exfat_win.raw",
    "msuhanov/fat16.raw",
    "msuhanov/fat_deleted_dir.raw",
    "msuhanov/ntfs-ptrn.raw",
    "plaso/ext4_with_binaries.dd",
    "adversarial-ext/f_jnl_32bit.img",
    "adversarial-ext/f_h_normal.img",
];

/// Containers, where they lie, the disk that is in each, what they are called, and what damage to them may do.
const CONTAINERS: &[(&str, &str, &str, Promise)] = &[
    ("fixtures/aff4/snappy.aff4.zst", "fixtures/aff4/disk.dd.zst", "d.aff4", Promise::Told),
    ("fixtures/aff4/lz4.aff4.zst", "fixtures/aff4/disk.dd.zst", "l.aff4", Promise::Told),
    ("fixtures/aff4/zlib.aff4.zst", "fixtures/aff4/disk.dd.zst", "z.aff4", Promise::Told),
    ("fixtures/aff4/stored.aff4.zst", "fixtures/aff4/disk.dd.zst", "s.aff4", Promise::Told),
    ("fixtures/ewf2/stored.Ex01.zst", "fixtures/ewf2/disk.dd.zst", "d.Ex01", Promise::Told),
    ("tests/fuzz/bases/in_ewf.zst", "tests/fuzz/bases/in_disk.zst", "d.E01", Promise::Told),
    ("tests/fuzz/bases/in_zst.zst", "tests/fuzz/bases/in_disk.zst", "d.dd.zst", Promise::Told),
    ("tests/fuzz/bases/in_one.zst", "tests/fuzz/bases/in_disk.zst", "o.dd.zst", Promise::Told),
    ("tests/fuzz/bases/in_gz.zst", "tests/fuzz/bases/in_disk.zst", "d.dd.gz", Promise::Survives),
    ("tests/fuzz/bases/in_qcow2.zst", "tests/fuzz/bases/in_disk.zst", "d.qcow2", Promise::Survives),
    ("tests/fuzz/bases/in_vhdx.zst", "tests/fuzz/bases/in_disk.zst", "d.vhdx", Promise::Survives),
    ("tests/fuzz/bases/in_vhd.zst", "tests/fuzz/bases/in_disk.zst", "d.vhd", Promise::Survives),
    ("tests/fuzz/bases/in_vmdk.zst", "tests/fuzz/bases/in_disk.zst", "d.vmdk", Promise::Survives),
    ("tests/fuzz/bases/in_stream.zst", "tests/fuzz/bases/in_disk.zst", "s.vmdk", Promise::Survives),
    ("tests/fuzz/bases/in_vdi.zst", "tests/fuzz/bases/in_disk.zst", "d.vdi", Promise::Survives),
    ("tests/fuzz/bases/in_aff.zst", "tests/fuzz/bases/in_disk.zst", "d.aff", Promise::Survives),
    ("tests/fuzz/bases/in_dmg.zst", "tests/fuzz/bases/in_disk.zst", "d.dmg", Promise::Survives),
];

/// How many damaged copies are asked for.
fn rounds() -> Option<u64> {
    std::env::var("EVIDEX_FLIPS").ok().and_then(|n| n.parse().ok())
}

/// A number that looks random and is the same on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}

/// The blocks of 512 bytes that are no zeros: damage to the others shows little.
fn written(file: &File) -> Vec<u64> {
    let size = file.metadata().expect("the file is there").len();
    let mut block = [0; 1 << 16];
    let mut found = Vec::new();
    for at in (0..size).step_by(1 << 16) {
        let n = file.read_at(&mut block, at).expect("the file is read");
        let sectors = block[..n].chunks(512).enumerate().filter(|(_, b)| b.iter().any(|b| *b != 0));
        found.extend(sectors.map(|(i, _)| at + i as u64 * 512));
    }
    found
}

/// Lists everything, and reads the first 64 KiB of it.
fn read_all(view: View<'_>) -> usize {
    let mut count = 0;
    for volume in divide(view).volumes {
        let view = view.sub(volume.extent);
        for (row, _) in claims(view) {
            let Ok(fs) = (row.open)(view) else { continue };
            let (listed, _) = entries(fs.as_ref());
            count += listed.len();
            for entry in &listed {
                let _ = Content::new(view, &entry.stream).slice(0, 1 << 16).parts().count();
            }
            assert!(fs.unallocated().flatten().all(|e| e.end() <= view.size()), "free space ends behind the volume");
        }
    }
    count
}

#[test]
fn flipped_bits_and_cut_ends_are_survived() {
    let Some(folder) = corpus("images") else { return };
    let rounds = rounds().unwrap_or(12);
    for name in IMAGES {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let file = match name.strip_prefix("fixtures/") {
            Some(name) => unpacked(&own, name),
            None => unpacked(&folder, name),
        };
        let places = written(file.as_file());
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let (mut least, mut most) = (usize::MAX, 0);
        for round in 0..rounds {
            let flips: Vec<(u64, u8)> = (0..=dice.below(24))
                .map(|_| {
                    let at = places[dice.below(places.len() as u64) as usize] + dice.below(512);
                    let mut old = [0];
                    file.as_file().read_exact_at(&mut old, at).unwrap_or_default();
                    (at, old[0])
                })
                .collect();
            for (at, old) in &flips {
                file.as_file().write_all_at(&[old ^ (1 << dice.below(8))], *at).expect("a bit is flipped");
            }
            let image = open(file.path()).expect("the image opens");
            let whole = View::whole(image.as_ref());
            // Every fourth is cut off, too.
            let end = if round % 4 == 3 { dice.below(whole.size()) } else { whole.size() };
            let count = read_all(whole.sub(Extent::new(0, end)));
            (least, most) = (least.min(count), most.max(count));
            for (at, old) in flips.iter().rev() {
                file.as_file().write_all_at(&[*old], *at).expect("it is flipped back");
            }
        }
        println!("{name:36} {rounds} damaged copies: {least} to {most} entries");
    }
}

#[test]
fn flipped_containers_are_survived_and_tell_what_their_checksums_cover() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let bytes = |name: &str| zstd::decode_all(File::open(root.join(name)).unwrap()).unwrap();
    let dir = scratch();
    for (container, disk, name, promise) in CONTAINERS {
        let (path, disk) = (write(dir.path(), name, &bytes(container)), bytes(disk));
        damaged(&path, &disk, rounds().unwrap_or(48), *promise);
        // Several bits at once, near the front, where most headers are, or anywhere.
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let size = file.metadata().unwrap().len();
        let mut dice = Dice(0x2545_f491_4f6c_dd1d);
        for _ in 0..rounds().unwrap_or(12) {
            let places: Vec<(u64, u8)> = (0..=dice.below(12))
                .map(|_| {
                    let most = [size, size.min(512), size.min(4096)][dice.below(3) as usize];
                    let at = dice.below(most);
                    let mut old = [0];
                    file.read_exact_at(&mut old, at).unwrap();
                    (at, old[0])
                })
                .collect();
            for (at, old) in &places {
                file.write_all_at(&[old ^ (1 << dice.below(8))], *at).unwrap();
            }
            if let Ok(image) = open(&path) {
                let mut at = 0;
                while at < image.size().min(16 << 20) {
                    at += image.part(Extent::new(at, image.size() - at)).unwrap().len().max(1) as u64;
                }
            }
            for (at, old) in places.iter().rev() {
                file.write_all_at(&[*old], *at).unwrap();
            }
        }
    }
}
