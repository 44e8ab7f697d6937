//! Evidence with those of its volumes unlocked for which there is a key, and the missing parts of its arrays computed.

use super::assemble::places;
use super::vault::{Keys, Layer, Sheet, locked};
use super::{Layout, Volume, VolumeKind, divide};
use crate::bytes::hex;
use crate::extent::Extent;
use crate::image::derived::{Decode, Derived, How, Opened, Overlay, Rebuilt};
use crate::image::{self, Image, ImageError, View};
use std::path::Path;
use std::sync::Arc;

/// How often what was unlocked is looked through for more.
const DEPTH: usize = 6;

/// Evidence, opened.
pub struct Evidence {
    /// It.
    pub image: Box<dyn Image>,
    /// The keys of the volumes that were unlocked, in hexadecimal: they open them again.
    pub used: Vec<String>,
}

/// Opens evidence, and all of its volumes that can be unlocked or put together.
///
/// # Errors
/// As [`image::open`].
pub fn open(path: &Path, keys: &Keys) -> Result<Evidence, ImageError> {
    let (mut image, mut used) = (image::open(path)?, Vec::new());
    if image.kind() == image::Kind::Folder {
        return Ok(Evidence { image, used });
    }
    for _ in 0..DEPTH {
        let layout = divide(View::whole(image.as_ref()));
        let (overlays, opened, found) = unlock(View::whole(image.as_ref()), &layout, keys);
        let rebuilt: Vec<Rebuilt> = layout.computed;
        let rebuilt: Vec<Rebuilt> = rebuilt.into_iter().filter(|(id, _)| image.rebuilt(id).is_none()).collect();
        if opened.is_empty() && rebuilt.is_empty() {
            break;
        }
        used.extend(found);
        image = Box::new(Derived::over(image, overlays, opened, rebuilt));
    }
    Ok(Evidence { image, used })
}

/// What is to be laid over the disk for the volumes that the keys open.
fn unlock(disk: View<'_>, layout: &Layout, keys: &Keys) -> (Vec<Overlay>, Vec<Opened>, Vec<String>) {
    let (mut overlays, mut opened, mut used) = (Vec::new(), Vec::new(), Vec::new());
    let is_candidate = |volume: &&Volume| {
        let seen = disk.image().opened().iter().any(|o| o.holder == volume.first() && o.holder_size == volume.size());
        !seen
            && !matches!(volume.kind, VolumeKind::Gap | VolumeKind::Snapshot)
            && !layout.members.contains(&volume.number)
    };
    for volume in layout.volumes.iter().filter(is_candidate) {
        let found = volume.with(disk, |view| {
            let (vault, lock) = locked(view)?;
            Some((lock, (vault.unlock)(view, keys)?))
        });
        let Some((lock, unlocked)) = found else { continue };
        used.extend(Some(hex(&unlocked.key)).filter(|key| !key.is_empty()));
        opened.push(Opened {
            holder: volume.first(),
            holder_size: volume.size(),
            id: lock.id,
            name: lock.name,
            type_name: format!("{}, opened by {}", lock.what, unlocked.by),
            shown: Extent::new(unlocked.start, unlocked.size),
            faults: lock.faults,
        });
        overlays.extend(unlocked.layers.iter().flat_map(|layer| placed(volume, layer)));
    }
    (overlays, opened, used)
}

/// A stretch of a volume, laid over the disk.
fn placed(volume: &Volume, layer: &Layer) -> Vec<Overlay> {
    let mut overlays = Vec::new();
    for shown in places(volume, Extent::new(layer.at, layer.len)) {
        let into = shown.start.saturating_sub(layer.at);
        for source in places(volume, Extent::new(layer.from.saturating_add(into), shown.len)) {
            let skip = source.start.saturating_sub(layer.from);
            let (Some(at), Some(from)) = (shown.place, source.place) else { continue };
            let at = at.saturating_add(skip.saturating_sub(into));
            let how = match &layer.sheet {
                Sheet::Plain => How::Moved,
                Sheet::Zeros => How::Zeros,
                Sheet::Given(bytes) => How::Given(bytes.clone()),
                Sheet::Decoded(by, number) => {
                    let sectors = skip.checked_div(by.sector()).unwrap_or(0);
                    How::Decoded(Arc::clone(by) as Arc<dyn Decode>, number.saturating_add(sectors))
                }
            };
            overlays.push(Overlay { at, len: source.len, from, how });
        }
    }
    overlays
}
