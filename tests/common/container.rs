//! A container against the disk that it holds: read, and damaged.

use super::{Dice, flip, scratch};
use evidex::extent::{Extent, ExtentSet};
use evidex::hash::Algorithm;
use evidex::image::{self, Image, View, ahead, seal};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk of `size` bytes with text, noise, holes and repeated bytes in stretches of all lengths.
pub fn disk(seed: u64, size: usize) -> Vec<u8> {
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

pub fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, bytes).expect("a scratch file is written");
    path
}

/// Runs a program; a failure shows what it said.
#[track_caller]
pub fn tool(dir: &Path, program: &str, args: &[&str]) {
    let out = Command::new(program).args(args).current_dir(dir).output();
    let out = out.unwrap_or_else(|e| panic!("{program}: {e}: tests/run installs it"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

pub fn whole(image: &dyn Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    ahead::each_part(image, 1 << 20, |part| bytes.extend_from_slice(part)).expect("it is read to its end");
    bytes
}

pub fn opened(path: &Path) -> Box<dyn Image> {
    image::open(path).unwrap_or_else(|e| panic!("{e}"))
}

/// The container holds `disk`: in one pass, at any place in any order, and by the hashes that it carries.
#[track_caller]
pub fn holds(path: &Path, disk: &[u8], format: &str) -> Box<dyn Image> {
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
pub fn differences(a: &[u8], b: &[u8]) -> ExtentSet {
    const BLOCK: usize = 4096;
    let longest = a.len().max(b.len());
    let block = |bytes: &[u8], at: usize| bytes.get(at..bytes.len().min(at + BLOCK)).unwrap_or_default().to_vec();
    let unlike = (0..longest).step_by(BLOCK).filter(|at| block(a, *at) != block(b, *at));
    let at = unlike.flat_map(|at| at..longest.min(at + BLOCK)).filter(|i| a.get(*i) != b.get(*i));
    at.map(|i| Extent::new(i as u64, 1)).collect()
}

/// What a container that was damaged may do.
#[derive(Clone, Copy, PartialEq)]
pub enum Promise {
    /// All of it is covered by checksums: no byte is wrong that is not reported.
    Told,
    /// Stored bytes have no checksum: nothing panics or hangs.
    Survives,
}

/// Damages copies of a container of one file, by a flipped bit and by cutting them off; looks at what is read then.
#[track_caller]
pub fn damaged(path: &Path, disk: &[u8], rounds: u64, promise: Promise) {
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
    assert!(told + refused > 0, "{}: some damage is met", path.display());
}
