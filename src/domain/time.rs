//! Times in UTC, as Unix milliseconds inside and RFC 3339 with a `Z` outside.
//!
//! Input without an offset is UTC: every old record that can be checked proves that its naive times were.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use super::Decimal;
use super::decimal::{ascii, eight_digits};

const DATE_BYTES: usize = "2026-01-31".len();
/// Where the seconds of a time of day stand.
const SECOND: std::ops::Range<usize> = "16:00:".len().."16:00:00".len();

/// The longest text of a time.
pub(crate) const TIME_BYTES_MAX: usize = "2026-01-31T16:00:00.000Z".len();

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(i64);

impl UnixMillis {
    /// The first moment that input may name: 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);
    /// The last moment that input may name: 9999-12-30T22:00:00Z, where RFC 3339's four digits end.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// Makes a moment, clamped to what can be shown.
    #[must_use]
    pub fn new(millis: i64) -> Self {
        Self(millis.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Returns this moment moved by `millis`, clamped to what can be shown.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        Self::new(self.0.saturating_add(millis))
    }

    /// Reads RFC 3339, or ISO 8601 with a date and a time; without an offset it is UTC. Below a millisecond is cut off.
    ///
    /// Refuses what names a moment only by a guess: a date alone, a time zone's name in brackets, an offset of a day or
    /// more, a second 60.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let time = text.get(DATE_BYTES..)?.strip_prefix(['T', 't', ' '])?;
        let offset_hours = time.rsplit_once(['+', '-']).and_then(|(_, offset)| offset.get(..2));
        if time.contains('[')
            || time.get(SECOND).is_some_and(|second| second == "60")
            || offset_hours.is_some_and(|hours| hours > "23")
        {
            return None;
        }
        let millis = match text.parse::<Timestamp>() {
            Ok(moment) => moment.as_millisecond(),
            Err(_) => text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond(),
        };
        Self::checked(millis)
    }

    /// Says what to send instead of a JSON value that is no time, `name` being the member that holds it.
    pub(super) fn explain(name: &str, json: &str) -> String {
        /// A number with so many digits is Unix milliseconds of 1973 to 5138.
        const MILLIS_DIGITS: std::ops::RangeInclusive<usize> = 12..=14;
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let text = json.trim_matches('"');
        let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
        if MILLIS_DIGITS.contains(&whole.len()) && is_digits(whole) {
            let (seconds, _) = whole.split_at(whole.len() - 3);
            return format!("{name} {whole} looks like milliseconds; a number is Unix seconds: {seconds}");
        }
        if is_metatrader(text) {
            return format!(
                "{name} is in MetaTrader's form, which may be a server's time and is seldom UTC: send TimeGMT() as a number, which is Unix \
                 seconds, without TimeToString()"
            );
        }
        if text != json && Decimal::parse(text).is_ok() {
            return format!(
                "{name} is a number in quotes: Unix seconds are sent without, and other times like 2026-01-31T16:00:00Z"
            );
        }
        format!("{name} must be a time like 2026-01-31T16:00:00Z, or Unix seconds")
    }

    /// Reads Unix seconds, with a fraction or without.
    #[must_use]
    pub fn from_unix_seconds(seconds: Decimal) -> Option<Self> {
        /// A [`Decimal`] counts 10⁻⁸, a millisecond is 10⁻³.
        const UNITS_PER_MILLI: i64 = 100_000;
        Self::checked(seconds.units().div_euclid(UNITS_PER_MILLI))
    }

    /// The second in ISO 8601's basic form, for names of files: `20260131T120000Z`.
    #[must_use]
    pub fn basic(self) -> String {
        // A moment is within what jiff knows.
        let moment = Timestamp::from_millisecond(self.0).unwrap_or_default();
        Offset::UTC.to_datetime(moment).strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    /// Writes the text of the time to the beginning of `out`, faster than the formatter; returns its length.
    pub(crate) fn write_into(self, out: &mut [u8; TIME_BYTES_MAX]) -> usize {
        // A moment is within what jiff knows, and its year has four digits.
        let moment = Timestamp::from_millisecond(self.0).unwrap_or_default();
        let time = Offset::UTC.to_datetime(moment);
        let number = |number: i16| u64::from(number.unsigned_abs());
        let two = |number: i8| u64::from(number.unsigned_abs());
        let millis = self.0.unsigned_abs() % 1_000;
        let date = eight_digits(number(time.year()) * 10_000 + two(time.month()) * 100 + two(time.day()));
        let clock = eight_digits(two(time.hour()) * 1_000_000 + two(time.minute()) * 10_000 + two(time.second()) * 100);
        let [y1, y2, y3, y4, m1, m2, d1, d2] = ascii(date);
        let [h1, h2, n1, n2, s1, s2, ..] = ascii(clock);
        let [.., f1, f2, f3] = ascii(eight_digits(millis));
        *out = [
            y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'.', f1, f2, f3,
            b'Z',
        ];
        if millis != 0 {
            return TIME_BYTES_MAX;
        }
        let [.., point, _, _, _, _] = out;
        *point = b'Z';
        TIME_BYTES_MAX - ".000".len()
    }

    fn checked(millis: i64) -> Option<Self> {
        (Self::MIN.0..=Self::MAX.0).contains(&millis).then_some(Self(millis))
    }
}

/// Whether a text is a time as MetaTrader prints it, with seconds or without, or a date alone: `2026.01.31 16:00`.
fn is_metatrader(text: &str) -> bool {
    let Some(date) = text.as_bytes().first_chunk::<DATE_BYTES>() else { return false };
    let is_right = |(byte, form): (&u8, &u8)| if *form == b'.' { byte == form } else { byte.is_ascii_digit() };
    date.iter().zip(b"2026.01.31").all(is_right)
}

/// Reads a length of time above zero: `90s`, `30m`, `1h`, `1d`.
///
/// # Errors
///
/// Words that say what is needed.
pub fn parse_period(text: &str) -> Result<Duration, String> {
    let unit_seconds = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err("a number and a unit are needed: 90s, 30m, 1h, 1d".to_owned()),
    };
    let count = text.get(..text.len() - 1).and_then(|count| count.parse::<u32>().ok()).filter(|count| *count > 0);
    let count = count.ok_or("the number must be a whole one above 0")?;
    Ok(Duration::from_secs(u64::from(count) * unit_seconds))
}

/// A moment that is over, as a person names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PastMoment {
    /// How long ago it was.
    Ago(Duration),
    /// When it was.
    At(UnixMillis),
}

impl PastMoment {
    /// Reads a length of time (`90d`, `12h`), a date (`2026-01-31`, from its beginning in UTC) or a time
    /// (`2026-01-31T16:00:00Z`).
    ///
    /// # Errors
    ///
    /// Words that say what is needed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let moment = UnixMillis::parse(text).or_else(|| UnixMillis::parse(&format!("{text}T00:00:00Z")));
        let age = || parse_period(text).ok().map(Self::Ago);
        let form = "an age is needed (90d, 12h), a date (2026-01-31) or a time (2026-01-31T16:00:00Z)";
        moment.map(Self::At).or_else(age).ok_or_else(|| form.to_owned())
    }

    /// The moment, as of now.
    #[must_use]
    pub fn resolve(self, now: UnixMillis) -> UnixMillis {
        match self {
            Self::At(moment) => moment,
            Self::Ago(age) => now.plus_millis(-i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

/// RFC 3339 with a `Z`, with milliseconds only where there are any.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TIME_BYTES_MAX];
        let length = self.write_into(&mut text);
        f.pad(text.get(..length).and_then(|text| std::str::from_utf8(text).ok()).ok_or(fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(UnixMillis::parse(text).map(|moment| moment.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn times_with_an_offset_are_brought_to_utc_and_times_without_one_are_utc() {
        check("2025-08-08T17:11:10.425808", Some("2025-08-08T17:11:10.425Z"));
        check("2025-08-08T17:11:10Z", Some("2025-08-08T17:11:10Z"));
        check("2025-08-08 17:11:10", Some("2025-08-08T17:11:10Z"));
        check("2025-08-08T19:11:10+02:00", Some("2025-08-08T17:11:10Z"));
        check("1969-12-31T23:59:59Z", None);
        check("2025-13-01T00:00:00Z", None);
        check("tomorrow", None);
        check("2025-08-08T17:11", Some("2025-08-08T17:11:00Z"));
        check("2025-08-08T17:11:10-0230", Some("2025-08-08T19:41:10Z"));
        check("2025-08-08T17:11:10+23:59", Some("2025-08-07T17:12:10Z"));
    }

    #[test]
    fn a_time_that_has_to_be_guessed_is_refused() {
        for text in [
            "2025-08-08",
            "20250808",
            "2025-08-08T",
            "2025-08-08T17:11:10[Europe/Paris]",
            "2025-08-08T17:11:10+02:00[Europe/Paris]",
            "2025-08-08T17:11:10Z[u-ca=hebrew]",
            "2025-08-08T17:11:10+24:00",
            "2025-08-08T17:11:10-25:00",
            "2025-08-08T17:11:10+2400",
            "2025-06-30T23:59:60Z",
            "2025-06-30T23:59:60.5Z",
            "2025-06-30T24:00:00Z",
        ] {
            check(text, None);
        }
        check("", None);
    }

    #[test]
    fn unix_seconds_are_read_with_their_fraction() {
        let read = |text: &str| UnixMillis::from_unix_seconds(Decimal::parse(text).unwrap());
        assert_eq!(read("1754673070.425").unwrap().to_string(), "2025-08-08T17:11:10.425Z");
        assert_eq!(read("-1"), None);
    }

    #[test]
    fn what_senders_often_send_instead_of_a_time_is_told_apart() {
        let explained = |json: &str| UnixMillis::explain("at", json);
        for metatrader in ["2026.11.30 14:05:00", "2026.11.30 14:05", "2026.11.30", "2026.11.30-14:05:00"] {
            assert_eq!(UnixMillis::parse(metatrader), None);
            assert!(explained(&format!("\"{metatrader}\"")).contains("TimeGMT()"), "{metatrader}");
        }
        let millis = "at 1796047500123 looks like milliseconds; a number is Unix seconds: 1796047500";
        for json in ["1796047500123", "\"1796047500123\"", "1796047500123.5"] {
            assert_eq!(explained(json), millis);
        }
        assert!(explained("100000000000").ends_with(": 100000000"));
        assert!(explained("\"1796047500\"").contains("in quotes"));
        for json in ["\"tomorrow\"", "\"\"", "true", "[1]", "1e300", "-1", "1796047500123456789", "\"2026.1.30 14:05\""]
        {
            assert_eq!(explained(json), "at must be a time like 2026-01-31T16:00:00Z, or Unix seconds", "{json}");
        }
    }

    #[test]
    fn the_first_and_last_moment_can_be_shown() {
        assert_eq!(UnixMillis::MIN.to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(UnixMillis::MAX.to_string(), "9999-12-30T22:00:00Z");
        assert_eq!(UnixMillis::MAX.plus_millis(i64::MAX), UnixMillis::MAX);
    }

    proptest::proptest! {
        #[test]
        fn a_time_that_is_shown_reads_as_that_time(millis in UnixMillis::MIN.0..=UnixMillis::MAX.0, is_whole: bool) {
            let moment = UnixMillis::new(if is_whole { millis / 1_000 * 1_000 } else { millis });
            let shown = moment.to_string();
            assert_eq!(shown.len(), if moment.0 % 1_000 == 0 { 20 } else { 24 });
            assert_eq!(UnixMillis::parse(&shown), Some(moment));
        }
    }

    #[test]
    fn a_moment_that_is_over_is_an_age_a_date_or_a_time() {
        let now = UnixMillis::parse("2026-05-01T00:00:00Z").unwrap();
        let past = |text: &str| PastMoment::parse(text).map(|moment| moment.resolve(now).to_string());
        let moment = |text: &str| Ok(text.to_owned());
        assert_eq!(past("90d"), moment("2026-01-31T00:00:00Z"));
        assert_eq!(past("12h"), moment("2026-04-30T12:00:00Z"));
        assert_eq!(past("4294967295d"), moment("1970-01-01T00:00:00Z"));
        assert_eq!(past("2026-01-31"), moment("2026-01-31T00:00:00Z"));
        assert_eq!(past("2026-01-31T16:00:00+01:00"), moment("2026-01-31T15:00:00Z"));
        for text in ["", "90", "d", "-1d", "0d", "yesterday", "2026-13-01", "1764511500", "2026-01"] {
            assert!(past(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_period_is_a_number_and_a_unit() {
        assert_eq!(parse_period("1h"), Ok(Duration::from_hours(1)));
        assert_eq!(parse_period("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_period("2d"), Ok(Duration::from_hours(48)));
        for wrong in ["", "h", "1", "-1h", "0s", "1.5h", "1é"] {
            assert!(parse_period(wrong).is_err(), "{wrong}");
        }
    }
}
