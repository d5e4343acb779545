//! JSON of old files, read strictly and with the text of every number kept.
//!
//! `serde_json` reads and checks the text. Each object becomes a list of members, which borrow from the file. Numbers
//! stay text until a caller asks for a decimal, so that no price ever passes through a binary float. An object that
//! holds a member twice is refused at any depth, as two readers may disagree on what it says.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::names::{NameId, Names};
use crate::domain::{RawMembers, compact};
use crate::render::write_string;

/// Deepest nesting: real files have four levels.
const DEPTH_MAX: usize = 32;

/// Words that Python writes in the place of a number. JSON does not have them.
const NON_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Why a text is not usable JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum JsonError {
    /// Not JSON; the text says where.
    Syntax(String),
    /// An object has a member twice.
    Duplicate(String),
    /// Nested deeper than 32 levels.
    Depth,
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self::Syntax(error.to_string())
    }
}

/// One JSON value of a file.
#[derive(Debug)]
pub(super) struct Value<'a> {
    /// The text of the value in the file.
    raw: &'a str,
    kind: Kind<'a>,
}

#[derive(Debug)]
enum Kind<'a> {
    Null,
    Bool,
    Number,
    /// One of [`NON_NUMBERS`], as a string.
    NonNumber,
    Text(String),
    Array(Vec<Value<'a>>),
    Object(Vec<Member<'a>>),
}

/// One member of an object.
#[derive(Debug)]
pub(super) struct Member<'a> {
    /// The name; a known one in the spelling that is known.
    pub(super) name: Cow<'a, str>,
    /// Which known name it is.
    pub(super) id: Option<NameId>,
    /// Whether the file has the name in another spelling.
    is_respelled: bool,
    /// The value.
    pub(super) value: Value<'a>,
}

impl<'a> Value<'a> {
    /// Reads one JSON value.
    pub(super) fn parse(text: &'a str, names: &'a Names) -> Result<Self, JsonError> {
        let text = text.trim_matches([' ', '\t', '\n', '\r']);
        if !text.starts_with('{') {
            // Reading an object checks all of its text; the rest is checked here.
            let _: &RawValue = serde_json::from_str(text)?;
        }
        Self::read(text, names, 0)
    }

    fn read(raw: &'a str, names: &'a Names, depth: usize) -> Result<Self, JsonError> {
        if depth > DEPTH_MAX {
            return Err(JsonError::Depth);
        }
        let kind = match raw.as_bytes().first() {
            Some(b'{') => Kind::Object(read_members(raw, names, depth)?),
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(raw)?;
                let items = items.into_iter().map(|item| Self::read(item.get(), names, depth + 1));
                Kind::Array(items.collect::<Result<_, _>>()?)
            }
            Some(b'"') => match serde_json::from_str::<String>(raw)? {
                text if NON_NUMBERS.contains(&&*text) => Kind::NonNumber,
                text => Kind::Text(text),
            },
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Bool,
            // What an ordinary reader can not hold (1e999) must not get into a record.
            _ if raw.parse::<f64>().is_ok_and(f64::is_finite) => Kind::Number,
            _ => return Err(JsonError::Syntax("number out of range".to_owned())),
        };
        Ok(Self { raw, kind })
    }

    /// The value as compact JSON text, as a record keeps it.
    pub(super) fn json(&self) -> String {
        compact(self.raw)
    }

    /// Whether this is an object.
    pub(super) const fn is_object(&self) -> bool {
        matches!(self.kind, Kind::Object(_))
    }

    /// The members of an object; none of anything else.
    pub(super) fn members(&self) -> &[Member<'a>] {
        match &self.kind {
            Kind::Object(members) => members,
            _ => &[],
        }
    }

    /// The member called `name`; a `null` counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let member = self.members().iter().find(|member| member.name == name)?;
        Some(&member.value).filter(|value| !value.is_null())
    }

    /// The member of a known name; a `null` counts as absent.
    pub(super) fn find(&self, id: NameId) -> Option<&Self> {
        let member = self.members().iter().find(|member| member.id == Some(id))?;
        Some(&member.value).filter(|value| !value.is_null())
    }

    /// The members of these names that there are, in the order of the names.
    pub(super) fn all<'v>(&'v self, names: &'v [NameId]) -> impl Iterator<Item = &'v Self> {
        names.iter().filter_map(|id| self.find(*id))
    }

    /// Whether there is a member of one of these names.
    pub(super) fn has_any(&self, names: &[NameId]) -> bool {
        self.all(names).next().is_some()
    }

    /// The string, if this is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a number.
    pub(super) fn number(&self) -> Option<&'a str> {
        matches!(self.kind, Kind::Number).then_some(self.raw)
    }

    /// Whether this is one of [`NON_NUMBERS`].
    pub(super) const fn is_non_number(&self) -> bool {
        matches!(self.kind, Kind::NonNumber)
    }

    /// The items, if this is an array.
    pub(super) fn items(&self) -> Option<&[Self]> {
        match &self.kind {
            Kind::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Whether this is `null`.
    pub(super) const fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }
}

/// Reads the members of an object.
fn read_members<'a>(raw: &'a str, names: &'a Names, depth: usize) -> Result<Vec<Member<'a>>, JsonError> {
    let RawMembers(raw_members) = serde_json::from_str(raw)?;
    let mut members: Vec<Member<'a>> = Vec::with_capacity(raw_members.len());
    let mut places: HashMap<Cow<'a, str>, usize> = HashMap::with_capacity(raw_members.len());
    for (spelled, value) in raw_members {
        let value = Value::read(value.get(), names, depth + 1)?;
        let id = names.find(&spelled);
        let name = id.map_or_else(|| Cow::Owned(spelled.clone()), |id| Cow::Borrowed(names.spelling(id)));
        let is_respelled = name != spelled;
        match places.get(&name).and_then(|place| members.get(*place)) {
            None => {
                places.insert(name.clone(), members.len());
                members.push(Member { name, id, is_respelled, value });
            }
            // Said twice in two spellings is said once.
            Some(twin) if (twin.is_respelled || is_respelled) && twin.value.json() == value.json() => {}
            Some(_) => return Err(JsonError::Duplicate(spelled)),
        }
    }
    Ok(members)
}

/// Puts quotes around [`NON_NUMBERS`]; `None` if there are none outside of strings.
pub(super) fn quote_non_numbers(text: &str) -> Option<String> {
    let mut quoted = String::with_capacity(text.len() + 64);
    let (mut in_string, mut is_escaped) = (false, false);
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let word = if in_string { None } else { NON_NUMBERS.iter().find(|word| rest.starts_with(**word)) };
        let taken = word.map_or(letter.len_utf8(), |word| word.len());
        match word {
            Some(word) => quoted.extend(["\"", word, "\""]),
            None => quoted.push(letter),
        }
        in_string ^= letter == '"' && !is_escaped;
        is_escaped = in_string && letter == '\\' && !is_escaped;
        rest = rest.get(taken..)?;
    }
    (quoted.len() > text.len()).then_some(quoted)
}

/// A JSON string.
pub(super) fn json_text(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::built_in().unwrap()
    }

    #[test]
    fn members_keep_their_text_and_twins_are_refused_at_any_depth() {
        let names = names();
        let value = Value::parse(r#" {"a" : 1.10, "b":{"c": [ 1 , {"d":2} ]}, "e":null} "#, &names).unwrap();
        assert_eq!(value.get("a").unwrap().json(), "1.10");
        assert_eq!(value.get("b").unwrap().json(), r#"{"c":[1,{"d":2}]}"#);
        assert!(value.get("e").is_none(), "null is absent");
        for text in [r#"{"a":1,"a":2}"#, r#"{"x":[{"a":1,"\u0061":1}]}"#, r#"[{"a":1,"a":1}]"#] {
            assert_eq!(Value::parse(text, &names).unwrap_err(), JsonError::Duplicate("a".to_owned()), "{text}");
        }
    }

    #[test]
    fn a_known_name_has_one_spelling_and_is_one_member() {
        let names = names();
        let value = Value::parse(r#"{"stopLoss":1.5,"STOP_LOSS": 1.5,"fooBar":1,"foo_bar":2}"#, &names).unwrap();
        let found: Vec<_> = value.members().iter().map(|member| &*member.name).collect();
        assert_eq!(found, ["stop_loss", "fooBar", "foo_bar"]);
        let conflict = Value::parse(r#"{"stop_loss":1,"stopLoss":2}"#, &names).unwrap_err();
        assert_eq!(conflict, JsonError::Duplicate("stopLoss".to_owned()));
    }

    #[test]
    fn what_no_ordinary_reader_holds_is_refused() {
        let names = names();
        for text in
            ["", "{", "{\"a\":NaN}", "{\"a\":1e999}", "{\"a\":\"\\ud800\"}", "{} {}", "\u{feff}{}", "{\"a\":01}"]
        {
            assert!(matches!(Value::parse(text, &names), Err(JsonError::Syntax(_))), "{text}");
        }
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(Value::parse(&deep(34), &names).unwrap_err(), JsonError::Depth);
        assert!(Value::parse(&deep(33), &names).is_ok());
        assert!(Value::parse(&deep(100_000), &names).is_err());
    }

    #[test]
    fn what_python_writes_for_no_number_is_quoted_outside_of_strings() {
        let quoted = quote_non_numbers(r#"{"a":NaN,"b":[-Infinity, Infinity],"c":"NaN \" NaN","é":1}"#).unwrap();
        assert_eq!(quoted, r#"{"a":"NaN","b":["-Infinity", "Infinity"],"c":"NaN \" NaN","é":1}"#);
        assert_eq!(quote_non_numbers(r#"{"a":"NaN","b":"\\"}"#), None);
        let names = names();
        let value = Value::parse(&quoted, &names).unwrap();
        let a = value.get("a").unwrap();
        assert!(a.is_non_number() && a.text().is_none() && a.number().is_none());
        assert_eq!((a.json(), value.get("c").unwrap().text()), ("\"NaN\"".to_owned(), Some("NaN \" NaN")));
    }

    #[test]
    fn a_twin_is_found_among_any_number_of_members() {
        let names = names();
        let members: Vec<String> = (0..300).map(|number| format!("\"name{number}\":0")).collect();
        for count in [2, 63, 64, 65, 300] {
            let some = members[..count].join(",");
            assert_eq!(Value::parse(&format!("{{{some}}}"), &names).unwrap().members().len(), count);
            for twin in [0, count - 1] {
                let text = format!("{{{some},{}}}", members[twin]);
                let error = Value::parse(&text, &names).unwrap_err();
                assert_eq!(error, JsonError::Duplicate(format!("name{twin}")), "{count}");
            }
        }
    }
}
