//! Mission views from shared signals and per-user overlays, kept in one file.
//!
//! A **signal** is a trade idea that all users share; an **overlay** is one user's own settings and balance. Each is
//! stored once. The **mission view** joins the two with what they come to, above all the size of the position, and is
//! computed when it is read.
//!
//! Dependencies point one way:
//!
//! ```text
//! main → cli → { client → http, legacy, config } → service → { cache, store, render } → domain
//! ```
//!
//! - [`domain`] is the rules of the trade, pure: no I/O, no clock, no lock.
//! - [`render`] writes views as JSON, pure too.
//! - [`store`] is the one file: redb tables, record layouts, the writer thread. Synchronous; nobody else knows of redb.
//! - [`cache`] keeps decoded records in memory, never older than an acknowledged write.
//! - [`service`] joins store and cache; it alone reads the clock and bridges async and blocking code.
//! - [`http`] turns requests into calls of the service, and its errors into problem documents.
//! - [`legacy`] brings the files of the service before this one in, compares, and packs them away.
//! - [`client`] asks for the commands: the server that has the database open, or the routes in its own process.
//! - [`cli`] and [`config`] are what the operator meets.
//!
//! Two promises shape the whole: a size never risks more than the user allows, to the last lot step; and what is
//! acknowledged is on the disk, and no later read shows anything older.

pub mod cache;
pub mod cli;
pub mod client;
pub mod config;
pub mod domain;
pub mod http;
pub mod legacy;
pub mod metrics;
pub mod render;
pub mod service;
pub mod store;
