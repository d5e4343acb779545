//! Packing old files away, so that nothing is lost and nothing is left.
//!
//! A pack is a `tar.zst` of one day's files, beside it lies its index: one line a file, with size, time, hash and what
//! became of it. A pack is written under a temporary name, synced, read back and compared with the files' hashes, and only
//! then renamed; its index comes last and makes it count. So a run that is killed at any moment leaves a pack that
//! counts or one that does not, and the next run goes on. Originals are removed only on request, only once every pack was
//! read back, and only while their hash is still the packed one. Links stay where they are: what one names may lie elsewhere,
//! or nowhere once it is packed, and to make it anew would be to write where somebody else says. Databases stay too: the one
//! that the files went into may lie among them.

mod index;
mod pack;
mod versions;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{BufRead, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use index::Folder;
pub use index::{Item, Kind};
pub use pack::Check;
pub(super) use pack::LEVEL;

use super::reason::Refusal;
use super::report::{Line, PathText, day_of};
use super::sorter::Sorter;
use super::walk::{Stat, Walk, is_database, require_outside};
use versions::{Older, RANK_BYTES, rank};

/// Memory for the list of what is packed and what is to be packed, each.
const LIST_BYTES_MAX: usize = 16 << 20;
/// Most files that stay and are named; all are counted.
const NAMED_MAX: usize = 20;

/// How files are packed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether originals are removed once they are packed and compared.
    pub delete: bool,
    /// When the report was written, in nanoseconds since 1970, if not just now. A file that is not in it, has another size there or
    /// changed since then is not what it speaks of, and stays.
    pub reported_ns: Option<i64>,
    /// Where lists too large for memory go.
    pub temporary: PathBuf,
    /// Most files in a pack, so that one lost pack is not everything.
    pub pack_files_max: u64,
    /// Most bytes in a pack, before it is compressed.
    pub pack_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            delete: false,
            reported_ns: None,
            temporary: std::env::temp_dir(),
            pack_files_max: 500_000,
            pack_bytes_max: 1 << 30,
        }
    }
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries of the tree that are no folders.
    pub seen: u64,
    /// Of these, packed by an earlier run and unchanged since.
    pub packed_before: u64,
    /// Packed by this run.
    pub packed: u64,
    /// Symbolic links: they are not packed and stay.
    pub links: u64,
    /// Databases: they are not packed and stay.
    pub databases: u64,
    /// Sockets and the like, and what can not be read: named in an index, nothing to pack until that can be read.
    pub listed_only: u64,
    /// Changed while they were packed, or since the report: they stay. The next run packs them, with a report that knows them.
    pub changed: u64,
    /// Packs that this run made.
    pub packs: u64,
    /// Originals removed.
    pub deleted: u64,
    /// Where originals were to be removed: those that stay, since they are not what was packed, or are no files.
    pub kept: u64,
    /// The first of the databases and of the files changed since the report, each in a sentence.
    pub named: Vec<String>,
}

impl Summary {
    /// Whether something stays that was not packed, or was to be removed.
    #[must_use]
    pub const fn is_any_left(&self) -> bool {
        self.links + self.databases + self.listed_only + self.changed + self.kept > 0
    }

    fn name(&mut self, path: &Path, why: &str) {
        if self.named.len() < NAMED_MAX {
            self.named.push(format!("{} {why}: it stays", path.display()));
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
    /// Links in packs from before links stayed where they are: left out too.
    pub links: u64,
    /// A pack without an index, or an index without its pack, if there is one: what that holds is left out, and this
    /// sentence says so.
    pub half: Option<String>,
}

/// What the packs hold of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The file's content, which is written.
    File,
    /// A link to this.
    Link(PathBuf),
    /// Its name: there was nothing to pack, or it changed meanwhile; it stayed where it was.
    Name,
    /// Nothing.
    Nothing,
}

/// Packs a tree into a folder.
///
/// `report` is the report of a plan or an import of the same tree: what each file became goes into the index. `progress` is
/// called after each file with the number of files done.
///
/// # Errors
///
/// If a pack can not be written, or does not read back as what was packed; nothing is removed then. If `out` lies in the tree, or
/// another run writes to it.
pub fn archive(
    root: &Path,
    out: &Path,
    report: Option<&mut dyn BufRead>,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Summary> {
    require_outside(root, out)?;
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let out = fs::canonicalize(out)?;
    let lock = File::open(&out).with_context(|| format!("cannot open {}", out.display()))?;
    // A file system without locks leaves it to the operator.
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        bail!("another run packs into {}: wait until it is done", out.display());
    }
    let walk = Walk::new(root, &options.temporary)?;
    let root = walk.root().to_owned();
    index::remove_leftovers(&out)?;
    Folder::of(&out)?.require_whole()?;
    let mut summary = Summary::default();
    let todo = list(walk, &out, report, options, &mut summary)?;
    pack_all(todo, &root, &out, options, &mut summary, progress)?;
    if options.delete {
        for pack in index::packs(&out)? {
            pack::check(&out, &pack).require_whole(&pack)?;
        }
        for pack in index::packs(&out)? {
            delete_originals(&root, &out, &pack, options, &mut summary)?;
        }
        // Counted by what is there: a file may be in two packs, and others may have come meanwhile.
        for entry in Walk::new(&root, &options.temporary)? {
            entry?;
            summary.kept += 1;
        }
    }
    Ok(summary)
}

/// Sorts what is not packed yet by day and path.
fn list(
    walk: Walk,
    out: &Path,
    report: Option<&mut dyn BufRead>,
    options: &Options,
    summary: &mut Summary,
) -> Result<Sorter> {
    let mut packed = Sorter::new(options.temporary.clone(), LIST_BYTES_MAX);
    let mut run = 1;
    for (pack, name) in (0..).zip(index::packs(out)?) {
        for (nth, item) in (0..).zip(index::read(out, &name)?) {
            let item = item?;
            run = run.max(item.run.saturating_add(1));
            if matches!(item.kind, Kind::File | Kind::Other) {
                packed.push(&order_of(&item.path()?), &[rank(&item, pack, nth), item.version()].concat())?;
            }
        }
    }
    let mut packed = packed.finish()?;
    let mut lines = report.map(Lines::new);
    let mut todo = Sorter::new(options.temporary.clone(), LIST_BYTES_MAX);
    let root = walk.root().to_owned();
    for entry in walk {
        let entry = entry?;
        summary.seen += 1;
        let order = order_of(&entry.path);
        let original = root.join(&entry.path);
        let metadata = fs::symlink_metadata(&original).ok();
        let stat = metadata.as_ref().map(Stat::of).unwrap_or_default();
        let mut last = None;
        while packed.peek().is_some_and(|(key, _)| *key <= *order) {
            let Some(pair) = packed.next() else { break };
            let (key, version) = pair?;
            // The last one counts: a file that is an older version again is packed again, so as to come back like this.
            last = (*key == *order).then_some(version);
        }
        let is_last = |kind| {
            let version = last.as_ref().and_then(|version| version.get(RANK_BYTES..));
            version == Some(&*index::version(kind, stat.bytes, stat.modified_ns))
        };
        let line = lines.as_mut().map_or(Ok(None), |lines| lines.of(&order))?;
        let kind = index::kind_of(entry.refusal);
        if kind == Kind::Link {
            summary.links += 1;
            continue;
        }
        if entry.refusal == Some(Refusal::Database)
            || metadata.as_ref().is_some_and(|found| is_database(&original, found))
        {
            summary.databases += 1;
            summary.name(&entry.path, "is a database");
            continue;
        }
        // Once in an index is enough for what still can not be packed.
        if is_last(Kind::Other) && (kind == Kind::Other || File::open(&original).is_err()) {
            summary.listed_only += 1;
            continue;
        }
        if kind == Kind::File && options.is_changed(&stat, line.as_ref()) {
            summary.changed += 1;
            summary.name(&entry.path, "is not what the report speaks of");
            continue;
        }
        if is_last(Kind::File) {
            summary.packed_before += 1;
            continue;
        }
        let day = line.as_ref().and_then(|line| line.day.clone()).unwrap_or_else(|| day_of(stat.modified()));
        let item = Item { run, ..Item::new(&entry.path, kind, &stat, entry.refusal, line.as_ref()) };
        let mut key = day.into_bytes();
        key.push(0);
        key.extend_from_slice(&order);
        todo.push(&key, &serde_json::to_vec(&item)?)?;
    }
    Ok(todo)
}

impl Options {
    fn is_changed(&self, stat: &Stat, line: Option<&Line>) -> bool {
        self.reported_ns.is_some() && (self.is_changed_since(stat) || line.is_none_or(|line| line.bytes != stat.bytes))
    }

    fn is_changed_since(&self, stat: &Stat) -> bool {
        self.reported_ns.is_some_and(|reported_ns| stat.modified_ns > reported_ns)
    }
}

/// The bytes by which paths stand in the order of the walk: folder by folder.
fn order_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
}

/// The lines of a report, taken in the order of the walk.
struct Lines<'r> {
    report: &'r mut dyn BufRead,
    next: Option<(Vec<u8>, Line)>,
}

impl<'r> Lines<'r> {
    fn new(report: &'r mut dyn BufRead) -> Self {
        Self { report, next: None }
    }

    /// Returns the line of a path; those of files that are gone are passed over.
    fn of(&mut self, order: &[u8]) -> Result<Option<Line>> {
        loop {
            match &self.next {
                Some((key, _)) if key.as_slice() > order => return Ok(None),
                Some((key, _)) if key.as_slice() == order => return Ok(self.next.take().map(|(_, line)| line)),
                _ => {}
            }
            let mut text = String::new();
            if self.report.read_line(&mut text).context("cannot read the report")? == 0 {
                self.next = None;
                return Ok(None);
            }
            let line: Line = serde_json::from_str(&text).context("a line of the report is damaged")?;
            let path = line.path.path().context("a line of the report is damaged")?;
            self.next = Some((order_of(&path), line));
        }
    }
}

fn pack_all(
    todo: Sorter,
    root: &Path,
    out: &Path,
    options: &Options,
    summary: &mut Summary,
    progress: &mut dyn FnMut(u64),
) -> Result<()> {
    let mut open: Option<(String, pack::Writer)> = None;
    for pair in todo.finish()? {
        let (key, item) = pair?;
        let day = key.split(|byte| *byte == 0).next().unwrap_or_default();
        let day = std::str::from_utf8(day).context("a sorted run is damaged")?;
        let item: Item = serde_json::from_slice(&item).context("a sorted run is damaged")?;
        let is_full = |(known, writer): &(String, pack::Writer)| {
            known != day || writer.files() >= options.pack_files_max || writer.bytes() >= options.pack_bytes_max
        };
        if let Some((_, writer)) = open.take_if(|open| is_full(open)) {
            writer.commit()?;
            summary.packs += 1;
        }
        let (_, writer) = match &mut open {
            Some(open) => open,
            None => open.insert((day.to_owned(), pack::Writer::create(out, &index::next_name(out, day)?)?)),
        };
        match writer.add(root, item)? {
            Kind::File => summary.packed += 1,
            Kind::Link | Kind::Other => summary.listed_only += 1,
            Kind::Changed => summary.changed += 1,
        }
        progress(summary.packed + summary.listed_only + summary.changed);
    }
    if let Some((_, writer)) = open {
        writer.commit()?;
        summary.packs += 1;
    }
    Ok(())
}

/// Removes the originals of a pack, and the folders that are empty then.
fn delete_originals(root: &Path, out: &Path, pack: &str, options: &Options, summary: &mut Summary) -> Result<()> {
    let mut last_folder = PathBuf::new();
    for item in index::read(out, pack)? {
        let item = item?;
        let path = item.path()?;
        if !index::is_safe(&path) {
            bail!("the index of {pack} names a path outside of the tree: {}", path.display());
        }
        let original = root.join(&path);
        let Ok(metadata) = fs::symlink_metadata(&original) else { continue };
        // A pack of an earlier version may hold a database.
        let may_go = item.kind == Kind::File
            && metadata.is_file()
            && !options.is_changed_since(&Stat::of(&metadata))
            && !is_database(&original, &metadata);
        if may_go && File::open(&original).and_then(hash_reader).ok().is_some_and(|hash| Some(hash) == item.blake3) {
            fs::remove_file(&original).with_context(|| format!("cannot remove {}", original.display()))?;
            summary.deleted += 1;
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        if folder != last_folder {
            remove_empty(root, &last_folder);
            last_folder = folder;
        }
    }
    remove_empty(root, &last_folder);
    Ok(())
}

/// Removes a folder and those above it as far as they are empty; never the root.
fn remove_empty(root: &Path, folder: &Path) {
    let mut folder = folder;
    while !folder.as_os_str().is_empty() && fs::remove_dir(root.join(folder)).is_ok() {
        folder = folder.parent().unwrap_or(Path::new(""));
    }
}

/// Calls `each` with every packed file, pack by pack.
///
/// # Errors
///
/// If an index can not be read, or `each` fails; after all others were called, if a pack has no index or an index no pack; if
/// there are no packs.
pub fn for_each(out: &Path, each: &mut dyn FnMut(&Item) -> Result<()>) -> Result<()> {
    let folder = Folder::of_packs(out)?;
    for pack in &folder.packs {
        for item in index::read(out, pack)? {
            each(&item?)?;
        }
    }
    folder.require_whole()
}

/// Writes the content of one file as it was packed last; says what there is if there is none.
///
/// # Errors
///
/// If a pack can not be read or does not hold what its index says; after writing, if there is a pack without an index, as
/// that might hold what was packed last; if there are no packs.
pub fn cat(out: &Path, path: &Path, to: &mut dyn Write) -> Result<Held> {
    let mut is_named = false;
    let mut found: Option<(Vec<u8>, String, Item)> = None;
    let wanted = PathText::of(path);
    let folder = Folder::of_packs(out)?;
    for (number, pack) in (0..).zip(&folder.packs) {
        for (nth, item) in (0..).zip(index::read(out, pack)?) {
            let item = item?;
            if item.path != wanted {
                continue;
            }
            is_named = true;
            if matches!(item.kind, Kind::File | Kind::Link) {
                // A link counts as older than any file, as links do not come back.
                let rank = [vec![u8::from(item.kind == Kind::File)], rank(&item, number, nth)].concat();
                found = found.filter(|(known, ..)| *known > rank).or(Some((rank, pack.clone(), item)));
            }
        }
    }
    let Some((_, pack, item)) = found else {
        folder.require_whole()?;
        return Ok(if is_named { Held::Name } else { Held::Nothing });
    };
    if let Some(told) = folder.missing.get(&pack) {
        bail!("{told}; {} is in it", path.display());
    }
    let content = pack::content(out, &pack, &item)?;
    if item.kind == Kind::Link {
        return Ok(Held::Link(PathBuf::from(OsString::from_vec(content))));
    }
    to.write_all(&content)?;
    if let Some(told) = folder.alone.values().next() {
        to.flush()?;
        bail!("{told}; it might hold what was packed last of {}", path.display());
    }
    Ok(Held::File)
}

/// Writes all packed files, or those under `prefix`, into a folder, each as it was packed last. A file that is there
/// already is an error, never replaced. No link is made, so that none can be written through.
///
/// # Errors
///
/// If a pack is damaged, names a path outside of the folder, or a file can not be written; if there are no packs.
pub fn extract(out: &Path, prefix: &Path, to: &Path) -> Result<Extracted> {
    let folder = Folder::of_packs(out)?;
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let to = fs::canonicalize(to)?;
    let mut versions = Older::find(out, &folder.packs, prefix)?;
    let (mut files, mut older, mut links) = (0, 0, 0);
    for (number, pack) in (0..).zip(&folder.packs) {
        if folder.missing.contains_key(pack) {
            continue;
        }
        files += pack::extract(out, pack, &to, &mut |nth, item, path| {
            if !path.starts_with(prefix) {
                return Ok(false);
            }
            let is_older = versions.has(number, nth)?;
            older += u64::from(is_older);
            links += u64::from(item.kind == Kind::Link);
            Ok(item.kind == Kind::File && !is_older)
        })?;
    }
    Ok(Extracted { files, older, links, half: folder.halves() })
}

/// Reads every pack back and compares it with its index.
///
/// # Errors
///
/// If a folder can not be read or holds no packs. A damaged pack is an answer, and so is a pack without an index or an index
/// without its pack: it is in the result.
pub fn check(out: &Path) -> Result<BTreeMap<String, Check>> {
    let Folder { packs, alone, mut missing } = Folder::of_packs(out)?;
    let of_half = |told: String| Check { whole: 0, damage: vec![told] };
    let mut checks: BTreeMap<String, Check> = alone.into_iter().map(|(pack, told)| (pack, of_half(told))).collect();
    for pack in packs {
        let check = missing.remove(&pack).map_or_else(|| pack::check(out, &pack), of_half);
        checks.insert(pack, check);
    }
    Ok(checks)
}

/// Hashes whatever a reader gives.
fn hash_reader(mut reader: impl Read) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut reader, &mut hasher)?;
    Ok(hasher.finalize().to_hex().to_string())
}
