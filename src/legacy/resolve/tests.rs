//! What becomes of the records of a tree, on a target in memory that can be cut off after some writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::bail;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::domain::{Decimal, Instruments};
use crate::legacy::group::group;
use crate::legacy::names::Names;
use crate::legacy::record::Context;
use crate::legacy::report::PathText;
use crate::legacy::walk::Tree;
use crate::render::{outcome_json, signal_json};

#[derive(Default)]
struct Memory {
    signals: BTreeMap<SignalId, Signal>,
    overlays: BTreeMap<UserId, Overlay>,
    outcomes: BTreeMap<(SignalId, UserId), Outcome>,
    writes_left: Option<u32>,
}

impl Memory {
    /// Everything as JSON lines.
    fn export(&self) -> String {
        let lines = self.signals.values().map(signal_json).chain(self.overlays.values().map(overlay_json));
        let lines = lines.chain(self.outcomes.values().map(outcome_json));
        lines.map(|line| String::from_utf8(line).unwrap() + "\n").collect()
    }
}

impl Target for Memory {
    fn signal(&self, id: &SignalId) -> Result<Option<Signal>> {
        Ok(self.signals.get(id).cloned())
    }

    fn overlay(&self, id: &UserId) -> Result<Option<Overlay>> {
        Ok(self.overlays.get(id).cloned())
    }

    fn outcome(&self, signal: &SignalId, user: &UserId) -> Result<Option<Outcome>> {
        Ok(self.outcomes.get(&(signal.clone(), user.clone())).cloned())
    }

    fn write(&mut self, batch: &store::Imported, _: &str) -> Result<()> {
        if batch.count() > IMPORT_RECORDS_MAX {
            bail!("more records than the store takes at once");
        }
        match &mut self.writes_left {
            Some(0) => bail!("killed"),
            Some(left) => *left -= 1,
            None => {}
        }
        self.signals.extend(batch.signals.iter().map(|signal| (signal.id.clone(), signal.clone())));
        self.overlays.extend(batch.overlays.iter().map(|overlay| (overlay.user_id.clone(), overlay.clone())));
        let key = |outcome: &Outcome| (outcome.signal_id.clone(), outcome.user_id.clone());
        self.outcomes.extend(batch.outcomes.iter().map(|outcome| (key(outcome), outcome.clone())));
        Ok(())
    }
}

/// Reads a tree into a target; returns the counts and the report.
fn import(root: &Path, target: &mut Memory) -> Result<(Tally, u64, Vec<Line>)> {
    let (instruments, names) = (Instruments::built_in().unwrap(), Names::built_in().unwrap());
    let context = Context { instruments: &instruments, names: &names, lifetime_ms: 3_600_000 };
    let groups = group(&Tree::open(root).unwrap(), context, true)?;
    let mut report = Vec::new();
    let Imported { tally, written } = resolve(groups, target, Some(&mut report))?;
    let lines = report.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok((tally, written, lines.map(|line| serde_json::from_slice(line).unwrap()).collect()))
}

fn line<'l>(lines: &'l [Line], path: &str) -> &'l Line {
    lines.iter().find(|line| line.path == PathText::Path(path.to_owned())).unwrap_or_else(|| panic!("{path}"))
}

/// A mission of one user; `second` is when it was made.
fn mission(signal: &str, user: &str, balance: u32, second: u32) -> Value {
    json!({
        "base_signal_id": signal, "user_id": user, "symbol": "EURUSD", "direction": "BUY", "tcs_score": 85,
        "entry_price": 1.085, "stop_loss": 1.083, "take_profit": 1.089, "user_tier": "FANG", "win_rate": 72.1,
        "account_balance": balance, "risk_percentage": 2.5,
        "created_at": format!("2025-07-16T05:50:{second:02}.862269"), "expires_at": "2025-07-16T09:50:49.859368",
    })
}

/// The same id for a trade the other way round.
fn sold(mut mission: Value) -> Value {
    mission["direction"] = "SELL".into();
    mission["stop_loss"] = 1.087.into();
    mission["take_profit"] = 1.081.into();
    mission
}

/// The same on another day.
fn on_day(mut mission: Value, day: u32) -> Value {
    mission["created_at"] = format!("2025-07-{day}T05:50:49").into();
    mission["expires_at"] = format!("2025-07-{day}T09:50:49").into();
    mission
}

fn write(root: &Path, name: &str, body: &Value) {
    fs::write(root.join(name), body.to_string()).unwrap();
}

#[test]
fn an_id_that_was_used_again_keeps_all_its_signals() {
    let root = TempDir::new().unwrap();
    write(root.path(), "a-late", &sold(mission("X_1", "2", 100, 6)));
    write(root.path(), "b-early", &mission("X_1", "1", 100, 5));
    write(root.path(), "c-again", &on_day(mission("X_1", "3", 100, 7), 19));
    let mut target = Memory::default();
    let (tally, _, lines) = import(root.path(), &mut target).unwrap();
    assert_eq!((tally.signals, tally.signal_conflicts), (3, 2));
    assert_eq!(line(&lines, "b-early").signals, ["X_1"], "the earliest keeps the id");
    for path in ["a-late", "c-again"] {
        let line = line(&lines, path);
        assert_eq!(line.class.as_str(), "conflict");
        assert!(line.signals[0].starts_with("X_1@") && target.signals.contains_key(line.signals[0].as_str()));
    }
}

#[test]
fn a_trade_with_an_id_of_its_own_keeps_it_when_an_earlier_file_of_it_turns_up() {
    let root = TempDir::new().unwrap();
    let fired = |user: &str, second: u32| {
        let mut body = sold(mission("X_3", user, 100, second));
        body["status"] = "fired".into();
        body
    };
    write(root.path(), "first", &mission("X_3", "1", 100, 1));
    write(root.path(), "late", &fired("2", 30));
    let mut target = Memory::default();
    import(root.path(), &mut target).unwrap();
    let before = target.signals.keys().cloned().collect::<Vec<_>>();
    write(root.path(), "earlier", &fired("3", 20));
    import(root.path(), &mut target).unwrap();
    assert_eq!(target.signals.keys().cloned().collect::<Vec<_>>(), before, "no second signal for one trade");
    assert_eq!(target.outcomes.len(), 2);
    write(root.path(), "another", &on_day(sold(mission("X_3", "4", 100, 6)), 15));
    import(root.path(), &mut target).unwrap();
    assert_eq!(target.signals.len(), 3, "the same levels on another day are another trade");
    let export = target.export();
    let (_, written, _) = import(root.path(), &mut target).unwrap();
    assert_eq!((written, target.export()), (0, export));
}

/// Its files say so: the earliest of those that have all is the signal, wherever the walk meets it.
#[test]
fn a_file_that_says_less_of_a_trade_is_of_that_trade() {
    for [first, second] in [["a", "b"], ["b", "a"]] {
        let root = TempDir::new().unwrap();
        let mut bare = mission("X_4", "2", 100, 1);
        bare.as_object_mut().unwrap().remove("tcs_score");
        write(root.path(), first, &mission("X_4", "1", 100, 5));
        write(root.path(), second, &bare);
        let mut target = Memory::default();
        let (tally, ..) = import(root.path(), &mut target).unwrap();
        assert_eq!((tally.signals, tally.signal_conflicts), (1, 0));
        assert!(target.export().contains("\"confidence\":85,\"created_at\":\"2025-07-16T05:50:05.862Z\""));
    }
}

#[test]
fn a_users_newest_facts_win_and_a_missing_one_takes_nothing_away() {
    let root = TempDir::new().unwrap();
    let mut newer = mission("X_2", "1", 200, 30);
    newer.as_object_mut().unwrap().remove("win_rate");
    write(root.path(), "a", &newer);
    write(root.path(), "b", &mission("X_2", "1", 100, 5));
    let mut target = Memory::default();
    let (tally, ..) = import(root.path(), &mut target).unwrap();
    let overlay = &target.overlays["1"];
    assert_eq!(overlay.account_balance, Decimal::from_int(200));
    assert_eq!(overlay.win_rate.unwrap().to_string(), "72.1");
    assert_eq!(tally.overlay_conflicts, 1);
}

#[test]
fn what_the_target_has_is_not_replaced_by_something_older() {
    let root = TempDir::new().unwrap();
    write(root.path(), "a", &mission("X_3", "1", 100, 5));
    let mut target = Memory::default();
    import(root.path(), &mut target).unwrap();
    let overlay = target.overlays.get_mut("1").unwrap();
    overlay.account_balance = Decimal::from_int(777);
    overlay.updated_at = overlay.updated_at.plus_millis(1);
    let (_, written, _) = import(root.path(), &mut target).unwrap();
    assert_eq!((written, target.overlays["1"].account_balance), (0, Decimal::from_int(777)));
}

#[test]
fn interrupted_and_repeated_runs_end_alike() {
    let root = TempDir::new().unwrap();
    for user in 0..1_030 {
        let mut body = mission("X_5", &user.to_string(), 100 + user, user % 60);
        if user % 3 == 0 {
            body["status"] = "failed".into();
        }
        write(root.path(), &user.to_string(), &body);
        if user % 100 == 0 {
            write(root.path(), &format!("{user}-sold"), &sold(mission("X_5", &user.to_string(), 100, 59)));
        }
    }
    let mut clean = Memory::default();
    let (tally, written, _) = import(root.path(), &mut clean).unwrap();
    assert_eq!((tally.signals, tally.overlays, tally.outcomes), (2, 1_030, 344));
    assert_eq!(written, 2 + 1_030 + 344);
    let (_, again, _) = import(root.path(), &mut clean).unwrap();
    assert_eq!(again, 0, "a second run has nothing to write");
    for writes in 0..4 {
        let mut killed = Memory { writes_left: Some(writes), ..Memory::default() };
        let first = import(root.path(), &mut killed);
        killed.writes_left = None;
        import(root.path(), &mut killed).unwrap();
        assert_eq!(killed.export(), clean.export(), "killed after {writes} writes: {:?}", first.is_ok());
    }
}

#[test]
fn a_batch_is_never_larger_than_the_store_takes() {
    // A batch may be full after any record of a signal.
    for users in 1..=3 {
        let root = TempDir::new().unwrap();
        for (signal, user) in (0..700).flat_map(|signal| (0..users).map(move |user| (signal, user))) {
            let mut body = mission(&format!("S{signal}"), &user.to_string(), 100, 5);
            body["status"] = "fired".into();
            write(root.path(), &format!("{signal}-{user}"), &body);
        }
        let mut target = Memory::default();
        let (tally, ..) = import(root.path(), &mut target).unwrap();
        assert_eq!((tally.outcomes, target.outcomes.len() as u64), (700 * users, 700 * users));
    }
}
