//! Rows that are on the disk and not yet in the engine's tables.
//!
//! A small commit goes into the `log` alone. Until the engine gets its rows they are kept here, and are laid over the tables
//! for whoever reads: a [`View`] shows a table as if they were in it. There are never more of them than the log has room for, and
//! none in a file that was closed properly.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use redb::{
    AccessGuard, Key, Range, ReadOnlyTable, ReadTransaction, ReadableTableMetadata as _, TableDefinition,
    TableHandle as _, Value, WriteTransaction,
};

use super::StoreError;
use super::log::Entry;
use super::tables;

/// One row, as bytes of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: Arc<[u8]>,
    /// `None`: there is no such row any more.
    pub(super) value: Option<Arc<[u8]>>,
}

/// Rows of all tables, in the order of each table's keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    tables: [Vec<Row>; tables::COUNT],
    /// The number of the last change among them; 0 if there are none.
    pub(super) seq: u64,
}

impl Rows {
    pub(super) fn is_empty(&self) -> bool {
        self.tables.iter().all(Vec::is_empty)
    }

    /// Puts a row into the table of this number, in the place of any other with its key.
    pub(super) fn put(&mut self, table: usize, row: Row) {
        let Some(rows) = self.tables.get_mut(table) else { return };
        let compare = tables::comparison(table);
        match rows.binary_search_by(|other| compare(&other.key, &row.key)) {
            Ok(at) => {
                if let Some(old) = rows.get_mut(at) {
                    *old = row;
                }
            }
            Err(at) => rows.insert(at, row),
        }
    }

    /// Makes `seq` the number of the last change, which is a row as well.
    pub(super) fn end_at(&mut self, seq: u64) {
        self.seq = seq;
        let (key, value) = (tables::SEQ_KEY.as_bytes().into(), Some(seq.to_le_bytes().as_slice().into()));
        self.put(tables::number(tables::META.name()), Row { key, value });
    }

    /// Rows of the table of this number.
    pub(super) fn of(&self, table: usize) -> &[Row] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }

    /// Puts all of them into the engine's tables.
    pub(super) fn write(&self, tx: &WriteTransaction) -> Result<(), StoreError> {
        self.put_into(tx, tables::META)?;
        self.put_into(tx, tables::SIGNALS)?;
        self.put_into(tx, tables::SIGNAL_NUMBERS)?;
        self.put_into_or_remove(tx, tables::SIGNALS_BY_EXPIRY)?;
        self.put_into_or_remove(tx, tables::OVERLAYS)?;
        self.put_into(tx, tables::OUTCOMES)?;
        self.put_into(tx, tables::RATES)?;
        self.put_into_or_remove(tx, tables::TOKENS)
    }

    #[inline(never)] // for the size
    fn put_into<K: Key + 'static, V: Value + 'static>(
        &self,
        tx: &WriteTransaction,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), StoreError> {
        let rows = self.of(tables::number(table.name()));
        if rows.is_empty() {
            return Ok(());
        }
        let mut to = tx.open_table(table)?;
        for Row { key, value } in rows {
            if let Some(value) = value {
                to.insert(K::from_bytes(key), V::from_bytes(value))?;
            }
        }
        Ok(())
    }

    /// Taking rows away is a lot of code for each kind of table, and there are only these: see [`tables::is_row`].
    fn put_into_or_remove<K: Key + 'static, V: Value + 'static>(
        &self,
        tx: &WriteTransaction,
        table: TableDefinition<'static, K, V>,
    ) -> Result<(), StoreError> {
        self.put_into(tx, table)?;
        let mut removed = self.of(tables::number(table.name())).iter().filter(|row| row.value.is_none()).peekable();
        if removed.peek().is_some() {
            let mut from = tx.open_table(table)?;
            for row in removed {
                from.remove(K::from_bytes(&row.key))?;
            }
        }
        Ok(())
    }
}

/// Those of one commit that is being put together.
#[derive(Debug, Default)]
pub(super) struct NewRows {
    /// All that are to be laid over the tables, with those of commits before.
    pub(super) all: Rows,
    pub(super) entry: Entry,
}

impl NewRows {
    /// Puts a row, or takes one away.
    pub(super) fn put(&mut self, table: usize, key: &[u8], value: Option<&[u8]>) {
        let row = Row { key: key.into(), value: value.map(Arc::from) };
        if !self.entry.is_too_long() {
            self.entry.put(table, row.clone());
        }
        self.all.put(table, row);
    }
}

/// A key or a value.
pub(super) enum Cell<T: Value + 'static> {
    Stored(AccessGuard<'static, T>),
    Over(Arc<[u8]>),
}

impl<T: Value + 'static> Cell<T> {
    pub(super) fn value(&self) -> T::SelfType<'_> {
        match self {
            Self::Stored(guard) => guard.value(),
            Self::Over(bytes) => T::from_bytes(bytes),
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
        find(&self.stored, self.rows.of(self.number), key)
    }

    pub(super) fn range<'k, B: Borrow<K::SelfType<'k>>>(
        &self,
        range: impl RangeBounds<B>,
    ) -> Result<Merged<K, V>, StoreError> {
        let rows = self.rows.of(self.number);
        let over = if rows.is_empty() {
            VecDeque::new()
        } else {
            let bytes = |bound: Bound<&B>| bound.map(|key| K::as_bytes(key.borrow()).as_ref().to_vec());
            part(rows, self.number, &bytes(range.start_bound()), &bytes(range.end_bound()))
        };
        Ok(Merged { stored: self.stored.range(range)?, over, front: None, back: None })
    }

    pub(super) fn all(&self) -> Result<Merged<K, V>, StoreError> {
        self.range::<K::SelfType<'_>>(..)
    }

    #[inline(never)] // for the size
    pub(super) fn len(&self) -> Result<u64, StoreError> {
        let mut len = self.stored.len()?;
        for row in self.rows.of(self.number) {
            match (self.stored.get(K::from_bytes(&row.key))?, &row.value) {
                (None, Some(_)) => len += 1,
                (Some(_), None) => len -= 1,
                _ => {}
            }
        }
        Ok(len)
    }
}

/// Finds a row in a table with `rows` laid over it.
#[inline(never)] // for the size
pub(super) fn find<'k, K: Key + 'static, V: Value + 'static>(
    stored: &ReadOnlyTable<K, V>,
    rows: &[Row],
    key: impl Borrow<K::SelfType<'k>>,
) -> Result<Option<Cell<V>>, StoreError> {
    if !rows.is_empty() {
        let bytes = K::as_bytes(key.borrow());
        if let Ok(at) = rows.binary_search_by(|row| K::compare(&row.key, bytes.as_ref())) {
            return Ok(rows.get(at).and_then(|row| row.value.clone()).map(Cell::Over));
        }
    }
    Ok(stored.get(key)?.map(Cell::Stored))
}

/// The rows of the table of this number that lie between two keys.
fn part(rows: &[Row], table: usize, start: &Bound<Vec<u8>>, end: &Bound<Vec<u8>>) -> VecDeque<Row> {
    let compare = tables::comparison(table);
    let is_in = |row: &&Row| {
        let is_behind_start = match start {
            Bound::Included(start) => compare(&row.key, start).is_ge(),
            Bound::Excluded(start) => compare(&row.key, start).is_gt(),
            Bound::Unbounded => true,
        };
        is_behind_start
            && match end {
                Bound::Included(end) => compare(&row.key, end).is_le(),
                Bound::Excluded(end) => compare(&row.key, end).is_lt(),
                Bound::Unbounded => true,
            }
    };
    rows.iter().filter(is_in).cloned().collect()
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
            if let Some(Row { key, value: Some(value) }) = self.over.pop_front() {
                return Some(Ok((Cell::Over(key), Cell::Over(value))));
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
            if let Some(Row { key, value: Some(value) }) = self.over.pop_back() {
                return Some(Ok((Cell::Over(key), Cell::Over(value))));
            }
        }
    }
}

fn cells<K: Key + 'static, V: Value + 'static>((key, value): Stored<K, V>) -> (Cell<K>, Cell<V>) {
    (Cell::Stored(key), Cell::Stored(value))
}

fn compare<K: Key + 'static, V: Value + 'static>(over: &Row, (key, _): &Stored<K, V>) -> Ordering {
    K::compare(&over.key, K::as_bytes(&key.value()).as_ref())
}

#[cfg(test)]
mod tests;
