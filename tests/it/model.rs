//! The store, and the service with its cache, against plain maps: any sequence of writes, alone and together, with
//! restarts in between, comes to the same, and after each step reads the same.

use std::collections::BTreeMap;

use overlaid::domain::Condition;
use overlaid::domain::{
    Market, MaxAge, MaxAges, Object, Outcome, Overlay, OverlayDraft, Rate, RateDraft, Rates, Signal, SignalDraft,
    SignalStatus, Terms, UnixMillis, compute,
};
use overlaid::render;
use overlaid::service::{Separator, Service, ServiceError, Settings, ViewTag, export_lines};
use overlaid::store::{Counts, Effect, Operation, Precedence, Snapshot};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use crate::kit::{
    Direct, World, effects, object, plug_json, put_outcome, put_overlay, put_rate, put_signal, signal_id, start, token,
    user_id,
};

/// An hour, and the unit in which the times of a run lie apart.
const LIFETIME_MS: i64 = 3_600_000;
const TICK_MS: i64 = 600_000;
/// How many ticks old a rate or a balance may be; one of more than a tick is stored again when it is confirmed.
const MAX_AGE_TICKS: i64 = 10;

/// What to do next.
#[derive(Clone, Debug)]
enum Step {
    Alone(Write),
    Together(Vec<Write>),
    Restart,
}

/// A write, as few numbers: few records, few values, so that they meet often.
#[derive(Clone, Debug)]
struct Write {
    kind: Kind,
    /// Which record.
    record: u8,
    /// What it is to say.
    value: u8,
    /// The time that it names, in ticks from the start.
    time: Option<i64>,
    now: i64,
    precedence: Precedence,
    condition: Wanted,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    PutSignal,
    PatchSignal,
    DeleteSignal,
    PutOverlay,
    PatchOverlay,
    DeleteOverlay,
    PutOutcome,
    DeleteOutcome,
    DeleteUser,
    PutRate,
    PutToken,
    RevokeToken,
    NoteTokenUse,
    DeleteToken,
}

/// A condition, before it is known what it is about.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    None,
    Exists,
    Absent,
    /// The seq that the record has.
    Current,
    /// One that it had, or never had.
    Other,
}

fn any_write() -> impl Strategy<Value = Write> {
    let kind = prop::sample::select(vec![
        Kind::PutSignal,
        Kind::PutSignal,
        Kind::PatchSignal,
        Kind::DeleteSignal,
        Kind::PutOverlay,
        Kind::PutOverlay,
        Kind::PatchOverlay,
        Kind::DeleteOverlay,
        Kind::PutOutcome,
        Kind::PutOutcome,
        Kind::DeleteOutcome,
        Kind::DeleteUser,
        Kind::PutRate,
        Kind::PutToken,
        Kind::RevokeToken,
        Kind::NoteTokenUse,
        Kind::DeleteToken,
    ]);
    let precedence = prop::sample::select(vec![Precedence::Replace, Precedence::Newest, Precedence::Seed]);
    let condition = prop::sample::select(vec![
        Wanted::None,
        Wanted::None,
        Wanted::None,
        Wanted::Exists,
        Wanted::Absent,
        Wanted::Current,
        Wanted::Other,
    ]);
    (kind, 0..3_u8, 0..3_u8, option::of(0..20_i64), 0..20_i64, precedence, condition).prop_map(
        |(kind, record, value, time, now, precedence, condition)| Write {
            kind,
            record,
            value,
            time,
            now,
            precedence,
            condition,
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_write().prop_map(Step::Alone),
        3 => vec(any_write(), 1..12).prop_map(Step::Together),
        1 => Just(Step::Restart),
    ]
}

fn tick(at: i64) -> UnixMillis {
    start().plus_millis(at * TICK_MS)
}

/// What the file and the memory of a service should hold.
#[derive(Default)]
struct Model {
    /// `None`: as a writer without a service has it.
    max_age_ms: Option<u64>,
    /// The time of the service.
    clock: UnixMillis,
    /// How many changes there were; the file's `seq`.
    seq: u64,
    /// How many signals were published; the number of the next one, as none is given twice.
    published: u64,
    /// By number, each with its `seq`.
    signals: BTreeMap<u64, (u64, Signal)>,
    /// By number: the body that published the signal.
    bodies: BTreeMap<u64, String>,
    /// With confirmations as memory has them.
    overlays: BTreeMap<String, (u64, Overlay)>,
    outcomes: BTreeMap<(u64, String), (u64, Outcome)>,
    rates: BTreeMap<String, (u64, Rate)>,
    /// The confirmations of overlays and rates that the file has.
    stored_overlays: BTreeMap<String, UnixMillis>,
    stored_rates: BTreeMap<String, UnixMillis>,
    tokens: BTreeMap<String, overlaid::domain::Token>,
}

/// `None` stands for a write that is refused.
type Expected = Option<Effect>;

impl Model {
    fn changed(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Makes an operation of a write and does what it should do.
    fn apply(&mut self, write: &Write) -> (Operation, Expected) {
        match write.kind {
            Kind::PutSignal => self.put_signal(write),
            Kind::PatchSignal => self.patch_signal(write),
            Kind::DeleteSignal => self.delete_signal(write),
            Kind::PutOverlay => self.put_overlay(write),
            Kind::PatchOverlay => self.patch_overlay(write),
            Kind::DeleteOverlay => self.delete_overlay(write),
            Kind::PutOutcome => self.put_outcome(write),
            Kind::DeleteOutcome => self.delete_outcome(write),
            Kind::DeleteUser => self.delete_user(write),
            Kind::PutRate => self.put_rate(write),
            Kind::PutToken => self.put_token(write),
            Kind::RevokeToken => self.revoke_token(write),
            Kind::NoteTokenUse => self.note_token_use(write),
            Kind::DeleteToken => self.delete_token(write),
        }
    }

    /// The number of the signal with this id.
    fn number_of(&self, id: &str) -> Option<u64> {
        self.signals.iter().find(|(_, (_, signal))| signal.id.as_str() == id).map(|(number, _)| *number)
    }

    fn put_signal(&mut self, write: &Write) -> (Operation, Expected) {
        let (id, now) = (format!("S{}", write.record), tick(write.now));
        // Mostly without a status, as signals are published.
        let status = ["", "", "", "", r#","status":"active""#, r#","status":"cancelled""#]
            [usize::try_from(write.now % 6).unwrap()];
        let times = write.time.map(|at| format!(r#","created_at":"{}","expires_at":"{}""#, tick(at), tick(at + 4)));
        let json = format!(
            r#"{{"signal_id":"{id}","symbol":"EURUSD","direction":"BUY","stop_pips":{}{}{status}}}"#,
            write.value + 1,
            times.unwrap_or_default()
        );
        let draft = SignalDraft::from_object(object(&json), None).unwrap();
        // A signal that says nothing of its status is active.
        let body = json.replace(r#","status":"active""#, "");
        let precedence = write.precedence;
        let there = self.number_of(&id);
        let (condition, holds) = self.condition(write, there.map(|at| self.signals[&at].0));
        let lifetime_ms = LIFETIME_MS;
        let operation = Operation::PutSignal { draft: draft.clone(), now, lifetime_ms, condition, precedence };
        if !holds {
            return (operation, None);
        }
        let stops = |signal: &Signal| signal.members.get("n").is_none() && draft.same_but_times(signal);
        let new = draft.clone().resolve(now, LIFETIME_MS).unwrap();
        let expected = match there {
            None => {
                let seq = self.changed();
                self.signals.insert(self.published, (seq, new));
                self.bodies.insert(self.published, body);
                self.published += 1;
                Some(Effect::Created)
            }
            Some(at) => {
                let old = &self.signals[&at].1;
                let same_times =
                    write.time.is_none() || (new.created_at, new.expires_at) == (old.created_at, old.expires_at);
                let same_status = new.status() == SignalStatus::Active || new.status() == old.status();
                let new = Signal { status: old.status, ..new };
                let is_again = precedence != Precedence::Seed && self.bodies[&at] == body;
                if is_again || (stops(old) && same_times && same_status) {
                    Some(Effect::Unchanged)
                } else if precedence != Precedence::Seed {
                    None
                } else if stops(old) && now >= old.expires_at && now < new.expires_at {
                    let seq = self.changed();
                    self.signals.insert(at, (seq, new));
                    Some(Effect::Changed)
                } else {
                    Some(Effect::Kept)
                }
            }
        };
        (operation, expected)
    }

    fn patch_signal(&mut self, write: &Write) -> (Operation, Expected) {
        let id = format!("S{}", write.record);
        let expiry = write.time.map(|at| format!(r#""expires_at":"{}","#, tick(at))).unwrap_or_default();
        let n = if write.value == 0 { "null".to_owned() } else { write.value.to_string() };
        let status = ["null", r#""cancelled""#, r#""closed""#, r#""active""#]
            [usize::from(write.value) + usize::from(write.now % 2 == 0)];
        let patch = object(&format!(r#"{{{expiry}"status":{status},"n":{n}}}"#));
        let at = self.number_of(&id);
        let (condition, holds) = self.condition(write, at.map(|at| self.signals[&at].0));
        let operation = Operation::PatchSignal { id: signal_id(&id), patch: patch.clone(), condition };
        let (Some(at), true) = (at, holds) else { return (operation, None) };
        let Ok(new) = self.signals[&at].1.patched(&patch) else { return (operation, None) };
        if new == self.signals[&at].1 {
            return (operation, Some(Effect::Unchanged));
        }
        let seq = self.changed();
        self.signals.insert(at, (seq, new));
        (operation, Some(Effect::Changed))
    }

    fn delete_signal(&mut self, write: &Write) -> (Operation, Expected) {
        let id = format!("S{}", write.record);
        let at = self.number_of(&id);
        let (condition, holds) = self.condition(write, at.map(|at| self.signals[&at].0));
        let operation = Operation::DeleteSignal { id: signal_id(&id), condition };
        let (Some(at), true) = (at, holds) else { return (operation, None) };
        self.signals.remove(&at);
        let before = self.outcomes.len();
        self.outcomes.retain(|(number, _), _| *number != at);
        // Each outcome is a change, and the signal.
        self.seq += (before - self.outcomes.len()) as u64 + 1;
        (operation, Some(Effect::Deleted))
    }

    fn put_overlay(&mut self, write: &Write) -> (Operation, Expected) {
        let (user, now) = (write.record.to_string(), tick(write.now));
        let currency = if write.record == 1 { "JPY" } else { "USD" };
        let json = format!(
            r#"{{"user_id":"{user}","account_balance":{},"account_currency":"{currency}","risk_percent":1{}}}"#,
            balance(write),
            named(write, "updated_at")
        );
        let draft = OverlayDraft::from_object(object(&json), None).unwrap();
        let (condition, holds) = self.condition(write, self.overlays.get(&user).map(|(seq, _)| *seq));
        let precedence = write.precedence;
        let operation = Operation::PutOverlay { draft: draft.clone(), now, condition, precedence };
        if !holds {
            return (operation, None);
        }
        let new = draft.resolve(now);
        let old = self.overlays.get(&user).map(|(_, old)| (says(old), old.updated_at));
        let expected = decide(write.precedence, old, &says(&new), new.updated_at);
        self.write_overlay(user, new, expected, now);
        (operation, Some(expected))
    }

    fn write_overlay(&mut self, user: String, new: Overlay, effect: Effect, now: UnixMillis) {
        let seq = match effect {
            Effect::Created | Effect::Changed => {
                self.stored_overlays.insert(user.clone(), new.balance_confirmed_at);
                self.changed()
            }
            Effect::Unchanged => {
                let (seq, old) = self.overlays[&user].clone();
                let known = (self.stored_overlays[&user], old.balance_confirmed_at);
                let (stored, balance_confirmed_at) = self.confirmed(known, new.balance_confirmed_at, now);
                let is_stored = stored.is_some();
                self.stored_overlays.extend(stored.map(|stored| (user.clone(), stored)));
                let seq = if is_stored { self.changed() } else { seq };
                self.overlays.insert(user, (seq, Overlay { balance_confirmed_at, ..old }));
                return;
            }
            Effect::Kept | Effect::Deleted => return,
        };
        self.overlays.insert(user, (seq, new));
    }

    /// What the file is to have of a confirmation, if it is written, and what memory; `known` is what they have.
    fn confirmed(
        &self,
        (stored, held): (UnixMillis, UnixMillis),
        new: UnixMillis,
        now: UnixMillis,
    ) -> (Option<UnixMillis>, UnixMillis) {
        let later =
            |known: UnixMillis, new: UnixMillis, now: UnixMillis| if known > now { new } else { known.max(new) };
        let latest = later(stored, new, now);
        let is_due = |max_age: u64| stored.millis().abs_diff(latest.millis()) * 10 > max_age;
        if self.max_age_ms.is_some_and(is_due) {
            (Some(latest), if held <= self.clock { latest.max(held) } else { latest })
        } else {
            (None, if latest == stored { held } else { later(held, latest, self.clock) })
        }
    }

    /// Memory is gone: what it had of confirmations beyond the file is too.
    fn restart(&mut self) {
        for (user, (_, overlay)) in &mut self.overlays {
            overlay.balance_confirmed_at = self.stored_overlays[user];
        }
        for (pair, (_, rate)) in &mut self.rates {
            rate.confirmed_at = self.stored_rates[pair];
        }
    }

    fn patch_overlay(&mut self, write: &Write) -> (Operation, Expected) {
        let (user, now) = (write.record.to_string(), tick(write.now));
        let patch = object(&format!(r#"{{"account_balance":{}{}}}"#, balance(write), named(write, "updated_at")));
        let (condition, holds) = self.condition(write, self.overlays.get(&user).map(|(seq, _)| *seq));
        let operation = Operation::PatchOverlay {
            user: user_id(&user),
            patch: patch.clone(),
            now,
            condition,
            precedence: Precedence::Replace,
        };
        let (Some((_, old)), true) = (self.overlays.get(&user), holds) else { return (operation, None) };
        let new = old.patched(patch.clone(), now).unwrap();
        let effect = if says(&new) == says(old) { Effect::Unchanged } else { Effect::Changed };
        self.write_overlay(user, new, effect, now);
        (operation, Some(effect))
    }

    fn delete_overlay(&mut self, write: &Write) -> (Operation, Expected) {
        let user = write.record.to_string();
        let (condition, holds) = self.condition(write, self.overlays.get(&user).map(|(seq, _)| *seq));
        let operation = Operation::DeleteOverlay { user: user_id(&user), condition };
        if !holds || self.overlays.remove(&user).is_none() {
            return (operation, None);
        }
        self.changed();
        (operation, Some(Effect::Deleted))
    }

    fn put_outcome(&mut self, write: &Write) -> (Operation, Expected) {
        let (signal, user) = (signal_id(&format!("S{}", write.record)), user_id(&write.record.to_string()));
        let status = ["fired", "failed", "closed"][usize::from(write.value)];
        let json = format!(r#"{{"status":"{status}"{}}}"#, named(write, "at"));
        let outcome = Outcome::from_object(object(&json), Some(&signal), Some(&user), tick(write.now)).unwrap();
        let number = self.number_of(signal.as_str());
        let key = number.map(|number| (number, user.to_string()));
        let stored = key.as_ref().and_then(|key| self.outcomes.get(key));
        let (condition, holds) = self.condition(write, stored.map(|(seq, _)| *seq));
        let precedence = write.precedence;
        let operation = Operation::PutOutcome { outcome: outcome.clone(), condition, precedence };
        let (Some(key), true) = (key, holds) else { return (operation, None) };
        let old = self.outcomes.get(&key).map(|(_, old)| (old.status.as_str().to_owned(), old.at));
        let expected = decide(write.precedence, old, status, outcome.at);
        if let Effect::Created | Effect::Changed = expected {
            let seq = self.changed();
            self.outcomes.insert(key, (seq, outcome));
        }
        (operation, Some(expected))
    }

    fn delete_outcome(&mut self, write: &Write) -> (Operation, Expected) {
        // Sometimes of a user for whom nothing ever happens.
        let (signal, user) = (format!("S{}", write.record), (write.record + u8::from(write.now == 0)).to_string());
        let key = self.number_of(&signal).map(|number| (number, user.clone()));
        let stored = key.as_ref().and_then(|key| self.outcomes.get(key));
        let (condition, holds) = self.condition(write, stored.map(|(seq, _)| *seq));
        let operation = Operation::DeleteOutcome { signal: signal_id(&signal), user: user_id(&user), condition };
        let (Some(key), true) = (key, holds) else { return (operation, None) };
        if self.outcomes.remove(&key).is_none() {
            return (operation, None);
        }
        self.changed();
        (operation, Some(Effect::Deleted))
    }

    fn delete_user(&mut self, write: &Write) -> (Operation, Expected) {
        let user = write.record.to_string();
        let overlay = self.overlays.get(&user).map(|(seq, _)| *seq);
        let outcomes = self.outcomes.keys().filter(|(_, own)| *own == user).count() as u64;
        let is_there = overlay.is_some() || outcomes > 0;
        let (condition, _) = self.condition(write, overlay);
        let operation = Operation::DeleteUser { user: user_id(&user), condition: condition.clone() };
        if !is_there || !condition.holds(Some(overlay.unwrap_or(0))) {
            return (operation, None);
        }
        self.overlays.remove(&user);
        self.outcomes.retain(|(_, own), _| *own != user);
        self.seq += outcomes + u64::from(overlay.is_some());
        (operation, Some(Effect::Deleted))
    }

    fn put_rate(&mut self, write: &Write) -> (Operation, Expected) {
        // The first is what dollars become yen by.
        let pair = ["USDJPY", "PAIRX1", "PAIRX2"][usize::from(write.record)];
        let json = format!(r#"{{"pair":"{pair}","price":{}{}}}"#, write.value + 1, named(write, "updated_at"));
        self.put_rate_as(write, &json)
    }

    fn put_rate_as(&mut self, write: &Write, json: &str) -> (Operation, Expected) {
        let (draft, now) = (RateDraft::from_object(object(json), None).unwrap(), tick(write.now));
        let new = draft.clone().resolve(now);
        let pair = new.pair.to_string();
        let (condition, holds) = self.condition(write, self.rates.get(&pair).map(|(seq, _)| *seq));
        let operation = Operation::PutRate { draft, now, condition, precedence: write.precedence };
        if !holds {
            return (operation, None);
        }
        let old = self.rates.get(&pair).map(|(_, old)| (old.price.to_string(), old.updated_at));
        let expected = decide(write.precedence, old, &new.price.to_string(), new.updated_at);
        if let Effect::Created | Effect::Changed = expected {
            let seq = self.changed();
            self.stored_rates.insert(pair.clone(), new.confirmed_at);
            self.rates.insert(pair, (seq, new));
        } else if expected == Effect::Unchanged {
            let (seq, old) = self.rates[&pair].clone();
            let known = (self.stored_rates[&pair], old.confirmed_at);
            let (stored, confirmed_at) = self.confirmed(known, new.confirmed_at, now);
            let is_stored = stored.is_some();
            self.stored_rates.extend(stored.map(|stored| (pair.clone(), stored)));
            let seq = if is_stored { self.changed() } else { seq };
            self.rates.insert(pair, (seq, Rate { confirmed_at, ..old }));
        }
        (operation, Some(expected))
    }

    fn put_token(&mut self, write: &Write) -> (Operation, Expected) {
        let id = format!("k{}", write.record);
        let token = token(&id, tick(write.now));
        let operation = Operation::PutToken(token.clone());
        if self.tokens.contains_key(&id) {
            return (operation, None);
        }
        self.changed();
        self.tokens.insert(id, token);
        (operation, Some(Effect::Created))
    }

    fn revoke_token(&mut self, write: &Write) -> (Operation, Expected) {
        let id = format!("k{}", write.record);
        let operation = Operation::RevokeToken(id.clone());
        let Some(token) = self.tokens.get_mut(&id) else { return (operation, None) };
        if token.is_revoked() {
            return (operation, Some(Effect::Unchanged));
        }
        token.scopes.clear();
        self.changed();
        (operation, Some(Effect::Changed))
    }

    fn note_token_use(&mut self, write: &Write) -> (Operation, Expected) {
        let (id, at) = (format!("k{}", write.record), tick(write.now));
        let operation = Operation::NoteTokenUse { id: id.clone(), at };
        let Some(token) = self.tokens.get_mut(&id) else { return (operation, None) };
        if token.last_used_at >= Some(at) {
            return (operation, Some(Effect::Unchanged));
        }
        token.last_used_at = Some(at);
        self.changed();
        (operation, Some(Effect::Changed))
    }

    fn delete_token(&mut self, write: &Write) -> (Operation, Expected) {
        let id = format!("k{}", write.record);
        let operation = Operation::DeleteToken(id.clone());
        if self.tokens.remove(&id).is_none() {
            return (operation, None);
        }
        self.changed();
        (operation, Some(Effect::Deleted))
    }

    /// The condition of a write on a record with this `seq`, and whether it holds.
    fn condition(&self, write: &Write, seq: Option<u64>) -> (Condition, bool) {
        match write.condition {
            Wanted::None => (Condition::None, true),
            Wanted::Exists => (Condition::Exists, seq.is_some()),
            Wanted::Absent => (Condition::Absent, seq.is_none()),
            Wanted::Current => (Condition::SeqIn(vec![self.seq + 9, seq.unwrap_or(0)]), seq.is_some()),
            Wanted::Other => {
                let all_others = (0..=self.seq + 1).filter(|other| Some(*other) != seq).collect();
                (Condition::SeqIn(all_others), false)
            }
        }
    }

    /// Compares everything that can be read with what should be there.
    fn check(&self, snapshot: &Snapshot) {
        let signals: Vec<_> = snapshot.signals().unwrap().map(Result::unwrap).collect();
        let own = self.signals.iter().map(|(number, (seq, signal))| (*number, *seq, signal));
        assert!(signals.iter().map(|stored| (stored.number, stored.seq, &stored.signal)).eq(own));
        for stored in &signals {
            assert_eq!(snapshot.signal(&stored.signal.id).unwrap().as_ref(), Some(stored));
        }
        for now in (0..24).step_by(3).map(tick) {
            let mut active: Vec<_> = signals.iter().filter(|stored| stored.signal.expires_at > now).collect();
            active.sort_by_key(|stored| (stored.signal.expires_at, stored.number));
            let listed: Vec<_> = snapshot.signals_active(now, None).unwrap().map(Result::unwrap).collect();
            assert!(listed.iter().eq(active));
        }
        let overlays: Vec<_> = snapshot.overlays(None).unwrap().map(Result::unwrap).collect();
        assert!(overlays.iter().map(|stored| (stored.seq, stored.overlay.clone())).eq(self.overlays.iter().map(
            |(user, (seq, overlay))| {
                let balance_confirmed_at = self.stored_overlays[user];
                (*seq, Overlay { balance_confirmed_at, ..overlay.clone() })
            }
        )));
        let outcomes: Vec<_> = snapshot.outcomes().unwrap().map(Result::unwrap).collect();
        assert!(
            outcomes
                .iter()
                .map(|stored| (stored.seq, &stored.outcome))
                .eq(self.outcomes.values().map(|(seq, outcome)| (*seq, outcome)))
        );
        for user in ["0", "1", "2", "3"] {
            let id = user_id(user);
            let of_user = snapshot.outcomes_of(&id, None).unwrap().map(Result::unwrap);
            let of_user: Vec<_> = of_user.map(|(number, stored)| (number, stored.seq)).collect();
            let own = self.outcomes.iter().filter(|((_, own), _)| own == user).rev();
            assert!(of_user.iter().copied().eq(own.map(|((number, _), (seq, _))| (*number, *seq))));
        }
        overlaid::store::contents(snapshot, 0).unwrap();
        let rates = snapshot.rates().unwrap();
        assert!(
            rates
                .iter()
                .map(|rate| (rates.get(&rate.pair).unwrap().1, rate.clone()))
                .eq(self.rates.iter().map(|(pair, (seq, rate))| {
                    (*seq, Rate { confirmed_at: self.stored_rates[pair], ..rate.clone() })
                }))
        );
        assert!(snapshot.tokens().unwrap().iter().eq(self.tokens.values()));
        let counts = Counts {
            signals: self.signals.len() as u64,
            overlays: self.overlays.len() as u64,
            outcomes: self.outcomes.len() as u64,
            rates: self.rates.len() as u64,
            tokens: self.tokens.len() as u64,
        };
        assert_eq!(snapshot.counts().unwrap(), counts);
        assert_eq!(snapshot.seq().unwrap(), self.seq);
    }
}

/// The balance that a write names.
fn balance(write: &Write) -> u32 {
    u32::from(write.value) * 1_000_000
}

/// The member in which a write names its time.
fn named(write: &Write, name: &str) -> String {
    write.time.map(|at| format!(r#","{name}":"{}""#, tick(at))).unwrap_or_default()
}

/// What an overlay says beside the time.
fn says(overlay: &Overlay) -> String {
    overlay.account_balance.unwrap().to_string()
}

/// What becomes of a record that says `new`, over one that says something, from some time.
fn decide(precedence: Precedence, old: Option<(String, UnixMillis)>, new: &str, new_time: UnixMillis) -> Effect {
    let Some((old, old_time)) = old else { return Effect::Created };
    if old == new {
        return Effect::Unchanged;
    }
    let wins = match precedence {
        Precedence::Replace => true,
        Precedence::Newest => new_time >= old_time,
        Precedence::Seed => false,
    };
    if wins { Effect::Changed } else { Effect::Kept }
}

/// Runs the steps on a store and on the model, comparing them all the way; returns the store.
fn run(steps: &[Step]) -> Direct {
    let (mut direct, mut model) = (Direct::new(), Model::default());
    for step in steps {
        match step {
            Step::Alone(write) => {
                let (operation, expected) = model.apply(write);
                assert_eq!(effects(&[direct.write(operation)]), [expected], "{write:?}");
            }
            Step::Together(writes) => {
                let hold = Write {
                    kind: Kind::PutRate,
                    record: 0,
                    value: 0,
                    time: None,
                    now: 0,
                    precedence: Precedence::Replace,
                    condition: Wanted::None,
                };
                model.put_rate_as(&hold, &plug_json(model.seq));
                let (operations, expected): (Vec<_>, Vec<_>) = writes.iter().map(|write| model.apply(write)).unzip();
                assert_eq!(effects(&direct.together(operations)), expected, "{writes:?}");
            }
            Step::Restart => {
                direct = direct.restart();
                model.restart();
            }
        }
        assert_eq!(direct.seq(), model.seq, "{step:?}");
    }
    model.check(&direct.snapshot());
    let direct = direct.restart();
    model.check(&direct.snapshot());
    direct
}

/// A service, and what it is compared with.
struct Through {
    world: World,
    runtime: Runtime,
    tables: Settings,
    model: Model,
}

impl Through {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let millis = u64::try_from(MAX_AGE_TICKS * TICK_MS).unwrap();
        let max_age = Some(MaxAge::from_millis(millis));
        let world = World::with_max_ages(MaxAges { rate: max_age, balance: max_age });
        let model = Model { max_age_ms: Some(millis), clock: world.service.now(), ..Model::default() };
        Self { world, runtime, tables: Settings::built_in().unwrap(), model }
    }

    fn service(&self) -> &Service {
        &self.world.service
    }

    fn set_clock(&mut self, at: i64) {
        self.world.advance(tick(at).millis() - self.service().now().millis());
        self.model.clock = self.service().now();
    }

    /// Does a write by itself, at its time.
    fn write(&mut self, write: &Write) {
        self.set_clock(write.now);
        let (operation, expected) = self.model.apply(write);
        let written = match operation {
            // Has a way of its own, past the writer if nothing is to be changed.
            Operation::PatchOverlay { user, patch, condition, .. } => {
                self.runtime.block_on(self.service().patch_overlay(user, patch, condition)).map(|done| done.effect)
            }
            operation => self.runtime.block_on(self.service().write(operation)).map(|receipt| receipt.effect),
        };
        assert_eq!(effect(written), expected, "{write:?}");
    }

    /// Queues writes together; how they fall into commits is up to the writer.
    fn write_together(&mut self, writes: &[Write]) {
        let now = writes.iter().map(|write| write.now).max().unwrap();
        self.set_clock(now);
        let writes: Vec<_> = writes.iter().map(|write| Write { now, ..write.clone() }).collect();
        let (operations, expected): (Vec<_>, Vec<_>) = writes.iter().map(|write| self.model.apply(write)).unzip();
        let pending: Vec<_> =
            operations.into_iter().map(|operation| self.service().submit(operation).unwrap()).collect();
        let written: Vec<_> =
            pending.into_iter().map(|pending| effect(pending.done_blocking().map(|receipt| receipt.effect))).collect();
        assert_eq!(written, expected, "{writes:?}");
    }

    /// Reads every record, view and batch, and compares it with what pure functions make of the maps.
    fn check(&self) {
        let (service, model) = (self.service(), &self.model);
        assert_eq!(service.snapshot().unwrap().seq().unwrap(), model.seq);
        let rates = service.rates();
        let held = rates.iter().map(|rate| (rates.get(&rate.pair).unwrap().1, rate));
        assert!(held.eq(model.rates.values().map(|(seq, rate)| (*seq, rate))));
        let tokens: BTreeMap<_, _> = service.tokens().into_iter().map(|token| (token.id.clone(), token)).collect();
        assert_eq!(tokens, model.tokens);
        for user in ["0", "1", "2"] {
            let read = service.read_overlay(&user_id(user)).unwrap();
            let own = model.overlays.get(user);
            assert_eq!(
                read.as_ref().map(|read| (read.seq(), read.overlay().unwrap())),
                own.map(|(seq, own)| (*seq, own.clone()))
            );
            assert_eq!(read.map(|read| read.json().to_vec()), own.map(|(_, own)| render::overlay_json(own)));
        }
        for id in ["S0", "S1", "S2"] {
            if let Some(number) = model.number_of(id) {
                self.check_signal(number);
            } else {
                assert!(service.read_signal(&signal_id(id)).unwrap().is_none());
                let batch = self.runtime.block_on(service.batch(&signal_id(id), None));
                assert!(matches!(batch, Err(ServiceError::Absent(_))));
            }
        }
    }

    fn check_signal(&self, number: u64) {
        let (service, model, now) = (self.service(), &self.model, self.service().now());
        let (seq, signal) = &model.signals[&number];
        let read = service.read_signal(&signal.id).unwrap().unwrap();
        assert_eq!((read.stored.number, read.stored.seq, &read.stored.signal), (number, *seq, signal));
        assert_eq!(read.json.to_vec(), render::signal_json(signal));
        let own = model.outcomes.iter().filter(|((on, _), _)| *on == number).map(|(_, (seq, own))| (*seq, own));
        assert!(read.outcomes().iter().map(|stored| (stored.seq, &stored.outcome)).eq(own));

        let mut rates = Rates::default();
        for (seq, rate) in model.rates.values() {
            rates.put(rate.clone(), *seq);
        }
        let market = Market {
            instruments: &self.tables.instruments,
            tiers: &self.tables.tiers,
            rates: &rates,
            max_ages: self.world.max_ages(),
        };
        let mut lines = String::new();
        for (user, (overlay_seq, overlay)) in &model.overlays {
            let outcome = model.outcomes.get(&(number, user.clone()));
            let mission = compute(signal, overlay, outcome.map(|(_, outcome)| outcome), market, now);
            let (signal_json, overlay_json) = (render::signal_json(signal), render::overlay_json(overlay));
            let mut own = Vec::new();
            let terms = Terms::new(signal, &overlay.account_currency, market);
            render::write_view(&mut own, &signal_json, &overlay_json, &mission, &terms);
            let own = String::from_utf8(own).unwrap();
            let viewed = self.runtime.block_on(self.world.view(signal.id.as_str(), user)).unwrap();
            assert_eq!(viewed, own);
            let viewed_tag = self.runtime.block_on(self.world.view_tag(signal.id.as_str(), user));
            let is_converted = overlay.account_currency.as_str() == "JPY";
            let rate = model.rates.get("USDJPY").filter(|_| is_converted);
            let is_stale = |at: UnixMillis| now.millis().abs_diff(at.millis()) > model.max_age_ms.unwrap();
            let (rate_seq, outcome_seq) = (rate.map_or(0, |(seq, _)| *seq), outcome.map_or(0, |(seq, _)| *seq));
            let newest = [*seq, *overlay_seq, rate_seq, outcome_seq].into_iter().max().unwrap();
            let tag = ViewTag {
                rules: service.rules(),
                run: service.cursor_of(newest).run,
                signal_seq: *seq,
                overlay_seq: *overlay_seq,
                rate_seqs: [rate_seq, 0],
                outcome_seq,
                balance_confirmed_at: overlay.balance_confirmed_at,
                rates_confirmed_at: rate.map(|(_, rate)| rate.confirmed_at),
                are_stale: [
                    is_stale(overlay.balance_confirmed_at),
                    rate.is_some_and(|(_, rate)| is_stale(rate.confirmed_at)),
                ],
                is_early: now < signal.active_from(),
                is_expired: now >= signal.expires_at,
            };
            assert_eq!(viewed_tag, tag);
            lines += &(own + "\n");
        }
        let mut batch = self.runtime.block_on(service.batch(&signal.id, None)).unwrap();
        let mut written = Vec::new();
        while !batch.is_done() {
            batch.write_some(2, usize::MAX, Separator::Newline, &mut written);
        }
        assert_eq!(String::from_utf8(written).unwrap(), lines);
    }
}

/// What came of a write; `None` if it was refused, which is all that may go wrong with it.
fn effect(written: Result<Effect, ServiceError>) -> Expected {
    use ServiceError::{Absent, ConditionFailed, Conflict, Invalid};
    match written {
        Ok(effect) => Some(effect),
        Err(Absent(_) | Conflict(_) | ConditionFailed | Invalid(_)) => None,
        Err(other) => panic!("{other}"),
    }
}

/// Runs the steps on a service and on the model. After each, everything is read; before some, the cache is emptied.
fn run_through(steps: &[(bool, Step)]) {
    let mut through = Through::new();
    for (forgets, step) in steps {
        if *forgets {
            through.service().clear_cache();
        }
        match step {
            Step::Alone(write) => through.write(write),
            Step::Together(writes) => through.write_together(writes),
            Step::Restart => {
                through.world = through.world.restart();
                through.model.restart();
            }
        }
        through.check();
    }
    through.model.check(&through.service().snapshot().unwrap());
}

fn export(snapshot: &Snapshot) -> Vec<Vec<u8>> {
    export_lines(snapshot).unwrap().map(Result::unwrap).collect()
}

/// Loads lines into an empty service, twice, and exports what has come of it.
fn reload(lines: &[Vec<u8>], precedence: Precedence) -> Vec<Vec<u8>> {
    let world = World::new();
    world.advance(100 * TICK_MS);
    for _ in 0..2 {
        let mut reader = world.service.line_reader(precedence);
        let seq = world.service.snapshot().unwrap().seq().unwrap();
        for line in lines {
            assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            let operation = reader.line(line, world.service.now()).unwrap().unwrap();
            world.service.submit(operation).unwrap().done_blocking().unwrap();
        }
        let loaded = world.service.snapshot().unwrap().seq().unwrap();
        assert_eq!(loaded - seq, if seq == 0 { lines.len() as u64 } else { 0 }, "the second time changes nothing");
    }
    export(&world.service.snapshot().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_writes_come_to_what_plain_maps_come_to(steps in vec(any_step(), 1..40)) {
        let direct = run(&steps);
        let lines = export(&direct.snapshot());
        for precedence in [Precedence::Replace, Precedence::Newest, Precedence::Seed] {
            prop_assert_eq!(&reload(&lines, precedence), &lines);
        }
    }

    #[test]
    fn whatever_is_read_through_the_service_is_what_plain_maps_say(
        steps in vec((prop::bool::weighted(0.3), any_step()), 1..60),
    ) {
        run_through(&steps);
    }
}

/// What the lines of an export hold is what was put, whatever members a record has.
#[test]
fn an_export_is_loaded_again_as_it_was() {
    let direct = Direct::new();
    let odd = r#""a":1.10,"b":[1,{"c":"\"\\é\u0001"}],"":null,"\n":"x y","big":123456789012345678901234567890"#;
    for json in [
        format!(
            r#"{{"signal_id":"S1","symbol":"eur/usd","direction":"buy","entry_price":"1.0850","stop_loss":1.083,"stop_pips":20,{odd}}}"#
        ),
        format!(
            r#"{{"signal_id":"S2","symbol":"XAUUSD","direction":"SELL","entry_price":3400,"stop_pips":50,"target_pips":75,"pattern_type":"ü",{odd}}}"#
        ),
    ] {
        direct.put(put_signal(&json, start()));
    }
    direct.put(put_overlay(&format!(r#"{{"user_id":"-100","tier":"press pass","risk_percent":0.5,{odd}}}"#), start()));
    direct.put(put_outcome(&format!(r#"{{"signal_id":"S2","user_id":"9","status":"FIRED",{odd}}}"#), start()));
    direct.put(put_rate(r#"{"pair":"usd/jpy","price":0.00000001}"#, start()));
    let lines = export(&direct.snapshot());
    assert_eq!(lines.len(), 5);
    for line in &lines {
        Object::parse(line).unwrap();
    }
    assert_eq!(reload(&lines, Precedence::Replace), lines);
}
