//! What one record of a file holds: a signal, a user's facts, an outcome, and the numbers that the old computation
//! wrote.

use std::fmt;

use super::reason::{Note, Refusal};
use crate::domain::{Decimal, Direction, Levels, Object, OutcomeStatus, Signal, Symbol, UnixMillis, UserId};

/// Why nothing was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quarantine {
    /// The reason that counts.
    pub(super) refusal: Refusal,
    /// What was missing or wrong, in words; may be empty.
    pub(super) detail: String,
}

impl Quarantine {
    /// Makes a reason with its detail.
    pub(super) fn new(refusal: Refusal, detail: impl Into<String>) -> Self {
        Self { refusal, detail: detail.into() }
    }
}

impl From<Refusal> for Quarantine {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal, "")
    }
}

/// What one record of a file holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// The shared signal.
    pub(super) signal: Option<SignalPart>,
    /// Facts about a user at a moment.
    pub(super) overlay: Option<OverlayPart>,
    /// What happened for a user on the signal.
    pub(super) outcome: Option<OutcomePart>,
    /// Why the record's signal was not taken, although there is one.
    pub(super) refused: Option<Quarantine>,
    /// What had to be decided or put right.
    pub(super) notes: Vec<Note>,
    /// The numbers that the old computation wrote down.
    pub(super) numbers: OldNumbers,
}

impl Part {
    /// The moment that the record speaks of, where it says so.
    pub(super) fn moment(&self) -> Option<UnixMillis> {
        let made = self.signal.as_ref().map(|part| part.signal.created_at);
        made.or_else(|| self.overlay.as_ref().and_then(|part| part.at))
    }
}

/// A signal that was read from one file.
#[derive(Clone, Debug)]
pub(super) struct SignalPart {
    /// The signal as this file has it.
    pub(super) signal: Signal,
    /// Whether the file or the id says when it was made; if not, the time is the file's own.
    pub(super) is_dated: bool,
}

/// Facts about one user at one moment.
#[derive(Clone, Debug)]
pub(super) struct OverlayPart {
    /// The user.
    pub(super) user: UserId,
    /// When they were written down; `None` if the file does not say: then any that have a time count before them.
    pub(super) at: Option<UnixMillis>,
    /// Members of an overlay, and others, as JSON text; never a size or an amount.
    pub(super) members: Vec<(String, String)>,
}

/// What happened for one user on the record's signal.
#[derive(Clone, Debug)]
pub(super) struct OutcomePart {
    /// The user.
    pub(super) user: UserId,
    /// What.
    pub(super) status: OutcomeStatus,
    /// When.
    pub(super) at: UnixMillis,
    /// Ticket, price, message.
    pub(super) members: Object,
}

/// Numbers of an old file that the new computation is compared with; never imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OldNumbers {
    /// Price to get in at.
    pub(super) entry: Option<Decimal>,
    /// What the stop's field says.
    pub(super) stop: Option<Decimal>,
    /// What the target's field says.
    pub(super) target: Option<Decimal>,
    /// Size in lots, computed for the user.
    pub(super) size: Option<Decimal>,
    /// Size in lots that the engine put into every copy alike.
    pub(super) volume: Option<Decimal>,
    /// What was to be lost at the stop.
    pub(super) risk_amount: Option<Decimal>,
    /// What was to be gained at the target.
    pub(super) reward_amount: Option<Decimal>,
    /// Distance to the target by distance to the stop.
    pub(super) risk_reward: Option<Decimal>,
    /// The balance.
    pub(super) balance: Option<Decimal>,
    /// Risk in percent.
    pub(super) risk_percent: Option<Decimal>,
    /// Seconds that were left when it was written.
    pub(super) time_remaining: Option<Decimal>,
}

/// What makes two signals the same trade, their times aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TradeKey {
    symbol: Symbol,
    direction: Direction,
    levels: Levels,
    /// A file may leave it out and speak of the same trade.
    pub(super) confidence: Option<Decimal>,
}

impl TradeKey {
    /// The key of a signal.
    pub(super) fn of(signal: &Signal) -> Self {
        let Signal { symbol, direction, levels, confidence, .. } = signal;
        Self { symbol: symbol.clone(), direction: *direction, levels: *levels, confidence: *confidence }
    }

    /// Whether this says nothing other than `known`: it may leave the confidence out.
    pub(super) fn agrees_with(&self, known: &Self) -> bool {
        self == known || (self.confidence.is_none() && Self { confidence: None, ..known.clone() } == *self)
    }
}

/// The text that ids are made of where a signal needs another id: it must never change.
impl fmt::Display for TradeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |number: Option<Decimal>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let (kind, entry, stop, target) = match self.levels {
            Levels::Prices { entry, stop, target } => ("price", Some(entry), stop, target),
            Levels::Pips { entry, stop, target } => ("pips", entry, stop, target),
        };
        let Self { symbol, direction, confidence, .. } = self;
        let (entry, target, confidence) = (show(entry), show(target), show(*confidence));
        write!(f, "{symbol} {} {kind} {entry} {stop} {target} {confidence}", direction.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(confidence: Option<i64>, target: Option<i64>) -> TradeKey {
        let number = |value: i64| Decimal::from_int(value).unwrap();
        let levels = Levels::Pips { entry: None, stop: number(10), target: target.map(number) };
        let symbol = Symbol::parse("EURUSD").unwrap();
        TradeKey { symbol, direction: Direction::Buy, levels, confidence: confidence.map(number) }
    }

    #[test]
    fn a_key_without_a_confidence_agrees_with_one_that_has_it_and_not_the_other_way_round() {
        assert!(key(None, None).agrees_with(&key(Some(80), None)));
        assert!(key(Some(80), None).agrees_with(&key(Some(80), None)));
        assert!(!key(Some(80), None).agrees_with(&key(None, None)));
        assert!(!key(None, Some(20)).agrees_with(&key(Some(80), None)));
    }

    /// Ids of stored signals are made of it.
    #[test]
    fn the_text_of_a_key_does_not_change() {
        assert_eq!(key(Some(80), Some(20)).to_string(), "EURUSD BUY pips - 10 20 80");
        assert_eq!(key(None, None).to_string(), "EURUSD BUY pips - 10 - -");
    }
}
