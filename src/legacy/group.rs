//! Reading a whole tree: every file once, in bounded memory.
//!
//! One thread walks, some read and recognise, the caller's merges; bounded channels lie between them. Signals and users
//! are merged as they come. When they outgrow their bound they are cut into sorted runs, which [`resolve`](super::resolve)
//! merges by id. So nothing depends on the order of the files, and a run that is interrupted leaves nothing behind.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::archive::LEVEL;
use super::recognise::{Context, Part, Quarantine, recognise};
use super::report::{Class, Line, Tally};
use super::sorter::{Sorter, nameless_file};
use super::state::{SignalState, UserState};
use super::walk::{Loaded, Stat, Walk, for_each};
use crate::domain::{SignalId, UserId};

/// Memory for signals and users, each, before they are cut into a run.
const STATES_BYTES_MAX: usize = 24 << 20;
/// Memory for the hashes of contents.
const HASHES_BYTES_MAX: usize = 16 << 20;

/// Of 256 files, how many are packed on trial to tell what all will take.
const SAMPLED_OF_256: u8 = 8;
/// What a file takes in the index of a pack beside its path: its hash does not compress.
const INDEX_BYTES: u64 = 48;
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// How a tree is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where runs too large for memory go; they have no names and are gone when the program is.
    pub temporary: PathBuf,
    /// Whether a line a file is kept for the report.
    pub has_report: bool,
    /// Memory for signals and users before they go to disk; tests make it small.
    pub states_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { temporary: std::env::temp_dir(), has_report: false, states_bytes_max: STATES_BYTES_MAX }
    }
}

/// Everything that was found in a tree.
#[derive(Debug)]
pub struct Collected {
    /// Signals by id, as pieces of [`SignalState`].
    pub(super) signals: Sorter,
    /// Users by id, as pieces of [`UserState`].
    pub(super) users: Sorter,
    /// Numbers of the files by the hash of their content.
    pub(super) hashes: Sorter,
    /// Class of each file, in the order of the scan.
    pub(super) classes: Vec<Class>,
    /// One line a file, not yet final.
    pub(super) lines: Option<File>,
    /// Counts so far.
    pub(super) tally: Tally,
    pub(super) temporary: PathBuf,
}

/// Reads a tree. `progress` is called after each file with the files and bytes read so far.
///
/// # Errors
///
/// If the tree's root can not be read, or a temporary file not be written. A file that can not be read is counted, not an
/// error.
pub fn collect(
    root: &Path,
    context: Context<'_>,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Collected> {
    let walk = Walk::new(root, &options.temporary)?;
    let mut collector = Collector::new(options)?;
    let each = |found: Found| {
        collector.add(&found)?;
        progress(collector.tally.files, collector.tally.bytes);
        Ok(())
    };
    let folders = for_each(walk, |loaded| Found::of(loaded, context), each)?;
    collector.tally.folders = folders;
    collector.finish()
}

/// One file, understood: what the workers hand over.
struct Found {
    path: PathBuf,
    stat: Stat,
    /// Half of the hash of the content: enough to tell contents apart.
    hash: Option<[u8; 16]>,
    recognised: Result<Vec<Part>, Quarantine>,
    /// The content, of one file in some, to pack it on trial.
    sample: Option<Vec<u8>>,
}

impl Found {
    fn of(loaded: Loaded, context: Context<'_>) -> Self {
        let Loaded { entry, stat, content } = loaded;
        let hash = content.as_ref().ok().and_then(|content| {
            let hash = blake3::hash(content);
            hash.as_bytes().first_chunk::<16>().copied()
        });
        let recognised = match &content {
            Ok(bytes) => recognise(bytes, &entry.path, stat.modified(), context),
            Err(refusal) => Err(Quarantine::from(*refusal)),
        };
        let is_sample = hash.is_some_and(|[first, ..]| first < SAMPLED_OF_256);
        let sample = content.ok().filter(|_| is_sample);
        Self { path: entry.path, stat, hash, recognised, sample }
    }
}

struct Collector {
    states_bytes_max: usize,
    signals: HashMap<SignalId, SignalState>,
    signal_bytes: usize,
    users: HashMap<UserId, UserState>,
    user_bytes: usize,
    lines: Option<BufWriter<File>>,
    trial: zstd::Encoder<'static, Scale>,
    out: Collected,
    tally: Tally,
}

/// Takes bytes and keeps their number.
#[derive(Debug, Default)]
struct Scale(u64);

impl Write for Scale {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Collector {
    fn new(options: &Options) -> Result<Self> {
        let sorter = |bytes_max| Sorter::new(options.temporary.clone(), bytes_max);
        let out = Collected {
            signals: sorter(options.states_bytes_max),
            users: sorter(options.states_bytes_max),
            hashes: sorter(HASHES_BYTES_MAX.min(options.states_bytes_max)),
            classes: Vec::new(),
            lines: None,
            tally: Tally::default(),
            temporary: options.temporary.clone(),
        };
        let lines = if options.has_report {
            Some(BufWriter::with_capacity(1 << 18, nameless_file(&options.temporary)?))
        } else {
            None
        };
        Ok(Self {
            states_bytes_max: options.states_bytes_max,
            signals: HashMap::new(),
            signal_bytes: 0,
            users: HashMap::new(),
            user_bytes: 0,
            lines,
            trial: zstd::Encoder::new(Scale::default(), LEVEL)?,
            out,
            tally: Tally::default(),
        })
    }

    fn add(&mut self, found: &Found) -> Result<()> {
        let Found { path, stat, hash, recognised, sample } = found;
        let number = self.tally.files;
        self.tally.files += 1;
        self.tally.bytes += stat.bytes;
        self.tally.disk_bytes += stat.disk_bytes;
        if let Some(hash) = hash {
            self.out.hashes.push(hash, &number.to_be_bytes())?;
        }
        let class = match recognised {
            Ok(parts) => Class::of(parts),
            Err(_) => Class::Quarantined,
        };
        self.out.classes.push(class);
        match recognised {
            Ok(parts) => {
                for part in parts {
                    self.keep(part, number)?;
                }
            }
            Err(quarantine) => *self.tally.quarantined.entry(quarantine.refusal).or_default() += 1,
        }
        let moment = recognised.as_ref().ok().and_then(|parts| parts.iter().find_map(Part::moment));
        let day = moment.unwrap_or_else(|| stat.modified()).millis().div_euclid(DAY_MS);
        *self.tally.days.entry(day).or_default() += 1;
        if let Some(sample) = sample {
            self.trial.write_all(path.as_os_str().as_encoded_bytes())?;
            self.trial.write_all(sample)?;
            self.tally.sampled_bytes += sample.len() as u64;
            self.tally.sampled_packed_bytes += INDEX_BYTES;
        }
        if let Some(lines) = &mut self.lines {
            let line = Line::new(path, stat.bytes, class, recognised);
            serde_json::to_writer(&mut *lines, &line)?;
            lines.write_all(b"\n")?;
        }
        Ok(())
    }

    fn keep(&mut self, part: &Part, number: u64) -> Result<()> {
        for note in &part.notes {
            *self.tally.notes.entry(*note).or_default() += 1;
        }
        if let Some(refused) = &part.refused {
            *self.tally.refused.entry(refused.refusal).or_default() += 1;
        }
        if let Some(signal) = &part.signal {
            let state = self.signals.entry(signal.signal.id.clone()).or_default();
            let before = state.bytes();
            state.add(signal, part.outcome.as_ref(), number);
            self.signal_bytes += state.bytes().saturating_sub(before);
            if self.signal_bytes > self.states_bytes_max {
                self.spill_signals()?;
            }
        }
        if let Some(overlay) = &part.overlay {
            if let Some(state) = self.users.get_mut(&overlay.user) {
                state.add(overlay);
            } else {
                let mut state = UserState::default();
                state.add(overlay);
                self.user_bytes += state.bytes();
                self.users.insert(overlay.user.clone(), state);
            }
            if self.user_bytes > self.states_bytes_max {
                self.spill_users()?;
            }
        }
        Ok(())
    }

    fn spill_signals(&mut self) -> Result<()> {
        for (id, state) in self.signals.drain() {
            self.out.signals.push(id.as_str().as_bytes(), &serde_json::to_vec(&state)?)?;
        }
        self.signal_bytes = 0;
        Ok(())
    }

    fn spill_users(&mut self) -> Result<()> {
        for (id, state) in self.users.drain() {
            self.out.users.push(id.as_str().as_bytes(), &serde_json::to_vec(&state)?)?;
        }
        self.user_bytes = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<Collected> {
        self.spill_signals()?;
        self.spill_users()?;
        if let Some(lines) = self.lines {
            self.out.lines = Some(lines.into_inner().map_err(std::io::IntoInnerError::into_error)?);
        }
        self.tally.sampled_packed_bytes += self.trial.finish()?.0;
        self.out.tally = self.tally;
        Ok(self.out)
    }
}
