//! The grains of a stream that lost its end, where its directory was: each has a mark before it that names its place.

use super::SECTOR;
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use std::collections::BTreeMap;

/// Packed grains by their numbers.
pub(super) struct Stream(BTreeMap<u64, Extent>);

impl Stream {
    /// Goes from mark to mark, from byte `from` on, as far as they go. What follows a mark fills whole sectors.
    pub(super) fn search(bytes: &[u8], from: u64, grain: u64) -> Self {
        let mut found = BTreeMap::new();
        let mut at = from;
        while let Some(mark) = bytes.span(index(at), 12) {
            let (value, len) = (mark.le64(0).unwrap_or(0), u64::from(mark.le32(8).unwrap_or(0)));
            let (data, whole) = if len > 0 {
                let data = Extent::new(at.saturating_add(12), len);
                if data.end() <= bytes.len() as u64
                    && let Some(number) = value.checked_mul(SECTOR).and_then(|lba| lba.checked_div(grain))
                {
                    found.insert(number, data);
                }
                (len.saturating_add(12), 0)
            } else {
                // A table, or what else stands between the grains: so many sectors behind the mark's own.
                (SECTOR, value.min(bytes.len() as u64).saturating_mul(SECTOR))
            };
            at = at.saturating_add(data.next_multiple_of(SECTOR)).saturating_add(whole);
        }
        Self(found)
    }

    /// Where grain `number` is.
    pub(super) fn place(&self, number: u64) -> Option<Extent> {
        self.0.get(&number).copied()
    }
}
