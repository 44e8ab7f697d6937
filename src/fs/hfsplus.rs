//! HFS+ and HFSX, the file systems of macOS before APFS, in an HFS wrapper too, with the records that deletion left.
//!
//! Specification: Apple Technical Note TN1150, "HFS Plus Volume Format"; `hfs_format.h` and `vfs_journal.h` of XNU for the
//! journal, links and attributes. Live files are listed as a mount would show them, with what the journal still has to write
//! back, in memory only. A file with several names is listed under each, a folder with several names under the first. Checked
//! against The Sleuth Kit, 7-Zip and the files that xorriso was given, see docs/VALIDATION.md.

mod attributes;
mod btree;
mod catalog;
mod entry;
mod fork;
mod header;
mod journal;
mod lost;
mod record;

use super::disk::Disk;
use super::{Anomaly, Batch, Claim, Facts, FileSystem, Opened};
use crate::bytes::hex;
use crate::content::{Content, Run};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::image::View;
use attributes::{Attribute, Attributes};
use btree::Tree;
use catalog::Catalog;
use fork::Overflow;
use header::Header;
use journal::Journal;
use rayon::prelude::*;
use record::{Parsed, parse};
use std::sync::Arc;

const NAME: &str = "hfsplus";
/// Leaf nodes whose entries are made together.
const BATCH: usize = 128;

/// An opened volume.
struct Hfs<'img> {
    view: View<'img>,
    header: Header,
    overflow: Overflow,
    extents: Tree<'img>,
    tree: Tree<'img>,
    catalog: Catalog,
    attributes: Attributes<'img>,
    journal: Journal,
    free: ExtentSet,
    facts: Facts,
}

/// Claims volumes with a volume header, or the alternate of one.
pub fn probe(view: View<'_>) -> Option<Claim> {
    let header = Header::find(view)?;
    let (surety, which) = if header.is_alternate { (45, "alternate volume header") } else { (95, "volume header") };
    let reason = format!("a possible {} {which} at byte {}", header.name(), view.absolute(header.at));
    Some(Claim { surety, reason })
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let none = || Fault::new(view.absolute(1024), NAME, "no possible volume header, nor its alternate");
    let mut header = Header::find(view).ok_or_else(none)?;
    let journal = Journal::read(view, &header);
    let disk = match journal.replay.is_empty() {
        true => Disk::plain(view, header.block),
        false => Disk::replayed(view, journal.sector, journal.replay.clone()),
    };
    if let Some(newer) = header.again(&disk) {
        header = newer;
    }
    let disk = Arc::new(disk);
    let (none, mut wrong) = (Overflow::default(), Vec::new());
    let mut tree = |overflow: &Overflow, name: &str, id: u32, data: &fork::ForkData| {
        let (spans, short) = overflow.spans(id, fork::DATA, data);
        wrong.extend(short.map(|what| (header.at, format!("{name}: {what}"))));
        Tree::read(&disk, name, &fork::runs(&header, &spans))
    };
    let extents = tree(&none, "extents overflow file", 3, &header.extents);
    let overflow = Overflow::read(&extents);
    let (catalog_tree, attributes_tree) = (
        tree(&overflow, "catalog", 4, &header.catalog),
        tree(&overflow, "attributes file", 8, &header.attributes_file),
    );
    let catalog = Catalog::read(&catalog_tree);
    let (free, short) = free(view, &disk, &header, &overflow);
    wrong.extend(short.map(|what| (header.at, what)));
    let (facts, attributes) = (Facts::default(), Attributes::read(attributes_tree));
    let mut hfs =
        Hfs { view, header, overflow, extents, tree: catalog_tree, catalog, attributes, journal, free, facts };
    hfs.facts = hfs.told(wrong, &disk);
    Ok(Box::new(hfs))
}

/// The blocks that the allocation file calls free.
fn free(view: View<'_>, disk: &Disk<'_>, header: &Header, overflow: &Overflow) -> (ExtentSet, Option<String>) {
    let (stream, wrong) = fork::stream(header, overflow, (6, fork::DATA), &header.allocation);
    let runs = stream.runs.iter().filter_map(|run| if let Run::Data(extent) = run { Some(*extent) } else { None });
    let mut map = stream.clone();
    map.runs = runs.flat_map(|run| disk.places(run.intersect(Extent::new(0, view.size())))).map(Run::Data).collect();
    let (mut free, mut block) = (Vec::<Extent>::new(), 0u64);
    let blocks = u64::from(header.blocks).min(view.size().checked_div(header.block).unwrap_or(0));
    let mut add = |block: u64, count: u64| {
        let start = block.saturating_mul(header.block).saturating_add(header.base);
        let len = count.min(blocks.saturating_sub(block)).saturating_mul(header.block);
        match free.last_mut() {
            Some(last) if last.end() == start => last.len = last.len.saturating_add(len),
            _ => free.push(Extent::new(start, len)),
        }
    };
    let mut unread = None;
    for part in Content::new(view, &map).parts() {
        let part = match part {
            Ok(part) => part,
            Err(fault) => {
                unread = Some(format!("allocation file: {}", fault.what));
                break;
            }
        };
        for byte in part.iter() {
            match byte {
                0xff => {}
                0 => add(block, 8),
                _ => {
                    let clear = (0..8u64).filter(|bit| byte << bit & 0x80 == 0);
                    clear.for_each(|bit| add(block.saturating_add(bit), 1));
                }
            }
            block = block.saturating_add(8);
        }
    }
    let wrong = wrong.map(|what| format!("allocation file: {what}")).or(unread);
    let short = block < blocks && wrong.is_none();
    let what = || format!("the allocation file tells of {block} of {blocks} blocks");
    (ExtentSet::new(free), wrong.or_else(|| short.then(what)))
}

impl Hfs<'_> {
    fn fault(&self, at: u64, what: String) -> Fault {
        Fault::new(self.view.absolute(at), NAME, what)
    }

    fn attributes_of(&self, id: u32) -> Vec<Attribute> {
        self.attributes.of(id, &self.header)
    }

    /// What the volume says of itself; `wrong` is what was found so far.
    fn told(&self, mut wrong: Vec<(u64, String)>, disk: &Disk<'_>) -> Facts {
        let header = &self.header;
        if header.is_alternate {
            wrong.push((header.at, "the volume header is destroyed; its alternate is used".to_owned()));
        }
        let end = header.base.saturating_add(header.size());
        if end > self.view.size() {
            let what = format!("the file system ends at byte {end}, its volume has {}", self.view.size());
            wrong.push((header.at, what));
        }
        wrong.extend(self.journal.wrong.clone());
        for more in [&self.extents.wrong, &self.tree.wrong, &self.catalog.wrong] {
            wrong.extend(more.iter().cloned());
        }
        wrong.extend(self.attributes.wrong().iter().cloned());
        let mut anomalies: Vec<Anomaly> = self.copies().into_iter().chain(self.unwritten(disk)).collect();
        anomalies.shrink_to_fit();
        Facts {
            name: header.name().to_owned(),
            label: self.catalog.label.clone(),
            id: hex(&header.id),
            cluster: header.block,
            size: end,
            faults: wrong.into_iter().map(|(at, what)| self.fault(at, what)).collect(),
            anomalies,
        }
    }

    /// Where the volume header and its alternate differ.
    fn copies(&self) -> Option<Anomaly> {
        if self.header.is_alternate {
            return None;
        }
        let what = match self.header.other(self.view) {
            None => "there is no alternate volume header".to_owned(),
            Some(other) => {
                let differences = self.header.differences(&other);
                (!differences.is_empty()).then_some(())?;
                let at = self.view.absolute(other.at);
                format!("the alternate volume header at byte {at} differs in {}", differences.join(", "))
            }
        };
        Some(Anomaly { sign: self.fault(self.header.at, what), extents: Vec::new() })
    }

    /// Says that the journal was not written back.
    fn unwritten(&self, disk: &Disk<'_>) -> Option<Anomaly> {
        let sectors = disk.changed().count();
        let what = format!(
            "the journal was not written back: {sectors} sectors are as it holds them; the disk holds older ones"
        );
        (sectors > 0).then(|| Anomaly { sign: self.fault(self.journal.extent.start, what), extents: Vec::new() })
    }

    /// The live entries of some nodes.
    fn batch(&self, nodes: &[u32]) -> Batch {
        let made: Vec<Batch> = nodes.par_iter().map(|number| self.in_node(*number)).collect();
        made.into_iter().flatten().collect()
    }

    fn in_node(&self, number: u32) -> Batch {
        let Some(node) = self.tree.node(number) else { return Vec::new() };
        let mut batch = Vec::new();
        for (at, bytes) in node.records() {
            if let Some(Parsed::Record(record)) = parse(bytes) {
                batch.extend(entry::live(self, &record, self.tree.place_in(number, at)).into_iter().map(Ok));
            }
        }
        batch
    }
}

impl FileSystem for Hfs<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        let own = std::iter::once_with(|| entry::own(self).into_iter().map(Ok).collect());
        let live = self.tree.leaves.chunks(BATCH).map(|nodes| self.batch(nodes));
        let deleted = std::iter::once_with(|| lost::deleted(self).into_iter().map(Ok).collect());
        Box::new(own.chain(live).chain(deleted))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        Box::new(self.free.as_slice().iter().copied().map(Ok))
    }
}

#[cfg(test)]
mod tests;
