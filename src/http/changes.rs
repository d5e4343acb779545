//! `GET /v1/changes`: clients that follow changes, by long polls or by a stream of events.
//!
//! A follower costs the server a place, and holds at most one page beyond what the connection writes: it is woken by a
//! write, reads what is newer than its place, and waits again. After each look it stays away for [`PAUSE`], so that
//! many followers under many writes look for all changes of that time at once.
//!
//! An answer that has to wait sends its head first. So no limit on the time to an answer cuts it off, and its access,
//! which is asked again at each look, can only end it: the next request is told why.

use std::future::ready;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Frame;
use prometheus_client::metrics::gauge::Gauge;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::access::FollowChanges;
use super::background::Background;
use super::cors::LAST_EVENT_ID;
use super::extract::{Parameters, Query};
use super::memory_budget::{Connection, CutOff, Holder};
use super::missions::{PageRows, by_accept};
use super::problem::Problem;
use super::qvalue;
use super::request_log::WaitsForChanges;
use crate::render;
use crate::service::{ChangesPage, Follower, PAGE_ROWS_MAX};

/// Longest wait of a long poll, in seconds: proxies give up after 60 s.
const WAIT_SECONDS_MAX: u64 = 50;
/// How long a follower stays away after each look: a client notices no delay of this length. A thousand followers under
/// 200 writes a second take a quarter of a processor, with the writes.
const PAUSE: Duration = Duration::from_millis(25);
/// How long a stream says nothing: proxies, and clients that are gone without a word, are noticed after it.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The comment that a stream sends then.
const HEARTBEAT_TEXT: Bytes = Bytes::from_static(b":\n\n");
/// The first words of a stream: a client that lost its connection comes back after a second.
const GREETING: Bytes = Bytes::from_static(b"retry: 1000\n\n");
const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

#[derive(Debug, Deserialize)]
pub(super) struct ChangesQuery {
    since: Option<String>,
    wait: Option<WaitSeconds>,
    limit: Option<PageRows>,
}

impl Parameters for ChangesQuery {
    const NAMES: &'static [&'static str] = &["since", "wait", "limit"];
}

/// How long a long poll waits at most.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
struct WaitSeconds(u64);

impl TryFrom<String> for WaitSeconds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let seconds = text.parse().ok().filter(|seconds| *seconds <= WAIT_SECONDS_MAX);
        seconds.map(Self).ok_or_else(|| format!("wait is 0 to {WAIT_SECONDS_MAX} seconds"))
    }
}

/// `GET /v1/changes`: what changed after the cursor `since`; without it, the present cursor.
///
/// 200 with a page: each record that changed, once, at its newest number, or `reset` if the cursor is not good. If
/// there is nothing, the answer waits up to `wait` seconds. `text/event-stream`: a page as an event whenever there is
/// one, and `Last-Event-ID` before `since`. 400 if a parameter can not be read.
pub(super) async fn get_changes(
    access: FollowChanges,
    Query(query): Query<ChangesQuery>,
    headers: HeaderMap,
    connection: Option<Extension<Connection>>,
    Extension(background): Extension<Background>,
) -> Result<Response, Problem> {
    let is_stream = qvalue::prefers(&headers, EVENT_STREAM);
    if is_stream && query.wait.is_some() {
        return Err(Problem::invalid_parameter("wait", "a stream waits for as long as it lasts: leave out wait"));
    }
    // A browser that reconnects asks for the address that it was given, and says in the header how far it came.
    let last_event = headers.get(LAST_EVENT_ID).filter(|_| is_stream).map(|id| id.to_str().unwrap_or("?"));
    let followers = access.service.metrics().http.followers.clone();
    let mut following = Box::new(Following {
        follower: access.service.follow(last_event.or(query.since.as_deref())),
        access,
        rows_max: query.limit.map_or(PAGE_ROWS_MAX, |PageRows(rows)| rows),
        next_look: Instant::now(),
        heartbeat: HEARTBEAT,
    });
    let first: Step = if is_stream {
        Box::pin(ready(Some((GREETING, following))))
    } else {
        let WaitSeconds(wait) = query.wait.unwrap_or_default();
        let page = following.look().unwrap_or_default();
        if page.is_some() || wait == 0 {
            return Ok(by_accept((head(JSON), following.long_poll_answer(page)).into_response()));
        }
        Box::pin(following.wait_for_page(Duration::from_secs(wait)))
    };
    let holder = background.holder(connection.map(|Extension(connection)| connection).unwrap_or_default());
    let body = Body::new(ChangesBody { next: Some(first), is_stream, holder, _counted: Counted::new(followers) });
    let head = head(if is_stream { EVENT_STREAM } else { JSON });
    Ok(by_accept((head, Extension(WaitsForChanges), body).into_response()))
}

fn head(kind: &'static str) -> [(HeaderName, HeaderValue); 3] {
    [
        (CONTENT_TYPE, HeaderValue::from_static(kind)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Tells nginx to pass each event on at once.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ]
}

/// One client that follows.
struct Following {
    follower: Follower,
    access: FollowChanges,
    rows_max: usize,
    /// Before this moment the follower stays away.
    next_look: Instant,
    heartbeat: Duration,
}

/// The server is stopping, or the client has no access any more.
struct Ended;

/// Makes the next bytes of an answer; `None` at its end.
type Step = Pin<Box<dyn Future<Output = Option<(Bytes, Box<Following>)>> + Send>>;

impl Following {
    /// What is to be told now, if anything.
    fn look(&mut self) -> Result<Option<ChangesPage>, Ended> {
        let may_see = self.access.visible().ok_or(Ended)?;
        self.next_look = Instant::now() + PAUSE;
        Ok(self.follower.next_page(self.rows_max, may_see))
    }

    /// What is to be told next; `None` if there is nothing until then.
    async fn page_until(&mut self, until: Instant) -> Result<Option<ChangesPage>, Ended> {
        let mut end = pin!(sleep_until(until));
        loop {
            if Instant::now() < self.next_look {
                sleep_until(self.next_look).await;
            }
            if let Some(page) = self.look()? {
                return Ok(Some(page));
            }
            tokio::select! {
                biased;
                goes_on = self.follower.changed() => if !goes_on {
                    return Err(Ended);
                },
                // A token may have expired, which wakes nobody.
                () = &mut end => return self.look(),
            }
        }
    }

    /// The answer to a long poll, with the present cursor if there is nothing to tell.
    fn long_poll_answer(&self, page: Option<ChangesPage>) -> String {
        let nothing = || ChangesPage { cursor: self.follower.cursor(), is_reset: false, changes: Vec::new() };
        json(&page.unwrap_or_else(nothing))
    }

    /// Makes the answer to a long poll that has to wait.
    async fn wait_for_page(mut self: Box<Self>, wait: Duration) -> Option<(Bytes, Box<Self>)> {
        let page = self.page_until(Instant::now() + wait).await.unwrap_or_default();
        Some((self.long_poll_answer(page).into(), self))
    }

    /// Makes the next event of a stream, or a comment if nothing happens for long.
    async fn next_event(mut self: Box<Self>) -> Option<(Bytes, Box<Self>)> {
        let page = self.page_until(Instant::now() + self.heartbeat).await.ok()?;
        let event = |page: ChangesPage| format!("id: {}\ndata: {}\n\n", page.cursor, json(&page)).into();
        Some((page.map_or(HEARTBEAT_TEXT, event), self))
    }
}

fn json(ChangesPage { cursor, is_reset, changes }: &ChangesPage) -> String {
    render::changes_json(*cursor, *is_reset, changes)
}

/// An answer that is made step by step, each when the one before is written.
struct ChangesBody {
    next: Option<Step>,
    is_stream: bool,
    holder: Arc<Holder>,
    _counted: Counted,
}

impl HttpBody for ChangesBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let Self { next, is_stream, holder, .. } = self.get_mut();
        let Some(step) = next else { return Poll::Ready(None) };
        let made = task::ready!(step.as_mut().poll(cx));
        *next = None;
        Poll::Ready(made.map(|(bytes, following)| {
            if *is_stream {
                *next = Some(Box::pin(following.next_event()));
            }
            holder.hold(bytes).map(Frame::data)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
    }
}

/// Counts a client as a follower until it is dropped.
struct Counted(Gauge);

impl Counted {
    fn new(followers: Gauge) -> Self {
        followers.inc();
        Self(followers)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Service, Settings};

    /// A client that is gone is noticed by it, and no proxy gives up.
    #[tokio::test]
    async fn a_stream_without_changes_sends_comments() {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::open(&folder.path().join("overlaid.redb"), Settings::built_in().unwrap()).unwrap();
        let (follower, access) = (service.follow(None), FollowChanges::of_operator(service));
        let (rows_max, next_look, heartbeat) = (1, Instant::now(), Duration::from_millis(1));
        let following = Box::new(Following { follower, access, rows_max, next_look, heartbeat });
        let (first, following) = following.next_event().await.unwrap();
        assert!(first.starts_with(b"id: "), "the present cursor");
        let (second, _) = following.next_event().await.unwrap();
        assert_eq!(second, HEARTBEAT_TEXT);
    }
}
