//! Directories in free space that nothing names any more.

use super::boot::{Boot, Width};
use super::slot::{self, Slots};
use super::table::Table;
use crate::bytes::all_zero;
use crate::fs::cluster::Span;
use crate::fs::orphan::{self, Found};
use crate::image::View;
use std::borrow::Cow;

/// The specification ends a directory at 2 MiB.
const MAX_DIRECTORY: u64 = 2 << 20;

fn bytes<'img>(view: View<'img>, boot: &Boot, cluster: u32, most: u64) -> Cow<'img, [u8]> {
    let extent = boot.heap.extent(cluster).unwrap_or_default();
    view.read_up_to(extent.start, extent.len.min(most))
}

/// The deleted directory that begins at `cluster`: the free clusters behind it belong to it while each is full of
/// entries and does not begin a directory of its own.
pub(super) fn span(view: View<'_>, boot: &Boot, table: &Table<'_>, cluster: u32) -> Span {
    let wide = boot.width == Width::Fat32;
    let most = u32::try_from(boot.heap.clusters_for(MAX_DIRECTORY)).unwrap_or(u32::MAX);
    let (mut count, mut at) = (1u32, cluster);
    while count < most && !has_end(&bytes(view, boot, at, u64::MAX)) {
        at = at.saturating_add(1);
        let next = bytes(view, boot, at, u64::MAX);
        if !table.is_free(at) || slot::begins_with_dots(&next) || !slot::looks_like_directory(&next, wide) {
            break;
        }
        count = count.saturating_add(1);
    }
    Span { first: cluster, count }
}

fn has_end(bytes: &[u8]) -> bool {
    bytes.chunks_exact(slot::SLOT).any(|b| b.first() == Some(&0)) || bytes.is_empty()
}

/// The free clusters that look like directories and that `known` does not know, in the order in which they are to be
/// listed.
pub(super) fn find(view: View<'_>, boot: &Boot, table: &Table<'_>, known: impl Fn(u32) -> bool) -> Vec<u32> {
    let wide = boot.width == Width::Fat32;
    orphan::find(table.free(), |cluster| {
        let head = bytes(view, boot, cluster, 32);
        if known(cluster) || all_zero(&head) || !slot::may_begin_directory(&head, wide) {
            return None;
        }
        let whole = bytes(view, boot, cluster, u64::MAX);
        let begins = slot::begins_with_dots(&whole);
        if !begins && !slot::looks_like_directory(&whole, wide) {
            return None;
        }
        let mut slots = Slots::new(boot.width);
        let inside = whole.chunks_exact(slot::SLOT).filter_map(|b| slots.take(b, 0));
        let named = inside.filter(|slot| slot.is_directory() && !slot.is_dot()).map(|slot| slot.cluster).collect();
        Some(Found { begins, named })
    })
}
