//! Which requests come from a program of this machine that asks for itself: the only ones that are answered while there
//! is no token.
//!
//! A web page that is open in a browser on this machine can send requests to any of its ports, and with a name of its
//! own that leads here it may read the answers too. The browser gives it away in `Host` or `Origin`. A proxy makes
//! other machines look like this one; what it adds to a request gives that away, unless it adds nothing.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use axum::http::header::{FORWARDED, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri};

use super::cors::Origin;
use super::memory_budget::Connection;
use super::problem::{Code, Problem, echo};

/// Refuses a request of another machine, another site or a proxy.
///
/// - `host`: what its `Host` header names.
/// - `origins`: the other sites whose pages may call.
///
/// # Errors
///
/// 403 `local-only`.
pub(super) fn require(request: &Parts, host: Option<&Authority>, origins: &[Origin]) -> Result<(), Problem> {
    let peer = request.extensions.get::<Connection>().and_then(Connection::peer);
    let foreign = far(peer).or_else(|| foreign(&request.uri, &request.headers, host, origins));
    foreign.map_or(Ok(()), |foreign| Err(local_only(&foreign)))
}

/// Says that a client is on another machine: the tokens of a server that listens on other addresses than loopback were
/// deleted.
fn far(peer: Option<SocketAddr>) -> Option<String> {
    let address = peer?.ip().to_canonical();
    (!address.is_loopback()).then(|| format!("{address} is no address of loopback"))
}

/// - `foreign`: why the request is not of a program of this machine.
fn local_only(foreign: &str) -> Problem {
    let detail = format!(
        "{foreign}; as no token has been made, only programs of this machine are answered: ask localhost or 127.0.0.1 without a proxy, \
         or run `overlaid token create` and send the token"
    );
    Problem::new(Code::LocalOnly, detail)
}

/// Says what gives a request away as foreign; `None` for one of this machine.
fn foreign(uri: &Uri, headers: &HeaderMap, named: Option<&Authority>, origins: &[Origin]) -> Option<String> {
    let shown = |value: &[u8]| echo(&String::from_utf8_lossy(value));
    let host = headers.get(HOST);
    // Before HTTP/1.1 a request need not name a host, and no browser sends such a request.
    if let Some(host) = host.filter(|_| !named.is_some_and(is_loopback)) {
        return Some(format!("Host \"{}\" is no name of this machine", shown(host.as_bytes())));
    }
    if let Some(authority) = uri.authority().filter(|authority| !is_loopback(authority)) {
        let named = shown(authority.as_str().as_bytes());
        return Some(format!("the target's host \"{named}\" is no name of this machine"));
    }
    let own = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_own = |origin: &str| origin.strip_prefix("http://").is_some_and(|host| host.eq_ignore_ascii_case(own));
    let may_call =
        |origin: &HeaderValue| origin.to_str().is_ok_and(is_own) || origins.iter().any(|allowed| allowed == origin);
    if let Some(origin) = headers.get_all(ORIGIN).iter().find(|origin| !may_call(origin)) {
        return Some(format!("Origin \"{}\" is another site, and no --cors-origin", shown(origin.as_bytes())));
    }
    let proxy = headers.keys().find(|name| **name == FORWARDED || name.as_str().starts_with("x-forwarded-"));
    proxy.map(|name| format!("{} says that the request came through a proxy", echo(name.as_str())))
}

/// Whether `host[:port]` is `localhost`, in 127.0.0.0/8, or `[::1]`.
#[must_use]
pub fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || literal.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        for (address, is_far) in [
            ("127.0.0.1:80", false),
            ("127.9.9.9:80", false),
            ("[::1]:80", false),
            ("[::ffff:127.0.0.1]:80", false),
            ("10.0.0.1:80", true),
            ("[::ffff:10.0.0.1]:80", true),
            ("[fe80::1]:80", true),
        ] {
            assert_eq!(far(Some(address.parse().unwrap())).is_some(), is_far, "{address}");
        }
        assert_eq!(far(None), None);
    }

    #[test]
    fn only_names_of_loopback_are_this_machine() {
        for host in
            ["localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:7717", "[::1]", "[::1]:80", "[0:0:0:0:0:0:0:1]"]
        {
            assert!(is_loopback(&host.parse().unwrap()), "{host}");
        }
        for host in [
            "",
            ":80",
            "localhost.",
            "localhost.example",
            "127.1",
            "128.0.0.1",
            "127.0.0.1.example",
            "[::]",
            "::1",
            "[::2]",
        ] {
            assert!(!host.parse().is_ok_and(|host| is_loopback(&host)), "{host}");
        }
    }
}
