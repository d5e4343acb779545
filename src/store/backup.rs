//! Copies of the whole file, tokens too: made from one committed state, verified, and only then given their name.
//!
//! A backup is a new file with the same rows and no free pages, and it is made while others read and write. It is
//! written beside its target under another name, closed, verified as if it came from a stranger, synced and renamed:
//! under the target's name there is never anything but a whole backup, whenever the power goes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check::{Contents, digest_rows, open_verified, verify_open};
use super::disk::FileDisk;
use super::engine::Engine;
use super::error::StoreError;
use super::file::{Access, Replacement, beside, cannot_make, is_there, lock_database};
use super::schema;
use super::snapshot::Snapshot;
use crate::domain::UnixMillis;

/// Writes everything that a snapshot shows to a new file, which replaces any other at `target`.
///
/// # Errors
///
/// Those of [`Replacement::of`], and any other [`StoreError`]; `target` is as it was then, and nothing else is left.
pub fn back_up(snapshot: &Snapshot, target: &Path) -> Result<Contents, StoreError> {
    let new = Replacement::of(target)?;
    let contents = write_verified(snapshot, new.file())?;
    new.commit()?;
    Ok(contents)
}

/// Writes everything that a snapshot shows to a file without a name, in the folder of the database at `path`.
///
/// # Errors
///
/// As [`back_up`].
pub fn back_up_unnamed(snapshot: &Snapshot, path: &Path) -> Result<(File, Contents), StoreError> {
    let new = Replacement::of(&beside(path, ".download"))?;
    let contents = write_verified(snapshot, new.file())?;
    Ok((new.file().try_clone().map_err(StoreError::io)?, contents))
}

/// Copies a backup to `target`, where it replaces any other file.
///
/// # Errors
///
/// As [`back_up`].
pub fn copy(backup: &Path, target: &Path) -> Result<(), StoreError> {
    let new = Replacement::of(target)?;
    let copied = File::open(backup).and_then(|mut backup| io::copy(&mut backup, &mut new.file()));
    copied.map_err(cannot_make(target))?;
    new.commit()
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the database holds now.
    pub contents: Contents,
    /// Where the file is that stood there before, if there was one.
    pub kept: Option<PathBuf>,
}

/// Puts a backup in the place of the database at `path`. The file that stood there is kept beside it, named after the
/// moment `now`; no restore ever removes it.
///
/// `from` is verified, and so is what is written. Whenever it ends early, there is a whole database at `path`: the old
/// one or the new one.
///
/// # Errors
///
/// [`StoreError::InUse`] while a process has the database open; otherwise what is wrong with `from`, or what could
/// not be written.
pub fn restore(from: &Path, path: &Path, now: UnixMillis) -> Result<Restored, StoreError> {
    let (snapshot, _) = open_verified(lock_database(from, Access::Read)?)?;
    // Locked until the end, so that no server starts in between.
    let mut new = Replacement::of(path)?;
    let contents = write_verified(&snapshot, new.file())?;
    let kept = new.keep_old(&format!(".before-restore-{}", now.basic()))?;
    new.commit()?;
    Ok(Restored { contents, kept })
}

/// Makes the database at `path` as small as it can be: writes all of it to a new file, in order and without gaps, and
/// puts that in its place. Takes as much free space as that file has meanwhile.
///
/// The old file is not written to, so that a copy that somebody is making of it comes out whole; and whenever it ends
/// early, there is a whole database at `path`.
///
/// # Errors
///
/// [`StoreError::Absent`], [`StoreError::InUse`] while a process has the database open; otherwise what is wrong with
/// it, or what could not be written.
pub fn compact(path: &Path) -> Result<Contents, StoreError> {
    let absent = || StoreError::Absent(path.to_owned());
    if !is_there(path)? {
        return Err(absent());
    }
    // Locked until the end, so that no server writes to it in between.
    let new = Replacement::of(path)?;
    let old = new.old().ok_or_else(absent)?.0.try_clone().map_err(StoreError::io)?;
    let snapshot = Snapshot::of(Arc::new(Engine::open_to_read(Arc::new(FileDisk(old)))?))?;
    let contents = write_verified(&snapshot, new.file())?;
    new.commit()?;
    Ok(contents)
}

/// Writes to an empty file, and makes sure that it reads back as what was to be written.
fn write_verified(snapshot: &Snapshot, file: &File) -> Result<Contents, StoreError> {
    let written = write(snapshot, file.try_clone().map_err(StoreError::io)?)?;
    let contents = verify_open(file)?;
    if contents.sha256 != written {
        return Err(StoreError::Damaged("a new file does not read as it was written".to_owned()));
    }
    Ok(contents)
}

fn write(snapshot: &Snapshot, file: File) -> Result<String, StoreError> {
    let mut database = redb::Database::builder().create_with_backend(redb::backends::FileBackend::new(file)?)?;
    schema::create(&database)?;
    let tx = database.begin_write()?;
    let sha256 = digest_rows(snapshot, Some(&tx))?;
    tx.commit()?;
    // The file grew in large steps while it was written. This takes up to a third off its length, in 8 ms for a year of
    // signals and some 2 s for a million users.
    database.compact()?;
    // Closing writes what makes the next opening fast.
    database.close()?;
    Ok(sha256)
}
