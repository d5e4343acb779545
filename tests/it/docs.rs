//! The pages at `/docs` and `/problems/{code}`: all that the manual and the description of the routes hold is on them,
//! no link leads nowhere, and what they tell their readers to paste works.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::kit::{Answer, Browser, Server};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

fn serve() -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    (folder, server)
}

fn document(server: &Server) -> Value {
    server.get("/openapi.json").json()
}

/// The codes of all problems.
fn codes(document: &Value) -> Vec<String> {
    let codes = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

/// The values of an attribute in a page.
fn attributes<'a>(page: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = format!(" {name}=\"");
    let rests: Vec<_> = page.split(&start as &str).skip(1).collect();
    rests.into_iter().map(|rest| rest.split('"').next().unwrap())
}

/// Every page of HTML that links lead to, beginning at `/docs` and the problems.
fn all_pages(server: &Server) -> BTreeMap<String, Answer> {
    let mut paths = vec!["/docs".to_owned()];
    paths.extend(codes(&document(server)).iter().map(|code| format!("/problems/{code}")));
    let mut pages = BTreeMap::new();
    while let Some(path) = paths.pop() {
        if pages.contains_key(&path) {
            continue;
        }
        let answer = server.get(&path);
        assert_eq!(answer.status, 200, "{path}");
        if answer.header("content-type") == Some("text/html; charset=utf-8") {
            let links = attributes(&answer.body, "href").chain(attributes(&answer.body, "src"));
            let own = links.filter(|link| link.starts_with('/')).map(|link| link.split('#').next().unwrap().to_owned());
            paths.extend(own);
        }
        pages.insert(path, answer);
    }
    pages
}

#[test]
fn every_chapter_is_a_page_and_sent_only_when_it_is_new() {
    let (_folder, server) = serve();
    for file in fs::read_dir(Path::new(ROOT).join("data/manual")).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let page = format!("/docs/{}", path.file_stem().unwrap().to_str().unwrap());
        let answer = server.get(&page);
        assert_eq!(answer.status, 200, "{page}");
        let title = text.lines().next().unwrap().trim_start_matches("# ");
        assert!(answer.body.contains(&format!("<title>{title} – overlaid</title>")), "{page}");
        assert_eq!(text.matches("\n## ").count(), answer.body.matches("<h2 id=").count(), "{page}");
        let tag = answer.header("etag").unwrap();
        assert_eq!(server.send_with("GET", &page, &[("if-none-match", tag)], b"").status, 304, "{page}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
    }
    let slash = server.get("/docs/");
    assert_eq!((slash.status, slash.header("location")), (308, Some("/docs")));
    assert_eq!(server.get("/docs/none").problem(), (404, "not-found".to_owned()));
    assert_eq!(server.get("/problems/none").problem(), (404, "not-found".to_owned()));
    assert_eq!(server.get("/docs?x=1").problem(), (400, "unknown-parameter".to_owned()));
}

#[test]
fn no_link_of_the_pages_leads_nowhere() {
    let (_folder, server) = serve();
    let pages = all_pages(&server);
    assert!(pages.len() > 60, "{}", pages.len());
    for (path, page) in &pages {
        if !page.body.starts_with("<!doctype html>") {
            continue;
        }
        let ids: Vec<_> = attributes(&page.body, "id").collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id stands twice in {path}");
        for link in attributes(&page.body, "href") {
            if link.starts_with("https://") {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() { path } else { target };
            let target = pages.get(target).unwrap_or_else(|| panic!("{path}: {link}"));
            // The page at `/` has views of its own behind the mark.
            let is_there =
                anchor.is_empty() || anchor.starts_with('/') || attributes(&target.body, "id").any(|id| id == anchor);
            assert!(is_there, "{path}: nothing has the anchor of {link}");
        }
    }
}

#[test]
fn the_pages_take_nothing_from_elsewhere() {
    let (_folder, server) = serve();
    let is_own = |source: &str| source.starts_with("/docs/") || source.starts_with("/page/");
    for (path, page) in all_pages(&server) {
        let policy = page.header("content-security-policy");
        if path.starts_with("/docs") {
            assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'; ")), "{path}");
            assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{path}");
        }
        if !page.body.starts_with("<!doctype html>") {
            continue;
        }
        assert!(attributes(&page.body, "src").all(is_own), "{path}");
        for tag in page.body.split('<').filter(|tag| tag.starts_with("link ")) {
            assert!(attributes(tag, "href").all(is_own), "{path}");
        }
        for inline in [" style=\"", "<style", "<script>", " onclick=", "<iframe", "javascript:"] {
            assert!(!page.body.contains(inline), "{path} has {inline}");
        }
    }
    for file in ["docs.css", "docs.js"] {
        let text = server.get(&format!("/docs/{file}")).body;
        assert!(!text.contains("://") && !text.contains("@import") && !text.contains("innerHTML"), "{file}");
    }
}

#[test]
fn the_api_page_has_every_operation_and_the_problems_every_code() {
    let (_folder, server) = serve();
    let document = document(&server);
    let api = server.get("/docs/api").body;
    let mut count = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS.iter().filter(|method| item.get(method).is_some()) {
            let id = item[method]["operationId"].as_str().unwrap();
            let after = api.split(&format!("<h3 id=\"{id}\">")).nth(1).unwrap_or_else(|| panic!("no {id}"));
            let section = after.split("<h3 ").next().unwrap();
            assert!(section.contains(&format!("<code>{} {path}</code>", method.to_uppercase())), "{id}");
            assert!(section.contains("<pre tabindex=\"0\"><code>curl "), "{id}");
            count += 1;
        }
    }
    assert_eq!(api.matches("<h3 id=").count(), count + document["components"]["schemas"].as_object().unwrap().len());
    let problems = server.get("/docs/problems").body;
    for code in codes(&document) {
        assert!(problems.contains(&format!("<h2 id=\"{code}\">")), "{code}");
        let page = server.get(&format!("/problems/{code}")).body;
        assert!(page.contains("<h2 id=\"what-it-means\">") && page.contains("<h2 id=\"what-to-do\">"), "{code}");
    }
    let problem = server.get("/v1/signals/none").json();
    let page = server.get(problem["type"].as_str().unwrap()).body;
    assert!(page.contains(&format!("<h1 id=\"not-found\">{}</h1>", problem["title"].as_str().unwrap())), "{page}");
    assert!(page.contains("Status 404"), "{page}");
}

/// The text of a piece of HTML without elements in it.
fn text(html: &str) -> String {
    html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// Each with a server of its own, as some of them remove what others need.
#[test]
fn examples_of_the_api_page_can_be_pasted() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: curl is not installed");
        return;
    }
    let (_folder, server) = serve();
    let api = server.get("/docs/api").body;
    drop(server);
    let examples: Vec<_> =
        api.split("<code>curl ").skip(1).map(|rest| text(rest.split("</code>").next().unwrap())).collect();
    assert!(examples.len() > 30);
    for example in examples {
        let folder = tempfile::tempdir().unwrap();
        let backups = folder.path().join("backups");
        let samples = Path::new(ROOT).join("data/samples");
        let arguments = ["--load", samples.to_str().unwrap(), "--backup-dir", backups.to_str().unwrap()];
        let server = Server::start(folder.path(), &arguments);
        let command = example.replace("127.0.0.1:7717", &server.address.to_string());
        let command = format!("curl -w '\\n%{{http_code}}' {command}");
        let output = Command::new("sh").args(["-c", &command]).current_dir(folder.path()).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        // No token has the id of the example.
        let expected = if ["/tokens/", "/hooks/"].iter().any(|path| example.contains(path)) { '4' } else { '2' };
        assert!(answer.lines().last().unwrap().starts_with(expected), "{example}\n{answer}");
    }
}

/// Pictures are left in `target/screens`, for somebody to look at.
#[test]
fn the_documentation_is_searched_in_a_browser() {
    let Some(browser) = Browser::start() else { return };
    let (_folder, server) = serve();
    browser.open(&format!("http://{}/docs", server.address));
    browser.sees("h1", "Documentation");
    browser.enter("#query", "token-expired");
    browser.sees("search ol", "token-expired");
    browser.enter("#query", "no such words anywhere");
    browser.sees("search p", "0 sections");
    for (page, width, scheme) in
        [("api", 1600, "light"), ("problems", 360, "dark"), ("records", 360, "light"), ("figures", 1280, "dark")]
    {
        browser.look(width, 900, scheme);
        browser.open(&format!("http://{}/docs/{page}", server.address));
        browser.sees("nav", "The API");
        assert_eq!(browser.run("return document.documentElement.scrollWidth <= innerWidth"), true, "{page}");
        browser.picture(&format!("docs-{page}-{width}-{scheme}"));
    }
    browser.look_on_paper();
    browser.open(&format!("http://{}/docs/records", server.address));
    let shown = "return ['header', 'nav', 'main'].map((name) => document.querySelector(name).checkVisibility())";
    assert_eq!(browser.run(shown), serde_json::json!([false, false, true]));
    let wraps = "return [...document.querySelectorAll('pre')].every((one) => one.scrollWidth <= one.clientWidth)";
    assert_eq!(browser.run(wraps), true, "what goes beyond the paper is lost");
    browser.picture("docs-records-paper");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
