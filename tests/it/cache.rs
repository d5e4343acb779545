//! Memory is never older than an acknowledged write.
//!
//! First the order of the cache's steps, one by one; then many readers and writers at once, on few keys, with memory
//! that is emptied all the time, since most of what can go wrong begins with a miss.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use overlaid::cache::{Cache, CachedSignal};
use overlaid::domain::{Condition, Object, Outcome, SignalDraft, SignalId, UserId};
use overlaid::service::{RenderedOverlay, Service, ServiceError};
use overlaid::store::{Change, Commit, Operation, StoredOutcome, StoredSignal};

use crate::kit::{
    World, batch, delete_overlay, object, overlay, patch_signal, pips_signal, put_outcome, put_rate, put_signal,
    signal_id, start, user_id,
};

fn signal(seq: u64) -> StoredSignal {
    let signal = SignalDraft::from_object(object(&pips_signal("S1")), None).unwrap().resolve(start(), 1).unwrap();
    StoredSignal { number: 0, seq, signal }
}

fn outcome(user: &str, seq: u64) -> Arc<StoredOutcome> {
    let (signal, user) = (signal_id("S1"), user_id(user));
    let outcome = Outcome::from_object(object(r#"{"status":"fired"}"#), Some(&signal), Some(&user), start()).unwrap();
    Arc::new(StoredOutcome { seq, outcome })
}

fn put(seq: u64) -> Change {
    Change::Signal(Arc::new(signal(seq)))
}

fn commit(cache: &Cache, seq: u64, changes: &[Change]) {
    cache.committed(&Commit { seq, changes });
}

/// Reads the signal through the cache; a miss finds what `file` says in the file.
fn read(cache: &Cache, file: impl FnOnce() -> Option<u64>) -> Option<u64> {
    let found = cache.signal::<Infallible>(&signal_id("S1"), || {
        let seq = file();
        Ok(seq.map(|seq| CachedSignal::new(signal(seq), Vec::new())))
    });
    found.unwrap().map(|signal| signal.stored.seq)
}

fn hot(cache: &Cache) -> Option<u64> {
    cache.cached_signal("S1").map(|signal| signal.stored.seq)
}

fn read_signal(cache: &Cache, file: impl FnOnce() -> (u64, Vec<Arc<StoredOutcome>>)) -> Arc<CachedSignal> {
    let found = cache.signal::<Infallible>(&signal_id("S1"), || {
        let (seq, outcomes) = file();
        Ok(Some(CachedSignal::new(signal(seq), outcomes)))
    });
    found.unwrap().unwrap()
}

/// The `seq` of the signal, and of the outcomes of four users on it.
fn cached_signal(cache: &Cache) -> Option<(u64, [Option<u64>; 4])> {
    let cached = cache.cached_signal("S1")?;
    let outcomes = ["1", "2", "3", "4"].map(|user| cached.outcome(user).map(|outcome| outcome.seq));
    Some((cached.stored.seq, outcomes))
}

#[test]
fn what_was_read_in_peace_is_kept_and_not_read_again() {
    let cache = Cache::default();
    assert_eq!(read(&cache, || Some(1)), Some(1));
    assert_eq!(read(&cache, || unreachable!("it is in memory")), Some(1));
    cache.clear();
    assert_eq!(hot(&cache), None);
    assert_eq!(read(&cache, || Some(1)), Some(1));
}

#[test]
fn that_something_is_absent_is_not_kept() {
    let cache = Cache::default();
    assert_eq!(read(&cache, || None), None);
    assert_eq!(read(&cache, || Some(1)), Some(1));
}

#[test]
fn a_read_that_a_commit_overtakes_is_answered_but_not_kept() {
    let cache = Cache::default();
    let seen = read(&cache, || {
        commit(&cache, 2, &[put(2)]);
        Some(1)
    });
    assert_eq!((seen, hot(&cache)), (Some(1), None), "the next reader fetches the new one");

    // A commit of something else might as well have been of this: the reader can not know.
    let cache = Cache::default();
    let seen = read(&cache, || {
        commit(&cache, 2, &[Change::Overlay(user_id("8"), None)]);
        Some(1)
    });
    assert_eq!((seen, hot(&cache)), (Some(1), None));
}

#[test]
fn a_signal_that_a_commit_overtakes_is_not_kept() {
    for change in [Change::Signal(Arc::new(signal(2))), Change::Outcome(0, outcome("3", 2))] {
        let cache = Cache::default();
        read_signal(&cache, || {
            commit(&cache, 2, std::slice::from_ref(&change));
            (1, Vec::new())
        });
        assert_eq!(cached_signal(&cache), None, "{change:?}");
        read_signal(&cache, || (2, vec![outcome("3", 2)]));
        assert_eq!(cached_signal(&cache), Some((2, [None, None, Some(2), None])));
    }
}

#[test]
fn a_commit_replaces_what_is_in_memory() {
    let cache = Cache::default();
    commit(&cache, 1, &[put(1)]);
    assert_eq!(hot(&cache), None, "what nobody has read takes no memory");
    read(&cache, || Some(1));
    commit(&cache, 2, &[put(2)]);
    assert_eq!(hot(&cache), Some(2));
    commit(&cache, 4, &[put(3), put(4)]);
    assert_eq!(hot(&cache), Some(4));
}

#[test]
fn a_signal_keeps_its_outcomes_and_gets_new_ones() {
    let cache = Cache::default();
    read_signal(&cache, || (1, vec![outcome("2", 2), outcome("4", 3)]));
    commit(&cache, 4, &[Change::Signal(Arc::new(signal(4)))]);
    assert_eq!(cached_signal(&cache), Some((4, [None, Some(2), None, Some(3)])));
    let changes = [
        Change::Outcome(0, outcome("4", 5)),
        Change::Outcome(0, outcome("1", 6)),
        Change::Signal(Arc::new(signal(7))),
        Change::Outcome(0, outcome("3", 8)),
        Change::Outcome(0, outcome("1", 9)),
    ];
    commit(&cache, 9, &changes);
    assert_eq!(cached_signal(&cache), Some((7, [Some(9), Some(2), Some(8), Some(5)])));
}

#[test]
fn a_signal_that_was_just_looked_at_is_seen_with_what_each_commit_makes_of_it() {
    let cache = Cache::default();
    read_signal(&cache, || (1, Vec::new()));
    assert_eq!(cached_signal(&cache), Some((1, [None; 4])));
    commit(&cache, 2, &[Change::Overlay(user_id("7"), None)]);
    assert_eq!(cached_signal(&cache), Some((1, [None; 4])), "an overlay is none of its business");
    commit(&cache, 3, &[Change::Outcome(0, outcome("2", 3))]);
    assert_eq!(cached_signal(&cache), Some((1, [None, Some(3), None, None])));
    commit(&cache, 4, &[Change::Signal(Arc::new(signal(4)))]);
    assert_eq!(cached_signal(&cache), Some((4, [None, Some(3), None, None])));
    cache.clear();
    assert_eq!(cached_signal(&cache), None);
}

#[test]
fn a_deleted_signal_or_outcome_is_gone_from_memory() {
    let cache = Cache::default();
    read_signal(&cache, || (1, vec![outcome("2", 2), outcome("4", 3)]));
    commit(&cache, 4, &[Change::OutcomeDeleted(signal_id("S1"), user_id("2"))]);
    assert_eq!(cached_signal(&cache), Some((1, [None, None, None, Some(3)])));
    commit(&cache, 5, &[Change::SignalDeleted(signal_id("S1"))]);
    assert_eq!(cached_signal(&cache), None);
    // Deleted and published again in one commit: what happened on the old one did not happen on the new one.
    read_signal(&cache, || (6, Vec::new()));
    let changes = [Change::Outcome(0, outcome("3", 7)), Change::SignalDeleted(signal_id("S1")), put(9)];
    commit(&cache, 9, &changes);
    assert_eq!(cached_signal(&cache), None, "the next reader fetches it");
    let overtaken = cache.signal::<Infallible>(&signal_id("S1"), || {
        commit(&cache, 10, &[Change::SignalDeleted(signal_id("S1"))]);
        Ok(Some(CachedSignal::new(signal(9), Vec::new())))
    });
    assert!(overtaken.unwrap().is_some());
    assert_eq!(cached_signal(&cache), None, "what a delete has overtaken is not kept");
}

/// How many writers there are, each with records of its own, of every kind.
const WRITERS: u64 = 3;
/// Writes of each writer to each of its records.
const ROUNDS: u64 = 150;
/// Overlays that nobody reads, written beside the others to make a commit long.
const FILLERS: u64 = 60;

/// One record: which versions of it may be seen.
#[derive(Default)]
struct Versions {
    /// The last version whose write was begun.
    begun: AtomicU64,
    /// The last version whose write was acknowledged.
    acknowledged: AtomicU64,
}

impl Versions {
    /// Checks what a read saw: no older than what was acknowledged before it began, no newer than what was begun
    /// when it ended.
    fn check(&self, what: &str, read: impl FnOnce() -> u64) {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let seen = read();
        let begun = self.begun.load(Ordering::SeqCst);
        assert!((acknowledged..=begun).contains(&seen), "{what}: {seen} is not within {acknowledged} to {begun}");
    }

    /// The same for a record that is there in odd versions only; `None` is an absent one.
    fn check_deleted(&self, read: impl FnOnce() -> Option<u64>) {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let seen = read();
        let begun = self.begun.load(Ordering::SeqCst);
        let is_possible = |version: u64| if version % 2 == 1 { seen == Some(version) } else { seen.is_none() };
        assert!((acknowledged..=begun).any(is_possible), "{seen:?} is not within {acknowledged} to {begun}");
    }
}

/// The records of one writer.
struct Records {
    user: UserId,
    /// Whose overlay comes and goes.
    guest: UserId,
    signal: SignalId,
    pair: String,
    overlay_versions: Versions,
    guest_versions: Versions,
    signal_versions: Versions,
    outcome_versions: Versions,
    rate_versions: Versions,
    /// Of an outcome and of a signal that come and go.
    guest_outcome_versions: Versions,
    guest_signal_versions: Versions,
}

impl Records {
    fn new(writer: u64) -> Self {
        Self {
            user: user_id(&format!("user-{writer}")),
            guest: user_id(&format!("guest-{writer}")),
            signal: signal_id(&format!("S{writer}")),
            pair: format!("PAIRX{writer}"),
            overlay_versions: Versions::default(),
            guest_versions: Versions::default(),
            signal_versions: Versions::default(),
            outcome_versions: Versions::default(),
            rate_versions: Versions::default(),
            guest_outcome_versions: Versions::default(),
            guest_signal_versions: Versions::default(),
        }
    }

    fn signal_body(&self) -> String {
        format!(r#"{{"signal_id":"{}","symbol":"EURUSD","direction":"BUY","stop_pips":20,"n":0}}"#, self.signal)
    }

    /// The signal that comes and goes has the guest's name.
    fn guest_signal(&self) -> SignalId {
        signal_id(self.guest.as_str())
    }

    /// The write that brings a record to `version`, and its versions.
    fn write(&self, kind: u64, version: u64) -> (Operation, &Versions) {
        let (user, signal, pair, guest) = (&self.user, &self.signal, &self.pair, &self.guest);
        match kind {
            0 => (overlay(user, version), &self.overlay_versions),
            1 if version % 2 == 1 => (overlay(guest, version), &self.guest_versions),
            1 => (delete_overlay(guest.as_str()), &self.guest_versions),
            2 => (patch_signal(signal.as_str(), &format!(r#"{{"n":{version}}}"#)), &self.signal_versions),
            3 => {
                let json = format!(r#"{{"signal_id":"{signal}","user_id":"{user}","status":"fired","n":{version}}}"#);
                (put_outcome(&json, start()), &self.outcome_versions)
            }
            4 => {
                let operation = if version % 2 == 1 {
                    let json =
                        format!(r#"{{"signal_id":"{signal}","user_id":"{guest}","status":"fired","n":{version}}}"#);
                    put_outcome(&json, start())
                } else {
                    let (signal, user) = (signal.clone(), guest.clone());
                    Operation::DeleteOutcome { signal, user, condition: Condition::None }
                };
                (operation, &self.guest_outcome_versions)
            }
            5 => {
                let operation = if version % 2 == 1 {
                    put_signal(&pips_signal(&self.guest).replace('}', &format!(r#","n":{version}}}"#)), start())
                } else {
                    Operation::DeleteSignal { id: self.guest_signal(), condition: Condition::None }
                };
                (operation, &self.guest_signal_versions)
            }
            _ => (put_rate(&format!(r#"{{"pair":"{pair}","price":{version}}}"#), start()), &self.rate_versions),
        }
    }

    /// Writes version after version, each once the one before it is acknowledged.
    fn write_all(&self, service: &Service) {
        for version in 1..=ROUNDS {
            let mut pending = Vec::new();
            for kind in 0..7 {
                let (operation, versions) = self.write(kind, version);
                versions.begun.store(version, Ordering::SeqCst);
                pending.push((service.submit(operation).unwrap(), Some(versions)));
            }
            // They come into the same commits as the writes above, after them.
            for filler in 0..FILLERS {
                let filler = format!("filler-{filler}-{}", self.user);
                pending.push((service.submit(overlay(filler, version)).unwrap(), None));
            }
            for (pending, versions) in pending {
                pending.done_blocking().unwrap();
                if let Some(versions) = versions {
                    versions.acknowledged.store(version, Ordering::SeqCst);
                }
            }
        }
    }

    /// The balance that a batch of all users shows for the writer's own.
    fn balance_in_batch(&self, service: &Service) -> u64 {
        let lines = batch(service, &self.signal).unwrap();
        let user = format!(r#""user_id":"{}","account_balance":"#, self.user);
        let balance = lines.split_once(&user).map_or("0", |(_, rest)| rest.split_once(',').unwrap().0);
        balance.parse().unwrap()
    }

    /// Reads each record once, the overlay in a batch too.
    fn read_all(&self, service: &Service) {
        self.overlay_versions.check("overlay", || balance(service.read_overlay(&self.user)).unwrap_or(0));
        self.overlay_versions.check("view in a batch", || self.balance_in_batch(service));
        self.guest_versions.check_deleted(|| balance(service.read_overlay(&self.guest)));
        self.signal_versions.check("signal", || {
            let cached = service.read_signal(&self.signal).unwrap().unwrap();
            // What is rendered is what is stored.
            let json = String::from_utf8(cached.json.to_vec()).unwrap();
            let n = cached.stored.signal.members.get("n").unwrap();
            assert!(json.ends_with(&format!(r#""n":{n}}}"#)), "{json}");
            n.parse().unwrap()
        });
        self.outcome_versions.check("outcome", || {
            let cached = service.read_signal(&self.signal).unwrap().unwrap();
            cached
                .outcome(self.user.as_str())
                .map_or(0, |stored| stored.outcome.members.get("n").unwrap().parse().unwrap())
        });
        let version_of = |members: &Object| members.get("n").unwrap().parse().unwrap();
        self.guest_outcome_versions.check_deleted(|| {
            let cached = service.read_signal(&self.signal).unwrap().unwrap();
            cached.outcome(self.guest.as_str()).map(|stored| version_of(&stored.outcome.members))
        });
        self.guest_signal_versions.check_deleted(|| {
            let cached = service.read_signal(&self.guest_signal()).unwrap()?;
            Some(version_of(&cached.stored.signal.members))
        });
        self.rate_versions.check("rate", || {
            let rates = service.rates();
            rates.get(&self.pair.parse().unwrap()).map_or(0, |(rate, _)| rate.price.to_string().parse().unwrap())
        });
    }
}

fn balance(overlay: Result<Option<RenderedOverlay>, ServiceError>) -> Option<u64> {
    let balance = overlay.unwrap()?.overlay().unwrap().account_balance.unwrap();
    Some(balance.to_string().parse().unwrap())
}

#[test]
fn no_read_is_older_than_an_acknowledged_write() {
    let world = World::new();
    let service = &world.service;
    let records: Vec<_> = (0..WRITERS).map(Records::new).collect();
    for record in &records {
        service.submit(put_signal(&record.signal_body(), start())).unwrap().done_blocking().unwrap();
    }
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = records.iter().map(|record| scope.spawn(move || record.write_all(service))).collect();
        for reader in 0..3_u64 {
            let (records, is_over) = (&records, &is_over);
            scope.spawn(move || {
                let mut reads = reader;
                while !is_over.load(Ordering::SeqCst) {
                    // Mostly hits, and misses again and again; sometimes long enough in peace for everything to be in
                    // memory.
                    if reads % 5 == 0 && reads % 200 < 100 {
                        service.clear_cache();
                    }
                    reads += 1;
                    for record in records {
                        record.read_all(service);
                    }
                }
            });
        }
        let results: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::SeqCst);
        assert!(results.iter().all(Result::is_ok));
    });
    for record in &records {
        assert_eq!(record.overlay_versions.acknowledged.load(Ordering::SeqCst), ROUNDS);
        record.read_all(service);
    }
}
