//! A view from prepared parts has the bytes that [`write_view`] makes of the same mission.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::domain::{
    Currency, Direction, Instruments, Levels, Market, MaxAge, MaxAges, Object, OutcomeStatus, Pair, Rate, Rates,
    RiskBasis, Signal, SignalId, SignalStatus, Symbol, Target, TargetLevel, TierName, Tiers,
};

/// A signal's JSON and an overlay's, of which only the place in the view matters here.
const SIGNAL: &[u8] = br#"{"signal_id":"S"}"#;
const OVERLAY: &[u8] = br#"{"user_id":"7"}"#;
const NOW_MS: i64 = 1_770_000_000_000;
const MAX_AGES: MaxAges = MaxAges { rate: Some(MaxAge::from_millis(500)), balance: Some(MaxAge::from_millis(1 << 40)) };

/// What is joined: a signal, one currency, and the accounts of some users with their tiers.
#[derive(Clone, Debug)]
struct Joined {
    signal: Signal,
    currency: Currency,
    rates: Rates,
    users: Vec<(Account, Option<TierName>, Option<OutcomeStatus>)>,
}

impl Joined {
    fn usual() -> Self {
        Self {
            signal: signal("EURUSD", (Direction::Buy, levels(Direction::Buy, 108_500_000, 200_000, Some(400_000)))),
            currency: Currency::usd(),
            rates: Rates::default(),
            users: Vec::new(),
        }
    }

    /// Writes all users' views in both ways.
    #[track_caller]
    fn check(&self) {
        let (instruments, tiers) = (Instruments::built_in().unwrap(), Tiers::built_in().unwrap());
        let market = Market { instruments: &instruments, tiers: &tiers, rates: &self.rates, max_ages: MAX_AGES };
        let template = ViewTemplate::new(Terms::new(&self.signal, &self.currency, market));
        let now = UnixMillis::new(NOW_MS);
        for (account, tier, outcome) in &self.users {
            let tier = tiers.of_user(tier.as_ref());
            let mission = template.terms().mission(*account, tier, *outcome, now);
            let mut plain = b"before".to_vec();
            write_view(&mut plain, SIGNAL, OVERLAY, &mission, template.terms());
            let mut budget = Vec::new();
            write_budget(&mut budget, Budget::of(*account, tier));
            let mut prepared = b"before".to_vec();
            template.write(&mut prepared, SIGNAL, OVERLAY, &budget, &mission);
            assert_eq!(text(&prepared), text(&plain));
            let mut compact = Vec::new();
            template.write_compact(&mut compact, [b"7", b"S1", &budget], &mission);
            let mission = text(&plain).split_once(",\"mission\":").unwrap().1;
            assert_eq!(text(&compact), format!(r#"{{"user_id":"7","signal_id":"S1","mission":{mission}"#));
        }
    }
}

fn text(view: &[u8]) -> &str {
    std::str::from_utf8(view).unwrap()
}

fn signal(symbol: &str, (direction, levels): (Direction, Levels)) -> Signal {
    Signal {
        id: SignalId::parse("S").unwrap(),
        symbol: Symbol::parse(symbol).unwrap(),
        direction,
        levels,
        take_profits: Vec::new(),
        pattern_type: None,
        confidence: None,
        status: None,
        created_at: UnixMillis::MIN,
        expires_at: UnixMillis::new(NOW_MS + 1),
        members: Object::default(),
    }
}

/// Levels at some distance from the entry, in units.
fn levels(direction: Direction, entry: i64, stop: i64, target: Option<i64>) -> Levels {
    let away = if direction == Direction::Buy { -1 } else { 1 };
    let at = |distance: i64| Decimal::from_units(entry + away * distance);
    Levels::prices(direction, Decimal::from_units(entry), at(stop), target.map(|target| at(-target))).unwrap()
}

fn without_target(levels: Levels) -> Levels {
    match levels {
        Levels::Prices { entry, stop, .. } => Levels::Prices { entry, stop, target: None },
        Levels::Pips { entry, stop, .. } => Levels::Pips { entry, stop, target: None },
    }
}

fn account(balance: i64, risk_percent: i64) -> Account {
    Account {
        balance: Some(Decimal::from_units(balance)),
        risk_percent: Some(Decimal::from_units(risk_percent)),
        ..Account::default()
    }
}

fn any_units() -> impl Strategy<Value = i64> {
    // Money, and numbers of all sizes.
    prop_oneof![
        (0..10_000_000_i64).prop_map(|cents| cents * 1_000_000),
        (0..63_u32, any::<i64>()).prop_map(|(shift, value)| (value & i64::MAX) >> shift)
    ]
}

fn any_levels() -> impl Strategy<Value = (Direction, Levels)> {
    let direction = prop::sample::select(vec![Direction::Buy, Direction::Sell]);
    let prices = (direction.clone(), 50_000_000..20_000_000_000_i64, 1..40_000_000_i64, option::of(1..40_000_000_i64))
        .prop_map(|(direction, entry, stop, target)| (direction, levels(direction, entry, stop, target)));
    let positive = || any_units().prop_map(|units| Decimal::from_units(units.max(1)));
    let pips = (direction, option::of(positive()), positive(), option::of(positive()))
        .prop_map(|(direction, entry, stop, target)| (direction, Levels::pips(entry, stop, target).unwrap()));
    prop_oneof![3 => prices, 1 => pips]
}

fn any_user() -> impl Strategy<Value = (Account, Option<TierName>, Option<OutcomeStatus>)> {
    let percent = prop_oneof![
        prop::sample::select(vec![0, 50_000_000, 100_000_000, 200_000_000, 250_000_000]),
        0..=Decimal::HUNDRED.units(),
        // No overlay has more than a hundred percent; the terms do not rely on that.
        any_units(),
    ];
    let tier = option::of(prop::sample::select(vec!["PRESS_PASS", "NIBBLER", "FANG", "COMMANDER", "NO_SUCH_TIER"]));
    let outcome = option::weighted(
        0.1,
        prop::sample::select(vec![OutcomeStatus::Fired, OutcomeStatus::Failed, OutcomeStatus::Closed]),
    );
    let often = |some| option::weighted(0.9, some);
    let amount =
        || prop_oneof![9 => any_units(), 1 => any_units().prop_map(|units| -units)].prop_map(Decimal::from_units);
    let leverage = option::of((1..=10_000_i64).prop_map(|times| Decimal::from_int(times).unwrap()));
    let basis = prop::sample::select(vec![RiskBasis::Balance, RiskBasis::Balance, RiskBasis::Equity]);
    let margin = (option::of(amount()), option::of(amount()), leverage, basis, 0..2 * NOW_MS);
    (often(amount().boxed()), margin, option::weighted(0.9, percent), option::of(0..3_u32), tier, outcome).prop_map(
        |(
            balance,
            (equity, free_margin, leverage, risk_basis, confirmed_at),
            risk_percent,
            trades_remaining,
            tier,
            outcome,
        )| {
            let account = Account {
                balance,
                equity,
                free_margin,
                leverage,
                risk_basis,
                risk_percent: risk_percent.map(Decimal::from_units),
                trades_remaining,
                balance_confirmed_at: UnixMillis::new(confirmed_at),
            };
            (account, tier.map(|name| TierName::parse(name).unwrap()), outcome)
        },
    )
}

fn any_joined() -> impl Strategy<Value = Joined> {
    let symbol = prop::sample::select(vec!["EURUSD", "EURJPY", "EURGBP", "XAUUSD", "NO_SUCH_SYMBOL"]);
    let currency = prop::sample::select(vec!["USD", "EUR", "JPY", "ABCDEFGHIJ"]);
    let price = option::of(any_units().prop_map(|units| Decimal::from_units(units.max(1))));
    let confidence = option::of((0..=Decimal::HUNDRED.units()).prop_map(Decimal::from_units));
    let status = option::weighted(0.1, prop::sample::select(vec![SignalStatus::Cancelled, SignalStatus::Closed]));
    let expires_in = prop_oneof![9 => 1..4_000_000_i64, 1 => -1..1_i64];
    let level = any_units().prop_map(|units| TargetLevel::Pips(Decimal::from_units(units.max(1))));
    let targets = (vec(level, 0..=10), option::of(1..=1_000_000_000_i64)).prop_map(|(levels, share)| {
        levels.into_iter().map(|level| Target { level, share: share.map(Decimal::from_units) }).collect::<Vec<_>>()
    });
    let targets = option::weighted(0.3, targets);
    let said = (confidence, status, targets);
    (symbol, any_levels(), currency, price, said, expires_in, vec(any_user(), 1..24)).prop_map(
        |(symbol, levels, currency, price, (confidence, status, targets), expires_in, users)| {
            let mut rates = Rates::default();
            if let Some(price) = price {
                for pair in ["USDJPY", "EURUSD", "GBPUSD"] {
                    let confirmed_at = UnixMillis::new(NOW_MS + expires_in.min(1_000));
                    let pair = Pair::parse(pair).unwrap();
                    rates.put(Rate { pair, price, updated_at: UnixMillis::MIN, confirmed_at }, 1);
                }
            }
            let mut signal = signal(symbol, levels);
            signal.confidence = confidence;
            signal.status = status;
            if let Some(targets) = targets {
                signal.levels = without_target(signal.levels);
                signal.take_profits = targets;
            }
            signal.expires_at = UnixMillis::new(NOW_MS + expires_in);
            Joined { signal, currency: Currency::parse(currency).unwrap(), rates, users }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    #[test]
    fn a_template_writes_what_the_plain_way_writes(joined in any_joined()) {
        joined.check();
    }
}

#[test]
fn sizes_of_every_number_of_steps_are_written_alike() {
    let mut joined = Joined::usual();
    // 200 a lot: from no step to fifteen lots, in steps of every number.
    joined.users = (0..1_500).map(|steps| (account(steps * 200_000_000, 10_000_000_000), None, None)).collect();
    joined.check();
}

#[test]
fn the_longest_amounts_are_written_alike() {
    let mut joined = Joined::usual();
    // A loss a lot of 20,000,000.01234: amounts of up to 15 digits.
    joined.signal.levels = levels(Direction::Sell, 108_500_000, 20_000_000_012, Some(20_000_000_340));
    joined.users = (1..200).map(|steps| (account(steps * 20_000_000_012_340_000, 100_000_000), None, None)).collect();
    joined.check();
}

/// However long a run of pieces is, all of them are written.
#[test]
fn no_piece_is_dropped() {
    let (number, longest) = (Decimal::from_units(i64::MIN + 1), "x".repeat(TEXT_BYTES + 1));
    for before in [0, 1, TEXT_BYTES - 33, TEXT_BYTES - 32, TEXT_BYTES - 31, TEXT_BYTES - 1, TEXT_BYTES] {
        let start = "s".repeat(before);
        let check = |put: &dyn Fn(&mut Text<'_>), expected: &str| {
            let mut out = b"before".to_vec();
            let mut text = Text::new(&mut out);
            text.put_str(&start);
            (0..200).for_each(|_| put(&mut text));
            text.flush();
            assert_eq!(String::from_utf8(out).unwrap(), format!("before{start}{}", expected.repeat(200)));
        };
        check(&|text| text.put(b"four"), "four");
        check(&|text| text.put_str("a few"), "a few");
        check(&|text| text.put_str(&longest), &longest);
        check(&|text| text.put_number(Some(number)), &number.to_string());
    }
}
