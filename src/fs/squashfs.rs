//! SquashFS 4: volumes that are packed once and only read after that.
//!
//! Specification: kernel documentation, "Squashfs 4.0 Filesystem"; kernel `squashfs_fs.h` for the names of fields. Nothing
//! is ever deleted in such a volume. Checked against `mksquashfs` and the corpus (`tests/filesystems.rs`,
//! `tests/squashfs.rs`).

mod dir;
mod entry;
mod inode;
mod superblock;
mod table;
mod walk;
mod xattr;

use super::{Batch, Claim, Facts, FileSystem, Opened};
use crate::content::packed::Method;
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use inode::Inode;
use superblock::Superblock;
use table::{Place, Rows, Table};
use walk::Walk;
use xattr::Attributes;

const NAME: &str = "squashfs";
/// Damaged blocks of a table that are told.
const MAX_WRONG: usize = 1000;

/// An opened volume.
struct Squashfs<'img> {
    view: View<'img>,
    sb: Superblock,
    inodes: Table,
    directories: Table,
    fragments: Rows,
    ids: Rows,
    attributes: Attributes,
    facts: Facts,
}

/// Claims volumes with a possible superblock of version 4.
pub fn probe(view: View<'_>) -> Option<Claim> {
    let sb = Superblock::read(view)?;
    let surety = if sb.method.is_some() { 95 } else { 60 };
    let reason = format!("a possible SquashFS superblock at byte {}", view.absolute(0));
    Some(Claim { surety, reason })
}

/// Opens it.
pub fn open(view: View<'_>) -> Opened<'_> {
    let none = || Fault::new(view.absolute(0), NAME, "no possible superblock of version 4");
    let sb = Superblock::read(view).ok_or_else(none)?;
    // Blocks that are not packed are read where the way of packing is not known, too.
    let method = sb.method.unwrap_or(Method::Hole);
    let fragments = Rows::read(view, method, (sb.fragment_table, sb.fragments.into(), 16));
    let ids = Rows::read(view, method, (sb.id_table, sb.ids.into(), 4));
    let attributes = Attributes::read(view, &sb, method);
    let inodes = Table::read(view, method, sb.inode_table, sb.directory_table);
    let firsts = [fragments.first, ids.first, attributes.first, attributes.lists.first];
    let end = table::end_of_directories(view, &sb, &firsts);
    let directories = Table::read(view, method, sb.directory_table, end);
    let mut fs = Squashfs { view, sb, inodes, directories, fragments, ids, attributes, facts: Facts::default() };
    fs.facts = fs.told();
    Ok(Box::new(fs))
}

impl Squashfs<'_> {
    fn fault(&self, at: u64, what: String) -> Fault {
        Fault::new(self.view.absolute(at), NAME, what)
    }

    /// The inode of a reference, and its place.
    fn inode(&self, reference: u64) -> Option<(Inode, Place)> {
        let place = self.inodes.place(reference)?;
        Some((Inode::read(&self.sb, &self.inodes, &mut place.clone())?, place))
    }

    fn told(&self) -> Facts {
        let sb = &self.sb;
        let mut faults = Vec::new();
        let mut add = |at: u64, what: String| faults.push(self.fault(at, what));
        if sb.method.is_none() {
            add(0, format!("compressor {} is not known: what is packed is not read", sb.compressor));
        }
        if sb.bytes_used > self.view.size() {
            add(0, format!("the file system has {} bytes, its volume {}", sb.bytes_used, self.view.size()));
        }
        for (name, table) in [("inodes", &self.inodes), ("directories", &self.directories)] {
            let damaged = table.damaged().map(|at| (at, format!("a block of the table of {name} is damaged")));
            damaged.take(MAX_WRONG).for_each(|(at, what)| add(at, what));
            if let Some(at) = table.broken {
                add(at, format!("the table of {name} ends before it should"));
            }
        }
        let lists = [("fragments", &self.fragments), ("ids", &self.ids), ("attributes", &self.attributes.lists)];
        for (name, _) in lists.iter().filter(|(_, rows)| !rows.is_whole) {
            add(0, format!("the table of {name} is damaged"));
        }
        Facts { name: "SquashFS".to_owned(), cluster: sb.block_size, size: sb.bytes_used, faults, ..Facts::default() }
    }
}

impl FileSystem for Squashfs<'_> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn entries(&self) -> Box<dyn Iterator<Item = Batch> + Send + '_> {
        Box::new(Walk::new(self))
    }

    fn unallocated(&self) -> Box<dyn Iterator<Item = Result<Extent, Fault>> + '_> {
        // A size that is damaged does not make tables free space.
        let sb = &self.sb;
        let tables = [sb.id_table, sb.xattr_table, sb.directory_table, sb.fragment_table, sb.export_table];
        let last = tables.into_iter().filter(|at| *at != superblock::NONE).max().unwrap_or(0);
        let behind = Extent::between(sb.bytes_used.max(last), self.view.size());
        Box::new(Some(behind).into_iter().filter(|extent| !extent.is_empty()).map(Ok))
    }
}
