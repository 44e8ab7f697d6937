//! The header of a disk that is not fixed: its table of blocks, and what it is based on.

use super::footer::{Footer, Kind, sum_holds};
use crate::bytes::{Fields, index};
use crate::image::about::About;

pub(super) const COOKIE: &[u8; 8] = b"cxsparse";
const LEN: usize = 1024;

/// What the header says.
pub(super) struct Header {
    /// Where the table of blocks is.
    pub(super) table: u64,
    pub(super) entries: u64,
    /// Bytes of a block.
    pub(super) block: u64,
    /// Identifier of the disk below.
    pub(super) parent_id: [u8; 16],
    /// Its name.
    parent_name: String,
    /// Where more names of it are: platform, offset, length.
    locators: Vec<([u8; 4], u64, u64)>,
}

impl Header {
    /// Reads the header that the footer names.
    ///
    /// # Errors
    /// Why the disk cannot be read.
    pub(super) fn read(bytes: &[u8], footer: &Footer, about: &mut About) -> Result<Self, String> {
        let at = footer.header;
        let header = bytes.span(index(at), LEN).filter(|header| header.starts_with(COOKIE));
        let header = header.ok_or_else(|| format!("has no header at byte {at}"))?;
        if !sum_holds(header, 36) {
            about.fault("the checksum of its header does not hold");
        }
        let parsed = Self::parse(header).ok_or("breaks off within its header")?;
        let block = parsed.block;
        if !block.is_power_of_two() || !(512..=1 << 31).contains(&block) {
            return Err(format!("has blocks of {block} bytes"));
        }
        let needed = footer.size.div_ceil(block);
        if parsed.entries < needed {
            about.fault(format!("its table has {} blocks where {needed} are needed", parsed.entries));
        }
        let end = parsed.table.saturating_add(needed.saturating_mul(4));
        if end > bytes.len() as u64 {
            about.fault(format!("breaks off before the end of its table, at byte {end}"));
        }
        about.fact("blocks", format!("{needed} of {block} bytes"));
        if footer.kind == Kind::Differencing {
            about.fact("based on id", crate::bytes::hex(&parsed.parent_id));
        }
        Ok(parsed)
    }

    fn parse(header: &[u8]) -> Option<Self> {
        let locator = |n: usize| {
            let entry = header.span(576usize.checked_add(n.checked_mul(24)?)?, 24)?;
            Some((entry.array(0)?, entry.be64(16)?, u64::from(entry.be32(8)?)))
        };
        Some(Self {
            table: header.be64(16)?,
            entries: header.be32(28)?.into(),
            block: header.be32(32)?.into(),
            parent_id: header.array(40)?,
            parent_name: utf16_be(header.span(64, 512)?),
            locators: (0..8).filter_map(locator).filter(|(_, _, len)| *len > 0).collect(),
        })
    }

    /// Bytes of a block's bitmap, in whole sectors.
    pub(super) const fn bitmap(&self) -> u64 {
        (self.block / 512).div_ceil(8).next_multiple_of(512)
    }

    /// The names of the disk below, the relative ones first.
    pub(super) fn parents(&self, bytes: &[u8]) -> Vec<String> {
        let named = |platform: &[u8; 4]| {
            let (_, at, len) = self.locators.iter().find(|(code, ..)| code == platform)?;
            let name = bytes.span(index(*at), index(*len))?;
            Some(crate::bytes::utf16_le(name).trim_end_matches('\0').to_owned())
        };
        let mut names: Vec<String> = [b"W2ru", b"W2ku"].into_iter().filter_map(named).collect();
        names.push(self.parent_name.clone());
        names.retain(|name| !name.is_empty());
        names.dedup();
        names
    }
}

fn utf16_be(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).filter_map(|pair| pair.be16(0)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
