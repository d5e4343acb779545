//! The database as the place where an import's records go and a comparison finds them.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::report::PathText;
use super::resolve::{DONE, Target, other_prefix};
use super::walk::Tree;
use crate::domain::{Outcome, Overlay, Rates, Signal, SignalId, UserId};
use crate::store::{self, Snapshot, Store};

/// A database that this program holds alone, for one tree.
pub struct Database {
    store: Arc<Store>,
    /// The stored records; taken anew after each write.
    snapshot: Snapshot,
    /// The tree's name in the table of checkpoints.
    tree: String,
}

impl Database {
    /// Prepares a database for one tree.
    ///
    /// # Errors
    ///
    /// If the database can not be read.
    pub fn new(store: Arc<Store>, tree: &Tree) -> Result<Self> {
        let snapshot = store.snapshot()?;
        Ok(Self { store, snapshot, tree: PathText::of(tree.root()).as_str().to_owned() })
    }

    /// How far an earlier import of the same tree came, in words; `None` if there was none or it was done.
    ///
    /// It is for the operator. A rerun reads every file again: a signal depends on all files that name its id, and
    /// files may have come or gone since. The import finds stored records by their content and does not write them
    /// again.
    ///
    /// # Errors
    ///
    /// If the database can not be read.
    pub fn interrupted_at(&self) -> Result<Option<String>> {
        Ok(self.snapshot.checkpoint(&self.tree)?.filter(|reached| reached != DONE))
    }

    /// The stored rates.
    pub(super) fn rates(&self) -> Result<Rates> {
        Ok(self.snapshot.rates()?)
    }

    /// All signals that an old id became: its own, and those under `{id}@…`.
    pub(super) fn signals(&self, id: &SignalId) -> Result<Vec<Signal>> {
        let own = self.snapshot.signal(id)?.into_iter();
        let others = self.snapshot.signals_under(&other_prefix(id))?;
        Ok(own.chain(others).map(|stored| stored.signal).collect())
    }
}

impl Target for Database {
    fn signal(&self, id: &SignalId) -> Result<Option<Signal>> {
        Ok(self.snapshot.signal(id)?.map(|stored| stored.signal))
    }

    fn overlay(&self, id: &UserId) -> Result<Option<Overlay>> {
        Ok(self.snapshot.overlay(id)?.map(|stored| stored.overlay))
    }

    fn outcome(&self, signal: &SignalId, user: &UserId) -> Result<Option<Outcome>> {
        let Some(signal) = self.snapshot.signal(signal)? else { return Ok(None) };
        Ok(self.snapshot.outcome(signal.number, user)?.map(|stored| stored.outcome))
    }

    fn write(&mut self, batch: &store::Imported, reached: &str) -> Result<()> {
        // An import whose records are all stored already does not write to the file.
        if batch.count() == 0 && self.snapshot.checkpoint(&self.tree)?.as_deref() == Some(reached) {
            return Ok(());
        }
        self.store.import(batch, (&self.tree, reached)).context("cannot write to the database")?;
        self.snapshot = self.store.snapshot()?;
        Ok(())
    }
}
