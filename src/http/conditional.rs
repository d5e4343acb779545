//! Conditional requests: entity tags, `If-None-Match` and `If-Match` (RFC 9110 §8.8.3 and §13).
//!
//! A tag is made of a few numbers that are known before an answer is computed, so a client that holds the current
//! answer costs two look-ups. Nothing is allocated until a tag is sent: it is built in place, and compared with the
//! header as bytes. Dates (`If-Modified-Since`) are not honoured, as an answer can change twice in a second.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::Problem;

/// Most numbers of one tag.
const NUMBERS_MAX: usize = 5;
/// A number takes at most 13 digits of 5 bits.
const DIGITS_MAX: usize = 13;
/// `W/"`, the numbers with a hyphen between them, and `"`.
const TAG_BYTES_MAX: usize = 3 + NUMBERS_MAX * DIGITS_MAX + (NUMBERS_MAX - 1) + 1;

/// The entity tag of an answer, as it stands in the `ETag` header.
#[derive(Clone, Copy)]
pub struct EntityTag {
    bytes: [u8; TAG_BYTES_MAX],
    len: usize,
}

impl EntityTag {
    /// A tag for answers that mean the same, though their bytes may differ (the seconds left, say).
    ///
    /// It holds one to five numbers, of which at least one has to change whenever the answer does.
    #[must_use]
    pub fn weak<const N: usize>(numbers: [u64; N]) -> Self {
        Self::build(b"W/\"", numbers)
    }

    /// A tag for answers that are the same byte for byte; only such a tag can satisfy `If-Match`.
    #[must_use]
    pub fn strong<const N: usize>(numbers: [u64; N]) -> Self {
        Self::build(b"\"", numbers)
    }

    fn build<const N: usize>(opening: &[u8], numbers: [u64; N]) -> Self {
        const { assert!(1 <= N && N <= NUMBERS_MAX, "a tag has one to five numbers") }
        let mut tag = Self { bytes: [0; TAG_BYTES_MAX], len: 0 };
        for byte in opening {
            tag.push(*byte);
        }
        for (at, number) in numbers.into_iter().enumerate() {
            if at > 0 {
                tag.push(b'-');
            }
            tag.push_number(number);
        }
        tag.push(b'"');
        tag
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }

    fn push_number(&mut self, number: u64) {
        let digits = (u64::BITS - number.leading_zeros()).div_ceil(5).max(1);
        for place in (0..digits).rev() {
            let [low, ..] = (number >> (5 * place)).to_le_bytes();
            let digit = low & 0b1_1111;
            self.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        }
    }

    /// The tag as it stands in a header, with its quotes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// The value of the `ETag` header.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        // Digits, lower-case letters, hyphens and quotes are always a valid value.
        HeaderValue::from_bytes(self.as_bytes()).unwrap_or(HeaderValue::from_static("\"\""))
    }

    /// `304 Not Modified` with this tag.
    #[must_use]
    pub fn not_modified(&self) -> Response {
        (StatusCode::NOT_MODIFIED, [(ETAG, self.to_header())]).into_response()
    }
}

impl std::fmt::Debug for EntityTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.as_bytes().escape_ascii().to_string())
    }
}

/// The `If-None-Match` header of a request, or its absence. Never refuses a request: what can not be read matches
/// nothing, so the client gets the full answer.
#[derive(Debug, Default)]
pub struct IfNoneMatch(Condition);

impl IfNoneMatch {
    /// Whether the client already holds the answer tagged `tag`, by weak comparison. Also true for `*`.
    #[must_use]
    pub fn matches(&self, tag: &EntityTag) -> bool {
        self.0.first.as_ref().is_some_and(|value| value.as_bytes() == tag.as_bytes())
            || self.0.is_any()
            || self.0.tags().flatten().any(|held| held.opaque == Tag::of(tag).opaque)
    }

    /// Whether it is `*`: on a write, "only if there is no such record yet".
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.is_any()
    }

    /// Whether the header is there.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.0.first.is_some()
    }
}

impl IfNoneMatch {
    /// Reads it from the headers of a request.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        Self(Condition::read(headers, &IF_NONE_MATCH))
    }
}

impl<S: Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

/// The `If-Match` header of a request, or its absence.
///
/// Refuses a request whose header can not be read (400 `malformed-condition`): going ahead without the condition
/// would lose the update it was meant to guard.
#[derive(Debug, Default)]
pub struct IfMatch(Condition);

impl IfMatch {
    /// Whether the write may go ahead: the header is absent, or `*` and there is a record, or names the record's
    /// tag by strong comparison. `current` is the tag of the stored record, `None` if there is none.
    #[must_use]
    pub fn allows(&self, current: Option<&EntityTag>) -> bool {
        if self.0.first.is_none() {
            return true;
        }
        let Some(tag) = current.map(Tag::of) else { return false };
        self.0.is_any() || (!tag.weak && self.0.tags().flatten().any(|held| held == tag))
    }

    /// Whether the header is there.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.0.first.is_some()
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let condition = Condition::read(&parts.headers, &IF_MATCH);
        if !condition.is_any() && condition.tags().any(|tag| tag.is_err()) {
            return Err(Problem::bad_request("malformed-condition", "If-Match is neither * nor a list of entity tags"));
        }
        Ok(Self(condition))
    }
}

/// The lines of a conditional header. Clients send one; a proxy may split a list over several.
#[derive(Debug, Default)]
struct Condition {
    first: Option<HeaderValue>,
    more: Vec<HeaderValue>,
}

impl Condition {
    fn read(headers: &HeaderMap, name: &HeaderName) -> Self {
        // Nearly every request has none.
        let Some(first) = headers.get(name) else { return Self::default() };
        Self { first: Some(first.clone()), more: headers.get_all(name).iter().skip(1).cloned().collect() }
    }

    fn is_any(&self) -> bool {
        self.more.is_empty() && self.first.as_ref().is_some_and(|value| value.as_bytes().trim_ascii() == b"*")
    }

    fn tags(&self) -> impl Iterator<Item = Result<Tag<'_>, Malformed>> {
        self.first.iter().chain(&self.more).flat_map(|line| Tags(line.as_bytes()))
    }
}

/// One tag of a list: its text between the quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag<'a> {
    weak: bool,
    opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    fn of(tag: &'a EntityTag) -> Self {
        let bytes = tag.as_bytes();
        let unmarked = bytes.strip_prefix(b"W/");
        let quoted = unmarked.unwrap_or(bytes);
        let opaque = quoted.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or_default();
        Self { weak: unmarked.is_some(), opaque }
    }
}

/// A list that does not follow the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Malformed;

/// The tags of one header line. After a slip the rest of the line is not read.
struct Tags<'a>(&'a [u8]);

impl<'a> Tags<'a> {
    /// Reads the next tag and the comma after it.
    fn read(&mut self) -> Option<Tag<'a>> {
        let unmarked = self.0.strip_prefix(b"W/");
        let rest = unmarked.unwrap_or(self.0).strip_prefix(b"\"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let (opaque, after) = rest.split_at_checked(end)?;
        let after = after.strip_prefix(b"\"")?.trim_ascii_start();
        // No control bytes and no blanks between the quotes; obs-text is let through.
        let is_tag = opaque.iter().all(|byte| !matches!(byte, 0..=0x20 | 0x7f));
        self.0 = if after.is_empty() { after } else { after.strip_prefix(b",")? };
        is_tag.then_some(Tag { weak: unmarked.is_some(), opaque })
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = Result<Tag<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        // Empty elements are allowed in a list.
        let blank = self.0.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b',')).count();
        self.0 = self.0.get(blank..).unwrap_or_default();
        if self.0.is_empty() {
            return None;
        }
        let tag = self.read();
        if tag.is_none() {
            self.0 = &[];
        }
        Some(tag.ok_or(Malformed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(lines: &[&str]) -> Condition {
        let mut lines = lines.iter().map(|line| HeaderValue::from_str(line).unwrap());
        Condition { first: lines.next(), more: lines.collect() }
    }

    fn text(tag: &EntityTag) -> String {
        String::from_utf8(tag.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_tag_is_its_numbers_between_quotes() {
        assert_eq!(text(&EntityTag::weak([0, 31, 32])), "W/\"0-v-10\"");
        assert_eq!(text(&EntityTag::strong([7])), "\"7\"");
        let longest = EntityTag::weak([u64::MAX; 5]);
        assert_eq!(text(&longest).len(), TAG_BYTES_MAX);
        assert_eq!(longest.to_header().as_bytes(), longest.as_bytes());
        assert!(text(&longest).contains("-fvvvvvvvvvvvv-"));
    }

    #[test]
    fn numbers_do_not_run_into_each_other() {
        assert_ne!(text(&EntityTag::weak([1, 23])), text(&EntityTag::weak([12, 3])));
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let tag = EntityTag::weak([1, 2]);
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
        let (strong, weak) = (EntityTag::strong([5]), EntityTag::weak([5]));
        let check = |line: &str, current: Option<&EntityTag>, allowed: bool| {
            assert_eq!(IfMatch(condition(&[line])).allows(current), allowed, "{line} {current:?}");
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
        assert!(IfMatch::default().allows(None));
    }

    #[test]
    fn a_list_that_breaks_the_grammar_is_noticed() {
        let check = |line: &str, readable: bool| {
            assert_eq!(condition(&[line]).tags().all(|tag| tag.is_ok()), readable, "{line}");
        };
        check("\"\"", true);
        check("\"a\",\t\"b\"", true);
        check("\"a b\"", false);
        check("\"a\" \"b\"", false);
        check("\"a\"; \"b\"", false);
        check("a", false);
        check("W/", false);
    }
}
