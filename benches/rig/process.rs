//! The program under test as a process, and what the kernel says about processes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal};

/// A process that ends with the benchmark.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its children too: nothing would end the workers of a killed nginx.
        for pid in with_children(self.pid()) {
            kill(pid, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// Which CPUs a server may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cpus {
    /// One, which the load generator leaves alone: contenders of different design compare by what a request costs.
    One,
    /// All, as an operator would run it.
    All,
}

/// A command that runs `program` on these CPUs.
pub(crate) fn command(program: &Path, cpus: Cpus) -> Command {
    if cpus == Cpus::All || cpu_count() < 2 || !is_installed("taskset") {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", "0"]).arg(program);
    command
}

/// Keeps the calling thread off the CPU that [`Cpus::One`] gives to servers.
pub(crate) fn leave_cpu_to_servers() {
    if cpu_count() < 2 {
        return;
    }
    let mut others = rustix::thread::CpuSet::new();
    for cpu in 1..cpu_count() {
        others.set(cpu);
    }
    // Without it the figures are noisier, not wrong.
    let _ = rustix::thread::sched_setaffinity(None, &others);
}

pub(crate) fn cpu_count() -> usize {
    let list = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    list.lines().filter(|line| line.starts_with("processor")).count().max(1)
}

/// Whether a program is on the path.
pub(crate) fn is_installed(program: &str) -> bool {
    find_program(program).is_some()
}

/// Finds a program on the path, or where Debian keeps those of the administrator.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The release program: built now if it is not up to date, or the one that `OVERLAID_BIN` names.
pub(crate) fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("OVERLAID_BIN") {
        return named.into();
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let built = Command::new(cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--release", "--package", "overlaid", "--bin", "overlaid"])
        .status()
        .unwrap();
    assert!(built.success(), "cannot build the program");
    // This program lies in target/release/deps.
    let folder = std::env::current_exe().unwrap();
    folder.ancestors().nth(2).unwrap().join("overlaid")
}

/// A folder on the disk that holds the build: some systems keep the usual temporary folder in memory, where a sync
/// costs nothing.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A folder in memory where there is one: for files that are only ever read from memory, and many.
pub(crate) fn folder_in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| folder())
}

/// `overlaid serve` on a free port.
#[derive(Debug)]
pub(crate) struct Overlaid {
    pub(crate) process: Running,
    pub(crate) address: SocketAddr,
    /// Just before it was started.
    pub(crate) started: Instant,
}

impl Overlaid {
    /// Starts it on the data in `folder`, and waits until it listens.
    pub(crate) fn start(program: &Path, folder: &Path, cpus: Cpus) -> Self {
        let mut command = command(program, cpus);
        command.arg("--data").arg(folder).args(["--log-format", "json", "serve", "--listen", "127.0.0.1:0"]);
        // As the configuration of nginx has it here.
        command.args(["--access-log", "off"]);
        command.env_remove("RUST_LOG").stderr(Stdio::piped()).stdout(Stdio::null());
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let process = Running(child);
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the server ended before it listened");
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            if let Some(address) = event["address"].as_str() {
                break address.parse().unwrap();
            }
        };
        // The log must be read on, or the server would block on a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, address, started }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        vec![self.process.pid()]
    }

    /// Asks it to stop, as an operator would, and waits until it has.
    pub(crate) fn stop(mut self) {
        kill(self.process.pid(), Signal::TERM);
        self.process.0.wait().unwrap();
    }
}

fn kill(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // It may have ended by itself.
    let _ = pid.map(|pid| rustix::process::kill_process(pid, signal));
}

/// Makes a database with the records of `users` users in `folder`.
pub(crate) fn make_database(program: &Path, folder: &Path, users: usize) {
    let records = folder.join("records.ndjson");
    super::data::write_records(&records, users).unwrap();
    let loaded = Command::new(program).arg("--data").arg(folder).arg("load").arg(&records).output().unwrap();
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    fs::remove_file(records).unwrap();
}

/// Makes a token for the database in `folder`.
pub(crate) fn create_token(program: &Path, folder: &Path, scope: &str) -> String {
    let made = Command::new(program).arg("--data").arg(folder).args(["token", "create", "--scope", scope]).output();
    String::from_utf8(made.unwrap().stdout).unwrap().trim().to_owned()
}

/// Copies the database in `from` for another process to open.
pub(crate) fn copy_database(from: &Path) -> tempfile::TempDir {
    let copy = folder();
    fs::copy(from.join("overlaid.redb"), copy.path().join("overlaid.redb")).unwrap();
    copy
}

/// What all processors did since the system started, in ticks: all of it, and what a host gave to others although there
/// was something to do ("steal").
pub(crate) fn ticks() -> Option<(u64, u64)> {
    let statistics = fs::read_to_string("/proc/stat").ok()?;
    let fields = statistics.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests' time is in the first two.
    let ticks: Vec<u64> = fields.take(8).map_while(|field| field.parse().ok()).collect();
    Some((ticks.iter().sum(), *ticks.get(7)?))
}

/// CPU time that the threads of some processes have used, in nanoseconds.
pub(crate) fn cpu_ns(pids: &[u32]) -> u64 {
    let tasks = pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok()).flatten().flatten();
    tasks
        .filter_map(|task| {
            let statistics = fs::read_to_string(task.path().join("schedstat")).ok()?;
            statistics.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

/// A process and its children.
pub(crate) fn with_children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

/// A figure of `/proc/PID/status`, in bytes: `VmRSS`, `RssAnon`.
pub(crate) fn memory_bytes(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// The machine in a few words.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown CPU");
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0);
    format!("{} × {model}, {} GB, Linux {}", cpu_count(), (memory + (1 << 19)) >> 20, kernel.trim())
}
