//! Tests of what a user may risk: balance or equity, the overlay's percent or the tier's.

use super::*;

#[test]
fn the_risk_may_be_taken_of_the_equity() {
    check(
        case("{}", r#"{"risk_basis":"equity","account_equity":5000}"#),
        r#"{"risk_budget":100,"lots":0.5,"risk_amount":100,"reasons":[]}"#,
    );
    check(case("{}", r#"{"risk_basis":"balance","account_equity":5000}"#), r#"{"risk_budget":200,"lots":1}"#);
    check(
        case("{}", r#"{"risk_basis":"equity"}"#),
        r#"{"reasons":["no_equity"],"risk_budget":null,"lots":null,"limited_by":null}"#,
    );
    check(case("{}", r#"{"risk_basis":"equity","account_equity":5000,"account_balance":null}"#), r#"{"lots":0.5}"#);
}

#[test]
fn an_account_in_debt_is_taken_and_gets_no_size() {
    check(
        case("{}", r#"{"account_balance":-250.5}"#),
        r#"{"reasons":["negative_balance","below_minimum_lot"],"risk_budget":0,"lots_raw":0,"lots":0,"risk_amount":0,
            "minimum_balance":100}"#,
    );
    // Open positions have lost more than the balance: no new one, though the risk is taken of the balance.
    check(
        case("{}", r#"{"account_equity":-1}"#),
        r#"{"reasons":["negative_equity"],"risk_budget":200,"lots_raw":1,"lots":0,"risk_amount":0}"#,
    );
}

#[test]
fn a_balance_of_zero_is_a_balance() {
    check(
        case("{}", r#"{"account_balance":0}"#),
        r#"{"reasons":["below_minimum_lot"],"risk_budget":0,"lots_raw":0,"lots":0,"risk_amount":0,
            "reward_amount":0,"minimum_balance":100}"#,
    );
}

#[test]
fn no_balance_is_never_made_one() {
    check(
        case("{}", r#"{"account_balance":null}"#),
        r#"{"reasons":["no_balance"],"risk_budget":null,"lots_raw":null,"lots":null,"risk_amount":null,
            "reward_amount":null,"minimum_balance":null,"risk_percent":2,"stop_pips":20,"risk_reward":2}"#,
    );
}

#[test]
fn a_risk_of_zero_sizes_nothing_and_no_balance_would_help() {
    check(
        case("{}", r#"{"risk_percent":0}"#),
        r#"{"reasons":["zero_risk"],"lots":0,"risk_amount":0,"minimum_balance":null}"#,
    );
    // The tier's risk is for overlays that name none, not for those that name zero.
    check(case("{}", r#"{"risk_percent":0,"tier":"FANG"}"#), r#"{"risk_percent":0,"lots":0}"#);
}

#[test]
fn the_tiers_risk_is_for_overlays_that_name_none() {
    check(
        case("{}", r#"{"risk_percent":null,"tier":"fang"}"#),
        r#"{"risk_percent":2.5,"risk_budget":250,"lots":1.25,"reasons":[]}"#,
    );
    check(case("{}", r#"{"tier":"fang"}"#), r#"{"risk_percent":2,"lots":1}"#);
    check(case("{}", r#"{"risk_percent":null,"tier":"predator"}"#), r#"{"risk_percent":2.5,"lots":1.25}"#);
}

#[test]
fn without_a_tier_no_tiers_limits_apply() {
    check(case(r#"{"confidence":1}"#, r#"{"account_balance":1000000}"#), r#"{"lots":100,"lots_raw":100,"reasons":[]}"#);
    check(
        case("{}", r#"{"risk_percent":null}"#),
        r#"{"reasons":["no_risk_percent"],"risk_percent":null,"risk_budget":null,"lots":null}"#,
    );
}

#[test]
fn an_unknown_tier_has_unknown_limits() {
    check(
        case("{}", r#"{"tier":"AUTHORIZED"}"#),
        r#"{"reasons":["unknown_tier"],"risk_budget":200,"lots_raw":null,"lots":null,"risk_amount":null}"#,
    );
    check(
        case("{}", r#"{"tier":"AUTHORIZED","risk_percent":null}"#),
        r#"{"reasons":["unknown_tier","no_risk_percent"],"risk_budget":null,"lots":null}"#,
    );
}
