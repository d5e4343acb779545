//! Pages for people: the manual and the description of the routes at `/docs`, and where the `type` of a problem leads,
//! `/problems/{code}`.
//!
//! All of it is in the program: the chapters of `data/manual`, the files that they link to, and `data/openapi.json`.
//! The pages are made at the first request for one, once, as they change with the program only. They hold nobody's
//! data, so no token is asked for. They are no part of the API and do not stand in its description.

mod api;
mod markdown;
mod problems;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Router;
use axum::http::Uri;
use axum::response::{Redirect, Response};
use axum::routing::get;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use super::access::{AccessState, Open};
use super::conditional::Conditions;
use super::embedded::{Embedded, HTML, SCRIPT, STYLE};
use super::extract::{Nothing, Query};
use super::problem::{Code, Problem, echo};

/// The chapters in the order in which they are listed: the name in the path, and the text. Problems and the API, which
/// are made from data, stand among them.
const CHAPTERS: &[(&str, &str)] = &[
    ("readme", include_str!("../../README.md")),
    ("records", include_str!("../../data/manual/records.md")),
    ("missions", include_str!("../../data/manual/missions.md")),
    ("following", include_str!("../../data/manual/following.md")),
    ("api", ""),
    ("problems", ""),
    ("access", include_str!("../../data/manual/access.md")),
    ("commands", include_str!("../../data/manual/commands.md")),
    ("deploying", include_str!("../../data/manual/deploying.md")),
    ("page", include_str!("../../data/manual/page.md")),
    ("operating", include_str!("../../data/manual/operating.md")),
    ("backups", include_str!("../../data/manual/backups.md")),
    ("faults", include_str!("../../data/manual/faults.md")),
    ("limits", include_str!("../../data/manual/limits.md")),
    ("migrating", include_str!("../../data/manual/migrating.md")),
    ("figures", include_str!("../../data/manual/figures.md")),
];
/// What chapters and pages lead to beside pages: the name in the path, the media type, and the content.
const FILES: &[(&str, &str, &[u8])] = &[
    ("docs.js", SCRIPT, include_bytes!("docs/docs.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("docs/icon.svg")),
    ("flow.svg", "image/svg+xml", include_bytes!("../../data/flow.svg")),
    ("page.png", "image/png", include_bytes!("../../data/page.png")),
    ("instruments.toml", TEXT, include_bytes!("../../data/instruments.toml")),
    ("tiers.toml", TEXT, include_bytes!("../../data/tiers.toml")),
    ("legacy_names.toml", TEXT, include_bytes!("../../data/legacy_names.toml")),
    ("license", TEXT, include_bytes!("../../LICENSE")),
    ("samples", TEXT, SAMPLES.as_bytes()),
];
/// One file that `overlaid load` takes.
const SAMPLES: &str = concat!(
    include_str!("../../data/samples/signals.ndjson"),
    include_str!("../../data/samples/overlays.ndjson"),
    include_str!("../../data/samples/rates.ndjson"),
    include_str!("../../data/samples/outcomes.ndjson"),
);
const TEXT: &str = "text/plain; charset=utf-8";
/// Everything by its path.
static PAGES: LazyLock<BTreeMap<String, Embedded>> = LazyLock::new(pages);

/// The routes of these pages.
pub(super) fn routes() -> Router<AccessState> {
    Router::new()
        .route("/docs", get(get_page))
        .route("/docs/", get(async |_: Open, _: Query<Nothing>| Redirect::permanent("/docs")))
        .route("/docs/{page}", get(get_page))
        .route("/problems/{code}", get(get_page))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
}

/// `GET /docs`, `/docs/{page}` and `/problems/{code}`: the page; 304 if the client holds it; 404 if there is none.
async fn get_page(_: Open, _: Query<Nothing>, conditions: Conditions, uri: Uri) -> Result<Response, Problem> {
    let page = PAGES
        .get(uri.path())
        .ok_or_else(|| Problem::new(Code::NotFound, format!("no page {}; /docs lists all pages", echo(uri.path()))))?;
    page.answer(&conditions)
}

/// The style, with the colours of the page at `/`.
fn style() -> String {
    let colours = include_str!("page/style.css").split("\n* {").next().unwrap_or_default();
    format!("{colours}\n{}", include_str!("docs/docs.css"))
}

/// Makes all pages.
fn pages() -> BTreeMap<String, Embedded> {
    let texts = CHAPTERS.iter().map(|(name, text)| match *name {
        "api" => (*name, api::markdown()),
        "problems" => (*name, problems::markdown()),
        _ => (*name, (*text).to_owned()),
    });
    let chapters: Vec<_> = texts.map(|(name, text)| (format!("/docs/{name}"), markdown::render(&text))).collect();
    let links: Vec<_> = chapters.iter().map(|(path, chapter)| (path.as_str(), chapter.title.as_str())).collect();
    let page = |path: &str, chapter: &markdown::Chapter| Embedded::new(HTML, markdown::page(path, chapter, &links));

    let mut pages = BTreeMap::new();
    pages.insert("/docs".to_owned(), page("/docs", &markdown::contents(&chapters)));
    for (code, text) in problems::pages() {
        let path = format!("/problems/{code}");
        pages.insert(path.clone(), page(&path, &markdown::render(&text)));
    }
    for (path, chapter) in &chapters {
        pages.insert(path.clone(), page(path, chapter));
    }
    for (name, media_type, content) in FILES {
        pages.insert(format!("/docs/{name}"), Embedded::new(media_type, *content));
    }
    pages.insert("/docs/docs.css".to_owned(), Embedded::new(STYLE, style()));
    pages
}
