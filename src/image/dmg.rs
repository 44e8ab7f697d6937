//! UDIF: the disk images of macOS (`.dmg`), packed or not, in one file.
//!
//! Big-endian. The last 512 bytes (`koly`) say where a property list stands; its `blkx` entries hold tables (`mish`), one a partition,
//! of chunks: kind, first sector, sectors, place and length in the data fork. Apple does not document the format; this follows
//! `dmg2img` notes by J. Levin ("Demystifying the DMG File Format") and what QEMU's driver documents. Chunks are packed with ADC,
//! zlib, bzip2, LZFSE or LZMA (xz). Tables that leave sectors out leave zeros. A table may carry the CRC-32 of its content but for
//! the sectors that it says are not used, the trailer that of these checksums.

use super::Taken;
use super::about::{About, Summed};
use super::chunks::{Chunks, Files, MAX_GRAIN, Piece, Place, Table};
use super::codec::Codec;
use super::file::{Source, unfit};
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;

const SECTOR: u64 = 512;
const TRAILER: u64 = 512;
/// A larger property list is none that macOS writes.
const MAX_LIST: u64 = 256 << 20;
/// Where a table has its checksum, and the kind of it that is known.
const SUM: usize = 72;
const CRC32: u32 = 2;
const MAX_CHUNKS: usize = 1 << 24;

/// The disk.
struct Dmg {
    size: u64,
    grain: u64,
    /// Sorted by their first byte.
    chunks: Vec<Piece>,
}

/// Opens the disk.
///
/// # Errors
/// Where it is a part of several, is encrypted, or its tables cannot be read.
pub fn open(path: &Path) -> Taken {
    let Ok(meta) = std::fs::metadata(path) else { return Ok(None) };
    if !meta.is_file() || meta.len() < TRAILER {
        return Ok(None);
    }
    let source = Source::open(path)?;
    let damaged = |what: &str| unfit(path, what, "convert it with hdiutil convert -format UDRW, or choose another");
    if source.bytes().starts_with(b"encrcdsa") {
        return Err(damaged("is an encrypted disk image, which is not read"));
    }
    let trailer = source.at(Extent::new(meta.len().saturating_sub(TRAILER), TRAILER)).unwrap_or_default();
    if trailer.span(0, 4) != Some(b"koly") {
        return Ok(None);
    }
    let field = |at: usize| trailer.be64(at).unwrap_or(0);
    if trailer.be32(60).is_some_and(|count| count > 1) {
        return Err(damaged("is one of several segments, which are not read"));
    }
    let list = Extent::new(field(216), field(224));
    let text = source.at(list).filter(|list| list.len() as u64 <= MAX_LIST && !list.is_empty());
    let text = text.ok_or_else(|| damaged("has no property list where its trailer says"))?;
    let (mut about, mut dmg) =
        (About::default(), Dmg { size: field(492).saturating_mul(SECTOR), grain: SECTOR, chunks: Vec::new() });
    let mut sums = crc32fast::Hasher::new();
    for (number, table) in tables(text).enumerate() {
        let read = table.as_ref().and_then(|table| dmg.add(table, field(24), meta.len()));
        let Some(extents) = read else {
            about.fault(format!("table {number} of its partitions is damaged: what it names is missing"));
            continue;
        };
        let table = table.unwrap_or_default();
        sums.update(table.span(SUM, 4).unwrap_or_default());
        if (table.be32(64), table.be32(68)) == (Some(CRC32), Some(32)) {
            let (what, crc32) = (format!("table {number} of its partitions"), table.be32(SUM).unwrap_or(0));
            about.sums.push(Summed { what, extents, crc32 });
        }
    }
    if trailer.be32(352) == Some(CRC32) && trailer.be32(360) != Some(sums.finalize()) {
        about.fault("the checksum of the checksums of its tables does not fit");
    }
    if dmg.chunks.is_empty() {
        return Err(damaged("has no table of chunks that can be read"));
    }
    dmg.settle(&mut about);
    Ok(Some(Box::new(Chunks::new(dmg, Files::new(vec![source]), None, about))))
}

/// The tables of the property list's `blkx` array, decoded.
fn tables(list: &[u8]) -> impl Iterator<Item = Option<Vec<u8>>> + '_ {
    let text = std::str::from_utf8(list).unwrap_or_default();
    let array = text.split_once("<key>blkx</key>").map_or("", |(_, rest)| rest);
    let array = array.split_once("</array>").map_or(array, |(array, _)| array);
    array.split("<data>").skip(1).map(|data| {
        let (data, _) = data.split_once("</data>")?;
        let packed: Vec<u8> = data.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        STANDARD.decode(packed).ok()
    })
}

impl Dmg {
    /// Adds the chunks of a table, whose places are counted from `fork`; gives the stretches of which it has a checksum: all but
    /// those that it says are not used.
    fn add(&mut self, table: &[u8], fork: u64, end: u64) -> Option<Vec<Extent>> {
        let mut summed = Vec::<Extent>::new();
        let (first, offset) = (table.be64(8)?, table.be64(24)?);
        if table.span(0, 4)? != b"mish" {
            return None;
        }
        let count = usize::try_from(table.be32(200)?).ok()?;
        for row in table.get(204..)?.chunks_exact(40).take(count) {
            let (kind, at, sectors) = (row.be32(0)?, row.be64(8)?, row.be64(16)?);
            let len = sectors.checked_mul(SECTOR)?;
            let extent = Extent::new(first.checked_add(at)?.checked_mul(SECTOR)?, len);
            let packed = Extent::new(fork.checked_add(offset)?.checked_add(row.be64(24)?)?, row.be64(32)?);
            let coded = |codec| Place::Packed { file: 0, extent: packed, codec, len };
            let place = match kind {
                0 | 2 => Place::Zeros,
                1 if packed.end() <= end => Place::Stored { file: 0, at: packed.start, summed: 0 },
                0x8000_0004 => coded(Codec::Adc),
                0x8000_0005 => coded(Codec::Zlib),
                0x8000_0006 => coded(Codec::Bzip2),
                0x8000_0007 => coded(Codec::Lzfse),
                0x8000_0008 => coded(Codec::Xz),
                0x7fff_fffe => continue,
                0xffff_ffff => break,
                _ => Place::Lost,
            };
            match summed.last_mut() {
                _ if kind == 2 => {}
                Some(last) if last.end() == extent.start => last.len = last.len.saturating_add(len),
                _ => summed.push(extent),
            }
            let is_packed = matches!(place, Place::Packed { .. });
            if self.chunks.len() >= MAX_CHUNKS {
                return None;
            }
            if is_packed && len <= MAX_GRAIN {
                self.grain = self.grain.max(len);
            }
            let place = if is_packed && len > MAX_GRAIN { Place::Lost } else { place };
            self.chunks.push(Piece::new(extent, place));
        }
        Some(summed)
    }

    /// Sorts the chunks; of those that overlap the first holds.
    fn settle(&mut self, about: &mut About) {
        self.chunks.retain(|chunk| chunk.extent.len > 0);
        self.chunks.sort_by_key(|chunk| chunk.extent.start);
        let (mut end, mut overlaps) = (0u64, 0usize);
        self.chunks.retain(|chunk| {
            let fits = chunk.extent.start >= end;
            overlaps = overlaps.saturating_add(usize::from(!fits));
            end = if fits { chunk.extent.end() } else { end };
            fits
        });
        if overlaps > 0 {
            about.fault(format!("{overlaps} chunks overlap others and are left out"));
        }
        // The trailer of some writers counts fewer sectors than the tables name.
        self.size = self.size.max(end);
    }
}

impl Table for Dmg {
    fn format(&self) -> &'static str {
        "dmg"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn grain(&self) -> u64 {
        self.grain
    }

    fn piece(&self, _files: &Files, at: u64) -> Piece {
        let next = self.chunks.partition_point(|chunk| chunk.extent.end() <= at);
        match self.chunks.get(index(next as u64)) {
            Some(chunk) if chunk.extent.start <= at => *chunk,
            next => Piece::new(Extent::between(at, next.map_or(self.size, |chunk| chunk.extent.start)), Place::Zeros),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_table_is_survived(table in prop::collection::vec(any::<u8>(), 0..400), kind in 0u32..12) {
            let mut table = table;
            if let Some(magic) = table.get_mut(..4) {
                magic.copy_from_slice(b"mish");
            }
            if let Some(first) = table.get_mut(204..208) {
                first.copy_from_slice(&(0x8000_0000 | kind).to_be_bytes());
            }
            let mut dmg = Dmg { size: 0, grain: SECTOR, chunks: Vec::new() };
            let _ = dmg.add(&table, 0, 1 << 20);
            dmg.settle(&mut About::default());
            let mut at = 0;
            while at < dmg.size.min(1 << 30) {
                let piece = dmg.piece(&Files::new(Vec::new()), at);
                prop_assert!(piece.extent.start <= at && at < piece.extent.end());
                at = piece.extent.end();
            }
        }
    }
}
