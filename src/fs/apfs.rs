//! APFS, the file system of macOS and iOS: the volumes of a container, their snapshots, and what older nodes tell.
//!
//! Specification: Apple File System Reference (2020-06-22). The latest checkpoint whose checksums hold is read. A container holds
//! several volumes, which share its free space: it is one file system here, and if it has more than one volume the files of each
//! stand below `/<volume name>`. Checked against The Sleuth Kit and dissect on volumes that macOS wrote, see docs/VALIDATION.md.

mod btree;
mod container;
mod entry;
mod lost;
mod object;
mod omap;
mod record;
mod volume;

use super::{Anomaly, Batch, Claim, Facts, FileSystem, Opened};
use crate::bytes::hex;
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::fuel::Fuel;
use crate::image::View;
use container::Superblock;
use entry::Maker;
use object::Blocks;
use omap::Omap;
use rayon::prelude::*;
use std::collections::HashSet;
use volume::{Head, Snapshot, Tree};

const NAME: &str = "apfs";
/// Leaves whose entries are made together.
const BATCH: usize = 64;

/// A volume that can be read.
struct Volume<'img> {
    /// What stands in front of every path.
    prefix: String,
    tree: Tree<'img>,
    omap: Omap,
    snapshots: Vec<Snapshot>,
}

/// An opened container.
struct Apfs<'img> {
    blocks: Blocks<'img>,
    volumes: Vec<Volume<'img>>,
    /// The superblocks of older checkpoints.
    older: Vec<Superblock>,
    free: ExtentSet,
    facts: Facts,
}

/// Claims volumes with a container's superblock, or with another copy of one.
pub fn probe(view: View<'_>) -> Option<Claim> {
    let copies = container::find(view)?;
    let latest = copies.sound.first()?;
    let surety = if copies.first_is_sound { 95 } else { 45 };
    let at = view.absolute(latest.at.saturating_mul(latest.block));
    let reason = format!("a sound APFS container superblock at byte {at}, transaction {}", latest.xid);
    Some(Claim { surety, reason })
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let none = || Fault::new(view.absolute(0), NAME, "no sound superblock of a container");
    let copies = container::find(view).ok_or_else(none)?;
    let block = copies.sound.first().map_or(4096, |copy| copy.block);
    let blocks = Blocks { view, size: block };
    let mut fuel = tank(&blocks);
    let mut wrong = Vec::new();
    if !copies.first_is_sound {
        wrong.push((0, "the superblock in the first block is damaged; a copy is used".to_owned()));
    }
    if copies.is_scattered {
        let what = "the ring of superblocks is not in one piece, and not read: an older state may be shown";
        wrong.push((0, what.to_owned()));
    }
    for at in copies.damaged {
        let what = format!("the superblock in block {at} is damaged: if it was the latest, an older state is shown");
        wrong.push((blocks.place(at), what));
    }
    let (superblock, omap, older) = latest(&blocks, copies.sound, &mut fuel, &mut wrong)
        .ok_or_else(|| Fault::new(view.absolute(0), NAME, "no checkpoint has an object map that can be read"))?;
    let (free, short) = container::free(&blocks, &superblock);
    wrong.extend(short.map(|what| (blocks.place(superblock.at), what)));
    wrong.extend(omap.wrong.iter().cloned());
    let mut apfs = Apfs { blocks, volumes: Vec::new(), older, free, facts: Facts::default() };
    apfs.facts = apfs.read(&superblock, &omap, wrong, &mut fuel);
    Ok(Box::new(apfs))
}

/// Nodes that are read of all trees: sound ones share none.
fn tank(blocks: &Blocks<'_>) -> Fuel {
    let count = blocks.view.size().checked_div(blocks.size).unwrap_or(0);
    Fuel::new(count.saturating_mul(4).saturating_add(1 << 16))
}

/// The latest checkpoint that can be read, its object map, and those before it.
fn latest(
    blocks: &Blocks<'_>,
    copies: Vec<Superblock>,
    fuel: &mut Fuel,
    wrong: &mut Vec<(u64, String)>,
) -> Option<(Superblock, Omap, Vec<Superblock>)> {
    let mut copies = copies.into_iter();
    while let Some(copy) = copies.next() {
        match Omap::read(blocks, copy.omap, fuel) {
            Some(omap) => {
                let older = copies.filter(|older| older.xid < copy.xid).collect();
                return Some((copy, omap, older));
            }
            None => {
                let what = format!("the object map of checkpoint {} is damaged; an older one is read", copy.xid);
                wrong.push((blocks.place(copy.at), what));
            }
        }
    }
    None
}

impl<'img> Apfs<'img> {
    /// Opens the volumes, and says what the container is.
    fn read(&mut self, superblock: &Superblock, omap: &Omap, mut wrong: Vec<(u64, String)>, fuel: &mut Fuel) -> Facts {
        let (mut names, mut anomalies) = (Vec::new(), Vec::new());
        let at = self.blocks.place(superblock.at);
        if superblock.is_fusion() {
            wrong.push((at, "the container goes over two disks: what is on the other is missing".to_owned()));
        }
        let several = superblock.volumes.len() > 1;
        for oid in &superblock.volumes {
            let head = omap.block(*oid, superblock.xid).and_then(|block| Head::read(&self.blocks, block));
            let Some(head) = head else {
                wrong.push((
                    at,
                    format!("the superblock of volume {oid} is damaged or missing: its files are not read"),
                ));
                continue;
            };
            let mut name = head.name.clone();
            if name.is_empty() {
                name = format!("volume {oid}");
            }
            while names.contains(&name) {
                name.push('_');
            }
            names.push(name.clone());
            let prefix = if several { format!("/{}", name.replace('/', ":")) } else { String::new() };
            match self.open(head, prefix, fuel) {
                Ok(volume) => {
                    anomalies.extend(volume.snapshots.iter().map(|snapshot| self.told(&name, snapshot)));
                    wrong.extend(volume.tree.wrong.iter().chain(&volume.omap.wrong).cloned());
                    self.volumes.push(volume);
                }
                Err((at, what)) => wrong.push((at, format!("volume {name} {what}"))),
            }
        }
        let size = superblock.blocks.saturating_mul(self.blocks.size);
        if size > self.blocks.view.size() {
            let what = format!("the container has {size} bytes, its partition {}", self.blocks.view.size());
            wrong.push((at, what));
        }
        let fault = |(at, what): (u64, String)| Fault::new(self.blocks.view.absolute(at), NAME, what);
        Facts {
            name: "APFS".to_owned(),
            label: names.join(", "),
            id: uuid(superblock.uuid),
            cluster: self.blocks.size,
            size,
            faults: wrong.into_iter().map(fault).collect(),
            anomalies,
        }
    }

    fn open(&self, head: Head, prefix: String, fuel: &mut Fuel) -> Result<Volume<'img>, (u64, String)> {
        let at = self.blocks.place(head.at);
        if head.is_encrypted() {
            return Err((at, "is encrypted (FileVault): its files are not read".to_owned()));
        }
        let omap = Omap::read(&self.blocks, head.omap, fuel);
        let omap = omap.ok_or_else(|| (at, "has no object map that can be read: its files are not read".to_owned()))?;
        if head.root_is_encrypted(&omap) {
            return Err((at, "has an encrypted tree (FileVault): its files are not read".to_owned()));
        }
        let (snapshots, wrong) = head.snapshots(&self.blocks, fuel);
        let xid = head.xid;
        let mut tree = Tree::open(self.blocks, head, &omap, xid, fuel);
        tree.wrong.extend(wrong);
        Ok(Volume { prefix, tree, omap, snapshots })
    }

    fn told(&self, volume: &str, snapshot: &Snapshot) -> Anomaly {
        let made = snapshot.made.map(|made| made.rfc3339()).unwrap_or_default();
        let what = format!(
            "volume {volume} has snapshot {} of {made}: what it holds of files that changed since is listed",
            snapshot.name
        );
        let sign = Fault::new(self.blocks.view.absolute(self.blocks.place(snapshot.at)), NAME, what);
        Anomaly { sign, extents: Vec::new() }
    }

    /// The live entries of some leaves of a volume.
    fn batch(volume: &Volume<'_>, leaves: std::ops::Range<usize>) -> Batch {
        let maker = Maker { tree: &volume.tree, prefix: &volume.prefix };
        let made: Vec<Batch> = leaves
            .into_par_iter()
            .map(|leaf| volume.tree.names(leaf).iter().flat_map(|name| maker.named(name)).map(Ok).collect())
            .collect();
        made.into_iter().flatten().collect()
    }

    /// The inodes of a volume that no name leads to.
    fn orphans(volume: &Volume<'_>) -> Batch {
        let blocks: Vec<u64> = volume.tree.leaf_blocks().collect();
        let maker = Maker { tree: &volume.tree, prefix: &volume.prefix };
        let made: Vec<Batch> = blocks
            .par_iter()
            .map(|block| {
                let lost = volume.tree.inodes_in(*block).into_iter().filter(|inode| !volume.tree.is_named(inode.id));
                lost.flat_map(|inode| maker.orphan(inode.id)).map(Ok).collect()
            })
            .collect();
        made.into_iter().flatten().collect()
    }

    fn deleted(&self) -> Batch {
        let mut fuel = tank(&self.blocks);
        let mut faults = Vec::new();
        let kept = self.volumes.iter().flat_map(|v| lost::in_snapshots(self, v, &mut fuel, &mut faults));
        let mut all: Vec<_> = kept.collect();
        // What a snapshot keeps is not listed again out of an old node.
        let kept: HashSet<(String, String)> = all.iter().map(|e| (e.path.clone(), e.inode.clone())).collect();
        let old = lost::in_old_nodes(self, &mut fuel);
        all.extend(old.into_iter().filter(|entry| !kept.contains(&(entry.path.clone(), entry.inode.clone()))));
        let faults = faults.into_iter().map(|(at, what)| Err(Fault::new(self.blocks.view.absolute(at), NAME, what)));
        all.into_iter().map(Ok).chain(faults).collect()
    }
}

impl FileSystem for Apfs<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        let live = self.volumes.iter().flat_map(|volume| {
            let count = volume.tree.leaves();
            let starts = (0..count).step_by(BATCH);
            let named = starts.map(move |from| Self::batch(volume, from..from.saturating_add(BATCH).min(count)));
            named.chain(std::iter::once_with(|| Self::orphans(volume)))
        });
        Box::new(live.chain(std::iter::once_with(|| self.deleted())))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        Box::new(self.free.as_slice().iter().copied().map(Ok))
    }
}

fn uuid(bytes: [u8; 16]) -> String {
    let hex = hex(&bytes);
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    parts.map(|(from, to)| hex.get(from..to).unwrap_or_default()).join("-")
}

#[cfg(test)]
mod tests;
