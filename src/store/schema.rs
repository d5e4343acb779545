//! The layout's version: making a new file, accepting one of this version, refusing any other.

use redb::{Database, ReadableDatabase};

use super::StoreError;
use super::tables;

/// The layout that this program reads and writes.
pub(super) const SCHEMA: u64 = 1;
/// The key of the version in [`tables::META`].
const SCHEMA_KEY: &str = "schema";

/// Whether a file has no tables yet; if not, it is of this program's layout.
///
/// # Errors
///
/// [`StoreError::NewerSchema`] for a file that a newer program wrote, [`StoreError::NotOurs`] for a redb file
/// with other tables.
pub(super) fn is_empty(database: &Database) -> Result<bool, StoreError> {
    let tx = database.begin_read()?;
    let is_empty = tx.list_tables()?.next().is_none() && tx.list_multimap_tables()?.next().is_none();
    let found = match tx.open_table(tables::META) {
        Ok(meta) => meta.get(SCHEMA_KEY)?.map(|version| version.value()),
        Err(_) if is_empty => None,
        Err(redb::TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(StoreError::NotOurs),
    };
    tx.close()?;
    match found {
        Some(SCHEMA) => Ok(false),
        Some(found) if found > SCHEMA => Err(StoreError::NewerSchema { found, supported: SCHEMA }),
        None if is_empty => Ok(true),
        Some(_) | None => Err(StoreError::NotOurs),
    }
}

/// Makes all tables, so that a reader never meets a missing one.
///
/// # Errors
///
/// [`StoreError::Engine`].
pub(super) fn create(database: &Database) -> Result<(), StoreError> {
    let tx = database.begin_write()?;
    tx.open_table(tables::META)?.insert(SCHEMA_KEY, SCHEMA)?;
    tx.open_table(tables::SIGNALS)?;
    tx.open_table(tables::SIGNAL_NUMBERS)?;
    tx.open_table(tables::SIGNALS_BY_EXPIRY)?;
    tx.open_table(tables::OVERLAYS)?;
    tx.open_table(tables::OUTCOMES)?;
    tx.open_table(tables::RATES)?;
    tx.open_table(tables::TOKENS)?;
    tx.open_table(tables::CHANGES)?;
    tx.commit()?;
    Ok(())
}
