//! Cylinder groups: which inodes and fragments are in use.
//!
//! FreeBSD `sys/ufs/ffs/fs.h`, `struct cg`, and `struct ocg` of 4.2BSD.

use super::superblock::Superblock;
use crate::bytes::{Fields, index, offset};
use crate::extent::{Extent, ExtentSet};
use crate::fs::bits;
use crate::image::View;
use rayon::prelude::*;

const MAGIC: u32 = 0x0009_0255;
/// Remarks that are kept.
const MAX_WRONG: usize = 1000;

/// One group's map of inodes, and how many of them were ever written.
struct Group {
    inodes: Vec<u8>,
    written: u32,
}

/// What is known of a group: it, or how many of its inodes may have been written.
type Known = Result<Group, u32>;

/// What is read of a group.
struct Read {
    group: Group,
    free: Vec<Extent>,
    contradiction: Option<String>,
}

/// All groups.
pub(super) struct Groups {
    groups: Vec<Known>,
    /// Fragments that belong to nothing, in bytes of the volume.
    pub(super) free: ExtentSet,
    /// Byte of the volume and remark.
    pub(super) wrong: Vec<(u64, String)>,
    pub(super) contradictions: Vec<(u64, String)>,
}

impl Groups {
    /// Reads all of them, side by side.
    pub(super) fn read(view: View<'_>, sb: &Superblock) -> Self {
        let mut out = Self { groups: Vec::new(), free: ExtentSet::default(), wrong: vec![], contradictions: vec![] };
        let mut free = Vec::new();
        // A group has at least its own blocks in the volume.
        let count = u64::from(sb.groups).min(view.size().checked_div(sb.block).unwrap_or(0));
        let numbers = 0..u32::try_from(count).unwrap_or(u32::MAX);
        let read: Vec<(u32, Result<Read, String>)> =
            numbers.into_par_iter().map(|number| (number, one(view, sb, number))).collect();
        for (number, read) in read {
            let at = sb.group_at(number);
            match read {
                Ok(read) => {
                    out.groups.push(Ok(read.group));
                    out.contradictions.extend(read.contradiction.map(|what| (at, what)));
                    free.extend(read.free);
                }
                Err(what) => {
                    // All that the volume has room for.
                    out.groups.push(Err(sb.inodes_within(number, view.size())));
                    out.wrong.push((at, format!("group {number}: {what}")));
                }
            }
        }
        let more = out.wrong.len().saturating_sub(MAX_WRONG);
        out.wrong.truncate(MAX_WRONG);
        if more > 0 {
            out.wrong.push((sb.at, format!("{more} more remarks of this kind")));
        }
        out.contradictions.truncate(MAX_WRONG);
        let whole = Extent::new(0, view.size());
        out.free = free.into_iter().map(|extent| extent.intersect(whole)).collect();
        out
    }

    /// Whether an inode is in use; none where that is not known.
    pub(super) fn is_used(&self, sb: &Superblock, number: u32) -> Option<bool> {
        let (group, row) = (number.checked_div(sb.inodes_per_group)?, number.checked_rem(sb.inodes_per_group)?);
        let group = self.groups.get(index(group.into()))?.as_ref().ok()?;
        let byte = group.inodes.byte(index(u64::from(row >> 3)))?;
        Some(byte >> (row & 7) & 1 != 0)
    }

    /// What `look` makes of the inodes that were ever written, in order; groups are looked at side by side.
    pub(super) fn among<T: Send>(&self, sb: &Superblock, look: impl Fn(u32) -> Option<T> + Sync) -> Vec<T> {
        let found = self.groups.par_iter().zip(0u32..sb.groups).flat_map_iter(|(group, number)| {
            let first = number.saturating_mul(sb.inodes_per_group);
            let count = group.as_ref().map_or_else(|there| *there, |group| group.written);
            // The first two inodes are never given to a file.
            let numbers = (0..count).map(move |row| first.saturating_add(row)).filter(|number| *number >= 2);
            numbers.filter_map(&look)
        });
        found.collect()
    }
}

/// One group.
///
/// # Errors
/// Why it cannot be read.
fn one(view: View<'_>, sb: &Superblock, number: u32) -> Result<Read, String> {
    let damaged = || "its own block is damaged".to_owned();
    let raw = view.read(sb.group_at(number), sb.block).map_err(|_| "it ends behind the volume".to_owned())?;
    let n = |at: usize| sb.order.n32(&raw, at).unwrap_or(0);
    // 4.2BSD has maps of fixed sizes, and the magic number behind that of inodes.
    let (inodes, fragments) = match (n(4), n(980)) {
        (MAGIC, _) => (index(n(92).into()), index(n(96).into())),
        (_, MAGIC) => (724, 984),
        _ => return Err(damaged()),
    };
    let count = u64::from(n(20));
    let bitmap = raw.get(fragments..).filter(|bits| count.div_ceil(8) <= offset(bits.len())).ok_or_else(damaged)?;
    let inodes = raw.span(inodes, index(u64::from(sb.inodes_per_group.div_ceil(8)))).ok_or_else(damaged)?.to_vec();
    if n(12) != number || count > sb.per_group {
        return Err(damaged());
    }
    let (start, mut total) = (sb.start(number), 0u64);
    let mut free = Vec::new();
    for (first, len) in bits::stretches(bitmap, count) {
        total = total.saturating_add(len);
        let at = start.saturating_add(first).saturating_mul(sb.fragment);
        free.push(Extent::new(at, len.saturating_mul(sb.fragment)));
    }
    // Blocks that are free as a whole, and fragments of others.
    let blocks = u64::from(n(28)).saturating_mul(sb.block.checked_div(sb.fragment).unwrap_or(1));
    let told = blocks.saturating_add(n(36).into());
    let differs = sb.is_clean && told != total;
    let contradiction = differs.then(|| format!("group {number}: {total} fragments are free, its count says {told}"));
    // UFS2 writes inodes as they are needed; who writes them all may leave the field alone.
    let written = if sb.is_ufs2 && n(120) > 0 { n(120).min(sb.inodes_per_group) } else { sb.inodes_per_group };
    Ok(Read { group: Group { inodes, written }, free, contradiction })
}
