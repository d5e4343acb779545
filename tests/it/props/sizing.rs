//! Sizes against exact fractions of any length, worked out from the same input by the definition and not by the code.
//!
//! A size is right if it is the *largest* multiple of the lot step whose exact loss fits the exact budget, within the
//! caps; a minimum balance is right if it is the *least* that gives a size. Steps that are no power of ten, and rates
//! that are used upside down, are where cutting in the wrong place would show.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};
use overlaid::domain::{
    Currency, Decimal, Direction, Instruments, Levels, Limit, Market, MaxAges, Mission, Object, Overlay, Pair, Rate,
    Rates, Reason, Signal, SignalId, Symbol, Target, TargetLevel, Terms, TierName, Tiers, UnixMillis, UserId, compute,
};
use proptest::option;
use proptest::prelude::*;

use super::numbers::any_units;

/// What the oracle knows of an instrument, in the table's own words.
struct Plain {
    symbol: &'static str,
    base: Option<&'static str>,
    quote: &'static str,
    contract_size: &'static str,
    pip: &'static str,
    min_lot: &'static str,
    lot_step: &'static str,
    max_lot: &'static str,
    margin_percent: Option<&'static str>,
}

const INSTRUMENTS: [Plain; 7] = [
    Plain {
        symbol: "PENNY",
        base: Some("EUR"),
        quote: "USD",
        contract_size: "100000",
        pip: "0.0001",
        min_lot: "0.01",
        lot_step: "0.01",
        max_lot: "100",
        margin_percent: None,
    },
    Plain {
        symbol: "TENTH",
        base: None,
        quote: "USD",
        contract_size: "1",
        pip: "1",
        min_lot: "0.1",
        lot_step: "0.1",
        max_lot: "250",
        margin_percent: None,
    },
    Plain {
        symbol: "THIRD",
        base: Some("XAU"),
        quote: "EUR",
        contract_size: "0.7",
        pip: "0.1",
        min_lot: "0.05",
        lot_step: "0.03",
        max_lot: "7",
        margin_percent: None,
    },
    Plain {
        symbol: "WHOLE",
        base: Some("USD"),
        quote: "JPY",
        contract_size: "1000",
        pip: "0.01",
        min_lot: "1",
        lot_step: "1",
        max_lot: "1000000",
        margin_percent: None,
    },
    Plain {
        symbol: "COIN",
        base: Some("BTC"),
        quote: "USD",
        contract_size: "1",
        pip: "1",
        min_lot: "0.01",
        lot_step: "0.01",
        max_lot: "50",
        margin_percent: Some("50"),
    },
    Plain {
        symbol: "VAST",
        base: Some("USD"),
        quote: "JPY",
        contract_size: "92233720368.54775807",
        pip: "92233720368.54775807",
        min_lot: "0.00000001",
        lot_step: "0.00000001",
        max_lot: "92233720368.54775807",
        margin_percent: None,
    },
    Plain {
        symbol: "TINY",
        base: Some("EUR"),
        quote: "JPY",
        contract_size: "0.00000001",
        pip: "0.00000001",
        min_lot: "46116860184.27387903",
        lot_step: "0.00000007",
        max_lot: "92233720368.54775807",
        margin_percent: None,
    },
];
/// The last two are for extremes only.
const ORDINARY: usize = 5;

const TIERS: &str = "
    [OPEN]
    risk_percent = 2
    min_confidence = 0
    max_lots = 1000000
    trades_per_day = 1
    [UNEVEN]
    risk_percent = '0.7'
    min_confidence = 0
    max_lots = '3.335'
    trades_per_day = 1
";

/// The generated part of the input.
#[derive(Clone, Debug)]
struct Input {
    instrument: usize,
    levels: Levels,
    /// Only where the levels have no target.
    take_profits: Vec<Target>,
    account: &'static str,
    balance: Decimal,
    free_margin: Option<Decimal>,
    leverage: Option<Decimal>,
    risk_percent: Option<Decimal>,
    tier: Option<&'static str>,
    rates: Vec<(&'static str, Decimal)>,
}

impl Input {
    fn plain(&self) -> &'static Plain {
        &INSTRUMENTS[self.instrument]
    }

    fn with_balance(&self, balance: Decimal) -> Self {
        Self { balance, ..self.clone() }
    }

    fn mission(&self) -> Mission {
        self.mission_and_terms().0
    }

    fn mission_and_terms(&self) -> (Mission, Terms) {
        let signal = Signal {
            id: SignalId::parse("S").unwrap(),
            symbol: Symbol::parse(self.plain().symbol).unwrap(),
            direction: Direction::Buy,
            levels: self.levels,
            take_profits: self.take_profits.clone(),
            pattern_type: None,
            confidence: None,
            status: None,
            created_at: UnixMillis::MIN,
            expires_at: UnixMillis::MAX,
            members: Object::default(),
        };
        let overlay = Overlay {
            user_id: UserId::parse("7").unwrap(),
            tier: self.tier.map(|name| TierName::parse(name).unwrap()),
            risk_percent: self.risk_percent,
            risk_basis: None,
            account_balance: Some(self.balance),
            account_equity: None,
            free_margin: self.free_margin,
            leverage: self.leverage,
            account_currency: Currency::parse(self.account).unwrap(),
            win_rate: None,
            trades_remaining: None,
            updated_at: UnixMillis::MIN,
            balance_confirmed_at: UnixMillis::MIN,
            members: Object::default(),
        };
        let (mut instruments, mut tiers, mut rates) =
            (Instruments::default(), Tiers::built_in().unwrap(), Rates::default());
        for plain in &INSTRUMENTS {
            let base = plain.base.map(|base| format!("base = '{base}'\n")).unwrap_or_default();
            let margin =
                plain.margin_percent.map(|percent| format!("margin_percent = '{percent}'\n")).unwrap_or_default();
            let Plain { symbol, quote, contract_size, pip, min_lot, lot_step, max_lot, .. } = plain;
            let text = format!(
                "[{symbol}]\n{base}quote = '{quote}'\ncontract_size = '{contract_size}'\npip = '{pip}'\ndigits = 2\n\
                 min_lot = '{min_lot}'\nlot_step = '{lot_step}'\nmax_lot = '{max_lot}'\n{margin}"
            );
            instruments.override_with(&text).unwrap();
        }
        tiers.override_with(TIERS).unwrap();
        for (pair, price) in &self.rates {
            let pair = Pair::parse(pair).unwrap();
            rates.put(Rate { pair, price: *price, updated_at: UnixMillis::MIN, confirmed_at: UnixMillis::MIN }, 1);
        }
        let market = Market { instruments: &instruments, tiers: &tiers, rates: &rates, max_ages: MaxAges::default() };
        let mission = compute(&signal, &overlay, None, market, UnixMillis::MIN);
        (mission, Terms::new(&signal, &overlay.account_currency, market))
    }
}

/// Exact answers, by definition.
struct Oracle {
    budget: BigRational,
    /// What one lot loses.
    loss: BigRational,
    /// By target: what one lot gains, and the share of the size; `None`: all are alike.
    targets: Vec<(BigRational, Option<BigRational>)>,
    risk_percent: BigRational,
    step: BigRational,
    min_lot: BigRational,
    cap: BigRational,
    is_cap_the_tiers: bool,
    /// Whether a third currency stands between: a product of two absurd prices may take more bits than there are.
    is_through_a_third: bool,
    /// The margin of one lot; `None` if it is not known.
    margin: Option<BigRational>,
    free: BigRational,
}

fn fraction(text: &str) -> BigRational {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits: BigInt = format!("{whole}{decimals}").parse().unwrap();
    BigRational::new(digits, num_traits::pow(BigInt::from(10), decimals.len()))
}

fn exact(number: Decimal) -> BigRational {
    fraction(&number.to_string())
}

fn unit() -> BigRational {
    fraction("0.00000001")
}

impl Oracle {
    /// `None` if nothing converts the quote currency to the account's.
    fn of(input: &Input) -> Option<Self> {
        let plain = input.plain();
        let stored =
            |pair: String| input.rates.iter().rev().find(|(known, _)| *known == pair).map(|(_, price)| exact(*price));
        let leg = |from: &str, to: &str| {
            stored(format!("{from}{to}")).or_else(|| Some(stored(format!("{to}{from}"))?.recip()))
        };
        let through = |pivot: &&str| Some(leg(plain.quote, pivot)? * leg(pivot, input.account)?);
        let is_direct = plain.quote == input.account
            || plain.base == Some(input.account) && input.levels.entry().is_some()
            || leg(plain.quote, input.account).is_some();
        let is_through_a_third = !is_direct;
        let rate = if plain.quote == input.account {
            BigRational::one()
        } else if let (true, Some(entry)) = (plain.base == Some(input.account), input.levels.entry()) {
            exact(entry).recip()
        } else if let Some(price) = leg(plain.quote, input.account) {
            price
        } else {
            ["USD", "EUR", "GBP", "JPY"].iter().find_map(through)?
        };
        let from_entry = |price: Decimal| (exact(price) - exact(input.levels.entry().unwrap())).abs();
        let in_pips = |pips: Decimal| exact(pips) * fraction(plain.pip);
        let (stop, target) = match input.levels {
            Levels::Prices { stop, target, .. } => (from_entry(stop), target.map(from_entry)),
            Levels::Pips { stop, target, .. } => (in_pips(stop), target.map(in_pips)),
        };
        let several = input.take_profits.iter().map(|target| {
            let distance = match target.level {
                TargetLevel::Price(price) => from_entry(price),
                TargetLevel::Pips(pips) => in_pips(pips),
            };
            (distance, target.share.map(exact))
        });
        let distances: Vec<_> = target.map(|target| (target, None)).into_iter().chain(several).collect();
        let tier = match input.tier {
            None => None,
            Some("OPEN") => Some(("2", "1000000")),
            Some("UNEVEN") => Some(("0.7", "3.335")),
            Some(other) => panic!("no tier {other}"),
        };
        let risk_percent = input.risk_percent.map(exact).or(tier.map(|(risk, _)| fraction(risk))).unwrap();
        let max_lot = fraction(plain.max_lot);
        let lot_value = fraction(plain.contract_size) * rate;
        let shares = [
            input.leverage.map(|leverage| exact(leverage).recip()),
            plain.margin_percent.map(|percent| fraction(percent) / fraction("100")),
        ];
        let share = shares.into_iter().flatten().max();
        let margin = input.levels.entry().zip(share).map(|(entry, share)| exact(entry) * &lot_value * share);
        Some(Self {
            budget: exact(input.balance) * &risk_percent / fraction("100"),
            loss: stop * &lot_value,
            targets: distances.into_iter().map(|(distance, share)| (distance * &lot_value, share)).collect(),
            risk_percent,
            step: fraction(plain.lot_step),
            min_lot: fraction(plain.min_lot),
            cap: tier.map_or(max_lot.clone(), |(_, cap)| max_lot.clone().min(fraction(cap))),
            is_through_a_third,
            is_cap_the_tiers: tier.is_some_and(|(_, cap)| fraction(cap) < max_lot),
            margin,
            free: input.free_margin.map_or_else(|| exact(input.balance), exact).max(BigRational::zero()),
        })
    }

    fn fits(&self, lots: &BigRational) -> bool {
        self.fits_budget(lots) && self.fits_margin(lots)
    }

    fn fits_budget(&self, lots: &BigRational) -> bool {
        lots * &self.loss <= self.budget && *lots <= self.cap
    }

    fn fits_margin(&self, lots: &BigRational) -> bool {
        self.margin.as_ref().is_none_or(|margin| lots * margin <= self.free)
    }

    /// The free margin that so many lots need, rounded up.
    fn margin_of(&self, lots: &BigRational) -> Option<Decimal> {
        self.margin.as_ref().and_then(|margin| decimal((lots * margin / unit()).ceil().to_integer()))
    }

    /// The limits in the order in which the first of equal ones is named, each as a whole number of steps.
    fn limit(&self) -> Limit {
        let steps = |lots: BigRational| (lots / &self.step).floor();
        let cap = if self.is_cap_the_tiers { Limit::Tier } else { Limit::Instrument };
        let margin = self.margin.as_ref().map(|margin| (steps(&self.free / margin), Limit::Margin));
        let mut least = (steps(&self.budget / &self.loss), Limit::Risk);
        for next in margin.into_iter().chain([(steps(self.cap.clone()), cap)]) {
            if next.0 < least.0 {
                least = next;
            }
        }
        least.1
    }

    /// The least size that trades, whether it fits or not.
    fn least(&self) -> BigRational {
        (&self.min_lot / &self.step).ceil() * &self.step
    }

    /// Checks a size against what makes it the right one.
    fn check(&self, lots: Decimal) -> Result<(), TestCaseError> {
        let lots = exact(lots);
        if lots.is_zero() {
            prop_assert!(!self.fits(&self.least()), "the least size would fit");
        } else {
            prop_assert!((&lots / &self.step).is_integer(), "no multiple of the step");
            prop_assert!(lots >= self.min_lot, "below the smallest lot");
            prop_assert!(self.fits(&lots), "too large");
            prop_assert!(!self.fits(&(lots + &self.step)), "one step more would fit");
        }
        Ok(())
    }

    /// Whether every number on the way to the answer, and in it, is one that can be shown.
    fn is_in_range(&self) -> bool {
        let raw = &self.budget / &self.loss;
        let lots = (raw.clone().min(self.cap.clone()) / &self.step).floor() * &self.step;
        let lots = if lots < self.min_lot { BigRational::zero() } else { lots };
        cut(&raw).is_some() && self.rewards(&lots).is_some()
    }

    /// Splits a size by the definition: each share cut to the step, and what is left to the first.
    fn parts(&self, lots: &BigRational) -> Vec<BigRational> {
        let count = BigRational::from_integer(self.targets.len().into());
        let share = |share: &Option<BigRational>| match share {
            Some(percent) => lots * percent / fraction("100"),
            None => lots / &count,
        };
        let mut parts: Vec<_> =
            self.targets.iter().map(|(_, of)| (share(of) / &self.step).floor() * &self.step).collect();
        let left = lots - parts.iter().sum::<BigRational>();
        if let Some(first) = parts.first_mut() {
            *first += left;
        }
        parts
    }

    /// What the parts of a size gain, as shown, and all of it; `None` if that can not be shown.
    fn rewards(&self, lots: &BigRational) -> Option<(Vec<Decimal>, Decimal)> {
        let parts = self.parts(lots).into_iter().zip(&self.targets);
        let gains: Vec<_> = parts.map(|(part, (gain, _))| cut(&(part * gain))).collect::<Option<_>>()?;
        let sum = gains.iter().try_fold(Decimal::ZERO, |sum, gain| sum.checked_add(*gain))?;
        Some((gains, sum))
    }

    /// The least balance in units; `None` if no balance would do, or none that an account can have.
    fn minimum_balance(&self) -> Option<Decimal> {
        if self.least() > self.cap || self.risk_percent.is_zero() {
            return None;
        }
        let balance = self.least() * &self.loss * fraction("100") / &self.risk_percent;
        decimal((balance / unit()).ceil().to_integer())
    }
}

fn decimal(units: BigInt) -> Option<Decimal> {
    i64::try_from(units).ok().map(Decimal::from_units)
}

/// An exact number as it is shown: cut to eight decimals.
fn cut(number: &BigRational) -> Option<Decimal> {
    decimal((number / unit()).floor().to_integer())
}

fn any_units_in(range: std::ops::RangeInclusive<i64>) -> impl Strategy<Value = Decimal> {
    range.prop_map(Decimal::from_units)
}

fn any_levels(prices: impl Strategy<Value = Decimal> + Clone) -> impl Strategy<Value = Levels> {
    let given = (prices.clone(), prices.clone(), option::of(prices.clone()))
        .prop_filter("no distance", |(entry, stop, _)| entry != stop)
        .prop_map(|(entry, stop, target)| Levels::Prices { entry, stop, target });
    let pips = (option::of(prices), any_units_in(1..=100_000_000_000), option::of(any_units_in(1..=100_000_000_000)))
        .prop_map(|(entry, stop, target)| Levels::Pips { entry, stop, target });
    prop_oneof![2 => given, 1 => pips]
}

/// The levels, and in half of all cases several targets in place of the one: pips, and prices at such a distance.
fn with_targets(
    levels: impl Strategy<Value = Levels>,
    distances: impl Strategy<Value = Decimal>,
) -> impl Strategy<Value = (Levels, Vec<Target>)> {
    let shares = prop::collection::vec(1..=10_000_000_000_i64, 0..=10);
    let targets = option::of((prop::collection::vec((distances, any::<bool>()), 1..=10), shares));
    (levels, targets).prop_map(|(levels, targets)| {
        let Some((distances, shares)) = targets else { return (levels, Vec::new()) };
        // As many shares as there are targets, of at most a hundred percent in all; else none.
        let sum: i64 = shares.iter().take(distances.len()).sum();
        let has_shares = shares.len() >= distances.len();
        let whole = i128::from(sum.max(10_000_000_000));
        let share = |at: usize| i64::try_from(i128::from(shares[at]) * 10_000_000_000 / whole).unwrap();
        let target = |(at, (distance, is_price)): (usize, (Decimal, bool))| {
            let price = levels.entry().filter(|_| is_price).and_then(|entry| entry.checked_add(distance));
            let level = price.map_or(TargetLevel::Pips(distance), TargetLevel::Price);
            Target { level, share: has_shares.then(|| Decimal::from_units(share(at))) }
        };
        let targets = distances.into_iter().enumerate().map(target).collect();
        (without_target(levels), targets)
    })
}

fn without_target(levels: Levels) -> Levels {
    match levels {
        Levels::Prices { entry, stop, .. } => Levels::Prices { entry, stop, target: None },
        Levels::Pips { entry, stop, .. } => Levels::Pips { entry, stop, target: None },
    }
}

fn any_rates(prices: impl Strategy<Value = Decimal>) -> impl Strategy<Value = Vec<(&'static str, Decimal)>> {
    let pairs = ["EURUSD", "USDEUR", "USDJPY", "JPYUSD", "EURJPY", "JPYEUR", "GBPUSD", "EURGBP", "GBPJPY"];
    prop::collection::vec((prop::sample::select(pairs.to_vec()), prices), 0..6)
}

fn any_account() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["USD", "EUR", "JPY", "GBP"])
}

/// Prices from a tenth of a cent to a thousand, with no more decimals than a quote has or with all eight.
fn any_price() -> impl Strategy<Value = Decimal> + Clone {
    prop_oneof![
        (100..20_000_000_i64).prop_map(|units| Decimal::from_units(units * 1_000)),
        (100_000..100_000_000_000_i64).prop_map(Decimal::from_units),
    ]
}

/// What a market could bring.
fn ordinary() -> impl Strategy<Value = Input> {
    let balance = prop_oneof![
        (0..10_000_000_i64).prop_map(|cents| Decimal::from_units(cents * 1_000_000)),
        any_units_in(0..=100_000_000_000_000),
    ];
    let risk = prop_oneof![
        (1..=50_i64).prop_map(|tenths| Decimal::from_units(tenths * 10_000_000)),
        any_units_in(1..=10_000_000_000),
    ];
    let limits = prop_oneof![
        (Just(None), risk.clone().prop_map(Some)),
        (prop::sample::select(vec![Some("OPEN"), Some("UNEVEN")]), option::of(risk)),
    ];
    let leverage = prop_oneof![
        prop::sample::select(vec![1, 2, 30, 100, 500]).prop_map(|times| Decimal::from_int(times).unwrap()),
        any_units_in(100_000_000..=1_000_000_000_000),
    ];
    let margin = (option::of(leverage), option::of(any_units_in(-100_000_000..=10_000_000_000_000)));
    let levels = with_targets(any_levels(any_price()), any_units_in(1..=1_000_000_000));
    (0..ORDINARY, levels, any_account(), (balance, margin), limits, any_rates(any_price())).prop_map(
        |(
            instrument,
            (levels, take_profits),
            account,
            (balance, (leverage, free_margin)),
            (tier, risk_percent),
            rates,
        )| Input {
            instrument,
            levels,
            take_profits,
            account,
            balance,
            free_margin,
            leverage,
            risk_percent,
            tier,
            rates,
        },
    )
}

/// Every number that a body could carry, however absurd.
fn extreme() -> impl Strategy<Value = Input> {
    let positive = || any_units().prop_map(|units| Decimal::from_units(units.saturating_abs().max(1)));
    let pips = (option::of(positive()), positive(), option::of(positive()))
        .prop_map(|(entry, stop, target)| Levels::Pips { entry, stop, target });
    let risk = prop_oneof![any_units_in(0..=10_000_000_000), Just(Decimal::HUNDRED), Just(Decimal::from_units(1))];
    let levels = with_targets(prop_oneof![any_levels(positive().boxed()), pips], positive());
    let instruments: Vec<_> = (0..INSTRUMENTS.len()).filter(|at| INSTRUMENTS[*at].margin_percent.is_none()).collect();
    let instruments = prop::sample::select(instruments);
    (instruments, levels, any_account(), positive(), risk, any_rates(positive())).prop_map(
        |(instrument, (levels, take_profits), account, balance, risk_percent, rates)| Input {
            instrument,
            levels,
            take_profits,
            account,
            balance,
            free_margin: None,
            leverage: None,
            risk_percent: Some(risk_percent),
            tier: None,
            rates,
        },
    )
}

/// Checks every number of one mission that was sized.
fn check_sized(oracle: &Oracle, (mission, terms): &(Mission, Terms)) -> Result<(), TestCaseError> {
    let lots = mission.lots.unwrap();
    oracle.check(lots)?;
    prop_assert_eq!(mission.risk_budget, cut(&oracle.budget));
    prop_assert_eq!(mission.lots_raw, cut(&(&oracle.budget / &oracle.loss)));
    prop_assert_eq!(mission.risk_amount, cut(&(exact(lots) * &oracle.loss)));
    prop_assert!(mission.risk_amount <= mission.risk_budget);
    let (parts, rewards) = (oracle.parts(&exact(lots)), oracle.rewards(&exact(lots)));
    let (rewards, sum) = rewards.unwrap();
    prop_assert_eq!(mission.reward_amount, (!parts.is_empty()).then_some(sum));
    prop_assert_eq!(terms.targets().len(), parts.len());
    for (at, (lots, reward)) in parts.iter().zip(rewards).enumerate() {
        let part = terms.part(at, mission);
        prop_assert!(!lots.is_negative() && (lots / &oracle.step).is_integer());
        prop_assert_eq!(part.lots.map(exact), Some(lots.clone()));
        prop_assert_eq!(part.reward_amount, Some(reward));
    }
    let sum: BigRational = (0..parts.len()).map(|at| exact(terms.part(at, mission).lots.unwrap())).sum();
    prop_assert!(parts.is_empty() || sum == exact(lots), "the parts are the size");
    let least = oracle.least();
    let is_below = !oracle.fits_budget(&least);
    prop_assert_eq!(mission.reasons.contains(Reason::BelowMinimumLot), is_below && !oracle.risk_percent.is_zero());
    prop_assert_eq!(mission.minimum_balance, if is_below { oracle.minimum_balance() } else { None });
    let is_short = !oracle.fits_margin(&least);
    prop_assert_eq!(mission.reasons.contains(Reason::InsufficientMargin), is_short);
    prop_assert_eq!(mission.minimum_margin, if is_short { oracle.margin_of(&least) } else { None });
    prop_assert_eq!(mission.margin_required, oracle.margin_of(&exact(lots)));
    prop_assert_eq!(mission.limited_by, Some(oracle.limit()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_size_is_the_largest_that_fits(input in ordinary()) {
        let both = input.mission_and_terms();
        let mission = &both.0;
        match Oracle::of(&input) {
            None => {
                prop_assert!(mission.reasons.contains(Reason::NoConversionRate));
                prop_assert_eq!((mission.lots, mission.risk_amount), (None, None));
            }
            Some(oracle) => {
                prop_assert!(!mission.reasons.contains(Reason::OutOfRange), "an ordinary market is in range");
                check_sized(&oracle, &both)?;
            }
        }
    }

    #[test]
    fn the_minimum_balance_is_the_least_that_will_do(input in ordinary()) {
        let poor = input.with_balance(Decimal::from_units(1));
        if let Some(least) = poor.mission().minimum_balance {
            let enough = input.with_balance(least).mission();
            prop_assert!(!enough.reasons.contains(Reason::BelowMinimumLot));
            prop_assert!(enough.is_tradable() || enough.reasons.contains(Reason::InsufficientMargin));
            let less = least.checked_sub(Decimal::from_units(1)).unwrap();
            let short = input.with_balance(less).mission();
            prop_assert_eq!(short.lots, Some(Decimal::ZERO));
            prop_assert_eq!(short.minimum_balance, Some(least));
        }
    }

    #[test]
    fn a_larger_balance_never_gives_a_smaller_size(input in ordinary(), more in 0..=100_000_000_000_000_i64) {
        let more = input.balance.checked_add(Decimal::from_units(more)).unwrap();
        let (one, other) = (input.mission(), input.with_balance(more).mission());
        prop_assert_eq!(one.lots.is_some(), other.lots.is_some());
        prop_assert!(one.lots <= other.lots);
        prop_assert!(one.risk_amount <= other.risk_amount);
    }

    #[test]
    fn absurd_numbers_are_sized_exactly_or_out_of_range(input in extreme()) {
        let both = input.mission_and_terms();
        let (mission, terms) = &both;
        prop_assert!(mission.risk_amount.is_none() || mission.risk_amount <= mission.risk_budget);
        let Some(oracle) = Oracle::of(&input) else {
            prop_assert!(mission.reasons.contains(Reason::NoConversionRate));
            return Ok(());
        };
        let target_is_shown =
            terms.targets().iter().all(|target| target.pips.is_some() && target.risk_reward.is_some());
        let is_shown = mission.stop_pips.is_some() && target_is_shown && mission.conversion_rate.is_some();
        let fits = oracle.is_in_range() && is_shown;
        if oracle.is_through_a_third && mission.lots.is_none() {
            prop_assert!(mission.reasons.contains(Reason::OutOfRange));
            return Ok(());
        }
        prop_assert_eq!(mission.reasons.contains(Reason::OutOfRange), !fits);
        if oracle.is_in_range() {
            check_sized(&oracle, &both)?;
        } else {
            prop_assert_eq!((mission.lots, mission.risk_amount, mission.reward_amount), (None, None, None));
        }
    }

    /// Nothing that can be built is too absurd, even what no body could carry.
    #[test]
    fn nothing_panics(
        input in extreme(),
        numbers in prop::array::uniform5(any_units().prop_map(Decimal::from_units)),
        (is_in_pips, is_split) in any::<(bool, bool)>(),
    ) {
        let [entry, stop, target, balance, risk_percent] = numbers;
        let levels = if is_in_pips {
            Levels::Pips { entry: Some(entry), stop, target: Some(target) }
        } else {
            Levels::Prices { entry, stop, target: Some(target) }
        };
        let rates = input.rates.iter().map(|(pair, _)| (*pair, target)).collect();
        let share = Some(risk_percent);
        let several = vec![
            Target { level: TargetLevel::Price(target), share },
            Target { level: TargetLevel::Pips(stop), share },
            Target { level: TargetLevel::Price(entry), share },
        ];
        let levels = if is_split { without_target(levels) } else { levels };
        let take_profits = if is_split { several } else { Vec::new() };
        let input = Input { levels, take_profits, balance, risk_percent: Some(risk_percent), rates, ..input };
        let (mission, terms) = input.mission_and_terms();
        for at in 0..terms.targets().len() {
            let _ = terms.part(at, &mission);
        }
        prop_assert!(mission.risk_amount.is_none() || mission.risk_amount <= mission.risk_budget);
    }
}
