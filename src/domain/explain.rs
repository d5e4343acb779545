//! The computation of a mission, step by step, for a person who wants to know where a size comes from.

use super::{
    Conversion, Decimal, Instrument, Leg, Levels, Limit, Market, Mission, MissionTarget, Overlay, Pair, Part, Reason,
    RiskBasis, Round, Signal, Target, TargetLevel, Terms,
};

/// One step: what it is called, and what went in and came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the step works out.
    pub name: &'static str,
    /// With which numbers.
    pub text: String,
}

/// Returns the steps by which `mission` came out of a signal and an overlay, with the limit that decided the size. The
/// last step lists all reasons that speak against it, wherever the computation stops.
///
/// A number with more than eight decimals is shown cut; sizes are worked out from the exact one.
#[must_use]
pub fn explain(signal: &Signal, overlay: &Overlay, mission: &Mission, market: Market<'_>) -> Vec<Step> {
    let mut steps = computation(signal, overlay, mission, market);
    let reasons: Vec<_> = mission.reasons.iter().map(Reason::as_str).collect();
    let verdict = if reasons.is_empty() { "yes".to_owned() } else { format!("no: {}", reasons.join(", ")) };
    steps.push(Step { name: "tradable", text: verdict });
    steps
}

/// The steps, as far as the computation gets.
fn computation(signal: &Signal, overlay: &Overlay, mission: &Mission, market: Market<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut step = |name, text| steps.push(Step { name, text });
    let currency = &overlay.account_currency;
    step("signal", format!("{} {} {}", signal.direction.as_str(), signal.symbol, levels(signal)));
    let Some(found) = market.instruments.find(&signal.symbol) else {
        step("stops here", format!("the instrument table has no {}, so a lot has no size", signal.symbol));
        return steps;
    };
    let instrument = found.instrument;
    if *found.symbol != signal.symbol {
        step("instrument", format!("{}: {}", found.symbol, found.why()));
    }
    step("distance", distance(&signal.levels, instrument, mission));
    let Some(conversion) = super::mission::conversion(instrument, signal.levels.entry(), currency, market.rates) else {
        let text = format!(
            "nothing converts {} to {currency}, neither a rate of the two nor one of each with a third: put a rate for {}",
            instrument.quote,
            Pair::of(&instrument.quote, currency)
        );
        step("stops here", text);
        return steps;
    };
    step("conversion", shown_conversion(instrument, overlay, &conversion, mission));
    let terms = Terms::new(signal, currency, market);
    if let Some(loss) = terms.loss_per_lot() {
        let text = format!("distance × {} units a lot × conversion = {loss} {currency}", instrument.contract_size);
        step("loss per lot", text);
    }
    let tier = market.tiers.of_user(overlay.tier.as_ref()).limits();
    let account = overlay.account();
    let (Some(basis), Some(percent), Some(budget)) = (account.basis(), mission.risk_percent, mission.risk_budget)
    else {
        let missing = match account.basis() {
            None => format!("the overlay has no {}", account.risk_basis.as_str()),
            Some(_) => "no risk percent is known".to_owned(),
        };
        step("stops here", missing);
        return steps;
    };
    let whose = if overlay.risk_percent.is_some() { "the user's" } else { "the tier's" };
    let of = if account.risk_basis == RiskBasis::Equity { "the equity of " } else { "" };
    let confirmed = account.balance_confirmed_at;
    step("risk budget", format!("{of}{basis} (confirmed {confirmed}) × {percent} % ({whose}) = {budget} {currency}"));
    let (Some(raw), Some(lots), Some(risk)) = (mission.lots_raw, mission.lots, mission.risk_amount) else {
        let reasons: Vec<_> = mission.reasons.iter().map(Reason::as_str).collect();
        step("stops here", format!("no size can be given: {}", reasons.join(", ")));
        return steps;
    };
    step("raw size", format!("risk budget / loss per lot = {raw} lots"));
    let tier_max = tier.map(|tier| tier.max_lots);
    let tier_text = tier_max.map_or("no tier's limit".to_owned(), |most| format!("the tier's at most {most}"));
    step(
        "limits",
        format!(
            "steps of {}, at least {}, the instrument's at most {}, {tier_text}",
            instrument.lot_step, instrument.min_lot, instrument.max_lot
        ),
    );
    if let Some(margin) = mission.margin_required {
        let free = account.free().unwrap_or_default();
        let leverage = account.leverage.or(tier.and_then(|tier| tier.leverage));
        let by =
            [leverage.map(|leverage| format!("1:{leverage}")), instrument.margin_percent.map(|p| format!("{p} %"))];
        let by: Vec<_> = by.into_iter().flatten().collect();
        step("margin", format!("{lots} lots need {margin} at {}, and {free} {currency} is free", by.join(" and ")));
    }
    step("size", format!("{lots} lots: {}", decided_by(lots, instrument, mission)));
    step("risk", format!("{lots} × loss per lot = {risk} {currency}"));
    if let Some(reward) = mission.reward_amount {
        step("reward", shown_reward(&terms, mission, lots, &format!("{reward} {currency}")));
    }
    steps
}

fn levels(signal: &Signal) -> String {
    let (at, stop) = match signal.levels {
        Levels::Prices { entry, stop, .. } => (format!("at {entry}"), stop.to_string()),
        Levels::Pips { entry, stop, .. } => {
            (entry.map_or("at the market".to_owned(), |entry| format!("at {entry}")), format!("{stop} pips away"))
        }
    };
    let target = |target: &Target| match target.level {
        TargetLevel::Price(price) => format!(", target {price}"),
        TargetLevel::Pips(pips) => format!(", target {pips} pips away"),
    };
    let targets: String = signal.targets().iter().map(target).collect();
    format!("{at}, stop {stop}{targets}")
}

/// What is gained: at the one target, or at each of several and together.
fn shown_reward(terms: &Terms, mission: &Mission, lots: Decimal, reward: &str) -> String {
    let part = |(at, target): (usize, &MissionTarget)| {
        let Part { lots, reward_amount } = terms.part(at, mission);
        let (lots, amount) = (lots.unwrap_or_default(), reward_amount.unwrap_or_default());
        format!("{lots} at target {} ({} %) = {amount}", at + 1, target.share)
    };
    match terms.targets() {
        [_] => format!("{lots} lots at the target = {reward}"),
        targets => {
            let parts: Vec<_> = targets.iter().enumerate().map(part).collect();
            format!("{}; together {reward}", parts.join(", "))
        }
    }
}

fn distance(levels: &Levels, instrument: &Instrument, mission: &Mission) -> String {
    match levels {
        Levels::Prices { entry, stop, .. } => {
            let distance = entry.distance(*stop).unwrap_or_default();
            let pips = mission.stop_pips.unwrap_or_default();
            format!("|{entry} − {stop}| = {distance}, which is {pips} pips of {}", instrument.pip)
        }
        Levels::Pips { stop, .. } => {
            let distance = stop.checked_mul(instrument.pip, Round::Down).unwrap_or_default();
            format!("{stop} pips of {} = {distance}", instrument.pip)
        }
    }
}

fn shown_conversion(instrument: &Instrument, overlay: &Overlay, conversion: &Conversion, mission: &Mission) -> String {
    let (quote, account) = (&instrument.quote, &overlay.account_currency);
    let value = mission.conversion_rate.unwrap_or_default();
    if conversion.legs().is_empty() {
        return format!("{quote} is the account's currency: 1");
    }
    let step = |leg: &Leg| {
        let what = if leg.seq.is_none() { "the entry price" } else { "the stored rate" };
        let confirmed = leg.confirmed_at.map(|at| format!(" (confirmed {at})")).unwrap_or_default();
        format!("{} {what} of {} {}{confirmed}", if leg.is_inverse { "by" } else { "times" }, leg.pair, leg.price)
    };
    let steps: Vec<_> = conversion.legs().iter().map(step).collect();
    format!("{quote} to {account} {} = {value}", steps.join(", "))
}

fn decided_by(lots: Decimal, instrument: &Instrument, mission: &Mission) -> String {
    if lots.is_zero() {
        let would_do = |what: &str, least: Option<Decimal>| least.map(|least| format!("; {what} of {least} would do"));
        let needed = would_do("a balance", mission.minimum_balance).unwrap_or_default()
            + &would_do("a free margin", mission.minimum_margin).unwrap_or_default();
        return format!("below the minimum lot of {}{needed}", instrument.min_lot);
    }
    match mission.limited_by {
        Some(Limit::Margin) => "the free margin decides, cut to the lot step".to_owned(),
        Some(Limit::Tier) => "the tier's largest size decides".to_owned(),
        Some(Limit::Instrument) => "the instrument's largest size decides".to_owned(),
        Some(Limit::Risk) | None => "the budget decides, cut to the lot step".to_owned(),
    }
}
