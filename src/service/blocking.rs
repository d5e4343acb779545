//! Work that reads the file, on threads that may block.

use super::ServiceError;

/// Runs `work` on a thread that may block.
///
/// # Errors
///
/// Those of `work`; [`ServiceError::Worker`] if it panics.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ServiceError::Worker)?
}
