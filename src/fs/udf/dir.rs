//! Directories: file identifiers in a row (ECMA-167, 4/14.4), deleted ones among them, and those behind its end.

use super::layout::Layout;
use super::tag::{self, Address, Stretch, Tag};
use super::text;
use crate::bytes::{Fields, index, offset};
use crate::content::{Content, Stream};
use crate::extent::Extent;

/// Bytes of a directory that are read.
pub(super) const MAX_DIRECTORY: u64 = 1 << 28;
/// Bytes before the implementation's use and the name.
const HEADER: usize = 38;

/// A name in a directory.
#[derive(Clone, Debug)]
pub(super) struct Fid {
    /// Byte of the volume.
    pub(super) at: u64,
    pub(super) name: String,
    characteristics: u8,
    /// The entry that it names.
    pub(super) file: Stretch,
    /// It stands behind the end of its directory.
    pub(super) is_slack: bool,
}

impl Fid {
    /// A name of ours, for an entry that has none.
    pub(super) fn own(name: String, address: Address, at: u64, is_directory: bool) -> Self {
        let file = Stretch { at: address, ..Stretch::default() };
        Self { at, name, characteristics: if is_directory { 2 } else { 0 }, file, is_slack: false }
    }

    pub(super) const fn is_hidden(&self) -> bool {
        self.characteristics & 1 != 0
    }

    pub(super) const fn is_directory(&self) -> bool {
        self.characteristics & 2 != 0
    }

    pub(super) const fn is_deleted(&self) -> bool {
        self.is_slack || self.characteristics & 4 != 0
    }

    const fn is_parent(&self) -> bool {
        self.characteristics & 8 != 0
    }
}

/// What a directory holds.
#[derive(Default)]
pub(super) struct Listing {
    pub(super) fids: Vec<Fid>,
    /// Byte of the volume and remark.
    pub(super) wrong: Vec<(u64, String)>,
}

/// The names of the directory with this content.
pub(super) fn read(layout: &Layout<'_>, stream: &Stream) -> Listing {
    let mut listing = Listing::default();
    let content = Content::new(layout.view, stream);
    let bytes = content.prefix(stream.size.min(MAX_DIRECTORY));
    let end = content.locate(0).unwrap_or_else(|| layout.view.absolute(0));
    let place = |at: usize| content.locate(offset(at)).unwrap_or(end).saturating_sub(layout.view.absolute(0));
    if offset(bytes.len()) < stream.size {
        listing.wrong.push((place(0), "the directory is not read to its end".to_owned()));
    }
    let mut at = 0usize;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        match parse(rest, place(at)) {
            Some((fid, len, wrong)) => {
                listing.wrong.extend(wrong.map(|what| (fid.at, format!("{}: {what}", fid.name))));
                listing.fids.extend(Some(fid).filter(|fid| !fid.is_parent()));
                at = at.saturating_add(len);
            }
            // Blocks that were never written have no names.
            None if rest.iter().take(tag::LEN).all(|byte| *byte == 0) => {
                match rest.iter().position(|byte| *byte != 0) {
                    Some(skip) => at = at.saturating_add(skip & !3),
                    None => break,
                }
            }
            None => {
                listing.wrong.push((place(at), "a name of the directory is damaged".to_owned()));
                let sound = (at.saturating_add(4)..bytes.len()).step_by(4);
                let mut sound = sound.filter(|at| bytes.get(*at..).is_some_and(is_sound));
                at = sound.next().unwrap_or(bytes.len());
            }
        }
    }
    for extent in stream.slack() {
        listing.fids.extend(behind(layout, extent));
    }
    listing
}

/// The names that stand in free bytes: the sums of their tags vouch for them.
fn behind(layout: &Layout<'_>, extent: Extent) -> Vec<Fid> {
    let bytes = layout.view.read_up_to(extent.start, extent.len.min(1 << 20));
    // Names begin at every fourth byte of their directory's blocks.
    let first = index(extent.start.next_multiple_of(4).saturating_sub(extent.start));
    let places = (first..bytes.len()).step_by(4);
    let sound = places.filter(|at| bytes.get(*at..).is_some_and(is_sound));
    let parsed = sound.filter_map(|at| parse(bytes.get(at..)?, extent.start.saturating_add(offset(at))));
    parsed.map(|(fid, ..)| Fid { is_slack: true, ..fid }).filter(|fid| !fid.is_parent()).collect()
}

fn is_sound(raw: &[u8]) -> bool {
    raw.le16(0) == Some(tag::FILE_IDENTIFIER) && Tag::read(raw).is_some_and(|tag| tag.is(&[tag::FILE_IDENTIFIER]))
}

/// The name at the start of `raw`, its length, and what is wrong with it.
fn parse(raw: &[u8], at: u64) -> Option<(Fid, usize, Option<&'static str>)> {
    let tag = Tag::read(raw).filter(|tag| tag.id == tag::FILE_IDENTIFIER && (tag.sums || tag.checks))?;
    let (name_len, use_len) = (usize::from(raw.byte(19)?), usize::from(raw.le16(36)?));
    let start = HEADER.checked_add(use_len)?;
    let name = raw.span(start, name_len)?;
    let fid = Fid {
        at,
        name: text::name(name),
        characteristics: raw.byte(18)?,
        file: Stretch::long(raw.get(20..)?)?,
        is_slack: false,
    };
    Some((fid, start.checked_add(name_len)?.checked_next_multiple_of(4)?, tag.wrong()))
}
