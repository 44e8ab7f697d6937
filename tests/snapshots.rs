//! Volume shadow copies: what stores hold, as libvshadow reads them; and what an NTFS volume held at earlier times.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "test code")]

mod common;
#[path = "common/shadow.rs"]
mod shadow;

use common::{Dice, evidex};
use evidex::hash::{Algorithm, Hasher};
use evidex::image::{self, View, mapped::Mapped};
use shadow::{BLOCK, Copy, Descriptor, Shadows};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

const NEWEST: u64 = 133_000_000_000_000_000;

/// The shadow copies of a volume as we read them, the oldest first.
fn ours(volume: &Path) -> Vec<Vec<u8>> {
    let image = image::open(volume).unwrap();
    let view = View::whole(image.as_ref());
    let bytes = |(_, snapshot): &(&str, evidex::volume::Snapshot)| {
        assert_eq!(snapshot.faults, []);
        let mapped = Mapped::new(view, snapshot.mapping.as_ref().unwrap(), view.size());
        View::whole(&mapped).read(0, view.size()).unwrap().into_owned()
    };
    let mut all: Vec<Vec<u8>> = evidex::volume::snapshots(view).iter().map(bytes).collect();
    all.reverse();
    all
}

/// The same as libvshadow reads them; none where it is not installed.
fn theirs(volume: &Path) -> Option<Vec<Vec<u8>>> {
    let program = "import pyvshadow, sys
volume = pyvshadow.volume(); volume.open(sys.argv[1])
for n in range(volume.number_of_stores):
    open('%s.%d' % (sys.argv[1], n), 'wb').write(volume.get_store(n).read_buffer_at_offset(volume.get_store(n).volume_size, 0))
print(volume.number_of_stores)";
    let ended = Command::new("/usr/bin/python3").args(["-c", program]).arg(volume).output().ok()?;
    let stores: usize = String::from_utf8_lossy(&ended.stdout).trim().parse().ok().or_else(|| {
        eprintln!("left out: {}", String::from_utf8_lossy(&ended.stderr));
        None
    })?;
    Some((0..stores).map(|n| fs::read(format!("{}.{n}", volume.display())).unwrap()).collect())
}

/// A volume of 128 blocks, each byte of a block its number and the sector, with made-up stores.
fn made_up(seed: u64, kinds: &[u32]) -> Vec<u8> {
    let mut noise = Dice(seed);
    let mut volume: Vec<u8> = (0..128 * BLOCK).map(|at| (at / BLOCK * 7 + at / 512) as u8).collect();
    volume[..512].fill(0);
    volume[3..11].copy_from_slice(b"NTFS    ");
    volume[11..14].copy_from_slice(&[0, 2, 8]);
    volume[40..48].copy_from_slice(&(128 * BLOCK as u64 / 512 - 1).to_le_bytes());
    let area = (64..128).map(|block| block * BLOCK as u64).collect();
    let mut shadows = Shadows { volume: &mut volume, area };
    let mut copies = Vec::new();
    for number in 0..1 + noise.below(4) {
        let mut descriptors = Vec::new();
        for _ in 0..noise.below(6) {
            let flags = kinds[noise.below(kinds.len() as u64) as usize];
            let original = noise.below(12) * BLOCK as u64;
            let place = if flags & 1 == 0 { shadows.keep(&[0x80 | noise.next() as u8; BLOCK]) } else { 0 };
            let relative = if flags & 1 == 1 { noise.below(12) * BLOCK as u64 } else { place };
            let sectors = if flags & 2 == 2 { noise.next() as u32 } else { 0 };
            descriptors.push(Descriptor { original, relative, place, flags, sectors });
        }
        let mut bits = |keep: u64| (0..16).map(|_| (noise.below(256) & keep) as u8).collect::<Vec<u8>>();
        let (current, previous) = (bits(255), (number % 2 == 0).then(|| bits(255)));
        copies.push(Copy {
            id: number as u8 + 1,
            made: NEWEST + number * 1_000_000_000,
            descriptors,
            current,
            previous,
        });
    }
    shadows.write(&copies);
    volume
}

#[test]
fn stores_are_read_as_libvshadow_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("volume");
    for seed in 0..10 {
        for kinds in [&[0u32] as &[u32], &[0, 4], &[0, 2], &[0, 1], &[0, 0, 0, 1, 2, 4]] {
            fs::write(&path, made_up(seed, kinds)).unwrap();
            let Some(theirs) = theirs(&path) else { return };
            let ours = ours(&path);
            assert_eq!(ours.len(), theirs.len());
            for (number, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
                let differ = |at: &usize| ours[*at] != theirs[*at];
                let first = (0..ours.len()).find(differ).map(|at| (at / BLOCK, at % BLOCK, ours[at], theirs[at]));
                assert_eq!(first, None, "seed {seed}, kinds {kinds:?}, copy {number}");
            }
        }
    }
}

/// Blocks of the file that makes room for the shadow copies, by what is written into them.
const ROOM: usize = 1024;

fn mark(number: usize) -> [u8; 16] {
    let mut mark = *b"room for a block";
    mark[12..].copy_from_slice(&(number as u32).to_le_bytes());
    mark
}

/// An NTFS volume that its driver writes to.
struct Disk {
    image: std::path::PathBuf,
    folder: std::path::PathBuf,
}

impl Disk {
    /// Mounts it, changes it, and gives its bytes after that; none where it cannot be mounted here.
    fn change(&self, change: impl FnOnce(&Path)) -> Option<Vec<u8>> {
        let done = |command: &mut Command| command.output().is_ok_and(|ended| ended.status.success());
        if !done(Command::new("ntfs-3g").arg(&self.image).arg(&self.folder)) {
            eprintln!("left out: NTFS cannot be mounted here");
            return None;
        }
        change(&self.folder);
        common::unmount(&self.folder);
        Some(fs::read(&self.image).unwrap())
    }
}

fn sha256(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(&[Algorithm::Sha256]);
    hasher.update(bytes);
    hasher.finish().sha256.unwrap()
}

/// A file of some blocks that says what it is.
fn text(name: &str, lines: usize) -> String {
    (0..lines).map(|line| format!("{name}, line {line}\n")).collect()
}

/// An NTFS volume of today with shadow copies of two earlier times, and its bytes at those times.
fn written(dir: &Path) -> Option<(Vec<u8>, [Vec<u8>; 2])> {
    let disk = Disk { image: dir.join("ntfs.dd"), folder: dir.join("mnt") };
    fs::create_dir(&disk.folder).unwrap();
    fs::File::create(&disk.image).unwrap().set_len(48 << 20).unwrap();
    let made = Command::new("mkfs.ntfs").args(["-F", "-q", "-Q"]).arg(&disk.image).output().ok()?;
    assert!(made.status.success());
    let room: Vec<u8> = (0..ROOM).flat_map(|n| [mark(n).as_slice(), &[0x55; BLOCK - 16]].concat()).collect();
    let first = disk.change(|root| {
        fs::create_dir(root.join("System Volume Information")).unwrap();
        fs::write(root.join("System Volume Information/{room}{3808876b-c176-4e48-b7ae-04046e6cc752}"), &room).unwrap();
        fs::create_dir(root.join("papers")).unwrap();
        for n in 0..40 {
            fs::write(root.join(format!("papers/kept {n}.txt")), text(&format!("kept {n}"), 300 * n)).unwrap();
        }
        fs::write(root.join("papers/changed.txt"), text("first wording, cormorant", 4000)).unwrap();
        fs::write(root.join("papers/deleted.txt"), text("deleted, kittiwake", 5000)).unwrap();
        fs::write(root.join("papers/short.txt"), "a resident file, guillemot").unwrap();
    })?;
    let second = disk.change(|root| {
        fs::write(root.join("papers/changed.txt"), text("second wording, razorbill", 4000)).unwrap();
        fs::remove_file(root.join("papers/deleted.txt")).unwrap();
        fs::write(root.join("papers/new.txt"), text("new, whimbrel", 3000)).unwrap();
    })?;
    let today = disk.change(|root| {
        fs::write(root.join("papers/changed.txt"), text("third wording", 4000)).unwrap();
        fs::rename(root.join("papers/new.txt"), root.join("papers/moved.txt")).unwrap();
        fs::remove_file(root.join("papers/short.txt")).unwrap();
        for n in 0..60 {
            fs::write(root.join(format!("papers/over {n}.txt")), text("over it all", 2000)).unwrap();
        }
    })?;
    Some((today, [first, second]))
}

/// Writes into the room what changed: the blocks of each time that a later one wrote again.
fn keep_what_changed(today: &mut Vec<u8>, times: &[Vec<u8>; 2]) -> BTreeSet<u64> {
    let places: BTreeMap<[u8; 16], u64> =
        (0..today.len()).step_by(512).map(|at| (today[at..at + 16].try_into().unwrap(), at as u64)).collect();
    let room: Vec<u64> = (0..ROOM).rev().map(|n| places[&mark(n)]).collect();
    let taken: BTreeSet<u64> = room.iter().flat_map(|at| [at / BLOCK as u64, (at + 0x3fff) / BLOCK as u64]).collect();
    let later = [times[1].clone(), today.clone()];
    let mut shadows = Shadows { volume: today, area: room };
    let mut copies = Vec::new();
    for (number, (then, later)) in times.iter().zip(&later).enumerate() {
        let blocks = then.chunks(BLOCK).zip(later.chunks(BLOCK)).enumerate();
        let changed = blocks.filter(|(block, (a, b))| a != b && !taken.contains(&(*block as u64)));
        let descriptors = changed.map(|(block, (then, _))| {
            let place = shadows.keep(then);
            Descriptor { original: (block * BLOCK) as u64, relative: place, place, ..Descriptor::default() }
        });
        let descriptors = descriptors.collect();
        let made = NEWEST + number as u64 * 36_000_000_000;
        copies.push(Copy { id: number as u8 + 1, made, descriptors, current: vec![0; 1024], previous: None });
    }
    shadows.write(&copies);
    taken
}

#[test]
fn what_a_volume_held_before_is_listed_hashed_and_found() {
    let dir = tempfile::tempdir().unwrap();
    let Some((mut today, times)) = written(dir.path()) else { return };
    let taken = keep_what_changed(&mut today, &times);
    let image = dir.path().join("disk.dd");
    fs::write(&image, &today).unwrap();
    let same = |ours: &[u8], then: &[u8]| {
        let blocks = ours.chunks(BLOCK).zip(then.chunks(BLOCK)).enumerate().skip(1);
        blocks.filter(|(block, _)| !taken.contains(&(*block as u64))).all(|(_, (ours, then))| ours == then)
    };
    let ours = ours(&image);
    assert!(ours.len() == 2 && ours.iter().zip(&times).all(|(ours, then)| same(ours, then)));
    if let Some(theirs) = theirs(&image) {
        assert!(ours == theirs, "libvshadow reads the same");
    }

    let info = evidex(&["info", "--json", image.to_str().unwrap()]).expect(0).last();
    let volumes = info["volumes"].as_array().unwrap();
    assert_eq!(volumes.len(), 3);
    assert_eq!((&volumes[1]["kind"], &volumes[1]["of"]), (&"snapshot".into(), &1.into()));
    assert!(volumes[1]["made"].as_str().unwrap() > volumes[2]["made"].as_str().unwrap(), "the newest first");

    let case = dir.path().join("case");
    evidex(&["index", "-q", "-c", case.to_str().unwrap(), image.to_str().unwrap()]).expect(0);
    let all = |args: &[&str]| evidex(&[args, &["-c", case.to_str().unwrap(), "--json"]].concat()).expect(0).lines();
    let papers: BTreeSet<(u64, String)> = all(&["files", "/papers/*.txt"])
        .iter()
        .filter(|item| item["volume"] != 1)
        .map(|item| (item["volume"].as_u64().unwrap(), item["path"].as_str().unwrap().to_owned()))
        .collect();
    let listed: Vec<(u64, &str)> = papers.iter().map(|(volume, path)| (*volume, path.as_str())).collect();
    let expected = [
        (2, "/papers/changed.txt"),
        (2, "/papers/new.txt"),
        (2, "/papers/short.txt"),
        (3, "/papers/changed.txt"),
        (3, "/papers/deleted.txt"),
    ];
    assert_eq!(listed, expected, "each version once, at the latest time that had it");
    for (volume, path, content) in [
        (2, "/papers/changed.txt", text("second wording, razorbill", 4000)),
        (2, "/papers/short.txt", "a resident file, guillemot".to_owned()),
        (3, "/papers/changed.txt", text("first wording, cormorant", 4000)),
        (3, "/papers/deleted.txt", text("deleted, kittiwake", 5000)),
    ] {
        let items = all(&["files", path]);
        let item = items.iter().find(|item| item["volume"] == volume).unwrap();
        assert_eq!(item["sha256"], sha256(content.as_bytes()), "{path} of volume {volume}");
    }
    for (word, volume) in [("cormorant", 3), ("razorbill", 2), ("guillemot", 2), ("kittiwake", 3)] {
        let hits = all(&["search", word]);
        let hit = hits.iter().find(|hit| hit["provenance"].as_str().unwrap().contains(&format!("/vol{volume}/")));
        let at = hit.unwrap()["hits"][0]["image_offset"].as_u64().unwrap() as usize;
        assert_eq!(&today[at..at + word.len()], word.as_bytes(), "{word} stands where the hit says");
    }
    let list = |which: &str| {
        evidex(&["info", "--list", "--json", "--snapshots", which, image.to_str().unwrap()]).expect(0).lines().len()
    };
    let (none, changed, every) = (list("none"), list("changed"), list("all"));
    assert!(none < changed && changed + 80 < every, "{none} {changed} {every}");
}
