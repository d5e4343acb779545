//! Mission views from shared signals and per-user overlays, kept in one file.
//!
//! (crate docs follow)

pub mod domain;
pub mod legacy;
pub mod render;
