//! A signal of a sender that gives it no id: the id is made from the symbol and the time.
//!
//! The time alone would not do, as two signals may have one; so a signal that finds its id taken by another gets a
//! number after it. A sender that sends the same body again after a timeout means the same signal: a body that names a
//! time always does, and one that names none means a signal that lives.

use smol_str::format_smolstr;

use super::{Signal, SignalDraft};
use crate::domain::{Invalid, Object, SignalId, UnixMillis};

/// How many signals of one symbol may have the same time: far more than a producer has.
const SAME_TIME_MAX: u32 = 100;

/// A published body without an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnnamedSignal(SignalDraft);

impl UnnamedSignal {
    /// Reads a published body that has no `signal_id`.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame.
    pub fn from_object(object: Object) -> Result<Self, Invalid> {
        SignalDraft::from_object(object, Some(&SignalId::made("unnamed"))).map(Self)
    }

    /// Whether this body, sent again, means `stored`, which one with its fingerprint published.
    ///
    /// One that names a time always does. One that names none does until the signal expires, also if that was put off.
    /// An end that was brought forward does not count: the body may come late, and its sender wants no second signal.
    ///
    /// - `lifetime_ms`: how long a signal lives that names no expiry.
    #[must_use]
    pub fn means(&self, stored: &Signal, now: UnixMillis, lifetime_ms: i64) -> bool {
        let has_time = self.0.created_at.is_some() || self.0.expires_at.is_some();
        has_time || now < stored.expires_at.max(stored.created_at.plus_millis(lifetime_ms))
    }

    /// As [`SignalDraft::fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.0.fingerprint_without_id()
    }

    /// The ids that it may have, best first: `EURUSD-20260131T160000Z`, then the same with a number from 2 on.
    ///
    /// - `now`, `lifetime_ms`: fill in the times that it leaves out.
    ///
    /// # Errors
    ///
    /// As [`SignalDraft::resolve`].
    pub fn ids(&self, now: UnixMillis, lifetime_ms: i64) -> Result<impl Iterator<Item = SignalId> + use<>, Invalid> {
        let Signal { symbol, created_at, .. } = self.0.clone().resolve(now, lifetime_ms)?;
        let millis = match created_at.millis() % 1_000 {
            0 => String::new(),
            millis => format!(".{millis:03}"),
        };
        let name = format_smolstr!("{symbol}-{}{millis}", created_at.basic());
        let numbered = |number| format_smolstr!("{name}-{number}");
        let numbered = (2..=SAME_TIME_MAX).map(numbered).collect::<Vec<_>>();
        Ok(std::iter::once(name).chain(numbered).map(|name| SignalId::made(&name)))
    }

    /// The same body with this id.
    #[must_use]
    pub fn called(self, id: SignalId) -> SignalDraft {
        SignalDraft { id, ..self.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(symbol: &str, created_at: &str) -> Vec<String> {
        let body = format!(r#"{{"symbol":"{symbol}","direction":"BUY","stop_pips":20,"created_at":{created_at}}}"#);
        let unnamed = UnnamedSignal::from_object(Object::parse(body.as_bytes()).unwrap()).unwrap();
        let now = UnixMillis::parse("2026-01-31T16:00:00.25Z").unwrap();
        unnamed.ids(now, 1).unwrap().map(|id| id.to_string()).collect()
    }

    #[test]
    fn an_id_is_made_of_symbol_and_time() {
        let first = |symbol, created_at| ids(symbol, created_at).swap_remove(0);
        assert_eq!(first("eur/usd", "\"2026-01-31T17:00:00+01:00\""), "EURUSD-20260131T160000Z");
        assert_eq!(first("XAUUSD", "1769875200.5"), "XAUUSD-20260131T160000Z.500");
        assert_eq!(first("XAUUSD", "null"), "XAUUSD-20260131T160000Z.250");
        assert_eq!(first("EURUSD+^!&#:.", "0"), "EURUSD-----:.-19700101T000000Z");
        let longest = first(&"&".repeat(32), "\"9999-12-30T21:59:59.999Z\"");
        assert!(SignalId::parse(&longest).is_ok(), "{longest}");
    }

    #[test]
    fn ids_are_all_different_and_valid() {
        let ids = ids("EURUSD", "0");
        assert_eq!((ids.len(), &*ids[1], &*ids[99]), (100, "EURUSD-19700101T000000Z-2", "EURUSD-19700101T000000Z-100"));
        assert!(ids.iter().all(|id| SignalId::parse(id).is_ok()));
    }
}
