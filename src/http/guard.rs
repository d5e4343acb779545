//! What stands around the router for every request: no panic and no endless wait gets past.
//!
//! It is a plain function rather than layers of the router, as each layer boxes the future of every request again, and
//! one that catches panics its body too. The limit on time ends when the head of the answer is ready; a body that is
//! streamed after it takes as long as the client keeps reading.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use tower::Service as _;

use super::body_timeout::{PacedBody, Progress};
use super::{Limits, Problem, host};
use crate::metrics::ResponseCounters;

/// What answers the requests of all connections.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) responses: ResponseCounters,
}

/// Answers a request and counts the answer.
///
/// `abandoned` is set if the request's body is not read to its end.
pub(super) async fn answer(
    answers: &Answers,
    request: Request<Incoming>,
    abandoned: &Arc<AtomicBool>,
) -> Response<Body> {
    let Answers { router, limits, responses } = answers;
    let is_named = host::is_named(request.version(), request.headers());
    let mut progress = None;
    let request = request.map(|incoming| {
        // Without a body there is no allocation for one.
        if incoming.is_end_stream() {
            return Body::empty();
        }
        let watched = progress.insert(Arc::new(Progress::default()));
        Body::new(PacedBody::new(incoming, limits.body_read, watched.clone(), Arc::clone(abandoned)))
    });
    let handler = pin!(async move {
        // A body that came with the request is let go here, as one that a handler refuses.
        if is_named { router.clone().call(request).await } else { Ok(Problem::no_host().into_response()) }
    });
    let mut response = match within_limit(handler, progress.as_deref(), *limits).await {
        Ok(Ok(response)) => response,
        Err(problem) => problem.into_response(),
    };
    // The rest of a body that was refused unread would be taken for the next request. If it is little it is read first; if not, the
    // connection ends here, and a client that is told so does not lose the request that it would have sent next.
    if let Some(progress) = progress
        && progress.drain().await
    {
        abandoned.store(true, Ordering::Relaxed);
    }
    if abandoned.load(Ordering::Relaxed) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    responses.count(response.status().as_u16());
    response
}

/// Runs a handler until it answers, panics or takes too long.
async fn within_limit<F: Future>(
    mut handler: Pin<&mut F>,
    progress: Option<&Progress>,
    limits: Limits,
) -> Result<F::Output, Problem> {
    let mut caught = pin!(poll_fn(|cx| {
        // A handler that panicked is dropped with all it held, so nobody can see it half done.
        match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(cx))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(payload) => Poll::Ready(Err(Problem::panicked(&*payload))),
        }
    }));
    // Most handlers answer at once and need no timer.
    if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(caught.as_mut().poll(cx))).await {
        return result;
    }
    loop {
        let frames_before = progress.map(Progress::frames);
        match tokio::time::timeout(limits.handler, &mut caught).await {
            Ok(result) => return result,
            // The time that a client takes to send its body has its own limit.
            Err(_) if progress.is_some_and(Progress::is_waiting) => {}
            Err(_) if progress.map(Progress::frames) != frames_before => {}
            Err(_) => {
                tracing::warn!(limit_s = limits.handler.as_secs(), "request reached the time limit");
                return Err(Problem::time_limit());
            }
        }
    }
}
