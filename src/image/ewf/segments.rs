//! The segments of a set: `.E01 … .E99 .EAA … .EZZ .FAA …`, and of the second format `.Ex01 … .Ex99 .ExAA … .EyAA …`.

use super::Version;
use crate::bytes::Fields;
use crate::image::ImageError;
use crate::image::file::{Source, peek, unfit};
use std::path::{Path, PathBuf};

/// Where the segments of a set lie.
pub(super) struct Set {
    /// The segment that was named.
    named: PathBuf,
    /// What the extensions of the set begin with; `None` where the name of the first says nothing of the others.
    prefix: Option<String>,
}

impl Set {
    /// The set to which the segment at `path` belongs.
    ///
    /// # Errors
    /// Where it is not the first, and the first is not beside it.
    pub(super) fn of(path: &Path, version: Version) -> Result<Self, ImageError> {
        let number = number_of(&peek(path, None)?, version);
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        let candidates: &[&str] = match version {
            Version::First => &["E", "e", "S", "s", "L", "l"],
            Version::Second => &["Ex", "ex", "EX"],
        };
        let prefix = candidates.iter().find(|prefix| extension_of(prefix, number).as_deref() == Some(extension));
        let set = Self { named: path.to_owned(), prefix: prefix.map(|p| (*p).to_owned()) };
        if number != 1 && (set.prefix.is_none() || !set.has(1)) {
            let what = format!("is segment {number} of a set, and the first is not beside it");
            return Err(unfit(path, what, "put all segments into one folder, under their own names"));
        }
        Ok(set)
    }

    /// The path of segment `number`.
    fn path(&self, number: usize) -> Option<PathBuf> {
        match &self.prefix {
            Some(prefix) => Some(self.named.with_extension(extension_of(prefix, number)?)),
            None => (number == 1).then(|| self.named.clone()),
        }
    }

    /// True where segment `number` is there.
    pub(super) fn has(&self, number: usize) -> bool {
        self.path(number).is_some_and(|path| path.exists())
    }

    /// Opens segment `number`.
    ///
    /// # Errors
    /// Where it is missing, is another, or cannot be read.
    pub(super) fn open(&self, number: usize, version: Version) -> Result<Source, ImageError> {
        let Some(path) = self.path(number) else {
            let what =
                format!("more segments follow segment {}, but its name does not tell theirs", number.saturating_sub(1));
            return Err(unfit(&self.named, what, "give the segments their own names (.E01 .E02 …) again"));
        };
        if !path.exists() {
            let what = format!("this file, segment {number} of the set, is missing");
            return Err(unfit(&path, what, "put all segments into one folder"));
        }
        let source = Source::open(&path)?;
        let head = source.bytes().first_chunk::<16>().copied().unwrap_or_default();
        let signature = head.first_chunk::<8>().copied().unwrap_or_default();
        let is = number_of(&head, version);
        if super::version_of(&path, &signature)? != Some(version) || is != number {
            let what = format!("should be segment {number} of the set and is none, or another ({is})");
            return Err(unfit(&path, what, "put the segments of one set into one folder, under their own names"));
        }
        Ok(source)
    }
}

/// The number that a segment's header gives it.
fn number_of(head: &[u8; 16], version: Version) -> usize {
    let number = match version {
        Version::First => head.le16(9).map(u32::from),
        Version::Second => head.le32(12),
    };
    number.and_then(|n| usize::try_from(n).ok()).unwrap_or(0)
}

/// The extension of segment `number`: two digits up to 99, then letters; `None` behind the last.
fn extension_of(prefix: &str, number: usize) -> Option<String> {
    let beyond = match number {
        0 => return None,
        1..=99 => return Some(format!("{prefix}{number:02}")),
        _ => number.checked_sub(100)?,
    };
    let upper = prefix.starts_with(|c: char| c.is_ascii_uppercase());
    let letter = |n: usize| char::from_u32((if upper { 'A' } else { 'a' } as u32).checked_add(u32::try_from(n).ok()?)?);
    // The letter before the last two counts on from the prefix's own.
    let (kept, last) = prefix.split_at_checked(prefix.len().checked_sub(1)?)?;
    let last = last.chars().next()? as u32;
    let carried = char::from_u32(last.checked_add(u32::try_from(beyond / 676).ok()?)?)?;
    let within =
        carried.is_ascii_alphabetic() && carried.is_ascii_uppercase() == char::from_u32(last)?.is_ascii_uppercase();
    within.then(|| Some(format!("{kept}{carried}{}{}", letter(beyond / 26 % 26)?, letter(beyond % 26)?)))?
}

#[cfg(test)]
mod tests {
    use super::extension_of;

    #[test]
    fn extensions_are_counted_as_the_programs_do() {
        let name = |prefix, n| extension_of(prefix, n).unwrap_or_default();
        assert_eq!([name("E", 1), name("E", 99), name("E", 100), name("E", 125)], ["E01", "E99", "EAA", "EAZ"]);
        assert_eq!([name("E", 126), name("E", 775), name("E", 776)], ["EBA", "EZZ", "FAA"]);
        assert_eq!([name("s", 100), name("Ex", 100), name("Ex", 776)], ["saa", "ExAA", "EyAA"]);
        assert_eq!(extension_of("E", 100 + 22 * 676), None);
        assert_eq!(extension_of("E", 0), None);
    }
}
