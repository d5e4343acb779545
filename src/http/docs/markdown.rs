//! Markdown as pages: a chapter becomes HTML with an anchor for each heading, and its links lead to pages of this
//! server.
//!
//! HTML inside of Markdown is shown as text. Wide tables and code scroll by themselves and can be reached by keyboard.

use std::collections::BTreeMap;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

const TEMPLATE: &str = include_str!("page.html");

/// A chapter as HTML.
#[derive(Debug)]
pub(super) struct Chapter {
    /// The text of its first heading.
    pub(super) title: String,
    /// Level, anchor and text of all other headings.
    headings: Vec<Heading>,
    body: String,
}

#[derive(Debug)]
struct Heading {
    level: u8,
    id: String,
    text: String,
}

/// Makes HTML of a chapter.
pub(super) fn render(text: &str) -> Chapter {
    let options = Options::ENABLE_TABLES | Options::ENABLE_HEADING_ATTRIBUTES;
    let mut events: Vec<Event<'_>> = Parser::new_ext(text, options).collect();
    let mut headings = add_anchors(&mut events);
    let title = if headings.is_empty() { String::new() } else { headings.remove(0).text };
    let mut body = String::new();
    html::push_html(&mut body, events.into_iter().map(for_this_server));
    Chapter { title, headings, body }
}

/// Gives each heading an anchor, where its author gave none. Returns the headings.
fn add_anchors(events: &mut [Event<'_>]) -> Vec<Heading> {
    let mut seen = BTreeMap::new();
    let mut headings = Vec::new();
    let mut rest = events;
    while let Some((first, after)) = rest.split_first_mut() {
        if let Event::Start(Tag::Heading { level, id, .. }) = first {
            let inside = after.iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
            let text: String = inside
                .filter_map(|event| match event {
                    Event::Text(text) | Event::Code(text) => Some(&**text),
                    _ => None,
                })
                .collect();
            let anchor = id.take().map_or_else(|| anchor(&text), CowStr::into_string);
            let earlier: &mut u32 = seen.entry(anchor.clone()).or_default();
            let anchor = if *earlier == 0 { anchor } else { format!("{anchor}-{earlier}") };
            *earlier += 1;
            *id = Some(anchor.clone().into());
            headings.push(Heading { level: *level as u8, id: anchor, text });
        }
        rest = after;
    }
    headings
}

/// The anchor of a heading, as the pages of code forges have it, where the same links lead.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// An event as the page has it.
fn for_this_server(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: target(&dest_url).into(), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: target(&dest_url).into(), title, id })
        }
        Event::Start(Tag::CodeBlock(_)) => Event::Html("<pre tabindex=\"0\"><code>".into()),
        Event::Start(Tag::Table(_)) => Event::Html("<div class=\"wide\" tabindex=\"0\"><table>".into()),
        Event::End(TagEnd::Table) => Event::Html("</tbody></table></div>\n".into()),
        event => event,
    }
}

/// Where a link of a file leads on this server. Files are told apart by their names, without their folders.
fn target(link: &str) -> String {
    if link.starts_with(['#', '/']) || link.contains("://") {
        return link.to_owned();
    }
    let (file, anchor) = link.split_at(link.find('#').unwrap_or(link.len()));
    let name = file.rsplit('/').next().unwrap_or(file).to_lowercase();
    match name.strip_suffix(".md") {
        Some(chapter) => format!("/docs/{chapter}{anchor}"),
        None if name == "openapi.json" => "/docs/api".to_owned(),
        None => format!("/docs/{name}{anchor}"),
    }
}

/// The page that lists all chapters with their sections.
pub(super) fn contents(chapters: &[(String, Chapter)]) -> Chapter {
    let chapter = |(path, chapter): &(String, Chapter)| {
        let title = escape(&chapter.title);
        format!("<h2><a href=\"{path}\">{title}</a></h2>\n{}", list(path, &chapter.headings, 2))
    };
    let body = format!("<h1>Documentation</h1>\n{}", chapters.iter().map(chapter).collect::<String>());
    Chapter { title: "Documentation".to_owned(), headings: Vec::new(), body }
}

/// Links to sections down to a level of headings.
fn list(path: &str, headings: &[Heading], level_max: u8) -> String {
    let items = headings.iter().filter(|heading| heading.level <= level_max).map(|Heading { level, id, text }| {
        let class = if *level > 2 { " class=\"sub\"" } else { "" };
        format!("<li{class}><a href=\"{path}#{id}\">{}</a></li>\n", escape(text))
    });
    format!("<ul class=\"sections\">\n{}</ul>\n", items.collect::<String>())
}

/// The whole page of a chapter; `links` are paths and titles of all chapters.
pub(super) fn page(path: &str, chapter: &Chapter, links: &[(&str, &str)]) -> String {
    let link = |(to, title): &(&str, &str)| {
        let current = if *to == path { " aria-current=\"page\"" } else { "" };
        format!("<li><a href=\"{to}\"{current}>{}</a></li>\n", escape(title))
    };
    // Sections are listed between the title and the text.
    let (head, text) = chapter.body.split_once("</h1>\n").unwrap_or(("", &chapter.body));
    let sections = if chapter.headings.len() > 2 { list("", &chapter.headings, 3) } else { String::new() };
    TEMPLATE
        .replace("{title}", &escape(&chapter.title))
        .replace("{chapters}", &links.iter().map(link).collect::<String>())
        .replace("{text}", &format!("{head}</h1>\n{sections}{text}"))
}

/// Text as HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_anchors_and_links_lead_to_pages() {
        let chapter = render(
            "# One & all\n\n## A `b` c\n\n[x](records.md#writing) [y](../../README.md) [z](#a-b-c) ![f](data/flow.svg)\n\n\
             ## A `b` c\n\n## D {#own}\n\n<script>\n",
        );
        assert_eq!(chapter.title, "One & all");
        let ids: Vec<_> = chapter.headings.iter().map(|heading| heading.id.as_str()).collect();
        assert_eq!(ids, ["a-b-c", "a-b-c-1", "own"]);
        for part in [
            "<a href=\"/docs/records#writing\">",
            "<a href=\"/docs/readme\">",
            "<a href=\"#a-b-c\">",
            "<img src=\"/docs/flow.svg\"",
            "&lt;script&gt;",
        ] {
            assert!(chapter.body.contains(part), "{part}: {}", chapter.body);
        }
    }
}
