//! VDI: the disks of VirtualBox, dynamic, fixed and differencing.
//!
//! A header and a table of blocks. What a differencing disk is based on is told by an identifier alone, so the disks
//! beside it, and in the folder above, are asked for theirs. There are no checksums. Specification: VirtualBox's
//! description of the format in its forums, "Tutorial: All about VDIs", and the header's definition that QEMU documents.

use super::chunks::{Chunks, Files, Piece, Place, Table};
use super::file::{Source, peek, unfit};
use super::{Image, ImageError, Taken, about::About, chain};
use crate::bytes::{Fields, all_zero, guid};
use crate::extent::Extent;
use std::path::{Path, PathBuf};

const SIGNATURE: u32 = 0xbeda_107f;
/// Bytes of the text and the header that are read.
const HEAD: usize = 512;
/// In the table: the block was never written.
const UNWRITTEN: u32 = u32::MAX;
/// In the table: the block was discarded and reads as zeros.
const DISCARDED: u32 = u32::MAX - 1;
/// Files of a folder that are asked whether they are the disk below.
const MOST_ASKED: usize = 4096;

/// What the header says.
struct Header {
    kind: u32,
    description: String,
    table: u64,
    data: u64,
    size: u64,
    block: u64,
    /// Bytes before the data of each block.
    extra: u64,
    blocks: u64,
    id: [u8; 16],
    /// Changed with every write.
    modified: [u8; 16],
    parent: [u8; 16],
    parent_modified: [u8; 16],
}

/// The disk.
struct Vdi {
    header: Header,
    unwritten: Place,
}

/// Opens the disk, with those that it is based on.
///
/// # Errors
/// Where one of them is missing or is another, or the header is of no known kind.
pub fn open(path: &Path) -> Taken {
    if path.is_dir() || !is_vdi(&peek::<HEAD>(path, None)?) {
        return Ok(None);
    }
    let source = Source::open(path)?;
    let damaged = |what: &str| unfit(path, what, "convert it with the program that made it");
    let header = Header::read(source.bytes())
        .ok_or_else(|| damaged("is a VDI of an unknown version, or its header is damaged"))?;
    if !header.block.is_power_of_two() || header.block < 512 {
        return Err(damaged("is damaged: its blocks are of no power of two"));
    }
    let mut about = About::default();
    header.describe(source.size(), &mut about);
    let parent = match header.kind {
        4 => Some(below(path, &header, &mut about)?),
        _ => None,
    };
    let unwritten = if parent.is_some() { Place::Parent } else { Place::Zeros };
    Ok(Some(Box::new(Chunks::new(Vdi { header, unwritten }, Files::new(vec![source]), parent, about))))
}

fn is_vdi(head: &[u8; HEAD]) -> bool {
    head.starts_with(b"<<< ") && head.le32(64) == Some(SIGNATURE)
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        // Version 1.x; 0.1 had other fields.
        let (version, kind) = (bytes.le32(68)?, bytes.le32(76)?);
        if version >> 16 != 1 || !(1..=4).contains(&kind) {
            return None;
        }
        Some(Self {
            kind,
            description: String::from_utf8_lossy(bytes.span(84, 256)?.split(|b| *b == 0).next()?).into_owned(),
            table: bytes.le32(340)?.into(),
            data: bytes.le32(344)?.into(),
            size: bytes.le64(368)?,
            block: bytes.le32(376)?.into(),
            extra: bytes.le32(380)?.into(),
            blocks: bytes.le32(384)?.into(),
            id: bytes.array(392)?,
            modified: bytes.array(408)?,
            parent: bytes.array(424)?,
            parent_modified: bytes.array(440)?,
        })
    }

    fn describe(&self, file_size: u64, about: &mut About) {
        let kind = match self.kind {
            1 => "dynamic",
            2 => "fixed",
            3 => "undo",
            _ => "differencing",
        };
        about.fact("container", format!("VDI, {kind}, blocks of {} bytes", self.block));
        about.fact("description", self.description.clone());
        about.fact("id", guid(self.id));
        let needed = self.size.div_ceil(self.block);
        if self.blocks < needed {
            about.fault(format!("its table has {} blocks where {needed} are needed", self.blocks));
        }
        if self.table.saturating_add(needed.saturating_mul(4)) > file_size {
            about.fault("breaks off before the end of its table");
        }
    }
}

/// The disk that this one is based on: the one with the identifier that it names.
fn below(path: &Path, header: &Header, about: &mut About) -> Result<Box<dyn Image>, ImageError> {
    let name = guid(header.parent);
    about.fact("based on", &name);
    let Some((found, modified)) = find(path, &header.parent) else {
        let what = format!("its parent, the disk {name}, is missing");
        return Err(unfit(path, what, "put it into the same folder"));
    };
    if !all_zero(&header.parent_modified) && modified != header.parent_modified {
        let what = format!("is no longer as it was when {} was based on it", path.display());
        return Err(unfit(
            &found,
            what,
            "find the one that was below it, or merge them with the program that made them",
        ));
    }
    let parent = chain::below(path, &found, super::open)?;
    about.below(parent.about());
    Ok(parent)
}

/// The disk with identifier `id` beside `path` or in the folder above, and the identifier of its last change.
fn find(path: &Path, id: &[u8; 16]) -> Option<(PathBuf, [u8; 16])> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folders = [Some(folder.to_owned()), folder.canonicalize().ok().and_then(|f| f.parent().map(Path::to_owned))];
    let mut files: Vec<PathBuf> = folders
        .into_iter()
        .flatten()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.take(MOST_ASKED).flatten().map(|entry| entry.path()))
        .filter(|file| file.extension().is_some_and(|e| e.eq_ignore_ascii_case("vdi")) && file.is_file())
        .collect();
    files.sort();
    files.into_iter().find_map(|file| {
        let head = peek::<HEAD>(&file, None).ok().filter(is_vdi)?;
        let header = Header::read(&head)?;
        (header.id == *id).then_some((file, header.modified))
    })
}

impl Table for Vdi {
    fn format(&self) -> &'static str {
        "vdi"
    }

    fn size(&self) -> u64 {
        self.header.size
    }

    fn grain(&self) -> u64 {
        1
    }

    fn piece(&self, files: &Files, at: u64) -> Piece {
        let header = &self.header;
        let number = at.checked_div(header.block).unwrap_or(0);
        let extent = Extent::new(number.saturating_mul(header.block), header.block);
        let entry = Extent::new(header.table.saturating_add(number.saturating_mul(4)), 4);
        let block = (number < header.blocks).then(|| files.at(0, entry)).flatten().and_then(|bytes| bytes.le32(0));
        let place = match block {
            None => Place::Lost,
            Some(UNWRITTEN) => self.unwritten,
            Some(DISCARDED) => Place::Zeros,
            Some(block) => {
                let stride = header.block.saturating_add(header.extra);
                let before = u64::from(block).saturating_mul(stride).saturating_add(header.extra);
                Place::Stored { file: 0, at: header.data.saturating_add(before), summed: 0 }
            }
        };
        Piece { extent, place, entry: (0, entry) }
    }

    fn packed(&self) -> bool {
        false
    }
}
