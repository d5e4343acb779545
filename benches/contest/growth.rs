//! From a thousand users to a million: what a view costs, and how soon a server answers that was just started.

use std::path::Path;
use std::time::Duration;

use super::rounds::{Contender, Sample, interleave, spread};
use super::table::{Floor, Row, Unit, cpu};
use super::{LEFT_OUT, Lab, USERS};
use crate::rig::client::Client;
use crate::rig::data;
use crate::rig::load::{self, Requests, Shape};
use crate::rig::process::{self, Cpus, Overlaid, cpu_ns};

/// Users that are asked for where there are more: far more than a turn asks for.
const ASKED_MAX: usize = 200_000;
/// How long a start may take with the usual users.
const START_MS_MAX: f64 = 20.0;
/// The same with a million.
const LARGE_START_MS_MAX: f64 = 1_000.0;
/// How much longer after a kill, when the engine repairs the file as well.
const AFTER_KILL: f64 = 4.0;

pub(super) fn run(lab: &Lab) -> Vec<Row> {
    let growth = "CPU of one view over HTTP, with 1,000,000 users by that with 1,000";
    let database = lab.database();
    let mut rows = Vec::new();
    if lab.quick {
        rows.push(Row::missing(growth, Floor::AtMost(1.3), LEFT_OUT));
        rows.extend(first_answers(lab, database.path(), USERS, START_MS_MAX));
        rows.push(Row::missing("exec to first answer, 1000000 users", Floor::AtMost(LARGE_START_MS_MAX), LEFT_OUT));
        return rows;
    }
    let (few, many) = (process::folder(), process::folder());
    process::make_database(&lab.program, few.path(), 1_000);
    process::make_database(&lab.program, many.path(), 1_000_000);
    rows.push(cost(lab, growth, few.path(), many.path()));
    rows.extend(first_answers(lab, database.path(), USERS, START_MS_MAX));
    rows.extend(first_answers(lab, many.path(), 1_000_000, LARGE_START_MS_MAX));
    rows
}

fn cost(lab: &Lab, what: &str, few: &Path, many: &Path) -> Row {
    let few = Overlaid::start(&lab.program, few, Cpus::One);
    let many = Overlaid::start(&lab.program, many, Cpus::One);
    fill(&few, 1_000);
    fill(&many, 1_000_000);
    let mut dice = data::Dice::new(14);
    let mut requests = |users: usize| {
        let asked = users.min(ASKED_MAX);
        Requests::new((0..asked).map(|_| data::get(&data::view_path(dice.below(users)), "")))
    };
    let (of_few, of_many) = (requests(1_000), requests(1_000_000));
    let turn = |server: &Overlaid, requests: &Requests, round: usize| {
        let offset = round * requests.len() / lab.rounds % requests.len();
        let shape = Shape { connections: 16, depth: 1, duration: lab.turn, cpus: Cpus::One, offset };
        let before = cpu_ns(&server.pids());
        let outcome = load::run(server.address, requests, shape);
        Sample::load(outcome, cpu_ns(&server.pids()) - before)
    };
    let contest = interleave(
        lab.rounds,
        vec![
            Contender::new("few", |round| turn(&few, &of_few, round)),
            Contender::new("many", |round| turn(&many, &of_many, round)),
        ],
    );
    let cost = |sample: &Sample| sample.cpu_us;
    let detail = format!("{} against {}", contest.text("many", cost, cpu), contest.text("few", cost, cpu));
    Row::new(what, Floor::AtMost(1.3), Unit::Times, contest.ratio("many", "few", cost), "", detail)
}

/// Lets a server read all overlays into memory, which it does in the background once some were asked for.
fn fill(server: &Overlaid, users: usize) {
    let mut client = Client::connect(server.address);
    for number in 0..100 {
        client.send(&data::get(&data::view_path(number), ""));
    }
    let filled = format!("overlaid_roster_users {users}\n");
    while !String::from_utf8_lossy(client.send(&data::get("/metrics", ""))).contains(&filled) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Milliseconds from starting the program to the end of its first view: after a stop, and after a kill.
fn first_answers(lab: &Lab, database: &Path, users: usize, limit_ms: f64) -> [Row; 2] {
    let user = users / 2;
    let start = |killed_after: Option<u64>| {
        let server = Overlaid::start(&lab.program, database, Cpus::All);
        let mut client = Client::connect(server.address);
        client.send(&data::get(&data::view_path(user), ""));
        let took = server.started.elapsed();
        match killed_after {
            // A server that was killed before it wrote anything leaves the file as a stop does.
            Some(push) => {
                let answer = client.send(&data::patch(user, &data::balance(user, push)));
                assert!(answer.starts_with(b"HTTP/1.1 200 "));
                drop(server);
            }
            None => server.stop(),
        }
        took.as_secs_f64() * 1_000.0
    };
    // Brings the file into memory.
    start(None);
    let (mut after_stop, mut after_kill) = (Vec::new(), Vec::new());
    for push in 1..=lab.rounds as u64 {
        after_stop.push(start(Some(push)));
        after_kill.push(start(None));
    }
    let row = |how: &str, floor, times| {
        let what = format!("exec to first answer, {users} users{how}");
        Row::new(what, floor, Unit::Milliseconds, Some(spread(times)), "", "")
    };
    [
        row("", Floor::AtMost(limit_ms), after_stop),
        row(", after kill -9", Floor::AtMost(AFTER_KILL * limit_ms), after_kill),
    ]
}
