//! `If-Match` and `If-None-Match` (RFC 9110 §13): one rule for every kind of record and every method.

use crate::kit::{Answer, Server};

const SIGNAL: &str = r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083}"#;

/// A kind of record, each time with a record of its own.
struct Kind {
    path: fn(u8) -> String,
    body: &'static str,
    /// For `PATCH`; `None` for a kind that has none.
    patch: Option<&'static str>,
    has_delete: bool,
}

fn kinds() -> [Kind; 4] {
    [
        Kind {
            path: |number| format!("/v1/signals/s{number}"),
            body: SIGNAL,
            patch: Some(r#"{"confidence":70}"#),
            has_delete: true,
        },
        Kind {
            path: |number| format!("/v1/users/u{number}/overlay"),
            body: r#"{"account_balance":1}"#,
            patch: Some(r#"{"account_balance":2}"#),
            has_delete: true,
        },
        Kind {
            path: |number| format!("/v1/users/u{number}/outcomes/S"),
            body: r#"{"status":"fired"}"#,
            patch: None,
            has_delete: true,
        },
        Kind {
            path: |number| {
                let [high, low] = [b'A' + number / 26, b'A' + number % 26].map(char::from);
                format!("/v1/rates/X{high}{low}USD")
            },
            body: r#"{"price":1.25}"#,
            patch: None,
            has_delete: false,
        },
    ]
}

/// What is asked of a record: the headers, with `TAG` for the tag that it has.
const CONDITIONS: [&[(&str, &str)]; 12] = [
    &[],
    &[("if-match", "TAG")],
    &[("if-match", "W/TAG")],
    &[("if-match", "\"x\", TAG")],
    &[("if-match", "*")],
    &[("if-match", "\"x\"")],
    &[("if-none-match", "TAG")],
    &[("if-none-match", "W/TAG")],
    &[("if-none-match", "*")],
    &[("if-none-match", "\"x\"")],
    &[("if-match", "TAG"), ("if-none-match", "TAG")],
    &[("if-match", "\"x\""), ("if-none-match", "TAG")],
];

/// Which of the conditions hold of a record that is there, and which of one that is not.
const HOLD: [(bool, bool); 12] = [
    (true, true),
    (true, false),
    (true, false),
    (true, false),
    (true, false),
    (false, false),
    (false, true),
    (false, true),
    (false, true),
    (true, true),
    (false, false),
    (false, false),
];

struct World {
    server: Server,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(folder.path(), &[]);
        assert_eq!(server.send("PUT", "/v1/signals/S", SIGNAL).status, 201);
        Self { server, _folder: folder }
    }

    fn ask(&self, method: &str, path: &str, conditions: &[(&str, &str)], tag: &str, body: &str) -> Answer {
        let conditions: Vec<_> = conditions.iter().map(|(name, value)| (*name, value.replace("TAG", tag))).collect();
        let mut headers: Vec<_> = conditions.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        self.server.send_with(method, path, &headers, body.as_bytes())
    }

    /// Makes a record; returns its tag.
    fn make(&self, kind: &Kind, path: &str) -> String {
        let made = self.server.send("PUT", path, kind.body);
        assert_eq!(made.status, 201, "{path}: {}", made.body);
        made.header("etag").unwrap().to_owned()
    }
}

#[test]
fn a_put_obeys_the_conditions_of_a_record_that_is_there_and_of_one_that_is_not() {
    let world = World::new();
    for kind in kinds() {
        for (number, (conditions, (of_present, of_absent))) in (0..).zip(CONDITIONS.iter().zip(HOLD)) {
            let path = (kind.path)(number);
            let absent = world.ask("PUT", &path, conditions, "\"1-1\"", kind.body);
            assert_eq!(absent.status, if of_absent { 201 } else { 412 }, "{path} {conditions:?}");
            assert_eq!(world.server.get(&path).status, if of_absent { 200 } else { 404 }, "{path} {conditions:?}");

            let path = (kind.path)(number + 100);
            let tag = world.make(&kind, &path);
            let present = world.ask("PUT", &path, conditions, &tag, kind.body);
            // A signal that is the same is 200 with the signal.
            let done = if kind.body == SIGNAL { 200 } else { 204 };
            assert_eq!(present.status, if of_present { done } else { 412 }, "{path} {conditions:?}");
        }
    }
}

#[test]
fn a_patch_or_a_delete_obeys_them_and_what_is_absent_is_absent_under_any() {
    let world = World::new();
    for kind in kinds() {
        let methods = [("PATCH", kind.patch, 200), ("DELETE", kind.has_delete.then_some(""), 204)];
        for (method, body, done) in methods.into_iter().filter_map(|(method, body, done)| Some((method, body?, done))) {
            for (number, (conditions, (holds, _))) in (0..).zip(CONDITIONS.iter().zip(HOLD)) {
                let path = (kind.path)(number + if method == "PATCH" { 0 } else { 100 });
                let absent = world.ask(method, &path, conditions, "\"1-1\"", body);
                assert_eq!(absent.status, 404, "{method} {path} {conditions:?}");
                let tag = world.make(&kind, &path);
                let before = world.server.get(&path).body;
                let answer = world.ask(method, &path, conditions, &tag, body);
                assert_eq!(answer.status, if holds { done } else { 412 }, "{method} {path} {conditions:?}");
                assert_eq!(world.server.get(&path).body == before, !holds, "{method} {path} {conditions:?}");
            }
        }
    }
}

#[test]
fn a_read_obeys_them_and_so_do_a_view_and_what_is_made_of_all_views() {
    let world = World::new();
    world.server.send("PUT", "/v1/users/u/overlay", r#"{"account_balance":10000,"risk_percent":2}"#);
    let views = ["/v1/users/u/missions/S", "/v1/signals/S/missions", "/v1/signals/S/summary"].map(str::to_owned);
    let records = kinds().map(|kind| {
        let path = (kind.path)(7);
        world.make(&kind, &path);
        path
    });
    for path in records.into_iter().chain(views) {
        let whole = world.server.get(&path);
        let tag = whole.header("etag").unwrap().trim_start_matches("W/").to_owned();
        for method in ["GET", "HEAD"] {
            for (conditions, (holds, _)) in CONDITIONS.iter().zip(HOLD) {
                let names_another = conditions.iter().any(|(name, value)| *name == "if-match" && *value == "\"x\"");
                let expected = match (holds, names_another) {
                    (true, _) => 200,
                    (false, true) => 412,
                    (false, false) => 304,
                };
                let answer = world.ask(method, &path, conditions, &tag, "");
                assert_eq!(answer.status, expected, "{method} {path} {conditions:?}");
                if expected != 412 {
                    assert_eq!(answer.header("etag"), whole.header("etag"), "{method} {path} {conditions:?}");
                }
            }
        }
        let absent = path.replace("u7", "nobody").replace("s7", "none").replace("XAH", "XZZ").replace("/S", "/none");
        assert_eq!(world.ask("GET", &absent, &[("if-match", "*")], "", "").status, 404, "{absent}");
    }
}

/// What has no tag has none that a client could name, and a `POST` is about no record that is there.
#[test]
fn what_has_no_tag_and_a_post_pass_over_them() {
    let world = World::new();
    world.server.send("PUT", "/v1/users/u/overlay", r#"{"account_balance":10000,"risk_percent":2}"#);
    let lines = ("accept", "application/x-ndjson");
    for condition in CONDITIONS.into_iter().filter(|condition| !condition.is_empty()) {
        let asked = [condition, &[lines]].concat();
        for path in
            ["/v1/users/u/missions/S/explanation", "/v1/signals/S/missions", "/v1/export", "/v1/changes?limit=1"]
        {
            let answer = world.ask("GET", path, &asked, "\"t\"", "");
            assert_eq!((answer.status, answer.header("etag")), (200, None), "{path} {condition:?}");
        }
        let body = r#"{"symbol":"EURUSD","direction":"BUY","stop_pips":20,"created_at":"2099-01-01T00:00:00Z"}"#;
        let published = world.ask("POST", "/v1/signals", condition, "\"t\"", body);
        assert!(matches!(published.status, 200 | 201), "{condition:?}");
        let pruned = world.ask("POST", "/v1/admin/prune?before=2000-01-01T00:00:00Z", condition, "\"t\"", "");
        assert_eq!(pruned.status, 200, "{condition:?}");
    }
}

/// A write that changes nothing may confirm a rate or a balance: in memory alone, or on the disk once that is due.
#[test]
fn the_tag_of_a_write_is_that_of_the_next_read_and_guards_the_next_write() {
    let world = World::new();
    let rate = |price: &str, confirmed: &str| {
        format!(r#"{{"price":{price},"updated_at":"2025-01-01T00:00:00Z","confirmed_at":"2025-01-{confirmed}:00Z"}}"#)
    };
    let confirmed = ["02T00:00", "02T01:00", "02T01:00", "09T00:00", "02T00:00"];
    let rates =
        confirmed.map(|time| ("PUT", rate("1.25", time))).into_iter().chain([("PUT", rate("1.26", "02T00:00"))]);
    let balance = |method, balance: u32| (method, format!(r#"{{"account_balance":{balance}}}"#));
    let overlays =
        [balance("PUT", 1), balance("PUT", 1), balance("PATCH", 1), balance("PATCH", 2), balance("PATCH", 2)];
    let outcome = || ("PUT", r#"{"status":"fired"}"#.to_owned());
    let signals = [("PUT", SIGNAL), ("PUT", SIGNAL), ("PATCH", "{}"), ("PATCH", r#"{"confidence":70}"#)];
    for (path, writes) in [
        ("/v1/rates/GBPUSD", rates.collect()),
        ("/v1/users/u/overlay", overlays.to_vec()),
        ("/v1/users/u/outcomes/S", vec![outcome(), outcome()]),
        ("/v1/signals/s", signals.map(|(method, body)| (method, body.to_owned())).to_vec()),
    ] {
        let mut tag = None;
        for (method, body) in writes {
            let condition = tag.as_deref().map_or(("if-none-match", "*"), |tag| ("if-match", tag));
            let written = world.ask(method, path, &[condition], "", &body);
            assert!(matches!(written.status, 200..300), "{method} {path} {body} {condition:?}: {written:?}");
            let read = world.server.get(path);
            assert_eq!(written.header("etag"), read.header("etag"), "{method} {path} {body}");
            tag = read.header("etag").map(str::to_owned);
        }
    }
}

#[test]
fn a_condition_that_can_not_be_read_stops_a_write_and_not_a_read() {
    let world = World::new();
    for kind in kinds() {
        let path = (kind.path)(1);
        world.make(&kind, &path);
        for header in ["if-match", "if-none-match"] {
            let write = world.ask("PUT", &path, &[(header, "nonsense")], "", kind.body);
            assert_eq!((write.status, &write.json()["code"]), (400, &"malformed-condition".into()), "{path} {header}");
        }
        assert_eq!(world.ask("GET", &path, &[("if-none-match", "nonsense")], "", "").status, 200, "{path}");
        assert_eq!(world.ask("GET", &path, &[("if-match", "nonsense")], "", "").status, 400, "{path}");
    }
}
