//! VMDK: the disks of VMware, and of whoever exports machines (OVF).
//!
//! A descriptor, in a file of its own or in the first extent, lists the extents of the disk: flat files, sparse ones of
//! grains in tables of two levels (of which there is a copy), packed ones for streaming, and those of ESX. A snapshot names
//! the disk below it by its content id. Specification: VMware, "Virtual Disk Format" 5.0; Joachim Metz, "VMWare Virtual
//! Disk Format" for COWD.

mod descriptor;
mod sparse;
mod stream;

use super::chunks::{Chunks, Files, Piece, Place, Table};
use super::file::{Source, peek, unfit};
use super::{Image, ImageError, Taken, about::About, chain};
use crate::extent::Extent;
use descriptor::{Descriptor, Form, Part};
use sparse::Sparse;
use std::path::{Path, PathBuf};

const SECTOR: u64 = 512;

/// An extent of the disk.
struct Section {
    /// Which bytes of the disk it holds.
    extent: Extent,
    held: Held,
}

/// What an extent is.
enum Held {
    /// Bytes as they are, from `at` on in file `file`.
    Flat { file: usize, at: u64 },
    /// Grains, placed by tables.
    Sparse(Box<Sparse>),
    /// Zeros.
    Zeros,
    /// Nothing that may be read.
    Nothing,
}

/// The disk.
struct Vmdk {
    sections: Vec<Section>,
    size: u64,
    unwritten: Place,
}

/// Opens the disk, with its extents and the disks that it is based on.
///
/// # Errors
/// Where one of them is missing, or is another, or of a kind that is not read.
pub fn open(path: &Path) -> Taken {
    if path.is_dir() {
        return Ok(None);
    }
    let head = peek::<512>(path, None)?;
    let sparse = head.starts_with(sparse::HOSTED) || head.starts_with(sparse::COWD);
    if !sparse && !descriptor::begins(&head) {
        return Ok(None);
    }
    let source = Source::open(path)?;
    let mut about = About::default();
    let descriptor = if sparse { sparse::descriptor(source.bytes()) } else { Descriptor::read(source.bytes()) };
    let mut files = vec![source];
    let sections = match &descriptor {
        Some(descriptor) if !sparse => parts(path, descriptor, &mut files, &mut about)?,
        _ => vec![alone(path, &files, descriptor.as_ref(), &mut about)?],
    };
    let size = sections.last().map_or(0, |section| section.extent.end());
    let kind = descriptor.as_ref().map_or("without a descriptor", |d| &d.kind);
    about.facts.insert(0, ("container".to_owned(), format!("VMDK, {kind}, {} extents", sections.len())));
    let parent = match descriptor.as_ref().filter(|d| d.is_child()) {
        Some(descriptor) => Some(below(path, descriptor, &mut about)?),
        None => None,
    };
    let unwritten = if parent.is_some() { Place::Parent } else { Place::Zeros };
    let table = Vmdk { sections, size, unwritten };
    Ok(Some(Box::new(Chunks::new(table, Files::new(files), parent, about))))
}

/// The extents that a descriptor lists.
fn parts(
    path: &Path,
    descriptor: &Descriptor,
    files: &mut Vec<Source>,
    about: &mut About,
) -> Result<Vec<Section>, ImageError> {
    let mut sections: Vec<Section> = Vec::new();
    for part in &descriptor.parts {
        let start = sections.last().map_or(0, |section| section.extent.end());
        let extent = Extent::new(start, part.sectors.saturating_mul(SECTOR));
        let held = held(path, part, files, about)?;
        sections.push(Section { extent, held });
    }
    if sections.is_empty() {
        return Err(unfit(path, "lists no extents", "it is damaged: make a new copy"));
    }
    Ok(sections)
}

fn held(path: &Path, part: &Part, files: &mut Vec<Source>, about: &mut About) -> Result<Held, ImageError> {
    let mut open = || -> Result<usize, ImageError> {
        files.push(Source::open(&chain::beside(path, &part.name, "extent")?)?);
        Ok(files.len().saturating_sub(1))
    };
    match part.form {
        Form::Zero => Ok(Held::Zeros),
        Form::NoAccess => {
            about.fault("the descriptor forbids access to an extent: it is not read");
            Ok(Held::Nothing)
        }
        Form::Flat => Ok(Held::Flat { file: open()?, at: part.offset.saturating_mul(SECTOR) }),
        Form::Sparse => {
            let file = open()?;
            let place = format!("extent {}", files.len().saturating_sub(1));
            let source = files.get(file).ok_or_else(|| unfit(path, "lists too many extents", "it is damaged"))?;
            let sparse = sparse_of(source, file, &place, about)?;
            let (size, listed) = (sparse.size(), part.sectors.saturating_mul(SECTOR));
            if size != listed {
                about.fault(format!(
                    "{place}: holds {size} bytes, the descriptor says {listed}: the descriptor is followed"
                ));
            }
            Ok(Held::Sparse(Box::new(sparse)))
        }
        Form::Other => {
            let what = format!("has an extent of the kind {}, which is not read", part.kind);
            Err(unfit(path, what, "convert the disk with the program that made it, or name the device itself"))
        }
    }
}

fn sparse_of(source: &Source, file: usize, place: &str, about: &mut About) -> Result<Sparse, ImageError> {
    Sparse::read(source.bytes(), file, place, about)
        .map_err(|what| unfit(&source.path, what, "it is damaged: make a new copy"))
}

/// The one extent that a sparse file is.
fn alone(
    path: &Path,
    files: &[Source],
    descriptor: Option<&Descriptor>,
    about: &mut About,
) -> Result<Section, ImageError> {
    let source = files.first().ok_or_else(|| unfit(path, "cannot be read", "check that the medium can be read"))?;
    if descriptor.is_none() {
        if let Some(whole) = whole_of(path) {
            let what = format!("is one extent of the disk that {} describes", whole.display());
            return Err(unfit(path, what, "name that file"));
        }
        about.remark("carries no descriptor: it may be a part of a larger disk, or based on another");
    }
    let sparse = sparse_of(source, 0, "the file", about)?;
    let size = sparse.size();
    let listed = descriptor.and_then(|d| d.parts.first()).map(|part| part.sectors.saturating_mul(SECTOR));
    if let Some(listed) = listed.filter(|listed| *listed != size) {
        about.fault(format!("holds {size} bytes by its header and {listed} by its descriptor: the header is followed"));
    }
    Ok(Section { extent: Extent::new(0, size), held: Held::Sparse(Box::new(sparse)) })
}

/// The descriptor beside an extent that is named after it: `disk-s001.vmdk`, `disk-delta.vmdk`, of `disk.vmdk`.
fn whole_of(path: &Path) -> Option<PathBuf> {
    let stem = path.file_stem()?.to_str()?;
    let (name, kind) = stem.rsplit_once('-')?;
    let numbered = kind.starts_with(['s', 'f']) && kind.get(1..)?.bytes().all(|b| b.is_ascii_digit());
    let whole = path.with_file_name(format!("{name}.vmdk"));
    ((numbered || matches!(kind, "delta" | "sesparse")) && whole.is_file()).then_some(whole)
}

/// The disk that this one is a snapshot of: the one with the content id that it names.
fn below(path: &Path, descriptor: &Descriptor, about: &mut About) -> Result<Box<dyn Image>, ImageError> {
    let name = &descriptor.parent_name;
    about.fact("based on", name);
    let found = chain::beside(path, name, "parent")?;
    let source = Source::open(&found)?;
    let own = sparse::descriptor(source.bytes()).or_else(|| Descriptor::read(source.bytes()));
    if own.is_none_or(|own| own.id != descriptor.parent_id) {
        let what = format!("is not, or no longer, the disk on which {} is based", path.display());
        return Err(unfit(
            &found,
            what,
            "find the one that was below it, or merge them with the program that made them",
        ));
    }
    drop(source);
    let parent = chain::below(path, &found, super::open)?;
    about.below(parent.about());
    Ok(parent)
}

impl Table for Vmdk {
    fn format(&self) -> &'static str {
        "vmdk"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn grain(&self) -> u64 {
        let grain = |section: &Section| match &section.held {
            Held::Sparse(sparse) => sparse.grain(),
            _ => 1,
        };
        self.sections.iter().map(grain).max().unwrap_or(1)
    }

    fn piece(&self, files: &Files, at: u64) -> Piece {
        let row = self.sections.partition_point(|section| section.extent.end() <= at);
        let Some(section) = self.sections.get(row) else {
            return Piece::new(Extent::new(at, 1), Place::Lost);
        };
        let whole = |place| Piece::new(section.extent, place);
        match &section.held {
            Held::Flat { file, at } => whole(Place::Stored { file: *file, at: *at, summed: 0 }),
            Held::Zeros => whole(Place::Zeros),
            Held::Nothing => whole(Place::Lost),
            Held::Sparse(sparse) => {
                let inside = at.saturating_sub(section.extent.start);
                let mut piece = sparse.piece(files, inside, self.unwritten);
                // The extents of a disk may be longer than its descriptor says.
                piece.extent = piece.extent.shifted(section.extent.start);
                piece.extent = piece.extent.intersect(section.extent);
                piece
            }
        }
    }

    fn packed(&self) -> bool {
        self.sections.iter().any(|section| matches!(&section.held, Held::Sparse(sparse) if sparse.is_packed()))
    }
}
