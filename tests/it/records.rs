//! Records as lines: what a file of lines does, line by line, and what sample data is a month later.

use std::fs;
use std::path::Path;

use overlaid::service::{LineReader, export_lines};
use overlaid::store::{Effect, Precedence};

use crate::kit::{SAMPLES, World, pips_signal, start, user_id};

/// Loads lines one by one; returns what each did, or why it was refused.
async fn load(world: &World, reader: &mut LineReader, lines: &str) -> Vec<Result<Option<Effect>, String>> {
    let mut results = Vec::new();
    for line in lines.lines() {
        results.push(match reader.line(line.as_bytes(), world.service.now()) {
            Ok(Some(operation)) => match world.write(operation).await {
                Ok(receipt) => Ok(Some(receipt.effect)),
                Err(error) => Err(error.to_string()),
            },
            Ok(None) => Ok(None),
            Err(invalid) => Err(invalid.to_string()),
        });
    }
    results
}

fn samples() -> String {
    // Overlays and rates name no sample time, so one file's can not be meant for another's.
    let read = |name: &str| fs::read_to_string(Path::new(SAMPLES).join(name)).unwrap();
    ["overlays.ndjson", "rates.ndjson", "signals.ndjson", "outcomes.ndjson"].map(read).concat()
}

#[tokio::test]
async fn a_line_is_one_record_or_is_refused() {
    let world = World::new();
    let lines = r#"{"signal":{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","stop_pips":20}}
{"overlay":{"user_id":"7"}}
{"rate":{"pair":"EURUSD","price":1.1}}
{"outcome":{"signal_id":"S1","user_id":"7","status":"fired"}}
{"outcome":{"signal_id":"S2","user_id":"7","status":"fired"}}
{"sample_time":"2026-01-01T00:00:00Z"}
{"sample_time":null}
{"overlay":{"user_id":"7"},"rate":{"pair":"EURUSD","price":1.1}}
{"overlay":[]}
{"overlays":{}}
{}
{"overlay":{"user_id":"7","acount_balance":1}}"#;
    let mut reader = world.service.line_reader(Precedence::Replace);
    let results = load(&world, &mut reader, lines).await;
    let unknown = r#"a line must hold one of {"signal":…}, {"overlay":…}, {"patch":…}, {"rate":…}, {"outcome":…}"#;
    let refused = |text: &str| Err(text.to_owned());
    let created = || Ok(Some(Effect::Created));
    assert_eq!(
        results,
        [
            created(),
            created(),
            created(),
            created(),
            refused("no signal S2"),
            Ok(None),
            refused(unknown),
            refused(unknown),
            refused("overlay must be an object"),
            refused(unknown),
            refused(unknown),
            refused(r#""acount_balance" is not a known member; "account_balance" is"#),
        ]
    );
}

#[tokio::test]
async fn times_are_moved_to_now_where_a_line_names_them() {
    let world = World::new();
    let lines = r#"{"sample_time":"2025-06-01T12:00:00Z"}
{"signal":{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","stop_pips":20,"created_at":"2025-06-01T11:00:00Z","expires_at":"2025-06-01T12:30:00Z"}}
{"signal":{"signal_id":"S2","symbol":"EURUSD","direction":"BUY","stop_pips":20}}
{"outcome":{"signal_id":"S1","user_id":"7","status":"fired","at":"2025-06-01T11:10:00Z"}}
{"outcome":{"signal_id":"S1","user_id":"8","status":"fired"}}
{"outcome":{"signal_id":"S1","user_id":"9","status":"fired","at":null}}"#;
    load(&world, &mut world.service.line_reader(Precedence::Seed), lines).await;
    let snapshot = world.service.snapshot().unwrap();
    let signals: Vec<_> = snapshot.signals().unwrap().map(|row| row.unwrap().signal).collect();
    let minutes = |minutes: i64| start().plus_millis(minutes * 60_000);
    assert_eq!((signals[0].created_at, signals[0].expires_at), (minutes(-60), minutes(30)));
    assert_eq!((signals[1].created_at, signals[1].expires_at), (minutes(0), minutes(60)));
    let at = |user: &str| snapshot.outcome(0, &user_id(user)).unwrap().unwrap().outcome.at;
    assert_eq!((at("7"), at("8"), at("9")), (minutes(-50), minutes(0), minutes(0)));
}

#[tokio::test]
async fn sample_data_can_be_loaded_again_and_is_fresh_next_month() {
    let world = World::new();
    let load = async |world: &World| {
        let results = load(world, &mut world.service.line_reader(Precedence::Seed), &samples()).await;
        results.into_iter().filter_map(Result::unwrap).collect::<Vec<_>>()
    };
    let active = |world: &World| {
        let snapshot = world.service.snapshot().unwrap();
        snapshot.signals_active(world.service.now(), None).unwrap().count()
    };
    let first = load(&world).await;
    assert!(first.iter().all(|effect| *effect == Effect::Created), "{first:?}");
    let fresh = active(&world);
    assert!(fresh > 0);
    let seq = world.service.stats().unwrap().seq;

    let again = load(&world).await;
    assert!(again.iter().all(|effect| *effect == Effect::Unchanged), "{again:?}");
    assert_eq!(world.service.stats().unwrap().seq, seq);

    world.advance(30 * 24 * 3_600_000);
    assert_eq!(active(&world), 0);
    load(&world).await;
    assert_eq!(active(&world), fresh);
    let lines = export_lines(&world.service.snapshot().unwrap()).unwrap().count();
    assert_eq!(lines, first.len(), "nothing is there twice");
}

/// A clock that ran fast and is set back must not keep out what comes after.
#[tokio::test]
async fn a_line_without_a_time_is_taken_also_when_the_clock_was_set_back() {
    let world = World::new();
    let record = |value: u8| {
        let status = if value == 1 { "fired" } else { "failed" };
        format!(
            r#"{{"overlay":{{"user_id":"7","account_balance":{value}}}}}
{{"rate":{{"pair":"EURUSD","price":{value},"updated_at":null}}}}
{{"outcome":{{"signal_id":"S1","user_id":"7","status":"{status}"}}}}"#
        )
    };
    world.put_signal(&pips_signal("S1")).await;
    let mut reader = world.service.line_reader(Precedence::Newest);
    load(&world, &mut reader, &record(1)).await;
    world.advance(-86_400_000);
    let results = load(&world, &mut reader, &record(2)).await;
    assert_eq!(results, vec![Ok(Some(Effect::Changed)); 3]);
    // A time in a line is compared as before.
    let older = r#"{"overlay":{"user_id":"7","account_balance":3,"updated_at":"2001-01-01T00:00:00Z"}}"#;
    assert_eq!(load(&world, &mut reader, older).await, [Ok(Some(Effect::Kept))]);
}

/// A bridge that sends its backlog again after a day must not set balances back.
#[tokio::test]
async fn a_patch_line_is_no_older_than_what_it_changes() {
    let world = World::new();
    let overlay = r#"{"overlay":{"user_id":"7","account_balance":500,"updated_at":"2026-01-31T11:00:00Z"}}"#;
    load(&world, &mut world.service.line_reader(Precedence::Newest), overlay).await;
    let balance = async |precedence: Precedence, lines: &str| {
        let results = load(&world, &mut world.service.line_reader(precedence), lines).await;
        let effects: Vec<_> = results.into_iter().filter_map(Result::unwrap).collect();
        (
            effects,
            world.service.overlay(&user_id("7")).await.unwrap().overlay().unwrap().account_balance.unwrap().to_string(),
        )
    };
    let patch = |members: &str| format!(r#"{{"patch":{{"user_id":"7",{members}}}}}"#);

    let old = patch(r#""account_balance":1,"updated_at":"2026-01-31T10:59:59Z""#);
    assert_eq!(balance(Precedence::Newest, &old).await, (vec![Effect::Kept], "500".to_owned()));
    let same_time = patch(r#""account_balance":2,"updated_at":"2026-01-31T11:00:00Z""#);
    assert_eq!(balance(Precedence::Newest, &same_time).await, (vec![Effect::Changed], "2".to_owned()));
    let timeless = patch(r#""account_balance":3"#);
    assert_eq!(balance(Precedence::Newest, &timeless).await, (vec![Effect::Changed], "3".to_owned()));
    let old_after_timeless = patch(r#""account_balance":4,"updated_at":"2026-01-31T11:30:00Z""#);
    assert_eq!(balance(Precedence::Newest, &old_after_timeless).await, (vec![Effect::Kept], "3".to_owned()));

    let seed = patch(r#""account_balance":5,"updated_at":"2030-01-01T00:00:00Z""#);
    assert_eq!(balance(Precedence::Seed, &seed).await, (vec![Effect::Kept], "3".to_owned()), "`serve --load`");
    let sample = format!("{{\"sample_time\":\"2026-01-01T00:00:00Z\"}}\n{seed}");
    assert_eq!(balance(Precedence::Newest, &sample).await, (vec![Effect::Kept], "3".to_owned()));
}
