//! Why a file, or a part of one, was not taken, and what had to be put right in one that was.
//!
//! Each has one stable name, which reports and counts use, and a sentence for an operator, which is its doc comment. A
//! file that nothing can be taken from is quarantined under exactly one of these; it is archived like any other.

use serde::Serialize;
use strum::{Display, EnumMessage};

/// Why nothing, or no signal, was taken from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, EnumMessage, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(test, derive(strum::VariantArray))]
pub enum Refusal {
    /// The file is empty.
    Empty,
    /// The file is larger than 1 MiB; no mission is.
    TooLarge,
    /// The file could not be read.
    Unreadable,
    /// The directory could not be read.
    UnreadableDirectory,
    /// A symbolic link: what it names is read where it lies, if that is in the tree.
    Symlink,
    /// A symbolic link that leads back to itself.
    SymlinkLoop,
    /// A symbolic link to nothing.
    SymlinkDangling,
    /// A socket.
    Socket,
    /// A named pipe.
    Fifo,
    /// A device.
    Device,
    /// A database, that of this program or a copy: it is not read.
    Database,
    /// The bytes are not UTF-8.
    NotUtf8,
    /// The JSON ends in the middle.
    Truncated,
    /// A level is NaN or infinite.
    NotANumber,
    /// The text is not JSON.
    MalformedJson,
    /// An object holds a member twice.
    DuplicateMember,
    /// The JSON is nested deeper than 32 levels.
    TooDeep,
    /// The file is a log: one JSON value a line.
    JsonLines,
    /// The file is an array, not an object.
    Array,
    /// The file is a single string, number, true, false or null.
    NoObject,
    /// The file is an object without members.
    EmptyObject,
    /// A note of a message that was sent, with no direction and no levels.
    TelegramMessage,
    /// A notice for the web page, with neither signal nor user.
    Notification,
    /// Facts about an account that names no user.
    NoUserId,
    /// A user without tier, balance, risk or anything else that an overlay holds.
    NoOverlayFacts,
    /// Records that lie in an array inside the file.
    RecordsInArray,
    /// Neither a signal nor a user's facts were found.
    NotRecognised,
    /// Neither the file nor its name has an id for the signal.
    NoSignalId,
    /// An id has forbidden bytes or is too long.
    InvalidId,
    /// The signal has no symbol.
    NoSymbol,
    /// The file names two different symbols for one signal.
    SymbolConflict,
    /// The signal has no direction.
    NoDirection,
    /// The file says both to buy and to sell.
    DirectionConflict,
    /// The signal has neither stop nor target nor entry.
    NoLevels,
    /// The signal has no stop, neither as a price nor in pips.
    NoStop,
    /// The stop is a price and there is no entry price.
    NoEntry,
    /// The file names two different users for one record.
    UserConflict,
    /// The file gives two different sets of prices.
    LevelsConflict,
    /// The stop may be a price or a number of pips: both would make sense.
    AmbiguousLevels,
    /// The stop or target lies on the wrong side of the entry or far from it, and is no number of pips either.
    StopWrongSide,
    /// The stop is no price near the entry, and no instrument table has the symbol's pip, which would tell the rest.
    UnknownInstrument,
    /// The stop lies less than a pip away, and nothing proves what was meant.
    StopBelowOnePip,
    /// The entry is no price of the symbol, so prices around it mean nothing.
    PlaceholderEntry,
    /// A member has a value that a signal can not have.
    InvalidSignal,
    /// The record would be larger than can be stored.
    RecordTooLarge,
}

/// What had to be decided or put right in a file that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, EnumMessage, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(test, derive(strum::VariantArray))]
pub enum Note {
    /// The stop stood in a price field and was a number of pips.
    StopInPips,
    /// The stop was set with a pip of 0.0001, and the symbol's pip is larger.
    PipOfAnotherSymbol,
    /// The entry was no price of the symbol and was left out.
    PlaceholderEntry,
    /// The expiry was not after the creation and was left out.
    ExpiryNotAfterCreation,
    /// The expiry could not be read: kept under `legacy_expires_at`, not used.
    ExpiryUnclear,
    /// The confidence was a fraction of one.
    ConfidenceFraction,
    /// The confidence was 1, which may be 1 % or all, or was no number: kept under `legacy_confidence`, not used.
    ConfidenceUnclear,
    /// The symbol was taken from the id.
    SymbolFromId,
    /// The risk was a fraction of one.
    RiskFraction,
    /// The risk may be a percentage or a fraction of one: kept under `legacy_risk_percent`, not used.
    RiskUnclear,
    /// The win rate may be a percentage or a fraction of one: kept under `legacy_win_rate`, not used.
    WinRateUnclear,
    /// What happened was said in other words than fired and failed, or by the result alone.
    StatusSpelling,
    /// Something is said of an order, but not what came of it: there is no outcome.
    OutcomeUnclear,
    /// Something happened to the order, but there is no signal or no user to store it under, or it is too large.
    OutcomeLeftOut,
    /// When the order was fired could not be read: the outcome has the time of the signal.
    OutcomeTimeUnclear,
    /// The direction was in lower case, or under another name.
    DirectionSpelling,
    /// A number was written for people, with its unit.
    DisplayString,
    /// The user id was an alias that begins with `user_`, or a number printed from a float.
    UserAlias,
    /// The user is a group chat.
    GroupUser,
    /// The signal's id was taken from the file's name.
    IdFromName,
    /// The user was taken from the file's name or folder.
    UserFromName,
    /// The creation time was taken from the id.
    TimeFromId,
    /// The creation time was reckoned back from the expiry.
    TimeFromExpiry,
    /// The creation time was taken from the file's own time.
    TimeFromFile,
    /// The order was fired by another user than the mission's.
    FiredByAnother,
    /// There were facts about a user without an id.
    UserWithoutId,
    /// A user's fact had a value that it can not have: kept under `legacy_` and its name, not used.
    InvalidFact,
    /// The user's facts were more than can be stored and were left out.
    FactsTooLarge,
    /// A member nearly spells a known one and was kept under `legacy_` and its name: counted by records.
    MemberRenamed,
}

/// The sentence for an operator of a reason, note or cause.
pub fn sentence(named: &impl EnumMessage) -> &'static str {
    named.get_documentation().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn every_reason_has_a_sentence() {
        assert!(Refusal::VARIANTS.iter().all(|reason| sentence(reason).ends_with('.')));
        assert!(Note::VARIANTS.iter().all(|note| sentence(note).ends_with('.')));
        assert_eq!(Refusal::NotUtf8.to_string(), "not_utf8");
    }
}
