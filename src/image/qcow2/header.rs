//! The header, its extensions, and the list of internal snapshots.

use super::{Codec, codec, text};
use crate::bytes::{Fields, index};
use crate::image::about::About;
use crate::time::Timestamp;

/// What the header says.
pub(super) struct Header {
    pub(super) size: u64,
    pub(super) cluster_bits: u32,
    pub(super) l1_size: u64,
    pub(super) l1_offset: u64,
    /// Entries of the second level tell the parts of a cluster apart.
    pub(super) extended: bool,
    pub(super) codec: Codec,
    /// Name of the file that holds the clusters.
    pub(super) data_file: Option<String>,
    /// Name of the image that this one is based on, and its format.
    pub(super) backing: Option<(String, Option<String>)>,
}

const DIRTY: u64 = 1;
const CORRUPT: u64 = 2;
const DATA_FILE: u64 = 4;
const COMPRESSION: u64 = 8;
const EXTENDED: u64 = 16;
const KNOWN: u64 = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED;

const END_OF_EXTENSIONS: u32 = 0;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const DATA_FILE_NAME: u32 = 0x4441_5441;
/// More extensions than any program writes.
const MOST_EXTENSIONS: usize = 64;
/// Snapshots that are told of.
const MOST_SNAPSHOTS: u32 = 64;

impl Header {
    /// Reads it.
    ///
    /// # Errors
    /// Why the image cannot be read.
    pub(super) fn read(bytes: &[u8], about: &mut About) -> Result<Self, String> {
        const CUT: &str = "breaks off within its header";
        let be32 = |at| bytes.be32(at).ok_or(CUT);
        let be64 = |at| bytes.be64(at).ok_or(CUT);
        let version = be32(4)?;
        if !(2..=3).contains(&version) {
            return Err(format!("is a QCOW image of version {version}: versions 2 and 3 are read"));
        }
        let features = if version == 3 { be64(72)? } else { 0 };
        refuse(be32(32)?, features & !KNOWN)?;
        let (cluster_bits, extended) = (be32(20)?, features & EXTENDED != 0);
        if !(9..=26).contains(&cluster_bits) || (extended && cluster_bits < 14) {
            return Err(format!("is damaged: its clusters would be of 2^{cluster_bits} bytes"));
        }
        let number = if features & COMPRESSION != 0 { bytes.byte(104).ok_or(CUT)? } else { 0 };
        let codec = codec(number).ok_or_else(|| format!("is packed by a method that is not known ({number})"))?;
        let length = if version == 3 { be32(100)? } else { 72 };
        let (backing_at, backing_len) = (be64(8)?, be32(16)?);
        let extensions = extensions(bytes, length, backing_at, 1u64 << cluster_bits);
        let named = |kind| extensions.iter().find(|(k, _)| *k == kind).map(|(_, text)| text.clone());
        let backing = (backing_at != 0).then(|| text(bytes, backing_at, backing_len.min(1023).into()).ok_or(CUT));
        let backing = backing.transpose()?.filter(|name| !name.is_empty());
        let header = Self {
            size: be64(24)?,
            cluster_bits,
            l1_size: be32(36)?.into(),
            l1_offset: be64(40)?,
            extended,
            codec,
            data_file: if features & DATA_FILE != 0 {
                Some(named(DATA_FILE_NAME).ok_or("names no data file")?)
            } else {
                None
            },
            backing: backing.map(|name| (name, named(BACKING_FORMAT))),
        };
        about.fact("container", format!("QCOW2, version {version}, clusters of {} bytes", 1u64 << cluster_bits));
        header.look(bytes, features, about);
        snapshots(bytes, be32(60)?, be64(64)?, about);
        Ok(header)
    }

    /// What is wrong with it beyond single clusters.
    fn look(&self, bytes: &[u8], features: u64, about: &mut About) {
        if features & DIRTY != 0 {
            about.fault("was not closed: its counts of references, which are not read, may be wrong");
        }
        if features & CORRUPT != 0 {
            about.fault("is marked as corrupt by the program that used it last");
        }
        let entries =
            1u64.checked_shl(self.cluster_bits.saturating_sub(if self.extended { 4 } else { 3 })).unwrap_or(0);
        let reach = u128::from(entries) << self.cluster_bits;
        let needed = u128::from(self.size).div_ceil(reach.max(1));
        if u128::from(self.l1_size) < needed {
            about.fault(format!("its first table has {} entries where {needed} are needed", self.l1_size));
        }
        let end = self.l1_offset.saturating_add(self.l1_size.saturating_mul(8));
        if end > bytes.len() as u64 {
            about.fault(format!("breaks off before the end of its first table, at byte {end}"));
        }
    }
}

fn refuse(encryption: u32, unknown: u64) -> Result<(), String> {
    match encryption {
        0 if unknown == 0 => Ok(()),
        0 => Err(format!("uses features that are not known (bits {unknown:#x})")),
        1 => Err("is encrypted (AES)".to_owned()),
        2 => Err("is encrypted (LUKS)".to_owned()),
        other => Err(format!("is encrypted (method {other})")),
    }
}

/// The extensions that are text: number and text. They end where the first cluster does, or the backing file's name begins.
fn extensions(bytes: &[u8], length: u32, backing_at: u64, cluster: u64) -> Vec<(u32, String)> {
    let end = if backing_at != 0 { backing_at.min(cluster) } else { cluster };
    let mut found = Vec::new();
    let mut at = u64::from(length);
    while found.len() < MOST_EXTENSIONS && at < end {
        let (Some(kind), Some(len)) = (bytes.be32(index(at)), bytes.be32(index(at.saturating_add(4)))) else { break };
        if kind == END_OF_EXTENSIONS {
            break;
        }
        let data = at.saturating_add(8);
        found.push((kind, text(bytes, data, len.into()).unwrap_or_default()));
        at = data.saturating_add(u64::from(len).next_multiple_of(8));
    }
    found
}

/// Names and times of the internal snapshots: states of the disk that are not read.
fn snapshots(bytes: &[u8], count: u32, mut at: u64, about: &mut About) {
    if count > MOST_SNAPSHOTS {
        about.remark(format!("holds {count} internal snapshots, of which {MOST_SNAPSHOTS} are named here"));
    }
    for _ in 0..count.min(MOST_SNAPSHOTS) {
        let Some((name, time, next)) = snapshot(bytes, at) else {
            about.fault(format!("its list of internal snapshots breaks off at byte {at}"));
            return;
        };
        about.remark(format!("holds an internal snapshot \"{name}\" of {time}, an older state that is not read"));
        at = next;
    }
}

fn snapshot(bytes: &[u8], at: u64) -> Option<(String, String, u64)> {
    let entry = bytes.get(index(at)..)?;
    let (id_len, name_len) = (u64::from(entry.be16(12)?), u64::from(entry.be16(14)?));
    let time = Timestamp::unix(entry.be32(16)?.into()).rfc3339();
    let id_at = 40u64.checked_add(entry.be32(36)?.into())?;
    let name_at = id_at.checked_add(id_len)?;
    let name = text(entry, name_at, name_len)?;
    let len = name_at.checked_add(name_len)?.next_multiple_of(8);
    Some((name, time, at.checked_add(len)?))
}
