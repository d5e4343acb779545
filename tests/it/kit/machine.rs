//! What a test needs of the machine and may not find: tools, and the rights to mount or to become another user.
//!
//! A test that can not run says `skipped:` and why in its output.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use super::command::error;

/// Says that something is not tested here, and why.
pub(crate) fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// Whether a program is installed; says so where it is not.
pub(crate) fn has_tool(tool: &str) -> bool {
    let is_there = Command::new(tool).arg("--version").output().is_ok();
    if !is_there {
        skipped(&format!("{tool} is not installed"));
    }
    is_there
}

/// Runs what takes rights; `None` if the rights are missing, and a line that says so.
pub(crate) fn run_with_rights(command: &mut Command) -> Option<Output> {
    let missing = match command.output() {
        Ok(output) => {
            let said = error(&output);
            if !["setpriv:", "unshare:", "mount:"].iter().any(|program| said.contains(program)) {
                return Some(output);
            }
            said
        }
        Err(error) => error.to_string(),
    };
    skipped(&format!("{} is not allowed here: {missing}", command.get_program().display()));
    None
}

/// A mounted tmpfs; unmounted when dropped.
pub(crate) struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// `None` where it can not be mounted, and a line that says so.
    pub(crate) fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            skipped("a tmpfs can not be mounted here, which takes root");
        }
        mounted.then(|| Self { folder })
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the database is.
    pub(crate) fn data(&self) -> PathBuf {
        let data = self.folder.path().join("data");
        fs::create_dir_all(&data).unwrap();
        data
    }

    /// Takes all the room that is left, but for `room` bytes.
    pub(crate) fn fill(&self, room: u64) -> Ballast {
        let path = self.folder.path().join("ballast");
        let mut file = File::create(&path).unwrap();
        let page = [1; 4_096];
        let full = loop {
            if let Err(error) = file.write_all(&page) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        let length = file.metadata().unwrap().len();
        file.set_len(length.checked_sub(room).unwrap()).unwrap();
        Ballast { path }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmount = |lazily: &[&str]| {
            Command::new("umount").args(lazily).arg(self.folder.path()).status().is_ok_and(|status| status.success())
        };
        // A process that is just ending may hold it a moment longer.
        let _ = unmount(&[]) || unmount(&["-l"]);
    }
}

/// What fills the disk.
pub(crate) struct Ballast {
    path: PathBuf,
}

impl Ballast {
    pub(crate) fn remove(self) {
        fs::remove_file(self.path).unwrap();
    }
}
