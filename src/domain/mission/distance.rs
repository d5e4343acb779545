//! Distances: how far the stop and the targets of a signal lie from its entry.
//!
//! Sizes rest on distances in price; pips are for display, and for signals that are published in pips. Without an
//! instrument a pip has no length, so that only what needs none is known.

use crate::domain::ratio::Ratio;
use crate::domain::{Decimal, Direction, Instrument, Levels, Round, Signal, Target, TargetLevel};

/// A distance in price as a product of two numbers: pips times the length of a pip, or a difference of prices times 1.
/// The product may have more decimals than a [`Decimal`].
pub(super) type Distance = [Decimal; 2];

/// One target of a mission, as it is for all users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissionTarget {
    /// The price; `None` for one in pips without an entry price or an instrument, or of a price that is not above zero.
    pub price: Option<Decimal>,
    /// The distance from the entry in pips; `None` for an unknown symbol's prices.
    pub pips: Option<Decimal>,
    /// The distance by the distance to the stop.
    pub risk_reward: Option<Decimal>,
    /// Its share of the size in percent, as published; if none was, that of targets that are all alike.
    pub share: Decimal,
}

/// What part of a size a target gets, as an exact fraction: numerator and denominator.
pub(super) type Share = [u64; 2];

/// The distances of a signal.
pub(super) struct Distances {
    pub(super) stop: Option<Distance>,
    pub(super) stop_pips: Option<Decimal>,
    /// By target: the distance, and the share of the size.
    pub(super) targets: Vec<(Option<Distance>, Share)>,
    /// By target: what a mission shows of it.
    pub(super) shown: Vec<MissionTarget>,
    /// Whether every number that a known instrument's levels give can be shown.
    pub(super) fit: bool,
}

/// A distance in the unit in which it was published.
#[derive(Clone, Copy)]
enum Length {
    Price(Decimal),
    Pips(Decimal),
}

impl Length {
    fn pips(self, pip: Option<Decimal>) -> Option<Decimal> {
        match self {
            Self::Price(distance) => distance.checked_div(pip?, Round::HalfEven),
            Self::Pips(pips) => Some(pips),
        }
    }

    fn distance(self, pip: Option<Decimal>) -> Option<Distance> {
        match self {
            Self::Price(distance) => Some([distance, Decimal::ONE]),
            Self::Pips(pips) => Some([pips, pip?]),
        }
    }

    /// This by `other`, cut to eight decimals.
    fn by(self, other: Self, pip: Option<Decimal>) -> Option<Decimal> {
        match (self, other) {
            (Self::Price(one), Self::Price(other)) | (Self::Pips(one), Self::Pips(other)) => {
                one.checked_div(other, Round::Down)
            }
            (one, other) => {
                let factors = |length: Self| {
                    let [one, other] = length.distance(pip)?;
                    Some([u64::try_from(one.units()).ok()?, u64::try_from(other.units()).ok()?])
                };
                let units =
                    Ratio::new(factors(one)?, factors(other)?)?.floor_of(Decimal::ONE.units().try_into().ok()?)?;
                Some(Decimal::from_units(i64::try_from(units).ok()?))
            }
        }
    }
}

impl Distances {
    pub(super) fn of(signal: &Signal, instrument: Option<&Instrument>) -> Self {
        let (entry, pip) = (signal.levels.entry(), instrument.map(|instrument| instrument.pip));
        let from_entry = |price: Decimal| entry?.distance(price).map(Length::Price);
        let stop = match signal.levels {
            Levels::Prices { stop, .. } => from_entry(stop),
            Levels::Pips { stop, .. } => Some(Length::Pips(stop)),
        };
        let stop_pips = stop.and_then(|stop| stop.pips(pip));
        let published = signal.targets();
        let count = published.len();
        let (mut targets, mut shown) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for Target { level, share } in published {
            let length = match level {
                TargetLevel::Price(price) => from_entry(price),
                TargetLevel::Pips(pips) => Some(Length::Pips(pips)),
            };
            let (share, fraction) = share_of(share, count);
            targets.push((length.and_then(|length| length.distance(pip)), fraction));
            shown.push(MissionTarget {
                price: price(level, signal.direction, entry, pip),
                pips: length.and_then(|length| length.pips(pip)),
                risk_reward: length.zip(stop).and_then(|(length, stop)| length.by(stop, pip)),
                share,
            });
        }
        let fit = stop_pips.is_some() && shown.iter().all(|target| target.pips.and(target.risk_reward).is_some());
        Self { stop: stop.and_then(|stop| stop.distance(pip)), stop_pips, targets, shown, fit }
    }
}

/// The share of one of `count` targets: in percent to be shown, and as a fraction.
fn share_of(published: Option<Decimal>, count: usize) -> (Decimal, Share) {
    if let Some(share) = published {
        let [part, whole] = [share, Decimal::HUNDRED].map(|percent| u64::try_from(percent.units()).unwrap_or(0));
        return (share, [part, whole]);
    }
    let alike = i64::try_from(count).ok().and_then(|count| Decimal::HUNDRED.units().checked_div(count));
    (alike.map_or(Decimal::HUNDRED, Decimal::from_units), [1, u64::try_from(count).unwrap_or(1)])
}

/// The price of a target, which lies on the winning side of the entry.
fn price(level: TargetLevel, direction: Direction, entry: Option<Decimal>, pip: Option<Decimal>) -> Option<Decimal> {
    let pips = match level {
        TargetLevel::Price(price) => return Some(price),
        TargetLevel::Pips(pips) => pips,
    };
    let distance = pips.checked_mul(pip?, Round::Down)?;
    let price = match direction {
        Direction::Buy => entry?.checked_add(distance),
        Direction::Sell => entry?.checked_sub(distance),
    };
    price.filter(|price| price.is_positive())
}
