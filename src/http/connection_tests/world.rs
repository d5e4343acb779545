//! A server for each test, on the real router with a few more routes.

#[expect(dead_code, reason = "the tests of tests/it use the rest of it")]
#[path = "../../../tests/it/kit/client.rs"]
mod client;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post, put};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot};
use tokio_stream::StreamExt as _;

use client::Answer;
pub(super) use client::Connection;

use crate::domain::{SignalId, UserId};
use crate::http::access::AccessState;
use crate::http::background::Background;
use crate::http::body::{Lines, ObjectBody};
use crate::http::cors::Origin;
use crate::http::extract::Path;
use crate::http::memory_budget::MemoryBudget;
use crate::http::problem::Problem;
use crate::http::routes::{routes, with_fallbacks};
use crate::http::server::{Limits, Listeners, RequestHandler, Settings, run};
use crate::service::Service;

/// Longer than anything takes here; a test that reaches it has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const SHORT: Duration = Duration::from_millis(150);

/// What handlers and tests tell each other.
#[derive(Clone, Default)]
pub(super) struct Signals {
    pub(super) entered: Arc<Notify>,
    pub(super) go_on: Arc<Notify>,
    pub(super) yielded_bytes: Arc<AtomicU64>,
    pub(super) stream_dropped: Arc<Notify>,
}

/// A server of its own for one test, ended with it.
pub(super) struct World {
    pub(super) address: SocketAddr,
    pub(super) signals: Signals,
    stop: Option<oneshot::Sender<()>>,
    served: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
    runtime: Runtime,
    _folder: TempDir,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Self {
        Self::with_origins(limits, &[])
    }

    /// A server that pages of these origins may call.
    pub(super) fn with_origins(limits: Limits, origins: &[Origin]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let signals = Signals::default();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let folder = tempfile::tempdir().unwrap();
        let service =
            Service::open(&folder.path().join("overlaid.redb"), crate::service::Settings::built_in().unwrap()).unwrap();
        let budget = MemoryBudget::new(
            "--answers-memory",
            limits.answers_bytes_max,
            service.metrics().http.answers_held.clone(),
        );
        let all = routes(&Background::on(runtime.handle().clone(), budget)).merge(more_routes(&signals));
        let router = with_fallbacks(all).with_state(AccessState::new(service.clone(), origins));
        let settings = Settings { limits, access_log: true, cors_origins: origins.to_vec() };
        let handler = RequestHandler::new(router, &settings, &service);
        let served = runtime.spawn(run(Listeners { tcp: listener, socket: None }, handler, shutdown));
        Self { address, signals, stop: Some(stop), served: Some(served), runtime, _folder: folder }
    }

    pub(super) fn client(&self) -> Connection {
        Connection::to(self.address)
    }

    /// Sends one request over a connection of its own.
    pub(super) fn ask(&self, request: &str) -> Answer {
        let mut client = self.client();
        client.send(request);
        client.answer()
    }

    pub(super) fn wait_for(&self, notify: &Notify) {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, notify.notified()).await.unwrap() });
    }

    pub(super) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(super) fn join(mut self) {
        let served = self.served.take().unwrap();
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, served).await.unwrap().unwrap().unwrap() });
    }
}

/// Notifies the test when hyper drops a streamed body.
struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Routes for what the server's own can not be made to do.
fn more_routes(signals: &Signals) -> Router<AccessState> {
    let [waiting, streaming, breaking] = [signals.clone(), signals.clone(), signals.clone()];
    Router::new()
        .route("/hello", get(async || "hello"))
        .route(
            "/users/{user}/missions/{signal}",
            get(async |Path((user, signal)): Path<(UserId, SignalId)>| format!("{user} {signal}")),
        )
        .route("/object", put(async |ObjectBody(object): ObjectBody| object.to_json()).patch(echo_object))
        .route("/lines", post(count_lines))
        .route("/streamed", post(count_lines_and_stream))
        .route("/unread", post(async || "did not read it"))
        .route("/panic", get(async || -> String { panic!("on purpose") }))
        .route("/for-ever", get(async || std::future::pending::<String>().await))
        .route("/wait", get(move || wait(waiting.clone())))
        .route("/endless", get(async move || endless(&streaming)))
        .route("/broken-stream", get(async move || broken_stream(&breaking)))
}

async fn echo_object(ObjectBody(object): ObjectBody) -> String {
    object.to_json()
}

async fn count_lines(mut lines: Lines) -> Result<String, Problem> {
    let (mut texts, mut too_long) = (0, 0);
    while let Some(line) = lines.next().await? {
        match line.text {
            Some(_) => texts += 1,
            None => too_long += 1,
        }
    }
    Ok(format!("{texts} {too_long}"))
}

/// Answers at once and counts while the body comes in, as an import does.
async fn count_lines_and_stream(lines: Lines) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let counted = count_lines(lines).await.map_err(|problem| std::io::Error::other(problem.to_json()));
        sender.send(counted).await.unwrap();
    });
    Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver))
}

async fn wait(signals: Signals) -> &'static str {
    signals.entered.notify_one();
    signals.go_on.notified().await;
    "waited"
}

/// A body that yields for as long as it is asked.
fn endless(signals: &Signals) -> Body {
    let guard = OnDrop(signals.stream_dropped.clone());
    let yielded_bytes = Arc::clone(&signals.yielded_bytes);
    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
    Body::from_stream(tokio_stream::iter(std::iter::repeat_with(move || {
        let _held = &guard;
        yielded_bytes.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        Ok::<_, std::io::Error>(chunk.clone())
    })))
}

/// A body of one piece that panics once the test lets it go on.
fn broken_stream(signals: &Signals) -> Body {
    let go_on = Arc::clone(&signals.go_on);
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        sender.send("piece").await.unwrap();
        go_on.notified().await;
        sender.send("").await.unwrap();
    });
    let pieces = tokio_stream::wrappers::ReceiverStream::new(receiver);
    Body::from_stream(pieces.map(|piece| {
        assert!(!piece.is_empty(), "on purpose, in the middle of a stream");
        Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes()))
    }))
}
