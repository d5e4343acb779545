//! Files that only their owner may read: reports, packs, exports, extracted missions. They hold balances and names of
//! users.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Makes a file with mode 0600.
///
/// # Errors
///
/// If there is something of that name already, a symbolic link too: nothing is ever written through one.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes a folder and those above it that are not there, each with mode 0700.
///
/// # Errors
///
/// If one can not be made.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that appears whole or not at all. Until it is whole it has the name with `.part` behind it; what a
/// killed run left under that name is removed.
///
/// # Errors
///
/// If `write` fails, or the file can not be made, written, synced or renamed; then nothing is left behind.
pub(super) fn replace<T, E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let mut name = name.to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    remove_if_there(&part)?;
    let mut file = BufWriter::new(create(&part)?);
    let written = write(&mut file).and_then(|value| {
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&part, path)?;
        Ok(value)
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&part);
    }
    written
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use tempfile::TempDir;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_may_read_what_is_made() {
        let folder = TempDir::new().unwrap();
        let (inner, file) = (folder.path().join("a/b"), folder.path().join("a/b/c"));
        create_folder(&inner).unwrap();
        replace(&file, |out| out.write_all(b"x")).unwrap();
        assert_eq!((mode(&inner), mode(&folder.path().join("a")), mode(&file)), (0o700, 0o700, 0o600));
        assert!(create(&file).is_err(), "nothing is replaced by create");
    }

    #[test]
    fn nothing_is_written_through_a_link_at_the_temporary_name() {
        let folder = TempDir::new().unwrap();
        let (file, victim) = (folder.path().join("report"), folder.path().join("victim"));
        fs::write(&victim, "mine").unwrap();
        symlink(&victim, folder.path().join("report.part")).unwrap();
        replace(&file, |out| out.write_all(b"x")).unwrap();
        assert_eq!((fs::read(&victim).unwrap(), fs::read(&file).unwrap()), (b"mine".to_vec(), b"x".to_vec()));
    }

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("report");
        fs::write(&file, "old").unwrap();
        let failed: io::Result<()> = replace(&file, |_| Err(io::Error::other("no")));
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read(&file).unwrap(), b"old");
    }
}
