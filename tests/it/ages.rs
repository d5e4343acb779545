//! Ages of rates and balances: when a value was last confirmed, who sees it, when it is written, and what follows once
//! it is too long ago.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use overlaid::domain::{Condition, MaxAge, MaxAges, UnixMillis};
use overlaid::service::{Separator, Service};
use overlaid::store::Effect;
use serde_json::{Value, json};

use crate::kit::{
    Connection, ServedWorld, Server, World, batch, done, export, object, patch_overlay, program, put_overlay, put_rate,
    request, run, signal_id, start, user_id,
};

const MINUTE: i64 = 60_000;
/// A cross whose size needs pounds in dollars.
const CROSS: &str = r#"{"signal_id":"S1","symbol":"EURGBP","direction":"BUY","entry_price":0.865,"stop_loss":0.863,
    "expires_at":"2030-01-01T00:00:00Z"}"#;
const OVERLAY: &str = r#"{"user_id":"7","account_balance":10000,"risk_percent":2}"#;
const RATE: &str = r#"{"pair":"GBPUSD","price":1.34}"#;

fn hours(rate: u64, balance: u64) -> MaxAges {
    let max_age = |hours: u64| Some(MaxAge::from_millis(hours * 3_600_000));
    MaxAges { rate: max_age(rate), balance: max_age(balance) }
}

/// A world in which rates count for 100 hours and balances for 10, with a cross, a rate and a user.
async fn world() -> World {
    let world = World::with_max_ages(hours(100, 10));
    world.put_signal(CROSS).await;
    world.put_overlay(OVERLAY).await;
    world.put_rate(RATE).await;
    world
}

/// What the user's mission says of ages: the reasons, and the times in minutes after the start.
async fn ages(world: &World) -> (Vec<String>, i64, i64) {
    let view: Value = serde_json::from_str(&world.view("S1", "7").await.unwrap()).unwrap();
    let mission = &view["mission"];
    let minutes = |name: &str| {
        let at = UnixMillis::parse(mission[name].as_str().unwrap()).unwrap();
        (at.millis() - start().millis()) / MINUTE
    };
    let reasons: Vec<_> =
        mission["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap()).collect();
    assert_eq!(mission["tradable"], reasons.is_empty());
    assert_eq!(mission["lots"], json!(0.74), "a size is shown at any age");
    (reasons.into_iter().map(str::to_owned).collect(), minutes("balance_confirmed_at"), minutes("rates_confirmed_at"))
}

/// All missions on the signal, which brings all overlays into memory.
async fn lines(world: &World) -> String {
    let mut batch = world.service.batch(&signal_id("S1"), None).await.unwrap();
    let mut lines = Vec::new();
    batch.write_some(usize::MAX, usize::MAX, Separator::Newline, &mut lines);
    String::from_utf8(lines).unwrap()
}

fn seq(service: &Service) -> u64 {
    service.snapshot().unwrap().seq().unwrap()
}

async fn push(world: &World, patch: &str) -> Effect {
    world.service.patch_overlay(user_id("7"), object(patch), Condition::None).await.unwrap().effect
}

/// Whether the overlays are in memory or have to be read from the file, the next read shows the push.
#[tokio::test]
async fn a_push_that_changes_nothing_confirms_at_once_and_is_not_written() {
    for is_in_memory in [false, true] {
        let world = world().await;
        if is_in_memory {
            lines(&world).await;
        }
        let before = seq(&world.service);
        let overlay_seq = world.service.overlay(&user_id("7")).await.unwrap().seq();
        world.advance(30 * MINUTE);
        assert_eq!(push(&world, r#"{"account_balance":10000.0}"#).await, Effect::Unchanged);
        assert_eq!(world.put_rate(RATE).await.effect, Effect::Unchanged);
        assert_eq!(ages(&world).await, (vec![], 30, 30), "{is_in_memory}");
        if is_in_memory {
            assert_eq!(lines(&world).await.trim_end(), world.view("S1", "7").await.unwrap());
        }
        world.advance(10 * MINUTE);
        assert_eq!(world.put_overlay(OVERLAY).await.effect, Effect::Unchanged);
        assert_eq!(ages(&world).await, (vec![], 40, 30));
        // What does not name the balance does not confirm it, and takes no confirmation away.
        world.advance(10 * MINUTE);
        push(&world, r#"{"risk_percent":2}"#).await;
        assert_eq!(ages(&world).await, (vec![], 40, 30));
        assert_eq!(seq(&world.service), before);
        assert_eq!(world.service.overlay(&user_id("7")).await.unwrap().seq(), overlay_seq);
        assert_eq!(push(&world, r#"{"win_rate":60}"#).await, Effect::Changed);
        assert_eq!(ages(&world).await, (vec![], 40, 30));
        world.service.clear_cache();
        assert_eq!(ages(&world).await, (vec![], 40, 30));
        lines(&world).await;
        assert_eq!(ages(&world).await, (vec![], 40, 30));
        assert_eq!(push(&world, r#"{"account_balance":10001}"#).await, Effect::Changed);
        assert_eq!(ages(&world).await, (vec![], 50, 30));
    }
}

/// As many readers and writers meet as can, while memory is emptied all the time.
#[test]
fn no_read_shows_an_older_confirmation_than_an_acknowledged_push() {
    const PUSHES: usize = 400;
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let world = runtime().block_on(world());
    let (acknowledged, is_over) = (AtomicI64::new(0), AtomicBool::new(false));
    let confirmed_at = || runtime().block_on(world.view_tag("S1", "7")).balance_confirmed_at.millis();
    std::thread::scope(|scope| {
        let pusher = scope.spawn(|| {
            for at in 0..PUSHES {
                world.advance(1);
                let now = world.service.now();
                if at % 3 == 0 {
                    let put = put_overlay(r#"{"user_id":"8","account_balance":1}"#, now);
                    world.service.submit(put).unwrap().done_blocking().unwrap();
                }
                let effect = if at % 2 == 0 {
                    runtime().block_on(push(&world, r#"{"account_balance":10000}"#))
                } else {
                    let patch = patch_overlay("7", r#"{"account_balance":10000}"#, now);
                    world.service.submit(patch).unwrap().done_blocking().unwrap().effect
                };
                assert_eq!(effect, Effect::Unchanged);
                acknowledged.store(now.millis(), Ordering::SeqCst);
            }
            is_over.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            for rate in 0.. {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                runtime().block_on(push(&world, &format!(r#"{{"win_rate":{}}}"#, rate % 100)));
            }
        });
        for reader in 0..2_u64 {
            let (is_over, acknowledged, world) = (&is_over, &acknowledged, &world);
            scope.spawn(move || {
                let mut reads = reader;
                while !is_over.load(Ordering::SeqCst) {
                    reads += 1;
                    if reads % 5 == 0 && reads % 200 < 100 {
                        world.service.clear_cache();
                    }
                    if reads % 7 == 0 {
                        batch(&world.service, &signal_id("S1")).unwrap();
                    }
                    let least = acknowledged.load(Ordering::SeqCst);
                    assert!(confirmed_at() >= least, "an older confirmation was read");
                }
            });
        }
        pusher.join().unwrap();
    });
    assert_eq!(confirmed_at(), world.service.now().millis());
}

#[tokio::test]
async fn two_hundred_identical_pushes_are_no_commit() {
    let world = world().await;
    let before = seq(&world.service);
    for _ in 0..200 {
        world.advance(5);
        world.put_rate(RATE).await;
        push(&world, r#"{"account_balance":10000}"#).await;
    }
    assert_eq!(seq(&world.service), before);
}

/// Beyond a tenth of the limit, an hour of ten and ten hours of a hundred, a restart must not lose it.
#[tokio::test]
async fn a_confirmation_is_stored_once_what_is_stored_is_older_than_a_tenth_of_the_limit() {
    let world = world().await;
    lines(&world).await;
    let before = seq(&world.service);
    world.advance(60 * MINUTE);
    push(&world, r#"{"account_balance":10000}"#).await;
    assert_eq!(seq(&world.service), before, "a tenth is not more than a tenth");
    world.advance(MINUTE);
    assert_eq!(push(&world, r#"{"account_balance":10000}"#).await, Effect::Unchanged);
    assert_eq!(seq(&world.service), before + 1);
    world.put_rate(RATE).await;
    assert_eq!(seq(&world.service), before + 1, "an hour is no tenth of a rate's limit");
    world.advance(540 * MINUTE);
    world.put_rate(RATE).await;
    assert_eq!(seq(&world.service), before + 2);
    assert_eq!(ages(&world).await, (vec![], 61, 601));
    let world = world.restart();
    assert_eq!(ages(&world).await, (vec![], 61, 601));
    // What was not stored is known again after the next push.
    push(&world, r#"{"account_balance":10000}"#).await;
    world.advance(30 * MINUTE);
    push(&world, r#"{"account_balance":10000}"#).await;
    assert_eq!(ages(&world).await, (vec![], 631, 601));
    let world = world.restart();
    assert_eq!(ages(&world).await, (vec![], 601, 601));
}

/// As for an expiry, time alone makes another view, so it must make another tag.
#[tokio::test]
async fn the_tag_of_a_view_changes_when_it_becomes_stale_and_when_it_is_confirmed() {
    let world = world().await;
    let fresh = world.view_tag("S1", "7").await;
    world.advance(600 * MINUTE);
    assert_eq!(world.view_tag("S1", "7").await, fresh);
    assert_eq!(ages(&world).await.0, [""; 0]);
    world.advance(1);
    let stale = world.view_tag("S1", "7").await;
    assert_ne!(stale, fresh);
    assert_eq!(ages(&world).await.0, ["stale_balance"]);
    push(&world, r#"{"account_balance":10000}"#).await;
    let confirmed = world.view_tag("S1", "7").await;
    assert_ne!(confirmed, fresh);
    assert_eq!(ages(&world).await.0, [""; 0]);
    world.advance(6_000 * MINUTE);
    push(&world, r#"{"account_balance":10000}"#).await;
    assert_eq!(ages(&world).await.0, ["stale_rate"]);
    let stale = world.view_tag("S1", "7").await;
    // A rate that is not needed changes nothing.
    world.put_rate(r#"{"pair":"USDCHF","price":0.8}"#).await;
    assert_eq!(world.view_tag("S1", "7").await, stale);
    world.put_rate(RATE).await;
    assert_ne!(world.view_tag("S1", "7").await, stale);
    assert_eq!(ages(&world).await.0, [""; 0]);
}

#[tokio::test]
async fn a_clock_that_was_set_back_neither_keeps_a_value_fresh_nor_stands_in_a_pushs_way() {
    let world = world().await;
    lines(&world).await;
    // A clock that is a year ahead, for one push.
    let year = 365 * 24 * 60 * MINUTE;
    world.advance(year);
    push(&world, r#"{"account_balance":10000}"#).await;
    world.put_rate(RATE).await;
    assert_eq!(ages(&world).await.0, [""; 0]);
    world.advance(-year);
    assert_eq!(ages(&world).await.0, ["stale_balance", "stale_rate"]);
    push(&world, r#"{"account_balance":10000}"#).await;
    world.put_rate(RATE).await;
    assert_eq!(ages(&world).await, (vec![], 0, 0));
    let world = world.restart();
    assert_eq!(ages(&world).await, (vec![], 0, 0));
}

#[tokio::test]
async fn an_old_record_is_as_old_as_it_says() {
    let world = World::with_max_ages(hours(100, 10));
    world.put_signal(CROSS).await;
    world.advance(7 * 24 * 60 * MINUTE);
    let at = start().to_string();
    let old = |json: &str| json.replacen('{', &format!(r#"{{"updated_at":"{at}","#), 1);
    world.put_overlay(&old(OVERLAY)).await;
    world.put_rate(&old(RATE)).await;
    assert_eq!(ages(&world).await, (vec!["stale_balance".to_owned(), "stale_rate".to_owned()], 0, 0));
    // The same record again confirms nothing that it does not say.
    let again = put_overlay(&old(OVERLAY), world.service.now());
    assert_eq!(world.write(again).await.unwrap().effect, Effect::Unchanged);
    assert_eq!(world.write(put_rate(&old(RATE), world.service.now())).await.unwrap().effect, Effect::Unchanged);
    assert_eq!(ages(&world).await.0, ["stale_balance", "stale_rate"]);
}

#[test]
fn an_export_keeps_when_a_value_was_confirmed() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let lines = concat!(
        r#"{"overlay":{"user_id":"7","account_balance":5,"account_currency":"USD","updated_at":"2026-01-31T12:00:00Z","balance_confirmed_at":"2026-01-31T12:30:00Z"}}"#,
        "\n",
        r#"{"overlay":{"user_id":"8","account_balance":5,"account_currency":"USD","updated_at":"2026-01-31T12:00:00Z"}}"#,
        "\n",
        r#"{"rate":{"pair":"GBPUSD","price":1.34,"updated_at":"2026-01-31T12:00:00Z","confirmed_at":"2026-01-31T13:00:00.5Z"}}"#,
        "\n",
    )
    .replace(".5Z", ".500Z");
    let file = folder.path().join("lines.ndjson");
    std::fs::write(&file, &lines).unwrap();
    done(run(other.path(), &["load", file.to_str().unwrap()]));
    assert_eq!(export(other.path()), lines);
    // An earlier confirmation takes none away, a later one counts; both leave the record unchanged.
    for (at, expected) in [("12:45", "13:00:00.500Z"), ("14:00", "14:00:00Z")] {
        let rate = format!(
            r#"{{"rate":{{"pair":"GBPUSD","price":1.34,"confirmed_at":"2026-01-31T{at}:00Z","updated_at":"2026-01-01T00:00:00Z"}}}}"#
        );
        std::fs::write(&file, rate).unwrap();
        let loaded = done(run(other.path(), &["--rate-max-age", "1m", "load", file.to_str().unwrap()]));
        assert!(loaded.contains("1 unchanged"), "{loaded}");
        assert!(export(other.path()).contains(&format!(r#""confirmed_at":"2026-01-31T{expected}""#)), "{at}");
    }
}

/// The tag names the confirmation too, as the answer shows it, but it stands in no write's way.
#[test]
fn a_rate_shows_its_confirmation_under_a_tag_of_its_own() {
    let world = World::with_max_ages(hours(100, 10));
    let served = ServedWorld::new(world, "127.0.0.1");
    assert_eq!(served.send("", "PUT", "/v1/rates/GBPUSD", r#"{"price":1.34}"#).status, 201);
    let first = served.send("", "GET", "/v1/rates/GBPUSD", "");
    served.world.advance(MINUTE);
    assert_eq!(served.send("", "PUT", "/v1/rates/GBPUSD", r#"{"price":1.340}"#).status, 204);
    let confirmed = served.send("", "GET", "/v1/rates/GBPUSD", "");
    assert_ne!(confirmed.header("etag"), first.header("etag"));
    let (before, after) = (first.json(), confirmed.json());
    assert_eq!((&before["confirmed_at"], &after["updated_at"]), (&before["updated_at"], &before["updated_at"]));
    assert_ne!(after["confirmed_at"], before["confirmed_at"]);
    assert_eq!(served.send("", "GET", "/v1/rates", "").json()["rates"][0], after);
    let ask = |method: &str, condition: &str, tag: &str, body: &str| {
        let fields = [("content-type", "application/json"), (condition, tag)];
        let mut connection = Connection::to(served.address);
        connection.send(request(method, "/v1/rates/GBPUSD", &fields, body));
        connection.answer_to(method).status
    };
    let [first, confirmed] = [first, confirmed].map(|answer| answer.header("etag").unwrap().to_owned());
    assert_eq!(ask("GET", "if-none-match", &first, ""), 200);
    assert_eq!(ask("GET", "if-none-match", &confirmed, ""), 304);
    assert_eq!(ask("PUT", "if-match", "\"1-2.3\"", r#"{"price":1.35}"#), 412);
    assert_eq!(ask("PUT", "if-match", &first, r#"{"price":1.35}"#), 204);
    assert_eq!(ask("PUT", "if-match", &confirmed, r#"{"price":1.36}"#), 412);
}

#[test]
fn readiness_and_metrics_warn_from_half_the_limit_on() {
    let world = World::with_max_ages(hours(100, 10));
    let served = ServedWorld::new(world, "127.0.0.1");
    served.send("", "PUT", "/v1/rates/GBPUSD", r#"{"price":1.34}"#);
    served.send("", "PUT", "/v1/signals/S1", &CROSS.replace(r#""signal_id":"S1","#, ""));
    served.send("", "PUT", "/v1/users/7/overlay", &OVERLAY.replace(r#""user_id":"7","#, ""));
    served.send("", "PUT", "/v1/users/8/overlay", "{}");
    let warned = || {
        let ready = served.send("", "GET", "/readyz", "");
        assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("ok")), "a warning is no failure");
        (ready.json()["rates_old"].clone(), ready.json()["balances_old"].clone())
    };
    assert_eq!(warned(), (json!(0), Value::Null), "not all overlays are in memory yet");
    served.send("", "GET", "/v1/signals/S1/missions", "");
    served.world.advance(300 * MINUTE - 1);
    assert_eq!(warned(), (json!(0), json!(0)));
    served.world.advance(1);
    assert_eq!(warned(), (json!(0), json!(1)), "a user without a balance is none");
    served.world.advance(2_700 * MINUTE);
    assert_eq!(warned(), (json!(1), json!(1)));
    let metrics = served.send("", "GET", "/metrics", "").body;
    for line in ["overlaid_rate_age_seconds 180000.0", "overlaid_rates_old 1", "overlaid_balances_old 1"] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in {metrics}");
    }
    served.send("", "PUT", "/v1/rates/GBPUSD", r#"{"price":1.34}"#);
    served.send("", "PATCH", "/v1/users/7/overlay", r#"{"account_balance":10000}"#);
    assert_eq!(warned(), (json!(0), json!(0)));
}

/// What an operator sets: a flag, or its variable.
#[test]
fn limits_are_set_by_flags_and_variables() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--rate-max-age", "1s", "--balance-max-age", "1s"]);
    let old = r#""updated_at":"2026-01-30T16:00:00Z""#;
    server.send("PUT", "/v1/signals/S1", &CROSS.replace(r#""signal_id":"S1","#, "").replace("2030", "2099"));
    server.send("PUT", "/v1/users/7/overlay", &format!(r#"{{"account_balance":10000,"risk_percent":2,{old}}}"#));
    server.send("PUT", "/v1/rates/GBPUSD", &format!(r#"{{"price":1.34,{old}}}"#));
    let view = server.get("/v1/users/7/missions/S1").json();
    assert_eq!(view["mission"]["reasons"], json!(["stale_balance", "stale_rate"]));
    drop(server);
    let explained = |variables: &[(&str, &str)]| {
        let mut command = program();
        command.arg("--data").arg(folder.path()).args(["mission", "7", "S1", "--explain"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        done(output)
    };
    let text = explained(&[]);
    assert!(text.ends_with("tradable      no: stale_rate\n"), "a week unless said otherwise: {text}");
    assert!(text.contains("GBPUSD 1.34 (confirmed 2026-01-30T16:00:00Z)"), "{text}");
    let text = explained(&[("OVERLAID_RATE_MAX_AGE", "90000d"), ("OVERLAID_BALANCE_MAX_AGE", "1h")]);
    assert!(text.ends_with("tradable      no: stale_balance\n"), "{text}");
    let text = explained(&[("OVERLAID_RATE_MAX_AGE", "90000d")]);
    assert!(text.ends_with("tradable      yes\n"), "{text}");
}
