//! Volumes made here in both versions, byte orders and formats of directories, with what `makefs` cannot write: deleted files,
//! snapshots, attributes, groups whose metadata are moved.

use super::*;
use crate::content::Content;
use crate::fs::{Entry, EntryKind, Recovered, entries};
use crate::image::raw::of_bytes;
use proptest::prelude::*;
use std::collections::BTreeSet;

const BLOCK: usize = 4096;
const FRAGMENT: usize = 512;
const PER_GROUP: usize = 512;
const INODES: usize = 64;
/// The second group's metadata are moved by so many fragments in UFS1.
const TURN: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Kind {
    big: bool,
    two: bool,
    /// Before 4.4BSD.
    old: bool,
}

const KINDS: [Kind; 6] = [
    Kind { big: false, two: false, old: false },
    Kind { big: true, two: false, old: false },
    Kind { big: false, two: false, old: true },
    Kind { big: true, two: false, old: true },
    Kind { big: false, two: true, old: false },
    Kind { big: true, two: true, old: false },
];

struct Volume {
    bytes: Vec<u8>,
    kind: Kind,
    used: BTreeSet<usize>,
    inodes: BTreeSet<usize>,
}

impl Volume {
    fn new(kind: Kind) -> Self {
        let bytes = vec![0; 2 * PER_GROUP * FRAGMENT];
        Self { bytes, kind, used: BTreeSet::new(), inodes: BTreeSet::from([0, 1]) }
    }

    fn put(&mut self, at: usize, len: usize, n: u64) {
        let raw = n.to_le_bytes();
        for (to, from) in (0..len).map(|i| (if self.kind.big { at + len - 1 - i } else { at + i }, raw[i])) {
            self.bytes[to] = from;
        }
    }

    /// Fragments from a group's start to its superblock, its own block, its inodes, its content.
    fn places(&self) -> [usize; 4] {
        if self.kind.two { [160, 176, 184, 216] } else { [32, 48, 56, 72] }
    }

    fn start(&self, group: usize) -> usize {
        (group * PER_GROUP) + if self.kind.two { 0 } else { group * TURN }
    }

    fn inode_at(&self, number: usize) -> usize {
        let size = if self.kind.two { 256 } else { 128 };
        (self.start(number / INODES) + self.places()[2]) * FRAGMENT + number % INODES * size
    }

    fn data(&mut self, fragment: usize, bytes: &[u8]) {
        self.bytes[fragment * FRAGMENT..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Writes an inode: mode, links, size, flags, and its pointers.
    fn inode(&mut self, number: usize, (mode, links, size, flags): (u64, u64, usize, u64), pointers: &[usize]) {
        let at = self.inode_at(number);
        let (wide, two) = (if self.kind.two { 8 } else { 4 }, self.kind.two);
        self.put(at, 2, mode);
        self.put(at + 2, 2, links);
        self.put(at + if two { 16 } else { 8 }, 8, size as u64);
        let first = at + if two { 112 } else { 40 };
        pointers.iter().enumerate().for_each(|(row, pointer)| self.put(first + row * wide, wide, *pointer as u64));
        let held = pointers.iter().filter(|pointer| **pointer > 2).count() as u64 * 8;
        self.put(at + if two { 24 } else { 104 }, wide, held);
        self.put(at + if two { 88 } else { 100 }, 4, flags);
        let owner = match (two, self.kind.old) {
            (true, _) => [(4, 4), (8, 4)],
            (_, true) => [(4, 2), (6, 2)],
            _ => [(112, 4), (116, 4)],
        };
        owner.iter().zip([1000, 100]).for_each(|((skip, len), id)| self.put(at + skip, *len, id));
        // Changed on the second day of the epoch, its inode on the third.
        for (row, day) in if two { [(40, 2), (48, 3)] } else { [(24, 2), (32, 3)] } {
            self.put(at + row, wide, day * 86_400);
        }
    }

    fn file(&mut self, number: usize, mode: u64, size: usize, pointers: &[usize]) {
        self.inode(number, (mode, 1, size, 0), pointers);
        self.inodes.insert(number);
        let count = pointers.len().min(12);
        let last = if size <= 12 * BLOCK { size.div_ceil(FRAGMENT) - count.saturating_sub(1) * 8 } else { 8 };
        for (row, pointer) in pointers.iter().enumerate().filter(|(_, pointer)| **pointer > 2) {
            let len = if row + 1 == count && pointers.len() <= 12 { last } else { 8 };
            self.used.extend(*pointer..pointer + len);
        }
    }

    /// A block of a directory: names with their inodes and types. Those in `gone` are only in the gap behind the first.
    fn names(&self, live: &[(usize, u8, &str)], gone: &[(usize, u8, &str)]) -> Vec<u8> {
        let mut v = Volume { bytes: vec![0; 512], kind: self.kind, used: BTreeSet::new(), inodes: BTreeSet::new() };
        let mut at = 0;
        let need = |name: &str| (8 + name.len() + 1).next_multiple_of(4);
        let write = |v: &mut Volume, at: usize, (inode, kind, name): (usize, u8, &str), len: usize| {
            v.put(at, 4, inode as u64);
            v.put(at + 4, 2, len as u64);
            if v.kind.old {
                v.put(at + 6, 2, name.len() as u64);
            } else {
                v.bytes[at + 6] = kind;
                v.bytes[at + 7] = name.len() as u8;
            }
            v.bytes[at + 8..][..name.len()].copy_from_slice(name.as_bytes());
        };
        for (row, entry) in live.iter().enumerate() {
            let gap: usize = if row == 0 { gone.iter().map(|(.., name)| need(name)).sum() } else { 0 };
            let own = need(entry.2);
            let len = if row + 1 == live.len() { 512 - at } else { own + gap };
            write(&mut v, at, *entry, len);
            let mut inside = at + own;
            for lost in gone.iter().filter(|_| row == 0) {
                write(&mut v, inside, *lost, need(lost.2));
                inside += need(lost.2);
            }
            at += len;
        }
        v.bytes
    }

    /// Superblocks and groups.
    fn close(&mut self) {
        let places = self.places();
        let mut sb = Volume { bytes: vec![0; 1376], kind: self.kind, used: BTreeSet::new(), inodes: BTreeSet::new() };
        places.iter().zip([8, 12, 16, 20]).for_each(|(place, at)| sb.put(at, 4, *place as u64));
        let (turn, mask) = if self.kind.two { (0, 0) } else { (TURN as u64, 0xffff_fff0) };
        let fields =
            [(24, turn), (28, mask), (36, 1024), (44, 2), (48, 4096), (52, 512), (160, 2048), (184, 64), (188, 512)];
        fields.iter().for_each(|(at, n)| sb.put(*at, 4, *n));
        // What other readers want besides: fragments and inodes of a block, pointers in one, its own size and shifts.
        let (pointers, inodes) = if self.kind.two { (512, 16) } else { (1024, 32) };
        let more = [(56, 8), (80, 12), (84, 9), (96, 3), (104, 1376), (116, pointers), (120, inodes)];
        more.iter().for_each(|(at, n)| sb.put(*at, 4, *n));
        sb.put(1000, 8, if self.kind.two { 65_536 } else { 8192 });
        sb.put(144, 4, 0x1234_5678);
        sb.bytes[209] = 1;
        sb.bytes[680..685].copy_from_slice(b"LABEL");
        sb.put(1080, 8, 1024);
        let (short, format) = if self.kind.old { (0, 0) } else { (if self.kind.two { 120 } else { 60 }, 2) };
        sb.put(1320, 4, short);
        sb.put(1324, 4, format);
        sb.put(1372, 4, if self.kind.two { 0x1954_0119 } else { 0x0001_1954 });
        let first = if self.kind.two { 65_536 } else { 8192 };
        for at in [first, places[0] * FRAGMENT, (self.start(1) + places[0]) * FRAGMENT] {
            self.bytes[at..at + 1376].copy_from_slice(&sb.bytes);
        }
        for group in 0..2 {
            let own = (self.start(group) + places[1]) * FRAGMENT;
            let content = self.start(group) + places[3];
            let is_free =
                |row: &usize| group * PER_GROUP + row >= content && !self.used.contains(&(group * PER_GROUP + row));
            let free: Vec<usize> = (0..PER_GROUP).filter(is_free).collect();
            let whole = (0..PER_GROUP / 8).filter(|block| (0..8).all(|i| free.contains(&(block * 8 + i)))).count();
            let fields = [(4, 0x0009_0255), (12, group), (20, PER_GROUP), (28, whole), (36, free.len() - whole * 8)];
            let fields = fields.into_iter().chain([(92, 168), (96, 184), (116, INODES), (120, INODES)]);
            fields.for_each(|(at, n)| self.put(own + at, 4, n as u64));
            free.iter().for_each(|row| self.bytes[own + 184 + row / 8] |= 1 << (row % 8));
            let here: Vec<usize> = self.inodes.iter().filter(|n| **n / INODES == group).map(|n| n % INODES).collect();
            here.iter().for_each(|row| self.bytes[own + 168 + row / 8] |= 1 << (row % 8));
        }
    }
}

fn content(n: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 5) as u8 ^ n).collect()
}

fn volume(kind: Kind) -> Vec<u8> {
    let mut v = Volume::new(kind);
    // Content: of the second group from here on, a block every eight.
    let block = |n: usize| 760 + n * 8;
    let root = v.names(
        &[
            (2, 4, "."),
            (2, 4, ".."),
            (64, 8, "large"),
            (65, 8, "small"),
            (66, 4, "folder"),
            (67, 10, "short"),
            (68, 8, "snap"),
        ],
        &[(10, 8, "gone"), (11, 8, "wiped"), (65, 8, "renamed"), (12, 4, "lost")],
    );
    v.data(block(0), &root);
    v.file(2, 0o040_755, 512, &[block(0)]);
    // Twelve blocks, one of them a hole, and two that a block of pointers names.
    let large: Vec<u8> = content(1, 13 * BLOCK + 100);
    let mut pointers: Vec<usize> = (1..13).map(block).collect();
    (0..12).for_each(|n| v.data(block(n + 1), &large[n * BLOCK..(n + 1) * BLOCK]));
    pointers[4] = 0;
    pointers.push(block(13));
    v.file(64, 0o100_644, large.len(), &pointers);
    let wide = if kind.two { 8 } else { 4 };
    v.put(block(13) * FRAGMENT, wide, block(14) as u64);
    v.put(block(13) * FRAGMENT + wide, wide, block(15) as u64);
    v.data(block(14), &large[12 * BLOCK..13 * BLOCK]);
    v.data(block(15), &large[13 * BLOCK..]);
    v.used.extend(block(14)..block(16));
    // Three fragments in the middle of a block.
    v.data(block(16) + 2, &content(2, 1300));
    v.file(65, 0o100_600, 1300, &[block(16) + 2]);
    let folder = v.names(&[(0, 8, "first"), (66, 4, "."), (2, 4, ".."), (65, 8, "again")], &[]);
    v.data(block(17), &folder);
    v.file(66, 0o040_755, 512, &[block(17)]);
    v.file(67, 0o120_777, 6, &[]);
    let at = v.inode_at(67) + if kind.two { 112 } else { 40 };
    v.bytes[at..at + 6].copy_from_slice(b"folder");
    v.data(block(18), &content(3, BLOCK));
    v.file(68, 0o100_400, 4 * BLOCK, &[1, block(18), 0, 2]);
    let at = v.inode_at(68) + if kind.two { 88 } else { 100 };
    v.put(at, 4, 0x0020_0000);
    if kind.two {
        let at = v.inode_at(65);
        v.put(at + 92, 4, 64);
        v.put(at + 96, 8, block(19) as u64);
        v.put(block(19) * FRAGMENT, 4, 24);
        v.data(block(19), &[v.bytes[block(19) * FRAGMENT..][..4].to_vec(), b"\x01\x03\x04note".to_vec()].concat());
        v.data(
            block(19),
            &[v.bytes[block(19) * FRAGMENT..][..11].to_vec(), vec![0; 5], b"value\0\0\0".to_vec()].concat(),
        );
        v.used.extend(block(19)..block(19) + 1);
    }
    // No name leads to this one.
    v.file(70, 0o100_644, 0, &[]);
    // Deleted: with its pointers, without them, and a directory with a name in it.
    v.data(block(20), &content(4, 700));
    v.inode(10, (0o100_644, 0, 700, 0), &[block(20)]);
    v.inode(11, (0, 0, 0, 0), &[]);
    let lost = v.names(&[(12, 4, "."), (2, 4, ".."), (13, 8, "inside")], &[]);
    v.data(block(21), &lost);
    v.inode(12, (0o040_700, 0, 512, 0), &[block(21)]);
    v.data(block(22), &content(5, 900));
    v.inode(13, (0o100_644, 0, 900, 0), &[block(22)]);
    v.close();
    v.bytes
}

/// What the volume says, entries with their content, what could not be read, and free space.
type Listed = (Facts, Vec<(Entry, Vec<u8>)>, Vec<Fault>, Vec<Extent>);

fn list(bytes: &[u8]) -> Option<Listed> {
    let image = of_bytes(bytes).unwrap();
    let view = View::whole(image.as_ref());
    probe(view)?;
    let fs = open(view).ok()?;
    let (listed, faults) = entries(fs.as_ref());
    let read = |entry: Entry| {
        let content = Content::new(view, &entry.stream).slice(0, 1 << 16).prefix(1 << 16).into_owned();
        (entry, content)
    };
    let free = fs.unallocated().flatten().collect();
    Some((fs.facts().clone(), listed.into_iter().map(read).collect(), faults, free))
}

#[test]
fn volumes_of_every_kind_are_read() {
    for kind in KINDS {
        let whole = volume(kind);
        let (facts, listed, faults, free) = list(&whole).unwrap();
        assert_eq!((facts.label.as_str(), facts.id.as_str(), facts.size), ("LABEL", "1234567800000000", 524_288));
        assert!(
            facts.faults.is_empty() && facts.anomalies.is_empty() && faults.is_empty(),
            "{kind:?}: {facts:?} {faults:?}"
        );
        let of = |path: &str| listed.iter().find(|(e, _)| e.path == path).unwrap_or_else(|| panic!("{kind:?} {path}"));
        let mut large = content(1, 13 * BLOCK + 100);
        large[4 * BLOCK..5 * BLOCK].fill(0);
        assert_eq!(of("/large").1, large, "{kind:?}");
        assert_eq!(of("/small").1, content(2, 1300));
        assert_eq!((of("/short").0.target.as_deref(), of("/short").0.kind), (Some("folder"), EntryKind::Symlink));
        let small = &of("/small").0;
        assert_eq!(small.access.map(|a| (a.mode, a.uid, a.gid)), Some((0o100_600, 1000, 100)), "{kind:?}");
        let shown = [small.times.mtime, small.times.ctime].map(|time| time.map(|time| time.seconds));
        assert_eq!(shown, [Some(2 * 86_400), Some(3 * 86_400)]);
        assert!(small.faults.is_empty(), "{:?}", small.faults);
        let attributes: Vec<&str> = small.attributes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(attributes, if kind.two { vec!["user.note"] } else { vec![] });
        assert_eq!(of("/folder/again").0.inode, "65");
        assert_eq!(of("/$OrphanFiles/OrphanFile-70").0.note.as_deref(), Some("no directory names it"));
        if !kind.old {
            let (snap, bytes) = of("/snap");
            assert!(snap.note.as_deref().unwrap().starts_with("a snapshot: 4096 bytes"), "{:?}", snap.note);
            assert_eq!(bytes[2 * BLOCK..3 * BLOCK], whole[2 * BLOCK..3 * BLOCK]);
            assert_eq!(bytes[BLOCK..2 * BLOCK], content(3, BLOCK));
            assert_eq!(snap.attributes, [("flags".to_owned(), "snapshot".to_owned())]);
        }
        for (path, recovered, bytes) in [
            ("/gone", Recovered::Intact, content(4, 700)),
            ("/lost/inside", Recovered::Intact, content(5, 900)),
            ("/wiped", Recovered::NameOnly, vec![]),
            ("/renamed", Recovered::NameOnly, vec![]),
            ("/folder/first", Recovered::NameOnly, vec![]),
        ] {
            let (entry, found) = of(path);
            assert_eq!((entry.allocated, entry.recovered, found), (false, Some(recovered), &bytes), "{kind:?} {path}");
        }
        assert!(of("/wiped").0.times.ctime.is_some());
        assert_eq!(listed.len(), 13, "{kind:?}");
        let free = crate::extent::ExtentSet::new(free);
        assert!(free.touches(Extent::new((760 + 20 * 8) * 512, 512)) && !free.touches(Extent::new(760 * 512, 512)));
    }
}

#[test]
fn copies_of_the_superblock_are_used() {
    for kind in KINDS {
        let mut bytes = volume(kind);
        let first = if kind.two { 65_536 } else { 8192 };
        bytes[first..first + 1376].fill(0);
        let (facts, listed, ..) = list(&bytes).unwrap();
        assert!(facts.faults[0].what.starts_with("the superblock is destroyed"), "{:?}", facts.faults);
        assert_eq!(listed.len(), 13, "{kind:?}");
        // That of the first group, too.
        let copy = if kind.two { 160 } else { 32 } * FRAGMENT;
        bytes[copy..copy + 1376].fill(0);
        assert_eq!(list(&bytes).unwrap().1.len(), 13, "{kind:?}");
    }
}

#[test]
fn what_contradicts_itself_is_told() {
    let mut bytes = volume(KINDS[0]);
    // A count of free fragments, and the mark of the clean unmount of another.
    bytes[48 * FRAGMENT + 36] ^= 1;
    let (facts, ..) = list(&bytes).unwrap();
    assert!(facts.anomalies[0].sign.what.contains("fragments are free, its count says"), "{:?}", facts.anomalies);
    bytes[8192 + 209] = 0;
    bytes[8192 + 211] = 2;
    let (facts, ..) = list(&bytes).unwrap();
    let told: Vec<&str> = facts.anomalies.iter().map(|anomaly| anomaly.sign.what.as_str()).collect();
    assert_eq!(told, ["the volume was not unmounted; soft updates may not be finished"]);
}

#[test]
fn parts_of_a_directory_that_are_missing_are_told() {
    let whole = volume(KINDS[0]);
    // The volume ends before the block of a directory.
    let (_, listed, ..) = list(&whole[..(760 + 17 * 8) * FRAGMENT]).unwrap();
    let folder = listed.iter().find(|(entry, _)| entry.path == "/folder").unwrap();
    let told: Vec<&str> = folder.0.faults.iter().map(|fault| fault.what.as_str()).collect();
    assert_eq!(told, ["512 bytes of a directory cannot be read"]);
    // The root directory is a fragment longer, which has no place.
    let mut v = Volume { bytes: whole, kind: KINDS[0], used: BTreeSet::new(), inodes: BTreeSet::new() };
    let at = v.inode_at(2);
    v.put(at + 8, 8, (BLOCK + FRAGMENT) as u64);
    let (_, listed, faults, _) = list(&v.bytes).unwrap();
    assert!(faults.iter().any(|fault| fault.what == "512 bytes of a directory have no block"), "{faults:?}");
    assert!(listed.iter().any(|(entry, _)| entry.path == "/folder/again"));
}

#[test]
fn tables_of_inodes_fit_into_their_groups() {
    let mut v = Volume { bytes: volume(KINDS[0]), kind: KINDS[0], used: BTreeSet::new(), inodes: BTreeSet::new() };
    for at in [8192, 32 * FRAGMENT, (512 + TURN + 32) * FRAGMENT] {
        v.put(at + 184, 4, 1 << 31);
    }
    assert!(list(&v.bytes).is_none());
}

#[test]
fn inodes_of_a_group_that_is_destroyed_are_looked_at_as_far_as_they_are_there() {
    let mut bytes = volume(KINDS[0]);
    let own = (512 + TURN + 48) * FRAGMENT;
    bytes[own..own + BLOCK].fill(0);
    let at = |end: usize| {
        let image = of_bytes(&bytes[..end]).unwrap();
        let view = View::whole(image.as_ref());
        let sb = Superblock::find(view).unwrap();
        let groups = Groups::read(view, &sb);
        groups.among(&sb, |number| Some(number).filter(|number| *number >= 64)).len()
    };
    assert_eq!(at(bytes.len()), 64);
    assert_eq!(at((512 + TURN + 56) * FRAGMENT + 10 * 128), 10);
}

proptest! {
    #[test]
    fn damage_ends_without_a_panic(
        kind in 0usize..6,
        changes in prop::collection::vec((0usize..1 << 19, any::<u8>()), 0..40),
        end in 0usize..1 << 21,
    ) {
        let mut bytes = volume(KINDS[kind]);
        let written: Vec<usize> = (0..bytes.len()).step_by(64).filter(|at| bytes[*at..*at + 64].iter().any(|b| *b != 0)).collect();
        for (at, byte) in changes {
            bytes[written[at % written.len()] + at % 64] = byte;
        }
        bytes.truncate(end.max(4096));
        let size = bytes.len() as u64;
        if let Some((_, _, _, free)) = list(&bytes) {
            prop_assert!(free.iter().all(|extent| extent.end() <= size));
        }
    }
}
