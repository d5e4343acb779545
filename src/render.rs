//! JSON of signals, overlays and mission views, as bytes.
//!
//! A view is a splice: `{"signal":…,"user":…,"mission":…}`, where the first two are rendered once per record and
//! kept beside it, and only the computed numbers are written per view. The plain way, serde over a struct, is the oracle in
//! this module's tests; the bytes are the same.

mod room;
mod views;

use crate::domain::{Decimal, Levels, Object, Outcome, Overlay, Rate, Signal, UnixMillis};

pub use views::{BatchFrame, Uncomputed, UserText, ViewFrame, write_budget, write_view};

/// Renders a signal: its known members in a fixed order, then all others as published.
#[must_use]
pub fn signal_json(signal: &Signal) -> Vec<u8> {
    let mut json = Members::begin(Vec::with_capacity(512));
    json.string("signal_id", signal.id.as_str());
    json.string("symbol", signal.symbol.as_str());
    json.string("direction", signal.direction.as_str());
    match signal.levels {
        Levels::Prices { entry, stop, target } => {
            json.decimal("entry_price", Some(entry));
            json.decimal("stop_loss", Some(stop));
            json.decimal("take_profit", target);
        }
        Levels::Pips { entry, stop, target } => {
            json.decimal("entry_price", entry);
            json.decimal("stop_pips", Some(stop));
            json.decimal("target_pips", target);
        }
    }
    if let Some(pattern_type) = &signal.pattern_type {
        json.string("pattern_type", pattern_type);
    }
    json.decimal("confidence", signal.confidence);
    json.time("created_at", signal.created_at);
    json.time("expires_at", signal.expires_at);
    json.rest(&signal.members);
    json.end()
}

/// Renders an overlay: its known members in a fixed order, then all others as sent.
#[must_use]
pub fn overlay_json(overlay: &Overlay) -> Vec<u8> {
    let mut json = Vec::with_capacity(256);
    write_overlay(&mut json, overlay);
    json
}

/// Appends what [`overlay_json`] makes of an overlay.
pub fn write_overlay(out: &mut Vec<u8>, overlay: &Overlay) {
    let mut json = Members::begin(std::mem::take(out));
    json.string("user_id", overlay.user_id.as_str());
    if let Some(tier) = &overlay.tier {
        json.string("tier", tier.as_str());
    }
    json.decimal("risk_percent", overlay.risk_percent);
    json.decimal("account_balance", overlay.account_balance);
    json.string("account_currency", overlay.account_currency.as_str());
    json.decimal("win_rate", overlay.win_rate);
    if let Some(trades) = overlay.trades_remaining {
        json.decimal("trades_remaining", Decimal::from_int(i64::from(trades)));
    }
    json.time("updated_at", overlay.updated_at);
    json.rest(&overlay.members);
    *out = json.end();
}

/// Renders an outcome.
#[must_use]
pub fn outcome_json(outcome: &Outcome) -> Vec<u8> {
    let mut json = Members::begin(Vec::with_capacity(256));
    json.string("signal_id", outcome.signal_id.as_str());
    json.string("user_id", outcome.user_id.as_str());
    json.string("status", outcome.status.as_str());
    json.time("at", outcome.at);
    json.rest(&outcome.members);
    json.end()
}

/// Renders a rate.
#[must_use]
pub fn rate_json(rate: &Rate) -> Vec<u8> {
    let mut json = Members::begin(Vec::with_capacity(96));
    json.string("pair", rate.pair.as_str());
    json.decimal("price", Some(rate.price));
    json.time("updated_at", rate.updated_at);
    json.end()
}

fn write_number(out: &mut Vec<u8>, name: &[u8], number: Option<Decimal>) {
    out.extend_from_slice(name);
    match number {
        Some(number) => number.write_to(out),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends a JSON string, escaped as `serde_json` does it.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let start = out.len();
    // Writing a string into a growing buffer can not fail; if it ever did, half a string must not stay.
    if serde_json::to_writer(&mut *out, text).is_err() {
        out.truncate(start);
        out.extend_from_slice(b"\"\"");
    }
}

/// Appends a JSON string that holds a time.
pub fn write_time(out: &mut Vec<u8>, moment: UnixMillis) {
    out.push(b'"');
    moment.write_to(out);
    out.push(b'"');
}

/// An object under construction.
struct Members(Vec<u8>);

impl Members {
    fn begin(mut out: Vec<u8>) -> Self {
        out.push(b'{');
        Self(out)
    }

    fn next(&mut self) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
    }

    /// Begins a member whose name is one of ours, with nothing to escape.
    fn name(&mut self, name: &str) {
        self.next();
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        write_string(&mut self.0, value);
    }

    /// An absent number is an absent member.
    fn decimal(&mut self, name: &str, value: Option<Decimal>) {
        if let Some(value) = value {
            self.name(name);
            value.write_to(&mut self.0);
        }
    }

    fn time(&mut self, name: &str, value: UnixMillis) {
        self.name(name);
        write_time(&mut self.0, value);
    }

    fn rest(&mut self, members: &Object) {
        for (name, value) in members.iter() {
            self.next();
            write_string(&mut self.0, name);
            self.0.push(b':');
            self.0.extend_from_slice(value.as_bytes());
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

#[cfg(test)]
mod tests;
