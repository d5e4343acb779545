//! The log: a commit is one write and one sync there, and the engine's tables get its rows later.
//!
//! A commit of the engine writes a page for each level of each tree that it touches, all over the file: eight for one balance. Its
//! sync takes three times as long as that of one page, and 64 balances are 200 pages. So a commit whose rows have room in the log is written
//! there alone. Until the tables have its rows they are laid over them (see `rows`).
//!
//! The log is two segments. Commits go into one until it is full, then into the other, while the rows of the full one go
//! into the tables, in one commit of the engine that nobody waits for (see `writer::filler`). A segment is written over only when the tables have all that it
//! holds, and know it on the disk.
//!
//! An entry is one commit. Its checksum goes on from that of the entry before it in its segment, and that of the first from the log's
//! own random number: so what stands behind the last entry, which may be text that somebody chose, is never taken for the
//! next. Entries count in the order of their changes, over both segments: those that the tables have are passed over, and each of the others must
//! begin with the change after the last one before it. One that begins later says that something is gone that was on the disk, for no
//! entry is written before the one ahead of it is synced. An entry that the power cut off was never acknowledged.
//!
//! Where the log is in the file: see `area`. What a copy of the file has of it: see `copy_gate`.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::StoreError;
use super::rows::{Row, Stretch};
use super::tables;

/// How long one segment is: some 2,000 balances.
pub(super) const SEGMENT_BYTES: usize = 63 * 4_096;
/// The segments stand one behind the other.
pub(super) const SEGMENTS: usize = 2;

/// The entry's length, and the numbers of its first and its last change.
const HEAD_BYTES: usize = 4 + 8 + 8;
/// What stands before each row: the number of its table and the lengths of its key and its value.
const ROW_HEAD_BYTES: usize = 1 + 2 + 2;
const CHECKSUM_BYTES: usize = 16;

/// The rows of one commit, in the order of writing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Each with the number of its table. The number of the last change, which is a row too, goes without saying.
    pub(super) rows: Vec<(usize, Row)>,
}

impl Entry {
    /// How many bytes it takes; `None` if a row is too long for an entry, or if it has the last number of all, behind which there is
    /// none that would tell it from what the tables have.
    pub(super) fn len(&self) -> Option<usize> {
        const LONGEST: usize = u16::MAX as usize;
        let mut len = HEAD_BYTES + CHECKSUM_BYTES;
        for (_, row) in &self.rows {
            let (key_len, value_len) = (row.key().len(), row.value().map_or(0, <[u8]>::len));
            if key_len > LONGEST || value_len >= LONGEST {
                return None;
            }
            len += ROW_HEAD_BYTES + key_len + value_len;
        }
        (self.last < u64::MAX).then_some(len)
    }
}

/// Where the next entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// 0 or 1.
    pub(super) segment: usize,
    /// Bytes of the segment that hold entries.
    pub(super) used: usize,
    /// What its checksum goes on from.
    pub(super) seed: u64,
}

impl Cursor {
    /// Where the first entry of the log numbered `id` goes.
    pub(super) fn at_beginning(id: u64) -> Self {
        Self { segment: 0, used: 0, seed: id }
    }

    pub(super) fn room(&self) -> usize {
        SEGMENT_BYTES.saturating_sub(self.used)
    }

    /// The beginning of the other segment.
    pub(super) fn other(&self, id: u64) -> Self {
        Self { segment: 1 - self.segment, used: 0, seed: id }
    }

    /// Where it is, counted from the first segment's beginning.
    pub(super) fn offset(&self) -> u64 {
        (self.segment * SEGMENT_BYTES + self.used) as u64
    }

    fn advance(&mut self, len: usize, checksum: u128) {
        self.used += len;
        self.seed = checksum.to_le_bytes().first_chunk().map_or(0, |low| u64::from_le_bytes(*low));
    }
}

/// Returns the bytes of an entry that has room, and moves the cursor behind it.
pub(super) fn encode(entry: &Entry, cursor: &mut Cursor) -> Vec<u8> {
    let len = entry.len().unwrap_or_default();
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&u32::try_from(len).unwrap_or_default().to_le_bytes());
    bytes.extend_from_slice(&entry.first.to_le_bytes());
    bytes.extend_from_slice(&entry.last.to_le_bytes());
    for (table, row) in &entry.rows {
        let (key, value) = (row.key(), row.value());
        let value_len = value.map_or(0, |value| value.len() + 1);
        bytes.push(u8::try_from(*table).unwrap_or(u8::MAX));
        bytes.extend_from_slice(&u16::try_from(key.len()).unwrap_or_default().to_le_bytes());
        bytes.extend_from_slice(&u16::try_from(value_len).unwrap_or_default().to_le_bytes());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value.unwrap_or_default());
    }
    let checksum = xxh3_128_with_seed(&bytes, cursor.seed);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    cursor.advance(bytes.len(), checksum);
    bytes
}

/// Reads the entry that stands at the cursor and moves it behind; `None` if there is none.
fn decode(segment: &[u8], cursor: &mut Cursor) -> Option<Entry> {
    let bytes = segment.get(cursor.used..)?;
    let len = usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let (content, checksum) = bytes.get(..len)?.split_last_chunk::<CHECKSUM_BYTES>()?;
    let checksum = u128::from_le_bytes(*checksum);
    if xxh3_128_with_seed(content, cursor.seed) != checksum {
        return None;
    }
    let (head, rows) = content.split_at_checked(HEAD_BYTES)?;
    let (first, last) = head.get(4..)?.split_at_checked(8)?;
    let (first, last) = (u64::from_le_bytes(first.try_into().ok()?), u64::from_le_bytes(last.try_into().ok()?));
    let rows = decode_rows(rows)?;
    cursor.advance(len, checksum);
    Some(Entry { first, last, rows })
}

/// Reads the rows of an entry; `None` if these bytes are none.
pub(super) fn decode_rows(mut rest: &[u8]) -> Option<Vec<(usize, Row)>> {
    let mut rows = Vec::new();
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
        rows.push((table, Row::new(key, value)));
        rest = after;
    }
    Some(rows)
}

/// What a log says.
#[derive(Debug)]
pub(super) struct Log {
    /// Rows that the tables lack, of a segment that is full.
    pub(super) full: Option<Arc<Stretch>>,
    /// Rows that the tables lack, of the segment that the next entry goes into.
    pub(super) current: Option<Arc<Stretch>>,
    /// The last change among them.
    pub(super) seq: u64,
    /// Where the next entry goes.
    pub(super) cursor: Cursor,
}

/// Reads the segments of the log numbered `id`, in a file whose tables end at the change `seq`.
///
/// # Errors
///
/// [`StoreError::Damaged`] if the log goes on from a later change than the tables hold, or lacks one in between.
pub(super) fn read(segments: &[u8], id: u64, mut seq: u64) -> Result<Log, StoreError> {
    let mut read = [0, 1].map(|segment| {
        let bytes = segments.get(segment * SEGMENT_BYTES..).unwrap_or_default();
        let bytes = bytes.get(..SEGMENT_BYTES).unwrap_or_default();
        let mut cursor = Cursor { segment, ..Cursor::at_beginning(id) };
        let entries: Vec<_> = std::iter::from_fn(|| decode(bytes, &mut cursor)).collect();
        (entries, cursor)
    });
    read.sort_by_key(|(entries, _)| entries.first().map(|entry| entry.first));
    let mut log = Log { full: None, current: None, seq: 0, cursor: Cursor::at_beginning(id) };
    for (entries, cursor) in read {
        let stretch = Stretch::default();
        for entry in entries {
            if entry.last <= seq {
                continue;
            }
            let next = seq + 1;
            if entry.first != next {
                let first = entry.first;
                return Err(StoreError::Damaged(format!("it has change {first}, but not change {next} before it")));
            }
            seq = entry.last;
            stretch.put_commit(&entry.rows, seq);
        }
        if !stretch.is_empty() {
            log = Log { full: log.current, current: Some(Arc::new(stretch)), seq, cursor };
        }
    }
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::super::rows::Rows;
    use super::*;

    const ID: u64 = 0x1234_5678_9abc_def0;

    /// An entry with one overlay row, whose key is `key`; its value tells the change.
    fn entry(first: u64, last: u64, key: &str) -> Entry {
        let row = Row::new(key.as_bytes(), Some(&first.to_le_bytes().repeat(5)));
        Entry { first, last, rows: vec![(4, row)] }
    }

    /// Segments that hold these entries, one behind the other.
    fn log(segments: [&[Entry]; SEGMENTS]) -> Vec<u8> {
        segments.iter().flat_map(|entries| segment(entries)).collect()
    }

    fn segment(entries: &[Entry]) -> Vec<u8> {
        let mut cursor = Cursor::at_beginning(ID);
        let mut bytes: Vec<u8> = entries.iter().flat_map(|entry| encode(entry, &mut cursor)).collect();
        bytes.resize(SEGMENT_BYTES, 0);
        bytes
    }

    /// The number of the last change, and the keys of the full segment's rows and of the others, as they are read over tables that end
    /// at `seq`.
    fn read_keys(log: &[u8], seq: u64) -> Result<(u64, String, String), String> {
        let log = read(log, ID, seq).map_err(|error| error.to_string())?;
        let keys = |stretch: &Option<Arc<Stretch>>| Rows::of(stretch.clone(), None, u64::MAX).keys(4).join(" ");
        Ok((log.seq, keys(&log.full), keys(&log.current)))
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with what may fail")]
    fn found(seq: u64, full: &str, current: &str) -> Result<(u64, String, String), String> {
        Ok((seq, full.to_owned(), current.to_owned()))
    }

    #[test]
    fn an_entry_reads_back_and_any_flipped_bit_makes_it_none() {
        let mut written = entry(7, 9, "a");
        written.rows.push((4, Row::new(b"b", None)));
        written.rows.push((3, Row::new(b"c", Some(b""))));
        let start = Cursor::at_beginning(ID);
        let mut end = start;
        let mut bytes = encode(&written, &mut end);
        let len = bytes.len();
        assert_eq!((written.len(), end.used), (Some(len), len));
        bytes.resize(SEGMENT_BYTES, 0);
        let decode = |bytes: &[u8]| {
            let mut cursor = start;
            let entry = decode(bytes, &mut cursor);
            entry.map(|entry| (entry, cursor))
        };
        assert_eq!(decode(&bytes), Some((written, end)));
        for bit in 0..len * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for cut in 0..len {
            assert_eq!(decode(&bytes[..cut]), None, "{cut} bytes");
        }
        assert_eq!(decode(&[0; 1_000]), None);
        assert_eq!(decode(&[0xff; 1_000]), None);
        assert_eq!(decode(&[]), None);
    }

    #[test]
    fn what_can_not_be_an_entry_has_no_length() {
        let long = |key: usize, value: usize| {
            let row = Row::new(&vec![b'k'; key], Some(&vec![0; value]));
            Entry { first: 1, last: 1, rows: vec![(4, row)] }
        };
        assert_eq!(long(1, 0).len(), Some(HEAD_BYTES + 5 + 1 + CHECKSUM_BYTES));
        for longest in [long(65_535, 0), long(1, 65_534)] {
            let bytes = [segment(&[longest]), segment(&[])].concat();
            assert_eq!(read(&bytes, ID, 0).unwrap().seq, 1);
        }
        for too_long in [long(65_536, 0), long(1, 65_535), entry(u64::MAX, u64::MAX, "a")] {
            assert_eq!(too_long.len(), None);
        }
    }

    #[test]
    fn what_the_tables_have_is_passed_over_and_the_rest_is_read_over_both_segments() {
        let entries = [entry(5, 5, "a"), entry(6, 8, "b"), entry(9, 9, "c"), entry(10, 12, "d")];
        let [low, high] = [&entries[..2], &entries[2..]];
        for whole in [log([low, high]), log([high, low])] {
            assert_eq!(read_keys(&whole, 4), found(12, "a b", "c d"));
            assert_eq!(read_keys(&whole, 5), found(12, "b", "c d"));
            assert_eq!(read_keys(&whole, 8), found(12, "", "c d"));
            assert_eq!(read_keys(&whole, 9), found(12, "", "d"));
            for seq in [12, 13, u64::MAX] {
                assert_eq!(read_keys(&whole, seq), found(0, "", ""));
            }
        }
        assert_eq!(read_keys(&log([&entries, &[]]), 4), found(12, "", "a b c d"));
        let cursor = read(&log([low, high]), ID, 4).unwrap().cursor;
        let used: usize = high.iter().filter_map(Entry::len).sum();
        assert_eq!((cursor.segment, cursor.used), (1, used));
        let mut other = log([low, high]);
        let at = SEGMENT_BYTES + used;
        let next = entry(13, 13, "e");
        let bytes = encode(&next, &mut read(&other, ID, 4).unwrap().cursor);
        other[at..at + bytes.len()].copy_from_slice(&bytes);
        assert_eq!(read_keys(&other, 4), found(13, "a b", "c d e"));
        assert_eq!(read(&other, ID + 1, 4).unwrap().seq, 0, "the number is another one");
    }

    /// A segment that is written over has older entries behind its last one, which may begin exactly where the next one would.
    #[test]
    fn what_stands_behind_the_last_entry_from_before_is_not_read() {
        let old = segment(&[entry(5, 5, "a"), entry(6, 6, "b"), entry(7, 7, "c")]);
        let mut begun_anew = segment(&[entry(11, 11, "d")]);
        let len = entry(11, 11, "d").len().unwrap();
        begun_anew[len..].copy_from_slice(&old[len..]);
        let other = segment(&[entry(8, 10, "e")]);
        assert_eq!(read_keys(&[begun_anew.clone(), other].concat(), 7), found(11, "e", "d"));
        // Nor if it is what the tables would go on with.
        assert!(read_keys(&[begun_anew, segment(&[])].concat(), 5).is_err());
        let mut cut_off = segment(&[entry(5, 5, "a"), entry(6, 6, "b"), entry(7, 7, "c")]);
        cut_off[len + 40] ^= 1;
        assert_eq!(read_keys(&[cut_off, segment(&[])].concat(), 4), found(5, "", "a"));
    }

    /// Where the next entry will stand may be text that somebody chose, who may have made an entry of it that begins with the right change.
    #[test]
    fn what_was_not_written_behind_the_entry_before_is_not_read() {
        let mut bytes = segment(&[entry(5, 5, "a")]);
        let at = entry(5, 5, "a").len().unwrap();
        for seed in [0, ID, ID + 1] {
            let forged = encode(&entry(6, 6, "b"), &mut Cursor { seed, ..Cursor::at_beginning(ID) });
            bytes[at..at + forged.len()].copy_from_slice(&forged);
            assert_eq!(read_keys(&[&bytes[..], &segment(&[])].concat(), 4), found(5, "", "a"), "seed {seed}");
        }
    }

    #[test]
    fn a_log_that_lacks_a_change_speaks_of_damage() {
        let lacks = |low: &[Entry], high: &[Entry], seq| {
            read_keys(&log([low, high]), seq).is_err_and(|error| error.contains("damaged"))
        };
        assert!(lacks(&[entry(5, 5, "a")], &[], 3));
        assert!(lacks(&[entry(5, 5, "a"), entry(7, 7, "a")], &[], 4));
        assert!(lacks(&[entry(5, 5, "a")], &[entry(7, 7, "a")], 4));
        assert!(lacks(&[], &[entry(7, 7, "a")], 5));
        // Tables that have half of a commit.
        assert!(lacks(&[entry(5, 7, "a")], &[], 5));
        assert!(lacks(&[entry(5, 4, "a"), entry(5, 5, "a")], &[entry(7, 7, "a")], 4));
    }

    #[test]
    fn the_last_of_two_rows_with_one_key_counts() {
        let read = read(&log([&[entry(1, 1, "a"), entry(2, 2, "a")], &[entry(3, 3, "a")]]), ID, 0).unwrap();
        let rows = Rows::of(read.full, read.current, read.seq);
        assert_eq!(rows.keys(4), ["a"]);
        assert_eq!(rows.value(4, "a").unwrap()[..8], 3_u64.to_le_bytes());
        assert_eq!(rows.value(0, "seq").unwrap()[..], 3_u64.to_le_bytes());
    }
}
