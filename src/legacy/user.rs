//! The user of an old record, and the user's facts in it.

use std::borrow::Cow;
use std::path::Path;

use super::json::{Member, Value, json_text};
use super::members::Members;
use super::names::{FACTS, Meaning};
use super::part::{OverlayPart, Quarantine};
use super::reason::Note;
use super::record::Record;
use super::scalar::{Quantity, USER_DIGITS_MIN, Unit, plain_id};
use crate::domain::{Currency, Decimal, Round, TierName, UserId};

/// The user of a record, and how the record has the id.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub(super) id: UserId,
    /// The id as the record has it: `user_7000000001`.
    spelled: String,
    is_from_name: bool,
}

impl User {
    /// Reads an id, also as `user_…` and as a number that a program printed from a float.
    fn parse(text: &str) -> Option<Self> {
        let plain = plain_id(text);
        let bare = plain.strip_prefix("user_").map(plain_id).filter(|rest| is_number(rest)).unwrap_or(plain.clone());
        Some(Self { id: UserId::parse(&bare).ok()?, spelled: text.to_owned(), is_from_name: false })
    }

    /// Reads an id of Telegram: digits, with a minus sign for a group.
    fn parse_number(text: &str) -> Option<Self> {
        Self::parse(text).filter(|user| is_number(user.id.as_str()))
    }

    /// Reads the id that a member holds.
    pub(super) fn of(value: &Value<'_>) -> Option<Self> {
        let user = Self::parse(&value.id()?)?;
        Some(Self { spelled: value.id_text()?.to_owned(), ..user })
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

/// Finds a record's user: in the body, or in the key under which the record stands in a map.
///
/// A Telegram id counts before the key, a numeric key before any other name: registries put nicknames into `user_id`.
pub(super) fn user_of(record: Record<'_>) -> Option<User> {
    let find = |value: &Value<'_>, meaning: Meaning| value.all(record.names(meaning)).find_map(User::of);
    let own = || find(record.root, Meaning::UserId);
    let in_accounts = || record.objects(Meaning::Accounts).find_map(|account| find(account, Meaning::UserId));
    find(record.root, Meaning::TelegramId)
        .or_else(|| record.key.and_then(User::parse_number))
        .or_else(own)
        .or_else(|| persons(record).next())
        .or_else(in_accounts)
        .or_else(|| record.root.get("user").and_then(User::of))
}

/// The users that the record's objects for a person name.
fn persons(record: Record<'_>) -> impl Iterator<Item = User> {
    record.objects(Meaning::Persons).filter_map(move |person| {
        let ids = person.all(record.names(Meaning::UserId)).chain(person.all(record.names(Meaning::TelegramId)));
        ids.chain(person.get("id")).find_map(User::of)
    })
}

/// Two different numeric ids for one record, in words: at the root and in an object for the user.
pub(super) fn other_user(record: Record<'_>) -> Option<String> {
    let is_numeric = |user: &User| is_number(user.id.as_str());
    let own = record.first(Meaning::UserId).and_then(User::of).filter(is_numeric)?;
    let other = persons(record).find(|other| is_numeric(other) && other.id != own.id)?;
    Some(format!("{} and {}", own.id, other.id))
}

/// Finds a user in a file's name or folder: `…_USER{id}`, `{id}_{unix}`, `mission_{signal}_{id}`, `user_{id}/…`,
/// `user_overlays/{id}`, `user_settings/user_{id}_settings`; `signal` is the id that the body has.
pub(super) fn user_of_name(path: &Path, signal: Option<&str>) -> Option<User> {
    let stem = &*id_in_name(path)?;
    let folder = path.parent().and_then(|folder| folder.file_name()?.to_str()).unwrap_or_default();
    let user = if let Some(user) = stem.rsplit_once("_USER").and_then(|(_, id)| User::parse_number(id)) {
        Some(user)
    } else if matches!(folder, "user_overlays" | "user_settings") {
        // These folders may hold a signal too.
        User::parse(stem.strip_suffix("_settings").unwrap_or(stem)).filter(|_| signal != Some(stem))
    } else if let Some(user) = signal.and_then(|signal| after_signal(stem, signal)) {
        User::parse(user)
    } else {
        // The newest writer has a folder a user, and repeats the prefix.
        let in_folder = || User::parse_number(folder.strip_prefix("user_")?);
        user_beside_number(stem).or_else(in_folder)
    }?;
    Some(User { spelled: user.id.as_str().to_owned(), is_from_name: true, ..user })
}

/// The name of a file without its ending, with ids in it as their digits. The decimals of a number are no ending.
pub(super) fn id_in_name(path: &Path) -> Option<Cow<'_, str>> {
    let name = path.file_name()?.to_str()?;
    let ends_in_number = name.rsplit('_').next().is_some_and(|last| matches!(plain_id(last), Cow::Owned(_)));
    Some(plain_id(if ends_in_number { name } else { path.file_stem()?.to_str()? }))
}

/// The part of a file's name after the signal's id.
fn after_signal<'s>(stem: &'s str, signal: &str) -> Option<&'s str> {
    let name = stem.strip_prefix("mission_").unwrap_or(stem);
    name.strip_prefix(signal)?.strip_prefix('_').filter(|user| !user.is_empty())
}

/// Reads `{user}_{unix}`, `…_{unix}_{user}`, and `mission_…_{number}_{user}`.
fn user_beside_number(stem: &str) -> Option<User> {
    let user = |text: &str| {
        User::parse_number(text).filter(|user| user.id.as_str().trim_start_matches('-').len() >= USER_DIGITS_MIN)
    };
    let is_unix = |text: &str| text.len() == 10 && is_number(text) && !text.starts_with('-');
    if let Some((first, unix)) = stem.split_once('_')
        && is_unix(unix)
        && let Some(user) = user(first)
    {
        return Some(user);
    }
    let (rest, last) = stem.rsplit_once('_')?;
    let (_, number) = rest.rsplit_once('_')?;
    // Behind a counter or a time of day, what may be a moment is one.
    let may_be_moment = is_unix(last) && last.starts_with('1');
    let follows_number =
        is_unix(number) || (stem.starts_with("mission_") && is_number(&plain_id(number)) && !may_be_moment);
    user(last).filter(|_| follows_number)
}

/// Takes the user off a mission's id or file name: `APEX5_EURUSD_1752645049_USER123` is a user's view of the rest.
pub(super) fn without_user(text: &str, user: Option<&User>) -> String {
    let text = &*plain_id(text.strip_prefix("mission_").unwrap_or(text));
    let cut = user.and_then(|user| {
        let ends = [
            format!("_USER{}", user.id),
            format!("_{}", user.spelled),
            format!("_user_{}", user.id),
            format!("_{}", user.id),
        ];
        ends.iter().find_map(|end| text.strip_suffix(end.as_str()))
    });
    let by_mark = || text.rsplit_once("_USER").filter(|(_, id)| is_number(&plain_id(id))).map(|(rest, _)| rest);
    cut.or_else(by_mark).unwrap_or(text).to_owned()
}

/// Whether a record holds anything that an overlay knows by name, other than a currency.
pub(super) fn has_facts(record: Record<'_>) -> bool {
    let has = |value: &Value<'_>| {
        let facts = FACTS.iter().filter(|fact| **fact != Meaning::Currency);
        facts.into_iter().any(|fact| value.has_any(record.names(*fact)))
    };
    let objects = record.objects(Meaning::Persons).chain(record.objects(Meaning::Accounts));
    has(record.root) || objects.into_iter().any(has)
}

/// Reads the user's facts; `is_whole` if everything in the record is the user's. `None` if there are none.
///
/// # Errors
///
/// If they are more than can be stored.
pub(super) fn overlay_of(
    record: Record<'_>,
    user: &User,
    is_whole: bool,
    notes: &mut Vec<Note>,
) -> Result<Option<OverlayPart>, Quarantine> {
    user.note(notes);
    let objects = record.objects(Meaning::Persons).chain(record.objects(Meaning::Accounts));
    let stats = record.root.get("user").and_then(|value| value.get("stats"));
    let places = std::iter::once(record.root).chain(objects).chain(stats).chain(record.root.get("risk_profile"));
    let mut facts = Facts { record, places: places.collect(), members: Members::default(), notes };
    facts.take_known();
    facts.take_others(is_whole);
    let members = facts.members.into_list()?;
    if members.is_empty() {
        return Ok(None);
    }
    let observed: &[Meaning] = if is_whole { &[Meaning::Created, Meaning::Observed] } else { &[Meaning::Created] };
    let times = std::iter::once(record.root).chain(record.root.get("timing")).chain(record.root.get("overlay"));
    let moments = times.flat_map(|value| {
        observed.iter().flat_map(|meaning| value.all(record.names(*meaning))).filter_map(Value::moment)
    });
    Ok(Some(OverlayPart { user: user.id.clone(), at: moments.max(), members }))
}

/// Facts under construction.
struct Facts<'r, 'n> {
    record: Record<'r>,
    /// The objects that may hold them, the one to prefer first.
    places: Vec<&'r Value<'r>>,
    members: Members,
    notes: &'n mut Vec<Note>,
}

impl<'r> Facts<'r, '_> {
    /// The first member of some meanings, from the first place that has one.
    fn find(&self, meanings: &[Meaning]) -> Option<&'r Value<'r>> {
        self.places
            .iter()
            .find_map(|value| meanings.iter().find_map(|meaning| value.all(self.record.names(*meaning)).next()))
    }

    /// Takes what an overlay knows by name.
    fn take_known(&mut self) {
        if let Some(stated) = self.find(&[Meaning::Tier]) {
            let tier = stated.text().and_then(|text| TierName::parse(text.trim()).ok());
            self.take_checked("tier", stated, tier.map(|tier| json_text(tier.as_str())));
        }
        self.take_risk();
        if let Some(stated) = self.find(&[Meaning::Balance]) {
            self.take_number("account_balance", stated, None, Unit::Money);
        }
        if let Some(stated) = self.find(&[Meaning::Currency]).filter(|stated| stated.text() != Some("")) {
            let currency = stated.text().and_then(|text| Currency::parse(text.trim()).ok());
            self.take_checked("account_currency", stated, currency.map(|currency| json_text(currency.as_str())));
        }
        if let Some(stated) = self.find(&[Meaning::WinRate]) {
            let is_unclear =
                |found: Quantity| found.unit == Unit::None && found.value.is_positive() && found.value <= Decimal::ONE;
            if stated.quantity().is_some_and(is_unclear) {
                self.notes.push(Note::WinRateUnclear);
                self.members.put("legacy_win_rate", stated.json());
            } else {
                self.take_number("win_rate", stated, Some(Decimal::HUNDRED), Unit::Percent);
            }
        }
        if let Some(stated) = self.find(&[Meaning::Trades]) {
            let is_whole = |found: Quantity| found.value.floor_to(Decimal::ONE) == found.value;
            if stated.quantity().is_some_and(is_whole) {
                self.take_number("trades_remaining", stated, Decimal::from_int(1_000_000), Unit::None);
            } else {
                self.take_checked("trades_remaining", stated, None);
            }
        }
    }

    /// Reads the risk in percent.
    ///
    /// 0.02 may be two percent or a fiftieth of one: only a name that is known for fractions, or a percent sign,
    /// decides.
    fn take_risk(&mut self) {
        /// A tenth, in units of a [`Decimal`]: no user risks a tenth of a percent, or a tenth of the account.
        const TENTH: Decimal = Decimal::from_units(10_000_000);
        let percent = self.find(&[Meaning::Risk]);
        let Some(stated) = percent.or_else(|| self.find(&[Meaning::RiskOther, Meaning::RiskFraction])) else { return };
        let Some(found) = stated.quantity() else { return self.take_checked("risk_percent", stated, None) };
        let is_named = percent.is_some();
        let is_small = found.value.is_positive() && found.value < if is_named { TENTH } else { Decimal::ONE };
        let is_large = !is_named && Decimal::from_int(10).is_some_and(|ten| found.value > ten);
        if found.unit != Unit::None || !(is_small || is_large) {
            return self.take_number("risk_percent", stated, Some(Decimal::HUNDRED), Unit::Percent);
        }
        let fraction = if is_named { None } else { self.find(&[Meaning::RiskFraction]) };
        let fraction = fraction.and_then(Value::quantity).filter(|found| found.value <= TENTH);
        if let Some(read) = fraction.and_then(|found| found.value.checked_mul(Decimal::HUNDRED, Round::HalfEven)) {
            self.notes.push(Note::RiskFraction);
            self.members.put("risk_percent", read.to_string());
        } else {
            self.notes.push(Note::RiskUnclear);
            self.members.put("legacy_risk_percent", stated.json());
        }
    }

    /// Takes a number of at least zero without a unit, or with this one.
    fn take_number(&mut self, name: &str, stated: &Value<'_>, most: Option<Decimal>, unit: Unit) {
        let fits = |found: &Quantity| {
            found.value >= Decimal::ZERO
                && most.is_none_or(|most| found.value <= most)
                && (found.unit == Unit::None || found.unit == unit)
        };
        let found = stated.quantity().filter(fits);
        if found.is_some_and(|found| found.is_display_string) {
            self.notes.push(Note::DisplayString);
        }
        self.take_checked(name, stated, found.map(|found| found.value.to_string()));
    }

    /// Takes a value, or keeps what was stated under another name.
    fn take_checked(&mut self, name: &str, stated: &Value<'_>, read: Option<String>) {
        if let Some(read) = read {
            self.members.put(name, read);
        } else {
            self.notes.push(Note::InvalidFact);
            self.members.put(&format!("legacy_{name}"), stated.json());
        }
    }

    /// Takes all other members of the user, unchanged.
    fn take_others(&mut self, is_whole: bool) {
        let names = self.record.context.names;
        let balance = self.find(&[Meaning::Balance]).and_then(Value::quantity);
        let has_no_balance = balance.is_some_and(|balance| balance.value.is_zero());
        for (index, place) in self.places.iter().enumerate() {
            for Member { name, id, value, .. } in place.members() {
                let is_root_of_mission = index == 0 && !is_whole;
                let is_taken =
                    !names.is_kept_in_overlay(*id) || (is_root_of_mission && !names.is_other_fact(name, *id));
                if value.is_null() || is_taken {
                    continue;
                }
                let is = |meaning: Meaning| names.has(meaning, *id);
                // A zero beside a real balance is a field that the writer never filled.
                let is_amount = is(Meaning::Equity) || is(Meaning::MarginFree) || is(Meaning::Margin);
                let amount = if is_amount { value.quantity().map(|found| found.value) } else { None };
                if is_amount && amount.is_none_or(|amount| amount.is_zero() && !has_no_balance) {
                    continue;
                }
                let (name, value) = match (&**name, amount) {
                    (_, Some(amount)) if is(Meaning::Equity) => ("account_equity", amount.to_string()),
                    (_, Some(amount)) if is(Meaning::MarginFree) => ("free_margin", amount.to_string()),
                    ("rank", _) => ("user_rank", value.json()),
                    (name, _) => (name, value.json()),
                };
                self.members.put(name, value);
            }
        }
    }
}
