//! What a client would rather have: the lists of `Accept` and `Accept-Encoding` (RFC 9110 §12.4.2).

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderName};

/// What is named without a quality is wanted most.
const MOST: u16 = 1_000;
/// The media types of lines of JSON: all mean the same. The first is the one for clients that name none.
pub(super) const LINES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// The media type of lines that a client would rather have than JSON; `None` if it would not.
pub(super) fn preferred_lines(headers: &HeaderMap) -> Option<&'static str> {
    let preferred = LINES.into_iter().filter(|kind| prefers(headers, kind));
    // Of two that are wanted alike, the first.
    preferred.rev().max_by_key(|kind| of(headers, &ACCEPT, kind))
}

/// The media type of an answer that is lines in any case: the one that the client names, if it names any.
pub(super) fn lines(headers: &HeaderMap) -> &'static str {
    let [usual, ..] = LINES;
    preferred_lines(headers).unwrap_or(usual)
}

/// Whether a client would rather have an answer of this type than JSON: it names it, and likes it more than JSON, and
/// no less than any other type.
pub(super) fn prefers(headers: &HeaderMap, kind: &str) -> bool {
    let wanted = |name: &str| of(headers, &ACCEPT, name);
    let Some(this) = wanted(kind).filter(|this| *this > 0) else { return false };
    match wanted("application/json") {
        Some(json) => this > json,
        None => wanted("application/*").or_else(|| wanted("*/*")).is_none_or(|any| this >= any),
    }
}

/// How much a client wants what is called `name`, in thousandths, by its headers of the name `list`; 0: not at all.
/// `None` if it does not name it; a `*` is a name of its own.
pub(super) fn of(headers: &HeaderMap, list: &HeaderName, name: &str) -> Option<u16> {
    let values = headers.get_all(list).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).find_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let is_meant = parts.next()?.eq_ignore_ascii_case(name);
        is_meant.then(|| parts.find_map(quality).unwrap_or(MOST))
    })
}

/// The quality that a parameter gives, if it does: `q=0.5`. What can not be read counts as not given.
fn quality(parameter: &str) -> Option<u16> {
    let (_, value) = parameter.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("q"))?;
    let (whole, places) = value.split_once('.').unwrap_or((value, ""));
    let is_digits = places.len() <= 3 && places.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" if is_digits => Some(MOST),
        "0" if is_digits => format!("{places:0<3}").parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quality_is_read_in_thousandths() {
        let wanted = |lists: &[&str]| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(ACCEPT, list.parse().unwrap());
            }
            of(&headers, &ACCEPT, "text/a")
        };
        assert_eq!(wanted(&[]), None);
        assert_eq!(wanted(&["text/b, */*"]), None);
        assert_eq!(wanted(&["text/a"]), Some(1_000));
        assert_eq!(wanted(&["text/b;q=1", "TEXT/A ; x=1 ; Q=0.25"]), Some(250));
        for (parameter, expected) in
            [("q=0", 0), ("q=0.0", 0), ("q=0.", 0), ("q=0.001", 1), ("q=1.000", 1_000), ("q=0.9", 900)]
        {
            assert_eq!(wanted(&[&format!("text/a;{parameter}")]), Some(expected), "{parameter}");
        }
        for unreadable in ["q", "q=", "q=x", "q=0.1234", "q=2", "q=-0", "q=0.x"] {
            assert_eq!(wanted(&[&format!("text/a;{unreadable}")]), Some(1_000), "{unreadable}");
        }
    }

    #[test]
    fn lines_have_three_names_and_the_client_chooses() {
        let chosen = |accept: &str| {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            (preferred_lines(&headers), lines(&headers))
        };
        let (usual, short, jsonl) = ("application/x-ndjson", "application/ndjson", "application/jsonl");
        for (accept, expected) in [
            (usual, usual),
            (short, short),
            (jsonl, jsonl),
            ("Application/JSONL", jsonl),
            ("application/jsonl, application/x-ndjson", usual),
            ("application/x-ndjson;q=0.5, application/jsonl, */*;q=0.1", jsonl),
            ("application/jsonl, application/json;q=0.9", jsonl),
        ] {
            assert_eq!(chosen(accept), (Some(expected), expected), "{accept}");
        }
        for accept in
            ["*/*", "application/*", "application/json, application/jsonl", "application/jsonl;q=0", "text/html"]
        {
            assert_eq!(chosen(accept), (None, usual), "{accept}");
        }
    }
}
