//! Tests of sizes and of amounts of risk, to the last lot step and the last decimal.

use super::*;

#[test]
fn an_exact_lot_is_a_whole_lot() {
    // Binary floats make 0.9999999999999991 lots of this, hence 0.99, and 0.28 of the other.
    check(case("{}", "{}"), r#"{"loss_per_lot":200,"lots_raw":1,"lots":1,"risk_amount":200,"risk_budget":200}"#);
    check(case("{}", r#"{"account_balance":2900}"#), r#"{"lots_raw":0.29,"lots":0.29,"risk_amount":58}"#);
}

#[test]
fn metals_and_coins_have_lots_of_their_own() {
    check(
        case(r#"{"symbol":"XAUUSD","entry_price":3400,"stop_loss":3395,"take_profit":3410}"#, "{}"),
        r#"{"loss_per_lot":500,"lots":0.4,"risk_amount":200,"reward_amount":400,"stop_pips":50}"#,
    );
    check(
        case(r#"{"symbol":"XAGUSD","entry_price":38.0,"stop_loss":37.8,"take_profit":38.4}"#, "{}"),
        r#"{"loss_per_lot":1000,"lots":0.2,"risk_amount":200,"reward_amount":400,"stop_pips":20}"#,
    );
    check(
        case(r#"{"symbol":"BTCUSD","entry_price":115000,"stop_loss":114000,"take_profit":117000}"#, "{}"),
        // The budget allows 0.2, for which half of 23,000 dollars would have to be free.
        r#"{"loss_per_lot":1000,"lots_raw":0.2,"lots":0.17,"limited_by":"margin","risk_amount":170,"reward_amount":340,
            "stop_pips":1000}"#,
    );
    check(
        Case {
            rates: &[("EURUSD", "1.1")],
            ..case(
                r#"{"symbol":"XAUEUR","entry_price":3400,"stop_loss":3395,"take_profit":3410}"#,
                r#"{"account_currency":"USD"}"#,
            )
        },
        r#"{"loss_per_lot":550,"lots":0.36,"risk_amount":198,"conversion_rate":1.1}"#,
    );
}

#[test]
fn a_sale_is_sized_like_a_purchase() {
    check(
        case(r#"{"direction":"SELL","entry_price":1.083,"stop_loss":1.085,"take_profit":1.078}"#, "{}"),
        r#"{"lots":1,"risk_amount":200,"reward_amount":500,"risk_reward":2.5,"stop_pips":20,"target_pips":50}"#,
    );
}

#[test]
fn one_unit_of_the_balance_decides_over_the_smallest_lot() {
    // 0.01 lots lose 2 dollars, which are 2 percent of 100.
    check(case("{}", r#"{"account_balance":100}"#), r#"{"lots_raw":0.01,"lots":0.01,"risk_amount":2,"reasons":[]}"#);
    check(
        case("{}", r#"{"account_balance":99.99999999}"#),
        r#"{"lots_raw":0.00999999,"lots":0,"risk_amount":0,"reasons":["below_minimum_lot"],"minimum_balance":100,
            "risk_budget":1.99999999}"#,
    );
}

/// Checks that `balance` is named as the least that would do, does, and that one unit less does not.
#[track_caller]
fn check_minimum_balance(signal: &str, risk_percent: &str, balance: &str) {
    let least = Decimal::parse(balance).unwrap();
    let less = least.checked_sub(Decimal::from_units(1)).unwrap();
    let overlay = |balance: Decimal| format!(r#"{{"account_balance":{balance},"risk_percent":{risk_percent}}}"#);
    let below = format!(r#"{{"lots":0,"risk_amount":0,"reasons":["below_minimum_lot"],"minimum_balance":{balance}}}"#);
    check(case(signal, &overlay(Decimal::from_units(1))), &below);
    check(case(signal, &overlay(less)), &below);
    check(case(signal, &overlay(least)), r#"{"reasons":[],"minimum_balance":null}"#);
}

#[test]
fn the_minimum_balance_is_exactly_sufficient() {
    check_minimum_balance("{}", "2", "100");
    let yen = r#"{"symbol":"USDJPY","entry_price":148.5,"stop_loss":148.3,"take_profit":null}"#;
    check_minimum_balance(yen, "3", "44.89337823");
    check_minimum_balance(yen, "0.00000001", "13468013468.01346802");
    let yen_cross = r#"{"symbol":"CHFJPY","entry_price":185.6,"stop_loss":185.4,"take_profit":null}"#;
    check_minimum_balance(yen_cross, "2", "67.34006735");
    // The smallest multiple of 0.03 from 0.05 on is 0.06, which loses 0.6.
    let odd = r#"{"symbol":"ODD","entry_price":100,"stop_loss":90,"take_profit":null}"#;
    check_minimum_balance(odd, "3", "20");
    check_minimum_balance(odd, "7", "8.57142858");
}

#[test]
fn a_minimum_balance_that_no_account_can_have_is_not_named() {
    check(
        case(r#"{"symbol":"VAST","entry_price":3,"stop_loss":1,"take_profit":null}"#, r#"{"risk_percent":1}"#),
        r#"{"lots":0,"reasons":["below_minimum_lot"],"minimum_balance":null}"#,
    );
}

#[test]
fn large_accounts_are_sized_exactly() {
    check(
        case("{}", r#"{"account_balance":1000000000}"#),
        r#"{"risk_budget":20000000,"lots_raw":100000,"lots":100,"risk_amount":20000}"#,
    );
    let yen = r#"{"symbol":"USDJPY","entry_price":148.5,"stop_loss":148.3,"take_profit":148.9}"#;
    check(
        case(yen, r#"{"account_balance":1000000000,"account_currency":"JPY"}"#),
        r#"{"risk_budget":20000000,"lots_raw":1000,"lots":100,"risk_amount":2000000,"reward_amount":4000000}"#,
    );
    check(
        case("{}", r#"{"account_balance":92000000000}"#),
        r#"{"risk_budget":1840000000,"lots_raw":9200000,"lots":100,"risk_amount":20000}"#,
    );
    check(
        case("{}", r#"{"account_balance":92233720368.54775807,"risk_percent":100}"#),
        r#"{"risk_budget":92233720368.54775807,"lots_raw":461168601.84273879,"lots":100}"#,
    );
    check(
        case(
            r#"{"symbol":"VAST","entry_price":1.00000001,"stop_loss":1,"take_profit":null}"#,
            r#"{"account_balance":92233720368.54775807,"risk_percent":100}"#,
        ),
        r#"{"loss_per_lot":900,"lots_raw":102481911.52060862,"lots":102481911,"risk_amount":92233719900}"#,
    );
}

/// Balance, percentage and a rate of ten digits: a product of more than 128 bits.
#[test]
fn the_largest_account_is_sized_exactly_by_the_longest_rate() {
    check(
        Case {
            rates: &[("USDJPY", "148.50000001")],
            ..case(
                r#"{"symbol":"CHFJPY","entry_price":185.61234567,"stop_loss":185.41234566,"take_profit":null}"#,
                r#"{"account_balance":92233720368.54775807,"risk_percent":100}"#,
            )
        },
        r#"{"loss_per_lot":134.6801414,"lots_raw":684835339.54081698,"lots":100,"risk_amount":13468.0141405}"#,
    );
}

#[test]
fn what_does_not_fit_is_said_and_never_wrapped() {
    let nothing = r#"{"reasons":["out_of_range"],"lots_raw":null,"lots":null,"risk_amount":null,
        "reward_amount":null,"minimum_balance":null}"#;
    // The raw size, where a lot loses next to nothing.
    let tiny = r#"{"symbol":"TINY","entry_price":1.00000001,"stop_loss":1,"take_profit":null}"#;
    check(case(tiny, "{}"), nothing);
    // The reward, where the target is billions of stops away.
    check(
        case(r#"{"entry_price":1,"stop_loss":0.99999999,"take_profit":92000000000}"#, r#"{"account_balance":1}"#),
        nothing,
    );
    // The target in a currency, where a pip is more than one. Such a stop is a distance that no balance would do for.
    check(
        case(
            r#"{"symbol":"COARSE","entry_price":null,"stop_loss":null,"take_profit":null,"stop_pips":1,
                "target_pips":92000000000}"#,
            "{}",
        ),
        nothing,
    );
    check(
        case(
            r#"{"symbol":"COARSE","entry_price":null,"stop_loss":null,"take_profit":null,"stop_pips":92000000000}"#,
            "{}",
        ),
        r#"{"lots":0,"risk_amount":0,"minimum_balance":null,"reasons":["below_minimum_lot"]}"#,
    );
}

#[test]
fn numbers_that_no_input_can_hold_give_no_size() {
    let now = UnixMillis::parse(NOW).unwrap();
    let object = |text: &str| Object::parse(text.as_bytes()).unwrap();
    let signal = SignalDraft::from_object(object(SIGNAL), None).unwrap().resolve(now, 1).unwrap();
    let overlay = OverlayDraft::from_object(object(OVERLAY), None).unwrap().resolve(now);
    let (instruments, tiers) = (Instruments::built_in().unwrap(), Tiers::built_in().unwrap());
    let market =
        Market { instruments: &instruments, tiers: &tiers, rates: &Rates::default(), max_ages: MaxAges::default() };
    let (least, most) = (Decimal::from_units(i64::MIN), Decimal::from_units(i64::MAX));
    let out_of_range = |signal: &Signal, overlay: &Overlay| {
        let mission = compute(signal, overlay, None, market, now);
        assert!(mission.reasons.contains(Reason::OutOfRange), "{mission:?}");
        assert_eq!((mission.lots, mission.risk_amount), (None, None));
    };
    out_of_range(&signal, &Overlay { risk_percent: Some(least), ..overlay.clone() });
    out_of_range(&signal, &Overlay { risk_percent: Some(most), account_balance: Some(most), ..overlay.clone() });
    for levels in [
        Levels::Prices { entry: least, stop: most, target: None },
        Levels::Prices { entry: most, stop: most, target: None },
        Levels::Pips { entry: None, stop: least, target: Some(most) },
        Levels::Pips { entry: None, stop: Decimal::ZERO, target: None },
    ] {
        out_of_range(&Signal { levels, ..signal.clone() }, &overlay);
    }
    let in_euros = Overlay { account_currency: Currency::parse("EUR").unwrap(), ..overlay };
    for entry in [least, Decimal::ZERO] {
        let levels = Levels::Pips { entry: Some(entry), stop: Decimal::ONE, target: None };
        out_of_range(&Signal { levels, ..signal.clone() }, &in_euros);
    }
}
