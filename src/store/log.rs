//! A log in the file's first page: a small commit is one short write there and one sync.
//!
//! A commit of the engine writes a page for each level of each tree that it touches, all over the file: eight for one balance. Its
//! sync takes three times as long as that of one page. So a commit whose rows have room here is written here alone, and the engine gets the rows of
//! many such commits in one of its own: when the log is full, and when the file is closed. Until then they are laid over its tables (see
//! `rows`).
//!
//! An entry counts if its checksum fits and it begins with the change after the last one before it; the first, with the one after the
//! last change in the tables. So what the tables have meanwhile does not count, nor does what follows it, and an entry that the power
//! cut off was never acknowledged. An entry that begins later than that says that a commit of the engine has been lost that was on the
//! disk: no entry is written before the one ahead of it, or the commit of the engine, is synced.
//!
//! Behind each entry stands a length of zero. What was there before may be text that somebody chose, who could have written an entry into it
//! that begins with the right change.
//!
//! The log stands between what the engine uses of its first page and the mark, and shares no sector with either. A copy of the file sees it
//! with the header, at its beginning: a copy meets at most one commit (see `copy_gate`), which is an entry that it has, or has not, or has in
//! part, or is one of the engine, which leaves the log alone.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::rows::{Row, Rows};
use super::{StoreError, mark, tables};

/// Where it begins: the second sector of the engine's first page.
pub(super) const OFFSET: u64 = 512;
/// How long it is: up to the mark's sector.
pub(super) const BYTES: usize = 3_072;
const _: () = assert!(OFFSET + BYTES as u64 == mark::OFFSET);

/// An entry's length; zero where the last one ends, if there is room.
pub(super) const LENGTH_BYTES: usize = 2;
/// The entry's length, and the numbers of its first and its last change.
const HEAD_BYTES: usize = LENGTH_BYTES + 8 + 8;
const CHECKSUM_BYTES: usize = 16;
/// What is set aside for an entry that is being encoded: most of one balance fit.
const ENTRY_BYTES_USUAL: usize = 384;

/// The rows of one commit, in the order of writing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Each with the number of its table. The number of the last change, which is a row too, goes without saying.
    pub(super) rows: Vec<(usize, Row)>,
    /// Of all keys and values together.
    bytes: usize,
}

impl Entry {
    pub(super) fn put(&mut self, table: usize, row: Row) {
        self.bytes += row.key.len() + row.value.as_ref().map_or(0, |value| value.len());
        self.rows.push((table, row));
    }

    /// Whether it would not even go into an empty log; then it need not be whole.
    pub(super) fn is_too_long(&self) -> bool {
        self.bytes > BYTES
    }
}

/// Returns an entry's bytes; `None` if it takes more than `bytes_max`, or if it has the last number of all, behind which there is none that
/// would tell it from what the tables have.
pub(super) fn encode(entry: &Entry, bytes_max: usize) -> Option<Vec<u8>> {
    if entry.bytes > bytes_max || entry.last == u64::MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(ENTRY_BYTES_USUAL);
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&entry.first.to_le_bytes());
    bytes.extend_from_slice(&entry.last.to_le_bytes());
    for (table, Row { key, value }) in &entry.rows {
        let value_len = value.as_ref().map_or(0, |value| value.len() + 1);
        bytes.push(u8::try_from(*table).ok()?);
        bytes.extend_from_slice(&u16::try_from(key.len()).ok()?.to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(value_len).ok()?.to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value.as_deref().unwrap_or_default());
        if bytes.len() + CHECKSUM_BYTES > bytes_max {
            return None;
        }
    }
    let len = u16::try_from(bytes.len() + CHECKSUM_BYTES).ok()?;
    bytes.get_mut(..2)?.copy_from_slice(&len.to_le_bytes());
    let checksum = xxh3_128(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Some(bytes)
}

/// Reads the entry that `bytes` begin with, and how long it is; `None` if they begin with none.
fn decode(bytes: &[u8]) -> Option<(Entry, usize)> {
    let len = usize::from(u16::from_le_bytes(*bytes.first_chunk()?));
    let (content, checksum) = bytes.get(..len)?.split_last_chunk::<CHECKSUM_BYTES>()?;
    if xxh3_128(content).to_le_bytes() != *checksum {
        return None;
    }
    let (head, mut rest) = content.split_at_checked(HEAD_BYTES)?;
    let (first, last) = head.get(2..)?.split_at_checked(8)?;
    let (first, last) = (u64::from_le_bytes(first.try_into().ok()?), u64::from_le_bytes(last.try_into().ok()?));
    let mut entry = Entry { first, last, ..Entry::default() };
    while let Some((&table, after)) = rest.split_first() {
        let (key_len, after) = after.split_first_chunk()?;
        let (value_len, after) = after.split_first_chunk()?;
        let (key, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*key_len)))?;
        let value_len = usize::from(u16::from_le_bytes(*value_len));
        let (value, after) = after.split_at_checked(value_len.saturating_sub(1))?;
        let value = (value_len > 0).then_some(value);
        let table = usize::from(table);
        if !tables::is_row(table, key, value) {
            return None;
        }
        entry.put(table, Row { key: key.into(), value: value.map(Arc::from) });
        rest = after;
    }
    Some((entry, len))
}

/// Reads the log of a file whose tables end at the change `seq`. Returns the rows that they lack, and where the next entry goes.
///
/// # Errors
///
/// [`StoreError::Damaged`] if the log goes on from a later change than the tables hold.
pub(super) fn read(log: &[u8], mut seq: u64) -> Result<(Rows, usize), StoreError> {
    let mut rows = Rows::default();
    let mut used = 0;
    while let Some((entry, len)) = log.get(used..).and_then(decode) {
        if entry.first > seq.saturating_add(1) {
            let first = entry.first;
            return Err(StoreError::Damaged(format!(
                "its tables end at change {seq}, and its log begins with {first}"
            )));
        }
        if entry.first <= seq || entry.last < entry.first {
            break;
        }
        seq = entry.last;
        for (table, row) in entry.rows {
            rows.put(table, row);
        }
        rows.end_at(seq);
        used += len;
    }
    Ok((rows, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry with one overlay row, whose key is `key`; its value tells the change.
    fn entry(first: u64, last: u64, key: &str) -> Entry {
        let value = Some(first.to_le_bytes().repeat(5).into());
        let mut entry = Entry { first, last, ..Entry::default() };
        entry.put(4, Row { key: key.as_bytes().into(), value });
        entry
    }

    fn log(entries: &[Entry]) -> Vec<u8> {
        let mut log = entries.iter().flat_map(|entry| encode(entry, BYTES).unwrap()).collect::<Vec<_>>();
        log.resize(BYTES, 0);
        log
    }

    /// The number of the last change, and the keys of the rows, as they are read over tables that end at `seq`.
    fn read_keys(log: &[u8], seq: u64) -> Result<(u64, Vec<String>), String> {
        let (rows, _) = read(log, seq).map_err(|error| error.to_string())?;
        let keys = rows.of(4).iter().map(|row| String::from_utf8(row.key.to_vec()).unwrap()).collect();
        Ok((rows.seq, keys))
    }

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|&key| key.to_owned()).collect()
    }

    #[test]
    fn an_entry_reads_back_and_any_flipped_bit_makes_it_none() {
        let mut written = entry(7, 9, "a");
        written.put(4, Row { key: b"b".as_slice().into(), value: None });
        written.put(3, Row { key: b"c".as_slice().into(), value: Some(Arc::default()) });
        let mut bytes = encode(&written, BYTES).unwrap();
        let len = bytes.len();
        bytes.resize(BYTES, 0);
        assert_eq!(decode(&bytes), Some((written, len)));
        for bit in 0..len * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for cut in 0..len {
            assert_eq!(decode(&bytes[..cut]), None, "{cut} bytes");
        }
        assert_eq!(decode(&[0; BYTES]), None);
        assert_eq!(decode(&[0xff; BYTES]), None);
    }

    #[test]
    fn an_entry_that_does_not_fit_is_none() {
        let written = entry(1, 1, "a");
        let len = encode(&written, BYTES).unwrap().len();
        assert!(encode(&written, len).is_some());
        assert!(encode(&written, len - 1).is_none());
        let long = Row { key: b"a".as_slice().into(), value: Some(vec![0; BYTES].into()) };
        let mut written = entry(1, 1, "a");
        written.put(4, long);
        assert!(written.is_too_long());
        assert!(encode(&written, BYTES).is_none());
    }

    #[test]
    fn what_the_tables_have_and_what_does_not_follow_is_not_read() {
        let entries = [entry(5, 5, "a"), entry(6, 8, "b"), entry(9, 9, "a")];
        let whole = log(&entries);
        assert_eq!(read_keys(&whole, 4), Ok((9, keys(&["a", "b"]))));
        // The tables have got all of them since, or, after later commits, more.
        for seq in [9, 10, u64::MAX] {
            assert_eq!(read_keys(&whole, seq), Ok((0, keys(&[]))));
        }
        // A new one over the first of those, the second of which still stands behind it.
        let mut begun_anew = log(&[entry(10, 10, "c")]);
        let len = encode(&entries[0], BYTES).unwrap().len();
        begun_anew[len..].copy_from_slice(&whole[len..]);
        assert_eq!(read_keys(&begun_anew, 9), Ok((10, keys(&["c"]))));
        let mut cut_off = whole.clone();
        cut_off[len + 40] ^= 1;
        assert_eq!(read_keys(&cut_off, 4), Ok((5, keys(&["a"]))));
        let used: usize = entries.iter().map(|entry| encode(entry, BYTES).unwrap().len()).sum();
        assert_eq!(read(&whole, 4).unwrap().1, used);
    }

    /// Between the two was a commit of the engine, which it does not show.
    #[test]
    fn a_log_that_begins_behind_the_tables_speaks_of_damage() {
        assert!(read_keys(&log(&[entry(5, 5, "a")]), 3).is_err_and(|error| error.contains("change 3")));
        assert!(read_keys(&log(&[entry(5, 5, "a"), entry(7, 7, "a")]), 4).is_err());
    }

    #[test]
    fn the_last_of_two_rows_with_one_key_counts() {
        let (rows, _) = read(&log(&[entry(1, 1, "a"), entry(2, 2, "a")]), 0).unwrap();
        let [row] = rows.of(4) else { panic!("{rows:?}") };
        assert_eq!(row.value.as_deref().unwrap()[..8], 2_u64.to_le_bytes());
        let [seq] = rows.of(0) else { panic!("{rows:?}") };
        assert_eq!((&*seq.key, seq.value.as_deref()), (&b"seq"[..], Some(&2_u64.to_le_bytes()[..])));
    }
}
