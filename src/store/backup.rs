//! Copies of the whole file, tokens too: made from one committed state, verified, and only then given their name.
//!
//! A backup is a new file with the same rows and no free pages, and it is made while others read and write. It is written
//! beside its target under another name, closed, verified as if it came from a stranger, synced and renamed: under the
//! target's name there is never anything but a whole backup, whenever the power goes.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use redb::{Key, ReadTransaction, ReadableTable, TableDefinition, TableHandle, Value, WriteTransaction};

use super::check::{ContentDigest, Contents, verify};
use super::database::Store;
use super::disk::FileDisk;
use super::engine::Engine;
use super::error::StoreError;
use super::file::{beside, folder_of, in_use, lock, lock_database, make_file, make_private_folder, sync_folder};
use super::schema;
use super::snapshot::Snapshot;
use super::tables;

/// Keeps a file that is about to be replaced from being somebody's database: a process that has it open would go on
/// writing to a file without a name, and all that it acknowledges from then on would be lost.
#[derive(Debug)]
pub struct Replacing(#[expect(dead_code, reason = "it is a lock")] Option<FileDisk>);

impl Replacing {
    /// Takes hold of the file at `path`, if there is one, so that nobody opens it as a database until this is dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] if a process has it open, this one too; [`StoreError::Create`] if it is not a file, or may not be
    /// written to.
    pub fn of(path: &Path) -> Result<Self, StoreError> {
        match lock(path) {
            Ok(Some(old)) => Ok(Self(Some(old))),
            Ok(None) => Err(in_use(path)()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(None)),
            Err(error) => Err(cannot(path)(error)),
        }
    }
}

/// Writes everything that a snapshot shows to a new file, which replaces any other at `target`.
///
/// # Errors
///
/// Those of [`Replacing::of`], and any other [`StoreError`]; `target` is as it was then, and nothing else is left.
pub fn back_up(snapshot: &Snapshot, target: &Path) -> Result<Contents, StoreError> {
    let _old = Replacing::of(target)?;
    let folder = folder_of(target);
    if !folder.exists() {
        make_private_folder(folder).map_err(cannot(folder))?;
    }
    let part = beside(target, ".part");
    let written = write_verified(snapshot, &part)
        .and_then(|contents| fs::rename(&part, target).map(|()| contents).map_err(cannot(target)));
    if written.is_err() {
        // If it can not be removed either, the next backup writes over it.
        let _ = fs::remove_file(&part);
    }
    let contents = written?;
    sync_folder(folder).map_err(cannot(folder))?;
    Ok(contents)
}

/// Puts a backup in the place of the database at `path`, whose old file is kept beside it as `.before-restore`.
///
/// `from` is verified, and so is what is written. Whenever it ends early, there is a whole database at `path`: the old one or the
/// new one.
///
/// # Errors
///
/// [`StoreError::InUse`] while a process has the database open; otherwise what is wrong with `from`, or what could
/// not be written.
pub fn restore(from: &Path, path: &Path) -> Result<Contents, StoreError> {
    // Held until the end, so that no server starts in between.
    let old = match lock(path) {
        Ok(Some(old)) => Some(old),
        Ok(None) => return Err(in_use(path)()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(cannot(path)(error)),
    };
    verify(from)?;
    let folder = folder_of(path);
    if !folder.exists() {
        make_private_folder(folder).map_err(cannot(folder))?;
    }
    let part = beside(path, ".part");
    let contents = write_verified(&Store::open_to_read(from)?.snapshot()?, &part).inspect_err(|_| {
        // If it can not be removed either, the next restore writes over it.
        let _ = fs::remove_file(&part);
    })?;
    if old.is_some() {
        let kept = beside(path, ".before-restore");
        match fs::remove_file(&kept) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(&kept)(error)),
            _ => {}
        }
        // A second name first and the new file over the old name then: there is a database at every moment.
        fs::hard_link(path, &kept).map_err(cannot(&kept))?;
    }
    fs::rename(&part, path).and_then(|()| sync_folder(folder)).map_err(cannot(path))?;
    Ok(contents)
}

/// Makes the database at `path` as small as it can be: writes all of it to a new file, in order and without gaps, and puts that in
/// its place. Takes as much free space as that file has meanwhile.
///
/// The old file is not written to, so that a copy that somebody is making of it comes out whole; and whenever it ends early,
/// there is a whole database at `path`.
///
/// # Errors
///
/// [`StoreError::Absent`], [`StoreError::InUse`] while a process has the database open; otherwise what is wrong with it, or what
/// could not be written.
pub fn compact(path: &Path) -> Result<Contents, StoreError> {
    // Locked until the end, so that no server writes to it in between.
    let disk = lock_database(path)?;
    let engine = Arc::new(Engine::open_to_read(Arc::new(disk))?);
    let part = beside(path, ".part");
    let contents = write_verified(&Snapshot::of(engine)?, &part)
        .and_then(|contents| fs::rename(&part, path).map(|()| contents).map_err(cannot(path)))
        .inspect_err(|_| {
            // If it can not be removed either, the next one writes over it.
            let _ = fs::remove_file(&part);
        })?;
    sync_folder(folder_of(path)).map_err(cannot(path))?;
    Ok(contents)
}

/// Gives a whole file a second name, which replaces any other file of that name.
///
/// # Errors
///
/// Those of the file system; there is the old file under the name then, or none.
pub fn link(file: &Path, name: &Path) -> io::Result<()> {
    let part = beside(name, ".part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Where the file system has no links, a copy; it is synced before it gets its name.
    if fs::hard_link(file, &part).is_err() {
        fs::copy(file, &part)?;
        fs::File::open(&part)?.sync_all()?;
    }
    fs::rename(&part, name)?;
    sync_folder(folder_of(name))
}

fn cannot(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    |source| StoreError::Create { path, source }
}

/// Writes a synced file and makes sure that it reads back as what was to be written.
fn write_verified(snapshot: &Snapshot, path: &Path) -> Result<Contents, StoreError> {
    make_file(path).map_err(cannot(path))?;
    let written = write(snapshot, path)?;
    let contents = verify(path)?;
    if contents.sha256 != written {
        return Err(StoreError::Damaged(format!("{} does not read as it was written", path.display())));
    }
    Ok(contents)
}

fn write(snapshot: &Snapshot, path: &Path) -> Result<String, StoreError> {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).map_err(cannot(path))?;
    let mut database = redb::Database::builder().create_with_backend(redb::backends::FileBackend::new(file)?)?;
    let mut digest = ContentDigest::default();
    schema::create(&database)?;
    let tx = database.begin_write()?;
    tables::for_each(&mut Copying { from: snapshot.tx(), to: &tx, digest: &mut digest })?;
    tx.commit()?;
    // The file grew in large steps while it was written. This takes up to a third off its length, in 8 ms for a year of signals and
    // some 2 s for a million users.
    database.compact()?;
    // Closing writes what makes the next opening fast.
    database.close()?;
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(cannot(path))?;
    Ok(digest.finish())
}

struct Copying<'a> {
    from: &'a ReadTransaction,
    to: &'a WriteTransaction,
    digest: &'a mut ContentDigest,
}

impl tables::ForEachTable for Copying<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), StoreError> {
        self.digest.table(table.name());
        let mut to = self.to.open_table(table)?;
        for row in self.from.open_table(table)?.iter()? {
            let (key, value) = row?;
            let (key, value) = (key.value(), value.value());
            self.digest.row(K::as_bytes(&key).as_ref(), V::as_bytes(&value).as_ref());
            to.insert(&key, &value)?;
        }
        Ok(())
    }
}
