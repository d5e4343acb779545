//! Tests of the copy gate, with real processes that have the file open.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;

/// Longer than any wait here; reached only if a test fails.
const LONG: Duration = Duration::from_mins(1);
const SHORT: Duration = Duration::from_millis(50);

/// A database file in a folder of its own, as a process has it open.
struct Database {
    _folder: tempfile::TempDir,
    path: PathBuf,
    disk: FileDisk,
}

impl Database {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("overlaid.redb");
        fs::write(&path, [7; 10_000]).unwrap();
        let disk = FileDisk(OpenOptions::new().read(true).write(true).open(&path).unwrap());
        Self { _folder: folder, path, disk }
    }

    /// A gate that has found out that nobody else has the file open.
    fn gate(&self, limit: Duration) -> CopyGate {
        let mut gate = CopyGate::new(&self.disk, limit);
        assert_eq!(gate.status().unsafe_copies(), None);
        gate.wait();
        gate
    }
}

/// Another process that has the file open until it is told to go.
struct Opener(Child);

impl Opener {
    fn of(file: &Path) -> Self {
        Self::running("exec 3<\"$0\"; echo; read go", file)
    }

    /// A script that writes a line when it is ready, and ends after reading one.
    fn running(script: &str, file: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(child)
    }

    fn go(mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

/// Waits at the gate on another thread; `true` if the wait is over only after `others` have gone.
fn waits_for(gate: &mut CopyGate, others: Vec<Opener>) -> bool {
    thread::scope(|scope| {
        let waiting = scope.spawn(|| gate.wait());
        // As long as one has it open; the last to go is the one that counts.
        thread::sleep(SHORT);
        let mut is_waiting = true;
        for opener in others {
            is_waiting &= !waiting.is_finished();
            opener.go();
        }
        waiting.join().unwrap();
        is_waiting
    })
}

#[test]
fn a_commit_passes_at_once_while_nobody_else_has_the_file_open() {
    let database = Database::new();
    let mut gate = database.gate(LONG);
    for _ in 0..1_000 {
        gate.wait();
    }
    assert_eq!(gate.status().waits().overran, 0);
    assert!(!gate.must_ask);
}

#[test]
fn a_commit_waits_until_the_other_process_has_closed_the_file() {
    let database = Database::new();
    let mut gate = database.gate(LONG);
    let opener = Opener::of(&database.path);
    assert!(waits_for(&mut gate, vec![opener]));
    assert_eq!(gate.status().waits().count, 1);
    // A visit that is over costs one question.
    fs::read(&database.path).unwrap();
    gate.wait();
    assert!(!gate.must_ask);
}

/// The kernel merges the events of opens that follow each other; it does not merge who has the file open.
#[test]
fn of_many_that_open_the_file_at_one_instant_the_last_to_go_is_waited_for() {
    let database = Database::new();
    let mut gate = database.gate(LONG);
    let openers = (0..10).map(|_| Opener::of(&database.path)).collect();
    assert!(waits_for(&mut gate, openers));
}

#[test]
fn a_process_that_had_the_file_open_before_the_gate_is_waited_for() {
    let database = Database::new();
    let opener = Opener::of(&database.path);
    let mut gate = CopyGate::new(&database.disk, LONG);
    assert!(waits_for(&mut gate, vec![opener]));
}

/// Whose descriptors this process may not see in `/proc`.
#[test]
fn a_process_of_another_user_is_waited_for() {
    use std::os::unix::process::CommandExt as _;
    let as_nobody = |script: &str, file: &Path| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(file).uid(65_534).gid(65_534);
        command
    };
    let database = Database::new();
    fs::set_permissions(database.path.parent().unwrap(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(&database.path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    if as_nobody("true", &database.path).status().is_err() {
        println!("skipped: only root can start a process of another user");
        return;
    }
    let mut child = as_nobody("exec 3<\"$0\"; echo; read go", &database.path);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let mut gate = CopyGate::new(&database.disk, LONG);
    assert!(waits_for(&mut gate, vec![Opener(child)]));
}

#[test]
fn other_names_links_inherited_descriptors_and_memory_maps_count_as_well() {
    let database = Database::new();
    let mut gate = database.gate(LONG);
    let [hard, soft] = ["hard", "soft"].map(|name| database.path.with_file_name(name));
    fs::hard_link(&database.path, &hard).unwrap();
    std::os::unix::fs::symlink(&database.path, &soft).unwrap();
    for name in [&hard, &soft] {
        let opener = Opener::of(name);
        assert!(waits_for(&mut gate, vec![opener]), "{}", name.display());
    }
    let opener = Opener::running("exec 3<\"$0\"; exec sh -c 'echo; read go'", &database.path);
    assert!(waits_for(&mut gate, vec![opener]), "a descriptor that was passed on");
    if Command::new("python3").arg("--version").output().is_ok() {
        let script = "exec python3 -c 'import mmap, os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY)\nm = mmap.mmap(fd, 0, prot=mmap.PROT_READ)\nos.close(fd)\nprint(flush=True)\nsys.stdin.readline()' \"$0\"";
        let opener = Opener::running(script, &database.path);
        assert!(waits_for(&mut gate, vec![opener]), "a memory map");
    } else {
        println!("skipped: there is no python3 to map the file into memory");
    }
}

/// A user who may list the folder, and not read the file, can not hold up a commit.
#[test]
fn what_happens_to_other_files_of_the_folder_does_not_matter() {
    let database = Database::new();
    let mut gate = database.gate(LONG);
    let other = database.path.with_file_name("other");
    fs::write(&other, "x").unwrap();
    let _open = File::open(&other).unwrap();
    fs::read_dir(database.path.parent().unwrap()).unwrap().count();
    fs::metadata(&database.path).unwrap();
    gate.must_ask |= gate.kernel.as_mut().unwrap().was_opened();
    assert!(!gate.must_ask);
}

#[test]
fn beyond_the_limit_the_gate_is_blind_until_nobody_else_has_the_file_open() {
    let database = Database::new();
    let mut gate = database.gate(SHORT);
    let status = gate.status();
    let opener = Opener::of(&database.path);
    let began = now();
    gate.wait();
    assert!(began.elapsed() >= SHORT);
    assert!(status.unsafe_copies().is_some());
    // Further commits ask once and go on, though another process comes and goes.
    for _ in 0..100 {
        fs::read(&database.path).unwrap();
        gate.wait();
    }
    assert_eq!(status.waits().overran, 1, "one wait, one line in the log");
    assert!(status.unsafe_copies().is_some());
    opener.go();
    gate.wait();
    assert_eq!(status.unsafe_copies(), None);
    let opener = Opener::of(&database.path);
    gate.wait();
    assert_eq!(status.waits().overran, 2, "it waits again");
    opener.go();
}

/// An open that meets the lease waits a few microseconds, and nothing ends the process that holds it.
#[test]
fn a_hundred_thousand_opens_meet_the_lease_and_neither_side_is_harmed() {
    const OPENS: usize = 100_000;
    let database = Database::new();
    let mut gate = database.gate(LONG);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut free = 0;
            while !is_over.load(Ordering::Relaxed) {
                free += usize::from(gate.kernel.as_ref().unwrap().ask() == Opened::ByNobodyElse);
            }
            free
        });
        let mut refused = 0;
        for number in 0..OPENS {
            let mut options = OpenOptions::new();
            options.read(true);
            // As GNU tar and borg open a file; what meets the lease is refused, and both try again.
            if number % 2 == 0 {
                options.custom_flags(libc::O_NONBLOCK);
            }
            match options.open(&database.path) {
                Ok(mut file) => assert_eq!(file.read(&mut [0; 16]).unwrap(), 16),
                Err(error) => {
                    assert!(number % 2 == 0 && error.kind() == std::io::ErrorKind::WouldBlock, "{number}: {error}");
                    refused += 1;
                    File::open(&database.path).unwrap();
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
        println!("{OPENS} opens, {refused} refused once; the file was free {} times", asking.join().unwrap());
    });
    gate.wait();
    assert!(!gate.must_ask);
}

#[test]
fn a_limit_of_zero_turns_the_gate_off() {
    let database = Database::new();
    let mut gate = CopyGate::new(&database.disk, Duration::ZERO);
    let _opener = File::open(&database.path).unwrap();
    gate.wait();
    assert_eq!(gate.status().unsafe_copies().as_deref(), Some("the copy gate is turned off"));
}

/// As on a file system without leases.
#[test]
fn where_the_kernel_gives_no_lease_the_gate_is_off_and_says_so() {
    let file = FileDisk(File::open("/dev/null").unwrap());
    let reason = CopyGate::new(&file, LONG).status().unsafe_copies().unwrap();
    assert!(reason.starts_with("the kernel gives no lease on the file"), "{reason}");
}
