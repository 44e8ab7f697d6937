//! A writer of FAT16 and FAT32 volumes for tests: no driver of the system gives such control over where clusters go.
//!
//! Microsoft FAT specification 1.03. Files grow by one cluster after the other; where the next one is looked for is the
//! allocator's matter. A deletion takes the first letter of all entries of the name and frees the chain, no more.

#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::collections::HashMap;
use std::path::Path;

/// Where the next cluster is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocator {
    /// The first free one of the volume.
    FirstFree,
    /// The first free one behind the last that was given away.
    NextFree,
}

const SECTOR: usize = 512;
const RESERVED: usize = 32;
const ROOT_ENTRIES: usize = 512;

struct Folder {
    /// Bytes of the image in which its entries stand, in order.
    slots: Vec<usize>,
    used: usize,
    chain: Vec<u32>,
}

struct Node {
    folder: String,
    /// The slots of its name: long entries, then the short one.
    slots: Vec<usize>,
    chain: Vec<u32>,
    size: usize,
}

/// A volume that is written.
pub struct FatVolume {
    bytes: Vec<u8>,
    wide: bool,
    cluster: usize,
    table_len: usize,
    data: usize,
    fat: Vec<u32>,
    last: u32,
    allocator: Allocator,
    folders: HashMap<String, Folder>,
    files: HashMap<String, Node>,
    clock: u16,
    serial: u32,
}

impl FatVolume {
    /// An empty volume of `size` bytes with clusters of `cluster` bytes.
    pub fn new(size: usize, cluster: usize, wide: bool, allocator: Allocator) -> Self {
        let width = if wide { 4 } else { 2 };
        let root = if wide { 0 } else { ROOT_ENTRIES * 32 };
        let table_len = ((size / cluster + 2) * width).next_multiple_of(SECTOR);
        let data = RESERVED * SECTOR + 2 * table_len + root;
        let clusters = (size - data) / cluster;
        let mut volume = Self {
            bytes: vec![0; size],
            wide,
            cluster,
            table_len,
            data,
            fat: vec![0; clusters + 2],
            last: 2,
            allocator,
            folders: HashMap::new(),
            files: HashMap::new(),
            clock: 0,
            serial: 0,
        };
        volume.boot(size, root);
        volume.set(0, 0x0fff_fff8);
        volume.set(1, 0x0fff_ffff);
        let root_slots = (0..root / 32).map(|i| RESERVED * SECTOR + 2 * table_len + i * 32).collect();
        volume.folders.insert(String::new(), Folder { slots: root_slots, used: 0, chain: Vec::new() });
        if wide {
            volume.grow(String::new());
        }
        volume
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn boot(&mut self, size: usize, root: usize) {
        self.put(0, &[0xeb, 0x3c, 0x90]);
        self.put(3, b"MSDOS5.0");
        self.put(11, &(SECTOR as u16).to_le_bytes());
        self.put(13, &[(self.cluster / SECTOR) as u8]);
        self.put(14, &(RESERVED as u16).to_le_bytes());
        self.put(16, &[2]);
        self.put(17, &((root / 32) as u16).to_le_bytes());
        self.put(21, &[0xf8]);
        self.put(32, &((size / SECTOR) as u32).to_le_bytes());
        let sectors = self.table_len / SECTOR;
        if self.wide {
            self.put(36, &(sectors as u32).to_le_bytes());
            self.put(44, &2u32.to_le_bytes());
            self.put(66, &[0x29]);
        } else {
            self.put(22, &(sectors as u16).to_le_bytes());
            self.put(38, &[0x29]);
        }
        self.put(510, &[0x55, 0xaa]);
    }

    fn set(&mut self, cluster: u32, value: u32) {
        self.fat[cluster as usize] = value;
        let width = if self.wide { 4 } else { 2 };
        for copy in 0..2 {
            let at = RESERVED * SECTOR + copy * self.table_len + cluster as usize * width;
            let raw = value.to_le_bytes();
            self.put(at, &raw[..width]);
        }
    }

    fn place(&self, cluster: u32) -> usize {
        self.data + (cluster as usize - 2) * self.cluster
    }

    /// Takes a free cluster and hangs it behind `after`.
    fn allocate(&mut self, after: Option<u32>) -> u32 {
        let end = self.fat.len() as u32;
        let from = if self.allocator == Allocator::FirstFree { 2 } else { self.last };
        let free = (from..end).chain(2..from).find(|c| self.fat[*c as usize] == 0).expect("there is room");
        self.last = free;
        self.set(free, if self.wide { 0x0fff_ffff } else { 0xffff });
        if let Some(after) = after {
            self.set(after, free);
        }
        free
    }

    /// Gives a folder another cluster, empty.
    fn grow(&mut self, path: String) -> u32 {
        let tail = self.folders[&path].chain.last().copied();
        let cluster = self.allocate(tail);
        let at = self.place(cluster);
        self.bytes[at..at + self.cluster].fill(0);
        let slots = (0..self.cluster / 32).map(|i| at + i * 32);
        let folder = self.folders.get_mut(&path).expect("the folder is there");
        folder.slots.extend(slots);
        folder.chain.push(cluster);
        cluster
    }

    fn slot(&mut self, folder: &str) -> usize {
        if self.folders[folder].used == self.folders[folder].slots.len() {
            self.grow(folder.to_owned());
        }
        let folder = self.folders.get_mut(folder).expect("the folder is there");
        folder.used += 1;
        folder.slots[folder.used - 1]
    }

    fn split(path: &str) -> (String, String) {
        let (folder, name) = path.rsplit_once('/').expect("a path begins with a slash");
        (folder.to_owned(), name.to_owned())
    }

    /// The next moment: two seconds on.
    fn now(&mut self) -> [u8; 4] {
        self.clock += 1;
        let (minutes, seconds) = (self.clock / 30, self.clock % 30);
        let time = (minutes / 60 % 24) << 11 | (minutes % 60) << 5 | seconds;
        let date: u16 = 44 << 9 | 3 << 5 | (1 + minutes / 1440);
        let mut raw = [0; 4];
        raw[..2].copy_from_slice(&time.to_le_bytes());
        raw[2..].copy_from_slice(&date.to_le_bytes());
        raw
    }

    /// A short name as Windows makes it for the many: two letters, a number in hexadecimal, `~1`.
    fn short_name(name: &str, serial: u32) -> [u8; 11] {
        let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_uppercase();
        let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let base: String = letters(base).chars().take(2).collect();
        let mut short = [b' '; 11];
        let text = format!("{base}{serial:04X}~1");
        short[..text.len()].copy_from_slice(text.as_bytes());
        let extension: String = letters(extension).chars().take(3).collect();
        short[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
        short
    }

    /// Writes the entries of a new name; gives their slots.
    fn enter(&mut self, path: &str, attributes: u8, cluster: u32) -> Vec<usize> {
        let (folder, name) = Self::split(path);
        self.serial += 1;
        let short = Self::short_name(&name, self.serial);
        let sum = short.iter().fold(0u8, |sum, b| sum.rotate_right(1).wrapping_add(*b));
        let mut units: Vec<u16> = name.encode_utf16().collect();
        if !units.len().is_multiple_of(13) {
            units.push(0);
        }
        let parts = units.len().div_ceil(13);
        units.resize(parts * 13, 0xffff);
        let mut slots = Vec::new();
        for (number, part) in units.chunks(13).enumerate().rev() {
            let at = self.slot(&folder);
            let order = (number + 1) as u8 | if number + 1 == parts { 0x40 } else { 0 };
            self.put(at, &[order]);
            self.put(at + 11, &[0x0f, 0, sum]);
            self.put(at + 26, &[0, 0]);
            let places = (1..11).step_by(2).chain((14..26).step_by(2)).chain((28..32).step_by(2));
            for (unit, place) in part.iter().zip(places) {
                self.put(at + place, &unit.to_le_bytes());
            }
            slots.push(at);
        }
        let at = self.slot(&folder);
        let now = self.now();
        self.put(at, &short);
        self.put(at + 11, &[attributes]);
        self.put(at + 14, &now);
        self.put(at + 18, &now[2..]);
        self.put(at + 22, &now);
        self.point(at, cluster, 0);
        slots.push(at);
        slots
    }

    fn point(&mut self, slot: usize, cluster: u32, size: usize) {
        self.put(slot + 20, &((cluster >> 16) as u16).to_le_bytes());
        self.put(slot + 26, &(cluster as u16).to_le_bytes());
        self.put(slot + 28, &(size as u32).to_le_bytes());
    }

    /// Makes a folder.
    pub fn folder(&mut self, path: &str) {
        let (above, _) = Self::split(path);
        self.folders.insert(path.to_owned(), Folder { slots: Vec::new(), used: 0, chain: Vec::new() });
        let own = self.grow(path.to_owned());
        let above = if above.is_empty() { 0 } else { self.folders[&above].chain[0] };
        for (name, cluster) in [(b".          ", own), (b"..         ", above)] {
            let at = self.slot(path);
            let now = self.now();
            self.put(at, name);
            self.put(at + 11, &[0x10]);
            self.put(at + 22, &now);
            self.point(at, cluster, 0);
        }
        let slots = self.enter(path, 0x10, own);
        let (folder, _) = Self::split(path);
        let node = Node { folder, slots, chain: Vec::new(), size: 0 };
        self.files.insert(format!("{path}/"), node);
    }

    /// Appends to a file, made where it is not there.
    pub fn append(&mut self, path: &str, bytes: &[u8]) {
        if !self.files.contains_key(path) {
            let slots = self.enter(path, 0x20, 0);
            let (folder, _) = Self::split(path);
            self.files.insert(path.to_owned(), Node { folder, slots, chain: Vec::new(), size: 0 });
        }
        let mut node = self.files.remove(path).expect("the file is there");
        for byte in bytes {
            if node.size == node.chain.len() * self.cluster {
                node.chain.push(self.allocate(node.chain.last().copied()));
            }
            let at = self.place(*node.chain.last().expect("it has a cluster")) + node.size % self.cluster;
            self.bytes[at] = *byte;
            node.size += 1;
        }
        let short = *node.slots.last().expect("it has a name");
        self.point(short, node.chain.first().copied().unwrap_or(0), node.size);
        let now = self.now();
        self.put(short + 22, &now);
        self.files.insert(path.to_owned(), node);
    }

    /// What a file holds.
    pub fn read(&self, path: &str) -> Vec<u8> {
        let node = &self.files[path];
        let all = node.chain.iter().flat_map(|c| &self.bytes[self.place(*c)..self.place(*c) + self.cluster]);
        all.copied().take(node.size).collect()
    }

    fn unname(&mut self, slots: &[usize]) {
        slots.iter().for_each(|at| self.put(*at, &[0xe5]));
    }

    /// Deletes a file.
    pub fn delete(&mut self, path: &str) {
        let node = self.files.remove(path).expect("the file is there");
        self.unname(&node.slots);
        node.chain.iter().for_each(|c| self.set(*c, 0));
    }

    /// Deletes an empty folder.
    pub fn delete_folder(&mut self, path: &str) {
        let node = self.files.remove(&format!("{path}/")).expect("the folder is there");
        self.unname(&node.slots);
        let folder = self.folders.remove(path).expect("the folder is there");
        folder.chain.iter().for_each(|c| self.set(*c, 0));
    }

    /// Gives a file another name.
    pub fn rename(&mut self, from: &str, to: &str) {
        let node = self.files.remove(from).expect("the file is there");
        let times: Vec<u8> = self.bytes[node.slots.last().unwrap() + 14..node.slots.last().unwrap() + 26].to_vec();
        self.unname(&node.slots);
        let slots = self.enter(to, 0x20, node.chain.first().copied().unwrap_or(0));
        let short = *slots.last().expect("it has a name");
        self.put(short + 14, &times);
        self.point(short, node.chain.first().copied().unwrap_or(0), node.size);
        let (folder, _) = Self::split(to);
        debug_assert!(self.folders.contains_key(&node.folder));
        self.files.insert(to.to_owned(), Node { folder, slots, ..node });
    }

    /// Writes the volume to a file.
    pub fn save(&self, path: &Path) {
        std::fs::write(path, &self.bytes).expect("the volume is written");
    }
}
