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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What the engine may do to a file.
    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
        Read(u64, usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        // Across three blocks, so that edges are met often.
        let offset = || prop_oneof![0..12_500_u64, 4_090..4_102_u64, 8_186..8_198_u64];
        prop_oneof![
            (offset(), vec(any::<u8>(), 0..5_000)).prop_map(|(offset, bytes)| Step::Write(offset, bytes)),
            offset().prop_map(Step::SetLen),
            (offset(), 0..9_000_usize).prop_map(|(offset, len)| Step::Read(offset, len)),
        ]
    }

    proptest! {
        /// It behaves as a file would, and the file stays as it is.
        #[test]
        fn it_shows_what_was_written_and_leaves_the_file_alone(
            original in vec(any::<u8>(), 0..10_000), steps in vec(any_step(), 0..30)
        ) {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&original).unwrap();
            let untouched = Untouched::new(file.try_clone().unwrap()).unwrap();
            let mut model = original.clone();
            for step in steps {
                match step {
                    Step::Write(offset, bytes) => {
                        untouched.write(offset, &bytes).unwrap();
                        let start = usize::try_from(offset).unwrap();
                        model.resize(model.len().max(start + bytes.len()), 0);
                        model[start..start + bytes.len()].copy_from_slice(&bytes);
                    }
                    Step::SetLen(len) => {
                        untouched.set_len(len).unwrap();
                        model.resize(usize::try_from(len).unwrap(), 0);
                    }
                    Step::Read(offset, len) => {
                        let start = usize::try_from(offset).unwrap();
                        let mut out = vec![1; len];
                        let result = untouched.read(offset, &mut out);
                        prop_assert_eq!(result.is_ok(), start + len <= model.len());
                        if result.is_ok() {
                            prop_assert!(out == model[start..start + len]);
                        }
                    }
                }
                prop_assert_eq!(untouched.len().unwrap(), model.len() as u64);
            }
            let mut out = vec![1; model.len()];
            untouched.read(0, &mut out).unwrap();
            prop_assert!(out == model);
            let mut after = vec![0; original.len()];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut after, 0).unwrap();
            prop_assert!(after == original);
            prop_assert_eq!(file.metadata().unwrap().len(), original.len() as u64);
        }
    }
}
