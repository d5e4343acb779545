//! Ids, numbers and times as the old writers wrote them.

use std::borrow::Cow;

use super::json::Value;
use crate::domain::{Decimal, UnixMillis};

/// Fewest digits that tell a user or a moment in a longer name: `HHMMSS` has six, and so have counters.
pub(super) const USER_DIGITS_MIN: usize = 7;

impl Value<'_> {
    /// A string or a number as text: ids are written both ways.
    pub(super) fn id_text(&self) -> Option<&str> {
        self.text().map(str::trim).or_else(|| self.number())
    }

    /// An id; a whole number in exponent or decimal form comes as its digits.
    pub(super) fn id(&self) -> Option<Cow<'_, str>> {
        let number = self.number().and_then(whole_number).map(Cow::Owned);
        number.or_else(|| self.id_text().map(plain_id))
    }

    /// The number, also one in a string, with its unit where the string names one.
    pub(super) fn quantity(&self) -> Option<Quantity> {
        match self.number() {
            Some(number) => {
                Some(Quantity { value: Decimal::parse(number).ok()?, unit: Unit::None, is_display_string: false })
            }
            None => Quantity::of_text(self.text()?),
        }
    }

    /// The moment: ISO 8601, Unix seconds or Unix milliseconds.
    pub(super) fn moment(&self) -> Option<UnixMillis> {
        /// No old file is older than 2001; a countdown is no moment.
        const SECONDS_MIN: i64 = 1_000_000_000;
        /// Seconds beyond the year 5138, or milliseconds after 1973.
        const MILLIS: std::ops::Range<i64> = 100_000_000_000..100_000_000_000_000;
        let text = self.id_text()?;
        if let Some(moment) = self.text().and_then(|text| UnixMillis::parse(text.trim())) {
            return Some(moment);
        }
        if let Ok(seconds) = Decimal::parse(text) {
            let is_moment = Decimal::from_int(SECONDS_MIN).is_some_and(|least| seconds >= least);
            return is_moment.then(|| UnixMillis::from_unix_seconds(seconds)).flatten();
        }
        // Too large for a decimal.
        let whole = whole_number(text).or_else(|| Some(text.split_once('.')?.0.to_owned()))?;
        whole.parse().ok().filter(|millis| MILLIS.contains(millis)).map(UnixMillis::new)
    }
}

/// Writes every whole number in an id as its digits, also one that a program printed from a float: `7.000000061E9`,
/// `GUARD_1.752645E9_7000000066.00`.
///
/// Every printer of floats writes a point or a sign; `12E5` without either is an id of letters and digits. A part of an
/// id with fewer than seven digits is no user and no moment, and may be a version: `GUARD_1.0` stays.
pub(super) fn plain_id(text: &str) -> Cow<'_, str> {
    let of_float = |text: &str| if text.contains(['.', '+']) { whole_number(text) } else { None };
    if let Some(number) = of_float(text) {
        return Cow::Owned(number);
    }
    let is_long = |number: &String| number.trim_start_matches('-').len() >= USER_DIGITS_MIN;
    if !text.split('_').any(|part| of_float(part).is_some_and(|number| is_long(&number))) {
        return Cow::Borrowed(text);
    }
    let plain = |part: &str| of_float(part).filter(is_long).unwrap_or_else(|| part.to_owned());
    Cow::Owned(text.split('_').map(plain).collect::<Vec<_>>().join("_"))
}

/// The digits of a whole number in any form; `None` for anything else.
fn whole_number(text: &str) -> Option<String> {
    /// No id has more digits.
    const DIGITS_MAX: usize = 32;
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i16>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let mut digits = format!("{whole}{fraction}");
    let length = usize::try_from(i64::try_from(whole.len()).ok()? + i64::from(exponent)).ok()?;
    if !(1..=DIGITS_MAX).contains(&length) || digits.get(length..).unwrap_or_default().bytes().any(|byte| byte != b'0')
    {
        return None;
    }
    digits.truncate(length);
    let digits = format!("{digits:0<length$}");
    let digits = digits.trim_start_matches('0');
    let sign = if text.starts_with('-') { "-" } else { "" };
    Some(format!("{sign}{}", if digits.is_empty() { "0" } else { digits }))
}

/// A number and what it counts, where the text says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity {
    pub(super) value: Decimal,
    pub(super) unit: Unit,
    /// Whether it was written for people: `$2,913.25`.
    pub(super) is_display_string: bool,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// The text does not say.
    None,
    Pips,
    Percent,
    Money,
    Lots,
}

impl Quantity {
    /// Reads `1.085`, `$2,913.25`, `1.3 pips`, `89.0%`, `0.02 lots`, `1:2.0`.
    fn of_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(value) = Decimal::parse(text) {
            return Some(Self { value, unit: Unit::None, is_display_string: false });
        }
        let lower = text.to_ascii_lowercase();
        let suffixes = [
            ("pips", Unit::Pips),
            ("pip", Unit::Pips),
            ("lots", Unit::Lots),
            ("lot", Unit::Lots),
            ("%", Unit::Percent),
        ];
        let prefixes = [("$", Unit::Money), ("1:", Unit::None)];
        let ends = suffixes.iter().filter_map(|(end, unit)| Some((lower.strip_suffix(end)?, *unit)));
        let begins = prefixes.iter().filter_map(|(start, unit)| Some((lower.strip_prefix(start)?, *unit)));
        let (number, unit) = ends.chain(begins).next().unwrap_or((&lower, Unit::None));
        let value = Decimal::parse(&ungrouped(number.trim())?).ok()?;
        Some(Self { value, unit, is_display_string: true })
    }
}

/// Removes the commas between thousands; `None` if there is a comma elsewhere, as in a number with a decimal comma.
fn ungrouped(number: &str) -> Option<String> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut groups = whole.split(',');
    let first = groups.next()?.trim_start_matches('-');
    let is_grouped = !whole.contains(',') || ((1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3));
    (is_grouped && !fraction.contains(',')).then(|| number.replace(',', ""))
}

#[cfg(test)]
mod tests {
    use super::super::names::Names;
    use super::*;

    /// Reads one JSON text.
    fn read<T>(json: &str, read: impl Fn(&Value<'_>) -> Option<T>) -> Option<T> {
        let names = Names::built_in().unwrap();
        read(&Value::parse(json, &names).unwrap())
    }

    #[test]
    fn a_whole_number_in_any_form_is_one_id() {
        for (json, id) in [
            ("7000000061", "7000000061"),
            ("7.000000061E9", "7000000061"),
            ("7.000000061e+9", "7000000061"),
            ("7000000061e0", "7000000061"),
            ("70000000610e-1", "7000000061"),
            ("7000000066.00", "7000000066"),
            ("-1.009000000001E12", "-1009000000001"),
            ("7E9", "7000000000"),
            ("1.5", "1.5"),
            ("7.0000000615E9", "7.0000000615E9"),
            ("1e300", "1e300"),
            ("1e-9", "1e-9"),
        ] {
            assert_eq!(read(json, |value| Some(value.id()?.into_owned())).as_deref(), Some(id), "{json}");
            let text = format!("\" {json}\"");
            // A string without a point or a sign may be an id of letters and digits.
            let id = if json.contains(['.', '+']) { id } else { json };
            assert_eq!(read(&text, |value| Some(value.id()?.into_owned())).as_deref(), Some(id), "{text}");
        }
        for text in ["ELITE_1.0", "1.0.0", ".0", "+5", "1.0E", "0x1.0", "user_7.0", "A_123456.0_12E9", "A_7000000.5"] {
            assert_eq!(plain_id(text), text);
        }
        assert_eq!(plain_id("A_1.752645E9_-1.009000000001e+12_B"), "A_1752645000_-1009000000001_B");
    }

    #[test]
    fn numbers_written_for_people_keep_their_unit() {
        let read = |text: &str| Quantity::of_text(text).map(|read| (read.value.to_string(), read.unit));
        assert_eq!(read("1.085"), Some(("1.085".into(), Unit::None)));
        assert_eq!(read("$2,913.25"), Some(("2913.25".into(), Unit::Money)));
        assert_eq!(read("1.3 pips"), Some(("1.3".into(), Unit::Pips)));
        assert_eq!(read("89.0%"), Some(("89".into(), Unit::Percent)));
        assert_eq!(read("0.02 lots"), Some(("0.02".into(), Unit::Lots)));
        assert_eq!(read("1:1.5"), Some(("1.5".into(), Unit::None)));
        assert_eq!(read("1.234,56"), None);
        assert_eq!(read("soon"), None);
    }

    #[test]
    fn moments_are_texts_seconds_or_milliseconds() {
        let read = |json: &str| read(json, |value| Some(value.moment()?.to_string()));
        assert_eq!(read("\"2025-08-08T17:11:10.425808\"").as_deref(), Some("2025-08-08T17:11:10.425Z"));
        assert_eq!(read("1754673070.425").as_deref(), Some("2025-08-08T17:11:10.425Z"));
        assert_eq!(read("1.754673070425E9").as_deref(), Some("2025-08-08T17:11:10.425Z"));
        assert_eq!(read("1754673070425").as_deref(), Some("2025-08-08T17:11:10.425Z"));
        assert_eq!(read("1754673070425.9").as_deref(), Some("2025-08-08T17:11:10.425Z"));
        assert_eq!(read("\"1754673070\"").as_deref(), Some("2025-08-08T17:11:10Z"));
        assert_eq!(read("600"), None, "a countdown is no moment");
        assert_eq!(read("1754673070425000"), None, "microseconds were never written");
        assert_eq!(read("\"16:23:45\""), None);
        assert_eq!(read("true"), None);
    }
}
