//! The shared signal in an old record.
//!
//! A record may state the signal up to three times: at the root, under `enhanced_signal` (mostly prices) and under
//! `signal` (mostly pips). Each object is read for itself; the first that gives full prices counts, else the first that
//! gives pips, and two sets of prices that differ are a refusal, not a choice.

use std::cell::RefCell;
use std::collections::HashMap;

use super::json::{Member, Quantity, Unit, Value};
use super::levels::{Found, Stated, decide};
use super::names;
use super::reason::{Note, Refusal};
use super::recognise::{Quarantine, Source};
use super::rename::{Whose, rename_slips};
use super::user::{User, without_user};
use crate::domain::{
    Decimal, Direction, Instruments, Levels, Object, Round, Signal, SignalDraft, SignalId, Symbol, UnixMillis,
};
use crate::render::write_string;

/// Largest record, in bytes: below what the store takes, with room for the known members.
const RECORD_BYTES_MAX: usize = 48 * 1024;
/// Most signals that a thread remembers: files of one signal lie near each other.
const KNOWN_MAX: usize = 64;
/// Most other members that are kept: below what an object may have.
const MEMBERS_MAX: usize = 224;

/// A signal that was read from one file.
#[derive(Clone, Debug)]
pub struct SignalPart {
    /// The signal as this file has it.
    pub signal: Signal,
    /// Whether the file or the id says when it was made; if not, the time is the file's own.
    pub is_dated: bool,
}

impl SignalPart {
    /// What makes two files speak of the same trade: symbol, direction, levels and confidence, as text.
    #[must_use]
    pub fn core(&self) -> String {
        core_of(&self.signal)
    }
}

/// What makes two signals the same trade, their times aside.
pub(super) fn core_of(signal: &Signal) -> String {
    let show = |number: Option<Decimal>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let levels = match signal.levels {
        Levels::Prices { entry, stop, target } => format!("price {entry} {stop} {}", show(target)),
        Levels::Pips { entry, stop, target } => format!("pips {} {stop} {}", show(entry), show(target)),
    };
    format!("{} {} {levels} {}", signal.symbol, signal.direction.as_str(), show(signal.confidence))
}

/// Whether a record speaks of a trade: a direction or a level, at the root or in an object for the signal.
pub(super) fn has_signal_evidence(root: &Value<'_>) -> bool {
    has_levels(root)
        || objects(root).any(|node| {
            let direction = |name: &&str| node.get(name).and_then(Value::text).and_then(direction_of_text);
            names::DIRECTION.iter().any(|name| direction(name).is_some())
        })
}

/// Whether a record has a level.
pub(super) fn has_levels(root: &Value<'_>) -> bool {
    let lists = [names::STOP, names::STOP_PIPS, names::TARGET, names::FIRST_TARGET];
    objects(root).any(|node| lists.iter().any(|list| list.iter().any(|name| node.get(name).is_some())))
}

/// Reads a direction in the words of any writer.
fn direction_of_text(text: &str) -> Option<Direction> {
    let upper = text.trim().to_ascii_uppercase();
    // How an order gets in is not which way it goes.
    let word = upper.split(['_', ' ', '-']).next().unwrap_or_default();
    let rest = upper.get(word.len() + 1..).unwrap_or_default();
    if !matches!(rest, "" | "LIMIT" | "STOP" | "MARKET" | "NOW" | "STOP_LIMIT" | "STOP LIMIT") {
        return None;
    }
    match word {
        "BUY" | "LONG" | "B" => Some(Direction::Buy),
        "SELL" | "SHORT" | "S" => Some(Direction::Sell),
        _ => None,
    }
}

/// The objects that may state the signal, the one to prefer first.
fn objects<'n, 'a>(root: &'n Value<'a>) -> impl Iterator<Item = &'n Value<'a>> {
    let inner = names::SIGNAL_OBJECTS.iter().filter_map(|name| root.get(name)).filter(|node| node.members().is_some());
    std::iter::once(root).chain(inner)
}

/// Reads the signal of a record.
pub(super) fn signal_of(
    root: &Value<'_>,
    key: Option<&str>,
    user: Option<&User>,
    source: Source<'_>,
    notes: &mut Vec<Note>,
) -> Result<SignalPart, Quarantine> {
    let id = id_of(root, key, user, source, notes)?;
    let (Some(created), Some(expires)) = (created_of(root), expires_of(root)) else {
        return signal_anew(root, &id, source, notes);
    };
    let key = shared_key(root, &id, source);
    let cached = KNOWN.with_borrow(|known| known.get(&key).cloned());
    // Whether an expiry counts depends on the creation, which is each file's own.
    if let Some((mut part, more)) = cached.filter(|(part, _)| part.signal.expires_at == expires && expires > created) {
        part.signal.created_at = created;
        notes.extend(more);
        return Ok(part);
    }
    let mut more = Vec::new();
    let result = signal_anew(root, &id, source, &mut more);
    if let Ok(part) = &result {
        KNOWN.with_borrow_mut(|known| {
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(key, (part.clone(), more.clone()));
        });
    }
    notes.extend(more);
    result
}

/// A signal that was read, and what had to be put right in it.
type Known = (SignalPart, Vec<Note>);

thread_local! {
    /// The signals that were read last, by everything in their files that is shared.
    static KNOWN: RefCell<HashMap<Vec<u8>, Known>> = RefCell::new(HashMap::new());
}

/// Everything that a signal is read from, but for its creation: files of other users of the same signal have the same.
fn shared_key(root: &Value<'_>, id: &SignalId, source: Source<'_>) -> Vec<u8> {
    let mut key = Vec::with_capacity(1_024);
    key.extend_from_slice(&source.context.lifetime_ms.to_ne_bytes());
    key.extend_from_slice(&std::ptr::from_ref(source.context.instruments).addr().to_ne_bytes());
    key.extend_from_slice(id.as_str().as_bytes());
    for Member { name, marks, node } in root.members().unwrap_or_default() {
        if !marks.is_of_one_file() {
            key.push(0);
            key.extend_from_slice(name.as_bytes());
            key.push(0);
            key.extend_from_slice(node.raw().as_bytes());
        }
    }
    key
}

fn signal_anew(
    root: &Value<'_>,
    id: &SignalId,
    source: Source<'_>,
    notes: &mut Vec<Note>,
) -> Result<SignalPart, Quarantine> {
    let symbol = symbol_of(root, id, source.context.instruments, notes)?;
    let direction = direction_of(root, notes)?;
    let instrument = source.context.instruments.get(&symbol);
    let stated_at = created_of(root).or_else(|| moment_in_id(id.as_str())).or_else(|| expires_of(root));
    let found = levels_of(root, |stated| decide(stated, direction, &symbol, instrument, stated_at))?;
    notes.extend(found.note);
    if has_several_targets(root) {
        notes.push(Note::SeveralTargets);
    }
    let confidence = confidence_of(root, notes);
    let created = created_of(root).or_else(|| {
        let moment = moment_in_id(id.as_str())?;
        notes.push(Note::TimeFromId);
        Some(moment)
    });
    let expires = expires_of(root);
    let created = created.or_else(|| {
        // What is over at its expiry was made a lifetime before; the file's own time may be that of a copy.
        let expires = expires?;
        notes.push(Note::TimeFromExpiry);
        Some(expires.plus_millis(-source.context.lifetime_ms))
    });
    if created.is_none() {
        notes.push(Note::TimeFromFile);
    }

    let mut known = Vec::with_capacity(48);
    let mut put = |name: &str, value: String| known.push((name.to_owned(), value));
    put("signal_id", json_text(id.as_str()));
    put("symbol", json_text(symbol.as_str()));
    put("direction", json_text(direction.as_str()));
    let (entry, stop, target, names_of_levels) = match found.levels {
        Levels::Prices { entry, stop, target } => (Some(entry), stop, target, ["stop_loss", "take_profit"]),
        Levels::Pips { entry, stop, target } => (entry, stop, target, ["stop_pips", "target_pips"]),
    };
    let [stop_name, target_name] = names_of_levels;
    put(stop_name, stop.to_string());
    for (name, number) in [("entry_price", entry), (target_name, target), ("confidence", confidence)] {
        if let Some(number) = number {
            put(name, number.to_string());
        }
    }
    if let Some(pattern) = pattern_of(root) {
        put("pattern_type", json_text(&pattern));
    }
    put("created_at", json_text(&created.unwrap_or(source.modified).to_string()));
    let is_priced = matches!(found.levels, Levels::Prices { .. });
    let mut extra = extra_members(root, is_priced, &known);
    if notes.contains(&Note::ConfidenceUnclear)
        && let Some(stated) = objects(root).find_map(|node| names::CONFIDENCE.iter().find_map(|name| node.get(name)))
    {
        extra.push(("legacy_confidence".to_owned(), stated.json()));
    }
    if is_priced && target.is_none() {
        // A price beside a distance is no pair of levels; the distance is kept, but not as one.
        for (name, _) in extra.iter_mut().filter(|(name, _)| name == "target_pips") {
            "legacy_target_pips".clone_into(name);
            notes.push(Note::MemberRenamed);
        }
    }
    let bytes: usize = extra.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > RECORD_BYTES_MAX || extra.len() > MEMBERS_MAX {
        return Err(Quarantine::new(Refusal::RecordTooLarge, format!("{} members, {bytes} bytes", extra.len())));
    }
    if let Some(expires) = expires.filter(|expires| Some(*expires) > created) {
        known.push(("expires_at".to_owned(), json_text(&expires.to_string())));
    } else if expires.is_some() {
        notes.push(Note::ExpiryNotAfterCreation);
    } else if let Some(stated) = stated_expiries(root).next() {
        notes.push(Note::ExpiryUnclear);
        extra.push(("legacy_expires_at".to_owned(), stated.json()));
    }
    rename_slips(Whose::Signal, &mut extra, notes);
    // The other members join afterwards: they are judged already, and there are many.
    let mut signal = SignalDraft::from_object(Object::from_members(known), None)
        .and_then(|draft| draft.resolve(source.modified, source.context.lifetime_ms))
        .map_err(|error| Quarantine::new(Refusal::InvalidSignal, error.to_string()))?;
    signal.members = Object::from_members(extra);
    Ok(SignalPart { signal, is_dated: created.is_some() })
}

/// A JSON string.
pub(super) fn json_text(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

fn id_in(node: &Value<'_>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| node.get(name)?.id_text().filter(|id| !id.is_empty()).map(str::to_owned))
}

/// The signal's own id, where the body has one.
pub(super) fn signal_id_of(root: &Value<'_>) -> Option<String> {
    let mut inner = names::SIGNAL_OBJECTS.iter().filter_map(|name| root.get(name));
    id_in(root, names::SIGNAL_ID)
        .or_else(|| inner.find_map(|node| id_in(node, names::SIGNAL_ID).or_else(|| id_in(node, &["id"]))))
}

/// Finds the signal's id: in the body, else in the mission's id, else in the key or the file's name.
fn id_of(
    root: &Value<'_>,
    key: Option<&str>,
    user: Option<&User>,
    source: Source<'_>,
    notes: &mut Vec<Note>,
) -> Result<SignalId, Quarantine> {
    let own = signal_id_of(root)
        .or_else(|| id_in(root, &["mission_id"]).map(|id| without_user(&id, user)))
        .or_else(|| id_in(root, &["id"]));
    let text = own.or_else(|| {
        notes.push(Note::IdFromName);
        let stem = source.path.file_stem().and_then(|stem| stem.to_str());
        key.or(stem).map(|name| without_user(name, user))
    });
    let text = text.filter(|text| !text.is_empty()).ok_or(Refusal::NoSignalId)?;
    // The prefix belongs to the file's name, not to the id.
    let text = text.strip_prefix("mission_").unwrap_or(&text);
    SignalId::parse(text).map_err(|error| Quarantine::new(Refusal::InvalidId, error.to_string()))
}

/// Finds what is traded: in the body, else in the id if that names exactly one instrument.
fn symbol_of(
    root: &Value<'_>,
    id: &SignalId,
    instruments: &Instruments,
    notes: &mut Vec<Note>,
) -> Result<Symbol, Quarantine> {
    let mut found: Option<Symbol> = None;
    for list in [names::SYMBOL, names::SYMBOL_ELSE] {
        let texts = objects(root).flat_map(|node| list.iter().filter_map(|name| node.get(name)?.text()));
        for text in texts.filter(|text| !text.trim().is_empty()) {
            let (symbol, is_spelled) = symbol_of_text(text, instruments)?;
            if is_spelled {
                notes.push(Note::SymbolSpelling);
            }
            match &found {
                Some(known) if *known != symbol => {
                    return Err(Quarantine::new(Refusal::SymbolConflict, format!("{known} and {symbol}")));
                }
                _ => found = Some(symbol),
            }
        }
        if let Some(found) = found {
            return Ok(found);
        }
    }
    let in_table = |part: &str| Symbol::parse(part).ok().filter(|symbol| instruments.get(symbol).is_some());
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

/// Reads a symbol with what brokers and charts put around it: `EUR/USD`, `EUR_USD`, `OANDA:EURUSD`, `EURUSD.r`, `XAUUSDm`.
///
/// What is put around goes only where a known instrument is left: `BTCUSDT` is not `BTCUSD`.
fn symbol_of_text(text: &str, instruments: &Instruments) -> Result<(Symbol, bool), Quarantine> {
    let plain = text.trim().replace(['/', ' '], "");
    let whole = Symbol::parse(&plain);
    if let Ok(symbol) = &whole
        && instruments.get(symbol).is_some()
    {
        return Ok((symbol.clone(), false));
    }
    let venue_off = plain.rsplit_once(':').map_or(plain.as_str(), |(_, symbol)| symbol).trim_start_matches('#');
    let joined = venue_off.replace(['_', '-'], "");
    let base = venue_off.split(['.', '#', '+', '!']).next().unwrap_or_default();
    let first = base.split(['_', '-']).next().unwrap_or_default();
    // A suffix in lower case tells only behind a symbol in upper case.
    let upper = base.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
    let spelled = [venue_off, &joined, base, &base.replace(['_', '-'], ""), upper, first]
        .into_iter()
        .filter_map(|text| Symbol::parse(text).ok())
        .find(|symbol| instruments.get(symbol).is_some());
    if let Some(symbol) = spelled {
        return Ok((symbol, true));
    }
    let whole = whole.map_err(|error| Quarantine::new(Refusal::NoSymbol, error.to_string()))?;
    Ok((whole, false))
}

fn direction_of(root: &Value<'_>, notes: &mut Vec<Note>) -> Result<Direction, Quarantine> {
    let mut found: Option<Direction> = None;
    for node in objects(root) {
        for (index, name) in names::DIRECTION.iter().enumerate() {
            let Some(text) = node.get(name).and_then(Value::text) else { continue };
            let Some(direction) = direction_of_text(text) else { continue };
            if index > 0 || text != direction.as_str() {
                notes.push(Note::DirectionSpelling);
            }
            if found.is_some_and(|known| known != direction) {
                return Err(Quarantine::new(Refusal::DirectionConflict, format!("{name} says {text}")));
            }
            found = Some(direction);
        }
    }
    found.ok_or_else(|| Refusal::NoDirection.into())
}

/// Reads each object's levels and takes the fullest.
fn levels_of(root: &Value<'_>, decide: impl Fn(Stated) -> Result<Found, Refusal>) -> Result<Found, Quarantine> {
    let places = objects(root).chain(root.get("mission"));
    let all: Vec<Stated> = places.map(stated).collect::<Result<_, _>>()?;
    // Pips that another object states prove what a price means.
    let stop_pips = all.iter().find_map(|stated| stated.stop_pips);
    let target_pips = all.iter().find_map(|stated| stated.target_pips);
    let entry = all.iter().find_map(|stated| stated.entry);
    let risk_reward = all.iter().find_map(|stated| stated.risk_reward);
    let mut best: Option<Result<Found, Refusal>> = None;
    for stated in all {
        let is_distance_only = stated.stop.is_none() && stated.stop_pips.is_none();
        if is_distance_only && stated.target.is_none() {
            continue;
        }
        let whole = Stated {
            entry: stated.entry.or(entry),
            stop_pips: stated.stop_pips.or(stop_pips),
            target_pips: stated.target_pips.or(target_pips),
            risk_reward: stated.risk_reward.or(risk_reward),
            ..stated
        };
        let found = decide(whole);
        best = Some(match (best, found) {
            (None | Some(Err(Refusal::NoStop | Refusal::NoLevels)), found) => found,
            (Some(Ok(old)), Ok(new)) => {
                let is_priced = |found: &Found| matches!(found.levels, Levels::Prices { .. });
                if is_priced(&old) && is_priced(&new) && old.levels != new.levels {
                    return Err(Refusal::LevelsConflict.into());
                }
                Ok(if is_priced(&new) && !is_priced(&old) { new } else { old })
            }
            // A stated level that makes no sense is not passed over for another.
            (Some(Err(old)), _) => Err(old),
            (Some(Ok(old)), Err(Refusal::NoStop | Refusal::NoLevels)) => Ok(old),
            (Some(Ok(_)), Err(new)) => Err(new),
        });
    }
    Ok(best.unwrap_or(Err(if entry.is_some() { Refusal::NoStop } else { Refusal::NoLevels }))?)
}

/// Reads what one object says of the levels; two numbers for one level are a refusal.
fn stated(node: &Value<'_>) -> Result<Stated, Quarantine> {
    let level = |node: &Value<'_>| match node.members() {
        Some(_) => names::LEVEL_PRICE.iter().find_map(|name| node.get(name)?.quantity()),
        None => node.quantity(),
    };
    let only = |names: &[&str]| -> Result<Option<Quantity>, Quarantine> {
        let mut found: Option<(&str, Quantity)> = None;
        for name in names {
            let Some(next) = node.get(name).and_then(level) else { continue };
            match found {
                Some((first, known)) if known.value != next.value && known.value.is_positive() => {
                    if next.value.is_positive() {
                        let detail = format!("{first} is {} and {name} is {}", known.value, next.value);
                        return Err(Quarantine::new(Refusal::LevelsConflict, detail));
                    }
                }
                _ => found = Some((name, next)),
            }
        }
        Ok(found.map(|(_, found)| found))
    };
    let inside = |names: &[&str]| names.iter().find_map(|name| node.get(name)?.get("pips")?.quantity());
    let pips = |names: &[&str], of: &[&str]| -> Result<Option<Decimal>, Quarantine> {
        Ok(only(names)?.or_else(|| inside(of)).map(|found| found.value))
    };
    let several = || names::TARGETS.iter().find_map(|name| node.get(name)?.items()?.first().and_then(level));
    let target = match only(names::TARGET)? {
        None => only(names::FIRST_TARGET)?.or_else(several),
        found => found,
    };
    Ok(Stated {
        entry: only(names::ENTRY)?,
        stop: only(names::STOP)?,
        target,
        stop_pips: pips(names::STOP_PIPS, names::STOP)?,
        target_pips: pips(names::TARGET_PIPS, names::TARGET)?,
        risk_reward: names::RISK_REWARD.iter().find_map(|name| node.get(name)?.quantity()).map(|found| found.value),
    })
}

/// Whether there are more targets than the one that counts.
fn has_several_targets(root: &Value<'_>) -> bool {
    objects(root).any(|node| {
        let has = |list: &[&str]| list.iter().any(|name| node.get(name).is_some());
        has(names::FIRST_TARGET)
            || names::TARGETS.iter().any(|name| node.get(name).and_then(Value::items).is_some_and(|all| all.len() > 1))
    })
}

/// Reads the confidence in percent; a fraction of one counts only where no percentage stands beside it.
fn confidence_of(root: &Value<'_>, notes: &mut Vec<Note>) -> Option<Decimal> {
    let stated = || objects(root).flat_map(|node| names::CONFIDENCE.iter().filter_map(|name| node.get(name)));
    let mut fraction = None;
    let mut is_unclear = false;
    for found in stated() {
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

fn pattern_of(root: &Value<'_>) -> Option<String> {
    let is_said = |text: &&str| !text.is_empty() && text.len() <= 128;
    objects(root)
        .find_map(|node| names::PATTERN.iter().find_map(|name| node.get(name)?.text().filter(is_said)))
        .map(str::to_owned)
}

/// The earliest time that the record gives for the signal.
fn created_of(root: &Value<'_>) -> Option<UnixMillis> {
    let places = objects(root).chain(root.get("timing"));
    places.flat_map(|node| names::CREATED.iter().filter_map(|name| node.get(name)?.moment())).min()
}

fn expires_of(root: &Value<'_>) -> Option<UnixMillis> {
    stated_expiries(root).find_map(Value::moment)
}

/// What a record says of its expiry, in whatever words, the first to count first.
fn stated_expiries<'n, 'a>(root: &'n Value<'a>) -> impl Iterator<Item = &'n Value<'a>> {
    let places = std::iter::once(root).chain(root.get("timing")).chain(objects(root).skip(1));
    places.flat_map(|node| names::EXPIRES.iter().filter_map(|name| node.get(name)))
}

/// Reads Unix seconds from the end of an id: `ELITE_GUARD_EURUSD_1754828514`.
fn moment_in_id(id: &str) -> Option<UnixMillis> {
    let digits = id.rsplit('_').find(|part| part.len() == 10 && part.bytes().all(|byte| byte.is_ascii_digit()))?;
    let seconds = digits.parse::<i64>().ok().filter(|seconds| (1_400_000_000..2_000_000_000).contains(seconds))?;
    Some(UnixMillis::new(seconds * 1_000))
}

/// Everything shared that no computation reads: kept with the signal.
fn extra_members(root: &Value<'_>, is_priced: bool, known: &[(String, String)]) -> Vec<(String, String)> {
    let mut extra: Vec<(String, String)> = Vec::with_capacity(16);
    for node in objects(root) {
        for Member { name, marks, node: value } in node.members().unwrap_or_default() {
            let is_nested_signal = names::SIGNAL_OBJECTS.contains(&&**name) && value.members().is_some();
            let is_pips = || [names::STOP_PIPS, names::TARGET_PIPS].iter().any(|list| list.contains(&&**name));
            let is_direction = || {
                names::DIRECTION.contains(&&**name)
                    && value.text().is_some_and(|text| direction_of_text(text).is_some())
            };
            let is_taken = marks.is_taken_for_signal() || (!is_priced && is_pips()) || is_direction();
            let is_there = || known.iter().chain(&extra).any(|(taken, _)| taken == name);
            // One too many is as bad as thousands, and each is compared with all before it.
            let is_full = extra.len() > MEMBERS_MAX;
            if value.is_null() || is_nested_signal || is_taken || is_full || is_there() {
                continue;
            }
            let json = if value.members().is_some() { shared_json(value) } else { value.json() };
            extra.push((name.clone().into_owned(), json));
        }
    }
    extra
}

/// An object without the computed members and those of the user.
fn shared_json(node: &Value<'_>) -> String {
    let mut out = String::from("{");
    for Member { name, marks, node: value } in node.members().unwrap_or_default() {
        if marks.is_of_user() || marks.is_computed() || names::EVENT.contains(&&**name) {
            continue;
        }
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&json_text(name));
        out.push(':');
        out.push_str(&value.json());
    }
    out.push('}');
    out
}
