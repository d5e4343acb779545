//! Conditional requests: `If-None-Match` and `If-Match` (RFC 9110 §13).
//!
//! Dates (`If-Modified-Since`) are not honoured, as an answer can change twice in a second. `If-Match` compares tags
//! weakly, which RFC 9110 does not have: a proxy that compresses makes a tag weak, and the tag names the version of the
//! record, whatever its coding. A record that is absent is 404 under any condition, but where a `PUT` would make it
//! (§13.2.1). `headers` compares `If-Match` strongly, and does not say whether a list could be read,
//! which decides about a write.

use axum::extract::FromRequestParts;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use super::entity_tag::{EntityTag, change_of};
use super::problem::{Code, Problem};
use crate::domain::Condition;
use crate::service::Service;

/// The `If-Match` and `If-None-Match` of a request, or their absence.
///
/// What can not be read is refused (400 `malformed-condition`), as a write would lose the update that it guards; but
/// not the `If-None-Match` of a reader, who gets the full answer.
#[derive(Debug)]
pub(super) struct Conditions {
    if_match: TagList,
    if_none_match: TagList,
}

impl Conditions {
    /// Whether a reader holds the answer tagged `tag` already.
    ///
    /// # Errors
    ///
    /// 412 if `If-Match` names other answers.
    pub(super) fn is_held(&self, tag: &EntityTag) -> Result<bool, Problem> {
        if self.if_match.names(tag) == Some(false) {
            return Err(Problem::precondition_failed());
        }
        Ok(self.if_none_match.names(tag) == Some(true))
    }

    /// What must hold of the record that is to be written. A tag that names no change of this file names no record.
    ///
    /// # Errors
    ///
    /// 400 if `If-None-Match` can not be read.
    pub(super) fn of_record(&self, service: &Service) -> Result<Condition, Problem> {
        self.if_none_match.require_whole("If-None-Match")?;
        let seq_here = |opaque: &String| {
            let change = change_of(opaque)?;
            (service.cursor_of(change.seq) == change).then_some(change.seq)
        };
        let seqs = |opaque: &[String]| opaque.iter().filter_map(seq_here).collect();
        let judge = |list: &TagList, any, among: fn(Vec<u64>) -> Condition| match list {
            TagList::Absent => Condition::None,
            TagList::Any => any,
            TagList::Tags { opaque, .. } => among(seqs(opaque)),
        };
        let if_none_match = judge(&self.if_none_match, Condition::Absent, Condition::SeqNotIn);
        Ok(judge(&self.if_match, Condition::Exists, Condition::SeqIn).and(if_none_match))
    }
}

impl<S: Sync> FromRequestParts<S> for Conditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let if_match = TagList::read(&parts.headers, &IF_MATCH);
        if_match.require_whole("If-Match")?;
        Ok(Self { if_match, if_none_match: TagList::read(&parts.headers, &IF_NONE_MATCH) })
    }
}

/// A header that lists entity tags.
#[derive(Debug)]
enum TagList {
    Absent,
    Any,
    /// The opaque part of each, and whether everything could be read.
    Tags {
        opaque: Vec<String>,
        is_whole: bool,
    },
}

impl TagList {
    /// Refuses a list that breaks the grammar.
    fn require_whole(&self, name: &str) -> Result<(), Problem> {
        match self {
            Self::Tags { is_whole: false, .. } => {
                let detail = format!("{name} is neither * nor a list of entity tags");
                Err(Problem::new(Code::MalformedCondition, detail))
            }
            _ => Ok(()),
        }
    }

    /// Whether it names the answer tagged `tag`, of which there is one; `None` for a header that is absent.
    fn names(&self, tag: &EntityTag) -> Option<bool> {
        match self {
            Self::Absent => None,
            Self::Any => Some(true),
            Self::Tags { opaque, .. } => Some(opaque.iter().any(|named| named == tag.opaque())),
        }
    }

    /// Reads all lines of a header: clients send one, a proxy may split a list over several.
    fn read(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?")).peekable();
        match lines.peek() {
            None => Self::Absent,
            Some(line) if line.trim() == "*" => Self::Any,
            Some(_) => {
                let mut opaque = Vec::new();
                let is_whole = lines.fold(true, |is_whole, line| is_whole & read_line(line, &mut opaque).is_some());
                Self::Tags { opaque, is_whole }
            }
        }
    }
}

/// Reads a line of tags; `None` after a slip, behind which nothing more is read. Empty elements are allowed.
fn read_line(line: &str, tags: &mut Vec<String>) -> Option<()> {
    let mut rest = line.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (opaque, after) = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        let after = after.trim_start();
        if opaque.contains([' ', '\t']) || !(after.is_empty() || after.starts_with(',')) {
            return None;
        }
        tags.push(opaque.to_owned());
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    Some(())
}

#[cfg(test)]
mod tests;
