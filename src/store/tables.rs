//! The tables of the file: what each key and value is.
//!
//! Values are opaque bytes that `codec` reads and writes. The `-1` in a name is the layout's version: a new key or value
//! type is a new table and a step in `schema`, never a new meaning for an old name.

use std::cmp::Ordering;

use redb::{Key, ReadTransaction, TableDefinition, TableError, TableHandle as _, Value};

use super::StoreError;
use crate::domain::{Head, UnixMillis, head_of};

/// Facts about the file itself.
///
/// - key: `schema`; value: the layout's version; written when the file is made or upgraded
/// - key: `seq`; value: the number of the last change; written by every commit, missing before the first
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const SCHEMA_KEY: &str = "schema";
pub(super) const SEQ_KEY: &str = "seq";

/// One row per signal, shared by every user.
///
/// - key: number given at first publication, ascending, so that inserts pack tightly
/// - value: `codec` record of a signal
pub(super) const SIGNALS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("signals-1");

/// Finds a signal by its id.
///
/// - key: signal id; value: the number that keys [`SIGNALS`]
pub(super) const SIGNAL_NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("signal-numbers-1");

/// Finds the signals that expire after a moment.
///
/// - key: [`expiry_key`]; value: nothing
///
/// Of the kind that overlays are: each kind of keys and values is 50 KB of the program.
pub(super) const SIGNALS_BY_EXPIRY: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("signals-by-expiry-2");

/// Where the signal of this number stands in [`SIGNALS_BY_EXPIRY`]: the expiry in Unix milliseconds and the number, as 12 and 16 digits to
/// the base of 16. That is the order of expiries, then of signals, as no moment takes more digits or is negative.
pub(super) fn expiry_key(expiry: UnixMillis, number: u64) -> String {
    format!("{:012x}{number:016x}", expiry.millis())
}

/// The number in an [`expiry_key`]; `None` if it is not one.
pub(super) fn number_in(expiry_key: &str) -> Option<u64> {
    u64::from_str_radix(expiry_key.get(12..)?, 16).ok()
}

/// One row per user.
///
/// - key: user id; value: `codec` record of an overlay
pub(super) const OVERLAYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("overlays-1");

/// What happened for one user on one signal; most have no row.
///
/// - key: signal number, user id; value: `codec` record of an outcome
pub(super) const OUTCOMES: TableDefinition<'_, (u64, &str), &[u8]> = TableDefinition::new("outcomes-1");

/// Prices of currency pairs.
///
/// - key: pair; value: `codec` record of a rate
pub(super) const RATES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rates-1");

/// Access tokens, without their secrets.
///
/// - key: the token's public part; value: `codec` record of a token
pub(super) const TOKENS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tokens-1");

/// How far imports of old mission files are.
///
/// - key: the folder that is imported; value: how far that is, in the importer's own words
/// - written in the same commit as the records that it covers
/// - made by the first import: a file that never saw one lacks the table
/// - left out of backups: an import that is begun again ends with the same records
pub(super) const LEGACY_CHECKPOINT: TableDefinition<'_, &str, &str> = TableDefinition::new("legacy-checkpoint-1");

/// How many tables of records there are; that of checkpoints is none.
pub(super) const COUNT: usize = 8;

/// The number of a table in the `log`: its place in the order of [`for_each`], so that a new table gets the next one.
pub(super) fn number(name: &str) -> usize {
    let names = [
        META.name(),
        SIGNALS.name(),
        SIGNAL_NUMBERS.name(),
        SIGNALS_BY_EXPIRY.name(),
        OVERLAYS.name(),
        OUTCOMES.name(),
        RATES.name(),
        TOKENS.name(),
    ];
    names.iter().position(|known| *known == name).unwrap_or(COUNT)
}

/// How the keys of the table of this number are ordered.
pub(super) fn comparison(table: usize) -> fn(&[u8], &[u8]) -> Ordering {
    match table {
        1 => u64::compare,
        5 => <(u64, &str)>::compare,
        _ => <&str>::compare,
    }
}

/// The beginning of a key of the table of this number, which compares as the key does, but where two are alike so far: most keys are told
/// apart without a look at the bytes themselves.
pub(super) fn head(table: usize, key: &[u8]) -> Head {
    let number = |bytes: [u8; 8]| Head::from(u64::from_le_bytes(bytes));
    match (table, key.split_first_chunk()) {
        (1, first) => first.map_or(0, |(first, _)| number(*first)),
        (5, first) => first.map_or(0, |(first, user)| number(*first) << 64 | head_of(user) >> 64),
        _ => head_of(key),
    }
}

/// Whether these bytes can be a row of the table of this number, or, without a value, one that is taken away. The engine takes any for
/// granted.
pub(super) fn is_row(table: usize, key: &[u8], value: Option<&[u8]>) -> bool {
    const NUMBER: usize = size_of::<u64>();
    let is_key = match table {
        1 => key.len() == NUMBER,
        5 => key.get(NUMBER..).is_some_and(|user| str::from_utf8(user).is_ok()),
        0..COUNT => str::from_utf8(key).is_ok(),
        _ => false,
    };
    let is_value = match (table, value) {
        // Of these alone rows are ever taken away: an expiry that changes, an overlay, a token.
        (3 | 4 | 7, None) => true,
        (_, None) => false,
        (0 | 2, Some(value)) => value.len() == NUMBER,
        _ => true,
    };
    is_key && is_value
}

/// The number of the last change that the tables hold, 0 before the first; by [`META`], or 0 if there is no such table yet.
pub(super) fn seq(tx: &ReadTransaction) -> Result<u64, TableError> {
    match tx.open_table(META) {
        Ok(meta) => Ok(meta.get(SEQ_KEY)?.map_or(0, |seq| seq.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Something to do with every table, whatever its types.
pub(super) trait ForEachTable {
    /// Does it with one table.
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), StoreError>;
}

/// Does something with every table of the layout, in a fixed order.
pub(super) fn for_each(action: &mut impl ForEachTable) -> Result<(), StoreError> {
    action.table(META)?;
    action.table(SIGNALS)?;
    action.table(SIGNAL_NUMBERS)?;
    action.table(SIGNALS_BY_EXPIRY)?;
    action.table(OVERLAYS)?;
    action.table(OUTCOMES)?;
    action.table(RATES)?;
    action.table(TOKENS)
}
