//! VHD: the disks of Virtual PC, Hyper-V and Azure, fixed, dynamic and differencing.
//!
//! A footer of 512 bytes describes the disk. A fixed one is its bytes and that footer; the others have a copy of it at
//! the front, a header, and a table of blocks, each with a bitmap of its sectors. In a differencing disk the bitmap says
//! which sectors are here and which are those of the disk below; in a dynamic one it is not looked at, for programs
//! differ in what they write there. Specification: Microsoft, "Virtual Hard Disk Image Format Specification" 1.0.

mod footer;
mod header;

use super::chunks::{Chunks, Files, Piece, Place, Table, run_of};
use super::file::{Source, peek, unfit};
use super::{Image, ImageError, Taken, about::About, chain};
use crate::bytes::Fields;
use crate::extent::Extent;
use footer::{Footer, Kind};
use header::Header;
use std::path::Path;

const SECTOR: u64 = 512;
/// In the table: the block is not here.
const UNUSED: u32 = u32::MAX;

/// The disk.
struct Vhd {
    size: u64,
    /// The table of blocks; `None` of a fixed disk.
    header: Option<Header>,
    unwritten: Place,
}

/// Opens the disk, with those that it is based on.
///
/// # Errors
/// Where one of them is missing or is another, or its description is damaged beyond use.
pub fn open(path: &Path) -> Taken {
    if path.is_dir() || !recognised(path)? {
        return Ok(None);
    }
    let source = Source::open(path)?;
    let mut about = About::default();
    let Some(footer) = Footer::find(source.bytes(), &mut about) else { return Ok(None) };
    footer.describe(&mut about);
    if footer.kind == Kind::Fixed {
        let there = source.size().saturating_sub(SECTOR);
        if footer.size > there {
            about.fault(format!("is of {} bytes, but only {there} are there", footer.size));
        }
        let table = Vhd { size: footer.size, header: None, unwritten: Place::Lost };
        return Ok(Some(Box::new(Chunks::new(table, Files::new(vec![source]), None, about))));
    }
    let header = Header::read(source.bytes(), &footer, &mut about)
        .map_err(|what| unfit(path, what, "it is damaged: make a new copy"))?;
    let parent = match footer.kind {
        Kind::Differencing => Some(below(path, source.bytes(), &header, &mut about)?),
        _ => None,
    };
    let unwritten = if parent.is_some() { Place::Parent } else { Place::Zeros };
    let table = Vhd { size: footer.size, header: Some(header), unwritten };
    Ok(Some(Box::new(Chunks::new(table, Files::new(vec![source]), parent, about))))
}

/// By a footer at the end, or its copy at the front.
fn recognised(path: &Path) -> Result<bool, ImageError> {
    let at_front = peek::<8>(path, None)?;
    // Virtual PC before 2004 wrote 511 bytes.
    let at_end = [peek::<8>(path, Some(512))?, peek::<8>(path, Some(511))?];
    Ok(at_front == *footer::COOKIE || at_end.contains(footer::COOKIE))
}

/// The disk that this one is based on: the one whose identifier it names.
fn below(path: &Path, bytes: &[u8], header: &Header, about: &mut About) -> Result<Box<dyn Image>, ImageError> {
    let names = header.parents(bytes);
    about.fact("based on", names.join(", "));
    let found = names.iter().find_map(|name| chain::beside(path, name, "parent").ok());
    let missing = || chain::beside(path, names.last().map_or("(of no name)", String::as_str), "parent");
    let found = found.map_or_else(missing, Ok)?;
    let id = footer::id_of(&found)?;
    if id != Some(header.parent_id) {
        let what = format!("is another disk than the one on which {} is based", path.display());
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

impl Vhd {
    fn block_piece(&self, files: &Files, header: &Header, at: u64) -> Option<Piece> {
        let number = at.checked_div(header.block)?;
        let whole = Extent::new(number.checked_mul(header.block)?, header.block);
        let entry = (0, Extent::new(header.table.checked_add(number.checked_mul(4)?)?, 4));
        let lost = Piece { extent: whole, place: Place::Lost, entry };
        if number >= header.entries {
            return Some(lost);
        }
        let Some(sector) = files.at(0, entry.1).and_then(|bytes| bytes.be32(0)) else { return Some(lost) };
        if sector == UNUSED {
            return Some(Piece { extent: whole, place: self.unwritten, entry });
        }
        let bitmap = u64::from(sector).checked_mul(SECTOR)?;
        let data = bitmap.checked_add(header.bitmap())?;
        if self.unwritten == Place::Parent {
            return Some(sectors_piece(files, at, whole, bitmap, data).unwrap_or(lost));
        }
        Some(Piece { extent: whole, place: Place::Stored { file: 0, at: data, summed: 0 }, entry })
    }
}

/// The sectors from `at` on that are all here, or all of the disk below: one bit each, the first the highest.
fn sectors_piece(files: &Files, at: u64, whole: Extent, bitmap: u64, data: u64) -> Option<Piece> {
    let count = whole.len / SECTOR;
    let bits = Extent::new(bitmap, count.div_ceil(8));
    let bytes = files.at(0, bits)?;
    let bit = |n: u64| Some(bytes.get(crate::bytes::index(n / 8))?.checked_shl((n % 8) as u32)? & 0x80 != 0);
    let here = at.checked_sub(whole.start)? / SECTOR;
    let (written, sectors) = run_of(here, count, bit)?;
    let skip = here.checked_mul(SECTOR)?;
    let extent = Extent::new(whole.start.checked_add(skip)?, sectors.checked_mul(SECTOR)?);
    let place = if written { Place::Stored { file: 0, at: data.checked_add(skip)?, summed: 0 } } else { Place::Parent };
    Some(Piece { extent, place, entry: (0, bits) })
}

impl Table for Vhd {
    fn format(&self) -> &'static str {
        "vhd"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn grain(&self) -> u64 {
        1
    }

    fn piece(&self, files: &Files, at: u64) -> Piece {
        let disk = Extent::new(0, self.size);
        match &self.header {
            None => Piece::new(disk, Place::Stored { file: 0, at: 0, summed: 0 }),
            Some(header) => self.block_piece(files, header, at).unwrap_or_else(|| Piece::new(disk, Place::Lost)),
        }
    }

    fn packed(&self) -> bool {
        false
    }
}
