//! Names in OSTA Compressed Unicode (UDF 2.60, 2.1.1), fixed strings, paths of symbolic links (ECMA-167, 4/14.16.1) and
//! times (1/7.3).

use crate::bytes::{Fields, utf16_be};
use crate::time::{Precision, Timestamp};
use time::{Date, Month, PrimitiveDateTime, Time};

/// Text of which the first byte says how wide its characters are.
pub(super) fn decode(raw: &[u8]) -> String {
    match raw.split_first() {
        // 254 and 255 mark names of deleted files that were made unique.
        Some((8 | 254, text)) => text.iter().map(|byte| char::from(*byte)).collect(),
        Some((16 | 255, text)) => utf16_be(text),
        Some(_) => String::from_utf8_lossy(raw).into_owned(),
        None => String::new(),
    }
}

/// A name, without what would be taken for a path.
pub(super) fn name(raw: &[u8]) -> String {
    decode(raw).replace(['/', '\0'], "\u{fffd}")
}

/// A field whose last byte is the length of the text in it.
pub(super) fn fixed(field: &[u8]) -> String {
    let len = field.last().map_or(0, |len| usize::from(*len));
    let text = field.get(..len.min(field.len().saturating_sub(1))).unwrap_or_default();
    decode(text).trim_end_matches(['\0', ' ']).to_owned()
}

/// The target of a symbolic link out of its components.
pub(super) fn target(raw: &[u8]) -> Option<String> {
    let (mut path, mut at) = (String::new(), 0usize);
    while at < raw.len() {
        let (kind, len) = (raw.byte(at)?, usize::from(raw.byte(at.checked_add(1)?)?));
        let text = raw.span(at.checked_add(4)?, len)?;
        at = at.checked_add(4)?.checked_add(len)?;
        if !path.is_empty() && !path.ends_with('/') {
            path.push('/');
        }
        match kind {
            1 | 2 => path = "/".to_owned(),
            3 => path.push_str(".."),
            4 => path.push('.'),
            5 => path.push_str(&name(text)),
            _ => return None,
        }
    }
    Some(path)
}

/// A time, twelve bytes; `None` where it is none.
pub(super) fn time(raw: &[u8]) -> Option<Timestamp> {
    let [low, high, year_low, year_high, month, day, hour, minute, second, centis, hundreds, micros] = raw.array(0)?;
    let zone = u16::from_le_bytes([low, high]);
    let year = i16::from_le_bytes([year_low, year_high]);
    let date = Date::from_calendar_date(year.into(), Month::try_from(month).ok()?, day).ok()?;
    let clock = Time::from_hms(hour, minute, if second == 60 { 59 } else { second }).ok()?;
    let written = PrimitiveDateTime::new(date, clock).assume_utc().unix_timestamp();
    // Twelve bits with a sign: minutes east of Greenwich.
    let east = i64::from((zone << 4).cast_signed() >> 4);
    let local = zone >> 12 == 1 && !(-1440..=1440).contains(&east);
    let east = if zone >> 12 == 1 && !local { east } else { 0 };
    let fraction = [(centis, 10_000_000u32), (hundreds, 100_000), (micros, 1000)];
    let nanos = fraction.into_iter().map(|(count, of)| u32::from(count.min(99)).saturating_mul(of)).sum();
    let seconds = written.checked_sub(east.checked_mul(60)?)?;
    Some(Timestamp { seconds, nanos, precision: Precision::Nano, local })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_widths_are_read() {
        assert_eq!(decode(b"\x08\xfcber"), "\u{fc}ber");
        assert_eq!(decode(b"\x10\x67\x2c\0a"), "\u{672c}a");
        assert_eq!(fixed(b"\x08Label\0\0\0\x06"), "Label");
        assert_eq!(name(b"\x08a/b"), "a\u{fffd}b");
    }

    #[test]
    fn paths_are_put_together() {
        let raw =
            [&[2u8, 0, 0, 0][..], &[5, 4, 0, 0], b"\x08etc", &[3, 0, 0, 0, 4, 0, 0, 0, 5, 2, 0, 0], b"\x08x"].concat();
        assert_eq!(target(&raw).as_deref(), Some("/etc/.././x"));
        assert_eq!(target(&[3, 0, 0, 0, 5, 9]), None);
    }

    #[test]
    fn times_are_told_in_utc_where_they_have_a_zone() {
        let shown = |zone: u16| {
            let raw = [&zone.to_le_bytes()[..], &2024u16.to_le_bytes(), &[3, 1, 12, 0, 1, 25, 3, 4]].concat();
            time(&raw).map(|time| time.rfc3339())
        };
        assert_eq!(shown(0x1000 | 60).as_deref(), Some("2024-03-01T11:00:01.250304000Z"));
        assert_eq!(shown(0x1000 | (-300i16 as u16 & 0xfff)).as_deref(), Some("2024-03-01T17:00:01.250304000Z"));
        assert_eq!(shown(0x1000 | (-2047i16 as u16 & 0xfff)).as_deref(), Some("2024-03-01T12:00:01.250304000"));
        assert_eq!(time(&[0; 12]), None);
    }
}
