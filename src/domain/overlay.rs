//! An overlay: one user's own settings and balance, stored once.

use strum::{EnumString, IntoStaticStr, VariantNames};

use super::other_names;
use super::{Currency, Decimal, Invalid, InvalidKind, Object, TierName, UnixMillis, UserId};

/// Most trades that a user may have left: a bound, not a rule.
const TRADES_MAX: u32 = 1_000_000;

/// Largest leverage that an overlay or a tier may name: above what any broker gives.
pub(super) const LEVERAGE_MAX: u32 = 10_000;

/// What the risk percent is taken of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "lowercase", ascii_case_insensitive)]
pub enum RiskBasis {
    /// The balance: what the account holds without its open positions.
    #[default]
    Balance,
    /// The equity: with what its open positions have won or lost.
    Equity,
}

impl RiskBasis {
    /// `balance` or `equity`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The member of an overlay that holds the amount.
    #[must_use]
    pub const fn member(self) -> &'static str {
        match self {
            Self::Balance => "account_balance",
            Self::Equity => "account_equity",
        }
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let refuse = |_| Invalid::member(InvalidKind::WrongType, "risk_basis", "risk_basis must be balance or equity");
        text.parse().map_err(refuse)
    }
}

/// One user's overlay as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Whose it is.
    pub user_id: UserId,
    /// The user's tier. `None`: no tier's limits apply, and there is no risk to fall back on.
    pub tier: Option<TierName>,
    /// Risk a trade, in percent of the balance or the equity, 0 to 100. `None`: the tier's.
    pub risk_percent: Option<Decimal>,
    /// What the risk percent is taken of. `None`: the balance.
    pub risk_basis: Option<RiskBasis>,
    /// Balance in the account's currency; below zero, nothing is sized. `None`: not known.
    pub account_balance: Option<Decimal>,
    /// Equity in the account's currency: the balance with what open positions have won or lost. Below zero, nothing is
    /// sized. `None`: not known.
    pub account_equity: Option<Decimal>,
    /// What is free for the margin of new positions, in the account's currency. `None`: the equity, else the balance.
    pub free_margin: Option<Decimal>,
    /// The account's leverage, as 100 for 1:100; 1 to 10,000. `None`: the tier's; without either the margin limits
    /// nothing but instruments that have a margin percent.
    pub leverage: Option<Decimal>,
    /// The account's currency.
    pub account_currency: Currency,
    /// Share of trades won, in percent, 0 to 100.
    pub win_rate: Option<Decimal>,
    /// Trades left today. `None`: not known, the tier's trades a day count.
    pub trades_remaining: Option<u32>,
    /// When any of this last changed.
    pub updated_at: UnixMillis,
    /// When the amount that the risk is taken of was last said, also as the same amount. [`UnixMillis::MIN`]: not
    /// known, as the basis or the currency has changed since.
    pub balance_confirmed_at: UnixMillis,
    /// Everything else, as sent.
    pub members: Object,
}

/// An overlay as a client sends it, before the server adds the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayDraft {
    overlay: Overlay,
    times: Times,
    has_currency: bool,
}

/// The times that a body names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    updated_at: Option<UnixMillis>,
    balance_confirmed_at: Option<UnixMillis>,
}

/// What a mission is computed from, of one user: small enough to hold for everybody at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Balance in the account's currency.
    pub balance: Option<Decimal>,
    /// Equity in the account's currency.
    pub equity: Option<Decimal>,
    /// What is free for margin; `None`: the equity, else the balance.
    pub free_margin: Option<Decimal>,
    /// As 100 for 1:100; `None`: the tier's.
    pub leverage: Option<Decimal>,
    /// What the risk percent is taken of.
    pub risk_basis: RiskBasis,
    /// Risk a trade, in percent; `None`: the tier's.
    pub risk_percent: Option<Decimal>,
    /// Trades left today; `None`: the tier's trades a day.
    pub trades_remaining: Option<u32>,
    /// When the amount that the risk is taken of was last confirmed.
    pub balance_confirmed_at: UnixMillis,
}

/// The members of an overlay that the computation reads.
const KNOWN: [&str; 13] = [
    "user_id",
    "tier",
    "risk_percent",
    "risk_basis",
    "account_balance",
    "account_equity",
    "free_margin",
    "leverage",
    "account_currency",
    "win_rate",
    "trades_remaining",
    "updated_at",
    "balance_confirmed_at",
];

impl Account {
    /// When the amount was confirmed that is there after a patch which changes none: `now` if the patch names it.
    #[must_use]
    pub fn confirmed_by(&self, patch: &Object, now: UnixMillis) -> UnixMillis {
        if patch.get(self.risk_basis.member()).is_some() { now } else { self.balance_confirmed_at }
    }

    /// What the risk percent is taken of; `None` if it is not known.
    #[must_use]
    pub fn basis(&self) -> Option<Decimal> {
        match self.risk_basis {
            RiskBasis::Balance => self.balance,
            RiskBasis::Equity => self.equity,
        }
    }

    /// What is free for the margin of a new position; `None` if nothing is known.
    #[must_use]
    pub fn free(&self) -> Option<Decimal> {
        self.free_margin.or(self.equity).or(self.balance)
    }

    /// Whether a patch changes nothing, as far as these numbers tell: `true` if it sets only some of them, each to its
    /// present value; `false` if it sets one of them to another value. `None` if the whole overlay has to be compared.
    #[must_use]
    pub fn is_unchanged_by(&self, patch: &Object) -> Option<bool> {
        let mut puts_more = false;
        for (name, value) in patch.iter() {
            let own = match name {
                "account_balance" => self.balance,
                "account_equity" => self.equity,
                "free_margin" => self.free_margin,
                "leverage" => self.leverage,
                "risk_percent" => self.risk_percent,
                "trades_remaining" => self.trades_remaining.map(i64::from).and_then(Decimal::from_int),
                _ => {
                    puts_more = true;
                    continue;
                }
            };
            match Decimal::parse(value) {
                Ok(value) if own == Some(value) => {}
                Ok(_) => return Some(false),
                Err(_) => puts_more = true,
            }
        }
        (!puts_more).then_some(true)
    }
}

impl OverlayDraft {
    /// Reads an overlay; `user` is the user that the request names, if it does.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame.
    pub fn from_object(object: Object, user: Option<&UserId>) -> Result<Self, Invalid> {
        object.refuse_misspelled(&KNOWN, other_names::OVERLAY)?;
        Self::from_record(object, user)
    }

    /// Reads an overlay that was checked before, whatever its other members are called.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame.
    pub fn from_record(mut object: Object, user: Option<&UserId>) -> Result<Self, Invalid> {
        let user_id = object.take_id("user_id", UserId::parse, user, "an overlay")?;
        let mut overlay = Overlay {
            user_id,
            tier: None,
            risk_percent: None,
            risk_basis: None,
            account_balance: None,
            account_equity: None,
            free_margin: None,
            leverage: None,
            account_currency: Currency::usd(),
            win_rate: None,
            trades_remaining: None,
            updated_at: UnixMillis::MIN,
            balance_confirmed_at: UnixMillis::MIN,
            members: Object::default(),
        };
        let has_currency = object.get("account_currency").is_some_and(|currency| currency != "null");
        let times = overlay.take_known(&mut object)?;
        overlay.members = object.kept()?;
        Ok(Self { overlay, times, has_currency })
    }

    /// The names of the members that a stored overlay loses when this one replaces it. A currency that is not named
    /// becomes USD again, so a lost currency counts.
    #[must_use]
    pub fn removes(&self, stored: &Overlay) -> Vec<String> {
        let new = &self.overlay;
        let known = [
            ("tier", stored.tier.is_some() && new.tier.is_none()),
            ("risk_percent", stored.risk_percent.is_some() && new.risk_percent.is_none()),
            ("risk_basis", stored.risk_basis.is_some() && new.risk_basis.is_none()),
            ("account_balance", stored.account_balance.is_some() && new.account_balance.is_none()),
            ("account_equity", stored.account_equity.is_some() && new.account_equity.is_none()),
            ("free_margin", stored.free_margin.is_some() && new.free_margin.is_none()),
            ("leverage", stored.leverage.is_some() && new.leverage.is_none()),
            ("account_currency", !self.has_currency && stored.account_currency != new.account_currency),
            ("win_rate", stored.win_rate.is_some() && new.win_rate.is_none()),
            ("trades_remaining", stored.trades_remaining.is_some() && new.trades_remaining.is_none()),
        ];
        let known = known.into_iter().filter_map(|(name, is_lost)| is_lost.then_some(name));
        let others = stored.members.iter().map(|(name, _)| name).filter(|name| new.members.get(name).is_none());
        known.chain(others).map(str::to_owned).collect()
    }

    /// Whose overlay it is.
    #[must_use]
    pub fn user_id(&self) -> &UserId {
        &self.overlay.user_id
    }

    /// Moves the times that are given by `millis`.
    pub fn shift_times(&mut self, millis: i64) {
        for time in [&mut self.times.updated_at, &mut self.times.balance_confirmed_at] {
            *time = time.map(|time| time.plus_millis(millis));
        }
    }

    /// Fills in `now` if the body named no time or a future one: otherwise a client with a fast clock would block later
    /// changes. A balance counts as confirmed by the body that has it, unless that says otherwise.
    #[must_use]
    pub fn resolve(mut self, now: UnixMillis) -> Overlay {
        let updated_at = self.times.updated_at.map_or(now, |time| time.min(now));
        self.overlay.updated_at = updated_at;
        self.overlay.balance_confirmed_at = self.times.balance_confirmed_at.map_or(updated_at, |time| time.min(now));
        self.overlay
    }
}

impl Overlay {
    /// What a mission is computed from.
    #[must_use]
    pub fn account(&self) -> Account {
        Account {
            balance: self.account_balance,
            equity: self.account_equity,
            free_margin: self.free_margin,
            leverage: self.leverage,
            risk_basis: self.risk_basis.unwrap_or_default(),
            risk_percent: self.risk_percent,
            trades_remaining: self.trades_remaining,
            balance_confirmed_at: self.balance_confirmed_at,
        }
    }

    /// Whether the risk is taken of the same amount in both.
    #[must_use]
    pub fn has_same_basis(&self, other: &Self) -> bool {
        let (one, other_account) = (self.account(), other.account());
        one.risk_basis == other_account.risk_basis
            && one.basis() == other_account.basis()
            && self.account_currency == other.account_currency
    }

    /// Whether both say the same, the times of the last change and of the confirmation aside.
    ///
    /// Terminals push their balance twice a minute, mostly unchanged; such a push is not written.
    #[must_use]
    pub fn same_but_time(&self, other: &Self) -> bool {
        self.user_id == other.user_id
            && self.tier == other.tier
            && self.risk_percent == other.risk_percent
            && self.risk_basis == other.risk_basis
            && self.account_balance == other.account_balance
            && self.account_equity == other.account_equity
            && self.free_margin == other.free_margin
            && self.leverage == other.leverage
            && self.account_currency == other.account_currency
            && self.win_rate == other.win_rate
            && self.trades_remaining == other.trades_remaining
            && self.members.same_members(&other.members)
    }

    /// Applies an RFC 7396 merge patch: what the patch lacks stays as it is.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame; the user can not be patched.
    pub fn patched(&self, mut patch: Object, now: UnixMillis) -> Result<Self, Invalid> {
        patch.refuse_misspelled(&KNOWN, other_names::OVERLAY)?;
        // Without its currency a balance would turn into as many dollars.
        for name in ["user_id", "account_currency"] {
            if patch.get(name) == Some("null") {
                return Err(Invalid::member(InvalidKind::MissingMember, name, format!("{name} can not be removed")));
            }
        }
        patch.take_id("user_id", UserId::parse, Some(&self.user_id), "an overlay")?;
        // Not by way of the whole overlay's text: this is the most frequent write by far.
        let mut overlay = self.clone();
        let names = |basis: RiskBasis| patch.get(basis.member()).is_some();
        let (names_balance, names_equity) = (names(RiskBasis::Balance), names(RiskBasis::Equity));
        let Times { updated_at, balance_confirmed_at } = overlay.take_known(&mut patch)?;
        overlay.updated_at = updated_at.map_or(now, |time| time.min(now));
        let names_basis = match overlay.risk_basis.unwrap_or_default() {
            RiskBasis::Balance => names_balance,
            RiskBasis::Equity => names_equity,
        };
        overlay.balance_confirmed_at = match balance_confirmed_at {
            Some(time) => time.min(now),
            None if names_basis => overlay.updated_at,
            None if overlay.has_same_basis(self) => self.balance_confirmed_at,
            None => UnixMillis::MIN,
        };
        if !patch.is_empty() {
            overlay.members = overlay.members.merged(&patch).kept()?;
        }
        Ok(overlay)
    }

    /// Takes the known members, except the user, out of `object` and sets those of this overlay. Returns the times.
    fn take_known(&mut self, object: &mut Object) -> Result<Times, Invalid> {
        if object.get("tier").is_some() {
            self.tier = object.take_parsed("tier", TierName::parse)?;
        }
        if object.get("risk_percent").is_some() {
            self.risk_percent = object.take_decimal("risk_percent", Decimal::ZERO, Decimal::HUNDRED)?;
        }
        if object.get("risk_basis").is_some() {
            self.risk_basis = object.take_parsed("risk_basis", RiskBasis::parse)?;
        }
        // Below zero too: the push that says so must not be the one that is refused.
        for (name, amount) in [
            ("account_balance", &mut self.account_balance),
            ("account_equity", &mut self.account_equity),
            ("free_margin", &mut self.free_margin),
        ] {
            if object.get(name).is_some() {
                *amount = object.take_decimal(name, Decimal::from_units(-i64::MAX), Decimal::from_units(i64::MAX))?;
            }
        }
        if object.get("leverage").is_some() {
            let most = Decimal::from_int(i64::from(LEVERAGE_MAX)).unwrap_or_default();
            self.leverage = object.take_decimal("leverage", Decimal::ONE, most)?;
        }
        if object.get("account_currency").is_some() {
            let currency = object.take_parsed("account_currency", Currency::parse)?;
            self.account_currency = currency.unwrap_or_else(Currency::usd);
        }
        if object.get("win_rate").is_some() {
            self.win_rate = object.take_decimal("win_rate", Decimal::ZERO, Decimal::HUNDRED)?;
        }
        if object.get("trades_remaining").is_some() {
            self.trades_remaining = object.take_count("trades_remaining", TRADES_MAX)?;
        }
        Ok(Times {
            updated_at: object.take_time("updated_at")?,
            balance_confirmed_at: object.take_time("balance_confirmed_at")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::MAX;

    fn object(json: &str) -> Object {
        Object::parse(json.as_bytes()).unwrap()
    }

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    fn time(text: &str) -> UnixMillis {
        UnixMillis::parse(text).unwrap()
    }

    fn read(json: &str) -> Result<OverlayDraft, Invalid> {
        OverlayDraft::from_object(object(json), None)
    }

    fn stored(json: &str) -> Overlay {
        read(json).unwrap().resolve(time("2026-01-30T16:00:00Z"))
    }

    #[track_caller]
    fn check(result: Result<impl std::fmt::Debug, Invalid>, kind: InvalidKind, pointer: &str) {
        let error = result.unwrap_err();
        assert_eq!((error.kind(), error.pointer()), (kind, pointer), "{error}");
    }

    #[test]
    fn most_pushes_are_told_apart_without_reading_the_overlay() {
        let account =
            stored(r#"{"user_id":"7","risk_percent":2,"account_balance":10.5,"trades_remaining":3}"#).account();
        for (patch, expected) in [
            (r#"{"account_balance":10.50,"risk_percent":2.0,"trades_remaining":3}"#, Some(true)),
            ("{}", Some(true)),
            (r#"{"account_balance":10.51}"#, Some(false)),
            (r#"{"account_balance":-1}"#, Some(false)),
            (r#"{"account_balance":10.5,"account_equity":10}"#, Some(false)),
            (r#"{"account_balance":10.5,"risk_basis":"equity"}"#, None),
            (r#"{"account_balance":10.5,"trades_remaining":4}"#, Some(false)),
            (r#"{"broker":"x","account_balance":10.51}"#, Some(false)),
            (r#"{"account_balance":10.5,"broker":"x"}"#, None),
            (r#"{"account_balance":"10.5"}"#, None),
            (r#"{"account_balance":null}"#, None),
        ] {
            assert_eq!(account.is_unchanged_by(&object(patch)), expected, "{patch}");
        }
        let bare = stored(r#"{"user_id":"7"}"#).account();
        for patch in [r#"{"account_balance":0}"#, r#"{"risk_percent":0}"#, r#"{"trades_remaining":0}"#] {
            assert_eq!(bare.is_unchanged_by(&object(patch)), Some(false), "{patch}");
        }
    }

    #[test]
    fn a_full_body_is_read() {
        let overlay = stored(
            r#"{"user_id":"-1009000000001","tier":"press pass","risk_percent":"1.5","account_balance":10850.47,
                "account_currency":"eur","win_rate":64.2,"trades_remaining":3,"updated_at":"2026-01-30T12:00:00",
                "broker":{"name":"Vantage FX", "leverage":5e2},"rank":null}"#,
        );
        assert_eq!(overlay.user_id.as_str(), "-1009000000001");
        assert_eq!(overlay.tier.unwrap().as_str(), "PRESS_PASS");
        assert_eq!((overlay.risk_percent, overlay.account_balance), (Some(decimal("1.5")), Some(decimal("10850.47"))));
        assert_eq!((overlay.account_currency.as_str(), overlay.win_rate), ("EUR", Some(decimal("64.2"))));
        assert_eq!((overlay.trades_remaining, overlay.updated_at), (Some(3), time("2026-01-30T12:00:00Z")));
        assert_eq!(overlay.members.to_json(), r#"{"broker":{"name":"Vantage FX","leverage":5e2},"rank":null}"#);
    }

    #[test]
    fn a_patch_confirms_the_amount_that_it_names_if_the_risk_is_taken_of_it() {
        let (then, now) = (time("2026-01-30T16:00:00Z"), time("2026-01-30T16:05:00Z"));
        let of_balance = r#"{"user_id":"7","account_balance":10,"account_equity":9}"#;
        let of_equity = r#"{"user_id":"7","account_balance":10,"account_equity":9,"risk_basis":"equity"}"#;
        for (overlay, patch, expected) in [
            (of_balance, r#"{"account_balance":10}"#, now),
            (of_balance, r#"{"account_balance":11}"#, now),
            (of_balance, r#"{"account_balance":10,"updated_at":"2026-01-30T16:03:00Z"}"#, time("2026-01-30T16:03:00Z")),
            (of_balance, r#"{"balance_confirmed_at":"2026-01-30T16:04:00Z"}"#, time("2026-01-30T16:04:00Z")),
            // Not ahead of the server's clock.
            (of_balance, r#"{"balance_confirmed_at":"2026-01-30T17:00:00Z"}"#, now),
            (of_balance, r#"{"tier":"FANG"}"#, then),
            (of_balance, r#"{"account_equity":9}"#, then),
            (of_equity, r#"{"account_balance":10}"#, then),
            (of_equity, r#"{"account_equity":9}"#, now),
            // When this amount was said last, or that it is one of euros, is not known.
            (of_balance, r#"{"risk_basis":"equity"}"#, UnixMillis::MIN),
            (of_balance, r#"{"risk_basis":"equity","account_equity":9}"#, now),
            (of_balance, r#"{"account_currency":"EUR"}"#, UnixMillis::MIN),
            (of_balance, r#"{"account_currency":"EUR","account_balance":10}"#, now),
            (of_balance, r#"{"account_currency":"USD","risk_basis":"balance"}"#, then),
        ] {
            let stored = stored(overlay);
            let patched = stored.patched(object(patch), now).unwrap();
            assert_eq!(patched.balance_confirmed_at, expected, "{patch} of {overlay}");
            // Without reading the overlay it is the same.
            let account = stored.account();
            if account.is_unchanged_by(&object(patch)) == Some(true) {
                assert_eq!(account.confirmed_by(&object(patch), now), expected, "{patch}");
            }
        }
    }

    #[test]
    fn an_empty_body_invents_nothing_but_dollars() {
        let overlay = stored(r#"{"user_id":"7"}"#);
        let expected = Overlay {
            user_id: UserId::parse("7").unwrap(),
            tier: None,
            risk_percent: None,
            risk_basis: None,
            account_balance: None,
            account_equity: None,
            free_margin: None,
            leverage: None,
            account_currency: Currency::usd(),
            win_rate: None,
            trades_remaining: None,
            updated_at: time("2026-01-30T16:00:00Z"),
            balance_confirmed_at: time("2026-01-30T16:00:00Z"),
            members: Object::default(),
        };
        assert_eq!(overlay, expected);
        let with_nulls = stored(
            r#"{"user_id":"7","tier":null,"risk_percent":null,"risk_basis":null,"account_balance":null,
                "account_equity":null,"free_margin":null,"leverage":null,"account_currency":null,"win_rate":null,"trades_remaining":null,"updated_at":null}"#,
        );
        assert_eq!(with_nulls, expected);
    }

    #[test]
    fn the_time_is_that_of_the_body_else_now() {
        assert_eq!(stored(r#"{"user_id":"7","updated_at":0}"#).updated_at, UnixMillis::MIN);
        assert_eq!(stored(r#"{"user_id":"7"}"#).updated_at, time("2026-01-30T16:00:00Z"));
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        check(read("{}"), InvalidKind::MissingMember, "/user_id");
        for (member, kind, pointer) in [
            (r#""tier":"FANG!""#, InvalidKind::InvalidName, "/tier"),
            (r#""tier":2"#, InvalidKind::WrongType, "/tier"),
            (r#""risk_percent":-0.1"#, InvalidKind::OutOfRange, "/risk_percent"),
            (r#""risk_percent":100.1"#, InvalidKind::OutOfRange, "/risk_percent"),
            (r#""risk_percent":"two""#, InvalidKind::WrongType, "/risk_percent"),
            (r#""account_balance":-92233720368.54775808"#, InvalidKind::OutOfRange, "/account_balance"),
            (r#""account_equity":"none""#, InvalidKind::WrongType, "/account_equity"),
            (r#""free_margin":[]"#, InvalidKind::WrongType, "/free_margin"),
            (r#""leverage":0.5"#, InvalidKind::OutOfRange, "/leverage"),
            (r#""leverage":10001"#, InvalidKind::OutOfRange, "/leverage"),
            (r#""leverage":"1:100""#, InvalidKind::WrongType, "/leverage"),
            (r#""risk_basis":"margin""#, InvalidKind::WrongType, "/risk_basis"),
            (r#""risk_basis":1"#, InvalidKind::WrongType, "/risk_basis"),
            (r#""account_balance":1e300"#, InvalidKind::OutOfRange, "/account_balance"),
            (r#""account_balance":true"#, InvalidKind::WrongType, "/account_balance"),
            (r#""account_balance":"$100""#, InvalidKind::WrongType, "/account_balance"),
            (r#""account_currency":"US$""#, InvalidKind::InvalidName, "/account_currency"),
            (r#""win_rate":101"#, InvalidKind::OutOfRange, "/win_rate"),
            (r#""trades_remaining":-1"#, InvalidKind::OutOfRange, "/trades_remaining"),
            (r#""trades_remaining":1.5"#, InvalidKind::WrongType, "/trades_remaining"),
            (r#""trades_remaining":1000001"#, InvalidKind::OutOfRange, "/trades_remaining"),
            (r#""updated_at":"now""#, InvalidKind::InvalidTime, "/updated_at"),
            (r#""acount_balance":1"#, InvalidKind::MisspelledMember, "/acount_balance"),
            (r#""riskPercent":1"#, InvalidKind::MisspelledMember, "/riskPercent"),
            (r#""balance":1"#, InvalidKind::MisspelledMember, "/balance"),
            (r#""Equity":1"#, InvalidKind::MisspelledMember, "/Equity"),
        ] {
            check(read(&format!(r#"{{"user_id":"7",{member}}}"#)), kind, pointer);
        }
        check(read(r#"{"user_id":"a b"}"#), InvalidKind::InvalidName, "/user_id");
        check(read(r#"{"user_id":7}"#), InvalidKind::WrongType, "/user_id");
    }

    #[test]
    fn the_user_of_the_request_and_of_the_body_are_one() {
        let user = UserId::parse("7").unwrap();
        check(
            OverlayDraft::from_object(object(r#"{"user_id":"8"}"#), Some(&user)),
            InvalidKind::IdMismatch,
            "/user_id",
        );
        for body in ["{}", r#"{"user_id":"7"}"#, r#"{"user_id":null}"#] {
            assert_eq!(OverlayDraft::from_object(object(body), Some(&user)).unwrap().user_id(), &user);
        }
    }

    #[test]
    fn the_same_words_at_another_time_say_the_same() {
        let text = r#"{"user_id":"7","tier":"FANG","risk_percent":2,"account_balance":100,"account_currency":"EUR",
            "win_rate":50,"trades_remaining":3,"a":1,"b":"x"}"#;
        let overlay = stored(text);
        let again = stored(
            r#"{"b":"x","a":1,"trades_remaining":3.0,"win_rate":50.0,"account_currency":"eur","account_balance":"100",
                "risk_percent":2,"tier":"fang","user_id":"7","updated_at":1}"#,
        );
        assert!(overlay.same_but_time(&again) && again.same_but_time(&overlay));
        for patch in [
            r#"{"tier":null}"#,
            r#"{"risk_percent":3}"#,
            r#"{"account_balance":100.00000001}"#,
            r#"{"account_currency":"USD"}"#,
            r#"{"win_rate":null}"#,
            r#"{"trades_remaining":2}"#,
            r#"{"a":1.0}"#,
            r#"{"a":null}"#,
            r#"{"c":null,"d":1}"#,
        ] {
            assert!(!overlay.same_but_time(&overlay.patched(object(patch), NOW).unwrap()), "{patch}");
        }
        assert!(!overlay.same_but_time(&stored(&text.replace(r#""7""#, r#""8""#))));
    }

    #[test]
    fn a_patch_leaves_what_it_does_not_name() {
        let before = stored(
            r#"{"user_id":"7","tier":"FANG","risk_percent":2,"account_balance":10850.47,"trades_remaining":3,
                "broker":{"name":"A","server":{"port":1}}}"#,
        );
        let patched = |patch: &str| before.patched(object(patch), NOW).unwrap();
        assert_eq!(patched("{}"), Overlay { updated_at: NOW, ..before.clone() });
        assert_eq!(
            patched(r#"{"risk_percent":3}"#),
            Overlay { risk_percent: Some(decimal("3")), updated_at: NOW, ..before.clone() }
        );
        assert_eq!(
            patched(r#"{"tier":null,"trades_remaining":0,"updated_at":1}"#),
            Overlay { tier: None, trades_remaining: Some(0), updated_at: UnixMillis::new(1_000), ..before.clone() }
        );
        assert_eq!(patched(r#"{"updated_at":null}"#).updated_at, NOW);
        assert_eq!(
            patched(r#"{"broker":{"server":{"port":null,"host":"h"}}}"#).members.to_json(),
            r#"{"broker":{"name":"A","server":{"host":"h"}}}"#
        );
        assert_eq!(patched(r#"{"broker":null}"#).members, Object::default());
    }

    #[test]
    fn a_patch_neither_loses_nor_invents_a_balance() {
        let known = stored(r#"{"user_id":"7","account_balance":10850.47}"#);
        let unknown = stored(r#"{"user_id":"7"}"#);
        for patch in ["{}", r#"{"tier":"FANG"}"#, r#"{"risk_percent":1,"note":{"account":1}}"#] {
            let patch = object(patch);
            assert_eq!(known.patched(patch.clone(), NOW).unwrap().account_balance, Some(decimal("10850.47")));
            assert_eq!(unknown.patched(patch, NOW).unwrap().account_balance, None);
        }
        let balance = |overlay: &Overlay, patch: &str| overlay.patched(object(patch), NOW).unwrap().account_balance;
        assert_eq!(balance(&known, r#"{"account_balance":0}"#), Some(Decimal::ZERO), "zero is zero when it is said");
        assert_eq!(balance(&known, r#"{"account_balance":null}"#), None, "removed is not known, and not zero");
        assert_eq!(balance(&unknown, r#"{"account_balance":5}"#), Some(decimal("5")));
    }

    #[test]
    fn the_largest_overlay_can_still_be_patched_and_sent_again() {
        let body = |extras: usize| {
            let extras: Vec<_> = (0..extras).map(|at| format!(r#","extra_{at}":{at}"#)).collect();
            format!(r#"{{"user_id":"7"{}}}"#, extras.concat())
        };
        check(read(&body(241)), InvalidKind::OutOfRange, "");
        let largest = stored(&body(240));
        let full = r#"{"tier":"FANG","risk_percent":2,"account_balance":1,"win_rate":2,"trades_remaining":3}"#;
        let full = largest.patched(object(full), NOW).unwrap();
        let sent_again = String::from_utf8(crate::render::overlay_json(&full)).unwrap();
        assert_eq!(read(&sent_again).unwrap().resolve(NOW), full);
        check(full.patched(object(r#"{"one_more":1}"#), NOW), InvalidKind::OutOfRange, "");
    }

    #[test]
    fn a_patch_is_checked_as_a_body_is() {
        let before = stored(r#"{"user_id":"7","account_balance":1}"#);
        for (patch, kind, pointer) in [
            (r#"{"user_id":null}"#, InvalidKind::MissingMember, "/user_id"),
            (r#"{"user_id":"8"}"#, InvalidKind::IdMismatch, "/user_id"),
            (r#"{"account_balance":-1e11}"#, InvalidKind::OutOfRange, "/account_balance"),
            (r#"{"account_balance":{}}"#, InvalidKind::WrongType, "/account_balance"),
            (r#"{"accountbalance":1}"#, InvalidKind::MisspelledMember, "/accountbalance"),
            (r#"{"accountbalance":null}"#, InvalidKind::MisspelledMember, "/accountbalance"),
        ] {
            check(before.patched(object(patch), NOW), kind, pointer);
        }
        assert!(before.patched(object(r#"{"user_id":"7"}"#), NOW).is_ok());
    }
}
