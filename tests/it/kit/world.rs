//! A service over a file in a temporary folder, with a clock that the test sets.
//!
//! Nothing here sleeps or reads the machine's clock.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use overlaid::domain::{MaxAges, SignalId};
use overlaid::http;
use overlaid::service::{
    Clock, MAX_AGES, MissionView, OVERLAYS_BYTES_MAX, Separator, Service, ServiceError, Settings, ViewTag,
};
use overlaid::store::{Operation, Receipt};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::client::{Answer, Connection, request};
use super::records::{put_outcome, put_overlay, put_rate, put_signal, signal_id, start, user_id};

/// A service, its file and its clock.
pub(crate) struct World {
    pub(crate) service: Service,
    clock: Arc<AtomicI64>,
    folder: TempDir,
    overlays_bytes_max: u64,
    max_ages: MaxAges,
}

impl World {
    /// An empty world at [`start`].
    pub(crate) fn new() -> Self {
        Self::with_overlays_memory(OVERLAYS_BYTES_MAX)
    }

    /// A world in which overlays may take so many bytes of memory.
    pub(crate) fn with_overlays_memory(overlays_bytes_max: u64) -> Self {
        Self::with(overlays_bytes_max, MAX_AGES)
    }

    /// A world in which rates and balances may have these ages.
    pub(crate) fn with_max_ages(max_ages: MaxAges) -> Self {
        Self::with(OVERLAYS_BYTES_MAX, max_ages)
    }

    fn with(overlays_bytes_max: u64, max_ages: MaxAges) -> Self {
        Self::at(TempDir::new().unwrap(), Arc::new(AtomicI64::new(start().millis())), overlays_bytes_max, max_ages)
    }

    fn at(folder: TempDir, clock: Arc<AtomicI64>, overlays_bytes_max: u64, max_ages: MaxAges) -> Self {
        let clock_in_hand = Clock::Fixed(Arc::clone(&clock));
        let settings = Settings { clock: clock_in_hand, overlays_bytes_max, max_ages, ..Settings::built_in().unwrap() };
        let service = Service::open(&folder.path().join("overlaid.redb"), settings).unwrap();
        Self { service, clock, folder, overlays_bytes_max, max_ages }
    }

    /// How old rates and balances may be.
    pub(crate) fn max_ages(&self) -> MaxAges {
        self.max_ages
    }

    /// Stops the service and starts another on the same file. Other handles on the service must be gone.
    pub(crate) fn restart(self) -> Self {
        let Self { service, clock, folder, overlays_bytes_max, max_ages } = self;
        service.stop();
        drop(service);
        Self::at(folder, clock, overlays_bytes_max, max_ages)
    }

    /// As [`World::restart`], with another limit.
    pub(crate) fn restart_with_overlays_memory(mut self, overlays_bytes_max: u64) -> Self {
        self.overlays_bytes_max = overlays_bytes_max;
        self.restart()
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, millis: i64) {
        self.clock.fetch_add(millis, Ordering::SeqCst);
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> PathBuf {
        self.service.path().to_owned()
    }

    pub(crate) async fn write(&self, operation: Operation) -> Result<Receipt, ServiceError> {
        self.service.write(operation).await
    }

    pub(crate) async fn put_signal(&self, json: &str) -> Receipt {
        self.write(put_signal(json, self.service.now())).await.unwrap()
    }

    pub(crate) async fn put_overlay(&self, json: &str) -> Receipt {
        self.write(put_overlay(json, self.service.now())).await.unwrap()
    }

    pub(crate) async fn put_outcome(&self, json: &str) -> Receipt {
        self.write(put_outcome(json, self.service.now())).await.unwrap()
    }

    pub(crate) async fn put_rate(&self, json: &str) -> Receipt {
        self.write(put_rate(json, self.service.now())).await.unwrap()
    }

    /// A user's mission on a signal, as JSON.
    pub(crate) async fn view(&self, signal: &str, user: &str) -> Result<String, ServiceError> {
        let mut json = Vec::new();
        let write = |view: &MissionView<'_>| view.write_to(&self.service, &mut json);
        self.service.with_mission(&signal_id(signal), &user_id(user), write).await?;
        Ok(String::from_utf8(json).unwrap())
    }

    /// What that mission rests on.
    pub(crate) async fn view_tag(&self, signal: &str, user: &str) -> ViewTag {
        fn tag(view: &MissionView<'_>) -> ViewTag {
            view.tag()
        }
        self.service.with_mission(&signal_id(signal), &user_id(user), tag).await.unwrap()
    }
}

/// A world that answers over HTTP, by threads of its own.
pub(crate) struct ServedWorld {
    pub(crate) world: World,
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl ServedWorld {
    /// Serves a world on a free port of this address.
    pub(crate) fn new(world: World, address: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((address, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let settings = http::Settings { limits: http::Limits::default(), access_log: false, cors_origins: Vec::new() };
        runtime.spawn(http::serve(
            http::Listeners { tcp: listener, socket: None },
            world.service.clone(),
            settings,
            std::future::pending(),
        ));
        Self { world, address: SocketAddr::from(([127, 0, 0, 1], port)), runtime: Some(runtime) }
    }

    /// Runs work of the world to its end.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(work)
    }

    /// Sends a request, with a token unless that is empty, and a JSON body unless that is empty; returns the answer.
    #[track_caller]
    pub(crate) fn send(&self, token: &str, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let fields = [("content-type", "application/json"), ("authorization", &bearer)];
        let mut connection = Connection::to(self.address);
        connection.send(request(method, path, &fields[..2 - usize::from(token.is_empty())], body));
        connection.answer_to(method)
    }
}

impl Drop for ServedWorld {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// The missions of all users on a signal, as lines.
pub(crate) fn batch(service: &Service, signal: &SignalId) -> Result<String, ServiceError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut batch = runtime.block_on(service.batch(signal, None))?;
    let mut lines = Vec::new();
    while !batch.is_done() {
        batch.write_some(usize::MAX, usize::MAX, Separator::Newline, &mut lines);
    }
    Ok(String::from_utf8(lines).unwrap())
}
