//! Looking at a file and saying whether it is whole, without changing it.
//!
//! Every page is read and its checksum compared, every record decoded, every index held against what it indexes, in
//! both directions. The file may be anything at all: the engine's writes to it stay in memory, within a bound, and a
//! panic of the engine is an answer like any other. What passes is described by its counts and a hash over all content,
//! which is the same for two files that say the same, however their pages lie.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use redb::{
    Key, ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle, Value, WriteTransaction,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::disk::{Disk as _, FileDisk};
use super::engine::Engine;
use super::error::StoreError;
use super::file::{Access, lock_database};
use super::rows::{corrupt, stored_outcome, stored_rate};
use super::snapshot::{Counts, Snapshot};
use super::{runs, schema, tables};

/// What a whole file holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Contents {
    /// The version of the layout.
    pub schema: u64,
    /// The number of the last change.
    pub seq: u64,
    /// Records.
    #[serde(flatten)]
    pub counts: Counts,
    /// SHA-256 of all tables in a fixed order, in hexadecimal.
    pub sha256: String,
    /// Length of the file in bytes.
    pub file_bytes: u64,
}

/// Reads all of a file and says what it holds. The file is never changed, and may be anything.
///
/// # Errors
///
/// [`StoreError::Absent`]; [`StoreError::InUse`] if a process may be writing to it; otherwise what is wrong with it,
/// and [`StoreError::is_damage`] tells damage from not being able to read.
pub fn verify(path: &Path) -> Result<Contents, StoreError> {
    Ok(open_verified(lock_database(path, Access::Read)?)?.1)
}

/// Reads all of a file that this process has open and nobody else writes to, and says what it holds.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_open(file: &File) -> Result<Contents, StoreError> {
    Ok(open_verified(FileDisk(file.try_clone().map_err(StoreError::io)?))?.1)
}

/// Reads all of a file, and returns its state with what it holds. The file is never changed, and may be anything.
///
/// # Errors
///
/// As [`verify`].
pub(super) fn open_verified(disk: FileDisk) -> Result<(Snapshot, Contents), StoreError> {
    let verified = catch_unwind(AssertUnwindSafe(|| {
        let file_bytes = disk.length().map_err(StoreError::io)?;
        let snapshot = Snapshot::of(Arc::new(Engine::open_to_read(Arc::new(disk))?))?;
        let contents = contents(&snapshot, file_bytes)?;
        Ok((snapshot, contents))
    }));
    match verified {
        Ok(Err(StoreError::Engine(error))) if matches!(&*error, redb::Error::Io(io) if io.kind() == io::ErrorKind::OutOfMemory) => {
            Err(StoreError::Damaged("its structure asks for more memory than a whole file could".to_owned()))
        }
        Ok(verified) => verified,
        Err(_) => Err(StoreError::Damaged("the engine panicked".to_owned())),
    }
}

/// Reads everything that a snapshot shows, and holds it against itself.
///
/// # Errors
///
/// What is wrong with it.
pub fn contents(snapshot: &Snapshot, file_bytes: u64) -> Result<Contents, StoreError> {
    let seq = snapshot.seq()?;
    check_tables(snapshot.tx())?;
    check_signals(snapshot, seq)?;
    check_outcomes(snapshot, seq)?;
    for row in snapshot.overlays(None)? {
        let row = row?;
        check_seq("overlays-1", row.overlay.user_id.as_str(), row.seq, seq)?;
    }
    for row in snapshot.tx().open_table(tables::RATES)?.range::<&str>(..)? {
        let (pair, bytes) = row?;
        let (_, rate_seq) = stored_rate(pair.value(), bytes.value())?;
        check_seq("rates-1", pair.value(), rate_seq, seq)?;
    }
    snapshot.tokens()?;
    runs::read(snapshot.tx())?;
    let sha256 = digest_rows(snapshot, None)?;
    Ok(Contents { schema: schema::SCHEMA, seq, counts: snapshot.counts()?, sha256, file_bytes })
}

/// A file has this program's tables and no others.
fn check_tables(tx: &ReadTransaction) -> Result<(), StoreError> {
    let mut found: Vec<String> = tx.list_tables()?.map(|table| table.name().to_owned()).collect();
    let mut known = TableNames::default();
    tables::for_each(&mut known)?;
    // It holds no records.
    found.retain(|name| name != tables::LEGACY_CHECKPOINT.name());
    found.sort_unstable();
    known.0.sort_unstable();
    if found != known.0 || tx.list_multimap_tables()?.next().is_some() {
        return Err(StoreError::Damaged(format!("its tables are {}", found.join(", "))));
    }
    Ok(())
}

/// Each signal is found by its id, its expiry, its start and the body that published it, and nothing else is.
fn check_signals(snapshot: &Snapshot, seq: u64) -> Result<(), StoreError> {
    let numbers = snapshot.tx().open_table(tables::SIGNAL_NUMBERS)?;
    let by_expiry = snapshot.tx().open_table(tables::SIGNALS_BY_EXPIRY)?;
    let by_start = snapshot.tx().open_table(tables::SIGNALS_BY_START)?;
    let bodies = snapshot.tx().open_table(tables::SIGNAL_BODIES)?;
    let by_body = snapshot.tx().open_table(tables::SIGNALS_BY_BODY)?;
    let newest = snapshot.signals_seq()?;
    check_seq("meta", tables::SIGNALS_SEQ_KEY, newest, seq)?;
    let mut count = 0;
    for row in snapshot.signals()? {
        let row = row?;
        count += 1;
        check_seq("signals-1", row.number, row.seq, newest)?;
        let id = &row.signal.id;
        if numbers.get(id.as_str())?.map(|number| number.value()) != Some(row.number) {
            return Err(corrupt("signal-numbers-1", id, "it does not lead to its signal"));
        }
        if by_expiry.get((row.signal.expires_at.millis(), row.number))?.is_none() {
            return Err(corrupt("signals-by-expiry-1", row.number, "the signal is not under its expiry"));
        }
        if by_start.get((row.signal.active_from().millis(), row.number))?.is_none() {
            return Err(corrupt("signals-by-start-1", row.number, "the signal is not under its start"));
        }
        let Some(body) = bodies.get(row.number)?.map(|body| body.value()) else {
            return Err(corrupt("signal-bodies-1", row.number, "it does not say what published the signal"));
        };
        if by_body.get((body, row.number))?.is_none() {
            return Err(corrupt("signals-by-body-1", row.number, "the signal is not under what published it"));
        }
    }
    // Each signal has its own entry in all five, so equal counts leave none that leads nowhere.
    if [numbers.len()?, by_expiry.len()?, by_start.len()?, bodies.len()?, by_body.len()?] != [count; 5] {
        return Err(corrupt("signals-1", count, "the indexes have entries for signals that are not there"));
    }
    Ok(())
}

/// Each outcome is on a signal that is there, and is the one that its record names; each is found by its user.
fn check_outcomes(snapshot: &Snapshot, seq: u64) -> Result<(), StoreError> {
    let outcomes = snapshot.tx().open_table(tables::OUTCOMES)?;
    let numbers = snapshot.tx().open_table(tables::SIGNAL_NUMBERS)?;
    let by_user = snapshot.tx().open_table(tables::OUTCOMES_BY_USER)?;
    let mut newest = BTreeMap::new();
    for row in snapshot.tx().open_table(tables::OUTCOME_CHANGES)?.range::<u16>(..)? {
        let (group, change) = row?;
        check_seq("outcome-changes-1", group.value(), change.value(), seq)?;
        newest.insert(group.value(), change.value());
    }
    for row in outcomes.range::<(u64, &str)>(..)? {
        let (key, bytes) = row?;
        let (number, user) = key.value();
        let stored = stored_outcome((number, user), bytes.value())?;
        let place = || format!("{number}/{user}");
        let newest = newest.get(&tables::outcome_group(&stored.outcome.user_id));
        check_seq("outcomes-1", place(), stored.seq, newest.copied().unwrap_or(0))?;
        let named = numbers.get(stored.outcome.signal_id.as_str())?.map(|number| number.value());
        if named != Some(number) {
            return Err(corrupt("outcomes-1", place(), "it is on another signal than it says, or on none"));
        }
        if by_user.get((user, number))?.is_none() {
            return Err(corrupt("outcomes-by-user-1", place(), "the outcome is not under its user"));
        }
    }
    // Each outcome has its own entry, so equal counts leave none that leads nowhere.
    if by_user.len()? != outcomes.len()? {
        return Err(corrupt("outcomes-1", by_user.len()?, "the index has entries for outcomes that are not there"));
    }
    Ok(())
}

fn check_seq(table: &'static str, key: impl std::fmt::Display, seq: u64, last: u64) -> Result<(), StoreError> {
    if seq <= last { Ok(()) } else { Err(corrupt(table, key, "it is newer than the last change")) }
}

/// Returns a hash of all rows, in hexadecimal; copies them to `to`, if there is one.
pub(super) fn digest_rows(snapshot: &Snapshot, to: Option<&WriteTransaction>) -> Result<String, StoreError> {
    let mut rows = Rows { from: snapshot.tx(), to, digest: ContentDigest::default() };
    tables::for_each(&mut rows)?;
    Ok(rows.digest.finish())
}

/// A hash over rows, each with the lengths of its key and value, so that no two contents run together.
#[derive(Default)]
struct ContentDigest(Sha256);

impl ContentDigest {
    fn table(&mut self, name: &str) {
        self.row(name.as_bytes(), b"table");
    }

    fn row(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    fn finish(self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0.finalize() {
            // Writing into a string can not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

#[derive(Default)]
struct TableNames(Vec<String>);

impl tables::ForEachTable for TableNames {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), StoreError> {
        self.0.push(table.name().to_owned());
        Ok(())
    }
}

struct Rows<'a> {
    from: &'a ReadTransaction,
    to: Option<&'a WriteTransaction>,
    digest: ContentDigest,
}

impl tables::ForEachTable for Rows<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), StoreError> {
        self.digest.table(table.name());
        let mut to = self.to.map(|tx| tx.open_table(table)).transpose()?;
        for row in self.from.open_table(table)?.iter()? {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            self.digest.row(K::as_bytes(&key).as_ref(), V::as_bytes(&value).as_ref());
            if let Some(to) = &mut to {
                to.insert(&key, &value)?;
            }
        }
        Ok(())
    }
}
