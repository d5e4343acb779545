//! A user's facts in an old record, and what happened for that user.

use std::path::Path;

use super::json::{Member, Quantity, Unit, Value};
use super::names;
use super::reason::Note;
use super::rename::{Whose, rename_slips};
use super::signal::{SignalPart, json_text};
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
        // A number that went through a table of floats is still that number.
        let whole = text.strip_suffix(".0").filter(|rest| is_number(rest)).unwrap_or(text);
        let bare = whole.strip_prefix("user_").filter(|rest| is_number(rest)).unwrap_or(whole);
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
pub(super) fn user_of(root: &Value<'_>, key: Option<&str>) -> Option<User> {
    let find = |node: &Value<'_>, name: &str| User::parse(node.get(name)?.id_text()?);
    let telegram = ["telegram_id", "telegram_user_id", "tg_id"].iter().find_map(|name| find(root, name));
    let numeric_key = || key.filter(|key| is_number(key.strip_prefix("user_").unwrap_or(key))).and_then(User::parse);
    let own = || find(root, "user_id").or_else(|| find(root, "uid"));
    let in_objects = || names::PERSONS.iter().filter_map(|name| root.get(name)).find_map(id_of_person);
    let in_account =
        || ["account", "account_info", "personalization_data"].iter().find_map(|name| find(root.get(name)?, "user_id"));
    let plain = || find(root, "user");
    telegram.or_else(numeric_key).or_else(own).or_else(in_objects).or_else(in_account).or_else(plain)
}

fn id_of_person(node: &Value<'_>) -> Option<User> {
    names::USER_ID.iter().find_map(|name| User::parse(node.get(name)?.id_text()?))
}

/// Two different numeric ids for one record, in words: at the root and in an object for the user.
pub(super) fn other_user(root: &Value<'_>) -> Option<String> {
    let is_numeric = |user: &User| is_number(user.id.as_str());
    let own = User::parse(root.get("user_id")?.id_text()?).filter(is_numeric)?;
    let mut persons = names::PERSONS.iter().filter_map(|name| root.get(name)).filter_map(id_of_person);
    let other = persons.find(|other| is_numeric(other) && other.id != own.id)?;
    Some(format!("{} and {}", own.id, other.id))
}

/// Finds a user in a file's name or folder: `…_USER{id}`, `{id}_{unix}`, `user_{id}_settings`, `mission_{signal}_{id}`,
/// `user_overlays/{id}`, `users/{id}/…`, `user_{id}/…`, `missions/{id}/…`; `signal` is the id that the body has.
pub(super) fn user_of_name(path: &Path, signal: Option<&str>) -> Option<UserId> {
    let stem = path.file_stem()?.to_str()?;
    if let Some((_, id)) = stem.rsplit_once("_USER").filter(|(_, id)| is_number(id)) {
        return UserId::parse(id).ok();
    }
    let mut folders = path.ancestors().skip(1).filter_map(|folder| folder.file_name()?.to_str());
    let folder = folders.next().unwrap_or_default();
    let parent = folders.next().unwrap_or_default();
    let is_of_users = |name: &str| {
        matches!(
            name,
            "user_overlays" | "overlays" | "users" | "user_settings" | "user_missions" | "by_user" | "profiles"
        )
    };
    if is_of_users(folder) {
        let bare = ["_settings", "_overlay"].iter().fold(stem, |name, end| name.strip_suffix(end).unwrap_or(name));
        // In such a folder a file of a user's has the user's name, or a signal's and the user's.
        let bare = signal.and_then(|signal| after_signal(stem, signal)).unwrap_or(bare);
        return User::parse(bare).filter(|_| signal != Some(bare)).map(|user| user.id);
    }
    if is_of_users(parent) {
        return User::parse(folder).map(|user| user.id);
    }
    if let Some(user) = signal.and_then(|signal| after_signal(stem, signal)) {
        return User::parse(user).map(|user| user.id);
    }
    if let Some((user, unix)) = stem.split_once('_')
        && is_user_number(user)
        && is_unix(unix)
    {
        return UserId::parse(user).ok();
    }
    // Behind a counter or a time of day, what may be a moment is one.
    let is_missions = stem.starts_with("mission_");
    let is_behind = |number: &str, user: &str| {
        is_unix(number) || (is_missions && is_number(number) && !(is_unix(user) && user.starts_with('1')))
    };
    if let Some((rest, user)) = stem.rsplit_once('_')
        && is_user_number(user)
        && rest.rsplit_once('_').is_some_and(|(_, number)| is_behind(number, user))
    {
        return UserId::parse(user).ok();
    }
    // The newest writer has a folder a user, and repeats the prefix.
    let in_folder = |folder: &str| {
        let id = folder.strip_prefix("user_").map(|rest| rest.strip_prefix("user_").unwrap_or(rest));
        UserId::parse(id.filter(|id| is_number(id))?).ok()
    };
    let is_bare = is_user_number(folder) && !is_date(folder) && matches!(parent, "missions" | "mission" | "");
    in_folder(folder).or_else(|| if is_bare { UserId::parse(folder).ok() } else { in_folder(parent) })
}

/// What stands behind the signal's id in a file's name.
fn after_signal<'s>(stem: &'s str, signal: &str) -> Option<&'s str> {
    let name = stem.strip_prefix("mission_").unwrap_or(stem);
    name.strip_prefix(signal)?.strip_prefix('_').filter(|user| !user.is_empty())
}

/// Whether a number is long enough for a user's: a counter or a time of day is none.
fn is_user_number(text: &str) -> bool {
    /// `HHMMSS` has six digits, and so have counters.
    const DIGITS_MIN: usize = 7;
    is_number(text) && text.trim_start_matches('-').len() >= DIGITS_MIN
}

/// Whether digits are Unix seconds, as old ids end with.
fn is_unix(text: &str) -> bool {
    text.len() == 10 && is_number(text) && !text.starts_with('-')
}

/// Whether digits are a day: `20250716`.
fn is_date(text: &str) -> bool {
    text.len() == 8 && (text.starts_with("19") || text.starts_with("20"))
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
pub(super) fn has_overlay_facts(root: &Value<'_>) -> bool {
    let lists = [names::TIER, names::RISK, names::RISK_ELSE, names::BALANCE, names::WIN_RATE, names::TRADES];
    let has = |node: &Value<'_>| lists.iter().any(|list| list.iter().any(|name| node.get(name).is_some()));
    has(root) || names::PERSONS.iter().chain(&["account"]).any(|name| root.get(name).is_some_and(has))
}

/// Reads the user's facts; `is_whole` if everything in the record is the user's.
pub(super) fn overlay_of(root: &Value<'_>, user: &User, is_whole: bool, notes: &mut Vec<Note>) -> Option<OverlayPart> {
    user.note(notes);
    let mut facts = Facts { members: Vec::with_capacity(24), notes };
    let inner = names::USER_OBJECTS.iter().filter_map(|name| root.get(name));
    let stats = root.get("user").and_then(|node| node.get("stats"));
    let profile = root.get("risk_profile");
    let places: Vec<&Value<'_>> = std::iter::once(root).chain(inner).chain(stats).chain(profile).collect();
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
        // One too many is as bad as thousands, and each is compared with all before it.
        if self.members.len() <= MEMBERS_MAX && !self.members.iter().any(|(known, _)| known == name) {
            self.members.push((name.to_owned(), value));
        }
    }

    /// Takes what an overlay knows by name, from the first place that has it.
    fn known(&mut self, places: &[&Value<'_>]) {
        let find = |names: &[&str]| places.iter().find_map(|node| names.iter().find_map(|name| node.get(name)));
        if let Some(stated) = find(names::TIER) {
            let tier = stated.text().and_then(|text| TierName::parse(text.trim()).ok());
            self.checked("tier", stated, tier.map(|tier| json_text(tier.as_str())));
        }
        self.risk(find(names::RISK), find(names::RISK_ELSE), find(&[names::RISK_FRACTION]));
        if let Some(stated) = find(names::BALANCE) {
            self.number("account_balance", stated, None, &[Unit::Money]);
        }
        if let Some(stated) = find(names::CURRENCY).filter(|stated| stated.text() != Some("")) {
            let currency = stated.text().and_then(|text| Currency::parse(text.trim()).ok());
            self.checked("account_currency", stated, currency.map(|currency| json_text(currency.as_str())));
        }
        if let Some(stated) = find(names::WIN_RATE) {
            let read = stated.quantity();
            let is_unclear =
                |found: &Quantity| found.unit == Unit::None && found.value.is_positive() && found.value <= Decimal::ONE;
            if read.is_some_and(|found| is_unclear(&found)) {
                self.notes.push(Note::WinRateUnclear);
                self.put("legacy_win_rate", stated.json());
            } else {
                self.number("win_rate", stated, Some(Decimal::HUNDRED), &[Unit::Percent]);
            }
        }
        if let Some(stated) = find(names::TRADES) {
            let is_whole = stated.quantity().is_some_and(|found| found.value.floor_to(Decimal::ONE) == found.value);
            if is_whole {
                self.number("trades_remaining", stated, Decimal::from_int(1_000_000), &[]);
            } else {
                self.checked("trades_remaining", stated, None);
            }
        }
    }

    /// Reads the risk in percent. `percent` stands under a name that says so, `other` under one that does not.
    ///
    /// 0.02 may be two percent or a fiftieth of one: only a name that is known for fractions, or a percent sign, decides.
    fn risk(&mut self, percent: Option<&Value<'_>>, other: Option<&Value<'_>>, fraction: Option<&Value<'_>>) {
        /// A tenth, in units of a [`Decimal`]: nobody risks a tenth of a percent, or a tenth of the account.
        const TENTH: Decimal = Decimal::from_units(10_000_000);
        let (Some(stated), is_named) = (percent.or(other), percent.is_some()) else { return };
        let Some(found) = stated.quantity() else { return self.checked("risk_percent", stated, None) };
        let is_small = found.value.is_positive() && found.value < if is_named { TENTH } else { Decimal::ONE };
        let is_large = !is_named && Decimal::from_int(10).is_some_and(|ten| found.value > ten);
        if found.unit == Unit::None && (is_small || is_large) {
            let of_one = fraction.filter(|_| !is_named).and_then(Value::quantity).filter(|found| found.value <= TENTH);
            let read = of_one.and_then(|found| found.value.checked_mul(Decimal::HUNDRED, Round::HalfEven));
            if let Some(read) = read {
                self.notes.push(Note::RiskFraction);
                self.put("risk_percent", read.to_string());
            } else {
                self.notes.push(Note::RiskUnclear);
                self.put("legacy_risk_percent", stated.json());
            }
            return;
        }
        self.number("risk_percent", stated, Some(Decimal::HUNDRED), &[Unit::Percent]);
    }

    /// Takes a number without a unit, or with one of these.
    fn number(&mut self, name: &str, stated: &Value<'_>, most: Option<Decimal>, units: &[Unit]) {
        let fits = |found: &Quantity| {
            found.value >= Decimal::ZERO
                && most.is_none_or(|most| found.value <= most)
                && (found.unit == Unit::None || units.contains(&found.unit))
        };
        let found = stated.quantity().filter(fits);
        if found.is_some_and(|found| found.shown) {
            self.notes.push(Note::DisplayString);
        }
        self.checked(name, stated, found.map(|found| found.value.to_string()));
    }

    /// Takes a value, or keeps what was stated under another name.
    fn checked(&mut self, name: &str, stated: &Value<'_>, read: Option<String>) {
        if let Some(read) = read {
            self.put(name, read);
        } else {
            self.notes.push(Note::InvalidFact);
            self.put(&format!("legacy_{name}"), stated.json());
        }
    }

    /// Takes everything else that is the user's, as it stands there.
    fn others(&mut self, places: &[&Value<'_>], is_whole: bool) {
        for (index, node) in places.iter().enumerate() {
            for Member { name, marks, node: value } in node.members().unwrap_or_default() {
                let is_root_of_mission = index == 0 && !is_whole;
                if value.is_null() || (is_root_of_mission && !marks.is_fact()) || marks.is_taken_for_user() {
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

/// Reads what happened, if anything did. What can not be stored is noted: nothing of it is in the signal or the overlay.
pub(super) fn outcome_of(
    root: &Value<'_>,
    user: Option<&User>,
    signal: Option<&SignalPart>,
    notes: &mut Vec<Note>,
) -> Option<OutcomePart> {
    let result = root.get("execution_result");
    let of_order = || names::OF_ORDER.iter().filter_map(|name| Some((*name, root.get(name)?)));
    let stated_at = root.get("fired_at").filter(|stated| !stated.is_null());
    let Some((status, word)) = status_of(root.get("status").and_then(Value::text), result, stated_at.is_some()) else {
        let is_said = |node: &Value<'_>| !node.is_null() && node.members().is_none_or(|members| !members.is_empty());
        if result.is_some_and(is_said) || of_order().any(|(_, node)| is_said(node)) {
            notes.push(Note::OutcomeUnclear);
        }
        return None;
    };
    let by = root.get("fired_by").and_then(Value::id_text).and_then(User::parse);
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
    let mut members: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: String| {
        let is_known = ["signal_id", "user_id", "status", "at"].contains(&name);
        if !is_known && !members.iter().any(|(known, _)| known == name) {
            members.push((name.to_owned(), value));
        }
    };
    match result.map(|result| (result, result.members())) {
        Some((_, Some(members))) => {
            for member in members.iter().filter(|member| !member.node.is_null()) {
                put(&member.name, member.node.json());
            }
        }
        Some((text, None)) if !text.is_null() => put("execution_result", text.json()),
        _ => {}
    }
    for (name, node) in of_order().filter(|(_, node)| !node.is_null()) {
        put(name, node.json());
    }
    if let Some(word) = word.filter(|word| !word.is_empty()) {
        put("legacy_status", json_text(word));
    }
    let at = at.unwrap_or(signal.signal.created_at);
    Some(OutcomePart { user: whose.id.clone(), status, at, members: Object::from_members(members) })
}

/// Reads what happened: from the status, else from the result of the order, else from there being a time at which it was fired. A
/// status in other words than ours comes with it.
fn status_of<'s>(
    status: Option<&'s str>,
    result: Option<&Value<'_>>,
    has_fired_at: bool,
) -> Option<(OutcomeStatus, Option<&'s str>)> {
    let word = status.map(str::trim).unwrap_or_default();
    if let Ok(status) = OutcomeStatus::parse(word) {
        return Some((status, None));
    }
    let said = match word.to_ascii_lowercase().as_str() {
        "filled" | "executed" => Some(OutcomeStatus::Fired),
        "rejected" | "error" | "timeout" | "cancelled" | "canceled" => Some(OutcomeStatus::Failed),
        _ => None,
    };
    let succeeded = || {
        let said = result?.get("success")?;
        match said.text().unwrap_or(said.raw()) {
            "true" => Some(OutcomeStatus::Fired),
            "false" => Some(OutcomeStatus::Failed),
            _ => None,
        }
    };
    let status = said.or_else(succeeded).or(has_fired_at.then_some(OutcomeStatus::Fired))?;
    Some((status, Some(word)))
}
