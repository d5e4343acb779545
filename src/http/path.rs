//! Ids in the path of a request.
//!
//! A route names its parameters `{user}`, `{signal}` and `{pair}`; a handler takes as many [`PathId`]s as it needs.
//! The text is percent-decoded once and parsed where it stands, without a copy in between. Slashes, NUL, blanks and
//! `..`, encoded or not, break the rule for ids and so never get past here.

use std::fmt;
use std::marker::PhantomData;

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::Problem;
use crate::domain::{Invalid, Pair, SignalId, UserId};

/// An id or name that stands in the path of a route.
pub trait PathParameter: Sized + Send {
    /// The parameter's name in the route, without braces.
    const NAME: &'static str;

    /// Parses the percent-decoded text.
    ///
    /// # Errors
    ///
    /// If the text breaks the rule for this kind of id.
    fn parse(text: &str) -> Result<Self, Invalid>;
}

impl PathParameter for UserId {
    const NAME: &'static str = "user";

    fn parse(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl PathParameter for SignalId {
    const NAME: &'static str = "signal";

    fn parse(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl PathParameter for Pair {
    const NAME: &'static str = "pair";

    fn parse(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

/// The path parameter named [`PathParameter::NAME`]; 400 `invalid-id` if it is none.
#[derive(Debug)]
pub struct PathId<T>(pub T);

impl<T: PathParameter, S: Send + Sync> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<Found<T>>::from_request_parts(parts, state).await {
            Ok(Path(Found(Some(Ok(id))))) => Ok(Self(id)),
            Ok(Path(Found(Some(Err(invalid))))) => Err(Problem::invalid_path_id(T::NAME, invalid.to_string())),
            Ok(Path(Found(None))) => Err(Problem::internal(&MissingParameter(T::NAME))),
            Err(PathRejection::FailedToDeserializePathParams(error)) => match error.into_kind() {
                ErrorKind::InvalidUtf8InPathParam { key } => {
                    Err(Problem::invalid_path_id(&key, format!("{key} is not UTF-8 once it is percent-decoded")))
                }
                other => Err(Problem::internal(&std::io::Error::other(other.to_string()))),
            },
            Err(other) => Err(Problem::internal(&other)),
        }
    }
}

/// A handler asks for a parameter that its route does not have: a slip in this program.
#[derive(Debug, thiserror::Error)]
#[error("the route has no parameter {{{0}}}")]
struct MissingParameter(&'static str);

/// The parameter's value as parsed, or `None` if the route has no such parameter.
struct Found<T>(Option<Result<T, Invalid>>);

impl<'de, T: PathParameter> Deserialize<'de> for Found<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FindVisitor(PhantomData)).map(Self)
    }
}

/// Looks through all parameters for the one of `T`.
struct FindVisitor<T>(PhantomData<T>);

impl<'de, T: PathParameter> Visitor<'de> for FindVisitor<T> {
    type Value = Option<Result<T, Invalid>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("path parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(Compare(T::NAME))? {
            let value = map.next_value_seed(Parse::<T>(is_it, PhantomData))?;
            found = found.or(value);
        }
        Ok(found)
    }
}

/// Reads a name and tells whether it is the one looked for.
struct Compare(&'static str);

impl<'de> DeserializeSeed<'de> for Compare {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Compare {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// Parses a value, or passes it over.
struct Parse<T>(bool, PhantomData<T>);

impl<'de, T: PathParameter> DeserializeSeed<'de> for Parse<T> {
    type Value = Option<Result<T, Invalid>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T: PathParameter> Visitor<'_> for Parse<T> {
    type Value = Option<Result<T, Invalid>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0.then(|| T::parse(text)))
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::extract::Request;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn get_path(path: &str) -> (u16, String) {
        let router: Router = Router::new()
            .route(
                "/users/{user}/missions/{signal}",
                get(async |PathId(signal): PathId<SignalId>, PathId(user): PathId<UserId>| format!("{user} {signal}")),
            )
            .route("/rates/{pair}", get(async |PathId(pair): PathId<Pair>| pair.to_string()))
            .route("/slip/{other}", get(async |PathId(pair): PathId<Pair>| pair.to_string()));
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ids_are_decoded_and_told_apart_by_their_names() {
        assert_eq!(get_path("/users/-100/missions/EURUSD-1").await, (200, "-100 EURUSD-1".to_owned()));
        assert_eq!(get_path("/users/a%40b/missions/x:y").await, (200, "a@b x:y".to_owned()));
        assert_eq!(get_path("/rates/gbpusd").await, (200, "GBPUSD".to_owned()));
        assert_eq!(get_path("/rates/gbp%2Fusd").await, (200, "GBPUSD".to_owned()));
    }

    #[tokio::test]
    async fn ids_that_break_the_rule_are_refused_by_name() {
        let long = "x".repeat(10_000);
        for bad in
            ["a%2Fb", "a%00b", "%00", "..", "%2e%2e", ".", "a%20b", "%ff", "%C3%A9", "a%zz", "a%", "a+b", "a%0d", &long]
        {
            let (status, body) = get_path(&format!("/users/1/missions/{bad}")).await;
            assert_eq!(status, 400, "{bad}");
            assert!(body.contains(r#""code":"invalid-id""#), "{body}");
            assert!(body.contains(r#""parameter":"signal""#), "{body}");
            assert!(body.len() < 600, "the problem stays short");
            let (status, body) = get_path(&format!("/users/{bad}/missions/1")).await;
            assert!(status == 400 && body.contains(r#""parameter":"user""#), "{body}");
        }
        assert_eq!(get_path("/rates/eur").await.0, 400);
    }

    #[tokio::test]
    async fn a_handler_that_asks_for_what_its_route_lacks_is_our_fault() {
        let (status, body) = get_path("/slip/EURUSD").await;
        assert!(status == 500 && !body.contains("pair"), "{body}");
    }
}
