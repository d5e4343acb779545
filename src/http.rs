//! The HTTP layer: connections, problem documents and everything that reads a request.
//!
//! A request passes through here in this order: [`run`] accepts the connection and keeps its limits, the guard
//! around the router catches panics and ends what takes too long, the extractors ([`Path`], [`Query`],
//! [`ObjectBody`], [`Lines`]) parse it into domain types, and whatever goes wrong on the
//! way leaves as a [`Problem`].
//!
//! This layer holds no rule of the domain, reads no clock but its timers, and never answers anything but a problem
//! document when it refuses. It speaks HTTP/1 only, and no TLS: that is the business of a proxy in front.

mod access;
mod access_log;
mod answer;
mod body;
mod body_timeout;
mod conditional;
mod extract;
mod health;
mod host;
mod import;
mod layers;
mod local;
mod missions;
mod openapi;
mod pieces;
mod problem;
mod quality;
mod rates;
mod routes;
mod server;
mod signals;
mod users;
mod wire;

pub use body::{BODY_BYTES_MAX, Lines, ObjectBody};
pub use extract::{Parameters, Path, Query};
pub use layers::{with_fallbacks, with_layers};
pub use problem::Problem;
pub use routes::router;
pub use server::{Limits, run};
