//! Files that take the place of others: databases, backups, exports and reports, by whatever command.
//!
//! Each rule holds for every command that replaces a file, so each test runs all of them. What takes the right to mount
//! or to give files away says so where that is missing.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use overlaid::store::{Replacement, make_private_file, make_private_folder};
use tempfile::TempDir;

use crate::kit::{
    SAMPLES, Server, SmallDisk, code, done, error, files_in, program, run, run_with_rights, skipped, text, value,
};

/// A folder with a database of the samples in `data`, a backup of another one in `safe.redb`, and files to be replaced
/// beside it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(folder: TempDir) -> Self {
        let place = Self { folder };
        done(run(&place.path("other"), &["load", &format!("{SAMPLES}/rates.ndjson")]));
        done(run(&place.path("other"), &["backup", text(&place.path("safe.redb"))]));
        fs::remove_dir_all(place.path("other")).unwrap();
        done(run(&place.path("data"), &["load", SAMPLES]));
        for name in ["export.ndjson", "copy.redb"] {
            fs::write(place.path(name), "an older one").unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.path("data/overlaid.redb")
    }

    /// Every command that replaces a file, with the file.
    fn replacements(&self) -> Vec<(PathBuf, Vec<String>)> {
        let owned = |command: &[&str]| command.iter().map(|&word| word.to_owned()).collect();
        vec![
            (self.database(), owned(&["compact"])),
            (self.path("export.ndjson"), owned(&["export", "--out", text(&self.path("export.ndjson"))])),
            (self.path("copy.redb"), owned(&["backup", text(&self.path("copy.redb"))])),
            (self.database(), owned(&["restore", text(&self.path("safe.redb"))])),
        ]
    }

    fn run(&self, command: &[String]) -> Output {
        run(&self.path("data"), &command.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Every file in the place, but for those that a restore has kept.
    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = [self.folder.path(), &self.path("data")].into_iter().flat_map(files_in).collect();
        files.retain(|file| !text(file).contains(".before-restore-"));
        files
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::metadata(path).unwrap();
    (found.uid(), found.gid())
}

#[test]
fn every_restore_keeps_the_file_that_stood_there_and_names_it() {
    let place = Place::new();
    let mut before = Vec::new();
    for round in 0..4 {
        let line = place.path("line.ndjson");
        fs::write(&line, format!(r#"{{"overlay":{{"user_id":"later","account_balance":{round}}}}}"#)).unwrap();
        done(run(&place.path("data"), &["load", text(&line)]));
        let sha256 = value(&done(run(&place.path("data"), &["verify", text(&place.database())])), "sha256");
        let restored = done(run(&place.path("data"), &["restore", text(&place.path("safe.redb"))]));
        let kept = PathBuf::from(value(&restored, "kept"));
        assert!(text(&kept).starts_with(&format!("{}.before-restore-20", text(&place.database()))), "{restored}");
        assert!(value(&restored, "next").contains(&format!("overlaid restore {}", text(&kept))), "{restored}");
        before.push((kept, sha256));
    }
    for (kept, sha256) in &before {
        assert_eq!(value(&done(run(&place.path("data"), &["verify", text(kept)])), "sha256"), *sha256);
    }
    assert_eq!(files_in(&place.path("data")).len(), 1 + before.len(), "each has a name of its own");
    // Nothing is said of a file that did not stand there.
    let fresh = done(run(&place.path("fresh"), &["restore", text(&before[0].0)]));
    assert!(!fresh.contains("kept") && value(&fresh, "sha256") == before[0].1, "{fresh}");
}

#[test]
fn a_file_that_is_replaced_keeps_its_owner_its_group_and_its_mode() {
    let place = Place::new();
    for (file, command) in place.replacements() {
        let may_give_away = chown(&file, Some(1234), Some(5678)).is_ok();
        if !may_give_away {
            skipped("only the mode is looked at, as giving files away takes root");
        }
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let (id, owned) = (fs::metadata(&file).unwrap().ino(), owner(&file));
        done(place.run(&command));
        assert_ne!(fs::metadata(&file).unwrap().ino(), id, "{command:?} replaces it");
        assert_eq!((mode(&file), owner(&file)), (0o640, owned), "{command:?}");
    }
}

/// A server that may no longer open its database would be found out at its next start.
#[test]
fn who_can_not_keep_the_owner_replaces_nothing_and_is_told_who_can() {
    let place = Place::new();
    // Another user may read and write everything here, but is not the owner.
    for path in [place.folder.path().to_owned(), place.path("data")] {
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    for file in place.files().iter().filter(|file| file.is_file()) {
        fs::set_permissions(file, Permissions::from_mode(0o666)).unwrap();
    }
    for (file, command) in place.replacements() {
        let (before, files) = (fs::read(&file).unwrap(), place.files());
        let as_another = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let mut run = Command::new("setpriv");
        run.args(as_another).arg(program().get_program()).arg("--data").arg(place.path("data")).args(&command);
        let Some(refused) = run_with_rights(&mut run) else { return };
        assert_eq!(code(&refused), 2, "{command:?} {refused:?}");
        assert!(error(&refused).contains("run this as that user or as root"), "{refused:?}");
        assert!(fs::read(&file).unwrap() == before && place.files() == files, "{command:?}");
    }
}

#[test]
fn a_symbolic_link_is_followed_to_the_file_that_is_replaced() {
    let place = Place::new();
    fs::create_dir(place.path("real")).unwrap();
    for (file, command) in place.replacements() {
        let name = file.file_name().unwrap();
        let real = place.path("real").join(name);
        fs::rename(&file, &real).unwrap();
        // One link is relative, the other is not.
        symlink(&real, place.path("real/link")).unwrap();
        let depth = if file == place.database() { "../real/link" } else { "real/link" };
        symlink(depth, &file).unwrap();
        let id = fs::metadata(&file).unwrap().ino();
        done(place.run(&command));
        assert!(fs::symlink_metadata(&file).unwrap().is_symlink(), "{command:?}");
        assert_ne!(fs::metadata(&real).unwrap().ino(), id, "{command:?}");
        let mut left = files_in(&place.path("real"));
        left.retain(|file| !text(file).contains(".before-restore-"));
        left.retain(|file| *file != place.path("real/link"));
        assert_eq!(left, [real.as_path()], "{command:?}");
        fs::remove_file(place.path("real/link")).unwrap();
        fs::remove_file(&file).unwrap();
        fs::rename(&real, &file).unwrap();
    }
    let kept = files_in(&place.path("real"));
    assert!(kept.len() == 1 && text(&kept[0]).contains("overlaid.redb.before-restore-"), "{kept:?}");
}

#[test]
fn a_database_is_made_where_a_dangling_link_leads() {
    let folder = tempfile::tempdir().unwrap();
    for starts in ["load", "serve", "restore"] {
        let data = folder.path().join(starts);
        let disk = folder.path().join(format!("{starts}-disk"));
        fs::create_dir(&data).unwrap();
        symlink(disk.join("new/real.redb"), folder.path().join(format!("{starts}-second"))).unwrap();
        symlink(format!("../{starts}-second"), data.join("overlaid.redb")).unwrap();
        match starts {
            "serve" => drop(Server::with_samples(&data)),
            "load" => drop(done(run(&data, &["load", SAMPLES]))),
            _ => {
                let safe = folder.path().join("safe.redb");
                done(run(&folder.path().join("load"), &["backup", text(&safe)]));
                done(run(&data, &["restore", text(&safe)]));
            }
        }
        assert!(fs::symlink_metadata(data.join("overlaid.redb")).unwrap().is_symlink(), "{starts}");
        assert_eq!(files_in(&disk.join("new")), [disk.join("new/real.redb")], "{starts}");
        assert_eq!((mode(&disk.join("new")), mode(&disk.join("new/real.redb"))), (0o700, 0o600), "{starts}");
        done(run(&data, &["overlay", "get", "7001"]));
    }
    // The folder itself may be such a link.
    let data = folder.path().join("data");
    symlink(folder.path().join("elsewhere"), &data).unwrap();
    done(run(&data, &["load", SAMPLES]));
    assert!(folder.path().join("elsewhere/overlaid.redb").is_file());
    // And one that leads to itself is refused.
    let data = folder.path().join("circle");
    fs::create_dir(&data).unwrap();
    symlink("overlaid.redb", data.join("overlaid.redb")).unwrap();
    assert_eq!(code(&run(&data, &["load", SAMPLES])), 2);
}

/// A container may have a single file mounted: nothing can be renamed over it.
#[test]
fn nothing_is_left_beside_a_mount_point_and_the_operator_is_told_what_to_do() {
    let place = Place::new();
    for (file, command) in place.replacements() {
        let (before, files) = (fs::read(&file).unwrap(), place.files());
        let script = r#"mount --bind "$1" "$1" && shift && exec "$@""#;
        let program = program();
        let mut inside = Command::new("unshare");
        inside.args(["-m", "sh", "-c", script, "sh"]).arg(&file).arg(program.get_program());
        let inside = inside.arg("--data").arg(place.path("data")).args(&command);
        let Some(refused) = run_with_rights(inside) else { return };
        assert_eq!(code(&refused), 2, "{command:?}");
        assert!(
            error(&refused).contains("it is a mount point") && error(&refused).contains("mount its folder"),
            "{refused:?}"
        );
        assert!(fs::read(&file).unwrap() == before, "{command:?}");
        assert_eq!(place.files(), files, "{command:?}");
        assert_eq!(files_in(&place.path("data")).len(), 1, "what a restore would have kept is gone too");
    }
}

#[test]
fn nothing_is_left_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount("4m") else { return };
    let folder = tempfile::tempdir_in(disk.path()).unwrap();
    let place = Place::at(folder);
    let _ballast = disk.fill(4_096);
    for (file, command) in place.replacements() {
        let (before, files) = (fs::read(&file).unwrap(), place.files());
        let refused = place.run(&command);
        assert_eq!(code(&refused), 2, "{command:?} {refused:?}");
        assert!(fs::read(&file).unwrap() == before, "{command:?}");
        assert_eq!(place.files(), files, "{command:?}");
    }
    // Again: what the commands gave back may have been more than was free before.
    let _ballast = disk.fill(4_096);
    let fresh = place.path("fresh");
    assert_eq!(code(&run(&fresh, &["load", SAMPLES])), 2);
    assert_eq!(files_in(&fresh), [] as [PathBuf; 0], "no database is made by halves");
}

#[test]
fn no_link_is_followed_at_the_name_of_a_temporary_file() {
    let place = Place::new();
    let victim = place.path("victim");
    fs::write(&victim, "precious").unwrap();
    for (file, command) in place.replacements() {
        let part = PathBuf::from(format!("{}.part", text(&file)));
        for target in [victim.clone(), place.path("nowhere")] {
            symlink(&target, &part).unwrap();
            done(place.run(&command));
            assert!(fs::read(&victim).unwrap() == b"precious" && !place.path("nowhere").exists(), "{command:?}");
            assert!(fs::symlink_metadata(&file).unwrap().is_file(), "{command:?}");
            assert!(fs::symlink_metadata(&part).is_err(), "{command:?}");
        }
    }
    // Nor when a database is made.
    fs::remove_file(place.database()).unwrap();
    symlink(&victim, place.path("data/overlaid.redb.part")).unwrap();
    done(run(&place.path("data"), &["load", SAMPLES]));
    assert_eq!((fs::read(&victim).unwrap().as_slice(), mode(&place.database())), (&b"precious"[..], 0o600));
}

#[test]
fn what_a_killed_process_left_is_removed_by_the_next() {
    let place = Place::new();
    for (file, command) in place.replacements() {
        let part = PathBuf::from(format!("{}.part", text(&file)));
        fs::write(&part, "half").unwrap();
        fs::set_permissions(&part, Permissions::from_mode(0o644)).unwrap();
        done(place.run(&command));
        assert!(!part.exists(), "{command:?}");
    }
}

#[test]
fn a_file_that_another_process_is_writing_is_no_leftover() {
    let place = Place::new();
    for (file, command) in place.replacements() {
        let part = PathBuf::from(format!("{}.part", text(&file)));
        let other = File::create(&part).unwrap();
        other.try_lock().unwrap();
        let before = fs::read(&file).unwrap();
        let refused = place.run(&command);
        assert_eq!(code(&refused), 2, "{command:?}");
        assert!(error(&refused).contains("another process is writing it"), "{refused:?}");
        assert!(part.exists() && fs::read(&file).unwrap() == before, "{command:?}");
        // To close the file is not enough: a process that another test has just started may have inherited it.
        other.unlock().unwrap();
        done(place.run(&command));
        assert!(!part.exists(), "{command:?}");
    }
}

#[test]
fn what_is_new_is_for_its_owner_only() {
    let place = Place::new();
    for file in ["folder/export.ndjson", "folder/copy.redb"] {
        let _ = fs::remove_dir_all(place.path("folder"));
        let path = place.path(file);
        let command = if file.ends_with("redb") { vec!["backup"] } else { vec!["export", "--out"] };
        let command: Vec<_> = command.into_iter().chain([text(&path)]).map(str::to_owned).collect();
        done(place.run(&command));
        assert_eq!((mode(&place.path("folder")), mode(&path)), (0o700, 0o600), "{file}");
    }
    done(run(&place.path("data"), &["backup"]));
    assert_eq!(mode(&place.path("data/backups")), 0o700);
    for backup in files_in(&place.path("data/backups")) {
        assert_eq!(mode(&backup), 0o600, "{backup:?}");
    }
}

/// A check that reads a file does not keep it from being replaced.
#[test]
fn a_file_that_another_process_reads_may_be_replaced() {
    let place = Place::new();
    for (file, command) in place.replacements() {
        let reader = File::open(&file).unwrap();
        reader.try_lock_shared().unwrap();
        done(place.run(&command));
    }
}

/// A report belongs to who runs the command and holds balances, whatever stood there.
#[test]
fn a_private_file_replaces_a_link_itself_and_keeps_no_mode() {
    let folder = tempfile::tempdir().unwrap();
    let [file, link, victim] = ["file", "link", "victim"].map(|name| folder.path().join(name));
    for path in [&file, &victim] {
        fs::write(path, "mine").unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    }
    symlink(&victim, &link).unwrap();
    for path in [&file, &link] {
        symlink(&victim, format!("{}.part", text(path))).unwrap();
        let new = Replacement::private(path).unwrap();
        new.file().write_all(b"x").unwrap();
        new.commit().unwrap();
        assert_eq!((fs::read(path).unwrap(), mode(path)), (b"x".to_vec(), 0o600));
        assert!(fs::symlink_metadata(path).unwrap().is_file());
    }
    assert_eq!((fs::read(&victim).unwrap(), mode(&victim)), (b"mine".to_vec(), 0o644));
}

#[test]
fn a_private_file_that_is_not_committed_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report");
    fs::write(&file, "old").unwrap();
    Replacement::private(&file).unwrap().file().write_all(b"new").unwrap();
    assert_eq!((files_in(folder.path()).len(), fs::read(&file).unwrap()), (1, b"old".to_vec()));
}

#[test]
fn private_folders_and_files_are_for_their_owner_only_and_replace_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [outer, inner, file] = ["a", "a/b", "a/b/c"].map(|name| folder.path().join(name));
    make_private_folder(&inner).unwrap();
    drop(make_private_file(&file).unwrap());
    assert_eq!((mode(&outer), mode(&inner), mode(&file)), (0o700, 0o700, 0o600));
    assert!(make_private_file(&file).is_err());
    let link = folder.path().join("link");
    symlink(folder.path().join("nowhere"), &link).unwrap();
    assert!(make_private_file(&link).is_err() && make_private_folder(&link.join("d")).is_err());
    assert!(!folder.path().join("nowhere").exists());
}
