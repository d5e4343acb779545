//! From a thousand users to a million: what a view costs, and how soon a server answers that was just started.

use super::rounds::{Contender, Sample, Spread, interleave, spread};
use super::table::{Goal, Row, Unit, cpu};
use super::{Lab, USERS};
use crate::rig::client::Client;
use crate::rig::data;
use crate::rig::load::{self, Requests, Shape};
use crate::rig::process::{self, Cpus, Overlaid, cpu_ns};

/// Users that are asked for where there are more: far more than a turn asks for.
const ASKED_MAX: usize = 200_000;

pub(super) fn run(lab: &Lab) -> Vec<Row> {
    let growth = "CPU of one view over HTTP, with 1,000,000 users by that with 1,000";
    let start = "exec to first answer";
    let mut rows = Vec::new();
    let first = first_answer(lab, &lab.database(), USERS);
    if lab.quick {
        rows.push(Row::missing(growth, Goal::AtMost(1.3), "left out by --quick"));
        rows.push(Row::new(
            format!("{start}, {USERS} users"),
            Goal::AtMost(5.0),
            Unit::Milliseconds,
            Some(first),
            "",
            "",
        ));
        rows.push(Row::missing(format!("{start}, 1000000 users"), Goal::AtMost(100.0), "left out by --quick"));
        return rows;
    }
    let (few, many) = (process::folder(), process::folder());
    process::make_database(&lab.program, few.path(), 1_000);
    process::make_database(&lab.program, many.path(), 1_000_000);
    let copy = process::copy_database(many.path());
    rows.push(cost(lab, growth, few.path(), many.path()));
    rows.push(Row::new(format!("{start}, {USERS} users"), Goal::AtMost(5.0), Unit::Milliseconds, Some(first), "", ""));
    let first = first_answer(lab, &copy, 1_000_000);
    rows.push(Row::new(
        format!("{start}, 1000000 users"),
        Goal::AtMost(100.0),
        Unit::Milliseconds,
        Some(first),
        "",
        "",
    ));
    rows
}

fn cost(lab: &Lab, what: &str, few: &std::path::Path, many: &std::path::Path) -> Row {
    let few = Overlaid::start(&lab.program, few, Cpus::One);
    let many = Overlaid::start(&lab.program, many, Cpus::One);
    let mut dice = data::Dice::new(14);
    let mut requests = |users: usize| {
        let asked = users.min(ASKED_MAX);
        Requests::new((0..asked).map(|_| data::get(&data::view_path(dice.below(users)), "")))
    };
    let (of_few, of_many) = (requests(1_000), requests(1_000_000));
    let turn = |server: &Overlaid, requests: &Requests, round: usize| {
        let offset = round * requests.len() / lab.rounds % requests.len();
        let shape = Shape { connections: 16, depth: 1, duration: lab.turn, offset };
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
    Row::new(what, Goal::AtMost(1.3), Unit::Times, contest.ratio("many", "few", cost), "", detail)
}

/// Milliseconds from starting the program to the end of its first view.
fn first_answer(lab: &Lab, database: &tempfile::TempDir, users: usize) -> Spread {
    let request = data::get(&data::view_path(users / 2), "");
    let times = (0..=lab.rounds).map(|_| {
        let server = Overlaid::start(&lab.program, database.path(), Cpus::All);
        Client::connect(server.address).send(&request);
        server.started.elapsed().as_secs_f64() * 1_000.0
    });
    // The first one brings the file into memory.
    spread(times.skip(1).collect())
}
