//! Where the content of a file lies: its allocation descriptors, and the blocks in which their list goes on (ECMA-167,
//! 4/12 and 4/14.5).

use super::icb::FileEntry;
use super::layout::{Layout, rounded};
use super::tag::{self, Address, State, Stretch, Tag};
use crate::bytes::{Fields, index};
use crate::content::Run;
use crate::extent::Extent;
use crate::fs::pieces;
use crate::fuel::Fuel;
use std::borrow::Cow;

/// What a list says.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    pub(super) runs: Vec<Run>,
    /// Blocks in which the list goes on.
    pub(super) used: Vec<Extent>,
    pub(super) wrong: Option<String>,
}

impl Mapping {
    /// Where the content lies.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        pieces::extents(&self.runs)
    }

    fn push(&mut self, run: Run) {
        pieces::push(&mut self.runs, run);
    }
}

/// Reads one descriptor of a list within a partition.
type Parse = fn(&[u8], u16) -> Option<Stretch>;

/// The list of a file. Takes fuel for each byte of it, and for each piece that is found.
pub(super) fn map(layout: &Layout<'_>, entry: &FileEntry<'_>, fuel: &mut Fuel) -> Mapping {
    let mut mapping = Mapping::default();
    let (step, parse): (usize, Parse) = match entry.listing() {
        0 => (8, Stretch::short),
        1 => (16, |raw, _| Stretch::long(raw)),
        2 => (20, |raw, _| Stretch::extended(raw)),
        3 => {
            let inside = entry.inside();
            if entry.size > crate::bytes::offset(entry.descriptors().len()) {
                mapping.wrong = Some("its content is larger than the entry that holds it".to_owned());
            }
            mapping.push(Run::Data(inside));
            return mapping;
        }
        other => {
            mapping.wrong = Some(format!("the list of its extents is of a kind that is not known ({other})"));
            return mapping;
        }
    };
    let mut part = entry.address.part;
    let (mut list, mut at, mut size) = (Cow::Borrowed(entry.descriptors()), 0usize, 0u64);
    loop {
        let Some(stretch) = list.get(at..).filter(|rest| rest.len() >= step).and_then(|rest| parse(rest, part)) else {
            return mapping;
        };
        at = at.saturating_add(step);
        if stretch.len == 0 {
            return mapping;
        }
        // A descriptor costs the pieces that its stretch may lie in, and one that leads to another list the block of that.
        let pieces = match stretch.state {
            State::Continued => layout.block,
            State::Hole => 0,
            _ => layout.pieces(stretch.at, rounded(stretch.len, layout.block)),
        };
        if fuel.burn(pieces.saturating_add(crate::bytes::offset(step))).is_err() {
            mapping.wrong =
                Some("the lists of this volume name more than it has room for: not read further".to_owned());
            return mapping;
        }
        if stretch.state == State::Continued {
            match continued(layout, stretch.at) {
                Some((place, next)) => {
                    mapping.used.push(Extent::new(place, layout.block));
                    (list, at, part) = (Cow::Owned(next), 0, stretch.at.part);
                }
                None => {
                    mapping.wrong = Some(format!("block {}, in which its list goes on, is damaged", stretch.at.block));
                    return mapping;
                }
            }
            continue;
        }
        if !add(layout, &mut mapping, stretch, size, entry.size) {
            let (block, len) = (stretch.at.block, stretch.len);
            mapping.wrong = Some(format!("{len} bytes from block {block} on lie outside of their partition"));
            return mapping;
        }
        size = size.saturating_add(stretch.len);
    }
}

/// Adds a stretch that begins at byte `at` of a file of `size` bytes; false where it lies nowhere.
fn add(layout: &Layout<'_>, mapping: &mut Mapping, stretch: Stretch, at: u64, size: u64) -> bool {
    // The last one ends where the content does, and has the rest of its block.
    let is_last = at.saturating_add(stretch.len) >= size;
    let len = if is_last { rounded(stretch.len, layout.block) } else { stretch.len };
    // What was never written reads as zeros, and behind the end of the content is slack.
    let zeros = match stretch.state {
        State::Hole => stretch.len,
        State::Reserved => size.saturating_sub(at).min(len),
        _ => 0,
    };
    mapping.push(Run::Hole(zeros));
    if stretch.state == State::Hole {
        return true;
    }
    let Some(places) = layout.places(stretch.at, len) else { return false };
    let mut skip = zeros;
    for place in places {
        let cut = skip.min(place.len);
        skip = skip.saturating_sub(cut);
        mapping.push(Run::Data(Extent::between(place.start.saturating_add(cut), place.end())));
    }
    true
}

/// The list that goes on in a block, and where that stands.
fn continued(layout: &Layout<'_>, at: Address) -> Option<(u64, Vec<u8>)> {
    let raw = layout.bytes(at)?;
    let tag = Tag::read(&raw)?;
    (tag.is(&[tag::ALLOCATION]) && tag.location == at.block).then_some(())?;
    let list = raw.span(24, index(raw.le32(20)?.into()))?;
    Some((layout.at(at)?, list.to_vec()))
}
