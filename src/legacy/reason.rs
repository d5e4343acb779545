//! Why a file, or a part of one, was not taken, and what had to be put right in one that was.
//!
//! Each has one stable name that reports and counts use. A file that nothing can be taken from is quarantined under
//! exactly one of these; it is archived like any other.

/// Makes an enum whose variants have a stable name and a sentence.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $text:literal])* $variant:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $text])* $variant,)* }

        impl $name {
            /// All of them, in the order in which they are listed.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// A sentence for an operator.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => concat!($($text),*).trim_ascii(),)* }
            }
        }
    };
}

named! {
    /// Why nothing, or no signal, was taken from a file.
    Refusal {
        /// The file is empty.
        Empty = "empty",
        /// The file is larger than 1 MiB; no mission is.
        TooLarge = "too_large",
        /// The file could not be read.
        Unreadable = "unreadable",
        /// The directory could not be read.
        UnreadableDirectory = "unreadable_directory",
        /// A symbolic link: what it names is read where it lies, if that is in the tree.
        Symlink = "symlink",
        /// A symbolic link that leads back to itself.
        SymlinkLoop = "symlink_loop",
        /// A symbolic link to nothing.
        SymlinkDangling = "symlink_dangling",
        /// A socket.
        Socket = "socket",
        /// A named pipe.
        Fifo = "fifo",
        /// A device.
        Device = "device",
        /// A database, that of this program or a copy: it is not read.
        Database = "database",
        /// The file begins with a byte order mark.
        ByteOrderMark = "byte_order_mark",
        /// The bytes are not UTF-8.
        NotUtf8 = "not_utf8",
        /// The JSON ends in the middle.
        Truncated = "truncated",
        /// A number is NaN or infinite.
        NotANumber = "not_a_number",
        /// The text is not JSON.
        MalformedJson = "malformed_json",
        /// An object holds a member twice.
        DuplicateMember = "duplicate_member",
        /// The JSON is nested deeper than 32 levels.
        TooDeep = "too_deep",
        /// The file is a log: one JSON value a line.
        JsonLines = "json_lines",
        /// The file is an array, not an object.
        Array = "array",
        /// The file is a single string, number, true, false or null.
        NoObject = "no_object",
        /// The file is an object without members.
        EmptyObject = "empty_object",
        /// A note of a message that was sent, with no direction and no levels.
        TelegramMessage = "telegram_message",
        /// A notice for the web page, with neither signal nor user.
        Notification = "notification",
        /// Facts about an account that names no user.
        NoUserId = "no_user_id",
        /// A user without tier, balance, risk or anything else that an overlay holds.
        NoOverlayFacts = "no_overlay_facts",
        /// Records that lie in an array inside the file.
        RecordsInArray = "records_in_array",
        /// Neither a signal nor a user's facts were found.
        NotRecognised = "not_recognised",
        /// Neither the file nor its name has an id for the signal.
        NoSignalId = "no_signal_id",
        /// An id has forbidden bytes or is too long.
        InvalidId = "invalid_id",
        /// The signal has no symbol.
        NoSymbol = "no_symbol",
        /// The file names two different symbols for one signal.
        SymbolConflict = "symbol_conflict",
        /// The signal has no direction.
        NoDirection = "no_direction",
        /// The file says both to buy and to sell.
        DirectionConflict = "direction_conflict",
        /// The signal has neither stop nor target nor entry.
        NoLevels = "no_levels",
        /// The signal has no stop, neither as a price nor in pips.
        NoStop = "no_stop",
        /// The stop is a price and there is no entry price.
        NoEntry = "no_entry",
        /// The file names two different users for one record.
        UserConflict = "user_conflict",
        /// The file gives two different sets of prices.
        LevelsConflict = "levels_conflict",
        /// The stop may be a price or a number of pips: both would make sense.
        AmbiguousLevels = "ambiguous_levels",
        /// The stop or target lies on the wrong side of the entry or far from it, and is no number of pips either.
        StopWrongSide = "stop_wrong_side",
        /// The stop is no price near the entry, and the symbol is in no instrument table, whose pip would tell the rest.
        UnknownInstrument = "unknown_instrument",
        /// The stop lies less than a pip away, and nothing proves what was meant.
        StopBelowOnePip = "stop_below_one_pip",
        /// The entry is no price of the symbol, so prices around it mean nothing.
        PlaceholderEntry = "placeholder_entry",
        /// A member has a value that a signal can not have.
        InvalidSignal = "invalid_signal",
        /// The record would be larger than can be stored.
        RecordTooLarge = "record_too_large",
    }
}

impl Refusal {
    /// The stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.as_str()
    }
}

named! {
    /// What had to be decided or put right in a file that was taken.
    Note {
        /// The stop stood in a price field and was a number of pips.
        StopInPips = "stop_in_pips",
        /// The stop was set with a pip of 0.0001 on a symbol whose pip is larger.
        PipOfAnotherSymbol = "pip_of_another_symbol",
        /// The entry was no price of the symbol and was left out.
        PlaceholderEntry = "placeholder_entry",
        /// The expiry was not after the creation and was left out.
        ExpiryNotAfterCreation = "expiry_not_after_creation",
        /// The expiry could not be read: kept under `legacy_expires_at`, not used.
        ExpiryUnclear = "expiry_unclear",
        /// The confidence was a fraction of one.
        ConfidenceFraction = "confidence_fraction",
        /// The confidence was 1, which may be 1 % or all, or was no number: kept under `legacy_confidence`, not used.
        ConfidenceUnclear = "confidence_unclear",
        /// The signal has several targets: the first is the target, all of them are kept.
        SeveralTargets = "several_targets",
        /// The symbol was spelled with a broker's suffix, a prefix, or a separator.
        SymbolSpelling = "symbol_spelling",
        /// The symbol was taken from the id.
        SymbolFromId = "symbol_from_id",
        /// The record lay in an object around it.
        Unwrapped = "unwrapped",
        /// The risk was a fraction of one.
        RiskFraction = "risk_fraction",
        /// The risk may be a percentage or a fraction of one: kept under `legacy_risk_percent`, not used.
        RiskUnclear = "risk_unclear",
        /// The win rate may be a percentage or a fraction of one: kept under `legacy_win_rate`, not used.
        WinRateUnclear = "win_rate_unclear",
        /// What happened was said in other words than fired and failed, or by the result alone.
        StatusSpelling = "status_spelling",
        /// Something is said of an order, but not what came of it: there is no outcome.
        OutcomeUnclear = "outcome_unclear",
        /// Something happened to the order, but there is no signal that it could stand under, or no user.
        OutcomeLeftOut = "outcome_left_out",
        /// When the order was fired could not be read: the outcome has the time of the signal.
        OutcomeTimeUnclear = "outcome_time_unclear",
        /// The direction was in lower case, or under another name.
        DirectionSpelling = "direction_spelling",
        /// A number was written for people, with its unit.
        DisplayString = "display_string",
        /// The user id was an alias that begins with `user_`.
        UserAlias = "user_alias",
        /// The user is a group chat.
        GroupUser = "group_user",
        /// The signal's id was taken from the file's name.
        IdFromName = "id_from_name",
        /// The user was taken from the file's name or folder.
        UserFromName = "user_from_name",
        /// The creation time was taken from the id.
        TimeFromId = "time_from_id",
        /// The creation time was reckoned back from the expiry.
        TimeFromExpiry = "time_from_expiry",
        /// The creation time was taken from the file's own time.
        TimeFromFile = "time_from_file",
        /// The order was fired by another user than the mission's.
        FiredByAnother = "fired_by_another",
        /// There were facts about a user without an id.
        UserWithoutId = "user_without_id",
        /// A user's fact had a value that it can not have: kept under `legacy_` and its name, not used.
        InvalidFact = "invalid_fact",
        /// A member nearly spells a known one and was kept under `legacy_` and its name.
        MemberRenamed = "member_renamed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_a_sentence() {
        let names: std::collections::BTreeSet<_> = Refusal::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
        assert!(Refusal::ALL.iter().all(|reason| reason.sentence().ends_with('.')));
        assert!(Note::ALL.iter().all(|note| note.sentence().ends_with('.')));
    }
}
