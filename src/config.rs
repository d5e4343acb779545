//! What the operator sets for any command: where the data is, which tables hold, how to log.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};

use crate::domain::{MaxAge, MaxAges, parse_period};

/// The database's name in its folder.
const FILE_NAME: &str = "overlaid.redb";
/// The name of the socket beside it, by which commands ask the server that has the database open.
const SOCKET_NAME: &str = "overlaid.sock";

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Config {
    /// Folder of the database file, overlaid.redb; made on first use.
    #[arg(long, value_name = "DIR", default_value = "data", env = "OVERLAID_DATA", global = true)]
    pub data: PathBuf,

    /// TOML file whose entries replace those of the built-in instrument table.
    #[arg(long, value_name = "FILE", env = "OVERLAID_INSTRUMENTS", global = true)]
    pub instruments: Option<PathBuf>,

    /// TOML file whose entries replace those of the built-in tier table.
    #[arg(long, value_name = "FILE", env = "OVERLAID_TIERS", global = true)]
    pub tiers: Option<PathBuf>,

    /// How long a signal lives that names no expiry, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600, value_parser = clap::value_parser!(u32).range(1..), env = "OVERLAID_SIGNAL_LIFETIME", global = true)]
    pub signal_lifetime: u32,

    /// How long writes wait for a copy of the database file that another process makes, in milliseconds; 0: not at all.
    ///
    /// A copy that takes no longer opens as one committed state. A longer one may be torn, and is refused when it is
    /// opened, or it opens as an older state; it is never wrong.
    #[arg(long, value_name = "MS", default_value_t = 5_000, env = "OVERLAID_COPY_GATE_MS", global = true)]
    pub copy_gate_ms: u64,

    /// Memory that overlays may take, as 512MiB or 2GiB: about 300 bytes for each user.
    ///
    /// A write that needs more is refused, and a server does not start on a file that needs a quarter more.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", env = "OVERLAID_OVERLAYS_MEMORY", global = true)]
    pub overlays_memory: ByteSize,

    /// Age from which a rate counts no more, since it was last pushed, also as the same price: 168h, 7d.
    ///
    /// A mission that needs an older rate is not tradable: `stale_rate`.
    #[arg(long, value_name = "TIME", default_value = "168h", value_parser = parse_period, env = "OVERLAID_RATE_MAX_AGE", global = true)]
    pub rate_max_age: Duration,

    /// Age from which a balance counts no more, since it was last pushed, also as the same: 24h; without it, none is
    /// too old.
    ///
    /// Where the risk is taken of the equity, the equity counts. The mission of a user with an older one is not
    /// tradable: `stale_balance`.
    #[arg(long, value_name = "TIME", value_parser = parse_period, env = "OVERLAID_BALANCE_MAX_AGE", global = true)]
    pub balance_max_age: Option<Duration>,

    /// How log lines look; they go to standard error. `RUST_LOG` sets what is logged.
    #[arg(long, value_enum, default_value_t = LogFormat::Human, env = "OVERLAID_LOG_FORMAT", global = true)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person; in colour on a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// How long writes wait for a copy.
    #[must_use]
    pub fn copy_gate(&self) -> Duration {
        Duration::from_millis(self.copy_gate_ms)
    }

    /// How old rates and balances may be.
    #[must_use]
    pub fn max_ages(&self) -> MaxAges {
        let max_age = |period: Duration| MaxAge::from_millis(u64::try_from(period.as_millis()).unwrap_or(u64::MAX));
        MaxAges { rate: Some(max_age(self.rate_max_age)), balance: self.balance_max_age.map(max_age) }
    }

    /// Where the database file is.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data.join(FILE_NAME)
    }

    /// Where the socket of the server that has it open is.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.data.join(SOCKET_NAME)
    }
}
