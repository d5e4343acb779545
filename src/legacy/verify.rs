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
use super::levels::OLD_PIP;
use super::members::read_renaming_slips;
use super::part::{OldNumbers, Part, TradeKey};
use super::progress::Progress;
use super::reason::{Note, Refusal};
use super::recognise::recognise;
use super::record::Context;
use super::report::{PathText, ReportFile, Unreadable, with_report};
use super::resolve::Target as _;
use super::walk::{LoadedEntry, Tree};
use crate::domain::{
    Decimal, Levels, Limit, Market, MaxAges, Mission, Overlay, OverlayDraft, Reason, Round, Signal, Tiers, UnixMillis,
    compute,
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
    /// The free margin allows no larger size.
    MarginLimit,
    /// The smallest size that trades does not fit the budget.
    BelowMinimumLot,
    /// No rate converts to the account's currency.
    NoConversionRate,
    /// The instrument is not known, so nothing is sized.
    UnknownSymbol,
    /// The tier is not known, so nothing is sized.
    UnknownTier,
    /// The file has no balance, so nothing is sized.
    NoBalance,
    /// The balance is below zero, so nothing is sized.
    NegativeBalance,
    /// Neither the file nor a tier names a risk, so nothing is sized.
    NoRiskPercent,
    /// A number is too large to compute with, so nothing is sized.
    OutOfRange,
    /// The seconds that were left stood still since: no more than the signal's life.
    TimeStoodStill,
    /// A balance below zero, which the import keeps beside the overlay's own.
    SetAside,
    /// The mission was made by hand for a test, as its id says, with numbers of its own.
    TestMission,
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
    let market = Market { instruments: context.instruments, tiers, rates: &rates, max_ages: MaxAges::default() };
    let mut progress = Progress::over("comparing", tree);
    let mut verified = Verified::default();
    let mut volumes = SharedVolumes::default();
    let read = |LoadedEntry { entry, stat, content }: LoadedEntry| {
        let read = content.map(|bytes| recognise(&bytes, &entry.path, stat.modified(), context).unwrap_or_default());
        (entry.path, read)
    };
    with_report(report, |mut out| {
        tree.for_each(read, |(path, read): (_, Result<Vec<Part>, Refusal>)| {
            verified.files += 1;
            progress.set(verified.files);
            let parts = read.unwrap_or_else(|refusal| {
                verified.unreadable.note(&path, refusal);
                Vec::new()
            });
            for part in &parts {
                let mut comparison = Comparison { path: &path, part, same: 0, differences: Vec::new() };
                comparison.run(market, database, &mut volumes)?;
                verified.missions += u64::from(part.signal.is_some());
                verified.same += comparison.same;
                verified.add(comparison.differences, &mut out)?;
            }
            Ok(())
        })?;
        verified.add(volumes.into_unproved(), &mut out)?;
        Ok(verified)
    })
}

impl Verified {
    fn add(
        &mut self,
        differences: impl IntoIterator<Item = Difference>,
        report: &mut Option<&mut dyn Write>,
    ) -> Result<()> {
        for difference in differences {
            *self.causes.entry(difference.cause).or_default() += 1;
            if let Some(report) = report {
                serde_json::to_writer(&mut *report, &difference)?;
                report.write_all(b"\n")?;
            }
            if difference.cause == Cause::Unexplained && self.unexplained.len() < UNEXPLAINED_MAX {
                self.unexplained.push(difference);
            }
        }
        Ok(())
    }
}

/// What a size comes from: balance, risk, distance to the stop.
type SizeBasis = [Option<Decimal>; 3];

/// Sizes that the engine wrote into every copy of a signal. A second mission with the same size and another basis
/// proves it.
///
/// Differences on the first basis wait here for one on another.
#[derive(Debug, Default)]
struct SharedVolumes {
    seen: BTreeMap<Decimal, (SizeBasis, Vec<Difference>)>,
}

impl SharedVolumes {
    /// Takes a difference; returns those that are proved now, and those beyond the limits.
    fn add(&mut self, volume: Decimal, basis: SizeBasis, difference: Difference) -> Vec<Difference> {
        /// Real trees have a dozen different ones.
        const VOLUMES_MAX: usize = 4_096;
        /// Enough to prove nothing with; the rest is listed at once.
        const WAITING_MAX: usize = 1_024;
        if !self.seen.contains_key(&volume) && self.seen.len() >= VOLUMES_MAX {
            return vec![difference];
        }
        let (first, waiting) = self.seen.entry(volume).or_insert_with(|| (basis, Vec::new()));
        if *first != basis {
            let proved = waiting.drain(..).chain([difference]);
            return proved.map(|difference| Difference { cause: Cause::SharedVolume, ..difference }).collect();
        }
        if waiting.len() >= WAITING_MAX {
            return vec![difference];
        }
        waiting.push(difference);
        Vec::new()
    }

    /// The differences that nothing proved.
    fn into_unproved(self) -> impl Iterator<Item = Difference> {
        self.seen.into_values().flat_map(|(_, waiting)| waiting)
    }
}

/// One record of a file, and what was found about it.
struct Comparison<'p> {
    path: &'p Path,
    part: &'p Part,
    same: u64,
    differences: Vec<Difference>,
}

impl Comparison<'_> {
    /// Compares a number, if the file has it; `cause` is asked only if it differs, and gets the file's number.
    fn number(
        &mut self,
        field: &'static str,
        file: Option<Decimal>,
        now: Option<Decimal>,
        cause: impl FnOnce(Decimal) -> Cause,
    ) {
        let Some(file) = file else { return };
        if Some(file) == now {
            self.same += 1;
        } else {
            let difference = self.difference(field, &file, now, cause(file));
            self.differences.push(difference);
        }
    }

    fn difference(&self, field: &'static str, file: &dyn ToString, now: Option<Decimal>, cause: Cause) -> Difference {
        let now = now.map_or_else(|| "none".to_owned(), |now| now.to_string());
        let cause = if cause == Cause::Unexplained && self.is_test(field) { Cause::TestMission } else { cause };
        Difference { path: PathText::of(self.path), field, file: file.to_string(), now, cause }
    }

    /// Whether a number is the own of a mission that was made by hand for a test: its balance or a size. Its levels and
    /// its life are as real as any.
    fn is_test(&self, field: &str) -> bool {
        const OWN: [&str; 6] =
            ["account_balance", "risk_percent", "position_size", "volume", "risk_amount", "reward_amount"];
        let is_test = |id: &str| id.split('_').any(|word| word == "TEST");
        OWN.contains(&field) && self.part.signal.as_ref().is_some_and(|found| is_test(found.signal.id.as_str()))
    }

    /// Notes a record that should be stored and is not.
    fn is_lost(&mut self, field: &'static str, id: &dyn ToString) {
        let difference = self.difference(field, id, None, Cause::Unexplained);
        self.differences.push(difference);
    }

    fn run(&mut self, market: Market<'_>, database: &Database, volumes: &mut SharedVolumes) -> Result<()> {
        let Part { signal, overlay: facts, numbers, notes, .. } = self.part;
        let mut overlay = None;
        if let Some(facts) = facts {
            overlay = database.overlay(&facts.user)?;
            match &overlay {
                Some(stored) => self.facts(stored),
                None => self.is_lost("user", &facts.user),
            }
        }
        let Some(found) = signal else { return Ok(()) };
        let key = TradeKey::of(&found.signal);
        let is_same = |stored: &Signal| {
            let apart = stored.created_at.millis().abs_diff(found.signal.created_at.millis());
            key.agrees_with(&TradeKey::of(stored)) && (!found.is_dated || apart <= SAME_TRADE_MS.unsigned_abs() * 24)
        };
        let Some(signal) = database.signals(&found.signal.id)?.into_iter().find(is_same) else {
            self.is_lost("signal", &found.signal.id);
            return Ok(());
        };
        self.same += 1;
        self.levels(&signal);
        if let (Some(overlay), Some(facts)) = (&overlay, facts)
            && let Some(then) = as_of_then(&facts.members, overlay)
        {
            let mission = compute(&signal, &then, None, market, found.signal.created_at);
            self.sizes(&signal, &then, &mission, market, volumes);
        }
        let left = signal.expires_at.millis().saturating_sub(signal.created_at.millis()) / 1_000;
        let left = Decimal::from_int(left);
        self.number("time_remaining", numbers.time_remaining, left, |file| {
            // Whole seconds, cut off or rounded up.
            let over = left.and_then(|life| file.checked_sub(life));
            let is_within = over.is_some_and(|over| over <= Decimal::ONE);
            if is_within || notes.contains(&Note::ExpiryNotAfterCreation) {
                Cause::TimeStoodStill
            } else {
                Cause::Unexplained
            }
        });
        Ok(())
    }

    /// Compares the user's facts with the overlay, which has the newest.
    fn facts(&mut self, stored: &Overlay) {
        let Part { overlay, numbers, .. } = self.part;
        let at = overlay.as_ref().and_then(|facts| facts.at);
        let is_older = at.is_none_or(|at| at < stored.updated_at);
        // The file's amount must come from its own facts: then these were the ones that held.
        let budget = numbers.balance.zip(numbers.risk_percent).and_then(|(balance, risk)| budget(balance, risk));
        let is_own = numbers.risk_amount.is_none() || is_near(budget, numbers.risk_amount, 1_000_000);
        let cause = |_| if is_older && is_own { Cause::StaleBalance } else { Cause::Unexplained };
        let of_balance = |file: Decimal| if file < Decimal::ZERO { Cause::SetAside } else { cause(file) };
        self.number("account_balance", numbers.balance, stored.account_balance, of_balance);
        self.number("risk_percent", numbers.risk_percent, stored.risk_percent, cause);
    }

    fn levels(&mut self, signal: &Signal) {
        let Part { numbers, notes, .. } = self.part;
        let level = |file: Decimal, pips: Option<Decimal>| {
            let distance = numbers.entry.and_then(|entry| entry.distance(file));
            let in_old_pips = || pips.is_some_and(|pips| pips.checked_mul(OLD_PIP, Round::HalfEven) == distance);
            if Some(file) == pips {
                Cause::StopInPips
            } else if notes.contains(&Note::PipOfAnotherSymbol) && in_old_pips() {
                Cause::PipOfAnotherSymbol
            } else {
                Cause::Unexplained
            }
        };
        let (entry, stop, target, pips) = match signal.levels {
            Levels::Prices { entry, stop, target } => (Some(entry), Some(stop), target, (None, None)),
            Levels::Pips { entry, stop, target } => (entry, None, None, (Some(stop), target)),
        };
        let is_left_out = entry.is_none() && notes.contains(&Note::PlaceholderEntry);
        let entry_cause = if is_left_out { Cause::PlaceholderEntry } else { Cause::Unexplained };
        self.number("entry_price", numbers.entry, entry, |_| entry_cause);
        self.number("stop_loss", numbers.stop, stop, |file| level(file, pips.0));
        self.number("take_profit", numbers.target, target, |file| level(file, pips.1));
    }

    /// Why nothing is sized by the file's own facts.
    fn unsized_cause(&self, signal: &Signal, mission: &Mission) -> Cause {
        // A balance below zero is kept under another name, so the overlay has none.
        let is_negative = self.part.numbers.balance.is_some_and(|balance| balance < Decimal::ZERO);
        let has = |reason| mission.reasons.contains(reason);
        match () {
            () if has(Reason::UnknownSymbol) => Cause::UnknownSymbol,
            () if has(Reason::UnknownTier) => Cause::UnknownTier,
            () if has(Reason::NegativeBalance) || has(Reason::NoBalance) && is_negative => Cause::NegativeBalance,
            () if has(Reason::NoBalance) => Cause::NoBalance,
            () if has(Reason::NoRiskPercent) => Cause::NoRiskPercent,
            () if matches!(signal.levels, Levels::Pips { entry: None, .. }) => Cause::MissingStop,
            () if has(Reason::NoConversionRate) => Cause::NoConversionRate,
            () if has(Reason::OutOfRange) => Cause::OutOfRange,
            () => Cause::Unexplained,
        }
    }

    fn sizes(
        &mut self,
        signal: &Signal,
        then: &Overlay,
        mission: &Mission,
        market: Market<'_>,
        volumes: &mut SharedVolumes,
    ) {
        let numbers = &self.part.numbers;
        let old = OldMission::of(numbers, then);
        let unsized_cause = mission.lots.is_none().then(|| self.unsized_cause(signal, mission));
        self.number("position_size", numbers.size, mission.lots, |size| {
            if is_near(old.size(), Some(size), 600_000) {
                Cause::OldPipFormula
            } else if let Some(cause) = unsized_cause {
                cause
            } else if !is_near(mission.lots_raw, Some(size), 1_000_000) {
                Cause::Unexplained
            } else if mission.reasons.contains(Reason::BelowMinimumLot) {
                Cause::BelowMinimumLot
            } else if mission.limited_by == Some(Limit::Margin) {
                Cause::MarginLimit
            } else if limit(signal, then, market).is_some_and(|most| mission.lots == Some(most)) {
                Cause::LotLimit
            } else {
                Cause::Rounding
            }
        });
        if let Some(volume) = numbers.volume {
            if Some(volume) == mission.lots {
                self.same += 1;
            } else {
                let difference = self.difference("volume", &volume, mission.lots, Cause::Unexplained);
                let basis = [numbers.balance, numbers.risk_percent, old.stop];
                self.differences.extend(volumes.add(volume, basis, difference));
            }
        }
        self.number("risk_amount", numbers.risk_amount, mission.risk_amount, |file| {
            let is_budget = is_near(Some(file), mission.risk_budget, 1_000_000);
            if is_budget { Cause::BudgetAsRisk } else { unsized_cause.unwrap_or(Cause::Unexplained) }
        });
        self.number("reward_amount", numbers.reward_amount, mission.reward_amount, |file| {
            let is_old = is_near(Some(file), old.reward(), 100_000_000);
            if is_old { Cause::OldPipFormula } else { unsized_cause.unwrap_or(Cause::Unexplained) }
        });
        self.number("risk_reward", numbers.risk_reward, mission.risk_reward, |file| {
            if is_rounded(mission.risk_reward, file) {
                Cause::Rounding
            } else if is_rounded(old.ratio(), file) {
                Cause::OldPipFormula
            } else if is_constant_ratio(file) {
                Cause::StatedRatio
            } else {
                Cause::Unexplained
            }
        });
    }
}

/// Whether a ratio is one that the writers had as a constant: the engine 2, its tests 1.5 and 3, the briefing 1.
fn is_constant_ratio(ratio: Decimal) -> bool {
    [100_000_000, 150_000_000, 200_000_000, 300_000_000].into_iter().any(|units| ratio == Decimal::from_units(units))
}

/// Whether a ratio in a file is the exact one, rounded to one or two decimals as the writers did.
fn is_rounded(exact: Option<Decimal>, file: Decimal) -> bool {
    const TENTH: i64 = 10_000_000;
    // Half of the last decimal that the file has, and at least a hundredth.
    let tolerance = if file.units() % TENTH == 0 { 5_000_000 } else { 1_000_000 };
    is_near(exact, Some(file), tolerance)
}

/// What may be lost: balance × risk in percent.
fn budget(balance: Decimal, risk: Decimal) -> Option<Decimal> {
    balance.checked_mul(risk, Round::HalfEven)?.checked_div(Decimal::HUNDRED, Round::HalfEven)
}

/// Whether two numbers are there and differ by no more than so many units of a [`Decimal`].
fn is_near(a: Option<Decimal>, b: Option<Decimal>, units: u64) -> bool {
    a.zip(b).is_some_and(|(a, b)| a.units().abs_diff(b.units()) <= units)
}

/// The overlay as the file saw it: its own facts, and the rest as stored.
fn as_of_then(facts: &[(String, String)], stored: &Overlay) -> Option<Overlay> {
    let read = |object| OverlayDraft::from_object(object, Some(&stored.user_id));
    let (then, _) = read_renaming_slips(facts.to_vec(), read).ok()?;
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
    fn of(numbers: &OldNumbers, then: &Overlay) -> Self {
        let distance = |to: Option<Decimal>| numbers.entry.zip(to).and_then(|(entry, to)| entry.distance(to));
        let budget = then.account_balance.zip(then.risk_percent).and_then(|(balance, risk)| budget(balance, risk));
        Self { stop: distance(numbers.stop), target: distance(numbers.target), budget }
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
