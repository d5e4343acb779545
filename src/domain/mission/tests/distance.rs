//! Tests of distances in price and in pips.

use super::*;

#[test]
fn pips_alone_are_enough_for_a_known_symbol() {
    let in_pips = r#"{"entry_price":null,"stop_loss":null,"take_profit":null,"stop_pips":20,"target_pips":50}"#;
    check(
        case(in_pips, "{}"),
        r#"{"lots":1,"risk_amount":200,"reward_amount":500,"risk_reward":2.5,"stop_pips":20,"target_pips":50}"#,
    );
    // An entry changes nothing where nothing is converted, and is what converts where the account holds the base.
    let with_entry = r#"{"stop_loss":null,"take_profit":null,"stop_pips":20,"target_pips":50}"#;
    check(case(with_entry, "{}"), r#"{"lots":1,"risk_amount":200}"#);
    check(
        Case { rates: &[], ..case(with_entry, r#"{"account_currency":"EUR"}"#) },
        r#"{"lots":1.08,"risk_amount":199.07834101}"#,
    );
    check(
        Case { rates: &[], ..case(in_pips, r#"{"account_currency":"EUR"}"#) },
        r#"{"lots":null,"reasons":["no_conversion_rate"]}"#,
    );
    check(
        case(
            r#"{"symbol":"USDJPY","entry_price":null,"stop_loss":null,"take_profit":null,"stop_pips":20}"#,
            r#"{"account_balance":15000,"risk_percent":3}"#,
        ),
        r#"{"loss_per_lot":134.68013468,"lots":3.34,"target_pips":null,"reward_amount":null,"rate_seqs":[1,0]}"#,
    );
}

#[test]
fn a_distance_in_pips_may_have_more_decimals_than_a_price() {
    // 20.00001 pips of 0.0001 are 0.002000001.
    check(
        case(
            r#"{"entry_price":null,"stop_loss":null,"take_profit":null,
                "stop_pips":20.00001,"target_pips":40.00009}"#,
            "{}",
        ),
        r#"{"loss_per_lot":200.0001,"lots":0.99,"risk_amount":198.000099,"reward_amount":396.000891}"#,
    );
    // A budget of just what one lot loses.
    check(
        case(
            r#"{"entry_price":null,"stop_loss":null,"take_profit":null,"stop_pips":20.12345678,"target_pips":0.00001}"#,
            r#"{"account_balance":10061.72839}"#,
        ),
        r#"{"loss_per_lot":201.2345678,"lots_raw":1,"lots":1,"risk_amount":201.2345678,"reward_amount":0.0001}"#,
    );
}

#[test]
fn a_distance_that_can_not_be_shown_has_its_reason() {
    check(
        case(r#"{"entry_price":92000000001,"stop_loss":1,"take_profit":null}"#, "{}"),
        r#"{"stop_pips":null,"target_pips":null,"reasons":["below_minimum_lot","out_of_range"]}"#,
    );
    check(
        case(r#"{"entry_price":1,"stop_loss":0.5,"take_profit":40000000}"#, "{}"),
        r#"{"stop_pips":5000,"target_pips":null,"risk_reward":79999998,"reasons":["below_minimum_lot","out_of_range"]}"#,
    );
    check(
        case(
            r#"{"entry_price":null,"stop_loss":null,"take_profit":null,"stop_pips":0.00000001,"target_pips":1000}"#,
            "{}",
        ),
        r#"{"stop_pips":0.00000001,"target_pips":1000,"risk_reward":null,"reasons":["out_of_range"]}"#,
    );
    // No entry of the table, so no pip: the symbol is the reason.
    check(
        case(r#"{"symbol":"NOWHERE","entry_price":92000000001,"stop_loss":1,"take_profit":null}"#, "{}"),
        r#"{"stop_pips":null,"reasons":["unknown_symbol"]}"#,
    );
}

#[test]
fn an_unknown_symbol_has_no_size() {
    check(
        case(r#"{"symbol":"GBPXYZ"}"#, "{}"),
        r#"{"reasons":["unknown_symbol"],"stop_pips":null,"target_pips":null,"risk_reward":2,"risk_budget":200,
            "lots":null,"lots_raw":null,"conversion_rate":null,"loss_per_lot":null}"#,
    );
    // Pips are as published; only what one of them is worth is not known.
    check(
        case(
            r#"{"symbol":"GBPXYZ","entry_price":null,"stop_loss":null,"take_profit":null,
                "stop_pips":20,"target_pips":30}"#,
            "{}",
        ),
        r#"{"reasons":["unknown_symbol"],"stop_pips":20,"target_pips":30,"risk_reward":1.5,"lots":null}"#,
    );
    // A broker's suffix makes another symbol.
    check(case(r#"{"symbol":"EURUSD.m"}"#, "{}"), r#"{"reasons":["unknown_symbol"]}"#);
}
