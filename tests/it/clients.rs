//! Commands as clients: of the server that has the database open, or of the same routes in their own process.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use tempfile::TempDir;

use crate::kit::{
    SAMPLES, Server, code, create_token, done, error, program, run, run_with_rights, shown, text, with_member,
    write_day,
};
use crate::tidy::sources;

/// Records whose times are given, so that two databases hold the same.
const RECORDS: &str = r#"{"signal":{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"2025-01-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z"}}
{"signal":{"signal_id":"S2","symbol":"USDJPY","direction":"SELL","stop_pips":20,"created_at":"2025-01-01T00:00:00Z","expires_at":"2098-01-01T00:00:00Z"}}
{"signal":{"signal_id":"S3","symbol":"GBPUSD","direction":"BUY","stop_pips":30,"created_at":"2025-01-01T00:00:00Z","expires_at":"2025-01-02T00:00:00Z"}}
{"overlay":{"user_id":"7","tier":"FANG","risk_percent":2,"account_balance":10000,"trades_remaining":5,"updated_at":"2025-01-01T00:00:00Z"}}
{"overlay":{"user_id":"8","account_balance":40,"updated_at":"2025-01-01T00:00:00Z"}}
{"rate":{"pair":"USDJPY","price":150.10,"updated_at":"2025-01-01T00:00:00Z"}}
{"outcome":{"signal_id":"S3","user_id":"7","status":"closed","profit":-12.50,"at":"2025-01-01T12:00:00Z"}}
"#;

/// A folder with the records in its database `data`.
fn with_records() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("records.ndjson"), RECORDS).unwrap();
    done(run(&data(&folder), &["load", text(&folder.path().join("records.ndjson"))]));
    folder
}

fn data(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}

fn socket(folder: &TempDir) -> PathBuf {
    data(folder).join("overlaid.sock")
}

/// Runs a command in a folder; `input` is its standard input.
fn run_in(folder: &Path, command: &str, input: &str) -> std::process::Output {
    let mut shell = Command::new("sh");
    shell
        .current_dir(folder)
        .arg("-c")
        .arg(format!("overlaid() {{ {} \"$@\"; }}; {command}", text(Path::new(program().get_program()))));
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that reads nothing closes it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// A text without what differs from run to run: times of this year and later ones, but for those of the records, and
/// seconds that are left.
fn alike(text: &str) -> String {
    let mut out = String::new();
    let mut rest = with_member(text, "seconds_remaining", |_| Some("…"));
    while let Some(at) = rest.find("202").or_else(|| rest.find("203")) {
        let (before, from) = rest.split_at(at);
        out += before;
        let end = from.find(|letter: char| !letter.is_ascii_digit() && !"-:.TZ".contains(letter)).unwrap_or(from.len());
        let is_time = from[..end].ends_with('Z') && !from.starts_with("2025-01-0");
        out += if is_time { "…" } else { &from[..end.max(3)] };
        rest = from[end.max(3)..].to_owned();
    }
    (out + &rest)
        .lines()
        .map(|line| if line.starts_with("seconds left") { "seconds left …" } else { line }.to_owned() + "\n")
        .collect()
}

/// Each command with what it prints, run one after the other. A line that begins with `<` is its standard input.
const SESSION: &[&str] = &[
    "mission 7",
    "mission 7 --limit 1",
    "mission 7 S1",
    "mission 7 S1 --json",
    "mission 8 S1",
    "mission 7 S9",
    "mission 9",
    "signal get S1",
    "signal get S9",
    "signal list",
    "signal list --status active --json",
    "signal list --symbol eur/usd",
    "signal list --limit 2",
    r#"signal put S4 '{"symbol":"EURUSD","direction":"BUY","stop_pips":20,"created_at":"2025-01-01T00:00:00Z","expires_at":"2099-01-01T00:00:00Z"}'"#,
    r#"signal put S4 '{"symbol":"EURUSD","direction":"SELL","stop_pips":20}'"#,
    r#"signal put S5 '{"symbol":"EURUSD"}'"#,
    "signal put S5 nonsense",
    "signal cancel S4",
    "signal close S2",
    "signal close S9",
    "signal delete S4",
    "signal delete S4",
    "overlay get 7",
    "overlay list",
    "overlay list --prefix 8 --json",
    "overlay list --limit 1",
    r#"overlay put 9 '{"account_balance":5}'"#,
    r#"overlay put 9 '{"account_balance":6}' --json"#,
    r#"overlay patch 9 '{"account_balance":7}'"#,
    r#"overlay patch 10 '{"account_balance":7}'"#,
    r#"overlay patch 9 '{"balance":7}'"#,
    "overlay delete 9",
    "overlay delete 9",
    "rate list",
    "rate list --json",
    "rate put GBPUSD 1.34",
    "rate put GBPUSD -- -1",
    "outcome list 7",
    "outcome put 8 S1 fired",
    "outcome put 8 S9 fired",
    "outcome put 8 S1 closed --profit=-5 --result loss",
    "outcome list 8 --json",
    "outcome delete 8 S1",
    "outcome delete 8 S1",
    "user delete 8",
    "user delete 8 --json",
    "stats | head -n 6",
    "stats --json | grep -o '\"records\":{[^}]*}'",
    "mission 7 S1 --explain",
    "mission 7 S1 --explain --json",
    "mission 7 S9 --explain",
    "load records.ndjson",
    "load - --json < records.ndjson",
    "load more.ndjson",
    "load nowhere.ndjson",
    "export",
    "export --out exported.ndjson && overlaid export | cmp exported.ndjson -",
    "prune --before 2025-06-01",
    "prune --before 90d --json",
    "prune --before 2999-01-01",
    "token list",
    "token create --scope read --name bot --expires 90d | cut -c 1-4",
    "token create --scope root",
    "token create --scope read --expires never",
    "token list --json | tr -d '0-9a-f'",
    "token revoke none",
    "token none",
    "token none --json",
];

#[test]
fn commands_say_and_do_the_same_beside_a_server_and_without_one() {
    let (beside, without) = (with_records(), with_records());
    let mut server = Server::start(&data(&beside), &[]);
    let mut all = Vec::new();
    // An outcome before its signal, one without, and what is no record.
    let more = [
        r#"{"outcome":{"signal_id":"S6","user_id":"7","status":"fired","at":"2025-01-01T12:00:00Z"}}"#,
        r#"{"signal":{"signal_id":"S6","symbol":"EURUSD","direction":"BUY","stop_pips":20,"created_at":"2025-01-01T00:00:00Z","expires_at":"2025-01-02T00:00:00Z"}}"#,
        r#"{"outcome":{"signal_id":"S9","user_id":"7","status":"fired"}}"#,
        r#"{"nothing":1}"#,
    ];
    for folder in [&beside, &without] {
        fs::write(folder.path().join("more.ndjson"), more.join("\n")).unwrap();
    }
    for command in SESSION {
        let ask = |folder: &TempDir| alike(&shown(&run_in(folder.path(), &format!("overlaid {command}"), "")));
        let (said, said_without) = (ask(&beside), ask(&without));
        assert_eq!(said, said_without, "overlaid {command}");
        all.push(format!("$ overlaid {command}\n{said}\n"));
    }
    insta::with_settings!({ snapshot_path => "clients", prepend_module_to_snapshot => false, omit_expression => true }, {
        assert_snapshot!("session", all.concat());
    });
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_record_may_come_from_standard_input() {
    let folder = with_records();
    let _server = Server::start(&data(&folder), &[]);
    done(run_in(folder.path(), "overlaid overlay put 9 -", r#"{"account_balance":5}"#));
    assert!(done(run_in(folder.path(), "overlaid overlay get 9", "")).contains(r#""account_balance":5"#));
}

/// Its mode decides who may do everything.
#[test]
fn the_socket_is_the_owners_alone_and_goes_with_the_server() {
    let folder = with_records();
    let mut server = Server::start(&data(&folder), &[]);
    let found = fs::symlink_metadata(socket(&folder)).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    server.terminate();
    assert!(!socket(&folder).exists());
}

#[test]
fn the_socket_of_a_killed_server_is_in_nobodys_way() {
    let folder = with_records();
    Server::start(&data(&folder), &[]).kill();
    assert!(socket(&folder).exists());
    done(run(&data(&folder), &["overlay", "get", "7"]));
    let _server = Server::start(&data(&folder), &[]);
    done(run(&data(&folder), &["overlay", "get", "7"]));
    assert_eq!(code(&run(&data(&folder), &["compact"])), 2, "a server has the database open");
}

/// What is no socket is not removed: it is another program's. The server runs all the same, and says so.
#[test]
fn another_file_in_the_place_of_the_socket_stays() {
    let folder = with_records();
    fs::write(socket(&folder), "mine").unwrap();
    let mut server = Server::start(&data(&folder), &[]);
    assert_eq!(
        server.logged(|event| event["level"] == "WARN" && event["path"] == text(&socket(&folder)))["level"],
        "WARN"
    );
    let refused = run(&data(&folder), &["overlay", "get", "7"]);
    assert!(code(&refused) == 2 && error(&refused).contains("asked by --server"), "{refused:?}");
    done(run(&data(&folder), &["overlay", "get", "7", "--server", &server.address.to_string()]));
    server.terminate();
    assert_eq!(fs::read(socket(&folder)).unwrap(), b"mine");
}

/// Commands would ask the wrong one.
#[test]
fn no_second_server_starts_where_one_answers_whose_database_was_moved_away() {
    let folder = with_records();
    let server = Server::start(&data(&folder), &[]);
    fs::rename(data(&folder).join("overlaid.redb"), folder.path().join("moved.redb")).unwrap();
    let refused = run(&data(&folder), &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(code(&refused), 2);
    assert!(error(&refused).contains("stop that server first"), "{refused:?}");
    assert_eq!(done(run(&data(&folder), &["overlay", "get", "7"])).trim(), server.get("/v1/users/7/overlay").body);
}

/// The address of a socket holds 107 bytes.
#[test]
fn commands_find_the_socket_however_long_its_path_is() {
    let folder = tempfile::tempdir().unwrap();
    let deep = ["a".repeat(100), "b".repeat(100)].iter().fold(folder.path().to_owned(), |path, name| path.join(name));
    let mut server = Server::with_samples(&deep);
    done(run(&deep, &["overlay", "get", "7001"]));
    assert!(fs::symlink_metadata(deep.join("overlaid.sock")).unwrap().file_type().is_socket());
    server.terminate();
    assert!(!deep.join("overlaid.sock").exists());
}

/// Whoever may open the socket is the operator: neither tokens nor what keeps web pages out concern it.
#[test]
fn what_comes_through_the_socket_needs_no_token_and_may_name_any_host() {
    let folder = with_records();
    let strange = "GET /v1/users/7/overlay HTTP/1.1\r\nhost: example.org\r\norigin: http://example.com\r\nx-forwarded-for: 10.0.0.1\r\nauthorization: Bearer wrong\r\nconnection: close\r\n\r\n";
    let ask = || {
        let mut stream = UnixStream::connect(socket(&folder)).unwrap();
        stream.write_all(strange.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let server = Server::start(&data(&folder), &[]);
    assert!(ask().starts_with("HTTP/1.1 200"), "{}", ask());
    assert_eq!(server.send_raw(strange)[0].problem(), (403, "local-only".to_owned()));
    assert_eq!(server.logged(|event| event["route"] == "/v1/users/{user}/overlay")["status"], 200);
    drop(server);
    create_token(&data(&folder), "read");
    let server = Server::start(&data(&folder), &[]);
    assert!(ask().starts_with("HTTP/1.1 200"), "{}", ask());
    assert_eq!(server.send_raw(strange)[0].status, 401);
}

#[test]
fn a_server_at_an_address_may_want_a_token() {
    let folder = with_records();
    let (read, nowhere) = (create_token(&data(&folder), "read"), folder.path().join("none"));
    let server = Server::start(&data(&folder), &[]);
    let address = format!("http://{}", server.address);
    let ask = |more: &[&str]| {
        let asked = run(&nowhere, &[&["--server", &address], more].concat());
        shown(&asked).replace(&server.address.to_string(), "ADDRESS")
    };
    assert_snapshot!(ask(&["signal", "get", "S9"]), @"
    exit 2
    overlaid: the server at ADDRESS wants --token or OVERLAID_TOKEN: a bearer token is needed
    ");
    assert_snapshot!(ask(&["signal", "get", "S9", "--token", &read]), @"
    exit 1
    overlaid: no signal S9
    ");
    assert_snapshot!(ask(&["signal", "delete", "S1", "--token", &read]), @"
    exit 2
    overlaid: the token does not allow this: it needs the scope write
    ");
    assert_snapshot!(shown(&run(&nowhere, &["stats", "--server", "http://example.org:7717"])), @"
    exit 2
    error: invalid value 'http://example.org:7717' for '--server <URL>': example.org is not this machine, and there is no TLS here: run `ssh example.org overlaid …`

    For more information, try '--help'.
    ");
}

/// The file is open to it, but the server has it, and what it answers is the owner's business.
#[test]
fn another_user_is_told_whose_command_it_is() {
    let folder = with_records();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(data(&folder), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(data(&folder).join("overlaid.redb"), Permissions::from_mode(0o666)).unwrap();
    let _server = Server::start(&data(&folder), &[]);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program().get_program());
    command.arg("--data").arg(data(&folder)).args(["overlay", "get", "7"]);
    let Some(refused) = run_with_rights(&mut command) else { return };
    assert_eq!(code(&refused), 2, "{refused:?}");
    assert!(error(&refused).contains("run this as the user root: `sudo -u root overlaid …`"), "{refused:?}");
}

/// Each reads the file for itself: no command waits for another, and none writes to it.
#[test]
fn commands_that_only_read_leave_the_file_as_it_is() {
    let folder = with_records();
    let file = data(&folder).join("overlaid.redb");
    let before = fs::read(&file).unwrap();
    for command in [&["mission", "7"][..], &["signal", "list"], &["rate", "list"], &["outcome", "list", "7"]] {
        done(run(&data(&folder), command));
        assert!(fs::read(&file).unwrap() == before, "{command:?}");
    }
}

/// Commands that need the file to themselves.
const ALONE: &[&str] = &["restore", "compact", "legacy import", "legacy verify"];

/// A folder with all that the examples speak of.
fn with_everything() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_day(&folder.path().join("old-missions"), 2, 5);
    for command in [
        &format!("overlaid load {SAMPLES}"),
        "overlaid legacy import old-missions",
        "overlaid outcome put 7001 ELITE_GUARD_EURUSD_1763905800 fired",
        "overlaid token create --scope read",
        "overlaid backup moving.redb",
        "overlaid export --out records.ndjson",
        "overlaid legacy archive old-missions --out packs",
    ] {
        done(run_in(folder.path(), command, ""));
    }
    folder
}

/// Every command with its help, but for those that only lead to others.
fn helps(command: &str) -> Vec<(String, String)> {
    let help = done(run_in(Path::new("/"), &format!("overlaid {command} --help"), ""));
    let commands = help.split_once("\nCommands:\n").map_or("", |(_, commands)| commands.split("\n\n").next().unwrap());
    let names = commands.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let names = names.map(|line| line.split(' ').next().unwrap()).filter(|name| *name != "help");
    let mut found: Vec<_> = names.flat_map(|name| helps(format!("{command} {name}").trim())).collect();
    if found.is_empty() || help.contains("\nExample: ") {
        found.push((command.to_owned(), help));
    }
    found
}

/// As it stands, with a token's id that is there: beside a server and without one.
#[test]
fn every_command_has_an_example_that_works() {
    let everything = with_everything();
    let listed = done(run_in(everything.path(), "overlaid token list --json", ""));
    let id = listed.split_once(r#""id":""#).unwrap().1.split('"').next().unwrap().to_owned();
    let helps = helps("");
    assert!(helps.len() >= 35, "{}", helps.len());
    for (command, help) in helps {
        let example = help.split_once("\nExample: ").unwrap_or_else(|| panic!("{command} has no example")).1;
        // A long one is wrapped.
        let example = example.split_whitespace().collect::<Vec<_>>().join(" ").replace("4be1c7d2", &id);
        assert!(
            example.contains(&format!("overlaid {command}")) || example.contains(&format!(" {command} ")),
            "{help}"
        );
        assert!(help.contains("\nGlobal options:\n"), "{help}");
        if command == "serve" {
            continue;
        }
        for is_served in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let all = format!("{}/.", text(everything.path()));
            assert!(Command::new("cp").args(["-r", &all, text(folder.path())]).status().unwrap().success());
            let server = is_served.then(|| Server::start(&data(&folder), &[]));
            let output = run_in(folder.path(), &example, "");
            let refusal = match is_served {
                true if ALONE.contains(&&*command) => Some("stop the server first"),
                false if command == "health" => Some("no server answers"),
                _ => None,
            };
            assert_eq!(code(&output), if refusal.is_some() { 2 } else { 0 }, "{example} {is_served}: {output:?}");
            assert!(refusal.is_none_or(|why| error(&output).contains(why)), "{output:?}");
            drop(server);
        }
    }
}

/// Suggestions in messages, as they stand in the source, and as they are typed. All but these are of other machines or
/// users.
const SUGGESTED: &[(&str, &str)] = &[
    ("overlaid backup", "overlaid backup"),
    ("overlaid backup PATH", "overlaid backup saved.redb"),
    ("overlaid load", "overlaid load records.ndjson"),
    ("overlaid restore FILE", "overlaid restore moving.redb"),
    ("overlaid restore {}", "overlaid restore data/overlaid.redb.before-restore-*"),
    ("overlaid serve", "overlaid serve --help"),
    ("overlaid token create", "overlaid token create --scope read"),
    ("overlaid token create --scope admin", "overlaid token create --scope admin"),
    ("overlaid token create --scope …", "overlaid token create --scope read:7"),
    ("overlaid token none", "overlaid token none"),
    ("ssh {host} overlaid …", "true"),
    ("sudo -u {owner} overlaid …", "true"),
];

#[test]
fn every_command_that_a_message_suggests_works() {
    let mut suggested = BTreeSet::new();
    for (_, source) in sources("src") {
        let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code: String =
            code.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect::<Vec<_>>().join("\n");
        // A line of a text may go on in the next one.
        let code = code.replace("\\\n", "");
        let commands = code.split('`').skip(1).step_by(2).filter(|command| !command.contains('\n'));
        suggested.extend(commands.filter(|command| command.contains("overlaid ")).map(str::to_owned));
    }
    let known: BTreeSet<_> = SUGGESTED.iter().map(|(suggestion, _)| (*suggestion).to_owned()).collect();
    assert_eq!(suggested, known);
    let folder = with_everything();
    for (_, command) in SUGGESTED {
        done(run_in(folder.path(), command, ""));
    }
}
