//! Power cuts, through the real writer.
//!
//! A run of writes is recorded: each write to the disk, each change of its length, each sync, and at which of these
//! steps each acknowledgement came. Then the power is cut at every step, many times over: what was synced before is
//! there, and of what was written since, each sector of 512 bytes is there or not, as the dice fall. Every such image
//! must open, must be the state after one commit, to the last byte of every record, and no earlier one than the last
//! that was acknowledged.
//!
//! A seed repeats a run step by step: what falls into one commit is decided here and not by the speed of threads.
//!
//! Acknowledging before the sync, or a disk that only says that it has synced, makes this fail at once. The long form
//! is a million different images:
//! `cargo test --release -p overlaid --test it crash::campaign -- --ignored --nocapture`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use overlaid::service::Stopwatch;
use overlaid::store::{Store, Writer, contents};

use crate::kit::{Dice, MemoryDisk, SECTOR, Step, effort, in_parallel, long_overlay, long_signal, seed, write_to};

fn open(disk: &Arc<MemoryDisk>) -> Arc<Store> {
    Store::open_on(Arc::clone(disk) as _, Path::new("in memory")).unwrap()
}

/// What is in the store: the number of its last change, and a hash of everything.
fn state(store: &Store) -> Result<(u64, String), overlaid::store::StoreError> {
    let contents = contents(&store.snapshot()?, 0)?;
    Ok((contents.seq, contents.sha256))
}

/// A recorded run.
struct Run {
    /// The disk before it.
    before: Vec<u8>,
    steps: Vec<Step>,
    /// By the number of the last change: what the file holds then.
    states: BTreeMap<u64, String>,
    /// For each acknowledgement: how many steps had been done, and what it acknowledged.
    acknowledged: Vec<(usize, u64)>,
}

/// A file with a record, closed.
fn closed() -> Vec<u8> {
    let disk = MemoryDisk::with(Vec::new());
    let store = open(&disk);
    let writer = Writer::start(Arc::clone(&store), |_| {}).unwrap();
    write_to(&writer, long_overlay(1, 1, 0)).unwrap();
    writer.stop();
    drop((writer, store));
    disk.bytes()
}

/// Bytes of one record in five, and what the others have less than: many to a page.
const SHORT: [usize; 2] = [6_000, 200];
/// The same: many pages to a record.
const LONG: [usize; 2] = [60_000, 30_000];

/// Writes in groups of different sizes, large and small records, new and changed ones.
///
/// Each group is one commit: the writer stands still in its observer, after each commit, until all of the next group is
/// queued. The first group is one write, as the writer takes it when it comes. Each begins with a write that changes
/// something for certain, or there would be no commit to wait for.
///
/// - `padding`: of one record in five, and what the others have less than.
///
/// Every other run begins with a file that has tables and no records.
fn record(seed: u64, groups: usize, padding: [usize; 2]) -> Run {
    let mut dice = Dice::new(seed);
    let disk = MemoryDisk::with(if seed.is_multiple_of(2) { closed() } else { Vec::new() });
    drop(open(&disk));
    let before = disk.bytes();
    disk.record();
    let store = open(&disk);
    let states = Arc::new(Mutex::new(BTreeMap::from([state(&store).unwrap()])));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let (observed, observed_states) = (Arc::clone(&store), Arc::clone(&states));
    let (committed, is_committed) = channel();
    let (queued, is_queued) = channel::<()>();
    let writer = Writer::start(Arc::clone(&store), move |commit| {
        let (seq, hash) = state(&observed).unwrap();
        assert_eq!(seq, commit.seq);
        observed_states.lock().unwrap().insert(seq, hash);
        committed.send(()).unwrap();
        // After the last group nobody is there to send.
        let _ = is_queued.recv();
    })
    .unwrap();
    for group in 0..groups {
        let others = if group == 0 { 0 } else { dice.below(4) };
        for number in 0..=others {
            let padding = if dice.below(5) == 0 { padding[0] } else { dice.below(padding[1]) };
            let operation = match dice.below(5) {
                0 => long_signal(group * 10 + number, padding),
                _ if number == 0 => long_overlay(dice.below(20), 10_000_000 + group as u64, padding),
                _ => long_overlay(dice.below(20), 1_000 + dice.roll() % 1_000_000, padding),
            };
            let (disk, acknowledged) = (Arc::clone(&disk), Arc::clone(&acknowledged));
            let acknowledge = move |result: Result<overlaid::store::Receipt, _>| {
                let seq = match result.unwrap().change {
                    overlaid::store::Change::Overlay(_, Some(stored)) => stored.seq,
                    overlaid::store::Change::Signal(stored) => stored.seq,
                    other => panic!("{other:?}"),
                };
                acknowledged.lock().unwrap().push((disk.steps_count(), seq));
            };
            writer.submit(operation, Box::new(acknowledge)).unwrap();
        }
        if group > 0 {
            queued.send(()).unwrap();
        }
        is_committed.recv().unwrap();
    }
    drop(queued);
    writer.stop();
    drop((writer, store));
    let (states, acknowledged) = (states.lock().unwrap().clone(), acknowledged.lock().unwrap().clone());
    assert_eq!(states.len(), groups + 1, "each group is one commit");
    Run { before, steps: disk.steps(), states, acknowledged }
}

/// A start notes in the header that the file is open, and syncs that, before a page is written: whatever a cut leaves
/// of the pages then, the next start does not take the file for closed.
#[test]
fn a_start_notes_that_the_file_is_open_before_anything_else_is_written() {
    let disk = MemoryDisk::with(closed());
    disk.record();
    let store = open(&disk);
    state(&store).unwrap();
    let steps = disk.steps();
    let at_start: Vec<_> = steps.iter().filter(|step| matches!(step, Step::Write(..))).collect();
    let [Step::Write(0, header)] = at_start[..] else { panic!("{} writes", at_start.len()) };
    // In a whole file this byte has the flag of one that was closed.
    let is_open = |byte: u8| byte & 2 != 0;
    assert!(is_open(header[9]));
    assert!(steps.last() == Some(&Step::Sync));

    let writer = Writer::start(Arc::clone(&store), |_| {}).unwrap();
    for balance in 2..5 {
        let before = disk.steps_count();
        write_to(&writer, long_overlay(1, balance, 0)).unwrap();
        let steps = disk.steps().split_off(before);
        let syncs = steps.iter().filter(|step| **step == Step::Sync).count();
        // The first commit may have to make the file longer.
        assert!(syncs == 1 || balance == 2, "a commit is one sync, not {syncs}");
        assert!(steps.last() == Some(&Step::Sync));
    }
}

/// How much of what was written since the last sync a cut leaves.
#[derive(Clone, Copy)]
enum Luck {
    Nothing,
    Everything,
    /// One sector in so many is lost, or is all that is kept.
    MostOf(usize),
    LittleOf(usize),
}

impl Luck {
    /// The first two cuts at a step are the extremes, which need no second try.
    fn of(round: usize, dice: &mut Dice) -> Self {
        match round {
            0 => Self::Nothing,
            1 => Self::Everything,
            _ if dice.below(2) == 0 => Self::MostOf(2 + dice.below(8)),
            _ => Self::LittleOf(2 + dice.below(8)),
        }
    }

    fn keeps(self, dice: &mut Dice) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::MostOf(sectors) => dice.below(sectors) != 0,
            Self::LittleOf(sectors) => dice.below(sectors) == 0,
        }
    }
}

/// What a cut leaves: `synced`, and of each sector that was written since, all or nothing. Also which were kept.
fn cut(synced: &[u8], since: &[Step], luck: Luck, dice: &mut Dice) -> (Vec<u8>, Vec<bool>) {
    let mut image = synced.to_vec();
    let mut kept = Vec::new();
    let mut keeps = || {
        kept.push(luck.keeps(dice));
        kept.last() == Some(&true)
    };
    for step in since {
        match step {
            Step::SetLength(length) => {
                if keeps() {
                    image.resize(*length, 0);
                }
            }
            Step::Write(offset, data) => {
                for (number, sector) in data.chunks(SECTOR).enumerate() {
                    let at = offset + number * SECTOR;
                    if keeps() {
                        if image.len() < at + sector.len() {
                            image.resize(at + sector.len(), 0);
                        }
                        image[at..at + sector.len()].copy_from_slice(sector);
                    }
                }
            }
            Step::Sync => unreachable!("a sync ends the list"),
        }
    }
    (image, kept)
}

impl Run {
    /// Cuts at every step, at most `times` each; returns how many different images that were.
    fn cut_everywhere(&self, seed: u64, times: usize) -> usize {
        let images = AtomicUsize::new(0);
        // The disk as of the last sync before each step, once per sync.
        let mut synced = vec![(0, self.before.clone())];
        let mut now = self.before.clone();
        for (index, step) in self.steps.iter().enumerate() {
            match step {
                Step::SetLength(length) => now.resize(*length, 0),
                Step::Write(offset, data) => now[*offset..offset + data.len()].copy_from_slice(data),
                Step::Sync => synced.push((index + 1, now.clone())),
            }
        }
        in_parallel(self.steps.len() + 1, |steps_done| {
            let (from, base) = &synced[synced.partition_point(|(from, _)| *from <= steps_done) - 1];
            let acknowledged = self.acknowledged.iter().filter(|(steps, _)| *steps <= steps_done).map(|(_, seq)| *seq);
            let acknowledged = acknowledged.max().unwrap_or(0);
            let mut dice = Dice::new(seed ^ (steps_done as u64) << 20);
            let mut tried = BTreeSet::new();
            for round in 0..times {
                let luck = Luck::of(round, &mut dice);
                let (image, kept) = cut(base, &self.steps[*from..steps_done], luck, &mut dice);
                if !tried.insert(kept) {
                    continue;
                }
                let store = Store::open_on(MemoryDisk::with(image), Path::new("in memory"))
                    .unwrap_or_else(|error| panic!("seed {seed}, step {steps_done}, round {round}: {error:?}"));
                let (seq, hash) = state(&store).unwrap();
                assert!(
                    seq >= acknowledged,
                    "seed {seed}, step {steps_done}: {acknowledged} was acknowledged, {seq} is there"
                );
                assert_eq!(self.states.get(&seq), Some(&hash), "seed {seed}, step {steps_done}: torn at change {seq}");
                images.fetch_add(1, Ordering::Relaxed);
            }
        });
        images.into_inner()
    }
}

#[test]
fn a_seed_repeats_a_run_step_by_step() {
    // The bytes differ in the number that each store draws for its run.
    let steps = |seed| {
        let place = |step: &Step| match step {
            Step::Write(offset, data) => [1, *offset, data.len()],
            Step::SetLength(length) => [2, *length, 0],
            Step::Sync => [3, 0, 0],
        };
        let run = record(seed, 12, SHORT);
        (run.steps.iter().map(place).collect::<Vec<_>>(), run.acknowledged)
    };
    let seed = seed() & !1;
    assert!(steps(seed) == steps(seed));
    assert!(steps(seed) != steps(seed + 2));
}

/// A disk in the middle of a run.
struct Progress {
    now: Vec<u8>,
    /// As of the last sync, and what has been done since.
    synced: Vec<u8>,
    since: Vec<Step>,
}

impl Progress {
    fn before(run: &Run) -> Self {
        Self { now: run.before.clone(), synced: run.before.clone(), since: Vec::new() }
    }

    fn go_on(&mut self, step: &Step) {
        match step {
            Step::SetLength(length) => self.now.resize(*length, 0),
            Step::Write(offset, data) => self.now[*offset..offset + data.len()].copy_from_slice(data),
            Step::Sync => {
                self.synced.clone_from(&self.now);
                self.since.clear();
                return;
            }
        }
        self.since.push(step.clone());
    }
}

/// A power cut loses nothing that was acknowledged, and shows nothing that was half done.
#[test]
fn no_power_cut_loses_or_tears_what_was_acknowledged() {
    cut_many(effort(10_000), 12);
}

#[test]
#[ignore = "takes long; see the head of this file"]
fn campaign() {
    cut_many(1_000_000, 60);
}

fn cut_many(count: usize, times_each: usize) {
    let (seed, watch) = (seed(), Stopwatch::start());
    let (mut images, mut round) = (0, 0);
    while images < count {
        round += 1;
        let run = if round % 4 == 0 { record(seed + round, 24, LONG) } else { record(seed + round, 12, SHORT) };
        images += run.cut_everywhere(seed + round, times_each);
        if round % 50 == 0 {
            println!("{images} images so far, {:.0} s", watch.seconds());
        }
    }
    println!("{images} images of {round} runs, none lost or torn anything; {:.0} s", watch.seconds());
}

/// Opening after a cut writes too, and may be cut in its turn.
#[test]
fn a_cut_while_recovering_from_a_cut_loses_nothing_either() {
    let seed = seed();
    let run = record(seed, 4, SHORT);
    let mut dice = Dice::new(seed);
    let mut progress = Progress::before(&run);
    let stop = run.steps.len() * 3 / 4;
    run.steps[..stop].iter().for_each(|step| progress.go_on(step));
    let Progress { synced, since, .. } = progress;
    for _ in 0..effort(20) {
        let luck = Luck::of(2, &mut dice);
        let disk = MemoryDisk::with(cut(&synced, &since, luck, &mut dice).0);
        let before = disk.bytes();
        disk.record();
        let (seq, hash) = state(&open(&disk)).unwrap();
        let again =
            Run { before, steps: disk.steps(), states: BTreeMap::from([(seq, hash)]), acknowledged: vec![(0, seq)] };
        again.cut_everywhere(dice.roll(), 4);
    }
}

/// A kill leaves what was written and not yet synced to be seen by the next process, and the power may go in that one:
/// what it has shown or built upon must not be lost then.
#[test]
fn a_cut_after_a_kill_loses_nothing_either() {
    let seed = seed();
    let run = record(seed, 6, SHORT);
    let mut progress = Progress::before(&run);
    let mut images = 0;
    for (done, step) in run.steps.iter().enumerate() {
        progress.go_on(step);
        let Progress { now, synced, since } = &progress;
        // A commit writes many pages; a kill between two of them is like one between two others.
        if matches!(step, Step::Sync) || done % 5 != 0 {
            continue;
        }
        let disk = MemoryDisk::with(now.clone());
        disk.record();
        let store = open(&disk);
        let mut acknowledged: Vec<_> =
            run.acknowledged.iter().filter(|(steps, _)| *steps <= done + 1).map(|(_, seq)| (0, *seq)).collect();
        let mut states = run.states.clone();
        let (seq, hash) = state(&store).unwrap();
        assert_eq!(states.get(&seq), Some(&hash));
        // From here on it has been shown.
        acknowledged.push((since.len() + disk.steps_count(), seq));
        let writer = Writer::start(Arc::clone(&store), |_| {}).unwrap();
        states.retain(|known, _| *known <= seq);
        for balance in 0..2 {
            write_to(&writer, long_overlay(100, balance, 0)).unwrap();
            let (seq, hash) = state(&store).unwrap();
            states.insert(seq, hash);
            acknowledged.push((since.len() + disk.steps_count(), seq));
        }
        writer.stop();
        drop((writer, store));
        let steps = since.iter().cloned().chain(disk.steps()).collect();
        images += Run { before: synced.clone(), steps, states, acknowledged }.cut_everywhere(seed, 6);
    }
    println!("{images} images");
}

/// A copy by a program that goes through the file once, at any speed, and that nobody waits for: it is one committed
/// state, or is refused. The state may be older than the beginning of the copy: where the newest commit is torn, the
/// engine shows the one before it.
#[test]
fn a_copy_that_nobody_waits_for_is_right_or_refused() {
    let seed = seed();
    let (right, older, refused) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let runs: Vec<_> =
        (seed..seed + effort(2) as u64).flat_map(|seed| [record(seed, 24, SHORT), record(seed, 24, LONG)]).collect();
    in_parallel(effort(1_500), |number| {
        let run = &runs[number % runs.len()];
        let mut dice = Dice::new(seed ^ (number as u64) << 20);
        let begun = dice.below(run.steps.len());
        let acknowledged = run.acknowledged.iter().filter(|(steps, _)| *steps <= begun).map(|(_, seq)| *seq).max();
        let mut now = run.before.clone();
        let mut done = 0;
        let mut go_on_to = |until: usize, now: &mut Vec<u8>| {
            while done < until.min(run.steps.len()) {
                match &run.steps[done] {
                    Step::SetLength(length) => now.resize(*length, 0),
                    Step::Write(offset, data) => now[*offset..offset + data.len()].copy_from_slice(data),
                    Step::Sync => {}
                }
                done += 1;
            }
        };
        let (pieces, pause) = ([1, 8, 64, 256][dice.below(4)], [2, 10, 60, 300][dice.below(4)]);
        let mut time = begun;
        let mut copy = Vec::new();
        loop {
            go_on_to(time, &mut now);
            let end = now.len().min(copy.len() + pieces * SECTOR);
            if end <= copy.len() {
                break;
            }
            copy.extend_from_slice(&now[copy.len()..end]);
            if dice.below(3) == 0 {
                time += dice.below(pause);
            }
        }
        let place = format!("seed {seed}, number {number}");
        match Store::open_on(MemoryDisk::with(copy), Path::new("in memory")).and_then(|store| state(&store)) {
            Ok((seq, hash)) => {
                assert_eq!(run.states.get(&seq), Some(&hash), "{place}: torn at change {seq}");
                let counter = if Some(seq) >= acknowledged { &right } else { &older };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let (right, older, refused) = (right.into_inner(), older.into_inner(), refused.into_inner());
    println!("{right} copies are right, {older} older than their beginning, {refused} refused");
    assert!(right > 0 && refused > 0);
}
