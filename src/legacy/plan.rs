//! What an import would make of a tree, without a database.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, Write};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::group::{Options, collect};
use super::recognise::Context;
use super::report::Tally;
use super::resolve::{Batch, Checkpoint, Nowhere, Target, resolve};
use super::sorter::nameless_file;
use crate::domain::{Outcome, Overlay, Signal, SignalId, UserId};
use crate::render::{outcome_json, overlay_json, signal_json};

/// What a database with a few records occupies.
const DATABASE_BYTES_MIN: u64 = 65_536;
/// What a record takes in the database, in percent of its JSON text: keys, log and half-full pages.
const RECORD_PERCENT: u64 = 200;

/// What an import would come to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The counts.
    pub tally: Tally,
    /// About how large the database would be.
    pub database_bytes: u64,
}

/// Reads a tree and writes nothing but the report.
///
/// # Errors
///
/// If the tree can not be read, or the report or a temporary file not be written.
pub fn plan(
    root: &Path,
    context: Context<'_>,
    options: &Options,
    report: Option<&mut dyn Write>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Plan> {
    let options = Options { has_report: report.is_some(), ..options.clone() };
    let collected = collect(root, context, &options, progress)?;
    let mut scale = Scale::default();
    let tally = resolve(collected, &mut scale, report)?;
    Ok(Plan { tally, database_bytes: DATABASE_BYTES_MIN.max(scale.bytes * RECORD_PERCENT / 100) })
}

/// Reads a tree and returns the report, from its beginning; the file has no name.
///
/// # Errors
///
/// As [`plan`].
pub fn report_of(
    root: &Path,
    context: Context<'_>,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BufReader<File>> {
    let options = Options { has_report: true, ..options.clone() };
    let collected = collect(root, context, &options, progress)?;
    let mut report = BufWriter::with_capacity(1 << 18, nameless_file(&options.temporary)?);
    resolve(collected, &mut Nowhere, Some(&mut report))?;
    let mut file = report.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.rewind().context("cannot read the report")?;
    Ok(BufReader::new(file))
}

/// A target that has nothing and only weighs what comes.
#[derive(Clone, Copy, Debug, Default)]
struct Scale {
    bytes: u64,
}

impl Target for Scale {
    fn signal(&mut self, _: &SignalId) -> Result<Option<Signal>> {
        Ok(None)
    }

    fn overlay(&mut self, _: &UserId) -> Result<Option<Overlay>> {
        Ok(None)
    }

    fn outcome(&mut self, _: &SignalId, _: &UserId) -> Result<Option<Outcome>> {
        Ok(None)
    }

    fn write(&mut self, batch: &Batch, _: &Checkpoint) -> Result<()> {
        let signals = batch.signals.iter().map(|signal| signal_json(signal).len());
        let overlays = batch.overlays.iter().map(|overlay| overlay_json(overlay).len());
        let outcomes = batch.outcomes.iter().map(|outcome| outcome_json(outcome).len());
        self.bytes += signals.chain(overlays).chain(outcomes).map(|bytes| bytes as u64).sum::<u64>();
        Ok(())
    }
}
