//! Discs made here in every kind of partition, with what no formatter writes: lists that go on elsewhere, chains of entries, deleted
//! files whose entries are still there. The kernel's driver reads the same of them.

mod hostile;

use super::*;
use crate::content::Content;
use crate::fs::{EntryKind, Recovered, entries};
use crate::image::raw::of_bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

const S: usize = 2048;
/// First sector of the partition, and its blocks.
const START: usize = 272;
const BLOCKS: usize = 160;
/// Blocks of the partition: entries from here on, the bitmap, and where content lies.
const ENTRIES: usize = 10;
const BITMAP: usize = 60;
const DATA: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Virtual(u16),
    Sparable,
    Metadata,
}

use Kind::{Metadata, Plain, Sparable, Virtual};

struct Disc {
    bytes: Vec<u8>,
    kind: Kind,
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Gives a descriptor its tag.
fn sealed(id: u16, location: usize, body: &[u8]) -> Vec<u8> {
    let mut raw = vec![0; 16];
    put(&mut raw, 0, &id.to_le_bytes());
    put(&mut raw, 2, &[3, 0]);
    put(&mut raw, 8, &tag::crc(body).to_le_bytes());
    put(&mut raw, 10, &(body.len() as u16).to_le_bytes());
    put(&mut raw, 12, &(location as u32).to_le_bytes());
    raw[4] = raw.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    [raw, body.to_vec()].concat()
}

fn short(len: usize, block: usize) -> Vec<u8> {
    [(len as u32).to_le_bytes(), (block as u32).to_le_bytes()].concat()
}

fn long(len: usize, block: usize, part: u16) -> Vec<u8> {
    [short(len, block), part.to_le_bytes().to_vec(), vec![0; 6]].concat()
}

fn dstring(text: &str, len: usize) -> Vec<u8> {
    let mut raw = [&[8], text.as_bytes()].concat();
    raw.resize(len, 0);
    raw[len - 1] = text.len() as u8 + 1;
    raw
}

fn regid(name: &str, suffix: &[u8]) -> Vec<u8> {
    let mut raw = [&[0], name.as_bytes()].concat();
    raw.resize(24, 0);
    raw.extend(suffix);
    raw.resize(32, 0);
    raw
}

fn stamp(day: u8) -> Vec<u8> {
    [&0x1000u16.to_le_bytes()[..], &2024u16.to_le_bytes(), &[3, day, 12, 0, 0, 0, 0, 0]].concat()
}

/// What a file entry is made of.
#[derive(Clone, Default)]
struct File {
    kind: u8,
    /// How its list is to be read.
    listing: u16,
    size: usize,
    links: u16,
    unique: u64,
    attributes: Vec<u8>,
    list: Vec<u8>,
    streams: Option<Vec<u8>>,
    strategy: u16,
}

impl File {
    fn of(kind: u8, listing: u16, size: usize, list: Vec<u8>) -> Self {
        Self { kind, listing, size, links: 1, unique: 0, attributes: vec![], list, streams: None, strategy: 4 }
    }

    fn inside(kind: u8, content: &[u8]) -> Self {
        Self::of(kind, 3, content.len(), content.to_vec())
    }

    /// An extended entry, if it has streams; else a plain one.
    fn entry(&self, location: usize) -> Vec<u8> {
        let wide = self.streams.is_some();
        let mut b = vec![0; if wide { 200 } else { 160 }];
        let mut at = |at: usize, bytes: &[u8]| put(&mut b, at - 16, bytes);
        at(20, &self.strategy.to_le_bytes());
        at(24, &1u16.to_le_bytes());
        at(27, &[self.kind]);
        at(34, &self.listing.to_le_bytes());
        at(36, &1000u32.to_le_bytes());
        at(40, &100u32.to_le_bytes());
        at(44, &(7u32 << 10 | 5 << 5 | 4).to_le_bytes());
        at(48, &self.links.to_le_bytes());
        at(56, &(self.size as u64).to_le_bytes());
        let places: [usize; 5] = if wide { [80, 92, 116, 200, 208] } else { [72, 84, 96, 160, 168] };
        (0..3).for_each(|row| at(places[row], &stamp(row as u8 + 1)));
        at(places[3], &self.unique.to_le_bytes());
        at(places[4], &(self.attributes.len() as u32).to_le_bytes());
        at(places[4] + 4, &(self.list.len() as u32).to_le_bytes());
        if let Some(streams) = &self.streams {
            at(104, &stamp(9));
            at(152, streams);
        }
        sealed(if wide { 266 } else { 261 }, location, &[b, self.attributes.clone(), self.list.clone()].concat())
    }
}

fn fid(name: &str, characteristics: u8, icb: &[u8], unique: u32) -> Vec<u8> {
    let name = if name.is_empty() { vec![] } else { [&[8], name.as_bytes()].concat() };
    let mut body = vec![1, 0, characteristics, name.len() as u8];
    body.extend(&icb[..12]);
    body.extend(unique.to_le_bytes());
    body.extend([0; 2]);
    body.extend(&name);
    body.resize(body.len().next_multiple_of(4), 0);
    sealed(257, 0, &body)
}

impl Disc {
    fn new(kind: Kind) -> Self {
        let mut disc = Self { bytes: vec![0; (START + BLOCKS + 64) * S], kind };
        for (number, name) in [b"BEA01", b"NSR03", b"TEA01"].into_iter().enumerate() {
            put(&mut disc.bytes, (16 + number) * S + 1, &[&name[..], &[1]].concat());
        }
        let mut anchor = vec![0; 496];
        put(&mut anchor, 0, &[short(16 * S, 32), short(16 * S, 64)].concat());
        disc.sector(256, 2, &anchor);
        for first in [32, 64] {
            disc.sequence(first);
        }
        let mut integrity = vec![0; 72];
        put(&mut integrity, 12, &1u32.to_le_bytes());
        put(&mut integrity, 56, &0u32.to_le_bytes());
        disc.sector(96, 9, &integrity);
        disc
    }

    fn sector(&mut self, number: usize, id: u16, body: &[u8]) {
        put(&mut self.bytes, number * S, &sealed(id, number, body));
    }

    /// The row of the partition that entries lie in.
    fn row(&self) -> u16 {
        u16::from(matches!(self.kind, Virtual(_) | Metadata))
    }

    fn sequence(&mut self, first: usize) {
        let mut primary = vec![0; 496];
        put(&mut primary, 8, &dstring("A volume", 32));
        put(&mut primary, 56, &dstring("0123456789abcdef set", 128));
        self.sector(first, 1, &primary);
        let mut partition = vec![0; 496];
        put(&mut partition, 172, &[(START as u32).to_le_bytes(), (BLOCKS as u32).to_le_bytes()].concat());
        if !matches!(self.kind, Virtual(_)) {
            put(&mut partition, 48, &short(S, BITMAP));
        }
        put(&mut partition, 8, &regid("+NSR03", &[])[..24]);
        put(&mut partition, 168, &4u32.to_le_bytes());
        self.sector(first + 1, 5, &partition);
        let plain = vec![1, 6, 1, 0, 0, 0];
        let two = |name: &str, rest: Vec<u8>| {
            let revision = if self.kind == Virtual(150) { [0x50, 1] } else { [0x50, 2] };
            let mut map = [vec![2, 64, 0, 0], regid(name, &revision), vec![1, 0, 0, 0], rest].concat();
            map.resize(64, 0);
            map
        };
        let maps = match self.kind {
            Plain => vec![plain],
            Virtual(_) => vec![plain, two("*UDF Virtual Partition", vec![])],
            Sparable => {
                let table = [vec![32, 0, 1, 0], (S as u32).to_le_bytes().to_vec(), 120u32.to_le_bytes().to_vec()];
                vec![two("*UDF Sparable Partition", table.concat())]
            }
            Metadata => {
                let files = [2u32, 3, u32::MAX, 1].map(u32::to_le_bytes).concat();
                vec![plain, two("*UDF Metadata Partition", [files, vec![1, 0, 1]].concat())]
            }
        };
        let mut logical = vec![0; 424];
        put(&mut logical, 68, &dstring("A label", 128));
        put(&mut logical, 196, &(S as u32).to_le_bytes());
        let revision = if self.kind == Virtual(150) { [0x50, 1] } else { [0x50, 2] };
        put(&mut logical, 200, &regid("*OSTA UDF Compliant", &revision));
        put(&mut logical, 232, &long(S, self.location(0), self.row()));
        put(&mut logical, 248, &(maps.concat().len() as u32).to_le_bytes());
        put(&mut logical, 252, &(maps.len() as u32).to_le_bytes());
        put(&mut logical, 416, &short(S, 96));
        put(&mut logical, 52, &[0; 1]);
        self.sector(first + 2, 6, &[logical, maps.concat()].concat());
        self.sector(first + 3, 8, &[0; 496]);
    }

    /// The number of an entry's block in its partition.
    fn location(&self, number: usize) -> usize {
        if self.row() == 1 { number } else { ENTRIES + number }
    }

    /// Writes a block of the plain partition, where it is now.
    fn block(&mut self, block: usize, bytes: &[u8]) {
        // The first packet was moved behind the partition.
        let sector = if self.kind == Sparable && block < 32 { START + BLOCKS + block } else { START + block };
        put(&mut self.bytes, sector * S, bytes);
    }

    fn file(&mut self, number: usize, file: &File) {
        let raw = file.entry(self.location(number));
        self.block(ENTRIES + number, &raw);
    }

    fn icb(&self, number: usize) -> Vec<u8> {
        long(S, self.location(number), self.row())
    }

    /// Tables that are written last.
    fn close(&mut self, numbers: usize) {
        let table: Vec<u8> = (0..numbers as u32).flat_map(|number| (ENTRIES as u32 + number).to_le_bytes()).collect();
        match self.kind {
            Virtual(150) => {
                let content = [table, regid("*UDF Virtual Alloc Tbl", &[]), vec![255; 4]].concat();
                let raw = File::inside(0, &content).entry(BLOCKS - 1);
                self.block(BLOCKS - 1, &raw);
                self.bytes.truncate((START + BLOCKS) * S);
            }
            Virtual(_) => {
                let mut head = vec![0; 152];
                put(&mut head, 0, &152u16.to_le_bytes());
                put(&mut head, 4, &dstring("A label", 128));
                put(&mut head, 132, &[255; 4]);
                put(&mut head, 144, &[1, 2, 1, 2, 1, 2]);
                let raw = File::inside(248, &[head, table].concat()).entry(BLOCKS - 1);
                self.block(BLOCKS - 1, &raw);
                self.bytes.truncate((START + BLOCKS) * S);
            }
            Sparable => {
                let row = [0u32, (START + BLOCKS) as u32].map(u32::to_le_bytes).concat();
                let head = [&regid("*UDF Sparing Table", &[])[..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
                self.sector(120, 0, &[head, row].concat());
                put(&mut self.bytes, 120 * S + 12, &120u32.to_le_bytes());
            }
            Metadata => {
                for (block, kind) in [(2, 250), (3, 251)] {
                    let raw = File::of(kind, 0, 40 * S, short(40 * S, ENTRIES)).entry(block);
                    self.block(block, &raw);
                }
            }
            Plain => {}
        }
        if !matches!(self.kind, Virtual(_)) {
            // Free: from block 120 on, but for the last one.
            let mut bits = vec![0u8; BLOCKS / 8];
            bits[15..].fill(255);
            bits[BLOCKS / 8 - 1] = 127;
            let sizes = [(BLOCKS as u32).to_le_bytes(), (BLOCKS as u32 / 8).to_le_bytes()].concat();
            let raw = sealed(264, BITMAP, &[sizes, bits].concat());
            self.block(BITMAP, &raw);
        }
    }
}

fn content(n: u8) -> Vec<u8> {
    (0..S * 3).map(|at| (at / 7) as u8 ^ n).collect()
}

/// What the discs hold, besides directories.
fn disc(kind: Kind) -> (Vec<u8>, BTreeMap<&'static str, Vec<u8>>) {
    let mut d = Disc::new(kind);
    let row = d.row();
    let [a, b, c] = [1, 2, 3].map(content);
    for (number, bytes) in [&a, &b, &c].into_iter().enumerate() {
        d.block(DATA + number * 3, bytes);
    }
    // A block, one that was never written, a hole; the second half goes on in another list.
    let zeros = vec![0; S];
    let (reserved, hole) = (1 << 30 | S, 2 << 30 | S);
    let pieces = [long(S, DATA, 0), long(reserved, DATA + 12, 0), long(hole, 0, 0), long(100, DATA + 1, 0)];
    d.file(2, &File::of(5, 1, 3 * S + 100, pieces.concat()));
    let sparse = [&a[..S], &zeros, &zeros, &a[S..S + 100]].concat();
    let next = long(3 << 30 | S, if row == 1 { 30 } else { ENTRIES + 30 }, row);
    d.file(3, &File::of(5, 1, 5000, [long(S, DATA + 3, 0), next].concat()));
    let list = [long(S, DATA + 4, 0), long(904, DATA + 5, 0)].concat();
    let rest = sealed(258, d.location(30), &[vec![0; 4], (list.len() as u32).to_le_bytes().to_vec(), list].concat());
    d.block(ENTRIES + 30, &rest);
    let path = [&[3, 0, 0, 0, 5, 4, 0, 0][..], b"\x08one"].concat();
    d.file(4, &File::inside(12, &path));
    let tree = File { streams: Some(d.icb(8)), links: 2, unique: 77, ..File::inside(5, b"with a stream") };
    d.file(5, &tree);
    d.file(6, &File::inside(5, b"in the stream"));
    d.file(8, &File::inside(13, &[fid("", 10, &d.icb(5), 0), fid("tail", 16, &d.icb(6), 0)].concat()));
    let device = [12u32, 1, 24, 0, 7, 300].map(u32::to_le_bytes).concat();
    let space = [sealed(262, d.location(9), &[24, 0, 0, 0, 255, 255, 255, 255]), device].concat();
    d.file(9, &File { attributes: space, ..File::of(6, 3, 0, vec![]) });
    // Two states of one file: the second holds.
    d.file(10, &File { strategy: 4096, ..File::inside(5, b"before") });
    let link = sealed(259, d.location(11), &[vec![0; 20], d.icb(12)].concat());
    d.block(ENTRIES + 11, &link);
    d.file(12, &File { strategy: 4096, ..File::inside(5, b"afterwards") });
    d.file(7, &File::inside(4, &[fid("", 10, &d.icb(1), 0), fid("second", 0, &d.icb(5), 77)].concat()));
    let names = [
        fid("", 10, &d.icb(1), 0),
        fid("one", 0, &d.icb(2), 0),
        fid("long", 1, &d.icb(3), 0),
        fid("link", 0, &d.icb(4), 0),
        fid("streamed", 0, &d.icb(5), 77),
        fid("folder", 2, &d.icb(7), 0),
        fid("disk", 0, &d.icb(9), 0),
        fid("chain", 0, &d.icb(10), 0),
        fid("renamed", 4, &d.icb(2), 0),
        fid("gone", 4, &long(S, 125, 0), 5),
        fid("reused", 4, &long(S, 125, 0), 6),
    ];
    d.file(1, &File::inside(4, &names.concat()));
    // A deleted file whose entry nobody wiped, and one without a name.
    for (block, unique) in [(125, 5), (130, 9)] {
        let file = File { unique, ..File::of(5, 1, 700, long(700, block + 1, 0)) };
        d.block(block, &file.entry(block));
        d.block(block + 1, &c[..700]);
    }
    let mut set = vec![0; 496];
    put(&mut set, 384, &d.icb(1));
    let raw = sealed(256, d.location(0), &set);
    d.block(ENTRIES, &raw);
    d.close(31);
    let mut known = BTreeMap::from([("/one", sparse), ("/long", b[..5000].to_vec())]);
    known.extend(
        [("/streamed", &b"with a stream"[..]), ("/streamed:tail", b"in the stream")].map(|(n, b)| (n, b.to_vec())),
    );
    known.extend([("/folder/second", &b"with a stream"[..]), ("/chain", b"afterwards")].map(|(n, b)| (n, b.to_vec())));
    (d.bytes, known)
}

/// What the volume says, entries with their content, what could not be read, and free space.
type Listed = (Facts, Vec<(Entry, Vec<u8>)>, Vec<Fault>, Vec<Extent>);

fn list(bytes: &[u8]) -> Option<Listed> {
    let image = of_bytes(bytes).unwrap();
    let view = View::whole(image.as_ref());
    probe(view)?;
    let disc = open(view).ok()?;
    let (listed, faults) = entries(disc.as_ref());
    let read = |entry: Entry| {
        let content = Content::new(view, &entry.stream).slice(0, 1 << 16).prefix(1 << 16).into_owned();
        (entry, content)
    };
    let free = disc.unallocated().flatten().collect();
    Some((disc.facts().clone(), listed.into_iter().map(read).collect(), faults, free))
}

const KINDS: [Kind; 5] = [Plain, Virtual(200), Virtual(150), Sparable, Metadata];

#[test]
fn discs_of_every_kind_are_read() {
    for kind in KINDS {
        let (bytes, known) = disc(kind);
        let (facts, listed, faults, free) = list(&bytes).unwrap();
        assert_eq!((facts.label.as_str(), facts.id.as_str()), ("A label", "0123456789abcdef"));
        let none = |what: String| assert!(what == "[]", "{kind:?}: {what}");
        none(format!("{:?}", facts.faults));
        none(format!("{:?}", faults));
        let of = |path: &str| listed.iter().find(|(e, _)| e.path == path && e.allocated).map(|(e, _)| e).unwrap();
        for (path, content) in &known {
            let (entry, found) = listed.iter().find(|(entry, _)| entry.path == *path).expect(path);
            assert_eq!(found, content, "{kind:?} {path}");
            none(format!("{:?}", entry.faults));
        }
        assert_eq!(of("/link").target.as_deref(), Some("../one"));
        assert_eq!(of("/disk").note.as_deref(), Some("device 7:300"));
        assert_eq!(of("/streamed:tail").kind, EntryKind::Stream);
        assert_eq!(of("/long").attributes, [("hidden".to_owned(), "yes".to_owned())]);
        let streamed = of("/streamed");
        assert!(streamed.linked && streamed.inode == of("/folder/second").inode);
        assert_eq!(streamed.access.map(|a| (a.mode, a.uid, a.gid)), Some((0o100_754, 1000, 100)));
        let shown = [streamed.times.btime, streamed.times.mtime].map(|time| time.map(|time| time.rfc3339()));
        assert_eq!(shown.map(|time| time.unwrap()[8..10].to_owned()), ["09", "02"]);
        assert!(of("/chain").note.as_deref().unwrap().starts_with("1 earlier states"));
        // A disc that is written once keeps what stands there: it is not free by a bitmap, but belongs to nothing.
        let gone = |path: &str| listed.iter().find(|(e, _)| e.path == path && !e.allocated).unwrap();
        let (entry, content_of) = gone("/gone");
        assert_eq!((entry.recovered, content_of.as_slice()), (Some(Recovered::Intact), &content(3)[..700]), "{kind:?}");
        for path in ["/renamed", "/reused"] {
            assert_eq!(gone(path).0.recovered, Some(Recovered::NameOnly), "{path}");
        }
        let (_, orphan) = gone("/$OrphanFiles/OrphanFile-0-130");
        assert_eq!(orphan.as_slice(), &content(3)[..700]);
        let live = listed.iter().filter(|(e, _)| e.allocated).count();
        assert_eq!((live, listed.len() - live), (known.len() + 4, 4), "{kind:?}");
        let free = ExtentSet::new(free);
        assert!(free.touches(Extent::new(((START + 126) * S) as u64, 700)) && free.touches(Extent::new(0, 1)));
        assert!(!free.touches(Extent::new(((START + DATA) * S) as u64, 700)));
    }
}

#[test]
fn a_damaged_main_sequence_is_made_good_by_the_reserve() {
    let (mut bytes, known) = disc(Plain);
    bytes[34 * S + 100] ^= 1;
    let (facts, listed, ..) = list(&bytes).unwrap();
    let told: Vec<&str> = facts.faults.iter().map(|fault| fault.what.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().any(|what| what.ends_with("its CRC does not fit")), "{told:?}");
    assert!(known.keys().all(|path| listed.iter().any(|(entry, _)| entry.path == *path)));
    // Both are sound, and differ.
    let (mut bytes, _) = disc(Plain);
    let mut body = bytes[34 * S + 16..35 * S - 1000].to_vec();
    body[70] = b'X';
    let len = usize::from(u16::from_le_bytes([bytes[34 * S + 10], bytes[34 * S + 11]]));
    put(&mut bytes, 34 * S, &sealed(6, 34, &body[..len]));
    let (facts, ..) = list(&bytes).unwrap();
    assert_eq!(facts.label, "AXlabel");
    assert!(facts.anomalies.iter().any(|anomaly| anomaly.sign.what.contains("logical volume descriptor differs")));
}

#[test]
fn the_mirror_of_the_metadata_is_used() {
    let (mut bytes, known) = disc(Metadata);
    bytes[(START + 2) * S + 60] ^= 1;
    let (facts, listed, ..) = list(&bytes).unwrap();
    assert_eq!(facts.faults.len(), 1, "{:?}", facts.faults);
    assert!(known.keys().all(|path| listed.iter().any(|(entry, _)| entry.path == *path)));
}

#[test]
fn a_damaged_anchor_is_made_good_by_another() {
    let (mut bytes, known) = disc(Plain);
    let last = bytes.len() / S - 1;
    let body = bytes[256 * S + 16..257 * S - 1536].to_vec();
    put(&mut bytes, last * S, &sealed(2, last, &body));
    bytes[256 * S + 20] ^= 1;
    let (facts, listed, ..) = list(&bytes).unwrap();
    assert_eq!(facts.faults.len(), 1, "{:?}", facts.faults);
    assert!(facts.faults[0].what.contains("anchor at sector 256"));
    assert!(known.keys().all(|path| listed.iter().any(|(entry, _)| entry.path == *path)));
}

#[test]
fn what_an_earlier_session_named_is_deleted() {
    for kind in [Virtual(200), Virtual(150)] {
        let (bytes, known) = disc(kind);
        let mut d = Disc { bytes, kind };
        // Before, `/long` was another file.
        d.block(DATA + 20, b"of an earlier session");
        let raw = File::of(5, 1, 21, long(21, DATA + 20, 0)).entry(3);
        d.block(ENTRIES + 31, &raw);
        let mut table: Vec<u32> = (0..31).map(|number| (ENTRIES + number) as u32).collect();
        table[3] = (ENTRIES + 31) as u32;
        let mut table: Vec<u8> = table.iter().flat_map(|row| row.to_le_bytes()).collect();
        let at = BLOCKS - 8;
        let (own, held) = match kind {
            Virtual(150) => {
                table.extend([regid("*UDF Virtual Alloc Tbl", &[]), vec![255; 4]].concat());
                (0, table)
            }
            _ => {
                let mut head = vec![0; 152];
                put(&mut head, 0, &152u16.to_le_bytes());
                put(&mut head, 132, &[255; 4]);
                (248, [head, table].concat())
            }
        };
        let raw = File::inside(own, &held).entry(at);
        d.block(at, &raw);
        // The last table leads to it.
        let last = (START + BLOCKS - 1) * S;
        let len = 160 + u32::from_le_bytes(d.bytes[last + 172..last + 176].try_into().unwrap()) as usize;
        let mut body = d.bytes[last + 16..last + 16 + len].to_vec();
        let previous = if kind == Virtual(150) { len - 4 } else { 160 + 132 };
        put(&mut body, previous, &(at as u32).to_le_bytes());
        put(&mut d.bytes, last, &sealed(261, BLOCKS - 1, &body));
        let (facts, listed, ..) = list(&d.bytes).unwrap();
        assert!(facts.faults.is_empty(), "{:?}", facts.faults);
        let (live, gone): (Vec<_>, Vec<_>) = listed.iter().partition(|(entry, _)| entry.allocated);
        assert!(known.keys().all(|path| live.iter().any(|(entry, _)| entry.path == *path)), "{kind:?}");
        let (old, content) = gone.iter().find(|(entry, _)| entry.path == "/long").expect("it is listed");
        assert_eq!((old.recovered, content.as_slice()), (Some(Recovered::Intact), &b"of an earlier session"[..]));
        assert!(old.note.as_deref().unwrap().contains("a later one does not"), "{:?}", old.note);
    }
}

#[test]
fn a_damaged_directory_does_not_hide_its_files() {
    for kind in [Plain, Sparable, Metadata, Virtual(200)] {
        let (mut bytes, known) = disc(kind);
        // The name of the first file, in the root directory's entry.
        let at = memchr::memmem::find(&bytes, b"\x08one").unwrap() - 38;
        bytes[at..at + 40].fill(7);
        let (facts, listed, mut faults, _) = list(&bytes).unwrap();
        faults.extend(facts.faults);
        assert!(faults.iter().any(|fault| fault.what.contains("a name of the directory is damaged")), "{faults:?}");
        let orphans = listed.iter().filter(|(e, _)| e.allocated && e.path.starts_with("/$OrphanFiles/"));
        let contents: Vec<&[u8]> = orphans.map(|(_, content)| content.as_slice()).collect();
        assert!(contents == [&known["/one"][..]], "{kind:?}: {}", contents.len());
        assert_eq!(listed.iter().filter(|(e, _)| e.allocated).count(), known.len() + 4, "{kind:?}");
    }
}

#[test]
fn an_open_volume_is_told() {
    let (mut bytes, _) = disc(Plain);
    let mut body = bytes[96 * S + 16..96 * S + 88].to_vec();
    body[12] = 0;
    put(&mut bytes, 96 * S, &sealed(9, 96, &body));
    let (facts, ..) = list(&bytes).unwrap();
    assert!(facts.anomalies.iter().any(|anomaly| anomaly.sign.what.contains("not closed")), "{:?}", facts.anomalies);
}

proptest! {
    #[test]
    fn damage_ends_without_a_panic(
        kind in 0usize..5,
        changes in prop::collection::vec((0usize..(START + BLOCKS) * S, any::<u8>()), 0..40),
        end in 0usize..(START + BLOCKS) * S * 4,
    ) {
        let (mut bytes, _) = disc(KINDS[kind]);
        let written: Vec<usize> = (0..bytes.len()).step_by(64).filter(|at| bytes[*at..*at + 64].iter().any(|b| *b != 0)).collect();
        for (at, byte) in changes {
            let at = written[at % written.len()] + at % 64;
            bytes[at] = byte;
        }
        bytes.truncate(end.max(4096));
        let size = bytes.len() as u64;
        if let Some((_, _, _, free)) = list(&bytes) {
            prop_assert!(free.iter().all(|extent| extent.end() <= size));
        }
    }
}
