//! Tests of the age of rates and balances.

use super::*;

#[test]
fn a_rate_beyond_its_limit_is_stale_and_the_size_stays() {
    let cross = case(r#"{"symbol":"EURGBP","entry_price":0.865,"stop_loss":0.863,"take_profit":0.869}"#, "{}");
    let of_pound = |age: i64, max_age: Option<u64>, expected: &str| {
        check(Case { rate_ages: &[0, age], max_ages: minutes(max_age, None), ..cross }, expected);
    };
    let fresh = r#"{"reasons":[],"tradable":true,"lots":0.74,"rates_confirmed_at":"2026-01-30T15:01:00Z"}"#;
    of_pound(60, Some(60), fresh);
    of_pound(60, None, fresh);
    // A minute older than an hour: what a size was is still shown.
    of_pound(
        61,
        Some(60),
        r#"{"reasons":["stale_rate"],"tradable":false,"lots":0.74,"risk_amount":198.32,"conversion_path":["GBPUSD"],
            "rates_confirmed_at":"2026-01-30T15:00:00Z"}"#,
    );
    // The clock was set back since: within the limit it is believed, beyond it is not.
    of_pound(-60, Some(60), r#"{"reasons":[],"rates_confirmed_at":"2026-01-30T17:01:00Z"}"#);
    of_pound(-61, Some(60), r#"{"reasons":["stale_rate"]}"#);
}

#[test]
fn of_two_rates_the_older_counts_and_rates_that_are_not_needed_do_not() {
    let cross = Case {
        rates: &[("GBPEUR", "1.15"), ("EURUSD", "1.085"), ("USDCHF", "0.8")],
        max_ages: minutes(Some(60), None),
        ..case(r#"{"symbol":"EURGBP","entry_price":0.865,"stop_loss":0.863,"take_profit":0.869}"#, "{}")
    };
    let both = |ages: &[i64], expected: &str| check(Case { rate_ages: ages, ..cross }, expected);
    both(&[30, 10, 900], r#"{"reasons":[],"rates_confirmed_at":"2026-01-30T15:31:00Z"}"#);
    both(&[10, 30, 900], r#"{"reasons":[],"rates_confirmed_at":"2026-01-30T15:31:00Z"}"#);
    both(&[61, 0], r#"{"reasons":["stale_rate"],"rates_confirmed_at":"2026-01-30T15:00:00Z"}"#);
    both(&[0, 61], r#"{"reasons":["stale_rate"],"rates_confirmed_at":"2026-01-30T15:00:00Z"}"#);
    // One that lies too far ahead is no better than one that is too old, though the other is the earlier.
    both(&[0, -61], r#"{"reasons":["stale_rate"],"rates_confirmed_at":"2026-01-30T16:01:00Z"}"#);
    // Dollars of a dollar account, and euros by the entry, need no rate.
    for (signal, overlay) in [("{}", "{}"), ("{}", r#"{"account_currency":"EUR"}"#)] {
        let case = Case { rate_ages: &[900, 900, 900], signal, overlay, ..cross };
        check(case, r#"{"reasons":[],"rates_confirmed_at":null}"#);
    }
}

#[test]
fn a_balance_beyond_its_limit_is_stale_and_the_size_stays() {
    let confirmed = |overlay: &str, expected: &str| {
        check(Case { max_ages: minutes(None, Some(60)), ..case("{}", overlay) }, expected);
    };
    confirmed(
        r#"{"balance_confirmed_at":"2026-01-30T15:01:00Z"}"#,
        r#"{"reasons":[],"tradable":true,"balance_confirmed_at":"2026-01-30T15:01:00Z"}"#,
    );
    confirmed(
        r#"{"balance_confirmed_at":"2026-01-30T15:00:59.999Z"}"#,
        r#"{"reasons":["stale_balance"],"tradable":false,"lots":1,"risk_amount":200,
            "balance_confirmed_at":"2026-01-30T15:00:59.999Z"}"#,
    );
    // Without a time of its own it was confirmed when the overlay was last changed, as in records of old.
    confirmed(r#"{"updated_at":"2026-01-01T00:00:00Z"}"#, r#"{"reasons":["stale_balance"]}"#);
    confirmed("{}", r#"{"reasons":[],"balance_confirmed_at":"2026-01-30T16:01:00Z"}"#);
    // Without an amount there is nothing to be too old.
    confirmed(
        r#"{"account_balance":null,"updated_at":"2026-01-01T00:00:00Z"}"#,
        r#"{"reasons":["no_balance"],"balance_confirmed_at":null}"#,
    );
    confirmed(
        r#"{"risk_basis":"equity","account_equity":5000,"updated_at":"2026-01-01T00:00:00Z"}"#,
        r#"{"reasons":["stale_balance"],"lots":0.5}"#,
    );
    check(case("{}", r#"{"updated_at":"2000-01-01T00:00:00Z"}"#), r#"{"reasons":[]}"#);
}
