//! Ages: for how long a rate or a balance counts after it was last confirmed.
//!
//! A value is confirmed by each write that names it, also by one that finds it as it is. Clocks can be set back, so a
//! confirmation may lie ahead: one that lies further ahead than the limit is worth as little as one that is as old.

use super::UnixMillis;

/// The longest time since a confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxAge {
    millis: u64,
}

/// The limits of what sizes rest on; `None`: it never gets too old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxAges {
    /// Of rates.
    pub rate: Option<MaxAge>,
    /// Of balances, and of equities where the risk is taken of those.
    pub balance: Option<MaxAge>,
}

impl MaxAge {
    /// Makes a limit.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self { millis }
    }

    /// Whether a value is older than the limit.
    #[must_use]
    pub fn is_stale(self, confirmed_at: UnixMillis, now: UnixMillis) -> bool {
        distance(confirmed_at, now) > self.millis
    }

    /// The first moment after `now` at which time alone changes whether a value is stale; `None` if it never does.
    #[must_use]
    pub fn next_change(self, confirmed_at: UnixMillis, now: UnixMillis) -> Option<UnixMillis> {
        let limit = i64::try_from(self.millis).unwrap_or(i64::MAX);
        let first = confirmed_at.plus_millis(-limit);
        let after_last = confirmed_at.plus_millis(limit.saturating_add(1));
        [first, after_last].into_iter().find(|moment| *moment > now)
    }

    /// Whether a value has reached half the limit, of which the operator is warned.
    #[must_use]
    pub fn is_old(self, confirmed_at: UnixMillis, now: UnixMillis) -> bool {
        distance(confirmed_at, now) >= self.millis.div_ceil(2)
    }

    /// Whether a confirmation has to be stored: what is stored is older by more than a tenth of the limit.
    #[must_use]
    pub fn is_due(self, stored_at: UnixMillis, confirmed_at: UnixMillis) -> bool {
        distance(stored_at, confirmed_at) > self.millis / 10
    }
}

fn distance(one: UnixMillis, other: UnixMillis) -> u64 {
    one.millis().abs_diff(other.millis())
}

/// How far a confirmation may lie ahead of a write: one that was made earlier may have waited longer.
const AHEAD_MS_MAX: i64 = 60_000;

/// The later of two confirmations of one value. A known one that lies more than a minute ahead of `now` comes from a
/// clock that was set back since, and gives way.
#[must_use]
pub fn latest_confirmation(known: UnixMillis, new: UnixMillis, now: UnixMillis) -> UnixMillis {
    if known > now.plus_millis(AHEAD_MS_MAX) { new } else { known.max(new) }
}

/// The confirmation of a value after a write that leaves it as it was: of the one that the write stored and the one
/// that memory had, the later, unless memory's lies more than a minute ahead of `now`.
#[must_use]
pub fn confirmation_after_write(stored: UnixMillis, held: UnixMillis, now: UnixMillis) -> UnixMillis {
    if held > now.plus_millis(AHEAD_MS_MAX) { stored } else { stored.max(held) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> UnixMillis {
        UnixMillis::new(1_000_000 + millis)
    }

    #[test]
    fn a_value_is_stale_beyond_the_limit_old_from_half_of_it_and_stored_beyond_a_tenth() {
        let limit = MaxAge::from_millis(1_000);
        for (age, stale, old, due) in [
            (0, false, false, false),
            (100, false, false, false),
            (101, false, false, true),
            (499, false, false, true),
            (500, false, true, true),
            (1_000, false, true, true),
            (1_001, true, true, true),
        ] {
            // Ahead counts as behind: the clock was set back.
            for age in [age, -age] {
                let found =
                    [limit.is_stale(at(0), at(age)), limit.is_old(at(0), at(age)), limit.is_due(at(0), at(age))];
                assert_eq!(found, [stale, old, due], "{age}");
            }
        }
        assert!(MaxAge::from_millis(3).is_old(at(0), at(2)) && !MaxAge::from_millis(3).is_old(at(0), at(1)));
    }

    #[test]
    fn a_value_becomes_stale_and_fresh_at_the_moments_that_are_told() {
        let limit = MaxAge::from_millis(3);
        let is_stale: Vec<_> = (-10..10).map(|millis| limit.is_stale(at(0), at(millis))).collect();
        for (place, millis) in (-10_i64..10).enumerate() {
            let later = is_stale.iter().skip(place + 1).position(|later| *later != is_stale[place]);
            let moment = later.map(|steps| at(millis + 1 + i64::try_from(steps).unwrap()));
            assert_eq!(limit.next_change(at(0), at(millis)), moment, "{millis}");
        }
    }

    #[test]
    fn the_later_confirmation_counts_unless_it_lies_ahead() {
        let minutes = |minutes: i64| at(60_000 * minutes);
        for (known, new, now, expected) in
            [(5, 9, 9, 9), (5, 3, 9, 5), (5, 5, 5, 5), (10, 9, 9, 10), (11, 9, 9, 9), (20, 3, 9, 3)]
        {
            let latest = latest_confirmation(minutes(known), minutes(new), minutes(now));
            assert_eq!(latest, minutes(expected), "{known} {new} {now}");
        }
        for (stored, held, now, expected) in [(5, 9, 9, 9), (9, 5, 9, 9), (5, 10, 9, 10), (5, 11, 9, 5), (12, 5, 9, 12)]
        {
            let after = confirmation_after_write(minutes(stored), minutes(held), minutes(now));
            assert_eq!(after, minutes(expected), "{stored} {held} {now}");
        }
    }
}
