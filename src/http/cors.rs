//! Web pages of other origins: those that the operator names with `--cors-origin` may call, and read the answers.
//!
//! A browser asks before most requests whether the page may (a preflight, which carries no token); the layer answers
//! it. It lies around everything that makes an answer, so a page can read refusals and failures too. Without an origin
//! there is no layer. Neither `*` nor `null` is an origin: every page could say so.

use std::time::Duration;

use axum::http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION, ORIGIN, RETRY_AFTER,
};
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::answer::CURSOR;
use super::problem::echo;
use super::request_log::REQUEST_ID;

/// How long a browser may keep the answer to a preflight: a page notices a change of the setting after an hour.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_hours(1);

/// By which a browser that reconnects to a stream says how far it came.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// An origin (RFC 6454) as browsers send it: scheme and host in lower case, and a port unless it is the scheme's usual
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl std::str::FromStr for Origin {
    type Err = String;

    /// # Errors
    ///
    /// Words that say what to write.
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || {
            let text = echo(text);
            format!(
                "\"{text}\" is no origin: write scheme and host, and a port if it is not the usual one, without a path or a slash at the end, \
                 as https://app.example.org or http://localhost:3000; * and null are none"
            )
        };
        let origin = text.to_ascii_lowercase();
        let (scheme, host) = origin.split_once("://").ok_or_else(refuse)?;
        let is_scheme = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let authority = Authority::try_from(host).ok().filter(|_| is_scheme && !host.contains(['@', '*']));
        let authority = authority.filter(|authority| !authority.host().is_empty()).ok_or_else(refuse)?;
        let usual_port = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        // A colon without a port, or with one that is none.
        let has_colon = host.len() > authority.host().len();
        if has_colon && (authority.port_u16().is_none() || authority.port_u16() == usual_port) {
            return Err(refuse());
        }
        HeaderValue::try_from(&origin).map(Self).map_err(|_| refuse())
    }
}

impl PartialEq<HeaderValue> for Origin {
    fn eq(&self, value: &HeaderValue) -> bool {
        self.0 == value
    }
}

/// The layer for these origins; `None` without any.
pub(super) fn layer(origins: &[Origin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let origins = AllowOrigin::list(origins.iter().map(|Origin(value)| value.clone()));
    let methods = [Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::POST, Method::DELETE];
    Some(
        CorsLayer::new()
            .allow_origin(origins)
            .allow_methods(methods)
            .allow_headers([ACCEPT, AUTHORIZATION, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH, LAST_EVENT_ID, REQUEST_ID])
            .expose_headers([ETAG, LOCATION, RETRY_AFTER, CURSOR, REQUEST_ID])
            .vary([ORIGIN])
            .max_age(PREFLIGHT_MAX_AGE),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_perhaps_a_port() {
        for (text, origin) in [
            ("https://app.example.org", "https://app.example.org"),
            ("HTTPS://App.Example.org", "https://app.example.org"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://app.example.org:80", "https://app.example.org:80"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap(), HeaderValue::from_static(origin), "{text}");
        }
        for text in [
            "",
            "*",
            "null",
            "app.example.org",
            "://x",
            "https://",
            "https://*",
            "https://*.example.org",
            "https://app.example.org/",
            "https://app.example.org/path",
            "https://app.example.org?x",
            "https://app.example.org#x",
            "https://me@app.example.org",
            "https://app.example.org:443",
            "http://app.example.org:80",
            "https://app.example.org:",
            "https://app.example.org:99999",
            "https://app example.org",
            "https://app.example.org, https://b",
            "https://b\u{fc}cher.example",
            "1https://a",
        ] {
            let refused = text.parse::<Origin>().unwrap_err();
            assert!(refused.contains("as https://app.example.org or"), "{text}");
        }
        assert!(layer(&[]).is_none());
    }
}
