//! Texts that are part of the program: the files and pages that a person's browser loads.
//!
//! Each has a tag of its content, and is asked for anew each time, so that a newer server is never met by an older
//! page. The policy lets a page load what this server has and nothing from another site, and be shown in no other page:
//! what publishers and brokers write into records is text on it and never code.

use axum::body::Bytes;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::conditional::Conditions;
use super::entity_tag::EntityTag;
use super::problem::Problem;

pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const SCRIPT: &str = "text/javascript; charset=utf-8";
pub(super) const STYLE: &str = "text/css; charset=utf-8";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One text, or picture, as it is sent.
#[derive(Debug)]
pub(super) struct Embedded {
    media_type: &'static str,
    body: Bytes,
    tag: EntityTag,
}

impl Embedded {
    pub(super) fn new(media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self { media_type, tag: EntityTag::of_text(&body), body }
    }

    /// 200 with it; 304 if the browser holds it.
    ///
    /// # Errors
    ///
    /// 412 if `If-Match` names another version.
    pub(super) fn answer(&self, conditions: &Conditions) -> Result<Response, Problem> {
        let head = [(ETAG, self.tag.to_header()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
        if conditions.is_held(&self.tag)? {
            return Ok((StatusCode::NOT_MODIFIED, head).into_response());
        }
        let more = [
            (CONTENT_TYPE, self.media_type),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
        ];
        Ok((head, more, self.body.clone()).into_response())
    }
}
