//! Mission views from shared signals and per-user overlays, kept in one file.
//!
//! (crate docs follow)

pub mod cache;
pub mod domain;
pub mod render;
pub mod service;
pub mod store;
