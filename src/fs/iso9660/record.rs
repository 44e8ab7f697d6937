//! Directory records of ISO 9660 (ECMA-119, section 9.1): a name, a place, a size, a time.

use super::descriptor::Names;
use crate::bytes::{Fields, utf16_be};
use crate::extent::Extent;
use crate::time::Timestamp;
use std::borrow::Cow;
use time::{Date, Month, PrimitiveDateTime, Time};

/// A record of a directory.
#[derive(Clone, Debug)]
pub(super) struct Record<'a> {
    /// Its place as it is stored: first block, blocks of the extended attribute record before the content, bytes.
    pub(super) block: u32,
    pub(super) attribute_blocks: u8,
    pub(super) len: u32,
    pub(super) time: Option<Timestamp>,
    pub(super) flags: u8,
    /// Content is spread over the disc in units, with gaps between them.
    pub(super) interleaved: bool,
    /// The name as it is stored.
    pub(super) name: &'a [u8],
    /// What stands behind the name: fields of SUSP.
    pub(super) system: &'a [u8],
    /// Fields whose two copies differ.
    pub(super) differing: Option<&'static str>,
}

impl<'a> Record<'a> {
    /// Flags.
    pub(super) const HIDDEN: u8 = 1;
    pub(super) const DIRECTORY: u8 = 2;
    pub(super) const ASSOCIATED: u8 = 4;
    pub(super) const CONTINUED: u8 = 0x80;

    /// Reads one; `raw` is as long as its first byte says.
    pub(super) fn parse(raw: &'a [u8]) -> Option<Self> {
        let len = usize::from(raw.byte(32)?);
        let name = raw.span(33, len)?;
        // A byte of padding makes the name end at an even one.
        let end = len.saturating_add(33).next_multiple_of(2).min(raw.len());
        let system = raw.get(end..)?;
        let (block, size) = (raw.le32(2)?, raw.le32(10)?);
        let differing = match (block == raw.be32(6)?, size == raw.be32(14)?) {
            (true, true) => None,
            (false, _) => Some("the place"),
            (true, false) => Some("the size"),
        };
        Some(Self {
            block,
            attribute_blocks: raw.byte(1)?,
            len: size,
            time: short_time(raw.span(18, 7)?),
            flags: raw.byte(25)?,
            interleaved: raw.byte(26)? != 0 || raw.byte(27)? != 0,
            name,
            system,
            differing,
        })
    }

    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Where the content lies, in blocks of `block` bytes.
    pub(super) fn extent(&self, block: u64) -> Extent {
        let first = u64::from(self.block).saturating_add(u64::from(self.attribute_blocks));
        Extent::new(first.saturating_mul(block), u64::from(self.len))
    }

    /// Whether it is the directory itself or the one above.
    pub(super) fn is_self_or_parent(&self) -> bool {
        matches!(self.name, [0 | 1])
    }

    /// The name as a user sees it: without the version 1, and without a dot that ends it.
    pub(super) fn title(&self, names: Names) -> String {
        let text: Cow<'_, str> = match names {
            Names::Joliet => utf16_be(self.name).into(),
            _ => match std::str::from_utf8(self.name) {
                Ok(text) => text.into(),
                Err(_) => self.name.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
            },
        };
        let bare = text.strip_suffix(";1").unwrap_or(&text);
        let bare = if names == Names::Joliet { bare } else { bare.strip_suffix('.').unwrap_or(bare) };
        let bare = if bare.is_empty() { &text } else { bare };
        bare.replace(['/', '\0'], "\u{fffd}")
    }
}

/// Seven bytes: years since 1900, month, day, hour, minute, second, and quarters of an hour east of Greenwich.
pub(super) fn short_time(raw: &[u8]) -> Option<Timestamp> {
    let [year, month, day, hour, minute, second, zone] = raw.array::<7>(0)?;
    moment(i32::from(year).checked_add(1900)?, [month, day, hour, minute, second], zone)
}

/// Seventeen bytes: the same in digits, with hundredths of a second.
pub(super) fn long_time(raw: &[u8]) -> Option<Timestamp> {
    let number = |at: usize, len: usize| std::str::from_utf8(raw.span(at, len)?).ok()?.parse::<u16>().ok();
    let small = |at: usize| u8::try_from(number(at, 2)?).ok();
    let year = i32::from(number(0, 4)?);
    moment(year, [small(4)?, small(6)?, small(8)?, small(10)?, small(12)?], raw.byte(16)?)
}

fn moment(year: i32, [month, day, hour, minute, second]: [u8; 5], zone: u8) -> Option<Timestamp> {
    let date = Date::from_calendar_date(year, Month::try_from(month).ok()?, day).ok()?;
    let clock = Time::from_hms(hour, minute, second).ok()?;
    let local = PrimitiveDateTime::new(date, clock).assume_utc().unix_timestamp();
    let east = i64::from(zone.cast_signed());
    (-48..=56).contains(&east).then_some(())?;
    Some(Timestamp::unix(local.checked_sub(east.checked_mul(900)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        let shown = |time: Option<Timestamp>| time.map(|time| time.rfc3339());
        assert_eq!(shown(short_time(&[124, 3, 1, 12, 0, 1, 4])).as_deref(), Some("2024-03-01T11:00:01Z"));
        assert_eq!(shown(short_time(&[124, 3, 1, 12, 0, 1, 0xec])).as_deref(), Some("2024-03-01T17:00:01Z"));
        assert_eq!(shown(long_time(b"2024030112000150\x04")).as_deref(), Some("2024-03-01T11:00:01Z"));
        assert_eq!(shown(short_time(&[0; 7])), None);
        assert_eq!(shown(long_time(b"0000000000000000\0")), None);
    }
}
