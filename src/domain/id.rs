//! Ids and names, parsed once and then trusted.
//!
//! A [`SignalId`] or [`UserId`] in hand is valid: 1 to 128 bytes of `[A-Za-z0-9._:@-]`, and not `.` or
//! `..`, so that it is safe in a path, a log line and a file name. User ids may begin with `-`, as the ids
//! of group chats do.

use std::borrow::Borrow;
use std::fmt;

use smol_str::{SmolStr, StrExt as _, format_smolstr};

use super::{Invalid, InvalidKind};

/// Longest id of a signal or user, in bytes: twice the longest seen in practice.
const ID_BYTES_MAX: usize = 128;
/// Longest symbol, in bytes: with a broker's suffixes.
const SYMBOL_BYTES_MAX: usize = 32;
/// Longest currency code, in bytes: ISO 4217 has three, coins have up to ten.
const CURRENCY_BYTES_MAX: usize = 10;
/// Longest tier name, in bytes.
const TIER_BYTES_MAX: usize = 32;

/// Makes a name type that is cloned without a copy on the heap.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(SmolStr);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::parse(text)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a name")
                    }

                    // The error arises inside the visitor, where the deserializer knows which value it is about.
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

name! {
    /// The id of one shared signal, as its engine gave it.
    SignalId
}
name! {
    /// The id of one user, or of one group chat (then it begins with `-`).
    UserId
}
name! {
    /// An instrument's name in upper case without a slash: `EURUSD`, `XAUUSD`, `US30`.
    Symbol
}
name! {
    /// A currency code in upper case: `USD`, `JPY`, `USDT`.
    Currency
}
name! {
    /// Two currencies, as a rate is published: `GBPUSD` is dollars for a pound.
    Pair
}
name! {
    /// A tier's name in upper case with underscores: `PRESS_PASS`.
    TierName
}

impl SignalId {
    /// Checks an id.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::InvalidName`] unless it has 1 to 128 bytes of `[A-Za-z0-9._:@-]` and is not `.` or `..`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        check_id("signal_id", text).map(Self)
    }

    /// Makes an id of a short text: what an id can not have becomes `-`.
    pub(super) fn made(text: &str) -> Self {
        let fit = |letter: char| if u8::try_from(letter).is_ok_and(is_id_byte) { letter } else { '-' };
        Self(text.chars().take(ID_BYTES_MAX).map(fit).collect())
    }
}

impl UserId {
    /// Checks an id.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::InvalidName`] unless it has 1 to 128 bytes of `[A-Za-z0-9._:@-]` and is not `.` or `..`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        check_id("user_id", text).map(Self)
    }
}

impl Symbol {
    /// Reads a symbol in any case, with or without a slash (`usd/jpy`).
    ///
    /// # Errors
    ///
    /// [`InvalidKind::InvalidName`] unless 1 to 32 bytes of `[A-Z0-9+^!&#:._-]` are left.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+^!&#:._-".contains(&byte);
        let symbol = check_name("symbol", &text.replace('/', ""), SYMBOL_BYTES_MAX, is_allowed);
        symbol.map(Self).map_err(|_| name_error("symbol", text, "1 to 32 letters, digits and + ^ ! & # / : . _ -"))
    }
}

impl Currency {
    /// Reads a currency code in any case.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::InvalidName`] unless it has 3 to 10 letters or digits.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() < 3 {
            return Err(name_error("account_currency", text, "3 to 10 letters or digits"));
        }
        check_name("account_currency", text, CURRENCY_BYTES_MAX, |byte| byte.is_ascii_alphanumeric()).map(Self)
    }

    /// United States dollars: what an account holds unless it says otherwise.
    #[must_use]
    pub fn usd() -> Self {
        Self(SmolStr::new_static("USD"))
    }
}

impl Pair {
    /// Reads a pair in any case: `GBPUSD`, or with a slash or hyphen between the codes (`gbp/usd`), which codes of
    /// other than three letters need (`USDT-USD`). The slash goes if both have three.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::InvalidName`] unless it is two currency codes of 3 to 10 letters or digits.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let error = || name_error("pair", text, "two currency codes like GBPUSD, or like USDT-USD where one is longer");
        let (base, quote) = match text.split_once(['/', '-']) {
            Some(codes) => codes,
            // Run together, codes of other lengths could be read in two ways.
            None => text.split_at_checked(3).filter(|(_, quote)| quote.len() == 3).ok_or_else(error)?,
        };
        let code = |text: &str| Currency::parse(text).map_err(|_| error());
        let (base, quote) = (code(base)?, code(quote)?);
        if base == quote { Err(error()) } else { Ok(Self::of(&base, &quote)) }
    }

    /// The pair whose price is that of one `base` in `quote`.
    #[must_use]
    pub fn of(base: &Currency, quote: &Currency) -> Self {
        let between = if base.as_str().len() == 3 && quote.as_str().len() == 3 { "" } else { "-" };
        Self(format_smolstr!("{base}{between}{quote}"))
    }
}

impl TierName {
    /// Reads a tier's name in any case, with blanks and hyphens for underscores (`press pass`).
    ///
    /// # Errors
    ///
    /// [`InvalidKind::InvalidName`] unless 1 to 32 bytes of `[A-Z0-9_]` are left.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let joined = if text.contains([' ', '-']) { &*text.replace([' ', '-'], "_") } else { text };
        check_name("tier", joined, TIER_BYTES_MAX, |byte| byte.is_ascii_alphanumeric() || byte == b'_').map(Self)
    }
}

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte)
}

fn check_id(member: &'static str, text: &str) -> Result<SmolStr, Invalid> {
    let fits = (1..=ID_BYTES_MAX).contains(&text.len());
    if fits && text != "." && text != ".." && text.bytes().all(is_id_byte) {
        Ok(SmolStr::new(text))
    } else {
        Err(name_error(member, text, "1 to 128 bytes of A-Z a-z 0-9 . _ : @ -"))
    }
}

fn check_name(
    member: &'static str,
    text: &str,
    bytes_max: usize,
    is_allowed: impl Fn(u8) -> bool,
) -> Result<SmolStr, Invalid> {
    if (1..=bytes_max).contains(&text.len()) && text.bytes().all(is_allowed) {
        let is_upper = !text.bytes().any(|byte| byte.is_ascii_lowercase());
        Ok(if is_upper { SmolStr::new(text) } else { text.to_ascii_uppercase_smolstr() })
    } else {
        Err(name_error(member, text, "a short name of letters and digits"))
    }
}

fn name_error(member: &'static str, text: &str, rule: &str) -> Invalid {
    /// Long enough to recognise a name by, short enough for a log line.
    const SHOWN_CHARS: usize = 40;
    // A control character would break the line, or the terminal, of a person who reads it.
    let printable = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    let shown: String = text.chars().take(SHOWN_CHARS).map(printable).collect();
    let more = if text.chars().nth(SHOWN_CHARS).is_some() { "…" } else { "" };
    Invalid::member(
        InvalidKind::InvalidName,
        member,
        format!("{member} \"{shown}{more}\" is not valid: expected {rule}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kept_as_given() {
        for id in
            ["a", "ELITE_GUARD_EURUSD_TEST", "-1009000000001", "user_7000000001", "a.b:c@d-e", "...", &"x".repeat(128)]
        {
            assert_eq!(SignalId::parse(id).unwrap().as_str(), id);
            assert_eq!(UserId::parse(id).unwrap().as_str(), id);
        }
    }

    #[test]
    fn ids_that_are_unsafe_in_a_path_or_a_log_line_are_refused() {
        for id in
            ["", ".", "..", "a/b", "a\\b", "a\0b", "a b", "é", "a\n", "a%2fb", &"x".repeat(129), &"x".repeat(10_000)]
        {
            let error = SignalId::parse(id).unwrap_err();
            assert_eq!((error.kind(), error.pointer()), (InvalidKind::InvalidName, "/signal_id"));
            assert!(error.to_string().len() < 400, "the message stays short");
            assert!(UserId::parse(id).is_err());
        }
    }

    #[test]
    fn names_are_brought_to_one_form() {
        assert_eq!(Symbol::parse("usd/jpy").unwrap().as_str(), "USDJPY");
        assert_eq!(Symbol::parse("EURUSD.m").unwrap().as_str(), "EURUSD.M");
        for symbol in ["EURUSD+", "^GDAXI", "US500!", "S&P500", "#AAPL", "NASDAQ:AAPL", "EURUSD_I", "EURUSD-ECN", "1"] {
            assert_eq!(Symbol::parse(symbol).unwrap().as_str(), symbol);
        }
        assert_eq!(Symbol::parse(&format!("{}/{}", "x".repeat(16), "y".repeat(16))).unwrap().as_str().len(), 32);
        assert_eq!(Currency::parse("eur").unwrap().as_str(), "EUR");
        assert_eq!(Pair::parse("gbp/usd").unwrap().as_str(), "GBPUSD");
        assert_eq!(Pair::parse("GBP-USD").unwrap(), Pair::parse("gbpusd").unwrap());
        assert_eq!(Pair::parse("usdt/usd").unwrap().as_str(), "USDT-USD");
        assert_eq!(TierName::parse("press pass").unwrap().as_str(), "PRESS_PASS");
        assert_eq!(TierName::parse("tier-1").unwrap().as_str(), "TIER_1");
    }

    #[test]
    fn names_that_make_no_sense_are_refused() {
        for text in [
            "",
            "/",
            "EUR USD",
            "EURUSD\0",
            "ÉURUSD",
            "EUR\"USD",
            "EUR\\USD",
            "EUR%USD",
            "$SPX",
            "EUR,USD",
            &"X".repeat(33),
        ] {
            assert!(Symbol::parse(text).is_err(), "{text}");
        }
        for text in ["", "US", "US$", "DOLLARSANDCENTS"] {
            assert!(Currency::parse(text).is_err(), "{text}");
        }
        for text in ["", "EUR", "EURUS", "USDTUSD", "EUR-", "-USD", "EUR-US-D", "EUR USD", "ÉURUSD", "EUREUR"] {
            assert!(Pair::parse(text).is_err(), "{text}");
        }
        assert!(TierName::parse("").is_err());
        assert!(TierName::parse("FANG!").is_err());
    }
}
