//! The pieces of a file: runs that are joined where one follows on the other, and how much of a deleted file's are still free (UDF, UFS).

use super::Recovered;
use crate::content::Run;
use crate::extent::{Extent, ExtentSet};

/// Appends a run, joined to the last where it follows on it.
pub(super) fn push(runs: &mut Vec<Run>, run: Run) {
    match (runs.last_mut(), run) {
        (_, run) if run.is_empty() => {}
        (Some(Run::Data(last)), Run::Data(next)) if last.end() == next.start => {
            last.len = last.len.saturating_add(next.len);
        }
        (Some(Run::Hole(last)), Run::Hole(next)) => *last = last.saturating_add(next),
        _ => runs.push(run),
    }
}

/// Where the bytes of runs lie.
pub(super) fn extents(runs: &[Run]) -> impl Iterator<Item = Extent> + '_ {
    runs.iter().filter_map(|run| if let Run::Data(extent) = run { Some(*extent) } else { None })
}

/// How much of `size` bytes is still free.
pub(super) fn verdict(runs: &[Run], size: u64, free: &ExtentSet) -> Recovered {
    let (mut left, mut held, mut kept) = (size, 0u64, 0u64);
    for run in runs {
        let len = run.len().min(left);
        left = left.saturating_sub(len);
        if let Run::Data(extent) = run {
            held = held.saturating_add(len);
            kept = kept.saturating_add(free.within(Extent::new(extent.start, len)).total());
        }
    }
    match kept {
        _ if left > 0 => Recovered::Partial,
        kept if kept == held => Recovered::Intact,
        0 => Recovered::Overwritten,
        _ => Recovered::Partial,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_where_all_of_it_is_free() {
        let free = ExtentSet::new(vec![Extent::new(0, 100), Extent::new(200, 50)]);
        let of = |runs: &[Run], size| verdict(runs, size, &free);
        let data = |start, len| Run::Data(Extent::new(start, len));
        assert_eq!(of(&[data(10, 90), Run::Hole(5), data(200, 64)], 145), Recovered::Intact);
        assert_eq!(of(&[data(10, 90), data(200, 64)], 154), Recovered::Partial);
        assert_eq!(of(&[data(100, 50)], 50), Recovered::Overwritten);
        assert_eq!(of(&[data(10, 20)], 21), Recovered::Partial);
        let mut runs = Vec::new();
        [data(0, 5), data(5, 5), Run::Hole(1), Run::Hole(0), Run::Hole(2), data(9, 0)]
            .into_iter()
            .for_each(|run| push(&mut runs, run));
        assert_eq!(runs, [data(0, 10), Run::Hole(3)]);
        assert_eq!(extents(&runs).count(), 1);
    }
}
