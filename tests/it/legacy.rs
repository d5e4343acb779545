//! Old missions: every file ends in one class, interrupted and repeated runs end alike, and nothing is lost on the way
//! into packs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use overlaid::domain::{Instruments, Market, Outcome, Overlay, Rates, Signal, SignalId, Tiers, UserId};
use overlaid::legacy::Context;
use overlaid::legacy::archive::{self, Held, Kind, archive, cat, check, extract, for_each};
use overlaid::legacy::group::{Options, collect};
use overlaid::legacy::report::{Line, PathText, Tally};
use overlaid::legacy::resolve::{Batch, Checkpoint, Nowhere, Target, resolve};
use overlaid::legacy::verify::{Cause, Records, verify};
use overlaid::render::{outcome_json, overlay_json, signal_json};
use overlaid::store::IMPORT_RECORDS_MAX;
use serde_json::json;
use tempfile::TempDir;

use crate::legacy_tree::{flat, shapes, write, write_day, write_unusable};

/// A target in memory that can be cut off after some writes.
#[derive(Default)]
pub(crate) struct Memory {
    signals: BTreeMap<SignalId, Signal>,
    overlays: BTreeMap<UserId, Overlay>,
    outcomes: BTreeMap<(SignalId, UserId), Outcome>,
    writes_left: Option<u32>,
}

impl Memory {
    /// Everything as JSON lines.
    pub(crate) fn export(&self) -> String {
        let lines = self.signals.values().map(signal_json).chain(self.overlays.values().map(overlay_json));
        let lines = lines.chain(self.outcomes.values().map(outcome_json));
        lines.map(|line| String::from_utf8(line).unwrap() + "\n").collect()
    }
}

impl Target for Memory {
    fn signal(&mut self, id: &SignalId) -> Result<Option<Signal>> {
        Ok(self.signals.get(id).cloned())
    }

    fn overlay(&mut self, id: &UserId) -> Result<Option<Overlay>> {
        Ok(self.overlays.get(id).cloned())
    }

    fn outcome(&mut self, signal: &SignalId, user: &UserId) -> Result<Option<Outcome>> {
        Ok(self.outcomes.get(&(signal.clone(), user.clone())).cloned())
    }

    fn write(&mut self, batch: &Batch, _: &Checkpoint) -> Result<()> {
        if batch.len() > IMPORT_RECORDS_MAX {
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

impl Records for Memory {
    fn signals(&mut self, id: &SignalId) -> Result<Vec<Signal>> {
        let own = format!("{id}@");
        Ok(self
            .signals
            .values()
            .filter(|known| known.id == *id || known.id.as_str().starts_with(&own))
            .cloned()
            .collect())
    }

    fn overlay(&mut self, user: &UserId) -> Result<Option<Overlay>> {
        Ok(self.overlays.get(user).cloned())
    }
}

/// Reads a tree into a target; returns the counts and the report.
pub(crate) fn import(root: &Path, target: &mut dyn Target, states_bytes_max: usize) -> Result<(Tally, Vec<Line>)> {
    let instruments = Instruments::built_in().unwrap();
    let context = Context { instruments: &instruments, lifetime_ms: 3_600_000, has_claims: false };
    let options = Options { has_report: true, states_bytes_max, ..Options::default() };
    let collected = collect(root, context, &options, &mut |_, _| ())?;
    let mut report = Vec::new();
    let tally = resolve(collected, target, Some(&mut report))?;
    let lines = report.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok((tally, lines.map(|line| serde_json::from_slice(line).unwrap()).collect()))
}

fn write_shapes(root: &Path) {
    for sample in shapes() {
        write(root, &sample.path, sample.body.to_string());
    }
}

fn line<'l>(lines: &'l [Line], path: &str) -> &'l Line {
    lines.iter().find(|line| line.path == PathText::Path(path.to_owned())).unwrap_or_else(|| panic!("{path}"))
}

#[test]
fn every_known_shape_is_understood() {
    let root = TempDir::new().unwrap();
    write_shapes(root.path());
    let (tally, lines) = import(root.path(), &mut Nowhere, usize::MAX).unwrap();
    for sample in shapes() {
        let line = line(&lines, &sample.path);
        assert_eq!(line.class.as_str(), sample.class, "{}: {line:?}", sample.name);
    }
    assert_eq!(tally.files, shapes().len() as u64);
    assert_eq!(tally.classes.values().sum::<u64>(), tally.files);
    assert_eq!(tally.outcomes, 4);
    assert_eq!(line(&lines, "missions/-1009000000001_1752509930.json").reason.as_deref(), Some("direction_conflict"));
    let users = &line(&lines, "user_registry.json").overlays;
    assert_eq!(users, &["7000000005", "7000000006"], "a profile among users is no user");
    let planned = line(&lines, "missions/mission_PLAN_EURUSD_1_7000000003.json");
    assert_eq!(planned.signals, ["PLAN_EURUSD_1"]);
}

#[test]
fn every_unusable_file_has_its_reason() {
    let root = TempDir::new().unwrap();
    let expected = write_unusable(root.path());
    let (tally, lines) = import(root.path(), &mut Nowhere, usize::MAX).unwrap();
    for (path, reason) in &expected {
        let line = line(&lines, path);
        assert_eq!((line.class.as_str(), line.reason.as_deref()), ("quarantined", Some(*reason)), "{path}");
    }
    assert_eq!(tally.files, expected.len() as u64);
    assert_eq!(tally.quarantined.values().sum::<u64>(), tally.files);
}

#[test]
fn nothing_that_was_computed_is_imported() {
    let root = TempDir::new().unwrap();
    write_shapes(root.path());
    let mut target = Memory::default();
    import(root.path(), &mut target, usize::MAX).unwrap();
    let export = target.export();
    for name in ["position_size", "lot_size", "risk_amount", "reward_amount", "time_remaining", "mission_id"] {
        assert!(!export.contains(&format!("\"{name}\"")), "{name}");
    }
    let signal = &target.signals[&SignalId::parse("APEX5_EURUSD_1752645049").unwrap()];
    let json = String::from_utf8(signal_json(signal)).unwrap();
    assert!(json.contains("\"entry_price\":1.09,\"stop_pips\":10,\"target_pips\":20"), "{json}");
    let overlay = &target.overlays[&UserId::parse("7000000004").unwrap()];
    let json = String::from_utf8(overlay_json(overlay)).unwrap();
    assert!(json.contains("\"tier\":\"PRESS_PASS\",\"risk_percent\":3,\"account_balance\":1250.5"), "{json}");
    let guard = &target.signals[&SignalId::parse("HUD_USDJPY_1754733600").unwrap()];
    assert_eq!(guard.confidence.unwrap().to_string(), "83", "a fraction of one is a percentage");
    assert!(target.overlays.contains_key("7000000001") && !target.overlays.contains_key("user_7000000001"));
}

#[test]
fn an_id_that_was_used_again_keeps_both_signals() {
    let root = TempDir::new().unwrap();
    let early = flat("X_1", "1", 100, 5);
    let mut late = flat("X_1", "2", 100, 6);
    late["direction"] = "SELL".into();
    late["stop_loss"] = 1.087.into();
    late["take_profit"] = 1.081.into();
    let mut again = flat("X_1", "3", 100, 7);
    again["created_at"] = "2025-07-19T05:50:49".into();
    again["expires_at"] = "2025-07-19T09:50:49".into();
    write(root.path(), "a/late.json", late.to_string());
    write(root.path(), "b/early.json", early.to_string());
    write(root.path(), "c/again.json", again.to_string());
    let mut target = Memory::default();
    let (tally, lines) = import(root.path(), &mut target, 1).unwrap();
    assert_eq!((tally.signals, tally.signal_conflicts), (3, 2));
    assert_eq!(line(&lines, "b/early.json").signals, ["X_1"], "the earliest keeps the id");
    for path in ["a/late.json", "c/again.json"] {
        let line = line(&lines, path);
        assert_eq!(line.class.as_str(), "conflict");
        assert!(line.signals[0].starts_with("X_1@") && target.signals.contains_key(line.signals[0].as_str()));
    }
}

#[test]
fn a_trade_with_an_id_of_its_own_keeps_it_when_an_earlier_file_of_it_turns_up() {
    let root = TempDir::new().unwrap();
    let sell = |user: &str, second: u32| {
        let mut body = flat("X_3", user, 100, second);
        body["direction"] = "SELL".into();
        body["stop_loss"] = 1.087.into();
        body["take_profit"] = 1.081.into();
        body["status"] = "fired".into();
        body.to_string()
    };
    write(root.path(), "first.json", flat("X_3", "1", 100, 1).to_string());
    write(root.path(), "late.json", sell("2", 30));
    let mut target = Memory::default();
    import(root.path(), &mut target, usize::MAX).unwrap();
    let before = target.signals.keys().cloned().collect::<Vec<_>>();
    write(root.path(), "earlier.json", sell("3", 20));
    let mut again = flat("X_3", "4", 100, 6);
    again["direction"] = "SELL".into();
    again["stop_loss"] = 1.087.into();
    again["take_profit"] = 1.081.into();
    again["created_at"] = "2025-07-15T05:50:49".into();
    again["expires_at"] = "2025-07-15T09:50:49".into();
    import(root.path(), &mut target, usize::MAX).unwrap();
    assert_eq!(target.signals.keys().cloned().collect::<Vec<_>>(), before, "no second signal for one trade");
    assert_eq!(target.outcomes.len(), 2);
    write(root.path(), "another.json", again.to_string());
    import(root.path(), &mut target, usize::MAX).unwrap();
    assert_eq!(target.signals.len(), 3, "the same levels on another day are another trade");
    let export = target.export();
    let (tally, _) = import(root.path(), &mut target, usize::MAX).unwrap();
    assert_eq!((tally.written, target.export()), (0, export));
}

#[test]
fn a_users_newest_facts_win_and_a_missing_one_takes_nothing_away() {
    let root = TempDir::new().unwrap();
    let mut newer = flat("X_2", "1", 200, 30);
    newer.as_object_mut().unwrap().remove("win_rate");
    write(root.path(), "a.json", newer.to_string());
    write(root.path(), "b.json", flat("X_2", "1", 100, 5).to_string());
    let mut target = Memory::default();
    let (tally, _) = import(root.path(), &mut target, usize::MAX).unwrap();
    let overlay = &target.overlays["1"];
    assert_eq!(overlay.account_balance.unwrap().to_string(), "200");
    assert_eq!(overlay.win_rate.unwrap().to_string(), "72.1");
    assert_eq!(tally.overlay_conflicts, 1);
}

#[test]
fn interrupted_repeated_and_small_runs_end_alike() {
    let root = TempDir::new().unwrap();
    write_shapes(root.path());
    write_unusable(root.path());
    write_day(root.path(), 1, 1_030);
    let mut clean = Memory::default();
    let (tally, lines) = import(root.path(), &mut clean, usize::MAX).unwrap();

    let mut small = Memory::default();
    let (small_tally, small_lines) = import(root.path(), &mut small, 20_000).unwrap();
    assert_eq!(small.export(), clean.export(), "the bound on memory changes nothing");
    assert_eq!((&small_tally, &small_lines), (&tally, &lines));

    let (again, _) = import(root.path(), &mut clean, usize::MAX).unwrap();
    assert_eq!(again.written, 0, "a second run has nothing to write");

    for writes in 0..4 {
        let mut killed = Memory { writes_left: Some(writes), ..Memory::default() };
        let first = import(root.path(), &mut killed, usize::MAX);
        killed.writes_left = None;
        import(root.path(), &mut killed, usize::MAX).unwrap();
        assert_eq!(killed.export(), clean.export(), "killed after {writes} writes: {:?}", first.is_ok());
    }
}

#[test]
fn a_batch_is_never_larger_than_the_store_takes() {
    // A batch may be full after any record of a signal.
    for users in 1..=3 {
        let root = TempDir::new().unwrap();
        for (signal, user) in (0..700).flat_map(|signal| (0..users).map(move |user| (signal, user))) {
            let mut body = flat(&format!("S{signal}"), &user.to_string(), 100, 5);
            body["status"] = json!("fired");
            write(root.path(), &format!("{signal}-{user}.json"), body.to_string());
        }
        let mut target = Memory::default();
        let (tally, _) = import(root.path(), &mut target, usize::MAX).unwrap();
        assert_eq!((tally.outcomes, target.outcomes.len() as u64), (700 * users, 700 * users));
    }
}

#[test]
fn a_day_becomes_its_signals_and_users() {
    let root = TempDir::new().unwrap();
    write_day(root.path(), 3, 50);
    let mut target = Memory::default();
    let (tally, _) = import(root.path(), &mut target, usize::MAX).unwrap();
    assert_eq!((tally.files, tally.signals, tally.overlays, tally.signal_conflicts), (150, 3, 50, 0));
}

#[test]
fn what_the_target_has_is_not_replaced_by_something_older() {
    let root = TempDir::new().unwrap();
    write(root.path(), "a.json", flat("X_3", "1", 100, 5).to_string());
    let mut target = Memory::default();
    import(root.path(), &mut target, usize::MAX).unwrap();
    let overlay = target.overlays.get_mut("1").unwrap();
    overlay.account_balance = overlaid::domain::Decimal::from_int(777);
    overlay.updated_at = overlay.updated_at.plus_millis(1);
    let (tally, _) = import(root.path(), &mut target, usize::MAX).unwrap();
    assert_eq!((tally.written, target.overlays["1"].account_balance.unwrap().to_string()), (0, "777".to_owned()));
}

#[test]
fn every_difference_to_an_old_mission_has_a_cause() {
    let root = TempDir::new().unwrap();
    write_shapes(root.path());
    write_day(root.path(), 2, 30);
    // Another account with the same volume: it was computed from neither.
    let mut other = shapes().into_iter().find(|sample| sample.name == "nested").unwrap().body;
    other["account"]["balance"] = 5_000.into();
    other["user"]["id"] = "other_demo".into();
    write(root.path(), "missions/other.json", other.to_string());
    let mut target = Memory::default();
    import(root.path(), &mut target, usize::MAX).unwrap();
    let (instruments, tiers, rates) = (Instruments::built_in().unwrap(), Tiers::built_in().unwrap(), Rates::default());
    let context = Context { instruments: &instruments, lifetime_ms: 3_600_000, has_claims: false };
    let market = Market { instruments: &instruments, tiers: &tiers, rates: &rates };
    let compare = |target: &mut Memory| verify(root.path(), context, market, target, None, &mut |_| ()).unwrap();
    let verified = compare(&mut target);
    assert!(verified.causes.contains_key(&Cause::StopInPips) && verified.causes.contains_key(&Cause::StaleBalance));
    let known = ["HUD", "GBPUSD_1753826407", "APEX_REAL", "USDCAD", "EURJPY", "PLAN", "205801"];
    let shown: Vec<_> = verified
        .unexplained
        .iter()
        .filter(|difference| !known.iter().any(|name| format!("{:?}", difference.path).contains(name)))
        .collect();
    assert!(shown.is_empty(), "{shown:#?}");
    // Amounts that no formula gives are listed, not explained away.
    assert!(
        verified
            .unexplained
            .iter()
            .all(|difference| ["position_size", "risk_amount", "reward_amount", "volume"].contains(&difference.field))
    );

    target.signals.clear();
    assert!(compare(&mut target).causes[&Cause::Unexplained] > 20, "a lost signal is noticed");
}

/// A number that no formula gives is listed, also where a name for it lies near.
#[test]
fn a_cause_must_hold_its_formula() {
    let cases: [(&str, serde_json::Value, &str, Cause); 6] = [
        ("a constant of the writers", json!({"risk_reward_ratio": 3.0}), "risk_reward", Cause::StatedRatio),
        ("no constant", json!({"risk_reward_ratio": 2.77}), "risk_reward", Cause::Unexplained),
        ("older facts", json!({"account_balance": 500.0, "risk_amount": 12.5}), "account_balance", Cause::StaleBalance),
        ("an amount of no facts", json!({"account_balance": 500.0}), "account_balance", Cause::Unexplained),
        ("a volume that is nowhere else", json!({"volume": 7.7}), "volume", Cause::Unexplained),
        ("more time than there was", json!({"time_remaining": 99_999}), "time_remaining", Cause::Unexplained),
    ];
    for (name, members, field, expected) in cases {
        let root = TempDir::new().unwrap();
        let mut older = flat("X_4", "1", 1_000, 5);
        older.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        write(root.path(), "older.json", older.to_string());
        write(root.path(), "newer.json", flat("X_5", "1", 1_000, 50).to_string());
        let mut target = Memory::default();
        import(root.path(), &mut target, usize::MAX).unwrap();
        let (found, _) = compare(root.path(), &mut target);
        let cause = found.iter().find(|difference| difference.contains(&format!("\"field\":\"{field}\"")));
        let expected = serde_json::to_string(&expected).unwrap();
        assert!(cause.is_some_and(|line| line.contains(&expected)), "{name}: {found:#?}");
    }
}

/// A size that two missions of different balances have alike was computed from neither.
#[test]
fn a_shared_volume_is_proved_by_a_second_mission() {
    let root = TempDir::new().unwrap();
    for (user, balance) in [("1", 1_000), ("2", 2_000), ("3", 3_000)] {
        let mut body = flat("X_6", user, balance, 5);
        body["volume"] = 10.into();
        write(root.path(), &format!("{user}.json"), body.to_string());
    }
    let mut target = Memory::default();
    import(root.path(), &mut target, usize::MAX).unwrap();
    let (_, causes) = compare(root.path(), &mut target);
    assert_eq!(causes.get(&Cause::SharedVolume), Some(&3));
}

/// Compares a tree with a target; returns the lines of the report and the causes.
fn compare(root: &Path, target: &mut Memory) -> (Vec<String>, BTreeMap<Cause, u64>) {
    let (instruments, tiers, rates) = (Instruments::built_in().unwrap(), Tiers::built_in().unwrap(), Rates::default());
    let context = Context { instruments: &instruments, lifetime_ms: 3_600_000, has_claims: false };
    let market = Market { instruments: &instruments, tiers: &tiers, rates: &rates };
    let mut report = Vec::new();
    let verified = verify(root, context, market, target, Some(&mut report), &mut |_| ()).unwrap();
    let report = String::from_utf8(report).unwrap();
    (report.lines().map(str::to_owned).collect(), verified.causes)
}

#[test]
fn files_go_into_packs_and_come_out_again() {
    let (root, out, to) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    write_shapes(root.path());
    let unusable = write_unusable(root.path());
    let (_, lines) = import(root.path(), &mut Nowhere, usize::MAX).unwrap();
    let report: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
    let options = archive::Options::default();
    let run = |options: &archive::Options| {
        archive(root.path(), out.path(), Some(&mut report.as_bytes()), options, &mut |_| ()).unwrap()
    };
    let summary = run(&options);
    assert_eq!(summary.seen, (shapes().len() + unusable.len()) as u64);
    assert_eq!((summary.links, summary.listed_only), (3, 1), "links stay, and a socket has nothing to pack");
    assert_eq!(summary.packed + 4, summary.seen);
    assert!(check(out.path()).unwrap().values().all(archive::Check::is_whole));
    let again = run(&options);
    assert_eq!((again.packed, again.packs, again.packed_before), (0, 0, summary.seen - 4));
    assert_eq!((again.links, again.listed_only), (3, 1), "what stays is counted by every run, and named by one");

    let mut reasons = 0;
    for_each(out.path(), &mut |item| {
        reasons += u32::from(item.reason.is_some());
        assert!(item.class.is_some() && (item.kind == Kind::Other || item.blake3.is_some()));
        Ok(())
    })
    .unwrap();
    assert_eq!(reasons as usize, unusable.len() + 1 - 3, "links are not named");

    let mut bytes = Vec::new();
    assert_eq!(cat(out.path(), Path::new("user_registry.json"), &mut bytes).unwrap(), Held::File);
    assert_eq!(bytes, fs::read(root.path().join("user_registry.json")).unwrap());
    assert_eq!(cat(out.path(), Path::new("none.json"), &mut Vec::new()).unwrap(), Held::Nothing);
    assert_eq!(cat(out.path(), Path::new("bad/s"), &mut Vec::new()).unwrap(), Held::Name);
    let extracted = extract(out.path(), Path::new("missions"), to.path()).unwrap();
    assert!(
        extracted.files > 20
            && extracted.older == 0
            && to.path().join("missions").is_dir()
            && !to.path().join("user_registry.json").exists()
    );
    assert!(extract(out.path(), Path::new(""), to.path()).is_err(), "nothing is replaced");
}

#[test]
fn only_what_is_packed_and_unchanged_is_removed() {
    let (root, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_day(root.path(), 2, 20);
    write_unusable(root.path());
    let options = archive::Options { pack_files_max: 7, ..archive::Options::default() };
    archive(root.path(), out.path(), None, &options, &mut |_| ()).unwrap();
    // What a killed run leaves does not count and does not stay.
    fs::write(out.path().join("2025-07-16-900.tar.zst.partial"), "x").unwrap();
    fs::write(out.path().join("2025-07-16-901.tar.zst"), "x").unwrap();
    fs::write(out.path().join("2025-07-16-901.ndjson.zst.partial"), "x").unwrap();
    let changed = root.path().join("bad/odd.json");
    fs::write(&changed, "{\"colour\":\"green\"}").unwrap();
    let delete = archive::Options { delete: true, ..options };
    let summary = archive(root.path(), out.path(), None, &delete, &mut |_| ()).unwrap();
    assert_eq!(summary.packed, 1, "the changed file is packed anew");
    assert!(!changed.exists());
    assert!(!out.path().join("2025-07-16-901.tar.zst").exists());
    let left: Vec<_> = walk(root.path());
    assert_eq!(left, ["bad/dangling.json", "bad/loop.json", "bad/parent", "bad/s"], "only links and the socket stay");

    fs::write(root.path().join("bad/odd.json"), "{\"colour\":\"red\"}").unwrap();
    let pack = fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().path());
    let pack = pack.filter(|path| path.to_string_lossy().ends_with(".tar.zst")).min().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&pack, bytes).unwrap();
    assert!(archive(root.path(), out.path(), None, &delete, &mut |_| ()).is_err(), "a damaged pack stops all removing");
    assert!(root.path().join("bad/odd.json").exists());
    assert_eq!(check(out.path()).unwrap().values().filter(|check| !check.is_whole()).count(), 1);
}

/// Every entry that is no folder, sorted.
fn walk(root: &Path) -> Vec<String> {
    let walk = overlaid::legacy::walk::Walk::new(root, &std::env::temp_dir()).unwrap();
    walk.map(|entry| entry.unwrap().path.to_str().unwrap().to_owned()).collect()
}
