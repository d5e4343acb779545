//! Backup, verify and restore, as an operator runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::direct::Direct;
use crate::process::{Server, run};
use crate::store::overlay;

pub(crate) const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/samples");

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// Standard output, after a look at the exit code.
pub(crate) fn done(output: Output) -> String {
    assert_eq!(code(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The value after a name in what a command reports.
pub(crate) fn value(report: &str, name: &str) -> String {
    let line = report.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {report}"));
    line.split_once(' ').unwrap().1.trim().to_owned()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_backup_holds_everything_and_restores_it() {
    let folder = tempfile::tempdir().unwrap();
    let (data, safe) = (folder.path().join("data"), folder.path().join("safe.redb"));
    done(run(&data, &["load", SAMPLES]));
    done(run(&data, &["token", "create", "--scope", "read"]));
    let export = done(run(&data, &["export"]));
    let tokens = done(run(&data, &["token", "list"]));
    let before = fs::read(data.join("overlaid.redb")).unwrap();
    let made = done(run(&data, &["backup", text(&safe)]));
    assert_eq!(fs::read(data.join("overlaid.redb")).unwrap(), before, "a backup does not touch the file");
    let verified = done(run(&data, &["verify", text(&safe)]));
    assert_eq!(value(&made, "sha256"), value(&verified, "sha256"));
    assert_eq!((value(&verified, "overlays"), value(&verified, "tokens")), ("25".to_owned(), "1".to_owned()));

    // The drill: another machine, an empty folder.
    let other = folder.path().join("other");
    done(run(&other, &["restore", text(&safe)]));
    assert_eq!((done(run(&other, &["export"])), done(run(&other, &["token", "list"]))), (export, tokens));

    // And over a database that is there, which stays beside the new one.
    let line = folder.path().join("one.ndjson");
    fs::write(&line, r#"{"overlay":{"user_id":"later","account_balance":1}}"#).unwrap();
    done(run(&data, &["load", text(&line)]));
    let later = done(run(&data, &["verify", text(&data.join("overlaid.redb"))]));
    let restored = done(run(&data, &["restore", text(&safe)]));
    let kept = done(run(&data, &["verify", &value(&restored, "kept")]));
    assert_eq!(value(&kept, "sha256"), value(&later, "sha256"));
    assert_eq!(code(&run(&data, &["overlay", "get", "later"])), 1);
    assert_eq!(files_in(&data).len(), 2, "nothing half done is left: {:?}", files_in(&data));
}

#[test]
fn a_restore_refuses_what_does_not_verify_and_while_a_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (data, safe) = (folder.path().join("data"), folder.path().join("safe.redb"));
    done(run(&data, &["load", SAMPLES]));
    done(run(&data, &["backup", text(&safe)]));
    let mut torn = fs::read(&safe).unwrap();
    let at = torn.windows(6).position(|window| window == b"EURUSD").unwrap();
    torn[at] = b'X';
    let bad = folder.path().join("bad.redb");
    fs::write(&bad, torn).unwrap();
    let before = fs::read(data.join("overlaid.redb")).unwrap();
    assert_eq!(code(&run(&data, &["restore", text(&bad)])), 1);
    assert_eq!(code(&run(&data, &["restore", "/nowhere/at/all"])), 2);
    assert_eq!(fs::read(data.join("overlaid.redb")).unwrap(), before);
    let server = Server::start(&data, &[]);
    let refused = run(&data, &["restore", text(&safe)]);
    assert_eq!(code(&refused), 2);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop the server"), "{refused:?}");
    assert_eq!(code(&run(&data, &["verify", text(&data.join("overlaid.redb"))])), 2, "nor is a live file verified");
    drop(server);
    assert_eq!(files_in(&data).len(), 1, "{:?}", files_in(&data));
}

#[test]
fn a_running_server_makes_the_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (data, safe) = (folder.path().join("data"), folder.path().join("safe.redb"));
    let server = Server::start(&data, &["--load", SAMPLES]);
    assert_eq!(server.get("/readyz").json()["backup"], serde_json::Value::Null);
    let address = server.address.to_string();
    let made = done(run(&data, &["backup", "--server", &address]));
    assert!(value(&made, "file").starts_with(text(&data.join("backups"))), "{made}");
    let copied = done(run(&data, &["backup", text(&safe), "--server", &address]));
    assert_eq!(value(&copied, "sha256"), value(&done(run(&data, &["verify", text(&safe)])), "sha256"));
    let ready = server.get("/readyz").json();
    assert_eq!((&ready["status"], &ready["backup"]["failing"]), (&"ok".into(), &false.into()));
    assert!(ready["backup"]["age_s"].as_i64().unwrap() < 60 && ready["backup"]["file_bytes"].as_u64().unwrap() > 0);
    let metrics = server.get("/metrics").body;
    for name in
        ["backup_age_seconds", "backup_bytes", "backup_verified_ms", "writable 1", "copies_are_safe", "copy_waits"]
    {
        assert!(metrics.contains(&format!("overlaid_{name}")), "{name} in {metrics}");
    }
}

/// A process that works with a file goes on doing so when another file gets its name: what it acknowledges then is lost.
#[test]
fn no_database_in_use_is_replaced_by_a_backup_or_an_export() {
    let folder = tempfile::tempdir().unwrap();
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let server = Server::start(&data, &["--load", SAMPLES]);
    done(run(&other, &["load", SAMPLES]));
    let (live, at_rest) = (data.join("overlaid.redb"), other.join("overlaid.redb"));
    let before = overlaid::store::verify(&at_rest).unwrap().sha256;
    let address = server.address.to_string();
    for (from, command) in [
        (&data, vec!["backup", text(&live), "--server", &address]),
        (&other, vec!["backup", text(&live)]),
        (&other, vec!["export", "--out", text(&live)]),
        (&other, vec!["backup", text(&at_rest)]),
        (&other, vec!["export", "--out", text(&at_rest)]),
    ] {
        let refused = run(from, &command);
        assert_eq!(code(&refused), 2, "{command:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("is in use: write to another file"), "{refused:?}");
        let patched = server.send("PATCH", "/v1/users/7001/overlay", r#"{"account_balance":77771}"#);
        assert_eq!(patched.status, 200);
    }
    assert_eq!(overlaid::store::verify(&at_rest).unwrap().sha256, before);
    drop(server);
    assert!(done(run(&data, &["overlay", "get", "7001"])).contains(r#""account_balance":77771"#));
    assert_eq!(code(&run(&other, &["export", "--out", "/dev/null"])), 2, "nor is a device");
}

#[test]
fn the_server_that_is_asked_for_a_backup_must_be_the_databases_own() {
    let folder = tempfile::tempdir().unwrap();
    let (one, another) = (folder.path().join("one"), folder.path().join("another"));
    let (asked, _own) = (Server::start(&one, &["--load", SAMPLES]), Server::start(&another, &[]));
    let refused =
        run(&another, &["backup", text(&folder.path().join("safe.redb")), "--server", &asked.address.to_string()]);
    assert_eq!(code(&refused), 2);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains(text(&one)) && error.contains(text(&another)), "{error}");
    assert!(!folder.path().join("safe.redb").exists());
}

#[test]
fn other_files_in_the_backup_folder_are_left_alone_and_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let safe = folder.path().join("safe");
    fs::create_dir(&safe).unwrap();
    let others = ["mine", "2025-yearend", "0", "", "20260131T120000Z-1", "99990131T120000Z-000000000001.old"];
    let others: Vec<_> = others.iter().map(|name| safe.join(format!("overlaid-{name}.redb"))).collect();
    for other in &others {
        fs::write(other, "not a backup").unwrap();
    }
    let server = Server::start(&folder.path().join("data"), &["--backup-dir", text(&safe), "--backup-keep", "1"]);
    for balance in 1..=3 {
        server.send("PUT", "/v1/users/7/overlay", &format!(r#"{{"account_balance":{balance}}}"#));
        let made = server.send("POST", "/v1/admin/backup", "").json();
        let file = PathBuf::from(made["file"].as_str().unwrap());
        assert!(file.exists(), "{made}");
        assert_eq!(files_in(&safe).len(), others.len() + 2, "the newest, and latest.redb");
    }
    assert!(others.iter().all(|other| fs::read(other).unwrap() == b"not a backup"));
}

/// A backup holds everybody's balances and all tokens: only an admin may have one made.
#[test]
fn a_backup_over_http_takes_a_token_with_the_scope_admin() {
    let folder = tempfile::tempdir().unwrap();
    let token = |scope: &str| done(run(folder.path(), &["token", "create", "--scope", scope])).trim().to_owned();
    let (write, admin) = (token("write"), token("admin"));
    let server = Server::start(folder.path(), &[]);
    let ask = |token: &str| {
        let bearer = format!("Bearer {token}");
        server.send_with("POST", "/v1/admin/backup", &[("authorization", &bearer)], b"").status
    };
    assert_eq!((server.send("POST", "/v1/admin/backup", "").status, ask(&write), ask(&admin)), (401, 403, 200));
    let address = server.address.to_string();
    assert_eq!(code(&run(folder.path(), &["backup", "--server", &address])), 2);
    done(run(folder.path(), &["backup", "--server", &address, "--token", &admin]));
}

#[test]
fn scheduled_backups_are_made_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let safe = folder.path().join("safe");
    let plan = ["--backup-dir", text(&safe), "--backup-every", "1s", "--backup-keep", "2"];
    let server = Server::start(&folder.path().join("data"), &plan);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0.. {
        assert!(round < 600, "only {seen:?}");
        server.send("PUT", "/v1/users/7/overlay", &format!(r#"{{"account_balance":{round}}}"#));
        if safe.exists() {
            let files = files_in(&safe);
            let named: Vec<_> = files
                .into_iter()
                .filter(|file| text(file).contains("overlaid-") && text(file).ends_with("redb"))
                .collect();
            assert!(named.len() <= 3, "{named:?}");
            seen.extend(named);
        }
        if seen.len() >= 4 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    drop(server);
    let latest = done(run(folder.path(), &["verify", text(&safe.join("latest.redb"))]));
    let newest = seen.into_iter().rfind(|file| file.exists()).unwrap();
    assert_eq!(value(&latest, "sha256"), value(&done(run(folder.path(), &["verify", text(&newest)])), "sha256"));
}

#[test]
fn a_compacted_file_says_the_same_in_less_space() {
    let fresh = tempfile::tempdir().unwrap();
    done(run(fresh.path(), &["load", SAMPLES]));
    let used = Direct::new();
    for balance in 1..=100 {
        used.together((0..100).map(|user| overlay(&user.to_string(), balance)));
    }
    for folder in [fresh, used.close()] {
        let file = folder.path().join("overlaid.redb");
        let look = || done(run(folder.path(), &["verify", text(&file)]));
        let bytes = |report: &str| value(report, "bytes").parse::<u64>().unwrap();
        let before = look();
        done(run(folder.path(), &["compact"]));
        let after = look();
        assert_eq!(value(&before, "sha256"), value(&after, "sha256"));
        assert!(bytes(&after) < bytes(&before), "{before}{after}");
        done(run(folder.path(), &["compact"]));
        assert_eq!(bytes(&look()), bytes(&after), "there is nothing left to take off");
    }
}
