//! What it weighs: memory and the program file.

use std::path::Path;
use std::process::{Command, Stdio};

use super::library::{Library, PIECE_BYTES, users};
use super::redis::Redis;
use super::rounds::{Spread, spread};
use super::table::{Floor, Row, Unit};
use super::{Lab, NO_REDIS, USERS};
use crate::rig::client::Client;
use crate::rig::data;
use crate::rig::process::{self, Cpus, Overlaid};

/// The flag by which this program becomes the process that is weighed.
pub(crate) const FLAG: &str = "--weigh";
/// How often a fresh process is weighed.
const WEIGHINGS: usize = 5;

pub(super) fn run(lab: &Lab) -> Vec<Row> {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let a_user = spread((0..WEIGHINGS).map(|_| weigh_in_process(lab)).collect());
    let caches = Spread {
        median: a_user.median * USERS as f64 / 1e6,
        low: a_user.low * USERS as f64 / 1e6,
        high: a_user.high * USERS as f64 / 1e6,
    };
    let database = lab.database();
    let ours = Overlaid::start(&lab.program, database.path(), Cpus::All);
    read_everything(&ours);
    let our_rss = process::memory_bytes(ours.process.pid(), "VmRSS");
    let redis_rss = Redis::start(USERS).map(|redis| process::memory_bytes(redis.process.pid(), "VmRSS"));
    let ratio = redis_rss.map(|theirs| spread(vec![our_rss as f64 / theirs as f64]));
    let detail = format!("{:.1} MB against {:.1} MB", megabytes(our_rss), megabytes(redis_rss.unwrap_or_default()));
    let program = std::fs::metadata(&lab.program).unwrap().len();
    vec![
        Row::new(
            "memory of a user, cache and roster together",
            Floor::AtMost(400.0),
            Unit::Bytes,
            Some(a_user),
            "",
            "growth of a fresh process that reads all users' views, one by one and as a batch",
        ),
        Row::new(
            format!("memory of the caches with {USERS} users"),
            Floor::None,
            Unit::Megabytes,
            Some(caches),
            "",
            "",
        ),
        Row::new(
            format!("the server's resident memory with {USERS} users, all read, by that of redis-server"),
            Floor::AtMost(1.0),
            Unit::Times,
            ratio,
            NO_REDIS,
            detail,
        ),
        Row::single("the program file", Floor::None, Unit::Megabytes, megabytes(program), ""),
    ]
}

/// Every user's view, and a batch.
pub(crate) fn read_everything(ours: &Overlaid) {
    let mut client = Client::connect(ours.address);
    for number in 0..USERS {
        client.send(&data::get(&data::view_path(number), ""));
    }
    client.send(&data::get_batch());
}

/// Lets a fresh process find out what a user costs, in bytes.
fn weigh_in_process(lab: &Lab) -> f64 {
    let database = lab.database();
    let weighed = Command::new(std::env::current_exe().unwrap())
        .arg(FLAG)
        .arg(database.path())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    String::from_utf8(weighed.stdout).unwrap().trim().parse().unwrap()
}

/// Weighs: what the process grows by when everything is read that can be kept.
pub(crate) fn weigh(folder: &Path) {
    let library = Library::open(folder);
    // The file's own pages are read first, so that only what is kept of the records is weighed.
    let snapshot = library.service.snapshot().unwrap();
    assert!(overlaid::service::export_lines(&snapshot).unwrap().count() > USERS);
    drop(snapshot);
    let mut out = Vec::with_capacity(2 * PIECE_BYTES);
    let everyone = users(0..USERS);
    library.view(&everyone[0], &mut out);
    let before = process::memory_bytes(std::process::id(), "RssAnon");
    for user in everyone.iter() {
        library.view(user, &mut out);
    }
    library.batch(&mut out, |_| ());
    let after = process::memory_bytes(std::process::id(), "RssAnon");
    println!("{}", after.saturating_sub(before) as f64 / USERS as f64);
}
