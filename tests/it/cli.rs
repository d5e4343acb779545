//! The command line: what a person at the server sees.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::kit::{
    EURUSD_PIPS, SAMPLES, Server, create_token, done, error, export, has_tool, json as json_of, pips_signal, program,
    run, shown,
};

#[test]
fn an_export_loaded_into_an_empty_file_gives_the_same_export() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_snapshot!(shown(&run(first.path(), &["load", SAMPLES])), @r"
    exit 0
    80 created, 0 changed, 0 unchanged, 0 kept as they were, 0 refused
    ");
    let out = second.path().join("all.ndjson");
    assert_eq!(run(first.path(), &["export", "--out", out.to_str().unwrap()]).status.code(), Some(0));
    run(second.path(), &["load", out.to_str().unwrap()]);
    assert_eq!(export(second.path()), export(first.path()));
    assert_eq!(export(second.path()), fs::read_to_string(&out).unwrap());
    assert_snapshot!(shown(&run(second.path(), &["load", "--json", out.to_str().unwrap()])), @r#"
    exit 0
    {"created":0,"changed":0,"unchanged":80,"kept":0,"refused":0}
    "#);
}

#[test]
fn a_bad_line_is_named_and_the_others_go_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("in.ndjson");
    let long = format!("{{\"overlay\":{{\"user_id\":\"8\",\"x\":\"{}\"}}}}", "x".repeat(70_000));
    let lines = [
        r#"{"outcome":{"signal_id":"S1","user_id":"7","status":"failed"}}"#,
        r#"{"overlay":{"user_id":"7","account_balance":5}}"#,
        "",
        r#"{"overlay":{"user_id":"7","account_balance":"x"}}"#,
        &long,
        r#"{"signal":{"signal_id":"S1","symbol":"EURUSD","direction":"SELL","stop_pips":20}}"#,
        r#"{"user":{}}"#,
        r#"{"outcome":{"signal_id":"S9","user_id":"7","status":"failed"}}"#,
    ];
    fs::write(&file, lines.join("\n")).unwrap();
    let output = run(folder.path(), &["load", file.to_str().unwrap()]);
    let text = shown(&output).replace(folder.path().to_str().unwrap(), "DIR");
    assert_snapshot!(text, @r#"
    exit 1
    3 created, 0 changed, 0 unchanged, 0 kept as they were, 4 refused
    DIR/in.ndjson:4: account_balance must be a decimal number (wrong-type)
    DIR/in.ndjson:5: the line is longer than 65536 bytes (line-too-long)
    DIR/in.ndjson:7: a line must hold one of {"signal":…}, {"overlay":…}, {"patch":…}, {"rate":…}, {"outcome":…} (missing-member)
    DIR/in.ndjson:8: no signal S9 (not-found)
    "#);
}

#[test]
fn one_record_a_file_is_loaded_from_the_plans_own_folders() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir_all(tree.join("signals/shared")).unwrap();
    fs::create_dir_all(tree.join("user_overlays")).unwrap();
    let signal = r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"sl_pips":20.000000000000018,"created_at":"2025-08-08T16:11:10.425865","expires_at":"2025-08-08T17:11:10.425808"}"#;
    fs::write(tree.join("signals/shared/ELITE_EURUSD_1.json"), signal).unwrap();
    fs::write(tree.join("user_overlays/7001.json"), r#"{"tier":"press pass","account_balance":"250.5"}"#).unwrap();
    fs::write(tree.join("notes.txt"), "not a record").unwrap();
    assert_eq!(run(folder.path(), &["load", tree.to_str().unwrap()]).status.code(), Some(0));
    let overlay = done(run(folder.path(), &["overlay", "get", "7001"]));
    assert!(overlay.contains(r#""tier":"PRESS_PASS","account_balance":250.5"#), "{overlay}");
    assert_snapshot!(shown(&run(folder.path(), &["signal", "list"])), @r"
    exit 0
    SIGNAL          SYMBOL  SIDE  EXPIRES                   STATUS
    ELITE_EURUSD_1  EURUSD  BUY   2025-08-08T17:11:10.425Z  expired
    ");
    assert_snapshot!(shown(&run(folder.path(), &["signal", "get", "ELITE_EURUSD_1"])), @r#"
    exit 0
    {"signal_id":"ELITE_EURUSD_1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-08-08T16:11:10.425Z","expires_at":"2025-08-08T17:11:10.425Z","sl_pips":20.000000000000018}
    "#);
}

#[test]
fn a_file_of_one_record_is_named_by_its_file_where_it_does_not_name_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (signals, overlays) = (folder.path().join("tree/signals/shared"), folder.path().join("tree/user_overlays"));
    for (folder, files) in [
        (
            &signals,
            &[
                ("from-file", EURUSD_PIPS),
                ("no name", &pips_signal("S1")),
                ("none", "{\n\"a\":\n}"),
                ("also no name", EURUSD_PIPS),
            ][..],
        ),
        (&overlays, &[("-100", "{ }"), ("7", r#"{"user_id":"8"}"#)]),
    ] {
        fs::create_dir_all(folder).unwrap();
        for (name, record) in files {
            fs::write(folder.join(format!("{name}.json")), record).unwrap();
        }
    }
    let output = run(folder.path(), &["load", folder.path().join("tree").to_str().unwrap()]);
    let text = shown(&output).replace(folder.path().to_str().unwrap(), "DIR");
    assert_snapshot!(text, @r#"
    exit 1
    4 created, 0 changed, 0 unchanged, 0 kept as they were, 2 refused
    DIR/tree/signals/shared/also no name.json: signal_id "also no name" is not valid: expected 1 to 128 bytes of A-Z a-z 0-9 . _ : @ - (invalid-name)
    DIR/tree/signals/shared/none.json: this is not JSON: {"signal":{ "a": } (column 18) (malformed-json)
    "#);
    let ids = |kind: &str| {
        done(run(folder.path(), &[kind, "list"]))
            .lines()
            .skip(1)
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (ids("signal"), ids("overlay")),
        (vec!["S1".to_owned(), "from-file".to_owned()], vec!["-100".to_owned(), "8".to_owned()])
    );
}

/// Somebody tries the samples on the server that trades.
#[test]
fn samples_replace_nothing_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let signal = "ELITE_GUARD_XAUUSD_1763875209";
    let own = [
        ("/v1/rates/EURUSD".to_owned(), r#"{"price":1.5}"#),
        ("/v1/rates/USDJPY".to_owned(), r#"{"price":99,"updated_at":"2020-01-01T00:00:00Z"}"#),
        (format!("/v1/signals/{signal}"), r#"{"symbol":"EURUSD","direction":"SELL","stop_pips":1}"#),
        ("/v1/users/7001/overlay".to_owned(), r#"{"account_balance":5,"updated_at":"2020-01-01T00:00:00Z"}"#),
        (format!("/v1/users/7003/outcomes/{signal}"), r#"{"status":"failed","at":"2020-01-01T00:00:00Z"}"#),
    ];
    for (path, body) in &own {
        assert_eq!(server.send("PUT", path, body).status, 201, "{path}");
    }
    let read = || own.iter().map(|(path, _)| server.get(path).body).collect::<Vec<_>>();
    let before = read();
    for _ in 0..2 {
        let loaded = done(run(folder.path(), &["load", SAMPLES]));
        assert!(loaded.contains(" 0 changed, ") && loaded.ends_with(" 0 refused\n"), "{loaded}");
        assert_eq!(read(), before);
    }
    drop(server);
    for file in fs::read_dir(SAMPLES).unwrap() {
        let path = file.unwrap().path();
        assert!(fs::read_to_string(&path).unwrap().starts_with(r#"{"sample_time":"#), "{}", path.display());
    }
}

/// Group chats have negative ids, and a loss is negative.
#[test]
fn negative_numbers_are_values_and_no_options() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| shown(&run(folder.path(), arguments));
    run(&["load", SAMPLES]);
    let overlay = r#"{"account_balance":1000,"risk_percent":1}"#;
    for (arguments, expected) in [
        (&["signal", "put", "-5", EURUSD_PIPS][..], "exit 0\n{\"signal_id\":\"-5\""),
        (&["overlay", "put", "-1001234567890", overlay], "exit 0\n"),
        (&["outcome", "put", "-1001234567890", "-5", "closed", "--profit", "-50"], "exit 0\n"),
        (&["outcome", "put", "-1001234567890", "-5", "closed", "--profit", "-0.5"], "exit 0\n"),
        (&["overlay", "patch", "-1001234567890", "{}"], "exit 0\n"),
        (&["overlay", "get", "-1001234567890"], "exit 0\n{\"user_id\":\"-1001234567890\""),
        (&["overlay", "list", "--prefix", "-1001", "--json"], "exit 0\n{\"user_id\":\"-1001234567890\""),
        (&["overlay", "list", "--prefix", "-", "--json"], "exit 0\n{\"user_id\":\"-1001234567890\""),
        (&["outcome", "list", "-1001234567890", "--json"], "exit 0\n{\"signal_id\":\"-5\""),
        (&["mission", "-1001234567890"], "exit 0\nSIGNAL"),
        (&["mission", "-1001234567890", "-5"], "exit 0\nstatus"),
        (&["mission", "--json", "-1001234567890", "-5", "--explain"], "exit 0\n{"),
        (&["signal", "cancel", "-5"], "exit 0\n"),
        (&["outcome", "delete", "-1001234567890", "-5"], "exit 0\n"),
        (&["signal", "delete", "-5"], "exit 0\n"),
        (&["user", "delete", "-1001234567890"], "exit 0\n"),
        (&["mission", "--", "-a"], "exit 1\n"),
        (&["rate", "put", "GBPUSD", "-1.3"], "exit 1\noverlaid: price is -1.3"),
        (&["outcome", "list", "7", "--limit", "-5"], "exit 2\nerror: invalid value '-5' for '--limit <ROWS>'"),
        (&["outcome", "put", "7", "S1", "closed", "--profit", "-x"], "exit 2\nerror: invalid value '-x' for '--profit"),
        (&["mission", "--no-such-option", "7"], "exit 2\nerror: unexpected argument '--no-such-option'"),
    ] {
        let said = run(arguments);
        assert!(said.starts_with(expected), "{arguments:?}: {said}");
    }
}

#[test]
fn an_unknown_user_is_exit_code_1_in_every_command() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["load", SAMPLES]);
    for arguments in [
        &["mission", "nobody"][..],
        &["mission", "nobody", "ELITE_GUARD_EURUSD_1763905800"],
        &["overlay", "get", "nobody"],
        &["overlay", "patch", "nobody", "{}"],
        &["overlay", "delete", "nobody"],
        &["outcome", "list", "nobody"],
        &["outcome", "list", "nobody", "--json"],
        &["outcome", "delete", "nobody", "ELITE_GUARD_EURUSD_1763905800"],
        &["user", "delete", "nobody"],
    ] {
        let said = shown(&run(folder.path(), arguments));
        assert!(said.starts_with("exit 1\n") && said.contains("nobody"), "{arguments:?}: {said}");
    }
    // What happened for a user is kept when the overlay is removed.
    run(folder.path(), &["outcome", "put", "gone", "ELITE_GUARD_EURUSD_1763905800", "fired"]);
    assert!(shown(&run(folder.path(), &["outcome", "list", "gone"])).starts_with("exit 0\nSIGNAL"));
}

#[test]
fn each_step_of_a_size_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &["load", SAMPLES]);
    let explain = |user: &str| {
        let text = shown(&run(folder.path(), &["mission", user, "ELITE_GUARD_EURUSD_1763905800", "--explain"]));
        // The samples' times move to the moment of loading.
        match text.split_once("(confirmed ").and_then(|(before, rest)| Some((before, rest.split_once(')')?.1))) {
            Some((before, after)) => format!("{before}(confirmed …){after}"),
            None => text,
        }
    };
    assert_snapshot!(explain("7002"), @"
    exit 0
    signal        BUY EURUSD at 1.085, stop 1.083, target 1.089
    distance      |1.085 − 1.083| = 0.002, which is 20 pips of 0.0001
    conversion    USD to EUR by the entry price of EURUSD 1.085 = 0.92165899
    loss per lot  distance × 100000 units a lot × conversion = 184.33179723 EUR
    risk budget   15000 (confirmed …) × 3 % (the user's) = 450 EUR
    raw size      risk budget / loss per lot = 2.44125 lots
    limits        steps of 0.01, at least 0.01, the instrument's at most 100, the tier's at most 20
    size          2.44 lots: the budget decides, cut to the lot step
    risk          2.44 × loss per lot = 449.76958525 EUR
    reward        2.44 lots at the target = 899.5391705 EUR
    tradable      yes
    ");
    assert_snapshot!(explain("7009"), @"
    exit 0
    signal        BUY EURUSD at 1.085, stop 1.083, target 1.089
    distance      |1.085 − 1.083| = 0.002, which is 20 pips of 0.0001
    conversion    USD is the account's currency: 1
    loss per lot  distance × 100000 units a lot × conversion = 200 USD
    risk budget   40 (confirmed …) × 1 % (the user's) = 0.4 USD
    raw size      risk budget / loss per lot = 0.002 lots
    limits        steps of 0.01, at least 0.01, the instrument's at most 100, the tier's at most 0.1
    size          0 lots: below the minimum lot of 0.01; a balance of 200 would do
    risk          0 × loss per lot = 0 USD
    reward        0 lots at the target = 0 USD
    tradable      no: below_minimum_lot
    ");
    assert_snapshot!(explain("7010"), @"
    exit 0
    signal        BUY EURUSD at 1.085, stop 1.083, target 1.089
    distance      |1.085 − 1.083| = 0.002, which is 20 pips of 0.0001
    conversion    USD is the account's currency: 1
    loss per lot  distance × 100000 units a lot × conversion = 200 USD
    stops here    the overlay has no balance
    tradable      no: no_balance
    ");
}

#[test]
fn several_targets_are_loaded_shown_and_exported() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let lines = [
        r#"{"signal":{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profits":[{"price":1.087,"share":34},{"pips":40,"share":33},{"price":1.091,"share":33}],"created_at":"2026-01-30T16:00:00Z","expires_at":"2099-01-01T00:00:00Z"}}"#,
        r#"{"overlay":{"user_id":"7","risk_percent":2,"account_balance":10000,"account_currency":"USD","updated_at":"2026-01-30T16:00:00Z"}}"#,
    ];
    let lines = lines.join("\n") + "\n";
    fs::write(folder.path().join("in.ndjson"), &lines).unwrap();
    run(folder.path(), &["load", folder.path().join("in.ndjson").to_str().unwrap()]);
    assert_eq!(export(folder.path()), lines);
    run(other.path(), &["load", folder.path().join("in.ndjson").to_str().unwrap()]);
    assert_eq!(export(other.path()), lines);
    let mission = done(run(folder.path(), &["mission", "7", "S1"]));
    let targets: Vec<_> = mission.lines().filter(|line| line.contains("target") || line.contains("reward")).collect();
    assert_snapshot!(targets.join("\n"), @"
    reward           398 USD
    risk : reward    1 : 1
    target pips      20
    target 1         1.087, 20 pips: 0.34 lots, 68 USD
    target 2         1.089, 40 pips: 0.33 lots, 132 USD
    target 3         1.091, 60 pips: 0.33 lots, 198 USD
    ");
    let steps = done(run(folder.path(), &["mission", "7", "S1", "--explain"]));
    let steps: Vec<_> = steps.lines().filter(|line| line.contains("target")).collect();
    assert_snapshot!(steps.join("\n"), @"
    signal        BUY EURUSD at 1.085, stop 1.083, target 1.087, target 40 pips away, target 1.091
    reward        0.34 at target 1 (34 %) = 68, 0.33 at target 2 (33 %) = 132, 0.33 at target 3 (33 %) = 198; together 398 USD
    ");
    let list = done(run(folder.path(), &["mission", "7"]));
    assert!(list.contains("1.087 +2"), "{list}");
}

#[test]
fn what_is_absent_is_exit_code_1_and_what_can_not_be_done_2() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let shown = |arguments: &[&str]| shown(&run(&data, arguments)).replace(data.to_str().unwrap(), "DIR");
    assert_snapshot!(shown(&["stats"]), @"
    exit 2
    overlaid: there is no database at DIR/overlaid.redb; `overlaid serve` and `overlaid load` make one, and --data names another folder
    ");
    run(&data, &["load", SAMPLES]);
    assert_snapshot!(shown(&["mission", "7001", "S1"]), @"
    exit 1
    overlaid: no signal S1
    ");
    assert_snapshot!(shown(&["overlay", "get", "--", "-5"]), @"
    exit 1
    overlaid: no overlay for user -5
    ");
    assert_snapshot!(shown(&["token", "revoke", "abc"]), @"
    exit 1
    overlaid: no token abc
    ");
    assert_snapshot!(shown(&["load", "/nowhere"]), @"
    exit 2
    overlaid: cannot read /nowhere: No such file or directory (os error 2)
    ");
    assert_snapshot!(shown(&["serve", "--listen", "0.0.0.0:0"]), @"
    exit 2
    overlaid: without a token only this machine may be served: listen on 127.0.0.1, or make one with `overlaid token create`
    ");
    let server = Server::start(&data, &[]);
    assert_snapshot!(shown(&["compact"]), @"
    exit 2
    overlaid: DIR/overlaid.redb is open in another process, and this needs it for itself: stop the server first, or wait for the command that is at work
    ");
    drop(server);
    fs::write(folder.path().join("t.toml"), "[FANG]\nrisk=1\n").unwrap();
    let tiers = folder.path().join("t.toml");
    let output = run(&data, &["--tiers", tiers.to_str().unwrap(), "stats"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(error(&output).contains("unknown field `risk`"));
}

#[test]
fn a_token_is_shown_once_listed_without_its_secret_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let secret = done(run(folder.path(), &["token", "create", "--scope", "read", "--scope", "write", "--name", "bot"]));
    let id = secret.trim().split('_').nth(1).unwrap().to_owned();
    let list = done(run(folder.path(), &["token", "list"]));
    assert!(list.contains(&id) && list.contains("read, write") && list.contains("bot"), "{list}");
    assert!(!list.contains(secret.trim()));
    assert_eq!(run(folder.path(), &["token", "revoke", &id]).status.code(), Some(0));
    let list = done(run(folder.path(), &["token", "list"]));
    assert!(list.contains(&id) && list.contains("revoked") && !list.contains("read"), "{list}");
}

#[test]
fn the_data_folder_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("new");
    run(&data, &["load", SAMPLES]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("overlaid.redb"))), (0o700, 0o600));
}

#[test]
fn config_show_says_what_each_setting_is_and_where_it_comes_from() {
    let show = |arguments: &[&str]| {
        let mut command = program();
        command
            .env("OVERLAID_DATA", "/elsewhere")
            .env("OVERLAID_BACKUP_EVERY", "2h")
            .env("OVERLAID_TOKEN", "ovl_secret");
        done(command.args(["config", "show", "--backup-every", "1h"]).args(arguments).output().unwrap())
    };
    let shown = show(&[]);
    for line in [
        "environment  OVERLAID_DATA              /elsewhere",
        "flag         OVERLAID_BACKUP_EVERY      1h",
        "default      OVERLAID_LISTEN            127.0.0.1:7717",
        "default      OVERLAID_BACKUP_DIR        -",
        "environment  OVERLAID_TOKEN             hidden",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    let json = r#"{"from":"flag","name":"backup-every","value":"1h","variable":"OVERLAID_BACKUP_EVERY"}"#;
    assert!(show(&["--json"]).lines().any(|line| line == json));
    let flag_before = done(program().args(["--data", "here", "config", "show"]).output().unwrap());
    assert!(flag_before.contains("flag         OVERLAID_DATA              here\n"), "{flag_before}");
}

#[test]
fn what_becomes_of_the_whole_file_is_told_to_programs_too() {
    let folder = tempfile::tempdir().unwrap();
    done(run(folder.path(), &["load", SAMPLES]));
    let copy = folder.path().join("copy.redb");
    let copy = copy.to_str().unwrap();
    let report = |arguments: &[&str]| {
        let output = run(folder.path(), &[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", error(&output));
        json_of(&output)
    };
    let names = |report: &Value| report.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let contents = ["bytes", "file", "outcomes", "overlays", "rates", "schema", "seq", "sha256", "signals", "tokens"];
    let made = report(&["backup", copy]);
    assert_eq!(
        (names(&made), &made["file"], &made["signals"]),
        (contents.map(str::to_owned).into(), &json!(copy), &json!(30))
    );
    assert_eq!(report(&["verify", copy]), made);
    let mut restored = report(&["restore", copy]);
    // What stood there is kept, and the report says where and what to do.
    let kept = restored["kept"].take();
    assert!(Path::new(kept.as_str().unwrap()).is_file());
    assert!(restored["next"].take().as_str().unwrap().contains(kept.as_str().unwrap()));
    let mut expected = made.clone();
    expected["file"] = json!(folder.path().join("overlaid.redb"));
    (expected["kept"], expected["next"]) = (Value::Null, Value::Null);
    assert_eq!(restored, expected);
    let compacted = report(&["compact"]);
    assert_eq!(names(&compacted), ["bytes", "bytes_before", "file"]);
    assert_eq!(compacted["bytes"], fs::metadata(folder.path().join("overlaid.redb")).unwrap().len());
}

#[test]
fn every_list_that_is_cut_says_so_and_no_other_does() {
    let folder = tempfile::tempdir().unwrap();
    done(run(folder.path(), &["load", SAMPLES]));
    for _ in 0..2 {
        create_token(folder.path(), "read");
    }
    let user = "7001";
    let commands: [&[&str]; 5] =
        [&["signal", "list"], &["overlay", "list"], &["outcome", "list", user], &["mission", user], &["token", "list"]];
    for command in commands {
        for json in [&[][..], &["--json"]] {
            let rows = |more: &[&str]| {
                let output = run(folder.path(), &[command, more, json].concat());
                let said = error(&output);
                (done(output).lines().count() - usize::from(json.is_empty()), said)
            };
            let (all, nothing) = rows(&["--all"]);
            assert_eq!(nothing, "", "{command:?}");
            let cut = "overlaid: only the first rows are shown: --limit ROWS shows more, --all shows all\n".to_owned();
            assert_eq!(rows(&["--limit", "1"]), (1, if all > 1 { cut } else { String::new() }), "{command:?} {json:?}");
            assert_eq!(rows(&["--limit", &all.to_string()]), (all, String::new()), "{command:?} {json:?}");
        }
    }
    // Rates come whole.
    assert_eq!(done(run(folder.path(), &["rate", "list"])).lines().count(), 22);
}

#[test]
fn nothing_is_coloured_where_the_environment_says_no_color() {
    if !has_tool("script") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // On a terminal: help, an error of the command line, and a line of the log.
    for command in ["--help", "stats --no-such-option", "load /dev/null"] {
        let shown = |environment: &[(&str, &str)]| {
            let program = program();
            let line = format!("{} --data {} {command}", program.get_program().display(), folder.path().display());
            let mut terminal = Command::new("script");
            terminal.args(["--quiet", "--command", &line, "/dev/null"]).stdin(Stdio::null()).env_remove("NO_COLOR");
            // A word of it can not be read, which is logged.
            terminal.env("TERM", "xterm").env("RUST_LOG", "nonsense").envs(environment.iter().copied());
            String::from_utf8(terminal.output().unwrap().stdout).unwrap()
        };
        let (coloured, plain) = (shown(&[]), shown(&[("NO_COLOR", "1")]));
        assert!(coloured.contains('\x1b'), "{command}: {coloured}");
        assert!(!plain.contains('\x1b') && !plain.trim().is_empty(), "{command}: {plain}");
        // By its definition an empty value says nothing.
        assert!(shown(&[("NO_COLOR", "")]).contains('\x1b'), "{command}");
    }
}
