//! One session as a user sees it: its best tree, what only the others have, and its boot images.

use super::NAME;
use super::boot;
use super::descriptor::{Names, SECTOR, Session};
use super::tree::{self, may_extend};
use crate::content::{Run, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::fs::trees::{Tree, extents, join, link};
use crate::fs::{Anomaly, Entry, EntryKind};
use crate::image::View;

/// Reads all trees of a session and makes one of them.
pub(super) fn read(view: View<'_>, session: &Session) -> Tree {
    let mut trees: Vec<Tree> =
        session.volumes.iter().map(|volume| tree::read(view, volume, may_extend(volume.names))).collect();
    // Rock Ridge before Joliet before the others; the primary one before what has no better names.
    let rank = |tree: &Tree| match tree.title {
        "Rock Ridge" => 0,
        "Joliet" => 1,
        "enhanced" => 2,
        "primary" => 3,
        _ => 4,
    };
    trees.sort_by_key(rank);
    let mut trees = trees.into_iter();
    let mut whole = trees.next().unwrap_or_default();
    for other in trees {
        join(view, NAME, &mut whole, other);
    }
    whole.used.push(session.extent);
    boot_images(view, session, &mut whole);
    link(&mut whole.entries);
    for volume in &session.volumes {
        for field in &volume.differing {
            let what = format!("the {} volume descriptor: the two copies of {field} differ", volume.names.title());
            whole.anomalies.push(Anomaly { sign: Fault::new(view.absolute(volume.at), NAME, what), extents: vec![] });
        }
    }
    whole
}

/// Lists boot images that no file of the tree is, and marks those that one is.
fn boot_images(view: View<'_>, session: &Session, whole: &mut Tree) {
    let Some(at) = session.boot else { return };
    let Some((extent, images)) = boot::catalogue(view, at) else {
        whole.faults.push(Fault::new(view.absolute(at), NAME, "the catalogue of boot images is damaged"));
        return;
    };
    whole.used.push(Extent::new(extent.start, SECTOR));
    for image in images {
        let begins = |entry: &&mut Entry| extents(entry).next().is_some_and(|e| e.start == image.extent.start);
        if let Some(entry) = whole.entries.iter_mut().find(begins) {
            entry.remark(&format!("a boot image of the disc ({})", image.name));
            continue;
        }
        let mut entry = Entry::new(format!("/[BOOT]/{}", image.name), EntryKind::File, image.at.to_string(), image.at);
        let inside = image.extent.intersect(Extent::new(0, view.size()));
        if inside.len < image.extent.len {
            entry.faults.push(Fault::new(view.absolute(image.at), NAME, "it ends behind the volume"));
        }
        entry.remark("a boot image that the catalogue of the disc names");
        entry.stream = Stream::plain(vec![Run::Data(image.extent)], image.extent.len);
        whole.entries.push(entry);
    }
}

/// The label of a session: the longest that one of its descriptors gives.
pub(super) fn label(session: &Session) -> String {
    let joliet = session.volumes.iter().find(|volume| volume.names == Names::Joliet).map(|v| v.label.as_str());
    let primary = session.primary().map_or("", |volume| volume.label.as_str());
    // Joliet's has 16 characters: where it only cuts the primary one short, that is the better.
    let label = match joliet {
        Some(text) if !text.is_empty() && !primary.starts_with(text) => text,
        _ => primary,
    };
    label.to_owned()
}
