//! Directories: file identifiers in a row (ECMA-167, 4/14.4), deleted ones among them, and those behind its end.

use super::layout::Layout;
use super::tag::{self, Address, Stretch, Tag};
use super::text;
use crate::bytes::{Fields, index, offset};
use crate::content::{Content, Stream};
use crate::extent::Extent;
use crate::fuel::{Fuel, Spent};

/// Bytes of a directory that are read.
pub(super) const MAX_DIRECTORY: u64 = 1 << 28;
/// Bytes before the implementation's use and the name.
const HEADER: usize = 38;

const SPENT: &str = "the checksums of this volume's names cover more than it has room for: not read further";

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

/// The names of the directory with this content. Takes fuel for what checksums cover.
pub(super) fn read(layout: &Layout<'_>, stream: &Stream, fuel: &mut Fuel) -> Listing {
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
        if fuel.burn(rest.le16(10).unwrap_or(0).into()).is_err() {
            listing.wrong.push((place(at), SPENT.to_owned()));
            return listing;
        }
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
                let mut next = (at.saturating_add(4)..bytes.len()).step_by(4);
                let sound = next.find(|at| is_sound(bytes.get(*at..).unwrap_or_default(), fuel) != Ok(false));
                at = sound.unwrap_or(bytes.len());
            }
        }
    }
    for extent in stream.slack() {
        if behind(layout, extent, fuel, &mut listing.fids).is_err() {
            listing.wrong.push((extent.start, SPENT.to_owned()));
            break;
        }
    }
    listing
}

/// The names that stand in free bytes: the sums of their tags vouch for them.
///
/// # Errors
/// [`Spent`] where there is no fuel to look at all of it.
fn behind(layout: &Layout<'_>, extent: Extent, fuel: &mut Fuel, found: &mut Vec<Fid>) -> Result<(), Spent> {
    let len = extent.len.min(1 << 20);
    fuel.burn(len)?;
    let bytes = layout.view.read_up_to(extent.start, len);
    // Names begin at every fourth byte of their directory's blocks.
    let first = index(extent.start.next_multiple_of(4).saturating_sub(extent.start));
    for at in (first..bytes.len()).step_by(4) {
        let rest = bytes.get(at..).unwrap_or_default();
        if is_sound(rest, fuel)? {
            let parsed = parse(rest, extent.start.saturating_add(offset(at)));
            let fid = parsed.map(|(fid, ..)| Fid { is_slack: true, ..fid });
            found.extend(fid.filter(|fid| !fid.is_parent()));
        }
    }
    Ok(())
}

/// Whether a name whose sums both fit stands at the start of `raw`.
///
/// # Errors
/// [`Spent`] where there is no fuel for its CRC.
fn is_sound(raw: &[u8], fuel: &mut Fuel) -> Result<bool, Spent> {
    let Some(len) = Tag::covers(raw, tag::FILE_IDENTIFIER) else { return Ok(false) };
    fuel.burn(len.into())?;
    Ok(Tag::read(raw).is_some_and(|tag| tag.is(&[tag::FILE_IDENTIFIER])))
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
