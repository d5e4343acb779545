//! `signal`, `overlay`, `rate`, `outcome`, `user`: records are shown, put in, changed and removed.

use std::io::{self, Read as _, Write as _};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};

use super::lists::{Column, List, Row, Rows};
use super::{Access, Answer, Global};
use crate::client::{Content, Method, percent_encoded};
use crate::domain::{Decimal, Object, Pair, SignalDraft, SignalId, Status, Symbol, TierName, UserId};
use crate::service::{Clock, SIGNAL_LIFETIME_MS};

/// Most bytes of a record that are read from standard input: more than any may have.
const INPUT_BYTES_MAX: u64 = 128 * 1024;

/// Show signals; publish, withdraw, close or remove one.
#[derive(Debug, Subcommand)]
pub(super) enum SignalCommand {
    /// Show one signal, as JSON.
    #[command(after_help = "Example: overlaid signal get ELITE_GUARD_EURUSD_1763905800")]
    Get {
        /// The signal's id.
        signal: SignalId,
    },
    /// List the signals: active ones soonest to expire first, all others newest first.
    #[command(after_help = "Example: overlaid signal list --status active")]
    List {
        /// Only those in this status.
        #[arg(long)]
        status: Option<SignalStatus>,
        /// Only those of this symbol.
        #[arg(long)]
        symbol: Option<Symbol>,
        #[command(flatten)]
        rows: Rows,
    },
    /// Publish a signal.
    ///
    /// The same again changes nothing; another one under its id is refused.
    #[command(after_help = r#"Example: overlaid signal put S1 '{"symbol":"EURUSD","direction":"BUY","stop_pips":20}'"#)]
    Put {
        /// The signal's id.
        signal: SignalId,
        /// The signal as a JSON object; `-` reads it from standard input.
        #[arg(value_name = "JSON")]
        record: String,
    },
    /// Withdraw a signal that was published by mistake: its missions say so, and are not tradable.
    #[command(after_help = "Example: overlaid signal cancel ELITE_GUARD_EURUSD_1763905800")]
    Cancel {
        /// The signal's id.
        signal: SignalId,
    },
    /// Close a signal before it expires.
    #[command(after_help = "Example: overlaid signal close ELITE_GUARD_EURUSD_1763905800")]
    Close {
        /// The signal's id.
        signal: SignalId,
    },
    /// Remove a signal, with all its outcomes.
    #[command(after_help = "Example: overlaid signal delete ELITE_GUARD_EURUSD_1763905800")]
    Delete {
        /// The signal's id.
        signal: SignalId,
    },
}

/// The statuses of signals.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SignalStatus {
    Active,
    Expired,
    Cancelled,
    Closed,
}

/// Show overlays; put, change or remove one.
#[derive(Debug, Subcommand)]
pub(super) enum OverlayCommand {
    /// Show one user's overlay, as JSON.
    #[command(after_help = "Example: overlaid overlay get 7001")]
    Get {
        /// The user's id; one that begins with a hyphen and is no number goes after `--`.
        user: UserId,
    },
    /// List the overlays in the order of users.
    #[command(after_help = "Example: overlaid overlay list --tier FANG")]
    List {
        /// Only those of users whose ids begin with this.
        #[arg(long, default_value = "", allow_hyphen_values = true)]
        prefix: String,
        /// Only those of this tier.
        #[arg(long)]
        tier: Option<TierName>,
        #[command(flatten)]
        rows: Rows,
    },
    /// Put a user's overlay as a whole: what it lacks is gone.
    #[command(after_help = r#"Example: overlaid overlay put 8001 '{"tier":"FANG","account_balance":2500}'"#)]
    Put {
        /// The user's id; one that begins with a hyphen and is no number goes after `--`.
        user: UserId,
        /// The overlay as a JSON object; `-` reads it from standard input.
        #[arg(value_name = "JSON")]
        record: String,
    },
    /// Change what the JSON names, and leave the rest; `null` removes a member.
    #[command(after_help = r#"Example: overlaid overlay patch 7001 '{"account_balance":12000}'"#)]
    Patch {
        /// The user's id; one that begins with a hyphen and is no number goes after `--`.
        user: UserId,
        /// The changes as a JSON object; `-` reads it from standard input.
        #[arg(value_name = "JSON")]
        record: String,
    },
    /// Remove a user's overlay; the user's outcomes stay.
    #[command(after_help = "Example: overlaid overlay delete 7001")]
    Delete {
        /// The user's id; one that begins with a hyphen and is no number goes after `--`.
        user: UserId,
    },
}

/// Show the rates of currency pairs, or put one.
#[derive(Debug, Subcommand)]
pub(super) enum RateCommand {
    /// List the rates.
    #[command(after_help = "Example: overlaid rate list")]
    List,
    /// Put the price of a pair.
    #[command(after_help = "Example: overlaid rate put GBPUSD 1.34")]
    Put {
        /// The pair: GBPUSD is the price of a pound in dollars.
        pair: Pair,
        /// The price.
        price: Decimal,
    },
}

/// Show what happened for a user; put or remove it.
#[derive(Debug, Subcommand)]
pub(super) enum OutcomeCommand {
    /// List what happened for a user, newest signal first.
    ///
    /// Exit code 1 if nothing did and the user has no overlay: there is no such user.
    #[command(after_help = "Example: overlaid outcome list 7001")]
    List {
        /// The user's id; one that begins with a hyphen and is no number goes after `--`.
        user: UserId,
        #[command(flatten)]
        rows: Rows,
    },
    /// Say what happened for a user on a signal.
    #[command(after_help = "Example: overlaid outcome put 7001 ELITE_GUARD_EURUSD_1763905800 closed --profit 50")]
    Put {
        /// The user's id; one that begins with a hyphen and is no number goes after `--`.
        user: UserId,
        /// The signal's id.
        signal: SignalId,
        /// What happened.
        status: OutcomeStatus,
        /// What a closed position brought, in the account's currency; negative for a loss, as in --profit -50.
        #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
        profit: Option<Decimal>,
        /// How a closed position ended.
        #[arg(long)]
        result: Option<OutcomeResult>,
    },
    /// Remove what happened for a user on a signal.
    #[command(after_help = "Example: overlaid outcome delete 7001 ELITE_GUARD_EURUSD_1763905800")]
    Delete {
        /// The user's id; one that begins with a hyphen and is no number goes after `--`.
        user: UserId,
        /// The signal's id.
        signal: SignalId,
    },
}

/// What can happen on a signal.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OutcomeStatus {
    Fired,
    Failed,
    Closed,
}

/// How a closed position can end.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum OutcomeResult {
    Win,
    Loss,
    Even,
}

/// Forget users.
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Forget everything of a user: the overlay, all outcomes, and the scopes of tokens that name the user.
    #[command(after_help = "Example: overlaid user delete 7001")]
    Delete {
        /// The user's id; one that begins with a hyphen and is no number goes after `--`.
        user: UserId,
    },
}

impl SignalCommand {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let path = |signal: &SignalId| format!("/v1/signals/{signal}");
        let set_status = |signal, status: &str| {
            write(global, Method::PATCH, &path(signal), Content::Json(format!("{{\"status\":\"{status}\"}}")), "signal")
        };
        match self {
            Self::Get { signal } => show(global, &path(signal)),
            Self::List { status, symbol, rows } => list_signals(global, *status, symbol.as_ref(), rows),
            Self::Put { signal, record } => write(global, Method::PUT, &path(signal), content(record)?, "signal"),
            Self::Cancel { signal } => set_status(signal, "cancelled"),
            Self::Close { signal } => set_status(signal, "closed"),
            Self::Delete { signal } => write(global, Method::DELETE, &path(signal), Content::None, "signal"),
        }
    }
}

fn list_signals(
    global: &Global,
    status: Option<SignalStatus>,
    symbol: Option<&Symbol>,
    rows: &Rows,
) -> anyhow::Result<Answer> {
    let status = status.map_or("all".to_owned(), |status| name(&status));
    let symbol = symbol.map_or(String::new(), |symbol| format!("&symbol={}", percent_encoded(symbol.as_str())));
    let list = List {
        target: &format!("/v1/signals?status={status}{symbol}"),
        member: "signals",
        columns: &["SIGNAL", "SYMBOL", "SIDE", "EXPIRES", "STATUS"].map(Column::Text),
    };
    list.print((global, &global.client(Access::Read)?), rows, |row| {
        let shown = ["signal_id", "symbol", "direction", "expires_at"].map(|name| row.text(name));
        [&shown[..], &[status_of(row).unwrap_or_default().to_owned()]].concat()
    })?;
    Ok(Answer::Done)
}

impl OverlayCommand {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let path = |user: &UserId| format!("/v1/users/{user}/overlay");
        match self {
            Self::Get { user } => show(global, &path(user)),
            Self::List { prefix, tier, rows } => {
                let (text, number) = (Column::Text, Column::Number);
                let tier = tier.as_ref().map_or(String::new(), |tier| format!("&tier={tier}"));
                let list = List {
                    target: &format!("/v1/users?prefix={}{tier}", percent_encoded(prefix)),
                    member: "users",
                    columns: &[text("USER"), text("TIER"), number("RISK %"), number("BALANCE"), text("CURRENCY")],
                };
                let names = ["user_id", "tier", "risk_percent", "account_balance", "account_currency"];
                let cells = |row: &Row<'_>| names.map(|name| row.text(name)).to_vec();
                list.print((global, &global.client(Access::Read)?), rows, cells)?;
                Ok(Answer::Done)
            }
            Self::Put { user, record } => write(global, Method::PUT, &path(user), content(record)?, "overlay"),
            Self::Patch { user, record } => write(global, Method::PATCH, &path(user), content(record)?, "overlay"),
            Self::Delete { user } => write(global, Method::DELETE, &path(user), Content::None, "overlay"),
        }
    }
}

impl RateCommand {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        match self {
            Self::List => {
                let columns = &[Column::Text("PAIR"), Column::Number("PRICE"), Column::Text("UPDATED")];
                let list = List { target: "/v1/rates", member: "rates", columns };
                let cells = |row: &Row<'_>| ["pair", "price", "updated_at"].map(|name| row.text(name)).to_vec();
                list.print_whole((global, &global.client(Access::Read)?), cells)?;
                Ok(Answer::Done)
            }
            Self::Put { pair, price } => {
                let body = Content::Json(format!("{{\"price\":{price}}}"));
                write(global, Method::PUT, &format!("/v1/rates/{pair}"), body, "rate")
            }
        }
    }
}

impl OutcomeCommand {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let path = |user: &UserId, signal: &SignalId| format!("/v1/users/{user}/outcomes/{signal}");
        match self {
            Self::List { user, rows } => {
                let text = Column::Text;
                let list = List {
                    target: &format!("/v1/users/{user}/outcomes"),
                    member: "outcomes",
                    columns: &[text("SIGNAL"), text("STATUS"), text("AT"), Column::Number("PROFIT"), text("RESULT")],
                };
                let names = ["signal_id", "status", "at", "profit", "result"];
                let cells = |row: &Row<'_>| names.map(|name| row.text(name)).to_vec();
                let client = global.client(Access::Read)?;
                if list.print((global, &client), rows, cells)? == 0 {
                    // Nothing happened for the user, or there is no such user, which is the error of this.
                    client.get(&format!("/v1/users/{user}/overlay"))?;
                }
                Ok(Answer::Done)
            }
            Self::Put { user, signal, status, profit, result } => {
                let profit = profit.map_or(String::new(), |profit| format!(",\"profit\":{profit}"));
                let result = result.map_or(String::new(), |result| format!(",\"result\":\"{}\"", name(&result)));
                let body = format!("{{\"status\":\"{}\"{profit}{result}}}", name(status));
                write(global, Method::PUT, &path(user, signal), Content::Json(body), "outcome")
            }
            Self::Delete { user, signal } => {
                write(global, Method::DELETE, &path(user, signal), Content::None, "outcome")
            }
        }
    }
}

impl UserCommand {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let Self::Delete { user } = self;
        write(global, Method::DELETE, &format!("/v1/users/{user}"), Content::None, "user")
    }
}

/// The status of a signal now, by the rule of the views.
fn status_of(row: &Row<'_>) -> anyhow::Result<&'static str> {
    let now = Clock::System.now();
    let draft = SignalDraft::from_record(Object::parse(row.json.as_bytes())?, None)?;
    Ok(Status::of(&draft.resolve(now, SIGNAL_LIFETIME_MS)?, None, now).as_str())
}

/// The word for a value of an option.
fn name(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// What an argument holds, or standard input for `-`.
fn content(argument: &str) -> anyhow::Result<Content> {
    if argument != "-" {
        return Ok(Content::Json(argument.to_owned()));
    }
    let mut json = String::new();
    io::stdin().take(INPUT_BYTES_MAX).read_to_string(&mut json).context("cannot read standard input")?;
    Ok(Content::Json(json))
}

/// Prints one record.
fn show(global: &Global, target: &str) -> anyhow::Result<Answer> {
    writeln!(io::stdout(), "{}", global.client(Access::Read)?.get(target)?)?;
    Ok(Answer::Done)
}

/// Makes a change, and prints the record as it is now, or what became of it where the answer does not hold it.
fn write(global: &Global, method: Method, target: &str, content: Content, what: &str) -> anyhow::Result<Answer> {
    let client = global.client(Access::Write)?;
    let is_delete = method == Method::DELETE;
    let answer = client.send(method, target, content)?;
    let effect = match answer.status() {
        201 => "created",
        _ if is_delete => "deleted",
        _ => "stored",
    };
    let record = answer.text()?;
    let mut out = io::stdout();
    if !record.is_empty() {
        writeln!(out, "{record}")?;
    } else if global.json {
        writeln!(out, "{{\"effect\":\"{effect}\"}}")?;
    } else {
        writeln!(out, "{what} {effect}")?;
    }
    Ok(Answer::Done)
}
