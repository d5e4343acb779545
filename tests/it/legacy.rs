//! Old missions: every file ends in one class, nothing that was computed is imported, and every difference to an old
//! mission has a cause.

use std::collections::BTreeMap;
use std::fs;

use overlaid::domain::{Instruments, Tiers};
use overlaid::legacy::{self, Cause, Context, Database, Line, Names, PathText, ReportFile, Tally, Tree};
use overlaid::render::{overlay_json, signal_json};
use overlaid::store::Store;
use serde_json::json;
use tempfile::TempDir;

use crate::kit::{flat, shapes, signal_id, user_id, write_day, write_old, write_shapes, write_unusable};

/// A tree of old files, and the database that they go into.
struct OldTree {
    folder: TempDir,
    instruments: Instruments,
    names: Names,
}

impl OldTree {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("tree")).unwrap();
        Self { folder, instruments: Instruments::built_in().unwrap(), names: Names::built_in().unwrap() }
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("tree")
    }

    fn context(&self) -> Context<'_> {
        Context { instruments: &self.instruments, names: &self.names, lifetime_ms: 3_600_000 }
    }

    /// What an import would come to: counts and report.
    fn plan(&self) -> (Tally, Vec<Line>) {
        let tree = Tree::open(&self.root()).unwrap();
        let path = self.folder.path().join("report");
        let report = ReportFile::new(&path, &tree).unwrap();
        let planned = legacy::plan(&tree, self.context(), Some(&report)).unwrap();
        let text = fs::read_to_string(path).unwrap();
        (planned.tally, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    fn store(&self) -> std::sync::Arc<Store> {
        Store::open_or_create(&self.folder.path().join("overlaid.redb")).unwrap()
    }

    fn import(&self) {
        let tree = Tree::open(&self.root()).unwrap();
        let mut database = Database::new(self.store(), &tree).unwrap();
        legacy::import(&tree, self.context(), &mut database, None).unwrap();
    }

    fn signal(&self, id: &str) -> Option<String> {
        let stored = self.store().snapshot().unwrap().signal(&signal_id(id)).unwrap();
        stored.map(|stored| String::from_utf8(signal_json(&stored.signal)).unwrap())
    }

    fn overlay(&self, id: &str) -> Option<String> {
        let stored = self.store().snapshot().unwrap().overlay(&user_id(id)).unwrap();
        stored.map(|stored| String::from_utf8(overlay_json(&stored.overlay)).unwrap())
    }

    /// Compares the tree with the database: the lines of the report, and how many there are of each cause.
    fn verify(&self) -> (Vec<String>, BTreeMap<Cause, u64>) {
        let tree = Tree::open(&self.root()).unwrap();
        let path = self.folder.path().join("differences");
        let report = ReportFile::new(&path, &tree).unwrap();
        let database = Database::new(self.store(), &tree).unwrap();
        let tiers = Tiers::built_in().unwrap();
        let verified = legacy::verify(&tree, self.context(), &tiers, &database, Some(&report)).unwrap();
        let text = fs::read_to_string(path).unwrap();
        (text.lines().map(str::to_owned).collect(), verified.causes)
    }
}

fn line<'l>(lines: &'l [Line], path: &str) -> &'l Line {
    lines.iter().find(|line| line.path == PathText::Path(path.to_owned())).unwrap_or_else(|| panic!("{path}"))
}

#[test]
fn every_known_shape_is_understood() {
    let old = OldTree::new();
    write_shapes(&old.root());
    let (tally, lines) = old.plan();
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
    let old = OldTree::new();
    let expected = write_unusable(&old.root());
    let (tally, lines) = old.plan();
    for (path, reason) in &expected {
        let line = line(&lines, path);
        assert_eq!((line.class.as_str(), line.reason.as_deref()), ("quarantined", Some(*reason)), "{path}");
    }
    assert_eq!(tally.files, expected.len() as u64);
    assert_eq!(tally.quarantined.values().sum::<u64>(), tally.files);
}

#[test]
fn nothing_that_was_computed_is_imported() {
    let old = OldTree::new();
    write_shapes(&old.root());
    old.import();
    let snapshot = old.store().snapshot().unwrap();
    let signals = snapshot.signals().unwrap().map(|stored| signal_json(&stored.unwrap().signal));
    for json in signals.map(|json| String::from_utf8(json).unwrap()) {
        for name in ["position_size", "lot_size", "risk_amount", "reward_amount", "time_remaining", "mission_id"] {
            assert!(!json.contains(&format!("\"{name}\"")), "{name} in {json}");
        }
    }
    drop(snapshot);
    let json = old.signal("APEX5_EURUSD_1752645049").unwrap();
    assert!(json.contains("\"entry_price\":1.09,\"stop_pips\":10,\"target_pips\":20"), "{json}");
    let json = old.overlay("7000000004").unwrap();
    assert!(json.contains("\"tier\":\"PRESS_PASS\",\"risk_percent\":3,\"account_balance\":1250.5"), "{json}");
    let json = old.signal("HUD_USDJPY_1754733600").unwrap();
    assert!(json.contains("\"confidence\":83,"), "a fraction of one is a percentage: {json}");
    assert!(old.overlay("7000000001").is_some() && old.overlay("user_7000000001").is_none());
}

#[test]
fn a_day_becomes_its_signals_and_users() {
    let old = OldTree::new();
    write_day(&old.root(), 3, 50);
    let (tally, _) = old.plan();
    assert_eq!((tally.files, tally.signals, tally.overlays, tally.signal_conflicts), (150, 3, 50, 0));
}

#[test]
fn every_difference_to_an_old_mission_has_a_cause() {
    let old = OldTree::new();
    write_shapes(&old.root());
    write_day(&old.root(), 2, 30);
    // Another account with the same volume: it was computed from neither.
    let mut other = shapes().into_iter().find(|sample| sample.name == "nested").unwrap().body;
    other["account"]["balance"] = 5_000.into();
    other["user"]["id"] = "other_demo".into();
    write_old(&old.root(), "missions/other.json", other.to_string());
    let (lost, _) = old.verify();
    assert!(lost.iter().filter(|line| line.contains("\"field\":\"signal\"")).count() > 20, "a lost signal is noticed");

    old.import();
    let (lines, causes) = old.verify();
    assert!(causes.contains_key(&Cause::StopInPips) && causes.contains_key(&Cause::StaleBalance));
    let unexplained: Vec<_> = lines.iter().filter(|line| line.contains("\"unexplained\"")).collect();
    let known = ["HUD", "GBPUSD_1753826407", "APEX_REAL", "USDCAD", "EURJPY", "PLAN", "205801"];
    let shown: Vec<_> = unexplained.iter().filter(|line| !known.iter().any(|name| line.contains(name))).collect();
    assert!(shown.is_empty(), "{shown:#?}");
    // Amounts that no formula gives are listed, not explained away.
    let amounts = ["position_size", "risk_amount", "reward_amount", "volume"];
    assert!(!unexplained.is_empty());
    assert!(unexplained.iter().all(|line| amounts.iter().any(|name| line.contains(&format!("\"field\":\"{name}\"")))));
}

/// A number that no formula gives is listed, also where a name for it lies near.
#[test]
fn a_cause_must_hold_its_formula() {
    let cases: [(&str, serde_json::Value, &str, Cause); 10] = [
        ("a constant of the writers", json!({"risk_reward_ratio": 3.0}), "risk_reward", Cause::StatedRatio),
        ("no constant", json!({"risk_reward_ratio": 2.77}), "risk_reward", Cause::Unexplained),
        (
            "rounded to one decimal",
            json!({"take_profit": 1.08766, "risk_reward_ratio": 1.3}),
            "risk_reward",
            Cause::Rounding,
        ),
        (
            "rounded to another",
            json!({"take_profit": 1.08766, "risk_reward_ratio": 1.4}),
            "risk_reward",
            Cause::Unexplained,
        ),
        ("a balance below zero", json!({"account_balance": -20.0}), "account_balance", Cause::SetAside),
        (
            "a test by hand",
            json!({"mission_id": "X_TEST_4_USER1", "base_signal_id": "X_TEST_4", "account_balance": 500.0}),
            "account_balance",
            Cause::TestMission,
        ),
        ("older facts", json!({"account_balance": 500.0, "risk_amount": 12.5}), "account_balance", Cause::StaleBalance),
        ("an amount of no facts", json!({"account_balance": 500.0}), "account_balance", Cause::Unexplained),
        ("a volume that is nowhere else", json!({"volume": 7.7}), "volume", Cause::Unexplained),
        ("more time than there was", json!({"time_remaining": 99_999}), "time_remaining", Cause::Unexplained),
    ];
    for (name, members, field, expected) in cases {
        let old = OldTree::new();
        let mut older = flat("X_4", "1", 1_000, 5);
        older.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        write_old(&old.root(), "older.json", older.to_string());
        write_old(&old.root(), "newer.json", flat("X_5", "1", 1_000, 50).to_string());
        old.import();
        let (found, _) = old.verify();
        let cause = found.iter().find(|difference| difference.contains(&format!("\"field\":\"{field}\"")));
        let expected = serde_json::to_string(&expected).unwrap();
        assert!(cause.is_some_and(|line| line.contains(&expected)), "{name}: {found:#?}");
    }
}

/// Where nothing can be computed from a file's facts, the cause says which of them is to blame.
#[test]
fn a_size_that_can_not_be_computed_again_names_what_is_missing() {
    for (name, member, value, expected) in [
        ("no balance", "account_balance", json!(null), Cause::NoBalance),
        ("a balance below zero", "account_balance", json!(-20.0), Cause::NegativeBalance),
        ("a symbol of nobody", "symbol", json!("QQQWWW"), Cause::UnknownSymbol),
        ("a tier of nobody", "tier", json!("NOBODY"), Cause::UnknownTier),
    ] {
        let old = OldTree::new();
        let mut body = flat("X_8", "1", 1_000, 5);
        body[member] = value;
        body["position_size"] = json!(7.77);
        body["risk_amount"] = json!(77);
        write_old(&old.root(), "a.json", body.to_string());
        old.import();
        let (found, _) = old.verify();
        let expected = serde_json::to_string(&expected).unwrap();
        for field in ["position_size", "risk_amount"] {
            let cause = found.iter().find(|difference| difference.contains(&format!("\"field\":\"{field}\"")));
            assert!(cause.is_some_and(|line| line.contains(&expected)), "{name}, {field}: {found:#?}");
        }
    }
}

/// The domain takes such a member for a slip of the pen; the mission is compared all the same.
#[test]
fn a_mission_with_a_member_that_nearly_spells_a_known_one_is_compared() {
    let old = OldTree::new();
    let mut body = flat("X_7", "1", 1_000, 5);
    body["account_balanse"] = 5.into();
    body["risk_amount"] = 77.into();
    write_old(&old.root(), "a.json", body.to_string());
    old.import();
    let (found, _) = old.verify();
    assert!(found.iter().any(|line| line.contains("\"field\":\"risk_amount\"")), "{found:#?}");
}

/// A size that two missions of different balances have alike was computed from neither.
#[test]
fn a_shared_volume_is_proved_by_a_second_mission() {
    let old = OldTree::new();
    for (user, balance) in [("1", 1_000), ("2", 2_000), ("3", 3_000)] {
        let mut body = flat("X_6", user, balance, 5);
        body["volume"] = 10.into();
        write_old(&old.root(), &format!("{user}.json"), body.to_string());
    }
    old.import();
    let (_, causes) = old.verify();
    assert_eq!(causes.get(&Cause::SharedVolume), Some(&3));
}
