//! Work that takes long: on threads that may block, and with turns for others.

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

/// Has the kernel run a thread that waits for this processor.
///
/// Without it a thread of low priority keeps the processor to the end of its slice, some milliseconds, when one that
/// answers views is woken.
pub fn give_way() {
    std::thread::yield_now();
}
