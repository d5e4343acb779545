//! The shared signal in an old record.
//!
//! A record may state the signal up to three times: at the root, under `enhanced_signal` (mostly prices) and under
//! `signal` (mostly pips). Each object is read for itself; the first that gives full prices counts, else the first that
//! gives pips, and two sets of prices that differ are a refusal, not a choice.

use std::borrow::Cow;

use super::json::{Member, Value, json_text};
use super::levels::{StatedLevels, decide_levels};
use super::members::Members;
use super::names::{Meaning, NameId, Names};
use super::part::{Quarantine, SignalPart};
use super::reason::{Note, Refusal};
use super::record::Record;
use super::scalar::{Quantity, Unit, plain_id};
use super::user::{User, id_in_name, without_user};
use crate::domain::{Decimal, Direction, Levels, Object, Round, Signal, SignalId, Symbol, UnixMillis};

/// Whether a record speaks of a trade: a direction or a level, at the root or in an object for the signal.
pub(super) fn has_signal(record: Record<'_>) -> bool {
    has_levels(record) || directions(record).next().is_some()
}

/// Whether a record has a level.
pub(super) fn has_levels(record: Record<'_>) -> bool {
    let lists = [Meaning::Stop, Meaning::StopPips, Meaning::Target];
    record.signal_objects().any(|value| lists.iter().any(|list| value.has_any(record.names(*list))))
}

/// Reads the signal of a record.
pub(super) fn signal_of(
    record: Record<'_>,
    user: Option<&User>,
    notes: &mut Vec<Note>,
) -> Result<SignalPart, Quarantine> {
    refuse_non_numbers(record)?;
    let id = id_of(record, user, notes)?;
    let symbol = symbol_of(record, &id, notes)?;
    let direction = direction_of(record, notes)?;
    let levels = levels_of(record, direction, &symbol, notes)?;

    let confidence = confidence_of(record, notes);
    if let Some(confidence) = confidence.filter(|confidence| *confidence > Decimal::HUNDRED) {
        return Err(Quarantine::new(Refusal::InvalidSignal, format!("confidence is {confidence}, above 100")));
    }
    let stated = created_of(record, &id, notes);
    let created_at = stated.unwrap_or(record.modified);
    let end = expiries(record).find_map(Value::moment);
    if end.is_some_and(|end| Some(end) <= stated) {
        notes.push(Note::ExpiryNotAfterCreation);
    }
    let mut others = other_members(record, &levels, notes);
    if notes.contains(&Note::ConfidenceUnclear)
        && let Some(stated) = confidences(record).next()
    {
        others.put("legacy_confidence", stated.json());
    }
    if end.is_none()
        && let Some(stated) = expiries(record).next()
    {
        notes.push(Note::ExpiryUnclear);
        others.put("legacy_expires_at", stated.json());
    }
    let signal = Signal {
        id,
        symbol,
        direction,
        levels,
        take_profits: Vec::new(),
        pattern_type: pattern_of(record).map(str::to_owned),
        confidence,
        status: None,
        created_at,
        expires_at: end
            .filter(|end| *end > created_at)
            .unwrap_or_else(|| created_at.plus_millis(record.context.lifetime_ms)),
        members: Object::from_members(others.into_list()?),
    };
    Ok(SignalPart { signal, is_dated: stated.is_some() })
}

/// The signal's own id, where the body has one.
pub(super) fn stated_id(record: Record<'_>) -> Option<String> {
    let own = |value: &Value<'_>| value.all(record.names(Meaning::SignalId)).find_map(id_text);
    let in_object = |value: &Value<'_>| own(value).or_else(|| value.get("id").and_then(id_text));
    own(record.root).or_else(|| record.objects(Meaning::SignalObjects).find_map(in_object))
}

fn id_text(value: &Value<'_>) -> Option<String> {
    value.id().filter(|id| !id.is_empty()).map(Cow::into_owned)
}

/// Finds the signal's id: in the body, else in the mission's id, else in the key or the file's name.
fn id_of(record: Record<'_>, user: Option<&User>, notes: &mut Vec<Note>) -> Result<SignalId, Quarantine> {
    let root = |name: &str| record.root.get(name).and_then(id_text);
    let own = stated_id(record).or_else(|| Some(without_user(&root("mission_id")?, user))).or_else(|| root("id"));
    let text = own.or_else(|| {
        notes.push(Note::IdFromName);
        let name = record.key.map(Cow::Borrowed).or_else(|| id_in_name(record.path));
        name.map(|name| without_user(&name, user))
    });
    let text = text.filter(|text| !text.is_empty()).ok_or(Refusal::NoSignalId)?;
    // The prefix belongs to the file's name, not to the id.
    let text = plain_id(text.strip_prefix("mission_").unwrap_or(&text));
    SignalId::parse(&text).map_err(|error| Quarantine::new(Refusal::InvalidId, error.to_string()))
}

/// Finds the symbol: in the body, else in the id if that names exactly one instrument.
fn symbol_of(record: Record<'_>, id: &SignalId, notes: &mut Vec<Note>) -> Result<Symbol, Quarantine> {
    for list in [Meaning::Symbol, Meaning::SymbolOther] {
        let mut found: Option<Symbol> = None;
        let names = record.names(list);
        let texts = record.signal_objects().flat_map(|value| value.all(names)).filter_map(Value::text).map(str::trim);
        for text in texts.filter(|text| !text.is_empty()) {
            let symbol = Symbol::parse(text).map_err(|error| Quarantine::new(Refusal::NoSymbol, error.to_string()))?;
            if let Some(known) = found.filter(|known| *known != symbol) {
                return Err(Quarantine::new(Refusal::SymbolConflict, format!("{known} and {symbol}")));
            }
            found = Some(symbol);
        }
        if let Some(found) = found {
            return Ok(found);
        }
    }
    let instruments = record.context.instruments;
    // By its own symbol alone: an id may have another meaning for what is an alias, as tiers are called GOLD.
    let in_table = |part: &str| {
        let is_own = |symbol: &Symbol| instruments.find(symbol).is_some_and(|found| found.symbol == symbol);
        Symbol::parse(part).ok().filter(is_own)
    };
    let mut named: Vec<Symbol> = id.as_str().split('_').filter_map(in_table).collect();
    named.dedup();
    match (named.pop(), named.is_empty()) {
        (Some(symbol), true) => {
            notes.push(Note::SymbolFromId);
            Ok(symbol)
        }
        _ => Err(Refusal::NoSymbol.into()),
    }
}

/// What a record says of its direction: name, text and meaning.
fn directions(record: Record<'_>) -> impl Iterator<Item = (&'_ str, &'_ str, Direction)> {
    let names = record.names(Meaning::Direction);
    record.signal_objects().flat_map(move |value| {
        names.iter().filter_map(move |id| {
            let text = value.find(*id)?.text()?;
            Some((record.context.names.spelling(*id), text, Direction::parse(text.trim()).ok()?))
        })
    })
}

fn direction_of(record: Record<'_>, notes: &mut Vec<Note>) -> Result<Direction, Quarantine> {
    let mut found: Option<Direction> = None;
    for (name, text, direction) in directions(record) {
        if name != "direction" || text != direction.as_str() {
            notes.push(Note::DirectionSpelling);
        }
        if found.is_some_and(|known| known != direction) {
            return Err(Quarantine::new(Refusal::DirectionConflict, format!("{name} says {text}")));
        }
        found = Some(direction);
    }
    found.ok_or_else(|| Refusal::NoDirection.into())
}

/// Where levels may stand.
fn level_objects(record: Record<'_>) -> impl Iterator<Item = &'_ Value<'_>> {
    record.signal_objects().chain(record.root.get("mission"))
}

/// Refuses a level that is no number: a signal without it would be another signal.
fn refuse_non_numbers(record: Record<'_>) -> Result<(), Quarantine> {
    let levels = [Meaning::Entry, Meaning::Stop, Meaning::Target, Meaning::StopPips, Meaning::TargetPips];
    for id in levels.iter().flat_map(|level| record.names(*level)) {
        if level_objects(record).any(|value| value.find(*id).is_some_and(Value::is_non_number)) {
            return Err(Quarantine::new(Refusal::NotANumber, record.context.names.spelling(*id)));
        }
    }
    Ok(())
}

/// Reads each object's levels and takes the fullest.
fn levels_of(
    record: Record<'_>,
    direction: Direction,
    symbol: &Symbol,
    notes: &mut Vec<Note>,
) -> Result<Levels, Quarantine> {
    let all: Vec<StatedLevels> =
        level_objects(record).map(|value| stated_levels(value, record)).collect::<Result<_, _>>()?;
    // Pips that another object states prove what a price means.
    let stop_pips = all.iter().find_map(|stated| stated.stop_pips);
    let target_pips = all.iter().find_map(|stated| stated.target_pips);
    let entry = all.iter().find_map(|stated| stated.entry);
    let risk_reward = all.iter().find_map(|stated| stated.risk_reward);
    let is_priced = |(levels, _): &(Levels, Option<Note>)| matches!(levels, Levels::Prices { .. });
    let mut best: Option<(Levels, Option<Note>)> = None;
    let mut missing = if entry.is_some() { Refusal::NoStop } else { Refusal::NoLevels };
    for stated in all {
        if stated.stop.is_none() && stated.stop_pips.is_none() && stated.target.is_none() {
            continue;
        }
        let whole = StatedLevels {
            entry: stated.entry.or(entry),
            stop_pips: stated.stop_pips.or(stop_pips),
            target_pips: stated.target_pips.or(target_pips),
            risk_reward: stated.risk_reward.or(risk_reward),
            ..stated
        };
        let found = record.context.instruments.find(symbol);
        let (symbol, instrument) = (found.map_or(symbol, |found| found.symbol), found.map(|found| found.instrument));
        match decide_levels(whole, direction, symbol, instrument) {
            Err(refusal @ (Refusal::NoStop | Refusal::NoLevels)) => missing = refusal,
            // A level that makes no sense is not ignored because another object has a better one.
            Err(refusal) => return Err(refusal.into()),
            Ok(new) => match &best {
                Some(old) if is_priced(old) && is_priced(&new) && old.0 != new.0 => {
                    return Err(Refusal::LevelsConflict.into());
                }
                Some(old) if is_priced(old) || !is_priced(&new) => {}
                _ => best = Some(new),
            },
        }
    }
    let (levels, note) = best.ok_or(missing)?;
    notes.extend(note);
    Ok(levels)
}

/// Reads what one object says of the levels; two numbers for one level are a refusal.
fn stated_levels(value: &Value<'_>, record: Record<'_>) -> Result<StatedLevels, Quarantine> {
    let only = |meaning: Meaning| -> Result<Option<Quantity>, Quarantine> {
        let mut found: Option<(NameId, Quantity)> = None;
        for id in record.names(meaning) {
            let Some(next) = value.find(*id).and_then(Value::quantity) else { continue };
            match found {
                Some((first, known)) if known.value != next.value && known.value.is_positive() => {
                    if next.value.is_positive() {
                        let [first, name] = [first, *id].map(|id| record.context.names.spelling(id));
                        let detail = format!("{first} is {} and {name} is {}", known.value, next.value);
                        return Err(Quarantine::new(Refusal::LevelsConflict, detail));
                    }
                }
                _ => found = Some((*id, next)),
            }
        }
        Ok(found.map(|(_, found)| found))
    };
    Ok(StatedLevels {
        entry: only(Meaning::Entry)?,
        stop: only(Meaning::Stop)?,
        target: only(Meaning::Target)?,
        stop_pips: only(Meaning::StopPips)?.map(|found| found.value),
        target_pips: only(Meaning::TargetPips)?.map(|found| found.value),
        risk_reward: value.all(record.names(Meaning::RiskReward)).find_map(Value::quantity).map(|found| found.value),
    })
}

/// What a record says of its confidence, the first to count first.
fn confidences(record: Record<'_>) -> impl Iterator<Item = &'_ Value<'_>> {
    record.signal_objects().flat_map(move |value| value.all(record.names(Meaning::Confidence)))
}

/// Reads the confidence in percent; a fraction of one counts only where no percentage stands beside it.
fn confidence_of(record: Record<'_>, notes: &mut Vec<Note>) -> Option<Decimal> {
    let mut fraction = None;
    let mut is_unclear = false;
    for found in confidences(record) {
        match found.quantity().filter(|found| found.value >= Decimal::ZERO) {
            Some(found) if found.unit == Unit::Percent || found.value > Decimal::ONE || found.value.is_zero() => {
                return Some(found.value);
            }
            Some(found) if found.unit == Unit::None && found.value < Decimal::ONE => {
                fraction = fraction.or(Some(found.value));
            }
            _ => is_unclear = true,
        }
    }
    let percent = fraction.and_then(|fraction| fraction.checked_mul(Decimal::HUNDRED, Round::HalfEven));
    if percent.is_some() {
        notes.push(Note::ConfidenceFraction);
    } else if is_unclear {
        notes.push(Note::ConfidenceUnclear);
    }
    percent
}

fn pattern_of(record: Record<'_>) -> Option<&'_ str> {
    let mut texts = record.signal_objects().flat_map(|value| value.all(record.names(Meaning::Pattern)));
    texts.find_map(|value| value.text().filter(|text| !text.is_empty() && text.len() <= 128))
}

/// Finds when the signal was made: the earliest time that the record gives, else that in the id, else a lifetime before
/// the expiry; `None` if only the file's own time is left.
fn created_of(record: Record<'_>, id: &SignalId, notes: &mut Vec<Note>) -> Option<UnixMillis> {
    let places = record.signal_objects().chain(record.root.get("timing"));
    let stated = places.flat_map(|value| value.all(record.names(Meaning::Created)).filter_map(Value::moment)).min();
    if stated.is_some() {
        return stated;
    }
    let in_id = moment_in_id(id.as_str());
    // The file's own time may be that of a copy.
    let before_expiry = || Some(expiries(record).find_map(Value::moment)?.plus_millis(-record.context.lifetime_ms));
    let created = in_id.or_else(before_expiry);
    notes.push(match (in_id, created) {
        (Some(_), _) => Note::TimeFromId,
        (None, Some(_)) => Note::TimeFromExpiry,
        (None, None) => Note::TimeFromFile,
    });
    created
}

/// The members that may be the expiry of a record, the first to count first.
fn expiries(record: Record<'_>) -> impl Iterator<Item = &'_ Value<'_>> {
    let objects = record.objects(Meaning::SignalObjects);
    let places = std::iter::once(record.root).chain(record.root.get("timing")).chain(objects);
    places.flat_map(move |value| value.all(record.names(Meaning::Expires)))
}

/// Reads Unix seconds from the end of an id: `ELITE_GUARD_EURUSD_1754828514`.
fn moment_in_id(id: &str) -> Option<UnixMillis> {
    let digits = id.rsplit('_').find(|part| part.len() == 10 && part.bytes().all(|byte| byte.is_ascii_digit()))?;
    let seconds = digits.parse::<i64>().ok().filter(|seconds| (1_400_000_000..2_000_000_000).contains(seconds))?;
    Some(UnixMillis::new(seconds * 1_000))
}

/// Everything shared that no computation reads: kept with the signal.
fn other_members(record: Record<'_>, levels: &Levels, notes: &mut Vec<Note>) -> Members {
    let names = record.context.names;
    let is_pips = |id| names.has(Meaning::StopPips, id) || names.has(Meaning::TargetPips, id);
    let (is_priced, has_target) = match levels {
        Levels::Prices { target, .. } => (true, target.is_some()),
        Levels::Pips { target, .. } => (false, target.is_some()),
    };
    let mut others = Members::default();
    for Member { name, id, value, .. } in record.signal_objects().flat_map(Value::members) {
        let is_nested_signal = value.is_object() && names.has(Meaning::SignalObjects, *id);
        let is_direction = || {
            names.has(Meaning::Direction, *id) && value.text().is_some_and(|text| Direction::parse(text.trim()).is_ok())
        };
        let is_taken = !names.is_kept_in_signal(name, *id) || (!is_priced && is_pips(*id)) || is_direction();
        if value.is_null() || is_nested_signal || is_taken {
            continue;
        }
        // A price beside a distance is no pair of levels; the distance is kept, but not as one. No list of targets is
        // read: its numbers may be prices or pips.
        let renamed = match &**name {
            "target_pips" if is_priced && !has_target => Some("legacy_target_pips"),
            "take_profits" => Some("legacy_take_profits"),
            _ => None,
        };
        if renamed.is_some() {
            notes.push(Note::MemberRenamed);
        }
        let name = renamed.unwrap_or(name);
        others.put(name, if value.is_object() { shared_json(value, names) } else { value.json() });
    }
    others
}

/// An object without the computed members and those of the user.
fn shared_json(value: &Value<'_>, names: &Names) -> String {
    let is_shared = |member: &&Member<'_>| {
        let own = [Meaning::Size, Meaning::Computed, Meaning::Event];
        !names.is_of_user(&member.name, member.id) && !own.iter().any(|meaning| names.has(*meaning, member.id))
    };
    let members = value.members().iter().filter(is_shared);
    let members: Vec<_> =
        members.map(|member| format!("{}:{}", json_text(&member.name), member.value.json())).collect();
    format!("{{{}}}", members.join(","))
}
