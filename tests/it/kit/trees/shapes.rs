//! Old files, made up: one of every shape that is known.

use serde_json::{Value, json};

/// One made-up file.
pub(crate) struct Sample {
    /// The shape's name.
    pub(crate) name: &'static str,
    /// Where it lies.
    pub(crate) path: String,
    /// Its content.
    pub(crate) body: Value,
    /// The class that it must end in.
    pub(crate) class: &'static str,
}

/// Joins two objects; the members of the second win.
fn with(mut base: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("an object is needed") };
    base.as_object_mut().unwrap().extend(more);
    base
}

fn without(mut base: Value, names: &[&str]) -> Value {
    for name in names {
        base.as_object_mut().unwrap().remove(*name);
    }
    base
}

/// The flat mission of one user: the shape of most files.
pub(crate) fn flat(signal: &str, user: &str, balance: u32, second: u32) -> Value {
    // The old computation at 2.5 % and 20 pips, in thousandths, as no float is exact.
    let thousandths =
        |count: u32| -> Value { serde_json::from_str(&format!("{}.{:03}", count / 1_000, count % 1_000)).unwrap() };
    let (risk, reward, size) = (thousandths(balance * 25), thousandths(balance * 50), thousandths((balance + 4) / 8));
    json!({
        "mission_id": format!("{signal}_USER{user}"), "base_signal_id": signal, "user_id": user, "symbol": "EURUSD",
        "direction": "BUY", "tcs_score": 85, "entry_price": 1.085, "stop_loss": 1.083, "take_profit": 1.089,
        "signal_type": "RAPID", "user_tier": "FANG", "user_rank": "SOLDIER", "daily_fires": 8, "ammo_left": 7,
        "win_rate": 72.1, "streak_days": 3, "total_pips": 423.7, "account_balance": f64::from(balance),
        "account_equity": f64::from(balance + balance / 50), "margin_free": f64::from(balance - balance / 8), "risk_amount": risk, "reward_amount": reward,
        "risk_reward_ratio": 2.0, "position_size": size, "risk_percentage": 2.5,
        "created_at": format!("2025-07-16T05:50:{second:02}.862269"), "expires_at": "2025-07-16T09:50:49.859368",
        "self_destruct_hours": 4, "status": "active", "engagement_count": 3, "fired_count": 0
    })
}

fn nested(signal: &str, user: &str) -> Value {
    json!({
        "mission_id": signal,
        "signal": {"id": signal, "symbol": "EURUSD", "direction": "SELL", "entry_price": 1.164, "stop_loss": 1.1652,
            "take_profit": 1.1616, "tcs_score": 72, "signal_type": "RAPID", "risk_reward_ratio": 2.0},
        "mission": {"title": "EURUSD", "description": "a trade", "urgency": "HIGH", "tactical_notes": ["one", "two"]},
        "user": {"id": user, "tier": "FANG", "stats": {"last_7d_pips": 0.0, "win_rate": 61.0, "trades_today": 0,
            "total_fires": 0, "streak_days": 0, "rank": "RECRUIT", "last_fire_time": "Never"}},
        "account": {"balance": 10000.0, "equity": 0.0, "margin_free": 0.0, "currency": "USD"},
        "timing": {"created_at": "2025-07-16T20:57:54.218995", "expires_at": "2025-07-16T21:02:54.218995",
            "time_remaining": 300},
        "enhanced_signal": {"symbol": "EURUSD", "direction": "SELL", "entry_price": 1.164, "stop_loss": 1.1652,
            "take_profit": 1.1616, "risk_reward_ratio": 2.0, "signal_type": "RAPID", "tcs_score": 72, "volume": 10.0,
            "comment": "made up"}
    })
}

fn pips_signal(id: &str) -> Value {
    json!({"signal_id": id, "symbol": "GBPCHF", "direction": "SELL", "confidence": 99, "shield_score": 6.0,
        "shield_class": "ACTIVE", "signal_type": "RAPID", "target_pips": 30, "stop_pips": 15, "risk_reward": 2.0,
        "timestamp": 1_753_674_562.794_665_6, "source": "made up"})
}

fn paired_signal(id: &str) -> Value {
    json!({"signal_id": id, "pair": "AUDUSD", "direction": "BUY", "timestamp": 1_753_771_865.192_501,
        "confidence": 71.5, "quality": "bronze", "session": "London",
        "signal": {"symbol": "AUDUSD", "direction": "BUY", "target_pips": 22, "stop_pips": 11, "risk_reward": 2.0},
        "enhanced_signal": {"symbol": "AUDUSD", "direction": "BUY", "entry_price": 0.65318, "stop_loss": 0.65208,
            "take_profit": 0.65538, "risk_reward_ratio": 2.0, "confidence": 71.5}})
}

fn core_signal(id: &str) -> Value {
    let shared = json!({"symbol": "XAUUSD", "direction": "BUY", "signal_type": "RAPID", "entry_price": 3400.0,
        "stop_loss": 3395.0, "take_profit": 3410.0, "stop_pips": 50, "target_pips": 100, "risk_reward": 2.0,
        "confidence": 80, "tcs_score": 80, "pattern": "SWEEP", "pattern_type": "SWEEP", "session": "NY"});
    let root = json!({"mission_id": id, "signal_id": id, "signal": shared, "shield_score": 6.2,
        "position_multiplier": 1.0, "created_at": "2025-08-08T21:24:47.507724",
        "expires_at": "2025-08-08T23:24:47.507728", "hard_close_at": "2025-08-08T23:29:47.507739",
        "countdown_seconds": 7200, "xp_reward": 80, "status": "pending", "fire_count": 0, "user_fired": false});
    let inner = root["signal"].clone();
    with(root, inner)
}

fn head(id: &str) -> Value {
    json!({"signal_id": id, "pair": "USDJPY", "direction": "buy", "confidence": 0.83, "engine": "GUARD",
        "created_at": "2025-08-09T10:00:00", "timing": {"expires_at": "2025-08-09T10:35:00", "timer_seconds": 2100},
        "enhanced_signal": {"symbol": "USDJPY", "direction": "BUY", "entry_price": "148.5", "stop_loss": "148.3",
            "take_profit": "148.9"},
        "citadel_shield": {"score": 8.8, "classification": "APPROVED", "insights": "none", "risk_multiplier": 1.0},
        "mission": {"sl_pips": 20, "tp_pips": 40, "risk_reward": 2.0, "session": "LONDON", "xp_reward": 120},
        "user": {"user_id": "7000000009", "tier": "NIBBLER", "account_balance": 5000.0, "position_size": 0.5,
            "risk_amount": 100.0, "win_rate": 55.5, "trades_remaining": 4}})
}

/// One file of every known shape.
#[expect(clippy::too_many_lines, reason = "a table of shapes")]
pub(crate) fn shapes() -> Vec<Sample> {
    let fired = json!({"status": "fired", "fired_at": "2025-07-16T05:55:00.5", "fired_by": "7000000001",
        "execution_result": {"success": true, "message": "done", "ticket": 4711, "execution_price": 1.0851}});
    let failed = json!({"status": "failed", "fired_at": "2025-07-16T21:00:00", "fired_by": "7000000001",
        "execution_result": {"success": false, "message": "refused", "ticket": null, "execution_price": null}});
    let config = json!({"test_type": "LOG", "rapid_rr": 1.5, "timestamp": "2025-07-16T20:57:54.3"});
    let enhanced = |more: Value| {
        let base = nested("APEX5_EURUSD_205754", "demo_user");
        let inner = with(base["enhanced_signal"].clone(), more);
        with(base, json!({"enhanced_signal": inner}))
    };
    let briefed = |base: Value| {
        let inner = with(base["mission"].clone(), json!({"athena_briefing": "night"}));
        with(base, json!({"mission": inner}))
    };
    let shield = json!({"citadel_shield": {"score": 8.8, "classification": "APPROVED", "risk_factors": []}});
    let filter = json!({"ml_filter": {"ml_filter_enabled": true, "min_threshold": 0.65}});
    let analysis = json!({"venom_analysis": {"volatility": 0.0, "session_power": 0.95}});
    let paired = |at: u32| paired_signal(&format!("VENOM_SCALP_AUDUSD_{at:06}"));
    let yen = with(
        paired(13),
        json!({"pair": "EURJPY",
        "signal": {"symbol": "EURJPY", "direction": "BUY", "target_pips": 16, "stop_pips": 11},
        "enhanced_signal": {"symbol": "EURJPY", "direction": "BUY", "entry_price": 172.618, "stop_loss": 172.6169,
            "take_profit": 172.6196}}),
    );
    let bodies: Vec<(&'static str, &str, Value, &'static str)> = vec![
        (
            "flat, prices",
            "missions/5_EURUSD_1752645001_USER7000000001.json",
            flat("5_EURUSD_1752645001", "7000000001", 7500, 10),
            "mission",
        ),
        (
            "flat, pips",
            "missions/APEX5_EURUSD_1752645049_USER123456789.json",
            with(
                flat("APEX5_EURUSD_1752645049", "123456789", 7500, 11),
                json!({"entry_price": 1.09, "stop_loss": 10, "take_profit": 20, "risk_reward_ratio": 2.12, "position_size": 0.0, "reward_amount": 397.94}),
            ),
            "mission",
        ),
        (
            "flat, with source",
            "archive/rogue_signals/5_GBPUSD_1753826407_USER7000000002.json",
            with(
                flat("5_GBPUSD_1753826407", "7000000002", 2500, 12),
                json!({"symbol": "GBPUSD", "entry_price": 1.3429, "stop_loss": 1.3418, "take_profit": 1.3445, "source": "made up"}),
            ),
            "mission",
        ),
        (
            "flat, early",
            "missions/APEX5_USDCAD_1752500000_USER7000000001.json",
            without(
                with(
                    flat("APEX5_USDCAD_1752500000", "7000000001", 7500, 13),
                    json!({"symbol": "USDCAD", "entry_price": 1.09, "stop_loss": 10, "take_profit": 20}),
                ),
                &["account_equity", "margin_free"],
            ),
            "mission",
        ),
        (
            "flat, fired",
            "missions/APEX5_EURJPY_1752682361_USER7000000001.json",
            with(
                with(
                    flat("APEX5_EURJPY_1752682361", "7000000001", 15000, 14),
                    json!({"symbol": "EURJPY", "entry_price": 172.325, "stop_loss": 10, "take_profit": 20}),
                ),
                fired.clone(),
            ),
            "mission",
        ),
        ("nested", "ARCHIVED_MISSIONS/APEX5_EURUSD_205754.json", nested("APEX5_EURUSD_205754", "demo_user"), "mission"),
        (
            "nested, magic number",
            "missions/APEX5_EURUSD_205801.json",
            with(
                enhanced(json!({"magic_number": 12345, "volume": 3.969})),
                json!({"signal": with(nested("APEX5_EURUSD_205801", "x")["signal"].clone(), json!({}))}),
            ),
            "mission",
        ),
        (
            "nested, test config",
            "missions/APEX5_EURUSD_205802.json",
            with(
                enhanced(json!({"rr_test_config": config})),
                json!({"signal": nested("APEX5_EURUSD_205802", "x")["signal"]}),
            ),
            "mission",
        ),
        (
            "nested, trade id",
            "missions/APEX5_EURUSD_205803.json",
            with(
                enhanced(json!({"trade_uuid": "u-1"})),
                json!({"signal": nested("APEX5_EURUSD_205803", "x")["signal"]}),
            ),
            "mission",
        ),
        (
            "nested, briefing",
            "missions/APEX5_EURUSD_205804.json",
            briefed(nested("APEX5_EURUSD_205804", "fang_demo")),
            "mission",
        ),
        (
            "nested, failed",
            "missions/APEX5_EURUSD_205805.json",
            with(nested("APEX5_EURUSD_205805", "7000000001"), failed.clone()),
            "mission",
        ),
        (
            "nested, briefing, failed",
            "missions/APEX5_EURUSD_205806.json",
            with(briefed(nested("APEX5_EURUSD_205806", "7000000001")), failed),
            "mission",
        ),
        (
            "nested, fired",
            "missions/APEX5_EURUSD_205807.json",
            with(nested("APEX5_EURUSD_205807", "7000000001"), fired),
            "mission",
        ),
        (
            "nested over a pips signal",
            "archive/rogue_signals/VENOM_UNFILTERED_EURUSD_000045.json",
            with(
                nested("VENOM_UNFILTERED_EURUSD_000045", "demo_user"),
                json!({"signal_id": "VENOM_UNFILTERED_EURUSD_000045", "shield_score": 6.0, "timestamp": 1_752_699_000.5}),
            ),
            "mission",
        ),
        (
            "brain",
            "missions/user_user_7000000001/APEX_REAL_EURUSD_user_7000000001_1753043701.json",
            json!({"user_id": "user_7000000001", "mission_id": "APEX_REAL_EURUSD_user_7000000001_1753043701", "symbol": "EURUSD", "direction": "BUY", "entry_price": 1.085, "stop_loss": 1.083, "take_profit": 1.089, "position_size": 1.0, "risk_amount": 200.0, "account_balance": 10000.0, "tier": "COMMANDER", "tactical_strategy": "LONE_WOLF", "tcs_score": 78, "created_timestamp": 1_753_043_701, "expires_timestamp": 1_753_047_301, "personalization_data": {"user_tier": "COMMANDER", "risk_percentage": 2.0, "account_currency": "USD", "broker": "MT5", "position_calculation": {"valid": true, "lot_size": 1.0}}, "status": "pending", "simulation_mode": false}),
            "mission",
        ),
        (
            "user first",
            "missions/-1009000000001_1752509930.json",
            json!({"mission_id": "-1009000000001_1752509930", "user_id": "-1009000000001", "symbol": "GBPUSD", "type": "sell", "tp": 2370.0, "sl": 2382.0, "tcs": 78, "risk": 1.5, "account_balance": 2913.25, "lot_size": 0.12, "timestamp": "2025-07-14T16:18:50", "direction": "BUY", "entry_price": 1.0, "confidence": 0.75, "user_tier": "AUTHORIZED", "apex_briefing": {"position_size": "0.02 lots", "account_balance": "$2,913.25", "stop_loss": "1.3 pips"}}),
            "partial",
        ),
        ("front page", "missions/HUD_USDJPY_1754733600.json", head("HUD_USDJPY_1754733600"), "mission"),
        (
            "front page, no user",
            "missions/HUD_USDJPY_1754733601.json",
            without(head("HUD_USDJPY_1754733601"), &["user"]),
            "signal",
        ),
        (
            "front page, no win rate",
            "missions/HUD_USDJPY_1754733602.json",
            with(
                head("HUD_USDJPY_1754733602"),
                json!({"user": {"user_id": "7000000009", "tier": "NIBBLER", "account_balance": 5000.0}}),
            ),
            "mission",
        ),
        (
            "front page, user at the root",
            "missions/HUD_USDJPY_1754733603.json",
            with(
                head("HUD_USDJPY_1754733603"),
                json!({"user_id": "7000000008", "user": {"tier": "NIBBLER", "account_balance": 5000.0}}),
            ),
            "mission",
        ),
        (
            "skeleton",
            "missions/VENOM_UNFILTERED_GBPCHF_000001.json",
            json!({"mission_id": "VENOM_UNFILTERED_GBPCHF_000001", "status": "pending", "created_at": "2025-07-28T04:49:12.197887", "timing": {"expires_at": "2025-07-28T05:19:12.197880", "timer_seconds": 1800}, "signal": pips_signal("VENOM_UNFILTERED_GBPCHF_000001"), "mission": {"type": "strike", "urgency": "medium"}, "user": {"tier": "NIBBLER", "ready_for_fire": true}}),
            "signal",
        ),
        (
            "pips signal",
            "missions/VENOM_UNFILTERED_GBPCHF_000141.json",
            pips_signal("VENOM_UNFILTERED_GBPCHF_000141"),
            "signal",
        ),
        ("pair", "missions/mission_VENOM_SCALP_AUDUSD_000001.json", paired(1), "signal"),
        (
            "pair, analysis",
            "missions/mission_VENOM_SCALP_AUDUSD_000002.json",
            with(paired(2), analysis.clone()),
            "signal",
        ),
        ("pair, shield", "missions/mission_VENOM_SCALP_AUDUSD_000003.json", with(paired(3), shield.clone()), "signal"),
        ("pair, filter", "missions/mission_VENOM_SCALP_AUDUSD_000004.json", with(paired(4), filter.clone()), "signal"),
        (
            "pair, analysis, shield",
            "missions/mission_VENOM_SCALP_AUDUSD_000005.json",
            with(with(paired(5), analysis.clone()), shield.clone()),
            "signal",
        ),
        (
            "pair, analysis, filter",
            "missions/mission_VENOM_SCALP_AUDUSD_000006.json",
            with(with(paired(6), analysis.clone()), filter.clone()),
            "signal",
        ),
        (
            "pair, all three",
            "missions/mission_VENOM_SCALP_AUDUSD_000007.json",
            with(with(with(paired(7), analysis), filter), shield),
            "signal",
        ),
        (
            "pair, source",
            "missions/mission_VENOM_SCALP_AUDUSD_000008.json",
            with(paired(8), json!({"source": "made up"})),
            "signal",
        ),
        (
            "pair, market",
            "archive/rogue_signals/mission_VENOM_OPTIMIZED_AUDUSD_000009.json",
            with(paired(9), json!({"real_market_data": {"bid": 0.653, "ask": 0.6532, "volume": 0}})),
            "signal",
        ),
        (
            "pair, technical",
            "archive/rogue_signals/mission_BITTEN_PRODUCTION_AUDUSD_000010.json",
            with(paired(10), json!({"technical_analysis": {"spread": 20.0}})),
            "signal",
        ),
        (
            "pair, elite",
            "archive/rogue_signals/mission_APEX_ELITE_AUDUSD_000011.json",
            with(paired(11), json!({"elite_analysis": {"pattern": "BOUNCE", "timestamp": "2025-07-28T17:53:12"}})),
            "signal",
        ),
        (
            "pair, structure",
            "archive/rogue_signals/mission_APEX_PROFESSIONAL_AUDUSD_000012.json",
            with(paired(12), json!({"market_analysis": {"session": "NY"}})),
            "signal",
        ),
        ("pair, yen with a small pip", "missions/mission_VENOM_SCALP_EURJPY_000013.json", yen, "signal"),
        ("pair, no time", "archive/rogue_signals/mission_TEST_FIX.json", without(paired(14), &["timestamp"]), "signal"),
        (
            "core, twice",
            "missions/ELITE_GUARD_XAUUSD_1754688287.json",
            core_signal("ELITE_GUARD_XAUUSD_1754688287"),
            "signal",
        ),
        (
            "core, no stop price",
            "missions/ELITE_GUARD_XAUUSD_1754688288.json",
            with(
                core_signal("ELITE_GUARD_XAUUSD_1754688288"),
                json!({"stop_loss": null, "take_profit": null, "signal": null}),
            ),
            "signal",
        ),
        (
            "short names",
            "missions/ELITE_GUARD_EURUSD_1754828514.json",
            json!({"signal_id": "ELITE_GUARD_EURUSD_1754828514", "symbol": "EUR/USD", "direction": "BUY", "entry_price": 1.095, "sl": 1.094, "tp": 1.097, "confidence": 85, "generated_at": "2025-08-10T12:21:54.624791+00:00", "expiry_time": 1_754_835_714, "base_lot_size": 0.01, "ml_filter_passed": "true"}),
            "signal",
        ),
        (
            "pips beside an entry",
            "missions/archive_20250810/mission_URL_TEST_1754660621.json",
            json!({"mission_id": "URL_TEST_1754660621", "signal_id": "URL_TEST_1754660621", "symbol": "EURUSD", "direction": "BUY", "entry_price": 1.1649, "sl_pips": 20, "tp_pips": 40, "confidence": 78}),
            "signal",
        ),
        (
            "no time but in the id",
            "missions/TEST_SIGNAL_1754837036.json",
            json!({"signal_id": "TEST_SIGNAL_1754837036", "symbol": "EURUSD", "direction": "BUY", "entry_price": 1.085, "stop_loss": 1.083, "take_profit": 1.089, "confidence": 85}),
            "signal",
        ),
        (
            "last engine",
            "missions/ELITE_RAPID_EURUSD_1757000000.json",
            json!({"signal": {"signal_id": "ELITE_RAPID_EURUSD_1757000000", "symbol": "EURUSD", "direction": "BUY", "entry_price": 1.17, "stop_loss": 1.168, "take_profit": 1.174, "confidence": 81, "lot_size": 0.7}, "combo": "A", "created_at": "2025-09-04T15:33:20"}),
            "signal",
        ),
        (
            "shared",
            "signals/shared/ELITE_GUARD_EURUSD_TEST.json",
            json!({"signal_id": "ELITE_GUARD_EURUSD_TEST", "symbol": "EURUSD", "direction": "BUY", "entry_price": 1.085, "stop_loss": 1.083, "take_profit": 1.089, "pattern_type": "SWEEP", "confidence": 89.5, "citadel_score": 8.9, "expires_at": "2025-08-08T17:11:10.425808", "created_at": "2025-08-08T16:11:10.425865", "sl_pips": 20.000_000_000_000_018, "risk_reward": 2.0}),
            "signal",
        ),
        (
            "planned name",
            "missions/mission_PLAN_EURUSD_1_7000000003.json",
            without(flat("PLAN_EURUSD_1", "7000000003", 900, 15), &["base_signal_id", "mission_id"]),
            "mission",
        ),
        (
            "overlay",
            "user_overlays/7000000004.json",
            json!({"tier": "press pass", "risk_per_trade": 0.03, "balance": "1,250.50", "win_rate": 50, "trades_remaining": 3}),
            "overlay",
        ),
        (
            "registry",
            "user_registry.json",
            json!({"7000000005": {"user_id": "nick", "telegram_id": "7000000005", "tier": "COMMANDER", "account_balance": 5291.4, "account_currency": "EUR", "last_update": "2025-08-22T12:50:59"}, "users": {"7000000006": {"user_id": "7000000006", "tier": "FANG", "account_balance": 850.47}, "risk_profile": {"risk_percentage": 1.0, "max_daily_risk": 5.0, "risk_mode": "CALM"}}}),
            "overlay",
        ),
        (
            "settings",
            "data/user_settings/user_7000000001_settings.json",
            json!({"user_id": "7000000001", "theme": "dark", "risk_percentage": 2.0, "last_updated": "2025-07-29T18:53:54"}),
            "overlay",
        ),
    ];
    bodies.into_iter().map(|(name, path, body, class)| Sample { name, path: path.to_owned(), body, class }).collect()
}
