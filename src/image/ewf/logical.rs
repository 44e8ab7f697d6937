//! Logical evidence of the first format (L01): files, whose contents are the bytes of the set, one behind the other.

use super::ltree::{self, Leaf};
use super::{Ewf, Gathered};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::about::About;
use crate::image::chunks::{Chunks, Files, MAX_GRAIN};
use crate::image::file::{Source, unfit};
use crate::image::folder::{Listed, ListedKind};
use crate::image::{Image, ImageError, Kind};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The files of a set.
struct Logical {
    bytes: Chunks<Ewf>,
    listing: Vec<Listed>,
}

/// The files of the set at `path`.
///
/// # Errors
/// Where it has no list of them, or no bytes.
pub(super) fn image(path: &Path, files: Vec<Source>, gathered: Gathered) -> Result<Box<dyn Image>, ImageError> {
    let Gathered { mut media, mut tables, tree } = gathered;
    let hint = "its segments are damaged beyond use, or one is missing: make a new copy";
    let Some((data, sure)) = tree else {
        return Err(unfit(path, "has no list of the files that it holds", hint));
    };
    let tree = ltree::read(&data);
    tree.damaged.into_iter().for_each(|what| media.about.fault(what));
    let end = |leaf: &Leaf| leaf.place.map_or(0, |(at, len)| at.saturating_add(len));
    let size = tree.total.unwrap_or_else(|| tree.leaves.iter().map(end).max().unwrap_or(0));
    let chunk = media.chunk();
    if size == 0 || !(512..=MAX_GRAIN).contains(&chunk) {
        return Err(unfit(path, format!("has {size} bytes of files in chunks of {chunk} bytes"), hint));
    }
    tables.settle(size.div_ceil(chunk), &mut media.about);
    let files = Files::new(files);
    let last = size.div_ceil(chunk).saturating_sub(1);
    let counted = size.saturating_sub(last.saturating_mul(chunk));
    let last = tables.length(&files, last, counted, chunk);
    media
        .about
        .facts
        .insert(0, ("container".to_owned(), format!("EWF, logical evidence, {} files and folders", tree.leaves.len())));
    let listing = tree.leaves.into_iter().map(|leaf| listed(leaf, size, sure)).collect();
    let bytes = Chunks::new(Ewf { tables, size, chunk, last }, files, None, media.about);
    Ok(Box::new(Logical { bytes, listing }))
}

/// An entry as it is listed, of evidence of `size` bytes.
fn listed(leaf: Leaf, size: u64, sure: bool) -> Listed {
    let whole = Extent::new(0, size);
    let (at, there) = leaf.place.unwrap_or((0, 0));
    let wanted = if leaf.is_folder { 0 } else { leaf.size };
    let extent = Extent::new(at, wanted.min(there)).intersect(whole);
    let fault = |what: String| Some(Fault::new(at, "ltree", what));
    let fault = if extent.len < wanted {
        fault(format!("of its {wanted} bytes {} are stored: it is sparse, or its place is damaged", extent.len))
    } else if !sure {
        fault("the checksum of the list that places it does not hold".to_owned())
    } else {
        None
    };
    let [modified, changed, born, accessed] = leaf.times;
    let mut listed = Listed::new(leaf.path);
    listed.kind = if leaf.is_folder { ListedKind::Directory } else { ListedKind::File };
    listed.extent = if extent.is_empty() { Extent::new(at.min(size), 0) } else { extent };
    listed.times = [modified, changed, born];
    (listed.accessed, listed.inode, listed.fault, listed.carried) = (accessed, leaf.id, fault, leaf.hashes);
    listed.note = leaf.deleted.then(|| "was deleted when it was acquired".to_owned());
    listed
}

impl Image for Logical {
    fn format(&self) -> &'static str {
        "ewf files"
    }

    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn part(&self, extent: Extent) -> Result<Cow<'_, [u8]>, ImageError> {
        self.bytes.part(extent)
    }

    fn part_once(&self, extent: Extent) -> Result<Cow<'_, [u8]>, ImageError> {
        self.bytes.part_once(extent)
    }

    fn packed(&self) -> bool {
        self.bytes.packed()
    }

    fn unreadable(&self) -> Vec<Extent> {
        self.bytes.unreadable()
    }

    fn release(&self) {
        self.bytes.release();
    }

    fn files(&self) -> Vec<PathBuf> {
        self.bytes.files()
    }

    fn about(&self) -> &About {
        self.bytes.about()
    }

    fn kind(&self) -> Kind {
        Kind::Folder
    }

    fn listing(&self) -> &[Listed] {
        &self.listing
    }
}
