//! Rows of the tables as records: each is decoded, and must say what its key says.
//!
//! The file may have been damaged outside, so a row that can not be read is an error with its table and key, never a
//! panic.

use std::fmt::Display;

use super::codec::{self, DecodeError, Unpacker};
use super::error::StoreError;
use crate::domain::{Outcome, Overlay, Rate, Signal, SignalId, Token};

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

/// The signal called `id`, by the row that its number leads to.
pub(super) fn signal_called(id: &SignalId, number: u64, row: Option<&[u8]>) -> Result<StoredSignal, StoreError> {
    let bytes = row.ok_or_else(|| corrupt("signal-numbers-1", id, "it names a signal that is not there"))?;
    let stored = stored_signal(number, bytes, &mut Unpacker::default())?;
    if stored.signal.id == *id { Ok(stored) } else { Err(corrupt("signals-1", number, "it holds another signal")) }
}

pub(super) fn stored_signal(number: u64, bytes: &[u8], unpacker: &mut Unpacker) -> Result<StoredSignal, StoreError> {
    let (signal, seq) = codec::decode_signal(bytes, unpacker).map_err(damaged("signals-1", number))?;
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

pub(super) fn stored_token(id: &str, bytes: &[u8]) -> Result<Token, StoreError> {
    let (token, _) = codec::decode_token(bytes).map_err(damaged("tokens-1", id))?;
    if token.id != id {
        return Err(corrupt("tokens-1", id, "it holds another token"));
    }
    Ok(token)
}

fn damaged<K: Display>(table: &'static str, key: K) -> impl FnOnce(DecodeError) -> StoreError {
    move |error| corrupt(table, key, &error.to_string())
}

/// The index of a user's outcomes names one that is not there.
pub(super) fn unindexed(number: u64, user: &str) -> StoreError {
    corrupt("outcomes-by-user-1", format_args!("{user}/{number}"), "it names an outcome that is not there")
}

pub(super) fn corrupt(table: &'static str, key: impl Display, detail: &str) -> StoreError {
    StoreError::CorruptRow { table, key: key.to_string(), detail: detail.to_owned() }
}
