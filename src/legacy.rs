//! Old personalized missions: found, understood, joined, checked and packed away.
//!
//! The old service wrote a file per user and signal. Bringing them in is a pipeline, a module a step:
//!
//! ```text
//! walk → recognise ( json → record → signal, user, outcome ) → group → resolve → database
//! ```
//!
//! Each file ends in exactly one class of the [`report`](ReportFile); nothing is guessed silently and nothing is
//! dropped. [`plan`] does all of it but the last step, [`import`] writes, [`verify`] computes the old missions again
//! and explains each difference, and [`archive`] packs the files away.
//!
//! Memory hardly grows with the number of files: names of a folder and hashes of contents are sorted on disk. Signals
//! and users stay in memory, a file itself takes a class and a number.

mod archive;
mod database;
mod group;
mod json;
mod levels;
mod members;
mod names;
mod outcome;
mod part;
mod plan;
mod progress;
mod reason;
mod recognise;
mod record;
mod report;
mod resolve;
mod scalar;
mod signal;
mod sorter;
mod user;
mod verify;
mod walk;

use anyhow::Result;

pub use archive::{Archived, Check, Extracted, Item, Kind, archive, cat, check, extract, list};
pub use database::Database;
pub use names::Names;
pub use plan::{After, Plan, plan};
pub use reason::{Note, Refusal, sentence};
pub use record::Context;
pub use report::{Class, Line, PathText, ReportFile, Tally, Unreadable};
pub use resolve::Imported;
pub use verify::{Cause, Difference, Verified, verify};
pub use walk::Tree;

/// Puts the signals, overlays and outcomes of a tree into a database.
///
/// Each batch of records is written together with how far the import is. Interrupted and run again it ends as one clean
/// run does.
///
/// # Errors
///
/// If the tree can not be read, or the database, the report or a temporary file not be written.
pub fn import(
    tree: &Tree,
    context: Context<'_>,
    database: &mut Database,
    report: Option<&ReportFile>,
) -> Result<Imported> {
    let groups = group::group(tree, context, report.is_some())?;
    report::with_report(report, |out| resolve::resolve(groups, database, out))
}
