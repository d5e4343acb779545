//! Query strings, read strictly.
//!
//! A parameter that a route does not know is refused rather than passed over, as `?teir=GOLD` would otherwise list every
//! tier. The names a route knows are the fields of the struct it asks for; a field that is a sequence takes values
//! with commas between them (`?users=7,8`).

use std::borrow::Cow;
use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess};
use serde::de::{Error as _, Visitor};
use serde::forward_to_deserialize_any;

use super::Problem;

/// The query of a request as a struct; `Option` and `#[serde(default)]` fields may be left out.
///
/// 400 with the parameter's name: `unknown-parameter`, `duplicate-parameter`, `missing-parameter` or
/// `invalid-parameter`. `#[serde(flatten)]` is not supported.
#[derive(Debug)]
pub struct StrictQuery<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for StrictQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn parse<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let mut pairs = Vec::new();
    for piece in query.split('&').filter(|piece| !piece.is_empty()) {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let name = decode(name).ok_or_else(|| Problem::unknown_parameter(name, &[]))?;
        let value =
            decode(value).ok_or_else(|| Problem::invalid_parameter(&name, "the value is not percent-encoded UTF-8"))?;
        pairs.push((name, value));
    }
    T::deserialize(Query(pairs)).map_err(|Refused(problem)| problem)
}

/// Undoes `%xx` and `+`. `None` if the text is not well encoded or not UTF-8 behind it.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// An error on its way through serde.
#[derive(Debug)]
struct Refused(Problem);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.detail())
    }
}

impl std::error::Error for Refused {}

impl serde::de::Error for Refused {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(Problem::invalid_parameter("", message.to_string()))
    }

    fn missing_field(field: &'static str) -> Self {
        Self(Problem::missing_parameter(field))
    }
}

/// All parameters, as names and values.
struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de> Deserializer<'de> for Query<'_> {
    type Error = Refused;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        for (at, (name, _)) in self.0.iter().enumerate() {
            if !known.contains(&name.as_ref()) {
                return Err(Refused(Problem::unknown_parameter(name, known)));
            }
            if self.0.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(Refused(Problem::duplicate_parameter(name)));
            }
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_map(Pairs { rest: self.0.iter(), current: None })
    }

    /// A route without parameters.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.0.first() {
            Some((name, _)) => Err(Refused(Problem::unknown_parameter(name, &[]))),
            None => visitor.visit_unit(),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Pairs<'a> {
    rest: std::slice::Iter<'a, (Cow<'a, str>, Cow<'a, str>)>,
    current: Option<&'a (Cow<'a, str>, Cow<'a, str>)>,
}

impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        self.current = self.rest.next();
        let Some((name, _)) = self.current else { return Ok(None) };
        let name: StrDeserializer<'_, Refused> = name.as_ref().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        let Some((name, value)) = self.current.take() else { return Err(Refused::custom("a value without a name")) };
        // Only here is it known which parameter the value belongs to.
        seed.deserialize(Value(value))
            .map_err(|refused| Refused(Problem::invalid_parameter(name, refused.0.detail().to_owned())))
    }
}

/// The text of one parameter.
#[derive(Clone, Copy)]
struct Value<'a>(&'a str);

macro_rules! parsed {
    ($($method:ident $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(error) => Err(Refused::custom(error)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Refused;

    parsed! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8
        deserialize_i16 visit_i16
        deserialize_i32 visit_i32
        deserialize_i64 visit_i64
        deserialize_u8 visit_u8
        deserialize_u16 visit_u16
        deserialize_u32 visit_u32
        deserialize_u64 visit_u64
        deserialize_char visit_char
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_seq(Elements(self.0.split(',')))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Value<'_> {
    type Error = Refused;
    type Variant = <StrDeserializer<'static, Refused> as EnumAccess<'de>>::Variant;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), Refused> {
        let text: StrDeserializer<'_, Refused> = self.0.into_deserializer();
        text.variant_seed(seed)
    }
}

/// The values of a parameter that takes several.
struct Elements<'a>(std::str::Split<'a, char>);

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        self.0.next().map(|element| seed.deserialize(Value(element))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::domain::{TierName, UserId};

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Filter {
        tier: Option<TierName>,
        users: Option<Vec<UserId>>,
        limit: Option<u32>,
        #[serde(default)]
        status: Status,
        cursor: Option<String>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Status {
        #[default]
        All,
        Active,
    }

    #[derive(Debug, Deserialize)]
    struct Needs {
        #[serde(rename = "since")]
        _since: u64,
    }

    #[track_caller]
    fn refused<T: DeserializeOwned + fmt::Debug>(query: &str, code: &str, parameter: &str) {
        let problem = parse::<T>(query).unwrap_err();
        let json = problem.to_json();
        assert_eq!((problem.status().as_u16(), problem.code()), (400, code), "{query}: {json}");
        assert!(json.contains(&format!("\"parameter\":\"{parameter}\"")), "{query}: {json}");
    }

    #[test]
    fn known_parameters_are_read() {
        assert_eq!(parse::<Filter>("").unwrap(), Filter::default());
        let filter: Filter = parse("tier=press+pass&users=7,-100&limit=50&status=active&&cursor=a%2Fb%3D").unwrap();
        assert_eq!(
            filter,
            Filter {
                tier: Some(TierName::parse("PRESS_PASS").unwrap()),
                users: Some(vec![UserId::parse("7").unwrap(), UserId::parse("-100").unwrap()]),
                limit: Some(50),
                status: Status::Active,
                cursor: Some("a/b=".to_owned()),
            }
        );
        parse::<()>("").unwrap();
    }

    #[test]
    fn whatever_is_not_understood_is_refused_by_name() {
        refused::<Filter>("teir=GOLD", "unknown-parameter", "teir");
        refused::<Filter>("=x", "unknown-parameter", "");
        refused::<Filter>("limit", "invalid-parameter", "limit");
        refused::<Filter>("limit=1&tier=A&limit=2", "duplicate-parameter", "limit");
        refused::<Filter>("limit=1&limi%74=2", "duplicate-parameter", "limit");
        refused::<Filter>("limit=-1", "invalid-parameter", "limit");
        refused::<Filter>("limit=9999999999", "invalid-parameter", "limit");
        refused::<Filter>("status=done", "invalid-parameter", "status");
        refused::<Filter>("users=", "invalid-parameter", "users");
        refused::<Filter>("users=7,,8", "invalid-parameter", "users");
        refused::<Filter>("users=a%00", "invalid-parameter", "users");
        refused::<Filter>("cursor=%ff", "invalid-parameter", "cursor");
        refused::<Filter>("cursor=%z1", "invalid-parameter", "cursor");
        refused::<Filter>("cursor=%1", "invalid-parameter", "cursor");
        refused::<Needs>("", "missing-parameter", "since");
        refused::<()>("x=1", "unknown-parameter", "x");
    }

    #[test]
    fn an_unknown_parameter_comes_with_the_known_ones() {
        let problem = parse::<Filter>("x=1").unwrap_err();
        assert_eq!(
            problem.detail(),
            "\"x\" is not a parameter of this route; known are tier, users, limit, status, cursor"
        );
    }
}
