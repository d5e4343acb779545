//! What a client would rather have: the lists of `Accept` and `Accept-Encoding` (RFC 9110 §12.4.2).

use axum::http::{HeaderMap, HeaderName};

/// What is named without a quality is wanted most.
const MOST: u16 = 1_000;

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
    use axum::http::header::ACCEPT;

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
}
