//! One view over HTTP: against servers that compute nothing.

use std::net::SocketAddr;

use super::ceilings::Ceiling;
use super::nginx::Nginx;
use super::rounds::{Contender, Contest, Sample, interleave};
use super::table::{Floor, Row, Unit, cpu, per_second};
use super::{Lab, NO_NGINX, USERS};
use crate::rig::client::Client;
use crate::rig::data;
use crate::rig::load::{self, Requests, Shape};
use crate::rig::process::{Cpus, Overlaid, cpu_ns};

/// Connections open at once: keeps a server busy, and its queue short.
const CONNECTIONS: usize = 16;
/// Requests under way on each connection, where they are pipelined.
const DEPTH: usize = 16;

/// Servers on one CPU each, the load generator on another.
pub(super) fn run(lab: &Lab) -> Vec<Row> {
    let database = lab.database();
    let ours = Overlaid::start(&lab.program, database.path(), Cpus::One);
    let requests = Requests::new((0..USERS).map(|number| data::get(&data::view_path(number), "")));
    let (views, conditional) = fetch(ours.address);
    let bytes = views.iter().map(Vec::len).sum::<usize>() / views.len();
    let files = views.into_iter().enumerate().map(|(number, view)| (Nginx::view_path(number), view));
    let nginx = Nginx::start(files, Cpus::One);
    let axum = Ceiling::start("axum", bytes, Cpus::One);
    let hyper = Ceiling::start("hyper", bytes, Cpus::One);
    let empty = Ceiling::start("hyper", 0, Cpus::One);

    let turn = |address: SocketAddr, pids: Vec<u32>, requests: &Requests, depth: usize, round: usize| {
        let shape =
            Shape { connections: CONNECTIONS, depth, duration: lab.turn, cpus: Cpus::One, offset: round * 997 % USERS };
        let before = cpu_ns(&pids);
        let outcome = load::run(address, requests, shape);
        Sample::load(outcome, cpu_ns(&pids) - before)
    };
    let mut contenders = vec![
        Contender::new("ours", |round| turn(ours.address, ours.pids(), &requests, 1, round)),
        Contender::new("304", |round| turn(ours.address, ours.pids(), &conditional, 1, round)),
        Contender::new("axum", |round| turn(axum.address, axum.pids(), &requests, 1, round)),
        Contender::new("hyper", |round| turn(hyper.address, hyper.pids(), &requests, 1, round)),
        Contender::new("empty", |round| turn(empty.address, empty.pids(), &conditional, 1, round)),
        Contender::new("ours, pipelined", |round| turn(ours.address, ours.pids(), &requests, DEPTH, round)),
        Contender::new("hyper, pipelined", |round| turn(hyper.address, hyper.pids(), &requests, DEPTH, round)),
    ];
    if let Some(nginx) = &nginx {
        contenders.push(Contender::new("nginx", |round| turn(nginx.address, nginx.pids(), &requests, 1, round)));
        contenders.push(Contender::new("nginx, pipelined", |round| {
            turn(nginx.address, nginx.pids(), &requests, DEPTH, round)
        }));
    }
    rows(&interleave(lab.rounds, contenders), bytes)
}

/// The views of all users, and requests for them under the condition that they have changed.
fn fetch(address: SocketAddr) -> (Vec<Vec<u8>>, Requests) {
    let mut client = Client::connect(address);
    let mut views = Vec::with_capacity(USERS);
    let mut conditional = Vec::with_capacity(USERS);
    for number in 0..USERS {
        let path = data::view_path(number);
        views.push(client.body(&data::get(&path, "")));
        let tag = client.header(&data::get(&path, ""), "etag").unwrap();
        conditional.push(data::get(&path, &format!("if-none-match: {tag}\r\n")));
    }
    (views, Requests::new(conditional))
}

fn rows(contest: &Contest<'_>, bytes: usize) -> Vec<Row> {
    let rate = |sample: &Sample| sample.per_second;
    let cost = |sample: &Sample| sample.cpu_us;
    let rates = |ours: &str, theirs: &str| {
        format!("{} against {}", contest.text(ours, rate, per_second), contest.text(theirs, rate, per_second))
    };
    let costs = |ours: &str, theirs: &str| {
        format!("{} against {}", contest.text(ours, cost, cpu), contest.text(theirs, cost, cpu))
    };
    let row = |what: &str, floor, ratio, detail| Row::new(what, floor, Unit::Times, ratio, NO_NGINX, detail);
    vec![
        row(
            &format!("one view over HTTP ({bytes} B), requests/s by nginx's with static files of the same bytes"),
            Floor::AtLeast(0.9),
            contest.ratio("ours", "nginx", rate),
            rates("ours", "nginx"),
        ),
        row(
            "the same, server CPU by nginx's",
            Floor::None,
            contest.ratio("ours", "nginx", cost),
            costs("ours", "nginx"),
        ),
        row(
            "the same, requests/s by axum's with a constant",
            Floor::None,
            contest.ratio("ours", "axum", rate),
            rates("ours", "axum"),
        ),
        row(
            "the same, server CPU by bare hyper's with a constant",
            Floor::None,
            contest.ratio("ours", "hyper", cost),
            costs("ours", "hyper"),
        ),
        row(
            "the same, 16 requests pipelined, server CPU by nginx's",
            Floor::None,
            contest.ratio("ours, pipelined", "nginx, pipelined", cost),
            costs("ours, pipelined", "nginx, pipelined"),
        ),
        row(
            "bare hyper with a constant, 16 requests pipelined, by the same",
            Floor::None,
            contest.ratio("hyper, pipelined", "nginx, pipelined", cost),
            costs("hyper, pipelined", "nginx, pipelined"),
        ),
        row(
            "304 to a client that holds the view, requests/s by those of 200",
            Floor::None,
            contest.ratio("304", "ours", rate),
            rates("304", "ours"),
        ),
        row(
            "bare hyper with answers that are empty, by the same",
            Floor::None,
            contest.ratio("empty", "ours", rate),
            rates("empty", "ours"),
        ),
    ]
}
