//! JSON of old files, read strictly and with the text of every number kept.
//!
//! A file is parsed once: each object becomes a list of members whose values still borrow from the file. Numbers stay text
//! until somebody asks for a [`Decimal`], so that no price ever passes through a binary float. An object that holds a
//! member twice is refused at any depth, as two readers may disagree on what it says.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::de::IgnoredAny;

use super::names::{Marks, look_up};
use crate::domain::{Decimal, UnixMillis};
use crate::render::write_string;

/// Deepest nesting: real files have four levels.
const DEPTH_MAX: usize = 32;
/// Objects of so many members have their names looked up in a set; in smaller ones, comparing takes less.
const FEW_MEMBERS: usize = 64;

/// Why a text is not usable JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JsonError {
    /// Not JSON; the text says where.
    Syntax(String),
    /// A member stands in one object twice.
    Duplicate(String),
    /// Nested deeper than 32 levels.
    Depth,
}

/// One JSON value of a file.
#[derive(Clone, Debug)]
pub(super) struct Value<'a> {
    /// The text of the value as it stands in the file.
    raw: &'a str,
    kind: Kind<'a>,
}

#[derive(Clone, Debug)]
enum Kind<'a> {
    Null,
    Other,
    Number,
    Text(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Vec<Member<'a>>, Names),
}

/// One member of an object.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    /// The name; a known one in the spelling that is known.
    pub(super) name: Cow<'a, str>,
    /// What the name says.
    pub(super) marks: Marks,
    /// The value.
    pub(super) node: Value<'a>,
}

/// Some bits of every name in an object: most of the names that are asked for are not there, and one look tells.
#[derive(Clone, Copy, Debug, Default)]
struct Names(u128);

impl Names {
    fn bit(name: &str) -> u128 {
        let bytes = name.as_bytes();
        let at = |byte: Option<&u8>| u32::from(byte.copied().unwrap_or(0));
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let number = length.wrapping_mul(29) ^ at(bytes.first()).wrapping_mul(7) ^ at(bytes.last()).wrapping_mul(67);
        1 << (number & 127)
    }
}

impl<'a> Value<'a> {
    /// Reads one JSON value.
    pub(super) fn parse(json: &'a str) -> Result<Self, JsonError> {
        let mut scanner = Scanner { text: json, at: 0 };
        let read = scanner.value(0).and_then(|node| {
            scanner.skip_blanks();
            if scanner.at == json.len() { Ok(node) } else { Err(Fault::Syntax) }
        });
        read.map_err(|fault| {
            // Where a text is no JSON at all, that counts before anything else; the library words it.
            let error = serde_json::from_str::<IgnoredAny>(json).err();
            match (fault, error) {
                (Fault::Tree(error), None) => error,
                (_, Some(error)) => JsonError::Syntax(error.to_string()),
                (Fault::Syntax, None) => JsonError::Syntax(format!("near byte {}", scanner.at)),
            }
        })
    }

    /// An object whose members are those of `inner`, and of this one where `inner` has none of the name.
    pub(super) fn hoisted(&self, inner: &Self) -> Self {
        let (Some(own), Some(inner)) = (self.members(), inner.members()) else { return self.clone() };
        let mut all = inner.to_vec();
        for member in own {
            if !inner.iter().any(|known| known.name == member.name) {
                all.push(member.clone());
            }
        }
        Self { raw: self.raw, kind: Kind::of_members(all) }
    }

    /// The value as compact JSON text, as [`Object`](crate::domain::Object) keeps it.
    pub(super) fn json(&self) -> String {
        let mut out = Vec::with_capacity(self.raw.len());
        self.write_to(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        match &self.kind {
            Kind::Object(members, _) => {
                out.push(b'{');
                for (index, Member { name, node, .. }) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_string(out, name);
                    out.push(b':');
                    node.write_to(out);
                }
                out.push(b'}');
            }
            Kind::Array(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write_to(out);
                }
                out.push(b']');
            }
            _ => out.extend_from_slice(self.raw.as_bytes()),
        }
    }

    /// The text of the value as it stands in the file.
    pub(super) const fn raw(&self) -> &'a str {
        self.raw
    }

    /// The members, if this is an object.
    pub(super) fn members(&self) -> Option<&[Member<'a>]> {
        match &self.kind {
            Kind::Object(members, _) => Some(members),
            _ => None,
        }
    }

    /// The member called `name`; a `null` counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&Value<'a>> {
        let Kind::Object(members, Names(names)) = &self.kind else { return None };
        if names & Names::bit(name) == 0 {
            return None;
        }
        members.iter().find(|member| member.name == name && !member.node.is_null()).map(|member| &member.node)
    }

    /// The string, if this is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items, if this is an array.
    pub(super) fn items(&self) -> Option<&[Value<'a>]> {
        match &self.kind {
            Kind::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Whether this is `null`.
    pub(super) const fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// A string or a number as text: ids are written both ways.
    pub(super) fn id_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text.trim()),
            Kind::Number => Some(self.raw),
            _ => None,
        }
    }

    /// The number, also one in a string, with its unit where the string names one.
    pub(super) fn quantity(&self) -> Option<Quantity> {
        match &self.kind {
            Kind::Number => Some(Quantity { value: Decimal::parse(self.raw).ok()?, unit: Unit::None, shown: false }),
            Kind::Text(text) => Quantity::of_text(text),
            _ => None,
        }
    }

    /// The moment, as a text, or as Unix seconds, milliseconds, microseconds or nanoseconds.
    pub(super) fn moment(&self) -> Option<UnixMillis> {
        /// Seconds beyond the year 5138, or milliseconds after 1973; a thousand times as many are the next unit.
        const MILLIS_FROM: i64 = 100_000_000_000;
        let number = match &self.kind {
            Kind::Number => self.raw,
            Kind::Text(text) => match moment_of_text(text.trim()) {
                Some(moment) => return Some(moment),
                None => text.trim(),
            },
            _ => return None,
        };
        let whole = number.split_once('.').map_or(number, |(whole, _)| whole);
        if let Some(count) = whole.parse::<i64>().ok().filter(|count| *count >= MILLIS_FROM) {
            let per_milli = match count / MILLIS_FROM {
                0..1_000 => 1,
                1_000..1_000_000 => 1_000,
                _ => 1_000_000,
            };
            return Some(UnixMillis::new(count / per_milli));
        }
        let number = Decimal::parse(number).ok()?;
        let whole = number.units() / Decimal::ONE.units();
        // A countdown is no moment; no old file is older than 2001.
        (whole >= 1_000_000_000).then(|| UnixMillis::from_unix_seconds(number)).flatten()
    }
}

/// Reads a moment as ISO 8601, also with the dots or slashes of trading terminals between year, month and day.
fn moment_of_text(text: &str) -> Option<UnixMillis> {
    if let Some(moment) = UnixMillis::parse(text) {
        return Some(moment);
    }
    let bytes = text.as_bytes();
    let (year, month) = (bytes.get(4).copied()?, bytes.get(7).copied()?);
    if year != month || !matches!(year, b'.' | b'/') || !bytes.iter().take(4).all(u8::is_ascii_digit) {
        return None;
    }
    let (date, time) = text.split_at_checked(10)?;
    UnixMillis::parse(&format!("{}{time}", date.replace(['.', '/'], "-")))
}

/// A number and what it counts, where the text says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantity {
    pub(super) value: Decimal,
    pub(super) unit: Unit,
    /// Whether it was written for people: `$2,913.25`.
    pub(super) shown: bool,
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
    /// Reads `1.085`, `"1.085"`, `$2,913.25`, `1.3 pips`, `89.0%`, `0.02 lots`, `1:2.0`.
    fn of_text(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(value) = Decimal::parse(text) {
            return Some(Self { value, unit: Unit::None, shown: false });
        }
        let lower = text.to_ascii_lowercase();
        let (number, unit) = if let Some(number) = lower.strip_suffix("pips").or_else(|| lower.strip_suffix("pip")) {
            (number, Unit::Pips)
        } else if let Some(number) = lower.strip_suffix("lots").or_else(|| lower.strip_suffix("lot")) {
            (number, Unit::Lots)
        } else if let Some(number) = lower.strip_suffix('%') {
            (number, Unit::Percent)
        } else if let Some(number) = lower.strip_prefix('$') {
            (number, Unit::Money)
        } else if let Some(number) = lower.strip_prefix("1:") {
            (number, Unit::None)
        } else {
            (lower.as_str(), Unit::None)
        };
        let value = Decimal::parse(&ungrouped(number.trim())?).ok()?;
        Some(Self { value, unit, shown: true })
    }
}

/// Takes the commas between thousands out; `None` if a comma stands anywhere else, as it does for a decimal point.
fn ungrouped(number: &str) -> Option<String> {
    let (whole, fraction) = number.split_once('.').map_or((number, ""), |(whole, fraction)| (whole, fraction));
    let mut groups = whole.split(',');
    let first = groups.next()?.trim_start_matches('-');
    let is_grouped = !whole.contains(',') || ((1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3));
    (is_grouped && !fraction.contains(',')).then(|| number.replace(',', ""))
}

impl<'a> Kind<'a> {
    fn of_members(members: Vec<Member<'a>>) -> Self {
        let names = members.iter().fold(0, |names, member| names | Names::bit(&member.name));
        Self::Object(members, Names(names))
    }
}

/// Why the scanner stopped.
enum Fault {
    Syntax,
    Tree(JsonError),
}

/// Reads a text once, from its beginning to its end.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Takes a byte if it is the next.
    fn take(&mut self, wanted: u8) -> bool {
        let is_next = self.peek() == Some(wanted);
        self.at += usize::from(is_next);
        is_next
    }

    fn raw_from(&self, start: usize) -> Result<&'a str, Fault> {
        self.text.get(start..self.at).ok_or(Fault::Syntax)
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Tree(JsonError::Depth));
        }
        self.skip_blanks();
        let start = self.at;
        let kind = match self.peek().ok_or(Fault::Syntax)? {
            b'"' => Kind::Text(self.string()?),
            b'{' => self.object(depth)?,
            b'[' => self.array(depth)?,
            b'n' => self.word("null", Kind::Null)?,
            b't' => self.word("true", Kind::Other)?,
            b'f' => self.word("false", Kind::Other)?,
            _ => self.number()?,
        };
        Ok(Value { raw: self.raw_from(start)?, kind })
    }

    fn word(&mut self, word: &str, kind: Kind<'a>) -> Result<Kind<'a>, Fault> {
        let is_there = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        self.at += word.len();
        if is_there { Ok(kind) } else { Err(Fault::Syntax) }
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Fault::Syntax) }
    }

    fn number(&mut self) -> Result<Kind<'a>, Fault> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
            // What an ordinary reader can not hold (1e999) must not get into a record.
            let raw = self.raw_from(start)?;
            if !raw.parse::<f64>().is_ok_and(f64::is_finite) {
                let shown = raw.get(..20).unwrap_or(raw);
                return Err(Fault::Tree(JsonError::Syntax(format!("number out of range: {shown}"))));
            }
        }
        Ok(Kind::Number)
    }

    /// Reads a string; one without escapes is borrowed.
    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = self.at;
        self.at += 1;
        let mut has_escape = false;
        loop {
            match self.peek().ok_or(Fault::Syntax)? {
                b'"' => break,
                b'\\' => {
                    has_escape = true;
                    self.at += 2;
                }
                0..0x20 => return Err(Fault::Syntax),
                _ => self.at += 1,
            }
        }
        self.at += 1;
        let raw = self.raw_from(start)?;
        if has_escape {
            let text = serde_json::from_str::<String>(raw);
            return text.map(Cow::Owned).map_err(|error| Fault::Tree(JsonError::Syntax(error.to_string())));
        }
        raw.get(1..raw.len() - 1).map(Cow::Borrowed).ok_or(Fault::Syntax)
    }

    fn array(&mut self, depth: usize) -> Result<Kind<'a>, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        self.skip_blanks();
        if self.take(b']') {
            return Ok(Kind::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_blanks();
            if self.take(b']') {
                return Ok(Kind::Array(items));
            }
            if !self.take(b',') {
                return Err(Fault::Syntax);
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Kind<'a>, Fault> {
        self.at += 1;
        let mut members = Vec::with_capacity(if depth == 0 { 40 } else { 12 });
        let mut names = 0;
        let mut many = BTreeSet::new();
        self.skip_blanks();
        if self.take(b'}') {
            return Ok(Kind::Object(members, Names(names)));
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err(Fault::Syntax);
            }
            let name = self.string()?;
            self.skip_blanks();
            if !self.take(b':') {
                return Err(Fault::Syntax);
            }
            let node = self.value(depth + 1)?;
            let (marks, known) = look_up(&name);
            let member = Member { name: known.map_or(name.clone(), Cow::Borrowed), marks, node };
            let bit = Names::bit(&member.name);
            let is_known = if members.len() < FEW_MEMBERS {
                names & bit != 0
            } else {
                if many.is_empty() {
                    many.extend(members.iter().map(|known: &Member<'_>| known.name.to_string()));
                }
                !many.insert(member.name.to_string())
            };
            let twin = if is_known { members.iter().find(|other| other.name == member.name) } else { None };
            match twin {
                None => {
                    names |= bit;
                    members.push(member);
                }
                // Said twice in two spellings is said once.
                Some(twin)
                    if (marks.is_respelled() || twin.marks.is_respelled())
                        && twin.node.json() == member.node.json() => {}
                Some(_) => return Err(Fault::Tree(JsonError::Duplicate(name.into_owned()))),
            }
            self.skip_blanks();
            if self.take(b'}') {
                return Ok(Kind::Object(members, Names(names)));
            }
            if !self.take(b',') {
                return Err(Fault::Syntax);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_text_and_twins_are_refused_at_any_depth() {
        let node = Value::parse(r#" {"a" : 1.10, "b":{"c": [ 1 , {"d":2} ]}, "e":null} "#).unwrap();
        assert_eq!(node.get("a").unwrap().json(), "1.10");
        assert_eq!(node.get("b").unwrap().json(), r#"{"c":[1,{"d":2}]}"#);
        assert!(node.get("e").is_none(), "null is absent");
        for text in [r#"{"a":1,"a":2}"#, r#"{"x":[{"a":1,"\u0061":1}]}"#, r#"[{"a":1,"a":1}]"#] {
            assert_eq!(Value::parse(text).unwrap_err(), JsonError::Duplicate("a".to_owned()), "{text}");
        }
    }

    #[test]
    fn what_no_ordinary_reader_holds_is_refused() {
        for text in
            ["", "{", "{\"a\":NaN}", "{\"a\":1e999}", "{\"a\":\"\\ud800\"}", "{} {}", "\u{feff}{}", "{\"a\":01}"]
        {
            assert!(matches!(Value::parse(text), Err(JsonError::Syntax(_))), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Value::parse(&deep).is_err());
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
        assert_eq!(read("soon"), None);
    }

    #[test]
    fn a_twin_is_found_among_any_number_of_members() {
        let names: Vec<String> = (0..300).map(|number| format!("\"name{number}\":0")).collect();
        for count in [2, FEW_MEMBERS - 1, FEW_MEMBERS, FEW_MEMBERS + 1, 300] {
            let some = names[..count].join(",");
            assert_eq!(Value::parse(&format!("{{{some}}}")).unwrap().members().unwrap().len(), count);
            for twin in [0, count - 1] {
                let text = format!("{{{some},{}}}", names[twin]);
                assert_eq!(Value::parse(&text).unwrap_err(), JsonError::Duplicate(format!("name{twin}")), "{count}");
            }
        }
    }

    #[test]
    fn moments_are_texts_seconds_or_milliseconds() {
        let read = |json: &str| Value::parse(json).unwrap().moment().map(|moment| moment.to_string());
        assert_eq!(read("\"2025-08-08T17:11:10.425808\"").as_deref(), Some("2025-08-08T17:11:10.425Z"));
        assert_eq!(read("1754673070.425").as_deref(), Some("2025-08-08T17:11:10.425Z"));
        assert_eq!(read("1754673070425").as_deref(), Some("2025-08-08T17:11:10.425Z"));
        assert_eq!(read("\"1754673070\"").as_deref(), Some("2025-08-08T17:11:10Z"));
        assert_eq!(read("600"), None, "a countdown is no moment");
        assert_eq!(read("\"16:23:45\""), None);
        assert_eq!(read("true"), None);
    }
}
