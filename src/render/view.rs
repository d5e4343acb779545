//! The one writer of mission views.

use crate::domain::{Currency, Decimal, Mission};

/// Appends one mission view.
///
/// - `signal`, `overlay`: the JSON that [`signal_json`](super::signal_json) and [`overlay_json`](super::overlay_json)
///   return.
/// - `currency`: the overlay's account currency.
///
/// Numbers that can not be known are `null`; `minimum_balance` is left out if there is none.
pub fn write_view(out: &mut Vec<u8>, signal: &[u8], overlay: &[u8], mission: &Mission, currency: &Currency) {
    out.extend_from_slice(b"{\"signal\":");
    out.extend_from_slice(signal);
    out.extend_from_slice(b",\"user\":");
    out.extend_from_slice(overlay);
    out.extend_from_slice(b",\"mission\":{\"status\":\"");
    out.extend_from_slice(mission.status.as_str().as_bytes());
    out.extend_from_slice(b"\",\"seconds_remaining\":");
    out.extend_from_slice(itoa::Buffer::new().format(mission.seconds_remaining).as_bytes());
    write_reasons(out, mission);
    write_number(out, b",\"stop_pips\":", mission.stop_pips);
    write_number(out, b",\"target_pips\":", mission.target_pips);
    write_number(out, b",\"risk_reward\":", mission.risk_reward);
    write_number(out, b",\"risk_percent\":", mission.risk_percent);
    write_number(out, b",\"risk_budget\":", mission.risk_budget);
    write_number(out, b",\"lots_raw\":", mission.lots_raw);
    write_number(out, b",\"lots\":", mission.lots);
    write_number(out, b",\"risk_amount\":", mission.risk_amount);
    write_number(out, b",\"reward_amount\":", mission.reward_amount);
    if mission.minimum_balance.is_some() {
        write_number(out, b",\"minimum_balance\":", mission.minimum_balance);
    }
    out.extend_from_slice(b",\"account_currency\":\"");
    // Letters and digits only: nothing to escape.
    out.extend_from_slice(currency.as_str().as_bytes());
    write_number(out, b"\",\"conversion_rate\":", mission.conversion_rate);
    out.extend_from_slice(b"}}");
}

fn write_reasons(out: &mut Vec<u8>, mission: &Mission) {
    out.extend_from_slice(b",\"tradable\":");
    out.extend_from_slice(if mission.is_tradable() { "true" } else { "false" }.as_bytes());
    out.extend_from_slice(b",\"reasons\":[");
    for (index, reason) in mission.reasons.iter().enumerate() {
        out.extend_from_slice(if index == 0 { "\"" } else { ",\"" }.as_bytes());
        out.extend_from_slice(reason.as_str().as_bytes());
        out.push(b'"');
    }
    out.push(b']');
}

fn write_number(out: &mut Vec<u8>, name: &[u8], number: Option<Decimal>) {
    out.extend_from_slice(name);
    match number {
        Some(number) => number.write_to(out),
        None => out.extend_from_slice(b"null"),
    }
}
