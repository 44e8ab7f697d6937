//! Points in time as file systems keep them: with their own precision and, for FAT, without a zone.
//!
//! Sources: Windows FILETIME ([MS-DTYP] 2.3.3), POSIX time with the ext4 extra fields, FAT date and time
//! (Microsoft FAT specification, "Date and Time Formats"), HFS+ dates (Apple TN1150), exFAT timestamps (Microsoft exFAT specification, 7.4.8 to
//! 7.4.10).

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// How finely a time was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// Nanoseconds.
    Nano,
    /// 100 nanoseconds (NTFS).
    HundredNano,
    /// 10 milliseconds (FAT's time of creation).
    Centi,
    /// Seconds.
    Second,
    /// Two seconds (FAT's time of change).
    TwoSeconds,
    /// Days (FAT's time of access).
    Day,
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01T00:00:00, in UTC or, if `local`, on the clock of the machine that wrote it.
    pub seconds: i64,
    /// Nanoseconds, below 10^9.
    pub nanos: u32,
    /// How finely it was kept.
    pub precision: Precision,
    /// True where the zone is not known.
    pub local: bool,
}

const FILETIME_TO_UNIX: i64 = 11_644_473_600;
const MAC_TO_UNIX: i64 = 2_082_844_800;

impl Timestamp {
    /// 100-nanosecond steps since 1601; 0 is "no time".
    pub fn filetime(steps: u64) -> Option<Self> {
        if steps == 0 {
            return None;
        }
        let seconds = i64::try_from(steps / 10_000_000).ok()?.checked_sub(FILETIME_TO_UNIX)?;
        let nanos = u32::try_from(steps % 10_000_000).ok()?.checked_mul(100)?;
        Some(Self { seconds, nanos, precision: Precision::HundredNano, local: false })
    }

    /// Seconds since 1970.
    pub const fn unix(seconds: i64) -> Self {
        Self { seconds, nanos: 0, precision: Precision::Second, local: false }
    }

    /// Seconds since 1904-01-01 in UTC (HFS+); 0 is "no time".
    pub const fn mac(seconds: u32) -> Option<Self> {
        if seconds == 0 {
            return None;
        }
        Some(Self::unix((seconds as i64).saturating_sub(MAC_TO_UNIX)))
    }

    /// Seconds since 1970 and nanoseconds; `None` where those are no fraction of a second.
    pub const fn unix_nano(seconds: i64, nanos: u32) -> Option<Self> {
        if nanos >= 1_000_000_000 {
            return None;
        }
        Some(Self { seconds, nanos, precision: Precision::Nano, local: false })
    }

    /// A FAT (or ZIP) date and time of day: no zone, two seconds. `None` for zero and for no date.
    pub fn dos(date: u16, time: u16) -> Option<Self> {
        let month = Month::try_from(u8::try_from(date >> 5 & 15).ok()?).ok()?;
        let year = i32::from(date >> 9).checked_add(1980)?;
        let day = Date::from_calendar_date(year, month, u8::try_from(date & 31).ok()?).ok()?;
        let (hour, minute) = (u8::try_from(time >> 11).ok()?, u8::try_from(time >> 5 & 63).ok()?);
        let second = u8::try_from((time & 31).checked_mul(2)?).ok()?;
        let clock = Time::from_hms(hour, minute, second).ok()?;
        let seconds = PrimitiveDateTime::new(day, clock).assume_utc().unix_timestamp();
        Some(Self { seconds, nanos: 0, precision: Precision::TwoSeconds, local: true })
    }

    /// The same, with the 10-millisecond steps (0 to 199) of FAT's time of creation.
    pub fn dos_fine(date: u16, time: u16, centis: u8) -> Option<Self> {
        let coarse = Self::dos(date, time)?;
        let centis = u32::from(centis);
        Some(Self {
            seconds: coarse.seconds.checked_add(i64::from(centis / 100))?,
            nanos: (centis % 100).checked_mul(10_000_000)?,
            precision: Precision::Centi,
            local: true,
        })
    }

    /// A FAT date alone.
    pub fn dos_date(date: u16) -> Option<Self> {
        Some(Self { precision: Precision::Day, ..Self::dos(date, 0)? })
    }

    /// An exFAT Timestamp, its 10msIncrement (0 to 199; none for the time of access) and its UtcOffset. With the
    /// OffsetValid bit the time is in UTC, without it on the clock of the machine that wrote it.
    pub fn exfat(stamp: u32, centis: Option<u8>, offset: u8) -> Option<Self> {
        let (date, time) = (u16::try_from(stamp >> 16).ok()?, u16::try_from(stamp & 0xffff).ok()?);
        let fine = centis.filter(|centis| *centis < 200).and_then(|centis| Self::dos_fine(date, time, centis));
        let local = fine.or_else(|| Self::dos(date, time))?;
        if offset & 0x80 == 0 {
            return Some(local);
        }
        // OffsetFromUtc: seven bits with a sign, in quarters of an hour.
        let quarters = i64::from((offset << 1).cast_signed() >> 1);
        let seconds = local.seconds.checked_sub(quarters.checked_mul(900)?)?;
        Some(Self { seconds, local: false, ..local })
    }

    /// RFC 3339 with as many digits as were kept; without the `Z` where the zone is not known.
    /// A year that RFC 3339 cannot write is given as seconds since 1970, `@N`.
    pub fn rfc3339(&self) -> String {
        let Some(t) = OffsetDateTime::from_unix_timestamp(self.seconds).ok().filter(|t| t.year() >= 0) else {
            return format!("@{}", self.seconds);
        };
        let fraction = match self.precision {
            Precision::Nano => format!(".{:09}", self.nanos),
            Precision::HundredNano => format!(".{:07}", self.nanos / 100),
            Precision::Centi => format!(".{:02}", self.nanos / 10_000_000),
            Precision::Second | Precision::TwoSeconds | Precision::Day => String::new(),
        };
        let zone = if self.local { "" } else { "Z" };
        let (year, month, day) = (t.year(), u8::from(t.month()), t.day());
        let (hour, minute, second) = (t.hour(), t.minute(), t.second());
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}")
    }

    /// The precision where the digits do not show it.
    pub const fn coarse(&self) -> Option<&'static str> {
        match self.precision {
            Precision::TwoSeconds => Some("2s"),
            Precision::Day => Some("1d"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_prints_its_own_precision() {
        // [MS-DTYP]: 116444736000000000 is 1970-01-01.
        let t = Timestamp::filetime(116_444_736_000_000_001).map(|t| t.rfc3339());
        assert_eq!(t.as_deref(), Some("1970-01-01T00:00:00.0000001Z"));
        assert_eq!(Timestamp::unix(951_782_400).rfc3339(), "2000-02-29T00:00:00Z");
        let fat = Timestamp::dos_fine(0x58_61, 0x6000, 150).map(|t| t.rfc3339());
        assert_eq!(fat.as_deref(), Some("2024-03-01T12:00:01.50"));
    }

    #[test]
    fn exfat_times_with_an_offset_are_in_utc() {
        let stamp = 0x5861_6000;
        let shown = |centis, offset| Timestamp::exfat(stamp, centis, offset).map(|t| t.rfc3339());
        assert_eq!(shown(Some(150), 0).as_deref(), Some("2024-03-01T12:00:01.50"));
        assert_eq!(shown(None, 0x80).as_deref(), Some("2024-03-01T12:00:00Z"));
        // The specification's table: 0xE0 is UTC-08:00, 0x8C UTC+03:00, 0xFF UTC-00:15.
        assert_eq!(shown(None, 0xe0).as_deref(), Some("2024-03-01T20:00:00Z"));
        assert_eq!(shown(Some(200), 0x8c).as_deref(), Some("2024-03-01T09:00:00Z"));
        assert_eq!(shown(None, 0xff).as_deref(), Some("2024-03-01T12:15:00Z"));
        assert_eq!(Timestamp::exfat(0, Some(0), 0x80), None);
    }

    #[test]
    fn what_is_no_date_is_none() {
        assert_eq!(Timestamp::dos(0, 0), None);
        assert_eq!(Timestamp::dos(0x5841, 0xffff), None);
        assert_eq!(Timestamp::unix_nano(0, 1_000_000_000), None);
        assert_eq!(Timestamp::filetime(u64::MAX).map(|t| t.rfc3339().starts_with('@')), Some(true));
    }
}
