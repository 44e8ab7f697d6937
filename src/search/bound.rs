//! Bounds as people write them: numbers of bytes, days and moments.

use time::OffsetDateTime;
use time::format_description::well_known::{Iso8601, Rfc3339};

/// A number of bytes, with `K`, `M`, `G` or `T` for powers of 1024.
pub fn number(text: &str) -> Option<u64> {
    let (digits, unit) = match text.char_indices().last()? {
        (at, c) if c.is_ascii_alphabetic() => (text.get(..at)?, c.to_ascii_uppercase()),
        _ => (text, 'B'),
    };
    let shift = match unit {
        'B' => 0,
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1u64.checked_shl(shift)?)
}

/// First and last second of a day, or of a moment. Without a zone it is UTC.
pub fn day_or_time(text: &str) -> Option<(i64, i64)> {
    let zoned = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let seconds = if let Some(time) = zoned(text).or_else(|| zoned(&format!("{text}Z"))) {
        (time.unix_timestamp(), time.unix_timestamp())
    } else {
        let day = time::Date::parse(text, &Iso8601::DATE).ok()?;
        let start = day.midnight().assume_utc().unix_timestamp();
        (start, start.checked_add(86_399)?)
    };
    let held = -9_200_000_000..9_200_000_000;
    (held.contains(&seconds.0) && held.contains(&seconds.1)).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read() {
        assert_eq!(number("64K"), Some(65536));
        assert_eq!(number("x"), None);
        assert_eq!(day_or_time("1970-01-02"), Some((86_400, 172_799)));
        assert_eq!(day_or_time("1970-01-02T00:00:01Z"), Some((86_401, 86_401)));
        assert_eq!(day_or_time("soon"), None);
    }
}
