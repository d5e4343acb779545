//! Backup, verify and restore, as an operator runs them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;

use crate::kit::{
    Direct, SAMPLES, Server, World, code, create_token, done, error, files_in, overlay, pips_signal, program, run,
    signal_id, text, value,
};

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
    let made = run(&data, &["backup", text(&safe)]);
    let log = error(&made);
    assert!(log.contains("backup made and verified") && !log.contains("download"), "nobody downloads it: {log}");
    done(made);
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
    assert!(error(&refused).contains("stop the server"), "{refused:?}");
    assert_eq!(code(&run(&data, &["verify", text(&data.join("overlaid.redb"))])), 2, "nor is a live file verified");
    drop(server);
    assert_eq!(files_in(&data).len(), 1, "{:?}", files_in(&data));
}

#[test]
fn a_running_server_makes_the_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (data, safe) = (folder.path().join("data"), folder.path().join("safe.redb"));
    let server = Server::with_samples(&data);
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
    for name in [
        "backup_age_seconds",
        "backup_bytes",
        "backup_verified_timestamp_seconds",
        "writable 1",
        "copies_are_safe",
        "copy_waits",
    ] {
        assert!(metrics.contains(&format!("overlaid_{name}")), "{name} in {metrics}");
    }
}

/// A process that works with a file goes on doing so when another file gets its name: what it acknowledges then is
/// lost.
#[test]
fn no_database_in_use_is_replaced_by_a_backup_or_an_export() {
    let folder = tempfile::tempdir().unwrap();
    let (data, other) = (folder.path().join("data"), folder.path().join("other"));
    let server = Server::with_samples(&data);
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
        assert!(error(&refused).contains("is in use: write to another file"), "{refused:?}");
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
    let (asked, _own) = (Server::with_samples(&one), Server::start(&another, &[]));
    let refused =
        run(&another, &["backup", text(&folder.path().join("safe.redb")), "--server", &asked.address.to_string()]);
    assert_eq!(code(&refused), 2);
    let error = error(&refused);
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
        server.put_balance(7, balance);
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
    let [write, admin] = ["write", "admin"].map(|scope| create_token(folder.path(), scope));
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
        server.put_balance(7, round);
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
        used.together((0..100).map(|user| overlay(user, balance)));
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

/// Else a backup of another database, verified and all, would be taken for one of the server's.
#[test]
fn the_server_that_is_named_is_asked_or_the_command_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (data, at_rest, safe) = (folder.path().join("a"), folder.path().join("b"), folder.path().join("safe.redb"));
    let line = folder.path().join("one.ndjson");
    fs::write(&line, r#"{"overlay":{"user_id":"another","account_balance":1}}"#).unwrap();
    done(run(&at_rest, &["load", text(&line)]));
    let server = Server::with_samples(&data);
    let (address, nobody) = (server.address.to_string(), unused_address());
    for path in [vec![], vec![text(&safe)]] {
        let ask = |address| [vec!["backup", "--server", address], path.clone()].concat();
        // The database beside which the command was started is of no server; neither is it the one that is asked.
        for (address, said) in [(&address, text(&data)), (&nobody, &nobody)] {
            let refused = run(&at_rest, &ask(address));
            assert_eq!(code(&refused), 2, "{refused:?}");
            assert!(error(&refused).contains(said), "{refused:?}");
        }
        let by_environment =
            program().env("OVERLAID_SERVER", &nobody).arg("--data").arg(&at_rest).args(["backup"]).args(&path).output();
        assert_eq!(code(&by_environment.unwrap()), 2);
        assert!(!safe.exists() && !at_rest.join("backups").exists() && !data.join("backups").exists());
    }
    // Where there is no database that could be meant instead, the server's is.
    let made = done(run(&folder.path().join("none"), &["backup", text(&safe), "--server", &address]));
    assert_eq!(value(&made, "overlays"), "25");
    let made = done(run(&folder.path().join("none"), &["backup", "--server", &address]));
    assert!(value(&made, "file").starts_with(text(&data)) && value(&made, "overlays") == "25", "{made}");
}

fn unused_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_backup_for_a_path_leaves_none_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (data, safe) = (folder.path().join("data"), folder.path().join("safe.redb"));
    let server = Server::with_samples(&data);
    for _ in 0..2 {
        let made = done(run(&data, &["backup", text(&safe), "--server", &server.address.to_string()]));
        assert_eq!(value(&made, "file"), text(&safe));
        assert_eq!(value(&made, "sha256"), value(&done(run(&data, &["verify", text(&safe)])), "sha256"));
    }
    assert_eq!(files_in(&data), [data.join("overlaid.redb")]);
    assert_eq!(server.get("/readyz").json()["backup"], serde_json::Value::Null, "the server's own folder has none");
}

#[test]
fn a_backup_that_arrives_torn_or_damaged_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (data, safe) = (folder.path().join("data"), folder.path().join("safe.redb"));
    done(run(&data, &["load", SAMPLES]));
    let whole = fs::read(data.join("overlaid.redb")).unwrap();
    let mut damaged = whole.clone();
    let at = damaged.windows(6).position(|window| window == b"EURUSD").unwrap();
    damaged[at] = b'X';
    for (body, is_last_missing, expected) in [(&whole, true, 2), (&damaged, false, 1), (&whole, false, 0)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let body = body.clone();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.read(&mut [0; 4_096]).unwrap();
            write!(client, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).unwrap();
            client.write_all(&body[..body.len() - usize::from(is_last_missing)]).unwrap();
        });
        let answer = run(&folder.path().join("none"), &["backup", text(&safe), "--server", &address]);
        assert_eq!(code(&answer), expected, "{answer:?}");
        assert_eq!(safe.exists(), expected == 0);
        assert!(!folder.path().join("safe.redb.part").exists());
    }
}

/// A clock that was ahead once has named backups after a time that is yet to come.
#[test]
fn backups_of_the_future_go_before_the_one_that_was_just_made() {
    let folder = tempfile::tempdir().unwrap();
    let (data, safe) = (folder.path().join("data"), folder.path().join("safe"));
    let server = Server::start(&data, &["--backup-dir", text(&safe), "--backup-keep", "3"]);
    let back_up = |balance: usize| {
        server.put_balance(7, balance);
        let made = server.send("POST", "/v1/admin/backup", "").json();
        PathBuf::from(made["file"].as_str().unwrap())
    };
    let ahead: Vec<_> = (1..=3)
        .map(|balance| {
            let made = back_up(balance);
            let name = made.file_name().unwrap().to_str().unwrap().replacen("overlaid-20", "overlaid-29", 1);
            let ahead = made.with_file_name(name);
            fs::rename(made, &ahead).unwrap();
            ahead
        })
        .collect();
    for round in 1..=3 {
        let made = back_up(3 + round);
        assert!(made.exists(), "{made:?}");
        let left: Vec<_> = ahead.iter().filter(|file| file.exists()).collect();
        assert_eq!(left, ahead[round..].iter().collect::<Vec<_>>(), "the oldest by what is in it has gone");
        let latest = overlaid::store::verify(&safe.join("latest.redb")).unwrap();
        assert_eq!(latest, overlaid::store::verify(&made).unwrap());
    }
}

/// The numbers of changes begin again below those of the backups that were made before.
#[test]
fn backups_made_after_a_restore_are_kept_and_those_it_undid_go_first() {
    let folder = tempfile::tempdir().unwrap();
    let (data, safe, first) =
        (folder.path().join("data"), folder.path().join("safe"), folder.path().join("first.redb"));
    let plan = ["--backup-dir", text(&safe), "--backup-keep", "3"];
    let back_up = |server: &Server, balance: usize| {
        // More changes than are made after the restore, so that no two backups of one second get one name.
        for step in 0..5 {
            server.put_balance(7, balance * 10 + step);
        }
        PathBuf::from(server.send("POST", "/v1/admin/backup", "").json()["file"].as_str().unwrap())
    };
    let mut server = Server::start(&data, &plan);
    fs::rename(back_up(&server, 1), &first).unwrap();
    let undone: Vec<_> = (2..=4).map(|balance| back_up(&server, balance)).collect();
    server.terminate();
    done(run(&data, &["restore", text(&first)]));
    let server = Server::start(&data, &plan);
    let mut made = Vec::new();
    for round in 1..=3 {
        // Of one change each, so that none comes up to those before.
        server.put_balance(7, round);
        let answer = server.send("POST", "/v1/admin/backup", "").json();
        made.push(PathBuf::from(answer["file"].as_str().unwrap()));
        assert!(made.iter().all(|file| file.exists()), "{made:?}");
        assert_eq!(undone.iter().filter(|file| file.exists()).count(), 3 - round);
    }
}

#[test]
fn a_backup_that_seems_to_be_of_the_future_has_no_age_and_the_next_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let (data, safe) = (folder.path().join("data"), folder.path().join("data/backups"));
    done(run(&data, &["load", SAMPLES]));
    let made = value(&done(run(&data, &["backup"])), "file");
    let future = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    fs::File::options().write(true).open(&made).unwrap().set_modified(future).unwrap();
    let server = Server::start(&data, &[]);
    let backup = &server.get("/readyz").json()["backup"];
    assert_eq!((&backup["age_s"], &backup["verified_at"]), (&serde_json::Value::Null, &"2096-10-02T07:06:40Z".into()));
    let metrics = server.get("/metrics").body;
    assert!(metrics.contains("backup_bytes") && !metrics.contains("backup_age_seconds"), "{metrics}");
    drop(server);
    let server = Server::start(&data, &["--backup-every", "1h"]);
    // It is made at the start, not in an hour.
    while server.get("/readyz").json()["backup"]["age_s"].is_null() {}
    assert!(server.get("/metrics").body.contains("overlaid_backup_age_seconds 0"));
    assert!(files_in(&safe).len() >= 2);
}

#[tokio::test]
async fn the_age_of_the_newest_backup_does_not_follow_the_clock() {
    let world = World::new();
    world.service.back_up().await.unwrap();
    for step_ms in [-86_400_000, 2 * 86_400_000] {
        world.advance(step_ms);
        let age = world.service.health().backup.unwrap().age.unwrap();
        assert!(age < std::time::Duration::from_hours(1), "{age:?} after {step_ms} ms");
    }
}

/// However many ask, one thread is taken, and others are left for those who read the file.
#[test]
fn those_who_ask_while_a_backup_is_being_made_get_that_one() {
    const ASKING: usize = 60;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(2).build().unwrap();
    let world = World::new();
    runtime.block_on(async {
        world.put_signal(&pips_signal("S1")).await;
        let first = world.service.back_up().await.unwrap();
        // The next one waits for this lock.
        let latest = fs::File::open(first.file.with_file_name("latest.redb")).unwrap();
        latest.lock().unwrap();
        let ask = |_| {
            let service = world.service.clone();
            tokio::spawn(async move { service.back_up().await })
        };
        let asking: Vec<_> = (0..ASKING).map(ask).collect();
        tokio::task::yield_now().await;
        world.service.clear_cache();
        assert!(world.service.signal(&signal_id("S1")).await.is_ok(), "the file is read meanwhile");
        drop(latest);
        for answer in asking {
            answer.await.unwrap().unwrap();
        }
        assert_eq!(world.service.metrics().backups_made.get(), 2);
        // A later one is made anew.
        world.service.back_up().await.unwrap();
        assert_eq!(world.service.metrics().backups_made.get(), 3);
    });
}

#[test]
fn what_killed_backups_left_in_the_folder_is_removed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (data, safe) = (folder.path().join("data"), folder.path().join("safe"));
    fs::create_dir(&safe).unwrap();
    let left = ["overlaid-20250101T000000Z-000000000007.redb.part", "latest.redb.part"].map(|name| safe.join(name));
    let others = ["mine.redb.part", "overlaid-20250101T000000Z-000000000008.redb.part"].map(|name| safe.join(name));
    for file in left.iter().chain(&others) {
        fs::write(file, "half").unwrap();
    }
    let in_use = fs::File::open(&others[1]).unwrap();
    in_use.lock().unwrap();
    let server = Server::start(&data, &["--backup-dir", text(&safe)]);
    assert_eq!(server.send("POST", "/v1/admin/backup", "").status, 200);
    assert!(left.iter().all(|file| !file.exists()), "{:?}", files_in(&safe));
    assert!(others.iter().all(|file| file.exists()), "of others, or being written: {:?}", files_in(&safe));
}

/// A command does not know how many the server keeps.
#[test]
fn a_backup_without_a_server_removes_none() {
    let folder = tempfile::tempdir().unwrap();
    done(run(folder.path(), &["load", SAMPLES]));
    let safe = folder.path().join("backups");
    fs::create_dir(&safe).unwrap();
    for seq in 1..=30 {
        fs::write(safe.join(format!("overlaid-20250101T000000Z-{seq:012}.redb")), "of the server").unwrap();
    }
    done(run(folder.path(), &["backup"]));
    assert_eq!(files_in(&safe).len(), 30 + 2);
}
