//! Free space: what chunks hold and no extent takes, and what no chunk takes of the device.

use super::Disk;
use super::item;
use super::node;
use super::superblock::{LEN, PLACES};
use super::tree::Tree;
use crate::extent::{Extent, ExtentSet};
use rayon::prelude::*;

/// Space that belongs to nothing.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// Of the address space, inside chunks.
    pub(super) logical: ExtentSet,
    /// Of the device.
    pub(super) device: ExtentSet,
}

impl Space {
    /// What the tree of extents leaves. Where that is damaged, nothing in chunks counts as free.
    pub(super) fn read(disk: &Disk<'_>, extents: &Tree) -> Self {
        let taken = extents.leaves.par_iter().flat_map_iter(|leaf| {
            let bytes = leaf.read(disk);
            let own = |(key, ..): &(node::Key, usize, &[u8])| matches!(key.kind, item::EXTENT | item::METADATA);
            let extent = |(key, ..): (node::Key, usize, &[u8])| {
                Extent::new(key.object, if key.kind == item::METADATA { disk.sb.node } else { key.offset })
            };
            node::items(&bytes).filter(own).map(extent).collect::<Vec<_>>()
        });
        let taken = ExtentSet::new(taken.collect());
        let chunks: ExtentSet = disk.chunks.all().iter().map(|chunk| chunk.within(disk.view.size())).collect();
        let logical = if extents.whole { chunks.subtract(&taken) } else { ExtentSet::default() };
        let mut device = Vec::new();
        logical.as_slice().iter().for_each(|extent| disk.chunks.copies(*extent, &mut device));
        let inside = Extent::new(0, disk.view.size().min(disk.sb.device_size));
        let outside = ExtentSet::new(vec![inside]).subtract(&disk.chunks.taken().collect());
        device.extend_from_slice(outside.as_slice());
        let copies: ExtentSet = PLACES.iter().map(|at| Extent::new(*at, LEN)).collect();
        let device = ExtentSet::new(device).intersect(&ExtentSet::new(vec![inside])).subtract(&copies);
        Self { logical, device }
    }
}
