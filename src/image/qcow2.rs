//! QCOW2, versions 2 and 3: the disk of a QEMU machine in clusters, placed by tables of two levels.
//!
//! Clusters are stored as they are, packed with deflate or Zstandard, zeros, or those of the image below; with extended
//! entries each 32nd part of a cluster is so by itself. The clusters may stand in a raw file beside the image. The format
//! has no checksums. Specification: QEMU, docs/interop/qcow2.

mod header;

use super::chunks::{Chunks, Files, Piece, Place, Table, run_of};
use super::codec::Codec;
use super::file::{Source, peek, unfit};
use super::{Image, ImageError, Taken, about::About, chain};
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use header::Header;
use std::path::Path;

const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const PACKED: u64 = 1 << 62;
const COPIED: u64 = 1 << 63;
const ZERO: u64 = 1;
/// Parts of a cluster that extended entries tell apart.
const PARTS: u64 = 32;

/// Its tables.
struct Qcow2 {
    header: Header,
    /// The file that holds the clusters: 1 where that is another than the one that holds the tables.
    data: usize,
    /// Where the parts are that nothing was written to.
    unwritten: Place,
}

/// Opens the image, with the files that it is based on.
///
/// # Errors
/// Where one of them is missing, or is encrypted or written in a way that is not known.
pub fn open(path: &Path) -> Taken {
    if path.is_dir() || peek::<4>(path, None)? != *b"QFI\xfb" {
        return Ok(None);
    }
    let source = Source::open(path)?;
    let mut about = About::default();
    let header = Header::read(source.bytes(), &mut about)
        .map_err(|what| unfit(path, what, "convert it with the program that made it"))?;
    let mut files = vec![source];
    if let Some(name) = &header.data_file {
        files.push(Source::open(&chain::beside(path, name, "data file")?)?);
    }
    let parent = match &header.backing {
        Some((name, format)) => Some(below(path, name, format.as_deref(), &mut about)?),
        None => None,
    };
    let unwritten = if parent.is_some() { Place::Parent } else { Place::Zeros };
    let table = Qcow2 { data: files.len().saturating_sub(1), header, unwritten };
    Ok(Some(Box::new(Chunks::new(table, Files::new(files), parent, about))))
}

/// The image that this one is based on. What is called raw is read as raw, whatever it begins with.
fn below(path: &Path, name: &str, format: Option<&str>, about: &mut About) -> Result<Box<dyn Image>, ImageError> {
    let spelled = name.split_once(':').is_some_and(|(scheme, _)| scheme.len() > 1 && scheme != "file");
    if spelled {
        let what = format!("is based on {name}, which is no file");
        return Err(unfit(path, what, "make a copy that stands alone (qemu-img convert)"));
    }
    let found = chain::beside(path, name, "backing file")?;
    let parent = chain::below(path, &found, |found| match format {
        Some("raw") => super::raw::plain(found),
        _ => super::open(found),
    })?;
    match format {
        Some(format) => about.fact("based on", format!("{name} ({format})")),
        None => {
            about.fact("based on", name);
            let what = format!("does not say of which format {name} is, on which it is based: it is read as");
            about.remark(format!("{what} {}", parent.format()));
        }
    }
    about.below(parent.about());
    Ok(parent)
}

impl Qcow2 {
    fn cluster(&self) -> u64 {
        1u64.checked_shl(self.header.cluster_bits).unwrap_or(u64::MAX)
    }

    /// Bytes of an entry of the second level.
    const fn entry_size(&self) -> u64 {
        if self.header.extended { 16 } else { 8 }
    }

    /// Bytes of the disk that one table of the second level places.
    fn reach(&self) -> u64 {
        let cluster = self.cluster();
        cluster.checked_div(self.entry_size()).unwrap_or(0).saturating_mul(cluster)
    }

    /// A cluster by its entry.
    fn cluster_piece(&self, files: &Files, at: u64, place: Extent) -> Option<(Extent, Place)> {
        let cluster = self.cluster();
        let start = at.checked_div(cluster)?.checked_mul(cluster)?;
        let whole = Extent::new(start, cluster);
        let bytes = files.at(0, place)?;
        let entry = bytes.be64(0)?;
        if entry & PACKED != 0 {
            return Some((whole, self.packed_place(entry)?));
        }
        let host = entry & OFFSET;
        if host.checked_rem(cluster)? != 0 {
            return None;
        }
        // In a data file the first cluster may stand at 0; then its entry says that it is in use.
        let written = host != 0 || (self.data != 0 && entry & COPIED != 0);
        if self.header.extended {
            return self.part_piece(at, whole, written.then_some(host), bytes.be64(8)?);
        }
        let place = match entry & ZERO {
            0 if written => Place::Stored { file: self.data, at: host, summed: 0 },
            0 => self.unwritten,
            _ => Place::Zeros,
        };
        Some((whole, place))
    }

    fn packed_place(&self, entry: u64) -> Option<Place> {
        let length_bits = self.header.cluster_bits.checked_sub(8)?;
        let offset_bits = 62u32.checked_sub(length_bits)?;
        let offset = entry & 1u64.checked_shl(offset_bits)?.checked_sub(1)?;
        let sectors = entry.checked_shr(offset_bits)? & 1u64.checked_shl(length_bits)?.checked_sub(1)?;
        // The first sector is the one that the offset lies in.
        let len = sectors.checked_add(1)?.checked_mul(512)?.checked_sub(offset & 511)?;
        let (extent, codec) = (Extent::new(offset, len), self.header.codec);
        (self.data == 0).then(|| Place::Packed { file: 0, extent, codec, len: self.cluster() })
    }

    /// The parts of a cluster from `at` on that are of one kind: 32 bits say what is written, 32 what reads as zeros.
    fn part_piece(&self, at: u64, whole: Extent, host: Option<u64>, bits: u64) -> Option<(Extent, Place)> {
        let part = whole.len.checked_div(PARTS)?;
        let kind = |number: u64| {
            let bit = |shift: u64| bits.checked_shr(u32::try_from(number.saturating_add(shift)).ok()?).map(|b| b & 1);
            Some((bit(0)?, bit(PARTS)?))
        };
        let here = at.checked_sub(whole.start)?.checked_div(part)?;
        let (kind, parts) = run_of(here, PARTS, kind)?;
        let skip = here.checked_mul(part)?;
        let extent = Extent::new(whole.start.checked_add(skip)?, parts.checked_mul(part)?);
        let place = match kind {
            (1, 0) => Place::Stored { file: self.data, at: host?.checked_add(skip)?, summed: 0 },
            (0, 1) => Place::Zeros,
            (0, 0) => self.unwritten,
            // Both at once are not allowed.
            _ => return None,
        };
        Some((extent, place))
    }
}

impl Table for Qcow2 {
    fn format(&self) -> &'static str {
        "qcow2"
    }

    fn size(&self) -> u64 {
        self.header.size
    }

    fn grain(&self) -> u64 {
        self.cluster()
    }

    fn piece(&self, files: &Files, at: u64) -> Piece {
        let reach = self.reach();
        let number = at.checked_div(reach).unwrap_or(u64::MAX);
        let whole = Extent::new(number.saturating_mul(reach), reach);
        let first = Extent::new(self.header.l1_offset.saturating_add(number.saturating_mul(8)), 8);
        let entry = (number < self.header.l1_size).then(|| files.at(0, first)).flatten().and_then(|e| e.be64(0));
        let Some(table) = entry.map(|entry| entry & OFFSET).filter(|table| table.is_multiple_of(self.cluster())) else {
            return Piece { extent: whole, place: Place::Lost, entry: (0, first) };
        };
        if table == 0 {
            return Piece { extent: whole, place: self.unwritten, entry: (0, first) };
        }
        let row = at.saturating_sub(whole.start).checked_div(self.cluster()).unwrap_or(0);
        let second = Extent::new(table.saturating_add(row.saturating_mul(self.entry_size())), self.entry_size());
        let (extent, place) = self.cluster_piece(files, at, second).unwrap_or_else(|| {
            let start = whole.start.saturating_add(row.saturating_mul(self.cluster()));
            (Extent::new(start, self.cluster()), Place::Lost)
        });
        Piece { extent, place, entry: (0, second) }
    }

    fn packed(&self) -> bool {
        // Nothing but reading all tables would tell whether a cluster is packed; a data file holds none that is.
        self.data == 0
    }
}

/// The method by the number in the header.
fn codec(number: u8) -> Option<Codec> {
    match number {
        0 => Some(Codec::Deflate),
        1 => Some(Codec::Zstd),
        _ => None,
    }
}

/// Text at an offset, of a length that the file gives.
fn text(bytes: &[u8], at: u64, len: u64) -> Option<String> {
    Some(String::from_utf8_lossy(bytes.span(index(at), index(len))?).trim_end_matches('\0').to_owned())
}
