//! Puts many records in, read from lines.
//!
//! Records are queued for the writer as they are read, so that many share a commit; results come in the order of the
//! records. A record that is refused does not keep the others out.
//!
//! All imports share a part of the writer's queue, so that others find a place in it however many imports there are,
//! and wait for one commit of imports at most. The share is given back when the writer is done with a record, and not
//! when its import takes the result: an import whose client is slow holds up no other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::lines::Line;
use super::records::LineReader;
use super::{Pending, Service, ServiceError};
use crate::store::{Effect, Operation, Precedence, Receipt};

/// Writes of one import whose results are not taken yet: fills half a group commit.
const PENDING_MAX: usize = 512;
/// What all imports may have in the writer's queue: as many small records as one commit takes, a quarter of the queue.
pub(super) const SHARE: usize = 1_024;
/// How many bytes of a record take 1 of the share: all records of imports in the queue come to a megabyte at most.
const BYTES_PER_SHARE: usize = 1_024;
/// How long to wait when the writer's queue is full.
const BUSY_WAIT: Duration = Duration::from_millis(5);
/// How often to try again then, before a record is refused: ten seconds in all.
const BUSY_TRIES: u32 = 2_000;

/// What a record did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportEffect {
    /// There was no such record.
    Created,
    /// There was one, and it is another now.
    Changed,
    /// The stored record said the same already.
    Unchanged,
    /// The stored record is newer.
    Kept,
}

/// How many records did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportCounts {
    /// Records that were new.
    pub created: u64,
    /// Records that replaced another.
    pub changed: u64,
    /// Records that were stored already.
    pub unchanged: u64,
    /// Records that were older than the stored ones.
    pub kept: u64,
    /// Records that could not be put in.
    pub refused: u64,
}

/// The outcome of one line.
#[derive(Debug)]
pub struct Imported {
    /// Its number.
    pub line: u64,
    /// What its record did, or why it was refused.
    pub result: Result<ImportEffect, ServiceError>,
    /// Members that the stored overlay had and that are gone, as the record replaced it as a whole.
    pub removed: Vec<String>,
}

/// An import on its way.
#[derive(Debug)]
pub struct Import {
    service: Service,
    reader: LineReader,
    queue: VecDeque<(u64, Result<Pending, ServiceError>)>,
    imported: Vec<Imported>,
    counts: ImportCounts,
}

impl Service {
    /// Begins an import: of two records the one with the later time wins.
    #[must_use]
    pub fn import(&self) -> Import {
        self.import_with(Precedence::Newest)
    }

    /// Begins an import of records that leave alone what is there already.
    #[must_use]
    pub fn import_seed(&self) -> Import {
        self.import_with(Precedence::Seed)
    }

    fn import_with(&self, precedence: Precedence) -> Import {
        Import {
            service: self.clone(),
            reader: self.line_reader(precedence),
            queue: VecDeque::new(),
            imported: Vec::new(),
            counts: ImportCounts::default(),
        }
    }
}

impl Import {
    /// Puts in the record of a line: a signal comes before the outcomes on it.
    pub async fn line(&mut self, line: &Line) {
        let read = match &line.text {
            Some(text) => self.reader.line(text, self.service.now()).map_err(ServiceError::from),
            None => Err(ServiceError::LineTooLong),
        };
        match read {
            Ok(Some(operation)) => {
                self.submit(line.number, operation, line.text.as_deref().map_or(0, <[u8]>::len)).await;
            }
            Ok(None) => {}
            Err(error) => self.queue.push_back((line.number, Err(error))),
        }
        self.await_results(PENDING_MAX).await;
    }

    /// Waits until every record so far is in, or refused.
    pub async fn finish(&mut self) {
        self.await_results(0).await;
    }

    /// The outcomes that came since the last call, in the order of the records.
    pub fn take_imported(&mut self) -> Vec<Imported> {
        std::mem::take(&mut self.imported)
    }

    /// How many of the records whose outcome is known did what.
    #[must_use]
    pub fn counts(&self) -> ImportCounts {
        self.counts
    }

    /// - `bytes`: length of the record.
    async fn submit(&mut self, line: u64, operation: Operation, bytes: usize) {
        let share = u32::try_from(1 + bytes / BYTES_PER_SHARE).unwrap_or(u32::MAX);
        for _ in 0..BUSY_TRIES {
            // The semaphore is never closed, and no record is longer than a line.
            let share = Arc::clone(&self.service.shared.import_share).acquire_many_owned(share).await.ok();
            match self.service.submit_with(operation.clone(), share) {
                Err(ServiceError::Busy) => tokio::time::sleep(BUSY_WAIT).await,
                submitted => return self.queue.push_back((line, submitted)),
            }
        }
        self.queue.push_back((line, Err(ServiceError::Busy)));
    }

    /// Waits until at most `most` records have no result yet.
    async fn await_results(&mut self, most: usize) {
        while self.queue.len() > most
            && let Some((line, submitted)) = self.queue.pop_front()
        {
            let done = match submitted {
                Ok(pending) => pending.done().await,
                Err(error) => Err(error),
            };
            let (done, removed) = match done {
                Ok(Receipt { effect, removed, .. }) => (Ok(effect), removed),
                Err(error) => (Err(error), Vec::new()),
            };
            let counts = &mut self.counts;
            let (result, count) = match done {
                Ok(Effect::Created) => (Ok(ImportEffect::Created), &mut counts.created),
                Ok(Effect::Changed | Effect::Deleted) => (Ok(ImportEffect::Changed), &mut counts.changed),
                Ok(Effect::Unchanged) => (Ok(ImportEffect::Unchanged), &mut counts.unchanged),
                Ok(Effect::Kept) => (Ok(ImportEffect::Kept), &mut counts.kept),
                Err(error) => (Err(error), &mut counts.refused),
            };
            *count += 1;
            self.imported.push(Imported { line, result, removed });
        }
    }
}
