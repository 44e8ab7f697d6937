//! The frame of every container that lies in files: a [`Table`] says where a stretch of the disk stands, the frame
//! reads it.
//!
//! What is stored as it was is borrowed from the map, as far as it goes on in the file. What is packed is decoded, kept
//! for a while ([`super::cache`]), and given as owned bytes. A stretch that is damaged or missing reads as zeros and is
//! remembered as unreadable, as is one whose bytes, or whose entry in the table, lie on a page that the medium does not
//! give: what is taken for a hole has to be one.

use super::about::About;
use super::cache::Cache;
use super::codec::{Codec, unpack};
use super::file::Source;
use super::{Image, ImageError};
use crate::bytes::index;
use crate::extent::{Extent, ExtentSet};
use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A hole is borrowed from here.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
/// The most that is decoded for one call.
const DECODED: u64 = 1 << 20;
/// The most that is borrowed for one call from pieces that lie side by side in the file.
const JOINED: u64 = 1 << 30;
/// Damaged stretches that are told apart; then one grows to the next: more is called damaged than is, never less.
const MOST_DAMAGED: usize = 1 << 16;
/// The largest chunk that a container may have.
pub const MAX_GRAIN: u64 = 64 << 20;

/// The files of a container, by their numbers.
pub struct Files(Vec<Source>);

impl Files {
    /// These files.
    pub const fn new(files: Vec<Source>) -> Self {
        Self(files)
    }

    /// The bytes of `extent` in file `file`; `None` where the file ends before them.
    pub fn at(&self, file: usize, extent: Extent) -> Option<&[u8]> {
        self.0.get(file)?.at(extent)
    }

    /// All bytes of file `file`.
    pub fn whole(&self, file: usize) -> Option<&[u8]> {
        self.0.get(file).map(Source::bytes)
    }

    /// File `file`.
    pub fn source(&self, file: usize) -> Option<&Source> {
        self.0.get(file)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    fn failed(&self, file: usize, extent: Extent) -> bool {
        self.0.get(file).is_some_and(|source| source.failed(extent))
    }
}

/// Where a stretch of the disk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// As it is, in a file.
    Stored {
        /// Number of the file.
        file: usize,
        /// Where it begins there.
        at: u64,
        /// How many bytes the Adler-32 behind them covers; 0 where there is none.
        summed: u64,
    },
    /// Packed, in a file.
    Packed {
        /// Number of the file.
        file: usize,
        /// Where the packed bytes lie; they may end earlier.
        extent: Extent,
        /// How they are packed.
        codec: Codec,
        /// How many bytes they unpack to: as many as the piece has, or more, of which the first count.
        len: u64,
    },
    /// Eight bytes over and over.
    Filled([u8; 8]),
    /// Zeros that are stored nowhere.
    Zeros,
    /// At the same offset of the image that this one is based on.
    Parent,
    /// Nowhere: damaged or missing.
    Lost,
}

/// A stretch of the disk that stands in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which stretch; it may end behind the disk.
    pub extent: Extent,
    /// Where it stands.
    pub place: Place,
    /// The file and the bytes in it that say so; empty where they were read when the container was opened.
    pub entry: (usize, Extent),
}

impl Piece {
    /// A piece that needs no entry.
    pub const fn new(extent: Extent, place: Place) -> Self {
        Self { extent, place, entry: (0, Extent::new(0, 0)) }
    }
}

/// What a container's tables say.
pub trait Table: Send + Sync {
    /// The registered name of the container.
    fn format(&self) -> &'static str;

    /// Size of the disk.
    fn size(&self) -> u64;

    /// The largest packed or summed piece, at most [`MAX_GRAIN`].
    fn grain(&self) -> u64;

    /// The piece that holds byte `at`, which lies on the disk.
    fn piece(&self, files: &Files, at: u64) -> Piece;

    /// Appends a packed piece, where that takes more than its bytes and codec; `None` where it does not.
    fn decode(
        &self,
        _files: &Files,
        _piece: &Piece,
        _packed: &[u8],
        _out: &mut Vec<u8>,
    ) -> Option<Result<(), &'static str>> {
        None
    }

    /// False where what a piece holds is given, and not known to be what was stored: a checksum of more than it does not hold.
    fn sound(&self, _files: &Files, _piece: &Piece) -> bool {
        true
    }

    /// True where anything may be packed: going through all of it then keeps more than one core busy.
    fn packed(&self) -> bool {
        true
    }
}

/// A container, read through its table.
pub struct Chunks<T> {
    table: T,
    files: Files,
    parent: Option<Box<dyn Image>>,
    about: About,
    cache: OnceLock<Cache>,
    /// A bit for each chunk whose sum was found to hold.
    summed: OnceLock<Vec<AtomicU64>>,
    /// What was found damaged or missing on reading.
    damaged: Mutex<ExtentSet>,
    /// What the media did not give, and which stretches of the disk that makes unreadable.
    failed: Mutex<(Vec<ExtentSet>, ExtentSet)>,
}

impl<T: Table> Chunks<T> {
    /// The container of `table`, whose files and parent are open.
    pub fn new(table: T, files: Files, parent: Option<Box<dyn Image>>, about: About) -> Self {
        let (cache, summed) = (OnceLock::new(), OnceLock::new());
        Self { table, files, parent, about, cache, summed, damaged: Mutex::default(), failed: Mutex::default() }
    }

    /// The piece that holds byte `at`, checked: it does, and does not end behind the disk.
    fn piece(&self, at: u64) -> Piece {
        let mut piece = self.table.piece(&self.files, at);
        let (file, entry) = piece.entry;
        if self.files.failed(file, entry) {
            piece.place = Place::Lost;
        }
        let holds = piece.extent.start <= at && at < piece.extent.end();
        if !holds {
            return Piece::new(Extent::between(at, self.table.size()), Place::Lost);
        }
        piece
    }

    fn read(&self, extent: Extent, keep: bool) -> Result<Cow<'_, [u8]>, ImageError> {
        let (at, size) = (extent.start, self.table.size());
        if at.checked_add(extent.len).is_none_or(|end| end > size) {
            return Err(ImageError::Outside { at, len: extent.len, size });
        }
        if extent.is_empty() {
            return Ok(Cow::Borrowed(&[]));
        }
        let piece = self.piece(at);
        let wanted = piece.extent.intersect(extent);
        self.sound(&piece);
        match piece.place {
            Place::Stored { .. } if self.sum_holds(&piece) => match self.stored(&piece, extent) {
                Some(bytes) => Ok(Cow::Borrowed(bytes)),
                None => Ok(self.lost(self.behind(&piece), wanted)),
            },
            Place::Stored { .. } | Place::Lost => Ok(self.lost(piece.extent, wanted)),
            Place::Zeros => Ok(zeros(wanted.len)),
            Place::Parent => self.of_parent(wanted, keep),
            Place::Packed { .. } | Place::Filled(_) => Ok(Cow::Owned(self.decoded(piece, extent, keep))),
        }
    }

    /// A note of a piece that is given, and counts as unreadable.
    fn sound(&self, piece: &Piece) {
        if !self.table.sound(&self.files, piece) {
            self.note(piece.extent);
        }
    }

    /// What is stored as it is, through all the pieces that follow it on the disk and in the file. `None` where not even
    /// the first byte is there.
    fn stored(&self, first: &Piece, extent: Extent) -> Option<&[u8]> {
        let Place::Stored { file, at, .. } = first.place else { return None };
        let source = self.files.0.get(file)?;
        let start = at.checked_add(extent.start.saturating_sub(first.extent.start))?;
        let here = Extent::new(start, extent.len.min(source.size().saturating_sub(start)));
        let mut end = first.extent.end();
        while end < extent.start.saturating_add(here.len.min(JOINED)) {
            let next = self.piece(end);
            let follows = Some(end.saturating_sub(first.extent.start)).and_then(|skip| at.checked_add(skip));
            let joins =
                |place| matches!(place, Place::Stored { file: f, at, summed: 0 } if f == file && Some(at) == follows);
            if next.extent.start != end || !joins(next.place) {
                break;
            }
            self.sound(&next);
            end = next.extent.end();
        }
        let len = here.len.min(end.saturating_sub(extent.start));
        source.at(Extent::new(start, len)).filter(|bytes| !bytes.is_empty())
    }

    /// Whether the checksum of a stored chunk holds; asked once where it does.
    fn sum_holds(&self, piece: &Piece) -> bool {
        let Place::Stored { file, at, summed } = piece.place else { return false };
        if summed == 0 {
            return true;
        }
        let number = piece.extent.start.checked_div(self.table.grain()).unwrap_or(0);
        let bits = self.summed.get_or_init(|| {
            let chunks = self.table.size().div_ceil(self.table.grain().max(1));
            (0..chunks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect()
        });
        let Some(word) = bits.get(index(number / 64)) else { return false };
        let bit = 1u64.checked_shl((number % 64) as u32).unwrap_or(0);
        if word.load(Ordering::Relaxed) & bit != 0 {
            return true;
        }
        let sum_at = at.saturating_add(summed);
        let holds = || {
            let bytes = self.files.at(file, Extent::new(at, summed))?;
            let sum: [u8; 4] = self.files.at(file, Extent::new(sum_at, 4))?.try_into().ok()?;
            Some(adler32(bytes) == u32::from_le_bytes(sum))
        };
        let holds = holds() == Some(true) && !self.files.failed(file, Extent::new(at, summed.saturating_add(4)));
        if holds {
            word.fetch_or(bit, Ordering::Relaxed);
        }
        holds
    }

    /// Zeros in place of what cannot be read, and a note of it.
    fn lost(&self, extent: Extent, wanted: Extent) -> Cow<'_, [u8]> {
        self.note(extent);
        zeros(wanted.len)
    }

    /// What of a stored piece lies behind the end of its file.
    fn behind(&self, piece: &Piece) -> Extent {
        let Place::Stored { file, at, .. } = piece.place else { return piece.extent };
        let there = self.files.0.get(file).map_or(0, Source::size).saturating_sub(at);
        Extent::between(piece.extent.start.saturating_add(there), piece.extent.end())
    }

    fn note(&self, extent: Extent) {
        let extent = extent.intersect(Extent::new(0, self.table.size()));
        let mut damaged = lock(&self.damaged);
        if damaged.within(extent).total() >= extent.len {
            return;
        }
        let full = damaged.as_slice().len() >= MOST_DAMAGED;
        let before = damaged.as_slice().iter().rfind(|e| full && e.start <= extent.start);
        let from = before.map_or(extent.start, |e| e.start);
        *damaged = damaged.as_slice().iter().copied().chain([Extent::between(from, extent.end())]).collect();
    }

    fn of_parent(&self, wanted: Extent, keep: bool) -> Result<Cow<'_, [u8]>, ImageError> {
        let Some(parent) = self.parent.as_ref() else {
            self.note(wanted);
            return Ok(zeros(wanted.len));
        };
        // A disk that was made larger than the one below it holds zeros there.
        match wanted.intersect(Extent::new(0, parent.size())) {
            there if there.is_empty() => Ok(zeros(wanted.len)),
            there if keep => parent.part(there),
            there => parent.part_once(there),
        }
    }

    /// Packed chunks one behind the other, as far as `extent` goes, or [`DECODED`] bytes and the chunk that they end in.
    fn decoded(&self, first: Piece, extent: Extent, keep: bool) -> Vec<u8> {
        let end = extent.end().min(extent.start.saturating_add(DECODED));
        let mut out = Vec::with_capacity(index(end.saturating_sub(extent.start)));
        let mut piece = first;
        loop {
            let wanted = piece.extent.intersect(extent);
            match piece.place {
                Place::Packed { .. } if keep || wanted != piece.extent => {
                    let chunk = self.chunk(&piece, keep);
                    let from = index(wanted.start.saturating_sub(piece.extent.start));
                    out.extend_from_slice(chunk.get(from..from.saturating_add(index(wanted.len))).unwrap_or_default());
                }
                Place::Packed { .. } => self.unpack(&piece, &mut out),
                Place::Filled(pattern) => fill(pattern, piece.extent, wanted, &mut out),
                Place::Stored { .. } | Place::Zeros | Place::Parent | Place::Lost => return out,
            }
            if wanted.end() >= end {
                return out;
            }
            piece = self.piece(wanted.end());
            self.sound(&piece);
        }
    }

    /// A packed chunk, whole: out of the cache, or decoded.
    fn chunk(&self, piece: &Piece, keep: bool) -> Arc<Vec<u8>> {
        let cache = self.cache.get_or_init(|| Cache::new(self.table.grain()));
        if let Some(kept) = cache.get(piece.extent.start) {
            return kept;
        }
        let mut bytes = Vec::with_capacity(index(piece.extent.len));
        self.unpack(piece, &mut bytes);
        let bytes = Arc::new(bytes);
        if keep {
            cache.put(piece.extent.start, Arc::clone(&bytes));
        }
        bytes
    }

    /// Appends a packed chunk; zeros, and a note of it, where it is damaged.
    fn unpack(&self, piece: &Piece, out: &mut Vec<u8>) {
        let Place::Packed { file, extent, codec, len } = piece.place else { return };
        let there = self.files.0.get(file).map_or(0, Source::size);
        let packed = self.files.at(file, extent.intersect(Extent::new(0, there))).unwrap_or_default();
        let before = out.len();
        let own = self.table.decode(&self.files, piece, packed, out);
        let done = own.unwrap_or_else(|| unpack(codec, packed, len.min(MAX_GRAIN), out)).is_ok();
        if !done || self.files.failed(file, extent) {
            out.truncate(before);
            self.note(piece.extent);
        }
        out.resize(before.saturating_add(index(piece.extent.len.min(MAX_GRAIN))), 0);
    }

    /// Which stretches of the disk the ranges that the media did not give make unreadable.
    fn touched(&self, failed: &[ExtentSet]) -> ExtentSet {
        let touches = |file: usize, extent| failed.get(file).is_some_and(|set| set.touches(extent));
        let mut lost = Vec::new();
        let mut at = 0u64;
        while at < self.table.size() {
            let piece = self.piece(at);
            match piece.place {
                Place::Stored { file, at: start, .. } => {
                    let here = failed.get(file).map(|set| set.within(Extent::new(start, piece.extent.len)));
                    let back = |e: &Extent| e.start.saturating_sub(start).saturating_add(piece.extent.start);
                    let ranges = here.iter().flat_map(ExtentSet::as_slice);
                    lost.extend(ranges.map(|e| Extent::new(back(e), e.len)));
                }
                Place::Packed { file, extent, .. } if touches(file, extent) => lost.push(piece.extent),
                Place::Lost if touches(piece.entry.0, piece.entry.1) => lost.push(piece.extent),
                _ => {}
            }
            at = piece.extent.end();
        }
        ExtentSet::new(lost)
    }

    fn media_failures(&self) -> ExtentSet {
        let failed: Vec<ExtentSet> = self.files.iter().map(Source::unreadable).collect();
        if failed.iter().all(|set| set.as_slice().is_empty()) {
            return ExtentSet::default();
        }
        let mut known = lock(&self.failed);
        if known.0 != failed {
            *known = (failed.clone(), self.touched(&failed));
        }
        known.1.clone()
    }

    /// What of the parent's unreadable stretches shows through.
    fn parent_failures(&self) -> Vec<Extent> {
        let unreadable = self.parent.as_ref().map(|parent| parent.unreadable()).unwrap_or_default();
        let mut shown = Vec::new();
        for extent in unreadable {
            let mut at = extent.start;
            while at < extent.end().min(self.table.size()) {
                let piece = self.piece(at);
                if piece.place == Place::Parent {
                    shown.push(piece.extent.intersect(extent));
                }
                at = piece.extent.end();
            }
        }
        shown
    }
}

impl<T: Table> Image for Chunks<T> {
    fn format(&self) -> &'static str {
        self.table.format()
    }

    fn size(&self) -> u64 {
        self.table.size()
    }

    fn part(&self, extent: Extent) -> Result<Cow<'_, [u8]>, ImageError> {
        self.read(extent, true)
    }

    fn part_once(&self, extent: Extent) -> Result<Cow<'_, [u8]>, ImageError> {
        self.read(extent, false)
    }

    fn border(&self, at: u64) -> u64 {
        let piece = self.piece(at);
        if matches!(piece.place, Place::Packed { .. }) { piece.extent.end().min(self.table.size()) } else { at }
    }

    fn packed(&self) -> bool {
        self.table.packed() || self.parent.as_ref().is_some_and(|parent| parent.packed())
    }

    fn unreadable(&self) -> Vec<Extent> {
        let disk = ExtentSet::new(vec![Extent::new(0, self.table.size())]);
        let (media, parent) = (self.media_failures(), self.parent_failures());
        let damaged = lock(&self.damaged);
        let all = [damaged.as_slice(), media.as_slice(), &parent].concat();
        ExtentSet::new(all).intersect(&disk).as_slice().to_vec()
    }

    fn release(&self) {
        self.files.iter().for_each(Source::release);
        self.parent.iter().for_each(|parent| parent.release());
    }

    fn files(&self) -> Vec<PathBuf> {
        let own = self.files.iter().map(|source| source.path.clone());
        own.chain(self.parent.iter().flat_map(|parent| parent.files())).collect()
    }

    fn about(&self) -> &About {
        &self.about
    }
}

/// What unit `here` is, and how many units from it on, of `count` in all, are the same: for tables that have a bit for each.
pub fn run_of<K: PartialEq>(here: u64, count: u64, kind: impl Fn(u64) -> Option<K>) -> Option<(K, u64)> {
    /// Enough to borrow long runs in one piece, and not to look through a whole table for one sector.
    const MOST: u64 = 4096;
    let first = kind(here)?;
    let end = count.min(here.saturating_add(MOST));
    let behind = (here..end).find(|n| kind(*n).as_ref() != Some(&first)).unwrap_or(end);
    Some((first, behind.saturating_sub(here)))
}

fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn zeros(len: u64) -> Cow<'static, [u8]> {
    Cow::Borrowed(ZEROS.get(..index(len)).unwrap_or(&ZEROS))
}

/// Appends what `wanted` holds of `piece`, which is filled with a pattern from its beginning.
fn fill(pattern: [u8; 8], piece: Extent, wanted: Extent, out: &mut Vec<u8>) {
    let skip = index(wanted.start.saturating_sub(piece.start) % 8);
    out.extend(pattern.iter().cycle().skip(skip).take(index(wanted.len)));
}

/// Adler-32 (RFC 1950).
pub fn adler32(bytes: &[u8]) -> u32 {
    let mut sum = simd_adler32::Adler32::new();
    sum.write(bytes);
    sum.finish()
}
