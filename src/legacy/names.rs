//! The names that old files use: one meaning has up to six.
//!
//! Members are recognised by what they mean, not by the shape of the whole file, so that a shape nobody has seen yet is
//! read as far as its members are known. A member under no known name is kept as it is: with the signal if it stands
//! among shared ones, with the user's overlay if it stands among the user's.

/// The shared signal's own id.
pub(super) const SIGNAL_ID: &[&str] = &["base_signal_id", "signal_id"];
/// What is traded.
pub(super) const SYMBOL: &[&str] = &["symbol", "pair"];
/// Which way; under the later names only if the value is a direction.
pub(super) const DIRECTION: &[&str] = &["direction", "type", "mission_type", "side"];
/// Price to get in at.
pub(super) const ENTRY: &[&str] = &["entry_price", "entry"];
/// Price to get out at with a loss, or a number of pips in its place.
pub(super) const STOP: &[&str] = &["stop_loss", "sl", "sl_price"];
/// Price to get out at with a gain, or a number of pips in its place.
pub(super) const TARGET: &[&str] = &["take_profit", "tp", "tp_price"];
/// Distance to the stop in pips.
pub(super) const STOP_PIPS: &[&str] = &["stop_pips", "sl_pips", "stop_loss_pips"];
/// Distance to the target in pips.
pub(super) const TARGET_PIPS: &[&str] = &["target_pips", "tp_pips", "take_profit_pips"];
/// The engine's confidence, 0 to 100 or 0 to 1.
pub(super) const CONFIDENCE: &[&str] = &["confidence", "tcs_score", "tcs", "confidence_score"];
/// The pattern behind the signal.
pub(super) const PATTERN: &[&str] = &["pattern_type", "pattern", "pattern_name"];
/// When it was made.
pub(super) const CREATED: &[&str] = &["created_at", "created_timestamp", "generated_at", "timestamp"];
/// From when on it is over.
pub(super) const EXPIRES: &[&str] = &["expires_at", "expires_timestamp", "expiry_time"];
/// Distance to the target by distance to the stop.
pub(super) const RISK_REWARD: &[&str] = &["risk_reward_ratio", "risk_reward", "rr_ratio", "rr", "reward_risk_ratio"];

/// Whose it is.
pub(super) const USER_ID: &[&str] = &["user_id", "telegram_id", "id"];
/// The user's tier.
pub(super) const TIER: &[&str] = &["tier", "user_tier"];
/// Risk of a trade, in percent.
pub(super) const RISK: &[&str] = &["risk_percent", "risk_percentage", "risk", "risk_pct_default", "riskPct"];
/// Risk of a trade, as a fraction of one.
pub(super) const RISK_FRACTION: &str = "risk_per_trade";
/// The account's balance.
pub(super) const BALANCE: &[&str] = &["account_balance", "balance", "last_balance", "bal"];
/// The account's currency.
pub(super) const CURRENCY: &[&str] = &["account_currency", "currency"];
/// Share of trades won, in percent.
pub(super) const WIN_RATE: &[&str] = &["win_rate", "user_win_rate"];
/// Trades left today.
pub(super) const TRADES: &[&str] = &["trades_remaining", "ammo_left"];
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
];

/// Objects that hold facts about the user.
pub(super) const USER_OBJECTS: &[&str] = &["user", "account", "personalization_data", "overlay"];
/// Objects that hold the shared signal.
pub(super) const SIGNAL_OBJECTS: &[&str] = &["enhanced_signal", "signal"];

/// Marks of an account record, for records that have no overlay fact yet.
pub(super) const ACCOUNT_MARKS: &[&str] = &["container", "fire_eligible", "user_uuid", "mt5_account", "login"];

/// Whether a name is in one of several lists.
pub(super) fn is_one_of(name: &str, lists: &[&[&str]]) -> bool {
    lists.iter().any(|list| list.contains(&name))
}

/// Whether a member at the root of a mission belongs to the user.
pub(super) fn is_of_user(name: &str) -> bool {
    name == RISK_FRACTION
        || name == "user_id"
        || name == "telegram_id"
        || is_one_of(name, &[OF_USER, TIER, RISK, BALANCE, CURRENCY, WIN_RATE, TRADES, USER_OBJECTS])
}
