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

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONNECTION, HeaderValue};
use axum::http::{Request, Response};
use axum::response::IntoResponse;
use http_body_util::{Either, Full};
use hyper::body::Incoming;

use super::pace::{PacedBody, Progress};
use super::{Limits, Problem, Routes, host};
use crate::metrics::ResponseCounters;

/// What answers the requests of all connections.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) routes: Routes,
    pub(super) limits: Limits,
    pub(super) responses: ResponseCounters,
}

/// What an answer's body is: bytes that are there, or what the router made.
pub(super) type AnswerBody = Either<Full<Bytes>, Body>;

/// A request that was looked at.
pub(super) enum Begun {
    /// It could be answered at once.
    Answered(Response<AnswerBody>),
    /// It takes a handler.
    Open(OpenRequest),
}

/// A request that takes a handler.
pub(super) struct OpenRequest {
    request: Request<Incoming>,
    /// Whether it names its host.
    is_named: bool,
}

/// Answers a request that needs no waiting.
///
/// It is let go at once, before hyper looks whether more has come: while its bytes are in use that takes new memory for reading.
pub(super) fn begin(answers: &Answers, mut request: Request<Incoming>) -> Begun {
    let is_named = host::is_named(request.version(), request.headers());
    // The usual request has no body, and asks for what is in memory.
    if is_named
        && request.body().is_end_stream()
        && let Some(response) = answer_from_memory(&answers.routes, &mut request)
    {
        return Begun::Answered(response);
    }
    Begun::Open(OpenRequest { request, is_named })
}

/// Answers the request and counts the answer.
///
/// `abandoned` is set if the request's body is not read to its end.
pub(super) async fn finish(answers: &Answers, begun: Begun, abandoned: &Arc<AtomicBool>) -> Response<AnswerBody> {
    let response = match begun {
        Begun::Answered(response) => response,
        Begun::Open(request) => answer_by_router(answers, request, abandoned).await.map(Either::Right),
    };
    answers.responses.count(response.status().as_u16());
    response
}

fn answer_from_memory(routes: &Routes, request: &mut Request<Incoming>) -> Option<Response<AnswerBody>> {
    match catch_unwind(AssertUnwindSafe(|| routes.answer_from_memory(request))) {
        Ok(answer) => Some(answer?.map(Either::Left)),
        Err(payload) => Some(Problem::panicked(&*payload).into_response().map(Either::Right)),
    }
}

async fn answer_by_router(
    answers: &Answers,
    OpenRequest { request, is_named }: OpenRequest,
    abandoned: &Arc<AtomicBool>,
) -> Response<Body> {
    let Answers { routes, limits, .. } = answers;
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
        if is_named { routes.call(request).await } else { Ok(Problem::no_host().into_response()) }
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
