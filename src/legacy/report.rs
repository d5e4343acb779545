//! What became of every file: a class each, and counts that add up to the files seen.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::reason::{Note, Refusal};
use super::recognise::{Part, Quarantine};
use crate::domain::UnixMillis;

/// What a file turned out to be. Each file is of exactly one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// A signal other than the one that has the id: kept under an id of its own.
    Conflict,
    /// Nothing was taken from it.
    Quarantined,
}

impl Class {
    /// All classes, in the order in which they are listed.
    pub const ALL: [Self; 7] =
        [Self::Mission, Self::Signal, Self::Overlay, Self::Partial, Self::Duplicate, Self::Conflict, Self::Quarantined];

    /// The class of a file that was recognised, as far as the file alone can tell.
    #[must_use]
    pub fn of(parts: &[Part]) -> Self {
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
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mission => "mission",
            Self::Signal => "signal",
            Self::Overlay => "overlay",
            Self::Partial => "partial",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Quarantined => "quarantined",
        }
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
    /// The users whose outcome it holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outcomes: Vec<String>,
    /// What was decided or put right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Line {
    pub(super) fn new(path: &Path, bytes: u64, class: Class, recognised: &Result<Vec<Part>, Quarantine>) -> Self {
        let mut line = Self {
            path: PathText::of(path),
            bytes,
            class,
            day: None,
            reason: None,
            detail: String::new(),
            signals: Vec::new(),
            overlays: Vec::new(),
            outcomes: Vec::new(),
            notes: Vec::new(),
        };
        let parts = match recognised {
            Ok(parts) => parts.as_slice(),
            Err(quarantine) => {
                line.refuse(quarantine);
                &[]
            }
        };
        for part in parts {
            line.day = line.day.or_else(|| part.moment().map(day_of));
            line.signals.extend(part.signal.as_ref().map(|part| part.signal.id.as_str().to_owned()));
            line.overlays.extend(part.overlay.as_ref().map(|part| part.user.as_str().to_owned()));
            line.outcomes.extend(part.outcome.as_ref().map(|part| part.user.as_str().to_owned()));
            line.notes.extend(part.notes.iter().map(|note| note.as_str().to_owned()));
            if let Some(refused) = &part.refused {
                line.refuse(refused);
            }
        }
        line
    }

    fn refuse(&mut self, quarantine: &Quarantine) {
        self.reason = Some(quarantine.refusal.code().to_owned());
        self.detail.clone_from(&quarantine.detail);
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
    #[must_use]
    pub fn of(path: &Path) -> Self {
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

    /// Reads a path back; `None` if the digits are damaged.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries of the tree that are no folders.
    pub files: u64,
    /// Their sizes.
    pub bytes: u64,
    /// Their space on disk.
    pub disk_bytes: u64,
    /// Folders, the root too: with the files, the inodes.
    pub folders: u64,
    /// Files by class; they add up to `files`.
    pub classes: BTreeMap<Class, u64>,
    /// Quarantined files by reason.
    pub quarantined: BTreeMap<Refusal, u64>,
    /// Signals that were not taken, although the user's facts beside them were, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// What was decided or put right, in files.
    pub notes: BTreeMap<Note, u64>,
    /// Different contents among the files that could be read.
    pub contents: u64,
    /// Different signals, those under an id of their own included.
    pub signals: u64,
    /// Of these, the ones that another signal's id was given to.
    pub signal_conflicts: u64,
    /// Users.
    pub overlays: u64,
    /// Users with several tiers, balances or risks over time.
    pub overlay_conflicts: u64,
    /// Outcomes.
    pub outcomes: u64,
    /// Signals, overlays and outcomes that were not there before.
    pub written: u64,
    /// Files by the day that they speak of, in days since 1970: as they are packed.
    pub days: BTreeMap<i64, u64>,
    /// Bytes of the files that were packed on trial.
    pub sampled_bytes: u64,
    /// What those take in a pack, its index included.
    pub sampled_packed_bytes: u64,
}

impl Tally {
    /// What the tree's packs would about occupy.
    #[must_use]
    pub fn packed_bytes(&self) -> u64 {
        let bytes = u128::from(self.bytes) * u128::from(self.sampled_packed_bytes);
        u64::try_from(bytes / u128::from(self.sampled_bytes.max(1))).unwrap_or(u64::MAX)
    }

    /// How many packs there would be.
    #[must_use]
    pub fn packs(&self, files_max: u64) -> u64 {
        self.days.values().map(|files| files.div_ceil(files_max.max(1))).sum()
    }
}
