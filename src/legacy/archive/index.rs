//! The index of a pack: one line a file, compressed, and the names of packs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::super::report::Line;

/// How a pack's name ends.
pub(super) const PACK: &str = ".tar.zst";
/// How the name of its index ends.
pub(super) const INDEX: &str = ".ndjson.zst";
/// How a file's name ends that does not count yet.
pub(super) const PARTIAL: &str = ".partial";

/// Whether a packed file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Its bytes are in the pack.
    File,
    /// It changed while it was packed: what the pack holds of it does not count.
    Changed,
}

/// One line of an index: the line of the report, and how the file is packed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Where the file lay in the tree, its size, and what it became.
    #[serde(flatten)]
    pub line: Line,
    /// Whether it counts.
    pub kind: Kind,
    /// Its last change, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// Its permissions, as `chmod` takes them.
    pub mode: u32,
    /// BLAKE3 of its content.
    pub blake3: String,
    /// The number of the run that packed it, one more than that of the run before.
    pub run: u64,
    /// The pack, without its ending.
    pub pack: String,
}

impl Item {
    /// The path, as it was in the tree.
    ///
    /// # Errors
    ///
    /// If the line is damaged.
    pub fn path(&self) -> Result<PathBuf> {
        self.line.path.path().context("a path in an index is damaged")
    }
}

/// What tells whether a file is still the one in a pack, without reading it: its size and last change.
pub(super) fn version(bytes: u64, modified_ns: i64) -> Vec<u8> {
    format!("{bytes} {modified_ns}").into_bytes()
}

/// Whether a path stays inside the folder that it is joined to.
pub(super) fn is_safe(path: &Path) -> bool {
    !path.as_os_str().is_empty() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

/// What a folder of packs holds.
#[derive(Debug, Default)]
pub(super) struct PackFolder {
    /// The packs that have an index, in order.
    pub packs: Vec<String>,
    /// Packs without an index, each with a sentence that says so.
    pub without_index: BTreeMap<String, String>,
    /// Of the packs that have an index, those that are not there themselves, each with a sentence that says so.
    pub without_pack: BTreeMap<String, String>,
}

impl PackFolder {
    /// Lists a folder, without what a killed run left: that never counted.
    pub(super) fn of(out: &Path) -> Result<Self> {
        let packs = packs(out)?;
        let path = |pack: &str, end: &str| out.join(format!("{pack}{end}"));
        let mut without_index = BTreeMap::new();
        for pack in names(out, PACK)? {
            if !path(&pack, INDEX).exists() && !is_leftover(out, &pack) {
                let shown = path(&pack, PACK).display().to_string();
                let message = format!("{shown} has no index {pack}{INDEX}: put that back, or move the pack elsewhere");
                without_index.insert(pack, message);
            }
        }
        let mut without_pack = BTreeMap::new();
        for pack in packs.iter().filter(|pack| !path(pack, PACK).exists()) {
            let shown = path(pack, PACK).display().to_string();
            let message =
                format!("{shown} is missing, its index is there: put it back, or move {pack}{INDEX} elsewhere");
            without_pack.insert(pack.clone(), message);
        }
        Ok(Self { packs, without_index, without_pack })
    }

    /// The same, of a folder that must hold packs.
    pub(super) fn with_packs(out: &Path) -> Result<Self> {
        let folder = Self::of(out)?;
        if folder.packs.is_empty() && folder.without_index.is_empty() {
            bail!("{} holds no packs: neither *{PACK} nor *{INDEX}", out.display());
        }
        Ok(folder)
    }

    /// Names the packs without an index and the indexes without a pack, in one sentence.
    pub(super) fn incomplete(&self) -> Option<String> {
        let mut message = self.without_index.values().chain(self.without_pack.values());
        let first = message.next()?;
        let more = message.count();
        Some(if more == 0 { first.clone() } else { format!("{first} (and {more} more like it; `check` names all)") })
    }

    /// An error if a pack has no index, or an index no pack.
    pub(super) fn require_whole(&self) -> Result<()> {
        self.incomplete().map_or(Ok(()), |message| bail!(message))
    }
}

/// Whether a run was killed between naming a pack and naming its index: the index has its temporary name still.
fn is_leftover(out: &Path, pack: &str) -> bool {
    out.join(format!("{pack}{INDEX}{PARTIAL}")).exists()
}

/// The packs that count, in order: those with an index.
pub(super) fn packs(out: &Path) -> Result<Vec<String>> {
    let mut packs = names(out, INDEX)?;
    packs.sort_by(|a, b| by_day_and_number(a).cmp(&by_day_and_number(b)));
    Ok(packs)
}

/// What comes before an ending, of all names that have it.
fn names(out: &Path, end: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(out).with_context(|| format!("cannot read {}", out.display()))? {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(end)).map(str::to_owned));
    }
    Ok(names)
}

/// By day, and then by number, which has more than three digits after 999.
fn by_day_and_number(pack: &str) -> (&str, Option<u32>, &str) {
    let (day, number) = pack.rsplit_once('-').unwrap_or((pack, ""));
    (day, number.parse().ok(), pack)
}

/// Removes the files of a killed run: those under a temporary name, and a pack with an index that still has its
/// temporary name. Any other pack without an index stays, as it may be all that is left of its files.
pub(super) fn remove_leftovers(out: &Path) -> Result<()> {
    let remove = |name: String| {
        let path = out.join(name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    };
    let mut is_any_removed = false;
    for pack in names(out, PACK)? {
        if !out.join(format!("{pack}{INDEX}")).exists() && is_leftover(out, &pack) {
            remove(format!("{pack}{PACK}"))?;
            is_any_removed = true;
        }
    }
    if is_any_removed {
        // Before the temporary name goes by which it is known that the pack never counted.
        File::open(out)?.sync_all().with_context(|| format!("cannot sync {}", out.display()))?;
    }
    for end in [PACK, INDEX] {
        let end = format!("{end}{PARTIAL}");
        for name in names(out, &end)? {
            remove(format!("{name}{end}"))?;
        }
    }
    Ok(())
}

/// A name for the next pack of a day: `2025-07-16-001`.
pub(super) fn next_name(out: &Path, day: &str) -> Result<String> {
    let number = |name: &String| name.strip_prefix(day)?.strip_prefix('-')?.parse::<u32>().ok();
    let last = packs(out)?.iter().filter_map(number).max().unwrap_or(0);
    Ok(format!("{day}-{:03}", last + 1))
}

/// Reads an index line by line.
pub(super) fn read(out: &Path, pack: &str) -> Result<impl Iterator<Item = Result<Item>> + use<>> {
    read_file(&out.join(format!("{pack}{INDEX}")))
}

pub(super) fn read_file(path: &Path) -> Result<impl Iterator<Item = Result<Item>> + use<>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let shown = path.display().to_string();
    let lines = BufReader::new(zstd::Decoder::new(file)?).lines();
    Ok(lines.map(move |line| {
        let line = line.with_context(|| format!("cannot read {shown}"))?;
        serde_json::from_str(&line).with_context(|| format!("{shown} holds a damaged line"))
    }))
}
