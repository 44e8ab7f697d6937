//! UFS volumes that `makefs` writes: every path, kind, size, time, mode, owner, target and content against the folder that it was given, and
//! what The Sleuth Kit reads of them; deletions as the BSDs do them, done to their bytes. Without `makefs` the tests say so and pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::filled::{self, done, noise};
use common::truth::{sha256, sleuthkit};
use evidex::content::Content;
use evidex::fs::{Entry, EntryKind, Recovered, entries};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is made: a name, the file system's, and options of `makefs`.
const KINDS: &[(&str, &str, &[&str])] = &[
    ("UFS1, little-endian", "UFS1", &["-o", "version=1"]),
    ("UFS1, big-endian", "UFS1", &["-B", "be", "-o", "version=1"]),
    ("UFS1, blocks of 4 KiB in fragments of 512 bytes", "UFS1", &["-o", "version=1,bsize=4096,fsize=512"]),
    ("UFS2, little-endian", "UFS2", &["-o", "version=2"]),
    ("UFS2, big-endian, blocks of 32 KiB", "UFS2", &["-B", "be", "-o", "version=2,bsize=32768,fsize=4096"]),
];

/// Files of every size that a level of pointers begins at, sparse ones, links, devices, names beyond ASCII.
fn fill(at: &Path) {
    fs::create_dir_all(at.join("deep/er/and deeper")).unwrap();
    for (seed, len) in [0usize, 1, 59, 60, 119, 120, 511, 2000, 4096, 4097, 49_152, 49_153, 98_304, 98_305, 393_217]
        .into_iter()
        .enumerate()
    {
        fs::write(at.join(format!("deep/noise of {len}")), noise(seed as u64 + 1, len)).unwrap();
    }
    // Three levels of pointers at blocks of 4 KiB, two at the others.
    fs::write(at.join("large"), noise(77, 5 << 20)).unwrap();
    let sparse = fs::File::create(at.join("sparse")).unwrap();
    for place in [0u64, 40_000, 300_000, 9_000_000] {
        sparse.write_all_at(&noise(place, 1500), place).unwrap();
    }
    fs::create_dir(at.join("many")).unwrap();
    (0..150u64).for_each(|n| {
        fs::write(at.join(format!("many/{n:04} {}", "long ".repeat(n as usize % 20))), n.to_le_bytes()).unwrap()
    });
    fs::write(at.join(format!("{}.txt", "n".repeat(251))), "a name as long as names may be").unwrap();
    fs::write(at.join("\u{fc}ml\u{e4}ut \u{8cc7}\u{6599}"), "a name beyond ASCII").unwrap();
    symlink("deep/er", at.join("short link")).unwrap();
    symlink("deep/".repeat(100), at.join("long link")).unwrap();
    fs::hard_link(at.join("deep/noise of 4097"), at.join("second name")).unwrap();
    assert!(done(Command::new("mkfifo").arg(at.join("pipe"))));
}

fn made(folder: &Path, image: &Path, options: &[&str]) -> bool {
    let _ = fs::remove_file(image);
    let done =
        done(Command::new("makefs").args(["-t", "ffs", "-M", "24m", "-f", "200"]).args(options).arg(image).arg(folder));
    if !done {
        eprintln!("left out: no UFS can be made here ({options:?})");
    }
    done
}

/// Kind, size, seconds of the last change, permissions, owners, and content or target.
type Known = (EntryKind, u64, i64, u32, [u32; 2], String);

fn known(at: &Path) -> BTreeMap<String, Known> {
    let mut known = BTreeMap::new();
    for entry in walkdir::WalkDir::new(at).min_depth(1) {
        let entry = entry.unwrap();
        let meta = entry.path().symlink_metadata().unwrap();
        let hash = |path: &Path| Sha256::digest(fs::read(path).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
        let (kind, size, content) = match meta.file_type() {
            kind if kind.is_dir() => (EntryKind::Directory, 0, String::new()),
            kind if kind.is_symlink() => {
                (EntryKind::Symlink, meta.len(), fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned())
            }
            kind if kind.is_file() => (EntryKind::File, meta.len(), hash(entry.path())),
            _ => (EntryKind::Special, 0, String::new()),
        };
        let path = format!("/{}", entry.path().strip_prefix(at).unwrap().to_str().unwrap());
        known.insert(path, (kind, size, meta.mtime(), meta.mode(), [meta.uid(), meta.gid()], content));
    }
    known
}

#[test]
fn what_makefs_was_given_is_listed() {
    let scratch = common::scratch();
    let (folder, image) = (scratch.path().join("folder"), scratch.path().join("image"));
    fs::create_dir(&folder).unwrap();
    fill(&folder);
    for (name, facts, _) in KINDS.iter().filter(|(_, _, options)| made(&folder, &image, options)) {
        let mut left = known(&folder);
        let (count, sums) = filled::read(&image, |fs, view| {
            assert_eq!(fs.facts().name, *facts);
            assert!(fs.facts().faults.is_empty() && fs.facts().anomalies.is_empty(), "{name}: {:?}", fs.facts());
            let (listed, faults) = entries(fs);
            assert!(faults.is_empty(), "{faults:?}");
            let mut sums = BTreeMap::new();
            for entry in &listed {
                assert!(entry.allocated && entry.faults.is_empty(), "{name} {}: {:?}", entry.path, entry.faults);
                let known = left.remove(&entry.path).unwrap_or_else(|| panic!("{} was never written", entry.path));
                let sum = sha256(view, entry).expect("it is read");
                let content = match entry.kind {
                    EntryKind::File => sum.clone(),
                    EntryKind::Symlink => entry.target.clone().unwrap(),
                    _ => String::new(),
                };
                let access = entry.access.unwrap();
                let time = entry.times.mtime.unwrap().seconds;
                let told = (entry.kind, entry.stream.size, time, access.mode, [access.uid, access.gid], content);
                assert_eq!(told, known, "{name} {}", entry.path);
                if entry.kind == EntryKind::File {
                    sums.insert(entry.path.clone(), sum);
                }
            }
            assert!(left.is_empty(), "{name}: not listed: {:?}", left.keys());
            (listed.len(), sums)
        });
        // The Sleuth Kit reads each file alike; it does not look for UFS2 where `makefs` of Debian puts it.
        if *facts == "UFS2" {
            println!("{name:50} {count} entries as they were given");
            continue;
        }
        let theirs: BTreeMap<String, String> =
            sleuthkit(&image, 0).into_iter().map(|row| (row.path, row.hashes.concat())).collect();
        assert_eq!(theirs, sums, "{name}");
        println!("{name:50} {count} entries as they were given, each file as The Sleuth Kit reads it");
    }
}

/// Numbers of a volume, of which the order of bytes is told by its superblock.
struct Bytes {
    raw: Vec<u8>,
    big: bool,
    first: usize,
}

impl Bytes {
    fn read(image: &Path) -> Self {
        let raw = fs::read(image).unwrap();
        let magic = |at: usize| raw[at + 1372..at + 1376].to_vec();
        let first =
            [65_536usize, 8192].into_iter().find(|at| magic(*at).iter().any(|byte| *byte != 0) && magic(*at) != [0; 4]);
        let first = first.unwrap();
        Self { big: matches!(magic(first)[..], [0, 1, 0x19, 0x54] | [0x19, 0x54, 1, 0x19]), raw, first }
    }

    fn get(&self, at: usize, len: usize) -> usize {
        let bytes = self.raw[at..at + len].iter();
        let add = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
        if self.big { bytes.fold(0, add) } else { bytes.rev().fold(0, add) }
    }

    fn put(&mut self, at: usize, len: usize, n: usize) {
        for i in 0..len {
            self.raw[at + if self.big { len - 1 - i } else { i }] = (n >> (8 * i)) as u8;
        }
    }

    /// A field of the superblock.
    fn field(&self, at: usize) -> usize {
        self.get(self.first + at, 4)
    }

    /// A bit of the maps of the group that it belongs to: of inodes or of fragments.
    fn bit(&mut self, per_group: usize, map: usize, number: usize, set: bool) {
        let turn = if self.field(1372) == 0x0001_1954 { self.field(24) } else { 0 };
        let group = number / per_group;
        let start = group * self.field(188) + turn * (group & !self.field(28) & 0xffff_ffff);
        let own = (start + self.field(12)) * self.field(52);
        let (at, row) = (own + self.get(own + map, 4), number % per_group);
        let bit = 1 << (row % 8);
        self.raw[at + row / 8] = if set { self.raw[at + row / 8] | bit } else { self.raw[at + row / 8] & !bit };
    }

    /// Deletes a name: the one before it grows over it.
    fn unlink(&mut self, name: &str) {
        let sought = [&[name.len() as u8], name.as_bytes(), &[0]].concat();
        let found = memchr::memmem::find(&self.raw, &sought).expect("the name stands there") - 7;
        let mut at = found & !511;
        while at + self.get(at + 4, 2) < found {
            at += self.get(at + 4, 2);
        }
        let len = self.get(at + 4, 2) + self.get(found + 4, 2);
        self.put(at + 4, 2, len);
    }

    /// Gives back an inode and its fragments; `clear`: as most systems do, with its mode, size and pointers.
    fn free(&mut self, entry: &Entry, clear: bool) {
        let (number, at) = (entry.inode.parse::<usize>().unwrap(), entry.at as usize);
        self.bit(self.field(184), 92, number, false);
        let (fragment, per_block) = (self.field(52), self.field(48) / self.field(52));
        let is_ufs2 = self.field(1372) != 0x0001_1954;
        // The block of pointers, too.
        let list = if is_ufs2 { self.get(at + 208, 8) } else { self.get(at + 88, 4) };
        (list..list + per_block).filter(|n| *n >= per_block).for_each(|n| self.bit(self.field(188), 96, n, true));
        for run in &entry.stream.runs {
            let evidex::content::Run::Data(extent) = run else { continue };
            for n in extent.start as usize / fragment..(extent.end() as usize).div_ceil(fragment) {
                self.bit(self.field(188), 96, n, true);
            }
        }
        if clear {
            self.put(at, 2, 0);
            self.put(at + if is_ufs2 { 16 } else { 8 }, 8, 0);
            let pointers = if is_ufs2 { 112..232 } else { 40..100 };
            self.raw[at + pointers.start..at + pointers.end].fill(0);
        }
    }
}

#[test]
fn deleted_names_and_inodes_are_found() {
    let scratch = common::scratch();
    let (folder, image): (PathBuf, PathBuf) = (scratch.path().join("folder"), scratch.path().join("image"));
    fs::create_dir(&folder).unwrap();
    fill(&folder);
    for (name, ..) in KINDS.iter().filter(|(_, _, options)| made(&folder, &image, options)) {
        let (kept, cleared) = ("/deep/noise of 98305", "/deep/noise of 49153");
        let found = filled::read(&image, |fs, _| entries(fs).0);
        let of = |path: &str| found.iter().find(|entry| entry.path == path).unwrap();
        let mut bytes = Bytes::read(&image);
        for (path, clear) in [(kept, false), (cleared, true)] {
            bytes.unlink(path.rsplit('/').next().unwrap());
            bytes.free(of(path), clear);
        }
        fs::write(&image, &bytes.raw).unwrap();
        filled::read(&image, |fs, view| {
            let (listed, faults) = entries(fs);
            assert!(faults.is_empty(), "{name}: {faults:?}");
            let gone: Vec<&Entry> = listed.iter().filter(|entry| !entry.allocated).collect();
            let verdicts: Vec<_> = gone.iter().map(|entry| (entry.path.as_str(), entry.recovered)).collect();
            assert_eq!(verdicts.len(), 2, "{name}: {verdicts:?}");
            assert!(verdicts.contains(&(kept, Some(Recovered::Intact))), "{name}: {verdicts:?}");
            assert!(verdicts.contains(&(cleared, Some(Recovered::NameOnly))), "{name}: {verdicts:?}");
            let whole = gone.iter().find(|entry| entry.path == kept).unwrap();
            let content = Content::new(view, &whole.stream).contiguous(1 << 20).unwrap().into_owned();
            assert_eq!(content, fs::read(folder.join(&kept[1..])).unwrap(), "{name}");
            assert!(gone.iter().all(|entry| entry.times.mtime.is_some()), "{name}: times are left");
        });
    }
}
