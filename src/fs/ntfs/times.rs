//! The two sets of times of a file, and what speaks for times that were set by hand.
//!
//! `$STANDARD_INFORMATION` can be set by any program (`SetFileTime`), `$FILE_NAME` only by the file system, when the name
//! is made. Of the indicators that examiners use, these three are told: they have few harmless causes (a program that
//! unpacks or copies with times is one of them), so they are reasons to look, not proofs.

use super::record::{Attribute, kind};
use super::tree::FileName;
use crate::bytes::Fields;
use crate::fs::Times;
use crate::time::Timestamp;

/// 1980 and 2100, in seconds since 1970: no NTFS volume is older, and no clock is that far ahead.
const POSSIBLE: std::ops::Range<i64> = 315_532_800..4_102_444_800;

/// The times of `$STANDARD_INFORMATION`; the name's where that is missing.
pub(super) fn standard(attributes: &[Attribute<'_>], name: Option<&FileName>) -> Times {
    let standard = attributes.iter().find(|a| a.kind == kind::STANDARD_INFORMATION);
    match (standard.and_then(Attribute::value), name) {
        (None, Some(name)) => of_name(name),
        (value, _) => {
            let time = |at| value.and_then(|value| value.le64(at)).and_then(Timestamp::filetime);
            Times { btime: time(0), mtime: time(8), ctime: time(16), atime: time(24), dtime: None }
        }
    }
}

/// The times of a `$FILE_NAME`.
pub(super) const fn of_name(name: &FileName) -> Times {
    let [btime, mtime, ctime, atime] = name.times;
    Times { btime, mtime, ctime, atime, dtime: None }
}

/// What contradicts the name's times.
pub(super) fn contradictions(times: &Times, name: &Times) -> Vec<String> {
    let mut found = Vec::new();
    if let (Some(own), Some(named)) = (times.btime, name.btime)
        && own.seconds.saturating_add(1) < named.seconds
    {
        found.push(format!("created {}, before its name was made, {}", own.rfc3339(), named.rfc3339()));
    }
    let set = [times.btime, times.mtime, times.atime];
    let whole = set.iter().all(|time| time.is_some_and(|time| time.nanos == 0));
    if whole && name.btime.is_some_and(|time| time.nanos != 0) {
        found.push("its times have whole seconds, the name's do not".to_owned());
    }
    found
}

/// Times that cannot be.
pub(super) fn impossible(times: &Times) -> Vec<String> {
    let all = [("btime", times.btime), ("mtime", times.mtime), ("ctime", times.ctime), ("atime", times.atime)];
    let known = all.into_iter().filter_map(|(which, time)| Some((which, time?)));
    let none = known.filter(|(_, time)| !POSSIBLE.contains(&time.seconds));
    none.map(|(which, time)| format!("{which} is impossible: {}", time.rfc3339())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(steps: u64) -> Times {
        let time = Timestamp::filetime(steps);
        Times { btime: time, mtime: time, ctime: time, atime: time, dtime: None }
    }

    #[test]
    fn times_that_were_set_are_told() {
        let named = all(133_000_000_000_000_001);
        assert!(contradictions(&named, &named).is_empty());
        assert!(contradictions(&all(133_500_000_000_000_001), &named).is_empty(), "a change after the name is none");
        let early = contradictions(&all(130_000_000_000_000_000), &named);
        assert!(early[0].starts_with("created 2012-12-14") && early[1].contains("whole seconds"));
        assert_eq!(early.len(), 2);
        assert_eq!(impossible(&all(1)).len(), 4, "1601");
        assert!(impossible(&named).is_empty());
    }
}
