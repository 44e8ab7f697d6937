//! Arrays of Linux's software RAID (`include/uapi/linux/raid/md_p.h`, the md(4) manual page): linear, 0, 1, 4, 5, 6 and 10.
//!
//! Each member has a superblock. Version 1, little-endian: at its start (1.1), 4 KiB behind it (1.2) or 8 to 12 KiB before its
//! end (1.0). Version 0.90, in the byte order of its machine: in the last 64 to 128 KiB. What the superblock of the highest event
//! count says holds; members that are behind are left out, as the kernel does.

use super::raid::{Array, Level, Spread};
use super::{Assembled, Stretch};
use crate::bytes::{Fields, hex, latin1};
use crate::extent::Extent;
use crate::fault::Fault;
use crate::image::View;
use std::collections::BTreeMap;

const MAGIC: u32 = 0xa92b_4efc;
const SECTOR: u64 = 512;
/// The roles above are spare, faulty and journal.
const LAST_ROLE: u16 = 0xfffc;
const MOST_MEMBERS: u64 = 4096;

/// What a superblock says.
#[derive(Clone, Debug)]
struct Member {
    row: usize,
    array: [u8; 16],
    name: String,
    level: i32,
    layout: u64,
    chunk: u64,
    /// Bytes of each member that the array uses.
    size: u64,
    disks: u64,
    /// Where its data lies.
    data: Extent,
    events: u64,
    /// Its place in the array; none for spares.
    role: Option<usize>,
    /// Its copy is being made: what lies behind this is not there yet.
    rebuilding: bool,
    reshaping: bool,
    sound: bool,
    at: u64,
}

/// The arrays whose members are among these.
pub fn read(volumes: &[View<'_>]) -> Vec<Assembled> {
    let mut arrays: BTreeMap<[u8; 16], Vec<Member>> = BTreeMap::new();
    for (row, view) in volumes.iter().enumerate() {
        if let Some(member) = member(row, *view) {
            arrays.entry(member.array).or_default().push(member);
        }
    }
    arrays.values().filter_map(|members| assemble(members)).collect()
}

fn member(row: usize, view: View<'_>) -> Option<Member> {
    let aligned = |behind: u64, to: u64| view.size().checked_sub(behind).map(|at| at & !to.saturating_sub(1));
    let first =
        [Some(0), Some(4096), aligned(8192, 4096)].into_iter().flatten().find_map(|at| version_1(row, view, at));
    first.or_else(|| version_0(row, view, aligned(65_536, 65_536)?))
}

fn version_1(row: usize, view: View<'_>, at: u64) -> Option<Member> {
    let head = view.read(at, 256).ok()?;
    let count = u64::from(head.le32(220)?);
    if head.le32(0)? != MAGIC
        || head.le32(4)? != 1
        || head.le64(144)?.saturating_mul(SECTOR) != at
        || count > MOST_MEMBERS
    {
        return None;
    }
    let block = view.read(at, count.saturating_mul(2).saturating_add(256)).ok()?;
    let features = block.le32(8)?;
    let number = usize::try_from(block.le32(160)?).ok()?;
    let role = block.le16(number.checked_mul(2)?.checked_add(256)?).filter(|role| *role <= LAST_ROLE);
    Some(Member {
        row,
        array: block.array(16)?,
        name: latin1(block.span(32, 32)?),
        level: block.le32(72)?.cast_signed(),
        layout: block.le32(76)?.into(),
        chunk: u64::from(block.le32(88)?).saturating_mul(SECTOR),
        size: block.le64(80)?.saturating_mul(SECTOR),
        disks: block.le32(92)?.into(),
        data: Extent::new(block.le64(128)?.saturating_mul(SECTOR), block.le64(136)?.saturating_mul(SECTOR)),
        events: block.le64(200)?,
        role: role.map(usize::from),
        rebuilding: features & 2 != 0,
        reshaping: features & 4 != 0,
        sound: checksum_1(&block) == block.le32(216),
        at: view.absolute(at),
    })
}

/// The sum of all 32-bit words but its own, folded once.
fn checksum_1(block: &[u8]) -> Option<u32> {
    let words = block.chunks(4).enumerate().filter(|(number, _)| *number != 54);
    let word = |chunk: &[u8]| chunk.le32(0).map_or_else(|| chunk.le16(0).map_or(0, u64::from), u64::from);
    let sum = words.fold(0u64, |sum, (_, chunk)| sum.wrapping_add(word(chunk)));
    u32::try_from((sum & 0xffff_ffff).checked_add(sum >> 32)? & 0xffff_ffff).ok()
}

fn version_0(row: usize, view: View<'_>, at: u64) -> Option<Member> {
    let block = view.read(at, 4096).ok()?;
    let big = block.be32(0)? == MAGIC;
    let word = |number: usize| {
        let at = number.checked_mul(4)?;
        if big { block.be32(at) } else { block.le32(at) }
    };
    if word(0)? != MAGIC || word(1)? != 0 {
        return None;
    }
    let mut array = [0; 16];
    for (to, from) in array.chunks_exact_mut(4).zip([5usize, 13, 14, 15]) {
        to.copy_from_slice(&word(from)?.to_be_bytes());
    }
    let (low, high) = if big { (40, 39) } else { (39, 40) };
    let state = word(996)?;
    let (level, chunk) = (word(7)?.cast_signed(), u64::from(word(65)?));
    let round = |len: u64| if chunk.is_power_of_two() { len & !chunk.saturating_sub(1) } else { len };
    Some(Member {
        row,
        array,
        name: String::new(),
        level,
        layout: word(64)?.into(),
        chunk,
        size: u64::from(word(8)?).saturating_mul(1024),
        disks: word(10)?.into(),
        data: Extent::new(0, round(at)),
        events: u64::from(word(high)?) << 32 | u64::from(word(low)?),
        // Bit 0: faulty; bit 1: active; bit 2: in sync.
        role: (state & 6 == 6 && state & 1 == 0).then(|| usize::try_from(word(995)?).ok()).flatten(),
        rebuilding: false,
        reshaping: word(2)? > 90,
        sound: checksum_0(&block, big) == word(38),
        at: view.absolute(at),
    })
}

/// The sum of all 32-bit words with its own taken as 0, folded once.
fn checksum_0(block: &[u8], big: bool) -> Option<u32> {
    let words = block.chunks_exact(4).enumerate().filter(|(number, _)| *number != 38);
    let word = |chunk: &[u8]| if big { chunk.be32(0) } else { chunk.le32(0) }.map_or(0, u64::from);
    let sum = words.fold(0u64, |sum, (_, chunk)| sum.wrapping_add(word(chunk)));
    u32::try_from((sum & 0xffff_ffff).checked_add(sum >> 32)? & 0xffff_ffff).ok()
}

fn assemble(members: &[Member]) -> Option<Assembled> {
    let best = members.iter().max_by_key(|member| (member.sound, member.events))?;
    let id = hex(&best.array);
    let called = if best.name.is_empty() { id.clone() } else { best.name.clone() };
    let mut made = Assembled { id, name: best.name.clone(), ..Assembled::default() };
    let mut fault = |at: u64, what: String| made.faults.push(Fault::new(at, "md", format!("array {called}: {what}")));
    let count = usize::try_from(best.disks).ok().filter(|count| best.disks <= MOST_MEMBERS && *count > 0)?;
    let mut slots: Vec<Option<&Member>> = vec![None; count];
    for member in members {
        if !member.sound {
            fault(member.at, "the checksum of a superblock does not hold".to_owned());
        }
        let behind = best.events.saturating_sub(member.events);
        let Some(slot) = member.role.and_then(|role| slots.get_mut(role)) else { continue };
        if behind > 1 {
            fault(
                member.at,
                format!("member {} is {behind} events behind the others; it is left out", member.role.unwrap_or(0)),
            );
        } else if member.rebuilding {
            fault(member.at, format!("member {} is still being rebuilt; it is left out", member.role.unwrap_or(0)));
        } else if slot.is_some() {
            fault(member.at, format!("there are two members {}; the second is left out", member.role.unwrap_or(0)));
        } else {
            *slot = Some(member);
        }
    }
    let there = slots.iter().flatten().count();
    made.type_name = format!("{}, {there} of {count} members", level_name(best.level));
    made.covers = members.iter().map(|member| (member.row, member.data)).collect();
    let spread = if best.reshaping { Err("it is being reshaped".to_owned()) } else { spread(best, &slots) };
    match spread {
        Ok((size, spread)) => {
            if there < count {
                fault(best.at, format!("{} of {count} members are not here", count.saturating_sub(there)));
            }
            if spread.lost > 0 {
                fault(best.at, format!("{} bytes lie on members that are not here, and read as zeros", spread.lost));
            }
            (made.size, made.stretches) = (size, Some(spread.stretches));
            (made.computed, made.copies, made.parities) = (spread.computed, spread.copies, spread.parities);
        }
        Err(what) => fault(best.at, format!("it is not read: {what}")),
    }
    Some(made)
}

fn level_name(level: i32) -> String {
    match level {
        -1 => "linear".to_owned(),
        level => format!("RAID {level}"),
    }
}

/// Size of the array, and where its bytes stand.
fn spread(best: &Member, slots: &[Option<&Member>]) -> Result<(u64, Spread), String> {
    let count = slots.len() as u64;
    let (near, far) = (best.layout & 0xff, best.layout >> 8 & 0xff);
    let level = match best.level {
        -1 => Level::Linear,
        0 => Level::Striped,
        1 => Level::Mirrored,
        4 => Level::Parity { blocks: 1, layout: 5 },
        5 => Level::Parity { blocks: 1, layout: best.layout },
        6 => Level::Parity { blocks: 2, layout: best.layout },
        10 => Level::Both { near, far, offset: best.layout & 1 << 16 != 0 },
        other => return Err(format!("arrays of level {other} are not read")),
    };
    let round = |len: u64| len.checked_div(best.chunk).map_or(len, |chunks| chunks.saturating_mul(best.chunk));
    // A member that is missing is taken to be as long as the shortest that is here.
    let shortest = slots.iter().flatten().map(|member| round(member.data.len)).min().unwrap_or(0);
    let alone = matches!(level, Level::Linear | Level::Striped);
    let len =
        |slot: &Option<&Member>| if alone { slot.map_or(shortest, |member| round(member.data.len)) } else { best.size };
    let each: Vec<u64> = slots.iter().map(len).collect();
    let size = match level {
        Level::Linear | Level::Striped => each.iter().copied().fold(0, u64::saturating_add),
        Level::Mirrored => best.size,
        Level::Parity { blocks, .. } => round(best.size).saturating_mul(count.saturating_sub(blocks as u64)),
        Level::Both { .. } => {
            let chunks = best.size.checked_div(best.chunk).and_then(|chunks| chunks.checked_div(far)).unwrap_or(0);
            chunks.saturating_mul(count).checked_div(near).unwrap_or(0).saturating_mul(best.chunk)
        }
    };
    let data = |member: &Member| {
        vec![Stretch { start: 0, len: member.data.len, place: Some((member.row, member.data.start)) }]
    };
    let members = slots.iter().map(|slot| slot.map(data)).collect();
    let spread = Array { level, chunk: best.chunk, members, size, each }.spread()?;
    Ok((size, spread))
}
