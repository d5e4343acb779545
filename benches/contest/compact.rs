//! What a client saves that lists the missions of a signal without the records that it has: by our own full answer.

use super::rounds::{Contender, Sample, interleave, timed};
use super::table::{Floor, Row, Unit, ms};
use super::{Lab, USERS};
use crate::rig::client::Client;
use crate::rig::data;
use crate::rig::process::{Cpus, Overlaid};

/// Answers in a turn, as each is short.
const ANSWERS: usize = 20;
/// By time and by bytes.
const AT_MOST: Floor = Floor::AtMost(0.6);

/// All users' missions of one signal over HTTP, with `parts=mission` and without.
pub(super) fn run(lab: &Lab) -> Vec<Row> {
    let database = lab.database();
    let ours = Overlaid::start(&lab.program, database.path(), Cpus::All);
    let full = data::get_batch();
    let compact = data::get_lines(&format!("{}?parts=mission", data::batch_path()));
    let bytes = [&full, &compact].map(|request| {
        let lines = Client::connect(ours.address).body(request);
        assert_eq!(lines.split(|byte| *byte == b'\n').count() - 1, USERS);
        lines.len() as f64
    });
    let [full_bytes, compact_bytes] = bytes;
    let turn = |request: &[u8]| {
        let mut client = Client::connect(ours.address);
        let took = timed(|| (0..ANSWERS).for_each(|_| _ = client.send(request)));
        Sample::each(took, ANSWERS)
    };
    let contest = interleave(
        2 * lab.rounds,
        vec![Contender::new("compact", |_| turn(&compact)), Contender::new("full", |_| turn(&full))],
    );
    let times = ["compact", "full"].map(|name| contest.text(name, Sample::each_ms, ms));
    vec![
        Row::new(
            format!("{USERS} views over HTTP with parts=mission, time by our own full answer"),
            AT_MOST,
            Unit::Times,
            contest.ratio("compact", "full", Sample::each_ms),
            "",
            format!("{} against {}", times[0], times[1]),
        ),
        Row::single(
            "the same, bytes",
            AT_MOST,
            Unit::Times,
            compact_bytes / full_bytes,
            format!("{:.2} MB against {:.2} MB", compact_bytes / 1e6, full_bytes / 1e6),
        ),
    ]
}
