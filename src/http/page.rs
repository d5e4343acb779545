//! The page that a person opens at `/`: embedded files, served as they stand in `page/`.
//!
//! The page is a client of the public routes only: it holds nobody's data, so it needs no token, and it asks for one
//! where the routes do. It needs no framework, no build and nothing from another site.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;

use super::access::{AccessState, Open};
use super::conditional::Conditions;
use super::embedded::{Embedded, HTML, SCRIPT, STYLE};
use super::problem::{Code, Problem, echo};

/// Embeds files of `page/`.
macro_rules! files {
    ($($name:literal: $kind:ident,)*) => {
        [$(($name, $kind, include_str!(concat!("page/", $name))),)*]
    };
}

/// The name of each file, its media type, and what stands in it.
const FILES: [(&str, &str, &str); 12] = files! {
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

/// The files by their names.
static EMBEDDED: LazyLock<BTreeMap<&str, Embedded>> =
    LazyLock::new(|| FILES.into_iter().map(|(name, kind, text)| (name, Embedded::new(kind, text))).collect());

/// `/`, and the files that it loads.
pub(super) fn routes() -> Router<AccessState> {
    Router::new().route("/", get(get_page)).route("/page/{file}", get(get_file))
}

async fn get_page(open: Open, conditions: Conditions) -> Result<Response, Problem> {
    get_file(open, Path("index.html".to_owned()), conditions).await
}

/// A file; 304 if the browser holds it; 404 if the page has none of this name.
async fn get_file(_: Open, Path(name): Path<String>, conditions: Conditions) -> Result<Response, Problem> {
    let file = EMBEDDED.get(&*name);
    let file = file.ok_or_else(|| Problem::new(Code::NoSuchRoute, format!("the page has no file {}", echo(&name))))?;
    file.answer(&conditions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small() {
        /// Less than a second on a slow telephone line, without compression.
        const BYTES_MAX: usize = 60 * 1024;
        let bytes: usize = FILES.iter().map(|(_, _, text)| text.len()).sum();
        assert!(bytes <= BYTES_MAX, "{bytes} bytes");
    }

    #[test]
    fn every_file_that_is_there_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/page");
        let mut there: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        let mut served: Vec<_> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        there.sort();
        served.sort();
        assert_eq!(there, served);
    }
}
