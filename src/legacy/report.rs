//! What became of every file: a class each, and counts that add up to the files seen.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use os_display::Quotable as _;
use serde::{Deserialize, Serialize};

use super::part::{Part, Quarantine};
use super::reason::{Note, Refusal};
use super::walk::Tree;
use crate::domain::{Kept, Savings, UnixMillis};
use crate::store::Replacement;

/// What a file turned out to be. Each file is of exactly one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Class {
    /// A signal and a user's facts.
    Mission,
    /// A signal alone.
    Signal,
    /// Facts of one or more users alone.
    Overlay,
    /// A signal that could not be taken, with a user's facts that were.
    Partial,
    /// The same bytes as a file before it.
    Duplicate,
    /// A signal other than the one that has the id: kept under another id.
    Conflict,
    /// Nothing was taken from it.
    Quarantined,
}

impl Class {
    /// The class of a file that was recognised, as far as the file alone can tell.
    pub(super) fn of(recognised: &Result<Vec<Part>, Quarantine>) -> Self {
        let Ok(parts) = recognised else { return Self::Quarantined };
        let has_signal = parts.iter().any(|part| part.signal.is_some());
        let has_overlay = parts.iter().any(|part| part.overlay.is_some());
        match (has_signal, has_overlay) {
            (true, true) => Self::Mission,
            (true, false) => Self::Signal,
            (false, _) if parts.iter().any(|part| part.refused.is_some()) => Self::Partial,
            (false, _) => Self::Overlay,
        }
    }

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Where the file lies in the tree.
    #[serde(flatten)]
    pub path: PathText,
    /// Its size.
    pub bytes: u64,
    /// What it turned out to be.
    pub class: Class,
    /// The day that it speaks of, as `2025-07-16`, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// Why it was not taken, or not wholly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// The signals that it went into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<String>,
    /// The overlays that it went into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlays: Vec<String>,
    /// The users of the outcomes that it holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcomes: Vec<String>,
    /// What was decided or put right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Line {
    pub(super) fn new(path: &Path, bytes: u64, recognised: &Result<Vec<Part>, Quarantine>) -> Self {
        let (parts, quarantine) = match recognised {
            Ok(parts) => (parts.as_slice(), None),
            Err(quarantine) => (&[][..], Some(quarantine)),
        };
        let refused = parts.iter().filter_map(|part| part.refused.as_ref()).next_back().or(quarantine);
        let each = |of: fn(&Part) -> Option<&str>| parts.iter().filter_map(of).map(str::to_owned).collect();
        Self {
            path: PathText::of(path),
            bytes,
            class: Class::of(recognised),
            day: parts.iter().find_map(Part::moment).map(day_of),
            reason: refused.map(|refused| refused.refusal.to_string()),
            detail: refused.map(|refused| refused.detail.clone()).unwrap_or_default(),
            signals: each(|part| Some(part.signal.as_ref()?.signal.id.as_str())),
            overlays: each(|part| Some(part.overlay.as_ref()?.user.as_str())),
            outcomes: each(|part| Some(part.outcome.as_ref()?.user.as_str())),
            notes: parts.iter().flat_map(|part| &part.notes).map(Note::to_string).collect(),
        }
    }
}

/// The day of a moment in UTC, as `2025-07-16`.
pub(super) fn day_of(moment: UnixMillis) -> String {
    moment.to_string().chars().take(10).collect()
}

/// A path in JSON: as text, or in hexadecimal digits where its bytes are no UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathText {
    /// The path.
    Path(String),
    /// The bytes of the path.
    PathHex(String),
}

impl PathText {
    /// Writes a path down.
    pub(super) fn of(path: &Path) -> Self {
        if let Some(text) = path.to_str() {
            return Self::Path(text.to_owned());
        }
        let mut digits = String::new();
        for byte in path.as_os_str().as_bytes() {
            // Writing into a string can not fail.
            let _ = write!(digits, "{byte:02x}");
        }
        Self::PathHex(digits)
    }

    /// The path or its digits, to show.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Path(text) | Self::PathHex(text) => text,
        }
    }

    /// The path as a shell takes it, so that it can be handed to another command; without control characters.
    #[must_use]
    pub fn quoted(&self) -> String {
        match self.path() {
            Some(path) => path.maybe_quote().to_string(),
            None => self.as_str().maybe_quote().to_string(),
        }
    }

    /// Reads a path back; `None` if the digits are damaged.
    pub(super) fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Path(text) => Some(PathBuf::from(text)),
            Self::PathHex(digits) => {
                let bytes: Option<Vec<u8>> = digits
                    .as_bytes()
                    .chunks(2)
                    .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                    .collect();
                Some(PathBuf::from(OsStr::from_bytes(&bytes?)))
            }
        }
    }
}

/// Counts over a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Entries of the tree that are no folders.
    pub files: u64,
    /// Their sizes.
    pub bytes: u64,
    /// Their space on disk.
    pub disk_bytes: u64,
    /// Files and folders, the root too.
    pub inodes: u64,
    /// Different contents among the files that could be read.
    pub contents: u64,
    /// Files by class; they add up to `files`.
    pub classes: BTreeMap<Class, u64>,
    /// Quarantined files by reason.
    pub quarantined: BTreeMap<Refusal, u64>,
    /// Signals that were not taken, although the user's facts beside them were, by reason.
    pub signals_refused: BTreeMap<Refusal, u64>,
    /// What was decided or put right, in files.
    pub notes: BTreeMap<Note, u64>,
    /// Different signals, also those under another id than in their files.
    pub signals: u64,
    /// Of these, the ones that another signal's id was given to.
    pub signal_conflicts: u64,
    /// Users.
    pub overlays: u64,
    /// Users with several tiers, balances or risks over time.
    pub overlay_conflicts: u64,
    /// Outcomes.
    pub outcomes: u64,
    /// What could not be read.
    #[serde(skip)]
    pub unreadable: Unreadable,
}

impl Tally {
    /// What the tree takes, beside a database of so many bytes.
    #[must_use]
    pub fn savings(&self, database_bytes: u64) -> Savings {
        let Self { files, inodes, bytes, disk_bytes, .. } = *self;
        Savings::of(Kept { files, inodes, bytes, disk_bytes }, Kept::as_database(database_bytes))
    }
}

/// Files and folders that could not be read: their records are not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// How many.
    pub count: u64,
    /// The first hundred.
    pub first: Vec<PathBuf>,
}

impl Unreadable {
    /// Notes an entry if its reason is that it can not be read.
    pub(super) fn note(&mut self, path: &Path, refusal: Refusal) {
        /// All are counted.
        const NAMED_MAX: usize = 100;
        if matches!(refusal, Refusal::Unreadable | Refusal::UnreadableDirectory) {
            self.count += 1;
            if self.first.len() < NAMED_MAX {
                self.first.push(path.to_owned());
            }
        }
    }
}

/// Where a report goes: outside of the tree, to a name where nothing is, or an older report.
#[derive(Clone, Debug)]
pub struct ReportFile(PathBuf);

impl ReportFile {
    /// Checks a path.
    ///
    /// # Errors
    ///
    /// If the report would take the place of one of the tree's files, or of any file that is no report.
    pub fn new(path: &Path, tree: &Tree) -> Result<Self> {
        Self::check(path, tree).with_context(|| format!("cannot report to {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }

    fn check(path: &Path, tree: &Tree) -> Result<()> {
        /// Bytes of a report's first line that tell what it is; the names of a file's users come after them.
        const FIRST_LINE_BYTES_MAX: u64 = 1 << 20;
        // The folder alone counts: a link that leads into the tree is replaced, and what it names is not.
        let at = std::path::absolute(path)?;
        tree.require_outside(at.parent().unwrap_or(&at))?;
        // Writing says later what else is there; to open a pipe would be to wait.
        if !path.is_file() {
            return Ok(());
        }
        let mut line = Vec::new();
        BufReader::new(File::open(path)?.take(FIRST_LINE_BYTES_MAX)).read_until(b'\n', &mut line)?;
        let text = String::from_utf8_lossy(&line);
        let names_a_file = ["{\"path\":\"", "{\"path_hex\":\""].iter().any(|begin| text.starts_with(begin));
        let says_what_it_is = [",\"class\":\"", ",\"cause\":\""].iter().any(|member| text.contains(member));
        let is_report = names_a_file && says_what_it_is;
        if !is_report && !text.is_empty() {
            bail!("it is there already and is no report");
        }
        Ok(())
    }

    /// Writes the report, which appears whole or not at all.
    pub(super) fn write<T>(&self, work: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
        let new = Replacement::private(&self.0).map_err(anyhow::Error::new);
        new.and_then(|new| new.write(work)).with_context(|| format!("cannot report to {}", self.0.display()))
    }
}

/// Calls `work` with the report, if there is to be one.
pub(super) fn with_report<T>(
    report: Option<&ReportFile>,
    work: impl FnOnce(Option<&mut dyn Write>) -> Result<T>,
) -> Result<T> {
    match report {
        Some(report) => report.write(|out| work(Some(out))),
        None => work(None),
    }
}
