//! What is known of the whole catalog: the path of each folder, where links lead, which numbers are in use.

use super::btree::Tree;
use super::record::{Parsed, ROOT, Record, parse};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// Below this path stands what no folder leads to.
pub(super) const ORPHANS: &str = "/$OrphanFiles";
/// The folders that hold what has several names, as macOS shows them.
const FILES: &str = "\u{2400}\u{2400}\u{2400}\u{2400}HFS+ Private Data";
const FOLDERS: &str = ".HFS+ Private Directory Data\r";
/// No path may be deeper.
const MAX_DEPTH: usize = 1024;

/// A folder's name, and the folder that it is in.
#[derive(Clone)]
struct Folder {
    parent: u32,
    name: Box<str>,
}

/// The catalog's index.
#[derive(Default)]
pub(super) struct Catalog {
    /// The volume's name.
    pub(super) label: String,
    paths: HashMap<u32, Arc<str>>,
    /// Files that have several names, by the number that their links have.
    files: HashMap<u32, Arc<Record>>,
    /// Folders that have several names, by the number that their links have.
    folders: HashMap<u32, u32>,
    /// The number of the folder of files that have several names.
    private: Option<u32>,
    /// Numbers in use, sorted.
    live: Vec<u32>,
    /// What is damaged, and where.
    pub(super) wrong: Vec<(u64, String)>,
}

/// What some nodes hold.
#[derive(Default)]
struct Part {
    folders: Vec<(u32, Folder)>,
    /// Records whose names are those of what has several.
    inodes: Vec<Record>,
    folder_links: Vec<(u32, Folder)>,
    live: Vec<u32>,
    wrong: Vec<(u64, String)>,
}

impl Catalog {
    /// Goes through all leaves.
    pub(super) fn read(tree: &Tree<'_>) -> Self {
        let parts: Vec<Part> = tree.leaves.par_chunks(256).map(|nodes| part(tree, nodes)).collect();
        let mut catalog = Self::default();
        let (mut folders, mut inodes, mut links) = (HashMap::new(), Vec::new(), HashMap::new());
        for part in parts {
            folders.extend(part.folders);
            inodes.extend(part.inodes);
            for (number, link) in part.folder_links {
                links.entry(number).or_insert(link);
            }
            catalog.live.extend(part.live);
            catalog.wrong.extend(part.wrong);
        }
        catalog.live.sort_unstable();
        catalog.live.dedup();
        catalog.label = folders.get(&ROOT).map(|root| root.name.to_string()).unwrap_or_default();
        catalog.take_inodes(&folders, inodes);
        // What a folder holds stands below the first of its names.
        for (number, link) in links {
            if let Some(id) = catalog.folders.get(&number) {
                folders.insert(*id, link);
            }
        }
        let mut numbers: Vec<u32> = folders.keys().copied().collect();
        numbers.sort_unstable();
        numbers.into_iter().for_each(|number| catalog.resolve(number, &folders));
        catalog
    }

    /// Files and folders of which links tell, by the number in their name.
    fn take_inodes(&mut self, folders: &HashMap<u32, Folder>, inodes: Vec<Record>) {
        let named = |name: &str| {
            let mut found = folders.iter().filter(|(_, f)| f.parent == ROOT && &*f.name == name).map(|(id, _)| *id);
            found.next()
        };
        self.private = named(FILES);
        let private_folders = named(FOLDERS);
        for record in inodes {
            let number = |start: &str| record.name.strip_prefix(start).and_then(|n| n.parse::<u32>().ok());
            if Some(record.parent) == self.private && record.forks.is_some() {
                if let Some(number) = number("iNode") {
                    self.files.insert(number, Arc::new(record));
                }
            } else if Some(record.parent) == private_folders
                && let Some(number) = number("dir_")
            {
                self.folders.insert(number, record.id);
            }
        }
    }

    /// The path of a folder, with those on the way to it.
    fn resolve(&mut self, number: u32, folders: &HashMap<u32, Folder>) {
        self.paths.entry(ROOT).or_insert_with(|| Arc::from(""));
        let (mut way, mut at) = (Vec::new(), number);
        let base = loop {
            if let Some(path) = self.paths.get(&at) {
                break Arc::clone(path);
            }
            match folders.get(&at) {
                Some(folder) if way.len() < MAX_DEPTH && !way.iter().any(|(id, _)| *id == at) => {
                    way.push((at, folder));
                    at = folder.parent;
                }
                _ => break Arc::from(ORPHANS),
            }
        };
        let mut path = base.to_string();
        for (id, folder) in way.into_iter().rev() {
            path = [&path, "/", &folder.name].concat();
            self.paths.insert(id, Arc::from(path.as_str()));
        }
    }

    /// The path of a folder of today.
    pub(super) fn path(&self, folder: u32) -> Option<&Arc<str>> {
        self.paths.get(&folder)
    }

    /// The file that a link leads to.
    pub(super) fn file_of(&self, link: &Record) -> Option<&Arc<Record>> {
        self.files.get(&link.special)
    }

    /// The number of the folder that a link leads to.
    pub(super) fn folder_of(&self, link: &Record) -> Option<u32> {
        self.folders.get(&link.special).copied()
    }

    /// True for the record of a file that has several names.
    pub(super) fn is_inode(&self, record: &Record) -> bool {
        Some(record.parent) == self.private && record.name.starts_with("iNode")
    }

    /// Whether a number is in use.
    pub(super) fn is_live(&self, id: u32) -> bool {
        self.live.binary_search(&id).is_ok()
    }
}

fn part(tree: &Tree<'_>, nodes: &[u32]) -> Part {
    let mut part = Part::default();
    for number in nodes {
        let Some(node) = tree.node(*number) else {
            part.wrong.push((tree.place_in(*number, 0), format!("catalog: node {number} cannot be read")));
            continue;
        };
        for (row, (at, bytes)) in node.records().enumerate() {
            match parse(bytes) {
                Some(Parsed::Record(record)) => part.take(*record),
                Some(Parsed::Thread) => {}
                None => {
                    let what = format!("catalog: record {row} of node {number} is damaged");
                    part.wrong.push((tree.place_in(*number, at), what));
                }
            }
        }
    }
    part
}

impl Part {
    fn take(&mut self, record: Record) {
        self.live.push(record.id);
        let folder = || Folder { parent: record.parent, name: record.name.clone().into() };
        if record.is_folder_link() {
            self.folder_links.push((record.special, folder()));
        }
        if record.forks.is_none() {
            self.folders.push((record.id, folder()));
        }
        if record.name.starts_with("iNode") || record.name.starts_with("dir_") {
            self.inodes.push(record);
        }
    }
}
