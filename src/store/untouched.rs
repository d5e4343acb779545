//! A file that is looked at and not changed: what the engine writes to it stays in memory.
//!
//! The engine has no way to check a file without writing to it: its integrity check ends in a commit, and so does closing.
//! This backend lets it, and forgets all of it in the end, so that a file that turns out to be another program's
//! is as it was, to the byte. It takes the same locks as any other opener.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::StoreError;

/// Bytes that are kept together: a page of the engine.
const BLOCK_BYTES: u64 = BLOCK.len() as u64;
/// An empty block.
const BLOCK: [u8; 4_096] = [0; 4_096];

/// A storage backend over a file that is never written to.
#[derive(Debug)]
pub(super) struct Untouched {
    file: FileBackend,
    kept: Mutex<Kept>,
}

/// What would be in the file beside what is.
#[derive(Debug)]
struct Kept {
    /// Length as the engine sees it.
    len: u64,
    /// From here on the file's own bytes do not count any more, as the engine has cut them off.
    file_len: u64,
    /// Blocks that were written to, by their number.
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Untouched {
    /// Wraps a file that is open for reading and writing; writing is only needed for the lock.
    pub(super) fn new(file: File) -> Result<Self, StoreError> {
        let len = file.metadata().map_err(|error| StoreError::Engine(Box::new(redb::Error::Io(error))))?.len();
        let file = FileBackend::new(file).map_err(|error| StoreError::Engine(Box::new(error.into())))?;
        Ok(Self { file, kept: Mutex::new(Kept { len, file_len: len, blocks: BTreeMap::new() }) })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file's own bytes, and zeros behind its end.
    fn read_file(&self, file_len: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = usize::try_from(file_len.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (inside, behind) = out.split_at_mut(there);
        behind.fill(0);
        if inside.is_empty() { Ok(()) } else { self.file.read(offset, inside) }
    }
}

/// The parts of `len` bytes from `offset` on, block by block: the block's number, where in it the part begins, how
/// long the part is.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset.saturating_add(len as u64);
    (offset / BLOCK_BYTES..end.div_ceil(BLOCK_BYTES)).filter_map(move |block| {
        let start = block * BLOCK_BYTES;
        let from = offset.max(start);
        let to = end.min(start + BLOCK_BYTES);
        Some((block, usize::try_from(from - start).ok()?, usize::try_from(to - from).ok()?))
    })
}

impl StorageBackend for Untouched {
    fn len(&self) -> io::Result<u64> {
        Ok(self.kept().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let kept = self.kept();
        if offset.saturating_add(out.len() as u64) > kept.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = out;
        for (block, at, len) in parts(offset, rest.len()) {
            let (part, after) = rest.split_at_mut(len);
            match kept.blocks.get(&block).and_then(|bytes| bytes.get(at..at + len)) {
                Some(bytes) => part.copy_from_slice(bytes),
                None => self.read_file(kept.file_len, block * BLOCK_BYTES + at as u64, part)?,
            }
            rest = after;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut kept = self.kept();
        if len < kept.len {
            kept.file_len = kept.file_len.min(len);
            drop(kept.blocks.split_off(&len.div_ceil(BLOCK_BYTES)));
            let cut = usize::try_from(len % BLOCK_BYTES).unwrap_or_default();
            if let Some(bytes) = kept.blocks.get_mut(&(len / BLOCK_BYTES)).and_then(|bytes| bytes.get_mut(cut..)) {
                bytes.fill(0);
            }
        }
        kept.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut kept = self.kept();
        kept.len = kept.len.max(offset.saturating_add(data.len() as u64));
        let mut rest = data;
        for (block, at, len) in parts(offset, rest.len()) {
            let (part, after) = rest.split_at(len);
            if !kept.blocks.contains_key(&block) {
                let mut bytes = BLOCK.to_vec();
                self.read_file(kept.file_len, block * BLOCK_BYTES, &mut bytes)?;
                kept.blocks.insert(block, bytes);
            }
            if let Some(place) = kept.blocks.get_mut(&block).and_then(|bytes| bytes.get_mut(at..at + len)) {
                place.copy_from_slice(part);
            }
            rest = after;
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
