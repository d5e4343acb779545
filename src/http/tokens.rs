//! Tokens: made, listed and revoked while the server runs.

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Admin;
use super::answer;
use super::body::ObjectBody;
use super::extract::{Nothing, Parameters, Path, Query};
use super::missions::PageRows;
use super::problem::Problem;
use crate::domain::{Scope, Token, TokenDraft, UnixMillis};
use crate::service::Page;

/// `POST /v1/admin/tokens`: make a token, as `{"scopes":["read"],"name":"bot","expires":"90d"}`. 201 with the token,
/// whose text is shown this once; every request from now on needs one. One for a hook comes with the path that it is
/// for.
///
/// 422 if a member is not as it has to be, or another than these is there.
pub(super) async fn post_token(
    Admin(service): Admin,
    _: Query<Nothing>,
    ObjectBody(body): ObjectBody,
) -> Result<Response, Problem> {
    let (text, token) = service.create_token(TokenDraft::from_object(body)?).await?;
    let mut made = token_json(&token);
    if let Some(members) = made.as_object_mut() {
        if token.scopes == [Scope::Hook] {
            members.insert("path".to_owned(), format!("/v1/hooks/{text}/signals").into());
        }
        members.insert("token".to_owned(), text.into());
    }
    let mut response = (StatusCode::CREATED, answer::json(made.to_string().into_bytes())).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Where a list of tokens goes on: after the token that was made at this moment and has this id.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct TokenCursor(i64, String);

impl TryFrom<String> for TokenCursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let parts = text.split_once('.').and_then(|(at, id)| Some(Self(at.parse().ok()?, id.to_owned())));
        parts.ok_or("not the next_cursor of a page of this list")
    }
}

impl TokenCursor {
    fn of(token: &Token) -> Self {
        Self(token.created_at.millis(), token.id.clone())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct TokensQuery {
    limit: Option<PageRows>,
    cursor: Option<TokenCursor>,
}

impl Parameters for TokensQuery {
    const NAMES: &'static [&'static str] = &["limit", "cursor"];
}

/// `GET /v1/admin/tokens`: a page of tokens in the order in which they were made, without their texts.
pub(super) async fn list_tokens(Admin(service): Admin, Query(query): Query<TokensQuery>) -> Result<Response, Problem> {
    let rows_max = query.limit.unwrap_or_default().0;
    let tokens = service.tokens();
    let mut rows = tokens.iter().skip_while(|token| query.cursor.as_ref() >= Some(&TokenCursor::of(token)));
    let mut page = Page::default();
    let mut last = None;
    for token in rows.by_ref().take(rows_max) {
        page.separate_row();
        page.rows.extend_from_slice(token_json(token).to_string().as_bytes());
        last = Some(token);
    }
    if let Some(last) = last.filter(|_| rows.next().is_some()) {
        let TokenCursor(at, id) = TokenCursor::of(last);
        page.next_cursor = Some(format!("{at}.{id}"));
    }
    Ok(answer::json(answer::page_json("tokens", page, |_| {})))
}

/// `DELETE /v1/admin/tokens/{id}`: revoke a token. 204 once no request gets in with it; 404 if there is none. Access
/// stays closed.
pub(super) async fn revoke_token(
    Admin(service): Admin,
    _: Query<Nothing>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    service.revoke_token(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /v1/admin/tokens`: delete all tokens, which opens access to every program of this machine. 200 with how many
/// there were.
pub(super) async fn delete_tokens(Admin(service): Admin, _: Query<Nothing>) -> Result<Response, Problem> {
    let deleted = service.open_access().await?;
    Ok(answer::json(json!({ "deleted": deleted }).to_string().into_bytes()))
}

fn token_json(token: &Token) -> Value {
    let scopes: Vec<_> = token.scopes.iter().map(ToString::to_string).collect();
    let time = |time: Option<UnixMillis>| time.map(|time| time.to_string());
    json!({
        "id": token.id, "name": token.name, "scopes": scopes, "created_at": token.created_at.to_string(),
        "expires_at": time(token.expires_at), "last_used_at": time(token.last_used_at),
        "revoked": token.is_revoked(),
    })
}
