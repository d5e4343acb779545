//! Missions as tables of values: a signal and an overlay in, the numbers and the reasons out.
//!
//! Each case names only what differs from one ordinary signal and one ordinary overlay, as a merge patch, and only
//! those members of the answer that it is about; the numbers are compared as text, digit by digit. The expected
//! sizes were worked out apart from this program, with fractions.

mod ages;
mod budget;
mod conversion;
mod distance;
mod limits;
mod reasons;
mod sizing;
mod targets;

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

/// Limits of the ages of rates and balances, in minutes.
fn minutes(rate: Option<u64>, balance: Option<u64>) -> MaxAges {
    let max_age = |minutes: u64| MaxAge::from_millis(minutes * 60_000);
    MaxAges { rate: rate.map(max_age), balance: balance.map(max_age) }
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
