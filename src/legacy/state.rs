//! What is remembered of a signal and of a user while a tree is read.
//!
//! Both states can be merged in any order and any number of times with the same result: the set of files decides, not
//! the order in which they were found. That is what lets them be kept in memory, or cut into sorted runs and merged.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::signal::SignalPart;
use super::user::{OutcomePart, OverlayPart};
use crate::domain::UnixMillis;
use crate::render::signal_json;

/// Files that speak of the same trade under the same id further apart than this speak of two: the counters in the old
/// ids restarted with each process, and the nearest two real restarts lie three hours apart. Writing one signal's
/// files for all users took seconds.
pub(super) const SAME_TRADE_MS: i64 = 60 * 60 * 1_000;
/// Most differing facts of one user that are told apart.
const FACTS_MAX: usize = 64;

/// Everything that was found under one signal id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SignalState {
    /// One for each trade.
    pub(super) variants: Vec<Variant>,
}

/// One trade under an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Variant {
    /// Symbol, direction, levels and confidence.
    pub(super) core: String,
    /// Whether the files say when it was made.
    pub(super) is_dated: bool,
    /// When the earliest file says it was made, in milliseconds.
    pub(super) first: i64,
    /// When the latest file says so.
    pub(super) last: i64,
    /// The earliest file's signal, as JSON.
    pub(super) json: String,
    /// What happened for users, by their ids.
    pub(super) outcomes: BTreeMap<String, OutcomeState>,
    /// The files, by their numbers in the order of the scan.
    pub(super) files: Vec<u64>,
}

/// What happened for one user: the latest counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct OutcomeState {
    /// When, in milliseconds.
    pub(super) at: i64,
    /// `fired` or `failed`.
    pub(super) status: String,
    /// Everything else, as JSON.
    pub(super) json: String,
}

impl SignalState {
    /// Adds what one file says.
    pub(super) fn add(&mut self, part: &SignalPart, outcome: Option<&OutcomePart>, file: u64) {
        let core = part.core();
        let at = part.signal.created_at.millis();
        let near = |variant: &&mut Variant| variant.core == core && variant.is_near(part.is_dated, at, at);
        let mut same = self.variants.iter_mut().filter(near);
        if let (Some(variant), None, None) = (same.next(), same.next(), outcome)
            && variant.first < at
        {
            // The common case: another user's copy of what is known, so that nothing needs rendering.
            variant.last = variant.last.max(at);
            variant.files.push(file);
            return;
        }
        let outcomes = outcome.map(|outcome| {
            let state = OutcomeState {
                at: outcome.at.millis(),
                status: outcome.status.as_str().to_owned(),
                json: outcome.members.to_json(),
            };
            (outcome.user.as_str().to_owned(), state)
        });
        let json = String::from_utf8(signal_json(&part.signal)).unwrap_or_default();
        let outcomes = outcomes.into_iter().collect();
        let is_dated = part.is_dated;
        self.put(Variant { core, is_dated, first: at, last: at, json, outcomes, files: vec![file] });
    }

    /// Adds a trade, together with every known one that it is the same as.
    fn put(&mut self, mut new: Variant) {
        // A new one may lie between two that were too far apart: then all three are one.
        while let Some(at) = self
            .variants
            .iter()
            .position(|known| known.core == new.core && known.is_near(new.is_dated, new.first, new.last))
        {
            let old = self.variants.swap_remove(at);
            new = old.merged(new);
        }
        self.variants.push(new);
    }

    /// Merges what another part of the tree says.
    pub(super) fn merge(&mut self, other: Self) {
        for variant in other.variants {
            self.put(variant);
        }
    }

    /// A guess at the memory that this takes.
    #[must_use]
    pub(super) fn bytes(&self) -> usize {
        self.variants.iter().map(|variant| variant.json.len() + 200 + 8 * variant.files.len()).sum()
    }
}

impl Variant {
    /// Whether a time span is that of the same trade. Undated files are one trade, whatever their own times are.
    fn is_near(&self, is_dated: bool, first: i64, last: i64) -> bool {
        self.is_dated == is_dated
            && (!is_dated || (first <= self.last + SAME_TRADE_MS && self.first - SAME_TRADE_MS <= last))
    }

    /// Joins two of the same trade: the earliest makes the signal.
    pub(super) fn merged(mut self, mut other: Self) -> Self {
        if (other.first, &other.json) < (self.first, &self.json) {
            std::mem::swap(&mut self, &mut other);
        }
        self.last = self.last.max(other.last);
        for (user, outcome) in other.outcomes {
            match self.outcomes.get_mut(&user) {
                Some(known) if *known >= outcome => {}
                Some(known) => *known = outcome,
                None => {
                    self.outcomes.insert(user, outcome);
                }
            }
        }
        if self.files.len() < other.files.len() {
            std::mem::swap(&mut self.files, &mut other.files);
        }
        self.files.append(&mut other.files);
        self
    }
}

/// Everything that was found about one user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UserState {
    /// Each member's newest value, with the time of the file that it is from; −1 for a file without one.
    pub(super) members: BTreeMap<String, (i64, String)>,
    /// Fingerprints of differing tier, balance and risk.
    pub(super) facts: BTreeSet<u64>,
}

impl UserState {
    /// Adds what one file says. Each member's newest value wins, so that a file which lacks a member takes nothing away.
    pub(super) fn add(&mut self, part: &OverlayPart) {
        let at = part.at.map_or(-1, UnixMillis::millis);
        for (name, value) in &part.members {
            match self.members.get_mut(name) {
                Some((known_at, known)) => {
                    if (*known_at, known.as_str()) < (at, value.as_str()) {
                        *known_at = at;
                        known.clone_from(value);
                    }
                }
                None => {
                    self.members.insert(name.clone(), (at, value.clone()));
                }
            }
        }
        let find = |name: &str| part.members.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        let balance = find("account_balance");
        if !balance.is_empty() {
            let facts = format!("{} {balance} {}", find("tier"), find("risk_percent"));
            let hash = blake3::hash(facts.as_bytes());
            self.facts.insert(hash.as_bytes().iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte)));
            self.cap();
        }
    }

    /// Merges what another part of the tree says.
    pub(super) fn merge(&mut self, other: Self) {
        for (name, new) in other.members {
            match self.members.get_mut(&name) {
                Some(known) if *known >= new => {}
                Some(known) => *known = new,
                None => {
                    self.members.insert(name, new);
                }
            }
        }
        self.facts.extend(other.facts);
        self.cap();
    }

    /// Keeps the least ones, so that the order of merging does not matter.
    fn cap(&mut self) {
        while self.facts.len() > FACTS_MAX {
            self.facts.pop_last();
        }
    }

    /// A guess at the memory that this takes.
    #[must_use]
    pub(super) fn bytes(&self) -> usize {
        200 + self.members.iter().map(|(name, (_, value))| name.len() + value.len() + 80).sum::<usize>()
    }
}
