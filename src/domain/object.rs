//! A JSON object whose members keep their order and their text.
//!
//! Signals and overlays carry members that this program knows nothing about. They are kept to the letter (`1.10` stays
//! `1.10`), less the white space between tokens, so that a record is one line. Reading is strict: an object that holds
//! a member twice is refused at any depth, as two readers may disagree on what it says.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::other_names::{self, Meant, OtherNames};
use super::{Decimal, DecimalError, Invalid, InvalidKind, UnixMillis};

/// Most members of one object: far above any real record, low enough that a search by name stays cheap.
const MEMBERS_MAX: usize = 256;
/// Most levels of objects and lists in one record: a view and an export line wrap it in one more, and readers commonly
/// stop at 128.
const LEVELS_MAX: usize = 64;
/// Most members that a record keeps beside its known ones: with those it stays below [`MEMBERS_MAX`], so that what is
/// returned can be sent again.
const KEPT_MEMBERS_MAX: usize = 240;

/// The members of a JSON object: names, and values as compact JSON text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    members: Vec<(String, String)>,
}

impl Object {
    /// Reads one JSON object.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::MalformedJson`] if the text is not one JSON value, or nests deeper than 64 levels;
    /// [`InvalidKind::WrongType`] if the value is not an object;
    /// [`InvalidKind::DuplicateMember`] if any object in it holds a member twice;
    /// [`InvalidKind::OutOfRange`] if it has more than 256 members.
    pub fn parse(json: &[u8]) -> Result<Self, Invalid> {
        Self::parse_with(json, LEVELS_MAX)
    }

    /// Reads an object that wraps a record in one member more.
    pub(crate) fn parse_wrapped(json: &[u8]) -> Result<Self, Invalid> {
        Self::parse_with(json, LEVELS_MAX + 1)
    }

    fn parse_with(json: &[u8], levels_max: usize) -> Result<Self, Invalid> {
        let object = Self::parse_of_any_size(json, levels_max)?;
        if object.members.len() > MEMBERS_MAX {
            return Err(Invalid::document(InvalidKind::OutOfRange, format!("more than {MEMBERS_MAX} members")));
        }
        Ok(object)
    }

    /// Reads one JSON object, however many members it has: those inside another are not searched by name.
    fn parse_of_any_size(json: &[u8], levels_max: usize) -> Result<Self, Invalid> {
        check_levels(json, levels_max)?;
        let no_object = |_| {
            let detail = format!("the JSON must be an object, as {{\"name\":1}}, and is {}", kind_of_json(json));
            Invalid::document(InvalidKind::WrongType, detail)
        };
        let RawMembers(raw) = serde_json::from_slice(json).map_err(no_object)?;
        let members = raw.into_iter().map(|(name, value)| (name, compact(value.get()))).collect();
        Ok(Self { members })
    }

    /// Makes an object of members that are known to be well formed, such as those of a stored record.
    pub(crate) fn from_members(members: Vec<(String, String)>) -> Self {
        Self { members }
    }

    /// The members in their order: name, and value as JSON text.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.members.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns the JSON text of the member called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.members.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether there is a member called `name`; a `null` counts as absent.
    fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "null")
    }

    /// Whether both hold the same members, in any order.
    #[must_use]
    pub fn same_members(&self, other: &Self) -> bool {
        self.members.len() == other.members.len() && self.iter().all(|(name, value)| other.get(name) == Some(value))
    }

    /// The same members in the order of their names.
    pub(crate) fn sorted(mut self) -> Self {
        self.members.sort_unstable();
        self
    }

    /// The JSON text of the whole object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = b"{".to_vec();
        for (name, value) in self.iter() {
            if out.len() > 1 {
                out.push(b',');
            }
            write_json_string(&mut out, name);
            out.push(b':');
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'}');
        String::from_utf8(out).unwrap_or_default()
    }

    /// Sets or replaces a member; `value` is compact JSON text.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        match self.members.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.to_owned(), value)),
        }
    }

    /// Takes a member out; a `null` counts as absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.members.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.members.remove(at);
        (value != "null").then_some(value)
    }

    /// Takes out a string of at most `bytes_max` bytes.
    pub(crate) fn take_string(&mut self, name: &str, bytes_max: usize) -> Result<Option<String>, Invalid> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        let text: String = serde_json::from_str(&raw)
            .map_err(|_| Invalid::member(InvalidKind::WrongType, name, format!("{name} must be a string")))?;
        if text.len() > bytes_max {
            return Err(Invalid::member(
                InvalidKind::OutOfRange,
                name,
                format!("{name} is longer than {bytes_max} bytes"),
            ));
        }
        Ok(Some(text))
    }

    /// Takes out a string that `parse` reads.
    pub(crate) fn take_parsed<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        /// The parsers have their own, shorter limits; this one only keeps a huge text from being copied.
        const BYTES_MAX: usize = 64 * 1024;
        let Some(text) = self.take_string(name, BYTES_MAX)? else { return Ok(None) };
        parse(&text).map(Some).map_err(|error| Invalid::member(error.kind(), name, error.to_string()))
    }

    /// Takes the id of the record, which is an overlay or the like; `named` is the one that the request names, if it
    /// does.
    pub(crate) fn take_id<T: Clone + PartialEq + fmt::Display>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, Invalid>,
        named: Option<&T>,
        record: &str,
    ) -> Result<T, Invalid> {
        match (self.take_parsed(name, parse)?, named) {
            (Some(found), Some(named)) if found != *named => {
                let detail = format!("{name} {found} is not {named}, which the request names");
                Err(Invalid::member(InvalidKind::IdMismatch, name, detail))
            }
            (_, Some(named)) => Ok(named.clone()),
            (Some(found), None) => Ok(found),
            (None, None) => Err(Invalid::member(InvalidKind::MissingMember, name, format!("{record} needs {name}"))),
        }
    }

    /// Takes out a number, or a string that holds one, that lies within `least..=most`.
    pub(crate) fn take_decimal(
        &mut self,
        name: &str,
        least: Decimal,
        most: Decimal,
    ) -> Result<Option<Decimal>, Invalid> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        let value = decimal_of_json(&raw).map_err(|error| match error {
            DecimalError::Syntax => {
                Invalid::member(InvalidKind::WrongType, name, format!("{name} must be a decimal number"))
            }
            DecimalError::OutOfRange => Invalid::member(InvalidKind::OutOfRange, name, format!("{name} is {error}")),
        })?;
        if value < least || value > most {
            return Err(Invalid::member(
                InvalidKind::OutOfRange,
                name,
                format!("{name} is {value}, outside {least} to {most}"),
            ));
        }
        Ok(Some(value))
    }

    /// Takes out a whole number within `0..=most`.
    pub(crate) fn take_count(&mut self, name: &str, most: u32) -> Result<Option<u32>, Invalid> {
        let bound = Decimal::from_int(i64::from(most)).unwrap_or_default();
        let Some(value) = self.take_decimal(name, Decimal::ZERO, bound)? else { return Ok(None) };
        let units_per_one = Decimal::ONE.units();
        if value.units() % units_per_one != 0 {
            return Err(Invalid::member(InvalidKind::WrongType, name, format!("{name} must be a whole number")));
        }
        Ok(u32::try_from(value.units() / units_per_one).ok())
    }

    /// Takes out a time: RFC 3339 or ISO 8601 (without an offset it is UTC), or Unix seconds.
    pub(crate) fn take_time(&mut self, name: &str) -> Result<Option<UnixMillis>, Invalid> {
        let Some(raw) = self.take(name) else { return Ok(None) };
        let moment = if raw.starts_with('"') {
            serde_json::from_str::<String>(&raw).ok().and_then(|text| UnixMillis::parse(&text))
        } else {
            Decimal::parse(&raw).ok().and_then(UnixMillis::from_unix_seconds)
        };
        let explain = || Invalid::member(InvalidKind::InvalidTime, name, UnixMillis::explain(name, &raw));
        moment.map(Some).ok_or_else(explain)
    }

    /// Returns what is left, once the known members were taken out, for a record to keep.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::OutOfRange`] if that is more than 240 members.
    pub(crate) fn kept(self) -> Result<Self, Invalid> {
        if self.members.len() > KEPT_MEMBERS_MAX {
            let detail = format!("more than {KEPT_MEMBERS_MAX} members beside the known ones");
            return Err(Invalid::document(InvalidKind::OutOfRange, detail));
        }
        Ok(self)
    }

    /// Refuses members that nearly spell one of the `known` names, as `acount_balance` does, or are what other programs
    /// call one of them.
    ///
    /// Such a member would be kept as an unknown one and change nothing, silently. Names that only add a number
    /// (`session_2`) are names of their own.
    pub(super) fn refuse_misspelled(&self, known: &[&str], others: &OtherNames) -> Result<(), Invalid> {
        for (name, _) in self.iter().filter(|(name, _)| !known.contains(name)) {
            let letters = bare(name);
            let nearly = || known.iter().find(|known| nearly_spells(&letters, &bare(known))).copied();
            let meant = match other_names::meant(others, &letters) {
                Some(Meant::Unless(_, beside)) if beside.iter().any(|member| self.has(member)) => continue,
                Some(Meant::Nothing(instead)) => {
                    let detail = format!("there is no member \"{name}\": {instead}");
                    return Err(Invalid::member(InvalidKind::MisspelledMember, name, detail));
                }
                Some(Meant::Member(meant) | Meant::Unless(meant, _)) => Some(meant),
                None => nearly(),
            };
            if let Some(meant) = meant {
                let detail = format!("\"{name}\" is not a known member; \"{meant}\" is");
                return Err(Invalid::member(InvalidKind::MisspelledMember, name, detail));
            }
        }
        Ok(())
    }

    /// Applies an RFC 7396 merge patch: `null` removes, objects merge, anything else replaces.
    #[must_use]
    pub(crate) fn merged(mut self, patch: &Self) -> Self {
        for (name, value) in patch.iter() {
            if value == "null" {
                self.members.retain(|(known, _)| known != name);
            } else if value.starts_with('{') {
                let old = self.get(name).filter(|old| old.starts_with('{')).unwrap_or("{}");
                // Both texts were checked when they came in; a damaged one merges as if it were empty.
                let old = Self::parse_of_any_size(old.as_bytes(), LEVELS_MAX).unwrap_or_default();
                let inner = Self::parse_of_any_size(value.as_bytes(), LEVELS_MAX).unwrap_or_default();
                self.set(name, old.merged(&inner).to_json());
            } else {
                self.set(name, value.to_owned());
            }
        }
        self
    }
}

/// Checks that a text is one JSON value without duplicate members, at most 64 levels deep, whose numbers an
/// ordinary reader can hold.
///
/// # Errors
///
/// [`InvalidKind::MalformedJson`] or [`InvalidKind::DuplicateMember`].
pub fn check_json(json: &[u8]) -> Result<(), Invalid> {
    check_levels(json, LEVELS_MAX)
}

fn check_levels(json: &[u8], levels_max: usize) -> Result<(), Invalid> {
    let place = RefCell::default();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let strict = Strict { levels: levels_max, place: &place };
    let read = strict.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    read.map_err(|error| {
        let text = error.to_string();
        let (kind, what) = if text.starts_with(DUPLICATE) {
            (InvalidKind::DuplicateMember, "the member stands there twice".to_owned())
        } else if text.starts_with(TOO_LARGE) {
            (InvalidKind::OutOfRange, "the number is too large".to_owned())
        } else if text.starts_with(TOO_DEEP) {
            (InvalidKind::MalformedJson, format!("nested deeper than {levels_max} levels"))
        } else if json.trim_ascii().is_empty() {
            (InvalidKind::MalformedJson, "there is no JSON, but nothing".to_owned())
        } else if error.is_eof() {
            (InvalidKind::MalformedJson, "the JSON ends before it is complete".to_owned())
        } else {
            (InvalidKind::MalformedJson, format!("this is not JSON: {}", text_before(json, &error)))
        };
        let line = if error.line() > 1 { format!("line {}, ", error.line()) } else { String::new() };
        let detail = format!("{what} ({line}column {})", error.column());
        // Where a text breaks off is no member's fault, and where it is too deep has too long a name.
        let is_nowhere = error.is_eof() || text.starts_with(TOO_DEEP);
        let place = if is_nowhere { Vec::new() } else { place.into_inner() };
        Invalid::at(kind, place.iter().rev().map(String::as_str), detail)
    })
}

/// The end of the text that a parser had read when it failed, so that the slip can be seen.
fn text_before(json: &[u8], error: &serde_json::Error) -> String {
    /// Enough to find the place by.
    const SHOWN_BYTES: usize = 24;
    let line = json.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let read = line.get(..error.column()).unwrap_or(line);
    String::from_utf8_lossy(read.get(read.len().saturating_sub(SHOWN_BYTES)..).unwrap_or_default()).into_owned()
}

/// What kind of value a JSON text is.
fn kind_of_json(json: &[u8]) -> &'static str {
    match json.trim_ascii_start().first() {
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Reads a decimal from a JSON number or a JSON string that holds nothing else.
fn decimal_of_json(raw: &str) -> Result<Decimal, DecimalError> {
    if !raw.starts_with('"') {
        return Decimal::parse(raw);
    }
    let text: Cow<'_, str> = serde_json::from_str(raw).map_err(|_| DecimalError::Syntax)?;
    Decimal::parse(&text)
}

/// The letters and digits of a name, in lower case.
pub(super) fn bare(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Whether a name looks like a slip of the pen for a known one; both are bare.
fn nearly_spells(name: &str, known: &str) -> bool {
    // One slip in a short name, two in a long one; fewer than four letters are no evidence.
    let slips = if known.len() >= 9 { 2 } else { 1 };
    let is_numbered = || name.trim_end_matches(|digit: char| digit.is_ascii_digit()) == known && name != known;
    // A slip changes the length by at most one: this decides most pairs without a comparison.
    let is_like = name.len() >= 4 && name.len().abs_diff(known.len()) <= slips;
    is_like && !is_numbered() && strsim::osa_distance(name, known) <= slips
}

/// Appends a JSON string, escaped as `serde_json` does it.
pub fn write_json_string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let start = out.len();
    // Writing a string into a growing buffer can not fail; if it ever did, half a string must not stay.
    if serde_json::to_writer(&mut *out, text).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"\"\"");
    }
}

/// Drops the white space between tokens.
pub(crate) fn compact(json: &str) -> String {
    if !json.contains([' ', '\t', '\n', '\r']) {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for letter in json.chars() {
        if in_string {
            in_string = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else if matches!(letter, ' ' | '\t' | '\n' | '\r') {
            continue;
        } else {
            in_string = letter == '"';
        }
        out.push(letter);
    }
    out
}

/// The members of an object as they stand in the text.
pub(crate) struct RawMembers<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for RawMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// How the error about a duplicate begins.
const DUPLICATE: &str = "the member stands there twice";
/// How the error about nesting begins.
const TOO_DEEP: &str = "nested too deeply";
/// How the parser's error about a number that an ordinary reader can not hold begins.
const TOO_LARGE: &str = "number out of range";

/// Any JSON value in which no object holds a member twice, with so many more levels allowed inside.
#[derive(Clone, Copy)]
struct Strict<'a> {
    levels: usize,
    /// Where reading failed: names and indices from the inside out.
    place: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Strict<'_> {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1);
        Ok(Self { levels: levels.ok_or_else(|| E::custom(TOO_DEEP))?, ..self })
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        for index in 0_usize.. {
            let element = seq.next_element_seed(inside);
            if element.inspect_err(|_| self.place.borrow_mut().push(index.to_string()))?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        // Most objects have few members, and of many no search takes long.
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                self.place.borrow_mut().push(name);
                return Err(serde::de::Error::custom(DUPLICATE));
            }
            if let Err(error) = map.next_value_seed(inside) {
                self.place.borrow_mut().push(name);
                return Err(error);
            }
            names.insert(name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &str) -> Object {
        Object::parse(json.as_bytes()).unwrap()
    }

    #[track_caller]
    fn refused(json: &str, kind: InvalidKind, pointer: &str) {
        let error = Object::parse(json.as_bytes()).unwrap_err();
        assert_eq!((error.kind(), error.pointer()), (kind, pointer), "{json}: {error}");
    }

    #[test]
    fn values_keep_their_text_and_lose_only_the_white_space_between_tokens() {
        let text = "{ \"a\" : 1.10 , \"b\":\t{\"c\": [ 1e2 , \" x \\\" \" ]}\n}";
        assert_eq!(object(text).to_json(), r#"{"a":1.10,"b":{"c":[1e2," x \" "]}}"#);
    }

    #[test]
    fn a_member_given_twice_is_refused_at_any_depth() {
        refused(r#"{"a":1,"a":2}"#, InvalidKind::DuplicateMember, "/a");
        refused(r#"{"x":[{"b":1,"b":1}]}"#, InvalidKind::DuplicateMember, "/x/0/b");
        refused(r#"{"a":1,"\u0061":2}"#, InvalidKind::DuplicateMember, "/a");
        refused(r#"{"say \"a\"/~":1,"say \"a\"/~":2}"#, InvalidKind::DuplicateMember, "/say \"a\"~1~0");
    }

    #[test]
    fn what_is_not_one_json_object_is_refused() {
        for text in ["", " ", "{", "[", "{}{}", "\u{feff}{}", "{'a':1}", "{\"a\":1"] {
            refused(text, InvalidKind::MalformedJson, "");
        }
        for (value, kind) in [
            ("[]", "a list"),
            (" 1", "a number"),
            ("-0.5", "a number"),
            ("\"{}\"", "a string"),
            ("true", "true or false"),
            ("null", "null"),
        ] {
            refused(value, InvalidKind::WrongType, "");
            let error = Object::parse(value.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, format!("the JSON must be an object, as {{\"name\":1}}, and is {kind}"));
        }
        for value in ["NaN", "Infinity", "01", "+1"] {
            refused(&format!("{{\"a\":[0,{value}]}}"), InvalidKind::MalformedJson, "/a/1");
        }
        refused("{\"a\":{\"b\":1e999}}", InvalidKind::OutOfRange, "/a/b");
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err());
        let nested = |lists: usize| format!("{{\"a\":{}{}}}", "[".repeat(lists), "]".repeat(lists));
        refused(&nested(200), InvalidKind::MalformedJson, "");
        refused(&nested(64), InvalidKind::MalformedJson, "");
        assert_eq!(object(&nested(63)).to_json(), nested(63));
    }

    #[test]
    fn what_is_not_json_is_shown_up_to_the_slip() {
        let said = |json: &str| Object::parse(json.as_bytes()).unwrap_err().to_string();
        assert_eq!(said("{\"a\":1 \"b\":2}"), "this is not JSON: {\"a\":1 \" (column 8)");
        assert_eq!(said("{\n  \"a\": 1,\n  b: 2\n}"), "this is not JSON:   b (line 3, column 3)");
        let long = format!("{{\"{}\":x}}", "a".repeat(100));
        assert_eq!(said(&long), format!("this is not JSON: {}\":x (column 105)", "a".repeat(21)));
        assert_eq!(said("{\"a\":1e999}"), "the number is too large (column 10)");
        assert_eq!(said("{\"a\":[1,2"), "the JSON ends before it is complete (column 9)");
        assert_eq!(said(""), "there is no JSON, but nothing (column 0)");
    }

    #[test]
    fn a_number_in_a_string_is_read_without_its_escapes() {
        let decimal = |json: &str| object(json).take_decimal("a", Decimal::ZERO, Decimal::ONE);
        assert_eq!(decimal(r#"{"a":"0\u002e5"}"#).unwrap(), Some(Decimal::parse("0.5").unwrap()));
        assert_eq!(decimal(r#"{"a":"\u0031"}"#).unwrap(), Some(Decimal::ONE));
        assert!(decimal(r#"{"a":"0.5\u0020"}"#).is_err());
    }

    #[test]
    fn a_merge_patch_follows_rfc_7396() {
        let check = |target: &str, patch: &str, expected: &str| {
            assert_eq!(object(target).merged(&object(patch)).to_json(), expected, "{target} + {patch}");
        };
        // The object cases of the RFC's appendix A.
        check(r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#);
        check(r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#);
        check(r#"{"a":"b"}"#, r#"{"a":null}"#, "{}");
        check(r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#);
        check(r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#);
        check(r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#);
        check(r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#);
        check(r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#);
        check("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#);
    }

    #[test]
    fn a_large_inner_object_is_merged_and_not_lost() {
        let many: Vec<_> = (0..300).map(|at| format!("\"n{at}\":{at}")).collect();
        let large = format!("{{\"a\":{{{}}}}}", many.join(","));
        let merged = object(&large).merged(&object(r#"{"a":{"n0":null}}"#)).to_json();
        assert_eq!(merged, large.replace("\"n0\":0,", ""));
        assert_eq!(object("{}").merged(&object(&large)).to_json(), large);
    }

    #[test]
    fn names_that_nearly_spell_a_known_one_are_refused() {
        let known = ["account_balance", "tier", "take_profit", "stop_pips", "expires_at"];
        for name in [
            "acount_balance",
            "accountBalance",
            "account-balance",
            "acconut_balance",
            "tiers",
            "Tier",
            "take_proft",
            "expires",
        ] {
            let error = object(&format!("{{\"{name}\":1}}")).refuse_misspelled(&known, &[]).unwrap_err();
            assert_eq!((error.kind(), error.pointer()), (InvalidKind::MisspelledMember, format!("/{name}").as_str()));
        }
        for name in [
            "account_equity",
            "take_profit_2",
            "tp_pips",
            "sl_pips",
            "session",
            "ti",
            "tier_required",
            "account_balance",
        ] {
            object(&format!("{{\"{name}\":1}}")).refuse_misspelled(&known, &[]).unwrap();
        }
    }

    proptest::proptest! {
        /// What is looked at first only spares the comparison.
        #[test]
        fn a_name_is_refused_if_and_only_if_few_slips_lead_to_a_known_one(
            known in "[a-z]{3,8}(_[a-z0-9]{2,8})?",
            slips in proptest::collection::vec((0_usize..4, 0_usize..20, "[a-zA-Z0-9_]"), 0..4),
        ) {
            let mut name: Vec<char> = known.chars().collect();
            for (kind, at, letter) in slips {
                let (at, letter) = (at % name.len().max(1), letter.chars().next().unwrap());
                match kind {
                    0 => name.insert(at, letter),
                    1 if name.len() > 1 => drop(name.remove(at)),
                    2 if at + 1 < name.len() => name.swap(at, at + 1),
                    _ => name[at] = letter,
                }
            }
            let name: String = name.into_iter().collect();
            let bare = |text: &str| text.replace('_', "").to_ascii_lowercase();
            let slips = if bare(&known).len() >= 9 { 2 } else { 1 };
            let only_numbered = bare(&name) != bare(&known)
                && bare(&name).trim_end_matches(|digit: char| digit.is_ascii_digit()) == bare(&known);
            let is_near = bare(&name).len() >= 4
                && !only_numbered
                && strsim::osa_distance(&bare(&name), &bare(&known)) <= slips;
            let refused = object(&format!("{{\"{name}\":1}}")).refuse_misspelled(&[&known], &[]).is_err();
            assert_eq!(refused, is_near && name != known, "{name} for {known}");
        }
    }
}
