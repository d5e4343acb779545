//! Paths and queries, read strictly: what can not be read is refused by name.

use axum::extract::FromRequestParts;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::problem::{Code, Problem, echo};
use crate::domain::SignalId;

/// Ids in the path, percent-decoded; 400 `invalid-id` for one that breaks the rule for ids.
///
/// Slashes, NUL, blanks and `..`, encoded or not, break that rule and so never get past here.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let axum::extract::Path(ids) = axum::extract::Path::from_request_parts(parts, state).await?;
        Ok(Self(ids))
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        let PathRejection::FailedToDeserializePathParams(error) = rejection else {
            return Self::internal(&rejection);
        };
        match error.into_kind() {
            ErrorKind::DeserializeError { key, message, .. } => Self::parameter(Code::InvalidId, &key, message),
            ErrorKind::InvalidUtf8InPathParam { key } => {
                let detail = format!("{key} is not UTF-8 once it is percent-decoded");
                Self::parameter(Code::InvalidId, &key, detail)
            }
            // A handler asks for what its route does not have: a slip in this program.
            other => Self::internal(&std::io::Error::other(other.to_string())),
        }
    }
}

/// The signal that the path names beside a user, whom an access extractor has read.
#[derive(Debug, Deserialize)]
pub(super) struct OfSignal {
    pub(super) signal: SignalId,
}

/// The parameters that a route takes.
pub(super) trait Parameters: DeserializeOwned {
    /// Their names.
    const NAMES: &'static [&'static str];
    /// Those of them that may be given more than once.
    const LISTS: &'static [&'static str] = &[];
}

/// A route that takes none.
#[derive(Debug, Deserialize)]
pub(super) struct Nothing {}

impl Parameters for Nothing {
    const NAMES: &'static [&'static str] = &[];
}

/// The query of a request.
///
/// A parameter that a route does not know is refused, as `?teir=GOLD` would otherwise list every tier. 400 with the
/// parameter's name: `unknown-parameter`, `duplicate-parameter` or `invalid-parameter`.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: Parameters, S: Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parse(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn unknown_parameter(name: &str, known: &[&str]) -> Problem {
    let known = if known.is_empty() { "it has none".to_owned() } else { format!("known are {}", known.join(", ")) };
    let detail = format!("\"{}\" is not a parameter of this route; {known}", echo(name));
    Problem::parameter(Code::UnknownParameter, name, detail)
}

fn parse<T: Parameters>(query: &str) -> Result<T, Problem> {
    let unreadable =
        |name: &str, error: &serde_html_form::de::Error| Problem::invalid_parameter(name, error.to_string());
    let pairs: Vec<(String, String)> = serde_html_form::from_str(query).map_err(|error| unreadable("", &error))?;
    for (at, (name, _)) in pairs.iter().enumerate() {
        if !T::NAMES.contains(&name.as_str()) {
            return Err(unknown_parameter(name, T::NAMES));
        }
        if !T::LISTS.contains(&name.as_str()) && pairs.iter().take(at).any(|(earlier, _)| earlier == name) {
            let detail = format!("\"{}\" is given twice", echo(name));
            return Err(Problem::parameter(Code::DuplicateParameter, name, detail));
        }
    }
    let parameters = serde_html_form::Deserializer::from_bytes(query.as_bytes());
    serde_path_to_error::deserialize(parameters).map_err(|error| unreadable(&error.path().to_string(), error.inner()))
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
    use crate::domain::{Pair, SignalId, TierName, UserId};
    use crate::http::missions::PageRows;

    async fn get_path(path: &str) -> (u16, String) {
        let router: Router = Router::new()
            .route(
                "/users/{user}/missions/{signal}",
                get(async |Path((user, signal)): Path<(UserId, SignalId)>| format!("{user} {signal}")),
            )
            .route("/rates/{pair}", get(async |Path(pair): Path<Pair>| pair.to_string()))
            .route("/slip/{one}/{two}", get(async |Path(pair): Path<Pair>| pair.to_string()));
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ids_are_decoded() {
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
        let (status, body) = get_path("/slip/EUR/USD").await;
        assert!(status == 500 && !body.contains("pair"), "{body}");
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    struct Filter {
        tier: Option<TierName>,
        limit: Option<PageRows>,
        cursor: Option<String>,
    }

    impl Parameters for Filter {
        const NAMES: &'static [&'static str] = &["tier", "limit", "cursor"];
    }

    #[track_caller]
    fn refused<T: Parameters + std::fmt::Debug>(query: &str, code: &str, parameter: &str) {
        let problem = parse::<T>(query).unwrap_err();
        let json = problem.to_json();
        assert_eq!(problem.code(), code, "{query}: {json}");
        assert!(json.contains(&format!("\"parameter\":\"{parameter}\"")), "{query}: {json}");
    }

    #[test]
    fn known_parameters_are_read() {
        assert_eq!(parse::<Filter>("").unwrap(), Filter::default());
        let filter: Filter = parse("tier=press+pass&limit=50&&cursor=a%2Fb%3D").unwrap();
        let (tier, cursor) = (TierName::parse("PRESS_PASS").unwrap(), "a/b=".to_owned());
        assert_eq!(filter, Filter { tier: Some(tier), limit: Some(PageRows(50)), cursor: Some(cursor) });
        parse::<Nothing>("").unwrap();
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
        refused::<Filter>("tier=", "invalid-parameter", "tier");
        refused::<Filter>("tier=%ff", "invalid-parameter", "tier");
        refused::<Filter>("tier=%zz", "invalid-parameter", "tier");
        refused::<Nothing>("x=1", "unknown-parameter", "x");
    }

    #[test]
    fn an_unknown_parameter_comes_with_the_known_ones() {
        let problem = parse::<Filter>("x=1").unwrap_err();
        assert_eq!(problem.detail(), "\"x\" is not a parameter of this route; known are tier, limit, cursor");
    }
}
