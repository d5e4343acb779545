//! Old personalized missions: found, understood, joined, checked and packed away.
//!
//! The old service wrote a file per user and signal. Reading them back is three steps: [`walk`] walks the tree,
//! [`recognise`] says what one file holds, [`group`] and [`resolve`] join what all files hold into records. Each file
//! ends in exactly one class of the [`report`]; nothing is guessed silently and nothing is dropped. [`verify`] computes the
//! old missions again and explains each difference, and [`archive`] packs the files away.
//!
//! Five million files need no more memory than five thousand: what grows with them goes through [`sorter`], which keeps a
//! bound in memory and the rest in sorted runs on disk. Signals and users are merged as they come (30 signals and 5,000
//! users stay in memory whole), a file itself costs one byte, its number and the hash of its content.
//!
//! [`plan`] writes nothing to a database; an import writes through a [`Target`](resolve::Target), which [`database`] has for the
//! real one.

pub mod archive;
pub mod database;
pub mod group;
mod json;
mod levels;
mod names;
pub mod plan;
pub mod progress;
mod reason;
pub mod recognise;
mod rename;
pub mod report;
pub mod resolve;
mod signal;
pub mod sorter;
mod state;
mod user;
pub mod verify;
pub mod walk;

pub use reason::{Note, Refusal};
pub use recognise::{Claims, Context, FILE_BYTES_MAX, Part, Quarantine};
pub use signal::SignalPart;
pub use user::{OutcomePart, OverlayPart};
