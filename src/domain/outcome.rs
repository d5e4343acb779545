//! An outcome: what happened for one user on one signal. Most signals have none for most users.

use strum::{EnumString, IntoStaticStr, VariantNames};

use super::other_names;
use super::{Decimal, Invalid, InvalidKind, Object, SignalId, UnixMillis, UserId};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub enum OutcomeStatus {
    /// The user's order was placed.
    Fired,
    /// The user's order was tried and refused.
    Failed,
    /// The user's position is closed.
    Closed,
}

impl OutcomeStatus {
    /// `fired`, `failed` or `closed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads `fired`, `failed` or `closed` in any case.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::WrongType`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let refuse = |_| Invalid::member(InvalidKind::WrongType, "status", "status must be fired, failed or closed");
        text.parse().map_err(refuse)
    }
}

/// How a closed position ended, as the client says: nothing derives it from the profit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub enum TradeResult {
    /// With a gain.
    Win,
    /// With a loss.
    Loss,
    /// With neither.
    Even,
}

impl TradeResult {
    /// `win`, `loss` or `even`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads `win`, `loss` or `even` in any case.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::WrongType`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let refuse = |_| Invalid::member(InvalidKind::WrongType, "result", "result must be win, loss or even");
        text.parse().map_err(refuse)
    }
}

/// What happened for one user on one signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// On which signal.
    pub signal_id: SignalId,
    /// For which user.
    pub user_id: UserId,
    /// What.
    pub status: OutcomeStatus,
    /// When.
    pub at: UnixMillis,
    /// What the trade came to, in the account's currency; below zero for a loss. `None`: not said.
    pub profit: Option<Decimal>,
    /// How the trade ended; `None`: not said.
    pub result: Option<TradeResult>,
    /// Everything else: ticket, execution price, message.
    pub members: Object,
}

/// The members of an outcome with a meaning of their own.
const KNOWN: [&str; 6] = ["signal_id", "user_id", "status", "at", "profit", "result"];

impl Outcome {
    /// Reads an outcome; `signal` and `user` are those that the request names, if it does. Without a time it
    /// happened `now`.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame.
    pub fn from_object(
        mut object: Object,
        signal: Option<&SignalId>,
        user: Option<&UserId>,
        now: UnixMillis,
    ) -> Result<Self, Invalid> {
        object.refuse_misspelled(&KNOWN, other_names::OUTCOME)?;
        let missing = || Invalid::member(InvalidKind::MissingMember, "status", "an outcome needs status");
        let signal_id = object.take_id("signal_id", SignalId::parse, signal, "an outcome")?;
        let user_id = object.take_id("user_id", UserId::parse, user, "an outcome")?;
        let status = object.take_parsed("status", OutcomeStatus::parse)?.ok_or_else(missing)?;
        let at = object.take_time("at")?.unwrap_or(now);
        let profit = object.take_decimal("profit", Decimal::from_units(i64::MIN), Decimal::from_units(i64::MAX))?;
        let result = object.take_parsed("result", TradeResult::parse)?;
        Ok(Self { signal_id, user_id, status, at, profit, result, members: object.kept()? })
    }

    /// Whether both say the same, the time aside.
    #[must_use]
    pub fn same_but_time(&self, other: &Self) -> bool {
        self.signal_id == other.signal_id
            && self.user_id == other.user_id
            && self.status == other.status
            && self.profit == other.profit
            && self.result == other.result
            && self.members.same_members(&other.members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::MAX;

    fn read(json: &str) -> Result<Outcome, Invalid> {
        Outcome::from_object(Object::parse(json.as_bytes()).unwrap(), None, None, NOW)
    }

    #[track_caller]
    fn check(result: Result<Outcome, Invalid>, kind: InvalidKind, pointer: &str) {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.pointer()), (kind, pointer), "{error}");
    }

    #[test]
    fn a_full_body_is_read() {
        let outcome = read(
            r#"{"signal_id":"S-1","user_id":"7","status":"FIRED","at":"2026-01-30T16:00:00Z",
                "ticket":123456,"execution_price": 1.08500}"#,
        )
        .unwrap();
        assert_eq!((outcome.signal_id.as_str(), outcome.user_id.as_str()), ("S-1", "7"));
        assert_eq!((outcome.status, outcome.status.as_str()), (OutcomeStatus::Fired, "fired"));
        assert_eq!(outcome.at.to_string(), "2026-01-30T16:00:00Z");
        assert_eq!(outcome.members.to_json(), r#"{"ticket":123456,"execution_price":1.08500}"#);
    }

    #[test]
    fn a_closed_position_has_a_profit_and_a_result_as_sent() {
        let outcome =
            read(r#"{"signal_id":"S-1","user_id":"7","status":"closed","profit":"-12.50","result":"WIN"}"#).unwrap();
        assert_eq!((outcome.status.as_str(), outcome.profit), ("closed", Some(Decimal::from_units(-1_250_000_000))));
        // The result is not derived from the profit, nor held against it.
        assert_eq!(outcome.result.map(TradeResult::as_str), Some("win"));
        let bare = read(r#"{"signal_id":"S-1","user_id":"7","status":"closed","profit":null}"#).unwrap();
        assert_eq!((bare.profit, bare.result), (None, None));
    }

    #[test]
    fn without_a_time_it_happened_now() {
        let outcome = read(r#"{"signal_id":"S-1","user_id":"7","status":"failed"}"#).unwrap();
        assert_eq!((outcome.at, outcome.status.as_str()), (NOW, "failed"));
        assert!(outcome.members.is_empty());
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        check(read(r#"{"user_id":"7","status":"fired"}"#), InvalidKind::MissingMember, "/signal_id");
        check(read(r#"{"signal_id":"S-1","status":"fired"}"#), InvalidKind::MissingMember, "/user_id");
        check(read(r#"{"signal_id":"S-1","user_id":"7"}"#), InvalidKind::MissingMember, "/status");
        for (member, kind, pointer) in [
            (r#""status":"pending""#, InvalidKind::WrongType, "/status"),
            (r#""status":1"#, InvalidKind::WrongType, "/status"),
            (r#""status":"fired","at":"later""#, InvalidKind::InvalidTime, "/at"),
            (r#""status":"closed","profit":"much""#, InvalidKind::WrongType, "/profit"),
            (r#""status":"closed","profit":1e12"#, InvalidKind::OutOfRange, "/profit"),
            (r#""status":"closed","result":"won""#, InvalidKind::WrongType, "/result"),
            (r#""staus":"fired""#, InvalidKind::MisspelledMember, "/staus"),
        ] {
            check(read(&format!(r#"{{"signal_id":"S-1","user_id":"7",{member}}}"#)), kind, pointer);
        }
        check(read(r#"{"signal_id":"..","user_id":"7","status":"fired"}"#), InvalidKind::InvalidName, "/signal_id");
        check(read(r#"{"signal_id":"S-1","user_id":"","status":"fired"}"#), InvalidKind::InvalidName, "/user_id");
    }

    #[test]
    fn the_ids_of_the_request_and_of_the_body_are_one() {
        let (signal, user) = (SignalId::parse("S-1").unwrap(), UserId::parse("7").unwrap());
        let read =
            |json: &str| Outcome::from_object(Object::parse(json.as_bytes()).unwrap(), Some(&signal), Some(&user), NOW);
        check(read(r#"{"signal_id":"S-2","status":"fired"}"#), InvalidKind::IdMismatch, "/signal_id");
        check(read(r#"{"user_id":"8","status":"fired"}"#), InvalidKind::IdMismatch, "/user_id");
        for body in [r#"{"status":"fired"}"#, r#"{"signal_id":"S-1","user_id":"7","status":"fired"}"#] {
            let outcome = read(body).unwrap();
            assert_eq!((outcome.signal_id, outcome.user_id), (signal.clone(), user.clone()));
        }
    }

    #[test]
    fn the_same_words_at_another_time_say_the_same() {
        let outcome = |rest: &str| read(&format!(r#"{{"signal_id":"S-1","user_id":"7",{rest}}}"#)).unwrap();
        let before = outcome(r#""status":"fired","ticket":1,"note":"x""#);
        assert!(before.same_but_time(&outcome(r#""note":"x","ticket":1,"status":"Fired","at":5"#)));
        for other in [
            r#""status":"failed","ticket":1,"note":"x""#,
            r#""status":"fired","ticket":2,"note":"x""#,
            r#""status":"fired","ticket":1,"note":"x","profit":0"#,
            r#""status":"fired","ticket":1,"note":"x","result":"win""#,
            r#""status":"fired","ticket":1"#,
        ] {
            assert!(!before.same_but_time(&outcome(other)), "{other}");
        }
        let of_another = |text: &str| read(text).unwrap();
        assert!(
            !before.same_but_time(&of_another(
                r#"{"signal_id":"S-2","user_id":"7","status":"fired","ticket":1,"note":"x"}"#
            ))
        );
        assert!(
            !before.same_but_time(&of_another(
                r#"{"signal_id":"S-1","user_id":"8","status":"fired","ticket":1,"note":"x"}"#
            ))
        );
    }
}
