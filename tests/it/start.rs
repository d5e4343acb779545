//! What an operator meets at the start of a server, and what a signal does to it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::kit::{EURUSD, Server, program, run};

/// The user `nobody`, whom permissions bind, where a test runs as root.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    // The user of this process owns its folder in /proc.
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Sends SIGHUP, and returns what the server logs of it.
fn hang_up(server: &Server) -> Value {
    server.signal("HUP");
    server.logged(|line| line["message"].as_str().is_some_and(|message| message.starts_with("SIGHUP")))
}

const READ_AGAIN: &str = "SIGHUP: the tables of instruments and tiers were read again";
const STAY: &str = "SIGHUP: the tables of instruments and tiers stay as they were";

#[test]
fn a_hangup_does_not_end_a_server_without_tables_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let said = hang_up(&server);
    assert_eq!((&said["message"], &said["changes"]), (&json!(READ_AGAIN), &json!("nothing changed")));
    assert_eq!(server.get("/healthz").status, 200);
}

const GOLD_TIER: &str = "[GOLD]\nrisk_percent=2\nmin_confidence=0\nmax_lots=50\ntrades_per_day=9\n";

/// A table with one instrument, whose lots have this size.
fn eurusd(contract_size: u32) -> String {
    format!(
        "[EURUSD]\nbase='EUR'\nquote='USD'\ncontract_size={contract_size}\npip='0.0001'\ndigits=5\nmin_lot='0.01'\n\
         lot_step='0.01'\nmax_lot=100\n"
    )
}

#[test]
fn after_a_hangup_every_read_is_by_the_tables_as_they_are_now_under_another_tag() {
    let folder = tempfile::tempdir().unwrap();
    let (instruments, tiers) = (folder.path().join("instruments.toml"), folder.path().join("tiers.toml"));
    fs::write(&instruments, eurusd(100_000)).unwrap();
    fs::write(&tiers, GOLD_TIER).unwrap();
    let files = ["--instruments", instruments.to_str().unwrap(), "--tiers", tiers.to_str().unwrap()];
    let server = Server::start(folder.path(), &files);
    server.send("PUT", "/v1/signals/S", EURUSD);
    server.send("PUT", "/v1/users/7/overlay", r#"{"account_balance":10000,"tier":"gold"}"#);
    server.send("PUT", "/v1/users/8/overlay", r#"{"account_balance":10000,"risk_percent":1}"#);
    let view = "/v1/users/7/missions/S";
    // The view and the rows of all lists say the same: the budget, the size and the reasons of user 7.
    let mission = || {
        let shown = |mission: &Value| json!([mission["risk_budget"], mission["lots"], mission["reasons"]]);
        let one = shown(&server.get(view).json()["mission"]);
        for list in ["/v1/signals/S/missions", "/v1/signals/S/missions?parts=mission", "/v1/users/7/missions"] {
            assert_eq!(shown(&server.get(list).json()["missions"][0]["mission"]), one, "{list}");
        }
        one
    };
    let tag = || server.get(view).header("etag").unwrap().to_owned();
    let of_tier = |tier: &str| {
        let listed = server.get(&format!("/v1/signals/S/missions?tier={tier}")).json();
        listed["missions"].as_array().unwrap().len()
    };
    let is_held = |tag: &str| server.send_with("GET", view, &[("if-none-match", tag)], b"").status == 304;
    assert_eq!((mission(), of_tier("GOLD")), (json!([200, 1, []]), 1));
    let first = tag();

    fs::write(&instruments, eurusd(10_000) + &eurusd(10_000).replace("[EURUSD]", "[MINE]")).unwrap();
    let said = hang_up(&server);
    assert_eq!(said["message"], READ_AGAIN);
    assert_eq!(said["changes"], "instruments added: MINE; instruments changed: EURUSD");
    assert_eq!(mission(), json!([200, 10, []]));
    assert!(!is_held(&first) && is_held(&tag()));

    fs::write(
        &tiers,
        GOLD_TIER.replace("risk_percent=2", "risk_percent=1").replace("[GOLD]", "[BEST]\naliases=['gold']"),
    )
    .unwrap();
    assert_eq!(hang_up(&server)["changes"], "tiers added: BEST; tiers removed: GOLD");
    assert_eq!((mission(), of_tier("BEST"), of_tier("gold")), (json!([100, 5, []]), 1, 1));
    // A balance that is pushed afterwards is rendered under the new tables too.
    assert_eq!(server.send("PATCH", "/v1/users/7/overlay", r#"{"account_balance":20000}"#).status, 200);
    assert_eq!(mission(), json!([200, 10, []]));

    let before = tag();
    for (file, text, where_it_is_wrong) in [
        (&instruments, "[EURUSD]\nquote='USD'\nsize=1\n", "instruments.toml: line 3"),
        (&tiers, "[GOLD]\nrisk_percent=101\n", "tiers.toml: line 1"),
    ] {
        let good = fs::read(file).unwrap();
        fs::write(file, text).unwrap();
        let said = hang_up(&server);
        assert_eq!(said["message"], STAY);
        assert!(said["error"].as_str().unwrap().contains(where_it_is_wrong), "{said}");
        assert!(is_held(&before));
        fs::write(file, good).unwrap();
    }
    // Wrong tiers keep good instruments out too: both tables are of one state.
    fs::remove_file(&tiers).unwrap();
    fs::write(&instruments, eurusd(100_000)).unwrap();
    let said = hang_up(&server);
    assert!(said["error"].as_str().unwrap().starts_with("cannot read ") && is_held(&before), "{said}");
    assert_eq!(mission(), json!([200, 10, []]));

    fs::write(&tiers, "").unwrap();
    let changes = "instruments changed: EURUSD; instruments removed: MINE; tiers removed: BEST";
    assert_eq!(hang_up(&server)["changes"], changes);
    assert_eq!(mission(), json!([null, null, ["unknown_tier", "no_risk_percent"]]));
    // With the tables of the start, a view is what it was, and so is what its tag names but the overlay.
    fs::write(&tiers, GOLD_TIER).unwrap();
    hang_up(&server);
    assert_eq!(mission(), json!([400, 2, []]));
}

#[test]
fn a_part_of_rust_log_that_can_not_be_read_is_said_and_the_rest_holds() {
    let folder = tempfile::tempdir().unwrap();
    let stats = |level: &str| {
        let mut command = program();
        command.env("RUST_LOG", level).arg("--data").arg(folder.path()).args(["load", "/dev/null"]);
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    let said = stats("nonsense,info");
    assert!(said.contains("part of RUST_LOG can not be read") && said.contains("nonsense"), "{said}");
    assert!(!stats("info,overlaid::http=debug").contains("RUST_LOG"));
}

#[test]
fn a_backup_folder_that_can_not_be_written_to_stops_the_start_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (data, no_folder) = (folder.path().join("data"), folder.path().join("a file"));
    fs::write(&no_folder, "").unwrap();
    let serve = |backup_dir: &Path| {
        run(&data, &["serve", "--listen", "127.0.0.1:0", "--backup-dir", backup_dir.to_str().unwrap()])
    };
    for backup_dir in [no_folder.clone(), no_folder.join("backups")] {
        let refused = serve(&backup_dir);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        let expected = format!("cannot write to the backup folder {}", backup_dir.display());
        assert!(said.contains(&expected), "{said}");
        assert!(!data.exists(), "nothing was made");
    }
}

#[test]
fn a_folder_that_may_not_be_searched_is_no_absent_database() {
    if !is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // The temporary folder itself is its owner's alone, so that the other user needs a way to the program's folder.
    let data = folder.path().join("data");
    assert!(run(&data, &["load", "/dev/null"]).status.success());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let copy = folder.path().join("overlaid");
    fs::copy(program().get_program(), &copy).unwrap();
    for command in ["stats", "compact"] {
        let asked =
            std::process::Command::new(&copy).arg("--data").arg(&data).arg(command).uid(NOBODY).output().unwrap();
        let said = String::from_utf8(asked.stderr).unwrap();
        assert_eq!(asked.status.code(), Some(2), "{said}");
        assert!(said.contains("ermission denied") && !said.contains("there is no database"), "{said}");
    }
}
