//! Why a request could not be answered.

use std::sync::Arc;

use bytesize::ByteSize;

use super::lines::LINE_BYTES_MAX;
use crate::domain::Invalid;
use crate::store::{Refusal, StoreError, WriteError};

/// Why a request could not be answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ServiceError {
    /// The record is not there.
    #[error("no {0}")]
    Absent(String),
    /// Another record has the same id.
    #[error("{0}")]
    Conflict(String),
    /// The condition of a write does not hold.
    #[error("the record is not as the condition expects it")]
    ConditionFailed,
    /// The input breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A line of an import is too long.
    #[error("the line is longer than {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// Too many writes are waiting, or the server is stopping.
    #[error("too many writes are waiting, or the server is stopping")]
    Busy,
    /// The overlays do not fit in memory.
    #[error(
        "the overlays take {} of memory and --overlays-memory is {}: delete overlays, or start with --overlays-memory {}",
        ByteSize(*bytes).display().iec(), ByteSize(*bytes_max).display().iec(), suggested_limit(*bytes)
    )]
    TooManyOverlays {
        /// What they take, in bytes.
        bytes: u64,
        /// What they may take, in bytes.
        bytes_max: u64,
    },
    /// The file could not be read.
    #[error("the store failed")]
    Store(#[source] Arc<StoreError>),
    /// A write could not be made durable; it may be tried again.
    #[error("the write could not be made durable")]
    WriteFailed(#[source] Arc<StoreError>),
    /// A backup could not be made.
    #[error("the backup could not be made")]
    BackupFailed(#[source] Arc<StoreError>),
    /// The system has no random numbers, so no token can be made.
    #[error("the system has no random numbers")]
    Randomness(#[from] getrandom::Error),
    /// A worker thread failed; the log has its message.
    #[error("a worker failed")]
    Worker,
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Stopped => Self::Busy,
            other => Self::Store(Arc::new(other)),
        }
    }
}

impl From<WriteError> for ServiceError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(Refusal::Absent(what)) => Self::Absent(what),
            WriteError::Refused(Refusal::Conflict(detail)) => Self::Conflict(detail),
            WriteError::Refused(Refusal::ConditionFailed) => Self::ConditionFailed,
            WriteError::Refused(Refusal::Invalid(invalid)) => Self::Invalid(invalid),
            WriteError::Failed(error) => Self::WriteFailed(error),
        }
    }
}

/// A value of `--overlays-memory` with which overlays of so many bytes may grow by half.
fn suggested_limit(bytes: u64) -> String {
    format!("{}MiB", (bytes + bytes / 2).div_ceil(bytesize::MIB))
}
