//! A user's facts in an old record, and what happened for that user.

use std::path::Path;

use super::names;
use super::reason::Note;
use super::signal::{SignalPart, json_text};
use super::spelling::{Whose, rename_slips};
use super::tree::{Node, Quantity};
use crate::domain::{Currency, Decimal, Object, OutcomeStatus, OverlayDraft, Round, TierName, UnixMillis, UserId};

/// Largest set of a user's facts, in bytes: below what the store takes.
const FACTS_BYTES_MAX: usize = 48 * 1024;
/// Most facts: below what an object may have.
const MEMBERS_MAX: usize = 224;
/// What an overlay knows by name.
const KNOWN: [&str; 6] =
    ["tier", "risk_percent", "account_balance", "account_currency", "win_rate", "trades_remaining"];

/// Whose a record is, and how that was written.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: UserId,
    /// The id as the record has it: `user_7000000001`.
    pub(super) spelled: String,
    is_from_name: bool,
}

/// Facts about one user at one moment.
#[derive(Clone, Debug)]
pub struct OverlayPart {
    /// Whose.
    pub user: UserId,
    /// When they were written down; `None` if the file does not say, then they yield to any that do.
    pub at: Option<UnixMillis>,
    /// Members of an overlay, and others, as JSON text; never a size or an amount.
    pub members: Vec<(String, String)>,
}

/// What happened for one user on the record's signal.
#[derive(Clone, Debug)]
pub struct OutcomePart {
    /// For whom.
    pub user: UserId,
    /// What.
    pub status: OutcomeStatus,
    /// When.
    pub at: UnixMillis,
    /// Ticket, price, message.
    pub members: Object,
}

impl User {
    fn parse(text: &str) -> Option<Self> {
        let bare = text.strip_prefix("user_").filter(|rest| is_number(rest)).unwrap_or(text);
        Some(Self { id: UserId::parse(bare).ok()?, spelled: text.to_owned(), is_from_name: false })
    }

    /// A user that only the file's name tells.
    pub(super) fn from_name(id: UserId) -> Self {
        Self { spelled: id.as_str().to_owned(), id, is_from_name: true }
    }

    fn note(&self, notes: &mut Vec<Note>) {
        if self.is_from_name {
            notes.push(Note::UserFromName);
        }
        if self.spelled != self.id.as_str() {
            notes.push(Note::UserAlias);
        }
        if self.id.as_str().starts_with('-') {
            notes.push(Note::GroupUser);
        }
    }
}

/// Whether a text is an id of Telegram: digits, with a minus sign for a group.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Finds whose a record is; `key` is the name under which it stands in a map.
///
/// A Telegram id counts before the key, a numeric key before any other name: registries put nicknames into `user_id`.
pub(super) fn user_of(root: &Node<'_>, key: Option<&str>) -> Option<User> {
    let find = |node: &Node<'_>, name: &str| User::parse(node.get(name)?.id_text()?);
    let telegram = find(root, "telegram_id");
    let numeric_key = || key.filter(|key| is_number(key.strip_prefix("user_").unwrap_or(key))).and_then(User::parse);
    let in_objects = || {
        ["user", "overlay"]
            .iter()
            .filter_map(|name| root.get(name))
            .find_map(|node| names::USER_ID.iter().find_map(|name| find(node, name)))
    };
    telegram.or_else(numeric_key).or_else(|| find(root, "user_id")).or_else(in_objects)
}

/// Finds a user in a file's name: `…_USER{id}`, `{id}_{unix}`, `user_{id}_settings`, `user_overlays/{id}`.
pub(super) fn user_of_name(path: &Path) -> Option<UserId> {
    let stem = path.file_stem()?.to_str()?;
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    if let Some((_, id)) = stem.rsplit_once("_USER").filter(|(_, id)| is_number(id)) {
        return UserId::parse(id).ok();
    }
    if matches!(folder, "user_overlays" | "overlays" | "users" | "user_settings") {
        let bare = ["_settings", "_overlay"].iter().fold(stem, |name, end| name.strip_suffix(end).unwrap_or(name));
        return User::parse(bare).map(|user| user.id);
    }
    if let Some((user, unix)) = stem.split_once('_')
        && is_number(user)
        && user.len() >= 5
        && unix.len() == 10
        && is_number(unix)
    {
        return UserId::parse(user).ok();
    }
    // The newest writer has a folder a user, and repeats the prefix.
    let id = folder.strip_prefix("user_").map(|rest| rest.strip_prefix("user_").unwrap_or(rest))?;
    UserId::parse(id).ok().filter(|_| is_number(id))
}

/// Takes the user off a mission's id or file name: `APEX5_EURUSD_1752645049_USER123` is a user's view of the rest.
pub(super) fn without_user(text: &str, user: Option<&User>) -> String {
    let text = text.strip_prefix("mission_").unwrap_or(text);
    let cut = user.and_then(|user| {
        let ends = [
            format!("_USER{}", user.id),
            format!("_{}", user.spelled),
            format!("_user_{}", user.id),
            format!("_{}", user.id),
        ];
        ends.iter().find_map(|end| text.strip_suffix(end.as_str()))
    });
    let cut = cut.or_else(|| text.rsplit_once("_USER").filter(|(_, id)| is_number(id)).map(|(rest, _)| rest));
    cut.unwrap_or(text).to_owned()
}

/// Whether a record holds anything that an overlay knows by name.
pub(super) fn has_overlay_facts(root: &Node<'_>) -> bool {
    let lists = [names::TIER, names::RISK, names::BALANCE, names::WIN_RATE, names::TRADES];
    let has = |node: &Node<'_>| lists.iter().any(|list| list.iter().any(|name| node.get(name).is_some()));
    has(root) || root.get(names::RISK_FRACTION).is_some() || root.get("overlay").is_some_and(has)
}

/// Reads the user's facts; `is_whole` if everything in the record is the user's.
pub(super) fn overlay_of(root: &Node<'_>, user: &User, is_whole: bool, notes: &mut Vec<Note>) -> Option<OverlayPart> {
    user.note(notes);
    let mut facts = Facts { members: Vec::with_capacity(24), notes };
    let inner = names::USER_OBJECTS.iter().filter_map(|name| root.get(name));
    let stats = root.get("user").and_then(|node| node.get("stats"));
    let profile = root.get("risk_profile");
    let places: Vec<&Node<'_>> = std::iter::once(root).chain(inner).chain(stats).chain(profile).collect();
    facts.known(&places);
    facts.others(&places, is_whole);
    let observed = if is_whole { names::OBSERVED } else { names::CREATED };
    let timing = root.get("timing");
    let times = std::iter::once(root).chain(timing).chain(root.get("overlay"));
    let at = times.flat_map(|node| observed.iter().filter_map(|name| node.get(name)?.moment())).max();
    facts.finish(user, at)
}

/// Facts under construction.
struct Facts<'n> {
    members: Vec<(String, String)>,
    notes: &'n mut Vec<Note>,
}

impl Facts<'_> {
    fn put(&mut self, name: &str, value: String) {
        if !self.members.iter().any(|(known, _)| known == name) {
            self.members.push((name.to_owned(), value));
        }
    }

    /// Takes what an overlay knows by name, from the first place that has it.
    fn known(&mut self, places: &[&Node<'_>]) {
        let find = |names: &[&str]| places.iter().find_map(|node| names.iter().find_map(|name| node.get(name)));
        if let Some(tier) = find(names::TIER).and_then(Node::text) {
            match TierName::parse(tier) {
                Ok(tier) => self.put("tier", json_text(tier.as_str())),
                Err(_) => self.notes.push(Note::InvalidFact),
            }
        }
        let percent = find(names::RISK).and_then(Node::quantity);
        let fraction = find(&[names::RISK_FRACTION]).and_then(Node::quantity);
        let risk = percent.or_else(|| {
            let fraction = fraction?;
            if fraction.value >= Decimal::ONE {
                return Some(fraction);
            }
            self.notes.push(Note::RiskFraction);
            Some(Quantity { value: fraction.value.checked_mul(Decimal::HUNDRED, Round::HalfEven)?, ..fraction })
        });
        self.number("risk_percent", risk, Some(Decimal::HUNDRED));
        self.number("account_balance", find(names::BALANCE).and_then(Node::quantity), None);
        if let Some(currency) = find(names::CURRENCY).and_then(Node::text).filter(|text| !text.is_empty()) {
            match Currency::parse(currency) {
                Ok(currency) => self.put("account_currency", json_text(currency.as_str())),
                Err(_) => self.notes.push(Note::InvalidFact),
            }
        }
        self.number("win_rate", find(names::WIN_RATE).and_then(Node::quantity), Some(Decimal::HUNDRED));
        let trades = find(names::TRADES).and_then(Node::quantity);
        let whole = trades.filter(|trades| trades.value.floor_to(Decimal::ONE) == trades.value);
        self.number("trades_remaining", whole, Decimal::from_int(1_000_000));
    }

    fn number(&mut self, name: &str, found: Option<Quantity>, most: Option<Decimal>) {
        let Some(found) = found else { return };
        if found.value < Decimal::ZERO || most.is_some_and(|most| found.value > most) {
            self.notes.push(Note::InvalidFact);
            return;
        }
        if found.shown {
            self.notes.push(Note::DisplayString);
        }
        self.put(name, found.value.to_string());
    }

    /// Takes everything else that is the user's, as it stands there.
    fn others(&mut self, places: &[&Node<'_>], is_whole: bool) {
        let taken = [names::TIER, names::RISK, names::BALANCE, names::CURRENCY, names::WIN_RATE, names::TRADES];
        for (index, node) in places.iter().enumerate() {
            for (name, value) in node.members().unwrap_or_default() {
                let is_root_of_mission = index == 0 && !is_whole;
                let is_skipped = value.is_null()
                    || (is_root_of_mission && !names::OF_USER.contains(&&**name))
                    || names::is_one_of(name, &taken)
                    || names::is_one_of(name, &[names::USER_OBJECTS, names::COMPUTED])
                    || matches!(
                        &**name,
                        "user_id"
                            | "id"
                            | "stats"
                            | "risk_profile"
                            | "last_update"
                            | "last_updated"
                            | "updated_at"
                            | "timestamp"
                            | "captured_at"
                    )
                    || *name == names::RISK_FRACTION;
                if is_skipped {
                    continue;
                }
                let name = match &**name {
                    "equity" => "account_equity",
                    "free_margin" => "margin_free",
                    "rank" => "user_rank",
                    name => name,
                };
                // A zero beside a real balance is a field that the writer never filled.
                let is_unfilled = matches!(name, "account_equity" | "margin_free")
                    && value.quantity().is_none_or(|found| found.value.is_zero());
                if !is_unfilled {
                    self.put(name, value.json());
                }
            }
        }
    }

    /// Checks that an overlay can be made of the facts.
    fn finish(mut self, user: &User, at: Option<UnixMillis>) -> Option<OverlayPart> {
        let bytes: usize = self.members.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.members.is_empty() || self.members.len() > MEMBERS_MAX || bytes > FACTS_BYTES_MAX {
            return None;
        }
        let (known, mut others): (Vec<_>, Vec<_>) =
            self.members.drain(..).partition(|(name, _)| KNOWN.contains(&name.as_str()));
        rename_slips(Whose::Overlay, &mut others, self.notes);
        OverlayDraft::from_object(Object::from_members(known.clone()), Some(&user.id)).ok()?;
        let members = known.into_iter().chain(others).collect();
        Some(OverlayPart { user: user.id.clone(), at, members })
    }
}

/// Reads what happened, if anything did.
pub(super) fn outcome_of(
    root: &Node<'_>,
    user: Option<&User>,
    signal: &SignalPart,
    notes: &mut Vec<Note>,
) -> Option<OutcomePart> {
    let status = OutcomeStatus::parse(root.get("status")?.text()?).ok()?;
    let by = root.get("fired_by").and_then(Node::id_text).and_then(User::parse);
    if let (Some(by), Some(user)) = (&by, user)
        && by.id != user.id
    {
        notes.push(Note::FiredByAnother);
    }
    let user = by.map(|by| by.id).or_else(|| user.map(|user| user.id.clone()))?;
    let at = root.get("fired_at").and_then(Node::moment).unwrap_or(signal.signal.created_at);
    let known = ["signal_id", "user_id", "status", "at"];
    let result = root.get("execution_result").and_then(Node::members).unwrap_or_default();
    let members = result
        .iter()
        .filter(|(name, value)| !value.is_null() && !known.contains(&&**name))
        .map(|(name, value)| (name.clone().into_owned(), value.json()))
        .collect();
    Some(OutcomePart { user, status, at, members: Object::from_members(members) })
}
