//! Mission views: one, a user's, a signal's.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde::Deserialize;
use serde_json::json;

use super::access::{Read, ReadUser};
use super::background::PIECE_BYTES;
use super::conditional::Conditions;
use super::entity_tag::EntityTag;
use super::extract::{Nothing, OfSignal, Parameters, Path, Query};
use super::list::{ListRequest, answer_of};
use super::problem::Problem;
use super::{answer, qvalue};
use crate::domain::{SignalId, Status, TierName, UserId};
use crate::render;
use crate::service::{
    Batch, MissionRows, MissionView, PAGE_ROWS_MAX, Page, Separator, Service, ServiceError, SignalCursor, StatusFilter,
};

/// Rows of a page, unless the client asks for another number.
const PAGE_ROWS: usize = 100;
/// Most bytes of the views of a list of users: several times what a thousand usual ones take.
const LIST_BYTES_MAX: usize = 8 * 1024 * 1024;
const TEXT: &str = "text/plain";

/// `GET /v1/users/{user}/missions/{signal}`: the mission view as of now.
///
/// 200 with the view; 304 if the client's tag still holds, which is known before a size is computed; 400 if an id is
/// malformed; 404 if the signal or the user's overlay is absent.
pub(super) async fn get_mission(
    ReadUser(service, user): ReadUser,
    _: Query<Nothing>,
    Path(OfSignal { signal }): Path<OfSignal>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let cursor = service.cursor();
    let answer = |view: &MissionView<'_>| {
        let tag = answer::view_tag(view.tag());
        answer::unless_held(&tag, &conditions, || {
            let mut json = Vec::with_capacity(view.size_hint());
            view.write_to(&service, &mut json);
            json
        })
    };
    let response = service.with_mission(&signal, &user, answer).await??;
    if response.status() == StatusCode::NOT_MODIFIED {
        service.metrics().views_not_modified.inc();
    }
    Ok(answer::as_of(cursor, response))
}

/// `GET /v1/users/{user}/missions/{signal}/explanation`: the steps by which the size of a mission is computed, as of
/// now. The last one lists all reasons that speak against it.
///
/// `{"steps":[{"name":…,"text":…},…]}`, or a line each if the client would rather have `text/plain`. 404 if the signal
/// or the user's overlay is absent.
pub(super) async fn explain_mission(
    ReadUser(service, user): ReadUser,
    _: Query<Nothing>,
    Path(OfSignal { signal }): Path<OfSignal>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let cursor = service.cursor();
    let steps = service.with_mission(&signal, &user, |view| view.explain(&service)).await??;
    let answer = if qvalue::prefers(&headers, TEXT) {
        let lines: Vec<_> = steps.iter().map(|step| format!("{:<13} {}\n", step.name, step.text)).collect();
        let head = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "private, no-cache")];
        (head, lines.concat()).into_response()
    } else {
        let steps: Vec<_> = steps.iter().map(|step| json!({ "name": step.name, "text": step.text })).collect();
        answer::json(json!({ "steps": steps }).to_string().into_bytes())
    };
    Ok(answer::as_of(cursor, by_accept(answer)))
}

#[derive(Debug, Deserialize)]
pub(super) struct UserMissionsQuery {
    status: Option<String>,
    parts: Option<Parts>,
    tradable: Option<Tradable>,
    limit: Option<PageRows>,
    cursor: Option<String>,
}

impl Parameters for UserMissionsQuery {
    const NAMES: &'static [&'static str] = &["status", "parts", "tradable", "limit", "cursor"];
}

/// `GET /v1/users/{user}/missions`: a page of a user's missions.
///
/// `status` is `active` (unless given), `expired`, `cancelled`, `fired`, `failed`, `closed` or `all`. Active ones come
/// soonest to expire first, all others newest first. `parts=mission` leaves the records out of each row, and
/// `tradable=true` the missions that may not be traded. 404 if the user's overlay is absent.
pub(super) async fn list_missions_of_user(
    ReadUser(service, user): ReadUser,
    Query(query): Query<UserMissionsQuery>,
    list: ListRequest,
) -> Result<Response, Problem> {
    let filter = match query.status.as_deref() {
        None | Some("active") => StatusFilter::Only(Status::Active),
        Some("expired") => StatusFilter::Only(Status::Expired),
        Some("fired") => StatusFilter::Only(Status::Fired),
        Some("failed") => StatusFilter::Only(Status::Failed),
        Some("cancelled") => StatusFilter::Only(Status::Cancelled),
        Some("closed") => StatusFilter::Only(Status::Closed),
        Some("all") => StatusFilter::All,
        Some(_) => {
            let detail = "status is active, expired, cancelled, fired, failed, closed or all";
            return Err(Problem::invalid_parameter("status", detail));
        }
    };
    let cursor = signal_cursor(query.cursor.as_deref(), filter == StatusFilter::Only(Status::Active))?;
    let rows = (mission_rows(query.parts, query.tradable), query.limit.unwrap_or_default().0);
    list.answer(
        "missions",
        service.cursor(),
        service.missions_of_user(&user, filter, cursor, rows, list.asked()).await?,
    )
}

#[derive(Debug, Deserialize)]
pub(super) struct SignalMissionsQuery {
    tier: Option<TierName>,
    #[serde(default)]
    users: Vec<String>,
    parts: Option<Parts>,
    tradable: Option<Tradable>,
    limit: Option<PageRows>,
    cursor: Option<UserId>,
}

impl Parameters for SignalMissionsQuery {
    const NAMES: &'static [&'static str] = &["tier", "users", "parts", "tradable", "limit", "cursor"];
    const LISTS: &'static [&'static str] = &["users"];
}

/// `GET /v1/signals/{signal}/missions`: the missions of all users on a signal.
///
/// JSON pages in the order of users, or everything at once as lines if the client would rather have
/// `application/x-ndjson` or one of its other names. `tier`, `users` (a list with commas) and `tradable=true` narrow it
/// down; a page of a `tier`, or of what may be traded, may be short, or empty, and go on all the same. `parts=mission`
/// leaves the records out of each row. 304 if the client holds the page; 404 if the signal is absent.
pub(super) async fn list_missions_of_signal(
    Read(service): Read,
    Path(signal): Path<SignalId>,
    Query(query): Query<SignalMissionsQuery>,
    headers: HeaderMap,
    list: ListRequest,
) -> Result<Response, Problem> {
    let users = parse_users(&query.users)?;
    let is_paged = query.limit.is_some() || query.cursor.is_some();
    let rows = mission_rows(query.parts, query.tradable);
    let cursor = service.cursor();
    let batch = service.batch(&signal, query.tier.clone()).await?.with_rows(rows);
    let answer = match (users, qvalue::preferred_lines(&headers)) {
        (Some(_), _) if is_paged => {
            Err(Problem::invalid_parameter("users", "a list of users is answered whole: leave out limit and cursor"))
        }
        (_, Some(_)) if is_paged => {
            Err(Problem::invalid_parameter("limit", "lines are answered whole: leave out limit and cursor"))
        }
        (Some(users), Some(kind)) => {
            let (_, page, _) = views_of(batch, users, Separator::Newline).await?;
            Ok(lines_response(kind, Body::from(page.rows)))
        }
        (None, Some(kind)) => {
            drop(batch);
            Ok(lines_response(kind, Body::new(LinesBody::new(BatchOf { service, signal, tier: query.tier, rows }))))
        }
        (users, None) => {
            let from = (query.cursor, query.limit.unwrap_or_default());
            match list.tag_of(&batch)? {
                Ok(tag) => page_of_batch(batch, &tag, users, from).await,
                Err(held) => Ok(held),
            }
        }
    };
    answer.map(|answer| answer::as_of(cursor, by_accept(answer)))
}

/// A page of a batch: the views of some users, or those after a user.
async fn page_of_batch(
    mut batch: Batch,
    tag: &EntityTag,
    users: Option<Vec<UserId>>,
    (after, PageRows(rows_max)): (Option<UserId>, PageRows),
) -> Result<Response, Problem> {
    let Some(users) = users else {
        if let Some(after) = &after {
            batch.skip_to_after(after);
        }
        let page = batch.page(rows_max);
        return Ok(answer_of(&batch, tag, answer::page_json("missions", page, |_| {})));
    };
    let (batch, page, absent) = views_of(batch, users, Separator::Comma).await?;
    let json = answer::page_json("missions", page, |body| {
        body.extend_from_slice(b",\"absent\":[");
        for (index, user) in absent.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            render::write_string(body, user.as_str());
        }
        body.push(b']');
    });
    Ok(answer_of(&batch, tag, json))
}

/// The batch again, the views of some users, and those who have no overlay.
async fn views_of(
    batch: Batch,
    users: Vec<UserId>,
    separator: Separator,
) -> Result<(Batch, Page, Vec<UserId>), Problem> {
    let (batch, page, absent) = batch.page_of_users(users, LIST_BYTES_MAX, separator).await?;
    if page.rows.len() >= LIST_BYTES_MAX {
        let detail = format!("the views of these users come to more than {LIST_BYTES_MAX} bytes: list fewer");
        return Err(Problem::invalid_parameter("users", detail));
    }
    Ok((batch, page, absent))
}

/// All views as lines, a piece at a time.
///
/// Between two pieces only ids are kept. So a slow client holds no old version of the overlays in memory, and each line
/// says how things are when it is written.
struct LinesBody {
    batch: Arc<BatchOf>,
    /// `None` at the end.
    next: Option<Pin<Box<MakePiece>>>,
}

struct BatchOf {
    service: Service,
    signal: SignalId,
    tier: Option<TierName>,
    rows: MissionRows,
}

/// Makes a piece; returns it with the user after whom to go on.
type MakePiece = dyn Future<Output = Result<(Vec<u8>, Option<UserId>), ServiceError>> + Send;

impl BatchOf {
    async fn piece_after(self: Arc<Self>, user: Option<UserId>) -> Result<(Vec<u8>, Option<UserId>), ServiceError> {
        let mut batch = self.service.batch(&self.signal, self.tier.clone()).await?.with_rows(self.rows);
        if let Some(user) = &user {
            batch.skip_to_after(user);
        }
        // The last view may go beyond that.
        let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        batch.write_some(usize::MAX, PIECE_BYTES, Separator::Newline, &mut piece);
        Ok((piece, batch.next_cursor()))
    }
}

impl LinesBody {
    fn new(batch: BatchOf) -> Self {
        let batch = Arc::new(batch);
        Self { next: Some(Box::pin(Arc::clone(&batch).piece_after(None))), batch }
    }
}

impl HttpBody for LinesBody {
    type Data = Bytes;
    type Error = ServiceError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ServiceError>>> {
        let Self { batch, next } = self.get_mut();
        while let Some(making) = next {
            let made = ready!(making.as_mut().poll(cx));
            *next = None;
            let (piece, user) = match made {
                Ok(made) => made,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            *next = user.map(|user| Box::pin(Arc::clone(batch).piece_after(Some(user))) as _);
            // A filter may leave a stretch of users with nothing to write.
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
    }
}

fn lines_response(kind: &'static str, body: Body) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "private, no-cache")], body).into_response()
}

/// Reads lists of users with commas between them; `None` if there is no list.
fn parse_users(lists: &[String]) -> Result<Option<Vec<UserId>>, Problem> {
    let malformed = |error: crate::domain::Invalid| Problem::invalid_parameter("users", error.to_string());
    let users = lists.iter().flat_map(|list| list.split(','));
    let users = users.map(UserId::parse).collect::<Result<Vec<_>, _>>().map_err(malformed)?;
    if users.len() > PAGE_ROWS_MAX {
        return Err(Problem::invalid_parameter("users", format!("at most {PAGE_ROWS_MAX} users may be listed")));
    }
    Ok((!lists.is_empty()).then_some(users))
}

/// How many rows a page has at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct PageRows(pub(super) usize);

impl Default for PageRows {
    fn default() -> Self {
        Self(PAGE_ROWS)
    }
}

impl TryFrom<String> for PageRows {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let rows = text.parse().ok().filter(|rows| (1..=PAGE_ROWS_MAX).contains(rows));
        rows.map(Self).ok_or_else(|| format!("limit is 1 to {PAGE_ROWS_MAX}"))
    }
}

/// `parts=mission`: what is left of a view.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Parts;

impl TryFrom<String> for Parts {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text == "mission" { Ok(Self) } else { Err("parts is mission, or left out for whole views") }
    }
}

/// `tradable=true`: which missions are listed.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Tradable;

impl TryFrom<String> for Tradable {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        if text == "true" { Ok(Self) } else { Err("tradable is true, or left out for all missions") }
    }
}

fn mission_rows(parts: Option<Parts>, tradable: Option<Tradable>) -> MissionRows {
    MissionRows { is_compact: parts.is_some(), is_tradable_only: tradable.is_some() }
}

/// Where a page of signals shall begin. A list of active ones goes by expiry, any other by age; a cursor of the one is
/// none of the other.
pub(super) fn signal_cursor(cursor: Option<&str>, is_by_expiry: bool) -> Result<Option<SignalCursor>, Problem> {
    let parse = |text| {
        SignalCursor::parse(text)
            .filter(|cursor| matches!(cursor, SignalCursor::Expiry(..)) == is_by_expiry)
            .ok_or_else(|| Problem::invalid_parameter("cursor", "not the next_cursor of a page of this list"))
    };
    cursor.map(parse).transpose()
}

/// An answer that would be another for a client that prefers another type.
pub(super) fn by_accept(mut answer: Response) -> Response {
    answer.headers_mut().append(VARY, HeaderValue::from_static("accept"));
    answer
}
