//! One session as a user sees it: its best tree, what only the others have, and its boot images.

use super::NAME;
use super::boot;
use super::descriptor::{Names, SECTOR, Session};
use super::tree::{Tree, may_extend};
use crate::content::{Run, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::{Anomaly, Entry, EntryKind};
use crate::image::View;
use std::collections::{HashMap, HashSet};

/// Anomalies of one kind that are told one by one.
const MAX_TOLD: usize = 100;
/// Names that one anomaly gives as examples.
const MAX_NAMES: usize = 5;

/// Reads all trees of a session and makes one of them.
pub(super) fn read(view: View<'_>, session: &Session) -> Tree {
    let mut trees: Vec<Tree> =
        session.volumes.iter().map(|volume| Tree::read(view, volume, may_extend(volume.names))).collect();
    // Rock Ridge before Joliet before the others; the primary one before what has no better names.
    let rank = |tree: &Tree| match tree.title {
        "Rock Ridge" => 0,
        "Joliet" => 1,
        "enhanced" => 2,
        "primary" => 3,
        _ => 4,
    };
    trees.sort_by_key(rank);
    let mut trees = trees.into_iter();
    let mut whole = trees.next().unwrap_or_default();
    for other in trees {
        join(view, &mut whole, other);
    }
    whole.used.push(session.extent);
    boot_images(view, session, &mut whole);
    link(&mut whole.entries);
    for volume in &session.volumes {
        for field in &volume.differing {
            let what = format!("the {} volume descriptor: the two copies of {field} differ", volume.names.title());
            whole.anomalies.push(Anomaly { sign: Fault::new(view.absolute(volume.at), NAME, what), extents: vec![] });
        }
    }
    whole
}

/// What names a file in every tree: where its content lies.
type Place = (Vec<(u64, u64)>, u64);

/// Where the bytes of an entry lie; none for what has none.
pub(super) fn place(entry: &Entry) -> Option<Place> {
    let is_file = !matches!(entry.kind, EntryKind::Directory | EntryKind::Symlink | EntryKind::Special);
    (is_file && entry.stream.size > 0).then(|| (extents(entry).map(|e| (e.start, e.len)).collect(), entry.stream.size))
}

/// The extents of an entry.
pub(super) fn extents(entry: &Entry) -> impl Iterator<Item = Extent> + '_ {
    entry.stream.runs.iter().filter_map(|run| if let Run::Data(extent) = run { Some(*extent) } else { None })
}

fn is_empty_file(entry: &Entry) -> bool {
    entry.kind == EntryKind::File && entry.stream.size == 0
}

/// Takes over what only the other tree has, and tells of all differences.
fn join(view: View<'_>, whole: &mut Tree, other: Tree) {
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
        signs.push(Anomaly { sign: Fault::new(view.absolute(first.at), NAME, what), extents: Vec::new() });
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
            signs.push(Anomaly { sign: Fault::new(view.absolute(entry.at), NAME, what), extents });
        }
        whole.entries.push(entry);
    }
    if told > MAX_TOLD {
        let what = format!("the {title} tree names {told} files that the {best} tree does not; {MAX_TOLD} are told");
        let at = view.absolute(whole.entries.last().map_or(0, |entry| entry.at));
        signs.push(Anomaly { sign: Fault::new(at, NAME, what), extents: Vec::new() });
    }
    whole.anomalies.extend(signs);
    whole.anomalies.extend(other.anomalies);
    whole.faults.extend(other.faults);
    whole.used.extend(other.used);
}

/// Lists boot images that no file of the tree is, and marks those that one is.
fn boot_images(view: View<'_>, session: &Session, whole: &mut Tree) {
    let Some(at) = session.boot else { return };
    let Some((extent, images)) = boot::catalogue(view, at) else {
        whole.faults.push(Fault::new(view.absolute(at), NAME, "the catalogue of boot images is damaged"));
        return;
    };
    whole.used.push(Extent::new(extent.start, SECTOR));
    for image in images {
        let begins = |entry: &&mut Entry| extents(entry).next().is_some_and(|e| e.start == image.extent.start);
        if let Some(entry) = whole.entries.iter_mut().find(begins) {
            entry.remark(&format!("a boot image of the disc ({})", image.name));
            continue;
        }
        let mut entry = Entry::new(format!("/[BOOT]/{}", image.name), EntryKind::File, image.at.to_string(), image.at);
        let inside = image.extent.intersect(Extent::new(0, view.size()));
        if inside.len < image.extent.len {
            entry.faults.push(Fault::new(view.absolute(image.at), NAME, "it ends behind the volume"));
        }
        entry.remark("a boot image that the catalogue of the disc names");
        entry.stream = Stream::plain(vec![Run::Data(image.extent)], image.extent.len);
        whole.entries.push(entry);
    }
}

/// Entries that name the same content get the same number, that of the first.
fn link(entries: &mut [Entry]) {
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

/// The label of a session: the longest that one of its descriptors gives.
pub(super) fn label(session: &Session) -> String {
    let joliet = session.volumes.iter().find(|volume| volume.names == Names::Joliet).map(|v| v.label.as_str());
    let primary = session.primary().map_or("", |volume| volume.label.as_str());
    // Joliet's has 16 characters: where it only cuts the primary one short, that is the better.
    let label = match joliet {
        Some(text) if !text.is_empty() && !primary.starts_with(text) => text,
        _ => primary,
    };
    label.to_owned()
}
