//! The engine on the file, from one opening to the next, with the log in front of its tables.
//!
//! Every commit is one of two kinds. One goes into the log, as [`Opened::commit`] does if there is room. The other goes into the
//! engine's tables: what a full segment of the log holds ([`Opened::fill`]), or all that is in the log with one more commit, which
//! is too large for a segment or is the first of all and makes the log.
//!
//! One thread commits, and [`Opened::fill`] may run in another meanwhile. Readers take what is committed to both: first what
//! the log holds, then a transaction of the engine. What is gone from the one by then is in the other.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};

use super::area::{self, Area};
use super::layer::{Backend, Layer, Volume};
use super::log::{self, Cursor, Entry, Log};
use super::rows::{NewRows, Rows, Stretch};
use super::snapshot::Snapshot;
use super::{PAGE_CACHE_BYTES, StoreError, lock, mark, schema, tables};

/// The engine on the file, from one opening to the next.
pub(crate) struct Opened {
    /// What was committed before the transaction under way, for those who want to read if it fails.
    last_good: Mutex<Option<Arc<ReadTransaction>>>,
    pub(super) database: Database,
    pub(super) layer: Arc<Layer>,
    /// The version of the layout that the file had; `None` if it had no tables.
    pub(super) schema: Option<u64>,
    log: RwLock<LogState>,
}

/// What is known of the file's log.
#[derive(Debug, Default)]
struct LogState {
    /// The rows of the segment that is full, until the tables have them.
    full: Option<Arc<Stretch>>,
    /// Those of the one that commits go into; `None` if the tables have them all.
    current: Option<Arc<Stretch>>,
    /// The last change among all of them.
    seq: u64,
    /// Where the log is and the next entry goes; `None` before the first commit, when it may have none.
    place: Option<(Area, Cursor)>,
    /// Whether there may be anything but zeros in the log.
    is_used: bool,
}

impl LogState {
    /// Reads it from a file that was not closed properly.
    fn read(layer: &Arc<Layer>, tx: &ReadTransaction) -> Result<Self, StoreError> {
        let Some(area) = find_area(layer, tx)? else { return Ok(Self::default()) };
        let mut bytes = vec![0; log::SEGMENTS * log::SEGMENT_BYTES];
        layer.read(area.segments(), &mut bytes).map_err(StoreError::io)?;
        let Log { full, current, seq, cursor } = log::read(&bytes, area.id, tables::seq(tx)?)?;
        Ok(Self { full, current, seq, place: Some((area, cursor)), is_used: true })
    }

    fn rows(&self) -> Rows {
        Rows::of(self.full.clone(), self.current.clone(), self.seq)
    }
}

/// Finds the file's log, if it has one.
fn find_area(layer: &Layer, tx: &ReadTransaction) -> Result<Option<Area>, StoreError> {
    let Some(id) = area::id(tx)? else { return Ok(None) };
    if layer.area().is_none_or(|area| area.id != id) {
        area::touch(tx, id)?;
    }
    let area = layer.area().filter(|area| area.id == id);
    area.map(Some).ok_or_else(|| StoreError::Damaged("its log is not where it should be".to_owned()))
}

impl fmt::Debug for Opened {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Opened").field("layer", &self.layer).finish_non_exhaustive()
    }
}

/// Marks a file before it gets the tables of this layout, which none has without a mark. Returns after the sync.
pub(super) fn put_mark(layer: &Arc<Layer>, seq: u64) -> Result<(), StoreError> {
    layer.write(mark::OFFSET, &mark::encode(seq)).and_then(|()| layer.sync()).map_err(StoreError::io)
}

impl Opened {
    /// Opens the engine, with a check of the whole file by it unless all checksums are known to fit, and brings an older layout to
    /// this program's.
    pub(super) fn open(layer: Arc<Layer>, all_fit: bool) -> Result<Self, StoreError> {
        let mut builder = Database::builder();
        builder.set_cache_size(PAGE_CACHE_BYTES).set_check_integrity_on_open(!all_fit);
        // The engine may panic on a file that was made to harm; nothing of it is left then.
        let backend = Backend(Arc::clone(&layer));
        let opened = catch_unwind(AssertUnwindSafe(|| builder.create_with_backend(backend)));
        let database = opened.map_err(|_| StoreError::Damaged("the engine panicked".to_owned()))?;
        let database = database.map_err(|error| StoreError::Engine(Box::new(error.into())))?;
        let schema = schema::version(&database)?;
        if let Some(from) = schema
            && from < schema::SCHEMA
        {
            if from < schema::FIRST_WITH_MARKS {
                put_mark(&layer, tables::seq(&database.begin_read()?)?)?;
            }
            schema::upgrade(&database, from, &layer)?;
        }
        // Closing a file properly empties its log.
        let log = if all_fit { LogState::default() } else { LogState::read(&layer, &database.begin_read()?)? };
        Ok(Self { last_good: Mutex::default(), database, layer, schema, log: RwLock::new(log) })
    }

    /// Opens a file that must hold this program's tables, and never writes to it.
    pub(super) fn to_look_at(volume: &Arc<Volume>) -> Result<Self, StoreError> {
        let opened = Self::open(Layer::to_look_at(volume).map_err(StoreError::io)?, false)?;
        if opened.schema.is_none() {
            return Err(StoreError::Damaged("it holds no tables".to_owned()));
        }
        opened.check_mark(volume)?;
        Ok(opened)
    }

    /// Opens a file in earnest and makes the tables in an empty one. A file that is damaged or not this program's is refused
    /// before anything is written to it: the engine would change it. One that was closed properly and has this program's layout is
    /// written to only when there is something to write.
    ///
    /// - `is_ours`: whether it is this process that wrote to the file last, and knows what no sync has confirmed.
    /// - `before_writing`: called before anything is written here; until the first write there may be no need for it.
    pub(super) fn in_earnest(
        volume: &Arc<Volume>,
        is_ours: bool,
        before_writing: impl Fn(),
    ) -> Result<Self, StoreError> {
        let is_new = volume.is_empty().map_err(StoreError::io)?;
        if is_new {
            before_writing();
        }
        let all_fit = !is_new && volume.all_checksums_fit();
        if !is_new && !all_fit && !is_ours {
            // Whoever copies the file must not meet other bytes in the middle of it. One that was closed properly has nothing to forget: that is
            // noted in it after a sync that succeeded, and the note is all that one after that can have failed to write.
            before_writing();
            volume.forget();
        }
        let layer = if is_new { Layer::over(volume) } else { Layer::to_land(volume).map_err(StoreError::io)? };
        let mut opened = Self::open(layer, all_fit)?;
        opened.check_mark(volume)?;
        if opened.schema != Some(schema::SCHEMA) || !all_fit || !opened.layer.changed_only_header() {
            before_writing();
            opened.layer.land().map_err(StoreError::io)?;
        }
        match opened.schema {
            None => {
                // Also if the process ended between making the file and making its tables.
                put_mark(&opened.layer, 0)?;
                schema::create(&opened.database)?;
                opened.schema = Some(schema::SCHEMA);
            }
            Some(schema::SCHEMA) => {}
            Some(from) => {
                tracing::info!(from, to = schema::SCHEMA, "the file was brought to the layout of this program");
            }
        }
        opened.check_fault()?;
        Ok(opened)
    }

    /// Compares the last change that the engine shows with the last one that is known to have been on the disk.
    fn check_mark(&self, volume: &Volume) -> Result<(), StoreError> {
        let Some(marked) = volume.marked().map_err(StoreError::io)? else {
            // Programs of older layouts did not mark every file.
            let is_damaged = self.schema.is_some_and(|schema| schema >= schema::FIRST_WITH_MARKS);
            return if is_damaged { Err(StoreError::Damaged("its mark can not be read".to_owned())) } else { Ok(()) };
        };
        let seq = tables::seq(&self.database.begin_read()?)?.max(self.rows().seq);
        if seq < marked {
            return Err(StoreError::Damaged(format!("it ends at change {seq}, and change {marked} was on the disk")));
        }
        Ok(())
    }

    fn last_good(&self) -> MutexGuard<'_, Option<Arc<ReadTransaction>>> {
        lock(&self.last_good)
    }

    fn log(&self) -> RwLockReadGuard<'_, LogState> {
        self.log.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_mut(&self) -> RwLockWriteGuard<'_, LogState> {
        self.log.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn rows(&self) -> Rows {
        self.log().rows()
    }

    /// Whether the tables have everything.
    pub(super) fn is_log_empty(&self) -> bool {
        self.rows().is_empty()
    }

    /// What is committed, in the tables and laid over them: for whoever alone commits.
    pub(super) fn committed(&self) -> Result<(ReadTransaction, Rows), StoreError> {
        self.check_fault()?;
        let rows = self.rows();
        Ok((self.database.begin_read()?, rows))
    }

    /// Begins to write.
    fn begin(&self) -> Result<(), StoreError> {
        self.check_fault()?;
        self.layer.land().map_err(StoreError::io)
    }

    /// Where the log is and the next entry goes; `None` if the file has no log.
    fn place(&self) -> Result<Option<(Area, Cursor)>, StoreError> {
        let known = self.log().place;
        if known.is_some() {
            return Ok(known);
        }
        let area = find_area(&self.layer, &self.database.begin_read()?)?;
        let place = area.map(|area| (area, Cursor::at_beginning(area.id)));
        self.log_mut().place = place;
        Ok(place)
    }

    /// Whether these rows have room in the segment that commits go into.
    pub(super) fn has_room(&self, entry: &Entry) -> bool {
        let room = self.log().place.map_or(0, |(_, cursor)| cursor.room());
        entry.len().is_some_and(|len| len <= room)
    }

    /// Puts the rows of one commit on the disk. Returns after the sync; with an error, they may be there all the same.
    ///
    /// The tables are not being filled meanwhile unless the rows [have room](Opened::has_room).
    pub(super) fn commit(&self, new: &NewRows) -> Result<(), StoreError> {
        if let Some((area, cursor)) = self.place()? {
            if self.has_room(&new.entry) {
                return self.append(&new.entry, area, cursor, false);
            }
            let other = cursor.other(area.id);
            let is_free = self.log().full.is_none();
            if is_free && new.entry.len().is_some_and(|len| len <= other.room()) {
                return self.append(&new.entry, area, other, true);
            }
        }
        self.commit_to_tables(Some(&new.own), None)
    }

    /// - `is_next`: the segment is the next one, and the one before it is full.
    fn append(&self, entry: &Entry, area: Area, mut cursor: Cursor, is_next: bool) -> Result<(), StoreError> {
        let offset = area.segments() + cursor.offset();
        let bytes = log::encode(entry, &mut cursor);
        self.begin()?;
        self.layer.write(offset, &bytes).and_then(|()| self.layer.sync()).map_err(StoreError::io)?;
        self.check_fault()?;
        let mut log = self.log_mut();
        if is_next {
            log.full = log.current.take();
        }
        log.current.get_or_insert_default().put_commit(&entry.rows, entry.last);
        (log.seq, log.place, log.is_used) = (entry.last, Some((area, cursor)), true);
        Ok(())
    }

    /// Whether a segment is full, and the tables lack its rows.
    pub(super) fn is_to_fill(&self) -> bool {
        self.log().full.is_some()
    }

    /// Puts the rows of a full segment into the tables. Returns after the sync; with an error, they may be there all the same.
    ///
    /// - `pause`: what to do from time to time, as long as the segment that commits go into is not half full: when it is full they wait.
    pub(super) fn fill(&self, pause: &dyn Fn()) -> Result<(), StoreError> {
        let Some(full) = self.log().full.clone() else { return Ok(()) };
        let pause = &|| {
            if self.log().place.is_none_or(|(_, cursor)| cursor.room() > log::SEGMENT_BYTES / 2) {
                pause();
            }
        };
        self.layer.set_pace(true);
        let filled = self.write_tables(&|tx| full.write(tx, pause));
        self.layer.set_pace(false);
        filled?;
        self.log_mut().full = None;
        Ok(())
    }

    /// Puts all rows of the log into the tables, with those of one commit more, and makes a log if there is none. Returns after the sync;
    /// with an error, they may be on the disk all the same. The tables are not being filled meanwhile.
    ///
    /// - `checkpoint`: how far the import of this name is.
    #[inline(never)] // for the size
    pub(super) fn commit_to_tables(
        &self,
        new: Option<&Stretch>,
        checkpoint: Option<(&str, &str)>,
    ) -> Result<(), StoreError> {
        let (rows, place) = (self.rows(), self.place()?);
        self.begin()?;
        self.write_tables(&|tx| {
            for stretch in rows.stretches().chain(new) {
                stretch.write(tx, &|| ())?;
            }
            if let Some((name, state)) = checkpoint {
                tx.open_table(tables::LEGACY_CHECKPOINT)?.insert(name, state)?;
            }
            if place.is_none() { area::create(tx) } else { Ok(()) }
        })?;
        let mut log = self.log_mut();
        // Both segments are free. What the log has is left alone, for a copy that nobody waits for any more and that has read the old tables.
        let place = place.map(|(area, cursor)| (area, cursor.other(area.id)));
        *log = LogState { place, is_used: log.is_used, ..LogState::default() };
        Ok(())
    }

    /// One commit of the engine.
    fn write_tables(&self, write: &dyn Fn(&WriteTransaction) -> Result<(), StoreError>) -> Result<(), StoreError> {
        // Until it is known that the commit is on the disk, readers are sure of what was committed before.
        *self.last_good() = Some(Arc::new(self.database.begin_read()?));
        let tx = self.database.begin_write()?;
        write(&tx)?;
        tx.commit()?;
        self.check_fault()?;
        *self.last_good() = None;
        Ok(())
    }

    /// Makes the file one that the engine alone could read, if the tables have everything: leaves nothing but zeros in the log.
    pub(super) fn wipe_log(&self) -> Result<(), StoreError> {
        let mut log = self.log_mut();
        if let Some((area, _)) = log.place
            && log.is_used
            && log.rows().is_empty()
        {
            self.begin()?;
            let zeros = vec![0; log::SEGMENTS * log::SEGMENT_BYTES];
            self.layer.write(area.segments(), &zeros).map_err(StoreError::io)?;
            log.is_used = false;
        }
        Ok(())
    }

    pub(super) fn check_fault(&self) -> Result<(), StoreError> {
        self.layer.fault().map_or(Ok(()), |fault| Err(StoreError::io(fault)))
    }

    pub(super) fn snapshot(self: Arc<Self>) -> Result<Snapshot, StoreError> {
        // Before the transaction begins: what is gone from here then is in the tables.
        let mut rows = self.rows();
        let tx = self.database.begin_read()?;
        // Asked after the transaction has begun: if the engine shows what is not on the disk, the layer is apart already.
        let tx =
            if self.layer.is_apart() { self.last_good().clone().unwrap_or_else(|| Arc::new(tx)) } else { Arc::new(tx) };
        // The tables may have got these rows, and others after them, since.
        if !rows.is_empty() && tables::seq(&tx)? >= rows.seq {
            rows = Rows::default();
        }
        Ok(Snapshot::new(tx, Arc::new(rows), self))
    }
}
