//! One old file: from its bytes to a signal, a user's facts and an outcome, or to the reason why not.
//!
//! This module refuses a file that is no JSON object, finds out whether it is one record or a map of records, and hands
//! each record to `signal`, `user` and `outcome`. It reads no file and no clock, so that every rule is a table of
//! values.

use std::path::Path;

use super::json::{JsonError, Value, quote_non_numbers};
use super::names::Meaning;
use super::outcome::outcome_of;
use super::part::{OldNumbers, Part, Quarantine};
use super::reason::{Note, Refusal};
use super::record::{Context, Record};
use super::signal::{has_levels, has_signal, signal_of, stated_id};
use super::user::{User, has_facts, other_user, overlay_of, user_of, user_of_name};
use crate::domain::UnixMillis;

/// Largest file that is read: a mission has at most three kilobytes, a registry some fifteen.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads one file.
///
/// - `path`: within the tree; its names are used where the body has no id.
/// - `modified`: the file's own time, used only for a signal that names no time at all.
///
/// # Errors
///
/// [`Quarantine`] if nothing could be taken from it.
pub(super) fn recognise(
    bytes: &[u8],
    path: &Path,
    modified: UnixMillis,
    context: Context<'_>,
) -> Result<Vec<Part>, Quarantine> {
    let text = text_of(bytes)?;
    let has_extension = |wanted: &str| path.extension().is_some_and(|known| known.eq_ignore_ascii_case(wanted));
    if has_extension("jsonl") || has_extension("ndjson") {
        return Err(Refusal::JsonLines.into());
    }
    let quoted;
    let root = match Value::parse(text, context.names) {
        Err(error @ JsonError::Syntax(_)) => {
            quoted = quote_non_numbers(text).ok_or_else(|| explain(error, text, context))?;
            Value::parse(&quoted, context.names).map_err(|error| explain(error, &quoted, context))?
        }
        parsed => parsed.map_err(|error| explain(error, text, context))?,
    };
    if root.items().is_some() {
        return Err(Refusal::Array.into());
    }
    if !root.is_object() {
        return Err(Refusal::NoObject.into());
    }
    if root.members().is_empty() {
        return Err(Refusal::EmptyObject.into());
    }
    let record = Record { root: &root, key: None, path, modified, context };
    let is_notice = root.get("type").and_then(Value::text).is_some() && root.get("data").is_some();
    if is_notice && !has_levels(record) {
        return Err(Refusal::Notification.into());
    }
    if has_signal(record) {
        let mut parts = vec![mission(record)?];
        for people in record.objects(Meaning::People).filter(|people| !people.members().is_empty()) {
            let refused = |refused| vec![Part { refused: Some(refused), ..Part::default() }];
            parts.extend(records(record.at(people, None)).unwrap_or_else(refused));
        }
        return Ok(parts);
    }
    if has_facts(record) {
        let user = user_of(record).or_else(|| user_of_name(path, None)).ok_or_else(|| no_user(&root))?;
        return account(record, &user).map(|part| vec![part]);
    }
    records(record)
}

/// Checks that bytes are text, behind a byte order mark or not.
fn text_of(bytes: &[u8]) -> Result<&str, Quarantine> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Err(Refusal::Empty.into());
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Refusal::TooLarge.into());
    }
    std::str::from_utf8(bytes)
        .map_err(|error| Quarantine::new(Refusal::NotUtf8, format!("at byte {}", error.valid_up_to())))
}

/// Says why a text is no JSON.
fn explain(error: JsonError, text: &str, context: Context<'_>) -> Quarantine {
    match error {
        JsonError::Duplicate(name) => Quarantine::new(Refusal::DuplicateMember, name),
        JsonError::Depth => Refusal::TooDeep.into(),
        JsonError::Syntax(detail) => {
            let lines = || text.lines().filter(|line| !line.trim().is_empty()).take(2);
            let are_values = || lines().count() == 2 && lines().all(|line| Value::parse(line, context.names).is_ok());
            let refusal = if detail.starts_with("EOF") {
                Refusal::Truncated
            } else if detail.starts_with("trailing") && are_values() {
                Refusal::JsonLines
            } else {
                Refusal::MalformedJson
            };
            Quarantine::new(refusal, detail)
        }
    }
}

/// Reads a record that has a signal in it. The user's facts and the outcome are taken also where the signal is not.
fn mission(record: Record<'_>) -> Result<Part, Quarantine> {
    let mut notes = Vec::new();
    if let Some(other) = other_user(record) {
        return Err(Quarantine::new(Refusal::UserConflict, other));
    }
    let user =
        user_of(Record { key: None, ..record }).or_else(|| user_of_name(record.path, stated_id(record).as_deref()));
    let signal = signal_of(record, user.as_ref(), &mut notes);
    let overlay = user.as_ref().map(|user| overlay_of(record, user, false, &mut notes)).transpose();
    if overlay.is_err() {
        notes.push(Note::FactsTooLarge);
    }
    let overlay = overlay.unwrap_or_default().flatten();
    let names = record.context.names;
    let has_person = || record.objects(Meaning::Persons).next().is_some();
    let has_other_facts = || {
        let mut members = record.root.members().iter().filter(|member| !member.value.is_null());
        members.any(|member| names.is_other_fact(&member.name, member.id))
    };
    if user.is_none() && (has_facts(record) || has_person() || has_other_facts()) {
        notes.push(Note::UserWithoutId);
    }
    let refused = signal.as_ref().err().cloned();
    let signal = signal.ok();
    let outcome = outcome_of(record, user.as_ref(), signal.as_ref(), &mut notes);
    if let (None, None, Some(refused)) = (&signal, &overlay, &refused) {
        return Err(refused.clone());
    }
    notes.sort_unstable();
    notes.dedup();
    Ok(Part { signal, overlay, outcome, refused, notes, numbers: old_numbers_of(record) })
}

/// Reads a record that has facts of a user and no signal.
fn account(record: Record<'_>, user: &User) -> Result<Part, Quarantine> {
    let mut notes = Vec::new();
    let overlay = overlay_of(record, user, true, &mut notes)?.ok_or(Refusal::NoOverlayFacts)?;
    notes.sort_unstable();
    notes.dedup();
    Ok(Part { overlay: Some(overlay), notes, ..Part::default() })
}

/// Reads a map of records: a user registry, at the root or under `users`, or signals by their id.
fn records(map: Record<'_>) -> Result<Vec<Part>, Quarantine> {
    let mut parts = Vec::new();
    let mut refused: Option<Quarantine> = None;
    for member in map.root.members().iter().filter(|member| !member.value.members().is_empty()) {
        let record = map.at(&member.value, Some(&member.name));
        let read = if has_signal(record) {
            mission(record).map(|part| vec![part])
        } else if is_account(record) {
            let user = user_of(record).ok_or_else(|| no_user(record.root));
            user.and_then(|user| account(record, &user)).map(|part| vec![part])
        } else if record.first(Meaning::UserId).is_some() {
            Err(Refusal::NoOverlayFacts.into())
        } else if map.context.names.has(Meaning::Containers, member.id) {
            records(record)
        } else {
            continue;
        };
        match read {
            Ok(more) => parts.extend(more),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match refused {
        Some(refused) if parts.is_empty() => Err(refused),
        // What was not taken is said, also beside what was.
        Some(refused) => {
            parts.push(Part { refused: Some(refused), ..Part::default() });
            Ok(parts)
        }
        None if parts.is_empty() => Err(unrecognised(map.root)),
        None => Ok(parts),
    }
}

/// Whether a member of a map is a user's account.
fn is_account(record: Record<'_>) -> bool {
    let is_person = || user_of(Record { key: None, ..record }).is_some();
    // A registry may hold a `risk_profile` among its users.
    has_facts(record) && (record.root.get("risk_mode").is_none() || is_person())
        || record.first(Meaning::AccountEvidence).is_some()
}

/// Names what a file is that holds neither signal nor user.
fn unrecognised(root: &Value<'_>) -> Quarantine {
    let has = |name: &str| root.get(name).is_some();
    let is_list = |value: &Value<'_>| value.items().is_some_and(|items| items.iter().any(Value::is_object));
    if has("message_id") || has("chat_id") {
        Refusal::TelegramMessage.into()
    } else if root.members().iter().any(|member| is_list(&member.value)) {
        Refusal::RecordsInArray.into()
    } else if has("user_id") {
        Refusal::NoOverlayFacts.into()
    } else {
        let seen: Vec<&str> = root.members().iter().take(8).map(|member| &*member.name).collect();
        let detail = format!("no direction, stop, user or balance among: {}", seen.join(", "));
        Quarantine::new(Refusal::NotRecognised, detail.chars().take(200).collect::<String>())
    }
}

fn no_user(root: &Value<'_>) -> Quarantine {
    let alias = root.get("user_uuid").and_then(Value::id_text).unwrap_or_default();
    let detail = if alias.is_empty() { String::new() } else { format!("only an alias: {alias}") };
    Quarantine::new(Refusal::NoUserId, detail.chars().take(200).collect::<String>())
}

/// Gathers the numbers that are compared, never imported.
fn old_numbers_of(record: Record<'_>) -> OldNumbers {
    const OBJECTS: [&str; 6] = ["enhanced_signal", "signal", "account", "user", "timing", "personalization_data"];
    let objects: Vec<&Value<'_>> = OBJECTS.iter().filter_map(|name| record.root.get(name)).collect();
    let places = || std::iter::once(record.root).chain(objects.iter().copied());
    let number = |value: &Value<'_>| value.quantity().map(|found| found.value);
    let meant = |meaning: Meaning| places().flat_map(|value| value.all(record.names(meaning))).find_map(number);
    let named = |name: &str| places().filter_map(|value| value.get(name)).find_map(number);
    OldNumbers {
        entry: meant(Meaning::Entry),
        stop: meant(Meaning::Stop),
        target: meant(Meaning::Target),
        size: meant(Meaning::Size),
        volume: named("volume"),
        risk_amount: named("risk_amount"),
        reward_amount: named("reward_amount"),
        risk_reward: meant(Meaning::RiskReward),
        balance: meant(Meaning::Balance),
        risk_percent: [Meaning::Risk, Meaning::RiskOther, Meaning::RiskFraction].into_iter().find_map(meant),
        time_remaining: named("time_remaining"),
    }
}
