//! From what a tree holds to the records that are stored.
//!
//! The earliest trade under an id keeps it. Every other trade gets another id, made of its content, so that each run
//! makes the same. A record in the target is never replaced by an older one; a second run finds every record there and
//! writes nothing.

use std::io::{BufRead, BufReader, Seek, Write};

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;

use super::group::{Groups, UserFacts, Variant};
use super::members::read_renaming_slips;
use super::part::TradeKey;
use super::reason::Note;
use super::report::{Class, Line, Tally};
use super::sorter::Sorted;
use crate::domain::{
    Object, Outcome, Overlay, OverlayDraft, RiskBasis, Signal, SignalDraft, SignalId, UnixMillis, UserId,
};
use crate::render::{overlay_json, signal_json};
use crate::store::{self, IMPORT_RECORDS_MAX};

/// Where the records go.
///
/// A batch is written in one transaction together with how far the import is: both are there after a crash, or neither.
pub(super) trait Target {
    /// Reads a signal; there is none, as in the next two, where the target does not say otherwise.
    fn signal(&self, _: &SignalId) -> Result<Option<Signal>> {
        Ok(None)
    }

    /// Reads an overlay.
    fn overlay(&self, _: &UserId) -> Result<Option<Overlay>> {
        Ok(None)
    }

    /// Reads an outcome.
    fn outcome(&self, _: &SignalId, _: &UserId) -> Result<Option<Outcome>> {
        Ok(None)
    }

    /// Writes a batch and how far the import is, in words; nothing of it if it can not be written.
    fn write(&mut self, batch: &store::Imported, reached: &str) -> Result<()>;
}

/// What was made of a tree.
#[derive(Clone, Debug, Serialize)]
pub struct Imported {
    /// The counts.
    #[serde(flatten)]
    pub tally: Tally,
    /// Signals, overlays and outcomes that the target did not have.
    pub written: u64,
}

/// How far an import is that is done.
pub(super) const DONE: &str = "done";

/// Makes records of everything that was found and writes them; `report` gets one line a file, in the order of the walk.
///
/// # Errors
///
/// If the target fails, or a temporary file does.
pub(super) fn resolve(groups: Groups, target: &mut dyn Target, report: Option<&mut dyn Write>) -> Result<Imported> {
    let Groups { signals, users, hashes, mut classes, lines, mut tally, .. } = groups;
    let mut writer =
        Writer { target, batch: store::Imported::default(), reached: "nothing".to_owned(), written: 0, renamed: 0 };
    let mut renamed: Vec<(usize, SignalId, SignalId)> = Vec::new();
    for (id, variants) in signals {
        for trade in assign_ids(&id, variants, writer.target)? {
            tally.signals += 1;
            if trade.id != id {
                tally.signal_conflicts += 1;
                for file in &trade.variant.files {
                    renamed.push((*file, id.clone(), trade.id.clone()));
                    set_class(&mut classes, *file, Class::Conflict);
                }
            }
            tally.outcomes += trade.variant.outcomes.len() as u64;
            writer.put_signal(trade)?;
        }
        writer.reached = format!("signals up to {id}");
    }
    for (user, facts) in users {
        tally.overlays += 1;
        tally.overlay_conflicts += u64::from(facts.has_changed);
        writer.put_overlay(&user, facts)?;
        writer.reached = format!("all signals, overlays up to {user}");
    }
    DONE.clone_into(&mut writer.reached);
    writer.flush()?;
    let written = writer.written;
    if writer.renamed > 0 {
        *tally.notes.entry(Note::MemberRenamed).or_default() += writer.renamed;
    }
    tally.contents = mark_duplicates(hashes.finish()?, &mut classes)?;
    for class in &classes {
        *tally.classes.entry(*class).or_default() += 1;
    }
    if let (Some(report), Some(mut lines)) = (report, lines) {
        lines.rewind().context("cannot read the kept lines")?;
        renamed.sort_unstable();
        write_report(BufReader::new(lines.get_mut()), &classes, &renamed, report)?;
    }
    Ok(Imported { tally, written })
}

fn set_class(classes: &mut [Class], file: usize, class: Class) {
    if let Some(known) = classes.get_mut(file) {
        *known = class;
    }
}

/// Marks every file that has the content of an earlier one; returns the number of contents.
///
/// A file that nothing is taken from stays quarantined: its reason says more than that there is another like it.
fn mark_duplicates(sorted: Sorted, classes: &mut [Class]) -> Result<u64> {
    let mut contents = 0;
    let mut last: Option<Box<[u8]>> = None;
    for pair in sorted {
        let (hash, file) = pair?;
        if last.as_ref() != Some(&hash) {
            contents += 1;
            last = Some(hash);
            continue;
        }
        let file = usize::from_be_bytes((*file).try_into().context("a sorted run is damaged")?);
        if classes.get(file) != Some(&Class::Quarantined) {
            set_class(classes, file, Class::Duplicate);
        }
    }
    Ok(contents)
}

/// Writes the kept lines with the final classes and ids; `renamed` has the signals that got other ids, by file.
fn write_report(
    lines: impl BufRead,
    classes: &[Class],
    renamed: &[(usize, SignalId, SignalId)],
    report: &mut dyn Write,
) -> Result<()> {
    let mut renamed = renamed.iter().peekable();
    for ((file, line), class) in lines.lines().enumerate().zip(classes) {
        let mut line: Line = serde_json::from_str(&line?).context("a kept line is damaged")?;
        line.class = *class;
        while let Some((_, old, new)) = renamed.next_if(|(known, ..)| *known == file) {
            for signal in line.signals.iter_mut().filter(|signal| *signal == old.as_str()) {
                new.as_str().clone_into(signal);
            }
        }
        serde_json::to_writer(&mut *report, &line)?;
        report.write_all(b"\n")?;
    }
    Ok(())
}

/// One trade with the id that it gets.
struct IdentifiedTrade {
    id: SignalId,
    variant: Variant,
    /// Whether the target has it already.
    is_known: bool,
}

/// Decides which trade keeps an id.
fn assign_ids(id: &SignalId, variants: Vec<Variant>, target: &dyn Target) -> Result<Vec<IdentifiedTrade>> {
    let mut variants = merge_bare_trades(variants);
    variants.sort_by_cached_key(|variant| (variant.first, variant.key.to_string()));
    let known = target.signal(id)?;
    let keeper = match &known {
        Some(known) => variants.iter().position(|variant| is_stored_as(variant, known)),
        None => Some(0),
    };
    let mut trades: Vec<IdentifiedTrade> = Vec::with_capacity(variants.len());
    for (index, variant) in variants.into_iter().enumerate() {
        let (id, is_known) = if keeper == Some(index) {
            (id.clone(), known.is_some())
        } else {
            other_id(id, &variant, &trades, target)?
        };
        trades.push(IdentifiedTrade { id, variant, is_known });
    }
    Ok(trades)
}

/// Joins trades that are the same although one of them says less: no time, no confidence.
fn merge_bare_trades(mut variants: Vec<Variant>) -> Vec<Variant> {
    variants.sort_by_cached_key(|variant| (!variant.is_dated, variant.first, variant.key.to_string()));
    // Those that say more come first, so that each of the others finds them.
    let is_full = |variant: &Variant| variant.is_dated && variant.key.confidence.is_some();
    let (full, bare): (Vec<_>, Vec<_>) = variants.into_iter().partition(is_full);
    let mut joined: Vec<Variant> = Vec::new();
    for new in full.into_iter().chain(bare) {
        let is_part_of = |known: &Variant| {
            new.key.agrees_with(&known.key) && (!new.is_dated || known.is_close_in_time(new.first, new.last))
        };
        match joined.iter().position(is_part_of) {
            Some(at) => {
                let known = joined.swap_remove(at);
                joined.push(known.with_files_of(new));
            }
            None => joined.push(new),
        }
    }
    joined
}

/// Whether the target's signal is this trade.
fn is_stored_as(variant: &Variant, known: &Signal) -> bool {
    variant.key == TradeKey::of(known)
        && (!variant.is_dated || variant.is_close_in_time(known.created_at, known.created_at))
}

/// Makes another id for a trade, as a different trade keeps its id; tells whether the target has the trade already.
///
/// The id is made of the trade's key, so that it stays the same when an earlier file of the trade is found. Only where
/// a third trade has that id already, the time is part of it.
fn other_id(
    id: &SignalId,
    variant: &Variant,
    others: &[IdentifiedTrade],
    target: &dyn Target,
) -> Result<(SignalId, bool)> {
    let of = |text: &str| {
        let digits: String = blake3::hash(text.as_bytes()).to_hex().chars().take(10).collect();
        SignalId::parse(&format!("{}{digits}", other_prefix(id))).map_err(|error| anyhow!("{error}"))
    };
    let (plain, timed) = (of(&variant.key.to_string())?, of(&format!("{} {}", variant.first.millis(), variant.key))?);
    for other in [&timed, &plain] {
        if target.signal(other)?.is_some_and(|known| is_stored_as(variant, &known)) {
            return Ok((other.clone(), true));
        }
    }
    let is_free = others.iter().all(|other| other.id != plain) && target.signal(&plain)?.is_none();
    Ok((if is_free { plain } else { timed }, false))
}

/// How the ids begin that are given to other trades than the one that keeps an id.
pub(super) fn other_prefix(id: &SignalId) -> String {
    /// Room for the longest id with the suffix.
    const KEPT_BYTES: usize = 116;
    format!("{}@", id.as_str().get(..KEPT_BYTES).unwrap_or(id.as_str()))
}

struct Writer<'t> {
    target: &'t mut dyn Target,
    batch: store::Imported,
    /// Everything up to here is in a batch, or written.
    reached: String,
    written: u64,
    /// Records with a renamed member.
    renamed: u64,
}

impl Writer<'_> {
    fn put_signal(&mut self, trade: IdentifiedTrade) -> Result<()> {
        let IdentifiedTrade { id, variant, is_known } = trade;
        if !is_known && self.target.signal(&id)?.is_none() {
            let signal = Signal { id: id.clone(), ..variant.signal };
            let members = Object::parse(&signal_json(&signal)).map_err(|error| anyhow!("{id}: {error}"))?;
            let members = members.iter().map(|(name, json)| (name.to_owned(), json.to_owned())).collect();
            let read = |object| SignalDraft::from_object(object, None)?.resolve(signal.created_at, 1);
            let (signal, is_renamed) = read_renaming_slips(members, read).map_err(|error| anyhow!("{id}: {error}"))?;
            self.renamed += u64::from(is_renamed);
            self.flush_if_full()?;
            self.batch.signals.push(signal);
        }
        for (user_id, part) in variant.outcomes {
            let known = self.target.outcome(&id, &user_id)?;
            if known.is_none_or(|known| known.at < part.at) {
                let (status, at, members) = (part.status, part.at, part.members);
                self.flush_if_full()?;
                let known = [("status", status.as_str().to_owned()), ("at", at.to_string())];
                let known = known.into_iter().map(|(name, text)| (name.to_owned(), format!("\"{text}\"")));
                let others = members.iter().map(|(name, json)| (name.to_owned(), json.to_owned()));
                let read = |object| Outcome::from_object(object, Some(&id), Some(&user_id), at);
                let (outcome, is_renamed) = read_renaming_slips(known.chain(others).collect(), read)
                    .map_err(|error| anyhow!("{id}: {error}"))?;
                self.renamed += u64::from(is_renamed);
                self.batch.outcomes.push(outcome);
            }
        }
        Ok(())
    }

    fn put_overlay(&mut self, user: &UserId, facts: UserFacts) -> Result<()> {
        let known = self.target.overlay(user)?;
        let (overlay, is_renamed) = merged_overlay(user, facts, known.as_ref())?;
        self.renamed += u64::from(is_renamed);
        if known.is_none_or(|known| known.updated_at != overlay.updated_at || !known.same_but_time(&overlay)) {
            self.flush_if_full()?;
            self.batch.overlays.push(overlay);
        }
        Ok(())
    }

    /// Writes the batch if one record more would be too many: also in the middle of a signal, which may have any number
    /// of outcomes. A run that is cut off there begins again with that signal.
    fn flush_if_full(&mut self) -> Result<()> {
        if self.batch.count() >= IMPORT_RECORDS_MAX { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.target.write(&self.batch, &self.reached)?;
        self.written += self.batch.count() as u64;
        self.batch = store::Imported::default();
        Ok(())
    }
}

/// Makes the overlay. Members in the target count as of its `updated_at`, so that no newer one is replaced.
fn merged_overlay(user: &UserId, facts: UserFacts, known: Option<&Overlay>) -> Result<(Overlay, bool)> {
    let mut members = facts.members;
    if let Some(known) = known {
        let object = Object::parse(&overlay_json(known)).map_err(|error| anyhow!("{error}"))?;
        for (name, value) in object.iter().filter(|(name, _)| !matches!(*name, "user_id" | "updated_at")) {
            let is_newer = members.get(name).is_some_and(|(found, _)| *found > Some(known.updated_at));
            if !is_newer {
                members.insert(name.to_owned(), (Some(known.updated_at), value.to_owned()));
            }
        }
    }
    let said_at = |basis: RiskBasis| members.get(basis.member()).and_then(|(at, _)| *at).unwrap_or(UnixMillis::MIN);
    let (balance_at, equity_at) = (said_at(RiskBasis::Balance), said_at(RiskBasis::Equity));
    let newest = members.values().filter_map(|(at, _)| *at).max().unwrap_or(UnixMillis::MIN);
    let members = members.into_iter().map(|(name, (_, value))| (name, value)).collect();
    let read = |object| OverlayDraft::from_object(object, Some(user));
    let (draft, is_renamed) = read_renaming_slips(members, read).map_err(|error| anyhow!("{user}: {error}"))?;
    let mut overlay = draft.resolve(UnixMillis::MIN);
    overlay.updated_at = newest;
    let said_at = match overlay.risk_basis.unwrap_or_default() {
        RiskBasis::Balance => balance_at,
        RiskBasis::Equity => equity_at,
    };
    overlay.balance_confirmed_at = match known {
        Some(known) if known.has_same_basis(&overlay) && said_at <= known.updated_at => known.balance_confirmed_at,
        _ => said_at,
    };
    Ok((overlay, is_renamed))
}

#[cfg(test)]
mod tests;
