//! Missions: what one user may do with one signal.
//!
//! [`compute`] joins a shared [`Signal`] with one user's [`Overlay`]. The result is never stored: it is
//! cheaper to compute again than to keep, and a stored copy would need rewriting each time the user's
//! balance changes.
//!
//! The rule is the brokers' (MetaTrader 5: loss = distance / tick size × tick value), on price distances:
//!
//! ```text
//! loss_per_lot = |entry − stop| × contract_size × rate(quote → account)
//! risk_budget  = account_balance × risk_percent / 100
//! lots_raw     = risk_budget / loss_per_lot
//! lots         = the largest multiple of lot_step ≤ lots_raw, max_lot and the tier's max_lots
//! risk_amount  = lots × loss_per_lot
//! ```
//!
//! Everything up to a shown number is an exact fraction of integers, of 256 bits where 128 do not do. Shown numbers are
//! cut, not rounded, to eight decimals; as budget and amount are cut alike, `risk_amount ≤ risk_budget` holds in
//! the answer as it does in the exact numbers. A size below the minimum lot is never bumped up, and a missing rate is never
//! taken for 1.
//!
//! [`Terms`] is the part that is the same for all users of a signal whose accounts hold one currency, so that a batch
//! computes it once.

use ethnum::U256;

use super::ratio::{Divisor, Ratio};
use super::{
    Account, Conversion, Currency, Decimal, Instrument, Instruments, Levels, Outcome, OutcomeStatus, Overlay, Rates,
    Round, Signal, Tiers, UnixMillis, UserTier,
};

/// What the computation looks things up in.
#[derive(Clone, Copy, Debug)]
pub struct Market<'a> {
    /// Contract sizes, pips and lot steps.
    pub instruments: &'a Instruments,
    /// Limits of the tiers.
    pub tiers: &'a Tiers,
    /// Rates to convert by.
    pub rates: &'a Rates,
}

/// Where a mission stands for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The signal is not expired, and nothing has happened for the user yet.
    Active,
    /// The signal is expired, and nothing has happened for the user.
    Expired,
    /// The user's order was placed.
    Fired,
    /// The user's order was tried and refused.
    Failed,
}

impl Status {
    /// Where a mission stands, known before anything is computed.
    #[must_use]
    pub fn of(signal: &Signal, outcome: Option<OutcomeStatus>, now: UnixMillis) -> Self {
        match outcome {
            Some(OutcomeStatus::Fired) => Self::Fired,
            Some(OutcomeStatus::Failed) => Self::Failed,
            None if signal.is_expired(now) => Self::Expired,
            None => Self::Active,
        }
    }

    /// `active`, `expired`, `fired` or `failed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Fired => "fired",
            Self::Failed => "failed",
        }
    }
}

/// Something that speaks against trading a mission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// The signal is expired.
    Expired,
    /// The user's order was placed already.
    AlreadyFired,
    /// The user's order was tried and refused already.
    AlreadyFailed,
    /// The instrument table has no such symbol, so a lot has no size.
    UnknownSymbol,
    /// The tier table has no such tier, so the user's limits are not known.
    UnknownTier,
    /// The signal's confidence is below what the tier asks for.
    BelowTierConfidence,
    /// No trades are left for today.
    NoTradesRemaining,
    /// The overlay has no balance.
    NoBalance,
    /// Neither the overlay nor a tier names a risk.
    NoRiskPercent,
    /// The risk is 0 percent.
    ZeroRisk,
    /// Nothing converts the quote currency to the account's.
    NoConversionRate,
    /// The size that the budget allows is below the smallest that trades.
    BelowMinimumLot,
    /// A number does not fit; no size is better than a wrong one.
    OutOfRange,
}

impl Reason {
    /// All reasons, in the order in which they are listed.
    pub const ALL: [Self; 13] = [
        Self::Expired,
        Self::AlreadyFired,
        Self::AlreadyFailed,
        Self::UnknownSymbol,
        Self::UnknownTier,
        Self::BelowTierConfidence,
        Self::NoTradesRemaining,
        Self::NoBalance,
        Self::NoRiskPercent,
        Self::ZeroRisk,
        Self::NoConversionRate,
        Self::BelowMinimumLot,
        Self::OutOfRange,
    ];

    /// The stable name that clients see.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::AlreadyFired => "already_fired",
            Self::AlreadyFailed => "already_failed",
            Self::UnknownSymbol => "unknown_symbol",
            Self::UnknownTier => "unknown_tier",
            Self::BelowTierConfidence => "below_tier_confidence",
            Self::NoTradesRemaining => "no_trades_remaining",
            Self::NoBalance => "no_balance",
            Self::NoRiskPercent => "no_risk_percent",
            Self::ZeroRisk => "zero_risk",
            Self::NoConversionRate => "no_conversion_rate",
            Self::BelowMinimumLot => "below_minimum_lot",
            Self::OutOfRange => "out_of_range",
        }
    }
}

/// A set of [`Reason`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reasons(u16);

impl Reasons {
    /// Adds a reason.
    pub fn insert(&mut self, reason: Reason) {
        self.0 |= 1 << reason as u8;
    }

    /// Whether a reason is in the set.
    #[must_use]
    pub const fn contains(self, reason: Reason) -> bool {
        self.0 & (1 << reason as u8) != 0
    }

    /// Whether nothing speaks against it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The reasons in their order.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.into_iter().filter(move |reason| self.contains(*reason))
    }
}

/// What one user may do with one signal, as of one moment.
///
/// Amounts are in the account's currency, sizes in lots. A number that can not be known is `None`, and a reason says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mission {
    /// Where it stands.
    pub status: Status,
    /// Whole seconds until the signal expires, rounded up: zero means expired.
    pub seconds_remaining: u64,
    /// What speaks against trading it; nothing does when this is empty.
    pub reasons: Reasons,
    /// Distance from entry to stop in pips; `None` for an unknown symbol's prices.
    pub stop_pips: Option<Decimal>,
    /// Distance from entry to target in pips; `None` also without a target.
    pub target_pips: Option<Decimal>,
    /// Distance to the target by distance to the stop.
    pub risk_reward: Option<Decimal>,
    /// The risk that was applied, in percent: the overlay's, else the tier's.
    pub risk_percent: Option<Decimal>,
    /// What may be lost.
    pub risk_budget: Option<Decimal>,
    /// The size that would lose just the budget.
    pub lots_raw: Option<Decimal>,
    /// The size to trade; zero when not even the smallest fits the budget.
    pub lots: Option<Decimal>,
    /// What `lots` loses at the stop; at most `risk_budget`.
    pub risk_amount: Option<Decimal>,
    /// What `lots` gains at the target.
    pub reward_amount: Option<Decimal>,
    /// The least balance with which the smallest size would fit; only with [`Reason::BelowMinimumLot`].
    pub minimum_balance: Option<Decimal>,
    /// What one unit of the quote currency is worth in the account's.
    pub conversion_rate: Option<Decimal>,
}

impl Mission {
    /// Whether nothing speaks against trading it.
    #[must_use]
    pub const fn is_tradable(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// What of a mission follows from the account alone, whatever the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The risk that is applied, in percent: the overlay's, else the tier's.
    pub risk_percent: Option<Decimal>,
    /// What may be lost: balance × risk / 100, cut to eight decimals.
    pub risk_budget: Option<Decimal>,
}

/// One user's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The size that would lose just the budget.
    pub lots_raw: Decimal,
    /// The size to trade; zero when not even the smallest fits the budget.
    pub lots: Decimal,
    /// `lots` in steps of the instrument's lot.
    pub steps: u64,
}

/// What a size stands for in the account's currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amounts {
    /// What it loses at the stop.
    pub risk: Decimal,
    /// What it gains at the target, if there is one.
    pub reward: Option<Decimal>,
}

/// What a signal comes to for every account in one currency.
#[derive(Clone, Debug)]
pub struct Terms {
    expires_at: UnixMillis,
    confidence: Option<Decimal>,
    reasons: Reasons,
    stop_pips: Option<Decimal>,
    target_pips: Option<Decimal>,
    risk_reward: Option<Decimal>,
    conversion_rate: Option<Decimal>,
    rate_seq: u64,
    sizing: Option<Sizing>,
}

/// The exact fractions behind a size.
#[derive(Clone, Debug)]
struct Sizing {
    /// Units of raw lots for a product of balance units and risk percent units.
    raw: Ratio,
    /// Units of loss for a unit of lots.
    loss: Ratio,
    /// Units of gain for a unit of lots.
    gain: Option<Ratio>,
    lot_step: Decimal,
    /// Smallest multiple of the step that trades.
    min_lot: Decimal,
    max_lot: Decimal,
}

/// Computes what one user may do with one signal.
#[must_use]
pub fn compute(
    signal: &Signal,
    overlay: &Overlay,
    outcome: Option<&Outcome>,
    market: Market<'_>,
    now: UnixMillis,
) -> Mission {
    let terms = Terms::new(signal, &overlay.account_currency, market);
    let status = Status::of(signal, outcome.map(|outcome| outcome.status), now);
    terms.mission(overlay.account(), market.tiers.of_user(overlay.tier.as_ref()), status, now)
}

impl Terms {
    /// Works out the terms of a signal for accounts in `account_currency`.
    #[must_use]
    pub fn new(signal: &Signal, account_currency: &Currency, market: Market<'_>) -> Self {
        let instrument = market.instruments.get(&signal.symbol);
        let distances = Distances::of(&signal.levels, instrument);
        let mut terms = Self {
            expires_at: signal.expires_at,
            confidence: signal.confidence,
            reasons: Reasons::default(),
            stop_pips: distances.stop_pips,
            target_pips: distances.target_pips,
            risk_reward: distances.risk_reward,
            conversion_rate: None,
            rate_seq: 0,
            sizing: None,
        };
        let Some(instrument) = instrument else {
            terms.reasons.insert(Reason::UnknownSymbol);
            return terms;
        };
        let Some(conversion) = conversion(instrument, signal.levels.entry(), account_currency, market.rates) else {
            terms.reasons.insert(Reason::NoConversionRate);
            return terms;
        };
        terms.rate_seq = conversion.seq;
        // For display only: the sizes below use the fraction itself.
        terms.conversion_rate = conversion.numerator.checked_div(conversion.denominator, Round::HalfEven);
        terms.sizing = distances.stop.and_then(|stop| Sizing::new(instrument, stop, distances.target, conversion));
        if terms.sizing.is_none() || terms.conversion_rate.is_none() {
            terms.reasons.insert(Reason::OutOfRange);
        }
        terms
    }

    /// The `seq` of the stored rate that the terms rest on; 0 if they need none.
    #[must_use]
    pub const fn rate_seq(&self) -> u64 {
        self.rate_seq
    }

    /// Works out one user's mission; `tier` is what the tier table says of the overlay's tier.
    #[must_use]
    pub fn mission(&self, account: Account, tier: UserTier<'_>, status: Status, now: UnixMillis) -> Mission {
        let budget = Budget::of(account, tier);
        let mut mission = Mission {
            status,
            seconds_remaining: self.seconds_remaining(now),
            reasons: self.reasons(account, budget.risk_percent, tier, status, now),
            stop_pips: self.stop_pips,
            target_pips: self.target_pips,
            risk_reward: self.risk_reward,
            risk_percent: budget.risk_percent,
            risk_budget: budget.risk_budget,
            lots_raw: None,
            lots: None,
            risk_amount: None,
            reward_amount: None,
            minimum_balance: None,
            conversion_rate: self.conversion_rate,
        };
        let (Some(balance), Some(risk_percent)) = (account.balance, budget.risk_percent) else { return mission };
        if mission.risk_budget.is_none() {
            mission.reasons.insert(Reason::OutOfRange);
            return mission;
        }
        // Without the tier's cap a size could be larger than allowed.
        let Some(sizing) = self.sizing.as_ref().filter(|_| tier != UserTier::Unknown) else { return mission };
        let tier_max_lots = tier.limits().map(|tier| tier.max_lots);
        let size = sizing.size(balance, risk_percent, tier_max_lots);
        match size.and_then(|size| Some((size, sizing.amounts(size.lots)?))) {
            Some((size, amounts)) => {
                mission.lots_raw = Some(size.lots_raw);
                mission.lots = Some(size.lots);
                mission.risk_amount = Some(amounts.risk);
                mission.reward_amount = amounts.reward;
                if size.lots.is_zero() {
                    mission.reasons.insert(Reason::BelowMinimumLot);
                    mission.minimum_balance = sizing.minimum_balance(risk_percent, tier_max_lots);
                }
            }
            None => mission.reasons.insert(Reason::OutOfRange),
        }
        mission
    }

    /// The size of an active mission that may be traded; `None` if it may not, for whatever reason.
    ///
    /// What [`mission`](Self::mission) gives as `lots_raw` and `lots` where its `reasons` are empty, for those who work out thousands and need
    /// nothing else of most. The amounts that belong to it may not fit yet: [`amounts`](Self::amounts) says so.
    #[must_use]
    #[inline]
    pub fn tradable_size(&self, account: Account, tier: UserTier<'_>, now: UnixMillis) -> Option<Size> {
        let limits = tier.limits();
        let risk_percent = account.risk_percent.or(limits.map(|tier| tier.risk_percent));
        if !self.reasons(account, risk_percent, tier, Status::Active, now).is_empty() {
            return None;
        }
        let (balance, risk_percent) = (account.balance?, risk_percent?);
        let size = self.sizing.as_ref()?.size(balance, risk_percent, limits.map(|tier| tier.max_lots))?;
        (!size.lots.is_zero() && fits_budget(budget_product(balance, risk_percent)?)).then_some(size)
    }

    /// Whole seconds until the signal expires, rounded up.
    #[must_use]
    pub fn seconds_remaining(&self, now: UnixMillis) -> u64 {
        let milliseconds = self.expires_at.millis().saturating_sub(now.millis());
        u64::try_from(milliseconds).unwrap_or(0).div_ceil(1_000)
    }

    /// What a size loses at the stop and gains at the target; `None` where nothing can be sized or a number does not fit.
    #[must_use]
    pub fn amounts(&self, lots: Decimal) -> Option<Amounts> {
        self.sizing.as_ref()?.amounts(lots)
    }

    /// What speaks against trading before anything is sized.
    #[inline]
    fn reasons(
        &self,
        account: Account,
        risk_percent: Option<Decimal>,
        tier: UserTier<'_>,
        status: Status,
        now: UnixMillis,
    ) -> Reasons {
        let mut reasons = self.reasons;
        match status {
            Status::Active | Status::Expired => {}
            Status::Fired => reasons.insert(Reason::AlreadyFired),
            Status::Failed => reasons.insert(Reason::AlreadyFailed),
        }
        if now >= self.expires_at {
            reasons.insert(Reason::Expired);
        }
        if tier == UserTier::Unknown {
            reasons.insert(Reason::UnknownTier);
        }
        let tier = tier.limits();
        if let (Some(tier), Some(confidence)) = (tier, self.confidence)
            && confidence < tier.min_confidence
        {
            reasons.insert(Reason::BelowTierConfidence);
        }
        if account.trades_remaining.or(tier.map(|tier| tier.trades_per_day)) == Some(0) {
            reasons.insert(Reason::NoTradesRemaining);
        }
        if account.balance.is_none() {
            reasons.insert(Reason::NoBalance);
        }
        match risk_percent {
            None => reasons.insert(Reason::NoRiskPercent),
            Some(Decimal::ZERO) => reasons.insert(Reason::ZeroRisk),
            Some(_) => {}
        }
        reasons
    }

    /// The exact loss of one lot at the stop, cut to eight decimals; `None` where nothing can be sized.
    #[must_use]
    pub fn loss_per_lot(&self) -> Option<Decimal> {
        let one = u128::from(Decimal::ONE.units().unsigned_abs());
        self.sizing.as_ref().and_then(|sizing| decimal(sizing.loss.floor_of(one)?))
    }
}

/// A distance in price as a product of two numbers, which may have more decimals than a [`Decimal`]: pips by the length of a pip, or a
/// difference of prices by 1.
type Distance = [Decimal; 2];

/// The distances of a signal, as prices and as pips.
struct Distances {
    stop: Option<Distance>,
    target: Option<Distance>,
    stop_pips: Option<Decimal>,
    target_pips: Option<Decimal>,
    risk_reward: Option<Decimal>,
}

impl Distances {
    fn of(levels: &Levels, instrument: Option<&Instrument>) -> Self {
        match *levels {
            Levels::Prices { entry, stop, target } => {
                let stop = entry.distance(stop);
                let target = target.and_then(|target| entry.distance(target));
                let in_pips = |distance: Option<Decimal>| distance?.checked_div(instrument?.pip, Round::HalfEven);
                let risk_reward = target.zip(stop).and_then(|(target, stop)| target.checked_div(stop, Round::Down));
                let whole = |distance: Decimal| [distance, Decimal::ONE];
                Self {
                    stop: stop.map(whole),
                    target: target.map(whole),
                    stop_pips: in_pips(stop),
                    target_pips: in_pips(target),
                    risk_reward,
                }
            }
            Levels::Pips { stop, target, .. } => {
                let in_price = |pips: Decimal| Some([pips, instrument?.pip]);
                Self {
                    stop: in_price(stop),
                    target: target.and_then(in_price),
                    stop_pips: Some(stop),
                    target_pips: target,
                    risk_reward: target.and_then(|target| target.checked_div(stop, Round::Down)),
                }
            }
        }
    }
}

/// Finds how the quote currency converts to the account's.
pub(super) fn conversion(
    instrument: &Instrument,
    entry: Option<Decimal>,
    account: &Currency,
    rates: &Rates,
) -> Option<Conversion> {
    if instrument.quote == *account {
        return Some(Conversion::ONE);
    }
    // The pair's own price converts its quote to its base, and no feed is fresher than the entry.
    if let Some(entry) = entry.filter(|_| instrument.base.as_ref() == Some(account)) {
        return Some(Conversion { numerator: Decimal::ONE, denominator: entry, seq: 0 });
    }
    rates.conversion(&instrument.quote, account)
}

impl Budget {
    /// What an account may risk on any signal; `tier` is what the tier table says of the overlay's tier.
    #[must_use]
    pub fn of(account: Account, tier: UserTier<'_>) -> Self {
        /// A hundredth, and from units of both to units.
        const SCALE: Option<Divisor> = Divisor::new(BUDGET_SCALE);
        let risk_percent = account.risk_percent.or(tier.limits().map(|tier| tier.risk_percent));
        let product = account.balance.zip(risk_percent).and_then(|(balance, risk)| budget_product(balance, risk));
        let risk_budget = product.and_then(|product| decimal(SCALE?.divide(product)?));
        Self { risk_percent, risk_budget }
    }
}

/// By how much units of a balance times units of a percentage are more than units of a budget.
const BUDGET_SCALE: u64 = 100 * ONE;

/// Whether a product of units comes to a budget that fits.
#[inline]
const fn fits_budget(product: u128) -> bool {
    product < (1 << 63) * BUDGET_SCALE as u128
}

/// A balance times a percentage, in units of both.
fn budget_product(balance: Decimal, risk_percent: Decimal) -> Option<u128> {
    let (balance, risk) = (u128::try_from(balance.units()).ok()?, u128::try_from(risk_percent.units()).ok()?);
    balance.checked_mul(risk)
}

/// Units of a [`Decimal`] in one.
const ONE: u64 = 100_000_000;

impl Sizing {
    /// Prepares the fractions; `None` if they do not fit, or the stop has no distance.
    fn new(instrument: &Instrument, stop: Distance, target: Option<Distance>, conversion: Conversion) -> Option<Self> {
        /// Balance, percentage and lots: 10⁻⁸ × 10⁻⁸ × 1/100 against 10⁻⁸ × 10⁻⁸ × 10⁸ leaves this factor.
        const RAW_SCALE: u64 = 1_000_000;
        /// Distance × contract size × lots over lots, in units.
        const AMOUNT_SCALE: u64 = 10_000_000_000_000_000;
        let units = |number: Decimal| u64::try_from(number.units()).ok();
        let factor = |number: Decimal| units(number).filter(|units| *units > 0);
        let contract = factor(instrument.contract_size)?;
        let (numerator, denominator) = (factor(conversion.numerator)?, factor(conversion.denominator)?);
        let factors = |[one, other]: Distance| Some([units(one)?, units(other)?]);
        let amount =
            |[one, other]: [u64; 2]| Ratio::new([one, other, contract, numerator], [denominator, AMOUNT_SCALE, ONE, 1]);
        // Without a distance to the target nothing is gained; without one to the stop there is no size.
        let [one, other] = factors(stop)?;
        Some(Self {
            raw: Ratio::new([denominator, RAW_SCALE, ONE, 1], [one, other, contract, numerator])?,
            loss: amount([one, other])?,
            gain: match target {
                Some(target) => Some(amount(factors(target)?)?),
                None => None,
            },
            lot_step: instrument.lot_step,
            min_lot: instrument.min_lot.ceil_to(instrument.lot_step)?,
            max_lot: instrument.max_lot,
        })
    }

    /// Sizes one account; `None` if a number does not fit.
    #[inline]
    fn size(&self, balance: Decimal, risk_percent: Decimal, tier_max_lots: Option<Decimal>) -> Option<Size> {
        // The one division: cutting it to units first and to steps then gives the same step as the exact fraction.
        let lots_raw = decimal(self.raw.floor_of(budget_product(balance, risk_percent)?)?)?;
        let most = u64::try_from(lots_raw.min(self.cap(tier_max_lots)).units()).ok()?;
        let step = u64::try_from(self.lot_step.units()).ok()?;
        let steps = most.checked_div(step)?;
        let lots = decimal(steps * step)?;
        Some(if lots < self.min_lot {
            Size { lots_raw, lots: Decimal::ZERO, steps: 0 }
        } else {
            Size { lots_raw, lots, steps }
        })
    }

    /// What a size loses and gains; `None` if a number does not fit.
    fn amounts(&self, lots: Decimal) -> Option<Amounts> {
        let units = u128::try_from(lots.units()).ok()?;
        let reward = match &self.gain {
            Some(gain) => Some(decimal(gain.floor_of(units)?)?),
            None => None,
        };
        Some(Amounts { risk: decimal(self.loss.floor_of(units)?)?, reward })
    }

    /// Returns the least balance with which the smallest size fits the budget; `None` if no balance would do.
    #[cold]
    fn minimum_balance(&self, risk_percent: Decimal, tier_max_lots: Option<Decimal>) -> Option<Decimal> {
        if self.cap(tier_max_lots).floor_to(self.lot_step) < self.min_lot {
            return None;
        }
        let risk = U256::from(u64::try_from(risk_percent.units()).ok()?);
        let lots = U256::from(u64::try_from(self.min_lot.units()).ok()?);
        let divisor = self.raw.numerator.checked_mul(risk)?;
        let dividend = self.raw.denominator.checked_mul(lots)?;
        // Rounded up: one unit less would not do.
        let floor = dividend.checked_div(divisor)?;
        let units = if dividend.checked_rem(divisor)? == U256::ZERO { floor } else { floor.checked_add(U256::ONE)? };
        decimal(u64::try_from(units).ok()?)
    }

    fn cap(&self, tier_max_lots: Option<Decimal>) -> Decimal {
        tier_max_lots.map_or(self.max_lot, |most| most.min(self.max_lot))
    }
}

fn decimal(units: u64) -> Option<Decimal> {
    i64::try_from(units).ok().map(Decimal::from_units)
}

#[cfg(test)]
mod tests;
