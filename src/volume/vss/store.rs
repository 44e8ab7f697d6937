//! The store of one shadow copy: which blocks it holds, and which nobody used when it was made.
//!
//! Follows the documentation of libvshadow, "Successive block descriptors" and "Reading snapshot data".

use super::{BLOCK, HEAD, Place, chain};
use crate::bytes::{Fields, index, offset};
use crate::extent::{Extent, ExtentSet};
use crate::image::View;
use crate::image::mapped::{Mapping, Piece};
use std::collections::{BTreeMap, HashMap};

const DESCRIPTOR: usize = 32;
/// Bytes that a bit of an overlay stands for.
const SECTOR: usize = 512;
/// The block stands where the descriptor's relative offset says, in the store after this one.
const FORWARDER: u32 = 1;
/// Some sectors of the block, for this shadow copy alone.
const OVERLAY: u32 = 2;
const NOT_USED: u32 = 4;
/// More descriptors than this (128 GiB of blocks) are not kept.
const MAX_BLOCKS: usize = 1 << 23;

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// In the store, at this byte of the volume.
    Here(u64),
    /// At this byte of the volume as the newer stores leave it.
    Forward(u64),
}

/// Sectors laid over a block: where their block stands, and a bit for each sector that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Overlay {
    place: u64,
    sectors: u32,
}

#[derive(Default)]
pub(super) struct Store {
    blocks: HashMap<u64, Held>,
    overlays: BTreeMap<u64, Overlay>,
    /// Forwarders that nothing has replaced, by where they lead.
    forwarders: HashMap<u64, u64>,
    /// Blocks that neither bitmap calls used, as (first, count).
    unused: Vec<(u64, u64)>,
    /// Why some of it could not be read.
    pub(super) damage: Option<String>,
}

impl Store {
    /// Reads the lists of a store.
    pub(super) fn read(view: View<'_>, place: Place) -> Self {
        let mut store = Self::default();
        let mut next = None;
        for list in chain(view, place.blocks, 3) {
            for descriptor in list.get(HEAD..).unwrap_or_default().chunks_exact(DESCRIPTOR) {
                if store.blocks.len().saturating_add(store.overlays.len()) >= MAX_BLOCKS {
                    store.damage = Some("its list of blocks is too long to be read whole".to_owned());
                    break;
                }
                store.take(descriptor, view.size());
            }
            next = list.le64(40);
        }
        if next != Some(0) {
            let what = next.map_or("cannot be read", |_| "breaks off");
            store.damage = Some(format!("its list of blocks {what}"));
        }
        let (current, previous) = (bits(view, place.bitmap), bits(view, place.previous));
        store.unused = match (current, previous) {
            (Some(current), None) => stretches(&current),
            (Some(current), Some(previous)) => {
                stretches(&current.iter().zip(&previous).map(|(a, b)| a & b).collect::<Vec<u8>>())
            }
            (None, _) => Vec::new(),
        };
        store
    }

    /// Takes one descriptor, in the order of the list.
    fn take(&mut self, descriptor: &[u8], size: u64) -> Option<()> {
        let (mut original, relative, place) = (descriptor.le64(0)?, descriptor.le64(8)?, descriptor.le64(16)?);
        let (flags, sectors) = (descriptor.le32(24)?, descriptor.le32(28)?);
        let empty = original == 0 && relative == 0 && place == 0 && flags == 0;
        if empty || flags & NOT_USED != 0 || !original.is_multiple_of(BLOCK) || original >= size {
            return None;
        }
        if flags & OVERLAY != 0 {
            let overlay = self.overlays.entry(original).or_insert(Overlay { place, sectors: 0 });
            overlay.sectors |= sectors;
            return Some(());
        }
        let forward = flags & FORWARDER != 0;
        if let Some(from) = self.forwarders.remove(&original) {
            original = from;
        }
        if forward && original == relative {
            return None;
        }
        let held = if forward { Held::Forward(relative) } else { Held::Here(place) };
        self.blocks.insert(original, held);
        if forward {
            self.forwarders.insert(relative, original);
        }
        Some(())
    }

    /// Its blocks, over what the newer stores leave of the volume.
    pub(super) fn blocks(&self, newer: &Mapping) -> Vec<Piece> {
        let place = |held: &Held| match held {
            Held::Here(place) => Some(*place),
            Held::Forward(at) => newer.place(*at),
        };
        self.blocks.iter().map(|(start, held)| Piece { start: *start, len: BLOCK, place: place(held) }).collect()
    }

    /// The blocks that nobody used when the newest shadow copy was made: what stands there now is not the past.
    pub(super) fn unused(&self) -> Vec<Piece> {
        let block = |start: &u64| Extent::new(*start, BLOCK);
        let held = self.blocks.keys().chain(self.forwarders.keys()).map(block).collect();
        let unused = self
            .unused
            .iter()
            .map(|(first, count)| Extent::new(first.saturating_mul(BLOCK), count.saturating_mul(BLOCK)));
        let unused = unused.collect::<ExtentSet>().subtract(&held);
        unused.as_slice().iter().map(|extent| Piece { start: extent.start, len: extent.len, place: None }).collect()
    }

    /// The sectors that count for this shadow copy alone.
    pub(super) fn overlaid(&self) -> Vec<Piece> {
        let sectors = self.overlays.iter().flat_map(|(start, overlay)| {
            let counts = (0..32).zip((0..BLOCK).step_by(SECTOR)).filter(|(bit, _)| overlay.sectors >> bit & 1 == 1);
            counts.map(|(_, within)| Piece {
                start: start.saturating_add(within),
                len: offset(SECTOR),
                place: Some(overlay.place.saturating_add(within)),
            })
        });
        sectors.collect()
    }
}

/// A bitmap, whole; none where the catalog names none or it cannot be read.
fn bits(view: View<'_>, at: u64) -> Option<Vec<u8>> {
    let needed = index(view.size().div_ceil(BLOCK).div_ceil(8));
    let mut bits = Vec::new();
    for block in chain(view, at, 6) {
        bits.extend_from_slice(block.get(HEAD..)?);
        if bits.len() >= needed {
            break;
        }
    }
    bits.truncate(needed);
    (!bits.is_empty()).then_some(bits)
}

/// Runs of bits that are set, as (first, count).
fn stretches(bits: &[u8]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    let set = bits.iter().zip(0u64..).flat_map(|(byte, number)| {
        let bit = move |n: u64| (byte >> n & 1 == 1).then_some(number.saturating_mul(8).saturating_add(n));
        (0..8).filter_map(bit)
    });
    for block in set {
        match runs.last_mut() {
            Some((first, count)) if first.saturating_add(*count) == block => *count = count.saturating_add(1),
            _ => runs.push((block, 1)),
        }
    }
    runs
}
