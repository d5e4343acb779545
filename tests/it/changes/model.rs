//! Clients that keep a copy of all that they may see, through writes of all kinds, restarts and states of the file that
//! come back. Answers get lost on the way, and a client goes on from the last cursor that it got.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::{ask, cursor, seq_of_tag};
use crate::kit::{Answer, Dice, Server, create_token, effort, seed, with_member};

const SIGNALS: [&str; 3] = ["S0", "S1", "S2"];
/// The first one has a token.
const USERS: [&str; 3] = ["0", "1", "2"];
const PAIRS: [&str; 2] = ["GBPUSD", "USDJPY"];

/// The path of a record, by the kind and the key that a change names.
fn path_of(kind: &str, key: &str) -> String {
    match kind {
        "signal" => format!("/v1/signals/{key}"),
        "overlay" => format!("/v1/users/{key}/overlay"),
        "outcome" => key.split_once('/').map(|(user, signal)| format!("/v1/users/{user}/outcomes/{signal}")).unwrap(),
        "rate" => format!("/v1/rates/{key}"),
        other => panic!("{other} {key}"),
    }
}

/// The kinds and keys of all records that may be.
fn universe() -> Vec<(&'static str, String)> {
    let outcomes =
        USERS.iter().flat_map(|user| SIGNALS.iter().map(move |signal| ("outcome", format!("{user}/{signal}"))));
    let one = |kind: &'static str, keys: &[&str]| keys.iter().map(|key| (kind, (*key).to_owned())).collect::<Vec<_>>();
    outcomes.chain(one("signal", &SIGNALS)).chain(one("overlay", &USERS)).chain(one("rate", &PAIRS)).collect()
}

struct Client {
    token: String,
    /// The one user whose own it may see; `None`: all.
    user: Option<&'static str>,
    cursor: String,
    /// What it has of each record: tag and body, or that it is absent.
    copy: BTreeMap<String, String>,
}

impl Client {
    fn may_see(&self, kind: &str, key: &str) -> bool {
        let is_own = |user: &str| key == user || key.starts_with(&format!("{user}/"));
        matches!(kind, "signal" | "rate") || self.user.is_none_or(is_own)
    }

    fn read(&self, server: &Server, path: &str) -> Answer {
        let answer = server.get_as(&self.token, path);
        assert!(matches!(answer.status, 200 | 404), "{answer:?}");
        answer
    }

    fn read_all(&self, server: &Server) -> BTreeMap<String, String> {
        let visible = universe().into_iter().filter(|(kind, key)| self.may_see(kind, key));
        visible
            .map(|(kind, key)| path_of(kind, &key))
            .map(|path| (path.clone(), kept(&self.read(server, &path))))
            .collect()
    }

    /// Asks once, and does as the answer says; `None` if there was nothing.
    fn poll(&mut self, server: &Server, limit: usize, named: &mut BTreeSet<String>) -> Option<()> {
        let page = ask(server, &self.token, &format!("?since={}&limit={limit}", self.cursor));
        self.cursor = cursor(&page);
        let page = page.json();
        if page["reset"] == true {
            self.copy = self.read_all(server);
            named.clear();
            return Some(());
        }
        let mut last = 0;
        for change in page["changes"].as_array().unwrap() {
            let [kind, key] = ["kind", "key"].map(|name| change[name].as_str().unwrap());
            assert!(self.may_see(kind, key), "{:?} was told of {change}", self.user);
            let seq = change["seq"].as_u64().unwrap();
            assert!(last < seq, "in the order of numbers: {page}");
            last = seq;
            assert!(named.insert(format!("{kind} {key}")), "{change} is named twice");
            self.apply(server, change, kind, key);
        }
        (last > 0).then_some(())
    }

    /// Reads a record again that a change names.
    fn apply(&mut self, server: &Server, change: &Value, kind: &str, key: &str) {
        let path = path_of(kind, key);
        let answer = self.read(server, &path);
        assert_eq!(change["deleted"] == true, answer.status == 404, "{change} {answer:?}");
        if answer.status == 200 {
            assert_eq!(change["seq"].as_u64().unwrap(), seq_of_tag(&answer), "the newest number of {path}");
        }
        self.copy.insert(path, kept(&answer));
    }

    /// Follows to the end, where the copy must be as the server has it.
    fn catch_up(&mut self, server: &Server, limit: usize) {
        let mut named = BTreeSet::new();
        while self.poll(server, limit, &mut named).is_some() {}
        assert_eq!(self.copy, self.read_all(server), "{:?} at {}", self.user, self.cursor);
    }
}

/// A record without its confirmation, which is no change: memory alone may have it.
fn kept(answer: &Answer) -> String {
    let body = with_member(&answer.body, "confirmed_at", |_| Some("…"));
    let tag = answer.header("etag").map(|tag| tag.split('.').next().unwrap_or(tag).trim_end_matches('"').to_owned());
    tag.map_or("absent".to_owned(), |tag| format!("{tag} {body}"))
}

/// A server that comes back, also with an older state of its file.
struct World {
    folder: TempDir,
    server: Server,
    admin: String,
}

impl World {
    fn write(&self, method: &str, path: &str, body: &str) {
        let kind = if body.starts_with("{\"rate\"") || body.starts_with("{\"overlay\"") {
            "application/x-ndjson"
        } else {
            "application/json"
        };
        let fields = [("content-type", kind), ("authorization", &*format!("Bearer {}", self.admin))];
        let answer = self.server.send_with(method, path, &fields, body.as_bytes());
        assert!(matches!(answer.status, 200..300 | 404 | 409), "{method} {path} {body}: {answer:?}");
    }

    fn write_something(&self, dice: &mut Dice) {
        let [signal, user] = [SIGNALS, USERS].map(|names| names[dice.below(3)]);
        let (pair, number) = (PAIRS[dice.below(2)], dice.below(3) + 1);
        let (signal_path, overlay_path) = (path_of("signal", signal), path_of("overlay", user));
        let outcome_path = path_of("outcome", &format!("{user}/{signal}"));
        let published = format!(
            r#"{{"symbol":"EURUSD","direction":"BUY","stop_pips":{number}0,"created_at":"2025-01-01T00:00:00Z","expires_at":"2025-01-0{}T00:00:00Z"}}"#,
            number + 1
        );
        match dice.below(14) {
            0 | 1 => self.write("PUT", &signal_path, &published),
            2 => self.write("PATCH", &signal_path, &format!(r#"{{"confidence":{number}0}}"#)),
            3 => self.write("DELETE", &signal_path, ""),
            4 | 5 => self.write("PUT", &overlay_path, &format!(r#"{{"account_balance":{number}}}"#)),
            6 => self.write("PATCH", &overlay_path, &format!(r#"{{"note":{number}}}"#)),
            7 => self.write("DELETE", &overlay_path, ""),
            8 | 9 => self.write("PUT", &outcome_path, &format!(r#"{{"status":"fired","ticket":{number}}}"#)),
            10 => self.write("DELETE", &outcome_path, ""),
            11 => self.write("PUT", &path_of("rate", pair), &format!(r#"{{"price":1.{number}}}"#)),
            // Not the one whose token would end with it.
            12 => self.write("DELETE", &format!("/v1/users/{}", USERS[1 + dice.below(2)]), ""),
            _ => self.write_many(dice, user, pair, number),
        }
    }

    fn write_many(&self, dice: &mut Dice, user: &str, pair: &str, number: usize) {
        if dice.below(2) == 0 {
            return self.write("POST", &format!("/v1/admin/prune?before=2025-01-0{number}T12:00:00Z"), "");
        }
        let lines = [
            format!(r#"{{"overlay":{{"user_id":"{user}","account_balance":{number}}}}}"#),
            format!(r#"{{"rate":{{"pair":"{pair}","price":2.{number}}}}}"#),
            format!(r#"{{"overlay":{{"user_id":"{user}","account_balance":{number}5}}}}"#),
        ];
        self.write("POST", "/v1/import", &lines.join("\n"));
    }

    /// Starts the server again, sometimes with the file as it was at an earlier restart.
    fn restart(self, dice: &mut Dice) -> Self {
        let Self { folder, mut server, admin } = self;
        let way = dice.below(4);
        if way == 0 {
            server.kill();
        } else {
            assert_eq!(server.terminate(), Some(0));
        }
        let [file, saved] = ["overlaid.redb", "saved.redb"].map(|name| folder.path().join(name));
        match way {
            1 => drop(fs::copy(&file, &saved).unwrap()),
            2 if saved.exists() => drop(fs::copy(&saved, &file).unwrap()),
            _ => {}
        }
        Self { server: Server::start(folder.path(), &[]), folder, admin }
    }
}

#[test]
fn a_client_that_loses_answers_has_everything_in_the_end_and_nothing_that_it_may_not_see() {
    let folder = tempfile::tempdir().unwrap();
    let [admin, all, own] = ["admin", "read", "read:0"].map(|scope| create_token(folder.path(), scope));
    let mut world = World { server: Server::start(folder.path(), &[]), folder, admin };
    let mut dice = Dice::new(seed());
    let follow = |token: String, user| {
        let cursor = cursor(&ask(&world.server, &token, ""));
        let mut client = Client { token, user, cursor, copy: BTreeMap::new() };
        client.copy = client.read_all(&world.server);
        client
    };
    let mut clients = [follow(all, None), follow(own, Some(USERS[0]))];
    for _ in 0..effort(400) {
        let (client, limit) = (dice.below(2), 1 + dice.below(4));
        let client = &mut clients[client];
        match dice.below(40) {
            0 | 1 => world = world.restart(&mut dice),
            // The answer is lost on the way.
            2..=4 => drop(ask(&world.server, &client.token, &format!("?since={}&limit={limit}", client.cursor))),
            5..=8 => drop(client.poll(&world.server, limit, &mut BTreeSet::new())),
            9 | 10 => client.catch_up(&world.server, limit),
            _ => world.write_something(&mut dice),
        }
    }
    for client in &mut clients {
        client.catch_up(&world.server, 1_000);
    }
}
