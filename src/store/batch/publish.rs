//! Publishes a signal without an id, unless it is one that is there already.

use std::sync::Arc;

use redb::ReadableTable as _;

use super::super::codec::Unpacker;
use super::super::error::StoreError;
use super::super::operation::{Change, Effect, Receipt, Refusal};
use super::super::rows::{self, StoredSignal};
use super::{Applied, Batch};
use crate::domain::{Signal, UnixMillis, UnnamedSignal};

impl Batch<'_> {
    /// - `lifetime_ms`: fills in its expiry.
    pub(super) fn publish_signal(&mut self, unnamed: &UnnamedSignal, now: UnixMillis, lifetime_ms: i64) -> Applied {
        let fingerprint = unnamed.fingerprint();
        if let Some(stored) = self.published_by(fingerprint)?
            && unnamed.means(&stored.signal, now, lifetime_ms)
        {
            return Ok(Receipt::of(Effect::Unchanged, Change::Signal(Arc::new(stored))));
        }
        let mut taken = None;
        for id in unnamed.ids(now, lifetime_ms)? {
            let stored = self.stored_signal(&id)?;
            let draft = unnamed.clone().called(id);
            match stored {
                None => return self.create_signal(draft.resolve(now, lifetime_ms)?, fingerprint),
                Some(stored) if draft.agrees_with(&stored.signal) => {
                    return Ok(Receipt::of(Effect::Unchanged, Change::Signal(Arc::new(stored))));
                }
                Some(StoredSignal { signal: Signal { id, .. }, .. }) => taken = Some(id),
            }
        }
        let taken = taken.map_or_else(String::new, |id| format!(", up to {id}"));
        Err(Refusal::Conflict(format!("all ids of this symbol and time are taken{taken}: send a signal_id")).into())
    }

    /// The newest signal that a body with this fingerprint published.
    fn published_by(&mut self, fingerprint: u64) -> Result<Option<StoredSignal>, StoreError> {
        let of_body = (fingerprint, 0)..=(fingerprint, u64::MAX);
        let Some(newest) = self.signals_by_body.table()?.range(of_body)?.next_back() else { return Ok(None) };
        let (_, number) = newest?.0.value();
        let missing = || rows::corrupt("signals-by-body-1", number, "it names a signal that is not there");
        let bytes = self.signals.table()?.get(number)?.ok_or_else(missing)?;
        rows::stored_signal(number, bytes.value(), &mut Unpacker::default()).map(Some)
    }
}
