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
        let missing = || Invalid::member(InvalidKind::MissingMember, "price", "a rate needs price");
        let pair = object.take_id("pair", Pair::parse, pair, "a rate")?;
        let price =
            object.take_decimal("price", Decimal::from_units(1), Decimal::from_units(i64::MAX))?.ok_or_else(missing)?;
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
    seq: u64,
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
        self.seq = self.seq.max(seq);
    }

    /// The highest `seq` that was put: it rises with every change.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
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
        let price = |base, quote| self.by_pair.get(&Pair::of(base, quote)).map(|(rate, seq)| (rate.price, *seq));
        if let Some((price, seq)) = price(from, to) {
            return Some(Conversion { numerator: price, denominator: Decimal::ONE, seq });
        }
        let (price, seq) = price(to, from)?;
        Some(Conversion { numerator: Decimal::ONE, denominator: price, seq })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::MAX;

    fn pair(text: &str) -> Pair {
        Pair::parse(text).unwrap()
    }

    fn read(json: &str, named: Option<&str>) -> Result<RateDraft, Invalid> {
        RateDraft::from_object(Object::parse(json.as_bytes()).unwrap(), named.map(pair).as_ref())
    }

    fn rates(prices: &[(&str, &str)]) -> Rates {
        let mut rates = Rates::default();
        for (seq, (name, price)) in (1..).zip(prices) {
            let rate = Rate { pair: pair(name), price: Decimal::parse(price).unwrap(), updated_at: NOW };
            rates.put(rate, seq);
        }
        rates
    }

    #[track_caller]
    fn check(json: &str, named: Option<&str>, kind: InvalidKind, pointer: &str) {
        let error = read(json, named).unwrap_err();
        assert_eq!((error.kind(), error.pointer()), (kind, pointer), "{error}");
    }

    #[test]
    fn a_full_body_is_read() {
        let draft = read(r#"{"pair":"gbp/usd","price":"1.34","updated_at":"2026-01-30T16:00:00Z"}"#, None).unwrap();
        assert_eq!(draft.pair(), &pair("GBPUSD"));
        let rate = draft.resolve(NOW);
        assert_eq!((rate.pair.as_str(), rate.price.to_string()), ("GBPUSD", "1.34".to_owned()));
        assert_eq!(rate.updated_at.to_string(), "2026-01-30T16:00:00Z");
    }

    #[test]
    fn the_request_may_name_the_pair_and_the_server_the_time() {
        for body in [r#"{"price":1.34}"#, r#"{"price":1.34,"pair":"GBPUSD"}"#] {
            let rate = read(body, Some("GBPUSD")).unwrap().resolve(NOW);
            assert_eq!((rate.pair, rate.updated_at), (pair("GBPUSD"), NOW));
        }
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        check("{}", None, InvalidKind::MissingMember, "/pair");
        check("{}", Some("GBPUSD"), InvalidKind::MissingMember, "/price");
        check(r#"{"pair":"EURUSD","price":1}"#, Some("GBPUSD"), InvalidKind::IdMismatch, "/pair");
        check(r#"{"pair":"GBP","price":1}"#, None, InvalidKind::InvalidName, "/pair");
        check(r#"{"price":0}"#, Some("GBPUSD"), InvalidKind::OutOfRange, "/price");
        check(r#"{"price":-1}"#, Some("GBPUSD"), InvalidKind::OutOfRange, "/price");
        check(r#"{"price":1e-9}"#, Some("GBPUSD"), InvalidKind::OutOfRange, "/price");
        check(r#"{"price":"high"}"#, Some("GBPUSD"), InvalidKind::WrongType, "/price");
        check(r#"{"price":1,"updated_at":"now"}"#, Some("GBPUSD"), InvalidKind::InvalidTime, "/updated_at");
        check(r#"{"price":1,"bid":1}"#, Some("GBPUSD"), InvalidKind::MisspelledMember, "/bid");
        check(r#"{"price":1,"bid":null}"#, Some("GBPUSD"), InvalidKind::MisspelledMember, "/bid");
    }

    #[test]
    fn a_later_price_replaces_an_earlier_one() {
        let rates = rates(&[("USDJPY", "148.5"), ("GBPUSD", "1.34"), ("USDJPY", "149")]);
        let (rate, seq) = rates.get(&pair("USDJPY")).unwrap();
        assert_eq!((rate.price.to_string(), seq), ("149".to_owned(), 3));
        assert_eq!(rates.iter().map(|rate| rate.pair.as_str()).collect::<Vec<_>>(), ["GBPUSD", "USDJPY"]);
        assert_eq!(rates.get(&pair("EURUSD")), None);
    }

    #[test]
    fn a_stored_price_converts_in_both_directions_and_never_around_a_third_currency() {
        let rates = rates(&[("GBPUSD", "1.34"), ("USDJPY", "148.5"), ("JPYUSD", "0.0067")]);
        let convert = |from: &str, to: &str| {
            rates
                .conversion(&Currency::parse(from).unwrap(), &Currency::parse(to).unwrap())
                .map(|found| (found.numerator.to_string(), found.denominator.to_string(), found.seq))
        };
        let fraction =
            |numerator: &str, denominator: &str, seq: u64| Some((numerator.to_owned(), denominator.to_owned(), seq));
        assert_eq!(convert("GBP", "USD"), fraction("1.34", "1", 1));
        assert_eq!(convert("USD", "GBP"), fraction("1", "1.34", 1));
        // Where both directions are stored, the one that was asked for.
        assert_eq!(convert("USD", "JPY"), fraction("148.5", "1", 2));
        assert_eq!(convert("JPY", "USD"), fraction("0.0067", "1", 3));
        assert_eq!(convert("GBP", "JPY"), None);
        assert_eq!(convert("USD", "EUR"), None);
    }
}
