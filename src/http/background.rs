//! Lists are made in the background, and compressed there, so that they hold up no other answer.
//!
//! A view costs microseconds; a page of views costs a millisecond, and a batch that is compressed seconds. So handlers
//! of lists, and the layer that compresses their answers, run on a runtime of their own, whose few threads have a low
//! priority and give way often: the kernel gives their processor to a thread that answers views. A batch that is sent
//! plain is made by its own connection as it is written, since to hand a piece to another thread costs more than to
//! make it. In either case the connection lets others have a turn after each piece. Little is made ahead of the client,
//! so a slow one costs little memory, which the [`MemoryBudget`] counts.

use std::future::poll_fn;
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
use hyper::body::{Frame, SizeHint};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinSet, yield_now};

use super::memory_budget::{Connection, Holder, MemoryBudget};
use super::problem::Problem;
use super::qvalue;
use crate::service::{ServiceError, give_way};

/// Bytes of a piece: takes a connection some ten microseconds to write. The client of smaller ones is woken so often
/// that a batch takes longer.
pub(super) const PIECE_BYTES: usize = 64 * 1024;
/// Bytes that the compressor is handed at a time: take it some hundred microseconds.
const COMPRESSOR_BYTES: usize = 32 * 1024;
/// Compressed pieces that are made ahead of their client: a thread of low priority may wait for its turn after each
/// time that it has nothing to do.
const PIECES_AHEAD: usize = 4;
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

    /// Counts the memory of an answer to a connection that does not pass through [`answer`].
    pub(super) fn holder(&self, connection: Connection) -> Arc<Holder> {
        self.budget.holder(connection)
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
    let holder = background.budget.holder(connection);
    let permit = permit.filter(|_| response.headers().contains_key(CONTENT_ENCODING));
    response.map(|body| {
        let source = match permit {
            Some(permit) => {
                let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
                background.threads.spawn(send_pieces(body, sender, holder, permit));
                Source::Background(pieces)
            }
            None => Source::Connection(body, holder),
        };
        Body::new(PieceBody { source, rest: Bytes::new(), length, others_turn: None, is_ended: false })
    })
}

/// Hands the compressor the answer of a handler in pieces, with a turn for other threads before each: it works on all
/// that it is given at once, which takes milliseconds for a page.
pub(super) async fn cut_for_compressor(request: Request, next: Next) -> Response {
    let is_compressed = request.headers().contains_key(ACCEPT_ENCODING);
    let response = next.run(request).await;
    if is_compressed { response.map(|body| Body::new(CutBody { body, rest: Bytes::new() })) } else { response }
}

struct CutBody {
    body: Body,
    /// What is left of the last bytes of the body.
    rest: Bytes,
}

impl HttpBody for CutBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        give_way();
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)?).map(Frame::into_data) {
                Some(Ok(bytes)) => self.rest = bytes,
                // No answer has trailers.
                Some(Err(_)) => {}
                None => return Poll::Ready(None),
            }
        }
        let piece_bytes = self.rest.len().min(COMPRESSOR_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece_bytes)))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

/// Sends what a body yields, and `None` at its end. A body that fails, or panics, has no end.
async fn send_pieces(
    mut body: Body,
    sender: mpsc::Sender<Option<Bytes>>,
    holder: Arc<Holder>,
    _permit: OwnedSemaphorePermit,
) {
    while let Some(piece) = poll_fn(|cx| poll_data(&mut body, &holder, cx)).await {
        let Ok(piece) = piece else { return };
        if sender.send(Some(piece)).await.is_err() {
            return;
        }
        give_way();
        // Other lists have a turn.
        yield_now().await;
    }
    // A client that has gone needs no end.
    let _ = sender.send(None).await;
}

/// Polls the next bytes of a body, which the holder counts.
fn poll_data(body: &mut Body, holder: &Arc<Holder>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokeOff>>> {
    loop {
        let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(cx)) else { return Poll::Ready(None) };
        let data = match frame.map(Frame::into_data) {
            Ok(Ok(data)) => holder.hold(data).map_err(|_cut_off| BrokeOff),
            // No answer has trailers.
            Ok(Err(_)) => continue,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "list broke off");
                Err(BrokeOff)
            }
        };
        return Poll::Ready(Some(data));
    }
}

/// An answer that is written in pieces.
struct PieceBody {
    source: Source,
    /// What is left of the last bytes of the source.
    rest: Bytes,
    /// Bytes that are still to come, if that is known.
    length: Option<u64>,
    /// The turn of other connections, after a piece was given.
    others_turn: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    is_ended: bool,
}

/// Where the bytes of an answer come from.
enum Source {
    /// The threads in the background make them, and `None` at the end.
    Background(mpsc::Receiver<Option<Bytes>>),
    /// The connection makes them.
    Connection(Body, Arc<Holder>),
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokeOff>>> {
        match self {
            Self::Background(pieces) => pieces.poll_recv(cx).map(|sent| match sent {
                Some(piece) => piece.map(Ok),
                None => Some(Err(BrokeOff)),
            }),
            Self::Connection(body, holder) => poll_data(body, holder, cx),
        }
    }
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
        if let Some(turn) = &mut self.others_turn {
            ready!(turn.as_mut().poll(cx));
            self.others_turn = None;
        }
        while self.rest.is_empty() {
            match ready!(self.source.poll(cx)) {
                Some(Ok(bytes)) => self.rest = bytes,
                end => {
                    self.is_ended = true;
                    return Poll::Ready(end.map(|broken| broken.map(Frame::data)));
                }
            }
        }
        let piece_bytes = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(piece_bytes);
        self.others_turn = Some(Box::pin(yield_now()));
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

    use axum::Router;
    use axum::http::HeaderName;
    use axum::middleware::{from_fn, from_fn_with_state};
    use axum::routing::get;
    use http_body_util::BodyExt as _;
    use tokio_stream::StreamExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::metrics::BudgetMetrics;

    fn budget() -> Arc<MemoryBudget> {
        MemoryBudget::new("--answers-memory", 1 << 20, BudgetMetrics::default())
    }

    async fn get_from(routes: Router, threads: &BackgroundThreads) -> Response {
        let layered = routes.layer(from_fn_with_state(threads.background(budget()), answer));
        let request = Request::get("/").header(ACCEPT_ENCODING, "gzip").body(Body::empty());
        layered.oneshot(request.unwrap()).await.unwrap()
    }

    /// Only its header is that of a compressed answer.
    const COMPRESSED: [(HeaderName, &str); 1] = [(CONTENT_ENCODING, "gzip")];

    #[tokio::test]
    async fn handlers_and_compressed_bodies_run_on_threads_of_their_own() {
        let threads = BackgroundThreads::start().unwrap();
        let name = || std::thread::current().name().unwrap_or_default().to_owned();
        let streamed = async move || {
            let handler = name();
            let line = move |()| Ok::<_, Infallible>(format!("{handler} {}\n", name()));
            Body::from_stream(tokio_stream::iter([(); 2]).map(line))
        };
        let compressed = async move || (COMPRESSED, streamed().await);
        let body = get_from(Router::new().route("/", get(compressed)), &threads).await.into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "lists lists\nlists lists\n");
        let body = get_from(Router::new().route("/", get(streamed)), &threads).await.into_body();
        let here = format!("lists {0}\nlists {0}\n", name());
        assert_eq!(body.collect().await.unwrap().to_bytes(), here, "the connection makes what is plain");
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
    async fn a_compressor_is_handed_pieces_and_knows_the_length() {
        let routes = Router::new().route("/", get(async || vec![b'x'; 5 * COMPRESSOR_BYTES / 2]));
        let layered = routes.layer(from_fn(cut_for_compressor));
        for (encoding, pieces) in [("gzip", &[2, 2, 1][..]), ("", &[5])] {
            let mut request = Request::get("/").body(Body::empty()).unwrap();
            if !encoding.is_empty() {
                request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(encoding));
            }
            let body = layered.clone().oneshot(request).await.unwrap().into_body();
            assert_eq!(body.size_hint().exact(), Some(5 * COMPRESSOR_BYTES as u64 / 2));
            let lengths = body.into_data_stream().map(|piece| piece.unwrap().len() / (COMPRESSOR_BYTES / 2));
            assert_eq!(lengths.collect::<Vec<_>>().await, pieces, "{encoding}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_has_no_end() {
        let threads = BackgroundThreads::start().unwrap();
        let fails = async || {
            let pieces = [Ok("piece"), Err(io::Error::other("as it shall"))];
            Body::from_stream(tokio_stream::iter(pieces))
        };
        let panics = async || {
            let piece = |at| {
                assert!(at == 0, "as it shall");
                Ok::<_, Infallible>("piece")
            };
            (COMPRESSED, Body::from_stream(tokio_stream::iter([0, 1]).map(piece)))
        };
        for routes in [Router::new().route("/", get(fails)), Router::new().route("/", get(panics))] {
            let body = get_from(routes, &threads).await.into_body();
            assert!(body.collect().await.is_err());
        }
    }
}
