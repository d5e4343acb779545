//! A disk in memory that remembers what was done to it, fails when told to, and can lose power.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use overlaid::store::{Disk, RetryPauses};

/// The writer tries a disk again so soon that no test waits for it.
pub(crate) const SHORT_PAUSES: RetryPauses =
    RetryPauses { first: Duration::from_millis(1), longest: Duration::from_millis(4) };

/// What a power cut keeps or loses as one.
pub(crate) const SECTOR: usize = 512;

/// Something that was done to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Write(usize, Vec<u8>),
    SetLength(usize),
    Sync,
}

/// When the disk fails, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// The first operation that fails, counted from when the fault is set; reads count only if they may fail.
    pub(crate) at: usize,
    /// How many fail.
    pub(crate) times: usize,
    /// The system's error number.
    pub(crate) code: i32,
    pub(crate) reads_too: bool,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: Vec<u8>,
    steps: Vec<Step>,
    is_recording: bool,
    fault: Option<Fault>,
    operations: usize,
    failed: usize,
}

impl Inner {
    /// Counts an operation, which fails if it is its turn.
    fn operation(&mut self) -> io::Result<()> {
        let number = self.operations;
        self.operations += 1;
        match self.fault {
            Some(fault) if number >= fault.at && number - fault.at < fault.times => {
                self.failed += 1;
                Err(io::Error::from_raw_os_error(fault.code))
            }
            _ => Ok(()),
        }
    }
}

/// A disk in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryDisk(Mutex<Inner>);

impl MemoryDisk {
    pub(crate) fn with(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner { bytes, ..Inner::default() })))
    }

    /// From now on remembers what is done.
    pub(crate) fn record(&self) {
        self.inner().is_recording = true;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.inner().bytes.clone()
    }

    /// How many steps were recorded.
    pub(crate) fn steps_count(&self) -> usize {
        self.inner().steps.len()
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        self.inner().steps.clone()
    }

    pub(crate) fn fail(&self, fault: Option<Fault>) {
        let mut inner = self.inner();
        inner.fault = fault;
        inner.operations = 0;
        inner.failed = 0;
    }

    /// How many operations have failed since the fault was set.
    pub(crate) fn failed(&self) -> usize {
        self.inner().failed
    }
}

impl Disk for MemoryDisk {
    fn length(&self) -> io::Result<u64> {
        Ok(self.inner().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.fault.is_some_and(|fault| fault.reads_too) {
            inner.operation()?;
        }
        let offset = usize::try_from(offset).unwrap();
        let bytes = inner.bytes.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let offset = usize::try_from(offset).unwrap();
        let failed = inner.operation();
        // A write that fails may have got as far as the middle.
        let written = if failed.is_ok() { data } else { &data[..data.len() / 2] };
        let end = offset + written.len();
        inner.bytes.get_mut(offset..end).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(written);
        if inner.is_recording {
            inner.steps.push(Step::Write(offset, written.to_vec()));
        }
        failed
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut inner = self.inner();
        inner.operation()?;
        let length = usize::try_from(length).unwrap();
        inner.bytes.resize(length, 0);
        if inner.is_recording {
            inner.steps.push(Step::SetLength(length));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.operation()?;
        if inner.is_recording {
            inner.steps.push(Step::Sync);
        }
        Ok(())
    }
}
