//! Why the store could not do something. redb's error types all become [`StoreError::Engine`].

use std::io;
use std::path::PathBuf;

/// Why the file could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the database open.
    #[error("another process has {} open", .0.display())]
    InUse(PathBuf),
    /// There is no database at this place.
    #[error("there is no database at {}", .0.display())]
    Absent(PathBuf),
    /// A newer program wrote the file.
    #[error("the file has schema {found}, this program reads up to {supported}: use a newer overlaid")]
    NewerSchema {
        /// The version in the file.
        found: u64,
        /// The newest version that this program knows.
        supported: u64,
    },
    /// A build from before the first release wrote the file.
    #[error(
        "a build from before the first release wrote the file: let that build `export` the records, and `load` them"
    )]
    Unreleased,
    /// It is a database, but not one of this program's.
    #[error("the file is a redb database of another program")]
    NotOurs,
    /// A record can not be read.
    #[error("damaged record in table {table}, key {key}: {detail}")]
    CorruptRow {
        /// Which table.
        table: &'static str,
        /// Which key.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The file does not hold what it must.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// Another file, or none, stands where the open database was: what is written now is in a file that nobody will
    /// find.
    #[error("{} is not the file that was opened: it was moved, replaced or removed", .0.display())]
    Replaced(PathBuf),
    /// Another program wrote to the open database.
    #[error("another program wrote to {} while it was open: nothing in it can be trusted", .0.display())]
    Overwritten(PathBuf),
    /// The queue of writes is full.
    #[error("too many writes are waiting")]
    Busy,
    /// The writer has stopped.
    #[error("the writer has stopped")]
    Stopped,
    /// The folder or file could not be made.
    #[error("cannot make {}", .path.display())]
    Create {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The storage engine failed: the disk is full or broken, or the file is damaged.
    #[error("the storage engine failed")]
    Engine(#[source] Box<redb::Error>),
}

/// What has become of a database file that a server had open, for a client and for the operator of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostFile {
    /// What happened to it, and what follows from that.
    pub what: &'static str,
    /// What the operator does.
    pub remedy: &'static str,
}

/// All of redb's error types become one.
macro_rules! engine_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Engine(Box::new(error.into()))
            }
        })*
    };
}
engine_errors!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError,
    redb::CompactionError
);

impl StoreError {
    /// Whether the file holds something that it must not, so that trying again is of no use.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::CorruptRow { .. } | Self::Overwritten(_) => true,
            Self::Engine(error) => match &**error {
                redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) => true,
                redb::Error::Io(error) => {
                    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether the open file is not this process's own any more.
    #[must_use]
    pub fn is_file_replaced(&self) -> bool {
        self.lost_file().is_some()
    }

    /// What has become of the file, if it is not this process's own any more.
    #[must_use]
    pub fn lost_file(&self) -> Option<LostFile> {
        match self {
            Self::Replaced(_) => Some(LostFile {
                what: "the database file was moved, replaced or removed, so nothing is written",
                remedy: "move the file back, and writes are taken again within seconds; or save what the server has with \
                         `overlaid backup PATH`, stop the server, put the right file in place with `overlaid restore FILE` and start the \
                         server",
            }),
            Self::Overwritten(_) => Some(LostFile {
                what: "another program wrote to the database file, so the server ends",
                remedy: "put a backup in its place with `overlaid restore FILE` and start the server",
            }),
            _ => None,
        }
    }

    /// Whether the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Engine(error) if matches!(&**error, redb::Error::Io(error) if is_full(error)))
    }

    /// An error of the file system.
    pub(crate) fn io(error: io::Error) -> Self {
        Self::Engine(Box::new(redb::Error::Io(error)))
    }
}

/// Whether an error says that the device or the quota is full, or the file at its largest.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
