//! Conditional requests: entity tags, `If-None-Match` and `If-Match` (RFC 9110 §8.8.3 and §13).
//!
//! A tag is made of a few numbers that are known before an answer is computed, so a client that holds the current answer costs two
//! look-ups. Dates (`If-Modified-Since`) are not honoured, as an answer can change twice in a second. The types of `headers` do not
//! say whether a list could be read, which decides about a write.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::{Code, Problem};
use crate::service::{Precondition, Service};

/// The entity tag of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntityTag {
    is_weak: bool,
    opaque: String,
}

impl EntityTag {
    /// A tag for answers that mean the same, though their bytes may differ (the seconds left, say).
    ///
    /// At least one of the numbers has to change whenever the answer does.
    pub(super) fn weak(numbers: &[u64]) -> Self {
        Self { is_weak: true, ..Self::strong(numbers) }
    }

    /// A tag for answers that are the same byte for byte; only such a tag can satisfy `If-Match`.
    pub(super) fn strong(numbers: &[u64]) -> Self {
        let digits: Vec<String> = numbers.iter().map(|number| format!("{number:x}")).collect();
        Self { is_weak: false, opaque: digits.join("-") }
    }

    /// The tag of a single record: it is the same as long as no commit of this run of the server wrote the record again.
    pub(super) fn of_record(run: u32, seq: u64) -> Self {
        Self::strong(&[run.into(), seq])
    }

    /// The value of the `ETag` header.
    pub(super) fn to_header(&self) -> HeaderValue {
        let text = format!("{}\"{}\"", if self.is_weak { "W/" } else { "" }, self.opaque);
        // Digits, hyphens and quotes are always a valid value.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"\""))
    }
}

/// The `If-None-Match` header of a request, or its absence. Never refuses a request: what can not be read matches nothing, so the
/// client gets the full answer.
#[derive(Debug)]
pub(super) struct IfNoneMatch(Condition);

impl IfNoneMatch {
    /// Whether the client already holds the answer tagged `tag`, by weak comparison. Also true for `*`.
    pub(super) fn matches(&self, tag: &EntityTag) -> bool {
        match &self.0 {
            Condition::Absent => false,
            Condition::Any => true,
            Condition::Tags { tags, .. } => tags.iter().any(|held| held.opaque == tag.opaque),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(Condition::read(&parts.headers, &IF_NONE_MATCH)))
    }
}

/// What a write may rest on: the `If-Match` and `If-None-Match` headers of a request, or their absence.
///
/// Refuses a request whose `If-Match` can not be read (400 `malformed-condition`): going ahead without the condition would lose
/// the update that it was meant to guard.
#[derive(Debug)]
pub(super) struct WriteCondition {
    if_match: Condition,
    if_none_match: IfNoneMatch,
}

impl WriteCondition {
    /// What must hold of the record that is to be written; `None` without a condition.
    pub(super) fn of_record(&self, service: &Service) -> Option<Box<Precondition<'_>>> {
        if matches!((&self.if_match, &self.if_none_match.0), (Condition::Absent, Condition::Absent)) {
            return None;
        }
        let run = service.run();
        Some(Box::new(move |seq| self.allows(seq.map(|seq| EntityTag::of_record(run, seq)).as_ref())))
    }

    /// Whether the write may go ahead, by strong comparison with the tag of the stored record, `None` if there is none.
    fn allows(&self, current: Option<&EntityTag>) -> bool {
        let is_match = match &self.if_match {
            Condition::Absent => true,
            Condition::Any => current.is_some(),
            Condition::Tags { tags, .. } => current.is_some_and(|tag| !tag.is_weak && tags.contains(tag)),
        };
        is_match && !current.is_some_and(|tag| self.if_none_match.matches(tag))
    }
}

impl<S: Sync> FromRequestParts<S> for WriteCondition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let if_match = Condition::read(&parts.headers, &IF_MATCH);
        if matches!(if_match, Condition::Tags { is_whole: false, .. }) {
            return Err(Problem::new(Code::MalformedCondition, "If-Match is neither * nor a list of entity tags"));
        }
        Ok(Self { if_match, if_none_match: IfNoneMatch(Condition::read(&parts.headers, &IF_NONE_MATCH)) })
    }
}

#[derive(Debug)]
enum Condition {
    Absent,
    Any,
    Tags {
        tags: Vec<EntityTag>,
        /// Whether everything could be read.
        is_whole: bool,
    },
}

impl Condition {
    /// Reads all lines of a header: clients send one, a proxy may split a list over several.
    fn read(headers: &HeaderMap, name: &HeaderName) -> Self {
        let mut lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?")).peekable();
        match lines.peek() {
            None => Self::Absent,
            Some(line) if line.trim() == "*" => Self::Any,
            Some(_) => {
                let (mut tags, mut is_whole) = (Vec::new(), true);
                for line in lines {
                    is_whole &= read_list(line, &mut tags).is_some();
                }
                Self::Tags { tags, is_whole }
            }
        }
    }
}

/// Reads a list of tags; `None` after a slip, behind which nothing more is read. Empty elements are allowed.
fn read_list(line: &str, tags: &mut Vec<EntityTag>) -> Option<()> {
    let mut rest = line.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let unmarked = rest.strip_prefix("W/");
        let (opaque, after) = unmarked.unwrap_or(rest).strip_prefix('"')?.split_once('"')?;
        let after = after.trim_start();
        if opaque.contains([' ', '\t']) || !(after.is_empty() || after.starts_with(',')) {
            return None;
        }
        tags.push(EntityTag { is_weak: unmarked.is_some(), opaque: opaque.to_owned() });
        rest = after.trim_start_matches([' ', '\t', ',']);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(lines: &[&str]) -> Condition {
        let lines = lines.iter().map(|line| (IF_MATCH, HeaderValue::from_str(line).unwrap()));
        Condition::read(&lines.collect(), &IF_MATCH)
    }

    #[test]
    fn a_tag_is_its_numbers_between_quotes() {
        assert_eq!(EntityTag::weak(&[0, 31, 256]).to_header(), "W/\"0-1f-100\"");
        assert_eq!(EntityTag::strong(&[7]).to_header(), "\"7\"");
        assert_ne!(EntityTag::weak(&[1, 23]), EntityTag::weak(&[0x12, 3]));
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let tag = EntityTag::weak(&[1, 2]);
        for lines in [
            &["W/\"1-2\""][..],
            &["\"1-2\""],
            &["\"x\", W/\"1-2\""],
            &["\"a,b\" ,\"1-2\""],
            &[" ,, \"1-2\","],
            &["\"x\"", "\"1-2\""],
            &["*"],
            &[" * "],
        ] {
            assert!(IfNoneMatch(condition(lines)).matches(&tag), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[""],
            &["\"1-2"],
            &["1-2"],
            &["w/\"1-2\""],
            &["\"1-3\""],
            &["\"x\" \"1-2\""],
            &["\"a\"b\", \"1-2\""],
            &["*, \"x\""],
        ] {
            assert!(!IfNoneMatch(condition(lines)).matches(&tag), "{lines:?}");
        }
    }

    #[test]
    fn if_match_compares_strongly() {
        let (strong, weak) = (EntityTag::strong(&[5]), EntityTag::weak(&[5]));
        let allows = |lines: &[&str], current: Option<&EntityTag>| {
            let if_none_match = IfNoneMatch(Condition::Absent);
            WriteCondition { if_match: condition(lines), if_none_match }.allows(current)
        };
        let check = |line: &str, current: Option<&EntityTag>, allowed: bool| {
            assert_eq!(allows(&[line], current), allowed, "{line} {current:?}");
        };
        check("\"5\"", Some(&strong), true);
        check("\"4\", \"5\"", Some(&strong), true);
        check("W/\"5\"", Some(&strong), false);
        check("\"5\"", Some(&weak), false);
        check("W/\"5\"", Some(&weak), false);
        check("\"4\"", Some(&strong), false);
        check("*", Some(&weak), true);
        check("*", None, false);
        check("\"5\"", None, false);
        assert!(allows(&[], None));
    }

    #[test]
    fn a_list_that_breaks_the_grammar_is_noticed() {
        let check =
            |line: &str, readable: bool| assert_eq!(read_list(line, &mut Vec::new()).is_some(), readable, "{line}");
        check("\"\"", true);
        check("\"a\",\t\"b\"", true);
        check("\"a b\"", false);
        check("\"a\" \"b\"", false);
        check("\"a\"; \"b\"", false);
        check("a", false);
        check("W/", false);
    }
}
