//! What the `legacy` commands leave alone: databases in the tree, files that a report does not speak of or that could
//! not be read, and whatever stands where a report or a pack is to go.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use insta::{allow_duplicates, assert_snapshot};

use crate::kit::{MISSION, Server, error, flat, json, program, run, shown, small_tree, write_old, write_pack};

fn set_modified(path: &Path, time: SystemTime) {
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// The names in a folder; none if it is not there.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Both the one that the files went into, which may be another name of a file elsewhere, and copies of it.
#[test]
fn a_database_in_the_tree_is_neither_packed_nor_removed() {
    for is_served in [false, true] {
        let (folder, tree) = small_tree();
        let [data, out] = ["data", "packs"].map(|name| folder.path().join(name));
        let [own, copy, link] =
            ["data/overlaid.redb", "copy.redb", "link.redb"].map(|name| Path::new(&tree).join(name));
        std::os::unix::fs::symlink(Path::new(&tree).join("data"), &data).unwrap();
        fs::create_dir(own.parent().unwrap()).unwrap();
        assert_eq!(run(&data, &["legacy", "import", &tree]).status.code(), Some(0));
        fs::copy(&own, &copy).unwrap();
        fs::hard_link(&own, &link).unwrap();
        // A socket of a server that runs, or of one that was killed.
        drop(std::os::unix::net::UnixListener::bind(data.join("overlaid.sock")).unwrap());
        let server = is_served.then(|| Server::start(&data, &[]));
        let archive = ["legacy", "archive", &tree, "--out", out.to_str().unwrap(), "--delete"];
        let text = shown(&run(&data, &archive));
        allow_duplicates!(assert_snapshot!(text, @"
        exit 1
          files                                                  14
          packed before                                           0
          packed                                                 10
          links left                                              0
          databases left                                          3
          listed only                                             1
          changed meanwhile                                       0
          packs                                                   1
          deleted                                                10
          kept                                                    4
        overlaid: copy.redb is a database: it stays
        overlaid: data/overlaid.redb is a database: it stays
        overlaid: data/overlaid.sock is no file: it stays
        overlaid: link.redb is a database: it stays
        "));
        let again = json(&run(&data, &[&archive[..], &["--json"]].concat()));
        assert_eq!((&again["databases_left"], &again["packs"], &again["kept"]), (&3.into(), &0.into(), &4.into()));
        drop(server);
        assert_eq!(json(&run(&data, &["stats", "--json"]))["records"]["signals"], 2);
        assert!(copy.exists() && link.exists());
    }
}

/// The program packs no database; one that a pack holds all the same stays, although it is still what was packed.
#[test]
fn a_database_that_was_packed_once_is_not_removed() {
    let (folder, tree) = small_tree();
    let out = folder.path().join("packs");
    let database = Path::new(&tree).join("a.redb");
    let content = [b"redb\x1a\n\xa9\r\n".as_slice(), &[b'x'; 5_000]].concat();
    fs::write(&database, &content).unwrap();
    write_pack(&out, "2025-07-16-001", 1, &[("file", "a.redb", &content)]);
    let text = shown(&run(folder.path(), &["legacy", "archive", &tree, "--out", out.to_str().unwrap(), "--delete"]));
    assert!(text.starts_with("exit 1\n") && text.contains("overlaid: a.redb is a database: it stays"), "{text}");
    assert_eq!(fs::read(&database).unwrap(), content);
}

/// To open it would be to hold back the import itself, and every writer of a server.
#[test]
fn a_database_in_the_tree_is_no_mission_and_not_waited_for() {
    let (folder, tree) = small_tree();
    let data = Path::new(&tree).join("data");
    let report = folder.path().join("report.ndjson");
    for command in ["import", "import", "plan"] {
        let arguments = ["legacy", command, &tree, "--report", report.to_str().unwrap(), "--json"];
        let output = run(&data, &arguments);
        assert_eq!(error(&output), "", "nothing is waited for");
        let counts = json(&output);
        assert_eq!((&counts["classes"]["mission"], &counts["quarantined"]["database"]), (&10.into(), &1.into()));
        let lines = fs::read_to_string(&report).unwrap();
        let line = lines.lines().find(|line| line.contains("overlaid.redb")).unwrap();
        assert!(line.contains("\"class\":\"quarantined\",\"reason\":\"database\""), "{line}");
    }
    // Another's is known by how it begins.
    let elsewhere = folder.path().join("elsewhere");
    let counts = json(&run(&elsewhere, &["legacy", "plan", &tree, "--json"]));
    assert_eq!(counts["quarantined"]["database"], 1);
}

#[test]
fn a_report_in_the_tree_is_refused_before_anything_is_done() {
    let (folder, tree) = small_tree();
    let data = folder.path().join("data");
    std::os::unix::fs::symlink(Path::new(&tree).join("missions"), folder.path().join("way")).unwrap();
    let before = names(&Path::new(&tree).join("missions"));
    let inside = format!("{tree}/{MISSION}");
    let content = fs::read(&inside).unwrap();
    let name = MISSION.strip_prefix("missions/").unwrap();
    let link = folder.path().join("way").join(name);
    let around = folder.path().join("none/../old").join(MISSION);
    for report in
        [inside.clone(), format!("{tree}/new.ndjson"), link.display().to_string(), around.display().to_string()]
    {
        for command in ["plan", "import", "verify"] {
            let text = shown(&run(&data, &["legacy", command, &tree, "--report", &report]));
            assert!(text.starts_with("exit 2\n") && text.contains("lies inside the tree"), "{text}");
        }
    }
    assert!(!data.exists(), "no database is made");
    assert_eq!((names(&Path::new(&tree).join("missions")), fs::read(&inside).unwrap()), (before, content));
    assert!(!Path::new(&tree).join("new.ndjson").exists());
}

#[test]
fn a_report_takes_the_place_of_a_report_and_of_no_other_file() {
    let (folder, tree) = small_tree();
    let [data, report] = ["data", "report"].map(|name| folder.path().join(name));
    let report_text = report.to_str().unwrap();
    for other in ["mine", "{\"path\":\"a\"}\n", "\n", "{\"a\":1,\"class\":\"mission\"}"] {
        fs::write(&report, other).unwrap();
        for command in ["plan", "import", "verify"] {
            let text = shown(&run(&data, &["legacy", command, &tree, "--report", report_text]));
            assert!(text.starts_with("exit 2\n") && text.contains("is there already and is no report"), "{text}");
        }
        assert_eq!(fs::read_to_string(&report).unwrap(), other);
    }
    assert!(!data.exists(), "no database is made");
    fs::write(&report, "").unwrap();
    let mut wrong = flat("WRONG_EURUSD_1", "7000000009", 1_000, 5);
    wrong["risk_amount"] = 77.into();
    write_old(Path::new(&tree), "missions/wrong.json", wrong.to_string());
    for (command, code) in [("plan", 0), ("import", 0), ("verify", 1), ("plan", 0)] {
        let output = run(&data, &["legacy", command, &tree, "--report", report_text]);
        assert_eq!(output.status.code(), Some(code), "{command}: {}", shown(&output));
        assert!(fs::metadata(&report).unwrap().len() > 0, "{command}");
    }
}

/// An earlier run named it in an index; it is the same file still, as far as size and time tell.
#[test]
fn a_file_that_changed_while_it_was_packed_is_packed_again() {
    let (folder, tree) = small_tree();
    let out = folder.path().join("packs");
    let path = Path::new(&tree).join("a.json");
    fs::write(&path, "{\"a\":1}").unwrap();
    set_modified(&path, UNIX_EPOCH);
    write_pack(&out, "2025-07-16-001", 1, &[("changed", "a.json", "{\"a\":0}")]);
    let archive = ["legacy", "archive", &tree, "--out", out.to_str().unwrap(), "--json"];
    let packed = json(&run(folder.path(), &archive));
    assert_eq!((&packed["packed"], &packed["packed_before"]), (&11.into(), &0.into()));
    let content = run(folder.path(), &["legacy", "archive", "cat", out.to_str().unwrap(), "a.json"]).stdout;
    assert_eq!(content, b"{\"a\":1}");
}

/// Its size and time are the same in both runs.
#[test]
fn a_file_that_could_not_be_read_once_is_packed_once_it_can() {
    let (folder, tree) = small_tree();
    let out = folder.path().join("packs");
    let path = Path::new(&tree).join("a.json");
    fs::write(&path, "{\"a\":1}").unwrap();
    let archive = ["legacy", "archive", &tree, "--out", out.to_str().unwrap(), "--json"];
    for (mode, packed, packed_before, unread) in [(0o000, 10, 0, 1), (0o600, 1, 10, 0)] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let counts = json(&run_as_nobody(folder.path(), Path::new(&tree), &archive));
        assert_eq!(
            (&counts["packed"], &counts["packed_before"], &counts["listed_only"]),
            (&packed.into(), &packed_before.into(), &unread.into()),
            "{counts}"
        );
    }
    let content = run(folder.path(), &["legacy", "archive", "cat", out.to_str().unwrap(), "a.json"]).stdout;
    assert_eq!(content, b"{\"a\":1}");
}

/// A path that is too long for the system stands for a file that may not be read: permissions do not stop a test that
/// runs as root.
#[test]
fn what_can_not_be_packed_is_exit_code_1_is_listed_and_makes_no_pack() {
    let (folder, tree) = small_tree();
    let [out, long] = ["packs".to_owned(), "l".repeat(200)].map(|name| folder.path().join(name));
    // The folder's path is 4,000 bytes long under the one name of the tree: a file's name is too much.
    let room = 4_000 - long.as_os_str().len() - 1;
    let deep: String = (1..=room).map(|at| if at % 200 == 0 && at < room { '/' } else { 'd' }).collect();
    write_old(Path::new(&tree), &format!("{deep}/{}", "f".repeat(200)), "{}");
    fs::rename(&tree, &long).unwrap();
    let [out, long] = [&out, &long].map(|path| path.to_str().unwrap());
    for packs in [1, 0] {
        let output = run(folder.path(), &["legacy", "archive", long, "--out", out, "--json"]);
        let counts = json(&output);
        assert_eq!((&counts["listed_only"], &counts["packs"]), (&1.into(), &packs.into()), "{counts}");
        assert!(shown(&output).contains("ffff can not be read: it stays"), "{}", shown(&output));
        assert_eq!(output.status.code(), Some(1));
    }
    fs::rename(long, &tree).unwrap();
    let output = run(folder.path(), &["legacy", "archive", &tree, "--out", out, "--json"]);
    assert_eq!((&json(&output)["packed"], output.status.code()), (&1.into(), Some(0)), "{}", shown(&output));
}

/// A name as long as a name may be makes the path of a folder too long to be read, also for root.
#[test]
fn a_folder_that_can_not_be_read_is_listed_and_is_exit_code_1_of_every_command() {
    let (folder, tree) = small_tree();
    let [data, out, long] =
        ["data".to_owned(), "packs".to_owned(), "l".repeat(200)].map(|name| folder.path().join(name));
    // The last folder is readable under the short name only.
    let room = 4_100 - long.as_os_str().len() - 1;
    let deep: String = (1..=room).map(|at| if at % 200 == 0 && at < room { '/' } else { 'd' }).collect();
    fs::remove_dir_all(&tree).unwrap();
    write_old(Path::new(&tree), &format!("{deep}/hidden.json"), "{}");
    fs::rename(&tree, &long).unwrap();
    let [out_text, long] = [&out, &long].map(|path| path.to_str().unwrap());
    for command in [
        &["plan", long][..],
        &["import", long],
        &["verify", long],
        &["archive", long, "--out", out_text],
        &["archive", long, "--out", out_text, "--delete"],
    ] {
        let text = shown(&run(&data, &[&["legacy"], command].concat()));
        assert!(text.starts_with("exit 1\n") && text.contains("d can not be read"), "{text}");
    }
    assert!(names(&out).is_empty(), "no empty pack is made");
    fs::rename(long, &tree).unwrap();
    assert!(Path::new(&tree).join(&deep).join("hidden.json").exists());
}

/// Runs a command as the user `nobody` if the tests run as root, as permissions do not stop root; the folder becomes
/// nobody's.
fn run_as_nobody(folder: &Path, tree: &Path, arguments: &[&str]) -> Output {
    const NOBODY: u32 = 65_534;
    let mut command = program();
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        for path in [folder, tree] {
            chown_all(path, NOBODY);
        }
        command.uid(NOBODY).gid(NOBODY);
    }
    command.arg("--data").arg(folder.join("data")).args(arguments).output().unwrap()
}

fn chown_all(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            chown_all(&entry.unwrap().path(), user);
        }
    }
}

#[test]
fn an_original_that_can_not_be_removed_stays_is_listed_and_keeps_no_other() {
    let (folder, tree) = small_tree();
    let out = folder.path().join("packs");
    let kept = Path::new(&tree).join("kept");
    write_old(&kept, "a.json", "{\"a\":1}");
    fs::set_permissions(&kept, Permissions::from_mode(0o555)).unwrap();
    let arguments = ["legacy", "archive", &tree, "--out", out.to_str().unwrap(), "--delete", "--json"];
    for deleted in [10, 0] {
        let output = run_as_nobody(folder.path(), Path::new(&tree), &arguments);
        let counts = json(&output);
        assert_eq!((&counts["deleted"], &counts["kept"]), (&deleted.into(), &1.into()), "{}", shown(&output));
        let text = shown(&output);
        assert!(text.starts_with("exit 1\n"), "{text}");
        assert!(text.contains("overlaid: kept/a.json can not be removed (Permission denied"), "{text}");
    }
    assert!(kept.join("a.json").exists() && !Path::new(&tree).join(MISSION).exists());
    fs::set_permissions(&kept, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(run_as_nobody(folder.path(), Path::new(&tree), &arguments).status.code(), Some(0));
    assert!(!kept.exists());
}

/// Without `--delete` too.
#[test]
fn a_link_and_a_socket_that_stay_are_exit_code_1() {
    for name in ["l.json", "s"] {
        let (folder, tree) = small_tree();
        let out = folder.path().join("packs");
        let path = Path::new(&tree).join(name);
        if name == "s" {
            std::os::unix::net::UnixListener::bind(&path).unwrap();
        } else {
            std::os::unix::fs::symlink("missions", &path).unwrap();
        }
        for _ in 0..2 {
            let output = run(folder.path(), &["legacy", "archive", &tree, "--out", out.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
        }
        fs::remove_file(&path).unwrap();
        let output = run(folder.path(), &["legacy", "archive", &tree, "--out", out.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    }
}

/// Of another size, of the same size but newer, and new: none was imported as it is now.
#[test]
fn what_changed_since_the_report_is_neither_packed_nor_removed() {
    for is_packed_before in [false, true] {
        let (folder, tree) = small_tree();
        let [data, out, report] = ["data", "packs", "report.ndjson"].map(|name| folder.path().join(name));
        let [out, report] = [&out, &report].map(|path| path.to_str().unwrap());
        for entry in fs::read_dir(Path::new(&tree).join("missions")).unwrap() {
            set_modified(&entry.unwrap().path(), UNIX_EPOCH);
        }
        run(&data, &["legacy", "import", &tree, "--report", report]);
        let reported = fs::metadata(report).unwrap().modified().unwrap();
        let later = |minutes| reported + Duration::from_mins(minutes);
        let [longer, newer, new] =
            [MISSION, "missions/mission_ELITE_GUARD_EURUSD_1752645600_7000000001.json", "new.json"]
                .map(|name| Path::new(&tree).join(name));
        let content = fs::read_to_string(&longer).unwrap();
        fs::write(&longer, content.clone() + " ").unwrap();
        let content = fs::read_to_string(&newer).unwrap();
        fs::write(&newer, content.replace("FANG", "GNAF")).unwrap();
        fs::write(&new, content).unwrap();
        set_modified(&newer, later(1));
        for path in [&longer, &new] {
            // What was packed before is known by its time alone.
            set_modified(path, if is_packed_before { later(1) } else { UNIX_EPOCH });
        }
        if is_packed_before {
            assert_eq!(json(&run(&data, &["legacy", "archive", &tree, "--out", out, "--json"]))["packed"], 11);
        }
        let archive = ["legacy", "archive", &tree, "--out", out, "--delete", "--report", report, "--json"];
        let output = run(&data, &archive);
        let counts = json(&output);
        assert_eq!((&counts["deleted"], &counts["changed_meanwhile"]), (&8.into(), &3.into()), "{counts}");
        assert_eq!(output.status.code(), Some(1));
        let text = shown(&output);
        assert!(text.contains(&format!("overlaid: {MISSION} is not what the report speaks of: it stays")), "{text}");
        assert!([longer, newer, new].iter().all(|path| path.exists()));

        run(&data, &["legacy", "import", &tree, "--report", report]);
        set_modified(Path::new(report), later(2));
        let output = run(&data, &archive);
        assert_eq!((&json(&output)["deleted"], output.status.code()), (&3.into(), Some(0)), "{}", shown(&output));
    }
}

#[test]
fn a_folder_of_packs_in_the_tree_is_refused_and_not_made() {
    let (folder, tree) = small_tree();
    std::os::unix::fs::symlink(&tree, folder.path().join("way")).unwrap();
    for out in ["old/packs/deep", "way/packs", "none/../old/packs"] {
        let out = folder.path().join(out);
        let text = shown(&run(folder.path(), &["legacy", "archive", &tree, "--out", out.to_str().unwrap()]));
        assert!(text.starts_with("exit 2\n") && text.contains("lies inside the tree"), "{text}");
    }
    assert_eq!(names(Path::new(&tree)), ["missions"]);
    assert!(!folder.path().join("none").exists());
}

#[test]
fn nothing_is_made_for_a_tree_or_a_database_that_is_not_there() {
    let (folder, tree) = small_tree();
    let [data, out] = ["data", "packs"].map(|name| folder.path().join(name));
    let none = folder.path().join("none");
    let none = none.to_str().unwrap();
    for command in
        [&["plan", none][..], &["import", none], &["verify", none], &["archive", none, "--out", out.to_str().unwrap()]]
    {
        let text = shown(&run(&data, &[&["legacy"], command].concat()));
        assert!(text.starts_with("exit 2\n") && text.contains("cannot find"), "{text}");
    }
    let text = shown(&run(&data, &["legacy", "verify", &tree]));
    assert!(text.starts_with("exit 2\n") && text.contains("there is no database at"), "{text}");
    assert!(!data.exists() && !out.exists());
}

#[test]
fn two_runs_do_not_pack_into_one_folder_at_once() {
    let (folder, tree) = small_tree();
    let out = folder.path().join("packs");
    fs::create_dir(&out).unwrap();
    let other = File::open(&out).unwrap();
    other.try_lock().unwrap();
    let archive = ["legacy", "archive", &tree, "--out", out.to_str().unwrap()];
    let text = shown(&run(folder.path(), &archive));
    assert!(text.starts_with("exit 2\n") && text.contains("another run packs into"), "{text}");
    assert!(names(&out).is_empty());
    // To close the folder is not enough: a process that another test has just started may have inherited it.
    other.unlock().unwrap();
    assert_eq!(run(folder.path(), &archive).status.code(), Some(0));
}
