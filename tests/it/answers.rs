//! What clients see of every route: whole answers to a table of requests, good and hostile, as snapshots.
//!
//! Each group has a server of its own with the same few records, sends its requests in order over one connection, and
//! holds all answers against `answers/GROUP.snap`. [`exchange::Request`] says how a request is written.

mod exchange;

use std::path::Path;

use exchange::{Conversation, Request, shown};

use crate::kit::{Server, answers_to, run_token};

/// What every server begins with: an active signal, an expired one, one that has to be converted; users with dollars,
/// euros, yen and without a balance.
const RECORDS: &str = r#"
{"signal":{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"confidence":80,"created_at":"2020-01-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z","note":1.10}}
{"signal":{"signal_id":"S2","symbol":"XAUUSD","direction":"SELL","stop_pips":50,"target_pips":100,"created_at":"2020-01-01T00:00:00Z","expires_at":"2020-01-02T00:00:00Z"}}
{"signal":{"signal_id":"S3","symbol":"EURJPY","direction":"BUY","entry_price":172.895,"stop_loss":172.7221,"created_at":"2020-01-03T00:00:00Z","expires_at":"2099-06-01T00:00:00Z"}}
{"overlay":{"user_id":"7","tier":"FANG","risk_percent":2,"account_balance":10000,"win_rate":71.5,"trades_remaining":8,"updated_at":"2020-01-01T00:00:00Z","name":"Ann"}}
{"overlay":{"user_id":"8","tier":"FANG","risk_percent":3,"account_balance":15000,"account_currency":"EUR","updated_at":"2020-01-01T00:00:00Z"}}
{"overlay":{"user_id":"9","tier":"NIBBLER","updated_at":"2020-01-01T00:00:00Z"}}
{"overlay":{"user_id":"-100","risk_percent":1,"account_balance":5000000,"account_currency":"JPY","updated_at":"2020-01-01T00:00:00Z"}}
{"rate":{"pair":"USDJPY","price":148.5,"updated_at":"2020-01-01T00:00:00Z"}}
{"outcome":{"signal_id":"S1","user_id":"8","status":"fired","at":"2020-01-01T01:00:00Z","ticket":"1"}}
"#;

/// Starts a server on the records, and on what is in the folder already.
fn serve(folder: &Path) -> Server {
    Server::with_records(folder, RECORDS, &[])
}

/// Requests of a table, without blank lines.
fn lines(table: &str) -> impl Iterator<Item = &str> {
    table.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// Holds all answers of a group against its snapshot.
fn hold(group: &str, answers: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("answers");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(group, answers));
}

/// Sends the requests of a table in order, each with the same more header fields; returns them with their answers.
fn ask(conversation: &mut Conversation, table: &str, more_fields: &str) -> String {
    let asked = lines(table).map(|line| format!("> {line}\n{}\n", conversation.ask(&Request { line, more_fields })));
    asked.collect::<Vec<_>>().concat()
}

/// Sends the requests of a table in order and holds the answers against the group's snapshot.
fn check(group: &str, table: &str) {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    hold(group, &ask(&mut Conversation::with(server.address), table, ""));
}

#[test]
fn views_are_answered_as_recorded() {
    check(
        "views",
        "
        GET /v1/users/7/missions/S1
        GET /v1/users/7/missions/S1
        GET /v1/users/8/missions/S1
        GET /v1/users/9/missions/S1
        GET /v1/users/-100/missions/S1
        GET /v1/users/7/missions/S2
        GET /v1/users/7/missions/S3
        GET /v1/users/8/missions/S3
        GET /v1/users/-100/missions/S3
        GET /v1/users/%37/missions/S%31
        GET /v1/users/nobody/missions/S1
        GET /v1/users/7/missions/none
        GET /v1/users/nobody/missions/none
        PATCH /v1/users/7/overlay  {\"account_balance\":123.45}
        GET /v1/users/7/missions/S1
        PUT /v1/users/7/outcomes/S1  {\"status\":\"failed\"}
        GET /v1/users/7/missions/S1
        PUT /v1/rates/USDJPY  {\"price\":150}
        GET /v1/users/7/missions/S3
        GET /v1/users/8/missions/S1/explanation
        GET /v1/users/9/missions/S2/explanation
        GET /v1/users/-100/missions/S3/explanation  accept: text/plain
        GET /v1/users/7/missions/S1/explanation  accept: text/plain;q=0.5, application/json
        GET /v1/users/nobody/missions/S1/explanation
        GET /v1/users/7/missions/none/explanation
        ",
    );
}

#[test]
fn lists_are_answered_as_recorded() {
    check(
        "lists",
        "
        GET /v1/users/7/missions
        GET /v1/users/7/missions?status=active&limit=1
        GET /v1/users/7/missions?status=active&limit=1&cursor=4070908800000.1
        GET /v1/users/8/missions?status=fired
        GET /v1/users/8/missions?status=failed
        GET /v1/users/8/missions?status=expired
        GET /v1/users/9/missions?status=all
        GET /v1/users/9/missions?status=all&limit=2
        GET /v1/users/9/missions?status=all&cursor=2
        GET /v1/users/7/missions?parts=mission&tradable=true
        GET /v1/users/8/missions?status=all&tradable=true
        GET /v1/users/7/missions?parts=signal
        GET /v1/users/nobody/missions
        GET /v1/signals/S1/missions
        GET /v1/signals/S1/missions?limit=2
        GET /v1/signals/S1/missions?limit=2&cursor=7
        GET /v1/signals/S1/missions?cursor=9
        GET /v1/signals/S1/missions?tier=FANG
        GET /v1/signals/S1/missions?tier=predator
        GET /v1/signals/S1/missions?tier=none
        GET /v1/signals/S1/missions?users=8,nobody,7
        GET /v1/signals/S1/missions?users=8,9&tier=FANG
        GET /v1/signals/S1/missions?users=nobody
        GET /v1/signals/S1/missions?parts=mission&limit=2
        GET /v1/signals/S1/missions?parts=mission&users=8,nobody
        GET /v1/signals/S1/missions?tradable=true&limit=1
        GET /v1/signals/S1/missions?tradable=true&parts=mission  accept: application/x-ndjson
        GET /v1/signals/S1/missions?tradable=false
        GET /v1/signals/S1/missions  accept: application/x-ndjson
        GET /v1/signals/S1/missions?tier=FANG  accept: application/x-ndjson
        GET /v1/signals/S1/missions?users=9,8  accept: application/x-ndjson
        GET /v1/signals/none/missions
        GET /v1/signals/S1/summary
        GET /v1/signals/S2/summary
        GET /v1/signals/none/summary
        GET /v1/signals/S1/summary?tier=FANG
        GET /v1/signals
        GET /v1/signals?status=active
        GET /v1/signals?status=active&limit=1
        GET /v1/signals?status=active&limit=1&cursor=4070908800000.1
        GET /v1/signals?status=expired
        GET /v1/signals?status=all&limit=1
        GET /v1/signals?limit=1&cursor=3
        GET /v1/signals?symbol=eur/usd
        GET /v1/signals?symbol=GBPUSD
        GET /v1/rates
        GET /v1/users
        GET /v1/users?limit=2
        GET /v1/users?limit=2&cursor=7
        GET /v1/users?prefix=-
        GET /v1/users?prefix=8&cursor=7
        GET /v1/users?prefix=8&cursor=8
        GET /v1/users?prefix=nobody
        GET /v1/users?tier=fang
        GET /v1/users?tier=none
        ",
    );
}

#[test]
fn signals_are_published_and_patched_as_recorded() {
    check(
        "signals",
        r#"
        GET /v1/signals/S1
        GET /v1/signals/none
        PUT /v1/signals/N1  {"symbol":"gbp/usd","direction":"SELL","stop_pips":20,"created_at":"2020-01-01T00:00:00Z","expires_at":4070908800,"x":{"a":[1.10]}}
        PUT /v1/signals/N1  {"symbol":"gbp/usd","direction":"SELL","stop_pips":20,"created_at":"2020-01-01T00:00:00Z","expires_at":4070908800,"x":{"a":[1.10]}}
        PUT /v1/signals/N1  {"symbol":"GBPUSD","direction":"BUY","stop_pips":20}
        PUT /v1/signals/N2  {"symbol":"EURUSD","direction":"BUY","entry_price":"1.0850","stop_loss":1.083}
        PUT /v1/signals/N3  {"signal_id":"N4","symbol":"EURUSD","direction":"BUY","stop_pips":20}
        PUT /v1/signals/N3  {}
        PUT /v1/signals/N3  {"symbol":"EUR USD"}
        PUT /v1/signals/N3  {"symbol":"EURUSD","direction":"UP"}
        PUT /v1/signals/N3  {"symbol":"EURUSD","direction":"BUY"}
        PUT /v1/signals/N3  {"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.087}
        PUT /v1/signals/N3  {"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.08}
        PUT /v1/signals/N3  {"symbol":"EURUSD","direction":"BUY","stop_pips":0}
        PUT /v1/signals/N3  {"symbol":"EURUSD","direction":"BUY","stop_pips":20,"confidance":1}
        PUT /v1/signals/N3  {"symbol":"EURUSD","direction":"BUY","stop_pips":20,"expires_at":"soon"}
        PUT /v1/signals/N3  {"symbol":"EURUSD","direction":"BUY","stop_pips":20,"created_at":"2020-01-02T00:00:00Z","expires_at":"2020-01-01T00:00:00Z"}
        GET /v1/signals/N3
        PATCH /v1/signals/S1  {"confidence":90.5,"note":null,"more":"yes"}
        PATCH /v1/signals/S1  {"confidence":90.5}
        PATCH /v1/signals/S1  {}
        PATCH /v1/signals/S1  {"confidence":900}
        PATCH /v1/signals/S1  {"stop_loss":1.09}
        PATCH /v1/signals/S1  {"symbol":null}
        PATCH /v1/signals/none  {"confidence":1}
        DELETE /v1/signals/S1
        PUT /v1/signals/N3  {"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"target_pips":40}
        "#,
    );
}

#[test]
fn overlays_are_put_patched_and_deleted_as_recorded() {
    check(
        "overlays",
        r#"
        GET /v1/users/7/overlay
        GET /v1/users/nobody/overlay
        PUT /v1/users/20/overlay  {"tier":"press pass","account_balance":"100.50","updated_at":"2020-01-01T00:00:00Z","x":1.0}
        GET /v1/users/20/overlay
        PUT /v1/users/20/overlay  {"account_balance":7,"updated_at":"2020-01-01T00:00:00Z"}
        GET /v1/users/20/overlay
        PUT /v1/users/20/overlay  {}
        GET /v1/users/20/overlay
        PUT /v1/users/-5/overlay  {"user_id":"-5"}
        PUT /v1/users/20/overlay  {"user_id":"21"}
        PUT /v1/users/20/overlay  {"risk_percent":101}
        PUT /v1/users/20/overlay  {"account_balance":-1}
        PUT /v1/users/20/overlay  {"acount_balance":1}
        PUT /v1/users/20/overlay  {"tier":"*"}
        PATCH /v1/users/7/overlay  {"account_balance":12000.5,"win_rate":null}
        PATCH /v1/users/7/overlay  {"account_balance":12000.50}
        PATCH /v1/users/7/overlay  {}
        PATCH /v1/users/7/overlay  content-type: application/merge-patch+json  {"trades_remaining":3,"name":"Bob"}
        PATCH /v1/users/7/overlay  {"trades_remaining":1.5}
        PATCH /v1/users/7/overlay  {"account_currency":"$"}
        PATCH /v1/users/7/overlay  {"user_id":"8"}
        PATCH /v1/users/nobody/overlay  {"account_balance":1}
        PATCH /v1/users/nobody/overlay  {"acount_balance":1}
        GET /v1/users/7/overlay
        DELETE /v1/users/7/overlay
        DELETE /v1/users/7/overlay
        GET /v1/users/7/overlay
        "#,
    );
}

#[test]
fn outcomes_and_rates_are_put_as_recorded() {
    check(
        "outcomes-and-rates",
        r#"
        GET /v1/users/8/outcomes/S1
        GET /v1/users/7/outcomes/S1
        GET /v1/users/8/outcomes/none
        PUT /v1/users/7/outcomes/S1  {"status":"fired","at":"2020-01-01T02:00:00Z","ticket":7}
        GET /v1/users/7/outcomes/S1
        PUT /v1/users/7/outcomes/S1  {"status":"failed","at":"2020-01-01T03:00:00Z"}
        GET /v1/users/7/outcomes/S1
        PUT /v1/users/7/outcomes/S1  {"status":"won"}
        PUT /v1/users/7/outcomes/S1  {}
        PUT /v1/users/7/outcomes/S1  {"status":"fired","user_id":"8"}
        PUT /v1/users/7/outcomes/none  {"status":"fired"}
        PUT /v1/users/nobody/outcomes/S1  {"status":"fired","at":"2020-01-01T02:00:00Z"}
        GET /v1/rates/USDJPY
        GET /v1/rates/usd%2Fjpy
        GET /v1/rates/GBPUSD
        PUT /v1/rates/gbp-usd  {"price":1.3401,"updated_at":"2020-01-01T00:00:00Z"}
        GET /v1/rates/GBPUSD
        PUT /v1/rates/USDT-USD  {"price":"1","updated_at":"2020-01-01T00:00:00Z"}
        PUT /v1/rates/GBPUSD  {"price":0}
        PUT /v1/rates/GBPUSD  {"prize":1}
        PUT /v1/rates/GBPUSD  {"price":1,"pair":"EURUSD"}
        PUT /v1/rates/BAD  {"price":1}
        GET /v1/rates
        "#,
    );
}

#[test]
fn signals_without_an_id_are_published_as_recorded() {
    check(
        "posts",
        r#"
        POST /v1/signals  {"symbol":"eur/usd","direction":"BUY","stop_pips":20,"created_at":"2020-05-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z"}
        POST /v1/signals  {"symbol":"EURUSD","direction":"buy","stop_pips":"20.0","created_at":1588291200,"expires_at":"2099-01-01T00:00:00Z"}
        POST /v1/signals  {"symbol":"EURUSD","direction":"SELL","stop_pips":20,"created_at":"2020-05-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z"}
        PATCH /v1/signals/EURUSD-20200501T000000Z-2  {"status":"cancelled","stop_pips":30}
        POST /v1/signals  {"symbol":"EURUSD","direction":"SELL","stop_pips":20,"created_at":"2020-05-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z"}
        PUT /v1/signals/EURUSD-20200501T000000Z-2  {"symbol":"EURUSD","direction":"SELL","stop_pips":20,"created_at":"2020-05-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z"}
        POST /v1/signals  {"symbol":"US30#","direction":"SELL","stop_pips":20,"created_at":1588291200.5,"expires_at":"2099-01-01T00:00:00Z"}
        POST /v1/signals  {"signal_id":null,"symbol":"US30#","direction":"SELL","stop_pips":20,"created_at":"2020-05-01T00:00:00.5Z","expires_at":"2099-01-01T00:00:00Z"}
        POST /v1/signals  {"signal_id":"N1","symbol":"EURUSD","direction":"BUY","stop_pips":20,"created_at":"2020-05-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z"}
        POST /v1/signals  {"symbol":"EURUSD","direction":"BUY","stop_pips":20,"created_at":"2020-05-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z"}
        POST /v1/signals  {"signal_id":"N1","symbol":"EURUSD","direction":"BUY","stop_pips":20}
        POST /v1/signals  {"signal_id":"N1","symbol":"EURUSD","direction":"BUY","stop_pips":21}
        POST /v1/signals  {"signal_id":"a b","symbol":"EURUSD","direction":"BUY","stop_pips":21}
        POST /v1/signals  {"symbol":"EURUSD","direction":"BUY","stop_pips":20,"created_at":"2020.05.01 00:00"}
        POST /v1/signals  {"symbol":"EURUSD","direction":"BUY","stop_pips":20,"created_at":1588291200000}
        POST /v1/signals  {"symbol":"EURUSD","direction":"BUY"}
        POST /v1/signals  {}
        POST /v1/signals  []
        POST /v1/signals
        POST /v1/signals?x=1  {}
        POST /v1/signals  content-type: text/plain  {"symbol":"EURUSD","direction":"BUY","stop_pips":20}
        GET /v1/signals?symbol=EURUSD
        DELETE /v1/signals
        "#,
    );
}

#[test]
fn imports_are_answered_line_by_line_as_recorded() {
    check(
        "imports",
        r#"
        POST /v1/import  content-type: application/x-ndjson  = {"overlay":{"user_id":"30","account_balance":1}}\n
        POST /v1/import  content-type: application/x-ndjson  = {"overlay":{"user_id":"30","account_balance":2,"updated_at":"2020-01-01T00:00:00Z"}}\n{"rate":{"pair":"USDJPY","price":148.5}}\n{"rate":{"pair":"EURGBP","price":0.85}}
        POST /v1/import  content-type: application/ndjson  = \n\n{"signal":{"signal_id":"I1","symbol":"EURUSD","direction":"BUY","stop_pips":20}}\n{"outcome":{"signal_id":"I1","user_id":"30","status":"fired"}}\n
        POST /v1/import  content-type: application/jsonl  = {"overlay":{"user_id":"a b"}}\nnot json\n{}\n{"mission":{}}\n{"overlay":[]}\n{"outcome":{"signal_id":"none","user_id":"7","status":"fired"}}\n{"signal":{"signal_id":"S1","symbol":"EURUSD","direction":"SELL","stop_pips":20}}\n{"rate":{"pair":"X","price":1}}\n{"sample_time":"2020-01-01T00:00:00Z"}\n{"sample_time":5.5}
        POST /v1/import  content-type: application/x-ndjson  = {"overlay":{"user_id":"31","note":"<70000>"}}\n{"overlay":{"user_id":"32"}}\n
        POST /v1/import  content-type: application/x-ndjson  =
        POST /v1/import  {"overlay":{"user_id":"33"}}
        POST /v1/import  content-type: none  = {"overlay":{"user_id":"33"}}
        POST /v1/import?x=1  content-type: application/x-ndjson  = {"overlay":{"user_id":"33"}}
        POST /v1/import?existing=keep  content-type: application/x-ndjson  = {"overlay":{"user_id":"30","account_balance":9}}
        POST /v1/import?existing=drop  content-type: application/x-ndjson  = {"overlay":{"user_id":"30","account_balance":9}}
        POST /v1/import  content-type: application/x-ndjson  content-encoding: gzip  = {"overlay":{"user_id":"33"}}
        GET /v1/import
        GET /v1/users/30/overlay
        GET /v1/users/33/overlay
        "#,
    );
}

#[test]
fn the_operators_routes_are_answered_as_recorded() {
    check(
        "operation",
        "
        GET /healthz
        GET /readyz
        GET /metrics
        GET /metrics  accept: application/openmetrics-text; version=1.0.0
        GET /metrics  accept: text/plain
        GET /openapi.json
        POST /v1/admin/backup
        GET /readyz
        GET /v1/admin/backup
        GET /v1/export
        HEAD /v1/export
        POST /v1/admin/prune
        POST /v1/admin/prune?before=yesterday
        POST /v1/admin/prune?before=2999-01-01T00:00:00Z
        POST /v1/admin/prune?before=2020-01-01T00:00:00Z
        POST /v1/admin/prune?before=2020-01-01
        POST /v1/admin/prune?before=4000d
        POST /v1/admin/prune?before=1577836800
        HEAD /healthz
        HEAD /openapi.json
        ",
    );
}

#[test]
fn changes_are_told_as_recorded() {
    check(
        "changes",
        "
        GET /v1/changes
        HEAD /v1/changes
        GET /v1/changes?since=nonsense
        GET /v1/changes?since=1-1&wait=50
        GET /v1/changes?wait=0
        GET /v1/changes?wait=51
        GET /v1/changes?wait=soon
        GET /v1/changes?limit=0
        GET /v1/changes?limit=1001
        GET /v1/changes?sinse=1-1
        GET /v1/changes?wait=1  accept: text/event-stream
        GET /v1/changes  accept: text/event-stream;q=0.5, application/json
        POST /v1/changes  {}
        ",
    );
}

/// Every route under every kind of token.
#[test]
fn tokens_allow_what_was_recorded() {
    const ROUTES: &str = r#"
        GET /v1/users/7/missions/S1
        GET /v1/users/8/missions/S1
        GET /v1/users/7/missions/S2/explanation  accept: text/plain
        GET /v1/users/8/missions/S2/explanation  accept: text/plain
        GET /v1/users/7/missions?status=expired
        GET /v1/users/8/missions?status=expired
        GET /v1/signals/S2/missions
        GET /v1/signals/S2/summary
        GET /v1/signals?status=expired
        GET /v1/signals/S2
        PUT /v1/signals/!  {}
        PATCH /v1/signals/S2  {}
        GET /v1/users?prefix=8
        GET /v1/users/7/overlay
        GET /v1/users/8/overlay
        PUT /v1/users/40/overlay  {"updated_at":"2020-01-01T00:00:00Z"}
        PATCH /v1/users/7/overlay  {"name":"Ann"}
        DELETE /v1/users/41/overlay
        GET /v1/users/8/outcomes/S1
        PUT /v1/users/7/outcomes/none  {"status":"fired"}
        GET /v1/rates
        GET /v1/rates/USDJPY
        GET /v1/changes
        PUT /v1/rates/BAD  {"price":1}
        POST /v1/import  content-type: application/x-ndjson  = {"overlay":{"user_id":"40","updated_at":"2020-01-01T00:00:00Z"}}
        GET /v1/export?x=1
        GET /v1/stats?x=1
        GET /v1/admin/doctor?x=1
        POST /v1/admin/backup?x=1
        POST /v1/admin/prune
        POST /v1/admin/tokens  {"scopes":["root"]}
        GET /v1/admin/tokens?x=1
        DELETE /v1/admin/tokens?x=1
        DELETE /v1/admin/tokens/none
        GET /healthz
        GET /readyz
        GET /metrics?x=1
        GET /v1/nowhere
        POST /v1/rates
    "#;
    let folder = tempfile::tempdir().unwrap();
    let token = |command: &[&str]| run_token(folder.path(), command);
    let mint = |scopes: &[&str]| {
        let scopes = scopes.iter().flat_map(|scope| ["--scope", scope]);
        token(&[&["create"], &*scopes.collect::<Vec<_>>()].concat())
    };
    let revoked = mint(&["admin"]);
    token(&["revoke", revoked.split('_').nth(1).unwrap()]);
    let read = mint(&["read"]);
    let callers = [
        ("no token", String::new()),
        ("a revoked token", format!("authorization: Bearer {revoked}\r\n")),
        ("half a token", format!("authorization: Bearer {}\r\n", &read[..40])),
        ("another scheme", format!("authorization: Basic {read}\r\n")),
        ("read", format!("authorization: Bearer {read}\r\n")),
        ("read:7", format!("authorization: bearer  {}\r\n", mint(&["read:7"]))),
        ("write", format!("authorization: Bearer {}\r\n", mint(&["write"]))),
        ("read:7 and write", format!("authorization: Bearer {}\r\n", mint(&["read:7", "write"]))),
        ("admin", format!("authorization: Bearer {}\r\n", mint(&["admin"]))),
    ];
    let server = serve(folder.path());
    let mut connection = Conversation::with(server.address);
    let answers = callers
        .iter()
        .map(|(caller, more_fields)| format!("=== {caller}\n\n{}", ask(&mut connection, ROUTES, more_fields)));
    hold("scopes", &answers.collect::<String>());
}

#[test]
fn conditions_are_honoured_as_recorded() {
    check(
        "conditions",
        r#"
        GET /v1/users/7/missions/S1
        GET /v1/users/7/missions/S1  if-none-match: TAG
        GET /v1/users/7/missions/S1  if-none-match: "x", TAG
        GET /v1/users/7/missions/S1  if-none-match: *
        GET /v1/users/7/missions/S1  if-none-match: "x"
        GET /v1/users/7/missions/S1  if-none-match: nonsense
        GET /v1/users/7/missions/S1  if-none-match: "x"  if-none-match: TAG
        GET /v1/users/nobody/missions/S1  if-none-match: *
        GET /v1/signals/S1
        GET /v1/signals/S1  if-none-match: TAG
        GET /v1/signals/S1  if-none-match: W/TAG
        GET /v1/signals/S1  if-match: "x"
        GET /v1/signals/S1  if-modified-since: Fri, 01 Jan 2100 00:00:00 GMT
        PATCH /v1/signals/S1  if-match: TAG  {"confidence":81}
        PATCH /v1/signals/S1  if-match: "x"  {"confidence":82}
        PATCH /v1/signals/S1  if-match: *  {"confidence":83}
        PATCH /v1/signals/S1  if-match: nonsense  {"confidence":84}
        PATCH /v1/signals/none  if-match: *  {"confidence":84}
        PUT /v1/signals/S1  if-none-match: *  {"symbol":"EURUSD","direction":"BUY","stop_pips":20}
        GET /v1/users/7/overlay
        GET /v1/users/7/overlay  if-none-match: TAG
        PATCH /v1/users/7/overlay  if-match: TAG  {"account_balance":1}
        PATCH /v1/users/7/overlay  if-match: "x", "y"  {"account_balance":2}
        PATCH /v1/users/7/overlay  if-match: *  {"account_balance":3}
        PATCH /v1/users/7/overlay  if-match: "a b"  {"account_balance":4}
        PATCH /v1/users/7/overlay  if-match: W/TAG  {"account_balance":5}
        PATCH /v1/users/nobody/overlay  if-match: *  {"account_balance":6}
        PUT /v1/users/7/overlay  if-none-match: *  {"account_balance":7}
        PUT /v1/users/7/overlay  if-none-match: "x"  {"account_balance":8,"updated_at":"2020-01-01T00:00:00Z"}
        PUT /v1/users/7/overlay  if-none-match: TAG  {"account_balance":9}
        PUT /v1/users/50/overlay  if-match: *  {"account_balance":10}
        PUT /v1/users/50/overlay  if-none-match: *  {"account_balance":11}
        DELETE /v1/users/50/overlay  if-match: "x"
        DELETE /v1/users/50/overlay  if-match: *
        DELETE /v1/users/50/overlay  if-match: *
        GET /v1/users/8/outcomes/S1
        GET /v1/users/8/outcomes/S1  if-none-match: TAG
        GET /v1/rates/USDJPY
        GET /v1/rates/USDJPY  if-none-match: TAG
        GET /v1/rates  if-none-match: *
        GET /healthz  if-none-match: *
        "#,
    );
}

#[test]
fn clients_get_the_form_that_they_prefer_as_recorded() {
    check(
        "encodings",
        "
        GET /v1/signals/S1/missions  accept-encoding: gzip
        GET /v1/signals/S1/missions  accept-encoding: zstd
        GET /v1/signals/S1/missions  accept-encoding: gzip, zstd
        GET /v1/signals/S1/missions  accept-encoding: gzip;q=1, zstd;q=0.5
        GET /v1/signals/S1/missions?limit=1  accept-encoding: gzip;q=0
        GET /v1/signals/S1/missions?limit=1  accept-encoding: identity;q=0
        GET /v1/signals/S1/missions?limit=1  accept-encoding: br
        GET /v1/signals/S1/missions?limit=1  accept-encoding: *
        GET /v1/signals/S1/missions?limit=1  accept-encoding:
        GET /v1/signals/S1/missions  accept: application/x-ndjson  accept-encoding: gzip
        GET /v1/signals/none/missions  accept-encoding: gzip
        GET /v1/users/7/missions?status=all  accept-encoding: gzip
        GET /v1/users/7/missions/S1  accept-encoding: gzip
        GET /v1/signals  accept-encoding: gzip
        HEAD /v1/signals/S1/missions  accept-encoding: gzip
        GET /v1/signals/S1/missions?tier=NIBBLER  accept: application/x-ndjson, application/json;q=0.9
        GET /v1/signals/S1/missions?tier=NIBBLER  accept: application/x-ndjson;q=0.1, application/json
        GET /v1/signals/S1/missions?tier=NIBBLER  accept: application/x-ndjson;q=0
        GET /v1/signals/S1/missions?tier=NIBBLER  accept: text/html
        GET /v1/signals/S1/missions?tier=NIBBLER  accept: */*
        ",
    );
}

#[test]
fn queries_are_read_strictly_as_recorded() {
    check(
        "queries",
        "
        GET /v1/signals?
        GET /v1/signals?&&limit=1&
        GET /v1/signals?limt=5
        GET /v1/signals?=5
        GET /v1/signals?limit
        GET /v1/signals?limit=
        GET /v1/signals?limit=0
        GET /v1/signals?limit=1001
        GET /v1/signals?limit=-1
        GET /v1/signals?limit=ten
        GET /v1/signals?limit=1.0
        GET /v1/signals?limit=99999999999999999999999
        GET /v1/signals?limit=1&limit=2
        GET /v1/signals?limit=1&limi%74=2
        GET /v1/signals?limi%74=1
        GET /v1/signals?status=dead
        GET /v1/signals?status=
        GET /v1/signals?status=fired
        GET /v1/signals?symbol=%00
        GET /v1/signals?symbol=EUR+USD
        GET /v1/signals?symbol=%ff
        GET /v1/signals?symbol=%zz
        GET /v1/signals?%zz=1
        GET /v1/signals?cursor=x
        GET /v1/signals?status=active&cursor=1
        GET /v1/signals?<300>=1
        GET /v1/users/7/missions?status=dead
        GET /v1/users/7/missions?symbol=EURUSD
        GET /v1/users/7/missions?cursor=x
        GET /v1/signals/S1/missions?tier=*
        GET /v1/signals/S1/missions?users=
        GET /v1/signals/S1/missions?users=7,,8
        GET /v1/signals/S1/missions?users=7&limit=1
        GET /v1/signals/S1/missions?cursor=a%00b
        GET /v1/signals/S1/missions?limit=1  accept: application/x-ndjson
        GET /v1/signals/none/missions?limit=0
        GET /v1/users/7/missions/S1?x=1
        GET /v1/users/7/overlay?x=1
        PUT /v1/users/7/overlay?x=1  {}
        PATCH /v1/users/7/overlay?x=1  {}
        DELETE /v1/users/7/overlay?x=1
        GET /v1/signals/S1?x=1
        GET /v1/rates?x=1
        GET /v1/rates/USDJPY?x=1
        GET /healthz?x=1
        GET /readyz?x=1
        GET /metrics?x=1
        GET /openapi.json?x=1
        POST /v1/admin/backup?x=1
        ",
    );
}

#[test]
fn paths_ids_and_methods_are_checked_as_recorded() {
    check(
        "paths",
        "
        GET /index.html
        GET //
        GET /v1
        GET /v1/
        GET /v2/signals
        GET /v1/signals/
        GET /v1/users/7
        GET /v1/users//overlay
        GET /v1/users/7/overlay/
        GET /v1/signals/a/b/c
        GET /<200>
        GET /v1/users/a%2Fb/overlay
        GET /v1/users/%00/overlay
        GET /v1/users/../overlay
        GET /v1/users/%2e%2e/missions/S1
        GET /v1/users/7/missions/%ff%fe
        GET /v1/users/7/missions/a%20b
        GET /v1/users/7/missions/a%zz
        GET /v1/users/7/missions/caf%C3%A9
        GET /v1/users/<129>/overlay
        GET /v1/users/!/missions/!
        PUT /v1/signals/a%20b  {}
        PUT /v1/users/7/outcomes/!  {\"status\":\"fired\"}
        GET /v1/rates/eur
        GET http://localhost/v1/rates
        POST /v1/signals/S1  {}
        DELETE /v1/rates/USDJPY
        BREW /v1/users/7/overlay
        get /v1/users/7/overlay
        TRACE /v1/import
        OPTIONS /v1/users/7/overlay
        OPTIONS *
        HEAD /v1/users/7/missions/S1
        HEAD /v1/users/nobody/overlay
        HEAD /v1/signals?limit=1
        HEAD /v1/import
        ",
    );
}

#[test]
fn bodies_are_read_strictly_as_recorded() {
    check(
        "bodies",
        r#"
        PUT /v1/users/60/overlay
        PUT /v1/users/60/overlay  =
        PUT /v1/users/60/overlay  = {
        PUT /v1/users/60/overlay  = {"account_balance":
        PUT /v1/users/60/overlay  [1]
        PUT /v1/users/60/overlay  = "text"
        PUT /v1/users/60/overlay  = null
        PUT /v1/users/60/overlay  {"account_balance":NaN}
        PUT /v1/users/60/overlay  {"account_balance":Infinity}
        PUT /v1/users/60/overlay  {"account_balance":1e999}
        PUT /v1/users/60/overlay  {"account_balance":1}}
        PUT /v1/users/60/overlay  {"a":1,"a":1}
        PUT /v1/users/60/overlay  {"x":{"a":1,"\u0061":1}}
        PUT /v1/users/60/overlay  {"x":"\ud800"}
        PUT /v1/users/60/overlay  {"note":"<70000>"}
        PUT /v1/users/60/overlay  {"note":"<65520>"}
        PUT /v1/users/60/overlay  content-type: none  {}
        PUT /v1/users/60/overlay  content-type: text/plain  {}
        PUT /v1/users/60/overlay  content-type: application/jsonx  {}
        PUT /v1/users/60/overlay  content-type: application/merge-patch+json  {}
        PUT /v1/users/60/overlay  content-type: application/json; charset=utf-16  {}
        PUT /v1/users/60/overlay  content-encoding: gzip  {}
        PUT /v1/users/60/overlay  expect: 200-ok  {"user_id":"61"}
        GET /v1/users/60/overlay
        PUT /v1/users/60/overlay  content-type: Application/JSON ; Charset="UTF-8"  {"updated_at":"2020-01-01T00:00:00Z"}
        PUT /v1/users/60/overlay  content-encoding: identity  {"updated_at":"2020-01-01T00:00:00Z"}
        PATCH /v1/users/60/overlay  content-type: text/plain  {}
        PATCH /v1/users/60/overlay  []
        GET /v1/users/60/overlay  {"a":"body that nobody reads"}
        DELETE /v1/users/60/overlay  {"a":"body that nobody reads"}
        GET /v1/users/60/overlay
        "#,
    );
}

#[test]
fn hosts_origins_and_proxies_are_answered_as_recorded() {
    check(
        "hosts",
        r#"
        GET /v1/rates  host: localhost
        GET /v1/rates  host: LOCALHOST:7717
        GET /v1/rates  host: 127.0.0.1:7717
        GET /v1/rates  host: 127.8.9.1
        GET /v1/rates  host: [::1]:7717
        GET /v1/rates  host: localhost.
        GET /v1/rates  host: 0.0.0.0
        GET /v1/rates  host: [::]
        GET /v1/rates  host: example.org
        GET /v1/rates  host: localhost.example.org
        GET /v1/rates  host: 127.0.0.1.example.org
        GET /v1/rates  host: 10.0.0.1:7717
        GET /v1/rates  host:
        GET /v1/rates  host: a b
        GET /v1/rates  host: localhost:abc
        GET /v1/rates  host: localhost:99999
        GET http://localhost:99999/v1/rates  host: localhost
        GET /v1/rates  host: localhost  host: localhost
        GET http://example.org/v1/rates  host: localhost
        GET /v1/rates  origin: http://localhost
        GET /v1/rates  host: localhost:7717  origin: http://localhost:7717
        GET /v1/rates  host: localhost:7717  origin: http://localhost:3000
        GET /v1/rates  origin: null
        GET /v1/rates  origin: http://evil.example
        GET /v1/rates  forwarded: for=10.0.0.1
        GET /v1/rates  x-forwarded-for: 10.0.0.1
        GET /v1/rates  x-forwarded-host: example.org
        PATCH /v1/users/7/overlay  host: evil.example  {"account_balance":1}
        POST /v1/admin/backup?x=1  origin: http://evil.example
        POST /v1/import  origin: http://evil.example  content-type: application/x-ndjson  = {"overlay":{"user_id":"70"}}
        GET /nowhere  host: evil.example
        GET /readyz  host: evil.example
        GET /healthz  host: evil.example
        GET /healthz  x-forwarded-for: 10.0.0.1  origin: http://evil.example
        GET /v1/users/7/overlay
        "#,
    );
}

/// Bytes as they are, each on a connection of its own that then says no more.
#[test]
fn connections_are_used_as_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    let rate = "GET /v1/rates/USDJPY HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let put = "PUT /v1/rates/USDJPY HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let many_fields = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    let requests = [
        "",
        "\r\n\r\n",
        "GET /v1/rates/USDJPY HTTP/1.0\r\n\r\n",
        "GET /v1/rates/USDJPY HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        "HEAD /v1/rates/USDJPY HTTP/1.0\r\nhost: localhost\r\n\r\n",
        "GET /v1/rates/USDJPY HTTP/1.0\r\nhost: localhost\r\nhost: localhost\r\n\r\n",
        "GET /v1/signals/S1/missions?tier=NIBBLER HTTP/1.0\r\naccept: application/x-ndjson\r\n\r\n",
        "GET /v1/signals/S1/missions HTTP/1.0\r\naccept-encoding: gzip\r\n\r\n",
        "GET /v1/rates/USDJPY HTTP/1.1\r\n\r\n",
        "GET /v1/rates/USDJPY HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        &rate.repeat(3),
        &[rate, &rate.replace("GET", "HEAD"), &rate.replace("USDJPY", "NOPAIR"), &rate.replace("GET", "BREW"), rate]
            .concat(),
        &[rate, "nonsense\r\n\r\n", rate].concat(),
        &[rate, "GET /v1/rates/USD"].concat(),
        &[put, "content-length: 15\r\n\r\n{\"price\":148.5}", rate].concat(),
        &[put, "transfer-encoding: chunked\r\n\r\n8\r\n{\"price\"\r\n7\r\n:148.5}\r\n0\r\n\r\n", rate].concat(),
        &[put, "content-length: 15\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"].concat(),
        &[put, "expect: 100-continue\r\ncontent-length: 15\r\n\r\n{\"price\":148.5}"].concat(),
        &[put, "expect: 100-continue\r\ncontent-length: 9999999\r\n\r\n"].concat(),
        &[put, "content-length: 100\r\n\r\n{\"price\":"].concat(),
        &[put, "transfer-encoding: chunked\r\n\r\nnonsense\r\n"].concat(),
        &[&put.replace("USDJPY", "BAD"), "content-length: 11\r\n\r\n{\"price\":1}", rate].concat(),
        "GET /v1/rates\r\n\r\n",
        "GET /v1/rates HTTP/9.9\r\n\r\n",
        "GET /v1/rates HTTP/2.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: localhost\r\n folded: yes\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\na: \0\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}",
        "CONNECT example.org:80 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET /v1/rates/USDJPY HTTP/1.1\nhost: localhost\n\n",
        &many_fields,
    ];
    let answers = requests.iter().map(|request| {
        let sent = request.replace(&"a: b\r\n".repeat(101), "(101 fields)");
        let answers = answers_to(server.address, request).iter().map(shown).collect::<String>();
        format!("> {}\n{answers}(closed)\n\n", sent.escape_debug())
    });
    hold("connections", &answers.collect::<String>());
}
