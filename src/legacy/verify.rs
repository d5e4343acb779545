//! Old missions computed again and compared with what their files say.
//!
//! Each file is read once more, its records are looked up, and the mission is computed from the facts that the file states,
//! by today's rule. Every number that differs is explained by a named cause, or it is listed.
//!
//! Causes are not equally strong. The old pip formula, rounding and the budget must give the file's number. Stale facts only need an
//! overlay that is newer than the file, levels only the note of how they were read. A shared volume, a stated ratio and a time
//! that stood still are names for whatever differs there: such a number is never listed, and proves nothing.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::reason::Note;
use super::recognise::{Context, Part, recognise};
use super::report::PathText;
use super::scan::{Loaded, Walk, for_each};
use super::signal::core_of;
use super::state::SAME_TRADE_MS;
use crate::domain::{
    Decimal, Levels, Market, Mission, Object, Overlay, OverlayDraft, Reason, Round, Signal, SignalId, UnixMillis,
    UserId, compute,
};

/// Most differences without a cause that are kept in memory; all are counted and reported.
const UNEXPLAINED_MAX: usize = 1_000;

/// Where the imported records are.
pub trait Records {
    /// All signals that an old id became: its own, and those under `{id}@…`.
    ///
    /// # Errors
    ///
    /// If they can not be read.
    fn signals(&mut self, id: &SignalId) -> Result<Vec<Signal>>;

    /// Reads an overlay.
    ///
    /// # Errors
    ///
    /// If it can not be read.
    fn overlay(&mut self, user: &UserId) -> Result<Option<Overlay>>;
}

/// Why a number in a file is not today's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The old formula, distance × 10,000 × $10, gives the file's number.
    OldPipFormula,
    /// The stop's field held a number of pips.
    StopInPips,
    /// The stop was set with the pip of another symbol.
    PipOfAnotherSymbol,
    /// The entry was no price of the symbol.
    PlaceholderEntry,
    /// The signal has no stop price, only a distance.
    MissingStop,
    /// The user's facts have changed since.
    StaleBalance,
    /// The two differ only in their last digit.
    Rounding,
    /// The file gives the budget as the risk; the size that it buys risks less.
    BudgetAsRisk,
    /// A size that was written alike into every copy.
    SharedVolume,
    /// A ratio that was stated, not computed from the levels.
    StatedRatio,
    /// The instrument or the tier allows no larger size.
    LotLimit,
    /// The smallest size that trades does not fit the budget.
    BelowMinimumLot,
    /// No rate converts to the account's currency.
    NoConversionRate,
    /// The instrument or tier is not known, so nothing is sized.
    NotSized,
    /// The seconds that were left stood still since.
    TimeStoodStill,
    /// Nothing explains it.
    Unexplained,
}

/// One number that is not what the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which file.
    #[serde(flatten)]
    pub path: PathText,
    /// Which number.
    pub field: &'static str,
    /// What the file says.
    pub file: String,
    /// What is computed or stored now.
    pub now: String,
    /// Why.
    pub cause: Cause,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files seen.
    pub files: u64,
    /// Records with a signal that were compared.
    pub missions: u64,
    /// Numbers that are the same.
    pub same: u64,
    /// Numbers that differ, by cause.
    pub causes: BTreeMap<Cause, u64>,
    /// The first thousand that nothing explains.
    pub unexplained: Vec<Difference>,
}

/// Compares a tree with the records that were made of it; `report` gets one line a difference.
///
/// # Errors
///
/// If the tree or the records can not be read.
pub fn verify(
    root: &Path,
    context: Context<'_>,
    market: Market<'_>,
    records: &mut dyn Records,
    mut report: Option<&mut dyn Write>,
    progress: &mut dyn FnMut(u64),
) -> Result<Verified> {
    let mut verified = Verified::default();
    let context = Context { has_claims: true, ..context };
    let read = |loaded: Loaded| {
        let parts = match &loaded.content {
            Ok(bytes) => recognise(bytes, &loaded.entry.path, loaded.stat.modified(), context).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        (loaded.entry.path, parts)
    };
    for_each(Walk::new(root, &std::env::temp_dir())?, read, |(path, parts)| {
        verified.files += 1;
        progress(verified.files);
        for part in &parts {
            let mut comparison = Comparison { path: &path, same: 0, differences: Vec::new() };
            comparison.part(part, market, records)?;
            verified.missions += u64::from(part.signal.is_some());
            verified.same += comparison.same;
            for difference in comparison.differences {
                *verified.causes.entry(difference.cause).or_default() += 1;
                if let Some(report) = &mut report {
                    serde_json::to_writer(&mut *report, &difference)?;
                    report.write_all(b"\n")?;
                }
                if difference.cause == Cause::Unexplained && verified.unexplained.len() < UNEXPLAINED_MAX {
                    verified.unexplained.push(difference);
                }
            }
        }
        Ok(())
    })?;
    Ok(verified)
}

/// One record and what was found about it.
struct Comparison<'p> {
    path: &'p Path,
    same: u64,
    differences: Vec<Difference>,
}

impl Comparison<'_> {
    /// Notes a number; `cause` is asked only if it differs.
    fn number(
        &mut self,
        field: &'static str,
        file: Option<Decimal>,
        now: Option<Decimal>,
        cause: impl FnOnce() -> Cause,
    ) {
        let Some(file) = file else { return };
        if Some(file) == now {
            self.same += 1;
            return;
        }
        let now = now.map_or_else(|| "none".to_owned(), |now| now.to_string());
        self.differ(field, file.to_string(), now, cause());
    }

    fn differ(&mut self, field: &'static str, file: String, now: String, cause: Cause) {
        self.differences.push(Difference { path: PathText::of(self.path), field, file, now, cause });
    }

    fn part(&mut self, part: &Part, market: Market<'_>, records: &mut dyn Records) -> Result<()> {
        let overlay = match &part.overlay {
            Some(facts) => records.overlay(&facts.user)?,
            None => None,
        };
        if let Some(facts) = &part.overlay {
            match &overlay {
                Some(stored) => self.facts(part, stored),
                None => self.differ("user", facts.user.to_string(), "none".to_owned(), Cause::Unexplained),
            }
        }
        let Some(found) = &part.signal else { return Ok(()) };
        let core = found.core();
        let is_same = |stored: &Signal| {
            let apart = stored.created_at.millis().abs_diff(found.signal.created_at.millis());
            same_trade(&core_of(stored), &core) && (!found.is_dated || apart <= SAME_TRADE_MS.unsigned_abs() * 24)
        };
        let Some(signal) = records.signals(&found.signal.id)?.into_iter().find(is_same) else {
            self.differ("signal", found.signal.id.to_string(), "none".to_owned(), Cause::Unexplained);
            return Ok(());
        };
        self.same += 1;
        self.levels(part, &signal);
        if let (Some(overlay), Some(facts)) = (&overlay, &part.overlay)
            && let Some(then) = as_of_then(&facts.members, overlay)
        {
            let mission = compute(&signal, &then, None, market, found.signal.created_at);
            self.sizes(part, &signal, &then, &mission, market);
        }
        let left = signal.expires_at.millis().saturating_sub(signal.created_at.millis()) / 1_000;
        self.number("time_remaining", part.claims.time_remaining, Decimal::from_int(left), || Cause::TimeStoodStill);
        Ok(())
    }

    /// The user's facts against the overlay, which has the newest.
    fn facts(&mut self, part: &Part, stored: &Overlay) {
        let is_older =
            part.overlay.as_ref().and_then(|facts| facts.at).is_none_or(|at| at.millis() < stored.updated_at.millis());
        let cause = || if is_older { Cause::StaleBalance } else { Cause::Unexplained };
        self.number("account_balance", part.claims.balance, stored.account_balance, cause);
        self.number("risk_percent", part.claims.risk_percent, stored.risk_percent, cause);
    }

    fn levels(&mut self, part: &Part, signal: &Signal) {
        let has = |note: Note| part.notes.contains(&note);
        let cause = || {
            if has(Note::StopInPips) {
                Cause::StopInPips
            } else if has(Note::PipOfAnotherSymbol) {
                Cause::PipOfAnotherSymbol
            } else if has(Note::PlaceholderEntry) {
                Cause::PlaceholderEntry
            } else {
                Cause::Unexplained
            }
        };
        let (entry, stop, target) = match signal.levels {
            Levels::Prices { entry, stop, target } => (Some(entry), Some(stop), target),
            Levels::Pips { entry, .. } => (entry, None, None),
        };
        self.number("entry_price", part.claims.entry, entry, cause);
        self.number("stop_loss", part.claims.stop, stop, cause);
        self.number("take_profit", part.claims.target, target, cause);
    }

    fn sizes(&mut self, part: &Part, signal: &Signal, then: &Overlay, mission: &Mission, market: Market<'_>) {
        let claims = &part.claims;
        let old = OldMission::of(part, then);
        let size_cause = |size: Decimal| {
            if old.size().is_some_and(|old| is_near(old, size, 600_000)) {
                Cause::OldPipFormula
            } else if mission.reasons.contains(Reason::NoConversionRate) {
                Cause::NoConversionRate
            } else if mission.lots.is_none() {
                Cause::NotSized
            } else if mission.lots_raw.is_some_and(|raw| is_near(raw, size, 1_000_000)) {
                let is_cut = mission.reasons.contains(Reason::BelowMinimumLot);
                let is_limited = limit(signal, then, market).is_some_and(|most| mission.lots == Some(most));
                if is_cut {
                    Cause::BelowMinimumLot
                } else if is_limited {
                    Cause::LotLimit
                } else {
                    Cause::Rounding
                }
            } else {
                Cause::Unexplained
            }
        };
        self.number("position_size", claims.size, mission.lots, || claims.size.map_or(Cause::Unexplained, size_cause));
        self.number("volume", claims.volume, mission.lots, || Cause::SharedVolume);
        self.number("risk_amount", claims.risk_amount, mission.risk_amount, || {
            let is_budget = claims.risk_amount.zip(mission.risk_budget).is_some_and(|(a, b)| is_near(a, b, 1_000_000));
            if is_budget { Cause::BudgetAsRisk } else { Cause::Unexplained }
        });
        self.number("reward_amount", claims.reward_amount, mission.reward_amount, || {
            let is_old = claims.reward_amount.zip(old.reward()).is_some_and(|(a, b)| is_near(a, b, 100_000_000));
            if is_old { Cause::OldPipFormula } else { Cause::Unexplained }
        });
        self.number("risk_reward", claims.risk_reward, mission.risk_reward, || {
            let near =
                |ratio: Option<Decimal>| ratio.zip(claims.risk_reward).is_some_and(|(a, b)| is_near(a, b, 1_000_000));
            if near(mission.risk_reward) {
                Cause::Rounding
            } else if near(old.ratio()) {
                Cause::OldPipFormula
            } else {
                Cause::StatedRatio
            }
        });
    }
}

/// Whether two trades are the same, the one perhaps without a confidence.
fn same_trade(stored: &str, found: &str) -> bool {
    let trade = |core: &str| core.rsplit_once(' ').map(|(trade, _)| trade.to_owned());
    stored == found || (found.ends_with(" -") && trade(stored) == trade(found))
}

fn is_near(a: Decimal, b: Decimal, units: u64) -> bool {
    a.units().abs_diff(b.units()) <= units
}

/// The overlay as the file saw it: its own facts, and the rest as stored.
fn as_of_then(facts: &[(String, String)], stored: &Overlay) -> Option<Overlay> {
    let object = Object::from_members(facts.to_vec());
    let then = OverlayDraft::from_object(object, Some(&stored.user_id)).ok()?.resolve(UnixMillis::MIN);
    Some(Overlay { account_currency: stored.account_currency.clone(), ..then })
}

/// The largest size that the instrument and the tier allow.
fn limit(signal: &Signal, overlay: &Overlay, market: Market<'_>) -> Option<Decimal> {
    let instrument = market.instruments.get(&signal.symbol)?;
    let tier = overlay.tier.as_ref().and_then(|name| market.tiers.get(name));
    Some(tier.map_or(instrument.max_lot, |(_, tier)| tier.max_lots.min(instrument.max_lot)))
}

/// The old computation: every symbol has a pip of 0.0001, a pip of a lot is worth $10, a number in the stop's field is a
/// price.
struct OldMission {
    stop: Option<Decimal>,
    target: Option<Decimal>,
    budget: Option<Decimal>,
}

impl OldMission {
    fn of(part: &Part, then: &Overlay) -> Self {
        let distance = |to: Option<Decimal>| part.claims.entry.zip(to).and_then(|(entry, to)| entry.distance(to));
        let budget = then.account_balance.zip(then.risk_percent).and_then(|(balance, risk)| {
            balance.checked_mul(risk, Round::HalfEven)?.checked_div(Decimal::HUNDRED, Round::HalfEven)
        });
        Self { stop: distance(part.claims.stop), target: distance(part.claims.target), budget }
    }

    /// Distance × 10,000 × $10.
    fn size(&self) -> Option<Decimal> {
        let loss = self.stop?.checked_mul(Decimal::from_int(100_000)?, Round::HalfEven)?;
        self.budget?.checked_div(loss, Round::HalfEven)
    }

    fn ratio(&self) -> Option<Decimal> {
        self.target?.checked_div(self.stop?, Round::HalfEven)
    }

    fn reward(&self) -> Option<Decimal> {
        self.budget?.checked_mul(self.ratio()?, Round::HalfEven)
    }
}
