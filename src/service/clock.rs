//! The clock: the one place where time is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::UnixMillis;

/// Where the service gets its time from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that a test holds in its hand, in Unix milliseconds.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// The time now.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        match self {
            Self::System => system_now(),
            Self::Fixed(millis) => UnixMillis::new(millis.load(Ordering::SeqCst)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the service's clock")]
fn system_now() -> UnixMillis {
    // A clock before 1970 counts as 1970: everything is unexpired then, and the operator sees the dates.
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis::new(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX))
}

/// Measures how long things take.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the service's clock")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start, whatever becomes of the machine's clock meanwhile.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Seconds since the start.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}
