//! JSON of signals, overlays and mission views, as bytes.
//!
//! A view is a splice: `{"signal":…,"user":…,"mission":…}`, where the first two are rendered once per record and
//! kept beside it, and only the computed numbers are written per view. The plain way, serde over a struct, is the oracle in
//! this module's tests; the bytes are the same.

use crate::domain::{
    Currency, Decimal, Levels, Mission, Object, Outcome, Overlay, Rate, Signal, Status, TEXT_ROOM, UnixMillis,
};

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
    let mut json = Members::begin(Vec::with_capacity(256));
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
    json.end()
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

/// Appends one mission view.
///
/// - `signal`, `overlay`: what [`signal_json`] and [`overlay_json`] made of the two records.
/// - `currency`: the overlay's account currency.
///
/// Numbers that can not be known are `null`; `minimum_balance` is there only where it says something.
pub fn write_view(out: &mut Vec<u8>, signal: &[u8], overlay: &[u8], mission: &Mission, currency: &Currency) {
    out.extend_from_slice(b"{\"signal\":");
    out.extend_from_slice(signal);
    out.extend_from_slice(b",\"user\":");
    out.extend_from_slice(overlay);
    out.extend_from_slice(STATUS);
    out.extend_from_slice(mission.status.as_str().as_bytes());
    out.extend_from_slice(b"\",\"seconds_remaining\":");
    write_integer(out, mission.seconds_remaining);
    out.extend_from_slice(b",\"tradable\":");
    write_reasons(out, mission);
    write_levels(out, mission);
    write_amounts(out, mission, &mut Amounts::default());
    write_closing(out, mission, currency);
}

/// The parts of a view that are the same for all users of a batch whose accounts hold one currency.
#[derive(Clone, Debug)]
pub struct ViewFrame {
    /// From the beginning to the user's JSON.
    opening: Vec<u8>,
    /// From there to the user's own amounts, for an active mission that may be traded: the usual case in one piece.
    tradable: Vec<u8>,
    /// After the status, up to what is tradable.
    remaining: Vec<u8>,
    /// After the reasons, up to the risk percent.
    levels: Vec<u8>,
    /// After the amounts, to the end.
    closing: Vec<u8>,
}

impl ViewFrame {
    /// Prepares the views of a signal.
    ///
    /// - `signal`: what [`signal_json`] made of it.
    /// - `common`: any mission on the signal for this currency at this time; only what all of them share is read.
    #[must_use]
    pub fn new(signal: &[u8], common: &Mission, currency: &Currency) -> Self {
        let mut opening = b"{\"signal\":".to_vec();
        opening.extend_from_slice(signal);
        opening.extend_from_slice(b",\"user\":");
        let mut remaining = b"\",\"seconds_remaining\":".to_vec();
        write_integer(&mut remaining, common.seconds_remaining);
        remaining.extend_from_slice(b",\"tradable\":");
        let mut levels = Vec::with_capacity(128);
        write_levels(&mut levels, common);
        let mut closing = Vec::with_capacity(64);
        write_closing(&mut closing, common, currency);
        let status = Status::Active.as_str().as_bytes();
        let tradable = [STATUS, status, &remaining, TRADABLE, &levels].concat();
        Self { opening, tradable, remaining, levels, closing }
    }

    /// Appends one view, byte for byte as [`write_view`] does; `room` is used again from view to view.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, overlay: &[u8], mission: &Mission, room: &mut Amounts) {
        out.extend_from_slice(&self.opening);
        out.extend_from_slice(overlay);
        if mission.status == Status::Active && mission.is_tradable() {
            out.extend_from_slice(&self.tradable);
        } else {
            self.write_untradable(out, mission);
        }
        write_amounts(out, mission, room);
        out.extend_from_slice(&self.closing);
    }

    #[inline(never)]
    fn write_untradable(&self, out: &mut Vec<u8>, mission: &Mission) {
        out.extend_from_slice(STATUS);
        out.extend_from_slice(mission.status.as_str().as_bytes());
        out.extend_from_slice(&self.remaining);
        write_reasons(out, mission);
        out.extend_from_slice(&self.levels);
    }
}

/// From the user's JSON to the status.
const STATUS: &[u8] = b",\"mission\":{\"status\":\"";
/// What is said where nothing speaks against trading.
const TRADABLE: &[u8] = b"true,\"reasons\":[]";

/// From `tradable`'s value to the end of the reasons.
fn write_reasons(out: &mut Vec<u8>, mission: &Mission) {
    if mission.is_tradable() {
        out.extend_from_slice(TRADABLE);
        return;
    }
    out.extend_from_slice(b"false,\"reasons\":[");
    for (index, reason) in mission.reasons.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(reason.as_str().as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}

/// What follows from the signal alone.
fn write_levels(out: &mut Vec<u8>, mission: &Mission) {
    write_number(out, b",\"stop_pips\":", mission.stop_pips);
    write_number(out, b",\"target_pips\":", mission.target_pips);
    write_number(out, b",\"risk_reward\":", mission.risk_reward);
}

/// What follows from the user.
///
/// All of it is put together in one place of fixed size, and appended at once: asking for room for each of fourteen pieces takes longer
/// than writing them.
#[inline]
fn write_amounts(out: &mut Vec<u8>, mission: &Mission, amounts: &mut Amounts) {
    amounts.length = 0;
    amounts.put(b",\"risk_percent\":", mission.risk_percent);
    amounts.put(b",\"risk_budget\":", mission.risk_budget);
    amounts.put(b",\"lots_raw\":", mission.lots_raw);
    amounts.put(b",\"lots\":", mission.lots);
    amounts.put(b",\"risk_amount\":", mission.risk_amount);
    amounts.put(b",\"reward_amount\":", mission.reward_amount);
    if mission.minimum_balance.is_some() {
        amounts.put(b",\"minimum_balance\":", mission.minimum_balance);
    }
    out.extend_from_slice(amounts.text.get(..amounts.length).unwrap_or_default());
}

/// Room for seven numbers with their names: the names have 99 bytes with quotes, commas and colons.
const AMOUNTS_ROOM: usize = 7 * TEXT_ROOM + 128;

/// Room for a user's amounts with their names.
#[derive(Debug)]
pub struct Amounts {
    text: [u8; AMOUNTS_ROOM],
    length: usize,
}

impl Default for Amounts {
    fn default() -> Self {
        Self { text: [0; AMOUNTS_ROOM], length: 0 }
    }
}

impl Amounts {
    #[inline]
    fn put<const NAME: usize>(&mut self, name: &[u8; NAME], number: Option<Decimal>) {
        let end = self.length + NAME;
        if let Some(place) = self.text.get_mut(self.length..end) {
            place.copy_from_slice(name);
        }
        let Some(place) = self.text.get_mut(end..).and_then(<[u8]>::first_chunk_mut) else { return };
        let written = if let Some(number) = number {
            number.write_into(place)
        } else {
            if let Some(place) = place.first_chunk_mut() {
                *place = *b"null";
            }
            4
        };
        self.length = end + written;
    }
}

/// What follows from the account's currency.
fn write_closing(out: &mut Vec<u8>, mission: &Mission, currency: &Currency) {
    out.extend_from_slice(b",\"account_currency\":\"");
    // Letters and digits only: nothing to escape.
    out.extend_from_slice(currency.as_str().as_bytes());
    out.push(b'"');
    write_number(out, b",\"conversion_rate\":", mission.conversion_rate);
    out.extend_from_slice(b"}}");
}

#[inline]
fn write_number(out: &mut Vec<u8>, name: &[u8], number: Option<Decimal>) {
    out.extend_from_slice(name);
    match number {
        Some(number) => number.write_to(out),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends a JSON string, escaped as `serde_json` does it.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
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
    out.extend_from_slice(moment.to_string().as_bytes());
    out.push(b'"');
}

fn write_integer(out: &mut Vec<u8>, value: u64) {
    match i64::try_from(value).ok().and_then(Decimal::from_int) {
        Some(whole) => whole.write_to(out),
        // Seconds until the last moment that a signal may name are more than a `Decimal` holds.
        None => out.extend_from_slice(value.to_string().as_bytes()),
    }
}

/// An object under construction.
struct Members(Vec<u8>);

impl Members {
    fn begin(mut out: Vec<u8>) -> Self {
        out.push(b'{');
        Self(out)
    }

    fn name(&mut self, name: &str) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        write_string(&mut self.0, name);
        self.0.push(b':');
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
            self.name(name);
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
