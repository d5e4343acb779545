//! The copy gate: makes a plain `cp` of the live database file come out whole.
//!
//! redb writes its file in place. Until a commit has ended it leaves alone every page that the commit before it needs,
//! or a power cut would lose that commit; only the next commit may use them again. So a copy survives one commit
//! running beside it, and the second tears it. [`CopyGate::wait`] is called before *every* commit, and before the
//! database is opened and closed, which write too:
//!
//! - inotify tells whether another process has opened the file since the last call. Mostly none has, and the commit
//!   begins.
//! - If one has, the kernel is asked whether any process has the file open now, until none has. A process that opens it
//!   a moment later meets this one commit, and the next call sees its event. That is why asking first, without a lock,
//!   is enough.
//! - If a process keeps the file open for longer than the limit, commits go on, and the gate is *blind*: copies are not
//!   safe. Each later commit asks once, without waiting, until no other process has the file open.
//!
//! The kernel answers by a write lease (`F_SETLEASE`, see `fcntl(2)`), which it grants only if nobody else has the file
//! open: no other process of any user, by no other name, neither since before the start nor by a memory map. The lease
//! is given back at once, 3 µs later. What that asks of the rest of the program:
//!
//! - This process has exactly one open description of the file, that of the database; the gate uses a duplicate of it.
//! - An open that meets the lease waits until it is given back, and the kernel sends SIGIO to its holder, which would
//!   end the process. The signal is ignored from before the first lease.
//! - The lease is never held: an open with `O_NONBLOCK`, as GNU tar and borg do it, is refused while it is. Both try
//!   again.
//!
//! Only the file is watched and never its folder, so a user who may list the folder and not read the file can not hold
//! up a commit.
//!
//! Not protected: a copy made through several opens; one that outlasts the limit; readers on another machine, in
//! another layer of an overlay file system, or below the file system. Where there is no inotify or no lease, as outside
//! of Linux, the gate is off and says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::disk::FileDisk;
use kernel::{Kernel, Opened};

/// A longer limit is a mistake in the configuration: the writer would stand for hours.
const LIMIT_MAX: Duration = Duration::from_hours(1);
/// How often a waiting writer asks again.
const TICK: Duration = Duration::from_millis(1);

/// Holds a writer back while another process may be copying the database file.
#[derive(Debug)]
pub(super) struct CopyGate {
    /// `None`: the gate is off, everything passes.
    kernel: Option<Kernel>,
    limit: Duration,
    /// Another process may have the file open, for all that is known.
    must_ask: bool,
    status: Arc<GateStatus>,
}

/// What others may know of a gate, without waiting for it.
#[derive(Debug, Default)]
pub(super) struct GateStatus {
    /// Why the gate is off, if it is.
    off: Option<String>,
    is_blind: AtomicBool,
    count: AtomicU64,
    total_us: AtomicU64,
    longest_us: AtomicU64,
    overran: AtomicU64,
}

/// How long commits have waited for copies of the file, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateWaits {
    /// Commits that waited.
    pub count: u64,
    /// How long they waited together, in microseconds.
    pub total_us: u64,
    /// The longest wait, in microseconds.
    pub longest_us: u64,
    /// Waits that ended at the limit, while a process still had the file open.
    pub overran: u64,
}

impl CopyGate {
    /// Makes a gate for a file that this process has open as a database; one that is off if there can be none.
    ///
    /// - `limit`: how long a commit waits at most, up to an hour; zero turns the gate off.
    pub(super) fn new(file: &FileDisk, limit: Duration) -> Self {
        if limit.is_zero() {
            return Self::off("the copy gate is turned off");
        }
        match Kernel::watch(file) {
            Ok(kernel) => Self {
                kernel: Some(kernel),
                limit: limit.min(LIMIT_MAX),
                // A process may have opened the file before it was watched.
                must_ask: true,
                status: Arc::default(),
            },
            Err(reason) => Self::off(reason),
        }
    }

    /// A gate that everything passes at once.
    ///
    /// - `reason`: why copies of the file are not safe.
    pub(super) fn off(reason: impl Into<String>) -> Self {
        let status = GateStatus { off: Some(reason.into()), ..GateStatus::default() };
        Self { kernel: None, limit: Duration::ZERO, must_ask: false, status: Arc::new(status) }
    }

    /// What others may know of this gate.
    pub(super) fn status(&self) -> Arc<GateStatus> {
        Arc::clone(&self.status)
    }

    /// Returns when one commit can do no harm to any copy, or when the limit is over. Takes about a microsecond if no
    /// other process has opened the file since the last call.
    pub(super) fn wait(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        let began = now();
        loop {
            // In this order: an open that comes after the question leaves its event for the next commit.
            self.must_ask |= kernel.was_opened();
            if !self.must_ask {
                break;
            }
            match kernel.ask() {
                Opened::ByNobodyElse => {
                    self.must_ask = false;
                    self.status.see_again();
                    break;
                }
                Opened::ByOthers if self.status.is_blind.load(Ordering::Relaxed) => return,
                Opened::ByOthers if began.elapsed() >= self.limit => {
                    self.status.go_blind(self.limit);
                    break;
                }
                Opened::ByOthers => thread::sleep(TICK),
            }
        }
        self.status.count(began.elapsed());
    }
}

impl GateStatus {
    /// Why a copy that is begun now may be torn; `None` if copies are safe.
    pub(super) fn unsafe_copies(&self) -> Option<String> {
        let blind = || "another process keeps the file open for longer than commits wait".to_owned();
        self.off.clone().or_else(|| self.is_blind.load(Ordering::Relaxed).then(blind))
    }

    /// How long commits have waited.
    pub(super) fn waits(&self) -> GateWaits {
        GateWaits {
            count: self.count.load(Ordering::Relaxed),
            total_us: self.total_us.load(Ordering::Relaxed),
            longest_us: self.longest_us.load(Ordering::Relaxed),
            overran: self.overran.load(Ordering::Relaxed),
        }
    }

    fn go_blind(&self, limit: Duration) {
        self.is_blind.store(true, Ordering::Relaxed);
        self.overran.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
            "another process keeps the database file open; writes go on, and copies of the file are not safe until it is closed"
        );
    }

    fn see_again(&self) {
        if self.is_blind.swap(false, Ordering::Relaxed) {
            tracing::info!("no other process has the database file open; copies of the file are safe again");
        }
    }

    fn count(&self, waited: Duration) {
        // A commit that found nobody, or somebody who was just gone, did not wait.
        if waited < TICK {
            return;
        }
        let time_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(time_us, Ordering::Relaxed);
        self.longest_us.fetch_max(time_us, Ordering::Relaxed);
        tracing::info!(time_us, "a write waited for a copy of the file");
    }
}

#[expect(clippy::disallowed_methods, reason = "measures a wait; no time of day is read or stored")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[cfg(target_os = "linux")]
mod kernel {
    //! inotify and the lease: the part that only Linux has.

    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;

    use inotify::{Inotify, WatchMask};

    use super::FileDisk;

    /// Who has the file open.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Opened {
        ByNobodyElse,
        ByOthers,
    }

    #[derive(Debug)]
    pub(super) struct Kernel {
        /// A duplicate of the database's descriptor: the same open description.
        file: File,
        inotify: Inotify,
        buffer: [u8; 1_024],
    }

    impl Kernel {
        /// Watches a file; the error says why copies of it are not safe.
        pub(super) fn watch(file: &FileDisk) -> Result<Self, String> {
            let file = file.0.try_clone().map_err(|error| format!("the file can not be watched: {error}"))?;
            let inotify = Inotify::init()
                .map_err(|error| format!("there is no inotify (see fs.inotify.max_user_instances): {error}"))?;
            // The open file itself, whatever stands at its path by now.
            let place = format!("/proc/self/fd/{}", file.as_raw_fd());
            inotify
                .watches()
                .add(place, WatchMask::OPEN)
                .map_err(|error| format!("the file can not be watched (see fs.inotify.max_user_watches): {error}"))?;
            lease::ignore_breaks();
            match lease::take(&file) {
                Ok(()) => lease::give_back(&file),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    return Err(format!(
                        "the kernel gives no lease on the file (it takes the file's owner, and a file system that has leases): {error}"
                    ));
                }
            }
            Ok(Self { file, inotify, buffer: [0; 1_024] })
        }

        /// Whether another process has opened the file since the last call.
        pub(super) fn was_opened(&mut self) -> bool {
            let mut was_opened = false;
            loop {
                match self.inotify.read_events(&mut self.buffer) {
                    Ok(events) => was_opened |= events.count() > 0,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return was_opened,
                    // Without events every commit has to ask.
                    Err(_) => return true,
                }
            }
        }

        /// Asks whether any other process has the file open.
        pub(super) fn ask(&self) -> Opened {
            match lease::take(&self.file) {
                Ok(()) => {
                    lease::give_back(&self.file);
                    Opened::ByNobodyElse
                }
                Err(_) => Opened::ByOthers,
            }
        }
    }

    #[expect(unsafe_code, reason = "no crate has a safe call for a lease or for ignoring a signal")]
    mod lease {
        use std::fs::File;
        use std::io;
        use std::os::fd::AsRawFd as _;

        /// Ignores the signal by which the kernel tells a holder that another process wants to open the file.
        pub(super) fn ignore_breaks() {
            // SAFETY: SIG_IGN installs no handler, so no code of this program runs in a signal's context.
            unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
        }

        /// Takes a write lease, which the kernel grants only if no other open description of the file exists.
        pub(super) fn take(file: &File) -> io::Result<()> {
            set(file, libc::F_WRLCK)
        }

        /// Gives it back: processes that wait for it to open the file go on.
        pub(super) fn give_back(file: &File) {
            // Giving back a lease that is held can not fail.
            let _ = set(file, libc::F_UNLCK);
        }

        fn set(file: &File, kind: libc::c_int) -> io::Result<()> {
            // SAFETY: the descriptor is open for as long as `file` is borrowed; the call passes no pointers.
            let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
            if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    //! Nothing to ask: there is never a [`Kernel`].

    use std::convert::Infallible;

    use super::FileDisk;

    #[derive(Debug)]
    #[expect(dead_code, reason = "never made here")]
    pub(super) enum Opened {
        ByNobodyElse,
        ByOthers,
    }

    #[derive(Debug)]
    pub(super) struct Kernel(Infallible);

    impl Kernel {
        pub(super) fn watch(_: &FileDisk) -> Result<Self, String> {
            Err("only Linux tells who has the file open".to_owned())
        }

        pub(super) fn was_opened(&mut self) -> bool {
            match self.0 {}
        }

        pub(super) fn ask(&self) -> Opened {
            match self.0 {}
        }
    }
}

#[cfg(test)]
mod tests;
