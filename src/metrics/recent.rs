//! The last quarter of an hour: what requests came to, in slots of ten seconds.
//!
//! The slots are a ring of fixed size. A request is added to one of them under a lock, which takes less than a
//! microsecond. How long requests took is kept as a histogram whose buckets are at most a quarter wide.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

/// Length of a slot, in seconds.
pub const SLOT_SECONDS: u64 = 10;
/// Slots of the ring: 15 minutes.
pub const SLOTS: u64 = 90;
/// Buckets of a histogram: up to 33 s, beyond every limit on a request.
const BUCKETS: usize = 96;

/// The ring. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Recent(Arc<Mutex<Ring>>);

/// Counters that run on from the start of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Writes that changed something.
    pub writes: u64,
    /// Records that were found in memory.
    pub cache_hits: u64,
    /// Records that were read from the file.
    pub cache_misses: u64,
}

/// One request that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// When, since the start of the program.
    pub at: Duration,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether the client held the answer already.
    pub is_not_modified: bool,
    /// The counters right after it.
    pub totals: Totals,
}

#[derive(Debug, Default)]
struct Ring {
    /// Empty until the first request; by the slot's number, modulo [`SLOTS`].
    slots: Vec<Slot>,
    /// The counters after the latest request.
    totals: Totals,
}

#[derive(Clone, Debug)]
struct Slot {
    /// How many slots passed before it since the start of the program.
    number: u64,
    requests: u32,
    not_modified: u32,
    /// The counters before its first request, and after its last one.
    before: Totals,
    after: Totals,
    buckets: [u32; BUCKETS],
}

/// What the requests of a slot, or of several, came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecentCounts {
    /// Requests that were answered.
    pub requests: u64,
    /// Those that were answered with 304.
    pub not_modified: u64,
    /// Writes that changed something.
    pub writes: u64,
    /// Records that were found in memory.
    pub cache_hits: u64,
    /// Records that were read from the file.
    pub cache_misses: u64,
    /// How long the middle one of the requests took, in microseconds; 0 without any.
    pub p50_us: u64,
    /// How long all but one of a hundred took at most, in microseconds; 0 without any.
    pub p99_us: u64,
}

impl Recent {
    /// Adds a request.
    pub fn add(&self, answered: &Answered) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(answered);
    }

    /// The slots since the start of the program, at most [`SLOTS`], from old to new, and all of them together. The last
    /// one is that of `now`, which is not over.
    #[must_use]
    pub fn read(&self, now: Duration) -> (Vec<RecentCounts>, RecentCounts) {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = number_of(now);
        let oldest = (newest + 1).saturating_sub(SLOTS);
        let held = |number: &u64| ring.slots.iter().find(|slot| slot.number == *number);
        let slots = (oldest..=newest).map(|number| held(&number).map_or_else(RecentCounts::default, Slot::counts));
        let all = ring.slots.iter().filter(|slot| (oldest..=newest).contains(&slot.number));
        let mut together = Slot::new(newest, Totals::default());
        for slot in all {
            together.add_slot(slot);
        }
        (slots.collect(), together.counts())
    }
}

impl Ring {
    fn add(&mut self, answered: &Answered) {
        let number = number_of(answered.at);
        if self.slots.is_empty() {
            // No slot has this number for ages.
            self.slots = vec![Slot::new(u64::MAX, Totals::default()); usize::try_from(SLOTS).unwrap_or_default()];
        }
        let totals = self.totals;
        let Some(slot) = usize::try_from(number % SLOTS).ok().and_then(|at| self.slots.get_mut(at)) else { return };
        if slot.number != number {
            *slot = Slot::new(number, totals);
        }
        slot.add(answered);
        self.totals = answered.totals;
    }
}

impl Slot {
    fn new(number: u64, before: Totals) -> Self {
        Self { number, requests: 0, not_modified: 0, before, after: before, buckets: [0; BUCKETS] }
    }

    fn add(&mut self, answered: &Answered) {
        self.requests += 1;
        self.not_modified += u32::from(answered.is_not_modified);
        self.after = answered.totals;
        if let Some(count) = self.buckets.get_mut(bucket_of(answered.elapsed)) {
            *count += 1;
        }
    }

    fn add_slot(&mut self, other: &Self) {
        self.requests += other.requests;
        self.not_modified += other.not_modified;
        let counts = other.counts();
        self.after.writes += counts.writes;
        self.after.cache_hits += counts.cache_hits;
        self.after.cache_misses += counts.cache_misses;
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += count;
        }
    }

    fn counts(&self) -> RecentCounts {
        let Self { requests, not_modified, before, after, .. } = *self;
        RecentCounts {
            requests: requests.into(),
            not_modified: not_modified.into(),
            // Of two requests at the same time, the later one may have read the counters first.
            writes: after.writes.saturating_sub(before.writes),
            cache_hits: after.cache_hits.saturating_sub(before.cache_hits),
            cache_misses: after.cache_misses.saturating_sub(before.cache_misses),
            p50_us: self.quantile_us(50),
            p99_us: self.quantile_us(99),
        }
    }

    /// The middle of the bucket up to which `percent` of the requests lie.
    fn quantile_us(&self, percent: u64) -> u64 {
        let wanted = (u64::from(self.requests) * percent).div_ceil(100);
        let mut passed = 0;
        let reached = self.buckets.iter().position(|count| {
            passed += u64::from(*count);
            passed >= wanted
        });
        if wanted == 0 { 0 } else { reached.map_or(0, middle_us) }
    }
}

fn number_of(at: Duration) -> u64 {
    at.as_secs() / SLOT_SECONDS
}

/// The bucket of a length of time: microseconds below 4 have one each, and each doubling from there on has four.
fn bucket_of(elapsed: Duration) -> usize {
    let us = elapsed.as_micros().try_into().unwrap_or(u64::MAX);
    if us < 4 {
        return usize::try_from(us).unwrap_or_default();
    }
    let doublings = us.ilog2() - 1;
    let quarter = (us >> (doublings - 1)) & 3;
    let bucket = u64::from(doublings) * 4 + quarter;
    usize::try_from(bucket).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// The middle of a bucket, in microseconds.
fn middle_us(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 4 {
        return bucket;
    }
    let width = 1 << (bucket / 4 - 1);
    (4 + bucket % 4) * width + width / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(at_s: u64, elapsed_us: u64, writes: u64) -> Answered {
        let totals = Totals { writes, cache_hits: 2 * writes, cache_misses: 1 };
        let (at, elapsed) = (Duration::from_secs(at_s), Duration::from_micros(elapsed_us));
        Answered { at, elapsed, is_not_modified: elapsed_us < 10, totals }
    }

    #[test]
    fn a_length_of_time_lies_within_an_eighth_of_the_middle_of_its_bucket() {
        let mut last = 0;
        for us in (0..4_000).chain((4_000..33_000_000).step_by(9_973)) {
            let bucket = bucket_of(Duration::from_micros(us));
            let middle = middle_us(bucket);
            assert!(middle.abs_diff(us) <= us / 8, "{us} is in the bucket of {middle}");
            assert!(bucket >= last, "buckets are in order");
            last = bucket;
        }
        assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn requests_are_counted_in_the_slot_of_their_time() {
        let recent = Recent::default();
        for (at_s, elapsed_us, writes) in [(3, 100, 1), (9, 5, 2), (10, 100, 2), (31, 3_000, 7)] {
            recent.add(&answered(at_s, elapsed_us, writes));
        }
        let (slots, total) = recent.read(Duration::from_secs(45));
        assert_eq!(slots.iter().map(|slot| slot.requests).collect::<Vec<_>>(), [2, 1, 0, 1, 0]);
        assert_eq!(slots.iter().map(|slot| slot.writes).collect::<Vec<_>>(), [2, 0, 0, 5, 0]);
        assert_eq!(slots.iter().map(|slot| slot.not_modified).collect::<Vec<_>>(), [1, 0, 0, 0, 0]);
        assert_eq!(slots[0].p50_us, 5);
        let expected = RecentCounts {
            requests: 4,
            not_modified: 1,
            writes: 7,
            cache_hits: 14,
            cache_misses: 1,
            p50_us: 104,
            p99_us: 2_816,
        };
        assert_eq!(total, expected);
    }

    #[test]
    fn what_is_older_than_a_quarter_of_an_hour_is_forgotten() {
        let recent = Recent::default();
        assert_eq!(recent.read(Duration::ZERO), (vec![RecentCounts::default()], RecentCounts::default()));
        for second in 0..5_000 {
            recent.add(&answered(second, 100, second));
        }
        let (slots, total) = recent.read(Duration::from_secs(4_999));
        assert_eq!(slots.len(), 90);
        assert!(slots.iter().all(|slot| slot.requests == 10 && slot.writes == 10 && slot.cache_hits == 20));
        assert_eq!((total.requests, total.writes), (900, 900));
        let (slots, total) = recent.read(Duration::from_secs(5_449));
        assert_eq!((slots.len(), total.requests), (90, 450), "half of it");
        let (_, total) = recent.read(Duration::from_secs(50_000));
        assert_eq!(total, RecentCounts::default());
    }
}
