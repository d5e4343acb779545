//! The one file: signals, overlays, outcomes, rates and tokens in a redb database.
//!
//! Synchronous and typed. Reading goes through a [`Snapshot`], one committed state for as long as it is held (MVCC).
//! All writing goes through the one [`Writer`] thread, which groups what waits into one durable commit and acknowledges
//! after the sync. redb and bincode do not show outside this module, and nothing here knows of HTTP, caches or clocks.
//!
//! redb runs in its default mode on purpose: one exclusive writer, one-phase commits with checksums. Under
//! `quick_repair` and the modes that share the file between processes, a torn copy of the live file can open as
//! silently wrong data. The file holds nothing but redb's pages: closed or killed, copied live or not, any program that
//! uses redb reads it.
//!
//! A failed write does not stop the reading: see `guarded_disk`. A copy of the file may be made at any time: see
//! `copy_gate`, and [`back_up`] for where that does not work. Damage is found and not served: every start compares all
//! checksums of the file before anything is served or changed; see also [`verify`]. One kind of damage is not told from
//! a power cut: after a kill, redb takes a last commit that does not fit its checksums for one that was under way, and
//! shows the commit before.

mod backup;
mod batch;
mod check;
mod codec;
mod copy_gate;
mod database;
mod disk;
mod engine;
mod error;
mod file;
mod guarded_disk;
mod import;
mod operation;
mod recovery;
mod rows;
mod runs;
mod schema;
mod snapshot;
mod tables;
mod writer;

pub use backup::{Restored, back_up, back_up_unnamed, compact, copy, restore};
pub use check::{Contents, contents, verify, verify_open};
pub use copy_gate::GateWaits;
pub use database::Store;
pub use disk::Disk;
pub use error::{LostFile, StoreError};
pub(crate) use file::{ENGINE_MAGIC, FileId};
pub use file::{
    FileFacts, Replacement, file_facts, free_bytes, make_private_file, make_private_folder, open_files_max,
    remove_leftovers,
};
pub use import::{IMPORT_RECORDS_MAX, Imported};
pub use operation::{Acknowledge, Change, Commit, Effect, Operation, Precedence, Receipt, Refusal, WriteError};
pub use recovery::RetryPauses;
pub use rows::{StoredOutcome, StoredOverlay, StoredSignal};
pub use runs::Runs;
pub use schema::SCHEMA;
pub use snapshot::{Counts, Snapshot};
pub use writer::Writer;
