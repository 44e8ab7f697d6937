//! AFF4: the Advanced Forensic Format 4, as the Standard has it ("AFF4 Standard v1.0a", Schatz and Cohen 2017, 2022), as Evimetry
//! wrote it before (Schatz, "Wirespeed", 2015), and as Rekall and its memory imagers do.
//!
//! A volume is a ZIP64 file or a folder. Its metadata, RDF in Turtle, names an image; that has a map, which says which
//! stretches of the disk stand in which stream. A stream is chunks, many of them in a bevy, each packed or not; or a member of the
//! volume as it is; or a symbol: a byte over and over, or what was not acquired or could not be read. Streams may be in other
//! volumes, which are looked for beside this one. Logical evidence (AFF4-L) and encrypted streams are refused.

mod found;
mod hashes;
mod lexicon;
mod map;
mod stream;
mod sums;
mod tables;
mod turtle;
mod volume;
mod zip;

use super::Taken;
use super::about::About;
use super::cache::Cache;
use super::chunks::{Chunks, Files, MAX_GRAIN, Piece, Place, Table};
use super::file::{peek, unfit};
use crate::bytes::index;
use crate::extent::Extent;
use lexicon::Symbol;
use map::{Stretch, Target};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use stream::Stream;

/// The disk.
struct Aff4 {
    size: u64,
    grain: u64,
    /// Sorted; none overlap.
    stretches: Vec<Stretch>,
    /// By their numbers in the map.
    targets: Vec<Target>,
    streams: Vec<Stream>,
    /// The number of the first chunk of each stream, were they all one.
    firsts: Vec<u64>,
    /// What stands where the map has nothing.
    gap: Symbol,
    /// False where a checksum of what says all this does not hold.
    sure: bool,
    /// Whole chunks of which stretches need a part.
    chunks: OnceLock<Cache>,
}

/// Opens the image of a volume.
///
/// # Errors
/// Where the volume is damaged, holds logical or encrypted evidence, or a volume with its streams is missing.
pub fn open(path: &Path) -> Taken {
    if !path.is_dir() && !volume::is_named(path) && !peek::<4>(path, None)?.starts_with(b"PK\x03\x04") {
        return Ok(None);
    }
    let (mut files, mut about) = (Vec::new(), About::default());
    let Some(volume) = volume::read(path, &mut files, &mut about)? else { return Ok(None) };
    let found = found::image(path, volume, files, about)?;
    let found::Found { stretches, targets, streams, gap, size, sure, files, mut about, hashes } = found;
    let mut firsts = Vec::new();
    let mut chunks = 0u64;
    for stream in &streams {
        firsts.push(chunks);
        chunks = chunks.saturating_add(stream.size.div_ceil(stream.chunk));
    }
    if size == 0 {
        return Err(unfit(path, "does not say how large its disk is", "it is damaged: make a new copy"));
    }
    let grain = streams.iter().map(Stream::grain).max().unwrap_or(0).clamp(512, MAX_GRAIN);
    let files = Files::new(files);
    hashes::check(&hashes, &streams, &files, &mut about);
    let table = Aff4 { size, grain, stretches, targets, streams, firsts, gap, sure, chunks: OnceLock::new() };
    Ok(Some(Box::new(Chunks::new(table, files, None, about))))
}

impl Symbol {
    const fn place(self) -> Place {
        match self {
            Self::Byte(0) => Place::Zeros,
            Self::Byte(byte) => Place::Filled([byte; 8]),
            Self::Unknown | Self::Unreadable => Place::Lost,
        }
    }
}

impl Aff4 {
    /// The stream and the byte of it that stand at byte `at` of the disk.
    fn within(&self, at: u64) -> Option<(usize, u64)> {
        let stretch = self.stretches.get(map::find(&self.stretches, at).ok()?)?;
        let Some(Target::Stream(number)) = self.targets.get(stretch.target) else { return None };
        Some((*number, stretch.at.checked_add(at.checked_sub(stretch.extent.start)?)?))
    }

    /// The piece of a stretch of a stream that holds byte `at`.
    fn streamed(&self, files: &Files, stretch: &Stretch, number: usize, at: u64) -> Option<Piece> {
        let stream = self.streams.get(number)?;
        let inside = stretch.at.checked_add(at.checked_sub(stretch.extent.start)?)?;
        if inside >= stream.size {
            return Some(Piece::new(Extent::between(at, stretch.extent.end()), Place::Lost));
        }
        let chunk = inside.checked_div(stream.chunk)?;
        // Where the chunk begins, of the bytes of the stretch.
        let start = chunk.checked_mul(stream.chunk)?.max(stretch.at);
        let end = chunk.checked_add(1)?.checked_mul(stream.chunk)?.min(stream.size);
        let back = |byte: u64| byte.saturating_sub(stretch.at).saturating_add(stretch.extent.start);
        let extent = Extent::between(back(start), back(end).min(stretch.extent.end()));
        let (place, entry) = stream.place(files, chunk);
        let skip = start.checked_sub(chunk.checked_mul(stream.chunk)?)?;
        let place = match place {
            Place::Stored { file, at, summed } => Place::Stored { file, at: at.checked_add(skip)?, summed },
            other => other,
        };
        Some(Piece { extent, place, entry })
    }

    /// A whole chunk of a stream: out of the cache, or unpacked.
    fn chunk(&self, files: &Files, number: usize, chunk: u64, packed: &[u8]) -> Result<Arc<Vec<u8>>, &'static str> {
        const GONE: &str = "its stream is not there";
        let stream = self.streams.get(number).ok_or(GONE)?;
        let cache = self.chunks.get_or_init(|| Cache::new(self.grain));
        let key = key(&self.firsts, number, chunk, self.grain);
        if let Some(kept) = key.and_then(|key| cache.get(key)) {
            return Ok(kept);
        }
        let mut bytes = Vec::with_capacity(index(stream.chunk));
        stream.unpack(files, chunk, packed, &mut bytes)?;
        let bytes = Arc::new(bytes);
        if let Some(key) = key {
            cache.put(key, Arc::clone(&bytes));
        }
        Ok(bytes)
    }
}

/// Where the cache keeps a chunk of stream `number`: no two have the same place. None where a stream says that it has more bytes
/// than there are numbers for: such chunks are not kept.
fn key(firsts: &[u64], number: usize, chunk: u64, grain: u64) -> Option<u64> {
    let end = firsts.get(number.checked_add(1)?).copied().unwrap_or(u64::MAX);
    let row = firsts.get(number)?.checked_add(chunk).filter(|row| *row < end)?;
    row.checked_mul(grain)
}

impl Table for Aff4 {
    fn format(&self) -> &'static str {
        "aff4"
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn grain(&self) -> u64 {
        self.grain
    }

    fn piece(&self, files: &Files, at: u64) -> Piece {
        let stretch = match map::find(&self.stretches, at) {
            Ok(row) => self.stretches.get(row),
            Err(next) => {
                let end = next.unwrap_or(self.size).min(self.size);
                return Piece::new(Extent::between(at, end), self.gap.place());
            }
        };
        let lost = Piece::new(Extent::between(at, self.size), Place::Lost);
        let Some(stretch) = stretch else { return lost };
        match self.targets.get(stretch.target) {
            Some(Target::Stream(number)) => self.streamed(files, stretch, *number, at).unwrap_or(lost),
            Some(Target::Symbol(symbol)) => Piece::new(stretch.extent, symbol.place()),
            Some(Target::None) | None => Piece::new(stretch.extent, Place::Lost),
        }
    }

    fn decode(
        &self,
        files: &Files,
        piece: &Piece,
        packed: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Result<(), &'static str>> {
        let (number, inside) = self.within(piece.extent.start)?;
        let stream = self.streams.get(number)?;
        let chunk = inside.checked_div(stream.chunk)?;
        let skip = inside.checked_rem(stream.chunk)?;
        if skip == 0 && piece.extent.len == stream.chunk {
            return Some(stream.unpack(files, chunk, packed, out));
        }
        let bytes = match self.chunk(files, number, chunk, packed) {
            Ok(bytes) => bytes,
            Err(what) => return Some(Err(what)),
        };
        let end = skip.checked_add(piece.extent.len)?;
        let part = bytes.get(index(skip)..index(end));
        Some(part.map(|part| out.extend_from_slice(part)).ok_or("it unpacks to fewer bytes than it should"))
    }

    fn sound(&self, files: &Files, piece: &Piece) -> bool {
        let within = self.within(piece.extent.start);
        let own = within.and_then(|(number, inside)| {
            let stream = self.streams.get(number)?;
            Some(stream.sound(files, inside.checked_div(stream.chunk)?))
        });
        self.sure && own.unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::key;
    use std::collections::BTreeSet;

    #[test]
    fn chunks_of_streams_of_any_size_have_places_of_their_own() {
        let firsts = [0, 3, u64::MAX / 512, u64::MAX, u64::MAX];
        let all =
            (0..firsts.len()).flat_map(|number| [0, 1, 2, u64::MAX].map(|chunk| key(&firsts, number, chunk, 512)));
        let kept: Vec<u64> = all.flatten().collect();
        assert_eq!(kept.len(), 7, "three chunks of the first two streams, one of the third: {kept:?}");
        assert_eq!(kept.iter().collect::<BTreeSet<_>>().len(), kept.len());
    }
}
