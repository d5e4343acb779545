//! Old missions computed again and compared with what their files say.
//!
//! Each file is read once more, its records are looked up, and the mission is computed from the facts that the file
//! states, by today's rule. Every number that differs is explained by a named cause, or it is listed.
//!
//! A cause must hold its formula on the file's own numbers; a number that no formula gives is listed. Only where
//! nothing can be computed now (no rate, no instrument, no price) is there nothing to hold against the file, and the
//! cause says just that.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use strum::EnumMessage;

use super::database::Database;
use super::group::SAME_TRADE_MS;
use super::members::accept;
use super::part::{Claims, Part, TradeKey};
use super::progress::Progress;
use super::reason::{Note, Refusal};
use super::recognise::recognise;
use super::record::Context;
use super::report::{PathText, ReportFile, Unreadable, reported};
use super::resolve::Target as _;
use super::walk::{Loaded, Tree};
use crate::domain::{
    Decimal, Levels, Market, Mission, Overlay, OverlayDraft, Reason, Round, Signal, Tiers, UnixMillis, compute,
};

/// Most differences without a cause that are kept in memory; all are counted and reported.
const UNEXPLAINED_MAX: usize = 1_000;

/// Why a number in a file is not today's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, EnumMessage)]
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
    /// The signal has no prices, only distances, so nothing is sized.
    MissingStop,
    /// The user's facts have changed since; the file's amounts come from its own.
    StaleBalance,
    /// The two differ only in their last digit.
    Rounding,
    /// The file gives the budget as the risk; the size that it buys risks less.
    BudgetAsRisk,
    /// A size that missions of other balances, risks or stops have alike.
    SharedVolume,
    /// A ratio that the writers had as a constant, whatever the levels.
    StatedRatio,
    /// The instrument or the tier allows no larger size.
    LotLimit,
    /// The smallest size that trades does not fit the budget.
    BelowMinimumLot,
    /// No rate converts to the account's currency.
    NoConversionRate,
    /// The instrument or tier is not known, so nothing is sized.
    NotSized,
    /// The seconds that were left stood still since: no more than the signal's life.
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
    /// The number that is computed or stored now.
    pub now: String,
    /// Why.
    pub cause: Cause,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Files seen.
    pub files: u64,
    /// Records with a signal that were compared.
    pub missions: u64,
    /// Numbers that are the same.
    pub same: u64,
    /// Numbers that differ, by cause.
    #[serde(rename = "differences")]
    pub causes: BTreeMap<Cause, u64>,
    /// The first thousand that nothing explains.
    pub unexplained: Vec<Difference>,
    /// What could not be read.
    #[serde(skip)]
    pub unreadable: Unreadable,
}

/// Compares a tree with the records that were made of it; `report` gets one line a difference.
///
/// # Errors
///
/// If the tree or the records can not be read.
pub fn verify(
    tree: &Tree,
    context: Context<'_>,
    tiers: &Tiers,
    database: &Database,
    report: Option<&ReportFile>,
) -> Result<Verified> {
    let rates = database.rates()?;
    let market = Market { instruments: context.instruments, tiers, rates: &rates };
    let mut progress = Progress::over("comparing", tree);
    reported(report, |out| compare(tree, context, market, database, out, |files| progress.set(files)))
}

fn compare(
    tree: &Tree,
    context: Context<'_>,
    market: Market<'_>,
    database: &Database,
    mut report: Option<&mut dyn Write>,
    mut progress: impl FnMut(u64),
) -> Result<Verified> {
    let mut verified = Verified::default();
    let mut volumes = Volumes::default();
    let read = |Loaded { entry, stat, content }: Loaded| {
        let read = content.map(|bytes| recognise(&bytes, &entry.path, stat.modified(), context).unwrap_or_default());
        (entry.path, read)
    };
    tree.for_each(read, |(path, read): (_, Result<Vec<Part>, Refusal>)| {
        verified.files += 1;
        progress(verified.files);
        let parts = read.unwrap_or_else(|refusal| {
            verified.unreadable.note(&path, refusal);
            Vec::new()
        });
        for part in &parts {
            let mut comparison = Comparison { path: &path, same: 0, differences: Vec::new(), volumes: &mut volumes };
            comparison.part(part, market, database)?;
            verified.missions += u64::from(part.signal.is_some());
            verified.same += comparison.same;
            for difference in comparison.differences {
                verified.add(difference, &mut report)?;
            }
        }
        Ok(())
    })?;
    for difference in volumes.alone() {
        verified.add(difference, &mut report)?;
    }
    Ok(verified)
}

impl Verified {
    fn add(&mut self, difference: Difference, report: &mut Option<&mut dyn Write>) -> Result<()> {
        *self.causes.entry(difference.cause).or_default() += 1;
        if let Some(report) = report {
            serde_json::to_writer(&mut *report, &difference)?;
            report.write_all(b"\n")?;
        }
        if difference.cause == Cause::Unexplained && self.unexplained.len() < UNEXPLAINED_MAX {
            self.unexplained.push(difference);
        }
        Ok(())
    }
}

/// What a size comes from: balance, risk, distance to the stop.
type Basis = [Option<Decimal>; 3];

/// Sizes that the engine put into every copy alike: one is proved to be so by another mission that has it on another
/// basis.
///
/// The first of each waits here for the second.
#[derive(Debug, Default)]
struct Volumes {
    seen: BTreeMap<Decimal, (Basis, Vec<Difference>)>,
}

impl Volumes {
    /// Takes a difference; returns those that are proved now.
    fn add(&mut self, volume: Decimal, basis: Basis, difference: Difference) -> Vec<Difference> {
        /// Real trees have a dozen different ones.
        const VOLUMES_MAX: usize = 4_096;
        /// Enough to prove nothing with; the rest is listed at once.
        const WAITING_MAX: usize = 1_024;
        let proved = |difference| Difference { cause: Cause::SharedVolume, ..difference };
        if !self.seen.contains_key(&volume) && self.seen.len() >= VOLUMES_MAX {
            return vec![difference];
        }
        let (first, waiting) = self.seen.entry(volume).or_insert_with(|| (basis, Vec::new()));
        if *first == basis && waiting.len() < WAITING_MAX {
            waiting.push(difference);
            return Vec::new();
        }
        if *first == basis {
            return vec![difference];
        }
        let mut all: Vec<Difference> = waiting.drain(..).map(proved).collect();
        all.push(proved(difference));
        all
    }

    /// Those that nothing proved.
    fn alone(self) -> impl Iterator<Item = Difference> {
        self.seen.into_values().flat_map(|(_, waiting)| waiting)
    }
}

/// One record and what was found about it.
struct Comparison<'p> {
    path: &'p Path,
    same: u64,
    differences: Vec<Difference>,
    volumes: &'p mut Volumes,
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

    fn part(&mut self, part: &Part, market: Market<'_>, database: &Database) -> Result<()> {
        let overlay = match &part.overlay {
            Some(facts) => database.overlay(&facts.user)?,
            None => None,
        };
        if let Some(facts) = &part.overlay {
            match &overlay {
                Some(stored) => self.facts(part, stored),
                None => self.differ("user", facts.user.to_string(), "none".to_owned(), Cause::Unexplained),
            }
        }
        let Some(found) = &part.signal else { return Ok(()) };
        let key = TradeKey::of(&found.signal);
        let is_same = |stored: &Signal| {
            let apart = stored.created_at.millis().abs_diff(found.signal.created_at.millis());
            key.agrees_with(&TradeKey::of(stored)) && (!found.is_dated || apart <= SAME_TRADE_MS.unsigned_abs() * 24)
        };
        let Some(signal) = database.signals(&found.signal.id)?.into_iter().find(is_same) else {
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
        let left = Decimal::from_int(left);
        self.number("time_remaining", part.claims.time_remaining, left, || {
            // Whole seconds, cut off or rounded up.
            let is_within = part
                .claims
                .time_remaining
                .zip(left)
                .is_some_and(|(file, life)| file.checked_sub(life).is_some_and(|over| over <= Decimal::ONE));
            if is_within || part.notes.contains(&Note::ExpiryNotAfterCreation) {
                Cause::TimeStoodStill
            } else {
                Cause::Unexplained
            }
        });
        Ok(())
    }

    /// The user's facts against the overlay, which has the newest.
    fn facts(&mut self, part: &Part, stored: &Overlay) {
        let is_older =
            part.overlay.as_ref().and_then(|facts| facts.at).is_none_or(|at| at.millis() < stored.updated_at.millis());
        // What the file says of the amount must come from its own facts: then these were the ones that held.
        let claims = &part.claims;
        let budget = claims.balance.zip(claims.risk_percent).and_then(|(balance, risk)| budget(balance, risk));
        let is_own =
            claims.risk_amount.is_none_or(|amount| budget.is_some_and(|budget| is_near(budget, amount, 1_000_000)));
        let cause = || if is_older && is_own { Cause::StaleBalance } else { Cause::Unexplained };
        self.number("account_balance", part.claims.balance, stored.account_balance, cause);
        self.number("risk_percent", part.claims.risk_percent, stored.risk_percent, cause);
    }

    fn levels(&mut self, part: &Part, signal: &Signal) {
        /// What the old writers took for a pip, in units of a [`Decimal`].
        const OLD_PIP: Decimal = Decimal::from_units(10_000);
        let claims = &part.claims;
        let has = |note: Note| part.notes.contains(&note);
        let level = |file: Option<Decimal>, pips: Option<Decimal>| {
            let Some((file, pips)) = file.zip(pips) else { return Cause::Unexplained };
            let distance = claims.entry.and_then(|entry| entry.distance(file));
            if file == pips {
                Cause::StopInPips
            } else if has(Note::PipOfAnotherSymbol) && pips.checked_mul(OLD_PIP, Round::HalfEven) == distance {
                Cause::PipOfAnotherSymbol
            } else {
                Cause::Unexplained
            }
        };
        let (entry, stop, target, pips) = match signal.levels {
            Levels::Prices { entry, stop, target } => (Some(entry), Some(stop), target, (None, None)),
            Levels::Pips { entry, stop, target } => (entry, None, None, (Some(stop), target)),
        };
        let placeholder = || {
            if entry.is_none() && has(Note::PlaceholderEntry) { Cause::PlaceholderEntry } else { Cause::Unexplained }
        };
        self.number("entry_price", claims.entry, entry, placeholder);
        self.number("stop_loss", claims.stop, stop, || level(claims.stop, pips.0));
        self.number("take_profit", claims.target, target, || level(claims.target, pips.1));
    }

    fn sizes(&mut self, part: &Part, signal: &Signal, then: &Overlay, mission: &Mission, market: Market<'_>) {
        let claims = &part.claims;
        let old = OldMission::of(part, then);
        let size_cause = |size: Decimal| {
            if old.size().is_some_and(|old| is_near(old, size, 600_000)) {
                Cause::OldPipFormula
            } else if mission.lots.is_none() && matches!(signal.levels, Levels::Pips { entry: None, .. }) {
                Cause::MissingStop
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
        self.volume(claims, &old, mission);
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
            } else if claims.risk_reward.is_some_and(is_stated) {
                Cause::StatedRatio
            } else {
                Cause::Unexplained
            }
        });
    }

    fn volume(&mut self, claims: &Claims, old: &OldMission, mission: &Mission) {
        let Some(volume) = claims.volume else { return };
        if Some(volume) == mission.lots {
            self.same += 1;
            return;
        }
        let difference = Difference {
            path: PathText::of(self.path),
            field: "volume",
            file: volume.to_string(),
            now: mission.lots.map_or_else(|| "none".to_owned(), |lots| lots.to_string()),
            cause: Cause::Unexplained,
        };
        let basis = [claims.balance, claims.risk_percent, old.stop];
        self.differences.extend(self.volumes.add(volume, basis, difference));
    }
}

/// Whether a ratio is one that the writers had as a constant: the engine 2, its tests 1.5 and 3, the briefing 1.
fn is_stated(ratio: Decimal) -> bool {
    [100_000_000, 150_000_000, 200_000_000, 300_000_000].into_iter().any(|units| ratio == Decimal::from_units(units))
}

/// What may be lost: balance × risk in percent.
fn budget(balance: Decimal, risk: Decimal) -> Option<Decimal> {
    balance.checked_mul(risk, Round::HalfEven)?.checked_div(Decimal::HUNDRED, Round::HalfEven)
}

fn is_near(a: Decimal, b: Decimal, units: u64) -> bool {
    a.units().abs_diff(b.units()) <= units
}

/// The overlay as the file saw it: its own facts, and the rest as stored.
fn as_of_then(facts: &[(String, String)], stored: &Overlay) -> Option<Overlay> {
    let read = |object| OverlayDraft::from_object(object, Some(&stored.user_id));
    let (then, _) = accept(facts.to_vec(), read).ok()?;
    let then = then.resolve(UnixMillis::MIN);
    Some(Overlay { account_currency: stored.account_currency.clone(), ..then })
}

/// The largest size that the instrument and the tier allow.
fn limit(signal: &Signal, overlay: &Overlay, market: Market<'_>) -> Option<Decimal> {
    let instrument = market.instruments.get(&signal.symbol)?;
    let tier = overlay.tier.as_ref().and_then(|name| market.tiers.get(name));
    Some(tier.map_or(instrument.max_lot, |(_, tier)| tier.max_lots.min(instrument.max_lot)))
}

/// The old computation: every symbol has a pip of 0.0001, a pip of a lot is worth $10, a number in the stop's field is
/// a price.
struct OldMission {
    stop: Option<Decimal>,
    target: Option<Decimal>,
    budget: Option<Decimal>,
}

impl OldMission {
    fn of(part: &Part, then: &Overlay) -> Self {
        let distance = |to: Option<Decimal>| part.claims.entry.zip(to).and_then(|(entry, to)| entry.distance(to));
        let budget = then.account_balance.zip(then.risk_percent).and_then(|(balance, risk)| budget(balance, risk));
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
