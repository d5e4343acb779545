//! One old file: from its bytes to a signal, a user's facts and an outcome, or to the reason why not.
//!
//! This is the front door: it refuses what is no JSON object, finds out whether a file is one record or a map of them,
//! and hands each record to `signal` and `user`. It reads no file and no clock, so that
//! every rule is a table of values.

use std::path::Path;

use super::json::{JsonError, Member, Value};
use super::names;
use super::reason::{Note, Refusal};
use super::signal::{SignalPart, has_levels, has_signal_evidence, signal_id_of, signal_of};
use super::user::{
    OutcomePart, OverlayPart, User, has_overlay_facts, other_user, outcome_of, overlay_of, user_of, user_of_name,
};
use crate::domain::{Decimal, Instruments, UnixMillis};

/// Largest file that is read: a mission has at most three kilobytes, a registry some fifteen.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What files are read with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Pips and digits, by which prices and pip distances are told apart.
    pub instruments: &'a Instruments,
    /// How long a signal lives that does not say, in milliseconds.
    pub lifetime_ms: i64,
    /// Whether the numbers of the old computation are gathered too, for a comparison.
    pub has_claims: bool,
}

/// Why nothing was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// The reason that counts.
    pub refusal: Refusal,
    /// What was missing or wrong, in words; may be empty.
    pub detail: String,
}

impl Quarantine {
    /// Makes a reason with its detail.
    pub fn new(refusal: Refusal, detail: impl Into<String>) -> Self {
        Self { refusal, detail: detail.into() }
    }
}

impl From<Refusal> for Quarantine {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal, "")
    }
}

/// What one record of a file holds.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The shared signal.
    pub signal: Option<SignalPart>,
    /// Facts about a user at a moment.
    pub overlay: Option<OverlayPart>,
    /// What happened for a user on the signal.
    pub outcome: Option<OutcomePart>,
    /// Why the record's signal was not taken, although there is one.
    pub refused: Option<Quarantine>,
    /// What had to be decided or put right.
    pub notes: Vec<Note>,
    /// The numbers that the old computation wrote down.
    pub claims: Claims,
}

impl Part {
    /// The moment that the record speaks of, where it says so.
    #[must_use]
    pub fn moment(&self) -> Option<UnixMillis> {
        let made = self.signal.as_ref().map(|part| part.signal.created_at);
        made.or_else(|| self.overlay.as_ref().and_then(|part| part.at))
    }
}

/// Numbers of an old file that the new computation is compared with; never imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Price to get in at.
    pub entry: Option<Decimal>,
    /// What the stop's field says.
    pub stop: Option<Decimal>,
    /// What the target's field says.
    pub target: Option<Decimal>,
    /// Size in lots, computed for the user.
    pub size: Option<Decimal>,
    /// Size in lots that the engine put into every copy alike.
    pub volume: Option<Decimal>,
    /// What was to be lost at the stop.
    pub risk_amount: Option<Decimal>,
    /// What was to be gained at the target.
    pub reward_amount: Option<Decimal>,
    /// Distance to the target by distance to the stop.
    pub risk_reward: Option<Decimal>,
    /// Balance, risk and win rate as the file has them.
    pub balance: Option<Decimal>,
    /// Risk in percent.
    pub risk_percent: Option<Decimal>,
    /// Seconds that were left when it was written.
    pub time_remaining: Option<Decimal>,
}

/// Reads one file.
///
/// - `path`: within the tree; its names are used where the body has no id.
/// - `modified`: the file's own time, used only for a signal that names no time at all.
///
/// # Errors
///
/// [`Quarantine`] if nothing could be taken from it.
pub fn recognise(
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
    let root = Value::parse(text).map_err(|error| explain(error, text))?;
    if root.items().is_some() {
        return Err(Refusal::Array.into());
    }
    let Some(members) = root.members() else { return Err(Refusal::NoObject.into()) };
    if members.is_empty() {
        return Err(Refusal::EmptyObject.into());
    }
    let source = Source { path, modified, context };
    let is_notice = root.get("type").and_then(Value::text).is_some() && root.get("data").is_some();
    let bare = unwrapped(&root);
    let (root, is_wrapped) = bare.map_or((root, false), |bare| (bare, true));
    if is_notice && !has_levels(&root) {
        return Err(Refusal::Notification.into());
    }
    if has_signal_evidence(&root) {
        let mut part = mission(&root, None, source)?;
        if is_wrapped {
            part.notes.push(Note::Unwrapped);
        }
        let mut parts = vec![part];
        for people in names::PEOPLE.iter().filter_map(|name| root.get(name)) {
            if people.members().is_some_and(|members| !members.is_empty()) {
                let refused = |refused| vec![Part { refused: Some(refused), ..Part::default() }];
                parts.extend(records(people, source).unwrap_or_else(refused));
            }
        }
        return Ok(parts);
    }
    let named = user_of_name(path, None);
    if has_overlay_facts(&root) {
        if let Some(user) = user_of(&root, None).or_else(|| named.map(User::from_name)) {
            return overlay_part(&root, &user).map(|part| vec![part]);
        }
        return Err(no_user(&root));
    }
    records(&root, source)
}

/// Takes a record out of the objects around it; `None` if it stands free already.
fn unwrapped<'a>(root: &Value<'a>) -> Option<Value<'a>> {
    /// Real trees have none; more than a few are no wrapping.
    const WRAPPERS_MAX: usize = 4;
    let is_record = |node: &Value<'_>| has_signal_evidence(node) || has_overlay_facts(node);
    let mut bare: Option<Value<'a>> = None;
    for _ in 0..WRAPPERS_MAX {
        let outer = bare.as_ref().unwrap_or(root);
        if has_signal_evidence(outer) {
            break;
        }
        let inner = names::WRAPPERS.iter().filter_map(|name| outer.get(name)).find(|inner| {
            is_record(inner) || names::WRAPPERS.iter().any(|name| inner.get(name).is_some_and(is_record))
        });
        let Some(inner) = inner else { break };
        bare = Some(outer.hoisted(inner));
    }
    bare
}

/// What is known of a file beside its text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) modified: UnixMillis,
    pub(super) context: Context<'a>,
}

/// Checks that bytes are text.
fn text_of(bytes: &[u8]) -> Result<&str, Quarantine> {
    if bytes.trim_ascii().is_empty() {
        return Err(Refusal::Empty.into());
    }
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Refusal::TooLarge.into());
    }
    if bytes.starts_with(b"\xef\xbb\xbf") || bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(Refusal::ByteOrderMark.into());
    }
    std::str::from_utf8(bytes)
        .map_err(|error| Quarantine::new(Refusal::NotUtf8, format!("at byte {}", error.valid_up_to())))
}

/// Says why a text is no JSON.
fn explain(error: JsonError, text: &str) -> Quarantine {
    match error {
        JsonError::Duplicate(name) => Quarantine::new(Refusal::DuplicateMember, name),
        JsonError::Depth => Refusal::TooDeep.into(),
        JsonError::Syntax(detail) => {
            let lines = || text.lines().filter(|line| !line.trim().is_empty()).take(2);
            let are_values = || lines().count() == 2 && lines().all(|line| Value::parse(line).is_ok());
            let refusal = if detail.starts_with("EOF") {
                Refusal::Truncated
            } else if detail.starts_with("trailing") && are_values() {
                Refusal::JsonLines
            } else if text.contains("NaN") || text.contains("Infinity") {
                Refusal::NotANumber
            } else {
                Refusal::MalformedJson
            };
            Quarantine::new(refusal, detail)
        }
    }
}

/// Reads a record that has a signal in it. The user's facts and the outcome are taken also where the signal is not.
fn mission(root: &Value<'_>, key: Option<&str>, source: Source<'_>) -> Result<Part, Quarantine> {
    let mut notes = Vec::new();
    if let Some(other) = other_user(root) {
        return Err(Quarantine::new(Refusal::UserConflict, other));
    }
    let user =
        user_of(root, None).or_else(|| user_of_name(source.path, signal_id_of(root).as_deref()).map(User::from_name));
    let signal = signal_of(root, key, user.as_ref(), source, &mut notes);
    let overlay = user.as_ref().and_then(|user| overlay_of(root, user, false, &mut notes));
    let mut members = root.members().unwrap_or_default().iter();
    let is_fact = |member: &Member<'_>| member.marks.is_fact() && !member.node.is_null();
    let has_person = || root.get("user").is_some_and(|user| user.members().is_some());
    if user.is_none() && (has_overlay_facts(root) || has_person() || members.any(is_fact)) {
        notes.push(Note::UserWithoutId);
    }
    let (signal, refused) = match signal {
        Ok(signal) => (Some(signal), None),
        Err(refused) => (None, Some(refused)),
    };
    let outcome = outcome_of(root, user.as_ref(), signal.as_ref(), &mut notes);
    if let (None, None, Some(refused)) = (&signal, &overlay, &refused) {
        return Err(refused.clone());
    }
    let claims = if source.context.has_claims { claims_of(root) } else { Claims::default() };
    notes.sort_unstable();
    notes.dedup();
    Ok(Part { signal, overlay, outcome, refused, notes, claims })
}

fn overlay_part(root: &Value<'_>, user: &User) -> Result<Part, Quarantine> {
    let mut notes = Vec::new();
    let overlay = overlay_of(root, user, true, &mut notes).ok_or(Refusal::NoOverlayFacts)?;
    notes.sort_unstable();
    notes.dedup();
    Ok(Part { overlay: Some(overlay), notes, ..Part::default() })
}

/// Reads a map of records: a user registry, at the root or under `users`, or signals by their id.
fn records(root: &Value<'_>, source: Source<'_>) -> Result<Vec<Part>, Quarantine> {
    let mut parts = Vec::new();
    let mut refused: Option<Quarantine> = None;
    let mut has_array = false;
    let mut take = |part: Result<Vec<Part>, Quarantine>| match part {
        Ok(more) => parts.extend(more),
        Err(error) => refused = refused.take().or(Some(error)),
    };
    for Member { name: key, node, .. } in root.members().unwrap_or_default() {
        let is_container = names::CONTAINERS.contains(&&**key);
        let items = node.items().unwrap_or_default().iter().filter(|item| item.members().is_some());
        if is_container {
            items.for_each(|item| take(record(item, None, source).unwrap_or(Err(Refusal::NotRecognised.into()))));
        } else {
            has_array |= items.count() > 0;
        }
        if node.members().is_none_or(<[_]>::is_empty) {
            continue;
        }
        if let Some(part) = record(node, Some(key), source) {
            take(part);
        } else if is_container {
            take(records(node, source));
        }
    }
    match refused {
        Some(refused) if parts.is_empty() => Err(refused),
        // What was not taken is said, also beside what was.
        Some(refused) => {
            parts.push(Part { refused: Some(refused), ..Part::default() });
            Ok(parts)
        }
        None if parts.is_empty() => Err(unrecognised(root, has_array)),
        None => Ok(parts),
    }
}

/// Reads one record of several; `None` if it is neither a signal nor an account.
fn record(node: &Value<'_>, key: Option<&str>, source: Source<'_>) -> Option<Result<Vec<Part>, Quarantine>> {
    let part = if has_signal_evidence(node) {
        mission(node, key, source)
    } else if is_account(node) {
        user_of(node, key).ok_or_else(|| no_user(node)).and_then(|user| overlay_part(node, &user))
    } else if node.get("user_id").is_some() {
        Err(Refusal::NoOverlayFacts.into())
    } else {
        return None;
    };
    Some(part.map(|part| vec![part]))
}

/// Whether a member of a map is a user's account.
fn is_account(node: &Value<'_>) -> bool {
    let is_person = user_of(node, None).is_some();
    has_overlay_facts(node) && (is_person || node.get("risk_mode").is_none())
        || names::ACCOUNT_MARKS.iter().any(|name| node.get(name).is_some())
}

/// Names what a file is that holds neither signal nor user.
fn unrecognised(root: &Value<'_>, has_array: bool) -> Quarantine {
    let has = |name: &str| root.get(name).is_some();
    if has("message_id") || has("chat_id") {
        Refusal::TelegramMessage.into()
    } else if has_array {
        Refusal::RecordsInArray.into()
    } else if has("user_id") {
        Refusal::NoOverlayFacts.into()
    } else {
        let seen: Vec<&str> = root.members().unwrap_or_default().iter().take(8).map(|member| &*member.name).collect();
        let detail = format!("no direction, stop, user or balance among: {}", seen.join(", "));
        Quarantine::new(Refusal::NotRecognised, detail.chars().take(200).collect::<String>())
    }
}

fn no_user(node: &Value<'_>) -> Quarantine {
    let alias = node.get("user_uuid").and_then(Value::id_text).unwrap_or_default();
    let detail = if alias.is_empty() { String::new() } else { format!("only an alias: {alias}") };
    Quarantine::new(Refusal::NoUserId, detail.chars().take(200).collect::<String>())
}

/// Gathers the numbers that are compared, never imported.
fn claims_of(root: &Value<'_>) -> Claims {
    let find = |names: &[&str]| {
        let places = [
            Some(root),
            root.get("enhanced_signal"),
            root.get("signal"),
            root.get("account"),
            root.get("user"),
            root.get("timing"),
            root.get("personalization_data"),
        ];
        places.into_iter().flatten().find_map(|node| {
            let found = names.iter().find_map(|name| node.get(name)?.quantity());
            found.map(|found| found.value)
        })
    };
    Claims {
        entry: find(names::ENTRY),
        stop: find(names::STOP),
        target: find(names::TARGET),
        size: find(names::SIZE),
        volume: find(&["volume"]),
        risk_amount: find(&["risk_amount"]),
        reward_amount: find(&["reward_amount"]),
        risk_reward: find(names::RISK_REWARD),
        balance: find(names::BALANCE),
        risk_percent: find(names::RISK).or_else(|| find(names::RISK_ELSE)),
        time_remaining: find(&["time_remaining"]),
    }
}
