//! Logical volumes of Linux's LVM2 (`lib/format_text`, `man lvmraid`, `man lvmthin`): linear, striped, mirrored, RAID 4, 5, 6 and
//! 10, thin volumes, snapshots of both kinds.
//!
//! A physical volume has a label in one of its first four sectors (`LABELONE`, CRC at 16, `LVM2 001` at 24), which says where its
//! data and its metadata areas lie. A metadata area begins with a sector that says where in its ring the newest text stands. The
//! text of the highest sequence number describes the group. Checked against the kernel's device mapper by the corpus's truth, and
//! against images that `lvm` made.

mod cow;
mod group;
mod text;
mod thin;

use super::Assembled;
use crate::bytes::{Fields, index};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use std::collections::{BTreeMap, HashMap};
use text::Section;

const SECTOR: u64 = 512;
/// Labels and text begin their CRC with this instead of all ones.
const SEED: u32 = 0xf597_a6cf;
/// Larger metadata is none that `lvm` writes.
const MAX_TEXT: u64 = 16 << 20;
/// Areas that a label names.
const MAX_AREAS: usize = 64;

/// A physical volume.
struct Physical {
    row: usize,
    id: String,
    /// The newest text that its metadata areas hold, parsed.
    text: Option<Section>,
    faults: Vec<Fault>,
}

/// The logical volumes of all groups whose physical volumes are among these.
pub fn read(volumes: &[View<'_>]) -> Vec<Assembled> {
    let physical: Vec<Physical> = volumes.iter().enumerate().filter_map(|(row, view)| physical(row, *view)).collect();
    let mut groups: BTreeMap<String, (u64, &str, &Section)> = BTreeMap::new();
    for text in physical.iter().filter_map(|physical| physical.text.as_ref()) {
        for (name, group) in text.sections() {
            let (Some(id), Some(number)) = (group.text("id"), group.number("seqno")) else { continue };
            let newest = groups.entry(id.to_owned()).or_insert((number, name, group));
            if number > newest.0 {
                *newest = (number, name, group);
            }
        }
    }
    let rows: HashMap<&str, usize> = physical.iter().map(|physical| (physical.id.as_str(), physical.row)).collect();
    let mut made: Vec<Assembled> =
        groups.values().flat_map(|(_, name, group)| group::volumes(volumes, &rows, name, group)).collect();
    // What is wrong with a physical volume stands with the first of what it holds, or alone.
    for physical in physical.into_iter().filter(|physical| !physical.faults.is_empty()) {
        made.push(Assembled {
            id: format!("{} damage", physical.id),
            name: physical.id,
            covers: vec![(physical.row, Extent::default())],
            faults: physical.faults,
            ..Assembled::default()
        });
    }
    made
}

fn physical(row: usize, view: View<'_>) -> Option<Physical> {
    let label_at = (0..4).map(|sector: u64| sector.saturating_mul(SECTOR)).find(|at| {
        let label = view.read_up_to(*at, 32);
        label.span(0, 8) == Some(b"LABELONE") && label.span(24, 8) == Some(b"LVM2 001")
    })?;
    let label = view.read(label_at, SECTOR).ok()?;
    let mut faults = Vec::new();
    if label.span(20, 492).map(checksum) != label.le32(16) {
        faults.push(Fault::new(view.absolute(label_at), "lvm2", "the label's checksum does not hold"));
    }
    let header = index(label.le32(20)?.into());
    let id = String::from_utf8_lossy(label.span(header, 32)?).into_owned();
    let mut at = header.checked_add(40)?;
    let mut areas = |label: &[u8]| {
        let mut areas = Vec::new();
        while areas.len() < MAX_AREAS {
            let (start, len) = (label.le64(at)?, label.le64(at.checked_add(8)?)?);
            at = at.checked_add(16)?;
            if start == 0 {
                break;
            }
            areas.push(Extent::new(start, len));
        }
        Some(areas)
    };
    let (_data, metadata) = (areas(&label)?, areas(&label)?);
    let mut newest: Option<(u64, Section)> = None;
    for area in metadata {
        match newest_text(view, area) {
            Ok(Some(text)) => {
                let number = text.sections().filter_map(|(_, group)| group.number("seqno")).max().unwrap_or(0);
                if newest.as_ref().is_none_or(|(best, _)| number > *best) {
                    newest = Some((number, text));
                }
            }
            Ok(None) => {}
            Err(what) => faults.push(Fault::new(view.absolute(area.start), "lvm2", what)),
        }
    }
    Some(Physical { row, id, text: newest.map(|(_, text)| text), faults })
}

/// The text that a metadata area's header names; none where it names none.
fn newest_text(view: View<'_>, area: Extent) -> Result<Option<Section>, &'static str> {
    let header = view.read(area.start, SECTOR).map_err(|_| "a metadata area lies behind the physical volume's end")?;
    if header.span(4, 16) != Some(b"\x20LVM2\x20x[5A%r0N*>") {
        return Err("the header of a metadata area is damaged");
    }
    let field = |at: usize| header.le64(at).unwrap_or(0);
    let (start, size, offset, len) = (field(24), field(32), field(40), field(48));
    let (sum, ignored) = (header.le32(56), header.le32(60).is_some_and(|flags| flags & 1 != 0));
    if offset == 0 || ignored {
        return Ok(None);
    }
    if len > MAX_TEXT || offset >= size {
        return Err("a metadata area says that its text lies outside of it");
    }
    // The ring goes on behind the header's sector.
    let first = len.min(size.saturating_sub(offset));
    let mut text = view.read_up_to(start.saturating_add(offset), first).into_owned();
    text.extend_from_slice(&view.read_up_to(start.saturating_add(SECTOR), len.saturating_sub(first)));
    if Some(checksum(&text)) != sum {
        return Err("the checksum of the metadata does not hold");
    }
    Section::parse(&text).map(Some).ok_or("the metadata does not follow its grammar")
}

/// CRC-32 as LVM2 begins it, and without the last inversion.
fn checksum(bytes: &[u8]) -> u32 {
    // The usual CRC inverts before and behind.
    let mut crc = crc32fast::Hasher::new_with_initial(!SEED);
    crc.update(bytes);
    !crc.finalize()
}
