//! The oracle of the renderer: plain structs, written by serde, make the same bytes.
//!
//! What is rendered is generated: any text in names and strings, any spelling of a number in the members that are only
//! kept, every optional member there or not, any set of reasons. Then the way back: what was rendered for a record
//! reads as that record, and is one line.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::*;
use crate::domain::{
    Currency, Direction, Instruments, Levels, Limit, Market, MaxAges, Mission, MissionTarget, OutcomeStatus,
    OverlayDraft, Pair, RateDraft, Rates, Reason, Reasons, RiskBasis, SignalDraft, SignalId, SignalStatus, Status,
    Symbol, Target, TargetLevel, Terms, TierName, Tiers, TradeResult, UserId,
};

type Raw = Box<RawValue>;

fn raw(text: String) -> Raw {
    RawValue::from_string(text).unwrap()
}

fn number(value: Option<Decimal>) -> Option<Raw> {
    value.map(|value| raw(value.to_string()))
}

/// A member whose value is generated as text, compact and with blanks strewn in.
#[derive(Clone, Debug)]
enum Json {
    Plain(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn write(&self, blank: &str, out: &mut String) {
        let separate = |index: usize, out: &mut String| out.push_str(if index == 0 { "" } else { "," });
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    separate(index, out);
                    out.push_str(blank);
                    item.write(blank, out);
                }
                out.push_str(blank);
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    separate(index, out);
                    out.push_str(blank);
                    out.push_str(&serde_json::to_string(name).unwrap());
                    out.push_str(blank);
                    out.push(':');
                    out.push_str(blank);
                    value.write(blank, out);
                }
                out.push_str(blank);
                out.push('}');
            }
        }
    }

    fn text(&self, blank: &str) -> String {
        let mut out = String::new();
        self.write(blank, &mut out);
        out
    }
}

/// Members that are only kept: what was sent, and what the reader made of it.
#[derive(Clone, Debug)]
struct Kept {
    sent: Vec<(String, Json)>,
    read: Object,
}

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.sent.len()))?;
        for (name, value) in &self.sent {
            map.serialize_entry(name, &raw(value.text("")))?;
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
#[serde(untagged)]
enum PlainTarget {
    Bare(Raw),
    Price { price: Raw, share: Raw },
    Pips { pips: Raw, share: Raw },
    BarePips { pips: Raw },
}

impl PlainTarget {
    fn new(target: &Target) -> Self {
        let plain = |number: Decimal| raw(number.to_string());
        match (target.level, target.share.map(plain)) {
            (TargetLevel::Price(price), None) => Self::Bare(plain(price)),
            (TargetLevel::Price(price), Some(share)) => Self::Price { price: plain(price), share },
            (TargetLevel::Pips(pips), None) => Self::BarePips { pips: plain(pips) },
            (TargetLevel::Pips(pips), Some(share)) => Self::Pips { pips: plain(pips), share },
        }
    }
}

#[derive(serde::Serialize)]
struct PlainSignal<'a> {
    signal_id: &'a str,
    symbol: &'a str,
    direction: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_price: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_loss: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    take_profit: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_pips: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_pips: Option<Raw>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    take_profits: Vec<PlainTarget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    created_at: String,
    expires_at: String,
    #[serde(flatten)]
    kept: &'a Kept,
}

impl<'a> PlainSignal<'a> {
    fn new(signal: &'a Signal, kept: &'a Kept) -> Self {
        let (stop_loss, take_profit, stop_pips, target_pips) = match signal.levels {
            Levels::Prices { stop, target, .. } => (Some(stop), target, None, None),
            Levels::Pips { stop, target, .. } => (None, None, Some(stop), target),
        };
        Self {
            signal_id: signal.id.as_str(),
            symbol: signal.symbol.as_str(),
            direction: signal.direction.as_str(),
            entry_price: number(signal.levels.entry()),
            stop_loss: number(stop_loss),
            take_profit: number(take_profit),
            stop_pips: number(stop_pips),
            target_pips: number(target_pips),
            take_profits: signal.take_profits.iter().map(PlainTarget::new).collect(),
            pattern_type: signal.pattern_type.as_deref(),
            confidence: number(signal.confidence),
            status: signal.status.map(SignalStatus::as_str),
            created_at: signal.created_at.to_string(),
            expires_at: signal.expires_at.to_string(),
            kept,
        }
    }
}

#[derive(serde::Serialize)]
struct PlainOverlay<'a> {
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk_percent: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk_basis: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_balance: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_equity: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_margin: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leverage: Option<Raw>,
    account_currency: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    win_rate: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trades_remaining: Option<u32>,
    updated_at: String,
    #[serde(flatten)]
    kept: &'a Kept,
}

impl<'a> PlainOverlay<'a> {
    fn new(overlay: &'a Overlay, kept: &'a Kept) -> Self {
        Self {
            user_id: overlay.user_id.as_str(),
            tier: overlay.tier.as_ref().map(TierName::as_str),
            risk_percent: number(overlay.risk_percent),
            risk_basis: overlay.risk_basis.map(RiskBasis::as_str),
            account_balance: number(overlay.account_balance),
            account_equity: number(overlay.account_equity),
            free_margin: number(overlay.free_margin),
            leverage: number(overlay.leverage),
            account_currency: overlay.account_currency.as_str(),
            win_rate: number(overlay.win_rate),
            trades_remaining: overlay.trades_remaining,
            updated_at: overlay.updated_at.to_string(),
            kept,
        }
    }
}

#[derive(serde::Serialize)]
struct PlainMissionTarget {
    price: Option<Raw>,
    pips: Option<Raw>,
    risk_reward: Option<Raw>,
    share: Option<Raw>,
    lots: Option<Raw>,
    reward_amount: Option<Raw>,
}

impl PlainMissionTarget {
    fn new(at: usize, mission: &Mission, terms: &Terms) -> Self {
        let (MissionTarget { price, pips, risk_reward, share }, part) = (&terms.targets()[at], terms.part(at, mission));
        Self {
            price: number(*price),
            pips: number(*pips),
            risk_reward: number(*risk_reward),
            share: number(Some(*share)),
            lots: number(part.lots),
            reward_amount: number(part.reward_amount),
        }
    }
}

#[derive(serde::Serialize)]
struct PlainMission<'a> {
    status: &'a str,
    seconds_remaining: u64,
    tradable: bool,
    reasons: Vec<&'a str>,
    stop_pips: Option<Raw>,
    target_pips: Option<Raw>,
    risk_reward: Option<Raw>,
    risk_percent: Option<Raw>,
    risk_budget: Option<Raw>,
    lots_raw: Option<Raw>,
    lots: Option<Raw>,
    risk_amount: Option<Raw>,
    reward_amount: Option<Raw>,
    targets: Vec<PlainMissionTarget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_balance: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_margin: Option<Raw>,
    limited_by: Option<&'a str>,
    margin_required: Option<Raw>,
    balance_confirmed_at: Option<String>,
    instrument: Option<&'a str>,
    account_currency: &'a str,
    conversion_rate: Option<Raw>,
    conversion_path: Option<Vec<&'a str>>,
    rates_confirmed_at: Option<String>,
}

impl<'a> PlainMission<'a> {
    fn new(mission: &Mission, terms: &'a Terms) -> Self {
        Self {
            status: mission.status.as_str(),
            seconds_remaining: mission.seconds_remaining,
            tradable: mission.is_tradable(),
            reasons: mission.reasons.iter().map(Reason::as_str).collect(),
            stop_pips: number(mission.stop_pips),
            target_pips: number(mission.target_pips),
            risk_reward: number(mission.risk_reward),
            risk_percent: number(mission.risk_percent),
            risk_budget: number(mission.risk_budget),
            lots_raw: number(mission.lots_raw),
            lots: number(mission.lots),
            risk_amount: number(mission.risk_amount),
            reward_amount: number(mission.reward_amount),
            targets: (0..terms.targets().len()).map(|at| PlainMissionTarget::new(at, mission, terms)).collect(),
            minimum_balance: number(mission.minimum_balance),
            minimum_margin: number(mission.minimum_margin),
            limited_by: mission.limited_by.map(Limit::as_str),
            margin_required: number(mission.margin_required),
            balance_confirmed_at: mission.balance_confirmed_at.map(|at| at.to_string()),
            instrument: terms.instrument().map(Symbol::as_str),
            account_currency: terms.account_currency().as_str(),
            conversion_rate: number(mission.conversion_rate),
            conversion_path: terms.conversion_path().map(|path| path.iter().map(Pair::as_str).collect()),
            rates_confirmed_at: terms.rates_confirmed_at().map(|at| at.to_string()),
        }
    }
}

#[derive(serde::Serialize)]
struct PlainView<'a> {
    signal: PlainSignal<'a>,
    user: PlainOverlay<'a>,
    mission: PlainMission<'a>,
}

#[derive(serde::Serialize)]
struct PlainOutcome<'a> {
    signal_id: &'a str,
    user_id: &'a str,
    status: &'a str,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    profit: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a str>,
    #[serde(flatten)]
    kept: &'a Kept,
}

/// Any text: quotes, backslashes, controls, what lies beyond the basic plane.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        vec(any::<char>(), 0..12).prop_map(String::from_iter),
        vec(prop::sample::select(vec!['"', '\\', '/', '\0', '\n', '\r', '\t', '\u{7f}', '\u{2028}', '😀', 'é']), 0..8)
            .prop_map(String::from_iter),
    ]
}

/// A value that is only kept: its spelling has to survive, so numbers are generated as text.
fn any_json() -> impl Strategy<Value = Json> {
    let plain = prop_oneof![
        prop::sample::select(vec!["null", "true", "false", "-0", "0.0", "-1e-300", "1E+300", "\"\\u00e9\\/\""])
            .prop_map(str::to_owned),
        "-?(0|[1-9][0-9]{0,60})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?",
        any_text().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ]
    .prop_map(Json::Plain);
    plain.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::Array),
            vec((any_text(), inner), 0..4).prop_map(|members| Json::Object(without_repeats(members))),
        ]
    })
}

fn without_repeats(members: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let mut names = HashSet::new();
    members.into_iter().filter(|(name, _)| names.insert(name.clone())).collect()
}

/// Members whose names are far from those of any record.
fn any_kept() -> impl Strategy<Value = Kept> {
    (vec((any_text(), any_json()), 0..5), prop::sample::select(vec!["", " ", "\n\t\r "])).prop_map(
        |(members, blank)| {
            let renamed = members.into_iter().map(|(name, value)| (format!("other member {name}"), value)).collect();
            let sent = Json::Object(without_repeats(renamed));
            let read = Object::parse(sent.text(blank).as_bytes()).unwrap();
            let Json::Object(sent) = sent else { panic!("an object was made") };
            Kept { sent, read }
        },
    )
}

fn any_decimal() -> impl Strategy<Value = Decimal> {
    prop_oneof![
        any::<i64>(),
        -100_000_000_000..100_000_000_000_i64,
        prop::sample::select(vec![0, 1, -1, i64::MAX, i64::MIN]),
        (-1_000..1_000_i64).prop_map(|whole| whole * 100_000_000),
    ]
    .prop_map(Decimal::from_units)
}

/// A number from 10⁻⁸ to the largest.
fn any_leverage() -> impl Strategy<Value = Decimal> {
    (Decimal::ONE.units()..=10_000 * Decimal::ONE.units()).prop_map(Decimal::from_units)
}

fn any_positive() -> impl Strategy<Value = Decimal> {
    prop_oneof![1..=i64::MAX, 1..1_000_000_000_i64].prop_map(Decimal::from_units)
}

fn any_percent() -> impl Strategy<Value = Decimal> {
    (0..=Decimal::HUNDRED.units()).prop_map(Decimal::from_units)
}

fn any_time() -> impl Strategy<Value = UnixMillis> {
    (0..=UnixMillis::MAX.millis()).prop_map(UnixMillis::new)
}

fn any_id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_:@-][A-Za-z0-9._:@-]{0,40}"
}

fn any_levels() -> impl Strategy<Value = (Direction, Levels)> {
    let prices = (any_positive(), any_positive(), option::of(any_positive())).prop_filter_map(
        "a stop on the entry",
        |(entry, stop, target)| {
            let direction = if stop < entry { Direction::Buy } else { Direction::Sell };
            // A target on the losing side is left out, rather than all three tried again.
            let levels = Levels::prices(direction, entry, stop, target);
            let levels = levels.or_else(|_| Levels::prices(direction, entry, stop, None));
            Some((direction, levels.ok()?))
        },
    );
    let direction = prop::sample::select(vec![Direction::Buy, Direction::Sell]);
    let pips = (direction, option::of(any_positive()), any_positive(), option::of(any_positive()))
        .prop_map(|(direction, entry, stop, target)| (direction, Levels::pips(entry, stop, target).unwrap()));
    prop_oneof![prices, pips]
}

/// Targets on the winning side, with shares or without; often none, and none beside the one of the levels.
fn any_targets(direction: Direction, levels: Levels) -> impl Strategy<Value = Vec<Target>> {
    let has_target = matches!(levels, Levels::Prices { target: Some(_), .. } | Levels::Pips { target: Some(_), .. });
    let level = (any::<bool>(), any_positive()).prop_map(move |(is_price, number)| {
        let price = match direction {
            Direction::Buy => levels.entry().and_then(|entry| entry.checked_add(number)),
            Direction::Sell => levels.entry().and_then(|entry| entry.checked_sub(number)),
        };
        let price = price.filter(|price| is_price && price.is_positive());
        price.map_or(TargetLevel::Pips(number), TargetLevel::Price)
    });
    let count = if has_target { 0..=0 } else { 0..=10 };
    (vec(level, count), option::of(1..=1_000_000_000_i64)).prop_map(|(levels, share)| {
        levels.into_iter().map(|level| Target { level, share: share.map(Decimal::from_units) }).collect()
    })
}

fn any_signal() -> impl Strategy<Value = (Signal, Kept)> {
    let times = (any_time(), any_time()).prop_filter("one moment", |(one, other)| one != other);
    let status =
        option::of(prop::sample::select(vec![SignalStatus::Active, SignalStatus::Cancelled, SignalStatus::Closed]));
    let said = (option::of(any_text()), option::of(any_percent()), status);
    let levels = any_levels()
        .prop_flat_map(|(direction, levels)| (Just(direction), Just(levels), any_targets(direction, levels)));
    (any_id(), "[A-Z0-9._#-]{1,32}", levels, said, times, any_kept()).prop_map(
        |(id, symbol, (direction, levels, take_profits), (pattern_type, confidence, status), (one, other), kept)| {
            let signal = Signal {
                id: SignalId::parse(&id).unwrap(),
                symbol: Symbol::parse(&symbol).unwrap(),
                direction,
                levels,
                take_profits,
                pattern_type,
                confidence,
                status,
                created_at: one.min(other),
                expires_at: one.max(other),
                members: kept.read.clone(),
            };
            (signal, kept)
        },
    )
}

fn any_overlay() -> impl Strategy<Value = (Overlay, Kept)> {
    let amount = any_decimal().prop_filter("no input is as low", |amount| amount.units() != i64::MIN);
    let amounts = prop::array::uniform3(option::of(amount));
    let basis = option::of(prop::sample::select(vec![RiskBasis::Balance, RiskBasis::Equity]));
    let numbers = (
        option::of(any_percent()),
        (amounts, option::of(any_leverage()), basis),
        option::of(any_percent()),
        option::of(0..=1_000_000_u32),
    );
    let times = prop_oneof![any_time().prop_map(|time| (time, time)), (any_time(), any_time())];
    (any_id(), option::of("[A-Z0-9_]{1,32}"), numbers, "[A-Z0-9]{3,10}", times, any_kept()).prop_map(
        |(id, tier, (risk_percent, margin, win_rate, trades_remaining), currency, times, kept)| {
            let (updated_at, balance_confirmed_at) = times;
            let ([account_balance, account_equity, free_margin], leverage, risk_basis) = margin;
            let overlay = Overlay {
                user_id: UserId::parse(&id).unwrap(),
                tier: tier.map(|name| TierName::parse(&name).unwrap()),
                risk_percent,
                risk_basis,
                account_balance,
                account_equity,
                free_margin,
                leverage,
                account_currency: Currency::parse(&currency).unwrap(),
                win_rate,
                trades_remaining,
                updated_at,
                balance_confirmed_at,
                members: kept.read.clone(),
            };
            (overlay, kept)
        },
    )
}

fn any_mission() -> impl Strategy<Value = Mission> {
    let status = prop::sample::select(vec![
        Status::Active,
        Status::Expired,
        Status::Cancelled,
        Status::Fired,
        Status::Failed,
        Status::Closed,
    ]);
    let reasons = prop::sample::subsequence(Reason::ALL.to_vec(), 0..=Reason::ALL.len());
    let numbers = prop::array::uniform13(option::of(any_decimal()));
    let limit = option::of(prop::sample::select(vec![Limit::Risk, Limit::Margin, Limit::Tier, Limit::Instrument]));
    let seconds = 0..=u64::try_from(UnixMillis::MAX.millis()).unwrap() / 1_000;
    (status, reasons, seconds, numbers, limit, option::of(any_time())).prop_map(
        |(status, listed, seconds_remaining, numbers, limited_by, balance_confirmed_at)| {
            let mut reasons = Reasons::default();
            for reason in listed {
                reasons.insert(reason);
            }
            let [
                stop_pips,
                target_pips,
                risk_reward,
                risk_percent,
                risk_budget,
                lots_raw,
                lots,
                risk_amount,
                reward_amount,
                minimum_balance,
                minimum_margin,
                margin_required,
                conversion_rate,
            ] = numbers;
            Mission {
                status,
                seconds_remaining,
                reasons,
                stop_pips,
                target_pips,
                risk_reward,
                risk_percent,
                risk_budget,
                lots_raw,
                lots,
                risk_amount,
                reward_amount,
                minimum_balance,
                minimum_margin,
                limited_by,
                margin_required,
                conversion_rate,
                balance_confirmed_at,
            }
        },
    )
}

/// The terms by the built-in tables, with prices that lead from yen to pounds.
fn terms(signal: &Signal, overlay: &Overlay) -> Terms {
    let mut rates = Rates::default();
    for (pair, seq, confirmed_at) in [("USDJPY", 1, 2_000), ("GBPUSD", 2, 1_000)] {
        let pair = Pair::parse(pair).unwrap();
        let (updated_at, confirmed_at) = (UnixMillis::MIN, UnixMillis::new(confirmed_at));
        rates.put(Rate { pair, price: Decimal::HUNDRED, updated_at, confirmed_at }, seq);
    }
    let (instruments, tiers) = (Instruments::built_in().unwrap(), Tiers::built_in().unwrap());
    let market = Market { instruments: &instruments, tiers: &tiers, rates: &rates, max_ages: MaxAges::default() };
    Terms::new(signal, &overlay.account_currency, market)
}

/// Rendered JSON as text; it has to be one line, since lines are what separates records in a batch.
#[track_caller]
fn line(json: Vec<u8>) -> String {
    assert!(!json.iter().any(|byte| matches!(byte, b'\n' | b'\r')), "more than one line");
    String::from_utf8(json).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_view_is_what_serde_makes_of_the_plain_structs(
        (signal, signal_kept) in any_signal(),
        (overlay, overlay_kept) in any_overlay(),
        mission in any_mission(),
    ) {
        let mut view = b"before".to_vec();
        let terms = terms(&signal, &overlay);
        write_view(&mut view, &signal_json(&signal), &overlay_json(&overlay), &mission, &terms);
        let plain = PlainView {
            signal: PlainSignal::new(&signal, &signal_kept),
            user: PlainOverlay::new(&overlay, &overlay_kept),
            mission: PlainMission::new(&mission, &terms),
        };
        let plain = format!("before{}", serde_json::to_string(&plain).unwrap());
        prop_assert_eq!(line(view), plain);
    }

    #[test]
    fn a_rendered_signal_reads_as_that_signal((signal, _) in any_signal()) {
        let json = line(signal_json(&signal));
        let draft = SignalDraft::from_object(Object::parse(json.as_bytes()).unwrap(), None).unwrap();
        prop_assert!(draft.agrees_with(&signal));
        prop_assert_eq!(draft.resolve(UnixMillis::MIN, 1).unwrap(), signal);
    }

    #[test]
    fn a_rendered_overlay_reads_as_that_overlay((overlay, _) in any_overlay()) {
        let json = line(overlay_record_json(&overlay));
        let draft = OverlayDraft::from_object(Object::parse(json.as_bytes()).unwrap(), None).unwrap();
        prop_assert_eq!(draft.resolve(UnixMillis::MAX), overlay);
    }

    #[test]
    fn a_rendered_outcome_is_the_plain_one_and_reads_as_that_outcome(
        (signal_id, user_id, at, kept) in (any_id(), any_id(), any_time(), any_kept()),
        status in prop::sample::select(vec![OutcomeStatus::Fired, OutcomeStatus::Failed, OutcomeStatus::Closed]),
        profit in option::of(any_decimal()),
        result in option::of(prop::sample::select(vec![TradeResult::Win, TradeResult::Loss, TradeResult::Even])),
    ) {
        let outcome = Outcome {
            signal_id: SignalId::parse(&signal_id).unwrap(),
            user_id: UserId::parse(&user_id).unwrap(),
            status,
            at,
            profit,
            result,
            members: kept.read.clone(),
        };
        let json = line(outcome_json(&outcome));
        let plain = PlainOutcome {
            signal_id: &signal_id,
            user_id: &user_id,
            status: status.as_str(),
            at: at.to_string(),
            profit: number(profit),
            result: result.map(TradeResult::as_str),
            kept: &kept,
        };
        prop_assert_eq!(&json, &serde_json::to_string(&plain).unwrap());
        let read = Outcome::from_object(Object::parse(json.as_bytes()).unwrap(), None, None, UnixMillis::MIN);
        prop_assert_eq!(read.unwrap(), outcome);
    }

    #[test]
    fn a_rendered_rate_reads_as_that_rate(
        pair in "[A-Z]{3}[A-Z]{3}|[A-Z0-9]{4,10}-[A-Z0-9]{3,10}"
            .prop_filter("twice the same code", |pair| Pair::parse(pair).is_ok()),
        price in any_positive(),
        (updated_at, confirmed_at) in (any_time(), any_time()),
    ) {
        let rate = Rate { pair: Pair::parse(&pair).unwrap(), price, updated_at, confirmed_at };
        let json = line(rate_json(&rate));
        let times = format!(r#""updated_at":"{updated_at}","confirmed_at":"{confirmed_at}""#);
        prop_assert_eq!(&json, &format!(r#"{{"pair":"{pair}","price":{price},{times}}}"#));
        let draft = RateDraft::from_object(Object::parse(json.as_bytes()).unwrap(), None).unwrap();
        prop_assert_eq!(draft.resolve(UnixMillis::MAX), rate);
    }

    #[test]
    fn a_string_is_escaped_as_serde_does_it(text in any_text()) {
        let mut out = Vec::new();
        write_string(&mut out, &text);
        prop_assert_eq!(line(out), serde_json::to_string(&text).unwrap());
    }
}

/// One view in full, to be read by people.
#[test]
fn a_view_has_three_objects() {
    let object = |text: &str| Object::parse(text.as_bytes()).unwrap();
    let published = r#"{"signal_id":"S-1","symbol":"EURUSD","direction":"BUY","entry_price":1.0850,"stop_loss":1.083,
        "created_at":1769788800,"expires_at":"2026-01-30T17:00:00Z","session":"LONDON"}"#;
    let signal = SignalDraft::from_object(object(published), None).unwrap().resolve(UnixMillis::MIN, 1).unwrap();
    let sent = r#"{"user_id":"7","account_balance":"10000.00","updated_at":0,"rank":1.0}"#;
    let overlay = OverlayDraft::from_object(object(sent), None).unwrap().resolve(UnixMillis::MIN);
    let mut reasons = Reasons::default();
    reasons.insert(Reason::BelowMinimumLot);
    reasons.insert(Reason::Expired);
    let mission = Mission {
        status: Status::Expired,
        seconds_remaining: 0,
        reasons,
        stop_pips: Some(Decimal::ONE),
        target_pips: None,
        risk_reward: None,
        risk_percent: Some(Decimal::from_units(-1)),
        risk_budget: Some(Decimal::HUNDRED),
        lots_raw: None,
        lots: Some(Decimal::ZERO),
        risk_amount: Some(Decimal::from_units(150_000_000)),
        reward_amount: None,
        minimum_balance: Some(Decimal::from_units(i64::MAX)),
        minimum_margin: None,
        limited_by: Some(Limit::Risk),
        margin_required: None,
        conversion_rate: None,
        balance_confirmed_at: Some(UnixMillis::new(1)),
    };
    let mut view = Vec::new();
    let terms = terms(&signal, &overlay);
    write_view(&mut view, &signal_json(&signal), &overlay_json(&overlay), &mission, &terms);
    let expected = concat!(
        r#"{"signal":{"signal_id":"S-1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"#,
        r#""created_at":"2026-01-30T16:00:00Z","expires_at":"2026-01-30T17:00:00Z","session":"LONDON"},"#,
        r#""user":{"user_id":"7","account_balance":10000,"account_currency":"USD","#,
        r#""updated_at":"1970-01-01T00:00:00Z","rank":1.0},"#,
        r#""mission":{"status":"expired","seconds_remaining":0,"tradable":false,"#,
        r#""reasons":["expired","below_minimum_lot"],"stop_pips":1,"target_pips":null,"risk_reward":null,"#,
        r#""risk_percent":-0.00000001,"risk_budget":100,"lots_raw":null,"lots":0,"risk_amount":1.5,"#,
        r#""reward_amount":null,"targets":[],"minimum_balance":92233720368.54775807,"limited_by":"risk","margin_required":null,"#,
        r#""balance_confirmed_at":"1970-01-01T00:00:00.001Z","instrument":"EURUSD","account_currency":"USD","#,
        r#""conversion_rate":null,"conversion_path":[],"rates_confirmed_at":null}}"#,
    );
    assert_eq!(line(view), expected);
}
