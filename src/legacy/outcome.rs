//! What happened for a user on an old record's signal.

use super::json::{Value, json_text};
use super::members::Members;
use super::names::Meaning;
use super::part::{OutcomePart, SignalPart};
use super::reason::Note;
use super::record::Record;
use super::user::User;
use crate::domain::{Object, OutcomeStatus};

/// Reads what happened, if anything did. What can not be stored is noted: nothing of it is in the signal or the
/// overlay.
pub(super) fn outcome_of(
    record: Record<'_>,
    user: Option<&User>,
    signal: Option<&SignalPart>,
    notes: &mut Vec<Note>,
) -> Option<OutcomePart> {
    let result = record.root.get("execution_result");
    let names = record.context.names;
    let order = || names.of(Meaning::Order).iter().filter_map(|id| Some((names.spelling(*id), record.root.find(*id)?)));
    let stated_at = record.root.get("fired_at");
    let status = record.root.get("status").and_then(Value::text);
    let Some((status, word)) = status_of(status, result, stated_at.is_some()) else {
        let is_said = |value: &Value<'_>| !value.is_object() || !value.members().is_empty();
        if result.is_some_and(is_said) || order().any(|(_, value)| is_said(value)) {
            notes.push(Note::OutcomeUnclear);
        }
        return None;
    };
    let by = record.root.get("fired_by").and_then(User::of);
    let whose = by.as_ref().or(user);
    let (Some(signal), Some(whose)) = (signal, whose) else {
        notes.push(Note::OutcomeLeftOut);
        return None;
    };
    if word.is_some() {
        notes.push(Note::StatusSpelling);
    }
    if user.is_some_and(|user| user.id != whose.id) {
        notes.push(Note::FiredByAnother);
    }
    let at = stated_at.and_then(Value::moment);
    if stated_at.is_some() && at.is_none() {
        notes.push(Note::OutcomeTimeUnclear);
    }
    let mut members = Members::default();
    let mut put = |name: &str, json: String| {
        match name {
            "signal_id" | "user_id" | "status" | "at" => {}
            // What an order's result says is not known to be the account's currency, or one of our words.
            "profit" => members.put("legacy_profit", json),
            "result" => members.put("legacy_result", json),
            name => members.put(name, json),
        }
    };
    if let Some(result) = result {
        for member in result.members().iter().filter(|member| !member.value.is_null()) {
            put(&member.name, member.value.json());
        }
        if !result.is_object() {
            put("execution_result", result.json());
        }
    }
    for (name, value) in order() {
        put(name, value.json());
    }
    if let Some(word) = word.filter(|word| !word.is_empty()) {
        put("legacy_status", json_text(word));
    }
    let Ok(members) = members.into_list() else {
        notes.push(Note::OutcomeLeftOut);
        return None;
    };
    let at = at.unwrap_or(signal.signal.created_at);
    Some(OutcomePart { user: whose.id.clone(), status, at, members: Object::from_members(members) })
}

/// Reads what happened: from the status, else from the result of the order, else from there being a time at which it
/// was fired. A status in other words than ours comes with it.
fn status_of<'s>(
    status: Option<&'s str>,
    result: Option<&Value<'_>>,
    has_fired_at: bool,
) -> Option<(OutcomeStatus, Option<&'s str>)> {
    let word = status.map(str::trim).unwrap_or_default();
    let said = match word.to_ascii_lowercase().as_str() {
        "fired" => return Some((OutcomeStatus::Fired, None)),
        "failed" => return Some((OutcomeStatus::Failed, None)),
        "filled" => Some(OutcomeStatus::Fired),
        "timeout" => Some(OutcomeStatus::Failed),
        _ => None,
    };
    let succeeded = || {
        let said = result?.get("success")?;
        match said.text().unwrap_or(&said.json()) {
            "true" => Some(OutcomeStatus::Fired),
            "false" => Some(OutcomeStatus::Failed),
            _ => None,
        }
    };
    let status = said.or_else(succeeded).or(has_fired_at.then_some(OutcomeStatus::Fired))?;
    Some((status, Some(word)))
}
