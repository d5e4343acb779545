//! Writes: balances and signals, each on the disk before it is acknowledged.

use std::cell::RefCell;
use std::fs;
use std::io::Write as _;

use overlaid::domain::Condition;
use overlaid::domain::{Object, SignalDraft, UserId};
use overlaid::store::{Operation, Precedence};

use super::library::Library;
use super::redis::Redis;
use super::rounds::{Contender, Sample, interleave, timed};
use super::sqlite::Sqlite;
use super::table::{Floor, Row, Unit, ms, per_second};
use super::{Lab, NO_REDIS, USERS};
use crate::rig::client::Client;
use crate::rig::data;
use crate::rig::load::{self, Requests, Shape};
use crate::rig::process::{self, Cpus, Overlaid, cpu_ns};

/// Writes in a turn. Short turns, and many of them: how fast a disk syncs changes from second to second.
const WRITES: usize = 50;
/// Turns for each of the other topics' turns.
const TURNS: usize = 4;
/// Connections that push balances at once.
const CONNECTIONS: usize = 64;

/// One write after the other, in process, against what the disk can do.
pub(super) fn durable(lab: &Lab) -> Vec<Row> {
    let folder = process::folder();
    let (library_database, server_database) = (lab.database(), lab.database());
    let library = Library::open(library_database.path());
    let ours = Overlaid::start(&lab.program, server_database.path(), Cpus::All);
    let mut client = Client::connect(ours.address);
    let mut file = fs::OpenOptions::new().create(true).append(true).open(folder.path().join("log")).unwrap();
    let mut sqlite = Sqlite::new(USERS);
    let redis = Redis::start(USERS).map(RefCell::new);
    if let Some(redis) = &redis {
        redis.borrow_mut().sync("always");
    }
    let mut signals = 0;
    let turn = |write: &mut dyn FnMut(usize)| {
        let took = timed(|| (0..WRITES).for_each(write));
        Sample::each(took, WRITES)
    };
    let mut contenders = vec![
        Contender::new("append", |_| {
            turn(&mut |_| {
                file.write_all(&[b'x'; 32]).unwrap();
                file.sync_data().unwrap();
            })
        }),
        Contender::new("update", |round| turn(&mut |push| update(&library, push, 1 + round as u64))),
        Contender::new("update, http", |round| {
            turn(&mut |push| {
                client.send(&data::patch(push, &data::balance(push, 1 + round as u64)));
            })
        }),
        Contender::new("publish", |_| {
            turn(&mut |_| {
                signals += 1;
                publish(&library, signals);
            })
        }),
        Contender::new("sqlite", |round| turn(&mut |push| sqlite.put(push, &overlay(push, 1 + round as u64)))),
    ];
    if let Some(redis) = &redis {
        contenders.push(Contender::new("redis", |round| {
            turn(&mut |push| redis.borrow_mut().put(push, &overlay(push, 1 + round as u64)))
        }));
    }
    let contest = interleave(TURNS * lab.rounds, contenders);
    let row = |name: &str, what: &str, floor, missing| {
        let detail = format!(
            "{} against {}",
            contest.text(name, Sample::each_ms, ms),
            contest.text("append", Sample::each_ms, ms)
        );
        let ratio = contest.ratio(name, "append", Sample::each_ms);
        Row::new(what, floor, Unit::Times, ratio, missing, detail)
    };
    vec![
        row(
            "update",
            "durable balance update, one at a time, time by a 32-byte append and fdatasync",
            Floor::AtMost(2.7),
            "",
        ),
        row("publish", "publishing a signal, time by a 32-byte append and fdatasync", Floor::None, ""),
        row("update, http", "durable balance update over HTTP, one at a time, by the same", Floor::None, ""),
        row("redis", "Redis with appendfsync always, a SET at a time, by the same", Floor::None, NO_REDIS),
        row("sqlite", "SQLite with WAL and synchronous full, an UPDATE at a time, by the same", Floor::None, ""),
    ]
}

fn update(library: &Library, number: usize, version: u64) {
    let patch = format!(r#"{{"account_balance":{}}}"#, data::balance(number, version));
    let operation = Operation::PatchOverlay {
        user: UserId::parse(&data::user_id(number)).unwrap(),
        patch: Object::parse(patch.as_bytes()).unwrap(),
        now: library.service.now(),
        condition: Condition::None,
        precedence: Precedence::Replace,
    };
    library.service.submit(operation).unwrap().done_blocking().unwrap();
}

fn publish(library: &Library, number: u32) {
    let json = data::signal_json(&format!("ELITE_RAPID_EURUSD_{number:010}"));
    let operation = Operation::PutSignal {
        draft: SignalDraft::from_object(Object::parse(json.as_bytes()).unwrap(), None).unwrap(),
        now: library.service.now(),
        lifetime_ms: library.service.lifetime_ms(),
        condition: Condition::None,
        precedence: Precedence::Replace,
    };
    library.service.submit(operation).unwrap().done_blocking().unwrap();
}

fn overlay(number: usize, version: u64) -> String {
    let (old, new) = (data::balance(number, 0), data::balance(number, version));
    data::overlay_json(number).replacen(&old, &new, 1)
}

/// Many at once over HTTP, against reading.
pub(super) fn over_http(lab: &Lab) -> Vec<Row> {
    let database = lab.database();
    let ours = Overlaid::start(&lab.program, database.path(), Cpus::All);
    let views = Requests::new((0..USERS).map(|number| data::get(&data::view_path(number), "")));
    // Three balances for each user in turn, so that each push finds another one in place.
    let pushes = Requests::new(
        (0..3 * USERS).map(|push| data::patch(push % USERS, &data::balance(push % USERS, 1 + (push / USERS) as u64))),
    );
    let same = Requests::new((0..100).map(|number| data::patch(number, &data::balance(number, 0))));
    // Users whose balance the pushes have changed get their first one back, which then stays.
    let restore = || {
        let mut client = Client::connect(ours.address);
        (0..100).for_each(|number| _ = client.send(&data::patch(number, &data::balance(number, 0))));
    };
    let turn = |requests: &Requests, offset: usize| {
        let offset = offset % requests.len();
        let shape = Shape { connections: CONNECTIONS, depth: 1, duration: lab.turn, cpus: Cpus::All, offset };
        let before = cpu_ns(&ours.pids());
        let outcome = load::run(ours.address, requests, shape);
        Sample::load(outcome, cpu_ns(&ours.pids()) - before)
    };
    let mut begin = 0;
    let contest = interleave(
        lab.rounds,
        vec![
            Contender::new("get", |_| turn(&views, 0)),
            Contender::new("push", |_| {
                begin += 1_009;
                turn(&pushes, begin)
            }),
            Contender::new("same", |_| {
                restore();
                turn(&same, 0)
            }),
        ],
    );
    let rate = |sample: &Sample| sample.per_second;
    let rates =
        |name| format!("{} against {}", contest.text(name, rate, per_second), contest.text("get", rate, per_second));
    let latency = |sample: &Sample| sample.p99_ms;
    vec![
        Row::new(
            "durable balance updates over HTTP, 64 connections, updates/s by those of GET views",
            Floor::AtLeast(0.2),
            Unit::Times,
            contest.ratio("push", "get", rate),
            "",
            rates("push"),
        ),
        Row::new(
            "the same, 99th percentile of the latency",
            Floor::None,
            Unit::Milliseconds,
            contest.figure("push", latency),
            "",
            format!("a GET {}", contest.text("get", latency, ms)),
        ),
        Row::new(
            "balance updates that change nothing, updates/s by those of GET views",
            Floor::None,
            Unit::Times,
            contest.ratio("same", "get", rate),
            "",
            rates("same"),
        ),
    ]
}
