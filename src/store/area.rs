//! Where the log is in the file: in the value of a row that the engine never reads or writes again once it is made.
//!
//! The log needs a place that is written without the engine, that the engine does not give to anything else, and that stays where it is
//! when the file grows. A row has all that: the engine keeps its page, a single one for a value of this length, as long as nobody
//! changes the row. So a file gets a table of its own with one such row, in its first commit after it was made, and from
//! then on [`Area::OFFSET`] bytes behind the beginning of that page are the log's.
//!
//! To the engine the value is a head and zeros, and its checksum is that of zeros. It must not see anything else: see [`hide`].
//! A file that is closed properly has zeros there, to the last byte, and is an ordinary file of the engine.
//!
//! The engine says where the page is when it reads or writes it. No other page is as long, since no record is.

use redb::{ReadTransaction, TableDefinition, TableHandle as _, WriteTransaction};

use super::StoreError;
use super::log::{SEGMENT_BYTES, SEGMENTS};

/// A table with the log's number in its name, of the kind that overlays are; each kind is 50 KB of the program.
type LogTable<'a> = TableDefinition<'a, &'static str, &'static [u8]>;
const NAME: &str = "log-1-";
const KEY: &str = "log";

const MAGIC: &[u8; 16] = b"overlaid's log\x01\0";
const HEAD_BYTES: usize = MAGIC.len() + size_of::<u64>();
/// How far behind the page's beginning the value may begin: the engine puts some numbers and the key before it.
const HEAD_AT_MAX: usize = 512;

/// A log's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    /// The log's random number.
    pub(super) id: u64,
    /// Where the page is.
    pub(super) page: u64,
}

impl Area {
    /// How far behind the page's beginning the first segment begins, so that segments are whole pages of the system.
    pub(super) const OFFSET: usize = 4_096;

    /// Where the first segment begins.
    pub(super) fn segments(&self) -> u64 {
        self.page + Self::OFFSET as u64
    }
}

/// How long the value is. With what stands before it, it fills the engine's page of 512 KiB but for less than a page of the system.
const VALUE_BYTES: usize = Area::OFFSET + SEGMENTS * SEGMENT_BYTES;
const _: () = assert!(VALUE_BYTES + HEAD_AT_MAX <= 512 * 1024);

/// Whether so many bytes at once can only be the log's page.
pub(super) fn is_as_long(bytes: usize) -> bool {
    bytes >= VALUE_BYTES
}

/// The number of the log whose page this is; `None` if it is another page.
pub(super) fn id_in(page: &[u8]) -> Option<u64> {
    let beginning = page.get(..HEAD_AT_MAX)?;
    let at = beginning.windows(HEAD_BYTES).position(|bytes| bytes.starts_with(MAGIC))?;
    Some(u64::from_le_bytes(*beginning.get(at + MAGIC.len()..)?.first_chunk()?))
}

/// Makes the log's page what the engine wrote.
pub(super) fn hide(page: &mut [u8]) {
    if let Some(log) = page.get_mut(Area::OFFSET..) {
        log.fill(0);
    }
}

/// Whether a table is the log's.
pub(super) fn is_log(table: &str) -> bool {
    id_of(table).is_some()
}

fn id_of(table: &str) -> Option<u64> {
    u64::from_str_radix(table.strip_prefix(NAME)?, 16).ok()
}

fn name_of(id: u64) -> String {
    format!("{NAME}{id:016x}")
}

/// Makes a log.
pub(super) fn create(tx: &WriteTransaction) -> Result<(), StoreError> {
    let mut id = [0; size_of::<u64>()];
    getrandom::fill(&mut id).map_err(|error| StoreError::io(std::io::Error::other(error.to_string())))?;
    let mut value = vec![0; VALUE_BYTES];
    for (to, from) in value.iter_mut().zip(MAGIC.iter().chain(&id)) {
        *to = *from;
    }
    let name = name_of(u64::from_le_bytes(id));
    tx.open_table(LogTable::new(&name))?.insert(KEY, value.as_slice())?;
    Ok(())
}

/// The number of the file's log, if it has one.
pub(super) fn id(tx: &ReadTransaction) -> Result<Option<u64>, StoreError> {
    let mut ids = tx.list_tables()?.filter_map(|table| id_of(table.name()));
    let id = ids.next();
    if ids.next().is_some() {
        return Err(StoreError::Damaged("it has two logs".to_owned()));
    }
    Ok(id)
}

/// Has the engine read the page of the log numbered `id`, for whoever watches where it reads.
pub(super) fn touch(tx: &ReadTransaction, id: u64) -> Result<(), StoreError> {
    let name = name_of(id);
    tx.open_table(LogTable::new(&name))?.get(KEY)?;
    Ok(())
}
