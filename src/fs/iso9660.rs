//! ISO 9660, the file system of optical discs, with Rock Ridge, Joliet, enhanced descriptors, several sessions and boot
//! images.
//!
//! Specification: ECMA-119 (ISO 9660), third edition; IEEE P1281 (SUSP) and P1282 (Rock Ridge), drafts 1.12; Joliet
//! Specification 1; "El Torito" 1.0. A disc has several trees of names over the same files: one listing is made of them,
//! and each difference is an anomaly, since a file that only one tree has is hidden from whoever sees another. Checked
//! against The Sleuth Kit and 7-Zip, and what xorriso and genisoimage were given, see docs/VALIDATION.md.

mod boot;
mod descriptor;
mod record;
mod session;
mod susp;
mod tree;

use super::{Batch, Claim, Facts, FileSystem, Opened, Recovered};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::fs::Entry;
use crate::image::View;
use descriptor::{SECTOR, Session};
use std::collections::HashSet;
use tree::Tree;

const NAME: &str = "iso9660";
/// Entries that are given together.
const BATCH: usize = 4096;

/// An opened volume.
struct Iso {
    entries: Vec<Entry>,
    free: ExtentSet,
    facts: Facts,
}

/// Claims volumes with a primary volume descriptor.
pub fn probe(view: View<'_>) -> Option<Claim> {
    let session = Session::read(view, 16 * SECTOR)?;
    let at = view.absolute(session.primary()?.at);
    Some(Claim { surety: 90, reason: format!("a primary volume descriptor at byte {at}") })
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let sessions = Session::all(view);
    let none = || Fault::new(view.absolute(16 * SECTOR), NAME, "no primary volume descriptor");
    let newest = sessions.last().ok_or_else(none)?;
    let primary = newest.primary().ok_or_else(none)?;
    let mut whole = session::read(view, newest);
    let mut used: Vec<Extent> =
        whole.used.iter().copied().chain(whole.entries.iter().flat_map(session::extents)).collect();
    let live: ExtentSet = used.iter().copied().map(blocks).collect();
    let all = ExtentSet::new(vec![Extent::new(0, view.size())]);
    let free = all.subtract(&used.iter().copied().map(blocks).collect());
    let following = sessions.iter().rev().skip(1).map(|session| session.extent).collect::<Vec<_>>();
    let replaced = Session::replaced(view, free.as_slice());
    let replaced = replaced.iter().rev().filter(|session| !following.contains(&session.extent));
    for older in sessions.iter().rev().skip(1).chain(replaced) {
        let tree = session::read(view, older);
        used.extend(tree.used.iter().copied().chain([older.extent]));
        earlier(&mut whole, tree, view.absolute(older.extent.start), &live);
    }
    let size = sessions.iter().filter_map(Session::primary).map(|volume| volume.size).max().unwrap_or(0);
    if size > view.size() {
        let what = format!("the file system has {size} bytes, its volume {}", view.size());
        whole.faults.push(Fault::new(view.absolute(primary.at), NAME, what));
    }
    if newest.is_open {
        let what = "the volume descriptors end without a terminator";
        whole.faults.push(Fault::new(view.absolute(newest.extent.end()), NAME, what));
    }
    if let Some(at) = descriptor::udf(view) {
        let what = "the disc has a tree in UDF, too, which is not read: what only that one names is not listed";
        whole.faults.push(Fault::new(view.absolute(at), NAME, what));
    }
    let facts = Facts {
        name: "ISO 9660".to_owned(),
        label: session::label(newest),
        id: identity(&primary.created),
        cluster: primary.block,
        size: size.min(view.size()),
        faults: whole.faults,
        anomalies: whole.anomalies,
    };
    let free = all.subtract(&used.into_iter().map(blocks).collect());
    Ok(Box::new(Iso { entries: whole.entries, free, facts }))
}

/// An extent with the rest of its last sector.
fn blocks(extent: Extent) -> Extent {
    Extent::between(extent.start, extent.end().checked_next_multiple_of(SECTOR).unwrap_or(u64::MAX))
}

/// The time of creation, as `blkid` makes an identity of it: `2015-12-04-10-30-00-00`.
fn identity(digits: &str) -> String {
    let parts = [(0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14), (14, 16)];
    let parts: Option<Vec<&str>> = parts.into_iter().map(|(from, to)| digits.get(from..to)).collect();
    parts.filter(|_| digits.bytes().any(|digit| digit != b'0')).map(|parts| parts.join("-")).unwrap_or_default()
}

/// What an earlier session named and the later ones do not: deleted for whoever sees the disc today.
fn earlier(whole: &mut Tree, tree: Tree, at: u64, live: &ExtentSet) {
    let known: HashSet<_> = whole.entries.iter().map(|entry| (entry.path.clone(), session::place(entry))).collect();
    let places: HashSet<_> = whole.entries.iter().filter_map(session::place).collect();
    for mut entry in tree.entries {
        let place = session::place(&entry);
        let is_kept = place.as_ref().is_some_and(|place| places.contains(place));
        if known.contains(&(entry.path.clone(), place)) {
            continue;
        }
        entry.allocated = false;
        entry.linked = false;
        let hit = session::extents(&entry).filter(|extent| live.touches(*extent)).count();
        entry.recovered = Some(match (hit, entry.stream.runs.len()) {
            (0, _) => Recovered::Intact,
            // A file of today has the same content under another name, or another place in the tree.
            _ if is_kept => Recovered::Intact,
            (hit, all) if hit == all => Recovered::Overwritten,
            _ => Recovered::Partial,
        });
        entry.remark(&format!(
            "the session of the disc whose descriptors stand at byte {at} names it, a later one does not"
        ));
        whole.entries.push(entry);
    }
    whole.faults.extend(tree.faults);
    whole.anomalies.extend(tree.anomalies);
}

impl FileSystem for Iso {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        Box::new(self.entries.chunks(BATCH).map(|some| some.iter().cloned().map(Ok).collect()))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        Box::new(self.free.as_slice().iter().copied().map(Ok))
    }
}

#[cfg(test)]
mod tests;
