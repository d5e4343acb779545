//! What the engine writes to: the disk until that fails, and memory from then on.
//!
//! redb answers nothing any more once a write or a sync has failed, not even reads, until it is opened again. But what was
//! committed before is still on the disk, and those who read it should not notice. So a failure is kept from the engine: the
//! [`Layer`] is *set apart*, which means that what the engine writes from then on stays in memory and what it reads is the disk
//! with that laid over. The engine believes that its commit went well; whoever asked for the commit looks at
//! [`Layer::fault`] before believing it too.
//!
//! Later the file is opened again through a new layer, and written to, while answers may still be read through
//! the old one. Before the [`Volume`] overwrites what such a layer shows, the layer gets a copy. It is
//! gone with its last reader.
//!
//! A failed sync is worse than it looks: the system may have dropped what it could not write and still show it to reads, and the
//! next sync succeeds without it. So the volume remembers what was written since the last good sync, and
//! [`Volume::settle`] writes all of it again before the file is opened anew. A process that ends before that leaves it to the next one
//! to read what is really on the disk: see [`Volume::forget`].
//!
//! A layer that is set apart from the beginning is a way to look at a file without changing it: the engine can not check a file
//! without writing to it. If what was seen is right, [`Layer::land`] does to the disk what the engine did so far, in the same order,
//! and the engine goes on writing there: a file that is refused is not changed, and one that is not need not be opened twice.
//! Landing may also wait until there is something to write: then a file that is only read is not changed either.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use redb::StorageBackend;

use super::area::{self, Area};
use super::disk::Disk;
use super::{checksums, mark};

/// Bytes that are kept together: a page of the engine.
const BLOCK_BYTES: u64 = BLOCK.len() as u64;
/// An empty block.
const BLOCK: [u8; 4_096] = [0; 4_096];
/// Most blocks that a layer keeps in memory, 512 MiB: beyond any batch, and a bound on what a hostile file can ask for.
const BLOCKS_MAX: usize = 131_072;
/// How often a read is tried that fails: some errors of devices and cables pass, and a failed read stops the engine.
const READ_ATTEMPTS: usize = 3;
/// How much is written again at a time.
const SETTLE_BYTES: u64 = 65_536;

/// Writes of the engine between two syncs where it is to write a little at a time: what a disk takes in a fraction of a millisecond.
const PACE: usize = 16;

/// One disk, and what its layers need to know of each other.
#[derive(Debug)]
pub(super) struct Volume {
    disk: Arc<dyn Disk>,
    /// What was written since the last sync that succeeded.
    unsynced: Mutex<Vec<Unsynced>>,
    /// Held while syncing, and whether that has failed: of two who sync at once, the system tells only one that it failed.
    sync_failed: Mutex<bool>,
    /// Layers set apart that may still have readers.
    apart: Mutex<Vec<Weak<Layer>>>,
}

/// A write that no sync has confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unsynced {
    offset: u64,
    len: u64,
    /// A sync confirms only what has been written when it begins.
    is_written: bool,
}

impl Volume {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Arc<Self> {
        let (unsynced, sync_failed, apart) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { disk, unsynced, sync_failed, apart })
    }

    /// Whether nothing was ever written.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.disk.length()? == 0)
    }

    /// Whether the file was closed properly and each of its checksums fits.
    pub(super) fn all_checksums_fit(&self) -> bool {
        checksums::all_fit(&*self.disk)
    }

    /// The last change that is known to have been on the disk; `None` if the file does not say.
    pub(super) fn marked(&self) -> io::Result<Option<u64>> {
        let mut bytes = [0; mark::BYTES];
        if self.disk.length()? < mark::OFFSET + bytes.len() as u64 {
            return Ok(None);
        }
        read_patiently(&*self.disk, mark::OFFSET, &mut bytes)?;
        Ok(mark::decode(&bytes))
    }

    /// Marks the file with the change `seq` if it has no mark, as after one that was written only in part.
    pub(super) fn mend_mark(&self, seq: u64) -> io::Result<()> {
        if self.marked()?.is_none() { self.write(mark::OFFSET, &mark::encode(seq)) } else { Ok(()) }
    }

    /// From now on reads show what a power cut would leave: what a process before this one could not write, the system may still show. Nobody
    /// writes meanwhile.
    pub(super) fn forget(&self) {
        self.disk.forget();
    }

    /// Writes everything again that no sync has confirmed, and syncs. Nobody else writes meanwhile.
    pub(super) fn settle(&self) -> io::Result<()> {
        let length = self.disk.length()?;
        let unsynced = lock(&self.unsynced).clone();
        let mut buffer = Vec::new();
        for Unsynced { offset, len, .. } in unsynced {
            let end = offset.saturating_add(len).min(length);
            let mut from = offset;
            while from < end {
                let piece = (end - from).min(SETTLE_BYTES);
                buffer.resize(usize::try_from(piece).unwrap_or_default(), 0);
                self.disk.read(from, &mut buffer)?;
                self.disk.write(from, &buffer)?;
                from += piece;
            }
        }
        self.disk.sync()?;
        lock(&self.unsynced).clear();
        *lock(&self.sync_failed) = false;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let len = data.len() as u64;
        self.keep_for_readers(offset, offset.saturating_add(len));
        // Before the write: one that fails may have written some of it.
        let begun = Unsynced { offset, len, is_written: false };
        lock(&self.unsynced).push(begun);
        self.disk.write(offset, data)?;
        if let Some(written) = lock(&self.unsynced).iter_mut().rev().find(|write| **write == begun) {
            written.is_written = true;
        }
        Ok(())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        if let Ok(old) = self.disk.length()
            && length < old
        {
            self.keep_for_readers(length, old);
        }
        self.disk.set_length(length)
    }

    fn sync(&self) -> io::Result<()> {
        let mut failed = lock(&self.sync_failed);
        if *failed {
            return Err(io::Error::other("a sync has failed"));
        }
        // Under one lock: what another thread begins to write meanwhile must not get lost.
        let confirmed: Vec<_> = lock(&self.unsynced).extract_if(.., |write| write.is_written).collect();
        self.disk.sync().inspect_err(|_| {
            *failed = true;
            lock(&self.unsynced).extend(confirmed);
        })
    }

    /// Gives the layers set apart a copy of what is about to be overwritten.
    fn keep_for_readers(&self, from: u64, to: u64) {
        let mut layers = lock(&self.apart);
        if layers.is_empty() {
            return;
        }
        layers.retain(|layer| layer.upgrade().is_some_and(|layer| layer.keep(from, to)));
    }
}

/// One opening of the engine on a volume.
#[derive(Debug)]
pub(super) struct Layer {
    volume: Arc<Volume>,
    /// `None` as long as everything goes to the disk.
    apart: RwLock<Option<Apart>>,
    read_failed: AtomicBool,
    /// Where the engine was last seen to read or write the log's page.
    area: Mutex<Option<Area>>,
    /// How many writes of the engine are left until it is to sync; 0 if it syncs when it wants to.
    until_sync: AtomicUsize,
}

/// What a layer that is set apart has of its own.
#[derive(Debug)]
struct Apart {
    /// Why; `None` if it was from the beginning.
    fault: Option<io::Error>,
    /// Length as the engine sees it.
    length: u64,
    /// From here on the disk's bytes do not count.
    disk_length: u64,
    /// Blocks that differ from the disk's, by their number.
    blocks: BTreeMap<u64, Box<[u8]>>,
    /// A block could not be kept: what is not in `blocks` can not be trusted any more.
    is_lost: bool,
    /// Everything that was done so far, if the layer may yet land.
    done: Option<Vec<Step>>,
}

/// One thing that the engine did to the file.
#[derive(Debug)]
enum Step {
    Write(u64, Vec<u8>),
    SetLength(u64),
    Sync,
}

impl Layer {
    /// A layer that writes to the disk.
    pub(super) fn over(volume: &Arc<Volume>) -> Arc<Self> {
        Self::new(volume, None)
    }

    fn new(volume: &Arc<Volume>, apart: Option<Apart>) -> Arc<Self> {
        let (volume, apart) = (Arc::clone(volume), RwLock::new(apart));
        let (read_failed, area, until_sync) = (AtomicBool::new(false), Mutex::default(), AtomicUsize::new(0));
        Arc::new(Self { volume, apart, read_failed, area, until_sync })
    }

    /// A layer that never writes to the disk.
    pub(super) fn to_look_at(volume: &Arc<Volume>) -> io::Result<Arc<Self>> {
        Ok(Self::new(volume, Some(Apart::new(volume.disk.length()?, None))))
    }

    /// A layer that does not write to the disk until it has landed.
    pub(super) fn to_land(volume: &Arc<Volume>) -> io::Result<Arc<Self>> {
        let layer = Self::to_look_at(volume)?;
        if let Some(apart) = layer.apart_mut().as_mut() {
            apart.done = Some(Vec::new());
        }
        Ok(layer)
    }

    /// Does to the disk what was done to this layer, and everything that comes from now on. No one else may write to the layer
    /// meanwhile; those who read see the same before, while and after. If it fails, the layer is set apart for good.
    pub(super) fn land(self: &Arc<Self>) -> io::Result<()> {
        if !self.is_apart() {
            return Ok(());
        }
        let landed = {
            let mut apart = self.apart_mut();
            let Some(done) = apart.as_mut().and_then(|apart| apart.done.take()) else { return Ok(()) };
            let landed = done.into_iter().try_for_each(|step| match step {
                Step::Write(offset, data) => self.volume.write(offset, &data),
                Step::SetLength(length) => self.volume.set_length(length),
                Step::Sync => self.volume.sync(),
            });
            match (&landed, apart.as_mut()) {
                (Err(fault), Some(apart)) => apart.fault = Some(again(fault)),
                _ => *apart = None,
            }
            landed
        };
        // Not while the layer is locked: whoever writes holds this list when it locks a layer.
        if landed.is_err() {
            lock(&self.volume.apart).push(Arc::downgrade(self));
        }
        landed
    }

    /// Whether it has yet to land.
    pub(super) fn is_to_land(&self) -> bool {
        self.apart().as_ref().is_some_and(|apart| apart.done.is_some())
    }

    /// Whether all that was changed in memory is the beginning of the file, where the engine notes whether it is open.
    pub(super) fn changed_only_header(&self) -> bool {
        self.apart()
            .as_ref()
            .is_some_and(|apart| apart.length == apart.disk_length && apart.blocks.keys().all(|block| *block == 0))
    }

    /// Marks the file as holding the change `seq` on the disk, without a sync; returns whether that was done, which it never is by a
    /// layer that is set apart.
    pub(super) fn mark(&self, seq: u64) -> io::Result<bool> {
        // Held while writing: what is set apart leaves the disk alone.
        let apart = self.apart();
        if apart.is_some() {
            return Ok(false);
        }
        self.volume.write(mark::OFFSET, &mark::encode(seq)).map(|()| true)
    }

    /// Where the log's page is, if the engine has read or written it.
    pub(super) fn area(&self) -> Option<Area> {
        *lock(&self.area)
    }

    /// Notes where the log's page is if this is it; returns whether it is.
    fn note_area(&self, offset: u64, page: &[u8]) -> bool {
        let id = area::is_as_long(page.len()).then(|| area::id_in(page)).flatten();
        if let Some(id) = id {
            *lock(&self.area) = Some(Area { id, page: offset });
        }
        id.is_some()
    }

    /// Whether what is written stays in memory.
    pub(super) fn is_apart(&self) -> bool {
        self.apart().is_some()
    }

    /// What made this layer useless for writing: why it was set apart, or that the disk can not be read.
    pub(super) fn fault(&self) -> Option<io::Error> {
        let apart = self.apart();
        let fault = apart.as_ref().and_then(|apart| apart.fault.as_ref()).map(again);
        let read_failed = self.read_failed.load(Ordering::SeqCst);
        fault.or_else(|| read_failed.then(|| io::Error::other("the file can not be read")))
    }

    /// Sends nothing more to the disk.
    pub(super) fn set_apart(self: &Arc<Self>, fault: io::Error) {
        {
            let mut apart = self.apart_mut();
            match apart.as_mut() {
                // One that has yet to land never will.
                Some(apart) if apart.done.is_some() => {
                    apart.done = None;
                    apart.fault = Some(fault);
                }
                Some(_) => return,
                None => {
                    // A disk that does not even know its length shows nothing either.
                    let length = self.volume.disk.length().unwrap_or(0);
                    *apart = Some(Apart::new(length, Some(fault)));
                }
            }
        }
        lock(&self.volume.apart).push(Arc::downgrade(self));
    }

    fn apart(&self) -> RwLockReadGuard<'_, Option<Apart>> {
        self.apart.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn apart_mut(&self) -> RwLockWriteGuard<'_, Option<Apart>> {
        self.apart.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies blocks that are about to be overwritten; returns whether there can be any more.
    fn keep(&self, from: u64, to: u64) -> bool {
        let mut apart = self.apart_mut();
        let Some(apart) = apart.as_mut() else { return false };
        for block in from / BLOCK_BYTES..to.div_ceil(BLOCK_BYTES) {
            if apart.block(&*self.volume.disk, block).is_err() {
                apart.is_lost = true;
            }
        }
        !apart.is_lost
    }

    /// Reads what is in the file.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // Held while reading, so that nothing is overwritten between the question and the answer.
        let apart = self.apart();
        let disk = &*self.volume.disk;
        let result = match &*apart {
            Some(apart) => apart.read(disk, offset, out),
            None => read_patiently(disk, offset, out),
        };
        if result.is_err() {
            self.read_failed.store(true, Ordering::SeqCst);
        }
        result
    }

    /// Writes within the length of the file.
    pub(super) fn write(self: &Arc<Self>, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(|volume| volume.write(offset, data), |apart, disk| apart.write(disk, offset, data))
    }

    /// Returns once everything that was written is on the disk.
    pub(super) fn sync(self: &Arc<Self>) -> io::Result<()> {
        self.change(Volume::sync, |apart, _| {
            if let Some(done) = &mut apart.done {
                done.push(Step::Sync);
            }
            Ok(())
        })
    }

    /// Whether the engine is to write a little at a time, as others sync meanwhile: a sync waits for all that was written before it.
    pub(super) fn set_pace(&self, is_slow: bool) {
        self.until_sync.store(if is_slow { PACE } else { 0 }, Ordering::SeqCst);
    }

    /// Syncs what the engine has written, if it is to write a little at a time and this was a little.
    fn pace(self: &Arc<Self>) -> io::Result<()> {
        match self.until_sync.load(Ordering::SeqCst) {
            0 => return Ok(()),
            1 => self.until_sync.store(PACE, Ordering::SeqCst),
            more => {
                self.until_sync.store(more - 1, Ordering::SeqCst);
                return Ok(());
            }
        }
        self.sync()
    }

    /// Does something that changes the file: on the disk, or in memory once that has failed.
    fn change(
        self: &Arc<Self>,
        on_disk: impl FnOnce(&Volume) -> io::Result<()>,
        in_memory: impl FnOnce(&mut Apart, &dyn Disk) -> io::Result<()>,
    ) -> io::Result<()> {
        {
            // Held while it is done: what is set apart, by whoever else writes, leaves the disk alone.
            let apart = self.apart();
            if apart.is_none() {
                let Err(fault) = on_disk(&self.volume) else { return Ok(()) };
                drop(apart);
                self.set_apart(fault);
            }
        }
        let mut apart = self.apart_mut();
        apart.as_mut().map_or(Ok(()), |apart| in_memory(apart, &*self.volume.disk))
    }
}

impl Apart {
    fn new(length: u64, fault: Option<io::Error>) -> Self {
        Self { fault, length, disk_length: length, blocks: BTreeMap::new(), is_lost: false, done: None }
    }

    /// Reads the disk's own bytes, and zeros behind its end.
    fn read_disk(&self, disk: &dyn Disk, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.is_lost {
            return Err(io::Error::other("what was committed could not be kept for readers"));
        }
        let there = usize::try_from(self.disk_length.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (inside, behind) = out.split_at_mut(there);
        behind.fill(0);
        if inside.is_empty() { Ok(()) } else { read_patiently(disk, offset, inside) }
    }

    /// A block of this layer's own, taken from the disk if it is not yet one.
    fn block(&mut self, disk: &dyn Disk, block: u64) -> io::Result<&mut [u8]> {
        if !self.blocks.contains_key(&block) {
            if self.blocks.len() >= BLOCKS_MAX {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            let mut bytes = Box::new(BLOCK);
            self.read_disk(disk, block * BLOCK_BYTES, &mut bytes[..])?;
            self.blocks.insert(block, bytes);
        }
        self.blocks.get_mut(&block).map(|bytes| &mut bytes[..]).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read(&self, disk: &dyn Disk, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset.saturating_add(out.len() as u64) > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Most reads meet nothing that differs from the disk.
        let end = offset.saturating_add(out.len() as u64);
        if self.blocks.range(offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)).next().is_none() {
            return self.read_disk(disk, offset, out);
        }
        let mut rest = out;
        for (block, start, len) in parts(offset, rest.len()) {
            let (part, after) = rest.split_at_mut(len.min(rest.len()));
            match self.blocks.get(&block).and_then(|bytes| bytes.get(start..start + len)) {
                Some(bytes) => part.copy_from_slice(bytes),
                None => self.read_disk(disk, block * BLOCK_BYTES + start as u64, part)?,
            }
            rest = after;
        }
        Ok(())
    }

    fn write(&mut self, disk: &dyn Disk, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Some(done) = &mut self.done {
            done.push(Step::Write(offset, data.to_vec()));
        }
        let mut rest = data;
        for (block, start, len) in parts(offset, data.len()) {
            let (part, after) = rest.split_at(len.min(rest.len()));
            if let Some(bytes) = self.block(disk, block)?.get_mut(start..start + len) {
                bytes.copy_from_slice(part);
            }
            rest = after;
        }
        Ok(())
    }

    fn set_length(&mut self, length: u64) {
        if let Some(done) = &mut self.done {
            done.push(Step::SetLength(length));
        }
        if length < self.length {
            self.disk_length = self.disk_length.min(length);
            drop(self.blocks.split_off(&length.div_ceil(BLOCK_BYTES)));
            let kept = usize::try_from(length % BLOCK_BYTES).unwrap_or_default();
            if let Some(tail) = self.blocks.get_mut(&(length / BLOCK_BYTES)).and_then(|bytes| bytes.get_mut(kept..)) {
                tail.fill(0);
            }
        }
        self.length = length;
    }
}

/// The parts of `len` bytes from `offset` on, block by block: the block's number, where in it the part begins, how long the
/// part is.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset.saturating_add(len as u64);
    (offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)).filter_map(move |block| {
        let start = block * BLOCK_BYTES;
        let from = offset.max(start);
        let to = end.min(start + BLOCK_BYTES);
        Some((block, usize::try_from(from - start).ok()?, usize::try_from(to - from).ok()?))
    })
}

fn read_patiently(disk: &dyn Disk, offset: u64, out: &mut [u8]) -> io::Result<()> {
    let mut result = disk.read(offset, out);
    for _ in 1..READ_ATTEMPTS {
        match &result {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => result = disk.read(offset, out),
            _ => break,
        }
    }
    result
}

/// The same error once more, which errors of the system can not do by themselves.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The engine's end of a layer. It takes no locks: whoever opened the disk has locked it, for as long as the process lives.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<Layer>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        match &*self.0.apart() {
            Some(apart) => Ok(apart.length),
            None => self.0.volume.disk.length(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)?;
        if self.0.note_area(offset, out) {
            area::hide(out);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.change(
            |volume| volume.set_length(len),
            |apart, _| {
                apart.set_length(len);
                Ok(())
            },
        )
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.note_area(offset, data);
        self.0.write(offset, data)?;
        self.0.pace()
    }
}
