//! JSON of signals, overlays and mission views, as bytes.
//!
//! A view is a splice: `{"signal":…,"user":…,"mission":…}`. The first two are rendered once per record and kept with
//! it; [`write_view`] writes the computed numbers for each view. It is the only writer of views, for single views,
//! lists and batches. The tests hold its bytes against serde over plain structs.

mod view;

use std::io::Write as _;

use crate::domain::{
    Cursor, Decimal, Instrument, Object, Outcome, Overlay, Rate, RecordChange, Signal, Symbol, UnixMillis,
};

pub use crate::domain::write_json_string as write_string;
pub use view::{ViewTemplate, write_budget, write_view};

/// Renders a signal: its known members in a fixed order, then all others as published.
#[must_use]
pub fn signal_json(signal: &Signal) -> Vec<u8> {
    signal.to_object().to_json().into_bytes()
}

/// Renders an overlay: its known members in a fixed order, then all others as sent.
///
/// When the balance was confirmed is not among them: it may be later in memory than in the record, and views have it.
#[must_use]
pub fn overlay_json(overlay: &Overlay) -> Vec<u8> {
    let mut json = Vec::with_capacity(256);
    write_overlay(&mut json, overlay);
    json
}

/// Renders an overlay with all that is stored of it, to be read again as the same record.
#[must_use]
pub fn overlay_record_json(overlay: &Overlay) -> Vec<u8> {
    let mut json = overlay_json(overlay);
    if overlay.balance_confirmed_at != overlay.updated_at {
        json.pop();
        json.extend_from_slice(b",\"balance_confirmed_at\":");
        write_time(&mut json, overlay.balance_confirmed_at);
        json.push(b'}');
    }
    json
}

/// Appends the JSON that [`overlay_json`] returns.
pub fn write_overlay(out: &mut Vec<u8>, overlay: &Overlay) {
    let mut json = ObjectWriter::start(out);
    json.string("user_id", overlay.user_id.as_str());
    if let Some(tier) = &overlay.tier {
        json.string("tier", tier.as_str());
    }
    json.decimal("risk_percent", overlay.risk_percent);
    if let Some(basis) = overlay.risk_basis {
        json.string("risk_basis", basis.as_str());
    }
    json.decimal("account_balance", overlay.account_balance);
    json.decimal("account_equity", overlay.account_equity);
    json.decimal("free_margin", overlay.free_margin);
    json.decimal("leverage", overlay.leverage);
    json.string("account_currency", overlay.account_currency.as_str());
    json.decimal("win_rate", overlay.win_rate);
    if let Some(trades) = overlay.trades_remaining {
        json.decimal("trades_remaining", Decimal::from_int(i64::from(trades)));
    }
    json.time("updated_at", overlay.updated_at);
    json.members(&overlay.members);
    json.end();
}

/// Renders changes and the cursor to follow on from, in one line.
#[must_use]
pub fn changes_json(cursor: Cursor, is_reset: bool, changes: &[RecordChange]) -> String {
    let mut json = format!("{{\"cursor\":\"{cursor}\"");
    if is_reset {
        json.push_str(",\"reset\":true");
    }
    json.push_str(",\"changes\":[");
    for (at, RecordChange { key, seq, is_deleted }) in changes.iter().enumerate() {
        let separator = if at > 0 { "," } else { "" };
        let deleted = if *is_deleted { ",\"deleted\":true" } else { "" };
        // Ids and pairs hold nothing that JSON escapes.
        let (key_text, seq) = (key.to_string(), seq.to_string());
        json.extend([
            separator,
            "{\"kind\":\"",
            key.kind(),
            "\",\"key\":\"",
            &key_text,
            "\",\"seq\":",
            &seq,
            deleted,
            "}",
        ]);
    }
    json.push_str("]}");
    json
}

/// Renders an outcome.
#[must_use]
pub fn outcome_json(outcome: &Outcome) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut json = ObjectWriter::start(&mut out);
    json.string("signal_id", outcome.signal_id.as_str());
    json.string("user_id", outcome.user_id.as_str());
    json.string("status", outcome.status.as_str());
    json.time("at", outcome.at);
    json.decimal("profit", outcome.profit);
    if let Some(result) = outcome.result {
        json.string("result", result.as_str());
    }
    json.members(&outcome.members);
    json.end();
    out
}

/// Renders a rate.
#[must_use]
pub fn rate_json(rate: &Rate) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    let mut json = ObjectWriter::start(&mut out);
    json.string("pair", rate.pair.as_str());
    json.decimal("price", Some(rate.price));
    json.time("updated_at", rate.updated_at);
    json.time("confirmed_at", rate.confirmed_at);
    json.end();
    out
}

/// Renders an entry of the table of instruments.
#[must_use]
pub fn instrument_json(symbol: &Symbol, instrument: &Instrument) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut json = ObjectWriter::start(&mut out);
    json.string("instrument", symbol.as_str());
    if let Some(base) = &instrument.base {
        json.string("base", base.as_str());
    }
    json.string("quote", instrument.quote.as_str());
    json.decimal("contract_size", Some(instrument.contract_size));
    json.decimal("pip", Some(instrument.pip));
    json.decimal("digits", Decimal::from_int(i64::from(instrument.digits)));
    json.decimal("min_lot", Some(instrument.min_lot));
    json.decimal("lot_step", Some(instrument.lot_step));
    json.decimal("max_lot", Some(instrument.max_lot));
    json.decimal("margin_percent", instrument.margin_percent);
    json.strings("aliases", instrument.aliases.iter().map(Symbol::as_str));
    json.end();
    out
}

/// Appends a JSON string that holds a time.
pub fn write_time(out: &mut Vec<u8>, moment: UnixMillis) {
    // Writing into a growing buffer can not fail.
    let _ = write!(out, "\"{moment}\"");
}

/// Appends one JSON object, member by member.
struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> ObjectWriter<'a> {
    fn start(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        write_string(self.out, name);
        self.out.push(b':');
    }

    fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        write_string(self.out, value);
    }

    fn strings<'t>(&mut self, name: &str, values: impl Iterator<Item = &'t str>) {
        self.name(name);
        self.out.push(b'[');
        for (at, value) in values.enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            write_string(self.out, value);
        }
        self.out.push(b']');
    }

    /// Leaves the member out if there is no number.
    fn decimal(&mut self, name: &str, value: Option<Decimal>) {
        if let Some(value) = value {
            self.name(name);
            value.write_to(self.out);
        }
    }

    fn time(&mut self, name: &str, value: UnixMillis) {
        self.name(name);
        write_time(self.out, value);
    }

    fn members(&mut self, members: &Object) {
        for (name, value) in members.iter() {
            self.name(name);
            self.out.extend_from_slice(value.as_bytes());
        }
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests;
