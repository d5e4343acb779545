//! One pack: a tar of many files, compressed with zstd.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use super::super::report::Line;
use super::super::walk::Stat;
use super::index::{self, INDEX, Item, Kind, PACK, PARTIAL};
use crate::store::{make_private_file, make_private_folder};

/// The ratio gains little beyond this level, the time does.
const LEVEL: i32 = 9;
/// Most files in a pack, so that one lost pack is not everything.
const PACK_FILES_MAX: u64 = 500_000;
/// Most bytes in a pack, before it is compressed.
const PACK_BYTES_MAX: u64 = 1 << 30;

/// A pack that is being written.
pub(super) struct Writer {
    out: PathBuf,
    name: String,
    tar: tar::Builder<zstd::Encoder<'static, File>>,
    lines: zstd::Encoder<'static, BufWriter<File>>,
    files: u64,
    /// Of all files, before compression.
    bytes: u64,
}

impl Writer {
    pub(super) fn create(out: &Path, name: &str) -> Result<Self> {
        let create = |end: &str| {
            let path = out.join(format!("{name}{end}{PARTIAL}"));
            make_private_file(&path).with_context(|| format!("cannot create {}", path.display()))
        };
        let tar = tar::Builder::new(zstd::Encoder::new(create(PACK)?, LEVEL)?);
        let lines = zstd::Encoder::new(BufWriter::new(create(INDEX)?), LEVEL)?;
        Ok(Self { out: out.to_owned(), name: name.to_owned(), tar, lines, files: 0, bytes: 0 })
    }

    /// Whether the pack is to have no more files.
    pub(super) fn is_full(&self) -> bool {
        self.files >= PACK_FILES_MAX || self.bytes >= PACK_BYTES_MAX
    }

    /// Packs an open file; `line` is that of the report. Returns whether the packed file counts.
    pub(super) fn add(&mut self, file: &File, path: &Path, run: u64, line: Line) -> Result<Kind> {
        let before = Stat::of(&file.metadata()?);
        // The header promises a size: a file that has become longer is cut, one that has become shorter gets zeros.
        let mut content = file.take(before.bytes);
        let padded = content.by_ref().chain(io::repeat(0)).take(before.bytes);
        let mut source = HashingReader::new(padded);
        self.tar.append_data(&mut header(&before), path, &mut source)?;
        let blake3 = source.hash();
        let is_short = content.limit() > 0;
        let after = Stat::of(&file.metadata()?);
        let is_changed = is_short || (after.bytes, after.modified_ns) != (before.bytes, before.modified_ns);
        let item = Item {
            line: Line { bytes: before.bytes, ..line },
            kind: if is_changed { Kind::Changed } else { Kind::File },
            modified_ns: before.modified_ns,
            mode: before.mode,
            blake3,
            run,
            pack: self.name.clone(),
        };
        self.files += 1;
        self.bytes += before.bytes;
        serde_json::to_writer(&mut self.lines, &item)?;
        self.lines.write_all(b"\n")?;
        Ok(item.kind)
    }

    /// Closes the pack, reads it back, and makes it count.
    pub(super) fn commit(self) -> Result<()> {
        let Self { out, name, tar, lines, .. } = self;
        tar.into_inner()?.finish()?.sync_all().context("cannot sync a pack")?;
        let lines = lines.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        lines.sync_all().context("cannot sync an index")?;
        let part = |end: &str| out.join(format!("{name}{end}{PARTIAL}"));
        compare(&part(PACK), &part(INDEX)).require_whole(&name)?;
        // The pack first: an index without its pack would count, and be wrong.
        for end in [PACK, INDEX] {
            fs::rename(part(end), out.join(format!("{name}{end}"))).with_context(|| format!("cannot rename {name}"))?;
            File::open(&out)?.sync_all().with_context(|| format!("cannot sync {}", out.display()))?;
        }
        Ok(())
    }
}

fn header(stat: &Stat) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(stat.mode);
    header.set_size(stat.bytes);
    let seconds = stat.modified_ns.div_euclid(1_000_000_000);
    match u64::try_from(seconds) {
        Ok(seconds) => header.set_mtime(seconds),
        // GNU tar writes what octal digits can not hold as a signed number in all twelve bytes.
        Err(_) => {
            header.as_old_mut().mtime = {
                let mut field = [0xff; 12];
                let (_, low) = field.split_at_mut(4);
                low.copy_from_slice(&seconds.to_be_bytes());
                field
            }
        }
    }
    header
}

/// A reader that hashes the bytes that pass through it.
struct HashingReader<R> {
    reader: R,
    hasher: blake3::Hasher,
}

impl<R: Read> HashingReader<R> {
    fn new(reader: R) -> Self {
        Self { reader, hasher: blake3::Hasher::new() }
    }

    /// The hash of what was read so far.
    fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Hashes everything that a reader returns.
pub(super) fn hash_reader(reader: impl Read) -> io::Result<String> {
    let mut reader = HashingReader::new(reader);
    io::copy(&mut reader, &mut io::sink())?;
    Ok(reader.hash())
}

/// How a pack compares with its index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Files that are what the index says.
    pub whole: u64,
    /// The first hundred faults, file by file.
    pub damage: Vec<String>,
}

impl Check {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }

    pub(super) fn require_whole(&self, pack: &str) -> Result<()> {
        match self.damage.first() {
            None => Ok(()),
            Some(first) => bail!("{pack} does not read back as it was written: {first}"),
        }
    }

    fn add(&mut self, damage: String) {
        /// Enough to see the extent.
        const SHOWN_MAX: usize = 100;
        if self.damage.len() < SHOWN_MAX {
            self.damage.push(damage);
        }
    }
}

/// Reads a pack back.
pub(super) fn check(out: &Path, pack: &str) -> Check {
    compare(&out.join(format!("{pack}{PACK}")), &out.join(format!("{pack}{INDEX}")))
}

fn compare(pack: &Path, index: &Path) -> Check {
    let mut check = Check::default();
    let result = each_entry(pack, index, |_, item, path, entry| {
        let found = hash_reader(entry)?;
        if item.kind == Kind::File && item.blake3 != found {
            check.add(format!("{}: its hash is not the one in the index", path.display()));
        } else {
            check.whole += 1;
        }
        Ok(())
    });
    if let Err(error) = result {
        check.add(format!("{error:#}"));
    }
    check
}

fn open(pack: &Path) -> Result<tar::Archive<zstd::Decoder<'static, io::BufReader<File>>>> {
    let file = File::open(pack).with_context(|| format!("cannot open {}", pack.display()))?;
    Ok(tar::Archive::new(zstd::Decoder::new(file)?))
}

type PackEntry<'p> = tar::Entry<'p, zstd::Decoder<'static, io::BufReader<File>>>;

/// Calls `each` with every packed file, its line and the number of that.
fn each_entry(
    pack: &Path,
    index: &Path,
    mut each: impl FnMut(u64, &Item, &Path, &mut PackEntry<'_>) -> Result<()>,
) -> Result<()> {
    let mut tar = open(pack)?;
    let mut entries = tar.entries()?;
    for (nth, item) in (0..).zip(index::read_file(index)?) {
        let item = item?;
        let path = item.path()?;
        let mut entry = entries.next().with_context(|| format!("{} is missing", path.display()))??;
        if entry.path_bytes() != path.as_os_str().as_bytes() {
            bail!("{} stands in the place of {}", String::from_utf8_lossy(&entry.path_bytes()), path.display());
        }
        each(nth, &item, &path, &mut entry)?;
    }
    if entries.next().is_some() {
        bail!("there are files that the index does not name");
    }
    Ok(())
}

/// Reads one file, that of line `nth` of the index.
pub(super) fn content(out: &Path, pack: &str, nth: usize, item: &Item) -> Result<Vec<u8>> {
    let mut tar = open(&out.join(format!("{pack}{PACK}")))?;
    let mut entry = tar.entries()?.nth(nth).with_context(|| format!("{pack} ends too early"))??;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    if item.blake3 != *blake3::hash(&bytes).to_hex() {
        bail!("{pack} does not hold what its index says of {}", item.path()?.display());
    }
    Ok(bytes)
}

/// Writes those files of a pack into a folder that `is_wanted` says yes to, by line; returns how many.
pub(super) fn extract(
    out: &Path,
    pack: &str,
    to: &Path,
    is_wanted: &mut dyn FnMut(u64, &Item, &Path) -> Result<bool>,
) -> Result<u64> {
    let mut files = 0;
    let (pack_path, index_path) = (out.join(format!("{pack}{PACK}")), out.join(format!("{pack}{INDEX}")));
    each_entry(&pack_path, &index_path, |nth, item, path, entry| {
        if !is_wanted(nth, item, path)? {
            return Ok(());
        }
        if !index::is_safe(path) {
            bail!("{pack} names a path outside of the folder: {}", path.display());
        }
        make_folders(to, path.parent().unwrap_or(Path::new("")))?;
        let target = to.join(path);
        write_back(entry, item, &target).with_context(|| format!("cannot extract {}", target.display()))?;
        files += 1;
        Ok(())
    })?;
    Ok(files)
}

/// Writes one file with its time and its owner's permissions. Nobody else gets any: missions hold balances.
fn write_back(entry: &mut PackEntry<'_>, item: &Item, target: &Path) -> Result<()> {
    let file = make_private_file(target);
    if file.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
        bail!("it is there already, and nothing is replaced; take it away, or extract into another folder");
    }
    let mut file = file?;
    io::copy(entry, &mut file)?;
    if item.blake3 != hash_reader(File::open(target)?)? {
        fs::remove_file(target)?;
        bail!("the pack does not hold what its index says of it");
    }
    file.set_permissions(Permissions::from_mode(item.mode & 0o700))?;
    Ok(file.set_modified(time_of(item.modified_ns))?)
}

/// A moment, in nanoseconds since 1970, or before it.
fn time_of(modified_ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(modified_ns.unsigned_abs());
    if modified_ns < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

/// Makes the folders of a path one by one, through no link.
fn make_folders(to: &Path, folder: &Path) -> Result<()> {
    let mut at = to.to_owned();
    for part in folder.components() {
        at.push(part);
        match fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => bail!("{} is no folder", at.display()),
            Err(_) => make_private_folder(&at).with_context(|| format!("cannot create {}", at.display()))?,
        }
    }
    Ok(())
}
