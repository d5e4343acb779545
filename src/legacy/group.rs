//! Everything that the files of a tree say, grouped by signal and by user.
//!
//! Reading threads recognise the files; the calling thread merges what they found. The result is the same in any order
//! of the files. Signals and users are kept in memory: a year of old files has ten thousand of each. Hashes of contents
//! go through [`sorter`](super::sorter), as there is one a file; a class and a number a file are in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::Result;

use super::part::{OutcomePart, OverlayPart, Part, Quarantine, SignalPart, TradeKey};
use super::progress::Progress;
use super::recognise::recognise;
use super::record::Context;
use super::report::{Class, Line, Tally};
use super::sorter::{Sorter, nameless_file};
use super::walk::{LoadedEntry, Stat, Tree};
use crate::domain::{Signal, SignalId, UnixMillis, UserId};
use crate::render::signal_json;

/// Files that speak of the same trade under the same id further apart than this speak of two: the counters in the old
/// ids restarted with each process, and the nearest two real restarts lie three hours apart. Writing one signal's
/// files for all users took seconds.
pub(super) const SAME_TRADE_MS: i64 = 60 * 60 * 1_000;
/// Memory for the hashes of contents.
const HASHES_BYTES_MAX: usize = 16 << 20;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Everything that was found in a tree.
pub(super) struct Groups {
    /// Under each id, one variant for each trade.
    pub(super) signals: BTreeMap<SignalId, Vec<Variant>>,
    /// What was found about each user.
    pub(super) users: BTreeMap<UserId, UserFacts>,
    /// Numbers of the files by the hash of their content.
    pub(super) hashes: Sorter,
    /// Class of each file, in the order of the walk.
    pub(super) classes: Vec<Class>,
    /// One line a file, not yet final.
    pub(super) lines: Option<BufWriter<File>>,
    /// Counts so far.
    pub(super) tally: Tally,
    /// The days that the files speak of, in days since 1970: each becomes a pack.
    pub(super) days: BTreeSet<i64>,
}

/// One trade under an id.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    /// What the trade is.
    pub(super) key: TradeKey,
    /// Whether the files say when it was made.
    pub(super) is_dated: bool,
    /// When the earliest file says it was made.
    pub(super) first: UnixMillis,
    /// When the latest file says so.
    pub(super) last: UnixMillis,
    /// The earliest file's signal.
    pub(super) signal: Signal,
    /// What happened for users: the latest counts.
    pub(super) outcomes: BTreeMap<UserId, OutcomePart>,
    /// The files, by their numbers in the order of the walk.
    pub(super) files: Vec<usize>,
}

/// What was found about one user.
#[derive(Clone, Debug, Default)]
pub(super) struct UserFacts {
    /// Each member's newest value, with the time of the file that it is from, if that has one.
    pub(super) members: BTreeMap<String, (Option<UnixMillis>, String)>,
    /// Tier, balance and risk of a file that has a balance.
    first: Option<[Option<String>; 3]>,
    /// Whether another file has others.
    pub(super) has_changed: bool,
}

/// Reads a tree; `has_lines` if a report is to be written.
///
/// # Errors
///
/// If the tree's root can not be read, or a temporary file not be written. A file that can not be read is counted, not
/// an error.
pub(super) fn group(tree: &Tree, context: Context<'_>, has_lines: bool) -> Result<Groups> {
    let mut progress = Progress::over("reading", tree);
    let mut groups = Groups {
        signals: BTreeMap::new(),
        users: BTreeMap::new(),
        hashes: Sorter::new(HASHES_BYTES_MAX),
        classes: Vec::new(),
        lines: if has_lines { Some(BufWriter::with_capacity(1 << 18, nameless_file()?)) } else { None },
        tally: Tally::default(),
        days: BTreeSet::new(),
    };
    let folders = tree.for_each(
        |loaded| RecognisedFile::of(loaded, context),
        |file| {
            groups.add_file(file)?;
            progress.set(groups.tally.files);
            Ok(())
        },
    )?;
    groups.tally.inodes = groups.tally.files + folders;
    if let Some(lines) = &mut groups.lines {
        lines.flush()?;
    }
    Ok(groups)
}

/// One file, as a reading thread hands it over.
struct RecognisedFile {
    path: PathBuf,
    stat: Stat,
    /// Half of the hash of the content: enough to tell contents apart.
    hash: Option<[u8; 16]>,
    recognised: Result<Vec<Part>, Quarantine>,
}

impl RecognisedFile {
    fn of(loaded: LoadedEntry, context: Context<'_>) -> Self {
        let LoadedEntry { entry, stat, content } = loaded;
        let hash = |content: &Vec<u8>| blake3::hash(content).as_bytes().first_chunk::<16>().copied();
        let hash = content.as_ref().ok().and_then(hash);
        let recognised = match &content {
            Ok(bytes) => recognise(bytes, &entry.path, stat.modified(), context),
            Err(refusal) => Err(Quarantine::from(*refusal)),
        };
        Self { path: entry.path, stat, hash, recognised }
    }
}

impl Groups {
    /// Adds a file: its class, its line, and what its records say.
    fn add_file(&mut self, file: RecognisedFile) -> Result<()> {
        let RecognisedFile { path, stat, hash, recognised } = file;
        let Self { hashes, classes, lines, tally, days, .. } = self;
        let number = classes.len();
        tally.files += 1;
        tally.bytes += stat.bytes;
        tally.disk_bytes += stat.disk_bytes;
        if let Some(hash) = hash {
            hashes.push(&hash, &number.to_be_bytes())?;
        }
        classes.push(Class::of(&recognised));
        let moment = recognised.as_ref().ok().and_then(|parts| parts.iter().find_map(Part::moment));
        days.insert(moment.unwrap_or_else(|| stat.modified()).millis().div_euclid(DAY_MS));
        if let Some(lines) = lines {
            serde_json::to_writer(&mut *lines, &Line::new(&path, stat.bytes, &recognised))?;
            lines.write_all(b"\n")?;
        }
        match recognised {
            Ok(parts) => parts.into_iter().for_each(|part| self.add_part(part, number)),
            Err(quarantine) => {
                *tally.quarantined.entry(quarantine.refusal).or_default() += 1;
                tally.unreadable.note(&path, quarantine.refusal);
            }
        }
        Ok(())
    }

    /// Adds what a record of a file says.
    fn add_part(&mut self, part: Part, file: usize) {
        let Part { signal, overlay, outcome, refused, notes, .. } = part;
        for note in notes {
            *self.tally.notes.entry(note).or_default() += 1;
        }
        if let Some(refused) = refused {
            *self.tally.signals_refused.entry(refused.refusal).or_default() += 1;
        }
        if let Some(signal) = signal {
            let variants = self.signals.entry(signal.signal.id.clone()).or_default();
            let mut new = Variant::new(signal, outcome, file);
            // A new one may be close in time to two that were too far apart: then all three are one.
            while let Some(at) = variants.iter().position(|known| known.is_same_trade(&new)) {
                new = variants.swap_remove(at).merged(new);
            }
            variants.push(new);
        }
        if let Some(overlay) = overlay {
            self.users.entry(overlay.user.clone()).or_default().add(overlay);
        }
    }
}

impl Variant {
    fn new(part: SignalPart, outcome: Option<OutcomePart>, file: usize) -> Self {
        let SignalPart { signal, is_dated } = part;
        let at = signal.created_at;
        let outcomes = outcome.into_iter().map(|outcome| (outcome.user.clone(), outcome)).collect();
        Self { key: TradeKey::of(&signal), is_dated, first: at, last: at, signal, outcomes, files: vec![file] }
    }

    /// Whether both are the same trade. The files' own times do not count: all undated files are one trade.
    fn is_same_trade(&self, other: &Self) -> bool {
        self.key == other.key
            && self.is_dated == other.is_dated
            && (!self.is_dated || (other.is_close_in_time(self.first, self.last)))
    }

    /// Whether a time span is close enough to be that of the same trade.
    pub(super) fn is_close_in_time(&self, first: UnixMillis, last: UnixMillis) -> bool {
        first <= self.last.plus_millis(SAME_TRADE_MS) && self.first.plus_millis(-SAME_TRADE_MS) <= last
    }

    /// Joins two of the same trade: the earliest file makes the signal.
    fn merged(self, other: Self) -> Self {
        let is_earlier = match other.first.cmp(&self.first) {
            // Which of two counts that were made at one moment must not depend on the order of the files.
            std::cmp::Ordering::Equal => signal_json(&other.signal) < signal_json(&self.signal),
            order => order.is_lt(),
        };
        let last = self.last.max(other.last);
        let joined = if is_earlier { other.with_files_of(self) } else { self.with_files_of(other) };
        Self { last, ..joined }
    }

    /// Adds another's files and outcomes, without letting it change the signal or its times.
    pub(super) fn with_files_of(mut self, mut other: Self) -> Self {
        for (user, outcome) in other.outcomes {
            let order = |outcome: &OutcomePart| (outcome.at, outcome.status.as_str(), outcome.members.to_json());
            let known = self.outcomes.get(&user);
            if known.is_none_or(|known| order(known) < order(&outcome)) {
                self.outcomes.insert(user, outcome);
            }
        }
        if self.files.len() < other.files.len() {
            std::mem::swap(&mut self.files, &mut other.files);
        }
        self.files.append(&mut other.files);
        self
    }
}

impl UserFacts {
    /// Adds what one file says. Each member's newest value wins, so that a file which lacks a member takes nothing
    /// away.
    fn add(&mut self, part: OverlayPart) {
        let find = |name: &str| {
            let mut members = part.members.iter();
            members.find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        if let Some(balance) = find("account_balance") {
            let facts = [find("tier"), Some(balance), find("risk_percent")];
            self.has_changed |= self.first.get_or_insert_with(|| facts.clone()) != &facts;
        }
        for (name, value) in part.members {
            let new = (part.at, value);
            if self.members.get(&name).is_none_or(|known| *known < new) {
                self.members.insert(name, new);
            }
        }
    }
}
