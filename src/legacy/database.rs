//! The database as the place where an import's records go and a comparison finds them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::report::PathText;
use super::resolve::{Batch, Checkpoint, Target, own_prefix};
use super::verify::Records;
use crate::domain::{Outcome, Overlay, Rates, Signal, SignalId, UserId};
use crate::store::{Imported, Snapshot, Store};

/// Most ids whose signals are remembered: a day of ten times the usual traffic, and little memory.
const REMEMBERED_MAX: usize = 4_096;

/// A database that this program holds alone.
pub struct Database {
    store: Arc<Store>,
    /// What is stored now; taken anew after each write.
    snapshot: Snapshot,
    /// The tree that is imported.
    tree: String,
    /// Signals of the ids that were asked for last.
    remembered: HashMap<SignalId, Vec<Signal>>,
}

impl Database {
    /// Prepares a database for one tree.
    ///
    /// # Errors
    ///
    /// If the tree can not be found, or the database not be read.
    pub fn new(store: Arc<Store>, tree: &Path) -> Result<Self> {
        let tree = std::fs::canonicalize(tree).with_context(|| format!("cannot find {}", tree.display()))?;
        let tree = match PathText::of(&tree) {
            PathText::Path(text) | PathText::PathHex(text) => text,
        };
        let snapshot = store.snapshot()?;
        Ok(Self { store, snapshot, tree, remembered: HashMap::new() })
    }

    /// How far an earlier import of the same tree came, in words; `None` if there was none or it was done.
    ///
    /// It is for the operator. A rerun reads everything again: what a signal is depends on all files that name its id, and
    /// files may have come or gone since. What is stored already is found by its content and not written again, which is
    /// cheaper than reading, and right also for a tree that is not the same any more.
    ///
    /// # Errors
    ///
    /// If the database can not be read.
    pub fn interrupted_at(&self) -> Result<Option<String>> {
        Ok(self.snapshot.checkpoint(&self.tree)?.filter(|state| *state != words(&Checkpoint::Done)))
    }

    /// The stored rates.
    ///
    /// # Errors
    ///
    /// If they can not be read.
    pub fn rates(&self) -> Result<Rates> {
        Ok(self.snapshot.rates()?)
    }
}

fn words(checkpoint: &Checkpoint) -> String {
    match checkpoint {
        Checkpoint::Signals(id) => format!("signals up to {id}"),
        Checkpoint::Overlays(user) => format!("all signals, overlays up to {user}"),
        Checkpoint::Done => "done".to_owned(),
    }
}

impl Target for Database {
    fn signal(&mut self, id: &SignalId) -> Result<Option<Signal>> {
        Ok(self.snapshot.signal(id)?.map(|stored| stored.signal))
    }

    fn overlay(&mut self, id: &UserId) -> Result<Option<Overlay>> {
        Ok(self.snapshot.overlay(id)?.map(|stored| stored.overlay))
    }

    fn outcome(&mut self, signal: &SignalId, user: &UserId) -> Result<Option<Outcome>> {
        let Some(signal) = self.snapshot.signal(signal)? else { return Ok(None) };
        Ok(self.snapshot.outcome(signal.number, user)?.map(|stored| stored.outcome))
    }

    fn write(&mut self, batch: &Batch, checkpoint: &Checkpoint) -> Result<()> {
        let words = words(checkpoint);
        // An import that finds everything there leaves the file as it is.
        if batch.is_empty() && self.snapshot.checkpoint(&self.tree)?.as_ref() == Some(&words) {
            return Ok(());
        }
        let records = Imported { signals: &batch.signals, overlays: &batch.overlays, outcomes: &batch.outcomes };
        self.store.import(&records, (&self.tree, &words)).context("cannot write to the database")?;
        self.snapshot = self.store.snapshot()?;
        Ok(())
    }
}

impl Records for Database {
    fn signals(&mut self, id: &SignalId) -> Result<Vec<Signal>> {
        if let Some(known) = self.remembered.get(id) {
            return Ok(known.clone());
        }
        let own = self.snapshot.signal(id)?.into_iter();
        let renamed = self.snapshot.signals_under(&own_prefix(id))?;
        let found: Vec<Signal> = own.chain(renamed).map(|stored| stored.signal).collect();
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(id.clone(), found.clone());
        Ok(found)
    }

    fn overlay(&mut self, user: &UserId) -> Result<Option<Overlay>> {
        Ok(self.snapshot.overlay(user)?.map(|stored| stored.overlay))
    }
}
