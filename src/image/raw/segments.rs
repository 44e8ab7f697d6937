//! The segments of a split image, by the names that imaging programs give them.
//!
//! `.001 .002 …`, `.000 …`, `.0001 …`, `.01 …`, `.1 …` (FTK Imager, dcfldd, EnCase), `.aa .ab …`, `disk.ddaa …`, `xaa …` (split), `.part1 …`,
//! `disk.1of3 …`. Numbers that may as well tell disks apart, `disk1.dd`, are none. A gap in the numbering is an error that names the
//! missing segment: an image with a hole in it is not passed off as whole.

use super::super::ImageError;
use super::super::file::unfit;
use std::path::{Path, PathBuf};

/// Segments of one image.
const MOST: usize = 1 << 16;

/// A name with a counter in it.
struct Numbered<'a> {
    before: &'a str,
    counter: &'a str,
    /// What stands behind: `of3`.
    behind: &'a str,
    /// How many segments the name says that there are.
    total: Option<usize>,
    /// Whether the name alone says that it is a segment: others need a second one beside them.
    sure: bool,
}

/// `first` and the segments that follow it, in order; only `first` where its name does not number it.
///
/// # Errors
/// Where a segment is missing, or `first` is not the first one.
pub(super) fn paths(first: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let alone = || Ok(vec![first.to_owned()]);
    let Some(name) = first.file_name().and_then(|name| name.to_str()) else { return alone() };
    let Some(numbered) = numbered(name) else { return alone() };
    let sibling = |counter: &str| {
        let path = first.with_file_name(format!("{}{counter}{}", numbered.before, numbered.behind));
        path.exists().then_some(path)
    };
    if !is_first(numbered.counter) {
        let before = predecessor(numbered.counter).and_then(|counter| sibling(&counter));
        return match before {
            Some(_) => Err(unfit(first, "is not the first segment of its set", "name the first one (.000, .001, .aa)")),
            None => alone(),
        };
    }
    let (mut found, mut counter) = (vec![first.to_owned()], numbered.counter.to_owned());
    while let Some(next) = successor(&counter).filter(|_| found.len() < MOST) {
        match sibling(&next) {
            Some(path) => found.push(path),
            None => {
                let later = successor(&next).and_then(|counter| sibling(&counter));
                let later = later.is_some_and(|later| numbered.sure || sizes_fit(&[first.to_owned(), later]));
                let short = numbered.total.is_some_and(|total| found.len() < total);
                if later || short {
                    let path = first.with_file_name(format!("{}{next}{}", numbered.before, numbered.behind));
                    let what =
                        if later { "this segment is missing, a later one is there" } else { "this segment is missing" };
                    return Err(unfit(&path, what, "put all segments into one folder"));
                }
                break;
            }
        }
        counter = next;
    }
    if numbered.sure || sizes_fit(&found) { Ok(found) } else { alone() }
}

/// All segments but the last have one size, and the last is no larger.
fn sizes_fit(paths: &[PathBuf]) -> bool {
    let sizes: Vec<u64> = paths.iter().map(|path| std::fs::metadata(path).map_or(0, |meta| meta.len())).collect();
    match sizes.split_last() {
        Some((last, [first, rest @ ..])) => rest.iter().all(|size| size == first) && last <= first,
        _ => false,
    }
}

/// Finds the counter in a name.
fn numbered(name: &str) -> Option<Numbered<'_>> {
    let split = |at: usize, sure| {
        let (before, counter) = name.split_at_checked(at)?;
        Some(Numbered { before, counter, behind: "", total: None, sure })
    };
    let tail = |is: fn(&u8) -> bool| name.bytes().rev().take_while(is).count();
    let digits = tail(u8::is_ascii_digit);
    let start = name.len().checked_sub(digits)?;
    let stem = name.get(..start)?;
    if digits > 0 {
        let lower = stem.to_ascii_lowercase();
        if let Some(of) = lower.strip_suffix("of") {
            let count = of.bytes().rev().take_while(u8::is_ascii_digit).count();
            let at = of.len().checked_sub(count).filter(|_| count > 0)?;
            let total = name.get(start..)?.parse().ok();
            let (before, counter, behind) = (name.get(..at)?, name.get(at..of.len())?, name.get(of.len()..)?);
            return Some(Numbered { before, counter, behind, total, sure: true });
        }
        if stem.ends_with('.') {
            return split(start, digits >= 3);
        }
        return if lower.ends_with(".part") { split(start, true) } else { None };
    }
    // `split` counts in two letters or more, behind whatever prefix it is given.
    let letters = tail(u8::is_ascii_lowercase).min(3);
    let width = [3, 2].into_iter().find(|width| {
        let end = name.get(name.len().wrapping_sub(*width)..);
        letters >= *width && end.is_some_and(|end| end.bytes().take(width.saturating_sub(1)).all(|byte| byte == b'a'))
    })?;
    let at = name.len().checked_sub(width)?;
    split(at, name.get(..at)?.ends_with('.') && name.ends_with("aa"))
}

fn is_first(counter: &str) -> bool {
    counter.bytes().all(|byte| byte == b'a')
        || counter.parse::<u32>().is_ok_and(|number| number <= 1 && !counter.is_empty())
}

/// The counter that follows: digits count up and, without leading zeros, grow; letters count up; none behind the last.
fn successor(counter: &str) -> Option<String> {
    if counter.bytes().all(|byte| byte.is_ascii_digit()) {
        let next = counter.parse::<u32>().ok()?.checked_add(1)?;
        let text = format!("{next:0width$}", width = counter.len());
        let grows = counter.len() == 1 || !counter.starts_with('0');
        return (text.len() == counter.len() || grows).then_some(text);
    }
    let mut letters = counter.as_bytes().to_vec();
    for letter in letters.iter_mut().rev() {
        match *letter {
            b'z' => *letter = b'a',
            b'a'..=b'y' => {
                *letter = letter.saturating_add(1);
                return String::from_utf8(letters).ok();
            }
            _ => return None,
        }
    }
    None
}

fn predecessor(counter: &str) -> Option<String> {
    let number = counter.parse::<u32>().ok()?.checked_sub(1)?;
    Some(format!("{number:0width$}", width = counter.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_count_up() {
        let next = |counter: &str| successor(counter).unwrap_or_default();
        assert_eq!([next("009"), next("az"), next("9"), next("99"), next("01")], ["010", "ba", "10", "100", "02"]);
        assert_eq!(
            (successor("099").as_deref(), successor("zz"), successor("0999").as_deref()),
            (Some("100"), None, Some("1000"))
        );
    }

    #[test]
    fn numbers_that_tell_disks_apart_are_no_counters() {
        for name in ["disk1.dd", "disk", "image.raw", "evidence.dd", "drama", "3of"] {
            let found = numbered(name);
            assert!(found.is_none_or(|found| !found.sure), "{name}");
        }
    }

    fn set(names: &[&str], sizes: &[usize]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, size) in names.iter().zip(sizes) {
            std::fs::write(dir.path().join(name), vec![0; *size]).expect("it is written");
        }
        dir
    }

    fn found(dir: &tempfile::TempDir, first: &str) -> Result<usize, String> {
        paths(&dir.path().join(first)).map(|paths| paths.len()).map_err(|e| e.to_string())
    }

    #[test]
    fn sets_of_every_numbering_are_found() {
        for names in [
            ["d.001", "d.002", "d.003"],
            ["d.dd.000", "d.dd.001", "d.dd.002"],
            ["d.01", "d.02", "d.03"],
            ["d.1", "d.2", "d.3"],
            ["d.aa", "d.ab", "d.ac"],
            ["xaa", "xab", "xac"],
            ["d.ddaaa", "d.ddaab", "d.ddaac"],
            ["d.img.part1", "d.img.part2", "d.img.part3"],
            ["d.1of3", "d.2of3", "d.3of3"],
        ] {
            let dir = set(&names, &[1000, 1000, 500]);
            assert_eq!(found(&dir, names[0]), Ok(3), "{names:?}");
            std::fs::remove_file(dir.path().join(names[1])).expect("it is removed");
            let error = found(&dir, names[0]).expect_err("a hole is noticed");
            assert!(error.contains(names[1]), "{error}");
        }
        let dir = set(&["d.1of3", "d.2of3"], &[9, 9]);
        assert!(found(&dir, "d.1of3").expect_err("the last is missing").contains("d.3of3"));
        // Logs that count up are no image.
        assert_eq!(found(&set(&["log.1", "log.2", "log.3"], &[5, 7, 9]), "log.1"), Ok(1));
        let dir = set(&["d.001", "d.002"], &[9, 9]);
        assert!(found(&dir, "d.002").is_err());
    }
}
