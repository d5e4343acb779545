//! One log line and one measurement for each request, and its id.
//!
//! The line is written when the answer is known as a whole: at once for one of known length, at its end for a streamed
//! one, which is when hyper drops the body. tower-http's `TraceLayer` can not write it: hyper does not poll a body of
//! known length to its end, so the layer would never hear how it ended.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};

use super::entity_tag::push_hex;
use super::problem::Refusal;
use crate::metrics::{Answered, RequestLabels};
use crate::service::{Service, Stopwatch};

/// The target of the log lines of requests: `RUST_LOG=info,overlaid::access=off` turns them off.
const TARGET: &str = "overlaid::access";
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What nginx logs too where a client closes its connection before it is answered.
const CLIENT_GONE: u16 = 499;
/// Longest id of a client that is kept: a UUID takes 36 bytes, a trace id with its span 55.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Marks an answer whose body comes when something changes. How long that takes is no measure of the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitsForChanges;

/// What the router finds out about a request.
#[derive(Debug, Default)]
pub(super) struct RequestRecord(OnceLock<Admission>);

#[derive(Debug, Default)]
struct Admission {
    route: Option<MatchedPath>,
    token_id: Option<String>,
}

impl RequestRecord {
    /// Notes the route, `None` if no route has the path, and the public part of the token that the request names.
    pub(super) fn admitted(&self, route: Option<MatchedPath>, token_id: Option<&str>) {
        // A handler has one access extractor; should it have two, they say the same.
        let _ = self.0.set(Admission { route, token_id: token_id.map(str::to_owned) });
    }
}

/// The id of a request: the client's, if it is fit for a log line, else a new one.
///
/// - `run`: tells the ids of this process from those of others.
fn request_id(request: &Request, run: u32) -> HeaderValue {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let is_usable = |value: &&HeaderValue| {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        (1..=REQUEST_ID_BYTES_MAX).contains(&value.len()) && value.as_bytes().iter().all(is_word)
    };
    if let Some(id) = request.headers().get(REQUEST_ID).filter(is_usable) {
        return id.clone();
    }
    let mut id = String::with_capacity(25);
    push_hex(&mut id, run.into());
    id.push('-');
    push_hex(&mut id, COUNT.fetch_add(1, Ordering::Relaxed));
    // Digits and a hyphen are always a valid value.
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-"))
}

/// Logs and measures requests.
#[derive(Clone, Debug)]
pub(super) struct RequestLog {
    /// Whether every request is logged; refusals (401, 403) are logged in any case.
    pub(super) is_on: bool,
    /// Whose counters count the requests.
    pub(super) service: Service,
}

impl RequestLog {
    /// Has `answer` answer the request, puts the id into the answer, and logs and measures how it went.
    pub(super) async fn around(&self, mut request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
        let record = Arc::new(RequestRecord::default());
        request.extensions_mut().insert(Arc::clone(&record));
        let mut exchange = Exchange {
            log: self.clone(),
            started: Stopwatch::start(),
            method: request.method().clone(),
            request_id: request_id(&request, self.service.run()),
            record,
            status: None,
            refusal: None,
            bytes: 0,
            answered_after: None,
        };
        let mut response = answer(request).await;
        response.headers_mut().insert(REQUEST_ID, exchange.request_id.clone());
        exchange.status = Some(response.status());
        exchange.refusal = response.extensions().get().cloned();
        exchange.answered_after = response.extensions().get().map(|WaitsForChanges| exchange.started.elapsed());
        if let Some(bytes) = response.body().size_hint().exact() {
            exchange.bytes = bytes;
            return response;
        }
        response.map(|body| Body::new(CountedBody { body, exchange }))
    }
}

/// A request and its answer. It is logged and measured when it is dropped: the answer has ended, or the client has
/// gone.
struct Exchange {
    log: RequestLog,
    started: Stopwatch,
    method: Method,
    request_id: HeaderValue,
    record: Arc<RequestRecord>,
    /// `None` if the connection ended before there was an answer.
    status: Option<StatusCode>,
    refusal: Option<Refusal>,
    /// Bytes of the answer's body.
    bytes: u64,
    /// How long it took to the head of the answer, if that alone is measured.
    answered_after: Option<Duration>,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let elapsed = self.started.elapsed();
        let unknown = Admission::default();
        let Admission { route, token_id } = self.record.0.get().unwrap_or(&unknown);
        let route = route.as_ref().map(MatchedPath::as_str);
        let status = self.status.map_or(CLIENT_GONE, |status| status.as_u16());
        let (method, bytes) = (self.method.as_str(), self.bytes);
        let labels = RequestLabels { method: known(method), route: route.unwrap_or_default().to_owned(), status };
        let metrics = self.log.service.metrics();
        let measured = self.answered_after.unwrap_or(elapsed);
        metrics.http.request_seconds.observe(&labels, measured);
        metrics.http.recent.add(&Answered {
            at: self.log.service.uptime(),
            elapsed: measured,
            is_not_modified: status == StatusCode::NOT_MODIFIED.as_u16(),
            totals: metrics.totals(),
        });
        #[expect(clippy::float_arithmetic, reason = "a duration for people; nothing is computed from it")]
        let ms = (elapsed.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        let request_id = self.request_id.to_str().unwrap_or_default();
        if let Some(Refusal(reason)) = &self.refusal {
            tracing::warn!(target: TARGET, method, route, status, ms, bytes, token = token_id, request_id, %reason, "request refused");
        } else if self.log.is_on {
            tracing::info!(target: TARGET, method, route, status, ms, bytes, token = token_id, request_id, "request");
        }
    }
}

/// A method's name for a metric, so that clients can not make up new ones.
fn known(method: &str) -> &'static str {
    let names = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS"];
    names.into_iter().find(|name| *name == method).unwrap_or("other")
}

/// A streamed answer that counts its bytes. hyper drops it at its end, or when the client has gone.
struct CountedBody {
    body: Body,
    exchange: Exchange,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.exchange.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
