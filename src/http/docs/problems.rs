//! The chapter about problems: what each code means and what to do, as a chapter and as a page for each code.
//!
//! The text of a code stands in `data/manual/problems.md`, in a section with the code as its heading: the first
//! paragraph says what it means, the rest what to do. Status and title are those of
//! [`Code`](crate::http::problem::Code), so each is written once.

use crate::http::problem::{CodeFacts, code_facts};

const TEXT: &str = include_str!("../../../data/manual/problems.md");

/// What the text has for a code: what it means and what to do.
fn section(code: &str) -> (&'static str, &'static str) {
    let mut sections = TEXT.split("\n## ").skip(1).filter_map(|section| section.split_once("\n\n"));
    let body = sections.find(|(heading, _)| *heading == code).map(|(_, body)| body).unwrap_or_default();
    body.split_once("\n\n").unwrap_or((body, ""))
}

/// The chapter, with status and title of each code.
pub(super) fn markdown() -> String {
    let sections = code_facts().map(|CodeFacts { code, status, title }| {
        let (meaning, remedy) = section(code);
        format!("\n## {code}\n\n*{title}*, {status}. {meaning}\n\n{remedy}\n")
    });
    let introduction = TEXT.split("\n## ").next().unwrap_or_default().to_owned();
    std::iter::once(introduction).chain(sections).collect()
}

/// A page for each code.
pub(super) fn pages() -> impl Iterator<Item = (&'static str, String)> {
    code_facts().map(|CodeFacts { code, status, title }| {
        let (meaning, remedy) = section(code);
        let head = format!("# {title}\n\nStatus {status}, code [`{code}`](problems.md#{code}).");
        (code, format!("{head}\n\n## What it means\n\n{meaning}\n\n## What to do\n\n{remedy}\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_text_and_nothing_else_has() {
        let headings: Vec<_> = TEXT.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, code_facts().map(|facts| facts.code).collect::<Vec<_>>());
        for code in headings {
            let (meaning, remedy) = section(code);
            assert!(meaning.ends_with('.') && remedy.trim_end().ends_with('.'), "{code}: {meaning} / {remedy}");
        }
    }
}
