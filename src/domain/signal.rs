//! A signal: the trade idea that all users share, stored once.

mod target;
mod unnamed;

use sha2::{Digest as _, Sha256};
use strum::{EnumString, IntoStaticStr, VariantNames};

use super::other_names;
use super::{Decimal, Invalid, InvalidKind, Object, SignalId, Symbol, UnixMillis, write_json_string};
pub use target::{Target, TargetLevel};
pub use unnamed::UnnamedSignal;

/// Longest `pattern_type`, in bytes.
const PATTERN_BYTES_MAX: usize = 128;

/// The side of a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "UPPERCASE", ascii_case_insensitive)]
pub enum Direction {
    /// Buy now, sell later: the stop lies below the entry.
    Buy,
    /// Sell now, buy back later: the stop lies above the entry.
    Sell,
}

impl Direction {
    /// `BUY` or `SELL`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads `BUY` or `SELL` in any case.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::WrongType`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let refuse = |_| Invalid::member(InvalidKind::WrongType, "direction", "direction must be BUY or SELL");
        text.parse().map_err(refuse)
    }
}

/// What the publisher says of a signal as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub enum SignalStatus {
    /// It holds until it expires.
    Active,
    /// It was published by mistake, and is withdrawn.
    Cancelled,
    /// The trade idea is over before its time.
    Closed,
}

impl SignalStatus {
    /// `active`, `cancelled` or `closed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Reads `active`, `cancelled` or `closed` in any case.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::WrongType`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let refuse =
            |_| Invalid::member(InvalidKind::WrongType, "status", "status must be active, cancelled or closed");
        text.parse().map_err(refuse)
    }
}

/// The entry, the stop and the one target of a signal: as prices, or as distances in pips. Producers send both kinds.
///
/// Several targets are [`Signal::take_profits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    /// Prices; the stop lies on the losing side of the entry, the target on the winning side.
    Prices {
        /// Price at which to open the trade; above zero.
        entry: Decimal,
        /// Price at which to close it with a loss; above zero.
        stop: Decimal,
        /// Price at which to close it with a gain; above zero. `None`: the signal names none, or several.
        target: Option<Decimal>,
    },
    /// Distances in pips from the entry.
    Pips {
        /// Price at which to open the trade; above zero. `None`: at the market.
        entry: Option<Decimal>,
        /// Distance to the stop; above zero.
        stop: Decimal,
        /// Distance to the target; above zero. `None`: the signal names none, or several.
        target: Option<Decimal>,
    },
}

impl Levels {
    /// The price at which to open the trade; `None` if the signal names none.
    #[must_use]
    pub const fn entry(&self) -> Option<Decimal> {
        match self {
            Self::Prices { entry, .. } => Some(*entry),
            Self::Pips { entry, .. } => *entry,
        }
    }

    /// The member that names the one target; `None` if the levels have none.
    const fn target_name(&self) -> Option<&'static str> {
        match self {
            Self::Prices { target: Some(_), .. } => Some("take_profit"),
            Self::Pips { target: Some(_), .. } => Some("target_pips"),
            Self::Prices { target: None, .. } | Self::Pips { target: None, .. } => None,
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
        if let Some((kind, detail)) = target.and_then(|target| TargetLevel::Price(target).fault(direction, Some(entry)))
        {
            return Err(Invalid::member(kind, "take_profit", detail));
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

    /// Takes the levels out of a body: prices if there is a `stop_loss`, else pips.
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
        let names = |name| object.get(name).is_some_and(|value| value != "null");
        if target.is_none() && !names("take_profits") && names("target_pips") {
            let detail = "stop_loss is a price and target_pips a distance: give take_profit, or both in pips";
            return Err(Invalid::member(InvalidKind::MixedLevels, "target_pips", detail));
        }
        // Beside prices, `stop_pips` and `target_pips` are the producer's own computation: kept, not used.
        Self::prices(direction, entry, stop, target)
    }
}

/// One signal as it is stored and shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The engine's id.
    pub id: SignalId,
    /// The instrument.
    pub symbol: Symbol,
    /// Buy or sell.
    pub direction: Direction,
    /// Entry, stop and target.
    pub levels: Levels,
    /// Several targets, in the order of publication; empty if the signal names none, or one among the levels.
    pub take_profits: Vec<Target>,
    /// The pattern that the engine found in the prices.
    pub pattern_type: Option<String>,
    /// The engine's confidence, 0 to 100.
    pub confidence: Option<Decimal>,
    /// What the publisher said of it as a whole; `None`: nothing, so it is active.
    pub status: Option<SignalStatus>,
    /// When it was published.
    pub created_at: UnixMillis,
    /// The moment from which it is expired; after `created_at`.
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
    take_profits: Vec<Target>,
    pattern_type: Option<String>,
    confidence: Option<Decimal>,
    status: Option<SignalStatus>,
    created_at: Option<UnixMillis>,
    expires_at: Option<UnixMillis>,
    members: Object,
}

/// The members of a signal that the computation reads.
const KNOWN: [&str; 14] = [
    "signal_id",
    "symbol",
    "direction",
    "entry_price",
    "stop_loss",
    "take_profit",
    "stop_pips",
    "target_pips",
    "take_profits",
    "pattern_type",
    "confidence",
    "status",
    "created_at",
    "expires_at",
];

impl SignalDraft {
    /// Reads a published body; `id` is the id that the request names, if it does.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame.
    pub fn from_object(object: Object, id: Option<&SignalId>) -> Result<Self, Invalid> {
        object.refuse_misspelled(&KNOWN, other_names::SIGNAL)?;
        Self::from_record(object, id)
    }

    /// Reads a signal that was checked before, whatever its other members are called.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame.
    pub fn from_record(mut object: Object, id: Option<&SignalId>) -> Result<Self, Invalid> {
        let missing = |name: &'static str| {
            move || Invalid::member(InvalidKind::MissingMember, name, format!("a signal needs {name}"))
        };
        let id = object.take_id("signal_id", SignalId::parse, id, "a signal")?;
        let symbol = object.take_parsed("symbol", Symbol::parse)?.ok_or_else(missing("symbol"))?;
        let direction = object.take_parsed("direction", Direction::parse)?.ok_or_else(missing("direction"))?;
        let levels = Levels::take(&mut object, direction)?;
        let take_profits = Target::take_list(&mut object)?;
        Target::check(&take_profits, direction, levels.entry())?;
        if let (Some(name), false) = (levels.target_name(), take_profits.is_empty()) {
            let detail = format!("{name} is one target and take_profits is a list of them: give one of the two");
            return Err(Invalid::member(InvalidKind::MixedLevels, name, detail));
        }
        let pattern_type = object.take_string("pattern_type", PATTERN_BYTES_MAX)?;
        let confidence = object.take_decimal("confidence", Decimal::ZERO, Decimal::HUNDRED)?;
        let status = object.take_parsed("status", SignalStatus::parse)?;
        let created_at = object.take_time("created_at")?;
        let expires_at = object.take_time("expires_at")?;
        let members = object.kept()?;
        Ok(Self {
            id,
            symbol,
            direction,
            levels,
            take_profits,
            pattern_type,
            confidence,
            status,
            created_at,
            expires_at,
            members,
        })
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
        // A signal that names only an expiry in the past was created before that.
        let created_at = self.created_at.unwrap_or_else(|| match self.expires_at {
            Some(expires_at) if expires_at <= now => expires_at.plus_millis(-lifetime_ms),
            _ => now,
        });
        let expires_at = self.expires_at.unwrap_or_else(|| created_at.plus_millis(lifetime_ms));
        if expires_at <= created_at {
            let detail = format!("expires_at {expires_at} is not after created_at {created_at}");
            return Err(Invalid::member(InvalidKind::ExpiryBeforeCreation, "expires_at", detail));
        }
        Ok(self.with_times(created_at, expires_at))
    }

    fn with_times(self, created_at: UnixMillis, expires_at: UnixMillis) -> Signal {
        Signal {
            id: self.id,
            symbol: self.symbol,
            direction: self.direction,
            levels: self.levels,
            take_profits: self.take_profits,
            pattern_type: self.pattern_type,
            confidence: self.confidence,
            status: self.status,
            created_at,
            expires_at,
            members: self.members,
        }
    }

    /// A number that tells the body from others.
    ///
    /// It is the same for the same body in another order or spelling; a body with a time and one without differ. A
    /// stored signal keeps that of the body that published it, whatever patches come after.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint(self.given())
    }

    /// The [`SignalDraft::fingerprint`] of the same body without an id.
    #[must_use]
    pub fn fingerprint_without_id(&self) -> u64 {
        let mut given = self.given();
        given.take("signal_id");
        fingerprint(given)
    }

    /// The members of the body, in one spelling.
    fn given(&self) -> Object {
        let (created_at, expires_at) = (self.created_at, self.expires_at);
        let or_any = |time: Option<UnixMillis>| time.unwrap_or(UnixMillis::MIN);
        let mut object = self.clone().with_times(or_any(created_at), or_any(expires_at)).to_object();
        for (name, time) in [("created_at", created_at), ("expires_at", expires_at)] {
            if time.is_none() {
                object.take(name);
            }
        }
        object
    }

    /// Whether this body says the same as `stored`; a time that it leaves out agrees with any, and so does the status
    /// that a signal has when it is published: publishing it again does not bring a cancelled one back.
    #[must_use]
    pub fn agrees_with(&self, stored: &Signal) -> bool {
        self.same_but_times(stored)
            && self.status.is_none_or(|status| status == SignalStatus::Active || status == stored.status())
            && self.created_at.is_none_or(|created_at| created_at == stored.created_at)
            && self.expires_at.is_none_or(|expires_at| expires_at == stored.expires_at)
    }

    /// Whether this body says the same as `stored`, the times and the status aside.
    #[must_use]
    pub fn same_but_times(&self, stored: &Signal) -> bool {
        self.id == stored.id
            && self.symbol == stored.symbol
            && self.direction == stored.direction
            && self.levels == stored.levels
            && self.take_profits == stored.take_profits
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

/// The first eight bytes of the SHA-256 of all members in the order of their names.
///
/// Files hold it, so that what it is made of never changes.
fn fingerprint(mut object: Object) -> u64 {
    // A signal that says nothing of its status is active.
    if object.get("status") == Some("\"active\"") {
        object.take("status");
    }
    let digest = Sha256::digest(object.sorted().to_json());
    digest.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// How far a signal's creation may lie ahead: clocks of producers differ by less.
const AHEAD_MS_MAX: i64 = 60_000;

impl Signal {
    /// What the publisher says of it as a whole.
    #[must_use]
    pub fn status(&self) -> SignalStatus {
        self.status.unwrap_or(SignalStatus::Active)
    }

    /// All its targets, in the order of publication.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        let one = |level| vec![Target { level, share: None }];
        match self.levels {
            Levels::Prices { target: Some(price), .. } => one(TargetLevel::Price(price)),
            Levels::Pips { target: Some(pips), .. } => one(TargetLevel::Pips(pips)),
            Levels::Prices { target: None, .. } | Levels::Pips { target: None, .. } => self.take_profits.clone(),
        }
    }

    /// The moment from which it may be traded: a minute before its creation.
    #[must_use]
    pub fn active_from(&self) -> UnixMillis {
        self.created_at.plus_millis(-AHEAD_MS_MAX)
    }

    /// Whether it is expired: from `expires_at` on.
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        now >= self.expires_at
    }

    /// Returns all members: the known ones in a fixed order, then all others as published.
    #[must_use]
    pub fn to_object(&self) -> Object {
        let string = |text: &str| {
            let mut json = Vec::new();
            write_json_string(&mut json, text);
            String::from_utf8(json).unwrap_or_default()
        };
        let decimal = |number: Option<Decimal>| number.map(|number| number.to_string());
        let (stop_loss, take_profit, stop_pips, target_pips) = match self.levels {
            Levels::Prices { stop, target, .. } => (Some(stop), target, None, None),
            Levels::Pips { stop, target, .. } => (None, None, Some(stop), target),
        };
        let known = [
            ("signal_id", Some(string(self.id.as_str()))),
            ("symbol", Some(string(self.symbol.as_str()))),
            ("direction", Some(string(self.direction.as_str()))),
            ("entry_price", decimal(self.levels.entry())),
            ("stop_loss", decimal(stop_loss)),
            ("take_profit", decimal(take_profit)),
            ("stop_pips", decimal(stop_pips)),
            ("target_pips", decimal(target_pips)),
            ("take_profits", Target::list_json(&self.take_profits)),
            ("pattern_type", self.pattern_type.as_deref().map(string)),
            ("confidence", decimal(self.confidence)),
            ("status", self.status.map(|status| string(status.as_str()))),
            ("created_at", Some(string(&self.created_at.to_string()))),
            ("expires_at", Some(string(&self.expires_at.to_string()))),
        ];
        let known = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let others = self.members.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Object::from_members(known.chain(others).collect())
    }

    /// The [`SignalDraft::fingerprint`] of a body with all that the signal holds.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        fingerprint(self.to_object())
    }

    /// Applies an RFC 7396 merge patch and checks the result as if it were published so.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame; the id can not be patched.
    pub fn patched(&self, patch: &Object) -> Result<Self, Invalid> {
        patch.refuse_misspelled(&KNOWN, other_names::SIGNAL)?;
        for name in ["signal_id", "created_at", "expires_at"] {
            if patch.get(name) == Some("null") {
                return Err(Invalid::member(InvalidKind::MissingMember, name, format!("{name} can not be removed")));
            }
        }
        let mut object = self.to_object();
        match self.levels {
            // Prices replace the distances. Otherwise those would be kept as members that no computation reads.
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
        // One target replaces several, and several one.
        let sets = |name: &&str| patch.get(name).is_some_and(|value| value != "null");
        if ["take_profit", "target_pips"].iter().any(sets) {
            object.take("take_profits");
        }
        if let (true, Some(name)) = (sets(&"take_profits"), self.levels.target_name()) {
            object.take(name);
        }
        let object = object.merged(patch);
        let draft = SignalDraft::from_record(object, Some(&self.id))?;
        draft.resolve(self.created_at, 0)
    }
}

#[cfg(test)]
mod tests;
