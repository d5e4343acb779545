//! The tables of the file: what each key and value is.
//!
//! Values are opaque bytes that `codec` reads and writes. The `-1` in a name is the layout's version: a new key or
//! value type is a new table and a step in `schema`, never a new meaning for an old name.

use redb::{Key, ReadTransaction, TableDefinition, Value};
use sha2::{Digest as _, Sha256};

use super::error::StoreError;
use crate::domain::UserId;

/// Facts about the file itself.
///
/// - key: `schema-version`; value: the layout's version; written when the file is made or upgraded
/// - key: `seq`; value: the number of the last change; written by every commit that changes a record, missing before
///   the first
/// - key: `signals-seq`; value: the number of the last change of a signal, also of a deletion; missing before the first
/// - key: `next-signal-number`; value: the least number for a new signal; written when the newest signal is deleted, so
///   that no signal gets its number
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const SCHEMA_KEY: &str = "schema-version";
pub(super) const SEQ_KEY: &str = "seq";
pub(super) const SIGNALS_SEQ_KEY: &str = "signals-seq";
pub(super) const NEXT_SIGNAL_KEY: &str = "next-signal-number";

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
/// - key: expiry in Unix milliseconds, signal number; value: nothing
pub(super) const SIGNALS_BY_EXPIRY: TableDefinition<'_, (i64, u64), ()> = TableDefinition::new("signals-by-expiry-1");

/// Finds the signals that become active after a moment.
///
/// - key: that moment in Unix milliseconds, a minute before the creation, and signal number; value: nothing
pub(super) const SIGNALS_BY_START: TableDefinition<'_, (i64, u64), ()> = TableDefinition::new("signals-by-start-1");

/// What published each signal, whatever patches came after.
///
/// - key: signal number; value: the [`fingerprint`](crate::domain::SignalDraft::fingerprint) of the body
/// - written when the signal is published
pub(super) const SIGNAL_BODIES: TableDefinition<'_, u64, u64> = TableDefinition::new("signal-bodies-1");

/// Finds the signals that a body published.
///
/// - key: the body's fingerprint, signal number; value: nothing
pub(super) const SIGNALS_BY_BODY: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("signals-by-body-1");

/// One row per user.
///
/// - key: user id; value: `codec` record of an overlay
pub(super) const OVERLAYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("overlays-1");

/// What happened for one user on one signal; most have no row.
///
/// - key: signal number, user id; value: `codec` record of an outcome
pub(super) const OUTCOMES: TableDefinition<'_, (u64, &str), &[u8]> = TableDefinition::new("outcomes-1");

/// Finds the outcomes of a user.
///
/// - key: user id, signal number; value: nothing
pub(super) const OUTCOMES_BY_USER: TableDefinition<'_, (&str, u64), ()> = TableDefinition::new("outcomes-by-user-1");

/// The last change of the outcomes of some users: what lists of outcomes and missions rest on.
///
/// - key: [`outcome_group`] of the users; value: the number of the change, also of a deletion, but for that of a signal
///   with its outcomes
pub(super) const OUTCOME_CHANGES: TableDefinition<'_, u16, u64> = TableDefinition::new("outcome-changes-1");
/// How many groups of users there are: as few pages as that take hold no names of users who are gone.
const OUTCOME_GROUPS: u16 = 1_024;

/// The group of a user in [`OUTCOME_CHANGES`].
pub(super) fn outcome_group(user: &UserId) -> u16 {
    let [first, second, ..] = <[u8; 32]>::from(Sha256::digest(user.as_str()));
    u16::from_be_bytes([first, second]) % OUTCOME_GROUPS
}

/// Prices of currency pairs.
///
/// - key: pair; value: `codec` record of a rate
pub(super) const RATES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rates-1");

/// Access tokens, without their secrets.
///
/// - key: the token's public part; value: `codec` record of a token
pub(super) const TOKENS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tokens-1");

/// The runs of servers that wrote to the file; see `runs`.
///
/// - key: the first change of the run; value: its random number, never 0
/// - the first row has the key 1, and a file without changes has no row
/// - written by the commit of the run's first change
pub(super) const RUNS: TableDefinition<'_, u64, u32> = TableDefinition::new("runs-1");

/// How far imports of old mission files are.
///
/// - key: the folder that is imported; value: how far that is, in the importer's own words
/// - written in the same commit as the records that it covers
/// - left out of backups: an import that is begun again ends with the same records
pub(super) const LEGACY_CHECKPOINT: TableDefinition<'_, &str, &str> = TableDefinition::new("legacy-checkpoint-1");

/// The number of the last change; 0 before the first.
pub(super) fn seq(tx: &ReadTransaction) -> Result<u64, StoreError> {
    Ok(tx.open_table(META)?.get(SEQ_KEY)?.map_or(0, |seq| seq.value()))
}

/// Something to do with every table, whatever its types.
pub(super) trait ForEachTable {
    /// Does it with one table.
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), StoreError>;
}

/// Does something with every table of records, in a fixed order.
pub(super) fn for_each(action: &mut impl ForEachTable) -> Result<(), StoreError> {
    action.table(META)?;
    action.table(SIGNALS)?;
    action.table(SIGNAL_NUMBERS)?;
    action.table(SIGNALS_BY_EXPIRY)?;
    action.table(SIGNALS_BY_START)?;
    action.table(SIGNAL_BODIES)?;
    action.table(SIGNALS_BY_BODY)?;
    action.table(OVERLAYS)?;
    action.table(OUTCOMES)?;
    action.table(OUTCOMES_BY_USER)?;
    action.table(OUTCOME_CHANGES)?;
    action.table(RATES)?;
    action.table(TOKENS)?;
    action.table(RUNS)
}
