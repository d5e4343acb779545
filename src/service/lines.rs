//! Splits bytes that come in pieces into lines.
//!
//! Lines end in LF or CRLF; the last may lack its end. Blank lines are counted and skipped. So are the marks that
//! senders put around a text: one byte order mark at its beginning, and one NUL at its end, as MetaTrader's
//! `WebRequest` sends it. No more than one line and one piece are in memory.

use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{AnyDelimiterCodec, Decoder as _};

/// Longest line, in bytes without its end; the body of a single record has the same limit.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A text without a byte order mark at its beginning and a NUL at its end.
#[must_use]
pub fn without_marks(text: &[u8]) -> &[u8] {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    text.strip_suffix(b"\0").unwrap_or(text)
}

/// A line that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1, blank lines included.
    pub number: u64,
    /// The line without its end, not yet known to be UTF-8 or JSON; `None` for one of more than [`LINE_BYTES_MAX`]
    /// bytes, which is skipped.
    pub text: Option<Bytes>,
}

/// Takes pieces and gives lines.
#[derive(Debug)]
pub struct LineSplitter {
    codec: AnyDelimiterCodec,
    buffer: BytesMut,
    /// Of the line that was given last.
    number: u64,
}

impl Default for LineSplitter {
    fn default() -> Self {
        // One byte more than a line may have, as it may be the CR of its end.
        let codec = AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), b"\n".to_vec(), LINE_BYTES_MAX + 1);
        Self { codec, buffer: BytesMut::new(), number: 0 }
    }
}

impl LineSplitter {
    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole line; `None` if more pieces are needed for it.
    pub fn next_line(&mut self) -> Option<Line> {
        loop {
            let decoded = self.codec.decode(&mut self.buffer).transpose()?;
            if let Some(line) = self.number_line(decoded.ok(), false) {
                return Some(line);
            }
        }
    }

    /// The last line, if it lacks its end, once there are no more pieces.
    pub fn last_line(&mut self) -> Option<Line> {
        let decoded = self.codec.decode_eof(&mut self.buffer).transpose()?;
        self.number_line(decoded.ok(), true)
    }

    /// Counts a line, of which the codec refuses only too long ones (`None`). Returns `None` for a blank one.
    fn number_line(&mut self, text: Option<Bytes>, is_last: bool) -> Option<Line> {
        self.number += 1;
        let is_first = self.number == 1;
        let text = text.map(|text| {
            let line = if is_first { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text) } else { &text };
            let line = if is_last { line.strip_suffix(b"\0").unwrap_or(line) } else { line };
            text.slice_ref(line.strip_suffix(b"\r").unwrap_or(line))
        });
        if text.as_ref().is_some_and(|text| text.trim_ascii().is_empty()) {
            return None;
        }
        Some(Line { number: self.number, text: text.filter(|text| text.len() <= LINE_BYTES_MAX) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers and texts of the lines; a line that is too long is `!`.
    fn lines<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(u64, String)> {
        let mut splitter = LineSplitter::default();
        let mut seen = Vec::new();
        for piece in pieces {
            splitter.push(piece);
            seen.extend(std::iter::from_fn(|| splitter.next_line()));
        }
        seen.extend(splitter.last_line());
        assert_eq!(splitter.last_line(), None, "the end stays the end");
        let text = |line: Line| line.text.map_or("!".to_owned(), |text| String::from_utf8(text.to_vec()).unwrap());
        seen.into_iter().map(|line| (line.number, text(line))).collect()
    }

    fn numbered(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected.iter().map(|(number, text)| (*number, (*text).to_owned())).collect()
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let text = b"one\r\n\n  \ntwo\n\r\nthree";
        let expected = numbered(&[(1, "one"), (4, "two"), (6, "three")]);
        for size in 1..=text.len() {
            assert_eq!(lines(text.chunks(size)), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn nothing_has_no_lines() {
        assert_eq!(lines([]), []);
        assert_eq!(lines([&b"\n\r\n \n"[..], b""]), []);
        assert_eq!(lines([&b"a\n"[..]]), numbered(&[(1, "a")]));
    }

    #[test]
    fn marks_around_a_text_are_skipped_once_and_only_there() {
        let shown = |text: &str| {
            let whole = lines(text.as_bytes().chunks(1000));
            assert_eq!(lines(text.as_bytes().chunks(1)), whole, "in single bytes");
            whole
        };
        assert_eq!(shown("\u{feff}a\nb\0"), numbered(&[(1, "a"), (2, "b")]));
        assert_eq!(shown("\u{feff}a\r\n\0"), numbered(&[(1, "a")]));
        assert_eq!(shown("a\r\0"), numbered(&[(1, "a")]));
        assert_eq!(shown("\u{feff}\0"), []);
        assert_eq!(shown("\u{feff}\u{feff}a\0\0"), numbered(&[(1, "\u{feff}a\0")]));
        assert_eq!(shown("a\0\n\u{feff}b"), numbered(&[(1, "a\0"), (2, "\u{feff}b")]));
        assert_eq!(without_marks("\u{feff}{}\0".as_bytes()), b"{}");
        assert_eq!(without_marks(b"{}\0\0"), b"{}\0");
    }

    #[test]
    fn a_line_that_is_too_long_is_reported_once_and_skipped() {
        let longest = "x".repeat(LINE_BYTES_MAX);
        let too_long = "x".repeat(LINE_BYTES_MAX + 1);
        let text = format!("a\n{longest}\r\n{too_long}\n{longest}{longest}{longest}\nb\n{longest}y");
        let expected = numbered(&[(1, "a"), (2, &longest), (3, "!"), (4, "!"), (5, "b"), (6, "!")]);
        for size in [text.len(), 1 << 16, 8192, 1000] {
            assert_eq!(lines(text.as_bytes().chunks(size)), expected, "in pieces of {size}");
        }
    }
}
