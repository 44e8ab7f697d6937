//! Images that are based on others: where the one below lies, and that a chain of them ends.

use super::file::unfit;
use super::{Image, ImageError};
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// The longest chain; each image keeps decoded chunks of its own.
const LONGEST: usize = 16;

thread_local! {
    /// The images of the chain that is being opened, the topmost first.
    static OPENING: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

/// The file that the image at `child` names, with the separators of whichever system: as it says, from the child's
/// folder; or, since evidence is moved, under the same name beside the child. An absolute path is taken last, for it is
/// one of another machine.
///
/// # Errors
/// Where it is nowhere: `role` says what it would be.
pub fn beside(child: &Path, name: &str, role: &str) -> Result<PathBuf, ImageError> {
    let folder = child.parent().unwrap_or(Path::new(""));
    let spelled = name.strip_prefix("file:").unwrap_or(name).replace('\\', "/");
    let last = spelled.rsplit('/').next().unwrap_or_default();
    let absolute = spelled.starts_with('/') || spelled.get(1..2) == Some(":");
    let mut places = vec![folder.join(last)];
    if absolute {
        places.push(PathBuf::from(&spelled));
    } else {
        places.insert(0, folder.join(&spelled));
    }
    let found = places.into_iter().find(|place| !last.is_empty() && place.is_file());
    found.ok_or_else(|| {
        let what = format!("its {role} {name} is missing");
        unfit(child, what, "put it into the same folder, under that name")
    })
}

/// Opens the image below the one at `child` with `open`.
///
/// # Errors
/// Where the chain has no end, or the image cannot be opened.
pub fn below(
    child: &Path,
    parent: &Path,
    open: impl FnOnce(&Path) -> Result<Box<dyn Image>, ImageError>,
) -> Result<Box<dyn Image>, ImageError> {
    let same = |a: &Path, b: &Path| a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    let (depth, circle) = OPENING.with_borrow_mut(|opening| {
        opening.push(child.to_owned());
        (opening.len(), opening.iter().any(|above| same(above, parent)))
    });
    let opened = if circle {
        Err(unfit(child, "is based on an image that is based on it", "find the right image below it"))
    } else if depth > LONGEST {
        let what = format!("is based on a chain of more than {LONGEST} images");
        Err(unfit(child, what, "merge them with the program that made them"))
    } else {
        open(parent)
    };
    OPENING.with_borrow_mut(|opening| opening.truncate(depth.saturating_sub(1)));
    opened
}
