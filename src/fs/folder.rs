//! A folder of files, or evidence that is files, as a file system: what [`crate::image::folder`] or the container listed, with nothing deleted or unallocated.

use super::{Batch, Claim, Entry, EntryKind, Facts, FileSystem, Opened, Times};
use crate::content::{Run, Stream};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::folder::{Listed, ListedKind};
use crate::image::{Kind, View};

/// Entries that are made together.
const BATCH: usize = 4096;

struct Folder<'img> {
    view: View<'img>,
    facts: Facts,
}

/// Claims whatever was opened as a folder.
pub fn probe(view: View<'_>) -> Option<Claim> {
    let reason = "a folder of files".to_owned();
    (view.image().kind() == Kind::Folder).then_some(Claim { surety: 100, reason })
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let facts = Facts { name: "folder".to_owned(), cluster: 1, size: view.size(), ..Facts::default() };
    Ok(Box::new(Folder { view, facts }))
}

impl FileSystem for Folder<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        let batches = self.view.image().listing().chunks(BATCH);
        Box::new(batches.map(|batch| batch.iter().map(|listed| Ok(entry(listed))).collect()))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        Box::new(std::iter::empty())
    }
}

fn entry(listed: &Listed) -> Entry {
    let kind = match listed.kind {
        ListedKind::File => EntryKind::File,
        ListedKind::Directory => EntryKind::Directory,
        ListedKind::Symlink(_) => EntryKind::Symlink,
        ListedKind::Special => EntryKind::Special,
    };
    let mut entry = Entry::new(listed.path.clone(), kind, listed.inode.to_string(), listed.extent.start);
    let [mtime, ctime, btime] = listed.times;
    entry.times = Times { btime, mtime, ctime, atime: listed.accessed, dtime: None };
    if let ListedKind::Symlink(target) = &listed.kind {
        entry.target = Some(target.clone());
    }
    entry.stream = Stream::plain(vec![Run::Data(listed.extent)], listed.extent.len);
    entry.faults.extend(listed.fault.clone());
    entry.note.clone_from(&listed.note);
    entry
}
