//! The names that old files use: one meaning has up to six.
//!
//! Members are recognised by what they mean, not by the shape of the whole file, so that a shape nobody has seen yet is
//! read as far as its members are known. A member under no known name is kept as it is: with the user's overlay if it stands
//! among the user's or its name begins as theirs do, else with the signal, which everybody reads.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

/// The shared signal's own id.
pub(super) const SIGNAL_ID: &[&str] = &["base_signal_id", "signal_id", "sig_id"];
/// What is traded.
pub(super) const SYMBOL: &[&str] = &["symbol", "pair"];
/// What is traded, under names that stand for other things too: read only where none of the first is there.
pub(super) const SYMBOL_ELSE: &[&str] = &["instrument", "ticker", "currency_pair", "asset"];
/// Which way; under the later names only if the value is a direction.
pub(super) const DIRECTION: &[&str] =
    &["direction", "type", "mission_type", "side", "action", "trade_type", "order_type", "trade_direction"];
/// Price to get in at.
pub(super) const ENTRY: &[&str] = &["entry_price", "entry", "open_price", "price_open", "entry_level"];
/// Price to get out at with a loss, or a number of pips in its place.
pub(super) const STOP: &[&str] = &["stop_loss", "sl", "sl_price", "stop_loss_price", "stop_price", "stop"];
/// Price to get out at with a gain, or a number of pips in its place.
pub(super) const TARGET: &[&str] = &["take_profit", "tp", "tp_price", "take_profit_price", "target_price", "target"];
/// The first of several targets: the one that counts where no target stands alone.
pub(super) const FIRST_TARGET: &[&str] = &["tp1", "take_profit_1", "target_1"];
/// Several targets in an array, the first first.
pub(super) const TARGETS: &[&str] = &["take_profits", "targets", "tps"];
/// Distance to the stop in pips.
pub(super) const STOP_PIPS: &[&str] = &["stop_pips", "sl_pips", "stop_loss_pips", "sl_in_pips", "stop_distance_pips"];
/// Distance to the target in pips.
pub(super) const TARGET_PIPS: &[&str] =
    &["target_pips", "tp_pips", "take_profit_pips", "tp_in_pips", "target_distance_pips"];
/// What a level is called inside an object of its own: `"stop_loss": {"price": 1.083, "pips": 20}`.
pub(super) const LEVEL_PRICE: &[&str] = &["price", "value", "level"];
/// The engine's confidence, 0 to 100 or 0 to 1.
pub(super) const CONFIDENCE: &[&str] = &["confidence", "tcs_score", "tcs", "confidence_score", "confidence_percent"];
/// The pattern behind the signal.
pub(super) const PATTERN: &[&str] = &["pattern_type", "pattern", "pattern_name"];
/// When it was made.
pub(super) const CREATED: &[&str] = &[
    "created_at",
    "created_timestamp",
    "generated_at",
    "timestamp",
    "created",
    "created_on",
    "created_time",
    "issued_at",
    "published_at",
    "signal_time",
    "ts",
];
/// From when on it is over.
pub(super) const EXPIRES: &[&str] =
    &["expires_at", "expires_timestamp", "expiry_time", "expires", "expiry", "expires_on", "expiration", "valid_until"];
/// Distance to the target by distance to the stop.
pub(super) const RISK_REWARD: &[&str] = &["risk_reward_ratio", "risk_reward", "rr_ratio", "rr", "reward_risk_ratio"];

/// Whose it is.
pub(super) const USER_ID: &[&str] = &["user_id", "telegram_id", "uid", "telegram_user_id", "tg_id", "id"];
/// The user's tier.
pub(super) const TIER: &[&str] = &["tier", "user_tier", "account_tier", "subscription_tier"];
/// Risk of a trade, in percent.
pub(super) const RISK: &[&str] = &["risk_percent", "risk_percentage", "risk_pct", "risk_pct_default"];
/// Risk of a trade, under a name that does not say in what.
pub(super) const RISK_ELSE: &[&str] = &["risk", "risk_per_trade"];
/// Of these, the one that the old services gave as a fraction of one.
pub(super) const RISK_FRACTION: &str = "risk_per_trade";
/// The account's balance.
pub(super) const BALANCE: &[&str] = &["account_balance", "balance", "last_balance", "bal", "current_balance"];
/// The account's currency.
pub(super) const CURRENCY: &[&str] = &["account_currency", "currency"];
/// Share of trades won, in percent.
pub(super) const WIN_RATE: &[&str] = &["win_rate", "user_win_rate"];
/// Trades left today.
pub(super) const TRADES: &[&str] = &["trades_remaining", "ammo_left", "trades_left", "remaining_trades"];
/// When a user's facts were written down.
pub(super) const OBSERVED: &[&str] =
    &["last_update", "last_updated", "updated_at", "captured_at", "timestamp", "created_at", "created_timestamp"];

/// Sizes: computed from the balance of that moment, and by a wrong formula.
pub(super) const SIZE: &[&str] = &["position_size", "lot_size", "lots", "lot"];

/// Members that a computation made: recomputed at every read, never imported.
pub(super) const COMPUTED: &[&str] = &[
    "position_size",
    "lot_size",
    "lots",
    "lot",
    "base_lot_size",
    "risk_amount",
    "reward_amount",
    "dollar_amount",
    "position_value",
    "pip_value",
    "position_calculation",
    "time_remaining",
    "timer_seconds",
    "countdown_seconds",
    "countdown_minutes",
    "mission_id",
    "file_path",
];

/// What happened: goes into the outcome, or says nothing.
pub(super) const EVENT: &[&str] = &["status", "fired_at", "fired_by", "execution_result", "user_fired"];
/// What is known of an order, beside its result: kept with the outcome.
pub(super) const OF_ORDER: &[&str] = &[
    "ticket",
    "order_ticket",
    "execution_price",
    "executed_at",
    "fill_price",
    "filled_at",
    "close_price",
    "closed_at",
    "exit_price",
    "pnl",
    "profit",
];

/// Members at the root of a mission that belong to the user, beside those that an overlay knows by name.
pub(super) const OF_USER: &[&str] = &[
    "user_rank",
    "daily_fires",
    "daily_signals_count",
    "daily_signals",
    "daily_pips",
    "streak_days",
    "total_pips",
    "account_equity",
    "equity",
    "margin_free",
    "free_margin",
    "tactical_strategy",
    "daily_tactic",
    "broker",
    "server",
    "last_7d_pips",
    "trades_today",
    "total_fires",
    "last_fire_time",
    "username",
    "first_name",
    "last_name",
    "full_name",
    "nickname",
    "email",
    "phone",
    "chat_id",
    "login",
    "leverage",
    "api_key",
    "api_token",
    "hud_url",
];
/// How other names begin that belong to the user.
const OF_USER_PREFIXES: [&str; 5] = ["user_", "account_", "mt4_", "mt5_", "telegram_"];

/// Objects that hold facts about the user.
pub(super) const USER_OBJECTS: &[&str] = &[
    "user",
    "account",
    "personalization_data",
    "overlay",
    "profile",
    "user_profile",
    "user_data",
    "account_info",
    "trader",
    "member",
];
/// Of these, the ones whose own id is the user's; that of an account is the broker's.
pub(super) const PERSONS: &[&str] = &["user", "overlay", "profile", "user_profile", "user_data", "trader", "member"];
/// Objects that hold the shared signal.
pub(super) const SIGNAL_OBJECTS: &[&str] = &[
    "enhanced_signal",
    "signal",
    "base_signal",
    "shared_signal",
    "signal_data",
    "trade_signal",
    "trade",
    "order",
    "setup",
    "trade_setup",
    "levels",
    "prices",
];
/// Objects around everything else: what is in them counts as if it stood outside.
pub(super) const WRAPPERS: &[&str] =
    &["data", "payload", "body", "content", "record", "result", "attributes", "mission_data", "mission"];
/// Members that hold records by their ids, or in an array.
pub(super) const CONTAINERS: &[&str] = &["users", "accounts", "profiles", "overlays", "signals", "missions", "data"];

/// Of these, the ones that hold users.
pub(super) const PEOPLE: &[&str] = &["users", "accounts", "profiles", "overlays"];

/// Marks of an account record, for records that have no overlay fact yet.
pub(super) const ACCOUNT_MARKS: &[&str] = &["container", "fire_eligible", "user_uuid", "mt5_account", "login"];

/// What a member is, by its name alone: looked up once a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks(u8);

impl Marks {
    const NONE: Self = Self(0);
    const KNOWN: u8 = 1;
    const OF_USER: u8 = 2;
    const OF_ONE_FILE: u8 = 4;
    const NOT_EXTRA: u8 = 8;
    const FACT: u8 = 16;
    const NOT_FACT: u8 = 32;
    const COMPUTED: u8 = 64;
    const RESPELLED: u8 = 128;

    /// Whether a member at the root of a mission belongs to the user.
    pub(super) const fn is_of_user(self) -> bool {
        self.0 & Self::OF_USER != 0
    }

    /// Whether it says nothing about the shared signal, or what each file says anew.
    pub(super) const fn is_of_one_file(self) -> bool {
        self.0 & (Self::OF_ONE_FILE | Self::OF_USER) != 0
    }

    /// Whether it is read into the signal, or is nothing that is kept with one.
    pub(super) const fn is_taken_for_signal(self) -> bool {
        self.0 & (Self::NOT_EXTRA | Self::OF_USER) != 0
    }

    /// Whether it is a user's fact where it stands at the root of a mission.
    pub(super) const fn is_fact(self) -> bool {
        self.0 & Self::FACT != 0
    }

    /// Whether it is read into the overlay, or is nothing that is kept with one.
    pub(super) const fn is_taken_for_user(self) -> bool {
        self.0 & Self::NOT_FACT != 0
    }

    /// Whether the name stands in the file in another spelling.
    pub(super) const fn is_respelled(self) -> bool {
        self.0 & Self::RESPELLED != 0
    }

    /// Whether a computation made it.
    pub(super) const fn is_computed(self) -> bool {
        self.0 & Self::COMPUTED != 0
    }
}

/// Members that go into no signal and are read under no other list.
const NEVER_EXTRA: &[&str] = &["direction", "mission_type", "side", "id", "volume", "timing"];
/// Members that say when or whose, or hold what is looked into.
const NEVER_FACT: &[&str] = &["stats", "risk_profile", "updated_at", "captured_at", "last_update", "last_updated"];
/// Members that only the reading of other lists needs.
const OTHERS: &[&str] = &["enhanced_signal", "execution_result", "risk_amount", "users", "volume", "telegram_id"];

type Table = HashMap<&'static str, Marks, BuildHasherDefault<Fnv>>;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table: Table = HashMap::default();
    let mut mark = |lists: &[&[&'static str]], marks: u8| {
        for name in lists.iter().copied().flatten() {
            table.entry(*name).or_insert(Marks::NONE).0 |= marks | Marks::KNOWN;
        }
    };
    let facts = [TIER, RISK, RISK_ELSE, BALANCE, CURRENCY, WIN_RATE, TRADES];
    let persons: Vec<&str> = USER_ID.iter().copied().filter(|name| *name != "id").collect();
    mark(&facts, Marks::OF_USER | Marks::NOT_FACT);
    mark(&[OF_USER, USER_OBJECTS, &persons], Marks::OF_USER);
    mark(&[OF_USER], Marks::FACT);
    mark(&[COMPUTED, EVENT, OF_ORDER, CREATED, PEOPLE], Marks::OF_ONE_FILE);
    mark(&[SIGNAL_ID, SYMBOL, ENTRY, STOP, TARGET, CONFIDENCE, PATTERN, CREATED, EXPIRES], Marks::NOT_EXTRA);
    mark(&[COMPUTED, EVENT, OF_ORDER, PEOPLE, NEVER_EXTRA], Marks::NOT_EXTRA);
    mark(&[USER_OBJECTS, COMPUTED, NEVER_FACT, &["user_id", "uid", "id", "timestamp"]], Marks::NOT_FACT);
    mark(&[COMPUTED], Marks::COMPUTED);
    mark(&[DIRECTION, SYMBOL_ELSE, FIRST_TARGET, TARGETS, STOP_PIPS, TARGET_PIPS, RISK_REWARD, OBSERVED], 0);
    mark(&[SIZE, SIGNAL_OBJECTS, WRAPPERS, CONTAINERS, ACCOUNT_MARKS, OTHERS], 0);
    table
});

/// The known names by their letters and digits alone.
static SQUEEZED: LazyLock<HashMap<String, &'static str>> =
    LazyLock::new(|| TABLE.keys().map(|name| (squeeze(name), *name)).collect());

/// A name in lower case without anything but letters and digits: `stopLoss`, `Stop-Loss` and `stop_loss` are one.
fn squeeze(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Looks a name up. A known one in another spelling comes with the spelling that is known.
pub(super) fn look_up(name: &str) -> (Marks, Option<&'static str>) {
    /// Longer than every known name, however it is spelled.
    const BYTES_MAX: usize = 40;
    if let Some(marks) = TABLE.get(name) {
        return (*marks, None);
    }
    let known = if name.len() > BYTES_MAX { None } else { SQUEEZED.get(&squeeze(name)).copied() };
    if let Some(marks) = known.and_then(|known| TABLE.get(known)) {
        return (Marks(marks.0 | Marks::RESPELLED), known);
    }
    let is_of_user = OF_USER_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    (if is_of_user { Marks(Marks::OF_USER | Marks::FACT) } else { Marks::NONE }, None)
}

/// A hash for short names that we chose ourselves: names from outside are only looked up, never put in.
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_name_is_known_in_any_spelling_and_no_two_known_names_are_one() {
        for (spelled, known) in
            [("stopLoss", "stop_loss"), ("Stop-Loss", "stop_loss"), ("STOPLOSS", "stop_loss"), ("userID", "user_id")]
        {
            let marks = Marks(look_up(known).0.0 | Marks::RESPELLED);
            assert_eq!(look_up(spelled), (marks, Some(known)));
        }
        assert_eq!(look_up("stop_loss").1, None);
        assert_eq!(look_up("colour"), (Marks::NONE, None));
        assert!(look_up("account_manager").0.is_fact() && look_up("user_xp").0.is_of_user());
        assert!(!look_up("user_fired").0.is_fact() && !look_up("accountant").0.is_of_user());
        assert_eq!(SQUEEZED.len(), TABLE.len());
    }
}
