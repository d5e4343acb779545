//! Files of single shapes, names and values: each is read right, or refused by the reason that says what was missing. A
//! number that may mean two things is never used.

use std::fs;

use overlaid::legacy::{Line, PathText};
use tempfile::TempDir;

use crate::kit::{done, export, run, write_old};

/// Path, content, class (and reason), and what must then be in the database.
const CASES: &[(&str, &str, &str, &[&str])] = &[
    (
        "s/S01.json",
        r#"{"signal_id":"S01","symbol":"EUR/USD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S01","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S03.json",
        r#"{"signal_id":"S03","instrument":"eurusd","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S03","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S12.json",
        r#"{"signal_id":"S12","symbol":"BTCUSDT","direction":"BUY","entry":60000,"sl":59000,"tp":63000,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""symbol":"BTCUSDT""#],
    ),
    (
        "s/S13.json",
        r#"{"signal_id":"S13","symbol":"EURUSD","side":"buy","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S13","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S20.json",
        r#"{"signal_id":"S20","symbol":"EURUSD","direction":"UP","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "quarantined:no_direction",
        &[],
    ),
    (
        "s/S21.json",
        r#"{"signal_id":"S21","symbol":"EURUSD","direction":"BUY","side":"sell","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "quarantined:direction_conflict",
        &[],
    ),
    (
        "s/S22.json",
        r#"{"signal_id":"S22","symbol":"EURUSD","direction":"BUY","entry":1.085,"sl":1.083,"tp":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S22","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S23.json",
        r#"{"signal_id":"S23","symbol":"EURUSD","direction":"BUY","entryPrice":"1.085","stopLoss":"1.083","takeProfit":"1.089","created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S23","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S29.json",
        r#"{"signal_id":"S29","symbol":"EURUSD","direction":"BUY","ENTRY":1.085,"SL":1.083,"TP":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S29","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S31.json",
        r#"{"signal_id":"S31","symbol":"EURUSD","direction":"BUY","entry":1.085,"stop_loss":1.083,"sl":1.083,"tp":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S31","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S32.json",
        r#"{"signal_id":"S32","symbol":"EURUSD","direction":"BUY","entry":1.085,"sl":"20 pips","tp":"40 pips","created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""stop_pips":20,"target_pips":40"#],
    ),
    (
        "s/S33.json",
        r#"{"signal_id":"S33","symbol":"EURUSD","direction":"BUY","entry":1.085,"stopLoss":20,"takeProfit":40,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""stop_pips":20,"target_pips":40"#],
    ),
    (
        "s/S34.json",
        r#"{"signal_id":"S34","symbol":"EURUSD","direction":"BUY","slPips":20,"tpPips":40,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""stop_pips":20,"target_pips":40"#],
    ),
    (
        "s/S35.json",
        r#"{"signal_id":"S35","symbol":"EURUSD","direction":"BUY","entry":1.085,"stop_loss":1.083,"sl":1.081,"created_at":"2025-07-16T05:50:49"}"#,
        "quarantined:levels_conflict",
        &[],
    ),
    (
        "s/S36.json",
        r#"{"signal_id":"S36","symbol":"EURUSD","direction":"BUY","entry":1.085,"stopLoss":1.083,"stop_loss":1.081,"created_at":"2025-07-16T05:50:49"}"#,
        "quarantined:duplicate_member",
        &[],
    ),
    (
        "s/S37.json",
        r#"{"signal_id":"S37","symbol":"EURUSD","direction":"BUY","sl":1.083,"tp":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "quarantined:no_entry",
        &[],
    ),
    (
        "s/S38.json",
        r#"{"signal_id":"S38","symbol":"EURUSD","direction":"BUY","entry":1.085,"tp":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "quarantined:no_stop",
        &[],
    ),
    (
        "s/S39.json",
        r#"{"signal_id":"S39","symbol":"EURUSD","direction":"BUY","entry":1.085,"sl":1.087,"tp":1.081,"created_at":"2025-07-16T05:50:49"}"#,
        "quarantined:stop_wrong_side",
        &[],
    ),
    (
        "s/S40.json",
        r#"{"signal_id":"S40","symbol":"EURUSD","direction":"BUY","entry":"1,085","sl":1.083,"created_at":"2025-07-16T05:50:49"}"#,
        "quarantined:placeholder_entry",
        &[],
    ),
    (
        "s/S41.json",
        r#"{"signal_id":"S41","symbol":"USDJPY","direction":"BUY","entry":150,"sl":120,"tp":180,"created_at":"2025-07-16T05:50:49"}"#,
        "quarantined:ambiguous_levels",
        &[],
    ),
    (
        "s/S42.json",
        r#"{"signal_id":"S42","symbol":"USDJPY","direction":"BUY","entry":150,"sl":120,"tp":180,"rr":1.5,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""stop_pips":120"#],
    ),
    (
        "s/S43.json",
        r#"{"signal_id":"S43","symbol":"ZZZ","direction":"BUY","entry":100,"sl":20,"tp":40,"created_at":"2025-07-16T05:50:49"}"#,
        "quarantined:unknown_instrument",
        &[],
    ),
    (
        "s/S44.json",
        r#"{"signal_id":"S44","symbol":"EURUSD","pair":"GBP/USD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "quarantined:symbol_conflict",
        &[],
    ),
    (
        "s/S45.json",
        r#"{"signal_id":"S45","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"confidence":"87%","created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""confidence":87"#],
    ),
    (
        "s/S46.json",
        r#"{"signal_id":"S46","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"confidence":0.87,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""confidence":87"#],
    ),
    (
        "s/S47.json",
        r#"{"signal_id":"S47","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"confidence":"HIGH","created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""legacy_confidence":"HIGH""#],
    ),
    (
        "s/S48.json",
        r#"{"signal_id":"S48","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"confidence":1,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""legacy_confidence":1"#],
    ),
    (
        "s/S49.json",
        r#"{"signal_id":"S49","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"confidence":87.5,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""confidence":87.5"#],
    ),
    (
        "s/S50.json",
        r#"{"signal_id":"S50","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"timestamp":1752645049}"#,
        "signal",
        &[r#""created_at":"2025-07-16T05:50:49Z""#],
    ),
    (
        "s/S51.json",
        r#"{"signal_id":"S51","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"timestamp":1752645049000}"#,
        "signal",
        &[r#""created_at":"2025-07-16T05:50:49Z""#],
    ),
    (
        "s/S53.json",
        r#"{"signal_id":"S53","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"timestamp":"1752645049"}"#,
        "signal",
        &[r#""created_at":"2025-07-16T05:50:49Z""#],
    ),
    (
        "s/S54.json",
        r#"{"signal_id":"S54","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"timestamp":"2025-07-16T07:50:49+02:00"}"#,
        "signal",
        &[r#""created_at":"2025-07-16T05:50:49Z""#],
    ),
    (
        "s/S55.json",
        r#"{"signal_id":"S55","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"timestamp":"2025-07-16 05:50:49"}"#,
        "signal",
        &[r#""created_at":"2025-07-16T05:50:49Z""#],
    ),
    (
        "s/S61.json",
        r#"{"signal":{"signal_id":"S61","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}}"#,
        "signal",
        &[
            r#""signal_id":"S61","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/ELITE_GUARD_EURUSD_1752645049.json",
        r#"{"direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089}"#,
        "signal",
        &[r#""signal_id":"ELITE_GUARD_EURUSD_1752645049","symbol":"EURUSD""#],
    ),
    (
        "s/bare.json",
        r#"{"direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089}"#,
        "quarantined:no_symbol",
        &[],
    ),
    (
        "o/u1.json",
        r#"{"user_id":"101","balance":"$1,234.56","risk":2}"#,
        "overlay",
        &[r#""risk_percent":2,"account_balance":1234.56"#],
    ),
    ("o/u2.json", r#"{"user_id":"102","balance":1000,"risk":0.02}"#, "overlay", &[r#""legacy_risk_percent":0.02"#]),
    ("o/u3.json", r#"{"user_id":"103","balance":1000,"risk":"2%"}"#, "overlay", &[r#""risk_percent":2,"#]),
    (
        "o/u4.json",
        r#"{"user_id":"104","balance":1000,"risk_percent":0.02}"#,
        "overlay",
        &[r#""legacy_risk_percent":0.02"#],
    ),
    ("o/u5.json", r#"{"user_id":"105","balance":1000,"risk_percent":0.5}"#, "overlay", &[r#""risk_percent":0.5"#]),
    ("o/u6.json", r#"{"user_id":"106","balance":1000,"risk_per_trade":0.03}"#, "overlay", &[r#""risk_percent":3"#]),
    ("o/u7.json", r#"{"user_id":"107","balance":1000,"risk_per_trade":"0.5%"}"#, "overlay", &[r#""risk_percent":0.5"#]),
    (
        "o/u8.json",
        r#"{"user_id":"108","balance":1000,"risk_per_trade":0.5}"#,
        "overlay",
        &[r#""legacy_risk_percent":0.5"#],
    ),
    (
        "o/u9.json",
        r#"{"user_id":"109","accountBalance":1000,"riskPct":1.5}"#,
        "overlay",
        &[r#""risk_percent":1.5,"account_balance":1000"#],
    ),
    (
        "o/u10.json",
        r#"{"user_id":"110","balance":"1.234,56","tier":"FANG"}"#,
        "overlay",
        &[r#""legacy_account_balance":"1.234,56""#],
    ),
    ("o/u11.json", r#"{"user_id":"111","balance":-5,"tier":"FANG"}"#, "overlay", &[r#""legacy_account_balance":-5"#]),
    ("o/u12.json", r#"{"user_id":"112","balance":1000,"win_rate":0.65}"#, "overlay", &[r#""legacy_win_rate":0.65"#]),
    ("o/u13.json", r#"{"user_id":"113","balance":1000,"winRate":"65%"}"#, "overlay", &[r#""win_rate":65"#]),
    ("o/u14.json", r#"{"user_id":"114","balance":1000,"tier":2}"#, "overlay", &[r#""legacy_tier":2"#]),
    ("user_overlays/7000000042.json", r#"{"balance":4002}"#, "overlay", &[r#""user_id":"7000000042""#]),
    ("o/nobody.json", r#"{"balance":4003}"#, "quarantined:no_user_id", &[]),
    (
        "r/map.json",
        r#"{"7000000051":{"tier":"FANG","balance":51},"7000000052":{"tier":"FANG","balance":52}}"#,
        "overlay",
        &[r#""account_balance":51"#, r#""account_balance":52"#],
    ),
    (
        "r/part.json",
        r#"{"users":{"7000000055":{"tier":"FANG","balance":55},"nobody":{"user_uuid":"x","balance":56}}}"#,
        "partial",
        &[r#""account_balance":55"#],
    ),
    (
        "m/mission_M1_7000000061.json",
        r#"{"signal_id":"M1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","account_balance":61}"#,
        "mission",
        &[r#""user_id":"7000000061""#, r#""account_balance":61"#],
    ),
    (
        "m/two.json",
        r#"{"signal_id":"M2","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","user_id":"7000000062","user":{"id":"7000000063"}}"#,
        "quarantined:user_conflict",
        &[],
    ),
    (
        "m/filled.json",
        r#"{"signal_id":"M5","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","user_id":"7000000066","balance":66,"status":"FILLED"}"#,
        "mission",
        &[r#""status":"fired""#],
    ),
    (
        "m/N01.json",
        r#"{"signal_id":"N01","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","user_id":"7000000066","account_balance":66,"username":"ann","mt5_login":100,"user_xp":5,"account_leverage":500}"#,
        "mission",
        &[r#""mt5_login":100"#, r#""username":"ann""#],
    ),
    (
        "m/N02.json",
        r#"{"signal_id":"N02","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","user_id":"7000000066","status":"TIMEOUT"}"#,
        "signal",
        &[r#""status":"failed""#, r#""legacy_status":"TIMEOUT""#],
    ),
    (
        "m/N03.json",
        r#"{"signal_id":"N03","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","user_id":"7000000066","status":"closed","fired_at":"2025-07-16T05:51:00","ticket":777,"pnl":-12.5}"#,
        "signal",
        &[
            r#""status":"fired","at":"2025-07-16T05:51:00Z""#,
            r#""ticket":777,"legacy_pnl":-12.5"#,
            r#""legacy_status":"closed""#,
        ],
    ),
    (
        "m/N04.json",
        r#"{"signal_id":"N04","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","user_id":"7000000066","execution_result":{"success":"true","ticket":778}}"#,
        "signal",
        &[r#""status":"fired""#, r#""ticket":778"#],
    ),
    (
        "m/N05.json",
        r#"{"signal_id":"N05","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","user_id":"7000000066","status":"fired","execution_result":"ticket 779"}"#,
        "signal",
        &[r#""execution_result":"ticket 779""#],
    ),
    (
        "m/N05b.json",
        r#"{"signal_id":"N05b","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","user_id":"7000000066","status":"fired","signal":{"status":"pending"},"execution_result":{"profit":"12 EUR","result":"won"}}"#,
        "signal",
        &[r#""status":"fired""#, r#""legacy_profit":"12 EUR","legacy_result":"won""#],
    ),
    (
        "m/N06.json",
        r#"{"signal_id":"N06","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","users":{"7000000067":{"tier":"FANG","account_balance":500}}}"#,
        "mission",
        &[r#""user_id":"7000000067","tier":"FANG""#, r#""account_balance":500"#],
    ),
    (
        "m/N07.json",
        r#"{"signal_id":"N07","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","expires_at":"tomorrow"}"#,
        "signal",
        &[r#""legacy_expires_at":"tomorrow""#],
    ),
    (
        "m/N08.json",
        r#"{"signal_id":"N08","symbol":"LINKUSD","direction":"BUY","entry_price":17.97,"stop_loss":16.5,"take_profit":20.5,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""entry_price":17.97,"stop_loss":16.5"#],
    ),
    (
        "m/mission_APEX5_EURUSD_160209_7000000068.json",
        r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":68}"#,
        "mission",
        &[r#""signal_id":"APEX5_EURUSD_160209""#, r#""user_id":"7000000068""#],
    ),
    (
        "m/mission_N09_EURUSD_000012_1752642664.json",
        r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""signal_id":"N09_EURUSD_000012_1752642664""#],
    ),
    (
        "m/N10.json",
        r#"{"signal_id":"N10_EURUSD","symbol":"","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","user_id":7000000069.0,"account_balance":69}"#,
        "mission",
        &[r#""symbol":"EURUSD""#, r#""user_id":"7000000069""#],
    ),
    ("x/comment.json", r#"{"signal_id":"X1", /* old */ "symbol":"EURUSD"}"#, "quarantined:malformed_json", &[]),
    (
        "i/I01.json",
        r#"{"signal_id":1.752645E9,"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","user_id":7.000000071E9,"account_balance":71}"#,
        "mission",
        &[r#""signal_id":"1752645000""#, r#""user_id":"7000000071""#],
    ),
    (
        "i/I02.json",
        r#"{"signal":{"id":"1.752645001E9","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083},"created_at":"2025-07-16T05:50:49","user":{"id":"7000000072.00"},"account":{"balance":72},"fired_by":"7.000000072E9","status":"fired"}"#,
        "mission",
        &[r#""signal_id":"1752645001","user_id":"7000000072","status":"fired""#, r#""account_balance":72"#],
    ),
    (
        "i/I03.json",
        r#"{"7.000000073E9":{"tier":"FANG","balance":73},"user_7000000074.0":{"tier":"FANG","balance":74},"x":{"telegram_id":-1.009000000075E12,"balance":75}}"#,
        "overlay",
        &[r#""user_id":"7000000073""#, r#""user_id":"7000000074""#, r#""user_id":"-1009000000075""#],
    ),
    ("user_overlays/7.000000076E9.json", r#"{"balance":76}"#, "overlay", &[r#""user_id":"7000000076""#]),
    (
        "i/I04_USER7.000000077E9.json",
        r#"{"mission_id":"I04_USER7.000000077E9","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":77}"#,
        "mission",
        &[r#""signal_id":"I04""#, r#""user_id":"7000000077""#],
    ),
    (
        "i/mission_I05_EURUSD_000012_7.000000078E9.json",
        r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":78}"#,
        "mission",
        &[r#""signal_id":"I05_EURUSD_000012","symbol""#, r#""user_id":"7000000078""#],
    ),
    (
        "i/I06.json",
        r#"{"signal_id":"12E5","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""signal_id":"12E5""#],
    ),
    (
        "i/I07.json",
        r#"{"1.752645007E9":{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49"}}"#,
        "signal",
        &[r#""signal_id":"1752645007""#],
    ),
    (
        "f/mission_F01_EURUSD_7.000000101E9.json",
        r#"{"signal_id":"F01_EURUSD","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":101}"#,
        "mission",
        &[r#""user_id":"7000000101","account_balance":101"#],
    ),
    (
        "f/mission_F02_EURUSD_1.752645E9_7000000102.json",
        r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":102}"#,
        "mission",
        &[r#""signal_id":"F02_EURUSD_1752645000","symbol""#, r#""user_id":"7000000102","account_balance":102"#],
    ),
    (
        "f/mission_1.752645003E9_7000000103.00.json",
        r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":103}"#,
        "mission",
        &[r#""signal_id":"1752645003","symbol""#, r#""user_id":"7000000103","account_balance":103"#],
    ),
    (
        "f/mission_1.752645004E9_7.000000104e+9.json",
        r#"{"signal_id":1752645004.0,"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":104}"#,
        "mission",
        &[r#""signal_id":"1752645004","symbol""#, r#""user_id":"7000000104","account_balance":104"#],
    ),
    (
        "f/7.000000105E9_1.752645005E9.json",
        r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":105}"#,
        "mission",
        &[r#""signal_id":"7000000105_1752645005","symbol""#, r#""user_id":"7000000105","account_balance":105"#],
    ),
    (
        "f/mission_F06_EURUSD_000012_7000000106.0",
        r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":106}"#,
        "mission",
        &[r#""signal_id":"F06_EURUSD_000012","symbol""#, r#""user_id":"7000000106","account_balance":106"#],
    ),
    (
        "f/F07_EURUSD_1.752645007E9_USER7000000107.0.json",
        r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":107}"#,
        "mission",
        &[r#""signal_id":"F07_EURUSD_1752645007","symbol""#, r#""user_id":"7000000107","account_balance":107"#],
    ),
    (
        "user_7.000000108E9/F08_EURUSD_1752645008.0.json",
        r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":108}"#,
        "mission",
        &[r#""signal_id":"F08_EURUSD_1752645008","symbol""#, r#""user_id":"7000000108","account_balance":108"#],
    ),
    (
        "f/mission_5.0_7000000109.json",
        r#"{"signal_id":5.0,"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":109}"#,
        "mission",
        &[r#""signal_id":"5","symbol""#, r#""user_id":"7000000109","account_balance":109"#],
    ),
    (
        "f/F10.json",
        r#"{"mission_id":"F10_EURUSD_1.75264501E9_7000000110.00","user_id":7000000110,"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","account_balance":110}"#,
        "mission",
        &[r#""signal_id":"F10_EURUSD_1752645010","symbol""#, r#""user_id":"7000000110","account_balance":110"#],
    ),
    (
        "f/F11.json",
        r#"{"signal_id":"F11_EURUSD_1.752645011E9","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""signal_id":"F11_EURUSD_1752645011","symbol""#],
    ),
    (
        "f/F12_EURUSD_1.0.json",
        r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.086,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""signal_id":"F12_EURUSD_1.0","symbol""#],
    ),
    (
        "e/bom.json",
        "\u{feff}{\"signal_id\":\"E01\",\"symbol\":\"EURUSD\",\"direction\":\"BUY\",\"entry_price\":1.085,\"stop_loss\":1.083,\"created_at\":\"2025-07-16T05:50:49\",\"user_id\":\"7000000081\",\"account_balance\":81}",
        "mission",
        &[r#""signal_id":"E01""#, r#""user_id":"7000000081""#],
    ),
    (
        "e/nan.json",
        r#"{"signal_id":"E02","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","user_id":"7000000082","account_balance":82,"win_rate":NaN,"analysis":{"volatility":-Infinity,"note":"NaN is no number"},"position_size":NaN}"#,
        "mission",
        &[
            r#""analysis":{"volatility":"-Infinity","note":"NaN is no number"}"#,
            r#""user_id":"7000000082","account_balance":82"#,
            r#""legacy_win_rate":"NaN""#,
        ],
    ),
    (
        "e/nan-id.json",
        r#"{"signal_id":"E03","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","user_id":NaN,"tier":NaN}"#,
        "signal",
        &[r#""signal_id":"E03""#],
    ),
    (
        "e/nan-target.json",
        r#"{"signal_id":"E04","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":NaN,"created_at":"2025-07-16T05:50:49","user_id":"7000000084","account_balance":84}"#,
        "partial",
        &[r#""account_balance":84"#],
    ),
    (
        "e/slips.json",
        r#"{"signal_id":"E05","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","confidense":5,"user_id":"7000000087","balance":87,"account_balanse":1}"#,
        "mission",
        &[r#""legacy_confidense":5"#, r#""legacy_account_balanse":1"#],
    ),
    (
        "e/targets.json",
        r#"{"signal_id":"E9","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"take_profits":[20,40]}"#,
        "signal",
        &[r#""signal_id":"E9""#, r#""take_profit":1.089"#, r#""legacy_take_profits":[20,40]"#],
    ),
    (
        "e/zeros.json",
        r#"{"user_id":"7000000085","balance":85,"equity":0.0,"free_margin":0,"margin":0,"margin_level":0}"#,
        "overlay",
        &[
            r#""user_id":"7000000085","account_balance":85,"account_currency":"USD","updated_at":"1970-01-01T00:00:00Z","margin_level":0}"#,
        ],
    ),
    (
        "e/empty.json",
        r#"{"user_id":"7000000086","balance":0,"equity":0.0,"free_margin":0}"#,
        "overlay",
        &[
            r#""user_id":"7000000086","account_balance":0,"account_equity":0,"free_margin":0,"account_currency":"USD","updated_at":"1970-01-01T00:00:00Z"}"#,
        ],
    ),
];

/// Imports files into a new database; returns the report and the export.
fn import<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>) -> (Vec<Line>, String) {
    let folder = TempDir::new().unwrap();
    let [tree, data, report] = ["tree", "data", "report"].map(|name| folder.path().join(name));
    for (path, body) in files {
        write_old(&tree, path, body);
    }
    let [tree, report_text] = [&tree, &report].map(|path| path.to_str().unwrap());
    done(run(&data, &["legacy", "import", tree, "--report", report_text]));
    let lines = fs::read_to_string(report).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, export(&data))
}

#[test]
fn single_shapes_are_read_right_or_refused_with_a_reason() {
    let (lines, export) = import(CASES.iter().map(|(path, body, ..)| (*path, *body)));
    assert_eq!(lines.len(), CASES.len());
    let mut wrong = Vec::new();
    for (path, body, expected, parts) in CASES {
        let line = lines.iter().find(|line| line.path == PathText::Path((*path).to_owned())).unwrap();
        let class = match (line.class.as_str(), &line.reason) {
            ("quarantined", Some(reason)) => format!("quarantined:{reason}"),
            (class, _) => class.to_owned(),
        };
        let missing: Vec<_> = parts.iter().filter(|part| !export.contains(**part)).collect();
        if class != *expected || !missing.is_empty() {
            wrong.push(format!("{path} {body}\n  is {class}, not {expected}; {missing:?} is not in the export"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}\n{export}", wrong.len(), CASES.len(), wrong.join("\n"));
}

/// Path, content, and the notes that the report must have.
const NOTED: &[(&str, &str, &[&str])] = &[
    (
        "n/refused.json",
        r#"{"signal_id":"O1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.2,"take_profit":1.089,"user_id":"7","account_balance":7,"status":"fired"}"#,
        &["outcome_left_out"],
    ),
    (
        "n/nobody.json",
        r#"{"signal_id":"O2","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"account_balance":7,"status":"failed"}"#,
        &["outcome_left_out", "user_without_id"],
    ),
    (
        "n/whose.json",
        r#"{"signal_id":"O6","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"mt5_login":9}"#,
        &["user_without_id"],
    ),
    (
        "n/unclear.json",
        r#"{"signal_id":"O3","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"user_id":"7","account_balance":7,"ticket":9,"status":"active"}"#,
        &["outcome_unclear"],
    ),
    (
        "n/when.json",
        r#"{"signal_id":"O4","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"user_id":"7","account_balance":7,"fired_at":"just now","status":"fired"}"#,
        &["outcome_time_unclear"],
    ),
    (
        "n/expiry.json",
        r#"{"signal_id":"O5","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"expiry":"in an hour"}"#,
        &["expiry_unclear"],
    ),
    (
        "n/targets.json",
        r#"{"signal_id":"O7","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profits":[20,40]}"#,
        &["member_renamed"],
    ),
];

#[test]
fn what_is_not_taken_of_a_file_that_is_taken_is_noted() {
    let (lines, _) = import(NOTED.iter().map(|(path, body, _)| (*path, *body)));
    for (path, _, notes) in NOTED {
        let line = lines.iter().find(|line| line.path == PathText::Path((*path).to_owned())).unwrap();
        let missing: Vec<_> = notes.iter().filter(|note| !line.notes.iter().any(|own| own == **note)).collect();
        assert!(missing.is_empty(), "{path}: {missing:?} not in {:?}", line.notes);
    }
}

#[test]
fn what_is_a_users_own_is_not_in_the_signal_that_everybody_reads() {
    let body = r#"{"signal_id":"P1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"2025-07-16T05:50:49","session":"LONDON","user_id":"7","account_balance":7,"username":"ann","user_email":"ann@x.org","mt5_login":100,"api_token":"secret","ticket":5,"pnl":3,"users":{"8":{"tier":"FANG","account_balance":800}},"mission":{"title":"x","status":"fired","fired_at":"2025-07-16T05:51:00"}}"#;
    let (_, export) = import([("m/P1.json", body)]);
    let signal = export.lines().find(|line| line.starts_with("{\"signal\"")).unwrap();
    assert!(signal.contains(r#""session":"LONDON","mission":{"title":"x"}}"#), "{signal}");
    for own in ["ann", "100", "secret", "ticket", "pnl", "800", "fired"] {
        assert!(!signal.contains(own), "{own} in {signal}");
    }
    for own in [r#""username":"ann""#, r#""user_email":"ann@x.org""#, r#""mt5_login":100"#, r#""account_balance":800"#]
    {
        assert!(export.contains(own), "{own} not in {export}");
    }
}
