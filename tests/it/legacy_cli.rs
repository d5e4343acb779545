//! The `legacy` commands as an operator runs them.

use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use serde_json::Value;
use tempfile::TempDir;

use crate::kit::{Server, export, flat, json, run, shapes, shown, small_tree, write_old, write_shapes, write_unusable};

fn sum(counts: &Value) -> u64 {
    counts.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
}

#[test]
fn a_plan_counts_and_writes_nothing_but_its_report() {
    let folder = TempDir::new().unwrap();
    let tree = folder.path().join("old");
    write_shapes(&tree);
    let unusable = write_unusable(&tree);
    let (data, report) = (folder.path().join("data"), folder.path().join("report.ndjson"));
    let [tree, report_text] = [&tree, &report].map(|path| path.to_str().unwrap());
    let planned = run(&data, &["legacy", "plan", tree, "--report", report_text, "--json"]);
    let counts = json(&planned);
    assert!(!data.exists(), "no database is made");
    assert_eq!(counts["files"], shapes().len() + unusable.len());
    assert_eq!(sum(&counts["classes"]), counts["files"].as_u64().unwrap(), "the classes add up");
    assert_eq!(sum(&counts["quarantined"]), counts["classes"]["quarantined"].as_u64().unwrap());
    assert!(
        counts["after"]["pack_bytes"].as_u64().unwrap() > 0 && counts["inodes"].as_u64() > counts["files"].as_u64()
    );
    let report = fs::read_to_string(&report).unwrap();
    assert_eq!(report.lines().count(), shapes().len() + unusable.len());
    for (path, reason) in unusable {
        let line = report.lines().find(|line| line.contains(&format!("\"path\":\"{path}\""))).unwrap();
        assert!(line.contains(&format!("\"class\":\"quarantined\",\"reason\":\"{reason}\"")), "{line}");
    }
    let text = shown(&run(&data, &["legacy", "plan", tree]));
    assert!(text.contains("The file is empty.") && text.contains("inodes, with folders"), "{text}");
}

#[test]
fn an_import_is_shown_and_the_second_changes_nothing() {
    let (folder, tree) = small_tree();
    let data = folder.path().join("data");
    let text = shown(&run(&data, &["legacy", "import", &tree]));
    let text: Vec<&str> = text.lines().filter(|line| !line.contains("bytes")).collect();
    assert_snapshot!(text.join("\n"), @"
    exit 0
    the tree occupies
      files                                                  10
      inodes, with folders                                   12
      different contents                                     10
    files by class
      mission                                                10
    records
      signals                                                 2
        of these, under an id that another one has            0
      overlays                                                5
        of these, users whose facts changed                   0
      outcomes                                                0
      written                                                 7
                        as files    one database
    files                     10               1         10×
    inodes                    12               2        6.0×
    backup                  1 ms            1 ms        1.0×
    cost               $0.000055       $0.000014        3.9×
      storage          $0.000004       $0.000007        0.5×
      requests          $0.00005       $0.000005         10×
      backup           $0.000001       $0.000002        0.5×
    ");
    let before_all = export(&data);
    let commits = || json(&run(&data, &["stats", "--json"]))["seq"].clone();
    let before = commits();
    for alias in [&["legacy", "import"][..], &["legacy", "migrate"], &["migrate"]] {
        assert_eq!(json(&run(&data, &[alias, &[&tree, "--json"]].concat()))["written"], 0);
    }
    assert_eq!(export(&data), before_all);
    assert_eq!(commits(), before, "no change is counted");
}

#[test]
fn a_server_that_holds_the_file_is_named() {
    let (folder, tree) = small_tree();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    for command in ["import", "verify"] {
        let text = shown(&run(&data, &["legacy", command, &tree]));
        assert!(text.starts_with("exit 2\n") && text.contains("stop the server first"), "{text}");
    }
    assert_eq!(run(&data, &["legacy", "plan", &tree]).status.code(), Some(0), "a plan needs no database");
    drop(server);
}

/// A file that was made before there were imports lacks the table of checkpoints; it takes one all the same.
#[test]
fn a_file_of_before_takes_an_import() {
    let (folder, tree) = small_tree();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/data/golden/schema-1.redb");
    fs::copy(golden, data.join("overlaid.redb")).unwrap();
    assert_eq!(json(&run(&data, &["legacy", "import", &tree, "--json"]))["written"], 7);
    assert_eq!(json(&run(&data, &["legacy", "import", &tree, "--json"]))["written"], 0);
    assert_eq!(run(&data, &["legacy", "verify", &tree]).status.code(), Some(0));
    assert_eq!(json(&run(&data, &["stats", "--json"]))["records"]["signals"], 4, "what was there stays");
}

#[test]
fn a_difference_without_a_cause_is_exit_code_1() {
    let (folder, tree) = small_tree();
    let data = folder.path().join("data");
    run(&data, &["legacy", "import", &tree]);
    assert_eq!(run(&data, &["legacy", "verify", &tree]).status.code(), Some(0));
    let mut wrong = flat("WRONG_EURUSD_1", "7000000009", 1_000, 5);
    wrong["risk_amount"] = 77.into();
    write_old(Path::new(&tree), "missions/wrong.json", wrong.to_string());
    run(&data, &["legacy", "import", &tree]);
    let text = shown(&run(&data, &["legacy", "verify", &tree]));
    assert!(
        text.starts_with("exit 1\n") && text.contains("missions/wrong.json: risk_amount is 77 there, 24 now"),
        "{text}"
    );
    let verified = json(&run(&data, &["legacy", "verify", &tree, "--json"]));
    assert_eq!(verified["unexplained"].as_array().unwrap().len(), 1);
}

/// A name that the program does not know, told by the operator.
#[test]
fn names_of_an_operators_file_are_read_beside_the_known_ones() {
    let folder = TempDir::new().unwrap();
    let [data, tree, names, packs] = ["data", "old", "names.toml", "packs"].map(|name| folder.path().join(name));
    let body = r#"{"signal_id":"A1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"Invalidation":1.083,"shoeSize":987654,"user_id":"7","account_balance":7}"#;
    write_old(&tree, "a.json", body);
    let [tree, names_text, packs] = [&tree, &names, &packs].map(|path| path.to_str().unwrap());
    let refused = json(&run(&data, &["legacy", "plan", tree, "--json"]));
    assert_eq!(refused["signals_refused"]["no_stop"], 1);

    fs::write(&names, "stop = ['invalidation']\nprivate = ['shoe_size']\n").unwrap();
    for command in [&["plan", tree][..], &["import", tree], &["verify", tree], &["archive", tree, "--out", packs]] {
        let output = run(&data, &[&["legacy"], command, &["--names", names_text]].concat());
        assert_eq!(output.status.code(), Some(0), "{command:?}: {}", shown(&output));
    }
    let export = export(&data);
    assert!(export.contains("\"stop_loss\":1.083") && export.contains("\"shoe_size\":987654"), "{export}");
    let signal = export.lines().find(|line| line.starts_with("{\"signal\"")).unwrap();
    assert!(!signal.contains("987654"), "what is private is in no signal: {signal}");
    let list = run(&data, &["legacy", "archive", "list", packs]).stdout;
    assert!(String::from_utf8(list).unwrap().contains("mission     a.json"));

    fs::write(&names, "stopp = ['invalidation']").unwrap();
    let text = shown(&run(&data, &["legacy", "plan", tree, "--names", names_text]));
    assert!(text.starts_with("exit 2\n") && text.contains("names.toml") && text.contains("stopp"), "{text}");
}
