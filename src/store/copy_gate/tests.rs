//! Tests of the copy gate.

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The counting alone: no file, no process, and a clock that is a number.
mod counting {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    #[test]
    fn an_opener_is_waited_for_until_it_closes() {
        let start = now();
        let mut openers = Openers::default();
        openers.opened(start + LIMIT);
        assert_eq!(openers.expose(start), start + LIMIT);
        assert!(openers.hold(start));
        openers.closed(start);
        assert!(!openers.hold(start));
    }

    #[test]
    fn whoever_is_left_after_a_close_has_the_latest_deadline() {
        let start = now();
        let mut openers = Openers::default();
        openers.opened(start + ms(10));
        openers.opened(start + ms(20));
        openers.closed(start);
        assert_eq!(openers.expose(start), start + ms(20));
    }

    #[test]
    fn who_comes_after_the_last_has_gone_does_not_prolong_a_wait() {
        let start = now();
        let mut openers = Openers::default();
        openers.opened(start + LIMIT);
        openers.expose(start);
        openers.closed(start);
        openers.opened(start + LIMIT);
        assert!(!openers.hold(start));
        openers.expose(start);
        assert!(openers.hold(start), "the next transaction would be its second");
    }

    #[test]
    fn a_close_may_be_that_of_who_came_last() {
        let start = now();
        let mut openers = Openers::default();
        openers.opened(start + LIMIT);
        openers.expose(start);
        openers.opened(start + LIMIT);
        openers.closed(start);
        assert!(openers.hold(start));
        openers.closed(start);
        assert!(!openers.hold(start));
    }

    #[test]
    fn a_close_without_an_open_takes_nothing_away() {
        let start = now();
        let mut openers = Openers::default();
        openers.closed(start);
        openers.opened(start + LIMIT);
        openers.expose(start);
        assert!(openers.hold(start));
    }

    #[test]
    fn after_its_deadline_an_opener_is_ignored_and_later_forgotten() {
        let start = now();
        let mut openers = Openers::default();
        openers.opened(start + LIMIT);
        assert_eq!(openers.expose(start + LIMIT), start + LIMIT);
        assert!(!openers.hold(start + LIMIT));
        assert_eq!(openers.deadlines.len(), 1);
        openers.forget(start + LIMIT + FORGET_AFTER);
        assert_eq!(openers.deadlines.len(), 0);
    }

    /// The visits renew the latest deadline each time; only the earliest ever runs out.
    #[test]
    fn one_who_stays_beside_many_short_visits_is_forgotten_too() {
        let start = now();
        let mut openers = Openers::default();
        openers.opened(start + LIMIT);
        let mut time = start;
        while time < start + LIMIT + FORGET_AFTER {
            openers.opened(time + LIMIT);
            openers.closed(time);
            openers.expose(time);
            assert!(openers.hold(time));
            time += LIMIT / 2;
        }
        openers.opened(time + LIMIT);
        openers.closed(time);
        openers.expose(time);
        assert!(!openers.hold(time));
    }

    #[test]
    fn an_ignored_opener_is_the_first_to_be_taken_for_closed() {
        let start = now();
        let mut openers = Openers::default();
        openers.opened(start);
        openers.opened(start + LIMIT);
        openers.expose(start);
        openers.closed(start);
        assert!(openers.hold(start), "the close may have been that of the ignored one");
    }

    #[test]
    fn when_events_were_lost_everybody_gets_one_limit_and_no_close_is_believed() {
        let start = now();
        let mut openers = Openers { unsure_until: Some(start + LIMIT), ..Openers::default() };
        openers.opened(start + ms(5) + LIMIT);
        openers.closed(start + ms(6));
        assert_eq!(openers.expose(start + ms(7)), start + ms(5) + LIMIT);
        assert!(openers.hold(start + ms(7)));
        openers.closed(start + LIMIT);
        assert!(!openers.hold(start + LIMIT));
    }

    #[test]
    fn no_more_openers_are_remembered_than_there_is_room_for() {
        let start = now();
        let mut openers = Openers::default();
        (0..2 * OPENERS_MAX).for_each(|_| openers.opened(start));
        assert_eq!(openers.deadlines.len(), OPENERS_MAX);
    }

    /// Numbers that look random and are the same in every run (Marsaglia's xorshift).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }
    }

    /// An opener as it really is, which the gate cannot know.
    struct Copier {
        deadline: Instant,
        transactions: usize,
        /// False if its open was among the lost events. It closes within the limit, as the one
        /// kind of opener that may cost another its protection is who was never seen and stays.
        seen: bool,
    }

    /// Copiers that come and go at random, and the gate's opinion of them.
    struct World {
        dice: Dice,
        time: Instant,
        openers: Openers,
        copiers: Vec<Copier>,
    }

    impl World {
        fn come(&mut self, seen: bool) {
            self.copiers.push(Copier { deadline: self.time + LIMIT, transactions: 0, seen });
        }

        /// Returns whether there was anybody to go.
        fn go(&mut self) -> bool {
            let who = self.dice.below(self.copiers.len().max(1) as u64);
            let who = usize::try_from(who).unwrap();
            let somebody = who < self.copiers.len();
            if somebody {
                self.copiers.swap_remove(who);
            }
            somebody
        }

        fn something_happens(&mut self) {
            match self.dice.below(160) {
                0..40 => {
                    self.come(true);
                    self.openers.opened(self.time + LIMIT);
                }
                40..100 => {
                    if self.go() {
                        self.openers.closed(self.time);
                    }
                }
                100 => {
                    self.go();
                    self.come(false);
                    self.openers.unsure_until = Some(self.time + LIMIT);
                }
                _ => self.time += ms(self.dice.below(20)),
            }
            let time = self.time;
            self.copiers.retain(|copier| copier.seen || time < copier.deadline);
        }

        fn transaction(&mut self) {
            for copier in &mut self.copiers {
                copier.transactions += 1;
                assert!(copier.transactions < 2 || copier.deadline <= self.time, "a copy was torn");
            }
        }
    }

    /// The promise itself, against a model that knows who is who: whatever comes and goes, no
    /// copy within its limit meets a second transaction, and no wait outlasts the limit.
    #[test]
    fn no_copy_within_its_limit_ever_meets_two_transactions() {
        let mut met = 0;
        for seed in 1..=1_000 {
            let dice = Dice(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed));
            let mut world = World { dice, time: now(), openers: Openers::default(), copiers: Vec::new() };
            for _ in 0..60 {
                world.something_happens();
                let until = world.openers.expose(world.time);
                assert!(until <= world.time + LIMIT);
                while world.openers.hold(world.time) && world.time < until {
                    world.something_happens();
                }
                world.transaction();
                met += world.copiers.len();
            }
        }
        assert!(met > 10_000, "hardly a copy met a transaction: {met} of 60,000");
    }
}

/// Real files, held open by real processes.
#[cfg(target_os = "linux")]
mod files {
    use std::fs::{self, File, OpenOptions};
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};
    use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};

    use tempfile::TempDir;

    use super::*;

    /// Longer than any test: a wait that ends, ended because the file was closed.
    const LONG: Duration = Duration::from_secs(20);
    /// Short enough to wait for.
    const SHORT: Duration = Duration::from_millis(60);
    static GO_ON: AtomicBool = AtomicBool::new(false);

    /// A process that is being started has the files of this one too, for a moment. So that the
    /// processes of one test do not hold the files of another open, they take turns.
    static TURN: Mutex<()> = Mutex::new(());

    /// Dropped in this order: the folder first, then the turn.
    struct Folder(TempDir, #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

    impl Folder {
        fn path(&self) -> &Path {
            self.0.path()
        }
    }

    fn a_file() -> (Folder, PathBuf) {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("overlaid.redb");
        fs::write(&file, "content").unwrap();
        (Folder(folder, turn), file)
    }

    fn own(file: &Path) -> File {
        OpenOptions::new().read(true).write(true).open(file).unwrap()
    }

    /// A process that has the file open from when this is made until it is told to go.
    struct Holder(Child);

    impl Holder {
        fn of(file: &Path) -> Self {
            Self::running(r#"exec 3<"$0"; echo open; read -r _"#, file)
        }

        fn running(script: &str, file: &Path) -> Self {
            Self::started(Command::new("sh").args(["-c", script]).arg(file))
        }

        fn started(command: &mut Command) -> Self {
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "open\n");
            Self(child)
        }

        /// Closes its input, on which it exits; by then its files are closed.
        fn leave(mut self) {
            self.0.wait().unwrap();
        }
    }

    #[test]
    fn passes_at_once_when_nobody_has_the_file_open() {
        let (_folder, file) = a_file();
        let mut gate = CopyGate::new(&file, LONG).unwrap();
        assert!(gate.is_clear() && gate.is_watching());
        assert_eq!(gate.wait(&GO_ON), Waited::default());
        Holder::of(&file).leave();
        assert!(gate.is_clear());
        assert_eq!(gate.wait(&GO_ON).time, Duration::ZERO);
    }

    #[test]
    fn waits_until_the_other_process_has_closed_the_file() {
        let (_folder, file) = a_file();
        let mut gate = CopyGate::new(&file, LONG).unwrap();
        let holder = Holder::of(&file);
        assert!(!gate.is_clear());
        thread::scope(|scope| {
            let (done, is_done) = mpsc::channel();
            scope.spawn(move || done.send(gate.wait(&GO_ON)).unwrap());
            assert!(is_done.recv_timeout(SHORT).is_err(), "did not wait");
            holder.leave();
            let waited = is_done.recv().unwrap();
            assert!(waited.time < LONG && waited.overran == 0, "{waited:?}");
        });
    }

    /// Without the watch on the folder the kernel reports all these opens as one.
    #[test]
    fn ten_opens_in_a_row_are_ten() {
        let (_folder, file) = a_file();
        let mut gate = CopyGate::new(&file, SHORT).unwrap();
        let mut holders: Vec<_> = (0..10).map(|_| Holder::of(&file)).collect();
        for left in (1..10).rev() {
            holders.pop().unwrap().leave();
            assert!(!gate.is_clear(), "{left} are left");
        }
        assert_eq!(gate.wait(&GO_ON).overran, 1);
        holders.pop().unwrap().leave();
        assert!(gate.is_clear());
    }

    #[test]
    fn closes_in_a_row_are_counted_one_by_one() {
        let (_folder, file) = a_file();
        let mut gate = CopyGate::new(&file, LONG).unwrap();
        let holders: Vec<_> = (0..10).map(|_| Holder::of(&file)).collect();
        assert!(!gate.is_clear());
        holders.into_iter().for_each(Holder::leave);
        assert!(gate.is_clear());
    }

    #[test]
    fn who_overruns_the_limit_is_reported_once_and_then_ignored() {
        let (_folder, file) = a_file();
        let mut gate = CopyGate::new(&file, SHORT).unwrap();
        let holder = Holder::of(&file);
        let waited = gate.wait(&GO_ON);
        assert!(waited.time >= SHORT && waited.overran == 1, "{waited:?}");
        assert_eq!(gate.wait(&GO_ON), Waited::default());
        assert!(!gate.is_clear(), "no compaction, though");
        holder.leave();
        assert!(gate.is_clear());
    }

    #[test]
    fn copies_back_to_back_do_not_starve_the_writer() {
        let (_folder, file) = a_file();
        let mut gate = CopyGate::new(&file, LONG).unwrap();
        let script = r#"echo open; while [ -e "$0" ]; do cat "$0" >/dev/null; done 2>/dev/null"#;
        let copies = Holder::running(script, &file);
        let waits: Vec<_> = (0..50).map(|_| gate.wait(&GO_ON)).collect();
        assert!(waits.iter().all(|waited| waited.overran == 0 && waited.time < LONG / 4), "{waits:?}");
        fs::remove_file(&file).unwrap();
        copies.leave();
    }

    #[test]
    fn a_descriptor_passed_on_counts_until_its_last_user_is_gone() {
        let (_folder, file) = a_file();
        let mut gate = CopyGate::new(&file, LONG).unwrap();
        let script = r#"exec 3<"$0" 4<&0; sh -c 'echo open; read -r _' <&4 &"#;
        let mut shell = Holder::running(script, &file);
        let input = shell.0.stdin.take();
        shell.leave();
        assert!(!gate.is_clear(), "the shell has gone, its child has not");
        drop(input);
        assert!(gate.wait(&GO_ON).time < LONG);
        assert!(gate.is_clear());
    }

    #[test]
    fn own_opens_and_closes_are_not_counted() {
        let (_folder, file) = a_file();
        let mut database = own(&file);
        let mut gate = CopyGate::new(&file, LONG).unwrap();
        for _ in 0..3 {
            drop(database);
            assert!(gate.is_clear());
            database = own(&file);
            gate.reopened().unwrap();
            assert!(gate.is_clear());
            drop(database);
            database = own(&file);
            gate.reopened().unwrap();
            assert!(gate.is_clear());
        }
    }

    #[test]
    fn opening_the_database_again_does_not_hide_a_copy() {
        let (_folder, file) = a_file();
        let mut database = own(&file);
        let mut gate = CopyGate::new(&file, SHORT).unwrap();
        let holder = Holder::of(&file);
        assert!(!gate.is_clear());
        drop(database);
        database = own(&file);
        gate.reopened().unwrap();
        assert_eq!(gate.wait(&GO_ON).overran, 1);
        drop(database);
        assert!(!gate.is_clear());
        holder.leave();
        assert!(gate.is_clear());
    }

    #[test]
    fn a_short_visit_just_before_an_own_open_leaves_no_trace() {
        let (_folder, file) = a_file();
        let mut gate = CopyGate::new(&file, LONG).unwrap();
        Holder::of(&file).leave();
        let _database = own(&file);
        gate.reopened().unwrap();
        assert!(gate.is_clear());
    }

    #[test]
    fn an_old_handle_may_be_closed_late() {
        let (_folder, file) = a_file();
        let old = own(&file);
        let mut gate = CopyGate::new(&file, SHORT).unwrap();
        let new = own(&file);
        gate.reopened().unwrap();
        let holder = Holder::of(&file);
        drop(old);
        assert_eq!(gate.wait(&GO_ON).overran, 1);
        holder.leave();
        assert!(gate.is_clear());
        drop(new);
        assert!(gate.is_clear());
    }

    #[test]
    fn a_copy_begun_before_the_gate_is_found() {
        let (_folder, file) = a_file();
        let holder = Holder::of(&file);
        let mut gate = CopyGate::new(&file, SHORT).unwrap();
        assert_eq!(gate.wait(&GO_ON).overran, 1);
        holder.leave();
        assert!(gate.is_clear());
    }

    /// The server is up before its writer has gone over the processes.
    #[test]
    fn whoever_opens_the_file_before_the_others_are_counted_is_not_overlooked() {
        let (_folder, file) = a_file();
        let before = Holder::of(&file);
        let mut gate = CopyGate::counting_later(&file, SHORT).unwrap();
        let (after, gone) = (Holder::of(&file), Holder::of(&file));
        gone.leave();
        before.leave();
        assert!(!gate.is_clear(), "one is left");
        assert!(gate.wait(&GO_ON).overran >= 1);
        assert_eq!(gate.wait(&GO_ON), Waited::default());
        after.leave();
    }

    /// Here it is a program that runs from the file, and so has no descriptor of it; another user's processes are as hidden.
    #[test]
    fn a_close_by_somebody_who_was_never_counted_does_not_take_the_place_of_one_who_is_hidden() {
        let (_folder, file) = a_file();
        assert!(Command::new("cp").arg("/bin/sh").arg(&file).status().unwrap().success());
        assert!(Command::new("chmod").arg("+x").arg(&file).status().unwrap().success());
        let before = Holder::of(&file);
        let mut gate = CopyGate::counting_later(&file, SHORT).unwrap();
        let hidden = Holder::started(Command::new(&file).args(["-c", "echo open; read -r _"]));
        before.leave();
        assert!(!gate.is_clear(), "one is left");
        assert!(gate.wait(&GO_ON).overran >= 1);
        hidden.leave();
    }

    #[test]
    fn another_name_of_the_file_is_the_same_file() {
        let (_folder, file) = a_file();
        let elsewhere = tempfile::tempdir().unwrap();
        let mut gate = CopyGate::new(&file, LONG).unwrap();
        let link = elsewhere.path().join("hard link");
        fs::hard_link(&file, &link).unwrap();
        let symbolic = elsewhere.path().join("symbolic link");
        std::os::unix::fs::symlink(&file, &symbolic).unwrap();
        let moved = elsewhere.path().join("new name");
        fs::rename(&file, &moved).unwrap();
        fs::rename(&moved, &file).unwrap();
        for name in [link, symbolic, file] {
            let holder = Holder::of(&name);
            assert!(!gate.is_clear(), "{}", name.display());
            holder.leave();
            assert!(gate.is_clear(), "{}", name.display());
        }
    }

    #[test]
    fn a_gate_made_for_a_symbolic_link_watches_what_it_leads_to() {
        let (_folder, file) = a_file();
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut gate = CopyGate::new(&link, LONG).unwrap();
        let holders = [Holder::of(&file), Holder::of(&file)];
        for holder in holders {
            assert!(!gate.is_clear());
            holder.leave();
        }
        assert!(gate.is_clear());
    }

    #[test]
    fn other_files_in_the_folder_do_not_matter() {
        let (folder, file) = a_file();
        let mut gate = CopyGate::new(&file, LONG).unwrap();
        let other = folder.path().join("other");
        fs::write(&other, "").unwrap();
        let holder = Holder::of(&other);
        fs::read_dir(folder.path()).unwrap().for_each(drop);
        assert!(gate.is_clear());
        holder.leave();
    }

    #[test]
    fn a_replaced_file_is_followed_once_the_database_was_opened_again() {
        let (folder, file) = a_file();
        let database = own(&file);
        let mut gate = CopyGate::new(&file, LONG).unwrap();
        let restored = folder.path().join("restored");
        fs::write(&restored, "restored").unwrap();
        fs::rename(&file, folder.path().join("kept")).unwrap();
        fs::rename(&restored, &file).unwrap();
        drop(database);
        let _database = own(&file);
        gate.reopened().unwrap();
        assert!(gate.is_watching() && gate.is_clear());
        let holder = Holder::of(&file);
        assert!(!gate.is_clear());
        holder.leave();
        assert!(gate.is_clear());
    }

    #[test]
    fn a_file_that_is_gone_holds_nobody_up_and_is_told() {
        let (_folder, file) = a_file();
        let mut gate = CopyGate::new(&file, LONG).unwrap();
        let holder = Holder::of(&file);
        assert!(!gate.is_clear());
        fs::remove_file(&file).unwrap();
        assert!(gate.is_watching() && !gate.is_clear(), "the inode is still there");
        holder.leave();
        assert!(gate.wait(&GO_ON).time < LONG);
        assert!(!gate.is_watching() && gate.is_clear());
        assert!(gate.reopened().is_err());
        fs::write(&file, "again").unwrap();
        assert!(!gate.is_watching());
        gate.reopened().unwrap();
        assert!(gate.is_watching());
    }

    #[test]
    fn a_queue_that_overflowed_costs_one_limit() {
        let (_folder, file) = a_file();
        let mut gate = CopyGate::new(&file, SHORT).unwrap();
        let room = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let room: usize = room.trim().parse().unwrap();
        // Each open makes two events, each close two.
        (0..=room / 4).for_each(|_| drop(File::open(&file).unwrap()));
        let holder = Holder::of(&file);
        let waited = gate.wait(&GO_ON);
        assert!(waited.events_lost && waited.time >= SHORT && waited.time < LONG, "{waited:?}");
        assert_eq!(gate.wait(&GO_ON), Waited::default());
        holder.leave();
        assert!(gate.is_clear());
        let holder = Holder::of(&file);
        assert!(!gate.is_clear(), "and then it counts again");
        holder.leave();
        assert!(gate.is_clear());
    }

    #[test]
    fn a_wait_ends_when_told_to_stop() {
        let (_folder, file) = a_file();
        let mut gate = CopyGate::new(&file, LONG).unwrap();
        let holder = Holder::of(&file);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.wait(&stop));
            stop.store(true, Ordering::Relaxed);
            let waited = waiting.join().unwrap();
            assert!(waited.time < LONG && waited.overran == 0, "{waited:?}");
        });
        holder.leave();
    }

    #[test]
    fn a_limit_of_zero_turns_the_gate_off() {
        let (_folder, file) = a_file();
        let mut gate = CopyGate::new(&file, Duration::ZERO).unwrap();
        let holder = Holder::of(&file);
        assert!(gate.is_clear() && !gate.is_watching());
        assert_eq!(gate.wait(&GO_ON), Waited::default());
        gate.reopened().unwrap();
        assert!(!gate.is_watching());
        holder.leave();
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = CopyGate::new(&folder.path().join("absent.redb"), LONG).unwrap_err();
        assert!(error.to_string().contains("absent.redb"), "{error}");
        assert!(error.to_string().contains("the file cannot be found"), "{error}");
    }
}
