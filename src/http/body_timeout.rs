//! Request bodies that have to arrive at a pace.
//!
//! The time spent waiting for each window of 64 KiB, or for what is left of a body, is limited. So a JSON body and
//! a line of an import, which are at most that long, arrive within the limit, while an import of any length goes on
//! for as long as the client keeps sending. Time that the server itself takes between two frames does not count.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

/// How much has to arrive within the limit: the longest JSON body or line.
const WINDOW_BYTES: usize = super::LINE_BYTES_MAX;

/// The client sent its body too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
pub(super) struct TooSlow;

/// What the guard of a request knows of its body.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Counts the frames that came; only changes matter.
    frames: AtomicU32,
    /// Whether the handler is waiting for the client at this moment.
    waiting: AtomicBool,
    rest: Mutex<Rest>,
}

/// What became of the part of a body that the handler did not read.
#[derive(Debug, Default)]
enum Rest {
    /// The handler has the body yet, or read it to its end.
    #[default]
    None,
    /// The handler let go of it.
    Left(Incoming),
    /// The request was answered; who lets go of the body now does so too late.
    Answered,
}

/// Most bytes of a refused body that are read to keep the connection: what any record's body may have.
const DRAINED_BYTES_MAX: u64 = 64 * 1024;
/// How long the client may take to send them.
const DRAIN_TIME: Duration = Duration::from_secs(1);

impl Progress {
    /// Counts frames, so that two calls tell whether any came in between.
    pub(super) fn frames(&self) -> u32 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Reads and drops what the handler left of the body, if that is little; returns whether anything is left after all.
    pub(super) async fn drain(&self) -> bool {
        let rest = std::mem::replace(&mut *self.rest.lock().unwrap_or_else(PoisonError::into_inner), Rest::Answered);
        let Rest::Left(mut incoming) = rest else { return false };
        let to_the_end = async {
            let mut left = DRAINED_BYTES_MAX;
            // A body that says that it is longer is not begun with.
            while incoming.size_hint().lower() <= left {
                match incoming.frame().await {
                    None => return true,
                    Some(Ok(frame)) => left = left.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64)),
                    Some(Err(_)) => return false,
                }
            }
            false
        };
        !tokio::time::timeout(DRAIN_TIME, to_the_end).await.unwrap_or(false)
    }

    /// Whether the handler waits for the client, whose pace has its own limit.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A request body whose reader is told when the client is too slow.
pub(super) struct PacedBody {
    /// Only given away when the body is dropped.
    incoming: Option<Incoming>,
    limit: Duration,
    /// How much longer the client may be waited for in this window.
    left: Duration,
    window_bytes: usize,
    wait: Option<Wait>,
    ended: bool,
    progress: Arc<Progress>,
    /// Set if the body is let go before its end: the client may still be sending.
    abandoned: Arc<AtomicBool>,
}

struct Wait {
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl PacedBody {
    pub(super) fn new(
        incoming: Incoming,
        limit: Duration,
        progress: Arc<Progress>,
        abandoned: Arc<AtomicBool>,
    ) -> Self {
        Self {
            incoming: Some(incoming),
            limit,
            left: limit,
            window_bytes: 0,
            wait: None,
            ended: false,
            progress,
            abandoned,
        }
    }

    /// Takes note of a frame, an error or the end.
    fn received(&mut self, frame: Option<&Result<Frame<Bytes>, hyper::Error>>) {
        if let Some(wait) = self.wait.take() {
            self.left = self.left.saturating_sub(wait.since.elapsed());
        }
        self.progress.frames.fetch_add(1, Ordering::Relaxed);
        self.progress.waiting.store(false, Ordering::Relaxed);
        match frame {
            Some(Ok(frame)) => {
                self.window_bytes += frame.data_ref().map_or(0, Bytes::len);
                if self.window_bytes >= WINDOW_BYTES {
                    (self.window_bytes, self.left) = (0, self.limit);
                }
            }
            Some(Err(_)) | None => self.ended = true,
        }
    }
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let ended = self.ended;
        let Some(incoming) = self.incoming.as_mut().filter(|_| !ended) else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) {
            self.received(frame.as_ref());
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let left = self.left;
        self.progress.waiting.store(true, Ordering::Relaxed);
        let new_wait = || Wait { since: Instant::now(), timer: Box::pin(tokio::time::sleep(left)) };
        ready!(self.wait.get_or_insert_with(new_wait).timer.as_mut().poll(cx));
        self.ended = true;
        self.abandoned.store(true, Ordering::Relaxed);
        self.progress.waiting.store(false, Ordering::Relaxed);
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for PacedBody {
    fn drop(&mut self) {
        self.progress.waiting.store(false, Ordering::Relaxed);
        if self.is_end_stream() {
            return;
        }
        let mut rest = self.progress.rest.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*rest, self.incoming.take()) {
            (Rest::None, Some(incoming)) => *rest = Rest::Left(incoming),
            _ => self.abandoned.store(true, Ordering::Relaxed),
        }
    }
}
