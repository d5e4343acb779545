//! Request bodies: one JSON object, or many lines of JSON.
//!
//! Both are read frame by frame with a limit on every length, so a body costs no more memory than it is allowed to
//! have, whatever `Content-Length` says or leaves out. How fast it has to come is the business of the server's time
//! limit on bodies; one that breaks it ends in an error, which becomes a 408 here. Compressed bodies are refused: their
//! length would say nothing about the memory they need.

use std::error::Error;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::body_timeout::TooSlow;
use super::problem::{Code, Problem, echo};
use super::qvalue::LINES;
use crate::domain::Object;
use crate::service::{Line, LineSplitter, without_marks};

/// Largest JSON body: the largest record, and many times any real one.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const JSON: &[&str] = &["application/json"];
const JSON_OR_TEXT: &[&str] = &["application/json", "text/plain"];
const MERGE_PATCH: &[&str] = &["application/merge-patch+json", "application/json"];

/// A request body that is one JSON object: `application/json`, and for `PATCH` also
/// `application/merge-patch+json`.
///
/// Refused are another media type or any content encoding (415), more than [`BODY_BYTES_MAX`] bytes (413), a body that
/// comes too slowly (408), and what [`Object::parse`] refuses (400, 422). A byte order mark at its beginning and a NUL
/// at its end are skipped.
#[derive(Debug)]
pub(super) struct ObjectBody(pub(super) Object);

impl<S: Sync> FromRequest<S> for ObjectBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let accepted = if *request.method() == Method::PATCH { MERGE_PATCH } else { JSON };
        check_media_type(request.headers(), accepted)?;
        let json = read_whole(request.into_body()).await?;
        Ok(Self(Object::parse(without_marks(&json))?))
    }
}

/// As [`ObjectBody`], of a sender that can not choose what it says of its body: JSON also as `text/plain`, and without
/// a `Content-Type`.
#[derive(Debug)]
pub(super) struct TextBody(pub(super) Object);

impl<S: Sync> FromRequest<S> for TextBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        check_media_type(request.headers(), JSON_OR_TEXT)?;
        let json = read_whole(request.into_body()).await?;
        Ok(Self(Object::parse(without_marks(&json))?))
    }
}

/// Reads a body of at most [`BODY_BYTES_MAX`] bytes.
async fn read_whole(body: Body) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Code::BodyTooLarge, format!("the body is larger than {BODY_BYTES_MAX} bytes"));
    // With a Content-Length the answer is known before the client has sent anything.
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(body_problem(&*error)),
    }
}

/// A request body of lines (`application/x-ndjson`, `application/ndjson`, `application/jsonl`) of any total length.
///
/// As an extractor it refuses other media types and any content encoding (415).
#[derive(Debug)]
pub(super) struct Lines {
    body: Body,
    splitter: LineSplitter,
}

impl Lines {
    /// The next line; `None` at the end.
    ///
    /// # Errors
    ///
    /// 408 if the client sends too slowly, 400 `broken-body` if the body breaks off. Lines before that were whole.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, Problem> {
        loop {
            if let Some(line) = self.splitter.next_line() {
                return Ok(Some(line));
            }
            match self.body.frame().await {
                None => return Ok(self.splitter.last_line()),
                Some(Ok(frame)) => self.splitter.push(frame.data_ref().map_or(&[], |data| data)),
                Some(Err(error)) => return Err(body_problem(&error)),
            }
        }
    }
}

impl<S: Sync> FromRequest<S> for Lines {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        check_media_type(request.headers(), &LINES)?;
        Ok(Self { body: request.into_body(), splitter: LineSplitter::default() })
    }
}

fn body_problem(error: &(dyn Error + 'static)) -> Problem {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    if causes.any(<dyn Error>::is::<TooSlow>) {
        Problem::new(Code::RequestTimeout, "the body of the request came too slowly")
    } else {
        Problem::new(Code::BrokenBody, "the body broke off, or its chunks are malformed")
    }
}

fn check_media_type(headers: &HeaderMap, accepted: &[&str]) -> Result<(), Problem> {
    let refuse = |what: &str| {
        let detail = format!("{what}; this route reads {}", accepted.join(" or "));
        let problem = Problem::new(Code::UnsupportedMediaType, detail);
        // RFC 9110 §15.5.16 and RFC 5789 §2.2: the answer says what would do.
        let name = if accepted == MERGE_PATCH { ACCEPT_PATCH } else { ACCEPT };
        Err(match HeaderValue::try_from(accepted.join(", ")) {
            Ok(list) => problem.with_header(name, list),
            // Media types are letters and slashes.
            Err(_) => problem,
        })
    };
    if headers.get_all(CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let identity = HeaderValue::from_static("identity");
        return refuse("Content-Encoding is not supported")
            .map_err(|problem| problem.with_header(ACCEPT_ENCODING, identity));
    }
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return if accepted == JSON_OR_TEXT { Ok(()) } else { refuse("Content-Type is missing") };
    };
    if accepted.iter().any(|known| value == known) {
        return Ok(());
    }
    let mut parts = value.to_str().unwrap_or_default().split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    if !accepted.iter().any(|known| known.eq_ignore_ascii_case(media_type)) {
        return refuse(&format!("Content-Type is {}", echo(media_type)));
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
        check("text/plain; charset=UTF-8", JSON_OR_TEXT, true);
        check("text/plain; charset=utf-16", JSON_OR_TEXT, false);
        check("text/html", JSON_OR_TEXT, false);
        assert!(check_media_type(&HeaderMap::new(), JSON_OR_TEXT).is_ok());
        check("application/merge-patch+json", JSON, false);
        check("application/merge-patch+json", MERGE_PATCH, true);
        check("application/json", &LINES, false);
        check("application/x-ndjson", &LINES, true);
        assert!(check_media_type(&HeaderMap::new(), JSON).is_err());
        let gzip = HeaderMap::from_iter([
            (CONTENT_TYPE, "application/json".parse().unwrap()),
            (CONTENT_ENCODING, "gzip".parse().unwrap()),
        ]);
        assert_eq!(check_media_type(&gzip, JSON).unwrap_err().code(), "unsupported-media-type");
    }
}
