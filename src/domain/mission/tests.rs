//! Missions as a table of values: a signal and an overlay in, the numbers and the reasons out.
//!
//! Each case names only what differs from one ordinary signal and one ordinary overlay, as a merge patch, and only
//! those members of the answer that it is about; the numbers are compared as text, digit by digit. The expected
//! sizes were worked out apart from this program, with fractions.

use super::*;
use crate::domain::{Levels, Object, OverlayDraft, Pair, Rate, SignalDraft, UserId};
use crate::render;

/// Long at 1.085 with 20 pips to lose and 40 to win, published at 16:00 for an hour.
const SIGNAL: &str = r#"{"signal_id":"S","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,
    "take_profit":1.089,"created_at":"2026-01-30T16:00:00Z","expires_at":"2026-01-30T17:00:00Z"}"#;
/// A dollar account without a tier that risks 2 percent of 10,000.
const OVERLAY: &str = r#"{"user_id":"7","risk_percent":2,"account_balance":10000}"#;
/// A minute after publication.
const NOW: &str = "2026-01-30T16:01:00Z";
/// The prices that most cases convert by.
const RATES: [(&str, &str); 5] =
    [("USDJPY", "148.5"), ("GBPUSD", "1.34"), ("USDCAD", "1.37"), ("USDCHF", "0.8"), ("AUDUSD", "0.65")];
/// Instruments that the built-in table does not have.
const INSTRUMENTS: &str = "
    [ODD]
    quote = 'USD'
    contract_size = 1
    pip = 1
    digits = 0
    min_lot = '0.05'
    lot_step = '0.03'
    max_lot = '1.00'
    [NARROW]
    quote = 'USD'
    contract_size = 1
    pip = 1
    digits = 0
    min_lot = '0.05'
    lot_step = '0.03'
    max_lot = '0.05'
    [VAST]
    quote = 'USD'
    contract_size = 90000000000
    pip = 1
    digits = 0
    min_lot = 1
    lot_step = 1
    max_lot = 90000000000
    [TINY]
    quote = 'USD'
    contract_size = '0.00000001'
    pip = '0.00000001'
    digits = 8
    min_lot = '0.01'
    lot_step = '0.01'
    max_lot = 100
    [COARSE]
    quote = 'USD'
    contract_size = 1
    pip = 2
    digits = 0
    min_lot = 1
    lot_step = 1
    max_lot = 100
    [XAUEUR]
    base = 'XAU'
    quote = 'EUR'
    contract_size = 100
    pip = '0.1'
    digits = 2
    min_lot = '0.01'
    lot_step = '0.01'
    max_lot = 100
";
/// Tiers that the built-in table does not have.
const TIERS: &str = "
    [UNEVEN]
    risk_percent = 2
    min_confidence = 0
    max_lots = '0.335'
    trades_per_day = 1
    [LEVERED]
    risk_percent = 2
    min_confidence = 0
    max_lots = 5
    trades_per_day = 1
    leverage = 10
    [RESTING]
    risk_percent = 2
    min_confidence = 0
    max_lots = 1
    trades_per_day = 0
    [SMALL]
    risk_percent = 2
    min_confidence = 0
    max_lots = '0.005'
    trades_per_day = 1
";

/// What one computation reads.
#[derive(Clone, Copy)]
struct Case<'a> {
    /// Merged into [`SIGNAL`].
    signal: &'a str,
    /// Merged into [`OVERLAY`].
    overlay: &'a str,
    outcome: Option<OutcomeStatus>,
    rates: &'a [(&'a str, &'a str)],
    /// When each rate was confirmed, in minutes before `now`; 0 for the others.
    rate_ages: &'a [i64],
    max_ages: MaxAges,
    now: &'a str,
}

fn case<'a>(signal: &'a str, overlay: &'a str) -> Case<'a> {
    Case { signal, overlay, outcome: None, rates: &RATES, rate_ages: &[], max_ages: MaxAges::default(), now: NOW }
}

impl Case<'_> {
    fn compute(&self) -> (Mission, Terms) {
        let merged = |base: &str, patch: &str| {
            Object::parse(base.as_bytes()).unwrap().merged(&Object::parse(patch.as_bytes()).unwrap())
        };
        let now = UnixMillis::parse(self.now).unwrap();
        let signal = SignalDraft::from_object(merged(SIGNAL, self.signal), None).unwrap().resolve(now, 1).unwrap();
        let overlay = OverlayDraft::from_object(merged(OVERLAY, self.overlay), None).unwrap().resolve(now);
        let outcome = self.outcome.map(|status| Outcome {
            signal_id: signal.id.clone(),
            user_id: UserId::parse("7").unwrap(),
            status,
            at: now,
            profit: None,
            result: None,
            members: Object::default(),
        });
        let mut rates = Rates::default();
        for (seq, (pair, price)) in (1..).zip(self.rates) {
            let (pair, price) = (Pair::parse(pair).unwrap(), Decimal::parse(price).unwrap());
            let age = usize::try_from(seq).ok().and_then(|seq| self.rate_ages.get(seq - 1)).unwrap_or(&0);
            let confirmed_at = now.plus_millis(-age * 60_000);
            rates.put(Rate { pair, price, updated_at: now, confirmed_at }, seq);
        }
        let (mut instruments, mut tiers) = (Instruments::built_in().unwrap(), Tiers::built_in().unwrap());
        instruments.override_with(INSTRUMENTS).unwrap();
        tiers.override_with(TIERS).unwrap();
        let market = Market { instruments: &instruments, tiers: &tiers, rates: &rates, max_ages: self.max_ages };
        let mission = compute(&signal, &overlay, outcome.as_ref(), market, now);
        (mission, Terms::new(&signal, &overlay.account_currency, market))
    }
}

/// Compares the members of the answer that `expected` names; `null` means that it is not known, or absent.
///
/// `loss_per_lot` and `rate_seqs` are no members of the answer, but what it rests on.
#[track_caller]
fn check(case: Case<'_>, expected: &str) {
    let (mission, terms) = case.compute();
    let mut view = Vec::new();
    render::write_view(&mut view, b"{}", b"{}", &mission, &terms);
    let view = Object::parse(&view).unwrap();
    let mut answer = Object::parse(view.get("mission").unwrap().as_bytes()).unwrap();
    answer.set("loss_per_lot", terms.loss_per_lot().map_or("null".to_owned(), |loss| loss.to_string()));
    answer.set("rate_seqs", format!("{:?}", terms.rate_seqs()).replace(' ', ""));
    for (name, value) in Object::parse(expected.as_bytes()).unwrap().iter() {
        assert_eq!(answer.get(name).unwrap_or("null"), value, "{name} of {}", answer.to_json());
    }
    // Whatever the case is about, these hold.
    assert_eq!(answer.get("tradable"), Some(if mission.reasons.is_empty() { "true" } else { "false" }));
    if let (Some(amount), Some(budget)) = (mission.risk_amount, mission.risk_budget) {
        assert!(amount <= budget, "{amount} is more than {budget}");
    }
    let parts: Vec<_> = (0..terms.targets().len()).map(|at| terms.part(at, &mission)).collect();
    let sum = |of: fn(&Part) -> Option<Decimal>| {
        parts.iter().map(of).try_fold(Decimal::ZERO, |sum, number| sum.checked_add(number?))
    };
    if !parts.is_empty() {
        assert_eq!(sum(|part| part.lots), mission.lots, "the parts are the size");
        assert_eq!(sum(|part| part.reward_amount), mission.reward_amount, "their rewards are the reward");
    }
}

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
fn an_exact_lot_is_a_whole_lot() {
    // Binary floats make 0.9999999999999991 lots of this, hence 0.99, and 0.28 of the other.
    check(case("{}", "{}"), r#"{"loss_per_lot":200,"lots_raw":1,"lots":1,"risk_amount":200,"risk_budget":200}"#);
    check(case("{}", r#"{"account_balance":2900}"#), r#"{"lots_raw":0.29,"lots":0.29,"risk_amount":58}"#);
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

/// Limits of the ages of rates and balances, in minutes.
fn minutes(rate: Option<u64>, balance: Option<u64>) -> MaxAges {
    let max_age = |minutes: u64| MaxAge::from_millis(minutes * 60_000);
    MaxAges { rate: rate.map(max_age), balance: balance.map(max_age) }
}

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
