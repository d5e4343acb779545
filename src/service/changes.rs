//! The newest changes, for clients that follow them: see `follow`.
//!
//! Memory holds the newest change of each record that changed, in the order of numbers, and no change that a later one
//! of the same record has overtaken. So a follower reads each record once, at its newest number, and only what is newer
//! than its place. Of more than [`RECORDS_MAX`] records the oldest change is dropped; a follower whose place is before
//! it is told to read everything again.
//!
//! The writer adds changes after the commit, when all else in memory is up to date: a client that is told of a change
//! and reads then never reads anything older. It does not wait for followers and keeps nothing for them: it wakes those
//! that wait, and each reads for itself. Nothing of this is on the disk; after a start only the cursor of the state
//! that was found is good.
//!
//! Not every write is a change. One that changed nothing, and a confirmation that only memory has, leave the record and
//! its number alone. A confirmation that ends the reason `stale_rate` or `stale_balance` is always stored, and so is a
//! change. What the time alone brings about (an expiry, a value that becomes stale) is none.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use crate::domain::{RecordChange, RecordKey};
use crate::store::{Change, Commit};

/// Records whose newest change is in memory: those of a busy day with 10,000 users fit several times, in some 13 MB.
const RECORDS_MAX: usize = 65_536;
/// Most changes that a follower looks at before it gives the lock back, for which the writer waits: some 50 µs.
const SCAN_MAX: usize = 1_024;

/// The newest changes, and what wakes followers.
#[derive(Debug)]
pub(super) struct Changes {
    recent: RwLock<Recent>,
    wakes: watch::Sender<Following>,
}

/// Whether followers go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Following {
    GoesOn,
    /// The server is stopping.
    Ended,
}

#[derive(Debug)]
struct Recent {
    by_seq: BTreeMap<u64, Entry>,
    /// The number of each record's newest change.
    by_key: HashMap<RecordKey, u64>,
    records_max: usize,
    /// All changes after this number are here.
    complete_after: u64,
    /// The number of the newest change, of whatever record.
    newest: u64,
}

#[derive(Debug)]
struct Entry {
    key: RecordKey,
    is_deleted: bool,
}

/// What a follower finds behind its place.
pub(super) struct Found {
    pub(super) changes: Vec<RecordChange>,
    /// Its place from now on.
    pub(super) up_to: u64,
    /// Whether nothing is left behind that.
    pub(super) is_all: bool,
}

impl Changes {
    /// - `seq`: the number of the last change in the file.
    pub(super) fn new(seq: u64) -> Self {
        let recent = Recent::new(seq, RECORDS_MAX);
        Self { recent: RwLock::new(recent), wakes: watch::Sender::new(Following::GoesOn) }
    }

    /// Adds a commit and wakes followers: after memory is up to date, before the acknowledgement, by the one writer.
    pub(super) fn committed(&self, commit: &Commit<'_>) {
        self.recent_mut().add(commit);
        self.wakes.send_modify(|_| ());
    }

    /// Ends all followers, and those to come.
    pub(super) fn end(&self) {
        self.wakes.send_replace(Following::Ended);
    }

    /// The number of the newest change, of whatever record.
    pub(super) fn newest(&self) -> u64 {
        self.recent().newest
    }

    /// Whether every change after `place` is here, and `place` is not of the future.
    pub(super) fn covers(&self, place: u64) -> bool {
        self.recent().covers(place)
    }

    /// Up to `limit` changes after `place` that the follower may see; `None` if some of them were dropped.
    pub(super) fn after(&self, place: u64, limit: usize, may_see: impl Fn(&RecordKey) -> bool) -> Option<Found> {
        self.recent().after(place, limit, may_see)
    }

    /// Tells of each commit to come, and of the end.
    pub(super) fn wakes(&self) -> watch::Receiver<Following> {
        self.wakes.subscribe()
    }

    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent_mut(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn new(seq: u64, records_max: usize) -> Self {
        Self { by_seq: BTreeMap::new(), by_key: HashMap::new(), records_max, complete_after: seq, newest: seq }
    }

    fn add(&mut self, commit: &Commit<'_>) {
        let before = commit.seq.saturating_sub(commit.changes.len() as u64);
        for (seq, change) in (before + 1..).zip(commit.changes) {
            let Some(entry) = entry_of(change) else { continue };
            if let Some(older) = self.by_key.insert(entry.key.clone(), seq) {
                self.by_seq.remove(&older);
            }
            self.by_seq.insert(seq, entry);
            if self.by_seq.len() > self.records_max
                && let Some((seq, oldest)) = self.by_seq.pop_first()
            {
                self.by_key.remove(&oldest.key);
                self.complete_after = seq;
            }
        }
        self.newest = commit.seq;
    }

    fn covers(&self, place: u64) -> bool {
        (self.complete_after..=self.newest).contains(&place)
    }

    fn after(&self, place: u64, limit: usize, may_see: impl Fn(&RecordKey) -> bool) -> Option<Found> {
        if !self.covers(place) {
            return None;
        }
        let mut found = Found { changes: Vec::new(), up_to: place, is_all: false };
        let mut later = self.by_seq.range((Bound::Excluded(place), Bound::Unbounded));
        for (&seq, Entry { key, is_deleted }) in later.by_ref().take(SCAN_MAX) {
            found.up_to = seq;
            if may_see(key) {
                found.changes.push(RecordChange { key: key.clone(), seq, is_deleted: *is_deleted });
                if found.changes.len() >= limit {
                    break;
                }
            }
        }
        if later.next().is_none() {
            (found.up_to, found.is_all) = (self.newest, true);
        }
        Some(found)
    }
}

/// What followers are told of a change; nothing of tokens.
fn entry_of(change: &Change) -> Option<Entry> {
    let (key, is_deleted) = match change {
        Change::Signal(stored) => (RecordKey::Signal(stored.signal.id.clone()), false),
        Change::SignalDeleted(id) => (RecordKey::Signal(id.clone()), true),
        Change::Overlay(user, stored) => (RecordKey::Overlay(user.clone()), stored.is_none()),
        Change::Outcome(_, stored) => {
            let outcome = &stored.outcome;
            (RecordKey::Outcome(outcome.user_id.clone(), outcome.signal_id.clone()), false)
        }
        Change::OutcomeDeleted(signal, user) => (RecordKey::Outcome(user.clone(), signal.clone()), true),
        Change::Rate(rate, _) => (RecordKey::Rate(rate.pair.clone()), false),
        Change::Token(..) => return None,
    };
    Some(Entry { key, is_deleted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Pair, SignalId, UserId};

    fn overlay_deleted(user: u64) -> Change {
        Change::Overlay(UserId::parse(&user.to_string()).unwrap(), None)
    }

    fn seqs(found: Option<Found>) -> Option<(Vec<u64>, u64)> {
        found.map(|found| (found.changes.iter().map(|change| change.seq).collect(), found.up_to))
    }

    #[test]
    fn a_record_is_told_once_at_its_newest_number() {
        let mut recent = Recent::new(10, 3);
        let all = |_: &RecordKey| true;
        assert_eq!(seqs(recent.after(10, 9, all)), Some((vec![], 10)));
        let signal = Change::SignalDeleted(SignalId::parse("S").unwrap());
        let changes = [overlay_deleted(1), signal, overlay_deleted(1), Change::Token("t".to_owned(), None)];
        recent.add(&Commit { seq: 14, changes: &changes });
        assert_eq!(seqs(recent.after(10, 9, all)), Some((vec![12, 13], 14)));
        assert_eq!(seqs(recent.after(10, 1, all)), Some((vec![12], 12)));
        assert_eq!(seqs(recent.after(12, 1, all)), Some((vec![13], 14)), "nothing is left, so the place is the newest");
        assert_eq!(seqs(recent.after(10, 9, |key| key.owner().is_none())), Some((vec![12], 14)));
        assert_eq!(seqs(recent.after(9, 9, all)), None, "before the start");
        assert_eq!(seqs(recent.after(15, 9, all)), None, "of the future");
    }

    #[test]
    fn the_oldest_are_dropped_and_a_place_before_them_is_not_good() {
        let mut recent = Recent::new(0, 3);
        let changes: Vec<_> = (0..5).map(overlay_deleted).collect();
        recent.add(&Commit { seq: 5, changes: &changes });
        assert_eq!(recent.by_seq.len(), recent.by_key.len());
        let all = |_: &RecordKey| true;
        assert_eq!(seqs(recent.after(1, 9, all)), None);
        assert_eq!(seqs(recent.after(2, 9, all)), Some((vec![3, 4, 5], 5)));
    }

    #[test]
    fn a_long_stretch_of_others_changes_is_passed_in_steps() {
        let mut recent = Recent::new(0, RECORDS_MAX);
        let count = SCAN_MAX as u64 + 7;
        let changes: Vec<_> = (0..count).map(overlay_deleted).collect();
        recent.add(&Commit { seq: count, changes: &changes });
        let none = |_: &RecordKey| false;
        let first = recent.after(0, 9, none).unwrap();
        assert_eq!((first.up_to, first.is_all), (SCAN_MAX as u64, false));
        let second = recent.after(first.up_to, 9, none).unwrap();
        assert_eq!((second.up_to, second.is_all), (count, true));
    }

    #[test]
    fn keys_are_those_of_the_paths() {
        let (user, signal) = (UserId::parse("-7").unwrap(), SignalId::parse("S:1").unwrap());
        for (key, kind, text) in [
            (RecordKey::Outcome(user.clone(), signal.clone()), "outcome", "-7/S:1"),
            (RecordKey::Overlay(user), "overlay", "-7"),
            (RecordKey::Signal(signal), "signal", "S:1"),
            (RecordKey::Rate(Pair::parse("gbp/usd").unwrap()), "rate", "GBPUSD"),
        ] {
            assert_eq!((key.kind(), key.to_string().as_str()), (kind, text));
        }
    }
}
