//! The HTTP layer: connections, problem documents and everything that reads a request.
//!
//! A request passes through here in this order: `server` accepts the connection, on its address or on the socket file
//! of `unix_socket`, and keeps its limits; `request_log` gives the request an id and writes its line; around the
//! router, panics are caught, what takes too long is ended, and pages of other origins are told what they may (`cors`);
//! the router finds the handler; an extractor of `access` decides whether the caller may have it; more extractors, of
//! `extract` and `body`, parse it into domain types; the handler asks the service. Handlers of lists run on threads of
//! their own, of `background`. Whatever goes wrong on the way leaves as a `problem::Problem`.
//!
//! This layer holds no rule of the domain, reads no clock but its timers, and never answers anything but a problem
//! document when it refuses. It speaks HTTP/1 only, and no TLS: that is the business of a proxy in front.

mod access;
mod answer;
mod background;
mod body;
mod body_timeout;
mod changes;
mod conditional;
#[cfg(test)]
mod connection_tests;
mod cors;
mod docs;
mod embedded;
mod entity_tag;
mod export;
mod extract;
mod head;
mod health;
mod import;
mod in_process;
mod instruments;
mod list;
mod local;
mod memory_budget;
mod metrics;
mod missions;
mod openapi;
mod page;
mod problem;
mod prune;
mod qvalue;
mod rates;
mod request_log;
mod routes;
mod server;
mod signals;
mod socket;
mod stats;
mod summary;
mod tokens;
mod unix_socket;
mod users;

pub use cors::Origin;
pub use in_process::InProcess;
pub use local::is_loopback;
pub use server::{Limits, Listeners, Settings, serve};
pub use unix_socket::{UnixSocket, connect};
