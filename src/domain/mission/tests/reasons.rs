//! Tests of the status of a mission, and of the reasons not to trade it.

use super::*;

#[test]
fn trades_that_remain_are_the_users_else_the_tiers() {
    check(case("{}", r#"{"trades_remaining":1,"tier":"RESTING"}"#), r#"{"reasons":[]}"#);
    check(case("{}", r#"{"trades_remaining":0}"#), r#"{"reasons":["no_trades_remaining"],"lots":1}"#);
    check(case("{}", r#"{"trades_remaining":0,"tier":"FANG"}"#), r#"{"reasons":["no_trades_remaining"]}"#);
    check(case("{}", r#"{"tier":"RESTING"}"#), r#"{"reasons":["no_trades_remaining"],"lots":1}"#);
    check(case("{}", r#"{"tier":"FANG"}"#), r#"{"reasons":[]}"#);
}

#[test]
fn confidence_is_held_against_the_tiers() {
    let fang = r#"{"tier":"FANG"}"#;
    check(case(r#"{"confidence":70}"#, fang), r#"{"reasons":[]}"#);
    check(case(r#"{"confidence":69.99999999}"#, fang), r#"{"reasons":["below_tier_confidence"],"lots":1}"#);
    check(case(r#"{"confidence":0}"#, "{}"), r#"{"reasons":[]}"#);
    // A signal that claims no confidence is not held against one.
    check(case("{}", fang), r#"{"reasons":[]}"#);
}

#[test]
fn a_signal_is_expired_from_its_last_moment_on() {
    check(
        Case { now: "2026-01-30T16:59:59.999Z", ..case("{}", "{}") },
        r#"{"status":"active","seconds_remaining":1,"reasons":[]}"#,
    );
    check(
        Case { now: "2026-01-30T17:00:00Z", ..case("{}", "{}") },
        r#"{"status":"expired","seconds_remaining":0,"reasons":["expired"],"lots":1}"#,
    );
    check(
        Case { now: "2027-01-01T00:00:00Z", ..case("{}", "{}") },
        r#"{"status":"expired","seconds_remaining":0,"reasons":["expired"]}"#,
    );
    check(case("{}", "{}"), r#"{"seconds_remaining":3540}"#);
    // Before it was published, which a clock that runs behind can bring about, it is not expired either.
    check(Case { now: "2026-01-30T15:59:59Z", ..case("{}", "{}") }, r#"{"status":"active","seconds_remaining":3601}"#);
}

#[test]
fn what_happened_speaks_against_trading_again() {
    let (fired, failed) = (Some(OutcomeStatus::Fired), Some(OutcomeStatus::Failed));
    check(
        Case { outcome: fired, ..case("{}", "{}") },
        r#"{"status":"fired","reasons":["already_fired"],"seconds_remaining":3540,"lots":1}"#,
    );
    check(Case { outcome: failed, ..case("{}", "{}") }, r#"{"status":"failed","reasons":["already_failed"],"lots":1}"#);
    // What happened outlasts the signal.
    check(
        Case { outcome: fired, now: "2026-01-30T18:00:00Z", ..case("{}", "{}") },
        r#"{"status":"fired","reasons":["expired","already_fired"]}"#,
    );
}

/// One case for each reason; a new one does not compile until it has its own.
#[test]
fn every_reason_can_be_given() {
    let cross = r#"{"symbol":"EURGBP"}"#;
    for &reason in Reason::ALL {
        let case = match reason {
            Reason::Expired => Case { now: "2026-01-30T17:00:00Z", ..case("{}", "{}") },
            Reason::AlreadyFired => Case { outcome: Some(OutcomeStatus::Fired), ..case("{}", "{}") },
            Reason::AlreadyFailed => Case { outcome: Some(OutcomeStatus::Failed), ..case("{}", "{}") },
            Reason::AlreadyClosed => Case { outcome: Some(OutcomeStatus::Closed), ..case("{}", "{}") },
            Reason::SignalCancelled => case(r#"{"status":"cancelled"}"#, "{}"),
            Reason::SignalClosed => case(r#"{"status":"closed"}"#, "{}"),
            Reason::NotYetActive => case(r#"{"created_at":"2026-01-30T16:59:00Z"}"#, "{}"),
            Reason::UnknownSymbol => case(r#"{"symbol":"NOSUCH"}"#, "{}"),
            Reason::UnknownTier => case("{}", r#"{"tier":"NOSUCH"}"#),
            Reason::BelowTierConfidence => case(r#"{"confidence":10}"#, r#"{"tier":"FANG"}"#),
            Reason::NoTradesRemaining => case("{}", r#"{"trades_remaining":0}"#),
            Reason::NoBalance => case("{}", r#"{"account_balance":null}"#),
            Reason::NoEquity => case("{}", r#"{"risk_basis":"equity"}"#),
            Reason::NegativeBalance => case("{}", r#"{"account_balance":-0.01}"#),
            Reason::NegativeEquity => case("{}", r#"{"account_equity":-0.01}"#),
            Reason::StaleBalance => Case {
                max_ages: minutes(None, Some(60)),
                ..case("{}", r#"{"balance_confirmed_at":"2026-01-30T15:00:59Z"}"#)
            },
            Reason::InsufficientMargin => case("{}", r#"{"leverage":30,"free_margin":36}"#),
            Reason::NoRiskPercent => case("{}", r#"{"risk_percent":null}"#),
            Reason::ZeroRisk => case("{}", r#"{"risk_percent":0}"#),
            Reason::NoConversionRate => Case { rates: &[], ..case(cross, "{}") },
            Reason::StaleRate => {
                Case { rate_ages: &[0, 61], max_ages: minutes(Some(60), None), ..case(r#"{"symbol":"EURGBP"}"#, "{}") }
            }
            Reason::BelowMinimumLot => case("{}", r#"{"account_balance":1}"#),
            Reason::OutOfRange => {
                case(r#"{"symbol":"TINY","entry_price":1.00000001,"stop_loss":1,"take_profit":null}"#, "{}")
            }
        };
        let (mission, _) = case.compute();
        assert!(mission.reasons.contains(reason), "{reason:?}: {mission:?}");
        assert!(!mission.is_tradable());
    }
}

/// The outcome tells of a position, so it decides the status; the reasons list the outcome's and the signal's.
#[test]
fn an_outcome_decides_the_status_before_the_signal_does() {
    let expired = "2026-01-30T17:00:00Z";
    for (signal, outcome, now, expected) in [
        ("cancelled", None, NOW, r#"{"status":"cancelled","reasons":["signal_cancelled"]}"#),
        ("closed", None, NOW, r#"{"status":"closed","reasons":["signal_closed"]}"#),
        ("active", None, NOW, r#"{"status":"active","reasons":[],"tradable":true}"#),
        ("cancelled", None, expired, r#"{"status":"cancelled","reasons":["expired","signal_cancelled"]}"#),
        (
            "cancelled",
            Some(OutcomeStatus::Fired),
            NOW,
            r#"{"status":"fired","reasons":["already_fired","signal_cancelled"]}"#,
        ),
        (
            "closed",
            Some(OutcomeStatus::Failed),
            NOW,
            r#"{"status":"failed","reasons":["already_failed","signal_closed"]}"#,
        ),
        (
            "closed",
            Some(OutcomeStatus::Closed),
            NOW,
            r#"{"status":"closed","reasons":["already_closed","signal_closed"]}"#,
        ),
        (
            "active",
            Some(OutcomeStatus::Closed),
            expired,
            r#"{"status":"closed","reasons":["expired","already_closed"]}"#,
        ),
    ] {
        let signal = format!(r#"{{"status":"{signal}"}}"#);
        check(Case { outcome, now, ..case(&signal, "{}") }, expected);
    }
}

/// Clocks of producers differ a little; a signal from beyond that is one that is published before its time.
#[test]
fn a_signal_from_more_than_a_minute_ahead_is_not_active_yet() {
    let now = UnixMillis::parse(NOW).unwrap();
    for (ahead_ms, expected) in [
        (60_000, r#"{"reasons":[],"status":"active"}"#),
        (60_001, r#"{"reasons":["not_yet_active"],"status":"active"}"#),
    ] {
        let (created_at, expires_at) = (now.plus_millis(ahead_ms), now.plus_millis(3_600_000));
        let signal = format!(r#"{{"created_at":"{created_at}","expires_at":"{expires_at}"}}"#);
        check(case(&signal, "{}"), expected);
    }
}

/// All that can speak against a mission at once is listed, in the order of [`Reason::ALL`].
#[test]
fn reasons_are_listed_together() {
    check(
        Case {
            outcome: Some(OutcomeStatus::Failed),
            rates: &[],
            now: "2026-01-30T17:00:00Z",
            ..case(
                r#"{"symbol":"EURGBP","confidence":1}"#,
                r#"{"tier":"FANG","account_balance":null,"risk_percent":0,"trades_remaining":0}"#,
            )
        },
        r#"{"status":"failed","reasons":["expired","already_failed","below_tier_confidence","no_trades_remaining",
            "no_balance","zero_risk","no_conversion_rate"]}"#,
    );
    let mut all = Reasons::default();
    assert!(all.is_empty());
    for &reason in Reason::ALL.iter().rev() {
        all.insert(reason);
    }
    assert_eq!(all.iter().collect::<Vec<_>>(), Reason::ALL);
}
