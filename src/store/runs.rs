//! The runs of servers that wrote to the file: they tell changes of one number apart.
//!
//! A restored file, a served copy and a machine that was rolled back all count on from the same `seq`. So each process
//! that opens the file to write draws a random number, the number of its run, and stores it with its first `seq` in the
//! commit of its first change. A run that wrote nothing leaves no row, and a copy of the file has the runs too.
//!
//! All that comes before a run's first change is fixed when the row is written: two files with the same run have the
//! same changes up to there. So the older of two runs may be merged into the newer, which bounds the table; changes of
//! the older run have another name from the next start on, and no two changes ever have the same.

use std::io;

use redb::{ReadTransaction, ReadableTableMetadata as _, TableError, WriteTransaction};

use super::error::StoreError;
use super::rows::corrupt;
use super::tables::{self, RUNS};
use crate::domain::Cursor;

/// Most runs in the file: the restarts of ten years, once a day. When there are more, the older half becomes one.
const RUNS_MAX: usize = 4_096;

/// The runs that wrote to the file, and the one of this process.
#[derive(Debug)]
pub struct Runs {
    /// The first change of each earlier run and its number, oldest first.
    earlier: Vec<(u64, u32)>,
    /// The first change of this run, made or to come.
    first: u64,
    this: u32,
}

impl Runs {
    /// Reads the runs of a file, and draws the number of the one that begins.
    ///
    /// # Errors
    ///
    /// [`StoreError::CorruptRow`] if the runs are none of this file; [`StoreError::Unreleased`] if it has no table of
    /// runs; [`StoreError::Engine`], also if the system has no random numbers.
    pub(super) fn begin(tx: &ReadTransaction) -> Result<Self, StoreError> {
        let earlier = read(tx)?;
        let mut this = 0;
        while this == 0 {
            this = getrandom::u32().map_err(|error| StoreError::io(io::Error::other(error)))?;
        }
        Ok(Self { earlier, first: tables::seq(tx)?.saturating_add(1), this })
    }

    /// The number of this process's run.
    #[must_use]
    pub fn this(&self) -> u32 {
        self.this
    }

    /// The name of the change with this number, which is made or the next to come; 0 is the state before the first.
    #[must_use]
    pub fn cursor_of(&self, seq: u64) -> Cursor {
        if seq >= self.first {
            return Cursor { run: self.this, seq };
        }
        let after = self.earlier.partition_point(|(first, _)| *first <= seq);
        let run = after.checked_sub(1).and_then(|at| self.earlier.get(at)).map_or(0, |(_, run)| *run);
        Cursor { run, seq }
    }

    /// Stores this run, if it has not written yet.
    ///
    /// - `seq_before`: the last change before those of the transaction.
    pub(super) fn store(&self, tx: &WriteTransaction, seq_before: u64) -> Result<(), StoreError> {
        if seq_before >= self.first {
            return Ok(());
        }
        let mut runs = tx.open_table(RUNS)?;
        if runs.len()? >= RUNS_MAX as u64
            && let Some((first, run)) = self.earlier.get(self.earlier.len() / 2)
        {
            runs.retain(|other, _| other > *first)?;
            runs.insert(1, run)?;
        }
        runs.insert(self.first, self.this)?;
        Ok(())
    }
}

/// Reads the runs of a file, and holds them against its last change.
///
/// # Errors
///
/// As [`Runs::begin`].
pub(super) fn read(tx: &ReadTransaction) -> Result<Vec<(u64, u32)>, StoreError> {
    let table = match tx.open_table(RUNS) {
        Err(TableError::TableDoesNotExist(_)) => return Err(StoreError::Unreleased),
        table => table?,
    };
    let rows = table.range::<u64>(..)?.map(|row| row.map(|(first, run)| (first.value(), run.value())));
    let runs = rows.collect::<Result<Vec<_>, _>>()?;
    let seq = tables::seq(tx)?;
    if runs.first().map_or(0, |(first, _)| *first) != seq.min(1) {
        return Err(corrupt("runs-1", 1, "the first change has no run"));
    }
    match runs.iter().find(|(first, run)| *first > seq || *run == 0) {
        Some((first, _)) => Err(corrupt("runs-1", first, "it is newer than the last change, or has no number")),
        None => Ok(runs),
    }
}
