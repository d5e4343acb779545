//! An overlay: one user's own settings and balance, stored once.

use super::{Currency, Decimal, Invalid, InvalidKind, Object, TierName, UnixMillis, UserId};

/// Most trades that a user may have left: a bound, not a rule.
const TRADES_MAX: u32 = 1_000_000;

/// One user's overlay as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Whose it is.
    pub user_id: UserId,
    /// The user's tier. `None`: no tier's limits apply, and there is no risk to fall back on.
    pub tier: Option<TierName>,
    /// Risk a trade, in percent of the balance, 0 to 100. `None`: the tier's.
    pub risk_percent: Option<Decimal>,
    /// Balance in the account's currency, at least 0. `None`: not known, so nothing can be sized.
    pub account_balance: Option<Decimal>,
    /// The account's currency.
    pub account_currency: Currency,
    /// Share of trades won, in percent, 0 to 100.
    pub win_rate: Option<Decimal>,
    /// Trades left today. `None`: not known, the tier's trades a day count.
    pub trades_remaining: Option<u32>,
    /// When any of this last changed.
    pub updated_at: UnixMillis,
    /// Everything else, as sent.
    pub members: Object,
}

/// An overlay as a client sends it, before the server adds the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayDraft {
    overlay: Overlay,
    has_time: bool,
}

/// The members of an overlay that the computation reads.
const KNOWN: [&str; 8] = [
    "user_id",
    "tier",
    "risk_percent",
    "account_balance",
    "account_currency",
    "win_rate",
    "trades_remaining",
    "updated_at",
];

impl OverlayDraft {
    /// Reads an overlay; `user` is the user that the request names, if it does.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame.
    pub fn from_object(mut object: Object, user: Option<&UserId>) -> Result<Self, Invalid> {
        object.refuse_misspelled(&KNOWN)?;
        let own_id = object.take_parsed("user_id", UserId::parse)?;
        let user_id = match (user, own_id) {
            (Some(user), Some(own_id)) if *user != own_id => {
                let detail = format!("user_id {own_id} is not {user}, which the request names");
                return Err(Invalid::member(InvalidKind::IdMismatch, "user_id", detail));
            }
            (Some(user), _) => user.clone(),
            (None, Some(own_id)) => own_id,
            (None, None) => {
                return Err(Invalid::member(InvalidKind::MissingMember, "user_id", "an overlay needs user_id"));
            }
        };
        let tier = object.take_parsed("tier", TierName::parse)?;
        let risk_percent = object.take_decimal("risk_percent", Decimal::ZERO, Decimal::HUNDRED)?;
        let account_balance = object.take_decimal("account_balance", Decimal::ZERO, Decimal::from_units(i64::MAX))?;
        let account_currency = object.take_parsed("account_currency", Currency::parse)?.unwrap_or_else(Currency::usd);
        let win_rate = object.take_decimal("win_rate", Decimal::ZERO, Decimal::HUNDRED)?;
        let trades_remaining = object.take_count("trades_remaining", TRADES_MAX)?;
        let time = object.take_time("updated_at")?;
        let overlay = Overlay {
            user_id,
            tier,
            risk_percent,
            account_balance,
            account_currency,
            win_rate,
            trades_remaining,
            updated_at: time.unwrap_or(UnixMillis::MIN),
            members: object,
        };
        Ok(Self { overlay, has_time: time.is_some() })
    }

    /// Whose overlay it is.
    #[must_use]
    pub fn user_id(&self) -> &UserId {
        &self.overlay.user_id
    }

    /// The time that the body names.
    #[must_use]
    pub fn updated_at(&self) -> Option<UnixMillis> {
        self.has_time.then_some(self.overlay.updated_at)
    }

    /// Moves the time, if one is given, by `millis`.
    pub fn shift_time(&mut self, millis: i64) {
        if self.has_time {
            self.overlay.updated_at = self.overlay.updated_at.plus_millis(millis);
        }
    }

    /// Fills in `now` where the body named no time, or one that is yet to come: a clock that runs fast must not keep later
    /// changes out.
    #[must_use]
    pub fn resolve(mut self, now: UnixMillis) -> Overlay {
        self.overlay.updated_at = if self.has_time { self.overlay.updated_at.min(now) } else { now };
        self.overlay
    }
}

impl Overlay {
    /// Whether both say the same, the time of the last change aside.
    ///
    /// Terminals push their balance twice a minute, mostly unchanged; such a push is not written.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.user_id == other.user_id
            && self.tier == other.tier
            && self.risk_percent == other.risk_percent
            && self.account_balance == other.account_balance
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
    pub fn patched(&self, patch: &Object, now: UnixMillis) -> Result<Self, Invalid> {
        patch.refuse_misspelled(&KNOWN)?;
        let mut object = Object::parse(&crate::render::overlay_json(self))?;
        // The old time must not pass for one that the patch gives.
        object.take("updated_at");
        if patch.get("user_id") == Some("null") {
            return Err(Invalid::member(InvalidKind::MissingMember, "user_id", "user_id can not be removed"));
        }
        Ok(OverlayDraft::from_object(object.merged(patch), Some(&self.user_id))?.resolve(now))
    }
}
