//! What bringing a day of old mission files in costs, as the tables of `data/manual/figures.md`: `cargo bench --bench
//! legacy`.
//!
//! Makes the day that the old service wrote, 30 signals for 5,000 users, a file each, in a temporary folder. Then, in
//! turns and three rounds: a bare loop that reads and parses every file with `serde_json`, and the program's own `plan`
//! and `import`; then once `archive --delete`. All read the same files, from a warm cache. Memory is the peak that the
//! kernel saw of each process (`VmHWM`). Last, `plan` and `import` of 1,000,000 files, 200 signals for 5,000 users, for
//! the floor on memory: that takes 4 GB of disk.
//!
//! `--check` makes a missed floor an exit code; `--signals N` and `--users N` make another day.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed step ends it")]
#![expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "ratios are shown, not used")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Rounds; the table has the medians.
const ROUNDS: usize = 3;
/// The argument by which the program calls itself for the bare loop, so that its memory and threads are its own.
const BARE: &str = "--bare-loop";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u32| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    if let Some(at) = arguments.iter().position(|argument| argument == BARE) {
        bare_loop(Path::new(arguments.get(at + 1).map_or("", String::as_str)));
        return ExitCode::SUCCESS;
    }
    let mut floors = measure(number("--signals", 30), number("--users", 5_000));
    floors.extend(measure_memory());
    for (floor, is_met) in &floors {
        println!("{}: {floor}", if *is_met { "met" } else { "MISSED" });
    }
    let is_checked = arguments.iter().any(|argument| argument == "--check");
    if is_checked && floors.iter().any(|(_, is_met)| !is_met) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Reads and parses every file, one after the other, and keeps nothing.
fn bare_loop(tree: &Path) {
    let mut members = 0;
    for folder in fs::read_dir(tree).unwrap() {
        for entry in fs::read_dir(folder.unwrap().path()).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            members += value.as_object().map_or(0, serde_json::Map::len);
        }
    }
    assert!(members > 0, "the loop reads something");
}

fn measure(signals: u32, users: u32) -> Vec<(String, bool)> {
    let folder = tempfile::tempdir().unwrap();
    let [tree, packs] = ["old", "packs"].map(|name| folder.path().join(name));
    let tree_text = tree.to_str().unwrap();
    eprintln!("making {} files …", signals * users);
    write_day(&tree, signals, users);
    let before = occupied(&tree);

    let program = env!("CARGO_BIN_EXE_overlaid");
    let this = std::env::current_exe().unwrap();
    let (mut bare, mut plan, mut import) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS} …", round + 1);
        let data = folder.path().join(format!("data{round}"));
        let data = data.to_str().unwrap();
        bare.push(run(this.to_str().unwrap(), &[BARE, tree_text]));
        plan.push(run(program, &["--data", data, "legacy", "plan", tree_text, "--json"]));
        import.push(run(program, &["--data", data, "legacy", "import", tree_text, "--json"]));
    }
    let imported: serde_json::Value = serde_json::from_str(&import.last().unwrap().output).unwrap();
    eprintln!("archiving …");
    let archive =
        run(program, &["legacy", "archive", tree_text, "--out", packs.to_str().unwrap(), "--delete", "--json"]);
    let database = folder.path().join("data0");
    let (database, packed, left) = (occupied(&database), occupied(&packs), occupied(&tree));

    let [bare, plan, import] = [bare, plan, import].map(median);
    let files = f64::from(signals * users);
    let rate = |run: &Run| format!("{:.0} files/s", files / run.seconds);
    let against = |run: &Run| bare.seconds / run.seconds;
    let after = |pick: fn(&Occupied) -> u64| pick(&database) + pick(&packed) + pick(&left);
    let shrunk = |pick: fn(&Occupied) -> u64| pick(&before) as f64 / pick(&packed).max(1) as f64;
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1_048_576.0);
    println!("\n| {signals} signals × {users} users | old files | after | |\n|---|---|---|---|");
    println!("| files | {} | {} | database, pack, index |", before.files, after(|all| all.files));
    println!("| bytes | {} | {} | |", mib(before.bytes), mib(after(|all| all.bytes)));
    println!("| of this, packs and index | | {} | {:.0}× smaller |", mib(packed.bytes), shrunk(|all| all.bytes));
    println!(
        "| disk blocks | {} | {} | packs {:.0}× smaller |",
        mib(before.disk),
        mib(after(|all| all.disk)),
        shrunk(|all| all.disk)
    );
    println!("| inodes, with folders | {} | {} | |", before.inodes, after(|all| all.inodes));
    println!("| records | | {} signals, {} overlays | |", imported["signals"], imported["overlays"]);
    println!("\n| | speed | against the bare loop | memory |\n|---|---|---|---|");
    for (name, run) in
        [("bare loop: read, parse", &bare), ("`plan`", &plan), ("`import`", &import), ("`archive --delete`", &archive)]
    {
        println!("| {name} | {} | {:.2}× | {} |", rate(run), against(run), mib(run.memory));
    }
    println!();
    vec![
        (format!("plan at 0.25× of the bare loop: {:.2}×", against(&plan)), against(&plan) >= 0.25),
        ("packs 20× smaller on disk".to_owned(), shrunk(|all| all.disk) >= 20.0),
        (format!("fewer than 10 inodes: {}", after(|all| all.inodes)), after(|all| all.inodes) < 10),
        ("a row a signal and a user".to_owned(), imported["signals"] == signals && imported["overlays"] == users),
        ("no original is left".to_owned(), left.files == 0),
    ]
}

/// Memory of 1,000,000 files.
fn measure_memory() -> Vec<(String, bool)> {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("old");
    eprintln!("making 1,000,000 files …");
    write_day(&tree, 200, 5_000);
    let data = folder.path().join("data");
    let [tree, data] = [&tree, &data].map(|path| path.to_str().unwrap());
    let of = |command: &str| {
        let memory = run(env!("CARGO_BIN_EXE_overlaid"), &["--data", data, "legacy", command, tree, "--json"]).memory;
        let floor = format!("{command} of 1,000,000 files in 150 MB: {:.0} MB", memory as f64 / 1e6);
        (floor, memory <= 150_000_000)
    };
    ["plan", "import"].map(of).into()
}

/// What a process did.
struct Run {
    seconds: f64,
    /// Most memory, in bytes.
    memory: u64,
    output: String,
}

/// Runs a process and watches its memory.
fn run(program: &str, arguments: &[&str]) -> Run {
    let start = Instant::now();
    let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut memory = 0;
    while child.try_wait().unwrap().is_none() {
        // The mark only rises; what is read last is the peak but for the last few milliseconds.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        memory = peak.map_or(memory, |kib: u64| memory.max(kib * 1_024));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let seconds = start.elapsed().as_secs_f64();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    Run { seconds, memory, output: String::from_utf8(output.stdout).unwrap() }
}

fn median(mut runs: Vec<Run>) -> Run {
    let memory = runs.iter().map(|run| run.memory).max().unwrap_or(0);
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let middle = runs.len() / 2;
    Run { memory, ..runs.swap_remove(middle) }
}

#[derive(Clone, Copy, Default)]
struct Occupied {
    files: u64,
    bytes: u64,
    disk: u64,
    /// Files and folders.
    inodes: u64,
}

fn occupied(folder: &Path) -> Occupied {
    let mut all = Occupied::default();
    let Ok(own) = fs::metadata(folder) else { return all };
    all.inodes += 1;
    all.disk += own.blocks() * 512;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            let inner = occupied(&entry.path());
            all = Occupied {
                files: all.files + inner.files,
                bytes: all.bytes + inner.bytes,
                disk: all.disk + inner.disk,
                inodes: all.inodes + inner.inodes,
            };
        } else {
            all.files += 1;
            all.inodes += 1;
            all.bytes += metadata.len();
            all.disk += metadata.blocks() * 512;
        }
    }
    all
}

/// Writes a flat mission of every user for every signal, one signal every ten minutes, with balances that move, as the
/// old service did.
fn write_day(tree: &Path, signals: u32, users: u32) {
    let missions = tree.join("missions");
    fs::create_dir_all(&missions).unwrap();
    let tiers = ["NIBBLER", "FANG", "COMMANDER"];
    let mut text = Vec::new();
    for signal in 0..signals {
        let id = format!("ELITE_GUARD_EURUSD_{}", 1_752_645_000 + signal * 600);
        let at = |minutes: u32| {
            let (day, hour, minute) = (16 + minutes / 1_440, minutes / 60 % 24, minutes % 60);
            format!("2025-07-{day}T{hour:02}:{minute:02}")
        };
        let (created, expires) = (at(300 + signal * 10), at(300 + signal * 10 + 240));
        let pip = 8_500 + signal * 3;
        for user in 0..users {
            let user_id = 7_000_000_000 + u64::from(user);
            let tier = tiers.get(user as usize % 3).unwrap();
            let cents = 100_000 + user * 37 + signal * 1_013;
            let money = |cents: u32| format!("{}.{:02}", cents / 100, cents % 100);
            text.clear();
            write!(
                text,
                r#"{{"mission_id": "{id}_USER{user_id}", "base_signal_id": "{id}", "user_id": "{user_id}", "symbol": "EURUSD", "direction": "BUY", "tcs_score": {}, "entry_price": 1.0{pip}, "stop_loss": 1.0{}, "take_profit": 1.0{}, "signal_type": "RAPID_ASSAULT", "user_tier": "{tier}", "user_rank": "SOLDIER", "daily_fires": {}, "ammo_left": {}, "win_rate": {}.{}, "streak_days": {}, "total_pips": {}.{}, "account_balance": {}, "account_equity": {}, "margin_free": {}, "risk_amount": {}, "reward_amount": {}, "risk_reward_ratio": 2.0, "position_size": 0.{:03}, "risk_percentage": 2.0, "created_at": "{created}:{:02}.{:06}", "expires_at": "{expires}:00.000000", "self_destruct_hours": 4, "status": "active", "engagement_count": 0, "fired_count": 0}}"#,
                70 + signal % 25,
                pip - 20,
                pip + 40,
                user % 9,
                9 - user % 9,
                50 + user % 40,
                user % 10,
                user % 30,
                user % 700,
                user % 10,
                money(cents),
                money(cents + cents / 50),
                money(cents - cents / 8),
                money(cents / 50),
                money(cents / 25),
                cents / 1_000 % 1_000,
                user / 200 % 60,
                user % 200 * 5_000,
            )
            .unwrap();
            fs::write(missions.join(format!("mission_{id}_{user_id}.json")), &text).unwrap();
        }
    }
}
