//! JSON of old files, read strictly and with the text of every number kept.
//!
//! A file is parsed once: each object becomes a list of members whose values still borrow from the file. Numbers stay text
//! until somebody asks for a [`Decimal`], so that no price ever passes through a binary float. An object that holds a
//! member twice is refused at any depth, as two readers may disagree on what it says.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::{Decimal, UnixMillis};
use crate::render::write_string;

/// Deepest nesting: real files have four levels.
const DEPTH_MAX: usize = 32;

/// Why a text is not usable JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TreeError {
    /// Not JSON; the text says where.
    Syntax(String),
    /// A member stands in one object twice.
    Duplicate(String),
    /// Nested deeper than 32 levels.
    Depth,
}

/// One JSON value of a file.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
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
    Array(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl<'a> Node<'a> {
    /// Reads one JSON value.
    pub(super) fn parse(json: &'a str) -> Result<Self, TreeError> {
        let raw: &RawValue = serde_json::from_str(json).map_err(|error| TreeError::Syntax(error.to_string()))?;
        Self::of(raw.get(), 0)
    }

    fn of(raw: &'a str, depth: usize) -> Result<Self, TreeError> {
        if depth > DEPTH_MAX {
            return Err(TreeError::Depth);
        }
        let syntax = |error: serde_json::Error| TreeError::Syntax(error.to_string());
        let kind = match raw.as_bytes().first() {
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Other,
            Some(b'"') => Kind::Text(text_of(raw)?),
            Some(b'{') => {
                let Members(members) = serde_json::from_str(raw).map_err(syntax)?;
                let mut nodes: Vec<(Cow<'a, str>, Self)> = Vec::with_capacity(members.len());
                for (name, value) in members {
                    let name = text_of(name.get())?;
                    // Real objects have some thirty members: a search is cheaper than a set.
                    if nodes.iter().any(|(known, _)| *known == name) {
                        return Err(TreeError::Duplicate(name.into_owned()));
                    }
                    nodes.push((name, Self::of(value.get(), depth + 1)?));
                }
                Kind::Object(nodes)
            }
            Some(b'[') => {
                let Items(items) = serde_json::from_str(raw).map_err(syntax)?;
                Kind::Array(items.into_iter().map(|item| Self::of(item.get(), depth + 1)).collect::<Result<_, _>>()?)
            }
            _ => {
                // What an ordinary reader can not hold (1e999) must not get into a record.
                if raw.contains(['e', 'E']) && !raw.parse::<f64>().is_ok_and(f64::is_finite) {
                    return Err(TreeError::Syntax(format!("number out of range: {}", raw.get(..20).unwrap_or(raw))));
                }
                Kind::Number
            }
        };
        Ok(Self { raw, kind })
    }

    /// The value as compact JSON text, as [`Object`](crate::domain::Object) keeps it.
    pub(super) fn json(&self) -> String {
        let mut out = Vec::with_capacity(self.raw.len());
        self.write_to(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        match &self.kind {
            Kind::Object(members) => {
                out.push(b'{');
                for (index, (name, node)) in members.iter().enumerate() {
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
    pub(super) fn members(&self) -> Option<&[(Cow<'a, str>, Node<'a>)]> {
        match &self.kind {
            Kind::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The member called `name`; a `null` counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&Node<'a>> {
        self.members()?.iter().find(|(known, node)| known == name && !node.is_null()).map(|(_, node)| node)
    }

    /// The string, if this is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items, if this is an array.
    pub(super) fn items(&self) -> Option<&[Node<'a>]> {
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

    /// The moment, as a text, as Unix seconds or as Unix milliseconds.
    pub(super) fn moment(&self) -> Option<UnixMillis> {
        /// Seconds beyond the year 5138, or milliseconds after 1973.
        const MILLIS_FROM: i64 = 100_000_000_000;
        let number = match &self.kind {
            Kind::Number => self.raw,
            Kind::Text(text) => match UnixMillis::parse(text.trim()) {
                Some(moment) => return Some(moment),
                None => text.trim(),
            },
            _ => return None,
        };
        if let Some(millis) = number.parse::<i64>().ok().filter(|millis| *millis >= MILLIS_FROM) {
            return Some(UnixMillis::new(millis));
        }
        let number = Decimal::parse(number).ok()?;
        let whole = number.units() / Decimal::ONE.units();
        // A countdown is no moment; no old file is older than 2001.
        (whole >= 1_000_000_000).then(|| UnixMillis::from_unix_seconds(number)).flatten()
    }
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
        let value = Decimal::parse(&number.trim().replace(',', "")).ok()?;
        Some(Self { value, unit, shown: true })
    }
}

/// Decodes a JSON string; one without escapes is borrowed.
fn text_of(raw: &str) -> Result<Cow<'_, str>, TreeError> {
    match raw.get(1..raw.len().saturating_sub(1)) {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|error| TreeError::Syntax(error.to_string())),
    }
}

/// The members of an object, names as they stand in the text.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The items of an array.
struct Items<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;
        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_text_and_twins_are_refused_at_any_depth() {
        let node = Node::parse(r#" {"a" : 1.10, "b":{"c": [ 1 , {"d":2} ]}, "e":null} "#).unwrap();
        assert_eq!(node.get("a").unwrap().json(), "1.10");
        assert_eq!(node.get("b").unwrap().json(), r#"{"c":[1,{"d":2}]}"#);
        assert!(node.get("e").is_none(), "null is absent");
        for text in [r#"{"a":1,"a":2}"#, r#"{"x":[{"a":1,"\u0061":1}]}"#, r#"[{"a":1,"a":1}]"#] {
            assert_eq!(Node::parse(text).unwrap_err(), TreeError::Duplicate("a".to_owned()), "{text}");
        }
    }

    #[test]
    fn what_no_ordinary_reader_holds_is_refused() {
        for text in
            ["", "{", "{\"a\":NaN}", "{\"a\":1e999}", "{\"a\":\"\\ud800\"}", "{} {}", "\u{feff}{}", "{\"a\":01}"]
        {
            assert!(matches!(Node::parse(text), Err(TreeError::Syntax(_))), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Node::parse(&deep).is_err());
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
    fn moments_are_texts_seconds_or_milliseconds() {
        let read = |json: &str| Node::parse(json).unwrap().moment().map(|moment| moment.to_string());
        assert_eq!(read("\"2025-08-08T17:11:10.425808\"").as_deref(), Some("2025-08-08T17:11:10.425Z"));
        assert_eq!(read("1754673070.425").as_deref(), Some("2025-08-08T17:11:10.425Z"));
        assert_eq!(read("1754673070425").as_deref(), Some("2025-08-08T17:11:10.425Z"));
        assert_eq!(read("\"1754673070\"").as_deref(), Some("2025-08-08T17:11:10Z"));
        assert_eq!(read("600"), None, "a countdown is no moment");
        assert_eq!(read("\"16:23:45\""), None);
        assert_eq!(read("true"), None);
    }
}
