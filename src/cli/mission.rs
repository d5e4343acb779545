//! `mission`: what a user may do now, on all active signals or on one.

use std::io::{self, Write as _};

use clap::Args;

use super::lists::{Column, List, Row, Rows};
use super::{Access, Answer, Global};
use crate::domain::{SignalId, UserId};

/// Show a user's active missions, or the mission on one signal.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid mission 7001")]
pub(super) struct MissionCommand {
    /// The user's id; one that begins with a hyphen and is no number goes after `--`.
    user: UserId,
    /// The signal's id; without it, all active signals.
    signal: Option<SignalId>,
    /// Show each step of the computation, with the limit that decided the size, and all reasons.
    #[arg(long, requires = "signal")]
    explain: bool,
    #[command(flatten)]
    rows: Rows,
}

impl MissionCommand {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let client = global.client(Access::Read)?;
        let missions = format!("/v1/users/{}/missions", self.user);
        let Some(signal) = &self.signal else {
            let text = Column::Text;
            let columns = &[
                text("SIGNAL"),
                text("SYMBOL"),
                text("SIDE"),
                Column::Number("ENTRY"),
                Column::Number("STOP"),
                Column::Number("TARGET"),
                Column::Number("LOTS"),
                Column::Number("RISK"),
                text("REASONS"),
            ];
            List { target: &missions, member: "missions", columns }.print((global, &client), &self.rows, cells)?;
            return Ok(Answer::Done);
        };
        if self.explain {
            let explanation = client.get(&format!("{missions}/{signal}/explanation"))?;
            if global.json {
                writeln!(io::stdout(), "{explanation}")?;
                return Ok(Answer::Done);
            }
            for step in Row::parse(&explanation)?.list("steps") {
                let step = Row::parse(step.get())?;
                writeln!(io::stdout(), "{:<13} {}", step.text("name"), step.text("text"))?;
            }
            return Ok(Answer::Done);
        }
        let view = client.get(&format!("{missions}/{signal}"))?;
        if global.json {
            writeln!(io::stdout(), "{view}")?;
        } else {
            print(&Row::parse(&view)?)?;
        }
        Ok(Answer::Done)
    }
}

/// A view as a row of the table.
fn cells(view: &Row<'_>) -> Vec<String> {
    let (signal, mission) = (view.object("signal"), view.object("mission"));
    // Of a signal without prices the distances are known.
    let level = |price: &str, pips: &str| {
        signal.known(price).or_else(|| Some(format!("{} pips", signal.known(pips)?))).unwrap_or_else(|| "-".to_owned())
    };
    let target = match &mission.list("targets")[..] {
        [first, more @ ..] if !more.is_empty() => {
            let first = Row::parse(first.get()).unwrap_or_default();
            let level = first.known("price").unwrap_or_else(|| format!("{} pips", first.text("pips")));
            format!("{level} +{}", more.len())
        }
        _ => level("take_profit", "target_pips"),
    };
    vec![
        signal.text("signal_id"),
        signal.text("symbol"),
        signal.text("direction"),
        signal.text("entry_price"),
        level("stop_loss", "stop_pips"),
        target,
        mission.text("lots"),
        format!("{} {}", mission.text("risk_amount"), mission.text("account_currency")),
        mission.texts("reasons"),
    ]
}

/// A view for a person.
fn print(view: &Row<'_>) -> anyhow::Result<()> {
    let mission = view.object("mission");
    let currency = mission.text("account_currency");
    let row = |name: &str, value: String| writeln!(io::stdout(), "{name:<16} {value}");
    row("status", mission.text("status"))?;
    row("seconds left", mission.text("seconds_remaining"))?;
    let reasons = mission.texts("reasons");
    row("tradable", if reasons.is_empty() { "yes".to_owned() } else { format!("no: {reasons}") })?;
    row("lots", mission.text("lots"))?;
    row("risk", format!("{} {currency} of {}", mission.text("risk_amount"), mission.text("risk_budget")))?;
    row("reward", format!("{} {currency}", mission.text("reward_amount")))?;
    row("risk : reward", format!("1 : {}", mission.text("risk_reward")))?;
    row("stop pips", mission.text("stop_pips"))?;
    row("target pips", mission.text("target_pips"))?;
    let targets = mission.list("targets");
    for (at, target) in targets.iter().enumerate().filter(|_| targets.len() > 1) {
        let target = Row::parse(target.get())?;
        let [price, pips, lots, reward] = ["price", "pips", "lots", "reward_amount"].map(|name| target.text(name));
        row(&format!("target {}", at + 1), format!("{price}, {pips} pips: {lots} lots, {reward} {currency}"))?;
    }
    if let Some(balance) = mission.known("minimum_balance") {
        row("minimum balance", format!("{balance} {currency}"))?;
    }
    Ok(())
}
