//! The timer of one connection's wait for the head of a request.
//!
//! hyper wants a new timer for each head and drops it when the head has come, which with tokio's own is two trips to the timers of the
//! runtime a request, for something that hardly ever goes off. Here one alarm is kept for the connection: a wait only writes down until
//! when it lasts, and the alarm is set anew when it has gone off for a wait that is over. So a busy connection sets one each few
//! seconds.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// Makes the waits of one connection, which hold one after the other and are all of one length.
#[derive(Debug)]
pub(super) struct HeadTimer {
    limit: Duration,
    alarm: Arc<Mutex<Alarm>>,
    /// Stands for the present: the clock is read only once there is something to wait for.
    made: Instant,
}

#[derive(Debug, Default)]
struct Alarm {
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    /// Whom it wakes.
    woken: Option<Waker>,
}

impl HeadTimer {
    /// A timer whose waits last for `limit`, however long they are asked to last.
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, alarm: Arc::default(), made: tokio::time::Instant::now().into_std() }
    }
}

impl Timer for HeadTimer {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(HeadWait { limit: self.limit, until: None, alarm: Arc::clone(&self.alarm) })
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(self.limit)
    }

    fn now(&self) -> Instant {
        self.made
    }
}

/// The wait for one head. It begins when it is first looked at.
#[derive(Debug)]
struct HeadWait {
    limit: Duration,
    until: Option<tokio::time::Instant>,
    alarm: Arc<Mutex<Alarm>>,
}

impl Sleep for HeadWait {}

impl Future for HeadWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let until = *self.until.get_or_insert_with(|| tokio::time::Instant::now() + limit);
        let mut alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        alarm.poll_until(until, cx)
    }
}

impl Alarm {
    /// Sees to it that the task is woken at `until` or before.
    fn poll_until(&mut self, until: tokio::time::Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        // Set already, by this wait or one before it.
        if !sleep.is_elapsed() && self.woken.as_ref().is_some_and(|woken| woken.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.woken = Some(cx.waker().clone());
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(40);

    #[tokio::test]
    async fn a_wait_lasts_as_long_as_the_limit_from_when_it_is_first_looked_at() {
        let timer = HeadTimer::new(LIMIT);
        for _ in 0..2 {
            let wait = timer.sleep_until(timer.now());
            let began = tokio::time::Instant::now();
            wait.await;
            assert!(began.elapsed() >= LIMIT);
        }
    }

    #[tokio::test]
    async fn the_alarm_of_a_wait_that_is_over_does_not_end_the_next() {
        let timer = HeadTimer::new(LIMIT);
        // The first are let go when half of their time is over, as by a client that asks now and then.
        for let_go_after in [LIMIT / 2, LIMIT / 2, LIMIT / 2, LIMIT / 2, LIMIT * 1_000] {
            let began = tokio::time::Instant::now();
            let ended = tokio::time::timeout(let_go_after, timer.sleep(LIMIT)).await;
            assert!(ended.is_err() || began.elapsed() >= LIMIT, "ended early");
            assert!(ended.is_ok() || let_go_after < LIMIT, "never ended");
        }
    }
}
