//! Tags that last: in all lives of a database and of its copies no tag stands for two bodies, but for the seconds left
//! of a signal; and a restart, a compact and a move change none.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use overlaid::domain::{MaxAge, MaxAges};
use overlaid::http::InProcess;
use overlaid::service::{Clock, Service, Settings};
use overlaid::store::{back_up, compact, restore};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::kit::start;

/// A unit of time: a signal lives for six.
const TICK_MS: i64 = 600_000;
const PATHS: [&str; 31] = [
    "/v1/signals/S0",
    "/v1/signals/S1",
    "/v1/users/0/overlay",
    "/v1/users/1/overlay",
    "/v1/users/0/outcomes/S0",
    "/v1/users/1/outcomes/S1",
    "/v1/rates/USDJPY",
    "/v1/rates/GBPUSD",
    "/v1/users/0/missions/S0",
    "/v1/users/0/missions/S1",
    "/v1/users/1/missions/S0",
    "/v1/users/1/missions/S1",
    "/v1/users/0/missions",
    "/v1/users/0/missions?status=all&limit=1",
    "/v1/users/1/missions?status=expired",
    "/v1/users/1/missions?status=all&tradable=true&parts=mission",
    "/v1/signals/S0/missions",
    "/v1/signals/S1/missions?limit=1",
    "/v1/signals/S0/missions?users=1,0&parts=mission",
    "/v1/signals/S1/missions?tier=FANG&tradable=true",
    "/v1/signals/S0/summary",
    "/v1/signals/S1/summary",
    "/v1/users/0/outcomes",
    "/v1/users/1/outcomes?limit=1",
    "/v1/signals",
    "/v1/signals?status=active",
    "/v1/signals?status=expired&limit=1",
    "/v1/rates",
    "/v1/instruments",
    "/v1/users",
    "/v1/users?tier=FANG",
];

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// Which record, and what becomes of it.
    Write(u8, u8),
    /// Ticks, which may lead back: clocks are set.
    Pass(i64),
    Restart,
    Compact,
    Move,
    /// Keeps a backup, or a copy of the closed file.
    Keep {
        is_backup: bool,
    },
    /// Puts a kept file in the place of the database.
    Restore(u8),
    /// Goes on with a kept file, and keeps the database for later.
    Change(u8),
    /// Starts with other tables or ages.
    Settings(u8),
    /// Replaces the tables while the server runs.
    Tables(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0_u8..8, 0_u8..5).prop_map(|(record, value)| Step::Write(record, value)),
        2 => (-2_i64..8).prop_map(Step::Pass),
        1 => Just(Step::Restart),
        1 => Just(Step::Compact),
        1 => Just(Step::Move),
        2 => any::<bool>().prop_map(|is_backup| Step::Keep { is_backup }),
        2 => any::<u8>().prop_map(Step::Restore),
        2 => any::<u8>().prop_map(Step::Change),
        1 => (0_u8..5).prop_map(Step::Settings),
        1 => (0_u8..3).prop_map(Step::Tables),
    ];
    vec(step, 1..60)
}

/// The operator's settings number so many.
fn settings(number: u8, clock: &Arc<AtomicI64>) -> Settings {
    let mut settings = Settings { clock: Clock::Fixed(Arc::clone(clock)), ..Settings::built_in().unwrap() };
    let hours = |hours: u64| Some(MaxAge::from_millis(hours * 3_600_000));
    match number {
        1 => {
            let numbers = "contract_size=7\npip='0.01'\ndigits=2\nmin_lot=1\nlot_step=1\nmax_lot=9";
            settings.instruments.override_with(&format!("[EURUSD]\nbase='EUR'\nquote='USD'\n{numbers}")).unwrap();
        }
        2 => {
            let tier = "[FANG]\nrisk_percent=1\nmin_confidence=0\nmax_lots='0.05'\ntrades_per_day=3";
            settings.tiers.override_with(tier).unwrap();
        }
        3 => settings.max_ages = MaxAges { rate: hours(1), balance: hours(1) },
        4 => settings.max_ages = MaxAges { rate: None, balance: hours(2) },
        _ => {}
    }
    settings
}

/// All lives of one database.
struct Lives {
    runtime: Runtime,
    /// Holds the database and the kept files.
    folder: TempDir,
    clock: Arc<AtomicI64>,
    settings: u8,
    /// The settings whose tables are in use.
    tables: u8,
    /// Whether memory may have confirmations that the file does not have.
    has_confirmed: bool,
    path: PathBuf,
    running: Option<(Service, InProcess)>,
    kept: Vec<PathBuf>,
    files: usize,
    /// The body of each path under each of its tags.
    bodies: HashMap<(&'static str, String), String>,
}

/// An answer: its status, its tag and its body.
type Seen = (u16, String, String);

impl Lives {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(AtomicI64::new(start().millis()));
        let mut lives = Self {
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(),
            path: folder.path().join("overlaid.redb"),
            folder,
            clock,
            settings: 0,
            tables: 0,
            has_confirmed: false,
            running: None,
            kept: Vec::new(),
            files: 0,
            bodies: HashMap::new(),
        };
        lives.start();
        lives
    }

    fn start(&mut self) {
        let Settings { instruments, tiers, .. } = settings(self.tables, &self.clock);
        let settings = Settings { copy_gate_ms: 0, instruments, tiers, ..settings(self.settings, &self.clock) };
        let service = Service::open(&self.path, settings).unwrap();
        let _entered = self.runtime.enter();
        self.running = Some((service.clone(), InProcess::new(service)));
    }

    fn stop(&mut self) {
        let (service, routes) = self.running.take().unwrap();
        service.stop();
        drop((service, routes));
    }

    fn new_path(&mut self) -> PathBuf {
        self.files += 1;
        self.folder.path().join(format!("{}.redb", self.files))
    }

    /// Asks; an answer that is no refusal and has a tag, and a deletion, names the newest change.
    fn ask(&self, method: &str, path: &str, tag: Option<&str>, body: &str) -> Seen {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        request = request.header("host", "localhost");
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        self.runtime.block_on(async {
            let (service, routes) = self.running.as_ref().unwrap();
            let answer = routes.answer(request).await;
            let cursor = answer.headers().get("overlaid-cursor").map(|cursor| cursor.to_str().unwrap().to_owned());
            let is_done = answer.status().as_u16() < 400;
            assert_eq!(cursor, is_done.then(|| service.cursor().to_string()), "{method} {path}");
            let tag = answer.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned()).unwrap_or_default();
            let status = answer.status().as_u16();
            let bytes = answer.into_body().collect().await.unwrap().to_bytes();
            (status, tag, String::from_utf8(bytes.to_vec()).unwrap())
        })
    }

    /// Reads everything, and holds it against what was read before, in any life.
    fn look(&mut self) -> Vec<Seen> {
        PATHS.map(|path| self.look_at(path)).into()
    }

    fn look_at(&mut self, path: &'static str) -> Seen {
        let (status, tag, body) = self.ask("GET", path, None, "");
        if status != 200 {
            assert_eq!(status, 404, "{path}");
            return (status, tag, String::new());
        }
        assert!(!tag.is_empty(), "{path} has no tag");
        let body = without_seconds(&body);
        let held = self.bodies.entry((path, tag.clone())).or_insert_with(|| body.clone());
        assert_eq!(*held, body, "{path} has two bodies under {tag}");
        assert_eq!(self.ask("GET", path, Some(&tag), "").0, 304, "{path}");
        (status, tag, body)
    }

    fn write(&mut self, record: u8, value: u8) {
        let (id, now) = (record & 1, self.clock.load(Ordering::SeqCst));
        let time = |ticks: i64| overlaid::domain::UnixMillis::new(now + ticks * TICK_MS);
        let (path, body) = match record / 2 {
            0 => {
                // Some begin later, and some are expired soon.
                let [created, expires] = [time(2 * i64::from(value) - 3), time(i64::from(value) + 2)];
                let body = format!(
                    r#"{{"symbol":"EURUSD","direction":"BUY","entry_price":1.08,"stop_loss":1.07,"created_at":"{created}","expires_at":"{expires}"}}"#
                );
                (format!("/v1/signals/S{id}"), body)
            }
            1 => {
                let currency = if id == 0 { "USD" } else { "JPY" };
                let body = format!(
                    r#"{{"account_balance":{},"account_currency":"{currency}","tier":"FANG"}}"#,
                    1_000 * i64::from(value + 1)
                );
                (format!("/v1/users/{id}/overlay"), body)
            }
            2 => (format!("/v1/users/{id}/outcomes/S{id}"), format!(r#"{{"status":"fired","ticket":"{value}"}}"#)),
            _ => {
                let pair = ["USDJPY", "GBPUSD"][usize::from(id)];
                (format!("/v1/rates/{pair}"), format!(r#"{{"price":{}}}"#, 100 + value / 2))
            }
        };
        let (method, body) = match (record / 2, value) {
            (0..=2, 4) => ("DELETE", String::new()),
            (0, 3) => ("PATCH", r#"{"status":"cancelled"}"#.to_owned()),
            (1, 3) => ("PATCH", r#"{"trades_remaining":0}"#.to_owned()),
            _ => ("PUT", body),
        };
        // A write that is refused changes nothing, which is as good.
        let before = self.running.as_ref().unwrap().0.cursor();
        let (status, tag, _) = self.ask(method, &path, None, &body);
        self.has_confirmed |= self.running.as_ref().unwrap().0.cursor() == before;
        if status < 300 && !tag.is_empty() {
            assert_eq!(self.ask("GET", &path, Some(&tag), "").0, 304, "{method} {path} answers with another tag");
        }
    }

    /// Does something with the closed file after which every tag must be as it was.
    fn without_change(&mut self, change: impl FnOnce(&mut Self)) {
        let before = self.look();
        self.stop();
        change(self);
        self.start();
        for ((path, before), after) in PATHS.into_iter().zip(before).zip(self.look()) {
            // A confirmation that only memory had is gone.
            assert!(before.1 == after.1 || self.has_confirmed, "{path}: {before:?} {after:?}");
        }
        self.has_confirmed = false;
    }

    fn kept(&self, number: u8) -> Option<usize> {
        usize::from(number).checked_rem(self.kept.len())
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write(record, value) => self.write(*record, *value),
            Step::Pass(ticks) => drop(self.clock.fetch_add(ticks * TICK_MS, Ordering::SeqCst)),
            Step::Restart => self.without_change(|_| {}),
            Step::Compact => self.without_change(|lives| drop(compact(&lives.path).unwrap())),
            Step::Move => self.without_change(|lives| {
                let to = lives.new_path();
                fs::rename(&lives.path, &to).unwrap();
                lives.path = to;
            }),
            Step::Keep { is_backup: true } => {
                let to = self.new_path();
                back_up(&self.running.as_ref().unwrap().0.snapshot().unwrap(), &to).unwrap();
                self.kept.push(to);
            }
            Step::Keep { is_backup: false } => {
                let to = self.new_path();
                self.stop();
                fs::copy(&self.path, &to).unwrap();
                self.kept.push(to);
                self.start();
            }
            Step::Restore(number) => {
                let Some(at) = self.kept(*number) else { return };
                self.stop();
                restore(&self.kept[at], &self.path, start()).unwrap();
                self.start();
            }
            Step::Change(number) => {
                let Some(at) = self.kept(*number) else { return };
                self.stop();
                std::mem::swap(&mut self.kept[at], &mut self.path);
                self.start();
            }
            Step::Settings(number) => {
                self.stop();
                (self.settings, self.tables) = (*number, *number);
                self.start();
            }
            Step::Tables(number) => {
                self.tables = *number;
                let Settings { instruments, tiers, .. } = settings(*number, &self.clock);
                // Which of them have changed is another test's business.
                let _ = self.running.as_ref().unwrap().0.replace_tables(instruments, tiers);
            }
        }
    }
}

/// A body without the numbers of seconds that are left.
fn without_seconds(body: &str) -> String {
    let mut parts = body.split("\"seconds_remaining\":");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + part.trim_start_matches(|letter: char| letter.is_ascii_digit()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn no_tag_has_two_bodies_in_any_life_of_a_file_and_none_ends_with_a_restart(steps in steps()) {
        let mut lives = Lives::new();
        for step in &steps {
            lives.step(step);
            lives.look();
        }
        lives.stop();
    }
}

/// A bot that polls the missions of a user gets 304 while balances and outcomes of others change.
#[test]
fn a_list_of_missions_is_the_same_whatever_happens_to_others() {
    let mut lives = Lives::new();
    for record in [0, 2, 3, 6] {
        lives.write(record, 2);
    }
    let path = "/v1/users/0/missions";
    let (_, tag, _) = lives.look_at(path);
    lives.write(3, 1);
    for (method, path, body) in [
        ("PATCH", "/v1/users/1/overlay", r#"{"account_balance":7}"#),
        ("PUT", "/v1/users/1/outcomes/S0", r#"{"status":"fired"}"#),
    ] {
        let (status, _, answer) = lives.ask(method, path, None, body);
        assert!(status < 300, "{method} {path}: {answer}");
    }
    assert_eq!(lives.ask("GET", path, Some(&tag), "").0, 304);
    lives.write(4, 1);
    let fired = lives.look_at(path);
    assert_ne!(fired.1, tag);
    lives.clock.fetch_add(6 * TICK_MS, Ordering::SeqCst);
    assert_ne!(lives.look_at(path).1, fired.1, "the signal has expired");
    lives.stop();
}

/// Confirmations change rows in memory in place: a tag names their state, and an answer that may be of two has none.
#[test]
fn what_all_users_may_do_has_another_tag_once_a_balance_is_confirmed_or_too_old() {
    const SUMMARY: &str = "/v1/signals/S1/summary";
    let mut lives = Lives::new();
    lives.step(&Step::Settings(3));
    for record in [1, 2, 3, 6] {
        lives.write(record, 2);
    }
    let first = lives.look_at(SUMMARY);
    assert_eq!(lives.look_at(SUMMARY), first);
    let batch = lives.runtime.block_on(lives.running.as_ref().unwrap().0.batch(&"S1".parse().unwrap(), None)).unwrap();
    assert!(batch.is_one_state());
    lives.clock.fetch_add(60_000, Ordering::SeqCst);
    let missions = lives.look_at("/v1/signals/S1/missions?limit=1");
    let before = lives.running.as_ref().unwrap().0.cursor();
    assert_eq!(lives.ask("PATCH", "/v1/users/0/overlay", None, r#"{"account_balance":3000}"#).0, 200);
    assert_eq!(lives.running.as_ref().unwrap().0.cursor(), before, "a confirmation is no change");
    assert!(!batch.is_one_state());
    drop(batch);
    let confirmed = lives.look_at("/v1/signals/S1/missions?limit=1");
    assert!(confirmed.1 != missions.1 && confirmed.2 != missions.2, "{confirmed:?}");
    let confirmed = lives.look_at(SUMMARY);
    assert_ne!(confirmed.1, first.1);
    // The other user's balance is too old a minute before this one's.
    lives.clock.fetch_add(6 * TICK_MS - 30_000, Ordering::SeqCst);
    let one_stale = lives.look_at(SUMMARY);
    lives.clock.fetch_add(60_000, Ordering::SeqCst);
    let two_stale = lives.look_at(SUMMARY);
    let tags = [&first.1, &confirmed.1, &one_stale.1, &two_stale.1];
    assert_eq!(tags.into_iter().collect::<std::collections::HashSet<_>>().len(), 4, "{tags:?}");
    assert_ne!(one_stale.2, two_stale.2);
    // What only memory had is gone, and so is its tag.
    lives.stop();
    lives.start();
    assert!(![&first.1, &confirmed.1, &two_stale.1].contains(&&lives.look_at(SUMMARY).1));
    lives.stop();
}
