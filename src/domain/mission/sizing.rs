//! How many lots: the exact arithmetic of a size under its limits.
//!
//! [`Sizing`] holds what is the same for all accounts in one currency as exact fractions of integers: what a lot loses
//! at the stop, what it gains at each target, and the margin that it needs. [`Sizing::size`] then takes one account
//! through them: the size is the largest multiple of the lot step that the risk budget, the free margin, the tier and
//! the instrument all allow. [`Sizing::part`] splits a size among the targets.
//!
//! A number that is shown is cut to eight decimals, and always toward less risk: a size and its amounts are rounded
//! down; a balance or a margin that would do is rounded up. Nothing here decides whether a mission may be traded, or
//! names a reason: a number that does not fit is `None`.

use strum::IntoStaticStr;

use super::distance::{Distance, Distances, Share};
use crate::domain::ratio::Ratio;
use crate::domain::{Account, Conversion, Decimal, Instrument, Tier};

/// What decided a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Limit {
    /// The risk budget, cut to the lot step.
    Risk,
    /// The free margin.
    Margin,
    /// The tier's largest size.
    Tier,
    /// The instrument's largest size.
    Instrument,
}

impl Limit {
    /// `risk`, `margin`, `tier` or `instrument`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One user's size, with the amounts in the account's currency.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) lots_raw: Decimal,
    pub(super) lots: Decimal,
    pub(super) risk_amount: Decimal,
    pub(super) reward_amount: Option<Decimal>,
    pub(super) limited_by: Limit,
    pub(super) margin_required: Option<Decimal>,
    /// Whether the budget, or a limit on lots, does not allow the smallest size; with the balance that would do.
    pub(super) is_below_minimum: bool,
    pub(super) minimum_balance: Option<Decimal>,
    /// Whether the free margin does not allow the smallest size; with the one that would do.
    pub(super) is_margin_short: bool,
    pub(super) minimum_margin: Option<Decimal>,
}

/// The exact fractions behind a size.
#[derive(Clone, Debug)]
pub(super) struct Sizing {
    /// Units of raw lots for a product of balance units and risk percent units.
    raw: Ratio,
    /// Units of loss for a unit of lots.
    loss: Ratio,
    /// By target, in the order of publication.
    targets: Vec<Gain>,
    /// `None` without an entry price.
    margin: Option<Margin>,
    lot_step: Decimal,
    /// Smallest multiple of the step that trades.
    min_lot: Decimal,
    max_lot: Decimal,
}

/// What is gained at one target.
#[derive(Clone, Debug)]
struct Gain {
    /// Units of gain for a unit of lots.
    gain: Ratio,
    /// The part of the size for which it is taken.
    share: Share,
}

/// What a user closes of a position at one target. A number that is not known is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Lots: a multiple of the lot step, which may be zero, or below the smallest that trades.
    pub lots: Option<Decimal>,
    /// What these lots gain at the target.
    pub reward_amount: Option<Decimal>,
}

/// How many lots a free margin carries.
#[derive(Clone, Debug)]
struct Margin {
    /// Units of lots for a product of free margin units and leverage units.
    by_leverage: Ratio,
    /// Units of lots for a unit of free margin, by the instrument's margin percent.
    by_percent: Option<Ratio>,
}

/// Returns what may be lost: balance × risk percent / 100, cut to eight decimals; `None` if it does not fit. Of a
/// balance below zero nothing may be lost.
pub(super) fn risk_budget(balance: Decimal, risk_percent: Decimal) -> Option<Decimal> {
    // Units of a balance times units of a percentage, by units of a budget.
    decimal(u64::try_from(risk_product(balance, risk_percent)? / u128::from(100 * ONE)).ok()?)
}

/// A balance times a percentage, in units of both; nothing of a balance below zero. `None` if the percentage is below
/// zero.
fn risk_product(balance: Decimal, risk_percent: Decimal) -> Option<u128> {
    let (balance, percent) = (units_above_zero(balance), u64::try_from(risk_percent.units()).ok()?);
    Some(u128::from(balance) * u128::from(percent))
}

/// The units of a number; none of one below zero.
fn units_above_zero(number: Decimal) -> u64 {
    u64::try_from(number.units()).unwrap_or(0)
}

/// Units of a [`Decimal`] in one.
const ONE: u64 = 100_000_000;

impl Sizing {
    /// Prepares the fractions; `None` if they do not fit, or the stop or a target has no distance.
    pub(super) fn new(
        instrument: &Instrument,
        distances: &Distances,
        entry: Option<Decimal>,
        conversion: &Conversion,
    ) -> Option<Self> {
        /// Balance, percentage and lots: 10⁻⁸ × 10⁻⁸ × 1/100 against 10⁻⁸ × 10⁻⁸ × 10⁸ leaves this factor.
        const RAW_SCALE: u64 = 1_000_000;
        /// Distance × contract size × lots over lots, in units.
        const AMOUNT_SCALE: u64 = 10_000_000_000_000_000;
        let units = |number: Decimal| u64::try_from(number.units()).ok();
        let factor = |number: Decimal| units(number).filter(|units| *units > 0);
        let contract = factor(instrument.contract_size)?;
        let ([times, then_times], [by, then_by]) = conversion.factors()?;
        let factors = |[one, other]: Distance| Some([units(one)?, units(other)?]);
        let amount = |[one, other]: [u64; 2]| {
            Ratio::new([one, other, contract, times, then_times], [by, then_by, AMOUNT_SCALE, ONE])
        };
        let gain = |(distance, share): &(Option<Distance>, Share)| {
            Some(Gain { gain: amount(factors((*distance)?)?)?, share: *share })
        };
        let [one, other] = factors(distances.stop?)?;
        let margin = |entry: Decimal| {
            let entry = factor(entry)?;
            let by_percent = |percent: Decimal| {
                Ratio::new([by, then_by, ONE, ONE, 100 * ONE], [factor(percent)?, contract, entry, times, then_times])
            };
            Some(Margin {
                by_leverage: Ratio::new([by, then_by, ONE], [contract, entry, times, then_times])?,
                by_percent: match instrument.margin_percent {
                    Some(percent) => Some(by_percent(percent)?),
                    None => None,
                },
            })
        };
        Some(Self {
            raw: Ratio::new([by, then_by, RAW_SCALE, ONE], [one, other, contract, times, then_times])?,
            loss: amount([one, other])?,
            targets: distances.targets.iter().map(gain).collect::<Option<_>>()?,
            margin: match entry {
                Some(entry) => Some(margin(entry)?),
                None => None,
            },
            lot_step: instrument.lot_step,
            min_lot: instrument.min_lot.ceil_to(instrument.lot_step)?,
            max_lot: instrument.max_lot,
        })
    }

    /// Sizes one account; `None` if a number does not fit.
    pub(super) fn size(
        &self,
        account: Account,
        basis: Decimal,
        risk_percent: Decimal,
        tier: Option<&Tier>,
    ) -> Option<Size> {
        // Cutting the exact size to units first, and then to steps, gives the same step as cutting it to steps at once.
        let lots_raw = decimal(self.raw.floor_of(risk_product(basis, risk_percent)?)?)?;
        let leverage = account.leverage.or(tier.and_then(|tier| tier.leverage));
        let margin_lots = match &self.margin {
            Some(margin) => margin.lots(account.free(), leverage)?,
            None => None,
        };
        let cap = tier.map_or(self.max_lot, |tier| tier.max_lots.min(self.max_lot));
        let by_cap = if cap < self.max_lot { Limit::Tier } else { Limit::Instrument };
        let mut limits = [(Some(lots_raw), Limit::Risk), (margin_lots, Limit::Margin), (Some(cap), by_cap)]
            .into_iter()
            .filter_map(|(most, limit)| Some((most?.floor_to(self.lot_step), limit)));
        let first = limits.next()?;
        let (most, limited_by) = limits.fold(first, |least, next| if next.0 < least.0 { next } else { least });
        let trades = |lots: Decimal| lots.floor_to(self.lot_step) >= self.min_lot;
        let is_in_debt = [account.balance, account.equity].into_iter().flatten().any(|amount| amount < Decimal::ZERO);
        let lots = if most < self.min_lot || is_in_debt { Decimal::ZERO } else { most };
        let margin_of = |lots: Decimal| self.margin.as_ref()?.required(lots, leverage);
        let is_margin_short = margin_lots.is_some_and(|lots| !trades(lots));
        let is_below_minimum = !trades(lots_raw) || !trades(cap);
        Some(Size {
            lots_raw,
            lots,
            risk_amount: decimal(self.loss.floor_of(units_above_zero(lots).into())?)?,
            reward_amount: if self.targets.is_empty() { None } else { Some(self.reward(lots)?) },
            limited_by,
            margin_required: margin_of(lots),
            is_below_minimum,
            minimum_balance: if is_below_minimum { self.minimum_balance(risk_percent, cap) } else { None },
            is_margin_short,
            minimum_margin: if is_margin_short { margin_of(self.min_lot) } else { None },
        })
    }

    /// The part of a size that the target with index `at` gets. Each share is cut to the lot step, and the first target
    /// also takes what is left: what cutting leaves, and shares that come to less than a hundred percent.
    pub(super) fn part(&self, at: usize, lots: Decimal) -> Part {
        let lots = match at {
            0 => (1..self.targets.len()).try_fold(lots, |left, at| left.checked_sub(self.share_of(at, lots)?)),
            _ => self.share_of(at, lots),
        };
        let gain = self.targets.get(at).map(|target| &target.gain);
        let reward = gain.zip(lots).and_then(|(gain, lots)| decimal(gain.floor_of(units_above_zero(lots).into())?));
        Part { lots, reward_amount: reward }
    }

    /// A target's share of a size, cut to the lot step.
    fn share_of(&self, at: usize, lots: Decimal) -> Option<Decimal> {
        let [numerator, denominator] = self.targets.get(at)?.share;
        let product = u128::from(units_above_zero(lots)) * u128::from(numerator);
        let units = product.checked_div(denominator.into())?;
        Some(decimal(u64::try_from(units).ok()?)?.floor_to(self.lot_step))
    }

    /// What a size gains at all targets; `None` if it does not fit.
    fn reward(&self, lots: Decimal) -> Option<Decimal> {
        let gains = (0..self.targets.len()).map(|at| self.part(at, lots).reward_amount);
        gains.into_iter().try_fold(Decimal::ZERO, |sum, gain| sum.checked_add(gain?))
    }

    /// The exact loss of one lot at the stop, cut to eight decimals; `None` if it does not fit.
    pub(super) fn loss_per_lot(&self) -> Option<Decimal> {
        decimal(self.loss.floor_of(ONE.into())?)
    }

    /// Returns the least balance with which the smallest size fits the budget; `None` if no balance would do.
    fn minimum_balance(&self, risk_percent: Decimal, cap: Decimal) -> Option<Decimal> {
        if cap.floor_to(self.lot_step) < self.min_lot {
            return None;
        }
        let (lots, percent) = (u64::try_from(self.min_lot.units()).ok()?, u64::try_from(risk_percent.units()).ok()?);
        // Rounded up: one unit less would not do.
        decimal(self.raw.least_for(lots, percent)?)
    }
}

impl Margin {
    /// The lots that the free margin carries, in units and not in steps; `Some(None)` if no leverage and no margin
    /// percent is known, or no free margin. `None` if the number does not fit.
    #[expect(clippy::option_option, reason = "a number that does not fit is not one that is not known")]
    fn lots(&self, free: Option<Decimal>, leverage: Option<Decimal>) -> Option<Option<Decimal>> {
        let Some(free) = free.map(units_above_zero) else { return Some(None) };
        let by_leverage = match leverage {
            Some(leverage) => {
                let product = u128::from(free) * u128::from(units_above_zero(leverage));
                Some(self.by_leverage.floor_at_most(product)?)
            }
            None => None,
        };
        let by_percent = match &self.by_percent {
            Some(ratio) => Some(ratio.floor_at_most(free.into())?),
            None => None,
        };
        let units = by_leverage.into_iter().chain(by_percent).min();
        // More than any number holds is no limit, but must not become none that is known.
        Some(units.map(|units| Decimal::from_units(i64::try_from(units).unwrap_or(i64::MAX))))
    }

    /// The least free margin that carries `lots`; `None` if no leverage and no margin percent is known, or the number
    /// does not fit.
    fn required(&self, lots: Decimal, leverage: Option<Decimal>) -> Option<Decimal> {
        let lots = units_above_zero(lots);
        let by_leverage = leverage.map(|leverage| self.by_leverage.least_for(lots, units_above_zero(leverage)));
        let by_percent = self.by_percent.as_ref().map(|ratio| ratio.least_for(lots, 1));
        let least = by_leverage.into_iter().chain(by_percent).try_fold(None, |most, next| Some(most.max(Some(next?))));
        decimal(least??)
    }
}

/// The value of a conversion, rounded to eight decimals; `None` if it does not fit.
pub(super) fn shown_rate(conversion: &Conversion) -> Option<Decimal> {
    let (numerators, denominators) = conversion.factors()?;
    decimal(Ratio::new(numerators, denominators)?.nearest_to(ONE)?)
}

fn decimal(units: u64) -> Option<Decimal> {
    i64::try_from(units).ok().map(Decimal::from_units)
}
