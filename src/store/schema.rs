//! The layout's version: making a new file, accepting one of this version or an older one, refusing any other.
//!
//! - Schema 1: all records in version 1.
//! - Schema 2: signals may be in version 2, packed (see `codec`). The tables are the same and old records stay as they are. The
//!   number was raised so that an older program refuses the file as newer, and does not take new signals for damaged ones.
//! - Schema 3: the number of the last change is a row of `meta`. Before, it was the last key of `changes-1`, a log of what each
//!   commit changed that nobody read any more; it is gone.
//! - Schema 4: small commits may be in a log alone, which was in the file's first page. The number was raised so that an older program,
//!   which would not see them, refuses the file. The signals by expiry are in a new table.
//! - Schema 5: the `log` is in a page of its own. The number was raised for the same reason.

mod first_page_log;

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable as _, TableDefinition, WriteTransaction};

use super::StoreError;
use super::layer::Layer;
use super::rows::Stretch;
use super::snapshot::stored_signal;
use super::tables::{self, SCHEMA_KEY, SEQ_KEY};

/// The layout that this program writes.
pub(super) const SCHEMA: u64 = 5;
/// From this one on each file has a mark.
pub(super) const FIRST_WITH_MARKS: u64 = 4;
/// The one with the log in the first page.
const LOG_IN_FIRST_PAGE: u64 = 4;
/// The oldest layout that it reads.
const OLDEST: u64 = 1;
/// What each commit changed, by the number of its last change; up to schema 2.
const CHANGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("changes-1");
/// The signals by expiry, up to schema 3; for its name alone, as its kind was another.
const BY_EXPIRY: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("signals-by-expiry-1");

/// The version of a file's layout; `None` if it has no tables yet.
///
/// # Errors
///
/// [`StoreError::NewerSchema`] for a file that a newer program wrote, [`StoreError::NotOurs`] for a redb file
/// with other tables.
pub(super) fn version(database: &Database) -> Result<Option<u64>, StoreError> {
    let tx = database.begin_read()?;
    let is_empty = tx.list_tables()?.next().is_none() && tx.list_multimap_tables()?.next().is_none();
    let found = match of(&tx) {
        Ok(found) => found,
        Err(_) if is_empty => None,
        Err(redb::TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(StoreError::NotOurs),
    };
    tx.close()?;
    match found {
        Some(found) if found > SCHEMA => Err(StoreError::NewerSchema { found, supported: SCHEMA }),
        Some(OLDEST..) => Ok(found),
        None if is_empty => Ok(None),
        Some(_) | None => Err(StoreError::NotOurs),
    }
}

/// The number that a file with tables says.
pub(super) fn of(tx: &ReadTransaction) -> Result<Option<u64>, redb::TableError> {
    Ok(tx.open_table(tables::META)?.get(SCHEMA_KEY)?.map(|version| version.value()))
}

/// Brings a file of an older layout to this one.
///
/// # Errors
///
/// [`StoreError::Engine`], [`StoreError::CorruptRow`] for a signal that can not be read, or [`StoreError::Damaged`] for a log that can not
/// be; the file is as it was then.
pub(super) fn upgrade(database: &Database, from: u64, layer: &Layer) -> Result<(), StoreError> {
    let logged = if from == LOG_IN_FIRST_PAGE { first_page_log::read(database, layer)? } else { Stretch::default() };
    let tx = database.begin_write()?;
    logged.write(&tx, &|| ())?;
    if from < LOG_IN_FIRST_PAGE {
        leave_changes_behind(&tx)?;
    }
    tx.open_table(tables::META)?.insert(SCHEMA_KEY, SCHEMA)?;
    tx.commit()?;
    Ok(())
}

/// What schemas 3 and 4 changed.
fn leave_changes_behind(tx: &WriteTransaction) -> Result<(), StoreError> {
    let last = tx.open_table(CHANGES)?.last()?.map(|(seq, _)| seq.value());
    tx.delete_table(CHANGES)?;
    tx.delete_table(BY_EXPIRY)?;
    let mut by_expiry = tx.open_table(tables::SIGNALS_BY_EXPIRY)?;
    for row in tx.open_table(tables::SIGNALS)?.iter()? {
        let (number, bytes) = row?;
        let stored = stored_signal(number.value(), bytes.value())?;
        by_expiry.insert(tables::expiry_key(stored.signal.expires_at, stored.number).as_str(), &[][..])?;
    }
    if let Some(last) = last {
        tx.open_table(tables::META)?.insert(SEQ_KEY, last)?;
    }
    Ok(())
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
    tx.commit()?;
    Ok(())
}
