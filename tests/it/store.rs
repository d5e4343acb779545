//! The writer and its snapshots by themselves: what writes do, what is refused, who is told when.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use overlaid::domain::{Condition, InvalidKind, Outcome, OverlayDraft, RateDraft, SignalDraft, UnixMillis};
use overlaid::store::{Counts, Effect, Operation, Precedence, Refusal, Store, StoreError, WriteError, Writer};
use tempfile::TempDir;

use crate::kit::{
    Direct, OUTCOME, OVERLAY, SIGNAL, Written, delete_overlay, effects, object, overlay, patch_overlay, patch_signal,
    put_outcome, put_overlay, put_rate, put_signal, rate, seq_of, signal, signal_id, start, token, user_id,
};

const OTHER_STOP: &str =
    r#"{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.082}"#;

fn signal_until(id: &str, expires_at: &str) -> Operation {
    put_signal(&SIGNAL.replace("S1", id).replace('}', &format!(r#","expires_at":"{expires_at}"}}"#)), start())
}

fn moment(text: &str) -> UnixMillis {
    UnixMillis::parse(text).unwrap()
}

fn refusal(written: Written) -> Refusal {
    match written {
        Err(WriteError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn every_record_is_put_read_changed_and_where_that_makes_sense_deleted() {
    let direct = Direct::new();
    assert_eq!(direct.seq(), 0);

    let created = direct.put(put_signal(SIGNAL, start()));
    assert_eq!((created.effect, seq_of(&created)), (Effect::Created, Some(1)));
    let stored = direct.signal("S1").unwrap();
    assert_eq!((stored.number, stored.seq), (0, 1));
    assert_eq!((stored.signal.created_at, stored.signal.expires_at), (start(), start().plus_millis(3_600_000)));
    let patched = direct.put(patch_signal("S1", r#"{"confidence":80,"session":"LONDON"}"#));
    assert_eq!((patched.effect, seq_of(&patched)), (Effect::Changed, Some(2)));
    let stored = direct.signal("S1").unwrap();
    assert_eq!((stored.number, stored.seq), (0, 2));
    assert_eq!(stored.signal.members.get("session"), Some("\"LONDON\""));

    assert_eq!(direct.put(put_overlay(OVERLAY, start())).effect, Effect::Created);
    assert_eq!(direct.put(overlay("7", 9_000)).effect, Effect::Changed);
    assert_eq!(direct.put(patch_overlay("7", r#"{"tier":"FANG"}"#, start())).effect, Effect::Changed);
    let stored = direct.overlay("7").unwrap();
    assert_eq!((stored.seq, stored.overlay.account_balance.unwrap().to_string()), (5, "9000".to_owned()));
    assert_eq!(stored.overlay.tier.unwrap().as_str(), "FANG");

    assert_eq!(direct.put(put_outcome(OUTCOME, start())).effect, Effect::Created);
    assert_eq!(direct.put(put_outcome(&OUTCOME.replace("fired", "failed"), start())).effect, Effect::Changed);
    let outcome = direct.snapshot().outcome(0, &user_id("7")).unwrap().unwrap();
    assert_eq!((outcome.seq, outcome.outcome.status.as_str()), (7, "failed"));

    assert_eq!(direct.put(rate(1)).effect, Effect::Created);
    assert_eq!(direct.put(rate(2)).effect, Effect::Changed);
    let rates = direct.snapshot().rates().unwrap();
    let pairs: Vec<_> = rates.iter().map(|rate| (rate.pair.to_string(), rate.price.to_string())).collect();
    assert_eq!(pairs, [("GBPUSD".to_owned(), "2".to_owned())]);

    assert_eq!(direct.put(Operation::PutToken(token("k1", start()))).effect, Effect::Created);
    assert_eq!(direct.snapshot().tokens().unwrap(), [token("k1", start())]);
    let twice = direct.write(Operation::PutToken(token("k1", start())));
    assert_eq!(refusal(twice), Refusal::Conflict("token k1 is there already".to_owned()));
    assert_eq!(
        direct.snapshot().counts().unwrap(),
        Counts { signals: 1, overlays: 1, outcomes: 1, rates: 1, tokens: 1 }
    );

    assert_eq!(direct.put(Operation::RevokeToken("k1".to_owned())).effect, Effect::Changed);
    assert!(direct.snapshot().tokens().unwrap()[0].is_revoked(), "it stays");
    assert_eq!(direct.put(Operation::RevokeToken("k1".to_owned())).effect, Effect::Unchanged);
    assert_eq!(direct.put(Operation::DeleteToken("k1".to_owned())).effect, Effect::Deleted);
    assert_eq!(direct.put(delete_overlay("7")).effect, Effect::Deleted);
    assert_eq!(direct.overlay("7"), None);
    assert_eq!(
        direct.snapshot().counts().unwrap(),
        Counts { signals: 1, overlays: 0, outcomes: 1, rates: 1, tokens: 0 },
        "outcomes are history and stay"
    );
    assert_eq!(direct.seq(), 13);
}

#[test]
fn what_is_not_there_is_named() {
    let direct = Direct::new();
    let check = |operation, expected: &str| assert_eq!(refusal(direct.write(operation)).to_string(), expected);
    check(patch_signal("S1", "{}"), "no signal S1");
    check(patch_overlay("7", "{}", start()), "no overlay for user 7");
    check(delete_overlay("7"), "no overlay for user 7");
    check(put_outcome(OUTCOME, start()), "no signal S1");
    check(Operation::RevokeToken("k1".to_owned()), "no token k1");
    check(Operation::DeleteToken("k1".to_owned()), "no token k1");
    assert_eq!(direct.seq(), 0);
    let snapshot = direct.snapshot();
    assert_eq!(snapshot.signal(&signal_id("S1")).unwrap(), None);
    assert_eq!(snapshot.overlay(&user_id("7")).unwrap(), None);
    assert_eq!(snapshot.outcome(0, &user_id("7")).unwrap(), None);
    assert_eq!(snapshot.outcomes_on(u64::MAX).unwrap().count(), 0);
    assert_eq!(snapshot.signals_newest_first(Some(0)).unwrap().count(), 0);
}

#[test]
fn a_write_that_changes_nothing_is_not_written() {
    let direct = Direct::new();
    for operation in
        [put_signal(SIGNAL, start()), put_overlay(OVERLAY, start()), put_outcome(OUTCOME, start()), rate(1)]
    {
        direct.put(operation);
    }
    assert_eq!(direct.seq(), 4);
    direct.commits();
    let before = fs::read(direct.path()).unwrap();
    let later = start().plus_millis(60_000);
    for (operation, seq) in [
        (put_signal(SIGNAL, later), 1),
        (patch_signal("S1", r#"{"symbol":"EURUSD","none":null}"#), 1),
        (put_overlay(OVERLAY, later), 2),
        (patch_overlay("7", r#"{"account_balance":"10000.0"}"#, later), 2),
        (patch_overlay("7", "{}", later), 2),
        (put_outcome(OUTCOME, later), 3),
        (put_rate(r#"{"pair":"gbp/usd","price":1.00}"#, later), 4),
    ] {
        let receipt = direct.put(operation);
        assert_eq!((receipt.effect, seq_of(&receipt)), (Effect::Unchanged, Some(seq)));
    }
    assert_eq!((direct.seq(), direct.commits()), (4, Vec::new()));
    assert!(fs::read(direct.path()).unwrap() == before, "the file is the same to the byte");
}

#[test]
fn changes_are_numbered_one_by_one_also_within_a_commit() {
    let direct = Direct::new();
    let receipts = direct.together([overlay("1", 1), overlay("2", 1), overlay("1", 2), overlay("1", 2), rate(5)]);
    // The change that held the writer was the first.
    let seqs: Vec<_> = receipts.iter().map(|written| seq_of(written.as_ref().unwrap())).collect();
    assert_eq!(seqs, [Some(2), Some(3), Some(4), Some(4), Some(5)]);
    assert_eq!(direct.commits(), [(5, 4)]);
    assert_eq!(direct.seq(), 5);
    assert_eq!(direct.overlay("1").unwrap().seq, 4);
    assert_eq!(direct.overlay("2").unwrap().seq, 3);
    direct.put(rate(6));
    assert_eq!(direct.seq(), 6);
}

/// Two clients write the same overlay, and both writes fall into one commit. The first client's receipt must not let
/// it overwrite the second client's write.
#[test]
fn no_two_states_of_a_record_answer_to_the_same_condition() {
    let direct = Direct::new();
    let receipts = direct.together([overlay("7", 1), overlay("7", 2)]);
    let [mine, _] = receipts.as_slice() else { panic!("two receipts") };
    let mine = seq_of(mine.as_ref().unwrap()).unwrap();
    let on_top = Operation::PatchOverlay {
        user: user_id("7"),
        patch: object(r#"{"account_balance":3}"#),
        now: start(),
        condition: Condition::SeqIn(vec![mine]),
        precedence: Precedence::Replace,
    };
    assert_eq!(refusal(direct.write(on_top)), Refusal::ConditionFailed);
    assert_eq!(direct.overlay("7").unwrap().overlay.account_balance.unwrap().to_string(), "2");
}

#[test]
fn a_refused_write_leaves_no_trace_and_does_not_disturb_its_neighbours() {
    let direct = Direct::new();
    direct.put(put_signal(SIGNAL, start()));
    direct.put(put_overlay(OVERLAY, start()));
    let huge = format!(r#"{{"note":"{}"}}"#, "x".repeat(140_000));
    let written = direct.together([
        overlay("8", 1),
        put_signal(OTHER_STOP, start()),
        patch_signal("S1", r#"{"stop_loss":2}"#),
        signal("S2"),
        patch_overlay("7", &huge, start()),
        patch_overlay("7", r#"{"account_balance":-1e11}"#, start()),
        patch_overlay("9", r#"{"account_balance":1}"#, start()),
        put_overlay(&huge.replace('{', r#"{"user_id":"10","#), start()),
        put_outcome(&OUTCOME.replace("S1", "S3"), start()),
        overlay("8", 2),
        put_outcome(&OUTCOME.replace("S1", "S2"), start()),
    ]);
    let (created, changed) = (Some(Effect::Created), Some(Effect::Changed));
    assert_eq!(
        effects(&written),
        [created, None, None, created, None, None, None, None, None, changed, created],
        "the two that go in see what was written before them in the same commit"
    );
    assert_eq!(direct.commits(), [(7, 4)]);
    let counts = direct.snapshot().counts().unwrap();
    assert_eq!((counts.signals, counts.overlays, counts.outcomes), (2, 2, 1));
    assert_eq!(direct.signal("S1").unwrap().seq, 1);
    assert_eq!(direct.overlay("7").unwrap().seq, 2);
    assert_eq!(direct.snapshot().signals_active(start(), None).unwrap().count(), 2);
    let direct = direct.restart();
    assert_eq!(direct.snapshot().counts().unwrap(), counts);
    assert_eq!(direct.seq(), 7);
}

#[test]
fn precedence_decides_what_becomes_of_an_overlay_a_rate_or_an_outcome_that_is_there() {
    const STORED: &str = "2026-01-20T00:00:00Z";
    /// Puts one over one from [`STORED`], with the time that it names; returns what happened and whose content is
    /// there.
    fn check(precedence: Precedence, named_time: Option<&str>, now: &str, expected: Effect) {
        let direct = Direct::new();
        let time = named_time.map(|time| format!(r#","updated_at":"{time}""#)).unwrap_or_default();
        direct.put(put_overlay(&format!(r#"{{"user_id":"7","account_balance":1,"updated_at":"{STORED}"}}"#), start()));
        direct.put(put_rate(&format!(r#"{{"pair":"GBPUSD","price":1,"updated_at":"{STORED}"}}"#), start()));
        let mut put = put_overlay(&format!(r#"{{"user_id":"7","account_balance":2{time}}}"#), moment(now));
        if let Operation::PutOverlay { precedence: place, .. } = &mut put {
            *place = precedence;
        }
        assert_eq!(direct.put(put).effect, expected, "overlay {precedence:?} {named_time:?} {now}");
        let mut put = put_rate(&format!(r#"{{"pair":"GBPUSD","price":2{time}}}"#), moment(now));
        if let Operation::PutRate { precedence: place, .. } = &mut put {
            *place = precedence;
        }
        assert_eq!(direct.put(put).effect, expected, "rate {precedence:?} {named_time:?} {now}");

        let is_new = expected == Effect::Changed;
        let (balance, seq) = if is_new { ("2", 3) } else { ("1", 1) };
        let stored = direct.overlay("7").unwrap();
        assert_eq!((stored.overlay.account_balance.unwrap().to_string().as_str(), stored.seq), (balance, seq));
        assert_eq!(direct.seq(), if is_new { 4 } else { 2 });
    }
    let (before, same, after) = ("2026-01-19T23:59:59Z", STORED, "2026-01-20T00:00:01Z");
    for time in [None, Some(before), Some(same), Some(after)] {
        check(Precedence::Replace, time, before, Effect::Changed);
    }
    check(Precedence::Newest, Some(before), after, Effect::Kept);
    check(Precedence::Newest, Some(same), after, Effect::Changed);
    check(Precedence::Newest, Some(after), after, Effect::Changed);
    // A time that is yet to come counts as now.
    check(Precedence::Newest, Some(after), before, Effect::Kept);
    check(Precedence::Newest, None, before, Effect::Kept);
    check(Precedence::Newest, None, same, Effect::Changed);
    check(Precedence::Newest, None, after, Effect::Changed);
    check(Precedence::Seed, Some(before), after, Effect::Kept);
    check(Precedence::Seed, Some(same), after, Effect::Kept);
    check(Precedence::Seed, Some(after), after, Effect::Kept);
    check(Precedence::Seed, None, after, Effect::Kept);

    let outcomes = |precedence: Precedence, time: &str| {
        let direct = Direct::new();
        direct.put(put_signal(SIGNAL, start()));
        direct.put(put_outcome(OUTCOME, moment(STORED)));
        let mut put = put_outcome(&OUTCOME.replace("fired", "failed"), moment(time));
        if let Operation::PutOutcome { precedence: place, .. } = &mut put {
            *place = precedence;
        }
        let effect = direct.put(put).effect;
        let status = direct.snapshot().outcome(0, &user_id("7")).unwrap().unwrap().outcome.status;
        assert_eq!(effect == Effect::Changed, status.as_str() == "failed");
        effect
    };
    assert_eq!(outcomes(Precedence::Replace, before), Effect::Changed);
    assert_eq!(outcomes(Precedence::Newest, before), Effect::Kept);
    assert_eq!(outcomes(Precedence::Newest, same), Effect::Changed);
    assert_eq!(outcomes(Precedence::Seed, same), Effect::Kept);
    assert_eq!(outcomes(Precedence::Seed, after), Effect::Kept);
}

#[test]
fn precedence_decides_what_becomes_of_a_signal_that_is_there() {
    const HOUR: i64 = 3_600_000;
    const BODY: &str = r#"{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":"C","expires_at":"E"}"#;
    let body = |created_at: &str, expires_at: &str| {
        BODY.replace("\"C\"", &format!("\"{created_at}\"")).replace("\"E\"", &format!("\"{expires_at}\""))
    };
    let first = body("2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z");
    let check = |precedence: Precedence, json: &str, now: UnixMillis, expected: Result<Effect, &str>| {
        let direct = Direct::new();
        direct.put(put_signal(&first, start()));
        direct.put(put_outcome(OUTCOME, start()));
        let draft = SignalDraft::from_object(object(json), None).unwrap();
        let written = direct.write(Operation::PutSignal {
            draft,
            now,
            lifetime_ms: HOUR,
            condition: Condition::None,
            precedence,
        });
        let result = written.map(|receipt| receipt.effect).map_err(|error| error.to_string());
        assert_eq!(result, expected.map_err(str::to_owned), "{precedence:?} {json}");
        let stored = direct.signal("S1").unwrap();
        let is_new = expected == Ok(Effect::Changed);
        assert_eq!((stored.number, stored.seq), (0, if is_new { 3 } else { 1 }));
        assert_eq!(
            direct.snapshot().outcomes_on(0).unwrap().count(),
            1,
            "it is the same signal, with what happened on it"
        );
        // The index of expiries tells the same.
        let active = direct.snapshot().signals_active(start(), None).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        assert_eq!(active, [stored]);
    };
    let there = Err("signal S1 is there already, with other content");
    let other = first.replace("1.083", "1.082");
    let renewed = body("2026-01-31T14:00:00Z", "2026-01-31T15:00:00Z");
    let without_times =
        r#"{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083}"#;
    let (active, expired) = (start(), start().plus_millis(HOUR));
    for precedence in [Precedence::Replace, Precedence::Newest] {
        for now in [active, expired] {
            check(precedence, &first, now, Ok(Effect::Unchanged));
            check(precedence, without_times, now, Ok(Effect::Unchanged));
            check(precedence, &other, now, there);
            check(precedence, &renewed, now, there);
        }
    }
    check(Precedence::Seed, &first, expired, Ok(Effect::Unchanged));
    check(Precedence::Seed, &other, expired, Ok(Effect::Kept));
    check(Precedence::Seed, &renewed, active, Ok(Effect::Kept));
    check(Precedence::Seed, &renewed, expired.plus_millis(-1), Ok(Effect::Kept));
    check(Precedence::Seed, &renewed, expired, Ok(Effect::Changed));
    let over_again = start().plus_millis(3 * HOUR);
    check(Precedence::Seed, &renewed, over_again, Ok(Effect::Kept));
    check(Precedence::Seed, &renewed.replace("1.083", "1.082"), expired, Ok(Effect::Kept));
}

#[test]
fn a_condition_holds_or_nothing_is_written() {
    let put = |condition| {
        let draft = OverlayDraft::from_object(object(r#"{"user_id":"7","account_balance":5}"#), None).unwrap();
        Operation::PutOverlay { draft, now: start(), condition, precedence: Precedence::Replace }
    };
    let patch = |condition| {
        let patch = object(r#"{"account_balance":5}"#);
        Operation::PatchOverlay { user: user_id("7"), patch, now: start(), condition, precedence: Precedence::Replace }
    };
    let delete = |condition| Operation::DeleteOverlay { user: user_id("7"), condition };
    let patch_signal =
        |condition| Operation::PatchSignal { id: signal_id("S1"), patch: object(r#"{"confidence":5}"#), condition };
    let seqs = |seqs: &[u64]| Condition::SeqIn(seqs.to_vec());
    // The signal has seq 1, the overlay seq 2.
    let there = |operation: Operation| {
        let direct = Direct::new();
        direct.put(put_signal(SIGNAL, start()));
        direct.put(put_overlay(OVERLAY, start()));
        let result = direct.write(operation);
        assert_eq!(direct.seq(), if result.is_ok() { 3 } else { 2 });
        result.map(|receipt| receipt.effect).map_err(|error| error.to_string())
    };
    let absent = |operation: Operation| {
        let result = Direct::new().write(operation);
        result.map(|receipt| receipt.effect).map_err(|error| error.to_string())
    };
    let failed = |result: Result<Effect, String>| {
        assert_eq!(result, Err("the record is not as the condition expects it".to_owned()));
    };
    for condition in [Condition::None, Condition::Exists, seqs(&[2]), seqs(&[1, 2, 3])] {
        assert_eq!(there(put(condition.clone())), Ok(Effect::Changed));
        assert_eq!(there(patch(condition.clone())), Ok(Effect::Changed));
        assert_eq!(there(delete(condition)), Ok(Effect::Deleted));
    }
    for condition in [Condition::None, Condition::Exists, seqs(&[1])] {
        assert_eq!(there(patch_signal(condition)), Ok(Effect::Changed));
    }
    for condition in [Condition::Absent, seqs(&[]), seqs(&[3]), seqs(&[0, 1, u64::MAX])] {
        failed(there(put(condition.clone())));
        failed(there(patch(condition.clone())));
        failed(there(delete(condition)));
    }
    failed(there(patch_signal(seqs(&[2]))));
    failed(there(patch_signal(Condition::Absent)));
    for condition in [Condition::None, Condition::Absent] {
        assert_eq!(absent(put(condition)), Ok(Effect::Created));
    }
    for condition in [Condition::Exists, seqs(&[0]), seqs(&[])] {
        failed(absent(put(condition)));
    }
    for condition in [Condition::None, Condition::Absent, Condition::Exists, seqs(&[0]), seqs(&[])] {
        assert_eq!(absent(patch(condition.clone())), Err("no overlay for user 7".to_owned()));
        assert_eq!(absent(delete(condition.clone())), Err("no overlay for user 7".to_owned()));
        assert_eq!(absent(patch_signal(condition)), Err("no signal S1".to_owned()));
    }
}

#[test]
fn conditions_hold_for_every_kind_of_record() {
    let precedence = Precedence::Replace;
    let put_signal = |condition| {
        let (draft, now) = (SignalDraft::from_object(object(SIGNAL), None).unwrap(), start());
        Operation::PutSignal { draft, now, lifetime_ms: 3_600_000, condition, precedence }
    };
    let put_outcome = |condition| {
        let outcome = object(r#"{"signal_id":"S1","user_id":"7","status":"fired"}"#);
        let outcome = Outcome::from_object(outcome, None, None, start()).unwrap();
        Operation::PutOutcome { outcome, condition, precedence }
    };
    let put_rate = |condition| {
        let draft = RateDraft::from_object(object(r#"{"pair":"GBPUSD","price":1.3}"#), None).unwrap();
        Operation::PutRate { draft, now: start(), condition, precedence }
    };
    let direct = Direct::new();
    let puts: [&dyn Fn(Condition) -> Operation; 3] = [&put_signal, &put_outcome, &put_rate];
    // The first write of each kind has the numbers 1, 2 and 3.
    for (put, seq) in puts.into_iter().zip(1..) {
        let write =
            |condition| direct.write(put(condition)).map(|receipt| receipt.effect).map_err(|error| error.to_string());
        let failed = Err("the record is not as the condition expects it".to_owned());
        for condition in [Condition::Exists, Condition::SeqIn(vec![seq])] {
            assert_eq!(write(condition), failed, "there is no record");
        }
        assert_eq!(write(Condition::Absent), Ok(Effect::Created));
        for condition in [Condition::Absent, Condition::SeqIn(vec![seq + 1]), Condition::SeqNotIn(vec![seq])] {
            assert_eq!(write(condition), failed);
        }
        for condition in [Condition::Exists, Condition::SeqIn(vec![seq])] {
            assert_eq!(write(condition), Ok(Effect::Unchanged));
        }
        assert_eq!(direct.seq(), seq);
    }
}

#[test]
fn a_condition_fails_even_where_nothing_would_change() {
    let direct = Direct::new();
    direct.put(put_overlay(OVERLAY, start()));
    let draft = OverlayDraft::from_object(object(OVERLAY), None).unwrap();
    let put =
        Operation::PutOverlay { draft, now: start(), condition: Condition::Absent, precedence: Precedence::Replace };
    assert_eq!(refusal(direct.write(put)), Refusal::ConditionFailed);
}

#[test]
fn the_index_of_expiries_follows_a_patch() {
    let direct = Direct::new();
    for (id, expires_at) in [("S1", "2026-01-31T13:00:00Z"), ("S2", "2026-01-31T14:00:00Z")] {
        direct.put(signal_until(id, expires_at));
    }
    let active = |now: &str| {
        let rows = direct.snapshot().signals_active(moment(now), None).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        rows.iter().map(|row| row.signal.id.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(active("2026-01-31T12:00:00Z"), "S1 S2");
    assert_eq!(active("2026-01-31T12:59:59.999Z"), "S1 S2");
    assert_eq!(active("2026-01-31T13:00:00Z"), "S2");
    assert_eq!(active("2026-01-31T14:00:00Z"), "");
    direct.put(patch_signal("S1", r#"{"expires_at":"2026-01-31T15:00:00Z"}"#));
    assert_eq!(active("2026-01-31T12:00:00Z"), "S2 S1");
    assert_eq!(active("2026-01-31T14:00:00Z"), "S1");
    direct.put(patch_signal("S1", r#"{"expires_at":"2026-01-31T12:30:00Z","confidence":1}"#));
    assert_eq!(active("2026-01-31T12:00:00Z"), "S1 S2");
    assert_eq!(active("2026-01-31T12:30:00Z"), "S2");
    direct.put(patch_signal("S1", r#"{"confidence":2}"#));
    assert_eq!(active("2026-01-31T12:00:00Z"), "S1 S2");
}

#[test]
fn lists_have_an_order_and_go_on_where_they_ended() {
    let direct = Direct::new();
    // Two expire at the same moment.
    for (id, hour) in [("S9", 15), ("S3", 14), ("S5", 15), ("S1", 13), ("S7", 16)] {
        direct.put(signal_until(id, &format!("2026-01-31T{hour}:00:00Z")));
    }
    for user in ["b", "a", "-1009", "B", "10", "9", "aa"] {
        direct.put(overlay(user, 1));
    }
    for (id, user) in [("S5", "b"), ("S9", "z"), ("S5", "a"), ("S9", "")] {
        if !user.is_empty() {
            direct.put(put_outcome(&format!(r#"{{"signal_id":"{id}","user_id":"{user}","status":"fired"}}"#), start()));
        }
    }
    let snapshot = direct.snapshot();
    let newest_first = |before| {
        let rows = snapshot.signals_newest_first(before).unwrap().map(Result::unwrap);
        rows.map(|row| format!("{}:{}", row.number, row.signal.id)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(newest_first(None), "4:S7 3:S1 2:S5 1:S3 0:S9");
    assert_eq!(newest_first(Some(2)), "1:S3 0:S9");
    assert_eq!(newest_first(Some(0)), "");
    assert_eq!(newest_first(Some(u64::MAX)), newest_first(None));

    let active = |now: &str, after: Option<(&str, u64)>| {
        let after = after.map(|(expiry, number)| (moment(expiry), number));
        let rows = snapshot.signals_active(moment(now), after).unwrap().map(Result::unwrap);
        rows.map(|row| format!("{}:{}", row.number, row.signal.id)).collect::<Vec<_>>().join(" ")
    };
    let (noon, three) = ("2026-01-31T12:00:00Z", "2026-01-31T15:00:00Z");
    assert_eq!(active(noon, None), "3:S1 1:S3 0:S9 2:S5 4:S7");
    assert_eq!(active(noon, Some((three, 0))), "2:S5 4:S7");
    assert_eq!(active(noon, Some((three, 2))), "4:S7");
    assert_eq!(active(noon, Some((three, u64::MAX))), "4:S7");
    assert_eq!(active("2026-01-31T14:00:00Z", Some(("2026-01-31T13:00:00Z", 3))), "0:S9 2:S5 4:S7");
    assert_eq!(active(three, Some((three, 0))), "4:S7", "time has passed since the cursor was made");
    assert_eq!(active(noon, Some(("9999-12-30T22:00:00Z", u64::MAX))), "");

    let users = |after: Option<&str>| {
        let after = after.map(user_id);
        let rows = snapshot.overlays(after.as_ref()).unwrap().map(Result::unwrap);
        rows.map(|row| row.overlay.user_id.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(users(None), "-1009 10 9 B a aa b");
    assert_eq!(users(Some("a")), "aa b");
    assert_eq!(users(Some("A")), "B a aa b", "the user of a cursor may be gone");
    assert_eq!(users(Some("b")), "");

    let outcomes = |rows: Vec<overlaid::store::StoredOutcome>| {
        let text = |row: &overlaid::store::StoredOutcome| format!("{}/{}", row.outcome.signal_id, row.outcome.user_id);
        rows.iter().map(text).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(outcomes(snapshot.outcomes().unwrap().map(Result::unwrap).collect()), "S9/z S5/a S5/b");
    assert_eq!(outcomes(snapshot.outcomes_on(2).unwrap().map(Result::unwrap).collect()), "S5/a S5/b");
    assert_eq!(outcomes(snapshot.outcomes_on(1).unwrap().map(Result::unwrap).collect()), "");
}

#[test]
fn a_snapshot_stays_as_it_is_while_others_write() {
    let direct = Direct::new();
    direct.put(overlay("7", 1));
    let before = direct.snapshot();
    direct.put(overlay("7", 2));
    direct.put(overlay("8", 1));
    let balance = before.overlay(&user_id("7")).unwrap().unwrap().overlay.account_balance.unwrap();
    assert_eq!((balance.to_string().as_str(), before.seq().unwrap()), ("1", 1));
    assert_eq!(before.overlays(None).unwrap().count(), 1);
}

/// A caller that has its receipt may look at once, and so may the cache when it is told.
#[test]
fn the_observer_and_then_the_caller_are_told_after_the_commit_is_visible() {
    let folder = TempDir::new().unwrap();
    let store = Store::open_or_create(&folder.path().join("overlaid.redb")).unwrap();
    let (log, told) = mpsc::channel();
    let seen = {
        let store = Arc::clone(&store);
        move || store.snapshot().unwrap().seq().unwrap()
    };
    let (observer_log, observer_sees) = (log.clone(), seen.clone());
    let writer = Writer::start(Arc::clone(&store), move |commit| {
        observer_log.send(("observer", commit.seq, observer_sees())).unwrap();
    })
    .unwrap();
    for seq in 1..=50 {
        let (log, seen) = (log.clone(), seen.clone());
        let (done, wait) = mpsc::channel();
        let acknowledge = Box::new(move |result: Written| {
            log.send(("caller", seq_of(&result.unwrap()).unwrap(), seen())).unwrap();
            done.send(()).unwrap();
        });
        writer.submit(overlay("7", seq), acknowledge).unwrap();
        wait.recv().unwrap();
    }
    writer.stop();
    let told: Vec<_> = told.try_iter().collect();
    let expected: Vec<_> = (1..=50).flat_map(|seq| [("observer", seq, seq), ("caller", seq, seq)]).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_full_queue_is_busy_and_what_is_in_it_is_written() {
    let direct = Direct::new();
    let waiting: Vec<_> = direct.while_held(|| {
        let waiting = (1..=4_096).map(|balance| direct.submit(overlay("7", balance)).unwrap()).collect();
        assert!(matches!(direct.submit(overlay("7", 1)), Err(StoreError::Busy)));
        waiting
    });
    let last = waiting.into_iter().map(|receiver| receiver.recv().unwrap().unwrap()).last().unwrap();
    assert_eq!(seq_of(&last), Some(4_097));
    let commits = direct.commits();
    assert!(commits.len() >= 4 && commits.iter().all(|(_, changes)| *changes <= 1_024), "a commit has a bound");
    direct.put(overlay("7", 5_000));
}

#[test]
fn stopping_writes_what_is_queued_and_refuses_what_comes_later() {
    let direct = Direct::new();
    let waiting: Vec<_> =
        direct.while_held(|| (1..=3_000).map(|at| direct.submit(overlay("7", at)).unwrap()).collect());
    direct.writer.stop();
    let seqs: Vec<_> =
        waiting.into_iter().map(|receiver| seq_of(&receiver.recv().unwrap().unwrap()).unwrap()).collect();
    assert_eq!(seqs, (2..=3_001).collect::<Vec<_>>());
    assert!(matches!(direct.submit(overlay("7", 1)), Err(StoreError::Stopped)));
    direct.writer.stop();
    assert_eq!(direct.seq(), 3_001, "reading goes on");
}

/// Nobody waits for ever: whoever stands behind the stop, or comes too late for it, is let go.
#[test]
fn every_caller_hears_of_a_stop_however_they_meet() {
    for _ in 0..20 {
        let direct = Direct::new();
        let answered = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for caller in 0..4 {
                let (direct, answered) = (&direct, &answered);
                scope.spawn(move || {
                    for balance in 0.. {
                        let Ok(receiver) = direct.submit(overlay(caller, balance)) else { break };
                        match receiver.recv() {
                            Ok(result) => drop(result.unwrap()),
                            Err(mpsc::RecvError) => break,
                        }
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            while answered.load(Ordering::SeqCst) < 20 {
                std::thread::yield_now();
            }
            scope.spawn(|| direct.writer.stop());
            direct.writer.stop();
        });
        assert!(direct.seq() >= answered.load(Ordering::SeqCst), "what was acknowledged is in the file");
        direct.restart();
    }
}

#[test]
fn when_the_writer_is_dropped_it_writes_what_is_queued() {
    let direct = Direct::new();
    let waiting: Vec<_> =
        direct.while_held(|| (1..=2_000).map(|at| direct.submit(overlay("7", at)).unwrap()).collect());
    drop(direct);
    assert!(waiting.into_iter().all(|receiver| receiver.recv().unwrap().is_ok()));
}

/// The observer is this program's own cache, so it does not panic; if it ever does, nobody may be left waiting.
#[test]
fn a_writer_that_panics_lets_its_callers_go() {
    let folder = TempDir::new().unwrap();
    let store = Store::open_or_create(&folder.path().join("overlaid.redb")).unwrap();
    let writer = Writer::start(Arc::clone(&store), |_| panic!("as the test wants it")).unwrap();
    let (sender, receiver) = mpsc::channel::<Written>();
    writer.submit(overlay("7", 1), Box::new(move |result| drop(sender.send(result)))).unwrap();
    assert!(receiver.recv().is_err(), "dropped uncalled");
    writer.stop();
    assert!(matches!(writer.submit(overlay("7", 2), Box::new(|_| ())), Err(StoreError::Stopped)));
    assert!(matches!(writer.failure().as_deref(), Some(StoreError::Stopped)), "and whoever asks is told");
    assert_eq!(store.snapshot().unwrap().seq().unwrap(), 1, "reading goes on");
}

/// A record that holds as many members as it may can still be patched, and is read back when it is loaded again.
#[test]
fn a_record_with_as_many_members_as_are_allowed_can_be_patched() {
    let direct = Direct::new();
    let members = |count: usize| (0..count).map(|at| format!(r#""m{at}":0"#)).collect::<Vec<_>>().join(",");
    let put = |count| put_overlay(&OVERLAY.replace('}', &format!(",{}}}", members(count))), start());
    assert_eq!(direct.put(put(240)).effect, Effect::Created);
    assert_eq!(direct.put(patch_overlay("7", r#"{"account_balance":1}"#, start())).effect, Effect::Changed);
    match refusal(direct.write(patch_overlay("7", r#"{"one_more":1}"#, start()))) {
        Refusal::Invalid(invalid) => assert_eq!(invalid.kind(), InvalidKind::OutOfRange),
        other => panic!("{other:?}"),
    }
}
