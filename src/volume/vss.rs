//! Volume shadow copies of Windows Vista and later: what an NTFS volume held at earlier times.
//!
//! Follows the documentation of libvshadow; checked against libvshadow 20190323 byte for byte. A header at byte 0x1e00 of
//! the volume names the first block of a catalog. In it an entry of type 2 stands for a shadow copy, one of type 3 says
//! where its store lies. A store holds what stood in blocks of 16 KiB before they were written again: the past is
//! today's volume with the blocks of the newest store laid over it, then those of the one before, down to the one wanted.

mod store;

use super::Snapshot;
use crate::bytes::{Fields, guid, utf16_le};
use crate::fault::Fault;
use crate::image::View;
use crate::image::mapped::Mapping;
use crate::time::Timestamp;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use store::Store;

/// `{3808876b-c176-4e48-b7ae-04046e6cc752}`, at the head of every block.
const IDENTIFIER: [u8; 16] =
    [0x6b, 0x87, 0x08, 0x38, 0x76, 0xc1, 0x48, 0x4e, 0xb7, 0xae, 0x04, 0x04, 0x6e, 0x6c, 0xc7, 0x52];
const HEADER: u64 = 0x1e00;
/// Bytes of a block, of the stores' own structures and of what they hold.
const BLOCK: u64 = 0x4000;
/// Bytes of a block's head, and of an entry of the catalog.
const HEAD: usize = 128;
/// Windows keeps at most 512 shadow copies of a volume; some 126 entries, two a copy, fill a block.
const MAX_COPIES: usize = 512;
const MAX_CATALOG: usize = 64;

/// The shadow copies of a volume, the newest first.
pub fn read(view: View<'_>) -> Vec<Snapshot> {
    let header = view.read(HEADER, 512).ok().filter(|bytes| bytes.starts_with(&IDENTIFIER));
    let Some(first) = header.and_then(|header| header.le64(48)).filter(|at| *at > 0) else { return Vec::new() };
    let mut newer = Some(Arc::default());
    let copies = catalog(view, first);
    copies.iter().enumerate().map(|(number, copy)| snapshot(view, copy, number == 0, &mut newer)).collect()
}

/// A shadow copy as the catalog has it.
#[derive(Clone, Debug, Default)]
struct Copy {
    id: [u8; 16],
    made: u64,
    store: Option<Place>,
}

/// Where the parts of a store stand in the volume.
#[derive(Clone, Copy, Debug)]
struct Place {
    blocks: u64,
    header: u64,
    bitmap: u64,
    previous: u64,
}

/// The entries of the catalog, the newest first.
fn catalog(view: View<'_>, first: u64) -> Vec<Copy> {
    let (mut copies, mut stores): (Vec<Copy>, HashMap<[u8; 16], Place>) = (Vec::new(), HashMap::new());
    for bytes in chain(view, first, 2).take(MAX_CATALOG) {
        for entry in bytes.chunks_exact(HEAD).skip(1) {
            let (Some(kind), Some(id), Some(made)) = (entry.le64(0), entry.array(16), entry.le64(48)) else { continue };
            let at = |field: usize| entry.le64(field).unwrap_or(0);
            match kind {
                2 if copies.len() < MAX_COPIES => copies.push(Copy { id, made, store: None }),
                3 => {
                    stores.insert(id, Place { blocks: at(8), header: at(32), bitmap: at(48), previous: at(72) });
                }
                _ => {}
            }
        }
    }
    for copy in &mut copies {
        copy.store = stores.get(&copy.id).copied();
    }
    copies.sort_by_key(|copy| std::cmp::Reverse(copy.made));
    copies
}

/// The blocks of a chain, of one kind: whole, heads and all. Ends where a block is none, or was there before.
fn chain<'v>(view: View<'v>, first: u64, kind: u32) -> impl Iterator<Item = std::borrow::Cow<'v, [u8]>> + 'v {
    let (mut at, mut seen) = (first, HashSet::new());
    std::iter::from_fn(move || {
        let bytes = Some(at).filter(|at| *at > 0 && seen.insert(*at)).and_then(|at| view.read(at, BLOCK).ok())?;
        at = bytes.le64(40)?;
        (bytes.starts_with(&IDENTIFIER) && bytes.le32(20) == Some(kind)).then_some(bytes)
    })
}

/// The volume at the time of a shadow copy. `newer` is the mapping of the copy after it, as far as it counts for older
/// ones, too: none once a store could not be read, for what it kept is missing from all that came before.
fn snapshot(view: View<'_>, copy: &Copy, newest: bool, newer: &mut Option<Arc<Mapping>>) -> Snapshot {
    let made = Timestamp::filetime(copy.made);
    let mut snapshot = Snapshot { name: guid(copy.id), made, ..Snapshot::default() };
    if let Some(told) = copy.store.and_then(|place| information(view, place.header)) {
        snapshot.name = told;
    }
    let Some(later) = newer.take() else {
        snapshot.faults.push(unread(view, HEADER, &snapshot.name, "of a later one blocks are missing"));
        return snapshot;
    };
    let Some(place) = copy.store else {
        snapshot.faults.push(unread(view, HEADER, &snapshot.name, "the catalog does not say where its store is"));
        return snapshot;
    };
    let store = Store::read(view, place);
    if let Some(what) = &store.damage {
        snapshot.faults.push(unread(view, place.blocks, &snapshot.name, what));
        return snapshot;
    }
    let blocks = Arc::new(Mapping::over(store.blocks(&later), Some(later)));
    let unused = if newest { store.unused() } else { Vec::new() };
    let own = Mapping::over(store.overlaid(), Some(Arc::new(Mapping::over(unused, Some(blocks.clone())))));
    (snapshot.mapping, *newer) = (Some(own), Some(blocks));
    snapshot
}

/// Why a shadow copy is not read: with blocks of another time in it, it would be passed off as what it is not.
fn unread(view: View<'_>, at: u64, name: &str, why: &str) -> Fault {
    Fault::new(view.absolute(at), "vss", format!("shadow copy {name} cannot be read whole and is left out: {why}"))
}

/// Id of the shadow copy and the machine that made it, as its store says.
fn information(view: View<'_>, at: u64) -> Option<String> {
    let bytes = chain(view, at, 4).next()?;
    let told = bytes.get(HEAD..)?;
    let id = guid(told.array(16)?);
    let machine = utf16_le(told.span(66, usize::from(told.le16(64)?))?);
    Some(if machine.is_empty() { id } else { format!("{id} of {machine}") })
}

#[cfg(test)]
mod tests;
