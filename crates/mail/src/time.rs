//! Time as a value. Machines are told the time; they never ask for it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Monotonic time: microseconds since the shell started. Deadlines are of this kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

/// Wall-clock time: milliseconds since the Unix epoch. Times that are stored or shown are of this kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub i64);

/// Both clocks, read at the same instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub mono: Mono,
    /// For what is stored or shown.
    pub wall: Wall,
}

impl Add<Duration> for Mono {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Mono {
    type Output = Duration;
    /// The time from `earlier` to `self`; zero when `earlier` is later.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Wall {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub for Wall {
    type Output = Duration;
    /// The time from `earlier` to `self`; zero when `earlier` is later (a clock may be set back).
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Now {
    /// The monotonic instant at which the wall clock is expected to read `wall`; now, if that is past.
    #[must_use]
    pub fn mono_at(self, wall: Wall) -> Mono {
        self.mono + (wall - self.wall)
    }

    /// This instant moved forward by `span` on both clocks.
    #[must_use]
    pub fn later(self, span: Duration) -> Self {
        Self { mono: self.mono + span, wall: self.wall + span }
    }
}

/// The civil date and time (UTC) of a wall-clock instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year of the proleptic Gregorian calendar.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 is Sunday.
    pub weekday: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999.
    pub millis: u16,
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY_SECS: i64 = 86_400;

impl Wall {
    /// Whole days since the Unix epoch: the name of a day's history.
    #[must_use]
    pub fn day(self) -> i64 {
        self.0.div_euclid(DAY_SECS * 1000)
    }

    /// The civil date and time in UTC.
    #[must_use]
    pub fn civil(self) -> Civil {
        let millis = self.0.rem_euclid(1000);
        let secs = self.0.div_euclid(1000);
        let days = secs.div_euclid(DAY_SECS);
        let of_day = secs.rem_euclid(DAY_SECS);
        // Days to civil, by the era method: eras of 400 years starting on 1 March 0000.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil {
            year,
            month: month as u8,
            day: day as u8,
            weekday: (days + 4).rem_euclid(7) as u8,
            hour: (of_day / 3600) as u8,
            minute: (of_day / 60 % 60) as u8,
            second: (of_day % 60) as u8,
            millis: millis as u16,
        }
    }

    /// As a message's `Date` field has it: `Wed, 25 Nov 2026 07:00:28 +0000` (RFC 5322 §3.3).
    #[must_use]
    pub fn rfc5322(self) -> String {
        let civil = self.civil();
        format!(
            "{}, {:02} {} {:04} {:02}:{:02}:{:02} +0000",
            WEEKDAYS[usize::from(civil.weekday)],
            civil.day,
            MONTHS[usize::from(civil.month) - 1],
            civil.year,
            civil.hour,
            civil.minute,
            civil.second
        )
    }
}

/// `2026-11-25T07:00:28.123Z`.
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = self.civil();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second, civil.millis
        )
    }
}

/// A span as people read it: `850ms`, `12s`, `4m 30s`, `3h 12m`, `2d 4h`.
#[must_use]
pub fn brief(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0 => format!("{}ms", span.as_millis()),
        1..60 => format!("{secs}s"),
        60..3600 => pair(secs / 60, "m", secs % 60, "s"),
        3600..86_400 => pair(secs / 3600, "h", secs / 60 % 60, "m"),
        _ => pair(secs / 86_400, "d", secs / 3600 % 24, "h"),
    }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit} {small}{small_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_dates() {
        let check = |millis: i64, expected: &str| assert_eq!(Wall(millis).to_string(), expected);
        check(0, "1970-01-01T00:00:00.000Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(1_795_590_028_123, "2026-11-25T07:00:28.123Z");
        check(-1, "1969-12-31T23:59:59.999Z");
        assert_eq!(Wall(1_795_590_028_000).rfc5322(), "Wed, 25 Nov 2026 07:00:28 +0000");
    }

    #[test]
    fn spans_read_well() {
        let check = |secs: u64, expected: &str| assert_eq!(brief(Duration::from_secs(secs)), expected);
        check(59, "59s");
        check(60, "1m");
        check(270, "4m 30s");
        check(11_520, "3h 12m");
        check(187_200, "2d 4h");
    }
}
