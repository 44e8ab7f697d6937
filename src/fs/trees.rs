//! Several trees of names over the same content, as optical discs have them (ISO 9660, Joliet, UDF, sessions): one listing of
//! them, and each difference told, since a file that only one tree has is hidden from whoever sees another.

use super::{Anomaly, Entry, EntryKind, Recovered, pieces};
use crate::content::Run;
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::image::View;
use std::collections::{HashMap, HashSet};

/// Anomalies of one kind that are told one by one.
const MAX_TOLD: usize = 100;
/// Names that one anomaly gives as examples.
const MAX_NAMES: usize = 5;

/// What a walk found.
#[derive(Default)]
pub(super) struct Tree {
    /// How it is called: `Rock Ridge`, `Joliet` …
    pub(super) title: &'static str,
    pub(super) entries: Vec<Entry>,
    pub(super) faults: Vec<Fault>,
    pub(super) anomalies: Vec<Anomaly>,
    /// What directories, tables and fields take.
    pub(super) used: Vec<Extent>,
}

/// What names a file in every tree: where its content lies, and its size.
pub(super) type Place = (Vec<(u64, u64)>, u64);

/// Where the bytes of an entry lie; none for what has none.
pub(super) fn place(entry: &Entry) -> Option<Place> {
    let is_file = !matches!(entry.kind, EntryKind::Directory | EntryKind::Symlink | EntryKind::Special);
    if !is_file || entry.stream.size == 0 {
        return None;
    }
    // Some trees count the rest of the last block, or tell one stretch as several.
    let (mut pieces, mut left): (Vec<(u64, u64)>, u64) = (Vec::new(), entry.stream.size);
    for run in &entry.stream.runs {
        let len = run.len().min(left);
        left = left.saturating_sub(len);
        let Run::Data(extent) = run else { continue };
        match pieces.last_mut() {
            Some((start, last)) if start.saturating_add(*last) == extent.start => *last = last.saturating_add(len),
            _ if len > 0 => pieces.push((extent.start, len)),
            _ => {}
        }
    }
    Some((pieces, entry.stream.size))
}

/// The extents of an entry.
pub(super) fn extents(entry: &Entry) -> impl Iterator<Item = Extent> + '_ {
    pieces::extents(&entry.stream.runs)
}

fn is_empty_file(entry: &Entry) -> bool {
    entry.kind == EntryKind::File && entry.stream.size == 0
}

/// Takes over what only the other tree has, and tells of all differences. `by`: who tells.
pub(super) fn join(view: View<'_>, by: &str, whole: &mut Tree, other: Tree) {
    let (title, best) = (other.title, whole.title);
    let (mine, theirs): (HashSet<Place>, HashSet<Place>) =
        (whole.entries.iter().filter_map(place).collect(), other.entries.iter().filter_map(place).collect());
    let lacking: Vec<&Entry> =
        whole.entries.iter().filter(|e| place(e).is_some_and(|p| !theirs.contains(&p))).collect();
    let mut signs = Vec::new();
    if let Some(first) = lacking.first() {
        let names: Vec<&str> = lacking.iter().take(MAX_NAMES).map(|entry| entry.path.as_str()).collect();
        let more = if lacking.len() > MAX_NAMES { " …" } else { "" };
        let what =
            format!("the {title} tree lacks {} files of the {best} tree: {}{more}", lacking.len(), names.join(", "));
        signs.push(Anomaly { sign: Fault::new(view.absolute(first.at), by, what), extents: Vec::new() });
    }
    let empty = |entries: &[Entry]| entries.iter().filter(|entry| is_empty_file(entry)).count();
    let (ours, others) = (empty(&whole.entries), empty(&other.entries));
    let names: HashSet<String> = whole.entries.iter().map(|entry| entry.path.to_lowercase()).collect();
    let mut told = 0usize;
    for mut entry in other.entries {
        let hidden = match place(&entry) {
            Some(place) => !mine.contains(&place),
            None => is_empty_file(&entry) && others > ours && !names.contains(&entry.path.to_lowercase()),
        };
        if !hidden {
            continue;
        }
        entry.remark(&format!("only the {title} tree names it"));
        told = told.saturating_add(1);
        if told <= MAX_TOLD {
            let what = format!("{}: only the {title} tree names it, the {best} tree does not", entry.path);
            let extents = extents(&entry).collect();
            signs.push(Anomaly { sign: Fault::new(view.absolute(entry.at), by, what), extents });
        }
        whole.entries.push(entry);
    }
    if told > MAX_TOLD {
        let what = format!("the {title} tree names {told} files that the {best} tree does not; {MAX_TOLD} are told");
        let at = view.absolute(whole.entries.last().map_or(0, |entry| entry.at));
        signs.push(Anomaly { sign: Fault::new(at, by, what), extents: Vec::new() });
    }
    whole.anomalies.extend(signs);
    whole.anomalies.extend(other.anomalies);
    whole.faults.extend(other.faults);
    whole.used.extend(other.used);
}

/// Entries that name the same content get the same number, that of the first.
pub(super) fn link(entries: &mut [Entry]) {
    let mut first: HashMap<Place, (usize, bool)> = HashMap::new();
    for (number, entry) in entries.iter().enumerate() {
        // Of what is not read nobody knows whether it is the same.
        if let Some(place) = place(entry).filter(|(extents, _)| !extents.is_empty()) {
            first.entry(place).and_modify(|(_, several)| *several = true).or_insert((number, false));
        }
    }
    for number in 0..entries.len() {
        let Some((leader, true)) = entries.get(number).and_then(place).and_then(|place| first.get(&place)) else {
            continue;
        };
        let inode = entries.get(*leader).map(|entry| entry.inode.clone()).unwrap_or_default();
        if let Some(entry) = entries.get_mut(number) {
            (entry.inode, entry.linked) = (inode, true);
        }
    }
}

/// What an earlier session named and the later ones do not: deleted for whoever sees the disc today. `live`: what today's take;
/// `remark`: which session that was.
pub(super) fn earlier(whole: &mut Tree, tree: Tree, live: &ExtentSet, remark: &str) {
    let known: HashSet<_> = whole.entries.iter().map(|entry| (entry.path.clone(), place(entry))).collect();
    let places: HashSet<_> = whole.entries.iter().filter_map(place).collect();
    for mut entry in tree.entries {
        let place = place(&entry);
        let is_kept = place.as_ref().is_some_and(|place| places.contains(place));
        if known.contains(&(entry.path.clone(), place)) {
            continue;
        }
        entry.allocated = false;
        entry.linked = false;
        let hit = extents(&entry).filter(|extent| live.touches(*extent)).count();
        entry.recovered = Some(match (hit, extents(&entry).count()) {
            (0, _) => Recovered::Intact,
            // A file of today has the same content under another name, or another place in the tree.
            _ if is_kept => Recovered::Intact,
            (hit, all) if hit == all => Recovered::Overwritten,
            _ => Recovered::Partial,
        });
        entry.remark(remark);
        whole.entries.push(entry);
    }
    whole.faults.extend(tree.faults);
    whole.anomalies.extend(tree.anomalies);
}

/// One tree of two that a disc has side by side: that with more files first. Deleted entries are taken over once.
pub(super) fn unite(view: View<'_>, by: &str, one: Tree, other: Tree) -> Tree {
    let files =
        |tree: &Tree| tree.entries.iter().filter(|entry| entry.allocated && entry.kind == EntryKind::File).count();
    let (mut whole, mut other) = if files(&other) > files(&one) { (other, one) } else { (one, other) };
    let part = |tree: &mut Tree| {
        let (live, gone): (Vec<Entry>, Vec<Entry>) =
            std::mem::take(&mut tree.entries).into_iter().partition(|e| e.allocated);
        tree.entries = live;
        gone
    };
    let gone = part(&mut whole).into_iter().chain(part(&mut other));
    let gone: Vec<Entry> = gone.collect();
    join(view, by, &mut whole, other);
    link(&mut whole.entries);
    let mut known: HashSet<_> = whole.entries.iter().map(|entry| (entry.path.clone(), place(entry))).collect();
    whole.entries.extend(gone.into_iter().filter(|entry| known.insert((entry.path.clone(), place(entry)))));
    whole
}
