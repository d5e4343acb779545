//! A time limit on request bodies, and what becomes of a body that its handler did not read.
//!
//! The client has so long for each 64 KiB, or for what is left of the body. So a JSON body and a line of an import,
//! which are at most that long, arrive within the limit, while an import of any length goes on for as long as the
//! client keeps sending. Time that the server itself takes between two frames does not count.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::memory_budget::Holder;
use crate::service::LINE_BYTES_MAX;

/// How much has to arrive within the limit: the longest JSON body or line.
const WINDOW_BYTES: usize = LINE_BYTES_MAX;
/// Most bytes of a body left unread that the server reads to keep the connection: what any record's body may have.
const DRAINED_BYTES_MAX: u64 = 64 * 1024;
/// How long the client may take to send them.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// The client sent its body too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
pub(super) struct TooSlow;

/// The part of a body that its handler did not read.
#[derive(Debug)]
pub(super) struct Unread {
    rest: Mutex<Rest>,
    /// The memory of the body counts until the request is answered.
    _held: Arc<Holder>,
}

#[derive(Debug, Default)]
enum Rest {
    /// The handler has the body still, or read it to its end.
    #[default]
    None,
    /// The handler dropped it before its end.
    Left(Incoming),
    /// The request was answered; a body that is dropped now can not be drained any more.
    Answered,
}

impl Unread {
    pub(super) fn new(held: Arc<Holder>) -> Self {
        Self { rest: Mutex::default(), _held: held }
    }

    /// Reads and drops what the handler left of the body, if that is little; returns whether anything is left after
    /// all.
    pub(super) async fn drain(&self) -> bool {
        let rest = std::mem::replace(&mut *self.rest.lock().unwrap_or_else(PoisonError::into_inner), Rest::Answered);
        let Rest::Left(mut incoming) = rest else { return false };
        let to_the_end = async {
            let mut left = DRAINED_BYTES_MAX;
            // Not even begun, if the body says that it is longer.
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
}

/// A request body that ends in [`TooSlow`] if the client does not keep up.
pub(super) struct TimedBody {
    /// Taken only when the body is dropped.
    incoming: Option<Incoming>,
    limit: Duration,
    /// How much longer the server waits for this window.
    left: Duration,
    window_bytes: usize,
    wait: Option<Wait>,
    ended: bool,
    held: Arc<Holder>,
    held_bytes: usize,
    unread: Arc<Unread>,
    /// Set if the rest of the body will not be read, so that the connection can not be used again.
    abandoned: Arc<AtomicBool>,
}

struct Wait {
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

impl TimedBody {
    /// - `held`: counts the memory that the body takes, at most what a whole JSON body or a line does.
    pub(super) fn new(
        incoming: Incoming,
        limit: Duration,
        held: Arc<Holder>,
        unread: Arc<Unread>,
        abandoned: Arc<AtomicBool>,
    ) -> Self {
        let (incoming, left) = (Some(incoming), limit);
        let (window_bytes, wait, ended, held_bytes) = (0, None, false, 0);
        Self { incoming, limit, left, window_bytes, wait, ended, held, held_bytes, unread, abandoned }
    }

    /// Counts a frame, an error or the end.
    fn received(&mut self, frame: Option<&Result<Frame<Bytes>, hyper::Error>>) {
        if let Some(wait) = self.wait.take() {
            self.left = self.left.saturating_sub(wait.since.elapsed());
        }
        match frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let more = bytes.min(WINDOW_BYTES - self.held_bytes);
                self.held_bytes += more;
                // A connection that is cut off here ends before anything is made of the body.
                let _ = self.held.add(more as u64);
                self.window_bytes += bytes;
                if self.window_bytes >= WINDOW_BYTES {
                    (self.window_bytes, self.left) = (0, self.limit);
                }
            }
            Some(Err(_)) | None => self.ended = true,
        }
    }
}

impl HttpBody for TimedBody {
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
        let new_wait = || Wait { since: Instant::now(), timer: Box::pin(tokio::time::sleep(left)) };
        ready!(self.wait.get_or_insert_with(new_wait).timer.as_mut().poll(cx));
        self.ended = true;
        self.abandoned.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(TooSlow.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        if self.is_end_stream() {
            return;
        }
        let mut rest = self.unread.rest.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*rest, self.incoming.take()) {
            (Rest::None, Some(incoming)) => *rest = Rest::Left(incoming),
            _ => self.abandoned.store(true, Ordering::Relaxed),
        }
    }
}
