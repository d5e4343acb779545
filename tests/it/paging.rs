//! Pages and batches: whatever the size of a step, all steps together are the whole, each row once and in order.

use std::collections::BTreeSet;

use overlaid::domain::{Status, Symbol, TierName, UserId};
use overlaid::service::{
    Asked, MissionRows, Page, Patched, SIGNAL_LIFETIME_MS, Separator, SignalCursor, SignalFilter, StatusFilter,
    UserFilter, ViewTag,
};
use overlaid::store::Effect;
use serde_json::Value;

use crate::kit::{
    OUTCOME, SIGNAL, World, object, patch_signal, pips_signal, put_overlay, put_signal, seq_of, signal_id, start,
    user_id,
};

/// The most signals that a page passes over.
const SCANNED_MAX: usize = 300;

/// The rows of a page, each by the member at `pointer`.
fn rows(page: &Page, pointer: &str) -> Vec<String> {
    let json: Vec<Value> = serde_json::from_str(&format!("[{}]", String::from_utf8_lossy(&page.rows))).unwrap();
    assert_eq!(json.len(), page.count);
    json.iter().map(|row| row.pointer(pointer).unwrap().as_str().unwrap().to_owned()).collect()
}

async fn signals_in_pages(world: &World, filter: &SignalFilter, rows_max: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page =
            world.service.signals(filter.clone(), cursor, rows_max, Asked::default()).await.unwrap().page.unwrap();
        assert!(page.count <= rows_max);
        all.extend(rows(&page, "/signal_id"));
        let Some(next) = page.next_cursor else { return all };
        cursor = Some(SignalCursor::parse(&next).unwrap());
        assert_eq!(cursor.unwrap().to_string(), next);
    }
}

async fn missions_in_pages(world: &World, filter: StatusFilter, rows_max: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut cursor = None;
    loop {
        let page = world
            .service
            .missions_of_user(&user_id("7"), filter, cursor, (MissionRows::default(), rows_max), Asked::default())
            .await
            .unwrap()
            .page
            .unwrap();
        assert!(page.count <= rows_max);
        all.extend(rows(&page, "/signal/signal_id"));
        let Some(next) = page.next_cursor else { return all };
        cursor = Some(SignalCursor::parse(&next).unwrap());
    }
}

/// Six signals, from old to new: two expired, two that expire at the same moment, one that was fired and one that
/// failed.
async fn six_signals() -> World {
    let world = World::new();
    for (id, symbol, minutes) in [
        ("A", "EURUSD", 5),
        ("B", "USDJPY", 90),
        ("C", "EURUSD", 60),
        ("D", "USDJPY", 6),
        ("E", "EURUSD", 60),
        ("F", "EURUSD", 50),
    ] {
        let expires_at = start().plus_millis(minutes * 60_000);
        let json = format!(
            r#"{{"signal_id":"{id}","symbol":"{symbol}","direction":"BUY","stop_pips":20,"expires_at":"{expires_at}"}}"#
        );
        world.put_signal(&json).await;
    }
    world.put_overlay(r#"{"user_id":"7","account_balance":1000,"risk_percent":1}"#).await;
    world.put_outcome(r#"{"signal_id":"B","user_id":"7","status":"fired"}"#).await;
    world.put_outcome(r#"{"signal_id":"D","user_id":"7","status":"failed"}"#).await;
    world.advance(10 * 60_000);
    world
}

#[tokio::test]
async fn pages_of_signals_are_the_whole_list_whatever_their_size() {
    let world = six_signals().await;
    let symbol = || Some(Symbol::parse("EURUSD").unwrap());
    check_signals(
        &world,
        &[
            (None, None, "F E D C B A"),
            (Some(Status::Active), None, "F C E B"),
            (Some(Status::Expired), None, "D A"),
            (Some(Status::Cancelled), None, ""),
            (None, symbol(), "F E C A"),
            (Some(Status::Active), symbol(), "F C E"),
            (Some(Status::Expired), symbol(), "A"),
            (None, Some(Symbol::parse("XAUUSD").unwrap()), ""),
        ],
    )
    .await;
}

async fn check_signals(world: &World, lists: &[(Option<Status>, Option<Symbol>, &str)]) {
    for (status, symbol, expected) in lists {
        let filter = SignalFilter { status: *status, symbol: symbol.clone() };
        for rows_max in 1..=8 {
            let all = signals_in_pages(world, &filter, rows_max).await;
            assert_eq!(all.join(" "), *expected, "{filter:?} by {rows_max}");
        }
    }
}

/// Each signal is in one of the lists by status, and so is each mission.
#[tokio::test]
async fn a_cancelled_signal_and_a_closed_one_are_in_lists_of_their_own() {
    let world = six_signals().await;
    for (id, status) in [("A", "cancelled"), ("B", "cancelled"), ("C", "closed"), ("E", "cancelled")] {
        world.write(patch_signal(id, &format!(r#"{{"status":"{status}"}}"#))).await.unwrap();
    }
    check_signals(
        &world,
        &[
            (None, None, "F E D C B A"),
            (Some(Status::Active), None, "F"),
            (Some(Status::Expired), None, "D"),
            (Some(Status::Cancelled), None, "E B A"),
            (Some(Status::Closed), None, "C"),
        ],
    )
    .await;
    world.put_outcome(r#"{"signal_id":"E","user_id":"7","status":"closed"}"#).await;
    for (filter, expected) in [
        (StatusFilter::All, "F E D C B A"),
        (StatusFilter::Only(Status::Active), "F"),
        (StatusFilter::Only(Status::Expired), ""),
        (StatusFilter::Only(Status::Cancelled), "A"),
        (StatusFilter::Only(Status::Closed), "E C"),
        (StatusFilter::Only(Status::Fired), "B"),
        (StatusFilter::Only(Status::Failed), "D"),
    ] {
        for rows_max in 1..=8 {
            let all = missions_in_pages(&world, filter, rows_max).await;
            assert_eq!(all.join(" "), expected, "{filter:?} by {rows_max}");
        }
    }
}

#[tokio::test]
async fn pages_of_missions_are_the_whole_list_whatever_their_size() {
    let world = six_signals().await;
    for (filter, expected) in [
        (StatusFilter::All, "F E D C B A"),
        (StatusFilter::Only(Status::Active), "F C E"),
        (StatusFilter::Only(Status::Expired), "A"),
        (StatusFilter::Only(Status::Fired), "B"),
        (StatusFilter::Only(Status::Failed), "D"),
    ] {
        for rows_max in 1..=8 {
            assert_eq!(
                missions_in_pages(&world, filter, rows_max).await.join(" "),
                expected,
                "{filter:?} by {rows_max}"
            );
        }
    }
}

#[tokio::test]
async fn a_page_that_holds_the_last_row_has_no_cursor() {
    let world = six_signals().await;
    let page = world.service.signals(SignalFilter::default(), None, 6, Asked::default()).await.unwrap().page.unwrap();
    assert_eq!((page.count, page.next_cursor), (6, None));
    let page = world.service.signals(SignalFilter::default(), None, 5, Asked::default()).await.unwrap().page.unwrap();
    assert_eq!((page.count, page.next_cursor.as_deref()), (5, Some("1")));
    let page = world
        .service
        .signals(SignalFilter::default(), Some(SignalCursor::Number(0)), 5, Asked::default())
        .await
        .unwrap()
        .page
        .unwrap();
    assert_eq!((page.count, page.next_cursor), (0, None));
    // None at all is not a size of a page; it must not look like the end of the list.
    let page = world.service.signals(SignalFilter::default(), None, 0, Asked::default()).await.unwrap().page.unwrap();
    assert_eq!((page.count, page.next_cursor.as_deref()), (1, Some("5")));
    let page =
        World::new().service.signals(SignalFilter::default(), None, 5, Asked::default()).await.unwrap().page.unwrap();
    assert_eq!((page.count, page.next_cursor), (0, None));
}

#[test]
fn a_cursor_is_what_a_page_gave_or_nothing() {
    for text in ["0", "18446744073709551615", "1769860800000.0", "0.18446744073709551615"] {
        assert_eq!(SignalCursor::parse(text).unwrap().to_string(), text);
    }
    for text in ["", ".", "1.", ".1", "-1", "18446744073709551616", "1.2.3", "1,2", "x", " 1", "1e3"] {
        assert_eq!(SignalCursor::parse(text), None, "{text}");
    }
}

/// A filter that matches only the oldest of many: a page may be empty, but then it says where to go on.
#[tokio::test]
async fn a_page_passes_over_so_many_signals_and_the_next_one_over_the_others() {
    let world = World::new();
    let put = |at: usize, symbol: &str| {
        let json = format!(r#"{{"signal_id":"S{at}","symbol":"{symbol}","direction":"BUY","stop_pips":20}}"#);
        world.service.submit(put_signal(&json, start())).unwrap()
    };
    put(0, "XAUUSD").done().await.unwrap();
    let mut pending = Vec::new();
    for at in 1..SCANNED_MAX {
        pending.push(put(at, "EURUSD"));
    }
    for write in pending {
        write.done().await.unwrap();
    }
    let gold = SignalFilter { symbol: Some(Symbol::parse("XAUUSD").unwrap()), status: None };
    let page = world.service.signals(gold.clone(), None, 5, Asked::default()).await.unwrap().page.unwrap();
    assert_eq!((rows(&page, "/signal_id").join(" ").as_str(), page.next_cursor), ("S0", None), "exactly as many");
    put(SCANNED_MAX, "EURUSD").done().await.unwrap();
    let page = world.service.signals(gold.clone(), None, 5, Asked::default()).await.unwrap().page.unwrap();
    assert_eq!((page.count, page.next_cursor.as_deref()), (0, Some("1")));
    assert_eq!(signals_in_pages(&world, &gold, 5).await, ["S0"]);
    world.put_overlay(r#"{"user_id":"7"}"#).await;
    world.put_outcome(r#"{"signal_id":"S0","user_id":"7","status":"fired"}"#).await;
    assert_eq!(missions_in_pages(&world, StatusFilter::Only(Status::Fired), 5).await, ["S0"]);
}

/// The users of a batch, taken in steps.
async fn batch_in_steps(world: &World, tier: Option<&str>, rows_max: usize, bytes_max: usize) -> Vec<String> {
    let tier = tier.map(|tier| tier.parse().unwrap());
    let mut batch = world.service.batch(&signal_id("S1"), tier).await.unwrap();
    let mut all = Vec::new();
    let mut after: Option<UserId> = None;
    loop {
        // As a page's next request does; without it, the batch goes on by itself.
        if let Some(after) = after.as_ref().filter(|after| after.as_str() > "2") {
            batch.skip_to_after(after);
        }
        let mut out = Vec::new();
        let mut count = batch.write_some(rows_max, bytes_max, Separator::Comma, &mut out);
        assert!(count <= rows_max.max(1));
        // A step may be appended to the one before, which counts for the limit of bytes.
        count += batch.write_some(rows_max, bytes_max, Separator::Comma, &mut out);
        let views: Vec<Value> = serde_json::from_slice(&[b"[", &*out, b"]"].concat()).unwrap();
        assert_eq!(views.len(), count);
        all.extend(views.iter().map(|view| view["user"]["user_id"].as_str().unwrap().to_owned()));
        let Some(next) = batch.next_cursor() else { return all };
        assert!(after.as_ref().is_none_or(|after| *after < next), "each step gets further");
        after = Some(next);
    }
}

#[tokio::test]
async fn steps_of_a_batch_are_the_whole_whatever_their_size() {
    let world = World::new();
    world.put_signal(&pips_signal("S1")).await;
    assert_eq!(batch_in_steps(&world, None, 3, 1 << 20).await, Vec::<String>::new());
    for (user, tier) in [("1", "FANG"), ("2", "COMMANDER"), ("3", "FANG"), ("4", "COMMANDER"), ("5", "COMMANDER")] {
        world.put_overlay(&format!(r#"{{"user_id":"{user}","tier":"{tier}","account_balance":1000}}"#)).await;
    }
    for rows_max in 0..=7 {
        for bytes_max in [0, 1, 1_000, 1 << 20] {
            let steps = format!("by {rows_max} and {bytes_max}");
            assert_eq!(batch_in_steps(&world, None, rows_max, bytes_max).await.join(" "), "1 2 3 4 5", "{steps}");
            assert_eq!(batch_in_steps(&world, Some("fang"), rows_max, bytes_max).await.join(" "), "1 3", "{steps}");
        }
    }
    let mut batch = world.service.batch(&signal_id("S1"), None).await.unwrap();
    let mut out = Vec::new();
    assert_eq!(batch.write_some(5, 1 << 20, Separator::Newline, &mut out), 5);
    assert!(batch.is_done() && batch.next_cursor().is_none());
    let lines = String::from_utf8(out).unwrap();
    assert!(lines.lines().count() == 5 && lines.ends_with("}\n"));

    let mut out = Vec::new();
    let users = ["3", "9", "1", "8"].map(user_id);
    let (count, absent) = batch.write_users(&users, usize::MAX, Separator::Newline, &mut out);
    assert_eq!((count, absent), (2, vec![user_id("9"), user_id("8")]));
    let lines = String::from_utf8(out).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["user"]["user_id"], "3", "in the order asked for");
}

/// The part of a view that changes here.
async fn mission(world: &World) -> String {
    let view: Value = serde_json::from_str(&world.view("S1", "7").await.unwrap()).unwrap();
    let mission = &view["mission"];
    format!("{} {} {}", mission["status"], mission["lots"], mission["seconds_remaining"])
}

async fn tag(world: &World) -> ViewTag {
    world.view_tag("S1", "7").await
}

#[tokio::test]
async fn a_view_follows_every_record_that_it_rests_on() {
    let world = World::new();
    world.put_signal(SIGNAL).await;
    world.put_overlay(r#"{"user_id":"7","account_balance":10000,"risk_percent":2}"#).await;
    assert_eq!(mission(&world).await, r#""active" 1 3600"#);
    let mut tags = vec![tag(&world).await];
    world.put_overlay(r#"{"user_id":"7","account_balance":20000,"risk_percent":2}"#).await;
    assert_eq!(mission(&world).await, r#""active" 2 3600"#);
    tags.push(tag(&world).await);
    let wider = patch_signal("S1", r#"{"stop_loss":1.081}"#);
    assert_eq!(world.write(wider).await.unwrap().effect, Effect::Changed);
    assert_eq!(mission(&world).await, r#""active" 1 3600"#);
    tags.push(tag(&world).await);
    world.put_overlay(r#"{"user_id":"7","account_balance":20000,"risk_percent":2,"account_currency":"GBP"}"#).await;
    assert_eq!(mission(&world).await, r#""active" null 3600"#);
    tags.push(tag(&world).await);
    world.put_rate(r#"{"pair":"GBPUSD","price":2}"#).await;
    assert_eq!(mission(&world).await, r#""active" 2 3600"#);
    tags.push(tag(&world).await);
    world.advance(60_000);
    assert_eq!(mission(&world).await, r#""active" 2 3540"#);
    assert_eq!(tag(&world).await, tags[4], "seconds are not part of the tag");
    world.advance(SIGNAL_LIFETIME_MS);
    assert_eq!(mission(&world).await, r#""expired" 2 0"#);
    tags.push(tag(&world).await);
    world.put_outcome(OUTCOME).await;
    assert_eq!(mission(&world).await, r#""fired" 2 0"#);
    tags.push(tag(&world).await);
    for (at, one) in tags.iter().enumerate() {
        assert!(tags[at + 1..].iter().all(|other| other != one), "{one:?} stands for two states");
    }

    let world = world.restart();
    assert!(world.path().ends_with("overlaid.redb"));
    assert_eq!(mission(&world).await, r#""fired" 2 0"#, "all of it is in the file");
}

/// A terminal that says the same twice a minute does not reach the writer; one that says another thing does.
#[tokio::test]
async fn a_patch_that_changes_nothing_is_answered_from_memory() {
    let world = World::new();
    let seq = world.put_overlay(r#"{"user_id":"7","account_balance":1000}"#).await;
    world.put_signal(&pips_signal("S1")).await;
    // Whoever asks for all has them in memory.
    drop(world.service.batch(&signal_id("S1"), None).await.unwrap());
    // Stopped, the service has only its memory to answer from.
    let patch = async |json: &str| {
        world.service.patch_overlay(user_id("7"), object(json), overlaid::domain::Condition::None).await
    };
    assert_eq!(patch(r#"{"account_balance":2000}"#).await.unwrap().effect, Effect::Changed);
    world.service.stop();
    for same in [r#"{"account_balance":2000.0}"#, r#"{"account_balance":"2000","account_currency":"usd"}"#] {
        let Patched { effect, overlay, .. } = patch(same).await.unwrap();
        assert_eq!(effect, Effect::Unchanged);
        assert!(Some(overlay.seq()) > seq_of(&seq));
        assert_eq!(overlay.overlay().unwrap().account_balance.unwrap().to_string(), "2000");
    }
    assert!(patch(r#"{"account_balance":1000}"#).await.is_err());
    assert!(patch(r#"{"account_balance":-1e11}"#).await.is_err());
    assert!(world.service.write(put_overlay(r#"{"user_id":"8"}"#, start())).await.is_err());
}

async fn users_in_pages(world: &World, filter: &UserFilter, rows_max: usize) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = world.service.users(filter.clone(), cursor, rows_max, Asked::default()).await.unwrap().page.unwrap();
        assert!(page.count <= rows_max);
        all.extend(rows(&page, "/user_id"));
        let Some(next) = page.next_cursor else { return all };
        cursor = Some(UserId::parse(&next).unwrap());
    }
}

#[tokio::test]
async fn pages_of_users_are_the_whole_list_whatever_their_size_prefix_and_tier() {
    let world = World::new();
    // More than a chunk of the roster holds.
    let ids: BTreeSet<_> = (0..400).map(|user| user.to_string()).collect();
    for (at, id) in ids.iter().enumerate() {
        let tier = if at % 10 == 0 { "FANG" } else { "NIBBLER" };
        world.put_overlay(&format!(r#"{{"user_id":"{id}","tier":"{tier}"}}"#)).await;
    }
    let fang: Vec<_> = ids.iter().step_by(10).collect();
    for prefix in ["", "0", "3", "39", "399", "3999", "4", "x", "-"] {
        for rows_max in [1, 7, 1_000] {
            let filter = |tier: Option<&str>| {
                let tier = tier.map(|tier| TierName::parse(tier).unwrap());
                UserFilter { prefix: prefix.to_owned(), tier }
            };
            let expected: Vec<_> = ids.iter().filter(|id| id.starts_with(prefix)).collect();
            assert!(users_in_pages(&world, &filter(None), rows_max).await.iter().eq(expected), "{prefix} {rows_max}");
            let expected = fang.iter().copied().filter(|id| id.starts_with(prefix));
            assert!(users_in_pages(&world, &filter(Some("fang")), rows_max).await.iter().eq(expected), "{prefix}");
        }
    }
}

/// Work for one page has an end, also where nobody has the tier.
#[tokio::test]
async fn a_page_of_users_passes_over_no_more_than_its_limit() {
    const PASSED_MAX: usize = 10_000;
    let world = World::new();
    for user in 0..PASSED_MAX + 10 {
        drop(world.service.submit(put_overlay(&format!(r#"{{"user_id":"{user:06}"}}"#), start())).unwrap());
        if user % 1_000 == 0 {
            world.put_overlay(r#"{"user_id":"000000"}"#).await;
        }
    }
    world.put_overlay(r#"{"user_id":"x","tier":"FANG"}"#).await;
    let filter = UserFilter { prefix: String::new(), tier: Some(TierName::parse("FANG").unwrap()) };
    let page = world.service.users(filter.clone(), None, 10, Asked::default()).await.unwrap().page.unwrap();
    assert_eq!((page.count, page.next_cursor.as_deref()), (0, Some("009999")));
    let next = page.next_cursor.map(|cursor| UserId::parse(&cursor).unwrap());
    let page = world.service.users(filter, next, 10, Asked::default()).await.unwrap().page.unwrap();
    assert_eq!((rows(&page, "/user_id"), page.next_cursor), (vec!["x".to_owned()], None));
}

/// The work has an end, too, where few have the tier: rows that are written do not renew it.
#[tokio::test]
async fn a_page_of_missions_passes_over_no_more_users_than_its_limit() {
    let world = World::new();
    world.put_signal(&pips_signal("S1")).await;
    for user in 0..10_400 {
        let tier = if user % 100 == 0 { "FANG" } else { "COMMANDER" };
        let overlay = format!(r#"{{"user_id":"{user:06}","tier":"{tier}","account_balance":1000}}"#);
        if user % 1_000 == 0 {
            world.put_overlay(&overlay).await;
        } else {
            drop(world.service.submit(put_overlay(&overlay, start())).unwrap());
        }
    }
    world.put_overlay(r#"{"user_id":"010399","tier":"COMMANDER"}"#).await;
    let tier = Some(TierName::parse("FANG").unwrap());
    let mut batch = world.service.batch(&signal_id("S1"), tier).await.unwrap();
    // 99 of each 100 users are passed over.
    for (rows, cursor) in [(102, Some("010101")), (2, None)] {
        let page = batch.page(1_000);
        assert_eq!((page.count, page.next_cursor.as_deref()), (rows, cursor));
    }
}
