//! The accept loop and the connections: every wait has a limit, and so has everything that is held.
//!
//! `axum::serve` sets no limit on how slowly a client may send the head of a request or read an answer, so a few
//! slow clients hold their connections for ever. Hence an own loop over hyper's HTTP/1 connections.
//!
//! hyper's `pipeline_flush` stays off. With it on, hyper takes everything that a streamed body yields into memory,
//! whether or not the client reads, and holds an answer back while only a part of the next request is there.

use std::any::Any;
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::either::Either;
use tower::{Layer as _, Service as _, ServiceExt as _};
use tower_http::catch_panic::{CatchPanic, CatchPanicLayer};
use tower_http::cors::CorsLayer;

use super::access::Operator;
use super::background::BackgroundThreads;
use super::body_timeout::{TimedBody, Unread};
use super::cors::{self, Origin};
use super::memory_budget::{Connection, MemoryBudget};
use super::problem::{Code, Problem, panic_message};
use super::request_log::RequestLog;
use super::routes::router;
use super::socket::{CONNECTIONS_MAX, Socket, Stream};
use super::unix_socket::UnixSocket;
use crate::metrics::UnreadableLabels;
use crate::service::Service;

/// How long to wait after a failed accept: long enough not to spin while file descriptors are short.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);
/// How long a client that was refused may go on sending before it is cut off.
const DRAIN_REFUSED: Duration = Duration::from_secs(2);
/// hyper accepts no smaller buffer.
const HEAD_BYTES_LEAST: usize = 8 * 1024;

/// How one server answers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it holds at most and how long it waits.
    pub limits: Limits,
    /// Whether every request has a log line. Refusals (401, 403) have one in any case.
    pub access_log: bool,
    /// The origins whose pages may call.
    pub cors_origins: Vec<Origin>,
}

/// What one server holds at most, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections open at once; more wait in the listener's backlog.
    pub connections_max: usize,
    /// Largest head of a request, and the most that is buffered of an answer; not below 8 KiB.
    pub head_bytes_max: usize,
    /// How long a client may take to send the head of a request. An idle connection is closed after it too.
    pub head_read: Duration,
    /// How long a client may take to send each 64 KiB of a body, or what is left of it.
    pub body_read: Duration,
    /// How long a request may take from its head to the head of its answer.
    pub handler: Duration,
    /// How long a client may take nothing of an answer.
    pub write: Duration,
    /// How long requests in flight may take after shutdown was asked for.
    pub shutdown: Duration,
    /// Memory of lists that clients have not taken yet, together; the slowest clients beyond it are cut off.
    pub answers_bytes_max: u64,
    /// Memory of bodies that clients are sending, together; the slowest clients beyond it are cut off.
    pub bodies_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            // A list of a thousand users in a query fits; all connections at once hold some 200 MB of heads.
            head_bytes_max: 32 * 1024,
            head_read: Duration::from_secs(10),
            body_read: Duration::from_secs(10),
            handler: Duration::from_secs(10),
            write: Duration::from_secs(30),
            shutdown: Duration::from_secs(10),
            // Two thousand slow readers of batches; the longest lists take 8 MiB, usual ones some 100 KB.
            answers_bytes_max: 256 * 1024 * 1024,
            // A thousand of the largest bodies at once; usual ones take a hundred bytes.
            bodies_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// Where connections come in.
#[derive(Debug)]
pub struct Listeners {
    /// From the network.
    pub tcp: TcpListener,
    /// From commands of the operator on this machine, who need no token; `None` where the file system has no sockets.
    pub socket: Option<UnixSocket>,
}

impl Listeners {
    /// A connection, with the address at its other end if there is a network in between.
    async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        let tcp = async { self.tcp.accept().await.map(|(stream, peer)| (Either::Left(stream), Some(peer))) };
        let Some(socket) = &self.socket else { return tcp.await };
        tokio::select! {
            accepted = tcp => accepted,
            accepted = socket.accept() => accepted.map(|stream| (Either::Right(stream), None)),
        }
    }
}

/// Serves `service` on `listeners` until `shutdown` is ready, then finishes the requests in flight.
///
/// Failed accepts are logged and tried again; no client can end the server.
///
/// # Errors
///
/// If the TCP listener has no address any more, or the kernel gives no thread. Nothing was served then.
pub async fn serve(
    listeners: Listeners,
    service: Service,
    settings: Settings,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let threads = BackgroundThreads::start()?;
    let budget = service.metrics().http.answers_held.clone();
    let budget = MemoryBudget::new("--answers-memory", settings.limits.answers_bytes_max, budget);
    let router = router(service.clone(), &threads.background(budget), &settings.cors_origins);
    let handler = RequestHandler::new(router, &settings, &service);
    run(listeners, handler, shutdown).await
}

pub(super) async fn run(
    listeners: Listeners,
    handler: RequestHandler,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let address = listeners.tcp.local_addr()?;
    tracing::info!(%address, url = %format_args!("http://{address}/"), "serving http");
    let limits = handler.limits;
    let http = connection_settings(limits);
    let mut shutdown = pin!(shutdown);
    let (stop, stopping) = watch::channel(());
    let handler = Arc::new(handler);
    let mut connections = JoinSet::new();
    let mut accepting = Accepting::Freely;
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => log_end(ended),
            accepted = listeners.accept(), if connections.len() < limits.connections_max => match accepted {
                Ok((stream, peer)) => {
                    let connection = Connection::of(peer);
                    let (handler, stopping) = (Arc::clone(&handler), stopping.clone());
                    let served = serve_connection(stream, connection.clone(), handler, http.clone(), stopping);
                    connection.is(connections.spawn(served));
                    accepting.accepted(connections.len(), limits.connections_max);
                }
                Err(error) => {
                    accepting.failed(&error);
                    tokio::time::sleep(ACCEPT_BACK_OFF).await;
                }
            },
        }
    }
    // Closed before anything else, so that new clients are turned away and can try elsewhere.
    drop(listeners);
    drop(stop);
    handler.log.service.end_followers();
    tracing::info!(connections = connections.len(), "shutting down http");
    let finish = async {
        while let Some(ended) = connections.join_next().await {
            log_end(ended);
        }
    };
    if tokio::time::timeout(limits.shutdown, finish).await.is_err() {
        tracing::warn!(connections = connections.len(), "dropping connections that did not end in time");
        connections.shutdown().await;
    }
    Ok(())
}

/// How accepting goes, so that each trouble is logged once and not for every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    Freely,
    Full,
    Failing,
}

impl Accepting {
    fn accepted(&mut self, open: usize, connections_max: usize) {
        if *self == Self::Failing {
            tracing::info!("accepting connections again");
            *self = Self::Freely;
        }
        if *self == Self::Freely && open >= connections_max {
            tracing::warn!(connections_max, "all connections are taken; new ones wait");
            *self = Self::Full;
        } else if *self == Self::Full && open < connections_max / 2 {
            *self = Self::Freely;
        }
    }

    fn failed(&mut self, error: &io::Error) {
        // The client went away before it was accepted: no trouble of ours.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
            tracing::debug!(%error, "connection ended before it was accepted");
        } else if *self != Self::Failing {
            tracing::error!(%error, "can not accept connections; trying again");
            *self = Self::Failing;
        }
    }
}

fn connection_settings(limits: Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // The number of header fields stays at hyper's 100: another number moves them from the stack to the heap.
    let head_bytes_max = limits.head_bytes_max.max(HEAD_BYTES_LEAST);
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_read)
        // A client that has sent a whole request and closed its sending half still waits for the answer. A client that
        // is gone is noticed when the answer is written.
        .half_close(true)
        // Alone this is only where growing stops; a head of twice the size can get through.
        .max_buf_size(head_bytes_max)
        .max_header_size(head_bytes_max);
    http
}

/// What answers the requests of all connections.
#[derive(Debug)]
pub(super) struct RequestHandler {
    stack: Stack,
    cors: Option<CorsLayer>,
    log: RequestLog,
    limits: Limits,
    bodies: Arc<MemoryBudget>,
    unreadable: Family<UnreadableLabels, Counter>,
}

/// The router, with a layer that makes an answer of a panic.
type Stack = CatchPanic<Router, fn(Box<dyn Any + Send>) -> Response>;

impl RequestHandler {
    pub(super) fn new(router: Router, settings: &Settings, service: &Service) -> Self {
        let metrics = &service.metrics().http;
        let on_panic: fn(Box<dyn Any + Send>) -> Response = |payload| Problem::panicked(&*payload).into_response();
        let stack = CatchPanicLayer::custom(on_panic).layer(router);
        let log = RequestLog { is_on: settings.access_log, service: service.clone() };
        let limits = settings.limits;
        let bodies = MemoryBudget::new("--bodies-memory", limits.bodies_bytes_max, metrics.bodies_held.clone());
        let cors = cors::layer(&settings.cors_origins);
        Self { stack, cors, log, limits, bodies, unreadable: metrics.unreadable.clone() }
    }

    /// Answers a request.
    ///
    /// Sets `abandoned` if the rest of the request's body will not be read: it would be taken for the next request.
    async fn answer(
        &self,
        mut request: Request<Incoming>,
        connection: &Connection,
        abandoned: &Arc<AtomicBool>,
    ) -> Response {
        request.extensions_mut().insert(connection.clone());
        let mut unread = None;
        let request = request.map(|incoming| {
            if incoming.is_end_stream() {
                return Body::empty();
            }
            let held = self.bodies.holder(connection.clone());
            let unread = unread.insert(Arc::new(Unread::new(Arc::clone(&held)))).clone();
            Body::new(TimedBody::new(incoming, self.limits.body_read, held, unread, Arc::clone(abandoned)))
        });
        let response = self.log.around(request, async |request| self.respond(request).await).await;
        // A short rest is read, so that a client which is told what was wrong does not lose the request that it sends
        // next.
        if let Some(unread) = unread
            && unread.drain().await
        {
            abandoned.store(true, Ordering::Relaxed);
        }
        response
    }

    /// Has the router answer, and tells a browser whether the page that asks may have the answer.
    async fn respond(&self, request: Request) -> Response {
        let Some(cors) = &self.cors else { return self.respond_in_time(request).await };
        let respond = |request| async move { Ok::<_, Infallible>(self.respond_in_time(request).await) };
        cors.layer(tower::service_fn(respond)).oneshot(request).await.unwrap_or_else(|never| match never {})
    }

    /// Has the router answer within the time limit.
    async fn respond_in_time(&self, request: Request) -> Response {
        // tower-http's `TimeoutLayer` sets its timer before it asks the router, this only where the router has to wait:
        // a view, which is answered from memory, costs no timer.
        if let Ok(Ok(response)) = tokio::time::timeout(self.limits.handler, self.stack.clone().call(request)).await {
            return response.map(Body::new);
        }
        tracing::warn!(limit_s = self.limits.handler.as_secs(), "request reached the time limit");
        let detail = "the request took longer than any may; a write may still take effect";
        Problem::new(Code::TimeLimit, detail).into_response()
    }
}

/// Serves one connection to its end.
async fn serve_connection(
    stream: Stream,
    connection: Connection,
    handler: Arc<RequestHandler>,
    http: http1::Builder,
    mut stopping: watch::Receiver<()>,
) {
    if let Either::Left(tcp) = &stream
        && let Err(error) = tcp.set_nodelay(true)
    {
        tracing::debug!(%error, "can not set TCP_NODELAY");
    }
    let operator = matches!(stream, Either::Right(_)).then_some(Operator);
    let abandoned = Arc::new(AtomicBool::new(false));
    let stop_seen = stopping.clone();
    let exchange = Arc::new((Arc::clone(&handler), connection, Arc::clone(&abandoned), stopping.clone()));
    let on_request = move |mut request: Request<Incoming>| {
        if let Some(operator) = operator {
            request.extensions_mut().insert(operator);
        }
        let exchange = Arc::clone(&exchange);
        async move {
            let (handler, connection, abandoned, stop_seen) = &*exchange;
            let mut response = handler.answer(request, connection, abandoned).await;
            // hyper says so by itself, but only of answers that it was still waiting for when it was told to stop.
            if abandoned.load(Ordering::Relaxed) || stop_seen.has_changed().is_err() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    };
    let socket = TokioIo::new(Socket::new(stream, handler.limits.write, handler.unreadable.clone()));
    let mut connection = http.serve_connection(socket, service_fn(on_request));
    let mut told_to_stop = pin!(stopping.changed());
    let mut is_listening = false;
    let ended = poll_fn(|cx| {
        // The sender is only ever dropped, which ends this wait with an error. It is looked at first, so that an answer
        // that becomes ready at the same time still says that the connection is closed after it. A task is always woken
        // alike, so it leaves word where it is told only once.
        if !is_listening || stop_seen.has_changed().is_err() {
            is_listening = true;
            if told_to_stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
        }
        Pin::new(&mut connection).poll(cx).map(Some)
    });
    let result = if let Some(result) = ended.await {
        result
    } else {
        Pin::new(&mut connection).graceful_shutdown();
        (&mut connection).await
    };
    let parts = connection.into_parts();
    let mut socket = parts.io.into_inner();
    if let Err(error) = result {
        let cause = error.source().map(ToString::to_string);
        tracing::debug!(%error, cause, "connection failed");
        say_why(&error, !parts.read_buf.is_empty(), &mut socket).await;
    }
    if socket.was_refused() || abandoned.load(Ordering::Relaxed) {
        // Whether the client ended by itself or ran out of time makes no difference any more.
        let _ = tokio::time::timeout(DRAIN_REFUSED, socket.drain()).await;
    }
}

/// Answers where hyper ends a connection without a word. One that was idle ends without a word here too, as an
/// answer to no request would be taken for the answer to the next.
async fn say_why(error: &hyper::Error, began_a_request: bool, socket: &mut Socket) {
    let status = if error.is_timeout() && began_a_request {
        StatusCode::REQUEST_TIMEOUT
    } else if error.is_parse_version_h2() {
        StatusCode::HTTP_VERSION_NOT_SUPPORTED
    } else {
        return;
    };
    if let Err(error) = socket.refuse(status).await {
        tracing::debug!(%error, "client did not take its refusal");
    }
}

fn log_end(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(panic = panic_message(&*error.into_panic()), "connection panicked");
    }
}
