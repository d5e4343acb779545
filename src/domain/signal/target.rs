//! The targets of a signal: where its gain is taken, and which share of the size at each.
//!
//! `take_profits` is a list of prices, or of objects with a `price` or `pips`, and perhaps a `share`. All targets have
//! a share or none has one: what the others should get would be a guess.

use serde_json::value::RawValue;

use super::Direction;
use crate::domain::{Decimal, Invalid, InvalidKind, Object};

/// The member that holds the list.
const LIST: &str = "take_profits";
/// Most targets of a signal.
const TARGETS_MAX: usize = 10;

/// Where a gain is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetLevel {
    /// A price on the winning side of the entry; above zero.
    Price(Decimal),
    /// A distance from the entry in pips; above zero.
    Pips(Decimal),
}

/// One of several targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where the gain is taken.
    pub level: TargetLevel,
    /// The percentage of the size for which it is taken here, above 0 and at most 100; `None`: all targets are alike.
    pub share: Option<Decimal>,
}

impl Target {
    /// Takes the list out of a body; an empty one is none. [`check`](Self::check) is still to be called.
    pub(super) fn take_list(object: &mut Object) -> Result<Vec<Self>, Invalid> {
        let Some(json) = object.take(LIST) else { return Ok(Vec::new()) };
        let no_list = |_| {
            let detail = format!("{LIST} must be a list of prices, or of objects with price or pips, and share");
            Invalid::member(InvalidKind::WrongType, LIST, detail)
        };
        let items: Vec<&RawValue> = serde_json::from_str(&json).map_err(no_list)?;
        let read = |(at, item): (usize, &&RawValue)| Self::parse(item.get()).map_err(|error| error.inside(LIST, at));
        items.iter().enumerate().map(read).collect()
    }

    fn parse(item: &str) -> Result<Self, Invalid> {
        let most = Decimal::from_units(i64::MAX);
        let least = Decimal::from_units(1);
        if !item.starts_with('{') {
            let mut object = Object::from_members(vec![("price".to_owned(), item.to_owned())]);
            let price = object.take_decimal("price", least, most);
            let price = price.map_err(|error| Invalid::document(error.kind(), error.to_string()))?;
            let none = || Invalid::document(InvalidKind::MissingMember, "a target needs a price, or pips");
            return Ok(Self { level: TargetLevel::Price(price.ok_or_else(none)?), share: None });
        }
        let mut object = Object::parse(item.as_bytes())?;
        let price = object.take_decimal("price", least, most)?;
        let pips = object.take_decimal("pips", Decimal::ZERO, most)?;
        let share = object.take_decimal("share", Decimal::ZERO, most)?;
        if let Some((name, _)) = object.iter().next() {
            let detail = format!("\"{name}\" is not a known member of a target; \"price\", \"pips\" and \"share\" are");
            return Err(Invalid::member(InvalidKind::MisspelledMember, name, detail));
        }
        let level = match (price, pips) {
            (Some(price), None) => TargetLevel::Price(price),
            (None, Some(pips)) => TargetLevel::Pips(pips),
            (Some(_), Some(_)) => {
                let detail = "a target has a price or pips, and this one has both";
                return Err(Invalid::member(InvalidKind::MixedLevels, "pips", detail));
            }
            (None, None) => {
                return Err(Invalid::member(InvalidKind::MissingMember, "price", "a target needs a price, or pips"));
            }
        };
        Ok(Self { level, share })
    }

    /// Checks the targets of a signal: that each lies on the winning side of the entry, and that the shares can be
    /// shared out.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::OutOfRange`] for more than ten, or shares of more than 100 percent;
    /// [`InvalidKind::MissingMember`] if only some have a share; [`InvalidKind::MixedLevels`] for a price without an
    /// entry price; [`InvalidKind::ZeroDistance`]; [`InvalidKind::TargetWrongSide`].
    pub(crate) fn check(targets: &[Self], direction: Direction, entry: Option<Decimal>) -> Result<(), Invalid> {
        if targets.len() > TARGETS_MAX {
            let detail = format!("{LIST} has {} targets, more than {TARGETS_MAX}", targets.len());
            return Err(Invalid::member(InvalidKind::OutOfRange, LIST, detail));
        }
        for (at, target) in targets.iter().enumerate() {
            if let Some((kind, detail)) = target.level.fault(direction, entry) {
                return Err(Invalid::document(kind, detail).inside(LIST, at));
            }
        }
        let has_shares = targets.iter().any(|target| target.share.is_some());
        for (at, target) in targets.iter().enumerate().filter(|_| has_shares) {
            let Some(share) = target.share else {
                let detail = "other targets have a share and this one has none: give all a share, or none";
                return Err(Invalid::member(InvalidKind::MissingMember, "share", detail).inside(LIST, at));
            };
            if !share.is_positive() || share > Decimal::HUNDRED {
                let detail = format!("share is {share}, and must be above 0 and at most 100 percent");
                return Err(Invalid::member(InvalidKind::OutOfRange, "share", detail).inside(LIST, at));
            }
        }
        let sum = Decimal::from_units(targets.iter().filter_map(|target| target.share).map(Decimal::units).sum());
        if sum > Decimal::HUNDRED {
            let detail = format!("the shares of {LIST} come to {sum} percent, more than 100");
            return Err(Invalid::member(InvalidKind::OutOfRange, LIST, detail));
        }
        Ok(())
    }

    /// The list as JSON: a target that is only a price as a number, any other as an object. `None` if there are none.
    pub(super) fn list_json(targets: &[Self]) -> Option<String> {
        let item = |target: &Self| {
            let (name, number) = match target.level {
                TargetLevel::Price(price) if target.share.is_none() => return price.to_string(),
                TargetLevel::Price(price) => ("price", price),
                TargetLevel::Pips(pips) => ("pips", pips),
            };
            let share = target.share.map_or(String::new(), |share| format!(",\"share\":{share}"));
            format!("{{\"{name}\":{number}{share}}}")
        };
        let items: Vec<_> = targets.iter().map(item).collect();
        (!items.is_empty()).then(|| format!("[{}]", items.join(",")))
    }
}

impl TargetLevel {
    /// What is wrong with a target, if anything is: it has no distance, or lies on the losing side.
    pub(super) fn fault(self, direction: Direction, entry: Option<Decimal>) -> Option<(InvalidKind, String)> {
        let price = match self {
            Self::Pips(pips) if pips.is_positive() => return None,
            Self::Pips(_) => {
                return Some((InvalidKind::ZeroDistance, "pips of a target must be above zero".to_owned()));
            }
            Self::Price(price) => price,
        };
        let Some(entry) = entry else {
            let detail = format!("the target {price} is a price, so entry_price is needed");
            return Some((InvalidKind::MixedLevels, detail));
        };
        if price == entry {
            return Some((InvalidKind::ZeroDistance, format!("take_profit {price} equals the entry price")));
        }
        let side = match direction {
            Direction::Buy if price < entry => "above",
            Direction::Sell if price > entry => "below",
            Direction::Buy | Direction::Sell => return None,
        };
        let detail = format!("take_profit {price} of a {} must lie {side} the entry price {entry}", direction.as_str());
        Some((InvalidKind::TargetWrongSide, detail))
    }
}
