//! An export that is sent while it is made: the lines of one snapshot, piece by piece.

use std::sync::Arc;
use std::thread;

use tokio::sync::mpsc;

use super::blocking::blocking;
use super::{Service, ServiceError, export_lines};
use crate::domain::Cursor;
use crate::store::{Snapshot, StoreError};

/// Exports that are made at once: each has a thread, and keeps the pages that its snapshot shows from being used again.
pub(super) const AT_ONCE: usize = 2;
/// About the size of a piece, in bytes.
const PIECE_BYTES: usize = 32 * 1024;

/// Lines of an export, or the reason why no more come.
type Piece = Result<Vec<u8>, StoreError>;

impl Service {
    /// Starts an export of what is stored now, tokens left out. Returns the last change that it is sure to show, and
    /// its pieces. Waits while too many others are under way.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`]; [`ServiceError::Busy`] if the kernel gives no thread.
    pub async fn export(&self) -> Result<(Cursor, mpsc::Receiver<Piece>), ServiceError> {
        let permit = Arc::clone(&self.shared.exports).acquire_owned().await.map_err(|_| ServiceError::Busy)?;
        let (service, cursor) = (self.clone(), self.cursor());
        let snapshot = blocking(move || service.snapshot()).await?;
        let (sender, pieces) = mpsc::channel(1);
        // The thread waits for the client, so it is none of those that others need.
        let work = move || {
            let _permit = permit;
            if let Err(error) = send(&snapshot, &sender) {
                // A client that has gone does not want to know.
                drop(sender.blocking_send(Err(error)));
            }
        };
        thread::Builder::new().name("export".to_owned()).spawn(work).map_err(|_| ServiceError::Busy)?;
        Ok((cursor, pieces))
    }
}

/// Sends all lines, or those that the client waits for.
fn send(snapshot: &Snapshot, sender: &mpsc::Sender<Piece>) -> Result<(), StoreError> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    for line in export_lines(snapshot)? {
        piece.extend_from_slice(&line?);
        if piece.len() >= PIECE_BYTES {
            let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE_BYTES));
            if sender.blocking_send(Ok(full)).is_err() {
                return Ok(());
            }
        }
    }
    if !piece.is_empty() {
        drop(sender.blocking_send(Ok(piece)));
    }
    Ok(())
}
