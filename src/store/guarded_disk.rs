//! What the engine reads and writes through: the disk, with memory to fall back on when the disk fails.
//!
//! redb answers nothing any more, not even reads, once its storage has failed to write or to sync. But what was
//! committed before is still there, and clients that read it should not notice. So [`GuardedDisk`] hides a failed write
//! from the engine. It keeps in memory what the engine writes until a sync has confirmed it. After a failure nothing
//! more goes to the disk: reads see the disk with the writes in memory laid over it. The engine believes that its
//! commit succeeded; the caller of the commit asks [`GuardedDisk::fault`] before it believes so too.
//!
//! [`GuardedDisk::apply`] tries the disk again: it writes everything that is in memory, syncs, and goes on there. The
//! file then has what the engine takes for committed, so the engine is not opened again. A failed sync needs nothing
//! else either: the system may have dropped what it could not write and may still show it to reads, but memory has all
//! of it.
//!
//! The same two parts check a file before anything of it is changed. The engine can not check a file without writing to
//! it, so it opens the file with its writes kept in memory. A file that is refused stays as it was, byte for byte; one
//! that is whole gets the writes by `apply`.
//!
//! The bytes that the first block had after the last sync tell whether another program has written to the file since:
//! see [`GuardedDisk::is_overwritten`].
//!
//! A failed *read* can not be hidden. The engine has to be opened again then, on a new `GuardedDisk`; the old one is
//! [retired](GuardedDisk::retire).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::StorageBackend;

use super::disk::Disk;

/// Bytes that are kept together: a page of the engine.
const BLOCK_BYTES: u64 = BLOCK.len() as u64;
/// An empty block.
const BLOCK: [u8; 4_096] = [0; 4_096];
/// Most blocks that are kept in memory, 512 MiB: above any commit, and a bound on what a hostile file can ask for.
const BLOCKS_MAX: usize = 131_072;
/// Bytes of the file's beginning that change with each commit: redb's header.
const HEADER_BYTES: usize = 320;
/// With more blocks than this, 64 MiB, the disk is synced before the engine asks for it. An early sync does no harm.
const UNSYNCED_BLOCKS_MAX: usize = 16_384;
/// How often a read that fails is tried: some errors of devices and cables pass, and one failed read stops the engine.
const READ_ATTEMPTS: usize = 3;

/// A disk, and what was written to it since the last sync.
#[derive(Debug)]
pub(super) struct GuardedDisk {
    disk: Arc<dyn Disk>,
    state: RwLock<State>,
    /// Offset and length of the first read that failed.
    failed_read: Mutex<Option<(u64, usize)>>,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Length of the file as the engine sees it.
    length: u64,
    /// From here on the disk's bytes do not count: the file was cut there.
    disk_length: u64,
    /// What no sync has confirmed, by the number of the block.
    unsynced: BTreeMap<u64, Box<[u8; 4_096]>>,
    /// What the file began with after the last sync; shorter if the file was.
    header: Vec<u8>,
}

#[derive(Debug)]
enum Mode {
    /// Writes go to the disk.
    Disk,
    /// Writes stay in memory; with the failure that made it so, if there was one.
    Memory(Option<io::Error>),
    /// Nothing is read or written any more: the engine was opened again on another one, or the file is another
    /// program's.
    Retired,
}

impl GuardedDisk {
    /// Writes go to the disk.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub(super) fn to_disk(disk: Arc<dyn Disk>) -> io::Result<Self> {
        Self::new(disk, Mode::Disk)
    }

    /// Writes stay in memory, until [`GuardedDisk::apply`].
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub(super) fn in_memory(disk: Arc<dyn Disk>) -> io::Result<Self> {
        Self::new(disk, Mode::Memory(None))
    }

    fn new(disk: Arc<dyn Disk>, mode: Mode) -> io::Result<Self> {
        let length = disk.length()?;
        let mut header = vec![0; usize::try_from(length).unwrap_or(HEADER_BYTES).min(HEADER_BYTES)];
        read_repeatedly(&*disk, 0, &mut header)?;
        let state = State { mode, length, disk_length: length, unsynced: BTreeMap::new(), header };
        Ok(Self { disk, state: RwLock::new(state), failed_read: Mutex::default() })
    }

    /// Writes what is in memory to the disk, syncs, and goes on there. Readers see the same before, while and after.
    ///
    /// The first block names the newest commit. It is written when all other blocks are on the disk, and the file is
    /// cut after that: whenever the power goes, the file holds the commit before or this one.
    ///
    /// # Errors
    ///
    /// Those of the disk. Writes stay in memory then, and this may be called again.
    pub(super) fn apply(&self) -> io::Result<()> {
        {
            let state = self.state();
            match &state.mode {
                Mode::Disk => return Ok(()),
                Mode::Retired => return Err(retired()),
                Mode::Memory(_) => {}
            }
            let length_before = self.disk.length()?;
            if state.disk_length < state.length.min(length_before) {
                // The engine does not do this: it cuts a file at the end of a commit, and grows it in a later one.
                return Err(io::Error::other("the file was cut and has grown again"));
            }
            if state.length > length_before {
                self.disk.set_length(state.length)?;
            }
            for (number, block) in state.unsynced.iter().filter(|(number, _)| **number > 0) {
                self.write_block(&state, *number, &block[..])?;
            }
            self.disk.sync()?;
            if let Some(first) = state.unsynced.get(&0) {
                self.write_block(&state, 0, &first[..])?;
                self.disk.sync()?;
            }
            if state.length < length_before {
                self.disk.set_length(state.length)?;
            }
        }
        let mut state = self.state_mut();
        state.synced();
        state.disk_length = state.length;
        state.mode = Mode::Disk;
        Ok(())
    }

    /// Whether the file is not as this left it: another program wrote to it, or cut it.
    ///
    /// While a commit is being written the answer is no: what is on the disk then may be of before or after.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub(super) fn is_overwritten(&self) -> io::Result<bool> {
        // Held until the disk was read: nothing is written meanwhile that is not in memory first.
        let state = self.state();
        match &state.mode {
            Mode::Retired => return Ok(false),
            Mode::Disk if !state.unsynced.is_empty() => return Ok(false),
            Mode::Memory(None) | Mode::Disk if self.disk.length()? != state.disk_length => return Ok(true),
            Mode::Memory(_) | Mode::Disk => {}
        }
        let mut found = vec![0; state.header.len()];
        match self.disk.read(0, &mut found) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
            read => read?,
        }
        // A write that failed may have written a part.
        let pending = state.unsynced.get(&0).map_or(&state.header[..], |block| &block[..]);
        let mut bytes = found.iter().zip(state.header.iter().zip(pending));
        Ok(!bytes.all(|(found, (header, pending))| found == header || found == pending))
    }

    fn write_block(&self, state: &State, number: u64, block: &[u8]) -> io::Result<()> {
        let offset = number * BLOCK_BYTES;
        let inside = usize::try_from(state.length.saturating_sub(offset)).unwrap_or(usize::MAX).min(block.len());
        self.disk.write(offset, block.get(..inside).unwrap_or(block))
    }

    /// Reads and writes nothing any more.
    pub(super) fn retire(&self) {
        self.state_mut().mode = Mode::Retired;
    }

    /// Why the engine's last writes are in memory only; `None` if they are on the disk, or were never meant to be.
    pub(super) fn fault(&self) -> Option<io::Error> {
        match &self.state().mode {
            Mode::Memory(fault) => fault.as_ref().map(copy_of),
            Mode::Disk => None,
            Mode::Retired => Some(retired()),
        }
    }

    /// Offset and length of the read that failed, after which the engine answers nothing any more.
    pub(super) fn failed_read(&self) -> Option<(u64, usize)> {
        *self.failed_read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from the disk what could not be read.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub(super) fn repeat_failed_read(&self) -> io::Result<()> {
        let Some((offset, len)) = self.failed_read() else { return Ok(()) };
        let there = self.disk.length()?.saturating_sub(offset);
        let len = usize::try_from(there).unwrap_or(usize::MAX).min(len);
        read_repeatedly(&*self.disk, offset, &mut vec![0; len])
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the disk, if writes go there; keeps the failure from the engine. Returns whether the disk did
    /// it.
    fn on_disk(&self, action: impl FnOnce(&dyn Disk) -> io::Result<()>) -> bool {
        if !matches!(self.state().mode, Mode::Disk) {
            return false;
        }
        // Readers go on meanwhile: what is being written is in memory for them. Only one thread writes.
        let done = action(&*self.disk);
        if let Err(fault) = done {
            self.state_mut().mode = Mode::Memory(Some(fault));
            return false;
        }
        true
    }

    fn note_failed_read(&self, offset: u64, len: usize) {
        self.failed_read.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((offset, len));
    }
}

impl State {
    fn read(&self, disk: &dyn Disk, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset.saturating_add(out.len() as u64);
        if matches!(self.mode, Mode::Retired) {
            return Err(retired());
        }
        if end > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Most reads meet nothing that was written since the last sync.
        if self.unsynced.range(offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)).next().is_none() {
            return self.read_disk(disk, offset, out);
        }
        let mut rest = out;
        for (number, start, len) in parts(offset, rest.len()) {
            let (part, after) = rest.split_at_mut(len.min(rest.len()));
            match self.unsynced.get(&number).and_then(|block| block.get(start..start + len)) {
                Some(bytes) => part.copy_from_slice(bytes),
                None => self.read_disk(disk, number * BLOCK_BYTES + start as u64, part)?,
            }
            rest = after;
        }
        Ok(())
    }

    /// Reads the disk's own bytes, and zeros from where the file was cut.
    fn read_disk(&self, disk: &dyn Disk, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(self.disk_length.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (inside, behind) = out.split_at_mut(there);
        behind.fill(0);
        if inside.is_empty() { Ok(()) } else { read_repeatedly(disk, offset, inside) }
    }

    fn write(&mut self, disk: &dyn Disk, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut rest = data;
        for (number, start, len) in parts(offset, data.len()) {
            let (part, after) = rest.split_at(len.min(rest.len()));
            if !self.unsynced.contains_key(&number) {
                if self.unsynced.len() >= BLOCKS_MAX {
                    return Err(io::ErrorKind::OutOfMemory.into());
                }
                let mut block = Box::new(BLOCK);
                if part.len() < BLOCK.len() {
                    let there = self.length.saturating_sub(number * BLOCK_BYTES).min(BLOCK_BYTES);
                    let there = usize::try_from(there).unwrap_or_default();
                    self.read_disk(disk, number * BLOCK_BYTES, block.get_mut(..there).unwrap_or_default())?;
                }
                self.unsynced.insert(number, block);
            }
            if let Some(bytes) = self.unsynced.get_mut(&number).and_then(|block| block.get_mut(start..start + len)) {
                bytes.copy_from_slice(part);
            }
            rest = after;
        }
        Ok(())
    }

    /// What was written is on the disk.
    fn synced(&mut self) {
        if let Some(first) = self.unsynced.get(&0) {
            let len = usize::try_from(self.length).unwrap_or(HEADER_BYTES).min(HEADER_BYTES);
            self.header = first.iter().take(len).copied().collect();
        }
        self.unsynced.clear();
    }

    fn set_length(&mut self, length: u64) {
        if length < self.length {
            self.disk_length = self.disk_length.min(length);
            drop(self.unsynced.split_off(&length.div_ceil(BLOCK_BYTES)));
            let kept = usize::try_from(length % BLOCK_BYTES).unwrap_or_default();
            let last = self.unsynced.get_mut(&(length / BLOCK_BYTES));
            if let Some(tail) = last.and_then(|block| block.get_mut(kept..)) {
                tail.fill(0);
            }
        }
        self.length = length;
    }
}

/// The parts of `len` bytes from `offset` on, block by block: the block's number, where in it the part begins, how long
/// the part is.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset.saturating_add(len as u64);
    (offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)).filter_map(move |number| {
        let start = number * BLOCK_BYTES;
        let from = offset.max(start);
        let to = end.min(start + BLOCK_BYTES);
        Some((number, usize::try_from(from - start).ok()?, usize::try_from(to - from).ok()?))
    })
}

fn read_repeatedly(disk: &dyn Disk, offset: u64, out: &mut [u8]) -> io::Result<()> {
    let mut result = disk.read(offset, out);
    for _ in 1..READ_ATTEMPTS {
        match &result {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => result = disk.read(offset, out),
            _ => break,
        }
    }
    result
}

fn retired() -> io::Error {
    io::Error::other("the file was opened again, or is another program's")
}

/// An error of the system can not be cloned.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

/// The engine's end of a [`GuardedDisk`]. It takes no locks: the process that opened the disk has locked it.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<GuardedDisk>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.state().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let read = self.0.state().read(&*self.0.disk, offset, out);
        read.inspect_err(|_| self.0.note_failed_read(offset, out.len()))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        // As one, for `is_overwritten`.
        let mut state = self.0.state_mut();
        state.set_length(length);
        if matches!(state.mode, Mode::Disk) {
            match self.0.disk.set_length(length) {
                Ok(()) => state.disk_length = length,
                Err(fault) => state.mode = Mode::Memory(Some(fault)),
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.0.on_disk(Disk::sync) {
            self.0.state_mut().synced();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        // In memory first: a write that fails may have written a part.
        let kept = self.0.state_mut().write(&*self.0.disk, offset, data);
        kept.inspect_err(|_| self.0.note_failed_read(offset, data.len()))?;
        if self.0.on_disk(|disk| disk.write(offset, data)) && self.0.state().unsynced.len() > UNSYNCED_BLOCKS_MAX {
            self.sync_data()?;
        }
        Ok(())
    }
}
