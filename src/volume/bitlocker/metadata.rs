//! The metadata of a BitLocker volume: headers, and entries in entries.
//!
//! Little-endian. Block header of 64 bytes: `-FVE-FS-`, version at 10 (1: Vista), state at 12 (4: encrypted), encrypted bytes
//! at 16, sectors of the kept volume header at 28, the copies at 32, the kept header at 56. Header at 64: size at 0, GUID at 16,
//! method at 36. Entries from 112: size, entry type, value type, version, two bytes each, and the value.

use super::eow::{self, Spread};
use super::protector::Protector;
use crate::bytes::{Fields, guid, index, utf16_le};
use crate::extent::{Extent, ExtentSet};
use crate::fault::Fault;
use crate::image::View;
use crate::volume::vault::Keys;

const SIGNATURE: &[u8] = b"-FVE-FS-";
/// `{4967d63b-2e29-4ad8-8399-f6a339e3d001}`, and the one of volumes that are encrypted as they are written.
const GUIDS: [[u8; 16]; 2] = [
    [0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01],
    [0x3b, 0x4d, 0xa8, 0x92, 0x80, 0xdd, 0x0e, 0x4d, 0x9e, 0x4e, 0xb1, 0xe3, 0x28, 0x4e, 0xae, 0xd8],
];
/// Larger metadata is none that Windows writes.
const MAX_SIZE: u64 = 0x1_0000;
/// Bytes that a copy of the metadata takes.
const COPY: u64 = 0x1_0000;
const MAX_ENTRIES: usize = 512;
const ENCRYPTED: u16 = 4;
const DECRYPTED: u16 = 1;
const INTERRUPTED: u16 = 2;

/// An entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub kind: u16,
    pub value_kind: u16,
    pub data: &'a [u8],
}

/// The entries that stand one behind the other.
pub(super) fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let next = move || {
        let size = usize::from(bytes.le16(0)?);
        let entry = bytes.get(..size).filter(|entry| entry.len() >= 8)?;
        bytes = bytes.get(size..)?;
        Some(Entry { kind: entry.le16(2)?, value_kind: entry.le16(4)?, data: entry.get(8..)? })
    };
    std::iter::from_fn(next).take(MAX_ENTRIES)
}

/// What the metadata says.
pub(super) struct Metadata {
    pub version: u16,
    state: u16,
    /// Bytes up to which encryption has come, and size of the volume.
    reached: u64,
    pub size: u64,
    pub sector: u64,
    pub copies: Vec<u64>,
    /// Where the first sectors of the volume are kept.
    pub header: Extent,
    pub method: u16,
    pub id: String,
    pub description: String,
    pub faults: Vec<Fault>,
    /// Of Vista: the cluster of the copy of the file table's start.
    mirror: u64,
    entries: Vec<u8>,
    /// Where the bitmaps are named, of a volume that is encrypted as it is written.
    bitmaps: Option<Vec<u64>>,
}

impl Metadata {
    /// Reads the first copy that is one.
    pub(super) fn read(volume: View<'_>) -> Option<Self> {
        let boot = volume.read(0, 512).ok()?;
        let sector = Some(u64::from(boot.le16(11)?)).filter(|n| matches!(n, 512 | 1024 | 2048 | 4096))?;
        let known = |at: usize| boot.array::<16>(at).and_then(|own| GUIDS.iter().position(|guid| *guid == own));
        let places = |at: usize| (0..3usize).filter_map(|n| boot.le64(n.checked_mul(8)?.checked_add(at)?)).collect();
        let is_signed = boot.span(3, 8)? == SIGNATURE;
        let (places, guid): (Vec<u64>, usize) = match (is_signed, known(160), known(424)) {
            (true, Some(guid), _) => (places(176), guid),
            (false, _, Some(guid)) => (places(440), guid),
            (true, None, _) => (vec![vista(&boot, sector)?], 0),
            _ => return None,
        };
        let mut faults = Vec::new();
        let mut read = places.iter().filter_map(|at| {
            let copy = Self::copy(volume, *at, sector);
            if copy.is_none() {
                faults.push(Fault::new(volume.absolute(*at), "bitlocker", "a copy of the metadata is damaged"));
            }
            copy
        });
        let mut metadata = read.next()?;
        drop(read);
        metadata.faults = faults;
        let places = || (0..2usize).filter_map(|n| boot.le64(n.checked_mul(8)?.checked_add(200)?)).collect();
        metadata.bitmaps = (guid == 1).then(places);
        if metadata.spread(volume).is_none() {
            let what = "the bitmaps are damaged that tell what is encrypted: without them it cannot be unlocked";
            metadata.faults.push(Fault::new(volume.absolute(0), "bitlocker", what));
        }
        if metadata.state == INTERRUPTED {
            let what = "encrypting or decrypting was interrupted, and its log is not replayed: one stretch may be read wrongly";
            metadata.faults.push(Fault::new(volume.absolute(metadata.reached), "bitlocker", what));
        }
        Some(metadata)
    }

    fn copy(volume: View<'_>, at: u64, sector: u64) -> Option<Self> {
        let head = volume.read(at, 112).ok()?;
        let (version, size) = (head.le16(10)?, u64::from(head.le32(64)?));
        if head.span(0, 8)? != SIGNATURE || !matches!(version, 1 | 2) || !(48..=MAX_SIZE).contains(&size) {
            return None;
        }
        let header_size = u64::from(head.le32(72)?).max(48);
        let from = at.checked_add(64)?.checked_add(header_size)?;
        let entries = volume.read(from, size.checked_sub(header_size)?).ok()?.into_owned();
        let copies = (0..3usize).filter_map(|n| head.le64(n.checked_mul(8)?.checked_add(32)?)).filter(|at| *at != 0);
        let state = head.le16(12)?;
        let encrypted = head.le64(16)?;
        let mut metadata = Self {
            version,
            state,
            reached: if encrypted == 0 && state == ENCRYPTED { volume.size() } else { encrypted },
            size: volume.size(),
            sector,
            copies: copies.collect(),
            header: Extent::new(head.le64(56)?, u64::from(head.le32(28)?).saturating_mul(sector)),
            method: head.le16(100)?,
            id: guid(head.array(80)?),
            description: String::new(),
            faults: Vec::new(),
            mirror: head.le64(56)?,
            bitmaps: None,
            entries,
        };
        let (mut description, mut header) = (String::new(), None);
        for entry in super::metadata::entries(&metadata.entries) {
            match (entry.kind, entry.value_kind) {
                (7, 2) => utf16_le(entry.data).trim_end_matches('\0').clone_into(&mut description),
                (0xf, 0xf) => header = entry.data.le64(0).zip(entry.data.le64(8)),
                _ => {}
            }
        }
        metadata.description = description;
        if let Some((start, len)) = header.filter(|_| version != 1) {
            metadata.header = Extent::new(start, len);
        }
        Some(metadata)
    }

    /// Whether all of the volume is plain again.
    pub(super) const fn is_plain(&self) -> bool {
        self.state == DECRYPTED
    }

    /// Which bytes are encrypted, and which BitLocker keeps for itself; none where that is not known.
    pub(super) fn spread(&self, volume: View<'_>) -> Option<Spread> {
        let mut spread = match &self.bitmaps {
            Some(places) => eow::read(volume, places, self.sector).or_else(|| self.is_plain().then(Spread::default))?,
            None => Spread { encrypted: ExtentSet::new(vec![Extent::new(0, self.reached)]), own: Vec::new() },
        };
        if self.is_plain() {
            spread.encrypted = ExtentSet::default();
        }
        spread.own.extend(self.copies.iter().map(|at| Extent::new(*at, COPY)));
        if self.version != 1 {
            spread.own.push(self.header);
        }
        Some(spread)
    }

    /// The protectors of the volume's master key.
    pub(super) fn protectors(&self) -> impl Iterator<Item = Protector<'_>> {
        entries(&self.entries).filter(|entry| entry.value_kind == 8).filter_map(|entry| Protector::read(entry.data))
    }

    /// The full volume encryption key, and the protector that one of the keys opens.
    pub(super) fn keys(&self, keys: &Keys) -> Option<(Vec<u8>, String)> {
        let sealed = entries(&self.entries).find(|entry| entry.kind == 3 && entry.value_kind == 5)?;
        let open = |protector: Protector<'_>| {
            let master = protector.open(keys)?;
            let key = super::protector::unsealed(sealed.data, &master)?;
            Some((key, protector.name().to_owned()))
        };
        self.protectors().find_map(open)
    }

    /// Of Vista: the first sector as NTFS wrote it.
    pub(super) fn first_sector(&self, volume: View<'_>) -> Option<Vec<u8>> {
        let mut sector = volume.read(0, self.sector).ok()?.into_owned();
        sector.get_mut(3..11)?.copy_from_slice(b"NTFS    ");
        sector.get_mut(56..64)?.copy_from_slice(&self.mirror.to_le_bytes());
        Some(sector)
    }
}

/// Vista's first sector names the cluster of the metadata.
fn vista(boot: &[u8], sector: u64) -> Option<u64> {
    boot.le64(56)?.checked_mul(boot.byte(13)?.into())?.checked_mul(sector).filter(|at| index(*at) != 0)
}
