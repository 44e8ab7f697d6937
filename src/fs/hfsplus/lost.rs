//! Deleted files: records of the catalog that nothing leads to any more, in the space behind the records of its nodes, in
//! nodes that are not in use, and in the journal's older copies of nodes.
//!
//! Numbers of files are not used again: what has a number of today is an older state of a file that is there. Of several
//! copies of a record the one that was changed last is taken, of those that still name content. None is called intact: a copy
//! does not tell whether the file was changed before it was deleted. Where all its blocks are free its content is inferred.

use super::Hfs;
use super::btree::{DESCRIPTOR, Node, Tree};
use super::catalog::ORPHANS;
use super::entry::{begin, kind_of, stream_of};
use super::fork::{self, ForkData, Overflow};
use super::record::{Parsed, Record, parse};
use crate::bytes::{Fields, index};
use crate::content::{Content, Run, Stream};
use crate::extent::{Extent, ExtentSet};
use crate::fs::{Certainty, Entry, EntryKind, Origin, Recovered};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::ops::Range;

/// Nodes that are searched together.
const CHUNK: usize = 256;
/// No path may be deeper.
const MAX_DEPTH: usize = 256;

/// A record that was found.
struct Found {
    record: Box<Record>,
    at: u64,
    origin: Origin,
}

impl Found {
    /// Which of two copies tells more.
    fn rank(&self) -> (bool, (u32, u32)) {
        let names_content = self.record.forks.iter().flatten().any(|fork| fork.blocks > 0);
        (names_content, self.record.changed())
    }
}

/// All deleted files and folders.
pub(super) fn deleted(hfs: &Hfs<'_>) -> Vec<Entry> {
    let mut found: BTreeMap<u32, Found> = BTreeMap::new();
    let mut all = in_tree(hfs);
    all.extend(in_journal(hfs));
    for candidate in all.into_iter().filter(|c| !hfs.catalog.is_live(c.record.id)) {
        match found.get(&candidate.record.id) {
            Some(other) if other.rank() >= candidate.rank() => {}
            _ => {
                found.insert(candidate.record.id, candidate);
            }
        }
    }
    let mut overflow = Overflow::default();
    if found.values().any(|f| f.record.forks.iter().flatten().any(is_longer)) {
        old_rows(hfs, &mut overflow);
    }
    found.values().flat_map(|f| entries(hfs, f, path(hfs, &found, &f.record), &overflow)).collect()
}

/// True where a fork has more stretches than its record holds.
fn is_longer(fork: &ForkData) -> bool {
    fork.spans.iter().fold(0u64, |sum, span| sum.saturating_add(span.count.into())) < fork.blocks.into()
}

/// Where a deleted file was: below the folders of today, or those that are gone, too.
fn path(hfs: &Hfs<'_>, found: &BTreeMap<u32, Found>, record: &Record) -> String {
    let (mut names, mut parent) = (vec![record.name.as_str()], record.parent);
    let base = loop {
        if let Some(path) = hfs.catalog.path(parent) {
            break path.as_ref();
        }
        match found.get(&parent).filter(|f| f.record.forks.is_none()) {
            Some(folder) if names.len() < MAX_DEPTH => {
                names.push(&folder.record.name);
                parent = folder.record.parent;
            }
            _ => break ORPHANS,
        }
    };
    names.into_iter().rev().fold(base.to_owned(), |path, name| [&path, "/", name].concat())
}

/// What the nodes of the catalog still hold: leaves behind their records, the others everywhere.
fn in_tree(hfs: &Hfs<'_>) -> Vec<Found> {
    let tree = &hfs.tree;
    let leaves = tree.leaves.par_chunks(CHUNK).map(|nodes| {
        let slack = |node: &Node<'_>| node.slack();
        search(hfs, tree, nodes, &slack)
    });
    let others = tree.others();
    let others = others.par_chunks(CHUNK).map(|nodes| {
        let whole = |node: &Node<'_>| DESCRIPTOR..node.bytes().len();
        search(hfs, tree, nodes, &whole)
    });
    let (mut found, others): (Vec<Vec<Found>>, Vec<Vec<Found>>) = (leaves.collect(), others.collect());
    found.extend(others);
    found.into_iter().flatten().collect()
}

fn search(hfs: &Hfs<'_>, tree: &Tree<'_>, nodes: &[u32], place: &dyn Fn(&Node<'_>) -> Range<usize>) -> Vec<Found> {
    let mut found = Vec::new();
    for node in nodes.iter().filter_map(|number| tree.node(*number)) {
        for (at, record) in stale(hfs, &node, place(&node)) {
            found.push(Found { record, at: tree.place_in(node.number, at), origin: Origin::Slack });
        }
    }
    found
}

/// The possible records in a stretch of a node: they begin at even offsets.
fn stale(hfs: &Hfs<'_>, node: &Node<'_>, range: Range<usize>) -> Vec<(usize, Box<Record>)> {
    let end = range.end;
    let bytes = node.bytes().get(..end).unwrap_or_default();
    let places = (range.start.next_multiple_of(2)..end).step_by(2);
    places.filter_map(|at| Some((at, possible(hfs, bytes.get(at..)?)?))).collect()
}

fn possible(hfs: &Hfs<'_>, b: &[u8]) -> Option<Box<Record>> {
    // Most of what is looked at is zeros.
    (8..=516).contains(&b.be16(0)?).then_some(())?;
    match parse(b)? {
        Parsed::Record(record) if record.is_possible(&hfs.header) && record.id < hfs.header.next_id => Some(record),
        _ => None,
    }
}

/// What the journal holds of older leaves of the catalog.
fn in_journal(hfs: &Hfs<'_>) -> Vec<Found> {
    let places: Vec<u64> = hfs.journal.places().collect();
    let parts: Vec<Vec<Found>> = places.par_chunks(1 << 12).map(|places| in_copies(hfs, places)).collect();
    parts.into_iter().flatten().collect()
}

fn in_copies(hfs: &Hfs<'_>, places: &[u64]) -> Vec<Found> {
    let mut found = Vec::new();
    for at in places {
        let Some(node) = copy(hfs, *at, hfs.tree.node_size) else { continue };
        for (row, bytes) in node.records() {
            if let Some(record) = possible(hfs, bytes) {
                found.push(Found { record, at: at.saturating_add(row as u64), origin: Origin::Journal });
            }
        }
        for (row, record) in stale(hfs, &node, node.slack()) {
            found.push(Found { record, at: at.saturating_add(row as u64), origin: Origin::Journal });
        }
    }
    found
}

/// The copy of a leaf that stands at `at`, if there is one.
fn copy<'a>(hfs: &'a Hfs<'_>, at: u64, size: u64) -> Option<Node<'a>> {
    let head = hfs.view.read(at, DESCRIPTOR as u64).ok()?;
    (head.be16(8)? == 0xff01).then_some(())?;
    Some(Node::new(0, hfs.view.read(at, size).ok()?)).filter(Node::is_leaf)
}

/// Rows of the extents overflow file that are gone, out of the same places.
fn old_rows(hfs: &Hfs<'_>, overflow: &mut Overflow) {
    let mut take = |node: &Node<'_>, range: Range<usize>| {
        for at in (range.start.next_multiple_of(2)..range.end).step_by(2) {
            overflow.add(node.bytes().get(at..range.end).unwrap_or_default());
        }
    };
    let tree = &hfs.extents;
    for node in tree.leaves.iter().filter_map(|number| tree.node(*number)) {
        take(&node, node.slack());
    }
    for node in tree.others().into_iter().filter_map(|number| tree.node(number)) {
        take(&node, DESCRIPTOR..node.bytes().len());
    }
    for node in hfs.journal.places().filter_map(|at| copy(hfs, at, tree.node_size)) {
        take(&node, DESCRIPTOR..node.bytes().len());
    }
}

/// The entries of a deleted file: itself, and its resource fork.
fn entries(hfs: &Hfs<'_>, found: &Found, path: String, overflow: &Overflow) -> Vec<Entry> {
    let record = &found.record;
    let mut entry = begin(record, path, kind_of(record), found.at);
    (entry.allocated, entry.origin) = (false, found.origin);
    entry.recovered = Some(Recovered::NameOnly);
    let Some([data, resource]) = record.forks else { return vec![entry] };
    if record.is_file_link() || record.is_folder_link() {
        entry.remark(&format!("it was another name of {}", record.special));
        return vec![entry];
    }
    let mut streams = Vec::new();
    if resource.blocks > 0 && !record.is_compressed() {
        let mut stream = stream_of(&entry, "rsrc", Stream::default());
        place(hfs, &mut stream, (record.id, fork::RESOURCE), &resource, overflow);
        streams.push(stream);
    }
    if record.is_compressed() {
        entry.remark("it was compressed, and the attribute that says how is gone with it");
    } else if data.blocks == 0 {
        entry.stream.size = data.size;
        entry.remark("its record names no content: it was empty, or deletion emptied it");
    } else {
        place(hfs, &mut entry, (record.id, fork::DATA), &data, overflow);
    }
    if entry.kind == EntryKind::Symlink && !entry.certainty.is_empty() {
        let target = Content::new(hfs.view, &entry.stream).prefix(4096).into_owned();
        entry.target = Some(String::from_utf8_lossy(&target).into_owned());
    }
    streams.insert(0, entry);
    streams
}

/// Puts what a deleted fork names into its entry, and says whose it is now.
fn place(hfs: &Hfs<'_>, entry: &mut Entry, (id, kind): (u32, u8), data: &ForkData, overflow: &Overflow) {
    let (stream, wrong) = fork::stream(&hfs.header, overflow, (id, kind), data);
    let own: ExtentSet = used(&stream).into_iter().collect();
    let free = own.intersect(&hfs.free).total();
    entry.stream = stream;
    let is_free = free == own.total();
    entry.recovered = Some(if free == 0 && !is_free { Recovered::Overwritten } else { Recovered::Partial });
    match wrong {
        Some(what) => entry.remark(&what),
        None if is_free => {
            entry.certainty = vec![(entry.stream.size, Certainty::Inferred)];
            entry.remark(
                "all its blocks are free, but whether it was changed after this copy of its record is not known",
            );
        }
        None => {}
    }
}

/// The stretches that hold content: not what was allocated behind its end.
fn used(stream: &Stream) -> Vec<Extent> {
    let mut left = stream.size;
    let mut out = Vec::with_capacity(index(stream.runs.len() as u64));
    for run in &stream.runs {
        if let Run::Data(extent) = run {
            out.push(Extent::new(extent.start, extent.len.min(left)));
        }
        left = left.saturating_sub(run.len());
    }
    out
}
