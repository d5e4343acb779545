//! Rates: prices of currency pairs, by which a loss in the quote currency becomes one in the account's.

use std::collections::BTreeMap;

use super::{Currency, Decimal, Invalid, InvalidKind, Object, Pair, UnixMillis};

/// What one unit of a pair's first currency costs in its second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The pair: `GBPUSD` is dollars for a pound.
    pub pair: Pair,
    /// The price; above zero.
    pub price: Decimal,
    /// When it was published.
    pub updated_at: UnixMillis,
}

/// A rate as a client sends it, before the server adds the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateDraft {
    pair: Pair,
    price: Decimal,
    updated_at: Option<UnixMillis>,
}

impl RateDraft {
    /// Reads `{"price":1.34}`; `pair` is the pair that the request names, if it does.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame. A rate keeps no other members, so any is refused.
    pub fn from_object(mut object: Object, pair: Option<&Pair>) -> Result<Self, Invalid> {
        let missing = |name: &'static str| {
            move || Invalid::member(InvalidKind::MissingMember, name, format!("a rate needs {name}"))
        };
        let pair = match (pair, object.take_parsed("pair", Pair::parse)?) {
            (Some(pair), Some(own)) if *pair != own => {
                let detail = format!("pair {own} is not {pair}, which the request names");
                return Err(Invalid::member(InvalidKind::IdMismatch, "pair", detail));
            }
            (Some(pair), _) => pair.clone(),
            (None, own) => own.ok_or_else(missing("pair"))?,
        };
        let price = object
            .take_decimal("price", Decimal::from_units(1), Decimal::from_units(i64::MAX))?
            .ok_or_else(missing("price"))?;
        let updated_at = object.take_time("updated_at")?;
        match object.iter().next() {
            None => Ok(Self { pair, price, updated_at }),
            Some((name, _)) => {
                let detail = format!("\"{name}\" is not a member of a rate: pair, price and updated_at are");
                Err(Invalid::member(InvalidKind::MisspelledMember, name, detail))
            }
        }
    }

    /// The pair.
    #[must_use]
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// The time that the body names.
    #[must_use]
    pub fn updated_at(&self) -> Option<UnixMillis> {
        self.updated_at
    }

    /// Fills in `now` where the body named no time, or one that is yet to come.
    #[must_use]
    pub fn resolve(self, now: UnixMillis) -> Rate {
        Rate { pair: self.pair, price: self.price, updated_at: self.updated_at.map_or(now, |time| time.min(now)) }
    }
}

/// Every rate that is known, each with the `seq` that wrote it.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    by_pair: BTreeMap<Pair, (Rate, u64)>,
}

/// How an amount in one currency becomes one in another: times `numerator`, by `denominator`.
///
/// A fraction, since the inverse of a price has no end: 1 / 148.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// Above zero.
    pub numerator: Decimal,
    /// Above zero.
    pub denominator: Decimal,
    /// The `seq` of the stored rate that was used; 0 if none was needed.
    pub seq: u64,
}

impl Conversion {
    /// Nothing to convert.
    pub const ONE: Self = Self { numerator: Decimal::ONE, denominator: Decimal::ONE, seq: 0 };
}

impl Rates {
    /// Adds or replaces a rate.
    pub fn put(&mut self, rate: Rate, seq: u64) {
        self.by_pair.insert(rate.pair.clone(), (rate, seq));
    }

    /// Returns a rate and the `seq` that wrote it.
    #[must_use]
    pub fn get(&self, pair: &Pair) -> Option<(&Rate, u64)> {
        self.by_pair.get(pair).map(|(rate, seq)| (rate, *seq))
    }

    /// All rates in the order of their pairs.
    pub fn iter(&self) -> impl Iterator<Item = &Rate> {
        self.by_pair.values().map(|(rate, _)| rate)
    }

    /// Returns how `from` converts to `to` by a stored rate, or by the inverse of one.
    ///
    /// There is no way around a third currency: the operator could not tell which prices made a size.
    #[must_use]
    pub fn conversion(&self, from: &Currency, to: &Currency) -> Option<Conversion> {
        let price = |first: &Currency, second: &Currency| {
            self.by_pair.get(format!("{first}{second}").as_str()).map(|(rate, seq)| (rate.price, *seq))
        };
        if let Some((price, seq)) = price(from, to) {
            return Some(Conversion { numerator: price, denominator: Decimal::ONE, seq });
        }
        let (price, seq) = price(to, from)?;
        Some(Conversion { numerator: Decimal::ONE, denominator: price, seq })
    }
}
