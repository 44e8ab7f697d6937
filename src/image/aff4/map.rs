//! A map: which stretches of the disk stand where in which stream ("AFF4 Standard v1.0a", section 4).

use super::lexicon::{Symbol, symbol};
use crate::bytes::{Fields, offset};
use crate::extent::Extent;
use crate::image::about::About;

const ENTRY: usize = 28;

/// Where a stretch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// In the stream of this number.
    Stream(usize),
    /// In a symbolic stream.
    Symbol(Symbol),
    /// In one that is not read.
    None,
}

/// A stretch of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Which.
    pub(super) extent: Extent,
    /// Number of its stream in the list of the map.
    pub(super) target: usize,
    /// Where it begins there.
    pub(super) at: u64,
}

/// The stretches of a map in the order of the disk. Rekall's maps have length and place the other way round.
pub(super) fn read(bytes: &[u8], swapped: bool, about: &mut About) -> Vec<Stretch> {
    let rest = bytes.len().checked_rem(ENTRY).unwrap_or(0);
    if rest > 0 {
        about.fault(format!("its map ends with {rest} bytes that are no entry"));
    }
    let entry = |entry: &[u8]| {
        let (second, third) = (entry.le64(8)?, entry.le64(16)?);
        let (len, at) = if swapped { (third, second) } else { (second, third) };
        Some(Stretch { extent: Extent::new(entry.le64(0)?, len), target: usize::try_from(entry.le32(24)?).ok()?, at })
    };
    let fits =
        |s: &Stretch| s.extent.start.checked_add(s.extent.len).is_some() && s.at.checked_add(s.extent.len).is_some();
    let mut gone = 0u64;
    let kept = |stretch: &Stretch| {
        let keeps = stretch.extent.len > 0 && fits(stretch);
        gone = gone.saturating_add(u64::from(!keeps));
        keeps
    };
    let mut stretches: Vec<Stretch> = bytes.chunks_exact(ENTRY).filter_map(entry).filter(kept).collect();
    stretches.sort_by_key(|stretch| stretch.extent.start);
    let overlaps = settle(&mut stretches);
    if gone > 0 {
        about.remark(format!("{gone} entries of its map are empty, or end behind all disks"));
    }
    if overlaps > 0 {
        about.fault(format!("{overlaps} entries of its map overlap others: of those the first holds"));
    }
    joined(stretches)
}

/// Cuts off what overlaps the stretches before; gives how many do.
fn settle(stretches: &mut Vec<Stretch>) -> usize {
    let (mut end, mut overlaps) = (0u64, 0usize);
    stretches.retain_mut(|stretch| {
        let over = end.saturating_sub(stretch.extent.start);
        overlaps = overlaps.saturating_add(usize::from(over > 0));
        let left = stretch.extent.len.saturating_sub(over);
        stretch.extent = Extent::new(stretch.extent.start.saturating_add(over), left);
        stretch.at = stretch.at.saturating_add(over);
        end = if left > 0 { stretch.extent.end() } else { end };
        left > 0
    });
    overlaps
}

/// Stretches that go on where the one before them ends are one.
fn joined(stretches: Vec<Stretch>) -> Vec<Stretch> {
    let mut out: Vec<Stretch> = Vec::with_capacity(stretches.len());
    for stretch in stretches {
        match out.last_mut() {
            Some(last)
                if last.target == stretch.target
                    && last.extent.end() == stretch.extent.start
                    && last.at.saturating_add(last.extent.len) == stretch.at =>
            {
                last.extent.len = last.extent.len.saturating_add(stretch.extent.len);
            }
            _ => out.push(stretch),
        }
    }
    out
}

/// The streams that a map names, a line each.
pub(super) fn targets(idx: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(idx);
    text.lines().map(|line| line.trim().to_owned()).collect()
}

/// How many bytes were not acquired, and how many could not be read.
pub(super) fn missing(stretches: &[Stretch], targets: &[String]) -> [u64; 2] {
    let total = |wanted: Symbol| {
        let is = |s: &&Stretch| targets.get(s.target).and_then(|uri| symbol(uri)) == Some(wanted);
        stretches.iter().filter(is).fold(0u64, |n, s| n.saturating_add(s.extent.len))
    };
    [total(Symbol::Unknown), total(Symbol::Unreadable)]
}

/// The end of the last stretch.
pub(super) fn end(stretches: &[Stretch]) -> u64 {
    stretches.last().map_or(0, |stretch| stretch.extent.end())
}

/// How many bytes of `size` no stretch covers.
pub(super) fn gaps(stretches: &[Stretch], size: u64) -> u64 {
    let covered = stretches.iter().map(|s| s.extent.intersect(Extent::new(0, size)).len);
    size.saturating_sub(covered.fold(0, u64::saturating_add))
}

/// The number of the stretch that holds byte `at`, or where the next one begins.
pub(super) fn find(stretches: &[Stretch], at: u64) -> Result<usize, Option<u64>> {
    let next = stretches.partition_point(|stretch| stretch.extent.end() <= at);
    match stretches.get(next) {
        Some(stretch) if stretch.extent.start <= at => Ok(next),
        next => Err(next.map(|stretch| stretch.extent.start)),
    }
}

/// What was read of a map, for people.
pub(super) fn summary(stretches: &[Stretch]) -> String {
    format!("{} stretches, {} bytes", offset(stretches.len()), end(stretches))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(fields: (u64, u64, u64, u32)) -> Vec<u8> {
        let (start, len, at, target) = fields;
        [&start.to_le_bytes()[..], &len.to_le_bytes(), &at.to_le_bytes(), &target.to_le_bytes()].concat()
    }

    #[test]
    fn entries_are_sorted_joined_and_overlaps_told() {
        let bytes = [(8, 4, 0, 1), (0, 4, 0, 0), (4, 4, 4, 0), (10, 4, 9, 0), (20, 0, 0, 0)].map(entry).concat();
        let mut about = About::default();
        let stretches = read(&bytes, false, &mut about);
        let stretch = |start, len, target, at| Stretch { extent: Extent::new(start, len), target, at };
        assert_eq!(stretches, [stretch(0, 8, 0, 0), stretch(8, 4, 1, 0), stretch(12, 2, 0, 11)]);
        assert_eq!((about.faults.len(), about.remarks.len()), (1, 1));
        assert_eq!((end(&stretches), gaps(&stretches, 20)), (14, 6));
        let swapped = read(&entry((0, 7, 3, 0)), true, &mut about);
        assert_eq!(swapped, [stretch(0, 3, 0, 7)]);
    }

    proptest! {
        #[test]
        fn any_entries_give_every_byte_once(rows in prop::collection::vec((0u64..50, 0u64..9, 0u64..50, 0u32..3), 0..20)) {
            let bytes: Vec<u8> = rows.iter().copied().flat_map(entry).collect();
            let stretches = read(&bytes, false, &mut About::default());
            let mut last = 0;
            for stretch in &stretches {
                prop_assert!(stretch.extent.start >= last && stretch.extent.len > 0);
                last = stretch.extent.end();
                prop_assert_eq!(find(&stretches, stretch.extent.start), find(&stretches, last - 1));
            }
            prop_assert_eq!(find(&stretches, last), Err(None));
        }
    }
}
