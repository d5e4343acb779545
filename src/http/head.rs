//! Heads of requests that two programs on the way can understand differently: they are refused.
//!
//! HTTP/1.1 demands one `Host` header (RFC 9112 §3.2). Nothing here depends on which host a client means, but a proxy
//! may choose by it. Of two `Authorization` or `Content-Type` headers a proxy may judge by one and this server by the
//! other. A body in a transfer coding that this server does not decode would be taken for the content.

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Version};

use super::problem::{Code, Problem};

/// Refuses a request that does not say once, and readably, which host it is for. Only HTTP/1.0 may leave it out.
/// Returns the host; `None` if it is left out or empty.
///
/// # Errors
///
/// 400 `malformed-request`, also for a target whose port is none, and for two `Authorization` or `Content-Type`
/// headers; 501 `transfer-coding` for a body that is encoded in another way than once by chunks.
pub(super) fn require(request: &Parts) -> Result<Option<Authority>, Problem> {
    let malformed = |detail: String| Problem::new(Code::MalformedRequest, detail);
    for (name, shown) in [(AUTHORIZATION, "Authorization"), (CONTENT_TYPE, "Content-Type")] {
        if request.headers.get_all(name).iter().nth(1).is_some() {
            return Err(malformed(format!("the head of the request has more than one {shown} header")));
        }
    }
    let mut codings = request.headers.get_all(TRANSFER_ENCODING).iter();
    // hyper has decoded the chunks.
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !codings.next().is_none_or(is_chunked) || codings.next().is_some() {
        let detail = "Transfer-Encoding is not chunked, once: send the body without it";
        return Err(Problem::new(Code::TransferCoding, detail));
    }
    if request.uri.authority().is_some_and(|target| !has_valid_port(target)) {
        return Err(malformed("the port of the request's target is no number up to 65535".to_owned()));
    }
    let no_host = |()| malformed("the head of the request has not one Host header with a valid host".to_owned());
    named(request.version, &request.headers).map_err(no_host)
}

/// An error if the headers break the rule.
fn named(version: Version, headers: &HeaderMap) -> Result<Option<Authority>, ()> {
    let mut lines = headers.get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        // An empty host is allowed: a client sends it that asks for no host's resource.
        (Some(host), None) if host.is_empty() => Ok(None),
        (Some(host), None) => parse(host.as_bytes()).map(Some).ok_or(()),
        (None, _) => {
            if version < Version::HTTP_11 {
                Ok(None)
            } else {
                Err(())
            }
        }
        (Some(_), Some(_)) => Err(()),
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2), without a user.
fn parse(host: &[u8]) -> Option<Authority> {
    let authority = if host.contains(&b'@') { None } else { Authority::try_from(host).ok() };
    authority.filter(has_valid_port)
}

/// Whether nothing stands behind the host but a port, which may be empty (RFC 3986 §3.2.3).
fn has_valid_port(authority: &Authority) -> bool {
    let text = authority.as_str();
    let host_and_port = text.rsplit_once('@').map_or(text, |(_, behind)| behind);
    let Some(behind) = host_and_port.strip_prefix(authority.host()) else { return false };
    let is_port = |port: &str| port.is_empty() || (!port.starts_with('+') && port.parse::<u16>().is_ok());
    behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, is_valid: bool) {
        assert_eq!(parse(host.as_bytes()).is_some(), is_valid, "{host:?}");
    }

    #[test]
    fn names_and_addresses_are_hosts_with_a_port_and_without() {
        for host in [
            "localhost",
            "localhost:7717",
            "a-b.example.org.",
            "under_score",
            "127.0.0.1:80",
            "[::1]",
            "[2001:db8::1]:7717",
            "[v1.fe:d]",
            "localhost:",
            "[::1]:",
            "localhost:0",
            "localhost:65535",
            "1:1",
        ] {
            check(host, true);
        }
    }

    #[test]
    fn what_is_no_host_is_noticed() {
        for host in [
            "a b",
            "a/b",
            "user@x",
            "x:80:80",
            "localhost:abc",
            "localhost:65536",
            "localhost:99999",
            "localhost:-1",
            "localhost:8a",
            "localhost:+80",
            "[::1]:x",
            "[::1]7717",
            "1:x1",
            "::1",
            "[::1",
            "a%2",
            "a%zz",
            "a\\b",
            "a?b",
            "a#b",
            "\"x\"",
            "caf\u{e9}",
            "http://x",
            "x, y",
            "<x>",
        ] {
            check(host, false);
        }
    }

    #[test]
    fn a_request_names_one_host_unless_it_is_of_the_old_version() {
        let headers = |hosts: &[&'static str]| -> HeaderMap {
            hosts.iter().map(|host| (HOST, HeaderValue::from_static(host))).collect()
        };
        for (hosts, new, old) in [
            (&["x"][..], true, true),
            (&[], false, true),
            (&["x", "x"], false, false),
            (&["x", "y"], false, false),
            (&["a b"], false, false),
        ] {
            assert_eq!(named(Version::HTTP_11, &headers(hosts)).is_ok(), new, "{hosts:?}");
            assert_eq!(named(Version::HTTP_10, &headers(hosts)).is_ok(), old, "{hosts:?}");
        }
    }
}
