//! The layout's version: making the tables of a new file, and accepting no file of another layout.
//!
//! Schema 1 is the layout of the first release. A later layout adds a number here and a step that brings a file of the
//! one before to it. Builds from before the first release kept their number under another key; their files are refused.

use redb::{Database, ReadableDatabase as _, TableDefinition, TableError};

use super::error::StoreError;
use super::tables::{self, ForEachTable, META, SCHEMA_KEY};

/// The layout that this program reads and writes.
pub const SCHEMA: u64 = 1;
/// Where builds from before the first release kept the number of theirs.
const UNRELEASED_KEY: &str = "schema";

/// Whether a file holds this program's tables; `false` if it holds no tables at all.
///
/// # Errors
///
/// [`StoreError::NewerSchema`], [`StoreError::Unreleased`], or [`StoreError::NotOurs`] for a redb file with other
/// tables.
pub(super) fn check(database: &Database) -> Result<bool, StoreError> {
    let tx = database.begin_read()?;
    if tx.list_tables()?.next().is_none() && tx.list_multimap_tables()?.next().is_none() {
        return Ok(false);
    }
    let meta = match tx.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(StoreError::NotOurs),
    };
    match meta.get(SCHEMA_KEY)?.map(|version| version.value()) {
        Some(SCHEMA) => Ok(true),
        Some(found) if found > SCHEMA => Err(StoreError::NewerSchema { found, supported: SCHEMA }),
        None if meta.get(UNRELEASED_KEY)?.is_some() => Err(StoreError::Unreleased),
        Some(_) | None => Err(StoreError::NotOurs),
    }
}

/// Makes all tables, so that a reader never meets a missing one.
///
/// # Errors
///
/// [`StoreError::Engine`].
pub(super) fn create(database: &Database) -> Result<(), StoreError> {
    struct Create<'a>(&'a redb::WriteTransaction);
    impl ForEachTable for Create<'_> {
        fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
            &mut self,
            table: TableDefinition<'static, K, V>,
        ) -> Result<(), StoreError> {
            self.0.open_table(table)?;
            Ok(())
        }
    }
    let tx = database.begin_write()?;
    tables::for_each(&mut Create(&tx))?;
    tx.open_table(tables::LEGACY_CHECKPOINT)?;
    tx.open_table(META)?.insert(SCHEMA_KEY, SCHEMA)?;
    tx.commit()?;
    Ok(())
}
