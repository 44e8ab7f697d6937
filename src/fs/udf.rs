//! UDF, the file system of optical discs since DVD, and of some cards and disks: revisions 1.02 to 2.60.
//!
//! Specification: ECMA-167, third edition; OSTA Universal Disk Format 1.02, 1.50, 2.01, 2.50, 2.60. Plain, virtual, sparable and
//! metadata partitions are read. Of a disc that has trees in ISO 9660, too, one listing is made, and each difference is an
//! anomaly. Checked against the kernel's driver, `mkudffs`, UDFclient and 7-Zip, see docs/VALIDATION.md.

mod alloc;
mod attribute;
mod dir;
mod entry;
mod icb;
mod layout;
mod space;
mod tag;
mod text;
mod vat;
mod volume;
mod walk;

use super::trees::{self, Tree};
use super::{Anomaly, Batch, Claim, Entry, Facts, FileSystem, Opened, iso9660};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::image::View;
use layout::{Found, Layout, Map};
use space::{Integrity, Space};
use tag::{Address, Stretch, Tag};
use vat::Vat;
use volume::Described;
use walk::Walk;

const NAME: &str = "udf";
/// Entries that are given together.
const GIVEN: usize = 4096;

/// An opened volume.
struct Udf<'img> {
    layout: Layout<'img>,
    root: Option<Address>,
    /// All entries, where all had to be read to know what is free, or there are several trees.
    whole: Option<Vec<Entry>>,
    free: ExtentSet,
    facts: Facts,
}

/// Claims volumes with a descriptor of UDF, with an anchor, or both.
pub fn probe(view: View<'_>) -> Option<Claim> {
    let named = volume::recognised(view).map(|(at, _)| view.absolute(at));
    // Without the descriptors an anchor vouches for a volume of which the start is gone.
    let starts = named.map(|_| iso9660::starts(view)).unwrap_or_default();
    let anchor = volume::has_anchor(view, &starts).map(|at| view.absolute(at));
    let (surety, reason) = match (named, anchor) {
        (Some(at), Some(anchor)) => (95, format!("a descriptor of UDF at byte {at}, an anchor at byte {anchor}")),
        (None, Some(anchor)) => (70, format!("an anchor of UDF at byte {anchor}")),
        // Told, whatever else is read of the disc.
        (Some(at), None) => (40, format!("a descriptor of UDF at byte {at}, but no sound anchor")),
        (None, None) => return None,
    };
    Some(Claim { surety, reason })
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let fault = |at: u64, what: String| Fault::new(view.absolute(at), NAME, what);
    let starts = iso9660::starts(view);
    let described = Described::read(view, &starts).map_err(|what| fault(0, what))?;
    let (layout, found) = Layout::read(view, &described);
    let set = FileSet::read(&layout, &described);
    let space = Space::read(&layout, &described, &found);
    let integrity = Integrity::read(&layout, &described);
    let mut facts = told(view, &described, &found, &space, &integrity);
    if set.root.is_none() {
        facts
            .faults
            .push(fault(described.logical_at, "the file set descriptor is damaged: no name is known".to_owned()));
    }
    let mut used: Vec<Extent> = [&described.used, &found.used, &space.used, &integrity.used, &set.used]
        .into_iter()
        .flatten()
        .copied()
        .collect();
    used.extend(found.vat.iter().flat_map(|(_, vat)| vat.used.clone()));
    let all = ExtentSet::new(vec![Extent::new(0, view.size())]);
    let partitions: ExtentSet = described.partitions.iter().map(|partition| partition.extent).collect();
    let outside = all.subtract(&partitions);
    let whole = ExtentSet::new(space.free.iter().chain(outside.as_slice()).copied().collect());
    let mut free = whole.intersect(&all).subtract(&used.iter().copied().collect());
    compare(view, &layout, &integrity, &space, &mut facts);
    let iso = iso9660::read(view).ok().filter(|_| volume::recognised(view).is_some());
    let root = set.root;
    if space.is_told && iso.is_none() && set.streams.is_none() {
        return Ok(Box::new(Udf { layout, root, whole: None, free, facts }));
    }
    let told = space.is_told.then_some(&free);
    let (mut tree, taken) = read(&layout, &set, told, &used, &all);
    let mut held = taken;
    if let Some((row, vat)) = &found.vat {
        sessions(&layout, &described, *row, vat, &mut tree, &mut held);
    }
    if let Some(iso) = iso {
        facts.name = format!("ISO 9660 and {}", facts.name);
        facts.size = facts.size.max(iso.facts.size);
        if facts.label.is_empty() {
            facts.label = iso.facts.label;
        }
        held.extend(iso.used.as_slice().iter().copied());
        tree = trees::unite(view, NAME, iso.tree, tree);
    }
    facts.faults.extend(std::mem::take(&mut tree.faults));
    facts.anomalies.extend(std::mem::take(&mut tree.anomalies));
    let held: ExtentSet = held.into_iter().map(|extent| blocks(extent, layout.block)).collect();
    free = if space.is_told { free.subtract(&held) } else { all.subtract(&held) };
    Ok(Box::new(Udf { layout, root, whole: Some(tree.entries), free, facts }))
}

/// An extent with the rest of its last block.
fn blocks(extent: Extent, block: u64) -> Extent {
    Extent::between(extent.start, layout::rounded(extent.end(), block))
}

/// All entries at once; and what belongs to them and to the volume's own structures.
fn read(
    layout: &Layout<'_>,
    set: &FileSet,
    told: Option<&ExtentSet>,
    used: &[Extent],
    all: &ExtentSet,
) -> (Tree, Vec<Extent>) {
    let mut tree = Tree { title: "UDF", ..Tree::default() };
    let mut walk = Walk::new(layout, set.root, told, true);
    while let Some(batch) = walk.live() {
        for entry in batch {
            match entry {
                Ok(entry) => tree.entries.push(entry),
                Err(fault) => tree.faults.push(fault),
            }
        }
    }
    if let Some(place) = set.streams {
        let streams = walk.reader.streams("/", place, &mut tree.faults);
        tree.entries.extend(streams);
    }
    let mut held: Vec<Extent> = used.iter().copied().chain(tree.entries.iter().flat_map(trees::extents)).collect();
    held.extend(walk.reader.used.take().unwrap_or_default());
    let here = told.is_none().then(|| all.subtract(&held.iter().map(|extent| blocks(*extent, layout.block)).collect()));
    if let Some(free) = told.or(here.as_ref()) {
        let (gone, fault) = walk.deleted(free);
        tree.entries.extend(gone);
        tree.faults.extend(fault);
    }
    (tree, held)
}

/// What earlier tables of a disc that is written once name, and the last does not.
fn sessions(layout: &Layout<'_>, described: &Described, row: u16, vat: &Vat, tree: &mut Tree, held: &mut Vec<Extent>) {
    let live: ExtentSet = held.iter().map(|extent| blocks(*extent, layout.block)).collect();
    let all = ExtentSet::default();
    for older in vat.earlier(layout) {
        let older = match older {
            Ok(older) => older,
            Err(what) => {
                tree.faults.push(Fault::new(layout.view.absolute(vat.at), NAME, what));
                break;
            }
        };
        let mut then = layout.clone();
        if let Some(Map::Virtual { table, .. }) = then.maps.get_mut(usize::from(row)) {
            table.clone_from(&older.table);
        }
        let set = FileSet::read(&then, described);
        let (mut session, used) = read(&then, &set, Some(&all), &older.used, &all);
        session.entries.retain(|entry| entry.allocated);
        held.extend(used);
        let at = layout.view.absolute(older.at);
        let remark = format!("the session of the disc whose table stands at byte {at} names it, a later one does not");
        trees::earlier(tree, session, &live, &remark);
    }
}

/// What the descriptors say, and what is wrong with them.
fn told(view: View<'_>, described: &Described, found: &Found, space: &Space, integrity: &Integrity) -> Facts {
    let (high, low) = (described.revision >> 8, described.revision & 0xff);
    // Descriptors stand behind the partitions, too.
    let parts = described.partitions.iter().map(|partition| partition.extent);
    let own = [&described.used, &found.used, &integrity.used].into_iter().flatten().copied();
    let end = parts.chain(own).map(Extent::end).max().unwrap_or(0);
    let mut facts = Facts {
        name: format!("UDF {high:x}.{low:02x}"),
        label: described.label.clone(),
        id: described.id.clone(),
        cluster: described.block,
        size: end,
        ..Facts::default()
    };
    let wrong = [&described.wrong, &found.wrong, &space.wrong, &integrity.wrong].into_iter().flatten();
    facts.faults = wrong.map(|(at, what)| Fault::new(view.absolute(*at), NAME, what.clone())).collect();
    // A disc that is written once has its last table at the end of what was written.
    if found.vat.is_some() {
        facts.size = facts.size.min(view.size());
    }
    if facts.size > view.size() {
        let what = format!("the file system has {} bytes, its volume {}", facts.size, view.size());
        facts.faults.push(Fault::new(view.absolute(described.logical_at), NAME, what));
    }
    let anomaly =
        |at: u64, what: String| Anomaly { sign: Fault::new(view.absolute(at), NAME, what), extents: Vec::new() };
    facts.anomalies = described.contradictions.iter().map(|(at, what)| anomaly(*at, what.clone())).collect();
    // A disc that is written once says so in its table instead.
    if let Some((at, true)) = integrity.last.filter(|_| found.vat.is_none()) {
        let what = "the volume was not closed: what was written last may be missing or half done";
        facts.anomalies.push(anomaly(at, what.to_owned()));
    }
    facts
}

/// Where a closed volume's number of free blocks is another than its bitmaps say.
fn compare(view: View<'_>, layout: &Layout<'_>, integrity: &Integrity, space: &Space, facts: &mut Facts) {
    let Some((at, false)) = integrity.last.filter(|_| space.is_told) else { return };
    let free: ExtentSet = space.free.iter().copied().collect();
    for (row, (map, told)) in layout.maps.iter().zip(&integrity.free).enumerate() {
        let (Map::Plain(extent) | Map::Sparable { extent, .. }) = map else { continue };
        // Blocks of a metadata partition lie in it, too, and are counted there.
        let is_alone = !layout.maps.iter().any(|map| matches!(map, Map::Metadata { .. }));
        let found = free.within(*extent).total().checked_div(layout.block).unwrap_or(0);
        if is_alone && *told != u32::MAX && u64::from(*told) != found {
            let what = format!("partition {row}: {found} blocks are free, the integrity descriptor says {told}");
            facts.anomalies.push(Anomaly { sign: Fault::new(view.absolute(at), NAME, what), extents: Vec::new() });
        }
    }
}

/// What the file set descriptors say (ECMA-167, 4/14.1).
#[derive(Default)]
struct FileSet {
    root: Option<Address>,
    /// The directory of the volume's own streams.
    streams: Option<Stretch>,
    used: Vec<Extent>,
}

impl FileSet {
    /// The last of the sequence.
    fn read(layout: &Layout<'_>, described: &Described) -> Self {
        let mut set = Self::default();
        let first = described.logical.get(248..).and_then(Stretch::long);
        let (mut place, mut left) = (first.filter(|place| place.len > 0), 1024u32);
        while let Some(extent) = place.take() {
            let count = u32::try_from(extent.len.div_ceil(layout.block)).unwrap_or(u32::MAX);
            for number in 0..count {
                let block = extent.at.block.saturating_add(number);
                let at = Address { block, ..extent.at };
                let Some(raw) = layout.bytes(at).filter(|_| left > 0) else { break };
                left = left.saturating_sub(1);
                let Some(tag) = Tag::read(&raw).filter(|tag| tag.is(&[tag::FILE_SET, tag::TERMINATING])) else { break };
                set.used.extend(layout.at(at).map(|at| Extent::new(at, layout.block)));
                if tag.id == tag::TERMINATING {
                    break;
                }
                let stretch = |at: usize| raw.get(at..).and_then(Stretch::long).filter(|place| place.len > 0);
                set.root = stretch(400).map(|root| root.at).or(set.root);
                set.streams = stretch(464).filter(|_| described.revision >= 0x0200);
                place = stretch(448);
            }
        }
        set
    }
}

impl FileSystem for Udf<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        if let Some(whole) = &self.whole {
            return Box::new(whole.chunks(GIVEN).map(|some| some.iter().cloned().map(Ok).collect()));
        }
        let mut walk = Some(Walk::new(&self.layout, self.root, Some(&self.free), false));
        Box::new(std::iter::from_fn(move || {
            if let Some(batch) = walk.as_mut()?.live() {
                return Some(batch);
            }
            let (gone, fault) = walk.take()?.deleted(&self.free);
            Some(gone.into_iter().map(Ok).chain(fault.map(Err)).collect())
        }))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        Box::new(self.free.as_slice().iter().copied().map(Ok))
    }
}

#[cfg(test)]
mod tests;
