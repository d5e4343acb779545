//! What an import would make of a tree, without a database.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek};

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::group::group;
use super::record::Context;
use super::report::{ReportFile, Tally, with_report};
use super::resolve::{Imported, Target, resolve};
use super::sorter::nameless_file;
use super::walk::Tree;
use crate::domain::Savings;
use crate::render::{outcome_json, overlay_json, signal_json};
use crate::store;

/// What an import would come to.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The counts.
    #[serde(flatten)]
    pub tally: Tally,
    /// What the tree would become.
    pub after: After,
    /// What the tree takes, beside what the database would.
    pub saves: Savings,
}

/// What a tree would about become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct After {
    /// Size of the database.
    pub database_bytes: u64,
    /// Size of packs and indexes.
    pub pack_bytes: u64,
    /// Files: the database, and a pack and its index for each day.
    pub inodes: u64,
}

/// Reads a tree and writes nothing but the report.
///
/// # Errors
///
/// If the tree can not be read, or the report or a temporary file not be written.
pub fn plan(tree: &Tree, context: Context<'_>, report: Option<&ReportFile>) -> Result<Plan> {
    /// What a database with a few records occupies.
    const DATABASE_BYTES_MIN: u64 = 65_536;
    /// What a record takes in the database, in percent of its JSON text: keys and half-full pages.
    const RECORD_PERCENT: u64 = 200;
    /// What files take in a pack and its index: a day of missions 11, a tree that holds many files three times 8.
    const PACKED_PERCENT: u64 = 11;
    let groups = group(tree, context, report.is_some())?;
    let pack_bytes = groups.tally.bytes * PACKED_PERCENT / 100;
    let inodes = 1 + 2 * groups.days.len() as u64;
    let mut target = SizingTarget::default();
    let Imported { tally, .. } = with_report(report, |out| resolve(groups, &mut target, out))?;
    let database_bytes = DATABASE_BYTES_MIN.max(target.bytes * RECORD_PERCENT / 100);
    let saves = tally.savings(database_bytes);
    Ok(Plan { tally, after: After { database_bytes, pack_bytes, inodes }, saves })
}

/// Reads a tree and returns its report, from the beginning; the file has no name.
pub(super) fn report_of(tree: &Tree, context: Context<'_>) -> Result<BufReader<File>> {
    let groups = group(tree, context, true)?;
    let mut report = BufWriter::with_capacity(1 << 18, nameless_file()?);
    resolve(groups, &mut SizingTarget::default(), Some(&mut report))?;
    let mut file = report.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.rewind().context("cannot read the report")?;
    Ok(BufReader::new(file))
}

/// A target that holds no records and sums up the sizes of those that are written.
#[derive(Clone, Copy, Debug, Default)]
struct SizingTarget {
    /// JSON text.
    bytes: u64,
}

impl Target for SizingTarget {
    fn write(&mut self, batch: &store::Imported, _: &str) -> Result<()> {
        let signals = batch.signals.iter().map(|signal| signal_json(signal).len());
        let overlays = batch.overlays.iter().map(|overlay| overlay_json(overlay).len());
        let outcomes = batch.outcomes.iter().map(|outcome| outcome_json(outcome).len());
        self.bytes += signals.chain(overlays).chain(outcomes).map(|bytes| bytes as u64).sum::<u64>();
        Ok(())
    }
}
