//! Tests of targets, and of the parts of a size that they get.

use super::*;

#[test]
fn without_a_target_there_is_no_reward() {
    check(
        case(r#"{"take_profit":null}"#, "{}"),
        r#"{"lots":1,"risk_amount":200,"reward_amount":null,"risk_reward":null,"target_pips":null,"tradable":true}"#,
    );
}

#[test]
fn one_target_is_a_list_of_one() {
    check(
        case("{}", "{}"),
        r#"{"targets":[{"price":1.089,"pips":40,"risk_reward":2,"share":100,"lots":1,"reward_amount":400}]}"#,
    );
    check(case(r#"{"take_profit":null}"#, "{}"), r#"{"targets":[]}"#);
    check(
        case(r#"{"take_profit":null,"take_profits":[1.089]}"#, "{}"),
        r#"{"targets":[{"price":1.089,"pips":40,"risk_reward":2,"share":100,"lots":1,"reward_amount":400}],
            "target_pips":40,"risk_reward":2,"reward_amount":400}"#,
    );
}

#[test]
fn each_target_has_its_numbers() {
    // A lot gains 200, 400 and 600; the first target gets the hundredth that is left.
    check(
        case(r#"{"take_profit":null,"take_profits":[1.087,1.089,1.091]}"#, "{}"),
        r#"{"lots":1,"risk_amount":200,"target_pips":20,"risk_reward":1,"reward_amount":398,"targets":[
            {"price":1.087,"pips":20,"risk_reward":1,"share":33.33333333,"lots":0.34,"reward_amount":68},
            {"price":1.089,"pips":40,"risk_reward":2,"share":33.33333333,"lots":0.33,"reward_amount":132},
            {"price":1.091,"pips":60,"risk_reward":3,"share":33.33333333,"lots":0.33,"reward_amount":198}]}"#,
    );
    // The order is that of publication, and the single numbers are those of the first target.
    check(
        case(r#"{"take_profit":null,"take_profits":[{"price":1.091,"share":25},{"price":1.086,"share":75}]}"#, "{}"),
        r#"{"target_pips":60,"risk_reward":3,"reward_amount":225,"targets":[
            {"price":1.091,"pips":60,"risk_reward":3,"share":25,"lots":0.25,"reward_amount":150},
            {"price":1.086,"pips":10,"risk_reward":0.5,"share":75,"lots":0.75,"reward_amount":75}]}"#,
    );
    check(
        case(r#"{"take_profit":null,"take_profits":[1.087,1.089]}"#, r#"{"account_balance":null}"#),
        r#"{"lots":null,"reward_amount":null,"target_pips":20,"targets":[
            {"price":1.087,"pips":20,"risk_reward":1,"share":50,"lots":null,"reward_amount":null},
            {"price":1.089,"pips":40,"risk_reward":2,"share":50,"lots":null,"reward_amount":null}]}"#,
    );
}

/// Compares only the lots of each target.
#[track_caller]
fn check_split(shares: &[&str], balance: &str, expected: &[&str]) {
    let share = |share: &&str| if share.is_empty() { String::new() } else { format!(r#","share":{share}"#) };
    let targets: Vec<_> = shares.iter().map(|text| format!(r#"{{"price":1.089{}}}"#, share(text))).collect();
    let signal = format!(r#"{{"take_profit":null,"take_profits":[{}]}}"#, targets.join(","));
    let overlay = format!(r#"{{"account_balance":{balance}}}"#);
    let case = case(&signal, &overlay);
    check(case, "{}");
    let (mission, terms) = case.compute();
    let lots = (0..shares.len()).map(|at| terms.part(at, &mission).lots.unwrap().to_string());
    assert_eq!(lots.collect::<Vec<_>>(), expected, "{shares:?} of {}", mission.lots.unwrap());
}

#[test]
fn a_size_is_split_by_shares_to_the_lot_step_and_the_first_target_gets_what_is_left() {
    // 2 percent of 10,000 are one lot.
    for (shares, balance, expected) in [
        (&["34", "33", "33"][..], "10000", &["0.34", "0.33", "0.33"][..]),
        (&["", "", ""], "10000", &["0.34", "0.33", "0.33"]),
        (&["33", "33", "34"], "10000", &["0.33", "0.33", "0.34"]),
        (&["", "", "", "", "", "", ""], "10000", &["0.16", "0.14", "0.14", "0.14", "0.14", "0.14", "0.14"]),
        (&["50", "50"], "9900", &["0.5", "0.49"]),
        (&["12.5", "87.5"], "10000", &["0.13", "0.87"]),
        // A third of three steps is one step; 33.33 percent of them are none.
        (&["", "", ""], "300", &["0.01", "0.01", "0.01"]),
        (&["33.33", "33.33", "33.34"], "300", &["0.02", "0", "0.01"]),
        // Shares of less than a hundred percent leave more to the first.
        (&["50", "30"], "10000", &["0.7", "0.3"]),
        (&["0.00000001"], "10000", &["1"]),
        (&["10", "0.99999999"], "10000", &["1", "0"]),
        // A size with fewer steps than targets, and none.
        (&["", "", ""], "100", &["0.01", "0", "0"]),
        (&["", "", ""], "200", &["0.02", "0", "0"]),
        (&["10", "90"], "100", &["0.01", "0"]),
        (&["0.00000001", "99.99999999"], "10000", &["0.01", "0.99"]),
        (&["1", "99"], "50", &["0", "0"]),
    ] {
        check_split(shares, balance, expected);
    }
}

#[test]
fn a_size_in_steps_of_three_hundredths_is_split_into_such_steps() {
    // The cap of one lot holds 33 steps.
    let signal = r#"{"symbol":"ODD","take_profit":null,"take_profits":[
        {"price":1.089,"share":50},{"price":1.09,"share":30},{"price":1.091,"share":20}]}"#;
    check(
        case(signal, "{}"),
        r#"{"lots":0.99,"reward_amount":0.00459,"targets":[
            {"price":1.089,"pips":0.004,"risk_reward":2,"share":50,"lots":0.54,"reward_amount":0.00216},
            {"price":1.09,"pips":0.005,"risk_reward":2.5,"share":30,"lots":0.27,"reward_amount":0.00135},
            {"price":1.091,"pips":0.006,"risk_reward":3,"share":20,"lots":0.18,"reward_amount":0.00108}]}"#,
    );
}

#[test]
fn targets_may_be_given_in_pips_and_stops_in_prices_and_the_other_way_round() {
    let both = r#"[{"pips":20,"share":50},{"price":1.089,"share":50}]"#;
    let expected = r#"{"lots":1,"reward_amount":300,"targets":[
        {"price":1.087,"pips":20,"risk_reward":1,"share":50,"lots":0.5,"reward_amount":100},
        {"price":1.089,"pips":40,"risk_reward":2,"share":50,"lots":0.5,"reward_amount":200}]}"#;
    check(case(&format!(r#"{{"take_profit":null,"take_profits":{both}}}"#), "{}"), expected);
    let stop_in_pips = format!(r#"{{"stop_loss":null,"stop_pips":20,"take_profit":null,"take_profits":{both}}}"#);
    check(case(&stop_in_pips, "{}"), expected);
    // 30.00001 pips of 0.0001 are 0.003000001.
    check(
        case(r#"{"take_profit":null,"take_profits":[{"pips":30.00001}]}"#, "{}"),
        r#"{"lots":1,"targets":[
            {"price":1.088,"pips":30.00001,"risk_reward":1.5000005,"share":100,"lots":1,"reward_amount":300.0001}]}"#,
    );
    // A sale gains below the entry; no price lies 20,000 pips below it, and none is known without an entry.
    check(
        case(
            r#"{"direction":"SELL","stop_loss":1.087,"take_profit":null,"take_profits":[{"pips":20},{"pips":20000}]}"#,
            "{}",
        ),
        r#"{"targets":[
            {"price":1.083,"pips":20,"risk_reward":1,"share":50,"lots":0.5,"reward_amount":100},
            {"price":null,"pips":20000,"risk_reward":1000,"share":50,"lots":0.5,"reward_amount":100000}]}"#,
    );
    check(
        case(
            r#"{"entry_price":null,"stop_loss":null,"stop_pips":20,"take_profit":null,"take_profits":[{"pips":20}]}"#,
            "{}",
        ),
        r#"{"targets":[{"price":null,"pips":20,"risk_reward":1,"share":100,"lots":1,"reward_amount":200}]}"#,
    );
}

#[test]
fn targets_of_an_unknown_symbol_show_what_needs_no_pip() {
    check(
        case(r#"{"symbol":"NOSUCH","take_profit":null,"take_profits":[1.089,{"pips":20}]}"#, "{}"),
        r#"{"reasons":["unknown_symbol"],"target_pips":null,"risk_reward":2,"targets":[
            {"price":1.089,"pips":null,"risk_reward":2,"share":50,"lots":null,"reward_amount":null},
            {"price":null,"pips":20,"risk_reward":null,"share":50,"lots":null,"reward_amount":null}]}"#,
    );
}
