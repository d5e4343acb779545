//! Lists under a tag: the client that holds the present list is told so before a row is rendered.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::answer;
use super::conditional::Conditions;
use super::entity_tag::EntityTag;
use super::problem::Problem;
use crate::domain::Cursor;
use crate::service::{Asked, Batch, Listed};

/// The question of a request for a list, and the tags of the lists that the client holds.
#[derive(Debug)]
pub(super) struct ListRequest {
    text: String,
    conditions: Arc<Conditions>,
}

impl ListRequest {
    /// The question for the service, which asks back whether the client wants the list.
    pub(super) fn asked(&self) -> Asked {
        let conditions = Arc::clone(&self.conditions);
        let is_wanted = move |tag| matches!(conditions.is_held(&EntityTag::of_list(tag)), Ok(false));
        Asked { text: self.text.clone(), is_wanted: Box::new(is_wanted) }
    }

    /// 200 with the list, whose rows stand under `name`, or 304.
    ///
    /// - `cursor`: the newest change before the list was read.
    ///
    /// # Errors
    ///
    /// 412 if the client wants another list.
    pub(super) fn answer(&self, name: &str, cursor: Cursor, listed: Listed) -> Result<Response, Problem> {
        let page = listed.page.unwrap_or_default();
        let write = || answer::page_json(name, page, |_| {});
        let answer = answer::unless_held(&EntityTag::of_list(listed.tag), &self.conditions, write)?;
        Ok(answer::as_of(cursor, answer))
    }

    /// The tag of the answer to this question about a batch, which nothing was read from yet; or 304.
    ///
    /// # Errors
    ///
    /// 412 if the client wants another answer.
    pub(super) fn tag_of(&self, batch: &Batch) -> Result<Result<EntityTag, Response>, Problem> {
        let tag = EntityTag::of_list(batch.tag(&self.asked()));
        Ok(if self.conditions.is_held(&tag)? { Err(answer::not_modified(&tag)) } else { Ok(tag) })
    }
}

/// 200 with what was read from a batch: under its tag, unless a balance was confirmed meanwhile.
pub(super) fn answer_of(batch: &Batch, tag: &EntityTag, json: Vec<u8>) -> Response {
    if batch.is_one_state() { answer::tagged_json(StatusCode::OK, tag, json) } else { answer::json(json) }
}

impl<S: Sync> FromRequestParts<S> for ListRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        Ok(Self { text, conditions: Arc::new(Conditions::from_request_parts(parts, state).await?) })
    }
}
