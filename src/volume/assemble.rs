//! What volume managers make of the volumes of a disk, told in bytes of the disk.

use super::{Assembled, Computed, Layout, Parity, Parts, Stretch, Volume, VolumeKind, parts};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::image::View;
use crate::image::derived::{Opened, Rebuilt, Term};
use crate::image::mapped::{Mapped, Mapping, Piece};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How often assembled volumes may be assembled again: a mirror of arrays of partitions, with volumes and tables on it.
const DEPTH: usize = 6;
/// More assembled volumes than any disk holds.
const MOST: usize = 4096;

/// Adds what the managers make of the volumes that are there, and of that again.
pub(super) fn add(disk: View<'_>, layout: &mut Layout) {
    let (mut known, mut fresh) = (HashSet::new(), layout.volumes.len());
    let mut covered: Vec<Extent> = Vec::new();
    for _ in 0..DEPTH {
        let found = found(disk, &layout.volumes, &mut known);
        let mut numbers = HashMap::new();
        for (manager, volume) in found.into_iter().take(MOST.saturating_sub(layout.volumes.len())) {
            push(disk, layout, manager, volume, &mut numbers, &mut covered);
        }
        for row in fresh..layout.volumes.len() {
            divide(disk, layout, row);
        }
        if layout.volumes.len() == fresh {
            break;
        }
        fresh = layout.volumes.len();
    }
    layout.covered = ExtentSet::new(covered);
}

/// What is made of these volumes and was not known yet.
fn found(disk: View<'_>, volumes: &[Volume], known: &mut HashSet<String>) -> Vec<(&'static str, Assembled)> {
    let mut bases: Vec<Option<Mapped<'_>>> = Vec::with_capacity(volumes.len());
    for volume in volumes {
        let parts = volume.parts.as_ref();
        bases.push(parts.map(|parts| Mapped::new(disk.sub(volume.extent), &parts.mapping, parts.size)));
    }
    let mut views: Vec<View<'_>> = Vec::with_capacity(volumes.len());
    for (volume, base) in volumes.iter().zip(&bases) {
        views.push(match base {
            _ if matches!(volume.kind, VolumeKind::Gap | VolumeKind::Snapshot) => disk.sub(Extent::default()),
            Some(mapped) => View::whole(mapped),
            None => disk.sub(volume.extent),
        });
    }
    let made = |manager: &'static super::Manager| (manager.read)(&views).into_iter().map(|made| (manager.name, made));
    let made = crate::registry::MANAGERS.iter().flat_map(made).chain(unlocked(disk, volumes));
    made.filter(|(_, made)| known.insert(made.id.clone())).collect()
}

/// The volumes that the image shows unlocked, made of what they are locked in.
fn unlocked(disk: View<'_>, volumes: &[Volume]) -> Vec<(&'static str, Assembled)> {
    let one = |opened: &Opened| {
        let holds = |volume: &Volume| volume.first() == opened.holder && volume.size() == opened.holder_size;
        let row = volumes.iter().position(holds)?;
        let Extent { start, len } = opened.shown;
        let made = Assembled {
            id: format!("unlocked {} {}", opened.id, opened.holder),
            name: opened.name.clone(),
            type_name: opened.type_name.clone(),
            size: len,
            stretches: Some(vec![Stretch { start: 0, len, place: Some((row, start)) }]),
            faults: opened.faults.clone(),
            ..Assembled::default()
        };
        Some(("unlocked", made))
    };
    disk.image().opened().iter().filter_map(one).collect()
}

/// Adds an assembled volume, its places told in bytes of the disk.
fn push(
    disk: View<'_>,
    layout: &mut Layout,
    manager: &str,
    mut made: Assembled,
    numbers: &mut HashMap<String, u32>,
    covered: &mut Vec<Extent>,
) {
    cut_off(&layout.volumes, &mut made);
    let first = made.stretches.iter().flatten().find_map(|stretch| stretch.place);
    let first = first.or(made.covers.first().map(|(row, extent)| (*row, extent.start)));
    let volumes = &layout.volumes;
    let at = first.and_then(|(row, at)| places(volumes.get(row)?, Extent::new(at, 1)).next()?.place);
    let faults = std::mem::take(&mut made.faults).into_iter();
    layout.faults.extend(faults.map(|fault| Fault { at: at.unwrap_or(0), ..fault }));
    let stored = made.stretches.iter().flatten().filter_map(|stretch| stretch.place.map(|at| (at, stretch.len)));
    let stored = stored.map(|((row, at), len)| (row, Extent::new(at, len)));
    let all: Vec<(usize, Extent)> = stored.chain(made.covers.iter().copied()).collect();
    // What cannot be put together is looked at where it stands.
    let Some(stretches) = made.stretches.take() else { return };
    // The store of a snapshot is searched as it is, too: of an earlier time only what differs is listed.
    for (row, extent) in all.iter().filter(|_| made.past.is_none()) {
        let pieces = volumes.get(*row).into_iter().flat_map(|volume| places(volume, *extent));
        covered.extend(pieces.filter_map(|piece| Some(Extent::new(piece.place?, piece.len))));
    }
    let mut of: Vec<u32> = all.iter().filter_map(|(row, _)| Some(volumes.get(*row)?.number)).collect();
    of.sort_unstable();
    of.dedup();
    layout.members.extend(&of);
    let mut pieces = self::pieces(volumes, &stretches);
    let (computed, rebuilt) = rebuild(disk, volumes, &made);
    pieces.extend(computed);
    layout.computed.extend(rebuilt);
    let copies = self::pieces(volumes, &made.copies);
    let told = |parity: &Parity<Stretch>| parity.map(|member| self::pieces(volumes, member));
    let parities: Vec<Parity<Piece>> = made.parities.iter().map(told).collect();
    let nothing = Mapping::over(vec![Piece { start: 0, len: made.size, place: None }], None);
    let mapping = Mapping::over(pieces, Some(Arc::new(nothing)));
    let past = made.past.and_then(|(id, made)| Some((*numbers.get(&id)?, made)));
    let kind = if past.is_some() { VolumeKind::Snapshot } else { VolumeKind::Assembled };
    layout.push(kind, Extent::new(0, disk.size()), format!("{manager} {}", made.type_name), made.name);
    if let Some(volume) = layout.volumes.last_mut() {
        volume.past = past;
        volume.parts = Some(Arc::new(Parts { mapping, size: made.size, of }));
        let number = volume.number;
        if !copies.is_empty() {
            layout.copies.push((number, copies));
        }
        layout.parities.extend(parities.into_iter().map(|parity| (number, parity)));
        numbers.insert(made.id, number);
    }
}

/// What stretches name behind the ends of their members is lost.
fn cut_off(volumes: &[Volume], made: &mut Assembled) {
    let mut lost = Vec::new();
    for stretch in made.stretches.iter().flatten() {
        let Some((row, at)) = stretch.place else { continue };
        let there = volumes.get(row).map_or(0, Volume::size).saturating_sub(at).min(stretch.len);
        if there < stretch.len {
            let (start, len) = (stretch.start.saturating_add(there), stretch.len.saturating_sub(there));
            lost.push(Computed { start, len, of: Vec::new() });
        }
    }
    if !lost.is_empty() {
        let bytes = lost.iter().fold(0u64, |sum, lost| sum.saturating_add(lost.len));
        let what = format!("{bytes} bytes of {} lie behind the ends of its members", made.name);
        made.faults.push(Fault::new(0, "volume", what));
        made.computed.extend(lost);
    }
}

/// Where bytes of a volume stand on the disk, as far as it has them.
pub(super) fn places(volume: &Volume, extent: Extent) -> impl Iterator<Item = Piece> + '_ {
    let extent = extent.intersect(Extent::new(0, volume.size()));
    let plain = Piece { start: extent.start, len: extent.len, place: Some(extent.start) };
    let mapped = volume.parts.as_ref().map(|parts| parts.mapping.pieces(extent));
    let plain = mapped.is_none().then_some(plain).filter(|piece| piece.len > 0);
    let base = volume.extent.start;
    let pieces = mapped.into_iter().flatten().chain(plain);
    pieces.map(move |piece| Piece { place: piece.place.map(|at| at.saturating_add(base)), ..piece })
}

/// Stretches of members as pieces of the disk.
fn pieces(volumes: &[Volume], stretches: &[Stretch]) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(stretches.len());
    for stretch in stretches {
        let Some((row, at)) = stretch.place else { continue };
        let Some(volume) = volumes.get(row) else { continue };
        for piece in places(volume, Extent::new(at, stretch.len)) {
            let start = stretch.start.saturating_add(piece.start.saturating_sub(at));
            pieces.push(Piece { start, ..piece });
        }
    }
    pieces
}

/// Where the image has the computed bytes of a volume, and of what they are to be computed.
fn rebuild(disk: View<'_>, volumes: &[Volume], made: &Assembled) -> (Vec<Piece>, Option<Rebuilt>) {
    let mut at = disk.image().rebuilt(&made.id);
    let (mut pieces, mut of) = (Vec::new(), Vec::new());
    for computed in &made.computed {
        let place = |(row, from, factor): &(usize, u64, u8)| {
            let piece = places(volumes.get(*row)?, Extent::new(*from, computed.len)).next()?;
            Some((piece.place.filter(|_| piece.len == computed.len)?, *factor))
        };
        let Some(sources) = computed.of.iter().map(place).collect::<Option<Vec<Term>>>() else { continue };
        if let Some(place) = at {
            pieces.push(Piece { start: computed.start, len: computed.len, place: Some(place) });
        }
        at = at.map(|at| at.saturating_add(computed.len));
        of.push((computed.len, sources));
    }
    let rebuilt = (!of.is_empty()).then(|| (made.id.clone(), of));
    (pieces, rebuilt)
}

/// Adds the partitions of an assembled volume that has a table of its own.
fn divide(disk: View<'_>, layout: &mut Layout, row: usize) {
    let Some(volume) = layout.volumes.get(row).filter(|volume| volume.kind == VolumeKind::Assembled).cloned() else {
        return;
    };
    let (Some(parts), Some((_, table))) = (&volume.parts, volume.with(disk, parts::table)) else { return };
    for partition in table.partitions {
        let extent = partition.extent.intersect(Extent::new(0, volume.size()));
        let pieces = parts.mapping.pieces(extent);
        let pieces = pieces.map(|piece| Piece { start: piece.start.saturating_sub(extent.start), ..piece }).collect();
        layout.push(VolumeKind::Assembled, volume.extent, partition.kind, partition.name);
        if let Some(inner) = layout.volumes.last_mut() {
            let mapping = Mapping::over(pieces, None);
            inner.parts = Some(Arc::new(Parts { mapping, size: extent.len, of: vec![volume.number] }));
        }
    }
    if layout.volumes.last().is_some_and(|last| last.parts.as_ref().is_some_and(|parts| parts.of == [volume.number])) {
        layout.members.insert(volume.number);
    }
}
