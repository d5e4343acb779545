//! From what a tree holds to the records that are stored.
//!
//! Ids come in order, each with everything that was found under it, so that no more than one id and one batch is in memory.
//! The earliest trade under an id keeps it; every other one gets an id of its own, made of its content, so that it is the
//! same on every run. What the target has already is never replaced by something older; a second run finds
//! everything there and writes nothing.

use std::io::{BufRead, BufReader, Seek, Write};

use anyhow::{Context as _, Result, anyhow};

use super::group::Collected;
use super::report::{Class, Line, Tally};
use super::signal::core_of;
use super::sorter::{Sorted, Sorter};
use super::state::{SAME_TRADE_MS, SignalState, UserState, Variant};
use crate::domain::{
    Object, Outcome, OutcomeStatus, Overlay, OverlayDraft, Signal, SignalDraft, SignalId, UnixMillis, UserId,
};
use crate::render::overlay_json;
use crate::store::IMPORT_RECORDS_MAX;

/// Records a batch: as many as the store takes in one commit.
const BATCH_RECORDS: usize = IMPORT_RECORDS_MAX;
/// Memory for the files that went under another id.
const RENAMED_BYTES_MAX: usize = 8 << 20;

/// Where the records go.
///
/// A batch is written in one transaction together with the checkpoint: both are there after a crash, or neither.
pub trait Target {
    /// Reads a signal.
    ///
    /// # Errors
    ///
    /// If it can not be read.
    fn signal(&mut self, id: &SignalId) -> Result<Option<Signal>>;

    /// Reads an overlay.
    ///
    /// # Errors
    ///
    /// If it can not be read.
    fn overlay(&mut self, id: &UserId) -> Result<Option<Overlay>>;

    /// Reads an outcome.
    ///
    /// # Errors
    ///
    /// If it can not be read.
    fn outcome(&mut self, signal: &SignalId, user: &UserId) -> Result<Option<Outcome>>;

    /// Writes a batch and how far the import is, in one transaction.
    ///
    /// # Errors
    ///
    /// If it can not be written; then nothing of it is.
    fn write(&mut self, batch: &Batch, checkpoint: &Checkpoint) -> Result<()>;
}

/// Records that are written together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// New signals.
    pub signals: Vec<Signal>,
    /// New or newer overlays.
    pub overlays: Vec<Overlay>,
    /// New or newer outcomes.
    pub outcomes: Vec<Outcome>,
}

impl Batch {
    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.signals.len() + self.overlays.len() + self.outcomes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How far an import is: everything up to this id is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// All signals up to this id, with their outcomes.
    Signals(String),
    /// All signals, and all overlays up to this id.
    Overlays(String),
    /// Everything.
    Done,
}

/// A target that has nothing and keeps nothing: what a plan needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Target for Nowhere {
    fn signal(&mut self, _: &SignalId) -> Result<Option<Signal>> {
        Ok(None)
    }

    fn overlay(&mut self, _: &UserId) -> Result<Option<Overlay>> {
        Ok(None)
    }

    fn outcome(&mut self, _: &SignalId, _: &UserId) -> Result<Option<Outcome>> {
        Ok(None)
    }

    fn write(&mut self, _: &Batch, _: &Checkpoint) -> Result<()> {
        Ok(())
    }
}

/// Makes records of everything that was found and writes them; `report` gets one line a file, in the order of the scan.
///
/// # Errors
///
/// If the target fails, or a temporary file does.
pub fn resolve(collected: Collected, target: &mut dyn Target, report: Option<&mut dyn Write>) -> Result<Tally> {
    let Collected { signals, users, hashes, mut classes, lines, mut tally, temporary } = collected;
    let start = Checkpoint::Signals(String::new());
    let mut writer = Writer { target, batch: Batch::default(), reached: start, written: 0 };
    let mut renamed = Sorter::new(temporary, RENAMED_BYTES_MAX);
    each_group(signals.finish()?, SignalState::merge, |id, state: SignalState| {
        let id = SignalId::parse(id).map_err(|error| anyhow!("{error}"))?;
        let finals = split(&id, state, writer.target)?;
        tally.signals += finals.len() as u64;
        for made in finals {
            if made.id != id {
                tally.signal_conflicts += 1;
                for number in &made.variant.files {
                    renamed.push(&number.to_be_bytes(), format!("{id}\0{}", made.id).as_bytes())?;
                    mark(&mut classes, *number, Class::Conflict);
                }
            }
            tally.outcomes += made.variant.outcomes.len() as u64;
            writer.put_signal(made)?;
        }
        writer.reached = Checkpoint::Signals(id.as_str().to_owned());
        Ok(())
    })?;
    each_group(users.finish()?, UserState::merge, |id, state: UserState| {
        let id = UserId::parse(id).map_err(|error| anyhow!("{error}"))?;
        tally.overlays += 1;
        tally.overlay_conflicts += u64::from(state.facts.len() > 1);
        writer.put_overlay(&id, &state)?;
        writer.reached = Checkpoint::Overlays(id.as_str().to_owned());
        Ok(())
    })?;
    writer.reached = Checkpoint::Done;
    writer.flush()?;
    tally.written = writer.written;
    tally.contents = mark_duplicates(hashes.finish()?, &mut classes)?;
    for class in &classes {
        *tally.classes.entry(*class).or_default() += 1;
    }
    if let (Some(report), Some(mut lines)) = (report, lines) {
        lines.rewind().context("cannot read the kept lines")?;
        write_report(BufReader::new(lines), &classes, renamed.finish()?, report)?;
    }
    Ok(tally)
}

/// Calls `each` with every id and everything under it merged.
fn each_group<S: serde::de::DeserializeOwned>(
    mut sorted: Sorted,
    merge: impl Fn(&mut S, S),
    mut each: impl FnMut(&str, S) -> Result<()>,
) -> Result<()> {
    while let Some(pair) = sorted.next() {
        let (key, value) = pair?;
        let mut state: S = serde_json::from_slice(&value).context("a sorted run is damaged")?;
        while sorted.peek().is_some_and(|(next, _)| *next == *key) {
            let Some(pair) = sorted.next() else { break };
            merge(&mut state, serde_json::from_slice(&pair?.1).context("a sorted run is damaged")?);
        }
        each(std::str::from_utf8(&key).context("a sorted run is damaged")?, state)?;
    }
    Ok(())
}

fn mark(classes: &mut [Class], number: u64, class: Class) {
    let place = usize::try_from(number).ok().and_then(|number| classes.get_mut(number));
    if let Some(known) = place {
        *known = class;
    }
}

/// Marks every file whose content an earlier one has; returns how many contents there are.
///
/// A file that nothing is taken from stays quarantined: its reason says more than that there is another like it.
fn mark_duplicates(sorted: Sorted, classes: &mut [Class]) -> Result<u64> {
    let mut contents = 0;
    let mut last: Option<Box<[u8]>> = None;
    for pair in sorted {
        let (hash, number) = pair?;
        if last.as_ref() != Some(&hash) {
            contents += 1;
            last = Some(hash);
            continue;
        }
        let number = u64::from_be_bytes((*number).try_into().context("a sorted run is damaged")?);
        let class = usize::try_from(number).ok().and_then(|number| classes.get(number));
        if class != Some(&Class::Quarantined) {
            mark(classes, number, Class::Duplicate);
        }
    }
    Ok(contents)
}

fn write_report(lines: impl BufRead, classes: &[Class], mut renamed: Sorted, report: &mut dyn Write) -> Result<()> {
    for ((number, line), class) in lines.lines().enumerate().zip(classes) {
        let mut line: Line = serde_json::from_str(&line?).context("a kept line is damaged")?;
        line.class = *class;
        let number = (number as u64).to_be_bytes();
        while renamed.peek().is_some_and(|(key, _)| *key == number) {
            let Some(pair) = renamed.next() else { break };
            let (_, names) = pair?;
            let names = std::str::from_utf8(&names).context("a sorted run is damaged")?;
            let (old, new) = names.split_once('\0').context("a sorted run is damaged")?;
            for signal in line.signals.iter_mut().filter(|signal| *signal == old) {
                new.clone_into(signal);
            }
        }
        serde_json::to_writer(&mut *report, &line)?;
        report.write_all(b"\n")?;
    }
    Ok(())
}

/// One trade with the id that it gets.
struct Made {
    id: SignalId,
    variant: Variant,
    /// Whether the target has it already.
    is_known: bool,
}

/// Decides which trade keeps an id.
fn split(id: &SignalId, state: SignalState, target: &mut dyn Target) -> Result<Vec<Made>> {
    let mut variants = join(state.variants);
    variants.sort_by(|a, b| (a.first, &a.core).cmp(&(b.first, &b.core)));
    let known = target.signal(id)?;
    let keeper = match &known {
        Some(known) => variants.iter().position(|variant| is_same(variant, known)),
        None => Some(0),
    };
    let mut made: Vec<Made> = Vec::with_capacity(variants.len());
    for (index, variant) in variants.into_iter().enumerate() {
        let (id, is_known) =
            if keeper == Some(index) { (id.clone(), known.is_some()) } else { own_id(id, &variant, &made, target)? };
        made.push(Made { id, variant, is_known });
    }
    Ok(made)
}

/// Joins trades that are the same although one of them says less: no time, no confidence.
fn join(mut variants: Vec<Variant>) -> Vec<Variant> {
    variants.sort_by(|a, b| (!a.is_dated, a.first, &a.core).cmp(&(!b.is_dated, b.first, &b.core)));
    let mut joined: Vec<Variant> = Vec::with_capacity(variants.len());
    // Those that say more come first, so that each of the others finds them.
    let (full, bare): (Vec<_>, Vec<_>) =
        variants.into_iter().partition(|variant| variant.is_dated && !variant.core.ends_with(" -"));
    for new in full.into_iter().chain(bare) {
        let trade = |core: &str| core.rsplit_once(' ').map_or(core.to_owned(), |(trade, _)| trade.to_owned());
        let says_no_more = |known: &Variant| {
            let is_near =
                !new.is_dated || (new.first <= known.last + SAME_TRADE_MS && known.first - SAME_TRADE_MS <= new.last);
            let is_same =
                known.core == new.core || (new.core.ends_with(" -") && trade(&known.core) == trade(&new.core));
            is_near && is_same
        };
        match joined.iter().position(says_no_more) {
            Some(at) => {
                let known = joined.swap_remove(at);
                joined.push(absorb(known, new));
            }
            None => joined.push(new),
        }
    }
    joined
}

/// Adds files to a trade without letting them change it.
fn absorb(known: Variant, other: Variant) -> Variant {
    let (first, last, json) = (known.first, known.last, known.json.clone());
    let (core, is_dated) = (known.core.clone(), known.is_dated);
    Variant { core, is_dated, first, last, json, ..known.merged(other) }
}

/// Whether the target's signal is this trade.
fn is_same(variant: &Variant, known: &Signal) -> bool {
    let at = known.created_at.millis();
    let is_near = at >= variant.first.saturating_sub(SAME_TRADE_MS) && at <= variant.last.saturating_add(SAME_TRADE_MS);
    variant.core == core_of(known) && (is_near || !variant.is_dated)
}

/// Makes the id of a trade whose own was taken, and tells whether the target has that trade already.
///
/// It is made of what the trade is, so that it stays the same when more files of it are found, of which one may be earlier. Only
/// where another trade has that id already, its time makes the difference.
fn own_id(id: &SignalId, variant: &Variant, made: &[Made], target: &mut dyn Target) -> Result<(SignalId, bool)> {
    let of = |text: &str| {
        let digits: String = blake3::hash(text.as_bytes()).to_hex().chars().take(10).collect();
        SignalId::parse(&format!("{}{digits}", own_prefix(id))).map_err(|error| anyhow!("{error}"))
    };
    let (plain, timed) = (of(&variant.core)?, of(&format!("{} {}", variant.first, variant.core))?);
    for own in [&timed, &plain] {
        if target.signal(own)?.is_some_and(|known| is_same(variant, &known)) {
            return Ok((own.clone(), true));
        }
    }
    let is_free = made.iter().all(|made| made.id != plain) && target.signal(&plain)?.is_none();
    Ok((if is_free { plain } else { timed }, false))
}

/// How the ids begin that are given to other trades than the one that keeps an id.
pub(super) fn own_prefix(id: &SignalId) -> String {
    /// Room for the longest id with the suffix.
    const KEPT_BYTES: usize = 116;
    format!("{}@", id.as_str().get(..KEPT_BYTES).unwrap_or(id.as_str()))
}

struct Writer<'t> {
    target: &'t mut dyn Target,
    batch: Batch,
    /// Everything up to here is in a batch, or written.
    reached: Checkpoint,
    written: u64,
}

impl Writer<'_> {
    fn put_signal(&mut self, made: Made) -> Result<()> {
        let is_there = made.is_known || self.target.signal(&made.id)?.is_some();
        if !is_there {
            let object = Object::parse(made.variant.json.as_bytes()).map_err(|error| anyhow!("{error}"))?;
            let mut signal = SignalDraft::from_object(object, None)
                .and_then(|draft| draft.resolve(UnixMillis::new(made.variant.first), 1))
                .map_err(|error| anyhow!("{}: {error}", made.id))?;
            signal.id = made.id.clone();
            self.make_room()?;
            self.batch.signals.push(signal);
        }
        for (user, state) in made.variant.outcomes {
            let user_id = UserId::parse(&user).map_err(|error| anyhow!("{error}"))?;
            let outcome = Outcome {
                signal_id: made.id.clone(),
                user_id,
                status: OutcomeStatus::parse(&state.status).map_err(|error| anyhow!("{error}"))?,
                at: UnixMillis::new(state.at),
                members: Object::parse(state.json.as_bytes()).map_err(|error| anyhow!("{error}"))?,
            };
            let known = self.target.outcome(&outcome.signal_id, &outcome.user_id)?;
            if known.is_none_or(|known| known.at < outcome.at) {
                self.make_room()?;
                self.batch.outcomes.push(outcome);
            }
        }
        Ok(())
    }

    fn put_overlay(&mut self, user: &UserId, state: &UserState) -> Result<()> {
        let known = self.target.overlay(user)?;
        let overlay = overlay_from(user, state, known.as_ref())?;
        if known.is_none_or(|known| known.updated_at != overlay.updated_at || !known.says_the_same(&overlay)) {
            self.make_room()?;
            self.batch.overlays.push(overlay);
        }
        Ok(())
    }

    /// Writes what there is if one record more would be too many: also in the middle of a signal, which may have any number of
    /// outcomes. A run that is cut off there begins again with that signal.
    fn make_room(&mut self) -> Result<()> {
        if self.batch.len() >= BATCH_RECORDS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.target.write(&self.batch, &self.reached)?;
        self.written += self.batch.len() as u64;
        self.batch = Batch::default();
        Ok(())
    }
}

/// Makes the overlay; what the target has counts as of its own time, so that nothing newer is replaced.
fn overlay_from(user: &UserId, state: &UserState, known: Option<&Overlay>) -> Result<Overlay> {
    let mut state = state.clone();
    if let Some(known) = known {
        let object = Object::parse(&overlay_json(known)).map_err(|error| anyhow!("{error}"))?;
        let at = known.updated_at.millis();
        for (name, value) in object.iter().filter(|(name, _)| !matches!(*name, "user_id" | "updated_at")) {
            let is_newer = state.members.get(name).is_some_and(|(found, _)| *found > at);
            if !is_newer {
                state.members.insert(name.to_owned(), (at, value.to_owned()));
            }
        }
    }
    let newest = state.members.values().map(|(at, _)| *at).max().unwrap_or(0);
    let members = state.members.into_iter().map(|(name, (_, value))| (name, value)).collect();
    let draft = OverlayDraft::from_object(Object::from_members(members), Some(user));
    let mut overlay = draft.map_err(|error| anyhow!("{user}: {error}"))?.resolve(UnixMillis::MIN);
    overlay.updated_at = UnixMillis::new(newest);
    Ok(overlay)
}
