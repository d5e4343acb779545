//! Records as lines of text: what `load`, `export` and `POST /v1/import` speak (NDJSON).
//!
//! A line is an object with one member that says what it is: `{"signal":{…}}`, `{"overlay":{…}}`, `{"patch":{…}}`,
//! `{"rate":{…}}`, `{"outcome":{…}}`. An overlay replaces the stored one as a whole; a patch names the overlay by its
//! `user_id` and changes the members that it has, as `PATCH` does. A line `{"sample_time":"…"}` says to which moment
//! the times in the lines after it are relative: they are moved so that this moment is now, which keeps sample data
//! from expiring.

use super::Service;
use crate::domain::{
    Condition, Invalid, InvalidKind, Object, Outcome, OverlayDraft, RateDraft, SignalDraft, UnixMillis, UserId,
};
use crate::render;
use crate::store::{Operation, Precedence, Snapshot, StoreError};

/// Turns lines of one file into writes.
#[derive(Clone, Debug)]
pub struct LineReader {
    precedence: Precedence,
    lifetime_ms: i64,
    /// Set by a `sample_time` line.
    shift_ms: Option<i64>,
}

impl LineReader {
    pub(super) fn new(precedence: Precedence, lifetime_ms: i64) -> Self {
        Self { precedence, lifetime_ms, shift_ms: None }
    }

    /// Reads one line; `None` for one that holds no record.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame.
    pub fn line(&mut self, line: &[u8], now: UnixMillis) -> Result<Option<Operation>, Invalid> {
        let object = Object::parse_wrapped(line)?;
        let mut members = object.iter();
        let (Some((kind, value)), None) = (members.next(), members.next()) else {
            return Err(unknown_record());
        };
        let inner = |value: &str| {
            Object::parse(value.as_bytes())
                .map_err(|_| Invalid::member(InvalidKind::WrongType, kind, format!("{kind} must be an object")))
        };
        let operation = match kind {
            "signal" => self.signal(inner(value)?, now)?,
            "overlay" => self.overlay(inner(value)?, now)?,
            "patch" => {
                let mut patch = inner(value)?;
                let user = patch.take_parsed("user_id", UserId::parse)?.ok_or_else(|| {
                    Invalid::member(InvalidKind::MissingMember, "user_id", "a patch needs the user_id of its overlay")
                })?;
                let precedence = self.precedence(&patch, "updated_at");
                Operation::PatchOverlay { user, patch, now, condition: Condition::None, precedence }
            }
            "rate" => {
                let object = inner(value)?;
                let precedence = self.precedence(&object, "updated_at");
                let draft = RateDraft::from_object(object, None)?;
                Operation::PutRate { draft, now, condition: Condition::None, precedence }
            }
            "outcome" => {
                let object = inner(value)?;
                let (has_time, precedence) = (has_time(&object, "at"), self.precedence(&object, "at"));
                let mut outcome = Outcome::from_object(object, None, None, now)?;
                if has_time {
                    outcome.at = outcome.at.plus_millis(self.shift_ms.unwrap_or(0));
                }
                Operation::PutOutcome { outcome, condition: Condition::None, precedence }
            }
            "sample_time" => {
                let mut object = object.clone();
                let moment = object.take_time("sample_time")?.ok_or_else(unknown_record)?;
                self.shift_ms = Some(now.millis() - moment.millis());
                // Sample data never stands against what is there.
                self.precedence = Precedence::Seed;
                return Ok(None);
            }
            _ => return Err(unknown_record()),
        };
        Ok(Some(operation))
    }

    fn signal(&self, object: Object, now: UnixMillis) -> Result<Operation, Invalid> {
        let mut draft = SignalDraft::from_object(object, None)?;
        draft.shift_times(self.shift_ms.unwrap_or(0));
        let (lifetime_ms, precedence) = (self.lifetime_ms, self.precedence);
        Ok(Operation::PutSignal { draft, now, lifetime_ms, condition: Condition::None, precedence })
    }

    fn overlay(&self, object: Object, now: UnixMillis) -> Result<Operation, Invalid> {
        let precedence = self.precedence(&object, "updated_at");
        let mut draft = OverlayDraft::from_object(object, None)?;
        draft.shift_times(self.shift_ms.unwrap_or(0));
        Ok(Operation::PutOverlay { draft, now, condition: Condition::None, precedence })
    }

    /// What becomes of the stored record when one comes whose member `name` is its time.
    ///
    /// One without a time is from now. It is newer than the stored one, also where the clock has been set back since
    /// that was written.
    fn precedence(&self, object: &Object, name: &str) -> Precedence {
        match self.precedence {
            Precedence::Newest if !has_time(object, name) => Precedence::Replace,
            precedence => precedence,
        }
    }
}

fn has_time(object: &Object, name: &str) -> bool {
    object.get(name).is_some_and(|time| time != "null")
}

fn unknown_record() -> Invalid {
    let detail =
        "a line must hold one of {\"signal\":…}, {\"overlay\":…}, {\"patch\":…}, {\"rate\":…}, {\"outcome\":…}";
    Invalid::document(InvalidKind::MissingMember, detail)
}

/// All records of a snapshot as lines, each with its newline: signals before the outcomes on them.
///
/// Tokens are left out: an export is data to hand on, not access.
///
/// # Errors
///
/// [`StoreError`]; items too.
pub fn export_lines(snapshot: &Snapshot) -> Result<impl Iterator<Item = Result<Vec<u8>, StoreError>>, StoreError> {
    let signals = snapshot.signals()?.map(|row| row.map(|row| line("signal", &render::signal_json(&row.signal))));
    let overlays =
        snapshot.overlays(None)?.map(|row| row.map(|row| line("overlay", &render::overlay_record_json(&row.overlay))));
    let rates = snapshot.rates()?;
    let rates: Vec<_> = rates.iter().map(|rate| Ok(line("rate", &render::rate_json(rate)))).collect();
    let outcomes = snapshot.outcomes()?.map(|row| row.map(|row| line("outcome", &render::outcome_json(&row.outcome))));
    Ok(signals.chain(overlays).chain(rates).chain(outcomes))
}

fn line(kind: &str, json: &[u8]) -> Vec<u8> {
    let mut line = format!("{{\"{kind}\":").into_bytes();
    line.extend_from_slice(json);
    line.extend_from_slice(b"}\n");
    line
}

impl Service {
    /// Makes a reader for the lines of one file.
    #[must_use]
    pub fn line_reader(&self, precedence: Precedence) -> LineReader {
        LineReader::new(precedence, self.lifetime_ms())
    }
}
