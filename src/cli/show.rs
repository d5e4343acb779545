//! `mission`, `signal`, `overlay`, `stats`: what is stored and what it comes to, for a person or as JSON. A signal is
//! withdrawn or closed here too.

use std::io::{self, Write};

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{Answer, block_on, open};
use crate::config::Config;
use crate::domain::{Condition, Decimal, Object, SignalId, SignalStatus, Status, UserId};
use crate::render;
use crate::service::{MissionView, Service, ServiceError};
use crate::store::{Snapshot, StoredOverlay, StoredSignal};

/// Show one user's mission on one signal.
#[derive(Debug, Args)]
pub(super) struct ShowMission {
    /// The signal's id.
    signal: SignalId,
    /// The user's id; one that begins with a hyphen goes after `--`.
    user: UserId,
    /// Show each step of the computation, with the limit that decided the size.
    #[arg(long, conflicts_with = "json")]
    explain: bool,
    /// Print the view as the server does.
    #[arg(long)]
    json: bool,
}

/// Show signals; withdraw or close one.
#[derive(Debug, Subcommand)]
pub(super) enum ShowSignal {
    /// Show one signal, as JSON.
    Get {
        /// The signal's id.
        signal: SignalId,
    },
    /// Withdraw a signal that was published by mistake: its missions say so, and are not tradable.
    Cancel {
        /// The signal's id.
        signal: SignalId,
    },
    /// Close a signal before it expires.
    Close {
        /// The signal's id.
        signal: SignalId,
    },
    /// List the signals, newest first.
    List {
        /// Only those that are neither expired nor cancelled nor closed.
        #[arg(long)]
        active: bool,
        /// Show at most this many.
        #[arg(long, value_name = "ROWS", default_value_t = 100)]
        limit: usize,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// Show overlays.
#[derive(Debug, Subcommand)]
pub(super) enum ShowOverlay {
    /// Show one user's overlay, as JSON.
    Get {
        /// The user's id; one that begins with a hyphen goes after `--`.
        user: UserId,
    },
    /// List the overlays in the order of users.
    List {
        /// Show at most this many.
        #[arg(long, value_name = "ROWS", default_value_t = 100)]
        limit: usize,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// Show how much is stored.
#[derive(Debug, Args)]
pub(super) struct Stats {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl ShowMission {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        let service = open(config)?;
        let Some(signal) = service.read_signal(&self.signal)? else {
            return no(&format!("no signal {}", self.signal));
        };
        let Some(overlay) = service.read_overlay(&self.user)? else {
            return no(&format!("no overlay for user {}", self.user));
        };
        service.with_view(&signal, &overlay, |view| self.print(&service, view))?;
        Ok(Answer::Done)
    }

    fn print(&self, service: &Service, view: &MissionView<'_>) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            let mut json = Vec::new();
            view.write_to(service, &mut json);
            out.write_all(&json)?;
            writeln!(out)?;
        } else if self.explain {
            for step in view.explain(service)? {
                writeln!(out, "{:<13} {}", step.name, step.text)?;
            }
        } else {
            write_mission(&mut out, service, view)?;
        }
        Ok(())
    }
}

fn write_mission(out: &mut impl Write, service: &Service, view: &MissionView<'_>) -> anyhow::Result<()> {
    let mission = view.mission(service);
    let currency = view.currency();
    let number = |value: Option<Decimal>| value.map_or("-".to_owned(), |value| value.to_string());
    let mut row = |name: &str, value: String| writeln!(out, "{name:<16} {value}");
    row("status", mission.status.as_str().to_owned())?;
    row("seconds left", mission.seconds_remaining.to_string())?;
    let reasons: Vec<_> = mission.reasons.iter().map(crate::domain::Reason::as_str).collect();
    row("tradable", if reasons.is_empty() { "yes".to_owned() } else { format!("no: {}", reasons.join(", ")) })?;
    row("lots", number(mission.lots))?;
    row("risk", format!("{} {currency} of {}", number(mission.risk_amount), number(mission.risk_budget)))?;
    row("reward", format!("{} {currency}", number(mission.reward_amount)))?;
    row("risk : reward", format!("1 : {}", number(mission.risk_reward)))?;
    row("stop pips", number(mission.stop_pips))?;
    row("target pips", number(mission.target_pips))?;
    if let Some(balance) = mission.minimum_balance {
        row("minimum balance", format!("{balance} {currency}"))?;
    }
    Ok(())
}

impl ShowSignal {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        let service = open(config)?;
        let snapshot = service.snapshot()?;
        let mut out = io::stdout().lock();
        match self {
            Self::Get { signal } => match snapshot.signal(signal)? {
                Some(stored) => write_json(&mut out, &render::signal_json(&stored.signal))?,
                None => return no(&format!("no signal {signal}")),
            },
            Self::Cancel { signal } => return set_status(&service, &mut out, signal, SignalStatus::Cancelled),
            Self::Close { signal } => return set_status(&service, &mut out, signal, SignalStatus::Closed),
            Self::List { active, limit, json } => {
                let now = service.now();
                if !json {
                    writeln!(out, "{:<40} {:<10} {:<4} {:<24} STATUS", "SIGNAL", "SYMBOL", "SIDE", "EXPIRES")?;
                }
                let rows = snapshot.signals_newest_first(None)?;
                let is_active = |row: &StoredSignal| Status::of(&row.signal, None, now) == Status::Active;
                let wanted = rows.filter(|row| !active || row.as_ref().is_ok_and(is_active));
                for row in wanted.take(*limit) {
                    let StoredSignal { signal, .. } = row?;
                    if *json {
                        write_json(&mut out, &render::signal_json(&signal))?;
                        continue;
                    }
                    let status = Status::of(&signal, None, now).as_str();
                    let (id, symbol, side) = (&signal.id, &signal.symbol, signal.direction.as_str());
                    writeln!(out, "{id:<40} {symbol:<10} {side:<4} {:<24} {status}", signal.expires_at.to_string())?;
                }
            }
        }
        Ok(Answer::Done)
    }
}

fn set_status(
    service: &Service,
    out: &mut impl Write,
    signal: &SignalId,
    status: SignalStatus,
) -> anyhow::Result<Answer> {
    let patch = Object::parse(format!(r#"{{"status":"{}"}}"#, status.as_str()).as_bytes())?;
    match block_on(service.patch_signal(signal.clone(), patch, Condition::None))? {
        Ok((_, json)) => write_json(out, &json)?,
        Err(ServiceError::Absent(what)) => return no(&format!("no {what}")),
        Err(error) => return Err(error.into()),
    }
    Ok(Answer::Done)
}

impl ShowOverlay {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        let service = open(config)?;
        let snapshot: Snapshot = service.snapshot()?;
        let mut out = io::stdout().lock();
        match self {
            Self::Get { user } => match snapshot.overlay(user)? {
                Some(stored) => write_json(&mut out, &render::overlay_json(&stored.overlay))?,
                None => return no(&format!("no overlay for user {user}")),
            },
            Self::List { limit, json } => {
                if !json {
                    writeln!(out, "{:<24} {:<12} {:>6} {:>16} CURRENCY", "USER", "TIER", "RISK %", "BALANCE")?;
                }
                for row in snapshot.overlays(None)?.take(*limit) {
                    let StoredOverlay { overlay, .. } = row?;
                    if *json {
                        write_json(&mut out, &render::overlay_json(&overlay))?;
                        continue;
                    }
                    let text = |value: Option<Decimal>| value.map_or("-".to_owned(), |value| value.to_string());
                    let tier = overlay.tier.as_ref().map_or("-", |tier| tier.as_str());
                    let (risk, balance) = (text(overlay.risk_percent), text(overlay.account_balance));
                    let (user, currency) = (&overlay.user_id, &overlay.account_currency);
                    writeln!(out, "{user:<24} {tier:<12} {risk:>6} {balance:>16} {currency}")?;
                }
            }
        }
        Ok(Answer::Done)
    }
}

impl Stats {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        let stats = open(config)?.stats()?;
        let counts = stats.counts;
        let rows = [
            ("signals", counts.signals),
            ("overlays", counts.overlays),
            ("outcomes", counts.outcomes),
            ("rates", counts.rates),
            ("tokens", counts.tokens),
            ("commits", stats.seq),
            ("file_bytes", stats.file_bytes),
        ];
        let mut out = io::stdout().lock();
        if self.json {
            let members: Vec<String> = rows.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            writeln!(out, "{{{}}}", members.join(","))?;
        } else {
            for (name, value) in rows {
                writeln!(out, "{:<12} {value}", name.replace('_', " "))?;
            }
        }
        Ok(Answer::Done)
    }
}

fn write_json(out: &mut impl Write, json: &[u8]) -> anyhow::Result<()> {
    out.write_all(json)?;
    Ok(writeln!(out)?)
}

fn no(message: &str) -> anyhow::Result<Answer> {
    writeln!(io::stderr(), "overlaid: {message}").context("cannot write to standard error")?;
    Ok(Answer::No)
}
