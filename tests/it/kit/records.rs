//! Records of the field for tests: JSON bodies, the operations that write them, and the samples.

use std::fmt::Display;

use overlaid::domain::{
    Condition, Object, Outcome, OverlayDraft, RateDraft, Scope, SignalDraft, SignalId, Token, UnixMillis, UserId,
};
use overlaid::service::SIGNAL_LIFETIME_MS;
use overlaid::store::{Operation, Precedence};

/// The folder of the sample data.
pub(crate) const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/samples");
/// A signal that does not name itself, with prices: a stop of 20 pips, a target of 40.
pub(crate) const EURUSD: &str =
    r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089}"#;
/// A signal that does not name itself, with pips.
pub(crate) const EURUSD_PIPS: &str = r#"{"symbol":"EURUSD","direction":"BUY","stop_pips":20}"#;
/// The signal S1, without a target.
pub(crate) const SIGNAL: &str =
    r#"{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083}"#;
/// The overlay of user 7.
pub(crate) const OVERLAY: &str = r#"{"user_id":"7","account_balance":10000}"#;
/// User 7 has fired on S1.
pub(crate) const OUTCOME: &str = r#"{"signal_id":"S1","user_id":"7","status":"fired"}"#;

/// When the clocks of tests begin.
pub(crate) fn start() -> UnixMillis {
    UnixMillis::parse("2026-01-31T12:00:00Z").unwrap()
}

/// The signal of [`EURUSD_PIPS`], with a name.
pub(crate) fn pips_signal(id: impl Display) -> String {
    format!(r#"{{"signal_id":"{id}","symbol":"EURUSD","direction":"BUY","stop_pips":20}}"#)
}

pub(crate) fn object(json: &str) -> Object {
    Object::parse(json.as_bytes()).unwrap()
}

pub(crate) fn signal_id(id: &str) -> SignalId {
    SignalId::parse(id).unwrap()
}

pub(crate) fn user_id(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

pub(crate) fn put_signal(json: &str, now: UnixMillis) -> Operation {
    let draft = SignalDraft::from_object(object(json), None).unwrap();
    Operation::PutSignal {
        draft,
        now,
        lifetime_ms: SIGNAL_LIFETIME_MS,
        condition: Condition::None,
        precedence: Precedence::Replace,
    }
}

pub(crate) fn patch_signal(id: &str, patch: &str) -> Operation {
    Operation::PatchSignal { id: signal_id(id), patch: object(patch), condition: Condition::None }
}

pub(crate) fn put_overlay(json: &str, now: UnixMillis) -> Operation {
    let draft = OverlayDraft::from_object(object(json), None).unwrap();
    Operation::PutOverlay { draft, now, condition: Condition::None, precedence: Precedence::Replace }
}

pub(crate) fn patch_overlay(user: &str, patch: &str, now: UnixMillis) -> Operation {
    Operation::PatchOverlay {
        user: user_id(user),
        patch: object(patch),
        now,
        condition: Condition::None,
        precedence: Precedence::Replace,
    }
}

pub(crate) fn delete_overlay(user: &str) -> Operation {
    Operation::DeleteOverlay { user: user_id(user), condition: Condition::None }
}

pub(crate) fn put_outcome(json: &str, now: UnixMillis) -> Operation {
    let outcome = Outcome::from_object(object(json), None, None, now).unwrap();
    Operation::PutOutcome { outcome, condition: Condition::None, precedence: Precedence::Replace }
}

pub(crate) fn put_rate(json: &str, now: UnixMillis) -> Operation {
    let draft = RateDraft::from_object(object(json), None).unwrap();
    Operation::PutRate { draft, now, condition: Condition::None, precedence: Precedence::Replace }
}

pub(crate) fn token(id: &str, now: UnixMillis) -> Token {
    let (name, created_at) = ("test".to_owned(), now);
    let (expires_at, last_used_at) = (None, None);
    Token { id: id.to_owned(), sha256: [7; 32], scopes: vec![Scope::Read], name, created_at, expires_at, last_used_at }
}

/// Puts the signal of [`SIGNAL`] under another name.
pub(crate) fn signal(id: &str) -> Operation {
    put_signal(&SIGNAL.replace("S1", id), start())
}

pub(crate) fn overlay(user: impl Display, balance: u64) -> Operation {
    put_overlay(&format!(r#"{{"user_id":"{user}","account_balance":{balance}}}"#), start())
}

pub(crate) fn rate(price: u64) -> Operation {
    put_rate(&format!(r#"{{"pair":"GBPUSD","price":{price}}}"#), start())
}

/// A signal with a note of so many bytes.
pub(crate) fn long_signal(number: usize, note_bytes: usize) -> Operation {
    let note = "s".repeat(note_bytes);
    put_signal(&SIGNAL.replace("S1", &format!("S{number}")).replace('}', &format!(r#","note":"{note}"}}"#)), start())
}

/// An overlay with a note of so many bytes.
pub(crate) fn long_overlay(user: usize, balance: u64, note_bytes: usize) -> Operation {
    let note = "n".repeat(note_bytes);
    put_overlay(&format!(r#"{{"user_id":"{user}","account_balance":{balance},"note":"{note}"}}"#), start())
}
