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

use super::trees::{self, Tree};
use super::{Batch, Claim, Facts, FileSystem, Opened};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::fs::Entry;
use crate::image::View;
use descriptor::{SECTOR, Session};

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
    let Disc { tree, used, mut facts } = read(view)?;
    (facts.faults, facts.anomalies) = (tree.faults, tree.anomalies);
    let all = ExtentSet::new(vec![Extent::new(0, view.size())]);
    Ok(Box::new(Iso { entries: tree.entries, free: all.subtract(&used), facts }))
}

/// All sessions of a disc as one tree.
pub(super) struct Disc {
    pub(super) tree: Tree,
    /// What belongs to any of them.
    pub(super) used: ExtentSet,
    /// What the newest says of itself; what is wrong is with the tree.
    pub(super) facts: Facts,
}

/// First bytes of the sessions, the newest first.
pub(super) fn starts(view: View<'_>) -> Vec<u64> {
    let primaries = Session::all(view).into_iter().rev();
    primaries.filter_map(|session| Some(session.primary()?.at.saturating_sub(16 * SECTOR))).collect()
}

/// Reads all sessions.
///
/// # Errors
/// Where there is no primary volume descriptor.
pub(super) fn read(view: View<'_>) -> Result<Disc, Fault> {
    let sessions = Session::all(view);
    let none = || Fault::new(view.absolute(16 * SECTOR), NAME, "no primary volume descriptor");
    let newest = sessions.last().ok_or_else(none)?;
    let primary = newest.primary().ok_or_else(none)?;
    let mut whole = session::read(view, newest);
    let mut used: Vec<Extent> =
        whole.used.iter().copied().chain(whole.entries.iter().flat_map(trees::extents)).collect();
    let live: ExtentSet = used.iter().copied().map(blocks).collect();
    let all = ExtentSet::new(vec![Extent::new(0, view.size())]);
    let free = all.subtract(&live);
    let following = sessions.iter().rev().skip(1).map(|session| session.extent).collect::<Vec<_>>();
    let replaced = Session::replaced(view, free.as_slice());
    let replaced = replaced.iter().rev().filter(|session| !following.contains(&session.extent));
    for older in sessions.iter().rev().skip(1).chain(replaced) {
        let tree = session::read(view, older);
        used.extend(tree.used.iter().copied().chain([older.extent]));
        let at = view.absolute(older.extent.start);
        let remark =
            format!("the session of the disc whose descriptors stand at byte {at} names it, a later one does not");
        trees::earlier(&mut whole, tree, &live, &remark);
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
    let facts = Facts {
        name: "ISO 9660".to_owned(),
        label: session::label(newest),
        id: identity(&primary.created),
        cluster: primary.block,
        size: size.min(view.size()),
        ..Facts::default()
    };
    Ok(Disc { tree: whole, used: used.into_iter().map(blocks).collect(), facts })
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
