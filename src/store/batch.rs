//! One batch of operations in one write transaction: each is checked against the state that it meets, then put into the
//! tables.

mod publish;

use std::sync::Arc;

use redb::{Key, ReadableTable, Table, TableDefinition, Value, WriteTransaction};

use super::codec::{self, TooLarge};
use super::error::StoreError;
use super::operation::{Change, Effect, Operation, Precedence, Receipt, Refusal};
use super::rows::{
    StoredOutcome, StoredOverlay, StoredSignal, corrupt, signal_called, stored_outcome, stored_overlay, stored_rate,
    stored_token, unindexed,
};
use super::runs::Runs;
use super::tables;
use crate::domain::{
    Condition, Invalid, InvalidKind, MaxAges, Object, Outcome, Overlay, OverlayDraft, Rate, RateDraft, Scope, Signal,
    SignalDraft, SignalId, Token, UnixMillis, UserId, latest_confirmation,
};

/// Most operations of one commit: keeps the wait of the first in a batch short.
pub(super) const BATCH_MAX: usize = 1_024;

/// Why one operation did not go in: refused alone, or everything failed.
pub(super) enum Failure {
    Refused(Refusal),
    Store(StoreError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Refused(invalid.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<redb::StorageError> for Failure {
    fn from(error: redb::StorageError) -> Self {
        Self::Store(error.into())
    }
}

impl From<TooLarge> for Failure {
    fn from(error: TooLarge) -> Self {
        Self::Refused(Invalid::document(InvalidKind::TooLarge, error.to_string()).into())
    }
}

pub(super) type Applied = Result<Receipt, Failure>;

/// A table that is opened by the first who needs it: most batches are balances, which need one of many.
struct OnDemand<'tx, K: Key + 'static, V: Value + 'static> {
    tx: &'tx WriteTransaction,
    definition: TableDefinition<'static, K, V>,
    opened: Option<Table<'tx, K, V>>,
}

impl<'tx, K: Key + 'static, V: Value + 'static> OnDemand<'tx, K, V> {
    fn of(tx: &'tx WriteTransaction, definition: TableDefinition<'static, K, V>) -> Self {
        Self { tx, definition, opened: None }
    }

    fn table(&mut self) -> Result<&mut Table<'tx, K, V>, StoreError> {
        match &mut self.opened {
            Some(table) => Ok(table),
            closed => Ok(closed.insert(self.tx.open_table(self.definition)?)),
        }
    }
}

/// The tables of one write transaction.
pub(super) struct Batch<'tx> {
    tx: &'tx WriteTransaction,
    runs: &'tx Runs,
    /// The number of the last change before this batch.
    seq_before: u64,
    changes: Vec<Change>,
    /// Decide when a confirmation is stored.
    max_ages: MaxAges,
    signals: OnDemand<'tx, u64, &'static [u8]>,
    signal_numbers: OnDemand<'tx, &'static str, u64>,
    signals_by_expiry: OnDemand<'tx, (i64, u64), ()>,
    overlays: OnDemand<'tx, &'static str, &'static [u8]>,
    signals_by_start: OnDemand<'tx, (i64, u64), ()>,
    signal_bodies: OnDemand<'tx, u64, u64>,
    signals_by_body: OnDemand<'tx, (u64, u64), ()>,
    outcomes: OnDemand<'tx, (u64, &'static str), &'static [u8]>,
    outcomes_by_user: OnDemand<'tx, (&'static str, u64), ()>,
    rates: OnDemand<'tx, &'static str, &'static [u8]>,
    tokens: OnDemand<'tx, &'static str, &'static [u8]>,
    meta: Table<'tx, &'static str, u64>,
}

impl<'tx> Batch<'tx> {
    pub(super) fn open(tx: &'tx WriteTransaction, runs: &'tx Runs, max_ages: MaxAges) -> Result<Self, StoreError> {
        let meta = tx.open_table(tables::META)?;
        let seq_before = meta.get(tables::SEQ_KEY)?.map_or(0, |seq| seq.value());
        Ok(Self {
            tx,
            runs,
            seq_before,
            changes: Vec::new(),
            max_ages,
            signals: OnDemand::of(tx, tables::SIGNALS),
            signal_numbers: OnDemand::of(tx, tables::SIGNAL_NUMBERS),
            signals_by_expiry: OnDemand::of(tx, tables::SIGNALS_BY_EXPIRY),
            overlays: OnDemand::of(tx, tables::OVERLAYS),
            signals_by_start: OnDemand::of(tx, tables::SIGNALS_BY_START),
            signal_bodies: OnDemand::of(tx, tables::SIGNAL_BODIES),
            signals_by_body: OnDemand::of(tx, tables::SIGNALS_BY_BODY),
            outcomes: OnDemand::of(tx, tables::OUTCOMES),
            outcomes_by_user: OnDemand::of(tx, tables::OUTCOMES_BY_USER),
            rates: OnDemand::of(tx, tables::RATES),
            tokens: OnDemand::of(tx, tables::TOKENS),
            meta,
        })
    }

    /// The number of the last change so far.
    fn last_seq(&self) -> u64 {
        self.seq_before.saturating_add(self.changes.len() as u64)
    }

    /// The number of the change to come.
    pub(super) fn next_seq(&self) -> u64 {
        self.last_seq().saturating_add(1)
    }

    pub(super) fn apply(&mut self, operation: Operation) -> Applied {
        let receipt = self.apply_one(operation)?;
        Ok(Receipt { as_of: self.last_seq(), ..receipt })
    }

    fn apply_one(&mut self, operation: Operation) -> Applied {
        match operation {
            Operation::PutSignal { draft, now, lifetime_ms, condition, precedence } => {
                self.put_signal(draft, now, lifetime_ms, &condition, precedence)
            }
            Operation::PublishSignal { unnamed, now, lifetime_ms } => self.publish_signal(&unnamed, now, lifetime_ms),
            Operation::PatchSignal { id, patch, condition } => self.patch_signal(&id, &patch, &condition),
            Operation::DeleteSignal { id, condition } => self.delete_signal(id, &condition),
            Operation::PutOverlay { draft, now, condition, precedence } => {
                self.put_overlay(draft, now, &condition, precedence)
            }
            Operation::PatchOverlay { user, patch, now, condition, precedence } => {
                self.patch_overlay(&user, patch, now, &condition, precedence)
            }
            Operation::DeleteOverlay { user, condition } => self.delete_overlay(user, &condition),
            Operation::PutOutcome { outcome, condition, precedence } => {
                self.put_outcome(outcome, &condition, precedence)
            }
            Operation::DeleteOutcome { signal, user, condition } => self.delete_outcome(signal, user, &condition),
            Operation::DeleteUser { user, condition } => self.delete_user(user, &condition),
            Operation::PutRate { draft, now, condition, precedence } => {
                self.put_rate(draft, now, &condition, precedence)
            }
            Operation::PutToken(token) => self.put_token(token),
            Operation::RevokeToken(id) => self.revoke_token(id),
            Operation::NoteTokenUse { id, at } => self.note_token_use(id, at),
            Operation::DeleteToken(id) => self.delete_token(id),
        }
    }

    fn put_signal(
        &mut self,
        draft: SignalDraft,
        now: UnixMillis,
        lifetime_ms: i64,
        condition: &Condition,
        precedence: Precedence,
    ) -> Applied {
        let stored = self.stored_signal(draft.id())?;
        check(condition, stored.as_ref().map(|stored| stored.seq))?;
        let Some(stored) = stored else {
            let body = draft.fingerprint();
            return self.create_signal(draft.resolve(now, lifetime_ms)?, body);
        };
        if draft.agrees_with(&stored.signal) {
            return Ok(Receipt::of(Effect::Unchanged, Change::Signal(Arc::new(stored))));
        }
        if precedence != Precedence::Seed {
            let body = self.signal_bodies.table()?.get(stored.number)?.map(|body| body.value());
            // A signal may have been published without its id.
            if body.is_some_and(|body| [draft.fingerprint(), draft.fingerprint_without_id()].contains(&body)) {
                return Ok(Receipt::of(Effect::Unchanged, Change::Signal(Arc::new(stored))));
            }
            let detail = format!("signal {} is there already, with other content", stored.signal.id);
            return Err(Refusal::Conflict(detail).into());
        }
        let same = draft.same_but_times(&stored.signal);
        // A cancelled sample stays cancelled.
        let signal = Signal { status: stored.signal.status, ..draft.resolve(now, lifetime_ms)? };
        if same && stored.signal.is_expired(now) && !signal.is_expired(now) {
            let renewed = StoredSignal { number: stored.number, seq: self.next_seq(), signal };
            self.write_signal(&renewed, Some(&stored))?;
            return Ok(self.done(Effect::Changed, Change::Signal(Arc::new(renewed))));
        }
        Ok(Receipt::of(Effect::Kept, Change::Signal(Arc::new(stored))))
    }

    fn patch_signal(&mut self, id: &SignalId, patch: &Object, condition: &Condition) -> Applied {
        let stored = self.stored_signal(id)?.ok_or_else(|| Refusal::Absent(format!("signal {id}")))?;
        check(condition, Some(stored.seq))?;
        let signal = stored.signal.patched(patch)?;
        if signal == stored.signal {
            return Ok(Receipt::of(Effect::Unchanged, Change::Signal(Arc::new(stored))));
        }
        let patched = StoredSignal { number: stored.number, seq: self.next_seq(), signal };
        self.write_signal(&patched, Some(&stored))?;
        Ok(self.done(Effect::Changed, Change::Signal(Arc::new(patched))))
    }

    pub(super) fn stored_signal(&mut self, id: &SignalId) -> Result<Option<StoredSignal>, StoreError> {
        let Some(number) = self.signal_numbers.table()?.get(id.as_str())?.map(|number| number.value()) else {
            return Ok(None);
        };
        let row = self.signals.table()?.get(number)?;
        signal_called(id, number, row.as_ref().map(redb::AccessGuard::value)).map(Some)
    }

    /// - `body`: fingerprint of the body that publishes it.
    pub(super) fn create_signal(&mut self, signal: Signal, body: u64) -> Applied {
        let number = self.next_signal_number()?;
        let stored = StoredSignal { number, seq: self.next_seq(), signal };
        self.write_signal(&stored, None)?;
        self.signal_bodies.table()?.insert(number, body)?;
        self.signals_by_body.table()?.insert((body, number), ())?;
        Ok(self.done(Effect::Created, Change::Signal(Arc::new(stored))))
    }

    /// The number after the newest signal, also if that was deleted.
    fn next_signal_number(&mut self) -> Result<u64, StoreError> {
        let after_last = self.signals.table()?.last()?.map_or(0, |(number, _)| number.value().saturating_add(1));
        let least = self.meta.get(tables::NEXT_SIGNAL_KEY)?.map_or(0, |least| least.value());
        Ok(after_last.max(least))
    }

    fn delete_signal(&mut self, id: SignalId, condition: &Condition) -> Applied {
        let stored = self.stored_signal(&id)?.ok_or_else(|| Refusal::Absent(format!("signal {id}")))?;
        check(condition, Some(stored.seq))?;
        let number = stored.number;
        // Read before anything is written: a damaged record must fail this operation alone.
        let users = self.users_with_outcome_on(number)?;
        let next = self.next_signal_number()?;
        if next == number.saturating_add(1) {
            // Otherwise the next signal would get this number, and clients' cursors name numbers.
            self.meta.insert(tables::NEXT_SIGNAL_KEY, next)?;
        }
        for user in users {
            self.remove_outcome(number, user.as_str())?;
            self.done(Effect::Deleted, Change::OutcomeDeleted(id.clone(), user));
        }
        self.signals.table()?.remove(number)?;
        self.signal_numbers.table()?.remove(id.as_str())?;
        self.signals_by_expiry.table()?.remove((stored.signal.expires_at.millis(), number))?;
        self.signals_by_start.table()?.remove((stored.signal.active_from().millis(), number))?;
        if let Some(body) = self.signal_bodies.table()?.remove(number)?.map(|body| body.value()) {
            self.signals_by_body.table()?.remove((body, number))?;
        }
        Ok(self.done(Effect::Deleted, Change::SignalDeleted(id)))
    }

    fn users_with_outcome_on(&mut self, number: u64) -> Result<Vec<UserId>, StoreError> {
        let of_signal = (number, "")..(number.saturating_add(1), "");
        let user_of = |key: (u64, &str)| {
            UserId::parse(key.1).map_err(|error| corrupt("outcomes-1", format_args!("{key:?}"), &error.to_string()))
        };
        self.outcomes.table()?.range(of_signal)?.map(|row| user_of(row?.0.value())).collect()
    }

    fn write_signal(&mut self, stored: &StoredSignal, old: Option<&StoredSignal>) -> Result<(), Failure> {
        let bytes = codec::encode_signal(&stored.signal, stored.seq)?;
        let number = stored.number;
        self.signals.table()?.insert(number, bytes.as_slice())?;
        match old {
            Some(old) => {
                self.signals_by_expiry.table()?.remove((old.signal.expires_at.millis(), number))?;
                self.signals_by_start.table()?.remove((old.signal.active_from().millis(), number))?;
            }
            None => drop(self.signal_numbers.table()?.insert(stored.signal.id.as_str(), number)?),
        }
        self.signals_by_expiry.table()?.insert((stored.signal.expires_at.millis(), number), ())?;
        self.signals_by_start.table()?.insert((stored.signal.active_from().millis(), number), ())?;
        Ok(())
    }

    fn put_overlay(
        &mut self,
        draft: OverlayDraft,
        now: UnixMillis,
        condition: &Condition,
        precedence: Precedence,
    ) -> Applied {
        let stored = self.stored_overlay(draft.user_id())?;
        check(condition, stored.as_ref().map(|stored| stored.seq))?;
        let removed = stored.as_ref().map_or_else(Vec::new, |stored| draft.removes(&stored.overlay));
        let overlay = draft.resolve(now);
        match stored {
            Some(stored) => Ok(Receipt { removed, ..self.replace_overlay(stored, overlay, now, precedence)? }),
            None => self.write_overlay(overlay, Effect::Created),
        }
    }

    fn patch_overlay(
        &mut self,
        user: &UserId,
        patch: Object,
        now: UnixMillis,
        condition: &Condition,
        precedence: Precedence,
    ) -> Applied {
        let absent = || Refusal::Absent(format!("overlay for user {user}"));
        let stored = self.stored_overlay(user)?.ok_or_else(absent)?;
        check(condition, Some(stored.seq))?;
        let overlay = stored.overlay.patched(patch, now)?;
        self.replace_overlay(stored, overlay, now, precedence)
    }

    fn replace_overlay(
        &mut self,
        stored: StoredOverlay,
        mut new: Overlay,
        now: UnixMillis,
        precedence: Precedence,
    ) -> Applied {
        let stored_at = stored.overlay.balance_confirmed_at;
        if stored.overlay.has_same_basis(&new) {
            new.balance_confirmed_at = latest_confirmation(stored_at, new.balance_confirmed_at, now);
        }
        let confirmed_at = new.balance_confirmed_at;
        let is_same = stored.overlay.same_but_time(&new);
        match effect_on(is_same, precedence, new.updated_at, stored.overlay.updated_at) {
            Effect::Changed => self.write_overlay(new, Effect::Changed),
            Effect::Unchanged if self.max_ages.balance.is_some_and(|max| max.is_due(stored_at, confirmed_at)) => {
                let confirmed = Overlay { balance_confirmed_at: confirmed_at, ..stored.overlay };
                self.write_overlay(confirmed, Effect::Unchanged)
            }
            effect => {
                let receipt = Receipt::of(effect, Change::Overlay(new.user_id, Some(Arc::new(stored))));
                let is_later = effect == Effect::Unchanged && confirmed_at != stored_at;
                Ok(Receipt { confirmed_at: is_later.then_some(confirmed_at), ..receipt })
            }
        }
    }

    fn delete_overlay(&mut self, user: UserId, condition: &Condition) -> Applied {
        let absent = || Refusal::Absent(format!("overlay for user {user}"));
        let stored = self.stored_overlay(&user)?.ok_or_else(absent)?;
        check(condition, Some(stored.seq))?;
        self.overlays.table()?.remove(user.as_str())?;
        Ok(self.done(Effect::Deleted, Change::Overlay(user, None)))
    }

    pub(super) fn stored_overlay(&mut self, user: &UserId) -> Result<Option<StoredOverlay>, StoreError> {
        self.overlays.table()?.get(user.as_str())?.map(|bytes| stored_overlay(user.as_str(), bytes.value())).transpose()
    }

    pub(super) fn write_overlay(&mut self, overlay: Overlay, effect: Effect) -> Applied {
        let stored = StoredOverlay { seq: self.next_seq(), overlay };
        let bytes = codec::encode_overlay(&stored.overlay, stored.seq)?;
        let user = stored.overlay.user_id.clone();
        self.overlays.table()?.insert(user.as_str(), bytes.as_slice())?;
        Ok(self.done(effect, Change::Overlay(user, Some(Arc::new(stored)))))
    }

    pub(super) fn put_outcome(&mut self, outcome: Outcome, condition: &Condition, precedence: Precedence) -> Applied {
        let number = self.signal_numbers.table()?.get(outcome.signal_id.as_str())?.map(|number| number.value());
        let number = number.ok_or_else(|| Refusal::Absent(format!("signal {}", outcome.signal_id)))?;
        let user = outcome.user_id.clone();
        let key = (number, user.as_str());
        let old = self.outcomes.table()?.get(key)?.map(|bytes| stored_outcome(key, bytes.value())).transpose()?;
        check(condition, old.as_ref().map(|old| old.seq))?;
        let mut effect = Effect::Created;
        if let Some(old) = old {
            effect = effect_on(old.outcome.same_but_time(&outcome), precedence, outcome.at, old.outcome.at);
            if effect != Effect::Changed {
                return Ok(Receipt::of(effect, Change::Outcome(number, Arc::new(old))));
            }
        }
        let stored = StoredOutcome { seq: self.next_seq(), outcome };
        let bytes = codec::encode_outcome(&stored.outcome, stored.seq)?;
        self.outcomes.table()?.insert(key, bytes.as_slice())?;
        if effect == Effect::Created {
            self.outcomes_by_user.table()?.insert((user.as_str(), number), ())?;
        }
        Ok(self.done(effect, Change::Outcome(number, Arc::new(stored))))
    }

    fn delete_outcome(&mut self, signal: SignalId, user: UserId, condition: &Condition) -> Applied {
        let number = self.signal_numbers.table()?.get(signal.as_str())?.map(|number| number.value());
        let number = number.ok_or_else(|| Refusal::Absent(format!("signal {signal}")))?;
        let key = (number, user.as_str());
        let stored = self.outcomes.table()?.get(key)?.map(|bytes| stored_outcome(key, bytes.value())).transpose()?;
        let absent = || Refusal::Absent(format!("outcome of signal {signal} for user {user}"));
        check(condition, Some(stored.ok_or_else(absent)?.seq))?;
        self.remove_outcome(number, user.as_str())?;
        Ok(self.done(Effect::Deleted, Change::OutcomeDeleted(signal, user)))
    }

    fn remove_outcome(&mut self, number: u64, user: &str) -> Result<(), StoreError> {
        self.outcomes.table()?.remove((number, user))?;
        self.outcomes_by_user.table()?.remove((user, number))?;
        Ok(())
    }

    fn delete_user(&mut self, user: UserId, condition: &Condition) -> Applied {
        // Everything is read before anything is written: a damaged record must fail this operation alone.
        let overlay = self.stored_overlay(&user)?;
        let outcomes = self.signals_with_outcome_of(&user)?;
        let tokens = self.tokens_that_name(&user)?;
        if overlay.is_none() && outcomes.is_empty() && tokens.is_empty() {
            return Err(Refusal::Absent(format!("user {user}")).into());
        }
        check(condition, Some(overlay.as_ref().map_or(0, |overlay| overlay.seq)))?;
        for (number, signal) in outcomes {
            self.remove_outcome(number, user.as_str())?;
            self.done(Effect::Deleted, Change::OutcomeDeleted(signal, user.clone()));
        }
        for mut token in tokens {
            token.scopes.retain(|scope| *scope != Scope::ReadUser(user.clone()));
            let bytes = codec::encode_token(&token, self.next_seq())?;
            self.tokens.table()?.insert(token.id.as_str(), bytes.as_slice())?;
            self.done(Effect::Changed, Change::Token(token.id.clone(), Some(token)));
        }
        let deleted = Change::Overlay(user, None);
        if overlay.is_none() {
            return Ok(Receipt::of(Effect::Deleted, deleted));
        }
        if let Change::Overlay(user, _) = &deleted {
            self.overlays.table()?.remove(user.as_str())?;
        }
        Ok(self.done(Effect::Deleted, deleted))
    }

    /// The signals on which something happened for a user, with their numbers.
    fn signals_with_outcome_of(&mut self, user: &UserId) -> Result<Vec<(u64, SignalId)>, StoreError> {
        let of_user = (user.as_str(), 0)..=(user.as_str(), u64::MAX);
        let numbers = self.outcomes_by_user.table()?.range(of_user)?.map(|row| row.map(|(key, _)| key.value().1));
        let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
        let outcomes = self.outcomes.table()?;
        let signal_of = |number: u64| {
            let key = (number, user.as_str());
            let bytes = outcomes.get(key)?.ok_or_else(|| unindexed(number, user.as_str()))?;
            Ok((number, stored_outcome(key, bytes.value())?.outcome.signal_id))
        };
        numbers.into_iter().map(signal_of).collect()
    }

    /// The tokens with a scope that names a user.
    fn tokens_that_name(&mut self, user: &UserId) -> Result<Vec<Token>, StoreError> {
        let named = Scope::ReadUser(user.clone());
        let mut tokens = Vec::new();
        for row in self.tokens.table()?.range::<&str>(..)? {
            let (id, bytes) = row?;
            let token = stored_token(id.value(), bytes.value())?;
            if token.scopes.contains(&named) {
                tokens.push(token);
            }
        }
        Ok(tokens)
    }

    fn put_rate(
        &mut self,
        draft: RateDraft,
        now: UnixMillis,
        condition: &Condition,
        precedence: Precedence,
    ) -> Applied {
        let mut rate = draft.resolve(now);
        let pair = rate.pair.as_str();
        let old = self.rates.table()?.get(pair)?.map(|bytes| stored_rate(pair, bytes.value())).transpose()?;
        check(condition, old.as_ref().map(|(_, seq)| *seq))?;
        let mut effect = Effect::Created;
        if let Some((old, seq)) = old {
            effect = effect_on(old.price == rate.price, precedence, rate.updated_at, old.updated_at);
            let confirmed_at = latest_confirmation(old.confirmed_at, rate.confirmed_at, now);
            match effect {
                Effect::Unchanged
                    if self.max_ages.rate.is_some_and(|max| max.is_due(old.confirmed_at, confirmed_at)) =>
                {
                    rate = Rate { confirmed_at, ..old };
                }
                Effect::Unchanged | Effect::Kept => {
                    let is_later = effect == Effect::Unchanged && confirmed_at != old.confirmed_at;
                    let receipt = Receipt::of(effect, Change::Rate(old, seq));
                    return Ok(Receipt { confirmed_at: is_later.then_some(confirmed_at), ..receipt });
                }
                _ => {}
            }
        }
        let seq = self.next_seq();
        let bytes = codec::encode_rate(&rate, seq)?;
        self.rates.table()?.insert(rate.pair.as_str(), bytes.as_slice())?;
        Ok(self.done(effect, Change::Rate(rate, seq)))
    }

    fn put_token(&mut self, token: Token) -> Applied {
        if self.tokens.table()?.get(token.id.as_str())?.is_some() {
            return Err(Refusal::Conflict(format!("token {} is there already", token.id)).into());
        }
        let bytes = codec::encode_token(&token, self.next_seq())?;
        self.tokens.table()?.insert(token.id.as_str(), bytes.as_slice())?;
        Ok(self.done(Effect::Created, Change::Token(token.id.clone(), Some(token))))
    }

    fn revoke_token(&mut self, id: String) -> Applied {
        self.change_token(id, |token| token.scopes.clear())
    }

    fn note_token_use(&mut self, id: String, at: UnixMillis) -> Applied {
        self.change_token(id, |token| token.last_used_at = token.last_used_at.max(Some(at)))
    }

    fn change_token(&mut self, id: String, change: impl FnOnce(&mut Token)) -> Applied {
        let stored =
            self.tokens.table()?.get(id.as_str())?.map(|bytes| stored_token(&id, bytes.value())).transpose()?;
        let Some(stored) = stored else { return Err(Refusal::Absent(format!("token {id}")).into()) };
        let mut token = stored.clone();
        change(&mut token);
        if token == stored {
            return Ok(Receipt::of(Effect::Unchanged, Change::Token(id, Some(token))));
        }
        let bytes = codec::encode_token(&token, self.next_seq())?;
        self.tokens.table()?.insert(id.as_str(), bytes.as_slice())?;
        Ok(self.done(Effect::Changed, Change::Token(id, Some(token))))
    }

    fn delete_token(&mut self, id: String) -> Applied {
        if self.tokens.table()?.remove(id.as_str())?.is_none() {
            return Err(Refusal::Absent(format!("token {id}")).into());
        }
        Ok(self.done(Effect::Deleted, Change::Token(id, None)))
    }

    pub(super) fn done(&mut self, effect: Effect, change: Change) -> Receipt {
        self.changes.push(change.clone());
        Receipt::of(effect, change)
    }

    /// Ends the batch: returns its changes and the number of the last one, which it writes if there are any.
    pub(super) fn finish(mut self) -> Result<(u64, Vec<Change>), StoreError> {
        let seq = self.last_seq();
        if !self.changes.is_empty() {
            self.meta.insert(tables::SEQ_KEY, seq)?;
            self.runs.store(self.tx, self.seq_before)?;
        }
        let mut outcome_changes = OnDemand::of(self.tx, tables::OUTCOME_CHANGES);
        for (seq, change) in (self.seq_before + 1..).zip(&self.changes) {
            let user = match change {
                Change::Signal(_) | Change::SignalDeleted(_) => {
                    self.meta.insert(tables::SIGNALS_SEQ_KEY, seq)?;
                    continue;
                }
                Change::Outcome(_, stored) => &stored.outcome.user_id,
                Change::OutcomeDeleted(_, user) => user,
                Change::Overlay(..) | Change::Rate(..) | Change::Token(..) => continue,
            };
            outcome_changes.table()?.insert(tables::outcome_group(user), seq)?;
        }
        Ok((seq, self.changes))
    }
}

fn check(condition: &Condition, seq: Option<u64>) -> Result<(), Refusal> {
    if condition.holds(seq) { Ok(()) } else { Err(Refusal::ConditionFailed) }
}

/// What becomes of a stored record that a new one is to replace: `Changed`, `Unchanged` or `Kept`.
fn effect_on(is_same: bool, precedence: Precedence, new_time: UnixMillis, stored_time: UnixMillis) -> Effect {
    match precedence {
        _ if is_same => Effect::Unchanged,
        Precedence::Replace => Effect::Changed,
        Precedence::Newest if new_time >= stored_time => Effect::Changed,
        Precedence::Newest | Precedence::Seed => Effect::Kept,
    }
}
