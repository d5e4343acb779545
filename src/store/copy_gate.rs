//! The copy gate: makes a plain `cp` of the live database file come out whole.
//!
//! redb writes its file in place. Until a transaction has ended it leaves alone every page that the
//! commit before it needs, or a power cut would lose that commit; only the next transaction may use
//! them again. So a copy survives one transaction running beside it, and the second tears it. An
//! entry of the `log` goes where nothing is that the file needs. A copy may have it in part, which
//! is to have it not. The writer therefore calls [`CopyGate::wait`] before *every* commit, and
//! before closing the database, which writes too. `wait` reads what inotify has to say of the file:
//!
//! - Nobody else has it open: go. Whoever opens it a moment later meets this one transaction, and
//!   is seen before the next. That is why looking first, without a lock, is enough.
//! - Somebody has: wait until all who may have met a transaction have closed it. Those who come
//!   meanwhile have met none and do not prolong the wait, so copies back to back cannot starve the
//!   writer, and no wait is longer than the limit.
//! - Somebody keeps it open longer than the limit: ignored from then on. Such a copy may be torn,
//!   which redb's checksums then show.
//!
//! A transaction that fills the tables from the log goes on beside later commits, which are entries
//! of the log. So a copy may meet its end and one entry, and still that is one transaction: another
//! one is begun only after a `wait` at whose beginning none was under way. The same goes for what an
//! entry may overwrite: the segment that it begins was free, because the tables had all of it on the
//! disk, before the `wait`. So a copy either has the tables with those rows or the segment with them.
//!
//! inotify says "opened" and "closed", never who. So openers are counted, and doubts are settled
//! towards waiting:
//!
//! - A close is taken for the oldest opener's, so that whoever is left has the latest deadline, and
//!   for one who met no transaction while there is one. Beside somebody ignored, or where copies
//!   overlap without a pause, each transaction may therefore cost the full limit.
//! - The kernel merges an event into an equal, unread one directly before it. Ten opens in a row
//!   would be one, and the first close would look like the last. So the folder is watched as well:
//!   its events are not counted, they stand between those of the file. Two opens at the very same
//!   instant on two processors can still merge (one pair in seven of processes started together),
//!   as can opens through a hard link in another folder. The longer copy is then not protected.
//! - A count too high, for whatever reason, heals: a minute after its limit an opener is forgotten.
//!   If it did close later, that may cost another copy its protection.
//! - If the queue overflowed the count is in doubt: the writer waits one limit, and until then no
//!   close is believed. An idle writer should call [`CopyGate::is_clear`] every minute or so, or
//!   some 4,000 unread visits overflow it.
//!
//! This process's own opens and closes are told apart by its descriptors in `/proc/self/fd`. A close
//! may come at any time, as from a reader that still held the old handle; of an open the gate must
//! be told, by [`CopyGate::reopened`]. The gate itself never opens the file.
//!
//! Events belong to the inode and to the open file, not to a name or a descriptor: another name is
//! seen; a duplicated or inherited descriptor, and a memory map, count until the last one is gone.
//!
//! Not protected: a copy made through several opens; one begun before the gate by a process whose
//! `/proc` entry we may not read; one that outlasts its limit and began beside another that did, as no mark is written there (`mark`) by
//! which it would be known for torn; readers on another machine, in another layer of an overlay file
//! system, or below the file system.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use watch::{Seen, Watch};

/// A longer limit is a mistake in the configuration: the writer would stand for hours.
const LIMIT_MAX: Duration = Duration::from_hours(1);

/// When an opener that was not seen to close is forgotten, counted from its deadline.
///
/// Until then every visit to the file may cost the writer a full limit, so not much longer; but a
/// copy only somewhat slower than the limit should have ended.
const FORGET_AFTER: Duration = Duration::from_mins(1);

/// Openers remembered at once; beyond it the oldest is forgotten. Far more than copy at once.
const OPENERS_MAX: usize = 1024;

/// How often a waiting writer looks again. One look costs under a microsecond.
const TICK: Duration = Duration::from_millis(1);

/// Holds the writer back while another process may be copying the database file.
///
/// Belongs to the writer thread. See the module for what is promised.
#[derive(Debug)]
pub struct CopyGate {
    file: PathBuf,
    /// Zero: the gate is off.
    limit: Duration,
    /// `None`: there is nothing to watch, everything passes.
    watch: Option<Watch>,
    /// Whoever had the file open before it was watched is yet to be counted.
    is_to_count: bool,
    openers: Openers,
    /// Reused between calls, so that looking does not allocate.
    seen: Vec<Seen>,
}

/// What a [`CopyGate::wait`] came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct Waited {
    /// How long the writer stood; zero if it did not.
    pub time: Duration,
    /// Openers that, for all we know, still have the file open and are ignored from now on.
    pub overran: usize,
    /// Events were lost, so that the wait was a precaution of one whole limit.
    pub events_lost: bool,
}

/// How long writes have waited for copies of the file, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateWaits {
    /// Commits that waited.
    pub count: u64,
    /// How long they waited together, in microseconds.
    pub total_us: u64,
    /// The longest wait, in microseconds.
    pub longest_us: u64,
    /// Waits that ended at the limit: copies that took longer are not protected.
    pub overran: u64,
}

/// What [`GateWaits`] is read from.
#[derive(Debug, Default)]
pub(super) struct WaitCounters {
    count: AtomicU64,
    total_us: AtomicU64,
    longest_us: AtomicU64,
    overran: AtomicU64,
}

impl WaitCounters {
    /// Counts and logs one wait.
    pub(super) fn count(&self, waited: Waited) {
        let time_us = u64::try_from(waited.time.as_micros()).unwrap_or(u64::MAX);
        if time_us == 0 {
            return;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(time_us, Ordering::Relaxed);
        self.longest_us.fetch_max(time_us, Ordering::Relaxed);
        self.overran.fetch_add(waited.overran as u64, Ordering::Relaxed);
        let Waited { overran, events_lost, .. } = waited;
        if overran > 0 {
            tracing::warn!(
                time_us,
                overran,
                events_lost,
                "writes waited for a copy of the file that took too long and is not protected"
            );
        } else {
            tracing::info!(time_us, events_lost, "writes waited for a copy of the file");
        }
    }

    pub(super) fn get(&self) -> GateWaits {
        GateWaits {
            count: self.count.load(Ordering::Relaxed),
            total_us: self.total_us.load(Ordering::Relaxed),
            longest_us: self.longest_us.load(Ordering::Relaxed),
            overran: self.overran.load(Ordering::Relaxed),
        }
    }
}

/// Why there can be no gate here. The caller goes on with [`CopyGate::off`] and says so.
#[derive(Debug, thiserror::Error)]
#[error("copies of {} made while it is written are not protected: {step}", file.display())]
pub struct Unavailable {
    file: PathBuf,
    step: &'static str,
    source: io::Error,
}

impl CopyGate {
    /// Starts to watch `file`, which must exist; this process may have it open or not.
    ///
    /// `limit` is how long one opener is waited for, at most an hour; zero makes a gate that is off.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the system is not Linux, if inotify refuses (its instances and watches
    /// are limited per user), or if there is no `/proc`.
    pub fn new(file: &Path, limit: Duration) -> Result<Self, Unavailable> {
        let mut gate = Self::counting_later(file, limit)?;
        gate.look(now(), false);
        Ok(gate)
    }

    /// As [`CopyGate::new`], but finds out who has the file open already when it is asked for the first
    /// time: going over all processes takes milliseconds, which a start need not wait for.
    ///
    /// Whoever opens the file until then may count twice, and no close is believed. Both cost a limit
    /// at most, and are rare if a thread asks soon.
    ///
    /// # Errors
    ///
    /// As [`CopyGate::new`].
    pub fn counting_later(file: &Path, limit: Duration) -> Result<Self, Unavailable> {
        let mut gate = Self { file: file.to_owned(), limit: limit.min(LIMIT_MAX), ..Self::off() };
        gate.watch_anew()?;
        Ok(gate)
    }

    /// Returns a gate that is always open and never looks.
    #[must_use]
    pub fn off() -> Self {
        Self {
            file: PathBuf::new(),
            limit: Duration::ZERO,
            watch: None,
            is_to_count: false,
            openers: Openers::default(),
            seen: Vec::new(),
        }
    }

    /// Waits until one write transaction can do no harm to any copy, or until `stop` is set.
    ///
    /// Call it before every write transaction and before closing the database. Takes under a
    /// microsecond if nobody else has the file open, and never longer than the limit.
    pub fn wait(&mut self, stop: &AtomicBool) -> Waited {
        if self.watch.is_none() {
            return Waited::default();
        }
        let began = now();
        self.look(began, false);
        let until = self.openers.expose(began);
        let mut time = began;
        while self.openers.hold(time) && time < until && !stop.load(Ordering::Relaxed) {
            thread::sleep(TICK);
            time = now();
            self.look(time, false);
        }
        let overran = if time < until { 0 } else { self.openers.exposed };
        Waited { time: time.duration_since(began), overran, events_lost: self.openers.unsure(began) }
    }

    /// Returns whether nobody else is known to have the file open, not even somebody ignored.
    ///
    /// Ask before a compaction, which is many transactions that nothing can hold up: a copy begun
    /// in the middle of one is not protected. A gate that is off answers yes.
    pub fn is_clear(&mut self) -> bool {
        let now = now();
        self.look(now, false);
        self.openers.forget(now);
        self.openers.deadlines.is_empty() && !self.openers.unsure(now)
    }

    /// Returns whether the gate sees anything: not if it is off, or the watched file is gone.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.watch.is_some()
    }

    /// Tells the gate that this process has opened the database, and follows it to the file that now
    /// stands at its path: until then the gate stays with the old one, as the old handle does.
    ///
    /// Call it right after each open, on the same thread. If it is the same file as before, nobody
    /// waited for is forgotten. A gate that is off stays off.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] as for [`CopyGate::new`]; until the next call everything passes.
    pub fn reopened(&mut self) -> Result<(), Unavailable> {
        self.look(now(), true);
        if self.watch.as_ref().is_some_and(|watch| watch.is_of(&self.file)) {
            return Ok(());
        }
        self.watch_anew()?;
        self.look(now(), false);
        Ok(())
    }

    fn watch_anew(&mut self) -> Result<(), Unavailable> {
        self.watch = None;
        self.openers = Openers::default();
        if self.limit.is_zero() {
            return Ok(());
        }
        let unavailable = |(step, source)| Unavailable { file: self.file.clone(), step, source };
        self.watch = Some(Watch::new(&self.file).map_err(unavailable)?);
        self.is_to_count = true;
        Ok(())
    }

    /// Takes in what happened to the file since the last look.
    ///
    /// A deadline counts from here, not from the open, which may have been long ago: later is safe.
    fn look(&mut self, now: Instant, opened_here: bool) {
        let Some(watch) = &mut self.watch else { return };
        let is_first = std::mem::take(&mut self.is_to_count);
        let others = if is_first { watch.descriptors_of_others() } else { 0 };
        let now = if is_first { self::now() } else { now };
        (0..others).for_each(|_| self.openers.opened(now + self.limit));
        watch.drain(&mut self.seen, opened_here);
        if is_first {
            // It may be that of somebody who was gone when the others were counted.
            self.seen.retain(|seen| *seen != Seen::Closed);
        }
        for seen in self.seen.drain(..) {
            match seen {
                Seen::Opened => self.openers.opened(now + self.limit),
                Seen::Closed => self.openers.closed(now),
                Seen::Lost => self.openers.unsure_until = Some(now + self.limit),
                Seen::Ended => {
                    self.watch = None;
                    self.openers = Openers::default();
                }
            }
        }
    }
}

/// The openers, as far as opens and closes without names can tell.
#[derive(Debug, Default)]
struct Openers {
    /// The latest deadlines those left can have, ascending: each close took away the earliest.
    deadlines: VecDeque<Instant>,
    /// The earliest they can have, as many and ascending: each close took away the latest.
    earliest: VecDeque<Instant>,
    /// How many of those still within their limit may have met a transaction already.
    exposed: usize,
    /// Events were lost: until then anybody may have the file open, and any close be theirs.
    unsure_until: Option<Instant>,
}

impl Openers {
    fn opened(&mut self, deadline: Instant) {
        if self.deadlines.len() >= OPENERS_MAX {
            self.deadlines.pop_front();
            self.earliest.pop_front();
        }
        self.deadlines.push_back(deadline);
        self.earliest.push_back(deadline);
    }

    fn closed(&mut self, now: Instant) {
        if !self.unsure(now) {
            self.deadlines.pop_front();
            self.earliest.pop_back();
            // All who are left may be exposed: the close may have been that of who came last.
            self.exposed = self.exposed.min(self.deadlines.len());
        }
    }

    fn unsure(&self, now: Instant) -> bool {
        self.unsure_until.is_some_and(|until| now < until)
    }

    /// Marks all within their limit as exposed, and returns when the last of them leaves it.
    fn expose(&mut self, now: Instant) -> Instant {
        self.forget(now);
        self.exposed = self.deadlines.iter().filter(|&&deadline| now < deadline).count();
        let newest = self.deadlines.back().copied();
        newest.max(self.unsure_until).map_or(now, |until| until.max(now))
    }

    /// Returns whether a transaction now might be the second one for somebody within the limit.
    fn hold(&self, now: Instant) -> bool {
        self.exposed > 0 || self.unsure(now)
    }

    /// Forgets who may be long past the limit. The latest deadlines would not do: beside one opener
    /// that stays, short visits renew them again and again.
    fn forget(&mut self, now: Instant) {
        while self.earliest.front().is_some_and(|&deadline| deadline + FORGET_AFTER <= now) {
            self.earliest.pop_front();
            self.deadlines.pop_front();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "measures a wait; no time of day is read or stored")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[cfg(target_os = "linux")]
mod watch {
    //! inotify and `/proc`: the part that only Linux has.

    use std::fs;
    use std::io;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Path, PathBuf};

    use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

    /// What other processes did to the file.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Seen {
        Opened,
        Closed,
        /// The queue overflowed: any number of the others are missing before this.
        Lost,
        /// The file is gone, which takes that nobody has it open. Nothing follows.
        Ended,
    }

    /// Device and inode: the file itself, whatever its names.
    type FileId = (u64, u64);

    #[derive(Debug)]
    pub(super) struct Watch {
        id: FileId,
        path: PathBuf,
        inotify: Inotify,
        file: WatchDescriptor,
        /// Descriptors this process had of the file at the last look, as paths in `/proc`.
        own: Vec<PathBuf>,
        buffer: [u8; 4096],
    }

    impl Watch {
        /// Watches `file`.
        pub(super) fn new(file: &Path) -> Result<Self, (&'static str, io::Error)> {
            let at = |step| move |source| (step, source);
            let path = fs::canonicalize(file).map_err(at("the file cannot be found"))?;
            let folder = path.parent().unwrap_or(&path);
            let inotify = Inotify::init().map_err(at("no inotify (see fs.inotify.max_user_instances)"))?;
            let watch = |place| inotify.watches().add(place, WatchMask::OPEN | WatchMask::CLOSE);
            watch(folder).map_err(at("no watch on its folder (see fs.inotify.max_user_watches)"))?;
            let file = watch(&path).map_err(at("no watch on it (see fs.inotify.max_user_watches)"))?;
            let id = id_of(&path).map_err(at("the file cannot be found"))?;
            let own = own_descriptors(id).map_err(at("/proc/self/fd cannot be read"))?;
            Ok(Self { id, path, inotify, file, own, buffer: [0; 4096] })
        }

        /// How many descriptors other processes have of the file now.
        pub(super) fn descriptors_of_others(&self) -> usize {
            descriptors_of_others(&self.path, self.id)
        }

        /// Returns whether the watched file is the one that stands at `path`.
        pub(super) fn is_of(&self, path: &Path) -> bool {
            is_file(path, self.id)
        }

        /// Reads into `seen`, which is empty, what others did since the last time, in its order.
        ///
        /// `opened_here`: this process may have opened the file meanwhile.
        pub(super) fn drain(&mut self, seen: &mut Vec<Seen>, opened_here: bool) {
            self.read(seen);
            if opened_here || !seen.is_empty() {
                self.discount_own(seen, opened_here);
            }
        }

        /// Reads all events there are.
        fn read(&mut self, seen: &mut Vec<Seen>) {
            loop {
                let events = match self.inotify.read_events(&mut self.buffer) {
                    Ok(events) => events,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                    Err(_) => {
                        // Cannot happen; if it does, it will not pass.
                        seen.push(Seen::Ended);
                        return;
                    }
                };
                for event in events {
                    if event.mask.contains(EventMask::Q_OVERFLOW) {
                        seen.push(Seen::Lost);
                    } else if event.wd != self.file {
                        // The folder's: all it had to do was to keep two of the file's apart.
                    } else if event.mask.contains(EventMask::OPEN) {
                        seen.push(Seen::Opened);
                    } else if event.mask.intersects(EventMask::CLOSE_NOWRITE | EventMask::CLOSE_WRITE) {
                        seen.push(Seen::Closed);
                    } else if event.mask.contains(EventMask::IGNORED) {
                        seen.push(Seen::Ended);
                    }
                }
            }
        }

        /// Removes from `seen` what this process did itself.
        ///
        /// Its descriptors are looked at after the events were read. A close takes the descriptor
        /// away before its event is queued, so the event of one that is missing may be yet to come:
        /// until then it is balanced by one opener too many.
        fn discount_own(&mut self, seen: &mut Vec<Seen>, opened_here: bool) {
            let (id, before) = (self.id, self.own.len());
            self.own.retain(|descriptor| is_file(descriptor, id));
            if opened_here && let Ok(own) = own_descriptors(id) {
                self.own = own;
            }
            let own = self.own.len();
            if (opened_here || own != before) && !seen.iter().any(|seen| matches!(seen, Seen::Lost | Seen::Ended)) {
                let opens = seen.iter().filter(|seen| **seen == Seen::Opened).count();
                let closes = seen.len() - opens + own.saturating_sub(before);
                let opens = opens + before.saturating_sub(own);
                // Which of them were ours is unknown, so they are weighed up as a whole. Opens come first:
                // a close that finds nobody is dropped, and an own open after it would count for good.
                seen.clear();
                seen.extend((0..opens).map(|_| Seen::Opened));
                seen.extend((0..closes).map(|_| Seen::Closed));
            }
        }
    }

    fn id_of(path: &Path) -> io::Result<FileId> {
        fs::metadata(path).map(|found| (found.dev(), found.ino()))
    }

    fn is_file(path: &Path, id: FileId) -> bool {
        id_of(path).is_ok_and(|found| found == id)
    }

    fn own_descriptors(id: FileId) -> io::Result<Vec<PathBuf>> {
        // Sockets and pipes, of which there may be thousands, have no path and are left out.
        descriptors(Path::new("/proc/self/fd"), id, Path::is_absolute)
    }

    /// Counts the descriptors other processes have of the file, as far as we may see them.
    ///
    /// Processes that share one, as a shell does with its children, count each: too many is safe.
    fn descriptors_of_others(file: &Path, id: FileId) -> usize {
        let own = fs::read_link("/proc/self").unwrap_or_default();
        let name = file.file_name().unwrap_or_default().as_bytes();
        // Only what bears the name is asked for its inode: that of any other file may be on a
        // network file system that does not answer.
        let named = |target: &Path| target.file_name().is_some_and(|found| found.as_bytes() == name);
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().as_bytes().iter().all(u8::is_ascii_digit))
            .filter(|process| process.file_name() != own.as_os_str())
            .filter_map(|process| descriptors(&process.path().join("fd"), id, named).ok())
            .map(|found| found.len())
            .sum()
    }

    /// Finds the descriptors in `folder` that are of the file `id`, among those with a plausible
    /// target. Nothing is opened by this, so it causes no events.
    fn descriptors(folder: &Path, id: FileId, plausible: impl Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
        let is_plausible = |path: &PathBuf| fs::read_link(path).is_ok_and(|target| plausible(&target));
        let all = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
        Ok(all.filter(is_plausible).filter(|path| is_file(path, id)).collect())
    }
}

#[cfg(not(target_os = "linux"))]
mod watch {
    //! Nothing to watch with: there is never a [`Watch`].

    use std::convert::Infallible;
    use std::io;
    use std::path::Path;

    #[derive(Debug)]
    #[expect(dead_code, reason = "never made here")]
    pub(super) enum Seen {
        Opened,
        Closed,
        Lost,
        Ended,
    }

    #[derive(Debug)]
    pub(super) struct Watch(Infallible);

    impl Watch {
        pub(super) fn new(_: &Path) -> Result<Self, (&'static str, io::Error)> {
            Err(("only Linux has inotify", io::ErrorKind::Unsupported.into()))
        }

        pub(super) fn descriptors_of_others(&self) -> usize {
            match self.0 {}
        }

        pub(super) fn is_of(&self, _: &Path) -> bool {
            match self.0 {}
        }

        pub(super) fn drain(&mut self, _: &mut Vec<Seen>, _: bool) {
            match self.0 {}
        }
    }
}

#[cfg(test)]
mod tests;
