//! Tests of what converts the quote currency to the account's.

use super::*;

#[test]
fn a_dollar_quote_needs_no_rate() {
    check(
        Case { rates: &[], ..case("{}", r#"{"account_balance":10850.47}"#) },
        r#"{"loss_per_lot":200,"risk_budget":217.0094,"lots_raw":1.085047,"lots":1.08,"risk_amount":216,
            "reward_amount":432,"risk_reward":2,"stop_pips":20,"target_pips":40,"risk_percent":2,"tradable":true,
            "reasons":[],"status":"active","conversion_rate":1,"rate_seqs":[0,0],"minimum_balance":null}"#,
    );
}

#[test]
fn yen_quotes_are_converted() {
    check(
        case(
            r#"{"symbol":"EURJPY","entry_price":172.895,"stop_loss":172.7221,"take_profit":173.2408}"#,
            r#"{"account_balance":15000,"risk_percent":3}"#,
        ),
        r#"{"loss_per_lot":116.43097643,"lots_raw":3.86495083,"lots":3.86,"risk_amount":449.42356902,
            "risk_budget":450,"reward_amount":898.84713804,"stop_pips":17.29,"target_pips":34.58,
            "conversion_rate":0.00673401,"rate_seqs":[1,0]}"#,
    );
    check(
        case(
            r#"{"symbol":"USDJPY","entry_price":148.5,"stop_loss":148.3,"take_profit":148.9}"#,
            r#"{"account_balance":15000,"risk_percent":3}"#,
        ),
        r#"{"loss_per_lot":134.68013468,"lots_raw":3.34125,"lots":3.34,"risk_amount":449.83164983,
            "reward_amount":899.66329966,"stop_pips":20}"#,
    );
    check(
        case(r#"{"symbol":"CHFJPY","entry_price":185.6,"stop_loss":185.4,"take_profit":null}"#, "{}"),
        r#"{"loss_per_lot":134.68013468,"lots_raw":1.485,"lots":1.48,"risk_amount":199.32659932}"#,
    );
}

#[test]
fn franc_and_canadian_dollar_quotes_are_converted() {
    check(
        case(r#"{"symbol":"USDCHF","entry_price":0.80,"stop_loss":0.798,"take_profit":0.804}"#, "{}"),
        r#"{"loss_per_lot":250,"lots":0.8,"risk_amount":200,"reward_amount":400,"conversion_rate":1.25}"#,
    );
    check(
        case(r#"{"symbol":"GBPCHF","entry_price":1.08,"stop_loss":1.078,"take_profit":null}"#, "{}"),
        r#"{"loss_per_lot":250,"lots":0.8,"risk_amount":200,"conversion_rate":1.25,"rate_seqs":[4,0]}"#,
    );
    check(
        case(r#"{"symbol":"USDCAD","entry_price":1.37,"stop_loss":1.368,"take_profit":1.374}"#, "{}"),
        // 200 / 145.985… is 1.37 exactly, which only a fraction can tell.
        r#"{"loss_per_lot":145.98540145,"lots_raw":1.37,"lots":1.37,"risk_amount":200,"reward_amount":400}"#,
    );
    check(
        case(r#"{"symbol":"AUDCAD","entry_price":0.9,"stop_loss":0.898,"take_profit":null}"#, "{}"),
        r#"{"loss_per_lot":145.98540145,"lots_raw":1.37,"lots":1.37,"risk_amount":200,"rate_seqs":[3,0]}"#,
    );
}

#[test]
fn a_cross_uses_a_stored_rate_in_either_direction() {
    let cross = case(r#"{"symbol":"EURGBP","entry_price":0.865,"stop_loss":0.863,"take_profit":0.869}"#, "{}");
    check(
        cross,
        r#"{"loss_per_lot":268,"lots_raw":0.74626865,"lots":0.74,"risk_amount":198.32,"reward_amount":396.64,
            "conversion_rate":1.34,"rate_seqs":[2,0]}"#,
    );
    check(
        Case { rates: &[("USDGBP", "0.8")], ..cross },
        r#"{"loss_per_lot":250,"lots":0.8,"conversion_rate":1.25,"rate_seqs":[1,0]}"#,
    );
    // With both at hand, the one that needs no division.
    check(Case { rates: &[("USDGBP", "0.8"), ("GBPUSD", "1.34")], ..cross }, r#"{"lots":0.74,"rate_seqs":[2,0]}"#);
    check(
        case(r#"{"symbol":"GBPAUD","entry_price":2.06,"stop_loss":2.058,"take_profit":2.064}"#, "{}"),
        r#"{"loss_per_lot":130,"lots_raw":1.53846153,"lots":1.53,"risk_amount":198.9,"reward_amount":397.8}"#,
    );
}

#[test]
fn without_a_rate_there_are_no_lots() {
    let cross = case(r#"{"symbol":"EURGBP","entry_price":0.865,"stop_loss":0.863,"take_profit":0.869}"#, "{}");
    let unsized_ = r#"{"reasons":["no_conversion_rate"],"tradable":false,"lots_raw":null,"lots":null,
        "risk_amount":null,"reward_amount":null,"conversion_rate":null,"loss_per_lot":null,"minimum_balance":null,
        "risk_budget":200,"risk_reward":2,"stop_pips":20,"target_pips":40}"#;
    check(Case { rates: &[], ..cross }, unsized_);
    // Two steps are no answer where one of them is missing, nor are three.
    check(Case { rates: &[("GBPEUR", "1.15")], ..cross }, unsized_);
    check(Case { rates: &[("GBPEUR", "1.15"), ("EURCHF", "0.93"), ("USDCHF", "0.8")], ..cross }, unsized_);
    check(Case { rates: &[], ..cross }, r#"{"conversion_path":null}"#);
    check(case("{}", "{}"), r#"{"conversion_path":[]}"#);
}

#[test]
fn a_cross_converts_through_a_third_currency() {
    let cross = case(r#"{"symbol":"EURGBP","entry_price":0.865,"stop_loss":0.863,"take_profit":0.869}"#, "{}");
    // Pounds to euros to dollars: a lot loses 200 pounds, and a pound is 1.15 × 1.085 = 1.24775 dollars.
    check(
        Case { rates: &[("GBPEUR", "1.15"), ("EURUSD", "1.085")], ..cross },
        r#"{"loss_per_lot":249.55,"lots_raw":0.80144259,"lots":0.8,"risk_amount":199.64,"reward_amount":399.28,
            "conversion_rate":1.24775,"conversion_path":["GBPEUR","EURUSD"],"rate_seqs":[1,2],"reasons":[]}"#,
    );
    // Both the other way round: 1 / 0.8 / 0.92.
    check(
        Case { rates: &[("USDEUR", "0.92"), ("EURGBP", "0.8")], ..cross },
        r#"{"loss_per_lot":271.73913043,"lots_raw":0.736,"lots":0.73,"risk_amount":198.36956521,
            "conversion_rate":1.35869565,"conversion_path":["EURGBP","USDEUR"],"rate_seqs":[2,1]}"#,
    );
    // Yen of an account in pounds: by the dollar, though the way through euros was stored first.
    check(
        Case {
            rates: &[("EURJPY", "160"), ("EURGBP", "0.86"), ("USDJPY", "148.5"), ("GBPUSD", "1.35")],
            ..case(
                r#"{"symbol":"USDJPY","entry_price":148.5,"stop_loss":148.3,"take_profit":null}"#,
                r#"{"account_currency":"GBP"}"#,
            )
        },
        r#"{"loss_per_lot":99.76306272,"lots":2,"risk_amount":199.52612545,"conversion_rate":0.00498815,
            "conversion_path":["USDJPY","GBPUSD"],"rate_seqs":[3,4]}"#,
    );
    // A rate of the two themselves is nearer, whatever its age.
    check(
        Case { rates: &[("GBPUSD", "1.34"), ("GBPEUR", "1.15"), ("EURUSD", "1.085")], ..cross },
        r#"{"lots":0.74,"conversion_path":["GBPUSD"]}"#,
    );
}

#[test]
fn an_account_in_the_pairs_base_converts_by_the_entry() {
    // A stored rate of the same pair is older than the signal's own price.
    check(
        Case { rates: &[("EURUSD", "1.2")], ..case("{}", r#"{"account_currency":"EUR"}"#) },
        r#"{"loss_per_lot":184.33179723,"lots_raw":1.085,"lots":1.08,"risk_amount":199.07834101,
            "reward_amount":398.15668202,"conversion_rate":0.92165899,"conversion_path":["EURUSD"],"rate_seqs":[0,0]}"#,
    );
    check(
        Case {
            rates: &[],
            ..case(r#"{"symbol":"USDJPY","entry_price":148.5,"stop_loss":148.3,"take_profit":null}"#, "{}")
        },
        r#"{"loss_per_lot":134.68013468,"conversion_rate":0.00673401,"rate_seqs":[0,0],"reasons":[]}"#,
    );
    // Without an entry it takes a stored rate.
    check(
        Case {
            rates: &[("EURUSD", "1.25")],
            ..case(
                r#"{"entry_price":null,"stop_loss":null,"take_profit":null,"stop_pips":20}"#,
                r#"{"account_currency":"EUR"}"#,
            )
        },
        r#"{"loss_per_lot":160,"lots":1.25,"conversion_rate":0.8,"rate_seqs":[1,0]}"#,
    );
}

#[test]
fn accounts_hold_other_currencies_than_dollars() {
    check(
        case(
            r#"{"symbol":"USDJPY","entry_price":148.5,"stop_loss":148.3,"take_profit":148.9}"#,
            r#"{"account_currency":"JPY","account_balance":1000000}"#,
        ),
        r#"{"loss_per_lot":20000,"lots":1,"risk_amount":20000,"conversion_rate":1,"rate_seqs":[0,0]}"#,
    );
    check(
        case("{}", r#"{"account_currency":"JPY","account_balance":1000000}"#),
        r#"{"loss_per_lot":29700,"lots_raw":0.67340067,"lots":0.67,"risk_amount":19899,"conversion_rate":148.5}"#,
    );
    check(
        Case {
            rates: &[("EURUSD", "1.1")],
            ..case(r#"{"symbol":"GER40","entry_price":24000,"stop_loss":23950,"take_profit":24100}"#, "{}")
        },
        r#"{"loss_per_lot":55,"lots_raw":3.63636363,"lots":3.6,"risk_amount":198,"reward_amount":396}"#,
    );
}
