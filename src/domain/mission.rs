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
//! risk_budget  = balance or equity × risk_percent / 100
//! lots_raw     = risk_budget / loss_per_lot
//! lots         = the largest multiple of lot_step ≤ lots_raw, margin_lots, max_lot and the tier's max_lots
//! risk_amount  = lots × loss_per_lot
//! reward       = the sum over the targets of: its part of lots × |target − entry| × contract_size × rate
//! margin_lots  = free margin / (contract_size × entry × rate(quote → account) × the larger of 1 / leverage and
//!                margin_percent / 100)
//! ```
//!
//! Without a leverage and a margin percent, or without an entry price, the margin limits nothing.
//!
//! Everything up to a shown number is an exact fraction of integers. Shown numbers are cut to eight decimals, not
//! rounded; budget and amount are cut alike, so that `risk_amount ≤ risk_budget` holds for the shown numbers too. A
//! size below the minimum lot is never bumped up, and a missing rate is never taken for 1.
//!
//! [`Terms`] is the part that all users of a signal share whose accounts hold one currency. A batch computes it once.

mod distance;
mod sizing;

use strum::{IntoStaticStr, VariantArray, VariantNames};

use super::{
    Account, Conversion, Currency, Decimal, Instrument, Instruments, MaxAge, MaxAges, Outcome, OutcomeStatus, Overlay,
    Pair, Rates, RiskBasis, Signal, SignalStatus, Symbol, Tiers, UnixMillis, UserTier,
};
use distance::Distances;
pub use distance::MissionTarget;
pub use sizing::{Limit, Part};
use sizing::{Size, Sizing, risk_budget, shown_rate};

/// The tables that a computation reads.
#[derive(Clone, Copy, Debug)]
pub struct Market<'a> {
    /// Contract sizes, pips and lot steps.
    pub instruments: &'a Instruments,
    /// Limits of the tiers.
    pub tiers: &'a Tiers,
    /// Rates to convert by.
    pub rates: &'a Rates,
    /// How old rates and balances may be.
    pub max_ages: MaxAges,
}

/// The state of a mission for its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Status {
    /// The signal is not expired, and nothing has happened for the user yet.
    Active,
    /// The signal is expired, and nothing has happened for the user.
    Expired,
    /// The signal was withdrawn, and nothing has happened for the user.
    Cancelled,
    /// The user's order was placed.
    Fired,
    /// The user's order was tried and refused.
    Failed,
    /// The user's position is closed; or the signal is, and nothing has happened for the user.
    Closed,
}

impl Status {
    /// Returns the status, which is known before anything is computed.
    #[must_use]
    pub fn of(signal: &Signal, outcome: Option<OutcomeStatus>, now: UnixMillis) -> Self {
        Self::decide(outcome, signal.status(), signal.is_expired(now))
    }

    /// The outcome decides before the signal does, as its user has a position.
    fn decide(outcome: Option<OutcomeStatus>, signal: SignalStatus, is_expired: bool) -> Self {
        match (outcome, signal) {
            (Some(OutcomeStatus::Fired), _) => Self::Fired,
            (Some(OutcomeStatus::Failed), _) => Self::Failed,
            (Some(OutcomeStatus::Closed), _) | (None, SignalStatus::Closed) => Self::Closed,
            (None, SignalStatus::Cancelled) => Self::Cancelled,
            (None, SignalStatus::Active) if is_expired => Self::Expired,
            (None, SignalStatus::Active) => Self::Active,
        }
    }

    /// `active`, `expired`, `cancelled`, `fired`, `failed` or `closed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A reason not to trade a mission. Reasons are listed in the order of these variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum Reason {
    /// The signal is expired.
    Expired,
    /// The user's order was placed already.
    AlreadyFired,
    /// The user's order was tried and refused already.
    AlreadyFailed,
    /// The user's position is closed already.
    AlreadyClosed,
    /// The signal was withdrawn.
    SignalCancelled,
    /// The signal is closed.
    SignalClosed,
    /// The signal's creation lies more than a minute ahead.
    NotYetActive,
    /// The instrument table has no such symbol, so a lot has no size.
    UnknownSymbol,
    /// The tier table has no such tier, so the user's limits are not known.
    UnknownTier,
    /// The signal's confidence is below what the tier asks for.
    BelowTierConfidence,
    /// No trades are left for today.
    NoTradesRemaining,
    /// The overlay has no balance, of which the risk percent is to be taken.
    NoBalance,
    /// The overlay has no equity, of which the risk percent is to be taken.
    NoEquity,
    /// The balance is below zero.
    NegativeBalance,
    /// The equity is below zero.
    NegativeEquity,
    /// The balance or equity, of which the risk percent is taken, was last confirmed too long ago.
    StaleBalance,
    /// Neither the overlay nor a tier names a risk.
    NoRiskPercent,
    /// The risk is 0 percent.
    ZeroRisk,
    /// Nothing converts the quote currency to the account's.
    NoConversionRate,
    /// A rate that converts the quote currency was last confirmed too long ago.
    StaleRate,
    /// The size that the budget allows is below the smallest that trades.
    BelowMinimumLot,
    /// The size that the free margin allows is below the smallest that trades.
    InsufficientMargin,
    /// A number does not fit; no size is better than a wrong one.
    OutOfRange,
}

impl Reason {
    /// All reasons, in the order in which they are listed.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The stable name that clients see: `below_minimum_lot`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A set of [`Reason`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reasons(u32);

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

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The reasons in their order.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.iter().copied().filter(move |reason| self.contains(*reason))
    }
}

/// What one user may do with one signal, as of one moment.
///
/// Amounts are in the account's currency, sizes in lots. A number that can not be known is `None`, and a reason says
/// why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mission {
    /// Its state for the user.
    pub status: Status,
    /// Whole seconds until the signal expires, rounded up: zero means expired.
    pub seconds_remaining: u64,
    /// Why it may not be traded; empty if it may.
    pub reasons: Reasons,
    /// Distance from entry to stop in pips; `None` for an unknown symbol's prices.
    pub stop_pips: Option<Decimal>,
    /// Distance from entry to the first target in pips; `None` also without a target.
    pub target_pips: Option<Decimal>,
    /// Distance to the first target by distance to the stop.
    pub risk_reward: Option<Decimal>,
    /// The risk that was applied, in percent: the overlay's, else the tier's.
    pub risk_percent: Option<Decimal>,
    /// The most that the trade may lose.
    pub risk_budget: Option<Decimal>,
    /// The size that would lose exactly the budget.
    pub lots_raw: Option<Decimal>,
    /// The size to trade; zero if not even the smallest fits the budget.
    pub lots: Option<Decimal>,
    /// What `lots` loses at the stop; at most `risk_budget`.
    pub risk_amount: Option<Decimal>,
    /// What `lots` gains at the targets: the sum of what their parts gain.
    pub reward_amount: Option<Decimal>,
    /// The least balance, or equity, with which the smallest size would fit; only with [`Reason::BelowMinimumLot`].
    pub minimum_balance: Option<Decimal>,
    /// The least free margin with which the smallest size would fit; only with [`Reason::InsufficientMargin`].
    pub minimum_margin: Option<Decimal>,
    /// Which limit decided the size; of several that give the same, the first of [`Limit`].
    pub limited_by: Option<Limit>,
    /// The margin that `lots` need; `None` if no leverage or margin percent is known, or no entry price.
    pub margin_required: Option<Decimal>,
    /// What one unit of the quote currency is worth in the account's.
    pub conversion_rate: Option<Decimal>,
    /// When the amount was last confirmed of which the risk percent is taken; `None` if it is not known.
    pub balance_confirmed_at: Option<UnixMillis>,
}

impl Mission {
    /// Whether it may be traded: there is no reason not to.
    #[must_use]
    pub const fn is_tradable(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// What an account may risk on any signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The risk that is applied, in percent: the overlay's, else the tier's.
    pub risk_percent: Option<Decimal>,
    /// The most that a trade may lose: balance or equity × risk / 100, cut to eight decimals; nothing of one below
    /// zero.
    pub risk_budget: Option<Decimal>,
}

impl Budget {
    /// Works out a budget; `tier` is what the tier table says of the overlay's tier.
    #[must_use]
    pub fn of(account: Account, tier: UserTier<'_>) -> Self {
        let risk_percent = account.risk_percent.or(tier.limits().map(|tier| tier.risk_percent));
        let risk = account.basis().zip(risk_percent);
        Self { risk_percent, risk_budget: risk.and_then(|(basis, percent)| risk_budget(basis, percent)) }
    }
}

/// A number on the way to a size does not fit.
struct OutOfRange;

/// The part of a mission that is the same for every account in one currency.
#[derive(Clone, Debug)]
pub struct Terms {
    instrument: Option<Symbol>,
    account_currency: Currency,
    signal_status: SignalStatus,
    active_from: UnixMillis,
    expires_at: UnixMillis,
    confidence: Option<Decimal>,
    reasons: Reasons,
    stop_pips: Option<Decimal>,
    targets: Vec<MissionTarget>,
    conversion_rate: Option<Decimal>,
    conversion_path: Option<Vec<Pair>>,
    rate_seqs: [u64; 2],
    /// When each stored rate that converts was last confirmed, the earliest first.
    rate_confirmations: Vec<UnixMillis>,
    max_ages: MaxAges,
    sizing: Option<Sizing>,
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
    let outcome = outcome.map(|outcome| outcome.status);
    terms.mission(overlay.account(), market.tiers.of_user(overlay.tier.as_ref()), outcome, now)
}

impl Terms {
    /// Works out the terms of a signal for accounts in `account_currency`.
    #[must_use]
    pub fn new(signal: &Signal, account_currency: &Currency, market: Market<'_>) -> Self {
        let found = market.instruments.find(&signal.symbol);
        let instrument = found.map(|found| found.instrument);
        let mut distances = Distances::of(signal, instrument);
        let mut terms = Self {
            instrument: found.map(|found| found.symbol.clone()),
            account_currency: account_currency.clone(),
            signal_status: signal.status(),
            active_from: signal.active_from(),
            expires_at: signal.expires_at,
            confidence: signal.confidence,
            reasons: Reasons::default(),
            stop_pips: distances.stop_pips,
            targets: std::mem::take(&mut distances.shown),
            conversion_rate: None,
            conversion_path: None,
            rate_seqs: [0; 2],
            rate_confirmations: Vec::new(),
            max_ages: market.max_ages,
            sizing: None,
        };
        let Some(instrument) = instrument else {
            terms.reasons.insert(Reason::UnknownSymbol);
            return terms;
        };
        if !distances.fit {
            terms.reasons.insert(Reason::OutOfRange);
        }
        let Some(conversion) = conversion(instrument, signal.levels.entry(), account_currency, market.rates) else {
            terms.reasons.insert(Reason::NoConversionRate);
            return terms;
        };
        terms.rate_seqs = conversion.seqs();
        terms.rate_confirmations = conversion.confirmations().collect();
        terms.rate_confirmations.sort_unstable();
        terms.conversion_path = Some(conversion.legs().iter().map(|leg| leg.pair.clone()).collect());
        // For display only: sizes use the fraction itself.
        terms.conversion_rate = shown_rate(&conversion);
        terms.sizing = Sizing::new(instrument, &distances, signal.levels.entry(), &conversion);
        if terms.sizing.is_none() || terms.conversion_rate.is_none() {
            terms.reasons.insert(Reason::OutOfRange);
        }
        terms
    }

    /// The instrument that the signal's symbol was taken for; `None` for an unknown one.
    #[must_use]
    pub const fn instrument(&self) -> Option<&Symbol> {
        self.instrument.as_ref()
    }

    /// The currency of the accounts that the terms are for.
    #[must_use]
    pub const fn account_currency(&self) -> &Currency {
        &self.account_currency
    }

    /// The `seq` of each stored rate that the terms rest on; 0 where they need none.
    #[must_use]
    pub const fn rate_seqs(&self) -> [u64; 2] {
        self.rate_seqs
    }

    /// The pairs whose prices convert the quote currency to the account's, in their order. Empty if the currency is the
    /// same; `None` if nothing converts it.
    #[must_use]
    pub fn conversion_path(&self) -> Option<&[Pair]> {
        self.conversion_path.as_deref()
    }

    /// The targets of the signal, in the order of publication.
    #[must_use]
    pub fn targets(&self) -> &[MissionTarget] {
        &self.targets
    }

    /// Returns the part of a mission's size for which the gain is taken at the target with index `at`. The lots of all
    /// parts add up to the size, and their rewards to the reward.
    #[must_use]
    pub fn part(&self, at: usize, mission: &Mission) -> Part {
        match (&self.sizing, mission.lots) {
            (Some(sizing), Some(lots)) if self.targets.len() > 1 => sizing.part(at, lots),
            _ => Part { lots: mission.lots, reward_amount: mission.reward_amount },
        }
    }

    /// When the rates that convert were last confirmed, of two the earlier time; `None` if no stored rate converts.
    #[must_use]
    pub fn rates_confirmed_at(&self) -> Option<UnixMillis> {
        self.rate_confirmations.first().copied()
    }

    /// Whether a rate that converts is too old.
    #[must_use]
    pub fn is_rate_stale(&self, now: UnixMillis) -> bool {
        let is_stale = |max: MaxAge| self.rate_confirmations.iter().any(|at| max.is_stale(*at, now));
        self.max_ages.rate.is_some_and(is_stale)
    }

    /// Whether the amount is too old of which the risk percent is taken.
    #[must_use]
    pub fn is_balance_stale(&self, account: &Account, now: UnixMillis) -> bool {
        let is_stale = |max: MaxAge| account.basis().is_some() && max.is_stale(account.balance_confirmed_at, now);
        self.max_ages.balance.is_some_and(is_stale)
    }

    /// Works out one user's mission.
    ///
    /// - `tier`: what the tier table says of the overlay's tier.
    /// - `outcome`: what happened for the user on the signal, if anything did.
    #[must_use]
    pub fn mission(
        &self,
        account: Account,
        tier: UserTier<'_>,
        outcome: Option<OutcomeStatus>,
        now: UnixMillis,
    ) -> Mission {
        let Budget { risk_percent, risk_budget } = Budget::of(account, tier);
        let size = match account.basis().zip(risk_percent) {
            Some(_) if risk_budget.is_none() => Err(OutOfRange),
            Some((basis, percent)) => self.size(account, basis, percent, tier),
            None => Ok(None),
        };
        let reasons = self.reasons_not_to_trade(account, risk_percent, tier, outcome, now, &size);
        let size = size.ok().flatten();
        // Not rounded down: as long as a part of a second is left, the signal is not expired.
        let milliseconds = self.expires_at.millis().saturating_sub(now.millis());
        Mission {
            status: Status::decide(outcome, self.signal_status, now >= self.expires_at),
            seconds_remaining: u64::try_from(milliseconds).unwrap_or(0).div_ceil(1_000),
            reasons,
            stop_pips: self.stop_pips,
            target_pips: self.targets.first().and_then(|target| target.pips),
            risk_reward: self.targets.first().and_then(|target| target.risk_reward),
            risk_percent,
            risk_budget,
            lots_raw: size.map(|size| size.lots_raw),
            lots: size.map(|size| size.lots),
            risk_amount: size.map(|size| size.risk_amount),
            reward_amount: size.and_then(|size| size.reward_amount),
            minimum_balance: size.and_then(|size| size.minimum_balance),
            minimum_margin: size.and_then(|size| size.minimum_margin),
            limited_by: size.map(|size| size.limited_by),
            margin_required: size.and_then(|size| size.margin_required),
            conversion_rate: self.conversion_rate,
            balance_confirmed_at: account.basis().map(|_| account.balance_confirmed_at),
        }
    }

    /// Decides whether a mission may be traded: it may if the answer is empty. Nothing else decides it.
    fn reasons_not_to_trade(
        &self,
        account: Account,
        risk_percent: Option<Decimal>,
        tier: UserTier<'_>,
        outcome: Option<OutcomeStatus>,
        now: UnixMillis,
        size: &Result<Option<Size>, OutOfRange>,
    ) -> Reasons {
        let mut reasons = self.reasons;
        match outcome {
            None => {}
            Some(OutcomeStatus::Fired) => reasons.insert(Reason::AlreadyFired),
            Some(OutcomeStatus::Failed) => reasons.insert(Reason::AlreadyFailed),
            Some(OutcomeStatus::Closed) => reasons.insert(Reason::AlreadyClosed),
        }
        match self.signal_status {
            SignalStatus::Active => {}
            SignalStatus::Cancelled => reasons.insert(Reason::SignalCancelled),
            SignalStatus::Closed => reasons.insert(Reason::SignalClosed),
        }
        if now < self.active_from {
            reasons.insert(Reason::NotYetActive);
        }
        if now >= self.expires_at {
            reasons.insert(Reason::Expired);
        }
        if tier == UserTier::Unknown {
            reasons.insert(Reason::UnknownTier);
        }
        let limits = tier.limits();
        if let (Some(limits), Some(confidence)) = (limits, self.confidence)
            && confidence < limits.min_confidence
        {
            reasons.insert(Reason::BelowTierConfidence);
        }
        if account.trades_remaining.or(limits.map(|tier| tier.trades_per_day)) == Some(0) {
            reasons.insert(Reason::NoTradesRemaining);
        }
        match account.risk_basis {
            RiskBasis::Balance if account.balance.is_none() => reasons.insert(Reason::NoBalance),
            RiskBasis::Equity if account.equity.is_none() => reasons.insert(Reason::NoEquity),
            RiskBasis::Balance | RiskBasis::Equity => {}
        }
        let is_negative = |amount: Option<Decimal>| amount.is_some_and(|amount| amount < Decimal::ZERO);
        if is_negative(account.balance) {
            reasons.insert(Reason::NegativeBalance);
        }
        if is_negative(account.equity) {
            reasons.insert(Reason::NegativeEquity);
        }
        if self.is_balance_stale(&account, now) {
            reasons.insert(Reason::StaleBalance);
        }
        if self.is_rate_stale(now) {
            reasons.insert(Reason::StaleRate);
        }
        match risk_percent {
            None => reasons.insert(Reason::NoRiskPercent),
            Some(Decimal::ZERO) => reasons.insert(Reason::ZeroRisk),
            Some(_) => {}
        }
        match size {
            Err(OutOfRange) => reasons.insert(Reason::OutOfRange),
            Ok(None) => {}
            Ok(Some(size)) => {
                // With no risk no balance would do, and the reason is named already.
                if size.is_below_minimum && risk_percent != Some(Decimal::ZERO) {
                    reasons.insert(Reason::BelowMinimumLot);
                }
                if size.is_margin_short {
                    reasons.insert(Reason::InsufficientMargin);
                }
            }
        }
        reasons
    }

    /// Sizes one account; `None` if the terms or the tier allow no size.
    fn size(
        &self,
        account: Account,
        basis: Decimal,
        risk_percent: Decimal,
        tier: UserTier<'_>,
    ) -> Result<Option<Size>, OutOfRange> {
        match &self.sizing {
            // Without the tier's cap a size could be larger than allowed.
            Some(sizing) if tier != UserTier::Unknown => {
                sizing.size(account, basis, risk_percent, tier.limits()).map(Some).ok_or(OutOfRange)
            }
            _ => Ok(None),
        }
    }

    /// The exact loss of one lot at the stop, cut to eight decimals; `None` where nothing can be sized.
    #[must_use]
    pub fn loss_per_lot(&self) -> Option<Decimal> {
        self.sizing.as_ref().and_then(Sizing::loss_per_lot)
    }
}

/// Finds the conversion from the instrument's quote currency to the account's.
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
        return Some(Conversion::by_entry(Pair::of(account, &instrument.quote), entry));
    }
    rates.conversion(&instrument.quote, account)
}

#[cfg(test)]
mod tests;
