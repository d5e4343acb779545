//! A signal: the trade idea that all users share, stored once.

use super::{Decimal, Invalid, InvalidKind, Object, SignalId, Symbol, UnixMillis};

/// Longest `pattern_type`, in bytes.
const PATTERN_BYTES_MAX: usize = 128;

/// Which way a signal trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Buy now, sell later: the stop lies below the entry.
    Buy,
    /// Sell now, buy back later: the stop lies above the entry.
    Sell,
}

impl Direction {
    /// `BUY` or `SELL`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "BUY",
            Self::Sell => "SELL",
        }
    }

    /// Reads `BUY` or `SELL` in any case.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::WrongType`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.eq_ignore_ascii_case("BUY") {
            Ok(Self::Buy)
        } else if text.eq_ignore_ascii_case("SELL") {
            Ok(Self::Sell)
        } else {
            Err(Invalid::member(InvalidKind::WrongType, "direction", "direction must be BUY or SELL"))
        }
    }
}

/// Where a signal gets in and out: as prices, or as distances in pips. Producers send both kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    /// Prices; the stop lies on the losing side of the entry, the target on the winning side.
    Prices {
        /// Price to get in at; above zero.
        entry: Decimal,
        /// Price to get out at with a loss; above zero.
        stop: Decimal,
        /// Price to get out at with a gain; above zero. `None`: the signal names none.
        target: Option<Decimal>,
    },
    /// Distances in pips from the entry.
    Pips {
        /// Price to get in at; above zero. `None`: at the market.
        entry: Option<Decimal>,
        /// Distance to the stop; above zero.
        stop: Decimal,
        /// Distance to the target; above zero. `None`: the signal names none.
        target: Option<Decimal>,
    },
}

impl Levels {
    /// Price to get in at, where the signal names one.
    #[must_use]
    pub const fn entry(&self) -> Option<Decimal> {
        match self {
            Self::Prices { entry, .. } => Some(*entry),
            Self::Pips { entry, .. } => *entry,
        }
    }

    /// Checks price levels against the direction.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::ZeroDistance`], [`InvalidKind::StopWrongSide`], [`InvalidKind::TargetWrongSide`].
    pub fn prices(
        direction: Direction,
        entry: Decimal,
        stop: Decimal,
        target: Option<Decimal>,
    ) -> Result<Self, Invalid> {
        let is_losing = |price: Decimal| match direction {
            Direction::Buy => price < entry,
            Direction::Sell => price > entry,
        };
        if stop == entry {
            return Err(Invalid::member(
                InvalidKind::ZeroDistance,
                "stop_loss",
                format!("stop_loss {stop} equals the entry price"),
            ));
        }
        if !is_losing(stop) {
            let side = if direction == Direction::Buy { "below" } else { "above" };
            let detail =
                format!("stop_loss {stop} of a {} must lie {side} the entry price {entry}", direction.as_str());
            return Err(Invalid::member(InvalidKind::StopWrongSide, "stop_loss", detail));
        }
        if let Some(target) = target {
            if target == entry {
                let detail = format!("take_profit {target} equals the entry price");
                return Err(Invalid::member(InvalidKind::ZeroDistance, "take_profit", detail));
            }
            if is_losing(target) {
                let side = if direction == Direction::Buy { "above" } else { "below" };
                let detail =
                    format!("take_profit {target} of a {} must lie {side} the entry price {entry}", direction.as_str());
                return Err(Invalid::member(InvalidKind::TargetWrongSide, "take_profit", detail));
            }
        }
        Ok(Self::Prices { entry, stop, target })
    }

    /// Checks distances in pips.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::ZeroDistance`] if a distance is zero.
    pub fn pips(entry: Option<Decimal>, stop: Decimal, target: Option<Decimal>) -> Result<Self, Invalid> {
        for (name, distance) in [("stop_pips", Some(stop)), ("target_pips", target)] {
            if distance.is_some_and(|distance| !distance.is_positive()) {
                return Err(Invalid::member(InvalidKind::ZeroDistance, name, format!("{name} must be above zero")));
            }
        }
        Ok(Self::Pips { entry, stop, target })
    }

    /// Takes the levels out of a body: prices where there is a `stop_loss`, else pips.
    fn take(object: &mut Object, direction: Direction) -> Result<Self, Invalid> {
        let least = Decimal::from_units(1);
        let most = Decimal::from_units(i64::MAX);
        let entry = object.take_decimal("entry_price", least, most)?;
        let stop = object.take_decimal("stop_loss", least, most)?;
        let target = object.take_decimal("take_profit", least, most)?;
        let Some(stop) = stop else {
            if target.is_some() {
                let detail = "take_profit is a price, so stop_loss must be given as one too";
                return Err(Invalid::member(InvalidKind::MissingMember, "stop_loss", detail));
            }
            let stop = object.take_decimal("stop_pips", Decimal::ZERO, most)?;
            let target = object.take_decimal("target_pips", Decimal::ZERO, most)?;
            let missing =
                || Invalid::member(InvalidKind::MissingMember, "stop_loss", "a signal needs stop_loss, or stop_pips");
            return Self::pips(entry, stop.ok_or_else(missing)?, target);
        };
        let missing = || {
            Invalid::member(InvalidKind::MissingMember, "entry_price", "stop_loss is a price, so entry_price is needed")
        };
        let entry = entry.ok_or_else(missing)?;
        if target.is_none() && object.get("target_pips").is_some_and(|value| value != "null") {
            let detail = "stop_loss is a price and target_pips a distance: give take_profit, or both in pips";
            return Err(Invalid::member(InvalidKind::MixedLevels, "target_pips", detail));
        }
        // Where there are prices, `stop_pips` and `target_pips` are the producer's own reading: kept, not used.
        Self::prices(direction, entry, stop, target)
    }
}

/// One signal as it is stored and shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The engine's id.
    pub id: SignalId,
    /// What is traded.
    pub symbol: Symbol,
    /// Which way.
    pub direction: Direction,
    /// Where to get in and out.
    pub levels: Levels,
    /// The pattern that gave rise to it.
    pub pattern_type: Option<String>,
    /// The engine's confidence, 0 to 100.
    pub confidence: Option<Decimal>,
    /// When it was published.
    pub created_at: UnixMillis,
    /// From when on it is expired; after `created_at`.
    pub expires_at: UnixMillis,
    /// Everything else, as published.
    pub members: Object,
}

/// A signal as a client sends it, before the server adds the times that it left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalDraft {
    id: SignalId,
    symbol: Symbol,
    direction: Direction,
    levels: Levels,
    pattern_type: Option<String>,
    confidence: Option<Decimal>,
    created_at: Option<UnixMillis>,
    expires_at: Option<UnixMillis>,
    members: Object,
}

/// The members of a signal that the computation reads.
const KNOWN: [&str; 12] = [
    "signal_id",
    "symbol",
    "direction",
    "entry_price",
    "stop_loss",
    "take_profit",
    "stop_pips",
    "target_pips",
    "pattern_type",
    "confidence",
    "created_at",
    "expires_at",
];

impl SignalDraft {
    /// Reads a published body; `id` is the id that the request names, if it does.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame.
    pub fn from_object(mut object: Object, id: Option<&SignalId>) -> Result<Self, Invalid> {
        object.refuse_misspelled(&KNOWN)?;
        let missing = |name: &'static str| {
            move || Invalid::member(InvalidKind::MissingMember, name, format!("a signal needs {name}"))
        };
        let own_id = object.take_parsed("signal_id", SignalId::parse)?;
        let id = match (id, own_id) {
            (Some(id), Some(own_id)) if *id != own_id => {
                let detail = format!("signal_id {own_id} is not {id}, which the request names");
                return Err(Invalid::member(InvalidKind::IdMismatch, "signal_id", detail));
            }
            (Some(id), _) => id.clone(),
            (None, own_id) => own_id.ok_or_else(missing("signal_id"))?,
        };
        let symbol = object.take_parsed("symbol", Symbol::parse)?.ok_or_else(missing("symbol"))?;
        let direction = object.take_parsed("direction", Direction::parse)?.ok_or_else(missing("direction"))?;
        let levels = Levels::take(&mut object, direction)?;
        let pattern_type = object.take_string("pattern_type", PATTERN_BYTES_MAX)?;
        let confidence = object.take_decimal("confidence", Decimal::ZERO, Decimal::HUNDRED)?;
        let created_at = object.take_time("created_at")?;
        let expires_at = object.take_time("expires_at")?;
        let members = object.kept()?;
        Ok(Self { id, symbol, direction, levels, pattern_type, confidence, created_at, expires_at, members })
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &SignalId {
        &self.id
    }

    /// Fills in the times that the body left out: creation `now`, expiry `lifetime_ms` after creation.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::ExpiryBeforeCreation`].
    pub fn resolve(self, now: UnixMillis, lifetime_ms: i64) -> Result<Signal, Invalid> {
        // A signal that names only its expiry, and that is already over, was created no later than then.
        let created_at = self.created_at.unwrap_or_else(|| match self.expires_at {
            Some(expires_at) if expires_at <= now => expires_at.plus_millis(-lifetime_ms),
            _ => now,
        });
        let expires_at = self.expires_at.unwrap_or_else(|| created_at.plus_millis(lifetime_ms));
        if expires_at <= created_at {
            let detail = format!("expires_at {expires_at} is not after created_at {created_at}");
            return Err(Invalid::member(InvalidKind::ExpiryBeforeCreation, "expires_at", detail));
        }
        Ok(Signal {
            id: self.id,
            symbol: self.symbol,
            direction: self.direction,
            levels: self.levels,
            pattern_type: self.pattern_type,
            confidence: self.confidence,
            created_at,
            expires_at,
            members: self.members,
        })
    }

    /// Whether this body says nothing other than `stored`; times that it leaves out agree with any.
    #[must_use]
    pub fn agrees_with(&self, stored: &Signal) -> bool {
        self.same_but_times(stored)
            && self.created_at.is_none_or(|created_at| created_at == stored.created_at)
            && self.expires_at.is_none_or(|expires_at| expires_at == stored.expires_at)
    }

    /// Whether this body says nothing other than `stored`, its times aside.
    #[must_use]
    pub fn same_but_times(&self, stored: &Signal) -> bool {
        self.id == stored.id
            && self.symbol == stored.symbol
            && self.direction == stored.direction
            && self.levels == stored.levels
            && self.pattern_type == stored.pattern_type
            && self.confidence == stored.confidence
            && self.members.same_members(&stored.members)
    }

    /// Moves the times that are given by `millis`.
    pub fn shift_times(&mut self, millis: i64) {
        self.created_at = self.created_at.map(|moment| moment.plus_millis(millis));
        self.expires_at = self.expires_at.map(|moment| moment.plus_millis(millis));
    }
}

impl Signal {
    /// Whether it is expired: from `expires_at` on.
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        now >= self.expires_at
    }

    /// Applies an RFC 7396 merge patch and checks the result as if it were published so.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame; the id can not be patched.
    pub fn patched(&self, patch: &Object) -> Result<Self, Invalid> {
        patch.refuse_misspelled(&KNOWN)?;
        for name in ["signal_id", "created_at", "expires_at"] {
            if patch.get(name) == Some("null") {
                return Err(Invalid::member(InvalidKind::MissingMember, name, format!("{name} can not be removed")));
            }
        }
        let mut object = Object::parse(&crate::render::signal_json(self))?;
        match self.levels {
            // Prices take the place of distances, which would otherwise stay behind as members that nobody reads.
            Levels::Pips { .. } if patch.get("stop_loss").is_some() => {
                object.take("stop_pips");
                object.take("target_pips");
            }
            Levels::Prices { .. } if patch.get("stop_loss") != Some("null") => {
                if let Some(name) = ["stop_pips", "target_pips"].into_iter().find(|name| patch.get(name).is_some()) {
                    let detail = format!(
                        "the signal has prices, so {name} would change nothing; set stop_loss and take_profit to null"
                    );
                    return Err(Invalid::member(InvalidKind::MixedLevels, name, detail));
                }
            }
            Levels::Pips { .. } | Levels::Prices { .. } => {}
        }
        let object = object.merged(patch);
        let draft = SignalDraft::from_object(object, Some(&self.id))?;
        draft.resolve(self.created_at, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ordinary signal in prices; the cases below merge into it what they are about.
    const BASE: &str = r#"{"signal_id":"S-1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,
        "stop_loss":1.083,"take_profit":1.089}"#;
    /// Drops the price levels, to make room for pips.
    const NO_PRICES: &str = r#"{"entry_price":null,"stop_loss":null,"take_profit":null}"#;
    const HOUR_MS: i64 = 3_600_000;

    fn object(json: &str) -> Object {
        Object::parse(json.as_bytes()).unwrap()
    }

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn time(text: &str) -> UnixMillis {
        UnixMillis::parse(text).unwrap()
    }

    /// [`BASE`] with `patch` merged into it.
    fn read(patch: &str) -> Result<SignalDraft, Invalid> {
        SignalDraft::from_object(object(BASE).merged(&object(patch)), None)
    }

    fn stored(patch: &str) -> Signal {
        read(patch).unwrap().resolve(time("2026-01-30T16:00:00Z"), HOUR_MS).unwrap()
    }

    fn json(signal: &Signal) -> String {
        String::from_utf8(crate::render::signal_json(signal)).unwrap()
    }

    #[track_caller]
    fn check(result: Result<impl std::fmt::Debug, Invalid>, kind: InvalidKind, pointer: &str) {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.pointer()), (kind, pointer), "{error}");
    }

    #[test]
    fn a_full_body_in_prices_is_read() {
        let text = r#"{"signal_id":"ELITE_GUARD_EURUSD_1","symbol":"eur/usd","direction":"sell","entry_price":"1.085",
            "stop_loss":1.0870,"take_profit":1.081,"pattern_type":"SWEEP \"A\"","confidence":87.5,
            "created_at":"2026-01-30T16:00:00.25","expires_at":1769792400,
            "citadel":{"score": 9.10},"sl_pips":20.000000000000018,"note":null}"#;
        let signal = SignalDraft::from_object(object(text), None).unwrap().resolve(UnixMillis::MAX, HOUR_MS).unwrap();
        assert_eq!(signal.id.as_str(), "ELITE_GUARD_EURUSD_1");
        assert_eq!((signal.symbol.as_str(), signal.direction), ("EURUSD", Direction::Sell));
        let levels = Levels::Prices { entry: decimal("1.085"), stop: decimal("1.087"), target: Some(decimal("1.081")) };
        assert_eq!(signal.levels, levels);
        assert_eq!(signal.levels.entry(), Some(decimal("1.085")));
        assert_eq!(signal.pattern_type.as_deref(), Some("SWEEP \"A\""));
        assert_eq!(signal.confidence, Some(decimal("87.5")));
        assert_eq!(signal.created_at, time("2026-01-30T16:00:00.25Z"));
        assert_eq!(signal.expires_at, time("2026-01-30T17:00:00Z"));
        // What is not known is kept to the letter.
        assert_eq!(signal.members.to_json(), r#"{"citadel":{"score":9.10},"sl_pips":20.000000000000018,"note":null}"#);
    }

    #[test]
    fn levels_are_prices_where_there_is_a_stop_loss_and_pips_elsewhere() {
        let without_prices = object(BASE).merged(&object(NO_PRICES));
        let pips =
            |patch: &str| SignalDraft::from_object(without_prices.clone().merged(&object(patch)), None).unwrap().levels;
        let (stop, target) = (decimal("20"), Some(decimal("40.5")));
        assert_eq!(pips(r#"{"stop_pips":20,"target_pips":40.5}"#), Levels::Pips { entry: None, stop, target });
        assert_eq!(pips(r#"{"stop_pips":20,"target_pips":null}"#), Levels::Pips { entry: None, stop, target: None });
        let with_entry = read(r#"{"stop_loss":null,"take_profit":null,"stop_pips":20}"#).unwrap().levels;
        assert_eq!(with_entry, Levels::Pips { entry: Some(decimal("1.085")), stop, target: None });
        assert_eq!((with_entry.entry(), pips(r#"{"stop_pips":20}"#).entry()), (Some(decimal("1.085")), None));

        // Beside prices, pips are the producer's own reading: kept, not used.
        let both = read(r#"{"stop_pips":99,"target_pips":99}"#).unwrap();
        let prices = Levels::Prices { entry: decimal("1.085"), stop: decimal("1.083"), target: Some(decimal("1.089")) };
        assert_eq!(both.levels, prices);
        assert_eq!(both.members.to_json(), r#"{"stop_pips":99,"target_pips":99}"#);
        let no_target = read(r#"{"take_profit":null}"#).unwrap().levels;
        assert_eq!(no_target, Levels::Prices { entry: decimal("1.085"), stop: decimal("1.083"), target: None });
    }

    #[test]
    fn a_missing_member_is_named() {
        for name in ["signal_id", "symbol", "direction", "entry_price", "stop_loss"] {
            check(read(&format!(r#"{{"{name}":null}}"#)), InvalidKind::MissingMember, &format!("/{name}"));
        }
        check(read(NO_PRICES), InvalidKind::MissingMember, "/stop_loss");
        check(read(r#"{"stop_loss":null,"take_profit":null}"#), InvalidKind::MissingMember, "/stop_loss");
    }

    #[test]
    fn a_member_of_another_kind_is_named() {
        for (patch, kind, pointer) in [
            (r#"{"signal_id":7}"#, InvalidKind::WrongType, "/signal_id"),
            (r#"{"signal_id":"a/b"}"#, InvalidKind::InvalidName, "/signal_id"),
            (r#"{"symbol":["EURUSD"]}"#, InvalidKind::WrongType, "/symbol"),
            (r#"{"symbol":"EUR USD"}"#, InvalidKind::InvalidName, "/symbol"),
            (r#"{"direction":"LONG"}"#, InvalidKind::WrongType, "/direction"),
            (r#"{"direction":true}"#, InvalidKind::WrongType, "/direction"),
            (r#"{"entry_price":"market"}"#, InvalidKind::WrongType, "/entry_price"),
            (r#"{"entry_price":{}}"#, InvalidKind::WrongType, "/entry_price"),
            (r#"{"entry_price":0}"#, InvalidKind::OutOfRange, "/entry_price"),
            (r#"{"stop_loss":-1.083}"#, InvalidKind::OutOfRange, "/stop_loss"),
            (r#"{"take_profit":1e11}"#, InvalidKind::OutOfRange, "/take_profit"),
            (r#"{"take_profit":1e-9}"#, InvalidKind::OutOfRange, "/take_profit"),
            (r#"{"pattern_type":1}"#, InvalidKind::WrongType, "/pattern_type"),
            (r#"{"confidence":100.00000001}"#, InvalidKind::OutOfRange, "/confidence"),
            (r#"{"confidence":-0.00000001}"#, InvalidKind::OutOfRange, "/confidence"),
            (r#"{"created_at":"yesterday"}"#, InvalidKind::InvalidTime, "/created_at"),
            (r#"{"created_at":-1}"#, InvalidKind::InvalidTime, "/created_at"),
            (r#"{"expires_at":{}}"#, InvalidKind::InvalidTime, "/expires_at"),
            (r#"{"stop_los":1}"#, InvalidKind::MisspelledMember, "/stop_los"),
            (r#"{"Symbol":"EURUSD"}"#, InvalidKind::MisspelledMember, "/Symbol"),
        ] {
            check(read(patch), kind, pointer);
        }
        let long = "x".repeat(PATTERN_BYTES_MAX + 1);
        check(read(&format!(r#"{{"pattern_type":"{long}"}}"#)), InvalidKind::OutOfRange, "/pattern_type");
        let longest = &long[1..];
        assert_eq!(stored(&format!(r#"{{"pattern_type":"{longest}"}}"#)).pattern_type.as_deref(), Some(longest));
    }

    #[test]
    fn a_level_on_the_wrong_side_of_the_entry_is_refused() {
        for (patch, kind, pointer) in [
            (r#"{"stop_loss":1.086}"#, InvalidKind::StopWrongSide, "/stop_loss"),
            (r#"{"stop_loss":1.085}"#, InvalidKind::ZeroDistance, "/stop_loss"),
            (r#"{"take_profit":1.084}"#, InvalidKind::TargetWrongSide, "/take_profit"),
            (r#"{"take_profit":1.085}"#, InvalidKind::ZeroDistance, "/take_profit"),
            (r#"{"direction":"SELL"}"#, InvalidKind::StopWrongSide, "/stop_loss"),
            (r#"{"direction":"SELL","stop_loss":1.086}"#, InvalidKind::TargetWrongSide, "/take_profit"),
            (r#"{"stop_loss":null,"take_profit":null,"stop_pips":0}"#, InvalidKind::ZeroDistance, "/stop_pips"),
            (
                r#"{"stop_loss":null,"take_profit":null,"stop_pips":1,"target_pips":0}"#,
                InvalidKind::ZeroDistance,
                "/target_pips",
            ),
            (r#"{"stop_loss":null,"take_profit":null,"stop_pips":-1}"#, InvalidKind::OutOfRange, "/stop_pips"),
            (r#"{"take_profit":null,"target_pips":40}"#, InvalidKind::MixedLevels, "/target_pips"),
        ] {
            check(read(patch), kind, pointer);
        }
        assert!(read(r#"{"take_profit":null,"target_pips":null}"#).is_ok(), "a null is no target");
    }

    #[test]
    fn the_id_of_the_request_and_of_the_body_are_one() {
        let id = |text: &str| SignalId::parse(text).unwrap();
        let mismatch = SignalDraft::from_object(object(BASE), Some(&id("S-2")));
        check(mismatch, InvalidKind::IdMismatch, "/signal_id");
        let without_id = object(BASE).merged(&object(r#"{"signal_id":null}"#));
        for body in [without_id, object(BASE)] {
            assert_eq!(SignalDraft::from_object(body, Some(&id("S-1"))).unwrap().id(), &id("S-1"));
        }
    }

    #[test]
    fn times_that_are_left_out_are_filled_in() {
        let now = time("2026-01-30T16:00:00Z");
        let times = |patch: &str| {
            let signal = read(patch).unwrap().resolve(now, HOUR_MS)?;
            Ok::<_, Invalid>((signal.created_at.to_string(), signal.expires_at.to_string()))
        };
        let both = |created_at: &str, expires_at: &str| Ok((created_at.to_owned(), expires_at.to_owned()));
        assert_eq!(times("{}"), both("2026-01-30T16:00:00Z", "2026-01-30T17:00:00Z"));
        assert_eq!(
            times(r#"{"created_at":"2026-01-30T12:00:00Z"}"#),
            both("2026-01-30T12:00:00Z", "2026-01-30T13:00:00Z")
        );
        assert_eq!(
            times(r#"{"expires_at":"2026-01-30T16:30:00Z"}"#),
            both("2026-01-30T16:00:00Z", "2026-01-30T16:30:00Z")
        );
        // What is over was not created now.
        assert_eq!(
            times(r#"{"expires_at":"2026-01-30T16:00:00Z"}"#),
            both("2026-01-30T15:00:00Z", "2026-01-30T16:00:00Z")
        );
        check(
            times(r#"{"created_at":"2026-01-30T12:00:00Z","expires_at":"2026-01-30T12:00:00Z"}"#),
            InvalidKind::ExpiryBeforeCreation,
            "/expires_at",
        );
        check(times(r#"{"expires_at":"1970-01-01T00:00:00Z"}"#), InvalidKind::ExpiryBeforeCreation, "/expires_at");
        check(times(r#"{"created_at":"9999-12-30T22:00:00Z"}"#), InvalidKind::ExpiryBeforeCreation, "/expires_at");
    }

    #[test]
    fn times_move_together_and_only_where_given() {
        let mut draft = read(r#"{"created_at":"2026-01-30T12:00:00Z"}"#).unwrap();
        draft.shift_times(-HOUR_MS);
        assert_eq!((draft.created_at, draft.expires_at), (Some(time("2026-01-30T11:00:00Z")), None));
        let mut draft = read(r#"{"expires_at":"2026-01-30T12:00:00Z"}"#).unwrap();
        draft.shift_times(HOUR_MS);
        assert_eq!((draft.created_at, draft.expires_at), (None, Some(time("2026-01-30T13:00:00Z"))));
    }

    #[test]
    fn a_body_that_is_sent_again_agrees_unless_it_says_something_else() {
        let given = r#"{"confidence":80,"pattern_type":"A","note":{"b":[1.10]},"session":"LONDON"}"#;
        let before = stored(given);
        assert!(read(given).unwrap().agrees_with(&before), "a body without times agrees with any");
        let reordered = r#"{"session":"LONDON","note":{"b": [1.10]},"pattern_type":"A","confidence":80.0}"#;
        assert!(read(reordered).unwrap().agrees_with(&before), "order, blanks and zeros say nothing");
        let same_times = r#"{"created_at":"2026-01-30T16:00:00Z","expires_at":1769792400}"#;
        let again = |patch: &str| {
            let body = object(BASE).merged(&object(given)).merged(&object(patch));
            SignalDraft::from_object(body, None).unwrap()
        };
        assert!(again(same_times).agrees_with(&before));
        for patch in [
            r#"{"signal_id":"S-2"}"#,
            r#"{"symbol":"GBPUSD"}"#,
            r#"{"direction":"SELL","stop_loss":1.089,"take_profit":1.083}"#,
            r#"{"stop_loss":1.082}"#,
            r#"{"take_profit":null}"#,
            r#"{"stop_loss":null,"take_profit":null,"stop_pips":20}"#,
            r#"{"pattern_type":"B"}"#,
            r#"{"confidence":81}"#,
            r#"{"session":"TOKYO"}"#,
            r#"{"session":null}"#,
            r#"{"note":{"b":[1.1]}}"#,
            r#"{"more":1}"#,
        ] {
            assert!(!again(patch).agrees_with(&before), "{patch}");
            assert!(!again(patch).same_but_times(&before), "{patch}");
        }
        for patch in [r#"{"created_at":"2026-01-30T16:00:00.001Z"}"#, r#"{"expires_at":"2026-01-30T18:00:00Z"}"#] {
            assert!(!again(patch).agrees_with(&before), "{patch}");
            assert!(again(patch).same_but_times(&before), "{patch}");
        }
    }

    #[test]
    fn a_patch_changes_what_it_names_and_nothing_else() {
        let before = stored(r#"{"confidence":80,"note":{"a":1,"b":{"c":2}},"session":"LONDON"}"#);
        let patched = |patch: &str| json(&before.patched(&object(patch)).unwrap());
        let unchanged = json(&before);
        assert_eq!(patched("{}"), unchanged);
        assert_eq!(patched(r#"{"signal_id":"S-1"}"#), unchanged);
        assert_eq!(patched(r#"{"stop_loss":1.08}"#), unchanged.replace(r#""stop_loss":1.083"#, r#""stop_loss":1.08"#));
        assert_eq!(patched(r#"{"take_profit":null}"#), unchanged.replace(r#""take_profit":1.089,"#, ""));
        assert_eq!(
            patched(r#"{"note":{"b":{"d":3,"c":null},"e":[{"f":null}]}}"#),
            unchanged.replace(r#"{"a":1,"b":{"c":2}}"#, r#"{"a":1,"b":{"d":3},"e":[{"f":null}]}"#)
        );
        assert_eq!(
            patched(r#"{"session":null,"confidence":null}"#),
            unchanged.replace(r#","session":"LONDON""#, "").replace(r#""confidence":80,"#, "")
        );
        assert_eq!(patched(r#"{"expires_at":"2026-01-30T18:00:00Z"}"#), unchanged.replace("17:00:00", "18:00:00"));
        let in_pips = patched(r#"{"stop_loss":null,"take_profit":null,"stop_pips":20,"target_pips":40}"#);
        assert_eq!(
            in_pips,
            unchanged.replace(r#""stop_loss":1.083,"take_profit":1.089"#, r#""stop_pips":20,"target_pips":40"#)
        );
    }

    #[test]
    fn a_patch_may_not_break_what_publishing_would_refuse() {
        let before = stored("{}");
        for (patch, kind, pointer) in [
            (r#"{"signal_id":null}"#, InvalidKind::MissingMember, "/signal_id"),
            (r#"{"created_at":null}"#, InvalidKind::MissingMember, "/created_at"),
            (r#"{"expires_at":null}"#, InvalidKind::MissingMember, "/expires_at"),
            (r#"{"signal_id":"S-2"}"#, InvalidKind::IdMismatch, "/signal_id"),
            (r#"{"symbol":null}"#, InvalidKind::MissingMember, "/symbol"),
            (r#"{"entry_price":null}"#, InvalidKind::MissingMember, "/entry_price"),
            (r#"{"stop_loss":1.09}"#, InvalidKind::StopWrongSide, "/stop_loss"),
            (r#"{"direction":"SELL"}"#, InvalidKind::StopWrongSide, "/stop_loss"),
            (r#"{"expires_at":"2026-01-30T16:00:00Z"}"#, InvalidKind::ExpiryBeforeCreation, "/expires_at"),
            (r#"{"confidance":1}"#, InvalidKind::MisspelledMember, "/confidance"),
            (r#"{"confidance":null}"#, InvalidKind::MisspelledMember, "/confidance"),
        ] {
            check(before.patched(&object(patch)), kind, pointer);
        }
    }

    #[test]
    fn a_signal_is_expired_from_its_last_moment_on() {
        let signal = stored("{}");
        assert!(!signal.is_expired(time("2026-01-30T16:59:59.999Z")));
        assert!(signal.is_expired(time("2026-01-30T17:00:00Z")));
    }
}
