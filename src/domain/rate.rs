//! Rates: prices of currency pairs, by which a loss in the quote currency becomes one in the account's.

use std::collections::BTreeMap;

use super::{Currency, Decimal, Invalid, InvalidKind, Object, Pair, UnixMillis, latest_confirmation};

/// What one unit of a pair's first currency costs in its second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The pair: `GBPUSD` is dollars for a pound.
    pub pair: Pair,
    /// The price; above zero.
    pub price: Decimal,
    /// When it was published.
    pub updated_at: UnixMillis,
    /// When it was last published, also as the same price.
    pub confirmed_at: UnixMillis,
}

/// A rate as a client sends it, before the server adds the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateDraft {
    pair: Pair,
    price: Decimal,
    updated_at: Option<UnixMillis>,
    confirmed_at: Option<UnixMillis>,
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
        let confirmed_at = object.take_time("confirmed_at")?;
        match object.iter().next() {
            None => Ok(Self { pair, price, updated_at, confirmed_at }),
            Some((name, _)) => {
                let detail =
                    format!("\"{name}\" is not a member of a rate: pair, price, updated_at and confirmed_at are");
                Err(Invalid::member(InvalidKind::MisspelledMember, name, detail))
            }
        }
    }

    /// The pair.
    #[must_use]
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Fills in `now` where the body named no time, or one that is yet to come. A price counts as confirmed when it was
    /// published, unless the body says otherwise.
    #[must_use]
    pub fn resolve(self, now: UnixMillis) -> Rate {
        let updated_at = self.updated_at.map_or(now, |time| time.min(now));
        let confirmed_at = self.confirmed_at.map_or(updated_at, |time| time.min(now));
        Rate { pair: self.pair, price: self.price, updated_at, confirmed_at }
    }
}

/// Every rate that is known, each with the `seq` that wrote it.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    by_pair: BTreeMap<Pair, (Rate, u64)>,
    version: u64,
}

/// How an amount in one currency becomes one in another: step by step, at most two of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversion {
    legs: Vec<Leg>,
}

/// One step of a conversion: times the price, or by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// The pair whose price it is.
    pub pair: Pair,
    /// Above zero.
    pub price: Decimal,
    /// Whether the amount is divided by the price, as it is in the pair's second currency.
    pub is_inverse: bool,
    /// The `seq` of the stored rate; `None` for the entry price of the signal.
    pub seq: Option<u64>,
    /// When the stored rate was last confirmed; `None` for the entry price of the signal, which does not age.
    pub confirmed_at: Option<UnixMillis>,
}

impl Conversion {
    /// Nothing to convert.
    pub const ONE: Self = Self { legs: Vec::new() };
    /// Currencies to convert through, in the order of preference: those against which most prices are quoted.
    pub const PIVOTS: [&'static str; 7] = ["USD", "EUR", "GBP", "JPY", "CHF", "AUD", "USDT"];

    /// Divides by the entry price of a signal on `pair`.
    #[must_use]
    pub fn by_entry(pair: Pair, price: Decimal) -> Self {
        Self { legs: vec![Leg { pair, price, is_inverse: true, seq: None, confirmed_at: None }] }
    }

    /// The steps in their order.
    #[must_use]
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// Units of the numerators and of the denominators; the value is the product of the ones by that of the others.
    /// `None` if a price is not above zero.
    ///
    /// A fraction, since the inverse of a price has no end: 1 / 148.5.
    #[must_use]
    pub fn factors(&self) -> Option<([u64; 2], [u64; 2])> {
        const ONE: u64 = Decimal::ONE.units().unsigned_abs();
        let (mut numerators, mut denominators) = ([ONE; 2], [ONE; 2]);
        for ((leg, numerator), denominator) in self.legs.iter().zip(&mut numerators).zip(&mut denominators) {
            let price = u64::try_from(leg.price.units()).ok().filter(|units| *units > 0)?;
            *(if leg.is_inverse { denominator } else { numerator }) = price;
        }
        Some((numerators, denominators))
    }

    /// The `seq` of each stored rate that was used; 0 where none was needed.
    #[must_use]
    pub fn seqs(&self) -> [u64; 2] {
        let seq = |at: usize| self.legs.get(at).and_then(|leg| leg.seq).unwrap_or(0);
        [seq(0), seq(1)]
    }

    /// When each stored rate that was used was last confirmed.
    pub fn confirmations(&self) -> impl Iterator<Item = UnixMillis> {
        self.legs.iter().filter_map(|leg| leg.confirmed_at)
    }
}

impl Rates {
    /// Adds or replaces a rate.
    pub fn put(&mut self, rate: Rate, seq: u64) {
        self.by_pair.insert(rate.pair.clone(), (rate, seq));
        self.version += 1;
    }

    /// Notes that a pair's price was confirmed, if it is still this one.
    pub fn confirm(&mut self, confirmed: &Rate, now: UnixMillis) {
        if let Some((rate, _)) = self.by_pair.get_mut(&confirmed.pair)
            && rate.price == confirmed.price
        {
            rate.confirmed_at = latest_confirmation(rate.confirmed_at, confirmed.confirmed_at, now);
            self.version += 1;
        }
    }

    /// A number that rises with every change and confirmation.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
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

    /// Returns how `from` converts to `to`: by a stored rate, else by the inverse of one, else through the first of
    /// [`Conversion::PIVOTS`] for which both steps are stored, each either way round.
    ///
    /// What is stored decides and not its age, so that an answer does not change by the clock alone.
    #[must_use]
    pub fn conversion(&self, from: &Currency, to: &Currency) -> Option<Conversion> {
        if let Some(leg) = self.leg(from, to) {
            return Some(Conversion { legs: vec![leg] });
        }
        let through = |pivot: &str| {
            let pivot = Currency::parse(pivot).ok()?;
            Some(Conversion { legs: vec![self.leg(from, &pivot)?, self.leg(&pivot, to)?] })
        };
        Conversion::PIVOTS.into_iter().find_map(through)
    }

    /// One step, by a stored rate or by the inverse of one.
    fn leg(&self, from: &Currency, to: &Currency) -> Option<Leg> {
        let stored = |base, quote, is_inverse| {
            let (rate, seq) = self.by_pair.get(&Pair::of(base, quote))?;
            let (price, confirmed_at) = (rate.price, Some(rate.confirmed_at));
            Some(Leg { pair: rate.pair.clone(), price, is_inverse, seq: Some(*seq), confirmed_at })
        };
        stored(from, to, false).or_else(|| stored(to, from, true))
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
            let rate =
                Rate { pair: pair(name), price: Decimal::parse(price).unwrap(), updated_at: NOW, confirmed_at: NOW };
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

    /// How an amount is converted, as `*GBPUSD#1 /USDJPY#2`: times the price of change 1, by that of change 2.
    fn convert(rates: &Rates, from: &str, to: &str) -> Option<String> {
        let found = rates.conversion(&Currency::parse(from).unwrap(), &Currency::parse(to).unwrap())?;
        let leg = |leg: &Leg| format!("{}{}#{}", if leg.is_inverse { '/' } else { '*' }, leg.pair, leg.seq.unwrap());
        Some(found.legs().iter().map(leg).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_stored_price_converts_in_both_directions() {
        let rates = rates(&[("GBPUSD", "1.34"), ("USDJPY", "148.5"), ("JPYUSD", "0.0067")]);
        assert_eq!(convert(&rates, "GBP", "USD").as_deref(), Some("*GBPUSD#1"));
        assert_eq!(convert(&rates, "USD", "GBP").as_deref(), Some("/GBPUSD#1"));
        // Where both directions are stored, the one that was asked for.
        assert_eq!(convert(&rates, "USD", "JPY").as_deref(), Some("*USDJPY#2"));
        assert_eq!(convert(&rates, "JPY", "USD").as_deref(), Some("*JPYUSD#3"));
        assert_eq!(convert(&rates, "USD", "EUR"), None);
    }

    #[test]
    fn without_a_price_of_their_own_two_currencies_convert_through_a_third() {
        let rates = rates(&[
            ("GBPUSD", "1.34"),
            ("USDJPY", "148.5"),
            ("EURGBP", "0.86"),
            ("EURCHF", "0.93"),
            ("USDCHF", "0.80"),
            ("BTC-USDT", "95000"),
            ("EUR-USDT", "1.16"),
        ]);
        for (from, to, expected) in [
            ("GBP", "JPY", Some("*GBPUSD#1 *USDJPY#2")),
            ("JPY", "GBP", Some("/USDJPY#2 /GBPUSD#1")),
            // Through dollars, before euros.
            ("CHF", "GBP", Some("/USDCHF#5 /GBPUSD#1")),
            ("USD", "EUR", Some("/GBPUSD#1 /EURGBP#3")),
            ("BTC", "EUR", Some("*BTC-USDT#6 /EUR-USDT#7")),
            // Never through two.
            ("BTC", "JPY", None),
            ("JPY", "AUD", None),
        ] {
            assert_eq!(convert(&rates, from, to).as_deref(), expected, "{from} {to}");
        }
        let path = rates.conversion(&Currency::parse("JPY").unwrap(), &Currency::parse("GBP").unwrap()).unwrap();
        assert_eq!(path.seqs(), [2, 1]);
        assert_eq!(path.factors(), Some(([100_000_000; 2], [14_850_000_000, 134_000_000])));
        assert_eq!(Conversion::ONE.factors(), Some(([100_000_000; 2], [100_000_000; 2])));
    }
}
