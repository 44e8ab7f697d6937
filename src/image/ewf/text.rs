//! How the evidence was acquired: the header sections, whose third and fourth line name and give values between tabs.

use super::Version;
use crate::bytes::utf16_le;
use crate::image::about::About;
use crate::time::Timestamp;
use std::io::Read;

/// The most text that a header section may hold.
const MOST: u64 = 1 << 20;

/// What the tags of the first format mean.
const FIRST: &[(&str, &str)] = &[
    ("c", "case number"),
    ("n", "evidence number"),
    ("a", "description"),
    ("e", "examiner"),
    ("t", "notes"),
    ("md", "model"),
    ("sn", "serial number"),
    ("l", "label"),
    ("av", "acquired with"),
    ("ov", "acquired on"),
    ("m", "acquired"),
    ("u", "system time"),
    ("pid", "process"),
];

/// What the tags of the second format mean.
const SECOND: &[(&str, &str)] = &[
    ("cn", "case number"),
    ("en", "evidence number"),
    ("nm", "description"),
    ("ex", "examiner"),
    ("nt", "notes"),
    ("md", "model"),
    ("sn", "serial number"),
    ("lb", "label"),
    ("av", "acquired with"),
    ("os", "acquired on"),
    ("tt", "acquired"),
    ("at", "system time"),
    ("pid", "process"),
    ("hs", "sectors of the protected area (HPA)"),
    ("dc", "sectors of the overlay (DCO)"),
];

/// The text of a section that is packed with zlib; UTF-16 where it begins with that mark, else as Windows-1252.
pub(super) fn unpack(packed: &[u8]) -> Option<String> {
    let mut bytes = Vec::new();
    flate2::bufread::ZlibDecoder::new(packed).take(MOST).read_to_end(&mut bytes).ok()?;
    Some(decode(&bytes))
}

/// Text in whatever encoding it begins to be.
pub(super) fn decode(bytes: &[u8]) -> String {
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16_le(rest),
        [0xfe, 0xff, rest @ ..] => {
            let swapped: Vec<u8> = rest.chunks_exact(2).flat_map(|pair| pair.iter().rev().copied()).collect();
            utf16_le(&swapped)
        }
        _ => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

/// Tags and values of the category `main`.
pub(super) fn values(text: &str) -> Vec<(String, String)> {
    let mut lines = text.lines().map(|line| line.trim_end_matches('\r')).skip_while(|line| *line != "main").skip(1);
    let (tags, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let pairs = tags.split('\t').zip(values.split('\t'));
    pairs.map(|(tag, value)| (tag.to_owned(), value.to_owned())).filter(|(_, value)| !value.is_empty()).collect()
}

/// Adds what the values mean, where it is not known yet.
pub(super) fn tell(values: &[(String, String)], version: Version, about: &mut About) {
    let meanings = if version == Version::First { FIRST } else { SECOND };
    for (tag, name) in meanings {
        let known = about.facts.iter().any(|(n, _)| n == name);
        let value = values.iter().find(|(t, _)| t == tag).map(|(_, value)| value.as_str());
        let Some(value) = value.filter(|_| !known) else { continue };
        let is_time = matches!(*name, "acquired" | "system time");
        about.fact(name, if is_time { time(value) } else { value.replace(['\u{1}', '\u{2}'], "\n") });
    }
    let password = |(tag, value): &(String, String)| tag == "p" && value != "0";
    if version == Version::First && values.iter().any(password) && !about.remarks.iter().any(|r| r.contains("password"))
    {
        about.remark("a password was set when it was acquired; it protects nothing that is read here");
    }
}

/// Seconds since 1970, or a local date in words of digits; as it stands where it is neither.
fn time(value: &str) -> String {
    if let Ok(seconds) = value.parse::<i64>() {
        return Timestamp::unix(seconds).rfc3339();
    }
    let parts: Vec<u32> = value.split(' ').filter_map(|part| part.parse().ok()).collect();
    match parts[..] {
        [year, month, day, hour, minute, second] => {
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
        }
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_once_and_by_their_names() {
        let text = "1\r\nmain\r\nc\tn\tm\tp\r\ncase1\t\t2026 1 5 9 3 7\t0\r\n\r\n";
        let mut about = About::default();
        tell(&values(text), Version::First, &mut about);
        tell(&values("1\nmain\nc\tm\nother\t1795616609\n\n"), Version::First, &mut about);
        let facts: Vec<_> = about.facts.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(facts, [("case number", "case1"), ("acquired", "2026-01-05T09:03:07")]);
        assert!(about.remarks.is_empty());
        assert_eq!(time("1795616609"), "2026-11-25T14:23:29Z");
        assert!(values("").is_empty());
    }
}
