//! A stream of chunks: bevies of many chunks each, one member of the volume, and their indexes ("AFF4 Standard v1.0a", section 3).
//!
//! An entry of an index has place and length of a chunk in its bevy; before the Standard it had one number, where the chunk ends
//! (Evimetry) or begins (Rekall). A chunk that is as long as it is unpacked is stored as it was. A bevy may have a hash of each
//! of its chunks, by up to five algorithms, in members beside it.

use super::sums::Sum;
use super::tables::{Tables, Unpacked};
use super::volume::unescaped;
use super::zip::{self, Member};
use crate::bytes::{Fields, index, offset};
use crate::extent::Extent;
use crate::image::chunks::{Files, MAX_GRAIN, Place};
use crate::image::codec::{Codec, unpack};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The most that an index or the hashes of a bevy take.
const MAX_TABLE: u64 = 64 << 20;

/// How a stream is cut.
#[derive(Clone, Copy, Default)]
pub(super) struct Shape {
    /// Bytes of a chunk.
    pub(super) chunk: u64,
    /// Chunks of a bevy.
    pub(super) per_bevy: u64,
    /// How chunks are packed, and whether even those that did not become smaller.
    pub(super) codec: Option<(Codec, bool)>,
    /// True where its indexes are those of before the Standard.
    pub(super) old: bool,
}

/// A stream.
#[derive(Default)]
pub(super) struct Stream {
    /// Its URI.
    pub(super) uri: String,
    /// Bytes that it holds.
    pub(super) size: u64,
    /// Bytes of a chunk.
    pub(super) chunk: u64,
    per_bevy: u64,
    codec: Option<(Codec, bool)>,
    old: bool,
    /// True for a member of the volume as it is: it is one chunk, and has no index.
    plain: bool,
    /// By their numbers.
    pub(super) bevies: BTreeMap<u64, Bevy>,
    /// What is packed as a whole, of all streams of the image.
    tables: Arc<Tables>,
}

/// A bevy.
#[derive(Default)]
pub(super) struct Bevy {
    /// Its chunks.
    pub(super) data: Option<Member>,
    /// Their places; none where the member is one chunk.
    pub(super) index: Option<Member>,
    /// Their hashes.
    pub(super) sums: BTreeMap<Sum, Member>,
    opened: OnceLock<Option<Opened>>,
    /// Whether the checksum of all of its chunks holds.
    whole: OnceLock<bool>,
}

/// A table of a bevy: where it lies, or the member that has to be unpacked.
enum Bytes {
    Mapped(usize, Extent),
    Packed(Member),
}

/// The bytes of a table.
enum Held<'a> {
    Mapped(&'a [u8]),
    Unpacked(Unpacked),
}

impl Deref for Held<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Unpacked(bytes) => bytes,
        }
    }
}

/// What is known of a bevy once a chunk of it was asked for.
struct Opened {
    data: Extent,
    index: Option<Bytes>,
    /// False where the checksum of the index does not hold.
    sure: bool,
    sums: Option<(Sum, Bytes)>,
    /// A bit for each chunk that is stored as it was, and whose hash was found to hold.
    held: Vec<AtomicU64>,
}

impl Bytes {
    /// What a member holds, and whether its checksum holds.
    fn of(member: &Member, files: &Files, tables: &Tables) -> Option<(Self, bool)> {
        let source = files.source(member.file)?;
        if member.deflated {
            let holds = tables.get(member, source, MAX_TABLE)?.holds();
            return Some((Self::Packed(member.clone()), holds));
        }
        let extent = member.data(source)?;
        let bytes = source.at(extent)?;
        let holds = member.crc.is_none_or(|crc| crc32fast::hash(bytes) == crc);
        Some((Self::Mapped(member.file, extent), holds))
    }

    fn get<'a>(&self, files: &'a Files, tables: &Tables) -> Held<'a> {
        match self {
            Self::Mapped(file, extent) => Held::Mapped(files.at(*file, *extent).unwrap_or_default()),
            Self::Packed(member) => {
                let bytes = files.source(member.file).and_then(|source| tables.get(member, source, MAX_TABLE));
                bytes.map_or(Held::Mapped(&[]), Held::Unpacked)
            }
        }
    }
}

impl Bevy {
    fn opened(&self, files: &Files, tables: &Tables) -> Option<&Opened> {
        let open = || {
            let member = self.data.as_ref()?;
            let data = member.data(files.source(member.file)?)?;
            let (index, sure) = match &self.index {
                None => (None, true),
                Some(member) => Bytes::of(member, files, tables).map(|(bytes, sure)| (Some(bytes), sure))?,
            };
            // The longest hash says the most; one whose own checksum does not hold says nothing.
            let sums = self.sums.iter().rev().find_map(|(sum, member)| {
                let (bytes, holds) = Bytes::of(member, files, tables)?;
                holds.then_some((*sum, bytes))
            });
            let rows = sums.as_ref().map_or(0, |(sum, bytes)| bytes.get(files, tables).len().div_ceil(sum.len()));
            // Chunks that share their bytes are looked at each time.
            let rows = rows.min(crate::bytes::index(data.len));
            let held = (0..rows.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
            Some(Opened { data, index, sure, sums, held })
        };
        self.opened.get_or_init(open).as_ref()
    }

    /// Whether the checksum of all of its chunks holds, or there is none.
    fn whole(&self, files: &Files, tables: &Tables) -> bool {
        let holds = || {
            let Some(member) = &self.data else { return false };
            let Some(crc) = member.crc else { return true };
            let bytes = self.opened(files, tables).and_then(|opened| files.at(member.file, opened.data));
            // A member that is packed as a whole has its checksum looked at when it is unpacked.
            member.deflated || bytes.is_some_and(|bytes| crc32fast::hash(bytes) == crc)
        };
        *self.whole.get_or_init(holds)
    }
}

impl Stream {
    /// A stream of `size` bytes, as many as its bevies may hold where that is not known, with those of `members` that are its.
    pub(super) fn new(
        uri: &str,
        shape: Shape,
        size: Option<u64>,
        members: &BTreeMap<String, Member>,
        tables: &Arc<Tables>,
    ) -> Self {
        let Shape { chunk, per_bevy, codec, old } = shape;
        let bevies = bevies(members, &unescaped(uri));
        let last = bevies.last_key_value().map_or(0, |(number, _)| number.saturating_add(1));
        let size = size.unwrap_or(last.saturating_mul(per_bevy).saturating_mul(chunk));
        Self {
            uri: uri.to_owned(),
            size,
            chunk,
            per_bevy,
            codec,
            old,
            bevies,
            tables: Arc::clone(tables),
            plain: false,
        }
    }

    /// A member of the volume as it is.
    pub(super) fn of_member(uri: &str, member: Member, tables: &Arc<Tables>) -> Self {
        let size = member.size;
        let bevy = Bevy { data: Some(member), ..Bevy::default() };
        Self {
            uri: uri.to_owned(),
            size,
            chunk: size.max(1),
            per_bevy: 1,
            plain: true,
            bevies: BTreeMap::from([(0, bevy)]),
            tables: Arc::clone(tables),
            ..Self::default()
        }
    }

    /// How many bevies it has, were they all there.
    pub(super) fn count(&self) -> u64 {
        self.size.div_ceil(self.chunk.saturating_mul(self.per_bevy).max(1))
    }

    /// How many of them are.
    pub(super) fn there(&self) -> u64 {
        let complete = |(_, bevy): &(&u64, &Bevy)| bevy.data.is_some() && (bevy.index.is_some() || self.plain);
        self.bevies.range(..self.count()).filter(complete).count() as u64
    }

    /// The hashes of its chunks by `sum`, a table for each bevy; none where one is missing or they are more than `most` bytes.
    pub(super) fn blocks(&self, files: &Files, sum: Sum, most: u64) -> Option<Vec<Vec<u8>>> {
        let mut left = most;
        let table = |bevy: &Bevy| {
            let member = bevy.sums.get(&sum)?;
            left = left.checked_sub(member.size)?;
            zip::content(member, files.source(member.file)?, MAX_TABLE).map(|(bytes, _)| bytes)
        };
        self.bevies.values().map(table).collect()
    }

    /// The largest piece that has to be unpacked.
    pub(super) fn grain(&self) -> u64 {
        let packed = self.codec.is_some() || self.bevies.values().any(|b| b.data.as_ref().is_some_and(|m| m.deflated));
        if packed { self.chunk.min(MAX_GRAIN) } else { 0 }
    }

    fn bevy(&self, number: u64) -> Option<&Bevy> {
        self.bevies.get(&number.checked_div(self.per_bevy)?).filter(|bevy| bevy.index.is_some() || self.plain)
    }

    /// How many bytes chunk `number` has within the stream.
    fn len(&self, number: u64) -> u64 {
        self.chunk.min(self.size.saturating_sub(number.saturating_mul(self.chunk)))
    }

    /// Where chunk `number` stands, from its first byte on, and the entry that says so.
    pub(super) fn place(&self, files: &Files, number: u64) -> (Place, (usize, Extent)) {
        let none = (0, Extent::new(0, 0));
        let Some((bevy, member)) = self.bevy(number).and_then(|bevy| Some((bevy, bevy.data.as_ref()?))) else {
            return (Place::Lost, none);
        };
        let row = number.checked_rem(self.per_bevy).unwrap_or(0);
        let Some(opened) = bevy.opened(files, &self.tables) else { return (Place::Lost, none) };
        let entry = match &opened.index {
            // An entry of before the Standard needs the one beside it.
            Some(Bytes::Mapped(file, extent)) if self.is_old(extent.len, number, row) => {
                let at = extent.start.saturating_add(row.saturating_sub(1).saturating_mul(4));
                (*file, Extent::new(at, 12).intersect(*extent))
            }
            Some(Bytes::Mapped(file, extent)) => {
                let at = extent.start.saturating_add(row.saturating_mul(12));
                (*file, Extent::new(at, 12).intersect(*extent))
            }
            _ => none,
        };
        let Some(within) = self.within(bevy, opened, files, number, row) else { return (Place::Lost, entry) };
        if member.deflated {
            let packed =
                Place::Packed { file: member.file, extent: opened.data, codec: Codec::Deflate, len: self.chunk };
            return (if self.chunk <= MAX_GRAIN { packed } else { Place::Lost }, entry);
        }
        let extent = within.shifted(opened.data.start);
        if extent.end() > opened.data.end() {
            return (Place::Lost, entry);
        }
        let place = match self.codec {
            Some((codec, always)) if opened.index.is_some() && (always || within.len != self.chunk) => {
                Place::Packed { file: member.file, extent, codec, len: self.chunk }
            }
            _ if within.len < self.len(number) => Place::Lost,
            _ if self.holds(opened, files, number, row, extent, member.file) => {
                Place::Stored { file: member.file, at: extent.start, summed: 0 }
            }
            _ => Place::Lost,
        };
        (place, entry)
    }

    /// Where a chunk lies in its bevy.
    fn within(&self, bevy: &Bevy, opened: &Opened, files: &Files, number: u64, row: u64) -> Option<Extent> {
        let whole = bevy.data.as_ref()?.size;
        let Some(table) = &opened.index else { return Some(Extent::new(0, whole)) };
        let table = table.get(files, &self.tables);
        if !self.is_old(offset(table.len()), number, row) {
            let at = index(row.checked_mul(12)?);
            return Some(Extent::new(table.le64(at)?, table.le32(at.checked_add(8)?)?.into()));
        }
        let entry = |row: u64| table.le32(index(row.checked_mul(4)?)).map(u64::from);
        let begins = entry(0)? == 0;
        let start = if begins { entry(row) } else { row.checked_sub(1).map_or(Some(0), entry) }?;
        let end = entry(if begins { row.checked_add(1)? } else { row }).unwrap_or(whole);
        Some(Extent::new(start, end.checked_sub(start)?))
    }

    /// Whether an index of `len` bytes, of the bevy whose row `row` is chunk `number`, is one of before the Standard.
    fn is_old(&self, len: u64, number: u64, row: u64) -> bool {
        let behind = self.size.div_ceil(self.chunk.max(1)).saturating_sub(number.saturating_sub(row));
        self.old || len <= self.per_bevy.min(behind).saturating_mul(4)
    }

    /// Whether the hash of a chunk that is stored as it was holds, or there is none; asked once where it does.
    fn holds(&self, opened: &Opened, files: &Files, number: u64, row: u64, extent: Extent, file: usize) -> bool {
        if opened.sums.is_none() {
            return true;
        }
        let word = opened.held.get(index(row / 64));
        let bit = 1u64.checked_shl(u32::try_from(row % 64).unwrap_or(0)).unwrap_or(0);
        if word.is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0) {
            return true;
        }
        let bytes = files.at(file, Extent::new(extent.start, extent.len.min(self.chunk))).unwrap_or_default();
        let holds = self.is_chunk(opened, files, number, row, bytes);
        if holds {
            word.map(|word| word.fetch_or(bit, Ordering::Relaxed));
        }
        holds
    }

    /// Whether these bytes are chunk `number`, by its hash; true where there is none. The last one may have been hashed with or
    /// without what pads it.
    fn is_chunk(&self, opened: &Opened, files: &Files, number: u64, row: u64, bytes: &[u8]) -> bool {
        let Some((sum, table)) = &opened.sums else { return true };
        let at = index(row).saturating_mul(sum.len());
        let table = table.get(files, &self.tables);
        let Some(said) = table.span(at, sum.len()) else { return false };
        let trimmed = bytes.get(..index(self.len(number))).unwrap_or(bytes);
        sum.of(&[bytes]) == said || (trimmed.len() < bytes.len() && sum.of(&[trimmed]) == said)
    }

    /// Whether chunk `number` is known to be what was stored: by a hash or a checksum of its own, else by that of its bevy.
    pub(super) fn sound(&self, files: &Files, number: u64) -> bool {
        let Some(bevy) = self.bevy(number) else { return true };
        let Some(opened) = bevy.opened(files, &self.tables) else { return true };
        if opened.sums.is_some() {
            return true;
        }
        let own = matches!(self.codec, Some((Codec::Zlib, _)));
        let packed = own && matches!(self.place(files, number).0, Place::Packed { .. });
        opened.sure && (packed || bevy.whole(files, &self.tables))
    }

    /// Appends chunk `number`, out of what is packed, as long as it is within the stream or longer.
    ///
    /// # Errors
    /// Where it is damaged.
    pub(super) fn unpack(
        &self,
        files: &Files,
        number: u64,
        packed: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        const GONE: &str = "it is not in its bevy";
        let before = out.len();
        let bevy = self.bevy(number).ok_or(GONE)?;
        let opened = bevy.opened(files, &self.tables).ok_or(GONE)?;
        let row = number.checked_rem(self.per_bevy).ok_or(GONE)?;
        let is_deflated = bevy.data.as_ref().is_some_and(|member| member.deflated);
        let packed = if is_deflated {
            const TORN: &str = "its bevy cannot be unpacked, or its checksum does not hold";
            let all = self.whole(bevy, files).ok_or(TORN)?;
            let within = self.within(bevy, opened, files, number, row).ok_or(GONE)?;
            Cow::Owned(all.span(index(within.start), index(within.len)).ok_or(GONE)?.to_vec())
        } else {
            Cow::Borrowed(packed)
        };
        let len = offset(packed.len());
        match self.codec {
            Some((codec, always)) if opened.index.is_some() && (always || len != self.chunk) => {
                let short = self.len(number);
                // The last chunk is padded by some writers, and by others not.
                unpack(codec, &packed, self.chunk, out)
                    .or_else(|what| if short < self.chunk { unpack(codec, &packed, short, out) } else { Err(what) })?;
            }
            _ => out.extend_from_slice(&packed),
        }
        let chunk = out.get(before..).unwrap_or_default();
        if offset(chunk.len()) < self.len(number) || !self.is_chunk(opened, files, number, row, chunk) {
            out.truncate(before);
            return Err("its hash does not hold");
        }
        Ok(())
    }

    /// All of a bevy that is packed as a whole, where its checksum holds.
    fn whole(&self, bevy: &Bevy, files: &Files) -> Option<Unpacked> {
        let member = bevy.data.as_ref()?;
        self.tables.get(member, files.source(member.file)?, MAX_GRAIN).filter(Unpacked::holds)
    }
}

/// The bevies of a stream among all members.
fn bevies(members: &BTreeMap<String, Member>, uri: &str) -> BTreeMap<u64, Bevy> {
    let mut bevies: BTreeMap<u64, Bevy> = BTreeMap::new();
    let prefix = format!("{uri}/");
    let own = members.range(prefix.clone()..).map_while(|(name, member)| Some((name.strip_prefix(&prefix)?, member)));
    for (rest, member) in own {
        let (digits, kind) = rest.split_at_checked(8).unwrap_or_default();
        let Some(number) = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit())) else {
            continue;
        };
        let kind = kind.trim_start_matches(['.', '/']);
        let sum = Sum::named(kind.strip_prefix("blockHash.").unwrap_or(kind));
        if kind.is_empty() {
            bevies.entry(number).or_default().data = Some(member.clone());
        } else if kind == "index" {
            bevies.entry(number).or_default().index = Some(member.clone());
        } else if let Some(sum) = sum {
            bevies.entry(number).or_default().sums.insert(sum, member.clone());
        }
    }
    bevies
}
