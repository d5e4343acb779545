//! Files to run a server with: they are printed as they are, and the programs that they are for take them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::kit::{
    Answer, Connection, EURUSD, Events, SAMPLES, Server, code, create_token, done, files_in, has_tool, program,
    request, run, shown, skipped, text,
};

/// Names, and the files in `data/deploy` that they stand for.
const FILES: [(&str, &str); 5] = [
    ("systemd", "overlaid.service"),
    ("nginx", "nginx.conf"),
    ("caddy", "Caddyfile"),
    ("docker", "Dockerfile"),
    ("prometheus", "prometheus.yml"),
];
const MANUAL: &str = include_str!("../../data/manual/deploying.md");
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// What `overlaid deploy` prints, without a server and a database.
#[track_caller]
fn printed(name: &str) -> String {
    done(program().args(["deploy", name]).output().unwrap())
}

/// Runs a program that finds nothing to say against a file.
#[track_caller]
fn check_silent(command: &mut Command) {
    let checked = command.output().unwrap();
    assert_eq!(code(&checked), 0, "{command:?}: {}", shown(&checked));
}

#[test]
fn every_file_is_printed_as_it_is_and_the_manual_says_what_to_do_with_it() {
    for (name, file) in FILES {
        let text = fs::read_to_string(Path::new(PACKAGE).join("data/deploy").join(file)).unwrap();
        assert_eq!(printed(name), text);
        assert!(MANUAL.contains(&format!("overlaid deploy {name}")), "{name}");
    }
    assert_eq!(fs::read_dir(Path::new(PACKAGE).join("data/deploy")).unwrap().count(), FILES.len());
    let list = done(program().arg("deploy").output().unwrap());
    let names: Vec<_> = list.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, FILES.map(|(name, _)| name));
    for proxy in ["nginx", "caddy"] {
        let first =
            printed(proxy).lines().position(|line| line.contains("overlaid --data /var/lib/overlaid token create "));
        assert!(first.is_some_and(|line| line < 6), "{proxy}: a token is made before anything else");
    }
}

#[test]
fn systemd_takes_the_service_and_finds_it_hardened() {
    if !has_tool("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("overlaid.service");
    fs::write(&unit, printed("systemd").replace("/usr/local/bin/overlaid", text(Path::new(program().get_program()))))
        .unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    assert_eq!(shown(&verified), "exit 0\n");
    // In tenths: at most 2.0 of 10.
    let mut security = Command::new("systemd-analyze");
    check_silent(security.args(["security", "--offline=true", "--threshold=20"]).arg(&unit));
}

/// Adds the members of a set of system calls, and of the sets in it.
fn add_calls(sets: &BTreeMap<String, Vec<String>>, set: &str, calls: &mut BTreeSet<String>) {
    for member in &sets[set] {
        if member.starts_with('@') {
            add_calls(sets, member, calls);
        } else {
            calls.insert(member.clone());
        }
    }
}

/// The system calls that the service's filters allow, by what `systemd-analyze syscall-filter` says of their sets.
fn allowed_calls() -> BTreeSet<String> {
    let listed = Command::new("systemd-analyze").arg("syscall-filter").output().unwrap();
    let (mut sets, mut set) = (BTreeMap::<String, Vec<String>>::new(), String::new());
    for line in String::from_utf8(listed.stdout).unwrap().lines() {
        if line.starts_with('@') {
            line.clone_into(&mut set);
        } else if let Some(member) = line.strip_prefix("    ").filter(|member| !member.starts_with('#')) {
            sets.entry(set.clone()).or_default().push(member.trim().to_owned());
        }
    }
    let mut allowed = BTreeSet::new();
    for filter in printed("systemd").lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let mut calls = BTreeSet::new();
        add_calls(&sets, filter.trim_start_matches('~'), &mut calls);
        allowed = if filter.starts_with('~') { &allowed - &calls } else { &allowed | &calls };
    }
    allowed
}

/// From the start over reads, writes, backups, a copy, and new tables to the stop.
#[test]
fn the_service_may_make_every_system_call_that_a_server_makes() {
    if !has_tool("systemd-analyze") || !has_tool("strace") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, trace) = (folder.path().join("data"), folder.path().join("trace"));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", text(&trace), program().get_program().to_str().unwrap()]);
    strace.args(["--log-format", "json", "--data", text(&data), "serve", "--listen", "127.0.0.1:0"]);
    strace.args(["--load", SAMPLES, "--backup-every", "1h"]);
    let mut strace = Running(strace.stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(strace.0.stderr.take().unwrap()).lines();
    let mut logged = |wanted: &str| {
        let found = lines.by_ref().map_while(Result::ok).find(|line| line.contains(wanted));
        found.unwrap_or_else(|| panic!("{wanted} is not logged"))
    };
    logged("serving http");
    let copy = folder.path().join("copy.redb");
    for command in [&["backup"][..], &["backup", text(&copy)], &["doctor"], &["mission", "7001"], &["signal", "list"]] {
        assert!(code(&run(&data, command)) < 2, "{command:?}");
    }
    done(run(&data, &["load", SAMPLES]));
    fs::copy(data.join("overlaid.redb"), folder.path().join("live.redb")).unwrap();
    done(run(&data, &["user", "delete", "7001"]));
    let children = format!("/proc/{0}/task/{0}/children", strace.0.id());
    let server = fs::read_to_string(children).unwrap().trim().to_owned();
    let signal = |name: &str| assert!(Command::new("kill").args(["-s", name, &server]).status().unwrap().success());
    signal("HUP");
    logged("SIGHUP");
    signal("TERM");
    logged("stopped");
    assert!(strace.0.wait().unwrap().success());
    let trace = fs::read_to_string(trace).unwrap();
    // A line is a process and a call: `123   openat(…`, or that the call is done.
    let calls = trace.lines().filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('));
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let made: BTreeSet<_> = calls.map(|(name, _)| name).filter(is_name).map(str::to_owned).collect();
    assert!(made.len() > 50 && made.contains("fdatasync"), "{made:?}");
    assert_eq!(&made - &allowed_calls(), BTreeSet::new());
}

/// What systemd is told next.
#[track_caller]
fn told(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap().trim().to_owned()
}

/// A program in the foreground, which ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn systemd_is_told_that_the_server_is_ready_and_lives_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let server = program()
        .arg("--data")
        .arg(folder.path().join("data"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "100000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Running(server);
    let first = [told(&socket), told(&socket), told(&socket)];
    assert!(first.contains(&"READY=1".to_owned()) && first.contains(&"WATCHDOG=1".to_owned()), "{first:?}");
    Command::new("kill").arg(server.0.id().to_string()).status().unwrap();
    while told(&socket) != "STOPPING=1" {}
    assert!(server.0.wait().unwrap().success());
}

/// Starts a proxy on a free port, by a command that is made for its address.
fn start_proxy(folder: &Path, command: impl Fn(SocketAddr) -> Command) -> (Running, SocketAddr) {
    for _ in 0..10 {
        // Another process may take the port before the proxy does; then there is another try.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = fs::File::create(folder.join("error.log")).unwrap();
        let mut proxy = Running(command(address).current_dir(folder).stderr(log).spawn().unwrap());
        while proxy.0.try_wait().unwrap().is_none() {
            if Connection::try_to(address).is_ok() {
                return (proxy, address);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    panic!("the proxy does not start: {}", fs::read_to_string(folder.join("error.log")).unwrap_or_default());
}

/// Starts nginx with a site that is made for its address.
fn start_nginx(folder: &Path, site: impl Fn(SocketAddr) -> String) -> (Running, SocketAddr) {
    fs::create_dir_all(folder.join("bodies")).unwrap();
    // One process of this user: no rights are given up, and none are needed.
    let main = "daemon off; master_process off; pid nginx.pid; events {} http { access_log access.log; \
        client_body_temp_path bodies; proxy_temp_path bodies; fastcgi_temp_path bodies; uwsgi_temp_path bodies; \
        scgi_temp_path bodies; include site.conf; }";
    fs::write(folder.join("nginx.conf"), main).unwrap();
    start_proxy(folder, |address| {
        fs::write(folder.join("site.conf"), site(address)).unwrap();
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "error.log"]);
        nginx
    })
}

/// The site that `overlaid deploy nginx` prints, before `server` and without TLS.
fn nginx_site(address: SocketAddr, server: SocketAddr) -> String {
    let site = printed("nginx").replace("listen 443 ssl;", &format!("listen {address};"));
    let site = site.replace("127.0.0.1:7717", &server.to_string());
    let site = site.lines().filter(|line| !line.contains("ssl")).collect::<Vec<_>>().join("\n");
    assert!(site.contains(&format!("listen {address}")) && site.contains(&format!("server {server}")), "{site}");
    site
}

/// The site that `overlaid deploy caddy` prints, before `server`, without TLS and with a log of all requests.
fn caddy_site(address: SocketAddr, server: SocketAddr) -> String {
    let site = printed("caddy").replace("\n{\n", "\n{\n\tadmin off\n").replace("127.0.0.1:7717", &server.to_string());
    let site =
        site.replace("overlaid.example.org {", &format!("http://:{} {{\n\tbind 127.0.0.1\n\tlog", address.port()));
    assert!(site.contains("admin off") && site.contains("\tlog\n") && site.contains(&server.to_string()), "{site}");
    site
}

/// Requests through a proxy.
struct ThroughProxy {
    address: SocketAddr,
    token: String,
}

impl ThroughProxy {
    #[track_caller]
    fn send(&self, method: &str, path: &str, fields: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("host", "overlaid.example.org"), ("connection", "close")];
        if !self.token.is_empty() {
            all.push(("authorization", &bearer));
        }
        all.extend(fields);
        let mut connection = Connection::to(self.address);
        connection.send_what_is_taken(request(method, path, &all, body));
        connection.answer_to(method)
    }
}

#[test]
fn everything_goes_through_nginx_as_it_is_set_up() {
    if !has_tool("nginx") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, site) = (folder.path().join("data"), folder.path().join("nginx"));
    fs::create_dir_all(&site).unwrap();
    let server = Server::with_samples(&data);
    let (_nginx, address) = start_nginx(&site, |address| nginx_site(address, server.address));
    let stranger = ThroughProxy { address, token: String::new() };
    assert_eq!(stranger.send("GET", "/v1/rates", &[], "").problem(), (403, "local-only".to_owned()));
    let operator = ThroughProxy { address, token: create_token(&data, "admin") };
    assert_eq!(stranger.send("GET", "/v1/rates", &[], "").status, 401);

    let json = [("content-type", "application/json")];
    assert_eq!(operator.send("PUT", "/v1/signals/S1", &json, EURUSD).status, 201);
    let view = "/v1/users/7001/missions/S1";
    let read = operator.send("GET", view, &[], "");
    assert_eq!(read.status, 200, "{read:?}");
    let tag = read.header("etag").unwrap().to_owned();
    assert_eq!(operator.send("GET", view, &[("if-none-match", &tag)], "").status, 304);

    let overlay = "/v1/users/7001/overlay";
    let tag = operator.send("GET", overlay, &[], "").header("etag").unwrap().to_owned();
    let push = |balance: u32| {
        let fields = [("if-match", &*tag), ("content-type", "application/merge-patch+json")];
        operator.send("PATCH", overlay, &fields, format!(r#"{{"account_balance":{balance}}}"#))
    };
    assert_eq!((push(4_321).status, push(1_234).status), (200, 412), "the second one's tag is of the record before");

    let lines = [("accept", "application/x-ndjson")];
    let batch = operator.send("GET", "/v1/signals/S1/missions", &lines, "");
    assert_eq!((batch.status, batch.body.lines().count()), (200, 25));
    assert!(batch.body.contains(r#""account_balance":4321"#));

    // A record as long as the server takes, more than that, and an import that is longer still.
    let note = |length: usize| format!(r#"{{"account_balance":1,"note":"{}"}}"#, "x".repeat(length));
    assert_eq!(operator.send("PUT", "/v1/users/long/overlay", &json, note(62_000)).status, 201);
    assert_eq!(operator.send("PUT", "/v1/users/long/overlay", &json, note(66_000)).status, 413);
    let pushes = "{\"patch\":{\"user_id\":\"7001\",\"account_balance\":1}}\n".repeat(5_000);
    let imported = operator.send("POST", "/v1/import", &[("content-type", "application/x-ndjson")], pushes);
    assert!(
        imported
            .body
            .ends_with("{\"lines\":5000,\"created\":0,\"changed\":1,\"unchanged\":4999,\"kept\":0,\"refused\":0}\n")
    );
    let bearer = format!("Bearer {}", operator.token);
    let fields = [("host", "overlaid.example.org"), ("authorization", &*bearer)];
    let mut events = Events::follow(address, "/v1/changes", &fields);
    events.next().unwrap();
    assert_eq!(operator.send("PUT", "/v1/users/9/overlay", &json, "{}").status, 201);
    assert_eq!(events.next().unwrap().data["changes"][0]["key"], "9", "an event comes at once");

    let query = format!("/v1/signals/S1/missions?users={}", vec!["some-user"; 1_000].join(","));
    assert_eq!(operator.send("GET", &query, &lines, "").status, 200);
}

/// A site with no word on buffering: the answer alone asks that nothing be held back.
#[test]
fn a_stream_comes_through_an_nginx_that_buffers_by_default() {
    if !has_tool("nginx") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, site) = (folder.path().join("data"), folder.path().join("nginx"));
    fs::create_dir_all(&site).unwrap();
    let server = Server::start(&data, &[]);
    // Of an answer by HTTP/1.1 nginx passes on each chunk, buffered or not.
    let plain = |address| {
        let server = server.address;
        format!("server {{ listen {address}; location / {{ proxy_http_version 1.0; proxy_pass http://{server}; }} }}")
    };
    let (_nginx, address) = start_nginx(&site, plain);
    let mut events = Events::follow(address, "/v1/changes", &[]);
    events.next().unwrap();
    server.put_balance(9, 100);
    assert_eq!(events.next().unwrap().data["changes"][0]["key"], "9", "an event comes at once");
}

/// Sends a hook through a proxy that logs all requests, and mistyped, too long, and to a server that is gone; then the
/// logs hold other requests, and nothing of the token.
fn check_hook_through(name: &str, start: impl Fn(&Path, SocketAddr) -> (Running, SocketAddr)) {
    if !has_tool(name) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (data, site) = (folder.path().join("data"), folder.path().join(name));
    fs::create_dir_all(&site).unwrap();
    let path = create_token(&data, "hook");
    let secret = path.split(['/', '_']).nth(5).unwrap().get(..16).unwrap();
    let mut server = Server::start(&data, &[]);
    let (mut proxy, address) = start(&site, server.address);
    let sender = ThroughProxy { address, token: String::new() };
    let long = "x".repeat(70_000);
    for (id, path, body, status) in [
        ("taken", path.clone(), EURUSD, 201),
        ("again", path.clone() + "?", EURUSD, 200),
        ("mistyped", path.replace("hooks", "hook"), EURUSD, 404),
        ("escaped", path.replace("/ovl", "%2Fovl"), EURUSD, 404),
        ("long", path.clone(), &long, 413),
    ] {
        let sent = sender.send("POST", &path, &[("x-request-id", id), ("content-type", "text/plain")], body);
        // Caddy before 2.7 has 502 for what is too long.
        assert!(sent.status == status || (id, sent.status) == ("long", 502), "{id}: {sent:?}");
        // What is too long is refused by the proxy.
        if sent.header("x-request-id").is_some() {
            server.logged(|event| {
                assert!(!event.to_string().contains(secret), "{event}");
                event["request_id"] == id
            });
        }
    }
    server.terminate();
    for path in [&*path, "/v1/rates"] {
        assert_eq!(sender.send("POST", path, &[], EURUSD).status, 502, "{path}");
    }
    assert!(Command::new("kill").args(["-s", "QUIT", &proxy.0.id().to_string()]).status().unwrap().success());
    proxy.0.wait().unwrap();
    let logs: Vec<_> = files_in(&site).iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
    let logs = logs.concat();
    assert!(logs.matches("/v1/rates").count() >= 2, "an access and an error: {logs}");
    assert!(!logs.contains(secret), "{logs}");
}

#[test]
fn the_token_of_a_hook_stands_in_no_log_of_nginx() {
    check_hook_through("nginx", |folder, server| start_nginx(folder, |address| nginx_site(address, server)));
}

#[test]
fn the_token_of_a_hook_stands_in_no_log_of_caddy() {
    check_hook_through("caddy", |folder, server| {
        start_proxy(folder, |address| {
            fs::write(folder.join("Caddyfile"), caddy_site(address, server)).unwrap();
            let mut caddy = Command::new("caddy");
            caddy.args(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]).env("HOME", folder);
            caddy
        })
    });
}

#[test]
fn caddy_takes_its_file() {
    if !has_tool("caddy") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Caddyfile");
    fs::write(&file, printed("caddy")).unwrap();
    let mut caddy = Command::new("caddy");
    check_silent(caddy.args(["validate", "--adapter", "caddyfile", "--config"]).arg(&file).env("HOME", folder.path()));
}

#[test]
fn prometheus_takes_the_alerts_and_they_rest_on_metrics_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.send("POST", "/v1/admin/backup", "").status, 200, "so that its gauges are there");
    let metrics = server.get("/metrics").body;
    let rules = printed("prometheus");
    let mut used = 0;
    for expression in rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in words.filter(|word| word.starts_with("overlaid_")) {
            assert!(metrics.contains(&format!("\n{name} ")), "{name}");
            used += 1;
        }
    }
    assert!(used >= 6, "{rules}");
    if has_tool("promtool") {
        let file = folder.path().join("rules.yml");
        fs::write(&file, rules).unwrap();
        check_silent(Command::new("promtool").args(["check", "rules"]).arg(file));
    }
}

/// No image is built here: that takes the network and the whole build.
#[test]
fn the_dockerfile_copies_all_that_the_program_is_built_from() {
    let dockerfile = printed("docker");
    let folder = tempfile::tempdir().unwrap();
    for line in dockerfile.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let mut words: Vec<_> = line.split(' ').skip(1).collect();
        let target = folder.path().join(words.pop().unwrap());
        for source in words {
            let copied = Command::new("cp").arg("-r").arg(Path::new(PACKAGE).join(source)).arg(&target).status();
            assert!(copied.unwrap().success(), "{line}");
        }
    }
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--no-deps", "--locked", "--offline", "--format-version=1"]);
    check_silent(metadata.current_dir(&folder));
}

#[test]
fn health_says_by_its_exit_code_how_the_server_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let health = || shown(&run(folder.path(), &["health"]));
    assert_eq!(health(), "exit 0\nok\n");
    let at_address = || shown(&run(folder.path(), &["--server", &server.address.to_string(), "health"]));
    assert_eq!(at_address(), "exit 0\nok\n");
    create_token(folder.path(), "read");
    assert_eq!(at_address(), "exit 0\nok\n", "whether the server is well is said to anybody");

    let (database, away) = (folder.path().join("overlaid.redb"), folder.path().join("away.redb"));
    fs::rename(&database, &away).unwrap();
    assert_eq!(health(), "exit 1\ndegraded: file-replaced\n");
    fs::rename(&away, &database).unwrap();

    server.terminate();
    let nobody = run(folder.path(), &["health"]);
    assert_eq!(code(&nobody), 2);
    assert!(shown(&nobody).contains("no server answers at "), "{}", shown(&nobody));
}

#[test]
fn shells_take_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = done(program().args(["completions", shell]).output().unwrap());
        for word in ["serve", "backup-every", "legacy"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        if Command::new(shell).arg("-c").arg("true").status().is_err() {
            skipped(&format!("{shell} is not installed"));
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("script"), script).unwrap();
        check_silent(Command::new(shell).arg("-n").arg(folder.path().join("script")));
    }
}
