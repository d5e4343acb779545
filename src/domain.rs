//! The rules of the trade: what a signal, an overlay and a mission are, and how a size is computed.
//!
//! Everything in here is pure. There is no I/O, no clock, no lock, no `async` and no log line, so that every rule can
//! be tested as a table of values. Input is parsed once, at the edge; a value of one of these types needs no further
//! check.

mod age;
mod condition;
mod cursor;
mod decimal;
mod explain;
mod id;
mod instrument;
mod invalid;
mod mission;
mod object;
mod other_names;
mod outcome;
mod overlay;
mod rate;
mod ratio;
mod record_key;
mod savings;
mod signal;
mod tier;
mod time;
mod token;

pub use age::{MaxAge, MaxAges, confirmation_after_write, latest_confirmation};
pub use condition::Condition;
pub use cursor::{Cursor, NotACursor};
pub(crate) use decimal::TEXT_BYTES_MAX;
pub use decimal::{Decimal, DecimalError, Round};
pub use explain::{Step, explain};
pub use id::{Currency, Pair, SignalId, Symbol, TierName, UserId};
pub use instrument::{FoundInstrument, Instrument, Instruments};
pub use invalid::{Invalid, InvalidKind};
pub use mission::{Budget, Limit, Market, Mission, MissionTarget, Part, Reason, Reasons, Status, Terms, compute};
pub use object::{Object, check_json, write_json_string};
pub(crate) use object::{RawMembers, compact};
pub use outcome::{Outcome, OutcomeStatus, TradeResult};
pub use overlay::{Account, Overlay, OverlayDraft, RiskBasis};
pub use rate::{Conversion, Leg, Rate, RateDraft, Rates};
pub use record_key::{RecordChange, RecordKey};
pub use savings::{Kept, Savings, SavingsRow, Takes};
pub use signal::{Direction, Levels, Signal, SignalDraft, SignalStatus, Target, TargetLevel, UnnamedSignal};
pub use tier::{Tier, Tiers, UserTier};
pub(crate) use time::TIME_BYTES_MAX;
pub use time::{PastMoment, UnixMillis, parse_period};
pub use token::{Expiry, Scope, Token, TokenDraft};
