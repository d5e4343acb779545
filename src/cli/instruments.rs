//! `instruments`: what a symbol is taken for, and why. It reads the tables only, and no database.

use std::io::{self, Write as _};

use clap::Args;
use serde_json::json;

use super::{Answer, Global, settings};
use crate::domain::{FoundInstrument, Instrument, Symbol};

/// Show what a symbol is taken for and why, or the whole table of instruments.
///
/// A symbol is found by itself, by an alias of an entry, or by either without one of the suffixes that the table lists.
/// --instruments names the file whose entries replace those of the built-in table. An unknown symbol is exit code 1.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid instruments GOLD")]
pub(super) struct ShowInstruments {
    /// A symbol as a broker has it; without it, the whole table is shown.
    symbol: Option<Symbol>,
}

impl ShowInstruments {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let table = settings(&global.config)?.instruments;
        let mut out = io::stdout().lock();
        let Some(symbol) = &self.symbol else {
            if !global.json {
                writeln!(
                    out,
                    "{:<10} {:>10} {:>8} {:>6} {:>6} {:>7}  ALIASES",
                    "SYMBOL", "LOT", "PIP", "MIN", "STEP", "MAX"
                )?;
            }
            for (symbol, instrument) in table.iter() {
                if global.json {
                    writeln!(out, "{}", members(symbol, instrument, &[]))?;
                    continue;
                }
                let Instrument { contract_size, pip, min_lot, lot_step, max_lot, .. } = instrument;
                let numbers = [contract_size, pip, min_lot, lot_step, max_lot].map(ToString::to_string);
                let [lot, pip, min, step, max] = numbers;
                let aliases = names(&instrument.aliases);
                let row = format!("{symbol:<10} {lot:>10} {pip:>8} {min:>6} {step:>6} {max:>7}  {aliases}");
                writeln!(out, "{}", row.trim_end())?;
            }
            if !global.json {
                let suffixes = names(table.suffixes());
                writeln!(out, "\nsuffixes: {}", if suffixes.is_empty() { "none" } else { &suffixes })?;
            }
            return Ok(Answer::Done);
        };
        let Some(found) = table.find(symbol) else {
            writeln!(
                io::stderr(),
                "overlaid: the table has no {symbol}, neither by itself nor by an alias or a suffix"
            )?;
            return Ok(Answer::No);
        };
        let FoundInstrument { symbol: own, instrument, .. } = found;
        if global.json {
            writeln!(out, "{}", members(own, instrument, &[("symbol", symbol.as_str()), ("why", &found.why())]))?;
            return Ok(Answer::Done);
        }
        let mut row = |name: &str, value: String| writeln!(out, "{name:<14} {value}");
        row("symbol", symbol.to_string())?;
        row("instrument", format!("{own}: {}", found.why()))?;
        row("base", instrument.base.as_ref().map_or("none".to_owned(), ToString::to_string))?;
        row("quote", instrument.quote.to_string())?;
        row("contract size", instrument.contract_size.to_string())?;
        row("pip", instrument.pip.to_string())?;
        row("digits", instrument.digits.to_string())?;
        row("lots", format!("{} to {} in steps of {}", instrument.min_lot, instrument.max_lot, instrument.lot_step))?;
        row(
            "margin",
            instrument.margin_percent.map_or("by the leverage".to_owned(), |percent| format!("{percent} %")),
        )?;
        row("aliases", names(&instrument.aliases))?;
        Ok(Answer::Done)
    }
}

fn names(symbols: &[Symbol]) -> String {
    symbols.iter().map(Symbol::as_str).collect::<Vec<_>>().join(" ")
}

/// An entry as JSON, with more members. Numbers are texts, as in the table.
fn members(symbol: &Symbol, instrument: &Instrument, more: &[(&str, &str)]) -> serde_json::Value {
    let mut members = json!({
        "instrument": symbol.as_str(),
        "base": instrument.base.as_ref().map(ToString::to_string),
        "quote": instrument.quote.as_str(),
        "contract_size": instrument.contract_size.to_string(),
        "pip": instrument.pip.to_string(),
        "digits": instrument.digits,
        "min_lot": instrument.min_lot.to_string(),
        "lot_step": instrument.lot_step.to_string(),
        "max_lot": instrument.max_lot.to_string(),
        "margin_percent": instrument.margin_percent.map(|percent| percent.to_string()),
        "aliases": instrument.aliases.iter().map(Symbol::as_str).collect::<Vec<_>>(),
    });
    if let Some(members) = members.as_object_mut() {
        members.extend(more.iter().map(|(name, value)| ((*name).to_owned(), json!(value))));
    }
    members
}
