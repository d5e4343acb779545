//! Lists and batches are answered in the background, so that they hold up no other answer.
//!
//! A view costs microseconds; a batch of views costs milliseconds, and seconds where it is compressed. So handlers of
//! lists, and the layer that compresses their answers, run on a runtime of their own, whose few threads have a low
//! priority: the kernel stops them as soon as a thread that answers views has work. What they make reaches the
//! connection piece by piece, and the connection lets others have a turn after each piece. Few pieces are made ahead of
//! the client, so a slow one costs little memory, which the [`MemoryBudget`] counts.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinSet, yield_now};

use super::memory_budget::{Connection, Holder, MemoryBudget};
use super::problem::Problem;
use super::qvalue;
use crate::service::ServiceError;

/// Bytes that a connection writes in one turn: some ten microseconds.
pub(super) const PIECE_BYTES: usize = 32 * 1024;
/// Bytes that a list is made in at a time: to hand them to the connection costs as much as to make some of them.
pub(super) const CHUNK_BYTES: usize = 2 * PIECE_BYTES;
/// Chunks of an answer that wait for its client, beside the one that is being written and the one that is being made.
const CHUNKS_AHEAD: usize = 1;
/// Answers that are compressed at once: each takes up to a megabyte for the compressor's memory. More are sent plain.
const COMPRESSED_AT_ONCE: usize = 16;
/// Threads that wait for the file, for lists that are not in memory.
const BLOCKING_THREADS_MAX: usize = 4;
/// The nice level of the threads: they still get a tenth of the time of a processor that never idles.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// The threads that make lists; they end when this is dropped.
#[derive(Debug)]
pub(super) struct BackgroundThreads(Option<Runtime>);

impl BackgroundThreads {
    /// Starts them: one for each two processors, so that views have processors to themselves.
    ///
    /// # Errors
    ///
    /// If the kernel gives no thread.
    pub(super) fn start() -> io::Result<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut runtime = Builder::new_multi_thread();
        runtime.worker_threads((processors / 2).max(1)).max_blocking_threads(BLOCKING_THREADS_MAX);
        runtime.thread_name("lists").on_thread_start(|| {
            // Of the calling thread alone, on Linux. Without it lists and views share the processors alike.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::setpriority_process(None, NICENESS);
        });
        Ok(Self(Some(runtime.enable_all().build()?)))
    }

    /// - `budget`: of the memory of answers.
    pub(super) fn background(&self, budget: Arc<MemoryBudget>) -> Background {
        let threads = self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone());
        Background::on(threads, budget)
    }
}

impl Drop for BackgroundThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // An async caller must not wait for the threads.
            runtime.shutdown_background();
        }
    }
}

/// Answers requests in the background: the state of the middleware [`answer`].
#[derive(Clone, Debug)]
pub(super) struct Background {
    threads: Handle,
    compressed: Arc<Semaphore>,
    budget: Arc<MemoryBudget>,
}

impl Background {
    pub(super) fn on(threads: Handle, budget: Arc<MemoryBudget>) -> Self {
        Self { threads, compressed: Arc::new(Semaphore::new(COMPRESSED_AT_ONCE)), budget }
    }

    /// Leaves in `Accept-Encoding` only what the answer can be sent in; without any it is sent plain, also to a client
    /// that says it would rather have nothing than that.
    fn choose_encoding(&self, request: &mut Request) -> Option<OwnedSemaphorePermit> {
        // Of two that are wanted alike, the last.
        let wanted = ["gzip", "zstd"].map(|coding| (qvalue::of(request.headers(), &ACCEPT_ENCODING, coding), coding));
        let (quality, chosen) = wanted.into_iter().max_by_key(|(quality, _)| *quality).unwrap_or_default();
        request.headers_mut().remove(ACCEPT_ENCODING);
        if quality.is_none_or(|quality| quality == 0) {
            return None;
        }
        let permit = Arc::clone(&self.compressed).try_acquire_owned().ok()?;
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(chosen));
        Some(permit)
    }
}

/// Has the handler answer in the background, and passes its answer on piece by piece.
pub(super) async fn answer(State(background): State<Background>, mut request: Request, next: Next) -> Response {
    let permit = background.choose_encoding(&mut request);
    let connection = request.extensions().get::<Connection>().cloned().unwrap_or_default();
    // A set, as it ends the handler if the client disconnects.
    let mut handler = JoinSet::new();
    handler.spawn_on(next.run(request), &background.threads);
    let response = match handler.join_next().await {
        Some(Ok(response)) => response,
        Some(Err(error)) if error.is_panic() => return Problem::panicked(&*error.into_panic()).into_response(),
        // The threads have ended: the server is stopping.
        Some(Err(_)) | None => return Problem::from(ServiceError::Busy).into_response(),
    };
    let length = response.body().size_hint().exact();
    if length.is_some_and(|length| length <= PIECE_BYTES as u64) {
        return response;
    }
    let permit = permit.filter(|_| response.headers().contains_key(CONTENT_ENCODING));
    response.map(|body| {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let holder = background.budget.holder(connection);
        background.threads.spawn(send_chunks(body, sender, holder, permit));
        Body::new(PieceBody { chunks, chunk: Bytes::new(), length, is_others_turn: false, is_ended: false })
    })
}

/// Sends a body chunk by chunk, and `None` at its end. A body that fails, or panics, has no end.
async fn send_chunks(
    mut body: Body,
    sender: mpsc::Sender<Option<Bytes>>,
    holder: Arc<Holder>,
    _permit: Option<OwnedSemaphorePermit>,
) {
    while let Some(frame) = body.frame().await {
        let data = match frame.map(Frame::into_data) {
            Ok(Ok(data)) => data,
            // No answer has trailers.
            Ok(Err(_)) => continue,
            Err(error) => return tracing::error!(error = &error as &dyn std::error::Error, "list broke off"),
        };
        let Ok(data) = holder.hold(data) else { return };
        if sender.send(Some(data)).await.is_err() {
            return;
        }
        // Other lists have a turn.
        yield_now().await;
    }
    // A client that has gone needs no end.
    let _ = sender.send(None).await;
}

/// An answer that arrives in chunks and is written in pieces.
struct PieceBody {
    chunks: mpsc::Receiver<Option<Bytes>>,
    /// What is left of the last chunk.
    chunk: Bytes,
    /// Bytes that are still to come, if that is known.
    length: Option<u64>,
    /// Whether a piece was given, and other connections have had no turn since.
    is_others_turn: bool,
    is_ended: bool,
}

/// The answer ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
struct BrokeOff;

impl HttpBody for PieceBody {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut self.is_others_turn) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while self.chunk.is_empty() {
            match ready!(self.chunks.poll_recv(cx)) {
                Some(Some(chunk)) => self.chunk = chunk,
                end => {
                    self.is_ended = true;
                    return Poll::Ready(end.is_none().then_some(Err(BrokeOff)));
                }
            }
        }
        let piece_bytes = self.chunk.len().min(PIECE_BYTES);
        let piece = self.chunk.split_to(piece_bytes);
        self.is_others_turn = true;
        self.length = self.length.map(|length| length.saturating_sub(piece.len() as u64));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended || self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;

    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tokio_stream::StreamExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::metrics::BudgetMetrics;

    fn budget() -> Arc<MemoryBudget> {
        MemoryBudget::new("--answers-memory", 1 << 20, BudgetMetrics::default())
    }

    async fn get_from(routes: Router, threads: &BackgroundThreads) -> Response {
        let layered = routes.layer(from_fn_with_state(threads.background(budget()), answer));
        layered.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_handler_and_its_body_run_on_threads_of_their_own() {
        let threads = BackgroundThreads::start().unwrap();
        let name = || std::thread::current().name().unwrap_or_default().to_owned();
        let streamed = async move || {
            let handler = name();
            let line = move |()| Ok::<_, Infallible>(format!("{handler} {}\n", name()));
            Body::from_stream(tokio_stream::iter([(); 2]).map(line))
        };
        let body = get_from(Router::new().route("/", get(streamed)), &threads).await.into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "lists lists\nlists lists\n");
    }

    #[tokio::test]
    async fn long_answers_come_in_pieces_with_a_turn_for_others_after_each() {
        let threads = BackgroundThreads::start().unwrap();
        let long = async || vec![b'x'; 5 * PIECE_BYTES / 2];
        let mut body = get_from(Router::new().route("/", get(long)), &threads).await.into_body();
        assert_eq!(body.size_hint().exact(), Some(5 * PIECE_BYTES as u64 / 2), "its length is still known");
        let (mut lengths, mut turns) = (Vec::new(), 0);
        loop {
            let frame = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
                Poll::Pending => {
                    turns += 1;
                    Poll::Pending
                }
                ready @ Poll::Ready(_) => ready,
            });
            let Some(frame) = frame.await else { break };
            lengths.push(frame.unwrap().into_data().unwrap().len());
        }
        assert_eq!(lengths, [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES / 2]);
        assert!(turns >= 2, "{turns}");
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_has_no_end() {
        let threads = BackgroundThreads::start().unwrap();
        let panics = async || {
            let piece = |at| {
                assert!(at == 0, "as it shall");
                Ok::<_, Infallible>("piece")
            };
            Body::from_stream(tokio_stream::iter([0, 1]).map(piece))
        };
        let body = get_from(Router::new().route("/", get(panics)), &threads).await.into_body();
        assert!(body.collect().await.is_err());
    }
}
