//! Reading the log as files of schema 4 have it: entries without a seed, in the file's first page, until one does not follow.

use redb::{Database, ReadableDatabase as _};
use xxhash_rust::xxh3::xxh3_128;

use super::super::layer::Layer;
use super::super::log::{self, Entry};
use super::super::rows::Stretch;
use super::super::{StoreError, mark, tables};

/// Where it begins: the second sector. It ends where the mark begins.
const OFFSET: u64 = 512;
const BYTES: usize = 3_072;
const _: () = assert!(OFFSET + BYTES as u64 == mark::OFFSET);
/// The entry's length, and the numbers of its first and its last change.
const HEAD_BYTES: usize = 2 + 8 + 8;
const CHECKSUM_BYTES: usize = 16;

/// Returns the rows that the tables lack.
///
/// # Errors
///
/// [`StoreError::Damaged`] if it goes on from a later change than the tables hold.
pub(super) fn read(database: &Database, layer: &Layer) -> Result<Stretch, StoreError> {
    let mut bytes = [0; BYTES];
    layer.read(OFFSET, &mut bytes).map_err(StoreError::io)?;
    let rows = Stretch::default();
    let mut seq = tables::seq(&database.begin_read()?)?;
    let mut rest = &bytes[..];
    while let Some((entry, after)) = decode(rest) {
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
        rows.put_commit(&entry.rows, seq);
        rest = after;
    }
    Ok(rows)
}

/// Reads the entry that `bytes` begin with, and what follows; `None` if they begin with none.
fn decode(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let len = usize::from(u16::from_le_bytes(*bytes.first_chunk()?));
    let (entry, after) = bytes.split_at_checked(len)?;
    let (content, checksum) = entry.split_last_chunk::<CHECKSUM_BYTES>()?;
    if xxh3_128(content).to_le_bytes() != *checksum {
        return None;
    }
    let (head, rows) = content.split_at_checked(HEAD_BYTES)?;
    let (first, last) = head.get(2..)?.split_at_checked(8)?;
    let (first, last) = (u64::from_le_bytes(first.try_into().ok()?), u64::from_le_bytes(last.try_into().ok()?));
    Some((Entry { first, last, rows: log::decode_rows(rows)? }, after))
}
