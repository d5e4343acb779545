//! The page that a person opens at `/`: embedded files, served as they stand in `page/`.
//!
//! The page is a client of the public routes only: it holds nobody's data, so it needs no token, and it asks for one
//! where the routes do. It needs no framework, no build and nothing from another site, and its policy lets it load
//! nothing from there: what publishers and brokers write into records is text on it and never code.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::access::{AccessState, Open};
use super::conditional::Conditions;
use super::entity_tag::EntityTag;
use super::problem::{Code, Problem, echo};

/// What the page may load: files and answers of this server, and images that stand in a style.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// An embedded file.
struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
    tag: LazyLock<EntityTag>,
}

/// Embeds files of `page/`.
macro_rules! files {
    ($($name:literal: $kind:ident,)*) => {
        [$(File {
            name: $name,
            kind: $kind,
            text: include_str!(concat!("page/", $name)),
            tag: LazyLock::new(|| EntityTag::of_content(include_bytes!(concat!("page/", $name)))),
        },)*]
    };
}

static FILES: [File; 12] = files! {
    "index.html": HTML,
    "style.css": STYLE,
    "main.js": SCRIPT,
    "api.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "draw.js": SCRIPT,
    "overview.js": SCRIPT,
    "signals.js": SCRIPT,
    "signal.js": SCRIPT,
    "users.js": SCRIPT,
    "changes.js": SCRIPT,
};

/// `/`, and the files that it loads.
pub(super) fn routes() -> Router<AccessState> {
    Router::new().route("/", get(get_page)).route("/page/{file}", get(get_file))
}

async fn get_page(open: Open, conditions: Conditions) -> Result<Response, Problem> {
    get_file(open, Path("index.html".to_owned()), conditions).await
}

/// A file; 304 if the browser holds it.
async fn get_file(_: Open, Path(name): Path<String>, conditions: Conditions) -> Result<Response, Problem> {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return Err(Problem::new(Code::NoSuchRoute, format!("the page has no file {}", echo(&name))));
    };
    // Asked for anew each time, so that a newer server is never met by an older page.
    let head = [(ETAG, file.tag.to_header()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if conditions.is_held(&file.tag)? {
        return Ok((StatusCode::NOT_MODIFIED, head).into_response());
    }
    let more = [
        (CONTENT_TYPE, HeaderValue::from_static(file.kind)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    Ok((head, more, file.text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small() {
        /// Less than a second on a slow telephone line, without compression.
        const BYTES_MAX: usize = 60 * 1024;
        let bytes: usize = FILES.iter().map(|file| file.text.len()).sum();
        assert!(bytes <= BYTES_MAX, "{bytes} bytes");
    }

    #[test]
    fn every_file_that_is_there_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/page");
        let mut there: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let mut served: Vec<_> = FILES.iter().map(|file| file.name.to_owned()).collect();
        there.sort();
        served.sort();
        assert_eq!(there, served);
    }
}
