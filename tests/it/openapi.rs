//! The description of the routes says what the server does: the same routes and methods, and answers of the described
//! shapes.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use overlaid::domain::Reason;
use overlaid::service::PAGE_ROWS_MAX;
use serde_json::{Value, json};

use crate::kit::{EURUSD, Events, SAMPLES, Server, create_token};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];
const SIGNAL: &str = "/v1/signals/ELITE_GUARD_EURUSD_1763905800";
const VIEW: &str = "/v1/users/7001/missions/ELITE_GUARD_EURUSD_1763905800";
/// The names of lines of JSON.
const LINES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];
/// No record has this tag.
const UNMATCHED: &[(&str, &str)] = &[("content-type", "application/json"), ("if-match", "\"x\"")];

/// The document, as the file has it.
fn document() -> Value {
    serde_json::from_str(&fs::read_to_string(format!("{ROOT}/data/openapi.json")).unwrap()).unwrap()
}

/// A code that no test has met may be one that is never sent.
#[test]
fn every_code_that_is_listed_is_one_that_a_test_has_met() {
    let mut texts = vec![
        fs::read_to_string(format!("{ROOT}/src/http/answer.rs")).unwrap(),
        fs::read_to_string(format!("{ROOT}/src/http/connection_tests.rs")).unwrap(),
    ];
    for folder in ["tests/it", "tests/it/answers"] {
        let files = fs::read_dir(format!("{ROOT}/{folder}")).unwrap().map(|file| file.unwrap().path());
        texts.extend(files.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).unwrap()));
    }
    let document = document();
    let codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
    let unmet = |code: &&Value| !texts.iter().any(|text| text.contains(&code.to_string()));
    assert_eq!(codes.iter().filter(unmet).collect::<Vec<_>>(), Vec::<&Value>::new());
}

/// Each path with its methods in upper case.
fn described() -> BTreeMap<String, BTreeSet<String>> {
    let document = document();
    let methods = |item: &Value| {
        METHODS.iter().filter(|method| item.get(method).is_some()).map(|method| method.to_uppercase()).collect()
    };
    document["paths"].as_object().unwrap().iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// Follows a reference within the document.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => value,
    }
}

/// Says of every object that it has no members but those described, unless it may have any.
fn close(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.contains_key("properties") {
                members.entry("additionalProperties").or_insert(Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// A schema of the document by itself, and strict.
fn validator(document: &Value, schema: &Value) -> jsonschema::Validator {
    let mut alone = schema.clone();
    alone["components"] = document["components"].clone();
    close(&mut alone);
    jsonschema::validator_for(&alone).unwrap()
}

fn check(validator: &jsonschema::Validator, json: &str) {
    let value: Value = serde_json::from_str(json).unwrap();
    let errors: Vec<_> =
        validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}\n{json}", errors.join("\n"));
}

/// Looks at answers of a server, and remembers which kinds it has seen.
struct Onlooker<'a> {
    document: Value,
    server: &'a Server,
    seen: BTreeSet<String>,
}

impl<'a> Onlooker<'a> {
    fn new(server: &'a Server) -> Self {
        Self { document: document(), server, seen: BTreeSet::new() }
    }

    fn get(&mut self, route: &str, path: &str) {
        self.see(route, "GET", path, &[], "");
    }

    /// A second time, with the tag of the first.
    fn get_twice(&mut self, route: &str, path: &str) {
        self.get(route, path);
        let tag = self.server.get(path).header("etag").unwrap().to_owned();
        self.see(route, "GET", path, &[("if-none-match", &tag)], "");
    }

    fn write(&mut self, route: &str, method: &str, path: &str, body: &str) {
        self.see(route, method, path, &[("content-type", "application/json")], body);
    }

    /// Asks, and holds the answer against its description.
    fn see(&mut self, route: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) {
        let answer = self.server.send_with(method, path, headers, body.as_bytes());
        let operation = &self.document["paths"][route][method.to_lowercase()];
        let name = format!("{method} {route} {}", answer.status);
        let response = operation["responses"].get(answer.status.to_string());
        let response = response.unwrap_or_else(|| panic!("{name} is not described: {}", answer.body));
        let response = resolved(&self.document, response);
        for field in ["ETag", "Location", "Overlaid-Cursor"] {
            let is_there = answer.header(&field.to_lowercase()).is_some();
            // A page has a tag where lines have none.
            let is_lines = answer.header("content-type").is_some_and(|kind| LINES.contains(&kind));
            let is_described = response["headers"].get(field).is_some() && !(is_lines && field == "ETag");
            assert_eq!(is_described, is_there, "{field} of {name}");
        }
        for field in ["WWW-Authenticate", "Retry-After", "Accept", "Accept-Patch"] {
            let is_described = response["headers"].get(field).is_some();
            assert!(is_described || answer.header(field).is_none(), "{field} of {name} is not described");
        }
        let Some(content) = response.get("content") else {
            assert_eq!(answer.body, "", "{name} is said to have no body");
            self.seen.insert(name);
            return;
        };
        let kind = answer.header("content-type").unwrap().split(';').next().unwrap();
        let schema = &content.get(kind).unwrap_or_else(|| panic!("{name} is not said to be {kind}"))["schema"];
        let validator = validator(&self.document, schema);
        match kind {
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                assert!(!answer.body.is_empty(), "{name} has no line");
                answer.body.lines().for_each(|line| check(&validator, line));
            }
            "text/plain" if route == "/metrics" => assert!(answer.body.starts_with("# HELP ")),
            "text/plain" => assert!(answer.body.ends_with("\ntradable      yes\n"), "{}", answer.body),
            "application/openmetrics-text" => assert!(answer.body.ends_with("# EOF\n")),
            "application/octet-stream" => assert!(answer.body.starts_with("redb")),
            _ => check(&validator, &answer.body),
        }
        self.seen.insert(format!("{name} {kind}"));
    }
}

/// All answers that are described, but for refusals, as an onlooker names them.
fn described_answers() -> BTreeSet<String> {
    let document = document();
    let mut answers = BTreeSet::new();
    for (route, methods) in described() {
        for method in methods {
            let responses = document["paths"][&route][method.to_lowercase()]["responses"].as_object().unwrap();
            for (status, response) in responses.iter().filter(|(status, _)| status.starts_with(['2', '3'])) {
                let name = format!("{method} {route} {status}");
                match response["content"].as_object() {
                    Some(content) => answers.extend(content.keys().map(|kind| format!("{name} {kind}"))),
                    None => drop(answers.insert(name)),
                }
            }
        }
    }
    answers
}

#[test]
fn every_route_with_each_of_its_methods_is_described_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let described = described();
    for (path, methods) in &described {
        let answer = server.send_with("TRACE", &path.replace(['{', '}'], ""), &[], b"");
        assert_eq!(answer.status, 405, "{path}");
        let allowed = answer.header("allow").unwrap().split(',').filter(|method| *method != "HEAD");
        assert_eq!(allowed.map(str::to_owned).collect::<BTreeSet<_>>(), *methods, "{path}");
    }
    let source = fs::read_to_string(format!("{ROOT}/src/http/routes.rs")).unwrap();
    let routes = source.split(".route(").skip(1).map(|rest| rest.trim_start().split('"').nth(1).unwrap().to_owned());
    assert_eq!(routes.collect::<BTreeSet<_>>(), described.into_keys().collect());
    assert_eq!(serde_json::from_str::<Value>(&server.get("/openapi.json").body).unwrap(), document());
}

fn see_missions(seen: &mut Onlooker<'_>) {
    let route = "/v1/users/{user}/missions/{signal}";
    for user in 7001..=7025 {
        seen.get(route, &VIEW.replace("7001", &user.to_string()));
    }
    seen.get_twice(route, VIEW);
    seen.get(route, "/v1/users/!/missions/x");
    seen.get(route, "/v1/users/nobody/missions/x");
    let route = "/v1/users/{user}/missions/{signal}/explanation";
    let path = format!("{VIEW}/explanation");
    seen.get(route, &path);
    seen.see(route, "GET", &path, &[("accept", "text/plain")], "");
    seen.get(route, &path.replace("7001", "!"));
    seen.get(route, &path.replace("7001", "nobody"));
    let route = "/v1/users/{user}/missions";
    seen.get_twice(route, "/v1/users/7001/missions?status=all&limit=1000");
    seen.get(route, "/v1/users/7001/missions?status=lost");
    seen.get(route, "/v1/users/nobody/missions");
    let route = "/v1/signals/{signal}/missions";
    seen.get_twice(route, &format!("{SIGNAL}/missions?limit=2"));
    seen.get(route, &format!("{SIGNAL}/missions?users=7001,nobody"));
    for kind in LINES {
        seen.see(route, "GET", &format!("{SIGNAL}/missions"), &[("accept", kind)], "");
    }
    seen.get(route, "/v1/signals/x/missions");
    let route = "/v1/signals/{signal}/summary";
    seen.get_twice(route, &format!("{SIGNAL}/summary"));
    seen.get(route, "/v1/signals/x/summary");
    seen.get(route, "/v1/signals/!/summary");
}

fn see_signals(seen: &mut Onlooker<'_>) {
    seen.get_twice("/v1/signals", "/v1/signals?limit=1000");
    seen.get("/v1/signals", "/v1/signals?limit=0");
    let route = "/v1/signals/{signal}";
    seen.get_twice(route, SIGNAL);
    seen.get(route, "/v1/signals/x");
    for body in [EURUSD, EURUSD, "{}", "{", "[]"] {
        seen.write("/v1/signals", "POST", "/v1/signals", body);
    }
    let too_large = " ".repeat(70_000);
    for body in
        [EURUSD, EURUSD, "{}", "{", &EURUSD.replace("BUY", "SELL"), &EURUSD.replace("1.085", "1.086"), &too_large]
    {
        seen.write(route, "PUT", "/v1/signals/S1", body);
    }
    seen.see(route, "PUT", "/v1/signals/S1", &[("content-type", "text/plain")], EURUSD);
    // Distances beside prices are nobody's business.
    seen.write(route, "PUT", "/v1/signals/S2", &EURUSD.replace('{', r#"{"stop_pips":null,"target_pips":"far","#));
    seen.get("/v1/users/{user}/missions/{signal}", "/v1/users/7001/missions/S2");
    seen.write(route, "PATCH", "/v1/signals/S1", r#"{"confidence":80}"#);
    seen.write(route, "PATCH", "/v1/signals/S1", r#"{"confidence":800}"#);
    seen.write(route, "PATCH", "/v1/signals/x", "{}");
    seen.see(route, "PATCH", "/v1/signals/S1", UNMATCHED, "{}");
    seen.see(route, "PUT", "/v1/signals/S1", UNMATCHED, EURUSD);
    seen.see(route, "GET", "/v1/signals/S1", UNMATCHED, "");
}

fn see_users(seen: &mut Onlooker<'_>) {
    let (route, overlay) = ("/v1/users/{user}/overlay", "/v1/users/8001/overlay");
    seen.write(route, "PUT", overlay, r#"{"tier":"FANG","account_balance":"100.5","win_rate":50,"note":1}"#);
    seen.write(route, "PUT", overlay, r#"{"account_balance":101}"#);
    seen.write(route, "PUT", overlay, r#"{"acount_balance":1}"#);
    seen.see(route, "GET", overlay, UNMATCHED, "");
    seen.see(route, "PUT", overlay, UNMATCHED, "{}");
    seen.get_twice(route, overlay);
    seen.write(route, "PATCH", overlay, r#"{"account_balance":50,"tier":null}"#);
    seen.see(route, "PATCH", overlay, UNMATCHED, "{}");
    seen.see(route, "DELETE", overlay, UNMATCHED, "");
    seen.see(route, "DELETE", overlay, &[], "");
    seen.see(route, "DELETE", overlay, &[], "");
    seen.get(route, overlay);
    seen.get_twice("/v1/users", "/v1/users?prefix=70&limit=1000");
    seen.get("/v1/users", "/v1/users?limit=0");
    let (route, outcome) = ("/v1/users/{user}/outcomes/{signal}", "/v1/users/7001/outcomes/S1");
    seen.get(route, outcome);
    seen.write(route, "PUT", outcome, r#"{"status":"fired","ticket":7}"#);
    seen.write(route, "PUT", outcome, r#"{"status":"failed"}"#);
    seen.write(route, "PUT", outcome, r#"{"status":"lost"}"#);
    seen.see(route, "PUT", outcome, UNMATCHED, r#"{"status":"fired"}"#);
    seen.see(route, "GET", outcome, UNMATCHED, "");
    seen.write(route, "PUT", "/v1/users/7001/outcomes/x", r#"{"status":"fired"}"#);
    seen.get_twice(route, outcome);
    let view = "/v1/users/{user}/missions/{signal}";
    seen.get(view, "/v1/users/7001/missions/S1");
    seen.see(view, "GET", "/v1/users/7001/missions/S1", UNMATCHED, "");
    seen.write(route, "PUT", outcome, r#"{"status":"closed","profit":-1.5,"result":"loss"}"#);
    seen.get(route, outcome);
    seen.get_twice("/v1/users/{user}/outcomes", "/v1/users/7001/outcomes");
    seen.get("/v1/users/{user}/outcomes", "/v1/users/7001/outcomes?limit=0");
    seen.get(view, "/v1/users/7001/missions/S1");
    seen.write("/v1/signals/{signal}", "PATCH", "/v1/signals/S1", r#"{"status":"cancelled"}"#);
    for (route, path) in
        [(route, outcome), ("/v1/users/{user}", "/v1/users/7002"), ("/v1/signals/{signal}", "/v1/signals/S1")]
    {
        for headers in [UNMATCHED, &[], &[]] {
            seen.see(route, "DELETE", path, headers, "");
        }
        seen.see(route, "DELETE", &format!("{path}!"), &[], "");
    }
}

/// The last answer opens access again.
fn see_tokens(seen: &mut Onlooker<'_>) {
    let (route, path) = ("/v1/admin/tokens", "/v1/admin/tokens");
    let json = ("content-type", "application/json");
    seen.write(route, "POST", path, r#"{"scopes":["root"]}"#);
    let made = seen.server.send("POST", path, r#"{"scopes":["admin"],"name":"me"}"#).json();
    let admin = ("authorization", &*format!("Bearer {}", made["token"].as_str().unwrap()));
    seen.see(route, "POST", path, &[json, admin], r#"{"scopes":["read","read:7"],"name":"bot","expires":"90d"}"#);
    seen.see(route, "GET", path, &[admin], "");
    seen.see(route, "GET", "/v1/admin/tokens?limit=1", &[admin], "");
    seen.see(route, "GET", "/v1/admin/tokens?cursor=!", &[admin], "");
    seen.get(route, path);
    let revoke = "/v1/admin/tokens/{id}";
    seen.see(revoke, "DELETE", "/v1/admin/tokens/none", &[admin], "");
    let other = seen.server.get_as(made["token"].as_str().unwrap(), path).json()["tokens"][1]["id"].clone();
    seen.see(revoke, "DELETE", &format!("{path}/{}", other.as_str().unwrap()), &[admin], "");
    seen.see(route, "DELETE", path, &[], "");
    seen.see(route, "DELETE", path, &[admin], "");
}

fn see_changes(seen: &mut Onlooker<'_>) {
    let (route, path) = ("/v1/changes", "/v1/changes?limit=1000");
    let cursor = seen.server.get(path).json()["cursor"].as_str().unwrap().to_owned();
    seen.write("/v1/users/{user}/overlay", "PUT", "/v1/users/9001/overlay", "{}");
    seen.see("/v1/users/{user}/overlay", "DELETE", "/v1/users/9001/overlay", &[], "");
    for query in [format!("since={cursor}"), "since=x".to_owned(), "wait=51".to_owned()] {
        seen.get(route, &format!("/v1/changes?{query}"));
    }
    let mut events = Events::follow(seen.server.address, path, &[]);
    let schema = json!({"$ref": "#/components/schemas/Changes"});
    check(&validator(&seen.document, &schema), &events.next().unwrap().data.to_string());
    seen.seen.insert(format!("GET {route} 200 text/event-stream"));
}

fn see_the_rest(seen: &mut Onlooker<'_>) {
    seen.get_twice("/v1/rates", "/v1/rates");
    seen.get_twice("/v1/instruments", "/v1/instruments");
    let (route, rate) = ("/v1/rates/{pair}", "/v1/rates/GBPUSD");
    seen.write(route, "PUT", "/v1/rates/GBPSEK", r#"{"price":1.1}"#);
    seen.see(route, "PUT", rate, UNMATCHED, r#"{"price":1.1}"#);
    seen.see(route, "GET", rate, UNMATCHED, "");
    seen.write(route, "PUT", rate, r#"{"price":1.3401}"#);
    seen.write(route, "PUT", rate, r#"{"price":-1}"#);
    seen.get_twice(route, rate);
    seen.get(route, "/v1/rates/GBPXXX");
    seen.write("/v1/hooks/{token}/signals", "POST", "/v1/hooks/none/signals", EURUSD);
    let lines = "{\"rate\":{\"pair\":\"GBPUSD\",\"price\":1.35}}\n{\"rate\":1}\n";
    for kind in LINES {
        seen.see("/v1/import", "POST", "/v1/import", &[("content-type", kind), ("accept", kind)], lines);
    }
    let refused = "{\"rate\":1}\n".repeat(1_000);
    for lines in ["{\"rate\":1}\n", &refused] {
        seen.see("/v1/import", "POST", "/v1/import", &[("content-type", "application/x-ndjson")], lines);
    }
    seen.write("/v1/import", "POST", "/v1/import", lines);
    seen.write("/v1/import", "POST", "/v1/import?existing=drop", lines);
    for query in ["", "?before=2020-01-01T00:00:00Z", "?before=2020-01-01", "?before=90d"] {
        seen.see("/v1/admin/prune", "POST", &format!("/v1/admin/prune{query}"), &[], "");
    }
    seen.get("/readyz", "/readyz");
    see_changes(seen);
    see_tokens(seen);
    for kind in LINES {
        seen.see("/v1/export", "GET", "/v1/export", &[("accept", kind)], "");
    }
    seen.get("/v1/stats", "/v1/stats");
    seen.get("/v1/admin/doctor", "/v1/admin/doctor");
    let open_metrics = [("accept", "application/openmetrics-text; version=1.0.0")];
    seen.see("/metrics", "GET", "/metrics", &open_metrics, "");
    let other = seen.server.get("/v1/admin/backup?database=/of/another").json();
    assert_eq!(other["code"], "other-database");
    for query in ["", "?database=/of/another"] {
        seen.get("/v1/admin/backup", &format!("/v1/admin/backup{query}"));
        seen.see("/v1/admin/backup", "POST", &format!("/v1/admin/backup{query}"), &[], "");
    }
    seen.get_twice("/openapi.json", "/openapi.json");
    for path in ["/readyz", "/healthz", "/metrics"] {
        seen.get(path, path);
    }
}

#[test]
fn answers_have_the_shapes_that_are_described() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    let mut seen = Onlooker::new(&server);
    see_missions(&mut seen);
    see_signals(&mut seen);
    see_users(&mut seen);
    see_the_rest(&mut seen);
    let mut seen = seen.seen;
    drop(server);

    // What a token may not read it is not shown.
    let hook = create_token(folder.path(), "hook");
    let mint = |scope| format!("Bearer {}", create_token(folder.path(), scope));
    let (read, write) = (mint("read"), mint("write"));
    let server = Server::start(folder.path(), &[]);
    let mut with_tokens = Onlooker::new(&server);
    for body in [EURUSD.replace("1.085", "1.086"), EURUSD.replace("1.085", "1.086"), "{}".to_owned()] {
        with_tokens.see("/v1/hooks/{token}/signals", "POST", &hook, &[], &body);
    }
    let json = ("content-type", "application/merge-patch+json");
    for (route, path) in [("/v1/signals/{signal}", SIGNAL), ("/v1/users/{user}/overlay", "/v1/users/7001/overlay")] {
        with_tokens.see(route, "PATCH", path, &[json, ("authorization", &write)], "{}");
        with_tokens.see(route, "PATCH", path, &[json, ("authorization", &read)], "{}");
        with_tokens.get(route, path);
    }
    seen.extend(with_tokens.seen);
    let unseen: Vec<_> = described_answers().into_iter().filter(|answer| !seen.contains(answer)).collect();
    assert_eq!(unseen, Vec::<String>::new(), "described, and never seen");
}

#[test]
fn bodies_that_are_accepted_are_as_described() {
    let document = document();
    let validator = validator(&document, &json!({"$ref": "#/components/schemas/ImportLine"}));
    for kind in ["signals", "overlays", "rates", "outcomes"] {
        let lines = fs::read_to_string(format!("{SAMPLES}/{kind}.ndjson")).unwrap();
        let records = lines.lines().filter(|line| !line.contains("sample_time"));
        assert!(records.inspect(|line| check(&validator, line)).count() > 0);
    }
}

#[test]
fn numbers_and_words_are_those_of_the_program() {
    let document = document();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(document["components"]["parameters"]["Limit"]["schema"]["maximum"], PAGE_ROWS_MAX);
    let reasons = &document["components"]["schemas"]["Mission"]["properties"]["reasons"]["items"]["enum"];
    assert_eq!(*reasons, json!(Reason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>()));
}
