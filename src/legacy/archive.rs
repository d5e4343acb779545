//! Packs old files, and removes the originals on request.
//!
//! A pack is a `tar.zst` of one day's files. Its index, a file of its own, has one line a file, with size, time,
//! permissions, hash and class. The archive writes a pack under a temporary name, syncs it, reads it back, compares it
//! with the files' hashes, and only then renames it. The index is renamed last; a pack counts from then on. A killed
//! run leaves a pack that counts or one that does not, and the next run continues.
//!
//! An original is removed only after every pack was read back, and only if its hash is still the packed one. Symbolic
//! links stay: their targets may be outside of the tree, or packed by then. Databases stay: one of them may be the one
//! that the files were imported into.

mod index;
mod pack;
mod versions;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use index::PackFolder;
pub use index::{Item, Kind};
pub use pack::Check;

use super::plan::report_of;
use super::progress::Progress;
use super::reason::Refusal;
use super::record::Context;
use super::report::{Line, PathText, day_of};
use super::sorter::{Sorter, take_at};
use super::walk::{Stat, Tree};
use crate::store::make_private_folder;
use pack::hash_reader;
use versions::{LIST_BYTES_MAX, ORDER_BYTES, OlderVersions, pack_order, walk_order};

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archived {
    /// Entries of the tree that are no folders, and folders that can not be read.
    pub files: u64,
    /// Of these, packed by an earlier run and unchanged since.
    pub packed_before: u64,
    /// Packed by this run.
    pub packed: u64,
    /// Symbolic links.
    pub links_left: u64,
    /// Databases.
    pub databases_left: u64,
    /// Sockets and the like, and what can not be read: listed, not packed.
    pub listed_only: u64,
    /// Files that changed while they were packed, or since the report. The next run packs them, with a report that
    /// knows them.
    pub changed_meanwhile: u64,
    /// Packs that this run made.
    pub packs: u64,
    /// Originals removed.
    pub deleted: u64,
    /// Where originals were to be removed: those that stay.
    pub kept: u64,
    /// The first hundred that stay unpacked or could not be removed, each with the reason.
    pub unpacked: BTreeMap<PathBuf, String>,
}

impl Archived {
    /// The counts by name.
    #[must_use]
    pub const fn counts(&self) -> [(&'static str, u64); 10] {
        [
            ("files", self.files),
            ("packed_before", self.packed_before),
            ("packed", self.packed),
            ("links_left", self.links_left),
            ("databases_left", self.databases_left),
            ("listed_only", self.listed_only),
            ("changed_meanwhile", self.changed_meanwhile),
            ("packs", self.packs),
            ("deleted", self.deleted),
            ("kept", self.kept),
        ]
    }

    /// How many stay although they were to be packed, or to be removed.
    #[must_use]
    pub const fn unpacked_count(&self) -> u64 {
        let unpacked = self.links_left + self.databases_left + self.listed_only + self.changed_meanwhile;
        if self.kept > unpacked { self.kept } else { unpacked }
    }

    fn list_unpacked(&mut self, path: &Path, why: impl Into<String>) {
        /// All are counted.
        const NAMED_MAX: usize = 100;
        if self.unpacked.len() < NAMED_MAX {
            self.unpacked.entry(path.to_owned()).or_insert_with(|| why.into());
        }
    }
}

/// What an extraction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// Files written.
    pub files: u64,
    /// Packed files that are left out, as their path was packed again later.
    pub older: u64,
    /// A pack without an index, or an index without its pack, if there is one: what that holds is left out, and this
    /// sentence says so.
    pub incomplete: Option<String>,
}

/// Packs a tree into a folder; removes the originals if `delete`, once every pack was read back.
///
/// `report` is that of an import of the same tree: what each file became goes into the index, and a file that is not in
/// it, has another size there or changed since then is not what it speaks of and stays. Without one the files are read
/// for it.
///
/// # Errors
///
/// If a pack can not be written, or does not read back as what was packed; nothing is removed then. If `out` lies in
/// the tree, or another run writes to it.
pub fn archive(tree: &Tree, context: Context<'_>, out: &Path, delete: bool, report: Option<&Path>) -> Result<Archived> {
    tree.require_outside(out)?;
    let (report, reported_ns) = match report {
        Some(path) => {
            let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            let reported_ns = Stat::of(&file.metadata()?).modified_ns;
            (BufReader::new(file), Some(reported_ns))
        }
        None => (report_of(tree, context)?, None),
    };
    make_private_folder(out).with_context(|| format!("cannot create {}", out.display()))?;
    let out = fs::canonicalize(out)?;
    let lock = File::open(&out).with_context(|| format!("cannot open {}", out.display()))?;
    // A file system without locks leaves it to the operator.
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        bail!("another run packs into {}: wait until it is done", out.display());
    }
    index::remove_leftovers(&out)?;
    PackFolder::of(&out)?.require_whole()?;
    let mut run = Run { tree, out: &out, reported_ns, number: 1, done: Archived::default() };
    let todo = run.list(report)?;
    run.pack_all(todo)?;
    if delete {
        run.delete_originals()?;
    }
    Ok(run.done)
}

/// One run over a tree.
struct Run<'r> {
    tree: &'r Tree,
    out: &'r Path,
    /// When the report was written, in nanoseconds since 1970, if not just now.
    reported_ns: Option<i64>,
    /// One more than that of the run before.
    number: u64,
    done: Archived,
}

impl Run<'_> {
    /// Sorts the files that are not packed yet by day and path.
    fn list(&mut self, report: BufReader<File>) -> Result<Sorter> {
        let mut packed = Sorter::new(LIST_BYTES_MAX);
        for (pack, name) in (0..).zip(index::packs(self.out)?) {
            for (nth, item) in (0..).zip(index::read(self.out, &name)?) {
                let item = item?;
                self.number = self.number.max(item.run.saturating_add(1));
                if item.kind == Kind::File {
                    let version = index::version(item.line.bytes, item.modified_ns);
                    packed.push(&walk_order(&item.path()?), &[pack_order(&item, pack, nth), version].concat())?;
                }
            }
        }
        let mut packed = packed.finish()?.peekable();
        let mut lines = lines_of(report).peekable();
        let mut todo = Sorter::new(LIST_BYTES_MAX);
        for entry in self.tree.walk()? {
            let entry = entry?;
            self.done.files += 1;
            let order = walk_order(&entry.path);
            // The last version counts: a file that is an older one again is packed again, so as to come back like this.
            let last = take_at(&mut packed, &order)?;
            let line = take_at(&mut lines, &order)?;
            let original = self.tree.root().join(&entry.path);
            let metadata = fs::symlink_metadata(&original);
            let stat = metadata.as_ref().map(Stat::of).unwrap_or_default();
            if let Some(refusal) = entry.refusal {
                self.count_unpacked(&entry.path, refusal);
            } else if metadata.is_ok_and(|found| self.tree.is_database(&original, &found)) {
                self.count_unpacked(&entry.path, Refusal::Database);
            } else if let Some(line) = line.filter(|line| self.is_unchanged(line, &stat)) {
                let version = last.as_deref().and_then(|last| last.get(ORDER_BYTES..));
                if version == Some(&index::version(stat.bytes, stat.modified_ns)) {
                    self.done.packed_before += 1;
                    continue;
                }
                let day = line.day.clone().unwrap_or_else(|| day_of(stat.modified()));
                todo.push(&[day.as_bytes(), b"\0", &order].concat(), &serde_json::to_vec(&line)?)?;
            } else {
                self.done.changed_meanwhile += 1;
                self.done.list_unpacked(&entry.path, "is not what the report speaks of");
            }
        }
        Ok(todo)
    }

    /// Counts an entry that is not packed.
    fn count_unpacked(&mut self, path: &Path, refusal: Refusal) {
        *match refusal {
            Refusal::Symlink | Refusal::SymlinkLoop | Refusal::SymlinkDangling => &mut self.done.links_left,
            Refusal::Database => &mut self.done.databases_left,
            _ => &mut self.done.listed_only,
        } += 1;
        self.done.list_unpacked(path, unpacked_reason(refusal));
    }

    /// Whether a file is still what a report speaks of that was written before this run.
    fn is_unchanged(&self, line: &Line, stat: &Stat) -> bool {
        self.reported_ns.is_none_or(|reported_ns| stat.modified_ns <= reported_ns && line.bytes == stat.bytes)
    }

    fn pack_all(&mut self, todo: Sorter) -> Result<()> {
        let mut progress = Progress::over("packing", self.tree);
        let mut open: Option<(String, pack::Writer)> = None;
        for (done, pair) in (1..).zip(todo.finish()?) {
            let (key, line) = pair?;
            let day = key.split(|byte| *byte == 0).next().unwrap_or_default();
            let day = std::str::from_utf8(day).context("a sorted run is damaged")?;
            let line: Line = serde_json::from_slice(&line).context("a sorted run is damaged")?;
            let path = line.path.path().context("a sorted run is damaged")?;
            let original = self.tree.root().join(&path);
            // A link that has replaced the file since the walk is not followed.
            let is_file = fs::symlink_metadata(&original).is_ok_and(|metadata| metadata.is_file());
            let Some(file) = is_file.then(|| File::open(&original).ok()).flatten() else {
                self.count_unpacked(&path, Refusal::Unreadable);
                continue;
            };
            if let Some((_, writer)) = open.take_if(|(known, writer)| known != day || writer.is_full()) {
                writer.commit()?;
                self.done.packs += 1;
            }
            let (_, writer) = match &mut open {
                Some(open) => open,
                None => {
                    open.insert((day.to_owned(), pack::Writer::create(self.out, &index::next_name(self.out, day)?)?))
                }
            };
            if writer.add(&file, &path, self.number, line)? == Kind::File {
                self.done.packed += 1;
            } else {
                self.done.changed_meanwhile += 1;
                self.done.list_unpacked(&path, "changed while it was packed");
            }
            progress.set(done);
        }
        if let Some((_, writer)) = open {
            writer.commit()?;
            self.done.packs += 1;
        }
        Ok(())
    }

    /// Removes the packed files, once every pack was read back. A file that can not be removed is noted, and the rest
    /// goes.
    fn delete_originals(&mut self) -> Result<()> {
        let packs = index::packs(self.out)?;
        for pack in &packs {
            pack::check(self.out, pack).require_whole(pack)?;
        }
        for pack in &packs {
            self.delete_originals_of(pack)?;
        }
        // A second walk counts the rest: a file may be in two packs, and the tree may have new files.
        for entry in self.tree.walk()? {
            let entry = entry?;
            self.done.kept += 1;
            self.done.list_unpacked(&entry.path, entry.refusal.map_or("is not what was packed", unpacked_reason));
        }
        Ok(())
    }

    /// Removes the originals of a pack, and the folders that are empty then.
    fn delete_originals_of(&mut self, pack: &str) -> Result<()> {
        let root = self.tree.root();
        for item in index::read(self.out, pack)? {
            let item = item?;
            let path = item.path()?;
            if !index::is_safe(&path) {
                bail!("the index of {pack} names a path outside of the tree: {}", path.display());
            }
            let original = root.join(&path);
            let Ok(metadata) = fs::symlink_metadata(&original) else { continue };
            let is_later = self.reported_ns.is_some_and(|reported_ns| Stat::of(&metadata).modified_ns > reported_ns);
            // A database is never removed, even if a pack has it.
            let is_removable = item.kind == Kind::File
                && metadata.is_file()
                && !is_later
                && !self.tree.is_database(&original, &metadata);
            if is_removable && File::open(&original).and_then(hash_reader).ok().is_some_and(|hash| hash == item.blake3)
            {
                match fs::remove_file(&original) {
                    Ok(()) => {
                        self.done.deleted += 1;
                        remove_empty(root, path.parent().unwrap_or(Path::new("")));
                    }
                    Err(error) => self.done.list_unpacked(&path, format!("can not be removed ({error})")),
                }
            }
        }
        Ok(())
    }
}

/// Why an entry is not packed.
const fn unpacked_reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Symlink | Refusal::SymlinkLoop | Refusal::SymlinkDangling => "is a symbolic link",
        Refusal::Database => "is a database",
        Refusal::Unreadable | Refusal::UnreadableDirectory => "can not be read",
        _ => "is no file",
    }
}

/// Removes a folder and those above it as far as they are empty; never the root.
fn remove_empty(root: &Path, folder: &Path) {
    let mut folder = folder;
    while !folder.as_os_str().is_empty() && fs::remove_dir(root.join(folder)).is_ok() {
        folder = folder.parent().unwrap_or(Path::new(""));
    }
}

/// Reads the lines of a report, each with the place of its path in the order of the walk.
fn lines_of(report: BufReader<File>) -> impl Iterator<Item = Result<(Vec<u8>, Line)>> {
    report.lines().map(|line| {
        let line: Line = serde_json::from_str(&line.context("cannot read the report")?)
            .context("a line of the report is damaged")?;
        let path = line.path.path().context("a line of the report is damaged")?;
        Ok((walk_order(&path), line))
    })
}

/// Calls `each` with every packed file, pack by pack.
///
/// # Errors
///
/// If an index can not be read, or `each` fails; after all others were called, if a pack has no index or an index no
/// pack; if there are no packs.
pub fn list(out: &Path, each: &mut dyn FnMut(&Item) -> Result<()>) -> Result<()> {
    let folder = PackFolder::with_packs(out)?;
    for pack in &folder.packs {
        for item in index::read(out, pack)? {
            each(&item?)?;
        }
    }
    folder.require_whole()
}

/// Writes the content of one file as it was packed last; says whether there is any.
///
/// # Errors
///
/// If a pack can not be read or does not hold what its index says; after writing, if there is a pack without an index,
/// as that might hold what was packed last; if there are no packs.
pub fn cat(out: &Path, path: &Path, to: &mut dyn Write) -> Result<bool> {
    let mut found: Option<(Vec<u8>, String, usize, Item)> = None;
    let wanted = PathText::of(path);
    let folder = PackFolder::with_packs(out)?;
    for (number, pack) in (0..).zip(&folder.packs) {
        for (nth, item) in (0..).zip(index::read(out, pack)?) {
            let item = item?;
            if item.line.path == wanted && item.kind == Kind::File {
                let pack_order = pack_order(&item, number, nth as u64);
                found = found.filter(|(known, ..)| *known > pack_order).or(Some((pack_order, pack.clone(), nth, item)));
            }
        }
    }
    let Some((_, pack, nth, item)) = found else {
        folder.require_whole()?;
        return Ok(false);
    };
    if let Some(message) = folder.without_pack.get(&pack) {
        bail!("{message}; {} is in it", path.display());
    }
    to.write_all(&pack::content(out, &pack, nth, &item)?)?;
    if let Some(message) = folder.without_index.values().next() {
        to.flush()?;
        bail!("{message}; it might hold what was packed last of {}", path.display());
    }
    Ok(true)
}

/// Writes all packed files, or those under `prefix`, into a folder, each as it was packed last. A file that is there
/// already is an error, never replaced. No link is made, so that none can be written through.
///
/// # Errors
///
/// If a pack is damaged, names a path outside of the folder, or a file can not be written; if there are no packs.
pub fn extract(out: &Path, prefix: &Path, to: &Path) -> Result<Extracted> {
    let folder = PackFolder::with_packs(out)?;
    make_private_folder(to).with_context(|| format!("cannot create {}", to.display()))?;
    let to = fs::canonicalize(to)?;
    let mut versions = OlderVersions::find(out, &folder.packs, prefix)?;
    let (mut files, mut older) = (0, 0);
    for (number, pack) in (0..).zip(&folder.packs) {
        if folder.without_pack.contains_key(pack) {
            continue;
        }
        files += pack::extract(out, pack, &to, &mut |nth, item, path| {
            if !path.starts_with(prefix) {
                return Ok(false);
            }
            let is_older = versions.contains(number, nth)?;
            older += u64::from(is_older);
            Ok(item.kind == Kind::File && !is_older)
        })?;
    }
    Ok(Extracted { files, older, incomplete: folder.incomplete() })
}

/// Reads every pack back and compares it with its index.
///
/// # Errors
///
/// If a folder can not be read or holds no packs. A damaged pack is an answer, and so is a pack without an index or an
/// index without its pack: it is in the result.
pub fn check(out: &Path) -> Result<BTreeMap<String, Check>> {
    let PackFolder { packs, without_index, mut without_pack } = PackFolder::with_packs(out)?;
    let of_incomplete = |message: String| Check { whole: 0, damage: vec![message] };
    let mut checks: BTreeMap<String, Check> =
        without_index.into_iter().map(|(pack, message)| (pack, of_incomplete(message))).collect();
    for pack in packs {
        let check = without_pack.remove(&pack).map_or_else(|| pack::check(out, &pack), of_incomplete);
        checks.insert(pack, check);
    }
    Ok(checks)
}
