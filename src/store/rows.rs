//! Rows that are on the disk and not yet in the engine's tables.
//!
//! Commits go into the `log`. Until the engine gets their rows they are kept here, and are laid over the tables
//! for whoever reads: a [`View`] shows a table as if they were in it. There are never more of them than the log has room for, and
//! none in a file that was closed properly.
//!
//! A [`Stretch`] has the rows of one segment of the log. Commits are added to it while others read, so it keeps every row as each of
//! them left it, and whoever reads names the last change that he wants to see.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};
use std::iter;
use std::ops::{self, Bound, RangeBounds};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use redb::{
    AccessGuard, Key, Range, ReadOnlyTable, ReadTransaction, ReadableTableMetadata as _, TableDefinition,
    TableHandle as _, Value, WriteTransaction,
};

use super::StoreError;
use super::log::Entry;
use super::tables;
use crate::domain::Head;

/// Rows that are put into a table without a pause: a tenth of a millisecond's work.
const ROWS_AT_ONCE: usize = 32;

/// One row, as bytes of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The key and, behind it, the value.
    bytes: Arc<[u8]>,
    key_len: usize,
    /// Whether it has a value; if not, there is no such row any more.
    is_there: bool,
}

impl Row {
    /// - `value`: `None` if there is no such row any more.
    pub(super) fn new(key: &[u8], value: Option<&[u8]>) -> Self {
        let bytes = match value {
            Some(value) => joined(key, value),
            None => key.into(),
        };
        Self { bytes, key_len: key.len(), is_there: value.is_some() }
    }

    pub(super) fn key(&self) -> &[u8] {
        self.bytes.get(..self.key_len).unwrap_or_default()
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        self.bytes.get(self.key_len..).filter(|_| self.is_there)
    }

    fn key_cell<K: Value + 'static>(&self) -> Cell<K> {
        Cell::Over(Arc::clone(&self.bytes), 0..self.key_len)
    }

    fn value_cell<V: Value + 'static>(&self) -> Option<Cell<V>> {
        self.is_there.then(|| Cell::Over(Arc::clone(&self.bytes), self.key_len..self.bytes.len()))
    }
}

/// In one allocation, where `concat` takes two.
fn joined(key: &[u8], value: &[u8]) -> Arc<[u8]> {
    let mut bytes: Arc<[u8]> = iter::repeat_n(0, key.len() + value.len()).collect();
    if let Some((key_place, value_place)) =
        Arc::get_mut(&mut bytes).and_then(|bytes| bytes.split_at_mut_checked(key.len()))
    {
        key_place.copy_from_slice(key);
        value_place.copy_from_slice(value);
    }
    bytes
}

/// A row of the table of this number, as one change left it.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    table: usize,
    /// The [`tables::head`] of its key.
    head: Head,
    row: Row,
    seq: u64,
}

impl Version {
    fn new(table: usize, row: Row, seq: u64) -> Self {
        Self { table, head: tables::head(table, row.key()), row, seq }
    }
}

/// By key, in the order of the table's own; of one key, the latest first.
impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let whole = || tables::comparison(self.table)(self.row.key(), other.row.key());
        self.head.cmp(&other.head).then_with(whole).then_with(|| other.seq.cmp(&self.seq))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Rows of one table, each as some changes left it.
type Versions = BTreeSet<Version>;

/// Rows of commits that follow each other.
#[derive(Debug, Default)]
pub(super) struct Stretch(RwLock<[Versions; tables::COUNT]>);

impl Stretch {
    fn read(&self) -> RwLockReadGuard<'_, [Versions; tables::COUNT]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.read().iter().all(Versions::is_empty)
    }

    /// Adds rows, each with the number of its table, as they are after the change `seq`. Of two with one key the last counts.
    pub(super) fn put(&self, rows: impl IntoIterator<Item = (usize, Row)>, seq: u64) {
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (table, row) in rows {
            if let Some(versions) = tables.get_mut(table) {
                versions.replace(Version::new(table, row, seq));
            }
        }
    }

    /// Adds the rows of a commit. The number of its last change is a row as well.
    pub(super) fn put_commit(&self, rows: &[(usize, Row)], seq: u64) {
        self.put(rows.iter().cloned().chain([last_change(seq)]), seq);
    }

    /// The row with the key of `sought`, as it is after the change that has its number; `None` if no commit here wrote it until then.
    fn get(&self, sought: &Version) -> Option<Row> {
        let tables = self.read();
        let versions = tables.get(sought.table).filter(|versions| !versions.is_empty())?;
        let found = versions.range((Bound::Included(sought), Bound::Unbounded)).next()?;
        (found.row.key() == sought.row.key()).then(|| found.row.clone())
    }

    /// Adds to `rows` those between two keys, as they are after the change `seq`, in the place of any others there.
    fn lay_over(&self, rows: &mut Versions, table: usize, bounds: (Bound<&[u8]>, Bound<&[u8]>), seq: u64) {
        let tables = self.read();
        let Some(versions) = tables.get(table).filter(|versions| !versions.is_empty()) else { return };
        // Of one key, the version with the highest number comes first, and that with the lowest last.
        let at = |key: &[u8], seq| Version::new(table, Row::new(key, None), seq);
        let (first, last) = (u64::MAX, 0);
        let start = match bounds.0 {
            Bound::Included(key) => Bound::Included(at(key, first)),
            Bound::Excluded(key) => Bound::Excluded(at(key, last)),
            Bound::Unbounded => Bound::Unbounded,
        };
        let end = match bounds.1 {
            Bound::Included(key) => Bound::Included(at(key, last)),
            Bound::Excluded(key) => Bound::Excluded(at(key, first)),
            Bound::Unbounded => Bound::Unbounded,
        };
        if let (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) =
            (&start, &end)
            && start >= end
        {
            return;
        }
        for row in latest(versions.range((start, end)), seq) {
            rows.replace(Version::new(table, row.clone(), 0));
        }
    }

    /// The row with the last key of the table of this number.
    fn last(&self, table: usize) -> Option<Row> {
        self.read().get(table)?.last().map(|version| version.row.clone())
    }

    /// Puts all rows into the engine's tables, as they are after the last change.
    ///
    /// - `pause`: what to do from time to time.
    pub(super) fn write(&self, tx: &WriteTransaction, pause: &dyn Fn()) -> Result<(), StoreError> {
        self.put_into(tx, tables::META, pause)?;
        self.put_into(tx, tables::SIGNALS, pause)?;
        self.put_into(tx, tables::SIGNAL_NUMBERS, pause)?;
        self.put_into_or_remove(tx, tables::SIGNALS_BY_EXPIRY, pause)?;
        self.put_into_or_remove(tx, tables::OVERLAYS, pause)?;
        self.put_into(tx, tables::OUTCOMES, pause)?;
        self.put_into(tx, tables::RATES, pause)?;
        self.put_into_or_remove(tx, tables::TOKENS, pause)
    }

    /// The rows of a table as they are after the last change.
    fn rows_of(&self, table: usize) -> Vec<Row> {
        let tables = self.read();
        tables.get(table).map_or_else(Vec::new, |versions| latest(versions, u64::MAX).cloned().collect())
    }

    #[inline(never)] // for the size
    fn put_into<K: Key + 'static, V: Value + 'static>(
        &self,
        tx: &WriteTransaction,
        table: TableDefinition<'static, K, V>,
        pause: &dyn Fn(),
    ) -> Result<(), StoreError> {
        let rows = self.rows_of(tables::number(table.name()));
        if rows.is_empty() {
            return Ok(());
        }
        let mut to = tx.open_table(table)?;
        for some in rows.chunks(ROWS_AT_ONCE) {
            for row in some {
                if let Some(value) = row.value() {
                    to.insert(K::from_bytes(row.key()), V::from_bytes(value))?;
                }
            }
            pause();
        }
        Ok(())
    }

    /// Taking rows away is a lot of code for each kind of table, and there are only these: see [`tables::is_row`].
    fn put_into_or_remove<K: Key + 'static, V: Value + 'static>(
        &self,
        tx: &WriteTransaction,
        table: TableDefinition<'static, K, V>,
        pause: &dyn Fn(),
    ) -> Result<(), StoreError> {
        self.put_into(tx, table, pause)?;
        let mut removed = self.rows_of(tables::number(table.name()));
        removed.retain(|row| !row.is_there);
        if removed.is_empty() {
            return Ok(());
        }
        let mut from = tx.open_table(table)?;
        for row in &removed {
            from.remove(K::from_bytes(row.key()))?;
        }
        Ok(())
    }
}

/// The row that says which change was the last.
fn last_change(seq: u64) -> (usize, Row) {
    (tables::number(tables::META.name()), Row::new(tables::SEQ_KEY.as_bytes(), Some(&seq.to_le_bytes())))
}

/// Of each key, the row as it is after the change `seq`.
fn latest<'a>(versions: impl IntoIterator<Item = &'a Version>, seq: u64) -> impl Iterator<Item = &'a Row> {
    let mut seen: Option<&Row> = None;
    versions.into_iter().filter(move |version| version.seq <= seq).map(|version| &version.row).filter(move |row| {
        let is_latest = seen.is_none_or(|seen| seen.key() != row.key());
        seen = Some(row);
        is_latest
    })
}

/// What is to be laid over the tables, up to some change.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// The older first.
    stretches: [Option<Arc<Stretch>>; 2],
    /// The number of the last change among them; 0 if there are none.
    pub(super) seq: u64,
}

impl Rows {
    pub(super) fn of(older: Option<Arc<Stretch>>, newer: Option<Arc<Stretch>>, seq: u64) -> Self {
        let rows = Self { stretches: [older, newer], seq };
        if rows.is_empty() { Self::default() } else { rows }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stretches().next().is_none()
    }

    /// The older first.
    pub(super) fn stretches(&self) -> impl DoubleEndedIterator<Item = &Stretch> {
        self.stretches.iter().filter_map(Option::as_deref)
    }

    /// The row with this key; `None` if it is as the table has it.
    #[inline(never)] // for the size
    fn get(&self, table: usize, key: &[u8]) -> Option<Row> {
        if self.is_empty() { None } else { self.find(&Version::new(table, Row::new(key, None), self.seq)) }
    }

    /// The row with the key of `sought`, which is of this table and up to the same change.
    fn find(&self, sought: &Version) -> Option<Row> {
        self.stretches().rev().find_map(|stretch| stretch.get(sought))
    }

    /// The rows of the table of this number that lie between two keys.
    fn part(&self, table: usize, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> VecDeque<Row> {
        let mut rows = Versions::new();
        for stretch in self.stretches() {
            stretch.lay_over(&mut rows, table, bounds, self.seq);
        }
        rows.into_iter().map(|version| version.row).collect()
    }

    /// The row with the last key of the table of this number, whether it is there or taken away.
    fn last(&self, table: usize) -> Option<Row> {
        latest_of(table, self.stretches().filter_map(|stretch| stretch.last(table)))
    }
}

/// The one with the last key of the table's.
fn latest_of(table: usize, rows: impl IntoIterator<Item = Row>) -> Option<Row> {
    let compare = tables::comparison(table);
    rows.into_iter().max_by(|one, other| compare(one.key(), other.key()))
}

#[cfg(test)]
impl Rows {
    pub(super) fn keys(&self, table: usize) -> Vec<String> {
        let part = self.part(table, (Bound::Unbounded, Bound::Unbounded));
        part.iter().map(|row| String::from_utf8(row.key().to_vec()).unwrap()).collect()
    }

    pub(super) fn value(&self, table: usize, key: &str) -> Option<Vec<u8>> {
        self.get(table, key.as_bytes())?.value().map(<[u8]>::to_vec)
    }
}

/// Those of one commit that is being put together.
#[derive(Debug, Default)]
pub(super) struct NewRows {
    /// What is committed and not in the tables.
    below: Rows,
    /// All of them as the commit leaves them.
    pub(super) own: Stretch,
    pub(super) entry: Entry,
}

impl NewRows {
    pub(super) fn over(below: Rows) -> Self {
        Self { below, ..Self::default() }
    }

    /// Puts a row, or takes one away.
    pub(super) fn put(&mut self, table: usize, key: &[u8], value: Option<&[u8]>) {
        let row = Row::new(key, value);
        self.own.put([(table, row.clone())], 0);
        self.entry.rows.push((table, row));
    }

    /// Makes `first` and `last` the numbers of its first and its last change.
    pub(super) fn number(&mut self, first: u64, last: u64) {
        self.own.put([last_change(last)], 0);
        (self.entry.first, self.entry.last) = (first, last);
    }

    /// The row with this key; `None` if it is as the table has it.
    #[inline(never)] // for the size
    pub(super) fn get(&self, table: usize, key: &[u8]) -> Option<Row> {
        // Its own rows all count as of change 0, and what is sought comes before them whatever its number.
        let sought = Version::new(table, Row::new(key, None), self.below.seq);
        self.own.get(&sought).or_else(|| self.below.find(&sought))
    }

    /// The row with the last key of the table of this number, whether it is there or taken away.
    pub(super) fn last(&self, table: usize) -> Option<Row> {
        latest_of(table, [self.below.last(table), self.own.last(table)].into_iter().flatten())
    }
}

/// A key or a value.
pub(super) enum Cell<T: Value + 'static> {
    Stored(AccessGuard<'static, T>),
    /// These of the bytes.
    Over(Arc<[u8]>, ops::Range<usize>),
}

impl<T: Value + 'static> Cell<T> {
    pub(super) fn value(&self) -> T::SelfType<'_> {
        match self {
            Self::Stored(guard) => guard.value(),
            Self::Over(bytes, range) => T::from_bytes(bytes.get(range.clone()).unwrap_or_default()),
        }
    }
}

/// A table with rows laid over it.
pub(super) struct View<K: Key + 'static, V: Value + 'static> {
    stored: ReadOnlyTable<K, V>,
    rows: Arc<Rows>,
    number: usize,
}

impl<K: Key + 'static, V: Value + 'static> View<K, V> {
    pub(super) fn open(
        tx: &ReadTransaction,
        rows: &Arc<Rows>,
        table: TableDefinition<'static, K, V>,
    ) -> Result<Self, redb::TableError> {
        let number = tables::number(table.name());
        Ok(Self { stored: tx.open_table(table)?, rows: Arc::clone(rows), number })
    }

    pub(super) fn get<'k>(&self, key: impl Borrow<K::SelfType<'k>>) -> Result<Option<Cell<V>>, StoreError> {
        let over = self.rows.get(self.number, K::as_bytes(key.borrow()).as_ref());
        find(&self.stored, over, key)
    }

    pub(super) fn range<'k, B: Borrow<K::SelfType<'k>>>(
        &self,
        range: impl RangeBounds<B>,
    ) -> Result<Merged<K, V>, StoreError> {
        let over = if self.rows.is_empty() {
            VecDeque::new()
        } else {
            let bytes = |bound: Bound<&B>| bound.map(|key| K::as_bytes(key.borrow()).as_ref().to_vec());
            let (start, end) = (bytes(range.start_bound()), bytes(range.end_bound()));
            self.rows.part(self.number, (start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice)))
        };
        Ok(Merged { stored: self.stored.range(range)?, over, front: None, back: None })
    }

    pub(super) fn all(&self) -> Result<Merged<K, V>, StoreError> {
        self.range::<K::SelfType<'_>>(..)
    }

    #[inline(never)] // for the size
    pub(super) fn len(&self) -> Result<u64, StoreError> {
        let mut len = self.stored.len()?;
        for row in self.rows.part(self.number, (Bound::Unbounded, Bound::Unbounded)) {
            match (self.stored.get(K::from_bytes(row.key()))?, row.value()) {
                (None, Some(_)) => len += 1,
                (Some(_), None) => len -= 1,
                _ => {}
            }
        }
        Ok(len)
    }
}

/// Finds a row in a table, over which that in `over` is laid, if any.
#[inline(never)] // for the size
pub(super) fn find<'k, K: Key + 'static, V: Value + 'static>(
    stored: &ReadOnlyTable<K, V>,
    over: Option<Row>,
    key: impl Borrow<K::SelfType<'k>>,
) -> Result<Option<Cell<V>>, StoreError> {
    match over {
        Some(row) => Ok(row.value_cell()),
        None => Ok(stored.get(key)?.map(Cell::Stored)),
    }
}

type Stored<K, V> = (AccessGuard<'static, K>, AccessGuard<'static, V>);

/// Rows of a table and those laid over it, in the order of keys.
pub(super) struct Merged<K: Key + 'static, V: Value + 'static> {
    stored: Range<'static, K, V>,
    over: VecDeque<Row>,
    /// What was read from the table at either end and has not yet had its turn.
    front: Option<Stored<K, V>>,
    back: Option<Stored<K, V>>,
}

impl<K: Key + 'static, V: Value + 'static> Iterator for Merged<K, V> {
    type Item = Result<(Cell<K>, Cell<V>), StoreError>;

    #[inline(never)] // for the size
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let stored = match self.front.take() {
                Some(row) => Some(row),
                None => match self.stored.next().transpose() {
                    Ok(row) => row.or_else(|| self.back.take()),
                    Err(error) => return Some(Err(error.into())),
                },
            };
            let Some(over) = self.over.front() else { return stored.map(cells).map(Ok) };
            let order = stored.as_ref().map_or(Ordering::Less, |row| compare(over, row));
            if order.is_gt() {
                return stored.map(cells).map(Ok);
            }
            if order.is_lt() {
                self.front = stored;
            }
            if let Some(row) = self.over.pop_front()
                && let Some(value) = row.value_cell()
            {
                return Some(Ok((row.key_cell(), value)));
            }
        }
    }
}

impl<K: Key + 'static, V: Value + 'static> DoubleEndedIterator for Merged<K, V> {
    #[inline(never)] // for the size
    fn next_back(&mut self) -> Option<Self::Item> {
        loop {
            let stored = match self.back.take() {
                Some(row) => Some(row),
                None => match self.stored.next_back().transpose() {
                    Ok(row) => row.or_else(|| self.front.take()),
                    Err(error) => return Some(Err(error.into())),
                },
            };
            let Some(over) = self.over.back() else { return stored.map(cells).map(Ok) };
            let order = stored.as_ref().map_or(Ordering::Greater, |row| compare(over, row));
            if order.is_lt() {
                return stored.map(cells).map(Ok);
            }
            if order.is_gt() {
                self.back = stored;
            }
            if let Some(row) = self.over.pop_back()
                && let Some(value) = row.value_cell()
            {
                return Some(Ok((row.key_cell(), value)));
            }
        }
    }
}

fn cells<K: Key + 'static, V: Value + 'static>((key, value): Stored<K, V>) -> (Cell<K>, Cell<V>) {
    (Cell::Stored(key), Cell::Stored(value))
}

fn compare<K: Key + 'static, V: Value + 'static>(over: &Row, (key, _): &Stored<K, V>) -> Ordering {
    K::compare(over.key(), K::as_bytes(&key.value()).as_ref())
}

#[cfg(test)]
mod tests;
