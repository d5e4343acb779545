//! The contests of the headline benchmark: this store and its peers on the same data, round by round.
//!
//! Each topic starts the servers it needs, lets its contenders take turns ([`rounds`]), and returns rows for the one
//! table ([`table`]). A ratio is made inside each round, so that whatever slows the machine for a while slows both
//! sides of it.

pub(crate) mod ceilings;
mod files;
pub(crate) mod footprint;
mod library;
mod nginx;
mod redis;
mod rounds;
mod sqlite;
pub(crate) mod table;

mod batches;
mod compact;
mod followers;
mod growth;
mod updates;
mod views;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use table::Row;

use crate::rig::process;

/// What all topics share.
#[derive(Debug)]
pub(crate) struct Lab {
    /// The program under test.
    pub(crate) program: PathBuf,
    /// Turns of each contender.
    pub(crate) rounds: usize,
    /// Length of a turn over HTTP.
    pub(crate) turn: Duration,
    /// Leave out what takes minutes: a million users.
    pub(crate) quick: bool,
    /// A database of [`USERS`] users.
    database: tempfile::TempDir,
}

/// The users of the system that this one replaces.
const USERS: usize = 5_000;

impl Lab {
    pub(crate) fn new(quick: bool) -> Self {
        let program = process::program();
        let database = process::folder();
        process::make_database(&program, database.path(), USERS);
        let (rounds, turn) = if quick { (5, Duration::from_millis(200)) } else { (7, Duration::from_millis(700)) };
        Self { program, rounds, turn, quick, database }
    }

    /// A copy of the database of [`USERS`] users.
    fn database(&self) -> tempfile::TempDir {
        process::copy_database(self.database.path())
    }
}

/// A part of the table that is measured together.
pub(crate) struct Topic {
    /// What `--only` calls it.
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Lab) -> Vec<Row>,
}

/// All topics in the order of the table.
pub(crate) const TOPICS: [Topic; 10] = [
    Topic { name: "views", run: views::run },
    Topic { name: "memcpy", run: batches::in_process },
    Topic { name: "batches", run: batches::over_http },
    Topic { name: "compact", run: compact::run },
    Topic { name: "followers", run: followers::run },
    Topic { name: "peers", run: batches::against_peers },
    Topic { name: "durable", run: updates::durable },
    Topic { name: "updates", run: updates::over_http },
    Topic { name: "memory", run: footprint::run },
    Topic { name: "growth", run: growth::run },
];

/// Which contenders there are, in their own words.
pub(crate) fn versions() -> String {
    let version = |program: &str, flag: &str| {
        let output = Command::new(process::find_program(program)?).arg(flag).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned();
        Some(line.replace("nginx version: ", "").split(" sha=").next().unwrap_or_default().replace("server v=", ""))
    };
    let installed = [("nginx", "-v"), ("redis-server", "--version"), ("python3", "--version")];
    let installed = installed.iter().filter_map(|(program, flag)| version(program, flag));
    installed.chain([format!("SQLite {}", sqlite::version())]).collect::<Vec<_>>().join(", ")
}

const LEFT_OUT: &str = "left out by --quick";
const NO_NGINX: &str = "not installed: apt-get install nginx-light";
const NO_REDIS: &str = "not installed: apt-get install redis-server";
const NO_PYTHON_REDIS: &str = "not installed: apt-get install redis-server python3-redis";
