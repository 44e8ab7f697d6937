//! Cylinder groups: which inodes and fragments are in use.
//!
//! FreeBSD `sys/ufs/ffs/fs.h`, `struct cg`, and `struct ocg` of 4.2BSD.

use super::superblock::Superblock;
use crate::bytes::{Fields, index};
use crate::extent::{Extent, ExtentSet};
use crate::fs::bits;
use crate::image::View;
use std::borrow::Cow;

const MAGIC: u32 = 0x0009_0255;
/// Remarks that are kept.
const MAX_WRONG: usize = 1000;

/// One group's map of inodes.
struct Group<'img> {
    raw: Cow<'img, [u8]>,
    /// Where the map begins, and how many inodes were ever written.
    inodes: usize,
    written: u32,
}

/// All groups.
pub(super) struct Groups<'img> {
    groups: Vec<Option<Group<'img>>>,
    /// Fragments that belong to nothing, in bytes of the volume.
    pub(super) free: ExtentSet,
    /// Byte of the volume and remark.
    pub(super) wrong: Vec<(u64, String)>,
    pub(super) contradictions: Vec<(u64, String)>,
}

impl<'img> Groups<'img> {
    pub(super) fn read(view: View<'img>, sb: &Superblock) -> Self {
        let mut out = Self { groups: Vec::new(), free: ExtentSet::default(), wrong: vec![], contradictions: vec![] };
        let mut free = Vec::new();
        // A group has at least its own blocks in the volume.
        let count = u64::from(sb.groups).min(view.size().checked_div(sb.block).unwrap_or(0));
        for group in 0..u32::try_from(count).unwrap_or(u32::MAX) {
            let read = one(view, sb, group, &mut free);
            match read {
                Ok((held, contradiction)) => {
                    out.groups.push(Some(held));
                    out.contradictions.extend(contradiction.map(|what| (sb.group_at(group), what)));
                }
                Err(what) => {
                    out.groups.push(None);
                    out.wrong.push((sb.group_at(group), format!("group {group}: {what}")));
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
        let group = self.groups.get(index(group.into()))?.as_ref()?;
        let byte = group.raw.byte(group.inodes.checked_add(index(u64::from(row >> 3)))?)?;
        Some(byte >> (row & 7) & 1 != 0)
    }

    /// The inodes that were ever written, in order.
    pub(super) fn written<'a>(&'a self, sb: &'a Superblock) -> impl Iterator<Item = u32> + 'a {
        let rows = (0u32..).zip(&self.groups).flat_map(move |(number, group)| {
            let first = number.saturating_mul(sb.inodes_per_group);
            // Of a group that cannot be read all may have been.
            let count = group.as_ref().map_or(sb.inodes_per_group, |group| group.written);
            (0..count).map(move |row| first.saturating_add(row))
        });
        // The first two were never given to a file.
        rows.filter(|number| *number >= 2)
    }
}

/// One group, its free fragments, and where it contradicts itself.
fn one<'img>(
    view: View<'img>,
    sb: &Superblock,
    number: u32,
    free: &mut Vec<Extent>,
) -> Result<(Group<'img>, Option<String>), String> {
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
    let bitmap = raw.get(fragments..).filter(|bits| count.div_ceil(8) <= bits.len() as u64).ok_or_else(damaged)?;
    let map = raw.get(inodes..).is_some_and(|map| u64::from(sb.inodes_per_group).div_ceil(8) <= map.len() as u64);
    if n(12) != number || count > sb.per_group || !map {
        return Err(damaged());
    }
    let start = sb.start(number);
    let mut total = 0u64;
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
    // UFS2 writes inodes as they are needed.
    let written = if sb.is_ufs2 { n(120).min(sb.inodes_per_group) } else { sb.inodes_per_group };
    Ok((Group { raw, inodes, written }, contradiction))
}
