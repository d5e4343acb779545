//! Tests of what limits a size: margin, tier and instrument.

use super::*;

#[test]
fn the_free_margin_caps_the_size() {
    // A lot of EURUSD at 1.085 is worth 108,500 dollars; at 1:30 it needs 3,616.67 of margin.
    let with = |overlay: &'static str| case("{}", overlay);
    check(
        with(r#"{"leverage":30,"free_margin":1000}"#),
        r#"{"lots_raw":1,"lots":0.27,"limited_by":"margin","margin_required":976.5,"risk_amount":54,"reasons":[]}"#,
    );
    // Exactly enough for one lot, and a cent less.
    check(with(r#"{"leverage":31,"free_margin":3500}"#), r#"{"lots":1,"limited_by":"risk","margin_required":3500}"#);
    check(with(r#"{"leverage":31,"free_margin":3499.99}"#), r#"{"lots":0.99,"limited_by":"margin"}"#);
    // Without a free margin the equity counts, and without that the balance of 10,000.
    check(with(r#"{"leverage":1,"account_equity":2170}"#), r#"{"lots":0.02,"limited_by":"margin"}"#);
    check(with(r#"{"leverage":1}"#), r#"{"lots":0.09,"limited_by":"margin","margin_required":9765}"#);
    // Less than the smallest size needs: 1,085 / 30, rounded up.
    check(
        with(r#"{"leverage":30,"free_margin":36.16}"#),
        r#"{"lots":0,"reasons":["insufficient_margin"],"minimum_margin":36.16666667,"limited_by":"margin",
            "margin_required":0,"risk_amount":0,"minimum_balance":null}"#,
    );
    check(with(r#"{"leverage":30,"free_margin":36.16666667}"#), r#"{"lots":0.01,"reasons":[],"minimum_margin":null}"#);
    check(
        with(r#"{"leverage":30,"free_margin":-5}"#),
        r#"{"lots":0,"reasons":["insufficient_margin"],"minimum_margin":36.16666667}"#,
    );
    // Without a leverage nothing is known of the margin.
    check(with(r#"{"free_margin":1}"#), r#"{"lots":1,"limited_by":"risk","margin_required":null}"#);
}

#[test]
fn the_margin_is_in_the_accounts_currency_and_needs_a_price() {
    // A lot of USDJPY is 100,000 dollars, whatever the yen: at 1:20 it needs 5,000.
    let yen = r#"{"symbol":"USDJPY","entry_price":148.5,"stop_loss":148.3,"take_profit":null}"#;
    check(case(yen, r#"{"leverage":20,"free_margin":5000}"#), r#"{"lots":1,"margin_required":5000}"#);
    let in_pips = r#"{"entry_price":null,"stop_loss":null,"take_profit":null,"stop_pips":20}"#;
    check(
        case(in_pips, r#"{"leverage":20,"free_margin":1}"#),
        r#"{"lots":1,"margin_required":null,"limited_by":"risk"}"#,
    );
}

#[test]
fn the_stricter_of_leverage_and_margin_percent_counts() {
    // A coin at 100,000 dollars with a margin of 50 percent: 10,000 dollars carry a fifth of one.
    let coin = r#"{"symbol":"BTCUSD","entry_price":100000,"stop_loss":99990,"take_profit":null}"#;
    check(case(coin, "{}"), r#"{"lots_raw":20,"lots":0.2,"limited_by":"margin","margin_required":10000}"#);
    check(case(coin, r#"{"leverage":100}"#), r#"{"lots":0.2,"margin_required":10000}"#);
    check(case(coin, r#"{"leverage":1}"#), r#"{"lots":0.1,"margin_required":10000}"#);
    // A tier's leverage is for overlays that name none.
    let levered = r#"{"tier":"LEVERED"}"#;
    check(case("{}", levered), r#"{"lots":0.92,"limited_by":"margin","margin_required":9982}"#);
    check(case("{}", r#"{"tier":"LEVERED","leverage":100}"#), r#"{"lots":1,"limited_by":"risk"}"#);
}

#[test]
fn the_limit_that_decided_is_named() {
    check(case("{}", "{}"), r#"{"limited_by":"risk"}"#);
    check(case("{}", r#"{"tier":"PRESS_PASS"}"#), r#"{"lots":0.1,"limited_by":"tier"}"#);
    check(case("{}", r#"{"account_balance":10000000}"#), r#"{"lots":100,"limited_by":"instrument"}"#);
    // Of two that give the same, the first.
    check(case("{}", r#"{"tier":"NIBBLER"}"#), r#"{"lots":1,"limited_by":"risk"}"#);
    check(case("{}", r#"{"account_balance":null}"#), r#"{"limited_by":null,"margin_required":null}"#);
}

#[test]
fn the_tier_and_the_instrument_cap_the_size() {
    let rich = |tier: &str| format!(r#"{{"account_balance":100000,"tier":"{tier}"}}"#);
    check(
        case("{}", &rich("NIBBLER")),
        r#"{"lots_raw":10,"lots":1,"risk_amount":200,"risk_budget":2000,"reasons":[]}"#,
    );
    check(case("{}", &rich("COMMANDER")), r#"{"lots_raw":10,"lots":10}"#);
    // A cap between two steps counts as the lower.
    check(case("{}", &rich("UNEVEN")), r#"{"lots":0.33,"risk_amount":66,"reward_amount":132}"#);
    check(
        case("{}", r#"{"account_balance":2000000}"#),
        r#"{"lots_raw":200,"lots":100,"risk_amount":20000,"risk_budget":40000,"tradable":true}"#,
    );
    let odd = r#"{"symbol":"ODD","entry_price":100,"stop_loss":90,"take_profit":null}"#;
    check(case(odd, "{}"), r#"{"lots_raw":20,"lots":0.99,"risk_amount":9.9}"#);
    // The lower of the two caps counts, whichever it is.
    check(case(odd, &rich("COMMANDER")), r#"{"lots":0.99}"#);
    check(case(odd, &rich("UNEVEN")), r#"{"lots":0.33}"#);
    check(case(odd, r#"{"account_balance":49.9}"#), r#"{"lots_raw":0.0998,"lots":0.09,"risk_amount":0.9}"#);
}

#[test]
fn a_cap_below_the_smallest_lot_leaves_nothing_and_no_balance_would_help() {
    check(
        case("{}", r#"{"tier":"SMALL"}"#),
        r#"{"reasons":["below_minimum_lot"],"lots_raw":1,"lots":0,"risk_amount":0,"minimum_balance":null}"#,
    );
    // Steps of 0.03 reach 0.05 at 0.06, which is above the cap.
    check(
        case(r#"{"symbol":"NARROW","entry_price":100,"stop_loss":90,"take_profit":null}"#, "{}"),
        r#"{"reasons":["below_minimum_lot"],"lots":0,"minimum_balance":null}"#,
    );
}
