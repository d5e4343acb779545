//! Request bodies: one JSON object, or many lines of JSON.
//!
//! Both are read frame by frame with a limit on every length, so a body costs no more memory than it is allowed to
//! have, whatever `Content-Length` says or leaves out. How fast it has to come is the business of the server's
//! time limit on bodies; one that breaks it ends in an error, which becomes a 408 here. Compressed bodies are refused: their
//! length would say nothing about the memory they need.

use std::error::Error;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, Method};
use http_body_util::BodyExt;

use super::Problem;
use super::body_timeout::TooSlow;
use crate::domain::Object;

/// Largest JSON body: the largest record, and many times any real one.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Longest line of an import: one record.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

const JSON: &[&str] = &["application/json"];
const MERGE_PATCH: &[&str] = &["application/merge-patch+json", "application/json"];
const LINES: &[&str] = &["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// A request body that is one JSON object: `application/json`, and for `PATCH` also
/// `application/merge-patch+json`.
///
/// Refused are another media type or any content encoding (415), more than [`BODY_BYTES_MAX`] bytes (413), a body that
/// comes too slowly (408), and what [`Object::parse`] refuses (400, 422).
#[derive(Debug)]
pub struct ObjectBody(pub Object);

impl<S: Sync> FromRequest<S> for ObjectBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let accepted = if *request.method() == Method::PATCH { MERGE_PATCH } else { JSON };
        check_media_type(request.headers(), accepted)?;
        let json = read_whole(request.into_body()).await?;
        Ok(Self(Object::parse(&json)?))
    }
}

/// Reads a body of at most [`BODY_BYTES_MAX`] bytes. One that comes in one piece is not copied.
async fn read_whole(mut body: Body) -> Result<Bytes, Problem> {
    let too_large = || Problem::payload_too_large(BODY_BYTES_MAX);
    // With a Content-Length the answer is known before the client has sent anything.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let Some(first) = next_piece(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() > BODY_BYTES_MAX {
        return Err(too_large());
    }
    let Some(second) = next_piece(&mut body).await? else { return Ok(first) };
    let mut whole = first.to_vec();
    let mut piece = Some(second);
    while let Some(bytes) = piece {
        if whole.len() + bytes.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        whole.extend_from_slice(&bytes);
        piece = next_piece(&mut body).await?;
    }
    Ok(whole.into())
}

/// One line of a body of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A line that is not blank, without its line end.
    Text {
        /// Counted from 1, blank lines included.
        number: u64,
        /// The line's bytes, not yet known to be UTF-8 or JSON.
        bytes: Bytes,
    },
    /// A line of more than [`LINE_BYTES_MAX`] bytes; it is skipped.
    TooLong {
        /// Counted from 1, blank lines included.
        number: u64,
    },
}

/// A request body of lines (`application/x-ndjson`, `application/ndjson`, `application/jsonl`) of any total length.
///
/// Lines end in LF or CRLF; the last may lack its end. Blank lines are counted and skipped. At most one line and one
/// frame are held in memory. As an extractor it refuses other media types and any content encoding (415).
#[derive(Debug)]
pub struct Lines {
    body: Body,
    /// What is left of the frame read last.
    frame: Bytes,
    /// The beginning of a line that goes on in the next frame.
    begun: Vec<u8>,
    /// Lines ended so far.
    ended: u64,
    /// Whether the rest of the line is to be dropped, as it was reported already.
    skipping: bool,
}

impl Lines {
    /// Reads the lines of `body`.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { body, frame: Bytes::new(), begun: Vec::new(), ended: 0, skipping: false }
    }

    /// The next line; `None` at the end. Dropping the future loses nothing: the next call goes on from there.
    ///
    /// # Errors
    ///
    /// 408 if the client sends too slowly, 400 `broken-body` if the body breaks off. Lines before that were whole.
    pub async fn next(&mut self) -> Result<Option<Line>, Problem> {
        loop {
            if let Some(end) = self.frame.iter().position(|byte| *byte == b'\n') {
                let piece = self.frame.split_to(end + 1);
                if let Some(line) = self.end_line(&piece.slice(..end)) {
                    return Ok(Some(line));
                }
                continue;
            }
            if let Some(line) = self.keep_beginning() {
                return Ok(Some(line));
            }
            match next_piece(&mut self.body).await? {
                Some(frame) => self.frame = frame,
                None if self.begun.is_empty() => return Ok(None),
                None => {
                    if let Some(line) = self.end_line(&Bytes::new()) {
                        return Ok(Some(line));
                    }
                }
            }
        }
    }

    /// Ends the line whose last piece is `piece`; `None` if it is blank or was reported before.
    fn end_line(&mut self, piece: &Bytes) -> Option<Line> {
        self.ended += 1;
        if std::mem::take(&mut self.skipping) {
            return None;
        }
        let whole = if self.begun.is_empty() {
            piece.clone()
        } else {
            self.begun.extend_from_slice(piece);
            std::mem::take(&mut self.begun).into()
        };
        let whole = whole.strip_suffix(b"\r").map_or_else(|| whole.clone(), |text| whole.slice_ref(text));
        if whole.trim_ascii().is_empty() {
            return None;
        }
        let number = self.ended;
        Some(if whole.len() > LINE_BYTES_MAX { Line::TooLong { number } } else { Line::Text { number, bytes: whole } })
    }

    /// Puts the rest of the frame aside as the beginning of a line; tells if that line is too long already.
    fn keep_beginning(&mut self) -> Option<Line> {
        let rest = std::mem::take(&mut self.frame);
        if self.skipping {
            return None;
        }
        // One byte more than a line may have, as it may be the CR of its end.
        if self.begun.len() + rest.len() > LINE_BYTES_MAX + 1 {
            self.begun = Vec::new();
            self.skipping = true;
            return Some(Line::TooLong { number: self.ended + 1 });
        }
        self.begun.extend_from_slice(&rest);
        None
    }
}

impl<S: Sync> FromRequest<S> for Lines {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        check_media_type(request.headers(), LINES)?;
        Ok(Self::new(request.into_body()))
    }
}

/// The next bytes of a body; `None` at its end. Trailers are dropped.
async fn next_piece(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| body_problem(&error))?;
        match frame.into_data() {
            Ok(bytes) if !bytes.is_empty() => return Ok(Some(bytes)),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(None)
}

fn body_problem(error: &(dyn Error + 'static)) -> Problem {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    if causes.any(<dyn Error>::is::<TooSlow>) {
        Problem::timeout("the body of the request came too slowly")
    } else {
        Problem::bad_request("broken-body", "the body broke off, or its chunks are malformed")
    }
}

fn check_media_type(headers: &HeaderMap, accepted: &[&str]) -> Result<(), Problem> {
    let refuse = |what: &str| {
        Err(Problem::unsupported_media_type(format!("{what}; this route reads {}", accepted.join(" or "))))
    };
    if headers.get_all(CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return refuse("Content-Encoding is not supported");
    }
    let Some(value) = headers.get(CONTENT_TYPE) else { return refuse("Content-Type is missing") };
    if accepted.iter().any(|known| value == known) {
        return Ok(());
    }
    let mut parts = value.to_str().unwrap_or_default().split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    if !accepted.iter().any(|known| known.eq_ignore_ascii_case(media_type)) {
        return refuse("Content-Type is another");
    }
    let charset = parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.eq_ignore_ascii_case("charset"));
    match charset.map(|(_, value)| value.trim_matches('"')) {
        None => Ok(()),
        Some(name) if ["utf-8", "utf8", "us-ascii"].iter().any(|known| known.eq_ignore_ascii_case(name)) => Ok(()),
        Some(_) => refuse("the charset is not UTF-8"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pieces: &[&[u8]]) -> Body {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok::<_, axum::Error>(Bytes::copy_from_slice(piece))).collect();
        Body::from_stream(tokio_stream::iter(pieces))
    }

    /// Numbers and texts of the lines; a line that is too long is `!`.
    async fn lines(pieces: &[&[u8]]) -> Vec<(u64, String)> {
        let mut lines = Lines::new(body(pieces));
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            seen.push(match line {
                Line::Text { number, bytes } => (number, String::from_utf8(bytes.to_vec()).unwrap()),
                Line::TooLong { number } => (number, "!".to_owned()),
            });
        }
        assert_eq!(lines.next().await.unwrap(), None, "the end stays the end");
        seen
    }

    fn numbered(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected.iter().map(|(number, text)| (*number, (*text).to_owned())).collect()
    }

    #[tokio::test]
    async fn lines_are_the_same_however_the_body_is_cut() {
        let text = b"one\r\n\n  \ntwo\n\r\nthree";
        let expected = numbered(&[(1, "one"), (4, "two"), (6, "three")]);
        assert_eq!(lines(&[text]).await, expected);
        for size in 1..text.len() {
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            assert_eq!(lines(&pieces).await, expected, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_body_without_lines_has_none() {
        assert_eq!(lines(&[]).await, []);
        assert_eq!(lines(&[b"\n\r\n \n", b""]).await, []);
        assert_eq!(lines(&[b"a\n"]).await, numbered(&[(1, "a")]));
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_reported_once_and_skipped() {
        let longest = "x".repeat(LINE_BYTES_MAX);
        let too_long = "x".repeat(LINE_BYTES_MAX + 1);
        let text = format!("a\n{longest}\r\n{too_long}\n{longest}{longest}{longest}\nb\n{longest}y");
        let expected = numbered(&[(1, "a"), (2, &longest), (3, "!"), (4, "!"), (5, "b"), (6, "!")]);
        for size in [text.len(), 1 << 16, 8192, 1000] {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
            assert_eq!(lines(&pieces).await, expected, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_line_in_one_frame_is_not_copied() {
        let frame = Bytes::from_static(b"one\ntwo\n");
        let mut lines = Lines::new(Body::from(frame.clone()));
        let Some(Line::Text { bytes, .. }) = lines.next().await.unwrap() else { panic!("no line") };
        assert_eq!(bytes.as_ptr(), frame.as_ptr());
    }

    #[tokio::test]
    async fn whole_bodies_have_a_limit_with_and_without_a_known_length() {
        let full = vec![b' '; BODY_BYTES_MAX];
        assert_eq!(read_whole(Body::from(full.clone())).await.unwrap().len(), BODY_BYTES_MAX);
        assert_eq!(read_whole(body(&[&full[1..], b"x"])).await.unwrap().len(), BODY_BYTES_MAX);
        for body in [Body::from([&full[..], b"x"].concat()), body(&[&full, b"x"]), body(&[b"x", &full])] {
            assert_eq!(read_whole(body).await.unwrap_err().code(), "body-too-large");
        }
        assert!(read_whole(Body::empty()).await.unwrap().is_empty());
    }

    #[test]
    fn media_types_are_compared_as_the_rfc_says() {
        let check = |value: &str, accepted, fine: bool| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            assert_eq!(check_media_type(&headers, accepted).is_ok(), fine, "{value}");
        };
        check("application/json", JSON, true);
        check("Application/JSON ; Charset=\"UTF-8\"", JSON, true);
        check("application/json; profile=x", JSON, true);
        check("application/json; charset=utf-16", JSON, false);
        check("application/jsonx", JSON, false);
        check("text/plain", JSON, false);
        check("application/merge-patch+json", JSON, false);
        check("application/merge-patch+json", MERGE_PATCH, true);
        check("application/json", LINES, false);
        check("application/x-ndjson", LINES, true);
        assert!(check_media_type(&HeaderMap::new(), JSON).is_err());
        let gzip = HeaderMap::from_iter([
            (CONTENT_TYPE, "application/json".parse().unwrap()),
            (CONTENT_ENCODING, "gzip".parse().unwrap()),
        ]);
        assert_eq!(check_media_type(&gzip, JSON).unwrap_err().code(), "unsupported-media-type");
    }
}
