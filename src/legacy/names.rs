//! The names of members in old files: data, one list a meaning.
//!
//! Members are recognised by their meaning, not by the shape of the whole file. A member without a known name is kept
//! unchanged: with the user's overlay if it is among the user's members or its name begins as theirs do, else with the
//! signal, which everybody reads.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// What a name says; `data/legacy_names.toml` describes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Meaning {
    SignalId,
    Symbol,
    SymbolOther,
    Direction,
    Entry,
    Stop,
    Target,
    StopPips,
    TargetPips,
    Confidence,
    Pattern,
    Created,
    Expires,
    RiskReward,
    SignalObjects,
    TelegramId,
    UserId,
    Tier,
    Risk,
    RiskFraction,
    RiskOther,
    Balance,
    Currency,
    WinRate,
    Trades,
    Equity,
    MarginFree,
    Margin,
    Observed,
    Persons,
    Accounts,
    People,
    Private,
    PrivatePrefixes,
    AccountEvidence,
    Event,
    Order,
    Size,
    Computed,
    SignalExcluded,
    OverlayExcluded,
    Containers,
}

/// Facts that an overlay has members for.
pub(super) const FACTS: [Meaning; 8] = [
    Meaning::Tier,
    Meaning::Risk,
    Meaning::RiskFraction,
    Meaning::RiskOther,
    Meaning::Balance,
    Meaning::Currency,
    Meaning::WinRate,
    Meaning::Trades,
];
/// Other members of the user that may stand at the root of a mission.
const OTHER_FACTS: [Meaning; 4] = [Meaning::Equity, Meaning::MarginFree, Meaning::Margin, Meaning::Private];
/// Objects and ids of the user.
const OF_USER: [Meaning; 4] = [Meaning::Persons, Meaning::Accounts, Meaning::TelegramId, Meaning::UserId];
/// Members that are read into a signal, or are no part of one.
const NOT_IN_SIGNAL: [Meaning; 15] = [
    Meaning::SignalId,
    Meaning::Symbol,
    Meaning::Entry,
    Meaning::Stop,
    Meaning::Target,
    Meaning::Confidence,
    Meaning::Pattern,
    Meaning::Created,
    Meaning::Expires,
    Meaning::People,
    Meaning::Event,
    Meaning::Order,
    Meaning::Size,
    Meaning::Computed,
    Meaning::SignalExcluded,
];
/// Members that are read into an overlay, or are no part of one, beside [`FACTS`].
const NOT_IN_OVERLAY: [Meaning; 7] = [
    Meaning::Observed,
    Meaning::Persons,
    Meaning::Accounts,
    Meaning::UserId,
    Meaning::Size,
    Meaning::Computed,
    Meaning::OverlayExcluded,
];

/// A known name, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NameId(u16);

/// All known names.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// By number.
    spellings: Vec<String>,
    /// By number.
    meanings: Vec<Vec<Meaning>>,
    /// By spelling, and by the name without case, `_`, `-` and spaces.
    numbers: HashMap<String, NameId>,
    /// By meaning.
    lists: BTreeMap<Meaning, Vec<NameId>>,
    /// How names begin that are not known and belong to the user.
    private_prefixes: Vec<String>,
}

impl Names {
    /// The built-in names.
    ///
    /// # Errors
    ///
    /// None in a tested build: the lists are compiled in, and a test reads them.
    pub fn built_in() -> Result<Self> {
        let mut names = Self::default();
        names.add(include_str!("../../data/legacy_names.toml"))?;
        Ok(names)
    }

    /// Adds the names of a TOML text behind those that are known.
    ///
    /// # Errors
    ///
    /// If the text is no table of lists, or names a list that there is not.
    pub fn add(&mut self, text: &str) -> Result<()> {
        let lists: BTreeMap<Meaning, Vec<String>> = toml::from_str(text).context("no table of names")?;
        for (meaning, more) in lists {
            if meaning == Meaning::PrivatePrefixes {
                self.private_prefixes.extend(more);
                continue;
            }
            for name in &more {
                let id = self.number(name)?;
                self.lists.entry(meaning).or_default().push(id);
                self.meanings.get_mut(usize::from(id.0)).into_iter().for_each(|meanings| meanings.push(meaning));
            }
        }
        Ok(())
    }

    /// The number of a name, which is known from now on.
    fn number(&mut self, name: &str) -> Result<NameId> {
        if let Some(id) = self.find(name) {
            return Ok(id);
        }
        let id = NameId(u16::try_from(self.spellings.len()).context("too many names")?);
        self.spellings.push(name.to_owned());
        self.meanings.push(Vec::new());
        self.numbers.extend([(name.to_owned(), id), (normalized(name), id)]);
        Ok(id)
    }

    /// The names of a meaning, in the order in which they count.
    pub(super) fn of(&self, meaning: Meaning) -> &[NameId] {
        self.lists.get(&meaning).map_or(&[], Vec::as_slice)
    }

    /// Whether a name has a meaning.
    pub(super) fn has(&self, meaning: Meaning, id: Option<NameId>) -> bool {
        id.is_some_and(|id| self.has_any(&[&[meaning]], id))
    }

    fn has_any(&self, sets: &[&[Meaning]], id: NameId) -> bool {
        let meanings = self.meanings.get(usize::from(id.0)).into_iter().flatten();
        meanings.into_iter().any(|meaning| sets.iter().any(|set| set.contains(meaning)))
    }

    /// Looks a name up in any spelling.
    pub(super) fn find(&self, name: &str) -> Option<NameId> {
        self.numbers.get(name).or_else(|| self.numbers.get(&normalized(name))).copied()
    }

    /// The one spelling of a known name.
    pub(super) fn spelling(&self, id: NameId) -> &str {
        self.spellings.get(usize::from(id.0)).map_or("", String::as_str)
    }

    /// Whether a member is the user's in any object of the file.
    pub(super) fn is_of_user(&self, name: &str, id: Option<NameId>) -> bool {
        id.map_or_else(|| self.has_private_prefix(name), |id| self.has_any(&[&FACTS, &OTHER_FACTS, &OF_USER], id))
    }

    /// Whether a member at the root of a mission goes into the overlay unchanged.
    pub(super) fn is_other_fact(&self, name: &str, id: Option<NameId>) -> bool {
        id.map_or_else(|| self.has_private_prefix(name), |id| self.has_any(&[&OTHER_FACTS], id))
    }

    /// Whether a member is kept with a signal unchanged.
    pub(super) fn is_kept_in_signal(&self, name: &str, id: Option<NameId>) -> bool {
        !self.is_of_user(name, id) && id.is_none_or(|id| !self.has_any(&[&NOT_IN_SIGNAL], id))
    }

    /// Whether a member of the user is kept with the overlay unchanged.
    pub(super) fn is_kept_in_overlay(&self, id: Option<NameId>) -> bool {
        id.is_none_or(|id| !self.has_any(&[&FACTS, &NOT_IN_OVERLAY], id))
    }

    fn has_private_prefix(&self, name: &str) -> bool {
        self.private_prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// A name without case, `_`, `-` and spaces.
fn normalized(name: &str) -> String {
    let mut letters = name.to_ascii_lowercase();
    letters.retain(|letter| !matches!(letter, '_' | '-' | ' '));
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_name_is_known_in_any_spelling() {
        let names = Names::built_in().unwrap();
        let find = |name: &str| names.find(name).map(|id| names.spelling(id));
        for spelled in ["stop_loss", "stopLoss", "Stop-Loss", "STOPLOSS", "stop loss"] {
            assert_eq!(find(spelled), Some("stop_loss"));
        }
        assert_eq!(find("userID"), Some("user_id"));
        assert_eq!(find("colour"), None);
        let is_of_user = |name: &str| names.is_of_user(name, names.find(name));
        assert!(is_of_user("account_manager") && is_of_user("user_xp") && is_of_user("email"));
        assert!(!is_of_user("user_fired") && !is_of_user("accountant"));
    }

    #[test]
    fn no_two_names_of_the_file_are_one() {
        let lists: BTreeMap<Meaning, Vec<String>> =
            toml::from_str(include_str!("../../data/legacy_names.toml")).unwrap();
        let names = Names::built_in().unwrap();
        for name in lists.iter().filter(|(meaning, _)| **meaning != Meaning::PrivatePrefixes).flat_map(|(_, list)| list)
        {
            assert_eq!(names.find(name).map(|id| names.spelling(id)), Some(name.as_str()));
        }
    }

    #[test]
    fn an_operators_names_are_added_and_a_list_that_there_is_not_is_named() {
        let mut names = Names::built_in().unwrap();
        names.add("stop = ['invalidation']\nprivate = ['shoe_size']").unwrap();
        assert!(names.has(Meaning::Stop, names.find("Invalidation")));
        assert_eq!(names.of(Meaning::Stop).last().map(|id| names.spelling(*id)), Some("invalidation"));
        assert!(names.is_of_user("shoe_size", names.find("shoe_size")));
        for (text, named) in [("stopp = ['x']", "stopp"), ("stop = 'x'", "stop"), ("stop", "line")] {
            let error = format!("{:#}", names.add(text).unwrap_err());
            assert!(error.contains(named), "{error}");
        }
    }
}
