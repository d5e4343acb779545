//! The routes for callers in this process: what a command asks where no server has the database open.

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use tokio::runtime::Handle;
use tower::Service as _;

use super::access::Operator;
use super::background::Background;
use super::memory_budget::MemoryBudget;
use super::routes::router;
use crate::service::Service;

/// The routes, without connections and their limits. Its callers may do everything.
#[derive(Clone, Debug)]
pub struct InProcess(Router);

impl InProcess {
    /// Makes the routes of a service, for callers on the runtime that this is called on.
    #[must_use]
    pub fn new(service: Service) -> Self {
        let held = service.metrics().http.answers_held.clone();
        let budget = MemoryBudget::new("--answers-memory", u64::MAX, held);
        Self(router(service, &Background::on(Handle::current(), budget), &[]))
    }

    /// Answers a request.
    pub async fn answer(&self, mut request: Request) -> Response {
        request.extensions_mut().insert(Operator);
        // A router is always ready.
        let answered: Result<Response, Infallible> = self.0.clone().call(request).await;
        answered.unwrap_or_else(|never| match never {})
    }
}
