//! Publishes a signal without an id, unless it is one that is there already.

use std::sync::Arc;

use redb::ReadableTable as _;

use super::super::codec::Unpacker;
use super::super::error::StoreError;
use super::super::operation::{Change, Effect, Receipt, Refusal};
use super::super::rows::{self, StoredSignal};
use super::{Applied, Batch};
use crate::domain::{Signal, UnixMillis, UnnamedSignal};

/// How many signals that live are compared with one that has no time, the last to expire first: many times those of an
/// hour, and a few milliseconds of work.
const COMPARED_MAX: usize = 1_000;

impl Batch<'_> {
    /// - `lifetime_ms`: fills in its expiry.
    pub(super) fn publish_signal(&mut self, unnamed: &UnnamedSignal, now: UnixMillis, lifetime_ms: i64) -> Applied {
        if !unnamed.has_time()
            && let Some(stored) = self.published_before(unnamed, now, lifetime_ms)?
        {
            return Ok(Receipt::of(Effect::Unchanged, Change::Signal(Arc::new(stored))));
        }
        let mut taken = None;
        for id in unnamed.ids(now, lifetime_ms)? {
            let stored = self.stored_signal(&id)?;
            let draft = unnamed.clone().called(id);
            match stored {
                None => return self.create_signal(draft.resolve(now, lifetime_ms)?),
                Some(stored) if draft.agrees_with(&stored.signal) => {
                    return Ok(Receipt::of(Effect::Unchanged, Change::Signal(Arc::new(stored))));
                }
                Some(StoredSignal { signal: Signal { id, .. }, .. }) => taken = Some(id),
            }
        }
        let taken = taken.map_or_else(String::new, |id| format!(", up to {id}"));
        Err(Refusal::Conflict(format!("all ids of this symbol and time are taken{taken}: send a signal_id")).into())
    }

    /// The signal that this body published before, if it lives.
    fn published_before(
        &mut self,
        unnamed: &UnnamedSignal,
        now: UnixMillis,
        lifetime_ms: i64,
    ) -> Result<Option<StoredSignal>, StoreError> {
        // It expires when the body says so, or a lifetime after it was published.
        let (first, last) = match unnamed.expires_at() {
            Some(expires_at) => (expires_at, expires_at),
            None => (now, now.plus_millis(lifetime_ms)),
        };
        let (first, last) = ((first.millis(), 0), (last.millis(), u64::MAX));
        let (signals, mut unpacker) = (self.signals.table()?, Unpacker::default());
        for row in self.signals_by_expiry.table()?.range(first..=last)?.rev().take(COMPARED_MAX) {
            let (_, number) = row?.0.value();
            let missing = || rows::corrupt("signals-by-expiry-1", number, "it names a signal that is not there");
            let bytes = signals.get(number)?.ok_or_else(missing)?;
            let stored = rows::stored_signal(number, bytes.value(), &mut unpacker)?;
            if unnamed.has_published(&stored.signal, now) {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }
}
