//! A place in the order of all changes.

use std::fmt;
use std::str::FromStr;

/// A change, named so that no other change has the same name.
///
/// A `seq` alone does not name a change: a restored file, a served copy and a machine that was rolled back all count on
/// from the same number. So each run of a server that writes has a random number, and a change is named by both.
///
/// As text: both numbers in hexadecimal digits, `7c0de1a5-1f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The run of the server that wrote the change; 0 in a file that nothing was written to.
    pub run: u32,
    /// The number of the change.
    pub seq: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.run, self.seq)
    }
}

/// The text is not a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is two hexadecimal numbers with a hyphen between, as an answer of this server gave it")]
pub struct NotACursor;

impl FromStr for Cursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let (run, seq) = text.split_once('-').ok_or(NotACursor)?;
        let run = u32::from_str_radix(run, 16).map_err(|_| NotACursor)?;
        let seq = u64::from_str_radix(seq, 16).map_err(|_| NotACursor)?;
        let cursor = Self { run, seq };
        // One text for each cursor: no sign, no leading zero, no capital digit.
        if cursor.to_string() == text { Ok(cursor) } else { Err(NotACursor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_has_one_text() {
        for cursor in [Cursor { run: 0, seq: 0 }, Cursor { run: u32::MAX, seq: u64::MAX }, Cursor { run: 7, seq: 31 }] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        assert_eq!(Cursor { run: 7, seq: 31 }.to_string(), "7-1f");
        for other in ["", "-", "7", "7-", "-7", "07-1", "7-01", "7-A", "+7-1", "7-+1", "7-1-1", "100000000-1"] {
            assert_eq!(other.parse::<Cursor>(), Err(NotACursor), "{other}");
        }
    }
}
