//! The two headers and the two copies of the region table ([MS-VHDX] 2.2).

use super::log::Overlay;
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::image::about::About;
use std::borrow::Cow;

const HEADERS: [u64; 2] = [64 << 10, 128 << 10];
const HEADER_LEN: usize = 4096;
const TABLES: [u64; 2] = [192 << 10, 256 << 10];
const TABLE_LEN: u64 = 64 << 10;
/// More entries no table may have.
const MOST_REGIONS: u32 = 2047;

const BAT: &str = "2dc27766-f623-4200-9d64-115e9bfd4a08";
const METADATA: &str = "8b7ca206-4790-4b9a-b8fe-575f050f886e";

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    sequence: u64,
    /// Changed with every first write of content: what a differencing disk remembers of the one below it.
    pub(super) data_write: [u8; 16],
    /// Which entries of the log are valid; zeros: none.
    pub(super) log_id: [u8; 16],
    pub(super) log: Extent,
}

impl Head {
    /// The header that counts: of those whose checksum holds the one with the higher number.
    ///
    /// # Errors
    /// Where neither can be used.
    pub(super) fn newest(bytes: &[u8], about: &mut About) -> Result<Self, String> {
        let heads: Vec<Self> = HEADERS.iter().filter_map(|at| Self::at(bytes, index(*at))).collect();
        if heads.len() == 1 {
            about.fault("one of its two headers is damaged: the other is read, which may be the older one");
        }
        heads.into_iter().max_by_key(|head| head.sequence).ok_or_else(|| "both of its headers are damaged".to_owned())
    }

    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let header = bytes.span(at, HEADER_LEN)?;
        if !header.starts_with(b"head") || !sum_holds(header) || header.le16(66)? != 1 {
            return None;
        }
        Some(Self {
            sequence: header.le64(8)?,
            data_write: header.array(32)?,
            log_id: header.array(48)?,
            log: Extent::new(header.le64(72)?, header.le32(68)?.into()),
        })
    }
}

/// Where the regions are that matter here.
pub(super) struct Regions {
    pub(super) table: Extent,
    pub(super) metadata: Extent,
}

impl Regions {
    /// The first copy whose checksum holds.
    ///
    /// # Errors
    /// Where neither can be used, or a region that has to be understood is not known.
    pub(super) fn read(bytes: &[u8], overlay: &Overlay, about: &mut About) -> Result<Self, String> {
        let copies: Vec<Cow<'_, [u8]>> = TABLES
            .iter()
            .filter_map(|at| overlay.read(bytes, Extent::new(*at, TABLE_LEN)))
            .filter(|table| table.starts_with(b"regi") && sum_holds(table))
            .collect();
        if copies.len() == 1 {
            about.fault("one copy of its region table is damaged: the other is read");
        }
        let table = copies.first().ok_or("both copies of its region table are damaged")?;
        if copies.last().is_some_and(|other| other != table) {
            about.fault("the two copies of its region table differ: the first is read");
        }
        let mut found = [None; 2];
        for n in 0..table.le32(8).unwrap_or(0).min(MOST_REGIONS) {
            let at = index(u64::from(n).saturating_mul(32).saturating_add(16));
            let Some(entry) = table.span(at, 32) else { break };
            let id = crate::bytes::guid(entry.array(0).unwrap_or_default());
            let place = Extent::new(entry.le64(16).unwrap_or(0), entry.le32(24).unwrap_or(0).into());
            match id.as_str() {
                BAT => found[0] = Some(place),
                METADATA => found[1] = Some(place),
                _ if entry.le32(28) == Some(1) => return Err(format!("needs a region {id}, which is not known")),
                _ => {}
            }
        }
        let [table, metadata] = found;
        Ok(Self { table: table.ok_or("has no table of blocks")?, metadata: metadata.ok_or("has no metadata")? })
    }
}

/// True where bytes 4 to 8 are the CRC-32C of the structure with these four as zeros.
pub(super) fn sum_holds(structure: &[u8]) -> bool {
    let (Some(sum), Some(before), Some(behind)) = (structure.le32(4), structure.get(..4), structure.get(8..)) else {
        return false;
    };
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(before), &[0; 4]), behind) == sum
}
