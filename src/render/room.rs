//! A place of fixed size in which small texts are put together before they are appended at once.
//!
//! Asking for room for each of a dozen pieces takes longer than writing them. A piece of a fixed length is a few
//! moves of the machine, where one of any length is a call; so texts that are written again and again are [`Padded`], copied whole, and
//! what is copied beyond their end is overwritten by the next piece.

use crate::domain::{Decimal, TEXT_ROOM};

/// Holds all numbers of a mission with their names, and a [`Padded`] text behind them.
const ROOM: usize = 768;

/// The place.
#[derive(Debug)]
pub(super) struct Room {
    bytes: [u8; ROOM],
    length: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: [0; ROOM], length: 0 }
    }
}

impl Room {
    /// Begins anew.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// What has been put together. Nothing, if it was too much.
    #[inline]
    pub(super) fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Puts a piece that is the same each time.
    #[inline]
    pub(super) fn put<const LENGTH: usize>(&mut self, piece: &[u8; LENGTH]) {
        self.put_padded(piece, LENGTH);
    }

    /// Puts a number, or `null`.
    #[inline]
    pub(super) fn put_number(&mut self, number: Option<Decimal>) {
        let Some(number) = number else { return self.put(b"null") };
        if let Some(place) = self.bytes.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut::<TEXT_ROOM>) {
            self.length += number.write_into(place);
        }
    }

    /// Puts an integer.
    #[inline]
    pub(super) fn put_integer(&mut self, value: u64) {
        match i64::try_from(value).ok().and_then(Decimal::from_int) {
            Some(whole) => self.put_number(Some(whole)),
            // Seconds until the last moment that a signal may name are more than a `Decimal` holds.
            None => self.put_str(&value.to_string()),
        }
    }

    /// Puts a piece of any length.
    #[inline]
    pub(super) fn put_str(&mut self, piece: &str) {
        let end = self.length + piece.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(piece.as_bytes());
            self.length = end;
        }
    }

    /// Puts a text that was made before.
    #[inline]
    pub(super) fn put_text<const MOST: usize>(&mut self, text: &Padded<MOST>) {
        self.put_padded(&text.bytes, usize::from(text.length));
    }

    /// What was put from a length on, as a text to be put again; `None` if it is too long.
    #[inline]
    pub(super) fn since<const MOST: usize>(&self, start: usize) -> Option<Padded<MOST>> {
        let length = self.length.checked_sub(start).filter(|length| *length <= MOST)?;
        let bytes = self.bytes.get(start..).and_then(<[u8]>::first_chunk)?;
        Some(Padded { bytes: *bytes, length: u8::try_from(length).ok()? })
    }

    #[inline]
    fn put_padded<const MOST: usize>(&mut self, bytes: &[u8; MOST], length: usize) {
        if let Some(place) = self.bytes.get_mut(self.length..).and_then(<[u8]>::first_chunk_mut) {
            *place = *bytes;
            self.length += length;
        }
    }
}

/// A short text in as many bytes as it may have at most.
#[derive(Clone, Debug)]
pub(super) struct Padded<const MOST: usize> {
    bytes: [u8; MOST],
    length: u8,
}

impl<const MOST: usize> Padded<MOST> {
    /// `None` if the text is too long.
    pub(super) fn new(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; MOST];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { bytes, length: u8::try_from(text.len()).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_each_other_whatever_stood_there_before() {
        let mut room = Room::default();
        for _ in 0..2 {
            room.clear();
            room.put_text(&Padded::<8>::new(b"ab").unwrap());
            room.put_number(Some(Decimal::ONE));
            room.put_text(&Padded::<8>::new(b"").unwrap());
            room.put_number(None);
            room.put(b"c");
            assert_eq!(room.text(), b"ab1nullc");
            let again = room.since::<7>(1).unwrap();
            room.put_text(&again);
            assert_eq!(room.text(), b"ab1nullcb1nullc");
            assert!(room.since::<7>(0).is_none());
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_not_cut() {
        assert!(Padded::<2>::new(b"abc").is_none());
        assert!(Padded::<300>::new(&[b'x'; 256]).is_none());
    }
}
