//! Files of shapes that no old service is known to have written: each is read right, or refused by the reason that says
//! what was missing. A number that may mean two things is never used.

use overlaid::legacy::report::PathText;
use tempfile::TempDir;

use crate::legacy::{Memory, import};
use crate::legacy_tree::write;

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
        "s/S02.json",
        r#"{"signal_id":"S02","pair":"EUR_USD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S02","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
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
        "s/S04.json",
        r#"{"signal_id":"S04","ticker":"EURUSD.r","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S04","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S05.json",
        r#"{"signal_id":"S05","symbol":"EURUSDm","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S05","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S06.json",
        r#"{"signal_id":"S06","symbol":"OANDA:EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S06","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S07.json",
        r#"{"signal_id":"S07","symbol":"EURUSD#","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S07","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S08.json",
        r#"{"signal_id":"S08","symbol":"EUR-USD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S08","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S09.json",
        r#"{"signal_id":"S09","currencyPair":"EUR/USD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S09","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S10.json",
        r#"{"signal_id":"S10","Symbol":"EURUSD.pro","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S10","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S11.json",
        r#"{"signal_id":"S11","symbol":"XAUUSDm","direction":"BUY","entry":3400,"sl":3395,"tp":3410,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[r#""symbol":"XAUUSD""#],
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
        "s/S14.json",
        r#"{"signal_id":"S14","symbol":"EURUSD","side":"long","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S14","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S15.json",
        r#"{"signal_id":"S15","symbol":"EURUSD","side":"B","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S15","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S16.json",
        r#"{"signal_id":"S16","symbol":"EURUSD","action":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S16","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S17.json",
        r#"{"signal_id":"S17","symbol":"EURUSD","type":"buy_limit","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S17","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S18.json",
        r#"{"signal_id":"S18","symbol":"EURUSD","orderType":"Buy Stop","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S18","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S19.json",
        r#"{"signal_id":"S19","symbol":"EURUSD","tradeType":"LONG","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S19","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
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
        "s/S24.json",
        r#"{"signal_id":"S24","symbol":"EURUSD","direction":"BUY","entry":1.085,"sl":1.083,"tp1":1.089,"tp2":1.091,"tp3":1.095,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S24","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S25.json",
        r#"{"signal_id":"S25","symbol":"EURUSD","direction":"BUY","entry":1.085,"sl":1.083,"targets":[1.089,1.091],"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S25","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S26.json",
        r#"{"signal_id":"S26","symbol":"EURUSD","direction":"BUY","entry":1.085,"stop_loss":{"price":1.083,"pips":20},"take_profit":{"price":1.089},"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S26","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S27.json",
        r#"{"signal_id":"S27","symbol":"EURUSD","direction":"BUY","prices":{"entry":1.085,"sl":1.083,"tp":1.089},"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S27","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S28.json",
        r#"{"signal_id":"S28","symbol":"EURUSD","direction":"BUY","trade":{"entry":1.085,"stop":1.083,"target":1.089},"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S28","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
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
        "s/S30.json",
        r#"{"signal_id":"S30","symbol":"EURUSD","direction":"BUY","open_price":1.085,"stoploss":1.083,"takeprofit":1.089,"created_at":"2025-07-16T05:50:49"}"#,
        "signal",
        &[
            r#""signal_id":"S30","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
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
        "s/S52.json",
        r#"{"signal_id":"S52","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"timestamp":1752645049000000}"#,
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
        "s/S56.json",
        r#"{"signal_id":"S56","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"timestamp":"2025.07.16 05:50:49"}"#,
        "signal",
        &[r#""created_at":"2025-07-16T05:50:49Z""#],
    ),
    (
        "s/S57.json",
        r#"{"signal_id":"S57","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"timestamp":"2025/07/16 05:50:49"}"#,
        "signal",
        &[r#""created_at":"2025-07-16T05:50:49Z""#],
    ),
    (
        "s/S58.json",
        r#"{"data":{"signal_id":"S58","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}}"#,
        "signal",
        &[
            r#""signal_id":"S58","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S59.json",
        r#"{"payload":{"data":{"signal_id":"S59","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}}}"#,
        "signal",
        &[
            r#""signal_id":"S59","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
    ),
    (
        "s/S60.json",
        r#"{"status":"ok","result":{"signal_id":"S60","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}}"#,
        "signal",
        &[
            r#""signal_id":"S60","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
        ],
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
        "s/S62.json",
        r#"{"order":{"signal_id":"S62","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49"}}"#,
        "signal",
        &[
            r#""signal_id":"S62","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089"#,
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
    ("users/7000000041/overlay.json", r#"{"balance":4001}"#, "overlay", &[r#""user_id":"7000000041""#]),
    ("user_overlays/7000000042.json", r#"{"balance":4002}"#, "overlay", &[r#""user_id":"7000000042""#]),
    ("o/nobody.json", r#"{"balance":4003}"#, "quarantined:no_user_id", &[]),
    (
        "r/map.json",
        r#"{"7000000051":{"tier":"FANG","balance":51},"7000000052":{"tier":"FANG","balance":52}}"#,
        "overlay",
        &[r#""account_balance":51"#, r#""account_balance":52"#],
    ),
    (
        "r/array.json",
        r#"{"users":[{"user_id":"7000000053","balance":53},{"user_id":"7000000054","balance":54}]}"#,
        "overlay",
        &[r#""account_balance":53"#, r#""account_balance":54"#],
    ),
    (
        "r/part.json",
        r#"{"users":[{"user_id":"7000000055","balance":55},{"balance":56}]}"#,
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
        "missions/7000000064/M3.json",
        r#"{"signal_id":"M3","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","balance":64}"#,
        "mission",
        &[r#""user_id":"7000000064""#],
    ),
    (
        "missions/20250716/M4.json",
        r#"{"signal_id":"M4","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-07-16T05:50:49","balance":65}"#,
        "signal",
        &[r#""signal_id":"M4""#],
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
            r#""ticket":777,"pnl":-12.5"#,
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
];

#[test]
fn other_shapes_are_read_right_or_refused_with_a_reason() {
    let mut wrong = Vec::new();
    for (path, body, expected, parts) in CASES {
        let root = TempDir::new().unwrap();
        write(root.path(), path, body);
        let mut target = Memory::default();
        let (tally, lines) = import(root.path(), &mut target, usize::MAX).unwrap();
        assert_eq!((tally.files, tally.classes.values().sum::<u64>()), (1, 1), "{path}");
        let line = lines.iter().find(|line| line.path == PathText::Path((*path).to_owned())).unwrap();
        let class = match (line.class.as_str(), &line.reason) {
            ("quarantined", Some(reason)) => format!("quarantined:{reason}"),
            (class, _) => class.to_owned(),
        };
        let export = target.export();
        let missing: Vec<_> = parts.iter().filter(|part| !export.contains(**part)).collect();
        if class != *expected || !missing.is_empty() {
            wrong.push(format!("{path} {body}\n  is {class}, not {expected}; {missing:?} is not in {export}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
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
];

#[test]
fn what_is_not_taken_of_a_file_that_is_taken_is_noted() {
    for (path, body, notes) in NOTED {
        let root = TempDir::new().unwrap();
        write(root.path(), path, body);
        let (_, lines) = import(root.path(), &mut Memory::default(), usize::MAX).unwrap();
        let noted = &lines.first().unwrap().notes;
        let missing: Vec<_> = notes.iter().filter(|note| !noted.iter().any(|own| own == **note)).collect();
        assert!(missing.is_empty(), "{path}: {missing:?} not in {noted:?}");
    }
}

#[test]
fn what_is_a_users_own_is_not_in_the_signal_that_everybody_reads() {
    let root = TempDir::new().unwrap();
    write(
        root.path(),
        "m/P1.json",
        r#"{"signal_id":"P1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"session":"LONDON","user_id":"7","account_balance":7,"username":"ann","user_email":"ann@x.org","mt5_login":100,"api_token":"secret","ticket":5,"pnl":3,"users":{"8":{"tier":"FANG","account_balance":800}},"mission":{"title":"x","status":"fired","fired_at":"2025-07-16T05:51:00"}}"#,
    );
    let mut target = Memory::default();
    import(root.path(), &mut target, usize::MAX).unwrap();
    let export = target.export();
    let signal = export.lines().next().unwrap();
    assert!(signal.contains(r#""session":"LONDON","mission":{"title":"x"}}"#), "{signal}");
    for own in ["ann", "100", "secret", "ticket", "pnl", "800", "fired"] {
        assert!(!signal.contains(own), "{own} in {signal}");
    }
    for own in [r#""username":"ann""#, r#""user_email":"ann@x.org""#, r#""mt5_login":100"#, r#""account_balance":800"#]
    {
        assert!(export.contains(own), "{own} not in {export}");
    }
}
