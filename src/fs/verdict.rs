//! What all file systems have in common about deleted files: whose clusters they are now, and which of two deleted
//! files that claim the same cluster wrote there last.
//!
//! A file system says of each deleted entry whether its clusters are free. Free clusters may have belonged to a later
//! file that was deleted, too: where two claims overlap, the file that was made after the other was last changed keeps
//! its verdict, and the other one loses what they share. Where the times do not tell, neither is called intact.

use super::{Certainty, Entry, Recovered, Times};
use crate::content::Run;
use crate::extent::{Extent, ExtentSet};
use crate::time::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Claims at one place that are compared with each other; more than these are doubted together.
const MAX_RIVALS: usize = 64;
/// Owners that a remark names.
const MAX_NAMED: usize = 3;

/// Where the live entries of a volume lie.
#[derive(Default)]
pub(super) struct Live {
    /// Those of each batch.
    held: Vec<Vec<Held>>,
    count: usize,
}

impl Live {
    /// Takes the next live entries.
    pub(super) fn take<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) {
        let mut held = Vec::new();
        for entry in entries {
            let row = self.count;
            held.extend(extents(entry).map(|extent| Held { extent, row }));
            self.count = self.count.saturating_add(1);
        }
        held.shrink_to_fit();
        self.held.push(held);
    }
}

/// Completes the verdicts of one volume's deleted entries. `again` gives the live ones once more, in the same order.
pub(super) fn settle<I: Iterator<Item = Entry>>(deleted: &mut [Entry], live: Live, again: impl FnOnce() -> I) {
    let claims = claims(deleted);
    for (row, loss) in losses(deleted, &claims) {
        let newer = loss.newer.and_then(|newer| Some(deleted.get(newer)?.path.clone()));
        if let Some(entry) = deleted.get_mut(row) {
            lose(entry, &loss, newer.as_deref());
        }
    }
    name_owners(deleted, live.held, again);
}

/// A stretch that an entry holds or held, and the entry's row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    extent: Extent,
    row: usize,
}

/// What other claims take from a deleted entry.
#[derive(Default)]
struct Loss {
    to_newer: Vec<Extent>,
    newer: Option<usize>,
    doubted: bool,
}

/// What deleted entries claim, in the order of the disk.
fn claims(entries: &[Entry]) -> Vec<Held> {
    let rows = entries.iter().enumerate().filter(|(_, entry)| is_claim(entry));
    let mut held: Vec<Held> =
        rows.flat_map(|(row, entry)| extents(entry).map(move |extent| Held { extent, row })).collect();
    held.sort_unstable();
    held
}

fn extents(entry: &Entry) -> impl Iterator<Item = Extent> + '_ {
    let data =
        entry.stream.runs.iter().filter_map(|run| if let Run::Data(extent) = run { Some(*extent) } else { None });
    data.filter(|extent| !extent.is_empty())
}

/// A guess is no claim against others.
fn is_claim(entry: &Entry) -> bool {
    entry.certainty.iter().all(|(_, certainty)| *certainty != Certainty::Guessed)
}

/// Which deleted entries lose something to others, and what.
fn losses(entries: &[Entry], deleted: &[Held]) -> BTreeMap<usize, Loss> {
    let mut losses: BTreeMap<usize, Loss> = BTreeMap::new();
    let mut open: Vec<Held> = Vec::new();
    for held in deleted {
        open.retain(|other| other.extent.end() > held.extent.start);
        for other in open.iter().rev().take(MAX_RIVALS) {
            compare(entries, *other, *held, &mut losses);
        }
        if open.len() >= MAX_RIVALS {
            open.iter().chain([held]).for_each(|h| losses.entry(h.row).or_default().doubted = true);
            // Those that reach furthest stand for all: whatever meets one that is left out meets as many of these.
            open.sort_unstable_by_key(|h| std::cmp::Reverse(h.extent.end()));
            open.truncate(MAX_RIVALS);
        }
        open.push(*held);
    }
    losses
}

fn compare(entries: &[Entry], a: Held, b: Held, losses: &mut BTreeMap<usize, Loss>) {
    let (Some(one), Some(other)) = (entries.get(a.row), entries.get(b.row)) else { return };
    if a.row == b.row || is_same(one, other) {
        return;
    }
    let shared = a.extent.intersect(b.extent);
    let (winner, loser) = match (is_later(one, other), is_later(other, one)) {
        (true, false) => (a.row, b.row),
        (false, true) => (b.row, a.row),
        _ => {
            losses.entry(a.row).or_default().doubted = true;
            losses.entry(b.row).or_default().doubted = true;
            return;
        }
    };
    let loss = losses.entry(loser).or_default();
    loss.to_newer.push(shared);
    loss.newer = Some(winner);
}

/// Two names of one file, or the two that a move leaves.
fn is_same(one: &Entry, other: &Entry) -> bool {
    let moved =
        one.stream.runs == other.stream.runs && one.stream.size == other.stream.size && one.times == other.times;
    moved || (one.inode == other.inode && one.at == other.at)
}

/// True where `one` was made after `other` was last changed, and not before it was deleted. A time of deletion is kept in
/// whole seconds: within one of them the times of change decide.
fn is_later(one: &Entry, other: &Entry) -> bool {
    let (Some(made), Some(end)) = (one.times.btime.or(first(&one.times)), last(&other.times)) else { return false };
    instant(made) > instant(end) && other.times.dtime.is_none_or(|gone| made.seconds >= gone.seconds)
}

fn instant(time: Timestamp) -> (i64, u32) {
    (time.seconds, time.nanos)
}

/// Without a time of creation the change of metadata is the next best: a copied file keeps its time of change.
fn first(times: &Times) -> Option<Timestamp> {
    times.ctime
}

fn last(times: &Times) -> Option<Timestamp> {
    [times.btime, times.mtime, times.ctime].into_iter().flatten().max_by_key(|time| instant(*time))
}

fn lose(entry: &mut Entry, loss: &Loss, newer: Option<&str>) {
    if !matches!(entry.recovered, Some(Recovered::Intact | Recovered::Partial)) {
        return;
    }
    let own: ExtentSet = extents(entry).collect();
    let gone: ExtentSet = loss.to_newer.iter().copied().collect();
    if !gone.as_slice().is_empty() {
        let all = own.subtract(&gone).total() == 0;
        entry.recovered = Some(if all { Recovered::Overwritten } else { Recovered::Partial });
        // What is not its own any more is not to be read as its content.
        entry.certainty.clear();
        let newer = newer.unwrap_or("a deleted file");
        entry.remark(&format!("{newer}, made later and deleted too, wrote over its clusters"));
    } else if loss.doubted && entry.recovered == Some(Recovered::Intact) {
        entry.recovered = Some(Recovered::Partial);
        entry.remark("another deleted file had the same clusters, and the times do not tell which came last");
    }
}

/// Says of deleted entries whose clusters they are now.
fn name_owners<I: Iterator<Item = Entry>>(deleted: &mut [Entry], live: Vec<Vec<Held>>, again: impl FnOnce() -> I) {
    let is_lost = |e: &Entry| matches!(e.recovered, Some(Recovered::Partial | Recovered::Overwritten));
    if !deleted.iter().any(is_lost) {
        return;
    }
    let mut live = live.concat();
    live.sort_unstable();
    let mut of: Vec<(usize, Vec<usize>)> = Vec::new();
    for (row, entry) in deleted.iter().enumerate().filter(|(_, entry)| is_lost(entry)) {
        let owners = owners(&live, entry);
        if !owners.is_empty() {
            of.push((row, owners));
        }
    }
    let wanted: HashSet<usize> = of.iter().flat_map(|(_, owners)| owners.iter().take(MAX_NAMED)).copied().collect();
    if wanted.is_empty() {
        return;
    }
    let named = again().enumerate().filter(|(row, _)| wanted.contains(row));
    let paths: HashMap<usize, String> = named.map(|(row, entry)| (row, entry.path)).collect();
    for (row, owners) in of {
        let names: Vec<&str> =
            owners.iter().take(MAX_NAMED).filter_map(|owner| paths.get(owner).map(String::as_str)).collect();
        let more = owners.len().saturating_sub(MAX_NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        if let Some(entry) = deleted.get_mut(row) {
            entry.remark(&format!("clusters of it belong to {}{more} now", names.join(", ")));
        }
    }
}

/// The live entries that hold what a deleted one had, each once, in the order of the disk.
fn owners(live: &[Held], entry: &Entry) -> Vec<usize> {
    let mut owners = Vec::new();
    for extent in extents(entry) {
        // Live files share no clusters, so that the first that may reach in stands right before.
        let from = live.partition_point(|held| held.extent.start < extent.start).saturating_sub(1);
        let near = live.get(from..).unwrap_or_default().iter().take_while(|held| held.extent.start < extent.end());
        for held in near.filter(|held| !held.extent.intersect(extent).is_empty()) {
            if !owners.contains(&held.row) && owners.len() < 1000 {
                owners.push(held.row);
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Stream;
    use crate::fs::EntryKind;
    use proptest::prelude::*;

    fn entry(path: &str, allocated: bool, made: i64, runs: &[(u64, u64)]) -> Entry {
        let mut entry = Entry::new(path.to_owned(), EntryKind::File, path.to_owned(), 0);
        entry.allocated = allocated;
        entry.recovered = (!allocated).then_some(Recovered::Intact);
        entry.times.btime = Some(Timestamp::unix(made));
        let size = runs.iter().map(|(_, len)| len).sum();
        entry.stream =
            Stream::plain(runs.iter().map(|(start, len)| Run::Data(Extent::new(*start, *len))).collect(), size);
        entry
    }

    fn settled(deleted: &mut [Entry], live: &[Entry]) {
        let mut held = Live::default();
        held.take(live.iter());
        settle(deleted, held, || live.iter().cloned());
    }

    fn verdicts(entries: &mut [Entry]) -> Vec<Option<Recovered>> {
        settled(entries, &[]);
        entries.iter().map(|e| e.recovered).collect()
    }

    #[test]
    fn the_file_that_wrote_last_keeps_its_clusters() {
        let mut entries = [entry("/old", false, 10, &[(0, 8)]), entry("/new", false, 20, &[(4, 2)])];
        assert_eq!(verdicts(&mut entries), [Some(Recovered::Partial), Some(Recovered::Intact)]);
        assert_eq!(entries[0].note.as_deref(), Some("/new, made later and deleted too, wrote over its clusters"));
        let mut entries = [entry("/old", false, 10, &[(4, 2)]), entry("/new", false, 20, &[(0, 8)])];
        assert_eq!(verdicts(&mut entries), [Some(Recovered::Overwritten), Some(Recovered::Intact)]);
    }

    #[test]
    fn where_times_do_not_tell_neither_is_intact() {
        let mut entries = [entry("/a", false, 10, &[(0, 8)]), entry("/b", false, 10, &[(4, 2)])];
        assert_eq!(verdicts(&mut entries), [Some(Recovered::Partial); 2]);
    }

    #[test]
    fn within_a_second_the_times_of_change_decide() {
        let of = |path: &str, nanos: u32| {
            let mut entry = entry(path, false, 0, &[(0, 8)]);
            entry.times.btime = Timestamp::unix_nano(7, nanos);
            entry.times.dtime = Some(Timestamp::unix(7));
            entry
        };
        let mut entries = [of("/old", 100), of("/new", 500)];
        assert_eq!(verdicts(&mut entries), [Some(Recovered::Overwritten), Some(Recovered::Intact)]);
    }

    #[test]
    fn of_more_rivals_than_are_compared_none_is_intact() {
        let nested = |i: u32| entry(&format!("/{i}"), false, i.into(), &[(i.into(), 1000 - 4 * u64::from(i))]);
        let mut entries: Vec<Entry> = (0..200).map(nested).collect();
        let verdicts = verdicts(&mut entries);
        assert!(verdicts.iter().skip(MAX_RIVALS).all(|verdict| *verdict != Some(Recovered::Intact)));
    }

    #[test]
    fn the_owner_of_today_is_named() {
        let mut gone = entry("/gone", false, 1, &[(0, 8)]);
        gone.recovered = Some(Recovered::Partial);
        let mut entries = [gone];
        settled(&mut entries, &[entry("/other", true, 2, &[(20, 4)]), entry("/here", true, 2, &[(6, 4)])]);
        assert_eq!(entries[0].note.as_deref(), Some("clusters of it belong to /here now"));
    }

    proptest! {
        #[test]
        fn no_two_intact_files_share_a_byte(files in prop::collection::vec((0u64..60, 1u64..20, 0i64..6), 1..40)) {
            let mut entries: Vec<Entry> =
                files.iter().enumerate().map(|(i, (start, len, made))| entry(&format!("/{i}"), false, *made, &[(*start, *len)])).collect();
            settled(&mut entries, &[]);
            let intact: Vec<&Entry> = entries.iter().filter(|e| e.recovered == Some(Recovered::Intact)).collect();
            for (i, a) in intact.iter().enumerate() {
                for b in &intact[i + 1..] {
                    let shared = extents(a).any(|x| extents(b).any(|y| !x.intersect(y).is_empty()));
                    prop_assert!(!shared || is_same(a, b));
                }
            }
        }
    }
}
