//! Reading: one committed state of the file, for as long as it is held.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use redb::{ReadTransaction, ReadableTableMetadata};

use super::codec::Unpacker;
use super::engine::Engine;
use super::error::StoreError;
use super::rows::{self, StoredOutcome, StoredOverlay, StoredSignal};
use super::tables;
use crate::domain::{Rates, SignalId, Token, UnixMillis, UserId};

/// How many records of each kind there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
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
    /// Ends after the transaction: an engine that is closed answers no reader.
    engine: Arc<Engine>,
}

impl Snapshot {
    /// Takes one of what is committed now.
    pub(super) fn of(engine: Arc<Engine>) -> Result<Self, StoreError> {
        Ok(Self { tx: engine.begin_read()?, engine })
    }

    pub(super) fn tx(&self) -> &ReadTransaction {
        &self.tx
    }

    /// The number of the last change; 0 in a new file.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`].
    pub fn seq(&self) -> Result<u64, StoreError> {
        tables::seq(&self.tx)
    }

    /// The number of the last change of a signal, also of a deletion; 0 before the first.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`].
    pub fn signals_seq(&self) -> Result<u64, StoreError> {
        Ok(self.tx.open_table(tables::META)?.get(tables::SIGNALS_SEQ_KEY)?.map_or(0, |seq| seq.value()))
    }

    /// A number that is no less than that of the last change of a user's outcomes, and rises with each, also with a
    /// deletion, but for that of a signal with its outcomes.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`].
    pub fn outcomes_seq(&self, user: &UserId) -> Result<u64, StoreError> {
        let changes = self.tx.open_table(tables::OUTCOME_CHANGES)?;
        Ok(changes.get(tables::outcome_group(user))?.map_or(0, |seq| seq.value()))
    }

    /// The first moment after `now` at which a signal becomes active or expires: until then time alone changes no
    /// signal's status. `None` if there is no such moment.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`].
    pub fn next_moment(&self, now: UnixMillis) -> Result<Option<UnixMillis>, StoreError> {
        let mut next = None;
        for index in [tables::SIGNALS_BY_EXPIRY, tables::SIGNALS_BY_START] {
            let after = (Bound::Excluded((now.millis(), u64::MAX)), Bound::Unbounded);
            let first = self.tx.open_table(index)?.range::<(i64, u64)>(after)?.next().transpose()?;
            let moment = first.map(|(key, _)| key.value().0);
            next = next.into_iter().chain(moment).min();
        }
        Ok(next.map(UnixMillis::new))
    }

    /// Finds a signal by its id.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`], or [`StoreError::CorruptRow`] for a record that can not be read.
    pub fn signal(&self, id: &SignalId) -> Result<Option<StoredSignal>, StoreError> {
        let numbers = self.tx.open_table(tables::SIGNAL_NUMBERS)?;
        let Some(number) = numbers.get(id.as_str())?.map(|number| number.value()) else { return Ok(None) };
        let signals = self.tx.open_table(tables::SIGNALS)?;
        let row = signals.get(number)?;
        rows::signal_called(id, number, row.as_ref().map(redb::AccessGuard::value)).map(Some)
    }

    /// All signals whose id begins with `prefix`, in the order of ids.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`], or [`StoreError::CorruptRow`] for a record that can not be read.
    pub fn signals_under(&self, prefix: &str) -> Result<Vec<StoredSignal>, StoreError> {
        let numbers = self.tx.open_table(tables::SIGNAL_NUMBERS)?;
        let signals = self.tx.open_table(tables::SIGNALS)?;
        let mut found = Vec::new();
        for row in numbers.range::<&str>(prefix..)? {
            let (id, number) = row?;
            if !id.value().starts_with(prefix) {
                break;
            }
            let number = number.value();
            let row = signals.get(number)?;
            let id = SignalId::parse(id.value())
                .map_err(|error| rows::corrupt("signal-numbers-1", id.value(), &error.to_string()))?;
            found.push(rows::signal_called(&id, number, row.as_ref().map(redb::AccessGuard::value))?);
        }
        Ok(found)
    }

    /// How far the import called `name` is; `None` if there was none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`].
    pub fn checkpoint(&self, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.tx.open_table(tables::LEGACY_CHECKPOINT)?.get(name)?.map(|state| state.value().to_owned()))
    }

    /// Finds a user's overlay.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`], or [`StoreError::CorruptRow`] for a record that can not be read.
    pub fn overlay(&self, user: &UserId) -> Result<Option<StoredOverlay>, StoreError> {
        let overlays = self.tx.open_table(tables::OVERLAYS)?;
        overlays.get(user.as_str())?.map(|bytes| rows::stored_overlay(user.as_str(), bytes.value())).transpose()
    }

    /// Finds what happened for a user on the signal with this number.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`], or [`StoreError::CorruptRow`] for a record that can not be read.
    pub fn outcome(&self, number: u64, user: &UserId) -> Result<Option<StoredOutcome>, StoreError> {
        let outcomes = self.tx.open_table(tables::OUTCOMES)?;
        let key = (number, user.as_str());
        outcomes.get(key)?.map(|bytes| rows::stored_outcome(key, bytes.value())).transpose()
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
        let outcomes = self.tx.open_table(tables::OUTCOMES)?;
        let of_signal = (number, "")..(number.saturating_add(1), "");
        Ok(outcomes.range(of_signal)?.map(|row| {
            let (key, bytes) = row?;
            rows::stored_outcome(key.value(), bytes.value())
        }))
    }

    /// The outcomes of a user on signals numbered below `before` (`None`: all), newest signal first, each with the
    /// number of its signal.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`]; items: also [`StoreError::CorruptRow`].
    pub fn outcomes_of(
        &self,
        user: &UserId,
        before: Option<u64>,
    ) -> Result<impl Iterator<Item = Result<(u64, StoredOutcome), StoreError>>, StoreError> {
        let by_user = self.tx.open_table(tables::OUTCOMES_BY_USER)?;
        let outcomes = self.tx.open_table(tables::OUTCOMES)?;
        let name = user.as_str();
        let end = before.map_or(Bound::Included((name, u64::MAX)), |before| Bound::Excluded((name, before)));
        Ok(by_user.range::<(&str, u64)>((Bound::Included((name, 0)), end))?.rev().map(move |row| {
            let (key, _) = row?;
            let (user, number) = key.value();
            let bytes = outcomes.get((number, user))?.ok_or_else(|| rows::unindexed(number, user))?;
            Ok((number, rows::stored_outcome((number, user), bytes.value())?))
        }))
    }

    /// All outcomes, in the order of signals.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`]; items: also [`StoreError::CorruptRow`].
    pub fn outcomes(&self) -> Result<impl Iterator<Item = Result<StoredOutcome, StoreError>>, StoreError> {
        let outcomes = self.tx.open_table(tables::OUTCOMES)?;
        Ok(outcomes.range::<(u64, &str)>(..)?.map(|row| {
            let (key, bytes) = row?;
            rows::stored_outcome(key.value(), bytes.value())
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
        let signals = self.tx.open_table(tables::SIGNALS)?;
        let mut unpacker = Unpacker::default();
        Ok(signals.range::<u64>(range)?.map(move |row| {
            let (number, bytes) = row?;
            rows::stored_signal(number.value(), bytes.value(), &mut unpacker)
        }))
    }

    /// Numbers of the signals that are not expired at `now`, soonest to expire first, after the (expiry, number) of
    /// `after`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`].
    pub fn signals_active(
        &self,
        now: UnixMillis,
        after: Option<(UnixMillis, u64)>,
    ) -> Result<impl Iterator<Item = Result<StoredSignal, StoreError>>, StoreError> {
        let unexpired = (now.millis(), u64::MAX);
        let start = after.map_or(unexpired, |(expiry, number)| unexpired.max((expiry.millis(), number)));
        self.signals_by_expiry((Bound::Excluded(start), Bound::Unbounded))
    }

    /// Signals that expired before `before`, the first to expire first.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`]; items: also [`StoreError::CorruptRow`].
    pub fn signals_expired(
        &self,
        before: UnixMillis,
    ) -> Result<impl Iterator<Item = Result<StoredSignal, StoreError>>, StoreError> {
        self.signals_by_expiry(..(before.millis(), 0))
    }

    fn signals_by_expiry(
        &self,
        range: impl RangeBounds<(i64, u64)>,
    ) -> Result<impl Iterator<Item = Result<StoredSignal, StoreError>>, StoreError> {
        let by_expiry = self.tx.open_table(tables::SIGNALS_BY_EXPIRY)?;
        let signals = self.tx.open_table(tables::SIGNALS)?;
        let mut unpacker = Unpacker::default();
        Ok(by_expiry.range::<(i64, u64)>(range)?.map(move |row| {
            let (_, number) = row?.0.value();
            let missing = || rows::corrupt("signals-by-expiry-1", number, "it names a signal that is not there");
            let bytes = signals.get(number)?.ok_or_else(missing)?;
            rows::stored_signal(number, bytes.value(), &mut unpacker)
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
        let overlays = self.tx.open_table(tables::OVERLAYS)?;
        let start = after.map_or(Bound::Unbounded, |user| Bound::Excluded(user.as_str()));
        let engine = Arc::clone(&self.engine);
        Ok(overlays.range::<&str>((start, Bound::Unbounded))?.map(move |row| {
            // The rows may outlive the snapshot; the engine must not end before them.
            let _ = &engine;
            let (user, bytes) = row?;
            rows::stored_overlay(user.value(), bytes.value())
        }))
    }

    /// All rates.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`] or [`StoreError::CorruptRow`].
    pub fn rates(&self) -> Result<Rates, StoreError> {
        let table = self.tx.open_table(tables::RATES)?;
        let mut rates = Rates::default();
        for row in table.range::<&str>(..)? {
            let (pair, bytes) = row?;
            let (rate, seq) = rows::stored_rate(pair.value(), bytes.value())?;
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
        let table = self.tx.open_table(tables::TOKENS)?;
        let rows = table.range::<&str>(..)?.map(|row| {
            let (id, bytes) = row?;
            rows::stored_token(id.value(), bytes.value())
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
            signals: self.tx.open_table(tables::SIGNALS)?.len()?,
            overlays: self.tx.open_table(tables::OVERLAYS)?.len()?,
            outcomes: self.tx.open_table(tables::OUTCOMES)?.len()?,
            rates: self.tx.open_table(tables::RATES)?.len()?,
            tokens: self.tx.open_table(tables::TOKENS)?.len()?,
        })
    }
}
