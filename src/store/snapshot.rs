//! Reading: one committed state of the file, for as long as it is held.

use std::fmt::Display;
use std::ops::Bound;
use std::sync::Arc;

use redb::{Key, ReadTransaction, TableDefinition, TableError, Value};

use super::codec::{self, DecodeError};
use super::opened::Opened;
use super::rows::{Cell, Rows, View};
use super::{StoreError, tables};
use crate::domain::{Outcome, Overlay, Rate, Rates, Signal, SignalId, Token, UnixMillis, UserId};

/// A signal with what the file knows about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSignal {
    /// Its number: ascending in the order of first publication.
    pub number: u64,
    /// The number of the change that wrote it.
    pub seq: u64,
    /// The signal.
    pub signal: Signal,
}

/// An overlay with what the file knows about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOverlay {
    /// The number of the change that wrote it.
    pub seq: u64,
    /// The overlay.
    pub overlay: Overlay,
}

/// An outcome with what the file knows about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredOutcome {
    /// The number of the change that wrote it.
    pub seq: u64,
    /// The outcome.
    pub outcome: Outcome,
}

/// How many records of each kind there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Signals, expired ones too.
    pub signals: u64,
    /// Overlays.
    pub overlays: u64,
    /// Outcomes.
    pub outcomes: u64,
    /// Rates.
    pub rates: u64,
    /// Tokens.
    pub tokens: u64,
}

/// One committed state of the file.
pub struct Snapshot {
    tx: Arc<ReadTransaction>,
    /// What is committed and not in the tables.
    rows: Arc<Rows>,
    /// Ends after the transaction: an engine that is closed answers no reader.
    opened: Arc<Opened>,
}

impl Snapshot {
    pub(super) fn new(tx: Arc<ReadTransaction>, rows: Arc<Rows>, opened: Arc<Opened>) -> Self {
        Self { tx, rows, opened }
    }

    /// The engine's own view, for what there is to know of tables as such.
    pub(super) fn tx(&self) -> &ReadTransaction {
        &self.tx
    }

    /// What is to be laid over it.
    pub(super) fn rows(&self) -> &Rows {
        &self.rows
    }

    /// A table as it was committed.
    pub(super) fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<View<K, V>, TableError> {
        View::open(&self.tx, &self.rows, table)
    }

    /// The version of the layout that the file had when it was opened.
    pub(super) fn schema(&self) -> Option<u64> {
        self.opened.schema
    }

    /// The number of the last change; 0 in a new file.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`].
    pub fn seq(&self) -> Result<u64, StoreError> {
        match self.table(tables::META) {
            Ok(meta) => Ok(meta.get(tables::SEQ_KEY)?.map_or(0, |seq| seq.value())),
            Err(TableError::TableDoesNotExist(_)) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// Finds a signal by its id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`], or [`StoreError::CorruptRow`] for a record that can not be read.
    pub fn signal(&self, id: &SignalId) -> Result<Option<StoredSignal>, StoreError> {
        let numbers = self.table(tables::SIGNAL_NUMBERS)?;
        let Some(number) = numbers.get(id.as_str())?.map(|number| number.value()) else { return Ok(None) };
        let signals = self.table(tables::SIGNALS)?;
        let row = signals.get(number)?;
        signal_called(id, number, row.as_ref().map(Cell::value)).map(Some)
    }

    /// All signals whose id begins with `prefix`, in the order of ids.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`], or [`StoreError::CorruptRow`] for a record that can not be read.
    pub fn signals_under(&self, prefix: &str) -> Result<Vec<StoredSignal>, StoreError> {
        let numbers = self.table(tables::SIGNAL_NUMBERS)?;
        let signals = self.table(tables::SIGNALS)?;
        let mut found = Vec::new();
        for row in numbers.range::<&str>(prefix..)? {
            let (id, number) = row?;
            if !id.value().starts_with(prefix) {
                break;
            }
            let number = number.value();
            let row = signals.get(number)?;
            let id = SignalId::parse(id.value())
                .map_err(|error| corrupt("signal-numbers-1", id.value(), &error.to_string()))?;
            found.push(signal_called(&id, number, row.as_ref().map(Cell::value))?);
        }
        Ok(found)
    }

    /// How far the import called `name` is; `None` if there was none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`].
    pub fn checkpoint(&self, name: &str) -> Result<Option<String>, StoreError> {
        match self.tx.open_table(tables::LEGACY_CHECKPOINT) {
            Ok(table) => Ok(table.get(name)?.map(|state| state.value().to_owned())),
            // Only an import makes the table.
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Finds a user's overlay.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`], or [`StoreError::CorruptRow`] for a record that can not be read.
    pub fn overlay(&self, user: &UserId) -> Result<Option<StoredOverlay>, StoreError> {
        let overlays = self.table(tables::OVERLAYS)?;
        overlays.get(user.as_str())?.map(|bytes| stored_overlay(user.as_str(), bytes.value())).transpose()
    }

    /// Finds what happened for a user on the signal with this number.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`], or [`StoreError::CorruptRow`] for a record that can not be read.
    pub fn outcome(&self, number: u64, user: &UserId) -> Result<Option<StoredOutcome>, StoreError> {
        let outcomes = self.table(tables::OUTCOMES)?;
        let key = (number, user.as_str());
        outcomes.get(key)?.map(|bytes| stored_outcome(key, bytes.value())).transpose()
    }

    /// All outcomes on the signal with this number, in the order of users.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`]; items: also [`StoreError::CorruptRow`].
    pub fn outcomes_on(
        &self,
        number: u64,
    ) -> Result<impl Iterator<Item = Result<StoredOutcome, StoreError>>, StoreError> {
        let outcomes = self.table(tables::OUTCOMES)?;
        let of_signal = (number, "")..(number.saturating_add(1), "");
        Ok(outcomes.range(of_signal)?.map(|row| {
            let (key, bytes) = row?;
            stored_outcome(key.value(), bytes.value())
        }))
    }

    /// All outcomes, in the order of signals.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`]; items: also [`StoreError::CorruptRow`].
    pub fn outcomes(&self) -> Result<impl Iterator<Item = Result<StoredOutcome, StoreError>>, StoreError> {
        let outcomes = self.table(tables::OUTCOMES)?;
        Ok(outcomes.range::<(u64, &str)>(..)?.map(|row| {
            let (key, bytes) = row?;
            stored_outcome(key.value(), bytes.value())
        }))
    }

    /// Signals numbered below `before` (`None`: all), newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`]; items: also [`StoreError::CorruptRow`].
    pub fn signals_newest_first(
        &self,
        before: Option<u64>,
    ) -> Result<impl Iterator<Item = Result<StoredSignal, StoreError>>, StoreError> {
        Ok(self.signals_in((Bound::Unbounded, before.map_or(Bound::Unbounded, Bound::Excluded)))?.rev())
    }

    /// All signals in the order of first publication.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`]; items: also [`StoreError::CorruptRow`].
    pub fn signals(&self) -> Result<impl Iterator<Item = Result<StoredSignal, StoreError>>, StoreError> {
        self.signals_in((Bound::Unbounded, Bound::Unbounded))
    }

    fn signals_in(
        &self,
        range: (Bound<u64>, Bound<u64>),
    ) -> Result<impl DoubleEndedIterator<Item = Result<StoredSignal, StoreError>>, StoreError> {
        let signals = self.table(tables::SIGNALS)?;
        Ok(signals.range::<u64>(range)?.map(|row| {
            let (number, bytes) = row?;
            stored_signal(number.value(), bytes.value())
        }))
    }

    /// Numbers of the signals that are not expired at `now`, soonest to expire first, after the (expiry, number) of `after`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`].
    pub fn signals_active(
        &self,
        now: UnixMillis,
        after: Option<(UnixMillis, u64)>,
    ) -> Result<impl Iterator<Item = Result<StoredSignal, StoreError>>, StoreError> {
        let by_expiry = self.table(tables::SIGNALS_BY_EXPIRY)?;
        let signals = self.table(tables::SIGNALS)?;
        let unexpired = tables::expiry_key(now, u64::MAX);
        let after = after.map(|(expiry, number)| tables::expiry_key(expiry, number));
        let start = after.map_or_else(|| unexpired.clone(), |after| after.max(unexpired.clone()));
        Ok(by_expiry.range::<&str>((Bound::Excluded(start.as_str()), Bound::Unbounded))?.map(move |row| {
            let (key, _) = row?;
            let wrong = |detail| corrupt("signals-by-expiry-2", key.value(), detail);
            let number = tables::number_in(key.value()).ok_or_else(|| wrong("it is no key"))?;
            let bytes = signals.get(number)?.ok_or_else(|| wrong("it names a signal that is not there"))?;
            stored_signal(number, bytes.value())
        }))
    }

    /// Overlays after the user `after` (`None`: all), in the order of users.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`]; items: also [`StoreError::CorruptRow`].
    pub fn overlays(
        &self,
        after: Option<&UserId>,
    ) -> Result<impl Iterator<Item = Result<StoredOverlay, StoreError>> + use<>, StoreError> {
        let overlays = self.table(tables::OVERLAYS)?;
        let start = after.map_or(Bound::Unbounded, |user| Bound::Excluded(user.as_str()));
        let opened = Arc::clone(&self.opened);
        Ok(overlays.range::<&str>((start, Bound::Unbounded))?.map(move |row| {
            // The rows may outlive the snapshot; the engine must not end before them.
            let _ = &opened;
            let (user, bytes) = row?;
            stored_overlay(user.value(), bytes.value())
        }))
    }

    /// All rates.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`] or [`StoreError::CorruptRow`].
    pub fn rates(&self) -> Result<Rates, StoreError> {
        let table = self.table(tables::RATES)?;
        let mut rates = Rates::default();
        for row in table.range::<&str>(..)? {
            let (pair, bytes) = row?;
            let (rate, seq) = stored_rate(pair.value(), bytes.value())?;
            rates.put(rate, seq);
        }
        Ok(rates)
    }

    /// All tokens.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`] or [`StoreError::CorruptRow`].
    pub fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let table = self.table(tables::TOKENS)?;
        let rows = table.range::<&str>(..)?.map(|row| {
            let (id, bytes) = row?;
            stored_token(id.value(), bytes.value())
        });
        rows.collect()
    }

    /// How many records there are.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`].
    pub fn counts(&self) -> Result<Counts, StoreError> {
        Ok(Counts {
            signals: self.table(tables::SIGNALS)?.len()?,
            overlays: self.table(tables::OVERLAYS)?.len()?,
            outcomes: self.table(tables::OUTCOMES)?.len()?,
            rates: self.table(tables::RATES)?.len()?,
            tokens: self.table(tables::TOKENS)?.len()?,
        })
    }
}

/// The signal called `id`, by the row that its number leads to.
pub(super) fn signal_called(id: &SignalId, number: u64, row: Option<&[u8]>) -> Result<StoredSignal, StoreError> {
    let bytes = row.ok_or_else(|| corrupt("signal-numbers-1", id, "it names a signal that is not there"))?;
    let stored = stored_signal(number, bytes)?;
    if stored.signal.id == *id { Ok(stored) } else { Err(corrupt("signals-1", number, "it holds another signal")) }
}

pub(super) fn stored_signal(number: u64, bytes: &[u8]) -> Result<StoredSignal, StoreError> {
    let (signal, seq) = codec::decode_signal(bytes).map_err(damaged("signals-1", number))?;
    Ok(StoredSignal { number, seq, signal })
}

pub(super) fn stored_overlay(user: &str, bytes: &[u8]) -> Result<StoredOverlay, StoreError> {
    let (overlay, seq) = codec::decode_overlay(bytes).map_err(damaged("overlays-1", user))?;
    if overlay.user_id.as_str() != user {
        return Err(corrupt("overlays-1", user, "it holds another user's overlay"));
    }
    Ok(StoredOverlay { seq, overlay })
}

pub(super) fn stored_outcome((number, user): (u64, &str), bytes: &[u8]) -> Result<StoredOutcome, StoreError> {
    let key = format_args!("{number}/{user}");
    let (outcome, seq) = codec::decode_outcome(bytes).map_err(damaged("outcomes-1", key))?;
    if outcome.user_id.as_str() != user {
        return Err(corrupt("outcomes-1", key, "it holds another user's outcome"));
    }
    Ok(StoredOutcome { seq, outcome })
}

pub(super) fn stored_rate(pair: &str, bytes: &[u8]) -> Result<(Rate, u64), StoreError> {
    let (rate, seq) = codec::decode_rate(bytes).map_err(damaged("rates-1", pair))?;
    if rate.pair.as_str() != pair {
        return Err(corrupt("rates-1", pair, "it holds another pair's rate"));
    }
    Ok((rate, seq))
}

fn stored_token(id: &str, bytes: &[u8]) -> Result<Token, StoreError> {
    let (token, _) = codec::decode_token(bytes).map_err(damaged("tokens-1", id))?;
    if token.id != id {
        return Err(corrupt("tokens-1", id, "it holds another token"));
    }
    Ok(token)
}

fn damaged<K: Display>(table: &'static str, key: K) -> impl FnOnce(DecodeError) -> StoreError {
    move |error| corrupt(table, key, &error.to_string())
}

pub(super) fn corrupt(table: &'static str, key: impl Display, detail: &str) -> StoreError {
    StoreError::CorruptRow { table, key: key.to_string(), detail: detail.to_owned() }
}
