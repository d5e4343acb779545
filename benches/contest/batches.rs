//! All users' views of one signal: in process against a bare copy of the bytes, over HTTP against nginx, and against
//! what stores overlays in another way.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::ceilings::Ceiling;
use super::files::Files;
use super::library::{Library, PIECE_BYTES, users};
use super::nginx::Nginx;
use super::redis::{Python, Redis};
use super::rounds::{Contender, Contest, Sample, cpu_timed, interleave, timed};
use super::sqlite::Sqlite;
use super::table::{Floor, Row, Unit, cpu, ms};
use super::{LEFT_OUT, Lab, NO_NGINX, NO_PYTHON_REDIS, NO_REDIS, USERS};
use crate::rig::client::Client;
use crate::rig::data;
use crate::rig::load::{self, Requests, Shape};
use crate::rig::process::{self, Cpus, Overlaid, cpu_ns};

/// Batches in one turn of ours, as each is short.
const BATCHES: usize = 10;
/// Balance updates that go on beside the reading.
const UPDATES_PER_SECOND: u32 = 200;

/// In process, against the physical limit: copying the bytes that come out.
pub(super) fn in_process(lab: &Lab) -> Vec<Row> {
    let mut rows = Vec::new();
    for (users, floor) in [(USERS, Floor::AtMost(3.5)), (100_000, Floor::None), (1_000_000, Floor::None)] {
        let what = format!("{users} views in process, CPU time by that of a memcpy of the output");
        if lab.quick && users > 100_000 {
            rows.push(Row::missing(what, floor, LEFT_OUT));
            continue;
        }
        let database = process::folder();
        process::make_database(&lab.program, database.path(), users);
        let library = Library::open(database.path());
        let mut output = Vec::new();
        let mut piece = Vec::with_capacity(2 * PIECE_BYTES);
        library.batch(&mut piece, |bytes| output.extend_from_slice(bytes));
        assert_eq!(output.split(|byte| *byte == b'\n').count() - 1, users);
        // Small batches are repeated, so that a turn is long enough to be timed.
        let times = (20 * USERS / users).max(1);
        let mut copy = Vec::with_capacity(2 * PIECE_BYTES);
        let contest = interleave(
            lab.rounds,
            vec![
                Contender::new("ours", |_| {
                    let took =
                        cpu_timed(|| (0..times).for_each(|_| library.batch(&mut piece, |bytes| _ = black_box(bytes))));
                    Sample::each(took, times)
                }),
                Contender::new("memcpy", |_| {
                    let took = cpu_timed(|| {
                        for bytes in (0..times).flat_map(|_| output.chunks(PIECE_BYTES)) {
                            copy.clear();
                            copy.extend_from_slice(bytes);
                            black_box(&copy);
                        }
                    });
                    Sample::each(took, times)
                }),
            ],
        );
        let detail = format!(
            "{} against {}, {:.0} ns a view",
            contest.text("ours", Sample::each_ms, ms),
            contest.text("memcpy", Sample::each_ms, ms),
            contest.get("ours").unwrap().median(Sample::each_ms) * 1e6 / users as f64
        );
        rows.push(Row::new(what, floor, Unit::Times, contest.ratio("ours", "memcpy", Sample::each_ms), "", detail));
    }
    rows
}

/// Over HTTP, against nginx with the same bytes in a file.
pub(super) fn over_http(lab: &Lab) -> Vec<Row> {
    let database = lab.database();
    let ours = Overlaid::start(&lab.program, database.path(), Cpus::All);
    let batch = Requests::new([data::get_batch()]);
    let body = Client::connect(ours.address).body(&data::get_batch());
    let bytes = body.len();
    let nginx = Nginx::start([(data::batch_path(), body)], Cpus::All);
    let hyper = Ceiling::start("hyper", bytes, Cpus::All);

    let turn = |address: SocketAddr, pids: Vec<u32>, connections: usize, with_updates: bool| {
        let shape = Shape { connections, depth: 1, duration: lab.turn, cpus: Cpus::All, offset: 0 };
        while_updating(with_updates.then_some((ours.address, "")), || {
            let before = cpu_ns(&pids);
            let outcome = load::run(address, &batch, shape);
            Sample::load(outcome, cpu_ns(&pids) - before)
        })
    };
    let mut contenders = vec![
        Contender::new("ours, 1", |_| turn(ours.address, ours.pids(), 1, false)),
        Contender::new("ours, 8", |_| turn(ours.address, ours.pids(), 8, false)),
        Contender::new("ours, 1, updates", |_| turn(ours.address, ours.pids(), 1, true)),
        Contender::new("ours, 8, updates", |_| turn(ours.address, ours.pids(), 8, true)),
        Contender::new("hyper, 1", |_| turn(hyper.address, hyper.pids(), 1, false)),
        Contender::new("hyper, 8", |_| turn(hyper.address, hyper.pids(), 8, false)),
    ];
    if let Some(nginx) = &nginx {
        contenders.push(Contender::new("nginx, 1", |_| turn(nginx.address, nginx.pids(), 1, false)));
        contenders.push(Contender::new("nginx, 8", |_| turn(nginx.address, nginx.pids(), 8, false)));
    }
    let contest = interleave(lab.rounds, contenders);
    let row = |ours: &str, theirs: &str, what: &str, floor| {
        let figure = |name| {
            let time = contest.text(name, Sample::each_ms, ms);
            format!("{time} each, {} CPU", contest.text(name, |sample| sample.cpu_us, cpu))
        };
        let ratio = contest.ratio(ours, theirs, |sample| sample.per_second);
        let detail = format!("{} against {}", figure(ours), figure(theirs));
        Row::new(what, floor, Unit::Times, ratio, NO_NGINX, detail)
    };
    let megabytes = bytes as f64 / 1e6;
    let updates = format!(", {UPDATES_PER_SECOND} balance updates a second going on");
    let what = format!(
        "{USERS} views over HTTP ({megabytes:.1} MB), 1 connection, answers/s by nginx's with a file of the same bytes"
    );
    vec![
        row("ours, 1", "nginx, 1", &what, Floor::AtLeast(0.45)),
        row("ours, 8", "nginx, 8", "the same, 8 connections", Floor::None),
        row("ours, 1, updates", "nginx, 1", &format!("the same, 1 connection{updates}"), Floor::None),
        row("ours, 8, updates", "nginx, 8", &format!("the same, 8 connections{updates}"), Floor::None),
        row(
            "hyper, 1",
            "nginx, 1",
            "bare hyper with these bytes in memory, computing nothing, 1 connection",
            Floor::None,
        ),
        row("hyper, 8", "nginx, 8", "the same, 8 connections", Floor::None),
    ]
}

/// Does something while balances are pushed to a server, if there is one, with a token unless that is empty.
pub(super) fn while_updating<T>(server: Option<(SocketAddr, &str)>, work: impl FnOnce() -> T) -> T {
    let Some((address, token)) = server else { return work() };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Client::connect(address);
            let start = Instant::now();
            for push in 0.. {
                let due = start + Duration::from_secs(1) / UPDATES_PER_SECOND * push;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let number = push as usize * 37 % USERS;
                // A new balance each time, in this run and in the turns before.
                let version = u64::from(start.elapsed().subsec_nanos());
                let token = Some(token).filter(|token| !token.is_empty());
                client.send(&data::patch_with(number, &data::balance(number, version), token));
            }
        });
        let result = work();
        is_over.store(true, Ordering::Relaxed);
        result
    })
}

/// Against other ways to store overlays: ours over HTTP, theirs in the client's process.
pub(super) fn against_peers(lab: &Lab) -> Vec<Row> {
    let database = lab.database();
    let ours = Overlaid::start(&lab.program, database.path(), Cpus::All);
    let library_database = lab.database();
    let library = Library::open(library_database.path());
    let everyone = users(0..USERS);
    let batch = data::get_batch();
    let mut client = Client::connect(ours.address);
    let hyper = Ceiling::start("hyper", client.body(&batch).len(), Cpus::All);
    let mut hyper_client = Client::connect(hyper.address);
    let files = Files::write(USERS);
    let mut sqlite = Sqlite::new(USERS);
    let sqlite = std::cell::RefCell::new(&mut sqlite);
    let redis = Redis::start(USERS).map(std::cell::RefCell::new);
    let python = redis.as_ref().and_then(|redis| Python::start(&redis.borrow())).map(std::cell::RefCell::new);

    let mut check = Vec::new();
    sqlite.borrow_mut().scan(&mut check);
    assert_eq!(check.split(|byte| *byte == b'\n').count() - 1, USERS);
    if let Some(redis) = &redis {
        redis.borrow_mut().mget(&mut check);
        assert_eq!(check.split(|byte| *byte == b'\n').count() - 1, USERS);
    }
    drop(check);

    // Room for the largest answer, written before it is timed.
    let mut room: [Vec<u8>; 7] = std::array::from_fn(|_| vec![1; 4 * 1024 * USERS]);
    let [warm_out, cold_out, scan_out, by_id_out, mget_out, get_out, view_out] = &mut room;
    let mut contenders = vec![
        Contender::new("ours", |_| {
            let took = timed(|| (0..BATCHES).for_each(|_| _ = client.send(&batch)));
            Sample::each(took, BATCHES)
        }),
        Contender::new("hyper", |_| {
            let took = timed(|| (0..BATCHES).for_each(|_| _ = hyper_client.send(&batch)));
            Sample::each(took, BATCHES)
        }),
        Contender::new("ours, one", |_| {
            let took = timed(|| everyone.iter().for_each(|user| library.view(user, view_out)));
            Sample::each(took, USERS)
        }),
        Contender::new("files, warm", |_| Sample::once(timed(|| files.read(warm_out)))),
        Contender::new("sqlite, scan", |_| Sample::once(timed(|| sqlite.borrow_mut().scan(scan_out)))),
        Contender::new("sqlite, by id", |_| Sample::once(timed(|| sqlite.borrow_mut().by_id(by_id_out)))),
    ];
    if let Some(redis) = &redis {
        contenders.push(Contender::new("rust, mget", |_| Sample::once(timed(|| redis.borrow_mut().mget(mget_out)))));
        contenders.push(Contender::new("rust, get", |_| Sample::once(timed(|| redis.borrow_mut().get_each(get_out)))));
    }
    if let Some(python) = &python {
        contenders.push(Contender::new("python, mget", |_| Sample::once(python.borrow_mut().batch("mget"))));
        contenders.push(Contender::new("python, get", |_| Sample::once(python.borrow_mut().batch("get"))));
    }
    // Last, as it cools all that the others had warm; hence ours goes first after it, untimed.
    contenders.push(Contender::new("files, cold", |_| {
        files.cool();
        let took = timed(|| files.read(cold_out));
        Client::connect(ours.address).send(&batch);
        Sample::once(took)
    }));
    rows_of_peers(&interleave(lab.rounds, contenders))
}

fn rows_of_peers(contest: &Contest<'_>) -> Vec<Row> {
    let against = |theirs: &str, ours: &str, what: String, floor, missing| {
        let ratio = contest.ratio(theirs, ours, Sample::each_ms);
        let times = [theirs, ours].map(|name| contest.text(name, Sample::each_ms, ms));
        Row::new(what, floor, Unit::Times, ratio, missing, format!("{} against {}", times[0], times[1]))
    };
    let row = |theirs: &str, what: &str, floor, missing| {
        against(theirs, "ours", format!("{USERS} views: {what}, time by ours over HTTP"), floor, missing)
    };
    let ceiling = |theirs: &str, missing| {
        let what = "the same, by bare hyper's with these bytes in memory, computing nothing".to_owned();
        against(theirs, "hyper", what, Floor::None, missing)
    };
    let one = contest.get("ours, one").map(|ours| ours.median(Sample::each_ms) * 1e3).unwrap_or_default();
    vec![
        row("python, mget", "Redis and Python, MGET", Floor::AtLeast(30.0), NO_PYTHON_REDIS),
        row("python, get", "Redis and Python, GET each", Floor::None, NO_PYTHON_REDIS),
        ceiling("python, get", NO_PYTHON_REDIS),
        row("rust, mget", "Redis and Rust, MGET", Floor::AtLeast(4.0), NO_REDIS),
        row("rust, get", "Redis and Rust, GET each", Floor::None, NO_REDIS),
        row("files, cold", "a file each, not in memory", Floor::None, ""),
        ceiling("files, cold", ""),
        row("files, warm", "a file each, in memory", Floor::None, ""),
        row("sqlite, scan", "SQLite, one query", Floor::None, ""),
        row("sqlite, by id", "SQLite, a query each", Floor::None, ""),
        Row::new(
            "one view in process, against reading its file from memory",
            Floor::None,
            Unit::Times,
            contest.ratio("files, warm", "ours, one", Sample::each_ms).map(|mut spread| {
                // The file's turn reads all users' files, ours makes one view.
                for figure in [&mut spread.median, &mut spread.low, &mut spread.high] {
                    *figure /= USERS as f64;
                }
                spread
            }),
            "",
            format!("{one:.2} µs a view"),
        ),
    ]
}
