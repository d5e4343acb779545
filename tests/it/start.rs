//! What an operator meets at the start of a server, and what a signal does to it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use crate::kit::{Server, program, run};

/// The user `nobody`, whom permissions bind, where a test runs as root.
const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    // The user of this process owns its folder in /proc.
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn a_hangup_does_not_end_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.signal("HUP");
    server.logged(|line| line["message"].as_str().is_some_and(|message| message.starts_with("SIGHUP")));
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_part_of_rust_log_that_can_not_be_read_is_said_and_the_rest_holds() {
    let folder = tempfile::tempdir().unwrap();
    let stats = |level: &str| {
        let mut command = program();
        command.env("RUST_LOG", level).arg("--data").arg(folder.path()).args(["load", "/dev/null"]);
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    let said = stats("nonsense,info");
    assert!(said.contains("part of RUST_LOG can not be read") && said.contains("nonsense"), "{said}");
    assert!(!stats("info,overlaid::http=debug").contains("RUST_LOG"));
}

#[test]
fn a_backup_folder_that_can_not_be_written_to_stops_the_start_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (data, no_folder) = (folder.path().join("data"), folder.path().join("a file"));
    fs::write(&no_folder, "").unwrap();
    let serve = |backup_dir: &Path| {
        run(&data, &["serve", "--listen", "127.0.0.1:0", "--backup-dir", backup_dir.to_str().unwrap()])
    };
    for backup_dir in [no_folder.clone(), no_folder.join("backups")] {
        let refused = serve(&backup_dir);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        let expected = format!("cannot write to the backup folder {}", backup_dir.display());
        assert!(said.contains(&expected), "{said}");
        assert!(!data.exists(), "nothing was made");
    }
}

#[test]
fn a_folder_that_may_not_be_searched_is_no_absent_database() {
    if !is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // The temporary folder itself is its owner's alone, so that the other user needs a way to the program's folder.
    let data = folder.path().join("data");
    assert!(run(&data, &["load", "/dev/null"]).status.success());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let copy = folder.path().join("overlaid");
    fs::copy(program().get_program(), &copy).unwrap();
    for command in ["stats", "compact"] {
        let asked =
            std::process::Command::new(&copy).arg("--data").arg(&data).arg(command).uid(NOBODY).output().unwrap();
        let said = String::from_utf8(asked.stderr).unwrap();
        assert_eq!(asked.status.code(), Some(2), "{said}");
        assert!(said.contains("ermission denied") && !said.contains("there is no database"), "{said}");
    }
}
