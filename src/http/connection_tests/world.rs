//! A server of its own for each test, and a client that sends bytes as they are.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::{get, post, put};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot};

use crate::domain::{SignalId, UserId};
use crate::http::access::AccessState;
use crate::http::body::{Lines, ObjectBody};
use crate::http::extract::Path;
use crate::http::problem::Problem;
use crate::http::routes::{routes, with_fallbacks};
use crate::http::server::{Answers, Limits, Settings, run};
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
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let signals = Signals::default();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let folder = tempfile::tempdir().unwrap();
        let service =
            Service::open(&folder.path().join("overlaid.redb"), crate::service::Settings::built_in().unwrap()).unwrap();
        let router =
            with_fallbacks(routes().merge(more_routes(&signals))).with_state(AccessState::new(service.clone()));
        let answers = Answers::new(router, Settings { limits, access_log: true }, &service);
        let served = runtime.spawn(run(listener, answers, shutdown));
        Self { address, signals, stop: Some(stop), served: Some(served), runtime, _folder: folder }
    }

    pub(super) fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, unread: Vec::new() }
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
    let (waiting, streaming) = (signals.clone(), signals.clone());
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
        .route("/broken-stream", get(broken_stream))
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

async fn broken_stream() -> Body {
    let mut pieces = 0;
    Body::from_stream(tokio_stream::iter(std::iter::repeat_with(move || {
        pieces += 1;
        assert!(pieces < 3, "on purpose, in the middle of a stream");
        Ok::<_, std::io::Error>(Bytes::from_static(b"piece"))
    })))
}

pub(super) struct Client {
    pub(super) stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The code of a problem document, checked for being one.
    #[track_caller]
    pub(super) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document: Value = serde_json::from_str(&self.body).unwrap();
        let code = document["code"].as_str().unwrap();
        assert_eq!(document["status"], self.status);
        assert_eq!(document["type"], format!("/problems/{code}"));
        (self.status, code.to_owned())
    }
}

impl Client {
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub(super) fn fill(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let read = self.stream.read(&mut buffer).unwrap();
        self.unread.extend_from_slice(&buffer[..read]);
        read > 0
    }

    /// Reads one answer with a known length.
    #[track_caller]
    pub(super) fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    #[track_caller]
    pub(super) fn answer_to(&mut self, method: &str) -> Answer {
        let head_end = loop {
            match self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => assert!(self.fill(), "closed in a head: {:?}", String::from_utf8_lossy(&self.unread)),
            }
        };
        let head = String::from_utf8(self.unread.drain(..head_end).collect()).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        let has_body = method != "HEAD" && status != 304;
        let length = answer.header("content-length").map_or(0, |value| value.parse().unwrap());
        let length = if has_body { length } else { 0 };
        while self.unread.len() < length {
            assert!(self.fill(), "closed in a body: {answer:?}");
        }
        answer.body = String::from_utf8(self.unread.drain(..length).collect()).unwrap();
        answer
    }

    /// Waits for the server to close, with nothing more said.
    #[track_caller]
    pub(super) fn closed(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "more: {:?}", String::from_utf8_lossy(&rest)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "not closed"),
        }
    }
}
